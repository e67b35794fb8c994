//! What is going to happen, in the order in which it happens.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use tandem_sip::time::Mono;

/// Events by their time; of one time, the first to be entered comes first.
#[derive(Debug)]
pub(crate) struct Schedule<E> {
    heap: BinaryHeap<Entry<E>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Mono,
    order: u64,
    event: E,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), entered: 0 }
    }
}

impl<E> Schedule<E> {
    pub(crate) fn enter(&mut self, at: Mono, event: E) {
        self.entered += 1;
        self.heap.push(Entry { at, order: self.entered, event });
    }

    pub(crate) fn next(&mut self) -> Option<(Mono, E)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives the greatest first, so the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_of_entry() {
        let mut schedule = Schedule::default();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            schedule.enter(Mono(at), event);
        }
        let order: String = std::iter::from_fn(|| schedule.next().map(|(_, event)| event)).collect();
        assert_eq!(order, "abcd");
    }
}
