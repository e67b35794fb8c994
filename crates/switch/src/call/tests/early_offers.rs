//! Offers before the answer (RFC 3311, RFC 3262 §5): in UPDATE of either party, and in the caller's PRACK.

use super::messages::{Got, Peer, reply};
use super::midcall::moved;
use super::plan::{OFFER, Plan, sdp};
use super::reliable::{on_both_legs, prack_for, reliable};
use super::world::World;
use crate::call::Stage;
use crate::cdr::EndReason;
use tandem_sip::Message;

const WITH_UPDATE: &str = "Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE";

fn updating(plan: &mut Plan) {
    on_both_legs(plan);
    plan.invite_lines.push_str(WITH_UPDATE);
    plan.invite_lines.push_str("\r\n");
}

/// 100rel and UPDATE on both legs, and the gateway's answer in a 183 that the caller has and the gateway has a PRACK for.
struct Early {
    world: World,
    invite: Got,
    progress: Got,
    callee: Peer,
}

fn early_with(change: impl FnOnce(&mut Plan)) -> Early {
    let mut world = World::with(|plan| {
        updating(plan);
        change(plan);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)).line(WITH_UPDATE));
    let progress = world.at_caller("183");
    world.pracked(1, 1);
    let callee = world.callee(&invite, "gw");
    Early { world, invite, progress, callee }
}

/// The caller has sent its PRACK as well.
fn early() -> Early {
    let mut early = early_with(|_| {});
    let progress = early.progress.clone();
    early.world.caller_pracks(&progress);
    early
}

impl Early {
    /// The call is answered, and each party takes the last description that it was sent for the one that counts.
    fn answered(mut self, caller: &str, callee: &str) {
        let world = &mut self.world;
        world.reply(1, &self.invite, reply(200).line(WITH_UPDATE));
        world.at(1, "ACK");
        let answer = world.at_caller("200");
        assert_eq!((answer.tag_in_to(), answer.body_text()), (self.progress.tag_in_to(), String::new()));
        world.caller_acks(None);
        world.nothing_more();
        // Whoever says again what it said is answered with the other one's description, which the other need not know of.
        world.caller_offers("UPDATE", Some(caller));
        assert_eq!(world.at_caller("200").body_text(), callee);
        world.callee_offers(&mut self.callee, "UPDATE", Some(callee));
        assert_eq!(world.at(1, "200").body_text(), caller);
        world.nothing_more();
        world.hang_up(EndReason::Admin);
        world.finish();
    }
}

#[test]
fn rfc_3311_5_1_the_callers_early_offer_goes_to_the_gateway_and_its_answer_comes_back() {
    let mut early = early();
    let world = &mut early.world;
    let update = world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    assert_eq!((passed.body_text(), passed.cseq_number()), (moved(), 3));
    assert!(passed.contact().is_some());
    // A copy of it says nothing new.
    world.request(update.clone(), world.plan.caller_address);
    world.nothing_more();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    let answer = world.at_caller("200");
    assert_eq!(answer.body_text(), sdp(5002));
    assert!(answer.contact().is_some() && answer.after.is_some());
    world.request(update, world.plan.caller_address);
    assert_eq!(world.at_caller("200").text(), answer.text());
    world.nothing_more();
    early.answered(&moved(), &sdp(5002));
}

#[test]
fn rfc_3311_5_1_the_gateways_early_offer_goes_to_the_caller_and_its_answer_comes_back() {
    let mut early = early();
    let world = &mut early.world;
    world.callee_offers(&mut early.callee, "UPDATE", Some(&sdp(5002)));
    let passed = world.at_caller("UPDATE");
    assert_eq!(passed.body_text(), sdp(5002));
    world.caller_replies(&passed, reply(200).sdp(moved()));
    assert_eq!(world.at(1, "200").body_text(), moved());
    // What a response repeats of the first answer is of no meaning any more (RFC 3261 §13.2.1).
    world.reply(1, &early.invite, reliable(180, 2).sdp(sdp(5000)));
    let ringing = world.at_caller("180");
    assert_eq!((ringing.tag_in_to(), ringing.body_text()), (early.progress.tag_in_to(), String::new()));
    world.pracked(1, 2);
    early.answered(&moved(), &sdp(5002));
}

#[test]
fn one_early_offer_after_another_passes() {
    let mut early = early();
    let world = &mut early.world;
    for port in [5002, 5004] {
        let offer = moved().replace("o=- 1 2", &format!("o=- 1 {port}"));
        world.caller_offers("UPDATE", Some(&offer));
        let passed = world.at(1, "UPDATE");
        world.reply(1, &passed, reply(200).sdp(sdp(port)));
        assert_eq!(world.at_caller("200").body_text(), sdp(port));
    }
    early.answered(&moved().replace("o=- 1 2", "o=- 1 5004"), &sdp(5004));
}

#[test]
fn an_early_offer_of_a_call_without_an_offer_in_its_invite_passes() {
    let mut early = early_without_offer();
    let prack = prack_for(&mut early.world, &early.progress, Some(OFFER));
    let world = &mut early.world;
    world.request(prack, world.plan.caller_address);
    world.at_caller("200");
    assert_eq!(world.pracked(1, 1).body_text(), OFFER);
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    early.answered(&moved(), &sdp(5002));
}

fn early_without_offer() -> Early {
    let mut world = World::with(|plan| {
        updating(plan);
        plan.offer = None;
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)).line(WITH_UPDATE));
    let progress = world.at_caller("183");
    let callee = world.callee(&invite, "gw");
    Early { world, invite, progress, callee }
}

#[test]
fn rfc_3262_5_an_offer_in_the_callers_prack_is_passed_as_update_and_answered_in_the_200() {
    let mut early = early_with(|_| {});
    let prack = prack_for(&mut early.world, &early.progress, Some(&moved()));
    let world = &mut early.world;
    world.request(prack.clone(), world.plan.caller_address);
    let passed = world.at(1, "UPDATE");
    assert_eq!(passed.body_text(), moved());
    world.request(prack, world.plan.caller_address);
    // It has acknowledged the 183 all the same.
    world.advance(400);
    world.nothing_more();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    let answer = world.at_caller("200");
    assert_eq!(answer.body_text(), sdp(5002));
    assert!(answer.contact().is_none());
    early.answered(&moved(), &sdp(5002));
}

#[test]
fn an_offer_in_a_prack_that_says_nothing_new_is_answered_with_what_was_agreed() {
    let mut early = early_with(|_| {});
    let prack = prack_for(&mut early.world, &early.progress, Some(OFFER));
    let world = &mut early.world;
    world.request(prack, world.plan.caller_address);
    assert_eq!(world.at_caller("200").body_text(), sdp(5000));
    world.nothing_more();
}

#[test]
fn an_offer_in_a_prack_that_the_gateway_refuses_is_488_and_the_session_stays_as_it_is() {
    let mut early = early_with(|_| {});
    let prack = prack_for(&mut early.world, &early.progress, Some(&moved()));
    let world = &mut early.world;
    world.request(prack, world.plan.caller_address);
    let passed = world.at(1, "UPDATE");
    world.reply(1, &passed, reply(500));
    world.at_caller("488");
    world.advance(5_000);
    world.nothing_more();
    early.answered(OFFER, &sdp(5000));
}

#[test]
fn rfc_3311_5_2_early_offers_that_cross_get_491_and_a_second_one_500_with_retry_after() {
    let mut early = early();
    let world = &mut early.world;
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    world.callee_offers(&mut early.callee, "UPDATE", Some(&sdp(5004)));
    world.at(1, "491");
    for offer in [None, Some(OFFER)] {
        world.caller_offers("UPDATE", offer);
        assert!(world.at_caller("500").retry_after().is_some());
    }
    // One without an offer crosses nothing.
    world.callee_offers(&mut early.callee, "UPDATE", None);
    world.at(1, "200");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    early.answered(&moved(), &sdp(5002));
}

#[test]
fn rfc_3311_5_2_an_early_offer_before_the_invites_is_answered_is_491_to_the_gateway() {
    let mut world = World::with(updating);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 1).line(WITH_UPDATE));
    world.at_caller("180");
    world.pracked(1, 1);
    let mut callee = world.callee(&invite, "gw");
    world.callee_offers(&mut callee, "UPDATE", Some(&sdp(5002)));
    world.at(1, "491");
    world.caller_offers("UPDATE", Some(&moved()));
    assert!(world.at_caller("500").retry_after().is_some());
    world.nothing_more();
}

#[test]
fn an_early_offer_while_the_other_leg_is_not_ready_is_500_with_retry_after() {
    // The caller has not sent its PRACK yet.
    let mut early = early_with(|_| {});
    let world = &mut early.world;
    world.callee_offers(&mut early.callee, "UPDATE", Some(&sdp(5002)));
    assert!(world.at(1, "500").retry_after().is_some());
    // With two early dialogs nobody knows which one will be the call's.
    let progress = early.progress.clone();
    world.caller_pracks(&progress);
    world.reply(1, &early.invite, reliable(180, 1).tag("other"));
    world.at_caller("180");
    world.at(1, "PRACK");
    world.caller_offers("UPDATE", Some(&moved()));
    assert!(world.at_caller("500").retry_after().is_some());
    world.nothing_more();
}

#[test]
fn an_early_offer_that_the_other_party_cannot_be_asked_is_504() {
    let mut world = World::with(updating);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.pracked(1, 1);
    world.caller_pracks(&progress);
    world.caller_offers("UPDATE", Some(&moved()));
    world.at_caller("504");
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Ringing);
}

#[test]
fn a_refusal_of_an_early_offer_goes_back_and_the_call_goes_on() {
    for (status, expected) in [(488, "488"), (491, "491"), (481, "500"), (408, "500"), (503, "500")] {
        let mut early = early();
        let world = &mut early.world;
        world.caller_offers("UPDATE", Some(&moved()));
        let passed = world.at(1, "UPDATE");
        world.reply(1, &passed, reply(status));
        world.at_caller(expected);
        world.nothing_more();
        early.answered(OFFER, &sdp(5000));
    }
}

#[test]
fn a_2xx_waits_for_the_answer_to_an_open_early_offer() {
    let mut early = early();
    let world = &mut early.world;
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    world.reply(1, &early.invite, reply(200));
    world.nothing_more();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    world.at(1, "ACK");
    let answer = world.at_caller("200");
    assert_eq!((answer.tag_in_to(), answer.body_text()), (early.progress.tag_in_to(), String::new()));
    world.caller_acks(None);
    assert_eq!(world.stage(), Stage::Answered);
    world.nothing_more();
}

#[test]
fn an_early_offer_that_nobody_answers_is_504_after_10_s_and_taken_back_once_the_call_is_answered() {
    let mut early = early();
    let world = &mut early.world;
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    world.reply(1, &early.invite, reply(200).line(WITH_UPDATE));
    world.advance(9_999);
    let again = world.sent.iter().filter(|got| got.what() == "UPDATE").count();
    assert_eq!(again, 5);
    world.skip();
    world.advance(1);
    world.at_caller("504");
    world.at(1, "ACK");
    world.at_caller("200");
    // The gateway may have taken the offer, of which the caller knows nothing.
    let told = world.at(1, "UPDATE");
    assert_eq!(told.body_text(), OFFER);
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.reply(1, &told, reply(200).sdp(sdp(5000)));
    world.caller_acks(None);
    world.advance(2_000);
    world.nothing_more();
}

#[test]
fn an_undeliverable_early_offer_is_504() {
    let mut early = early();
    let world = &mut early.world;
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    world.undeliverable(&passed);
    world.at_caller("504");
    world.nothing_more();
    early.answered(OFFER, &sdp(5000));
}

/// What ends the early dialog while an offer is open.
type Ending = fn(&mut World, &Got);

#[test]
fn an_open_early_offer_gets_its_final_response_when_the_early_dialog_ends() {
    let endings: [(&str, Ending); 4] = [
        ("a CANCEL", |world, _| {
            world.caller_cancels("");
        }),
        ("a failure", |world, invite| world.reply(1, invite, reply(480))),
        ("an operator", |world, _| world.hang_up(EndReason::Admin)),
        ("a timeout", |world, _| world.wait(200)),
    ];
    for (what, end) in endings {
        let mut early = early_with(|plan| {
            plan.gateways(1);
            plan.every_gateway(|gateway| {
                gateway.reliable_provisionals = crate::parameters::ReliableProvisionals::Supported;
            });
        });
        let progress = early.progress.clone();
        let world = &mut early.world;
        world.caller_pracks(&progress);
        world.callee_offers(&mut early.callee, "UPDATE", Some(&sdp(5002)));
        let passed = world.at_caller("UPDATE");
        let update = world.caller_offers("UPDATE", Some(&moved()));
        world.at_caller("491");
        end(world, &early.invite);
        let finals: Vec<String> = world
            .sent
            .iter()
            .filter(|got| !got.is_request() && got.flow == early.invite.flow)
            .filter(|got| got.value(tandem_sip::Name::CSeq).contains("UPDATE"))
            .map(Got::what)
            .collect();
        let expected = if what == "a timeout" { "504" } else { "487" };
        assert_eq!(finals, [expected], "{what}");
        // What comes of it is of no interest.
        world.caller_replies(&passed, reply(200).sdp(moved()));
        world.request(update, world.plan.caller_address);
        world.skip();
        world.finish();
    }
}

#[test]
fn the_next_gateway_is_offered_what_the_invite_offered() {
    let mut early = early_with(|plan| {
        plan.every_gateway(|gateway| gateway.stop_after_sdp = false);
    });
    let progress = early.progress.clone();
    let world = &mut early.world;
    world.caller_pracks(&progress);
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at_caller("200");
    world.reply(1, &early.invite, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    assert_eq!(second.body_text(), OFFER);
    world.reply(2, &second, reply(200).sdp(sdp(5004)));
    world.at(2, "ACK");
    // In an early dialog of its own, whose offer is the INVITE's.
    let answer = world.at_caller("200");
    assert_ne!(answer.tag_in_to(), progress.tag_in_to());
    assert_eq!(answer.body_text(), sdp(5004));
}

#[test]
fn an_heir_knows_what_was_agreed_early_and_passes_the_next_offer() {
    let mut early = early();
    let world = &mut early.world;
    world.caller_offers("UPDATE", Some(&moved()));
    let passed = world.at(1, "UPDATE");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at_caller("200");
    world.take_over(2_000);
    world.caller_offers("UPDATE", Some(&moved()));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    world.callee_offers(&mut early.callee, "UPDATE", Some(&sdp(5004)));
    let passed = world.at_caller("UPDATE");
    assert_eq!(passed.body_text(), sdp(5004));
    world.caller_replies(&passed, reply(200).sdp(OFFER));
    assert_eq!(world.at(1, "200").body_text(), OFFER);
    early.answered(OFFER, &sdp(5004));
}

#[test]
fn an_early_offer_that_was_open_is_taken_anew_by_an_heir() {
    let requests: [fn(&mut Early) -> Message; 2] = [
        |early| {
            let progress = early.progress.clone();
            early.world.caller_pracks(&progress);
            early.world.caller_offers("UPDATE", Some(&moved()))
        },
        |early| {
            let prack = prack_for(&mut early.world, &early.progress, Some(&moved()));
            early.world.request(prack.clone(), early.world.plan.caller_address);
            prack
        },
    ];
    for request in requests {
        let mut early = early_with(|_| {});
        let asked = request(&mut early);
        let world = &mut early.world;
        let lost = world.at(1, "UPDATE");
        world.take_over(1_000);
        world.skip();
        // The lost owner's is of no meaning to the heir.
        world.reply(1, &lost, reply(200).sdp(sdp(5002)));
        world.nothing_more();
        world.request(asked, world.plan.caller_address);
        let passed = world.at(1, "UPDATE");
        assert!(passed.cseq_number() > lost.cseq_number());
        world.reply(1, &passed, reply(200).sdp(sdp(5002)));
        assert_eq!(world.at_caller("200").body_text(), sdp(5002));
        early.answered(&moved(), &sdp(5002));
    }
}

#[test]
fn an_early_exchange_comes_to_its_end_whichever_message_of_it_is_lost() {
    // The offer, our UPDATE, its answer, our answer.
    for lost in 0..4 {
        let mut early = early();
        let world = &mut early.world;
        let update = world.caller.offer("UPDATE", Some(&moved()));
        let address = world.plan.caller_address;
        if lost != 0 {
            world.request(update.clone(), address);
        } else {
            world.advance(500);
            world.request(update.clone(), address);
        }
        let mut passed = world.at(1, "UPDATE");
        if lost == 1 || lost == 2 {
            world.advance(500);
            let again = world.at(1, "UPDATE");
            assert_eq!(again.text(), passed.text());
            passed = again;
        }
        world.reply(1, &passed, reply(200).sdp(sdp(5002)));
        let mut answer = world.at_caller("200");
        if lost == 3 {
            world.request(update, address);
            let again = world.at_caller("200");
            assert_eq!(again.text(), answer.text());
            answer = again;
        }
        assert_eq!(answer.body_text(), sdp(5002));
        world.advance(5_000);
        world.nothing_more();
        early.answered(&moved(), &sdp(5002));
    }
}
