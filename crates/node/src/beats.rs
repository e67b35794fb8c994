//! Beats: how the other nodes know that this one lives. They have a thread and a connection of their own, so that a busy
//! node is not taken for a dead one.

use crate::authority;
use crate::common::open_store;
use crate::node::StartError;
use crate::nodes::{Says, highest_level, level_of_cluster, note_level, seen_of};
use crate::shared::Shared;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tandem_cluster::{BEAT, Change, FEATURE_LEVELS, Liveness, Standing, StoreClock};
use tandem_config::Config;
use tandem_sip::time::{Mono, Wall};
use tandem_store::{Beaten, Store, StoreError, codec};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long one beat may take.
const LIMIT: Duration = Duration::from_secs(1);

/// How long a node that starts waits for another one of its name to have gone.
const NAME_WAIT: Duration = Duration::from_secs(6);

/// The thread that beats. Dropped, the node falls silent, as one that has died.
pub(crate) struct Beats {
    stop: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beats {
    /// Joins the cluster, and beats from then on.
    ///
    /// # Errors
    /// Another node of this name lives, or the cluster speaks a language that this release does not know.
    pub(crate) async fn start(config: &Config, shared: &Arc<Shared>) -> Result<Option<Self>, StartError> {
        if !shared.store.is_shared() {
            return Ok(None);
        }
        check_level(&*shared.store).await?;
        name_is_free(shared).await?;
        // Without that it is created when it is noted next.
        let _ = timeout(LIMIT, shared.note_created()).await;
        let (stop, leave) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (shared, config) = (shared.clone(), config.clone());
            let (stop, leave) = (stop.clone(), leave.clone());
            let beat = move || run(&config, &shared, &stop, &leave);
            std::thread::Builder::new().name("beats".to_owned()).spawn(beat).map_err(StartError::Thread)?
        };
        Ok(Some(Self { stop, leave, thread: Some(thread) }))
    }

    /// Says that the node leaves, and falls silent.
    pub(crate) fn leave(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends after its last beat; one that has panicked has ended.
            let _ = thread.join();
        }
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn run(config: &Config, shared: &Arc<Shared>, stop: &AtomicBool, leave: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime.inspect_err(|error| tracing::error!(%error, "no runtime for beats")) else {
        return;
    };
    runtime.block_on(async {
        let store = match open_store(config, shared.clock.clone(), false) {
            Ok(store) => store,
            Err(error) => return tracing::error!(%error, "no connection for beats"),
        };
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let asking = tokio::spawn({
            let shared = shared.clone();
            async move { authority::ask_others(&shared).await }
        });
        let mut counter = 0;
        let mut clock = StoreClock::default();
        shared.authority.begin(shared.clock.mono());
        loop {
            beat.tick().await;
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let leaves = leave.load(Ordering::Relaxed);
            counter += 1;
            let sent = shared.clock.mono();
            match say(&*store, shared, counter, leaves).await {
                Ok(Beaten { at, nodes }) => {
                    follow_clock(shared, &mut clock, at, sent);
                    shared.beat_was_taken(sent);
                    let all = decoded(nodes);
                    let changes = shared.nodes.note(&shared.name, all, shared.clock.mono());
                    shared.metrics.nodes_alive.set(i64::try_from(shared.nodes.alive()).unwrap_or(i64::MAX));
                    changes.iter().for_each(|change| log(change, &shared.name));
                }
                Err(error) => {
                    shared.metrics.beats_failed.inc();
                    tracing::debug!(%error, "a beat failed");
                }
            }
            if leaves {
                asking.abort();
                return;
            }
        }
    });
}

/// Says that this node lives; what all of them have said.
async fn say(store: &dyn Store, shared: &Shared, counter: u64, leaves: bool) -> Result<Beaten, StoreError> {
    let says = codec::encode(&shared.says(counter, leaves)).map_err(|_| away("encode"))?;
    let beat = store.beat(Some((shared.name.clone(), says)));
    timeout(LIMIT, beat).await.unwrap_or(Err(away("beat")))
}

/// The store has said what time it is: all nodes write that one down.
fn follow_clock(shared: &Shared, clock: &mut StoreClock, at: Option<Wall>, asked: Mono) {
    let Some(at) = at else { return };
    let now = shared.clock.mono();
    if let Some(off_ms) = clock.heard(at, asked, now) {
        tracing::debug!(off_ms, "the store's clock was set, or differs from what was known of it");
    }
    if let Some(wall) = clock.at(now) {
        shared.clock.follow(wall, now);
        shared.metrics.clock_skew.set(shared.clock.skew_ms());
    }
}

/// What nodes say that this release understands.
fn decoded(all: Vec<(Arc<str>, Bytes)>) -> Vec<(Arc<str>, Says)> {
    all.into_iter().filter_map(|(name, says)| Some((name, codec::decode(&says).ok()?))).collect()
}

fn log(Change { name, standing }: &Change, this: &Arc<str>) {
    match standing {
        _ if name == this => {}
        Some(Standing::Alive) => tracing::info!(node = %name, "a node of the cluster is alive"),
        Some(Standing::Dead) => {
            tracing::warn!(node = %name, "a node of the cluster is dead: it has stopped beating")
        }
        Some(Standing::Left) => tracing::info!(node = %name, "a node of the cluster has left"),
        None => tracing::info!(node = %name, "a node of the cluster has been forgotten"),
    }
}

fn away(step: &'static str) -> StoreError {
    StoreError::Away { step }
}

/// Waits until no other node of this name lives: two of one name would take each other for their own past.
async fn name_is_free(shared: &Shared) -> Result<(), StartError> {
    let mut liveness = Liveness::default();
    let mut look = interval(BEAT);
    let began = shared.clock.mono();
    loop {
        look.tick().await;
        let now = shared.clock.mono();
        if let Some(other) = other_of_this_name(shared, &mut liveness, now).await {
            if now.since(began) < NAME_WAIT {
                continue;
            }
            let address = other.addresses.join(", ");
            return Err(StartError::NameTaken { name: shared.name.to_string(), address });
        }
        return Ok(());
    }
}

/// Another life of this name that has not ended yet, as far as is known.
async fn other_of_this_name(shared: &Shared, liveness: &mut Liveness, now: Mono) -> Option<Says> {
    let all = decoded(timeout(LIMIT, shared.store.beat(None)).await.ok()?.ok()?.nodes);
    shared.nodes.join(all.iter().filter(|(name, says)| *name != shared.name && !says.left).count());
    let looks: Vec<_> = all.iter().map(|(name, says)| seen_of(name, says)).collect();
    liveness.look(now, &looks);
    let (_, other) = all.into_iter().find(|(name, _)| *name == shared.name)?;
    let lives = liveness.standing(&shared.name) == Some(Standing::Alive);
    Some(other).filter(|other| lives && other.boot != shared.owner.boot)
}

/// Whether this release knows the language of the cluster. A new cluster speaks that of its first node.
async fn check_level(store: &dyn Store) -> Result<(), StartError> {
    let away = |_| StartError::StoreAway { waited_s: LIMIT.as_secs() };
    let ours = highest_level();
    match level_of_cluster(store).await.map_err(away)? {
        Some((cluster, _)) if FEATURE_LEVELS.start() <= &cluster && cluster <= ours => Ok(()),
        Some((cluster, _)) => Err(StartError::FeatureLevel { cluster, ours }),
        None => match note_level(store, ours, None).await {
            Ok(()) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(away(error)),
        },
    }
}
