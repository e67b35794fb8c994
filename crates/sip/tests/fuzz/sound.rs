//! What must hold of every message that can be read.

use crate::corpus;
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{CSeq, Defect, Limits, Message, Name, ResponseHead, Rewrite, StatusCode, Via};

/// What a message remembers of its identity is what its headers say.
pub(crate) fn remembered_as_read(message: &Message) {
    let via = message.items(Name::Via).next().and_then(|value| Via::parse(value).ok());
    assert_eq!(message.top_via().ok(), via);
    let cseq = message.first(Name::CSeq).and_then(|value| CSeq::parse(value).ok());
    assert_eq!(message.cseq().ok(), cseq);
    assert_eq!(message.from_tag(), message.from().ok().and_then(|from| from.tag()));
    assert_eq!(message.to_tag(), message.to().ok().and_then(|to| to.tag()));
}

fn parse(text: Bytes) -> Message {
    // What we add may push a message at a limit over it.
    let limits = Limits {
        max_message: 1 << 20,
        max_header_line: 1 << 20,
        max_headers: 1_000,
        max_list_items: 1_000,
        ..Limits::default()
    };
    Message::parse(text, &limits).expect("our own messages can be read")
}

/// A response keeps what identifies the request, and nothing in the request gets into another header.
pub(crate) fn answer(request: &Message, is_valid: bool, source: SocketAddr, status: StatusCode) {
    if !request.is_request() {
        return;
    }
    let head = ResponseHead::of(request, source);
    let response = parse(head.respond(status, Some("sw")).finish());
    assert_eq!(response.status(), Some(status));
    let vias = |message: &Message| message.fields().filter(|field| field.name == Name::Via).count();
    assert_eq!(vias(&response), vias(request));
    assert!(response.fields().all(|field| is_repeated(field.name)));
    assert_eq!(response.body(), b"");
    if is_valid {
        assert_eq!(response.validate(), Ok(()));
        assert_eq!(response.call_id(), request.call_id());
        assert_eq!(response.from_tag(), request.from_tag());
        assert_eq!(response.to_tag(), request.to_tag().or(Some(b"sw")));
        assert_eq!(response.cseq(), request.cseq());
        let (ours, theirs) = (response.top_via().expect("valid"), request.top_via().expect("valid"));
        assert_eq!(ours.branch(), theirs.branch());
        assert_eq!(ours.rport().is_some(), theirs.rport().is_some());
        assert_eq!(ours.response_address(source), theirs.response_address(source));
        assert_eq!(response.items(Name::Via).count(), request.items(Name::Via).count());
    }
}

fn is_repeated(name: Name) -> bool {
    let repeated =
        [Name::Via, Name::RecordRoute, Name::From, Name::To, Name::CallId, Name::CSeq, Name::Timestamp];
    repeated.contains(&name) || name == Name::ContentLength
}

/// Without edits every byte stays; with edits the message can be read again and says what it was told to.
pub(crate) fn rewrite(message: &Message, is_valid: bool) {
    if !message.has_defect(Defect::NoEmptyLine) {
        assert_eq!(Rewrite::of(message).finish(), message.raw());
    }
    let edited = Rewrite::of(message)
        .request_uri(b"sip:next@192.0.2.9")
        .replace_first(Name::MaxForwards, "9")
        .remove(Name::RecordRoute)
        .insert_top(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKsw")
        .replace_body(b"application/sdp", corpus::SDP.as_bytes())
        .finish();
    let edited = parse(edited);
    assert_eq!(edited.record_routes().count(), 0);
    assert_eq!(edited.body(), corpus::SDP.as_bytes());
    if is_valid {
        assert_eq!(edited.validate(), Ok(()));
        assert_eq!(edited.top_via().expect("ours").branch(), Some(&b"z9hG4bKsw"[..]));
        assert_eq!(edited.max_forwards(), Ok(Some(9)));
        assert_eq!(edited.sdp(), Some(corpus::SDP.as_bytes()));
        assert_eq!(edited.call_id(), message.call_id());
    }
}

/// A stream and a datagram with the same valid message agree on where it ends.
pub(crate) fn framed_as_parsed(message: &Message, text: &[u8], framed: Option<&Bytes>) {
    let has_length = message.first(Name::ContentLength).is_some();
    if message.validate().is_ok() && has_length && text.starts_with(message.raw()) {
        assert_eq!(framed, Some(message.raw()));
    }
}
