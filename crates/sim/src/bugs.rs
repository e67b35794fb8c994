//! Bugs that can be planted, one at a time, between the machines and the world: what goes into a machine or comes out of
//! it is changed, and production code stays as it is. Each must be found.

use crate::rows::rows;

rows! {
    /// A bug.
    pub Bug {
        /// Failover table.
        BusyRuleIgnored = "busy-rule-ignored",
        /// Failover table.
        StopCodeIgnored = "stop-code-ignored",
        /// Failover table.
        SdpCommitmentIgnored = "sdp-commitment-ignored",
        /// Failover table.
        SwitchLimitOffByOne = "switch-limit-off-by-one",
        /// Failover table.
        InviteTimeoutIgnored = "invite-timeout-ignored",
        /// Failover table.
        StopAfterInviteTimeoutIgnored = "stop-after-invite-timeout-ignored",
        /// Failover table.
        TryingTimeoutIgnored = "trying-timeout-ignored",
        /// Failover table.
        RingingTimeoutLate = "ringing-timeout-late",
        /// Failover table.
        UntilConnectIgnored = "until-connect-ignored",
        /// Failover table.
        SwitchAfterCancel = "switch-after-cancel",
        /// Failover table.
        ServiceUnavailablePassedOn = "503-passed-on",
        /// Failover table.
        CauseMapIgnored = "cause-map-ignored",
        /// Limits.
        MaxDurationIgnored = "max-duration-ignored",
        /// Limits.
        SetupTimeoutIgnored = "set-up-timeout-ignored",
        /// Routing.
        PriorityIgnored = "priority-ignored",
        /// Transactions.
        ResendMissing = "resend-missing",
        /// Transactions.
        TimerLate = "timer-late",
        /// Transactions.
        TimerNotCancelled = "timer-not-cancelled",
        /// Transactions.
        CancelNotSent = "cancel-not-sent",
        /// Transactions.
        FailureNotAcknowledged = "failure-not-acknowledged",
        /// Transactions.
        FailureAckUnderNewBranch = "failure-ack-under-new-branch",
        /// Transactions.
        AnswerNotResent = "2xx-not-resent",
        /// Dialogs.
        LateAnswerNotAcknowledged = "late-2xx-not-acknowledged",
        /// Dialogs.
        LateAnswerNotEnded = "late-2xx-not-ended",
        /// Dialogs.
        TwoAnswers = "two-answered-attempts",
        /// Dialogs.
        AckNotRepeated = "ack-not-repeated",
        /// Dialogs.
        ByeBeforeAck = "bye-before-ack",
        /// Dialogs.
        ToTagKept = "to-tag-kept-over-other-sdp",
        /// Dialogs.
        TwoFinals = "two-final-responses",
        /// Dialogs.
        RingsAfterTheEnd = "provisional-after-final",
        /// Dialogs.
        RequestTerminatedLost = "487-waits",
        /// Slots.
        SlotNotReleased = "slot-not-released",
        /// Slots.
        SlotReleasedTwice = "slot-released-twice",
        /// Slots.
        SlotReleasedEarly = "slot-released-on-cancel",
        /// Slots.
        SlotAboveLimit = "slot-above-limit",
        /// Slots.
        CpsIgnored = "cps-ignored",
        /// Records.
        RecordMissing = "record-missing",
        /// Records.
        RecordTwice = "record-twice",
        /// Records.
        RecordOfAnotherStatus = "record-with-another-status",
        /// Records.
        NonconnectNotRecorded = "unconnected-call-not-recorded",
        /// Records.
        ReleasedTwice = "released-twice",
        /// Commits.
        SendBeforeCommit = "send-before-commit",
        /// Commits.
        CommitLost = "commit-lost",
        /// Commits.
        FenceIgnored = "fence-ignored",
        /// Takeover.
        RestoreForgetsLeftAttempts = "restore-forgets-left-attempts",
        /// Takeover.
        RestoreForgetsCandidates = "restore-forgets-candidates",
        /// Takeover.
        PanicLosesCall = "panic-loses-call",
    }
}

impl Bug {
    /// The bug of that name.
    pub fn named(name: &str) -> Option<Bug> {
        Bug::ALL.iter().copied().find(|bug| bug.text() == name)
    }

    /// What goes wrong.
    pub fn describe(self) -> &'static str {
        match self {
            Bug::BusyRuleIgnored => "486 and 600 do not end the hunt under STOP_AFTER_USER_BUSY",
            Bug::StopCodeIgnored => "a gateway's stop codes do not end the hunt",
            Bug::SdpCommitmentIgnored => "a provisional with SDP does not commit the call",
            Bug::SwitchLimitOffByOne => "one gateway more than the limit is tried",
            Bug::InviteTimeoutIgnored => "a silent gateway is waited for until the resends are used up",
            Bug::StopAfterInviteTimeoutIgnored => "an INVITE timeout switches where it ends the call",
            Bug::TryingTimeoutIgnored => "a gateway that says only 100 is waited for without end",
            Bug::RingingTimeoutLate => "the ringing timeout fires a second late",
            Bug::UntilConnectIgnored => "a ringing timeout ends the call under UNTIL_CONNECT",
            Bug::SwitchAfterCancel => "the caller's CANCEL is answered, and the hunt goes on",
            Bug::ServiceUnavailablePassedOn => "a gateway's 503 reaches the caller as 503",
            Bug::CauseMapIgnored => "the mapping gateway's cause map is not used",
            Bug::MaxDurationIgnored => "a conversation lasts as long as it likes",
            Bug::SetupTimeoutIgnored => "set-up lasts as long as it likes",
            Bug::PriorityIgnored => "gateways are tried in the wrong order",
            Bug::ResendMissing => "the last resend of each message is left out",
            Bug::TimerLate => "every wake-up comes 40 ms late",
            Bug::TimerNotCancelled => "an INVITE is sent again although a provisional response came",
            Bug::CancelNotSent => "an attempt is left without CANCEL",
            Bug::FailureNotAcknowledged => "a gateway's failure gets no ACK",
            Bug::FailureAckUnderNewBranch => "the ACK of a failure has a branch of its own",
            Bug::AnswerNotResent => "the 2xx to the caller is sent once",
            Bug::LateAnswerNotAcknowledged => "a 2xx that nobody wants is ended without ACK",
            Bug::LateAnswerNotEnded => "a 2xx that nobody wants is acknowledged and left standing",
            Bug::TwoAnswers => "a 2xx that comes late is passed on to the caller, too",
            Bug::AckNotRepeated => "a copy of a 2xx does not get its ACK again",
            Bug::ByeBeforeAck => "the callee's BYE is passed on before the caller's ACK has come",
            Bug::ToTagKept => "another gateway's SDP goes up under the first To tag",
            Bug::TwoFinals => "a failed call gets a second final response",
            Bug::RingsAfterTheEnd => "a provisional response follows the final one",
            Bug::RequestTerminatedLost => "the caller's 487 is not sent at once",
            Bug::SlotNotReleased => "a slot is kept until the call's actor is gone",
            Bug::SlotReleasedTwice => "a slot is given back twice",
            Bug::SlotReleasedEarly => "a slot is given back when its attempt is cancelled",
            Bug::SlotAboveLimit => "a gateway takes one call more than max_calls",
            Bug::CpsIgnored => "a gateway takes more calls than its cps",
            Bug::RecordMissing => "calls end without a record",
            Bug::RecordTwice => "the record of a call is written twice",
            Bug::RecordOfAnotherStatus => "the record says another status than the caller got",
            Bug::NonconnectNotRecorded => "RECORD_NONCONNECT is not followed",
            Bug::ReleasedTwice => "a call is released twice",
            Bug::SendBeforeCommit => "writes are taken for stored when they are issued",
            Bug::CommitLost => "a commit is taken for stored and never made",
            Bug::FenceIgnored => "a call goes on after another node has claimed it",
            Bug::RestoreForgetsLeftAttempts => "a restored call knows nothing of attempts it had left",
            Bug::RestoreForgetsCandidates => "a restored call knows no further gateways",
            Bug::PanicLosesCall => "a call that panicked is not restored",
        }
    }
}
