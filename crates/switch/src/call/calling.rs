//! State: an INVITE is out at one gateway, or several at one endpoint.

use super::State;
use super::action::{Action, Seq};
use super::attempt::{Attempt, Progress, Wait};
use super::caller::EarlyDialog;
use super::clearing;
use super::connected::Connected;
use super::connected::Party;
use super::context::{Context, reason_lines};
use super::early::{Arrival, Exchange};
use super::early_offer::EarlyOffer;
use super::fork::Rest;
use super::hunting;
use super::identity::{Names, Serial};
use super::inside::{Due, Silence};
use super::privacy::lines_for_caller;
use super::requests::{Body, reason_line};
use super::ringing::{Numbered, Provisional};
use super::snapshot::OpenAttempt;
use crate::cdr::AttemptOutcome;
use crate::failover::{Failure, Verdict, judge};
use bytes::Bytes;
use std::time::Duration;
use tandem_sip::dialog::Dialog;
use tandem_sip::reliable::Sending;
use tandem_sip::session_timer::TimerHeaders;
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, StatusCode};

#[derive(Debug)]
pub(super) struct Calling {
    /// The attempt; of one that has several branches, the branch at hand.
    pub(super) attempt: Attempt,
    /// Its other branches that are open.
    pub(super) others: Vec<Attempt>,
    pub(super) rest: Rest,
    /// The 2xx, until the caller has acknowledged the description that it was sent reliably (RFC 3262 §3). It is not
    /// acknowledged as long, so that the gateway repeats it to an heir as well.
    pub(super) held_answer: Option<Box<Message>>,
    /// The offer of one party that the other has been asked.
    pub(super) offer: Option<Box<EarlyOffer>>,
    /// A party that may have taken the other one's offer without the other knowing.
    pub(super) missed: Option<Party>,
}

/// What the caller is to hear of a gateway's provisional response.
#[derive(Debug)]
enum Ringing {
    /// This, as it is.
    Plain {
        response: Provisional,
        /// Whether its description has not been sent up before.
        is_new: bool,
    },
    /// This, reliably.
    Reliable(Numbered),
    /// Nothing until what was sent reliably before is acknowledged.
    Waiting,
    /// Nothing: it says what the one before it does.
    Nothing,
}

impl Ringing {
    /// Whether an heir has to know of it.
    fn is_news(&self) -> bool {
        match self {
            Ringing::Plain { is_new, .. } => *is_new,
            Ringing::Reliable(_) | Ringing::Waiting => true,
            Ringing::Nothing => false,
        }
    }
}

impl Calling {
    pub(super) fn new(attempt: Attempt) -> Self {
        let (others, rest) = (Vec::new(), Rest::default());
        Self { attempt, others, rest, held_answer: None, offer: None, missed: None }
    }

    pub(super) fn on_response(
        mut self: Box<Self>,
        context: &mut Context,
        serial: Serial,
        response: &Message,
        now: Now,
    ) -> State {
        self = match self.on_offer_response(context, (serial, response), now) {
            Ok(state) => return state,
            Err(calling) => calling,
        };
        self.turn_to(|branch| branch.owns(serial));
        if !self.attempt.listens_to(serial) {
            if self.attempt.owns(serial) {
                self.attempt.on_late_response(&mut context.sender(), serial, response, now.mono);
            } else {
                context.on_late_response(serial, response, now.mono);
            }
            return State::Calling(self);
        }
        if response.method() != Some(tandem_sip::Method::Invite) {
            return State::Calling(self);
        }
        let waited_for = self.attempt.waits_for();
        let progress = self.attempt.on_response(&mut context.sender(), response, now.mono);
        if let (Some(record), Some(status)) = (context.attempt_record(&self.attempt), response.status()) {
            record.status = Some(status);
        }
        match progress {
            Progress::None => State::Calling(self),
            Progress::Provisional(status, arrival) => {
                self.pass_provisional(context, (status, arrival), response, now);
                if waited_for == Some(Wait::SessionProgress) && self.attempt.waits_for() != waited_for {
                    // Else an heir would end a call that rings by the shorter wait, which has been committed.
                    self.commit(context, now);
                }
                State::Calling(self)
            }
            Progress::Answered(dialog) => self.answered(context, *dialog, response, now),
            // A fork's, while the answer of another waits.
            Progress::Failed(_) if self.held_answer.is_some() => State::Calling(self),
            Progress::Failed(failure) => self.failed(context, failure, Some(response), now),
        }
    }

    /// Writes the state of the hunt.
    pub(super) fn commit(&self, context: &mut Context, now: Now) -> Seq {
        let phase = OpenAttempt::hunting(context, self, now);
        context.commit(phase, now)
    }

    /// Takes a provisional response: the caller hears it, and the gateway gets its PRACK if it is reliable.
    fn pass_provisional(
        &mut self,
        context: &mut Context,
        (status, arrival): (StatusCode, Arrival),
        response: &Message,
        now: Now,
    ) {
        let heard = matches!(status.code(), 180..=183);
        let ringing = heard.then(|| self.ringing(context, (status, arrival), response, now));
        let is_news = ringing.as_ref().is_some_and(Ringing::is_news);
        let owes_prack = self.attempt.early_dialogs.owes_prack();
        let after = (is_news || owes_prack).then(|| self.commit(context, now));
        match ringing {
            Some(Ringing::Plain { response, .. }) => {
                let ringing = context.caller.respond(&context.names, status, &response.passed);
                context.ring(Body::close(response.body.as_ref(), ringing), after);
            }
            Some(Ringing::Reliable(ringing)) => context.ring_reliably(&ringing, after),
            Some(Ringing::Waiting | Ringing::Nothing) | None => {}
        }
        if owes_prack {
            self.attempt.acknowledge_provisionals(&mut context.sender(), after, now.mono);
        }
    }

    /// What the caller is to hear of a provisional response.
    fn ringing(
        &self,
        context: &mut Context,
        (status, arrival): (StatusCode, Arrival),
        response: &Message,
        now: Now,
    ) -> Ringing {
        context.note_ringing(now);
        let passed = lines_for_caller(response, &self.attempt.candidate, &context.caller);
        let tag = response.to_tag().unwrap_or_default();
        // RFC 3261 §13.2.1: offers are in UPDATE by then, and what a response repeats is the first answer.
        let is_changed = matches!(self.attempt.early_dialogs.exchange(tag), Some(Exchange::Changed(_)));
        let body = Body::sdp_of(response).filter(|_| !is_changed);
        let mut provisional = Provisional { status, body, passed };
        let reliably = context.caller.sends_reliably(&mut provisional, arrival);
        let is_new = self.show_early_dialog(context, response, provisional.body.as_ref());
        if !reliably {
            return Ringing::Plain { response: provisional, is_new };
        }
        let (tag, cseq) = (context.caller.tag, context.caller.cseq);
        match context.caller.ringing.send(tag, cseq, provisional.clone(), now.mono) {
            Sending::Now(rseq) => Ringing::Reliable(Numbered { tag, rseq, response: provisional }),
            Sending::Later => Ringing::Waiting,
            Sending::Dropped => Ringing::Nothing,
        }
    }

    /// Turns to the To tag that stands for the response's early dialog. `true` if that has one only now.
    fn show_early_dialog(&self, context: &mut Context, response: &Message, body: Option<&Body>) -> bool {
        let early = self.early_dialog(response);
        if let Some(description) = body {
            return context.caller.describe(&mut context.names, early, description);
        }
        context.caller.turn_to(&context.names, &early);
        false
    }

    fn early_dialog(&self, response: &Message) -> EarlyDialog {
        let remote_tag = Bytes::copy_from_slice(response.to_tag().unwrap_or_default());
        EarlyDialog { attempt: self.attempt.serial, remote_tag }
    }

    /// Whether a 2xx waits: for the caller's PRACK, or for the answer to an offer of one of the parties.
    fn holds_answer(&self, context: &Context) -> bool {
        context.caller.ringing.holds_answer() || self.offer.is_some()
    }

    /// Connects the call, or waits until the caller has acknowledged what it must have before the answer.
    fn answered(
        mut self: Box<Self>,
        context: &mut Context,
        dialog: Dialog,
        response: &Message,
        now: Now,
    ) -> State {
        match &self.held_answer {
            Some(held) if held.to_tag() == response.to_tag() => State::Calling(self),
            Some(_) => {
                let reason = reason_line(StatusCode::REQUEST_TERMINATED, "another one has answered");
                self.refuse(context, response, &reason, now);
                State::Calling(self)
            }
            None if self.holds_answer(context) => {
                self.answered_elsewhere(context, now);
                context.caller.ringing.skip_waiting();
                self.held_answer = Some(Box::new(response.clone()));
                State::Calling(self)
            }
            None => self.connect(context, dialog, response, now),
        }
    }

    /// Goes on with the 2xx that was held back, if the caller has acknowledged all that it waits for.
    pub(super) fn release_answer(mut self: Box<Self>, context: &mut Context, now: Now) -> State {
        if self.holds_answer(context) {
            return State::Calling(self);
        }
        let Some(response) = self.held_answer.take() else { return State::Calling(self) };
        match self.attempt.dialog(&self.attempt.current.head, &response, context.names.epoch()) {
            Some(dialog) => self.connect(context, dialog, &response, now),
            None => self.fail(context, Failure::UnusableAnswer, Bytes::new(), now),
        }
    }

    fn connect(
        mut self: Box<Self>,
        context: &mut Context,
        dialog: Dialog,
        response: &Message,
        now: Now,
    ) -> State {
        self.answered_elsewhere(context, now);
        context.record_answer(&self.attempt, now);
        self.attempt.drop_foreign_account();
        let is_settled = self.attempt.settled(dialog.remote_tag()).is_some();
        let missed = self.missed.filter(|_| is_settled);
        let early = if is_settled { None } else { self.attempt.early.take().map(|early| *early) };
        let own = Body::sdp_of(response);
        let answer = match (own, early) {
            // The offer came in a reliable response and its answer went in the PRACK, or offers were passed on since.
            (Some(_) | None, _) if is_settled => None,
            (Some(own), _) => Some(own),
            // Answered in a provisional response, and not again in the 2xx: the caller still needs it there.
            (None, Some((tag, early))) if context.caller.offer.is_some() && tag == dialog.remote_tag() => {
                Some(early)
            }
            (None, Some(_) | None) => None,
        };
        self.show_early_dialog(context, response, answer.as_ref());
        let passed = lines_for_caller(response, &self.attempt.candidate, &context.caller);
        let timer = TimerHeaders::of(response).unwrap_or_default();
        let mut state = Connected::enter(context, self.attempt, dialog, (answer, passed, timer), now);
        if let (State::Connected(connected), Some(party)) = (&mut state, missed) {
            connected.miss(party, now.mono);
        }
        state
    }

    /// The INVITE has failed, with `response` if there is one: the attempt goes on by itself where it can.
    pub(super) fn failed(
        mut self: Box<Self>,
        context: &mut Context,
        failure: Failure,
        response: Option<&Message>,
        now: Now,
    ) -> State {
        self.close_offer(context, now.mono);
        match self.go_on(context, failure, response, now) {
            Ok(calling) => State::Calling(calling),
            Err(calling) => {
                calling.hold_gateway(context, failure, response);
                let reason = response.map(reason_lines).unwrap_or_default();
                calling.fail(context, failure, reason, now)
            }
        }
    }

    /// A gateway that answers 503 with Retry-After is left alone that long (RFC 3261 §21.5.4).
    fn hold_gateway(&self, context: &mut Context, failure: Failure, response: Option<&Message>) {
        let is_unavailable = failure == Failure::Status(StatusCode::SERVICE_UNAVAILABLE);
        let asked = response.filter(|_| is_unavailable && !self.attempt.course.foreign);
        if let Some(Ok(retry)) = asked.and_then(Message::retry_after)
            && retry.secs > 0
        {
            let gateway = self.attempt.candidate.gateway.clone();
            context.out.push(Action::Hold { gateway, pause: Duration::from_secs(retry.secs.into()) });
        }
    }

    /// The failover table: what the attempt's failure means for the hunt.
    pub(super) fn fail(
        mut self: Box<Self>,
        context: &mut Context,
        failure: Failure,
        reason: Bytes,
        now: Now,
    ) -> State {
        self.close_offer(context, now.mono);
        let (mut calling, failure, reason) = match self.go_on_elsewhere(context, (failure, reason), now) {
            Ok(state) => return state,
            Err(failed) => failed,
        };
        let verdict = judge(
            failure,
            calling.commitment(),
            &calling.attempt.candidate.parameters,
            &context.profile.parameters,
        );
        context.fail_attempt(&mut calling.attempt, failure, reason, now);
        context.caller.ringing.skip_waiting();
        let why = reason_line(crate::failover::status_for_caller(failure), "attempt given up");
        calling.refuse_held_answer(context, &why, now);
        calling.leave_others(context, &why, now);
        context.leave_behind(calling.attempt, &why, now.mono);
        match verdict {
            Verdict::Switch => hunting::next(context, now),
            Verdict::End(stop) => clearing::give_up(context, stop, now),
        }
    }

    /// Leaves the attempt because the call ends; `reason` is the CANCEL's Reason header lines.
    pub(super) fn abandon(mut self, context: &mut Context, reason: &[u8], now: Now) {
        self.attempt.outcome = crate::gateway::Outcome::Cancelled;
        context.close_attempt_record(&self.attempt, AttemptOutcome::Cancelled, now);
        self.close_offer(context, now.mono);
        self.refuse_held_answer(context, reason, now);
        self.leave_others(context, reason, now);
        context.leave_behind(self.attempt, reason, now.mono);
    }

    fn refuse_held_answer(&mut self, context: &mut Context, reason: &[u8], now: Now) {
        if let Some(response) = self.held_answer.take() {
            self.refuse(context, &response, reason, now);
        }
    }

    /// Whether a request is in the dialog of the answer that waits.
    pub(super) fn is_of_held_answer(&self, names: &Names, request: &Message) -> bool {
        let ours = names.tag(self.attempt.serial);
        self.held_answer.as_ref().is_some_and(|held| {
            let tags = (request.to_tag(), request.from_tag().unwrap_or_default());
            tags == (Some(ours.as_bytes()), held.to_tag().unwrap_or_default())
                && request.call_id() == Some(ours.as_bytes())
        })
    }

    /// Takes a 2xx to the INVITE that counts, and ends its dialog.
    fn refuse(&mut self, context: &mut Context, response: &Message, reason: &[u8], now: Now) {
        let head = self.attempt.current.head.clone();
        self.attempt.refuse_answer(&mut context.sender(), (&head, response), reason, now.mono);
    }

    pub(super) fn undeliverable(
        mut self: Box<Self>,
        context: &mut Context,
        serial: Serial,
        now: Now,
    ) -> State {
        if context.inside.undeliverable(serial) {
            return self.on_offer_due(context, Due::NoAnswer(serial, Silence::Undeliverable), now);
        }
        self.turn_to(|branch| branch.owns(serial));
        if !self.attempt.listens_to(serial) {
            if self.attempt.owns(serial) {
                self.attempt.undeliverable(serial);
            } else {
                context.late_undeliverable(serial);
            }
            return State::Calling(self);
        }
        if !self.attempt.current.transaction.is_open() {
            return State::Calling(self);
        }
        self.attempt.undeliverable(serial);
        self.failed(context, Failure::TransportError, None, now)
    }

    pub(super) fn on_timer(mut self: Box<Self>, context: &mut Context, inside: Vec<Due>, now: Now) -> State {
        let branches: Vec<Serial> = self.branches().map(|branch| branch.serial).collect();
        for branch in branches {
            if !self.turn_to_branch(branch) {
                continue;
            }
            if let Some(failure) = self.attempt.on_timer(&mut context.out, now.mono) {
                match self.failed(context, failure, None, now) {
                    State::Calling(calling) => self = calling,
                    ended => return ended,
                }
            }
        }
        for due in inside {
            match self.on_offer_due(context, due, now) {
                State::Calling(calling) => self = calling,
                ended => return ended,
            }
        }
        self.on_offer_timer(context, now)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let offer = self.offer.as_ref().map(|open| open.until);
        self.branches().filter_map(Attempt::deadline).chain(offer).min()
    }
}
