//! What every response to one request repeats (RFC 3261 §8.2.6.2).

use super::decimal::{put_decimal, put_ip};
use super::{Builder, put_line_safe};
use crate::header::{Param, Params};
use crate::message::Message;
use crate::message::keys::TagAt;
use crate::message::scan::Span;
use crate::name::Name;
use crate::status::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The lines that every response to one request repeats, printed once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    /// The Via lines, the Record-Route lines, From, Call-ID, CSeq, To without its line end so that a tag can follow
    /// (nothing if the request had none), Timestamp.
    lines: Bytes,
    via_end: u32,
    record_route_end: u32,
    identity_end: u32,
    to_end: u32,
    has_to_tag: bool,
}

impl ResponseHead {
    /// The head of all responses to a request that came from `source`. The topmost Via gets `received` where the
    /// request was not sent from its sent-by address or `rport` is asked for, and `rport` gets the source port (RFC 3261
    /// §18.2.1, RFC 3581 §4). Headers that are missing or malformed are left out or repeated as they are.
    pub fn of(request: &Message, source: SocketAddr) -> ResponseHead {
        let mut text = Vec::with_capacity(512);
        for (index, value) in request.values(Name::Via).enumerate() {
            text.extend_from_slice(b"Via: ");
            match index {
                0 => put_stamped(&mut text, value, request, source),
                1.. => put_line_safe(&mut text, value),
            }
            text.extend_from_slice(b"\r\n");
        }
        let via_end = text.len() as u32;
        for value in request.values(Name::RecordRoute) {
            put_header(&mut text, Name::RecordRoute, Some(value));
        }
        let record_route_end = text.len() as u32;
        for name in [Name::From, Name::CallId, Name::CSeq] {
            put_header(&mut text, name, request.first(name));
        }
        let identity_end = text.len() as u32;
        if let Some(to) = request.first(Name::To) {
            text.extend_from_slice(b"To: ");
            put_line_safe(&mut text, to);
        }
        let to_end = text.len() as u32;
        put_header(&mut text, Name::Timestamp, request.first(Name::Timestamp));
        let has_to_tag = matches!(request.keys().to, TagAt::Present(_));
        // It stays as long as its call.
        text.shrink_to_fit();
        ResponseHead { lines: text.into(), via_end, record_route_end, identity_end, to_end, has_to_tag }
    }

    /// Starts a response. `to_tag` is added unless the request had one. Record-Route is repeated in what can make a
    /// dialog, 101 to 299 (RFC 3261 §12.1.1), Timestamp in 100 (§8.2.6.1).
    pub fn respond(&self, status: StatusCode, to_tag: Option<&str>) -> Builder {
        self.respond_with_reason(status, status.reason().as_bytes(), to_tag)
    }

    /// As [`ResponseHead::respond`], with a reason phrase of its own.
    pub fn respond_with_reason(&self, status: StatusCode, reason: &[u8], to_tag: Option<&str>) -> Builder {
        let mut builder = Builder::response_with_reason(status, reason);
        let lines = |start, end| Span { start, end }.cut(&self.lines);
        let to_end = self.to_end;
        if status > StatusCode::TRYING && !status.is_failure() {
            builder.put_lines(lines(0, to_end));
        } else {
            builder.put_lines(lines(0, self.via_end));
            builder.put_lines(lines(self.record_route_end, to_end));
        }
        if self.identity_end < to_end {
            if let Some(tag) = to_tag.filter(|_| !self.has_to_tag) {
                builder.put_lines(b";tag=");
                builder.put_line_safe(tag.as_bytes());
            }
            builder.put_lines(b"\r\n");
        }
        if status == StatusCode::TRYING {
            builder.put_lines(self.lines.get(to_end as usize..).unwrap_or_default());
        }
        builder
    }
}

fn put_header(text: &mut Vec<u8>, name: Name, value: Option<&[u8]>) {
    if let Some(value) = value {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        put_line_safe(text, value);
        text.extend_from_slice(b"\r\n");
    }
}

/// The first Via line, its topmost value stamped with where the request came from.
fn put_stamped(text: &mut Vec<u8>, line: &[u8], request: &Message, source: SocketAddr) {
    let Ok(via) = request.top_via() else { return put_line_safe(text, line) };
    let top_at = (via.raw.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
    // A line of nothing but commas leaves the topmost value to a later one.
    let Some(after) = line.get(top_at.saturating_add(via.raw.len())..) else {
        return put_line_safe(text, line);
    };
    put_line_safe(text, &line[..top_at + via.raw.len() - via.params.len()]);
    for param in Params::new(via.params).map_while(Result::ok) {
        let is = |name: &[u8]| param.name.eq_ignore_ascii_case(name);
        if !is(b"rport") && !is(b"received") {
            put_param(text, &param);
        }
    }
    let asks_for_port = via.rport().is_some();
    // A socket for both families sees IPv4 peers as mapped addresses.
    let source_ip = source.ip().to_canonical();
    if asks_for_port || via.sent_by().and_then(|host| host.ip()) != Some(source_ip) {
        text.extend_from_slice(b";received=");
        put_ip(text, source_ip);
    }
    if asks_for_port {
        text.extend_from_slice(b";rport=");
        put_decimal(text, source.port().into());
    }
    put_line_safe(text, after);
}

fn put_param(text: &mut Vec<u8>, param: &Param<'_>) {
    text.push(b';');
    text.extend_from_slice(param.name);
    if let Some(value) = param.value {
        text.push(b'=');
        put_line_safe(text, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_whose_places_make_no_sense_prints_what_it_can() {
        for (via_end, to_end) in [(0, 0), (9, 3), (u32::MAX, u32::MAX), (3, 1_000)] {
            let head = ResponseHead {
                lines: Bytes::from_static(b"Via: x\r\n"),
                via_end,
                record_route_end: to_end,
                identity_end: via_end,
                to_end,
                has_to_tag: false,
            };
            for status in [StatusCode::TRYING, StatusCode::OK, StatusCode::BUSY_HERE] {
                assert!(head.respond(status, Some("t")).finish().starts_with(b"SIP/2.0 "));
            }
        }
    }
}
