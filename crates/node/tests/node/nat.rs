//! Endpoints behind NATs, and what keeps them reachable.

use crate::agent::Agent;
use crate::line::{Line, over};
use crate::phone::Phone;
use crate::until::until;
use crate::world::{Plan, World};
use std::time::Duration;
#[cfg(feature = "fault-injection")]
use tandem_node::Fault;
use tandem_sip::{Method, Name};
use tandem_switch::registrar::Binding;
use tokio::time::Instant;

/// The least period.
const PERIOD: Duration = Duration::from_secs(10);

/// How long a keep-alive may take to come, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Contact that only a NAT can lead to.
const INSIDE: &str = "<sip:alice@10.0.0.7:5060>";

fn plan() -> Plan {
    let mut plan = Plan::new();
    plan.parameters +=
        "SS_SIP_NAT_KEEP_ALIVE_PERIOD = 10\nSS_SIP_NAT_KEEP_ALIVE_MESSAGE = \"are you there?\"\n";
    plan.sections =
        "[[endpoint]]\nuser = \"alice\"\npassword = \"wonderland\"\n[[endpoint]]\nuser = \"bob\"\n\
                     password = \"builder\"\n"
            .to_owned();
    plan
}

/// Alice behind a NAT.
async fn alice(world: &World) -> Phone {
    let mut alice = Phone::at("127.0.0.1", world.sip(), "alice", "wonderland").await;
    alice.register(&[(Name::Contact, INSIDE)]).await;
    world.counts("tandem_nat_endpoints", "", 1.0).await;
    alice
}

/// Hers, or whosever is the only binding.
async fn binding(world: &World) -> Binding {
    let all = world.node.registrations("", None, 10).await.expect("the store answers");
    let [registered] = &all[..] else { panic!("{all:?}") };
    let [binding] = &registered.bindings[..] else { panic!("{registered:?}") };
    binding.clone()
}

/// Waits for a metric to have that value, as long as a keep-alive may take.
async fn comes_to(world: &World, metric: &str, value: f64) {
    until(metric, PATIENCE, async || (world.metric(metric, "") == value).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_behind_a_nat_is_sent_keep_alives_from_the_socket_it_registered_to() {
    let world = plan().listening(&["127.0.0.1:0", "127.0.0.2:0"]).start().await;
    let second = world.node.listening_on()[1];
    let mut alice = Phone::at("127.0.0.1", second, "alice", "wonderland").await;
    alice.register(&[(Name::Contact, INSIDE)]).await;
    let mut times = Vec::new();
    for _ in 0..2 {
        let (message, source) = alice.agent.raw_within(PATIENCE).await;
        assert_eq!((message.as_slice(), source), (&b"are you there?"[..], second));
        times.push(Instant::now());
    }
    let gap = times[1] - times[0];
    assert!(gap > PERIOD * 9 / 10, "{gap:?}");
    assert_eq!(world.metric("tandem_keep_alives_total", ""), 2.0);
    assert!(
        world.node.nat_report(&binding(&world).await).await.expect("it is kept alive").kept_alive.is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keep_alive_never_extends_a_registration_and_none_goes_to_who_is_behind_no_nat() {
    let world = plan().start().await;
    let alice = alice(&world).await;
    let before = binding(&world).await;
    let mut bob = Phone::at("127.0.0.1", world.sip(), "bob", "builder").await;
    bob.binds("").await;
    alice.agent.raw_within(PATIENCE).await;
    let all = world.node.registrations("alice", None, 10).await.expect("the store answers");
    assert_eq!(all[0].bindings, [before]);
    assert_eq!(world.metric("tandem_nat_endpoints", ""), 1.0);
    assert_eq!(bob.agent.heard(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_sent_no_more_keep_alives() {
    let world = plan().start().await;
    let mut alice = alice(&world).await;
    let gone = format!("{INSIDE};expires=0");
    let request = alice.next(&[(Name::Contact, &gone)]);
    alice.send(&request).await;
    world.counts("tandem_nat_endpoints", "", 0.0).await;
    assert_eq!(world.metric("tandem_keep_alive_ceiling", ""), 60_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_message_there_are_no_keep_alives() {
    let mut plan = plan();
    plan.parameters += "SS_SIP_NAT_KEEP_ALIVE_MESSAGE = \"\"\n";
    plan.parameters = plan.parameters.replace("SS_SIP_NAT_KEEP_ALIVE_MESSAGE = \"are you there?\"\n", "");
    let world = plan.start().await;
    let mut alice = Phone::at("127.0.0.1", world.sip(), "alice", "wonderland").await;
    alice.register(&[(Name::Contact, INSIDE)]).await;
    assert!(binding(&world).await.nat);
    assert_eq!(world.node.nat_report(&binding(&world).await).await, None);
    assert_eq!(world.metric("tandem_nat_endpoints", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_keep_alive_bounces_is_unreachable_until_it_registers_again() {
    let world = plan().start().await;
    let mut alice = alice(&world).await;
    let address = alice.agent.address;
    alice.agent = Agent::at("127.0.0.1").await;
    comes_to(&world, "tandem_nat_unreachable", 1.0).await;
    let report = world.node.nat_report(&binding(&world).await).await.expect("it is kept alive");
    assert!(report.unreachable_since.is_some());
    assert!(world.metric("tandem_keep_alives_bounced_total", "") >= 1.0);
    alice.agent = Agent::again(address).await;
    let request = alice.next(&[(Name::Contact, INSIDE)]);
    alice.send(&request).await;
    comes_to(&world, "tandem_nat_unreachable", 0.0).await;
    let report = world.node.nat_report(&binding(&world).await).await.expect("it is kept alive");
    assert_eq!(report.unreachable_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_try_an_unreachable_endpoint_after_all_others() {
    let mut plan = plan();
    plan.sections = plan.sections.replacen("password", "number = \"100\"\npassword", 1);
    let world = plan.start().await;
    let mut first = alice(&world).await;
    let address = first.agent.address;
    first.agent = Agent::at("127.0.0.1").await;
    comes_to(&world, "tandem_nat_unreachable", 1.0).await;
    // It is there again, but we cannot know.
    first.agent = Agent::again(address).await;
    let mut second = Phone::at("127.0.0.1", world.sip(), "alice", "wonderland").await;
    second.binds(";q=0.1").await;
    let mut caller = Agent::at("127.0.0.1").await;
    let call = caller.dial(world.sip(), "100").await;
    let invite = second.agent.request(Method::Invite).await;
    second.agent.respond(&invite, 200).await;
    caller.connects(&call).await;
    // But for keep-alives.
    while let Some(heard) = first.agent.try_raw() {
        assert_eq!(heard, b"are you there?");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_connection_has_gone_is_unreachable() {
    let mut plan = plan().listening(&["tcp:127.0.0.1:0"]);
    plan.sections = format!("[registrar]\nauthenticate = false\n{}", plan.sections);
    let world = plan.start().await;
    let mut line = Line::to(world.sip()).await;
    let mut alice = Phone::at("127.0.0.1", world.sip(), "alice", "wonderland").await;
    let request = alice.next(&[(Name::Contact, INSIDE)]);
    line.send(&over("TCP", &request)).await;
    world.counts("tandem_nat_endpoints", "", 1.0).await;
    // As long as it is there an empty line keeps it open, which the framing of SIP passes over.
    comes_to(&world, "tandem_keep_alives_total", 1.0).await;
    assert_eq!(world.metric("tandem_nat_unreachable", ""), 0.0);
    drop(line);
    comes_to(&world, "tandem_nat_unreachable", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_beyond_the_ceiling_are_counted() {
    let mut plan = plan();
    plan.parameters +=
        "SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL = 10000\nSS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME = 1\n";
    let world = plan.start().await;
    let _alice = alice(&world).await;
    assert_eq!(world.metric("tandem_keep_alive_ceiling", ""), 1.0);
    assert_eq!(world.metric("tandem_keep_alive_beyond_ceiling", ""), 0.0);
    let mut bob = Phone::at("127.0.0.1", world.sip(), "bob", "builder").await;
    bob.register(&[(Name::Contact, "<sip:bob@10.0.0.8>")]).await;
    world.counts("tandem_keep_alive_beyond_ceiling", "", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_behind_one_address_and_port_are_one_endpoint_until_both_have_left() {
    let mut plan = plan();
    plan.sections = format!("[registrar]\nauthenticate = false\n{}", plan.sections);
    let world = plan.start().await;
    let mut alice = alice(&world).await;
    alice.aor_user = "bob".to_owned();
    alice.register(&[(Name::Contact, "<sip:bob@10.0.0.7:5060>")]).await;
    world.counts("tandem_bindings", "", 2.0).await;
    alice.register(&[(Name::Contact, "<sip:bob@10.0.0.7:5060>;expires=0")]).await;
    world.counts("tandem_bindings", "", 1.0).await;
    alice.agent.raw_within(PATIENCE).await;
    assert_eq!(world.metric("tandem_nat_endpoints", ""), 1.0);
}

#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread")]
async fn after_the_pacer_or_the_registrar_has_failed_keep_alives_go_on() {
    let world = plan().start().await;
    let alice = alice(&world).await;
    world.node.arm(Fault::NatPacer);
    // What was due when the pacer failed is made up for.
    let (message, _) = alice.agent.raw_within(PATIENCE).await;
    assert_eq!(message, b"are you there?");
    assert_eq!(world.metric("tandem_nat_endpoints", ""), 1.0);
    world.node.arm(Fault::Registrar);
    let mut bob = Phone::at("127.0.0.1", world.sip(), "bob", "builder").await;
    let request = bob.next(&[]);
    bob.agent.send(&request, world.sip()).await;
    let (message, _) = alice.agent.raw_within(PATIENCE).await;
    assert_eq!(message, b"are you there?");
}

/// A binding request without attributes.
fn binding_request() -> Vec<u8> {
    [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], b"transaction."].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stun_binding_request_is_answered_with_the_address_it_came_from() {
    let world = Plan::new().start().await;
    let agent = Agent::at("127.0.0.1").await;
    agent.send(&binding_request(), world.sip()).await;
    let answer = agent.raw().await;
    let port = agent.address.port() ^ 0x2112;
    let mapped =
        [&[0, 0x20, 0, 8, 0, 1][..], &port.to_be_bytes(), &[127 ^ 0x21, 0x12, 0xA4, 1 ^ 0x42]].concat();
    assert_eq!(answer, [&[1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42][..], b"transaction.", &mapped].concat());
    assert_eq!(world.metric("tandem_stun_answered_total", ""), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stun_is_limited_as_all_that_strangers_send() {
    let mut plan = Plan::new();
    plan.sources = "\"127.0.0.1/32\"".into();
    plan.sections = "[limits]\nstranger_rate = 5\n".into();
    let world = plan.start().await;
    let stranger = Agent::at("127.0.0.66").await;
    for _ in 0..200 {
        stranger.send(&binding_request(), world.sip()).await;
    }
    until("all of them to be read", PATIENCE, async || {
        let dropped = world.metric("tandem_datagrams_dropped_total", "rate");
        (dropped + world.metric("tandem_stun_answered_total", "") == 200.0).then_some(())
    })
    .await;
    assert!(world.metric("tandem_stun_answered_total", "") < 100.0);
}
