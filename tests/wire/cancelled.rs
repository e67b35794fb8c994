//! Callers that give up.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::{Value, json};

#[test]
fn a_cancel_while_ringing_gets_487_and_cancels_at_the_gateway() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", Scenario::of("gateway_rings_until_cancelled"));
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_cancels").with("AFTER", 200)).succeeds();
    first.succeeds();
    assert_eq!(second.heard(), Vec::<String>::new());
    let cdr = switch.only_cdr();
    cdr.has(&[
        ("end_reason", json!("cancelled")),
        ("ended_by", json!("caller")),
        ("sip_status", json!(487)),
        ("answered_at", Value::Null),
    ]);
}

#[test]
fn a_cancel_waits_for_the_gateways_first_provisional() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_INVITE = 2");
    let gateway = wire.silent("silent");
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_cancels_early")).succeeds();
    let cdr = switch.only_cdr();
    cdr.has(&[("end_reason", json!("cancelled")), ("ended_by", json!("caller"))]);
    let heard = gateway.heard();
    assert!(
        heard.iter().all(|m| m.starts_with("INVITE ")),
        "RFC 3261 §9.1: no CANCEL before a 1xx: {heard:#?}"
    );
}

#[test]
fn a_cancel_before_ringing_reaches_a_gateway_that_has_said_100() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", Scenario::of("gateway_tries_until_cancelled"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_cancels_early")).succeeds();
    first.succeeds();
    switch.only_cdr().has(&[("end_reason", json!("cancelled"))]);
}

#[test]
fn a_200_that_crosses_the_cancel_gets_ack_and_bye() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", Scenario::of("gateway_answers_when_cancelled"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_cancels").with("AFTER", 200)).succeeds();
    first.succeeds();
    let cdr = switch.only_cdr();
    cdr.has(&[("end_reason", json!("cancelled")), ("sip_status", json!(487)), ("answered_at", Value::Null)]);
}
