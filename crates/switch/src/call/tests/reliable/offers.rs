//! Offer and answer in reliable responses and their PRACKs, where the INVITE has no offer (RFC 3262 §5).

use super::super::messages::reply;
use super::super::plan::{OFFER, Plan, sdp};
use super::super::world::World;
use super::{on_both_legs, prack_for, reliable, requiring, rseq};
use tandem_sip::Name;

fn delayed(plan: &mut Plan) {
    on_both_legs(plan);
    plan.offer = None;
}

#[test]
fn the_answer_goes_from_the_callers_prack_into_ours() {
    let mut world = World::with(delayed);
    let invite = world.at(1, "INVITE");
    assert!(invite.body().is_empty());
    world.reply(1, &invite, reliable(183, 5).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    assert_eq!((rseq(&progress), progress.body_text()), (1, sdp(5000)));
    // The PRACK waits for the answer, and copies of the offer for the PRACK.
    world.reply(1, &invite, reliable(183, 5).sdp(sdp(5000)));
    world.nothing_more();
    let prack = prack_for(&mut world, &progress, Some(OFFER));
    world.request(prack, world.plan.caller_address);
    let taken = world.at_caller("200");
    assert!(taken.body().is_empty());
    let prack = world.pracked(1, 5);
    assert_eq!(prack.body_text(), OFFER);
    assert_eq!((prack.after, taken.after), (Some(3), Some(3)));
    // All is said: neither the 2xx nor its ACK has a description.
    world.reply(1, &invite, reply(200));
    assert!(world.at(1, "ACK").body().is_empty());
    let answer = world.at_caller("200");
    assert_eq!((answer.tag_in_to(), answer.body_text()), (progress.tag_in_to(), String::new()));
    world.caller_acks(None);
    world.wait(5);
    world.nothing_more();
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    let record = world.finish();
    assert_eq!((&record["codec"], &record["end_reason"]), (&"PCMA".into(), &"normal".into()));
}

#[test]
fn a_description_that_a_gateway_repeats_in_its_answer_is_left_aside() {
    let mut world = World::with(delayed);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    let prack = prack_for(&mut world, &progress, Some(OFFER));
    world.request(prack, world.plan.caller_address);
    world.at_caller("200");
    world.pracked(1, 1);
    // As it is in a later reliable response.
    world.reply(1, &invite, reliable(180, 2).sdp(sdp(5000)));
    assert!(world.at_caller("180").body().is_empty());
    world.pracked(1, 2);
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert!(world.at(1, "ACK").body().is_empty());
    assert!(world.at_caller("200").body().is_empty());
}

#[test]
fn a_caller_that_leaves_the_offer_unanswered_in_its_prack_ends_the_call() {
    let mut world = World::with(delayed);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    let prack = prack_for(&mut world, &progress, None);
    world.request(prack, world.plan.caller_address);
    world.at_caller("200");
    world.at_caller("500");
    world.at(1, "CANCEL");
    world.reply(1, &invite, reply(487));
    world.at(1, "ACK");
    assert_eq!(world.finish()["end_reason"], "protocol error");
}

#[test]
fn a_gateway_is_offered_100rel_without_an_offer_only_if_the_caller_can_answer() {
    let mut world = World::with(|plan| {
        delayed(plan);
        plan.invite_lines.clear();
    });
    let invite = world.at(1, "INVITE");
    assert!(!invite.has_token(Name::Supported, "100rel"));
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at_caller("200");
    world.caller_acks(Some(OFFER));
    assert_eq!(world.at(1, "ACK").body_text(), OFFER);
}

#[test]
fn a_description_that_came_unreliably_is_no_offer() {
    let mut world = World::with(delayed);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    assert_eq!(rseq(&world.at_caller("183")), 0);
    // And does not go up where all must go reliably.
    let mut world = World::with(|plan| {
        delayed(plan);
        requiring(plan);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    assert_eq!((rseq(&progress), progress.body_text()), (1, String::new()));
    world.caller_pracks(&progress);
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at_caller("200").body_text(), sdp(5000));
    world.caller_acks(Some(OFFER));
    assert_eq!(world.at(1, "ACK").body_text(), OFFER);
}

#[test]
fn reliable_ringing_without_an_offer_gets_its_prack_at_once() {
    let mut world = World::with(delayed);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 1));
    assert_eq!(rseq(&world.at_caller("180")), 0);
    world.pracked(1, 1);
    world.reply(1, &invite, reliable(183, 2).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.nothing_more();
    let prack = prack_for(&mut world, &progress, Some(OFFER));
    world.request(prack, world.plan.caller_address);
    world.at_caller("200");
    assert_eq!(world.pracked(1, 2).body_text(), OFFER);
}

#[test]
fn the_answer_to_a_gateway_that_was_left_goes_nowhere() {
    let mut world = World::with(|plan| {
        delayed(plan);
        plan.every_gateway(|gateway| gateway.stop_after_sdp = false);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reliable(183, 1).sdp(sdp(5000)));
    let of_first = world.at_caller("183");
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    world.reply(2, &second, reliable(183, 1).sdp(sdp(5002)));
    let of_second = world.at_caller("183");
    assert_ne!(of_first.tag_in_to(), of_second.tag_in_to());
    for (progress, gateway) in [(&of_first, None), (&of_second, Some(2))] {
        let prack = prack_for(&mut world, progress, Some(OFFER));
        world.request(prack, world.plan.caller_address);
        world.at_caller("200");
        if let Some(gateway) = gateway {
            assert_eq!(world.pracked(gateway, 1).body_text(), OFFER);
        }
        world.nothing_more();
    }
}

#[test]
fn an_answer_that_a_failure_has_overtaken_is_taken_and_goes_nowhere() {
    let mut world = World::with(|plan| {
        plan.gateways(1);
        delayed(plan);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.reply(1, &invite, reply(480));
    world.at(1, "ACK");
    world.at_caller("480");
    world.caller_acks(None);
    let prack = prack_for(&mut world, &progress, Some(OFFER));
    world.request(prack, world.plan.caller_address);
    world.at_caller("200");
    world.nothing_more();
}

#[test]
fn an_answer_without_waiting_for_our_prack_is_held_until_the_caller_has_answered() {
    let mut world = World::with(delayed);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.reply(1, &invite, reply(200));
    world.nothing_more();
    let prack = prack_for(&mut world, &progress, Some(OFFER));
    world.request(prack, world.plan.caller_address);
    world.at_caller("200");
    let prack = world.at(1, "PRACK");
    assert_eq!(prack.body_text(), OFFER);
    world.at(1, "ACK");
    assert!(world.at_caller("200").body().is_empty());
    // The answer is in the PRACK, which may be lost.
    world.caller_acks(None);
    world.advance(500);
    assert_eq!(world.at(1, "PRACK").text(), prack.text());
    world.reply(1, &prack, reply(200));
    world.advance(2_000);
    world.nothing_more();
}
