//! Session timers (RFC 4028): what two ends agree on, when a session is refreshed, and when it has ended.
//!
//! [`TimerHeaders`] is what a message says about timers, [`TimerLines`] what ours say. A [`SessionTimer`] is one leg of
//! ours: it answers the peer's requests, asks for refreshes at their time, and says when the session is over. The same
//! rules hold for INVITE, re-INVITE and UPDATE.

mod headers;
mod schedule;
mod timer;

#[cfg(test)]
mod tests;

pub use headers::{TimerHeaders, TimerLines};
pub use schedule::{Hangup, Schedule, SessionPolicy};
pub use timer::{Agreed, Due, FrozenTimer, RefreshOutcome, Refreshes, SessionTimer, TooSmall};

/// The option tag of RFC 4028.
pub const OPTION_TAG: &str = "timer";
