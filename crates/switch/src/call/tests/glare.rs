//! One offer is open in a dialog at a time (RFC 3261 §14, RFC 3311 §5.2, RFC 6337).

use super::messages::{Peer, reply};
use super::midcall::moved;
use super::plan::{OFFER, sdp};
use super::world::World;
use crate::call::Stage;
use crate::call::connected::{Party, Refresh};

fn talking() -> (World, Peer) {
    World::start().talking()
}

#[test]
fn offers_that_cross_get_491_on_both_legs() {
    let (mut world, mut callee) = talking();
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "491");
    world.callee_acks(&callee, None);
    // The callee sees the same crossing, and refuses ours alike.
    world.reply(1, &passed, reply(491));
    world.at(1, "ACK");
    world.at_caller("491");
    world.caller_acks_again(None);
    world.nothing_more();
    // Whoever tries again first is heard.
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "100");
    world.at_caller("INVITE");
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn an_update_with_an_offer_that_crosses_is_491_and_one_without_is_taken() {
    let (mut world, mut callee) = talking();
    world.caller_offers("INVITE", Some(&moved()));
    world.skip();
    world.callee_offers(&mut callee, "UPDATE", Some(&sdp(5002)));
    world.at(1, "491");
    world.callee_offers(&mut callee, "UPDATE", None);
    world.at(1, "200");
    world.nothing_more();
}

#[test]
fn a_second_offer_before_the_answer_to_the_first_is_500_with_retry_after() {
    let (mut world, _) = talking();
    world.caller_offers("INVITE", Some(&moved()));
    let first = world.caller.cseq;
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    for method in ["INVITE", "UPDATE"] {
        world.caller_offers(method, Some(OFFER));
        let refused = world.at_caller("500");
        assert!(refused.retry_after().expect("Retry-After").expect("a number").secs <= 10);
        if method == "INVITE" {
            world.caller_acks_again(None);
        }
    }
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    assert_eq!(world.at_caller("200").cseq_number(), first);
    world.nothing_more();
}

#[test]
fn an_offer_while_the_last_answer_waits_for_its_ack_may_come_of_the_same_party_only() {
    let (mut world, mut callee) = talking();
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    world.at_caller("200");
    // The caller could not tell our INVITE from one that crosses its own.
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5004)));
    world.at(1, "491");
    world.callee_acks(&callee, None);
    world.caller_offers("INVITE", Some(OFFER));
    world.at_caller("100");
    world.at(1, "INVITE");
    world.nothing_more();
}

#[test]
fn an_offer_that_crosses_our_refresh_is_491_on_that_leg_and_on_the_other() {
    let (mut world, mut callee) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    let refresh = world.at(1, "INVITE");
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "491");
    world.callee_acks(&callee, None);
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("491");
    world.caller_acks_again(None);
    world.reply(1, &refresh, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.nothing_more();
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    world.at(1, "INVITE");
}

#[test]
fn an_offer_passes_beside_a_refresh_without_one() {
    let (mut world, mut callee) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Update, b""));
    world.at(1, "UPDATE");
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "100");
    world.at_caller("INVITE");
    world.nothing_more();
}
