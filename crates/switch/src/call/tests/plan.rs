//! What a test's world looks like before its call begins.

use crate::Secret;
use crate::call::{Bindings, Branch, CallingEndpoint, Candidate, Reach, Target};
use crate::gateway::{Account, PASSED, Redirects, Refusal};
use crate::parameters::{AttemptParameters, CallParameters, Overrides, Parameters};
use crate::registrar::Aor;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::MethodSet;
use tandem_sip::flow::{Flow, Transport};

pub(super) const CALLER: &str = "192.0.2.10:5060";
/// Where a caller is that has moved.
pub(super) const CALLER_MOVED: &str = "192.0.2.77:5090";
/// Our address on the caller's side.
pub(super) const CALLER_SIDE: &str = "203.0.113.1:5060";
/// Our address on the gateways' side.
pub(super) const GATEWAY_SIDE: &str = "203.0.113.2:5060";

pub(super) const GATEWAY_NAMES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

pub(super) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n";

/// The session description of a gateway, told apart by `port`.
pub(super) fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- {port} 1 IN IP4 198.51.100.99\r\ns=-\r\nc=IN IP4 198.51.100.99\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
}

/// When the shell answers what the call asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    AtOnce,
    /// When the test says so.
    WhenTold,
}

pub(super) struct Plan {
    pub(super) parameters: CallParameters,
    pub(super) candidates: Vec<Candidate>,
    pub(super) caller_transport: Transport,
    /// The scheme of the URI that is called.
    pub(super) scheme: &'static str,
    /// Where the caller's INVITE comes from, which need not be what its Via and Contact say.
    pub(super) caller_address: SocketAddr,
    /// Header lines of the INVITE besides those that every INVITE has.
    pub(super) invite_lines: String,
    /// The endpoint that calls, if it is one.
    pub(super) caller_endpoint: Option<CallingEndpoint>,
    /// The user in From.
    pub(super) caller_user: &'static str,
    /// The display name in From, as written.
    pub(super) display: &'static str,
    pub(super) max_forwards: Option<u8>,
    pub(super) offer: Option<String>,
    pub(super) trusted: bool,
    pub(super) pass_headers: Vec<String>,
    pub(super) pass_methods: MethodSet,
    pub(super) cause_map: BTreeMap<u16, u16>,
    pub(super) looked_max_duration: Option<Duration>,
    pub(super) emergency: bool,
    pub(super) looked_headers: Vec<(String, String)>,
    pub(super) absent: bool,
    pub(super) lookup: Answers,
    pub(super) admission: Answers,
    pub(super) resolution: Answers,
    /// Where gateways that are known by name, and URIs, are reached.
    pub(super) targets: BTreeMap<String, Vec<SocketAddr>>,
    pub(super) authorization: Answers,
    /// What gateways that have an account are answered by.
    pub(super) account: Option<Account>,
    pub(super) refusing: BTreeMap<&'static str, Refusal>,
}

impl Default for Plan {
    /// A caller with an offer, three gateways, the catalogue's defaults; unconnected calls are recorded.
    fn default() -> Self {
        let mut parameters = Parameters::default().call(&Overrides::default());
        parameters.record_nonconnect = true;
        Self {
            parameters,
            candidates: (1..=3).map(candidate).collect(),
            caller_transport: Transport::Udp,
            scheme: "sip",
            caller_address: address(CALLER),
            invite_lines: String::new(),
            caller_endpoint: None,
            caller_user: "100",
            display: "\"Alice\"",
            max_forwards: Some(70),
            offer: Some(OFFER.to_owned()),
            trusted: false,
            pass_headers: Vec::new(),
            pass_methods: PASSED,
            cause_map: BTreeMap::new(),
            looked_max_duration: None,
            emergency: false,
            looked_headers: Vec::new(),
            absent: false,
            lookup: Answers::AtOnce,
            admission: Answers::AtOnce,
            resolution: Answers::AtOnce,
            targets: BTreeMap::new(),
            authorization: Answers::AtOnce,
            account: Some(Account {
                username: "tandem".into(),
                password: Secret::new("letmein".into()),
                realm: None,
            }),
            refusing: BTreeMap::new(),
        }
    }
}

impl Plan {
    /// So many gateways.
    pub(super) fn gateways(&mut self, number: usize) -> &mut Self {
        self.candidates = (1..=number).map(candidate).collect();
        self
    }

    /// Lets candidate `number` be an endpoint that has registered at the addresses of these gateways, each with a
    /// preference in thousandths.
    pub(super) fn endpoint(&mut self, number: usize, at: &[(usize, u16)]) -> &mut Self {
        let branch = |(number, q): &(usize, u16)| Branch {
            uri: format!("sip:bob@10.0.0.{number};line={number}").into(),
            q: *q,
            route: Vec::new(),
            targets: vec![target(gateway_address(*number))],
            by_flow: false,
        };
        let branches = at.iter().map(branch).collect();
        let candidate = &mut self.candidates[number - 1];
        candidate.gateway = "endpoints".into();
        candidate.reach = Reach::Bindings(Bindings {
            aor: Aor::parse("bob@switch.example").expect("an address of record"),
            branches,
        });
        self
    }

    /// Lets gateway `number` be one that registers to us, bound at the addresses of these.
    pub(super) fn registered(&mut self, number: usize, at: &[usize]) -> &mut Self {
        let branch = |number: &usize| Branch {
            uri: format!("sip:trunk@10.0.0.{number}:5070;line={number}").into(),
            q: 1000,
            route: vec![format!("<sip:edge{number}.example;lr>").into()],
            targets: vec![target(gateway_address(*number))],
            by_flow: false,
        };
        self.candidates[number - 1].reach = Reach::Registered(at.iter().map(branch).collect());
        self
    }

    /// Lets gateway `number` be known by name, and reached at the addresses of these.
    pub(super) fn named(&mut self, number: usize, at: &[usize]) -> &mut Self {
        let candidate = &mut self.candidates[number - 1];
        candidate.reach = Reach::Named(format!("{}.example", candidate.gateway).into());
        let addresses = at.iter().map(|number| gateway_address(*number)).collect();
        self.targets.insert(candidate.gateway.to_string(), addresses);
        self
    }

    /// Gives the switch an account at every gateway.
    pub(super) fn accounts(&mut self) -> &mut Self {
        for candidate in &mut self.candidates {
            candidate.has_account = true;
        }
        self
    }

    /// Lets every gateway redirect.
    pub(super) fn redirects(&mut self, redirects: Redirects) -> &mut Self {
        for candidate in &mut self.candidates {
            candidate.redirects = redirects;
        }
        self
    }

    /// Changes the parameters of gateway `number`, counted from 1.
    pub(super) fn gateway(
        &mut self,
        number: usize,
        change: impl FnOnce(&mut AttemptParameters),
    ) -> &mut Self {
        change(Arc::make_mut(&mut self.candidates[number - 1].parameters));
        self
    }

    /// Changes the parameters of every gateway.
    pub(super) fn every_gateway(&mut self, change: impl Fn(&mut AttemptParameters)) -> &mut Self {
        for number in 1..=self.candidates.len() {
            self.gateway(number, &change);
        }
        self
    }

    /// The caller's INVITE.
    pub(super) fn invite(&self) -> String {
        let transport = self.caller_transport.via_name();
        let max_forwards =
            self.max_forwards.map_or(String::new(), |hops| format!("Max-Forwards: {hops}\r\n"));
        let body = self.offer.as_deref().unwrap_or_default();
        let content_type = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "INVITE {}:4420@{CALLER_SIDE} SIP/2.0\r\n\
             Via: SIP/2.0/{transport} {CALLER};branch=z9hG4bKcaller1\r\n\
             {max_forwards}\
             From: {} <sip:{}@customer.example>;tag=alice\r\n\
             To: <sip:4420@switch.example>\r\n\
             Call-ID: caller-call-id\r\n\
             CSeq: 7 INVITE\r\n\
             Contact: <sip:alice@{CALLER}>\r\n\
             {}{content_type}Content-Length: {}\r\n\r\n{body}",
            self.scheme,
            self.display,
            self.caller_user,
            self.invite_lines,
            body.len()
        )
    }
}

fn candidate(number: usize) -> Candidate {
    Candidate {
        gateway: GATEWAY_NAMES[number - 1].into(),
        reach: Reach::At(target(gateway_address(number))),
        called: format!("{number}4420"),
        trusted: false,
        has_account: false,
        redirects: Redirects::Refuse,
        pass_headers: Arc::from([]),
        pass_methods: PASSED,
        parameters: Arc::new(Parameters::default().attempt(&Overrides::default(), Vec::new())),
    }
}

/// A place on the gateways' side.
pub(super) fn target(remote: SocketAddr) -> Target {
    Target { flow: Flow { transport: Transport::Udp, listener: 1, remote }, local: GATEWAY_SIDE.into() }
}

/// The address of gateway `number`, counted from 1.
pub(super) fn gateway_address(number: usize) -> SocketAddr {
    address(&format!("198.51.100.{number}:5060"))
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
