//! Calls that have ended: their records must not be lost, neither by a store that is away nor by one that has lost what it had
//! taken.

use crate::link::Frame;
use crate::shared::Shared;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tandem_cluster::journal::{Kind, Name};
use tandem_sip::time::Mono;
use tandem_store::codec::{self, Versioned};
use tandem_store::{CallEnd, CallKey, Owner, StoreError};
use tokio::time::{sleep, timeout};

/// How often the owner of a call is told that it has ended, how long it may take to answer, and how long is waited in between.
const TELL_TRIES: u32 = 60;
const TELL_LIMIT: Duration = Duration::from_secs(2);
const TELL_PAUSE: Duration = Duration::from_secs(1);

/// Ends that are told again at a time.
const BATCH: usize = 100;

/// An end that the store is being told of.
#[derive(Debug)]
pub(crate) struct Ending {
    end: CallEnd,
    /// The write that tells it, by epoch and number.
    pub(crate) write: (u32, u64),
    /// Once it was given to the journal: whether the store has taken it meanwhile.
    kept: Option<Arc<AtomicBool>>,
}

impl Ending {
    pub(crate) fn new(end: CallEnd, write: (u32, u64)) -> Self {
        Self { end, write, kept: None }
    }

    /// What the store was to be told.
    pub(crate) fn into_end(self) -> CallEnd {
        self.end
    }

    /// What the journal is to keep, unless it was given that before.
    pub(crate) fn give_to_journal(&mut self) -> Option<(CallEnd, Arc<AtomicBool>)> {
        if self.kept.is_some() {
            return None;
        }
        let is_stored = self.kept.insert(Arc::default()).clone();
        Some((self.end.clone(), is_stored))
    }
}

/// The ends that the store has taken of late.
pub(crate) type Ended = Mutex<tandem_cluster::Ended<CallEnd>>;

impl Shared {
    /// The store has taken the end of a call.
    pub(crate) fn has_ended(&self, ending: Ending, now: Mono) {
        let Ending { end, kept, .. } = ending;
        if let Some(is_stored) = kept
            && let Some(journal) = &self.journal
        {
            // Whoever is about to put it there finds that, or it is there.
            is_stored.store(true, Ordering::SeqCst);
            journal.done(&name_of(&end.key));
        }
        self.ended.lock().note(end, now);
    }
}

/// An end as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct JournalledEnd {
    bucket: u8,
    id: [u8; 12],
    node: String,
    boot: u64,
    epoch: u32,
    cdr: Option<Vec<u8>>,
}

impl Versioned for JournalledEnd {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

/// What the journal calls the end of a call.
pub(crate) fn name_of(key: &CallKey) -> Name {
    let mut of = vec![key.bucket];
    of.extend_from_slice(&key.id);
    Name { kind: Kind::End, of: of.into() }
}

/// Puts an end that the store has not taken on the disk. It is tried again by its call meanwhile.
pub(crate) async fn keep(shared: &Shared, end: &CallEnd, is_stored: &AtomicBool) {
    let Some(journal) = &shared.journal else { return };
    let kept = JournalledEnd {
        bucket: end.key.bucket,
        id: end.key.id,
        node: end.owner.node.to_string(),
        boot: end.owner.boot,
        epoch: end.epoch,
        cdr: end.cdr.as_ref().map(|cdr| cdr.to_vec()),
    };
    let Ok(value) = codec::encode(&kept) else { return };
    match journal.write(name_of(&end.key), value).await {
        Ok(()) if is_stored.load(Ordering::SeqCst) => journal.done(&name_of(&end.key)),
        Ok(()) => {}
        Err(error) => tracing::error!(call = %end.key, %error, "the end of a call is in memory alone"),
    }
}

/// Gives the store the ends that an earlier life of this node could not.
///
/// # Errors
/// The store does not take them yet.
pub(crate) async fn give_journalled(shared: &Shared) -> Result<usize, StoreError> {
    let Some(journal) = &shared.journal else { return Ok(0) };
    let mut given = 0;
    for (name, value) in journal.all(Kind::End) {
        match codec::decode::<JournalledEnd>(&value) {
            // One of this life is its call's business.
            Ok(end) if end.boot == shared.owner.boot => continue,
            Ok(JournalledEnd { bucket, id, node, boot, epoch, cdr }) => {
                let owner = Owner { node: node.into(), boot };
                let end = CallEnd { key: CallKey { bucket, id }, owner, epoch, cdr: cdr.map(Bytes::from) };
                match shared.store.end(end).await {
                    // Whoever has taken it over meanwhile has written its record.
                    Ok(()) | Err(StoreError::Fenced { .. } | StoreError::Ended) => given += 1,
                    Err(error) => return Err(error),
                }
            }
            Err(error) => tracing::error!(%error, "cannot read the end of a call in the journal"),
        }
        journal.done(&name);
    }
    Ok(given)
}

/// Tells whoever has been given a call meanwhile that it had ended: its parties will not say so again.
pub(crate) async fn tell_owner(shared: &Shared, end: CallEnd) {
    let records = end.cdr.clone().unwrap_or_default();
    for _ in 0..TELL_TRIES {
        let stored = timeout(TELL_LIMIT, shared.store.load(end.key)).await;
        match stored {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(stored))) if stored.owner.node != shared.name => {
                let ended = |question| Frame::Ended { question, key: end.key.into() };
                let asked = shared.links.ask_with(&stored.owner.node, ended, &records, TELL_LIMIT);
                if asked.await == Some(true) {
                    return;
                }
            }
            _ => {}
        }
        sleep(TELL_PAUSE).await;
    }
    tracing::warn!(call = %end.key, "another node goes on with a call that has ended: it could not be told");
}

/// Tells a store that may have lost them of the calls that have ended of late. What it still knows it takes for known.
pub(crate) async fn tell_again(shared: &Arc<Shared>) {
    let ends = shared.ended.lock().of_late(shared.clock.mono());
    for batch in ends.chunks(BATCH) {
        let told = batch.iter().map(|end| shared.store.end(end.clone()));
        for result in futures_util::future::join_all(told).await {
            match result {
                // Somebody else's by now, and ended or to be ended by them.
                Ok(()) | Err(StoreError::Fenced { .. } | StoreError::Ended) => {}
                // A store that falls silent again comes back as another one.
                Err(error) => tracing::debug!(%error, "cannot tell the store of an ended call again"),
            }
        }
    }
}
