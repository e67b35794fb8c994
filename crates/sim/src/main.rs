//! `tandem-sim`: runs worlds, replays one, plants bugs.

use clap::{ArgGroup, Parser};
use std::fmt::Display;
use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;
use tandem_sim::several::{self, Slip};
use tandem_sim::{
    Bug, Covers, Line, RUNS_FOR_COVERAGE, Sweep, Violation, find, find_slip, run, sweep, sweep_several,
};

/// Runs the switch in simulated worlds and holds it to a reference model.
///
/// Each seed draws a world: parameters, gateways with their limits and priorities, 20 and more callers, carriers that
/// misbehave, a network that loses, doubles and delays, a store that is slow, stalls, fails, comes back empty, fails over
/// without what it had acknowledged, or is two for a while, and panics of calls. One
/// node runs in it with the very state machines of production. A reference model, written from the specification, works
/// out what the switch has to do at each step and when, and compares. The same seed always gives the same run.
///
/// One world in three is about conversations, which are measured against rules instead: session timers, reliable
/// provisional responses, offers, challenges, redirections, further targets.
///
/// With --several there are three nodes that share a store and run the very machines that take calls over: they are killed,
/// paused, cut off, drained and rolled, their clocks are set, and the store loses what it had taken. No answered call may be
/// lost, and none may have two owners.
///
/// When a rule is broken, the seed and the rule are printed; `--seed` replays that run and prints everything that
/// happened in it.
#[derive(Parser)]
#[command(name = "tandem-sim", version, verbatim_doc_comment, after_long_help = EXAMPLES)]
#[command(group = ArgGroup::new("what").args(["seed", "seeds", "runs", "list_bugs"]))]
struct Arguments {
    /// Worlds of three nodes that share a store
    #[arg(long)]
    several: bool,

    /// Replay one seed: print the ladder, what calls wrote and decided, every fault, and the rule that broke, if any
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Run the seeds from A up to B (without B)
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    seeds: Option<Range<u64>>,

    /// Run so many seeds, from 0 [default: 1000]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,

    /// With --seed: only what concerns that call, by the number behind the # in the trace
    #[arg(long, value_name = "N", requires = "seed")]
    call: Option<usize>,

    /// Plant a bug and look for the first seed that finds it; with --seed, replay that seed with the bug in it
    #[arg(long, value_name = "BUG", value_parser = parse_bug)]
    plant: Option<Planted>,

    /// List the bugs that can be planted
    #[arg(long)]
    list_bugs: bool,

    /// Threads to run on [default: one per processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Leave out the coverage tables
    #[arg(long)]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  tandem-sim --runs 10000                      ten thousand worlds, then what they have been through
  tandem-sim --seeds 10000..20000              ten thousand others
  tandem-sim --seed 4711                       what happened in that one
  tandem-sim --seed 4711 --call 3              what happened to its fourth call
  tandem-sim --several --runs 10000            the same with three nodes
  tandem-sim --plant cancel-not-sent           how soon the model notices
  tandem-sim --plant cancel-not-sent --seed 0  and how

Coverage, printed at the end: rows of the failover table, faults, conduct of carriers and callers, what went on in
conversations, and what calls were told in which state. From 1000 runs on, a row that was never reached is a failure.

Exit status: 0 if no rule was broken and no row is missing, or a planted bug was found; 1 otherwise; 2 for a wrong use.";

/// A bug of a call, or a slip of a node among several.
#[derive(Clone, Copy)]
enum Planted {
    Bug(Bug),
    Slip(Slip),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list_bugs {
        for bug in Bug::ALL {
            say(format_args!("{:<36} {}", bug.text(), bug.describe()));
        }
        for slip in Slip::ALL {
            say(format_args!("{:<36} {} (--several)", slip.text(), slip.describe()));
        }
        return ExitCode::SUCCESS;
    }
    let seeds = arguments.seeds.clone().unwrap_or(0..arguments.runs.unwrap_or(RUNS_FOR_COVERAGE));
    match (arguments.seed, arguments.plant) {
        (Some(seed), Some(Planted::Slip(slip))) => replay_several(seed, Some(slip), arguments.call),
        (Some(seed), None) if arguments.several => replay_several(seed, None, arguments.call),
        (Some(seed), Some(Planted::Bug(bug))) => replay(seed, Some(bug), arguments.call),
        (Some(seed), None) => replay(seed, None, arguments.call),
        (None, Some(Planted::Bug(bug))) => planted((bug.text(), ""), seeds.clone(), find(bug, seeds)),
        (None, Some(Planted::Slip(slip))) => {
            planted((slip.text(), ""), seeds.clone(), find_slip(slip, seeds))
        }
        (None, None) if arguments.several => {
            run_all(seeds, &arguments, " --several", |seeds, threads, progress| {
                sweep_several(seeds, threads, progress)
            })
        }
        (None, None) => {
            run_all(seeds, &arguments, "", |seeds, threads, progress| sweep(seeds, threads, progress))
        }
    }
}

/// Prints a line. Whoever has stopped reading, as `head` does, wants no more.
fn say(line: impl Display) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is not a range A..B with A below B");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let range = from.parse().map_err(|_| wrong())?..to.parse().map_err(|_| wrong())?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

fn parse_bug(text: &str) -> Result<Planted, String> {
    let bug = Bug::named(text).map(Planted::Bug);
    bug.or_else(|| Slip::named(text).map(Planted::Slip))
        .ok_or_else(|| format!("no bug is called {text:?}; --list-bugs lists them"))
}

fn replay(seed: u64, bug: Option<Bug>, call: Option<usize>) -> ExitCode {
    let run = run(seed, bug, true);
    told(seed, &run.trace, run.violation.as_ref(), call, bug.is_some())
}

fn replay_several(seed: u64, slip: Option<Slip>, call: Option<usize>) -> ExitCode {
    let run = several::run(seed, slip, true);
    told(seed, &run.trace, run.violation.as_ref(), call, slip.is_some())
}

/// Prints what happened. It went well if a rule was broken just if something is planted.
fn told(
    seed: u64,
    trace: &[Line],
    violation: Option<&Violation>,
    call: Option<usize>,
    is_planted: bool,
) -> ExitCode {
    for line in trace.iter().filter(|line| call.is_none() || line.call == call) {
        say(format_args!("{line}"));
    }
    match violation {
        Some(violation) => say(format_args!("\nseed {seed}: {violation}")),
        None => say(format_args!("\nseed {seed}: no rule was broken")),
    }
    ExitCode::from(u8::from(violation.is_some() != is_planted))
}

fn planted((name, options): (&str, &str), seeds: Range<u64>, found: Option<(u64, Violation)>) -> ExitCode {
    match found {
        Some((seed, violation)) => {
            let after = seed - seeds.start + 1;
            say(format_args!("{name}: found after {after} seeds, in seed {seed}\n{violation}"));
            say(format_args!("replay: tandem-sim{options} --plant {name} --seed {seed}"));
            ExitCode::SUCCESS
        }
        None => {
            say(format_args!("{name}: not found in seeds {}..{}", seeds.start, seeds.end));
            ExitCode::FAILURE
        }
    }
}

fn run_all<C: Covers>(
    seeds: Range<u64>,
    arguments: &Arguments,
    options: &str,
    sweep: impl Fn(Range<u64>, usize, &(dyn Fn(u64) + Sync)) -> Sweep<C>,
) -> ExitCode {
    let threads =
        arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let total = seeds.end - seeds.start;
    let step = (total / 20).max(1);
    let progress = |done: u64| {
        if done.is_multiple_of(step) {
            eprintln!("{done} of {total} runs");
        }
    };
    let sweep = sweep(seeds, threads, &progress);
    if !arguments.quiet {
        say(format_args!("{}", sweep.coverage));
    }
    for (seed, violation) in &sweep.failures {
        say(format_args!("seed {seed}: {violation}\n  replay: tandem-sim{options} --seed {seed}"));
    }
    let missing = sweep.missing();
    for row in &missing {
        say(format_args!("never reached: {row}"));
    }
    say(format_args!("{total} runs, {} failed, {} rows never reached", sweep.failed, missing.len()));
    ExitCode::from(u8::from(sweep.failed > 0 || !missing.is_empty()))
}
