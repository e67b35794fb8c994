//! Leaving an attempt: what it still gets, and how long it is kept.

use super::messages::{parse, reply};
use super::plan::{OFFER, sdp};
use super::world::{World, since};
use crate::failover::Failure;
use crate::gateway::Outcome;
use tandem_sip::Name;

#[test]
fn an_attempt_left_before_any_response_is_neither_resent_nor_cancelled() {
    let mut world = World::start();
    world.wait(10);
    world.skip();
    world.advance(31_999);
    let to_first = world.sent.iter().filter(|got| got.flow.remote.to_string() == "198.51.100.1:5060");
    assert_eq!(to_first.count(), 5, "the INVITE and four resends");
    assert_eq!(world.outcome("one"), None);
    world.advance(1);
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
}

#[test]
fn a_provisional_that_comes_late_gets_its_cancel() {
    for status in [100, 180, 183] {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        world.wait(10);
        world.skip();
        world.wait(5);
        world.skip();
        world.reply(1, &invite, reply(status));
        let cancel = world.at(1, "CANCEL");
        assert_eq!(cancel.reasons().len(), 1);
        world.nothing_more();
        // One CANCEL, however many provisional responses come.
        world.reply(1, &invite, reply(180));
        world.nothing_more();
        world.reply(1, &cancel, reply(200));
        world.reply(1, &invite, reply(487));
        let ack = world.at(1, "ACK");
        assert_eq!(ack.value(Name::To), "<sip:14420@198.51.100.1:5060>;tag=gw");
        world.nothing_more();
        assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
    }
}

#[test]
fn a_late_failure_is_acknowledged_and_changes_nothing() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.wait(10);
    world.skip();
    world.reply(1, &invite, reply(486));
    world.at(1, "ACK");
    world.reply(1, &invite, reply(486));
    world.at(1, "ACK");
    world.nothing_more();
    assert_eq!(world.attempted(), ["one", "two"]);
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
}

#[test]
fn a_late_2xx_is_acknowledged_and_ended_with_bye() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.wait(10);
    world.skip();
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    let ack = world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    assert_eq!(ack.request_uri(), b"sip:gw@198.51.100.1:5060");
    assert_eq!(ack.body_text(), "");
    assert_eq!(bye.request_uri(), b"sip:gw@198.51.100.1:5060");
    assert_eq!(bye.tag_in_to(), "gw");
    assert_eq!(bye.reasons().len(), 1);
    world.nothing_more();
    // The 2xx again: its ACK again, but no other BYE.
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at(1, "ACK").text(), ack.text());
    world.nothing_more();
    assert_eq!(world.outcome("one"), None, "the gateway still has the call");
    world.reply(1, &bye, reply(200));
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn a_2xx_that_crosses_our_cancel_is_acknowledged_and_ended_with_bye() {
    let mut world = World::with(|plan| {
        plan.every_gateway(|gateway| gateway.until_connect = true);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(180));
    world.at_caller("180");
    world.wait(120);
    let cancel = world.at(1, "CANCEL");
    let second = world.at(2, "INVITE");
    world.reply(1, &first, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    world.reply(1, &cancel, reply(481));
    world.reply(1, &bye, reply(200));
    world.nothing_more();
    world.reply(2, &second, reply(200).sdp(sdp(5002)));
    world.at(2, "ACK");
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    world.nothing_more();
}

#[test]
fn a_bye_to_an_unwanted_answer_is_resent_and_its_slot_waits_no_longer_than_its_window() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.wait(10);
    world.skip();
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    world.advance(500);
    let again = world.at(1, "BYE");
    assert_eq!(again.text(), bye.text());
    world.advance(31_499);
    assert_eq!(world.outcome("one"), None);
    world.advance(1);
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::InviteTimeout)));
}

#[test]
fn an_attempt_left_after_a_provisional_is_cancelled_and_the_next_goes_out_at_once() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(100));
    world.wait(20);
    let cancel = world.at(1, "CANCEL");
    assert_eq!(since(&world.at(2, "INVITE"), &cancel), 0);
    assert_eq!(world.outcome("one"), None);
    world.reply(1, &cancel, reply(200));
    assert_eq!(world.outcome("one"), None);
    world.reply(1, &invite, reply(487));
    world.at(1, "ACK");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::TryingTimeout)));
    // Its 487 again gets its ACK again until timer D.
    world.wait(31);
    world.skip();
    world.reply(1, &invite, reply(487));
    world.at(1, "ACK");
    world.wait(2);
    world.skip();
    world.reply(1, &invite, reply(487));
    world.nothing_more();
}

#[test]
fn a_cancel_without_any_answer_is_resent_and_given_up_after_64_t1() {
    let mut world = World::with(|plan| {
        plan.gateways(1);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(100));
    world.wait(20);
    let cancel = world.at(1, "CANCEL");
    world.at_caller("408");
    world.caller_acks(None);
    world.advance(500);
    assert_eq!(world.at(1, "CANCEL").text(), cancel.text());
    world.advance(31_499);
    assert_eq!(world.outcome("one"), None);
    world.advance(1);
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::TryingTimeout)));
    world.finish();
}

#[test]
fn a_transport_error_after_leaving_gives_the_slot_back() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(100));
    world.wait(20);
    world.skip();
    world.undeliverable(&invite);
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::TryingTimeout)));
}

#[test]
fn the_ack_of_an_unwanted_delayed_offer_declines_every_stream() {
    let mut world = World::with(|plan| plan.offer = None);
    let invite = world.at(1, "INVITE");
    world.wait(10);
    world.skip();
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    let ack = world.at(1, "ACK");
    assert!(ack.body_text().contains("m=audio 0 RTP/AVP 8"), "{}", ack.text());
    world.at(1, "BYE");
}

#[test]
fn a_response_to_another_method_or_another_branch_is_no_response_to_the_invite() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    let response = reply(486).to(&invite, invite.flow.remote);
    let text = String::from_utf8_lossy(response.raw()).into_owned();
    for changed in [
        text.replace("1 INVITE", "1 BYE"),
        text.replace("1 INVITE", "1 CANCEL"),
        text.replace(".0.1;", ".0.99;").replace(".0.1\r", ".0.99\r"),
        text.replace("z9hG4bK", "z9hG4bKother"),
    ] {
        assert_ne!(changed, text);
        world.response(parse(changed));
        world.nothing_more();
    }
    assert_eq!(world.attempted(), ["one"]);
}

#[test]
fn at_most_one_attempt_is_ever_answered() {
    // Two gateways answer at once, in either order.
    for first_to_answer in [1, 2] {
        let mut world = World::start();
        let invites = [world.at(1, "INVITE"), {
            world.wait(10);
            world.at(2, "INVITE")
        }];
        world.skip();
        let order = [first_to_answer, 3 - first_to_answer];
        for number in order {
            world.reply(number, &invites[number - 1], reply(200).sdp(sdp(5000)));
        }
        world.at_caller("200");
        world.at(2, "ACK");
        world.at(1, "ACK");
        world.at(1, "BYE");
        world.nothing_more();
    }
}

#[test]
fn a_cancelled_attempts_offer_was_the_callers() {
    let mut world = World::start();
    assert_eq!(world.at(1, "INVITE").body_text(), OFFER);
    world.wait(10);
    world.skip();
    world.wait(10);
    assert_eq!(world.at(3, "INVITE").body_text(), OFFER);
}
