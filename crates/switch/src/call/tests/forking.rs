//! Calls to endpoints that have registered at several places (RFC 3261 §16.6, §16.7).

use super::messages::{Got, reply};
use super::plan::{OFFER, Plan, sdp};
use super::reliable::{offering, reliable};
use super::world::World;
use crate::call::{Reach, Stage};
use crate::parameters::ReliableProvisionals;
use serde_json::Value;
use tandem_sip::flow::Transport;
use tandem_sip::{Message, Name};

/// A call to an endpoint with bindings at these addresses, and no gateway behind it.
fn called(at: &[(usize, u16)]) -> World {
    world_with(at, |_| {})
}

fn world_with(at: &[(usize, u16)], change: impl FnOnce(&mut Plan)) -> World {
    World::with(|plan| {
        plan.gateways(1).endpoint(1, at);
        change(plan);
    })
}

/// Two bindings of equal preference, both ringing.
fn two_ring(change: impl FnOnce(&mut Plan)) -> (World, Got, Got) {
    let mut world = world_with(&[(1, 1000), (2, 1000)], change);
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(1, &one, reply(180).tag("one"));
    world.at_caller("180");
    world.reply(2, &two, reply(180).tag("two"));
    world.at_caller("180");
    (world, one, two)
}

/// A binding's INVITE is cancelled.
fn cancelled(world: &mut World, number: usize, invite: &Message) -> Got {
    let cancel = world.at(number, "CANCEL");
    world.reply(number, &cancel, reply(200));
    world.reply(number, invite, reply(487));
    world.at(number, "ACK");
    cancel
}

/// Both have ended the call after the caller's BYE.
fn hung_up(world: &mut World, number: usize) -> Value {
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(number, "BYE");
    world.reply(number, &bye, reply(200));
    world.nothing_more();
    world.finish()
}

#[test]
fn bindings_of_equal_preference_ring_at_once_and_the_first_answer_wins() {
    let (mut world, one, two) = two_ring(|_| {});
    assert_eq!((one.after, two.after), (Some(1), Some(1)), "one commit for all branches");
    assert_eq!(one.request_uri(), b"sip:bob@10.0.0.1;line=1", "the Contact as registered");
    assert_eq!(two.request_uri(), b"sip:bob@10.0.0.2;line=2");
    assert_eq!(one.value(Name::To), "<sip:bob@switch.example>");
    assert_ne!(one.call_id(), two.call_id());
    world.reply(2, &two, reply(200).tag("two").sdp(sdp(5002)));
    let cancel = cancelled(&mut world, 1, &one);
    assert_eq!(cancel.reasons(), ["SIP 200 Call completed elsewhere"]);
    world.at(2, "ACK");
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    let record = hung_up(&mut world, 2);
    let attempts = record["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 1, "one attempt, however many branches");
    assert_eq!(attempts[0]["contact"], "sip:bob@10.0.0.2;line=2");
    assert_eq!((&attempts[0]["gateway"], &attempts[0]["outcome"]), (&"endpoints".into(), &"answered".into()));
    assert_eq!(record["callee_call_id"].as_str().map(str::as_bytes), two.call_id());
    assert!(world.released.is_empty(), "endpoints have no slots");
}

#[test]
fn bindings_of_lower_preference_are_called_when_the_others_have_failed() {
    let mut world = called(&[(3, 200), (1, 900), (2, 900)]);
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(1, &one, reply(486));
    world.at(1, "ACK");
    world.nothing_more();
    world.reply(2, &two, reply(480));
    world.at(2, "ACK");
    let three = world.at(3, "INVITE");
    assert_eq!(three.call_id().map(<[u8]>::len), one.call_id().map(<[u8]>::len));
    world.reply(3, &three, reply(200).sdp(sdp(5003)));
    world.at(3, "ACK");
    world.at_caller("200");
    let record = hung_up(&mut world, 3);
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_6xx_cancels_the_other_branches_at_once_and_no_more_are_begun() {
    let mut world = called(&[(1, 1000), (2, 1000), (3, 500)]);
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(1, &one, reply(180));
    world.at_caller("180");
    world.reply(2, &two, reply(603));
    world.at(2, "ACK");
    cancelled(&mut world, 1, &one);
    world.at_caller("603");
    world.caller_acks(None);
    world.nothing_more();
    world.finish();
}

#[test]
fn the_best_failure_of_all_branches_reaches_the_caller() {
    let cases = [
        ([486, 480], "486"),
        ([480, 486], "480"),
        ([503, 486], "486"),
        ([408, 486], "486"),
        ([302, 480], "480"),
        ([401, 404], "404"),
        ([486, 484], "484"),
        ([500, 415], "415"),
        ([503, 503], "500"),
        ([504, 501], "504"),
        ([486, 600], "600"),
    ];
    for (statuses, expected) in cases {
        let mut world = called(&[(1, 1000), (2, 1000)]);
        for (number, status) in (1..).zip(statuses) {
            let invite = world.at(number, "INVITE");
            world.reply(number, &invite, reply(status));
            world.at(number, "ACK");
        }
        world.at_caller(expected);
        world.caller_acks(None);
        world.finish();
    }
}

#[test]
fn a_branch_that_cannot_be_delivered_counts_as_503() {
    let mut world = called(&[(1, 1000), (2, 1000)]);
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.undeliverable(&one);
    world.nothing_more();
    world.reply(2, &two, reply(404));
    world.at(2, "ACK");
    world.at_caller("404");
}

#[test]
fn a_late_2xx_of_another_branch_gets_ack_and_bye() {
    let (mut world, one, two) = two_ring(|_| {});
    world.reply(2, &two, reply(200).tag("two").sdp(sdp(5002)));
    world.at(1, "CANCEL");
    world.at(2, "ACK");
    world.at_caller("200");
    world.reply(1, &one, reply(200).tag("one").sdp(sdp(5001)));
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    assert_eq!(world.stage(), Stage::Answered);
    hung_up(&mut world, 2);
}

#[test]
fn a_branch_that_has_not_responded_is_cancelled_only_when_it_does() {
    let mut world = called(&[(1, 1000), (2, 1000)]);
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(2, &two, reply(200).sdp(sdp(5002)));
    world.at(2, "ACK");
    world.at_caller("200");
    world.nothing_more();
    world.reply(1, &one, reply(180));
    cancelled(&mut world, 1, &one);
    hung_up(&mut world, 2);
}

#[test]
fn each_branch_has_its_own_invite_timeout() {
    let mut world = called(&[(1, 1000), (2, 1000)]);
    let (_, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(2, &two, reply(180));
    world.at_caller("180");
    world.wait(15);
    world.skip();
    assert_eq!(world.stage(), Stage::Ringing);
    world.wait(5);
    world.nothing_more();
    world.reply(2, &two, reply(200).sdp(sdp(5002)));
    world.at(2, "ACK");
    world.at_caller("200");
    hung_up(&mut world, 2);
}

#[test]
fn the_attempt_fails_when_its_last_branch_has_rung_too_long() {
    let (mut world, one, two) = two_ring(|_| {});
    world.wait(120);
    cancelled(&mut world, 1, &one);
    cancelled(&mut world, 2, &two);
    world.at_caller("408");
    world.caller_acks(None);
    assert_eq!(world.finish()["end_reason"], "no answer");
}

#[test]
fn early_media_of_each_branch_goes_up_under_a_to_tag_of_its_own() {
    let mut world = called(&[(1, 1000), (2, 1000)]);
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    // Two phones of one make may well give the same tag.
    world.reply(1, &one, reply(183).tag("same").sdp(sdp(5001)));
    let first = world.at_caller("183");
    world.reply(2, &two, reply(183).tag("same").sdp(sdp(5002)));
    let second = world.at_caller("183");
    assert_ne!(first.tag_in_to(), second.tag_in_to());
    world.reply(1, &one, reply(200).tag("same").sdp(sdp(5001)));
    world.at(1, "ACK");
    assert_eq!(world.at_caller("200").tag_in_to(), first.tag_in_to());
    cancelled(&mut world, 2, &two);
    hung_up(&mut world, 1);
}

#[test]
fn a_call_that_is_committed_goes_to_no_further_binding() {
    let mut world = world_with(&[(1, 1000), (2, 500)], |plan| {
        plan.every_gateway(|endpoint| endpoint.stop_after_sdp = true);
    });
    let one = world.at(1, "INVITE");
    world.reply(1, &one, reply(183).sdp(sdp(5001)));
    world.at_caller("183");
    world.reply(1, &one, reply(480));
    world.at(1, "ACK");
    world.at_caller("480");
    world.caller_acks(None);
    assert_eq!(world.finish()["stop_reason"], "media committed");
}

#[test]
fn the_path_of_a_binding_is_the_route_of_invite_cancel_and_ack() {
    let path = ["<sip:edge.example;lr>", "<sip:core.example;lr>"];
    let mut world = world_with(&[(1, 1000)], |plan| {
        let Reach::Bindings(bindings) = &mut plan.candidates[0].reach else { panic!("an endpoint") };
        bindings.branches[0].route = path.map(Into::into).into();
    });
    let invite = world.at(1, "INVITE");
    let routes = |got: &Got| -> Vec<String> {
        got.routes().map(|route| String::from_utf8_lossy(route).into_owned()).collect()
    };
    assert_eq!(routes(&invite), path);
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    let cancel = world.at(1, "CANCEL");
    assert_eq!(routes(&cancel), path);
    world.reply(1, &cancel, reply(200));
    world.reply(1, &invite, reply(487));
    assert_eq!(routes(&world.at(1, "ACK")), path);
}

#[test]
fn a_422_is_answered_on_its_own_branch() {
    let (mut world, one, two) = two_ring(|_| {});
    world.reply(1, &one, reply(422).line("Min-SE: 7200"));
    world.at(1, "ACK");
    let again = world.at(1, "INVITE");
    assert_eq!(again.value(Name::MinSe), "7200");
    assert_eq!((again.call_id(), again.request_uri()), (one.call_id(), one.request_uri()));
    world.reply(2, &two, reply(486));
    world.at(2, "ACK");
    world.reply(1, &again, reply(200).sdp(sdp(5001)));
    world.at(1, "ACK");
    world.at_caller("200");
    hung_up(&mut world, 1);
}

#[test]
fn the_callers_cancel_reaches_every_branch() {
    let (mut world, one, two) = two_ring(|_| {});
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    cancelled(&mut world, 1, &one);
    cancelled(&mut world, 2, &two);
    world.caller_acks(None);
    assert_eq!(world.finish()["end_reason"], "cancelled");
}

#[test]
fn an_heir_goes_on_with_every_branch() {
    let mut world = called(&[(1, 1000), (2, 1000), (3, 500)]);
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(2, &two, reply(183).sdp(sdp(5002)));
    world.at_caller("183");
    world.skip();
    world.take_over(1_000);
    let again = world.at(1, "INVITE");
    assert_eq!(again.text(), one.text(), "nothing was heard of it");
    world.nothing_more();
    world.reply(1, &again, reply(200).tag("one").sdp(sdp(5001)));
    world.at(1, "ACK");
    cancelled(&mut world, 2, &two);
    assert_eq!(world.at_caller("200").body_text(), sdp(5001));
    let record = hung_up(&mut world, 1);
    assert_eq!(record["attempts"][0]["contact"], "sip:bob@10.0.0.1;line=1");
}

#[test]
fn an_heir_knows_the_bindings_that_are_left_and_the_best_failure() {
    let mut world = called(&[(1, 1000), (2, 1000), (3, 500)]);
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(1, &one, reply(486));
    world.at(1, "ACK");
    world.take_over(1_000);
    let two_again = world.at(2, "INVITE");
    assert_eq!(two_again.text(), two.text());
    world.nothing_more();
    world.reply(2, &two_again, reply(503));
    world.at(2, "ACK");
    let three = world.at(3, "INVITE");
    world.reply(3, &three, reply(500));
    world.at(3, "ACK");
    world.at_caller("486");
}

#[test]
fn an_heir_ends_the_branches_that_were_left() {
    let (mut world, one, two) = two_ring(|_| {});
    world.reply(2, &two, reply(200).tag("two").sdp(sdp(5002)));
    world.at(1, "CANCEL");
    world.at(2, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.take_over(1_000);
    world.skip();
    world.reply(1, &one, reply(200).tag("one").sdp(sdp(5001)));
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(2, "BYE");
    world.reply(2, &bye, reply(200));
    world.finish();
}

#[test]
fn an_endpoint_that_is_registered_nowhere_is_480() {
    let mut world = World::with(|plan| {
        plan.gateways(0);
        plan.absent = true;
    });
    let refusal = world.at_caller("480");
    assert_eq!(refusal.reasons()[0], "SIP 480 Temporarily Unavailable");
    world.caller_acks(None);
    assert_eq!(world.finish()["end_reason"], "routes exhausted");
}

#[test]
fn a_binding_without_a_way_there_is_passed_over() {
    let mut world = world_with(&[(1, 1000), (2, 500)], |plan| {
        let Reach::Bindings(bindings) = &mut plan.candidates[0].reach else { panic!("an endpoint") };
        bindings.branches[0].targets.clear();
    });
    world.at(2, "INVITE");
    world.nothing_more();
}

#[test]
fn a_call_to_a_sips_uri_or_contact_goes_over_tls_only() {
    for scheme in ["sip", "sips"] {
        let mut world = world_with(&[(1, 1000), (2, 1000)], |plan| {
            plan.scheme = scheme;
            let Reach::Bindings(bindings) = &mut plan.candidates[0].reach else { panic!("an endpoint") };
            if scheme == "sip" {
                bindings.branches[0].uri = "sips:bob@10.0.0.1".into();
            }
            bindings.branches[1].targets[0].flow.transport = Transport::Tls;
        });
        world.at(2, "INVITE");
        world.nothing_more();
    }
}

#[test]
fn max_breadth_is_shared_by_the_branches() {
    let breadths = |lines: &str, at: &[(usize, u16)]| -> Vec<Vec<u8>> {
        let world = world_with(at, |plan| plan.invite_lines = lines.to_owned());
        let invites = world.sent.iter().filter(|got| got.what() == "INVITE");
        invites.map(|invite| invite.first(Name::MaxBreadth).unwrap_or_default().to_vec()).collect()
    };
    let three = [(1, 1000), (2, 1000), (3, 1000)];
    assert_eq!(breadths("", &three), [b"20", b"20", b"20"], "60 where the caller does not say");
    assert_eq!(breadths("Max-Breadth: 7\r\n", &three), [b"2", b"2", b"2"]);
    assert_eq!(breadths("Max-Breadth: 2\r\n", &three), [b"1", b"1"], "the third comes later");
}

#[test]
fn of_too_many_bindings_the_best_are_called() {
    let mut at = vec![(1, 10); crate::call::MAX_BRANCHES + 1];
    at.push((2, 1000));
    let mut world = called(&at);
    let best = world.at(2, "INVITE");
    world.nothing_more();
    world.reply(2, &best, reply(480));
    world.at(2, "ACK");
    let invites = world.sent.iter().filter(|got| got.what() == "INVITE").count();
    assert_eq!(invites, crate::call::MAX_BRANCHES);
}

#[test]
fn an_endpoints_failure_switches_to_the_next_candidate() {
    let mut world = World::with(|plan| {
        plan.gateways(2).endpoint(1, &[(5, 1000), (6, 1000)]);
    });
    for number in [5, 6] {
        let invite = world.at(number, "INVITE");
        world.reply(number, &invite, reply(480));
        world.at(number, "ACK");
    }
    world.answered_by(2);
    let record = hung_up(&mut world, 2);
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.released.len(), 1, "the gateway's slot");
}

#[test]
fn the_offer_of_each_branch_is_answered_in_its_own_early_dialog() {
    let mut world = world_with(&[(1, 1000), (2, 1000)], |plan| {
        offering(plan);
        plan.offer = None;
        plan.parameters.reliable_provisionals = ReliableProvisionals::Supported;
        plan.invite_lines = "Supported: 100rel\r\n".to_owned();
    });
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(1, &one, reliable(183, 1).tag("one").sdp(sdp(5001)));
    let first = world.at_caller("183");
    world.reply(2, &two, reliable(183, 1).tag("two").sdp(sdp(5002)));
    let second = world.at_caller("183");
    for (number, progress) in [(1, first), (2, second)] {
        world.caller.cseq += 1;
        let mut caller = world.caller.clone();
        caller.to = format!("<sip:4420@switch.example>;tag={}", progress.tag_in_to());
        let lines = format!("RAck: {} 7 INVITE\r\n", progress.value(Name::RSeq));
        let prack = caller.request_with("PRACK", caller.cseq, &lines, Some(OFFER));
        world.request(prack, world.plan.caller_address);
        world.at_caller("200");
        let prack = world.at(number, "PRACK");
        assert_eq!(prack.body_text(), OFFER, "{number}");
        world.reply(number, &prack, reply(200));
    }
    world.nothing_more();
}

#[test]
fn an_answer_that_waits_for_prack_ends_the_other_branches() {
    let mut world = world_with(&[(1, 1000), (2, 1000)], |plan| {
        plan.parameters.reliable_provisionals = ReliableProvisionals::Supported;
        plan.invite_lines = "Supported: 100rel\r\n".to_owned();
    });
    let (one, two) = (world.at(1, "INVITE"), world.at(2, "INVITE"));
    world.reply(1, &one, reply(180));
    world.at_caller("180");
    world.reply(2, &two, reply(183).tag("two").sdp(sdp(5002)));
    let progress = world.at_caller("183");
    world.reply(2, &two, reply(200).tag("two").sdp(sdp(5002)));
    cancelled(&mut world, 1, &one);
    world.nothing_more();
    world.caller.cseq += 1;
    let lines = format!("RAck: {} 7 INVITE\r\n", progress.value(Name::RSeq));
    let prack = world.caller.request_with("PRACK", world.caller.cseq, &lines, None);
    world.request(prack, world.plan.caller_address);
    world.at_caller("200");
    world.at_caller("200");
    world.at(2, "ACK");
}

#[test]
fn a_snapshot_with_all_the_branches_there_can_be_stays_small() {
    let at: Vec<(usize, u16)> = (1..=10).map(|number| (number, 1000)).collect();
    let world = called(&at);
    let (_, size) = world.commits.last().copied().expect("a commit");
    assert!(size <= 4_096, "{size} bytes");
}

#[test]
fn a_binding_that_only_its_flow_leads_to_is_reached_by_it_in_the_dialog_as_well() {
    let mut world = world_with(&[(1, 1000)], |plan| {
        let Reach::Bindings(bindings) = &mut plan.candidates[0].reach else { panic!("an endpoint") };
        bindings.branches[0].by_flow = true;
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).contact("<sip:bob@10.0.0.1:5070>").sdp(sdp(5001)));
    let ack = world.at(1, "ACK");
    assert_eq!(ack.request_uri(), b"sip:bob@10.0.0.1:5070");
    world.at_caller("200");
    world.caller_acks(None);
    world.take_over(1_000);
    world.skip();
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    world.finish();
}
