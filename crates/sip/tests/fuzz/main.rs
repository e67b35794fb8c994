//! The wire layer under stress: messages gone wrong, and what reading costs.

#![expect(
    clippy::disallowed_methods,
    reason = "a failure is replayed through the environment, and a bound on time needs a clock"
)]

mod allocations;
#[path = "../support/corpus.rs"]
#[expect(dead_code, reason = "the verdicts are for the tests of single messages")]
mod corpus;
mod counting;
mod finds;
mod mutants;
mod mutation;
mod sound;
mod targets;
mod touch;
