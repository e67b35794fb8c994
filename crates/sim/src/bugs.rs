//! Bugs that can be planted, one at a time, between the machines and the world: what goes into a machine or comes out of
//! it is changed, and production code stays as it is. Each must be found.

use crate::rows::rows;

/// Declares the bugs, each with its name and with what goes wrong.
macro_rules! bugs {
    ($($variant:ident, $name:literal, $description:literal;)+) => {
        rows! {
            /// A bug that can be planted.
            pub Bug {
                $(#[doc = $description] $variant = $name),+
            }
        }

        impl Bug {
            /// What goes wrong.
            pub fn describe(self) -> &'static str {
                match self {
                    $(Bug::$variant => $description,)+
                }
            }
        }
    };
}

bugs! {
    // Failover table.
    BusyRuleIgnored, "busy-rule-ignored", "486 and 600 do not end the hunt under STOP_AFTER_USER_BUSY";
    StopCodeIgnored, "stop-code-ignored", "a gateway's stop codes do not end the hunt";
    SdpCommitmentIgnored, "sdp-commitment-ignored", "a provisional with SDP does not commit the call";
    SwitchLimitOffByOne, "switch-limit-off-by-one", "one gateway more than the limit is tried";
    InviteTimeoutIgnored, "invite-timeout-ignored",
        "a silent gateway is waited for until the resends are used up";
    StopAfterInviteTimeoutIgnored, "stop-after-invite-timeout-ignored",
        "an INVITE timeout switches where it ends the call";
    TryingTimeoutIgnored, "trying-timeout-ignored", "a gateway that says only 100 is waited for without end";
    RingingTimeoutLate, "ringing-timeout-late", "the ringing timeout fires a second late";
    UntilConnectIgnored, "until-connect-ignored", "a ringing timeout ends the call under UNTIL_CONNECT";
    SwitchAfterCancel, "switch-after-cancel", "the caller's CANCEL is answered, and the hunt goes on";
    ServiceUnavailablePassedOn, "503-passed-on", "a gateway's 503 reaches the caller as 503";
    CauseMapIgnored, "cause-map-ignored", "the mapping gateway's cause map is not used";

    // Limits.
    MaxDurationIgnored, "max-duration-ignored", "a conversation lasts as long as it likes";
    SetupTimeoutIgnored, "set-up-timeout-ignored", "set-up lasts as long as it likes";

    // Routing.
    PriorityIgnored, "priority-ignored", "gateways are tried in the wrong order";

    // Transactions.
    ResendMissing, "resend-missing", "the last resend of each message is left out";
    TimerLate, "timer-late", "every wake-up comes 40 ms late";
    TimerNotCancelled, "timer-not-cancelled", "an INVITE is sent again although a provisional response came";
    CancelNotSent, "cancel-not-sent", "an attempt is left without CANCEL";
    FailureNotAcknowledged, "failure-not-acknowledged", "a gateway's failure gets no ACK";
    FailureAckUnderNewBranch, "failure-ack-under-new-branch", "the ACK of a failure has a branch of its own";
    AnswerNotResent, "2xx-not-resent", "the 2xx to the caller is sent once";

    // Dialogs.
    LateAnswerNotAcknowledged, "late-2xx-not-acknowledged", "a 2xx that nobody wants is ended without ACK";
    LateAnswerNotEnded, "late-2xx-not-ended", "a 2xx that nobody wants is acknowledged and left standing";
    TwoAnswers, "two-answered-attempts", "a 2xx that comes late is passed on to the caller, too";
    AckNotRepeated, "ack-not-repeated", "a copy of a 2xx does not get its ACK again";
    ByeBeforeAck, "bye-before-ack", "the callee's BYE is passed on before the caller's ACK has come";
    ToTagKept, "to-tag-kept-over-other-sdp", "another gateway's SDP goes up under the first To tag";
    TwoFinals, "two-final-responses", "a failed call gets a second final response";
    RingsAfterTheEnd, "provisional-after-final", "a provisional response follows the final one";
    RequestTerminatedLost, "487-waits", "the caller's 487 is not sent at once";

    // Session timers.
    SilentPeerKept, "silent-peer-kept", "a session that the peer lets lapse ends a second late";
    SilentPeerDropped, "silent-peer-dropped", "a session that the peer may still refresh ends early";
    RefreshLate, "refresh-late", "a session is refreshed half a minute late";
    RefreshNotSent, "refresh-not-sent", "an UPDATE that refreshes a session is never sent";
    RefreshSaysNothing, "refresh-says-nothing", "a refresh does not name the session's interval";
    NoTimerCapIgnored, "no-timer-cap-ignored", "callers without session timer talk without end";

    // Reliable provisional responses.
    PrackNotSent, "prack-not-sent", "a gateway's reliable response is not acknowledged";
    PrackTwice, "prack-twice", "a gateway's reliable response is acknowledged twice";
    RseqJumps, "rseq-jumps", "RSeq counts on by two";
    AnswerNotHeld, "answer-before-prack", "the 2xx does not wait for the PRACK of a description";

    // Offers and answers.
    GlareAccepted, "glare-accepted", "an offer that crosses ours is answered with 200";
    OfferAnsweredTwice, "offer-answered-twice", "a refused offer is accepted later";
    OfferToItsMaker, "offer-to-its-maker", "a party is answered with its own description";
    AnswerLost, "answer-of-ack-lost", "the ACK that goes on has another description than the party's answer";

    // Inside an attempt.
    NonceCountRepeated, "nonce-count-repeated", "every answer to a challenge has the count 1";
    CredentialsAgain, "credentials-again", "a challenge that is not stale is answered again";
    RedirectRefusalIgnored, "redirect-refusal-ignored", "redirections are followed wherever they lead";
    TargetCountsAsAttempt, "target-counts-as-attempt", "the record lists an attempt for each target";

    // Slots.
    SlotNotReleased, "slot-not-released", "a slot is kept until the call's actor is gone";
    SlotReleasedTwice, "slot-released-twice", "a slot is given back twice";
    SlotReleasedEarly, "slot-released-on-cancel", "a slot is given back when its attempt is cancelled";
    SlotAboveLimit, "slot-above-limit", "a gateway takes one call more than max_calls";
    CpsIgnored, "cps-ignored", "a gateway takes more calls than its cps";

    // Records.
    RecordMissing, "record-missing", "calls end without a record";
    RecordTwice, "record-twice", "the record of a call is written twice";
    RecordOfAnotherStatus, "record-with-another-status", "the record says another status than the caller got";
    NonconnectNotRecorded, "unconnected-call-not-recorded", "RECORD_NONCONNECT is not followed";
    ReleasedTwice, "released-twice", "a call is released twice";

    // Commits.
    SendBeforeCommit, "send-before-commit", "writes are taken for stored when they are issued";
    CommitLost, "commit-lost", "a commit is taken for stored and never made";
    FenceIgnored, "fence-ignored", "a call goes on after another node has claimed it";

    // A store that loses what it had taken.
    LossIgnored, "loss-ignored", "calls that the store has lost are not written again";
    EndNotToldAgain, "end-not-told-again", "the store is not told again of calls that have ended";
    RecordWrittenAgain, "record-written-again", "a sink is written what it was written before";

    // Takeover.
    RestoreForgetsSession, "restore-forgets-session-timers", "a restored call has no session timers";
    RestoreForgetsLeftAttempts, "restore-forgets-left-attempts",
        "a restored call knows nothing of attempts it had left";
    RestoreForgetsCandidates, "restore-forgets-candidates", "a restored call knows no further gateways";
    PanicLosesCall, "panic-loses-call", "a call that panicked is not restored";
}

impl Bug {
    /// The bug of that name.
    pub fn named(name: &str) -> Option<Bug> {
        Bug::ALL.iter().copied().find(|bug| bug.text() == name)
    }
}
