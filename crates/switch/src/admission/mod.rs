//! What is let in at the edge, before anything becomes a call: who may send how much, and what is shed under load.

mod guard;
mod loss;
mod pace;
mod refused;

pub use guard::{
    Allowance, BAN_MAX_OFFENCES, BANS_MAX, BanRules, Banned, Guard, SOURCES_MAX, SourceKey, Verdict,
};
pub use loss::{LossControl, MEASURING_PERIOD, Shedding, TARGET_DELAY};
pub use pace::Pace;
pub use refused::{REFUSED_MAX, RefusedInvites};
