//! The configuration that the nodes of a cluster have in common: revisions in the store, which every node applies
//! without a restart.
//!
//! A revision takes force once every live node has found that it could run it: it is tried first (`trial`), each node
//! says what is wrong with it (`verdict/…`), and only if nothing is the revision becomes the current one. What the store
//! loses of it the nodes write again.

use crate::shared::Shared;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tandem_config::Config;
use tandem_sip::time::Wall;
use tandem_store::codec::{self, Versioned};
use tandem_store::{Changed, Document, Put, Revision, Space, Store, StoreError};
use thiserror::Error;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

/// The longest configuration in common, in bytes.
pub const MAX_CONFIG_BYTES: usize = 4 << 20;

/// Revisions that are kept; the oldest go first.
pub const MAX_REVISIONS: usize = 100;

/// How much of a text is in one document.
const CHUNK: usize = 60_000;

/// The document of the revision in force, and of the one that is being tried.
const CURRENT: &str = "current";
const TRIAL: &str = "trial";

/// How long the store may take over one step.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// How long nodes may take to say what is wrong with a revision.
const VERDICT_LIMIT: Duration = Duration::from_millis(3_500);

/// How often it is looked whether they have.
const VERDICT_LOOK: Duration = Duration::from_millis(100);

/// How long a text is kept that no revision has.
const TEXT_LIFE: Duration = Duration::from_secs(600);

/// How long a trial and the verdicts on it are kept.
const TRIAL_LIFE: Duration = Duration::from_secs(15);

/// How often it is looked which revision is in force, should nobody have been told.
const LOOK: Duration = Duration::from_secs(10);

/// A revision of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRevision {
    /// Counted from 1.
    pub number: u64,
    /// When it was pushed.
    pub at: Wall,
    /// Who says to have pushed it.
    pub by: String,
    /// What it is for.
    pub comment: String,
    /// The SHA-256 of its text, in hexadecimal.
    pub digest: String,
    /// The length of its text, in bytes.
    pub bytes: u64,
    /// The earlier revision whose text it has, if it was rolled back to.
    pub restores: Option<u64>,
}

impl Versioned for ConfigRevision {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

/// A revision that nodes are asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Trial {
    id: u64,
    revision: ConfigRevision,
}

impl Versioned for Trial {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

/// What a node has found wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    errors: Vec<String>,
}

impl Versioned for Verdict {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

/// A configuration to be pushed.
#[derive(Clone, Debug, Default)]
pub struct Push {
    /// Its text (TOML).
    pub text: String,
    /// Who pushes it.
    pub by: String,
    /// What it is for.
    pub comment: String,
    /// The revision that it was made from; if another one is in force by now, it is refused.
    pub seen: Option<u64>,
    /// The earlier revision whose text it has.
    pub restores: Option<u64>,
    /// Only ask the nodes.
    pub dry_run: bool,
}

/// What a node has found wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which node.
    pub node: String,
    /// Each with its line.
    pub errors: Vec<String>,
}

/// Why a configuration has not taken force.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PushError {
    /// This node's state is in memory.
    #[error("store.url is memory: there is no cluster; change the file and send SIGHUP")]
    NotShared,
    /// Beyond [`MAX_CONFIG_BYTES`].
    #[error("the configuration has {bytes} bytes, and at most {MAX_CONFIG_BYTES} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Nodes have found something wrong; none of them runs it.
    #[error("refused by {}", .0.iter().map(|refusal| &*refusal.node).collect::<Vec<_>>().join(", "))]
    Refused(Vec<Refusal>),
    /// Nodes that live have not said what they think of it.
    #[error("{} did not say in time whether it can run this; try again", .0.join(", "))]
    Silent(Vec<String>),
    /// Another revision is in force than the one that it was made from.
    #[error("revision {current} is in force by now")]
    Overtaken {
        /// Which.
        current: u64,
    },
    /// Another one is being tried.
    #[error("another push is under way; try again in some seconds")]
    Busy,
    /// There is no such revision, or not any more.
    #[error("there is no revision {0}")]
    NoRevision(u64),
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A revision with its text, which may hold passwords.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) revision: ConfigRevision,
    text: Arc<str>,
}

/// Which configuration a node runs.
pub(crate) struct ClusterConfig {
    /// The node's own file, with the environment.
    own: Mutex<Arc<Config>>,
    /// What the cluster has in common, once there is a revision.
    common: Mutex<Option<Common>>,
    /// Held by whoever has the node run another one: one after the other.
    changing: Mutex<()>,
}

impl ClusterConfig {
    pub(crate) fn new(own: Config, common: Option<Common>) -> Self {
        Self { own: Mutex::new(Arc::new(own)), common: Mutex::new(common), changing: Mutex::default() }
    }

    /// The revision that this node runs; 0 for that of its own file.
    pub(crate) fn number(&self) -> u64 {
        self.common.lock().as_ref().map_or(0, |common| common.revision.number)
    }

    pub(crate) fn own(&self) -> Arc<Config> {
        self.own.lock().clone()
    }

    fn common(&self) -> Option<Common> {
        self.common.lock().clone()
    }

    /// Has another file of the node's own. Whether it is what the node runs.
    pub(crate) fn set_own(&self, own: Config) -> bool {
        *self.own.lock() = Arc::new(own);
        self.common.lock().is_none()
    }

    fn set_common(&self, common: Common) {
        *self.common.lock() = Some(common);
    }
}

/// The revision in force, with its text.
///
/// # Errors
/// The store does not say, or lacks some of it.
pub(crate) async fn in_force(store: &dyn Store) -> Result<Option<Common>, StoreError> {
    let Some((revision, _)) = read::<ConfigRevision>(store, CURRENT).await? else { return Ok(None) };
    let text = read_text(store, &revision).await?;
    Ok(Some(Common { revision, text }))
}

impl Common {
    /// A node's configuration with this in common.
    ///
    /// # Errors
    /// What is wrong with it, with its lines.
    pub(crate) fn with(&self, own: &Config) -> Result<tandem_config::Loaded, Vec<String>> {
        own.with_cluster(&self.text).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }
}

impl Shared {
    /// The revision that this node runs, if the cluster has one.
    pub(crate) fn config_revision(&self) -> Option<ConfigRevision> {
        self.cluster_config.common().map(|common| common.revision)
    }

    /// The revisions that are kept, newest first.
    pub(crate) async fn config_revisions(&self) -> Result<Vec<ConfigRevision>, StoreError> {
        let after = Some(Arc::from("revision/"));
        let found = limited("scan", self.store.scan(Space::Config, after, MAX_REVISIONS * 2)).await?;
        let revisions = found.into_iter().filter(|(key, _)| key.starts_with("revision/"));
        let mut revisions: Vec<ConfigRevision> =
            revisions.filter_map(|(_, document)| codec::decode(&document.value).ok()).collect();
        revisions.reverse();
        let current = read::<ConfigRevision>(&*self.store, CURRENT).await?.map(|(current, _)| current);
        let is_missing = |current: &ConfigRevision| revisions.iter().all(|one| one.number != current.number);
        if let Some(current) = current.filter(is_missing) {
            revisions.insert(0, current);
        }
        Ok(revisions)
    }

    /// A revision with its text.
    pub(crate) async fn config_text(&self, number: u64) -> Result<(ConfigRevision, Arc<str>), PushError> {
        let store = &*self.store;
        let current = read::<ConfigRevision>(store, CURRENT).await?.map(|(current, _)| current);
        let found = match current.filter(|current| current.number == number) {
            Some(current) => Some(current),
            None => read::<ConfigRevision>(store, &revision_key(number)).await?.map(|(found, _)| found),
        };
        let revision = found.ok_or(PushError::NoRevision(number))?;
        let text = read_text(store, &revision).await?;
        Ok((revision, text))
    }

    /// Has every node run a configuration, if every node can. The revision that is in force then.
    pub(crate) async fn push_config(self: &Arc<Self>, push: Push) -> Result<ConfigRevision, PushError> {
        if !self.store.is_shared() {
            return Err(PushError::NotShared);
        }
        if push.text.len() > MAX_CONFIG_BYTES {
            return Err(PushError::TooLong { bytes: push.text.len() });
        }
        let store = &*self.store;
        let current = read::<ConfigRevision>(store, CURRENT).await?;
        let (current, seen) = current.map_or((None, None), |(current, seen)| (Some(current), Some(seen)));
        let number = current.as_ref().map_or(0, |current| current.number);
        if push.seen.is_some_and(|seen| seen != number) {
            return Err(PushError::Overtaken { current: number });
        }
        let text: Arc<str> = push.text.into();
        let own = self.refusals_of(&text).await;
        if !own.is_empty() {
            return Err(PushError::Refused(vec![Refusal { node: self.name.to_string(), errors: own }]));
        }
        let revision = ConfigRevision {
            number: number + 1,
            at: self.clock.now().wall,
            by: push.by,
            comment: push.comment,
            digest: digest(&text),
            bytes: text.len() as u64,
            restores: push.restores,
        };
        if let Some(current) = current.filter(|current| current.digest == revision.digest) {
            // There is nothing to change.
            return Ok(current);
        }
        let lapses = Some(self.in_a(TEXT_LIFE));
        write_text(store, &revision.digest, &text, lapses).await?;
        let tried = self.try_config(&revision).await;
        if tried.is_err() || push.dry_run {
            return tried.map(|()| revision);
        }
        write_text(store, &revision.digest, &text, None).await?;
        let common = Common { revision: revision.clone(), text };
        put_in_force(store, &common, seen).await?;
        self.run_common(common).await;
        self.prune_revisions().await?;
        Ok(revision)
    }

    fn in_a(&self, time: Duration) -> Wall {
        Wall(self.clock.now().wall.0.saturating_add(time.as_millis() as u64))
    }

    /// What is wrong with a configuration in common at this node.
    async fn refusals_of(self: &Arc<Self>, text: &Arc<str>) -> Vec<String> {
        let (shared, text) = (self.clone(), text.clone());
        let refusals = move || match shared.cluster_config.own().with_cluster(&text) {
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
            Ok(loaded) => {
                shared.locations.check(&loaded.config).err().iter().map(ToString::to_string).collect()
            }
        };
        // A large one takes a while, and calls are not to wait for it.
        spawn_blocking(refusals).await.unwrap_or_else(|error| vec![error.to_string()])
    }

    /// Asks all live nodes what is wrong with a revision.
    async fn try_config(&self, revision: &ConfigRevision) -> Result<(), PushError> {
        let store = &*self.store;
        let id = getrandom::u64().map_err(|_| StoreError::Away { step: "draw a number" })?;
        let trial = Trial { id, revision: revision.clone() };
        let lapses = Some(self.in_a(TRIAL_LIFE));
        let tried = match write(store, TRIAL, &trial, None, lapses).await {
            Err(StoreError::Conflict { .. }) => return Err(PushError::Busy),
            tried => tried?,
        };
        let result = self.verdicts(id).await;
        // Otherwise it lapses.
        let _ = remove(store, TRIAL, tried).await;
        result
    }

    async fn verdicts(&self, id: u64) -> Result<(), PushError> {
        let mut silent = self.nodes.others_alive(&self.name);
        let (mut refusals, end) = (Vec::new(), Instant::now() + VERDICT_LIMIT);
        while !silent.is_empty() && Instant::now() < end {
            tokio::time::sleep(VERDICT_LOOK).await;
            // One that has left or died meanwhile is asked when it starts.
            let alive = self.nodes.others_alive(&self.name);
            silent.retain(|node| alive.contains(node));
            let mut still_silent = Vec::new();
            for node in silent {
                match read::<Verdict>(&*self.store, &verdict_key(id, &node)).await? {
                    Some((Verdict { errors }, _)) if errors.is_empty() => {}
                    Some((Verdict { errors }, _)) => {
                        refusals.push(Refusal { node: node.to_string(), errors })
                    }
                    None => still_silent.push(node),
                }
            }
            silent = still_silent;
        }
        match (refusals.is_empty(), silent.is_empty()) {
            (false, _) => Err(PushError::Refused(refusals)),
            (true, false) => Err(PushError::Silent(silent.iter().map(ToString::to_string).collect())),
            (true, true) => Ok(()),
        }
    }

    /// Says what is wrong with the revision that is being tried.
    async fn judge_trial(self: &Arc<Self>) -> Result<(), StoreError> {
        let store = &*self.store;
        let Some((Trial { id, revision }, _)) = read::<Trial>(store, TRIAL).await? else { return Ok(()) };
        let key = verdict_key(id, &self.name);
        if limited("get", store.get(Space::Config, &key)).await?.is_some() {
            return Ok(());
        }
        let text = read_text(store, &revision).await?;
        let errors = self.refusals_of(&text).await;
        if !errors.is_empty() {
            tracing::warn!(?errors, "a configuration that was pushed cannot be run here");
        }
        let lapses = Some(self.in_a(TRIAL_LIFE));
        write(store, &key, &Verdict { errors }, None, lapses).await.map(drop)
    }

    /// Runs the revision in force; gives the store back what it has lost of it.
    async fn follow_current(self: &Arc<Self>) -> Result<(), StoreError> {
        let store = &*self.store;
        let current = read::<ConfigRevision>(store, CURRENT).await?;
        let running = self.cluster_config.common();
        match (current, running) {
            (None, None) => {}
            (Some((current, _)), Some(running)) if current == running.revision => {}
            (Some((current, seen)), Some(running)) if current.number < running.revision.number => {
                self.give_back(&running, Some(seen)).await?;
            }
            (None, Some(running)) => self.give_back(&running, None).await?,
            (Some((revision, _)), _) => {
                let text = read_text(store, &revision).await?;
                self.run_common(Common { revision, text }).await;
            }
        }
        Ok(())
    }

    /// Writes the revision that this node runs again.
    async fn give_back(&self, running: &Common, seen: Option<Revision>) -> Result<(), StoreError> {
        tracing::warn!(
            revision = running.revision.number,
            "the store has lost the configuration; it is written again"
        );
        let store = &*self.store;
        write_text(store, &running.revision.digest, &running.text, None).await?;
        match put_in_force(store, running, seen).await {
            // Another node was quicker.
            Err(PushError::Overtaken { .. }) => Ok(()),
            Err(PushError::Store(error)) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn run_common(self: &Arc<Self>, common: Common) {
        let shared = self.clone();
        // Tables are made beside the calls.
        if let Err(error) = spawn_blocking(move || shared.run_now(common)).await {
            tracing::error!(%error, "cannot run another revision of the configuration");
        }
    }

    fn run_now(self: &Arc<Self>, common: Common) {
        let _changing = self.cluster_config.changing.lock();
        let number = common.revision.number;
        // Whoever pushes it is told of it, too.
        let is_news =
            |running: Common| running.revision != common.revision && running.revision.number <= number;
        if !self.cluster_config.common().is_none_or(is_news) {
            return;
        }
        match common.with(&self.cluster_config.own()) {
            Ok(loaded) => {
                self.configure(&loaded.config);
                self.cluster_config.set_common(common);
                self.note_revision();
                loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                tracing::info!(revision = number, "runs another revision of the configuration");
            }
            Err(errors) => tracing::error!(
                revision = number,
                ?errors,
                "the revision in force cannot be run here; the one before stays"
            ),
        }
    }

    /// Shows which revision this node runs.
    pub(crate) fn note_revision(&self) {
        let number = self.cluster_config.number();
        self.metrics.config_revision.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Takes note of what the node's own file says now. Whether the node runs it: not where the cluster has a configuration in
    /// common.
    pub(crate) fn reload_own(self: &Arc<Self>, own: Config) -> bool {
        let _changing = self.cluster_config.changing.lock();
        let runs = self.cluster_config.set_own(own);
        if runs {
            self.configure(&self.cluster_config.own());
        }
        runs
    }

    /// Forgets the oldest revisions, and the texts that only they had.
    async fn prune_revisions(&self) -> Result<(), StoreError> {
        let revisions = self.config_revisions().await?;
        let Some((kept, old)) = revisions.split_at_checked(MAX_REVISIONS) else { return Ok(()) };
        for revision in old {
            forget(&*self.store, &revision_key(revision.number)).await?;
            if kept.iter().all(|kept| kept.digest != revision.digest) {
                for place in 0..chunks(revision.bytes as usize) {
                    forget(&*self.store, &text_key(&revision.digest, place)).await?;
                }
            }
        }
        Ok(())
    }
}

/// Judges what is pushed at any node, and runs what is in force.
pub(crate) async fn follow(shared: Arc<Shared>) {
    if !shared.store.is_shared() {
        return;
    }
    let mut changes = shared.store.changes(Space::Config);
    let mut contact = shared.store.contact();
    loop {
        let (trial, current) = tokio::select! {
            changed = changes.recv() => match changed {
                Ok(Changed { key, .. }) if &*key == TRIAL => (true, false),
                Ok(Changed { key, .. }) if &*key == CURRENT => (false, true),
                Ok(changed) if changed.is_any() => (true, true),
                Ok(_) => (false, false),
                Err(RecvError::Lagged(_)) => (true, true),
                Err(RecvError::Closed) => return,
            },
            changed = contact.changed() => {
                if changed.is_err() {
                    return;
                }
                (false, contact.borrow_and_update().answers)
            }
            () = tokio::time::sleep(LOOK) => (false, true),
        };
        // What fails is found by the next look.
        if trial && let Err(error) = shared.judge_trial().await {
            tracing::debug!(%error, "cannot judge a configuration");
        }
        if current && let Err(error) = shared.follow_current().await {
            tracing::debug!(%error, "cannot read the configuration");
        }
    }
}

/// Puts a revision whose text is in the store in force, in place of the one that was seen.
async fn put_in_force(store: &dyn Store, common: &Common, seen: Option<Revision>) -> Result<(), PushError> {
    let revision = &common.revision;
    if let Err(error) = write(store, CURRENT, revision, seen, None).await {
        let StoreError::Conflict { .. } = error else { return Err(error.into()) };
        let current = read::<ConfigRevision>(store, CURRENT).await?;
        return Err(PushError::Overtaken { current: current.map_or(0, |(current, _)| current.number) });
    }
    // Only what is in force is in the history. Until it is there the document above stands for it.
    let key = revision_key(revision.number);
    match write(store, &key, revision, None, None).await {
        Err(StoreError::Conflict { stored }) => write(store, &key, revision, stored, None).await?,
        written => written?,
    };
    Ok(())
}

fn revision_key(number: u64) -> String {
    format!("revision/{number:012}")
}

fn text_key(digest: &str, place: usize) -> String {
    format!("text/{digest}/{place:04}")
}

fn verdict_key(id: u64, node: &str) -> String {
    format!("verdict/{id:016x}/{node}")
}

fn chunks(bytes: usize) -> usize {
    bytes.div_ceil(CHUNK).max(1)
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn limited<T>(
    step: &'static str,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(STORE_LIMIT, asked).await.unwrap_or(Err(StoreError::Away { step }))
}

async fn read<T: Versioned>(store: &dyn Store, key: &str) -> Result<Option<(T, Revision)>, StoreError> {
    let document = limited("get", store.get(Space::Config, key)).await?;
    let decoded = |document: Document| match codec::decode(&document.value) {
        Ok(value) => Some((value, document.revision)),
        Err(error) => {
            tracing::error!(key, %error, "cannot read a document of the configuration");
            None
        }
    };
    Ok(document.and_then(decoded))
}

async fn write<T: Versioned>(
    store: &dyn Store,
    key: &str,
    value: &T,
    seen: Option<Revision>,
    lapses: Option<Wall>,
) -> Result<Revision, StoreError> {
    let value = codec::encode(value).map_err(|_| StoreError::Away { step: "encode" })?;
    let put = Put { space: Space::Config, key: key.into(), seen, value: Some(value), lapses };
    limited("put", store.put(put)).await
}

async fn remove(store: &dyn Store, key: &str, seen: Revision) -> Result<(), StoreError> {
    let put = Put { space: Space::Config, key: key.into(), seen: Some(seen), value: None, lapses: None };
    limited("put", store.put(put)).await.map(drop)
}

async fn forget(store: &dyn Store, key: &str) -> Result<(), StoreError> {
    match limited("get", store.get(Space::Config, key)).await? {
        Some(document) => remove(store, key, document.revision).await,
        None => Ok(()),
    }
}

/// Writes a text under its digest. One that is there for good stays so.
async fn write_text(
    store: &dyn Store,
    digest: &str,
    text: &str,
    lapses: Option<Wall>,
) -> Result<(), StoreError> {
    let bytes = text.as_bytes();
    for place in 0..chunks(bytes.len()) {
        let chunk = &bytes[place * CHUNK..bytes.len().min((place + 1) * CHUNK)];
        let key: Arc<str> = text_key(digest, place).into();
        let there = limited("get", store.get(Space::Config, &key)).await?;
        if there.as_ref().is_some_and(|document| document.lapses.is_none()) {
            continue;
        }
        let seen = there.map(|document| document.revision);
        let put = Put { space: Space::Config, key, seen, value: Some(Bytes::copy_from_slice(chunk)), lapses };
        match limited("put", store.put(put)).await {
            // Somebody else writes the same.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a revision's text.
async fn read_text(store: &dyn Store, revision: &ConfigRevision) -> Result<Arc<str>, StoreError> {
    let mut bytes = Vec::new();
    for place in 0..chunks(revision.bytes as usize) {
        let key = text_key(&revision.digest, place);
        let chunk = limited("get", store.get(Space::Config, &key)).await?;
        bytes.extend_from_slice(&chunk.map(|document| document.value).unwrap_or_default());
    }
    let text = String::from_utf8(bytes).ok().filter(|text| digest(text) == revision.digest);
    text.map(Into::into).ok_or(StoreError::Away { step: "read a configuration, of which some is missing" })
}
