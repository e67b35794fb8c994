//! Starting, asking and stopping a node.

use crate::admission::Admission;
use crate::audit::{AuditCounter, AuditEntry};
use crate::authenticator::Authenticator;
use crate::authority::Authority;
use crate::beats::Beats;
use crate::call_actor::CallMessage;
use crate::cdr_actor::{Records, Sinks};
use crate::clock::Clock;
use crate::cluster_config::{self, ClusterConfig, Common, ConfigRevision, Push, PushError};
use crate::common::{CommonKeys, open_store};
use crate::complaints::Complaints;
use crate::configured::{Configured, Keepers};
use crate::directory::Directory;
use crate::ended::Ended;
use crate::endpoints;
#[cfg(feature = "fault-injection")]
use crate::faults::{Fault, Faults};
use crate::gateway_actor::{GatewayMessage, GatewayReport};
use crate::gateway_care::CareMessage;
use crate::guards::Guards;
use crate::handover::{self, Draining};
use crate::journal::{Journal, JournalError};
use crate::lease::Lease;
use crate::link::{self, Edges, LinkError, Links};
use crate::listeners::{self, Listener};
use crate::local_address::LocalAddresses;
use crate::locations::Locations;
use crate::nat::Nat;
use crate::nat_endpoint::NatReport;
use crate::nodes::{NodeReport, Nodes, RaiseError, hint_of};
use crate::ongoing::Ongoing;
use crate::overload::{self, Overload};
use crate::publications;
use crate::registrants;
use crate::registrar::Registrar;
use crate::registrar_follow;
use crate::republish;
use crate::shared::Shared;
use crate::slots;
use crate::strays::Strays;
use crate::supervisors::{Child, Keeper, NodeSupervisor, Supervisor};
use crate::takeover::{self, Claims};
use crate::tap::Tap;
use crate::wheel::Wheel;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ractor::{ActorCell, ActorRef, ActorRuntime, ActorStatus, SpawnErr, call_t};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tandem_cluster::{DrainProgress, DrainStage};
use tandem_config::Config;
use tandem_sip::flow::Transport;
use tandem_sip::locate::{Family, Offers};
use tandem_sip::time::Now;
use tandem_store::{Owner, Store, StoreError};
use tandem_switch::admission::Banned;
use tandem_switch::call::{CallId, CallStatus, Input, TokenKeys};
use tandem_switch::cdr::EndReason;
use tandem_switch::gateway::{GatewayState, LastFailure, Limits, MappingGateway, Statistics};
use tandem_switch::parameters::Parameters;
use tandem_switch::registrar::{Aor, Binding, Suspended};
use tandem_telemetry::{CallState, Metrics};
use tandem_transport::{BindError, ResolverError, UdpListener};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Supervisors that share the calls, and as many that share the endpoints behind NATs.
const SUPERVISORS: usize = 8;

/// How long an actor may take to say how it stands, in milliseconds.
const REPORT_LIMIT_MS: u64 = 1_000;

/// How often certificates are looked at for changes.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(10);

/// How often a stopping node looks whether its calls have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// How long the parties are given to answer BYE and CANCEL, and to acknowledge, when a node stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The link to other nodes cannot be opened.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An actor.
    #[error("cannot start the node's actors: {0}")]
    Actors(#[from] SpawnErr),
    /// The names of gateways cannot be looked up.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The operating system gives no random numbers.
    #[error("no random numbers for the keys: {0}")]
    Random(getrandom::Error),
    /// The URL of the store.
    #[error("store.url: {0}")]
    StoreUrl(#[from] tandem_store::redis::AddressError),
    /// A file of the store's certificates.
    #[error("store: cannot read {path}: {error}")]
    StoreCertificates {
        /// Which.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The store's client.
    #[error("store.url: {0}")]
    Store(#[from] tandem_store::redis::ClientError),
    /// The store does not answer.
    #[error("the store does not answer (store.url); waited {waited_s} s for it")]
    StoreAway {
        /// How long it was waited for, in seconds.
        waited_s: u64,
    },
    /// Another node has this name.
    #[error(
        "another node named {name} lives, at {address}; nodes of one cluster need names of their own (node.name)"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Where it takes SIP.
        address: String,
    },
    /// The cluster has been raised beyond what this release knows.
    #[error("the cluster's feature level is {cluster}, and this release knows {ours} at most")]
    FeatureLevel {
        /// The cluster's.
        cluster: u16,
        /// The highest that is known here.
        ours: u16,
    },
    /// The journal.
    #[error("store.journal: {0}")]
    Journal(#[from] JournalError),
    /// The configuration of the cluster cannot be read.
    #[error("the configuration of the cluster: {0}")]
    CommonConfig(StoreError),
    /// The configuration of the cluster does not go with what is the node's own.
    #[error("revision {number} of the cluster's configuration cannot be run here: {errors}")]
    Configuration {
        /// Which revision.
        number: u64,
        /// What is wrong.
        errors: String,
    },
    /// No thread for beats.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The registrations cannot be read.
    #[error("the registrations in the store: {0}")]
    Registrations(StoreError),
    /// A CDR sink.
    #[error("cdr.sinks: {0}")]
    Sink(#[from] crate::postgres::PostgresError),
    /// The cluster's keys cannot be read or written.
    #[error("the cluster's keys in the store: {0}")]
    Keys(tandem_store::codec::CodecError),
}

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    root: ActorRef<()>,
    /// Closed when the root has gone.
    root_lives: watch::Receiver<()>,
    sinks: Arc<Sinks>,
    /// What runs beside the actors, as long as the node does.
    tasks: Vec<JoinHandle<()>>,
    beats: Mutex<Option<Beats>>,
}

/// How a node stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Stopped {
    /// Calls that were hung up.
    pub hung_up: usize,
    /// Calls that were handed to other nodes.
    pub handed_over: usize,
    /// Calls that were left to whoever claims them.
    pub left: usize,
    /// CDRs that some sink would not take. They are lost with the node.
    pub cdrs_lost: usize,
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

/// Where a user is registered.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The address of record.
    pub aor: Arc<str>,
    /// Its bindings.
    pub bindings: Vec<Binding>,
}

impl Node {
    /// Binds the sockets and starts the actors. With a `tap` it is given a copy of every message.
    ///
    /// # Errors
    /// A socket cannot be bound, or an actor does not start.
    pub async fn start(config: &Config, name: &str, tap: Option<Tap>) -> Result<Self, StartError> {
        let clock = Clock::start();
        let store = open_store(config, clock.clone(), true)?;
        let common = CommonKeys::of_cluster(&*store).await?;
        let own = config;
        let (config, revision) = with_cluster(own, &*store).await?;
        let config = &config;
        let mut listeners = Vec::new();
        for (place, listen) in config.listen.iter().enumerate() {
            listeners.push(Listener::bind(place as u16, listen)?);
        }
        let metrics = Metrics::new();
        let mapping = endpoints::mapping_gateways(config);
        let journal = config.store.journal.as_deref().filter(|_| store.is_shared());
        let journal = journal.map(|directory| Journal::open(directory, &metrics)).transpose()?;
        let limits = Limits { max_calls: Some(config.limits.max_calls), cps: config.limits.cps };
        let boot = getrandom::u64().map_err(StartError::Random)?;
        let key = common.tokens;
        // What stands for a request is told nobody.
        let digest_keys = (common.nonces, random_key()?);
        let name: Arc<str> = name.into();
        let hint = hint_of(&name);
        let locations = Locations::new(config, &offers(&listeners), clock.clone(), &metrics)?;
        let nat_leases = nat_leases(&listeners, &name, store.is_shared());
        let link = match store.is_shared() {
            true => Some(link::listen(&config.link).await?),
            false => None,
        };
        let link_address = match (&link, &config.link.advertise) {
            (Some(_), Some(advertise)) => advertise.clone(),
            (Some((_, bound)), None) => bound.to_string(),
            (None, _) => String::new(),
        };
        let configured = Configured::new(config, &mapping, (&listeners, &key, &metrics), None);
        let shared = Arc::new(Shared {
            owner: Owner { node: name.clone(), boot },
            hint,
            name,
            clock: clock.clone(),
            keys: TokenKeys { current: key, previous: None },
            common,
            store,
            complaints: Complaints::default(),
            wheel: {
                let clock = clock.clone();
                Wheel::new(move || clock.mono(), &metrics)
            },
            calls: Directory::default(),
            ongoing: Ongoing::default(),
            listeners,
            local_addresses: LocalAddresses::default(),
            locations,
            configured: ArcSwap::from_pointee(configured),
            reconfigured: watch::Sender::new(0),
            cluster_config: ClusterConfig::new(own.clone(), revision),
            audits: AuditCounter::default(),
            journal,
            ended: Ended::default(),
            admission: Admission::new(limits, &mapping, &metrics),
            records: Records::new(config.cdr.max_backlog),
            guards: Guards::new(&metrics),
            overload: Overload::default(),
            authenticator: Authenticator::new(config, hint, digest_keys, clock.now(), &metrics),
            registrar: Registrar::new(config),
            nat: Nat::new(config.parameters.keep_alive(), clock.now(), nat_leases),
            nodes: Nodes::default(),
            strays: Strays::default(),
            claims: Claims::default(),
            links: Links::default(),
            edges: Edges::default(),
            link_address,
            authority: Authority::alone(),
            handing_over: Draining::default(),
            runtime: tokio::runtime::Handle::current(),
            started: clock.now().wall,
            admin: config.admin.bind.to_string(),
            metrics,
            tap,
            call_supervisors: OnceLock::new(),
            next_supervisor: AtomicUsize::new(0),
            keepers: OnceLock::new(),
            late_tasks: Mutex::default(),
            #[cfg(feature = "fault-injection")]
            faults: Faults::default(),
        });
        shared.note_revision();
        let beats = Beats::start(config, &shared).await?;
        let sinks = Arc::new(Sinks::of(&config.cdr.sinks, shared.store.is_shared())?);
        let (alive, root_lives) = watch::channel(());
        let heard = registrar_follow::Heard::from_now(&*shared.store);
        let root = start_tree(&shared, &sinks, alive).await?;
        let mut tasks = start_tasks(&shared, &sinks, heard);
        if let Some((listening, _)) = link {
            tasks.push(tokio::spawn(link::run(shared.clone(), listening)));
        }
        let beats = Mutex::new(beats);
        Ok(Self { shared, root, root_lives, sinks, tasks, beats })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The addresses it listens on, with the ports that the kernel chose.
    pub fn listening_on(&self) -> Vec<SocketAddr> {
        self.shared.listeners.iter().map(|listener| listener.socket.local_addr()).collect()
    }

    /// How it listens at each of them.
    pub fn transports(&self) -> Vec<Transport> {
        self.shared.listeners.iter().map(|listener| listener.socket.transport()).collect()
    }

    /// Socket buffers that the kernel made smaller than asked for.
    pub fn capped_buffers(&self) -> impl Iterator<Item = (SocketAddr, tandem_transport::CappedBuffer)> + '_ {
        self.shared.listeners.iter().flat_map(|listener| {
            let capped = listener.socket.udp().map(UdpListener::capped_buffers).unwrap_or_default();
            capped.iter().map(|capped| (listener.socket.local_addr(), *capped))
        })
    }

    /// The metrics, in the Prometheus text format.
    pub fn metrics_text(&self) -> String {
        let is_away = !self.shared.store.contact().borrow().answers;
        self.shared.metrics.store_away.set(i64::from(is_away));
        let metrics = &self.shared.metrics;
        listeners::count(&self.shared.listeners, metrics);
        // Counts those that hold.
        self.shared.guards.bans(self.shared.clock.mono());
        self.suspensions();
        let lag = self.sinks.lag(self.shared.clock.mono()).as_secs();
        metrics.cdr_lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        metrics.encode()
    }

    /// Reads certificates and keys anew whose files have changed, as it also happens from time to time. What cannot be
    /// used is logged, and what is in use stays; returns for how many listeners.
    pub fn reload_certificates(&self) -> usize {
        listeners::reload_certificates(&self.shared.listeners, &self.shared.metrics)
    }

    /// Reads `/etc/resolv.conf` and `/etc/hosts` anew. `false` if they cannot be used; what was read before stays.
    pub fn reload_dns(&self) -> bool {
        self.shared.locations.reload()
    }

    /// Whether the node's actors run. When they have gone it cannot be helped but by a new start.
    pub fn is_running(&self) -> bool {
        self.root.get_status() < ActorStatus::Draining
    }

    /// Waits until the node's actors have gone: it was stopped, or a supervisor failed.
    pub async fn gone(&self) {
        let mut root_lives = self.root_lives.clone();
        // Nothing is ever sent; the other end goes with the root.
        while root_lives.changed().await.is_ok() {}
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

    /// Ends a call on both legs. `false` if there is no such call, or it has ended.
    pub fn hang_up(&self, id: CallId, cause: EndReason) -> bool {
        let Some(call) = self.shared.calls.find(id).filter(|call| !call.is_over()) else { return false };
        call.actor().cast(CallMessage::Result(Input::HangUp(cause))).is_ok()
    }

    /// Makes a call's actor panic at its next input. `false` if there is no such call.
    #[cfg(feature = "fault-injection")]
    pub fn panic_call(&self, id: CallId) -> bool {
        let Some(call) = self.shared.calls.find(id) else { return false };
        call.actor().cast(CallMessage::Panic).is_ok()
    }

    /// Breaks something, once.
    #[cfg(feature = "fault-injection")]
    pub fn arm(&self, fault: Fault) {
        self.shared.faults.arm(fault);
    }

    /// The routing gateways, in the order of the configuration.
    pub async fn routing_gateways(&self) -> Vec<GatewayReport> {
        let mut reports = Vec::new();
        let configured = self.shared.configured.load_full();
        for gateway in configured.routes.gateways() {
            let Some(actor) = configured.gateways.get(&gateway.name).and_then(|handle| handle.actor()) else {
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
                MappingReport { gateway: slots.gateway(), calls, statistics, last_failures }
            })
            .collect()
    }

    /// The revision of the cluster's configuration that this node runs; `None`: that of its own file.
    pub fn config_revision(&self) -> Option<ConfigRevision> {
        self.shared.config_revision()
    }

    /// The revisions that are kept, newest first.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn config_revisions(&self) -> Result<Vec<ConfigRevision>, StoreError> {
        self.shared.config_revisions().await
    }

    /// A revision and its text, which may hold passwords.
    ///
    /// # Errors
    /// There is none of that number, or the store cannot be asked.
    pub async fn config_text(&self, number: u64) -> Result<(ConfigRevision, Arc<str>), PushError> {
        self.shared.config_text(number).await
    }

    /// Has all nodes run a configuration. What comes back is the revision in force, or with [`Push::dry_run`] what would be.
    ///
    /// # Errors
    /// Some node could not run it, or did not say so in time; then all go on with the one before.
    pub async fn push_config(&self, push: Push) -> Result<ConfigRevision, PushError> {
        self.shared.push_config(push).await
    }

    /// Goes by another file of the node's own from now on, as far as no restart is needed. Whether the node runs it; where the
    /// cluster has a configuration in common it does not.
    pub fn reload_configuration(&self, own: Config) -> bool {
        self.shared.reload_own(own)
    }

    /// The node's own file, as it was read last.
    pub fn own_configuration(&self) -> Arc<Config> {
        self.shared.cluster_config.own()
    }

    /// Notes what an operator has asked for, and what became of it.
    pub async fn note_audit(&self, entry: &AuditEntry) {
        self.shared.note_audit(entry).await;
    }

    /// What operators have asked for, newest first: at most `max` entries before that one, each with what it is listed by.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn audit(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(Arc<str>, AuditEntry)>, StoreError> {
        self.shared.audit(after.map(Into::into), max).await
    }

    /// The system's parameters as they are in force.
    pub fn parameters(&self) -> Parameters {
        self.shared.configured().parameters.clone()
    }

    /// The nodes of the cluster, by name.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn nodes(&self) -> Result<Vec<NodeReport>, StoreError> {
        self.shared.node_reports().await
    }

    /// Assigns a mark or a memo to a node. `false` if there is no such node.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn annotate_node(
        &self,
        name: &str,
        mark: Option<String>,
        memo: Option<String>,
    ) -> Result<bool, StoreError> {
        self.shared.annotate_node(name, mark, memo).await
    }

    /// Forgets a node. `Some(false)` if there is none of that name, `None` if it lives.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn forget_node(&self, name: &str) -> Result<Option<bool>, StoreError> {
        self.shared.forget_node(name).await
    }

    /// Raises the feature level of the cluster, as high as all nodes know that live, or to that one. What it is now.
    ///
    /// # Errors
    /// Some node does not know it, or the store cannot be asked.
    pub async fn raise_feature_level(&self, wanted: Option<u16>) -> Result<u16, RaiseError> {
        self.shared.raise_feature_level(wanted).await
    }

    /// The sources that are not listened to, by address.
    pub fn bans(&self) -> Vec<Banned> {
        self.shared.guards.bans(self.shared.clock.mono())
    }

    /// Listens again to a source that is banned. `false` if it is not.
    pub fn lift_ban(&self, source: IpAddr) -> bool {
        self.shared.guards.lift(source)
    }

    /// The bindings that are good now and that `filter` is part of the address of record or contact of, by address: at most
    /// `max` addresses, those after `after`.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn registrations(
        &self,
        filter: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Registered>, StoreError> {
        let wanted = |aor: &str, binding: &Binding| aor.contains(filter) || binding.contact.contains(filter);
        let found = self.shared.registrations(after.map(Into::into), max, wanted).await?;
        Ok(found.into_iter().map(|(aor, bindings)| Registered { aor, bindings }).collect())
    }

    /// How the keep-alives of a binding go; `None` if it gets none.
    pub async fn nat_report(&self, binding: &Binding) -> Option<NatReport> {
        self.shared.nat.report(binding).await
    }

    /// Takes the binding of a contact away from an address of record, or all of its bindings. How many there were; `None` if
    /// it cannot be done now.
    pub async fn remove_registration(&self, aor: &str, contact: Option<&str>) -> Option<usize> {
        match Aor::parse(aor) {
            Some(aor) => self.shared.registrar.remove(aor, contact.map(str::to_owned)).await,
            None => Some(0),
        }
    }

    /// The sources and accounts that are suspended for wrong credentials.
    pub fn suspensions(&self) -> Vec<Suspended> {
        self.shared.authenticator.suspensions(self.shared.clock.mono())
    }

    /// Hears a source or an account again, by the name that its suspension is shown by. `false` if it is not suspended.
    pub fn lift_suspension(&self, name: &str) -> bool {
        self.shared.authenticator.lift(self.shared.clock.mono(), name)
    }

    /// Takes no new calls from now on: they are placed on other nodes, to which those in progress are handed over. A node by
    /// itself refuses new ones, with 503 and Retry-After.
    pub fn begin_drain(&self) {
        self.shared.metrics.draining.set(1);
        if self.shared.handing_over.begin(self.shared.clock.mono()) && self.shared.store.is_shared() {
            let handing_over = self.shared.runtime.spawn(handover::run(self.shared.clone()));
            self.shared.late_tasks.lock().push(handing_over);
        }
    }

    /// Calls that are not over: in set-up, ringing or answered.
    pub fn calls_in_progress(&self) -> i64 {
        i64::try_from(self.shared.admission.calls()).unwrap_or(i64::MAX)
    }

    /// Whether there may be other nodes to hand calls to.
    pub fn is_in_cluster(&self) -> bool {
        self.shared.store.is_shared()
    }

    /// Takes new calls again. What has been handed over stays where it is.
    pub fn cancel_drain(&self) {
        self.shared.handing_over.cancel();
        self.shared.metrics.draining.set(0);
    }

    /// How far the drain has come; `None` if there is none.
    pub fn drain_progress(&self) -> Option<DrainProgress> {
        self.shared.handing_over.progress(self.shared.clock.mono(), self.shared.admission.calls())
    }

    /// Waits until no call is in progress, and none that went elsewhere needs this node, at most `patience`. Returns how many
    /// are left.
    pub async fn drained(&self, patience: Duration) -> i64 {
        let is_done = || match self.drain_progress() {
            Some(progress) => progress.stage == DrainStage::Done,
            None => self.calls_in_progress() == 0,
        };
        let all_ended = async {
            while !is_done() {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        // Whether it took too long is in the number of calls left.
        let _ = tokio::time::timeout(patience, all_ended).await;
        self.calls_in_progress()
    }

    /// Ends what calls are left, writes the last CDRs, and stops.
    pub async fn stop(&self) -> Stopped {
        self.begin_drain();
        // Others go on with what is answered, even if it could not be handed over.
        let has_heirs = !self.shared.nodes.places(&self.shared.name).is_empty();
        let answered = self.shared.metrics.calls_active.of(CallState::Answered).get();
        let left = if has_heirs { usize::try_from(answered).unwrap_or(0) } else { 0 };
        let hung_up = usize::try_from(self.calls_in_progress()).unwrap_or(0).saturating_sub(left);
        let unheard_of = self.shared.metrics.calls_active.of(CallState::Setup).get() > 0;
        let parting = async {
            loop {
                if self.calls_in_progress() > 0 {
                    // Again each time: one may just have been admitted, and not been told.
                    for (_, call) in self.shared.calls.all() {
                        // One that has gone needs nothing.
                        let _ = call.actor().cast(CallMessage::Part { has_heirs });
                    }
                } else if !self.is_owed_an_answer(unheard_of).await {
                    break;
                }
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        // Who has not answered by then will find nobody here.
        let _ = tokio::time::timeout(FAREWELL, parting).await;
        // A registrar that is silent forgets us when the registration lapses.
        let _ = tokio::time::timeout(FAREWELL, self.unregister()).await;
        for socket in self.shared.listeners.iter().filter_map(|listener| listener.socket.stream()) {
            socket.close();
        }
        let cdrs_lost = self.sinks.close(&self.shared).await;
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.late_tasks.lock().iter().for_each(JoinHandle::abort);
        if self.root.stop_and_wait(None, Some(FAREWELL)).await.is_err() && self.is_running() {
            tracing::warn!("the node's actors did not stop in time");
        }
        // Without that others wait until it stands still.
        let _ = tokio::time::timeout(FAREWELL, self.shared.give_nat_leases_back()).await;
        let _ = tokio::time::timeout(FAREWELL, self.sinks.give_leases_back(&self.shared)).await;
        let beats = self.beats.lock().take();
        if let Some(mut beats) = beats {
            // A last beat, of its own thread.
            let _ = tokio::task::spawn_blocking(move || beats.leave()).await;
        }
        let handed_over = self.drain_progress().map_or(0, |progress| progress.handed);
        Stopped { hung_up, handed_over, left, cdrs_lost }
    }

    /// Gives our registrations at gateways back.
    async fn unregister(&self) {
        let configured = self.shared.configured.load_full();
        for gateway in configured.gateways.values() {
            gateway.tell(GatewayMessage::Care(CareMessage::Leave));
        }
        while !configured.gateways.values().all(|gateway| gateway.has_left()) {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    /// Whether some call has something to resend within the time of a farewell: its last request or response was not
    /// answered, or the store has not taken its end. With `unheard_of` calls it may also be that a gateway has yet to
    /// say the word that allows a CANCEL (RFC 3261 §9.1).
    async fn is_owed_an_answer(&self, unheard_of: bool) -> bool {
        let calls = self.shared.calls.all();
        if unheard_of {
            return !calls.is_empty();
        }
        let soon = self.now().mono + FAREWELL;
        for (_, call) in calls {
            // A call that ends meanwhile does not answer.
            if let Ok(Some(deadline)) = call_t!(call.actor(), CallMessage::Deadline, REPORT_LIMIT_MS)
                && deadline <= soon
            {
                return true;
            }
        }
        false
    }
}

/// The configuration that a node starts with: its own, with that of the cluster if there is one.
async fn with_cluster(own: &Config, store: &dyn Store) -> Result<(Config, Option<Common>), StartError> {
    if !store.is_shared() {
        return Ok((own.clone(), None));
    }
    let Some(common) = cluster_config::in_force(store).await.map_err(StartError::CommonConfig)? else {
        return Ok((own.clone(), None));
    };
    let number = common.revision.number;
    let loaded = common.with(own);
    let loaded = loaded.map_err(|errors| StartError::Configuration { number, errors: errors.join("; ") })?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    tracing::info!(revision = number, "runs the configuration of the cluster");
    Ok((loaded.config, Some(common)))
}

/// What the listeners have to reach gateways by.
fn offers(listeners: &[Listener]) -> Offers {
    let family = |listener: &Listener| Family::of(listener.socket.local_addr().ip());
    listeners.iter().map(|listener| (listener.socket.transport(), family(listener))).collect()
}

/// Who sends keep-alives from which address: the nodes that advertise one share it.
fn nat_leases(listeners: &[Listener], node: &str, is_shared: bool) -> Vec<Lease> {
    let lease = |listener: &Listener| {
        let (transport, own) = (listener.socket.transport().via_name(), listener.socket.local_addr());
        let address = listener.advertised.as_deref().map_or_else(|| format!("{own}@{node}"), str::to_owned);
        Lease::new(&format!("keep-alive:{transport}:{address}"), is_shared)
    };
    listeners.iter().map(lease).collect()
}

pub(crate) fn random_key() -> Result<[u8; 16], StartError> {
    let mut key = [0; 16];
    for half in key.chunks_exact_mut(8) {
        half.copy_from_slice(&getrandom::u64().map_err(StartError::Random)?.to_ne_bytes());
    }
    Ok(key)
}

async fn start_tree(
    shared: &Arc<Shared>,
    sinks: &Arc<Sinks>,
    alive: watch::Sender<()>,
) -> Result<ActorRef<()>, StartError> {
    let (root, _) = ActorRuntime::spawn(None, NodeSupervisor { _alive: alive }, ()).await?;
    for (whose, place) in [("call", &shared.call_supervisors), ("endpoint", &shared.nat.supervisors)] {
        let mut supervisors: Vec<ActorCell> = Vec::new();
        for _ in 0..SUPERVISORS {
            let supervisor = Supervisor { whose };
            let (actor, _) = ActorRuntime::spawn_linked(None, supervisor, (), root.get_cell()).await?;
            supervisors.push(actor.get_cell());
        }
        // Set once, by the only one who knows the node yet.
        let _ = place.set(supervisors);
    }
    let mut gateways: Vec<_> = shared.configured().gateways.values().cloned().collect();
    gateways.sort_by(|a, b| a.name.cmp(&b.name));
    let gateways = gateways.into_iter().map(Child::Gateway).collect();
    let cdr = (0..sinks.count()).map(|place| Child::Cdr(sinks.clone(), place)).collect();
    let edge = (0..shared.listeners.len() as u16).map(Child::Listener).collect();
    let registrar = (0..shared.registrar.shards().len()).map(Child::Registrar).collect();
    let is_open = shared.configured().is_open();
    let nat = shared.nat.rules().filter(|_| is_open).map(|_| Child::NatPacer).into_iter().collect();
    let keeper = async |what, children: Vec<Child>| {
        let keeper = Keeper { shared: shared.clone(), what };
        let (actor, _) = ActorRuntime::spawn_linked(None, keeper, children, root.get_cell()).await?;
        Ok::<_, StartError>(actor)
    };
    let gateways = keeper("gateway", gateways).await?;
    keeper("CDR sink", cdr).await?;
    keeper("registrar", registrar).await?;
    if is_open {
        registrar_follow::load(shared).await.map_err(StartError::Registrations)?;
    }
    let nat = keeper("NAT", nat).await?;
    // Set once, by the only one who knows the node yet.
    let _ = shared.keepers.set(Keepers { gateways, nat });
    keeper("listener", edge).await?;
    Ok(root)
}

fn start_tasks(
    shared: &Arc<Shared>,
    sinks: &Arc<Sinks>,
    heard: registrar_follow::Heard,
) -> Vec<JoinHandle<()>> {
    let cdr_leases = {
        let (shared, sinks) = (shared.clone(), sinks.clone());
        async move { sinks.keep_leases(&shared).await }
    };
    let look_ups = {
        let shared = shared.clone();
        async move { shared.locations.run().await }
    };
    if shared.configured().is_open() && shared.registrar.opens() {
        let leases = shared.clone();
        let tasks = [
            tokio::spawn(async move { leases.keep_nat_leases().await }),
            tokio::spawn(registrar_follow::follow(shared.clone(), heard)),
        ];
        shared.late_tasks.lock().extend(tasks);
    }
    vec![
        tokio::spawn(turn_wheel(shared.clone())),
        tokio::spawn(overload::measure(shared.clone())),
        tokio::spawn(look_ups),
        tokio::spawn(watch_certificates(shared.clone())),
        tokio::spawn(publications::follow(shared.clone())),
        tokio::spawn(registrants::follow(shared.clone())),
        tokio::spawn(cluster_config::follow(shared.clone())),
        tokio::spawn(cdr_leases),
        tokio::spawn(slots::keep(shared.clone())),
        tokio::spawn(republish::keep(shared.clone())),
        tokio::spawn(takeover::keep(shared.clone())),
    ]
}

/// Looks from time to time whether certificates have changed: an orchestrator that renews them tells nobody.
async fn watch_certificates(shared: Arc<Shared>) {
    if shared.listeners.iter().all(|listener| listener.socket.transport() != Transport::Tls) {
        return;
    }
    loop {
        tokio::time::sleep(CERTIFICATE_LOOK).await;
        listeners::reload_certificates(&shared.listeners, &shared.metrics);
    }
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
