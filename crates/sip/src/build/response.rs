//! What every response to one request repeats (RFC 3261 §8.2.6.2).

use super::{Builder, put_fmt, put_line_safe};
use crate::header::{Params, Via};
use crate::message::{Items, Message};
use crate::name::Name;
use crate::status::StatusCode;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The lines that every response to one request repeats, printed once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    via: Bytes,
    record_route: Bytes,
    /// From, Call-ID, CSeq.
    identity: Bytes,
    /// To without its line end, so that a tag can follow. Empty if the request had none.
    to: Bytes,
    has_to_tag: bool,
    timestamp: Bytes,
}

impl ResponseHead {
    /// The head of all responses to a request that came from `source`. The topmost Via gets `received` where the
    /// request was not sent from its sent-by address or `rport` is asked for, and `rport` gets the source port (RFC 3261
    /// §18.2.1, RFC 3581 §4). Headers that are missing or malformed are left out or repeated as they are.
    pub fn of(request: &Message, source: SocketAddr) -> ResponseHead {
        let mut text = BytesMut::with_capacity(512);
        for (index, value) in request.values(Name::Via).enumerate() {
            text.put_slice(b"Via: ");
            match index {
                0 => put_stamped(&mut text, value, source),
                1.. => put_line_safe(&mut text, value),
            }
            text.put_slice(b"\r\n");
        }
        let via_end = text.len();
        put_all(&mut text, request, Name::RecordRoute);
        let record_route_end = text.len();
        for name in [Name::From, Name::CallId, Name::CSeq] {
            put_first(&mut text, request, name);
        }
        let identity_end = text.len();
        if let Some(to) = request.first(Name::To) {
            text.put_slice(b"To: ");
            put_line_safe(&mut text, to);
        }
        let to_end = text.len();
        put_first(&mut text, request, Name::Timestamp);
        let text = text.freeze();
        ResponseHead {
            via: text.slice(..via_end),
            record_route: text.slice(via_end..record_route_end),
            identity: text.slice(record_route_end..identity_end),
            to: text.slice(identity_end..to_end),
            has_to_tag: request.to().is_ok_and(|to| to.param("tag").is_some()),
            timestamp: text.slice(to_end..),
        }
    }

    /// Starts a response. `to_tag` is added unless the request had one. Record-Route is repeated in what can make a
    /// dialog, 101 to 299 (RFC 3261 §12.1.1), Timestamp in 100 (§8.2.6.1).
    pub fn respond(&self, status: StatusCode, to_tag: Option<&str>) -> Builder {
        self.respond_with_reason(status, status.reason().as_bytes(), to_tag)
    }

    /// As [`ResponseHead::respond`], with a reason phrase of its own.
    pub fn respond_with_reason(&self, status: StatusCode, reason: &[u8], to_tag: Option<&str>) -> Builder {
        let mut builder = Builder::response_with_reason(status, reason);
        builder.put_lines(&self.via);
        if status > StatusCode::TRYING && !status.is_failure() {
            builder.put_lines(&self.record_route);
        }
        builder.put_lines(&self.identity);
        if !self.to.is_empty() {
            builder.put_lines(&self.to);
            if let Some(tag) = to_tag.filter(|_| !self.has_to_tag) {
                builder.put_lines(b";tag=");
                builder.put_line_safe(tag.as_bytes());
            }
            builder.put_lines(b"\r\n");
        }
        if status == StatusCode::TRYING {
            builder.put_lines(&self.timestamp);
        }
        builder
    }
}

fn put_all(text: &mut BytesMut, request: &Message, name: Name) {
    for value in request.values(name) {
        put_header(text, name, value);
    }
}

fn put_first(text: &mut BytesMut, request: &Message, name: Name) {
    if let Some(value) = request.first(name) {
        put_header(text, name, value);
    }
}

fn put_header(text: &mut BytesMut, name: Name, value: &[u8]) {
    text.put_slice(name.as_str().as_bytes());
    text.put_slice(b": ");
    put_line_safe(text, value);
    text.put_slice(b"\r\n");
}

/// The first Via line, its topmost value stamped with where the request came from.
fn put_stamped(text: &mut BytesMut, line: &[u8], source: SocketAddr) {
    let top = Items::new(line).next().unwrap_or_default();
    let Ok(via) = Via::parse(top) else { return put_line_safe(text, line) };
    let top_at = top.as_ptr() as usize - line.as_ptr() as usize;
    let (before, after) = (&line[..top_at], &line[top_at + top.len()..]);
    put_line_safe(text, before);
    put_line_safe(text, &top[..top.len() - via.params.len()]);
    let asks_for_port = via.rport().is_some();
    for param in Params::new(via.params).map_while(Result::ok) {
        let is = |name: &[u8]| param.name.eq_ignore_ascii_case(name);
        if is(b"received") || is(b"rport") {
            continue;
        }
        text.put_u8(b';');
        text.put_slice(param.name);
        if let Some(value) = param.value {
            text.put_u8(b'=');
            put_line_safe(text, value);
        }
    }
    // A socket for both families sees IPv4 peers as mapped addresses.
    let source_ip = source.ip().to_canonical();
    let is_sent_by = via.sent_by().and_then(|host| host.ip()) == Some(source_ip);
    if asks_for_port || !is_sent_by {
        put_fmt(text, format_args!(";received={source_ip}"));
    }
    if asks_for_port {
        put_fmt(text, format_args!(";rport={}", source.port()));
    }
    put_line_safe(text, after);
}
