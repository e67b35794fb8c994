//! What is to be located, and what we have to reach it by.

use super::plain;
use crate::flow::Transport;
use crate::uri::{Scheme, Uri};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The part of a SIP URI that says where a request goes (RFC 3263 §4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    host: Arc<str>,
    port: Option<u16>,
    transport: Option<Transport>,
    security: Security,
}

/// Whether any transport will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Security {
    /// `sip:`.
    Any,
    /// `sips:`: TLS only.
    Tls,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// Which transports our listeners have, over which address families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers(Vec<(Transport, Family)>);

impl FromIterator<(Transport, Family)> for Offers {
    fn from_iter<T: IntoIterator<Item = (Transport, Family)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Offers {
    /// Whether a target of this transport and family can be reached.
    pub fn have(&self, transport: Transport, family: Family) -> bool {
        self.0.contains(&(transport, family))
    }

    /// The families of a transport, in the order in which they are tried: IPv6 first where there is a listener for it
    /// (RFC 7984 §4).
    pub(super) fn families(&self, transport: Transport) -> impl Iterator<Item = Family> + '_ {
        [Family::V6, Family::V4].into_iter().filter(move |family| self.have(transport, *family))
    }
}

impl Wanted {
    /// A host by name or address, with the port and the transport if they are given.
    pub fn new(host: &str, port: Option<u16>, transport: Option<Transport>) -> Self {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self { host: plain(host).into(), port, transport, security: Security::Any }
    }

    /// The same over TLS only, as for a `sips:` URI (RFC 3263 §4.1).
    pub fn secured(self) -> Self {
        Self { security: Security::Tls, ..self }
    }

    /// The same by that transport; by any that will do if `None`.
    pub fn over(self, transport: Option<Transport>) -> Self {
        Self { transport, ..self }
    }

    /// Where a request to this URI goes; `None` for one that is no SIP URI or names a transport that we do not know.
    pub fn of_uri(uri: &Uri<'_>) -> Option<Self> {
        let transport = match uri.transport() {
            None => None,
            Some(name) if name.eq_ignore_ascii_case(b"udp") => Some(Transport::Udp),
            Some(name) if name.eq_ignore_ascii_case(b"tcp") => Some(Transport::Tcp),
            Some(name) if name.eq_ignore_ascii_case(b"tls") => Some(Transport::Tls),
            Some(_) => return None,
        };
        // §4: the target is the maddr parameter if there is one.
        let host = match uri.param("maddr") {
            Some(Some(maddr)) => std::str::from_utf8(maddr).ok()?.to_owned(),
            Some(None) | None => uri.host.to_string(),
        };
        let wanted = Self::new(&host, uri.port, transport);
        match uri.scheme {
            Scheme::Sip => Some(wanted),
            Scheme::Sips => Some(wanted.secured()),
            Scheme::Tel | Scheme::Other => None,
        }
    }

    /// The host, in lower case, without a final dot or brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one is given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The transport, if one is given.
    pub fn transport(&self) -> Option<Transport> {
        self.transport
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The transports that will do, the preferred one first: UDP unless TLS is asked for (RFC 3263 §4.1).
    pub(super) fn transports(&self) -> &'static [Transport] {
        match (self.security, self.transport) {
            (Security::Any, None) => &[Transport::Udp, Transport::Tcp, Transport::Tls],
            (Security::Any, Some(Transport::Udp)) => &[Transport::Udp],
            (Security::Any, Some(Transport::Tcp)) => &[Transport::Tcp],
            // §4.1: `sips` with `transport=tcp` is TLS over TCP.
            (Security::Any, Some(Transport::Tls))
            | (Security::Tls, None | Some(Transport::Tcp | Transport::Tls)) => &[Transport::Tls],
            (Security::Tls, Some(Transport::Udp)) => &[],
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address(), self.port) {
            (Some(address), Some(port)) => SocketAddr::new(address, port).fmt(f),
            (Some(address), None) => address.fmt(f),
            (None, Some(port)) => write!(f, "{}:{port}", self.host),
            (None, None) => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Option<Wanted> {
        Wanted::of_uri(&Uri::parse(uri.as_bytes()).expect("a URI"))
    }

    #[test]
    fn a_uri_says_host_port_transport_and_security() {
        assert_eq!(of("sip:1@GW.example.com."), Some(Wanted::new("gw.example.com", None, None)));
        let tcp = Wanted::new("gw.example.com", Some(5080), Some(Transport::Tcp));
        assert_eq!(of("sip:1@gw.example.com:5080;transport=TCP"), Some(tcp.clone()));
        assert_eq!(of("sips:1@gw.example.com:5080;transport=tcp"), Some(tcp.secured()));
        assert_eq!(of("sip:1@[2001:db8::1]"), Some(Wanted::new("2001:db8::1", None, None)));
        assert_eq!(of("sip:1@gw.example.com;transport=sctp"), None);
        assert_eq!(of("tel:+442071"), None);
    }

    #[test]
    fn maddr_stands_for_the_host() {
        assert_eq!(of("sip:1@gw.example.com;maddr=192.0.2.7"), Some(Wanted::new("192.0.2.7", None, None)));
    }

    #[test]
    fn it_is_written_as_in_a_configuration() {
        for text in ["gw.example.com", "gw.example.com:5080"] {
            let (host, port) =
                text.split_once(':').map_or((text, None), |(host, port)| (host, port.parse().ok()));
            assert_eq!(Wanted::new(host, port, None).to_string(), text);
        }
        assert_eq!(Wanted::new("[2001:db8::1]", Some(5060), None).to_string(), "[2001:db8::1]:5060");
    }
}
