//! The nodes of the cluster, as this one sees them.

use crate::shared::Shared;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tandem_cluster::{Change, FEATURE_LEVELS, Gone, Liveness, NotRaised, Seen, Standing, raise};
use tandem_sip::time::{Mono, Wall};
use tandem_store::codec::{self, Versioned};
use tandem_store::{Document, Put, Revision, Space, Store, StoreError};
use tokio::sync::watch;

/// The document of the cluster's feature level.
const LEVEL: &str = "feature-level";

/// The longest mark and memo, in bytes.
pub const MAX_NOTE_BYTES: usize = 256;

/// What a node says of itself with each beat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Says {
    pub(crate) boot: u64,
    pub(crate) counter: u64,
    pub(crate) left: bool,
    pub(crate) at: Wall,
    pub(crate) started: Wall,
    /// Where it takes SIP, as peers know it.
    pub(crate) addresses: Vec<String>,
    pub(crate) admin: String,
    pub(crate) version: String,
    pub(crate) feature_level: u16,
    pub(crate) calls: u32,
    pub(crate) calls_started: u64,
    /// The revision of the configuration that it runs.
    pub(crate) config_revision: u64,
    /// Where other nodes reach it; empty if they do not.
    pub(crate) link: String,
    /// Whether it takes no new calls.
    pub(crate) draining: bool,
}

impl Versioned for Says {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

/// What operators have assigned to a node, which outlives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// When a node of that name joined first.
    pub(crate) created: Wall,
    pub(crate) mark: String,
    pub(crate) memo: String,
}

impl Versioned for Note {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

/// What an operator is shown of a node.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// Its name (access name).
    pub name: Arc<str>,
    /// The mark that an operator has given it.
    pub mark: String,
    /// What an operator has noted.
    pub memo: String,
    /// Whether it lives.
    pub standing: Standing,
    /// Whether it is the one that was asked.
    pub is_this: bool,
    /// When a node of that name joined first.
    pub created: Wall,
    /// When it was heard of last (access time).
    pub accessed: Wall,
    /// When it was started.
    pub started: Wall,
    /// Where it takes SIP.
    pub addresses: Vec<String>,
    /// Where its API is.
    pub admin: String,
    /// Its release.
    pub version: String,
    /// Which language of the cluster it speaks.
    pub feature_level: u16,
    /// The revision of the configuration that it runs; 0 for that of its own file.
    pub config_revision: u64,
    /// Calls in progress.
    pub calls: u32,
    /// Calls that it has admitted in the last second or so, per second.
    pub calls_per_second: f64,
}

/// A node that has been heard of.
struct Known {
    says: Says,
    /// Calls per second between its last two beats.
    rate: f64,
}

/// A node's share of work that all nodes could do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkShare {
    place: u64,
    of: u64,
}

impl WorkShare {
    /// Whether that is in it.
    pub(crate) fn has(self, name: &str) -> bool {
        let mut hasher = SipHasher13::new_with_keys(0, 1);
        hasher.write(name.as_bytes());
        hasher.finish() % self.of == self.place
    }
}

/// Where another node is reached.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) name: Arc<str>,
    pub(crate) boot: u64,
    pub(crate) address: String,
}

/// A short name of a node, for the tokens of the calls that are placed on it.
pub(crate) fn hint_of(name: &str) -> u16 {
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_bytes());
    let hash = hasher.finish();
    (hash & 0xFFFF) as u16
}

/// All nodes.
pub(crate) struct Nodes {
    alive: AtomicUsize,
    seen: Mutex<SeenNodes>,
    /// Tells of changes, by their number.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct SeenNodes {
    liveness: Liveness,
    known: BTreeMap<Arc<str>, Known>,
    /// Nodes that have died or left.
    gone: BTreeMap<Arc<str>, Gone>,
}

impl Default for Nodes {
    /// This one alone, as far as is known.
    fn default() -> Self {
        Self { alive: AtomicUsize::new(1), seen: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Nodes {
    /// Nodes that are alive, this one included: at least one.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// The names of the other nodes that are alive.
    pub(crate) fn others_alive(&self, this: &str) -> Vec<Arc<str>> {
        let seen = self.seen.lock();
        let lives = |name: &&Arc<str>| seen.liveness.standing(name) == Some(Standing::Alive);
        seen.known.keys().filter(lives).filter(|name| ***name != *this).cloned().collect()
    }

    /// The other nodes that have died or left.
    pub(crate) fn gone(&self, this: &str) -> Vec<Gone> {
        let seen = self.seen.lock();
        seen.gone.values().filter(|gone| *gone.name != *this).cloned().collect()
    }

    /// The other nodes that are alive and take new calls.
    pub(crate) fn places(&self, this: &str) -> Vec<Arc<str>> {
        let seen = self.seen.lock();
        let takes = |(name, known): &(&Arc<str>, &Known)| {
            ***name != *this
                && seen.liveness.standing(name) == Some(Standing::Alive)
                && !known.says.draining
                && !known.says.link.is_empty()
        };
        seen.known.iter().filter(takes).map(|(name, _)| name.clone()).collect()
    }

    /// The other node that is alive and has that short name.
    pub(crate) fn by_hint(&self, this: &str, hint: u16) -> Option<Arc<str>> {
        self.others_alive(this).into_iter().find(|name| hint_of(name) == hint)
    }

    /// Whether a node is alive.
    pub(crate) fn is_alive(&self, name: &str) -> bool {
        self.seen.lock().liveness.standing(name) == Some(Standing::Alive)
    }

    /// Where the other nodes are reached. One that is taken for dead may have lost contact with the store alone, and what came to it
    /// is answered by way of it.
    pub(crate) fn links(&self, this: &str) -> Vec<Reached> {
        let seen = self.seen.lock();
        let is_there = |(name, _): &(&Arc<str>, &Known)| {
            ***name != *this && seen.liveness.standing(name) != Some(Standing::Left)
        };
        let reached = |(name, known): (&Arc<str>, &Known)| Reached {
            name: name.clone(),
            boot: known.says.boot,
            address: known.says.link.clone(),
        };
        seen.known.iter().filter(is_there).map(reached).collect()
    }

    /// Tells when a node comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What of some work that all nodes could do is this one's.
    pub(crate) fn share_of(&self, this: &str) -> WorkShare {
        let others = self.others_alive(this);
        let place = others.iter().filter(|other| ***other < *this).count();
        WorkShare { place: place as u64, of: others.len() as u64 + 1 }
    }

    /// Whether what is known of them is of now.
    pub(crate) fn is_current(&self, now: Mono) -> bool {
        self.seen.lock().liveness.is_current(now)
    }

    /// This node joins these others.
    pub(crate) fn join(&self, others: usize) {
        self.alive.store(others + 1, Ordering::Relaxed);
    }

    /// Takes note of what all nodes have said last. What has become of some.
    pub(crate) fn note(&self, this: &Arc<str>, all: Vec<(Arc<str>, Says)>, now: Mono) -> Vec<Change> {
        let mut seen = self.seen.lock();
        let looks: Vec<_> = all.iter().map(|(name, says)| seen_of(name, says)).collect();
        let changes = seen.liveness.look(now, &looks);
        for Change { name, standing } in &changes {
            match standing {
                Some(Standing::Dead | Standing::Left) => {
                    let says = all.iter().find(|(one, _)| one == name).map(|(_, says)| says.boot);
                    let gone = Gone { name: name.clone(), boot: says.unwrap_or_default(), since: now };
                    seen.gone.insert(name.clone(), gone);
                }
                Some(Standing::Alive) | None => {
                    seen.gone.remove(name);
                }
            }
        }
        let mut known = std::mem::take(&mut seen.known);
        for (name, says) in all {
            let before = known.remove(&name);
            let rate = before.as_ref().map_or(0.0, |before| rate(before, &says));
            seen.known.insert(name, Known { says, rate });
        }
        // One that is not shown, and may be so again, has said what it has said.
        known.retain(|name, _| seen.liveness.standing(name).is_some());
        seen.known.append(&mut known);
        // Before its first beat this node is not among them.
        let is_shown = seen.known.keys().any(|name| **name == **this);
        self.alive.store(seen.liveness.alive() + usize::from(!is_shown), Ordering::Relaxed);
        drop(seen);
        if !changes.is_empty() {
            self.changes.send_modify(|number| *number += 1);
        }
        changes
    }
}

/// What the judge of liveness is shown of a node.
pub(crate) fn seen_of(name: &Arc<str>, says: &Says) -> Seen {
    Seen { name: name.clone(), boot: says.boot, counter: says.counter, left: says.left }
}

/// Calls per second since the beat before; between two looks at one beat as it was.
fn rate(before: &Known, says: &Says) -> f64 {
    let ms = says.at.0.saturating_sub(before.says.at.0);
    if before.says.boot != says.boot || ms == 0 {
        return before.rate;
    }
    says.calls_started.saturating_sub(before.says.calls_started) as f64 * 1000.0 / ms as f64
}

/// The highest feature level that this node knows.
pub(crate) fn highest_level() -> u16 {
    // A test plays a later release by that.
    #[cfg(feature = "fault-injection")]
    if let Some(level) = std::env::var("FAULT_FEATURE_LEVEL").ok().and_then(|level| level.parse().ok()) {
        return level;
    }
    *FEATURE_LEVELS.end()
}

/// The cluster's feature level, and the revision of that document.
pub(crate) async fn level_of_cluster(store: &dyn Store) -> Result<Option<(u16, Revision)>, StoreError> {
    let document = store.get(Space::Cluster, LEVEL).await?;
    Ok(document.map(|document| {
        let level = std::str::from_utf8(&document.value).ok().and_then(|text| text.parse().ok());
        // One that cannot be read is of a release that is not known here.
        (level.unwrap_or(u16::MAX), document.revision)
    }))
}

pub(crate) async fn note_level(
    store: &dyn Store,
    level: u16,
    seen: Option<Revision>,
) -> Result<(), StoreError> {
    let (space, key, value) = (Space::Cluster, LEVEL.into(), Some(level.to_string().into()));
    store.put(Put { space, key, seen, value, lapses: None }).await.map(|_| ())
}

/// Why the cluster's feature level was not raised.
#[derive(Debug, thiserror::Error)]
pub enum RaiseError {
    /// It cannot be.
    #[error(transparent)]
    NotRaised(#[from] NotRaised),
    /// Somebody else has done something about it.
    #[error("the feature level was changed meanwhile")]
    Conflict,
    /// The store cannot be asked.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for RaiseError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Conflict,
            other => Self::Store(other),
        }
    }
}

impl Shared {
    /// Raises the cluster's feature level, as high as all nodes know that live, or to that one. What it is now.
    pub(crate) async fn raise_feature_level(&self, wanted: Option<u16>) -> Result<u16, RaiseError> {
        let known = level_of_cluster(&*self.store).await?;
        let reports = self.node_reports().await?;
        let living = reports.iter().filter(|node| node.is_this || node.standing == Standing::Alive);
        let nodes = living.map(|node| (&*node.name, node.feature_level));
        let level =
            raise(known.as_ref().map_or(*FEATURE_LEVELS.start(), |(level, _)| *level), wanted, nodes)?;
        note_level(&*self.store, level, known.map(|(_, revision)| revision)).await?;
        tracing::info!(level, "raised the feature level of the cluster");
        Ok(level)
    }

    /// All nodes of the cluster, by name.
    ///
    /// # Errors
    /// The store cannot be asked what operators have noted.
    pub(crate) async fn node_reports(&self) -> Result<Vec<NodeReport>, StoreError> {
        let notes = self.store.scan(Space::Nodes, None, usize::from(u16::MAX)).await?;
        let notes: BTreeMap<Arc<str>, Note> =
            notes.into_iter().filter_map(|(name, document)| Some((name, note_of(&document)?))).collect();
        if !self.store.is_shared() {
            let says = self.says(0, false);
            return Ok(vec![self.report(&self.name, &notes, (&says, 0.0), Standing::Alive)]);
        }
        let seen = self.nodes.seen.lock();
        let report = |(name, known): (&Arc<str>, &Known)| {
            let standing = seen.liveness.standing(name).unwrap_or(Standing::Dead);
            self.report(name, &notes, (&known.says, known.rate), standing)
        };
        Ok(seen.known.iter().map(report).collect())
    }

    fn report(
        &self,
        name: &Arc<str>,
        notes: &BTreeMap<Arc<str>, Note>,
        (says, rate): (&Says, f64),
        standing: Standing,
    ) -> NodeReport {
        let note = notes.get(name).cloned().unwrap_or_default();
        NodeReport {
            name: name.clone(),
            mark: note.mark,
            memo: note.memo,
            standing,
            is_this: *name == self.name,
            created: if note.created == Wall(0) { says.started } else { note.created },
            accessed: says.at,
            started: says.started,
            addresses: says.addresses.clone(),
            admin: says.admin.clone(),
            version: says.version.clone(),
            feature_level: says.feature_level,
            config_revision: says.config_revision,
            calls: says.calls,
            calls_per_second: rate,
        }
    }

    /// What this node says of itself.
    pub(crate) fn says(&self, counter: u64, left: bool) -> Says {
        let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 5060));
        let places = 0..u16::try_from(self.listeners.len()).unwrap_or(u16::MAX);
        Says {
            boot: self.owner.boot,
            counter,
            left,
            at: self.clock.now().wall,
            started: self.started,
            addresses: places.map(|place| self.local_name(place, anywhere).to_string()).collect(),
            admin: self.admin.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            feature_level: highest_level(),
            calls: u32::try_from(self.admission.calls()).unwrap_or(u32::MAX),
            calls_started: self.metrics.calls_started.get(),
            config_revision: self.cluster_config.number(),
            link: self.link_address.clone(),
            draining: self.is_draining(),
        }
    }

    /// Notes when a node of this name joined first.
    pub(crate) async fn note_created(&self) -> Result<(), StoreError> {
        self.change_note(&self.name, |_| {}).await.map(drop)
    }

    /// Changes what is noted of a node. `false` if there is no such node.
    pub(crate) async fn annotate_node(
        &self,
        name: &str,
        mark: Option<String>,
        memo: Option<String>,
    ) -> Result<bool, StoreError> {
        let is_known = *name == *self.name || self.nodes.seen.lock().known.contains_key(name);
        if !is_known {
            return Ok(false);
        }
        self.change_note(name, |note| {
            note.mark = mark.clone().unwrap_or(std::mem::take(&mut note.mark));
            note.memo = memo.clone().unwrap_or(std::mem::take(&mut note.memo));
        })
        .await?;
        Ok(true)
    }

    async fn change_note(&self, name: &str, change: impl Fn(&mut Note)) -> Result<Revision, StoreError> {
        loop {
            let document = self.store.get(Space::Nodes, name).await?;
            let mut note = document.as_ref().and_then(note_of).unwrap_or_default();
            if note.created == Wall(0) {
                note.created = self.clock.now().wall;
            }
            change(&mut note);
            let value = codec::encode(&note).map_err(|_| StoreError::Away { step: "encode" })?;
            let seen = document.map(|document| document.revision);
            let (space, key, value) = (Space::Nodes, name.into(), Some(value));
            match self.store.put(Put { space, key, seen, value, lapses: None }).await {
                Err(StoreError::Conflict { .. }) => {}
                other => return other,
            }
        }
    }

    /// Forgets a node that does not live. `None`: it lives.
    pub(crate) async fn forget_node(&self, name: &str) -> Result<Option<bool>, StoreError> {
        if *name == *self.name || self.nodes.seen.lock().liveness.standing(name) == Some(Standing::Alive) {
            return Ok(None);
        }
        let was_there = self.store.forget_node(name.into()).await?;
        if let Some(document) = self.store.get(Space::Nodes, name).await? {
            let (space, key, seen) = (Space::Nodes, name.into(), Some(document.revision));
            self.store.put(Put { space, key, seen, value: None, lapses: None }).await?;
        }
        Ok(Some(was_there))
    }
}

fn note_of(document: &Document) -> Option<Note> {
    codec::decode(&document.value).ok()
}
