//! The switch: the real binary.

use crate::cdr::Cdr;
use crate::http::{self, Answer};
use crate::place::Place;
use crate::process::Process;
use crate::until::{SOON, until};
use serde_json::Value;
use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A running switch.
#[derive(Debug)]
pub(crate) struct Switch {
    process: Process,
    admin: SocketAddrV4,
    /// Where it takes SIP.
    pub(crate) sip: SocketAddrV4,
    cdrs: PathBuf,
}

/// All records of a switch that has ended.
#[derive(Debug)]
pub(crate) struct Cdrs {
    /// One for each call.
    pub(crate) calls: Vec<Cdr>,
    /// One for each attempt that did not connect.
    pub(crate) attempts: Vec<Cdr>,
}

impl Switch {
    /// Starts the binary with these options and the configuration that `configuration` makes of (SIP address, admin
    /// address, CDR file); it is ready when this returns.
    pub(crate) fn start(
        place: &Place,
        options: &[&str],
        configuration: impl FnOnce(SocketAddrV4, SocketAddrV4, &str) -> String,
    ) -> Switch {
        let sip = SocketAddrV4::new(place.switch, place.port());
        let admin = SocketAddrV4::new(place.switch, place.port());
        let cdrs = place.folder.join("cdr.jsonl");
        let text = configuration(sip, admin, &cdrs.display().to_string());
        Switch::start_in(&place.folder, (sip, admin), options, &text)
    }

    /// Starts the binary in a folder, where its CDRs are expected in `cdr.jsonl`; it is ready when this returns.
    pub(crate) fn start_in(
        folder: &Path,
        (sip, admin): (SocketAddrV4, SocketAddrV4),
        options: &[&str],
        text: &str,
    ) -> Switch {
        Switch::start_as(folder, (sip, admin), options, text, None)
    }

    /// The same with a variable of the environment.
    pub(crate) fn start_as(
        folder: &Path,
        (sip, admin): (SocketAddrV4, SocketAddrV4),
        options: &[&str],
        text: &str,
        variable: Option<(&str, &str)>,
    ) -> Switch {
        let (file, cdrs) = (folder.join("tandem.toml"), folder.join("cdr.jsonl"));
        fs::write(&file, text).expect("the test's folder is writable");
        let mut command = binary(folder);
        command.arg("run").arg("--config").arg(&file).args(options).env("RUST_BACKTRACE", "1");
        command.envs(variable);
        let process = Process::start("tandem", command, folder, vec![file, cdrs.clone()]);
        let mut switch = Switch { process, admin, sip, cdrs };
        until("the switch is ready", SOON, || {
            assert_eq!(switch.process.ended(), None, "the switch ended at its start");
            http::request(admin, "GET", "/readyz").ok().filter(|answer| answer.status == 200)
        });
        switch
    }

    /// Asks its HTTP API.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Answer {
        http::request(self.admin, method, path).unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    }

    /// Its current calls.
    pub(crate) fn calls(&self) -> Vec<Value> {
        self.ask("GET", "/api/v1/calls").json()["calls"].as_array().expect("a list").clone()
    }

    /// Waits for a call in that state and gives its id.
    pub(crate) fn call_in(&self, state: &str) -> String {
        let find = || self.calls().into_iter().find(|call| call["state"] == state);
        let call = until(&format!("a call that is {state}"), SOON, find);
        call["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until every call has ended. For 64·T1 more each is kept to take what still arrives of its peers.
    pub(crate) fn is_idle(&self) {
        let ended = |calls: Vec<Value>| calls.iter().all(|call| call["state"] == "ending");
        until("all calls have ended", SOON, || ended(self.calls()).then_some(()));
    }

    /// The sum of a metric over those of its series that have this in their labels.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let metrics = self.ask("GET", "/metrics").body;
        let series = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        let of_name = series.filter(|(id, _)| id.split('{').next() == Some(name) && id.contains(label));
        of_name.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
    }

    /// The only call's CDR, once the switch has ended in good order, when every CDR must be in the file.
    pub(crate) fn only_cdr(self) -> Cdr {
        let mut calls = self.stop().calls;
        assert_eq!(calls.len(), 1, "one call, one record: {calls:#?}");
        calls.remove(0)
    }

    /// Ends the switch in good order, which an idle one does at once, and gives all its CDRs.
    pub(crate) fn stop(mut self) -> Cdrs {
        self.is_idle();
        self.process.terminate();
        let status = self.process.end(SOON);
        assert!(status.success(), "the switch ended with {status}");
        let (calls, attempts) = Cdr::read(&self.cdrs).into_iter().partition(Cdr::is_of_a_call);
        Cdrs { calls, attempts }
    }

    /// Asks it to end, as an orchestrator does.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Sends it a signal, as kill(1) names it.
    pub(crate) fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Asks it to read its certificates anew.
    pub(crate) fn hang_up(&self) {
        self.process.signal("-HUP");
    }

    /// Waits for its end, which must be in good order, and gives all its CDRs of calls.
    pub(crate) fn ends(mut self, at_most: Duration) -> Vec<Cdr> {
        let status = self.process.end(at_most);
        assert!(status.success(), "the switch ended with {status}");
        Cdr::read(&self.cdrs).into_iter().filter(Cdr::is_of_a_call).collect()
    }

    /// Whether the process has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for its end, which must be in failure, and gives what it has said.
    pub(crate) fn fails(mut self, at_most: Duration) -> String {
        let status = self.process.end(at_most);
        assert_eq!(status.code(), Some(1));
        self.log()
    }

    /// How much memory it has in use (proc(5), `VmRSS`).
    pub(crate) fn memory_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Where its API is.
    pub(crate) fn api(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// Fails unless the process is the one that was started and still runs.
    pub(crate) fn is_alive(&mut self) {
        assert_eq!(self.process.ended(), None, "the switch is gone");
        assert_eq!(self.ask("GET", "/healthz").status, 200);
    }
}

/// The binary, in the test's folder. Nothing of the environment that runs the tests may configure it.
pub(crate) fn binary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command.current_dir(folder);
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("TANDEM_") || name.starts_with("SS_"))
    {
        command.env_remove(name);
    }
    command
}
