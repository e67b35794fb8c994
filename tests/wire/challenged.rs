//! Gateways that ask for credentials (RFC 3261 §22, RFC 7616, RFC 8760).

use crate::sipp::Scenario;
use crate::wire::Wire;
use serde_json::json;

#[test]
fn a_gateway_that_asks_for_credentials_gets_them_within_the_attempt() {
    let mut wire = Wire::new();
    let challenge = Scenario::of("gateway_challenges").with("ALGORITHM", "MD5");
    let credentials = "username = \"tandem\"\npassword = \"geheim\"";
    let mut vendor = wire.gateway_with("vendor", credentials, challenge);
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
