//! CPU time per registration, without credentials and with the challenge and its answer.

use crate::arguments::Part;
use crate::bench::{Bench, say};
use crate::load::RegisterPlan;
use crate::measure::machine::Mark;
use crate::report::{Better, Subject};
use crate::servers::{Registrar, Server};
use anyhow::{Result, bail};
use serde_json::json;
use std::thread::sleep;
use std::time::Duration;

/// How long the idle server is watched.
const IDLE: Duration = Duration::from_secs(2);
/// What is left to do after the last answer: a stateful registrar forgets transactions after 5 s or so.
const SETTLE: Duration = Duration::from_secs(6);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    for repetition in 1..=bench.arguments.repetitions {
        for registrar in [Registrar::Open, Registrar::Digest] {
            for server in bench.turns(repetition) {
                bench.attempt(Part::Register, &server, repetition, |bench| {
                    measure(bench, &server, registrar, repetition)
                });
            }
        }
    }
    bench.lab.registrar = Registrar::Off;
    Ok(())
}

fn measure(bench: &mut Bench, server: &Server, registrar: Registrar, repetition: u32) -> Result<()> {
    let phones = bench.arguments.phones;
    bench.lab.registrar = registrar;
    bench.lab.phones = phones;
    let running = bench.start(server, &[])?;
    let rate = f64::from(bench.arguments.register_rate);
    // Each phone once, so that what is measured are refreshes.
    let first = RegisterPlan { phones, rate, registrations: phones, before: 0 };
    let warmed_up = bench.generator.register(&first)?;
    if warmed_up.completed == 0 {
        bail!("{} registers nobody: {warmed_up:?}", server.name);
    }
    sleep(SETTLE);
    let idle = running.cpu()?;
    sleep(IDLE);
    let before = running.cpu()?;
    let idle_share = (before.total - idle.total).as_secs_f64() / IDLE.as_secs_f64();
    let mark = Mark::now(before)?;
    let registrations = (rate * bench.arguments.register_seconds as f64).max(1.0) as u32;
    let plan = RegisterPlan { registrations, before: phones, ..first };
    let outcome = bench.generator.register(&plan)?;
    sleep(SETTLE);
    let after = running.cpu()?;
    let used = mark.until(&Mark::now(after)?)?;
    let net = ((after.total - before.total).as_secs_f64() - idle_share * used.seconds).max(0.0);
    let micros = net * 1e6 / f64::from(outcome.completed.max(1));
    let how = match registrar {
        Registrar::Off | Registrar::Open => "without digest",
        Registrar::Digest => "with digest (challenge and answer)",
    };
    let (failed, load) = (outcome.failed(), outcome.generator_load);
    let line = format!("{micros:.1} µs per registration {how}, {failed} failed, generator {load:.2}");
    say(Part::Register, repetition, &server.name, &line);
    let subject = Subject {
        part: Part::Register,
        name: format!("CPU per registration {how}, {phones} phones at {rate:.0}/s"),
        unit: "µs",
        better: Better::Lower,
        decimals: 1,
    };
    let what = json!({ "cpu_us_per_registration": micros, "registrar": how, "use_of_machine": used, "run": outcome });
    bench.report.measured(Part::Register, &server.name, repetition, what);
    bench.report.value(&subject, &server.name, repetition, micros);
    if failed > 0 {
        let remark =
            format!("repetition {repetition}: {failed} of {registrations} failed {:?}", outcome.refused);
        bench.report.remark(&subject, &server.name, remark);
    }
    Ok(())
}
