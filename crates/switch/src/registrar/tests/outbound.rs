//! Flows of devices (RFC 5626).

use super::*;

const DEVICE: &str = ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"";

fn flow(uri: &str, reg_id: u32) -> String {
    format!("Supported: path, outbound\r\n{}", contact(uri, &format!("{DEVICE};reg-id={reg_id}")))
}

#[test]
fn a_flow_is_agreed_and_its_keep_alive_is_told() {
    let mut world = World::new();
    let response = world.register(&flow(PHONE, 1)).expect("200");
    assert_eq!(values(&response, Name::Require), ["outbound"]);
    assert_eq!(response.first(Name::FlowTimer), Some(&b"30"[..]));
    assert_eq!(values(&response, Name::Contact), [format!("<{PHONE}>;expires=300{DEVICE};reg-id=1")],);
    let binding = world.only();
    assert_eq!(binding.instance.as_deref(), Some("<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"));
    assert_eq!((binding.reg_id, binding.flow), (Some(1), world.flow()));
    world.transport = Transport::Tcp;
    let response = world.register(&flow(PHONE, 1)).expect("200");
    assert_eq!(response.first(Name::FlowTimer), Some(&b"120"[..]), "a connection");
}

#[test]
fn a_flow_replaces_the_one_of_the_same_device_and_number_wherever_that_was() {
    let mut world = World::new();
    let _ = world.contacts(&flow(PHONE, 1));
    world.source = "192.0.2.7:40000".parse().expect("an address");
    let _ = world.contacts(&flow("sip:alice@192.0.2.7:40000", 1));
    assert_eq!(&*world.only().contact, "sip:alice@192.0.2.7:40000");
    assert_eq!(world.only().flow, world.flow());
    assert_eq!(world.contacts(&flow("sip:alice@192.0.2.7:40000", 2)).len(), 2, "another flow of the device");
}

#[test]
fn without_an_instance_or_support_a_reg_id_is_ignored() {
    let mut world = World::new();
    for lines in [
        format!("Supported: outbound\r\n{}", contact(PHONE, ";reg-id=1")),
        contact(PHONE, &format!("{DEVICE};reg-id=1")),
        format!("Supported: outbound\r\n{}", contact(PHONE, &format!("{DEVICE};reg-id=x"))),
    ] {
        let response = world.register(&lines).expect("200");
        assert!(response.first(Name::Require).is_none() && response.first(Name::FlowTimer).is_none());
        assert_eq!(world.only().reg_id, None, "{lines}");
    }
}

#[test]
fn two_flows_cannot_be_registered_at_once() {
    let mut world = World::new();
    let lines = format!("{}{}", flow(PHONE, 1), contact("sip:b@192.0.2.7", &format!("{DEVICE};reg-id=2")));
    assert_eq!(world.refusal(&lines), 400);
}

#[test]
fn a_first_hop_without_outbound_is_439() {
    let mut world = World::new();
    let via = "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKphone\r\n";
    assert_eq!(world.refusal(&format!("{via}{}", flow(PHONE, 1))), 439);
    let path = "Path: <sip:p2;lr>,<sip:token@p1;lr>\r\n";
    assert_eq!(world.refusal(&format!("{via}{path}{}", flow(PHONE, 1))), 439);
    let path = "Path: <sip:p2;lr>,<sip:token@p1;lr;ob>\r\n";
    let response = world.register(&format!("{via}{path}{}", flow(PHONE, 1))).expect("200");
    assert_eq!(values(&response, Name::Require), ["outbound"]);
    assert!(response.first(Name::FlowTimer).is_none(), "that is the edge proxy's to say");
}
