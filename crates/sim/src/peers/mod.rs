//! Who the switch talks to: callers and carriers, well-behaved and not.

mod caller;
mod carrier;
mod phone;
mod script;
mod text;

pub(crate) use caller::{Caller, CallerAct};
pub(crate) use carrier::{Carrier, CarrierAct};
pub(crate) use phone::{ACCOUNT, Habits, Phone, PhoneAct};
pub(crate) use text::{RequestText, response, sdp, sdp_id};

use crate::rows::rows;
use bytes::Bytes;

/// Our address, as peers know it.
pub(crate) const SWITCH: &str = "203.0.113.1:5060";

rows! {
    /// How a caller behaves.
    pub(crate) CallerConduct {
        /// Answers what it should, and hangs up in the end.
        Talks = "talks and hangs up",
        /// Waits for the other side to hang up.
        Waits = "waits for the other side to hang up",
        /// CANCEL once it may.
        Cancels = "cancels at some time",
        /// CANCEL right behind the INVITE.
        CancelsAtOnce = "cancels before any response",
        /// CANCEL when the answer has come.
        CancelsTooLate = "cancels an answered call",
        /// BYE in an early dialog.
        HangsUpEarly = "BYE in the early dialog",
        /// BYE instead of ACK.
        HangsUpUnacknowledged = "BYE before ACK",
        /// No ACK for anything.
        NeverAcks = "never sends ACK",
        /// Some ACKs are lost.
        LosesAcks = "loses ACKs",
        /// ACK only after several copies of the 2xx.
        AcksLate = "sends ACK late",
        /// Says nothing any more.
        Vanishes = "vanishes",
        /// The same, and its port closes.
        ClosesPort = "vanishes, and its port answers with ICMP",
        /// Does not answer BYE.
        IgnoresBye = "never answers BYE",
        /// Sends copies of the INVITE.
        Repeats = "repeats the INVITE whatever comes",
        /// Requests in the dialog.
        Speaks = "sends OPTIONS, INFO, re-INVITE",
        /// ACK without SDP to an offer in the 2xx.
        LeavesOfferOpen = "delayed offer, never answered",
        /// Delayed offer, answered.
        OffersLate = "delayed offer, answered in ACK",
        /// A branch of RFC 2543.
        OldBranch = "branch without the cookie",
        /// No branch.
        NoBranch = "Via without branch",
        /// `Max-Forwards: 0`.
        TooManyHops = "Max-Forwards 0",
        /// `Require`.
        RequiresMore = "Require with an unknown tag",
        /// A malformed request.
        Malformed = "INVITE without CSeq",
    }
}

impl CallerConduct {
    pub(crate) fn is_misconduct(self) -> bool {
        !matches!(
            self,
            CallerConduct::Talks | CallerConduct::Waits | CallerConduct::Cancels | CallerConduct::OffersLate
        )
    }
}

rows! {
    /// How a carrier behaves at one INVITE.
    pub(crate) CarrierConduct {
        /// 100, 180, 200.
        Answers = "rings and answers",
        /// 200 as the first response.
        AnswersAtOnce = "answers without ringing",
        /// 183 with SDP, 200.
        EarlyMedia = "early media, then answers",
        /// Nothing at all.
        Silent = "silent",
        /// 100 only.
        TryingOnly = "100 only",
        /// 180, then nothing.
        RingsForEver = "180, then silence",
        /// 183, then nothing.
        ProgressesForEver = "183, then silence",
        /// 183, later 180, then nothing.
        RingsAfterProgress = "183, 180, then silence",
        /// 180, then a failure.
        RingsThenFails = "180, then a failure",
        /// 183 with SDP, then a failure.
        EarlyMediaThenFails = "183 with SDP, then a failure",
        /// A failure.
        Rejects = "rejects",
        /// 486 or 600.
        Busy = "busy",
        /// A stop code of its gateway.
        StopCode = "stop code",
        /// 401 or 407.
        Challenges = "challenges for ever",
        /// 3xx.
        Redirects = "redirects",
        /// Several To tags.
        Forks = "forks: several To tags, several 2xx",
        /// 2xx again and again.
        AnswersTwice = "2xx again after its ACK",
        /// 2xx although cancelled.
        AnswersCancelled = "2xx after CANCEL",
        /// 2xx long after.
        AnswersLate = "first response a late 2xx",
        /// 180 long after.
        RingsLate = "first response a late 180",
        /// A failure long after.
        FailsLate = "first response a late failure",
        /// CSeq of another method.
        WrongMethod = "CSeq of another method",
        /// CSeq of another number.
        WrongNumber = "CSeq of another number",
        /// A branch that is nobody's.
        WrongBranch = "branch that is nobody's",
        /// No message.
        Garbage = "garbage bytes",
        /// No Contact.
        NoContact = "2xx without Contact",
        /// 181, 182, 199.
        OddProvisionals = "181, 182, 199",
        /// BYE before the ACK.
        HangsUpAtOnce = "BYE right behind its 2xx",
        /// BYE after the answer.
        HangsUp = "answers, later hangs up",
        /// Does not answer BYE.
        IgnoresBye = "never answers BYE",
        /// Does not answer CANCEL.
        IgnoresCancel = "never answers CANCEL",
        /// 100 to BYE, and later 200.
        TakesTime = "100 to BYE, 200 much later",
        /// No To tag (RFC 2543).
        NoTag = "no To tag in its responses",
        /// 481 to everything.
        ForgetsDialogs = "481 to CANCEL and BYE",
        /// Requests in the dialog.
        Speaks = "sends OPTIONS, INFO, re-INVITE",
        /// SDP in the 180.
        RingsWithSdp = "180 with SDP, then anything",
        /// The 2xx has no SDP.
        AnswersWithoutSdp = "early media, 2xx without SDP",
    }
}

impl CarrierConduct {
    pub(crate) fn is_misconduct(self) -> bool {
        !matches!(
            self,
            CarrierConduct::Answers
                | CarrierConduct::AnswersAtOnce
                | CarrierConduct::EarlyMedia
                | CarrierConduct::Rejects
                | CarrierConduct::Busy
                | CarrierConduct::StopCode
                | CarrierConduct::RingsThenFails
                | CarrierConduct::HangsUp
        )
    }
}

/// What a peer does: sends now, and acts later.
#[derive(Debug)]
pub(crate) struct Doings<A> {
    pub(crate) sends: Vec<Bytes>,
    /// After so many milliseconds.
    pub(crate) later: Vec<(u64, A)>,
}

impl<A> Default for Doings<A> {
    fn default() -> Self {
        Self { sends: Vec::new(), later: Vec::new() }
    }
}

/// The wait before resend number `sent` of a peer, doubling from T1 to T2 (RFC 3261 §17.1.1.2); none after 64·T1.
pub(crate) fn peer_wait(sent: u32) -> Option<u64> {
    let waits = [500, 1_000, 2_000, 4_000, 4_000, 4_000, 4_000, 4_000, 4_000, 4_000];
    waits.get(sent as usize).copied()
}
