//! A call with everything around it: a clock, the shell, a caller and gateways.

use super::messages::{Got, Peer, Reply, contact_uri, parse};
use super::plan::{Answers, CALLER, CALLER_SIDE, GATEWAY_NAMES, Plan, address, gateway_address, target};
use super::wire::Wire;
use crate::call::Moved;
use crate::call::connected::{Party, Refresh};
use crate::call::identity::Serial;
use crate::call::{
    Action, Call, CallId, Event, Input, Looked, Seq, Setup, Snapshot, Sought, Stage, State, Token, TokenKeys,
    Unauthorized, screen,
};
use crate::cdr::{EndReason, Release};
use crate::gateway::{
    Holder, Limits, MappingGateway, NonceCounts, NumberRules, Outcome, Refusal, SourceLimits,
};
use bincode::Options;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::Message;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now, Wall};

pub(super) const ID: CallId = CallId([7; 12]);

/// More wake-ups than this at one instant mean a deadline that does not move.
const MAX_WAKES_AT_ONCE: usize = 100;

/// Who holds a slot of which gateway.
pub(super) type Slot = (String, u16);

pub(super) struct World {
    /// `None` once it has stopped: the shell has dropped it.
    pub(super) call: Option<Call>,
    pub(super) now: Now,
    pub(super) plan: Plan,
    pub(super) caller: Peer,
    pub(super) events: Vec<Event>,
    /// The records of each end of the call.
    pub(super) ends: Vec<Vec<Value>>,
    /// What the store holds of the call.
    pub(super) stored: Option<Vec<u8>>,
    /// The commits, with the size of their snapshots.
    pub(super) commits: Vec<(Seq, usize)>,
    pub(super) released: Vec<(Slot, Outcome)>,
    pub(super) slots: BTreeSet<Slot>,
    /// What the call asked for and was not told yet.
    pub(super) asked: VecDeque<(String, u16)>,
    /// What the call wants to have resolved and was not told yet.
    pub(super) resolving: VecDeque<(u16, Sought)>,
    /// Challenged requests that the call wants credentials for and was not told yet.
    pub(super) unauthorized: VecDeque<(Serial, Box<Unauthorized>)>,
    pub(super) nonces: NonceCounts,
    /// The pauses that gateways were granted.
    pub(super) holds: Vec<(String, Duration)>,
    pub(super) lookups: usize,
    /// Everything that was sent, in order.
    pub(super) sent: Vec<Got>,
    pub(super) epoch: u32,
    invite: Message,
    wake: Option<Mono>,
    mailboxes: BTreeMap<SocketAddr, VecDeque<Got>>,
    wire: Wire,
    last_seq: Seq,
    granted_since_commit: BTreeSet<Slot>,
    released_since_commit: BTreeSet<Slot>,
    /// Slots that a lost owner took or gave back without its heir's knowledge.
    uncertain: BTreeSet<Slot>,
}

impl World {
    /// The default plan's call, as far as the shell's answers take it.
    pub(super) fn start() -> Self {
        Self::with(|_| {})
    }

    /// The call of a changed plan.
    pub(super) fn with(change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan::default();
        change(&mut plan);
        let invite = parse(plan.invite());
        screen(&invite, &plan.parameters).expect("an INVITE that can be screened");
        let now = Now { mono: Mono(1_000_000), wall: Wall(1_700_000_000_000) };
        let flow = Flow { transport: plan.caller_transport, listener: 0, remote: plan.caller_address };
        let setup = Setup {
            id: ID,
            token: token(),
            node: "n1".into(),
            invite: invite.clone(),
            flow,
            local: CALLER_SIDE.into(),
            home: 0,
            mapping_gateway: Arc::new(mapping_gateway(&plan)),
            endpoint: plan.caller_endpoint.clone(),
        };
        let (call, actions) = Call::start(setup, now).expect("an INVITE that makes a dialog");
        let mut world = Self {
            call: Some(call),
            now,
            caller: caller(&plan),
            events: Vec::new(),
            ends: Vec::new(),
            stored: None,
            commits: Vec::new(),
            released: Vec::new(),
            slots: BTreeSet::new(),
            asked: VecDeque::new(),
            resolving: VecDeque::new(),
            unauthorized: VecDeque::new(),
            nonces: NonceCounts::default(),
            holds: Vec::new(),
            lookups: 0,
            sent: Vec::new(),
            epoch: 0,
            wire: Wire::new(&invite, plan.caller_address),
            invite,
            wake: None,
            mailboxes: BTreeMap::new(),
            last_seq: 0,
            granted_since_commit: BTreeSet::new(),
            released_since_commit: BTreeSet::new(),
            uncertain: BTreeSet::new(),
            plan,
        };
        world.perform(actions);
        world.at_caller("100");
        world
    }

    // The shell.

    /// Gives the call an input, and does what it asks for.
    pub(super) fn input(&mut self, input: Input) {
        if let Some(call) = &mut self.call {
            let actions = call.handle(self.now, input);
            self.perform(actions);
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        let mut answers = Vec::new();
        for action in actions {
            match action {
                Action::Send { flow, message, after } => self.deliver(flow, message, after),
                Action::Commit { seq, snapshot } => self.commit(seq, &snapshot),
                Action::End { seq, records } => self.end(seq, &records),
                Action::Lookup { .. } => {
                    self.lookups += 1;
                    if self.plan.lookup == Answers::AtOnce {
                        answers.push(Input::Looked(self.looked()));
                    }
                }
                Action::Admit { gateway, holder } => {
                    assert_eq!(holder.call, ID);
                    self.asked.push_back((gateway.to_string(), holder.attempt));
                    if self.plan.admission == Answers::AtOnce {
                        answers.extend(self.admission());
                    }
                }
                Action::Authorize { gateway, serial, request } => {
                    self.unauthorized.push_back((serial, request));
                    assert!(GATEWAY_NAMES.contains(&&*gateway));
                    if self.plan.authorization == Answers::AtOnce {
                        answers.extend(self.authorization());
                    }
                }
                Action::Hold { gateway, pause } => self.holds.push((gateway.to_string(), pause)),
                Action::Resolve { attempt, of } => {
                    self.resolving.push_back((attempt, of));
                    if self.plan.resolution == Answers::AtOnce {
                        answers.extend(self.resolution());
                    }
                }
                Action::ReleaseSlot { gateway, holder, outcome, after } => {
                    self.release(&gateway, holder, outcome, after)
                }
                Action::SetTimer(at) => self.wake = Some(at),
                Action::Emit(event) => self.events.push(event),
                Action::Stop => {
                    let call = self.call.take().expect("a call stops once");
                    assert_eq!(call.deadline(), None, "a deadline after the end");
                    self.wake = None;
                }
            }
        }
        self.check_wake();
        for answer in answers {
            self.input(answer);
        }
    }

    fn check_wake(&self) {
        let deadline = self.call.as_ref().and_then(Call::deadline);
        if let Some(deadline) = deadline {
            let woken = self.wake.is_some_and(|wake| wake <= deadline);
            assert!(woken, "deadline {deadline:?}, but woken at {:?}", self.wake);
        }
    }

    fn deliver(&mut self, flow: Flow, message: bytes::Bytes, after: Option<Seq>) {
        let got = Got { message: parse(message), flow, after, at: self.now.mono };
        assert!(after.is_none_or(|seq| seq <= self.last_seq), "waits for a commit to come");
        self.wire.check(&got);
        self.sent.push(got.clone());
        let mailbox = self.mailbox(flow.remote);
        self.mailboxes.entry(mailbox).or_default().push_back(got);
    }

    /// The caller has one mailbox, by whatever address it is reached.
    fn mailbox(&self, remote: SocketAddr) -> SocketAddr {
        if remote == self.plan.caller_address { address(CALLER) } else { remote }
    }

    fn commit(&mut self, seq: Seq, snapshot: &Snapshot) {
        self.next_seq(seq);
        assert!(self.ends.is_empty(), "a commit after the end");
        assert_eq!((snapshot.id(), snapshot.seq()), (ID, seq));
        assert_eq!(snapshot.epoch(), self.epoch);
        let bytes = serialize(snapshot);
        self.commits.push((seq, bytes.len()));
        self.stored = Some(bytes);
        self.granted_since_commit.clear();
        self.released_since_commit.clear();
    }

    fn end(&mut self, seq: Seq, records: &[Vec<u8>]) {
        self.next_seq(seq);
        let record = |line: &Vec<u8>| serde_json::from_slice(line).expect("JSON");
        self.ends.push(records.iter().map(record).collect());
        self.stored = None;
    }

    fn next_seq(&mut self, seq: Seq) {
        assert_eq!(seq, self.last_seq + 1, "commits are numbered one by one");
        self.last_seq = seq;
    }

    fn release(&mut self, gateway: &str, holder: Holder, outcome: Outcome, after: Option<Seq>) {
        assert_eq!(holder.call, ID);
        assert!(after.is_none_or(|seq| seq <= self.last_seq), "waits for a commit to come");
        let slot = (gateway.to_owned(), holder.attempt);
        let held = self.slots.remove(&slot);
        assert!(held || self.uncertain.contains(&slot), "slot {slot:?} comes back twice");
        self.released_since_commit.insert(slot.clone());
        self.released.push((slot, outcome));
    }

    fn looked(&self) -> Looked {
        Looked {
            called: "4420".to_owned(),
            routes: self.plan.candidates.clone(),
            max_duration: self.plan.looked_max_duration,
            emergency: self.plan.emergency,
            headers: self.plan.looked_headers.clone(),
            absent: self.plan.absent,
        }
    }

    /// Answers the look-up that was held back.
    pub(super) fn look_up(&mut self) {
        self.input(Input::Looked(self.looked()));
    }

    /// Answers the oldest admission that was held back.
    pub(super) fn admit(&mut self) {
        let answer = self.admission().expect("an admission that was asked for");
        self.input(answer);
    }

    /// The answer to the oldest admission that was held back, which the test may deliver or lose.
    pub(super) fn admission(&mut self) -> Option<Input> {
        let (gateway, attempt) = self.asked.pop_front()?;
        let result = match self.plan.refusing.get(gateway.as_str()) {
            Some(refusal) => Err(*refusal),
            None => {
                let slot = (gateway.clone(), attempt);
                self.slots.insert(slot.clone());
                self.granted_since_commit.insert(slot);
                Ok(())
            }
        };
        Some(Input::Admitted { gateway: gateway.as_str().into(), attempt, result })
    }

    /// The answer to the oldest resolution that was held back.
    pub(super) fn resolution(&mut self) -> Option<Input> {
        let (attempt, of) = self.resolving.pop_front()?;
        let name = match &of {
            Sought::Gateway(name) => name,
            Sought::Uri(uri) => uri,
        };
        let found = self.plan.targets.get(&**name).cloned().unwrap_or_default();
        let targets = found.into_iter().map(target).collect();
        Some(Input::Resolved { attempt, of, targets })
    }

    /// The answer to the oldest challenge that was held back, as the gateway's owner gives it.
    pub(super) fn authorization(&mut self) -> Option<Input> {
        let (serial, request) = self.unauthorized.pop_front()?;
        let account = self.plan.account.as_ref();
        let authorization = account.and_then(|account| account.authorize(&mut self.nonces, &request));
        Some(Input::Authorized { serial, authorization })
    }

    // The clock.

    /// Lets time pass, with the wake-ups that fall into it.
    pub(super) fn advance(&mut self, ms: u64) {
        let until = Mono(self.now.mono.0 + ms);
        let (mut last, mut wakes) = (None, 0);
        while let Some(at) = self.wake.filter(|at| *at <= until) {
            wakes = if last == Some(at) { wakes + 1 } else { 0 };
            last = Some(at);
            assert!(wakes < MAX_WAKES_AT_ONCE, "a deadline that does not move: {at:?}");
            self.jump(at.0.saturating_sub(self.now.mono.0));
            self.wake = None;
            self.input(Input::Timer);
        }
        self.jump(until.0 - self.now.mono.0);
    }

    fn jump(&mut self, ms: u64) {
        self.now.mono.0 += ms;
        self.now.wall.0 += ms;
    }

    /// Lets seconds pass.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.advance(seconds * 1000);
    }

    /// The time to the next wake-up, in milliseconds.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.wake.map(|at| at.0.saturating_sub(self.now.mono.0))
    }

    /// Lets time pass until nothing of the call can happen any more, and checks that nothing is left behind.
    pub(super) fn finish(&mut self) -> Value {
        let limit = self.now.mono.0 + 4 * 3_600_000;
        while self.call.is_some() {
            let next = self.next_wake().expect("a call that has not stopped waits for something");
            self.advance(next);
            assert!(self.now.mono.0 < limit, "does not stop");
        }
        assert_eq!(self.ends.len(), 1, "one end");
        assert_eq!(self.releases().len(), 1, "one release");
        let leaked: Vec<_> = self.slots.difference(&self.uncertain).collect();
        assert!(leaked.is_empty(), "slots not given back: {leaked:?}");
        assert_eq!(self.stored, None);
        self.wire.check_end();
        let records = &self.ends[0];
        records.first().cloned().unwrap_or(Value::Null)
    }

    // What the call did.

    pub(super) fn releases(&self) -> Vec<Release> {
        let release =
            |event: &Event| if let Event::Released(release) = event { Some(*release) } else { None };
        self.events.iter().filter_map(release).collect()
    }

    /// The names of the gateways that were sent an INVITE, in order.
    pub(super) fn attempted(&self) -> Vec<&str> {
        let attempted = |event: &Event| {
            let Event::Attempted(gateway) = event else { return None };
            GATEWAY_NAMES.into_iter().find(|name| **name == **gateway)
        };
        self.events.iter().filter_map(attempted).collect()
    }

    pub(super) fn stage(&self) -> Stage {
        self.call.as_ref().map_or(Stage::Ending, Call::stage)
    }

    /// How the slot of an attempt at that gateway came back.
    pub(super) fn outcome(&self, gateway: &str) -> Option<Outcome> {
        let outcome = |((name, _), outcome): &(Slot, Outcome)| (name == gateway).then_some(*outcome);
        self.released.iter().find_map(outcome)
    }

    // The peers.

    /// The next message that the caller was sent, which must be this one.
    pub(super) fn at_caller(&mut self, expected: &str) -> Got {
        let got = self.next_at(address(CALLER), "the caller", expected);
        if let Some(tag) = got.to_tag().filter(|_| !got.is_request()) {
            let tag = String::from_utf8_lossy(tag).into_owned();
            self.caller.to = format!("<sip:4420@switch.example>;tag={tag}");
        }
        if !got.is_request()
            && let Some(target) = contact_uri(&got)
        {
            self.caller.target = target;
        }
        got
    }

    /// The next message that gateway `number` was sent, which must be this one.
    pub(super) fn at(&mut self, number: usize, expected: &str) -> Got {
        self.next_at(gateway_address(number), GATEWAY_NAMES[number - 1], expected)
    }

    fn next_at(&mut self, address: SocketAddr, who: &str, expected: &str) -> Got {
        let got = self.mailboxes.get_mut(&address).and_then(VecDeque::pop_front);
        let found = got.as_ref().map_or("nothing".to_owned(), Got::what);
        assert_eq!(found, expected, "at {who}; in all {:?}", self.ladder());
        got.expect("compared above")
    }

    /// Nobody was sent anything else.
    pub(super) fn nothing_more(&self) {
        let unread: Vec<_> = self.mailboxes.values().flatten().map(Got::what).collect();
        assert!(unread.is_empty(), "more was sent: {unread:?}; in all {:?}", self.ladder());
    }

    /// Forgets what nobody has read.
    pub(super) fn skip(&mut self) {
        self.mailboxes.clear();
    }

    fn ladder(&self) -> Vec<String> {
        let step = |got: &Got| format!("{} {} → {}", got.at.0, got.what(), got.flow.remote);
        self.sent.iter().map(step).collect()
    }

    /// Gateway `number` answers a request.
    pub(super) fn reply(&mut self, number: usize, request: &Message, reply: Reply) {
        self.response(reply.to(request, gateway_address(number)));
    }

    /// The caller answers a request.
    pub(super) fn caller_replies(&mut self, request: &Message, reply: Reply) {
        self.response(reply.to(request, self.plan.caller_address));
    }

    pub(super) fn response(&mut self, response: Message) {
        self.wire.on_response(&response, self.now.mono);
        self.input(Input::Response(response));
    }

    /// A request arrives from an address.
    pub(super) fn request(&mut self, message: Message, remote: SocketAddr) {
        let (transport, listener) = if remote == self.plan.caller_address {
            (self.plan.caller_transport, 0)
        } else {
            (tandem_sip::flow::Transport::Udp, 1)
        };
        let flow = Flow { transport, listener, remote };
        self.wire.on_request(&message);
        self.input(Input::Request { message, flow });
    }

    /// The caller sends a request in its dialog, and has it back for copies.
    pub(super) fn caller_sends(&mut self, method: &str) -> Message {
        let message = self.caller.request(method);
        self.request(message.clone(), self.plan.caller_address);
        message
    }

    /// The caller sends its INVITE again.
    pub(super) fn caller_repeats_invite(&mut self) {
        self.request(self.invite.clone(), self.plan.caller_address);
    }

    /// The caller sends CANCEL, with these header lines besides.
    pub(super) fn caller_cancels(&mut self, lines: &str) -> Message {
        let invite = self.plan.invite();
        let head: Vec<&str> = invite.lines().take_while(|line| !line.is_empty()).collect();
        let kept = |line: &&&str| {
            ["Via", "Max-Forwards", "From", "To", "Call-ID"].iter().any(|name| line.starts_with(name))
        };
        let repeated: String = head.iter().filter(kept).map(|line| format!("{line}\r\n")).collect();
        let cancel = parse(format!(
            "CANCEL sip:4420@{CALLER_SIDE} SIP/2.0\r\n{repeated}CSeq: 7 CANCEL\r\n{lines}Content-Length: 0\r\n\r\n"
        ));
        self.request(cancel.clone(), self.plan.caller_address);
        cancel
    }

    /// The caller acknowledges its INVITE's final response, with a body or without.
    pub(super) fn caller_acks(&mut self, body: Option<&str>) {
        let ack = self.caller.request_with("ACK", 7, "", body);
        self.request(ack, self.plan.caller_address);
    }

    /// The callee that `invite` of ours reached, under tag `tag`.
    pub(super) fn callee(&self, invite: &Got, tag: &str) -> Peer {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        Peer {
            address: invite.flow.remote,
            from: format!("{};tag={tag}", text(invite.first(tandem_sip::Name::To))),
            to: text(invite.first(tandem_sip::Name::From)),
            call_id: text(invite.call_id()),
            cseq: 100,
            target: contact_uri(invite).expect("a Contact"),
            name: format!("gw{}{tag}", invite.flow.remote.ip()),
        }
    }

    /// A peer's next request arrives, and is had back for copies.
    pub(super) fn sends(&mut self, peer: &mut Peer, method: &str) -> Message {
        let message = peer.request(method);
        self.request(message.clone(), peer.address);
        message
    }

    /// The transport cannot deliver that message of ours.
    pub(super) fn undeliverable(&mut self, message: &Got) {
        let serial = Serial::of(&message.branch()).expect("a branch of ours");
        self.wire.on_undeliverable(message.branch());
        self.input(Input::Undeliverable(serial));
    }

    pub(super) fn hang_up(&mut self, cause: EndReason) {
        self.input(Input::HangUp(cause));
    }

    /// The path of most calls: rung, and answered with SDP by gateway `number`. Returns the gateway's INVITE.
    pub(super) fn answered_by(&mut self, number: usize) -> Got {
        let invite = self.at(number, "INVITE");
        self.reply(number, &invite, super::messages::reply(180));
        self.at_caller("180");
        self.reply(number, &invite, super::messages::reply(200).sdp(super::plan::sdp(5000)));
        self.at(number, "ACK");
        self.at_caller("200");
        invite
    }

    /// A conversation with gateway 1 whose ACKs have all come, and its callee.
    pub(super) fn talking(mut self) -> (Self, Peer) {
        let invite = self.answered_by(1);
        self.caller_acks(None);
        self.nothing_more();
        assert_eq!(self.stage(), Stage::Answered);
        let callee = self.callee(&invite, "gw");
        (self, callee)
    }

    /// The caller offers anew, or asks for an offer, by INVITE or UPDATE.
    pub(super) fn caller_offers(&mut self, method: &str, offer: Option<&str>) -> Message {
        let message = self.caller.offer(method, offer);
        self.request(message.clone(), self.plan.caller_address);
        message
    }

    /// A callee does.
    pub(super) fn callee_offers(&mut self, callee: &mut Peer, method: &str, offer: Option<&str>) -> Message {
        let message = callee.offer(method, offer);
        self.request(message.clone(), callee.address);
        message
    }

    /// The caller acknowledges its last INVITE inside the dialog.
    pub(super) fn caller_acks_again(&mut self, body: Option<&str>) {
        let ack = self.caller.request_with("ACK", self.caller.cseq, "", body);
        self.request(ack, self.plan.caller_address);
    }

    /// A callee acknowledges its last INVITE.
    pub(super) fn callee_acks(&mut self, callee: &Peer, body: Option<&str>) {
        let ack = callee.request_with("ACK", callee.cseq, "", body);
        self.request(ack, callee.address);
    }

    /// The switch refreshes the session on a party's leg; `false` if it has to wait.
    pub(super) fn refresh(&mut self, party: Party, how: Refresh, lines: &[u8]) -> bool {
        let call = self.call.as_mut().expect("a call");
        let State::Connected(connected) = &mut call.state else { panic!("no conversation") };
        let sent = connected.refresh(&mut call.context, (party, how), lines, self.now.mono).is_ok();
        let actions = call.drain();
        self.perform(actions);
        sent
    }

    // Takeover.

    /// The node dies; another one goes on from what is stored, on its own monotonic clock, that much later.
    pub(super) fn take_over(&mut self, ms: u64) {
        self.take_over_by(ms, |_| Moved::default());
    }

    /// The same, by a node that peers know by another address. Its sockets have other places.
    pub(super) fn take_over_elsewhere(&mut self, ms: u64, at: &str) {
        self.take_over_by(ms, |snapshot| {
            snapshot.move_to(&|flow, _| (Flow { listener: flow.listener, ..flow }, at.into()))
        });
    }

    fn take_over_by(&mut self, ms: u64, move_to: impl FnOnce(&mut Snapshot) -> Moved) {
        let stored = self.stored.clone().expect("something stored to go on from");
        self.jump(ms);
        self.now.mono = Mono(5_000 + u64::from(self.epoch));
        self.epoch += 1;
        self.wire.next_epoch();
        self.wake = None;
        self.uncertain.append(&mut self.granted_since_commit);
        self.uncertain.append(&mut self.released_since_commit);
        for (gateway, attempt) in self.asked.drain(..) {
            self.uncertain.insert((gateway, attempt));
        }
        let mut snapshot = deserialize(&stored);
        let moved = move_to(&mut snapshot);
        self.last_seq = snapshot.seq();
        let node = format!("n{}", self.epoch + 1);
        let (call, actions) = Call::restore(snapshot, self.epoch, node.into(), moved, self.now);
        self.call = Some(call);
        self.perform(actions);
    }

    /// A gateway that takes no call.
    pub(super) fn refuse(plan: &mut Plan, gateway: &'static str, refusal: Refusal) {
        plan.refusing.insert(gateway, refusal);
    }

    /// The requests that an address was sent.
    pub(super) fn sent_requests(&self, address: SocketAddr) -> impl Iterator<Item = &Got> {
        self.sent.iter().filter(move |got| got.flow.remote == address && got.is_request())
    }
}

/// As the store writes it.
pub(super) fn serialize(snapshot: &Snapshot) -> Vec<u8> {
    let options = bincode::DefaultOptions::new();
    options.serialize(snapshot).expect("a snapshot is plain data")
}

/// As the store reads it.
pub(super) fn deserialize(bytes: &[u8]) -> Snapshot {
    bincode::DefaultOptions::new().deserialize(bytes).expect("a snapshot")
}

fn token() -> String {
    let keys = TokenKeys { current: [1; 16], previous: None };
    Token { id: ID, hint: 513 }.print(&keys)
}

fn mapping_gateway(plan: &Plan) -> MappingGateway {
    MappingGateway {
        name: "customer".into(),
        sources: Vec::new(),
        limits: Limits::default(),
        per_source: SourceLimits::default(),
        trusted: plan.trusted,
        pass_headers: plan.pass_headers.clone(),
        pass_methods: plan.pass_methods,
        number_rules: NumberRules::default(),
        cause_map: plan.cause_map.clone(),
        parameters: plan.parameters,
    }
}

fn caller(plan: &Plan) -> Peer {
    Peer {
        address: plan.caller_address,
        from: "\"Alice\" <sip:100@customer.example>;tag=alice".to_owned(),
        to: "<sip:4420@switch.example>".to_owned(),
        call_id: "caller-call-id".to_owned(),
        cseq: 7,
        target: format!("sip:4420@{CALLER_SIDE}"),
        name: "alice".to_owned(),
    }
}

/// A time in milliseconds, for comparing with when messages were sent.
pub(super) fn since(later: &Got, earlier: &Got) -> u64 {
    let elapsed: Duration = later.at.since(earlier.at);
    elapsed.as_millis() as u64
}
