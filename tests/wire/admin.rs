//! The HTTP API over live calls, and ending the process.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_delete_hangs_up_both_legs() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_is_hung_up_on"));
    let id = switch.call_in("answered");
    assert_eq!(switch.ask("DELETE", &format!("/api/v1/calls/{id}")).status, 202);
    caller.succeeds();
    vendor.succeeds();
    assert_eq!(switch.ask("DELETE", "/api/v1/calls/nonsense").status, 404);
    let cdr = switch.only_cdr();
    cdr.has(&[("id", json!(id)), ("ended_by", json!("server")), ("end_reason", json!("admin"))]);
}

#[test]
fn a_delete_of_a_ringing_call_cancels_and_refuses() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_rings_until_cancelled"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_is_refused").with("STATUS", 480));
    let id = switch.call_in("ringing");
    assert_eq!(switch.ask("DELETE", &format!("/api/v1/calls/{id}")).status, 202);
    caller.succeeds();
    vendor.succeeds();
    switch.only_cdr().has(&[("end_reason", json!("admin")), ("ended_by", json!("server"))]);
}

#[test]
fn a_call_is_shown_with_its_gateways_and_both_call_ids() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up").talking(Duration::from_secs(1)));
    let id = switch.call_in("answered");
    let call = switch.ask("GET", &format!("/api/v1/calls/{id}")).json();
    assert_eq!(call["caller"], "4930111");
    assert_eq!(call["called"], "4420");
    assert_eq!(call["mapping_gateway"], "customer");
    assert_eq!(call["routing_gateway"], "vendor");
    assert_eq!(call["attempts"], 1);
    assert_eq!(call["codec"], "PCMA");
    assert_eq!(call["call_id_a"], caller.sent("INVITE")[0].must("Call-ID"));
    assert_eq!(call["call_id_b"], vendor.received("INVITE")[0].must("Call-ID"));
    caller.succeeds();
    vendor.succeeds();
    switch.stop();
}

#[test]
fn gateways_show_their_calls_and_their_quality() {
    let mut wire = Wire::new();
    let mut first =
        wire.gateway("first", Scenario::of("gateway_rejects").with("STATUS", "500 Server Internal Error"));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up").talking(Duration::from_secs(1)));
    switch.call_in("answered");
    let view = |name: &str| {
        let gateways = switch.ask("GET", "/api/v1/gateways").json();
        let list = gateways["gateways"].as_array().expect("a list");
        list.iter().find(|gateway| gateway["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!((&view("customer")["kind"], &view("customer")["calls"]), (&json!("mapping"), &json!(1)));
    assert_eq!((&view("second")["kind"], &view("second")["calls"]), (&json!("routing"), &json!(1)));
    caller.succeeds();
    first.succeeds();
    second.succeeds();
    switch.is_idle();
    assert_eq!((&view("first")["asr"], &view("second")["asr"]), (&json!(0.0), &json!(100.0)));
    assert_eq!((&view("first")["calls"], &view("second")["calls"]), (&json!(0), &json!(0)));
    assert_eq!(view("first")["last_failures"][0]["status"], 500);
    let talked = view("second")["acd_s"].as_f64().expect("a duration");
    assert!((1.0..2.0).contains(&talked), "{talked}");
    switch.stop();
}

#[test]
fn an_idle_switch_ends_at_sigterm() {
    let switch = Wire::new().start();
    assert!(switch.stop().calls.is_empty());
}
