//! Gateways that ask for credentials (RFC 3261 §22, RFC 7616, RFC 8760).

use crate::sipp::Scenario;
use crate::trace::Traced;
use crate::wire::Wire;
use serde_json::json;
use tandem_sip::digest::Credentials;

/// The account of the switch at its gateways.
const ACCOUNT: &str = "username = \"tandem\"\npassword = \"geheim\"";

#[test]
fn a_gateway_that_asks_for_credentials_gets_them_within_the_attempt() {
    let mut wire = Wire::new();
    let challenge = Scenario::of("gateway_challenges").with("ALGORITHM", "MD5");
    let mut vendor = wire.gateway_with("vendor", ACCOUNT, challenge);
    let second = wire.silent("second");
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    vendor.succeeds();
    let invites = vendor.received("INVITE");
    assert_eq!(invites[0].header("Proxy-Authorization"), None);
    assert_eq!(invites[0].must("Call-ID"), invites[1].must("Call-ID"));
    let given = invites[1].must("Proxy-Authorization");
    for part in ["realm=\"gw.example\"", "nonce=\"4a8f2c61\"", "qop=auth", "nc=00000001", "algorithm=MD5"] {
        assert!(given.contains(part), "{part} in {given}");
    }
    assert!(!switch.log().contains("geheim"));
    assert_eq!(second.heard(), Vec::<String>::new());
    let cdr = switch.only_cdr();
    cdr.has(&[("routing_gateway", json!("vendor"))]);
    assert_eq!(cdr.attempts(), [("vendor", Some(200))]);
}

#[test]
fn a_challenge_that_nobody_can_answer_switches() {
    let mut wire = Wire::new();
    let mut first = wire.gateway("first", Scenario::of("gateway_rejects").with("STATUS", "401 Unauthorized"));
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    first.succeeds();
    second.succeeds();
    assert_eq!(switch.only_cdr().attempts(), [("first", Some(401)), ("second", Some(200))]);
}

/// Of the requests of a method, the first that carries credentials; they must be right.
fn authorized(requests: &[Traced], method: &str, nonce: &str) -> Traced {
    let given = requests.iter().find(|request| request.header("Proxy-Authorization").is_some());
    let request = given.unwrap_or_else(|| panic!("no {method} with credentials")).clone();
    let value = request.must("Proxy-Authorization");
    let credentials = Credentials::parse(value.as_bytes()).expect("credentials");
    assert_eq!(credentials.nonce, nonce.as_bytes(), "{value}");
    let ha1 = credentials.algorithm.ha1("tandem", &credentials.realm, "geheim");
    assert!(credentials.are_of(&ha1, method, b""), "{value}");
    request
}

#[test]
fn a_gateway_that_asks_for_credentials_inside_the_dialog_gets_them_too() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway_with("vendor", ACCOUNT, Scenario::of("gateway_challenges_inside"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_re_invites"));
    caller.succeeds();
    vendor.succeeds();
    let first = &vendor.received("INVITE")[0];
    assert_eq!(first.header("Proxy-Authorization"), None);
    for (method, nonce) in [("INVITE", "51c0"), ("BYE", "9b2e")] {
        let requests = vendor.received(method);
        let given = authorized(&requests, method, nonce);
        assert_eq!(given.must("Call-ID"), first.must("Call-ID"));
    }
    switch.only_cdr().has(&[("end_reason", json!("normal")), ("ended_by", json!("caller"))]);
}
