//! Ending the process: what becomes of the calls, and of their records.

use crate::sipp::Scenario;
use crate::switch::Switch;
use crate::until::{SOON, until};
use crate::wire::Wire;
use serde_json::json;
use std::time::{Duration, Instant};

fn is_refused(status: u16) -> Scenario {
    Scenario::of("caller_is_refused").with("STATUS", status)
}

/// The switch has taken note that it is to end.
fn drains(switch: &Switch) {
    until("the switch is not ready any more", SOON, || {
        (switch.ask("GET", "/readyz").status == 503).then_some(())
    });
}

#[test]
fn at_sigterm_new_calls_get_503_with_retry_after_and_those_in_progress_end_by_themselves() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up").talking(Duration::from_secs(2)));
    switch.call_in("answered");
    switch.terminate();
    drains(&switch);
    assert_eq!(switch.ask("GET", "/readyz").json()["why"], "draining");
    assert_eq!(switch.ask("GET", "/healthz").status, 200, "a draining node is not a dead one");
    let mut late = wire.call(&switch, is_refused(503));
    late.succeeds();
    let refusal = &late.received("SIP/2.0 503")[0];
    assert!(refusal.must("Retry-After").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{}", refusal.text);
    assert_eq!(switch.metric("tandem_admission_refused_total", "draining"), 1.0);
    caller.succeeds();
    vendor.succeeds();
    let cdrs = switch.ends(SOON);
    assert_eq!(cdrs.len(), 1, "{cdrs:#?}");
    cdrs[0].has(&[("end_reason", json!("normal")), ("ended_by", json!("caller"))]);
}

#[test]
fn when_the_drain_timeout_is_over_calls_are_hung_up() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start_with(&["--drain-timeout", "1"]);
    let mut caller = wire.call(&switch, Scenario::of("caller_is_hung_up_on"));
    switch.call_in("answered");
    let began = Instant::now();
    switch.terminate();
    caller.succeeds();
    vendor.succeeds();
    let cdrs = switch.ends(SOON);
    assert!((1..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(cdrs.len(), 1, "{cdrs:#?}");
    cdrs[0].has(&[("end_reason", json!("drained")), ("ended_by", json!("server"))]);
}

#[test]
fn a_second_signal_hangs_up_at_once_what_talks_and_what_rings() {
    let mut wire = Wire::new();
    let mut first = wire.gateway_with("first", "prefixes = [\"4420\"]", Scenario::of("gateway_answers"));
    let mut second =
        wire.gateway_with("second", "prefixes = [\"4421\"]", Scenario::of("gateway_rings_until_cancelled"));
    let switch = wire.start_with(&["--drain-timeout", "600"]);
    let mut talking = wire.call(&switch, Scenario::of("caller_is_hung_up_on"));
    switch.call_in("answered");
    let mut ringing = wire.call(&switch, is_refused(480).calling("4421"));
    switch.call_in("ringing");
    switch.terminate();
    drains(&switch);
    switch.terminate();
    for sipp in [&mut talking, &mut ringing, &mut first, &mut second] {
        sipp.succeeds();
    }
    let cdrs = switch.ends(SOON);
    assert_eq!(cdrs.len(), 2, "{cdrs:#?}");
    for cdr in cdrs {
        cdr.has(&[("end_reason", json!("drained")), ("ended_by", json!("server"))]);
    }
}

#[test]
fn records_of_many_calls_that_a_stop_ends_are_all_on_disk() {
    const CALLS: u32 = 200;
    let mut wire = Wire::new();
    let scenario = |name| Scenario::of(name).times(CALLS, 200, Duration::from_secs(60));
    let mut vendor = wire.gateway("vendor", scenario("gateway_answers"));
    let switch = wire.start_with(&["--drain-timeout", "0"]);
    let mut callers = wire.call(&switch, scenario("caller_is_hung_up_on"));
    until("all calls are answered", SOON, || {
        (switch.metric("tandem_calls_active", "answered") == f64::from(CALLS)).then_some(())
    });
    switch.terminate();
    callers.succeeds();
    vendor.succeeds();
    let cdrs = switch.ends(SOON);
    let ids: std::collections::HashSet<_> = cdrs.iter().map(|cdr| cdr.text("id").to_owned()).collect();
    assert_eq!((cdrs.len(), ids.len()), (CALLS as usize, CALLS as usize));
    for cdr in cdrs {
        cdr.has(&[("end_reason", json!("drained"))]);
    }
}

#[test]
fn the_log_of_a_call_shows_no_number_and_no_address_of_a_peer() {
    let mut wire = Wire::new();
    let mut first =
        wire.gateway("first", Scenario::of("gateway_rejects").with("STATUS", "500 Server Internal Error"));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up").calling("442079460123"));
    caller.succeeds();
    first.succeeds();
    second.succeeds();
    let log = switch.log();
    let (caller, gateway) = (wire.place.caller.to_string(), wire.place.gateway.to_string());
    for secret in ["442079460123", "4930111", &caller, &gateway] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
    assert!(log.lines().count() < 10, "a call is no event for the log:\n{log}");
    switch.stop();
}

#[test]
fn records_that_no_disk_takes_are_told_at_once_and_make_the_end_a_failure() {
    let mut wire = Wire::new();
    // What is a folder cannot be appended to.
    std::fs::create_dir(wire.place.folder.join("cdr.jsonl")).expect("the test's folder is writable");
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    until("the log says so", SOON, || switch.log().contains("CDRs cannot be written now").then_some(()));
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    until("a record waits", SOON, || (switch.metric("tandem_cdr_backlog", "") == 1.0).then_some(()));
    switch.terminate();
    let said = switch.fails(SOON * 2);
    assert!(said.contains("1 CDRs could not be written and are lost"), "{said}");
}
