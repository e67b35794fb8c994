//! Work that one node of the cluster does for all, such as writing CDRs to a sink: whoever has its lease.
//!
//! A lease is a document that its holder writes again and again. Whoever sees it stand still for [`LIFE`], by a clock of its
//! own, takes it by comparing and setting; so no two clocks have to show the same time. It says how far the work has come,
//! for the one who goes on with it.

use crate::shared::Shared;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tandem_sip::time::Mono;
use tandem_store::{Document, Put, Revision, Space, StoreError};
use tokio::time::timeout;

/// How long a lease holds without being renewed.
pub(crate) const LIFE: Duration = Duration::from_secs(6);

/// How much earlier its holder takes it for lost: clocks do not all go at one pace, and what is under way has to arrive.
const MARGIN: Duration = Duration::from_secs(1);

/// How often it is renewed, or looked at.
const BEAT: Duration = Duration::from_millis(1_500);

/// How long the store may take.
const STORE_LIMIT: Duration = Duration::from_secs(1);

/// Of whoever has given it back.
const NOBODY: &str = "-";

/// The lease of a piece of work.
#[derive(Debug)]
pub(crate) struct Lease {
    key: Arc<str>,
    /// Until when it is this node's, in milliseconds of its monotonic clock.
    until: AtomicU64,
}

/// A lease as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    revision: Revision,
    node: String,
    boot: u64,
    progress: u64,
}

impl Held {
    fn read(document: &Document) -> Option<Self> {
        let mut words = std::str::from_utf8(&document.value).ok()?.split(' ');
        let (node, boot, progress) = (words.next()?, words.next()?, words.next()?);
        let (boot, progress) = (boot.parse().ok()?, progress.parse().ok()?);
        Some(Self { revision: document.revision, node: node.to_owned(), boot, progress })
    }
}

impl Lease {
    /// The lease of the work of that name. Where no other node can be, it is this node's.
    pub(crate) fn new(work: &str, is_shared: bool) -> Self {
        let until = if is_shared { 0 } else { u64::MAX };
        Self { key: format!("lease:{work}").into(), until: AtomicU64::new(until) }
    }

    /// Whether this node does the work now.
    pub(crate) fn is_ours(&self, now: Mono) -> bool {
        self.until.load(Ordering::Relaxed) > now.0
    }

    /// How far the work has come, as whoever did it last has said.
    pub(crate) async fn progress(&self, shared: &Shared) -> Option<u64> {
        self.read(shared).await.ok()?.map(|held| held.progress)
    }

    /// Asks for the lease and renews it, for ever. `progress` says how far the work has come here; `taken` is told how far
    /// it had come when the lease becomes this node's.
    pub(crate) async fn keep(
        &self,
        shared: &Shared,
        progress: impl Fn() -> u64,
        mut taken: impl FnMut(Option<u64>),
    ) {
        let mut seen: Option<(Held, Mono)> = None;
        loop {
            // From before it is asked for: what the store takes later does not lengthen it here.
            let began = shared.clock.mono();
            let was_ours = self.is_ours(began);
            match self.ask(shared, &mut seen, &progress, began).await {
                Ok(Some(before)) => {
                    self.until.store((began + (LIFE - MARGIN)).0, Ordering::Relaxed);
                    if !was_ours {
                        tracing::debug!(lease = %self.key, "does the work now");
                        taken(before);
                    }
                }
                Ok(None) => self.until.store(0, Ordering::Relaxed),
                // It may have been renewed; what is known of it holds until then.
                Err(error) => tracing::debug!(lease = %self.key, %error, "cannot renew a lease"),
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Takes or renews the lease if it is nobody's, ours, or that of a node that has gone: then says how far the work had
    /// come.
    async fn ask(
        &self,
        shared: &Shared,
        seen: &mut Option<(Held, Mono)>,
        progress: &impl Fn() -> u64,
        now: Mono,
    ) -> Result<Option<Option<u64>>, StoreError> {
        let held = self.read(shared).await?;
        let Some(held) = held else {
            return self.write(shared, None, progress()).await.map(|is_ours| is_ours.then_some(None));
        };
        let is_ours = held.node == *shared.owner.node && held.boot == shared.owner.boot;
        // The same node, started again: that life is over.
        let is_free = held.node == NOBODY || held.node == *shared.owner.node;
        let stands_still = match seen {
            Some((before, since)) if *before == held => now.since(*since) >= LIFE,
            Some(_) | None => {
                *seen = Some((held.clone(), now));
                false
            }
        };
        if !is_ours && !is_free && !stands_still {
            return Ok(None);
        }
        let here = if is_ours { progress() } else { held.progress };
        let is_ours = self.write(shared, Some(held.revision), here).await?;
        Ok(is_ours.then_some(Some(held.progress)))
    }

    async fn read(&self, shared: &Shared) -> Result<Option<Held>, StoreError> {
        let away = Err(StoreError::Away { step: "get" });
        let document = timeout(STORE_LIMIT, shared.store.get(Space::Cluster, &self.key)).await;
        Ok(document.unwrap_or(away)?.as_ref().and_then(Held::read))
    }

    /// Whether nobody else has written it since.
    async fn write(
        &self,
        shared: &Shared,
        seen: Option<Revision>,
        progress: u64,
    ) -> Result<bool, StoreError> {
        let whose = format!("{} {} {progress}", shared.owner.node, shared.owner.boot);
        self.put(shared, seen, whose).await
    }

    async fn put(&self, shared: &Shared, seen: Option<Revision>, value: String) -> Result<bool, StoreError> {
        let (key, value) = (self.key.clone(), Some(Bytes::from(value)));
        let put = shared.store.put(Put { space: Space::Cluster, key, seen, value, lapses: None });
        match timeout(STORE_LIMIT, put).await.unwrap_or(Err(StoreError::Away { step: "put" })) {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives it back, so that another node need not wait until it stands still.
    pub(crate) async fn give_back(&self, shared: &Shared, progress: u64) {
        if !shared.store.is_shared() || !self.is_ours(shared.clock.mono()) {
            return;
        }
        self.until.store(0, Ordering::Relaxed);
        if let Ok(Some(held)) = self.read(shared).await {
            // Without that it is taken a little later.
            let _ = self.put(shared, Some(held.revision), format!("{NOBODY} 0 {progress}")).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_says_whose_it_is_and_how_far_the_work_has_come() {
        let read = |text: &str| {
            let (revision, value) = (Revision(7), Bytes::from(text.to_owned()));
            Held::read(&Document { revision, value, lapses: None })
        };
        let held = Held { revision: Revision(7), node: "node-1".to_owned(), boot: 3, progress: 99 };
        assert_eq!(read("node-1 3 99"), Some(held));
        assert_eq!(read("- 0 99").map(|held| held.node), Some(NOBODY.to_owned()));
        assert_eq!(read("node-1 3"), None);
        assert_eq!(read("node-1 x 99"), None);
    }
}
