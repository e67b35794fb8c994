//! What an attempt can still try by itself: further targets of its gateway's name.

use super::action::Target;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most INVITEs of one attempt.
const MAX_INVITES: u8 = 16;

/// What is left to be tried, and how much has been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Course {
    /// Further targets of the URI that is being tried, best first.
    targets: VecDeque<Target>,
    /// INVITEs that were sent after the first.
    sent: u8,
}

impl Course {
    /// The first of these targets, and the course through the others.
    pub(super) fn through(targets: Vec<Target>) -> Option<(Target, Self)> {
        let mut targets = VecDeque::from(targets);
        let first = targets.pop_front()?;
        Some((first, Self { targets, ..Self::default() }))
    }

    /// Takes the next target.
    pub(super) fn next_target(&mut self) -> Option<Target> {
        self.targets.pop_front()
    }

    /// Counts one more INVITE. `false` if there have been enough.
    pub(super) fn allow(&mut self) -> bool {
        let allowed = self.sent + 1 < MAX_INVITES;
        self.sent += u8::from(allowed);
        allowed
    }
}
