//! Gateways that register to us.

use crate::agent::{Agent, text};
use crate::endpoints::dial_as;
use crate::health::{CLOSED, OPEN, etag, pidf};
use crate::phone::{Phone, status};
use crate::until::{SOON, until};
use crate::world::{Plan, Talk, World};
use serde_json::json;
use tandem_sip::{Method, Name};
use tandem_switch::gateway::Unavailable;

/// A node whose vendor `trunk` is wherever the endpoint of that name is registered. It is a customer as well.
async fn switch(lines: &str) -> World {
    let mut plan = Plan::new();
    plan.sources = "\"127.0.0.1/32\"".into();
    plan.sections = format!(
        "[registrar]\nmin_expires = 1\n\
         [[endpoint]]\nuser = \"trunk\"\npassword = \"secret\"\nmapping_gateway = \"customer\"\n\
         [[routing_gateway]]\nname = \"trunk\"\nendpoint = \"trunk\"\n{lines}\n"
    );
    plan.start().await
}

async fn trunk(world: &World, host: &str) -> Phone {
    Phone::at(host, world.sip(), "trunk", "secret").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_registers_gets_calls_by_number_while_it_is_registered() {
    let mut caller = Agent::at("127.0.0.1").await;
    let world = switch("max_calls = 5").await;
    let mut trunk = trunk(&world, "127.0.0.2").await;
    world.stands("trunk", Err(Unavailable::Absent)).await;
    let call = caller.dial(world.sip(), "4420").await;
    caller.fails(&call, 503).await;
    trunk.binds("").await;
    world.stands("trunk", Ok(())).await;
    let bindings = world.report("trunk").await.health.bindings.expect("it registers");
    assert_eq!(*bindings[0].contact, *format!("sip:trunk@{}", trunk.agent.address));
    let call = caller.dial(world.sip(), "4420").await;
    let invite = trunk.agent.request(Method::Invite).await;
    assert_eq!(text(invite.0.request_uri()), format!("sip:4420@{}", trunk.agent.address));
    assert_eq!(invite.1, world.sip());
    assert_eq!(world.slots("trunk").await, 1);
    trunk.agent.respond(&invite, 200).await;
    let answer = caller.connects(&call).await;
    trunk.agent.request(Method::Ack).await;
    let gone = trunk.contact(";expires=0");
    assert_eq!(status(&trunk.register(&[(Name::Contact, &gone)]).await), 200);
    world.stands("trunk", Err(Unavailable::Absent)).await;
    // The call that it carries goes on.
    caller.send(&call.bye(&answer), world.sip()).await;
    let bye = trunk.agent.request(Method::Bye).await;
    trunk.agent.respond(&bye, 200).await;
    caller.status_of(&call, 200).await;
    let call = caller.dial(world.sip(), "4420").await;
    caller.fails(&call, 503).await;
    world.is_idle().await;
    world.counts("tandem_cdrs_written_total", "", 3.0).await;
    let answered = world.call_records().into_iter().find(|record| record["sip_status"] == 200);
    assert_eq!(answered.expect("a call")["attempts"][0]["gateway"], json!("trunk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_behind_a_nat_is_called_by_its_flow_and_one_behind_a_proxy_by_its_path() {
    let caller = Agent::at("127.0.0.1").await;
    let world = switch("").await;
    let mut trunk = trunk(&world, "127.0.0.2").await;
    let private = "<sip:trunk@10.11.12.13:5060>";
    assert_eq!(status(&trunk.register(&[(Name::Contact, private)]).await), 200);
    world.stands("trunk", Ok(())).await;
    caller.dial(world.sip(), "4420").await;
    let invite = trunk.agent.request(Method::Invite).await;
    assert_eq!(text(invite.0.request_uri()), "sip:4420@10.11.12.13:5060");
    assert_eq!(status(&trunk.register(&[(Name::Contact, "*"), (Name::Expires, "0")]).await), 200);
    world.stands("trunk", Err(Unavailable::Absent)).await;
    let mut proxy = Agent::at("127.0.0.5").await;
    let path = format!("<sip:{};lr>", proxy.address);
    let lines = [(Name::Contact, private), (Name::Path, &*path), (Name::Supported, "path")];
    assert_eq!(status(&trunk.register(&lines).await), 200);
    world.stands("trunk", Ok(())).await;
    caller.dial(world.sip(), "4420").await;
    let invite = proxy.request(Method::Invite).await;
    assert_eq!(text(invite.0.request_uri()), "sip:4420@10.11.12.13:5060");
    assert_eq!(text(invite.0.first(Name::Route).expect("a Route")), path);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bindings_of_a_gateway_are_tried_in_their_order_within_one_attempt() {
    let mut caller = Agent::at("127.0.0.1").await;
    let world = switch("").await;
    let (mut first, mut second) = (trunk(&world, "127.0.0.2").await, trunk(&world, "127.0.0.3").await);
    second.binds(";q=0.2").await;
    first.binds(";q=0.8").await;
    let both = async || {
        let bindings = world.report("trunk").await.health.bindings.unwrap_or_default();
        (bindings.len() == 2).then_some(())
    };
    until("both are known", SOON, both).await;
    let call = caller.dial(world.sip(), "4420").await;
    let invite = first.agent.request(Method::Invite).await;
    assert!(second.agent.heard().iter().all(|line| !line.starts_with("INVITE")), "not forked");
    first.agent.respond(&invite, 503).await;
    let invite = second.agent.request(Method::Invite).await;
    assert_eq!(text(invite.0.request_uri()), format!("sip:4420@{}", second.agent.address));
    second.agent.respond(&invite, 486).await;
    caller.fails(&call, 486).await;
    world.is_idle().await;
    world.counts("tandem_cdrs_written_total", "", 1.0).await;
    assert_eq!(world.call_records()[0]["attempts"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateways_registration_that_lapses_makes_it_unavailable_until_it_registers_again() {
    let mut caller = Agent::at("127.0.0.1").await;
    let world = switch("").await;
    let mut trunk = trunk(&world, "127.0.0.2").await;
    trunk.binds(";expires=1").await;
    world.stands("trunk", Err(Unavailable::Absent)).await;
    let call = caller.dial(world.sip(), "4420").await;
    caller.fails(&call, 503).await;
    trunk.binds("").await;
    world.stands("trunk", Ok(())).await;
    let talk = Talk::begin(&mut caller, &mut trunk.agent, world.sip()).await;
    talk.end(&mut caller, &mut trunk.agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_registers_may_publish_from_where_it_is_registered_and_both_must_allow() {
    let world = switch("").await;
    let mut trunk = trunk(&world, "127.0.0.2").await;
    let early = trunk.agent.publishes(world.sip(), &[], &pidf(OPEN, "")).await;
    assert_eq!(status(&early), 403, "nobody known");
    trunk.binds("").await;
    world.stands("trunk", Ok(())).await;
    etag(&trunk.agent.publishes(world.sip(), &[], &pidf(CLOSED, "")).await);
    world.stands("trunk", Err(Unavailable::Closed)).await;
    etag(&trunk.agent.publishes(world.sip(), &[], &pidf(OPEN, "")).await);
    world.stands("trunk", Ok(())).await;
    let gone = trunk.contact(";expires=0");
    assert_eq!(status(&trunk.register(&[(Name::Contact, &gone)]).await), 200);
    world.stands("trunk", Err(Unavailable::Absent)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_registers_and_calls_is_challenged_and_known_as_its_mapping_gateway() {
    let world = switch("").await;
    let mut trunk = trunk(&world, "127.0.0.2").await;
    trunk.binds("").await;
    world.stands("trunk", Ok(())).await;
    // It calls a number that leads back to it.
    dial_as(&mut trunk, &world, "4420", ("trunk", "secret")).await;
    trunk.agent.request(Method::Invite).await;
    assert_eq!(&*world.only_call().await.record.mapping_gateway, "customer");
}
