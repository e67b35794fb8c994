//! Gateways by name (RFC 3263), with a DNS server on loopback.

use crate::agent::{Agent, text};
use crate::line::Gate;
use crate::until::{SOON, until};
use crate::world::{Plan, Talk, World};
use std::net::{Ipv4Addr, SocketAddr};
use tandem_sip::Method;
use tandem_testdns::{DnsServer, Mood};

/// A plan whose node asks that server.
fn asking(dns: &DnsServer) -> Plan {
    asking_by(Plan::new(), dns)
}

fn asking_by(mut plan: Plan, dns: &DnsServer) -> Plan {
    plan.sections = format!("[dns]\nservers = [\"{}\"]", dns.address());
    plan
}

impl World {
    /// Where a vendor's calls are sent at present.
    async fn targets(&self, vendor: &str) -> Vec<SocketAddr> {
        let gateways = self.node.routing_gateways().await;
        let found = gateways.iter().find(|report| &*report.gateway.name == vendor);
        found.unwrap_or_else(|| panic!("no {vendor}")).targets.iter().map(|one| one.target.address).collect()
    }

    /// Waits until a vendor's name leads there.
    async fn leads_to(&self, vendor: &str, targets: &[SocketAddr]) {
        let look = async || (self.targets(vendor).await == targets).then_some(());
        until(&format!("{vendor} is at {targets:?}"), SOON, look).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_to_the_host_that_srv_names() {
    let dns = DnsServer::start();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    dns.naptr("gw.test", (1, 1), "SIP+D2T", "_sip._tcp.gw.test")
        .naptr("gw.test", (1, 2), "SIP+D2U", "_sip._udp.gw.test")
        .srv("_sip._udp.gw.test", (1, 1, vendor.address.port()), "host.gw.test")
        .a("host.gw.test", Ipv4Addr::LOCALHOST);
    let mut plan = asking(&dns);
    plan.vendor("vendor", "gw.test", "");
    let world = plan.start().await;
    world.leads_to("vendor", &[vendor.address]).await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
    assert_eq!(world.metric("tandem_dns_look_ups_total", "found"), 1.0);
    assert!(world.metric("tandem_dns_answers_total", "cache") >= 1.0);
    assert_eq!(world.metric("tandem_dns_answers_total", "waited"), 0.0, "the call did not wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_moves_is_followed_and_a_silent_dns_changes_nothing() {
    let dns = DnsServer::start();
    let mut caller = Agent::at("127.0.0.1").await;
    let (mut old, mut new) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    dns.ttl(1).srv("_sip._udp.gw.test", (1, 1, old.address.port()), "host.gw.test");
    dns.a("host.gw.test", Ipv4Addr::LOCALHOST);
    let mut plan = asking(&dns);
    plan.vendor("vendor", "gw.test", "");
    let world = plan.start().await;
    world.leads_to("vendor", &[old.address]).await;
    let talk = Talk::begin(&mut caller, &mut old, world.sip()).await;
    dns.forget("_sip._udp.gw.test").srv("_sip._udp.gw.test", (1, 1, new.address.port()), "host.gw.test");
    // A TTL of one second is taken for five, and asked for again after four.
    world.leads_to("vendor", &[new.address]).await;
    // The call that is there stays where it is.
    talk.end(&mut caller, &mut old).await;
    dns.be(Mood::Silent);
    let silent = async || (world.metric("tandem_dns_look_ups_total", "unanswered") > 0.0).then_some(());
    until("DNS is found to be silent", SOON, silent).await;
    let talk = Talk::begin(&mut caller, &mut new, world.sip()).await;
    talk.end(&mut caller, &mut new).await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_target_is_tried_within_the_attempt() {
    let dns = DnsServer::start();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let closed = closed_port().await;
    dns.srv("_sip._udp.gw.test", (1, 1, closed.port()), "host.gw.test")
        .srv("_sip._udp.gw.test", (2, 1, vendor.address.port()), "host.gw.test")
        .a("host.gw.test", Ipv4Addr::LOCALHOST);
    let mut plan = asking(&dns);
    plan.vendor("vendor", "gw.test", "");
    plan.parameters.push_str("SS_GATEWAY_SWITCH_LIMIT = 0\n");
    let world = plan.start().await;
    world.leads_to("vendor", &[closed, vendor.address]).await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    talk.end(&mut caller, &mut vendor).await;
    let record = until("a record", SOON, async || world.call_records().pop()).await;
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1), "{record}");
    // The next call does not find out anew.
    assert_eq!(world.targets("vendor").await, [vendor.address, closed]);
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
}

/// A port where nobody is.
async fn closed_port() -> SocketAddr {
    // The socket is closed at the end of the statement.
    Agent::at("127.0.0.1").await.address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_nowhere_is_a_transport_error_and_the_hunt_goes_on() {
    let dns = DnsServer::start();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let mut plan = asking(&dns);
    plan.vendor("nowhere", "gw.test", "");
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    talk.end(&mut caller, &mut vendor).await;
    let record = until("a record", SOON, async || world.call_records().pop()).await;
    let attempts = record["attempts"].as_array().cloned().unwrap_or_default();
    let outcomes: Vec<_> =
        attempts.iter().map(|attempt| (&attempt["gateway"], &attempt["outcome"])).collect();
    assert_eq!(outcomes.len(), 2, "{record}");
    assert_eq!((outcomes[0].0, outcomes[0].1), (&"nowhere".into(), &"transport error".into()), "{record}");
    assert!(world.targets("nowhere").await.is_empty());
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_dns_where_nothing_is_known() {
    let dns = DnsServer::start();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    dns.srv("_sip._udp.gw.test", (1, 1, vendor.address.port()), "host.gw.test")
        .a("host.gw.test", Ipv4Addr::LOCALHOST)
        .be(Mood::Silent);
    let mut plan = asking(&dns);
    plan.vendor("vendor", "gw.test", "");
    let world = plan.start().await;
    let call = caller.dial(world.sip(), "4420").await;
    world.counts("tandem_dns_answers_total", "waited", 1.0).await;
    dns.be(Mood::Answering);
    let invite = vendor.request(Method::Invite).await;
    vendor.respond(&invite, 200).await;
    let answer = caller.connects(&call).await;
    vendor.request(Method::Ack).await;
    let talk = Talk { call, answer, invite };
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
}

/// A domain that prefers TCP to UDP.
fn prefers_tcp(dns: &DnsServer, tcp: SocketAddr, udp: SocketAddr) -> Plan {
    dns.naptr("gw.test", (1, 1), "SIP+D2T", "_sip._tcp.gw.test")
        .naptr("gw.test", (1, 2), "SIP+D2U", "_sip._udp.gw.test")
        .srv("_sip._tcp.gw.test", (1, 1, tcp.port()), "host.gw.test")
        .srv("_sip._udp.gw.test", (1, 1, udp.port()), "host.gw.test")
        .a("host.gw.test", Ipv4Addr::LOCALHOST);
    let mut plan = asking_by(Plan::new().listening(&["127.0.0.1:0", "tcp:127.0.0.1:0"]), dns);
    plan.vendor("vendor", "gw.test", "");
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_over_tcp_where_naptr_prefers_it() {
    let dns = DnsServer::start();
    let mut caller = Agent::at("127.0.0.1").await;
    let (gate, vendor) = (Gate::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let world = prefers_tcp(&dns, gate.address, vendor.address).start().await;
    world.leads_to("vendor", &[gate.address, vendor.address]).await;
    let call = caller.dial(world.sip(), "4420").await;
    let mut line = gate.accept().await;
    let invite = line.request(Method::Invite).await;
    assert!(text(invite.raw()).starts_with("INVITE sip:4420@gw.test SIP/2.0\r\nVia: SIP/2.0/TCP "));
    line.respond(&invite, 486, gate.address).await;
    line.request(Method::Ack).await;
    caller.fails(&call, 486).await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_takes_the_connection_the_next_service_is_tried_within_the_attempt() {
    let dns = DnsServer::start();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    // The gate is gone at the end of the statement.
    let closed = Gate::at("127.0.0.1").await.address;
    let plan = prefers_tcp(&dns, closed, vendor.address);
    let world = plan.start().await;
    world.leads_to("vendor", &[closed, vendor.address]).await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    assert!(text(talk.invite.0.raw()).contains("Via: SIP/2.0/UDP "));
    talk.end(&mut caller, &mut vendor).await;
    let record = until("a record", SOON, async || world.call_records().pop()).await;
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1), "{record}");
    world.is_idle().await;
}
