//! The store of the simulated world: fencing, tombstones and idempotence as production's stores have them.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::{ENDED_LIFE, Write};
use tandem_sip::time::Mono;
use tandem_switch::call::{CallId, Snapshot};

/// What it takes at most until a node notices that something was lost.
const NOTICE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    calls: BTreeMap<CallId, Stored>,
    /// Calls that have ended; nothing raises them again.
    ended: BTreeMap<CallId, Mono>,
    /// Records that no sink has confirmed.
    records: Vec<(CallId, Bytes)>,
}

#[derive(Clone, Debug)]
struct Stored {
    owner: Owner,
    epoch: u32,
    seq: u64,
    snapshot: Arc<Snapshot>,
}

/// Who owns a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    ThisNode,
    AnotherNode,
}

/// Why a write or a claim is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The call is another's.
    Fenced,
    /// It has ended.
    Ended,
    /// There is no such call.
    Unknown,
}

impl Store {
    /// Makes a write of this node.
    pub(crate) fn write(
        &mut self,
        id: CallId,
        (epoch, seq): (u32, u64),
        write: Write,
        now: Mono,
    ) -> Result<(), Refused> {
        match write {
            Write::Commit(snapshot) => self.commit(id, epoch, seq, snapshot),
            Write::End(records) => self.end(id, epoch, records, now),
        }
    }

    fn commit(&mut self, id: CallId, epoch: u32, seq: u64, snapshot: Arc<Snapshot>) -> Result<(), Refused> {
        if self.ended.contains_key(&id) {
            return Err(Refused::Ended);
        }
        let write = Stored { owner: Owner::ThisNode, epoch, seq, snapshot };
        let Some(stored) = self.calls.get_mut(&id) else {
            self.calls.insert(id, write);
            return Ok(());
        };
        stored.fence(epoch)?;
        if epoch > stored.epoch || seq > stored.seq {
            *stored = write;
        }
        Ok(())
    }

    pub(crate) fn end(
        &mut self,
        id: CallId,
        epoch: u32,
        records: Option<Bytes>,
        now: Mono,
    ) -> Result<(), Refused> {
        if self.ended.contains_key(&id) {
            return Ok(());
        }
        if let Some(stored) = self.calls.get(&id) {
            stored.fence(epoch)?;
        }
        self.records.extend(records.map(|records| (id, records)));
        self.calls.remove(&id);
        self.ended.insert(id, now);
        Ok(())
    }

    /// Takes a call over for this node: its next epoch, the number of its last commit, and the state.
    pub(crate) fn claim(
        &mut self,
        id: CallId,
        seen_epoch: u32,
    ) -> Result<(u32, u64, Arc<Snapshot>), Refused> {
        let gone = if self.ended.contains_key(&id) { Refused::Ended } else { Refused::Unknown };
        let stored = self.calls.get_mut(&id).ok_or(gone)?;
        let repeated = stored.epoch == seen_epoch + 1 && stored.owner == Owner::ThisNode;
        if stored.epoch != seen_epoch && !repeated {
            return Err(Refused::Fenced);
        }
        stored.epoch = seen_epoch + 1;
        stored.owner = Owner::ThisNode;
        Ok((stored.epoch, stored.seq, stored.snapshot.clone()))
    }

    /// Another node takes a call over. `false` if there is none to be taken.
    pub(crate) fn steal(&mut self, id: CallId) -> bool {
        let Some(stored) = self.calls.get_mut(&id) else { return false };
        stored.epoch += 1;
        stored.owner = Owner::AnotherNode;
        true
    }

    /// Calls of this node that are held.
    pub(crate) fn held(&self) -> usize {
        self.calls.values().filter(|stored| stored.owner == Owner::ThisNode).count()
    }

    /// The calls whose records no sink has confirmed.
    pub(crate) fn unconfirmed(&self) -> Vec<CallId> {
        self.records.iter().map(|(id, _)| *id).collect()
    }

    /// A sink has the records of these calls.
    pub(crate) fn confirm(&mut self, ids: &[CallId]) {
        self.records.retain(|(id, _)| !ids.contains(id));
    }

    /// Loses everything but what other nodes write again, and the ends of calls whose names may have been given to others since.
    pub(crate) fn lose_all(&mut self, kept: &[CallId], now: Mono) {
        self.calls.retain(|id, stored| stored.owner == Owner::AnotherNode || kept.contains(id));
        self.ended.retain(|_, at| now.since(*at) > ENDED_LIFE - NOTICE);
        self.records.clear();
    }

    /// Has a call as another server had it.
    pub(crate) fn keep_from(&mut self, other: &Store, id: CallId) {
        match other.calls.get(&id) {
            Some(stored) => self.calls.insert(id, stored.clone()),
            None => self.calls.remove(&id),
        };
    }

    /// Where the state of a call of this node stands.
    pub(crate) fn place_of(&self, id: CallId) -> Option<(u32, u64)> {
        let stored = self.calls.get(&id).filter(|stored| stored.owner == Owner::ThisNode)?;
        Some((stored.epoch, stored.seq))
    }

    /// Whether another node has a call, or it has ended.
    pub(crate) fn is_settled(&self, id: CallId) -> bool {
        self.ended.contains_key(&id)
            || self.calls.get(&id).is_some_and(|stored| stored.owner == Owner::AnotherNode)
    }
}

impl Stored {
    /// Refuses this node's write if the call is not its any more.
    fn fence(&self, epoch: u32) -> Result<(), Refused> {
        let stale = epoch < self.epoch || (epoch == self.epoch && self.owner == Owner::AnotherNode);
        if stale { Err(Refused::Fenced) } else { Ok(()) }
    }
}
