//! Sockets: datagrams in batches with ICMP errors as events, connections with bounded queues, sends that never wait.
//! Linux only. And the resolver of names.
//!
//! This crate moves messages and knows of SIP only where one ends. A [`UdpListener`] hands batches of [`Event`]s to a
//! callback; a [`StreamListener`] tells its [`StreamUser`] what comes in by its connections.

mod error;
mod icmp;
mod readiness;
mod receive;
mod resolver;
mod stats;
mod stream;
mod tls;
mod udp;

pub use error::{BindError, SendError};
pub use resolver::{DnsSettings, MAX_UNDER_WAY, Outcome, Resolver, ResolverError, Seen, WAIT_LIMIT};
pub use stats::{StreamCounts, StreamStats, UdpCounts, UdpStats};
pub use stream::{Fate, Hold, Origin, Pause, Peer, StreamLimits, StreamListener, StreamUser};
pub use tls::{Expected, Reloaded, TLS_PEERS_MAX, TlsError, TlsFiles, Verify};
pub use udp::{BufferKind, CappedBuffer, Sent, SocketLimits, UdpListener};

use bytes::Bytes;
use std::net::SocketAddr;

/// What a listener has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A datagram arrived.
    Datagram {
        /// The listener's number, as given when it was bound.
        listener: u16,
        /// The address the datagram came from.
        source: SocketAddr,
        /// The whole payload; may be empty.
        bytes: Bytes,
    },
    /// A datagram of ours did not reach its target: an ICMP error that RFC 3261 §18.4 tells to report (host, network,
    /// port or protocol unreachable, parameter problem).
    ///
    /// An ICMP error can be forged: whoever acts on it first checks that `sent` is a message it has in flight.
    Unreachable {
        /// The listener that sent the datagram.
        listener: u16,
        /// Where the datagram was sent to (not the router that reported the error).
        remote: SocketAddr,
        /// As much of our datagram as the error quotes: at least its first 8 bytes of UDP, as a rule some 500 bytes;
        /// may be empty.
        sent: Bytes,
    },
}
