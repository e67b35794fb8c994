//! When a session is refreshed, and when it is given up.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A session that nobody refreshed ends this long before it expires, or a third of it (RFC 4028 §10).
const HANGUP_BEFORE: Duration = Duration::from_secs(32);

/// The last refresh leaves its answer this long before the peer may hang up.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// When a session is refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    /// At each interval ÷ segment.
    Divide,
    /// Once, at interval × (1 − 1 ÷ segment).
    Late,
}

/// How a session that the peer lets lapse is ended sooner or later than RFC 4028 §10 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hangup {
    /// So much later.
    Grace(Duration),
    /// So much earlier, but never before two thirds of the session: a peer that refreshes at its half is in time.
    Margin(Duration),
}

/// What one leg's session timer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPolicy {
    /// The session interval that is asked for, in seconds; not below `min_se_secs`.
    pub interval_secs: u32,
    /// The smallest session interval that is taken, in seconds.
    pub min_se_secs: u32,
    /// Parts that the session interval is divided into for refreshes; at least 2.
    pub segment: u32,
    /// When a session is refreshed.
    pub schedule: Schedule,
    /// When one is given up that the peer does not refresh.
    pub hangup: Hangup,
}

impl SessionPolicy {
    /// When a session of this interval is given up: `SE − min(32 s, SE ÷ 3)` after it was last refreshed.
    pub fn end(interval: Duration) -> Duration {
        interval - HANGUP_BEFORE.min(interval / 3)
    }

    /// The latest time at which a session of this interval is refreshed.
    pub fn last_refresh(interval: Duration) -> Duration {
        Self::end(interval).saturating_sub(ANSWER_TIME)
    }

    /// When the peer is given up that ought to refresh a session of this interval.
    pub fn peer_end(&self, interval: Duration) -> Duration {
        let end = Self::end(interval);
        match self.hangup {
            Hangup::Grace(grace) => end + grace,
            Hangup::Margin(margin) => end.saturating_sub(margin).max(interval * 2 / 3),
        }
    }

    /// The first time later than `after` at which a session of this interval is refreshed, both counted from its last
    /// refresh.
    pub fn next_refresh(&self, interval: Duration, after: Duration) -> Option<Duration> {
        let (end, last) = (Self::end(interval), Self::last_refresh(interval));
        let segment = self.segment.max(2);
        let parts = match self.schedule {
            Schedule::Divide => 1..segment,
            Schedule::Late => segment - 1..segment,
        };
        parts
            .map(|part| interval * part / segment)
            .filter(|at| *at < end || self.schedule == Schedule::Late)
            .map(|at| at.min(last))
            .find(|at| *at > after)
    }
}
