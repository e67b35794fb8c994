//! A user agent's end of a TLS connection.

use super::v4;
use crate::until::{SOON, until};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::{Frame, Limits, Message, Method, Name, ResponseHead, StatusCode, StreamFramer};

pub(super) const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";

/// Between two looks at the socket.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A connection.
pub(super) struct Line {
    tls: Connection,
    stream: TcpStream,
    /// Our end.
    pub(super) local: SocketAddrV4,
    framer: StreamFramer,
    inbox: Vec<Message>,
}

impl Line {
    /// Connects to the switch from that address.
    pub(super) fn to(from: Ipv4Addr, switch: SocketAddrV4, config: Arc<ClientConfig>) -> Line {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SocketAddr::V4(SocketAddrV4::new(from, 0)).into())
            .expect("the address is this test's own");
        socket.connect(&SocketAddr::V4(switch).into()).expect("the switch listens");
        let name = ServerName::from(IpAddr::V4(*switch.ip()));
        let tls = ClientConnection::new(config, name).expect("a name");
        Line::over(tls.into(), socket.into()).expect("a handshake")
    }

    /// Shakes hands.
    fn over(mut tls: Connection, mut stream: TcpStream) -> io::Result<Line> {
        stream.set_read_timeout(Some(SOON))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        stream.set_read_timeout(Some(LOOK_AGAIN))?;
        let local = v4(stream.local_addr()?);
        let framer = StreamFramer::new(&Limits::default());
        Ok(Line { tls, stream, local, framer, inbox: Vec::new() })
    }

    /// The certificate of the switch.
    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.tls.peer_certificates().expect("the switch shows one");
        chain[0].clone().into_owned()
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).expect("a buffer takes it");
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream).expect("the switch takes it");
        }
    }

    /// The next request of that method.
    pub(super) fn request(&mut self, method: Method) -> Message {
        self.wait(tandem_sip::method::name(method), |message| {
            message.is_request() && message.method() == Some(method)
        })
    }

    /// The next response with that status.
    pub(super) fn status(&mut self, status: u16) -> Message {
        let wanted = |message: &Message| message.status().is_some_and(|found| found.code() == status);
        self.wait(&status.to_string(), wanted)
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        until(what, SOON, || {
            let place = self.inbox.iter().position(&wanted);
            if place.is_none() {
                assert!(self.read(), "closed before {what}; got {:#?}", self.inbox);
            }
            place.map(|place| self.inbox.remove(place))
        })
    }

    /// Waits until the switch closes.
    pub(super) fn is_closed(&mut self) -> bool {
        until("the switch closes", SOON, || (!self.read()).then_some(true))
    }

    /// Takes what has come. `false` at the end.
    fn read(&mut self) -> bool {
        let is_open = match self.tls.read_tls(&mut self.stream) {
            Ok(0) => false,
            Ok(_) => self.tls.process_new_packets().is_ok(),
            Err(why) => matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        // The first of it may have come with the end of the handshake.
        let mut buffer = [0; 16_384];
        while let Ok(count @ 1..) = self.tls.reader().read(&mut buffer) {
            self.framer.push(&buffer[..count]);
        }
        while let Some(frame) = self.framer.next() {
            if let Frame::Message(bytes) = frame.expect("the switch sends SIP") {
                self.inbox.push(Message::parse(bytes, &Limits::default()).expect("the switch sends SIP"));
            }
        }
        is_open
    }

    /// Answers a request.
    pub(super) fn respond(&mut self, request: &Message, status: u16) {
        let status = StatusCode::new(status).expect("a status");
        let peer = self.stream.peer_addr().expect("connected");
        let response = ResponseHead::of(request, peer)
            .respond(status, Some("vendor"))
            .header(Name::Contact, format!("<sip:vendor@{};transport=tls>", self.local));
        let is_answer = request.method() == Some(Method::Invite);
        let response = if is_answer { response.body(b"application/sdp", SDP) } else { response.finish() };
        self.send(&response);
    }
}

/// Where a gateway takes connections.
pub(super) struct Gate {
    listener: TcpListener,
    pub(super) address: SocketAddrV4,
}

impl Gate {
    pub(super) fn at(address: SocketAddrV4) -> Gate {
        let listener = TcpListener::bind(address).expect("the port is this test's own");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        Gate { listener, address }
    }

    /// The next connection of the switch.
    pub(super) fn accept(&self, config: Arc<ServerConfig>) -> Line {
        self.try_accept(config).expect("a handshake")
    }

    /// The same; `None` if the handshake fails.
    pub(super) fn try_accept(&self, config: Arc<ServerConfig>) -> Option<Line> {
        let stream = until("a connection of the switch", SOON, || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).expect("a socket can be blocking");
        let tls = ServerConnection::new(config).expect("a configuration");
        Line::over(tls.into(), stream).ok()
    }
}
