//! Gateways that publish their state, are probed, and demand that we register.

use crate::sipp::{Scenario, Sipp};
use crate::switch::Switch;
use crate::until::{SOON, until};
use crate::wire::Wire;
use humantime::parse_rfc3339;
use serde_json::{Value, json};
use std::time::Duration;

impl Switch {
    /// A gateway as the API shows it.
    fn gateway(&self, name: &str) -> Value {
        let gateways = self.ask("GET", "/api/v1/gateways").json();
        let list = gateways["gateways"].as_array().expect("a list");
        list.iter().find(|gateway| gateway["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    }

    /// Waits until a gateway is in that state.
    fn gateway_is(&self, name: &str, state: &str) -> Value {
        until(&format!("{name} is {state}"), SOON, || {
            Some(self.gateway(name)).filter(|gateway| gateway["state"] == state)
        })
    }
}

#[test]
fn a_gateway_publishes_refreshes_modifies_and_removes_its_state() {
    let mut wire = Wire::new();
    let first = wire.gateway_at("first", "");
    let switch = wire.start();
    let publisher = Scenario::of("gateway_publishes").calling("first");
    Sipp::caller(&wire.place, *first.ip(), switch.sip, &publisher).succeeds();
    let shown = switch.gateway_is("first", "unavailable");
    assert_eq!(shown["why"], "its publication was removed");
    assert_eq!(shown["publication"]["standing"], "removed");
    assert_eq!(shown["publication"]["basic"], "closed");
    assert_eq!(switch.metric("tandem_gateway_publications_total", "first"), 4.0);
    let stranger = Scenario::of("stranger_publishes");
    wire.call_from_stranger(&switch, stranger).succeeds();
    switch.stop();
}

#[test]
fn a_gateway_whose_publication_lapses_is_unavailable_within_a_second() {
    let mut wire = Wire::new();
    let first = wire.gateway_at("first", "");
    let second = wire.gateway_at("second", "");
    let switch = wire.start();
    let publisher = Scenario::of("gateway_publishes_once").calling("first");
    Sipp::caller(&wire.place, *first.ip(), switch.sip, &publisher).succeeds();
    assert_eq!(switch.gateway("first")["state"], "available");
    let shown = until("its publication has lapsed", Duration::from_secs(40), || {
        Some(switch.gateway("first")).filter(|gateway| gateway["state"] == "unavailable")
    });
    assert_eq!(shown["why"], "its publication has lapsed");
    assert_eq!(shown["publication"]["standing"], "lapsed");
    let time = |shown: &Value| parse_rfc3339(shown.as_str().expect("a time")).expect("of RFC 3339");
    let (lapsed, changed) = (time(&shown["publication"]["expires_at"]), time(&shown["changed_at"]));
    let late = changed.duration_since(lapsed).expect("not before it lapses");
    assert!(late <= Duration::from_secs(1), "{late:?}");
    assert_eq!(switch.metric("tandem_gateway_publications_lapsed_total", "first"), 1.0);
    assert!(switch.log().contains("the gateway gets no calls"), "a line in the log");
    let mut second = Sipp::gateway(&wire.place, "second", second, &Scenario::of("gateway_answers"));
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    second.succeeds();
    assert_eq!(switch.only_cdr().attempts(), [("second", Some(200))], "no call was wasted on the first");
}

#[test]
fn a_gateway_whose_probe_fails_is_passed_by_until_it_answers() {
    let mut wire = Wire::new();
    let first = wire.gateway_at("first", "probe = { interval = \"1s\" }");
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let shown = switch.gateway_is("first", "unavailable");
    assert_eq!(shown["why"], "its probe fails");
    assert!(shown["probe"]["failures"].as_u64().is_some_and(|failures| failures >= 2), "{shown}");
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    second.succeeds();
    let mut back = Sipp::gateway(&wire.place, "back", first, &Scenario::of("gateway_answers_a_probe"));
    let shown = switch.gateway_is("first", "available");
    assert!(shown["probe"]["rtt_ms"].is_u64() && shown["changed_at"].is_string(), "{shown}");
    back.succeeds();
    let cdr = switch.only_cdr();
    assert_eq!(cdr.attempts(), [("second", Some(200))], "no call was wasted on the first");
}

#[test]
fn a_gateway_that_demands_it_is_registered_at_refreshed_and_left_at_sigterm() {
    let mut wire = Wire::new();
    let lines = "username = \"tandem\"\npassword = \"geheim\"\nregister = { domain = \"vendor.example\" }";
    let mut vendor = wire.gateway_with("vendor", lines, Scenario::of("gateway_demands_registration"));
    let switch = wire.start();
    let shown = switch.gateway_is("vendor", "available");
    let registration = &shown["registration"];
    assert_eq!(
        (&registration["aor"], &registration["registered"]),
        (&json!("sip:tandem@vendor.example"), &json!(true))
    );
    until("it is refreshed", SOON, || (vendor.received("REGISTER").len() >= 3).then_some(()));
    until("the longer life is known", SOON, || {
        let lapses = switch.gateway("vendor")["registration"]["expires_at"].clone();
        (lapses != registration["expires_at"]).then_some(())
    });
    switch.terminate();
    vendor.succeeds();
    let last = vendor.received("REGISTER").pop().expect("a REGISTER");
    assert!(last.must("Contact").ends_with(";expires=0"), "{}", last.text);
    assert!(switch.ends(SOON).is_empty());
}
