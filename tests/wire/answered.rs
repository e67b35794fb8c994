//! Calls that are answered.

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn a_call_is_connected_and_ends_when_the_caller_hangs_up() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let talk = Duration::from_millis(300);
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up").talking(talk));
    caller.succeeds();
    vendor.succeeds();
    let cdr = switch.only_cdr();
    cdr.has(&[
        ("caller", json!("4930111")),
        ("called", json!("4420")),
        ("caller_out", json!("4930111")),
        ("called_out", json!("4420")),
        ("mapping_gateway", json!("customer")),
        ("routing_gateway", json!("vendor")),
        ("ended_by", json!("caller")),
        ("end_reason", json!("normal")),
        ("stop_reason", Value::Null),
        ("sip_status", json!(200)),
        ("codec", json!("PCMA")),
        ("nodes", json!(["wire"])),
    ]);
    assert_eq!(cdr.attempts(), [("vendor", Some(200))]);
    assert_eq!(cdr.text("caller_call_id"), caller.sent("INVITE")[0].must("Call-ID"));
    assert_eq!(cdr.text("callee_call_id"), vendor.received("INVITE")[0].must("Call-ID"));
    let times = ["started_at", "ringing_at", "answered_at", "ended_at"].map(|name| cdr.text(name));
    assert!(times.is_sorted(), "{times:?}");
    assert!(times.iter().all(|time| time.len() == 24 && time.ends_with('Z')), "{times:?}");
    assert!((300..3000).contains(&cdr.ms("duration_ms")), "{}", cdr.ms("duration_ms"));
    assert!(cdr.ms("pdd_ms") < 3000, "{}", cdr.ms("pdd_ms"));
}

#[test]
fn a_call_ends_when_the_gateway_hangs_up() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers_and_hangs_up"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_is_hung_up_on")).succeeds();
    vendor.succeeds();
    switch.only_cdr().has(&[("ended_by", json!("callee")), ("end_reason", json!("normal"))]);
}

#[test]
fn a_cdr_of_a_connected_call_is_written_without_ss_cdr_record_nonconnect() {
    let mut wire = Wire::new();
    wire.without_nonconnect_cdrs();
    let mut busy = wire.gateway_with("busy", "prefixes = [\"33\"]", Scenario::of("gateway_rejects").busy());
    let mut vendor = wire.gateway_with("vendor", "prefixes = [\"44\"]", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_is_refused").with("STATUS", 486).calling("3311")).succeeds();
    wire.call(&switch, Scenario::of("caller_hangs_up").calling("4420")).succeeds();
    busy.succeeds();
    vendor.succeeds();
    switch.only_cdr().has(&[("called", json!("4420"))]);
}

#[test]
fn nothing_of_the_callers_leg_shows_to_the_gateway() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up"));
    caller.succeeds();
    vendor.succeeds();
    let (sent, received) = (&caller.sent("INVITE")[0], &vendor.received("INVITE")[0]);
    let head = received.text.split("\n\n").next().expect("a head");
    assert!(!head.contains(&wire.place.caller.to_string()), "the caller's address shows:\n{head}");
    for name in ["Call-ID", "Via", "Contact"] {
        assert_ne!(sent.must(name), received.must(name));
    }
    let tag = sent.must("From").split("tag=").nth(1).expect("a tag");
    assert!(!head.contains(tag), "the caller's tag shows:\n{head}");
    let answer = &caller.received("SIP/2.0 200")[0];
    let head = answer.text.split("\n\n").next().expect("a head");
    assert!(!head.contains(&wire.place.gateway.to_string()), "the gateway's address shows:\n{head}");
    switch.stop();
}

#[test]
fn the_session_description_passes_unchanged_in_both_directions() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up"));
    caller.succeeds();
    vendor.succeeds();
    let body = |text: &str| text.split_once("\n\n").expect("a body").1.trim().to_owned();
    assert_eq!(body(&caller.sent("INVITE")[0].text), body(&vendor.received("INVITE")[0].text));
    assert_eq!(body(&vendor.sent("SIP/2.0 200")[0].text), body(&caller.received("SIP/2.0 200")[0].text));
    switch.stop();
}

#[test]
fn max_forwards_is_one_less_on_the_gateways_leg() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    assert_eq!(vendor.received("INVITE")[0].must("Max-Forwards"), "69");
    switch.stop();
}

#[test]
fn number_rules_apply_before_routing_and_again_per_gateway() {
    let mut wire = Wire::new();
    wire.customer("strip = 2\nprepend = \"44\"");
    let wrong = wire.silent_with("wrong", "prefixes = [\"00\"]");
    let mut vendor =
        wire.gateway_with("vendor", "prefixes = [\"44\"]\nprepend = \"9\"", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up").calling("0020")).succeeds();
    vendor.succeeds();
    let invite = &vendor.received("INVITE")[0].text;
    assert!(invite.starts_with("INVITE sip:94420@"), "{invite}");
    assert_eq!(wrong.heard(), Vec::<String>::new());
    switch.only_cdr().has(&[("called", json!("0020")), ("called_out", json!("94420"))]);
}

#[test]
fn the_longest_prefix_takes_the_call() {
    let mut wire = Wire::new();
    let any = wire.silent_with("any", "prefixes = [\"\", \"4\"]");
    let mut vendor = wire.gateway_with("vendor", "prefixes = [\"442\"]", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up").calling("4420")).succeeds();
    vendor.succeeds();
    assert_eq!(any.heard(), Vec::<String>::new());
    switch.only_cdr().has(&[("routing_gateway", json!("vendor"))]);
}

#[test]
fn ss_max_call_duration_ends_an_answered_call_on_both_legs() {
    let mut wire = Wire::new();
    wire.parameters("SS_MAX_CALL_DURATION = 1");
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_is_hung_up_on")).succeeds();
    vendor.succeeds();
    let cdr = switch.only_cdr();
    cdr.has(&[("ended_by", json!("server")), ("end_reason", json!("max duration"))]);
    assert!((1000..1500).contains(&cdr.ms("duration_ms")), "{}", cdr.ms("duration_ms"));
}

#[test]
fn an_offer_may_come_in_the_200_and_its_answer_in_the_ack() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_offers_in_its_200"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_answers_in_its_ack")).succeeds();
    vendor.succeeds();
    let ack = &vendor.received("ACK")[0];
    assert_eq!(ack.header("Content-Type"), Some("application/sdp"), "{}", ack.text);
    switch.only_cdr().has(&[("end_reason", json!("normal"))]);
}
