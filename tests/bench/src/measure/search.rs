//! The search for the highest rate that holds.

/// Climbs by half until a rate fails, then halves the interval.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// The highest rate that held; 0 if none did.
    held: u32,
    /// The lowest that did not.
    failed: Option<u32>,
    start: u32,
    /// How far apart the two may be in the end, as a share of the upper.
    precision: f64,
    /// Not looked beyond.
    ceiling: u32,
}

/// Rates are multiples of this.
const STEP: u32 = 10;

impl Search {
    pub(crate) fn new(start: u32, precision: f64, ceiling: u32) -> Search {
        Search { held: 0, failed: None, start: start.max(STEP), precision, ceiling }
    }

    /// The rate to try next; `None` once it is found.
    pub(crate) fn next(&self) -> Option<u32> {
        let rate = match self.failed {
            None if self.held == 0 => self.start,
            None => (self.held.saturating_mul(3) / 2).min(self.ceiling),
            Some(failed) if f64::from(failed - self.held) <= self.precision * f64::from(failed) => {
                return None;
            }
            Some(failed) => u32::midpoint(self.held, failed),
        };
        let rate = rate / STEP * STEP;
        (rate > self.held && self.failed.is_none_or(|failed| rate < failed)).then_some(rate)
    }

    /// Notes whether the rate asked for held.
    pub(crate) fn record(&mut self, rate: u32, held: bool) {
        if held {
            self.held = self.held.max(rate);
        } else {
            self.failed = Some(self.failed.map_or(rate, |failed| failed.min(rate)));
        }
    }

    /// The highest rate that held.
    pub(crate) fn held(&self) -> u32 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All rates that a search tries against a server that carries `capacity`.
    fn tried(mut search: Search, capacity: u32) -> (u32, Vec<u32>) {
        let mut rates = Vec::new();
        while let Some(rate) = search.next() {
            rates.push(rate);
            search.record(rate, rate <= capacity);
            assert!(rates.len() < 100, "{rates:?}");
        }
        (search.held(), rates)
    }

    #[test]
    fn a_search_comes_within_its_precision_below_the_capacity() {
        for capacity in [15, 90, 999, 1000, 1001, 3456, 7777, 19_990] {
            let (held, rates) = tried(Search::new(1000, 0.03, 20_000), capacity);
            let slack = f64::from(STEP) + 0.04 * f64::from(capacity);
            assert!(held <= capacity && f64::from(capacity - held) <= slack, "{capacity}: {rates:?}");
        }
    }

    #[test]
    fn a_search_climbs_before_it_halves() {
        let (held, rates) = tried(Search::new(1000, 0.1, 20_000), 2400);
        assert_eq!((held, rates), (2390, vec![1000, 1500, 2250, 3370, 2810, 2530, 2390]));
    }

    #[test]
    fn a_search_ends_at_its_ceiling() {
        assert_eq!(tried(Search::new(1000, 0.03, 2000), 1_000_000), (2000, vec![1000, 1500, 2000]));
    }

    #[test]
    fn a_server_that_carries_nothing_ends_the_search_with_nothing() {
        let (held, rates) = tried(Search::new(1000, 0.03, 20_000), 0);
        assert_eq!(held, 0);
        assert!(rates.len() < 10, "{rates:?}");
    }
}
