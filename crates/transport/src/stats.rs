//! What a listener counts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The counters of one UDP listener, since it was bound. Reading them blocks nobody.
#[derive(Debug, Default)]
pub struct UdpStats {
    pub(crate) received: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) receive_dropped: Counter,
    pub(crate) truncated: Counter,
    pub(crate) receive_errors: Counter,
    pub(crate) unreachable: Counter,
    pub(crate) icmp_ignored: Counter,
    pub(crate) sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) send_dropped: Counter,
    pub(crate) send_errors: Counter,
    pub(crate) queue: Queue,
}

/// A reading of [`UdpStats`], in datagrams where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounts {
    /// Delivered to the callback.
    pub received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Dropped by the kernel because our receive buffer was full (`SO_RXQ_OVFL`; known once a later datagram arrives).
    pub receive_dropped: u64,
    /// Dropped by us because they were longer than the limit.
    pub truncated: u64,
    /// Failed receive calls.
    pub receive_errors: u64,
    /// ICMP errors reported as [`crate::Event::Unreachable`].
    pub unreachable: u64,
    /// ICMP errors that nobody has to know of (RFC 3261 §18.4: source quench, TTL exceeded; also path MTU news).
    pub icmp_ignored: u64,
    /// Handed to the kernel.
    pub sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Not sent because the send buffer was full.
    pub send_dropped: u64,
    /// Refused by the kernel for their target.
    pub send_errors: u64,
}

impl UdpStats {
    /// A reading of all counters.
    pub fn counts(&self) -> UdpCounts {
        UdpCounts {
            received: self.received.get(),
            bytes_received: self.bytes_received.get(),
            receive_dropped: self.receive_dropped.get(),
            truncated: self.truncated.get(),
            receive_errors: self.receive_errors.get(),
            unreachable: self.unreachable.get(),
            icmp_ignored: self.icmp_ignored.get(),
            sent: self.sent.get(),
            bytes_sent: self.bytes_sent.get(),
            send_dropped: self.send_dropped.get(),
            send_errors: self.send_errors.get(),
        }
    }

    /// For how long the kernel's receive buffer has not been empty: at least so long does whatever is in it wait, unless
    /// nobody reads the socket.
    pub fn standing(&self) -> Duration {
        self.queue.standing()
    }
}

/// Since when a queue has not been emptied.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// When a clock was first looked at.
    began: OnceLock<Instant>,
    /// Milliseconds after that, plus one; 0 while the queue is known to have been emptied.
    since: AtomicU64,
}

impl Queue {
    fn now_ms(&self) -> u64 {
        self.began.get_or_init(Instant::now).elapsed().as_millis() as u64
    }

    /// It was read, and nothing is left.
    pub(crate) fn emptied(&self) {
        if self.since.load(Ordering::Relaxed) != 0 {
            self.since.store(0, Ordering::Relaxed);
        }
    }

    /// It was read, and something is left.
    pub(crate) fn more_left(&self) {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(self.now_ms() + 1, Ordering::Relaxed);
        }
    }

    fn standing(&self) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis((self.now_ms() + 1).saturating_sub(since)),
        }
    }
}

/// The counters of one stream listener, since it was bound. Reading them blocks nobody.
#[derive(Debug, Default)]
pub struct StreamStats {
    pub(crate) open: Counter,
    pub(crate) accepted: Counter,
    pub(crate) opened: Counter,
    pub(crate) refused_full: Counter,
    pub(crate) refused_source: Counter,
    pub(crate) refused_user: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) handshake_failures: Counter,
    pub(crate) lost: Counter,
    pub(crate) idle: Counter,
    pub(crate) broken: Counter,
    pub(crate) congested: Counter,
    pub(crate) messages_received: Counter,
    pub(crate) messages_sent: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) bytes_sent: Counter,
}

/// A reading of [`StreamStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Connections that are open now, those in set-up included.
    pub open: u64,
    /// Connections taken from peers.
    pub accepted: u64,
    /// Connections opened to peers.
    pub opened: u64,
    /// Connections of peers refused because there are as many as may be.
    pub refused_full: u64,
    /// Connections of peers refused because their address has as many as it may have.
    pub refused_source: u64,
    /// Connections of peers refused by the listener's user.
    pub refused_user: u64,
    /// Connections to peers that could not be opened.
    pub connect_failures: u64,
    /// TLS handshakes that failed, with peers' connections and with ours.
    pub handshake_failures: u64,
    /// Connections that broke: reset, stalled, no answer to a keep-alive.
    pub lost: u64,
    /// Connections closed because nothing was heard for too long.
    pub idle: u64,
    /// Connections closed because what came was no SIP stream.
    pub broken: u64,
    /// Messages not sent because their connection's queue was full.
    pub congested: u64,
    /// Messages that came in whole.
    pub messages_received: u64,
    /// Messages handed to the kernel.
    pub messages_sent: u64,
    /// Bytes read, before TLS is put on and after it is taken off.
    pub bytes_received: u64,
    /// Bytes written, likewise.
    pub bytes_sent: u64,
}

impl StreamStats {
    /// A reading of all counters.
    pub fn counts(&self) -> StreamCounts {
        StreamCounts {
            open: self.open.get(),
            accepted: self.accepted.get(),
            opened: self.opened.get(),
            refused_full: self.refused_full.get(),
            refused_source: self.refused_source.get(),
            refused_user: self.refused_user.get(),
            connect_failures: self.connect_failures.get(),
            handshake_failures: self.handshake_failures.get(),
            lost: self.lost.get(),
            idle: self.idle.get(),
            broken: self.broken.get(),
            congested: self.congested.get(),
            messages_received: self.messages_received.get(),
            messages_sent: self.messages_sent.get(),
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
        }
    }
}

/// A counter that orders nothing else in memory.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes one away, of a count that also goes down.
    pub(crate) fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Takes over a running total that somebody else keeps (the kernel's).
    pub(crate) fn raise_to(&self, total: u64) {
        self.0.fetch_max(total, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
