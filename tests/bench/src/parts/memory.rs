//! Memory per established call: what the server holds with many calls up, less what it held before, by their number.

use crate::arguments::Part;
use crate::bench::{Bench, say};
use crate::load::{Plan, Watch};
use crate::measure::process::Memory;
use crate::report::{Better, Subject};
use crate::servers::Server;
use anyhow::{Result, bail};
use serde_json::json;
use std::time::Duration;

/// From the last answer to the look at the server's memory.
const SETTLE: Duration = Duration::from_secs(3);
/// How long calls are up beyond that, for a server that is late.
const SLACK: Duration = Duration::from_secs(10);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    for repetition in 1..=bench.arguments.repetitions {
        for server in bench.turns(repetition) {
            bench.attempt(Part::Memory, &server, repetition, |bench| measure(bench, &server, repetition));
        }
    }
    Ok(())
}

fn measure(bench: &mut Bench, server: &Server, repetition: u32) -> Result<()> {
    let running = bench.start(server, &[])?;
    let before = running.memory()?;
    let calls = bench.arguments.calls;
    let rate = f64::from(bench.arguments.memory_rate);
    let ramp = Duration::from_secs_f64(f64::from(calls) / rate);
    let plan = Plan { calls, ..Plan::through_server(rate, ramp, ramp + SETTLE + SLACK) };

    let mut all_up_at = None;
    let mut held: Option<(Memory, u32)> = None;
    let run = bench.calls(&plan, Some(&running), |progress| {
        if progress.talking + progress.over >= calls && all_up_at.is_none() {
            all_up_at = Some(progress.elapsed);
        }
        if held.is_none() && all_up_at.is_some_and(|at| progress.elapsed >= at + SETTLE) {
            held = Some((running.memory()?, progress.talking));
        }
        Ok(Watch::GoOn)
    })?;
    let Some((held, up)) = held.filter(|(_, up)| *up > 0) else {
        bail!("{}: the calls were never up at once: {}", server.name, run.line());
    };
    let per_call = |before: u64, held: u64| (held as f64 - before as f64) / f64::from(up);
    let pss = per_call(before.pss_kib, held.pss_kib);
    let what = json!({
        "calls_up": up,
        "pss_kib_per_call": pss,
        "rss_kib_per_call": per_call(before.rss_kib, held.rss_kib),
        "before": before,
        "held": held,
        "run": run,
    });
    let line = format!("{pss:.2} KiB per call, {up} up, {} KiB before; {}", before.pss_kib, run.line());
    say(Part::Memory, repetition, &server.name, &line);

    let subject = Subject {
        part: Part::Memory,
        name: format!("memory per established call, {calls} up"),
        unit: "KiB",
        better: Better::Lower,
        decimals: 2,
    };
    bench.report.measured(Part::Memory, &server.name, repetition, what);
    bench.report.value(&subject, &server.name, repetition, pss);
    if let Some(remark) = run.remark() {
        bench.report.remark(&subject, &server.name, format!("repetition {repetition}: {remark}"));
    }
    Ok(())
}
