//! What the fuzz targets in `fuzz/` do with any bytes: read everything, and assert what must hold.

use crate::{sound, touch};
use bytes::Bytes;
use std::hint::black_box;
use tandem_sip::digest::{Challenge, Credentials, Issuer, Protected};
use tandem_sip::header::{
    AuthParams, Contact, Event, MediaType, NameAddr, RAck, Reason, Replaces, RetryAfter, SessionExpires,
    SubscriptionState, privacy_values, q_value, unquote,
};
use tandem_sip::{CSeq, Frame, FrameError, Limits, Message, StatusCode, StreamFramer, Uri, Via, sdp, uri};

/// A datagram.
pub(crate) fn scanner(text: &[u8]) {
    let limits = Limits::default();
    let Ok(message) = Message::parse(Bytes::copy_from_slice(text), &limits) else { return };
    touch::everything(&message);
    sound::remembered_as_read(&message);
    let is_valid = message.validate().is_ok();
    let source = ([198, 51, 100, 4], 5060).into();
    sound::answer(&message, is_valid, source, StatusCode::BAD_REQUEST);
    sound::rewrite(&message, is_valid);
    let again = Message::parse(message.raw().clone(), &limits).expect("what was read can be read again");
    assert_eq!(again.raw(), message.raw());
    assert_eq!(again.validate(), message.validate());
}

/// The value of a header, of whatever header it may be.
pub(crate) fn headers(value: &[u8]) {
    uri(value);
    if let Ok(via) = Via::parse(value) {
        assert_eq!(Via::parse(via.raw), Ok(via));
        black_box((via.branch(), via.received_ip(), via.rport(), via.sent_by()));
    }
    if let Ok(address) = NameAddr::parse(value) {
        assert_eq!(NameAddr::parse(address.raw), Ok(address));
        black_box((address.tag(), address.display_text(), address.param("q").flatten().and_then(q_value)));
        uri(address.uri);
    }
    if let Ok(cseq) = CSeq::parse(value) {
        let printed = [cseq.number.to_string().as_bytes(), b" ", cseq.name].concat();
        assert_eq!(CSeq::parse(&printed), Ok(cseq));
    }
    for auth in [AuthParams::parse(value), AuthParams::parse_list(value)].into_iter().flatten() {
        black_box((auth.is_digest(), auth.param("nonce"), auth.iter().count()));
    }
    if let Ok(reason) = Reason::parse(value) {
        black_box((reason.is_q850(), reason.is_sip()));
    }
    black_box((Contact::parse(value).is_ok(), RAck::parse(value).is_ok(), Event::parse(value).is_ok()));
    black_box((MediaType::parse(value).is_ok(), Replaces::parse(value).is_ok()));
    black_box((SessionExpires::parse(value).is_ok(), RetryAfter::parse(value).is_ok()));
    black_box((SubscriptionState::parse(value).is_ok(), privacy_values(value).count(), unquote(value)));
}

fn uri(value: &[u8]) {
    let Ok(uri) = Uri::parse(value) else { return };
    black_box((uri.number(), uri.has_lr(), uri.transport(), uri.socket_addr(5060)));
    black_box(uri.is_equivalent(&uri));
    let decoded = uri::unescape(value);
    assert!(decoded.len() <= value.len());
}

/// A challenge, or the answer to one: what we answer, the server that asked finds right.
pub(crate) fn digest(value: &[u8]) {
    black_box(Credentials::parse(value).is_some_and(|credentials| credentials.are_of("", "INVITE", b"")));
    let Ok(challenge) = Challenge::parse(Issuer::Proxy, value) else { return };
    let request = Protected { method: "INVITE", uri: "sip:4420@192.0.2.1", body: b"v=0" };
    let answer = challenge.answer(("tandem", "geheim"), request, "cnonce", 1);
    let credentials = Credentials::parse(answer.as_bytes()).expect("our own answer can be read");
    assert_eq!(
        (&credentials.realm[..], &credentials.nonce[..]),
        (&challenge.realm[..], &challenge.nonce[..])
    );
    let ha1 = challenge.algorithm().ha1("tandem", &challenge.realm, "geheim");
    assert!(credentials.are_of(&ha1, request.method, request.body), "{answer}");
}

/// A session description.
pub(crate) fn sdp(text: &[u8]) {
    black_box((sdp::first_codec(text), sdp::audio_direction(text), sdp::is_hold(text)));
    let refusal = sdp::refusal(text);
    let streams = refusal.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"m="));
    for stream in streams {
        assert_eq!(stream.split(|byte| *byte == b' ').nth(1), Some(&b"0"[..]));
    }
    assert_eq!(sdp::refusal(&refusal), refusal, "a refusal refuses the same streams");
}

/// A stream: the first byte says into what pieces the rest is cut.
pub(crate) fn framing(text: &[u8]) {
    let [step, text @ ..] = text else { return };
    let whole = frames(text, text.len().max(1));
    let pieces = frames(text, 1 + usize::from(*step));
    assert_eq!(whole, pieces, "where a stream is cut makes no difference");
    if let [first, ..] = &whole.0[..]
        && let Ok(message) = Message::parse(Bytes::copy_from_slice(text), &Limits::default())
    {
        sound::framed_as_parsed(&message, text, Some(first));
    }
}

/// The messages of a stream that comes in pieces of that size, and whether it broke.
fn frames(text: &[u8], step: usize) -> (Vec<Bytes>, Option<std::mem::Discriminant<FrameError>>) {
    let mut framer = StreamFramer::new(&Limits::default());
    let mut messages = Vec::new();
    for piece in text.chunks(step) {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            match frame {
                Ok(Frame::Message(message)) => messages.push(message),
                Ok(Frame::Ping | Frame::Pong) => {}
                Err(error) => return (messages, Some(std::mem::discriminant(&error))),
            }
        }
    }
    (messages, None)
}
