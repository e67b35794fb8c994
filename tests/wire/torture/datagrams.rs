//! Who sends strange messages over UDP, and hears what comes back, to whatever port their Via names.

use super::line::{Line, PATIENCE, ack, options, take_answer};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};
use tandem_sip::{Limits, Message};

/// One address with as many ports as are asked for.
#[derive(Debug)]
pub(super) struct Datagrams {
    own: SocketAddrV4,
    switch: SocketAddrV4,
    sockets: BTreeMap<u16, UdpSocket>,
    heard: Vec<Message>,
    probes: u32,
}

impl Datagrams {
    pub(super) fn at(ip: Ipv4Addr, port: u16, switch: SocketAddrV4) -> Datagrams {
        let own = SocketAddrV4::new(ip, port);
        let mut line = Datagrams { own, switch, sockets: BTreeMap::new(), heard: Vec::new(), probes: 0 };
        line.listen(port);
        line
    }

    fn listen(&mut self, port: u16) {
        let address = SocketAddrV4::new(*self.own.ip(), port);
        self.sockets.entry(port).or_insert_with(|| {
            let socket = UdpSocket::bind(address).expect("the address is this test's own");
            socket.set_nonblocking(true).expect("a socket can be non-blocking");
            socket
        });
    }

    fn post(&self, text: &[u8]) {
        self.sockets[&self.own.port()].send_to(text, self.switch).expect("loopback takes it");
    }

    fn hear(&mut self) {
        let mut buffer = [0; 65_535];
        for socket in self.sockets.values() {
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = Bytes::copy_from_slice(&buffer[..length]);
                match Message::parse(text, &Limits::default()) {
                    Ok(message) => self.heard.push(message),
                    // The answer to a ping.
                    Err(_) => assert_eq!(&buffer[..length], b"\r\n", "no SIP message"),
                }
            }
        }
    }
}

impl Line for Datagrams {
    /// Sends a datagram, and listens where its answer has to go (RFC 3261 §18.2.2).
    fn send(&mut self, text: &[u8]) {
        if let Ok(message) = Message::parse(Bytes::copy_from_slice(text), &Limits::default())
            && let Ok(via) = message.top_via()
        {
            self.listen(via.response_address(SocketAddr::V4(self.own)).port());
        }
        self.post(text);
    }

    fn take_answer(&mut self, request: Option<&Message>) -> Option<Message> {
        self.hear();
        take_answer(&mut self.heard, request)
    }

    fn acknowledge(&mut self, request: &Message, response: &Message) {
        if let Some(ack) = ack(request, response) {
            self.post(&ack);
        }
    }

    fn probe(&mut self) -> Duration {
        self.probes += 1;
        let call_id = format!("probe-{}", self.probes);
        let started = Instant::now();
        self.post(&options("UDP", self.own, self.switch, &call_id));
        while started.elapsed() < PATIENCE {
            self.hear();
            let is_answer = |message: &Message| message.call_id() == Some(call_id.as_bytes());
            if let Some(at) = self.heard.iter().position(is_answer) {
                self.heard.remove(at);
                break;
            }
            std::thread::park_timeout(Duration::from_micros(500));
        }
        started.elapsed()
    }

    fn forget(&mut self) {
        self.hear();
        self.heard.clear();
    }
}
