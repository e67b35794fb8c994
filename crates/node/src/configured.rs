//! What a configuration makes of a node: swapped whole when another one is applied. Calls, figures and actors stay.

use crate::endpoints;
use crate::gateway_actor::GatewayHandle;
use crate::guards::Allowances;
use crate::listeners::{self, Listener};
use crate::registrar_follow::{self, Heard};
use crate::shared::Shared;
use crate::supervisors::{Child, KeeperMessage};
use ractor::ActorRef;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tandem_config::Config;
use tandem_switch::admission::Allowance;
use tandem_switch::call::CallId;
use tandem_switch::emergency::EmergencyNumbers;
use tandem_switch::gateway::{GatewayName, MappingGateway, RoutingGateway, SourceTable};
use tandem_switch::parameters::{AttemptParameters, Overrides, Parameters};
use tandem_switch::registrar::{Domains, Endpoints, Rules};
use tandem_switch::routing::RouteTable;
use tandem_telemetry::Metrics;
use tandem_transport::Expected;

/// How long after a failure the registrations are read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What the configuration makes.
pub(crate) struct Configured {
    /// The gateways, and those that have left the configuration as long as they have calls.
    pub(crate) gateways: HashMap<GatewayName, Arc<GatewayHandle>>,
    /// The same, by what the tokens of their own requests say.
    pub(crate) gateways_by_id: HashMap<CallId, Arc<GatewayHandle>>,
    /// Whose certificates are expected where the names of gateways lead.
    pub(crate) tls_peers: HashMap<GatewayName, Arc<Expected>>,
    pub(crate) sources: SourceTable,
    pub(crate) routes: RouteTable,
    allowances: Allowances,
    pub(crate) endpoints: Arc<Endpoints>,
    /// The parameters that attempts at endpoints go by.
    pub(crate) endpoint_parameters: Arc<AttemptParameters>,
    /// Numbers whose calls no limit on their length ends.
    pub(crate) emergency: EmergencyNumbers,
    /// Whose registrations are taken, and by which rules.
    pub(crate) domains: Domains,
    pub(crate) rules: Rules,
    /// The system's parameters.
    pub(crate) parameters: Parameters,
}

/// Who starts children that a configuration adds.
pub(crate) struct Keepers {
    pub(crate) gateways: ActorRef<KeeperMessage>,
    pub(crate) nat: ActorRef<KeeperMessage>,
}

impl Configured {
    /// What `config` makes at the node's start, and later in place of what another one has made.
    pub(crate) fn new(
        config: &Config,
        mapping: &[Arc<MappingGateway>],
        (listeners, key, metrics): (&[Listener], &[u8; 16], &Metrics),
        before: Option<&Configured>,
    ) -> Self {
        let routing: Vec<Arc<RoutingGateway>> =
            config.routing_gateways.iter().map(|configured| Arc::new(configured.gateway.clone())).collect();
        let handle = |gateway: &Arc<RoutingGateway>| {
            let known = before.and_then(|before| before.gateways.get(&gateway.name));
            let handle = known.filter(|handle| handle.is_there()).cloned().unwrap_or_else(|| {
                let of_gateway = (metrics.gateway(&gateway.name), metrics.gateway_health(&gateway.name));
                // Later than at the start it is available once its actor is there.
                let is_available = before.is_none() && !gateway.disabled;
                Arc::new(GatewayHandle::new(gateway.clone(), of_gateway, is_available))
            });
            (gateway.name.clone(), handle)
        };
        let mut gateways: HashMap<_, _> = routing.iter().map(handle).collect();
        for (name, handle) in before.iter().flat_map(|before| &before.gateways) {
            if !gateways.contains_key(name) && handle.is_there() {
                gateways.insert(name.clone(), handle.clone());
            }
        }
        let id_of = |handle: &GatewayHandle| CallId::of_gateway(&handle.name, key);
        Self {
            gateways_by_id: gateways.values().map(|handle| (id_of(handle), handle.clone())).collect(),
            gateways,
            tls_peers: listeners::expect_gateways(listeners, config),
            sources: SourceTable::new(mapping),
            routes: RouteTable::new(routing),
            allowances: Allowances::new(config),
            endpoints: config.endpoints.clone(),
            endpoint_parameters: Arc::new(config.parameters.attempt(&Overrides::default(), Vec::new())),
            emergency: config.routing.emergency.clone(),
            domains: config.registrar.domains.clone(),
            rules: config.registrar.rules.clone(),
            parameters: config.parameters.clone(),
        }
    }

    /// Whether anybody can register.
    pub(crate) fn is_open(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// What a source may send.
    pub(crate) fn allowance(&self, source: IpAddr) -> Allowance {
        self.allowances.of(source, &self.sources)
    }
}

impl Shared {
    /// Goes by another configuration from now on. Calls in progress go on by the one that they began with.
    pub(crate) fn configure(self: &Arc<Self>, config: &Config) {
        let before = self.configured.load_full();
        let mapping = endpoints::mapping_gateways(config);
        // Who is let in has to be known before anybody is let in.
        self.admission.configure(&mapping, &self.metrics);
        let parts = (&*self.listeners, &self.keys.current, &self.metrics);
        let configured = Arc::new(Configured::new(config, &mapping, parts, Some(&before)));
        self.locations.configure(config);
        self.authenticator.configure(config, self.clock.now());
        self.configured.store(configured.clone());
        self.guards.forget();
        self.follow_gateways(&before, &configured);
        if self.nat.configure(config.parameters.keep_alive()) {
            self.start_pacer();
        }
        if configured.is_open() {
            self.open_registrar();
        }
        self.reconfigured.send_modify(|times| *times += 1);
    }

    /// Starts the actors of gateways that are new, and tells the others.
    fn follow_gateways(&self, before: &Configured, now: &Configured) {
        for gateway in now.routes.gateways() {
            let Some(handle) = now.gateways.get(&gateway.name) else { continue };
            let is_known = before.gateways.get(&gateway.name).is_some_and(|known| Arc::ptr_eq(known, handle));
            match self.keepers.get() {
                Some(keepers) if !is_known => {
                    // The keeper lives as long as the node.
                    let _ = keepers.gateways.cast(KeeperMessage::Start(Child::Gateway(handle.clone())));
                }
                Some(_) | None => handle.configure(gateway.clone()),
            }
        }
        let wanted: HashSet<&GatewayName> =
            now.routes.gateways().iter().map(|gateway| &gateway.name).collect();
        let left = now.gateways.iter().filter(|(name, _)| !wanted.contains(name));
        left.for_each(|(_, handle)| handle.retire());
    }

    /// Sees to it that registrations are followed and kept alive, if they are not yet.
    pub(crate) fn open_registrar(self: &Arc<Self>) {
        if self.registrar.opens() {
            self.start_pacer();
            let (leases, following) = (self.clone(), self.clone());
            let leases = async move { leases.keep_nat_leases().await };
            let tasks = [tokio::spawn(leases), tokio::spawn(follow_registrations(following))];
            self.late_tasks.lock().extend(tasks);
        }
    }

    /// Starts the pacer of keep-alives, if there are to be some and it does not run.
    fn start_pacer(&self) {
        let is_wanted = self.registrar.is_followed() && self.nat.rules().is_some();
        if is_wanted
            && !self.nat.has_pacer()
            && let Some(keepers) = self.keepers.get()
        {
            // The keeper lives as long as the node.
            let _ = keepers.nat.cast(KeeperMessage::Start(Child::NatPacer));
        }
    }
}

/// Reads the registrations that there are, and follows them.
async fn follow_registrations(shared: Arc<Shared>) {
    let heard = Heard::from_now(&*shared.store);
    while let Err(error) = registrar_follow::load(&shared).await {
        tracing::warn!(%error, "cannot read the registrations yet");
        tokio::time::sleep(READ_AGAIN).await;
    }
    registrar_follow::follow(shared, heard).await;
}
