//! A deterministic simulation of the switch.
//!
//! A seed draws a world: parameters, gateways, carriers, callers, a network and a store that fail. One node in it runs
//! the machines that production runs. A [reference model](model) follows every call and compares what the switch does
//! with what the specification asks for. The same seed gives the same run, step by step.
//!
//! What it does not model, the peers leave out and the configurations switch off: offers inside the dialogs (re-INVITE
//! and UPDATE with a session description) and INFO or MESSAGE that pass from one party to the other, session timers,
//! reliable provisional responses, challenges that are answered, redirections that are followed, and transports other
//! than UDP. The tests of the call's machine cover those, and the tests on the wire.

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
mod sweep;
mod trace;
mod violation;
mod world;

pub use bugs::Bug;
pub use coverage::Coverage;
pub use sweep::{RUNS_FOR_COVERAGE, Sweep, find, sweep};
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
