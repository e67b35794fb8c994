//! Calls that the store may have lost, and the ends of others: their owners have the truth, and write it again.

use crate::call_actor::CallMessage;
use crate::common;
use crate::ended;
use crate::shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tandem_switch::call::Input;

/// Calls that are told at a time.
const BATCH: usize = 100;

/// The pause between two batches: 10 000 calls take two seconds, and what goes on meanwhile has its turn.
const PAUSE: Duration = Duration::from_millis(20);

/// Has all calls commit their state again each time the store may have lost it.
pub(crate) async fn keep(shared: Arc<Shared>) {
    if !shared.store.is_shared() {
        return;
    }
    let mut contact = shared.store.contact();
    let mut lives = contact.borrow_and_update().lives;
    while let Ok(lost) = contact.wait_for(|contact| contact.lives != lives).await.map(|contact| contact.lives)
    {
        lives = lost;
        common::give_back(&*shared.store, &shared.common).await;
        ended::tell_again(&shared).await;
        let calls = shared.calls.all();
        for batch in calls.chunks(BATCH) {
            for (_, call) in batch {
                // One that has ended meanwhile has nothing to be written.
                if call.actor().cast(CallMessage::Result(Input::StoreLost)).is_ok() {
                    shared.metrics.calls_republished.inc();
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
