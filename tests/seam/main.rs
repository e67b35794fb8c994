//! The seam between pure code and I/O: the crates below it depend on nothing that does I/O, tells the time or rolls
//! dice, so that the simulation runs the very code that production runs.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// The crates below the seam; each that exists is checked.
const PURE: [&str; 5] = ["tandem-sip", "tandem-switch", "tandem-cluster", "tandem-config", "tandem-sim"];

/// Crates that do what pure code may not, and everything of ours above the seam.
const FORBIDDEN: [&str; 33] = [
    "async-std",
    "axum",
    "chrono",
    "crossbeam-channel",
    "fastrand",
    "getrandom",
    "hickory-resolver",
    "hyper",
    "log",
    "mio",
    "nix",
    "opentelemetry",
    "parking_lot",
    "prometheus",
    "quanta",
    "ractor",
    "rand",
    "rand_core",
    "redis",
    "reqwest",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "tandem-node",
    "tandem-store",
    "tandem-telemetry",
    "tandem-transport",
    "tokio",
    "tokio-util",
    "tonic",
    "tracing",
    "uuid",
];

/// Dependencies that are not looked into, and why.
const SEALED: [(&str, &str); 1] = [(
    "rsip",
    "only its vocabulary is used; its generators of tags and branches, which need uuid, are never called",
)];

/// The packages of the workspace and what they need in a normal build.
struct Graph {
    name: BTreeMap<String, String>,
    needs: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn of_the_workspace() -> Graph {
        let metadata = metadata();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let packages = list(&metadata["packages"]);
        let nodes = list(&metadata["resolve"]["nodes"]);
        let normal = |dep: &Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let needs = |node: &Value| {
            list(&node["deps"]).iter().filter(|dep| normal(dep)).map(|dep| text(&dep["pkg"])).collect()
        };
        Graph {
            name: packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect(),
            needs: nodes.iter().map(|node| (text(&node["id"]), needs(node))).collect(),
        }
    }

    /// A way from `package` to each forbidden crate that it needs.
    fn forbidden_ways(&self, package: &str) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![(package.to_owned(), self.name[package].clone())];
        let mut found = Vec::new();
        while let Some((id, way)) = open.pop() {
            let sealed = SEALED.iter().any(|(name, _)| *name == self.name[&id]);
            for needed in self.needs[&id].iter().filter(|_| !sealed) {
                let name = self.name[needed].as_str();
                if !seen.insert(needed) {
                    continue;
                }
                let way = format!("{way} → {name}");
                if FORBIDDEN.contains(&name) {
                    found.push(way);
                } else {
                    open.push((needed.clone(), way));
                }
            }
        }
        found
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // For this machine only: crates for others have not been downloaded and need not be.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new(cargo);
    command.args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
        "--filter-platform",
        &platform,
    ]);
    command.current_dir(root());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

#[test]
fn pure_crates_depend_on_nothing_that_does_io_tells_time_or_rolls_dice() {
    let graph = Graph::of_the_workspace();
    let pure: Vec<_> = graph.name.iter().filter(|(_, name)| PURE.contains(&name.as_str())).collect();
    assert!(pure.len() >= 4, "the pure crates are gone: {pure:?}");
    let ways: Vec<String> = pure.iter().flat_map(|(id, _)| graph.forbidden_ways(id)).collect();
    assert!(ways.is_empty(), "below the seam:\n{}", ways.join("\n"));
}

#[test]
fn the_search_finds_what_is_forbidden_at_any_depth() {
    let graph = Graph::of_the_workspace();
    let shell = graph.name.iter().find(|(_, name)| *name == "tandem-admin").expect("the HTTP API exists").0;
    let ways = graph.forbidden_ways(shell);
    assert!(ways.iter().any(|way| way.ends_with("→ tokio")), "{ways:?}");
    assert!(ways.iter().any(|way| way.contains("→ hyper") || way.contains("→ axum")), "{ways:?}");
}

#[test]
fn clippy_reads_the_seams_rules_in_every_pure_crate() {
    let rules = root().join("tests/seam/clippy.toml").canonicalize().expect("the rules exist");
    for name in PURE {
        let folder = root().join("crates").join(name.trim_start_matches("tandem-"));
        if folder.exists() {
            let linked = folder.join("clippy.toml").canonicalize();
            assert_eq!(linked.ok().as_ref(), Some(&rules), "{name} has no link to the rules");
        }
    }
}
