//! What other nodes write of registrations, and what the store may have lost of them.
//!
//! Every shard knows all bindings of its addresses, whichever node wrote them. A change is told with its revision, by which
//! a node knows its own echo. Where changes may have been missed the whole store is read; where the store may have lost
//! something, what memory has is merged with what is there and written again.

use crate::registrar_actor::{RegistrarMessage, Shard, Whose};
use crate::shared::Shared;
use ractor::RpcReplyPort;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Now;
use tandem_store::{Changed, Document, Revision, Space, Store, StoreError};
use tandem_switch::registrar::{Aor, Bindings};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot};
use tokio::time::timeout;

/// How long the store may take over one request.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// How long after a failure it is read again, and how long a shard without room is waited for.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How often a node that starts tries to read the registrations.
const LOAD_TRIES: u32 = 40;

/// Documents that are read at a time where all are read.
const READ_PAGE: usize = 10_000;

/// How long a shard may take over a page.
const PAGE_LIMIT: Duration = Duration::from_secs(10);

/// Writes of one shard under way at a time that give the store back what it has lost.
const RESTORED_AT_ONCE: usize = 64;

/// Part of all that the store has, for one shard.
#[derive(Debug)]
pub(crate) struct Found {
    /// Which reading of the whole store this is.
    reading: u64,
    /// Whether the store may have lost something since the last reading.
    lost: bool,
    /// How often it may have by now ([`Contact::lives`](tandem_store::Contact::lives)).
    lives: u64,
    documents: Vec<(Aor, Document)>,
    /// Whether this is all.
    is_over: bool,
    /// Answered when it has been looked at.
    reply: RpcReplyPort<()>,
}

/// What a shard does about what others write.
#[derive(Default)]
pub(crate) struct Following {
    /// The last reading of the whole store.
    pub(crate) reading: u64,
    /// How often the store may have lost something, as far as this shard has seen to it.
    lives: u64,
    /// Addresses of record that are being read.
    asked: HashSet<Aor>,
    /// Those of which the store has not said what it has.
    to_read: Vec<Aor>,
    /// Those that the store has lost, to be written again unless another node does.
    lost: VecDeque<Aor>,
    /// Those to be written again, whoever has written them.
    pub(crate) to_restore: VecDeque<Aor>,
    /// Of these, how many are being written.
    under_way: usize,
}

impl Shard {
    /// Somebody has written an address of record.
    pub(crate) fn on_changed(&mut self, aor: Aor, revision: Option<Revision>) {
        if let Some(writing) = self.writing.get_mut(&aor) {
            return writing.hear(revision);
        }
        let known = self.entries.get(&aor).and_then(|entry| entry.revision);
        // Later revisions are higher.
        if known == revision || (revision.is_some() && known > revision) {
            return;
        }
        self.read(aor);
    }

    /// Asks what the store has of an address of record.
    fn read(&mut self, aor: Aor) {
        if !self.following.asked.insert(aor.clone()) {
            return;
        }
        let seen = self.entries.get(&aor).and_then(|entry| entry.revision);
        let (myself, get) = (self.myself.clone(), self.shared.store.get(Space::Registrations, aor.as_str()));
        tokio::spawn(async move {
            let away = Err(StoreError::Away { step: "get" });
            let result = timeout(STORE_LIMIT, get).await.unwrap_or(away);
            // A shard that has failed meanwhile reads the store when it starts again.
            let _ = myself.cast(RegistrarMessage::Read { aor, seen, result });
        });
    }

    pub(crate) fn on_read(
        &mut self,
        aor: Aor,
        seen: Option<Revision>,
        result: Result<Option<Document>, StoreError>,
        now: Now,
    ) {
        self.following.asked.remove(&aor);
        // A write of ours tells what stands there.
        if self.writing.contains_key(&aor) {
            return;
        }
        let Ok(document) = result else {
            self.following.to_read.push(aor);
            return;
        };
        let known = self.entries.get(&aor).and_then(|entry| entry.revision);
        if known != seen {
            // Written here meanwhile: what was read may be older.
            return self.read(aor);
        }
        // What the store has lost is no removal: the next reading of the whole store tells them apart.
        if self.shared.store.contact().borrow().lives != self.following.lives {
            self.following.to_read.push(aor);
            return;
        }
        let is_unstored = known.is_none() && self.entries.contains_key(&aor);
        match document {
            // It is to be written again.
            None if is_unstored => {}
            None => self.replace(&aor, Bindings::default(), None),
            Some(document) => self.on_found_one(aor, document, is_unstored, now),
        }
    }

    /// Takes note of a part of all that the store has.
    pub(crate) fn on_found(&mut self, found: Found, now: Now) {
        let Found { reading, lost, lives, documents, is_over, reply } = found;
        self.following.reading = reading;
        for (aor, document) in documents {
            self.on_found_one(aor, document, lost, now);
        }
        if is_over {
            self.following.lives = lives;
            self.on_not_found(lost);
            self.restore_some(now);
        }
        // Without an answer nobody reads any more.
        let _ = reply.send(());
    }

    fn on_found_one(&mut self, aor: Aor, document: Document, lost: bool, now: Now) {
        let Some(entry) = self.entries.get_mut(&aor) else {
            if !self.writing.contains_key(&aor) {
                let bindings = self.shared.decoded(aor.as_str(), &document.value, now.wall);
                self.replace(&aor, bindings, Some(document.revision));
            }
            return;
        };
        entry.reading = self.following.reading;
        // One that waits to be written was lost.
        let lost = lost || entry.revision.is_none();
        if self.writing.contains_key(&aor) || entry.revision == Some(document.revision) {
            return;
        }
        let stored = self.shared.decoded(aor.as_str(), &document.value, now.wall);
        if !lost {
            if entry.revision < Some(document.revision) {
                self.replace(&aor, stored, Some(document.revision));
            }
            return;
        }
        let mut merged = entry.bindings.merge(&stored);
        merged.expire(now.wall);
        if merged != Bindings::default().merge(&stored) {
            self.following.to_restore.push_back(aor.clone());
        }
        self.replace(&aor, merged, Some(document.revision));
    }

    /// The store has been read, and has nothing of some addresses of record: it has lost them, or somebody has taken them
    /// away.
    fn on_not_found(&mut self, lost: bool) {
        let reading = self.following.reading;
        let missing = self.entries.iter().filter(|(_, entry)| entry.reading < reading);
        let missing: Vec<Aor> = missing.map(|(aor, _)| aor.clone()).collect();
        let mut lost_here = Vec::new();
        for aor in missing {
            let Some(entry) = self.entries.get_mut(&aor) else { continue };
            match entry.revision {
                Some(_) if lost => {
                    entry.revision = None;
                    lost_here.push(aor);
                }
                Some(_) => self.read(aor),
                // It waits to be written already.
                None => {}
            }
        }
        self.divide(lost_here);
    }

    /// All nodes have lost the same: each begins with its share, and when it has come to those of others they are there.
    fn divide(&mut self, lost: Vec<Aor>) {
        let share = self.shared.nodes.share_of(&self.shared.name);
        let (own, others): (Vec<_>, Vec<_>) = lost.into_iter().partition(|aor| share.has(aor.as_str()));
        self.following.lost.extend(own);
        self.following.lost.extend(others);
    }

    /// Reads again what could not be read, and writes some of what the store has lost.
    pub(crate) fn catch_up(&mut self, now: Now) {
        if !self.following.to_read.is_empty() && self.shared.store.contact().borrow().answers {
            std::mem::take(&mut self.following.to_read).into_iter().for_each(|aor| self.read(aor));
        }
        self.restore_some(now);
    }

    fn restore_some(&mut self, now: Now) {
        let nothing = self.following.to_restore.is_empty() && self.following.lost.is_empty();
        if nothing || !self.shared.store.contact().borrow().answers {
            return;
        }
        while self.following.under_way < RESTORED_AT_ONCE {
            let (aor, is_lost) = match self.following.to_restore.pop_front() {
                Some(aor) => (aor, false),
                None => match self.following.lost.pop_front() {
                    Some(aor) => (aor, true),
                    None => return,
                },
            };
            // A REGISTER that is being written has all that is known, and another node may have been quicker.
            let entry = self.entries.get(&aor).filter(|_| !self.writing.contains_key(&aor));
            let entry = entry.filter(|entry| !is_lost || entry.revision.is_none());
            if let Some(bindings) = entry.map(|entry| entry.bindings.clone()) {
                self.following.under_way += 1;
                self.write(aor, bindings, Whose::Restoring, now);
            }
        }
    }

    pub(crate) fn on_restored(&mut self, aor: &Aor, revision: Revision, now: Now) {
        self.shared.metrics.registrations_restored.inc();
        self.is_stored(aor);
        self.following.under_way -= 1;
        if let Some(entry) = self.entries.get_mut(aor) {
            entry.revision = Some(revision);
        }
        self.restore_some(now);
    }

    /// Another node has written it before.
    pub(crate) fn on_overtaken(&mut self, aor: Aor) {
        self.following.under_way -= 1;
        self.read_to_merge(aor);
    }

    pub(crate) fn on_not_restored(&mut self, aor: Aor) {
        self.following.under_way -= 1;
        self.following.to_restore.push_back(aor);
    }

    /// Reads an address of record that two nodes give back to the store.
    fn read_to_merge(&mut self, aor: Aor) {
        let (myself, get) = (self.myself.clone(), self.shared.store.get(Space::Registrations, aor.as_str()));
        let (reading, shared) = (self.following.reading, self.shared.clone());
        tokio::spawn(async move {
            let away = Err(StoreError::Away { step: "get" });
            // Away or gone again: the next reading of the whole store finds out.
            let Ok(Some(document)) = timeout(STORE_LIMIT, get).await.unwrap_or(away) else { return };
            let documents = vec![(aor, document)];
            let (reply, _) = oneshot::channel();
            let found =
                Found { reading, lost: true, lives: 0, documents, is_over: false, reply: reply.into() };
            // Counted as any other: taken up by the handler.
            if let Some((aor, _)) = found.documents.first() {
                shared.registrar.shard(aor).count_one();
            }
            let _ = myself.cast(RegistrarMessage::Found(found));
        });
    }
}

/// Gives the shards what the store has, when the node starts.
///
/// # Errors
/// The store does not say, or a shard has failed.
pub(crate) async fn load(shared: &Shared) -> Result<(), StoreError> {
    if !shared.store.is_shared() {
        return Ok(());
    }
    let mut tries = LOAD_TRIES;
    loop {
        let lives = shared.store.contact().borrow().lives;
        match read_all(shared, 1, false, lives).await {
            Ok(()) => return Ok(()),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {
                tries -= 1;
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// What is heard from before a node reads the registrations: what comes meanwhile is not missed.
pub(crate) struct Heard {
    changes: broadcast::Receiver<Changed>,
    lives: u64,
}

impl Heard {
    pub(crate) fn from_now(store: &dyn Store) -> Self {
        Self { changes: store.changes(Space::Registrations), lives: store.contact().borrow().lives }
    }
}

/// Tells the shards of what other nodes write, and sees to it that the store has what it may have lost.
pub(crate) async fn follow(shared: Arc<Shared>, Heard { mut changes, mut lives }: Heard) {
    if !shared.store.is_shared() {
        return;
    }
    // The first was made when the node started.
    let (mut contact, mut reading) = (shared.store.contact(), 1);
    loop {
        let missed = tokio::select! {
            changed = changes.recv() => match changed {
                Ok(changed) if !changed.is_any() => {
                    tell(&shared, changed).await;
                    false
                }
                Ok(_) | Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            },
            changed = contact.changed() => {
                if changed.is_err() {
                    return;
                }
                false
            }
        };
        let lost = contact.borrow_and_update().lives != lives;
        if !missed && !lost {
            continue;
        }
        loop {
            let lives_now = contact.borrow_and_update().lives;
            reading += 1;
            match read_all(&shared, reading, lives_now != lives, lives_now).await {
                Ok(()) => {
                    lives = lives_now;
                    break;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot read the registrations yet");
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }
}

/// Tells a shard of a change. One without room is waited for: what is missed meanwhile shows as a lag.
async fn tell(shared: &Shared, changed: Changed) {
    let Some(aor) = Aor::parse(&changed.key) else { return };
    let Changed { revision, .. } = changed;
    while !shared.registrar.shard(&aor).tell(RegistrarMessage::Changed { aor: aor.clone(), revision }) {
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Reads the whole store, and has the shards look at it page by page.
async fn read_all(shared: &Shared, reading: u64, lost: bool, lives: u64) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let read = shared.store.scan(Space::Registrations, after.take(), READ_PAGE);
        let away = Err(StoreError::Away { step: "scan" });
        let page = timeout(STORE_LIMIT, read).await.unwrap_or(away)?;
        let is_over = page.is_empty();
        after = page.last().map(|(last, _)| last.clone());
        let mut by_shard: HashMap<usize, Vec<(Aor, Document)>> = HashMap::new();
        for (key, document) in page {
            if let Some(aor) = Aor::parse(&key) {
                by_shard.entry(shared.registrar.shard_of(&aor)).or_default().push((aor, document));
            }
        }
        for (place, shard) in shared.registrar.shards().iter().enumerate() {
            let documents = by_shard.remove(&place).unwrap_or_default();
            if documents.is_empty() && !is_over {
                continue;
            }
            let (reply, looked_at) = oneshot::channel();
            let found = Found { reading, lost, lives, documents, is_over, reply: reply.into() };
            let gone = StoreError::Away { step: "hand over to a shard" };
            if !shard.tell(RegistrarMessage::Found(found)) {
                return Err(gone);
            }
            timeout(PAGE_LIMIT, looked_at).await.ok().and_then(Result::ok).ok_or(gone)?;
        }
        if is_over {
            return Ok(());
        }
    }
}
