//! Calls, and what is left of them.

use crate::agent::{Agent, Dialled, text};
use crate::until::{SOON, until};
use crate::world::{FORGOTTEN, Plan, Talk, World};
use std::time::Duration;
use tandem_sip::{Builder, Method, Name};
use tandem_switch::call::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_ipv6_has_brackets_round_its_addresses() {
    let mut plan = Plan::new().listening(&["[::1]:0"]);
    let (mut caller, mut vendor) = (Agent::at("::1").await, Agent::at("::1").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let switch = world.sip().to_string();
    assert!(switch.starts_with("[::1]:"), "{switch}");
    let contact = talk.invite.0.contact().expect("a Contact").expect("a valid one");
    assert!(text(contact.uri).ends_with(&switch), "{}", text(contact.uri));
    assert!(text(talk.invite.0.first(Name::Via).expect("a Via")).contains(&switch));
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_socket_is_named_by_the_address_that_leads_to_the_peer() {
    let mut plan = Plan::new().listening(&["0.0.0.0:0"]);
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let switch = std::net::SocketAddr::from(([127, 0, 0, 1], world.sip().port()));
    let talk = Talk::begin(&mut caller, &mut vendor, switch).await;
    let switch = switch.to_string();
    for contact in [talk.invite.0.contact(), talk.answer.contact()] {
        let contact = contact.expect("a Contact").expect("a valid one");
        assert!(text(contact.uri).ends_with(&switch), "{}", text(contact.uri));
    }
    assert!(text(talk.invite.0.first(Name::Via).expect("a Via")).contains(&switch));
    talk.end(&mut caller, &mut vendor).await;
}

/// A node that has itself for a vendor, with these lines of configuration.
async fn own_vendor(lines: &str) -> World {
    let own_port =
        tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let mut plan = Plan::new().listening(&[&own_port.to_string()]);
    plan.vendor("itself", own_port, lines);
    plan.start().await
}

async fn dial_with_5_hops(caller: &Agent, world: &World) -> Dialled {
    let call = Dialled::new(caller.address, world.sip(), "4420", &[]);
    let invite = text(&call.invite).replace("Max-Forwards: 70", "Max-Forwards: 5");
    caller.send(invite.as_bytes(), world.sip()).await;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_is_a_customer_by_the_same_call_makes_a_loop_that_ends_at_once() {
    let world = own_vendor("").await;
    let mut caller = Agent::at("127.0.0.1").await;
    let call = dial_with_5_hops(&caller, &world).await;
    caller.fails(&call, 482).await;
    assert_eq!(world.metric("tandem_calls_started_total", ""), 1.0);
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_is_a_customer_by_another_number_spirals_until_max_forwards_ends_it() {
    let world = own_vendor("prepend = \"1\"").await;
    let mut caller = Agent::at("127.0.0.1").await;
    let call = dial_with_5_hops(&caller, &world).await;
    caller.fails(&call, 483).await;
    assert_eq!(world.metric("tandem_calls_started_total", ""), 5.0);
    world.is_idle().await;
}

/// One call of each kind, over and over; then nothing may be left of any.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_calls_have_ended_nothing_is_left_of_them() {
    let mut plan = Plan::new();
    plan.parameters.push_str("SS_SIP_TIMEOUT_INVITE = 1\n");
    let (mut first, mut second) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let closed = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.local_addr().expect("bound")
    };
    plan.vendor("closed", closed, "");
    plan.vendor("first", first.address, "max_calls = 30");
    plan.vendor("second", second.address, "");
    let world = plan.start().await;
    let mut caller = Agent::at("127.0.0.1").await;
    let switch = world.sip();
    for _ in 0..5 {
        // Answered at the second, ended by the callee.
        let call = caller.dial(switch, "4420").await;
        let invite = first.request(Method::Invite).await;
        first.respond(&invite, 503).await;
        first.request(Method::Ack).await;
        let invite = second.request(Method::Invite).await;
        second.respond(&invite, 180).await;
        second.respond(&invite, 200).await;
        caller.connects(&call).await;
        second.request(Method::Ack).await;
        second.send(&bye_of_callee(&invite.0), switch).await;
        second.status(200).await;
        let bye = caller.request(Method::Bye).await;
        caller.respond(&bye, 200).await;
        // Busy.
        let call = caller.dial(switch, "4420").await;
        let invite = first.request(Method::Invite).await;
        first.respond(&invite, 486).await;
        first.request(Method::Ack).await;
        caller.fails(&call, 486).await;
        // Cancelled while it rings, and answered all the same.
        let call = caller.dial(switch, "4420").await;
        let invite = first.request(Method::Invite).await;
        first.respond(&invite, 180).await;
        caller.status_of(&call, 180).await;
        caller.send(&call.cancel(), switch).await;
        let cancel = first.request(Method::Cancel).await;
        first.respond(&cancel, 200).await;
        first.respond(&invite, 200).await;
        first.request(Method::Ack).await;
        let bye = first.request(Method::Bye).await;
        first.respond(&bye, 200).await;
        caller.fails(&call, 487).await;
        // Silence at the first, and then a refusal.
        let call = caller.dial(switch, "4420").await;
        first.request(Method::Invite).await;
        let invite = second.request(Method::Invite).await;
        second.respond(&invite, 404).await;
        second.request(Method::Ack).await;
        caller.fails(&call, 404).await;
        while first.heard().iter().any(|line| line.starts_with("INVITE")) {
            first.request(Method::Invite).await;
        }
    }
    // Nobody hears the last of these again.
    let gone = caller.dial(switch, "4420").await;
    let invite = first.request(Method::Invite).await;
    first.respond(&invite, 180).await;
    caller.send(&gone.cancel(), switch).await;
    world.is_idle().await;
    world.forgets().await;
    world.counts("tandem_cdr_backlog", "", 0.0).await;
    assert_eq!(world.call_records().len(), 21);
}

fn bye_of_callee(invite: &tandem_sip::Message) -> bytes::Bytes {
    let contact = invite.contact().expect("a Contact").expect("a valid one");
    let (from, to) =
        (text(invite.first(Name::From).expect("From")), text(invite.first(Name::To).expect("To")));
    Builder::request(Method::Bye, contact.uri)
        .header(
            Name::Via,
            format!("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK-bye-{};rport", crate::agent::unique()),
        )
        .header(Name::MaxForwards, "70")
        .header(Name::From, format!("{to};tag=callee"))
        .header(Name::To, from)
        .header(Name::CallId, invite.call_id().unwrap_or_default())
        .header(Name::CSeq, "1 BYE")
        .finish()
}

/// A broken or restarted peer may begin its numbering anew within the life of a tombstone.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_the_names_of_one_that_is_over_is_answered_and_never_left_hanging() {
    let mut plan = Plan::new();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let call = caller.dial(world.sip(), "4420").await;
    let invite = vendor.request(Method::Invite).await;
    vendor.respond(&invite, 486).await;
    caller.fails(&call, 486).await;
    let forgotten = async || world.node.calls().await.is_empty().then_some(());
    until("the first is forgotten", FORGOTTEN, forgotten).await;
    caller.heard();
    caller.send(&call.invite, world.sip()).await;
    let (answer, _) = caller
        .wait("final answer", |message| message.status().is_some_and(tandem_sip::StatusCode::is_final))
        .await;
    assert_eq!(answer.status().map(|status| status.code()), Some(500));
    world.is_idle().await;
    world.counts("tandem_calls_ended_total", "", 2.0).await;
    world.counts("tandem_gateway_slots", "vendor", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_comes_again_and_again_is_one_call() {
    let mut plan = Plan::new();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let call = caller.dial(world.sip(), "4420").await;
    let invite = vendor.request(Method::Invite).await;
    // Fewer than a mailbox holds: beyond that the vendor's answer might be what is dropped.
    for _ in 0..tandem_node::MAILBOX_MAX / 2 {
        caller.send(&call.invite, world.sip()).await;
    }
    vendor.respond(&invite, 200).await;
    caller.connects(&call).await;
    let talks = async || (world.only_call().await.stage == Stage::Answered).then_some(());
    until("one call", SOON, talks).await;
    assert_eq!(world.metric("tandem_calls_started_total", ""), 1.0);
    assert_eq!(world.metric("tandem_gateway_attempts_total", "vendor"), 1.0);
    let stopped = tokio::time::timeout(Duration::from_secs(8), world.node.stop()).await.expect("it stops");
    assert_eq!(stopped.hung_up, 1);
}
