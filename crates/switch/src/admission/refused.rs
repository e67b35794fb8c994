//! Which new calls were refused a moment ago.

use crate::call::CallId;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tandem_sip::time::Mono;

/// The most refused INVITEs that are remembered; the oldest is forgotten first.
pub const REFUSED_MAX: usize = 32_768;

/// How long copies of an INVITE may still arrive: 64·T1 (RFC 3261 §17.1.1.2, timer B).
const COPIES_END: Duration = Duration::from_secs(32);

/// The INVITEs that were refused for lack of room. A copy of one that is still on its way must be refused as well, though
/// there is room again: its caller has gone elsewhere, and nobody would take the call.
#[derive(Debug, Default)]
pub struct RefusedInvites {
    ids: BTreeSet<CallId>,
    in_order: VecDeque<(Mono, CallId)>,
}

impl RefusedInvites {
    /// Takes note of a refusal.
    pub fn note(&mut self, now: Mono, id: CallId) {
        self.forget_old(now);
        if self.ids.insert(id) {
            self.in_order.push_back((now, id));
        }
        if self.in_order.len() > REFUSED_MAX {
            self.forget_oldest();
        }
    }

    /// Whether it was refused a moment ago.
    pub fn contains(&mut self, now: Mono, id: CallId) -> bool {
        self.forget_old(now);
        self.ids.contains(&id)
    }

    /// Whether there is none to ask for.
    pub fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    fn forget_old(&mut self, now: Mono) {
        while self.in_order.front().is_some_and(|(at, _)| now.since(*at) >= COPIES_END) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.in_order.pop_front() {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> CallId {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&number.to_be_bytes());
        CallId(id)
    }

    #[test]
    fn a_refused_invite_is_remembered_as_long_as_copies_of_it_may_come() {
        let mut refused = RefusedInvites::default();
        refused.note(Mono(0), id(1));
        refused.note(Mono(10), id(1));
        assert!(refused.contains(Mono(31_999), id(1)));
        assert!(!refused.contains(Mono(31_999), id(2)));
        assert!(!refused.contains(Mono(32_000), id(1)));
        assert!(refused.is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten_where_there_are_too_many() {
        let mut refused = RefusedInvites::default();
        for number in 0..=REFUSED_MAX as u32 {
            refused.note(Mono(0), id(number));
        }
        assert!(!refused.contains(Mono(0), id(0)));
        assert!(refused.contains(Mono(0), id(1)));
        assert!(refused.contains(Mono(0), id(REFUSED_MAX as u32)));
    }
}
