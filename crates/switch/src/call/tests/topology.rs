//! Nothing of one leg's topology shows on the other.

use super::messages::{Got, reply};
use super::plan::{CALLER_SIDE, GATEWAY_SIDE, OFFER, sdp};
use super::world::World;
use tandem_sip::Name;

/// What only the caller's side knows: its addresses, names and identifiers, and what it calls us by.
const OF_CALLER: [&str; 9] = [
    "192.0.2.10",
    "customer.example",
    "caller-call-id",
    "z9hG4bKcaller",
    "tag=alice",
    "alice@",
    "PhoneOfAlice",
    "core.customer",
    CALLER_SIDE,
];

/// What only the gateway's side knows.
const OF_GATEWAY: [&str; 6] =
    ["198.51.100.1", "SwitchOfVendor", "core.vendor", "gw-tag", "vendor.example", GATEWAY_SIDE];

/// A message without its body: session descriptions pass as they are, unless media is relayed.
fn head(got: &Got) -> String {
    let text = got.text();
    text.split_once("\r\n\r\n").map_or(text.clone(), |(head, _)| head.to_owned())
}

fn shows(messages: &[Got], of_other: &[&str]) {
    for message in messages {
        let head = head(message);
        for secret in of_other {
            assert!(!head.contains(secret), "{secret} in\n{head}");
        }
    }
}

/// Nothing that was sent to either side tells of the other.
fn hides(world: &World) {
    let is_callers = |got: &&Got| got.flow.remote == world.plan.caller_address;
    let to_caller: Vec<_> = world.sent.iter().filter(is_callers).cloned().collect();
    let to_gateway: Vec<_> = world.sent.iter().filter(|got| !is_callers(got)).cloned().collect();
    assert!(!to_caller.is_empty() && !to_gateway.is_empty());
    shows(&to_caller, &OF_GATEWAY);
    shows(&to_gateway, &OF_CALLER);
}

fn with_names() -> World {
    World::with(|plan| {
        plan.invite_lines = "Record-Route: <sip:edge.core.customer;lr>\r\nUser-Agent: PhoneOfAlice/1.0\r\n\
            Organization: customer.example\r\nCall-Info: <http://core.customer/alice.png>\r\n"
            .to_owned();
    })
}

fn lines(status: u16) -> super::messages::Reply {
    reply(status)
        .tag("gw-tag")
        .contact("<sip:gw@core.vendor>")
        .line("Server: SwitchOfVendor/2.0")
        .line("Record-Route: <sip:edge.core.vendor;lr>")
        .line("Warning: 399 core.vendor \"busy\"")
        .line("Organization: vendor.example")
}

#[test]
fn a_whole_call_shows_nothing_of_one_leg_on_the_other() {
    let mut world = with_names();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, lines(100));
    world.reply(1, &invite, lines(180));
    world.reply(1, &invite, lines(183).sdp(sdp(5000)));
    world.reply(1, &invite, lines(200).sdp(sdp(5000)));
    world.caller_acks(None);
    world.caller_sends("OPTIONS");
    world.caller_sends("INFO");
    let mut callee = world.callee(&invite, "gw-tag");
    world.sends(&mut callee, "OPTIONS");
    world.caller_sends("BYE");
    hides(&world);
}

#[test]
fn a_call_that_the_callee_ends_shows_nothing_of_one_leg_on_the_other() {
    let mut world = with_names();
    let invite = world.at(1, "INVITE");
    world.reply(1, &invite, lines(200).sdp(sdp(5000)));
    world.caller_acks(None);
    let mut callee = world.callee(&invite, "gw-tag");
    world.sends(&mut callee, "BYE");
    hides(&world);
}

#[test]
fn a_failed_and_a_cancelled_call_show_nothing_of_one_leg_on_the_other() {
    let mut world = with_names();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, lines(480));
    let second = world.at(2, "INVITE");
    world.reply(2, &second, lines(180));
    world.caller_cancels("");
    hides(&world);
    let mut world = World::with(|plan| {
        plan.gateways(1);
        plan.invite_lines = "User-Agent: PhoneOfAlice/1.0\r\n".to_owned();
    });
    let only = world.at(1, "INVITE");
    world.reply(1, &only, lines(486));
    world.at_caller("486");
    hides(&world);
}

/// RFC 4733: what describes telephone events, and all else of a description, passes as it is.
#[test]
fn session_descriptions_pass_byte_by_byte_with_their_telephone_events() {
    let mut world = World::start();
    let invite = world.at(1, "INVITE");
    assert_eq!(invite.body_text(), OFFER);
    assert!(OFFER.contains("telephone-event"));
    let answer = format!(
        "{}a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=x-odd:  as it is \r\n",
        sdp(5000)
    );
    world.reply(1, &invite, reply(183).sdp(answer.clone()));
    assert_eq!(world.at_caller("183").body_text(), answer);
    world.reply(1, &invite, reply(200).sdp(answer.clone()));
    let answered = world.at_caller("200");
    assert_eq!(answered.body_text(), answer);
    assert_eq!(answered.value(Name::ContentType), "application/sdp");
}
