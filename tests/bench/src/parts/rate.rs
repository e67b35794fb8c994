//! The highest rate that a server on one core carries without a failed call.

use crate::arguments::Part;
use crate::bench::{Bench, IN_TIME_MIN, Run, say};
use crate::load::{CALLEE, Plan, Watch};
use crate::measure::search::Search;
use crate::report::{Better, Subject};
use crate::servers::Server;
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

/// How often a step is tried when the generator could not keep up: a burst of other work on the machine passes.
const TRIES: u32 = 3;

/// What a step showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Held,
    Failed,
    /// The generator was too slow to tell.
    GeneratorGaveUp,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let subject = Subject {
        part: Part::Rate,
        name: "highest rate without a failed call, one core".to_owned(),
        unit: "calls/s",
        better: Better::Higher,
        decimals: 0,
    };
    for repetition in 1..=bench.arguments.repetitions {
        if repetition == 1 {
            search(bench, None, &subject, repetition)?;
        }
        for server in bench.turns(repetition) {
            bench.attempt(Part::Rate, &server, repetition, |bench| {
                search(bench, Some(&server), &subject, repetition)
            });
        }
    }
    Ok(())
}

/// Finds the rate of one server; without one, that of the generator alone.
fn search(bench: &mut Bench, server: Option<&Server>, subject: &Subject, repetition: u32) -> Result<()> {
    let name = server.map_or("direct", |server| server.name.as_str());
    let settings = &bench.arguments;
    let ceiling = if server.is_some() { settings.rate_to } else { settings.rate_to.saturating_mul(2) };
    let mut search = Search::new(settings.rate_from, f64::from(settings.precision) / 100.0, ceiling);
    let mut bound = None;
    while let Some(rate) = search.next() {
        match step(bench, server, rate, repetition)? {
            Verdict::Held => search.record(rate, true),
            Verdict::Failed => search.record(rate, false),
            Verdict::GeneratorGaveUp if server.is_none() => search.record(rate, false),
            Verdict::GeneratorGaveUp => {
                bound = Some(rate);
                break;
            }
        }
    }
    let held = search.held();
    let remark = match bound {
        Some(rate) => Some(format!(
            "repetition {repetition}: the load generator gave up at {rate}/s, before the server"
        )),
        None if held >= ceiling => Some(format!("repetition {repetition}: higher rates were not tried")),
        None => None,
    };
    say(Part::Rate, repetition, name, &format!("{held} calls/s {}", remark.as_deref().unwrap_or_default()));
    bench.report.measured(Part::Rate, name, repetition, json!({ "held": held, "remark": remark }));
    if let Some(server) = server {
        bench.report.value(subject, &server.name, repetition, f64::from(held));
        if let Some(remark) = remark {
            bench.report.remark(subject, &server.name, remark);
        }
    }
    Ok(())
}

/// Tries one rate with a fresh server: what an overload leaves behind is none of the next step's business.
fn step(bench: &mut Bench, server: Option<&Server>, rate: u32, repetition: u32) -> Result<Verdict> {
    let name = server.map_or("direct", |server| server.name.as_str());
    let span = Duration::from_secs(bench.arguments.step_seconds);
    let mut plan = Plan::through_server(f64::from(rate), span, bench.hold());
    if server.is_none() {
        plan.target = CALLEE;
    }
    let in_time = (IN_TIME_MIN * f64::from(plan.calls)) as u32;
    let mut verdict = Verdict::Failed;
    // Without a server, that the generator gives up is what is looked for.
    for _ in 0..if server.is_some() { TRIES } else { 1 } {
        let running = server.map(|server| bench.start(server, &[])).transpose()?;
        let run = bench.calls(&plan, running.as_ref(), |progress| {
            let late = progress.elapsed > plan.nominal_end() && progress.over < in_time;
            Ok(if progress.failed > 0 || late { Watch::Abandon } else { Watch::GoOn })
        })?;
        verdict = judge(&run);
        say(Part::Rate, repetition, name, &format!("{rate}/s {verdict:?}: {}", run.line()));
        bench.report.measured(
            Part::Rate,
            name,
            repetition,
            json!({ "rate": rate, "verdict": format!("{verdict:?}"), "run": run }),
        );
        if verdict != Verdict::GeneratorGaveUp {
            break;
        }
    }
    Ok(verdict)
}

fn judge(run: &Run) -> Verdict {
    if run.held() {
        // However hard it was for the generator.
        Verdict::Held
    } else if run.generator_gave_up && run.dropped_at_server == 0 {
        Verdict::GeneratorGaveUp
    } else {
        // A server that cannot take what comes makes both ends resend, and that alone can hold the generator up.
        Verdict::Failed
    }
}
