//! Calls to endpoints: whose a number or URI is, and where its bindings lead.

use crate::configured::Configured;
use crate::listeners;
use crate::nat::is_out_of_reach;
use crate::registrar_actor::Reply;
use crate::shared::Shared;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tandem_config::Config;
use tandem_sip::Uri;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::locate::{self, Wanted};
use tandem_switch::call::{Bindings, Branch, CallId, Candidate, Looked, Reach, Target};
use tandem_switch::gateway::{Limits, MappingGateway, NumberRules, PASSED, Redirects, SourceLimits};
use tandem_switch::parameters::Overrides;
use tandem_switch::registrar::{Aor, Binding, Endpoint, Place, WayThere, places};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The mapping gateway of endpoints that belong to no customer, and what their attempts are called by.
pub(crate) const ENDPOINTS: &str = "endpoints";

/// How long finding out where bindings lead may take; those whose names are not answered for by then are not called.
const LOCATE_LIMIT: Duration = Duration::from_secs(2);

/// The mapping gateways of a configuration, and where there are endpoints the one of those that belong to no customer:
/// with the system's parameters and no limits, unless the configuration has one of that name.
pub(crate) fn mapping_gateways(config: &Config) -> Vec<Arc<MappingGateway>> {
    let configured = config.mapping_gateways.iter();
    let mut gateways: Vec<_> = configured.map(|configured| Arc::new(configured.gateway.clone())).collect();
    let is_configured = gateways.iter().any(|gateway| &*gateway.name == ENDPOINTS);
    if !config.endpoints.is_empty() && !is_configured {
        gateways.push(Arc::new(MappingGateway {
            name: ENDPOINTS.into(),
            sources: Vec::new(),
            limits: Limits::default(),
            per_source: SourceLimits::default(),
            trusted: false,
            pass_headers: Vec::new(),
            pass_methods: PASSED,
            number_rules: NumberRules::default(),
            cause_map: BTreeMap::new(),
            parameters: config.parameters.call(&Overrides::default()),
        }));
    }
    gateways
}

/// A call whose route depends on the bindings of an endpoint.
#[derive(Debug)]
pub(crate) struct ToEndpoint {
    pub(crate) endpoint: Arc<Endpoint>,
    /// What is known without them.
    pub(crate) looked: Looked,
}

impl Shared {
    /// The endpoint that is called by this number (after number rules), or by its user in a URI of ours.
    pub(crate) fn endpoint_of(
        &self,
        configured: &Configured,
        called: &str,
        uri: &str,
    ) -> Option<Arc<Endpoint>> {
        let endpoints = &configured.endpoints;
        if endpoints.is_empty() {
            return None;
        }
        let found = endpoints.by_number(called).or_else(|| {
            let uri = Uri::parse(uri.as_bytes()).ok()?;
            let aor = configured.domains.aor_of(&uri, |address| self.is_our_address(address))?;
            endpoints.by_user(aor.user())
        });
        found.cloned()
    }

    /// The route to an endpoint.
    pub(crate) async fn route_to(&self, call: CallId, to: ToEndpoint) -> Looked {
        let ToEndpoint { endpoint, mut looked } = to;
        let aor = self.configured().domains.aor(&endpoint.user);
        let Some(bindings) = self.bindings(&aor).await else { return looked };
        let branches = self.branches(call, &bindings).await;
        looked.absent = branches.is_empty();
        if !looked.absent {
            looked.routes.push(self.candidate_of(&endpoint, aor, (&looked.called, branches)));
        }
        looked
    }

    /// The places that bindings make, and where each leads.
    pub(crate) async fn branches(&self, call: CallId, bindings: &[Binding]) -> Vec<Branch> {
        let deadline = Instant::now() + LOCATE_LIMIT;
        let mut branches = Vec::new();
        for place in places(bindings) {
            branches.push(self.branch(call, place, deadline).await);
        }
        branches
    }

    /// The bindings that are good now; `None` if the registrar does not say.
    async fn bindings(&self, aor: &Aor) -> Option<Vec<Binding>> {
        let (reply, bindings) = oneshot::channel();
        let reply = Reply::new(move |found| {
            // The call may have given up meanwhile.
            let _ = reply.send(found);
        });
        if !self.registrar.find(aor.clone(), reply) {
            return None;
        }
        let mut bindings = bindings.await.ok()?;
        // What does not hear us is called after all others.
        let is_deaf = |binding: &Binding| self.nat.is_unreachable(binding) || is_out_of_reach(binding);
        for binding in bindings.iter_mut().filter(|binding| is_deaf(binding)) {
            binding.q = 0;
        }
        Some(bindings)
    }

    fn candidate_of(
        &self,
        endpoint: &Endpoint,
        aor: Aor,
        (called, branches): (&str, Vec<Branch>),
    ) -> Candidate {
        let customer = endpoint.mapping_gateway.as_deref().unwrap_or(ENDPOINTS);
        let customer = self.admission.mapping_gateway(customer);
        Candidate {
            gateway: ENDPOINTS.into(),
            reach: Reach::Bindings(Bindings { aor, branches }),
            called: called.to_owned(),
            trusted: customer.as_ref().is_some_and(|customer| customer.trusted),
            has_account: false,
            redirects: Redirects::Refuse,
            pass_headers: customer.as_ref().map_or(&[][..], |customer| &customer.pass_headers).into(),
            pass_methods: customer.as_ref().map(|customer| customer.pass_methods).unwrap_or_default(),
            parameters: self.configured().endpoint_parameters.clone(),
        }
    }

    async fn branch(&self, call: CallId, place: Place, deadline: Instant) -> Branch {
        let mut targets = Vec::new();
        let by_flow = place.ways.iter().any(|way| matches!(way, WayThere::Flow(_)));
        for way in place.ways {
            match way {
                WayThere::Flow(flow) => targets.push(self.by_flow(flow)),
                WayThere::Uri { uri, registered } => {
                    let found = timeout_at(deadline, self.located(call, &uri, registered)).await;
                    targets.extend(found.unwrap_or_default());
                }
            }
        }
        Branch { uri: place.uri, q: place.q, route: place.route, targets, by_flow }
    }

    fn by_flow(&self, flow: Flow) -> Target {
        Target { flow, local: self.local_name(flow.listener, flow.remote) }
    }

    /// Where a registered URI leads. Not to ourselves: such a call would go round.
    async fn located(&self, call: CallId, uri: &str, registered: Flow) -> Vec<Target> {
        let wanted = Uri::parse(uri.as_bytes()).ok().and_then(|uri| Wanted::of_uri(&uri));
        let Some(wanted) = wanted else { return Vec::new() };
        let outcome = match self.locations.known(&wanted) {
            Some(outcome) => outcome,
            None => self.locations.locate(wanted).await,
        };
        let Ok(located) = outcome else { return Vec::new() };
        let targets = self.locations.targets(&located, call.draw());
        let others = targets.into_iter().filter(|target| !self.is_ours(target.address));
        others.filter_map(|target| self.target_of_binding(uri, target, registered)).collect()
    }

    fn target_of_binding(&self, uri: &str, target: locate::Target, registered: Flow) -> Option<Target> {
        if target.transport == Transport::Tls
            && let Some(expected) = listeners::expected_at(uri)
        {
            listeners::expect(&self.listeners, target.address, &expected);
        }
        let same = target.transport == registered.transport
            && target.address.is_ipv4() == registered.remote.is_ipv4();
        let flow = match same {
            true => Flow { remote: target.address, ..registered },
            false => self.flow_to(target.transport, target.address, None)?,
        };
        Some(self.by_flow(flow))
    }

    /// Whether a listener takes requests at an address, or is known by it.
    fn is_our_address(&self, address: IpAddr) -> bool {
        self.listeners.iter().any(|listener| {
            let bound = listener.socket.local_addr();
            let advertised = listener.advertised.as_deref().and_then(|known| known.parse().ok());
            advertised.is_some_and(|known: SocketAddr| known.ip() == address)
                || self.is_at(bound, SocketAddr::new(address, bound.port()))
        })
    }

    /// Whether one of our own listeners is at that address.
    fn is_ours(&self, remote: SocketAddr) -> bool {
        self.listeners.iter().any(|listener| self.is_at(listener.socket.local_addr(), remote))
    }

    /// Whether a socket that is bound there receives what is sent to `remote`.
    fn is_at(&self, bound: SocketAddr, remote: SocketAddr) -> bool {
        let is_local = || self.local_addresses.towards(remote, self.clock.mono()) == remote.ip();
        let has_address = bound.ip() == remote.ip() || bound.ip().is_unspecified() && is_local();
        bound.port() == remote.port() && has_address
    }
}
