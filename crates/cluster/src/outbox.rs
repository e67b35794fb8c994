//! Commits as barriers: what is to be done after a write waits here until the store has it.
//!
//! One write is under way at a time, and of those that come meanwhile only the newest is kept: it holds all that the
//! older ones would have said. Whatever waits for a write is done once that write, or a newer one, is stored.

use std::collections::VecDeque;
use std::time::Duration;
use tandem_sip::time::Mono;

/// How long a message waits for its commit; then it is sent without.
pub const COMMIT_PATIENCE: Duration = Duration::from_millis(250);

/// How often it is looked whether what has waited long enough may be done, while it may not.
const LOOK: Duration = Duration::from_millis(100);

/// How long after a failed write it is tried again.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The most things that wait; what comes beyond is done at once.
pub const MAX_WAITING: usize = 64;

/// The outbox of one call: `W` is what the store is given, `T` what is done afterwards.
#[derive(Debug)]
pub struct Outbox<W, T> {
    /// The write under way, kept for another try.
    in_flight: Option<(u64, W)>,
    /// The newest write behind it.
    next: Option<(u64, W)>,
    /// When a failed write is tried again.
    retry_at: Option<Mono>,
    /// The newest write that is stored.
    stored: u64,
    waiting: VecDeque<Waiting<T>>,
    /// Nothing may be done before its write is stored.
    holds_out: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    after: u64,
    /// Until when it waits; for ever if `None`.
    until: Option<Mono>,
    item: T,
}

/// What an event at the store sets free.
#[derive(Debug, PartialEq, Eq)]
pub struct Released<W, T> {
    /// To be given to the store now.
    pub write: Option<(u64, W)>,
    /// To be done now, in this order.
    pub items: Vec<T>,
}

impl<W, T> Default for Outbox<W, T> {
    fn default() -> Self {
        Self {
            in_flight: None,
            next: None,
            retry_at: None,
            stored: 0,
            waiting: VecDeque::new(),
            holds_out: false,
        }
    }
}

impl<W: Clone, T> Outbox<W, T> {
    /// Whether what waits is to do so until its write is stored, however long that takes: somebody else may go on from what the
    /// store has, and would not know of it. Otherwise it waits for [`COMMIT_PATIENCE`], and not at all for a write that has failed.
    pub fn hold_out(&mut self, holds_out: bool) {
        self.holds_out = holds_out;
    }

    /// An empty one that holds out as this one does.
    pub fn anew(&self) -> Self {
        Self { holds_out: self.holds_out, ..Self::default() }
    }

    /// Takes write number `seq` (rising). `Some` if it is to be given to the store now.
    pub fn write(&mut self, seq: u64, write: W) -> Option<(u64, W)> {
        self.next = Some((seq, write));
        self.start_next()
    }

    /// Takes what is to be done after write `after`: at most [`COMMIT_PATIENCE`] from `now` if it `may_overtake`.
    /// `Some` if it is to be done now.
    pub fn after(&mut self, after: u64, item: T, may_overtake: bool, now: Mono) -> Option<T> {
        if after <= self.stored || self.waiting.len() >= MAX_WAITING {
            return Some(item);
        }
        let until = may_overtake.then(|| now + COMMIT_PATIENCE);
        self.waiting.push_back(Waiting { after, until, item });
        None
    }

    /// The store has write `seq`.
    pub fn stored(&mut self, seq: u64) -> Released<W, T> {
        self.stored = self.stored.max(seq);
        if self.in_flight.as_ref().is_some_and(|(in_flight, _)| *in_flight <= seq) {
            self.in_flight = None;
            self.retry_at = None;
        }
        let stored = self.stored;
        let items = self.take(|waiting| waiting.after <= stored);
        Released { write: self.start_next(), items }
    }

    /// The store could not take the write. It, or the newest since, is tried again after [`RETRY_INTERVAL`];
    /// what may overtake it is done now: a call does not stand still because the store is away.
    pub fn failed(&mut self, now: Mono) -> Released<W, T> {
        if let Some(failed) = self.in_flight.take() {
            self.next.get_or_insert(failed);
            self.retry_at = Some(now + RETRY_INTERVAL);
        }
        let holds_out = self.holds_out;
        if holds_out {
            // As soon as it may be done.
            self.waiting
                .iter_mut()
                .for_each(|waiting| waiting.until = waiting.until.map(|until| until.min(now)));
        }
        Released { write: None, items: self.take(|waiting| waiting.until.is_some() && !holds_out) }
    }

    /// Somebody else owns the call: nothing that waited may be done any more. Returns how much that was.
    pub fn fenced(&mut self) -> usize {
        let discarded = self.waiting.len();
        *self = Self { stored: self.stored, holds_out: self.holds_out, ..Self::default() };
        discarded
    }

    /// What has waited long enough by `now`, and a write whose next try is due.
    pub fn on_timer(&mut self, now: Mono) -> Released<W, T> {
        let holds_out = self.holds_out;
        let items = self.take(|waiting| waiting.until.is_some_and(|until| until <= now) && !holds_out);
        let due = self.retry_at.is_some_and(|at| at <= now);
        let write = if due { self.start_next() } else { None };
        Released { write, items }
    }

    /// When [`on_timer`](Self::on_timer) has something to do, seen from `now`.
    pub fn deadline(&self, now: Mono) -> Option<Mono> {
        let waiting = self.waiting.iter().filter_map(|waiting| waiting.until).min();
        let waiting = waiting.map(|until| if self.holds_out { until.max(now + LOOK) } else { until });
        waiting.into_iter().chain(self.retry_at).min()
    }

    /// Whether nothing is under way and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_none() && self.next.is_none() && self.waiting.is_empty()
    }

    fn start_next(&mut self) -> Option<(u64, W)> {
        if self.in_flight.is_some() {
            return None;
        }
        self.retry_at = None;
        self.in_flight = self.next.take();
        self.in_flight.clone()
    }

    fn take(&mut self, ready: impl Fn(&Waiting<T>) -> bool) -> Vec<T> {
        let mut items = Vec::new();
        let mut rest = VecDeque::new();
        for waiting in self.waiting.drain(..) {
            if ready(&waiting) {
                items.push(waiting.item);
            } else {
                rest.push_back(waiting);
            }
        }
        self.waiting = rest;
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Box = Outbox<&'static str, &'static str>;

    const NOW: Mono = Mono(1_000);

    #[test]
    fn a_send_waits_for_its_commit() {
        let mut outbox = Box::default();
        assert_eq!(outbox.write(1, "early"), Some((1, "early")));
        assert_eq!(outbox.after(1, "INVITE", true, NOW), None);
        assert_eq!(outbox.stored(1), Released { write: None, items: vec!["INVITE"] });
        assert_eq!(outbox.after(1, "later", true, NOW), Some("later"));
        assert!(outbox.is_empty());
    }

    #[test]
    fn one_commit_is_in_flight_and_the_newest_wins() {
        let mut outbox = Box::default();
        outbox.write(1, "a");
        assert_eq!(outbox.write(2, "b"), None);
        assert_eq!(outbox.after(2, "after b", true, NOW), None);
        assert_eq!(outbox.write(3, "c"), None);
        assert_eq!(outbox.stored(1), Released { write: Some((3, "c")), items: vec![] });
        assert_eq!(outbox.stored(3), Released { write: None, items: vec!["after b"] });
    }

    #[test]
    fn a_send_waits_at_most_250_ms_and_a_slot_for_ever() {
        let mut outbox = Box::default();
        outbox.write(1, "end");
        outbox.after(1, "BYE", true, NOW);
        outbox.after(1, "slot", false, NOW);
        assert_eq!(outbox.deadline(NOW), Some(Mono(1_250)));
        assert_eq!(outbox.on_timer(Mono(1_249)).items, Vec::<&str>::new());
        assert_eq!(outbox.on_timer(Mono(1_250)).items, vec!["BYE"]);
        assert_eq!(outbox.deadline(NOW), None);
        assert_eq!(outbox.stored(1).items, vec!["slot"]);
    }

    #[test]
    fn a_fenced_commit_discards_what_waited() {
        let mut outbox = Box::default();
        outbox.write(1, "a");
        outbox.after(1, "INVITE", true, NOW);
        assert_eq!(outbox.fenced(), 1);
        assert_eq!(outbox.deadline(NOW), None);
        assert!(outbox.is_empty());
    }

    #[test]
    fn with_the_store_away_the_wire_goes_on_and_the_newest_write_is_retried() {
        let mut outbox = Box::default();
        outbox.write(1, "a");
        outbox.after(1, "INVITE", true, NOW);
        outbox.after(1, "slot", false, NOW);
        assert_eq!(outbox.failed(NOW).items, vec!["INVITE"]);
        assert_eq!(outbox.on_timer(Mono(1_999)).write, None);
        assert_eq!(outbox.on_timer(Mono(2_000)).write, Some((1, "a")));
        assert_eq!(outbox.write(2, "b"), None);
        assert_eq!(outbox.failed(Mono(2_000)).write, None);
        assert_eq!(outbox.on_timer(Mono(3_000)).write, Some((2, "b")));
        assert_eq!(outbox.stored(2).items, vec!["slot"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_write_that_comes_while_a_failed_one_waits_takes_its_place() {
        let mut outbox = Box::default();
        outbox.write(1, "a");
        outbox.failed(NOW);
        assert_eq!(outbox.write(2, "b"), Some((2, "b")));
        assert_eq!(outbox.stored(2), Released { write: None, items: vec![] });
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut outbox = Box::default();
        outbox.write(1, "a");
        for _ in 0..MAX_WAITING {
            assert_eq!(outbox.after(1, "x", true, NOW), None);
        }
        assert_eq!(outbox.after(1, "beyond", true, NOW), Some("beyond"));
    }

    #[test]
    fn a_send_that_others_would_not_know_of_waits_for_its_commit_however_long_that_takes() {
        let mut outbox = Box::default();
        outbox.hold_out(true);
        outbox.write(1, "answered");
        assert_eq!(outbox.after(1, "200", true, NOW), None);
        let late = NOW + COMMIT_PATIENCE;
        assert_eq!(outbox.on_timer(late), Released { write: None, items: vec![] });
        assert_eq!(outbox.deadline(late), Some(late + LOOK));
        assert_eq!(outbox.failed(late), Released { write: None, items: vec![] });
        outbox.hold_out(false);
        assert_eq!(outbox.deadline(late), Some(NOW + COMMIT_PATIENCE));
        assert_eq!(outbox.on_timer(late), Released { write: None, items: vec!["200"] });
    }
}
