//! A way to a server that can be closed: connections stay, and nothing comes through.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a closed gate is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The way.
pub(crate) struct Gate {
    at: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Gate {
    /// An open way to the server at that URL.
    pub(crate) fn to(url: &str) -> Gate {
        let address = url.trim_start_matches("redis://").split('/').next().unwrap_or_default();
        let server: SocketAddr = address.parse().expect("an address and port");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("it is bound");
        let closed = Arc::new(AtomicBool::new(false));
        let gate = closed.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(server) else { continue };
                for stream in [&from, &to] {
                    // What is slower than without is not what the test is about.
                    let _ = stream.set_nodelay(true);
                }
                let (Ok(back), Ok(answers)) = (from.try_clone(), to.try_clone()) else { continue };
                let (there, here) = (gate.clone(), gate.clone());
                thread::spawn(move || pass(from, to, &there));
                thread::spawn(move || pass(answers, back, &here));
            }
        });
        Gate { at, closed }
    }

    /// The URL of the server, by this way.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.at)
    }

    /// Nothing comes through from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// What waited comes through, and all after it.
    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, closed: &AtomicBool) {
    let mut buffer = [0; 16_384];
    while let Ok(length) = from.read(&mut buffer)
        && length > 0
    {
        while closed.load(Ordering::Relaxed) {
            thread::park_timeout(LOOK);
        }
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}
