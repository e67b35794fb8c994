//! Tandem as an operator runs it: one customer, one vendor, CDRs into a file, its state in memory or in Redis.

use super::{Lab, Registrar, first_line};
use crate::load::{CALLEE, CALLER, DOMAIN, PASSWORD, SERVER};
use anyhow::Result;
use std::fs;
use std::path::Path;

pub(super) fn command(lab: &Lab, folder: &Path, store: &str) -> Result<Vec<String>> {
    let binary = lab.tandem.canonicalize()?;
    let config = folder.join("tandem.toml");
    fs::write(&config, configuration(lab, folder, store) + &registrar(lab))?;
    let parts = [&binary, Path::new("run"), Path::new("--config"), &config];
    Ok(parts.iter().map(|part| part.display().to_string()).collect())
}

fn configuration(lab: &Lab, folder: &Path, store: &str) -> String {
    // The admission limits stay out of the way; the system's is a million.
    format!(
        r#"[node]
name = "bench"
[[listen]]
transport = "udp"
bind = "{SERVER}"
[limits]
max_calls = 1000000
[store]
url = "{store}"
[admin]
bind = "127.0.0.1:5061"
[cdr]
sinks = [{{ type = "jsonl", path = "{cdrs}" }}]
[parameters]
{parameters}
[[mapping_gateway]]
name = "caller"
sources = ["{caller}"]
[[routing_gateway]]
name = "callee"
address = "{CALLEE}"
prefixes = [""]
"#,
        parameters = lab.parameters,
        cdrs = folder.join("cdr.jsonl").display(),
        caller = CALLER.ip(),
    )
}

/// The sections of phones that register; the addresses that calls come from are no strangers here either.
fn registrar(lab: &Lab) -> String {
    let authenticate = match lab.registrar {
        Registrar::Off => return String::new(),
        Registrar::Open => false,
        Registrar::Digest => true,
    };
    let phone = |number| format!("[[endpoint]]\nuser = \"u{number}\"\npassword = \"{PASSWORD}\"\n");
    let phones: String = (0..lab.phones).map(phone).collect();
    format!(
        "[registrar]\ndomains = [\"{DOMAIN}\"]\nauthenticate = {authenticate}\nalgorithms = [\"MD5\"]\n{phones}"
    )
}

pub(super) fn version(lab: &Lab) -> String {
    let revision = first_line(Path::new("git"), &["describe", "--always", "--dirty"]);
    format!("{} ({revision})", first_line(&lab.tandem, &["--version"]))
}
