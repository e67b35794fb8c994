//! Session timers as a call is set up (RFC 4028), and the caps on its length.

use super::messages::{Peer, parse, reply};
use super::plan::{Plan, sdp};
use super::world::World;
use crate::parameters::{NoTimerAction, Overrides, Parameters, Source};
use std::time::Duration;
use tandem_sip::Name;

/// What a caller with session timers says.
const TIMED: &str = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n";

fn seconds(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The status and header with which an INVITE with these lines is refused.
fn refused(lines: &str, min_se_secs: u32) -> Option<(u16, Option<(Name, String)>)> {
    let mut plan = Plan { invite_lines: lines.to_owned(), ..Plan::default() };
    plan.parameters.session.min_se_secs = min_se_secs;
    let refused = crate::call::screen(&parse(plan.invite()), &plan.parameters).err()?;
    Some((refused.status.code(), refused.headers.into_iter().next()))
}

/// A call that gateway one answers with these header lines in its 200, and the callee.
fn answered(change: impl FnOnce(&mut Plan), lines: &str) -> (World, Peer) {
    let mut world = World::with(change);
    let invite = world.at(1, "INVITE");
    let mut answer = reply(200).sdp(sdp(5000));
    for line in lines.lines() {
        answer = answer.line(line);
    }
    world.reply(1, &invite, answer);
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.nothing_more();
    let callee = world.callee(&invite, "gw");
    (world, callee)
}

/// Both sides get a BYE with that Reason, and the record says so.
fn assert_ended(mut world: World, reason: &str) {
    let callee = world.at(1, "BYE");
    let caller = world.at_caller("BYE");
    world.nothing_more();
    for bye in [&callee, &caller] {
        assert_eq!(bye.reasons(), [format!("SIP 408 {reason}")]);
    }
    world.reply(1, &callee, reply(200));
    world.caller_replies(&caller, reply(200));
    let record = world.finish();
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&reason.into(), &"server".into()));
    assert_eq!(record["sip_status"], 200);
}

/// The call goes on for so long, and then ends so.
fn assert_ends_after(mut world: World, secs: u64, reason: &str) {
    world.advance(secs * 1_000 - 1);
    world.nothing_more();
    world.advance(1);
    assert_ended(world, reason);
}

#[test]
fn a_session_expires_below_min_se_gets_422_with_min_se() {
    let too_small = |min_se: &str| Some((422, Some((Name::MinSe, min_se.to_owned()))));
    assert_eq!(refused("Supported: timer\r\nSession-Expires: 89\r\n", 90), too_small("90"));
    assert_eq!(refused("Supported: timer\r\nx: 299;refresher=uac\r\n", 300), too_small("300"));
    assert_eq!(refused("Session-Expires: 1\r\n", 90), too_small("90"), "a proxy's");
    assert_eq!(refused("Supported: timer\r\nSession-Expires: 90\r\n", 90), None);
    assert_eq!(refused("Supported: timer\r\nMin-SE: 30\r\n", 90), None);
    assert_eq!(refused("Session-Expires: soon\r\n", 90), Some((400, None)));
    assert_eq!(refused("Supported: timer\r\nMin-SE: -5\r\n", 90), Some((400, None)));
}

#[test]
fn a_caller_may_require_timer() {
    assert_eq!(refused("Require: timer\r\nSession-Expires: 90\r\n", 90), None);
}

#[test]
fn the_2xx_to_the_caller_names_interval_and_refresher() {
    let rows = [
        ("Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n", "600;refresher=uac", true),
        ("Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n", "600;refresher=uas", true),
        ("Supported: timer\r\nSession-Expires: 600\r\n", "600;refresher=uas", true),
        ("Supported: timer\r\nSession-Expires: 90\r\n", "90;refresher=uas", true),
        ("Supported: timer\r\nSession-Expires: 1800\r\n", "600;refresher=uas", true),
        ("Supported: timer\r\nSession-Expires: 1800\r\nMin-SE: 900\r\n", "900;refresher=uas", true),
        ("Supported: timer\r\n", "600;refresher=uas", true),
        ("Session-Expires: 600\r\n", "600;refresher=uas", false),
    ];
    for (lines, expires, required) in rows {
        let (world, _) = answered(|plan| plan.invite_lines = lines.to_owned(), "");
        let ok = world.sent.iter().find(|got| got.what() == "200").expect("a 200");
        assert_eq!(ok.value(Name::SessionExpires), expires, "{lines}");
        assert_eq!(ok.value(Name::Supported), "timer", "{lines}");
        assert_eq!(ok.value(Name::Require), if required { "timer" } else { "" }, "{lines}");
    }
}

#[test]
fn an_untimed_caller_gets_no_session_expires() {
    for lines in ["", "Supported: 100rel\r\n", "Min-SE: 90\r\n"] {
        let (world, _) =
            answered(|plan| plan.invite_lines = lines.to_owned(), "Session-Expires: 600;refresher=uas");
        let ok = world.sent.iter().find(|got| got.what() == "200").expect("a 200");
        for name in [Name::SessionExpires, Name::Require, Name::Supported] {
            assert_eq!(ok.first(name), None, "{lines}");
        }
    }
}

#[test]
fn an_invite_asks_a_gateway_for_a_session_timer() {
    let mut world = World::with(|plan| {
        plan.gateway(1, |gateway| gateway.session_expires_s = 1800);
        plan.parameters.session.min_se_secs = 120;
    });
    let invite = world.at(1, "INVITE");
    assert_eq!(invite.value(Name::SessionExpires), "1800;refresher=uac");
    assert_eq!(invite.value(Name::MinSe), "120");
    assert_eq!(invite.value(Name::Supported), "timer");
    assert_eq!(invite.first(Name::Require), None);
}

#[test]
fn nothing_of_the_callers_session_timer_shows_on_the_callees_leg() {
    let mut world = World::with(|plan| {
        plan.invite_lines =
            "Supported: timer\r\nSession-Expires: 3600;refresher=uas\r\nMin-SE: 1000\r\n".to_owned();
    });
    let invite = world.at(1, "INVITE");
    assert_eq!(invite.value(Name::SessionExpires), "600;refresher=uac");
    assert_eq!(invite.value(Name::MinSe), "90");
}

#[test]
fn each_leg_takes_its_own_gateways_session_ttl() {
    let mut system = Parameters::default();
    system.set("SS_SIP_SESSION_TTL", "900", Source::File).expect("in its range");
    let mut own = Overrides::default();
    own.set("SS_SIP_SESSION_TTL", "300").expect("in its range");
    assert_eq!(system.call(&own).session.interval_secs, 300);
    assert_eq!(system.call(&Overrides::default()).session.interval_secs, 900);
    assert_eq!(system.attempt(&own, Vec::new()).session_expires_s, 300);
    assert_eq!(system.attempt(&Overrides::default(), Vec::new()).session_expires_s, 900);
}

#[test]
fn the_sent_session_expires_is_not_below_min_se_and_90_s() {
    for (ttl, min_se, expected) in [("60", "90", 90), ("60", "200", 200), ("600", "200", 600)] {
        let mut system = Parameters::default();
        system.set("SS_SIP_SESSION_TTL", ttl, Source::File).expect("in its range");
        system.set("SS_SIP_SESSION_MIN_SE", min_se, Source::File).expect("in its range");
        assert_eq!(system.call(&Overrides::default()).session.interval_secs, expected);
        assert_eq!(system.attempt(&Overrides::default(), Vec::new()).session_expires_s, expected);
    }
}

#[test]
fn a_caller_that_lets_its_session_lapse_ends_the_call() {
    let (world, _) = answered(|plan| plan.invite_lines = TIMED.to_owned(), "");
    assert_ends_after(world, 568, "session timeout");
}

#[test]
fn a_callee_that_lets_its_session_lapse_ends_the_call() {
    let (world, _) = answered(|_| {}, "Require: timer\r\nSession-Expires: 90;refresher=uas");
    assert_ends_after(world, 60, "session timeout");
}

#[test]
fn early_hangup_shifts_the_end_of_a_session_that_the_peer_lets_lapse() {
    for (mode, secs, expected) in [("grace", "30", 598), ("margin", "30", 538), ("margin", "3600", 400)] {
        let mut system = Parameters::default();
        system.set("SS_SIP_SESSION_TIMEOUT_EARLY_HANGUP", secs, Source::File).expect("in its range");
        system.set("SS_SIP_SESSION_EARLY_HANGUP_MODE", mode, Source::File).expect("in its range");
        let session = system.call(&Overrides::default()).session;
        let (world, _) = answered(
            |plan| {
                plan.invite_lines = TIMED.to_owned();
                plan.parameters.session = session;
            },
            "",
        );
        assert_ends_after(world, expected, "session timeout");
    }
}

#[test]
fn a_caller_without_timer_is_cut_off_at_the_no_timer_cap() {
    let (world, _) = answered(|_| {}, "");
    assert_ends_after(world, 7200, "no-timer cap");
    // Also if the callee has a session timer: it is the caller that is not watched.
    let (world, _) =
        answered(|plan| plan.parameters.no_timer = Some(seconds(60)), "Session-Expires: 600;refresher=uas");
    assert_ends_after(world, 60, "no-timer cap");
}

#[test]
fn a_caller_with_timer_is_not_cut_off() {
    for lines in ["Supported: timer\r\n", "Session-Expires: 86400;refresher=uac\r\nSupported: timer\r\n"] {
        let (mut world, _) = answered(
            |plan| {
                plan.invite_lines = lines.to_owned();
                plan.parameters.no_timer = Some(seconds(60));
            },
            "",
        );
        world.wait(61);
        world.nothing_more();
    }
}

#[test]
fn no_timer_reinvite_interval_0_is_off() {
    let mut system = Parameters::default();
    system.set("SS_SIP_NO_TIMER_REINVITE_INTERVAL", "0", Source::File).expect("in its range");
    assert_eq!(system.call(&Overrides::default()).no_timer, None);
    let (mut world, _) = answered(|plan| plan.parameters.no_timer = None, "");
    world.wait(100_000);
    world.nothing_more();
}

#[test]
fn the_smallest_cap_wins_and_names_itself() {
    let cap = |no_timer: u64, max: Option<u64>, gateway: Option<u64>, looked: Option<u64>| {
        answered(
            |plan| {
                plan.parameters.no_timer = Some(seconds(no_timer));
                plan.parameters.max_duration = max.map(seconds);
                plan.gateway(1, |attempt| attempt.max_duration = gateway.map(seconds));
                plan.looked_max_duration = looked.map(seconds);
            },
            "",
        )
        .0
    };
    assert_ends_after(cap(100, Some(200), None, None), 100, "no-timer cap");
    assert_ends_after(cap(200, Some(100), None, None), 100, "max duration");
    assert_ends_after(cap(300, Some(200), Some(100), None), 100, "max duration");
    assert_ends_after(cap(300, Some(200), None, Some(100)), 100, "max duration");
    assert_ends_after(cap(100, Some(100), None, None), 100, "max duration");
}

#[test]
fn a_routing_gateways_own_no_timer_interval_caps_too() {
    let (world, _) = answered(
        |plan| {
            plan.gateway(1, |gateway| gateway.no_timer_cap = Some(seconds(50)));
        },
        "",
    );
    assert_ends_after(world, 50, "no-timer cap");
    // The system's value, which it would have without one of its own, does not undo the mapping gateway's "off".
    let system = Parameters::default();
    assert_eq!(system.attempt(&Overrides::default(), Vec::new()).no_timer_cap, None);
    let mut own = Overrides::default();
    own.set("SS_SIP_NO_TIMER_REINVITE_INTERVAL", "50").expect("in its range");
    assert_eq!(system.attempt(&own, Vec::new()).no_timer_cap, Some(seconds(50)));
}

#[test]
fn a_call_to_an_emergency_number_is_not_ended_by_the_caps() {
    let (mut world, _) = answered(
        |plan| {
            plan.emergency = true;
            plan.parameters.no_timer = Some(seconds(60));
            plan.parameters.max_duration = Some(seconds(60));
            plan.every_gateway(|gateway| {
                gateway.max_duration = Some(seconds(60));
                gateway.no_timer_cap = Some(seconds(60));
            });
            plan.looked_max_duration = Some(seconds(60));
        },
        "",
    );
    world.wait(100_000);
    world.nothing_more();
    world.take_over(2_000);
    world.wait(100_000);
    world.nothing_more();
}

#[test]
fn a_call_to_an_emergency_number_stays_one_for_the_heir_of_its_set_up() {
    let mut world = World::with(|plan| {
        plan.emergency = true;
        plan.parameters.max_duration = Some(seconds(60));
    });
    let invite = world.at(1, "INVITE");
    world.take_over(2_000);
    world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.wait(1_000);
    world.nothing_more();
}

#[test]
fn a_session_timer_ends_a_call_to_an_emergency_number_all_the_same() {
    let (world, _) = answered(|plan| plan.emergency = true, "Session-Expires: 600;refresher=uas");
    assert_ends_after(world, 568, "session timeout");
}

#[test]
fn with_probe_there_is_no_cap() {
    let (mut world, _) = answered(
        |plan| {
            plan.parameters.no_timer_action = NoTimerAction::Probe;
            plan.invite_lines = TIMED.to_owned();
            plan.parameters.no_timer = Some(seconds(60));
            plan.every_gateway(|gateway| gateway.no_timer = None);
        },
        "",
    );
    world.wait(500);
    world.nothing_more();
}

#[test]
fn an_heir_ends_the_call_at_the_time_that_was_set() {
    let (mut world, _) = answered(|plan| plan.parameters.no_timer = Some(seconds(100)), "");
    world.wait(40);
    world.take_over(2_000);
    world.skip();
    assert_ends_after(world, 58, "no-timer cap");

    let (mut world, _) = answered(|plan| plan.invite_lines = TIMED.to_owned(), "");
    world.wait(40);
    world.take_over(2_000);
    world.skip();
    assert_ends_after(world, 526, "session timeout");

    let (mut world, _) = answered(|plan| plan.invite_lines = TIMED.to_owned(), "");
    world.wait(40);
    world.skip();
    // It was dead for longer than the session lived.
    world.take_over(600_000);
    world.advance(0);
    assert_ended(world, "session timeout");
}

#[test]
fn an_heir_repeats_the_2xx_to_the_caller_word_for_word() {
    let mut world = World::with(|plan| plan.invite_lines = TIMED.to_owned());
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(200).sdp(sdp(5000)).line("Session-Expires: 600;refresher=uac"));
    world.at(1, "ACK");
    let first = world.at_caller("200");
    world.take_over(2_000);
    world.at(1, "ACK");
    let again = world.at_caller("200");
    for name in [Name::SessionExpires, Name::Require, Name::Supported] {
        assert_eq!(again.value(name), first.value(name));
    }
}

#[test]
fn a_snapshot_with_session_timers_stays_small() {
    let (world, _) =
        answered(|plan| plan.invite_lines = TIMED.to_owned(), "Session-Expires: 600;refresher=uac");
    let largest = world.commits.iter().map(|(_, size)| *size).max().expect("commits");
    assert!(largest < 2048, "{largest} bytes");
}

#[test]
fn a_422_of_a_gateway_is_followed_once_within_the_attempt() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(422).line("Min-SE: 1800"));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    assert_eq!(second.value(Name::SessionExpires), "1800;refresher=uac");
    assert_eq!(second.value(Name::MinSe), "1800");
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.from_tag(), first.from_tag());
    assert_eq!(second.cseq_number(), first.cseq_number() + 1);
    assert_ne!(second.branch(), first.branch());
    // Not a switch: the same record, no other gateway.
    assert_eq!(world.attempted(), ["one"]);
    world.reply(1, &second, reply(200).sdp(sdp(5000)).line("Session-Expires: 1800;refresher=uas"));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.nothing_more();
    world.caller_sends("BYE");
    world.skip();
    let record = world.finish();
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_422_that_leads_nowhere_fails_the_attempt() {
    // Again, without Min-SE, one that was respected, one beyond every limit twice.
    let rows: [&[&str]; 5] = [
        &["Min-SE: 900", "Min-SE: 1800"],
        &[""],
        &["Min-SE: 600"],
        &["Min-SE: x"],
        &["Min-SE: 4294967295"; 2],
    ];
    for answers in rows {
        let mut world = World::start();
        for lines in answers {
            let invite = world.at(1, "INVITE");
            let answer = if lines.is_empty() { reply(422) } else { reply(422).line(lines) };
            world.reply(1, &invite, answer);
            world.at(1, "ACK");
        }
        world.at(2, "INVITE");
        world.nothing_more();
        assert_eq!(world.attempted(), ["one", "two"], "{answers:?}");
    }
}

#[test]
fn a_gateways_422_does_not_reach_the_caller() {
    let mut world = World::with(|plan| {
        plan.gateways(1);
    });
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, reply(422));
    world.at(1, "ACK");
    world.at_caller("500");
    world.caller_acks(None);
    world.finish();
}

#[test]
fn a_copy_of_the_422_gets_its_ack_again() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(422).line("Min-SE: 1800"));
    let ack = world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &first, reply(422).line("Min-SE: 1800"));
    assert_eq!(world.at(1, "ACK").text(), ack.text());
    world.nothing_more();
    // The INVITE timeout runs anew.
    world.wait(9);
    world.reply(1, &second, reply(180));
    world.at_caller("180");
    world.wait(9);
    assert_eq!(world.attempted(), ["one"]);
}

#[test]
fn an_heir_sends_the_lengthened_invite_word_for_word() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(422).line("Min-SE: 1800"));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.take_over(1_000);
    assert_eq!(world.at(1, "INVITE").text(), second.text());
    // And does not follow another 422.
    world.reply(1, &second, reply(422).line("Min-SE: 3600"));
    world.at(1, "ACK");
    world.at(2, "INVITE");
}
