//! PostgreSQL servers for tests: real ones, on free ports of 127.0.0.1, gone with their owners.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Whom the server runs as where the tests run as root, as whom it refuses to.
const NOBODY: &str = "65534";

/// A server with a database `postgres`, whose user `postgres` needs no password; it ends with its owner.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
    programs: PathBuf,
    /// How its clients are to connect.
    mode: &'static str,
}

impl Server {
    /// A server on a free port.
    ///
    /// # Panics
    /// Where PostgreSQL is not installed, or does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        // The server runs as another user than the one the folder belongs to.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open).expect("it is ours");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut server = Self { child: None, port, folder, programs: programs(), mode: "disable" };
        let data = server.data();
        let mut made = server.command("initdb");
        made.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--pgdata"])
            .arg(&data);
        assert!(made.status().expect("initdb runs").success(), "initdb fails");
        server.start_again();
        server
    }

    /// Has it take connections over TLS by this certificate and key (PEM), and no others, from now on.
    ///
    /// # Panics
    /// If it does not start again.
    pub fn demand_tls(&mut self, cert: &str, key: &str) {
        self.kill();
        let data = self.data();
        let write = |name: &str, text: &str, mode: u32| {
            let path = data.join(name);
            std::fs::write(&path, text).expect("the server's folder is writable");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
            if is_root() {
                let id = NOBODY.parse().expect("a number");
                std::os::unix::fs::chown(&path, Some(id), Some(id)).expect("we are root");
            }
        };
        write("server.crt", cert, 0o644);
        write("server.key", key, 0o600);
        write("pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n", 0o644);
        let settings = data.join("postgresql.auto.conf");
        std::fs::write(settings, "ssl = on\n").expect("the server's folder is writable");
        self.mode = "require";
        self.start_again();
    }

    /// Starts it again after it was killed, with what it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        let mut command = self.command("postgres");
        let port = self.port.to_string();
        command.arg("-D").arg(self.data()).args(["-h", "127.0.0.1", "-p", &port, "-k", ""]);
        self.child = Some(command.spawn().expect("postgres runs"));
        let end = Instant::now() + STARTS_WITHIN;
        while self.query("SELECT 1").is_none() {
            assert!(Instant::now() < end, "PostgreSQL does not answer on {port}");
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Kills it.
    ///
    /// # Panics
    /// If it is not there.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        end(&mut child);
        let end = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            assert!(Instant::now() < end, "PostgreSQL goes on listening");
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres?sslmode={}", self.port, self.mode)
    }

    /// What a query says, a line for each row; `None` if it fails.
    ///
    /// # Panics
    /// Where there is no `psql`.
    pub fn query(&self, sql: &str) -> Option<Vec<String>> {
        let mut command = self.command("psql");
        command.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--command",
            sql,
            &self.url(),
        ]);
        let output = command.stdout(Stdio::piped()).output().expect("psql runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then(|| text.lines().map(str::to_owned).collect())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]);
                command.arg(self.programs.join(program));
                command
            }
            false => Command::new(self.programs.join(program)),
        };
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
    }
}

/// Ends a server at once, its own children included (SIGQUIT: immediate shutdown).
fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = Command::new("kill").arg("-QUIT").arg(child.id().to_string()).status();
    let _ = child.wait();
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout.starts_with(b"0\n")
}

/// Where PostgreSQL's programs are: Debian has them beside no path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let has_server = |folder: &Path| folder.join("postgres").is_file();
    let found = versions.map(|version| version.path().join("bin")).filter(|folder| has_server(folder)).max();
    found.expect("PostgreSQL is installed (tests/run does that)")
}
