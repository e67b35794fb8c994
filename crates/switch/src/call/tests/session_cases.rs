//! Session timers through the whole call: role × method × answer × loss, by the clock.
//!
//! Each test runs a generated table; every case is printed with its name before it is run, so that a failure names it.

use super::messages::{Got, Peer, Reply, reply};
use super::plan::{OFFER, sdp};
use super::world::World;
use crate::call::Stage;
use crate::call::connected::{Party, Refresh};
use crate::parameters::NoTimerAction;
use std::time::Duration;
use tandem_sip::session_timer::Schedule;
use tandem_sip::{Message, Name};

/// The leg whose session it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    Caller,
    Callee,
}

/// Who refreshes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refresher {
    Switch,
    Peer,
}

/// A call whose one leg has a session timer, and the other one none.
struct Talk {
    world: World,
    leg: Leg,
    peer: Peer,
    /// When the session began.
    start: u64,
}

const LEGS: [Leg; 2] = [Leg::Caller, Leg::Callee];
const METHODS: [&str; 2] = ["UPDATE", "INVITE"];

/// The methods that a peer says it takes.
fn allow(method: &str) -> &'static str {
    if method == "UPDATE" { "Allow: INVITE, ACK, BYE, UPDATE" } else { "Allow: INVITE, ACK, BYE" }
}

impl Talk {
    /// A call with a session of that interval on that leg; its peer takes refreshes by `method`.
    fn new(
        leg: Leg,
        method: &str,
        refresher: Refresher,
        interval: u32,
        change: impl FnOnce(&mut super::plan::Plan),
    ) -> Self {
        let role = match (leg, refresher) {
            (Leg::Caller, Refresher::Switch) | (Leg::Callee, Refresher::Peer) => "uas",
            (Leg::Caller, Refresher::Peer) | (Leg::Callee, Refresher::Switch) => "uac",
        };
        let timer = format!("Session-Expires: {interval};refresher={role}");
        let mut world = World::with(|plan| {
            plan.parameters.no_timer = None;
            plan.parameters.session.interval_secs = 3600;
            if leg == Leg::Caller {
                plan.invite_lines = format!("Supported: timer\r\n{timer}\r\n{}\r\n", allow(method));
            }
            change(plan);
        });
        let invite = world.at(1, "INVITE");
        let mut answer = reply(200).sdp(sdp(5000));
        if leg == Leg::Callee {
            answer = answer.line(&timer).line(allow(method));
        }
        world.reply(1, &invite, answer);
        world.at(1, "ACK");
        world.at_caller("200");
        world.caller_acks(None);
        world.nothing_more();
        let start = world.now.mono.0;
        let peer = match leg {
            Leg::Caller => world.caller.clone(),
            Leg::Callee => world.callee(&invite, "gw"),
        };
        Self { world, leg, peer, start }
    }

    /// Milliseconds since the session began.
    fn elapsed(&self) -> u64 {
        self.world.now.mono.0 - self.start
    }

    /// Lets time pass until so long after the session began; nothing is sent until then.
    fn quiet_until(&mut self, ms: u64) {
        let left = ms.checked_sub(self.elapsed() + 1).expect("a time to come");
        self.world.advance(left);
        self.world.nothing_more();
        self.world.advance(1);
    }

    /// The next message that the peer was sent, which must be this one.
    fn at_peer(&mut self, expected: &str) -> Got {
        match self.leg {
            Leg::Caller => self.world.at_caller(expected),
            Leg::Callee => self.world.at(1, expected),
        }
    }

    fn replies(&mut self, request: &Message, reply: Reply) {
        match self.leg {
            Leg::Caller => self.world.caller_replies(request, reply),
            Leg::Callee => self.world.reply(1, request, reply),
        }
    }

    /// The description that the peer last sent.
    fn description(&self) -> String {
        match self.leg {
            Leg::Caller => OFFER.to_owned(),
            Leg::Callee => sdp(5000),
        }
    }

    /// The peer's 200 to a refresh, with these header lines.
    fn accepts(&mut self, request: &Got, lines: &[&str]) {
        let mut answer = reply(200);
        if request.what() == "INVITE" {
            answer = answer.sdp(self.description());
        }
        for line in lines {
            answer = answer.line(line);
        }
        self.replies(request, answer);
        if request.what() == "INVITE" {
            self.at_peer("ACK");
        }
    }

    /// The peer's failure.
    fn refuses(&mut self, request: &Got, status: u16, lines: &[&str]) {
        let mut answer = reply(status);
        for line in lines {
            answer = answer.line(line);
        }
        self.replies(request, answer);
        if request.what() == "INVITE" {
            self.at_peer("ACK");
        }
    }

    /// The call ends now, since the session is over.
    fn assert_ended(mut self, reason: &str) {
        let callee = self.world.at(1, "BYE");
        let caller = self.world.at_caller("BYE");
        self.world.nothing_more();
        for bye in [&callee, &caller] {
            assert_eq!(bye.reasons(), [format!("SIP 408 {reason}")]);
        }
        self.world.reply(1, &callee, reply(200));
        self.world.caller_replies(&caller, reply(200));
        assert_eq!(self.world.finish()["end_reason"], reason);
    }

    /// Nothing happens for a long time.
    fn assert_untimed(mut self) {
        self.world.wait(100_000);
        self.world.nothing_more();
    }
}

/// What the peer answers to a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 200 with this Session-Expires.
    Accepts(&'static str),
    /// 200 without Session-Expires.
    TurnsOff,
    /// 422 with Min-SE: 900, then 200.
    TooSmall,
    /// 422 without Min-SE.
    TooSmallWithout,
    /// 491.
    Glare,
    /// A failure that says nothing else.
    Fails(u16),
    /// 500 with Retry-After: 5.
    RetryAfter,
}

/// What is lost on the way, or comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Nothing,
    /// The request once: it is sent again after 0.5 s.
    FirstRequest,
    /// Everything for 20 s.
    TwentySeconds,
    /// Nothing, but the answer comes twice.
    AnswerTwice,
}

const ANSWERS: [Answer; 16] = [
    Answer::Accepts("600;refresher=uac"),
    Answer::Accepts("600;refresher=uas"),
    Answer::Accepts("600"),
    Answer::Accepts("120;refresher=uac"),
    Answer::TurnsOff,
    Answer::TooSmall,
    Answer::TooSmallWithout,
    Answer::Glare,
    Answer::Fails(408),
    Answer::Fails(481),
    Answer::Fails(405),
    Answer::Fails(501),
    Answer::Fails(488),
    Answer::Fails(500),
    Answer::Fails(503),
    Answer::RetryAfter,
];

const LOSSES: [Loss; 4] = [Loss::Nothing, Loss::FirstRequest, Loss::TwentySeconds, Loss::AnswerTwice];

/// One case: the switch's refresh, 300 s into a session of 600 s, is answered so.
fn refresh_case(leg: Leg, method: &str, answer: Answer, loss: Loss) {
    let mut talk = Talk::new(leg, method, Refresher::Switch, 600, |_| {});
    talk.quiet_until(300_000);
    let request = talk.at_peer(method);
    assert_eq!(request.value(Name::SessionExpires), "600;refresher=uac");
    assert_eq!(request.value(Name::MinSe), "90");
    assert_eq!(request.value(Name::Supported), "timer");
    assert_eq!(
        request.body().is_empty(),
        method == "UPDATE",
        "the description unchanged in an INVITE, none in UPDATE"
    );
    match loss {
        Loss::Nothing | Loss::AnswerTwice => {}
        Loss::FirstRequest => {
            talk.quiet_until(300_500);
            assert_eq!(talk.at_peer(method).text(), request.text());
        }
        Loss::TwentySeconds => {
            talk.world.advance(20_000);
            talk.world.skip();
        }
    }
    let twice = loss == Loss::AnswerTwice;
    let answered = talk.elapsed();
    // What a copy of a refusal or of a 2xx brings about is its ACK, and nothing else.
    let again = |talk: &mut Talk, answer: Reply| {
        talk.replies(&request, answer);
        if method == "INVITE" {
            talk.at_peer("ACK");
        }
        talk.world.nothing_more();
    };
    match answer {
        Answer::Accepts(expires) => {
            let line = format!("Session-Expires: {expires}");
            talk.accepts(&request, &[&line]);
            if twice {
                let description = talk.description();
                let copy = reply(200).line(&line);
                again(&mut talk, if method == "INVITE" { copy.sdp(description) } else { copy });
            }
            match expires {
                "600;refresher=uas" => {
                    talk.quiet_until(answered + 568_000);
                    return talk.assert_ended("session timeout");
                }
                "120;refresher=uac" => talk.quiet_until(answered + 60_000),
                _ => talk.quiet_until(answered + 300_000),
            }
            talk.at_peer(method);
        }
        Answer::TurnsOff => {
            talk.accepts(&request, &[]);
            talk.assert_untimed();
        }
        Answer::TooSmall => {
            talk.refuses(&request, 422, &["Min-SE: 900"]);
            let longer = talk.at_peer(method);
            assert_eq!(longer.value(Name::SessionExpires), "900;refresher=uac");
            assert_eq!(longer.value(Name::MinSe), "900");
            assert_eq!(longer.cseq_number(), request.cseq_number() + 1);
            if twice {
                again(&mut talk, reply(422).line("Min-SE: 900"));
            }
            talk.accepts(&longer, &["Session-Expires: 900;refresher=uac"]);
            talk.quiet_until(answered + 450_000);
            talk.at_peer(method);
        }
        Answer::Glare => {
            talk.refuses(&request, 491, &[]);
            if twice {
                again(&mut talk, reply(491));
            }
            // The owner of the Call-ID waits longer (RFC 3261 §14.1).
            let (least, most) = if leg == Leg::Callee { (2_100, 4_000) } else { (0, 2_000) };
            talk.world.advance(most);
            let retry = talk.at_peer(method);
            let waited = retry.at.0 - talk.start - answered;
            assert!((least..=most).contains(&waited), "{waited} ms");
        }
        Answer::Fails(status @ (408 | 481)) => {
            talk.refuses(&request, status, &[]);
            talk.assert_ended("session timeout");
        }
        Answer::Fails(status @ (405 | 501)) if method == "UPDATE" => {
            talk.refuses(&request, status, &[]);
            let invite = talk.at_peer("INVITE");
            assert_eq!(invite.value(Name::SessionExpires), "600;refresher=uac");
            if twice {
                again(&mut talk, reply(status));
            }
            talk.accepts(&invite, &["Session-Expires: 600;refresher=uac"]);
            talk.quiet_until(answered + 300_000);
            talk.at_peer("INVITE");
        }
        Answer::TooSmallWithout | Answer::Fails(_) => {
            let status = if let Answer::Fails(status) = answer { status } else { 422 };
            talk.refuses(&request, status, &[]);
            if twice {
                again(&mut talk, reply(status));
            }
            // Once more as late as there is time, and then the session is over.
            talk.quiet_until(558_000);
            let last = talk.at_peer(method);
            talk.refuses(&last, status, &[]);
            talk.quiet_until(568_000);
            talk.assert_ended("session timeout");
        }
        Answer::RetryAfter => {
            talk.refuses(&request, 500, &["Retry-After: 5"]);
            if twice {
                again(&mut talk, reply(500).line("Retry-After: 5"));
            }
            talk.quiet_until(answered + 5_000);
            talk.at_peer(method);
        }
    }
}

#[test]
fn a_refresh_of_ours_by_role_method_answer_and_loss() {
    let mut cases = 0;
    for leg in LEGS {
        for method in METHODS {
            for answer in ANSWERS {
                for loss in LOSSES {
                    println!("{:<8}{method:<8}{:<32}{loss:?}", format!("{leg:?}"), format!("{answer:?}"));
                    refresh_case(leg, method, answer, loss);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 256);
}

#[test]
fn a_refresh_that_nobody_answers_by_role_method_interval_and_schedule() {
    // Interval, segment, schedule: the refreshes and the end, in seconds. A refresh is open for 32 s.
    let rows: [(u32, u32, Schedule, &[u64], u64); 10] = [
        (600, 2, Schedule::Divide, &[300], 332),
        (600, 4, Schedule::Divide, &[150, 300, 450], 482),
        (600, 10, Schedule::Divide, &[60, 120, 180, 240, 300, 360, 420, 480, 540], 568),
        (90, 2, Schedule::Divide, &[45], 60),
        (90, 10, Schedule::Divide, &[9, 45], 60),
        (1800, 3, Schedule::Divide, &[600, 1200], 1232),
        (600, 2, Schedule::Late, &[300], 332),
        (600, 4, Schedule::Late, &[450], 482),
        (600, 10, Schedule::Late, &[540], 568),
        (90, 4, Schedule::Late, &[50], 60),
    ];
    for leg in LEGS {
        for method in METHODS {
            for (interval, segment, schedule, refreshes, end) in rows {
                println!(
                    "{leg:?} {method} {interval} s ÷ {segment} {schedule:?}: {refreshes:?}, ends at {end} s"
                );
                let mut talk = Talk::new(leg, method, Refresher::Switch, interval, |plan| {
                    plan.parameters.session.segment = segment;
                    plan.parameters.session.schedule = schedule;
                });
                for at in refreshes {
                    talk.quiet_until(at * 1_000);
                    talk.at_peer(method);
                    // Sent again, until nobody will answer any more.
                    let open = 32_000.min(end * 1_000 - talk.elapsed());
                    talk.world.advance(open - 1);
                    talk.world.skip();
                }
                talk.world.advance(1);
                assert_eq!(talk.elapsed(), end * 1_000);
                talk.assert_ended("session timeout");
            }
        }
    }
}

#[test]
fn a_refresh_that_cannot_be_delivered_is_one_without_answer() {
    for leg in LEGS {
        for method in METHODS {
            let mut talk =
                Talk::new(leg, method, Refresher::Switch, 600, |plan| plan.parameters.session.segment = 4);
            for at in [150, 300] {
                talk.quiet_until(at * 1_000);
                let request = talk.at_peer(method);
                talk.world.undeliverable(&request);
                talk.world.nothing_more();
            }
            talk.quiet_until(450_000);
            let request = talk.at_peer(method);
            talk.world.undeliverable(&request);
            talk.assert_ended("session timeout");
        }
    }
}

/// One case: the peer, which refreshes a session of 600 s, sends a refresh with these lines after 200 s.
fn served_case(leg: Leg, method: &str, (lines, expected, then): (&str, &str, Then), twice: bool) {
    let mut talk =
        Talk::new(leg, method, Refresher::Peer, 600, |plan| plan.parameters.session.interval_secs = 600);
    talk.world.wait(200);
    let body = (method == "INVITE").then(|| talk.description());
    let cseq = talk.peer.cseq + 1;
    let request = talk.peer.request_with(method, cseq, lines, body.as_deref());
    let from = talk.peer.address;
    talk.world.request(request.clone(), from);
    let (status, value) = expected.split_once(' ').expect("a status and a header");
    let answer = talk.at_peer(status);
    match then {
        Then::Refused => assert_eq!(answer.value(Name::MinSe), value),
        Then::SwitchRefreshes | Then::PeerRefreshes => {
            assert_eq!(answer.value(Name::SessionExpires), value);
            let required = if lines.contains("Supported") { "timer" } else { "" };
            assert_eq!(answer.value(Name::Require), required);
        }
    }
    if twice {
        talk.world.request(request, from);
        // A copy of an INVITE that was accepted is absorbed: the 2xx is sent again until its ACK (RFC 6026 §7.1).
        if method == "UPDATE" || then == Then::Refused {
            assert_eq!(talk.at_peer(status).text(), answer.text());
        }
    }
    if method == "INVITE" {
        let ack = talk.peer.request_with("ACK", cseq, "", None);
        talk.world.request(ack, from);
    }
    talk.world.nothing_more();
    match then {
        Then::SwitchRefreshes => {
            talk.quiet_until(500_000);
            talk.at_peer(method);
        }
        Then::PeerRefreshes => {
            talk.quiet_until(768_000);
            talk.assert_ended("session timeout");
        }
        Then::Refused => {
            talk.quiet_until(568_000);
            talk.assert_ended("session timeout");
        }
    }
}

/// Whose turn it is after a refresh of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    SwitchRefreshes,
    PeerRefreshes,
    /// The session goes on as it was.
    Refused,
}

#[test]
fn a_refresh_of_the_peers_by_role_method_headers_and_copies() {
    let rows = [
        (
            "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n",
            "200 600;refresher=uac",
            Then::PeerRefreshes,
        ),
        (
            "Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n",
            "200 600;refresher=uas",
            Then::SwitchRefreshes,
        ),
        ("Supported: timer\r\nSession-Expires: 600\r\n", "200 600;refresher=uas", Then::SwitchRefreshes),
        (
            "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n",
            "200 600;refresher=uac",
            Then::PeerRefreshes,
        ),
        ("Supported: timer\r\n", "200 600;refresher=uas", Then::SwitchRefreshes),
        ("Session-Expires: 600\r\n", "200 600;refresher=uas", Then::SwitchRefreshes),
        ("", "200 600;refresher=uas", Then::SwitchRefreshes),
        ("Supported: timer\r\nSession-Expires: 50\r\n", "422 90", Then::Refused),
        ("Supported: timer\r\nSession-Expires: x\r\n", "400 ", Then::Refused),
    ];
    let mut cases = 0;
    for leg in LEGS {
        for method in METHODS {
            for row in rows {
                for twice in [false, true] {
                    println!("{leg:?} {method} {row:?}{}", if twice { ", twice" } else { "" });
                    served_case(leg, method, row, twice);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 72);
}

/// A call without session timers on either leg, whose parties are probed: the caller each 100 s, the callee each 250 s.
fn probed() -> (World, u64) {
    let mut world = World::with(|plan| {
        plan.parameters.no_timer_action = NoTimerAction::Probe;
        plan.parameters.no_timer = Some(Duration::from_secs(100));
        plan.every_gateway(|gateway| gateway.no_timer = Some(Duration::from_secs(250)));
    });
    world.answered_by(1);
    world.caller_acks(None);
    let start = world.now.mono.0;
    (world, start)
}

/// Nothing is sent until so long after `start`.
fn quiet_until(world: &mut World, start: u64, secs: u64) {
    let left = start + secs * 1_000 - world.now.mono.0;
    world.advance(left - 1);
    world.nothing_more();
    world.advance(1);
}

#[test]
fn a_probe_is_a_re_invite_at_each_interval_to_whoever_has_no_timer() {
    let (mut world, start) = probed();
    let of_caller = |world: &mut World, answer: Reply| {
        let probe = world.at_caller("INVITE");
        assert_eq!(probe.first(Name::SessionExpires), None);
        assert_eq!(probe.body_text(), sdp(5000), "what it was sent before");
        world.caller_replies(&probe, answer);
        world.at_caller("ACK");
        world.nothing_more();
    };
    quiet_until(&mut world, start, 100);
    of_caller(&mut world, reply(200).sdp(OFFER));
    quiet_until(&mut world, start, 200);
    // Whoever refuses is there.
    of_caller(&mut world, reply(488));
    quiet_until(&mut world, start, 250);
    let probe = world.at(1, "INVITE");
    world.reply(1, &probe, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    quiet_until(&mut world, start, 300);
    of_caller(&mut world, reply(200).sdp(OFFER));
}

/// The call of [`probed`], and the probe of that party, which comes later at the callee.
fn probe_of(leg: Leg) -> (World, Got) {
    let (mut world, start) = probed();
    if leg == Leg::Callee {
        for secs in [100, 200] {
            quiet_until(&mut world, start, secs);
            let probe = world.at_caller("INVITE");
            world.caller_replies(&probe, reply(200).sdp(OFFER));
            world.at_caller("ACK");
        }
    }
    quiet_until(&mut world, start, if leg == Leg::Caller { 100 } else { 250 });
    let probe = if leg == Leg::Caller { world.at_caller("INVITE") } else { world.at(1, "INVITE") };
    (world, probe)
}

#[test]
fn a_probe_that_finds_nobody_ends_the_call_whichever_party_it_is() {
    for (leg, status) in
        LEGS.into_iter().flat_map(|leg| [None, Some(408), Some(481)].map(|status| (leg, status)))
    {
        println!("{leg:?} {status:?}");
        let (mut world, probe) = probe_of(leg);
        match (status, leg) {
            (Some(status), Leg::Caller) => {
                world.caller_replies(&probe, reply(status));
                world.at_caller("ACK");
            }
            (Some(status), Leg::Callee) => {
                world.reply(1, &probe, reply(status));
                world.at(1, "ACK");
            }
            (None, _) => {
                world.advance(31_999);
                world.skip();
                assert_eq!(world.stage(), Stage::Answered);
                world.advance(1);
            }
        }
        let callee = world.at(1, "BYE");
        let caller = world.at_caller("BYE");
        assert_eq!(callee.reasons(), ["SIP 408 session timeout"]);
        world.reply(1, &callee, reply(200));
        world.caller_replies(&caller, reply(200));
        assert_eq!(world.finish()["end_reason"], "session timeout");
    }
}

#[test]
fn an_heir_probes_at_the_time_that_was_set() {
    let (mut world, _) = probed();
    world.wait(40);
    world.take_over(2_000);
    world.skip();
    world.advance(57_999);
    world.nothing_more();
    world.advance(1);
    world.at_caller("INVITE");
    world.nothing_more();
}

#[test]
fn a_party_that_starts_its_timer_is_probed_no_more() {
    let (mut world, start) = probed();
    quiet_until(&mut world, start, 100);
    let probe = world.at_caller("INVITE");
    world.caller_replies(&probe, reply(200).sdp(OFFER).line("Session-Expires: 600;refresher=uas"));
    world.at_caller("ACK");
    quiet_until(&mut world, start, 250);
    let probe = world.at(1, "INVITE");
    world.reply(1, &probe, reply(200).sdp(sdp(5000)));
    world.at(1, "ACK");
    quiet_until(&mut world, start, 500);
    world.at(1, "INVITE");
    world.nothing_more();
}

#[test]
fn a_caller_that_turns_its_timer_off_falls_under_the_no_timer_cap_from_then_on() {
    let mut talk = Talk::new(Leg::Caller, "UPDATE", Refresher::Switch, 600, |plan| {
        plan.parameters.no_timer = Some(Duration::from_secs(1_000));
    });
    talk.quiet_until(300_000);
    let request = talk.at_peer("UPDATE");
    talk.accepts(&request, &[]);
    talk.quiet_until(1_300_000);
    talk.assert_ended("no-timer cap");
}

/// The caller's INVITE that offers another description, and its sequence number.
fn caller_offers(talk: &mut Talk, lines: &str) -> u32 {
    let other = OFFER.replace("4000", "4444");
    let cseq = talk.world.caller.cseq + 1;
    let offer = talk.world.caller.request_with("INVITE", cseq, lines, Some(&other));
    let from = talk.world.plan.caller_address;
    talk.world.request(offer, from);
    talk.world.at_caller("100");
    cseq
}

fn caller_acks(talk: &mut Talk, cseq: u32) {
    let ack = talk.world.caller.request_with("ACK", cseq, "", None);
    let from = talk.world.plan.caller_address;
    talk.world.request(ack, from);
}

#[test]
fn an_offer_that_is_passed_refreshes_both_legs() {
    let mut talk = Talk::new(Leg::Callee, "INVITE", Refresher::Switch, 600, |plan| {
        plan.invite_lines = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n".to_owned();
        plan.parameters.session.interval_secs = 600;
    });
    talk.world.wait(200);
    let cseq = caller_offers(&mut talk, "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n");
    let passed = talk.at_peer("INVITE");
    // Else the passed offer would turn the callee's timer off.
    assert_eq!(passed.value(Name::SessionExpires), "600;refresher=uac");
    talk.world.reply(1, &passed, reply(200).sdp(sdp(5000)).line("Session-Expires: 600;refresher=uac"));
    talk.at_peer("ACK");
    let answer = talk.world.at_caller("200");
    assert_eq!(answer.value(Name::SessionExpires), "600;refresher=uac");
    caller_acks(&mut talk, cseq);
    talk.quiet_until(500_000);
    talk.at_peer("INVITE");
}

#[test]
fn a_422_to_a_passed_offer_is_not_the_askers_business() {
    let mut talk = Talk::new(Leg::Callee, "INVITE", Refresher::Switch, 600, |_| {});
    talk.world.wait(100);
    let cseq = caller_offers(&mut talk, "");
    let passed = talk.at_peer("INVITE");
    talk.refuses(&passed, 422, &["Min-SE: 900"]);
    let again = talk.at_peer("INVITE");
    assert_eq!(again.value(Name::SessionExpires), "900;refresher=uac");
    assert_eq!(again.value(Name::MinSe), "900");
    assert_eq!(again.body_text(), passed.body_text());
    talk.world.reply(1, &again, reply(200).sdp(sdp(5002)).line("Session-Expires: 900;refresher=uac"));
    talk.at_peer("ACK");
    assert_eq!(talk.world.at_caller("200").body_text(), sdp(5002));
    caller_acks(&mut talk, cseq);
    talk.world.nothing_more();
}

#[test]
fn a_422_to_a_passed_offer_is_followed_while_each_is_longer_and_three_times_at_most() {
    let ask = || {
        let mut talk = Talk::new(Leg::Callee, "INVITE", Refresher::Switch, 600, |_| {});
        talk.world.wait(100);
        let cseq = caller_offers(&mut talk, "");
        (talk, cseq)
    };
    // One that says nothing new.
    for min_se in ["Min-SE: 600", "Min-SE: 90", "Allow: INVITE"] {
        let (mut talk, cseq) = ask();
        let mut passed = talk.at_peer("INVITE");
        if min_se == "Min-SE: 600" {
            talk.refuses(&passed, 422, &[min_se]);
            passed = talk.at_peer("INVITE");
        }
        talk.refuses(&passed, 422, &[min_se]);
        talk.world.at_caller("500");
        caller_acks(&mut talk, cseq);
        talk.world.nothing_more();
    }
    // One that never has enough.
    let (mut talk, cseq) = ask();
    for min_se in [700, 800, 900, 1_000] {
        let passed = talk.at_peer("INVITE");
        talk.refuses(&passed, 422, &[&format!("Min-SE: {min_se}")]);
    }
    talk.world.at_caller("500");
    caller_acks(&mut talk, cseq);
    // What we send from now on is long enough.
    talk.quiet_until(300_000);
    let refresh = talk.at_peer("INVITE");
    assert_eq!(refresh.value(Name::SessionExpires), "1000;refresher=uac");
}

#[test]
fn a_422_to_what_a_party_missed_is_followed() {
    let mut talk = Talk::new(Leg::Callee, "INVITE", Refresher::Switch, 600, |_| {});
    assert!(talk.world.refresh(Party::Caller, Refresh::Invite, b""));
    let refresh = talk.world.at_caller("INVITE");
    talk.world.caller_replies(&refresh, reply(200).sdp(OFFER.replace("4000", "4444")));
    talk.world.at_caller("ACK");
    let told = talk.at_peer("INVITE");
    talk.refuses(&told, 422, &["Min-SE: 900"]);
    talk.world.wait(1);
    let again = talk.at_peer("INVITE");
    assert_eq!(again.body_text(), told.body_text());
    assert_eq!(again.value(Name::SessionExpires), "900;refresher=uac");
}

#[test]
fn a_refresh_waits_while_its_leg_is_busy() {
    let mut talk = Talk::new(Leg::Callee, "INVITE", Refresher::Switch, 600, |_| {});
    talk.world.wait(299);
    let cseq = caller_offers(&mut talk, "");
    let passed = talk.at_peer("INVITE");
    talk.world.reply(1, &passed, reply(100));
    talk.world.wait(2);
    talk.world.nothing_more();
    talk.refuses(&passed, 488, &[]);
    talk.world.at_caller("488");
    caller_acks(&mut talk, cseq);
    talk.quiet_until(302_000);
    talk.at_peer("INVITE");
}

#[test]
fn an_heir_refreshes_at_the_time_that_was_set() {
    for leg in LEGS {
        for method in METHODS {
            let mut talk = Talk::new(leg, method, Refresher::Switch, 600, |_| {});
            talk.world.wait(40);
            let before = talk.world.now.wall.0;
            talk.world.take_over(2_000);
            talk.world.skip();
            let left = 300_000 - 40_000 - (talk.world.now.wall.0 - before);
            talk.world.advance(left - 1);
            talk.world.nothing_more();
            talk.world.advance(1);
            let request = talk.at_peer(method);
            // Above whatever the lost owner may have used.
            assert!(request.cseq_number() > 1000, "{}", request.cseq_number());
        }
    }
}
