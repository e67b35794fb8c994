//! Limits, and whose calls count for them.

use crate::agent::{Agent, Dialled};
use crate::until::{SOON, until};
use crate::world::{Plan, Talk};
use std::collections::HashSet;
use std::net::SocketAddr;
use tandem_sip::{Method, Name};

/// Sends many INVITEs at once, spread over the listeners, each from a socket of its own task.
async fn storm(count: usize, listeners: &[SocketAddr]) -> Vec<(Agent, Dialled)> {
    let mut tasks = Vec::new();
    for number in 0..count {
        let switch = listeners[number % listeners.len()];
        tasks.push(tokio::spawn(async move {
            let caller = Agent::at("127.0.0.1").await;
            let call = caller.dial(switch, &format!("44{number}")).await;
            (caller, call)
        }));
    }
    let mut callers = Vec::new();
    for task in tasks {
        callers.push(task.await.expect("it only sends"));
    }
    callers
}

/// Of a storm of 60 calls, 10 get through.
async fn ten_get_through(plan: Plan, refusal: &str) {
    let mut plan = plan.listening(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"]);
    let mut vendor = Agent::at("127.0.0.1").await;
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let mut callers = storm(60, &world.node.listening_on()).await;
    world.counts("tandem_admission_refused_total", refusal, 50.0).await;
    assert_eq!(world.node.calls_in_progress(), 10);
    let mut refused = 0;
    for (caller, _) in &mut callers {
        // Each is answered, by 100 or by 503.
        let (answer, _) = caller.wait("answer", |message| !message.is_request()).await;
        if answer.status().is_some_and(|status| status.code() == 503) {
            assert!(matches!(answer.number(Name::RetryAfter), Some(Ok(5..=10))));
            refused += 1;
        }
    }
    assert_eq!(refused, 50);
    let mut called = HashSet::new();
    for _ in 0..10 {
        let invite = vendor.request(Method::Invite).await;
        called.insert(invite.0.request_uri().to_vec());
        vendor.respond(&invite, 486).await;
    }
    assert_eq!(called.len(), 10);
    world.is_idle().await;
    for name in ["tandem_gateway_calls", "tandem_gateway_slots"] {
        world.counts(name, "customer", 0.0).await;
        world.counts(name, "vendor", 0.0).await;
    }
    assert_eq!(world.metric("tandem_gateway_attempts_total", "customer"), 10.0);
    assert_eq!(world.metric("tandem_gateway_attempts_total", "vendor"), 10.0);
    // There is room again.
    let [(caller, _), ..] = &mut callers[..] else { panic!("callers") };
    caller.dial(world.sip(), "4420").await;
    vendor.request(Method::Invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_limit_holds_while_calls_race_on_three_listeners() {
    let mut plan = Plan::new();
    plan.sections = "[limits]\nmax_calls = 10".into();
    ten_get_through(plan, "node_calls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_limit_holds_while_calls_race_on_three_listeners() {
    let mut plan = Plan::new();
    plan.customer = "max_calls = 10".into();
    ten_get_through(plan, "gateway_calls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_limit_holds_while_calls_race_and_the_rest_go_to_the_next() {
    let mut plan = Plan::new().listening(&["127.0.0.1:0", "127.0.0.1:0"]);
    let (mut first, mut second) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("first", first.address, "max_calls = 7");
    plan.vendor("second", second.address, "");
    let world = plan.start().await;
    let _callers = storm(40, &world.node.listening_on()).await;
    for _ in 0..7 {
        let invite = first.request(Method::Invite).await;
        first.respond(&invite, 180).await;
    }
    for _ in 0..33 {
        let invite = second.request(Method::Invite).await;
        second.respond(&invite, 180).await;
    }
    assert_eq!((world.slots("first").await, world.slots("second").await), (7, 33));
    assert_eq!(world.metric("tandem_gateway_slots", "first"), 7.0);
    assert_eq!(world.metric("tandem_gateway_calls", "second"), 33.0);
    let rings = async || (world.metric("tandem_calls_active", "ringing") == 40.0).then_some(());
    until("all ring", SOON, rings).await;
    let _ = world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_an_invite_at_another_listener_makes_no_second_call() {
    let mut plan = Plan::new().listening(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"]);
    let mut vendor = Agent::at("127.0.0.1").await;
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let listeners = world.node.listening_on();
    let caller = std::sync::Arc::new(Agent::at("127.0.0.1").await);
    const CALLS: usize = 200;
    for number in 0..CALLS {
        let call = Dialled::new(caller.address, listeners[0], &format!("44{number}"), &[]);
        let copies = listeners.iter().map(|listener| {
            let (caller, invite, listener) = (caller.clone(), call.invite.clone(), *listener);
            tokio::spawn(async move { caller.send(&invite, listener).await })
        });
        for copy in copies.collect::<Vec<_>>() {
            copy.await.expect("it only sends");
        }
        let invite = vendor.request(Method::Invite).await;
        vendor.respond(&invite, 486).await;
    }
    world.counts("tandem_calls_ended_total", "", CALLS as f64).await;
    assert_eq!(world.metric("tandem_calls_started_total", ""), CALLS as f64);
    assert_eq!(world.metric("tandem_gateway_attempts_total", "customer"), CALLS as f64);
    assert_eq!(world.metric("tandem_gateway_calls", "customer"), 0.0);
    let again = vendor.heard().into_iter().filter(|line| line.starts_with("INVITE")).collect::<Vec<_>>();
    assert_eq!(again, Vec::<String>::new(), "each callee is called once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_beyond_its_cps_does_not_use_up_the_nodes() {
    let mut plan = Plan::new();
    plan.sections =
        "[limits]\ncps = 20\n\n[[mapping_gateway]]\nname = \"loud\"\nsources = [\"127.0.0.9/32\"]\ncps = 1"
            .into();
    let mut vendor = Agent::at("127.0.0.1").await;
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let loud = Agent::at("127.0.0.9").await;
    for _ in 0..30 {
        loud.dial(world.sip(), "4420").await;
    }
    world.counts("tandem_admission_refused_total", "gateway_cps", 29.0).await;
    let (mut caller, mut other) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    vendor.request(Method::Invite).await;
    for caller in [&mut caller, &mut other] {
        let talk = Talk::begin(caller, &mut vendor, world.sip()).await;
        talk.end(caller, &mut vendor).await;
    }
    assert_eq!(world.metric("tandem_admission_refused_total", "node_cps"), 0.0);
}
