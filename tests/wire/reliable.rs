//! Reliable provisional responses (RFC 3262).

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::json;

#[test]
fn provisionals_are_acknowledged_on_both_legs_each_on_its_own() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_100REL = \"Supported\"");
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_sends_media_reliably"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_pracks"));
    caller.succeeds();
    vendor.succeeds();
    assert!(vendor.received("INVITE")[0].must("Supported").contains("100rel"));
    assert!(vendor.received("PRACK")[0].must("RAck").starts_with("17 "));
    let progress = &caller.received("SIP/2.0 183")[0];
    assert!(progress.must("Require").contains("100rel"), "{}", progress.text);
    switch.only_cdr().has(&[("end_reason", json!("normal"))]);
}

#[test]
fn an_offer_before_the_answer_goes_to_the_gateway_and_its_answer_comes_back() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_100REL = \"Supported\"");
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_takes_an_offer_before_it_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_offers_before_the_answer"));
    caller.succeeds();
    vendor.succeeds();
    assert_eq!(vendor.received("UPDATE").len(), 1);
    switch.only_cdr().has(&[("end_reason", json!("normal")), ("codec", json!("PCMU"))]);
}

#[test]
fn ss_sip_100rel_off_refuses_a_caller_that_insists_and_offers_gateways_nothing() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut insisting = wire.call(&switch, Scenario::of("caller_insists_on_reliable_provisionals"));
    insisting.succeeds();
    assert_eq!(insisting.received("SIP/2.0 420")[0].must("Unsupported"), "100rel");
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    let offered = vendor.received("INVITE")[0].text.clone();
    assert!(!offered.contains("100rel"), "{offered}");
    switch.stop();
}
