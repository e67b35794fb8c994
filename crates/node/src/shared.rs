//! What all actors of a node share.

use crate::admission::Admission;
use crate::audit::AuditCounter;
use crate::authenticator::Authenticator;
use crate::authority::Authority;
use crate::cdr_actor::Records;
use crate::clock::Clock;
use crate::cluster_config::ClusterConfig;
use crate::common::CommonKeys;
use crate::complaints::Complaints;
use crate::configured::{Configured, Keepers};
use crate::directory::Directory;
use crate::dispatch::Dispatcher;
use crate::ended::Ended;
use crate::endpoints::ToEndpoint;
#[cfg(feature = "fault-injection")]
use crate::faults::Faults;
use crate::gateway_actor::GatewayHandle;
use crate::guards::Guards;
use crate::handover::Draining;
use crate::journal::Journal;
use crate::link::{EdgeFlow, Edges, Frame, Links};
use crate::listeners::{self, Listener, Socket};
use crate::local_address::LocalAddresses;
use crate::locations::Locations;
use crate::nat::Nat;
use crate::next_hop::next_hop;
use crate::nodes::Nodes;
use crate::ongoing::Ongoing;
use crate::overload::Overload;
use crate::registrar::Registrar;
use crate::strays::Strays;
use crate::takeover::Claims;
use crate::tap::{Tap, Tapped};
use crate::wheel::Wheel;
use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use ractor::ActorCell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tandem_sip::Uri;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::locate::{self, Wanted};
use tandem_sip::time::Wall;
use tandem_store::{Owner, Store};
use tandem_switch::call::{CallId, Candidate, Looked, Reach, Sought, Target, TokenKeys};
use tandem_switch::gateway::{GatewayAddress, GatewayName, MappingGateway, RoutingGateway};
use tandem_telemetry::{Direction, DropReason, Method, Metrics, StatusClass};
use tandem_transport::{Hold, Outcome, SendError, Sent, StreamListener, UdpListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) owner: Owner,
    pub(crate) hint: u16,
    pub(crate) clock: Clock,
    pub(crate) keys: TokenKeys,
    /// What all nodes use, for a store that loses it.
    pub(crate) common: CommonKeys,
    pub(crate) metrics: Metrics,
    pub(crate) store: Arc<dyn Store>,
    /// About the store.
    pub(crate) complaints: Complaints,
    pub(crate) wheel: Wheel<CallId>,
    pub(crate) calls: Directory,
    pub(crate) ongoing: Ongoing,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) local_addresses: LocalAddresses,
    pub(crate) locations: Locations,
    /// What the configuration makes, swapped whole when another one is applied.
    pub(crate) configured: ArcSwap<Configured>,
    /// Tells of that, by the number of times.
    pub(crate) reconfigured: watch::Sender<u64>,
    pub(crate) cluster_config: ClusterConfig,
    pub(crate) audits: AuditCounter,
    /// What is acknowledged while the store is away; without one it is refused.
    pub(crate) journal: Option<Journal>,
    /// Calls that have ended of late, for a store that may lose their records.
    pub(crate) ended: Ended,
    pub(crate) admission: Admission,
    pub(crate) records: Records,
    pub(crate) guards: Guards,
    pub(crate) overload: Overload,
    pub(crate) authenticator: Authenticator,
    pub(crate) registrar: Registrar,
    pub(crate) nat: Nat,
    pub(crate) nodes: Nodes,
    /// Messages of calls that are not here.
    pub(crate) strays: Strays,
    /// Claims whose answers were lost.
    pub(crate) claims: Claims,
    /// Streams to other nodes.
    pub(crate) links: Links,
    /// Their listeners.
    pub(crate) edges: Edges,
    /// Where they reach this node; empty if they do not.
    pub(crate) link_address: String,
    /// Whether this node may speak for its calls.
    pub(crate) authority: Authority,
    pub(crate) handing_over: Draining,
    /// For what begins at threads without one.
    pub(crate) runtime: tokio::runtime::Handle,
    /// When the node was started.
    pub(crate) started: Wall,
    /// Where its API is.
    pub(crate) admin: String,
    pub(crate) tap: Option<Tap>,
    /// Supervisors of calls; each call is linked to one of them.
    pub(crate) call_supervisors: OnceLock<Vec<ActorCell>>,
    pub(crate) next_supervisor: AtomicUsize,
    pub(crate) keepers: OnceLock<Keepers>,
    /// What was started after the node.
    pub(crate) late_tasks: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(feature = "fault-injection")]
    pub(crate) faults: Faults,
}

impl Shared {
    /// What the configuration makes at present.
    pub(crate) fn configured(&self) -> arc_swap::Guard<Arc<Configured>> {
        self.configured.load()
    }

    /// The gateway that a token of its own requests is of.
    pub(crate) fn gateway_by_id(&self, id: CallId) -> Option<Arc<GatewayHandle>> {
        self.configured().gateways_by_id.get(&id).cloned()
    }

    fn gateway(&self, name: &GatewayName) -> Option<Arc<RoutingGateway>> {
        self.configured().gateways.get(name).map(|handle| handle.gateway())
    }

    /// The supervisor of the next call.
    pub(crate) fn supervisor(&self) -> Option<ActorCell> {
        let supervisors = self.call_supervisors.get()?;
        let turn = self.next_supervisor.fetch_add(1, Ordering::Relaxed);
        supervisors.get(turn % supervisors.len()).cloned()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.handing_over.is_begun()
    }

    /// How long datagrams wait at the sockets at least, where they wait longest. What comes by connections waits at its
    /// senders.
    pub(crate) fn standing_at_sockets(&self) -> Duration {
        let standing = |listener: &Listener| Some(listener.socket.udp()?.stats().standing());
        self.listeners.iter().filter_map(standing).max().unwrap_or_default()
    }

    /// Sends a message by its flow.
    ///
    /// # Errors
    /// The transport cannot reach the peer.
    pub(crate) fn send(&self, flow: Flow, message: &Bytes) -> Result<(), SendError> {
        if let Some((node, at)) = self.edges.edge_of(flow) {
            return self.send_by(&node, at, message);
        }
        let Some(listener) = self.listeners.get(usize::from(flow.listener)) else { return Ok(()) };
        self.count(Direction::Sent, message);
        if let Some(tap) = &self.tap {
            let from = listener.socket.local_addr();
            tap.take(Tapped { at: self.clock.now().wall, from, to: flow.remote, message: message.clone() });
        }
        match &listener.socket {
            Socket::Udp(socket) => self.send_datagram(socket, flow, message),
            Socket::Stream(socket) => send_by_connection(socket, flow, message),
        }
        .inspect_err(|error| tracing::debug!(%error, "cannot send"))
    }

    /// Sends a message by another node, at which its peer is reached.
    fn send_by(&self, node: &Arc<str>, flow: EdgeFlow, message: &[u8]) -> Result<(), SendError> {
        match self.links.tell(node, &Frame::Send { flow }, message) {
            true => Ok(()),
            false => Err(SendError::Closed { remote: flow.remote }),
        }
    }

    /// Sends what another node asks for: its peer is reached here.
    pub(crate) fn send_for_another(&self, at: EdgeFlow, message: &Bytes) {
        let flow = Flow { transport: at.transport, listener: at.listener, remote: at.remote };
        self.handing_over.sent_for_another(message, &self.keys.current);
        self.handing_over.passed_on(self.clock.mono());
        // Who waits for it asks again; a request of the other node's gets no answer.
        let _ = self.send(flow, message);
    }

    /// Takes a message that came to another node, for a call that may be this one's.
    pub(crate) fn on_forwarded(
        self: &Arc<Self>,
        (node, at): (&Arc<str>, EdgeFlow),
        hops: u8,
        message: Bytes,
    ) {
        if let Some(flow) = self.edges.flow_of(node, at) {
            Dispatcher::new(self.clone()).on_forwarded(flow, hops, message);
        }
    }

    fn send_datagram(&self, socket: &UdpListener, flow: Flow, message: &Bytes) -> Result<(), SendError> {
        match socket.send(message, flow.remote) {
            Ok(Sent::Now) => Ok(()),
            Ok(Sent::Dropped) => {
                self.metrics.datagrams_dropped.of(DropReason::SendBuffer).inc();
                Ok(())
            }
            Err(error) => {
                self.metrics.datagrams_dropped.of(DropReason::SendError).inc();
                Err(error)
            }
        }
    }

    /// Sends what is no SIP by its flow, without opening a connection for it.
    ///
    /// # Errors
    /// The transport cannot reach the peer, or its connection has gone.
    pub(crate) fn send_raw(&self, flow: Flow, payload: &Bytes) -> Result<Sent, SendError> {
        let remote = flow.remote;
        match self.listeners.get(usize::from(flow.listener)).map(|listener| &listener.socket) {
            Some(Socket::Udp(socket)) => socket.send(payload, remote),
            Some(Socket::Stream(socket)) => match socket.send_by_open(payload, remote) {
                Some(Ok(())) => Ok(Sent::Now),
                Some(Err(SendError::Congested { .. })) => Ok(Sent::Dropped),
                Some(Err(error)) => Err(error),
                None => Err(SendError::Closed { remote }),
            },
            None => Err(SendError::Closed { remote }),
        }
    }

    /// Sends a message by another connection that was lost with that of `flow`. `false` if there is no other way.
    pub(crate) fn send_again(&self, flow: Flow, message: &Bytes) -> bool {
        let socket = self.listeners.get(usize::from(flow.listener)).and_then(|one| one.socket.stream());
        socket.is_some_and(|socket| socket.send_again(message.clone(), next_hop(message, flow)).is_ok())
    }

    /// Keeps the connection of `flow` open, if it is one, as long as what this gives.
    pub(crate) fn hold(&self, flow: Flow) -> Option<Hold> {
        self.listeners.get(usize::from(flow.listener))?.socket.stream()?.hold(flow.remote)
    }

    /// Counts a message by its first line, which every message of ours and every parsed one has.
    pub(crate) fn count(&self, direction: Direction, message: &[u8]) {
        if let Some(status_line) = message.strip_prefix(b"SIP/2.0 ") {
            let status = status_line.first_chunk::<3>().and_then(|digits| std::str::from_utf8(digits).ok());
            if let Some(class) = status.and_then(|digits| digits.parse().ok()).and_then(StatusClass::of) {
                self.metrics.responses.of(direction, class).inc();
            }
            return;
        }
        let end = message.iter().position(|byte| *byte == b' ').unwrap_or(0);
        let method = std::str::from_utf8(&message[..end]).map_or(Method::Other, Method::of);
        self.metrics.requests.of(direction, method).inc();
    }

    /// What peers at `remote` are told to call this listener by.
    pub(crate) fn local_name(&self, listener: u16, remote: SocketAddr) -> Arc<str> {
        match self.listeners.get(usize::from(listener)) {
            Some(Listener { advertised: Some(advertised), .. }) => advertised.clone(),
            Some(listener) => {
                let port = listener.socket.local_addr().port();
                let local = self.local_addresses.towards(remote, self.clock.mono());
                SocketAddr::new(local, port).to_string().into()
            }
            None => "localhost".into(),
        }
    }

    /// The flow to a peer from the listener that leads there, or of that name; `None` if there is no such listener.
    pub(crate) fn flow_to(
        &self,
        transport: Transport,
        remote: SocketAddr,
        listen: Option<&str>,
    ) -> Option<Flow> {
        let leading = || self.local_addresses.towards(remote, self.clock.mono());
        let place = listeners::choose(&self.listeners, (transport, remote), listen, leading)?;
        Some(Flow { transport, listener: u16::try_from(place).ok()?, remote })
    }

    /// Where that is reached, for one attempt of a call. `Err`: that has to be asked for.
    pub(crate) fn reach(&self, call: CallId, attempt: u16, of: &Sought) -> Result<Vec<Target>, Wanted> {
        let wanted = match of {
            Sought::Gateway(name) => match self.gateway(name) {
                Some(gateway) => match &gateway.address {
                    GatewayAddress::Named(wanted) => Some(wanted.clone()),
                    GatewayAddress::At(_) => return Ok(self.target_of(&gateway).into_iter().collect()),
                    // Its place is found out with its registration.
                    GatewayAddress::Endpoint(_) => return Ok(Vec::new()),
                },
                None => None,
            },
            Sought::Uri(uri) => Uri::parse(uri.as_bytes()).ok().and_then(|uri| Wanted::of_uri(&uri)),
        };
        let Some(wanted) = wanted else { return Ok(Vec::new()) };
        match self.locations.known(&wanted) {
            Some(outcome) => Ok(self.targets(call, attempt, of, &outcome)),
            None => Err(wanted),
        }
    }

    /// The targets of one attempt of a call where a name leads.
    pub(crate) fn targets(&self, call: CallId, attempt: u16, of: &Sought, outcome: &Outcome) -> Vec<Target> {
        let Ok(located) = outcome else { return Vec::new() };
        let gateway = match of {
            Sought::Gateway(name) => self.gateway(name),
            Sought::Uri(_) => None,
        };
        let listen = gateway.as_ref().and_then(|gateway| gateway.listen.as_deref());
        let expected = match of {
            Sought::Gateway(name) => self.configured().tls_peers.get(name).cloned(),
            Sought::Uri(uri) => listeners::expected_at(uri),
        };
        // Each attempt draws its own order among equals.
        let targets = self.locations.targets(located, call.draw().wrapping_add(attempt.into()));
        // Whose certificate is expected there has to be known before a connection is opened.
        for target in targets.iter().filter(|target| target.transport == Transport::Tls) {
            if let Some(expected) = &expected {
                listeners::expect(&self.listeners, target.address, expected);
            }
        }
        targets.into_iter().filter_map(|target| self.target_at(target, listen)).collect()
    }

    /// Where a gateway is that has one address.
    fn target_of(&self, gateway: &RoutingGateway) -> Option<Target> {
        let (transport, address) = (gateway.transport.unwrap_or(Transport::Udp), gateway.address.fixed()?);
        self.target_at(locate::Target { transport, address }, gateway.listen.as_deref())
    }

    fn target_at(&self, target: locate::Target, listen: Option<&str>) -> Option<Target> {
        let flow = self.flow_to(target.transport, target.address, listen)?;
        Some(Target { flow, local: self.local_name(flow.listener, target.address) })
    }

    /// Whether a number, as dialled or after the mapping gateway's rules, is one of an emergency service.
    pub(crate) fn is_emergency(&self, gateway: &MappingGateway, dialled: &str) -> bool {
        let emergency = &self.configured().emergency;
        emergency.iter().next().is_some()
            && (emergency.contains(dialled) || emergency.contains(&gateway.number_rules.apply(dialled)))
    }

    /// Where a call may go: number rules, then the endpoint of that number or the route table. A number of ours does not
    /// leave, wherever its endpoint is; but for one of an emergency service.
    ///
    /// # Errors
    /// It is for an endpoint, whose bindings have to be asked for.
    pub(crate) fn look_up(
        &self,
        id: CallId,
        mapping_gateway: &str,
        (dialled, uri): (&str, &str),
    ) -> Result<Looked, Box<ToEndpoint>> {
        let mapping = self.admission.mapping_gateway(mapping_gateway);
        let called =
            mapping.map_or_else(|| dialled.to_owned(), |gateway| gateway.number_rules.apply(dialled));
        let configured = self.configured();
        let configured = &**configured;
        let emergency = configured.emergency.contains(dialled) || configured.emergency.contains(&called);
        if !emergency && let Some(endpoint) = self.endpoint_of(configured, &called, uri) {
            let looked = Looked { called, ..Looked::default() };
            return Err(Box::new(ToEndpoint { endpoint, looked }));
        }
        // Whether a gateway gets calls, as far as that is known before it is asked.
        let is_available = |gateway: &RoutingGateway| {
            configured.gateways.get(&gateway.name).is_none_or(|handle| handle.is_available())
        };
        let gateways = configured.routes.candidates(&called, id.draw(), is_available);
        let candidate = |gateway: &Arc<RoutingGateway>| {
            let reach = match &gateway.address {
                GatewayAddress::At(_) => Reach::At(self.target_of(gateway)?),
                GatewayAddress::Named(wanted) => Reach::Named(wanted.to_string().into()),
                GatewayAddress::Endpoint(_) => {
                    Reach::Registered(configured.gateways.get(&gateway.name)?.branches().to_vec())
                }
            };
            Some(Candidate {
                gateway: gateway.name.clone(),
                reach,
                called: gateway.number_rules.apply(&called),
                trusted: gateway.trusted,
                has_account: gateway.account.is_some(),
                redirects: gateway.redirects,
                pass_headers: gateway.pass_headers.as_slice().into(),
                pass_methods: gateway.pass_methods,
                parameters: gateway.parameters.clone(),
            })
        };
        let routes = gateways.iter().filter_map(candidate).collect();
        Ok(Looked { called, routes, emergency, ..Looked::default() })
    }
}

/// Sends a message by the connection of its flow, or by one to where its peer listens.
fn send_by_connection(socket: &StreamListener, flow: Flow, message: &Bytes) -> Result<(), SendError> {
    if let Some(sent) = socket.send_by_open(message, flow.remote) {
        return sent;
    }
    socket.send(message.clone(), next_hop(message, flow))
}
