//! What an attempt can still try by itself: further targets, contacts it was redirected to, answers to challenges.

use super::action::Target;
use super::challenge::Challenges;
use super::redirect::Redirections;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most INVITEs of one attempt.
const MAX_INVITES: u8 = 16;

/// What is left to be tried, and how much has been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Course {
    /// Further targets of the URI that is being tried, best first.
    targets: VecDeque<Target>,
    pub(super) redirections: Redirections,
    pub(super) challenges: Challenges,
    /// Whether the INVITE that counts goes to somebody else than the gateway: then without our credentials.
    pub(super) foreign: bool,
    /// INVITEs that were sent after the first.
    sent: u8,
}

impl Course {
    /// The first of these targets, and the course through the others.
    pub(super) fn through(targets: Vec<Target>) -> Option<(Target, Self)> {
        let mut course = Self::default();
        let first = course.turn_to(targets)?;
        Some((first, course))
    }

    /// Takes these targets instead of those that are left, and the first of them to be tried.
    pub(super) fn turn_to(&mut self, targets: Vec<Target>) -> Option<Target> {
        self.targets = targets.into();
        self.targets.pop_front()
    }

    /// Takes the next target.
    pub(super) fn next_target(&mut self) -> Option<Target> {
        self.targets.pop_front()
    }

    /// The target that is being tried, and those behind it.
    pub(super) fn places<'a>(&'a self, current: &'a Target) -> impl Iterator<Item = &'a Target> {
        std::iter::once(current).chain(&self.targets)
    }

    /// Whether the next INVITE has to carry credentials.
    pub(super) fn needs_authorization(&self) -> bool {
        !self.foreign && !self.challenges.is_empty()
    }

    /// Counts one more INVITE. `false` if there have been enough.
    pub(super) fn allow(&mut self) -> bool {
        let allowed = self.sent + 1 < MAX_INVITES;
        self.sent += u8::from(allowed);
        allowed
    }
}
