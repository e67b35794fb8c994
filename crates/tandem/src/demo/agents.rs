//! The demo's user agents: a caller, and gateways that fail or answer.

use anyhow::{Context, bail};
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tandem_sip::{Builder, Limits, Message, Method, Name, ResponseHead, StatusCode};
use tokio::net::UdpSocket;

/// How long it rings, and how long the parties talk.
pub(super) const TALK: Duration = Duration::from_millis(500);

/// How long the caller waits for any message of the switch.
const PATIENCE: Duration = Duration::from_secs(5);

const TAG: &str = "demo";

/// A user agent on a socket of its own.
pub(super) struct Agent {
    socket: UdpSocket,
    address: SocketAddr,
}

/// What a gateway does with an INVITE.
#[derive(Clone, Copy)]
pub(super) enum Gateway {
    Failing,
    Answering,
}

impl Agent {
    pub(super) async fn bind() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn receive(&self) -> anyhow::Result<(Message, SocketAddr)> {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, source) = self.socket.recv_from(&mut buffer).await?;
            if let Ok(message) = Message::parse(Bytes::copy_from_slice(&buffer[..length]), &Limits::default())
            {
                return Ok((message, source));
            }
        }
    }

    /// Waits for a response with this status; fails on a final one that is another.
    async fn await_status(&self, wanted: StatusCode) -> anyhow::Result<Message> {
        loop {
            let (message, _) =
                tokio::time::timeout(PATIENCE, self.receive()).await.context("no answer")??;
            match message.status() {
                Some(status) if status == wanted => return Ok(message),
                Some(status) if status.is_final() => bail!("the call failed: {status}"),
                Some(_) | None => {}
            }
        }
    }

    /// Calls a number, talks, and hangs up.
    pub(super) async fn call(&self, switch: SocketAddr, number: &str) -> anyhow::Result<()> {
        let uri = format!("sip:{number}@{switch}");
        let invite =
            self.request(Method::Invite, &uri, ("1", "")).body(b"application/sdp", self.session().as_bytes());
        self.socket.send_to(&invite, switch).await?;
        let answer = self.await_status(StatusCode::OK).await?;
        let target = answer.contact().context("a 200 without Contact")??;
        let (target, to) =
            (String::from_utf8_lossy(target.uri).into_owned(), answer.to_tag().unwrap_or_default());
        let to = format!(";tag={}", String::from_utf8_lossy(to));
        self.socket.send_to(&self.request(Method::Ack, &target, ("1", &to)).finish(), switch).await?;
        tokio::time::sleep(TALK).await;
        self.socket.send_to(&self.request(Method::Bye, &target, ("2", &to)).finish(), switch).await?;
        self.await_status(StatusCode::OK).await?;
        Ok(())
    }

    fn request(&self, method: Method, uri: &str, (cseq, to_tag): (&str, &str)) -> Builder {
        let name = tandem_sip::method::name(method);
        let number = uri.trim_start_matches("sip:").split('@').next().unwrap_or_default();
        Builder::request(method, uri.as_bytes())
            .header(Name::Via, format!("SIP/2.0/UDP {};branch=z9hG4bK-demo-{name};rport", self.address))
            .header(Name::MaxForwards, "70")
            .header(Name::From, format!("\"Ada\" <sip:1001@{}>;tag={TAG}", self.address))
            .header(Name::To, format!("<sip:{number}@tandem.invalid>{to_tag}"))
            .header(Name::CallId, format!("demo-{}", self.address.port()))
            .header_fmt(Name::CSeq, format_args!("{cseq} {name}"))
            .header(Name::Contact, format!("<sip:1001@{}>", self.address))
    }

    fn session(&self) -> String {
        let host = self.address.ip();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\n"
        )
    }

    /// Takes calls for ever.
    pub(super) async fn serve(self, gateway: Gateway) -> anyhow::Result<()> {
        loop {
            let (request, source) = self.receive().await?;
            let head = ResponseHead::of(&request, source);
            let contact = format!("<sip:{}>", self.address);
            let respond = |status| head.respond(status, Some(TAG)).header(Name::Contact, contact.as_str());
            match (request.method(), gateway) {
                (Some(Method::Invite), Gateway::Failing) => {
                    self.socket.send_to(&respond(StatusCode::SERVICE_UNAVAILABLE).finish(), source).await?;
                }
                (Some(Method::Invite), Gateway::Answering) => {
                    self.socket.send_to(&respond(StatusCode::RINGING).finish(), source).await?;
                    tokio::time::sleep(TALK).await;
                    let answer = respond(StatusCode::OK).body(b"application/sdp", self.session().as_bytes());
                    self.socket.send_to(&answer, source).await?;
                }
                (Some(Method::Bye), _) => {
                    self.socket.send_to(&respond(StatusCode::OK).finish(), source).await?;
                }
                (Some(_) | None, _) => {}
            }
        }
    }
}
