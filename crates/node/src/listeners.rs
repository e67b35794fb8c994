//! The node's sockets: how they are bound, what peers call them by, what they have counted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tandem_config::{Config, ConfiguredRouting, Connections, Listen, TlsVerify};
use tandem_sip::Uri;
use tandem_sip::flow::Transport;
use tandem_switch::gateway::GatewayName;
use tandem_telemetry::{ConnectionEvent, Direction, DropReason, Metrics, RaiseTo, Reload};
use tandem_transport::{
    BindError, Expected, Reloaded, SocketLimits, StreamCounts, StreamLimits, StreamListener, TlsError,
    TlsFiles, UdpCounts, UdpListener, Verify,
};

/// A socket of this node and what peers call it by.
pub(crate) struct Listener {
    pub(crate) socket: Socket,
    /// What the configuration calls it by.
    pub(crate) name: Option<Arc<str>>,
    /// Our `host:port` in Via and Contact; `None` where the socket takes any address and none was configured.
    pub(crate) advertised: Option<Arc<str>>,
}

/// What a listener listens with.
pub(crate) enum Socket {
    Udp(UdpListener),
    Stream(StreamListener),
}

impl Socket {
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Socket::Udp(_) => Transport::Udp,
            Socket::Stream(socket) if socket.is_tls() => Transport::Tls,
            Socket::Stream(_) => Transport::Tcp,
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        match self {
            Socket::Udp(socket) => socket.local_addr(),
            Socket::Stream(socket) => socket.local_addr(),
        }
    }

    /// The socket of a transport with connections.
    pub(crate) fn stream(&self) -> Option<&StreamListener> {
        match self {
            Socket::Udp(_) => None,
            Socket::Stream(socket) => Some(socket),
        }
    }

    /// The socket of datagrams.
    pub(crate) fn udp(&self) -> Option<&UdpListener> {
        match self {
            Socket::Udp(socket) => Some(socket),
            Socket::Stream(_) => None,
        }
    }
}

impl Listener {
    /// Binds the socket of the listener at that place of the configuration.
    pub(crate) fn bind(place: u16, listen: &Listen) -> Result<Self, BindError> {
        let socket = match listen.transport {
            Transport::Udp => Socket::Udp(UdpListener::bind(place, listen.bind, &SocketLimits::default())?),
            Transport::Tcp | Transport::Tls => Socket::Stream(bind_stream(place, listen)?),
        };
        let bound = socket.local_addr();
        let advertised = match &listen.advertise {
            Some(advertised) => Some(advertised.as_str().into()),
            None if bound.ip().is_unspecified() => None,
            None => Some(bound.to_string().into()),
        };
        Ok(Self { socket, name: listen.name.clone(), advertised })
    }
}

fn bind_stream(place: u16, listen: &Listen) -> Result<StreamListener, BindError> {
    let limits = stream_limits(&listen.connections);
    match tls_files(listen) {
        Some(files) => StreamListener::bind_tls(place, listen.bind, &limits, files),
        None => StreamListener::bind(place, listen.bind, &limits),
    }
}

fn tls_files(listen: &Listen) -> Option<TlsFiles> {
    listen.tls.as_ref().map(|tls| TlsFiles {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_ca.clone(),
        require_client_cert: tls.require_client_cert,
        ca: tls.ca.clone(),
    })
}

/// The certificates of a configuration that cannot be used: the place of each listener, and why.
pub fn check_certificates(config: &Config) -> Vec<(usize, TlsError)> {
    let listeners = config.listen.iter().enumerate();
    listeners.filter_map(|(place, listen)| Some((place, tls_files(listen)?.check().err()?))).collect()
}

/// Whom to take for a gateway that is called under TLS: whoever has a certificate for its name (RFC 5922 §4).
fn expected(configured: &ConfiguredRouting) -> Arc<Expected> {
    let verify = match configured.tls.verify {
        TlsVerify::Full => Verify::Full,
        TlsVerify::Chain => Verify::Chain,
        TlsVerify::None => Verify::None,
    };
    let own = || configured.gateway.address.named().map(|wanted| wanted.host().to_owned());
    Arc::new(Expected { verify, name: configured.tls.name.clone().or_else(own) })
}

/// Whom to take for the host of a URI that a gateway has redirected to.
pub(crate) fn expected_at(uri: &str) -> Option<Arc<Expected>> {
    let host = Uri::parse(uri.as_bytes()).ok()?.host.to_string();
    Some(Arc::new(Expected { verify: Verify::Full, name: Some(host) }))
}

/// Says whose certificate is expected at an address.
pub(crate) fn expect(listeners: &[Listener], remote: SocketAddr, expected: &Arc<Expected>) {
    for socket in listeners.iter().filter_map(|listener| listener.socket.stream()) {
        socket.expect(remote, expected);
    }
}

/// Says whose certificates are expected at the addresses of gateways; returns those of gateways that are known by name.
pub(crate) fn expect_gateways(
    listeners: &[Listener],
    config: &Config,
) -> HashMap<GatewayName, Arc<Expected>> {
    let mut by_name = HashMap::new();
    for configured in &config.routing_gateways {
        let gateway = &configured.gateway;
        match gateway.address.fixed() {
            Some(address) if gateway.transport == Some(Transport::Tls) => {
                expect(listeners, address, &expected(configured));
            }
            Some(_) => {}
            None => {
                by_name.insert(gateway.name.clone(), expected(configured));
            }
        }
    }
    by_name
}

/// Reads certificates and keys anew whose files have changed. Returns how many listeners keep what they have because it
/// cannot be used.
pub(crate) fn reload_certificates(listeners: &[Listener], metrics: &Metrics) -> usize {
    let mut failures = 0;
    for listener in listeners {
        match listener.socket.stream().map(StreamListener::reload) {
            None | Some(Ok(Reloaded::Unchanged)) => {}
            Some(Ok(Reloaded::Changed)) => {
                metrics.certificate_reloads.of(Reload::Done).inc();
                tracing::info!(address = %listener.socket.local_addr(), "read the certificates anew");
            }
            Some(Err(error)) => {
                failures += 1;
                metrics.certificate_reloads.of(Reload::Failed).inc();
                let address = listener.socket.local_addr();
                tracing::error!(%address, %error, "cannot use the new certificates; those in use stay");
            }
        }
    }
    failures
}

fn stream_limits(configured: &Connections) -> StreamLimits {
    StreamLimits {
        connections_max: configured.max as usize,
        connections_per_source_max: configured.per_source as usize,
        idle: configured.idle,
        keep_alive: configured.keep_alive,
        ..StreamLimits::default()
    }
}

/// Of the listeners that speak `transport` to addresses of that family (and have that name, where one is asked for) the
/// one at the address that leads to `remote`, else one that takes any address, else the first.
pub(crate) fn choose(
    listeners: &[Listener],
    (transport, remote): (Transport, SocketAddr),
    named: Option<&str>,
    leading: impl FnOnce() -> IpAddr,
) -> Option<usize> {
    let fits = |listener: &Listener| {
        listener.socket.transport() == transport
            && listener.socket.local_addr().is_ipv4() == remote.is_ipv4()
            && (named.is_none() || listener.name.as_deref() == named)
    };
    let first = listeners.iter().position(fits)?;
    if !listeners[first + 1..].iter().any(fits) {
        return Some(first);
    }
    let at =
        |wanted: IpAddr| listeners.iter().position(|one| fits(one) && one.socket.local_addr().ip() == wanted);
    let any = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    Some(at(leading()).or_else(|| at(any)).unwrap_or(first))
}

/// Brings the metrics up to what the sockets have counted.
pub(crate) fn count(listeners: &[Listener], metrics: &Metrics) {
    let datagrams: Vec<_> =
        listeners.iter().filter_map(|one| Some(one.socket.udp()?.stats().counts())).collect();
    let total = |read: fn(&UdpCounts) -> u64| datagrams.iter().map(read).sum();
    let dropped = &metrics.datagrams_dropped;
    dropped.of(DropReason::ReceiveBuffer).raise_to(total(|counts| counts.receive_dropped));
    dropped.of(DropReason::Truncated).raise_to(total(|counts| counts.truncated));
    metrics.transport_messages.of(Direction::Received, label(Transport::Udp)).raise_to(total(|c| c.received));
    metrics.transport_messages.of(Direction::Sent, label(Transport::Udp)).raise_to(total(|c| c.sent));
    metrics
        .transport_bytes
        .of(Direction::Received, label(Transport::Udp))
        .raise_to(total(|c| c.bytes_received));
    metrics.transport_bytes.of(Direction::Sent, label(Transport::Udp)).raise_to(total(|c| c.bytes_sent));
    let mut congested = 0;
    for transport in [Transport::Tcp, Transport::Tls] {
        let of_transport = listeners.iter().filter(|one| one.socket.transport() == transport);
        let streams: Vec<_> =
            of_transport.filter_map(|one| Some(one.socket.stream()?.stats().counts())).collect();
        congested += streams.iter().map(|counts| counts.congested).sum::<u64>();
        count_streams(&streams, transport, metrics);
    }
    metrics.messages_congested.raise_to(congested);
}

fn count_streams(streams: &[StreamCounts], transport: Transport, metrics: &Metrics) {
    let transport = label(transport);
    let total = |read: fn(&StreamCounts) -> u64| streams.iter().map(read).sum::<u64>();
    metrics.connections_open.of(transport).set(i64::try_from(total(|c| c.open)).unwrap_or(i64::MAX));
    let event = |event, read| metrics.connections.of(transport, event).raise_to(total(read));
    event(ConnectionEvent::Accepted, |counts| counts.accepted);
    event(ConnectionEvent::Opened, |counts| counts.opened);
    event(ConnectionEvent::RefusedFull, |counts| counts.refused_full);
    event(ConnectionEvent::RefusedSource, |counts| counts.refused_source);
    event(ConnectionEvent::RefusedUser, |counts| counts.refused_user);
    event(ConnectionEvent::ConnectFailed, |counts| counts.connect_failures);
    event(ConnectionEvent::HandshakeFailed, |counts| counts.handshake_failures);
    event(ConnectionEvent::Lost, |counts| counts.lost);
    event(ConnectionEvent::Idle, |counts| counts.idle);
    event(ConnectionEvent::Broken, |counts| counts.broken);
    let (received, sent) = (Direction::Received, Direction::Sent);
    metrics.transport_messages.of(received, transport).raise_to(total(|counts| counts.messages_received));
    metrics.transport_messages.of(sent, transport).raise_to(total(|counts| counts.messages_sent));
    metrics.transport_bytes.of(received, transport).raise_to(total(|counts| counts.bytes_received));
    metrics.transport_bytes.of(sent, transport).raise_to(total(|counts| counts.bytes_sent));
}

fn label(transport: Transport) -> tandem_telemetry::Transport {
    match transport {
        Transport::Udp => tandem_telemetry::Transport::Udp,
        Transport::Tcp => tandem_telemetry::Transport::Tcp,
        Transport::Tls => tandem_telemetry::Transport::Tls,
    }
}
