//! What the runs have been through.

use crate::peers::{CallerConduct, CarrierConduct};
use crate::rows::rows;
use std::fmt;

rows! {
    /// The failover table, row by row, and what belongs to it.
    pub(crate) Row {
        /// No response in time, and the next gateway is tried.
        InviteTimeoutSwitches = "no response within the INVITE timeout: switch",
        /// The list of resends is shorter than the timeout.
        ResendsUsedUp = "no response and all resends used up: switch",
        /// `SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT`.
        InviteTimeoutEnds = "no response: end under STOP_AFTER_INVITE_TIMEOUT",
        /// ICMP, or no route.
        TransportErrorSwitches = "transport error: switch",
        /// Only a 100.
        TryingTimeoutSwitches = "only 100: CANCEL, switch",
        /// 180 without SDP commits to nothing.
        RangThenSwitches = "180 without SDP, then a failure: switch",
        /// `SS_SIP_STOP_SWITCH_AFTER_SDP`.
        SdpCommits = "18x with SDP, then a failure: end, committed",
        /// The same with the parameter off.
        SdpDoesNotCommit = "18x with SDP, then a failure: switch, not committed",
        /// 486, 600.
        BusyEnds = "486 or 600: end under STOP_AFTER_USER_BUSY",
        /// The same with the parameter off.
        BusySwitches = "486 or 600: switch",
        /// `stop_switching_response_code`.
        StopCodeEnds = "a stop code: end",
        /// Any other status.
        FailureSwitches = "any other failure status: switch",
        /// No credentials are kept.
        ChallengeSwitches = "401 or 407: switch",
        /// Not followed.
        RedirectSwitches = "3xx: switch",
        /// `SS_GATEWAY_SWITCH_UNTIL_CONNECT` is off.
        RingingTimeoutEnds = "ringing timeout: CANCEL, end",
        /// It is on.
        RingingTimeoutSwitches = "ringing timeout: CANCEL, switch under UNTIL_CONNECT",
        /// It is on, but SDP has committed the call.
        RingingTimeoutCommitted = "ringing timeout: end, committed",
        /// `SS_GATEWAY_SWITCH_UNTIL_CONNECT` is off.
        ProgressTimeoutEnds = "session-progress timeout: CANCEL, end",
        /// It is on.
        ProgressTimeoutSwitches = "session-progress timeout: CANCEL, switch under UNTIL_CONNECT",
        /// It is on, but SDP has committed the call.
        ProgressTimeoutCommitted = "session-progress timeout: end, committed",
        /// 2xx.
        Answered = "2xx: connected",
        /// 2xx of an attempt that was left.
        LateAnswer = "2xx after the attempt was left: ACK, BYE",
        /// A provisional of an attempt that was left unanswered.
        LateProvisional = "1xx after the attempt was left: CANCEL",
        /// The 2xx of another fork.
        ForkAnswer = "2xx of another fork: ACK, BYE",
        /// No final response.
        LeftRunsOut = "no final response within 64·T1 of leaving: slot back",
        /// While an attempt is open.
        CallerCancels = "the caller gives up: CANCEL, 487",
        /// `SS_GATEWAY_SWITCH_LIMIT`.
        SwitchLimitEnds = "switch limit: end",
        /// No gateway is left.
        RoutesExhausted = "no gateway is left: end",
        /// No gateway to begin with.
        NoRoute = "no gateway takes the number: 503",
        /// A gateway at its limit.
        Refused = "a gateway at its limit is passed over: neither attempt nor switch",
        /// No word on a slot.
        AdmissionTimeout = "no word on a slot: passed over",
        /// `SS_SETUP_TIMEOUT`.
        SetupTimeout = "set-up timeout: end",
        /// `SS_MAX_CALL_DURATION`.
        MaxDuration = "maximum duration: BYE both ways",
        /// An operator ended it.
        HungUp = "an operator hangs up",
    }
}

rows! {
    /// What goes on in calls besides setting them up and ending them.
    pub(crate) Talk {
        /// Session timers (RFC 4028).
        WeRefreshCaller = "session of the caller's leg that the switch refreshes",
        /// The caller does.
        CallerRefreshes = "session of the caller's leg that the caller refreshes",
        /// The switch does.
        WeRefreshCallee = "session of the callee's leg that the switch refreshes",
        /// The callee does.
        CalleeRefreshes = "session of the callee's leg that the callee refreshes",
        /// No session timer.
        UntimedCaller = "caller without session timer",
        /// No session timer.
        UntimedCallee = "callee without session timer",
        /// `Allow: UPDATE`.
        RefreshByUpdate = "refresh by UPDATE",
        /// No UPDATE.
        RefreshByInvite = "refresh, or what was missed, by re-INVITE",
        /// 405.
        UpdateRefused = "UPDATE gets 405",
        /// 422.
        TheyWantLonger = "refresh or offer gets 422",
        /// 491.
        RefreshCrossed = "refresh or offer gets 491",
        /// A party's.
        PartyRefreshes = "UPDATE of a party without an offer",
        /// 422.
        WeWantLonger = "422 inside the dialog",
        /// 422 to the caller's INVITE.
        IntervalTooSmall = "422 to the caller's INVITE",
        /// 422 of a gateway.
        LongerAsked = "422 of a gateway: INVITE again",
        /// The end.
        CallerSilent = "caller does not refresh: session timeout",
        /// The end.
        CalleeSilent = "callee does not refresh: session timeout",
        /// The end.
        RefreshFails = "refresh without answer, or 408 or 481: session timeout",
        /// `SS_SIP_NO_TIMER_ACTION`.
        Probe = "re-INVITE to a party without session timer",
        /// The end.
        ProbeFails = "probe without answer: session timeout",
        /// `SS_SIP_NO_TIMER_REINVITE_INTERVAL`.
        NoTimerCap = "no-timer cap",
        /// `SS_MAX_CALL_DURATION`.
        MaxDuration = "maximum duration",
        /// Reliable provisional responses (RFC 3262).
        RingsReliably = "18x sent reliably",
        /// PRACK.
        Pracked = "caller's PRACK",
        /// 2xx.
        AnswerHeld = "caller's PRACK that the answer has waited for",
        /// 504.
        NoPrack = "no PRACK: 504",
        /// 420 or 421.
        ReliabilityRefused = "100rel refused or missed: 420, 421",
        /// 1xx of a gateway.
        ReliableHeard = "18x of a gateway with RSeq",
        /// A delayed offer.
        AnswerInPrack = "answer to a gateway's offer in PRACK",
        /// Offers (RFC 3264).
        CallerInvites = "re-INVITE of the caller with an offer",
        /// Without.
        CallerAsks = "re-INVITE of the caller without an offer",
        /// UPDATE.
        CallerUpdates = "UPDATE of the caller with an offer",
        /// The callee's.
        CalleeInvites = "re-INVITE of the callee with an offer",
        /// Without.
        CalleeAsks = "re-INVITE of the callee without an offer",
        /// UPDATE.
        CalleeUpdates = "UPDATE of the callee with an offer",
        /// 2xx.
        OfferAnswered = "offer answered",
        /// 2xx.
        RefreshAnswered = "request without an offer answered",
        /// Any failure.
        OfferRefused = "offer refused",
        /// 491.
        Glare = "491",
        /// 500.
        TooSoon = "500 with Retry-After",
        /// 487.
        BrokenOff = "487: the call ends over an open offer",
        /// Compared at the end.
        Agreement = "both ends hold the same session",
        /// Inside an attempt.
        ChallengeAnswered = "challenge answered",
        /// Stale.
        StaleAnswered = "challenge answered with a new nonce",
        /// 3xx.
        RedirectFollowed = "redirection followed",
        /// RFC 3263.
        NextTarget = "next target",
        /// No response.
        TargetFailed = "target without response",
        /// Takeover.
        PanicsEarly = "panic before the answer",
        /// With a PRACK to come.
        PanicsUnacknowledged = "panic while a PRACK is waited for",
        /// In conversation.
        PanicsTalking = "panic in conversation",
        /// With something open.
        PanicsInExchange = "panic while an offer or refresh is open",
        /// Released.
        PanicsEnded = "panic after the end",
    }
}

rows! {
    /// What was done to the switch.
    pub(crate) Fault {
        /// A datagram was lost.
        Loss = "datagram lost",
        /// A datagram came twice.
        Duplicate = "datagram doubled",
        /// A datagram was overtaken.
        Reorder = "datagram late, overtaken by others",
        /// ICMP came back.
        Icmp = "ICMP unreachable",
        /// The transport refused to send.
        NoRoute = "no route to a gateway",
        /// A write took its time.
        SlowWrite = "slow write",
        /// A write had no answer in time.
        StalledWrite = "write without an answer",
        /// A write failed.
        FailedWrite = "failed write",
        /// A write was made and its answer lost.
        LostAnswer = "write made, answer lost",
        /// The store lost everything.
        Emptied = "store back empty",
        /// The store lost what it had acknowledged.
        FailedOver = "failover that loses acknowledged writes",
        /// And another node was heard by the new one meanwhile.
        TwoMasters = "two masters for a while",
        /// A sink was written, and the store does not know.
        LostConfirmation = "records written, confirmation lost",
        /// A claim failed.
        FailedClaim = "claim while the store is away",
        /// Another node claimed the call.
        Stolen = "call claimed by another node",
        /// The machine panicked.
        Panic = "panic",
        /// And again.
        SecondPanic = "second panic",
        /// A gateway's actor was started anew.
        GatewayRestart = "gateway's actor started anew",
        /// A gateway's actor said nothing.
        LostAdmission = "admission without an answer",
        /// A gateway's actor took its time.
        SlowAdmission = "slow admission",
        /// Bytes that are no message.
        Garbage = "garbage bytes",
        /// A peer that breaks the protocol.
        Misconduct = "misconduct of a peer",
    }
}

rows! {
    /// How far the model thinks that a call has come.
    pub(crate) Phase {
        /// Waiting for routes.
        Routing = "routing",
        /// Waiting for a slot.
        Admitting = "admitting",
        /// INVITE out, nothing heard.
        Unanswered = "unanswered",
        /// 100.
        Trying = "trying",
        /// 183.
        Progress = "progress",
        /// 180.
        Ringing = "ringing",
        /// Answered, no ACK yet.
        Answered = "answered",
        /// In conversation.
        Talking = "talking",
        /// Released.
        Ended = "ended",
        /// Between a panic and its claim.
        Restoring = "restoring",
    }
}

rows! {
    /// What a call is told.
    pub(crate) Happening {
        /// INVITE again.
        InviteAgain = "INVITE again",
        /// ACK.
        Ack = "ACK",
        /// CANCEL.
        Cancel = "CANCEL",
        /// BYE of the caller.
        CallerBye = "BYE (caller)",
        /// Another request of the caller.
        CallerOther = "other (caller)",
        /// Requests of gateways.
        CalleeBye = "BYE (callee)",
        /// Another request of a gateway.
        CalleeOther = "other (callee)",
        /// 1xx without SDP.
        Provisional = "1xx",
        /// 1xx with SDP.
        EarlyMedia = "1xx + SDP",
        /// 2xx.
        Success = "2xx",
        /// 3xx to 6xx.
        Failure = "3xx–6xx",
        /// A response to BYE or CANCEL.
        OtherResponse = "other response",
        /// The timer.
        Timer = "timer",
        /// The transport.
        Undeliverable = "undeliverable",
        /// A slot.
        Granted = "slot granted",
        /// No slot.
        Refused = "slot refused",
        /// A write is stored.
        Stored = "stored",
        /// A write failed.
        Failed = "write failed",
        /// A write was refused.
        Fenced = "fenced",
        /// The store may have lost the call.
        StoreLost = "store lost",
        /// An operator.
        HangUp = "hang-up",
        /// A panic.
        Panic = "panic",
    }
}

/// Counts of what was reached.
#[derive(Clone, Debug)]
pub struct Coverage {
    runs: u64,
    calls: u64,
    rows: Vec<u64>,
    faults: Vec<u64>,
    carriers: Vec<u64>,
    callers: Vec<u64>,
    talks: Vec<u64>,
    /// By phase, then by happening.
    happenings: Vec<Vec<u64>>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            runs: 0,
            calls: 0,
            rows: vec![0; Row::ALL.len()],
            faults: vec![0; Fault::ALL.len()],
            carriers: vec![0; CarrierConduct::ALL.len()],
            callers: vec![0; CallerConduct::ALL.len()],
            talks: vec![0; Talk::ALL.len()],
            happenings: vec![vec![0; Happening::ALL.len()]; Phase::ALL.len()],
        }
    }
}

impl Coverage {
    pub(crate) fn row(&mut self, row: Row) {
        self.rows[row as usize] += 1;
    }

    pub(crate) fn talk(&mut self, talk: Talk) {
        self.talks[talk as usize] += 1;
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    pub(crate) fn carrier(&mut self, conduct: CarrierConduct) {
        self.carriers[conduct as usize] += 1;
        if conduct.is_misconduct() {
            self.fault(Fault::Misconduct);
        }
    }

    pub(crate) fn caller(&mut self, conduct: CallerConduct) {
        self.callers[conduct as usize] += 1;
        if conduct.is_misconduct() {
            self.fault(Fault::Misconduct);
        }
    }

    pub(crate) fn happening(&mut self, phase: Phase, happening: Happening) {
        self.happenings[phase as usize][happening as usize] += 1;
    }

    pub(crate) fn call(&mut self) {
        self.calls += 1;
    }

    pub(crate) fn run(&mut self) {
        self.runs += 1;
    }

    /// Runs counted.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Calls counted.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Faults of all kinds.
    pub fn faults(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// Adds the counts of other runs.
    pub fn add(&mut self, other: &Coverage) {
        self.runs += other.runs;
        self.calls += other.calls;
        let lists = [
            (&mut self.rows, &other.rows),
            (&mut self.faults, &other.faults),
            (&mut self.carriers, &other.carriers),
            (&mut self.callers, &other.callers),
            (&mut self.talks, &other.talks),
        ];
        for (to, from) in lists {
            add_list(to, from);
        }
        for (to, from) in self.happenings.iter_mut().zip(&other.happenings) {
            add_list(to, from);
        }
    }

    /// Rows of every table that no run has reached.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let mut note = |table: &str, counts: &[u64], text: &dyn Fn(usize) -> &'static str| {
            let empty = counts.iter().enumerate().filter(|(_, count)| **count == 0);
            missing.extend(empty.map(|(place, _)| format!("{table}: {}", text(place))));
        };
        note("failover table", &self.rows, &|place| Row::ALL[place].text());
        note("fault", &self.faults, &|place| Fault::ALL[place].text());
        note("carrier", &self.carriers, &|place| CarrierConduct::ALL[place].text());
        note("caller", &self.callers, &|place| CallerConduct::ALL[place].text());
        note("conversation", &self.talks, &|place| Talk::ALL[place].text());
        let by_phase: Vec<u64> = self.happenings.iter().map(|counts| counts.iter().sum()).collect();
        note("state", &by_phase, &|place| Phase::ALL[place].text());
        let by_happening: Vec<u64> = (0..Happening::ALL.len())
            .map(|place| self.happenings.iter().map(|counts| counts[place]).sum())
            .collect();
        note("event", &by_happening, &|place| Happening::ALL[place].text());
        missing
    }
}

fn add_list(to: &mut [u64], from: &[u64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

impl fmt::Display for Coverage {
    /// Every table with its counts, and the calls' states by what happened to them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs, {} calls, {} faults", self.runs, self.calls, self.faults())?;
        writeln!(f, "\nfailover table")?;
        for row in Row::ALL {
            writeln!(f, "  {:>9}  {row}", self.rows[*row as usize])?;
        }
        writeln!(f, "\nfaults")?;
        for fault in Fault::ALL {
            writeln!(f, "  {:>9}  {fault}", self.faults[*fault as usize])?;
        }
        writeln!(f, "\ncarriers")?;
        for conduct in CarrierConduct::ALL {
            writeln!(f, "  {:>9}  {conduct}", self.carriers[*conduct as usize])?;
        }
        writeln!(f, "\ncallers")?;
        for conduct in CallerConduct::ALL {
            writeln!(f, "  {:>9}  {conduct}", self.callers[*conduct as usize])?;
        }
        writeln!(f, "\nconversations")?;
        for talk in Talk::ALL {
            writeln!(f, "  {:>9}  {talk}", self.talks[*talk as usize])?;
        }
        write!(f, "\nstates by events\n  {:<16}", "")?;
        for phase in Phase::ALL {
            write!(f, " {phase:>10}")?;
        }
        for happening in Happening::ALL {
            write!(f, "\n  {happening:<16}")?;
            for phase in Phase::ALL {
                match self.happenings[*phase as usize][*happening as usize] {
                    0 => write!(f, " {:>10}", "·")?,
                    count => write!(f, " {count:>10}")?,
                }
            }
        }
        writeln!(f)
    }
}
