//! The process's clock: the one place where the time is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tandem_sip::time::{Mono, Now, Wall};

/// Reads both clocks; monotonic time counts from when this was made. Wall-clock time is the system's, or the store's where
/// nodes share one.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The store's time at the origin; 0: unknown.
    zero: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), zero: Arc::default() }
    }

    /// Monotonic time.
    pub(crate) fn mono(&self) -> Mono {
        Mono(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        let mono = self.mono();
        match self.zero.load(Ordering::Relaxed) {
            0 => Now { mono, wall: system() },
            zero => Now { mono, wall: Wall(zero + mono.0) },
        }
    }

    /// The store's time is that from now on.
    pub(crate) fn follow(&self, store: Wall, at: Mono) {
        self.zero.store(store.0.saturating_sub(at.0), Ordering::Relaxed);
    }

    /// By how many milliseconds the system's clock is ahead of the one that is used.
    pub(crate) fn skew_ms(&self) -> i64 {
        system().0.cast_signed() - self.now().wall.0.cast_signed()
    }
}

fn system() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
