//! Who sends strange messages over TCP, each over a connection of its own.

use super::line::{Line, PATIENCE, ack, options, take_answer};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};
use tandem_sip::{Frame, Limits, Message, StreamFramer};

/// One address, and the connection that it has now.
pub(super) struct Streams {
    ip: Ipv4Addr,
    switch: SocketAddrV4,
    connection: Option<Connection>,
    probes: u32,
}

struct Connection {
    stream: TcpStream,
    framer: StreamFramer,
    heard: Vec<Message>,
}

impl Streams {
    pub(super) fn at(ip: Ipv4Addr, switch: SocketAddrV4) -> Streams {
        Streams { ip, switch, connection: None, probes: 0 }
    }

    fn connect(&self) -> Connection {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::V4(SocketAddrV4::new(self.ip, 0));
        socket.bind(&from.into()).expect("the address is this test's own");
        socket.connect(&SocketAddr::V4(self.switch).into()).expect("the switch listens");
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true).expect("a socket can be non-blocking");
        Connection { stream, framer: StreamFramer::new(&Limits::default()), heard: Vec::new() }
    }
}

impl Connection {
    fn post(&mut self, text: &[u8]) {
        match self.stream.write_all(text) {
            Ok(()) => {}
            // The switch has closed what it cannot read on.
            Err(why) if matches!(why.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(why) => panic!("{why}"),
        }
    }

    fn hear(&mut self) {
        let mut buffer = [0; 65_535];
        while let Ok(length @ 1..) = self.stream.read(&mut buffer) {
            self.framer.push(&buffer[..length]);
        }
        while let Some(frame) = self.framer.next() {
            match frame.expect("the switch sends what can be read") {
                Frame::Message(text) => {
                    self.heard.push(Message::parse(text, &Limits::default()).expect("a message"));
                }
                Frame::Ping | Frame::Pong => {}
            }
        }
    }
}

impl Line for Streams {
    fn send(&mut self, text: &[u8]) {
        let mut connection = self.connect();
        connection.post(text);
        self.connection = Some(connection);
    }

    fn take_answer(&mut self, request: Option<&Message>) -> Option<Message> {
        let connection = self.connection.as_mut()?;
        connection.hear();
        take_answer(&mut connection.heard, request)
    }

    fn acknowledge(&mut self, request: &Message, response: &Message) {
        if let (Some(connection), Some(ack)) = (&mut self.connection, ack(request, response)) {
            connection.post(&ack);
        }
    }

    fn probe(&mut self) -> Duration {
        self.probes += 1;
        let call_id = format!("probe-{}", self.probes);
        let started = Instant::now();
        let mut connection = self.connect();
        connection.post(&options("TCP", SocketAddrV4::new(self.ip, 5060), self.switch, &call_id));
        while started.elapsed() < PATIENCE && connection.heard.is_empty() {
            connection.hear();
            std::thread::park_timeout(Duration::from_micros(500));
        }
        started.elapsed()
    }

    fn forget(&mut self) {
        self.connection = None;
    }
}
