//! What the caller hears while gateways are tried, and under which To tag.

use super::messages::reply;
use super::plan::sdp;
use super::world::World;
use crate::call::{Event, Stage};
use std::time::Duration;
use tandem_sip::Name;

fn free_to_switch() -> World {
    World::with(|plan| {
        plan.every_gateway(|gateway| gateway.stop_after_sdp = false);
    })
}

#[test]
fn the_caller_is_told_100_at_once_without_a_tag() {
    let world = World::start();
    let trying = &world.sent[0];
    assert_eq!((trying.what().as_str(), trying.at.0), ("100", 1_000_000));
    assert_eq!(trying.to_tag(), None);
}

#[test]
fn a_100_of_a_gateway_stays_on_its_leg() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(100));
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Setup);
}

#[test]
fn the_caller_hears_180_to_183_and_no_other_provisional() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    for status in [101, 150, 179, 184, 199] {
        world.reply(1, &invite, reply(status));
        world.nothing_more();
    }
    for status in [181, 182, 183, 180] {
        world.reply(1, &invite, reply(status));
        world.at_caller(&status.to_string());
    }
}

#[test]
fn ringing_is_told_once_with_the_post_dial_delay() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.advance(1_250);
    world.reply(1, &invite, reply(180));
    world.advance(1_000);
    world.reply(1, &invite, reply(180));
    let ringing = Event::Ringing { pdd: Duration::from_millis(1_250) };
    assert_eq!(world.events.iter().filter(|event| **event == ringing).count(), 1);
    assert_eq!(world.stage(), Stage::Ringing);
}

#[test]
fn an_18x_is_not_taken_back_by_a_switch() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(180));
    let ringing = world.at_caller("180");
    world.reply(1, &first, reply(503));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Ringing);
    world.reply(2, &second, reply(180));
    assert_eq!(world.at_caller("180").tag_in_to(), ringing.tag_in_to());
}

#[test]
fn one_to_tag_as_long_as_no_sdp_was_sent_under_it() {
    let mut world = free_to_switch();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(180));
    let tag = world.at_caller("180").tag_in_to();
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    world.reply(2, &second, reply(183).sdp(sdp(5002)));
    assert_eq!(world.at_caller("183").tag_in_to(), tag);
    world.reply(2, &second, reply(183).sdp(sdp(5002)));
    assert_eq!(world.at_caller("183").tag_in_to(), tag);
    world.reply(2, &second, reply(200).sdp(sdp(5002)));
    world.at(2, "ACK");
    assert_eq!(world.at_caller("200").tag_in_to(), tag);
}

#[test]
fn another_gateways_sdp_goes_up_under_a_new_to_tag() {
    let mut world = free_to_switch();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    assert_eq!(progress.body_text(), sdp(5000));
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    // Without SDP there is nothing to tell apart yet.
    world.reply(2, &second, reply(180));
    assert_eq!(world.at_caller("180").tag_in_to(), progress.tag_in_to());
    world.reply(2, &second, reply(183).sdp(sdp(5002)));
    let other = world.at_caller("183");
    assert_ne!(other.tag_in_to(), progress.tag_in_to());
    assert_eq!(other.body_text(), sdp(5002));
    world.reply(2, &second, reply(180));
    assert_eq!(world.at_caller("180").tag_in_to(), other.tag_in_to());
    world.reply(2, &second, reply(200).sdp(sdp(5002)));
    world.at(2, "ACK");
    assert_eq!(world.at_caller("200").tag_in_to(), other.tag_in_to());
    world.caller_acks(None);
    world.advance(1_000);
    world.nothing_more();
}

#[test]
fn an_answer_with_sdp_of_a_gateway_after_anothers_early_media_has_a_new_to_tag() {
    let mut world = free_to_switch();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(183).sdp(sdp(5000)));
    let early = world.at_caller("183").tag_in_to();
    world.reply(1, &first, reply(480));
    world.at(1, "ACK");
    let second = world.at(2, "INVITE");
    world.reply(2, &second, reply(200).sdp(sdp(5002)));
    world.at(2, "ACK");
    let answer = world.at_caller("200");
    assert_ne!(answer.tag_in_to(), early);
    // The dialog is the one with the answer's tag.
    world.caller_acks(None);
    world.advance(600);
    world.nothing_more();
    world.caller_sends("BYE");
    world.at(2, "BYE");
    world.at_caller("200");
    world.nothing_more();
}

#[test]
fn each_fork_that_sends_sdp_has_a_to_tag_of_its_own() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).tag("a").sdp(sdp(5000)));
    let first = world.at_caller("183").tag_in_to();
    world.reply(1, &invite, reply(183).tag("b").sdp(sdp(5002)));
    let second = world.at_caller("183").tag_in_to();
    assert_ne!(first, second);
    world.reply(1, &invite, reply(200).tag("b").sdp(sdp(5002)));
    let ack = world.at(1, "ACK");
    assert_eq!(ack.tag_in_to(), "b");
    assert_eq!(world.at_caller("200").tag_in_to(), second);
}

#[test]
fn a_fork_keeps_its_to_tag_while_others_speak() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    let mut hear = |tag: &str| {
        world.reply(1, &invite, reply(183).tag(tag).sdp(sdp(5000)));
        world.at_caller("183")
    };
    let (a, b) = (hear("a"), hear("b"));
    assert!(a.after.is_some() && b.after.is_some());
    for _ in 0..3 {
        for (tag, first) in [("a", &a), ("b", &b)] {
            let again = hear(tag);
            assert_eq!(again.tag_in_to(), first.tag_in_to());
            // No further commit; but it does not overtake the last one either.
            assert_eq!(again.after, b.after);
        }
    }
    world.reply(1, &invite, reply(180).tag("a"));
    assert_eq!(world.at_caller("180").tag_in_to(), a.tag_in_to());
    world.reply(1, &invite, reply(200).tag("b").sdp(sdp(5000)));
    world.at(1, "ACK");
    assert_eq!(world.at_caller("200").tag_in_to(), b.tag_in_to());
    world.caller_sends("BYE");
    world.at_caller("200");
}

#[test]
fn early_dialogs_without_end_are_told_apart_all_the_same() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    let mut tags = std::collections::BTreeSet::new();
    for fork in 0..40 {
        let tag = format!("fork{fork}");
        world.reply(1, &invite, reply(183).tag(&tag).sdp(sdp(5000)));
        tags.insert(world.at_caller("183").tag_in_to());
    }
    assert_eq!(tags.len(), 40);
    assert!(world.commits.last().is_some_and(|(_, size)| *size < 2_048));
}

#[test]
fn sdp_of_a_provisional_stands_in_the_answer_that_has_none() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).tag("a").sdp(sdp(5000)));
    world.at_caller("183");
    world.reply(1, &invite, reply(200).tag("a"));
    world.at(1, "ACK");
    assert_eq!(world.at_caller("200").body_text(), sdp(5000));
}

#[test]
fn headers_of_a_gateway_reach_the_caller_as_its_pass_list_says() {
    let mut world = World::with(|plan| {
        plan.candidates[0].pass_headers = ["X-Vendor".to_owned(), "x-other".to_owned()].into()
    });
    let invite = world.at(1, "INVITE");
    let with = |status| {
        let lines = ["X-Vendor: a", "X-Secret: b", "X-Other: c", "X-Vendor: d"];
        lines.iter().fold(reply(status), |reply, line| reply.line(line))
    };
    world.reply(1, &invite, with(180));
    world.reply(1, &invite, with(200).sdp(sdp(5000)));
    for status in ["180", "200"] {
        let got = world.at_caller(status);
        let values =
            |name: &str| got.named(name.as_bytes()).map(|field| field.value.to_vec()).collect::<Vec<_>>();
        assert_eq!(values("X-Vendor"), [b"a", b"d"], "{}", got.text());
        assert_eq!(values("X-Other"), [b"c"]);
        assert!(values("X-Secret").is_empty());
    }
}

#[test]
fn max_forwards_is_the_callers_minus_one() {
    for (received, sent) in [(Some(70), "69"), (Some(1), "0"), (Some(255), "254"), (None, "70")] {
        let mut world = World::with(|plan| plan.max_forwards = received);
        assert_eq!(world.at(1, "INVITE").value(Name::MaxForwards), sent);
    }
}

#[test]
fn headers_of_the_caller_reach_every_gateway_as_its_pass_list_says() {
    let mut world = World::with(|plan| {
        plan.pass_headers = vec!["X-Account".to_owned(), "Diversion".to_owned()];
        plan.invite_lines =
            "X-Account: 7\r\nDiversion: <sip:1@a.example>\r\nDiversion: <sip:2@a.example>\r\n\
            X-Secret: no\r\nUser-Agent: phone\r\n"
                .to_owned();
    });
    for number in [1, 2] {
        let invite = world.at(number, "INVITE");
        assert_eq!(invite.named(b"X-Account").count(), 1, "{}", invite.text());
        assert_eq!(invite.named(b"Diversion").count(), 2, "{}", invite.text());
        assert_eq!(invite.named(b"X-Secret").count() + invite.named(b"User-Agent").count(), 0);
        world.reply(number, &invite, reply(503));
    }
}

#[test]
fn headers_of_the_look_up_reach_every_gateway() {
    let mut world = World::with(|plan| {
        plan.looked_headers = vec![
            ("X-Signed".to_owned(), "yes".to_owned()),
            ("X-Carrier".to_owned(), "a\r\nX-Injected: b".to_owned()),
        ];
    });
    let invite = world.at(1, "INVITE");
    assert_eq!(invite.named(b"X-Signed").count(), 1, "{}", invite.text());
    assert_eq!(invite.named(b"X-Carrier").count(), 1, "{}", invite.text());
    assert_eq!(invite.named(b"X-Injected").count(), 0, "{}", invite.text());
}
