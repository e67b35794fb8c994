//! State: an INVITE is out at one gateway.

use super::State;
use super::attempt::{Attempt, Progress, Wait};
use super::caller::{EarlyDialog, passed_lines};
use super::clearing;
use super::connected::Connected;
use super::context::{Context, reason_lines};
use super::hunting;
use super::identity::Serial;
use super::requests::{Body, reason_line};
use super::snapshot::OpenAttempt;
use crate::cdr::AttemptOutcome;
use crate::failover::{Failure, Verdict, judge};
use bytes::Bytes;
use tandem_sip::dialog::Dialog;
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, StatusCode};

#[derive(Debug)]
pub(super) struct Calling {
    pub(super) attempt: Attempt,
}

impl Calling {
    pub(super) fn new(attempt: Attempt) -> Self {
        Self { attempt }
    }

    pub(super) fn on_response(
        mut self: Box<Self>,
        context: &mut Context,
        serial: Serial,
        response: &Message,
        now: Now,
    ) -> State {
        if serial != self.attempt.current.head.serial {
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
            Progress::Provisional(status) => {
                self.pass_provisional(context, status, response, now);
                if waited_for == Some(Wait::SessionProgress) && self.attempt.waits_for() != waited_for {
                    // Else an heir would end a call that rings by the shorter wait, which has been committed.
                    let phase = OpenAttempt::hunting(context, &self.attempt, now);
                    context.commit(phase, now);
                }
                State::Calling(self)
            }
            Progress::Answered(dialog) => self.connect(context, *dialog, response, now),
            Progress::Failed(failure) => self.failed(context, failure, Some(response), now),
        }
    }

    /// Lets the caller hear a provisional response: its status, and its session description if it has one.
    fn pass_provisional(&self, context: &mut Context, status: StatusCode, response: &Message, now: Now) {
        if !matches!(status.code(), 180..=183) {
            return;
        }
        context.note_ringing(now);
        let body = Body::sdp_of(response);
        let is_new = self.show_early_dialog(context, response, body.is_some());
        let after = is_new.then(|| {
            let phase = OpenAttempt::hunting(context, &self.attempt, now);
            context.commit(phase, now)
        });
        let passed = passed_lines(response, &self.attempt.candidate.pass_headers);
        let ringing = context.caller.respond(&context.names, status, &passed);
        context.ring(Body::close(body.as_ref(), ringing), after);
    }

    /// Turns to the To tag that stands for the response's early dialog. `true` if that has one only now.
    fn show_early_dialog(&self, context: &mut Context, response: &Message, described: bool) -> bool {
        let early = self.early_dialog(response);
        if described {
            return context.caller.describe(&mut context.names, early);
        }
        context.caller.turn_to(&context.names, &early);
        false
    }

    fn early_dialog(&self, response: &Message) -> EarlyDialog {
        let remote_tag = Bytes::copy_from_slice(response.to_tag().unwrap_or_default());
        EarlyDialog { attempt: self.attempt.index, remote_tag }
    }

    fn connect(
        mut self: Box<Self>,
        context: &mut Context,
        dialog: Dialog,
        response: &Message,
        now: Now,
    ) -> State {
        context.close_attempt_record(&self.attempt, AttemptOutcome::Answered, now);
        let early = self.attempt.early.take();
        let own = Body::sdp_of(response);
        let answer = match (own, early) {
            (Some(own), _) => Some(own),
            // Answered in a provisional response, and not again in the 2xx: the caller still needs it there.
            (None, Some((tag, early))) if context.caller.offer.is_some() && tag == dialog.remote_tag() => {
                Some(early)
            }
            (None, Some(_) | None) => None,
        };
        self.show_early_dialog(context, response, answer.is_some());
        let passed = passed_lines(response, &self.attempt.candidate.pass_headers);
        Connected::enter(context, self.attempt, dialog, (answer, passed), now)
    }

    /// The INVITE has failed, with `response` if there is one: the attempt goes on by itself where it can.
    pub(super) fn failed(
        self: Box<Self>,
        context: &mut Context,
        failure: Failure,
        response: Option<&Message>,
        now: Now,
    ) -> State {
        match self.go_on(context, failure, response, now) {
            Ok(calling) => State::Calling(calling),
            Err(calling) => {
                let reason = response.map(reason_lines).unwrap_or_default();
                calling.fail(context, failure, reason, now)
            }
        }
    }

    /// The failover table: what the attempt's failure means for the hunt.
    fn fail(mut self: Box<Self>, context: &mut Context, failure: Failure, reason: Bytes, now: Now) -> State {
        let verdict = judge(
            failure,
            self.attempt.commitment,
            &self.attempt.candidate.parameters,
            &context.profile.parameters,
        );
        context.fail_attempt(&mut self.attempt, failure, reason, now);
        let why = reason_line(crate::failover::status_for_caller(failure), "attempt given up");
        context.leave_behind(self.attempt, &why, now.mono);
        match verdict {
            Verdict::Switch => hunting::next(context, now),
            Verdict::End(stop) => clearing::give_up(context, stop, now),
        }
    }

    /// Leaves the attempt because the call ends; `reason` is the CANCEL's Reason header lines.
    pub(super) fn abandon(mut self, context: &mut Context, reason: &[u8], now: Now) {
        self.attempt.outcome = crate::gateway::Outcome::Cancelled;
        context.close_attempt_record(&self.attempt, AttemptOutcome::Cancelled, now);
        context.leave_behind(self.attempt, reason, now.mono);
    }

    pub(super) fn undeliverable(
        mut self: Box<Self>,
        context: &mut Context,
        serial: Serial,
        now: Now,
    ) -> State {
        if serial != self.attempt.current.head.serial {
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

    pub(super) fn on_timer(mut self: Box<Self>, context: &mut Context, now: Now) -> State {
        match self.attempt.on_timer(&mut context.out, now.mono) {
            Some(failure) => self.failed(context, failure, None, now),
            None => State::Calling(self),
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.attempt.deadline()
    }
}
