//! Drain: the calls of a node that is to stop are handed to others, one by one and without a wait for leases; what is in
//! set-up is waited for, and messages that still come here are passed on.

use crate::call_actor::CallMessage;
use crate::shared::Shared;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tandem_cluster::{Drain, DrainProgress, HANDED_PER_SECOND, first_heir};
use tandem_sip::Message;
use tandem_sip::time::Mono;
use tandem_switch::call::CallId;
use tokio::time::sleep;

/// The pause between two batches of calls that are handed over.
const PAUSE: Duration = Duration::from_millis(50);

/// What a node that drains keeps an eye on.
#[derive(Default)]
pub(crate) struct Draining {
    /// Asked at each new call.
    is_begun: AtomicBool,
    state: Mutex<Drain>,
}

impl Draining {
    /// The node drains from now on. `false` if it does already.
    pub(crate) fn begin(&self, now: Mono) -> bool {
        self.is_begun.store(true, Ordering::Relaxed);
        self.state.lock().begin(now)
    }

    /// The node takes calls again.
    pub(crate) fn cancel(&self) {
        self.state.lock().cancel();
        self.is_begun.store(false, Ordering::Relaxed);
    }

    /// Whether the node drains.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Relaxed)
    }

    /// A call has been handed over.
    pub(crate) fn handed(&self, now: Mono) {
        self.state.lock().handed(now);
    }

    /// A message has been passed on.
    pub(crate) fn passed_on(&self, now: Mono) {
        self.state.lock().passed_on(now);
    }

    /// Places a new call on another node by `forward`, which says whether it could.
    pub(crate) fn place(&self, id: CallId, now: Mono, forward: impl FnOnce() -> bool) -> bool {
        // Noted before: the answer may be here before this thread goes on.
        self.state.lock().placed(id, now);
        let is_placed = forward();
        if !is_placed {
            self.state.lock().not_placed(id);
        }
        is_placed
    }

    /// What is sent here for another node: with its final response a placed call needs this node no more.
    pub(crate) fn sent_for_another(&self, message: &[u8], key: &[u8; 16]) {
        let is_final = message.starts_with(b"SIP/2.0 ") && !message.starts_with(b"SIP/2.0 1");
        let mut state = self.state.lock();
        if !is_final || !state.waits_for_answers() {
            return;
        }
        let parsed = Message::parse(bytes::Bytes::copy_from_slice(message), &tandem_sip::Limits::default());
        if let Some(id) = parsed.ok().and_then(|response| CallId::of(&response, key)) {
            state.answered(id);
        }
    }

    /// Whether new calls are still placed elsewhere.
    pub(crate) fn places_calls(&self, now: Mono) -> bool {
        self.state.lock().places_calls(now)
    }

    /// How far the drain has come; `None` if there is none.
    pub(crate) fn progress(&self, now: Mono, calls: usize) -> Option<DrainProgress> {
        self.state.lock().progress(now, calls)
    }
}

/// Hands calls over until none is left, or the drain is called off.
pub(crate) async fn run(shared: Arc<Shared>) {
    while shared.is_draining() && shared.admission.calls() > 0 {
        let heirs = shared.nodes.places(&shared.name);
        if !heirs.is_empty() {
            let insists = shared.handing_over.state.lock().insists(shared.clock.mono());
            let per_batch = (HANDED_PER_SECOND * PAUSE.as_millis() as u32 / 1_000) as usize;
            for batch in shared.calls.all().chunks(per_batch) {
                for (id, call) in batch {
                    if let Some(heir) = first_heir(&id.0, &heirs) {
                        // One that has ended meanwhile needs no heir.
                        let _ = call.actor().cast(CallMessage::HandOver { heir: heir.clone(), insists });
                    }
                }
                sleep(PAUSE).await;
            }
        }
        sleep(PAUSE).await;
    }
}
