//! The documents of one space.

use super::check_length;
use crate::{Changed, Document, MAX_DOCUMENT_BYTES, MAX_KEY_BYTES, Put, Revision, StoreError};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use tandem_sip::time::Wall;
use tokio::sync::broadcast;

/// Changes that a reader may lag behind before it has to scan.
const CHANGES_MAX: usize = 4_096;

/// Lapsed documents that one operation clears away: more than one write can add.
const CLEARED_AT_ONCE: usize = 8;

pub(super) struct Documents {
    held: Mutex<Held>,
    limit: usize,
    changes: broadcast::Sender<Changed>,
}

#[derive(Default)]
struct Held {
    by_key: BTreeMap<Arc<str>, Stored>,
    lapsing: BTreeSet<(Wall, Arc<str>)>,
    /// The revision given last.
    last: u64,
}

struct Stored {
    document: Document,
    /// What its writer had seen: by this a repeated write is known.
    seen: Option<Revision>,
}

impl Documents {
    pub(super) fn new(limit: usize) -> Self {
        Self { held: Mutex::default(), limit, changes: broadcast::Sender::new(CHANGES_MAX) }
    }

    pub(super) fn put(&self, put: Put, now: Wall) -> Result<Revision, StoreError> {
        check_length(put.key.len(), MAX_KEY_BYTES)?;
        check_length(put.value.as_ref().map_or(0, bytes::Bytes::len), MAX_DOCUMENT_BYTES)?;
        let (key, is_there) = (put.key.clone(), put.value.is_some());
        let (revision, changed) = self.held.lock().put(put, now, self.limit)?;
        if changed {
            // Nobody may be listening.
            let _ = self.changes.send(Changed { key, revision: Some(revision).filter(|_| is_there) });
        }
        Ok(revision)
    }

    pub(super) fn get(&self, key: &str, now: Wall) -> Option<Document> {
        let held = self.held.lock();
        held.by_key.get(key).map(|stored| &stored.document).filter(|document| document.lives(now)).cloned()
    }

    pub(super) fn scan(&self, after: Option<Arc<str>>, max: usize, now: Wall) -> Vec<(Arc<str>, Document)> {
        let held = self.held.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let living = held.by_key.range((from, Bound::Unbounded));
        let living = living.filter(|(_, stored)| stored.document.lives(now));
        living.map(|(key, stored)| (key.clone(), stored.document.clone())).take(max).collect()
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }
}

impl Held {
    /// The revision, and whether something has changed.
    fn put(&mut self, put: Put, now: Wall, limit: usize) -> Result<(Revision, bool), StoreError> {
        self.clear_lapsed(now);
        let Put { key, seen, value, lapses, .. } = put;
        let known = self.by_key.get(&key).filter(|stored| stored.document.lives(now));
        let stored = known.map(|stored| stored.document.revision);
        let Some(value) = value else {
            return match stored {
                Some(revision) if seen != stored => Err(StoreError::Conflict { stored: Some(revision) }),
                Some(_) => {
                    self.remove(&key);
                    Ok((self.next(), true))
                }
                None => Ok((self.next(), false)),
            };
        };
        if seen != stored {
            let repeated = known.filter(|known| known.seen == seen && known.document.value == value);
            let repeated = repeated.filter(|known| known.document.lapses == lapses);
            return match repeated {
                Some(known) => Ok((known.document.revision, false)),
                None => Err(StoreError::Conflict { stored }),
            };
        }
        self.remove(&key);
        if self.by_key.len() >= limit {
            return Err(StoreError::SpaceFull { limit });
        }
        let revision = self.next();
        if let Some(lapses) = lapses {
            self.lapsing.insert((lapses, key.clone()));
        }
        self.by_key.insert(key, Stored { document: Document { revision, value, lapses }, seen });
        Ok((revision, true))
    }

    fn next(&mut self) -> Revision {
        self.last += 1;
        Revision(self.last)
    }

    fn remove(&mut self, key: &Arc<str>) {
        if let Some(Stored { document: Document { lapses: Some(lapses), .. }, .. }) = self.by_key.remove(key)
        {
            self.lapsing.remove(&(lapses, key.clone()));
        }
    }

    fn clear_lapsed(&mut self, now: Wall) {
        for _ in 0..CLEARED_AT_ONCE {
            match self.lapsing.first() {
                Some((lapses, key)) if *lapses <= now => {
                    let key = key.clone();
                    self.remove(&key);
                }
                Some(_) | None => return,
            }
        }
    }
}

impl Document {
    fn lives(&self, now: Wall) -> bool {
        self.lapses.is_none_or(|lapses| lapses > now)
    }
}
