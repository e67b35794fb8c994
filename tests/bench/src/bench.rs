//! What all parts of the benchmark do alike: take turns, start a server, warm it up, make calls, watch the machine.

use crate::arguments::{Arguments, Part};
use crate::load::{CALLEE, CALLER, Generator, Outcome, Plan, Progress, SERVER, Watch};
use crate::measure::machine::{Mark, Use, wait_until_quiet};
use crate::measure::process::{drops, udp_table};
use crate::report::Report;
use crate::servers::{Lab, Running, Server};
use anyhow::{Result, bail};
use serde::Serialize;
use std::time::Duration;

/// Calls before anything is measured, and how many of them per second: the first of all touch memory and code for the
/// first time.
const WARM_UP_CALLS: u32 = 50;
const WARM_UP_RATE: f64 = 50.0;
/// A rate holds if no call fails and this share of them is over when the last one would be, had nothing been late. Less
/// than that is a server that falls behind, even if resends save every call.
pub(crate) const IN_TIME_MIN: f64 = 0.97;
/// For what the warm-up left to do at once.
const AFTER_WARM_UP: Duration = Duration::from_secs(1);

/// A benchmark under way.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    pub(crate) lab: Lab,
    pub(crate) servers: Vec<Server>,
    pub(crate) generator: Generator,
    pub(crate) report: Report,
}

/// Calls that were made, and who else used the machine meanwhile.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    pub(crate) generator_gave_up: bool,
    #[serde(rename = "use_of_machine")]
    pub(crate) used: Use,
    /// Datagrams lost because the generator did not fetch them.
    pub(crate) dropped_at_generator: u64,
    /// Datagrams lost because the server did not fetch them.
    pub(crate) dropped_at_server: u64,
    /// CPU time of the server, by the time it took.
    pub(crate) server_load: f64,
}

impl Bench {
    /// The servers in the order of their turns: every other repetition goes backwards, so that none always follows
    /// the same other.
    pub(crate) fn turns(&self, repetition: u32) -> Vec<Server> {
        let mut servers = self.servers.clone();
        if repetition.is_multiple_of(2) {
            servers.reverse();
        }
        servers
    }

    /// Measures one server; what goes wrong with it is reported, and the others go on.
    pub(crate) fn attempt(
        &mut self,
        part: Part,
        server: &Server,
        repetition: u32,
        measure: impl FnOnce(&mut Bench) -> Result<()>,
    ) {
        if let Err(error) = measure(self) {
            let text = format!("{error:#}");
            say(part, repetition, &server.name, &text);
            self.report.error(part, &server.name, repetition, text);
        }
    }

    /// What the calls of most parts last.
    pub(crate) fn hold(&self) -> Duration {
        Duration::from_millis(self.arguments.hold_ms)
    }

    /// Waits for a quiet machine, if asked to.
    pub(crate) fn wait_until_quiet(&self) -> Result<()> {
        if !wait_until_quiet(Duration::from_secs(self.arguments.quiet_wait))? {
            println!("  the machine did not get quiet");
        }
        Ok(())
    }

    /// Starts a server and warms it up.
    ///
    /// # Errors
    /// It does not start, or does not carry calls.
    pub(crate) fn start(&mut self, server: &Server, wrapper: &[String]) -> Result<Running> {
        self.wait_until_quiet()?;
        let running = self.lab.start(server, wrapper)?;
        let plan = Plan {
            calls: WARM_UP_CALLS,
            ..Plan::through_server(WARM_UP_RATE, Duration::from_secs(1), Duration::from_millis(200))
        };
        let outcome = self.generator.run(&plan, |_| Ok(Watch::GoOn))?;
        if outcome.completed == 0 {
            bail!("{} carries no calls: {:?}", server.name, outcome.failures);
        }
        if outcome.failed() > 0 {
            println!(
                "  {}: {} of the first calls failed: {:?}",
                server.name,
                outcome.failed(),
                outcome.failures
            );
        }
        std::thread::sleep(AFTER_WARM_UP);
        Ok(running)
    }

    /// Makes calls; `server` is the one that carries them, if any.
    ///
    /// # Errors
    /// The server is gone.
    pub(crate) fn calls(
        &mut self,
        plan: &Plan,
        server: Option<&Running>,
        watch: impl FnMut(&Progress) -> Result<Watch>,
    ) -> Result<Run> {
        let cpu = || server.map_or(Ok(Default::default()), Running::cpu);
        let before = (cpu()?, udp_table());
        let mark = Mark::now(before.0)?;
        let outcome = self.generator.run(plan, watch)?;
        let after = (cpu()?, udp_table());
        let used = mark.until(&Mark::now(after.0)?)?;
        let dropped = |address| drops(&after.1, address).saturating_sub(drops(&before.1, address));
        let dropped_at_generator = dropped(CALLER) + dropped(CALLEE);
        Ok(Run {
            generator_gave_up: outcome.generator_gave_up() || dropped_at_generator > 0,
            used,
            dropped_at_generator,
            dropped_at_server: dropped(SERVER),
            server_load: after.0.total.saturating_sub(before.0.total).as_secs_f64() / used.seconds,
            outcome,
        })
    }
}

impl Run {
    /// What a reader of the table must know, if anything.
    pub(crate) fn remark(&self) -> Option<String> {
        let outcome = &self.outcome;
        let mut remarks = Vec::new();
        if outcome.failed() > 0 {
            remarks.push(format!(
                "{} of {} calls failed {:?}",
                outcome.failed(),
                outcome.calls,
                outcome.failures
            ));
        }
        if outcome.without_ringing + outcome.without_ack > 0 {
            let (ringing, ack) = (outcome.without_ringing, outcome.without_ack);
            remarks.push(format!("{ringing} calls without their 180 and {ack} without their ACK"));
        }
        if outcome.unreadable > 0 {
            remarks.push(format!("{} unreadable messages", outcome.unreadable));
        }
        if self.generator_gave_up && !self.held() {
            remarks.push("the load generator gave up first".to_owned());
        }
        (!remarks.is_empty()).then(|| remarks.join(", "))
    }

    /// Whether the server carried all calls and kept up with them.
    pub(crate) fn held(&self) -> bool {
        let in_time = f64::from(self.outcome.over_in_time) / f64::from(self.outcome.calls);
        self.outcome.failed() == 0 && in_time >= IN_TIME_MIN
    }

    /// One line about the run.
    pub(crate) fn line(&self) -> String {
        let Run { outcome, used, .. } = self;
        let resent = outcome.resent_by_caller + outcome.resent_by_callee + outcome.repeated_by_server;
        let mut line = format!(
            "{:.0}/s, {} calls, {} failed, {resent} resent, load: server {:.2}, generator {:.2}; foreign {:.2} cores",
            outcome.achieved_rate,
            outcome.calls,
            outcome.failed(),
            self.server_load,
            outcome.generator_load,
            used.foreign_cores,
        );
        if self.generator_gave_up {
            line += &format!(", calls up to {:.0} ms late", outcome.lateness_max_ms);
        }
        if used.stolen_cores >= 0.005 {
            line += &format!(", stolen {:.2}", used.stolen_cores);
        }
        if self.dropped_at_server + self.dropped_at_generator > 0 {
            line += &format!(", dropped {} + {}", self.dropped_at_server, self.dropped_at_generator);
        }
        if let Some(remark) = self.remark() {
            line += &format!(" — {remark}");
        }
        line
    }
}

/// Says what was measured just now.
pub(crate) fn say(part: Part, repetition: u32, server: &str, what: &str) {
    let part = format!("{part:?}").to_lowercase();
    println!("{part} {repetition} {server}: {what}");
}
