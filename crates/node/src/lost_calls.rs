//! Calls of an earlier life of this node: nobody goes on with them, so that they are ended in the store, with their records.

use crate::ended;
use crate::shared::Shared;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tandem_store::{CallEnd, CallKey, StoreError, codec};
use tandem_switch::call::Snapshot;
use tandem_switch::cdr::EndReason;

/// How long after a failure it is tried again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Ends them, once the store can be asked.
pub(crate) async fn end(shared: Arc<Shared>) {
    if !shared.store.is_shared() {
        return;
    }
    loop {
        match end_all(&shared).await {
            Ok(0) => return,
            Ok(lost) => {
                return tracing::warn!(lost, "ended calls that this node has lost with its last life");
            }
            Err(error) => {
                tracing::debug!(%error, "cannot end the calls of an earlier life yet");
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

async fn end_all(shared: &Shared) -> Result<usize, StoreError> {
    // Those that had ended, and of which the store was not told, are not lost.
    let given = ended::give_journalled(shared).await?;
    if given > 0 {
        tracing::info!(given, "gave the store the ends of calls that it had not taken");
    }
    let mut lost = 0;
    for key in shared.store.owned(&shared.name).await? {
        lost += usize::from(end_one(shared, key).await?);
    }
    Ok(lost)
}

/// Whether it was one of an earlier life, and nobody has ended it meanwhile.
async fn end_one(shared: &Shared, key: CallKey) -> Result<bool, StoreError> {
    let Some(stored) = shared.store.load(key).await? else { return Ok(false) };
    if stored.owner.node != shared.owner.node || stored.owner.boot == shared.owner.boot {
        return Ok(false);
    }
    let claimed = match shared.store.claim(key, stored.epoch, shared.owner.clone()).await {
        Ok(claimed) => claimed,
        // Somebody was quicker.
        Err(StoreError::Fenced { .. } | StoreError::Ended | StoreError::Unknown) => return Ok(false),
        Err(error) => return Err(error),
    };
    let records = match codec::decode::<Snapshot>(&claimed.snapshot) {
        Ok(snapshot) => snapshot.abandon(EndReason::NodeLost, shared.clock.now()),
        Err(error) => {
            tracing::error!(call = %key, %error, "cannot read the snapshot of a lost call; it has no record");
            Vec::new()
        }
    };
    let cdr = (!records.is_empty()).then(|| Bytes::from(records.join(&b'\n')));
    shared.store.end(CallEnd { key, owner: shared.owner.clone(), epoch: claimed.epoch, cdr }).await?;
    Ok(true)
}
