//! Both ends against each other, and against a server that does what a test wants, in virtual time.

use crate::load::callee::Callee;
use crate::load::caller::Caller;
use crate::load::failure::Failure;
use crate::load::message::{Message, Start};
use crate::load::outbox::Outbox;
use crate::load::plan::{CALLEE, CALLER, Numbers, Plan, SERVER, Timer, Turn};
use crate::load::timers::Timers;
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

/// What a network may do to a message: let it pass (changed or not), lose it.
type Network<'a> = dyn FnMut(&str) -> Option<String> + 'a;

struct World {
    now: Duration,
    caller: Caller,
    callee: Callee,
    timers: Timers<Timer>,
    from_caller: Outbox,
    from_callee: Outbox,
    /// First lines of all that was sent, and when, in milliseconds.
    seen: Vec<(u128, String)>,
}

/// Talks last a second here.
const HOLD: Duration = Duration::from_secs(1);

impl World {
    /// Runs one call, number 7, for two minutes.
    fn run(network: &mut Network<'_>) -> World {
        let plan = Plan { target: CALLEE, rate: 1.0, calls: 1, hold: HOLD, delays: false };
        let numbers = Numbers { first: 7, count: 1 };
        let mut world = World {
            now: Duration::ZERO,
            caller: Caller::new(plan, numbers),
            callee: Callee::new(&plan, numbers),
            timers: Timers::new(),
            from_caller: Outbox::default(),
            from_callee: Outbox::default(),
            seen: Vec::new(),
        };
        world.with_caller(Caller::start);
        world.deliver(network);
        while let Some(next) = world.timers.next().filter(|next| *next < Duration::from_secs(120)) {
            world.now = next;
            while let Some(timer) = world.timers.due(next) {
                world.with_caller(|caller, turn| caller.expire(timer, turn));
                world.with_callee(|callee, turn| callee.expire(timer, turn));
            }
            world.deliver(network);
        }
        world
    }

    fn with_caller(&mut self, act: impl FnOnce(&mut Caller, &mut Turn<'_>)) {
        let turn = &mut Turn { now: self.now, outbox: &mut self.from_caller, timers: &mut self.timers };
        act(&mut self.caller, turn);
    }

    fn with_callee(&mut self, act: impl FnOnce(&mut Callee, &mut Turn<'_>)) {
        let turn = &mut Turn { now: self.now, outbox: &mut self.from_callee, timers: &mut self.timers };
        act(&mut self.callee, turn);
    }

    /// Carries messages until none is left.
    fn deliver(&mut self, network: &mut Network<'_>) {
        let mut waiting = VecDeque::new();
        loop {
            for (outbox, to_callee) in [(&mut self.from_caller, true), (&mut self.from_callee, false)] {
                for datagram in outbox.datagrams() {
                    let text = String::from_utf8(outbox.bytes(datagram).to_vec()).expect("text");
                    waiting.push_back((text, to_callee));
                }
                outbox.clear();
            }
            let Some((text, to_callee)) = waiting.pop_front() else { return };
            self.seen.push((self.now.as_millis(), text.lines().next().unwrap_or_default().to_owned()));
            let Some(text) = network(&text) else { continue };
            let message = Message::read(text.as_bytes()).expect("a message");
            if to_callee {
                self.with_callee(|callee, turn| {
                    callee.receive(&message, CALLER, turn);
                });
            } else {
                self.with_caller(|caller, turn| caller.receive(&message, turn));
            }
        }
    }

    fn verdict(&self) -> Result<(), Failure> {
        self.caller.verdict(0).and_then(|()| self.callee.verdict(0))
    }

    /// When messages with this beginning were sent, in milliseconds.
    fn sent(&self, beginning: &str) -> Vec<u128> {
        self.seen.iter().filter(|(_, line)| line.starts_with(beginning)).map(|(at, _)| *at).collect()
    }
}

/// Loses the first `count` messages that begin so and, where it matters, are answers to that method.
fn lose(count: usize, beginning: &'static str, method: &'static str) -> impl FnMut(&str) -> Option<String> {
    let mut left = count;
    move |text| {
        let hit = text.starts_with(beginning) && text.contains(&format!(" {method}\r\n"));
        if hit && left > 0 {
            left -= 1;
            return None;
        }
        Some(text.to_owned())
    }
}

/// Replaces a text in messages that begin so.
fn alter<'a>(
    beginning: &'a str,
    text: &'a str,
    replacement: &'a str,
) -> impl FnMut(&str) -> Option<String> + 'a {
    move |message| {
        let altered = message.starts_with(beginning).then(|| message.replace(text, replacement));
        Some(altered.unwrap_or_else(|| message.to_owned()))
    }
}

#[test]
fn a_call_goes_invite_100_180_200_ack_bye_200() {
    let world = World::run(&mut |text| Some(text.to_owned()));
    let expected = [
        (0, "INVITE sip:4400000007@127.0.0.1:5080 SIP/2.0"),
        (0, "SIP/2.0 100 Trying"),
        (0, "SIP/2.0 180 Ringing"),
        (50, "SIP/2.0 200 OK"),
        (50, "ACK sip:127.0.0.1:5080 SIP/2.0"),
        (1050, "BYE sip:127.0.0.1:5080 SIP/2.0"),
        (1050, "SIP/2.0 200 OK"),
    ];
    let seen: Vec<_> = world.seen.iter().map(|(at, line)| (*at, line.as_str())).collect();
    assert_eq!(seen, expected);
    assert_eq!(world.verdict(), Ok(()));
    assert_eq!((world.caller.over, world.caller.failed, world.caller.talking), (1, 0, 0));
    assert_eq!((world.caller.resent, world.callee.resent), (0, 0));
}

#[test]
fn an_invite_is_sent_again_until_something_comes_back() {
    let world = World::run(&mut lose(2, "INVITE", "INVITE"));
    assert_eq!(world.sent("INVITE"), [0, 500, 1500]);
    assert_eq!((world.verdict(), world.caller.resent), (Ok(()), 2));
}

#[test]
fn an_invite_that_is_never_answered_fails_after_64_t1() {
    let world = World::run(&mut lose(usize::MAX, "INVITE", "INVITE"));
    assert_eq!(world.sent("INVITE"), [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert_eq!(world.verdict(), Err(Failure::NoAnswer));
    assert_eq!((world.caller.over, world.caller.failed), (1, 1));
}

#[test]
fn a_200_is_sent_again_until_its_ack_comes() {
    let world = World::run(&mut lose(1, "ACK", "ACK"));
    assert_eq!(world.sent("ACK"), [50, 550]);
    assert_eq!((world.verdict(), world.callee.resent, world.caller.repeated), (Ok(()), 1, 1));
}

#[test]
fn a_bye_is_sent_again_until_its_200_comes() {
    let world = World::run(&mut lose(4, "BYE", "BYE"));
    assert_eq!(world.sent("BYE"), [1050, 1550, 2550, 4550, 8550]);
    assert_eq!(world.verdict(), Ok(()));
    let world = World::run(&mut lose(usize::MAX, "BYE", "BYE"));
    assert_eq!(world.verdict(), Err(Failure::NoEnd));
}

#[test]
fn a_lost_180_and_a_lost_ack_are_counted_and_no_failures() {
    let world = World::run(&mut lose(1, "SIP/2.0 180", "INVITE"));
    assert_eq!((world.verdict(), world.caller.without_ringing), (Ok(()), 1));
    let world = World::run(&mut lose(usize::MAX, "ACK", "ACK"));
    assert_eq!((world.verdict(), world.callee.without_ack), (Ok(()), 1));
}

#[test]
fn a_refusal_is_acknowledged_and_fails_the_call() {
    let mut network = |text: &str| Some(text.replace("SIP/2.0 180 Ringing", "SIP/2.0 503 Full"));
    let world = World::run(&mut network);
    assert_eq!(world.verdict(), Err(Failure::Refused(503)));
    assert_eq!(world.sent("ACK sip:4400000007@")[0], 0);
}

#[test]
fn a_200_for_a_call_that_was_given_up_is_acknowledged_and_hung_up() {
    let mut late = None;
    let world = World::run(&mut |text: &str| {
        // All answers come when nobody waits any more.
        if text.starts_with("SIP/2.0 200") && text.contains(" INVITE\r\n") {
            return late.get_or_insert_with(|| text.to_owned()).clone().into();
        }
        if text.starts_with("SIP/2.0 1") {
            return Some(text.replace("SIP/2.0 180 Ringing", "SIP/2.0 486 Busy"));
        }
        Some(text.to_owned())
    });
    assert_eq!(world.verdict(), Err(Failure::Refused(486)));
    assert_eq!((world.sent("ACK sip:127.0.0.1:5080"), world.sent("BYE")), (vec![50], vec![50]));
}

#[test]
fn requests_in_the_dialog_go_by_contact_and_record_route() {
    let plan = Plan { target: SERVER, rate: 1.0, calls: 1, hold: HOLD, delays: false };
    let mut caller = Caller::new(plan, Numbers { first: 7, count: 1 });
    let (mut outbox, mut timers) = (Outbox::default(), Timers::new());
    let turn = &mut Turn { now: Duration::ZERO, outbox: &mut outbox, timers: &mut timers };
    caller.start(turn);
    let answer = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-i-7\r\n\
                  Record-Route: <sip:127.0.0.1:5062;lr;did=x>\r\nRecord-Route: <sip:127.0.0.1:5063;lr>\r\n\
                  From: <sip:x@y>;tag=a7\r\nTo: <sip:x@y>;tag=server\r\nCall-ID: c7@bench\r\nCSeq: 1 INVITE\r\n\
                  Contact: <sip:b@127.0.0.1:5064>\r\nContent-Length: 9\r\n\r\nm=audio 1";
    caller.receive(&Message::read(answer.as_bytes()).expect("a message"), turn);
    let ack = &outbox.datagrams()[1];
    let next_hop: SocketAddrV4 = "127.0.0.1:5063".parse().expect("an address");
    assert_eq!(ack.to, next_hop);
    let text = std::str::from_utf8(outbox.bytes(ack)).expect("text");
    let message = Message::read(text.as_bytes()).expect("a message");
    assert_eq!(message.start, Start::Request { method: "ACK", uri: "sip:b@127.0.0.1:5064" });
    assert_eq!(message.to, "<sip:x@y>;tag=server");
    assert!(
        text.contains("Route: <sip:127.0.0.1:5063;lr>\r\nRoute: <sip:127.0.0.1:5062;lr;did=x>\r\n"),
        "{text}"
    );
}

#[test]
fn what_is_not_by_the_book_fails_the_call_and_is_named() {
    let cases = [
        (alter("INVITE", "m=audio", "m=video"), "INVITE without SDP"),
        (alter("INVITE", "Contact:", "X-Contact:"), "INVITE without Contact"),
        (alter("INVITE", "Max-Forwards:", "X:"), "INVITE without a Max-Forwards that went down"),
        (alter("SIP/2.0 180", "branch=z9hG4bK-i-7", "branch=z9hG4bK-i-8"), "response with another Via"),
        (alter("SIP/2.0 180", "CSeq: 1", "CSeq: 2"), "response with another CSeq"),
        (alter("SIP/2.0 180", "tag=a7", "tag=a8"), "response with another From tag"),
        (alter("SIP/2.0 200", ";tag=b7", ""), "200 without a To tag"),
        (alter("SIP/2.0 200", "m=audio", "m=video"), "200 without SDP"),
        (alter("SIP/2.0 200", "Contact:", "X-Contact:"), "200 without Contact"),
        (alter("ACK", "CSeq: 1", "CSeq: 9"), "ACK with another CSeq than its INVITE"),
        (alter("ACK", "c7@bench", "c8@bench"), "a request of another dialog"),
        (alter("BYE", "tag=a7", "tag=a8"), "a request of another dialog"),
        (alter("BYE", "CSeq: 2", "CSeq: 1"), "BYE with an old CSeq"),
    ];
    for (mut network, what) in cases {
        let world = World::run(&mut network);
        let both = [world.caller.verdict(0), world.callee.verdict(0)];
        assert!(both.contains(&Err(Failure::Wrong(what))), "{what}: {both:?}");
        assert!(world.verdict().is_err(), "{what}");
    }
}

#[test]
fn without_a_server_max_forwards_need_not_go_down_but_through_one_it_must() {
    let invite = |hops: u32| {
        format!(
            "INVITE sip:4400000007@x SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nMax-Forwards: {hops}\r\n\
             From: <sip:x@y>;tag=s\r\nTo: <sip:x@y>\r\nCall-ID: z\r\nCSeq: 5 INVITE\r\nContact: <sip:s>\r\n\r\nm=audio 1"
        )
    };
    let flawed = |target: SocketAddrV4, hops: u32| {
        let plan = Plan { target, rate: 1.0, calls: 1, hold: HOLD, delays: false };
        let mut callee = Callee::new(&plan, Numbers { first: 7, count: 1 });
        let (mut outbox, mut timers) = (Outbox::default(), Timers::new());
        let turn = &mut Turn { now: Duration::ZERO, outbox: &mut outbox, timers: &mut timers };
        let text = invite(hops);
        let call = callee.receive(&Message::read(text.as_bytes()).expect("a message"), SERVER, turn);
        assert_eq!(call, Some(0));
        callee.verdict(0) == Err(Failure::Wrong("INVITE without a Max-Forwards that went down"))
    };
    assert!(!flawed(CALLEE, 70));
    assert!(!flawed(SERVER, 69));
    assert!(flawed(SERVER, 70));
}

#[test]
fn a_second_invite_for_one_call_is_no_resend() {
    let mut invites = 0;
    let world = World::run(&mut |text: &str| {
        if text.starts_with("SIP/2.0") && invites == 1 {
            return None;
        }
        invites += usize::from(text.starts_with("INVITE"));
        let again = text.starts_with("INVITE") && invites > 1;
        Some(if again { text.replace("c7@bench", "c8@bench") } else { text.to_owned() })
    });
    assert_eq!(world.callee.verdict(0), Err(Failure::Wrong("a second INVITE for one call")));
}

#[test]
fn a_callee_counts_a_bye_once() {
    let world = World::run(&mut |text: &str| {
        let lost = text.starts_with("SIP/2.0 200") && text.contains(" BYE\r\n");
        (!lost).then(|| text.to_owned())
    });
    assert_eq!((world.callee.left, world.verdict()), (1, Err(Failure::NoEnd)));
    assert!(world.callee.repeated > 5);
}
