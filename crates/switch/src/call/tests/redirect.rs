//! 3xx followed by policy (RFC 3261 §8.1.3.4).

use super::messages::{Got, Reply, reply};
use super::plan::{Answers, gateway_address, sdp};
use super::world::World;
use crate::failover::Failure;
use crate::gateway::{Outcome, Redirects};
use tandem_sip::{Name, StatusCode};

fn world(redirects: Redirects) -> World {
    World::with(|plan| {
        plan.redirects(redirects);
        for number in 1..=6 {
            let address = gateway_address(number);
            for user in ["99", "98"] {
                plan.targets.insert(format!("sip:{user}@{}", address.ip()), vec![address]);
            }
        }
    })
}

/// 302 to these contacts.
fn moved(contacts: &str) -> Reply {
    reply(302).contact(contacts)
}

fn redirected(world: &mut World, contacts: &str) -> Got {
    let first = world.at(1, "INVITE");
    world.reply(1, &first, moved(contacts));
    world.at(1, "ACK");
    first
}

#[test]
fn a_redirection_is_a_failure_unless_it_may_be_followed() {
    let mut world = world(Redirects::Refuse);
    redirected(&mut world, "<sip:99@198.51.100.4>");
    world.at(2, "INVITE");
    let moved = StatusCode::new(302).expect("a status");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::Status(moved))));
}

#[test]
fn a_followed_redirection_stays_inside_the_attempt() {
    let mut world = world(Redirects::Any);
    let first = redirected(&mut world, "<sip:99@198.51.100.4>");
    let second = world.at(4, "INVITE");
    assert_eq!(second.request_uri(), b"sip:99@198.51.100.4");
    // The same To, From and Call-ID.
    assert_eq!(second.value(Name::To), first.value(Name::To));
    assert_eq!(second.value(Name::From), first.value(Name::From));
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.cseq_number(), first.cseq_number() + 1);
    assert_ne!(second.branch(), first.branch());
    world.reply(4, &second, reply(200).sdp(sdp(5000)));
    world.at(4, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(4, "BYE");
    world.reply(4, &bye, reply(200));
    let record = world.finish();
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_gateway_may_redirect_to_itself_where_that_is_all_it_may() {
    let mut world = world(Redirects::Gateway);
    redirected(&mut world, "<sip:99@198.51.100.4>, <sip:98@198.51.100.1>");
    let second = world.at(1, "INVITE");
    assert_eq!(second.request_uri(), b"sip:98@198.51.100.1");
}

#[test]
fn a_gateway_known_by_name_may_redirect_to_that_name() {
    let mut world = World::with(|plan| {
        plan.redirects(Redirects::Gateway).named(1, &[1]);
        plan.targets.insert("sip:99@ONE.example".into(), vec![gateway_address(5)]);
    });
    redirected(&mut world, "<sip:99@ONE.example>");
    assert_eq!(world.at(5, "INVITE").request_uri(), b"sip:99@ONE.example");
}

#[test]
fn contacts_are_tried_in_the_order_of_q() {
    let mut world = world(Redirects::Any);
    redirected(
        &mut world,
        "<sip:99@198.51.100.4>;q=0.2, <sip:99@198.51.100.5>;q=0.9, <sip:98@198.51.100.6>;q=0.5",
    );
    for number in [5, 6, 4] {
        let invite = world.at(number, "INVITE");
        world.reply(number, &invite, reply(480));
        world.at(number, "ACK");
    }
    world.at(2, "INVITE");
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn the_invite_timeout_runs_for_each_contact() {
    let mut world = world(Redirects::Any);
    redirected(&mut world, "<sip:99@198.51.100.4>, <sip:99@198.51.100.5>");
    world.at(4, "INVITE");
    world.advance(9_999);
    world.skip();
    world.advance(1);
    world.at(5, "INVITE");
    assert_eq!(world.attempted(), ["one"]);
}

#[test]
fn a_contact_that_is_busy_ends_the_hunt() {
    let mut world = world(Redirects::Any);
    redirected(&mut world, "<sip:99@198.51.100.4>, <sip:99@198.51.100.5>");
    let second = world.at(4, "INVITE");
    world.reply(4, &second, reply(486));
    world.at(4, "ACK");
    world.at_caller("486");
    world.nothing_more();
}

#[test]
fn no_contact_is_asked_twice() {
    let mut world = world(Redirects::Any);
    redirected(&mut world, "<sip:99@198.51.100.4>");
    let second = world.at(4, "INVITE");
    world.reply(4, &second, moved("<sip:99@198.51.100.4>, <sip:14420@198.51.100.1:5060>"));
    world.at(4, "ACK");
    world.at(2, "INVITE");
}

#[test]
fn an_attempt_follows_no_more_than_five_contacts() {
    let mut world = World::with(|plan| {
        plan.redirects(Redirects::Any);
        for user in 0..20 {
            plan.targets.insert(format!("sip:{user}@198.51.100.4"), vec![gateway_address(4)]);
        }
    });
    redirected(&mut world, "<sip:0@198.51.100.4>");
    let mut followed = 0;
    while world.attempted() == ["one"] {
        let invite = world.at(4, "INVITE");
        followed += 1;
        world.reply(4, &invite, moved(&format!("<sip:{followed}@198.51.100.4>")));
        world.at(4, "ACK");
    }
    assert_eq!(followed, 5);
}

#[test]
fn sips_and_tel_contacts_and_what_cannot_be_read_are_not_followed() {
    for contacts in ["<sips:99@198.51.100.4>", "<tel:+4420>", "*", "<sip:198.51.100.4>", ""] {
        let mut world = world(Redirects::Any);
        redirected(&mut world, contacts);
        world.at(2, "INVITE");
    }
}

#[test]
fn headers_and_parameters_of_a_contact_do_not_reach_the_request() {
    let mut world = world(Redirects::Any);
    redirected(&mut world, "<sip:99@198.51.100.4;maddr=192.0.2.66;x=y?Route=%3Csip:evil%3E&Subject=z>");
    let second = world.at(4, "INVITE");
    assert_eq!(second.request_uri(), b"sip:99@198.51.100.4");
    assert_eq!(second.first(Name::Route), None);
    assert_eq!(second.first(Name::Subject), None);
}

#[test]
fn a_contact_that_leads_nowhere_gives_way_to_the_next() {
    let mut world = world(Redirects::Any);
    redirected(&mut world, "<sip:99@nowhere.example>, <sip:99@198.51.100.5>");
    world.at(5, "INVITE");
}

#[test]
fn a_contact_that_is_not_resolved_in_time_leads_nowhere() {
    let mut world = World::with(|plan| {
        plan.redirects(Redirects::Any).resolution = Answers::WhenTold;
    });
    redirected(&mut world, "<sip:99@slow.example>");
    world.advance(3_999);
    world.nothing_more();
    world.advance(1);
    world.at(2, "INVITE");
}

#[test]
fn where_one_contact_leads_is_not_taken_for_where_another_does() {
    let mut world = World::with(|plan| {
        plan.redirects(Redirects::Any).resolution = Answers::WhenTold;
        for number in [4, 5] {
            let address = gateway_address(number);
            plan.targets.insert(format!("sip:99@{}", address.ip()), vec![address]);
        }
    });
    redirected(&mut world, "<sip:99@198.51.100.4>, <sip:99@198.51.100.5>");
    // Asked twice: before the takeover and after it.
    world.take_over(100);
    redirected(&mut world, "<sip:99@198.51.100.4>, <sip:99@198.51.100.5>");
    let answer = world.resolution().expect("asked for");
    world.input(answer);
    let second = world.at(4, "INVITE");
    world.reply(4, &second, reply(480));
    world.at(4, "ACK");
    // The second answer about the first contact, while the other one is waited for.
    let late = world.resolution().expect("asked for again");
    world.input(late);
    world.nothing_more();
    let answer = world.resolution().expect("asked for");
    world.input(answer);
    world.at(5, "INVITE");
}

#[test]
fn another_ones_server_gets_no_credentials() {
    let mut world = World::with(|plan| {
        plan.accounts().redirects(Redirects::Any);
        plan.targets.insert("sip:99@198.51.100.4".into(), vec![gateway_address(4)]);
    });
    let challenge = || reply(407).line("Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"");
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge());
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    assert!(second.first(Name::ProxyAuthorization).is_some());
    world.reply(1, &second, moved("<sip:99@198.51.100.4>"));
    world.at(1, "ACK");
    let third = world.at(4, "INVITE");
    assert_eq!(third.first(Name::ProxyAuthorization), None);
    world.reply(4, &third, challenge());
    world.at(4, "ACK");
    world.at(2, "INVITE");
}

#[test]
fn use_proxy_and_alternative_service_are_not_followed() {
    for status in [305, 380] {
        let mut world = world(Redirects::Any);
        let first = world.at(1, "INVITE");
        world.reply(1, &first, reply(status).contact("<sip:99@198.51.100.4>"));
        world.at(1, "ACK");
        world.at(2, "INVITE");
    }
}

#[test]
fn no_redirection_is_followed_once_committed() {
    let mut world = world(Redirects::Any);
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(183).sdp(sdp(5000)));
    world.at_caller("183");
    world.reply(1, &first, moved("<sip:99@198.51.100.4>"));
    world.at(1, "ACK");
    world.at_caller("500");
    world.nothing_more();
}

#[test]
fn an_heir_goes_on_with_the_contacts_that_are_left() {
    let mut world = world(Redirects::Any);
    redirected(&mut world, "<sip:99@198.51.100.4>, <sip:99@198.51.100.5>");
    let second = world.at(4, "INVITE");
    world.take_over(1_000);
    assert_eq!(world.at(4, "INVITE").text(), second.text());
    world.reply(4, &second, reply(480));
    world.at(4, "ACK");
    let third = world.at(5, "INVITE");
    assert!(third.cseq_number() > second.cseq_number());
}

#[test]
fn another_ones_server_gets_no_identity() {
    let mut world = World::with(|plan| {
        plan.redirects(Redirects::Any).trusted = true;
        plan.invite_lines = "P-Asserted-Identity: <sip:+4930@c.example>\r\n".into();
        plan.candidates[0].trusted = true;
        plan.targets.insert("sip:99@198.51.100.4".into(), vec![gateway_address(4)]);
    });
    let first = redirected(&mut world, "<sip:99@198.51.100.4>");
    assert!(first.first(Name::PAssertedIdentity).is_some());
    assert_eq!(world.at(4, "INVITE").first(Name::PAssertedIdentity), None);
}

#[test]
fn where_another_one_has_led_is_no_place_of_the_gateways() {
    let mut world = World::with(|plan| {
        plan.accounts().redirects(Redirects::Any).named(1, &[1]);
        for user in ["99", "98"] {
            plan.targets.insert(format!("sip:{user}@198.51.100.4"), vec![gateway_address(4)]);
        }
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(407).line("Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\""));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, moved("<sip:99@198.51.100.4>"));
    world.at(1, "ACK");
    let third = world.at(4, "INVITE");
    assert_eq!(third.first(Name::ProxyAuthorization), None);
    world.reply(4, &third, moved("<sip:98@198.51.100.4>"));
    world.at(4, "ACK");
    let fourth = world.at(4, "INVITE");
    assert_eq!(fourth.request_uri(), b"sip:98@198.51.100.4");
    assert_eq!(fourth.first(Name::ProxyAuthorization), None);
}
