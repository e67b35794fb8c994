//! Many seeds, on several threads.

use crate::{Bug, Coverage, Violation, run};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs that are enough to reach every row of every table; a row that so many have not reached is a failure.
pub const RUNS_FOR_COVERAGE: u64 = 1_000;

/// Failures that are kept; the rest is only counted.
const FAILURES_MAX: usize = 20;

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Sweep {
    /// What all of them have been through.
    pub coverage: Coverage,
    /// Seeds of runs in which a rule was broken, with the rule, by seed: the first ones.
    pub failures: Vec<(u64, Violation)>,
    /// How many runs failed.
    pub failed: u64,
}

impl Sweep {
    /// Rows that should have been reached by so many runs and were not.
    pub fn missing(&self) -> Vec<String> {
        if self.coverage.runs() < RUNS_FOR_COVERAGE { Vec::new() } else { self.coverage.missing() }
    }

    fn add(&mut self, other: Sweep) {
        self.coverage.add(&other.coverage);
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|(seed, _)| *seed);
        self.failures.truncate(FAILURES_MAX);
        self.failed += other.failed;
    }
}

/// Runs every seed of a range, on `threads` threads. `progress` is told how many runs are done, from any of them.
pub fn sweep(seeds: Range<u64>, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Sweep {
    let next = AtomicU64::new(seeds.start);
    let done = AtomicU64::new(0);
    let total = Mutex::new(Sweep::default());
    let work = || {
        let mut own = Sweep::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let run = run(seed, None, false);
            own.coverage.add(&run.coverage);
            if let Some(violation) = run.violation {
                own.failed += 1;
                own.failures.push((seed, violation));
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
        // Whoever held the lock did nothing that could have failed half-way.
        total.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(own);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The first seed of a range in which a planted bug is found, and the rule that it breaks.
pub fn find(bug: Bug, seeds: Range<u64>) -> Option<(u64, Violation)> {
    seeds
        .into_iter()
        .find_map(|seed| run(seed, Some(bug), false).violation.map(|violation| (seed, violation)))
}
