//! What the nodes of a cluster have in common, and the store that they find it in.

use crate::cdr_actor::Sinks;
use crate::clock::Clock;
use crate::node::{StartError, random_key};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tandem_config::{Config, StoreAddress};
use tandem_store::codec::{self, Versioned};
use tandem_store::redis::{Address, Certificates, RedisSettings, RedisStore};
use tandem_store::{Document, MemoryLimits, MemoryStore, Put, Space, Store, StoreError};
use tokio::time::Instant;

/// How long a node that starts waits for its store.
const STORE_WAIT: Duration = Duration::from_secs(30);

/// How long after a failed request it is made again.
const RETRY: Duration = Duration::from_millis(250);

/// How long nobody has to beat until a store without keys is taken for a new one: two beats and a little.
const FIRST_BEATS: Duration = Duration::from_millis(700);

/// How long nodes that beat are waited for to give a store without keys those that it has lost.
const GIVERS_WAIT: Duration = Duration::from_secs(5);

/// How often it is looked meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// The document of the keys.
const KEYS: &str = "keys";

/// Keys that all nodes use: what one of them has named, each of them knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommonKeys {
    /// Behind ids and tokens of calls.
    pub(crate) tokens: [u8; 16],
    /// Behind the nonces of challenges.
    pub(crate) nonces: [u8; 16],
}

impl Versioned for CommonKeys {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

impl CommonKeys {
    fn random() -> Result<Self, StartError> {
        Ok(Self { tokens: random_key()?, nonces: random_key()? })
    }

    /// Those of the cluster. The first node that asks has made them.
    pub(crate) async fn of_cluster(store: &dyn Store) -> Result<Self, StartError> {
        let ours = Self::random()?;
        let value = codec::encode(&ours).map_err(StartError::Keys)?;
        let agreed = async {
            await_givers(store).await;
            loop {
                match agree(store, &value).await {
                    Ok(document) => return document,
                    Err(error) => {
                        tracing::warn!(%error, "waiting for the store");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        };
        match tokio::time::timeout(STORE_WAIT, agreed).await {
            Ok(Some(document)) => codec::decode(&document.value).map_err(StartError::Keys),
            Ok(None) => Ok(ours),
            Err(_) => Err(StartError::StoreAway { waited_s: STORE_WAIT.as_secs() }),
        }
    }
}

/// Waits for the keys in a store that has none: it may have lost them, and other nodes give them back. They show by their beats.
async fn await_givers(store: &dyn Store) {
    if !store.is_shared() {
        return;
    }
    let began = Instant::now();
    loop {
        let (keys, beats) = (store.get(Space::Cluster, KEYS).await, store.beat(None).await);
        let wait = match (keys, beats) {
            (Ok(Some(_)), _) => return,
            (Ok(None), Ok(beats)) if beats.nodes.is_empty() => FIRST_BEATS,
            (Ok(None), Ok(_)) => GIVERS_WAIT,
            // Whoever asks next waits for the store.
            (Err(_), _) | (_, Err(_)) => return,
        };
        if began.elapsed() >= wait {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Gives a store the keys again that it may have lost.
pub(crate) async fn give_back(store: &dyn Store, keys: &CommonKeys) {
    let Ok(value) = codec::encode(keys) else { return };
    loop {
        match agree(store, &value).await {
            Ok(None) => return tracing::warn!("gave the store the keys of the cluster again"),
            Ok(Some(document)) if document.value == value => return,
            Ok(Some(_)) => {
                return tracing::error!(
                    "the store has other keys of the cluster than this node: what others have named is not known here; restart it"
                );
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// The keys that were there; `None` if these are those of the cluster now.
async fn agree(store: &dyn Store, value: &Bytes) -> Result<Option<Document>, StoreError> {
    if let Some(document) = store.get(Space::Cluster, KEYS).await? {
        return Ok(Some(document));
    }
    let (space, key, value) = (Space::Cluster, KEYS.into(), Some(value.clone()));
    match store.put(Put { space, key, seen: None, value, lapses: None }).await {
        Ok(_) => Ok(None),
        Err(StoreError::Conflict { .. }) => store.get(Space::Cluster, KEYS).await,
        Err(error) => Err(error),
    }
}

/// The store that the configuration names. Whether it answers shows when it is asked. Without `is_watched` it tells of
/// nothing by itself.
pub(crate) fn open_store(
    config: &Config,
    clock: Clock,
    is_watched: bool,
) -> Result<Arc<dyn Store>, StartError> {
    match &config.store.address {
        StoreAddress::Memory => {
            Ok(Arc::new(MemoryStore::new(MemoryLimits::default(), Arc::new(move || clock.now()))))
        }
        StoreAddress::Shared(url) => {
            let address = url.expose().parse::<Address>()?.with(certificates(&config.store)?);
            let settings =
                RedisSettings { timeout: config.store.timeout, is_watched, ..RedisSettings::default() };
            Ok(Arc::new(RedisStore::open(&address, &config.node.cluster, settings)?))
        }
    }
}

/// What goes with the store's address over TLS.
fn certificates(store: &tandem_config::Store) -> Result<Certificates, StartError> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|error| StartError::StoreCertificates { path: path.display().to_string(), error })
    };
    let identity = match &store.identity {
        Some((cert, key)) => Some((read(cert)?, read(key)?)),
        None => None,
    };
    Ok(Certificates { ca: store.ca.as_deref().map(read).transpose()?, identity })
}

/// Whether the URLs of the store and of CDR sinks are some, without asking anybody.
///
/// # Errors
/// Says what is wrong with one, and never repeats it: it may hold a password.
pub fn check_store(config: &Config) -> Result<(), StartError> {
    Sinks::of(&config.cdr.sinks, false)?;
    match &config.store.address {
        StoreAddress::Memory => Ok(()),
        StoreAddress::Shared(url) => {
            let address = url.expose().parse::<Address>()?.with(certificates(&config.store)?);
            // Whether the certificates can be used shows here.
            RedisStore::check(&address).map_err(StartError::from)
        }
    }
}
