//! Spreading events over time: a bucket of tokens, kept as the one time at which it is full again (GCRA).

use tandem_sip::time::Mono;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// Lets events through at a rate. It holds no rate of its own, so that one can be kept for each of many sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// When all that was let through has been paid for, in nanoseconds of the monotonic clock.
    paid_at_ns: u64,
}

impl Pace {
    /// Lets an event through if no more than `per_second` have come in the long run, and no more than `burst` at once.
    pub fn take(&mut self, now: Mono, per_second: u32, burst: u32) -> bool {
        let interval_ns = NS_PER_S / u64::from(per_second.max(1));
        let now_ns = now.0.saturating_mul(NS_PER_MS);
        let paid_at_ns = self.paid_at_ns.max(now_ns);
        let allowed_ns = interval_ns.saturating_mul(u64::from(burst.max(1) - 1));
        if paid_at_ns - now_ns > allowed_ns {
            return false;
        }
        self.paid_at_ns = paid_at_ns + interval_ns;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the events offered each millisecond from `from_ms` are let through within a time.
    fn let_through(
        pace: &mut Pace,
        (from_ms, ms): (u64, u64),
        per_ms: u32,
        (rate, burst): (u32, u32),
    ) -> u32 {
        let offered = (from_ms..from_ms + ms).flat_map(|at| (0..per_ms).map(move |_| Mono(at)));
        offered.filter(|at| pace.take(*at, rate, burst)).count() as u32
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate_holds() {
        let mut pace = Pace::default();
        assert_eq!(let_through(&mut pace, (1_000, 1), 50, (200, 20)), 20);
        assert_eq!(let_through(&mut pace, (1_001, 10_000), 1, (200, 20)), 2_000);
    }

    #[test]
    fn what_was_not_used_comes_back_up_to_the_burst() {
        let mut pace = Pace::default();
        assert_eq!(let_through(&mut pace, (0, 1), 50, (10, 5)), 5);
        assert_eq!(let_through(&mut pace, (100, 1), 50, (10, 5)), 1);
        assert_eq!(let_through(&mut pace, (60_000, 1), 50, (10, 5)), 5);
    }

    #[test]
    fn an_overload_of_five_times_the_rate_does_not_lessen_it() {
        let mut pace = Pace::default();
        let in_each_second =
            (0..10).map(|second| let_through(&mut pace, (second * 1_000, 1_000), 1, (200, 20)));
        for admitted in in_each_second {
            assert!((199..=220).contains(&admitted), "{admitted}");
        }
    }
}
