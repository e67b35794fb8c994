//! Ends that are neither party's: caps, set-up timeout, hang-up; and what every end leaves behind: nothing.

use super::messages::reply;
use super::plan::{Answers, OFFER, sdp};
use super::world::World;
use crate::call::Stage;
use crate::cdr::{EndReason, Origin};
use crate::gateway::Outcome;
use std::time::Duration;

const fn seconds(number: u64) -> Option<Duration> {
    Some(Duration::from_secs(number))
}

#[test]
fn the_smallest_maximum_duration_wins_and_counts_from_the_answer() {
    let table = [
        (seconds(60), None, None),
        (seconds(60), seconds(90), seconds(120)),
        (seconds(90), seconds(60), None),
        (None, seconds(90), seconds(60)),
    ];
    for (system, gateway, looked) in table {
        let mut world = World::with(|plan| {
            plan.parameters.max_duration = system;
            plan.gateway(1, |parameters| parameters.max_duration = gateway);
            plan.looked_max_duration = looked;
        });
        world.wait(3);
        world.skip();
        let invite = world.sent[1].clone();
        world.reply(1, &invite, reply(200).sdp(sdp(5000)));
        world.at(1, "ACK");
        world.at_caller("200");
        world.caller_acks(None);
        world.advance(59_999);
        world.nothing_more();
        world.advance(1);
        let bye = world.at(1, "BYE");
        let other = world.at_caller("BYE");
        assert_eq!(bye.reasons(), ["SIP 408 max duration"]);
        assert_eq!(other.reasons(), bye.reasons());
        world.nothing_more();
        let record = world.finish();
        assert_eq!(record["end_reason"], "max duration");
        assert_eq!(record["ended_by"], "server");
        assert_eq!(record["duration_ms"], 60_000);
    }
}

#[test]
fn another_gateways_maximum_duration_does_not_count() {
    let mut world = World::with(|plan| {
        plan.gateway(2, |gateway| gateway.max_duration = seconds(10));
    });
    world.answered_by(1);
    world.caller_acks(None);
    world.wait(3_600);
    assert_eq!(world.stage(), Stage::Answered);
    world.hang_up(EndReason::Admin);
    world.finish();
}

#[test]
fn ss_setup_timeout_ends_a_call_that_is_not_answered() {
    let ringing = |world: &mut World| {
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(180));
        world.at_caller("180");
    };
    let mut world = World::with(|plan| plan.parameters.setup_timeout = seconds(30));
    ringing(&mut world);
    world.advance(29_999);
    world.nothing_more();
    world.advance(1);
    let cancel = world.at(1, "CANCEL");
    let failure = world.at_caller("408");
    assert_eq!(failure.reasons(), ["SIP 408 set-up timeout"]);
    assert_eq!(cancel.reasons(), failure.reasons());
    world.nothing_more();
    let record = world.finish();
    assert_eq!(record["end_reason"], "set-up timeout");
    assert_eq!(record["ended_by"], "server");
    assert_eq!(record["attempts"][0]["outcome"], "cancelled");
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
}

#[test]
fn ss_setup_timeout_holds_over_all_attempts_and_before_them() {
    let timeout = |plan: &mut super::plan::Plan| plan.parameters.setup_timeout = seconds(15);
    let mut world = World::with(timeout);
    world.wait(14);
    assert_eq!(world.attempted(), ["one", "two"]);
    world.wait(1);
    assert_eq!(world.releases()[0].cause, EndReason::SetupTimeout);
    world.finish();

    let mut world = World::with(|plan| {
        plan.parameters.setup_timeout = seconds(1);
        plan.lookup = Answers::WhenTold;
    });
    world.wait(1);
    world.at_caller("408");
    world.finish();

    let mut world = World::with(|plan| {
        plan.parameters.setup_timeout = seconds(1);
        plan.admission = Answers::WhenTold;
    });
    world.wait(1);
    world.at_caller("408");
    world.admit();
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
    world.finish();
}

#[test]
fn ss_setup_timeout_does_not_touch_an_answered_call() {
    let mut world = World::with(|plan| plan.parameters.setup_timeout = seconds(15));
    world.answered_by(1);
    world.caller_acks(None);
    world.wait(60);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

/// Every state a call can be in, by what has happened to it.
fn in_every_state() -> Vec<(&'static str, World)> {
    let at_lookup = World::with(|plan| plan.lookup = Answers::WhenTold);
    let at_admission = World::with(|plan| plan.admission = Answers::WhenTold);
    let unanswered = World::start();
    let on = |status: u16, with_sdp: bool| {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        let response = if with_sdp { reply(status).sdp(sdp(5000)) } else { reply(status) };
        world.reply(1, &invite, response);
        world
    };
    let mut second = World::start();
    second.wait(10);
    let mut acknowledged = on(200, true);
    acknowledged.skip();
    let to = acknowledged.sent.last().map(super::messages::Got::tag_in_to).expect("a 200");
    acknowledged.caller.to = format!("<sip:4420@switch.example>;tag={to}");
    acknowledged.caller_acks(None);
    let mut delayed = World::with(|plan| plan.offer = None);
    let invite = delayed.at(1, "INVITE");
    delayed.reply(1, &invite, reply(200).sdp(sdp(5000)));
    vec![
        ("look-up", at_lookup),
        ("admission", at_admission),
        ("unanswered", unanswered),
        ("trying", on(100, false)),
        ("ringing", on(180, false)),
        ("early media", on(183, true)),
        ("second gateway", second),
        ("answered", on(200, true)),
        ("acknowledged", acknowledged),
        ("delayed offer", delayed),
    ]
}

#[test]
fn a_hang_up_by_an_operator_ends_the_call_in_every_state() {
    for (state, mut world) in in_every_state() {
        world.skip();
        let answered = world.stage() == Stage::Answered;
        world.hang_up(EndReason::Admin);
        let release = world.releases()[0];
        assert_eq!((release.origin, release.cause), (Origin::Server, EndReason::Admin), "{state}");
        if !answered {
            assert_eq!(world.at_caller("480").reasons(), ["SIP 480 admin"], "{state}");
        }
        // A second one changes nothing.
        world.hang_up(EndReason::Drained);
        while !world.asked.is_empty() {
            world.admit();
        }
        let record = world.finish();
        assert_eq!(record["end_reason"], "admin", "{state}");
        assert_eq!(record["ended_by"], "server", "{state}");
        let outcomes: Vec<_> = world.released.iter().map(|(_, outcome)| *outcome).collect();
        for outcome in outcomes {
            match outcome {
                Outcome::Answered { .. } => assert!(answered, "{state}"),
                Outcome::Cancelled | Outcome::Failed(_) => assert!(!answered, "{state}"),
            }
        }
    }
}

#[test]
fn a_hang_up_before_the_callers_ack_waits_for_it() {
    let mut world = World::start();
    world.answered_by(1);
    world.hang_up(EndReason::Admin);
    world.at(1, "BYE");
    world.nothing_more();
    world.caller_acks(None);
    world.at_caller("BYE");
}

#[test]
fn the_end_is_written_before_the_answered_slot_comes_back() {
    let mut world = World::start();
    world.answered_by(1);
    world.caller_acks(None);
    assert!(world.released.is_empty());
    world.hang_up(EndReason::Admin);
    assert_eq!((world.ends.len(), world.released.len()), (1, 1));
    world.finish();
}

#[test]
fn without_record_nonconnect_only_answered_calls_have_a_record() {
    let unrecorded = |plan: &mut super::plan::Plan| plan.parameters.record_nonconnect = false;
    let mut world = World::with(unrecorded);
    world.caller_cancels("");
    world.finish();
    assert!(world.ends[0].is_empty());

    let mut world = World::with(unrecorded);
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(503));
    world.at(1, "ACK");
    world.answered_by(2);
    world.caller_acks(None);
    world.caller_sends("BYE");
    let record = world.finish();
    assert_eq!(world.ends[0].len(), 1);
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn every_state_left_alone_ends_by_itself_or_waits_for_its_parties() {
    for (state, mut world) in in_every_state() {
        world.wait(600);
        let is_conversation = state == "acknowledged";
        assert_eq!(world.call.is_some(), is_conversation, "{state}");
        world.hang_up(EndReason::Admin);
        world.finish();
    }
}

#[test]
fn the_codec_is_the_one_of_the_answer() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    let answer = sdp(5000).replace("RTP/AVP 8", "RTP/AVP 101 18 8");
    world.reply(1, &invite, reply(200).sdp(answer));
    world.at_caller("200");
    world.caller_acks(None);
    world.caller_sends("BYE");
    assert_eq!(world.finish()["codec"], "G729");

    let mut world = World::with(|plan| plan.offer = None);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at_caller("200");
    world.caller_acks(Some(&OFFER.replace("RTP/AVP 8 0", "RTP/AVP 0")));
    world.caller_sends("BYE");
    assert_eq!(world.finish()["codec"], "PCMU");
}
