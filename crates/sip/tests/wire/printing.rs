//! Printing messages, byte for byte.

use crate::corpus::SDP;
use crate::parsing::{parse, sample};
use std::net::SocketAddr;
use tandem_sip::{Builder, Message, Method, Name, ResponseHead, Rewrite, StatusCode};

fn printed(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

fn source() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 10], 1024))
}

#[test]
fn a_request_is_printed_in_the_order_of_the_calls() {
    let request = Builder::request(Method::PRack, b"sip:4420@198.51.100.7")
        .header(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-1")
        .header_fmt(Name::RAck, format_args!("{} {} INVITE", 314, 1000))
        .raw_header(b"X-Account", b"17")
        .line(b"Subject: as\r\n received\r\n")
        .finish();
    let expected = lines(&[
        "PRACK sip:4420@198.51.100.7 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-1",
        "RAck: 314 1000 INVITE",
        "X-Account: 17",
        "Subject: as",
        " received",
        "Content-Length: 0",
        "",
    ]);
    assert_eq!(printed(&request), expected);
}

#[test]
fn a_body_brings_its_type_and_length() {
    let response = Builder::response(StatusCode::OK).body(b"application/sdp", b"v=0\r\n");
    let expected =
        lines(&["SIP/2.0 200 OK", "Content-Type: application/sdp", "Content-Length: 5", "", "v=0"]);
    assert_eq!(printed(&response), expected);
    let empty = Builder::response_with_reason(StatusCode::BAD_REQUEST, b"Missing Via").finish();
    assert_eq!(printed(&empty), "SIP/2.0 400 Missing Via\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn no_value_can_add_a_header_or_end_the_head() {
    let message = Builder::request(Method::Options, b"sip:a b\r\nX: 1@h")
        .header(Name::Subject, "a\r\nEvil: 1\r\n\r\nbody\n\rx")
        .header_fmt(Name::Reason, format_args!("{}", "SIP\r\nEvil: 2"))
        .raw_header(b"X-A", b"\nEvil: 3")
        .raw_header(b"X B", b"no token")
        .raw_header(b"l", b"7")
        .header(Name::ContentLength, "7")
        .header(Name::Other, "7")
        .line(b"X-C: 1\r\nEvil: 4\r\n")
        .line(b"X-D: 1\rEvil: 5")
        .line(b"no header\r\n")
        .line(b"Content-Length : 7\r\n")
        .finish();
    let expected = lines(&[
        "OPTIONS sip:a%20b%0D%0AX:%201@h SIP/2.0",
        "Subject: a  Evil: 1    body  x",
        "Reason: SIP  Evil: 2",
        "X-A:  Evil: 3",
        "X-C: 1  Evil: 4",
        "X-D: 1 Evil: 5",
        "Content-Length: 0",
        "",
    ]);
    assert_eq!(printed(&message), expected);
}

#[test]
fn a_response_repeats_what_rfc_3261_8_2_6_2_lists() {
    let head = ResponseHead::of(&sample("invite"), source());
    let ringing = head.respond(StatusCode::RINGING, Some("sw7")).finish();
    let expected = lines(&[
        "SIP/2.0 180 Ringing",
        "Via: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK-5f1c.9;received=203.0.113.10;rport=1024",
        "Via: SIP/2.0/TCP inner.example:5070;branch=z9hG4bK-inner;received=10.0.0.9",
        "Record-Route: <sip:edge1.example;lr>, <sip:edge2.example;lr;ftag=1>",
        "From: \"Sales, East\" <sip:4930123456@203.0.113.10>;tag=as7d9",
        "Call-ID: 5f1c-2024@10.0.0.5",
        "CSeq: 1 INVITE",
        "To: <sip:442071234567@192.0.2.1>;tag=sw7",
        "Content-Length: 0",
        "",
    ]);
    assert_eq!(printed(&ringing), expected);
}

#[test]
fn timestamp_is_repeated_in_100_only_and_record_route_in_dialogs_only() {
    let head = ResponseHead::of(&sample("invite"), source());
    let has = |status: StatusCode, name: Name| {
        Message::parse(head.respond(status, None).finish(), &Default::default())
            .expect("ours")
            .first(name)
            .is_some()
    };
    for (status, record_route, timestamp) in [
        (StatusCode::TRYING, false, true),
        (StatusCode::SESSION_PROGRESS, true, false),
        (StatusCode::OK, true, false),
        (StatusCode::MOVED_TEMPORARILY, false, false),
        (StatusCode::BUSY_HERE, false, false),
    ] {
        assert_eq!(has(status, Name::RecordRoute), record_route, "{status}");
        assert_eq!(has(status, Name::Timestamp), timestamp, "{status}");
    }
}

#[test]
fn a_to_tag_is_added_only_where_the_request_had_none() {
    let request = parse("BYE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: <sip:h>;tag=theirs\r\n\r\n");
    let answer = parse(ResponseHead::of(&request, source()).respond(StatusCode::OK, Some("ours")).finish());
    assert_eq!(answer.to_tag(), Some(&b"theirs"[..]));
    let request = parse("BYE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: sip:h\r\n\r\n");
    let head = ResponseHead::of(&request, source());
    assert_eq!(parse(head.respond(StatusCode::OK, Some("ours")).finish()).to_tag(), Some(&b"ours"[..]));
    assert_eq!(parse(head.respond(StatusCode::TRYING, None).finish()).to_tag(), None);
}

#[test]
fn received_is_stamped_where_the_source_is_not_the_sent_by_address() {
    let stamped = |via: &str, source: &str| {
        let request = parse(format!("BYE sip:h SIP/2.0\r\nVia: {via}\r\n\r\n"));
        let source = source.parse().expect("an address");
        let answer = parse(ResponseHead::of(&request, source).respond(StatusCode::OK, None).finish());
        printed(answer.first(Name::Via).expect("there"))
    };
    for (via, source, expected) in [
        ("SIP/2.0/UDP 192.0.2.9;branch=b", "192.0.2.9:777", "SIP/2.0/UDP 192.0.2.9;branch=b"),
        (
            "SIP/2.0/UDP gw.example;branch=b",
            "192.0.2.9:777",
            "SIP/2.0/UDP gw.example;branch=b;received=192.0.2.9",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;branch=b",
            "192.0.2.9:777",
            "SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.9",
        ),
        (
            "SIP/2.0/UDP 192.0.2.9;rport;branch=b",
            "192.0.2.9:777",
            "SIP/2.0/UDP 192.0.2.9;branch=b;received=192.0.2.9;rport=777",
        ),
        ("SIP/2.0/UDP h;rport=1;received=6.6.6.6", "192.0.2.9:7", "SIP/2.0/UDP h;received=192.0.2.9;rport=7"),
        ("SIP/2.0/UDP [2001:db8::1];branch=b", "[2001:DB8:0::1]:7", "SIP/2.0/UDP [2001:db8::1];branch=b"),
        ("SIP/2.0/UDP h", "[2001:db8::2]:7", "SIP/2.0/UDP h;received=2001:db8::2"),
        (
            "SIP/2.0/UDP h ; a = \"x,y\" , SIP/2.0/UDP i",
            "192.0.2.9:7",
            "SIP/2.0/UDP h ;a=\"x,y\";received=192.0.2.9 , SIP/2.0/UDP i",
        ),
        ("SIP/2.0/UDP h", "[::ffff:192.0.2.9]:7", "SIP/2.0/UDP h;received=192.0.2.9"),
        ("nonsense;;", "192.0.2.9:7", "nonsense;;"),
    ] {
        assert_eq!(stamped(via, source), expected);
    }
}

#[test]
fn a_response_head_survives_a_snapshot() {
    let head = ResponseHead::of(&sample("invite"), source());
    let snapshot = bincode::serialize(&(head.clone(), StatusCode::RINGING)).expect("plain data");
    let restored: (ResponseHead, StatusCode) = bincode::deserialize(&snapshot).expect("as written");
    assert_eq!(restored, (head, StatusCode::RINGING));
    let no_status = bincode::serialize(&99u16).expect("plain data");
    assert!(bincode::deserialize::<StatusCode>(&no_status).is_err(), "a status is 100 to 699");
}

#[test]
fn a_rewrite_without_edits_changes_no_byte() {
    for sample in crate::corpus::all() {
        let Ok(message) = Message::parse(sample.text.into(), &Default::default()) else { continue };
        if !message.has_defect(tandem_sip::Defect::NoEmptyLine) {
            assert_eq!(Rewrite::of(&message).finish(), message.raw(), "{}", sample.name);
        }
    }
}

#[test]
fn a_rewrite_changes_only_what_it_is_told_to() {
    let bye = sample("bye");
    let changed = Rewrite::of(&bye)
        .request_uri(b"sip:other@h")
        .replace_first(Name::MaxForwards, "69")
        .insert_top(Name::Via, "SIP/2.0/UDP first;branch=z9hG4bK-2")
        .insert_top(Name::Via, "SIP/2.0/UDP top;branch=z9hG4bK-3")
        .insert_top(Name::Route, "<sip:edge;lr>")
        .remove(Name::Reason)
        .append(Name::Subject, "x\r\ny")
        .replace_first(Name::Expires, "5")
        .finish();
    let expected = lines(&[
        "BYE sip:other@h SIP/2.0",
        "Route: <sip:edge;lr>",
        "Via: SIP/2.0/UDP top;branch=z9hG4bK-3",
        "Via: SIP/2.0/UDP first;branch=z9hG4bK-2",
        "Via: SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK-bye",
        "Max-Forwards: 69",
        "From: <sip:4930123456@203.0.113.10>;tag=f-bye",
        "To: <sip:442071234567@192.0.2.1>",
        "Call-ID: bye@203.0.113.10",
        "CSeq: 7 BYE",
        "Content-Length: 0",
        "Subject: x  y",
        "Expires: 5",
        "",
    ]);
    assert_eq!(printed(&changed), expected);
}

#[test]
fn a_removed_header_can_be_put_back() {
    let bye = sample("bye");
    let changed = Rewrite::of(&bye).insert_top(Name::Reason, "SIP;cause=1").remove(Name::Reason);
    assert_eq!(parse(changed.finish()).first(Name::Reason), None);
    let changed = Rewrite::of(&bye).remove(Name::Reason).replace_first(Name::Reason, "SIP;cause=2").finish();
    assert_eq!(parse(changed).first(Name::Reason), Some(&b"SIP;cause=2"[..]));
}

#[test]
fn a_replaced_body_brings_its_type_and_length() {
    let ringing = Rewrite::of(&sample("ringing")).replace_body(b"application/sdp", SDP.as_bytes()).finish();
    let ringing = parse(ringing);
    assert_eq!(ringing.sdp(), Some(SDP.as_bytes()));
    assert_eq!(ringing.validate(), Ok(()));
    let invite = parse(Rewrite::of(&sample("invite")).replace_body(b"", b"").finish());
    assert_eq!((invite.body(), invite.first(Name::ContentType)), (&b""[..], None));
    assert_eq!(invite.first(Name::ContentLength), Some(&b"0"[..]));
}
