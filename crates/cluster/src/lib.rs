//! What makes several nodes one switch, as pure machines: the outbox, which keeps the wire behind the store; the host, which
//! runs a call with it and survives a panic of its machine; which nodes live, how long one may
//! take itself for the owner of its calls, and who goes on with
//! the calls of those that do not; the order of the journal; and which
//! records are told again.

mod drain;
mod feature_level;
mod heirs;
mod host;
pub mod journal;
mod liveness;
mod outbox;
mod own_lease;
mod records;
mod store_clock;
mod takeover;
mod tenure;

pub use drain::{Drain, DrainProgress, DrainStage, HANDED_PER_SECOND, PASSING_ON, QUIET, SETUP, UNREST};
pub use feature_level::{FEATURE_LEVELS, NotRaised, raise};
pub use heirs::{CLAIM_HOLD, RANK_WAIT, RETURN_WAIT, claim_at, first_heir, rank};
pub use host::{
    CallHost, ClaimResult, Effect, MAX_HELD_BACK, RESTORE_PAUSE, RESTORE_TRIES, Write, WriteResult,
};
pub use liveness::{BEAT, Change, DEAD_AFTER, DEAD_LOOKS, Liveness, Seen, Standing};
pub use outbox::{COMMIT_PATIENCE, MAX_WAITING, Outbox, RETRY_INTERVAL, Released};
pub use own_lease::{BLIND_AFTER, OWN_LEASE, OwnLease, SEEN_AGAIN, Standing as LeaseStanding, is_store_away};
pub use records::{ENDED_LIFE, ENDED_MAX, Ended, WRITTEN_LIFE, WRITTEN_MAX, Written};
pub use store_clock::StoreClock;
pub use takeover::{ANOTHER_LIFE, ClaimHold, Gone, NodeLife, Turn};
pub use tenure::{Recommit, Tenure};
