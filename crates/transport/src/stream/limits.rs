//! What a peer may make a stream listener hold, and how long.

use std::time::Duration;

/// Bounds on the connections of one listener, both taken and opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections at a time, those in set-up included.
    pub connections_max: usize,
    /// Connections that one address may have opened to us at a time.
    pub connections_per_source_max: usize,
    /// A connection by which nothing comes for so long is closed, unless somebody holds it.
    pub idle: Duration,
    /// How often a connection that we opened is sent a keep-alive (RFC 5626 §3.5.1); `None` for never.
    pub keep_alive: Option<Duration>,
    /// How long a peer that has answered a keep-alive once may take to answer another (RFC 5626 §4.4.1).
    pub pong: Duration,
    /// How long opening a connection may take.
    pub connect: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// TLS handshakes of peers at a time.
    pub handshakes_max: usize,
    /// How long one message may take to come in, from its first byte to its last.
    pub message: Duration,
    /// How long the peer may take nothing of what it is sent.
    pub stall: Duration,
    /// Messages that may wait to be sent on one connection.
    pub queue_messages_max: usize,
    /// Bytes of them.
    pub queue_bytes_max: usize,
    /// How long a request that was sent may still be sent again when its connection breaks: 64·T1, after which its
    /// transaction has given up.
    pub unanswered: Duration,
    /// Requests of one connection that this is done for.
    pub unanswered_max: usize,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            connections_max: 10_000,
            connections_per_source_max: 1_000,
            idle: Duration::from_secs(600),
            keep_alive: Some(Duration::from_secs(60)),
            pong: Duration::from_secs(10),
            connect: Duration::from_secs(4),
            handshake: Duration::from_secs(5),
            handshakes_max: 256,
            message: Duration::from_secs(30),
            stall: Duration::from_secs(10),
            queue_messages_max: 1_024,
            queue_bytes_max: 1 << 20,
            unanswered: Duration::from_secs(32),
            unanswered_max: 1_024,
        }
    }
}
