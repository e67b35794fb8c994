//! Messages of the caller and of the gateways.

use bytes::Bytes;
use std::fmt::Write;
use std::net::SocketAddr;
use std::ops::Deref;
use tandem_sip::flow::Flow;
use tandem_sip::time::Mono;
use tandem_sip::{Limits, Message, Name, ResponseHead, StatusCode};

/// A message of the call, as its receiver has it.
#[derive(Clone)]
pub(super) struct Got {
    pub(super) message: Message,
    pub(super) flow: Flow,
    /// The commit it waited for.
    pub(super) after: Option<u64>,
    pub(super) at: Mono,
}

impl Deref for Got {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Got {
    /// `INVITE`, or `180`.
    pub(super) fn what(&self) -> String {
        what(&self.message)
    }

    /// All its header lines but those of the body.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.message.raw()).into_owned()
    }

    /// The value of its first header of that name.
    pub(super) fn value(&self, name: Name) -> String {
        String::from_utf8_lossy(self.message.first(name).unwrap_or_default()).into_owned()
    }

    pub(super) fn branch(&self) -> Vec<u8> {
        branch(&self.message)
    }

    pub(super) fn tag_in_to(&self) -> String {
        String::from_utf8_lossy(self.message.to_tag().unwrap_or_default()).into_owned()
    }

    /// The body as text; empty without one.
    pub(super) fn body_text(&self) -> String {
        String::from_utf8_lossy(self.message.body()).into_owned()
    }

    pub(super) fn cseq_number(&self) -> u32 {
        self.message.cseq().expect("a CSeq").number
    }

    /// The values of Reason, as `SIP 486 text`.
    pub(super) fn reasons(&self) -> Vec<String> {
        self.message
            .reasons()
            .map(|reason| {
                let reason = reason.expect("a Reason that can be read");
                format!(
                    "{} {} {}",
                    String::from_utf8_lossy(&reason.protocol),
                    reason.cause.unwrap_or_default(),
                    String::from_utf8_lossy(reason.text.as_deref().unwrap_or_default())
                )
            })
            .collect()
    }
}

pub(super) fn what(message: &Message) -> String {
    match message.status() {
        Some(status) => status.code().to_string(),
        None => String::from_utf8_lossy(message.method_name()).into_owned(),
    }
}

pub(super) fn branch(message: &Message) -> Vec<u8> {
    let via = message.top_via().expect("a Via");
    via.branch().expect("a branch").to_vec()
}

pub(super) fn parse(text: impl Into<Bytes>) -> Message {
    Message::parse(text.into(), &Limits::default()).expect("a message")
}

/// A response of a gateway or of the caller.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    tag: Option<String>,
    body: Option<String>,
    lines: String,
    contact: Option<String>,
}

/// A response with To tag `gw` (none in a 100) and a Contact at its sender.
pub(super) fn reply(status: u16) -> Reply {
    Reply {
        status,
        tag: (status > 100).then(|| "gw".to_owned()),
        body: None,
        lines: String::new(),
        contact: None,
    }
}

impl Reply {
    pub(super) fn tag(mut self, tag: &str) -> Self {
        self.tag = Some(tag.to_owned());
        self
    }

    pub(super) fn sdp(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Adds a header line.
    pub(super) fn line(mut self, line: &str) -> Self {
        writeln!(self.lines, "{line}\r").expect("a String grows");
        self
    }

    /// Another Contact; an empty one is none.
    pub(super) fn contact(mut self, contact: &str) -> Self {
        self.contact = Some(contact.to_owned());
        self
    }

    /// The response to `request`, as `sender` sends it.
    pub(super) fn to(&self, request: &Message, sender: SocketAddr) -> Message {
        let status = StatusCode::new(self.status).expect("a status");
        let mut head = ResponseHead::of(request, sender).respond(status, self.tag.as_deref());
        let contact = self.contact.clone().unwrap_or(format!("<sip:gw@{sender}>"));
        if !contact.is_empty() && status > StatusCode::TRYING {
            head = head.header(Name::Contact, contact);
        }
        for line in self.lines.lines() {
            head = head.line(line.as_bytes());
        }
        parse(match &self.body {
            Some(body) => head.body(b"application/sdp", body.as_bytes()),
            None => head.finish(),
        })
    }
}

/// One end of a dialog with the call, as the peer sees it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The peer's From value with its tag.
    pub(super) from: String,
    /// Our side with its tag, if there is one.
    pub(super) to: String,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    pub(super) target: String,
    /// Tells this peer's branches from those of others.
    pub(super) name: String,
}

impl Peer {
    /// A request of the peer with its next sequence number.
    pub(super) fn request(&mut self, method: &str) -> Message {
        self.cseq += 1;
        self.request_with(method, self.cseq, "", None)
    }

    /// An INVITE or UPDATE of the peer with its next sequence number.
    pub(super) fn offer(&mut self, method: &str, offer: Option<&str>) -> Message {
        self.cseq += 1;
        let contact = format!("Contact: <sip:{}@{}>\r\n", self.name, self.address);
        self.request_with(method, self.cseq, &contact, offer)
    }

    /// A request with that sequence number, more header lines, and a body.
    pub(super) fn request_with(&self, method: &str, cseq: u32, lines: &str, body: Option<&str>) -> Message {
        let content_type = body.map_or("", |_| "Content-Type: application/sdp\r\n");
        let body = body.unwrap_or_default();
        parse(format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {address};branch=z9hG4bK{name}{method}{cseq}\r\n\
             Max-Forwards: 70\r\n\
             From: {from}\r\n\
             To: {to}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             {lines}{content_type}Content-Length: {length}\r\n\r\n{body}",
            target = self.target,
            address = self.address,
            name = self.name,
            from = self.from,
            to = self.to,
            call_id = self.call_id,
            length = body.len()
        ))
    }
}

/// The URI of the Contact.
pub(super) fn contact_uri(message: &Message) -> Option<String> {
    let contact = message.contact()?.expect("a Contact that can be read");
    Some(String::from_utf8_lossy(contact.uri).into_owned())
}
