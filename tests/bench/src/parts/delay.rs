//! Added set-up delay: how much later an INVITE reaches the callee because a server is between.
//!
//! Both ends are this process, so that one clock tells when the INVITE left and when the kernel took it in at the
//! callee's socket. The same calls without a server tell what the way itself costs.

use crate::arguments::Part;
use crate::bench::{Bench, say};
use crate::load::{CALLEE, Plan, Watch};
use crate::measure::statistics::percentile;
use crate::report::{Better, Subject};
use crate::servers::{Running, Server};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::Duration;

/// Percentiles that are reported, with what they are called.
const PERCENTILES: [(f64, &str); 2] = [(0.5, "p50"), (0.99, "p99")];

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    for repetition in 1..=bench.arguments.repetitions {
        bench.wait_until_quiet()?;
        let direct = delays(bench, None, repetition)?;
        for server in bench.turns(repetition) {
            bench.attempt(Part::Delay, &server, repetition, |bench| {
                measure(bench, &server, &direct, repetition)
            });
        }
    }
    Ok(())
}

fn measure(bench: &mut Bench, server: &Server, direct: &[Duration], repetition: u32) -> Result<()> {
    let running = bench.start(server, &[])?;
    let through = delays(bench, Some(&running), repetition)?;
    for ((_, name), (through, direct)) in PERCENTILES.iter().zip(through.iter().zip(direct)) {
        let subject = Subject {
            part: Part::Delay,
            name: format!("added set-up delay, {name}, at {} calls/s", bench.arguments.delay_rate),
            unit: "µs",
            better: Better::Lower,
            decimals: 0,
        };
        let added = (through.as_secs_f64() - direct.as_secs_f64()) * 1e6;
        bench.report.value(&subject, &server.name, repetition, added);
    }
    Ok(())
}

/// The percentiles of the time that INVITEs take.
fn delays(bench: &mut Bench, server: Option<&Running>, repetition: u32) -> Result<Vec<Duration>> {
    let span = Duration::from_secs(bench.arguments.delay_seconds);
    let rate = f64::from(bench.arguments.delay_rate);
    let mut plan = Plan { delays: true, ..Plan::through_server(rate, span, bench.hold()) };
    if server.is_none() {
        plan.target = CALLEE;
    }
    let name = server.map_or("direct", |server| server.name.as_str());
    let calls = bench.calls(&plan, server, |_| Ok(Watch::GoOn))?;
    let all = &calls.outcome.invite_delays;
    let of = |share| percentile(all, share).with_context(|| format!("{name}: no INVITE arrived"));
    let found = PERCENTILES.iter().map(|(share, _)| of(*share)).collect::<Result<Vec<_>>>()?;
    let mut what = json!({ "invites": all.len(), "max_us": of(1.0)?.as_secs_f64() * 1e6, "run": calls });
    let mut line = String::new();
    for ((_, percentile), delay) in PERCENTILES.iter().zip(&found) {
        let micros = delay.as_secs_f64() * 1e6;
        what[format!("{percentile}_us")] = json!(micros);
        line += &format!("{percentile} {micros:.0} µs, ");
    }
    say(Part::Delay, repetition, name, &format!("{line}{}", calls.line()));
    bench.report.measured(Part::Delay, name, repetition, what);
    Ok(found)
}
