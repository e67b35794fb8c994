//! What stands between a call's machine and its actor: commits before sends, and a life after a panic.
//!
//! A panic in the machine is a takeover by the call's own owner: the host asks to claim the call in its next epoch,
//! restores it from its last snapshot and carries on. A second panic ends the call.

use crate::{Outbox, Released};
use bytes::Bytes;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now};
use tandem_switch::call::{Action, Call, CallId, Event, Input, Snapshot};
use tandem_switch::cdr::EndReason;
use tandem_switch::gateway::{GatewayName, Holder, Outcome};

/// The most inputs that wait while a call is being restored.
pub const MAX_HELD_BACK: usize = 64;

/// How often a restoration is tried while the store is away, [`RESTORE_PAUSE`] apart.
pub const RESTORE_TRIES: u32 = 10;

/// How long after a failed restoration it is tried again.
pub const RESTORE_PAUSE: Duration = Duration::from_secs(2);

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
    /// Whether the store has anything of the call.
    stored: bool,
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
    /// The call belongs to somebody else, or has ended.
    Fenced,
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
    /// Claim the call; answered by [`CallHost::on_claimed`].
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
    },
    /// Ask a gateway for a slot; answered by [`Input::Admitted`].
    Admit(GatewayName, Holder),
    /// Give a slot back.
    Release(GatewayName, Holder, Outcome),
    /// Wake the host at this time, instead of any earlier request: [`Input::Timer`].
    Wake(Mono),
    /// Something to count or to log.
    Observe(Event),
    /// The machine panicked.
    Panicked,
    /// The machine panicked before anything of the call was stored: tell the caller 500, nobody else knows of it.
    GaveUpUnstored,
    /// The call is over.
    Stop,
}

impl CallHost {
    /// The host of a call that has just begun, and what is to be done at once.
    pub fn start(node: Arc<str>, call: Call, actions: Vec<Action>, now: Now) -> (Self, Vec<Effect>) {
        let mut host = Self {
            id: call.id(),
            node,
            machine: Machine::Running(Box::new(call)),
            outbox: Outbox::default(),
            epoch: 0,
            seq: 0,
            panics: 0,
            restore_tries: 0,
            stored: false,
            machine_wakes_at: None,
            wakes_at: None,
            #[cfg(feature = "fault-injection")]
            panic_next: false,
        };
        let mut effects = Vec::new();
        host.perform(actions, &mut effects, now);
        host.settle(&mut effects, now);
        (host, effects)
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
            Err(_) => self.panicked(effects),
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
                    let lines = (!records.is_empty()).then(|| Bytes::from(records.join(&b'\n')));
                    self.write(seq, Write::End(lines), effects);
                }
                Action::Lookup { mapping_gateway, caller, called } => {
                    effects.push(Effect::Lookup { mapping_gateway, caller, called });
                }
                Action::Admit { gateway, holder } => effects.push(Effect::Admit(gateway, holder)),
                Action::ReleaseSlot { gateway, holder, outcome, after } => {
                    let release = Deferred::Release(gateway, holder, outcome);
                    let deferred = match after {
                        Some(seq) => self.outbox.after(seq, release, false, now.mono),
                        None => Some(release),
                    };
                    effects.extend(deferred.map(Effect::from));
                }
                Action::SetTimer(at) => self.machine_wakes_at = Some(at),
                Action::Emit(event) => effects.push(Effect::Observe(event)),
                Action::Stop => self.machine = Machine::Over,
            }
        }
    }

    fn write(&mut self, seq: u64, write: Write, effects: &mut Vec<Effect>) {
        self.seq = self.seq.max(seq);
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
                let released = self.outbox.stored(seq);
                self.release(released, &mut effects);
            }
            WriteResult::Failed => {
                let released = self.outbox.failed(now.mono);
                self.release(released, &mut effects);
            }
            WriteResult::Fenced => {
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
        let deadline = of_machine.into_iter().chain(self.outbox.deadline()).min();
        if let Some(at) = deadline
            && self.wakes_at.is_none_or(|earlier| at < earlier)
        {
            self.wakes_at = Some(at);
            effects.push(Effect::Wake(at));
        }
    }

    /// The machine is gone, with what it had not committed; the store has the rest.
    pub fn panicked(&mut self, effects: &mut Vec<Effect>) {
        self.panics += 1;
        self.outbox = Outbox::default();
        effects.push(Effect::Panicked);
        if self.stored {
            self.machine = Machine::Restoring(VecDeque::new());
            self.wakes_at = None;
            self.machine_wakes_at = None;
            effects.push(Effect::Claim { seen_epoch: self.epoch });
        } else {
            self.machine = Machine::Over;
            effects.push(Effect::GaveUpUnstored);
        }
    }

    /// Takes what came of a claim: carries on from the last snapshot, in the epoch that the claim gave.
    pub fn on_claimed(&mut self, result: ClaimResult, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Machine::Restoring(held_back) = &mut self.machine else { return effects };
        let held_back = std::mem::take(held_back);
        match result {
            ClaimResult::Claimed { epoch, seq, snapshot } => {
                self.epoch = epoch;
                self.seq = self.seq.max(seq);
                self.restore(*snapshot, held_back, &mut effects, now);
            }
            ClaimResult::Away if self.restore_tries < RESTORE_TRIES => {
                self.restore_tries += 1;
                self.machine = Machine::Restoring(held_back);
            }
            ClaimResult::Away | ClaimResult::Lost => self.machine = Machine::Over,
        }
        self.settle(&mut effects, now);
        effects
    }

    fn restore(
        &mut self,
        snapshot: Snapshot,
        held_back: VecDeque<Input>,
        effects: &mut Vec<Effect>,
        now: Now,
    ) {
        if self.panics > 1 {
            return self.abandon(&snapshot, effects, now);
        }
        let (kept, node, epoch) = (snapshot.clone(), self.node.clone(), self.epoch);
        match catch_unwind(AssertUnwindSafe(|| Call::restore(snapshot, epoch, node, now))) {
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
        let records = snapshot.abandon(EndReason::ProtocolError, now);
        self.machine = Machine::Over;
        let seq = self.seq + 1;
        self.perform(vec![Action::End { seq, records }], effects, now);
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
