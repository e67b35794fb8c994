//! Before a gateway is asked: the look-up, and the slots.

use super::messages::reply;
use super::plan::Answers;
use super::world::World;
use crate::call::Event;
use crate::failover::StopReason;
use crate::gateway::{Outcome, Refusal};

fn slow_admission() -> World {
    World::with(|plan| plan.admission = Answers::WhenTold)
}

#[test]
fn a_look_up_without_an_answer_is_no_route() {
    let mut world = World::with(|plan| plan.lookup = Answers::WhenTold);
    assert_eq!(world.lookups, 1);
    world.advance(3_999);
    world.nothing_more();
    world.advance(1);
    world.at_caller("503");
    assert_eq!(world.releases()[0].stop, Some(StopReason::RoutesExhausted));
    world.look_up();
    world.nothing_more();
    world.finish();
}

#[test]
fn a_look_up_answered_twice_counts_once() {
    let mut world = World::start();
    world.look_up();
    assert_eq!(world.attempted(), ["one"]);
}

#[test]
fn no_invite_goes_out_before_its_slot_is_granted() {
    let mut world = slow_admission();
    world.advance(1_000);
    world.nothing_more();
    world.admit();
    world.at(1, "INVITE");
}

#[test]
fn a_gateway_that_does_not_say_whether_it_has_a_slot_is_passed_over() {
    let mut world = slow_admission();
    world.advance(1_999);
    assert_eq!(world.asked.len(), 1);
    world.advance(1);
    assert_eq!(world.asked.len(), 2);
    let refused = Event::Refused { gateway: "one".into(), refusal: Refusal::NoAnswer };
    assert!(world.events.contains(&refused));
    // Its slot comes after all, and goes back at once.
    world.admit();
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
    world.nothing_more();
    world.admit();
    world.at(2, "INVITE");
    world.nothing_more();
}

#[test]
fn a_refusal_that_comes_late_gives_no_slot_back() {
    let mut world = World::with(|plan| {
        plan.admission = Answers::WhenTold;
        World::refuse(plan, "one", Refusal::Calls);
    });
    world.wait(2);
    world.admit();
    assert!(world.released.is_empty());
}

#[test]
fn a_slot_that_is_granted_twice_is_one_slot() {
    let mut world = slow_admission();
    let answer = world.admission().expect("asked for");
    world.input(answer.clone());
    world.at(1, "INVITE");
    world.input(answer);
    assert!(world.released.is_empty());
    world.nothing_more();
}

#[test]
fn a_slot_granted_after_the_caller_cancelled_goes_back() {
    let mut world = slow_admission();
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    world.admit();
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
    world.nothing_more();
    world.finish();
}

#[test]
fn a_call_does_not_stop_before_the_slot_it_asked_for_is_back() {
    let mut world = slow_admission();
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    world.caller_acks(None);
    // Long after everything else of the call is over.
    world.wait(20);
    world.admit();
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
    world.finish();
}

#[test]
fn a_slot_that_is_never_answered_for_does_not_keep_the_call() {
    let mut world = slow_admission();
    world.caller_cancels("");
    world.caller_acks(None);
    world.finish();
}

#[test]
fn all_gateways_full_is_503_with_a_reason() {
    let mut world = World::with(|plan| {
        for gateway in ["one", "two", "three"] {
            World::refuse(plan, gateway, Refusal::Calls);
        }
    });
    let failure = world.at_caller("503");
    assert_eq!(failure.reasons(), ["SIP 503 routes exhausted"]);
    world.nothing_more();
    let record = world.finish();
    assert_eq!(record["stop_reason"], "routes exhausted");
    assert!(world.attempted().is_empty());
    assert!(world.released.is_empty());
}

#[test]
fn after_a_failed_attempt_gateways_without_a_slot_leave_its_status_the_last() {
    let mut world = World::with(|plan| {
        World::refuse(plan, "two", Refusal::Calls);
        World::refuse(plan, "three", Refusal::Calls);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(404));
    world.at_caller("404");
    world.finish();
}

#[test]
fn each_slot_is_held_until_its_attempt_is_over() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    assert!(world.slots.contains(&("one".to_owned(), 0)));
    world.reply(1, &first, reply(503));
    assert!(!world.slots.contains(&("one".to_owned(), 0)));
    assert!(world.slots.contains(&("two".to_owned(), 1)));
}
