//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take that holds at once when all is well.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Between two looks at a condition in another process, which nothing can announce to us.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What `look` finds, within `at_most`.
///
/// # Panics
/// When time is up: `what` did not happen.
pub(crate) fn until<T>(what: &str, at_most: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < at_most, "not within {at_most:?}: {what}");
        thread::park_timeout(LOOK_AGAIN);
    }
}
