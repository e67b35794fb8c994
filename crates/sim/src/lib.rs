//! A deterministic simulation of the switch.
//!
//! A seed draws a world: parameters, gateways, carriers, callers, a network and a store that fail. One node in it runs
//! the machines that production runs. A [reference model](model) follows every call and compares what the switch does
//! with what the specification asks for. The same seed gives the same run, step by step.
//!
//! Worlds are of two kinds. Most are about how calls are set up and end: there the model works out every step. One in
//! three is about conversations, in which [phones](peers) keep session timers, reliable provisional responses and offers as
//! their habits let them, and gateways challenge, redirect and have several targets: there every message and every end is
//! [measured](model) against rules, and in the end both parties have to hold the same session.
//!
//! What it does not model, the peers leave out and the configurations switch off: INFO or MESSAGE that pass from one
//! party to the other, offers before the answer (UPDATE in an early dialog), challenges inside a dialog, forks that answer
//! reliably, endpoints, and transports other than UDP. The tests of the call's machine cover those, and the tests on the
//! wire.

mod bugs;
mod coverage;
mod knobs;
mod model;
mod peers;
mod plan;
mod random;
mod rows;
mod saboteur;
mod schedule;
pub mod several;
mod sweep;
mod trace;
mod violation;
mod world;

pub use bugs::Bug;
pub use coverage::Coverage;
pub use sweep::{Covers, RUNS_FOR_COVERAGE, Sweep, find, find_slip, sweep, sweep_several};
pub use trace::Line;
pub use violation::{Rule, Violation};

use saboteur::Saboteur;
use world::World;

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// What was reached.
    pub coverage: Coverage,
    /// The first rule that was broken, if one was.
    pub violation: Option<Violation>,
    /// What happened, if it was asked for.
    pub trace: Vec<Line>,
}

/// Runs the world of a seed, with a bug planted in it or none, and writes down what happens if `trace` is set.
pub fn run(seed: u64, bug: Option<Bug>, trace: bool) -> Run {
    let ended = World::new(seed, Saboteur::new(bug), trace).run();
    Run { coverage: ended.coverage, violation: ended.violation, trace: ended.trace }
}
