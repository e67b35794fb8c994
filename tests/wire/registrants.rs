//! A gateway that registers to the switch.

use crate::endpoints::{phone, register};
use crate::sipp::Scenario;
use crate::until::{SOON, until};
use crate::wire::Wire;
use serde_json::json;

#[test]
fn a_gateway_that_registers_gets_calls_by_number_until_it_unregisters() {
    let mut wire = Wire::new();
    wire.section(
        "[registrar]\nalgorithms = [\"MD5\"]\n\
         [[endpoint]]\nuser = \"trunk\"\npassword = \"trunk-secret\"\n\
         [[routing_gateway]]\nname = \"trunk\"\nendpoint = \"trunk\"",
    );
    let (address, mut trunk) = phone(&wire, "trunk", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let stands = || {
        let gateways = switch.ask("GET", "/api/v1/gateways").json();
        let rows = gateways["gateways"].as_array().expect("a list").clone();
        rows.into_iter().find(|row| row["name"] == "trunk" && row["kind"] == "routing").expect("the trunk")
    };
    assert_eq!(stands()["why"], "not registered");
    register(&wire, &switch, "trunk", address, "");
    until("the gateway is known as registered", SOON, || {
        (stands()["registered"]["registered"] == true).then_some(())
    });
    let shown = stands();
    assert_eq!(shown["state"], "available");
    let contact = &shown["registered"]["bindings"][0];
    assert_eq!(contact["contact"], json!(format!("sip:trunk@{address}")));
    assert!(contact["expires_at"].is_string());
    wire.call(&switch, Scenario::of("caller_hangs_up").calling("4420")).succeeds();
    trunk.succeeds();
    let invite = &trunk.received("INVITE")[0];
    assert!(invite.text.starts_with(&format!("INVITE sip:4420@{address} ")), "{}", invite.text);
    register(&wire, &switch, "trunk", address, ";expires=0");
    until("the gateway is known to have gone", SOON, || (stands()["why"] == "not registered").then_some(()));
    wire.call(&switch, Scenario::of("caller_is_refused").with("STATUS", 503)).succeeds();
    let calls = switch.stop().calls;
    assert_eq!(calls.len(), 2, "{calls:#?}");
    calls[0].has(&[("routing_gateway", json!("trunk")), ("called", json!("4420"))]);
}
