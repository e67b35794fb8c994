//! The nodes of the cluster, as this one sees them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many nodes there are.
#[derive(Debug)]
pub(crate) struct Nodes {
    alive: AtomicUsize,
}

impl Default for Nodes {
    /// This one alone, as far as is known.
    fn default() -> Self {
        Self { alive: AtomicUsize::new(1) }
    }
}

impl Nodes {
    /// Nodes that are alive, this one included: at least one.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }
}
