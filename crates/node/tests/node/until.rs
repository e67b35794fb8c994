//! Waiting for a condition.

use std::time::{Duration, Instant};

/// How long a condition may take that holds at once when all is well.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Between two looks at a condition that nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What `look` finds, within `at_most`.
///
/// # Panics
/// When time is up: `what` did not happen.
pub(crate) async fn until<T>(what: &str, at_most: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < at_most, "not within {at_most:?}: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
