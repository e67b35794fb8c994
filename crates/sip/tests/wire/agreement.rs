//! A second opinion: wherever `rsip` can read a message at all, it has to read the same as we do.

use crate::corpus::{self, Verdict};
use rsip::headers::ToTypedHeader;
use rsip::message::{HasHeaders, HeadersExt};
use tandem_sip::{Builder, Limits, Message, Method, Name, ResponseHead, StatusCode, Uri};

/// Where `rsip` reads something else than the RFCs say; each with its reason.
const RSIP_IS_WRONG: [(&str, &str); 2] = [
    ("two-in-a-datagram", "takes what follows the body as body (RFC 3261 §18.3)"),
    ("escaped-user", "does not find a user part with an escaped @"),
];

/// Requests whose headers we repeat as they came, in a form `rsip` cannot read.
const RSIP_CANNOT_READ: [(&str, &str); 1] = [("folded-and-compact", "white space around ; and =")];

/// A difference in words, or none.
fn difference(ours: &Message, theirs: &rsip::SipMessage) -> Option<String> {
    let differs = |what: &str, ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        let (ours, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
        (ours != theirs).then(|| format!("{what}: we {ours}, rsip {theirs}"))
    };
    start_line(ours, theirs, &differs)
        .or_else(|| headers(ours, theirs, &differs))
        .or_else(|| typed(ours, theirs, &differs))
        .or_else(|| differs("body", &ours.body(), &theirs.body().as_slice()))
}

type Differs<'a> = &'a dyn Fn(&str, &dyn std::fmt::Debug, &dyn std::fmt::Debug) -> Option<String>;

fn start_line(ours: &Message, theirs: &rsip::SipMessage, differs: Differs<'_>) -> Option<String> {
    match theirs {
        rsip::SipMessage::Request(request) => {
            let uri = Uri::parse(ours.request_uri()).ok();
            let user = uri.and_then(|uri| uri.user).map(text);
            let host = uri.map(|uri| uri.host.to_string());
            let port = uri.and_then(|uri| uri.port);
            let their_port = request.uri.port().map(|port| *port.value());
            differs("method", &ours.method(), &Some(request.method))
                .or_else(|| differs("user", &user, &request.uri.user().map(str::to_owned)))
                .or_else(|| differs("host", &host, &Some(request.uri.host().to_string())))
                .or_else(|| differs("port", &port, &their_port))
        }
        rsip::SipMessage::Response(response) => {
            differs("status", &ours.status().map(StatusCode::code), &Some(response.status_code.code()))
        }
    }
}

fn headers(ours: &Message, theirs: &rsip::SipMessage, differs: Differs<'_>) -> Option<String> {
    let our_headers: Vec<_> = ours.fields().map(|field| (text(field.raw_name), text(field.value))).collect();
    let their_headers: Vec<_> =
        theirs.headers().iter().map(|header| split_header(&header.to_string())).collect();
    let names = |headers: &[(String, String)]| -> Vec<String> {
        headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    };
    let values = |headers: &[(String, String)]| -> Vec<String> {
        headers.iter().map(|(_, value)| value.clone()).collect()
    };
    differs("header names", &names(&our_headers), &names(&their_headers))
        .or_else(|| differs("header values", &values(&our_headers), &values(&their_headers)))
}

fn typed(ours: &Message, theirs: &rsip::SipMessage, differs: Differs<'_>) -> Option<String> {
    let their_cseq =
        theirs.cseq_header().ok().and_then(|cseq| cseq.typed().ok()).map(|cseq| (cseq.seq, cseq.method));
    let our_cseq = ours.cseq().ok().and_then(|cseq| Some((cseq.number, cseq.method?)));
    let their_from = theirs.from_header().ok().and_then(|from| from.typed().ok());
    let their_to = theirs.to_header().ok().and_then(|to| to.typed().ok());
    let via = their_via(theirs);
    // Their type holds one address; ours is asked only where theirs can answer.
    their_cseq
        .and_then(|theirs| differs("CSeq", &our_cseq, &Some(theirs)))
        .or_else(|| {
            let theirs = their_from?.tag().map(|tag| tag.value().to_owned());
            differs("From tag", &ours.from_tag().map(text), &theirs)
        })
        .or_else(|| {
            let theirs = their_to?.tag().map(|tag| tag.value().to_owned());
            differs("To tag", &ours.to_tag().map(text), &theirs)
        })
        .or_else(|| differs("Via", &our_via(ours), &Some(via?)))
}

type ViaParts = (String, String, Option<u16>, Option<String>, Option<String>);

fn our_via(message: &Message) -> Option<ViaParts> {
    let via = message.top_via().ok()?;
    Some((text(via.transport), text(via.host), via.port, via.branch().map(text), via.received().map(text)))
}

fn their_via(message: &rsip::SipMessage) -> Option<ViaParts> {
    let header = message.via_header().ok()?;
    // Their type holds one Via per line.
    if header.to_string().contains(',') {
        return None;
    }
    let via = header.typed().ok()?;
    let received = via.params.iter().find_map(|param| match param {
        rsip::Param::Received(received) => Some(received.value().to_owned()),
        _ => None,
    });
    Some((
        via.transport.to_string(),
        via.uri.host().to_string(),
        via.uri.port().map(|port| *port.value()),
        via.branch().map(|branch| branch.value().to_owned()),
        received,
    ))
}

fn split_header(header: &str) -> (String, String) {
    let (name, value) = header.split_once(':').expect("name: value");
    (name.trim().to_owned(), value.trim().to_owned())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn where_rsip_reads_a_message_it_reads_the_same() {
    let mut compared = 0;
    let mut differences = Vec::new();
    // What has to be refused it may read as it likes.
    for sample in corpus::all().into_iter().filter(|sample| sample.verdict == Verdict::Accepted) {
        let Ok(theirs) = rsip::SipMessage::try_from(sample.text.clone()) else { continue };
        let ours = Message::parse(sample.text.into(), &Limits::default()).expect(sample.name);
        compared += 1;
        let is_known = RSIP_IS_WRONG.iter().any(|(name, _)| *name == sample.name);
        match difference(&ours, &theirs) {
            Some(difference) if !is_known => differences.push(format!("{}: {difference}", sample.name)),
            Some(_) => {}
            None => assert!(!is_known, "{} is no exception any more", sample.name),
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(compared >= 30, "only {compared} compared");
}

#[test]
fn what_we_print_rsip_reads_the_same() {
    for sample in corpus::all() {
        let Ok(request) = Message::parse(sample.text.into(), &Limits::default()) else { continue };
        let is_beyond_rsip = RSIP_CANNOT_READ.iter().any(|(name, _)| *name == sample.name);
        if request.validate().is_err() || !request.is_request() || is_beyond_rsip {
            continue;
        }
        let head = ResponseHead::of(&request, ([198, 51, 100, 4], 5062).into());
        for status in [StatusCode::TRYING, StatusCode::RINGING, StatusCode::OK, StatusCode::BUSY_HERE] {
            let printed = head.respond(status, Some("tag-of-ours")).finish();
            agree(sample.name, printed);
        }
    }
    let request = Builder::request(Method::Invite, b"sip:4420@198.51.100.7:5060;transport=udp")
        .header(Name::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1.2.3;rport")
        .header_fmt(Name::MaxForwards, format_args!("{}", 69))
        .header(Name::From, "\"Desk\" <sip:4930@192.0.2.1>;tag=sw")
        .header(Name::To, "<sip:4420@198.51.100.7>")
        .header(Name::CallId, "b.1.2")
        .header(Name::CSeq, "1000 INVITE")
        .raw_header(b"X-Account", b"17")
        .body(b"application/sdp", corpus::SDP.as_bytes());
    agree("invite of ours", request);
}

/// Compact and folded headers are printed long and unfolded, so what `rsip` cannot read here is only extension methods
/// and multiple Vias.
fn agree(name: &str, printed: bytes::Bytes) {
    let ours = Message::parse(printed.clone(), &Limits::default()).expect(name);
    assert_eq!(ours.validate(), Ok(()), "{name}");
    if let Ok(theirs) = rsip::SipMessage::try_from(printed) {
        let difference = difference(&ours, &theirs);
        assert_eq!(difference, None, "{name}");
    }
}
