//! Overload as it is measured: how long messages wait, and what of the new calls is shed for it.

use crate::shared::Shared;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tandem_sip::time::Mono;
use tandem_switch::admission::{LossControl, MEASURING_PERIOD, RefusedInvites, Shedding};
use tandem_switch::call::CallId;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// What whoever admits new calls has to know.
#[derive(Debug, Default)]
pub(crate) struct Overload {
    shedding: AtomicU32,
    refused: Mutex<RefusedInvites>,
    /// Whether any INVITE was refused lately: mostly there is none to look for.
    has_refused: AtomicBool,
}

impl Overload {
    /// What is to be shed now.
    pub(crate) fn shedding(&self) -> Shedding {
        Shedding::from_bits(self.shedding.load(Ordering::Relaxed))
    }

    /// Takes note that an INVITE is refused for lack of room.
    pub(crate) fn note_refused(&self, now: Mono, id: CallId) {
        self.refused.lock().note(now, id);
        self.has_refused.store(true, Ordering::Relaxed);
    }

    /// Whether an INVITE was refused a moment ago.
    pub(crate) fn was_refused(&self, now: Mono, id: CallId) -> bool {
        if !self.has_refused.load(Ordering::Relaxed) {
            return false;
        }
        let mut refused = self.refused.lock();
        let was_refused = refused.contains(now, id);
        if refused.is_empty() {
            self.has_refused.store(false, Ordering::Relaxed);
        }
        was_refused
    }
}

/// Measures for ever how long messages wait: at the sockets, and for their turn on a thread.
pub(crate) async fn measure(shared: Arc<Shared>) {
    let mut control = LossControl::default();
    let mut ticker = interval(MEASURING_PERIOD);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = ticker.tick().await;
        let late = Instant::now().saturating_duration_since(due);
        let delay = shared.standing_at_sockets().max(late);
        let before = shared.overload.shedding();
        let shedding = control.measure(delay);
        shared.overload.shedding.store(shedding.to_bits(), Ordering::Relaxed);
        shared.metrics.new_calls_shed.set(shedding.per_mille().into());
        report(before, shedding, delay);
    }
}

fn report(before: Shedding, now: Shedding, delay: Duration) {
    match (before.per_mille(), now.per_mille()) {
        (0, 1..) => {
            tracing::warn!(delay_ms = delay.as_millis() as u64, "overloaded: new calls are being shed")
        }
        (1.., 0) => tracing::info!("no longer overloaded"),
        (0, 0) | (1.., 1..) => {}
    }
}
