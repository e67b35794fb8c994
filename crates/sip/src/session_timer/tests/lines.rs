//! What is read of messages.

use super::*;
use crate::{Limits, Message};

fn headers(lines: &str) -> Result<TimerHeaders, crate::HeaderError> {
    let text = format!(
        "UPDATE sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n\
         From: <sip:a@192.0.2.2>;tag=a\r\nTo: <sip:b@192.0.2.1>;tag=b\r\nCall-ID: c\r\nCSeq: 1 UPDATE\r\n\
         {lines}Content-Length: 0\r\n\r\n"
    );
    let message = Message::parse(text.into(), &Limits::default()).expect("a message");
    TimerHeaders::of(&message)
}

#[test]
fn headers_are_read_in_every_form() {
    assert_eq!(headers(""), Ok(TimerHeaders::default()));
    assert_eq!(headers("Supported: 100rel\r\nk: Timer , path\r\n").map(|read| read.supported), Ok(true));
    assert_eq!(headers("Require: timer\r\n").map(|read| read.supported), Ok(true));
    let read = headers("x: 90;refresher=uas\r\nMin-SE: 91;x=y\r\n").expect("headers that can be read");
    assert_eq!(read, TimerHeaders { expires: expires(90, UAS), min_se: Some(91), supported: false });
    assert!(read.is_capable(), "a Session-Expires says so too");
    assert!(!headers("Min-SE: 90\r\n").expect("a number").is_capable());
}

#[test]
fn headers_that_cannot_be_read_are_an_error() {
    for lines in ["Session-Expires: soon\r\n", "Session-Expires: -1\r\n", "Min-SE: x\r\n"] {
        assert!(headers(lines).is_err(), "{lines}");
    }
}
