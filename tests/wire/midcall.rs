//! Offers inside a conversation (RFC 3261 §14, RFC 3264).

use crate::sipp::{Scenario, Sipp};
use crate::trace::Traced;
use crate::wire::Wire;
use serde_json::json;

fn direction(message: &Traced) -> &str {
    let found =
        message.text.lines().rfind(|line| ["a=send", "a=recv", "a=inac"].iter().any(|a| line.starts_with(a)));
    found.unwrap_or_else(|| panic!("no direction in {}", message.text))
}

fn call(caller: &'static str, gateway: &'static str) -> (Sipp, Sipp) {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of(gateway));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of(caller));
    caller.succeeds();
    vendor.succeeds();
    switch.only_cdr().has(&[("end_reason", json!("normal")), ("ended_by", json!("caller"))]);
    (caller, vendor)
}

#[test]
fn a_caller_holds_the_gateway_and_resumes() {
    let (caller, vendor) = call("caller_holds_and_resumes", "gateway_is_held_and_resumed");
    let directions: Vec<_> = vendor.received("INVITE").iter().map(|m| direction(m).to_owned()).collect();
    assert_eq!(directions, ["a=sendrecv", "a=sendonly", "a=sendrecv"]);
    let answers = caller.received("SIP/2.0 200");
    assert_eq!(direction(&answers[1]), "a=recvonly");
    assert_eq!(direction(&answers[2]), "a=sendrecv");
}

#[test]
fn an_offer_that_is_asked_for_inside_a_conversation_comes_from_the_other_side() {
    let (caller, vendor) = call("caller_asks_for_an_offer", "gateway_is_asked_for_an_offer");
    let asked = &vendor.received("INVITE")[1];
    assert_eq!(asked.header("Content-Type"), None, "{}", asked.text);
    assert_eq!(caller.received("SIP/2.0 200")[1].header("Content-Type"), Some("application/sdp"));
    assert_eq!(vendor.received("ACK")[1].header("Content-Type"), Some("application/sdp"));
}

#[test]
fn of_two_offers_that_cross_the_later_gets_491() {
    let (caller, vendor) = call("caller_re_invites", "gateway_re_invites_at_the_same_time");
    assert_eq!(caller.received("INVITE").len(), 0, "one offer at a time");
    assert_eq!(vendor.received("SIP/2.0 491").len(), 1);
}
