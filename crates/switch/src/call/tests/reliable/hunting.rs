//! From gateway to gateway while the caller is told reliably that it rings.

use super::super::messages::reply;
use super::super::plan::{Plan, sdp};
use super::super::world::World;
use super::{requiring, rseq, supporting};

fn free_to_switch(plan: &mut Plan) {
    supporting(plan);
    plan.every_gateway(|gateway| gateway.stop_after_sdp = false);
}

#[test]
fn rseq_counts_on_over_gateways_under_the_same_tag() {
    let mut world = World::with(requiring);
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(180));
    let ringing = world.at_caller("180");
    world.caller_pracks(&ringing);
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    world.reply(2, &second, reply(180));
    let again = world.at_caller("180");
    assert_eq!(again.tag_in_to(), ringing.tag_in_to());
    assert_eq!((rseq(&ringing), rseq(&again)), (1, 2));
}

#[test]
fn a_switch_does_not_end_the_resends_of_what_was_sent_up() {
    let mut world = World::with(free_to_switch);
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    world.at(2, "INVITE");
    world.advance(400);
    world.nothing_more();
    world.advance(100);
    assert_eq!(world.at_caller("183").text(), progress.text());
    world.skip();
    world.caller_pracks(&progress);
    world.advance(300);
    world.nothing_more();
}

#[test]
fn each_gateways_description_has_a_tag_and_a_count_of_its_own() {
    let mut world = World::with(free_to_switch);
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(183).sdp(sdp(5000)));
    let of_first = world.at_caller("183");
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    // Another early dialog does not wait for the PRACK of the first one.
    world.reply(2, &second, reply(183).sdp(sdp(5002)));
    let of_second = world.at_caller("183");
    assert_ne!(of_first.tag_in_to(), of_second.tag_in_to());
    assert!(rseq(&of_second) > rseq(&of_first));
    world.caller_pracks(&of_second);
    // The answer waits for all of them.
    world.reply(2, &second, reply(200).sdp(sdp(5002)));
    world.nothing_more();
    world.caller_pracks(&of_first);
    world.at(2, "ACK");
    assert_eq!(world.at_caller("200").tag_in_to(), of_second.tag_in_to());
}

#[test]
fn the_callers_sequence_numbers_count_in_each_early_dialog_on_their_own() {
    let mut world = World::with(free_to_switch);
    let first = world.at(1, "INVITE");
    for _ in 0..3 {
        world.reply(1, &first, reply(183).sdp(sdp(5000)));
        let progress = world.at_caller("183");
        world.caller_pracks(&progress);
    }
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    world.reply(2, &second, reply(200).sdp(sdp(5002)));
    world.at(2, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    // In the dialog of the answer this is the first request after the INVITE, which had number 7.
    world.caller.cseq = 7;
    world.caller_sends("BYE");
    world.at_caller("200");
    world.at(2, "BYE");
}

#[test]
fn a_prack_between_two_gateways_is_answered() {
    let mut world = World::with(|plan| {
        free_to_switch(plan);
        plan.candidates[0].pass_headers = ["X-Second".to_owned()].into();
        plan.admission = super::super::plan::Answers::WhenTold;
    });
    world.admit();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    // What the gateway says next waits, and is of no interest once it has failed.
    world.reply(1, &first, reply(183).sdp(sdp(5000)).line("X-Second: 1"));
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    world.caller_pracks(&progress);
    world.nothing_more();
    world.admit();
    world.at(2, "INVITE");
    world.advance(400);
    world.nothing_more();
    assert!(world.releases().is_empty());
}
