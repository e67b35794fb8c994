//! Another owner goes on from the last commit.

use super::messages::reply;
use super::plan::{Answers, OFFER, Plan, sdp};
use super::world::{World, deserialize, serialize};
use crate::call::{Action, Snapshot, Stage};
use crate::cdr::EndReason;
use crate::failover::Failure;
use crate::gateway::Outcome;
use std::time::Duration;
use tandem_sip::Name;
use tandem_sip::time::{Mono, Now, Wall};

#[test]
fn an_unanswered_attempt_is_asked_again_under_its_own_names() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.wait(1);
    world.skip();
    world.take_over(2_000);
    assert_eq!(world.at(1, "INVITE").text(), invite.text());
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    let record = world.finish();
    assert_eq!(record["nodes"], serde_json::json!(["n1", "n2"]));
    assert_eq!(record["end_reason"], "normal");
}

#[test]
fn an_unanswered_attempt_that_stays_so_is_switched() {
    let mut world = World::start();
    world.take_over(2_000);
    world.wait(10);
    assert_eq!(world.attempted(), ["one", "two"]);
    let second = world.at(2, "INVITE");
    let first = world.sent[1].clone();
    assert_ne!(first.branch(), second.branch());
    assert!(second.cseq_number() > first.cseq_number());
    world.skip();
    // The attempt of the lost owner is left like any other.
    world.reply(1, &first, reply(180));
    let cancel = world.at(1, "CANCEL");
    world.reply(1, &cancel, reply(200));
    world.reply(1, &first, reply(487));
    world.at(1, "ACK");
    world.nothing_more();
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
}

#[test]
fn an_early_dialog_goes_on_ringing_until_its_own_deadline() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.advance(1_500);
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let tag = world.at_caller("183").tag_in_to();
    world.wait(5);
    world.skip();
    world.take_over(3_000);
    // Nothing is asked again, and the deadline is the wall clock's: 20 s after the 183.
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Ringing);
    world.advance(11_999);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Ringing);
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    let ack = world.at(1, "ACK");
    assert_eq!(ack.cseq_number(), invite.cseq_number());
    let answer = world.at_caller("200");
    assert_eq!(answer.tag_in_to(), tag);
    world.caller_acks(None);
    world.caller_sends("BYE");
    let record = world.finish();
    assert_eq!(record["pdd_ms"], 1_500);
    assert_eq!(record["attempts"][0]["pdd_ms"], 1_500);
}

#[test]
fn the_session_progress_timeout_holds_across_a_takeover() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.wait(5);
    world.take_over(3_000);
    world.advance(12_000);
    world.at(1, "CANCEL");
    world.at_caller("408");
    world.reply(1, &invite, reply(487));
    assert_eq!(world.finish()["end_reason"], "no answer");
}

#[test]
fn the_commitment_to_a_gateway_holds_across_a_takeover() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.take_over(1_000);
    world.reply(1, &invite, reply(503));
    world.at_caller("500");
    assert_eq!(world.finish()["stop_reason"], "media committed");
}

#[test]
fn early_sdp_holds_across_a_takeover() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.take_over(1_000);
    world.reply(1, &invite, reply(200));
    assert_eq!(world.at_caller("200").body_text(), sdp(5000));
}

#[test]
fn the_caller_can_cancel_and_repeat_itself_after_a_takeover() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.take_over(1_000);
    world.caller_repeats_invite();
    world.at_caller("100");
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    let cancel = world.at(1, "CANCEL");
    world.reply(1, &cancel, reply(200));
    world.reply(1, &invite, reply(487));
    world.at(1, "ACK");
    assert_eq!(world.finish()["end_reason"], "cancelled");
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
}

#[test]
fn the_hunt_goes_on_with_the_candidates_that_are_left_and_the_limit_that_held() {
    let mut world = World::with(|plan| plan.gateways(6).parameters.switch_limit = Some(2));
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(503));
    world.take_over(1_000);
    world.skip();
    for number in [2, 3] {
        let invite = world.sent.iter().rev().find(|got| got.what() == "INVITE").cloned();
        world.reply(number, &invite.expect("an INVITE"), reply(503));
    }
    world.skip();
    let record = world.finish();
    assert_eq!(world.attempted(), ["one", "two", "three"]);
    assert_eq!(record["stop_reason"], "switch limit");
}

#[test]
fn attempts_left_open_are_ended_by_the_heir() {
    let mut world = World::with(|plan| {
        plan.every_gateway(|gateway| gateway.until_connect = true);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(180));
    world.wait(120);
    let second = world.at(2, "INVITE");
    let cancel = world.at(1, "CANCEL");
    world.wait(10);
    world.skip();
    let third = world.sent.iter().rev().find(|got| got.what() == "INVITE").cloned();
    let third = third.expect("an INVITE");
    world.take_over(1_000);
    // Whoever rang is cancelled once more, whoever never answered is left alone.
    assert_eq!(world.at(1, "CANCEL").branch(), cancel.branch());
    world.at(3, "INVITE");
    world.nothing_more();
    world.reply(1, &first, reply(487));
    world.at(1, "ACK");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::RingingTimeout)));
    world.reply(2, &second, reply(200).sdp(sdp(5002)));
    world.at(2, "ACK");
    let bye = world.at(2, "BYE");
    world.reply(2, &bye, reply(200));
    assert_eq!(world.outcome("two"), Some(Outcome::Failed(Failure::InviteTimeout)));
    world.reply(3, &third, reply(200).sdp(sdp(5004)));
    world.at(3, "ACK");
    world.at_caller("200");
}

#[test]
fn an_unwanted_answer_is_ended_by_the_heir() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.wait(10);
    world.reply(1, &first, reply(200).sdp(sdp(5000)));
    let ours = world.sent.last().cloned().expect("a BYE");
    assert_eq!(ours.what(), "BYE");
    let second =
        world.sent.iter().find(|got| got.what() == "INVITE" && got.branch() != first.branch()).cloned();
    world.reply(2, &second.expect("an INVITE"), reply(503));
    world.skip();
    world.take_over(1_000);
    let bye = world.at(1, "BYE");
    assert_eq!(bye.tag_in_to(), "gw");
    assert!(bye.cseq_number() > ours.cseq_number());
    assert_eq!(world.outcome("one"), None);
    world.reply(1, &bye, reply(481));
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
    // Its 2xx may still come again.
    world.reply(1, &first, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
}

#[test]
fn a_180_after_183_holds_across_a_takeover() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.wait(5);
    world.reply(1, &invite, reply(180));
    world.wait(60);
    world.skip();
    world.take_over(5_000);
    world.advance(54_999);
    world.nothing_more();
    world.advance(1);
    world.at(1, "CANCEL");
    world.at_caller("408");
}

#[test]
fn the_setup_timeout_holds_across_a_takeover() {
    let mut world = World::with(|plan| plan.parameters.setup_timeout = Some(Duration::from_secs(30)));
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.wait(10);
    world.take_over(5_000);
    world.advance(14_999);
    assert!(world.releases().is_empty());
    world.advance(1);
    assert_eq!(world.releases()[0].cause, EndReason::SetupTimeout);
    world.finish();
}

#[test]
fn an_answer_whose_ack_may_be_lost_is_sent_again_and_its_absence_ends_nothing() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    let tag = world.sent.iter().rev().find(|got| got.what() == "200").map(|got| got.tag_in_to());
    world.take_over(2_000);
    let answer = world.at_caller("200");
    assert_eq!(Some(answer.tag_in_to()), tag);
    assert_eq!(answer.body_text(), sdp(5000));
    let ack = world.at(1, "ACK");
    assert_eq!(ack.cseq_number(), invite.cseq_number());
    world.wait(60);
    assert!(world.releases().is_empty());
    assert_eq!(world.stage(), Stage::Answered);
    let mut callee = world.callee(&invite, "gw");
    world.skip();
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    world.at_caller("BYE");
    world.finish();
}

#[test]
fn a_conversation_goes_on_across_a_takeover() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    world.caller_acks(None);
    world.wait(300);
    world.skip();
    world.take_over(3_000);
    // Long after 64·T1 nothing has to be said again.
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
    world.caller_sends("OPTIONS");
    world.at_caller("200");
    let mut callee = world.callee(&invite, "gw");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    let bye = world.at_caller("BYE");
    assert!(bye.cseq_number() > 1_000);
    world.caller_replies(&bye, reply(200));
    let record = world.finish();
    assert_eq!(record["duration_ms"], 303_000);
    assert_eq!(record["codec"], "PCMA");
}

#[test]
fn sequence_numbers_start_above_those_of_all_epochs_before() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    world.caller_acks(None);
    for _ in 0..3 {
        world.take_over(40_000);
    }
    world.skip();
    world.hang_up(EndReason::Admin);
    let byes = [world.at(1, "BYE"), world.at_caller("BYE")];
    for bye in byes {
        assert!(bye.cseq_number() > 3_000 && bye.cseq_number() < 4_000);
        assert!(bye.cseq_number() > invite.cseq_number());
    }
}

#[test]
fn the_maximum_duration_holds_across_takeovers() {
    let mut world = World::with(|plan| plan.parameters.max_duration = Some(Duration::from_secs(100)));
    world.answered_by(1);
    world.caller_acks(None);
    world.wait(40);
    world.take_over(5_000);
    world.skip();
    world.wait(30);
    world.take_over(5_000);
    world.skip();
    world.advance(19_999);
    world.nothing_more();
    world.advance(1);
    world.at(1, "BYE");
    world.at_caller("BYE");
    assert_eq!(world.finish()["duration_ms"], 100_000);
}

#[test]
fn a_cap_that_passed_meanwhile_ends_the_call_at_once() {
    let mut world = World::with(|plan| plan.parameters.max_duration = Some(Duration::from_secs(100)));
    world.answered_by(1);
    world.caller_acks(None);
    world.take_over(200_000);
    world.advance(0);
    assert_eq!(world.releases()[0].cause, EndReason::MaxDuration);
    world.finish();
}

#[test]
fn a_delayed_offer_is_answered_across_a_takeover() {
    let mut world = World::with(|plan| plan.offer = None);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at_caller("200");
    world.take_over(1_000);
    assert_eq!(world.at_caller("200").body_text(), sdp(5000));
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.nothing_more();
    world.caller_acks(Some(OFFER));
    let ack = world.at(1, "ACK");
    assert_eq!(ack.body_text(), OFFER);
    assert_eq!(ack.cseq_number(), invite.cseq_number());
    world.caller_sends("BYE");
    world.finish();
}

#[test]
fn a_call_that_was_ending_gets_its_failure_and_its_record_from_the_heir() {
    // The commit before the failure was written, and the node died before the end was.
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    let call = world.call.as_mut().expect("a call");
    let response = reply(486).to(&invite, invite.flow.remote);
    let actions = call.handle(world.now, crate::call::Input::Response(response));
    let snapshot = actions.iter().find_map(|action| {
        let Action::Commit { snapshot, .. } = action else { return None };
        Some(snapshot)
    });
    let snapshot: &Snapshot = snapshot.expect("a commit before the failure");
    // What is left of a call that nobody can go on with says so too.
    let records = snapshot.abandon(EndReason::NodeLost, world.now);
    let record: serde_json::Value = serde_json::from_slice(&records[0]).expect("JSON");
    assert_eq!(record["end_reason"], "busy");
    world.stored = Some(serialize(snapshot));
    world.slots.clear();
    world.take_over(1_000);
    let failure = world.at_caller("486");
    assert_eq!(failure.reasons().len(), 1);
    assert!(failure.after.is_some());
    let record = world.finish();
    assert_eq!(record["stop_reason"], "busy");
    assert_eq!(record["end_reason"], "busy");
}

#[test]
fn the_record_of_a_call_that_nobody_can_go_on_with() {
    let mut world = World::start();
    world.answered_by(1);
    world.caller_acks(None);
    let stored = world.stored.clone().expect("a commit");
    let snapshot = deserialize(&stored);
    let later = Now { mono: Mono(0), wall: Wall(world.now.wall.0 + 9_000) };
    let records = snapshot.abandon(EndReason::NodeLost, later);
    let record: serde_json::Value = serde_json::from_slice(&records[0]).expect("JSON");
    assert_eq!(record["end_reason"], "node lost");
    assert_eq!(record["ended_by"], "server");
    assert_eq!(record["duration_ms"], 9_000);
}

#[test]
fn a_snapshot_is_the_same_after_its_way_through_the_store() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let stored = world.stored.clone().expect("a commit");
    let snapshot = deserialize(&stored);
    assert_eq!(serialize(&snapshot), stored);
    assert_eq!(snapshot.seq(), 2);
}

#[test]
fn every_slot_comes_back_once_though_the_owner_changed() {
    let mut world = World::with(|plan| {
        plan.admission = Answers::AtOnce;
        plan.every_gateway(|gateway| gateway.until_connect = true);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(180));
    world.wait(120);
    world.take_over(1_000);
    let second = world.sent.iter().rev().find(|got| got.what() == "INVITE").cloned();
    world.reply(2, &second.expect("an INVITE"), reply(200).sdp(sdp(5000)));
    world.take_over(1_000);
    world.hang_up(EndReason::Admin);
    world.finish();
    let mut names: Vec<_> = world.released.iter().map(|((name, _), _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn the_ack_of_a_delayed_offer_brings_its_answer_across_a_takeover_too() {
    let mut world = World::with(|plan| plan.offer = None);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at_caller("200");
    world.caller_acks(Some(OFFER));
    world.at(1, "ACK");
    world.take_over(1_000);
    // The callee may not have it; the caller has said that it has the answer.
    assert_eq!(world.at(1, "ACK").body_text(), OFFER);
    world.nothing_more();
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at(1, "ACK").body_text(), OFFER);
}

/// Where the heir is.
const ELSEWHERE: &str = "203.0.113.7:5060";

/// In conversation for a minute, then taken over by a node elsewhere.
fn taken_over_elsewhere(change: impl FnOnce(&mut Plan)) -> World {
    let (mut world, _) = World::with(change).talking();
    world.wait(60);
    world.skip();
    world.take_over_elsewhere(2_000, ELSEWHERE);
    world
}

#[test]
fn after_a_takeover_elsewhere_each_party_is_told_by_re_invite_with_what_it_was_sent_last() {
    let mut world = taken_over_elsewhere(|_| {});
    let to_caller = world.at_caller("INVITE");
    assert!(to_caller.value(Name::Contact).contains(ELSEWHERE), "{}", to_caller.text());
    assert_eq!(to_caller.body_text(), sdp(5000));
    world.caller_replies(&to_caller, reply(200).sdp(OFFER));
    world.at_caller("ACK");
    // One offer at a time crosses the switch.
    world.wait(1);
    let to_callee = world.at(1, "INVITE");
    assert!(to_callee.value(Name::Contact).contains(ELSEWHERE), "{}", to_callee.text());
    assert_eq!(to_callee.body_text(), OFFER);
    world.reply(1, &to_callee, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.wait(60);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn after_a_takeover_elsewhere_who_takes_update_is_told_by_one_without_a_description() {
    let mut world =
        taken_over_elsewhere(|plan| plan.invite_lines = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE\r\n".into());
    let to_caller = world.at_caller("UPDATE");
    assert!(to_caller.value(Name::Contact).contains(ELSEWHERE), "{}", to_caller.text());
    assert_eq!(to_caller.body_text(), "");
    world.caller_replies(&to_caller, reply(200));
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn a_party_that_will_not_hear_where_the_call_is_keeps_its_call_and_is_told_again_a_few_times() {
    let mut world =
        taken_over_elsewhere(|plan| plan.invite_lines = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE\r\n".into());
    let callee = world.at(1, "INVITE");
    world.reply(1, &callee, reply(200).sdp(sdp(5000)));
    world.skip();
    let mut tellings = 0;
    for _ in 0..60 {
        let told = world.sent.iter().filter(|got| got.what() == "UPDATE").cloned().collect::<Vec<_>>();
        if told.len() > tellings {
            tellings = told.len();
            world.caller_replies(&told[tellings - 1], reply(500));
            world.skip();
        }
        world.wait(1);
        world.skip();
    }
    assert!((2..=6).contains(&tellings), "{tellings}");
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn a_party_that_knows_nothing_of_the_dialog_any_more_ends_the_call_when_it_is_told_where_that_is() {
    let mut world = taken_over_elsewhere(|_| {});
    let to_caller = world.at_caller("INVITE");
    world.caller_replies(&to_caller, reply(481));
    world.skip();
    assert_ne!(world.stage(), Stage::Answered);
}

#[test]
fn a_call_in_set_up_whose_gateway_cannot_reach_the_heir_ends_at_both_ends() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.take_over_elsewhere(5_000, ELSEWHERE);
    let cancel = world.sent.iter().rev().find(|got| got.what() == "CANCEL").cloned().expect("a CANCEL");
    // It is of the INVITE that the gateway has, by the name that this has.
    assert_eq!(cancel.branch(), invite.branch());
    assert_eq!(cancel.value(Name::Via), invite.value(Name::Via));
    assert_eq!(world.releases()[0].cause, EndReason::NodeLost);
    assert!(world.sent.iter().any(|got| got.what() == "500"), "the caller is told");
}

#[test]
fn what_a_snapshot_holds_of_slots_is_known_without_the_call() {
    let world = World::start();
    let snapshot = deserialize(world.stored.as_ref().expect("a commit"));
    let slots: Vec<_> = snapshot.slots().collect();
    assert_eq!(slots.len(), 1);
    assert_eq!((&*slots[0].0, slots[0].1.attempt), ("one", 0));
    assert!(!snapshot.is_answered());
    assert!(snapshot.is_cut_off_at(&|flow, _| (flow, ELSEWHERE.into())));
    assert!(!snapshot.is_cut_off_at(&|flow, local| (flow, local.clone())));
}
