//! Faults made on purpose.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_call_whose_actor_panics_goes_on_and_ends_with_its_cdr() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers_and_is_acked_again"));
    let mut switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up").talking(Duration::from_secs(2)));
    let id = switch.call_in("answered");
    assert_eq!(switch.ask("POST", &format!("/api/v1/faults/calls/{id}/panic")).status, 202);
    caller.succeeds();
    vendor.succeeds();
    assert_eq!(switch.metric("tandem_call_panics_total", ""), 1.0);
    switch.is_alive();
    switch.only_cdr().has(&[
        ("id", json!(id)),
        ("ended_by", json!("caller")),
        ("end_reason", json!("normal")),
        ("routing_gateway", json!("vendor")),
    ]);
}
