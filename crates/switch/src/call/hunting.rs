//! State: asking a gateway for a slot. And the step from one gateway to the next.

use super::State;
use super::action::{Action, Candidate, Event};
use super::attempt::Attempt;
use super::calling::Calling;
use super::clearing;
use super::context::Context;
use super::snapshot::OpenAttempt;
use crate::failover::StopReason;
use crate::gateway::Refusal;
use std::time::Duration;
use tandem_sip::time::{Mono, Now};

/// How long a gateway may take to say whether it has a slot; then the next one is asked.
const ADMISSION_LIMIT: Duration = Duration::from_secs(2);

/// Waiting for a gateway's word.
#[derive(Debug)]
pub(super) struct Admitting {
    candidate: Candidate,
    until: Mono,
}

/// Goes on to the next gateway, or ends the hunt.
pub(super) fn next(context: &mut Context, now: Now) -> State {
    let made = context.record.attempts.len();
    let limit = context.parameters().switch_limit;
    let Some(candidate) = context.hunt.candidates.pop_front() else {
        return clearing::give_up(context, StopReason::RoutesExhausted, now);
    };
    if limit.is_some_and(|limit| made > limit as usize) {
        return clearing::give_up(context, StopReason::SwitchLimit, now);
    }
    context.ask_for_slot(&candidate.gateway, made as u16, now.mono);
    State::Admitting(Admitting { candidate, until: now.mono + ADMISSION_LIMIT })
}

impl Admitting {
    /// Whether it is this gateway that is being asked.
    pub(super) fn asks(&self, gateway: &str) -> bool {
        &*self.candidate.gateway == gateway
    }

    pub(super) fn on_admitted(self, context: &mut Context, result: Result<(), Refusal>, now: Now) -> State {
        match result {
            Ok(()) => self.attempt(context, now),
            Err(refusal) => self.refused(context, refusal, now),
        }
    }

    /// A gateway that takes no call is no attempt, and going on from it no switch.
    fn refused(self, context: &mut Context, refusal: Refusal, now: Now) -> State {
        context.emit(Event::Refused { gateway: self.candidate.gateway, refusal });
        next(context, now)
    }

    fn attempt(self, context: &mut Context, now: Now) -> State {
        let index = context.record.attempts.len() as u16;
        let mut attempt = Attempt::start(&mut context.sender(), index, self.candidate, now.mono);
        context.record_attempt(&attempt, now);
        context.emit(Event::Attempted(attempt.candidate.gateway.clone()));
        let phase = OpenAttempt::hunting(context, &attempt, now);
        attempt.after = Some(context.commit(phase, now));
        let message = attempt.invite(&context.names, &context.caller);
        let after = attempt.after;
        context.out.push(Action::Send { flow: attempt.candidate.flow, message, after });
        State::Calling(Box::new(Calling::new(attempt)))
    }

    pub(super) fn on_timer(self, context: &mut Context, now: Now) -> State {
        if self.until > now.mono {
            return State::Admitting(self);
        }
        self.refused(context, Refusal::NoAnswer, now)
    }

    pub(super) fn deadline(&self) -> Mono {
        self.until
    }
}
