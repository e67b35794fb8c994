//! Delayed offers, and several answers to one INVITE.

use super::messages::reply;
use super::plan::{OFFER, sdp};
use super::world::World;

fn delayed() -> World {
    World::with(|plan| plan.offer = None)
}

#[test]
fn the_ack_of_a_delayed_offer_waits_for_the_callers_answer() {
    let mut world = delayed();
    let invite = world.at(1, "INVITE");
    assert_eq!(invite.body_text(), "");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    let offer = world.at_caller("200");
    assert_eq!(offer.body_text(), sdp(5000));
    world.nothing_more();
    // Its copies get no ACK before that.
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.nothing_more();
    world.caller_acks(Some(OFFER));
    let ack = world.at(1, "ACK");
    assert_eq!(ack.body_text(), OFFER);
    assert_eq!(ack.tag_in_to(), "gw");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at(1, "ACK").text(), ack.text());
    // The caller's ACK again is absorbed.
    world.caller_acks(Some(OFFER));
    world.nothing_more();
    world.caller_sends("BYE");
    assert_eq!(world.finish()["codec"], "PCMA");
}

#[test]
fn an_ack_without_the_answer_declines_the_delayed_offer_and_ends_the_call() {
    let mut world = delayed();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at_caller("200");
    world.caller_acks(None);
    let ack = world.at(1, "ACK");
    assert!(ack.body_text().contains("m=audio 0 RTP/AVP 8"), "{}", ack.text());
    let bye = world.at(1, "BYE");
    let other = world.at_caller("BYE");
    world.nothing_more();
    world.reply(1, &bye, reply(200));
    world.caller_replies(&other, reply(200));
    let record = world.finish();
    assert_eq!(record["end_reason"], "protocol error");
    assert_eq!(record["ended_by"], "server");
}

#[test]
fn a_delayed_offer_without_any_ack_is_declined_and_the_call_ended_after_64_t1() {
    let mut world = delayed();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.advance(31_999);
    assert!(world.sent.iter().all(|got| got.what() != "ACK"));
    world.advance(1);
    let ack = world.at(1, "ACK");
    assert!(ack.body_text().contains("m=audio 0 "), "{}", ack.text());
    world.at(1, "BYE");
    assert_eq!(world.finish()["end_reason"], "protocol error");
}

#[test]
fn a_delayed_offer_is_declined_where_the_call_ends_before_its_answer() {
    let mut world = delayed();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at_caller("200");
    let mut callee = world.callee(&invite, "gw");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    assert!(world.at(1, "ACK").body_text().contains("m=audio 0 "));
    world.nothing_more();
    world.caller_acks(Some(OFFER));
    world.at_caller("BYE");
    world.nothing_more();
}

#[test]
fn sdp_in_a_provisional_to_a_delayed_offer_goes_up_and_the_answer_goes_down() {
    let mut world = delayed();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    assert_eq!(world.at_caller("183").body_text(), sdp(5000));
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at_caller("200").body_text(), sdp(5000));
    world.caller_acks(Some(OFFER));
    assert_eq!(world.at(1, "ACK").body_text(), OFFER);
}

#[test]
fn a_2xx_that_comes_again_is_acknowledged_again() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    let ack = world.at(1, "ACK");
    world.at_caller("200");
    for _ in 0..3 {
        world.reply(1, &invite, reply(200).sdp(sdp(5000)));
        assert_eq!(world.at(1, "ACK").text(), ack.text());
    }
    world.nothing_more();
    assert_eq!(ack.cseq_number(), invite.cseq_number());
    assert_ne!(ack.branch(), invite.branch());
}

#[test]
fn the_2xx_of_another_fork_is_acknowledged_and_ended() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180).tag("a"));
    world.reply(1, &invite, reply(180).tag("b"));
    world.reply(1, &invite, reply(200).tag("a").sdp(sdp(5000)));
    world.skip();
    let other = reply(200).tag("b").sdp(sdp(5002)).contact("<sip:fork@198.51.100.77:5080>");
    world.reply(1, &invite, other.clone());
    let elsewhere = |world: &World, method: &str| {
        let found = world.sent.iter().rev().find(|got| got.what() == method);
        let found = found.unwrap_or_else(|| panic!("no {method}"));
        assert_eq!(found.flow.remote.to_string(), "198.51.100.77:5080");
        assert_eq!(found.tag_in_to(), "b");
        found.clone()
    };
    elsewhere(&world, "ACK");
    let bye = elsewhere(&world, "BYE");
    world.skip();
    world.reply(1, &invite, other);
    assert_eq!(elsewhere(&world, "ACK").at, world.now.mono);
    world.reply(1, &bye, reply(200));
    world.skip();
    world.caller.to.clear();
    world.wait(5);
    // The conversation itself goes on.
    assert_eq!(world.releases(), []);
}

#[test]
fn forks_are_ended_after_the_conversation_too() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.skip();
    world.reply(1, &invite, reply(200).tag("b").sdp(sdp(5002)));
    world.at(1, "ACK");
    let bye = world.at(1, "BYE");
    assert_eq!(bye.tag_in_to(), "b");
    world.reply(1, &bye, reply(200));
    // And the answered fork's 2xx gets its ACK.
    world.reply(1, &invite, reply(200).tag("gw").sdp(sdp(5000)));
    world.at(1, "ACK");
    world.nothing_more();
    world.finish();
}

#[test]
fn requests_to_the_callee_follow_its_contact_and_its_record_routes() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    let answer = reply(200)
        .sdp(sdp(5000))
        .contact("<sip:callee@198.51.100.70:5070>")
        .line("Record-Route: <sip:198.51.100.71;lr>")
        .line("Record-Route: <sip:198.51.100.72:5090;lr>");
    world.reply(1, &invite, answer);
    world.at_caller("200");
    world.caller_acks(None);
    world.caller_sends("BYE");
    for method in ["ACK", "BYE"] {
        let got = world.sent.iter().find(|got| got.what() == method).expect(method);
        assert_eq!(got.request_uri(), b"sip:callee@198.51.100.70:5070");
        let routes: Vec<_> = got.routes().collect();
        assert_eq!(routes, [&b"<sip:198.51.100.72:5090;lr>"[..], b"<sip:198.51.100.71;lr>"]);
        assert_eq!(got.flow.remote.to_string(), "198.51.100.72:5090");
    }
}

#[test]
fn an_answer_without_contact_is_reached_where_it_was_called() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)).contact(""));
    assert_eq!(world.at(1, "ACK").request_uri(), invite.request_uri());
}

#[test]
fn so_many_answers_to_one_invite_are_ended_and_no_more() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    for fork in 0..20 {
        world.reply(1, &invite, reply(200).tag(&format!("fork{fork}")).sdp(sdp(5002)));
    }
    let byes = world.sent.iter().filter(|got| got.what() == "BYE").count();
    assert_eq!(byes, 8);
}
