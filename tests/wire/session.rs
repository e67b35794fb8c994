//! Session timers (RFC 4028) and the caps on a conversation.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_caller_that_does_not_refresh_is_hung_up_on_and_so_is_the_gateway() {
    let mut wire = Wire::new();
    // At expiry minus a third: nothing shorter is legal.
    let patience = Duration::from_secs(90);
    let once = |name| Scenario::of(name).times(1, 1, patience);
    let mut vendor = wire.gateway("vendor", once("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, once("caller_falls_silent"));
    caller.succeeds();
    vendor.succeeds();
    for bye in [&caller.received("BYE")[0], &vendor.received("BYE")[0]] {
        assert!(bye.header("Reason").is_some(), "{}", bye.text);
    }
    let cdr = switch.only_cdr();
    cdr.has(&[("end_reason", json!("session timeout")), ("ended_by", json!("server"))]);
    assert!((60_000..61_000).contains(&cdr.ms("duration_ms")), "{}", cdr.ms("duration_ms"));
}

#[test]
fn a_session_interval_below_the_least_gets_422_with_min_se_and_a_longer_one_is_taken() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_asks_for_too_short_a_session"));
    caller.succeeds();
    vendor.succeeds();
    assert_eq!(caller.received("SIP/2.0 422")[0].must("Min-SE"), "90");
    assert!(caller.received("SIP/2.0 200")[0].must("Session-Expires").starts_with("90"));
    switch.only_cdr().has(&[("end_reason", json!("normal"))]);
}

#[test]
fn a_422_of_a_gateway_is_followed_within_the_attempt() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_wants_a_longer_session"));
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    let invites = vendor.received("INVITE");
    assert!(invites[0].must("Session-Expires").starts_with("600"), "{}", invites[0].text);
    assert!(invites[1].must("Session-Expires").starts_with("1800"), "{}", invites[1].text);
    assert_eq!(invites[1].must("Min-SE"), "1800");
    assert_eq!(invites[0].must("Call-ID"), invites[1].must("Call-ID"));
    assert_eq!(second.heard(), Vec::<String>::new());
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("vendor", Some(200))]);
}

#[test]
fn ss_sip_no_timer_reinvite_interval_ends_a_conversation_without_timers_on_both_legs() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_NO_TIMER_REINVITE_INTERVAL = 1");
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_is_hung_up_on")).succeeds();
    vendor.succeeds();
    let cdr = switch.only_cdr();
    cdr.has(&[("end_reason", json!("no-timer cap")), ("ended_by", json!("server"))]);
    assert!((1_000..2_000).contains(&cdr.ms("duration_ms")), "{}", cdr.ms("duration_ms"));
}
