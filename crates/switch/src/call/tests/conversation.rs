//! Requests inside the dialogs, early and confirmed, and the end of a conversation by one of the parties.

use super::messages::{parse, reply};
use super::plan::{CALLER, address, gateway_address};
use super::world::World;
use crate::cdr::EndReason;
use crate::gateway::Outcome;
use std::time::Duration;
use tandem_sip::{Method, Name};

fn talking() -> (World, super::messages::Peer) {
    World::start().talking()
}

#[test]
fn the_callers_bye_is_answered_and_goes_on_to_the_callee() {
    let (mut world, _) = talking();
    world.wait(61);
    world.caller_sends("BYE");
    assert!(world.at_caller("200").named(b"Contact").next().is_none());
    let bye = world.at(1, "BYE");
    assert_eq!(bye.request_uri(), b"sip:gw@198.51.100.1:5060");
    assert_eq!(bye.tag_in_to(), "gw");
    world.nothing_more();
    world.reply(1, &bye, reply(200));
    let record = world.finish();
    assert_eq!(record["end_reason"], "normal");
    assert_eq!(record["ended_by"], "caller");
    assert_eq!(record["duration_ms"], 61_000);
    assert_eq!(record["routing_gateway"], "one");
    assert_eq!(record["sip_status"], 200);
    assert_eq!(record["codec"], "PCMA");
    assert_eq!(record["caller"], "100");
    assert_eq!(record["called"], "4420");
    assert_eq!(record["called_out"], "14420");
    assert_eq!(record["nodes"], serde_json::json!(["n1"]));
    assert_eq!(world.ends[0].len(), 1);
    let Some(Outcome::Answered { talked, .. }) = world.outcome("one") else {
        panic!("not answered");
    };
    assert_eq!(talked, Duration::from_secs(61));
}

#[test]
fn the_callees_bye_is_answered_and_goes_on_to_the_caller() {
    let (mut world, mut callee) = talking();
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    let bye = world.at_caller("BYE");
    assert_eq!(bye.request_uri(), b"sip:alice@192.0.2.10:5060");
    assert_eq!(bye.tag_in_to(), "alice");
    world.nothing_more();
    world.caller_replies(&bye, reply(200));
    let record = world.finish();
    assert_eq!(record["end_reason"], "normal");
    assert_eq!(record["ended_by"], "callee");
}

#[test]
fn the_reasons_of_a_bye_reach_the_other_party() {
    let (mut world, callee) = talking();
    let lines = "Reason: Q.850;cause=16;text=\"Normal\"\r\nReason: SIP;cause=200\r\n";
    let bye = callee.request_with("BYE", 101, lines, None);
    world.request(bye, gateway_address(1));
    assert_eq!(world.at_caller("BYE").reasons(), ["Q.850 16 Normal", "SIP 200 "]);

    let (mut world, _) = talking();
    let bye = world.caller.request_with("BYE", 8, lines, None);
    world.request(bye, address(CALLER));
    assert_eq!(world.at(1, "BYE").reasons(), ["Q.850 16 Normal", "SIP 200 "]);
}

#[test]
fn a_reason_of_only_one_kind_gets_the_other_on_its_way_across() {
    let (mut world, callee) = talking();
    let bye = callee.request_with("BYE", 101, "Reason: Q.850;cause=31\r\n", None);
    world.request(bye, gateway_address(1));
    assert_eq!(world.at_caller("BYE").reasons(), ["Q.850 31 ", "SIP 480 "]);
    let (mut world, _) = talking();
    let bye = world.caller.request_with("BYE", 8, "Reason: SIP;cause=486;text=\"busy\"\r\n", None);
    world.request(bye, address(CALLER));
    assert_eq!(world.at(1, "BYE").reasons(), ["SIP 486 busy", "Q.850 17 "]);
}

#[test]
fn copies_of_a_bye_get_the_same_200() {
    let (mut world, mut callee) = talking();
    let bye = world.sends(&mut callee, "BYE");
    let answer = world.at(1, "200");
    let other = world.at_caller("BYE");
    world.advance(400);
    world.request(bye.clone(), gateway_address(1));
    assert_eq!(world.at(1, "200").text(), answer.text());
    world.caller_replies(&other, reply(200));
    world.wait(20);
    world.request(bye, gateway_address(1));
    assert_eq!(world.at(1, "200").text(), answer.text());
    world.nothing_more();
    world.finish();
}

#[test]
fn byes_that_cross_are_both_answered() {
    let (mut world, mut callee) = talking();
    world.caller_sends("BYE");
    world.at_caller("200");
    let ours = world.at(1, "BYE");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    world.reply(1, &ours, reply(481));
    world.nothing_more();
    let record = world.finish();
    assert_eq!(record["ended_by"], "caller");
}

#[test]
fn byes_that_cross_long_after_the_answer_are_both_answered() {
    let (mut world, mut callee) = talking();
    world.wait(61);
    world.hang_up(EndReason::Admin);
    world.at(1, "BYE");
    world.at_caller("BYE");
    // The resends of the BYE make the call look at what it still has to remember.
    world.advance(500);
    world.at(1, "BYE");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
}

#[test]
fn a_bye_is_resent_until_its_response() {
    let (mut world, _) = talking();
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.advance(1_500);
    for _ in 0..2 {
        assert_eq!(world.at(1, "BYE").text(), bye.text());
    }
    world.reply(1, &bye, reply(200));
    world.wait(20);
    world.nothing_more();
    world.finish();
}

#[test]
fn a_call_whose_bye_nobody_answers_is_over_all_the_same() {
    let (mut world, _) = talking();
    world.caller_sends("BYE");
    world.finish();

    let (mut world, _) = talking();
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.undeliverable(&bye);
    world.wait(5);
    world.nothing_more();
    world.finish();
}

#[test]
fn the_callers_bye_before_its_ack_ends_the_call() {
    let mut world = World::start();
    world.answered_by(1);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    // Who hangs up no longer waits for the 2xx.
    world.wait(10);
    world.nothing_more();
    assert_eq!(world.finish()["ended_by"], "caller");
}

#[test]
fn the_callees_bye_before_the_callers_ack_waits_for_it() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    let mut callee = world.callee(&invite, "gw");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    world.nothing_more();
    // The 2xx is still resent.
    world.advance(500);
    world.at_caller("200");
    world.caller_acks(None);
    let bye = world.at_caller("BYE");
    world.nothing_more();
    world.caller_replies(&bye, reply(200));
    let record = world.finish();
    assert_eq!(record["ended_by"], "callee");
}

#[test]
fn the_callees_bye_reaches_a_caller_that_never_acknowledges_after_64_t1() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    world.wait(2);
    let mut callee = world.callee(&invite, "gw");
    world.sends(&mut callee, "BYE");
    world.skip();
    world.advance(29_999);
    world.skip();
    world.advance(1);
    world.at_caller("BYE");
    world.nothing_more();
    world.finish();
}

#[test]
fn byes_of_both_before_the_ack_end_the_resending() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    let mut callee = world.callee(&invite, "gw");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    world.caller_sends("BYE");
    world.at_caller("200");
    world.wait(40);
    world.nothing_more();
    world.finish();
}

#[test]
fn a_request_out_of_order_is_500_and_ends_nothing() {
    let (mut world, mut callee) = talking();
    for cseq in [6, 7] {
        let bye = world.caller.request_with("BYE", cseq, "", None);
        world.request(bye, address(CALLER));
        world.at_caller("500");
    }
    world.sends(&mut callee, "OPTIONS");
    world.at(1, "200");
    let bye = callee.request_with("BYE", 100, "", None);
    world.request(bye, gateway_address(1));
    world.at(1, "500");
    world.nothing_more();
    assert!(world.releases().is_empty());
}

#[test]
fn requests_of_one_party_do_not_count_for_the_other() {
    let (mut world, mut callee) = talking();
    world.caller.cseq = 5_000;
    world.caller_sends("OPTIONS");
    world.at_caller("200");
    world.sends(&mut callee, "OPTIONS");
    world.at(1, "200");
}

#[test]
fn options_in_the_dialog_says_what_is_allowed() {
    let (mut world, mut callee) = talking();
    world.caller_sends("OPTIONS");
    let answer = world.at_caller("200");
    assert_eq!(answer.value(Name::Allow), "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO");
    world.sends(&mut callee, "OPTIONS");
    assert_eq!(
        world.at(1, "200").value(Name::Allow),
        "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO"
    );
    world.nothing_more();
}

#[test]
fn other_methods_in_the_dialog_are_refused_politely() {
    let table = [
        ("MESSAGE", "405"),
        ("NOTIFY", "405"),
        ("SUBSCRIBE", "405"),
        ("REFER", "603"),
        ("FROBNICATE", "501"),
    ];
    let (mut world, _) = talking();
    for (method, status) in table {
        world.caller_sends(method);
        let refused = world.at_caller(status);
        if status != "603" {
            assert!(refused.named(b"Allow").next().is_some(), "{method}: {}", refused.text());
        }
    }
    world.nothing_more();
    assert!(world.releases().is_empty());
}

#[test]
fn a_request_in_a_dialog_we_do_not_know_is_481() {
    let (mut world, callee) = talking();
    let mut strangers = vec![world.caller.clone(), world.caller.clone(), world.caller.clone(), callee];
    strangers[0].from = strangers[0].from.replace("tag=alice", "tag=mallory");
    strangers[1].to = "<sip:4420@switch.example>;tag=unknown".to_owned();
    strangers[2].call_id = "another".to_owned();
    strangers[3].from = strangers[3].from.replace("tag=gw", "tag=other");
    for mut stranger in strangers {
        stranger.name = "stranger".to_owned();
        for method in ["BYE", "OPTIONS", "INFO"] {
            world.sends(&mut stranger, method);
            let refused = world.sent.last().expect("an answer");
            assert_eq!(refused.what(), "481", "{}", refused.text());
            assert_eq!(refused.flow.remote, stranger.address);
        }
    }
    assert!(world.releases().is_empty());
}

#[test]
fn a_copy_is_told_by_more_than_its_branch() {
    // Peers of RFC 2543 may use one branch, or none, for everything (RFC 3261 §17.2.3).
    for branch in [";branch=1", ""] {
        let (mut world, _) = talking();
        let old_style = |message: &tandem_sip::Message| {
            let text = String::from_utf8_lossy(message.raw()).into_owned();
            let (head, rest) = text.split_once(";branch=").expect("a branch");
            let (_, rest) = rest.split_once("\r\n").expect("a line end");
            parse(format!("{head}{branch}\r\n{rest}"))
        };
        let options = old_style(&world.caller.request("OPTIONS"));
        world.request(options, address(CALLER));
        world.at_caller("200");
        let bye = old_style(&world.caller.request("BYE"));
        world.request(bye.clone(), address(CALLER));
        world.at_caller("200");
        world.at(1, "BYE");
        world.request(bye, address(CALLER));
        world.at_caller("200");
        world.nothing_more();
    }
}

#[test]
fn a_bye_in_an_early_dialog_ends_the_set_up() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.caller_sends("BYE");
    let answers = [world.at_caller("200"), world.at_caller("487")];
    assert_eq!(answers[0].method(), Some(Method::Bye));
    assert_eq!(answers[1].reasons().len(), 1, "{}", answers[1].text());
    let cancel = world.at(1, "CANCEL");
    assert_eq!(cancel.reasons().len(), 1, "{}", cancel.text());
    world.nothing_more();
    let record = world.finish();
    assert_eq!(record["end_reason"], "cancelled");
    assert_eq!(record["ended_by"], "caller");
}

#[test]
fn other_requests_in_an_early_dialog_are_refused_and_end_nothing() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    for (method, status) in [("INFO", "405"), ("PRACK", "481")] {
        world.caller_sends(method);
        world.at_caller(status);
    }
    let mut callee = world.callee(&invite, "gw");
    world.sends(&mut callee, "INFO");
    world.at(1, "481");
    world.nothing_more();
    assert!(world.releases().is_empty());
}

#[test]
fn requests_after_the_end_are_481_but_for_bye() {
    let (mut world, mut callee) = talking();
    world.caller_sends("BYE");
    world.skip();
    world.caller_sends("OPTIONS");
    world.at_caller("481");
    world.caller_sends("BYE");
    world.at_caller("200");
    world.sends(&mut callee, "INFO");
    world.at(1, "481");
    world.nothing_more();
    world.finish();
}

#[test]
fn a_conversation_leaves_no_deadline_but_its_own() {
    let mut world = World::with(|plan| plan.parameters.no_timer = None);
    world.answered_by(1);
    world.caller_acks(None);
    // Copies of the INVITE and of its 2xx can arrive for 64·T1.
    world.wait(33);
    assert_eq!(world.next_wake(), None);
    world.hang_up(crate::cdr::EndReason::Admin);
    world.finish();
}
