//! The slots of gateways, of one process.

use crate::{CPS_WINDOW, SLOT_GRACE, SLOT_LEASE, SlotTake, Taken};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Mono;

/// In which no more than a burst is taken.
const TENTH: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Slots {
    since: Mono,
    lapses: BTreeMap<Arc<str>, Mono>,
    /// When those of the last second were taken.
    taken: VecDeque<Mono>,
}

impl Slots {
    pub(super) fn new(now: Mono) -> Self {
        Self { since: now, lapses: BTreeMap::new(), taken: VecDeque::new() }
    }

    pub(super) fn take(&mut self, take: &SlotTake, now: Mono) -> Taken {
        self.purge(now);
        let held = self.held();
        if let Some(lapses) = self.lapses.get_mut(&take.holder) {
            *lapses = now + SLOT_LEASE;
            return Taken::Yes { held };
        }
        if take.max_calls.is_some_and(|limit| held >= limit) {
            return Taken::AtMaxCalls { held };
        }
        if let Some(cps) = take.cps {
            let lately = self.taken.iter().filter(|taken| now.since(**taken) < TENTH).count();
            if self.taken.len() >= cps as usize || lately >= take.burst as usize {
                return Taken::AtCps { held };
            }
            self.taken.push_back(now);
        }
        self.lapses.insert(take.holder.clone(), now + SLOT_LEASE);
        match now.since(self.since) < SLOT_GRACE {
            true => Taken::Unsure { held: held + 1 },
            false => Taken::Yes { held: held + 1 },
        }
    }

    pub(super) fn renew(&mut self, holders: Vec<Arc<str>>, now: Mono) -> u32 {
        self.lapses.extend(holders.into_iter().map(|holder| (holder, now + SLOT_LEASE)));
        self.purge(now);
        self.held()
    }

    pub(super) fn release(&mut self, holder: &str) {
        self.lapses.remove(holder);
    }

    fn purge(&mut self, now: Mono) {
        self.lapses.retain(|_, lapses| *lapses > now);
        while self.taken.front().is_some_and(|taken| now.since(*taken) >= CPS_WINDOW) {
            self.taken.pop_front();
        }
    }

    fn held(&self) -> u32 {
        u32::try_from(self.lapses.len()).unwrap_or(u32::MAX)
    }
}
