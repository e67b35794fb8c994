//! Who changed what: entries in the store, newest first by their keys.

use crate::shared::Shared;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tandem_sip::time::Wall;
use tandem_store::codec::{self, Versioned};
use tandem_store::{Put, Space, StoreError};
use tokio::time::timeout;

/// How long an entry is kept.
const AUDIT_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// How long the store may take.
const STORE_LIMIT: Duration = Duration::from_secs(1);

/// Somebody has changed something, or was not let.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Wall,
    /// The node that was asked.
    pub node: String,
    /// For whom the client said to act.
    pub by: String,
    /// Where the request came from.
    pub from: String,
    /// What was asked.
    pub request: String,
    /// What it has changed, where that does not say.
    pub detail: String,
    /// The answer (HTTP).
    pub status: u16,
}

impl Versioned for AuditEntry {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

/// Counts this node's entries, so that two of one millisecond have names of their own.
#[derive(Debug, Default)]
pub(crate) struct AuditCounter(AtomicU32);

impl Shared {
    /// Notes an entry in the log, and in the store as far as that answers.
    pub(crate) async fn note_audit(&self, entry: &AuditEntry) {
        let AuditEntry { by, from, request, detail, status, .. } = entry;
        tracing::info!(by, from, request, detail, status, "an operator's request");
        let Ok(value) = codec::encode(entry) else { return };
        let serial = self.audits.0.fetch_add(1, Ordering::Relaxed);
        // The newest comes first.
        let key = format!(
            "{:016}-{:08x}-{}",
            9_999_999_999_999_999 - entry.at.0.min(9_999_999_999_999_999),
            u32::MAX - serial,
            self.name
        );
        let lapses = Some(Wall(entry.at.0.saturating_add(AUDIT_LIFE.as_millis() as u64)));
        let put = Put { space: Space::Audit, key: key.into(), seen: None, value: Some(value), lapses };
        let noted = timeout(STORE_LIMIT, self.store.put(put)).await;
        if !matches!(noted, Ok(Ok(_))) {
            tracing::warn!("the store has not taken note of an operator's request; it is in this log alone");
        }
    }

    /// The newest entries before that one, each with what it is listed by.
    pub(crate) async fn audit(
        &self,
        after: Option<Arc<str>>,
        max: usize,
    ) -> Result<Vec<(Arc<str>, AuditEntry)>, StoreError> {
        let entries = self.store.scan(Space::Audit, after, max).await?;
        Ok(entries
            .into_iter()
            .filter_map(|(key, document)| Some((key, codec::decode(&document.value).ok()?)))
            .collect())
    }
}
