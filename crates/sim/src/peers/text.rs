//! SIP text as the peers write it.

use super::SWITCH;
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{Message, Name, ResponseHead, StatusCode};

/// A session description that is told apart by its origin's number.
pub(crate) fn sdp(id: u32) -> String {
    format!(
        "v=0\r\no=- {id} 1 IN IP4 198.51.100.99\r\ns=-\r\nc=IN IP4 198.51.100.99\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0\r\n"
    )
}

/// The number in the origin of a session description.
pub(crate) fn sdp_id(body: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(body).ok()?;
    text.split("\r\n").find_map(|line| line.strip_prefix("o=- "))?.split(' ').next()?.parse().ok()
}

/// A request of a peer.
pub(crate) struct RequestText<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    /// The Via value behind the address: `;branch=…`.
    pub(crate) via_parameters: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) call_id: &'a str,
    /// Number and method.
    pub(crate) cseq: (u32, &'a str),
    /// More header lines, each with its line end.
    pub(crate) lines: &'a str,
    pub(crate) body: Option<&'a str>,
}

impl RequestText<'_> {
    pub(crate) fn print(&self) -> Bytes {
        let content_type = self.body.map_or("", |_| "Content-Type: application/sdp\r\n");
        let body = self.body.unwrap_or_default();
        Bytes::from(format!(
            "{} {} SIP/2.0\r\nVia: SIP/2.0/UDP {}{}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n{}{}\
             Content-Length: {}\r\n\r\n{}",
            self.method,
            self.target,
            self.address,
            self.via_parameters,
            self.from,
            self.to,
            self.call_id,
            self.cseq.0,
            self.cseq.1,
            self.lines,
            content_type,
            body.len(),
            body
        ))
    }
}

/// A response of a peer to `request`.
pub(crate) fn response(
    request: &Message,
    status: u16,
    tag: Option<&str>,
    contact: Option<SocketAddr>,
    body: Option<&str>,
) -> Bytes {
    let source: SocketAddr = SWITCH.parse().expect("our address");
    let status = StatusCode::new(status).expect("a status");
    let mut response = ResponseHead::of(request, source).respond(status, tag);
    if let Some(contact) = contact {
        response = response.header_fmt(Name::Contact, format_args!("<sip:peer@{contact}>"));
    }
    match body {
        Some(body) => response.body(b"application/sdp", body.as_bytes()),
        None => response.finish(),
    }
}

/// A value as text.
pub(super) fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// The URI of the Contact.
pub(super) fn contact_uri(message: &Message) -> Option<String> {
    Some(String::from_utf8_lossy(message.contact()?.ok()?.uri).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_description_is_told_apart_by_its_origin() {
        assert_eq!(sdp_id(sdp(4711).as_bytes()), Some(4711));
        assert_eq!(sdp_id(b"v=0\r\n"), None);
    }
}
