//! INFO and MESSAGE reach the other party where policy and that party allow it; other methods are refused.

use super::messages::{Peer, parse, reply};
use super::plan::{CALLER, address};
use super::world::World;
use crate::call::Stage;
use tandem_sip::{Message, Method, MethodSet, Name};

fn talking() -> (World, Peer) {
    World::start().talking()
}

/// A request with a body of another type.
fn with_body(peer: &mut Peer, method: &str, lines: &str, content_type: &str, body: &str) -> Message {
    peer.cseq += 1;
    let lines = format!("{lines}Content-Type: {content_type}\r\n");
    let request = peer.request_with(method, peer.cseq, &lines, None);
    let text = String::from_utf8_lossy(request.raw())
        .replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
    parse(text + body)
}

const DIGIT: &str = "Signal=5\r\nDuration=160\r\n";

#[test]
fn an_info_reaches_the_other_party_and_its_response_comes_back() {
    let (mut world, mut callee) = talking();
    let lines = "Info-Package: dtmf\r\nContent-Disposition: Info-Package\r\nX-Own: 1\r\n";
    let info = with_body(&mut world.caller, "INFO", lines, "application/dtmf-relay", DIGIT);
    world.request(info.clone(), address(CALLER));
    let passed = world.at(1, "INFO");
    assert_eq!(passed.body_text(), DIGIT);
    assert_eq!(passed.value(Name::ContentType), "application/dtmf-relay");
    assert_eq!(passed.value(Name::ContentDisposition), "Info-Package");
    assert!(passed.text().contains("Info-Package: dtmf\r\n") && !passed.text().contains("X-Own"));
    // Copies pass nothing, before the response and after it.
    world.request(info.clone(), address(CALLER));
    world.nothing_more();
    world.reply(1, &passed, reply(200));
    let answer = world.at_caller("200");
    world.request(info, address(CALLER));
    assert_eq!(world.at_caller("200").text(), answer.text());
    let info = with_body(&mut callee, "INFO", "", "application/dtmf-relay", DIGIT);
    world.request(info, callee.address);
    let passed = world.at_caller("INFO");
    world.caller_replies(&passed, reply(415));
    world.at(1, "415");
    world.nothing_more();
}

#[test]
fn an_info_is_sent_again_until_its_response() {
    let (mut world, _) = talking();
    world.caller_sends("INFO");
    let passed = world.at(1, "INFO");
    world.advance(500);
    assert_eq!(world.at(1, "INFO").text(), passed.text());
    world.reply(1, &passed, reply(200));
    world.at_caller("200");
    world.wait(40);
    world.nothing_more();
}

#[test]
fn an_info_that_nobody_answers_gets_no_late_408_and_ends_nothing() {
    let (mut world, _) = talking();
    world.caller_sends("INFO");
    world.wait(40);
    assert_eq!(world.sent.iter().filter(|got| got.what() == "408").count(), 0);
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn an_info_that_cannot_be_delivered_is_500() {
    let (mut world, _) = talking();
    world.caller_sends("INFO");
    let passed = world.at(1, "INFO");
    world.undeliverable(&passed);
    world.at_caller("500");
    world.nothing_more();
}

#[test]
fn the_others_challenges_and_overload_stay_on_its_leg() {
    for (status, passed_on) in
        [(401, "500"), (407, "500"), (503, "500"), (302, "500"), (469, "469"), (603, "603")]
    {
        let (mut world, _) = talking();
        world.caller_sends("INFO");
        let passed = world.at(1, "INFO");
        world.reply(1, &passed, reply(status));
        world.at_caller(passed_on);
        world.nothing_more();
    }
}

#[test]
fn a_481_to_an_info_ends_the_call() {
    let (mut world, _) = talking();
    world.caller_sends("INFO");
    let passed = world.at(1, "INFO");
    world.reply(1, &passed, reply(481));
    world.at_caller("481");
    world.at(1, "BYE");
    world.at_caller("BYE");
    assert_eq!(world.finish()["end_reason"], "protocol error");
}

#[test]
fn a_bye_while_an_info_is_open_answers_it_487() {
    let (mut world, mut callee) = talking();
    world.caller_sends("INFO");
    world.at(1, "INFO");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    world.at_caller("487");
    let bye = world.at_caller("BYE");
    world.caller_replies(&bye, reply(200));
    world.finish();
}

#[test]
fn a_method_passes_only_where_both_gateways_pass_it() {
    let both = MethodSet::of(&[Method::Info, Method::Message]);
    for (caller, callee, passes) in
        [(both, both, true), (both, MethodSet::EMPTY, false), (MethodSet::EMPTY, both, false)]
    {
        for method in ["INFO", "MESSAGE"] {
            let world = World::with(|plan| {
                plan.pass_methods = caller;
                plan.candidates[0].pass_methods = callee;
            });
            let (mut world, _) = world.talking();
            world.caller_sends(method);
            if passes {
                world.at(1, method);
            } else {
                let refused = world.at_caller("405");
                assert_eq!(refused.value(Name::Allow), "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE");
            }
            world.nothing_more();
        }
    }
}

#[test]
fn info_passes_by_default_and_message_does_not() {
    let (mut world, mut callee) = talking();
    world.sends(&mut callee, "MESSAGE");
    world.at(1, "405");
    world.sends(&mut callee, "INFO");
    world.at_caller("INFO");
    world.nothing_more();
}

#[test]
fn allow_lists_what_the_gateways_policy_passes() {
    let table = [
        (MethodSet::EMPTY, ""),
        (MethodSet::of(&[Method::Info]), ", INFO"),
        (MethodSet::of(&[Method::Message]), ", MESSAGE"),
        (MethodSet::of(&[Method::Info, Method::Message]), ", INFO, MESSAGE"),
    ];
    for (methods, listed) in table {
        let mut world = World::with(|plan| plan.pass_methods = methods);
        let allow = format!("INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE{listed}");
        let invite = world.at(1, "INVITE");
        assert_eq!(invite.value(Name::Allow), "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO");
        world.reply(1, &invite, reply(200).sdp(super::plan::sdp(5000)));
        assert_eq!(world.at_caller("200").value(Name::Allow), allow);
        world.caller_sends("OPTIONS");
        assert_eq!(world.at_caller("200").value(Name::Allow), allow);
    }
}

#[test]
fn a_party_that_does_not_allow_info_is_not_sent_one() {
    let mut world = World::with(|plan| plan.invite_lines = "Allow: INVITE, ACK, BYE\r\n".to_owned());
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(super::plan::sdp(5000)).line("Allow: INVITE, ACK, BYE, INFO"));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    let mut callee = world.callee(&invite, "gw");
    world.sends(&mut callee, "INFO");
    world.at(1, "405");
    world.caller_sends("INFO");
    world.at(1, "INFO");
    world.nothing_more();
    // Nor after a takeover.
    world.take_over(40_000);
    world.sends(&mut callee, "INFO");
    world.at(1, "405");
}

#[test]
fn so_many_requests_wait_for_their_answer_and_no_more() {
    let (mut world, _) = talking();
    for number in 0..12 {
        world.caller_sends("INFO");
        let last = world.sent.last().map(super::messages::Got::what);
        assert_eq!(last.as_deref(), Some(if number < 8 { "INFO" } else { "500" }));
    }
}
