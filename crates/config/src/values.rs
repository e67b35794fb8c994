//! Texts as the types they stand for.

use crate::error::Problem;
use crate::section::text;
use crate::tree::Node;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tandem_sip::flow::Transport;
use tandem_sip::locate::Wanted;
use tandem_switch::gateway::GatewayAddress;

/// The port of DNS (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

/// The most characters of a host name, and of one of its labels.
const MAX_HOST_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The most characters of a name.
const MAX_NAME: usize = 64;

/// A name of a node, cluster or gateway: it appears in CDRs, metrics and paths of the API, so it stays plain.
pub(crate) fn name(node: Node) -> Result<String, Problem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text(node).and_then(|name| match name.len() {
        1..=MAX_NAME if name.bytes().all(plain) => Ok(name),
        _ => Err(Problem::NotA { expected: "a name of 1 to 64 letters, digits, '.', '_' or '-'" }),
    })
}

/// A local address to bind.
pub(crate) fn bind(node: Node) -> Result<SocketAddr, Problem> {
    text(node)?.parse().map_err(|_| Problem::NotA { expected: "an address and port such as 0.0.0.0:5060" })
}

/// An address that others can send to, with its port.
pub(crate) fn reachable(node: Node) -> Result<SocketAddr, Problem> {
    let expected = "an address and port such as 192.0.2.1:5060 that others can send to";
    let address: SocketAddr = text(node)?.parse().map_err(|_| Problem::NotA { expected })?;
    if is_reachable(address) { Ok(address) } else { Err(Problem::NotA { expected }) }
}

/// What a gateway's address looks like.
pub(crate) const GATEWAY_ADDRESS: &str =
    "an address such as 192.0.2.1:5060 or a name such as sip.example.com";

/// A gateway's address, at its transport's own port without one, or its name.
pub(crate) fn gateway_address(node: Node, transport: Option<Transport>) -> Result<GatewayAddress, Problem> {
    const FORM: Problem = Problem::NotA { expected: GATEWAY_ADDRESS };
    let default_port = transport.unwrap_or(Transport::Udp).default_port();
    let text = text(node)?;
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = bracketed.unwrap_or(&text).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, default_port));
    match text.parse::<SocketAddr>().or(ip) {
        Ok(address) if is_reachable(address) => Ok(GatewayAddress::At(address)),
        Ok(_) => Err(FORM),
        Err(_) => host_name(&text, transport).map(GatewayAddress::Named).ok_or(FORM),
    }
}

fn is_reachable(address: SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

/// A host name with or without a port (RFC 3261 §25.1: the last label begins with a letter, which tells a name from a
/// mistyped address), as long as DNS lets it be (RFC 1035 §2.3.4).
fn host_name(text: &str, transport: Option<Transport>) -> Option<Wanted> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().ok().filter(|port| *port != 0)?)),
        None => (text, None),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        matches!(label.len(), 1..=MAX_LABEL)
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_alphabetic = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with(|first: char| first.is_ascii_alphabetic()));
    let is_name = host.len() <= MAX_HOST_NAME && host.split('.').all(label) && last_is_alphabetic;
    is_name.then(|| Wanted::new(host, port, transport))
}

/// Whether a text is a host name without a port.
pub(crate) fn is_host_name(text: &str) -> bool {
    !text.contains(':') && host_name(text, None).is_some()
}

/// A DNS server's address; without a port, 53.
pub(crate) fn dns_server(node: Node) -> Result<SocketAddr, Problem> {
    const FORM: Problem =
        Problem::NotA { expected: "the address of a DNS server such as 192.0.2.53 or 192.0.2.53:5353" };
    let text = text(node)?;
    let ip = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
    text.parse::<SocketAddr>().or(ip).ok().filter(|address| is_reachable(*address)).ok_or(FORM)
}

/// A network, or one address.
pub(crate) fn network(node: Node) -> Result<IpNet, Problem> {
    let text = text(node)?;
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network: IpNet = text
        .parse()
        .ok()
        .or_else(one)
        .ok_or(Problem::NotA { expected: "an address or a network such as 192.0.2.0/24" })?;
    match network.trunc() {
        truncated if truncated == network => Ok(network),
        truncated => Err(Problem::HostBits { network: truncated }),
    }
}

/// A duration such as `30s`, within bounds in whole seconds.
pub(crate) fn duration(
    range: std::ops::RangeInclusive<u32>,
) -> impl Fn(Node) -> Result<Duration, Problem> + Clone {
    move |node| {
        let text = text(node)?;
        let unit_at = text.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(unit_at);
        let per_unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => {
                return Err(Problem::NotA { expected: "a duration such as 30s" });
            }
        };
        if digits.is_empty() {
            return Err(Problem::NotA { expected: "a duration such as 30s" });
        }
        let ms = digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(per_unit);
        let bounds = u64::from(*range.start()) * 1000..=u64::from(*range.end()) * 1000;
        if bounds.contains(&ms) {
            Ok(Duration::from_millis(ms))
        } else {
            Err(Problem::OutOfRange { min: *range.start(), max: *range.end(), unit: "s" })
        }
    }
}
