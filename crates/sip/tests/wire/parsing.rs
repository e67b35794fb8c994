//! Reading messages, rule by rule.

use crate::corpus::{self, SDP};
use bytes::Bytes;
use tandem_sip::header::{Contact, Refresher};
use tandem_sip::{Defect, HeaderError, Limits, Message, Method, Name, ParseError, StatusCode};

pub(crate) fn parse(text: impl Into<Vec<u8>>) -> Message {
    Message::parse(Bytes::from(text.into()), &Limits::default()).expect("a message")
}

pub(crate) fn sample(name: &str) -> Message {
    let sample = corpus::all().into_iter().find(|sample| sample.name == name).expect("in the corpus");
    parse(sample.text)
}

fn with_headers(headers: &str) -> Message {
    parse(format!("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{headers}\r\n"))
}

#[test]
fn the_start_line_of_a_request_is_read() {
    let invite = sample("invite");
    assert!(invite.is_request());
    assert_eq!(invite.method(), Some(Method::Invite));
    assert_eq!(invite.method_name(), b"INVITE");
    assert_eq!(invite.request_uri(), b"sip:442071234567@192.0.2.1;user=phone");
    assert_eq!((invite.status(), invite.reason_phrase()), (None, &b""[..]));
}

#[test]
fn the_start_line_of_a_response_is_read() {
    let ringing = sample("ringing");
    assert!(!ringing.is_request());
    assert_eq!(ringing.status(), Some(StatusCode::RINGING));
    assert_eq!(ringing.reason_phrase(), b"Ringing");
    assert_eq!(ringing.method(), Some(Method::Invite), "of CSeq");
    assert_eq!(ringing.request_uri(), b"");
}

#[test]
fn an_extension_method_keeps_its_name() {
    let strange = sample("strange-method");
    assert_eq!(strange.method(), None);
    assert_eq!(strange.method_name(), b"!odd-Method_0.9*+`%x'~");
}

#[test]
fn folded_and_compact_headers_are_found_by_their_name() {
    let folded = sample("folded-and-compact");
    assert_eq!(folded.max_forwards(), Ok(Some(68)));
    assert_eq!(folded.cseq().map(|cseq| (cseq.number, cseq.method)), Ok((9, Some(Method::Invite))));
    assert_eq!(folded.from_tag(), Some(&b"98asjd8"[..]));
    assert_eq!(folded.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(folded.items(Name::Via).count(), 3);
    assert_eq!(folded.first(Name::Subject), Some(&b""[..]));
    let contact = folded.contact().expect("there is one").expect("valid");
    assert_eq!(contact.param("q"), Some(Some(&b"0.33"[..])));
    assert_eq!(folded.named(b"newfangledheader").count(), 1);
    assert!(folded.has_sdp());
}

#[test]
fn fields_keep_order_spelling_and_line() {
    let answer = sample("answer");
    let first = answer.fields().next().expect("a header");
    assert_eq!((first.name, first.raw_name), (Name::Via, &b"v"[..]));
    assert!(first.line.starts_with(b"v: SIP") && first.line.ends_with(b"\r\n"));
    let names: Vec<Name> = answer.fields().map(|field| field.name).take(4).collect();
    assert_eq!(names, [Name::Via, Name::From, Name::To, Name::CallId]);
}

#[test]
fn lists_are_read_over_all_lines() {
    let options = with_headers("Supported: timer, 100rel\r\nk:\r\nSupported: ,replaces\r\n");
    assert_eq!(options.items(Name::Supported).collect::<Vec<_>>(), [&b"timer"[..], b"100rel", b"replaces"]);
    assert!(options.has_token(Name::Supported, "100REL"));
    assert!(!options.has_token(Name::Supported, "100"));
}

#[test]
fn named_is_what_a_pass_list_asks_for() {
    let trusted = sample("trusted");
    assert!(trusted.named(b"x-account").map(|field| field.value).eq([b"17;42"]));
    assert_eq!(trusted.named(b"F").count(), 1, "compact From");
    assert_eq!(trusted.named(b"x-other").count(), 0);
}

#[test]
fn lines_that_are_no_headers_are_ignored() {
    let odd = sample("header-line-that-is-none");
    assert!(odd.has_defect(Defect::HeaderLine));
    assert_eq!(odd.fields().count(), 7);
    assert_eq!(odd.first(Name::Other), None);
}

#[test]
fn the_body_ends_where_content_length_says() {
    let two = sample("two-in-a-datagram");
    assert_eq!((two.method(), two.body()), (Some(Method::Register), &b""[..]));
    assert!(two.raw().ends_with(b"\r\n\r\n"));
    assert_eq!(sample("invite").body(), SDP.as_bytes());
    assert_eq!(sample("old-style").body(), SDP.as_bytes(), "without Content-Length the rest");
}

#[test]
fn a_body_shorter_than_promised_is_a_defect() {
    let short = parse("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nContent-Length: 5\r\n\r\nabc");
    assert!(short.has_defect(Defect::ShortBody));
    assert_eq!(short.body(), b"abc");
}

#[test]
fn the_body_shares_the_message_s_bytes() {
    let invite = sample("invite");
    let body = invite.body_bytes();
    assert!(invite.raw().as_ptr_range().contains(&body.as_ptr()));
    assert_eq!(body, invite.body());
}

#[test]
fn sdp_is_found_in_a_multipart_body() {
    assert_eq!(sample("multipart").sdp(), Some(SDP.as_bytes()));
    assert_eq!(sample("ringing").sdp(), None);
    let empty = with_headers("Content-Type: application/sdp\r\n");
    assert!(!empty.has_sdp(), "empty");
    let untyped = parse(format!("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n{SDP}"));
    assert!(!untyped.has_sdp(), "no Content-Type");
}

#[test]
fn multipart_nests_only_so_deep() {
    let nested = |depth: usize| {
        let mut body = format!("Content-Type: application/sdp\r\n\r\n{SDP}");
        for level in 0..depth {
            body = format!(
                "Content-Type: multipart/mixed;boundary=b{level}\r\n\r\n--b{level}\r\n{body}\r\n--b{level}--\r\n"
            );
        }
        parse(format!("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{body}"))
    };
    assert!((0..=3).all(|depth| nested(depth).has_sdp()));
    assert!(!nested(4).has_sdp());
}

#[test]
fn the_top_via_is_the_first_value_of_the_first_line() {
    let via_of = |text: &str| parse(text).top_via().map(|via| via.host.to_vec());
    let text = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=\"x,y\" , SIP/2.0/UDP b\r\nv: SIP/2.0/UDP c\r\n\r\n";
    assert_eq!(via_of(text), Ok(b"a".to_vec()));
    assert_eq!(sample("invite").top_via().map(|via| via.rport()), Ok(Some(None)));
}

#[test]
fn typed_headers_are_read_on_demand() {
    let trusted = sample("trusted");
    assert_eq!(trusted.asserted_identities().filter(Result::is_ok).count(), 2);
    assert!(trusted.has_privacy("ID") && !trusted.has_privacy("none"));
    assert_eq!(trusted.number(Name::MinSe), Some(Ok(90)));
    assert_eq!(trusted.number(Name::Expires), None);

    let answer = sample("answer");
    let timer = answer.session_expires().expect("there").expect("valid");
    assert_eq!((timer.secs, timer.refresher), (600, Some(Refresher::Uac)));

    let busy = sample("busy-with-reason");
    assert_eq!(busy.number(Name::RetryAfter), Some(Ok(18)));
    assert_eq!(busy.retry_after().expect("there").map(|retry| retry.duration), Ok(Some(3600)));

    let causes: Vec<_> = sample("cancel").reasons().map(|reason| reason.map(|reason| reason.cause)).collect();
    assert_eq!(causes, [Ok(Some(200)), Ok(Some(26))]);
    assert_eq!(sample("prack").rack().expect("there").map(|rack| rack.rseq), Ok(314));
    assert_eq!(
        sample("publish").event().expect("there").map(|event| event.package.to_vec()),
        Ok(b"presence".to_vec())
    );
    assert_eq!(sample("ringing").number(Name::RSeq), Some(Ok(988_789)));
}

#[test]
fn contacts_are_addresses_or_a_star() {
    let register = sample("register");
    assert_eq!(register.contacts().filter(|contact| matches!(contact, Ok(Contact::Addr(_)))).count(), 2);
    let all = sample("unregister");
    assert_eq!(all.contacts().collect::<Vec<_>>(), [Ok(Contact::Any)]);
    assert!(all.contact().expect("there").is_err());
    assert!(sample("bye").contact().is_none());
}

#[test]
fn challenges_are_one_per_line() {
    let challenge = sample("challenge");
    let algorithms: Vec<_> = challenge
        .auth(Name::ProxyAuthenticate)
        .map(|auth| auth.expect("valid").param("algorithm").expect("there").into_owned())
        .collect();
    assert_eq!(algorithms, [b"SHA-256".to_vec(), b"MD5".to_vec()]);
    let credentials = sample("register");
    let digest = credentials.auth(Name::Authorization).next().expect("there").expect("valid");
    assert_eq!(digest.param("cnonce").as_deref(), Some(&b"x,y"[..]));
}

#[test]
fn missing_and_malformed_headers_say_so_when_asked_for() {
    let bare = with_headers("CSeq: x\r\nMax-Forwards: 256\r\nExpires: soon\r\n");
    assert_eq!(bare.from(), Err(HeaderError::Missing(Name::From)));
    assert_eq!(bare.cseq(), Err(HeaderError::Syntax("CSeq")));
    assert_eq!(bare.max_forwards(), Err(HeaderError::Range("Max-Forwards")));
    assert_eq!(bare.number(Name::Expires), Some(Err(HeaderError::Syntax("Expires"))));
    assert_eq!((bare.call_id(), bare.from_tag()), (None, None));
}

#[test]
fn what_cannot_be_answered_is_dropped_with_its_reason() {
    let dropped = |text: &[u8]| Message::parse(Bytes::copy_from_slice(text), &Limits::default()).map(|_| ());
    assert_eq!(dropped(b"\r\n\r\n"), Err(ParseError::Empty));
    assert_eq!(dropped(b"HELLO"), Err(ParseError::NotSip));
    assert_eq!(dropped(b"SIP/2.0 20 OK\r\n\r\n"), Err(ParseError::Status));
    assert_eq!(dropped(b"SIP/2.0"), Err(ParseError::Status));
    assert_eq!(dropped(b"BYE sip:a SIP/2.0\r\n\r\n"), Err(ParseError::NoVia));
}

#[test]
fn a_message_beyond_a_limit_is_dropped() {
    let limits = Limits {
        max_message: 200,
        max_start_line: 30,
        max_header_line: 40,
        max_headers: 3,
        max_list_items: 2,
    };
    let parse = |text: String| Message::parse(text.into(), &limits).map(|message| message.validate().is_ok());
    let with = |headers: &str| parse(format!("BYE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{headers}\r\n"));
    assert!(with("A: 1\r\nB: 2\r\n").is_ok());
    assert_eq!(with("A: 1\r\nB: 2\r\nC: 3\r\n"), Err(ParseError::TooManyHeaders(4)));
    assert_eq!(with(&format!("A: {}\r\n", "x".repeat(40))), Err(ParseError::LineTooLong));
    assert_eq!(with(&format!("A: {}\r\n", "x\r\n ".repeat(10))), Err(ParseError::LineTooLong));
    assert_eq!(with(&"x".repeat(200)), Err(ParseError::TooLarge(241)));
    assert_eq!(
        parse(format!("BYE sip:{} SIP/2.0\r\nv: x\r\n\r\n", "a".repeat(20))),
        Err(ParseError::LineTooLong)
    );
}

#[test]
fn cloning_shares_the_message() {
    let invite = sample("invite");
    let copy = invite.clone();
    assert_eq!(copy.raw().as_ptr(), invite.raw().as_ptr());
}

#[test]
fn debug_output_holds_no_numbers_and_addresses() {
    assert_eq!(format!("{:?}", sample("invite")), "Message(INVITE)");
    assert_eq!(format!("{:?}", sample("ringing")), "Message(180)");
}

#[test]
fn many_headers_are_read_as_few_are() {
    for count in (0..70).chain([250]) {
        let lines: String = (0..count).map(|index| format!("X-{index}: a\r\n  {index}\r\n")).collect();
        let message = with_headers(&format!("{lines}no header\r\nSubject: last\r\n"));
        assert_eq!(message.fields().count(), count + 2);
        assert_eq!(message.first(Name::Subject), Some(&b"last"[..]));
        for index in 0..count {
            let found: Vec<_> = message.named(format!("x-{index}").as_bytes()).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].value, format!("a\r\n  {index}").as_bytes());
        }
        assert!(message.has_defect(Defect::HeaderLine) && !message.has_defect(Defect::NoEmptyLine));
        assert_eq!(message.body(), b"");
    }
}
