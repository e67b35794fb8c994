//! The store of a single process: nothing survives it but actors that panic.

mod cdrs;
mod documents;
mod slots;

use crate::{
    Beaten, CDR_MAX_BYTES, CallEnd, CallKey, CallWrite, Changed, Committed, Contact, Document, Owner, Put,
    Revision, SNAPSHOT_MAX_BYTES, SlotTake, Space, Store, StoreError, StoreFuture, StoredCall,
    TOMBSTONE_LIFE, Taken,
};
use bytes::Bytes;
use cdrs::CdrStream;
use documents::Documents;
use parking_lot::Mutex;
use slots::Slots;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tandem_sip::time::{Mono, Now};
use tokio::sync::{broadcast, watch};

/// Tells the store what time it is.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

const BUCKETS: usize = 256;

/// How much a memory store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Calls at one time.
    pub calls_max: usize,
    /// CDRs that some group has not acknowledged. At the limit calls cannot end in the store until a sink catches up.
    pub cdrs_max: usize,
    /// Tombstones of ended calls, per bucket; at the limit the oldest goes before its time.
    pub tombstones_per_bucket_max: usize,
    /// Documents of each space.
    pub documents_max: usize,
}

impl Default for MemoryLimits {
    /// A million calls, a million CDRs, four million tombstones (ten minutes at 7 000 calls per second), a million
    /// documents of each kind.
    fn default() -> MemoryLimits {
        MemoryLimits {
            calls_max: 1_000_000,
            cdrs_max: 1_000_000,
            tombstones_per_bucket_max: 16_384,
            documents_max: 1_000_000,
        }
    }
}

/// A [`Store`] in memory. Its futures are ready at once, and the work is done when the method is called.
pub struct MemoryStore {
    buckets: Box<[Mutex<Bucket>]>,
    /// Locked after a bucket, never before one: ending a call is one step in both.
    cdrs: Mutex<CdrStream>,
    documents: [Documents; Space::ALL.len()],
    slots: Mutex<BTreeMap<Arc<str>, Slots>>,
    nodes: Mutex<BTreeMap<Arc<str>, Bytes>>,
    calls: AtomicUsize,
    limits: MemoryLimits,
    clock: Clock,
    appends: watch::Sender<u64>,
    contact: watch::Sender<Contact>,
}

#[derive(Default)]
struct Bucket {
    calls: BTreeMap<[u8; 12], StoredCall>,
    tombstones: Tombstones,
}

#[derive(Default)]
struct Tombstones {
    standing: BTreeSet<[u8; 12]>,
    /// All live equally long, so the first to be set is the first to go.
    in_order: VecDeque<(Mono, [u8; 12])>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: MemoryLimits, clock: Clock) -> MemoryStore {
        MemoryStore {
            buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(),
            cdrs: Mutex::new(CdrStream::new(limits.cdrs_max)),
            documents: std::array::from_fn(|_| Documents::new(limits.documents_max)),
            slots: Mutex::default(),
            nodes: Mutex::default(),
            calls: AtomicUsize::new(0),
            limits,
            clock,
            appends: watch::Sender::new(0),
            contact: watch::Sender::new(Contact { answers: true, lives: 0 }),
        }
    }

    /// Calls held now.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// CDRs held now: those that some group has not acknowledged.
    pub fn cdrs(&self) -> usize {
        self.cdrs.lock().len()
    }

    fn in_bucket<T>(&self, key: CallKey, step: impl FnOnce(&mut Bucket) -> T) -> T {
        let now = (self.clock)().mono;
        let mut bucket = self.buckets[usize::from(key.bucket)].lock();
        bucket.tombstones.purge(now);
        step(&mut bucket)
    }

    fn in_slots<T>(&self, gateway: &Arc<str>, step: impl FnOnce(&mut Slots, Mono) -> T) -> T {
        let now = (self.clock)().mono;
        let mut all = self.slots.lock();
        step(all.entry(gateway.clone()).or_insert_with(|| Slots::new(now)), now)
    }

    fn documents(&self, space: Space) -> &Documents {
        &self.documents[space.number()]
    }

    fn commit_now(&self, write: CallWrite) -> Result<Committed, StoreError> {
        check_length(write.snapshot.len(), SNAPSHOT_MAX_BYTES)?;
        self.in_bucket(write.key, |bucket| {
            if bucket.tombstones.standing.contains(&write.key.id) {
                return Err(StoreError::Ended);
            }
            let CallWrite { key, owner, epoch, seq, snapshot } = write;
            let call = StoredCall { owner, epoch, seq, snapshot };
            match bucket.calls.entry(key.id) {
                Entry::Vacant(place) => {
                    self.admit()?;
                    place.insert(call);
                    Ok(Committed::Stored)
                }
                Entry::Occupied(mut stored) => {
                    stored.get().fence(&call.owner, call.epoch)?;
                    if call.epoch == stored.get().epoch && call.seq <= stored.get().seq {
                        return Ok(Committed::Absorbed);
                    }
                    stored.insert(call);
                    Ok(Committed::Stored)
                }
            }
        })
    }

    fn claim_now(&self, key: CallKey, seen_epoch: u32, new_owner: Owner) -> Result<StoredCall, StoreError> {
        self.in_bucket(key, |bucket| {
            let Some(call) = bucket.calls.get_mut(&key.id) else {
                let ended = bucket.tombstones.standing.contains(&key.id);
                return Err(if ended { StoreError::Ended } else { StoreError::Unknown });
            };
            let next = seen_epoch.checked_add(1).ok_or(StoreError::Fenced { epoch: call.epoch })?;
            let repeated = call.epoch == next && call.owner == new_owner;
            if call.epoch != seen_epoch && !repeated {
                return Err(StoreError::Fenced { epoch: call.epoch });
            }
            call.epoch = next;
            call.owner = new_owner;
            Ok(call.clone())
        })
    }

    fn end_now(&self, end: CallEnd) -> Result<(), StoreError> {
        check_length(end.cdr.as_ref().map_or(0, Bytes::len), CDR_MAX_BYTES)?;
        let now = (self.clock)().mono;
        let appended = self.in_bucket(end.key, |bucket| {
            if bucket.tombstones.standing.contains(&end.key.id) {
                return Ok(None);
            }
            if let Some(call) = bucket.calls.get(&end.key.id) {
                call.fence(&end.owner, end.epoch)?;
            }
            let appended = end.cdr.map(|cdr| self.cdrs.lock().append(end.key, cdr)).transpose()?;
            if bucket.calls.remove(&end.key.id).is_some() {
                self.calls.fetch_sub(1, Ordering::Relaxed);
            }
            bucket.tombstones.raise(end.key.id, now + TOMBSTONE_LIFE, self.limits.tombstones_per_bucket_max);
            Ok(appended)
        })?;
        if let Some(total) = appended {
            // Two ends may arrive here in the other order; the count must not go back.
            self.appends.send_if_modified(|seen| {
                let newer = total > *seen;
                *seen = total.max(*seen);
                newer
            });
        }
        Ok(())
    }

    fn owned_now(&self, node: &str) -> Vec<CallKey> {
        let mut owned = Vec::new();
        for (bucket, calls) in (0..=u8::MAX).zip(&self.buckets) {
            let bucket_calls = calls.lock();
            let ours = bucket_calls.calls.iter().filter(|(_, call)| &*call.owner.node == node);
            owned.extend(ours.map(|(id, _)| CallKey { bucket, id: *id }));
        }
        owned
    }

    /// Makes room for one call more.
    fn admit(&self) -> Result<(), StoreError> {
        let limit = self.limits.calls_max;
        let admitted = self
            .calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| (calls < limit).then_some(calls + 1));
        admitted.map(drop).map_err(|_| StoreError::Full { limit })
    }
}

impl Store for MemoryStore {
    fn commit(&self, write: CallWrite) -> StoreFuture<Committed> {
        ready(self.commit_now(write))
    }

    fn load(&self, key: CallKey) -> StoreFuture<Option<StoredCall>> {
        ready(Ok(self.in_bucket(key, |bucket| bucket.calls.get(&key.id).cloned())))
    }

    fn claim(&self, key: CallKey, seen_epoch: u32, new_owner: Owner) -> StoreFuture<StoredCall> {
        ready(self.claim_now(key, seen_epoch, new_owner))
    }

    fn end(&self, end: CallEnd) -> StoreFuture<()> {
        ready(self.end_now(end))
    }

    fn owned(&self, node: &str) -> StoreFuture<Vec<CallKey>> {
        ready(Ok(self.owned_now(node)))
    }

    fn read_cdrs(&self, group: &str, max: usize) -> StoreFuture<Vec<(CallKey, Bytes)>> {
        ready(self.cdrs.lock().read(group, max))
    }

    fn ack_cdrs(&self, group: &str, keys: &[CallKey]) -> StoreFuture<()> {
        ready(self.cdrs.lock().acknowledge(group, keys))
    }

    fn cdr_backlog(&self, group: &str) -> StoreFuture<usize> {
        ready(self.cdrs.lock().backlog(group))
    }

    fn cdr_appends(&self) -> watch::Receiver<u64> {
        self.appends.subscribe()
    }

    fn put(&self, put: Put) -> StoreFuture<Revision> {
        let now = (self.clock)().wall;
        ready(self.documents(put.space).put(put, now))
    }

    fn get(&self, space: Space, key: &str) -> StoreFuture<Option<Document>> {
        let now = (self.clock)().wall;
        ready(Ok(self.documents(space).get(key, now)))
    }

    fn scan(
        &self,
        space: Space,
        after: Option<Arc<str>>,
        max: usize,
    ) -> StoreFuture<Vec<(Arc<str>, Document)>> {
        let now = (self.clock)().wall;
        ready(Ok(self.documents(space).scan(after, max, now)))
    }

    fn changes(&self, space: Space) -> broadcast::Receiver<Changed> {
        self.documents(space).changes()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn take_slot(&self, take: SlotTake) -> StoreFuture<Taken> {
        ready(Ok(self.in_slots(&take.gateway, |slots, now| slots.take(&take, now))))
    }

    fn renew_slots(&self, gateway: Arc<str>, holders: Vec<Arc<str>>) -> StoreFuture<u32> {
        ready(Ok(self.in_slots(&gateway, |slots, now| slots.renew(holders, now))))
    }

    fn release_slot(&self, gateway: Arc<str>, holder: Arc<str>) -> StoreFuture<()> {
        self.in_slots(&gateway, |slots, _| slots.release(&holder));
        ready(Ok(()))
    }

    fn beat(&self, says: Option<(Arc<str>, Bytes)>) -> StoreFuture<Beaten> {
        let mut nodes = self.nodes.lock();
        nodes.extend(says);
        let nodes = nodes.iter().map(|(node, says)| (node.clone(), says.clone())).collect();
        ready(Ok(Beaten { at: None, nodes }))
    }

    fn forget_node(&self, node: Arc<str>) -> StoreFuture<bool> {
        ready(Ok(self.nodes.lock().remove(&node).is_some()))
    }

    fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.subscribe()
    }
}

impl StoredCall {
    /// Refuses a writer who does not own the call, or not any more. A higher epoch is a newer owner's.
    fn fence(&self, writer: &Owner, epoch: u32) -> Result<(), StoreError> {
        if epoch < self.epoch || (epoch == self.epoch && *writer != self.owner) {
            return Err(StoreError::Fenced { epoch: self.epoch });
        }
        Ok(())
    }
}

impl Tombstones {
    fn raise(&mut self, id: [u8; 12], until: Mono, limit: usize) {
        if self.in_order.len() >= limit {
            self.remove_oldest();
        }
        self.standing.insert(id);
        self.in_order.push_back((until, id));
    }

    fn purge(&mut self, now: Mono) {
        while self.in_order.front().is_some_and(|(until, _)| *until <= now) {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((_, id)) = self.in_order.pop_front() {
            self.standing.remove(&id);
        }
    }
}

fn check_length(bytes: usize, limit: usize) -> Result<(), StoreError> {
    if bytes > limit { Err(StoreError::TooLong { bytes, limit }) } else { Ok(()) }
}

fn ready<T: Send + 'static>(result: Result<T, StoreError>) -> StoreFuture<T> {
    Box::pin(std::future::ready(result))
}

#[cfg(test)]
mod tests;
