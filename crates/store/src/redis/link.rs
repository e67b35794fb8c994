//! Connections to the servers, each shared by many requests, and what bounds the wait for an answer.

use super::RedisSettings;
use super::address::{Address, Kind, quick};
use super::breaker::Breaker;
use super::reply::Reply;
use super::scripts::Invocation;
use super::writer::{Haste, Request, Step};
use crate::{Contact, StoreError};
use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// The longest time without an answer in which no failover can have happened.
const GAP: Duration = Duration::from_secs(1);

/// Connections: one for steps that somebody waits for, and one for long readings, which are not to hold those up.
pub(super) const SHARDS: usize = 2;

/// The way to the servers.
pub(super) struct Link {
    source: Source,
    shards: [Shard; SHARDS],
    queues: [mpsc::Sender<Request>; SHARDS],
    breaker: Breaker,
    pub(super) settings: RedisSettings,
    generations: AtomicU64,
    contact: watch::Sender<Contact>,
}

enum Source {
    Standalone(Client),
    Sentinel(tokio::sync::Mutex<SentinelClient>),
    /// The cluster, and one of its nodes.
    Cluster(Box<ClusterClient>, Client),
}

#[derive(Default)]
pub(super) struct Shard {
    current: Mutex<Option<Connected>>,
    /// Held by whoever connects; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
    /// Since when nothing is answered, if so.
    silent_since: Mutex<Option<Instant>>,
}

#[derive(Clone)]
pub(super) struct Connected {
    pub(super) generation: u64,
    pub(super) connection: Connection,
}

#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// The way to these servers, and what is to be written by each of its connections.
    pub(super) fn new(
        address: &Address,
        settings: RedisSettings,
    ) -> RedisResult<(Self, [mpsc::Receiver<Request>; SHARDS])> {
        if address.is_secure() {
            // The client takes the process's own. One that is there already is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let source = match &address.kind {
            Kind::Standalone(info) => Source::Standalone(address.client((**info).clone())?),
            Kind::Sentinel(sentinels) => {
                Source::Sentinel(tokio::sync::Mutex::new(sentinels.client(address.tls.as_ref())?))
            }
            Kind::Cluster(nodes) => {
                let mut builder = ClusterClient::builder(nodes.clone())
                    .tcp_settings(quick(Default::default()))
                    .connection_timeout(settings.timeout)
                    .response_timeout(settings.timeout);
                if let Some(tls) = &address.tls {
                    builder = builder.certs(tls.clone());
                }
                let client = builder.build()?;
                let first =
                    nodes.first().cloned().ok_or((redis::ErrorKind::InvalidClientConfig, "no nodes"))?;
                Source::Cluster(Box::new(client), address.client(first)?)
            }
        };
        let shards = std::array::from_fn(|_| Shard::default());
        let [(first, first_queue), (second, second_queue)] =
            std::array::from_fn(|_| mpsc::channel(settings.under_way_max));
        let queues = [first, second];
        let (breaker, generations) = (Breaker::default(), AtomicU64::new(0));
        // Whether it answers shows when it is asked.
        let contact = watch::Sender::new(Contact::default());
        let link = Self { source, shards, queues, breaker, settings, generations, contact };
        Ok((link, [first_queue, second_queue]))
    }

    /// Runs a script. The answer comes within the time limit, or the store is away: whether the script has run is unknown
    /// then.
    pub(super) async fn run(&self, step: Step, script: Invocation) -> Result<Reply, StoreError> {
        let away = StoreError::Away { step: step.name };
        if !self.breaker.admits(Instant::now()) {
            return Err(away);
        }
        let (reply, answer) = oneshot::channel();
        let place = usize::from(step.haste == Haste::Bulk);
        if self.queues[place].try_send(Request { script, step, reply }).is_err() {
            return Err(away);
        }
        // Without an answer it has failed, which is counted by whoever has tried.
        let values = answer.await.map_err(|_| away)?;
        Ok(Reply::new(values, step.name))
    }

    pub(super) fn shard(&self, place: usize) -> &Shard {
        &self.shards[place]
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
            Source::Cluster(_, node) => node.get_async_pubsub().await,
        }
    }

    pub(super) async fn connected(&self, shard: &Shard) -> RedisResult<Connected> {
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

    pub(super) fn answered(&self, shard: &Shard) {
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

    pub(super) fn failed(
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
