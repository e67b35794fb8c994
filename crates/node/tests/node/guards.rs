//! Who is listened to, and how much.

use crate::agent::{Agent, Dialled};
use crate::until::{SOON, until};
use crate::world::{Plan, Talk, World};
use tandem_sip::{Method, Name};

/// A node whose only customer is 127.0.0.1, with these keys of `[limits]`.
async fn with_limits(keys: &str) -> (World, Agent, Agent) {
    let mut plan = Plan::new();
    plan.sources = "\"127.0.0.1/32\"".into();
    plan.sections = format!("[limits]\n{keys}");
    let (caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    (plan.start().await, caller, vendor)
}

async fn asks_options(agent: &Agent, world: &World) -> Dialled {
    let probe = Dialled::new(agent.address, world.sip(), "4420", &[]);
    agent.send(&probe.request(Method::Options, 1, "").finish(), world.sip()).await;
    probe
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_sends_bad_messages_is_banned_until_the_ban_is_lifted() {
    let (world, mut caller, mut vendor) = with_limits("ban_after = 3").await;
    let mut stranger = Agent::at("127.0.0.66").await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    for _ in 0..2 {
        let refused = stranger.dial(world.sip(), "4420").await;
        stranger.fails(&refused, 403).await;
    }
    stranger.send(b"HELLO", world.sip()).await;
    world.counts("tandem_bans_total", "", 1.0).await;
    asks_options(&stranger, &world).await;
    world.counts("tandem_datagrams_dropped_total", "acl", 1.0).await;
    assert_eq!(world.metric("tandem_banned_sources", ""), 1.0);
    assert_eq!(stranger.heard(), Vec::<String>::new());
    // Nobody else is touched.
    let probe = asks_options(&caller, &world).await;
    caller.status_of(&probe, 200).await;
    talk.end(&mut caller, &mut vendor).await;
    let [ban] = world.node.bans()[..] else { panic!("{:?}", world.node.bans()) };
    assert_eq!(ban.source.to_string(), "127.0.0.66");
    assert!(world.node.lift_ban(stranger.address.ip()) && !world.node.lift_ban(stranger.address.ip()));
    let probe = asks_options(&stranger, &world).await;
    stranger.status_of(&probe, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_sends_bad_messages_is_never_banned() {
    let (world, mut caller, _) = with_limits("ban_after = 1").await;
    for _ in 0..100 {
        caller.send(b"INVITE what", world.sip()).await;
    }
    world.counts("tandem_sip_rejects_total", "not_sip", 100.0).await;
    let probe = asks_options(&caller, &world).await;
    caller.status_of(&probe, 200).await;
    assert!(world.node.bans().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_sends_beyond_its_rate_is_dropped_unread() {
    let (world, mut caller, _) = with_limits("stranger_rate = 5").await;
    let stranger = Agent::at("127.0.0.66").await;
    for _ in 0..50 {
        asks_options(&stranger, &world).await;
    }
    let dropped = async || (world.metric("tandem_datagrams_dropped_total", "rate") >= 40.0).then_some(());
    until("most are dropped", SOON, dropped).await;
    let probe = asks_options(&caller, &world).await;
    caller.status_of(&probe, 200).await;
    assert!(world.node.bans().is_empty(), "much is not bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_of_a_customer_has_its_own_calls_per_second() {
    let mut plan = Plan::new();
    plan.customer = "source_cps = 2".into();
    let (caller, mut other) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.2").await);
    let mut vendor = Agent::at("127.0.0.1").await;
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    for _ in 0..10 {
        caller.dial(world.sip(), "4420").await;
    }
    let refused =
        async || (world.metric("tandem_admission_refused_total", "source_cps") >= 7.0).then_some(());
    until("most are refused", SOON, refused).await;
    vendor.request(Method::Invite).await;
    vendor.request(Method::Invite).await;
    let talk = Talk::begin(&mut other, &mut vendor, world.sip()).await;
    talk.end(&mut other, &mut vendor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_refused_invite_is_refused_though_there_is_room_again() {
    let (world, mut caller, mut vendor) = with_limits("max_calls = 1").await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let second = caller.dial(world.sip(), "4421").await;
    let refusal = caller.fails(&second, 503).await;
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
    caller.send(&second.invite, world.sip()).await;
    let again = caller.fails(&second, 503).await;
    assert_eq!(refusal.to_tag(), again.to_tag());
    assert_eq!(refusal.first(Name::RetryAfter), again.first(Name::RetryAfter));
    assert_eq!(world.metric("tandem_calls_started_total", ""), 1.0);
    let third = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    third.end(&mut caller, &mut vendor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_call_is_let_in_where_others_are_not() {
    let (world, mut caller, mut vendor) =
        with_limits("max_calls = 1\ncps = 1\n[routing]\nemergency_numbers = [\"112\"]").await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let other = caller.dial(world.sip(), "1121").await;
    caller.fails(&other, 503).await;
    for _ in 0..3 {
        caller.dial(world.sip(), "112").await;
        let invite = vendor.request(Method::Invite).await;
        vendor.respond(&invite, 486).await;
    }
    let is_alone = async || (world.node.calls_in_progress() == 1).then_some(());
    until("the emergency calls have ended", SOON, is_alone).await;
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
}
