//! The parts of the benchmark, a file each.

mod cpu;
mod delay;
mod instructions;
mod memory;
mod nat;
mod rate;
mod register;

use crate::arguments::Part;
use crate::bench::Bench;
use anyhow::Result;

/// Measures one part, all repetitions.
///
/// # Errors
/// A server does not start, ends, or carries no calls.
pub(crate) fn run(bench: &mut Bench, part: Part) -> Result<()> {
    match part {
        Part::Cpu => cpu::run(bench),
        Part::Delay => delay::run(bench),
        Part::Memory => memory::run(bench),
        Part::Nat => nat::run(bench),
        Part::Rate => rate::run(bench),
        Part::Instructions => instructions::run(bench),
        Part::Register => register::run(bench),
    }
}
