//! What goes wrong at the sockets.

use crate::tls::TlsError;
use std::io;
use std::net::SocketAddr;

/// A listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be bound (in use, not ours, not permitted).
    #[error("listener {listener} cannot bind {address}: {source}")]
    Address {
        /// The listener's number.
        listener: u16,
        /// The address that was asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket could not be made or does not take a needed option.
    #[error("listener {listener}: {step} failed: {source}")]
    Socket {
        /// The listener's number.
        listener: u16,
        /// The option or call.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("listener {listener}: {source}")]
    Tls {
        /// The listener's number.
        listener: u16,
        /// What is wrong with them.
        source: TlsError,
    },
    /// `datagram_max_bytes` is zero, or more than UDP can carry.
    #[error("listener {listener}: a datagram limit of {bytes} bytes is not within 1..=65535")]
    DatagramLimit {
        /// The listener's number.
        listener: u16,
        /// The value given.
        bytes: usize,
    },
}

/// A message could not be sent to its target: a transport error in the sense of RFC 3261 §8.1.3.1 and §17.1.4.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No way there (`EHOSTUNREACH`, `ENETUNREACH`, `EHOSTDOWN`, `ENETDOWN`).
    #[error("{remote} cannot be reached: {source}")]
    Unreachable {
        /// The target.
        remote: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The datagram is longer than the socket or the path can carry (`EMSGSIZE`).
    #[error("{bytes} bytes are too long for a datagram to {remote}")]
    TooLong {
        /// The target.
        remote: SocketAddr,
        /// The length of the payload.
        bytes: usize,
    },
    /// The kernel refuses this target for another reason: a firewall rule, the other address family, port 0.
    #[error("cannot send to {remote}: {source}")]
    Refused {
        /// The target.
        remote: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The peer takes what it is sent more slowly than it is sent, and its queue is full.
    #[error("{remote} does not keep up: its queue is full")]
    Congested {
        /// The target.
        remote: SocketAddr,
    },
    /// No connection can be opened beside those that there are.
    #[error("too many connections to open one to {remote}")]
    TooManyConnections {
        /// The target.
        remote: SocketAddr,
    },
    /// The listener has been closed.
    #[error("the listener is closed, and {remote} out of its reach")]
    Closed {
        /// The target.
        remote: SocketAddr,
    },
}
