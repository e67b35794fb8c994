//! Work that one node of the cluster does for all, such as writing CDRs to a sink: whoever has its lease.

use crate::shared::Shared;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tandem_sip::time::{Mono, Wall};
use tandem_store::{Document, Put, Revision, Space, StoreError};

/// How long a lease holds without being renewed. Whoever follows a node that died begins after that.
const LIFE: Duration = Duration::from_secs(6);

/// How much earlier its holder takes it for lost: clocks do not all go at one pace, and what is under way has to arrive.
const MARGIN: Duration = Duration::from_secs(1);

/// How often it is renewed, or asked for.
const BEAT: Duration = Duration::from_millis(1_500);

/// The lease of a piece of work.
#[derive(Debug)]
pub(crate) struct Lease {
    key: Arc<str>,
    /// Until when it is this node's, in milliseconds of its monotonic clock.
    until: AtomicU64,
}

impl Lease {
    /// The lease of the work of that name, which is nobody's yet.
    pub(crate) fn new(work: &str) -> Self {
        Self { key: format!("lease:{work}").into(), until: AtomicU64::new(0) }
    }

    /// Whether this node does the work now.
    pub(crate) fn is_ours(&self, now: Mono) -> bool {
        self.until.load(Ordering::Relaxed) > now.0
    }

    /// Asks for the lease and renews it, for ever.
    pub(crate) async fn keep(&self, shared: &Shared) {
        let mut held = None;
        loop {
            // From before it is asked for: what the store takes later does not lengthen it here.
            let began = shared.clock.now();
            match self.ask(shared, held, began.wall).await {
                Ok(revision) => {
                    held = Some(revision);
                    self.until.store((began.mono + (LIFE - MARGIN)).0, Ordering::Relaxed);
                }
                Err(StoreError::Conflict { .. }) => {
                    held = None;
                    self.until.store(0, Ordering::Relaxed);
                }
                // It may have been renewed; what is known of it holds until then.
                Err(error) => tracing::debug!(lease = %self.key, %error, "cannot renew a lease"),
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Takes the lease if it is nobody's, or ours.
    async fn ask(&self, shared: &Shared, held: Option<Revision>, now: Wall) -> Result<Revision, StoreError> {
        let whose = Bytes::from(format!("{} {}", shared.owner.node, shared.owner.boot));
        let put = |seen| Put {
            space: Space::Cluster,
            key: self.key.clone(),
            seen,
            value: Some(whose.clone()),
            lapses: Some(Wall(now.0 + LIFE.as_millis() as u64)),
        };
        match shared.store.put(put(held)).await {
            Err(StoreError::Conflict { stored: Some(stored) }) => {
                // An answer was lost: it is ours all the same.
                let is_ours = |document: &Document| document.value == whose && document.revision == stored;
                let document = shared.store.get(Space::Cluster, &self.key).await?;
                match document.filter(is_ours) {
                    Some(_) => shared.store.put(put(Some(stored))).await,
                    None => Err(StoreError::Conflict { stored: Some(stored) }),
                }
            }
            Err(StoreError::Conflict { stored: None }) => shared.store.put(put(None)).await,
            other => other,
        }
    }

    /// Gives it back, so that another node need not wait until it lapses.
    pub(crate) async fn give_back(&self, shared: &Shared) {
        if !self.is_ours(shared.clock.mono()) {
            return;
        }
        self.until.store(0, Ordering::Relaxed);
        let Ok(Some(document)) = shared.store.get(Space::Cluster, &self.key).await else { return };
        let (key, seen) = (self.key.clone(), Some(document.revision));
        // It lapses by itself, too.
        let _ = shared.store.put(Put { space: Space::Cluster, key, seen, value: None, lapses: None }).await;
    }
}
