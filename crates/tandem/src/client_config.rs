//! The commands about the configuration that the nodes of a cluster have in common.

use crate::client::{Api, escape};
use crate::output;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use similar::TextDiff;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long after a push all nodes are to run the revision.
const SYNCHRONISED_WITHIN: Duration = Duration::from_secs(20);

/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(250);

/// Lines around a difference.
const CONTEXT: usize = 3;

#[derive(clap::Args)]
pub(crate) struct ConfigCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Say which revision each node runs.
    Status(Plain),
    /// Have all nodes run a configuration: every one of them, or none.
    ///
    /// It has the sections that nodes have in common (parameters, routing, registrar, endpoint, mapping_gateway,
    /// routing_gateway) and takes the place of those in the nodes' own files. Each live node checks it first. Calls in progress
    /// go on by what they began with.
    Push(PushFile),
    /// Print the text of a revision, the one in force unless said.
    Show(Show),
    /// List the revisions that are kept.
    History(Plain),
    /// Print what differs between two revisions, or between one and the one in force.
    Diff(Diff),
    /// Go back to an earlier revision: it becomes the newest one.
    Rollback(Rollback),
}

#[derive(clap::Args)]
struct Plain {
    #[command(flatten)]
    api: Api,
}

#[derive(clap::Args)]
struct PushFile {
    #[command(flatten)]
    api: Api,
    /// The file (TOML); - for standard input.
    file: PathBuf,
    /// What it is for, at most 256 bytes.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
    /// The revision that it was made from: if another one is in force by now, nothing is pushed.
    #[arg(long, value_name = "REVISION")]
    seen: Option<u64>,
    /// Only ask all nodes whether they could run it.
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
struct Show {
    #[command(flatten)]
    api: Api,
    /// Which revision.
    revision: Option<u64>,
    /// With its passwords, so that it can be changed and pushed again.
    #[arg(long)]
    secrets: bool,
}

#[derive(clap::Args)]
struct Diff {
    #[command(flatten)]
    api: Api,
    /// The one before.
    before: u64,
    /// The one after; the one in force unless said.
    after: Option<u64>,
}

#[derive(clap::Args)]
struct Rollback {
    #[command(flatten)]
    api: Api,
    /// The revision to go back to.
    revision: u64,
    /// What it is for, at most 256 bytes.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
}

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Params {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    action: Option<ParamsAction>,
    /// Only parameters whose name contains this.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
}

#[derive(clap::Subcommand)]
enum ParamsAction {
    /// Set a parameter for all nodes: another revision of the configuration.
    Set(SetParameter),
    /// Have the default of a parameter hold again, for all nodes.
    Unset(UnsetParameter),
}

#[derive(clap::Args)]
struct SetParameter {
    #[command(flatten)]
    api: Api,
    /// SS_…
    name: String,
    /// As it is written in a configuration.
    value: String,
    /// What it is for, at most 256 bytes.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
}

#[derive(clap::Args)]
struct UnsetParameter {
    #[command(flatten)]
    api: Api,
    /// SS_…
    name: String,
    /// What it is for, at most 256 bytes.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
}

#[derive(clap::Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    api: Api,
    /// Only entries before this one, by its id.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// The most entries to list, 1 to 1000.
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

impl ConfigCommand {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Status(Plain { api }) => {
                let answer = api.request("GET", "/api/v1/configuration")?;
                api.print(&answer, "nodes", &["node", "state", "revision"])?;
            }
            Action::Push(push) => push.execute()?,
            Action::Show(show) => {
                let revision = text_of(&show.api, show.revision, show.secrets)?;
                match show.api.json {
                    true => output::print(&format!("{revision:#}\n"))?,
                    false => output::print(revision["text"].as_str().unwrap_or_default())?,
                }
            }
            Action::History(Plain { api }) => {
                let answer = api.request("GET", "/api/v1/configuration/revisions")?;
                let columns = ["revision", "at", "by", "comment", "bytes", "restores", "digest"];
                api.print(&answer, "revisions", &columns)?;
            }
            Action::Diff(diff) => diff.execute()?,
            Action::Rollback(Rollback { api, revision, comment }) => {
                let request = json!({ "restores": revision, "comment": comment, "by": api.author() });
                let answer = api.send("POST", "/api/v1/configuration/revisions", Some(&request))?;
                in_force(&api, &answer)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl PushFile {
    fn execute(self) -> anyhow::Result<()> {
        let name = self.file.display();
        let text = if self.file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            text
        } else {
            std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {name}"))?
        };
        let request = json!({
            "text": text, "comment": self.comment, "by": self.api.author(), "seen": self.seen,
            "dry_run": self.dry_run,
        });
        let answer = self.api.send("POST", "/api/v1/configuration/revisions", Some(&request))?;
        if self.dry_run {
            return Ok(output::print(&format!("every live node could run {name}\n"))?);
        }
        in_force(&self.api, &answer)
    }
}

impl Diff {
    fn execute(self) -> anyhow::Result<()> {
        let before = text_of(&self.api, Some(self.before), false)?;
        let after = text_of(&self.api, self.after, false)?;
        let text = |revision: &Value| revision["text"].as_str().unwrap_or_default().to_owned();
        let (old, new) = (text(&before), text(&after));
        let name = |revision: &Value| format!("revision {}", revision["revision"]);
        let diff = TextDiff::from_lines(&old, &new);
        let mut shown = diff.unified_diff();
        let shown = shown.context_radius(CONTEXT).header(&name(&before), &name(&after)).to_string();
        let note = if shown.is_empty() && before["digest"] != after["digest"] {
            "only passwords, which are not shown, differ\n"
        } else {
            ""
        };
        Ok(output::print(&format!("{shown}{note}"))?)
    }
}

/// A revision with its text; that in force unless said.
fn text_of(api: &Api, revision: Option<u64>, secrets: bool) -> anyhow::Result<Value> {
    let revision = match revision {
        Some(revision) => revision,
        None => {
            let status = api.request("GET", "/api/v1/configuration")?;
            let revision = status["revision"]["revision"].as_u64();
            revision.context("the nodes have no configuration in common: each runs its own file")?
        }
    };
    api.request("GET", &format!("/api/v1/configuration/revisions/{revision}?secrets={secrets}"))
}

/// Waits until all live nodes run the revision, and says so.
fn in_force(api: &Api, revision: &Value) -> anyhow::Result<()> {
    let number = revision["revision"].as_u64().unwrap_or_default();
    let end = Instant::now() + SYNCHRONISED_WITHIN;
    loop {
        let status = api.request("GET", "/api/v1/configuration")?;
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let live: Vec<_> = nodes.iter().filter(|node| node["state"] == "alive").collect();
        let run = live.iter().filter(|node| node["revision"].as_u64() >= Some(number)).count();
        if run == live.len() {
            return match api.json {
                true => Ok(output::print(&format!("{revision:#}\n"))?),
                false => {
                    Ok(output::print(&format!("revision {number} is in force at {run} of {run} nodes\n"))?)
                }
            };
        }
        if Instant::now() > end {
            bail!("revision {number} is in force, but only {run} of {} nodes run it so far", live.len());
        }
        std::thread::sleep(LOOK);
    }
}

impl Params {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let (api, name, value, comment) = match self.action {
            None => {
                let mut answer = self.api.request("GET", "/api/v1/parameters")?;
                if let Some(rows) = answer["parameters"].as_array_mut() {
                    rows.retain(|row| row["name"].as_str().is_some_and(|name| name.contains(&self.filter)));
                }
                self.api.print(&answer, "parameters", &["name", "value", "unit", "default", "acted_on"])?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(ParamsAction::Set(set)) => (set.api, set.name, Some(set.value), set.comment),
            Some(ParamsAction::Unset(unset)) => (unset.api, unset.name, None, unset.comment),
        };
        let change = json!({ "value": value, "by": api.author(), "comment": comment });
        let answer = api.send("PUT", &format!("/api/v1/parameters/{}", escape(&name)), Some(&change))?;
        in_force(&api, &answer)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Audit {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let after = self.after.map(|after| format!("&after={}", escape(&after))).unwrap_or_default();
        let answer = self.api.request("GET", &format!("/api/v1/audit?limit={}{after}", self.limit))?;
        let columns = ["at", "node", "by", "from", "status", "request", "detail"];
        self.api.print(&answer, "entries", &columns)?;
        Ok(ExitCode::SUCCESS)
    }
}
