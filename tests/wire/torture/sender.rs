//! Who sends strange messages, and hears what comes back, to whatever port their Via names.

use super::is_invite;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};
use tandem_sip::{Builder, Limits, Message, Method, Name};

/// One address with as many ports as are asked for.
#[derive(Debug)]
pub(super) struct Sender {
    ip: Ipv4Addr,
    own: u16,
    switch: SocketAddrV4,
    sockets: BTreeMap<u16, UdpSocket>,
    heard: Vec<Message>,
    probes: u32,
}

impl Sender {
    pub(super) fn at(ip: Ipv4Addr, own: u16, switch: SocketAddrV4) -> Sender {
        let mut sender = Sender { ip, own, switch, sockets: BTreeMap::new(), heard: Vec::new(), probes: 0 };
        sender.listen(own);
        sender
    }

    fn listen(&mut self, port: u16) {
        let address = SocketAddrV4::new(self.ip, port);
        self.sockets.entry(port).or_insert_with(|| {
            let socket = UdpSocket::bind(address).expect("the address is this test's own");
            socket.set_nonblocking(true).expect("a socket can be non-blocking");
            socket
        });
    }

    /// Sends a datagram, and listens where its answer has to go (RFC 3261 §18.2.2).
    pub(super) fn send(&mut self, text: &[u8]) {
        let own = SocketAddr::from((self.ip, self.own));
        if let Ok(message) = Message::parse(Bytes::copy_from_slice(text), &Limits::default())
            && let Ok(via) = message.top_via()
        {
            self.listen(via.response_address(own).port());
        }
        self.sockets[&self.own].send_to(text, self.switch).expect("loopback takes it");
    }

    /// The final response to that request, or any that could be one where the request cannot be read.
    pub(super) fn take_answer(&mut self, request: Option<&Message>) -> Option<Message> {
        self.hear();
        let is_answer = |response: &Message| {
            response.status().is_some_and(|status| status.is_final())
                && request.is_none_or(|request| {
                    response.call_id() == request.call_id() && same_cseq(response, request)
                })
        };
        let at = self.heard.iter().position(is_answer)?;
        Some(self.heard.remove(at))
    }

    /// Forgets what has come.
    pub(super) fn forget(&mut self) {
        self.hear();
        self.heard.clear();
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

    /// ACK for the failure of an INVITE (RFC 3261 §17.1.1.3).
    pub(super) fn acknowledge(&mut self, request: &Message, response: &Message) {
        let part = |message: &Message, name| message.first(name).map(<[u8]>::to_vec).unwrap_or_default();
        let Some(via) = request.items(Name::Via).next().filter(|_| is_invite(request)) else { return };
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let ack = Builder::request(Method::Ack, request.request_uri())
            .header(Name::Via, via)
            .header(Name::From, part(request, Name::From))
            .header(Name::To, part(response, Name::To))
            .header(Name::CallId, part(request, Name::CallId))
            .header(Name::CSeq, format!("{number} ACK"))
            .finish();
        self.sockets[&self.own].send_to(&ack, self.switch).expect("loopback takes it");
    }

    /// Sends an OPTIONS and says how long its answer took; half a second if none came.
    pub(super) fn probe(&mut self) -> Duration {
        self.probes += 1;
        let call_id = format!("probe-{}", self.probes);
        let options = self.options(&call_id);
        let started = Instant::now();
        self.sockets[&self.own].send_to(&options, self.switch).expect("loopback takes it");
        while started.elapsed() < Duration::from_millis(500) {
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

    fn options(&self, call_id: &str) -> Bytes {
        let here = SocketAddrV4::new(self.ip, self.own);
        Builder::request(Method::Options, format!("sip:{}", self.switch).as_bytes())
            .header(Name::Via, format!("SIP/2.0/UDP {here};branch=z9hG4bK-{call_id}"))
            .header(Name::MaxForwards, "70")
            .header(Name::From, format!("<sip:probe@{here}>;tag=p"))
            .header(Name::To, format!("<sip:{}>", self.switch))
            .header(Name::CallId, call_id)
            .header(Name::CSeq, "1 OPTIONS")
            .finish()
    }
}

/// Whether both have the same CSeq, be it folded otherwise.
pub(super) fn same_cseq(response: &Message, request: &Message) -> bool {
    match (response.cseq(), request.cseq()) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => response.first(Name::CSeq) == request.first(Name::CSeq),
    }
}
