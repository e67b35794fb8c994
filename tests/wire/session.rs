//! Session timers (RFC 4028) and the caps on a conversation.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::json;
use std::time::Duration;

/// Refreshes each 9 s: the shortest that the parameters allow.
const SHORTEST: &str = "SS_SIP_SESSION_TTL = 90\nSS_SIP_SESSION_UPDATE_SEGMENT = 10";

#[test]
fn each_leg_is_refreshed_as_it_allows_by_update_and_by_re_invite() {
    let mut wire = Wire::new();
    wire.parameters(SHORTEST);
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_is_refreshed"));
    let switch = wire.start();
    let talk = Duration::from_secs(1);
    let mut caller = wire.call(&switch, Scenario::of("caller_is_refreshed").talking(talk));
    caller.succeeds();
    vendor.succeeds();
    let answer = &caller.received("SIP/2.0 200")[0];
    assert_eq!(answer.must("Session-Expires"), "90;refresher=uas");
    let update = &caller.received("UPDATE")[0];
    assert_eq!(update.must("Session-Expires"), "90;refresher=uac");
    assert_eq!(update.header("Content-Type"), None, "a refresh by UPDATE offers nothing");
    let invites = vendor.received("INVITE");
    let body = |text: &str| text.split_once("\n\n").expect("a body").1.trim().to_owned();
    assert_eq!(body(&invites[0].text), body(&invites[1].text), "the description, o= and all, is as it was");
    assert_eq!(invites[1].must("Session-Expires"), "90;refresher=uac");
    let cdr = switch.only_cdr();
    cdr.has(&[("end_reason", json!("normal"))]);
    assert!((9_000..14_000).contains(&cdr.ms("duration_ms")), "{}", cdr.ms("duration_ms"));
}

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
