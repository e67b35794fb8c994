//! What goes wrong in the world, and how it is put right again.

use super::plan::{NODES, Trouble, TroublePlan};
use super::store::Store;
use super::{Event, World};

/// How long the last server has to be silent before another one takes its place.
const ELECTION: u64 = 200;

/// What it takes until nodes that were cut off or paused are back in order.
const RECOVERY: u64 = 6_000;

impl World {
    pub(super) fn trouble(&mut self, place: usize) {
        let TroublePlan { what, node, lasts, .. } = self.plan.troubles[place];
        *self.coverage.troubles.entry(what).or_default() += 1;
        let name = self.nodes[node].name.clone();
        self.note(None, |_| format!("trouble: {what} ({name}, {lasts} ms)"));
        let until = self.now + lasts;
        // Until it is over nothing is calm.
        self.calm_since = self.calm_since.max(until);
        if !matches!(
            what,
            Trouble::Killed | Trouble::KilledBriefly | Trouble::ClockForward | Trouble::ClockBack
        ) {
            self.disturbed_until = self.disturbed_until.max(until + RECOVERY);
        }
        let slot = &mut self.nodes[node];
        match what {
            Trouble::Killed | Trouble::KilledBriefly => {
                if slot.is_up {
                    self.dies(node);
                    self.enter(lasts, Event::Starts(node));
                }
            }
            Trouble::Paused | Trouble::PausedBriefly => {
                (slot.paused_at, slot.paused_until) = (self.now, slot.paused_until.max(until));
            }
            Trouble::CutFromStore => (slot.asks_lost_until, slot.answers_lost_until) = (until, until),
            Trouble::RequestsLost => slot.asks_lost_until = until,
            Trouble::AnswersLost => slot.answers_lost_until = until,
            Trouble::CutFromNodes => (slot.deaf_until, slot.mute_until) = (until, until),
            Trouble::DeafToNodes => slot.deaf_until = until,
            Trouble::CutFromPeers => self.cut_from_peers(node, place, lasts),
            Trouble::Isolated => {
                (slot.asks_lost_until, slot.answers_lost_until) = (until, until);
                (slot.deaf_until, slot.mute_until) = (until, until);
                self.cut_from_peers(node, place, lasts);
            }
            Trouble::ClockForward => slot.skew += lasts as i64,
            Trouble::ClockBack => slot.skew -= lasts as i64,
            Trouble::Drained => {
                (self.calm_since, self.disturbed_until) = (u64::MAX, u64::MAX);
                self.drain(node, lasts);
                self.is_draining();
            }
            Trouble::Rolled => {
                (self.calm_since, self.disturbed_until) = (u64::MAX, u64::MAX);
                self.roll_lasts(lasts);
                self.roll(0);
            }
            Trouble::StoreStalls => self.store_stalls_until = until,
            Trouble::StoreFails => self.store_fails_until = until,
            Trouble::StoreSlow => self.store_slow_until = until,
            Trouble::StoreEmptied => {
                self.store_stalls_until = until;
                let empty = Store::default();
                self.enter(lasts, Event::FailsOver(Box::new(empty), self.store_skew));
            }
            Trouble::StoreFailsOver | Trouble::StoreClock => {
                // What it has now is all that the other server has got.
                let skew =
                    if what == Trouble::StoreClock { self.chance.below(4_000) as i64 - 2_000 } else { 0 };
                self.enter(lasts + ELECTION, Event::FailsOver(Box::new(self.store.clone()), skew));
            }
        }
    }

    fn cut_from_peers(&mut self, node: usize, place: usize, lasts: u64) {
        self.cut_from_peers.insert(node);
        self.enter(lasts, Event::Over(place));
    }

    pub(super) fn trouble_is_over(&mut self, place: usize) {
        self.cut_from_peers.remove(&self.plan.troubles[place].node);
    }

    pub(super) fn fails_over(&mut self, store: Store, skew: i64) {
        self.note(None, |_| "another server answers in the store's place".to_owned());
        self.judge.store_changes();
        (self.store, self.store_skew) = (store, skew);
        self.run_id += 1;
    }

    fn roll_lasts(&mut self, lasts: u64) {
        self.nodes.iter_mut().for_each(|node| node.returns_after = Some(lasts));
    }

    /// Drains one node after the other, each as soon as the one before is back.
    pub(super) fn roll(&mut self, node: usize) {
        if node >= NODES {
            return self.trouble_ends();
        }
        if !self.nodes[node].is_up {
            // It is down for another reason: the roll goes on when it is back.
            return self.enter(1_000, Event::Rolls(node));
        }
        if self.nodes[node].drain.is_begun() {
            return self.enter(1_000, Event::Rolls(node + 1));
        }
        self.nodes[node].rolls = true;
        let after = self.nodes[node].returns_after.unwrap_or(1_000);
        self.drain(node, after);
    }

    /// A drain that could not begin is over.
    fn is_draining(&mut self) {
        if self.nodes.iter().all(|node| !node.drain.is_begun()) {
            self.trouble_ends();
        }
    }

    /// Some trouble whose end nobody had known is over.
    pub(super) fn trouble_ends(&mut self) {
        if !self.nodes.iter().any(|node| node.rolls || node.drain.is_begun() && node.is_up) {
            (self.calm_since, self.disturbed_until) = (self.now, self.now + RECOVERY);
        }
    }
}
