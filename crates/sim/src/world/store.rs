//! The store of the simulated world: fencing, tombstones and idempotence as production's stores have them.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tandem_cluster::Write;
use tandem_switch::call::{CallId, Snapshot};

#[derive(Debug, Default)]
pub(crate) struct Store {
    calls: BTreeMap<CallId, Stored>,
    /// Calls that have ended; nothing raises them again.
    ended: BTreeSet<CallId>,
    records: Vec<(CallId, Bytes)>,
}

#[derive(Debug)]
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
    pub(crate) fn write(&mut self, id: CallId, epoch: u32, seq: u64, write: Write) -> Result<(), Refused> {
        match write {
            Write::Commit(snapshot) => self.commit(id, epoch, seq, snapshot),
            Write::End(records) => self.end(id, epoch, records),
        }
    }

    fn commit(&mut self, id: CallId, epoch: u32, seq: u64, snapshot: Arc<Snapshot>) -> Result<(), Refused> {
        if self.ended.contains(&id) {
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

    fn end(&mut self, id: CallId, epoch: u32, records: Option<Bytes>) -> Result<(), Refused> {
        if self.ended.contains(&id) {
            return Ok(());
        }
        if let Some(stored) = self.calls.get(&id) {
            stored.fence(epoch)?;
        }
        self.records.extend(records.map(|records| (id, records)));
        self.calls.remove(&id);
        self.ended.insert(id);
        Ok(())
    }

    /// Takes a call over for this node: its next epoch, the number of its last commit, and the state.
    pub(crate) fn claim(
        &mut self,
        id: CallId,
        seen_epoch: u32,
    ) -> Result<(u32, u64, Arc<Snapshot>), Refused> {
        let gone = if self.ended.contains(&id) { Refused::Ended } else { Refused::Unknown };
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

    /// How often records of a call were handed over.
    pub(crate) fn records_of(&self, id: CallId) -> usize {
        self.records.iter().filter(|(of, _)| *of == id).count()
    }
}

impl Stored {
    /// Refuses this node's write if the call is not its any more.
    fn fence(&self, epoch: u32) -> Result<(), Refused> {
        let stale = epoch < self.epoch || (epoch == self.epoch && self.owner == Owner::AnotherNode);
        if stale { Err(Refused::Fenced) } else { Ok(()) }
    }
}
