//! Faults made on purpose, for the tests that prove what survives them.

use std::sync::atomic::{AtomicU8, Ordering};

/// What breaks, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The next datagram makes whoever dispatches it panic.
    Dispatch = 1,
    /// The receive loop of the next listener that hears something panics.
    Listener = 2,
    /// The next call's actor panics while it starts.
    CallStart = 3,
    /// The next call's actor that is told something panics outside of the call's machine.
    CallActor = 4,
    /// The next gateway's actor that is told something panics.
    Gateway = 5,
    /// The next sink that writes panics.
    CdrSink = 6,
    /// The next shard of the registrar that is told something panics.
    Registrar = 7,
    /// The store does not take the next registration.
    StoreAway = 8,
    /// The store takes its time over the next registration.
    StoreSlow = 9,
    /// The pacer of keep-alives panics at its next batch.
    NatPacer = 10,
}

/// The fault that is to come.
#[derive(Debug, Default)]
pub(crate) struct Faults(AtomicU8);

impl Faults {
    pub(crate) fn arm(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::SeqCst);
    }

    /// Whether this is the fault that is to come; then it has come.
    pub(crate) fn comes(&self, fault: Fault) -> bool {
        self.0.compare_exchange(fault as u8, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Panics if this is the fault that is to come.
    pub(crate) fn strike(&self, fault: Fault) {
        assert!(!self.comes(fault), "a test asked for it");
    }
}
