//! Messages that get lost or come twice.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_200_without_ack_is_resent_and_then_both_legs_are_hung_up() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_RESEND_INTERVAL = \"0.1,0.2,0.2,0.2,0.2\"");
    // 64·T1 must pass, which no parameter shortens.
    let patience = Duration::from_secs(45);
    let once = |name| Scenario::of(name).times(1, 1, patience);
    let mut vendor = wire.gateway("vendor", once("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, once("caller_never_acks"));
    caller.succeeds();
    vendor.succeeds();
    let answers = caller.received("SIP/2.0 200");
    assert!(answers.len() >= 4, "{} times 200", answers.len());
    assert!(answers.iter().all(|m| m.text == answers[0].text), "a resend is the same bytes");
    switch.only_cdr().has(&[("ended_by", json!("server")), ("end_reason", json!("protocol error"))]);
}

#[test]
fn a_repeated_invite_is_answered_again_and_reaches_the_gateway_once() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let mut switch = wire.start();
    wire.call(&switch, Scenario::of("caller_repeats_its_invite")).succeeds();
    vendor.succeeds();
    assert_eq!(vendor.received("INVITE").len(), 1);
    switch.is_alive();
    switch.only_cdr().has(&[("end_reason", json!("normal"))]);
}

#[test]
fn a_repeated_200_of_the_gateway_gets_another_ack() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_repeats_its_200").flag("-nr"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up"));
    caller.succeeds();
    vendor.succeeds();
    assert_eq!(vendor.received("ACK").len(), 2);
    assert_eq!(caller.received("SIP/2.0 200").len(), 2, "one for the INVITE, one for the BYE");
    switch.only_cdr().has(&[("end_reason", json!("normal"))]);
}
