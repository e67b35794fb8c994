//! Forking (RFC 3261 §16.6, §16.7): an attempt at an endpoint has a branch for each place where it has registered. Those
//! of equal preference are called at once, the others when all of these have failed. The first answer wins.
//!
//! To the failover table it is one attempt, which fails once no branch is left, with the best of their responses.

use super::State;
use super::action::{Action, Branch, Candidate, MAX_TARGETS, Reach};
use super::attempt::{Attempt, Way};
use super::calling::Calling;
use super::context::Context;
use super::course::Course;
use super::identity::Serial;
use super::requests::reason_line;
use crate::failover::{Commitment, Failure, status_for_caller};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::VecDeque;
use tandem_sip::StatusCode;
use tandem_sip::flow::Transport;
use tandem_sip::time::Now;

/// The most places of one endpoint that an attempt calls; those of the least preference are left out.
pub const MAX_BRANCHES: usize = 10;

/// Max-Breadth of a call whose caller does not say (RFC 5393 §5.3.3).
const MAX_BREADTH: u32 = 60;

/// What an attempt has besides its open branches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rest {
    /// Places that were not called yet, best first.
    waiting: VecDeque<Branch>,
    /// The best failure of the branches that are over, with the Reason header lines of its response.
    best: Option<(Failure, Bytes)>,
    /// What one of these bound the call by.
    commitment: Option<Commitment>,
}

/// Branches whose INVITEs go out once the call's state is committed.
pub(super) struct Begun {
    pub(super) first: (Attempt, Bytes),
    pub(super) others: Vec<(Attempt, Bytes)>,
}

impl Rest {
    /// All that the candidate's reach names beyond its one place.
    pub(super) fn of(candidate: &Candidate) -> Self {
        let Reach::Bindings(bindings) = &candidate.reach else { return Self::default() };
        let mut branches = bindings.branches.clone();
        branches.sort_by_key(|branch| Reverse(branch.q));
        branches.truncate(MAX_BRANCHES);
        Self { waiting: branches.into(), ..Self::default() }
    }

    fn note(&mut self, failure: Failure, reason: Bytes) {
        if self.best.as_ref().is_none_or(|(best, _)| rank(failure) < rank(*best)) {
            self.best = Some((failure, reason));
        }
    }

    /// Begins the branches of the best places that are left; `None` if no place is.
    pub(super) fn begin(
        &mut self,
        context: &mut Context,
        (index, candidate): (u16, &Candidate),
        now: Now,
    ) -> Option<Begun> {
        loop {
            let q = self.waiting.front()?.q;
            let breadth = context.caller.max_breadth.unwrap_or(MAX_BREADTH).max(1);
            let alike = self.waiting.iter().take_while(|branch| branch.q == q).count();
            // Those that the breadth is not enough for come next.
            let at_once = alike.min(breadth as usize);
            let share = breadth / at_once as u32;
            let mut begun = Vec::new();
            for branch in self.waiting.drain(..at_once).collect::<Vec<_>>() {
                match start(context, (index, candidate), (branch, share), now) {
                    Some(branch) => begun.push(branch),
                    None => self.note(Failure::TransportError, Bytes::new()),
                }
            }
            let mut begun = begun.into_iter();
            if let Some(first) = begun.next() {
                return Some(Begun { first, others: begun.collect() });
            }
        }
    }
}

/// Begins the branch to one place; `None` if it is not to be reached.
fn start(
    context: &mut Context,
    (index, candidate): (u16, &Candidate),
    (branch, breadth): (Branch, u32),
    now: Now,
) -> Option<(Attempt, Bytes)> {
    let secure = context.caller.secure || branch.uri.starts_with("sips:");
    let fits = |target: &&super::Target| !secure || target.flow.transport == Transport::Tls;
    let targets = branch.targets.iter().filter(fits).take(MAX_TARGETS).cloned().collect();
    let (target, course) = Course::through(targets)?;
    let way = Way { target, course, breadth: Some(breadth) };
    let candidate = of_branch(candidate, branch);
    Some(Attempt::start(&mut context.sender(), index, candidate, way, now.mono))
}

/// The candidate as one of its branches has it.
pub(super) fn of_branch(candidate: &Candidate, branch: Branch) -> Candidate {
    let mut candidate = candidate.clone();
    if let Reach::Bindings(bindings) = &mut candidate.reach {
        bindings.branches = vec![branch];
    }
    candidate
}

/// How good a failure is: the attempt ends with the best (RFC 3261 §16.7 step 6). 6xx comes before all, then the lowest
/// class, as the caller would be told; what says something of the request before what says something of the callee, and
/// that before silence.
fn rank(failure: Failure) -> (u8, u8) {
    let code = status_for_caller(failure).code();
    let class = if code >= 600 { 0 } else { (code / 100) as u8 };
    let within = match code {
        415 | 484 => 0,
        408 => 2,
        _ => 1,
    };
    (class, within)
}

impl Calling {
    /// An attempt with these branches, which go out once its state is committed.
    pub(super) fn enter(context: &mut Context, begun: Begun, rest: Rest, now: Now) -> State {
        let (attempt, message) = begun.first;
        let (others, mut messages): (Vec<_>, Vec<_>) = begun.others.into_iter().unzip();
        messages.insert(0, message);
        let mut calling = Box::new(Self { others, rest, ..Self::new(attempt) });
        let after = Some(calling.commit(context, now));
        for (branch, message) in calling.branches_mut().zip(messages) {
            branch.current.after = after;
            let flow = branch.current.head.target.flow;
            context.out.push(Action::Send { flow, message, after });
        }
        State::Calling(calling)
    }

    /// All branches of the attempt that are open.
    pub(super) fn branches(&self) -> impl Iterator<Item = &Attempt> {
        std::iter::once(&self.attempt).chain(&self.others)
    }

    fn branches_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        std::iter::once(&mut self.attempt).chain(&mut self.others)
    }

    /// Lets the branch that fits be the one at hand, if there is one.
    pub(super) fn turn_to(&mut self, fits: impl Fn(&Attempt) -> bool) {
        if !fits(&self.attempt)
            && let Some(other) = self.others.iter_mut().find(|other| fits(other))
        {
            std::mem::swap(&mut self.attempt, other);
        }
    }

    /// Lets the branch with that Call-ID be the one at hand. `false` if it is not open.
    pub(super) fn turn_to_branch(&mut self, serial: Serial) -> bool {
        self.turn_to(|branch| branch.serial == serial);
        self.attempt.serial == serial
    }

    /// What binds the call to this attempt.
    pub(super) fn commitment(&self) -> Option<Commitment> {
        self.branches().find_map(|branch| branch.commitment).or(self.rest.commitment)
    }

    /// The branch at hand has failed: the attempt goes on with the others, or with the next places. 6xx speaks for the
    /// callee wherever it is, and a call that is committed to what it has heard goes nowhere else.
    ///
    /// # Errors
    /// Gives itself back where the attempt has failed, and with what.
    pub(super) fn go_on_elsewhere(
        mut self: Box<Self>,
        context: &mut Context,
        (failure, reason): (Failure, Bytes),
        now: Now,
    ) -> Result<State, (Box<Self>, Failure, Bytes)> {
        self.rest.note(failure, reason);
        self.rest.commitment = self.commitment();
        let declined = matches!(failure, Failure::Status(status) if status.code() >= 600);
        if !declined && !self.others.is_empty() {
            let next = self.others.remove(0);
            let failed = std::mem::replace(&mut self.attempt, next);
            leave_branch(context, failed, failure, now);
            self.commit(context, now);
            return Ok(State::Calling(self));
        }
        if !declined && self.rest.commitment.is_none() {
            let of = (self.attempt.index, &self.attempt.candidate);
            if let Some(begun) = self.rest.begin(context, of, now) {
                let Self { attempt, rest, .. } = *self;
                leave_branch(context, attempt, failure, now);
                return Ok(Self::enter(context, begun, rest, now));
            }
        }
        let (failure, reason) = self.rest.best.take().unwrap_or((failure, Bytes::new()));
        Err((self, failure, reason))
    }

    /// Leaves all branches but the one at hand: it has answered, or the attempt is over.
    pub(super) fn leave_others(&mut self, context: &mut Context, reason: &[u8], now: Now) {
        for other in std::mem::take(&mut self.others) {
            note_pdd(context, &other);
            context.leave_behind(other, reason, now.mono);
        }
    }

    /// Another branch has answered (RFC 3326 §3.1).
    pub(super) fn answered_elsewhere(&mut self, context: &mut Context, now: Now) {
        let reason = reason_line(StatusCode::OK, "Call completed elsewhere");
        self.leave_others(context, &reason, now);
    }
}

fn leave_branch(context: &mut Context, branch: Attempt, failure: Failure, now: Now) {
    note_pdd(context, &branch);
    let why = reason_line(status_for_caller(failure), "branch given up");
    context.leave_behind(branch, &why, now.mono);
}

/// The attempt rang when the first of its branches did.
fn note_pdd(context: &mut Context, branch: &Attempt) {
    if let Some(record) = context.attempt_record(branch) {
        record.pdd = record.pdd.into_iter().chain(branch.pdd).min();
    }
}
