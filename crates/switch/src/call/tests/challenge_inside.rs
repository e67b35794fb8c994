//! Gateways that ask for credentials inside a dialog (RFC 3261 §22.3).

use super::challenge::{SHA_256, challenge, credentials};
use super::messages::{Got, Peer, reply};
use super::midcall::moved;
use super::plan::{Answers, OFFER, Plan, sdp};
use super::reliable::{offering, reliable};
use super::world::World;
use crate::call::connected::{Party, Refresh};
use crate::call::{Input, Stage};
use crate::cdr::EndReason;
use crate::gateway::Redirects;
use tandem_sip::Name;

const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, INFO";

fn talking_with(change: impl FnOnce(&mut Plan)) -> (World, Peer) {
    let mut world = World::with(|plan| {
        plan.accounts();
        change(plan);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)).line(ALLOW));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    let callee = world.callee(&invite, "gw");
    (world, callee)
}

fn talking() -> (World, Peer) {
    talking_with(|_| {})
}

/// Gateway 1 challenges `request`, which comes again with credentials and else as it was.
fn challenged(world: &mut World, request: &Got) -> Got {
    let nonce = request.what();
    world.reply(1, request, challenge(407, "vendor", &nonce, SHA_256));
    if request.what() == "INVITE" {
        assert_eq!(world.at(1, "ACK").branch(), request.branch());
    }
    let again = world.at(1, &request.what());
    assert_eq!(credentials(&again, Name::ProxyAuthorization), Some((nonce, 1)));
    assert!(again.cseq_number() > request.cseq_number());
    assert_ne!(again.branch(), request.branch());
    let changes = |name: Name| matches!(name, Name::Via | Name::CSeq | Name::ProxyAuthorization);
    let kept = |got: &Got| -> Vec<_> {
        let fields = got.fields().filter(|field| !changes(field.name));
        fields.map(|field| (field.name, field.value.to_vec())).collect()
    };
    assert_eq!((kept(&again), again.body_text()), (kept(request), request.body_text()));
    assert_eq!(again.request_uri(), request.request_uri());
    again
}

#[test]
fn a_re_invite_that_a_gateway_challenges_goes_out_again_with_credentials() {
    let (mut world, _) = talking();
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let first = world.at(1, "INVITE");
    let again = challenged(&mut world, &first);
    // A copy of the challenge gets its ACK again, and nothing else comes of it.
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    assert_eq!(world.at(1, "ACK").branch(), first.branch());
    world.nothing_more();
    world.advance(500);
    assert_eq!(world.at(1, "INVITE").text(), again.text(), "resent");
    world.reply(1, &again, reply(200).sdp(sdp(5002)));
    let ack = world.at(1, "ACK");
    // RFC 3261 §22.1.
    assert_eq!(ack.value(Name::ProxyAuthorization), again.value(Name::ProxyAuthorization));
    assert_eq!(ack.cseq_number(), again.cseq_number());
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    world.caller_acks_again(None);
    world.nothing_more();
    world.wait(40);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn an_update_and_an_info_that_a_gateway_challenges_go_out_again_with_credentials() {
    let (mut world, _) = talking();
    world.caller_offers("UPDATE", Some(&moved()));
    let first = world.at(1, "UPDATE");
    let again = challenged(&mut world, &first);
    world.reply(1, &again, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    world.caller_sends("INFO");
    let first = world.at(1, "INFO");
    let again = challenged(&mut world, &first);
    world.reply(1, &again, reply(200));
    world.at_caller("200");
    world.nothing_more();
}

#[test]
fn a_refresh_that_a_gateway_challenges_goes_out_again_with_credentials() {
    for (how, method) in [(Refresh::Update, "UPDATE"), (Refresh::Invite, "INVITE")] {
        let (mut world, _) = talking();
        assert!(world.refresh(Party::Callee, how, b"Session-Expires: 600;refresher=uac\r\n"));
        let first = world.at(1, method);
        let again = challenged(&mut world, &first);
        assert_eq!(again.value(Name::SessionExpires), "600;refresher=uac");
        // Meanwhile the leg is taken.
        assert!(!world.refresh(Party::Callee, how, b""));
        world.reply(1, &again, reply(200).sdp(sdp(5000)));
        if method == "INVITE" {
            world.at(1, "ACK");
        }
        world.nothing_more();
        assert!(world.refresh(Party::Callee, how, b""));
    }
}

#[test]
fn a_prack_that_a_gateway_challenges_goes_out_again_with_credentials() {
    let mut world = World::with(|plan| {
        offering(plan);
        plan.accounts();
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 5).sdp(sdp(5000)));
    world.at_caller("183");
    let first = world.at(1, "PRACK");
    let again = challenged(&mut world, &first);
    assert_eq!(again.value(Name::RAck), "5 1 INVITE");
    world.advance(500);
    assert_eq!(world.at(1, "PRACK").text(), again.text(), "resent");
    world.reply(1, &again, reply(200));
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    // The conversation counts on.
    assert!(world.refresh(Party::Callee, Refresh::Update, b""));
    assert!(world.at(1, "UPDATE").cseq_number() > again.cseq_number());
}

#[test]
fn a_copy_of_a_challenge_inside_the_dialog_changes_nothing() {
    let mut world = World::with(|plan| {
        offering(plan);
        plan.accounts().authorization = Answers::WhenTold;
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 5).sdp(sdp(5000)));
    world.at_caller("183");
    let first = world.at(1, "PRACK");
    for _ in 0..3 {
        world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    }
    let credentials = world.authorization().expect("asked for");
    assert!(world.authorization().is_none(), "asked for twice");
    world.input(credentials);
    let again = world.at(1, "PRACK");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.advance(500);
    assert_eq!(world.at(1, "PRACK").text(), again.text(), "resent");
    world.nothing_more();
}

#[test]
fn a_bye_that_a_gateway_challenges_goes_out_again_with_credentials() {
    for by_caller in [true, false] {
        let (mut world, _) = talking();
        if by_caller {
            world.caller_sends("BYE");
            world.at_caller("200");
        } else {
            world.hang_up(EndReason::Admin);
            let bye = world.at_caller("BYE");
            world.caller_replies(&bye, reply(200));
        }
        let first = world.at(1, "BYE");
        let again = challenged(&mut world, &first);
        assert_eq!(again.reasons(), first.reasons());
        world.advance(500);
        assert_eq!(world.at(1, "BYE").text(), again.text(), "resent");
        world.reply(1, &again, reply(200));
        world.wait(5);
        world.nothing_more();
        world.finish();
    }
}

#[test]
fn the_bye_of_an_answer_that_nobody_wants_gets_credentials_too() {
    let mut world = World::with(|plan| {
        plan.accounts();
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    world.caller_acks(None);
    let cancel = world.at(1, "CANCEL");
    // A CANCEL cannot be sent again, so a challenge of it has no answer (RFC 3261 §22.1).
    world.reply(1, &cancel, challenge(407, "vendor", "n0", SHA_256));
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    let first = world.at(1, "BYE");
    let again = challenged(&mut world, &first);
    world.reply(1, &again, reply(200));
    world.nothing_more();
    world.finish();
}

#[test]
fn a_challenge_inside_the_dialog_is_answered_once() {
    let (mut world, _) = talking();
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let first = world.at(1, "INVITE");
    let again = challenged(&mut world, &first);
    world.reply(1, &again, challenge(407, "vendor", "n2", SHA_256));
    world.at(1, "ACK");
    world.at_caller("500");
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
    world.caller_acks_again(None);
    // The next request is another one.
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let next = world.at(1, "INVITE");
    world.reply(1, &next, challenge(407, "vendor", "n3", SHA_256));
    world.at(1, "ACK");
    let again = world.at(1, "INVITE");
    assert_eq!(credentials(&again, Name::ProxyAuthorization), Some(("n3".to_owned(), 1)));
    world.reply(1, &again, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    world.at_caller("200");

    // A BYE is over with the second challenge.
    let (mut world, _) = talking();
    world.caller_sends("BYE");
    world.at_caller("200");
    let first = world.at(1, "BYE");
    let again = challenged(&mut world, &first);
    world.reply(1, &again, challenge(407, "vendor", "n2", SHA_256));
    world.wait(5);
    world.nothing_more();
    world.finish();
}

#[test]
fn a_stale_nonce_inside_the_dialog_is_answered_once_more() {
    let (mut world, _) = talking();
    world.caller_sends("BYE");
    world.at_caller("200");
    let first = world.at(1, "BYE");
    let again = challenged(&mut world, &first);
    world.reply(1, &again, challenge(407, "vendor", "n2", &format!("{SHA_256}, stale=true")));
    let third = world.at(1, "BYE");
    assert_eq!(credentials(&third, Name::ProxyAuthorization), Some(("n2".to_owned(), 1)));
    let given = third.fields().filter(|field| field.name == Name::ProxyAuthorization).count();
    assert_eq!(given, 1, "the credentials before are not sent again");
    world.reply(1, &third, challenge(407, "vendor", "n3", &format!("{SHA_256}, stale=true")));
    world.nothing_more();
    world.finish();
}

#[test]
fn a_challenge_inside_the_dialog_without_credentials_is_a_failure_like_others() {
    for by_timeout in [false, true] {
        let (mut world, _) = talking_with(|plan| plan.authorization = Answers::WhenTold);
        world.caller_offers("INVITE", Some(&moved()));
        world.at_caller("100");
        let first = world.at(1, "INVITE");
        world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
        world.at(1, "ACK");
        world.advance(1_999);
        world.nothing_more();
        let (serial, _) = world.unauthorized.pop_front().expect("asked for");
        if by_timeout {
            world.advance(1);
        } else {
            world.input(Input::Authorized { serial, authorization: None });
        }
        world.at_caller("500");
        world.caller_acks_again(None);
        // What comes too late is of no use.
        world.input(Input::Authorized { serial, authorization: None });
        world.nothing_more();
        assert_eq!(world.stage(), Stage::Answered);
    }
}

#[test]
fn a_bye_that_gets_no_credentials_in_time_is_over() {
    let (mut world, _) = talking_with(|plan| plan.authorization = Answers::WhenTold);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, challenge(401, "vendor", "n1", SHA_256));
    world.wait(2);
    let late = world.authorization().expect("asked for");
    world.input(late);
    world.nothing_more();
    world.finish();
}

#[test]
fn a_re_invite_that_is_cancelled_while_credentials_are_awaited_is_487() {
    let (mut world, _) = talking_with(|plan| plan.authorization = Answers::WhenTold);
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let cancel = world.caller.request_with("CANCEL", world.caller.cseq, "", None);
    world.request(cancel, world.plan.caller_address);
    world.at_caller("200");
    world.advance(0);
    world.at_caller("487");
    let late = world.authorization().expect("asked for");
    world.input(late);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn a_call_that_ends_while_credentials_are_awaited_sends_nothing_more_but_its_bye() {
    let (mut world, mut callee) = talking_with(|plan| plan.authorization = Answers::WhenTold);
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    world.at_caller("487");
    let bye = world.at_caller("BYE");
    world.caller_replies(&bye, reply(200));
    let late = world.authorization().expect("asked for");
    world.input(late);
    world.nothing_more();
    world.finish();
}

#[test]
fn a_caller_that_challenges_gets_no_credentials() {
    let (mut world, mut callee) = talking();
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "100");
    let passed = world.at_caller("INVITE");
    world.caller_replies(&passed, challenge(407, "customer", "n1", SHA_256));
    world.at_caller("ACK");
    world.at(1, "500");
    world.nothing_more();
    assert!(world.unauthorized.is_empty());
}

#[test]
fn without_an_account_a_challenge_inside_the_dialog_is_a_failure() {
    let (mut world, _) = World::start().talking();
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, challenge(407, "vendor", "n1", SHA_256));
    world.nothing_more();
    assert!(world.unauthorized.is_empty());
    world.finish();
}

#[test]
fn a_place_that_a_gateway_has_redirected_to_gets_none_of_its_credentials_inside_the_dialog() {
    let mut world = World::with(|plan| {
        plan.accounts().redirects(Redirects::Any);
        let elsewhere = super::plan::gateway_address(6);
        plan.targets.insert("sip:4420@elsewhere.example".to_owned(), vec![elsewhere]);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(302).contact("<sip:4420@elsewhere.example>"));
    world.at(1, "ACK");
    let invite = world.at(6, "INVITE");
    world.reply(6, &invite, reply(200).sdp(sdp(5000)));
    world.at(6, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.take_over(40_000);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(6, "BYE");
    world.reply(6, &bye, challenge(407, "vendor", "n1", SHA_256));
    world.nothing_more();
    assert!(world.unauthorized.is_empty());
    world.finish();
}

#[test]
fn an_heir_answers_a_challenge_inside_the_dialog() {
    let (mut world, _) = talking();
    world.take_over(40_000);
    assert!(world.refresh(Party::Callee, Refresh::Invite, b""));
    let first = world.at(1, "INVITE");
    assert_eq!(first.body_text(), OFFER);
    let again = challenged(&mut world, &first);
    world.reply(1, &again, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.nothing_more();
}
