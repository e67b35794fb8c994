//! Retry-After (RFC 3261 §20.33, §21.5.4): a gateway that says when it will be back is left alone until then.

use super::messages::reply;
use super::world::World;
use crate::gateway::Refusal;
use std::time::Duration;

fn holds(world: &World) -> Vec<(&str, u64)> {
    world.holds.iter().map(|(gateway, pause)| (gateway.as_str(), pause.as_secs())).collect()
}

#[test]
fn a_503_with_retry_after_holds_the_gateway_and_switches() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(503).line("Retry-After: 30 (maintenance);duration=60"));
    world.at(1, "ACK");
    world.at(2, "INVITE");
    assert_eq!(world.holds, [("one".to_owned(), Duration::from_secs(30))]);
}

#[test]
fn a_503_without_retry_after_and_other_statuses_hold_nothing() {
    for (status, line) in
        [(503, "Server: x"), (503, "Retry-After: 0"), (503, "Retry-After: soon"), (480, "Retry-After: 9")]
    {
        let mut world = World::start();
        let first = world.at(1, "INVITE");
        world.reply(1, &first, reply(status).line(line));
        world.at(1, "ACK");
        world.at(2, "INVITE");
        assert!(world.holds.is_empty(), "{status} {line}");
    }
}

#[test]
fn the_next_target_comes_before_a_pause() {
    let mut world = World::with(|plan| {
        plan.named(1, &[1, 4]);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(503).line("Retry-After: 30"));
    world.at(1, "ACK");
    let second = world.at(4, "INVITE");
    assert!(world.holds.is_empty());
    world.reply(4, &second, reply(503).line("Retry-After: 20"));
    world.at(4, "ACK");
    assert_eq!(holds(&world), [("one", 20)]);
}

#[test]
fn a_gateway_that_is_left_alone_is_no_attempt_and_no_switch() {
    let mut world = World::with(|plan| {
        plan.parameters.switch_limit = Some(1);
        World::refuse(plan, "one", Refusal::Paused);
    });
    world.at(2, "INVITE");
    assert_eq!(world.attempted(), ["two"]);
}
