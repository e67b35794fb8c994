//! What a run of calls is to be, and what both ends of a call share.

use crate::load::outbox::Outbox;
use crate::load::timers::Timers;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// Where the server under test listens.
pub(crate) const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5060);
/// Where the calls come from.
pub(crate) const CALLER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5070);
/// Where the server must send every INVITE.
pub(crate) const CALLEE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5080);

/// Round-trip estimate of RFC 3261 §17.1.1.1, from which its timers derive.
pub(crate) const T1: Duration = Duration::from_millis(500);
/// The longest wait between two resends, but for those of an INVITE.
pub(crate) const T2: Duration = Duration::from_secs(4);
/// How long a transaction is waited for (timers B, F and H).
pub(crate) const PATIENCE: Duration = Duration::from_secs(32);

/// How long the callee rings.
pub(crate) const RINGING: Duration = Duration::from_millis(50);

/// Max-Forwards of the caller's requests.
pub(crate) const MAX_FORWARDS: u32 = 70;

/// A run of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Where the caller sends its INVITEs.
    pub(crate) target: SocketAddrV4,
    /// New calls per second.
    pub(crate) rate: f64,
    pub(crate) calls: u32,
    /// From the ACK to the BYE.
    pub(crate) hold: Duration,
    /// Whether to measure how long INVITEs are on their way.
    pub(crate) delays: bool,
}

impl Plan {
    /// `rate` calls per second for `span`, through the server.
    pub(crate) fn through_server(rate: f64, span: Duration, hold: Duration) -> Plan {
        let calls = (rate * span.as_secs_f64()).round().max(1.0) as u32;
        Plan { target: SERVER, rate, calls, hold, delays: false }
    }

    /// When a call is due to start.
    pub(crate) fn start_of(&self, call: u32) -> Duration {
        Duration::from_secs_f64(f64::from(call) / self.rate)
    }

    /// When the last call is over if nothing is ever late.
    pub(crate) fn nominal_end(&self) -> Duration {
        self.start_of(self.calls) + RINGING + self.hold
    }
}

/// The calls of one run have the numbers from `first`, and no number comes twice in a process: whatever is late from an
/// earlier run is known by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// In front of the digits of a call's number, in what is dialled.
pub(crate) const DIALLED: &str = "44";

impl Numbers {
    /// The number of a call, out of what follows `prefix`.
    pub(crate) fn call(&self, text: &str, prefix: &str) -> Option<u32> {
        let digits = text.strip_prefix(prefix)?;
        let call = digits.parse::<u32>().ok()?.checked_sub(self.first)?;
        (call < self.count).then_some(call)
    }
}

/// What comes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Caller: the INVITE may have been lost (timer A).
    ResendInvite(u32),
    /// Caller: the INVITE has waited long enough (timer B).
    SetUpOver(u32),
    /// Caller: the talk is over.
    HangUp(u32),
    /// Caller: the BYE may have been lost (timer E).
    ResendBye(u32),
    /// Caller: the BYE has waited long enough (timer F).
    EndOver(u32),
    /// Callee: it has rung long enough.
    Answer(u32),
    /// Callee: the 200 or its ACK may have been lost (§13.3.1.4).
    ResendAnswer(u32),
}

/// What one end of the calls can do when something happens.
pub(crate) struct Turn<'a> {
    /// Since the start of the run.
    pub(crate) now: Duration,
    /// To be sent from this end's socket.
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) timers: &'a mut Timers<Timer>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_earlier_run_are_not_of_this_one() {
        let numbers = Numbers { first: 1000, count: 50 };
        assert_eq!(numbers.call("4400001007", DIALLED), Some(7));
        assert_eq!(numbers.call("4400000999", DIALLED), None);
        assert_eq!(numbers.call("4400001050", DIALLED), None);
        assert_eq!(numbers.call("3300001007", DIALLED), None);
    }

    #[test]
    fn starts_are_evenly_spread() {
        let plan = Plan::through_server(200.0, Duration::from_secs(2), Duration::from_millis(200));
        assert_eq!(plan.calls, 400);
        assert_eq!(plan.start_of(3), Duration::from_millis(15));
        assert_eq!(plan.nominal_end(), Duration::from_millis(2250));
    }
}
