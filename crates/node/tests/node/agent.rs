//! A user agent on a socket of its own, which says what a test tells it to.

use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tandem_sip::{Builder, Limits, Message, Method, Name, ResponseHead, StatusCode};
use tokio::net::UdpSocket;

/// How long an agent waits for a message.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A number that no other thing of this process has.
pub(crate) fn unique() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A user agent.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: UdpSocket,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Received, and not asked for yet.
    inbox: VecDeque<(Message, SocketAddr)>,
}

/// One call, as the caller's side keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Dialled {
    /// What makes its INVITE unlike all others.
    pub(crate) number: u32,
    /// The INVITE.
    pub(crate) invite: Bytes,
    /// Where it was sent.
    pub(crate) switch: SocketAddr,
    called: String,
    sent_by: String,
}

impl Dialled {
    /// An INVITE of an agent at `from`; `lines` are further header lines.
    pub(crate) fn new(from: SocketAddr, switch: SocketAddr, called: &str, lines: &[(Name, &str)]) -> Dialled {
        Dialled::numbered(unique(), from, switch, called, lines)
    }

    /// The same, with the Call-ID, tag and branch that belong to `number`.
    pub(crate) fn numbered(
        number: u32,
        from: SocketAddr,
        switch: SocketAddr,
        called: &str,
        lines: &[(Name, &str)],
    ) -> Dialled {
        let mut call = Dialled {
            number,
            invite: Bytes::new(),
            switch,
            called: called.to_owned(),
            sent_by: from.to_string(),
        };
        let mut request =
            call.request(Method::Invite, 1, "").header(Name::Contact, format!("<sip:caller@{from}>"));
        for (name, value) in lines {
            request = request.header(*name, value);
        }
        call.invite = request.body(b"application/sdp", SDP);
        call
    }

    /// A request of this call: its INVITE's branch for CANCEL and ACK of a failure, else one of its own.
    pub(crate) fn request(&self, method: Method, cseq: u32, to_tag: &str) -> Builder {
        let Dialled { number, called, sent_by, switch, .. } = self;
        let name = tandem_sip::method::name(method);
        let branch = match method {
            Method::Invite | Method::Cancel => format!("z9hG4bK-{number}-1"),
            _ => format!("z9hG4bK-{number}-{cseq}-{name}"),
        };
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        Builder::request(method, format!("sip:{called}@{switch}").as_bytes())
            .header(Name::Via, format!("SIP/2.0/UDP {sent_by};branch={branch};rport"))
            .header(Name::MaxForwards, "70")
            .header(Name::From, format!("<sip:4930111@{sent_by}>;tag=caller-{number}"))
            .header(Name::To, format!("<sip:{called}@{switch}>{to_tag}"))
            .header(Name::CallId, format!("call-{number}"))
            .header_fmt(Name::CSeq, format_args!("{cseq} {name}"))
    }

    /// The Call-ID on the caller's leg.
    pub(crate) fn call_id(&self) -> String {
        format!("call-{}", self.number)
    }

    /// The ACK of a final response: of a failure in the INVITE's transaction, of a 2xx in one of its own.
    pub(crate) fn ack(&self, response: &Message) -> Bytes {
        let tag = text(response.to_tag().unwrap_or_default());
        if response.status().is_some_and(StatusCode::is_success) {
            return self.request(Method::Ack, 1, &tag).finish();
        }
        let ack = text(&self.request(Method::Ack, 1, &tag).finish());
        let (own, invites) = (format!("-{}-1-ACK", self.number), format!("-{}-1", self.number));
        ack.replacen(&own, &invites, 1).into()
    }

    /// The BYE of the dialog that a 2xx made.
    pub(crate) fn bye(&self, response: &Message) -> Bytes {
        self.request(Method::Bye, 2, &text(response.to_tag().unwrap_or_default())).finish()
    }

    /// The CANCEL of the INVITE.
    pub(crate) fn cancel(&self) -> Bytes {
        self.request(Method::Cancel, 1, "").finish()
    }
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Agent {
    /// An agent at a port of the kernel's choice.
    pub(crate) async fn at(host: &str) -> Agent {
        let socket = UdpSocket::bind((host, 0)).await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        Agent { socket, address, inbox: VecDeque::new() }
    }

    /// Sends bytes.
    pub(crate) async fn send(&self, bytes: &[u8], to: SocketAddr) {
        self.socket.send_to(bytes, to).await.expect("loopback takes it");
    }

    /// An agent at an address where one has been before.
    pub(crate) async fn again(address: SocketAddr) -> Agent {
        let socket = UdpSocket::bind(address).await.expect("the port is still free");
        Agent { socket, address, inbox: VecDeque::new() }
    }

    /// Receives bytes that need not be SIP.
    pub(crate) async fn raw(&self) -> Vec<u8> {
        self.raw_within(PATIENCE).await.0
    }

    /// What has come already, and need not be SIP.
    pub(crate) fn try_raw(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_535];
        let (length, _) = self.socket.try_recv_from(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// Receives bytes that need not be SIP, and from where.
    pub(crate) async fn raw_within(&self, at_most: Duration) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_535];
        let received = tokio::time::timeout(at_most, self.socket.recv_from(&mut buffer)).await;
        let (length, source) = received.expect("a datagram in time").expect("a datagram");
        buffer.truncate(length);
        (buffer, source)
    }

    async fn next(&self) -> (Message, SocketAddr) {
        let mut buffer = vec![0; 65_535];
        let (length, source) = self.socket.recv_from(&mut buffer).await.expect("a datagram");
        let message = Message::parse(Bytes::copy_from_slice(&buffer[..length]), &Limits::default());
        (message.expect("the switch sends SIP"), source)
    }

    /// The next message that is wanted; what comes before it is kept for others who want it.
    pub(crate) async fn wait(
        &mut self,
        what: &str,
        wanted: impl Fn(&Message) -> bool,
    ) -> (Message, SocketAddr) {
        let mut kept = 0;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            while let Some((message, _)) = self.inbox.get(kept) {
                if wanted(message) {
                    return self.inbox.remove(kept).expect("it is there");
                }
                kept += 1;
            }
            match tokio::time::timeout_at(deadline, self.next()).await {
                Ok(received) => self.inbox.push_back(received),
                Err(_) => panic!("no {what}; got {:#?}", self.heard()),
            }
        }
    }

    /// The start lines of what has come and was not asked for.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, source)) = self.socket.try_recv_from(&mut buffer) {
            let message = Message::parse(Bytes::copy_from_slice(&buffer[..length]), &Limits::default());
            self.inbox.push_back((message.expect("the switch sends SIP"), source));
        }
        let line =
            |message: &Message| text(message.raw().split(|byte| *byte == b'\r').next().unwrap_or_default());
        self.inbox.iter().map(|(message, _)| line(message)).collect()
    }

    /// The next request of that method.
    pub(crate) async fn request(&mut self, method: Method) -> (Message, SocketAddr) {
        let what = tandem_sip::method::name(method);
        self.wait(what, |message| message.is_request() && message.method() == Some(method)).await
    }

    /// The next response with that status.
    pub(crate) async fn status(&mut self, status: u16) -> Message {
        let wanted = |message: &Message| message.status().is_some_and(|found| found.code() == status);
        self.wait(&status.to_string(), wanted).await.0
    }

    /// The next response with that status to that call's request.
    pub(crate) async fn status_of(&mut self, call: &Dialled, status: u16) -> Message {
        let wanted = |message: &Message| {
            message.status().is_some_and(|found| found.code() == status)
                && message.call_id() == Some(call.call_id().as_bytes())
        };
        self.wait(&status.to_string(), wanted).await.0
    }

    /// Answers a request.
    pub(crate) async fn respond(&self, (request, source): &(Message, SocketAddr), status: u16) {
        let status = StatusCode::new(status).expect("a status");
        let response = ResponseHead::of(request, *source)
            .respond(status, Some("callee"))
            .header(Name::Contact, format!("<sip:callee@{}>", self.address));
        let with_sdp = status.is_success() && request.method() == Some(Method::Invite);
        let response = if with_sdp { response.body(b"application/sdp", SDP) } else { response.finish() };
        self.send(&response, *source).await;
    }

    /// Calls a number.
    pub(crate) async fn dial(&self, switch: SocketAddr, called: &str) -> Dialled {
        let call = Dialled::new(self.address, switch, called, &[]);
        self.send(&call.invite, switch).await;
        call
    }

    /// Waits for a failure of a call, and acknowledges it.
    pub(crate) async fn fails(&mut self, call: &Dialled, status: u16) -> Message {
        let failure = self.status_of(call, status).await;
        self.send(&call.ack(&failure), call.switch).await;
        failure
    }

    /// Waits until a call is answered, and acknowledges that.
    pub(crate) async fn connects(&mut self, call: &Dialled) -> Message {
        let answer = self.status_of(call, 200).await;
        self.send(&call.ack(&answer), call.switch).await;
        answer
    }
}
