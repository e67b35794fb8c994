//! The failover table: what sends a call on to the next gateway and what ends the hunt.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn rejects(status: &str) -> Scenario {
    Scenario::of("gateway_rejects").with("STATUS", status)
}

fn is_refused(status: u16) -> Scenario {
    Scenario::of("caller_is_refused").with("STATUS", status)
}

#[test]
fn a_failure_response_switches_to_the_next_gateway() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", rejects("503 Service Unavailable"));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    first.succeeds();
    second.succeeds();
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("first", Some(503)), ("second", Some(200))]);
    cdr.has(&[
        ("routing_gateway", json!("second")),
        ("end_reason", json!("normal")),
        ("stop_reason", Value::Null),
    ]);
}

#[test]
fn an_attempt_that_failed_has_a_record_of_its_own() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", rejects("503 Service Unavailable"));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    first.succeeds();
    second.succeeds();
    let cdrs = switch.stop();
    assert_eq!((cdrs.calls.len(), cdrs.attempts.len()), (1, 1));
    let call = cdrs.calls[0].text("id");
    cdrs.attempts[0].has(&[("call", json!(call)), ("gateway", json!("first")), ("status", json!(503))]);
}

#[test]
fn user_busy_ends_the_hunt() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", Scenario::of("gateway_rejects").busy());
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, is_refused(486)).succeeds();
    first.succeeds();
    assert_eq!(second.heard(), Vec::<String>::new());
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("first", Some(486))]);
    cdr.has(&[
        ("end_reason", json!("busy")),
        ("ended_by", json!("callee")),
        ("stop_reason", json!("busy")),
        ("sip_status", json!(486)),
        ("answered_at", Value::Null),
        ("duration_ms", json!(0)),
    ]);
}

#[test]
fn user_busy_switches_with_stop_after_user_busy_off() {
    let mut wire = Wire::new();
    wire.parameters("SS_GATEWAY_SWITCH_STOP_AFTER_USER_BUSY = \"Off\"");
    let mut first = wire.gateway("first", Scenario::of("gateway_rejects").busy());
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    first.succeeds();
    second.succeeds();
    assert_eq!(switch.only_cdr().attempts(), [("first", Some(486)), ("second", Some(200))]);
}

#[test]
fn ringing_too_long_ends_the_call_with_408_and_a_cancel() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_RINGING = 1");
    let mut first = wire.gateway("first", Scenario::of("gateway_rings_until_cancelled"));
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, is_refused(408)).succeeds();
    first.succeeds();
    assert_eq!(second.heard(), Vec::<String>::new());
    switch.only_cdr().has(&[("end_reason", json!("no answer")), ("sip_status", json!(408))]);
}

#[test]
fn ringing_too_long_switches_with_until_connect() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_RINGING = 1\nSS_GATEWAY_SWITCH_UNTIL_CONNECT = \"On\"");
    let mut first = wire.gateway("first", Scenario::of("gateway_rings_until_cancelled"));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    first.succeeds();
    second.succeeds();
    switch.only_cdr().has(&[("routing_gateway", json!("second")), ("end_reason", json!("normal"))]);
}

#[test]
fn session_progress_too_long_ends_the_call_with_a_cancel() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_SESSION_PROGRESS = 1");
    let mut first = wire.gateway("first", Scenario::of("gateway_sends_media_until_cancelled"));
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, is_refused(408)).succeeds();
    first.succeeds();
    assert_eq!(second.heard(), Vec::<String>::new());
    switch.stop();
}

#[test]
fn no_response_within_the_invite_timeout_switches() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_INVITE = 1");
    let first = wire.silent("first");
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    second.succeeds();
    let heard = first.heard();
    assert!(
        heard.len() >= 2 && heard.iter().all(|m| m.starts_with("INVITE ")),
        "resent at 0.5 s, no CANCEL: {heard:#?}"
    );
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("first", None), ("second", Some(200))]);
    assert!((1000..2500).contains(&cdr.ms("pdd_ms")), "{}", cdr.ms("pdd_ms"));
}

#[test]
fn resends_used_up_switch_before_a_longer_invite_timeout() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_INVITE = 20");
    wire.parameters("SS_SIP_RESEND_INTERVAL = \"0.1,0.2,0.3\"");
    let first = wire.silent("first");
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    second.succeeds();
    let heard = first.heard();
    assert_eq!(heard.len(), 4, "the INVITE and three resends");
    assert!(heard.iter().all(|m| *m == heard[0]), "a resend is the same bytes");
    assert_eq!(switch.only_cdr().attempts(), [("first", None), ("second", Some(200))]);
}

#[test]
fn stop_switch_after_invite_timeout_ends_the_call_with_408() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_INVITE = 1\nSS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT = \"On\"");
    let _first = wire.silent("first");
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, is_refused(408)).succeeds();
    assert_eq!(second.heard(), Vec::<String>::new());
    switch.only_cdr().has(&[("stop_reason", json!("invite timeout")), ("sip_status", json!(408))]);
}

#[test]
fn a_200_that_comes_after_the_gateway_was_left_gets_ack_and_bye() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_INVITE = 1");
    let mut first = wire.gateway("first", Scenario::of("gateway_answers_late").with("AFTER", 1500));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let talk = Duration::from_secs(2);
    wire.call(&switch, Scenario::of("caller_hangs_up").talking(talk)).succeeds();
    second.succeeds();
    first.succeeds();
    switch.only_cdr().has(&[("routing_gateway", json!("second")), ("end_reason", json!("normal"))]);
}

#[test]
fn only_100_until_the_trying_timeout_cancels_and_switches() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_TIMEOUT_TRYING = 1");
    let mut first = wire.gateway("first", Scenario::of("gateway_tries_until_cancelled"));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    first.succeeds();
    second.succeeds();
    switch.only_cdr().has(&[("routing_gateway", json!("second"))]);
}

#[test]
fn a_provisional_with_sdp_commits_the_call_to_the_gateway() {
    let mut wire = Wire::new();
    let rejects =
        Scenario::of("gateway_sends_media_then_rejects").with("STATUS", "480 Temporarily Unavailable");
    let mut first = wire.gateway("first", rejects);
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, is_refused(480)).succeeds();
    first.succeeds();
    assert_eq!(second.heard(), Vec::<String>::new());
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("first", Some(480))]);
    cdr.has(&[("stop_reason", json!("media committed"))]);
}

#[test]
fn a_provisional_with_sdp_commits_nothing_with_stop_switch_after_sdp_off() {
    let mut wire = Wire::new();
    let rejects = Scenario::of("gateway_sends_media_then_rejects").with("STATUS", "503 Service Unavailable");
    let off = "parameters = { SS_SIP_STOP_SWITCH_AFTER_SDP = \"Off\" }";
    let mut first = wire.gateway_with("first", off, rejects);
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    first.succeeds();
    second.succeeds();
    assert_eq!(switch.only_cdr().attempts(), [("first", Some(503)), ("second", Some(200))]);
}

#[test]
fn a_ringing_without_sdp_leaves_the_call_free_to_switch() {
    let mut wire = Wire::new();
    let rejects = Scenario::of("gateway_rings_then_rejects").with("STATUS", "503 Service Unavailable");
    let mut first = wire.gateway("first", rejects);
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up"));
    caller.succeeds();
    first.succeeds();
    second.succeeds();
    let ringing = caller.received("SIP/2.0 180");
    assert!(!ringing.is_empty());
    let answer = &caller.received("SIP/2.0 200")[0];
    assert_eq!(ringing[0].must("To"), answer.must("To"), "the caller sees one To tag of ours");
    assert_eq!(switch.only_cdr().attempts(), [("first", Some(503)), ("second", Some(200))]);
}

#[test]
fn the_switch_limit_ends_the_hunt_with_the_last_status() {
    let mut wire = Wire::new();
    wire.parameters("SS_GATEWAY_SWITCH_LIMIT = 1");
    let mut first = wire.gateway("first", rejects("500 Server Internal Error"));
    let mut second = wire.gateway("second", rejects("480 Temporarily Unavailable"));
    let third = wire.silent("third");
    let switch = wire.start();
    wire.call(&switch, is_refused(480)).succeeds();
    first.succeeds();
    second.succeeds();
    assert_eq!(third.heard(), Vec::<String>::new());
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("first", Some(500)), ("second", Some(480))]);
    cdr.has(&[("stop_reason", json!("switch limit")), ("sip_status", json!(480))]);
}

#[test]
fn a_stop_code_of_the_gateway_ends_the_hunt() {
    let mut wire = Wire::new();
    let stop = "stop_switching_response_code = [403, 404]";
    let mut first = wire.gateway_with("first", stop, rejects("404 Not Found"));
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, is_refused(404)).succeeds();
    first.succeeds();
    assert_eq!(second.heard(), Vec::<String>::new());
    switch.only_cdr().has(&[("stop_reason", json!("stop code")), ("sip_status", json!(404))]);
}

#[test]
fn a_stop_code_of_one_gateway_is_none_of_another() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", rejects("404 Not Found"));
    let stop = "stop_switching_response_code = [404]";
    let mut second = wire.gateway_with("second", stop, Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    first.succeeds();
    second.succeeds();
    switch.stop();
}

#[test]
fn when_every_gateway_has_failed_the_caller_gets_the_last_status() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", rejects("500 Server Internal Error"));
    let mut second = wire.gateway("second", rejects("404 Not Found"));
    let switch = wire.start();
    wire.call(&switch, is_refused(404)).succeeds();
    first.succeeds();
    second.succeeds();
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("first", Some(500)), ("second", Some(404))]);
    cdr.has(&[("stop_reason", json!("routes exhausted")), ("sip_status", json!(404))]);
}

#[test]
fn a_gateways_last_503_reaches_the_caller_as_500() {
    let mut wire = Wire::new();
    let mut only = wire.gateway("only", rejects("503 Service Unavailable"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, is_refused(500));
    caller.succeeds();
    only.succeeds();
    let refusal = &caller.received("SIP/2.0 500")[0];
    assert!(refusal.must("Reason").contains("503"), "{}", refusal.text);
    switch.stop();
}

#[test]
fn a_cause_map_changes_the_status_the_caller_gets() {
    let mut wire = Wire::new();
    wire.customer("cause_map = { \"404\" = 480 }");
    let mut only = wire.gateway("only", rejects("404 Not Found"));
    let switch = wire.start();
    wire.call(&switch, is_refused(480)).succeeds();
    only.succeeds();
    assert_eq!(switch.only_cdr().attempts(), [("only", Some(404))]);
}

#[test]
fn a_closed_port_switches_at_once() {
    let mut wire = Wire::new();
    wire.closed("first");
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let started = Instant::now();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up"));
    caller.hears("SIP/2.0 180");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "the INVITE timeout is 10 s: {:?}",
        started.elapsed()
    );
    caller.succeeds();
    second.succeeds();
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("first", None), ("second", Some(200))]);
    assert!(cdr.ms("pdd_ms") < 500, "before the first resend: {}", cdr.ms("pdd_ms"));
}

#[test]
fn a_closed_port_switches_even_when_an_invite_timeout_would_stop() {
    let mut wire = Wire::new();
    wire.parameters("SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT = \"On\"");
    wire.closed("first");
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    second.succeeds();
    switch.stop();
}

#[test]
fn when_no_gateway_can_be_reached_the_caller_gets_503() {
    let mut wire = Wire::new();
    wire.closed("first");
    wire.closed("second");
    let switch = wire.start();
    wire.call(&switch, is_refused(503)).succeeds();
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("first", None), ("second", None)]);
    cdr.has(&[("stop_reason", json!("routes exhausted")), ("sip_status", json!(503))]);
}
