//! Gateways by name (RFC 3263).

use crate::sipp::Scenario;
use crate::switch::Switch;
use crate::until::{SOON, until};
use crate::wire::Wire;
use serde_json::Value;
use tandem_testdns::DnsServer;

impl Wire {
    /// Has the switch ask this server.
    fn asks(&mut self, dns: &DnsServer) {
        self.section(&format!("[dns]\nservers = [\"{}\"]", dns.address()));
    }
}

/// The ports of the only gateway's targets, once its name leads somewhere.
fn targets(switch: &Switch) -> Vec<(u16, bool)> {
    let port = |target: &Value| {
        let address = target["address"].as_str().expect("an address");
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        (port.expect("a port"), target["failed"].as_bool().expect("yes or no"))
    };
    until("the name leads somewhere", SOON, || {
        let list = switch.ask("GET", "/api/v1/gateways").json();
        let gateways = list["gateways"].as_array().expect("a list");
        let named = gateways.iter().find(|gateway| gateway["name"] == "named").expect("the gateway");
        let targets = named["targets"].as_array().expect("a list");
        (!targets.is_empty()).then(|| targets.iter().map(port).collect())
    })
}

#[test]
fn srv_targets_are_tried_in_order_within_one_attempt() {
    let dns = DnsServer::start();
    let mut wire = Wire::new();
    wire.asks(&dns);
    // None but the first attempt.
    wire.parameters("SS_GATEWAY_SWITCH_LIMIT = 0");
    wire.gateway_by_name("named", "gw.test");
    let closed = wire.place.gateway_port();
    let (full, mut refusing) =
        wire.host("full", Scenario::of("gateway_rejects").with("STATUS", "503 Service Unavailable"));
    let (up, mut answering) = wire.host("up", Scenario::of("gateway_answers"));
    dns.naptr("gw.test", (1, 1), "SIP+D2U", "_sip._udp.gw.test")
        .srv("_sip._udp.gw.test", (1, 1, closed.port()), "host.gw.test")
        .srv("_sip._udp.gw.test", (2, 1, full.port()), "host.gw.test")
        .srv("_sip._udp.gw.test", (3, 1, up.port()), "host.gw.test")
        .a("host.gw.test", wire.place.gateway);
    let switch = wire.start();
    let ports = [closed, full, up].map(|address| (address.port(), false));
    assert_eq!(targets(&switch), ports);
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    refusing.succeeds();
    answering.succeeds();
    // Nobody listened at the first: for a while it comes last.
    assert_eq!(targets(&switch).last(), Some(&(closed.port(), true)));
    assert_eq!(switch.metric("tandem_dns_answers_total", "waited"), 0.0);
    assert_eq!(switch.only_cdr().attempts(), [("named", Some(200))]);
}

#[test]
fn when_no_target_of_a_name_is_left_the_call_switches() {
    let dns = DnsServer::start();
    let mut wire = Wire::new();
    wire.asks(&dns);
    wire.gateway_by_name("named", "gw.test");
    let (one, other) = (wire.place.gateway_port(), wire.place.gateway_port());
    dns.srv("_sip._udp.gw.test", (1, 1, one.port()), "host.gw.test")
        .srv("_sip._udp.gw.test", (2, 1, other.port()), "host.gw.test")
        .a("host.gw.test", wire.place.gateway);
    let mut second = wire.gateway("second", Scenario::of("gateway_answers"));
    let switch = wire.start();
    assert_eq!(targets(&switch).len(), 2);
    wire.call(&switch, Scenario::of("caller_hangs_up")).succeeds();
    second.succeeds();
    assert_eq!(switch.only_cdr().attempts(), [("named", None), ("second", Some(200))]);
}
