//! The servers under test: how each is configured, started, watched and ended.

mod kamailio;
mod redis;
mod tandem;

use crate::load::{CALLEE, CALLER, SERVER};
use crate::measure::process::{Cpu, Memory, cpu, is_bound, memory, tree};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long a server may take until it listens; under valgrind, too.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to leave, per signal; under valgrind, too.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Between two looks at a server that starts or leaves.
const LOOK: Duration = Duration::from_millis(20);

/// A server that can be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Tandem,
    /// The same, with its state in a Redis of its own, which is not part of what is measured.
    TandemRedis,
    Kamailio(kamailio::Allocator),
    /// A shell command.
    Other(String),
}

impl Server {
    /// Whether it is a Tandem, which has parameters that nobody else has.
    pub(crate) fn is_tandem(&self) -> bool {
        matches!(self.kind, Kind::Tandem | Kind::TandemRedis)
    }

    /// Whether what it knows outlives it.
    pub(crate) fn survives_a_restart(&self) -> bool {
        self.kind == Kind::TandemRedis
    }
}

impl FromStr for Server {
    type Err = String;

    /// `tandem`, `tandem-redis`, `kamailio`, `kamailio-fm` or `NAME=COMMAND`.
    fn from_str(text: &str) -> Result<Server, String> {
        let (name, kind) = match (text, text.split_once('=')) {
            ("tandem", _) => (text, Kind::Tandem),
            ("tandem-redis", _) => (text, Kind::TandemRedis),
            ("kamailio", _) => (text, Kind::Kamailio(kamailio::Allocator::Default)),
            ("kamailio-fm", _) => (text, Kind::Kamailio(kamailio::Allocator::Quickest)),
            (_, Some((name, command))) if !name.is_empty() && !command.is_empty() => {
                (name, Kind::Other(command.to_owned()))
            }
            _ => {
                return Err("neither tandem, tandem-redis, kamailio, kamailio-fm nor NAME=COMMAND".to_owned());
            }
        };
        Ok(Server { name: name.to_owned(), kind })
    }
}

/// Where servers run, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    /// Configurations, logs and what the servers write.
    pub(crate) folder: PathBuf,
    pub(crate) tandem: PathBuf,
    pub(crate) kamailio_children: u32,
    /// The core that servers are pinned to.
    pub(crate) core: usize,
    /// Whether phones may register.
    pub(crate) registrar: Registrar,
    /// How many.
    pub(crate) phones: u32,
    /// The core that Redis is pinned to, which the generator has, too.
    pub(crate) redis_core: usize,
    /// Lines of Tandem's `[parameters]`.
    pub(crate) parameters: String,
}

/// What a server asks of phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registrar {
    /// They cannot register.
    Off,
    /// Nothing.
    Open,
    /// Credentials: digest with MD5, which all servers here know.
    Digest,
}

impl Lab {
    /// Starts a server in a folder of its own and waits until it listens. `wrapper` goes in front of its command.
    ///
    /// # Errors
    /// The address is taken, or the server does not come up.
    pub(crate) fn start(&self, server: &Server, wrapper: &[String]) -> Result<Running> {
        if is_bound(SERVER) {
            bail!("{SERVER} (UDP) is taken: another server runs on this machine");
        }
        let folder = self.folder.join(&server.name);
        // What the last one wrote, CDRs above all, would only pile up.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let redis = match server.kind {
            Kind::TandemRedis => Some(redis::Redis::start(&folder, self.redis_core)?),
            Kind::Tandem | Kind::Kamailio(_) | Kind::Other(_) => None,
        };
        let command = match &server.kind {
            Kind::Tandem => tandem::command(self, &folder, "memory:")?,
            Kind::TandemRedis => tandem::command(self, &folder, redis::URL)?,
            Kind::Kamailio(allocator) => kamailio::command(self, *allocator, &folder)?,
            Kind::Other(command) => ["sh", "-c", &format!("exec {command}")].map(str::to_owned).to_vec(),
        };
        let log = folder.join("log");
        let core = ["taskset", "-c", &self.core.to_string()].map(str::to_owned);
        let command = [&core[..], wrapper, &command].concat();
        let child = spawn(&command, &log)?;
        let pid = i32::try_from(child.id())?;
        let mut running = Running { name: server.name.clone(), command, child, pid, log, _redis: redis };
        running.wait_until_it_listens()?;
        Ok(running)
    }

    /// The versions of what is tested, as the programs say.
    pub(crate) fn version(&self, server: &Server) -> String {
        match &server.kind {
            Kind::Tandem => tandem::version(self),
            Kind::TandemRedis => format!("{}, {}", tandem::version(self), redis::version()),
            Kind::Kamailio(_) => kamailio::version(),
            Kind::Other(command) => command.clone(),
        }
    }
}

/// What a program says first.
pub(crate) fn first_line(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

/// A server that runs; dropped, it is ended.
pub(crate) struct Running {
    pub(crate) name: String,
    command: Vec<String>,
    child: Child,
    pid: i32,
    log: PathBuf,
    /// Ends after the server.
    _redis: Option<redis::Redis>,
}

impl Running {
    /// # Errors
    /// It is gone.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        cpu(self.pid).with_context(|| self.last_words())
    }

    /// # Errors
    /// It is gone.
    pub(crate) fn memory(&self) -> Result<Memory> {
        memory(self.pid).with_context(|| self.last_words())
    }

    /// Ends it in good order and starts it again, with its configuration and its store as they are.
    ///
    /// # Errors
    /// It does not come up again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.stop();
        self.child = spawn(&self.command, &self.log)?;
        self.pid = i32::try_from(self.child.id())?;
        self.wait_until_it_listens()
    }

    /// Asks it to leave, twice, and then makes it. Only processes that it started are touched.
    pub(crate) fn stop(&mut self) {
        for _ in 0..2 {
            // A process that is gone but not waited for keeps its id, so that no other can have it.
            if self.has_left() || kill(Pid::from_raw(self.pid), Signal::SIGTERM).is_err() {
                break;
            }
            if self.leaves_within(STOP_MAX) {
                return;
            }
        }
        for pid in tree(self.pid) {
            if kill(Pid::from_raw(pid), Signal::SIGKILL).is_err() {
                continue;
            }
        }
        self.leaves_within(STOP_MAX);
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let begun = Instant::now();
        while !is_bound(SERVER) {
            if self.has_left() || begun.elapsed() > START_MAX {
                self.stop();
                bail!("{} does not listen on {SERVER}. {}", self.name, self.last_words());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn has_left(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    fn leaves_within(&mut self, patience: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if self.has_left() && !is_bound(SERVER) {
                return true;
            }
            std::thread::sleep(LOOK);
        }
        false
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n");
        format!("The last that {} said (all of it: {}):\n{last}", self.name, self.log.display())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a command, with all that it says in a file.
fn spawn(command: &[String], log: &Path) -> Result<Child> {
    let output = File::options().create(true).append(true).open(log)?;
    let (program, arguments) = command.split_first().context("no command")?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start {program}"))
}

/// Fails early and clearly if an address of the bench is taken.
pub(crate) fn addresses_are_free() -> Result<()> {
    for address in [SERVER, CALLER, CALLEE] {
        if is_bound(address) {
            bail!("{address} (UDP) is taken; the bench needs {SERVER}, {CALLER} and {CALLEE}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_one_of_two_names_or_a_name_with_its_command() {
        let parse = |text: &str| text.parse::<Server>();
        let kamailio = |allocator| Ok(Kind::Kamailio(allocator));
        assert_eq!(parse("kamailio").map(|server| server.kind), kamailio(kamailio::Allocator::Default));
        assert_eq!(parse("kamailio-fm").map(|server| server.kind), kamailio(kamailio::Allocator::Quickest));
        let other = parse("mine=/opt/mine --set a=b").expect("a server");
        assert_eq!(
            (other.name.as_str(), other.kind),
            ("mine", Kind::Other("/opt/mine --set a=b".to_owned()))
        );
        for wrong in ["", "mine", "=x", "mine="] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
