//! Where the values stand that identify a message: dispatch, call, dialog and transaction each ask for them, so they
//! are read once, when the message is parsed.

use super::Message;
use super::scan::Span;
use crate::header::{CSeq, NameAddr, Routing, Via};
use crate::name::Name;
use rsip::Method;

/// The identifying values. A missing or malformed one is not remembered: who asks for it reads it again and is told
/// what is wrong with it.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    via: Option<ViaAt>,
    cseq: Option<CSeqAt>,
    /// The tag in From.
    pub(crate) from: TagAt,
    /// The tag in To.
    pub(crate) to: TagAt,
}

/// What a From or To says about a tag.
#[derive(Clone, Copy)]
pub(crate) enum TagAt {
    /// The header is missing or malformed.
    Unreadable,
    /// There is no tag parameter.
    Absent,
    /// There is one; it may be empty.
    Present(Span),
}

#[derive(Clone, Copy)]
struct ViaAt {
    raw: Span,
    transport: Span,
    host: Span,
    port: Option<u16>,
    params_at: u32,
    branch: Span,
    rport: Option<Option<u16>>,
}

#[derive(Clone, Copy)]
struct CSeqAt {
    number: u32,
    method: Option<Method>,
    name: Span,
}

impl Keys {
    /// Nothing read yet.
    pub(crate) const UNREAD: Keys =
        Keys { via: None, cseq: None, from: TagAt::Unreadable, to: TagAt::Unreadable };

    /// Reads them.
    pub(crate) fn of(message: &Message) -> Keys {
        let text = message.raw();
        let top_via = message.items(Name::Via).next().and_then(|value| Via::parse(value).ok());
        let cseq = message.first(Name::CSeq).and_then(|value| CSeq::parse(value).ok());
        let tag = |name| match message.first(name).map(NameAddr::parse) {
            Some(Ok(address)) => {
                address.tag.map_or(TagAt::Absent, |tag| TagAt::Present(Span::within(text, tag)))
            }
            Some(Err(_)) | None => TagAt::Unreadable,
        };
        Keys {
            via: top_via.map(|via| ViaAt::of(text, &via)),
            cseq: cseq.map(|cseq| CSeqAt {
                number: cseq.number,
                method: cseq.method,
                name: Span::within(text, cseq.name),
            }),
            from: tag(Name::From),
            to: tag(Name::To),
        }
    }

    /// The topmost Via.
    pub(crate) fn top_via<'a>(&self, text: &'a [u8]) -> Option<Via<'a>> {
        let at = self.via?;
        Some(Via {
            transport: at.transport.cut(text),
            host: at.host.cut(text),
            port: at.port,
            params: Span { start: at.params_at, end: at.raw.end }.cut(text),
            raw: at.raw.cut(text),
            routing: Routing { branch: at.branch.cut(text), rport: at.rport },
        })
    }

    /// CSeq.
    pub(crate) fn cseq<'a>(&self, text: &'a [u8]) -> Option<CSeq<'a>> {
        let at = self.cseq?;
        Some(CSeq { number: at.number, method: at.method, name: at.name.cut(text) })
    }
}

impl ViaAt {
    fn of(text: &[u8], via: &Via<'_>) -> ViaAt {
        let raw = Span::within(text, via.raw);
        ViaAt {
            raw,
            transport: Span::within(text, via.transport),
            host: Span::within(text, via.host),
            port: via.port,
            params_at: raw.end - via.params.len() as u32,
            branch: Span::within(text, via.routing.branch),
            rport: via.routing.rport,
        }
    }
}

impl TagAt {
    /// The tag, if there is one that is not empty.
    pub(crate) fn tag(self, text: &[u8]) -> Option<&[u8]> {
        match self {
            TagAt::Unreadable | TagAt::Absent => None,
            TagAt::Present(span) => Some(span.cut(text)).filter(|tag| !tag.is_empty()),
        }
    }

    /// Whether the header can be read and does not hold a tag that names nothing: it would leave the dialog unnamed
    /// or doubly named.
    pub(crate) fn is_sound(self) -> bool {
        match self {
            TagAt::Unreadable => false,
            TagAt::Absent => true,
            TagAt::Present(span) => span.start < span.end,
        }
    }
}
