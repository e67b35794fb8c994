//! The rules of RFC 3261 §10.3 and its extensions, on one address of record.

mod aor;
mod contacts;
mod merging;
mod noise;
mod outbound;
mod places;
mod suspension;

use super::*;
use crate::call::Refused;
use crate::parameters::EndpointExpire;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::time::Wall;
use tandem_sip::{Limits, Message, Name};

/// Where the endpoint is, unless a test says otherwise: what its Via and Contact say, too.
const HOME: &str = "192.0.2.7:5060";

/// An endpoint and its registrar.
struct World {
    bindings: Bindings,
    rules: Rules,
    now: Wall,
    source: SocketAddr,
    transport: Transport,
    cseq: u32,
}

impl World {
    fn new() -> Self {
        let rules = Rules {
            min_expires: Duration::from_secs(60),
            expires: EndpointExpire::default(),
            nat_expires: Duration::from_secs(300),
            max_contacts: 3,
            service_route: Vec::new(),
            keep_alive: Duration::from_secs(30),
        };
        let source = HOME.parse().expect("an address");
        let (bindings, now) = (Bindings::default(), Wall(1_000_000));
        Self { bindings, rules, now, source, transport: Transport::Udp, cseq: 0 }
    }

    fn flow(&self) -> Flow {
        Flow { transport: self.transport, listener: 0, remote: self.source }
    }

    fn pass(&mut self, seconds: u64) {
        self.now.0 += seconds * 1000;
    }

    /// A REGISTER of the same Call-ID and the next CSeq with these lines.
    fn register(&mut self, lines: &str) -> Result<Message, Refused> {
        self.cseq += 1;
        self.send(&register(self.cseq, lines))
    }

    fn send(&mut self, request: &Message) -> Result<Message, Refused> {
        let arrival = Arrival { flow: self.flow(), edge: &"192.0.2.1:5060".into() };
        let (next, accepted) = self.bindings.register(request, arrival, &self.rules, self.now)?;
        self.bindings = next;
        let bytes = answer((request, self.flow(), "tag"), &self.bindings, accepted, &self.rules, self.now);
        Ok(Message::parse(bytes, &Limits::default()).expect("a response"))
    }

    /// The status with which such a REGISTER is refused.
    fn refusal(&mut self, lines: &str) -> u16 {
        let before = self.bindings.clone();
        let refused = self.register(lines).expect_err(lines);
        assert_eq!(self.bindings, before, "all or nothing: {lines}");
        refused.status.code()
    }

    /// The contacts that a REGISTER with these lines is answered with.
    fn contacts(&mut self, lines: &str) -> Vec<String> {
        let response = self.register(lines).expect(lines);
        values(&response, Name::Contact)
    }

    fn only(&self) -> &Binding {
        assert_eq!(self.bindings.bindings.len(), 1);
        &self.bindings.bindings[0]
    }
}

fn register(cseq: u32, lines: &str) -> Message {
    register_as(cseq, "from-phone", lines)
}

fn register_as(cseq: u32, call_id: &str, lines: &str) -> Message {
    let text = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{cseq}\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.into(), &Limits::default()).expect("a request")
}

fn values(message: &Message, name: Name) -> Vec<String> {
    message.items(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

/// A Contact line.
fn contact(uri: &str, params: &str) -> String {
    format!("Contact: <{uri}>{params}\r\n")
}

const PHONE: &str = "sip:alice@192.0.2.7:5060";
