//! Gateways that publish, are probed and are registered at: what calls make of it.

use crate::agent::{Agent, text, unique};
use crate::until::{SOON, until};
use crate::world::{Plan, Talk, World};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Instant;
#[cfg(feature = "fault-injection")]
use tandem_node::Fault;
use tandem_node::GatewayReport;
use tandem_sip::{Builder, Message, Method, Name, ResponseHead, StatusCode};
use tandem_switch::gateway::Unavailable;

impl World {
    pub(crate) async fn report(&self, vendor: &str) -> GatewayReport {
        let gateways = self.node.routing_gateways().await;
        let found = gateways.into_iter().find(|report| &*report.gateway.name == vendor);
        found.unwrap_or_else(|| panic!("no {vendor}"))
    }

    /// Waits until a vendor gets calls, or until it gets none for that reason.
    pub(crate) async fn stands(&self, vendor: &str, availability: Result<(), Unavailable>) {
        let look = async || (self.report(vendor).await.health.availability == availability).then_some(());
        until(&format!("{vendor}: {availability:?}"), SOON, look).await;
        let gauge = async || {
            let shown = self.metric("tandem_gateway_available", &format!("\"{vendor}\""));
            (shown == f64::from(u8::from(availability.is_ok()))).then_some(())
        };
        until("the metric follows", SOON, gauge).await;
    }
}

pub(crate) fn pidf(basic: &str, capacity: &str) -> String {
    format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:vendor@h\"><tuple id=\"1\"><status>\
         <basic>{basic}</basic>{capacity}</status></tuple></presence>"
    )
}

pub(crate) const OPEN: &str = "open";
pub(crate) const CLOSED: &str = "closed";

/// A PUBLISH of an agent.
fn publish(from: SocketAddr, switch: SocketAddr, lines: &[(Name, &str)], body: &str) -> Bytes {
    let number = unique();
    let mut request = Builder::request(Method::Publish, format!("sip:vendor@{switch}").as_bytes())
        .header(Name::Via, format!("SIP/2.0/UDP {from};branch=z9hG4bK-publish-{number};rport"))
        .header(Name::MaxForwards, "70")
        .header(Name::From, format!("<sip:vendor@{from}>;tag=publisher-{number}"))
        .header(Name::To, format!("<sip:vendor@{switch}>"))
        .header(Name::CallId, format!("publish-{number}"))
        .header(Name::CSeq, "1 PUBLISH")
        .header(Name::Event, "presence");
    for (name, value) in lines {
        request = request.header(*name, value);
    }
    if body.is_empty() { request.finish() } else { request.body(b"application/pidf+xml", body.as_bytes()) }
}

impl Agent {
    /// Publishes, and gives the answer. A gateway whose publication is yet to be read from the store is told to come again.
    pub(crate) async fn publishes(
        &mut self,
        switch: SocketAddr,
        lines: &[(Name, &str)],
        body: &str,
    ) -> Message {
        let give_up = Instant::now() + SOON;
        loop {
            self.send(&publish(self.address, switch, lines, body), switch).await;
            let is_answer = |message: &Message| message.method() == Some(Method::Publish);
            let (answer, _) = self.wait("answer to a PUBLISH", is_answer).await;
            if answer.status() != Some(StatusCode::SERVICE_UNAVAILABLE) || Instant::now() > give_up {
                return answer;
            }
        }
    }
}

pub(crate) fn etag(answer: &Message) -> String {
    assert_eq!(answer.status(), Some(StatusCode::OK), "{}", text(answer.raw()));
    text(answer.first(Name::SipEtag).expect("an entity-tag"))
}

async fn with_two(lines: &str) -> (World, Agent, Agent, Agent) {
    let mut plan = Plan::new();
    let (first, second) = (Agent::at("127.0.0.3").await, Agent::at("127.0.0.1").await);
    plan.vendor("first", first.address, lines);
    plan.vendor("second", second.address, "");
    (plan.start().await, Agent::at("127.0.0.1").await, first, second)
}

/// A call goes to that vendor, and to nobody before it.
async fn goes_to(world: &World, caller: &mut Agent, vendor: &mut Agent) {
    let talk = Talk::begin(caller, vendor, world.sip()).await;
    talk.end(caller, vendor).await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_published_closed_gets_no_calls_until_it_publishes_open() {
    let (world, mut caller, mut first, mut second) = with_two("").await;
    let switch = world.sip();
    let tag = etag(&first.publishes(switch, &[], &pidf(CLOSED, "")).await);
    world.stands("first", Err(Unavailable::Closed)).await;
    goes_to(&world, &mut caller, &mut second).await;
    assert_eq!(world.metric("tandem_gateway_attempts_total", "first"), 0.0);
    let matching = [(Name::SipIfMatch, tag.as_str())];
    let next = etag(&first.publishes(switch, &matching, &pidf(OPEN, "")).await);
    assert_ne!(tag, next);
    world.stands("first", Ok(())).await;
    goes_to(&world, &mut caller, &mut first).await;
    let gone = [(Name::SipIfMatch, next.as_str()), (Name::Expires, "0")];
    etag(&first.publishes(switch, &gone, "").await);
    world.stands("first", Err(Unavailable::Removed)).await;
    assert_eq!(world.metric("tandem_gateway_publications_total", "first"), 3.0);
    assert_eq!(first.publishes(switch, &matching, "").await.status().map(StatusCode::code), Some(412));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_capacity_caps_the_calls_of_its_gateway() {
    let (world, caller, mut first, mut second) = with_two("max_calls = 10").await;
    let capacity = "<c:capacity xmlns:c=\"urn:x-tandem:gateway\">1</c:capacity>";
    etag(&first.publishes(world.sip(), &[], &pidf(OPEN, capacity)).await);
    until("the capacity holds", SOON, async || {
        (world.report("first").await.max_calls == Some(1)).then_some(())
    })
    .await;
    caller.dial(world.sip(), "4420").await;
    first.request(Method::Invite).await;
    caller.dial(world.sip(), "4420").await;
    second.request(Method::Invite).await;
    assert_eq!(world.slots("first").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_comes_again_gets_the_same_answer() {
    let (world, _, mut first, _) = with_two("").await;
    let request = publish(first.address, world.sip(), &[], &pidf(OPEN, ""));
    let mut tags = Vec::new();
    for _ in 0..3 {
        first.send(&request, world.sip()).await;
        let is_answer = |message: &Message| message.method() == Some(Method::Publish);
        tags.push(etag(&first.wait("an answer", is_answer).await.0));
    }
    assert!(tags.windows(2).all(|two| two[0] == two[1]), "{tags:?}");
    assert_eq!(world.metric("tandem_gateway_publications_total", "first"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_routing_gateway_may_publish_and_it_says_which_it_is() {
    let mut plan = Plan::new();
    let (mut vendor, mut stranger) = (Agent::at("127.0.0.3").await, Agent::at("127.0.0.4").await);
    plan.vendor("one", vendor.address, "");
    plan.vendor("vendor", SocketAddr::new(vendor.address.ip(), 5999), "");
    let world = plan.start().await;
    let status = |answer: &Message| answer.status().map(StatusCode::code);
    let body = pidf(CLOSED, "");
    assert_eq!(status(&stranger.publishes(world.sip(), &[], &body).await), Some(403));
    // The Request-URI names the one, though the request comes from the other's port.
    assert_eq!(status(&vendor.publishes(world.sip(), &[], &body).await), Some(200));
    world.stands("vendor", Err(Unavailable::Closed)).await;
    world.stands("one", Ok(())).await;
    let mut other = Agent::at("127.0.0.3").await;
    let unnamed =
        text(&publish(other.address, world.sip(), &[], &body)).replace("sip:vendor@", "sip:nobody@");
    other.send(unnamed.as_bytes(), world.sip()).await;
    other.status(404).await;
    let by_port =
        text(&publish(vendor.address, world.sip(), &[], &body)).replace("sip:vendor@", "sip:nobody@");
    vendor.send(by_port.as_bytes(), world.sip()).await;
    vendor.status(200).await;
    world.stands("one", Err(Unavailable::Closed)).await;
}

#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_outlives_its_gateways_actor() {
    let (world, _, mut first, _) = with_two("").await;
    let switch = world.sip();
    let tag = etag(&first.publishes(switch, &[], &pidf(CLOSED, "")).await);
    world.stands("first", Err(Unavailable::Closed)).await;
    world.node.arm(Fault::Gateway);
    // Whoever asks first is the one that fails.
    until("an actor has failed", SOON, async || {
        (world.node.routing_gateways().await.len() < 2).then_some(())
    })
    .await;
    until("it is back", SOON, async || (world.node.routing_gateways().await.len() == 2).then_some(())).await;
    world.stands("first", Err(Unavailable::Closed)).await;
    let next = etag(&first.publishes(switch, &[(Name::SipIfMatch, &tag)], "").await);
    assert_ne!(tag, next);
}

const PROBE: &str = "probe = { interval = \"1s\" }";

#[tokio::test(flavor = "multi_thread")]
async fn calls_pass_a_gateway_by_whose_probe_fails_until_it_answers_again() {
    let (world, mut caller, mut first, mut second) = with_two(PROBE).await;
    for _ in 0..2 {
        let options = first.request(Method::Options).await;
        first.respond(&options, 503).await;
    }
    world.stands("first", Err(Unavailable::Down)).await;
    goes_to(&world, &mut caller, &mut second).await;
    assert!(!first.heard().iter().any(|line| line.starts_with("INVITE")));
    assert_eq!(world.metric("tandem_gateway_probe_failures_total", "first"), 2.0);
    let options = first.request(Method::Options).await;
    first.respond(&options, 200).await;
    world.stands("first", Ok(())).await;
    let report = world.report("first").await.health.probe.expect("a probe");
    assert!(report.result.is_ok() && report.failures == 0, "{report:?}");
    goes_to(&world, &mut caller, &mut first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_host_says_that_nobody_is_there_is_soon_known_to_be_down() {
    let mut plan = Plan::new();
    // The socket is closed at the end of the statement.
    let closed = Agent::at("127.0.0.1").await.address;
    plan.vendor("vendor", closed, PROBE);
    let world = plan.start().await;
    world.stands("vendor", Err(Unavailable::Down)).await;
    let mut caller = Agent::at("127.0.0.1").await;
    let call = caller.dial(world.sip(), "4420").await;
    caller.fails(&call, 503).await;
    assert_eq!(world.metric("tandem_gateway_attempts_total", "vendor"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_demands_it_gets_our_registration_and_has_it_back_when_the_node_stops() {
    let mut plan = Plan::new();
    let mut vendor = Agent::at("127.0.0.1").await;
    let account = "username = \"tandem\"\npassword = \"geheim\"";
    plan.vendor("vendor", vendor.address, &format!("{account}\nregister = {{ contact = \"trunk\" }}"));
    let world = plan.start().await;
    world.stands("vendor", Err(Unavailable::NotRegistered)).await;
    let (request, source) = vendor.request(Method::Register).await;
    assert!(request.first(Name::Authorization).is_none());
    let challenge = ResponseHead::of(&request, source)
        .respond(StatusCode::UNAUTHORIZED, Some("registrar"))
        .header(Name::WwwAuthenticate, "Digest realm=\"vendor\", nonce=\"n\", qop=\"auth\"")
        .finish();
    vendor.send(&challenge, source).await;
    let register = vendor.request(Method::Register).await;
    let lines = text(register.0.raw());
    assert!(lines.contains("Authorization: Digest username=\"tandem\""), "{lines}");
    assert!(lines.contains(&format!("Contact: <sip:trunk@{}>;expires=3600", world.sip())), "{lines}");
    vendor.respond(&register, 200).await;
    world.stands("vendor", Ok(())).await;
    assert_eq!(world.metric("tandem_gateway_registered", "vendor"), 1.0);
    let stop = world.node.stop();
    let registrar = async {
        let goodbye = vendor.request(Method::Register).await;
        assert!(text(goodbye.0.raw()).contains(";expires=0"), "{}", text(goodbye.0.raw()));
        vendor.respond(&goodbye, 200).await;
    };
    let (stopped, ()) = tokio::join!(stop, registrar);
    assert_eq!(stopped.hung_up, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrar_that_is_silent_does_not_keep_the_node_from_stopping() {
    let mut plan = Plan::new();
    let mut vendor = Agent::at("127.0.0.1").await;
    plan.vendor("vendor", vendor.address, "register = { user = \"tandem\" }");
    let world = plan.start().await;
    vendor.request(Method::Register).await;
    let stopping = tokio::time::timeout(SOON, world.node.stop());
    assert_eq!(stopping.await.expect("it stops").cdrs_lost, 0);
}
