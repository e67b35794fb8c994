//! Drain: the calls of a node that is to stop are handed to others, one by one and without a wait for leases; what is in
//! set-up is waited for, and messages that still come here are passed on.

use crate::call_actor::CallMessage;
use crate::shared::Shared;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::first_heir;
use tandem_sip::Message;
use tandem_sip::time::Mono;
use tandem_switch::call::CallId;
use tokio::time::sleep;

/// Calls that are handed over in a second.
const PER_SECOND: u32 = 400;

/// The pause between two batches of them.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a call that has something open is given to come to rest.
const UNREST: Duration = Duration::from_secs(5);

/// How long messages are passed on after the last one.
const QUIET: Duration = Duration::from_secs(5);

/// How long they are passed on at most: 64·T1.
const PASSING_ON: Duration = Duration::from_secs(32);

/// How long a call that was placed on another node is waited for until it is answered.
const SETUP: Duration = Duration::from_secs(120);

/// What a node that drains keeps an eye on.
#[derive(Default)]
pub(crate) struct Draining {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    since: Option<Mono>,
    handed: usize,
    /// When the last message was passed on.
    passed_on: Option<Mono>,
    /// Calls whose INVITE came here and that another node sets up, and since when.
    placed: HashMap<CallId, Mono>,
}

impl Draining {
    /// The node drains from now on. `false` if it does already.
    pub(crate) fn begin(&self, now: Mono) -> bool {
        let mut state = self.state.lock();
        state.since.replace(now).is_none()
    }

    /// A call has been handed over.
    pub(crate) fn handed(&self, now: Mono) {
        let mut state = self.state.lock();
        state.handed += 1;
        state.passed_on = Some(now);
    }

    /// A message has been passed on.
    pub(crate) fn passed_on(&self, now: Mono) {
        let mut state = self.state.lock();
        if state.since.is_some() {
            state.passed_on = Some(now);
        }
    }

    /// A new call was placed on another node.
    pub(crate) fn placed(&self, id: CallId, now: Mono) {
        self.state.lock().placed.insert(id, now);
    }

    /// What is sent here for another node: with its final response a placed call needs this node no more.
    pub(crate) fn sent_for_another(&self, message: &[u8], key: &[u8; 16]) {
        let is_final = message.starts_with(b"SIP/2.0 ") && !message.starts_with(b"SIP/2.0 1");
        let mut state = self.state.lock();
        if !is_final || state.placed.is_empty() {
            return;
        }
        let parsed = Message::parse(bytes::Bytes::copy_from_slice(message), &tandem_sip::Limits::default());
        if let Some(id) = parsed.ok().and_then(|response| CallId::of(&response, key)) {
            state.placed.remove(&id);
        }
    }

    /// Whether new calls are still placed elsewhere: by then whoever sends them here has heard that it is not to.
    pub(crate) fn places_calls(&self, now: Mono) -> bool {
        self.state.lock().since.is_some_and(|since| now.since(since) < PASSING_ON)
    }

    /// Calls that have been handed over.
    pub(crate) fn count_handed(&self) -> usize {
        self.state.lock().handed
    }

    /// Whether nobody needs this node any more for what was handed over or placed elsewhere.
    pub(crate) fn is_done(&self, now: Mono) -> bool {
        let mut state = self.state.lock();
        state.placed.retain(|_, since| now.since(*since) < SETUP);
        let is_quiet = state.passed_on.is_none_or(|last| now.since(last) >= QUIET);
        let long_enough = state.since.is_some_and(|since| now.since(since) >= PASSING_ON);
        state.placed.is_empty() && (is_quiet || long_enough)
    }
}

/// Hands calls over until none is left.
pub(crate) async fn run(shared: Arc<Shared>) {
    let began = shared.clock.mono();
    while shared.admission.calls() > 0 {
        let heirs = shared.nodes.places(&shared.name);
        if !heirs.is_empty() {
            let insists = shared.clock.mono().since(began) >= UNREST;
            let per_batch = (PER_SECOND * PAUSE.as_millis() as u32 / 1_000) as usize;
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
