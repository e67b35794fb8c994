//! Our address on the way to a peer, as the kernel's routing table has it: where a socket takes any address, it is what
//! the peer is told, and where there are several sockets, it is what chooses between them.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tandem_sip::time::Mono;

/// How long an answer of the routing table is believed.
const LIFE: Duration = Duration::from_secs(10);

/// The most peers whose answers are kept; then all are forgotten. Asking again costs five system calls.
const PEERS_MAX: usize = 10_000;

/// Answers of the routing table.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses {
    towards: RwLock<HashMap<IpAddr, (IpAddr, Mono)>>,
}

impl LocalAddresses {
    /// Our address on the way to `remote`; loopback where there is no way.
    pub(crate) fn towards(&self, remote: SocketAddr, now: Mono) -> IpAddr {
        let known = self.towards.read().get(&remote.ip()).copied();
        if let Some((local, _)) = known.filter(|(_, asked_at)| now.since(*asked_at) < LIFE) {
            return local;
        }
        let local = ask(remote).unwrap_or(match remote {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
        let mut towards = self.towards.write();
        if towards.len() >= PEERS_MAX {
            towards.clear();
        }
        towards.insert(remote.ip(), (local, now));
        local
    }
}

/// Connects a socket and looks at its own end. Nothing is sent.
fn ask(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let addresses = LocalAddresses::default();
        for (remote, local) in [("127.0.0.7:5060", "127.0.0.1"), ("[::1]:5060", "::1")] {
            let remote = remote.parse().expect("an address");
            assert_eq!(addresses.towards(remote, Mono(0)).to_string(), local);
        }
    }

    #[test]
    fn an_answer_is_asked_for_again_after_its_life_and_the_number_of_them_is_bounded() {
        let addresses = LocalAddresses::default();
        let peer = |number: u32| SocketAddr::from((Ipv4Addr::from(0x7F00_0001 + number), 5060));
        let wrong = (IpAddr::from([192, 0, 2, 1]), Mono(0));
        addresses.towards.write().insert(peer(0).ip(), wrong);
        assert_eq!(addresses.towards(peer(0), Mono(9_999)), wrong.0);
        assert_eq!(addresses.towards(peer(0), Mono(10_000)), IpAddr::from([127, 0, 0, 1]));
        let full = (0..PEERS_MAX as u32).map(|number| (peer(number).ip(), wrong));
        *addresses.towards.write() = full.collect();
        addresses.towards(peer(PEERS_MAX as u32), Mono(0));
        assert_eq!(addresses.towards.read().len(), 1);
    }
}
