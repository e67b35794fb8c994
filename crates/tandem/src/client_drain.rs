//! `tandem drain`.

use crate::client::Api;
use crate::output;
use anyhow::bail;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked how far the drain has come.
const LOOK: Duration = Duration::from_secs(1);

/// Failed looks in a row after which the node has left.
const SILENT: u32 = 3;

#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DrainCommand {
    #[command(flatten)]
    api: Api,
    /// Have the node stay once it is drained, without calls, until it is stopped or told to take some again.
    #[arg(long)]
    stay: bool,
    /// Return as soon as the drain has begun.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the drain's end, in seconds; without end unless set.
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    timeout: Option<u64>,
    /// Print how far the drain has come, and begin none.
    #[arg(long, conflicts_with_all = ["stay", "no_wait", "timeout"])]
    status: bool,
    /// Have a node that was to stay take new calls again.
    #[arg(long, conflicts_with_all = ["stay", "no_wait", "timeout", "status"])]
    cancel: bool,
}

const EXAMPLES: &str = "\
The node is not ready any more. New calls that still come are set up by other nodes, calls in conversation are handed
to them, and calls in set-up are waited for, two minutes at most. A node by itself refuses new calls and waits for those
that it has. `tandem run --drain-timeout` bounds all of that for a node that leaves.

Examples:
  tandem drain                        drain the node, watch it, until it has left
  tandem drain --stay --timeout 150   drain it before somebody else stops it
  tandem drain --status               how far it is
  tandem drain --cancel               it takes calls again

Exit status: 0 once the node is drained or has left; 1 if it took too long, or could not be asked.";

impl DrainCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if self.cancel {
            self.api.request("DELETE", "/api/v1/drain")?;
            output::print("takes new calls again\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        let began = Instant::now();
        let mut answer = match self.status {
            true => self.api.request("GET", "/api/v1/drain")?,
            false => self.api.send("POST", "/api/v1/drain", Some(&json!({ "stay": self.stay })))?,
        };
        let mut shown = self.show(&answer, None)?;
        if self.status || self.no_wait {
            return Ok(ExitCode::SUCCESS);
        }
        let mut silent = 0;
        loop {
            let leaves = answer["leaves"].as_bool().unwrap_or(false);
            if answer["state"] == "drained" && !leaves {
                return Ok(ExitCode::SUCCESS);
            }
            if self.timeout.is_some_and(|limit| began.elapsed() >= Duration::from_secs(limit)) {
                bail!("not drained after {} s; the drain goes on", began.elapsed().as_secs());
            }
            sleep(LOOK);
            match self.api.request("GET", "/api/v1/drain") {
                Ok(now) => {
                    (answer, silent) = (now, 0);
                    shown = self.show(&answer, Some(shown))?;
                }
                Err(_) if silent + 1 < SILENT => silent += 1,
                Err(_) if leaves => {
                    output::print(&if self.api.json {
                        String::new()
                    } else {
                        "the node has left\n".to_owned()
                    })?;
                    return Ok(ExitCode::SUCCESS);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Prints how far the drain has come, unless that is what was shown last.
    fn show(&self, answer: &Value, last: Option<String>) -> anyhow::Result<String> {
        let text = if self.api.json { answer.to_string() } else { describe(answer) };
        if last.as_ref() != Some(&text) {
            let seconds = answer["seconds"].as_u64().unwrap_or(0);
            let line = if self.api.json { format!("{text}\n") } else { format!("{seconds:>4} s  {text}\n") };
            output::print(&line)?;
        }
        Ok(text)
    }
}

fn describe(answer: &Value) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    let state = match answer["state"].as_str().unwrap_or_default() {
        "none" => return format!("takes new calls; {} in progress", count("calls")),
        "handing_over" => "handing over",
        "passing_on" => "passing on what still comes",
        "drained" => "drained",
        other => other,
    };
    let mut text = format!("{state}: {} calls here, {} handed over", count("calls"), count("handed_over"));
    if count("placed") > 0 {
        text.push_str(&format!(
            ", {} new ones placed elsewhere, {} of them not answered yet",
            count("placed"),
            count("setting_up")
        ));
    }
    text
}
