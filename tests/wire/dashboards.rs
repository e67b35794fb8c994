//! Every panel of the dashboards shows something: a Prometheus scrapes two nodes under a short load, and answers each query.

use crate::agents::{Agents, Answers, Side};
use crate::nodes::Cluster;
use crate::place::Place;
use crate::process::Process;
use crate::until::{SOON, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The shortest span for a rate: four scrapes.
const RATE_INTERVAL: &str = "4s";

/// The dashboards, by their files.
fn dashboards() -> Vec<(String, Value)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboards"));
    let files = std::fs::read_dir(folder).expect("the dashboards").map(|entry| entry.expect("a file").path());
    let boards = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("readable");
        (path.display().to_string(), serde_json::from_str(&text).expect("JSON"))
    };
    boards.map(read).collect()
}

struct Prometheus {
    address: SocketAddrV4,
    _process: Process,
}

impl Prometheus {
    /// Scrapes those every second.
    fn start(place: &Place, targets: &[SocketAddrV4]) -> Self {
        let address = SocketAddrV4::new(place.switch, place.port());
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let configuration = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: tandem\n    static_configs: [{{targets: {targets:?}}}]\n"
        );
        let file = place.folder.join("prometheus.yml");
        std::fs::write(&file, configuration).expect("the test's folder is writable");
        let mut command = Command::new("prometheus");
        command
            .arg("--config.file")
            .arg(&file)
            .arg("--storage.tsdb.path")
            .arg(place.folder.join("prometheus"));
        command.arg("--web.listen-address").arg(address.to_string());
        let process = Process::start("prometheus", command, &place.folder, Vec::new());
        let prometheus = Self { address, _process: process };
        until("Prometheus has scraped both", SOON, || {
            prometheus
                .ask("sum(up)")
                .filter(|found| found.len() == 1 && found[0]["value"][1] == "2")
                .map(|_| ())
        });
        prometheus
    }

    /// What a query finds now; `None` if it is not answered.
    fn ask(&self, query: &str) -> Option<Vec<Value>> {
        let url = format!("http://{}/api/v1/query", self.address);
        let mut answer = ureq::get(&url).query("query", query).call().ok()?;
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?;
        answer["data"]["result"].as_array().cloned()
    }
}

#[test]
fn every_panel_of_the_dashboards_has_data_under_a_short_load() {
    let place = Place::new();
    let (host, port) = (place.gateway_port(), place.port());
    let caller = SocketAddrV4::new(place.caller, port);
    let vendor = format!(
        "[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\nmax_calls = 500\n\
         [registrar]\ndomains = [\"example.com\"]\n[[endpoint]]\nuser = \"1000\"\npassword = \"secret\"\nnumber = \"1000\"\n"
    );
    let cluster = Cluster::start(place, 2, &vendor);
    let prometheus = Prometheus::start(&cluster.place, &[cluster.admin(0), cluster.admin(1)]);
    let agents = Agents::start(caller, host, Answers::AtOnce);
    let nodes = [cluster.sip(0), cluster.sip(1)];
    let mut missing = BTreeSet::new();
    // What has a rate has to have changed between scrapes.
    for round in 0..6 {
        let numbers = round * 20..round * 20 + 20;
        agents.call_all(numbers.clone(), 20, &nodes);
        agents.are_answered(round * 5 + 20, SOON);
        for number in numbers.clone().filter(|number| number % 4 > 0) {
            agents.hang_up(if number % 2 == 0 { Side::Caller } else { Side::Callee }, number);
        }
        // The pace of the load, not a wait for anything.
        std::thread::sleep(Duration::from_millis(500));
    }
    until("every panel has data", Duration::from_secs(30), || {
        missing.clear();
        for (file, board) in dashboards() {
            for panel in board["panels"].as_array().expect("panels") {
                for target in panel["targets"].as_array().expect("targets") {
                    let query = target["expr"].as_str().expect("a query");
                    let query = query.replace("$__rate_interval", RATE_INTERVAL).replace("$instance", ".*");
                    let found =
                        prometheus.ask(&query).unwrap_or_else(|| panic!("{file}: {query} is refused"));
                    if found.is_empty() {
                        missing.insert(format!("{file}: {}: {query}", panel["title"]));
                    }
                }
            }
        }
        println!("{} queries without data: {missing:#?}", missing.len());
        missing.is_empty().then_some(())
    });
}
