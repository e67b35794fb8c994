//! Limits on the time before the answer.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::json;

#[test]
fn ss_setup_timeout_ends_a_call_that_is_not_answered() {
    let mut wire = Wire::new();
    wire.parameters("SS_SETUP_TIMEOUT = 1");
    let mut first = wire.gateway("first", Scenario::of("gateway_rings_until_cancelled"));
    let second = wire.silent("second");
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_is_refused").with("STATUS", 408));
    caller.succeeds();
    first.succeeds();
    assert_eq!(second.heard(), Vec::<String>::new());
    switch.only_cdr().has(&[("end_reason", json!("set-up timeout")), ("ended_by", json!("server"))]);
}

#[test]
fn a_100_goes_out_before_the_gateway_has_said_anything() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_INVITE = 1");
    let _silent = wire.silent("silent");
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_is_refused").with("STATUS", 408));
    caller.hears("SIP/2.0 100");
    caller.succeeds();
    assert_eq!(caller.sent("INVITE").len(), 1, "100 stops the caller's resends");
    switch.stop();
}
