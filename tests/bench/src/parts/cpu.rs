//! CPU time per call: user and system time of all threads of the server, without what it uses when idle, from the first
//! call until it has settled after the last.

use crate::arguments::Part;
use crate::bench::{Bench, say};
use crate::load::{Plan, Watch};
use crate::measure::machine::Mark;
use crate::report::{Better, Subject};
use crate::servers::Server;
use anyhow::Result;
use serde_json::json;
use std::thread::sleep;
use std::time::Duration;

/// How long the idle server is watched.
const IDLE: Duration = Duration::from_secs(3);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    for repetition in 1..=bench.arguments.repetitions {
        for rate in bench.arguments.rates.clone() {
            for server in bench.turns(repetition) {
                bench.attempt(Part::Cpu, &server, repetition, |bench| {
                    measure(bench, &server, rate, repetition)
                });
            }
        }
    }
    Ok(())
}

fn measure(bench: &mut Bench, server: &Server, rate: u32, repetition: u32) -> Result<()> {
    let running = bench.start(server, &[])?;
    let idle = running.cpu()?;
    sleep(IDLE);
    let before = running.cpu()?;
    let idle_share = (before.total - idle.total).as_secs_f64() / IDLE.as_secs_f64();

    let mark = Mark::now(before)?;
    let span = Duration::from_secs(bench.arguments.seconds);
    let plan = Plan::through_server(f64::from(rate), span, bench.hold());
    let calls = bench.calls(&plan, Some(&running), |_| Ok(Watch::GoOn))?;
    sleep(Duration::from_secs(bench.arguments.settle));
    let after = running.cpu()?;
    let used = mark.until(&Mark::now(after)?)?;

    let total = (after.total - before.total).as_secs_f64();
    let net = (total - idle_share * used.seconds).max(0.0);
    let per_call = |seconds: f64| seconds * 1e6 / f64::from(calls.outcome.completed.max(1));
    let user = (after.user.saturating_sub(before.user)).as_secs_f64();
    let what = json!({
        "rate": rate,
        "cpu_us_per_call": per_call(net),
        "cpu_us_per_call_with_idle": per_call(total),
        "user_share": user / total,
        "idle_cpu_share": idle_share,
        "use_of_machine_with_settling": used,
        "run": calls,
    });
    let line = format!("{:.0} µs per call at {}", per_call(net), calls.line());
    say(Part::Cpu, repetition, &server.name, &line);

    let subject = Subject {
        part: Part::Cpu,
        name: format!("CPU per call at {rate} calls/s"),
        unit: "µs",
        better: Better::Lower,
        decimals: 0,
    };
    bench.report.measured(Part::Cpu, &server.name, repetition, what);
    bench.report.value(&subject, &server.name, repetition, per_call(net));
    if let Some(remark) = calls.remark() {
        bench.report.remark(&subject, &server.name, format!("repetition {repetition}: {remark}"));
    }
    Ok(())
}
