//! Another owner goes on with what is reliable.

use super::super::messages::reply;
use super::super::plan::{OFFER, sdp};
use super::super::world::World;
use super::{offering, on_both_legs, prack_for, reliable, requiring, rseq, supporting};
use crate::call::Stage;

#[test]
fn an_heir_sends_what_is_unacknowledged_again_takes_its_prack_and_counts_on() {
    let mut world = World::with(requiring);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.reply(1, &invite, reply(180));
    world.nothing_more();
    world.take_over(2_000);
    let again = world.at_caller("183");
    assert_eq!(again.text(), progress.text());
    world.advance(500);
    assert_eq!(world.at_caller("183").text(), progress.text());
    world.caller_pracks(&progress);
    let next = world.at_caller("180");
    assert_eq!((rseq(&progress), rseq(&next)), (1, 2));
    world.caller_pracks(&next);
    world.advance(5_000);
    world.nothing_more();
}

#[test]
fn an_heir_waits_64_t1_for_the_prack() {
    let mut world = World::with(|plan| {
        supporting(plan);
        plan.parameters.session_progress_timeout = std::time::Duration::from_secs(120);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.wait(20);
    world.take_over(2_000);
    world.advance(31_999);
    world.skip();
    assert_eq!(world.stage(), Stage::Ringing);
    world.advance(1);
    world.at_caller("504");
    world.finish();
}

#[test]
fn an_heir_knows_what_was_acknowledged() {
    let mut world = World::with(on_both_legs);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.pracked(1, 1);
    world.caller_pracks(&progress);
    world.take_over(2_000);
    world.advance(5_000);
    world.nothing_more();
    // Copies of either side are known too, and both count on.
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    world.nothing_more();
    world.caller.cseq -= 1;
    let copy = prack_for(&mut world, &progress, None);
    world.request(copy, world.plan.caller_address);
    world.at_caller("200");
    let again = prack_for(&mut world, &progress, None);
    world.request(again, world.plan.caller_address);
    world.at_caller("481");
    world.reply(1, &invite, reliable(183, 2).sdp(sdp(5000)));
    let next = world.at_caller("183");
    assert_eq!((rseq(&next), next.tag_in_to()), (2, progress.tag_in_to()));
    let prack = world.pracked(1, 2);
    assert!(prack.cseq_number() > 1_000);
}

#[test]
fn an_heir_repeats_a_prack_whose_answer_it_does_not_know() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 9));
    world.at_caller("180");
    let ours = world.at(1, "PRACK");
    world.take_over(2_000);
    let theirs = world.at(1, "PRACK");
    assert_eq!(theirs.value(tandem_sip::Name::RAck), ours.value(tandem_sip::Name::RAck));
    assert!(theirs.cseq_number() > 1_000);
    // The gateway had the first one.
    world.reply(1, &theirs, reply(481));
    world.advance(5_000);
    world.nothing_more();
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
}

#[test]
fn an_early_dialog_that_an_heir_begins_starts_above_all_before() {
    let mut world = World::with(|plan| {
        supporting(plan);
        plan.every_gateway(|gateway| gateway.stop_after_sdp = false);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(183).sdp(sdp(5000)));
    let of_first = world.at_caller("183");
    world.caller_pracks(&of_first);
    world.take_over(1_000);
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    world.reply(2, &second, reply(183).sdp(sdp(5002)));
    let of_second = world.at_caller("183");
    assert!((1_001..2_000).contains(&rseq(&of_second)), "{}", of_second.text());
}

#[test]
fn an_answer_that_was_held_back_is_heard_again() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.take_over(1_000);
    world.at_caller("183");
    // It was not acknowledged, so it comes again.
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.nothing_more();
    world.caller_pracks(&progress);
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    world.finish();
}

#[test]
fn the_answer_to_an_offer_in_a_reliable_response_holds_across_takeovers() {
    let mut world = World::with(|plan| {
        on_both_legs(plan);
        plan.offer = None;
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.take_over(1_000);
    world.at_caller("183");
    // Nobody has answered it yet.
    world.nothing_more();
    let prack = prack_for(&mut world, &progress, Some(OFFER));
    world.request(prack, world.plan.caller_address);
    world.at_caller("200");
    assert_eq!(world.at(1, "PRACK").body_text(), OFFER);
    world.take_over(1_000);
    let prack = world.pracked_by_heir(1);
    assert_eq!(prack, OFFER);
    world.reply(1, &invite, reply(200));
    assert!(world.at(1, "ACK").body().is_empty());
    assert!(world.at_caller("200").body().is_empty());
}

impl World {
    fn pracked_by_heir(&mut self, number: usize) -> String {
        let prack = self.at(number, "PRACK");
        self.reply(number, &prack, reply(200));
        prack.body_text()
    }
}

#[test]
fn ringing_that_was_never_acknowledged_is_of_no_matter_after_the_answer() {
    let mut world = World::with(requiring);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    let ringing = world.at_caller("180");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.take_over(1_000);
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.caller_pracks(&ringing);
    world.wait(60);
    assert_eq!(world.stage(), Stage::Answered);
    world.nothing_more();
}
