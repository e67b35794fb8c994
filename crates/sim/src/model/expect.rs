//! What the model waits for the switch to do.

use super::belief::Facts;
use crate::violation::Rule;
use bytes::Bytes;

/// Something that the switch has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// 100 to the caller's INVITE.
    Trying,
    /// A further provisional response, under the To tag of that number.
    Ring {
        status: u16,
        sdp: Option<u32>,
        tag: u32,
    },
    /// The final response.
    Final {
        status: u16,
        sdp: Option<u32>,
        tag: u32,
    },
    /// The last response to the caller's INVITE once more.
    ResponseAgain,
    /// The final response to another request.
    Reply {
        branch: Bytes,
        cseq: Bytes,
        status: u16,
    },
    /// INVITE of an attempt.
    Invite(usize),
    InviteAgain(usize),
    Cancel(usize),
    CancelAgain(usize),
    /// ACK of an attempt's failure.
    AckFailure(usize),
    /// ACK of an attempt's 2xx, and what its body is.
    Ack {
        attempt: usize,
        tag: Bytes,
        body: AckBody,
    },
    AckAgain {
        attempt: usize,
        tag: Bytes,
    },
    Bye(Leg),
    ByeAgain(Leg),
    Lookup,
    Admit {
        gateway: usize,
        attempt: u16,
    },
    Release {
        gateway: usize,
        attempt: u16,
    },
    /// Events for observers.
    Rings,
    Answers,
    Releases(Facts),
}

impl What {
    /// The rule that is broken if it is not done.
    pub(super) fn rule(&self) -> Rule {
        match self {
            What::Ack { .. } | What::AckAgain { .. } | What::Bye(_) => Rule::NoOrphans,
            What::Release { .. } => Rule::Slots,
            What::Releases(_) => Rule::Release,
            What::Trying
            | What::Ring { .. }
            | What::Final { .. }
            | What::ResponseAgain
            | What::Reply { .. }
            | What::Invite(_)
            | What::InviteAgain(_)
            | What::Cancel(_)
            | What::CancelAgain(_)
            | What::AckFailure(_)
            | What::ByeAgain(_)
            | What::Lookup
            | What::Admit { .. }
            | What::Rings
            | What::Answers => Rule::Missing,
        }
    }

    /// Whether it is the ACK of that dialog's 2xx.
    pub(super) fn acknowledges(&self, leg: &Leg) -> bool {
        let What::Ack { attempt, tag, .. } = self else { return false };
        matches!(leg, Leg::Callee { attempt: of, tag: of_tag } if of == attempt && of_tag == tag)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckBody {
    None,
    /// The caller's answer to the callee's offer.
    Answer(u32),
    /// The offer is declined.
    Refusal,
}

/// Which dialog a BYE ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    Caller,
    Callee { attempt: usize, tag: Bytes },
}

/// When it has to be done.
#[derive(Clone, Debug)]
pub(super) enum Due {
    /// In this step.
    Now,
    /// Once that commit is stored, or 250 ms after it was asked for.
    After { seq: u64, by: u64 },
    /// Once the call's end is stored, however long that takes.
    AfterEnd { seq: u64 },
}

#[derive(Clone, Debug)]
pub(super) struct Expectation {
    pub(super) what: What,
    pub(super) due: Due,
    /// The commit that it waits for, also once it waits no longer.
    pub(super) after: Option<(u64, u64)>,
}
