//! Requests of the switch's own inside a dialog: session refreshes, and what a leg has missed.

use super::messages::{Peer, reply};
use super::plan::{OFFER, sdp};
use super::world::World;
use crate::call::Stage;
use crate::call::connected::{Party, Refresh};
use tandem_sip::Name;

fn talking() -> (World, Peer) {
    World::start().talking()
}

const TIMER: &[u8] = b"Session-Expires: 600;refresher=uac\r\n";

#[test]
fn a_refresh_by_invite_offers_what_the_party_was_sent_before() {
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Invite, TIMER));
    let refresh = world.at(1, "INVITE");
    assert_eq!(refresh.body_text(), OFFER);
    assert_eq!(refresh.value(Name::SessionExpires), "600;refresher=uac");
    assert!(refresh.contact().is_some());
    world.advance(500);
    assert_eq!(world.at(1, "INVITE").text(), refresh.text());
    world.reply(1, &refresh, reply(100));
    world.reply(1, &refresh, reply(200).sdp(sdp(5000)));
    let ack = world.at(1, "ACK");
    world.reply(1, &refresh, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at(1, "ACK").text(), ack.text());
    world.nothing_more();

    assert!(world.refresh(Party::Caller, Refresh::Invite, TIMER));
    let refresh = world.at_caller("INVITE");
    assert_eq!(refresh.body_text(), sdp(5000));
    world.caller_replies(&refresh, reply(200).sdp(OFFER));
    world.at_caller("ACK");
    world.nothing_more();
}

#[test]
fn a_refresh_by_update_carries_no_description() {
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Caller, Refresh::Update, TIMER));
    let refresh = world.at_caller("UPDATE");
    assert_eq!(refresh.body_text(), "");
    assert_eq!(refresh.value(Name::SessionExpires), "600;refresher=uac");
    world.advance(500);
    assert_eq!(world.at_caller("UPDATE").text(), refresh.text());
    world.caller_replies(&refresh, reply(200));
    world.wait(40);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn the_2xx_to_a_refresh_refreshes_the_target_and_is_committed() {
    let (mut world, mut callee) = talking();
    assert!(world.refresh(Party::Caller, Refresh::Update, b""));
    let refresh = world.at_caller("UPDATE");
    world.caller_replies(&refresh, reply(200).contact("<sip:alice@192.0.2.77:5090>"));
    world.take_over(40_000);
    world.sends(&mut callee, "BYE");
    let bye = world.sent.iter().find(|got| got.what() == "BYE").expect("a BYE");
    assert_eq!(bye.request_uri(), b"sip:alice@192.0.2.77:5090");
}

#[test]
fn a_failure_of_a_refresh_is_acknowledged_and_ends_nothing_by_itself() {
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    let refresh = world.at(1, "INVITE");
    world.reply(1, &refresh, reply(488));
    assert_eq!(world.at(1, "ACK").branch(), refresh.branch());
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
}

#[test]
fn one_refresh_is_open_on_a_leg_and_none_beside_an_offer() {
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    assert!(!world.refresh(Party::Callee, Refresh::Invite, b""));
    assert!(!world.refresh(Party::Callee, Refresh::Update, b""));
    assert!(world.refresh(Party::Caller, Refresh::Update, b""));

    let (mut world, _) = talking();
    world.caller_offers("INVITE", Some(&super::midcall::moved()));
    for party in [Party::Caller, Party::Callee] {
        assert!(!world.refresh(party, Refresh::Invite, b""));
        assert!(world.refresh(party, Refresh::Update, b""));
    }
}

#[test]
fn no_invite_of_ours_goes_to_a_caller_that_has_not_acknowledged_the_answer() {
    let mut world = World::start();
    world.answered_by(1);
    assert!(!world.refresh(Party::Caller, Refresh::Invite, b""));
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    world.at(1, "INVITE");
}

#[test]
fn another_answer_to_a_refresh_is_offered_to_the_other_party() {
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    let refresh = world.at(1, "INVITE");
    world.reply(1, &refresh, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    let told = world.at_caller("INVITE");
    assert_eq!(told.body_text(), sdp(5002));
    world.caller_replies(&told, reply(200).sdp(OFFER));
    world.at_caller("ACK");
    world.nothing_more();
    // From then on it is what counts.
    assert!(world.refresh(Party::Caller, Refresh::Invite, b""));
    assert_eq!(world.at_caller("INVITE").body_text(), sdp(5002));
}

#[test]
fn another_answer_to_what_was_missed_is_told_on_and_not_for_ever() {
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    let refresh = world.at(1, "INVITE");
    world.reply(1, &refresh, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    for (at_caller, at_callee) in [(6002, 5004), (6004, 5006)] {
        let told = world.at_caller("INVITE");
        world.caller_replies(&told, reply(200).sdp(sdp(at_caller)));
        world.at_caller("ACK");
        let told = world.at(1, "INVITE");
        assert_eq!(told.body_text(), sdp(at_caller));
        world.reply(1, &told, reply(200).sdp(sdp(at_callee)));
        world.at(1, "ACK");
    }
    world.nothing_more();
}

#[test]
fn both_parties_are_told_what_each_of_them_missed() {
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Caller, Refresh::Invite, b""));
    let of_caller = world.at_caller("INVITE");
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    let of_callee = world.at(1, "INVITE");
    world.reply(1, &of_callee, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    world.caller_replies(&of_caller, reply(200).sdp(sdp(6002)));
    world.at_caller("ACK");
    let told = world.at(1, "INVITE");
    assert_eq!(told.body_text(), sdp(6002));
    world.reply(1, &told, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    world.advance(1_000);
    let told = world.at_caller("INVITE");
    assert_eq!(told.body_text(), sdp(5002));
    world.caller_replies(&told, reply(200).sdp(sdp(6002)));
    world.at_caller("ACK");
    world.nothing_more();
}

#[test]
fn what_was_missed_is_told_by_invite_where_the_party_refuses_update() {
    for refusal in [405, 501] {
        let (mut world, _) = super::update::talking();
        assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
        let refresh = world.at(1, "INVITE");
        world.reply(1, &refresh, reply(200).sdp(sdp(5002)));
        world.at(1, "ACK");
        let told = world.at_caller("UPDATE");
        world.caller_replies(&told, reply(refusal));
        let told = world.at_caller("INVITE");
        assert_eq!(told.body_text(), sdp(5002));
        world.caller_replies(&told, reply(200).sdp(OFFER));
        world.at_caller("ACK");
        world.nothing_more();
    }
}

#[test]
fn what_a_party_missed_is_offered_again_after_the_wait_that_491_asks_for() {
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    let refresh = world.at(1, "INVITE");
    world.reply(1, &refresh, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    let told = world.at_caller("INVITE");
    world.caller_replies(&told, reply(491));
    world.at_caller("ACK");
    world.nothing_more();
    // The caller owns the Call-ID: up to 2 s (RFC 3261 §14.1).
    world.advance(2_000);
    let again = world.at_caller("INVITE");
    assert_eq!(again.body_text(), sdp(5002));
    assert!(again.cseq_number() > told.cseq_number());

    // The callee does not: 2.1 to 4 s.
    let (mut world, _) = talking();
    assert!(world.refresh(Party::Caller, Refresh::Invite, b""));
    let refresh = world.at_caller("INVITE");
    world.caller_replies(&refresh, reply(200).sdp(super::midcall::moved()));
    world.at_caller("ACK");
    let told = world.at(1, "INVITE");
    world.reply(1, &told, reply(491));
    world.at(1, "ACK");
    world.advance(2_099);
    world.nothing_more();
    world.advance(1_901);
    world.at(1, "INVITE");
}

#[test]
fn what_a_party_missed_waits_until_nothing_else_is_open() {
    let (mut world, mut callee) = talking();
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    let refresh = world.at(1, "INVITE");
    assert!(world.refresh(Party::Caller, Refresh::Update, b""));
    let update = world.at_caller("UPDATE");
    world.reply(1, &refresh, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    world.nothing_more();
    world.caller_replies(&update, reply(200));
    world.wait(1);
    assert_eq!(world.at_caller("INVITE").body_text(), sdp(5002));
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
}

#[test]
fn a_call_that_ends_with_a_refresh_open_acknowledges_what_still_comes() {
    let (mut world, mut callee) = talking();
    assert!(world.refresh(Party::Caller, Refresh::Invite, b""));
    let refresh = world.at_caller("INVITE");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    let bye = world.at_caller("BYE");
    world.caller_replies(&refresh, reply(200).sdp(OFFER));
    world.at_caller("ACK");
    world.caller_replies(&bye, reply(200));
    world.finish();
}

#[test]
fn a_party_that_is_gone_when_it_is_told_what_it_missed_ends_the_call() {
    for status in [Some(481), Some(408), None] {
        let (mut world, _) = talking();
        assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
        let refresh = world.at(1, "INVITE");
        world.reply(1, &refresh, reply(200).sdp(sdp(5002)));
        world.at(1, "ACK");
        let told = world.at_caller("INVITE");
        match status {
            Some(status) => world.caller_replies(&told, reply(status)),
            None => world.wait(32),
        }
        let ended = world.sent.iter().filter(|got| got.what() == "BYE").count();
        assert_eq!(ended, 2, "{status:?}");
    }
}
