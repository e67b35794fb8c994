//! What never becomes a call.

use crate::silent::Silent;
use crate::sipp::Scenario;
use crate::until::{SOON, until};
use crate::wire::Wire;
use serde_json::json;
use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

fn is_refused(status: u16) -> Scenario {
    Scenario::of("caller_is_refused").with("STATUS", status)
}

#[test]
fn a_caller_from_an_unknown_address_gets_403() {
    let mut wire = Wire::new();
    let vendor = wire.silent("vendor");
    let switch = wire.start();
    wire.call_from_stranger(&switch, is_refused(403)).succeeds();
    assert_eq!(vendor.heard(), Vec::<String>::new());
    switch.stop();
}

#[test]
fn a_number_without_a_route_gets_503_with_a_reason() {
    let mut wire = Wire::new();
    let vendor = wire.silent_with("vendor", "prefixes = [\"33\"]");
    let switch = wire.start();
    let mut caller = wire.call(&switch, is_refused(503).calling("4420"));
    caller.succeeds();
    assert!(caller.received("SIP/2.0 503")[0].header("Reason").is_some());
    assert_eq!(vendor.heard(), Vec::<String>::new());
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), []);
    cdr.has(&[("end_reason", json!("routes exhausted")), ("sip_status", json!(503))]);
}

#[test]
fn a_disabled_gateway_gets_no_call() {
    let mut wire = Wire::new();
    let disabled = wire.silent_with("disabled", "disabled = true");
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    assert_eq!(disabled.heard(), Vec::<String>::new());
    switch.stop();
}

#[test]
fn a_call_over_the_nodes_limit_gets_503_with_retry_after() {
    let mut wire = Wire::new();
    wire.section("[limits]\nmax_calls = 1");
    over_the_limit(&mut wire);
}

#[test]
fn a_call_over_the_customers_limit_gets_503_with_retry_after() {
    let mut wire = Wire::new();
    wire.customer("max_calls = 1");
    over_the_limit(&mut wire);
}

/// One call fits and the second does not; when the first has ended, a third fits.
fn over_the_limit(wire: &mut Wire) {
    let twice = Scenario::of("gateway_answers").times(2, 1, Duration::from_secs(30));
    let mut vendor = wire.gateway("vendor", twice);
    let switch = wire.start();
    let mut first = wire.call(&switch, Scenario::of("caller_hangs_up").talking(Duration::from_secs(1)));
    switch.call_in("answered");
    let mut second = wire.call(&switch, is_refused(503));
    second.succeeds();
    let refusal = &second.received("SIP/2.0 503")[0];
    assert!(refusal.must("Retry-After").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{}", refusal.text);
    first.succeeds();
    switch.is_idle();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    switch.stop();
}

#[test]
fn a_gateway_at_its_limit_is_passed_over() {
    let mut wire = Wire::new();
    let mut first = wire.gateway_with("first", "max_calls = 1", Scenario::of("gateway_answers"));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut long = wire.call(&switch, Scenario::of("caller_hangs_up").talking(Duration::from_secs(1)));
    switch.call_in("answered");
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    second.succeeds();
    long.succeeds();
    first.succeeds();
    switch.stop();
}

#[test]
fn options_is_answered_with_200() {
    let wire = Wire::new();
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_asks_options"));
    caller.succeeds();
    let allow = caller.received("SIP/2.0 200")[0].must("Allow").to_owned();
    for method in ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"] {
        assert!(allow.contains(method), "{allow}");
    }
    switch.stop();
}

#[test]
fn an_unknown_method_is_answered_with_501_or_405() {
    let wire = Wire::new();
    let switch = wire.start();
    let peer = SocketAddrV4::new(wire.place.caller, wire.place.port());
    let heard = Silent::at(peer);
    heard.send(
        switch.sip,
        format!(
            "JUGGLE sip:{0} SIP/2.0\r\nVia: SIP/2.0/UDP {peer};branch=z9hG4bK-j1\r\nMax-Forwards: 70\r\n\
             From: <sip:a@{peer}>;tag=j\r\nTo: <sip:{0}>\r\nCall-ID: juggle@{peer}\r\nCSeq: 1 JUGGLE\r\n\
             Content-Length: 0\r\n\r\n",
            switch.sip
        )
        .as_bytes(),
    );
    let answer = until("an answer", SOON, || heard.heard().into_iter().next());
    assert!(answer.starts_with("SIP/2.0 501") || answer.starts_with("SIP/2.0 405"), "{answer}");
    switch.stop();
}

#[test]
fn garbage_is_counted_and_the_switch_goes_on() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let mut switch = wire.start();
    let socket = UdpSocket::bind((wire.place.caller, wire.place.port())).expect("a port of our own");
    let before = switch.metric("tandem_sip_rejects_total", "");
    let garbage: [&[u8]; 6] = [
        b"HELLO",
        &[0; 1400],
        &[0xff; 65_000],
        b"INVITE",
        b"INVITE sip:4420@127.0.0.1 SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP \r\nCSeq: 99999999999999 INVITE\r\n\r\n",
    ];
    for datagram in garbage {
        socket.send_to(datagram, switch.sip).expect("sent");
    }
    until("the garbage is counted", SOON, || {
        (switch.metric("tandem_sip_rejects_total", "") >= before + 3.0).then_some(())
    });
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    switch.is_alive();
    switch.only_cdr().has(&[("end_reason", json!("normal"))]);
}
