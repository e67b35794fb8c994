//! Starting, asking and stopping a node.

use crate::admission::Admission;
use crate::call_actor::CallMessage;
use crate::cdr_actor::{self, Sink};
use crate::clock::Clock;
use crate::directory::Directory;
use crate::gateway_actor::{GatewayHandle, GatewayMessage, GatewayReport};
use crate::shared::{Listener, Shared};
use crate::supervisors::{CallSupervisor, Child, Keeper, NodeSupervisor};
use crate::tap::Tap;
use crate::wheel::Wheel;
use arc_swap::ArcSwap;
use ractor::{ActorCell, ActorRef, ActorRuntime, SpawnErr, call_t};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tandem_config::{Config, Listen};
use tandem_sip::time::Now;
use tandem_store::{MemoryLimits, MemoryStore, Owner};
use tandem_switch::call::{CallId, CallStatus, Input, TokenKeys};
use tandem_switch::cdr::EndReason;
use tandem_switch::gateway::{GatewayState, LastFailure, Limits, MappingGateway, SourceTable, Statistics};
use tandem_switch::routing::RouteTable;
use tandem_telemetry::Metrics;
use tandem_transport::{BindError, SocketLimits, UdpListener};
use thiserror::Error;
use tokio::task::JoinHandle;

/// Supervisors that share the calls.
const CALL_SUPERVISORS: usize = 8;

/// How long an actor may take to say how it stands, in milliseconds.
const REPORT_LIMIT_MS: u64 = 1_000;

/// How often a stopping node looks whether its calls have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// How long the parties are given to answer BYE and CANCEL when a node stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An actor.
    #[error("cannot start the node's actors: {0}")]
    Actors(#[from] SpawnErr),
    /// The operating system gives no random numbers.
    #[error("no random numbers for the keys: {0}")]
    Random(getrandom::Error),
}

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    root: ActorRef<()>,
    sinks: Vec<Sink>,
    wheel: JoinHandle<()>,
}

/// What an operator is shown of a mapping gateway.
#[derive(Clone, Debug)]
pub struct MappingReport {
    /// Its configuration.
    pub gateway: Arc<MappingGateway>,
    /// Calls of it.
    pub calls: usize,
    /// Figures over the statistics window.
    pub statistics: Statistics,
    /// The last failures, newest first.
    pub last_failures: Vec<LastFailure>,
}

impl Node {
    /// Binds the sockets and starts the actors. With a `tap` it is given a copy of every message.
    ///
    /// # Errors
    /// A socket cannot be bound, or an actor does not start.
    pub async fn start(config: &Config, name: &str, tap: Option<Tap>) -> Result<Self, StartError> {
        let clock = Clock::start();
        let mut listeners = Vec::new();
        for (place, listen) in config.listen.iter().enumerate() {
            listeners.push(bind(place as u16, listen)?);
        }
        let metrics = Metrics::new();
        let mapping: Vec<_> =
            config.mapping_gateways.iter().map(|configured| Arc::new(configured.gateway.clone())).collect();
        let routing: Vec<_> =
            config.routing_gateways.iter().map(|configured| Arc::new(configured.gateway.clone())).collect();
        let handle = |gateway: &Arc<tandem_switch::gateway::RoutingGateway>| {
            let handle = GatewayHandle::new(gateway.clone(), metrics.gateway(&gateway.name));
            (gateway.name.clone(), Arc::new(handle))
        };
        let limits = Limits { max_calls: Some(config.limits.max_calls), cps: config.limits.cps };
        let [key_low, key_high, boot] = random()?;
        let mut key = [0; 16];
        key[..8].copy_from_slice(&key_low.to_ne_bytes());
        key[8..].copy_from_slice(&key_high.to_ne_bytes());
        let name: Arc<str> = name.into();
        let shared = Arc::new(Shared {
            owner: Owner { node: name.clone(), boot },
            hint: hint_of(&name),
            name,
            clock,
            keys: TokenKeys { current: key, previous: None },
            store: Arc::new(MemoryStore::new(MemoryLimits::default(), Arc::new(move || clock.mono()))),
            wheel: Wheel::new(move || clock.mono(), &metrics),
            calls: Directory::default(),
            listeners,
            sources: ArcSwap::from_pointee(SourceTable::new(&mapping)),
            gateways: routing.iter().map(handle).collect(),
            routes: ArcSwap::from_pointee(RouteTable::new(routing)),
            admission: Admission::new(limits, &mapping, &metrics),
            metrics,
            draining: AtomicBool::new(false),
            tap,
            call_supervisors: OnceLock::new(),
            next_supervisor: AtomicUsize::new(0),
        });
        let sinks = Sink::of(&config.cdr.sinks);
        let root = start_tree(&shared, &sinks).await?;
        let wheel = tokio::spawn(turn_wheel(shared.clone()));
        Ok(Self { shared, root, sinks, wheel })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The addresses it listens on, with the ports that the kernel chose.
    pub fn listening_on(&self) -> Vec<SocketAddr> {
        self.shared.listeners.iter().map(|listener| listener.socket.local_addr()).collect()
    }

    /// Socket buffers that the kernel made smaller than asked for.
    pub fn capped_buffers(&self) -> impl Iterator<Item = (SocketAddr, tandem_transport::CappedBuffer)> + '_ {
        self.shared.listeners.iter().flat_map(|listener| {
            listener.socket.capped_buffers().iter().map(|capped| (listener.socket.local_addr(), *capped))
        })
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Whether new calls are refused because the node is about to stop.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// What time it is for the node.
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// The current calls.
    pub async fn calls(&self) -> Vec<CallStatus> {
        let mut calls = Vec::new();
        for (_, call) in self.shared.calls.all() {
            // A call that ends meanwhile does not answer.
            if let Ok(status) = call_t!(call.actor(), CallMessage::Status, REPORT_LIMIT_MS) {
                calls.push(status);
            }
        }
        calls
    }

    /// One current call.
    pub async fn call(&self, id: CallId) -> Option<CallStatus> {
        let call = self.shared.calls.find(id)?;
        call_t!(call.actor(), CallMessage::Status, REPORT_LIMIT_MS).ok()
    }

    /// Ends a call on both legs. `false` if there is no such call.
    pub fn hang_up(&self, id: CallId, cause: EndReason) -> bool {
        let Some(call) = self.shared.calls.find(id) else { return false };
        call.actor().cast(CallMessage::Result(Input::HangUp(cause))).is_ok()
    }

    /// Makes a call's actor panic at its next input. `false` if there is no such call.
    #[cfg(feature = "fault-injection")]
    pub fn panic_call(&self, id: CallId) -> bool {
        let Some(call) = self.shared.calls.find(id) else { return false };
        call.actor().cast(CallMessage::Panic).is_ok()
    }

    /// The routing gateways, in the order of the configuration.
    pub async fn routing_gateways(&self) -> Vec<GatewayReport> {
        let mut reports = Vec::new();
        for gateway in self.shared.routes.load().gateways() {
            let Some(actor) = self.shared.gateways.get(&gateway.name).and_then(|handle| handle.actor())
            else {
                continue;
            };
            if let Ok(report) = call_t!(actor, GatewayMessage::Report, REPORT_LIMIT_MS) {
                reports.push(report);
            }
        }
        reports
    }

    /// The mapping gateways, in the order of their names.
    pub fn mapping_gateways(&self) -> Vec<MappingReport> {
        let now = self.now().mono;
        let report = |state: &GatewayState| {
            let mut last_failures: Vec<_> = state.last_failures().copied().collect();
            last_failures.reverse();
            (state.calls(), state.statistics(now), last_failures)
        };
        let mapping = self.shared.admission.mapping().into_iter();
        mapping
            .map(|slots| {
                let (calls, statistics, last_failures) = slots.read(report);
                MappingReport { gateway: slots.gateway.clone(), calls, statistics, last_failures }
            })
            .collect()
    }

    /// Refuses new calls from now on, with 503 and Retry-After.
    pub fn begin_drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Calls that are not over: in set-up, ringing or answered.
    pub fn calls_in_progress(&self) -> i64 {
        use tandem_telemetry::CallState;
        let active = &self.shared.metrics.calls_active;
        [CallState::Setup, CallState::Ringing, CallState::Answered]
            .into_iter()
            .map(|state| active.of(state).get())
            .sum()
    }

    /// Waits until no call is in progress, at most `patience`. Returns how many are left.
    pub async fn drained(&self, patience: Duration) -> i64 {
        let all_ended = async {
            while self.calls_in_progress() > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        // Whether it took too long is in the number of calls left.
        let _ = tokio::time::timeout(patience, all_ended).await;
        self.calls_in_progress()
    }

    /// Ends what calls are left, writes the last CDRs, and stops. Returns the number of calls that were hung up.
    pub async fn stop(&self) -> usize {
        self.begin_drain();
        let mut hung_up = 0;
        if self.calls_in_progress() > 0 {
            for (id, _) in self.shared.calls.all() {
                hung_up += usize::from(self.hang_up(id, EndReason::Drained));
            }
            self.drained(FAREWELL).await;
        }
        for sink in &self.sinks {
            cdr_actor::drain(&self.shared, sink).await;
        }
        self.wheel.abort();
        if self.root.stop_and_wait(None, Some(FAREWELL)).await.is_err() {
            tracing::warn!("the node's actors did not stop in time");
        }
        hung_up
    }
}

fn bind(place: u16, listen: &Listen) -> Result<Listener, BindError> {
    let socket = UdpListener::bind(place, listen.bind, &SocketLimits::default())?;
    let bound = socket.local_addr();
    let advertised = match listen.advertise {
        Some(advertised) => Some(advertised.to_string().into()),
        None if bound.ip().is_unspecified() => None,
        None => Some(bound.to_string().into()),
    };
    Ok(Listener { socket, advertised })
}

fn random() -> Result<[u64; 3], StartError> {
    let mut numbers = [0; 3];
    for number in &mut numbers {
        *number = getrandom::u64().map_err(StartError::Random)?;
    }
    Ok(numbers)
}

/// A short name of a node, for the tokens of the calls that are placed on it.
fn hint_of(name: &str) -> u16 {
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_bytes());
    let hash = hasher.finish();
    (hash & 0xFFFF) as u16
}

async fn start_tree(shared: &Arc<Shared>, sinks: &[Sink]) -> Result<ActorRef<()>, StartError> {
    let (root, _) = ActorRuntime::spawn(None, NodeSupervisor, ()).await?;
    let mut supervisors: Vec<ActorCell> = Vec::new();
    for _ in 0..CALL_SUPERVISORS {
        supervisors
            .push(ActorRuntime::spawn_linked(None, CallSupervisor, (), root.get_cell()).await?.0.get_cell());
    }
    // Set once, by the only one who knows the node yet.
    let _ = shared.call_supervisors.set(supervisors);
    let mut gateways: Vec<_> = shared.gateways.values().cloned().collect();
    gateways.sort_by(|a, b| a.gateway.name.cmp(&b.gateway.name));
    let gateways = gateways.into_iter().map(Child::Gateway).collect();
    let cdr = sinks.iter().cloned().map(Child::Cdr).collect();
    let edge = (0..shared.listeners.len() as u16).map(Child::Listener).collect();
    for (what, children) in [("gateway", gateways), ("CDR sink", cdr), ("listener", edge)] {
        let keeper = Keeper { shared: shared.clone(), what };
        ActorRuntime::spawn_linked(None, keeper, children, root.get_cell()).await?;
    }
    Ok(root)
}

async fn turn_wheel(shared: Arc<Shared>) {
    shared
        .wheel
        .run(|id| {
            if let Some(call) = shared.calls.find(id) {
                // A call that has gone needs no waking.
                let _ = call.actor().cast(CallMessage::Wake);
            }
        })
        .await;
}
