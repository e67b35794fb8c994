//! Hold and resume (RFC 3264 §8.4): by direction, and by a connection address of zeros.

use super::messages::{Peer, reply};
use super::plan::{OFFER, sdp};
use super::world::World;

fn answer(port: u16, direction: &str) -> String {
    format!("{}a={direction}\r\n", sdp(port).replace("o=- ", "o=1 "))
}

/// One exchange of the caller's.
fn exchange(world: &mut World, offer: &str, answer: &str) {
    world.caller_offers("INVITE", Some(offer));
    world.at_caller("100");
    let passed = world.at(1, "INVITE");
    assert_eq!(passed.body_text(), offer);
    world.reply(1, &passed, reply(200).sdp(answer));
    world.at(1, "ACK");
    assert_eq!(world.at_caller("200").body_text(), answer);
    world.caller_acks_again(None);
    world.nothing_more();
}

fn talking() -> (World, Peer) {
    World::start().talking()
}

#[test]
fn hold_and_resume_pass_and_leave_the_records_codec() {
    let (mut world, _) = talking();
    let hold =
        format!("{}a=sendonly\r\n", OFFER.replace("o=- 1 1 ", "o=- 1 2 ").replace("RTP/AVP 8", "RTP/AVP 0"));
    exchange(&mut world, &hold, &answer(5000, "recvonly").replace("RTP/AVP 8", "RTP/AVP 0"));
    let resume = OFFER.replace("o=- 1 1 ", "o=- 1 3 ");
    exchange(&mut world, &resume, &answer(5000, "sendrecv"));
    world.caller_sends("BYE");
    assert_eq!(world.finish()["codec"], "PCMA");
}

#[test]
fn the_old_hold_by_an_address_of_zeros_passes_as_it_is() {
    let (mut world, _) = talking();
    let hold = OFFER.replace("o=- 1 1 ", "o=- 1 2 ").replace("c=IN IP4 192.0.2.11", "c=IN IP4 0.0.0.0");
    exchange(&mut world, &hold, &answer(5000, "sendrecv").replace("RTP/AVP 8", "RTP/AVP 18"));
    world.caller_sends("BYE");
    assert_eq!(world.finish()["codec"], "PCMA");
}

#[test]
fn both_parties_hold_and_resume_on_their_own() {
    let (mut world, mut callee) = talking();
    let hold = format!("{}a=sendonly\r\n", OFFER.replace("o=- 1 1 ", "o=- 1 2 "));
    exchange(&mut world, &hold, &answer(5000, "recvonly"));
    let both = format!("{}a=inactive\r\n", sdp(5001));
    world.callee_offers(&mut callee, "INVITE", Some(&both));
    world.at(1, "100");
    let passed = world.at_caller("INVITE");
    assert_eq!(passed.body_text(), both);
    world.caller_replies(&passed, reply(200).sdp(hold.replace("sendonly", "inactive")));
    world.at_caller("ACK");
    assert!(world.at(1, "200").body_text().contains("a=inactive"));
    world.callee_acks(&callee, None);
    world.nothing_more();
}

#[test]
fn a_hold_that_does_not_count_its_version_up_passes_all_the_same() {
    let (mut world, _) = talking();
    let hold = format!("{OFFER}a=sendonly\r\n");
    exchange(&mut world, &hold, &answer(5000, "recvonly"));
}

#[test]
fn a_hold_refreshed_stays_a_hold() {
    let (mut world, mut callee) = talking();
    let hold = format!("{}a=sendonly\r\n", OFFER.replace("o=- 1 1 ", "o=- 1 2 "));
    let held = answer(5000, "recvonly");
    exchange(&mut world, &hold, &held);
    world.callee_offers(&mut callee, "INVITE", Some(&held));
    assert_eq!(world.at(1, "200").body_text(), hold);
    world.callee_acks(&callee, None);
    world.nothing_more();
}
