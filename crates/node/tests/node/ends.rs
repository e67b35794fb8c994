//! How a node stops.

use crate::agent::{Agent, Dialled};
use crate::until::{SOON, until};
use crate::world::{Plan, Talk, World};
use std::time::{Duration, Instant};
use tandem_node::Stopped;
use tandem_sip::{Method, Name};
use tandem_switch::cdr::EndReason;

async fn with_vendor() -> (World, Agent, Agent) {
    let mut plan = Plan::new();
    let (caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    (plan.start().await, caller, vendor)
}

/// How long an orderly stop may take with nobody left to wait for.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_node_stops_at_once() {
    let (world, ..) = with_vendor().await;
    let began = Instant::now();
    assert_eq!(world.node.stop().await, Stopped { hung_up: 0, handed_over: 0, left: 0, cdrs_lost: 0 });
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    world.node.gone().await;
    assert!(!world.node.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_refuses_new_calls_and_keeps_those_it_has() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    world.node.begin_drain();
    let refused = caller.dial(world.sip(), "4420").await;
    let refusal = caller.fails(&refused, 503).await;
    assert!(matches!(refusal.number(Name::RetryAfter), Some(Ok(5..=10))));
    // Whoever probes before it sends calls is told as well.
    let probe = Dialled::new(caller.address, world.sip(), "4420", &[]);
    caller.send(&probe.request(Method::Options, 1, "").finish(), world.sip()).await;
    let refusal = caller.status_of(&probe, 503).await;
    assert!(matches!(refusal.number(Name::RetryAfter), Some(Ok(5..=10))));
    assert_eq!(world.node.drained(Duration::ZERO).await, 1);
    talk.end(&mut caller, &mut vendor).await;
    assert_eq!(world.node.drained(SOON).await, 0);
    let began = Instant::now();
    assert_eq!(world.node.stop().await, Stopped { hung_up: 0, handed_over: 0, left: 0, cdrs_lost: 0 });
    assert!(began.elapsed() < AT_ONCE, "nobody is left to answer: {:?}", began.elapsed());
    let [record] = &world.call_records()[..] else { panic!("{:#?}", world.records()) };
    assert_eq!(record["end_reason"], "normal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_has_ended_cannot_be_hung_up() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let id = world.only_call().await.record.id;
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
    assert!(world.node.call(id).await.is_some(), "its last transactions are still answered");
    assert!(!world.node.hang_up(id, EndReason::Admin));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_hangs_up_what_talks_and_what_rings_and_waits_for_their_answers() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let _talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let ringing = caller.dial(world.sip(), "4421").await;
    let invite = vendor.request(Method::Invite).await;
    vendor.respond(&invite, 180).await;
    caller.status_of(&ringing, 180).await;
    let stopping = async {
        let stopped = world.node.stop().await;
        assert_eq!(stopped, Stopped { hung_up: 2, handed_over: 0, left: 0, cdrs_lost: 0 });
    };
    let parting = async {
        // The first BYE to the caller is lost: it has to come again.
        caller.request(Method::Bye).await;
        let again = caller.request(Method::Bye).await;
        caller.respond(&again, 200).await;
        let bye = vendor.request(Method::Bye).await;
        vendor.respond(&bye, 200).await;
        let cancel = vendor.request(Method::Cancel).await;
        vendor.respond(&cancel, 200).await;
        vendor.respond(&invite, 487).await;
        vendor.request(Method::Ack).await;
        let refused = caller
            .wait("refusal", |message| {
                message.status().is_some_and(|status| status.is_failure())
                    && message.call_id() == Some(ringing.call_id().as_bytes())
            })
            .await;
        caller.send(&ringing.ack(&refused.0), world.sip()).await;
    };
    tokio::join!(stopping, parting);
    let records = world.call_records();
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!((&record["end_reason"], &record["ended_by"]), (&"drained".into(), &"server".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cancels_what_a_gateway_takes_up_late() {
    let (world, caller, mut vendor) = with_vendor().await;
    caller.dial(world.sip(), "4420").await;
    let invite = vendor.request(Method::Invite).await;
    let stopping = async {
        assert_eq!(world.node.stop().await.hung_up, 1);
    };
    let late = async {
        let hung_up = async || (world.node.calls_in_progress() == 0).then_some(());
        until("the call is hung up", SOON, hung_up).await;
        vendor.respond(&invite, 180).await;
        vendor.request(Method::Cancel).await;
    };
    tokio::join!(stopping, late);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_longer_than_a_farewell_for_those_who_are_silent() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let _talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let began = Instant::now();
    assert_eq!(world.node.stop().await, Stopped { hung_up: 1, handed_over: 0, left: 0, cdrs_lost: 0 });
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(world.call_records().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ports_are_free_again_soon_after_a_stop() {
    let (world, ..) = with_vendor().await;
    let address = world.sip();
    let taken = Plan::new().listening(&[&address.to_string()]);
    let why = taken.try_start().await.err().expect("the port is taken");
    assert!(why.contains(&address.to_string()) && why.contains("in use"), "{why}");
    let _ = world.node.stop().await;
    drop(world);
    until("the port is free", SOON, async || std::net::UdpSocket::bind(address).ok()).await;
}
