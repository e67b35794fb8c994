//! What makes several nodes one switch, as pure machines: so far the outbox, which keeps the wire behind the store.

mod outbox;

pub use outbox::{COMMIT_PATIENCE, MAX_WAITING, Outbox, RETRY_INTERVAL, Released};
