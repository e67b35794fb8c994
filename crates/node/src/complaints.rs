//! Log lines about trouble that all calls have at once, such as a store that is away: one says it for all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tandem_sip::time::Mono;

/// The time between two complaints. What is left out is in the metrics.
const PAUSE: Duration = Duration::from_secs(10);

/// When the next complaint may be logged.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    next_at_ms: AtomicU64,
}

impl Complaints {
    /// Whether a complaint may be logged now; then it is the only one for a while.
    pub(crate) fn may_be_logged(&self, now: Mono) -> bool {
        let next_at = self.next_at_ms.load(Ordering::Relaxed);
        let after = (now + PAUSE).0;
        now.0 >= next_at
            && self.next_at_ms.compare_exchange(next_at, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_complaint_in_ten_seconds_is_logged() {
        let complaints = Complaints::default();
        let logged = (0..30_000).filter(|ms| complaints.may_be_logged(Mono(*ms))).collect::<Vec<_>>();
        assert_eq!(logged, [0, 10_000, 20_000]);
    }
}
