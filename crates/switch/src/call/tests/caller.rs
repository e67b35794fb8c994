//! The caller's INVITE, its copies, its CANCEL and its ACK.

use super::messages::{parse, reply};
use super::plan::{Answers, CALLER, address, sdp};
use super::world::{World, since};
use crate::call::CallingEndpoint;
use crate::cdr::EndReason;
use crate::gateway::Outcome;
use tandem_sip::Name;
use tandem_sip::flow::Transport;

/// A call that the caller cancelled: both of its answers, and its record.
fn cancelled(mut world: World) -> World {
    world.at_caller("200");
    let failure = world.at_caller("487");
    assert!(failure.after.is_some());
    assert_eq!(failure.reasons().len(), 1, "{}", failure.text());
    let release = world.releases()[0];
    assert_eq!(release.cause, EndReason::Cancelled);
    world
}

fn finish_cancelled(mut world: World) {
    let record = world.finish();
    assert_eq!(record["end_reason"], "cancelled");
    assert_eq!(record["ended_by"], "caller");
    assert_eq!(record["sip_status"], 487);
    assert_eq!(record["stop_reason"], serde_json::Value::Null);
}

#[test]
fn cancel_before_the_look_up_is_answered_ends_the_call() {
    let mut world = World::with(|plan| plan.lookup = Answers::WhenTold);
    world.caller_cancels("");
    world = cancelled(world);
    world.look_up();
    world.nothing_more();
    assert!(world.asked.is_empty());
    finish_cancelled(world);
}

#[test]
fn cancel_while_a_slot_is_asked_for_ends_the_call() {
    let mut world = World::with(|plan| plan.admission = Answers::WhenTold);
    world.caller_cancels("");
    world = cancelled(world);
    world.admit();
    world.nothing_more();
    finish_cancelled(world);
}

#[test]
fn cancel_before_a_provisional_stops_the_invite_and_cancels_when_one_comes() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.caller_cancels("");
    world = cancelled(world);
    world.caller_acks(None);
    world.wait(5);
    world.nothing_more();
    assert_eq!(world.outcome("one"), None);
    world.reply(1, &invite, reply(100));
    let cancel = world.at(1, "CANCEL");
    world.reply(1, &cancel, reply(200));
    world.reply(1, &invite, reply(487));
    world.at(1, "ACK");
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
    assert_eq!(world.attempted(), ["one"], "no switch");
    finish_cancelled(world);
}

#[test]
fn cancel_after_a_provisional_cancels_the_open_attempt_and_the_487_waits_for_nobody() {
    for status in [100, 180, 183] {
        let mut world = World::start();
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(status));
        world.skip();
        world.caller_cancels("");
        let cancel = world.at(1, "CANCEL");
        world = cancelled(world);
        world.caller_acks(None);
        world.reply(1, &cancel, reply(200));
        world.reply(1, &invite, reply(487));
        world.at(1, "ACK");
        world.nothing_more();
        assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
        finish_cancelled(world);
    }
}

#[test]
fn the_reasons_of_a_cancel_go_on_to_the_gateway() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.caller_cancels("Reason: SIP;cause=200;text=\"elsewhere\"\r\nReason: Q.850;cause=26\r\n");
    let cancel = world.at(1, "CANCEL");
    assert_eq!(cancel.reasons(), ["SIP 200 elsewhere", "Q.850 26 "]);
}

#[test]
fn a_cancel_without_a_reason_has_one_on_the_other_leg() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.caller_cancels("");
    assert_eq!(world.at(1, "CANCEL").reasons(), ["SIP 487 cancelled by the caller"]);
}

#[test]
fn a_200_that_crosses_the_callers_cancel_at_the_gateway_is_ended() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.caller_cancels("");
    world.skip();
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    world.nothing_more();
    world.reply(1, &bye, reply(200));
    assert_eq!(world.outcome("one"), Some(Outcome::Cancelled));
    finish_cancelled(world);
}

#[test]
fn a_cancel_that_crosses_our_200_changes_nothing() {
    let mut world = World::start();
    world.answered_by(1);
    world.caller_cancels("");
    world.at_caller("200");
    world.nothing_more();
    assert!(world.releases().is_empty());
    world.caller_acks(None);
    world.advance(1_000);
    world.nothing_more();
}

#[test]
fn copies_of_a_cancel_get_the_same_200() {
    let mut world = World::with(|plan| plan.admission = Answers::WhenTold);
    let cancel = world.caller_cancels("");
    let first = world.at_caller("200");
    world.at_caller("487");
    world.request(cancel, address(CALLER));
    assert_eq!(world.at_caller("200").text(), first.text());
    world.nothing_more();
}

#[test]
fn a_cancel_of_no_transaction_of_the_callers_is_481() {
    let cancel = World::start().caller_cancels("");
    let text = String::from_utf8_lossy(cancel.raw()).into_owned();
    for changed in [text.replace("caller-call-id", "another-call-id"), text.replace("CSeq: 7", "CSeq: 8")] {
        let mut world = World::start();
        world.request(parse(changed), address(CALLER));
        world.at_caller("481");
        assert!(world.releases().is_empty());
    }
}

#[test]
fn a_copy_of_the_invite_gets_the_last_provisional_response() {
    let mut world = World::start();
    world.caller_repeats_invite();
    assert_eq!(world.at_caller("100").to_tag(), None);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    let ringing = world.at_caller("180");
    world.caller_repeats_invite();
    assert_eq!(world.at_caller("180").text(), ringing.text());
    world.nothing_more();
}

#[test]
fn a_copy_of_the_invite_gets_the_failure_again_and_no_2xx() {
    let mut world = World::with(|plan| {
        plan.gateways(0);
    });
    let failure = world.at_caller("503");
    world.caller_repeats_invite();
    assert_eq!(world.at_caller("503").text(), failure.text());

    let mut world = World::start();
    world.answered_by(1);
    world.caller_repeats_invite();
    world.nothing_more();
}

#[test]
fn a_failure_is_resent_on_schedule_until_its_ack() {
    let mut world = World::with(|plan| {
        plan.gateways(0);
    });
    let failure = world.at_caller("503");
    for expected in [500, 1_500, 3_500] {
        world.advance(expected - (world.now.mono.since(failure.at).as_millis() as u64));
        let again = world.at_caller("503");
        assert_eq!((since(&again, &failure), again.text()), (expected, failure.text()));
    }
    world.caller_acks(None);
    world.wait(60);
    world.nothing_more();
    world.finish();
}

#[test]
fn over_a_reliable_transport_a_failure_is_not_resent() {
    let mut world = World::with(|plan| {
        plan.gateways(0).caller_transport = Transport::Tcp;
    });
    world.at_caller("503");
    world.wait(60);
    world.nothing_more();
    world.finish();
}

#[test]
fn a_2xx_is_resent_on_schedule_until_its_ack() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut world = World::with(|plan| plan.caller_transport = transport);
        let invite = world.at(1, "INVITE");
        world.reply(1, &invite, reply(200).sdp(sdp(5000)));
        world.at(1, "ACK");
        let answer = world.at_caller("200");
        for expected in [500, 1_500, 3_500, 7_500] {
            world.advance(expected - (world.now.mono.since(answer.at).as_millis() as u64));
            let again = world.at_caller("200");
            assert_eq!((since(&again, &answer), again.text()), (expected, answer.text()));
        }
        world.caller_acks(None);
        world.wait(60);
        world.nothing_more();
        assert!(world.releases().is_empty());
    }
}

#[test]
fn a_2xx_without_ack_ends_the_call_after_64_t1_with_bye_to_both() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.advance(31_999);
    assert!(world.releases().is_empty());
    world.skip();
    world.advance(1);
    let bye = world.at(1, "BYE");
    let other = world.at_caller("BYE");
    assert_eq!(bye.reasons().len(), 1);
    world.nothing_more();
    world.reply(1, &bye, reply(200));
    world.caller_replies(&other, reply(200));
    let record = world.finish();
    assert_eq!(record["end_reason"], "protocol error");
    assert_eq!(record["ended_by"], "server");
}

#[test]
fn responses_go_where_the_via_says() {
    // From behind another port, without rport: to the sent-by port (RFC 3261 §18.2.2).
    let mut world = World::with(|plan| plan.caller_address = address("192.0.2.10:40000"));
    let trying = world.sent.first().map(|got| got.flow.remote);
    assert_eq!(trying, Some(address(CALLER)));
    world.skip();
}

#[test]
fn over_a_connection_responses_go_back_on_it() {
    let mut world = World::with(|plan| {
        plan.caller_transport = Transport::Tcp;
        plan.caller_address = address("192.0.2.10:40000");
    });
    let connection = address("192.0.2.10:40000");
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.caller_cancels("");
    let responses = world.sent.iter().filter(|got| !got.is_request());
    for response in responses {
        assert_eq!(response.flow.remote, connection, "{}", response.what());
    }
}

#[test]
fn an_ack_of_a_failure_is_not_answered() {
    let mut world = World::with(|plan| {
        plan.gateways(0);
    });
    world.at_caller("503");
    world.caller_acks(None);
    world.caller_acks(None);
    world.nothing_more();
}

#[test]
fn a_caller_who_has_proved_who_it_is_calls_by_its_number_whatever_its_from_says() {
    let mut world = World::with(|plan| plan.caller_endpoint = Some(endpoint("4930 7", false)));
    let invite = world.at(1, "INVITE");
    let from = invite.value(Name::From);
    assert!(from.starts_with("\"Alice\" <sip:4930%207@"), "{from}");
    world.caller_cancels("");
    world.at_caller("200");
    assert_eq!(world.finish()["caller"], "4930 7");
}

#[test]
fn a_caller_who_wants_to_be_nobody_stays_so_and_is_known_to_the_record() {
    let mut world = World::with(|plan| {
        plan.caller_endpoint = Some(endpoint("49307", false));
        plan.caller_user = "anonymous";
    });
    let from = world.at(1, "INVITE").value(Name::From);
    assert!(from.contains("<sip:anonymous@") && !from.contains("49307"), "{from}");
    world.caller_cancels("");
    world.at_caller("200");
    assert_eq!(world.finish()["caller"], "49307");
}

#[test]
fn a_caller_behind_a_nat_is_reached_by_its_flow_also_after_a_target_refresh() {
    let mut world = World::with(|plan| {
        plan.caller_endpoint = Some(endpoint("49307", true));
        plan.caller_address = address("192.0.2.99:5060");
    });
    world.answered_by(1);
    world.caller_acks(None);
    let moved = "Contact: <sip:alice@10.0.0.7:5062>\r\n";
    world.caller.cseq += 1;
    let update = world.caller.request_with("UPDATE", world.caller.cseq, moved, None);
    world.request(update, world.plan.caller_address);
    world.at_caller("200");
    world.hang_up(EndReason::Admin);
    let bye = world.at_caller("BYE");
    assert_eq!(bye.flow.remote, address("192.0.2.99:5060"));
    assert_eq!(bye.request_uri(), b"sip:alice@10.0.0.7:5062");
}

fn endpoint(number: &str, by_flow: bool) -> CallingEndpoint {
    CallingEndpoint { number: number.into(), by_flow }
}
