//! What a listener counts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The counters of one UDP listener, since it was bound. Reading them blocks nobody.
#[derive(Debug, Default)]
pub struct UdpStats {
    pub(crate) received: Counter,
    pub(crate) receive_dropped: Counter,
    pub(crate) truncated: Counter,
    pub(crate) receive_errors: Counter,
    pub(crate) unreachable: Counter,
    pub(crate) icmp_ignored: Counter,
    pub(crate) sent: Counter,
    pub(crate) send_dropped: Counter,
    pub(crate) send_errors: Counter,
    pub(crate) queue: Queue,
}

/// A reading of [`UdpStats`], in datagrams where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounts {
    /// Delivered to the callback.
    pub received: u64,
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
            receive_dropped: self.receive_dropped.get(),
            truncated: self.truncated.get(),
            receive_errors: self.receive_errors.get(),
            unreachable: self.unreachable.get(),
            icmp_ignored: self.icmp_ignored.get(),
            sent: self.sent.get(),
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

/// A counter that orders nothing else in memory.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes over a running total that somebody else keeps (the kernel's).
    pub(crate) fn raise_to(&self, total: u64) {
        self.0.fetch_max(total, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
