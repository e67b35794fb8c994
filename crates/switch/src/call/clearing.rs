//! State: ended, and released. What is left is to tell both sides and to take what still arrives of them.

use super::State;
use super::action::{Action, Event, Seq};
use super::attempt::Attempt;
use super::connected::{Acknowledgement, Connected, Party};
use super::context::Context;
use super::identity::Serial;
use super::reasons::paired;
use super::requests::{Outstanding, bye, reason_line};
use super::retry::Authorized;
use super::snapshot::Phase;
use crate::cdr::{EndReason, Origin, Release};
use crate::failover::{Failure, StopReason, status_for_caller};
use crate::gateway::Outcome;
use bytes::Bytes;
use tandem_sip::dialog::Dialog;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now};
use tandem_sip::transaction::Acknowledged;
use tandem_sip::{Message, Method, StatusCode};

/// Why and by whom a conversation is ended.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) origin: Origin,
    pub(super) cause: EndReason,
    /// The party whose BYE ended it.
    pub(super) hung_up: Option<Party>,
    /// Reason header lines for whoever is sent a BYE.
    pub(super) reason: Bytes,
}

/// What is left of a call.
#[derive(Debug, Default)]
pub(super) struct Clearing {
    byes: Vec<Outstanding>,
    /// Reason header lines of the BYE that waits for the caller's ACK (RFC 3261 §15).
    bye_after_ack: Option<Bytes>,
    answered: Option<Box<Answered>>,
}

/// The callee's side of a call that was answered.
#[derive(Debug)]
struct Answered {
    attempt: Attempt,
    callee: Dialog,
    ack: Bytes,
    /// The commit that the ACK follows, however often it is sent.
    after: Option<Seq>,
}

/// Ends the hunt: the caller gets the last attempt's status, or what stands for it.
pub(super) fn give_up(context: &mut Context, stop: StopReason, now: Now) -> State {
    let failure = context.hunt.last_failure;
    let status = failure.map_or(StatusCode::SERVICE_UNAVAILABLE, status_for_caller);
    let mapped = context
        .profile
        .cause_map
        .get(&status.code())
        .copied()
        .and_then(StatusCode::new)
        .filter(|mapped| mapped.is_failure());
    let timed_out = matches!(failure, Some(Failure::RingingTimeout | Failure::SessionProgressTimeout));
    let (origin, cause) = match stop {
        StopReason::Busy => (Origin::Callee, EndReason::Busy),
        StopReason::MediaCommitted if timed_out => (Origin::Server, EndReason::NoAnswer),
        StopReason::StopCode | StopReason::MediaCommitted => (Origin::Callee, EndReason::Rejected),
        StopReason::InviteTimeout | StopReason::NoAnswer => (Origin::Server, EndReason::NoAnswer),
        StopReason::SwitchLimit => (Origin::Server, EndReason::SwitchLimit),
        StopReason::RoutesExhausted => (Origin::Server, EndReason::RoutesExhausted),
    };
    let reason = match failure {
        _ if !context.hunt.last_reason.is_empty() => context.hunt.last_reason.clone(),
        Some(Failure::Status(status)) => paired(reason_line(status, status.reason())),
        Some(_) | None => reason_line(status, stop.as_str()),
    };
    let release = Release { origin, cause, stop: Some(stop), status: mapped.unwrap_or(status) };
    reject(context, release, &reason, now)
}

/// Sends the caller a final response other than 2xx, and releases the call.
pub(super) fn reject(context: &mut Context, release: Release, reason: &[u8], now: Now) -> State {
    let after = Some(context.commit(Phase::Clearing(release), now));
    let response = context.caller.respond(&context.names, release.status, reason).finish();
    let response = (release.status, response);
    context.response_after = after;
    context.caller.send_final(&mut context.out, &mut context.transaction, response, after, now.mono);
    finish(context, release, now);
    State::Clearing(Box::default())
}

/// Writes the records and forgets the call's state, exactly once.
fn finish(context: &mut Context, release: Release, now: Now) -> Seq {
    context.setup_deadline = None;
    let records = context.record.to_json(release, now.wall, context.parameters().record_nonconnect);
    let seq = context.next_seq();
    context.out.push(Action::End { seq, records });
    context.emit(Event::Released(release));
    seq
}

impl Clearing {
    pub(super) fn enter_from_connected(
        context: &mut Context,
        connected: Connected,
        ending: Ending,
        now: Now,
    ) -> State {
        let mut connected = connected;
        connected.close(context, ending.hung_up, now);
        let Connected { mut attempt, mut callee, acknowledgement, .. } = connected;
        let mut clearing = Self::default();
        let (ack, after) = match acknowledgement {
            Acknowledgement::Sent { ack, after, .. } => (ack, after),
            Acknowledgement::AwaitsAnswer { refusal } => {
                (attempt.acknowledge(&mut context.sender(), &callee, Some(&refusal)), None)
            }
        };
        if ending.hung_up != Some(Party::Callee) {
            let resend = context.parameters().resend;
            let printed = (&**attempt.local(), &ending.reason[..]);
            // Not before the ACK.
            let out = (&mut context.out, attempt.account());
            let bye = bye(out, &mut context.names, &mut callee, printed, after, resend, now.mono);
            clearing.byes.push(bye);
        }
        if ending.hung_up == Some(Party::Caller) {
            // Whoever hangs up has stopped waiting for the 2xx.
            context.transaction.on_ack(now.mono);
        } else if context.transaction.awaits_ack_of_success() {
            clearing.bye_after_ack = Some(ending.reason.clone());
        } else {
            clearing.bye_caller(context, &ending.reason, now.mono);
        }
        let talked = context.record.answered_at.map(|at| now.wall.since(at)).unwrap_or_default();
        attempt.outcome = Outcome::Answered { pdd: attempt.pdd.unwrap_or_default(), talked };
        let release =
            Release { origin: ending.origin, cause: ending.cause, stop: None, status: StatusCode::OK };
        let seq = finish(context, release, now);
        if std::mem::take(&mut attempt.holds_slot) {
            context.out.push(attempt.release_slot(context.id, Some(seq)));
        }
        clearing.answered = Some(Box::new(Answered { attempt, callee, ack, after }));
        State::Clearing(Box::new(clearing))
    }

    fn bye_caller(&mut self, context: &mut Context, reason: &[u8], now: Mono) {
        let resend = context.profile.parameters.resend;
        let caller = &mut *context.caller;
        let (dialog, local) = (&mut caller.dialog, &*caller.local);
        let out = (&mut context.out, None);
        self.byes.push(bye(out, &mut context.names, dialog, (local, reason), None, resend, now));
    }

    pub(super) fn on_ack(&mut self, context: &mut Context, now: Now) {
        if context.transaction.on_ack(now.mono) == Acknowledged::Success {
            self.on_caller_ready(context, now);
        }
    }

    /// The caller has its 2xx, or will never say so: now it may be sent BYE.
    fn on_caller_ready(&mut self, context: &mut Context, now: Now) {
        if let Some(reason) = self.bye_after_ack.take() {
            self.bye_caller(context, &reason, now.mono);
        }
    }

    pub(super) fn on_response(
        &mut self,
        context: &mut Context,
        serial: Serial,
        response: &Message,
        now: Now,
    ) {
        if let Some(bye) = self.byes.iter_mut().find(|bye| bye.serial == serial) {
            bye.hear((&mut context.out, &mut context.names), serial, response, now.mono);
            return;
        }
        let Some(answered) = self.answered.as_mut().filter(|answered| answered.attempt.owns(serial)) else {
            if !context.on_inside_response_after_the_end(serial, response, now.mono) {
                context.on_late_response(serial, response, now.mono);
            }
            return;
        };
        let of_invite =
            response.method() == Some(Method::Invite) && serial == answered.attempt.current.head.serial;
        if of_invite && response.to_tag().unwrap_or_default() == answered.callee.remote_tag() {
            let is_over = answered.attempt.current.transaction.is_terminated();
            if response.status().is_some_and(StatusCode::is_success) && !is_over {
                let (flow, after) = (answered.callee.flow(), answered.after);
                context.out.push(Action::Send { flow, message: answered.ack.clone(), after });
            }
        } else {
            answered.attempt.on_late_response(&mut context.sender(), serial, response, now.mono);
        }
    }

    /// Takes credentials that were asked for.
    pub(super) fn on_authorized(&mut self, context: &mut Context, authorized: &Authorized, now: Now) {
        let Some(answered) = &mut self.answered else {
            return context.on_late_authorized(authorized, now.mono);
        };
        match self.byes.iter_mut().find(|bye| bye.awaits(authorized.0)) {
            Some(bye) => {
                let resend = context.profile.parameters.resend;
                let asks = (&mut context.out, &context.names);
                bye.on_authorized(asks, &mut answered.callee, authorized.1.as_ref(), resend, now.mono);
            }
            None if answered.attempt.on_authorized(&mut context.sender(), authorized, now.mono) => {}
            None => context.on_late_authorized(authorized, now.mono),
        }
    }

    /// A request inside a dialog that has ended: BYE crossing ours is fine, all else comes too late.
    pub(super) fn on_request(&mut self, context: &mut Context, request: &Message, source: Flow, now: Now) {
        let of_caller = context.caller.dialog.owns(request);
        let of_callee = self.answered.as_ref().is_some_and(|answered| answered.callee.owns(request));
        let is_bye = request.method() == Some(Method::Bye);
        if is_bye && of_caller {
            self.bye_after_ack = None;
            if context.transaction.awaits_ack_of_success() {
                context.transaction.on_ack(now.mono);
            }
        }
        let status = if is_bye && (of_caller || of_callee) {
            StatusCode::OK
        } else {
            StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST
        };
        context.answer(request, source, status, now.mono);
    }

    pub(super) fn undeliverable(&mut self, context: &mut Context, serial: Serial) {
        match self.byes.iter_mut().find(|bye| bye.serial == serial) {
            Some(bye) => bye.undeliverable(),
            None if context.inside.undeliverable(serial) => {}
            None => {
                context.late_undeliverable(serial);
            }
        }
    }

    pub(super) fn on_timer(&mut self, context: &mut Context, unacknowledged: bool, now: Now) {
        if unacknowledged {
            self.on_caller_ready(context, now);
        }
        for bye in &mut self.byes {
            bye.on_timer(&mut context.out, now.mono);
        }
        self.byes.retain(Outstanding::is_open);
        if let Some(answered) = &mut self.answered {
            answered.attempt.on_late_timer(&mut context.out, now.mono);
            // A BYE may still cross one of ours (RFC 5407 §3.2.1).
            if answered.attempt.is_over() && self.byes.is_empty() {
                self.answered = None;
            }
        }
    }

    /// Whether nothing of the call can arrive any more.
    pub(super) fn is_over(&self, context: &Context) -> bool {
        let told = self.bye_after_ack.is_none() && !self.byes.iter().any(Outstanding::is_open);
        told && self.answered.as_ref().is_none_or(|answered| answered.attempt.is_over()) && context.is_quiet()
    }

    /// When the call wants to be woken. What only absorbs copies asks for nothing meanwhile: it all goes at once.
    pub(super) fn deadline(&self, context: &Context) -> Option<Mono> {
        let answered = self.answered.as_ref().and_then(|answered| answered.attempt.deadline());
        if self.only_absorbs(context) {
            return context.last_deadline().into_iter().chain(answered).max();
        }
        self.byes.iter().filter_map(Outstanding::deadline).chain(answered).chain(context.deadline()).min()
    }

    fn only_absorbs(&self, context: &Context) -> bool {
        let told = self.bye_after_ack.is_none() && !self.byes.iter().any(Outstanding::is_open);
        let settled = self.answered.as_ref().is_none_or(|answered| answered.attempt.only_absorbs());
        told && settled && context.only_absorbs()
    }
}
