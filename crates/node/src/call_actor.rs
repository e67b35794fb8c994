//! One actor per call: it hands inputs to the pure machine and performs what comes out.
//!
//! A panic in the machine is a takeover by the call's own node: the actor claims the call in its next epoch, restores
//! it from its last snapshot and carries on. A second panic ends the call.

use crate::gateway_actor::GatewayMessage;
use crate::registration::Registration;
use crate::shared::Shared;
use crate::wheel::Slot;
use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tandem_cluster::{Outbox, Released};
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, ResponseHead, StatusCode};
use tandem_store::{CallEnd, CallKey, CallWrite, Committed, StoreError, StoreFuture, StoredCall, codec};
use tandem_switch::call::{Action, Call, CallId, CallStatus, Event, Input, Serial, Snapshot};
use tandem_switch::cdr::EndReason;
use tandem_switch::gateway::{GatewayName, Holder, Outcome};
use tandem_telemetry::Direction;

/// How long the store may take over one request.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// Messages that wait while a call is being restored.
const MAX_HELD_BACK: usize = 64;

/// How often a restoration is tried while the store is away, [`STORE_LIMIT`] apart.
const RESTORE_TRIES: u32 = 10;

/// What a call's actor is told.
#[derive(Debug)]
pub(crate) enum CallMessage {
    /// A message from the network.
    Network(Input),
    /// The result of something the call asked for, or an operator's word.
    Result(Input),
    /// The timing wheel says that it is time.
    Wake,
    /// The store's answer to a write.
    Stored { seq: u64, result: Result<(), StoreError> },
    /// The store's answer to a claim.
    Claimed(Result<StoredCall, StoreError>),
    /// A gateway's actor was started anew and has forgotten who holds its slots.
    GatewayRestarted(GatewayName),
    /// An operator asks.
    Status(RpcReplyPort<CallStatus>),
    /// A test wants to see what a panic does.
    #[cfg(feature = "fault-injection")]
    Panic,
}

/// What a call's actor begins with.
pub(crate) struct Beginning {
    pub(crate) shared: Arc<Shared>,
    pub(crate) registration: Registration,
    pub(crate) call: Call,
    pub(crate) actions: Vec<Action>,
    /// For an answer to the caller while nothing is stored of the call.
    pub(crate) invite: Message,
    pub(crate) flow: Flow,
}

pub(crate) struct CallActor;

/// What the store is given.
#[derive(Clone, Debug)]
enum Write {
    Commit(Bytes),
    End(Option<Bytes>),
}

/// What is done once the store has a write.
#[derive(Debug)]
enum Deferred {
    Send(Flow, Bytes),
    ReleaseSlot(GatewayName, Holder, Outcome),
}

/// The machine, or what stands for it.
enum Machine {
    Running(Box<Call>),
    /// It panicked; the store has been asked for its last snapshot.
    Restoring(VecDeque<Input>),
    /// Nothing more is to be done.
    Over,
}

pub(crate) struct CallState {
    shared: Arc<Shared>,
    myself: ActorRef<CallMessage>,
    registration: Registration,
    machine: Machine,
    outbox: Outbox<Write, Deferred>,
    epoch: u32,
    seq: u64,
    panics: u32,
    restore_tries: u32,
    slot: Option<Slot>,
    wake_at: Option<Mono>,
    /// The caller's INVITE until the first commit.
    invite: Option<(Message, Flow)>,
    #[cfg(feature = "fault-injection")]
    panic_next: bool,
}

impl Actor for CallActor {
    type Msg = CallMessage;
    type State = CallState;
    type Arguments = Beginning;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        beginning: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let Beginning { shared, registration, call, actions, invite, flow } = beginning;
        let mut state = CallState {
            shared,
            myself,
            registration,
            machine: Machine::Running(Box::new(call)),
            outbox: Outbox::default(),
            epoch: 0,
            seq: 0,
            panics: 0,
            restore_tries: 0,
            slot: None,
            wake_at: None,
            invite: Some((invite, flow)),
            #[cfg(feature = "fault-injection")]
            panic_next: false,
        };
        let now = state.shared.clock.now();
        state.run(VecDeque::new(), actions, now);
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let now = state.shared.clock.now();
        match message {
            CallMessage::Network(input) => {
                state.registration.mailbox().took_one();
                state.take(input, now);
            }
            CallMessage::Result(input) => state.take(input, now),
            CallMessage::Wake => state.wake(now),
            CallMessage::Stored { seq, result } => {
                let mut inputs = VecDeque::new();
                state.on_stored(seq, result, &mut inputs, now);
                state.run(inputs, Vec::new(), now);
            }
            CallMessage::Claimed(result) => state.restore(result, now),
            CallMessage::GatewayRestarted(gateway) => state.registration.reclaim(&gateway),
            CallMessage::Status(reply) => {
                if let Machine::Running(call) = &state.machine {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(call.status());
                }
            }
            #[cfg(feature = "fault-injection")]
            CallMessage::Panic => state.panic_next = true,
        }
        Ok(())
    }
}

impl CallState {
    /// Hands an input to the machine.
    fn take(&mut self, input: Input, now: Now) {
        match &mut self.machine {
            Machine::Running(_) => self.run(VecDeque::from([input]), Vec::new(), now),
            Machine::Restoring(held_back) if held_back.len() < MAX_HELD_BACK => held_back.push_back(input),
            Machine::Restoring(_) => self.shared.metrics.mailbox_overflow.inc(),
            Machine::Over => {}
        }
    }

    /// Performs `actions`, then handles `inputs` and performs what comes of them, until nothing is left.
    fn run(&mut self, mut inputs: VecDeque<Input>, actions: Vec<Action>, now: Now) {
        self.perform(actions, &mut inputs, now);
        while let Some(input) = inputs.pop_front() {
            let Machine::Running(call) = &mut self.machine else { break };
            #[cfg(feature = "fault-injection")]
            let panic_now = std::mem::take(&mut self.panic_next);
            let handled = catch_unwind(AssertUnwindSafe(|| {
                #[cfg(feature = "fault-injection")]
                assert!(!panic_now, "a test asked for it");
                call.handle(now, input)
            }));
            match handled {
                Ok(actions) => self.perform(actions, &mut inputs, now),
                Err(_) => {
                    self.on_panic(inputs);
                    break;
                }
            }
        }
        self.settle();
    }

    fn perform(&mut self, actions: Vec<Action>, inputs: &mut VecDeque<Input>, now: Now) {
        for action in actions {
            match action {
                Action::Send { flow, message, after: None } => self.send(flow, &message, inputs),
                Action::Send { flow, message, after: Some(seq) } => {
                    let deferred = self.outbox.after(seq, Deferred::Send(flow, message), true, now.mono);
                    self.do_deferred(deferred, inputs);
                }
                Action::Commit { seq, snapshot } => self.commit(seq, &snapshot, inputs, now),
                Action::End { seq, records } => {
                    let lines = (!records.is_empty()).then(|| Bytes::from(records.join(&b'\n')));
                    self.write(seq, Write::End(lines), inputs, now);
                }
                Action::Lookup { mapping_gateway, called, .. } => {
                    let id = self.registration.id();
                    inputs.push_back(Input::Looked(self.shared.look_up(id, &mapping_gateway, &called)));
                }
                Action::Admit { gateway, holder } => self.ask_gateway(gateway, holder, inputs),
                Action::ReleaseSlot { gateway, holder, outcome, after } => {
                    let release = Deferred::ReleaseSlot(gateway, holder, outcome);
                    let deferred = match after {
                        Some(seq) => self.outbox.after(seq, release, false, now.mono),
                        None => Some(release),
                    };
                    self.do_deferred(deferred, inputs);
                }
                Action::SetTimer(at) => {
                    self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)))
                }
                Action::Emit(event) => self.observe(event),
                Action::Stop => self.machine = Machine::Over,
            }
        }
    }

    fn send(&self, flow: Flow, message: &Bytes, inputs: &mut VecDeque<Input>) {
        if self.shared.send(flow, message).is_err()
            && let Some(serial) = serial_of_request(message)
        {
            inputs.push_back(Input::Undeliverable(serial));
        }
    }

    fn do_deferred(&mut self, deferred: impl IntoIterator<Item = Deferred>, inputs: &mut VecDeque<Input>) {
        for deferred in deferred {
            match deferred {
                Deferred::Send(flow, message) => self.send(flow, &message, inputs),
                Deferred::ReleaseSlot(gateway, holder, outcome) => {
                    self.registration.release(&gateway, holder, Some(outcome));
                }
            }
        }
    }

    fn ask_gateway(&mut self, gateway: GatewayName, holder: Holder, inputs: &mut VecDeque<Input>) {
        let request = GatewayMessage::Admit { holder, reply_to: self.myself.clone() };
        if self.shared.gateways.get(&gateway).is_some_and(|handle| handle.tell(request)) {
            self.registration.hold(gateway, holder);
        } else {
            let result = Err(tandem_switch::gateway::Refusal::Unavailable);
            inputs.push_back(Input::Admitted { gateway, attempt: holder.attempt, result });
        }
    }

    fn commit(&mut self, seq: u64, snapshot: &Snapshot, inputs: &mut VecDeque<Input>, now: Now) {
        match codec::encode(snapshot) {
            Ok(bytes) => self.write(seq, Write::Commit(bytes), inputs, now),
            Err(error) => {
                // The call goes on from memory; only a takeover would miss it.
                tracing::error!(call = %self.registration.id(), %error, "cannot encode a snapshot");
                self.shared.metrics.store_failures.inc();
                let released = self.outbox.stored(seq);
                self.do_deferred(released.items, inputs);
            }
        }
    }

    fn write(&mut self, seq: u64, write: Write, inputs: &mut VecDeque<Input>, now: Now) {
        if let Some((seq, write)) = self.outbox.write(seq, write) {
            self.submit(seq, write, inputs, now);
        }
    }

    /// Gives the store a write. A store in memory has done it at once; any other answers later.
    fn submit(&mut self, seq: u64, write: Write, inputs: &mut VecDeque<Input>, now: Now) {
        self.seq = self.seq.max(seq);
        let began = self.shared.clock.mono();
        let mut future = self.start_write(seq, write);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                self.shared.metrics.commit_seconds.observe(self.shared.clock.mono().since(began));
                self.on_stored(seq, result, inputs, now);
            }
            Poll::Pending => {
                let (shared, myself) = (self.shared.clone(), self.myself.clone());
                tokio::spawn(async move {
                    let away = Err(StoreError::Away { step: "write" });
                    let result = tokio::time::timeout(STORE_LIMIT, future).await.unwrap_or(away);
                    shared.metrics.commit_seconds.observe(shared.clock.mono().since(began));
                    // The call may have ended meanwhile.
                    let _ = myself.cast(CallMessage::Stored { seq, result });
                });
            }
        }
    }

    fn start_write(&self, seq: u64, write: Write) -> StoreFuture<()> {
        let (key, owner, epoch) = (key_of(self.registration.id()), self.shared.owner.clone(), self.epoch);
        match write {
            Write::Commit(snapshot) => {
                let stored = self.shared.store.commit(CallWrite { key, owner, epoch, seq, snapshot });
                Box::pin(async move { stored.await.map(|(Committed::Stored | Committed::Absorbed)| ()) })
            }
            Write::End(cdr) => self.shared.store.end(CallEnd { key, owner, epoch, cdr }),
        }
    }

    fn on_stored(
        &mut self,
        seq: u64,
        result: Result<(), StoreError>,
        inputs: &mut VecDeque<Input>,
        now: Now,
    ) {
        let released = match result {
            Ok(()) => {
                self.invite = None;
                self.outbox.stored(seq)
            }
            Err(error @ (StoreError::Fenced { .. } | StoreError::Ended)) => {
                tracing::warn!(call = %self.registration.id(), %error, "let go of a call");
                self.shared.metrics.commits_fenced.inc();
                self.outbox.fenced();
                self.machine = Machine::Over;
                return;
            }
            Err(error) => {
                tracing::warn!(call = %self.registration.id(), %error, "a write failed and will be tried again");
                self.shared.metrics.store_failures.inc();
                self.outbox.failed(now.mono)
            }
        };
        self.do_released(released, inputs, now);
    }

    fn do_released(&mut self, released: Released<Write, Deferred>, inputs: &mut VecDeque<Input>, now: Now) {
        self.do_deferred(released.items, inputs);
        if let Some((seq, write)) = released.write {
            self.submit(seq, write, inputs, now);
        }
    }

    fn wake(&mut self, now: Now) {
        self.slot = None;
        self.wake_at = None;
        let mut inputs = VecDeque::new();
        let released = self.outbox.on_timer(now.mono);
        self.do_released(released, &mut inputs, now);
        if let Machine::Running(call) = &self.machine {
            inputs.push_back(Input::Timer);
            self.wake_at = call.deadline();
        } else if matches!(self.machine, Machine::Restoring(_)) {
            self.claim();
        }
        self.run(inputs, Vec::new(), now);
    }

    /// Asks for the next wake-up, keeps the gauges, and stops once all is done.
    fn settle(&mut self) {
        if let Machine::Running(call) = &self.machine {
            self.registration.set_stage(call.stage());
        }
        if matches!(self.machine, Machine::Over) && self.outbox.is_empty() {
            self.myself.stop(None);
            return;
        }
        let deadline = self.wake_at.into_iter().chain(self.outbox.deadline()).min();
        if let Some(at) = deadline {
            self.slot = Some(self.shared.wheel.set(self.registration.id(), self.slot, at));
        }
    }

    fn observe(&mut self, event: Event) {
        let metrics = &self.shared.metrics;
        match event {
            Event::Resent => metrics.resends.of(Direction::Sent).inc(),
            Event::Ringing { pdd } => metrics.pdd.observe(pdd),
            Event::Answered => metrics.calls_answered.inc(),
            Event::Dropped { why, .. } => {
                tracing::debug!(call = %self.registration.id(), why, "dropped a message")
            }
            Event::Attempted(gateway) => tracing::debug!(call = %self.registration.id(), %gateway, "attempt"),
            Event::AttemptFailed { gateway, failure } => {
                tracing::debug!(call = %self.registration.id(), %gateway, ?failure, "attempt failed");
            }
            Event::Refused { gateway, refusal } => {
                metrics.admission_refused.of(crate::labels::refusal(refusal)).inc();
                tracing::debug!(call = %self.registration.id(), %gateway, %refusal, "gateway takes no call");
            }
            Event::Released(release) => {
                let (cause, origin) = crate::labels::release(release);
                metrics.calls_ended.of(cause, origin).inc();
                let outcome = match &self.machine {
                    Machine::Running(call) => call.outcome(self.shared.clock.now()),
                    Machine::Restoring(_) | Machine::Over => Outcome::Cancelled,
                };
                self.registration.released(outcome);
                tracing::debug!(call = %self.registration.id(), ?release, "released");
            }
        }
    }

    /// The machine panicked: its state is gone, and the store has the last that was committed.
    fn on_panic(&mut self, held_back: VecDeque<Input>) {
        self.shared.metrics.call_panics.inc();
        self.panics += 1;
        tracing::error!(call = %self.registration.id(), panics = self.panics, "a call's actor panicked");
        self.outbox.fenced();
        self.machine = Machine::Restoring(held_back);
        if self.invite.is_some() {
            self.give_up_unstored();
        } else {
            self.claim();
        }
    }

    /// Nothing is stored of the call: the caller is told, and nobody else knows of it.
    fn give_up_unstored(&mut self) {
        if let Some((invite, flow)) = self.invite.take() {
            let tag = self.registration.id().to_string();
            let response =
                ResponseHead::of(&invite, flow.remote).respond(StatusCode::SERVER_INTERNAL_ERROR, Some(&tag));
            // The caller's own timer covers for a response that cannot be sent.
            let _ = self.shared.send(flow, &response.finish());
        }
        self.machine = Machine::Over;
    }

    fn claim(&mut self) {
        let key = key_of(self.registration.id());
        let claimed = self.shared.store.claim(key, self.epoch, self.shared.owner.clone());
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let away = Err(StoreError::Away { step: "claim" });
            let result = tokio::time::timeout(STORE_LIMIT, claimed).await.unwrap_or(away);
            // The actor lives until it is told.
            let _ = myself.cast(CallMessage::Claimed(result));
        });
    }

    /// Carries on from the last snapshot, in the epoch that the claim gave.
    fn restore(&mut self, result: Result<StoredCall, StoreError>, now: Now) {
        let Machine::Restoring(held_back) = &mut self.machine else { return };
        let held_back = std::mem::take(held_back);
        let stored = match result {
            Ok(stored) => stored,
            Err(StoreError::Away { .. }) if self.restore_tries < RESTORE_TRIES => {
                self.restore_tries += 1;
                self.machine = Machine::Restoring(held_back);
                self.wake_at = Some(now.mono + STORE_LIMIT);
                return self.settle();
            }
            Err(error) => {
                tracing::error!(call = %self.registration.id(), %error, "cannot restore a call");
                self.machine = Machine::Over;
                return self.settle();
            }
        };
        let snapshot = match codec::decode::<Snapshot>(&stored.snapshot) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::error!(call = %self.registration.id(), %error, "cannot read a snapshot");
                self.machine = Machine::Over;
                return self.settle();
            }
        };
        self.epoch = stored.epoch;
        self.seq = self.seq.max(stored.seq);
        self.outbox = Outbox::default();
        if self.panics > 1 {
            return self.abandon(&snapshot, now);
        }
        let (node, epoch) = (self.shared.name.clone(), stored.epoch);
        let restored = catch_unwind(AssertUnwindSafe(|| Call::restore(snapshot.clone(), epoch, node, now)));
        match restored {
            Ok((call, actions)) => {
                tracing::info!(call = %self.registration.id(), epoch, "restored a call");
                self.machine = Machine::Running(Box::new(call));
                self.run(held_back, actions, now);
            }
            Err(_) => {
                self.shared.metrics.call_panics.inc();
                self.abandon(&snapshot, now);
            }
        }
    }

    /// Ends a call that nobody can go on with. Its record is written, its slots come back.
    fn abandon(&mut self, snapshot: &Snapshot, now: Now) {
        let records = snapshot.abandon(EndReason::ProtocolError, now);
        self.machine = Machine::Over;
        let seq = self.seq + 1;
        let actions = vec![Action::End { seq, records }];
        self.run(VecDeque::new(), actions, now);
    }
}

/// The call's name in the store.
pub(crate) fn key_of(id: CallId) -> CallKey {
    CallKey { bucket: id.bucket(), id: id.0 }
}

/// The serial of a request of ours. A response is nobody's to be told about: the peer asks again.
pub(crate) fn serial_of_request(message: &[u8]) -> Option<Serial> {
    if message.starts_with(b"SIP/2.0") { None } else { Serial::of(branch_of(message)?) }
}

/// The branch of the first Via of a message of ours, also of one that was cut short.
pub(crate) fn branch_of(message: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b";branch=";
    let start = message.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let branch = &message[start..];
    let end = branch.iter().position(|byte| matches!(byte, b';' | b'\r' | b'\n' | b' ' | b','))?;
    Some(&branch[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_is_read_from_a_message_that_was_cut_short() {
        let quoted =
            b"INVITE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKabc.1.2;rport\r\nMax-Fo";
        assert_eq!(branch_of(quoted), Some(&b"z9hG4bKabc.1.2"[..]));
        assert_eq!(branch_of(b"INVITE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG"), None);
        assert_eq!(serial_of_request(b"SIP/2.0 200 OK\r\nVia: x;branch=z9hG4bKabc\r\n"), None);
    }
}
