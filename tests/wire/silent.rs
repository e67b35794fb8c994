//! A gateway that hears everything and never answers.

use std::net::{SocketAddrV4, UdpSocket};

/// A bound port whose owner keeps silent. The kernel keeps what comes until it is asked for.
#[derive(Debug)]
pub(crate) struct Silent(UdpSocket);

impl Silent {
    /// One at that address.
    pub(crate) fn at(address: SocketAddrV4) -> Silent {
        let socket = UdpSocket::bind(address).expect("the port is this test's own");
        socket.set_nonblocking(true).expect("a socket can be non-blocking");
        Silent(socket)
    }

    /// Sends something by itself after all.
    pub(crate) fn send(&self, to: SocketAddrV4, datagram: &[u8]) {
        self.0.send_to(datagram, to).expect("loopback takes it");
    }

    /// What has come since last asked.
    pub(crate) fn heard(&self) -> Vec<String> {
        let mut buffer = [0; 65_535];
        let next =
            || self.0.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned());
        std::iter::from_fn(next).collect()
    }
}
