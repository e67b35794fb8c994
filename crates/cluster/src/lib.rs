//! What makes several nodes one switch, as pure machines: so far the outbox, which keeps the wire behind the store, and
//! the host, which runs a call with it and survives a panic of its machine.

mod host;
mod outbox;

pub use host::{
    CallHost, ClaimResult, Effect, MAX_HELD_BACK, RESTORE_PAUSE, RESTORE_TRIES, Write, WriteResult,
};
pub use outbox::{COMMIT_PATIENCE, MAX_WAITING, Outbox, RETRY_INTERVAL, Released};
