//! The commands that talk to a running switch.

use crate::output;
use anyhow::{Context, bail};
use serde_json::Value;
use std::io;
use std::process::ExitCode;

/// Where the switch's API is.
#[derive(clap::Args)]
pub(crate) struct Api {
    /// The API of the switch.
    #[arg(long, env = "TANDEM_API", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    api: String,
    /// A bearer token, if the API asks for one.
    #[arg(long, env = "TANDEM_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Who is to be noted as having asked for a change; USER unless set.
    #[arg(long, env = "TANDEM_AUTHOR", value_name = "NAME", hide = true)]
    author: Option<String>,
    /// Print the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Calls {
    #[command(flatten)]
    api: Api,
    /// Hang this call up instead of listing.
    #[arg(long, value_name = "ID")]
    hang_up: Option<String>,
    /// Only calls in this state: setup, ringing, answered, ending.
    #[arg(long)]
    state: Option<String>,
    /// Only calls of or to this gateway.
    #[arg(long)]
    gateway: Option<String>,
    /// The most calls to list, 1 to 1000.
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

#[derive(clap::Args)]
pub(crate) struct Gateways {
    #[command(flatten)]
    api: Api,
}

#[derive(clap::Args)]
pub(crate) struct Bans {
    #[command(flatten)]
    api: Api,
    /// Lift the ban of this address instead of listing.
    #[arg(long, value_name = "ADDRESS")]
    lift: Option<std::net::IpAddr>,
}

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Registrations {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    action: Option<RegistrationsAction>,
    /// Only bindings whose address of record or contact contains this.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    /// Only addresses of record after this one.
    #[arg(long, value_name = "AOR")]
    after: Option<String>,
    /// The most addresses of record to list, 1 to 1000.
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

#[derive(clap::Subcommand)]
enum RegistrationsAction {
    /// Remove the bindings of an address of record.
    Remove(RemoveRegistration),
}

#[derive(clap::Args)]
struct RemoveRegistration {
    #[command(flatten)]
    api: Api,
    /// The address of record, as the list has it.
    aor: String,
    /// Only the binding of this contact, as the list has it.
    #[arg(long)]
    contact: Option<String>,
}

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Nodes {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    action: Option<NodesAction>,
}

#[derive(clap::Subcommand)]
enum NodesAction {
    /// Assign a mark or a memo to a node.
    Set(SetNode),
    /// Forget a node that is dead or has left.
    Forget(ForgetNode),
    /// Raise the cluster's feature level, once no way back to an earlier release is wanted.
    Raise(RaiseLevel),
}

#[derive(clap::Args)]
struct SetNode {
    #[command(flatten)]
    api: Api,
    /// The node's name.
    name: String,
    /// What it is marked with, at most 256 bytes.
    #[arg(long)]
    mark: Option<String>,
    /// What is noted of it, at most 256 bytes.
    #[arg(long)]
    memo: Option<String>,
}

#[derive(clap::Args)]
struct RaiseLevel {
    #[command(flatten)]
    api: Api,
    /// To this one; unless set, as high as all nodes know that live.
    #[arg(long, value_name = "LEVEL")]
    to: Option<u16>,
}

#[derive(clap::Args)]
struct ForgetNode {
    #[command(flatten)]
    api: Api,
    /// The node's name.
    name: String,
}

#[derive(clap::Args)]
pub(crate) struct Suspensions {
    #[command(flatten)]
    api: Api,
    /// Lift the suspension of this name instead of listing.
    #[arg(long, value_name = "NAME")]
    lift: Option<String>,
}

impl Api {
    pub(crate) fn request(&self, method: &str, path: &str) -> anyhow::Result<Value> {
        self.send(method, path, None)
    }

    /// Who asks.
    pub(crate) fn author(&self) -> String {
        self.author.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default()
    }

    /// Asks the API, with a JSON document if there is one.
    pub(crate) fn send(&self, method: &str, path: &str, document: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.api.trim_end_matches('/'));
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent =
            config.timeout_global(Some(std::time::Duration::from_secs(10))).build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let author = self.author();
        if author.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && !author.is_empty() {
            request = request.header("Tandem-Author", author);
        }
        if document.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let text = document.map(Value::to_string).unwrap_or_default();
        let request = request.body(text).with_context(|| format!("'{url}' is no URL"))?;
        let mut response =
            agent.run(request).with_context(|| format!("no answer from {url}; is the switch running?"))?;
        let body = response.body_mut().read_to_string().context("the answer cannot be read")?;
        let json: Value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&body).unwrap_or(Value::String(body))
        };
        if !response.status().is_success() {
            let detail = json.get("detail").or(json.get("title")).and_then(Value::as_str).unwrap_or_default();
            bail!("{url}: {} {detail}", response.status());
        }
        Ok(json)
    }

    /// Prints the API's answer as it is, or as a table of these columns.
    pub(crate) fn print(&self, answer: &Value, rows: &str, columns: &[&str]) -> io::Result<()> {
        if self.json {
            return output::print(&format!("{answer:#}\n"));
        }
        let rows = answer.get(rows).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut table = vec![columns.iter().map(ToString::to_string).collect::<Vec<_>>()];
        table.extend(rows.iter().map(|row| columns.iter().map(|column| cell(&row[*column])).collect()));
        let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        output::print(&table.iter().map(line).collect::<String>())
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => format!("{float:.1}"),
            Some(_) | None => number.to_string(),
        },
        other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

impl Calls {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if let Some(id) = &self.hang_up {
            self.api.request("DELETE", &format!("/api/v1/calls/{}", escape(id)))?;
            output::print(&format!("hanging up {id}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut path = format!("/api/v1/calls?limit={}", self.limit);
        for (key, value) in [("state", &self.state), ("gateway", &self.gateway)] {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={}", escape(value)));
            }
        }
        let answer = self.api.request("GET", &path)?;
        let columns =
            ["id", "state", "caller", "called", "mapping_gateway", "routing_gateway", "duration_s", "codec"];
        self.api.print(&answer, "calls", &columns)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Percent-encodes a query value or a segment of a path (RFC 3986 §2.1).
pub(crate) fn escape(value: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Gateways {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let answer = self.api.request("GET", "/api/v1/gateways")?;
        let columns = [
            "name",
            "kind",
            "address",
            "state",
            "why",
            "calls",
            "cluster_calls",
            "max_calls",
            "attempts",
            "answered",
            "asr",
            "acd_s",
            "pdd_ms",
        ];
        self.api.print(&answer, "gateways", &columns)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Bans {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if let Some(address) = &self.lift {
            self.api.request("DELETE", &format!("/api/v1/bans/{}", escape(&address.to_string())))?;
            output::print(&format!("listening to {address} again\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let answer = self.api.request("GET", "/api/v1/bans")?;
        self.api.print(&answer, "bans", &["source", "since", "until", "left_s"])?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Registrations {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if let Some(RegistrationsAction::Remove(remove)) = self.action {
            return remove.execute();
        }
        let mut path = format!("/api/v1/registrations?limit={}&filter={}", self.limit, escape(&self.filter));
        if let Some(after) = &self.after {
            path.push_str(&format!("&after={}", escape(after)));
        }
        let answer = self.api.request("GET", &path)?;
        let columns = [
            "aor",
            "contact",
            "q",
            "expires_s",
            "nat",
            "unreachable_since",
            "transport",
            "source",
            "user_agent",
        ];
        self.api.print(&answer, "registrations", &columns)?;
        if let Some(next) = answer.get("next").and_then(Value::as_str).filter(|_| !self.api.json) {
            output::print(&format!("more: --after {next}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl RemoveRegistration {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let mut path = format!("/api/v1/registrations/{}", escape(&self.aor));
        if let Some(contact) = &self.contact {
            path.push_str(&format!("?contact={}", escape(contact)));
        }
        self.api.request("DELETE", &path)?;
        output::print(&format!("removed {}\n", self.contact.as_ref().unwrap_or(&self.aor)))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Nodes {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Some(NodesAction::Set(set)) => {
                anyhow::ensure!(set.mark.is_some() || set.memo.is_some(), "nothing to set: --mark or --memo");
                let mut note = serde_json::Map::new();
                note.extend(set.mark.map(|mark| ("mark".to_owned(), Value::String(mark))));
                note.extend(set.memo.map(|memo| ("memo".to_owned(), Value::String(memo))));
                let path = format!("/api/v1/nodes/{}", escape(&set.name));
                set.api.send("PATCH", &path, Some(&Value::Object(note)))?;
                output::print(&format!("noted of {}\n", set.name))?;
            }
            Some(NodesAction::Forget(forget)) => {
                forget.api.request("DELETE", &format!("/api/v1/nodes/{}", escape(&forget.name)))?;
                output::print(&format!("forgot {}\n", forget.name))?;
            }
            Some(NodesAction::Raise(raise)) => {
                let document = serde_json::json!({ "level": raise.to });
                let answer = raise.api.send("POST", "/api/v1/feature-level", Some(&document))?;
                output::print(&format!(
                    "the cluster's feature level is {}\n",
                    cell(&answer["feature_level"])
                ))?;
            }
            None => {
                let answer = self.api.request("GET", "/api/v1/nodes")?;
                let columns = [
                    "name",
                    "mark",
                    "state",
                    "addresses",
                    "version",
                    "feature_level",
                    "config_revision",
                    "calls",
                    "cps",
                    "started_at",
                    "accessed_at",
                    "memo",
                ];
                self.api.print(&answer, "nodes", &columns)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Suspensions {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if let Some(name) = &self.lift {
            self.api.request("DELETE", &format!("/api/v1/suspensions/{}", escape(name)))?;
            output::print(&format!("hearing {name} again\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let answer = self.api.request("GET", "/api/v1/suspensions")?;
        self.api.print(&answer, "suspensions", &["name", "kind", "since", "until", "left_s"])?;
        Ok(ExitCode::SUCCESS)
    }
}
