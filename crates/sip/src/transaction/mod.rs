//! Transactions (RFC 3261 §17, RFC 6026) as pure machines.

mod schedule;

pub use schedule::{MAX_RESENDS, ResendSchedule};
