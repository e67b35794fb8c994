//! Many phones on one socket: they register, and ask where they are registered.

use crate::until::{SOON, until};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// Requests that are under way at a time.
const WINDOW: usize = 200;

/// After which silence a request is sent again.
const RESEND: Duration = Duration::from_millis(500);

/// Phones `u0`, `u1` and so on, in the domain `tandem`.
pub(crate) struct Phones {
    socket: UdpSocket,
    at: SocketAddrV4,
    /// Where they say that they are.
    contact: SocketAddrV4,
    cseq: u32,
}

impl Phones {
    /// Phones at that address.
    pub(crate) fn at(at: SocketAddrV4) -> Phones {
        let socket = UdpSocket::bind(at).expect("a free address");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
        Phones { socket, at, contact: at, cseq: 0 }
    }

    /// The same phones, whose own addresses are private.
    pub(crate) fn behind_a_nat(mut self) -> Phones {
        self.contact = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 5060);
        self
    }

    /// Waits for a keep-alive: from where it came, and when.
    pub(crate) fn keep_alive(&self, at_most: Duration) -> (SocketAddrV4, Instant) {
        until("a keep-alive", at_most, || {
            let mut buffer = [0; 4_096];
            let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
            let SocketAddr::V4(from) = from else { return None };
            (buffer[..length] == *b"HELLO").then(|| (from, Instant::now()))
        })
    }

    /// The sections of a configuration that knows so many of them.
    pub(crate) fn sections(count: usize) -> String {
        // All of them are at one address, which is no gateway's.
        let mut text = "[limits]\nstranger_rate = 100000\n[registrar]\nauthenticate = false\n".to_owned();
        for number in 0..count {
            write!(text, "[[endpoint]]\nuser = \"u{number}\"\npassword = \"none\"\n").expect("a string");
        }
        text
    }

    /// All of these register at a node.
    pub(crate) fn register(&mut self, node: SocketAddrV4, numbers: impl Iterator<Item = usize>) {
        let contact = format!("Contact: <sip:phone@{}>\r\nExpires: 3600\r\n", self.contact);
        let answers = self.ask(node, numbers, &contact);
        let refused: Vec<_> = answers.iter().filter(|(_, answer)| !is_found(answer)).take(3).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }

    /// One of them registers for so many seconds.
    pub(crate) fn register_for(&mut self, node: SocketAddrV4, number: usize, seconds: u32) {
        let contact = format!("Contact: <sip:phone@{}>\r\nExpires: {seconds}\r\n", self.contact);
        let answers = self.ask(node, [number].into_iter(), &contact);
        assert!(is_found(&answers[&number]), "{answers:?}");
    }

    /// One of them is registered nowhere from now on.
    pub(crate) fn unregister(&mut self, node: SocketAddrV4, number: usize) {
        let answers = self.ask(node, [number].into_iter(), "Contact: *\r\nExpires: 0\r\n");
        assert!(answers[&number].starts_with("SIP/2.0 200 "), "{answers:?}");
    }

    /// What one of them is answered that wants to be registered nowhere.
    pub(crate) fn try_to_unregister(&mut self, node: SocketAddrV4, number: usize) -> String {
        let mut answers = self.ask(node, [number].into_iter(), "Contact: *\r\nExpires: 0\r\n");
        answers.remove(&number).expect("an answer")
    }

    /// Those of these that a node does not find.
    pub(crate) fn missing(
        &mut self,
        node: SocketAddrV4,
        numbers: impl Iterator<Item = usize>,
    ) -> BTreeSet<usize> {
        let answers = self.ask(node, numbers, "");
        answers.into_iter().filter(|(_, answer)| !is_found(answer)).map(|(number, _)| number).collect()
    }

    /// Sends a REGISTER for each, and gives what each was answered.
    fn ask(
        &mut self,
        node: SocketAddrV4,
        numbers: impl Iterator<Item = usize>,
        lines: &str,
    ) -> BTreeMap<usize, String> {
        self.cseq += 1;
        let (mut left, mut answers) = (numbers.peekable(), BTreeMap::new());
        let mut waiting: BTreeMap<usize, (Instant, Instant)> = BTreeMap::new();
        while left.peek().is_some() || !waiting.is_empty() {
            while waiting.len() < WINDOW
                && let Some(number) = left.next()
            {
                self.send(node, number, lines);
                waiting.insert(number, (Instant::now(), Instant::now()));
            }
            let mut buffer = [0; 4_096];
            if let Ok(length) = self.socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if let Some(number) = number_of(&text, self.cseq)
                    && waiting.remove(&number).is_some()
                {
                    answers.insert(number, text);
                }
                continue;
            }
            for (number, (begun, sent)) in &mut waiting {
                assert!(begun.elapsed() < SOON, "{node} does not answer u{number}");
                if sent.elapsed() > RESEND {
                    *sent = Instant::now();
                    self.send(node, *number, lines);
                }
            }
        }
        answers
    }

    fn send(&self, node: SocketAddrV4, number: usize, lines: &str) {
        let (at, cseq) = (self.at, self.cseq);
        let request = format!(
            "REGISTER sip:tandem SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{number}.{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:u{number}@tandem>;tag={number}\r\nTo: <sip:u{number}@tandem>\r\n\
             Call-ID: {number}@phones\r\nCSeq: {cseq} REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        self.socket.send_to(request.as_bytes(), node).expect("loopback");
    }
}

/// Whether an answer names where the phone is.
fn is_found(answer: &str) -> bool {
    answer.starts_with("SIP/2.0 200 ") && answer.lines().any(|line| line.starts_with("Contact:"))
}

/// Which phone a response is for, if it is one to this request.
fn number_of(text: &str, cseq: u32) -> Option<usize> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_this = value("CSeq:")?.split(' ').next()?.parse() == Ok(cseq);
    value("Call-ID:")?.strip_suffix("@phones")?.parse().ok().filter(|_| is_this)
}
