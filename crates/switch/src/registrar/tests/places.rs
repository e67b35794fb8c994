//! Where bindings lead a call.

use crate::registrar::{Binding, Place, WayThere, places};
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::time::Wall;

fn flow(transport: Transport, remote: &str) -> Flow {
    Flow { transport, listener: 3, remote: remote.parse().expect("an address") }
}

fn binding(contact: &str, change: impl FnOnce(&mut Binding)) -> Binding {
    let mut binding = Binding {
        contact: contact.into(),
        q: 1_000,
        flow: flow(Transport::Udp, "192.0.2.9:40000"),
        edge: "192.0.2.1:5060".into(),
        elsewhere: false,
        nat: false,
        path: Vec::new(),
        instance: None,
        reg_id: None,
        call_id: "1".into(),
        cseq: 1,
        expires: Wall(1_000),
        registered: Wall(0),
        refreshed: Wall(0),
        user_agent: None,
    };
    change(&mut binding);
    binding
}

fn at(uri: &str) -> WayThere {
    WayThere::Uri { uri: uri.into(), registered: flow(Transport::Udp, "192.0.2.9:40000") }
}

fn only(binding: Binding) -> Place {
    let mut all = places(&[binding]);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_nat_endpoint_is_reached_by_its_flow_and_not_at_its_contact() {
    let place = only(binding("sip:bob@10.0.0.5", |binding| binding.nat = true));
    assert_eq!(&*place.uri, "sip:bob@10.0.0.5", "the Request-URI stays as registered");
    assert_eq!(place.ways, [WayThere::Flow(flow(Transport::Udp, "192.0.2.9:40000"))]);
}

#[test]
fn an_endpoint_that_registered_by_a_connection_is_reached_by_it() {
    let by_tcp = flow(Transport::Tcp, "192.0.2.9:40000");
    let place = only(binding("sip:bob@192.0.2.9;transport=tcp", |binding| binding.flow = by_tcp));
    assert_eq!(place.ways, [WayThere::Flow(by_tcp)]);
}

#[test]
fn an_endpoint_in_the_open_is_reached_at_its_contact() {
    let place = only(binding("sip:bob@192.0.2.9:5070", |_| {}));
    assert_eq!(place.ways, [at("sip:bob@192.0.2.9:5070")]);
}

#[test]
fn an_endpoint_behind_proxies_is_reached_by_the_first_of_its_path() {
    let path = ["<sip:edge.example;lr>", "<sip:core.example;lr>"].map(Into::into).to_vec();
    let place = only(binding("sip:bob@10.0.0.5", |binding| {
        binding.path = path.clone();
        binding.nat = true;
    }));
    assert_eq!(place.route, path);
    assert_eq!(place.ways, [at("sip:edge.example;lr")]);
}

#[test]
fn the_flows_of_one_device_are_ways_to_it_and_it_is_called_once() {
    let of_device = |reg_id, refreshed| {
        binding("sip:bob@10.0.0.5", |binding| {
            binding.instance = Some("<urn:uuid:1>".into());
            binding.reg_id = Some(reg_id);
            binding.refreshed = Wall(refreshed);
            binding.flow.remote.set_port(40_000 + reg_id as u16);
        })
    };
    let other = binding("sip:bob@192.0.2.7", |_| {});
    let places = places(&[of_device(1, 10), of_device(2, 20), other]);
    assert_eq!(places.len(), 2);
    let by = |port: u16| WayThere::Flow(flow(Transport::Udp, &format!("192.0.2.9:{port}")));
    assert_eq!(places[0].ways, [by(40_002), by(40_001)], "that which was refreshed last comes first");
}
