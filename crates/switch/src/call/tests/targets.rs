//! A gateway known by name: where it is reached, and the next place when one fails (RFC 3263 §4.3).

use super::messages::reply;
use super::plan::{Answers, sdp};
use super::world::World;
use crate::call::Event;
use crate::failover::Failure;
use crate::gateway::{Outcome, Refusal};
use tandem_sip::Name;

/// Gateway one is reached at the addresses of one, four and five.
fn named() -> World {
    World::with(|plan| {
        plan.named(1, &[1, 4, 5]);
    })
}

fn hang_up(world: &mut World, at: usize) -> serde_json::Value {
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(at, "BYE");
    world.reply(at, &bye, reply(200));
    world.finish()
}

#[test]
fn a_gateway_by_name_is_called_by_that_name_at_its_first_target() {
    let mut world = named();
    let invite = world.answered_by(1);
    assert_eq!(invite.request_uri(), b"sip:14420@one.example");
    assert_eq!(invite.value(Name::To), "<sip:14420@one.example>");
    let record = hang_up(&mut world, 1);
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_503_goes_on_to_the_next_target_within_the_attempt() {
    let mut world = named();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(503));
    world.at(1, "ACK");
    let second = world.at(4, "INVITE");
    // The same request in another transaction.
    assert_ne!(second.branch(), first.branch());
    assert_eq!(second.cseq_number(), first.cseq_number());
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.value(Name::From), first.value(Name::From));
    assert_eq!(second.request_uri(), first.request_uri());
    assert!(second.after > first.after, "sent before its commit");
    world.reply(4, &second, reply(200).sdp(sdp(5000)));
    let ack = world.at(4, "ACK");
    assert_eq!(ack.cseq_number(), second.cseq_number());
    world.at_caller("200");
    // A copy of the 503 gets its ACK again.
    world.reply(1, &first, reply(503));
    world.at(1, "ACK");
    let record = hang_up(&mut world, 4);
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.attempted(), ["one"]);
}

/// Gateway one registers to us, and is bound at the addresses of one and four.
fn registered() -> World {
    World::with(|plan| {
        plan.registered(1, &[1, 4]);
    })
}

#[test]
fn a_gateway_that_registers_is_called_by_number_at_one_contact_after_the_other() {
    let mut world = registered();
    let first = world.at(1, "INVITE");
    assert_eq!(first.request_uri(), b"sip:14420@10.0.0.1:5070;line=1");
    assert_eq!(first.value(Name::Route), "<sip:edge1.example;lr>");
    world.reply(1, &first, reply(503));
    world.at(1, "ACK");
    let second = world.at(4, "INVITE");
    assert_eq!(second.request_uri(), b"sip:14420@10.0.0.4:5070;line=4");
    assert_eq!(second.value(Name::Route), "<sip:edge4.example;lr>");
    assert_eq!(second.value(Name::To), first.value(Name::To));
    assert_eq!(second.call_id(), first.call_id());
    world.reply(4, &second, reply(200).sdp(sdp(5000)));
    let ack = world.at(4, "ACK");
    assert_eq!(ack.cseq_number(), second.cseq_number());
    world.at_caller("200");
    let record = hang_up(&mut world, 4);
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(record["attempts"][0]["contact"], "sip:trunk@10.0.0.4:5070;line=4");
    assert_eq!(world.attempted(), ["one"]);
}

#[test]
fn a_gateway_that_registers_holds_one_slot_and_its_refusal_is_its_word() {
    let mut world = registered();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(500));
    world.at(1, "ACK");
    // No further binding of it is asked: the next gateway is.
    world.at(2, "INVITE");
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn the_invite_timeout_runs_per_target() {
    let mut world = named();
    world.at(1, "INVITE");
    world.advance(9_999);
    world.skip();
    world.advance(1);
    world.at(4, "INVITE");
    world.advance(9_999);
    world.skip();
    world.advance(1);
    world.at(5, "INVITE");
    world.skip();
    world.advance(10_000);
    world.at(2, "INVITE");
    assert_eq!(world.attempted(), ["one", "two"]);
    let failed = world.events.iter().filter(|event| matches!(event, Event::TargetFailed { .. })).count();
    assert_eq!(failed, 3);
}

#[test]
fn a_transport_error_goes_on_to_the_next_target_at_once() {
    let mut world = named();
    let first = world.at(1, "INVITE");
    world.undeliverable(&first);
    let second = world.at(4, "INVITE");
    world.undeliverable(&second);
    let third = world.at(5, "INVITE");
    world.undeliverable(&third);
    world.at(2, "INVITE");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::TransportError)));
}

#[test]
fn further_targets_are_no_switches() {
    let mut world = World::with(|plan| {
        plan.named(1, &[1, 4, 5]).parameters.switch_limit = Some(1);
    });
    for number in [1, 4, 5, 2] {
        let invite = world.at(number, "INVITE");
        world.reply(number, &invite, reply(503));
        world.at(number, "ACK");
    }
    world.at_caller("500");
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn a_503_of_the_last_target_is_the_attempts_failure() {
    let mut world = named();
    for number in [1, 4, 5] {
        let invite = world.at(number, "INVITE");
        world.reply(number, &invite, reply(503));
        world.at(number, "ACK");
    }
    world.at(2, "INVITE");
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn any_other_failure_is_the_gateways_word_and_no_further_target_is_tried() {
    for status in [404, 480, 500, 486] {
        let mut world = named();
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(status));
        world.at(1, "ACK");
        assert!(world.sent_requests(super::plan::gateway_address(4)).next().is_none(), "{status}");
    }
}

#[test]
fn no_further_target_once_committed() {
    let mut world = named();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.reply(1, &invite, reply(503));
    world.at(1, "ACK");
    world.at_caller("500");
    world.nothing_more();
}

#[test]
fn a_target_that_was_given_up_is_cancelled_when_it_rings_late_and_ended_when_it_answers() {
    let mut world = named();
    let first = world.at(1, "INVITE");
    world.wait(10);
    world.skip();
    let second = world.sent.last().expect("an INVITE").clone();
    world.reply(1, &first, reply(180));
    let cancel = world.at(1, "CANCEL");
    assert_eq!(cancel.branch(), first.branch());
    world.nothing_more();
    world.reply(4, &second, reply(180));
    world.at_caller("180");
    // It answers all the same.
    world.reply(1, &first, reply(200).tag("late").sdp(sdp(6000)));
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    world.nothing_more();
    world.reply(4, &second, reply(200).sdp(sdp(5000)));
    world.at(4, "ACK");
    world.at_caller("200");
    hang_up(&mut world, 4);
}

#[test]
fn the_slot_is_held_until_every_target_has_ended() {
    let mut world = named();
    let first = world.at(1, "INVITE");
    world.wait(10);
    world.skip();
    let second = world.sent.last().expect("an INVITE").clone();
    world.reply(4, &second, reply(404));
    assert_eq!(world.outcome("one"), None, "the first target may still answer");
    world.reply(1, &first, reply(486));
    assert!(world.outcome("one").is_some());
}

#[test]
fn a_name_that_leads_nowhere_is_a_transport_error_and_switches() {
    let mut world = World::with(|plan| {
        plan.named(1, &[]);
    });
    world.at(2, "INVITE");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::TransportError)));
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn a_name_that_is_not_resolved_in_time_leads_nowhere() {
    let mut world = World::with(|plan| {
        plan.named(1, &[1]).resolution = Answers::WhenTold;
    });
    world.advance(3_999);
    world.nothing_more();
    world.advance(1);
    world.at(2, "INVITE");
    // The answer comes too late.
    let answer = world.resolution().expect("asked for");
    world.input(answer);
    world.nothing_more();
}

#[test]
fn a_gateway_that_takes_no_call_is_left_before_its_name_is_resolved() {
    let mut world = World::with(|plan| {
        plan.named(1, &[1]).resolution = Answers::WhenTold;
        World::refuse(plan, "one", Refusal::Calls);
    });
    world.at(2, "INVITE");
    let answer = world.resolution().expect("asked for");
    world.input(answer);
    world.nothing_more();
    assert_eq!(world.attempted(), ["two"]);
}

#[test]
fn cancel_while_a_name_is_resolved_gives_the_slot_back() {
    let mut world = World::with(|plan| {
        plan.named(1, &[1]).resolution = Answers::WhenTold;
    });
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    world.caller_acks(None);
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
    world.finish();
}

#[test]
fn an_heir_goes_on_to_the_further_targets_and_ends_what_an_earlier_one_answers() {
    let mut world = named();
    let first = world.at(1, "INVITE");
    world.wait(10);
    world.skip();
    let second = world.sent.last().expect("an INVITE").clone();
    world.take_over(1_000);
    assert_eq!(world.at(4, "INVITE").text(), second.text());
    world.reply(1, &first, reply(200).tag("late").sdp(sdp(6000)));
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    world.reply(4, &second, reply(503));
    world.at(4, "ACK");
    let third = world.at(5, "INVITE");
    world.reply(5, &third, reply(200).sdp(sdp(5000)));
    world.at(5, "ACK");
    world.at_caller("200");
    hang_up(&mut world, 5);
}
