//! The caller's leg: what is sent reliably, and what waits for its PRACK.

use super::super::messages::reply;
use super::super::plan::{OFFER, sdp};
use super::super::world::{World, since};
use super::{altered, prack_for, prack_with, reliable, requiring, rseq, supporting};
use crate::call::Stage;
use crate::cdr::EndReason;
use crate::parameters::ReliableProvisionals;
use tandem_sip::Name;
use tandem_sip::flow::Transport;

#[test]
fn a_description_goes_reliably_to_a_caller_that_supports_100rel() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    let ringing = world.at_caller("180");
    assert_eq!((rseq(&ringing), ringing.after), (0, None));
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    assert_eq!((rseq(&progress), progress.after), (1, Some(2)));
    assert_eq!(progress.body_text(), sdp(5000));
    assert!(progress.has_token(Name::Allow, "PRACK"), "{}", progress.text());
    world.caller_pracks(&progress);
    world.wait(10);
    world.nothing_more();
}

#[test]
fn all_go_reliably_to_a_caller_that_requires_100rel_but_100() {
    for required in [false, true] {
        let mut world = World::with(|plan| {
            if required {
                supporting(plan);
                plan.parameters.reliable_provisionals = ReliableProvisionals::Required;
            } else {
                requiring(plan);
            }
        });
        assert_eq!(rseq(&world.sent[0]), 0);
        let invite = world.at(1, "INVITE");
        for (number, status) in [180, 181, 182, 183].into_iter().enumerate() {
            world.reply(1, &invite, reply(status));
            let ringing = world.at_caller(&status.to_string());
            assert_eq!(rseq(&ringing), 1 + number as u32);
            world.caller_pracks(&ringing);
        }
    }
}

#[test]
fn nothing_goes_reliably_unless_both_sides_have_100rel() {
    for prepare in [
        |plan: &mut super::Plan| supporting_but(plan, ReliableProvisionals::Off, "Supported: 100rel\r\n"),
        |plan: &mut super::Plan| supporting_but(plan, ReliableProvisionals::Supported, ""),
    ] {
        let mut world = World::with(prepare);
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(183).sdp(sdp(5000)));
        assert_eq!(rseq(&world.at_caller("183")), 0);
        world.wait(10);
        world.nothing_more();
    }
}

fn supporting_but(plan: &mut super::Plan, parameter: ReliableProvisionals, lines: &str) {
    plan.parameters.reliable_provisionals = parameter;
    plan.invite_lines = lines.to_owned();
}

#[test]
fn rfc_3262_3_it_is_resent_at_t1_doubling_over_any_transport() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut world = World::with(|plan| {
            supporting(plan);
            plan.caller_transport = transport;
        });
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(183).sdp(sdp(5000)));
        let first = world.at_caller("183");
        for elapsed in [500, 1_500, 3_500, 7_500, 15_500] {
            let at = first.at.0 + elapsed - world.now.mono.0;
            world.advance(at);
            let again = world.at_caller("183");
            assert_eq!((again.text(), since(&again, &first)), (first.text(), elapsed));
            assert_eq!(again.after, first.after);
            world.nothing_more();
        }
        world.caller_pracks(&first);
        world.advance(3_000);
        world.nothing_more();
    }
}

#[test]
fn rfc_3262_3_without_prack_for_64_t1_the_caller_gets_504() {
    let mut world = World::with(|plan| {
        supporting(plan);
        plan.parameters.session_progress_timeout = std::time::Duration::from_secs(60);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.advance(31_999);
    world.skip();
    assert_eq!(world.stage(), Stage::Ringing);
    world.advance(1);
    let failure = world.at_caller("504");
    assert_eq!(failure.reasons(), ["SIP 504 no PRACK"]);
    world.caller_acks(None);
    let cancel = world.at(1, "CANCEL");
    world.reply(1, &cancel, reply(200));
    world.reply(1, &invite, reply(487));
    world.at(1, "ACK");
    world.nothing_more();
    let record = world.finish();
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&"protocol error".into(), &"server".into()));
    assert_eq!(record["sip_status"], 504);
}

#[test]
fn rfc_3262_3_a_second_one_waits_for_the_prack_of_the_first() {
    let mut world = World::with(requiring);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    let first = world.at_caller("180");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    // What says nothing new is not sent besides.
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    world.nothing_more();
    world.caller_pracks(&first);
    let second = world.at_caller("183");
    assert_eq!((rseq(&first), rseq(&second)), (1, 2));
    assert_eq!(second.body_text(), sdp(5000));
    assert!(second.after > first.after);
    world.caller_pracks(&second);
    world.wait(10);
    world.nothing_more();
}

#[test]
fn a_prack_that_matches_nothing_is_481_and_acknowledges_nothing() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    let table = [
        ("RAck: 2 7 INVITE\r\n", "481"),
        ("RAck: 0 7 INVITE\r\n", "481"),
        ("RAck: 1 8 INVITE\r\n", "481"),
        ("RAck: 1 7 UPDATE\r\n", "481"),
        ("RAck: 1 7 FROBNICATE\r\n", "481"),
        ("", "400"),
    ];
    for (lines, status) in table {
        let prack = prack_with(&mut world, &progress, lines, None);
        world.request(prack, world.plan.caller_address);
        world.at_caller(status);
    }
    let right = prack_for(&mut world, &progress, None);
    let ours = progress.tag_in_to();
    for (from, to) in
        [("tag=alice", "tag=mallory"), (ours.as_str(), "elsewhere"), ("caller-call-id", "another")]
    {
        let prack = altered(&altered(&right, "branch=z9hG4bK", "branch=z9hG4bKx"), from, to);
        world.request(prack, world.plan.caller_address);
        world.at_caller("481");
    }
    world.advance(500);
    world.at_caller("183");
    world.request(right, world.plan.caller_address);
    world.at_caller("200");
    world.advance(1_500);
    world.nothing_more();
}

#[test]
fn a_copy_of_a_prack_gets_its_answer_again_and_another_is_481() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    let prack = prack_for(&mut world, &progress, None);
    for _ in 0..3 {
        world.request(prack.clone(), world.plan.caller_address);
        world.at_caller("200");
    }
    let another = prack_for(&mut world, &progress, None);
    world.request(another, world.plan.caller_address);
    world.at_caller("481");
    world.nothing_more();
}

#[test]
fn a_commit_goes_before_the_answer_to_a_prack() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    let prack = prack_for(&mut world, &progress, None);
    world.request(prack, world.plan.caller_address);
    assert_eq!((progress.after, world.at_caller("200").after), (Some(2), Some(3)));
}

#[test]
fn rfc_3262_3_a_2xx_waits_for_the_prack_of_a_description() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    for _ in 0..2 {
        world.reply(1, &invite, reply(200).sdp(sdp(5000)));
        world.nothing_more();
    }
    // Neither does anything else happen to a gateway that has answered.
    world.reply(1, &invite, reply(486));
    world.reply(1, &invite, reply(180));
    world.nothing_more();
    world.advance(499);
    assert_eq!(world.stage(), Stage::Ringing);
    world.caller_pracks(&progress);
    world.at(1, "ACK");
    let answer = world.at_caller("200");
    assert_eq!((answer.tag_in_to(), answer.body_text()), (progress.tag_in_to(), sdp(5000)));
    world.caller_acks(None);
    world.advance(600);
    world.nothing_more();
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    assert_eq!(world.finish()["end_reason"], "normal");
}

#[test]
fn a_2xx_does_not_wait_for_the_prack_of_mere_ringing() {
    let mut world = World::with(requiring);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    let ringing = world.at_caller("180");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    // No more of it is sent; its PRACK is taken all the same.
    world.advance(2_000);
    world.nothing_more();
    world.caller_pracks(&ringing);
    world.caller_sends("BYE");
    world.at_caller("200");
}

#[test]
fn rfc_3262_3_a_failure_waits_for_nothing_and_ends_the_resends() {
    let mut world = World::with(|plan| {
        supporting(plan);
        plan.gateways(1);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.reply(1, &invite, reply(480));
    world.at(1, "ACK");
    world.at_caller("480");
    world.caller_acks(None);
    world.advance(2_000);
    world.nothing_more();
    world.caller_pracks(&progress);
    let another = prack_for(&mut world, &progress, None);
    world.request(another, world.plan.caller_address);
    world.at_caller("481");
    world.finish();
}

#[test]
fn a_cancel_does_not_wait_for_a_prack() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    world.caller_acks(None);
    world.at(1, "CANCEL");
    world.reply(1, &invite, reply(487));
    world.at(1, "ACK");
    world.caller_pracks(&progress);
    world.skip();
    world.advance(4_000);
    assert!(!world.sent.iter().skip(1).any(|got| got.what() == "183" && got.at > progress.at));
    assert_eq!(world.finish()["end_reason"], "cancelled");
}

/// Answered with the 2xx held back, as the caller has not acknowledged the 183.
fn held() -> (World, super::Got, super::Got) {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.nothing_more();
    (world, invite, progress)
}

#[test]
fn an_answer_that_waits_for_a_prack_is_ended_if_the_caller_gives_up() {
    for method in ["CANCEL", "BYE"] {
        let (mut world, invite, _) = held();
        if method == "CANCEL" {
            world.caller_cancels("");
        } else {
            world.caller_sends("BYE");
        }
        world.at_caller("200");
        world.at_caller("487");
        world.at(1, "ACK");
        let bye = world.at(1, "BYE");
        world.reply(1, &bye, reply(200));
        // Its copy gets the ACK again.
        world.reply(1, &invite, reply(200).sdp(sdp(5000)));
        world.at(1, "ACK");
        assert_eq!(world.finish()["end_reason"], "cancelled");
    }
}

#[test]
fn an_answer_that_waits_for_a_prack_is_ended_if_none_comes() {
    let (mut world, _, progress) = held();
    world.advance(31_999);
    world.skip();
    world.advance(1);
    world.at_caller("504");
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    world.caller_acks(None);
    world.caller_pracks_too_late(&progress);
    assert_eq!(world.finish()["end_reason"], "protocol error");
}

impl World {
    fn caller_pracks_too_late(&mut self, response: &super::Got) {
        let prack = prack_for(self, response, None);
        self.request(prack, self.plan.caller_address);
        self.at_caller("200");
    }
}

#[test]
fn an_answer_that_waits_for_a_prack_is_ended_by_the_operator_too() {
    let (mut world, _, _) = held();
    world.hang_up(EndReason::Admin);
    world.at_caller("480");
    world.at(1, "ACK");
    world.at(1, "BYE");
    world.finish();
}

#[test]
fn a_callee_may_hang_up_while_its_answer_waits_for_a_prack() {
    let (mut world, invite, progress) = held();
    let mut callee = world.callee(&invite, "gw");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    world.at_caller("480");
    world.caller_acks(None);
    world.caller_pracks(&progress);
    world.nothing_more();
    let record = world.finish();
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&"rejected".into(), &"callee".into()));
}

#[test]
fn an_answer_waits_for_what_was_sent_and_no_further_ringing() {
    let mut world = World::with(requiring);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    world.reply(1, &invite, reply(180).sdp(sdp(5000)));
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.nothing_more();
    world.caller_pracks(&progress);
    world.at(1, "ACK");
    world.at_caller("200");
    world.nothing_more();
}

#[test]
fn one_fork_is_connected_though_the_answer_waits() {
    let (mut world, invite, progress) = held();
    world.reply(1, &invite, reply(200).tag("other").sdp(sdp(5002)));
    assert_eq!(world.at(1, "ACK").tag_in_to(), "other");
    assert_eq!(world.at(1, "BYE").tag_in_to(), "other");
    world.nothing_more();
    world.caller_pracks(&progress);
    assert_eq!(world.at(1, "ACK").tag_in_to(), "gw");
    world.at_caller("200");
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn an_offer_in_a_prack_is_488_and_the_session_stays_as_it_is() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let progress = world.at_caller("183");
    let prack = prack_for(&mut world, &progress, Some(OFFER));
    world.request(prack, world.plan.caller_address);
    world.at_caller("488");
    // It is acknowledged.
    world.advance(5_000);
    world.nothing_more();
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    assert_eq!(world.at_caller("200").body_text(), sdp(5000));
}

#[test]
fn another_description_of_the_gateway_goes_up_under_another_tag() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let first = world.at_caller("183");
    world.caller_pracks(&first);
    // The caller has its answer, and would leave another aside under the same tag.
    world.reply(1, &invite, reply(183).sdp(sdp(5002)));
    let second = world.at_caller("183");
    assert_ne!(second.tag_in_to(), first.tag_in_to());
    world.caller_pracks(&second);
    world.reply(1, &invite, reply(200).sdp(sdp(5004)));
    world.at(1, "ACK");
    let answer = world.at_caller("200");
    assert!(![first.tag_in_to(), second.tag_in_to()].contains(&answer.tag_in_to()));
    assert_eq!(answer.body_text(), sdp(5004));
}

#[test]
fn the_same_description_again_goes_up_under_the_same_tag() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    for number in 1..=3 {
        world.reply(1, &invite, reply(183).sdp(sdp(5000)));
        let progress = world.at_caller("183");
        assert_eq!((rseq(&progress), progress.tag_in_to()), (number, world.sent[2].tag_in_to()));
        world.caller_pracks(&progress);
    }
    world.reply(1, &invite, reply(200));
    world.at(1, "ACK");
    let answer = world.at_caller("200");
    assert_eq!((answer.tag_in_to(), answer.body_text()), (world.sent[2].tag_in_to(), sdp(5000)));
}

#[test]
fn forks_without_end_that_nobody_acknowledges_are_bounded() {
    let mut world = World::with(supporting);
    let invite = world.at(1, "INVITE");
    for fork in 0..100 {
        world.reply(1, &invite, reply(183).tag(&format!("fork{fork}")).sdp(sdp(5000)));
        world.at_caller("183");
    }
    world.skip();
    world.advance(500);
    assert_eq!(world.sent.iter().filter(|got| got.at == world.now.mono).count(), 8);
    assert!(world.commits.last().is_some_and(|(_, size)| *size < 8_192), "{:?}", world.commits.last());
}

#[test]
fn a_typical_snapshot_fits_while_a_prack_is_awaited() {
    let mut world = World::with(super::on_both_legs);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reliable(183, 1).sdp(sdp(5000)));
    let size = world.commits.last().expect("a commit").1;
    assert!(size < 2_048, "{size}");
}
