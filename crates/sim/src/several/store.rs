//! The store that the nodes share: owners, epochs and tombstones as production's stores have them, beats, and slots.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::{ENDED_LIFE, Write};
use tandem_sip::time::Mono;
use tandem_switch::call::{CallId, Snapshot};
use tandem_switch::gateway::Holder;

/// How long a slot is held for a node that does not renew it.
pub(super) const SLOT_LIFE: Duration = Duration::from_secs(30);

/// A life of a node: whose a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) node: Arc<str>,
    pub(super) boot: u64,
}

/// A call as the store has it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) owner: Owner,
    pub(super) epoch: u32,
    pub(super) seq: u64,
    pub(super) snapshot: Arc<Snapshot>,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) boot: u64,
    pub(super) counter: u64,
    pub(super) left: bool,
    pub(super) draining: bool,
}

/// Why a write or a claim is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The call is another's.
    Fenced,
    /// It has ended.
    Ended,
    /// There is no such call.
    Unknown,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub(super) calls: BTreeMap<CallId, Stored>,
    /// Calls that have ended; nothing raises them again.
    ended: BTreeMap<CallId, Mono>,
    /// Records that no sink has confirmed.
    pub(super) records: BTreeMap<CallId, Bytes>,
    pub(super) nodes: BTreeMap<Arc<str>, Says>,
    /// Until when each slot of the gateway is held.
    slots: BTreeMap<Holder, Mono>,
}

impl Store {
    /// Makes a write. `fences` is whether a superseded owner is refused.
    pub(super) fn write(
        &mut self,
        id: CallId,
        (owner, epoch, seq): (Owner, u32, u64),
        write: Write,
        fences: bool,
        now: Mono,
    ) -> Result<(), Refused> {
        let fence = |stored: &Stored| {
            let is_stale = epoch < stored.epoch || (epoch == stored.epoch && owner != stored.owner);
            if is_stale && fences { Err(Refused::Fenced) } else { Ok(()) }
        };
        match write {
            Write::Commit(_) if self.ended.contains_key(&id) => Err(Refused::Ended),
            Write::Commit(snapshot) => {
                let write = Stored { owner: owner.clone(), epoch, seq, snapshot };
                match self.calls.get_mut(&id) {
                    None => drop(self.calls.insert(id, write)),
                    Some(stored) => {
                        fence(stored)?;
                        if !fences || epoch > stored.epoch || seq > stored.seq {
                            *stored = write;
                        }
                    }
                }
                Ok(())
            }
            Write::End(_) if self.ended.contains_key(&id) => Ok(()),
            Write::End(records) => {
                self.calls.get(&id).map_or(Ok(()), fence)?;
                self.records.extend(records.map(|records| (id, records)));
                self.calls.remove(&id);
                self.ended.insert(id, now);
                Ok(())
            }
        }
    }

    /// Gives a call to another owner, in its next epoch.
    pub(super) fn claim(&mut self, id: CallId, seen_epoch: u32, owner: Owner) -> Result<Stored, Refused> {
        let gone = if self.ended.contains_key(&id) { Refused::Ended } else { Refused::Unknown };
        let stored = self.calls.get_mut(&id).ok_or(gone)?;
        let is_repeated = stored.epoch == seen_epoch + 1 && stored.owner == owner;
        if stored.epoch != seen_epoch && !is_repeated {
            return Err(Refused::Fenced);
        }
        stored.epoch = seen_epoch + 1;
        stored.owner = owner;
        Ok(stored.clone())
    }

    /// Whether a call has ended.
    pub(super) fn has_ended(&self, id: CallId) -> bool {
        self.ended.contains_key(&id)
    }

    /// The calls of a node.
    pub(super) fn owned(&self, node: &str) -> Vec<(CallId, Stored)> {
        let is_its = |(_, stored): &(&CallId, &Stored)| *stored.owner.node == *node;
        self.calls.iter().filter(is_its).map(|(id, stored)| (*id, stored.clone())).collect()
    }

    /// Takes a slot, up to `limit`. Who holds it already keeps it.
    pub(super) fn take_slot(&mut self, holder: Holder, limit: usize, now: Mono) -> bool {
        self.slots.retain(|_, until| *until > now);
        if !self.slots.contains_key(&holder) && self.slots.len() >= limit {
            return false;
        }
        self.renew_slot(holder, now);
        true
    }

    /// Who holds a slot goes on holding it.
    pub(super) fn renew_slot(&mut self, holder: Holder, now: Mono) {
        self.slots.insert(holder, now + SLOT_LIFE);
    }

    pub(super) fn release_slot(&mut self, holder: Holder) {
        self.slots.remove(&holder);
    }

    /// Slots that are held.
    pub(super) fn slots(&self, now: Mono) -> impl Iterator<Item = Holder> {
        self.slots.iter().filter(move |(_, until)| **until > now).map(|(holder, _)| *holder)
    }

    /// Forgets tombstones that have had their time.
    pub(super) fn forget(&mut self, now: Mono) {
        self.ended.retain(|_, at| now.since(*at) < ENDED_LIFE * 20);
    }
}
