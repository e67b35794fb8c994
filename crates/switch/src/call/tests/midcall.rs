//! An INVITE inside the dialog goes to the other party and its answer comes back (RFC 3261 §14).

use super::messages::{Got, Peer, reply};
use super::plan::{CALLER, OFFER, address, sdp};
use super::world::{World, since};
use crate::call::Stage;

/// A new description of the caller.
pub(super) fn moved() -> String {
    OFFER.replace("o=- 1 1 ", "o=- 1 2 ").replace("192.0.2.11", "192.0.2.12")
}

fn talking() -> (World, Peer) {
    World::start().talking()
}

/// The caller offers anew, and the callee has it.
fn asked() -> (World, Peer, Got) {
    let (mut world, callee) = talking();
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    (world, callee, passed)
}

#[test]
fn the_callers_offer_goes_to_the_callee_and_its_answer_comes_back() {
    let (mut world, _, passed) = asked();
    assert_eq!(passed.body_text(), moved());
    assert_eq!(passed.request_uri(), b"sip:gw@198.51.100.1:5060");
    assert_eq!(passed.tag_in_to(), "gw");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    let ack = world.at(1, "ACK");
    assert_eq!((ack.cseq_number(), ack.body_text()), (passed.cseq_number(), String::new()));
    let answer = world.at_caller("200");
    assert_eq!((answer.cseq_number(), answer.body_text()), (8, sdp(5002)));
    world.caller_acks_again(None);
    world.nothing_more();
    world.wait(40);
    world.nothing_more();
    // Nothing but the cap on its length.
    assert!(world.next_wake().is_some_and(|ms| ms > 3_600_000));
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn the_callees_offer_goes_to_the_caller_and_its_answer_comes_back() {
    let (mut world, mut callee) = talking();
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "100");
    let passed = world.at_caller("INVITE");
    assert_eq!(passed.body_text(), sdp(5002));
    assert_eq!(passed.request_uri(), format!("sip:alice@{CALLER}").as_bytes());
    world.caller_replies(&passed, reply(200).sdp(moved()));
    world.at_caller("ACK");
    let answer = world.at(1, "200");
    assert_eq!((answer.cseq_number(), answer.body_text()), (callee.cseq, moved()));
    world.callee_acks(&callee, None);
    world.nothing_more();
}

#[test]
fn the_invite_passed_on_is_sent_again_until_a_response_and_copies_of_the_first_pass_nothing() {
    let (mut world, mut callee) = talking();
    let offer = world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    let trying = world.at(1, "100");
    let passed = world.at_caller("INVITE");
    world.advance(500);
    assert_eq!(world.at_caller("INVITE").text(), passed.text());
    world.request(offer.clone(), callee.address);
    assert_eq!(world.at(1, "100").text(), trying.text());
    world.caller_replies(&passed, reply(100));
    world.wait(5);
    world.nothing_more();
    world.caller_replies(&passed, reply(200).sdp(moved()));
    world.at_caller("ACK");
    world.at(1, "200");
    // A copy of the INVITE after its answer is absorbed (RFC 6026).
    world.request(offer, callee.address);
    world.nothing_more();
}

#[test]
fn copies_of_the_2xx_get_the_same_ack_and_pass_nothing() {
    let (mut world, _, passed) = asked();
    for copy in 0..3 {
        world.reply(1, &passed, reply(200).sdp(sdp(5002)));
        let ack = world.at(1, "ACK");
        assert_eq!(ack.tag_in_to(), "gw");
        if copy == 0 {
            world.at_caller("200");
        }
    }
    let acks: Vec<_> = world.sent.iter().filter(|got| got.what() == "ACK" && got.cseq_number() > 1).collect();
    assert!(acks.iter().all(|ack| ack.text() == acks[0].text()));
    world.nothing_more();
}

#[test]
fn the_2xx_is_sent_again_until_its_ack() {
    let (mut world, _, passed) = asked();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    let answer = world.at_caller("200");
    world.advance(1_500);
    for _ in 0..2 {
        assert_eq!(world.at_caller("200").text(), answer.text());
    }
    world.caller_acks_again(None);
    world.caller_acks_again(None);
    world.wait(40);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn a_2xx_that_is_never_acknowledged_ends_the_call() {
    let (mut world, _, passed) = asked();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    let ack = world.at(1, "ACK");
    world.advance(31_999);
    world.skip();
    world.advance(1);
    let (bye, other) = (world.at(1, "BYE"), world.at_caller("BYE"));
    assert_eq!(since(&bye, &ack), 32_000);
    world.reply(1, &bye, reply(200));
    world.caller_replies(&other, reply(200));
    let record = world.finish();
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&"protocol error".into(), &"server".into()));
}

#[test]
fn a_failure_goes_back_and_the_session_stays_as_it_was() {
    for (status, passed_on) in
        [(488, "488"), (491, "491"), (500, "500"), (606, "606"), (503, "500"), (401, "500"), (302, "500")]
    {
        let (mut world, _, passed) = asked();
        world.reply(1, &passed, reply(status));
        let ack = world.at(1, "ACK");
        assert_eq!(ack.branch(), passed.branch());
        let refused = world.at_caller(passed_on);
        // Sent again until its ACK, and the gateway's copies get theirs.
        world.advance(500);
        assert_eq!(world.at_caller(passed_on).text(), refused.text());
        world.caller_acks_again(None);
        world.reply(1, &passed, reply(status));
        world.at(1, "ACK");
        world.wait(40);
        world.nothing_more();
        assert_eq!(world.stage(), Stage::Answered, "{status}");
        // What was offered in vain is offered again.
        world.caller_offers("INVITE", Some(&moved()));
        world.at_caller("100");
        world.at(1, "INVITE");
    }
}

#[test]
fn a_408_or_481_of_the_other_party_ends_the_call() {
    for status in [408, 481] {
        let (mut world, _, passed) = asked();
        world.reply(1, &passed, reply(status));
        world.at(1, "ACK");
        world.at_caller(&status.to_string());
        let (bye, other) = (world.at(1, "BYE"), world.at_caller("BYE"));
        world.reply(1, &bye, reply(481));
        world.caller_replies(&other, reply(200));
        assert_eq!(world.finish()["end_reason"], "protocol error");
    }
}

#[test]
fn no_response_of_the_other_party_is_408_and_ends_the_call() {
    let (mut world, _, passed) = asked();
    world.advance(31_999);
    world.skip();
    world.advance(1);
    assert_eq!(since(&world.at_caller("408"), &passed), 32_000);
    world.at(1, "BYE");
    world.at_caller("BYE");
    world.nothing_more();
    world.finish();
}

#[test]
fn an_offer_that_cannot_be_delivered_is_500_and_the_call_goes_on() {
    let (mut world, _, passed) = asked();
    world.undeliverable(&passed);
    world.at_caller("500");
    world.caller_acks_again(None);
    world.wait(40);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn an_invite_that_rings_for_three_minutes_is_cancelled_and_504() {
    let (mut world, _, passed) = asked();
    world.reply(1, &passed, reply(180));
    world.advance(179_999);
    world.nothing_more();
    world.advance(1);
    let cancel = world.at(1, "CANCEL");
    world.reply(1, &cancel, reply(200));
    world.reply(1, &passed, reply(487));
    world.at(1, "ACK");
    world.at_caller("504");
    world.caller_acks_again(None);
    world.wait(40);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn an_invite_that_rings_and_answers_no_cancel_is_504_too() {
    let (mut world, _, passed) = asked();
    world.reply(1, &passed, reply(180));
    world.wait(180);
    world.at(1, "CANCEL");
    world.wait(31);
    world.skip();
    world.wait(1);
    world.at_caller("504");
    world.caller_acks_again(None);
    assert_eq!(world.stage(), Stage::Answered);
}

/// The CANCEL of the caller's last INVITE inside the dialog.
fn cancel(world: &mut World) {
    let cseq = world.caller.cseq;
    let invite = world.caller.request_with("INVITE", cseq, "", None);
    let branch = String::from_utf8_lossy(&super::messages::branch(&invite)).into_owned();
    let cancel = world.caller.request_with("CANCEL", cseq, "", None);
    let own = String::from_utf8_lossy(&super::messages::branch(&cancel)).into_owned();
    let text = String::from_utf8_lossy(cancel.raw()).replace(&own, &branch);
    world.request(super::messages::parse(text), address(CALLER));
}

#[test]
fn the_callers_cancel_goes_on_to_the_callee_once_it_rings() {
    let (mut world, _, passed) = asked();
    cancel(&mut world);
    world.at_caller("200");
    world.nothing_more();
    world.reply(1, &passed, reply(180));
    let cancelled = world.at(1, "CANCEL");
    assert_eq!(cancelled.branch(), passed.branch());
    // Not before the callee has said so: it may have accepted.
    world.nothing_more();
    world.reply(1, &cancelled, reply(200));
    world.reply(1, &passed, reply(487));
    world.at(1, "ACK");
    world.at_caller("487");
    world.caller_acks_again(None);
    world.wait(40);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn a_cancel_that_crosses_the_200_changes_nothing() {
    // RFC 5407 §3.1.2.
    let (mut world, _, passed) = asked();
    world.reply(1, &passed, reply(180));
    cancel(&mut world);
    world.at_caller("200");
    let cancelled = world.at(1, "CANCEL");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    world.reply(1, &cancelled, reply(481));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    // And one that comes after the final response is answered, and does nothing.
    cancel(&mut world);
    world.at_caller("200");
    world.caller_acks_again(None);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn a_cancel_that_nothing_answers_is_487_after_64_t1() {
    let (mut world, _, passed) = asked();
    world.reply(1, &passed, reply(180));
    cancel(&mut world);
    world.at_caller("200");
    world.wait(31);
    world.skip();
    world.wait(1);
    world.at_caller("487");
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn a_cancel_of_no_invite_is_481() {
    let (mut world, _) = talking();
    world.caller.cseq = 20;
    cancel(&mut world);
    world.at_caller("481");
    world.nothing_more();
}

#[test]
fn a_re_invite_without_an_offer_brings_the_other_partys_offer_and_takes_the_answer_back() {
    let (mut world, _) = talking();
    world.caller_offers("INVITE", None);
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    assert_eq!(passed.body_text(), "");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    // The ACK waits for the answer, also where the 2xx comes again.
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.nothing_more();
    world.caller_acks_again(Some(&moved()));
    let ack = world.at(1, "ACK");
    assert_eq!((ack.body_text(), ack.cseq_number()), (moved(), passed.cseq_number()));
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at(1, "ACK").text(), ack.text());
    // Copies of the caller's ACK are absorbed.
    world.caller_acks_again(Some(&moved()));
    world.nothing_more();
}

#[test]
fn an_ack_without_the_answer_declines_the_offer_and_ends_the_call() {
    let (mut world, _) = talking();
    world.caller_offers("INVITE", None);
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at_caller("200");
    world.caller_acks_again(None);
    assert!(world.at(1, "ACK").body_text().contains("m=audio 0 "));
    world.at(1, "BYE");
    world.at_caller("BYE");
    assert_eq!(world.finish()["end_reason"], "protocol error");
}

#[test]
fn an_offer_that_waits_for_its_answer_is_declined_where_the_call_ends() {
    let (mut world, mut callee) = talking();
    world.callee_offers(&mut callee, "INVITE", None);
    world.at(1, "100");
    let passed = world.at_caller("INVITE");
    world.caller_replies(&passed, reply(200).sdp(moved()));
    world.at(1, "200");
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    assert!(world.at_caller("ACK").body_text().contains("m=audio 0 "));
    let bye = world.at_caller("BYE");
    world.nothing_more();
    world.caller_replies(&bye, reply(200));
    world.finish();
}

#[test]
fn an_unchanged_description_refreshes_the_leg_and_the_other_party_is_not_asked() {
    let (mut world, mut callee) = talking();
    world.caller_offers("INVITE", Some(OFFER));
    let answer = world.at_caller("200");
    assert_eq!(answer.body_text(), sdp(5000));
    world.caller_acks_again(None);
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5000)));
    assert_eq!(world.at(1, "200").body_text(), OFFER);
    world.callee_acks(&callee, None);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn what_was_negotiated_last_is_what_counts_as_unchanged() {
    let (mut world, mut callee, passed) = asked();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks_again(None);
    world.caller_offers("INVITE", Some(&moved()));
    assert_eq!(world.at_caller("200").body_text(), sdp(5002));
    world.caller_acks_again(None);
    // The first description is a new one again.
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5000)));
    world.at(1, "100");
    world.at_caller("INVITE");
    world.nothing_more();
}

#[test]
fn contacts_of_re_invites_and_their_answers_are_where_requests_go_from_then_on() {
    let (mut world, callee) = talking();
    let at_new = |name: &str| format!("Contact: <sip:{name}@192.0.2.77:5090>\r\n");
    let offer = world.caller.request_with("INVITE", 8, &at_new("alice"), Some(&moved()));
    world.caller.cseq = 8;
    world.request(offer, address(CALLER));
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    let own = |got: &Got| got.contact().map(|contact| contact.expect("a Contact").uri.to_vec());
    assert!(own(&passed).is_some_and(|uri| uri.ends_with(b"@203.0.113.2:5060")));
    world.reply(1, &passed, reply(200).sdp(sdp(5002)).contact("<sip:gw@198.51.100.78:5070>"));
    let committed = world.commits.len();
    let elsewhere = |world: &World, what: &str, to: &str| {
        let found = world.sent.iter().rev().find(|got| got.what() == what).cloned();
        let found = found.unwrap_or_else(|| panic!("no {what}"));
        assert_eq!(found.flow.remote, address(to), "{}", found.text());
        found
    };
    elsewhere(&world, "ACK", "198.51.100.78:5070");
    let answer = world.at_caller("200");
    assert!(own(&answer).is_some_and(|uri| uri.ends_with(b"@203.0.113.1:5060")));
    world.caller_acks_again(None);
    // After the wire, and known to an heir.
    assert!(committed > 0);
    world.take_over(40_000);
    world.sends(&mut callee.clone(), "BYE");
    let bye = elsewhere(&world, "BYE", "192.0.2.77:5090");
    assert_eq!(bye.request_uri(), b"sip:alice@192.0.2.77:5090");
}

#[test]
fn a_refused_re_invite_moves_no_target() {
    let (mut world, mut callee, passed) = asked();
    world.reply(1, &passed, reply(488).contact("<sip:gw@198.51.100.78:5070>"));
    world.at(1, "ACK");
    world.at_caller("488");
    world.caller_acks_again(None);
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    assert_eq!(world.at_caller("BYE").request_uri(), format!("sip:alice@{CALLER}").as_bytes());
}

#[test]
fn a_changed_session_is_committed_without_holding_the_answer() {
    let (mut world, _, passed) = asked();
    let before = world.commits.len();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at(1, "ACK").after, None);
    assert_eq!(world.at_caller("200").after, None);
    assert_eq!(world.commits.len(), before + 1);
}

#[test]
fn a_bye_of_the_other_party_ends_the_open_re_invite_with_487() {
    // RFC 5407 §3.2.2.
    let (mut world, mut callee, passed) = asked();
    world.sends(&mut callee, "BYE");
    world.at(1, "200");
    assert_eq!(world.at_caller("487").cseq_number(), 8);
    let bye = world.at_caller("BYE");
    world.caller_acks_again(None);
    world.caller_replies(&bye, reply(200));
    world.nothing_more();
    world.reply(1, &passed, reply(487));
    world.at(1, "ACK");
    assert_eq!(world.finish()["ended_by"], "callee");
}

#[test]
fn a_bye_of_the_asker_ends_its_own_re_invite_too() {
    let (mut world, _, passed) = asked();
    world.caller_sends("BYE");
    world.at_caller("200");
    assert_eq!(world.at_caller("487").cseq_number(), 8);
    let bye = world.at(1, "BYE");
    assert!(bye.cseq_number() > passed.cseq_number());
    // The callee's 2xx has crossed our BYE: it gets its ACK all the same.
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    assert_eq!(world.at(1, "ACK").cseq_number(), passed.cseq_number());
    world.reply(1, &bye, reply(200));
    world.nothing_more();
    world.finish();
}

#[test]
fn a_re_invite_that_crosses_our_bye_is_481() {
    // RFC 5407 §3.2.3.
    let (mut world, mut callee) = talking();
    world.hang_up(crate::cdr::EndReason::Admin);
    let (bye, other) = (world.at(1, "BYE"), world.at_caller("BYE"));
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "481");
    world.callee_acks(&callee, None);
    world.reply(1, &bye, reply(200));
    world.caller_replies(&other, reply(200));
    world.finish();
}

#[test]
fn a_re_invite_that_overtakes_the_first_ack_is_passed() {
    // RFC 5407 §3.1.4: the first exchange is complete without the ACK.
    let mut world = World::start();
    world.answered_by(1);
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks_again(None);
    world.caller_acks(None);
    world.wait(40);
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}

#[test]
fn a_callees_re_invite_before_the_callers_ack_is_491() {
    let mut world = World::start();
    let invite = world.answered_by(1);
    let mut callee = world.callee(&invite, "gw");
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "491");
    world.callee_acks(&callee, None);
    world.caller_acks(None);
    world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.at(1, "100");
    world.at_caller("INVITE");
}

#[test]
fn a_re_invite_before_the_answer_to_a_delayed_offer_is_491() {
    let mut world = World::with(|plan| plan.offer = None);
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at_caller("200");
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("491");
    world.caller_acks_again(None);
    assert!(world.releases().is_empty(), "the answer's ACK is still to come");
    world.caller_acks(Some(OFFER));
    assert_eq!(world.at(1, "ACK").body_text(), OFFER);
}

#[test]
fn a_re_invite_before_any_answer_is_500_with_retry_after() {
    // RFC 3261 §14.2.
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    world.at_caller("180");
    world.caller_offers("INVITE", Some(&moved()));
    let refused = world.at_caller("500");
    let wait = refused.retry_after().expect("Retry-After").expect("seconds");
    assert!(wait.secs <= 10);
    world.caller_acks_again(None);
    world.nothing_more();
}

#[test]
fn a_re_invite_that_requires_what_we_do_not_know_is_420() {
    let (mut world, _) = talking();
    let lines = format!("Contact: <sip:alice@{CALLER}>\r\nRequire: teleport\r\n");
    let offer = world.caller.request_with("INVITE", 8, &lines, Some(&moved()));
    world.request(offer, address(CALLER));
    assert_eq!(world.at_caller("420").value(tandem_sip::Name::Unsupported), "teleport");
    world.nothing_more();
}

#[test]
fn a_re_invite_with_another_body_is_415() {
    let (mut world, _) = talking();
    let lines = format!("Contact: <sip:alice@{CALLER}>\r\nContent-Type: text/plain\r\n");
    let text = world.caller.request_with("INVITE", 8, &lines, None);
    let text = String::from_utf8_lossy(text.raw()).replace("Content-Length: 0", "Content-Length: 2") + "hi";
    world.request(super::messages::parse(text), address(CALLER));
    assert_eq!(world.at_caller("415").value(tandem_sip::Name::Accept), "application/sdp");
    world.nothing_more();
}

#[test]
fn the_records_codec_is_that_of_the_last_answer() {
    let (mut world, _, passed) = asked();
    let answer = sdp(5002).replace("RTP/AVP 8", "RTP/AVP 18").replace("rtpmap:8 PCMA", "rtpmap:18 G729");
    world.reply(1, &passed, reply(200).sdp(answer));
    world.caller_acks_again(None);
    world.caller_sends("BYE");
    assert_eq!(world.finish()["codec"], "G729");
}

#[test]
fn so_many_re_invites_in_half_a_minute_and_no_more() {
    let (mut world, _) = talking();
    for number in 0..20 {
        let offer = OFFER.replace("o=- 1 1 ", &format!("o=- 1 {} ", number + 2));
        world.caller_offers("INVITE", Some(&offer));
        let passed = world.sent.last().cloned().expect("something");
        if passed.what() == "INVITE" {
            assert!(number < 8);
            world.reply(1, &passed, reply(200).sdp(sdp(5002)));
            world.caller_acks_again(None);
        } else {
            assert!(number >= 8 && ["500", "491"].contains(&passed.what().as_str()), "{}", passed.what());
        }
    }
    world.skip();
    world.wait(40);
    world.skip();
    world.caller_offers("INVITE", Some(&moved()));
    world.at_caller("100");
    world.at(1, "INVITE");
}

#[test]
fn an_heir_answers_the_re_invite_that_is_sent_again() {
    let (mut world, mut callee) = talking();
    world.wait(40);
    let offer = world.callee_offers(&mut callee, "INVITE", Some(&sdp(5002)));
    world.skip();
    world.take_over(1_000);
    world.skip();
    world.request(offer, callee.address);
    world.at(1, "100");
    let passed = world.at_caller("INVITE");
    assert!(passed.cseq_number() > 1_000);
    world.caller_replies(&passed, reply(200).sdp(moved()));
    world.at_caller("ACK");
    world.at(1, "200");
}

#[test]
fn an_heir_acknowledges_what_a_lost_owner_was_answered_and_tells_how_the_session_stands() {
    let (mut world, _) = talking();
    world.wait(40);
    world.caller_offers("INVITE", Some(&moved()));
    let passed = world.at(1, "INVITE");
    world.skip();
    world.take_over(1_000);
    world.skip();
    world.reply(1, &passed, reply(200).sdp(sdp(5002)));
    let ack = world.at(1, "ACK");
    assert_eq!((ack.cseq_number(), ack.tag_in_to()), (passed.cseq_number(), "gw".to_owned()));
    // The caller's offer is lost: the callee is offered what the caller described before.
    let told = world.at(1, "INVITE");
    assert_eq!(told.body_text(), OFFER);
    world.reply(1, &told, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.nothing_more();
    assert_eq!(world.stage(), Stage::Answered);
}
