//! The failover table: what a gateway's response means for the hunt, and what the caller and the record hear of it.

use super::messages::reply;
use super::plan::{GATEWAY_NAMES, sdp};
use super::world::World;
use crate::gateway::Outcome;
use crate::{failover::Failure, gateway::Refusal};
use serde_json::json;
use tandem_sip::StatusCode;

/// A call whose gateways each answer with one status, in order, as far as they are tried.
fn all_answer(mut world: World, statuses: &[u16]) -> World {
    for (place, status) in statuses.iter().enumerate() {
        let invite = world.at(place + 1, "INVITE");
        world.reply(place + 1, &invite, reply(*status));
        world.at(place + 1, "ACK");
    }
    world
}

#[test]
fn any_3xx_to_6xx_switches() {
    for status in [
        300, 302, 380, 400, 403, 404, 408, 410, 422, 480, 484, 487, 488, 500, 502, 503, 504, 580, 603, 604,
        606,
    ] {
        let mut world = all_answer(World::start(), &[status]);
        let second = world.at(2, "INVITE");
        world.reply(2, &second, reply(200).sdp(sdp(5000)));
        world.at(2, "ACK");
        world.at_caller("200");
        world.nothing_more();
        assert_eq!(world.attempted(), ["one", "two"], "{status}");
    }
}

#[test]
fn a_challenge_that_cannot_be_answered_switches() {
    for status in [401, 407] {
        let world = all_answer(World::start(), &[status]);
        assert_eq!(world.attempted(), ["one", "two"], "{status}");
    }
}

#[test]
fn a_2xx_connects_and_ends_the_hunt() {
    for status in [200, 202, 299] {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(status).sdp(sdp(5000)));
        world.at(1, "ACK");
        let answer = world.at_caller("200");
        assert_eq!(answer.body_text(), sdp(5000));
        world.nothing_more();
    }
}

#[test]
fn ringing_without_sdp_leaves_the_hunt_free_to_switch() {
    for ringing in [180, 181, 182, 183] {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(ringing));
        world.at_caller(&ringing.to_string());
        world.reply(1, &invite, reply(480));
        world.at(1, "ACK");
        world.at(2, "INVITE");
        world.nothing_more();
    }
}

#[test]
fn stop_switch_after_sdp_ends_the_hunt_at_a_failure_after_a_provisional_with_sdp() {
    for ringing in [180, 183] {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(ringing).sdp(sdp(5000)));
        world.at_caller(&ringing.to_string());
        world.reply(1, &invite, reply(480));
        world.at(1, "ACK");
        let failure = world.at_caller("480");
        assert_eq!(failure.reasons(), ["SIP 480 Temporarily Unavailable", "Q.850 18 "]);
        world.nothing_more();
        let record = world.finish();
        assert_eq!(record["stop_reason"], "media committed");
        assert_eq!(record["end_reason"], "rejected");
        assert_eq!(record["ended_by"], "callee");
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn sdp_once_seen_commits_though_later_provisionals_have_none() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.reply(1, &invite, reply(503));
    world.at(1, "ACK");
    world.at_caller("500");
    assert_eq!(world.finish()["stop_reason"], "media committed");
}

#[test]
fn stop_switch_after_sdp_off_leaves_the_hunt_free_to_switch() {
    let mut world = World::with(|plan| {
        plan.gateway(1, |gateway| gateway.stop_after_sdp = false);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.reply(1, &invite, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    // The second gateway has the system's value.
    world.reply(2, &second, reply(183).sdp(sdp(5002)));
    world.at_caller("183");
    world.reply(2, &second, reply(480));
    world.at(2, "ACK");
    world.at_caller("480");
    assert_eq!(world.finish()["stop_reason"], "media committed");
}

#[test]
fn user_busy_ends_the_hunt() {
    for status in [486, 600] {
        let mut world = all_answer(World::start(), &[status]);
        world.at_caller(&status.to_string());
        world.nothing_more();
        let record = world.finish();
        assert_eq!(record["stop_reason"], "busy");
        assert_eq!(record["end_reason"], "busy");
        assert_eq!(record["ended_by"], "callee");
        assert_eq!(record["sip_status"], status);
    }
}

#[test]
fn user_busy_switches_without_stop_after_user_busy_unless_committed() {
    for status in [486, 600] {
        let off = || World::with(|plan| plan.parameters.stop_after_user_busy = false);
        let world = all_answer(off(), &[status]);
        assert_eq!(world.attempted(), ["one", "two"]);

        let mut committed = off();
        let invite = committed.at(1, "INVITE");
        committed.reply(1, &invite, reply(183).sdp(sdp(5000)));
        committed.reply(1, &invite, reply(status));
        assert_eq!(committed.attempted(), ["one"]);
        assert_eq!(committed.finish()["stop_reason"], "media committed");
    }
}

#[test]
fn a_stop_switching_response_code_of_this_gateway_ends_the_hunt() {
    let mut world = World::with(|plan| {
        plan.gateway(2, |gateway| gateway.stop_codes = vec![403, 404]);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(404));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    world.reply(2, &second, reply(404));
    world.at(2, "ACK");
    world.at_caller("404");
    world.nothing_more();
    let record = world.finish();
    assert_eq!(record["stop_reason"], "stop code");
    assert_eq!(record["end_reason"], "rejected");
}

#[test]
fn busy_outranks_a_stop_code_and_both_outrank_the_switch_limit() {
    let mut world = World::with(|plan| {
        plan.parameters.switch_limit = Some(1);
        plan.every_gateway(|gateway| gateway.stop_codes = vec![404, 486]);
    });
    world = all_answer(world, &[503, 486]);
    world.at_caller("486");
    assert_eq!(world.finish()["stop_reason"], "busy");

    let mut world = World::with(|plan| {
        plan.parameters.switch_limit = Some(1);
        plan.every_gateway(|gateway| gateway.stop_codes = vec![404]);
    });
    world = all_answer(world, &[503, 404]);
    world.at_caller("404");
    assert_eq!(world.finish()["stop_reason"], "stop code");
}

#[test]
fn ss_gateway_switch_limit_3_tries_at_most_4_gateways() {
    let mut world = World::with(|plan| {
        plan.gateways(6).parameters.switch_limit = Some(3);
    });
    world = all_answer(world, &[503, 503, 503, 480]);
    world.at_caller("480");
    world.nothing_more();
    let record = world.finish();
    assert_eq!(world.attempted(), ["one", "two", "three", "four"]);
    assert_eq!(record["stop_reason"], "switch limit");
    assert_eq!(record["end_reason"], "switch limit");
    assert_eq!(record["ended_by"], "server");
}

#[test]
fn with_no_gateway_left_the_routes_are_exhausted_whatever_the_limit() {
    for limit in [None, Some(3), Some(6)] {
        let mut world = World::with(|plan| plan.gateways(4).parameters.switch_limit = limit);
        world = all_answer(world, &[503, 503, 503, 404]);
        world.at_caller("404");
        let record = world.finish();
        assert_eq!(world.attempted(), GATEWAY_NAMES[..4]);
        assert_eq!(record["stop_reason"], "routes exhausted");
        assert_eq!(record["end_reason"], "routes exhausted");
    }
}

#[test]
fn a_gateway_that_refused_admission_is_no_attempt_and_no_switch() {
    let mut world = World::with(|plan| {
        plan.gateways(4).parameters.switch_limit = Some(1);
        World::refuse(plan, "one", Refusal::Calls);
        World::refuse(plan, "three", Refusal::Cps);
    });
    for number in [2, 4] {
        let invite = world.at(number, "INVITE");
        world.reply(number, &invite, reply(503));
        world.at(number, "ACK");
    }
    world.at_caller("500");
    let record = world.finish();
    assert_eq!(world.attempted(), ["two", "four"]);
    assert_eq!(record["stop_reason"], "routes exhausted");
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_caller_gets_the_last_attempts_status() {
    let table = [
        ([503, 404], 404),
        ([404, 503], 500),
        ([404, 302], 500),
        ([404, 401], 500),
        ([404, 407], 500),
        ([404, 500], 500),
        ([503, 603], 603),
        ([603, 480], 480),
        ([503, 499], 499),
    ];
    for (statuses, expected) in table {
        let mut world = World::with(|plan| {
            plan.gateways(2);
        });
        world = all_answer(world, &statuses);
        let failure = world.at_caller(&expected.to_string());
        assert!(failure.after.is_some());
        world.nothing_more();
        let last = &failure.reasons()[0];
        assert!(last.starts_with(&format!("SIP {}", statuses[1])), "{last}");
        assert_eq!(world.finish()["sip_status"], expected);
    }
}

#[test]
fn no_route_is_503_with_a_reason_and_a_record() {
    let mut world = World::with(|plan| {
        plan.gateways(0);
    });
    let failure = world.at_caller("503");
    assert_eq!(failure.reasons(), ["SIP 503 routes exhausted"]);
    let record = world.finish();
    assert_eq!(record["sip_status"], 503);
    assert_eq!(record["end_reason"], "routes exhausted");
    assert_eq!(record["attempts"], json!([]));
    assert_eq!(record["called_routed"], "4420");
}

#[test]
fn a_gateways_own_reasons_reach_the_caller_each_on_a_line_of_its_own() {
    let mut world = World::with(|plan| {
        plan.gateways(1);
    });
    let invite = world.at(1, "INVITE");
    let busy = reply(486)
        .line("Reason: Q.850;cause=17;text=\"User busy\"")
        .line("Reason: SIP;cause=486;text=\"Busy\"");
    world.reply(1, &invite, busy);
    let failure = world.at_caller("486");
    assert_eq!(failure.reasons(), ["Q.850 17 User busy", "SIP 486 Busy"]);
    world.finish();
}

#[test]
fn the_reasons_are_those_of_the_last_attempt() {
    let mut world = World::with(|plan| {
        plan.gateways(2);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(503).line("Reason: Q.850;cause=34"));
    let second = world.at(2, "INVITE");
    world.reply(2, &second, reply(404));
    let failure = world.at_caller("404");
    assert_eq!(failure.reasons(), ["SIP 404 Not Found", "Q.850 1 "]);
    world.finish();
}

#[test]
fn the_cause_map_of_the_mapping_gateway_changes_the_status() {
    let mapped = |from: u16, to: u16| {
        World::with(|plan| {
            plan.gateways(1);
            plan.cause_map.insert(from, to);
        })
    };
    let mut world = all_answer(mapped(404, 480), &[404]);
    let failure = world.at_caller("480");
    assert_eq!(failure.reasons(), ["SIP 404 Not Found", "Q.850 1 "]);
    assert_eq!(world.finish()["sip_status"], 480);

    // What is mapped is what the caller would get, not what the gateway sent.
    let mut world = all_answer(mapped(500, 502), &[503]);
    world.at_caller("502");
    world.finish();
    let mut world = all_answer(mapped(503, 502), &[503]);
    world.at_caller("500");
    world.finish();
}

#[test]
fn a_cause_map_cannot_turn_a_failure_into_an_answer() {
    for to in [100, 183, 200, 99, 700] {
        let mut world = World::with(|plan| {
            plan.gateways(1);
            plan.cause_map.insert(404, to);
        });
        world = all_answer(world, &[404]);
        world.at_caller("404");
        world.finish();
    }
}

#[test]
fn an_answer_that_no_dialog_can_be_made_of_is_a_failed_attempt() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    let mut answer = reply(200).sdp(sdp(5000));
    for route in 0..17 {
        answer = answer.line(&format!("Record-Route: <sip:192.0.2.{route};lr>"));
    }
    world.reply(1, &invite, answer);
    world.at(2, "INVITE");
    world.nothing_more();
}

#[test]
fn each_attempt_is_a_dialog_of_its_own() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(503));
    let second = world.at(2, "INVITE");
    assert_ne!(first.call_id(), second.call_id());
    assert_ne!(first.from_tag(), second.from_tag());
    assert_ne!(first.branch(), second.branch());
    assert_eq!(first.request_uri(), b"sip:14420@198.51.100.1:5060");
    assert_eq!(second.request_uri(), b"sip:24420@198.51.100.2:5060");
}

#[test]
fn the_record_tells_each_attempt() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.advance(300);
    world.reply(1, &first, reply(503));
    let second = world.at(2, "INVITE");
    world.advance(700);
    world.reply(2, &second, reply(180));
    world.advance(2_000);
    world.reply(2, &second, reply(486));
    let record = world.finish();
    assert_eq!(record["pdd_ms"], 1_000);
    assert_eq!(record["routing_gateway"], json!(null));
    assert_eq!(record["called_out"], "24420");
    let attempts = &record["attempts"];
    let row = |place: usize| {
        let attempt = &attempts[place];
        ["gateway", "outcome", "status", "duration_ms", "pdd_ms"].map(|key| attempt[key].clone())
    };
    assert_eq!(row(0), [json!("one"), json!("rejected"), json!(503), json!(300), json!(null)]);
    assert_eq!(row(1), [json!("two"), json!("rejected"), json!(486), json!(2_700), json!(700)]);
    assert_eq!(world.ends[0].len(), 3, "the call and two attempts that did not connect");
    let failed = |code| Outcome::Failed(Failure::Status(StatusCode::new(code).expect("a status")));
    assert_eq!(world.outcome("one"), Some(failed(503)));
    assert_eq!(world.outcome("two"), Some(failed(486)));
}
