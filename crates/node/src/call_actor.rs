//! One actor per call: it decodes what it is told, hands it to the call's host, and performs what comes out.

use crate::authority::LettingGo;
use crate::ended::{self, Ending};
#[cfg(feature = "fault-injection")]
use crate::faults::Fault;
use crate::gateway_actor::{GatewayMessage, Reclaiming};
use crate::link::Frame;
use crate::registration::Registration;
use crate::shared::Shared;
use crate::wheel::Slot;
use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tandem_cluster::{CallHost, ClaimResult, Effect, Recommit, Tenure, Write, WriteResult};
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, ResponseHead, StatusCode, locate};
use tandem_store::{CDR_MAX_BYTES, CallEnd, CallKey, CallWrite, StoreError, StoreFuture, StoredCall, codec};
use tandem_switch::call::{
    Action, Call, CallId, CallStatus, Event, Input, Moved, Serial, Snapshot, Sought, Stage, Unauthorized,
};
use tandem_switch::cdr::EndReason;
use tandem_switch::gateway::{GatewayName, Holder, Outcome, Refusal};
use tandem_telemetry::Direction;
use tandem_transport::Hold;

/// How long the store may take over one request.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// How long a wake-up is put off while the node may not speak for its calls.
const WITHHELD: Duration = Duration::from_millis(200);

/// How long an heir may take to say that it has the call.
const HANDING_LIMIT: Duration = Duration::from_secs(3);

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
    Stored { epoch: u32, seq: u64, result: Result<(), StoreError> },
    /// The store's answer to a claim.
    Claimed(Result<StoredCall, StoreError>),
    /// A gateway's actor was started anew and has forgotten who holds its slots.
    GatewayRestarted(Arc<Reclaiming>),
    /// The node was silent for too long: whether the call may be another one's now. All that the call was told before has been dealt with
    /// when the last of these is dropped.
    Verified { is_lost: bool, done: Arc<LettingGo> },
    /// The node drains: the call is that node's, as soon as it has come to rest; `insists`: even if it has not.
    HandOver { heir: Arc<str>, insists: bool },
    /// The node stops: what is answered is left to an heir, if there is one; the rest is hung up.
    Part { has_heirs: bool },
    /// Whether the heir has taken the call.
    HandedOver(bool),
    /// The call is another node's since that epoch.
    Lost { epoch: u32 },
    /// An earlier owner had ended the call, with these records, before the store gave it to this one.
    EndedBefore(Option<Bytes>),
    /// An operator asks.
    Status(RpcReplyPort<CallStatus>),
    /// A node that is about to stop asks when the call next has something to do by itself.
    Deadline(RpcReplyPort<Option<Mono>>),
    /// A test wants to see what a panic does.
    #[cfg(feature = "fault-injection")]
    Panic,
}

/// What a call's actor begins with.
pub(crate) struct Beginning {
    pub(crate) shared: Arc<Shared>,
    pub(crate) registration: Registration,
    pub(crate) origin: Origin,
    /// Keeps the caller's connection open.
    pub(crate) hold: Option<Hold>,
}

/// Where a call comes from.
pub(crate) enum Origin {
    /// An INVITE, which has begun it.
    Begun(Box<Begun>),
    /// Another owner, which has gone.
    TakenOver(TakenOver),
}

/// A call that has just begun.
pub(crate) struct Begun {
    pub(crate) call: Call,
    pub(crate) actions: Vec<Action>,
    /// For an answer to the caller while nothing is stored of the call.
    pub(crate) invite: Message,
    pub(crate) flow: Flow,
}

/// A call that was claimed.
pub(crate) struct TakenOver {
    pub(crate) epoch: u32,
    pub(crate) seq: u64,
    pub(crate) snapshot: Box<Snapshot>,
    pub(crate) moved: Moved,
}

pub(crate) struct CallActor;

pub(crate) struct CallState {
    shared: Arc<Shared>,
    myself: ActorRef<CallMessage>,
    registration: Registration,
    host: CallHost,
    slot: Option<Slot>,
    /// The caller's INVITE until the first commit.
    invite: Option<(Message, Flow)>,
    /// Whether this node may speak for the call, beyond its own lease.
    tenure: Tenure,
    /// The end that the store is being told of.
    ending: Option<Box<Ending>>,
    _hold: Option<Hold>,
}

impl Actor for CallActor {
    type Msg = CallMessage;
    // Boxed, both: the library's futures hold and move them by value, in every actor.
    type State = Box<CallState>;
    type Arguments = Box<Beginning>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        beginning: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let Beginning { shared, registration, origin, hold } = *beginning;
        #[cfg(feature = "fault-injection")]
        shared.faults.strike(Fault::CallStart);
        let now = shared.clock.now();
        let node = shared.name.clone();
        let ((mut host, effects), invite) = match origin {
            Origin::Begun(begun) => {
                let Begun { call, actions, invite, flow } = *begun;
                (CallHost::start(node, call, actions, now), Some((invite, flow)))
            }
            Origin::TakenOver(TakenOver { epoch, seq, snapshot, moved }) => {
                (CallHost::take_over(node, (epoch, seq), *snapshot, moved, now), None)
            }
        };
        host.hold_out(shared.authority.holds_out(now.mono));
        let (slot, ending, tenure) = (None, None, Tenure::Own);
        let state =
            CallState { shared, myself, registration, host, slot, invite, tenure, ending, _hold: hold };
        let mut state = Box::new(state);
        state.perform(effects, now);
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(feature = "fault-injection")]
        state.shared.faults.strike(Fault::CallActor);
        let now = state.shared.clock.now();
        state.host.hold_out(state.shared.authority.holds_out(now.mono));
        let effects = match message {
            CallMessage::Network(input) => {
                state.registration.mailbox().took_one();
                match state.may_speak() {
                    true => state.host.handle(input, now),
                    // Whoever sent it sends it again.
                    false => {
                        state.shared.metrics.messages_withheld.inc();
                        Vec::new()
                    }
                }
            }
            CallMessage::Result(input) => {
                if let Input::Admitted { gateway, attempt, result } = &input {
                    state.registration.note_admission(gateway, *attempt, result.is_ok());
                }
                state.host.handle(input, now)
            }
            // The slot stays: another wake-up may have been set since this one came.
            CallMessage::Wake if state.may_speak() => state.host.handle(Input::Timer, now),
            CallMessage::Wake => {
                let at = now.mono + WITHHELD;
                state.slot = Some(state.shared.wheel.set(state.registration.id(), state.slot, at));
                state.host.write_again(now)
            }
            CallMessage::Verified { is_lost, done } => {
                let _done = done;
                let recommit = state.tenure.verified(!is_lost, &state.host);
                state.recommit(recommit, now)
            }
            CallMessage::HandOver { heir, insists } => {
                let has_authority = state.shared.has_authority();
                let recommit = state.tenure.give_to(heir, insists, has_authority, &state.host);
                state.recommit(recommit, now)
            }
            CallMessage::Part { has_heirs } => {
                let is_answered = state.host.call().is_some_and(|call| call.stage() == Stage::Answered);
                match has_heirs && is_answered && state.host.is_stored() {
                    true => state.lose(now),
                    false => state.host.handle(Input::HangUp(EndReason::Drained), now),
                }
            }
            CallMessage::Lost { epoch } if epoch > state.host.epoch() => {
                state.tell_of_end();
                state.lose(now)
            }
            CallMessage::Lost { .. } => Vec::new(),
            CallMessage::EndedBefore(records) => {
                let (is_ended, effects) = state.host.ended_by_another(records, now);
                if is_ended {
                    tracing::info!(call = %state.registration.id(), "a call was ended before it was taken over");
                }
                effects
            }
            CallMessage::HandedOver(true) => {
                tracing::info!(call = %state.registration.id(), "handed a call over");
                state.shared.metrics.calls_handed.inc();
                state.shared.handing_over.handed(now.mono);
                state.lose(now)
            }
            CallMessage::HandedOver(false) => {
                let recommit = state.tenure.not_taken(&state.host);
                state.recommit(recommit, now)
            }
            CallMessage::Stored { epoch, seq, result } => state.on_stored((epoch, seq), result, now),
            CallMessage::Claimed(result) => {
                let claim = state.read_claim(result);
                state.host.on_claimed(claim, now)
            }
            CallMessage::GatewayRestarted(reclaiming) => {
                state.registration.reclaim(&reclaiming);
                Vec::new()
            }
            CallMessage::Status(reply) => {
                if let Some(call) = state.host.call() {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(call.status());
                }
                Vec::new()
            }
            CallMessage::Deadline(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(state.host.deadline(now));
                Vec::new()
            }
            #[cfg(feature = "fault-injection")]
            CallMessage::Panic => {
                state.host.panic_at_next_input();
                state.host.handle(Input::Timer, now)
            }
        };
        state.perform(effects, now);
        state.hand_over();
        Ok(())
    }
}

impl Drop for CallState {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.wheel.clear(slot);
        }
    }
}

impl CallState {
    /// Whether this node may speak for the call.
    fn may_speak(&self) -> bool {
        self.tenure.may_speak() && self.shared.has_authority()
    }

    /// The call is another node's.
    fn lose(&mut self, now: Now) -> Vec<Effect> {
        self.registration.lose();
        self.host.let_go(now)
    }

    /// If the call, which is another's, had ended here before, that one is told.
    fn tell_of_end(&mut self) {
        let ending = self.ending.take().filter(|_| self.host.was_answered());
        if let Some(ending) = ending {
            let shared = self.shared.clone();
            tokio::spawn(async move { ended::tell_owner(&shared, (*ending).into_end()).await });
        }
    }

    fn recommit(&mut self, recommit: Recommit, now: Now) -> Vec<Effect> {
        match recommit {
            Recommit::Yes => self.host.handle(Input::StoreLost, now),
            Recommit::No => Vec::new(),
        }
    }

    /// Tells the heir, as soon as it can go on from what the store has.
    fn hand_over(&mut self) {
        let Some(heir) = self.tenure.heir_to_tell(&self.host) else { return };
        let (key, epoch) = (key_of(self.registration.id()).into(), self.host.epoch());
        let (shared, myself) = (self.shared.clone(), self.myself.clone());
        tokio::spawn(async move {
            let yours = |question| Frame::Yours { question, key, epoch };
            let taken = shared.links.ask(&heir, yours, HANDING_LIMIT).await == Some(true);
            // The call waits for it.
            let _ = myself.cast(CallMessage::HandedOver(taken));
        });
    }

    /// Performs effects in order, then those of their results, until nothing is left.
    fn perform(&mut self, effects: Vec<Effect>, now: Now) {
        let mut left = VecDeque::from(effects);
        while let Some(effect) = left.pop_front() {
            let more = match effect {
                Effect::Send(..) if !self.may_speak() => {
                    self.shared.metrics.messages_withheld.inc();
                    None
                }
                Effect::Send(flow, message) => {
                    let serial =
                        self.shared.send(flow, &message).err().and_then(|_| serial_of_request(&message));
                    serial.map(|serial| self.host.handle(Input::Undeliverable(serial), now))
                }
                Effect::Store { epoch, seq, write } => self.store(epoch, seq, write, now),
                Effect::Claim { seen_epoch } => {
                    self.claim(seen_epoch);
                    None
                }
                Effect::Lookup { mapping_gateway, called, uri, .. } => {
                    self.look_up(&mapping_gateway, (&called, &uri), now)
                }
                Effect::Admit(gateway, holder) => self.ask_gateway(gateway, holder, now),
                Effect::Resolve(attempt, of) => self.resolve(attempt, &of, now),
                Effect::Authorize(gateway, serial, request) => self.authorize(&gateway, serial, request, now),
                Effect::Hold(gateway, pause) => {
                    if let Some(handle) = self.shared.configured().gateways.get(&gateway) {
                        handle.tell(GatewayMessage::Hold(pause));
                    }
                    None
                }
                Effect::Release(gateway, holder, outcome) => {
                    self.registration.release(&gateway, holder, Some(outcome));
                    None
                }
                Effect::Wake(at) => {
                    self.slot = Some(self.shared.wheel.set(self.registration.id(), self.slot, at));
                    None
                }
                Effect::Observe(event) => {
                    self.observe(event);
                    None
                }
                Effect::Panicked => {
                    self.shared.metrics.call_panics.inc();
                    tracing::error!(call = %self.registration.id(), "a call's machine panicked");
                    None
                }
                Effect::GaveUpUnstored => {
                    self.answer_unstored();
                    None
                }
                Effect::Stop => {
                    self.myself.stop(None);
                    None
                }
            };
            left.extend(more.into_iter().flatten());
        }
        if let Some(call) = self.host.call() {
            self.registration.set_stage(call.stage());
        }
    }

    fn ask_gateway(&mut self, gateway: GatewayName, holder: Holder, now: Now) -> Option<Vec<Effect>> {
        let request = GatewayMessage::Admit { holder, reply_to: self.myself.clone() };
        if self.shared.configured().gateways.get(&gateway).is_some_and(|handle| handle.tell(request)) {
            self.registration.ask(gateway, holder);
            return None;
        }
        let result = Err(Refusal::Unavailable);
        Some(self.host.handle(Input::Admitted { gateway, attempt: holder.attempt, result }, now))
    }

    /// Finds out where the call may go. The bindings of an endpoint are asked for, and the answer comes later.
    fn look_up(&mut self, mapping_gateway: &str, called: (&str, &str), now: Now) -> Option<Vec<Effect>> {
        let call = self.registration.id();
        let to = match self.shared.look_up(call, mapping_gateway, called) {
            Ok(looked) => return Some(self.host.handle(Input::Looked(looked), now)),
            Err(to) => *to,
        };
        let (shared, myself) = (self.shared.clone(), self.myself.clone());
        tokio::spawn(async move {
            let looked = shared.route_to(call, to).await;
            // The call may have ended meanwhile.
            let _ = myself.cast(CallMessage::Result(Input::Looked(looked)));
        });
        None
    }

    /// Finds out where that is reached; what is not known is asked for, and the answer comes later.
    fn resolve(&mut self, attempt: u16, of: &Sought, now: Now) -> Option<Vec<Effect>> {
        let call = self.registration.id();
        let wanted = match self.shared.reach(call, attempt, of) {
            Ok(targets) => {
                let of = of.clone();
                return Some(self.host.handle(Input::Resolved { attempt, of, targets }, now));
            }
            Err(wanted) => wanted,
        };
        let (shared, myself, of) = (self.shared.clone(), self.myself.clone(), of.clone());
        tokio::spawn(async move {
            let outcome = shared.locations.locate(wanted).await;
            let targets = shared.targets(call, attempt, &of, &outcome);
            // The call may have ended meanwhile.
            let _ = myself.cast(CallMessage::Result(Input::Resolved { attempt, of, targets }));
        });
        None
    }

    /// Has a gateway's actor answer challenges, which knows the password and how often a nonce has been used.
    fn authorize(
        &mut self,
        gateway: &GatewayName,
        serial: Serial,
        request: Box<Unauthorized>,
        now: Now,
    ) -> Option<Vec<Effect>> {
        let message = GatewayMessage::Authorize { serial, request, reply_to: self.myself.clone() };
        if self.shared.configured().gateways.get(gateway).is_some_and(|handle| handle.tell(message)) {
            return None;
        }
        Some(self.host.handle(Input::Authorized { serial, authorization: None }, now))
    }

    /// Gives the store a write. A store in memory has done it at once; any other answers later.
    fn store(&mut self, epoch: u32, seq: u64, write: Write, now: Now) -> Option<Vec<Effect>> {
        let began = self.shared.clock.mono();
        let mut future = match self.start_write(epoch, seq, write) {
            Ok(future) => future,
            Err(error) => {
                // The call goes on from memory; only a takeover would miss the commit.
                tracing::error!(call = %self.registration.id(), %error, "cannot encode a snapshot");
                self.shared.metrics.store_failures.inc();
                return Some(self.host.on_stored((epoch, seq), WriteResult::Stored, now));
            }
        };
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                self.shared.metrics.commit_seconds.observe(self.shared.clock.mono().since(began));
                Some(self.on_stored((epoch, seq), result, now))
            }
            Poll::Pending => {
                let (shared, myself) = (self.shared.clone(), self.myself.clone());
                tokio::spawn(async move {
                    let away = Err(StoreError::Away { step: "write" });
                    let result = tokio::time::timeout(STORE_LIMIT, future).await.unwrap_or(away);
                    shared.metrics.commit_seconds.observe(shared.clock.mono().since(began));
                    // The call may have ended meanwhile.
                    let _ = myself.cast(CallMessage::Stored { epoch, seq, result });
                });
                None
            }
        }
    }

    fn start_write(
        &mut self,
        epoch: u32,
        seq: u64,
        write: Write,
    ) -> Result<StoreFuture<()>, codec::CodecError> {
        let (key, owner) = (key_of(self.registration.id()), self.shared.owner.clone());
        Ok(match write {
            Write::Commit(snapshot) => {
                let snapshot = codec::encode(&*snapshot)?;
                let stored = self.shared.store.commit(CallWrite { key, owner, epoch, seq, snapshot });
                Box::pin(async move { stored.await.map(|_| ()) })
            }
            Write::End(cdr) => {
                let cdr = cdr.map(|records| self.fitting(records));
                let end = CallEnd { key, owner, epoch, cdr };
                if self.shared.store.is_shared() {
                    match &mut self.ending {
                        Some(ending) if ending.write.0 == epoch => ending.write = (epoch, seq),
                        other => *other = Some(Box::new(Ending::new(end.clone(), (epoch, seq)))),
                    }
                }
                self.shared.store.end(end)
            }
        })
    }

    /// What the store takes of a call's records. The first is the call's own and has all attempts in it, too.
    fn fitting(&self, records: Bytes) -> Bytes {
        if records.len() <= CDR_MAX_BYTES {
            return records;
        }
        let id = self.registration.id();
        tracing::error!(call = %id, bytes = records.len(), "the separate records of attempts are left out");
        let first = records.iter().position(|byte| *byte == b'\n').unwrap_or(records.len());
        records.slice(..first)
    }

    fn on_stored(&mut self, write: (u32, u64), result: Result<(), StoreError>, now: Now) -> Vec<Effect> {
        let result = match result {
            Ok(()) => {
                self.invite = None;
                if let Some(ending) = self.ending.take_if(|ending| ending.write == write) {
                    self.shared.has_ended(*ending, now.mono);
                }
                WriteResult::Stored
            }
            Err(error @ (StoreError::Fenced { .. } | StoreError::Ended)) => {
                tracing::warn!(call = %self.registration.id(), %error, "let go of a call");
                self.shared.metrics.commits_fenced.inc();
                if error == StoreError::Ended {
                    return self.host.on_stored(write, WriteResult::Ended, now);
                }
                self.registration.lose();
                self.tell_of_end();
                WriteResult::Fenced
            }
            Err(error @ StoreError::TooLong { .. }) => {
                // It will never be shorter. The call goes on from memory; only a takeover would miss the commit.
                tracing::error!(call = %self.registration.id(), %error, "cannot store a snapshot");
                self.shared.metrics.store_failures.inc();
                WriteResult::Stored
            }
            Err(error) => {
                if self.shared.complaints.may_be_logged(now.mono) {
                    tracing::warn!(%error, "writes to the store fail and are tried again");
                }
                self.shared.metrics.store_failures.inc();
                self.keep_ending();
                WriteResult::Failed
            }
        };
        let effects = self.host.on_stored(write, result, now);
        if result == WriteResult::Stored {
            self.tenure.stored(write, &self.host);
        }
        effects
    }

    /// An end that the store does not take is to outlive this process.
    fn keep_ending(&mut self) {
        if self.shared.journal.is_some()
            && let Some(ending) = self.ending.as_mut()
            && let Some((end, is_stored)) = ending.give_to_journal()
        {
            let shared = self.shared.clone();
            tokio::spawn(async move { ended::keep(&shared, &end, &is_stored).await });
        }
    }

    fn claim(&self, seen_epoch: u32) {
        let key = key_of(self.registration.id());
        let claimed = self.shared.store.claim(key, seen_epoch, self.shared.owner.clone());
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let away = Err(StoreError::Away { step: "claim" });
            let result = tokio::time::timeout(STORE_LIMIT, claimed).await.unwrap_or(away);
            // The actor lives until it is told.
            let _ = myself.cast(CallMessage::Claimed(result));
        });
    }

    fn read_claim(&self, result: Result<StoredCall, StoreError>) -> ClaimResult {
        let id = self.registration.id();
        let stored = match result {
            Ok(stored) => stored,
            Err(StoreError::Away { .. }) => return ClaimResult::Away,
            Err(error) => {
                tracing::error!(call = %id, %error, "cannot claim a call");
                return ClaimResult::Lost;
            }
        };
        match codec::decode::<Snapshot>(&stored.snapshot) {
            Ok(snapshot) => {
                tracing::info!(call = %id, epoch = stored.epoch, "restoring a call");
                ClaimResult::Claimed { epoch: stored.epoch, seq: stored.seq, snapshot: Box::new(snapshot) }
            }
            Err(error) => {
                tracing::error!(call = %id, %error, "cannot read a snapshot");
                ClaimResult::Lost
            }
        }
    }

    fn answer_unstored(&mut self) {
        if let Some((invite, flow)) = self.invite.take() {
            let tag = self.registration.id().to_string();
            let status = StatusCode::SERVER_INTERNAL_ERROR;
            let response = ResponseHead::of(&invite, flow.remote).respond(status, Some(&tag)).finish();
            // The caller's own timer covers for a response that cannot be sent.
            let _ = self.shared.send(flow, &response);
        }
    }

    fn observe(&mut self, event: Event) {
        let metrics = &self.shared.metrics;
        let id = self.registration.id();
        match event {
            Event::Resent => metrics.resends.of(Direction::Sent).inc(),
            Event::Ringing { pdd } => metrics.pdd.observe(pdd),
            Event::Answered => metrics.calls_answered.inc(),
            Event::Dropped { why, .. } => tracing::debug!(call = %id, why, "dropped a message"),
            Event::Attempted(gateway) => tracing::debug!(call = %id, %gateway, "attempt"),
            Event::InvitedAgain { gateway, why } => {
                tracing::debug!(call = %id, %gateway, ?why, "INVITE again within the attempt");
            }
            Event::TargetFailed { gateway, flow } => {
                let target = locate::Target { transport: flow.transport, address: flow.remote };
                self.shared.locations.note_failed(target);
                tracing::debug!(call = %id, %gateway, ?flow, "no response, or no way there");
            }
            Event::AttemptFailed { gateway, failure } => {
                tracing::debug!(call = %id, %gateway, ?failure, "attempt failed");
            }
            Event::Refused { gateway, refusal } => {
                metrics.admission_refused.of(crate::labels::refusal(refusal)).inc();
                tracing::debug!(call = %id, %gateway, %refusal, "gateway takes no call");
            }
            Event::Released(release) => {
                let (cause, origin) = crate::labels::release(release);
                metrics.calls_ended.of(cause, origin).inc();
                let now = self.shared.clock.now();
                let outcome = self.host.call().map_or(Outcome::Cancelled, |call| call.outcome(now));
                if let Outcome::Answered { talked, .. } = outcome {
                    metrics.talked.observe(talked);
                }
                self.registration.released(outcome);
                tracing::debug!(call = %id, ?release, "released");
            }
        }
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

/// The branch of the first Via of a message of ours, also of one that was cut short. Via is the first header; the
/// Request-URI before it is a peer's, and what looks like a branch in there is none.
pub(crate) fn branch_of(message: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b";branch=";
    let via = &message[message.iter().position(|byte| *byte == b'\n')?..];
    let start = via.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let branch = &via[start..];
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
        let lured =
            b"BYE sip:1@h;branch=z9hG4bKlure SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKours;rport\r\n";
        assert_eq!(branch_of(lured), Some(&b"z9hG4bKours"[..]));
        assert_eq!(serial_of_request(b"SIP/2.0 200 OK\r\nVia: x;branch=z9hG4bKabc\r\n"), None);
    }
}
