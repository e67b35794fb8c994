//! What stands between a call's machine and its actor: commits before sends, and a life after a panic.
//!
//! A call of a lost owner is taken over from its last snapshot, which a claim has brought. A panic in the machine is a
//! takeover by the call's own owner: the host asks to claim the call in its next epoch, restores it from its last
//! snapshot and carries on. A second panic ends the call.

use crate::{Outbox, Released};
use bytes::Bytes;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::StatusCode;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now};
use tandem_switch::call::{
    Action, Call, CallId, Event, Input, Moved, Serial, Snapshot, Sought, Unauthorized,
};
use tandem_switch::cdr::{EndReason, Origin, Release};
use tandem_switch::gateway::{GatewayName, Holder, Outcome};

/// The most inputs that wait while a call is being restored.
pub const MAX_HELD_BACK: usize = 64;

/// How often a restoration is tried while the store is away, [`RESTORE_PAUSE`] apart.
pub const RESTORE_TRIES: u32 = 10;

/// How long after a failed restoration it is tried again.
pub const RESTORE_PAUSE: Duration = Duration::from_secs(2);

/// How a call ends that the switch cannot go on with.
const GIVEN_UP: Release = Release {
    origin: Origin::Server,
    cause: EndReason::ProtocolError,
    stop: None,
    status: StatusCode::SERVER_INTERNAL_ERROR,
};

/// A call with its outbox, as its owner runs it.
pub struct CallHost {
    id: CallId,
    node: Arc<str>,
    machine: Machine,
    outbox: Outbox<Write, Deferred>,
    epoch: u32,
    seq: u64,
    panics: u32,
    restore_tries: u32,
    /// Whether a claim has yet to be answered: the answer to an older one would be taken for that to a newer.
    claiming: bool,
    /// Whether the store has anything of the call.
    stored: bool,
    /// Whether the store has taken the call's end, and the number of the write that is it.
    ended: bool,
    end_seq: Option<u64>,
    /// Whether it was in conversation.
    was_answered: bool,
    /// What an earlier owner has written down of the call, which had ended before it was taken over.
    records_of_another: Option<Option<Bytes>>,
    /// Whether the observers have been told that the call ended. A restored one may end again.
    released: bool,
    /// The wake-up that the machine asked for.
    machine_wakes_at: Option<Mono>,
    /// The wake-up that was last asked for.
    wakes_at: Option<Mono>,
    #[cfg(feature = "fault-injection")]
    panic_next: bool,
}

/// The machine, or what stands for it.
enum Machine {
    Running(Box<Call>),
    /// It panicked; its last snapshot has been asked for.
    Restoring(VecDeque<Input>),
    /// Nothing more is to be done.
    Over,
}

/// What the store is given.
#[derive(Clone, Debug)]
pub enum Write {
    /// The call's state.
    Commit(Arc<Snapshot>),
    /// The call's end: its state is removed and its records are written, in one step.
    End(Option<Bytes>),
}

/// What is done once the store has a write.
#[derive(Debug)]
enum Deferred {
    Send(Flow, Bytes),
    Release(GatewayName, Holder, Outcome),
}

/// What the store said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// It has the write, or a newer one.
    Stored,
    /// The call belongs to somebody else.
    Fenced,
    /// A call of this id has ended.
    Ended,
    /// It could not take the write; whether it has it is unknown.
    Failed,
}

/// What came of a claim.
#[derive(Debug)]
pub enum ClaimResult {
    /// The call is ours in this epoch; this is its last snapshot.
    Claimed {
        /// The epoch.
        epoch: u32,
        /// The number of its last commit.
        seq: u64,
        /// The state.
        snapshot: Box<Snapshot>,
    },
    /// The store does not answer.
    Away,
    /// There is nothing to claim, or it cannot be read.
    Lost,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Send a message now. If the transport cannot, that is an [`Input::Undeliverable`].
    Send(Flow, Bytes),
    /// Give the store a write; answered by [`CallHost::on_stored`].
    Store {
        /// The owner's epoch.
        epoch: u32,
        /// Its number.
        seq: u64,
        /// What to write.
        write: Write,
    },
    /// Claim the call; always answered by [`CallHost::on_claimed`], and not asked for again before that.
    Claim {
        /// The epoch in which it was last ours.
        seen_epoch: u32,
    },
    /// Find out where the call may go; answered by [`Input::Looked`].
    Lookup {
        /// The mapping gateway.
        mapping_gateway: GatewayName,
        /// The caller's number.
        caller: String,
        /// The called number as received.
        called: String,
        /// The Request-URI as received.
        uri: Arc<str>,
    },
    /// Ask a gateway for a slot; answered by [`Input::Admitted`].
    Admit(GatewayName, Holder),
    /// Find out where that is reached, for that attempt; answered by [`Input::Resolved`].
    Resolve(u16, Sought),
    /// Answer a gateway's challenges, for the request with that serial; answered by [`Input::Authorized`].
    Authorize(GatewayName, Serial, Box<Unauthorized>),
    /// Give a gateway no new calls for that long.
    Hold(GatewayName, Duration),
    /// Give a slot back.
    Release(GatewayName, Holder, Outcome),
    /// Wake the host at this time, instead of any earlier request: [`Input::Timer`].
    Wake(Mono),
    /// Something to count or to log.
    Observe(Event),
    /// The machine panicked.
    Panicked,
    /// The call cannot go on and nothing of it is stored: tell the caller 500, nobody else knows of it.
    GaveUpUnstored,
    /// The call is over.
    Stop,
}

impl CallHost {
    /// The host of a call that has just begun, and what is to be done at once.
    pub fn start(node: Arc<str>, call: Call, actions: Vec<Action>, now: Now) -> (Self, Vec<Effect>) {
        let mut host = Self::of(call.id(), node, Machine::Running(Box::new(call)));
        let mut effects = Vec::new();
        host.perform(actions, &mut effects, now);
        host.settle(&mut effects, now);
        (host, effects)
    }

    /// The host of a call that was another owner's until it was claimed, and what is to be done at once. `moved` says who
    /// of its parties does not know where it is now.
    pub fn take_over(
        node: Arc<str>,
        (epoch, seq): (u32, u64),
        snapshot: Snapshot,
        moved: Moved,
        now: Now,
    ) -> (Self, Vec<Effect>) {
        let mut host = Self {
            epoch,
            seq,
            stored: true,
            was_answered: snapshot.is_answered(),
            ..Self::of(snapshot.id(), node, Machine::Restoring(VecDeque::new()))
        };
        let mut effects = Vec::new();
        host.restore(snapshot, moved, VecDeque::new(), &mut effects, now);
        host.settle(&mut effects, now);
        (host, effects)
    }

    fn of(id: CallId, node: Arc<str>, machine: Machine) -> Self {
        Self {
            id,
            node,
            machine,
            outbox: Outbox::default(),
            epoch: 0,
            seq: 0,
            panics: 0,
            restore_tries: 0,
            claiming: false,
            stored: false,
            ended: false,
            end_seq: None,
            records_of_another: None,
            was_answered: false,
            released: false,
            machine_wakes_at: None,
            wakes_at: None,
            #[cfg(feature = "fault-injection")]
            panic_next: false,
        }
    }

    /// Whether what depends on a commit waits until the store has it, however long that takes: another node may claim the call,
    /// and would not know of it. Not while the store is away for all.
    pub fn hold_out(&mut self, holds_out: bool) {
        self.outbox.hold_out(holds_out);
    }

    /// Takes an input.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if matches!(input, Input::Timer) {
            self.on_timer(&mut effects, now);
        }
        self.feed(input, &mut effects, now);
        self.settle(&mut effects, now);
        effects
    }

    fn feed(&mut self, input: Input, effects: &mut Vec<Effect>, now: Now) {
        let call = match &mut self.machine {
            Machine::Running(call) => call,
            Machine::Restoring(held_back) => {
                if !matches!(input, Input::Timer) && held_back.len() < MAX_HELD_BACK {
                    held_back.push_back(input);
                }
                return;
            }
            Machine::Over => return,
        };
        #[cfg(feature = "fault-injection")]
        let panic_now = std::mem::take(&mut self.panic_next);
        let handled = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "fault-injection")]
            assert!(!panic_now, "a test asked for it");
            call.handle(now, input)
        }));
        match handled {
            Ok(actions) => self.perform(actions, effects, now),
            Err(_) => self.lose_machine(effects),
        }
    }

    /// Makes the machine panic at its next input.
    #[cfg(feature = "fault-injection")]
    pub fn panic_at_next_input(&mut self) {
        self.panic_next = true;
    }

    fn perform(&mut self, actions: Vec<Action>, effects: &mut Vec<Effect>, now: Now) {
        for action in actions {
            match action {
                Action::Send { flow, message, after: None } => effects.push(Effect::Send(flow, message)),
                Action::Send { flow, message, after: Some(seq) } => {
                    let deferred = self.outbox.after(seq, Deferred::Send(flow, message), true, now.mono);
                    effects.extend(deferred.map(Effect::from));
                }
                Action::Commit { seq, snapshot } => self.write(seq, Write::Commit(snapshot.into()), effects),
                Action::End { seq, records } => {
                    let lines = match self.records_of_another.take() {
                        Some(records) => records,
                        None => (!records.is_empty()).then(|| Bytes::from(records.join(&b'\n'))),
                    };
                    self.write(seq, Write::End(lines), effects);
                }
                Action::Lookup { mapping_gateway, caller, called, uri } => {
                    effects.push(Effect::Lookup { mapping_gateway, caller, called, uri });
                }
                Action::Admit { gateway, holder } => effects.push(Effect::Admit(gateway, holder)),
                Action::Authorize { gateway, serial, request } => {
                    effects.push(Effect::Authorize(gateway, serial, request));
                }
                Action::Hold { gateway, pause } => effects.push(Effect::Hold(gateway, pause)),
                Action::Resolve { attempt, of } => effects.push(Effect::Resolve(attempt, of)),
                Action::ReleaseSlot { gateway, holder, outcome, after } => {
                    let release = Deferred::Release(gateway, holder, outcome);
                    let deferred = match after {
                        Some(seq) => self.outbox.after(seq, release, false, now.mono),
                        None => Some(release),
                    };
                    effects.extend(deferred.map(Effect::from));
                }
                Action::SetTimer(at) => self.machine_wakes_at = Some(at),
                Action::Emit(Event::Released(release)) => self.observe_release(release, effects),
                Action::Emit(event) => effects.push(Effect::Observe(event)),
                Action::Stop => self.machine = Machine::Over,
            }
        }
    }

    fn write(&mut self, seq: u64, write: Write, effects: &mut Vec<Effect>) {
        self.seq = self.seq.max(seq);
        match &write {
            Write::End(_) => self.end_seq = Some(seq),
            Write::Commit(snapshot) => self.was_answered |= snapshot.is_answered(),
        }
        if let Some((seq, write)) = self.outbox.write(seq, write) {
            effects.push(Effect::Store { epoch: self.epoch, seq, write });
        }
    }

    /// Takes the store's answer to a write of `epoch`.
    pub fn on_stored(&mut self, (epoch, seq): (u32, u64), result: WriteResult, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if epoch != self.epoch {
            return effects;
        }
        match result {
            WriteResult::Stored => {
                self.stored = true;
                self.ended |= self.end_seq.is_some_and(|end| seq >= end);
                let released = self.outbox.stored(seq);
                self.release(released, &mut effects);
            }
            WriteResult::Failed => {
                let released = self.outbox.failed(now.mono);
                self.release(released, &mut effects);
            }
            WriteResult::Ended if !self.stored => {
                // Not this call, but an earlier one by the same names: nobody else will answer the caller.
                self.outbox.fenced();
                self.give_up_unstored(&mut effects);
            }
            WriteResult::Fenced | WriteResult::Ended => {
                self.outbox.fenced();
                self.machine = Machine::Over;
            }
        }
        self.settle(&mut effects, now);
        effects
    }

    fn release(&mut self, released: Released<Write, Deferred>, effects: &mut Vec<Effect>) {
        effects.extend(released.items.into_iter().map(Effect::from));
        if let Some((seq, write)) = released.write {
            effects.push(Effect::Store { epoch: self.epoch, seq, write });
        }
    }

    fn on_timer(&mut self, effects: &mut Vec<Effect>, now: Now) {
        self.wakes_at = None;
        self.machine_wakes_at = None;
        let released = self.outbox.on_timer(now.mono);
        self.release(released, effects);
        if matches!(self.machine, Machine::Restoring(_)) {
            self.claim(effects);
        }
    }

    /// Tries what the store has not taken again, and nothing else: for a node that may not speak for the call at present, whose
    /// writes the store refuses if they are nobody's business any more.
    pub fn write_again(&mut self, now: Now) -> Vec<Effect> {
        self.wakes_at = None;
        self.outbox.hold_out(true);
        let mut effects = Vec::new();
        let released = self.outbox.on_timer(now.mono);
        self.release(released, &mut effects);
        effects
    }

    fn claim(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.claiming, true) {
            effects.push(Effect::Claim { seen_epoch: self.epoch });
        }
    }

    /// Asks for the next wake-up, or ends.
    fn settle(&mut self, effects: &mut Vec<Effect>, now: Now) {
        let of_machine = match &self.machine {
            Machine::Running(_) => self.machine_wakes_at,
            Machine::Restoring(_) => Some(now.mono + RESTORE_PAUSE).filter(|_| self.wakes_at.is_none()),
            Machine::Over if self.outbox.is_empty() => {
                effects.push(Effect::Stop);
                return;
            }
            Machine::Over => None,
        };
        let deadline = of_machine.into_iter().chain(self.outbox.deadline(now.mono)).min();
        // Also to a later time: moving a wake-up costs less than one that finds nothing to do.
        if let Some(at) = deadline.filter(|_| deadline != self.wakes_at) {
            self.wakes_at = Some(at);
            effects.push(Effect::Wake(at));
        }
    }

    /// When the call next has something to do by itself, which is now while the store has yet to take or to give
    /// something. `None` if it only waits for others.
    pub fn deadline(&self, now: Now) -> Option<Mono> {
        match &self.machine {
            Machine::Running(call) if self.outbox.is_empty() => call.deadline(),
            Machine::Over if self.outbox.is_empty() => None,
            Machine::Running(_) | Machine::Restoring(_) | Machine::Over => Some(now.mono),
        }
    }

    /// Does what a panic of the machine between two inputs would ask for: how a simulation makes one happen.
    pub fn panicked(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.lose_machine(&mut effects);
        self.settle(&mut effects, now);
        effects
    }

    /// The machine is gone, with what it had not committed; the store has the rest.
    fn lose_machine(&mut self, effects: &mut Vec<Effect>) {
        self.panics += 1;
        self.outbox = self.outbox.anew();
        effects.push(Effect::Panicked);
        // A write that failed, or is under way, may have been made all the same.
        if self.seq > 0 {
            self.machine = Machine::Restoring(VecDeque::new());
            self.wakes_at = None;
            self.machine_wakes_at = None;
            self.claim(effects);
        } else {
            self.give_up_unstored(effects);
        }
    }

    /// Ends a call of which nothing is stored and nobody else knows.
    fn give_up_unstored(&mut self, effects: &mut Vec<Effect>) {
        self.machine = Machine::Over;
        effects.push(Effect::GaveUpUnstored);
        self.observe_release(GIVEN_UP, effects);
    }

    fn observe_release(&mut self, release: Release, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.released, true) {
            effects.push(Effect::Observe(Event::Released(release)));
        }
    }

    /// Takes what came of a claim: carries on from the last snapshot, in the epoch that the claim gave.
    pub fn on_claimed(&mut self, result: ClaimResult, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.claiming = false;
        let Machine::Restoring(held_back) = &mut self.machine else { return effects };
        let held_back = std::mem::take(held_back);
        match result {
            ClaimResult::Claimed { epoch, seq, snapshot } => {
                self.epoch = epoch;
                self.seq = self.seq.max(seq);
                self.restore(*snapshot, Moved::default(), held_back, &mut effects, now);
            }
            ClaimResult::Away if self.restore_tries < RESTORE_TRIES => {
                self.restore_tries += 1;
                self.machine = Machine::Restoring(held_back);
            }
            ClaimResult::Away | ClaimResult::Lost if !self.stored => {
                // What is still under way must not raise a call that nobody has.
                self.give_up_unstored(&mut effects);
                let seq = self.seq + 1;
                self.write(seq, Write::End(None), &mut effects);
            }
            ClaimResult::Away | ClaimResult::Lost => self.machine = Machine::Over,
        }
        self.settle(&mut effects, now);
        effects
    }

    fn restore(
        &mut self,
        snapshot: Snapshot,
        moved: Moved,
        held_back: VecDeque<Input>,
        effects: &mut Vec<Effect>,
        now: Now,
    ) {
        if self.panics > 1 {
            return self.abandon(&snapshot, effects, now);
        }
        let (kept, node, epoch) = (snapshot.clone(), self.node.clone(), self.epoch);
        match catch_unwind(AssertUnwindSafe(|| Call::restore(snapshot, epoch, node, moved, now))) {
            Ok((call, actions)) => {
                self.machine = Machine::Running(Box::new(call));
                self.perform(actions, effects, now);
                for input in held_back {
                    self.feed(input, effects, now);
                }
            }
            Err(_) => {
                effects.push(Effect::Panicked);
                self.abandon(&kept, effects, now);
            }
        }
    }

    /// Ends a call that nobody can go on with: its record is written, and dropping the host gives its slots back.
    fn abandon(&mut self, snapshot: &Snapshot, effects: &mut Vec<Effect>, now: Now) {
        let records = snapshot.abandon(GIVEN_UP.cause, now);
        self.machine = Machine::Over;
        let seq = self.seq + 1;
        self.perform(
            vec![Action::End { seq, records }, Action::Emit(Event::Released(GIVEN_UP))],
            effects,
            now,
        );
    }

    /// An earlier owner has ended the call, and the store had given it to this one meanwhile: what that one has written down of it
    /// is what becomes of it. `false` if it is not for this owner to end it.
    pub fn ended_by_another(&mut self, records: Option<Bytes>, now: Now) -> (bool, Vec<Effect>) {
        let mut effects = Vec::new();
        if !matches!(self.machine, Machine::Running(_)) || self.end_seq.is_some() {
            return (self.end_seq.is_some(), effects);
        }
        // Its parties may not have heard of it.
        self.records_of_another = Some(records);
        self.feed(Input::HangUp(EndReason::NodeLost), &mut effects, now);
        self.settle(&mut effects, now);
        (true, effects)
    }

    /// Whether the store has all that the call has done, and nothing is under way: another node could go on with it.
    pub fn is_settled(&self) -> bool {
        matches!(self.machine, Machine::Running(_)) && self.stored && self.outbox.is_empty()
    }

    /// The number of the last write that was asked for.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The epoch in which the call is this owner's.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether nothing more is to be done but what the store has yet to take.
    pub fn is_over(&self) -> bool {
        matches!(self.machine, Machine::Over)
    }

    /// Whether the store has anything of the call.
    pub fn is_stored(&self) -> bool {
        self.stored
    }

    /// Whether the call was in conversation: its parties are told at once when it ends, and of an end before that only when the
    /// store has it.
    pub fn was_answered(&self) -> bool {
        self.was_answered
    }

    /// Whether the store has taken the call's end: nobody can go on with it.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The call is another node's: nothing is said for it any more.
    pub fn let_go(&mut self, now: Now) -> Vec<Effect> {
        self.outbox.fenced();
        self.machine = Machine::Over;
        let mut effects = Vec::new();
        self.settle(&mut effects, now);
        effects
    }

    /// The call's id.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// The machine, unless it is being restored or over.
    pub fn call(&self) -> Option<&Call> {
        match &self.machine {
            Machine::Running(call) => Some(call),
            Machine::Restoring(_) | Machine::Over => None,
        }
    }
}

impl From<Deferred> for Effect {
    fn from(deferred: Deferred) -> Self {
        match deferred {
            Deferred::Send(flow, message) => Effect::Send(flow, message),
            Deferred::Release(gateway, holder, outcome) => Effect::Release(gateway, holder, outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use tandem_sip::flow::Transport;
    use tandem_sip::time::Wall;
    use tandem_sip::{Limits, Message};
    use tandem_switch::call::{Candidate, Looked, Reach, Setup, Target, Token, TokenKeys};
    use tandem_switch::gateway::Redirects;
    use tandem_switch::gateway::{MappingGateway, NumberRules};
    use tandem_switch::parameters::{Overrides, Parameters};

    const INVITE: &str = "INVITE sip:4420@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa\r\n\
        From: <sip:1@192.0.2.9>;tag=a\r\nTo: <sip:4420@192.0.2.1>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:1@192.0.2.9>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

    const ID: CallId = CallId([7; 12]);

    fn at(ms: u64) -> Now {
        Now { mono: Mono(1_000 + ms), wall: Wall(1_700_000_000_000 + ms) }
    }

    fn parse(text: &[u8]) -> Message {
        Message::parse(Bytes::copy_from_slice(text), &Limits::default()).expect("a message")
    }

    fn flow(remote: &str) -> Flow {
        let remote: SocketAddr = remote.parse().expect("an address");
        Flow { transport: Transport::Udp, listener: 0, remote }
    }

    /// A host with what it has asked for.
    struct World {
        host: CallHost,
        effects: VecDeque<Effect>,
    }

    impl World {
        /// A call that has just begun.
        fn begun() -> World {
            let keys = TokenKeys { current: [1; 16], previous: None };
            let parameters = Parameters::default();
            let setup = Setup {
                id: ID,
                token: Token { id: ID, hint: 0 }.print(&keys),
                node: "n1".into(),
                invite: parse(INVITE.as_bytes()),
                flow: flow("192.0.2.9:5060"),
                local: "192.0.2.1:5060".into(),
                home: 0,
                mapping_gateway: Arc::new(MappingGateway {
                    name: "customer".into(),
                    sources: Vec::new(),
                    limits: tandem_switch::gateway::Limits::default(),
                    per_source: tandem_switch::gateway::SourceLimits::default(),
                    trusted: false,
                    pass_headers: Vec::new(),
                    pass_methods: Default::default(),
                    number_rules: NumberRules::default(),
                    cause_map: BTreeMap::new(),
                    parameters: parameters.call(&Overrides::default()),
                }),
                endpoint: None,
            };
            let (call, actions) = Call::start(setup, at(0)).expect("an INVITE that makes a dialog");
            let (host, effects) = CallHost::start("n1".into(), call, actions, at(0));
            World { host, effects: effects.into() }
        }

        /// A call whose gateway has given it a slot: its first commit is under way.
        fn hunting() -> World {
            let mut world = World::begun();
            let candidate = Candidate {
                gateway: "vendor".into(),
                reach: Reach::At(Target { flow: flow("192.0.2.20:5060"), local: "192.0.2.1:5060".into() }),
                called: "4420".into(),
                trusted: false,
                has_account: false,
                redirects: Redirects::Refuse,
                pass_headers: Arc::from([]),
                pass_methods: Default::default(),
                parameters: Arc::new(Parameters::default().attempt(&Overrides::default(), Vec::new())),
            };
            let looked = Looked { called: "4420".into(), routes: vec![candidate], ..Looked::default() };
            world.input(Input::Looked(looked), 1);
            assert_eq!(world.holder(), Holder { call: ID, attempt: 0 });
            world.effects.clear();
            world.input(Input::Admitted { gateway: "vendor".into(), attempt: 0, result: Ok(()) }, 2);
            world
        }

        fn input(&mut self, input: Input, ms: u64) {
            self.effects.extend(self.host.handle(input, at(ms)));
        }

        fn stored(&mut self, write: (u32, u64), result: WriteResult, ms: u64) {
            self.effects.extend(self.host.on_stored(write, result, at(ms)));
        }

        fn claimed(&mut self, result: ClaimResult, ms: u64) {
            self.effects.extend(self.host.on_claimed(result, at(ms)));
        }

        fn panics(&mut self, ms: u64) {
            self.effects.extend(self.host.panicked(at(ms)));
        }

        fn holder(&self) -> Holder {
            let ask = |effect: &Effect| match effect {
                Effect::Admit(_, holder) => Some(*holder),
                _ => None,
            };
            self.effects.iter().find_map(ask).expect("a gateway is asked")
        }

        /// The writes since last asked.
        fn writes(&mut self) -> Vec<(u32, u64, Write)> {
            let mut writes = Vec::new();
            self.effects.retain(|effect| match effect {
                Effect::Store { epoch, seq, write } => {
                    writes.push((*epoch, *seq, write.clone()));
                    false
                }
                _ => true,
            });
            writes
        }

        /// The snapshot of the only write since last asked, and its place.
        fn snapshot(&mut self) -> ((u32, u64), Arc<Snapshot>) {
            match &self.writes()[..] {
                [(epoch, seq, Write::Commit(snapshot))] => ((*epoch, *seq), snapshot.clone()),
                other => panic!("one commit: {other:?}"),
            }
        }

        /// What was sent since last asked: methods and statuses.
        fn sent(&mut self) -> Vec<String> {
            let mut sent = Vec::new();
            self.effects.retain(|effect| match effect {
                Effect::Send(_, message) => {
                    let text = String::from_utf8_lossy(message);
                    sent.push(
                        text.trim_start_matches("SIP/2.0 ").split(' ').next().unwrap_or_default().to_owned(),
                    );
                    false
                }
                _ => true,
            });
            sent
        }

        fn count(&self, wanted: impl Fn(&Effect) -> bool) -> usize {
            self.effects.iter().filter(|effect| wanted(effect)).count()
        }

        fn claims(&self) -> usize {
            self.count(|effect| matches!(effect, Effect::Claim { .. }))
        }

        fn releases(&self) -> usize {
            self.count(|effect| matches!(effect, Effect::Observe(Event::Released(_))))
        }

        fn stops(&self) -> bool {
            self.count(|effect| matches!(effect, Effect::Stop)) > 0
        }

        fn wakes_at(&self) -> Option<Mono> {
            let wake = |effect: &Effect| match effect {
                Effect::Wake(at) => Some(*at),
                _ => None,
            };
            self.effects.iter().rev().find_map(wake)
        }
    }

    fn claim(epoch: u32, seq: u64, snapshot: &Snapshot) -> ClaimResult {
        ClaimResult::Claimed { epoch, seq, snapshot: Box::new(snapshot.clone()) }
    }

    #[test]
    fn an_invite_waits_for_its_commit_and_is_sent_once() {
        let mut world = World::hunting();
        let (place, _) = world.snapshot();
        assert_eq!(world.sent(), Vec::<String>::new());
        assert_eq!(world.host.deadline(at(2)), Some(at(2).mono), "the store has yet to answer");
        world.stored(place, WriteResult::Stored, 5);
        assert_eq!(world.sent(), ["INVITE"]);
        assert!(world.host.deadline(at(5)).is_some_and(|deadline| deadline > at(5).mono));
    }

    #[test]
    fn with_the_store_away_the_invite_goes_out_and_the_write_is_tried_again() {
        let mut world = World::hunting();
        let (place, _) = world.snapshot();
        world.stored(place, WriteResult::Failed, 5);
        assert_eq!(world.sent(), ["INVITE"]);
        world.input(Input::Timer, 1_005);
        assert_eq!(world.snapshot().0, place);
    }

    #[test]
    fn an_answer_to_a_write_of_an_earlier_epoch_says_nothing() {
        let mut world = World::hunting();
        let (place, snapshot) = world.snapshot();
        world.stored(place, WriteResult::Stored, 5);
        world.panics(6);
        world.claimed(claim(1, place.1, &snapshot), 7);
        assert!(world.host.call().is_some());
        world.stored((0, place.1), WriteResult::Fenced, 8);
        assert!(world.host.call().is_some(), "the call is ours in epoch 1");
        world.stored((1, place.1), WriteResult::Fenced, 9);
        assert!(world.host.call().is_none() && world.stops());
        assert_eq!(world.releases(), 0, "it goes on elsewhere");
    }

    #[test]
    fn a_call_whose_state_the_store_has_lost_commits_it_again_and_sends_nothing() {
        let mut world = World::hunting();
        let ((epoch, first), _) = world.snapshot();
        world.stored((epoch, first), WriteResult::Stored, 1);
        world.sent();
        world.input(Input::StoreLost, 2);
        let ((again, second), _) = world.snapshot();
        assert_eq!(again, epoch, "it is the same owner's");
        assert!(second > first, "and newer");
        assert_eq!(world.sent(), Vec::<String>::new());
    }

    #[test]
    fn a_call_that_is_another_nodes_is_let_go_of_without_a_word() {
        let mut world = World::hunting();
        let (place, _) = world.snapshot();
        world.sent();
        world.stored(place, WriteResult::Fenced, 5);
        assert_eq!(world.sent(), Vec::<String>::new());
        assert!(world.stops());
        world.input(Input::HangUp(EndReason::Admin), 6);
        assert_eq!((world.sent().len(), world.releases()), (0, 0));
    }

    #[test]
    fn a_new_call_by_the_names_of_one_that_is_over_is_answered() {
        let mut world = World::hunting();
        let (place, _) = world.snapshot();
        world.stored(place, WriteResult::Ended, 5);
        assert_eq!(world.count(|effect| matches!(effect, Effect::GaveUpUnstored)), 1);
        assert_eq!((world.releases(), world.stops()), (1, true));
        assert!(!world.sent().contains(&"INVITE".to_owned()), "nobody is called");
    }

    #[test]
    fn a_stored_call_that_has_ended_elsewhere_is_let_go_of() {
        let mut world = World::hunting();
        let (place, _) = world.snapshot();
        world.stored(place, WriteResult::Stored, 5);
        world.input(Input::HangUp(EndReason::Admin), 6);
        let (next, _) = world.snapshot();
        world.stored(next, WriteResult::Ended, 7);
        assert_eq!(world.count(|effect| matches!(effect, Effect::GaveUpUnstored)), 0);
        assert!(world.stops());
    }

    #[test]
    fn a_panic_before_anything_is_stored_is_told_the_caller_and_ends_the_call() {
        let mut world = World::begun();
        world.panics(1);
        assert_eq!(world.count(|effect| matches!(effect, Effect::Panicked)), 1);
        assert_eq!(world.count(|effect| matches!(effect, Effect::GaveUpUnstored)), 1);
        assert_eq!((world.claims(), world.releases(), world.stops()), (0, 1, true));
    }

    #[test]
    fn a_panic_while_the_first_write_is_uncertain_asks_the_store_and_leaves_nothing_in_it() {
        let mut world = World::hunting();
        let (epoch, seq, _) = world.writes().remove(0);
        world.stored((epoch, seq), WriteResult::Failed, 5);
        world.panics(6);
        assert_eq!(world.claims(), 1);
        world.claimed(ClaimResult::Lost, 7);
        assert_eq!(world.count(|effect| matches!(effect, Effect::GaveUpUnstored)), 1);
        let (epoch, seq, write) = world.writes().remove(0);
        assert!(matches!(write, Write::End(None)));
        assert!(!world.stops());
        world.stored((epoch, seq), WriteResult::Stored, 8);
        assert!(world.stops());
    }

    #[test]
    fn a_panic_is_a_takeover_and_what_comes_meanwhile_is_not_lost() {
        let mut world = World::hunting();
        let (place, snapshot) = world.snapshot();
        world.stored(place, WriteResult::Stored, 5);
        world.sent();
        world.panics(6);
        assert_eq!(world.claims(), 1);
        world.input(Input::HangUp(EndReason::Admin), 7);
        assert_eq!(world.sent(), Vec::<String>::new(), "there is no machine that could act on it");
        world.effects.clear();
        world.claimed(claim(1, place.1, &snapshot), 8);
        let ((epoch, seq), _) = world.snapshot();
        assert_eq!((epoch, seq > place.1), (1, true));
        world.stored((epoch, seq), WriteResult::Stored, 9);
        assert!(world.sent().contains(&"480".to_owned()));
        assert_eq!(world.releases(), 1);
    }

    #[test]
    fn a_second_panic_ends_the_call_with_its_record() {
        let mut world = World::hunting();
        let (place, snapshot) = world.snapshot();
        world.stored(place, WriteResult::Stored, 5);
        world.panics(6);
        world.claimed(claim(1, place.1, &snapshot), 7);
        world.panics(8);
        world.effects.clear();
        world.claimed(claim(2, place.1, &snapshot), 9);
        assert!(matches!(&world.writes()[..], [(2, _, Write::End(_))]));
        assert_eq!((world.releases(), world.stops()), (1, false), "the record is not safe yet");
        world.stored((2, place.1 + 1), WriteResult::Stored, 10);
        assert!(world.stops());
    }

    #[test]
    fn while_the_store_is_away_a_restoration_is_tried_again_and_given_up_at_last() {
        let mut world = World::hunting();
        let (place, _) = world.snapshot();
        world.stored(place, WriteResult::Stored, 5);
        world.effects.clear();
        world.panics(6);
        let mut ms = 6;
        for tries in 1..=RESTORE_TRIES as usize {
            assert_eq!(world.claims(), tries);
            world.claimed(ClaimResult::Away, ms + 1);
            assert!(!world.stops());
            ms = world.wakes_at().expect("another try").0 - 1_000;
            world.input(Input::Timer, ms);
        }
        world.claimed(ClaimResult::Away, ms + 1);
        assert!(world.stops());
    }

    #[test]
    fn a_wake_up_while_a_claim_is_under_way_asks_for_no_other() {
        let mut world = World::hunting();
        let (place, snapshot) = world.snapshot();
        world.stored(place, WriteResult::Stored, 5);
        world.panics(6);
        world.input(Input::Timer, 7);
        world.input(Input::Timer, 3_000);
        assert_eq!(world.claims(), 1);
        world.claimed(claim(1, place.1, &snapshot), 3_001);
        world.panics(3_002);
        assert_eq!(world.claims(), 2);
    }

    #[test]
    fn what_waits_for_a_restoration_is_bounded() {
        let mut world = World::hunting();
        let (place, _) = world.snapshot();
        world.stored(place, WriteResult::Stored, 5);
        world.panics(6);
        for _ in 0..2 * MAX_HELD_BACK {
            world.input(Input::HangUp(EndReason::Admin), 7);
        }
        let Machine::Restoring(held_back) = &world.host.machine else { panic!("it is being restored") };
        assert_eq!(held_back.len(), MAX_HELD_BACK);
    }

    #[test]
    fn a_call_is_released_once_even_if_it_ends_again_after_a_restoration() {
        let mut world = World::hunting();
        let (place, _) = world.snapshot();
        world.stored(place, WriteResult::Stored, 5);
        world.input(Input::HangUp(EndReason::Admin), 6);
        let ((_, seq), ended) = world.snapshot();
        world.panics(7);
        world.claimed(claim(1, seq, &ended), 8);
        assert_eq!(world.releases(), 1);
    }
}
