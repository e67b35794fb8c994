//! When endpoints behind NATs are sent what keeps their bindings open (`SS_SIP_NAT_KEEP_ALIVE_…`).
//!
//! Nothing is stored of it: each flow has its place in the period by a hash, so that any node, and this one after a
//! restart, comes to the same schedule.

mod schedule;
#[cfg(test)]
mod tests;

pub use schedule::{Due, Schedule};

use bytes::Bytes;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;
use std::time::Duration;
use tandem_sip::flow::Flow;

/// What is sent, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// `SS_SIP_NAT_KEEP_ALIVE_MESSAGE`: the payload.
    pub message: Bytes,
    /// When.
    pub pace: Pace,
}

/// How fast keep-alives are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// `SS_SIP_NAT_KEEP_ALIVE_PERIOD`: each endpoint gets one in this time.
    pub period: Duration,
    /// `SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL`: the least time from one batch to the next.
    pub interval: Duration,
    /// `SS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME`: the most in a batch.
    pub batch: usize,
}

impl Pace {
    /// The most endpoints that get one each period.
    pub fn ceiling(&self) -> usize {
        let batches = self.period.as_millis() / self.interval.as_millis().max(1);
        usize::try_from(batches).unwrap_or(usize::MAX).saturating_mul(self.batch)
    }

    /// A flow's place in the period, in milliseconds: the same on every node.
    pub fn place(&self, flow: &Flow) -> u32 {
        let mut hasher = SipHasher13::new();
        hasher.write(flow.transport.via_name().as_bytes());
        match flow.remote.ip() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.write(&flow.remote.port().to_be_bytes());
        (hasher.finish() % self.period_ms()) as u32
    }

    pub(super) fn period_ms(&self) -> u64 {
        u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX).max(1)
    }
}
