//! What an INVITE must be to become a call (RFC 3261 §8.2), and what requests outside a dialog are answered.

use super::messages::parse;
use super::plan::Plan;
use super::world::World;
use crate::call::{Refused, Screened, respond_outside_dialog};
use tandem_sip::dialog::Dialog;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::{Message, Method, Name};

/// The default plan's INVITE, changed.
fn invite(change: impl FnOnce(&mut Plan)) -> Message {
    let mut plan = Plan::default();
    change(&mut plan);
    parse(plan.invite())
}

/// The default plan's INVITE with one text in it replaced.
fn altered(from: &str, to: &str) -> Message {
    let text = Plan::default().invite();
    assert!(text.contains(from), "{text}");
    parse(text.replace(from, to))
}

fn lines(lines: &str) -> Message {
    invite(|plan| plan.invite_lines = lines.to_owned())
}

fn screen(invite: &Message) -> Result<Screened, Refused> {
    crate::call::screen(invite, &Plan::default().parameters)
}

fn refusal(invite: &Message) -> Refused {
    screen(invite).expect_err("an INVITE to be refused")
}

fn status(invite: &Message) -> u16 {
    refusal(invite).status.code()
}

/// The answer to a request of that method outside any dialog.
fn answer(method: &str) -> Message {
    let request = parse(format!(
        "{method} sip:203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1\r\nMax-Forwards: 0\r\n\
         From: <sip:a@192.0.2.10>;tag=a\r\nTo: <sip:203.0.113.1>\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    ));
    let source = "192.0.2.10:5060".parse().expect("an address");
    parse(respond_outside_dialog(&request, source, "ours", None).expect("an answer"))
}

#[test]
fn max_forwards_0_is_483() {
    assert_eq!(status(&invite(|plan| plan.max_forwards = Some(0))), 483);
    assert!(screen(&invite(|plan| plan.max_forwards = Some(1))).is_ok());
    assert!(screen(&invite(|plan| plan.max_forwards = None)).is_ok());
}

#[test]
fn max_forwards_0_does_not_keep_options_from_its_answer() {
    assert_eq!(answer("OPTIONS").status().map(|status| status.code()), Some(200));
}

#[test]
fn a_required_extension_we_do_not_have_is_420_with_unsupported() {
    let refused = refusal(&lines("Require: teleport, levitation\r\nRequire: x\r\n"));
    assert_eq!(refused.status.code(), 420);
    assert_eq!(refused.headers, [(Name::Unsupported, "teleport, levitation, x".to_owned())]);
}

#[test]
fn max_breadth_0_is_440_and_any_other_goes_on_to_the_gateways() {
    assert_eq!(status(&lines("Max-Breadth: 0\r\n")), 440);
    assert_eq!(status(&lines("Max-Breadth: many\r\n")), 400);
    let mut world = World::with(|plan| plan.invite_lines = "Max-Breadth: 7\r\n".to_owned());
    assert_eq!(world.at(1, "INVITE").value(Name::MaxBreadth), "7");
    let mut world = World::start();
    assert!(world.at(1, "INVITE").first(Name::MaxBreadth).is_none());
}

#[test]
fn a_body_of_an_unknown_type_is_415_with_accept() {
    let refused = refusal(&altered("application/sdp", "application/isup"));
    assert_eq!(refused.status.code(), 415);
    assert_eq!(refused.headers, [(Name::Accept, "application/sdp".to_owned())]);
    assert_eq!(status(&altered("application/sdp", "application/sdpng")), 415);
    assert!(screen(&altered("application/sdp", "Application/SDP;charset=utf-8")).is_ok());
}

#[test]
fn a_body_of_an_unknown_encoding_is_415_with_accept_encoding() {
    let refused = refusal(&lines("Content-Encoding: gzip\r\n"));
    assert_eq!(refused.status.code(), 415);
    assert_eq!(refused.headers, [(Name::AcceptEncoding, "identity".to_owned())]);
    assert!(screen(&lines("Content-Encoding: identity\r\n")).is_ok());
}

#[test]
fn an_unknown_body_whose_handling_is_optional_is_ignored() {
    let optional = "Content-Disposition: render;handling=optional\r\n";
    let change = |plan: &mut Plan| plan.invite_lines = optional.to_owned();
    let text = invite(change).raw().to_vec();
    let text = String::from_utf8(text).expect("text").replace("application/sdp", "application/isup");
    assert!(screen(&parse(text)).is_ok());
    let required = lines("Content-Disposition: render;handling=required\r\nContent-Encoding: gzip\r\n");
    assert_eq!(status(&required), 415);
}

#[test]
fn replaces_is_declined() {
    assert_eq!(status(&lines("Replaces: 1@host;to-tag=a;from-tag=b\r\n")), 603);
}

#[test]
fn tel_and_sips_uris_name_the_called_number() {
    for uri in ["tel:+44-20-7946", "sips:+44207946@203.0.113.1", "sip:+44207946@203.0.113.1;user=phone"] {
        let invite = altered("INVITE sip:4420@203.0.113.1:5060", &format!("INVITE {uri}"));
        assert_eq!(screen(&invite).map(|screened| screened.called), Ok("+44207946".to_owned()), "{uri}");
    }
}

#[test]
fn a_request_uri_of_another_scheme_is_416() {
    assert_eq!(status(&altered("INVITE sip:4420@203.0.113.1:5060", "INVITE mailto:a@b")), 416);
}

#[test]
fn a_request_uri_without_a_number_is_404() {
    assert_eq!(status(&altered("INVITE sip:4420@203.0.113.1:5060", "INVITE sip:203.0.113.1")), 404);
}

#[test]
fn options_says_what_is_understood() {
    let answer = answer("OPTIONS");
    let value = |name| String::from_utf8_lossy(answer.first(name).expect("there")).into_owned();
    for method in ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"] {
        assert!(value(Name::Allow).contains(method), "{method}");
    }
    assert_eq!(value(Name::Accept), "application/sdp");
    assert_eq!(value(Name::AcceptEncoding), "identity");
    assert_eq!(value(Name::AcceptLanguage), "en");
    assert!(answer.first(Name::Supported).is_some());
}

#[test]
fn refer_and_unknown_methods_are_refused_politely() {
    for (method, status) in [("REFER", 603), ("SUBSCRIBE", 405), ("JUGGLE", 501)] {
        let answer = answer(method);
        assert_eq!(answer.status().map(|status| status.code()), Some(status), "{method}");
        assert_eq!(answer.first(Name::Allow).is_some(), status != 603, "{method}");
    }
}

#[test]
fn a_caller_that_takes_no_session_description_gets_406() {
    for accept in ["text/plain", "text/x-one, text/x-two;q=1", ""] {
        assert_eq!(status(&lines(&format!("Accept: {accept}\r\n"))), 406, "{accept}");
    }
    for accept in ["text/plain, Application/SDP;level=1", "application/*", "*/*;q=0.1"] {
        assert!(screen(&lines(&format!("Accept: {accept}\r\n"))).is_ok(), "{accept}");
    }
}

#[test]
fn an_invite_without_contact_is_400_unless_it_is_of_rfc_2543() {
    let contact = "Contact: <sip:alice@192.0.2.10:5060>\r\n";
    assert_eq!(status(&altered(contact, "")), 400);
    assert_eq!(status(&altered(contact, "Contact: *\r\n")), 400);
    let old = Plan::default().invite().replace(contact, "").replace(";branch=z9hG4bKcaller1", "");
    assert!(screen(&parse(old)).is_ok());
}

#[test]
fn a_caller_of_rfc_2543_without_contact_is_reached_where_it_called_from() {
    let old = Plan::default().invite().replace("Contact: <sip:alice@192.0.2.10:5060>\r\n", "");
    let remote = "192.0.2.10:5071".parse().expect("an address");
    let flow = Flow { transport: Transport::Udp, listener: 0, remote };
    let mut dialog = Dialog::as_server(&parse(old), "ours", flow).expect("a dialog");
    assert_eq!(dialog.flow(), flow);
    let bye = parse(dialog.request(Method::Bye, "SIP/2.0/UDP 203.0.113.1;branch=z9hG4bK1").finish());
    assert_eq!(bye.request_uri(), b"sip:100@192.0.2.10:5071");
}

#[test]
fn a_display_name_that_needs_quotes_gets_them() {
    for (written, printed) in
        [("Sales, East", "\"Sales, East\""), ("Alice B.", "Alice B."), ("\"A\"", "\"A\"")]
    {
        let mut world = World::with(|plan| plan.display = written);
        let from = world.at(1, "INVITE").value(Name::From);
        assert!(from.starts_with(&format!("{printed} <sip:100@")), "{from}");
    }
}
