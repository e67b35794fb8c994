//! Flows: by which socket a peer is reached.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A SIP transport (RFC 3261 §18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// Datagrams: the transactions resend.
    Udp,
    /// A stream: nothing is resent hop by hop.
    Tcp,
    /// TCP under TLS.
    Tls,
}

impl Transport {
    /// Whether the transport delivers by itself, so that timers A, E, G, I, J and K are off or zero (RFC 3261 §17).
    pub fn is_reliable(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls => true,
        }
    }

    /// The name in a Via header.
    pub fn via_name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }
}

/// One of our sockets and the peer's address behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// How it is carried.
    pub transport: Transport,
    /// Which listener of this node, by its place in the configuration.
    pub listener: u16,
    /// The peer.
    pub remote: SocketAddr,
}
