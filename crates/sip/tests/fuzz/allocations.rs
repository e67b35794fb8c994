//! What reading costs in memory, and that it grows no faster than the message.

use crate::counting::allocations_of;
use crate::{corpus, touch};
use bytes::Bytes;
use tandem_sip::{Limits, Message, Rewrite};

fn sample(name: &str) -> Vec<u8> {
    corpus::all().into_iter().find(|sample| sample.name == name).expect("in the corpus").text
}

/// Reads a message whose bytes are shared already, as they are when they come out of a receive buffer.
fn parse(text: &[u8]) -> (usize, Message) {
    let text = Bytes::from(text.to_vec());
    let _shared = text.clone();
    allocations_of(|| Message::parse(text, &Limits::default()).expect("a message"))
}

#[test]
fn parsing_allocates_once_whatever_the_number_of_headers() {
    let invite = sample("invite");
    assert_eq!(parse(&invite).0, 1);
    let head_end = invite.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 2;
    for headers in [1, 40, 200] {
        let mut longer = invite.clone();
        longer.splice(head_end..head_end, b"X-Account: 17;a=\"b,c\"\r\n".repeat(headers));
        let (allocations, message) = parse(&longer);
        assert_eq!(allocations, 1, "{headers} headers");
        assert_eq!(message.fields().count(), 17 + headers);
    }
}

#[test]
fn reading_headers_allocates_nothing() {
    for name in
        ["invite", "ringing", "answer", "trusted", "publish", "prack", "folded-and-compact", "multipart"]
    {
        let (_, message) = parse(&sample(name));
        let (allocations, ()) = allocations_of(|| touch::everything(&message));
        assert_eq!(allocations, 0, "{name}");
        let (allocations, valid) = allocations_of(|| message.validate());
        assert_eq!((allocations, valid), (0, Ok(())), "{name}");
    }
}

#[test]
fn cloning_and_taking_the_body_allocate_nothing() {
    let (_, message) = parse(&sample("invite"));
    let (allocations, _) = allocations_of(|| (message.clone(), message.body_bytes()));
    assert_eq!(allocations, 0);
}

/// 64 KB of what looks most expensive, read in full many times over. Work that grew with the square of the size would
/// take minutes; the bound is far from both.
#[test]
fn no_text_makes_reading_quadratic() {
    let fillers = [
        "Via: ,,,,,,,,,,,,,,,,\r\n",
        "Via: SIP/2.0/UDP h;a;b;c;d;e;f\r\n",
        "Contact: \"\\\"\\\"\\\"\\\"\r\n",
        "Contact: <<<<<<<<<<<<<<<<\r\n",
        "From: \"a\" <sip:a@b>;a;b;c\r\n",
        "Supported: a,b,c,d,e,f,g,h\r\n",
        "X: 1\r\n \r\n \r\n \r\n \r\n",
        "Privacy: ;;;;;;;;;;;;;;;;;;\r\n",
        "no header\r\n",
    ];
    let bodies = [
        "--b\r\n",
        "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n",
        "\r\n",
        "m=audio 1 RTP/AVP 1 2 3 4\r\n",
    ];
    let limits = Limits { max_headers: 100_000, max_header_line: 100_000, ..Limits::default() };
    let start = "INVITE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nContent-Type: multipart/mixed;boundary=b\r\n";
    let in_head = fillers.iter().map(|filler| format!("{start}{}\r\n", filler.repeat(60_000 / filler.len())));
    let in_one_line = fillers.iter().map(|filler| {
        let value = filler.trim_end().repeat(60_000 / filler.len());
        format!("{start}{value}\r\n\r\n")
    });
    let in_body = bodies.iter().map(|filler| format!("{start}\r\n{}", filler.repeat(60_000 / filler.len())));
    // Were one of them quadratic, the test runner's limit would end this.
    for text in in_head.chain(in_one_line).chain(in_body) {
        let message = Message::parse(text.into(), &limits).expect("a message");
        touch::everything(&message);
        let _ = message.validate();
        let _ = Rewrite::of(&message).finish();
    }
}
