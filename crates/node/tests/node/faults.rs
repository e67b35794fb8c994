//! Faults made on purpose: what fails is started again, and what it held is not lost.

use crate::agent::Agent;
use crate::until::{SOON, until};
use crate::world::{Plan, Talk, World};
use std::time::Duration;
use tandem_node::Fault;
use tandem_sip::Method;
use tandem_switch::call::Stage;

async fn with_vendor(lines: &str) -> (World, Agent, Agent) {
    let mut plan = Plan::new();
    let (caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, lines);
    (plan.start().await, caller, vendor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_that_makes_us_panic_is_lost_alone() {
    let (world, caller, mut vendor) = with_vendor("").await;
    world.node.arm(Fault::Dispatch);
    let call = caller.dial(world.sip(), "4420").await;
    world.counts("tandem_call_panics_total", "", 1.0).await;
    caller.send(&call.invite, world.sip()).await;
    vendor.request(Method::Invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_loop_breaks_is_started_again_on_its_socket() {
    let (world, mut caller, mut vendor) = with_vendor("").await;
    let address = world.sip();
    let talk = Talk::begin(&mut caller, &mut vendor, address).await;
    world.node.arm(Fault::Listener);
    let bye = talk.call.bye(&talk.answer);
    let heard = async || {
        caller.send(&bye, address).await;
        vendor.heard().into_iter().find(|line| line.starts_with("BYE"))
    };
    until("the listener hears again", SOON, heard).await;
    assert_eq!(world.sip(), address);
    let bye = vendor.request(Method::Bye).await;
    vendor.respond(&bye, 200).await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_actor_fails_to_start_holds_nothing() {
    let (world, caller, mut vendor) = with_vendor("").await;
    world.node.arm(Fault::CallStart);
    let call = caller.dial(world.sip(), "4420").await;
    let started = async || (world.metric("tandem_calls_started_total", "") == 1.0).then_some(());
    until("the call is admitted", SOON, started).await;
    world.is_idle().await;
    assert_eq!(world.metric("tandem_gateway_calls", "customer"), 0.0);
    // The copy that the caller sends next is a call.
    caller.send(&call.invite, world.sip()).await;
    vendor.request(Method::Invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_actor_dies_gives_all_back() {
    let (world, mut caller, mut vendor) = with_vendor("max_calls = 1").await;
    Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    assert_eq!(world.slots("vendor").await, 1);
    world.node.arm(Fault::CallActor);
    // Asking it is what kills it.
    assert!(world.node.calls().await.is_empty());
    world.is_idle().await;
    until("the slot is back", SOON, async || (world.slots("vendor").await == 0).then_some(())).await;
    for name in
        ["tandem_calls_active", "tandem_wheel_wakeups", "tandem_gateway_slots", "tandem_gateway_calls"]
    {
        world.counts(name, "", 0.0).await;
    }
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    talk.end(&mut caller, &mut vendor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_started_again_knows_its_slots_and_no_others() {
    let (world, mut caller, mut vendor) = with_vendor("max_calls = 3").await;
    let mut talks = Vec::new();
    for _ in 0..3 {
        talks.push(Talk::begin(&mut caller, &mut vendor, world.sip()).await);
    }
    // This one asked and was refused: it holds nothing that it could claim.
    let refused = caller.dial(world.sip(), "4420").await;
    caller.fails(&refused, 503).await;
    talks.pop().expect("three").end(&mut caller, &mut vendor).await;
    world.counts("tandem_gateway_slots", "vendor", 2.0).await;
    world.node.arm(Fault::Gateway);
    assert!(world.node.routing_gateways().await.is_empty(), "its actor died of the question");
    // Without an actor nobody can say whether there is room.
    let early = caller.dial(world.sip(), "4420").await;
    caller.fails(&early, 503).await;
    let back = async || {
        world.node.routing_gateways().await.first().map(|gateway| gateway.calls).filter(|calls| *calls == 2)
    };
    until("both slots are known again", SOON, back).await;
    let third = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let fourth = caller.dial(world.sip(), "4420").await;
    caller.fails(&fourth, 503).await;
    for talk in talks.iter().chain([&third]) {
        talk.end(&mut caller, &mut vendor).await;
    }
    world.counts("tandem_gateway_slots", "vendor", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_started_again_loses_no_record_and_writes_none_twice() {
    let (world, mut caller, mut vendor) = with_vendor("").await;
    Talk::begin(&mut caller, &mut vendor, world.sip()).await.end(&mut caller, &mut vendor).await;
    world.counts("tandem_cdrs_written_total", "", 1.0).await;
    world.node.arm(Fault::CdrSink);
    for _ in 0..3 {
        Talk::begin(&mut caller, &mut vendor, world.sip()).await.end(&mut caller, &mut vendor).await;
    }
    world.counts("tandem_cdrs_written_total", "", 4.0).await;
    assert_eq!(world.call_records().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_panics_once_goes_on_and_ends_with_one_record() {
    let (world, mut caller, mut vendor) = with_vendor("").await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let id = world.only_call().await.record.id;
    assert!(world.node.panic_call(id));
    // The input that it panics over is lost; who gets no answer sends it again.
    caller.send(&talk.call.bye(&talk.answer), world.sip()).await;
    world.counts("tandem_call_panics_total", "", 1.0).await;
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
    assert_eq!(world.metric("tandem_call_panics_total", ""), 1.0);
    world.counts("tandem_gateway_slots", "", 0.0).await;
    let _ = world.node.stop().await;
    let [record] = &world.call_records()[..] else { panic!("{:#?}", world.records()) };
    assert_eq!((&record["end_reason"], &record["ended_by"]), (&"normal".into(), &"caller".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_panics_twice_ends_with_one_record_and_holds_nothing() {
    let (world, mut caller, mut vendor) = with_vendor("max_calls = 1").await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let id = world.only_call().await.record.id;
    for panics in 1..=2 {
        assert!(world.node.panic_call(id));
        let options = talk.call.request(
            Method::Options,
            10 + panics,
            &crate::agent::text(talk.answer.to_tag().expect("a tag")),
        );
        caller.send(&options.finish(), world.sip()).await;
        world.counts("tandem_call_panics_total", "", f64::from(panics)).await;
        if panics == 1 {
            let restored = async || world.node.call(id).await.filter(|call| call.stage == Stage::Answered);
            until("it is back", SOON, restored).await;
        }
    }
    world.is_idle().await;
    until("the slot is back", SOON, async || (world.slots("vendor").await == 0).then_some(())).await;
    world.counts("tandem_calls_ended_total", "protocol_error", 1.0).await;
    world.counts("tandem_wheel_wakeups", "", 0.0).await;
    let _ = world.node.stop().await;
    assert_eq!(world.call_records().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ringing_call_that_panics_is_answered_all_the_same() {
    let (world, mut caller, mut vendor) = with_vendor("").await;
    let call = caller.dial(world.sip(), "4420").await;
    let invite = vendor.request(Method::Invite).await;
    vendor.respond(&invite, 180).await;
    caller.status_of(&call, 180).await;
    assert!(world.node.panic_call(world.only_call().await.record.id));
    vendor.respond(&invite, 180).await;
    world.counts("tandem_call_panics_total", "", 1.0).await;
    vendor.respond(&invite, 200).await;
    let answer = caller.connects(&call).await;
    vendor.request(Method::Ack).await;
    caller.send(&call.bye(&answer), world.sip()).await;
    let bye = vendor.request(Method::Bye).await;
    vendor.respond(&bye, 200).await;
    world.is_idle().await;
    until("the slot is back", Duration::from_secs(40), async || {
        (world.slots("vendor").await == 0).then_some(())
    })
    .await;
}
