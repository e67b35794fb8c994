//! What the model hears: everything that the switch is told of a call, in the model's own terms.

use crate::coverage::Happening;
use crate::peers::sdp_id;
use bytes::Bytes;
use tandem_sip::{Message, Method, Name};

/// What a call is told.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Response(Response),
    Request(Request),
    /// The request with this branch could not be delivered.
    Undeliverable(Bytes),
    /// Candidates by their places, and the number that was routed.
    Looked {
        gateways: Vec<usize>,
        called: String,
    },
    Admitted {
        gateway: usize,
        attempt: u16,
        granted: bool,
    },
    HangUp,
    Timer,
    /// The store may have lost the call's state.
    StoreLost,
    Stored {
        epoch: u32,
        seq: u64,
        result: StoreAnswer,
    },
}

impl Heard {
    /// What it is, in the coverage's terms.
    pub(crate) fn happening(&self) -> Option<Happening> {
        Some(match self {
            Heard::Response(response) => response.happening(),
            Heard::Request(request) => request.happening(),
            Heard::Undeliverable(_) => Happening::Undeliverable,
            Heard::Looked { .. } => return None,
            Heard::Admitted { granted: true, .. } => Happening::Granted,
            Heard::Admitted { granted: false, .. } => Happening::Refused,
            Heard::HangUp => Happening::HangUp,
            Heard::Timer => Happening::Timer,
            Heard::StoreLost => Happening::StoreLost,
            Heard::Stored { result: StoreAnswer::Stored, .. } => Happening::Stored,
            Heard::Stored { result: StoreAnswer::Failed, .. } => Happening::Failed,
            Heard::Stored { result: StoreAnswer::Fenced | StoreAnswer::Ended, .. } => Happening::Fenced,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreAnswer {
    Stored,
    Failed,
    Fenced,
    /// A call by the same names has ended.
    Ended,
}

#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(super) branch: Bytes,
    pub(super) status: u16,
    pub(super) method: Option<Method>,
    pub(super) tag: Bytes,
    pub(super) sdp: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(super) method: Option<Method>,
    pub(super) branch: Bytes,
    pub(super) cseq: u32,
    /// The whole value.
    pub(super) cseq_text: Bytes,
    pub(super) call_id: Bytes,
    pub(super) from_tag: Bytes,
    pub(super) to_tag: Option<Bytes>,
    pub(super) sdp: Option<u32>,
}

/// A slice of a message, without copying where it is one.
pub(super) fn slice(message: &Message, part: Option<&[u8]>) -> Bytes {
    part.map_or_else(Bytes::new, |part| message.raw().slice_ref(part))
}

pub(super) fn branch_of(message: &Message) -> Bytes {
    let via = message.top_via().ok();
    slice(message, via.and_then(|via| via.branch()))
}

impl Response {
    fn happening(&self) -> Happening {
        match self.status {
            _ if self.method != Some(Method::Invite) => Happening::OtherResponse,
            100..=199 if self.sdp.is_some() => Happening::EarlyMedia,
            100..=199 => Happening::Provisional,
            200..=299 => Happening::Success,
            _ => Happening::Failure,
        }
    }

    pub(crate) fn of(message: &Message) -> Self {
        Self {
            branch: branch_of(message),
            status: message.status().map_or(0, |status| status.code()),
            method: message.method(),
            tag: slice(message, message.to_tag()),
            sdp: sdp_id(message.body()),
        }
    }
}

impl Request {
    fn happening(&self) -> Happening {
        // Callers have Call-IDs of their own making, and gateways ours.
        let of_caller = self.call_id.contains(&b'@');
        match (self.method, of_caller) {
            (Some(Method::Invite), true) if self.to_tag.is_none() => Happening::InviteAgain,
            (Some(Method::Ack), _) => Happening::Ack,
            (Some(Method::Cancel), _) => Happening::Cancel,
            (Some(Method::Bye), true) => Happening::CallerBye,
            (Some(Method::Bye), false) => Happening::CalleeBye,
            (_, true) => Happening::CallerOther,
            (_, false) => Happening::CalleeOther,
        }
    }

    pub(crate) fn of(message: &Message) -> Self {
        Self {
            method: message.method(),
            branch: branch_of(message),
            cseq: message.cseq().map_or(0, |cseq| cseq.number),
            cseq_text: slice(message, message.first(Name::CSeq)),
            call_id: slice(message, message.call_id()),
            from_tag: slice(message, message.from_tag()),
            to_tag: message.to_tag().map(|tag| slice(message, Some(tag))),
            sdp: sdp_id(message.body()),
        }
    }
}
