//! A random walk: whatever comes in whatever order, the rules of [`super::wire`] and [`super::world`] hold, and the
//! call comes to its end.
//!
//! A failure prints its seed. To replay it alone: `TANDEM_WALK_SEED=<seed> cargo nextest run -p tandem-switch walk
//! --no-capture`.

use super::messages::{Got, Peer, reply};
use super::plan::{Answers, CALLER, OFFER, Plan, address, sdp};
use super::world::World;
use crate::call::{Input, Reach};
use crate::cdr::EndReason;
use crate::gateway::{Redirects, Refusal};
use crate::parameters::ReliableProvisionals;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tandem_sip::flow::Transport;
use tandem_sip::transaction::ResendSchedule;
use tandem_sip::{Message, Name};

const RUNS: u64 = 4_000;
const MAX_STEPS: u64 = 60;

/// Evenly spread numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let limit = choices.len().max(1) as u64;
        choices.get(self.below(limit) as usize)
    }
}

/// One run: a world, and what was said in it that may be said again.
struct Walk {
    random: Random,
    world: World,
    heard: Vec<Heard>,
    /// The last RSeq of each fork of each gateway.
    rseq: BTreeMap<(SocketAddr, String), u32>,
    log: Vec<String>,
}

#[derive(Clone)]
enum Heard {
    Request(Message, SocketAddr),
    Response(Message),
}

fn plan(random: &mut Random, plan: &mut Plan) {
    let number = if random.chance(4) { 0 } else { 1 + random.below(4) };
    plan.gateways(number as usize);
    if random.chance(30) {
        plan.offer = None;
    }
    if random.chance(20) {
        plan.caller_transport = Transport::Tcp;
    }
    for answers in [&mut plan.lookup, &mut plan.admission] {
        if random.chance(15) {
            *answers = Answers::WhenTold;
        }
    }
    if random.chance(20) {
        plan.refusing.insert("two", Refusal::Calls);
    }
    let parameters = &mut plan.parameters;
    parameters.stop_after_user_busy = random.chance(70);
    parameters.record_nonconnect = random.chance(70);
    parameters.switch_limit = random.chance(30).then(|| random.below(3) as u32 + 1);
    parameters.setup_timeout = random.chance(20).then(|| Duration::from_secs(random.below(60) + 1));
    parameters.max_duration = random.chance(30).then(|| Duration::from_secs(random.below(100) + 1));
    if random.chance(20) {
        let waits = [Duration::from_millis(random.below(2_000) + 1); 3];
        parameters.resend = ResendSchedule::new(&waits, random.below(4) as usize).expect("three waits");
    }
    if random.chance(40) {
        plan.parameters.reliable_provisionals = ReliableProvisionals::Supported;
        let header = *random.one_of(&["Supported", "Require"]).expect("some");
        plan.invite_lines = format!("{header}: 100rel\r\n");
        if random.chance(50) {
            plan.invite_lines.push_str("Allow: INVITE, UPDATE\r\n");
        }
    }
    if random.chance(40) {
        plan.every_gateway(|gateway| gateway.reliable_provisionals = ReliableProvisionals::Supported);
    }
    for number in 1..=plan.candidates.len() {
        let draws: [bool; 4] = std::array::from_fn(|_| random.chance(50));
        let transport = if random.chance(20) { Transport::Tcp } else { Transport::Udp };
        if let Reach::At(target) = &mut plan.candidates[number - 1].reach {
            target.flow.transport = transport;
        }
        plan.gateway(number, |gateway| {
            gateway.stop_after_sdp = draws[0];
            gateway.until_connect = draws[1];
            gateway.stop_after_invite_timeout = draws[2] && draws[3];
            gateway.stop_codes = vec![404];
        });
    }
}

/// Some candidates are endpoints, with several bindings.
fn furnish_endpoints(random: &mut Random, plan: &mut Plan) {
    for number in 1..=plan.candidates.len() {
        if random.chance(15) {
            let count = random.below(5);
            let places: Vec<(usize, u16)> =
                (0..count).map(|_| (random.below(6) as usize + 1, 500 * random.below(2) as u16)).collect();
            plan.endpoint(number, &places);
            plan.candidates[number - 1].has_account = false;
            plan.candidates[number - 1].redirects = Redirects::Refuse;
        }
    }
}

/// Some gateways are known by name, and reached at several places or at none; some challenge, and some redirect.
fn furnish_gateways(random: &mut Random, plan: &mut Plan) {
    for number in 1..=plan.candidates.len() {
        if random.chance(20) {
            let places: Vec<usize> = (0..random.below(4)).map(|_| random.below(6) as usize + 1).collect();
            plan.named(number, &places);
        }
    }
    if random.chance(30) {
        plan.resolution = Answers::WhenTold;
    }
    if random.chance(40) {
        plan.accounts();
    }
    if random.chance(30) {
        plan.authorization = Answers::WhenTold;
    }
    if random.chance(40) {
        plan.redirects(if random.chance(50) { Redirects::Any } else { Redirects::Gateway });
    }
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let world = World::with(|world_plan| {
            plan(&mut random, world_plan);
            furnish_gateways(&mut random, world_plan);
            furnish_endpoints(&mut random, world_plan);
        });
        Self { random, world, heard: Vec::new(), rseq: BTreeMap::new(), log: Vec::new() }
    }

    fn run(&mut self) {
        for _ in 0..self.random.below(MAX_STEPS) {
            if self.world.call.is_none() {
                break;
            }
            self.step();
        }
        self.log.push("the end".to_owned());
        while self.world.call.is_some() && !self.world.asked.is_empty() {
            self.world.admit();
        }
        self.world.hang_up(EndReason::Admin);
        self.world.finish();
    }

    fn step(&mut self) {
        let draw = self.random.below(100);
        let what = match draw {
            0..20 => self.pass_time(),
            20..52 => self.gateway_replies(),
            52..58 => self.caller_replies(),
            58..70 => self.caller_speaks(),
            70..77 => self.callee_speaks(),
            77..84 => self.copy(),
            84..92 => self.shell_answers(),
            92..95 => self.undeliverable(),
            95..97 => {
                self.take_over();
                "take over".to_owned()
            }
            97 => {
                self.world.hang_up(EndReason::Admin);
                "hang up".to_owned()
            }
            _ => {
                self.world.input(Input::Timer);
                "an early timer".to_owned()
            }
        };
        self.log.push(what);
    }

    fn pass_time(&mut self) -> String {
        let next = self.world.next_wake().unwrap_or(1_000);
        let ms = match self.random.below(10) {
            0..4 => self.random.below(1_000),
            4..7 => next.min(15_000),
            7 => next.saturating_sub(1),
            8 => self.random.below(8_000),
            _ => self.random.below(130_000),
        };
        self.world.advance(ms);
        format!("{ms} ms pass")
    }

    fn shell_answers(&mut self) -> String {
        if self.world.plan.lookup == Answers::WhenTold && self.random.chance(50) {
            self.world.look_up();
            return "look-up answered".to_owned();
        }
        if let Some(authorized) = self.world.authorization() {
            self.world.input(authorized);
            return "challenge answered".to_owned();
        }
        if let Some(resolved) = self.world.resolution() {
            self.world.input(resolved);
            return "resolution answered".to_owned();
        }
        if !self.world.asked.is_empty() {
            self.world.admit();
        }
        "admission answered".to_owned()
    }

    /// A tag that whoever got that INVITE gives: nobody gives another's.
    fn tag(&mut self, invite: &Got) -> String {
        let tags = ["gw", "gw", "gw", "a", "b"];
        let tag = self.random.one_of(&tags).map_or("gw", |tag| tag);
        let branch = invite.branch();
        let serial = String::from_utf8_lossy(&branch[branch.len().saturating_sub(6)..]).into_owned();
        format!("{tag}{serial}")
    }

    /// A request that went to a gateway; a late one as likely as the first.
    fn one_sent_to_a_gateway(&mut self, wanted: impl Fn(&Got) -> bool) -> Option<Got> {
        let caller = [self.world.plan.caller_address, address(CALLER)];
        let sent =
            self.world.sent.iter().filter(|got| got.is_request() && !caller.contains(&got.flow.remote));
        let wanted: Vec<Got> = sent.filter(|got| wanted(got)).cloned().collect();
        let mut distinct: Vec<Got> = Vec::new();
        for got in wanted {
            if distinct.iter().all(|other| other.text() != got.text()) {
                distinct.push(got);
            }
        }
        self.random.one_of(&distinct).cloned()
    }

    fn gateway_replies(&mut self) -> String {
        let Some(request) = self.one_sent_to_a_gateway(|got| got.what() != "ACK") else {
            return "no request to answer".to_owned();
        };
        let gateway = request.flow.remote;
        let statuses: &[u16] = match request.what().as_str() {
            "INVITE" => &[
                100, 100, 180, 180, 181, 183, 183, 183, 199, 200, 200, 200, 200, 202, 302, 302, 401, 401,
                407, 404, 408, 486, 487, 487, 500, 503, 603,
            ],
            _ => &[100, 200, 200, 200, 401, 481, 408, 488, 491, 500],
        };
        let status = *self.random.one_of(statuses).expect("some");
        let mut response = reply(status);
        let tag = self.tag(&request);
        if status > 100 {
            response = response.tag(&tag);
        }
        if request.what() == "INVITE" && (101..200).contains(&status) && self.random.chance(50) {
            let random = 1 + self.random.below(4) as u32;
            let in_order = self.random.chance(80);
            let last = self.rseq.entry((gateway, tag)).or_default();
            *last = if in_order { *last + 1 } else { random };
            response = response.line("Require: 100rel").line(&format!("RSeq: {last}"));
            if self.random.chance(50) {
                response = response.line("Allow: INVITE, UPDATE");
            }
        }
        if matches!(&*request.what(), "INVITE" | "UPDATE") && status < 300 && self.random.chance(60) {
            response = response.sdp(sdp(5_000 + 2 * self.random.below(3) as u16));
        }
        if self.random.chance(5) {
            response = response.contact("");
        }
        if matches!(status, 401 | 407) {
            response = response.line(&self.challenge(status));
        }
        if status == 302 {
            response = response.contact(&format!("<sip:99@198.51.100.{}>", self.random.below(6) + 1));
        }
        if self.random.chance(10) {
            response = response.line("Reason: Q.850;cause=16").line("Reason: SIP;cause=200");
        }
        let message = response.to(&request, gateway);
        self.heard.push(Heard::Response(message.clone()));
        self.world.response(message);
        format!("{gateway}: {status} to {}", request.what())
    }

    fn challenge(&mut self, status: u16) -> String {
        let header = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let (nonce, stale) = (self.random.below(3), self.random.chance(50));
        format!("{header}: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\", stale={stale}")
    }

    fn caller_replies(&mut self) -> String {
        let caller = self.world.plan.caller_address;
        let requests: Vec<Got> = self.world.sent_requests(caller).cloned().collect();
        let Some(request) = self.random.one_of(&requests).cloned() else {
            return "nothing for the caller to answer".to_owned();
        };
        let status = *self.random.one_of(&[100, 180, 200, 200, 200, 481, 488, 491]).expect("some");
        let mut response = reply(status);
        if matches!(&*request.what(), "INVITE" | "UPDATE") && self.random.chance(70) {
            response = response.sdp(OFFER);
        }
        self.world.caller_replies(&request, response);
        format!("caller: {status} to {}", request.what())
    }

    /// The caller's view of its dialog: under one of the To tags that it was sent.
    fn caller_dialog(&mut self) -> Option<Peer> {
        let responses = self.world.sent.iter().filter(|got| !got.is_request());
        let tags: Vec<String> = responses
            .filter(|got| got.call_id() == Some(b"caller-call-id"))
            .map(Got::tag_in_to)
            .filter(|tag| !tag.is_empty())
            .collect();
        let tag = match self.random.chance(80) {
            true => tags.last().cloned(),
            false => self.random.one_of(&tags).cloned(),
        }?;
        let mut peer = self.world.caller.clone();
        peer.to = format!("<sip:4420@switch.example>;tag={tag}");
        Some(peer)
    }

    fn caller_speaks(&mut self) -> String {
        let from = self.world.plan.caller_address;
        match self.random.below(10) {
            0 => {
                self.world.caller_cancels("");
                return "caller: CANCEL".to_owned();
            }
            1 => {
                self.world.caller_repeats_invite();
                return "caller: INVITE again".to_owned();
            }
            _ => {}
        }
        let Some(peer) = self.caller_dialog() else {
            return "no dialog yet".to_owned();
        };
        if self.random.chance(30) {
            return self.caller_pracks();
        }
        let method = *self
            .random
            .one_of(&["ACK", "ACK", "ACK", "BYE", "INVITE", "INVITE", "OPTIONS", "INFO", "UPDATE"])
            .expect("some");
        let cseq = if method == "ACK" {
            if self.random.chance(60) { 7 } else { self.world.caller.cseq }
        } else if self.random.chance(90) {
            self.world.caller.cseq += 1;
            self.world.caller.cseq
        } else {
            self.random.below(10) as u32
        };
        let body = self.random.chance(50).then_some(OFFER);
        let message = peer.request_with(method, cseq, "", body);
        self.heard.push(Heard::Request(message.clone(), from));
        self.world.request(message, from);
        format!("caller: {method} {cseq}")
    }

    /// PRACK for one of the reliable responses; the last one most of the time.
    fn caller_pracks(&mut self) -> String {
        let reliable: Vec<Got> =
            self.world.sent.iter().filter(|got| got.number(Name::RSeq).is_some()).cloned().collect();
        let last = reliable.last().cloned().filter(|_| self.random.chance(80));
        let Some(response) = last.or_else(|| self.random.one_of(&reliable).cloned()) else {
            return "nothing to acknowledge".to_owned();
        };
        let rseq = response.value(Name::RSeq);
        let number = if self.random.chance(95) { 7 } else { 8 };
        self.world.caller.cseq += 1;
        let mut peer = self.world.caller.clone();
        peer.to = format!("<sip:4420@switch.example>;tag={}", response.tag_in_to());
        let body = self.random.chance(40).then_some(OFFER);
        let lines = format!("RAck: {rseq} {number} INVITE\r\n");
        let message = peer.request_with("PRACK", peer.cseq, &lines, body);
        let from = self.world.plan.caller_address;
        self.heard.push(Heard::Request(message.clone(), from));
        self.world.request(message, from);
        format!("caller: PRACK {rseq}")
    }

    fn callee_speaks(&mut self) -> String {
        let Some(invite) = self.one_sent_to_a_gateway(|got| got.what() == "INVITE") else {
            return "nobody was called".to_owned();
        };
        let tag = self.tag(&invite);
        let gateway = invite.flow.remote;
        let mut peer = self.world.callee(&invite, &tag);
        peer.cseq = 100 + self.random.below(10) as u32;
        let methods = ["BYE", "OPTIONS", "INVITE", "INVITE", "UPDATE", "INFO", "CANCEL", "ACK"];
        let method = *self.random.one_of(&methods).expect("some");
        let offer = sdp(5_000 + 2 * self.random.below(3) as u16);
        let message = match method {
            "INVITE" | "UPDATE" | "ACK" if self.random.chance(70) => peer.offer(method, Some(&offer)),
            _ => peer.request(method),
        };
        self.heard.push(Heard::Request(message.clone(), gateway));
        self.world.request(message, gateway);
        format!("{gateway}: {method} under tag {tag}")
    }

    fn copy(&mut self) -> String {
        match self.random.one_of(&self.heard).cloned() {
            Some(Heard::Request(message, from)) => {
                let what = format!("copy of {message:?}");
                self.world.request(message, from);
                what
            }
            Some(Heard::Response(message)) => {
                let what = format!("copy of {message:?}");
                self.world.response(message);
                what
            }
            None => "nothing to copy".to_owned(),
        }
    }

    fn undeliverable(&mut self) -> String {
        let requests: Vec<Got> = self.world.sent.iter().filter(|got| got.is_request()).cloned().collect();
        let Some(request) = self.random.one_of(&requests).cloned() else {
            return "nothing was sent".to_owned();
        };
        self.world.undeliverable(&request);
        format!("{} undeliverable", request.what())
    }

    fn take_over(&mut self) {
        if self.world.stored.is_some() {
            let ms = self.random.below(40_000);
            self.world.take_over(ms);
        }
    }
}

#[test]
fn whatever_comes_in_whatever_order_the_rules_hold_and_the_call_ends() {
    let alone = option_env!("TANDEM_WALK_SEED").map(|seed| seed.parse().expect("a number"));
    let seeds = alone.map_or(1..=RUNS, |seed: u64| seed..=seed);
    for seed in seeds {
        let mut walk = Walk::new(seed);
        let result = catch_unwind(AssertUnwindSafe(|| walk.run()));
        if let Err(panic) = result {
            let steps = walk.log.join("\n  ");
            eprintln!("seed {seed}:\n  {steps}\n{:#?}", walk.world.releases());
            std::panic::resume_unwind(panic);
        }
    }
}
