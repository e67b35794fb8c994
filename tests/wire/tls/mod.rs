//! Calls over TLS (RFC 3261 §26.3.1, RFC 5922) by the real binary. Debian's sipp knows no TLS, so the parties are ours.

pub(crate) mod authority;
mod line;

use crate::switch::Switch;
use crate::until::{SOON, until};
use crate::wire::Wire;
use authority::{Authority, Identity};
use line::{Gate, Line};
use serde_json::json;
use std::net::{SocketAddr, SocketAddrV4};
use tandem_sip::{Builder, Method, Name};

/// A switch that listens on TLS, and the gateway that it reaches over TLS.
struct Bench {
    authority: Authority,
    wire: Wire,
    switch: Switch,
    listener: SocketAddrV4,
    gate: Gate,
    vendor: Identity,
}

impl Bench {
    fn new() -> Bench {
        let mut wire = Wire::new();
        let authority = Authority::new();
        let address = wire.gateway_at("vendor", "transport = \"tls\"");
        let (gate, vendor) = (Gate::at(address), authority.issue(*address.ip()));
        let listener = SocketAddrV4::new(wire.place.switch, wire.place.port());
        let own = authority.issue(wire.place.switch).write(&wire.place.folder);
        let ca = authority.write(&wire.place.folder);
        wire.section(&format!("[[listen]]\ntransport = \"tls\"\nbind = \"{listener}\"\n{own}ca = {ca:?}"));
        let switch = wire.start();
        Bench { authority, wire, switch, listener, gate, vendor }
    }

    fn caller(&self) -> Line {
        Line::to(self.wire.place.caller, self.listener, self.authority.client())
    }

    /// One call of the caller's, from its INVITE to the answer to its BYE, over these connections; the gateway takes one
    /// if it has none.
    fn call(&self, caller: &mut Line, vendor: &mut Option<Line>, name: &str) {
        caller.send(&request(caller, self.listener, (Method::Invite, 1), (name, "")));
        let vendor = vendor.get_or_insert_with(|| self.gate.accept(self.vendor.server()));
        let invite = vendor.request(Method::Invite);
        assert_eq!(invite.top_via().expect("a Via").transport, b"TLS");
        vendor.respond(&invite, 200);
        let answer = caller.status(200);
        let tag = String::from_utf8_lossy(answer.to_tag().expect("a tag")).into_owned();
        caller.send(&request(caller, self.listener, (Method::Ack, 1), (name, &tag)));
        vendor.request(Method::Ack);
        caller.send(&request(caller, self.listener, (Method::Bye, 2), (name, &tag)));
        let bye = vendor.request(Method::Bye);
        vendor.respond(&bye, 200);
        let ended = caller.status(200);
        assert_eq!(ended.method(), Some(Method::Bye));
    }

    fn connections(&self, event: &str) -> f64 {
        let labels = format!("event=\"{event}\",transport=\"tls\"");
        self.switch.metric("tandem_connections_total", &labels)
    }
}

/// A request of the caller's in the call of that name, in the dialog with that tag.
fn request(
    caller: &Line,
    switch: SocketAddrV4,
    (method, cseq): (Method, u32),
    (name, tag): (&str, &str),
) -> Vec<u8> {
    let from = caller.local;
    let to = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let method_name = tandem_sip::method::name(method);
    let request = Builder::request(method, format!("sip:4420@{switch};transport=tls").as_bytes())
        .header(Name::Via, format!("SIP/2.0/TLS {from};branch=z9hG4bK{name}{method_name}"))
        .header(Name::MaxForwards, "70")
        .header(Name::From, format!("<sip:100@{from}>;tag={name}"))
        .header(Name::To, format!("<sip:4420@{switch}>{to}"))
        .header(Name::CallId, name)
        .cseq(cseq, method)
        .header(Name::Contact, format!("<sip:100@{from};transport=tls>"));
    match method {
        Method::Invite => request.body(b"application/sdp", line::SDP).to_vec(),
        _ => request.finish().to_vec(),
    }
}

#[test]
fn calls_go_over_tls_on_both_legs_by_one_connection_each() {
    let bench = Bench::new();
    let (mut caller, mut vendor) = (bench.caller(), None);
    bench.call(&mut caller, &mut vendor, "one");
    bench.call(&mut caller, &mut vendor, "two");
    assert_eq!((bench.connections("accepted"), bench.connections("opened")), (1.0, 1.0));
    let calls = bench.switch.stop().calls;
    assert_eq!(calls.len(), 2);
    for call in calls {
        call.has(&[("end_reason", json!("normal")), ("routing_gateway", json!("vendor"))]);
    }
}

#[test]
fn a_gateway_whose_certificate_is_anothers_gets_no_call_over_tls() {
    let mut bench = Bench::new();
    bench.vendor = Authority::new().issue(*bench.gate.address.ip());
    let mut caller = bench.caller();
    caller.send(&request(&caller, bench.listener, (Method::Invite, 1), ("one", "")));
    assert!(bench.gate.try_accept(bench.vendor.server()).is_none_or(|mut line| line.is_closed()));
    let refused = caller.status(503);
    assert_eq!(refused.method(), Some(Method::Invite));
}

#[test]
fn sighup_gives_new_connections_the_new_certificate_and_leaves_those_that_stand() {
    let bench = Bench::new();
    let (mut caller, mut vendor) = (bench.caller(), None);
    bench.call(&mut caller, &mut vendor, "before");
    let first = caller.certificate();
    let renewed = bench.authority.issue(bench.wire.place.switch);
    renewed.write(&bench.wire.place.folder);
    bench.switch.hang_up();
    until("the certificate is read", SOON, || {
        (bench.switch.metric("tandem_certificate_reloads_total", "done") == 1.0).then_some(())
    });
    let mut second = bench.caller();
    assert_ne!(second.certificate(), first);
    assert_eq!(second.certificate(), renewed.der());
    bench.call(&mut second, &mut vendor, "after");
    // By the connection that was there before.
    bench.call(&mut caller, &mut vendor, "again");
    let calls = bench.switch.stop().calls;
    assert_eq!(calls.len(), 3);
}

/// Where a socket is.
fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!("these tests use IPv4"),
    }
}
