//! Redis servers and sentinels for tests: real ones, on free ports of 127.0.0.1, gone with their owners.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A running server; it ends with its owner.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    folder: TempDir,
}

impl Server {
    /// A server on a free port, with these options besides.
    ///
    /// # Panics
    /// Where there is no `redis-server`, or it does not start.
    pub fn start(options: &[&str]) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder for the server"));
        let child = spawn(port, folder.path(), options);
        let server = Self { child, port, folder };
        server.wait();
        server
    }

    /// A sentinel that watches the master at that port by the name `tandem`, and needs no other's opinion.
    ///
    /// # Panics
    /// Where there is no `redis-server`, or it does not start.
    pub fn sentinel_of(master: u16) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder for the sentinel"));
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor tandem 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds tandem 500\nsentinel failover-timeout tandem 3000\n"
        );
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").current_dir(folder.path()).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server is installed (tests/run does that)");
        let server = Self { child, port, folder };
        server.wait();
        server
    }

    /// Kills it and starts it again with nothing in it.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_empty(&mut self) {
        self.kill();
        self.child = spawn(self.port, self.folder.path(), &[]);
        self.wait();
    }

    /// Kills it.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What a script says, in lines; nothing while it does not answer.
    ///
    /// # Panics
    /// Where there is no `redis-cli`.
    pub fn eval(&self, script: &str) -> Vec<String> {
        self.says(&["EVAL", script, "0"]).lines().map(str::to_owned).collect()
    }

    /// Whether it is a master, and answers.
    ///
    /// # Panics
    /// Where there is no `redis-cli`.
    pub fn is_master(&self) -> bool {
        self.says(&["ROLE"]).starts_with("master")
    }

    /// Whether it is a sentinel that could have a replica take its master's place.
    ///
    /// # Panics
    /// Where there is no `redis-cli`.
    pub fn knows_a_replica(&self) -> bool {
        let replicas = self.says(&["SENTINEL", "REPLICAS", "tandem"]);
        let mut lines = replicas.lines().skip_while(|line| *line != "master-link-status");
        lines.nth(1) == Some("ok")
    }

    fn says(&self, command: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.port.to_string(), "--raw"]).args(command);
        let output = client.output().expect("redis-cli is installed (tests/run does that)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How many of its keys match a pattern; 0 while it does not answer.
    ///
    /// # Panics
    /// Where there is no `redis-cli`.
    pub fn count_keys(&self, pattern: &str) -> usize {
        self.says(&["KEYS", pattern]).lines().filter(|line| line.starts_with('{')).count()
    }

    /// Sends it a signal by name: STOP, CONT.
    ///
    /// # Panics
    /// If it does not take it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Notes every command that it is given from now on in that file.
    ///
    /// # Panics
    /// Where there is no `redis-cli`, or the file cannot be written.
    pub fn monitor(&self, file: &Path) -> Monitor {
        let out = File::create(file).expect("the test's folder is writable");
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string(), "MONITOR"]).stdin(Stdio::null()).stdout(out);
        let child = command.spawn().expect("redis-cli is installed (tests/run does that)");
        let monitor = Monitor { child, file: file.to_owned() };
        let end = Instant::now() + STARTS_WITHIN;
        while monitor.commands().is_empty() {
            assert!(Instant::now() < end, "redis-cli does not say what the server does");
            thread::park_timeout(Duration::from_millis(10));
        }
        monitor
    }

    fn wait(&self) {
        let end = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "redis-server does not listen on {}", self.port);
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// What notes the commands that a server is given.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    file: PathBuf,
}

impl Monitor {
    /// The commands so far, a line each.
    ///
    /// # Panics
    /// If its file has gone.
    pub fn commands(&self) -> Vec<String> {
        let text = fs::read(&self.file).expect("the monitor writes it");
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &Path, options: &[&str]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    command.args(options).current_dir(folder).stdout(Stdio::null());
    command.spawn().expect("redis-server is installed (tests/run does that)")
}

/// A port that nobody listens at now.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
