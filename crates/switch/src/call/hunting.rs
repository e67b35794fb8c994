//! State: asking a gateway for a slot. And the step from one gateway to the next.

use super::State;
use super::action::{Action, Branch, Candidate, Event, MAX_TARGETS, Reach, Sought, Target};
use super::again::RESOLVE_LIMIT;
use super::attempt::{Attempt, Way};
use super::calling::Calling;
use super::clearing;
use super::context::Context;
use super::course::Course;
use super::fork::{Begun, Rest};
use crate::failover::{Failure, StopReason};
use crate::gateway::{Outcome, Refusal};
use std::time::Duration;
use tandem_sip::flow::Transport;
use tandem_sip::time::{Mono, Now};

/// How long a gateway may take to say whether it has a slot; then the next one is asked.
const ADMISSION_LIMIT: Duration = Duration::from_secs(2);

/// Waiting for a gateway's word, and for where it is reached if that has to be found out.
#[derive(Debug)]
pub(super) struct Admitting {
    candidate: Candidate,
    /// Where it is reached, if that is known.
    targets: Option<Vec<Target>>,
    admitted: bool,
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
    let index = made as u16;
    if !candidate.has_slots() {
        return call_endpoint(context, index, candidate, now);
    }
    context.ask_for_slot(&candidate.gateway, index, now.mono);
    let targets = match &candidate.reach {
        Reach::At(_) | Reach::Bindings(_) | Reach::Registered(_) => Some(Vec::new()),
        Reach::Named(_) => {
            let of = Sought::Gateway(candidate.gateway.clone());
            context.out.push(Action::Resolve { attempt: index, of });
            None
        }
    };
    State::Admitting(Admitting { candidate, targets, admitted: false, until: now.mono + ADMISSION_LIMIT })
}

impl Admitting {
    /// Whether it is this gateway that is being asked.
    pub(super) fn asks(&self, gateway: &str) -> bool {
        &*self.candidate.gateway == gateway && !self.admitted
    }

    pub(super) fn on_admitted(
        mut self,
        context: &mut Context,
        result: Result<(), Refusal>,
        now: Now,
    ) -> State {
        if let Err(refusal) = result {
            return self.refused(context, refusal, now);
        }
        self.admitted = true;
        self.until = now.mono + RESOLVE_LIMIT;
        self.attempt(context, now)
    }

    pub(super) fn on_resolved(
        mut self,
        context: &mut Context,
        (attempt, (of, mut targets)): (u16, (Sought, Vec<Target>)),
        now: Now,
    ) -> State {
        let is_of_it = matches!(&of, Sought::Gateway(gateway) if *gateway == self.candidate.gateway);
        if usize::from(attempt) != context.record.attempts.len() || self.targets.is_some() || !is_of_it {
            return State::Admitting(self);
        }
        targets.truncate(MAX_TARGETS);
        self.targets = Some(targets);
        self.attempt(context, now)
    }

    /// A gateway that takes no call is no attempt, and going on from it no switch.
    fn refused(self, context: &mut Context, refusal: Refusal, now: Now) -> State {
        context.emit(Event::Refused { gateway: self.candidate.gateway, refusal });
        next(context, now)
    }

    /// Calls the gateway once it has a slot and its place is known.
    fn attempt(self, context: &mut Context, now: Now) -> State {
        if !self.admitted {
            return State::Admitting(self);
        }
        let Some(targets) = self.targets else {
            return State::Admitting(self);
        };
        // A call to a sips: URI goes over TLS or not at all.
        let fits = |target: &Target| !context.caller.secure || target.flow.transport == Transport::Tls;
        let first = match &self.candidate.reach {
            Reach::At(target) => Some((target.clone(), Course::default())).filter(|(target, _)| fits(target)),
            Reach::Named(_) => Course::through(targets.into_iter().filter(fits).collect()),
            Reach::Registered(branches) => Course::through(places(branches, context.caller.secure)),
            Reach::Bindings(_) => None,
        };
        let index = context.record.attempts.len() as u16;
        let Some((target, course)) = first else {
            return unreachable(context, index, self.candidate, now);
        };
        let way = Way { target, course, breadth: context.caller.max_breadth };
        let first = Attempt::start(&mut context.sender(), index, self.candidate, way, now.mono);
        begin(context, Begun { first, others: Vec::new() }, Rest::default(), now)
    }

    /// Gives back what it was given because the call ends.
    pub(super) fn abandon(self, context: &mut Context) {
        if self.admitted {
            let index = context.record.attempts.len() as u16;
            context.return_slot(self.candidate.gateway, index, Outcome::Cancelled);
        }
    }

    pub(super) fn on_timer(mut self, context: &mut Context, now: Now) -> State {
        if self.until > now.mono {
            return State::Admitting(self);
        }
        if !self.admitted {
            return self.refused(context, Refusal::NoAnswer, now);
        }
        self.targets = Some(Vec::new());
        self.attempt(context, now)
    }

    pub(super) fn deadline(&self) -> Mono {
        self.until
    }
}

/// The targets of bindings that are called one after the other; those of a `sips:` URI over TLS or not at all.
fn places(branches: &[Branch], secure: bool) -> Vec<Target> {
    let fitting = branches.iter().flat_map(|branch| {
        let secure = secure || branch.uri.starts_with("sips:");
        branch.targets.iter().filter(move |target| !secure || target.flow.transport == Transport::Tls)
    });
    let mut targets: Vec<Target> = Vec::new();
    for target in fitting {
        // By the same proxy or flow another binding is no other place.
        if targets.len() < MAX_TARGETS && !targets.contains(target) {
            targets.push(target.clone());
        }
    }
    targets
}

/// Calls the places where an endpoint has registered, which is not asked for a slot.
fn call_endpoint(context: &mut Context, index: u16, candidate: Candidate, now: Now) -> State {
    let mut rest = Rest::of(&candidate);
    match rest.begin(context, (index, &candidate), now) {
        Some(begun) => begin(context, begun, rest, now),
        None => unreachable(context, index, candidate, now),
    }
}

/// Begins an attempt.
fn begin(context: &mut Context, begun: Begun, rest: Rest, now: Now) -> State {
    let attempt = &begun.first.0;
    context.record_attempt(attempt, now);
    context.emit(Event::Attempted(attempt.candidate.gateway.clone()));
    Calling::enter(context, begun, rest, now)
}

/// A gateway whose name leads nowhere, or an endpoint that is nowhere, or not under TLS where it has to be: an attempt that the transport could not make.
fn unreachable(context: &mut Context, index: u16, candidate: Candidate, now: Now) -> State {
    let failure = Failure::TransportError;
    context.record_unreachable(&candidate, now);
    context.emit(Event::Attempted(candidate.gateway.clone()));
    context.emit(Event::AttemptFailed { gateway: candidate.gateway.clone(), failure });
    context.hunt.last_failure = Some(failure);
    context.hunt.last_reason = bytes::Bytes::new();
    if candidate.has_slots() {
        context.return_slot(candidate.gateway, index, Outcome::Failed(failure));
    }
    next(context, now)
}
