//! When a store that fails is left alone.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;

/// How long nothing is asked then; after that, one request at a time finds out whether the store is back.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// A circuit breaker: whoever asks while it is open is told at once that the store is away.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether the store may be asked.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        match state.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // This one finds out; the others wait for it.
                state.open_until = Some(now + PAUSE);
                true
            }
        }
    }

    /// The store has answered. `true` if it had been left alone.
    pub(super) fn answered(&self) -> bool {
        let mut state = self.0.lock();
        state.failures = 0;
        state.open_until.take().is_some()
    }

    /// It has not. `true` if it is left alone from now on.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return false;
        }
        state.open_until.replace(now + PAUSE).is_none()
    }

    /// Whether the store is being left alone.
    pub(super) fn is_open(&self) -> bool {
        self.0.lock().open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_through_after_the_pause() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        for _ in 1..FAILURES {
            assert!(!breaker.failed(start));
        }
        assert!(!breaker.answered(), "an answer in between: counted anew");
        for _ in 1..FAILURES {
            assert!(!breaker.failed(start));
        }
        assert!(breaker.admits(start));
        assert!(breaker.failed(start), "it opens");
        assert!(!breaker.failed(start), "once");
        assert!(!breaker.admits(start + PAUSE / 2));
        assert!(breaker.admits(start + PAUSE));
        assert!(!breaker.admits(start + PAUSE), "one at a time");
        assert!(breaker.answered());
        assert!(breaker.admits(start + PAUSE));
    }
}
