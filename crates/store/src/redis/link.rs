//! Connections to the servers, each shared by many requests, and what bounds the wait for an answer.

use super::RedisSettings;
use super::address::{Address, Kind, quick};
use super::breaker::Breaker;
use super::reply::Reply;
use crate::{Contact, StoreError};
use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisError, RedisResult, ScriptInvocation};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

/// The longest time without an answer in which no failover can have happened.
const GAP: Duration = Duration::from_secs(1);

/// The way to the servers.
pub(super) struct Link {
    source: Source,
    /// Each bucket always goes by the same one.
    shards: Box<[Shard]>,
    breaker: Breaker,
    under_way: Semaphore,
    settings: RedisSettings,
    generations: AtomicU64,
    contact: watch::Sender<Contact>,
}

enum Source {
    Standalone(Client),
    Sentinel(tokio::sync::Mutex<SentinelClient>),
    Cluster(Box<ClusterClient>, ConnectionInfo),
}

#[derive(Default)]
struct Shard {
    current: Mutex<Option<Connected>>,
    /// Held by whoever connects; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
    /// Since when nothing is answered, if so.
    silent_since: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Connected {
    generation: u64,
    connection: Connection,
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) fn new(address: &Address, settings: RedisSettings) -> RedisResult<Self> {
        let source = match &address.0 {
            Kind::Standalone(info) => Source::Standalone(Client::open((**info).clone())?),
            Kind::Sentinel(sentinels) => Source::Sentinel(tokio::sync::Mutex::new(sentinels.client()?)),
            Kind::Cluster(nodes) => {
                let client = ClusterClient::builder(nodes.clone())
                    .tcp_settings(quick(Default::default()))
                    .connection_timeout(settings.timeout)
                    .response_timeout(settings.timeout)
                    .build()?;
                let first =
                    nodes.first().cloned().ok_or((redis::ErrorKind::InvalidClientConfig, "no nodes"))?;
                Source::Cluster(Box::new(client), first)
            }
        };
        let shards = (0..settings.connections.max(1)).map(|_| Shard::default()).collect();
        let under_way = Semaphore::new(settings.under_way_max);
        let (breaker, generations) = (Breaker::default(), AtomicU64::new(0));
        // Whether it answers shows when it is asked.
        let contact = watch::Sender::new(Contact::default());
        Ok(Self { source, shards, breaker, under_way, settings, generations, contact })
    }

    /// Runs a script that belongs to a bucket. The answer comes within the time limit, or the store is away: whether the
    /// script has run is unknown then.
    pub(super) async fn run(
        &self,
        step: &'static str,
        bucket: u8,
        script: ScriptInvocation<'_>,
    ) -> Result<Reply, StoreError> {
        let away = StoreError::Away { step };
        if !self.breaker.admits(Instant::now()) {
            return Err(away);
        }
        let Ok(_under_way) = self.under_way.try_acquire() else {
            return Err(away);
        };
        let shard = &self.shards[usize::from(bucket) % self.shards.len()];
        let (mut asked, began) = (None, Instant::now());
        let answer = timeout(self.settings.timeout, async {
            let connected = self.connected(shard).await?;
            asked = Some(connected.generation);
            match connected.connection {
                Connection::One(mut connection) => script.invoke_async(&mut connection).await,
                Connection::Cluster(mut connection) => script.invoke_async(&mut connection).await,
            }
        })
        .await;
        match answer {
            Ok(Ok(values)) => {
                self.answered(shard);
                Ok(Reply::new(values, step))
            }
            failed => {
                let error = failed.ok().and_then(Result::err);
                self.failed(shard, (asked, began), step, error.as_ref());
                Err(away)
            }
        }
    }

    /// Whether the store is left alone because it does not answer.
    pub(super) fn is_away(&self) -> bool {
        self.breaker.is_open()
    }

    /// How it stands with the servers.
    pub(super) fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.subscribe()
    }

    /// The servers may have lost what they had taken.
    pub(super) fn note_loss(&self) {
        tracing::warn!("the store may have lost what it had taken; what this node knows is written again");
        self.contact.send_modify(|contact| contact.lives += 1);
    }

    /// A connection that is told of what is published.
    pub(super) async fn subscriber(&self) -> RedisResult<PubSub> {
        match &self.source {
            Source::Standalone(client) => client.get_async_pubsub().await,
            Source::Sentinel(sentinels) => {
                let client = sentinels.lock().await.async_get_client().await?;
                client.get_async_pubsub().await
            }
            // Each node of a cluster tells what is published at any.
            Source::Cluster(_, node) => Client::open(node.clone())?.get_async_pubsub().await,
        }
    }

    async fn connected(&self, shard: &Shard) -> RedisResult<Connected> {
        if let Some(connected) = shard.current.lock().clone() {
            return Ok(connected);
        }
        let _connecting = shard.connecting.lock().await;
        if let Some(connected) = shard.current.lock().clone() {
            return Ok(connected);
        }
        let connection = self.connect().await?;
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let connected = Connected { generation, connection };
        *shard.current.lock() = Some(connected.clone());
        Ok(connected)
    }

    async fn connect(&self) -> RedisResult<Connection> {
        // The wait is bounded here, once for connecting and asking together.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        match &self.source {
            Source::Standalone(client) => {
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::One)
            }
            Source::Sentinel(sentinels) => {
                let client = sentinels.lock().await.async_get_client().await?;
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::One)
            }
            Source::Cluster(client, _) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }

    fn answered(&self, shard: &Shard) {
        if self.breaker.answered() {
            tracing::info!("the store answers again");
        }
        // A failover can hide in a gap.
        let silent_since = shard.silent_since.lock().take();
        if silent_since.is_some_and(|since| since.elapsed() > GAP) {
            self.note_loss();
        }
        self.contact.send_if_modified(|contact| !std::mem::replace(&mut contact.answers, true));
    }

    fn failed(
        &self,
        shard: &Shard,
        (asked, began): (Option<u64>, Instant),
        step: &'static str,
        error: Option<&RedisError>,
    ) {
        shard.silent_since.lock().get_or_insert(began);
        if self.breaker.failed(Instant::now()) {
            self.contact.send_if_modified(|contact| std::mem::replace(&mut contact.answers, false));
            let error = error.map_or("no answer in time".to_owned(), ToString::to_string);
            tracing::warn!(step, error, "the store does not answer");
        }
        // A silent server may come back by the same connection; if it does not, or says that it is not the one, another
        // one is looked for.
        if error.is_some() || self.breaker.is_open() {
            let mut current = shard.current.lock();
            if current.as_ref().map(|connected| connected.generation) == asked {
                *current = None;
            }
        }
    }
}
