//! Whether this node may speak for its calls ([`tandem_cluster::OwnLease`]).

use crate::call_actor::{CallMessage, key_of};
use crate::link::Frame;
use crate::shared::Shared;
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tandem_cluster::{LeaseStanding, OwnLease, is_store_away};
use tandem_sip::time::Mono;
use tokio::sync::oneshot;
use tokio::time::{interval, timeout};

/// How often a node without contact asks the others.
const ASK: Duration = Duration::from_millis(200);

/// How long they may take to say.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);

/// How long the store may take to say which calls are this node's.
const VERIFY_LIMIT: Duration = Duration::from_secs(2);

/// A node's authority over its calls.
pub(crate) struct Authority {
    /// Until when it holds; 0: it has lapsed.
    until: AtomicU64,
    /// Until when it is known that nobody can claim anything; `u64::MAX` for a node by itself.
    unclaimed_until: AtomicU64,
    /// `None` for a node by itself, whose calls nobody claims.
    lease: Mutex<Option<OwnLease>>,
    verifying: AtomicBool,
}

impl Authority {
    /// Of a node by itself.
    pub(crate) fn alone() -> Self {
        Self {
            until: AtomicU64::new(u64::MAX),
            unclaimed_until: AtomicU64::new(u64::MAX),
            lease: Mutex::default(),
            verifying: AtomicBool::new(false),
        }
    }

    /// The node has joined others.
    pub(crate) fn begin(&self, now: Mono) {
        self.change(|lease| *lease = Some(OwnLease::new(now)));
    }

    /// Whether the node may speak for its calls.
    pub(crate) fn holds(&self, now: Mono) -> bool {
        now.0 < self.until.load(Ordering::Relaxed)
    }

    /// Whether what depends on a commit waits until the store has it: others may claim its calls.
    pub(crate) fn holds_out(&self, now: Mono) -> bool {
        now.0 >= self.unclaimed_until.load(Ordering::Relaxed)
    }

    /// Whether it has lost contact with the store.
    pub(crate) fn is_blind(&self, now: Mono) -> bool {
        self.lease.lock().is_some_and(|lease| lease.is_blind(now))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Option<OwnLease>) -> T) -> T {
        let mut lease = self.lease.lock();
        let result = change(&mut lease);
        let until = lease.as_ref().map_or(u64::MAX, |lease| lease.until().map_or(0, |until| until.0));
        self.until.store(until, Ordering::Relaxed);
        let unclaimed = lease.as_ref().map_or(Some(Mono(u64::MAX)), OwnLease::nobody_claims_until);
        self.unclaimed_until.store(unclaimed.map_or(0, |until| until.0), Ordering::Relaxed);
        result
    }
}

/// Dropped by the last call that knows whether it has to ask.
#[derive(Debug)]
pub(crate) struct LettingGo(Option<oneshot::Sender<()>>);

impl Drop for LettingGo {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            // The store may have taken too long meanwhile.
            let _ = done.send(());
        }
    }
}

impl Shared {
    /// Whether this node may speak for its calls.
    pub(crate) fn has_authority(&self) -> bool {
        self.authority.holds(self.clock.mono())
    }

    /// Whether this node has lost contact with the store.
    pub(crate) fn is_blind(&self) -> bool {
        self.authority.is_blind(self.clock.mono())
    }

    /// The store has taken a beat that was sent then.
    pub(crate) fn beat_was_taken(self: &Arc<Self>, sent: Mono) {
        let now = self.clock.mono();
        let standing =
            self.authority.change(|lease| lease.as_mut().map(|lease| lease.acknowledged(sent, now)));
        if standing == Some(LeaseStanding::ToVerify)
            && !self.authority.verifying.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "this node was silent for too long: the store is asked which calls are still its own"
            );
            self.metrics.leases_lapsed.inc();
            let shared = self.clone();
            self.runtime.spawn(async move {
                if let Some(asked) = verify(&shared).await {
                    shared.authority.change(|lease| lease.as_mut().map(|lease| lease.verified(asked)));
                }
                shared.authority.verifying.store(false, Ordering::Relaxed);
            });
        }
    }
}

/// Has the calls that the store does not show as this node's find out whether they are. When it was asked, if it has said.
async fn verify(shared: &Shared) -> Option<Mono> {
    let asked = shared.clock.mono();
    let owned = timeout(VERIFY_LIMIT, shared.store.owned(&shared.name)).await.ok()?.ok()?;
    let owned: HashSet<_> = owned.into_iter().collect();
    let (done, all_done) = oneshot::channel();
    let letting_go = Arc::new(LettingGo(Some(done)));
    let mut lost = 0;
    for (id, call) in shared.calls.all() {
        // Whatever a call was told before it is not to speak of afterwards: each one has its turn.
        let is_lost = !owned.contains(&key_of(id));
        lost += usize::from(is_lost);
        // One that has gone has nothing to let go of.
        let _ = call.actor().cast(CallMessage::Verified { is_lost, done: letting_go.clone() });
    }
    drop(letting_go);
    timeout(VERIFY_LIMIT, all_done).await.ok()?.ok()?;
    tracing::warn!(
        doubtful = lost,
        "this node speaks for its calls again; the store is asked for each that it does not show"
    );
    Some(asked)
}

/// Asks the other nodes, while the store is silent, whether it is so for them. Runs where beats do.
pub(crate) async fn ask_others(shared: &Arc<Shared>) {
    let mut look = interval(ASK);
    loop {
        look.tick().await;
        if !shared.is_blind() {
            continue;
        }
        let asked = shared.clock.mono();
        let others = shared.nodes.others_alive(&shared.name);
        let ask = |name: Arc<str>| async move {
            shared.links.ask(&name, |question| Frame::AreYouBlind { question }, ANSWER_LIMIT).await
        };
        let members = others.len() + 1;
        let answers: Vec<_> = join_all(others.into_iter().map(ask)).await.into_iter().flatten().collect();
        if is_store_away(members, answers) {
            let now = shared.clock.mono();
            shared.authority.change(|lease| lease.as_mut().map(|lease| lease.all_blind(asked, now)));
        }
    }
}
