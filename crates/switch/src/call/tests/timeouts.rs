//! The failover table's timeouts: when they are armed, re-armed and disarmed, and what they lead to.

use super::messages::reply;
use super::plan::sdp;
use super::world::{World, since};
use crate::failover::Failure;
use crate::gateway::Outcome;
use std::time::Duration;
use tandem_sip::transaction::ResendSchedule;

#[test]
fn an_unanswered_invite_is_resent_on_schedule_until_the_invite_timeout() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    for expected in [500, 1_500, 3_500, 7_500] {
        world.advance(expected - (world.now.mono.since(first.at).as_millis() as u64));
        let again = world.at(1, "INVITE");
        assert_eq!((since(&again, &first), again.text()), (expected, first.text()));
    }
    world.advance(2_499);
    world.nothing_more();
    world.advance(1);
    let second = world.at(2, "INVITE");
    assert_eq!(since(&second, &first), 10_000);
    world.nothing_more();
}

#[test]
fn the_invite_timeout_switches() {
    let mut world = World::start();
    world.wait(10);
    world.wait(10);
    world.wait(10);
    assert_eq!(world.attempted(), ["one", "two", "three"]);
    let failures: Vec<_> = world.sent.iter().filter(|got| got.what() == "408").collect();
    assert_eq!(failures[0].reasons(), ["SIP 408 routes exhausted"]);
    let record = world.finish();
    assert_eq!(record["stop_reason"], "routes exhausted");
    assert_eq!(record["sip_status"], 408);
    assert_eq!(record["attempts"][0]["outcome"], "invite timeout");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
}

#[test]
fn stop_switch_after_invite_timeout_ends_the_hunt_at_that_gateway() {
    let mut world = World::with(|plan| {
        plan.gateway(2, |gateway| gateway.stop_after_invite_timeout = true);
    });
    world.wait(20);
    assert_eq!(world.attempted(), ["one", "two"]);
    world.at_caller("408");
    let record = world.finish();
    assert_eq!(record["stop_reason"], "invite timeout");
    assert_eq!(record["end_reason"], "no answer");
    assert_eq!(record["ended_by"], "server");
}

#[test]
fn each_gateway_has_its_own_invite_timeout() {
    let mut world = World::with(|plan| {
        plan.gateway(1, |gateway| gateway.invite_timeout = Duration::from_secs(3));
    });
    world.advance(2_999);
    assert_eq!(world.attempted(), ["one"]);
    world.advance(1);
    assert_eq!(world.attempted(), ["one", "two"]);
    world.advance(9_999);
    assert_eq!(world.attempted(), ["one", "two"]);
    world.advance(1);
    assert_eq!(world.attempted(), ["one", "two", "three"]);
}

#[test]
fn the_shorter_of_invite_timeout_and_resend_window_wins() {
    let waits = [Duration::from_millis(500), Duration::from_secs(1)];
    let mut world = World::with(|plan| {
        plan.parameters.resend = ResendSchedule::new(&waits, 2).expect("two waits");
    });
    world.advance(1_999);
    assert_eq!(world.attempted(), ["one"]);
    world.advance(1);
    assert_eq!(world.attempted(), ["one", "two"]);

    let mut world = World::with(|plan| {
        plan.every_gateway(|gateway| gateway.invite_timeout = Duration::from_secs(120));
    });
    world.advance(31_999);
    assert_eq!(world.attempted(), ["one"]);
    world.advance(1);
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn no_resends_leave_half_a_second() {
    let mut world = World::with(|plan| {
        plan.parameters.resend = ResendSchedule::new(&[], 0).expect("no waits");
    });
    world.advance(500);
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn a_transport_error_switches_always() {
    let mut world = World::with(|plan| {
        plan.every_gateway(|gateway| {
            gateway.stop_after_invite_timeout = true;
            gateway.stop_codes = vec![503];
        });
    });
    let first = world.at(1, "INVITE");
    world.undeliverable(&first);
    let second = world.at(2, "INVITE");
    // Also once the gateway has spoken, and is committed to.
    world.reply(2, &second, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.undeliverable(&second);
    let third = world.at(3, "INVITE");
    world.undeliverable(&third);
    let failure = world.at_caller("503");
    assert_eq!(failure.reasons(), ["SIP 503 routes exhausted"]);
    assert_eq!(world.finish()["attempts"][0]["outcome"], "transport error");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::TransportError)));
}

#[test]
fn a_transport_error_of_an_attempt_that_was_left_changes_nothing() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.wait(10);
    world.skip();
    world.undeliverable(&first);
    world.nothing_more();
    assert_eq!(world.attempted(), ["one", "two"]);
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
}

#[test]
fn only_100_until_the_trying_timeout_cancels_and_switches() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.advance(400);
    world.reply(1, &invite, reply(100));
    world.wait(15);
    // 100 again does not prolong the wait.
    world.reply(1, &invite, reply(100));
    world.advance(4_999);
    world.nothing_more();
    world.advance(1);
    let cancel = world.at(1, "CANCEL");
    assert_eq!(cancel.reasons(), ["SIP 408 attempt given up"]);
    assert_eq!(world.at(2, "INVITE").at, cancel.at);
    world.nothing_more();
    assert_eq!(world.finish()["attempts"][0]["outcome"], "trying timeout");
}

#[test]
fn trying_is_disarmed_by_180_181_182_and_183() {
    for (status, next_limit) in [(180, 120), (181, 120), (182, 120), (183, 20)] {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(100));
        world.wait(19);
        world.reply(1, &invite, reply(status));
        world.at_caller(&status.to_string());
        world.advance(next_limit * 1_000 - 1);
        world.nothing_more();
        world.advance(1);
        world.at(1, "CANCEL");
        world.at_caller("408");
        world.nothing_more();
    }
}

#[test]
fn the_first_response_stops_the_resends() {
    for status in [100, 180, 183] {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(status));
        world.skip();
        world.wait(19);
        world.nothing_more();
    }
}

#[test]
fn the_ringing_timeout_cancels_and_ends() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.wait(60);
    // 180 again does not prolong the wait.
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.advance(59_999);
    world.nothing_more();
    world.advance(1);
    world.at(1, "CANCEL");
    let failure = world.at_caller("408");
    assert_eq!(failure.reasons(), ["SIP 408 no answer"]);
    world.nothing_more();
    let record = world.finish();
    assert_eq!(record["stop_reason"], "no answer");
    assert_eq!(record["end_reason"], "no answer");
    assert_eq!(record["ended_by"], "server");
    assert_eq!(record["attempts"][0]["outcome"], "ringing timeout");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::RingingTimeout)));
}

#[test]
fn the_session_progress_timeout_cancels_and_ends() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183));
    world.at_caller("183");
    world.wait(10);
    world.reply(1, &invite, reply(183));
    world.at_caller("183");
    world.advance(9_999);
    world.nothing_more();
    world.advance(1);
    world.at(1, "CANCEL");
    world.at_caller("408");
    world.nothing_more();
    assert_eq!(world.finish()["attempts"][0]["outcome"], "session progress timeout");
}

#[test]
fn a_180_after_183_rearms_as_ringing() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183));
    world.at_caller("183");
    world.wait(15);
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.advance(119_999);
    world.nothing_more();
    world.advance(1);
    world.at(1, "CANCEL");
}

#[test]
fn a_183_after_180_does_not_shorten_the_ringing_timeout() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.wait(10);
    world.reply(1, &invite, reply(183));
    world.skip();
    world.advance(109_999);
    world.nothing_more();
    world.advance(1);
    world.at(1, "CANCEL");
}

#[test]
fn until_connect_switches_at_the_ringing_and_the_session_progress_timeout() {
    for (status, limit) in [(180, 120), (183, 20)] {
        let mut world = World::with(|plan| {
            plan.gateway(1, |gateway| gateway.until_connect = true);
        });
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(status));
        world.at_caller(&status.to_string());
        world.wait(limit);
        world.at(1, "CANCEL");
        let second = world.at(2, "INVITE");
        world.nothing_more();
        // The second gateway has the system's value: Off.
        world.reply(2, &second, reply(status));
        world.at_caller(&status.to_string());
        world.wait(limit);
        world.at(2, "CANCEL");
        world.at_caller("408");
        assert_eq!(world.finish()["stop_reason"], "no answer");
    }
}

#[test]
fn until_connect_does_not_switch_once_committed() {
    let mut world = World::with(|plan| {
        plan.every_gateway(|gateway| gateway.until_connect = true);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.wait(20);
    world.at(1, "CANCEL");
    world.at_caller("408");
    world.nothing_more();
    let record = world.finish();
    assert_eq!(record["stop_reason"], "media committed");
    // Nobody rejected it.
    assert_eq!(record["end_reason"], "no answer");
    assert_eq!(record["ended_by"], "server");
}

#[test]
fn a_2xx_disarms_every_timeout() {
    for status in [100, 180, 183] {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(status));
        world.reply(1, &invite, reply(200).sdp(sdp(5000)));
        world.caller.to = "<sip:4420@switch.example>".to_owned();
        if status > 100 {
            world.at_caller(&status.to_string());
        }
        world.at_caller("200");
        world.caller_acks(None);
        world.skip();
        world.wait(600);
        world.nothing_more();
        assert_eq!(world.attempted(), ["one"]);
    }
}

#[test]
fn timers_that_come_late_do_what_was_due() {
    let mut world = World::start();
    // The node slept over the INVITE timeout, and over all resends.
    world.now.mono.0 += 60_000;
    world.now.wall.0 += 60_000;
    world.advance(0);
    assert_eq!(world.attempted(), ["one", "two"]);
}
