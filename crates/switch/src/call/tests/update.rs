//! UPDATE (RFC 3311), in the conversation and before it.

use super::messages::{Peer, reply};
use super::midcall::moved;
use super::plan::sdp;
use super::world::World;
use crate::call::Stage;

const WITH_UPDATE: &str = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE";

/// A conversation whose parties both allow UPDATE.
pub(super) fn talking() -> (World, Peer) {
    let mut world = World::with(|plan| plan.invite_lines = format!("{WITH_UPDATE}\r\n"));
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)).line(WITH_UPDATE));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    let callee = world.callee(&invite, "gw");
    (world, callee)
}

#[test]
fn an_update_with_an_offer_goes_as_update_where_the_other_party_allows_it() {
    let (mut world, mut callee) = talking();
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    assert_eq!(passed.body_text(), moved());
    world.nothing_more();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    world.callee_offers(&mut callee, "UPDATE", Some(&sdp(5004)));
    let passed = world.at_caller("UPDATE");
    world.caller_replies(&passed, reply(488));
    world.at(1, "488");
    world.nothing_more();
}

#[test]
fn an_update_with_an_offer_goes_as_invite_where_the_other_party_does_not() {
    let (mut world, _) = World::start().talking();
    let update = world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "INVITE");
    assert_eq!(passed.body_text(), moved());
    world.request(update, world.caller.address);
    world.nothing_more();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    world.nothing_more();
}

#[test]
fn an_update_that_takes_too_long_is_504_and_what_comes_of_it_is_taken_back() {
    // RFC 3311 §5.2.
    let (mut world, _) = World::start().talking();
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "INVITE");
    world.reply(1, &passed, reply(180));
    world.advance(19_999);
    world.nothing_more();
    world.advance(1);
    world.at_caller("504");
    world.at(1, "CANCEL");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    // The callee has changed its session, of which the caller knows nothing.
    let told = world.at(1, "INVITE");
    assert_eq!(told.body_text(), super::plan::OFFER);
    world.reply(1, &told, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn an_update_without_an_offer_refreshes_the_target_and_is_answered_at_once() {
    let (mut world, mut callee) = talking();
    let contact = "Contact: <sip:alice@192.0.2.77:5090>\r\n";
    let update = world.caller.request_with("UPDATE", 8, contact, None);
    world.caller.cseq = 8;
    world.request(update, world.caller.address);
    let answer = world.at_caller("200");
    assert!(answer.contact().is_some() && answer.body_text().is_empty());
    world.nothing_more();
    world.take_over(40_000);
    world.sends(&mut callee, "BYE");
    let bye = world.sent.iter().find(|got| got.what() == "BYE").expect("a BYE");
    assert_eq!(bye.request_uri(), b"sip:alice@192.0.2.77:5090");
}

#[test]
fn a_second_update_before_the_answer_to_the_first_is_500_with_retry_after() {
    let (mut world, _) = talking();
    world.caller_offers("UPDATE", Some(&moved()));
    world.at(1, "UPDATE");
    for offer in [None, Some(moved())] {
        world.caller_offers("UPDATE", offer.as_deref());
        assert!(world.at_caller("500").retry_after().is_some());
    }
    world.nothing_more();
}

#[test]
fn an_update_that_nobody_answers_ends_the_call_without_a_late_408() {
    let (mut world, _) = talking();
    world.caller_offers("UPDATE", Some(&moved()));
    world.wait(33);
    assert!(world.sent.iter().all(|got| got.what() != "408"));
    // The caller was told in time (RFC 3311 §5.2).
    assert!(world.sent.iter().any(|got| got.what() == "504"));
    assert!(world.sent.iter().any(|got| got.what() == "BYE"));
}

#[test]
fn an_update_before_the_answer_refreshes_the_target() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    let update = world.caller.request_with("UPDATE", 8, "Contact: <sip:alice@192.0.2.77:5090>\r\n", None);
    world.caller.cseq = 8;
    world.request(update.clone(), world.caller.address);
    let answer = world.at_caller("200");
    world.request(update, world.caller.address);
    assert_eq!(world.at_caller("200").text(), answer.text());
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.hang_up(crate::cdr::EndReason::Admin);
    let bye = world.sent.iter().rev().find(|got| got.what() == "BYE").expect("a BYE");
    assert_eq!(bye.request_uri(), b"sip:alice@192.0.2.77:5090");
}

#[test]
fn an_offer_in_update_before_the_answer_to_the_first_is_500_with_retry_after() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.caller_offers("UPDATE", Some(&moved()));
    assert!(world.at_caller("500").retry_after().is_some());
    world.nothing_more();
    assert!(world.releases().is_empty());
}

#[test]
fn a_gateways_update_in_its_early_dialog_refreshes_the_target_and_an_offer_in_it_has_to_wait() {
    let mut world = World::with(super::reliable::offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, super::reliable::reliable(183, 1).sdp(sdp(5000)));
    world.at_caller("183");
    let prack = world.at(1, "PRACK");
    world.reply(1, &prack, reply(200));
    let mut callee = world.callee(&invite, "gw");
    let update = world.callee_offers(&mut callee, "UPDATE", None);
    let answer = world.at(1, "200");
    assert!(answer.contact().is_some());
    world.request(update, callee.address);
    assert_eq!(world.at(1, "200").text(), answer.text());
    world.callee_offers(&mut callee, "UPDATE", Some(&sdp(5002)));
    assert!(world.at(1, "500").retry_after().is_some());
    // Another fork's dialog is not known.
    let mut stranger = world.callee(&invite, "other");
    world.callee_offers(&mut stranger, "UPDATE", None);
    world.at(1, "481");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.nothing_more();
}
