//! Where a routing gateway is.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tandem_sip::locate::Wanted;

/// Where a routing gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayAddress {
    /// There.
    At(SocketAddr),
    /// Wherever its name leads at present (RFC 3263).
    Named(Wanted),
    /// Where the endpoint of that user is registered.
    Endpoint(Arc<str>),
}

impl GatewayAddress {
    /// The address, if there is only one.
    pub fn fixed(&self) -> Option<SocketAddr> {
        match self {
            GatewayAddress::At(address) => Some(*address),
            GatewayAddress::Named(_) | GatewayAddress::Endpoint(_) => None,
        }
    }

    /// What is to be located, if it is known by a name.
    pub fn named(&self) -> Option<&Wanted> {
        match self {
            GatewayAddress::At(_) | GatewayAddress::Endpoint(_) => None,
            GatewayAddress::Named(wanted) => Some(wanted),
        }
    }
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatewayAddress::At(address) => address.fmt(f),
            GatewayAddress::Named(wanted) => wanted.fmt(f),
            GatewayAddress::Endpoint(user) => write!(f, "endpoint {user}"),
        }
    }
}
