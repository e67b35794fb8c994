//! The shared store: Redis as one server, as a master that sentinels name, or as a cluster.
//!
//! Everything lies in 256 buckets. A bucket is one hash tag, `{cluster:bNN}`, and each step is one script in one bucket,
//! so that it is all or nothing also in a Redis Cluster. Nothing is asked without a time limit; a store that does not answer
//! is left alone for a while, and whoever asks it meanwhile is told so at once.

mod address;
mod breaker;
mod calls;
mod cdrs;
mod documents;
mod link;
mod nodes;
mod pulse;
mod reply;
mod scripts;
mod slots;
mod writer;

pub use ::redis::RedisError as ClientError;
pub use address::{Address, AddressError, Certificates};

use crate::{
    Beaten, CallEnd, CallKey, CallWrite, Changed, Committed, Contact, Document, Owner, Put, Revision,
    SlotTake, Space, Store, StoreFuture, StoredCall, Taken,
};
use bytes::Bytes;
use calls::all_buckets;
use cdrs::Cdrs;
use documents::name_of;
use futures_util::StreamExt;
use link::Link;
use pulse::Pulse;
use redis::RedisResult;
pub use scripts::NEEDED_COMMANDS;
use scripts::{Invocation, Lua};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Changes that a reader may lag behind before it has to scan.
const CHANGES_MAX: usize = 4_096;

/// How often readers of CDRs look for records of other nodes.
const CDR_LOOK: Duration = Duration::from_secs(2);

/// How long it takes until a lost subscription is tried again.
const SUBSCRIBE_PAUSE: Duration = Duration::from_millis(500);

/// How a Redis store is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// How long an answer may take, connecting included.
    pub timeout: Duration,
    /// Requests that may wait for their answers; more are refused at once.
    pub under_way_max: usize,
    /// CDRs in one of 256 buckets that some group has not acknowledged. At the limit the bucket's calls cannot end in the
    /// store until a sink catches up.
    pub cdrs_per_bucket_max: usize,
    /// Whether changes are told of, and losses noticed. Without it the store is only asked.
    pub is_watched: bool,
}

impl Default for RedisSettings {
    /// One second, 16 384 requests, 4 096 CDRs a bucket (a million in all).
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            under_way_max: 16_384,
            cdrs_per_bucket_max: 4_096,
            is_watched: true,
        }
    }
}

/// A [`Store`] in Redis 7 or later.
pub struct RedisStore(Arc<Shared>, Vec<AbortHandle>);

struct Shared {
    link: Link,
    /// What all keys begin with: the name of the cluster of nodes.
    cluster: Arc<str>,
    cdrs: Cdrs,
    changes: [broadcast::Sender<Changed>; Space::ALL.len()],
    pulse: Pulse,
    /// What this process marks buckets with.
    mark: String,
    settings: RedisSettings,
}

impl RedisStore {
    /// Whether an address and its certificates can be used, without asking anybody.
    ///
    /// # Errors
    /// They cannot.
    pub fn check(address: &Address) -> RedisResult<()> {
        Link::new(address, RedisSettings::default()).map(drop)
    }

    /// A store for the nodes of that cluster. Returns at once: whether the store answers shows when it is asked.
    ///
    /// # Errors
    /// An address that the client cannot use.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(address: &Address, cluster: &str, settings: RedisSettings) -> RedisResult<Self> {
        let (link, queues) = Link::new(address, settings)?;
        let shared = Arc::new(Shared {
            link,
            cluster: cluster.into(),
            cdrs: Cdrs::new(),
            changes: std::array::from_fn(|_| broadcast::Sender::new(CHANGES_MAX)),
            pulse: Pulse::default(),
            mark: mark_of_this_process(),
            settings,
        });
        let mut tasks = Vec::new();
        if settings.is_watched {
            tasks.push(tokio::spawn(listen(shared.clone())).abort_handle());
        }
        for (place, queue) in queues.into_iter().enumerate() {
            let shared = shared.clone();
            let writing = tokio::spawn(async move { writer::write(&shared.link, place, queue).await });
            tasks.push(writing.abort_handle());
        }
        Ok(Self(shared, tasks))
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.1.iter().for_each(AbortHandle::abort);
    }
}

impl Shared {
    /// A script in a bucket, to be given its arguments.
    fn script(&self, script: &'static Lua, bucket: u8) -> Invocation {
        script.on(&format!("{{{}:b{bucket:02x}}}", self.cluster))
    }

    /// Where changes of a space are published.
    fn channel(&self, space: Space) -> String {
        format!("{}:changed:{}", self.cluster, name_of(space))
    }

    fn changes_of(&self, space: Space) -> &broadcast::Sender<Changed> {
        &self.changes[space.number()]
    }

    /// Passes on what is published until the connection is lost.
    async fn subscribe(&self) -> RedisResult<()> {
        let mut subscription = self.link.subscriber().await?;
        let spaces = Space::ALL.map(|space| (space, self.channel(space)));
        for (_, channel) in &spaces {
            subscription.subscribe(channel).await?;
        }
        // Whether something was lost is to be known before what is there is looked at.
        self.look_for_loss(&all_buckets()).await;
        for (space, _) in &spaces {
            // Nobody knows what was missed until now. Nobody may be listening.
            let _ = self.changes_of(*space).send(Changed::any());
        }
        let mut messages = subscription.on_message();
        while let Some(message) = messages.next().await {
            let channel = message.get_channel_name();
            let Some((space, _)) = spaces.iter().find(|(_, name)| name == channel) else { continue };
            let _ = self.changes_of(*space).send(changed(&message.get_payload::<String>()?));
        }
        Ok(())
    }
}

/// What a script publishes: revision or `-`, a space, key.
fn changed(text: &str) -> Changed {
    let (revision, key) = text.split_once(' ').unwrap_or_default();
    Changed { key: key.into(), revision: revision.parse().ok().map(Revision) }
}

/// Another one for each process, and each start of it.
fn mark_of_this_process() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", since.as_nanos(), std::process::id())
}

/// Listens for what other nodes change, as long as the store is used.
async fn listen(shared: Arc<Shared>) {
    let mut look = interval(CDR_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let subscription = async {
        loop {
            if let Err(error) = shared.subscribe().await {
                tracing::debug!(%error, "no subscription to the store's changes");
            }
            tokio::time::sleep(SUBSCRIBE_PAUSE).await;
        }
    };
    tokio::pin!(subscription);
    let pulse = shared.feel_pulse();
    tokio::pin!(pulse);
    loop {
        tokio::select! {
            () = &mut subscription => {}
            () = &mut pulse => {}
            _ = look.tick() => shared.cdrs.look_everywhere(),
        }
    }
}

macro_rules! with {
    ($store:expr, |$shared:ident| $body:expr) => {{
        let $shared = $store.0.clone();
        Box::pin(async move { $body.await })
    }};
}

impl Store for RedisStore {
    fn commit(&self, write: CallWrite) -> StoreFuture<Committed> {
        with!(self, |shared| shared.commit(write))
    }

    fn load(&self, key: CallKey) -> StoreFuture<Option<StoredCall>> {
        with!(self, |shared| shared.load(key))
    }

    fn claim(&self, key: CallKey, seen_epoch: u32, new_owner: Owner) -> StoreFuture<StoredCall> {
        with!(self, |shared| shared.claim(key, seen_epoch, new_owner))
    }

    fn end(&self, end: CallEnd) -> StoreFuture<()> {
        with!(self, |shared| shared.end(end))
    }

    fn owned(&self, node: &str) -> StoreFuture<Vec<CallKey>> {
        let node = node.to_owned();
        with!(self, |shared| shared.owned(&node))
    }

    fn read_cdrs(&self, group: &str, max: usize) -> StoreFuture<Vec<(CallKey, Bytes)>> {
        let group = group.to_owned();
        with!(self, |shared| shared.read_cdrs(&group, max))
    }

    fn ack_cdrs(&self, group: &str, keys: &[CallKey]) -> StoreFuture<()> {
        let (group, keys) = (group.to_owned(), keys.to_vec());
        with!(self, |shared| shared.ack_cdrs(&group, keys))
    }

    fn cdr_backlog(&self, group: &str) -> StoreFuture<usize> {
        let group = group.to_owned();
        with!(self, |shared| shared.cdr_backlog(&group))
    }

    fn cdr_appends(&self) -> watch::Receiver<u64> {
        self.0.cdrs.subscribe()
    }

    fn put(&self, put: Put) -> StoreFuture<Revision> {
        with!(self, |shared| shared.put(put))
    }

    fn get(&self, space: Space, key: &str) -> StoreFuture<Option<Document>> {
        let key = key.into();
        with!(self, |shared| shared.get(space, key))
    }

    fn scan(
        &self,
        space: Space,
        after: Option<Arc<str>>,
        max: usize,
    ) -> StoreFuture<Vec<(Arc<str>, Document)>> {
        with!(self, |shared| shared.scan(space, after, max))
    }

    fn changes(&self, space: Space) -> broadcast::Receiver<Changed> {
        self.0.changes_of(space).subscribe()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn take_slot(&self, take: SlotTake) -> StoreFuture<Taken> {
        with!(self, |shared| shared.take_slot(take))
    }

    fn renew_slots(&self, gateway: Arc<str>, holders: Vec<Arc<str>>) -> StoreFuture<u32> {
        with!(self, |shared| shared.renew_slots(&gateway, holders))
    }

    fn release_slot(&self, gateway: Arc<str>, holder: Arc<str>) -> StoreFuture<()> {
        with!(self, |shared| shared.release_slot(&gateway, &holder))
    }

    fn beat(&self, says: Option<(Arc<str>, Bytes)>) -> StoreFuture<Beaten> {
        with!(self, |shared| shared.beat(says))
    }

    fn forget_node(&self, node: Arc<str>) -> StoreFuture<bool> {
        with!(self, |shared| shared.forget_node(&node))
    }

    fn contact(&self) -> watch::Receiver<Contact> {
        self.0.link.contact()
    }
}

#[cfg(test)]
mod tests;
