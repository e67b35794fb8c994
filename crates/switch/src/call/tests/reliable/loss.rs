//! A call with 100rel on both legs, of which any one message is lost, comes twice or comes late, or is followed by
//! another owner: it is answered all the same.

use super::super::messages::{Got, Peer, reply};
use super::super::plan::{OFFER, Plan, gateway_address, sdp};
use super::super::world::World;
use super::{on_both_legs, reliable, requiring, rseq};
use std::collections::BTreeSet;
use tandem_sip::{Message, Method, Name};

/// One turn of the clock, in milliseconds.
const TURN_MS: u64 = 100;
const TURNS: u64 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Lost,
    Twice,
    /// So late that others overtake it.
    Late,
    /// The owner of the call is lost once it has arrived.
    Orphaned,
    /// The owner of the call is lost with it.
    LostWithOwner,
}

#[derive(Clone)]
enum Datagram {
    ToPeer(Got),
    Request(Message, std::net::SocketAddr),
    Response(Message),
}

/// A message that is sent again until it is answered: after 0.5 s, then after twice as long each time.
struct Resent {
    message: Message,
    wait: u64,
    at: u64,
}

impl Resent {
    fn begin(message: Message, turn: u64) -> Self {
        Self { message, wait: 5, at: turn + 5 }
    }

    fn due(&mut self, turn: u64) -> Option<Message> {
        (self.at <= turn).then(|| {
            self.wait *= 2;
            self.at = turn + self.wait;
            self.message.clone()
        })
    }
}

struct Line {
    world: World,
    fault: (Fault, usize),
    /// How many messages there were.
    count: usize,
    turn: u64,
    read: usize,
    late: Vec<(u64, Datagram)>,
    phone: Phone,
    gateway: Gateway,
}

#[derive(Default)]
struct Phone {
    heard: BTreeSet<(Vec<u8>, u32)>,
    pracks: Vec<Resent>,
    acknowledged: usize,
    ack: Option<Message>,
    bye: Option<Resent>,
    bye_at: Option<u64>,
    cseq: u32,
}

#[derive(Default)]
struct Gateway {
    invite: Option<Got>,
    progress: Option<Resent>,
    answer: Option<Resent>,
    pracked: Option<String>,
}

impl Line {
    fn new(plan: Prepare, fault: (Fault, usize)) -> Self {
        let phone = Phone { cseq: 7, ..Phone::default() };
        Self {
            world: World::with(plan),
            fault,
            count: 0,
            turn: 0,
            read: 1,
            late: Vec::new(),
            phone,
            gateway: Gateway::default(),
        }
    }

    fn run(&mut self) {
        while self.turn < TURNS && self.world.call.is_some() {
            self.turn += 1;
            self.world.advance(TURN_MS);
            self.take_what_is_late();
            self.read();
            self.resend();
            self.read();
        }
    }

    fn read(&mut self) {
        while let Some(got) = self.world.sent.get(self.read).cloned() {
            self.read += 1;
            self.carry(Datagram::ToPeer(got));
        }
    }

    fn take_what_is_late(&mut self) {
        let turn = self.turn;
        let (due, later) = self.late.drain(..).partition(|(at, _)| *at <= turn);
        self.late = later;
        let due: Vec<(u64, Datagram)> = due;
        for (_, datagram) in due {
            self.arrive(datagram);
        }
    }

    /// A message is on its way.
    fn carry(&mut self, datagram: Datagram) {
        self.count += 1;
        if self.count != self.fault.1 {
            return self.arrive(datagram);
        }
        match self.fault.0 {
            Fault::Lost => {}
            Fault::Twice => {
                self.arrive(datagram.clone());
                self.arrive(datagram);
            }
            Fault::Late => self.late.push((self.turn + 7, datagram)),
            Fault::Orphaned => {
                self.arrive(datagram);
                self.lose_owner();
            }
            Fault::LostWithOwner => self.lose_owner(),
        }
    }

    fn lose_owner(&mut self) {
        if self.world.stored.is_some() {
            self.world.take_over(300);
        }
    }

    fn arrive(&mut self, datagram: Datagram) {
        match datagram {
            Datagram::ToPeer(got) if got.flow.remote == gateway_address(1) => self.at_gateway(&got),
            Datagram::ToPeer(got) => self.at_phone(&got),
            Datagram::Request(message, from) => self.world.request(message, from),
            Datagram::Response(message) => self.world.response(message),
        }
    }

    fn resend(&mut self) {
        let turn = self.turn;
        let phone = self.phone.pracks.iter_mut().chain(self.phone.bye.as_mut());
        let requests: Vec<Message> = phone.filter_map(|resent| resent.due(turn)).collect();
        let gateway = self.gateway.progress.iter_mut().chain(self.gateway.answer.as_mut());
        let responses: Vec<Message> = gateway.filter_map(|resent| resent.due(turn)).collect();
        for request in requests {
            self.carry(Datagram::Request(request, self.world.plan.caller_address));
        }
        for response in responses {
            self.carry(Datagram::Response(response));
        }
        if self.phone.bye_at.is_some_and(|at| at <= turn) {
            self.phone.bye_at = None;
            let bye = self.phone_request("BYE", "", None);
            self.phone.bye = Some(Resent::begin(bye.clone(), turn));
            self.carry(Datagram::Request(bye, self.world.plan.caller_address));
        }
    }

    // The caller.

    fn peer(&self) -> Peer {
        self.world.caller.clone()
    }

    fn phone_request(&mut self, method: &str, lines: &str, body: Option<&str>) -> Message {
        self.phone.cseq += 1;
        self.peer().request_with(method, self.phone.cseq, lines, body)
    }

    fn at_phone(&mut self, got: &Got) {
        match (got.status().map(|status| status.code()), got.method()) {
            (Some(200), Some(Method::PRack)) => {
                let cseq = got.cseq_number();
                self.phone.pracks.retain(|prack| prack.message.cseq().map(|own| own.number) != Ok(cseq));
                self.phone.acknowledged += 1;
            }
            (Some(200), Some(Method::Bye)) => self.phone.bye = None,
            (Some(200), Some(Method::Invite)) => self.on_answer(got),
            (Some(101..=199), Some(Method::Invite)) => self.on_progress(got),
            (Some(100), _) => {}
            _ => panic!("{} at the caller\n{}", got.what(), got.text()),
        }
    }

    fn on_progress(&mut self, got: &Got) {
        let new = self.phone.heard.insert((got.to_tag().unwrap_or_default().to_vec(), rseq(got)));
        if !new || self.phone.ack.is_some() {
            return;
        }
        self.world.caller.to = format!("<sip:4420@switch.example>;tag={}", got.tag_in_to());
        let is_offer = self.world.plan.offer.is_none() && !got.body().is_empty();
        let lines = format!("RAck: {} 7 INVITE\r\n", rseq(got));
        let prack = self.phone_request("PRACK", &lines, is_offer.then_some(OFFER));
        self.phone.pracks.push(Resent::begin(prack.clone(), self.turn));
        self.carry(Datagram::Request(prack, self.world.plan.caller_address));
    }

    fn on_answer(&mut self, got: &Got) {
        if self.phone.ack.is_none() {
            assert_eq!(got.body().is_empty(), self.world.plan.offer.is_none());
            self.world.caller.to = format!("<sip:4420@switch.example>;tag={}", got.tag_in_to());
            self.phone.ack = Some(self.peer().request_with("ACK", 7, "", None));
            self.phone.bye_at = Some(self.turn + 30);
        }
        let ack = self.phone.ack.clone().expect("set above");
        self.carry(Datagram::Request(ack, self.world.plan.caller_address));
    }

    // The gateway.

    fn at_gateway(&mut self, got: &Got) {
        let answer = |status| reply(status).to(got, got.flow.remote);
        match got.method() {
            Some(Method::Invite) if self.gateway.invite.is_none() => {
                self.gateway.invite = Some(got.clone());
                let progress = reliable(183, 41).sdp(sdp(5000)).to(got, got.flow.remote);
                self.gateway.progress = Some(Resent::begin(progress.clone(), self.turn));
                self.carry(Datagram::Response(progress));
            }
            Some(Method::PRack) => {
                assert_eq!(got.value(Name::RAck), "41 1 INVITE");
                let first = self.gateway.progress.take().is_some();
                if first {
                    self.gateway.pracked = Some(got.body_text());
                }
                let branch = got.branch();
                let known = self.world.sent.iter().filter(|sent| sent.what() == "PRACK");
                let is_copy = known.into_iter().next().is_some_and(|sent| sent.branch() == branch);
                self.carry(Datagram::Response(answer(if first || is_copy { 200 } else { 481 })));
                if first {
                    self.answer();
                }
            }
            Some(Method::Ack) => self.gateway.answer = None,
            Some(Method::Bye) => self.carry(Datagram::Response(answer(200))),
            Some(Method::Invite) => {}
            _ => panic!("{} at the gateway\n{}", got.what(), got.text()),
        }
    }

    fn answer(&mut self) {
        let invite = self.gateway.invite.clone().expect("an INVITE before its PRACK");
        let plain = reply(200);
        let answer = if self.world.plan.offer.is_some() { plain.sdp(sdp(5000)) } else { plain };
        let answer = answer.to(&invite, invite.flow.remote);
        self.gateway.answer = Some(Resent::begin(answer.clone(), self.turn));
        self.carry(Datagram::Response(answer));
    }
}

/// What makes a plan of the default one.
type Prepare = fn(&mut Plan);

fn delayed(plan: &mut Plan) {
    on_both_legs(plan);
    plan.offer = None;
}

fn required(plan: &mut Plan) {
    on_both_legs(plan);
    requiring(plan);
}

/// How many messages the call has without any fault, with all that follows.
const MESSAGES: usize = 24;

#[test]
fn any_one_message_may_be_lost_or_come_twice_or_late_or_be_the_last_of_an_owner() {
    let plans: [(&str, Prepare); 3] =
        [("offered", on_both_legs), ("required", required), ("delayed", delayed)];
    for (name, plan) in plans {
        for fault in [Fault::Lost, Fault::Twice, Fault::Late, Fault::Orphaned, Fault::LostWithOwner] {
            for number in 0..=MESSAGES {
                let mut line = Line::new(plan, (fault, number));
                line.run();
                let (phone, gateway) = (&line.phone, &line.gateway);
                let told = format!("{name}, message {number} {fault:?}");
                assert!(number > 0 || (12..=MESSAGES).contains(&line.count), "{told}: {}", line.count);
                assert!(phone.pracks.is_empty() && phone.acknowledged > 0, "PRACK not answered: {told}");
                let expected = if line.world.plan.offer.is_none() { OFFER } else { "" };
                assert_eq!(gateway.pracked.as_deref(), Some(expected), "{told}");
                assert!(phone.ack.is_some() && phone.bye.is_none(), "not answered: {told}");
                assert!(gateway.answer.is_none() && gateway.progress.is_none(), "{told}");
                let record = line.world.finish();
                assert_eq!(record["end_reason"], "normal", "{told}");
                assert_eq!(record["codec"], "PCMA", "{told}");
            }
        }
    }
}
