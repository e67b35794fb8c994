//! A gateway's leg: what it is offered, and the PRACKs that its reliable responses get.

use super::super::messages::reply;
use super::super::plan::{Plan, sdp};
use super::super::world::{World, since};
use super::{offering, on_both_legs, reliable, rseq};
use crate::parameters::ReliableProvisionals::{self, Off, Required, Supported};
use tandem_sip::Name;

#[test]
fn ss_sip_100rel_says_what_an_invite_offers() {
    let table: [(ReliableProvisionals, &str, &str); 3] =
        [(Off, "", ""), (Supported, "100rel", ""), (Required, "", "100rel")];
    for (parameter, supported, required) in table {
        let mut world = World::with(|plan| {
            plan.gateway(1, |gateway| gateway.reliable_provisionals = parameter);
        });
        let invite = world.at(1, "INVITE");
        assert_eq!(invite.has_token(Name::Supported, "100rel"), !supported.is_empty(), "{parameter:?}");
        assert_eq!(invite.has_token(Name::Require, "100rel"), !required.is_empty(), "{parameter:?}");
        assert!(invite.has_token(Name::Allow, "PRACK"));
        let lines = invite.fields().filter(|field| field.name == Name::Supported).count();
        assert_eq!(lines, 1, "timer and 100rel are one list\n{}", invite.text());
    }
}

#[test]
fn a_reliable_response_gets_its_prack_in_its_early_dialog_after_a_commit() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    let response = reliable(183, 988_789)
        .sdp(sdp(5000))
        .contact("<sip:gw@198.51.100.77:5080>")
        .line("Record-Route: <sip:198.51.100.88;lr>");
    world.reply(1, &invite, response);
    assert_eq!(world.at_caller("183").body_text(), sdp(5000));
    let prack = world.sent.last().expect("a PRACK").clone();
    assert_eq!(prack.what(), "PRACK");
    assert_eq!(prack.value(Name::RAck), "988789 1 INVITE");
    assert_eq!(prack.request_uri(), b"sip:gw@198.51.100.77:5080");
    assert_eq!(prack.value(Name::Route), "<sip:198.51.100.88;lr>");
    assert_eq!(prack.flow.remote.to_string(), "198.51.100.88:5060");
    assert_eq!((prack.tag_in_to(), prack.cseq_number()), ("gw".to_owned(), 2));
    assert_eq!(prack.call_id(), invite.call_id());
    assert_eq!(prack.after, Some(2));
    assert!(prack.body().is_empty());
}

#[test]
fn a_prack_is_resent_until_it_is_answered() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 1));
    world.at_caller("180");
    let prack = world.at(1, "PRACK");
    for elapsed in [500, 1_500, 3_500] {
        let wait = prack.at.0 + elapsed - world.now.mono.0;
        world.advance(wait);
        let again = world.at(1, "PRACK");
        assert_eq!((again.text(), since(&again, &prack)), (prack.text(), elapsed));
        assert_eq!(again.after, prack.after);
    }
    world.reply(1, &prack, reply(200));
    world.advance(10_000);
    world.nothing_more();
}

#[test]
fn a_copy_is_acknowledged_by_the_prack_that_is_under_way() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    for _ in 0..3 {
        world.reply(1, &invite, reliable(180, 7));
    }
    world.at_caller("180");
    world.pracked(1, 7);
    world.reply(1, &invite, reliable(180, 7));
    world.nothing_more();
}

#[test]
fn rfc_3262_4_what_comes_out_of_order_is_neither_acknowledged_nor_heard() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 7));
    world.at_caller("180");
    world.pracked(1, 7);
    world.reply(1, &invite, reliable(183, 9).sdp(sdp(5000)));
    world.reply(1, &invite, reliable(182, 6));
    world.nothing_more();
    world.reply(1, &invite, reliable(181, 8));
    world.at_caller("181");
    world.pracked(1, 8);
    world.reply(1, &invite, reliable(183, 9).sdp(sdp(5000)));
    assert_eq!(world.at_caller("183").body_text(), sdp(5000));
    world.pracked(1, 9);
}

#[test]
fn each_fork_counts_on_its_own() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    for (tag, rseq) in [("a", 1), ("b", 1), ("a", 2), ("b", 2)] {
        world.reply(1, &invite, reliable(183, rseq).tag(tag).sdp(sdp(5000)));
        world.at_caller("183");
        let prack = world.pracked(1, rseq);
        assert_eq!((prack.tag_in_to().as_str(), prack.cseq_number()), (tag, 1 + rseq));
    }
}

#[test]
fn a_second_prack_does_not_wait_for_the_answer_to_the_first() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 1));
    world.reply(1, &invite, reliable(183, 2));
    world.at_caller("180");
    world.at_caller("183");
    let pracks = [world.at(1, "PRACK"), world.at(1, "PRACK")];
    assert_eq!(pracks.each_ref().map(|prack| prack.cseq_number()), [2, 3]);
    world.advance(500);
    // Both are resent, each until it is answered.
    for prack in &pracks {
        assert_eq!(world.at(1, "PRACK").text(), prack.text());
        world.reply(1, prack, reply(200));
    }
    world.advance(5_000);
    world.nothing_more();
}

#[test]
fn a_gateway_that_was_not_offered_100rel_gets_no_prack() {
    let mut world = World::with(|_| {});
    let invite = world.at(1, "INVITE");
    for _ in 0..2 {
        world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
        let progress = world.at_caller("183");
        assert_eq!(rseq(&progress), 0);
        world.nothing_more();
    }
}

#[test]
fn what_lacks_rseq_or_require_is_a_plain_response() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    for line in ["Require: 100rel", "RSeq: 1", "Require: timer"] {
        world.reply(1, &invite, reply(180).line(line));
        world.at_caller("180");
        world.nothing_more();
    }
    // 100 is of the hop, not of the dialog (RFC 3262 §4).
    world.reply(1, &invite, reliable(100, 1));
    world.nothing_more();
}

#[test]
fn a_response_that_the_caller_does_not_hear_gets_its_prack_too() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(199, 1));
    assert_eq!(world.pracked(1, 1).after, Some(2));
    world.nothing_more();
}

#[test]
fn a_gateway_without_the_100rel_that_is_required_is_passed_over() {
    let requiring = |plan: &mut Plan| {
        plan.gateways(2).every_gateway(|gateway| gateway.reliable_provisionals = Required);
    };
    let mut world = World::with(requiring);
    for number in [1, 2] {
        let invite = world.at(number, "INVITE");
        world.reply(number, &invite, reply(420).line("Unsupported: 100rel"));
        world.at(number, "ACK");
    }
    // What is asked of us says nothing to the caller.
    let failure = world.at_caller("500");
    assert!(failure.first(Name::Unsupported).is_none());
}

#[test]
fn a_gateway_that_requires_100rel_which_is_off_is_passed_over() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(421).line("Require: 100rel"));
    world.at(1, "ACK");
    world.at(2, "INVITE");
}

#[test]
fn requests_after_the_answer_count_on_behind_the_pracks() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    for rseq in 1..=3 {
        world.reply(1, &invite, reliable(180, rseq));
        world.at_caller("180");
        world.pracked(1, rseq);
    }
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at(1, "ACK").cseq_number(), 1);
    world.at_caller("200");
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.at_caller("200");
    assert_eq!(world.at(1, "BYE").cseq_number(), 5);
}

#[test]
fn a_prack_that_crosses_the_2xx_is_still_resent() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 1));
    world.at_caller("180");
    let prack = world.at(1, "PRACK");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.advance(500);
    assert_eq!(world.at(1, "PRACK").text(), prack.text());
    world.reply(1, &prack, reply(200));
    world.advance(5_000);
    world.nothing_more();
}

#[test]
fn a_prack_is_not_resent_to_a_gateway_that_was_left() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 1));
    world.at_caller("180");
    let prack = world.at(1, "PRACK");
    world.reply(1, &invite, reply(480));
    world.at(1, "ACK");
    world.at(2, "INVITE");
    world.advance(400);
    world.nothing_more();
    world.reply(1, &prack, reply(481));
    world.nothing_more();
}

#[test]
fn the_bye_of_an_answer_that_comes_too_late_counts_on_behind_the_pracks() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 1));
    world.at_caller("180");
    world.pracked(1, 1);
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    world.at(1, "CANCEL");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at(1, "ACK").cseq_number(), 1);
    assert_eq!(world.at(1, "BYE").cseq_number(), 3);
}

#[test]
fn a_prack_that_cannot_be_delivered_ends_nothing() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(180, 1));
    world.at_caller("180");
    let prack = world.at(1, "PRACK");
    world.undeliverable(&prack);
    world.advance(5_000);
    world.nothing_more();
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
}

#[test]
fn an_answer_without_description_has_the_one_of_the_reliable_response() {
    let mut world = World::with(on_both_legs);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.pracked(1, 1);
    world.caller_pracks(&progress);
    world.reply(1, &invite, reply(200));
    world.at(1, "ACK");
    let answer = world.at_caller("200");
    assert_eq!((answer.tag_in_to(), answer.body_text()), (progress.tag_in_to(), sdp(5000)));
}

#[test]
fn forks_beyond_the_limit_are_neither_acknowledged_nor_heard() {
    let mut world = World::with(offering);
    let invite = world.at(1, "INVITE");
    for fork in 0..20 {
        world.reply(1, &invite, reliable(180, 1).tag(&format!("fork{fork}")));
    }
    assert_eq!(world.sent.iter().filter(|got| got.what() == "PRACK").count(), 8);
    assert_eq!(world.sent.iter().filter(|got| got.what() == "180").count(), 8);
}
