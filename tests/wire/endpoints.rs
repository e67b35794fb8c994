//! Phones that register: they are called, they call each other, and they call gateways.

use crate::sipp::{Scenario, Sipp};
use crate::softphone::Softphone;
use crate::switch::Switch;
use crate::wire::Wire;
use serde_json::json;
use std::net::SocketAddrV4;

/// The endpoints alice (100) and bob (101); sipp knows MD5.
fn with_endpoints() -> Wire {
    let mut wire = Wire::new();
    wire.section(
        "[registrar]\nalgorithms = [\"MD5\"]\n\
         [[endpoint]]\nuser = \"alice\"\npassword = \"alice-secret\"\nnumber = \"100\"\n\
         [[endpoint]]\nuser = \"bob\"\npassword = \"bob-secret\"\nnumber = \"101\"",
    );
    wire
}

/// A phone that plays a scenario.
pub(crate) fn phone(wire: &Wire, name: &str, scenario: Scenario) -> (SocketAddrV4, Sipp) {
    let address = SocketAddrV4::new(wire.place.stranger, wire.place.port());
    (address, Sipp::gateway(&wire.place, name, address, &scenario))
}

/// Registers a user at an address.
pub(crate) fn register(wire: &Wire, switch: &Switch, user: &str, address: SocketAddrV4, params: &str) {
    let scenario = Scenario::of("endpoint_registers").with("USER", user);
    let scenario = scenario.with("CONTACT", address).with("PARAMS", params);
    wire.call_from_stranger(switch, scenario).succeeds();
}

fn calls_as(wire: &Wire, switch: &Switch, user: &str, called: &str) -> Sipp {
    // Else sipp's credentials are for another URI than its request's.
    let uri = format!("{called}@{}", switch.sip);
    let scenario = Scenario::of("endpoint_calls").with("USER", user).calling(called);
    wire.call_from_stranger(switch, scenario.flag("-auth_uri").flag(&uri))
}

#[test]
fn a_phone_calls_another_by_its_number() {
    let wire = with_endpoints();
    let (address, mut bob) = phone(&wire, "bob", Scenario::of("gateway_answers"));
    let switch = wire.start();
    register(&wire, &switch, "bob", address, "");
    calls_as(&wire, &switch, "alice", "101").succeeds();
    bob.succeeds();
    let invite = &bob.received("INVITE")[0];
    assert!(invite.text.starts_with(&format!("INVITE sip:bob@{address} ")), "{}", invite.text);
    assert!(invite.must("From").contains("sip:100@"), "{}", invite.must("From"));
    let cdr = switch.only_cdr();
    cdr.has(&[
        ("mapping_gateway", json!("endpoints")),
        ("routing_gateway", json!("endpoints")),
        ("caller", json!("100")),
        ("called", json!("101")),
        ("end_reason", json!("normal")),
    ]);
}

#[test]
fn a_phone_calls_a_gateway() {
    let mut wire = with_endpoints();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    calls_as(&wire, &switch, "alice", "4420").succeeds();
    vendor.succeeds();
    let cdr = switch.only_cdr();
    cdr.has(&[("mapping_gateway", json!("endpoints")), ("routing_gateway", json!("vendor"))]);
}

#[test]
fn two_phones_of_one_user_ring_and_the_one_that_is_not_answered_is_cancelled() {
    let wire = with_endpoints();
    let (desk, mut at_desk) = phone(&wire, "desk", Scenario::of("gateway_answers"));
    let (mobile, mut at_mobile) = phone(&wire, "mobile", Scenario::of("gateway_rings_until_cancelled"));
    let switch = wire.start();
    register(&wire, &switch, "bob", desk, "");
    register(&wire, &switch, "bob", mobile, "");
    wire.call(&switch, Scenario::of("caller_hangs_up").calling("101")).succeeds();
    at_desk.succeeds();
    at_mobile.succeeds();
    assert!(at_mobile.received("CANCEL")[0].must("Reason").contains("Call completed elsewhere"));
    assert_eq!(switch.only_cdr().attempts(), [("endpoints", Some(200))]);
}

#[test]
fn the_phone_of_lower_preference_is_called_when_the_other_has_refused() {
    let wire = with_endpoints();
    let refusal = Scenario::of("gateway_rejects").with("STATUS", "480 Temporarily Unavailable");
    let (desk, mut at_desk) = phone(&wire, "desk", refusal);
    let (mobile, mut at_mobile) = phone(&wire, "mobile", Scenario::of("gateway_answers"));
    let switch = wire.start();
    register(&wire, &switch, "bob", mobile, ";q=0.3");
    register(&wire, &switch, "bob", desk, ";q=0.8");
    wire.call(&switch, Scenario::of("caller_hangs_up").calling("101")).succeeds();
    at_desk.succeeds();
    at_mobile.succeeds();
    assert_eq!(switch.only_cdr().attempts(), [("endpoints", Some(200))]);
}

#[test]
fn softphones_register_and_call_each_other_and_a_gateway() {
    let mut wire = with_endpoints();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers_and_hangs_up"));
    let switch = wire.start();
    let Some(alice) = Softphone::start(&wire.place, "alice", &switch) else { return };
    let Some(bob) = Softphone::start(&wire.place, "bob", &switch) else { return };
    alice.says("200 OK");
    bob.says("200 OK");
    alice.dials("101");
    switch.call_in("answered");
    alice.says("Call established");
    bob.says("Call established");
    alice.hangs_up();
    switch.is_idle();
    bob.dials("4420");
    vendor.succeeds();
    switch.is_idle();
    let calls = switch.stop().calls;
    assert_eq!(calls.len(), 2, "{calls:#?}");
    calls[0].has(&[
        ("caller", json!("100")),
        ("called", json!("101")),
        ("routing_gateway", json!("endpoints")),
    ]);
    calls[1].has(&[
        ("caller", json!("101")),
        ("called", json!("4420")),
        ("routing_gateway", json!("vendor")),
    ]);
}
