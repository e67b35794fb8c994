//! Records of calls that have ended: told again to a store that may have lost them, and written once all the same.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tandem_sip::time::Mono;

/// How long an end is remembered after the store has taken it: longer than it takes to notice that it was lost, and to agree on
/// another master.
pub const ENDED_LIFE: Duration = Duration::from_secs(30);

/// The most ends that are remembered; the oldest are forgotten first.
pub const ENDED_MAX: usize = 20_000;

/// How long a sink remembers what it was written: longer than a call's end is told again.
pub const WRITTEN_LIFE: Duration = Duration::from_secs(120);

/// The most that it remembers.
pub const WRITTEN_MAX: usize = 100_000;

/// The ends that the store has taken of late, oldest first.
#[derive(Debug)]
pub struct Ended<E> {
    ends: VecDeque<(Mono, E)>,
}

impl<E> Default for Ended<E> {
    fn default() -> Self {
        Self { ends: VecDeque::new() }
    }
}

impl<E: Clone> Ended<E> {
    /// The store has taken an end.
    pub fn note(&mut self, end: E, now: Mono) {
        let is_old = |at: Mono| now.since(at) > ENDED_LIFE;
        while self.ends.front().is_some_and(|(at, _)| self.ends.len() >= ENDED_MAX || is_old(*at)) {
            self.ends.pop_front();
        }
        self.ends.push_back((now, end));
    }

    /// What the store is told again if it may have lost it.
    pub fn of_late(&self, now: Mono) -> Vec<E> {
        let late = self.ends.iter().filter(|(at, _)| now.since(*at) <= ENDED_LIFE);
        late.map(|(_, end)| end.clone()).collect()
    }
}

/// The records that a sink was written of late, by the keys of their calls.
#[derive(Debug)]
pub struct Written<K> {
    known: BTreeSet<K>,
    in_order: VecDeque<(Mono, K)>,
}

impl<K> Default for Written<K> {
    fn default() -> Self {
        Self { known: BTreeSet::new(), in_order: VecDeque::new() }
    }
}

impl<K: Ord + Clone> Written<K> {
    /// Whether the sink has the record of that call.
    pub fn has(&mut self, key: &K, now: Mono) -> bool {
        while self.in_order.front().is_some_and(|(at, _)| now.since(*at) > WRITTEN_LIFE) {
            self.forget_first();
        }
        self.known.contains(key)
    }

    /// The sink was written the records of these calls.
    pub fn note(&mut self, keys: impl Iterator<Item = K>, now: Mono) {
        for key in keys {
            if self.known.insert(key.clone()) {
                self.in_order.push_back((now, key));
            }
        }
        while self.in_order.len() > WRITTEN_MAX {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.in_order.pop_front() {
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_late_are_told_again_and_no_others() {
        let mut ended = Ended::default();
        ended.note("old", Mono(0));
        ended.note("late", Mono(10_000));
        assert_eq!(ended.of_late(Mono(30_000)), ["old", "late"]);
        assert_eq!(ended.of_late(Mono(30_001)), ["late"]);
        ended.note("new", Mono(60_000));
        assert_eq!(ended.ends.len(), 1, "what is old is forgotten");
    }

    #[test]
    fn ends_are_bounded() {
        let mut ended = Ended::default();
        (0..=ENDED_MAX).for_each(|number| ended.note(number, Mono(0)));
        assert_eq!(ended.of_late(Mono(0)).first(), Some(&1), "the oldest has gone");
    }

    #[test]
    fn a_record_that_comes_again_is_known_for_a_while() {
        let mut written = Written::default();
        written.note(["a", "b"].into_iter(), Mono(0));
        written.note(["b", "c"].into_iter(), Mono(1_000));
        assert!(written.has(&"a", Mono(120_000)) && !written.has(&"d", Mono(120_000)));
        assert!(!written.has(&"a", Mono(120_001)) && written.has(&"c", Mono(120_001)));
        let mut many = Written::default();
        many.note(0..=WRITTEN_MAX, Mono(0));
        assert!(!many.has(&0, Mono(0)) && many.has(&1, Mono(0)));
    }
}
