//! Calls over TCP, and certificates as an operator meets them.

use crate::place::Place;
use crate::sipp::Scenario;
use crate::switch::binary;
use crate::until::{SOON, until};
use crate::wire::Wire;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Duration;

#[test]
fn calls_go_over_tcp_on_both_legs_by_one_connection_each() {
    let mut wire = Wire::new();
    wire.listen_on_tcp();
    let calls = |scenario: Scenario| scenario.over_tcp().times(10, 50, Duration::from_secs(20));
    let mut vendor =
        wire.gateway_with("vendor", "transport = \"tcp\"", calls(Scenario::of("gateway_answers")));
    let switch = wire.start();
    wire.call(&switch, calls(Scenario::of("caller_hangs_up"))).succeeds();
    vendor.succeeds();
    for event in ["accepted", "opened"] {
        assert_eq!(
            switch.metric("tandem_connections_total", &format!("event=\"{event}\",transport=\"tcp\"")),
            1.0
        );
    }
    let calls = switch.stop().calls;
    assert_eq!(calls.len(), 10);
    calls.iter().for_each(|call| call.has(&[("end_reason", json!("normal"))]));
}

#[test]
fn a_call_from_tcp_reaches_a_gateway_on_udp_and_is_hung_up_by_its_connection() {
    let mut wire = Wire::new();
    wire.listen_on_tcp();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers_and_hangs_up"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_is_hung_up_on").over_tcp());
    caller.succeeds();
    vendor.succeeds();
    assert!(vendor.received("INVITE")[0].must("Via").starts_with("SIP/2.0/UDP "));
    assert!(caller.received("BYE")[0].must("Via").starts_with("SIP/2.0/TCP "));
    switch.only_cdr().has(&[("ended_by", json!("callee")), ("end_reason", json!("normal"))]);
}

#[test]
fn a_tcp_gateway_that_takes_no_connection_is_passed_over_at_once() {
    let mut wire = Wire::new();
    wire.listen_on_tcp();
    wire.closed_with("closed", "transport = \"tcp\"");
    let mut vendor =
        wire.gateway_with("vendor", "transport = \"tcp\"", Scenario::of("gateway_answers").over_tcp());
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("closed", None), ("vendor", Some(200))]);
    assert!(cdr.ms("pdd_ms") < 3000, "{}", cdr.ms("pdd_ms"));
}

/// Writes a certificate of its own making and its key.
fn certificate(folder: &Path) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("a certificate");
    fs::write(folder.join("cert.pem"), cert.pem()).expect("the test's folder is writable");
    fs::write(folder.join("key.pem"), key.serialize_pem()).expect("the test's folder is writable");
}

#[test]
fn check_reads_the_certificates() {
    let place = Place::new();
    let text = "[[listen]]\ntransport = \"tls\"\nbind = \"127.0.0.1:5061\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    fs::write(place.folder.join("tandem.toml"), text).expect("the test's folder is writable");
    let check = || {
        binary(&place.folder).args(["check", "--config", "tandem.toml"]).output().expect("the binary runs")
    };
    let said = check();
    let why = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.code() == Some(1) && why.contains("listen[0]") && why.contains("cert.pem"), "{why}");
    certificate(&place.folder);
    let said = check();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(String::from_utf8_lossy(&said.stdout).contains("tls 127.0.0.1:5061"));
}

#[test]
fn sighup_reads_the_certificates_anew_and_keeps_those_in_use_if_they_are_broken() {
    let mut wire = Wire::new();
    certificate(&wire.place.folder);
    let port = wire.place.port();
    let address = wire.place.switch;
    let file = |name: &str| wire.place.folder.join(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    wire.section(&format!(
        "[[listen]]\ntransport = \"tls\"\nbind = \"{address}:{port}\"\ncert = {cert:?}\nkey = {key:?}"
    ));
    let mut switch = wire.start();
    let reloads = |result: &str, times: f64| {
        let name = "tandem_certificate_reloads_total";
        until(&format!("{times} {result}"), SOON, || (switch.metric(name, result) == times).then_some(()));
    };
    certificate(&wire.place.folder);
    switch.hang_up();
    reloads("done", 1.0);
    fs::write(&cert, "no certificate").expect("the test's folder is writable");
    switch.hang_up();
    reloads("failed", 1.0);
    switch.is_alive();
    switch.stop();
}
