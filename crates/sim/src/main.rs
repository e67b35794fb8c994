//! `tandem-sim`: runs worlds, replays one, plants bugs.

use clap::{ArgGroup, Parser};
use std::fmt::Display;
use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;
use tandem_sim::{Bug, RUNS_FOR_COVERAGE, find, run, sweep};

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
/// When a rule is broken, the seed and the rule are printed; `--seed` replays that run and prints everything that
/// happened in it.
#[derive(Parser)]
#[command(name = "tandem-sim", version, verbatim_doc_comment, after_long_help = EXAMPLES)]
#[command(group = ArgGroup::new("what").args(["seed", "seeds", "runs", "list_bugs"]))]
struct Arguments {
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
    plant: Option<Bug>,

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
  tandem-sim --plant cancel-not-sent           how soon the model notices
  tandem-sim --plant cancel-not-sent --seed 0  and how

Coverage, printed at the end: rows of the failover table, faults, conduct of carriers and callers, what went on in
conversations, and what calls were told in which state. From 1000 runs on, a row that was never reached is a failure.

Exit status: 0 if no rule was broken and no row is missing, or a planted bug was found; 1 otherwise; 2 for a wrong use.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list_bugs {
        for bug in Bug::ALL {
            say(format_args!("{:<36} {}", bug.text(), bug.describe()));
        }
        return ExitCode::SUCCESS;
    }
    let seeds = arguments.seeds.clone().unwrap_or(0..arguments.runs.unwrap_or(RUNS_FOR_COVERAGE));
    match (arguments.seed, arguments.plant) {
        (Some(seed), bug) => replay(seed, bug, arguments.call),
        (None, Some(bug)) => plant(bug, seeds),
        (None, None) => run_all(seeds, &arguments),
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

fn parse_bug(text: &str) -> Result<Bug, String> {
    Bug::named(text).ok_or_else(|| format!("no bug is called {text:?}; --list-bugs lists them"))
}

fn replay(seed: u64, bug: Option<Bug>, call: Option<usize>) -> ExitCode {
    let run = run(seed, bug, true);
    for line in run.trace.iter().filter(|line| call.is_none() || line.call == call) {
        say(format_args!("{line}"));
    }
    match run.violation {
        Some(violation) => {
            say(format_args!("\nseed {seed}: {violation}"));
            ExitCode::from(u8::from(bug.is_none()))
        }
        None => {
            say(format_args!("\nseed {seed}: no rule was broken"));
            ExitCode::from(u8::from(bug.is_some()))
        }
    }
}

fn plant(bug: Bug, seeds: Range<u64>) -> ExitCode {
    let from = seeds.start;
    match find(bug, seeds.clone()) {
        Some((seed, violation)) => {
            say(format_args!("{bug}: found after {} seeds, in seed {seed}\n{violation}", seed - from + 1));
            say(format_args!("replay: tandem-sim --plant {bug} --seed {seed}"));
            ExitCode::SUCCESS
        }
        None => {
            say(format_args!("{bug}: not found in seeds {}..{}", seeds.start, seeds.end));
            ExitCode::FAILURE
        }
    }
}

fn run_all(seeds: Range<u64>, arguments: &Arguments) -> ExitCode {
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
        say(format_args!("seed {seed}: {violation}\n  replay: tandem-sim --seed {seed}"));
    }
    let missing = sweep.missing();
    for row in &missing {
        say(format_args!("never reached: {row}"));
    }
    say(format_args!("{total} runs, {} failed, {} rows never reached", sweep.failed, missing.len()));
    ExitCode::from(u8::from(sweep.failed > 0 || !missing.is_empty()))
}
