//! Gateways that answer and fall silent, on virtual time.

use super::*;
use crate::Secret;
use crate::call::{CallId, Target, Token, TokenKeys};
use crate::publication::{Publication, pidf};
use crate::registrar::Binding;
use std::collections::VecDeque;
use std::time::Duration;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::time::{Mono, Now, Wall};
use tandem_sip::{Limits, Message, Name, ResponseHead, StatusCode};

/// What a gateway does with a request.
type Answer = Box<dyn FnMut(&Message) -> Option<(u16, String)>>;

/// A gateway's health, and what was sent and told.
struct World {
    health: Health,
    counts: NonceCounts,
    now: Now,
    /// Where the gateway is.
    located: Located,
    answer: Answer,
    /// Requests as they were sent, resent ones included, with the time in milliseconds.
    sent: Vec<(u64, Message)>,
    events: Vec<(u64, HealthEvent)>,
    failed: Vec<Target>,
}

const START: u64 = 1_000_000;

fn target(last: u8) -> Target {
    let remote = std::net::SocketAddr::from(([192, 0, 2, last], 5060));
    Target { flow: Flow { transport: Transport::Udp, listener: 0, remote }, local: "192.0.2.100:5060".into() }
}

fn settings() -> HealthSettings {
    HealthSettings { probe_interval: Some(Duration::from_secs(30)), ..HealthSettings::default() }
}

fn registering() -> HealthSettings {
    let register = Registering {
        user: "tandem".into(),
        domain: Some("vendor.example".into()),
        contact: "trunk".into(),
        expires: Duration::from_secs(600),
        required: true,
    };
    HealthSettings { register: Some(register), ..HealthSettings::default() }
}

fn ok(_: &Message) -> Option<(u16, String)> {
    Some((200, String::new()))
}

fn silent(_: &Message) -> Option<(u16, String)> {
    None
}

fn disabled() -> Health {
    let now = Now { mono: Mono(START), wall: Wall(0) };
    let keys = TokenKeys { current: [1; 16], previous: None };
    let token = Token { id: CallId::of_gateway("vendor", &keys.current), hint: 0 };
    Health::new(("192.0.2.1:5060".into(), true), None, &settings(), (token, &keys, 0), now)
}

impl World {
    fn new(
        settings: &HealthSettings,
        answer: impl FnMut(&Message) -> Option<(u16, String)> + 'static,
    ) -> Self {
        let account =
            Account { username: "tandem".into(), password: Secret::new("geheim".into()), realm: None };
        let now = Now { mono: Mono(START), wall: Wall(1_700_000_000_000) };
        let keys = TokenKeys { current: [1; 16], previous: None };
        let token = Token { id: CallId::of_gateway("vendor", &keys.current), hint: 0 };
        let health =
            Health::new(("192.0.2.1:5060".into(), false), Some(account), settings, (token, &keys, 0), now);
        Self {
            health,
            counts: NonceCounts::default(),
            now,
            located: Located::Targets(vec![target(1)]),
            answer: Box::new(answer),
            sent: Vec::new(),
            events: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// The gateway answers like that from now on.
    fn answers(&mut self, answer: impl FnMut(&Message) -> Option<(u16, String)> + 'static) {
        self.answer = Box::new(answer);
    }

    fn since_start_ms(&self) -> u64 {
        self.now.mono.0 - START
    }

    fn tell(&mut self, input: HealthInput) {
        let mut inputs = VecDeque::from([input]);
        let at = self.since_start_ms();
        while let Some(input) = inputs.pop_front() {
            for action in self.health.handle(input, &mut self.counts, self.now) {
                match action {
                    HealthAction::Send { flow, message } => {
                        let request = Message::parse(message, &Limits::default()).expect("SIP");
                        if let Some(response) = self.respond(&request, flow) {
                            inputs.push_back(HealthInput::Response(response));
                        }
                        self.sent.push((at, request));
                    }
                    HealthAction::Locate(purpose) => {
                        inputs.push_back(HealthInput::Located(purpose, self.located.clone()));
                    }
                    HealthAction::TargetFailed(target) => self.failed.push(target),
                    HealthAction::Event(event) => self.events.push((at, event)),
                }
            }
        }
    }

    fn respond(&mut self, request: &Message, flow: Flow) -> Option<Message> {
        let (status, lines) = (self.answer)(request)?;
        let status = StatusCode::new(status).expect("a status");
        let mut response = ResponseHead::of(request, flow.remote).respond(status, Some("gw"));
        for line in lines.lines() {
            response = response.line(line.as_bytes());
        }
        Some(Message::parse(response.finish(), &Limits::default()).expect("SIP"))
    }

    /// Lets time pass, and does what falls due.
    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        let mut turns = 0;
        while let Some(due) = self.health.deadline().filter(|due| *due <= end) {
            turns += 1;
            assert!(turns < 100_000, "a deadline that does not move");
            self.go_to(due.max(self.now.mono));
            self.tell(HealthInput::Timer);
        }
        self.go_to(end);
    }

    fn go_to(&mut self, mono: Mono) {
        let passed = mono.0 - self.now.mono.0;
        self.now = Now { mono, wall: Wall(self.now.wall.0 + passed) };
    }

    fn sent_at(&self) -> Vec<u64> {
        self.sent.iter().map(|(at, _)| *at).collect()
    }

    fn availability(&self) -> Result<(), Unavailable> {
        self.health.availability(self.now)
    }

    fn changes(&self) -> Vec<Result<(), Unavailable>> {
        let change = |(_, event): &(u64, HealthEvent)| match event {
            HealthEvent::Changed(availability) => Some(*availability),
            _ => None,
        };
        self.events.iter().filter_map(change).collect()
    }

    fn publishes(&mut self, basic: pidf::Basic, lifetime: Duration) {
        let publication = Publication {
            etag: "1".into(),
            basic,
            capacity: Some(5),
            content_type: "application/pidf+xml".into(),
            body: Default::default(),
            since: self.now.wall,
            refreshed: self.now.wall,
            expires: Wall(self.now.wall.0 + lifetime.as_millis() as u64),
            removed: lifetime.is_zero(),
        };
        self.tell(HealthInput::Published(publication));
    }
}

/// A binding that is good for so long.
fn binding(world: &World, contact: &str, q: u16, lifetime: Duration) -> Binding {
    Binding {
        contact: contact.into(),
        q,
        flow: target(1).flow,
        edge: "192.0.2.1:5060".into(),
        elsewhere: false,
        nat: false,
        path: Vec::new(),
        instance: None,
        reg_id: None,
        call_id: "1".into(),
        cseq: 1,
        expires: Wall(world.now.wall.0 + lifetime.as_millis() as u64),
        registered: world.now.wall,
        refreshed: world.now.wall,
        user_agent: None,
    }
}

fn registrant() -> HealthSettings {
    HealthSettings { registers: true, ..HealthSettings::default() }
}

#[test]
fn a_gateway_that_registers_gets_no_calls_while_it_is_registered_nowhere() {
    let mut world = World::new(&registrant(), silent);
    assert_eq!(world.availability(), Err(Unavailable::Absent));
    let (worse, better) =
        (binding(&world, "sip:a@h", 500, secs(60)), binding(&world, "sip:b@h", 900, secs(90)));
    world.tell(HealthInput::Bound(vec![worse, better]));
    assert_eq!(world.availability(), Ok(()));
    let shown = world.health.report(world.now).bindings.expect("it registers");
    assert_eq!(shown.iter().map(|binding| &*binding.contact).collect::<Vec<_>>(), ["sip:b@h", "sip:a@h"]);
    world.tell(HealthInput::Bound(Vec::new()));
    assert_eq!(world.availability(), Err(Unavailable::Absent));
    assert_eq!(world.changes(), [Ok(()), Err(Unavailable::Absent)]);
}

#[test]
fn a_gateways_binding_that_lapses_makes_it_unavailable_at_that_moment() {
    let mut world = World::new(&registrant(), silent);
    let (first, second) = (binding(&world, "sip:a@h", 0, secs(60)), binding(&world, "sip:b@h", 0, secs(90)));
    world.tell(HealthInput::Bound(vec![first, second]));
    world.pass(secs(60));
    assert_eq!(world.availability(), Ok(()), "the other stands");
    world.pass(Duration::from_millis(29_999));
    assert_eq!(world.availability(), Ok(()));
    world.pass(Duration::from_millis(1));
    assert_eq!(world.availability(), Err(Unavailable::Absent));
    assert_eq!(world.events.last(), Some(&(90_000, HealthEvent::Changed(Err(Unavailable::Absent)))));
}

#[test]
fn registration_and_publication_are_separate_facts_and_both_must_allow() {
    let mut world = World::new(&registrant(), silent);
    world.publishes(pidf::Basic::Open, secs(600));
    assert_eq!(world.availability(), Err(Unavailable::Absent));
    let bound = binding(&world, "sip:a@h", 0, secs(60));
    world.tell(HealthInput::Bound(vec![bound]));
    assert_eq!(world.availability(), Ok(()));
    world.publishes(pidf::Basic::Closed, secs(600));
    assert_eq!(world.availability(), Err(Unavailable::Closed));
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.raw()).into_owned()
}

#[test]
fn a_gateway_is_probed_once_per_interval_at_a_turn_of_its_own() {
    let mut world = World::new(&settings(), ok);
    world.pass(secs(300));
    let at = world.sent_at();
    assert_eq!(at.len(), 10);
    assert!(at.windows(2).all(|two| two[1] - two[0] == 30_000), "{at:?}");
    let options = &world.sent[0].1;
    assert!(
        text(options).starts_with("OPTIONS sip:192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.100:5060;")
    );
    let turn = |name: &str| CallId::of_gateway(name, &[1; 16]).draw() % 30_000;
    let turns: std::collections::BTreeSet<u64> =
        (0..300).map(|number| turn(&format!("vendor-{number}")) / 1_000).collect();
    assert!(turns.len() > 25, "turns are spread over the interval: {turns:?}");
}

#[test]
fn two_failures_in_a_row_take_a_gateway_down_and_one_answer_brings_it_back() {
    let mut world = World::new(&settings(), ok);
    world.pass(secs(60));
    world.answers(silent);
    let sent = world.sent.len();
    world.pass(secs(30) + secs(3));
    assert_eq!(world.availability(), Ok(()), "the first has not failed yet, or has alone");
    world.pass(secs(10));
    assert_eq!(world.availability(), Err(Unavailable::Down));
    assert_eq!(world.changes(), [Err(Unavailable::Down)]);
    assert!(!world.failed.is_empty(), "calls go elsewhere first");
    assert!(world.sent.len() - sent >= 2 * 4, "each is resent three times");
    world.answers(ok);
    world.pass(secs(4));
    assert_eq!(world.availability(), Ok(()));
    assert_eq!(world.changes(), [Err(Unavailable::Down), Ok(())]);
}

#[test]
fn a_gateway_that_is_down_is_probed_again_soon_and_then_later_each_time() {
    let mut world = World::new(&settings(), |_: &Message| Some((503, String::new())));
    world.pass(secs(600));
    let at = world.sent_at();
    let gaps: Vec<u64> = at.windows(2).map(|two| (two[1] - two[0]) / 1_000).collect();
    assert_eq!(gaps[..8], [1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn any_answer_but_408_502_503_and_504_shows_that_a_gateway_lives() {
    for (status, lives) in [
        (200, true),
        (401, true),
        (404, true),
        (405, true),
        (483, true),
        (500, true),
        (501, true),
        (603, true),
        (408, false),
        (502, false),
        (503, false),
        (504, false),
    ] {
        let mut world = World::new(&settings(), move |_: &Message| Some((status, String::new())));
        world.pass(secs(120));
        assert_eq!(world.availability().is_ok(), lives, "{status}");
    }
}

#[test]
fn a_probe_tries_all_places_of_a_gateway_before_it_has_failed() {
    let mut world = World::new(&settings(), ok);
    world.located = Located::Targets(vec![target(1), target(2)]);
    let at_first = |request: &Message| text(request).contains("branch=").then_some(());
    world.answers(move |request| {
        at_first(request)?;
        None
    });
    world.pass(secs(34) + secs(4));
    let report = world.health.report(world.now).probe;
    assert_eq!(report.map(|report| report.failures).filter(|failures| *failures > 1), None);
    let mut turn = 0;
    world.answers(move |_| {
        turn += 1;
        if turn % 2 == 1 { Some((503, String::new())) } else { Some((200, String::new())) }
    });
    world.failed.clear();
    world.pass(secs(120));
    assert_eq!(world.availability(), Ok(()));
    let failed = world.failed.iter().filter(|failed| **failed == target(1)).count();
    assert!(failed >= 2, "the first is known to fail: {failed}");
}

#[test]
fn a_name_that_leads_nowhere_is_a_failed_probe_and_one_that_is_being_looked_up_is_not() {
    let mut world = World::new(&settings(), ok);
    world.located = Located::NotYet;
    world.pass(secs(120));
    assert_eq!((world.availability(), world.sent.len()), (Ok(()), 0));
    world.located = Located::Targets(Vec::new());
    world.pass(secs(5));
    assert_eq!(world.availability(), Err(Unavailable::Down));
    let report = world.health.report(world.now).probe.expect("a probe");
    assert_eq!(report.result, Err(ExchangeFailure::Nowhere));
}

#[test]
fn a_gateway_without_probe_that_never_published_is_taken_as_available() {
    let mut world = World::new(&HealthSettings::default(), silent);
    world.pass(secs(86_400));
    assert_eq!((world.availability(), world.sent.len(), world.health.deadline()), (Ok(()), 0, None));
}

#[test]
fn a_gateway_that_has_published_is_governed_by_that_and_not_by_its_probe() {
    let mut world = World::new(&settings(), silent);
    world.pass(secs(120));
    assert_eq!(world.availability(), Err(Unavailable::Down));
    world.publishes(pidf::Basic::Open, secs(600));
    assert_eq!(world.availability(), Ok(()));
    let sent = world.sent.len();
    world.pass(secs(599));
    assert_eq!((world.availability(), world.sent.len()), (Ok(()), sent), "it is not probed");
    world.publishes(pidf::Basic::Closed, secs(600));
    assert_eq!(world.availability(), Err(Unavailable::Closed));
}

#[test]
fn a_publication_that_lapses_makes_its_gateway_unavailable_at_once() {
    let mut world = World::new(&settings(), ok);
    world.publishes(pidf::Basic::Open, secs(30));
    assert_eq!(world.health.capacity(), Some(5));
    world.pass(Duration::from_millis(29_999));
    assert_eq!(world.availability(), Ok(()));
    world.pass(Duration::from_millis(1));
    assert_eq!(world.availability(), Err(Unavailable::Lapsed));
    let at = world.since_start_ms();
    assert_eq!(world.events.last(), Some(&(at, HealthEvent::Changed(Err(Unavailable::Lapsed)))));
    assert_eq!(world.health.capacity(), None);
    world.pass(secs(3600));
    assert_eq!(world.changes(), [Err(Unavailable::Lapsed)], "told once");
    world.publishes(pidf::Basic::Open, secs(30));
    assert_eq!(world.availability(), Ok(()));
    world.publishes(pidf::Basic::Open, Duration::ZERO);
    assert_eq!(world.availability(), Err(Unavailable::Removed));
}

#[test]
fn a_disabled_gateway_may_publish_and_stays_disabled() {
    let mut world = World::new(&settings(), ok);
    world.health = disabled();
    world.publishes(pidf::Basic::Open, secs(30));
    world.pass(secs(3600));
    assert_eq!((world.availability(), world.sent.len()), (Err(Unavailable::Disabled), 0));
    assert_eq!(world.changes(), []);
}

#[test]
fn a_publication_out_of_the_store_lapses_at_its_time_on_another_clock() {
    let mut world = World::new(&HealthSettings::default(), ok);
    world.publishes(pidf::Basic::Open, secs(30));
    world.go_to(world.now.mono + secs(40));
    world.tell(HealthInput::Timer);
    assert_eq!(world.availability(), Err(Unavailable::Lapsed));
}

/// What a registrar says to a REGISTER of ours.
fn binds(request: &Message) -> Option<(u16, String)> {
    let contact = text(request);
    let contact = contact.lines().find(|line| line.starts_with("Contact: "))?;
    Some((200, format!("Contact: <sip:other@192.0.2.9>;expires=9\r\n{contact}\r\n")))
}

#[test]
fn we_register_where_that_is_demanded_and_calls_wait_for_it() {
    let mut world = World::new(&registering(), binds);
    assert_eq!(world.availability(), Err(Unavailable::NotRegistered));
    world.pass(Duration::ZERO);
    assert_eq!(world.availability(), Ok(()));
    let register = text(&world.sent[0].1);
    for line in [
        "REGISTER sip:vendor.example SIP/2.0",
        "To: <sip:tandem@vendor.example>",
        "Contact: <sip:trunk@192.0.2.100:5060>;expires=600",
        "CSeq: 1 REGISTER",
    ] {
        assert!(register.contains(line), "{line} in\n{register}");
    }
    let report = world.health.report(world.now).registration.expect("a registration");
    assert_eq!((report.aor.as_str(), report.granted_s), ("sip:tandem@vendor.example", Some(600)));
}

#[test]
fn a_registration_is_refreshed_before_it_lapses_in_the_same_call_id() {
    let mut world = World::new(&registering(), binds);
    world.pass(secs(1_700));
    assert_eq!(world.sent_at(), [0, 540_000, 1_080_000, 1_620_000]);
    let ids: Vec<_> = world.sent.iter().map(|(_, request)| request.call_id().map(<[u8]>::to_vec)).collect();
    assert!(ids.windows(2).all(|two| two[0] == two[1]));
    let numbers: Vec<_> = world.sent.iter().map(|(_, request)| request.cseq().map(|it| it.number)).collect();
    assert_eq!(numbers, [Ok(1), Ok(2), Ok(3), Ok(4)]);
    assert_eq!(world.availability(), Ok(()));
}

#[test]
fn the_shorter_life_that_a_registrar_grants_is_kept_to() {
    let mut world = World::new(&registering(), |_: &Message| {
        Some((200, "Contact: <sip:trunk@192.0.2.100:5060>\r\nExpires: 60\r\n".into()))
    });
    world.pass(secs(120));
    assert_eq!(world.sent_at(), [0, 54_000, 108_000]);
}

#[test]
fn a_registrar_that_challenges_is_answered_and_its_nonce_is_used_again() {
    let challenge = "WWW-Authenticate: Digest realm=\"vendor\", nonce=\"n1\", qop=\"auth\"\r\n";
    let mut world = World::new(&registering(), move |request| {
        if request.first(Name::Authorization).is_some() {
            binds(request)
        } else {
            Some((401, challenge.into()))
        }
    });
    world.pass(secs(541));
    assert_eq!(world.availability(), Ok(()));
    let answers: Vec<_> = world.sent.iter().map(|(_, request)| text(request)).collect();
    assert_eq!(answers.len(), 3, "one that was challenged, its answer, and a refresh that knows the nonce");
    assert!(answers[1].contains("nc=00000001") && answers[2].contains("nc=00000002"), "{answers:?}");
    for _ in 0..10 {
        world.pass(secs(540));
    }
    assert_eq!(world.sent.len(), 13);
}

#[test]
fn wrong_credentials_are_not_tried_again_at_once() {
    let challenge = "WWW-Authenticate: Digest realm=\"vendor\", nonce=\"n1\"\r\n";
    let mut world = World::new(&registering(), move |_| Some((401, challenge.into())));
    world.pass(secs(1));
    assert_eq!(world.sent.len(), 2, "the challenge is answered once");
    assert_eq!(world.availability(), Err(Unavailable::NotRegistered));
    world.pass(secs(3600));
    assert!(world.sent.len() < 60, "{}", world.sent.len());
}

#[test]
fn a_423_raises_the_lifetime_that_is_asked_for() {
    let mut world = World::new(&registering(), |request| match text(request).contains("expires=900") {
        true => binds(request),
        false => Some((423, "Min-Expires: 900\r\n".into())),
    });
    world.pass(secs(1));
    assert_eq!((world.sent.len(), world.availability()), (2, Ok(())));
    world.answers(|_: &Message| Some((423, "Min-Expires: 60\r\n".into())));
    world.pass(secs(820));
    let sent = world.sent.len();
    assert!(sent < 6, "what asks for less than was given is a failure: {sent}");
}

#[test]
fn failures_back_off_and_do_not_come_back_together() {
    let mut world = World::new(&registering(), |_: &Message| Some((403, String::new())));
    world.pass(secs(7_200));
    let at = world.sent_at();
    let gaps: Vec<u64> = at.windows(2).map(|two| two[1] - two[0]).collect();
    for (place, gap) in gaps.iter().enumerate() {
        let longest = (4_000 << place.min(16)).min(300_000);
        assert!((longest / 2..=longest).contains(gap), "{place}: {gap}");
    }
    let late: std::collections::BTreeSet<u64> = gaps[8..].iter().copied().collect();
    assert!(late.len() > 5, "drawn anew each time: {late:?}");
    assert_eq!(world.events.iter().filter(|(_, event)| matches!(event, HealthEvent::Changed(_))).count(), 0);
}

#[test]
fn retry_after_is_waited_for() {
    let mut world = World::new(&registering(), |_: &Message| Some((503, "Retry-After: 120\r\n".into())));
    world.pass(secs(119));
    assert_eq!(world.sent.len(), 1);
    world.pass(secs(1));
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn a_registrar_that_falls_silent_costs_the_calls_when_the_registration_lapses() {
    let mut world = World::new(&registering(), binds);
    world.pass(secs(1));
    world.answers(silent);
    world.pass(secs(598));
    assert_eq!(world.availability(), Ok(()), "it stands until it lapses");
    world.pass(secs(1));
    assert_eq!(world.availability(), Err(Unavailable::NotRegistered));
    world.answers(binds);
    world.pass(secs(300));
    assert_eq!(world.availability(), Ok(()));
    assert_eq!(world.changes(), [Ok(()), Err(Unavailable::NotRegistered), Ok(())]);
}

#[test]
fn a_registration_that_is_not_required_keeps_no_calls_away() {
    let mut settings = registering();
    if let Some(register) = &mut settings.register {
        register.required = false;
    }
    let mut world = World::new(&settings, |_: &Message| Some((403, String::new())));
    world.pass(secs(60));
    assert_eq!(world.availability(), Ok(()));
    assert!(world.health.report(world.now).registration.is_some_and(|report| report.failure.is_some()));
}

#[test]
fn a_200_that_names_others_and_not_us_is_no_registration() {
    let mut world = World::new(&registering(), |_: &Message| {
        Some((200, "Contact: <sip:a@192.0.2.9>;expires=60, <sip:b@192.0.2.9>;expires=60\r\n".into()))
    });
    world.pass(secs(1));
    assert_eq!(world.availability(), Err(Unavailable::NotRegistered));
    let failure = world.health.report(world.now).registration.and_then(|report| report.failure);
    assert_eq!(failure.map(|(_, why)| why), Some(ExchangeFailure::NotBound));
}

#[test]
fn a_node_that_stops_gives_its_registration_back() {
    let mut world = World::new(&registering(), binds);
    world.pass(secs(1));
    assert!(!world.health.has_left());
    world.answers(ok);
    world.tell(HealthInput::Leave);
    let last = text(&world.sent.last().expect("a REGISTER").1);
    assert!(last.contains("Contact: <sip:trunk@192.0.2.100:5060>;expires=0\r\n"), "{last}");
    assert!(world.health.has_left());
    world.pass(secs(3600));
    assert_eq!(world.sent.len(), 2, "nothing follows");
}

#[test]
fn a_registrar_that_is_silent_when_the_node_stops_is_given_up() {
    let mut world = World::new(&registering(), binds);
    world.pass(secs(1));
    world.answers(silent);
    world.tell(HealthInput::Leave);
    assert!(!world.health.has_left());
    world.pass(secs(33));
    assert!(world.health.has_left());
}

#[test]
fn a_node_that_was_never_registered_has_nothing_to_give_back() {
    let mut world = World::new(&registering(), |_: &Message| Some((403, String::new())));
    world.pass(secs(1));
    world.tell(HealthInput::Leave);
    assert!(world.health.has_left());
}
