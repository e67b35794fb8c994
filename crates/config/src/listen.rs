//! `[[listen]]`: the sockets.

use crate::error::Problem;
use crate::section::{Section, Spot, flag, text, whole};
use crate::tree::{Node, Value};
use crate::values::{bind, duration, is_host_name, name, reachable};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::flow::Transport;
use tandem_switch::gateway::GatewayAddress;

const CONNECTIONS: RangeInclusive<u32> = 1..=100_000;

/// Bounds of the time a silent connection stays open, in seconds.
const IDLE: RangeInclusive<u32> = 10..=86_400;

/// Bounds of the time between two keep-alives, in seconds; 0 is never.
const KEEP_ALIVE: RangeInclusive<u32> = 0..=3_600;

/// What is wrong with a key of TLS elsewhere.
pub(crate) const ONLY_UNDER_TLS: Problem = Problem::OnlyWith { with: "transport = \"tls\"" };

/// One `[[listen]]`: a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `name`: what a gateway's `listen` calls it by.
    pub name: Option<Arc<str>>,
    /// `transport`, default `udp`.
    pub transport: Transport,
    /// The address the socket is bound to; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The `host:port` that peers are told, where it is another one: an address, or under TLS the name in the certificate.
    pub advertise: Option<String>,
    /// What goes for its connections, where it has any.
    pub connections: Connections,
    /// What TLS needs; only there for `transport = "tls"`.
    pub tls: Option<Tls>,
}

/// The files of a TLS listener, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `cert`: its certificate, followed by those that lead to its root.
    pub cert: PathBuf,
    /// `key`: the private key.
    pub key: PathBuf,
    /// `client_ca`: who signs the certificates of peers that connect; `None`: they are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// `require_client_cert`: whether they must have one.
    pub require_client_cert: bool,
    /// `ca`: who signs the certificates of the gateways that are called from here; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
}

/// Bounds on the connections of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// `max_connections`: at a time, default 10 000.
    pub max: u32,
    /// `max_connections_per_source`: from one address at a time, default 1000.
    pub per_source: u32,
    /// `idle_timeout`: how long a connection that nothing comes by stays open, unless a call goes by it; default 10 min.
    pub idle: Duration,
    /// `keep_alive`: how often a connection that we opened is sent a double CRLF (RFC 5626 §3.5.1), default 60 s;
    /// `None`, in the file `0s`, is never.
    pub keep_alive: Option<Duration>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            name: None,
            transport: Transport::Udp,
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5060),
            advertise: None,
            connections: Connections::default(),
            tls: None,
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 10_000,
            per_source: 1_000,
            idle: Duration::from_secs(600),
            keep_alive: Some(Duration::from_secs(60)),
        }
    }
}

/// `[[listen]]`.
pub(crate) fn read(root: &mut Section) -> Vec<Listen> {
    let Some(sections) = root.filled_sections("listen", "at least one listener") else {
        return vec![Listen::default()];
    };
    let mut listeners: Vec<(Spot<SocketAddr>, Listen)> = Vec::new();
    let mut names: Vec<Spot<String>> = Vec::new();
    for mut section in sections {
        let name = section.read("name", name);
        if let Some(name) = &name {
            if let Some(first) = names.iter().find(|other| other.value == name.value) {
                let problem = Problem::Duplicate { what: "name", first: first.key.clone() };
                section.report(name.error(problem));
            }
            names.push(name.clone());
        }
        let transport = section.read("transport", transport).map_or(Transport::Udp, |spot| spot.value);
        let tls = tls(&mut section, transport);
        let address = section.need("bind", "an address and port such as 0.0.0.0:5060", bind);
        let advertise = section.read("advertise", advertised).map(|spot| spot.value);
        let connections = connections(&mut section, transport);
        if let Some(address) = address {
            let clash = listeners
                .iter()
                .find(|(_, other)| clashes((other.transport, other.bind), (transport, address.value)));
            if let Some((first, _)) = clash {
                let problem = Problem::Duplicate { what: "listening address", first: first.key.clone() };
                section.report(address.error(problem));
            }
            let name = name.map(|spot| Arc::from(spot.value));
            let listen = Listen { name, transport, bind: address.value, advertise, connections, tls };
            listeners.push((address, listen));
        }
        root.adopt(section);
    }
    listeners.into_iter().map(|(_, listen)| listen).collect()
}

/// `cert`, `key`, and whom to believe: there under TLS, and nowhere else.
fn tls(section: &mut Section, transport: Transport) -> Option<Tls> {
    if transport != Transport::Tls {
        for key in ["cert", "key", "client_ca", "ca"] {
            if let Some(file) = section.read(key, file) {
                section.report(file.error(ONLY_UNDER_TLS));
            }
        }
        if let Some(required) = section.read("require_client_cert", flag) {
            section.report(required.error(ONLY_UNDER_TLS));
        }
        return None;
    }
    let [cert, key] = ["cert", "key"].map(|key| section.need(key, "a file in PEM", file));
    let [client_ca, ca] = ["client_ca", "ca"].map(|key| section.read(key, file).map(|spot| spot.value));
    let required = section.read("require_client_cert", flag);
    if let Some(required) = required.as_ref().filter(|required| required.value && client_ca.is_none()) {
        section.report(required.error(Problem::OnlyWith { with: "client_ca" }));
    }
    let require_client_cert = required.is_some_and(|spot| spot.value);
    Some(Tls { cert: cert?.value, key: key?.value, client_ca, require_client_cert, ca })
}

/// A file's path.
fn file(node: Node) -> Result<PathBuf, Problem> {
    match text(node)? {
        path if path.is_empty() => Err(Problem::NotA { expected: "a file in PEM" }),
        path => Ok(PathBuf::from(path)),
    }
}

/// `advertise`: an address or a name, with its port.
fn advertised(node: Node) -> Result<String, Problem> {
    let name = match &node.value {
        Value::Text(text) => text.rsplit_once(':').filter(|(host, _)| is_host_name(host)),
        _ => None,
    };
    match name {
        Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port != 0) => Ok(format!("{host}:{port}")),
        Some(_) | None => reachable(node).map(|address| address.to_string()),
    }
}

fn connections(section: &mut Section, transport: Transport) -> Connections {
    let mut connections = Connections::default();
    let with = "transport = \"tcp\" or \"tls\"";
    for (key, value) in [
        ("max_connections", &mut connections.max),
        ("max_connections_per_source", &mut connections.per_source),
    ] {
        if let Some(spot) = section.read(key, whole(CONNECTIONS, "connections")) {
            if transport == Transport::Udp {
                section.report(spot.error(Problem::OnlyWith { with }));
            }
            *value = spot.value;
        }
    }
    for (key, range) in [("idle_timeout", IDLE), ("keep_alive", KEEP_ALIVE)] {
        let Some(spot) = section.read(key, duration(range)) else { continue };
        if transport == Transport::Udp {
            section.report(spot.error(Problem::OnlyWith { with }));
        } else if key == "idle_timeout" {
            connections.idle = spot.value;
        } else {
            connections.keep_alive = Some(spot.value).filter(|period| !period.is_zero());
        }
    }
    connections
}

/// Whether two sockets cannot both be bound. Port 0 never clashes: each socket gets a free port of its own.
fn clashes(
    (one_transport, one): (Transport, SocketAddr),
    (other_transport, other): (Transport, SocketAddr),
) -> bool {
    let wildcard = one.ip().is_unspecified() || other.ip().is_unspecified();
    one_transport.is_reliable() == other_transport.is_reliable()
        && one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (wildcard || one.ip() == other.ip())
}

/// The `transport` of a listener or gateway.
pub(crate) fn transport(node: Node) -> Result<Transport, Problem> {
    match text(node)?.as_str() {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        "tls" => Ok(Transport::Tls),
        _ => Err(Problem::NotA { expected: "udp, tcp or tls" }),
    }
}

/// The key's value for a transport.
fn key_of(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    }
}

/// Reports a gateway that no listener can call. Which transport and address family a name leads to is not known yet.
pub(crate) fn check_reach(
    section: &mut Section,
    address: &Spot<GatewayAddress>,
    transport: Option<Transport>,
    from: Option<&Spot<String>>,
    listeners: &[Listen],
) {
    let (transport, is_ipv4) = match address.value.fixed() {
        Some(address) => (transport.or(Some(Transport::Udp)), Some(address.is_ipv4())),
        None => (transport, None),
    };
    let fits = |listen: &Listen| {
        transport.is_none_or(|transport| listen.transport == transport)
            && is_ipv4.is_none_or(|is_ipv4| listen.bind.is_ipv4() == is_ipv4)
            && from.is_none_or(|from| listen.name.as_deref() == Some(from.value.as_str()))
    };
    // Where the listeners themselves are wrong, that is error enough.
    if listeners.is_empty() || listeners.iter().any(fits) {
        return;
    }
    let problem = Problem::NoListener {
        name: from.map(|from| from.value.clone()),
        transport: transport.map(key_of),
        family: is_ipv4.map(|is_ipv4| if is_ipv4 { "IPv4" } else { "IPv6" }),
    };
    let error = match from {
        Some(from) => from.error(problem),
        None => address.error(problem),
    };
    section.report(error);
}
