//! What a call has in every state: its names, the caller's leg, its record, what it has left behind.

use super::CallId;
use super::action::{Action, Candidate, Event, Seq};
use super::attempt::{Attempt, Sender};
use super::caller::CallerLeg;
use super::copy_on_write::CopyOnWrite;
use super::identity::{Names, Serial};
use super::inside::{Inside, Taken};
use super::retry::Authorized;
use super::ringing::Numbered;
use super::snapshot::{Phase, Snapshot};
use crate::cdr::{AttemptOutcome, AttemptRecord, CallRecord};
use crate::failover::Failure;
use crate::gateway::{GatewayName, Holder, Outcome};
use crate::parameters::CallParameters;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now};
use tandem_sip::transaction::{ServerInvite, ServerNonInvite, ServerTimer, T1_64};
use tandem_sip::{Message, Name, ResponseHead, StatusCode, offer};

use super::requests::{ALLOW, response_flow, with_lines};

/// The most answered non-INVITE requests whose copies a call can tell; the oldest is forgotten first.
const MAX_ANSWERED_REQUESTS: usize = 16;

/// The most attempts of one call that still wait for their final response.
pub(super) const MAX_LEFT_ATTEMPTS: usize = 32;

/// What a call keeps of its mapping gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Profile {
    pub(super) parameters: CallParameters,
    pub(super) cause_map: BTreeMap<u16, u16>,
}

/// The hunt for a gateway that answers.
#[derive(Debug, Default)]
pub(super) struct Hunt {
    /// Gateways not tried yet, in order.
    pub(super) candidates: VecDeque<Candidate>,
    /// How the last attempt failed.
    pub(super) last_failure: Option<Failure>,
    /// The Reason header lines of its final response.
    pub(super) last_reason: Bytes,
}

/// A slot that was asked for. The call stays until it is known whether there is something to give back.
#[derive(Debug)]
struct Asked {
    gateway: GatewayName,
    attempt: u16,
    /// Nothing is heard of it any more.
    until: Mono,
}

pub(super) struct Context {
    pub(super) id: CallId,
    pub(super) names: Names,
    pub(super) profile: CopyOnWrite<Profile>,
    pub(super) caller: CopyOnWrite<CallerLeg>,
    /// The caller's INVITE.
    pub(super) transaction: ServerInvite,
    pub(super) record: CopyOnWrite<CallRecord>,
    pub(super) hunt: Hunt,
    /// Attempts that are no longer the call's.
    pub(super) left: Vec<Attempt>,
    /// The transactions inside the dialogs.
    pub(super) inside: Inside,
    /// Requests inside the dialogs that were answered.
    answered: VecDeque<ServerNonInvite>,
    /// Slots that were asked for.
    asked: Vec<Asked>,
    /// The longest conversation that the look-up allowed.
    pub(super) max_duration: Option<Duration>,
    /// Whether it goes to an emergency service, and no limit on its length holds.
    pub(super) emergency: bool,
    /// When a call that is not answered is ended (`SS_SETUP_TIMEOUT`).
    pub(super) setup_deadline: Option<Mono>,
    /// The commit that the last response to the caller's INVITE follows, also when it is sent again.
    pub(super) response_after: Option<Seq>,
    seq: Seq,
    pub(super) out: Vec<Action>,
}

impl Context {
    pub(super) fn new(
        (id, names): (CallId, Names),
        profile: CopyOnWrite<Profile>,
        caller: CopyOnWrite<CallerLeg>,
        transaction: ServerInvite,
        record: CopyOnWrite<CallRecord>,
    ) -> Self {
        Self {
            id,
            names,
            profile,
            caller,
            transaction,
            record,
            hunt: Hunt::default(),
            left: Vec::new(),
            inside: Inside::default(),
            answered: VecDeque::new(),
            asked: Vec::new(),
            max_duration: None,
            emergency: false,
            setup_deadline: None,
            response_after: None,
            seq: 0,
            out: Vec::new(),
        }
    }

    pub(super) fn parameters(&self) -> &CallParameters {
        &self.profile.parameters
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.out.push(Action::Emit(event));
    }

    /// What an attempt needs to send something.
    pub(super) fn sender(&mut self) -> Sender<'_> {
        Sender {
            out: &mut self.out,
            names: &mut self.names,
            caller: &self.caller,
            parameters: &self.profile.parameters,
        }
    }

    /// The number of the next commit.
    pub(super) fn next_seq(&mut self) -> Seq {
        self.seq += 1;
        self.seq
    }

    /// Goes on behind the commits of an earlier owner.
    pub(super) fn resume_seq(&mut self, seq: Seq) {
        self.seq = seq;
    }

    /// Writes the call's state.
    pub(super) fn commit(&mut self, phase: Phase, now: Now) -> Seq {
        let seq = self.next_seq();
        let snapshot = Box::new(Snapshot::take(self, seq, phase, now));
        self.out.push(Action::Commit { seq, snapshot });
        seq
    }

    /// Takes note that the caller hears it ring.
    pub(super) fn note_ringing(&mut self, now: Now) {
        if self.record.ringing_at.is_none() {
            self.record.ringing_at = Some(now.wall);
            let pdd = now.wall.since(self.record.started_at);
            self.emit(Event::Ringing { pdd });
        }
    }

    /// Sends a provisional response to the caller, after commit `after`, and never before an earlier one.
    pub(super) fn ring(&mut self, response: Bytes, after: Option<Seq>) {
        self.response_after = after.or(self.response_after);
        let after = self.response_after;
        self.caller.send_provisional(&mut self.out, &mut self.transaction, response, after);
    }

    /// Sends the caller a provisional response reliably, after commit `after`.
    pub(super) fn ring_reliably(&mut self, ringing: &Numbered, after: Option<Seq>) {
        let response = self.caller.respond_reliably(&self.names, ringing);
        self.ring(response, after);
    }

    /// Sends again what the caller may not have acknowledged, as an earlier owner of the call did.
    pub(super) fn resume_ringing(&mut self, now: Mono) {
        for ringing in self.caller.ringing.resume(now) {
            self.ring_reliably(&ringing, None);
        }
    }

    /// Resends what the caller has not acknowledged. `true` if a PRACK has been waited for long enough.
    pub(super) fn on_ringing_timer(&mut self, now: Mono) -> bool {
        let due = self.caller.ringing.on_timer(now);
        for ringing in &due.again {
            self.ring_reliably(ringing, None);
            self.emit(Event::Resent);
        }
        due.given_up
    }

    /// Answers a request inside a dialog, and its copies.
    pub(super) fn reply(&mut self, request: &Message, source: Flow, status: StatusCode) {
        self.reply_after(request, source, status, None);
    }

    fn reply_after(&mut self, request: &Message, source: Flow, status: StatusCode, after: Option<Seq>) {
        let Ok(via) = request.top_via() else { return };
        let flow = response_flow(&via, source);
        let mut response = ResponseHead::of(request, source.remote)
            .respond(status, Some(&self.caller.tag_text(&self.names)));
        if matches!(status.code(), 200 | 405 | 501) {
            response = response.header(Name::Allow, ALLOW);
        }
        let response = response.finish();
        self.out.push(Action::Send { flow, message: response.clone(), after });
    }

    /// Answers a request inside a dialog as [`reply`](Self::reply) does, and its copies alike until timer J.
    pub(super) fn answer(&mut self, request: &Message, source: Flow, status: StatusCode, now: Mono) {
        self.answer_after(request, source, status, None, now);
    }

    /// Answers a request as [`answer`](Self::answer) does, after a commit.
    pub(super) fn answer_after(
        &mut self,
        request: &Message,
        source: Flow,
        status: StatusCode,
        after: Option<Seq>,
        now: Mono,
    ) {
        self.reply_after(request, source, status, after);
        let Some(Action::Send { message, .. }) = self.out.last() else {
            return;
        };
        let message = message.clone();
        self.remember_answer(request, source, message, now);
    }

    /// Sends the final response to a request inside a dialog, and again to its copies.
    pub(super) fn finish(&mut self, taken: &Taken, response: (StatusCode, Bytes), now: Mono) {
        self.finish_after(taken, response, None, now);
    }

    /// Does so after a commit.
    pub(super) fn finish_after(
        &mut self,
        taken: &Taken,
        (status, message): (StatusCode, Bytes),
        after: Option<Seq>,
        now: Mono,
    ) {
        if taken.is_invite() {
            let response = (status.is_success(), message.clone());
            if self.inside.finish(&mut self.out, taken, response, now) {
                return;
            }
        }
        self.out.push(Action::Send { flow: taken.flow(), message: message.clone(), after });
        self.remember_answer(&taken.request, taken.source(), message, now);
    }

    /// Refuses a request inside a dialog. `lines` are header lines that the status asks for.
    pub(super) fn refuse(&mut self, taken: &Taken, status: StatusCode, lines: &[u8], now: Mono) {
        if taken.is_invite() {
            let resend = self.parameters().resend;
            self.inside.take(taken, resend);
        }
        let response = with_lines(taken.respond(status), lines).finish();
        self.finish(taken, (status, response), now);
    }

    /// Refuses a method that is not taken here.
    pub(super) fn refuse_method(&mut self, taken: &Taken, now: Mono) {
        let line = format!("Allow: {ALLOW}\r\n");
        self.refuse(taken, StatusCode::METHOD_NOT_ALLOWED, line.as_bytes(), now);
    }

    /// Refuses a request that came before an earlier one of the same party was done (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(super) fn refuse_for_now(&mut self, taken: &Taken, now: Mono) {
        let serial = self.names.next();
        let wait = offer::retry_after(self.names.draw(serial));
        let line = format!("Retry-After: {wait}\r\n");
        self.refuse(taken, StatusCode::SERVER_INTERNAL_ERROR, line.as_bytes(), now);
    }

    fn remember_answer(&mut self, request: &Message, source: Flow, message: Bytes, now: Mono) {
        if self.answered.len() >= MAX_ANSWERED_REQUESTS {
            self.answered.pop_front();
        }
        let reliable = source.transport.is_reliable();
        let transaction = ServerNonInvite::completed(transaction_of(request), message, reliable, now);
        self.answered.push_back(transaction);
    }

    /// Answers a copy of a request that was answered. `false` if it is none.
    pub(super) fn answer_again(&mut self, request: &Message, source: Flow) -> bool {
        let Ok(via) = request.top_via() else { return false };
        let key = transaction_of(request);
        let Some(message) = self.answered.iter().find_map(|transaction| transaction.answer_to(&key)) else {
            return false;
        };
        let flow = response_flow(&via, source);
        self.out.push(Action::Send { flow, message, after: None });
        true
    }

    /// Asks a gateway for a slot.
    pub(super) fn ask_for_slot(&mut self, gateway: &GatewayName, attempt: u16, now: Mono) {
        self.out.push(Action::Admit { gateway: gateway.clone(), holder: Holder { call: self.id, attempt } });
        self.asked.push(Asked { gateway: gateway.clone(), attempt, until: now + T1_64 });
    }

    /// Takes note of a gateway's answer.
    pub(super) fn note_admission(&mut self, gateway: &str, attempt: u16) {
        self.asked.retain(|asked| &*asked.gateway != gateway || asked.attempt != attempt);
        if self.asked.is_empty() {
            // A conversation keeps no room for it.
            self.asked = Vec::new();
        }
    }

    /// Gives back a slot that no INVITE was sent for.
    pub(super) fn return_slot(&mut self, gateway: GatewayName, attempt: u16, outcome: Outcome) {
        let holder = Holder { call: self.id, attempt };
        self.out.push(Action::ReleaseSlot { gateway, holder, outcome, after: None });
    }

    /// Begins the record of an attempt.
    pub(super) fn record_attempt(&mut self, attempt: &Attempt, now: Now) {
        self.record.callee_call_id = Some(self.names.tag(attempt.serial));
        // Most calls make one; a vector's own first step is four.
        self.record.attempts.reserve_exact(1);
        self.record.attempts.push(begun(&attempt.candidate, now));
    }

    /// Writes the record of an attempt at a gateway that is nowhere to be found.
    pub(super) fn record_unreachable(&mut self, candidate: &Candidate, now: Now) {
        self.record.attempts.push(AttemptRecord {
            ended_at: Some(now.wall),
            outcome: AttemptOutcome::Failed(Failure::TransportError),
            ..begun(candidate, now)
        });
    }

    /// The record of an attempt.
    pub(super) fn attempt_record(&mut self, attempt: &Attempt) -> Option<&mut AttemptRecord> {
        self.record.attempts.get_mut(usize::from(attempt.index))
    }

    /// Ends the record of an attempt.
    pub(super) fn close_attempt_record(&mut self, attempt: &Attempt, outcome: AttemptOutcome, now: Now) {
        if let Some(record) = self.attempt_record(attempt) {
            record.ended_at = Some(now.wall);
            record.pdd = record.pdd.into_iter().chain(attempt.pdd).min();
            record.outcome = outcome;
        }
    }

    /// Ends the record of an attempt that was answered, by the branch that was.
    pub(super) fn record_answer(&mut self, attempt: &Attempt, now: Now) {
        self.close_attempt_record(attempt, AttemptOutcome::Answered, now);
        self.record.callee_call_id = Some(self.names.tag(attempt.serial));
        if let Some(record) = self.attempt_record(attempt) {
            let binding = attempt.candidate.binding_at(&attempt.current.head.target);
            record.contact = binding.map(|binding| binding.uri.clone());
        }
    }

    /// Notes that an attempt failed, for its record, its gateway and the caller's final response.
    pub(super) fn fail_attempt(&mut self, attempt: &mut Attempt, failure: Failure, reason: Bytes, now: Now) {
        attempt.outcome = Outcome::Failed(failure);
        self.close_attempt_record(attempt, AttemptOutcome::Failed(failure), now);
        self.emit(Event::AttemptFailed { gateway: attempt.candidate.gateway.clone(), failure });
        self.hunt.last_failure = Some(failure);
        self.hunt.last_reason = reason;
    }

    /// Keeps an attempt until its final response, or gives its slot back at once if that has come.
    pub(super) fn leave_behind(&mut self, mut attempt: Attempt, reason: &[u8], now: Mono) {
        attempt.leave(&mut self.sender(), reason, now);
        self.settle(attempt);
        if self.left.len() > MAX_LEFT_ATTEMPTS {
            let oldest = self.left.remove(0);
            if oldest.holds_slot {
                self.free_slot(&oldest);
            }
            self.emit(Event::Dropped {
                source: None,
                why: "too many attempts wait for their final response",
            });
        }
    }

    /// Puts an attempt that was left back in its place, as far as something is left of it.
    fn settle(&mut self, mut attempt: Attempt) {
        if attempt.slot_is_free() && attempt.holds_slot {
            self.free_slot(&attempt);
            attempt.holds_slot = false;
        }
        if !attempt.is_over() {
            self.left.push(attempt);
        }
    }

    fn free_slot(&mut self, attempt: &Attempt) {
        self.out.push(attempt.release_slot(self.id, None));
    }

    /// Takes a response to an attempt that was left. `false` if it is none.
    pub(super) fn on_late_response(&mut self, serial: Serial, response: &Message, now: Mono) -> bool {
        let Some(place) = self.left.iter().position(|attempt| attempt.owns(serial)) else {
            return false;
        };
        let mut attempt = self.left.swap_remove(place);
        attempt.on_late_response(&mut self.sender(), serial, response, now);
        self.settle(attempt);
        true
    }

    /// Takes credentials that a left attempt asked for.
    pub(super) fn on_late_authorized(&mut self, authorized: &Authorized, now: Mono) {
        let Some(place) = self.left.iter().position(|attempt| attempt.awaits(authorized.0)) else { return };
        let mut attempt = self.left.swap_remove(place);
        attempt.on_authorized(&mut self.sender(), authorized, now);
        self.settle(attempt);
    }

    /// The transport could not deliver what a left attempt sent. `false` if it was none's.
    pub(super) fn late_undeliverable(&mut self, serial: Serial) -> bool {
        let Some(place) = self.left.iter().position(|attempt| attempt.owns(serial)) else {
            return false;
        };
        let mut attempt = self.left.swap_remove(place);
        attempt.undeliverable(serial);
        self.settle(attempt);
        true
    }

    /// Does what is due in what was left behind.
    pub(super) fn on_late_timer(&mut self, now: Mono) {
        self.answered.retain(|transaction| transaction.deadline() > now);
        self.asked.retain(|asked| asked.until > now);
        let due = |attempt: &Attempt| attempt.deadline().is_some_and(|at| at <= now);
        while let Some(place) = self.left.iter().position(due) {
            let mut attempt = self.left.swap_remove(place);
            attempt.on_late_timer(&mut self.out, now);
            self.settle(attempt);
        }
    }

    /// Resends the final response. `true` if the ACK of a 2xx has been waited for long enough.
    pub(super) fn on_caller_timer(&mut self, now: Mono) -> bool {
        match self.transaction.on_timer(now) {
            ServerTimer::Resend(message) => {
                let (flow, after) = (self.caller.flow, self.response_after);
                self.out.push(Action::Send { flow, message, after });
                self.emit(Event::Resent);
                false
            }
            ServerTimer::NoAck => true,
            ServerTimer::Idle | ServerTimer::Terminated => false,
        }
    }

    /// Whether nothing that was left behind can be heard of any more.
    pub(super) fn is_quiet(&self) -> bool {
        let answered_invite = self.transaction.is_terminated();
        let outside = self.left.is_empty() && self.answered.is_empty() && self.asked.is_empty();
        answered_invite && outside && self.inside.is_quiet()
    }

    /// Whether all that is left is to take copies of what has been answered.
    pub(super) fn only_absorbs(&self) -> bool {
        let settled = self.transaction.only_absorbs() && self.left.iter().all(Attempt::only_absorbs);
        let waits = [self.setup_deadline, self.caller.ringing.deadline(), self.inside.deadline()];
        settled && self.asked.is_empty() && waits.iter().all(Option::is_none)
    }

    /// When the call wants to be woken for what it has in every state.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.deadlines().min()
    }

    /// When the last of what it has in every state is over.
    pub(super) fn last_deadline(&self) -> Option<Mono> {
        self.deadlines().max()
    }

    fn deadlines(&self) -> impl Iterator<Item = Mono> {
        let left = self.left.iter().filter_map(Attempt::deadline);
        let answered = self.answered.iter().map(ServerNonInvite::deadline);
        let asked = self.asked.iter().map(|asked| asked.until);
        let legs = [self.transaction.deadline(), self.caller.ringing.deadline(), self.inside.deadline()];
        legs.into_iter().chain([self.setup_deadline]).flatten().chain(left).chain(answered).chain(asked)
    }
}

fn begun(candidate: &Candidate, now: Now) -> AttemptRecord {
    AttemptRecord {
        gateway: candidate.gateway.clone(),
        called: candidate.called.clone(),
        contact: None,
        started_at: now.wall,
        ended_at: None,
        pdd: None,
        status: None,
        outcome: AttemptOutcome::Open,
    }
}

/// What a request and its copies have in common, and no other request has (RFC 3261 §17.2.3). The branch alone says
/// nothing where the peer is of RFC 2543.
pub(super) fn transaction_of(request: &Message) -> Bytes {
    let (host, branch) = request
        .top_via()
        .map_or_else(|_| Default::default(), |via| (via.host, via.branch().unwrap_or_default()));
    let call_id = request.call_id().unwrap_or_default();
    let cseq = request.first(Name::CSeq).unwrap_or_default();
    Bytes::from([host, branch, call_id, cseq].join(&b' '))
}

/// The Reason header lines of a message, as they go on to the other party.
pub(super) fn reason_lines(message: &Message) -> Bytes {
    super::reasons::paired(super::caller::known_lines(message, &[Name::Reason]))
}
