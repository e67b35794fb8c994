//! Messages that cross on their way (RFC 5407), and answers that would come too late (RFC 4320).

use super::messages::{parse, reply};
use super::plan::sdp;
use super::world::World;
use crate::cdr::EndReason;

fn only_gateway() -> World {
    World::with(|plan| {
        plan.gateways(1);
    })
}

/// RFC 5407 §3.1.1.
#[test]
fn a_copy_of_the_invite_that_crosses_the_200_is_absorbed() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_repeats_invite();
    world.nothing_more();
}

/// RFC 5407 §3.1.2.
#[test]
fn a_cancel_that_crosses_the_200_is_answered_and_the_call_stands() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_cancels("");
    world.at_caller("200");
    world.caller_acks(None);
    world.nothing_more();
    world.caller_sends("BYE");
    world.at_caller("200");
    world.at(1, "BYE");
}

/// RFC 5407 §3.1.3, §3.1.5.
#[test]
fn a_bye_that_crosses_the_200_or_outruns_its_ack_ends_the_call() {
    let mut world = World::start();
    world.answered_by(1);
    world.caller_sends("BYE");
    world.at_caller("200");
    world.at(1, "BYE");
    // The ACK that was overtaken.
    world.caller_acks(None);
    world.wait(40);
    assert_eq!(world.releases().len(), 1);
}

/// RFC 5407 §3.2.1.
#[test]
fn byes_of_both_parties_that_cross_are_both_answered() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    world.caller_acks(None);
    let mut callee = world.callee(&invite, "gw");
    world.caller_sends("BYE");
    world.at_caller("200");
    let ours = world.at(1, "BYE");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    world.reply(1, &ours, reply(200));
    world.finish();
}

/// RFC 5407 §3.2.2, §3.2.3.
#[test]
fn an_offer_that_crosses_our_bye_is_481() {
    let mut world = World::start();
    world.answered_by(1);
    world.caller_acks(None);
    world.hang_up(EndReason::Admin);
    let bye = world.at_caller("BYE");
    world.caller_sends("INVITE");
    world.at_caller("481");
    world.caller_replies(&bye, reply(200));
    assert_eq!(world.releases().len(), 1);
}

/// RFC 5407 §3.3.1: the final response crosses the CANCEL of the party that waits for it.
#[test]
fn a_failure_that_crosses_the_callers_cancel_is_the_only_final_response() {
    let mut world = only_gateway();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(486));
    world.at(1, "ACK");
    world.at_caller("486");
    world.caller_cancels("");
    world.at_caller("200");
    world.nothing_more();
    world.caller_acks(None);
    world.finish();
}

#[test]
fn a_failure_that_crosses_our_cancel_is_acknowledged_and_the_caller_hears_487() {
    let mut world = only_gateway();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    let cancel = world.at(1, "CANCEL");
    world.reply(1, &invite, reply(486));
    world.at(1, "ACK");
    world.reply(1, &cancel, reply(481));
    world.nothing_more();
    world.caller_acks(None);
    world.finish();
}

/// RFC 4320 §4.1, §4.2: no provisional response to anything but INVITE, and no 408 when it is too late for an answer.
#[test]
fn requests_other_than_invite_get_one_final_response_at_once_and_never_408() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    world.caller_acks(None);
    for method in ["OPTIONS", "SUBSCRIBE", "JUGGLE"] {
        let before = world.sent.len();
        world.caller_sends(method);
        let answers: Vec<_> = world.sent[before..].iter().filter(|got| !got.is_request()).collect();
        assert_eq!(answers.len(), 1, "{method}");
        assert!(answers[0].status().is_some_and(|status| status.is_final()), "{method}");
    }
    // The callee never answers the BYE: the caller has had its 200, and hears no more of it.
    world.caller_sends("BYE");
    world.skip();
    world.wait(60);
    let late = world.sent.iter().filter(|got| got.status().is_some_and(|status| status.code() == 408));
    assert_eq!(late.count(), 0);
    assert!(!invite.raw().is_empty());
}

/// RFC 4320 §4.2, as the one who asks: whatever is said of a BYE after its time changes nothing.
#[test]
fn a_late_408_to_a_bye_of_ours_ends_nothing_twice() {
    let mut world = World::start();
    world.answered_by(1);
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.wait(33);
    world.response(parse(reply(408).to(&bye, bye.flow.remote).raw().to_vec()));
    assert_eq!(world.releases().len(), 1);
    world.finish();
}
