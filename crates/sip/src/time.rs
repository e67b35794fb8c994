//! Time as an argument: pure code is told what time it is.

use serde::{Deserialize, Serialize};
use std::ops::Add;
use std::time::Duration;

/// A point on the process's monotonic clock, in milliseconds since an origin that the shell chose.
///
/// Deadlines in memory are monotonic. One that leaves the process means something only beside the [`Now`] it was
/// read at; snapshots therefore carry [`Wall`] times instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mono(pub u64);

/// A point on the wall clock, in milliseconds since the Unix epoch (UTC). This is what snapshots and CDRs carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

/// The time of an input: one instant on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The instant on the monotonic clock: what deadlines are compared with.
    pub mono: Mono,
    /// The same instant on the wall clock: what is recorded.
    pub wall: Wall,
}

impl Now {
    /// The wall-clock time of a monotonic deadline, for a snapshot.
    pub fn to_wall(self, deadline: Mono) -> Wall {
        if deadline >= self.mono {
            Wall(self.wall.0.saturating_add(deadline.0 - self.mono.0))
        } else {
            Wall(self.wall.0.saturating_sub(self.mono.0 - deadline.0))
        }
    }

    /// The monotonic deadline of a wall-clock time out of a snapshot, at most `longest` from now: a clock that
    /// jumped back may not stretch a timer beyond its own interval.
    pub fn to_mono(self, deadline: Wall, longest: Duration) -> Mono {
        let left = deadline.0.saturating_sub(self.wall.0).min(millis(longest));
        Mono(self.mono.0.saturating_add(left))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    fn add(self, interval: Duration) -> Mono {
        Mono(self.0.saturating_add(millis(interval)))
    }
}

impl Mono {
    /// Time from `earlier` until this point; zero if `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Wall {
    /// Time from `earlier` until this point; zero if `earlier` is later.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_survives_the_way_through_a_snapshot() {
        let now = Now { mono: Mono(5_000), wall: Wall(1_000_000) };
        let deadline = Mono(9_000);
        let later_elsewhere = Now { mono: Mono(77), wall: Wall(1_001_000) };
        let restored = later_elsewhere.to_mono(now.to_wall(deadline), Duration::from_secs(60));
        assert_eq!(restored, Mono(77 + 3_000));
    }

    #[test]
    fn a_clock_step_back_does_not_stretch_a_timer() {
        let before_step = Now { mono: Mono(0), wall: Wall(0) };
        assert_eq!(before_step.to_mono(Wall(1_000_000), Duration::from_secs(10)), Mono(10_000));
    }
}
