//! Many seeds, on several threads.

use crate::several::{self, Slip};
use crate::{Bug, Coverage, Violation, run};
use std::fmt::Display;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs that are enough to reach every row of every table; a row that so many have not reached is a failure.
pub const RUNS_FOR_COVERAGE: u64 = 1_000;

/// Failures that are kept; the rest is only counted.
const FAILURES_MAX: usize = 20;

/// What runs have been through.
pub trait Covers: Default + Display + Send {
    /// How many runs.
    fn runs(&self) -> u64;
    /// Adds those of others.
    fn add(&mut self, other: &Self);
    /// Rows that were never reached.
    fn missing(&self) -> Vec<String>;
}

impl Covers for Coverage {
    fn runs(&self) -> u64 {
        Coverage::runs(self)
    }

    fn add(&mut self, other: &Self) {
        Coverage::add(self, other);
    }

    fn missing(&self) -> Vec<String> {
        Coverage::missing(self)
    }
}

impl Covers for several::Coverage {
    fn runs(&self) -> u64 {
        several::Coverage::runs(self)
    }

    fn add(&mut self, other: &Self) {
        several::Coverage::add(self, other);
    }

    fn missing(&self) -> Vec<String> {
        several::Coverage::missing(self)
    }
}

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Sweep<C = Coverage> {
    /// What all of them have been through.
    pub coverage: C,
    /// Seeds of runs in which a rule was broken, with the rule, by seed: the first ones.
    pub failures: Vec<(u64, Violation)>,
    /// How many runs failed.
    pub failed: u64,
}

impl<C: Covers> Sweep<C> {
    /// Rows that should have been reached by so many runs and were not.
    pub fn missing(&self) -> Vec<String> {
        if self.coverage.runs() < RUNS_FOR_COVERAGE { Vec::new() } else { self.coverage.missing() }
    }

    fn add(&mut self, other: Sweep<C>) {
        self.coverage.add(&other.coverage);
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|(seed, _)| *seed);
        self.failures.truncate(FAILURES_MAX);
        self.failed += other.failed;
    }
}

/// Runs every seed of a range, on `threads` threads. `progress` is told how many runs are done, from any of them.
pub fn sweep(seeds: Range<u64>, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Sweep {
    let run = |seed| {
        let run = run(seed, None, false);
        (run.coverage, run.violation)
    };
    sweep_with(seeds, threads, progress, &run)
}

/// The same with worlds of several nodes.
pub fn sweep_several(
    seeds: Range<u64>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Sweep<several::Coverage> {
    let run = |seed| {
        let run = several::run(seed, None, false);
        (run.coverage, run.violation)
    };
    sweep_with(seeds, threads, progress, &run)
}

fn sweep_with<C: Covers>(
    seeds: Range<u64>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
    run: &(dyn Fn(u64) -> (C, Option<Violation>) + Sync),
) -> Sweep<C> {
    let next = AtomicU64::new(seeds.start);
    let done = AtomicU64::new(0);
    let total = Mutex::new(Sweep::<C>::default());
    let work = || {
        let mut own = Sweep::<C>::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let (coverage, violation) = run(seed);
            own.coverage.add(&coverage);
            if let Some(violation) = violation {
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

/// The first seed of a range in which a slip of a node is found, and the rule that it breaks.
pub fn find_slip(slip: Slip, seeds: Range<u64>) -> Option<(u64, Violation)> {
    seeds
        .into_iter()
        .find_map(|seed| several::run(seed, Some(slip), false).violation.map(|violation| (seed, violation)))
}
