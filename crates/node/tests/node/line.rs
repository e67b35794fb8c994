//! A user agent's end of a connection.

use crate::agent::text;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;
use tandem_sip::{Frame, Limits, Message, Method, Name, ResponseHead, StatusCode, StreamFramer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long an agent waits for a message.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message of an agent on UDP as it is on a stream.
pub(crate) fn over(transport: &str, message: &[u8]) -> Bytes {
    text(message).replace("SIP/2.0/UDP", &format!("SIP/2.0/{transport}")).into()
}

/// A connection.
pub(crate) struct Line {
    stream: Box<dyn Stream>,
    /// Our end.
    pub(crate) local: SocketAddr,
    /// The other end.
    pub(crate) remote: SocketAddr,
    framer: StreamFramer,
    inbox: Vec<Message>,
}

/// What a line is made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Line {
    /// Connects to the switch.
    pub(crate) async fn to(switch: SocketAddr) -> Line {
        Line::on(TcpStream::connect(switch).await.expect("the switch listens"))
    }

    /// A connection that is there.
    pub(crate) fn on(stream: TcpStream) -> Line {
        let ends = (stream.local_addr().expect("connected"), stream.peer_addr().expect("connected"));
        Line::over(stream, ends)
    }

    /// A connection with something around it.
    pub(crate) fn over(stream: impl Stream + 'static, (local, remote): (SocketAddr, SocketAddr)) -> Line {
        let framer = StreamFramer::new(&Limits::default());
        Line { stream: Box::new(stream), local, remote, framer, inbox: Vec::new() }
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the switch takes it");
        self.stream.flush().await.expect("the switch takes it");
    }

    /// The next message that is wanted; what comes before it is kept.
    pub(crate) async fn wait(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.inbox.iter().position(&wanted) {
                return self.inbox.remove(place);
            }
            match tokio::time::timeout_at(deadline, self.read()).await {
                Ok(Some(())) => {}
                Ok(None) => panic!("closed before {what}; got {:#?}", self.inbox),
                Err(_) => panic!("no {what}; got {:#?}", self.inbox),
            }
        }
    }

    /// Reads once. `None` at the end.
    async fn read(&mut self) -> Option<()> {
        let mut buffer = vec![0; 4_096];
        let count = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.framer.push(&buffer[..count]);
        while let Some(frame) = self.framer.next() {
            if let Frame::Message(bytes) = frame.expect("the switch sends SIP") {
                let message = Message::parse(bytes, &Limits::default());
                self.inbox.push(message.expect("the switch sends SIP"));
            }
        }
        (count > 0).then_some(())
    }

    /// Waits until the switch closes.
    pub(crate) async fn is_closed(&mut self) {
        let closed = async { while self.read().await.is_some() {} };
        tokio::time::timeout(PATIENCE, closed).await.expect("closed in time");
    }

    /// The next request of that method.
    pub(crate) async fn request(&mut self, method: Method) -> Message {
        let what = tandem_sip::method::name(method);
        self.wait(what, |message| message.is_request() && message.method() == Some(method)).await
    }

    /// The next response with that status.
    pub(crate) async fn status(&mut self, status: u16) -> Message {
        let wanted = |message: &Message| message.status().is_some_and(|found| found.code() == status);
        self.wait(&status.to_string(), wanted).await
    }

    /// Answers a request; `contact` is where the agent listens.
    pub(crate) async fn respond(&mut self, request: &Message, status: u16, contact: SocketAddr) {
        let status = StatusCode::new(status).expect("a status");
        let response = ResponseHead::of(request, self.remote)
            .respond(status, Some("callee"))
            .header(Name::Contact, format!("<sip:callee@{contact};transport=tcp>"));
        let with_sdp = status.is_success() && request.method() == Some(Method::Invite);
        let response =
            if with_sdp { response.body(b"application/sdp", crate::agent::SDP) } else { response.finish() };
        self.send(&response).await;
    }
}

/// Where an agent takes connections.
pub(crate) struct Gate {
    listener: TcpListener,
    /// Where it is.
    pub(crate) address: SocketAddr,
}

impl Gate {
    /// A gate at a port of the kernel's choice.
    pub(crate) async fn at(host: &str) -> Gate {
        let listener = TcpListener::bind((host, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        Gate { listener, address }
    }

    /// The next connection of the switch.
    pub(crate) async fn accept(&self) -> Line {
        Line::on(self.stream().await)
    }

    /// The same, bare.
    pub(crate) async fn stream(&self) -> TcpStream {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        accepted.expect("a connection in time").expect("a connection").0
    }
}
