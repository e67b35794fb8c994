//! The round of keep-alives: a ring of places in the period, and how far it has been gone round.

use super::Pace;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;
use tandem_sip::flow::Flow;
use tandem_sip::time::Wall;

/// An endpoint whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// By what it is reached.
    pub flow: Flow,
    /// How long it has waited for its turn.
    pub late: Duration,
}

/// A place on the ring: before all flows there (`None`), or a flow.
type Place = (u32, Option<Flow>);

/// Whose turn it is, in batches.
///
/// The ring is always gone round in order. Where the pace does not suffice for all of them within a period, each round takes
/// longer, and nobody is passed over.
///
/// Times are those of a clock that never steps: the wall clock as it was at the start, and monotonic from there.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    ring: BTreeSet<Place>,
    /// Everybody up to here has had a turn, …
    gone_to: Wall,
    /// … and at this time, up to this flow.
    last: Option<Flow>,
    /// Those whose turn came to nothing, and who come first in the next batch.
    again: BTreeSet<Flow>,
    last_batch: Option<Wall>,
}

impl Schedule {
    /// A schedule that begins at `now`, where everybody has had their turns until `gone_to`. What has been missed since is
    /// made up for, of the last period at most.
    pub fn new(pace: Pace, gone_to: Wall, now: Wall) -> Self {
        let earliest = now.0.saturating_sub(pace.period_ms());
        let gone_to = Wall(gone_to.0.clamp(earliest, now.0));
        Self { pace, ring: BTreeSet::new(), gone_to, last: None, again: BTreeSet::new(), last_batch: None }
    }

    /// Endpoints that get keep-alives.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Whether there are more than can have one each period.
    pub fn is_beyond_ceiling(&self) -> bool {
        self.len() > self.pace.ceiling()
    }

    /// The time until which everybody has had their turns.
    pub fn gone_to(&self) -> Wall {
        self.gone_to
    }

    /// Adds an endpoint that has just been heard of: its first turn comes within a period. `false` if it is known.
    pub fn insert(&mut self, flow: Flow, now: Wall) -> bool {
        // Nobody is late: nor is whoever comes now.
        if self.next_turn().is_none_or(|(due, _)| due > now) && self.gone_to < now {
            (self.gone_to, self.last) = (Wall(now.0 + 1), None);
        }
        self.insert_known(flow)
    }

    /// Adds an endpoint that there was before this schedule began: what it has missed is made up for.
    pub fn insert_known(&mut self, flow: Flow) -> bool {
        self.ring.insert((self.pace.place(&flow), Some(flow)))
    }

    /// Takes an endpoint away.
    pub fn remove(&mut self, flow: &Flow) {
        self.ring.remove(&(self.pace.place(flow), Some(*flow)));
        self.again.remove(flow);
    }

    /// The turn that an endpoint has just had came to nothing: it has another in the next batch.
    pub fn again(&mut self, flow: Flow) {
        if self.ring.contains(&(self.pace.place(&flow), Some(flow))) {
            self.again.insert(flow);
        }
    }

    /// When the next batch is to be taken; `None` if there is nobody.
    pub fn next_batch(&self) -> Option<Wall> {
        let (due, _) = self.next_turn()?;
        let due = if self.again.is_empty() { due } else { Wall(0) };
        Some(self.last_batch.map_or(due, |last| due.max(later(last, self.pace.interval))))
    }

    /// Those whose turn it is, who is late first; empty if the last batch was a moment ago.
    pub fn batch(&mut self, now: Wall) -> Vec<Due> {
        let mut batch = Vec::new();
        if self.last_batch.is_some_and(|last| now < later(last, self.pace.interval)) {
            return batch;
        }
        self.limit_arrears(now);
        // Nobody has two turns in one batch.
        let most = self.pace.batch.min(self.ring.len());
        while batch.len() < most
            && let Some(flow) = self.again.pop_first()
        {
            batch.push(Due { flow, late: self.pace.interval });
        }
        let repeated = batch.len();
        while batch.len() < most
            && let Some((due, flow)) = self.next_turn().filter(|(due, _)| *due <= now)
        {
            (self.gone_to, self.last) = (due, Some(flow));
            self.again.remove(&flow);
            if batch[..repeated].iter().all(|first| first.flow != flow) {
                batch.push(Due { flow, late: now.since(due) });
            }
        }
        if !batch.is_empty() {
            self.last_batch = Some(now);
        }
        batch
    }

    /// Of two rounds that are owed, one is let go: it would only be made up for by sending more than the pace asks for. The
    /// place on the ring stays.
    fn limit_arrears(&mut self, now: Wall) {
        let period_ms = self.pace.period_ms();
        let owed = now.0.saturating_sub(self.gone_to.0) / period_ms;
        self.gone_to = Wall(self.gone_to.0 + owed.saturating_sub(1) * period_ms);
    }

    /// Whose turn is next, and when it is due.
    fn next_turn(&self) -> Option<(Wall, Flow)> {
        let period_ms = self.pace.period_ms();
        let here = self.gone_to.0 % period_ms;
        let after = (Excluded((here as u32, self.last)), Unbounded);
        let (place, flow) = self.ring.range(after).next().or_else(|| self.ring.first())?;
        let place_ms = u64::from(*place);
        let is_ahead = (*place, *flow) > (here as u32, self.last);
        let wait_ms = if is_ahead { place_ms - here } else { place_ms + period_ms - here };
        Some((Wall(self.gone_to.0 + wait_ms), (*flow)?))
    }
}

fn later(than: Wall, by: Duration) -> Wall {
    Wall(than.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}
