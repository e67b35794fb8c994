//! Instructions per call, counted by valgrind: they hardly depend on the machine, so that a change of a percent shows.
//!
//! Each server is counted twice, from its start to its end and for the same time, once with few calls and once with
//! many. The difference belongs to the calls alone: starting, stopping and idling are in both.

use crate::arguments::Part;
use crate::bench::{Bench, Run, say};
use crate::load::{Plan, Watch};
use crate::report::{Better, Subject};
use crate::servers::Server;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the few calls are started; the many are started for this longer than was asked for.
const FEW: Duration = Duration::from_secs(5);
/// From the last of the many calls to the end: when no resend can come any more (64·T1), servers forget a call.
const SETTLE: Duration = Duration::from_secs(36);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    // Instructions do not vary as times do: once is enough.
    for server in bench.servers.clone() {
        bench.attempt(Part::Instructions, &server, 1, |bench| measure(bench, &server));
    }
    Ok(())
}

fn measure(bench: &mut Bench, server: &Server) -> Result<()> {
    let many = FEW + Duration::from_secs(bench.arguments.valgrind_seconds);
    let (few_counted, few_run) = count(bench, server, FEW, many + SETTLE)?;
    let (many_counted, many_run) = count(bench, server, many, many + SETTLE)?;
    let calls = many_run.outcome.completed.saturating_sub(few_run.outcome.completed);
    let per_call = (many_counted as f64 - few_counted as f64) / f64::from(calls);
    if per_call.is_nan() || per_call <= 0.0 {
        bail!("{}: {few_counted} instructions with few calls, {many_counted} with many", server.name);
    }
    let line = format!("{:.1} thousand per call over {calls} calls; {}", per_call / 1e3, many_run.line());
    say(Part::Instructions, 1, &server.name, &line);

    let subject = Subject {
        part: Part::Instructions,
        name: format!("instructions per call, user mode, at {} calls/s", bench.arguments.valgrind_rate),
        unit: "thousands",
        better: Better::Lower,
        decimals: 1,
    };
    let what = json!({
        "instructions_per_call": per_call,
        "with_few_calls": { "instructions": few_counted, "run": few_run },
        "with_many_calls": { "instructions": many_counted, "run": many_run },
    });
    bench.report.measured(Part::Instructions, &server.name, 1, what);
    bench.report.value(&subject, &server.name, 1, per_call / 1e3);
    for remark in [few_run.remark(), many_run.remark()].into_iter().flatten() {
        bench.report.remark(&subject, &server.name, remark);
    }
    Ok(())
}

/// All instructions of a server that is ended `life` after its first call.
fn count(bench: &mut Bench, server: &Server, span: Duration, life: Duration) -> Result<(u64, Run)> {
    let folder = bench.lab.folder.canonicalize()?.join(&server.name);
    let dumps = format!("--callgrind-out-file={}/callgrind.out.%p", folder.display());
    let wrapper = ["valgrind", "--tool=callgrind", &dumps].map(str::to_owned);
    let mut running = bench.start(server, &wrapper)?;
    let begun = Instant::now();
    let plan = Plan::through_server(f64::from(bench.arguments.valgrind_rate), span, bench.hold());
    let run = bench.calls(&plan, Some(&running), |_| Ok(Watch::GoOn))?;
    sleep(life.saturating_sub(begun.elapsed()));
    running.stop();
    Ok((sum_of_dumps(&folder)?, run))
}

/// Every process of the server leaves a dump when it ends.
fn sum_of_dumps(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("callgrind.out.")) {
            let dump = fs::read_to_string(&path)?;
            sum += totals(&dump).with_context(|| format!("no totals in {}", path.display()))?;
        }
    }
    Ok(sum)
}

/// The events of a dump, of which there is one kind: instructions.
fn totals(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_tells_its_total() {
        let dump = "# callgrind format\nevents: Ir\nsummary: 0\n\nfn=(1) main\n1 12345\n\ntotals: 12345\n";
        assert_eq!(totals(dump), Some(12345));
        assert_eq!(totals("events: Ir\n"), None);
    }
}
