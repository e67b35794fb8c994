//! Commits: what is written before what goes out, and how large it is.

use super::messages::reply;
use super::plan::{OFFER, Plan, sdp};
use super::world::World;
use crate::call::Action;
use crate::cdr::EndReason;
use crate::routing::MAX_CANDIDATES;

/// The most that a call may keep in the shared state.
const MAX_SNAPSHOT: usize = 2_048;

/// A caller's INVITE as a carrier's border element sends it: about 900 bytes.
fn typical(plan: &mut Plan) {
    plan.pass_headers = vec!["Diversion".to_owned()];
    plan.invite_lines = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK\r\n\
        Supported: timer, 100rel, replaces\r\n\
        User-Agent: Example Gateway 4.2.1\r\n\
        Session-Expires: 1800\r\nMin-SE: 90\r\n\
        Diversion: <sip:+442071838750@diverting.example>;reason=unconditional\r\n"
        .to_owned();
    plan.offer = Some(long(OFFER));
}

/// A session description as gateways write it.
fn long(description: &str) -> String {
    let (session, media) = description.split_once("m=audio").expect("audio");
    let ports = media.split_once(" RTP").map_or("", |(port, _)| port);
    format!(
        "{session}m=audio{ports} RTP/AVP 8 0 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:150\r\na=sendrecv\r\n"
    )
}

fn last_size(world: &World) -> usize {
    world.commits.last().expect("a commit").1
}

#[test]
fn a_commit_goes_before_the_invite() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    assert_eq!(first.after, Some(1));
    world.reply(1, &first, reply(503));
    let second = world.at(2, "INVITE");
    assert_eq!(second.after, Some(2));
}

#[test]
fn a_commit_goes_before_the_first_provisional_with_sdp() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(180));
    assert_eq!(world.at_caller("180").after, None);
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    assert_eq!(world.at_caller("183").after, Some(2));
    // A copy needs no commit, and does not overtake the one before.
    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    assert_eq!(world.at_caller("183").after, Some(2));
    // Another fork's is a first one too.
    world.reply(1, &invite, reply(183).tag("b").sdp(sdp(5002)));
    assert_eq!(world.at_caller("183").after, Some(3));
}

#[test]
fn what_is_sent_again_follows_the_commit_of_the_first_sending() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.advance(500);
    assert_eq!(world.at(1, "INVITE").after, invite.after);

    world.reply(1, &invite, reply(183).sdp(sdp(5000)));
    let ringing = world.at_caller("183");
    world.caller_repeats_invite();
    assert_eq!(world.at_caller("183").after, ringing.after);

    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    let (answer, ack) = (world.at_caller("200"), world.at(1, "ACK"));
    assert!(answer.after > ringing.after && ack.after == answer.after);
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at(1, "ACK").after, ack.after);
    world.advance(500);
    assert_eq!(world.at_caller("200").after, answer.after);
}

#[test]
fn the_callees_bye_does_not_overtake_its_ack() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.hang_up(EndReason::Admin);
    let ack = world.at(1, "ACK");
    assert_eq!(world.at(1, "BYE").after, ack.after);
    world.advance(500);
    assert_eq!(world.at(1, "BYE").after, ack.after);
}

#[test]
fn a_commit_goes_before_the_answer_and_before_the_failure() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    assert_eq!(world.at_caller("200").after, Some(2));
    // Else the callee would not repeat to an heir the answer of which it knows nothing.
    assert_eq!(world.at(1, "ACK").after, Some(2));

    for prepare in [World::start as fn() -> World, || World::with(|plan| plan.candidates.clear())] {
        let mut world = prepare();
        if world.releases().is_empty() {
            world.caller_cancels("");
        }
        let failure = world.sent.iter().rev().find(|got| !got.is_request()).cloned();
        let failure = failure.expect("a failure");
        assert_eq!(failure.after, world.commits.last().map(|(seq, _)| *seq));
    }
}

#[test]
fn a_commit_stands_before_what_waits_for_it() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    let response = reply(183).sdp(sdp(5000)).to(&invite, invite.flow.remote);
    let call = world.call.as_mut().expect("a call");
    let actions = call.handle(world.now, crate::call::Input::Response(response));
    let place = |wanted: fn(&Action) -> bool| actions.iter().position(wanted);
    let commit = place(|action| matches!(action, Action::Commit { seq: 2, .. }));
    let send = place(|action| matches!(action, Action::Send { after: Some(2), .. }));
    assert!(commit.is_some() && commit < send, "{actions:?}");
}

#[test]
fn a_typical_calls_snapshot_fits_2_kb_in_every_phase() {
    let mut world = World::with(typical);
    let invite = world.at(1, "INVITE");
    let size = |part: &str, world: &World| {
        let size = last_size(world);
        assert!(size <= MAX_SNAPSHOT, "{part}: {size} bytes");
        println!("{part}: {size} bytes");
    };
    println!("the caller's INVITE: {} bytes", world.plan.invite().len());
    size("hunting, two candidates left", &world);
    world.reply(1, &invite, reply(183).sdp(long(&sdp(5000))));
    size("early media", &world);
    world.reply(1, &invite, reply(200).sdp(long(&sdp(5000))));
    size("connected", &world);
    world.caller_acks(None);
    let moved = long(OFFER).replace("o=- 1 1 ", "o=- 1 2 ");
    world.caller_offers("INVITE", Some(&moved));
    let passed = world.sent.last().cloned().expect("an INVITE");
    world.reply(1, &passed, reply(200).sdp(long(&sdp(5002))));
    size("another description of both", &world);

    let mut world = World::with(typical);
    world.wait(10);
    size("hunting, one left open", &world);
    world.wait(10);
    size("hunting, two left open", &world);
    world.wait(10);
    size("clearing, three left open", &world);
}

#[test]
fn a_typical_calls_snapshot_fits_2_kb_with_every_candidate_there_can_be() {
    let world = World::with(|plan| {
        typical(plan);
        let candidate = plan.candidates[0].clone();
        plan.candidates = vec![candidate; MAX_CANDIDATES];
    });
    println!("hunting, {MAX_CANDIDATES} candidates: {} bytes", last_size(&world));
    assert!(last_size(&world) <= MAX_SNAPSHOT);
}

#[test]
fn the_end_follows_all_commits() {
    let mut world = World::start();
    world.answered_by(1);
    world.caller_acks(None);
    world.caller_sends("BYE");
    assert!(world.stored.is_none());
    world.wait(100);
    assert!(world.stored.is_none(), "nothing is written after the end");
    assert_eq!(world.commits.len(), 2);
}
