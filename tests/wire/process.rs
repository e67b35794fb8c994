//! Children that never outlive their test.

use crate::until::until;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// How much of a log a failing test prints.
const PRINTED: usize = 12_000;

/// A child process. It is killed when this goes away, and if that is because the test failed, its logs are printed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    logs: Vec<PathBuf>,
}

impl Process {
    /// Starts `command`, with its output in `<folder>/<name>.out`; `logs` are further files that it writes.
    pub(crate) fn start(name: &str, mut command: Command, folder: &Path, logs: Vec<PathBuf>) -> Process {
        let out = folder.join(format!("{name}.out"));
        let file = File::create(&out).expect("the test's folder is writable");
        let err = file.try_clone().expect("a file can be shared");
        let spawned = command.stdin(Stdio::null()).stdout(file).stderr(err).spawn();
        let child = spawned.unwrap_or_else(|why| panic!("{command:?}: {why}"));
        Process { name: name.to_owned(), child, logs: logs.into_iter().chain([out]).collect() }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self, at_most: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, at_most, || self.ended())
    }

    /// What it has written so far to standard output and standard error.
    pub(crate) fn output(&self) -> String {
        self.logs.last().and_then(|out| fs::read_to_string(out).ok()).unwrap_or_default()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends it a signal, as kill(1) names it.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = Command::new("kill").arg(signal).arg(self.id().to_string()).status();
        assert!(kill.expect("kill is everywhere").success(), "{} takes no signal", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            for log in &self.logs {
                print_tail(&self.name, log);
            }
        }
    }
}

fn print_tail(name: &str, log: &Path) {
    let Ok(bytes) = fs::read(log) else { return };
    if bytes.is_empty() {
        return;
    }
    let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(PRINTED)..]).into_owned();
    eprintln!("──── {name}: {} ({} bytes)\n{tail}", log.display(), bytes.len());
}
