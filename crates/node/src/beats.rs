//! Beats: how the other nodes know that this one lives. They have a thread and a connection of their own, so that a busy
//! node is not taken for a dead one.

use crate::authority;
use crate::common::open_store;
use crate::node::StartError;
use crate::nodes::{FEATURE_LEVEL, Says, seen_of};
use crate::shared::Shared;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tandem_cluster::{BEAT, Change, Liveness, Standing};
use tandem_config::Config;
use tandem_sip::time::Mono;
use tandem_store::{Put, Space, Store, StoreError, codec};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long one beat may take.
const LIMIT: Duration = Duration::from_secs(1);

/// How long a node that starts waits for another one of its name to have gone.
const NAME_WAIT: Duration = Duration::from_secs(6);

/// The document of the cluster's feature level.
const LEVEL: &str = "feature-level";

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
        let store = match open_store(config, shared.clock, false) {
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
                Ok(all) => {
                    shared.beat_was_taken(sent);
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
async fn say(
    store: &dyn Store,
    shared: &Shared,
    counter: u64,
    leaves: bool,
) -> Result<Vec<(Arc<str>, Says)>, StoreError> {
    let says = codec::encode(&shared.says(counter, leaves)).map_err(|_| away("encode"))?;
    let beat = store.beat(Some((shared.name.clone(), says)));
    let all = timeout(LIMIT, beat).await.unwrap_or(Err(away("beat")))?;
    Ok(decoded(all))
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
    let all = decoded(timeout(LIMIT, shared.store.beat(None)).await.ok()?.ok()?);
    shared.nodes.join(all.iter().filter(|(name, says)| *name != shared.name && !says.left).count());
    let looks: Vec<_> = all.iter().map(|(name, says)| seen_of(name, says)).collect();
    liveness.look(now, &looks);
    let (_, other) = all.into_iter().find(|(name, _)| *name == shared.name)?;
    let lives = liveness.standing(&shared.name) == Some(Standing::Alive);
    Some(other).filter(|other| lives && other.boot != shared.owner.boot)
}

/// Whether this release knows the language of the cluster.
async fn check_level(store: &dyn Store) -> Result<(), StartError> {
    let away = |_| StartError::StoreAway { waited_s: LIMIT.as_secs() };
    if let Some(document) = store.get(Space::Cluster, LEVEL).await.map_err(away)? {
        let level = std::str::from_utf8(&document.value).ok().and_then(|text| text.parse().ok());
        return match level {
            Some(level) if level <= FEATURE_LEVEL => Ok(()),
            Some(_) | None => {
                let cluster = level.unwrap_or(u16::MAX);
                Err(StartError::FeatureLevel { cluster, ours: FEATURE_LEVEL })
            }
        };
    }
    let (space, key, value) = (Space::Cluster, LEVEL.into(), Some(FEATURE_LEVEL.to_string().into()));
    match store.put(Put { space, key, seen: None, value, lapses: None }).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(away(error)),
    }
}
