//! Addresses and a folder that no other test has.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

/// Where one test's processes live. The process id is in the addresses and the test's number within the process in
/// the ports, so that neither tests in processes of their own nor tests in threads get in each other's way.
#[derive(Debug)]
pub(crate) struct Place {
    /// The switch's address, for SIP and for HTTP.
    pub(crate) switch: Ipv4Addr,
    /// Where its customer calls from.
    pub(crate) caller: Ipv4Addr,
    /// Where gateways listen.
    pub(crate) gateway: Ipv4Addr,
    /// An address that the switch does not know.
    pub(crate) stranger: Ipv4Addr,
    /// For configuration, logs and CDRs.
    pub(crate) folder: PathBuf,
    next_port: AtomicU16,
}

/// Ports that one test may use.
const PORTS_PER_TEST: u16 = 100;

static TESTS_HERE: AtomicU16 = AtomicU16::new(0);

impl Place {
    /// A place for the test that runs in this thread.
    pub(crate) fn new() -> Place {
        let pid = process::id();
        let [_, high, middle, low] = pid.to_be_bytes();
        // A Linux process id has at most 22 bits, so two bits of the second byte are left to tell roles apart.
        let address = |role: u8| Ipv4Addr::new(127, (role << 6) | high, middle, low);
        let number = TESTS_HERE.fetch_add(1, Ordering::Relaxed);
        let name = thread::current().name().unwrap_or("unnamed").replace("::", ".");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wire").join(name);
        match fs::remove_dir_all(&folder) {
            Ok(()) => {}
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => panic!("{}: {why}", folder.display()),
        }
        fs::create_dir_all(&folder).expect("target is writable");
        Place {
            switch: address(1),
            caller: address(2),
            gateway: address(3),
            stranger: address(0),
            folder,
            next_port: AtomicU16::new(5060 + number * PORTS_PER_TEST),
        }
    }

    /// A port that nothing in this test has yet.
    pub(crate) fn port(&self) -> u16 {
        self.next_port.fetch_add(1, Ordering::Relaxed)
    }

    /// A port for RTP: even, with its RTCP port after it, and apart from the others.
    pub(crate) fn media_port(&self) -> u16 {
        20_000 + 4 * self.port() % 40_000
    }

    /// A fresh port at a gateway's address.
    pub(crate) fn gateway_port(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.gateway, self.port())
    }
}
