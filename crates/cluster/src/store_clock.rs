//! The wall-clock time of a cluster is its store's: what one node writes down as a time another one reads, whatever their own
//! clocks say, and however those are set meanwhile.

use tandem_sip::time::{Mono, Wall};

/// The store's clock as far as one node knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreClock {
    /// What it said at the origin of the node's monotonic clock.
    zero: Option<u64>,
}

impl StoreClock {
    /// The store said that it was `at` in answer to what was asked and answered then. By how many milliseconds the
    /// clock was off, if it was by more than the way there and back can explain; it is set then.
    pub fn heard(&mut self, at: Wall, asked: Mono, answered: Mono) -> Option<i64> {
        let there_and_back = answered.0.saturating_sub(asked.0);
        let estimate = at.0.saturating_sub(asked.0 + there_and_back / 2);
        let Some(zero) = self.zero else {
            self.zero = Some(estimate);
            return None;
        };
        if zero.abs_diff(estimate) <= there_and_back / 2 + 1 {
            return None;
        }
        self.zero = Some(estimate);
        Some(estimate.cast_signed().saturating_sub(zero.cast_signed()))
    }

    /// The store's time at an instant of the node; `None` as long as it has not said it.
    pub fn at(&self, now: Mono) -> Option<Wall> {
        self.zero.map(|zero| Wall(zero + now.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_cluster_is_its_stores() {
        let mut clock = StoreClock::default();
        assert_eq!(clock.at(Mono(5)), None);
        assert_eq!(clock.heard(Wall(1_000_000), Mono(100), Mono(110)), None);
        assert_eq!(clock.at(Mono(205)), Some(Wall(1_000_100)));
    }

    #[test]
    fn an_answer_that_took_long_does_not_move_the_clock() {
        let mut clock = StoreClock::default();
        clock.heard(Wall(1_000_000), Mono(100), Mono(100));
        assert_eq!(
            clock.heard(Wall(1_000_900), Mono(200), Mono(1_000)),
            None,
            "it was asked 100 after the first"
        );
        assert_eq!(clock.at(Mono(1_000)), Some(Wall(1_000_900)));
    }

    #[test]
    fn a_store_with_another_clock_sets_it() {
        let mut clock = StoreClock::default();
        clock.heard(Wall(1_000_000), Mono(100), Mono(100));
        assert_eq!(clock.heard(Wall(900_100), Mono(200), Mono(202)), Some(-100_001));
        assert_eq!(clock.at(Mono(201)), Some(Wall(900_100)));
    }
}
