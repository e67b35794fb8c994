//! What a listener counts.

use std::sync::atomic::{AtomicU64, Ordering};

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
