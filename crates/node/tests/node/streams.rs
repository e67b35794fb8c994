//! Calls over TCP.

use crate::agent::{Agent, Dialled, text};
use crate::line::{Gate, Line, over};
use crate::world::{Plan, World};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tandem_sip::{Message, Method};

/// An INVITE over TCP of a caller who listens at `contact`.
fn dialled(contact: SocketAddr, world: &World) -> Dialled {
    Dialled::new(contact, world.sip(), "4420", &[])
}

async fn dial(line: &mut Line, call: &Dialled) {
    line.send(&over("TCP", &call.invite)).await;
}

async fn options(line: &mut Line, world: &World) {
    let options = Dialled::new(line.local, world.sip(), "4420", &[]).request(Method::Options, 1, "").finish();
    line.send(&over("TCP", &options)).await;
    line.status(200).await;
}

/// A world that listens on TCP, and a vendor's gate.
async fn world(lines: &str) -> (World, Gate) {
    let mut plan = Plan::new().listening(&["tcp:127.0.0.1:0"]);
    let gate = Gate::at("127.0.0.1").await;
    plan.vendor("vendor", gate.address, &format!("transport = \"tcp\"\n{lines}"));
    (plan.start().await, gate)
}

/// A call between two lines, up to the ACK.
async fn talk(caller: &mut Line, call: &Dialled, gate: &Gate, vendor: &mut Option<Line>) -> Message {
    dial(caller, call).await;
    let line = match vendor {
        Some(line) => line,
        None => vendor.insert(gate.accept().await),
    };
    let invite = line.request(Method::Invite).await;
    line.respond(&invite, 200, gate.address).await;
    let answer = caller.status(200).await;
    caller.send(&over("TCP", &call.ack(&answer))).await;
    line.request(Method::Ack).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_over_tcp_on_both_legs_and_share_the_connection_to_the_gateway() {
    let (world, gate) = world("").await;
    let mut caller = Line::to(world.sip()).await;
    let mut vendor = None;
    for _ in 0..3 {
        let call = dialled(caller.local, &world);
        let answer = talk(&mut caller, &call, &gate, &mut vendor).await;
        assert!(text(answer.raw()).contains(&format!("@{};transport=tcp>", world.sip())), "its Contact");
        caller.send(&over("TCP", &call.bye(&answer))).await;
        let vendor = vendor.as_mut().expect("it is connected");
        let bye = vendor.request(Method::Bye).await;
        assert!(text(bye.raw()).contains(&format!("Via: SIP/2.0/TCP {};", world.sip())));
        vendor.respond(&bye, 200, gate.address).await;
        caller.status(200).await;
    }
    assert_eq!(world.metric("tandem_connections_total", "event=\"opened\",transport=\"tcp\""), 1.0);
    assert_eq!(world.metric("tandem_connections_open", "tcp"), 2.0);
    assert!(
        world.metric("tandem_transport_messages_total", "direction=\"received\",transport=\"tcp\"") >= 12.0
    );
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_from_tcp_to_udp_and_from_udp_to_tcp() {
    let mut plan = Plan::new().listening(&["tcp:127.0.0.1:0", "127.0.0.1:0"]);
    let (gate, mut vendor) = (Gate::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("streams", gate.address, "transport = \"tcp\"\nprefixes = [\"1\"]");
    plan.vendor("datagrams", vendor.address, "transport = \"udp\"\nprefixes = [\"2\"]");
    let world = plan.start().await;
    let udp = world.node.listening_on()[1];

    let mut line = Line::to(world.sip()).await;
    let call = Dialled::new(line.local, world.sip(), "2", &[]);
    dial(&mut line, &call).await;
    let invite = vendor.request(Method::Invite).await;
    vendor.respond(&invite, 486).await;
    line.status(486).await;
    line.send(&over("TCP", &call.ack(&invite.0))).await;

    let mut caller = Agent::at("127.0.0.1").await;
    let call = caller.dial(udp, "1").await;
    let mut line = gate.accept().await;
    let invite = line.request(Method::Invite).await;
    assert!(text(invite.raw()).contains(&format!("Via: SIP/2.0/TCP {};", world.sip())));
    line.respond(&invite, 486, gate.address).await;
    caller.fails(&call, 486).await;
    line.request(Method::Ack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_takes_no_connection_is_left_at_once() {
    let mut plan = Plan::new().listening(&["tcp:127.0.0.1:0", "127.0.0.1:0"]);
    let (closed, open) = (Gate::at("127.0.0.1").await, Gate::at("127.0.0.1").await);
    plan.vendor("closed", closed.address, "transport = \"tcp\"");
    plan.vendor("open", open.address, "transport = \"tcp\"");
    drop(closed);
    let world = plan.start().await;
    let mut caller = Line::to(world.sip()).await;
    let began = Instant::now();
    let call = dialled(caller.local, &world);
    dial(&mut caller, &call).await;
    let mut line = open.accept().await;
    let invite = line.request(Method::Invite).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    line.respond(&invite, 486, open.address).await;
    caller.status(486).await;
    assert_eq!(world.metric("tandem_attempts_total", "transport_error"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_lost_with_its_connection_goes_by_another_and_then_to_the_next_gateway() {
    let mut plan = Plan::new().listening(&["tcp:127.0.0.1:0"]);
    let (one, two) = (Gate::at("127.0.0.1").await, Gate::at("127.0.0.1").await);
    plan.vendor("one", one.address, "transport = \"tcp\"");
    plan.vendor("two", two.address, "transport = \"tcp\"");
    let world = plan.start().await;
    let mut caller = Line::to(world.sip()).await;
    let call = dialled(caller.local, &world);
    dial(&mut caller, &call).await;
    let first = one.accept().await.request(Method::Invite).await;
    let again = one.accept().await.request(Method::Invite).await;
    assert_eq!(first.raw(), again.raw());
    let mut line = two.accept().await;
    let invite = line.request(Method::Invite).await;
    line.respond(&invite, 486, two.address).await;
    caller.status(486).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bye_reaches_a_caller_whose_connection_has_gone_where_its_contact_listens() {
    let (world, gate) = world("").await;
    let home = Gate::at("127.0.0.1").await;
    let mut caller = Line::to(world.sip()).await;
    let call = dialled(home.address, &world);
    let mut vendor = None;
    talk(&mut caller, &call, &gate, &mut vendor).await;
    let id = world.only_call().await.record.id;
    drop(caller);
    world.counts("tandem_connections_open", "tcp", 1.0).await;
    assert!(world.node.hang_up(id, tandem_switch::cdr::EndReason::Admin));
    let mut line = home.accept().await;
    let bye = line.request(Method::Bye).await;
    line.respond(&bye, 200, home.address).await;
    let vendor = vendor.as_mut().expect("it is connected");
    let bye = vendor.request(Method::Bye).await;
    vendor.respond(&bye, 200, gate.address).await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bye_reaches_a_gateway_whose_connection_has_gone_by_a_new_one() {
    let (world, gate) = world("").await;
    let mut caller = Line::to(world.sip()).await;
    let call = dialled(caller.local, &world);
    let mut vendor = None;
    let answer = talk(&mut caller, &call, &gate, &mut vendor).await;
    drop(vendor);
    world.counts("tandem_connections_open", "tcp", 1.0).await;
    caller.send(&over("TCP", &call.bye(&answer))).await;
    let mut line = gate.accept().await;
    let bye = line.request(Method::Bye).await;
    line.respond(&bye, 200, gate.address).await;
    caller.status(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_whose_connection_has_gone_goes_to_the_port_in_the_via() {
    let (world, gate) = world("").await;
    let home = Gate::at("127.0.0.1").await;
    let mut caller = Line::to(world.sip()).await;
    let call = dialled(home.address, &world);
    dial(&mut caller, &call).await;
    let mut vendor = gate.accept().await;
    let invite = vendor.request(Method::Invite).await;
    drop(caller);
    world.counts("tandem_connections_open", "tcp", 1.0).await;
    vendor.respond(&invite, 200, gate.address).await;
    let mut line = home.accept().await;
    let answer = line.status(200).await;
    line.send(&over("TCP", &call.ack(&answer))).await;
    vendor.request(Method::Ack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_cut_out_of_a_stream_wherever_its_segments_end() {
    let (world, _gate) = world("").await;
    let mut line = Line::to(world.sip()).await;
    let text = over(
        "TCP",
        &Dialled::new(line.local, world.sip(), "4420", &[]).request(Method::Options, 1, "").finish(),
    );
    for byte in &text[..] {
        line.send(&[*byte]).await;
    }
    line.status(200).await;
    line.send(&[&b"\r\n\r\n"[..], &text, b"\r\n", &text, &text].concat()).await;
    for _ in 0..3 {
        line.status(200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_cannot_be_read_on_is_answered_where_it_can_be_and_closed() {
    let (world, _gate) = world("").await;
    let head = |length: &str| {
        format!(
            "OPTIONS sip:1@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n{length}\r\n"
        )
    };
    for (length, status) in [("", 400), ("Content-Length: x\r\n", 400), ("Content-Length: 70000\r\n", 513)] {
        let mut line = Line::to(world.sip()).await;
        line.send(head(length).as_bytes()).await;
        line.status(status).await;
        line.is_closed().await;
    }
    let mut line = Line::to(world.sip()).await;
    line.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    line.is_closed().await;
    world.counts("tandem_connections_total", "event=\"broken\"", 4.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_holds_up_nobody_else() {
    let (world, _gate) = world("").await;
    let mut slow = Line::to(world.sip()).await;
    let text = over(
        "TCP",
        &Dialled::new(slow.local, world.sip(), "4420", &[]).request(Method::Options, 1, "").finish(),
    );
    let flood = tokio::spawn(async move {
        loop {
            slow.send(&text).await;
        }
    });
    let mut quick = Line::to(world.sip()).await;
    for _ in 0..20 {
        options(&mut quick, &world).await;
    }
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_cannot_take_all_connections() {
    let mut plan = Plan::new().listening(&["tcp:127.0.0.1:0"]);
    plan.listen_lines = "max_connections_per_source = 2".into();
    let world = plan.start().await;
    let (mut one, mut two) = (Line::to(world.sip()).await, Line::to(world.sip()).await);
    options(&mut one, &world).await;
    options(&mut two, &world).await;
    Line::to(world.sip()).await.is_closed().await;
    world.counts("tandem_connections_total", "refused_source", 1.0).await;
    options(&mut one, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_over_tcp_and_ipv6() {
    let mut plan = Plan::new().listening(&["tcp:127.0.0.1:0", "tcp:[::1]:0"]);
    let gate = Gate::at("::1").await;
    plan.vendor("vendor", gate.address, "transport = \"tcp\"");
    let world = plan.start().await;
    let here = world.node.listening_on()[1];
    let mut caller = Line::to(here).await;
    let call = Dialled::new(caller.local, here, "4420", &[]);
    dial(&mut caller, &call).await;
    let mut vendor = gate.accept().await;
    assert_eq!(vendor.remote.ip(), here.ip());
    let invite = vendor.request(Method::Invite).await;
    assert!(text(invite.raw()).contains(&format!("Via: SIP/2.0/TCP {here};")));
    vendor.respond(&invite, 486, gate.address).await;
    caller.status(486).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_called_from_the_listener_it_names() {
    let mut plan = Plan::new().listening(&["127.0.0.1:0", "127.0.0.1:0"]);
    plan.name_listeners = true;
    let mut vendor = Agent::at("127.0.0.1").await;
    plan.vendor("vendor", vendor.address, "listen = \"listener-1\"");
    let world = plan.start().await;
    let mut caller = Agent::at("127.0.0.1").await;
    let call = caller.dial(world.sip(), "4420").await;
    let invite = vendor.request(Method::Invite).await;
    assert_eq!(invite.1, world.node.listening_on()[1]);
    vendor.respond(&invite, 486).await;
    caller.fails(&call, 486).await;
}
