//! The process's clock: the one place where the time is read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tandem_sip::time::{Mono, Now, Wall};

/// Reads both clocks; monotonic time counts from when this was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Monotonic time.
    pub(crate) fn mono(&self) -> Mono {
        Mono(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall: Wall(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)) }
    }
}
