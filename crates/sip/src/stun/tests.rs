//! Binding requests as clients send them, and what is none.

use super::*;
use proptest::prelude::*;

const ID: [u8; 12] = [0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE];

fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = kind.to_be_bytes().to_vec();
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(MAGIC_COOKIE);
    message.extend(ID);
    message.extend(body);
    message
}

fn with_fingerprint(mut message: Vec<u8>) -> Vec<u8> {
    let length = message.len() - HEADER_LEN + FINGERPRINT_LEN;
    message[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    let sum = fingerprint(&message);
    message.extend([0x80, 0x28, 0, 4]);
    message.extend(sum.to_be_bytes());
    message
}

fn from(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn a_binding_request_is_told_where_it_came_from() {
    let answer = answer(&message(BINDING_REQUEST, &[]), from("192.0.2.1:32853")).expect("an answer");
    // Port and address are those of the sample responses of RFC 5769 §2.2.
    let expected =
        message(BINDING_RESPONSE, &[(XOR_MAPPED_ADDRESS, &[0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43])]);
    assert_eq!(answer, expected);
}

#[test]
fn a_binding_request_over_ipv6_is_told_its_ipv6_address() {
    let source = from("[2001:db8:1234:5678:11:2233:4455:6677]:32853");
    let answer = answer(&message(BINDING_REQUEST, &[]), source).expect("an answer");
    // RFC 5769 §2.3.
    let address = [
        0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe,
        0xd2, 0xb9, 0xd9,
    ];
    assert_eq!(answer, message(BINDING_RESPONSE, &[(XOR_MAPPED_ADDRESS, &address)]));
}

#[test]
fn a_request_with_a_fingerprint_gets_one_and_a_wrong_one_nothing() {
    // The sum of RFC 5769 §2.1's request cannot be used without its attributes; it is checked by the crate's tests.
    let request = with_fingerprint(message(BINDING_REQUEST, &[(0x8022, b"a phone")]));
    let answered = answer(&request, from("192.0.2.1:32853")).expect("an answer");
    let plain =
        message(BINDING_RESPONSE, &[(XOR_MAPPED_ADDRESS, &[0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43])]);
    assert_eq!(answered, with_fingerprint(plain));
    let kind_of_fingerprint = request.len() - FINGERPRINT_LEN..request.len() - FINGERPRINT_LEN + 2;
    for place in (0..request.len()).filter(|place| !kind_of_fingerprint.contains(place)) {
        let mut damaged = request.clone();
        damaged[place] ^= 0x10;
        assert_eq!(answer(&damaged, from("192.0.2.1:32853")), None, "byte {place}");
    }
}

#[test]
fn the_sample_request_of_rfc_5769_is_understood() {
    let request = [
        0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
        0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20,
        0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, 0x80, 0x29, 0x00,
        0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a,
        0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf,
        0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28,
        0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
    ];
    let answer = answer(&request, from("192.0.2.1:32853")).expect("an answer");
    // PRIORITY (0x0024) is ICE's, and has to be understood.
    let refusal =
        message(BINDING_ERROR, &[(ERROR_CODE, &[0, 0, 4, 20]), (UNKNOWN_ATTRIBUTES, &[0x00, 0x24])]);
    assert_eq!(answer, with_fingerprint(refusal));
}

#[test]
fn an_attribute_that_would_have_to_be_understood_is_refused_with_420() {
    let request = message(BINDING_REQUEST, &[(0x0003, &[0, 0, 0, 6]), (0x0006, b"user"), (0x7FFF, b"")]);
    let answer = answer(&request, from("192.0.2.1:32853")).expect("an answer");
    let unknown: &[u8] = &[0x00, 0x03, 0x7F, 0xFF];
    assert_eq!(
        answer,
        message(BINDING_ERROR, &[(ERROR_CODE, &[0, 0, 4, 20]), (UNKNOWN_ATTRIBUTES, unknown)])
    );
}

#[test]
fn what_is_no_binding_request_gets_no_answer() {
    let source = from("192.0.2.1:32853");
    for kind in [0x0011, BINDING_RESPONSE, BINDING_ERROR, 0x0002] {
        assert_eq!(answer(&message(kind, &[]), source), None, "{kind:#06x}");
    }
    let mut without_cookie = message(BINDING_REQUEST, &[]);
    without_cookie[4] = 0;
    let mut too_long = message(BINDING_REQUEST, &[]);
    too_long.extend([0; 4]);
    let cut = &message(BINDING_REQUEST, &[(0x8022, b"a phone")])[..24];
    let many: Vec<(u16, &[u8])> = vec![(0x8022, b""); MAX_ATTRIBUTES + 1];
    let many = message(BINDING_REQUEST, &many);
    for datagram in [&without_cookie[..], &too_long, cut, &many, b"", b"REGISTER sip:example.com SIP/2.0\r\n"]
    {
        assert_eq!(answer(datagram, source), None, "{datagram:?}");
    }
}

proptest! {
    #[test]
    fn no_datagram_panics_and_an_answer_is_short_and_no_request(
        kind in prop_oneof![Just(BINDING_REQUEST), any::<u16>()],
        body in prop::collection::vec(any::<u8>(), 0..200),
        told in prop::option::of(any::<u16>()),
        sound in any::<bool>(),
    ) {
        let mut datagram = message(kind, &[]);
        let length = told.filter(|_| !sound).unwrap_or(body.len() as u16);
        datagram[2..4].copy_from_slice(&length.to_be_bytes());
        datagram.extend(&body);
        if let Some(answered) = answer(&datagram, from("[2001:db8::1]:5060")) {
            prop_assert!(answered.len() <= ANSWER_MAX_LEN);
            prop_assert!(is_stun(&answered) && answer(&answered, from("192.0.2.1:1")).is_none());
            prop_assert_eq!(&answered[4..HEADER_LEN], &datagram[4..HEADER_LEN]);
        }
    }
}
