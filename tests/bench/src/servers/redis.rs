//! The Redis of a Tandem that is measured with a shared store: Debian's, in memory alone, on the load generator's core.

use super::first_line;
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PORT: u16 = 6390;

/// Where the store is.
pub(super) const URL: &str = "redis://127.0.0.1:6390";

const START_MAX: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// A server that runs; dropped, it is ended.
pub(super) struct Redis(Child);

impl Redis {
    pub(super) fn start(folder: &Path, core: usize) -> Result<Self> {
        if listens() {
            bail!("{URL} is taken");
        }
        let mut redis = Command::new("taskset")
            .args(["-c", &core.to_string(), "redis-server", "--bind", "127.0.0.1", "--save", ""])
            .args(["--port", &PORT.to_string()])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
            .context("cannot start redis-server")?;
        let begun = Instant::now();
        while !listens() {
            if begun.elapsed() > START_MAX || !matches!(redis.0.try_wait(), Ok(None)) {
                bail!("redis-server does not listen on port {PORT}");
            }
            sleep(LOOK);
        }
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listens() -> bool {
    TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT)).is_ok()
}

pub(super) fn version() -> String {
    first_line(Path::new("redis-server"), &["--version"])
}
