//! Calls over TLS, and who is believed.

use crate::agent::{Dialled, text};
use crate::authority::{Authority, Identity, file};
use crate::line::{Gate, Line, over};
use crate::world::{Plan, World};
use tandem_sip::Method;
use tandem_testdns::DnsServer;
use tokio::io::AsyncReadExt;

/// A plan for a switch that listens on TLS, with a certificate of its own.
fn plan(authority: &Authority) -> Plan {
    let mut plan = Plan::new().listening(&["tls:127.0.0.1:0"]);
    let own = authority.issue(&["127.0.0.1"]).write(&plan.folder);
    let ca = file(&plan.folder, "ca.pem", &authority.pem);
    plan.listen_lines = format!("{own}ca = {ca:?}");
    plan
}

async fn dial(line: &mut Line, world: &World) -> Dialled {
    let call = Dialled::new(line.local, world.sip(), "4420", &[]);
    line.send(&over("TLS", &call.invite)).await;
    call
}

async fn options(line: &mut Line, world: &World) {
    let options = Dialled::new(line.local, world.sip(), "4420", &[]).request(Method::Options, 1, "").finish();
    line.send(&over("TLS", &options)).await;
    line.status(200).await;
}

/// The gateway that a call comes to, and rejects, of those with these certificates; the first that does not get it must
/// have refused the switch's handshake or been refused by it.
async fn takes_the_call(authority: &Authority, plan: &Plan, gate: &Gate, identity: &Identity) {
    let world = plan.start().await;
    let mut caller = authority.line(world.sip(), None).await.expect("a handshake");
    dial(&mut caller, &world).await;
    let mut line = identity.accept(gate).await.expect("a handshake");
    let invite = line.request(Method::Invite).await;
    line.respond(&invite, 486, gate.address).await;
    caller.status(486).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_over_tls_on_both_legs() {
    let authority = Authority::new();
    let mut plan = plan(&authority);
    let (gate, vendor) = (Gate::at("127.0.0.1").await, authority.issue(&["127.0.0.1"]));
    plan.vendor("vendor", gate.address, "transport = \"tls\"");
    let world = plan.start().await;
    let mut caller = authority.line(world.sip(), None).await.expect("a handshake");
    let call = dial(&mut caller, &world).await;
    let mut line = vendor.accept(&gate).await.expect("a handshake");
    let invite = line.request(Method::Invite).await;
    assert!(text(invite.raw()).contains(&format!("Via: SIP/2.0/TLS {};", world.sip())));
    line.respond(&invite, 200, gate.address).await;
    let answer = caller.status(200).await;
    caller.send(&over("TLS", &call.ack(&answer))).await;
    line.request(Method::Ack).await;
    caller.send(&over("TLS", &call.bye(&answer))).await;
    let bye = line.request(Method::Bye).await;
    line.respond(&bye, 200, gate.address).await;
    caller.status(200).await;
    assert_eq!(world.metric("tandem_connections_open", "tls"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_known_by_the_sip_domain_or_the_dns_name_in_its_certificate() {
    for names in [&["sip:sip.example.com", "other.example.com"][..], &["sip.example.com"]] {
        let authority = Authority::new();
        let mut plan = plan(&authority);
        let (gate, vendor) = (Gate::at("127.0.0.1").await, authority.issue(names));
        plan.vendor("vendor", gate.address, "transport = \"tls\"\ntls_name = \"sip.example.com\"");
        takes_the_call(&authority, &plan, &gate, &vendor).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_another_certificate_gets_no_call() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let wrong = [
        // Its address is not in it.
        (authority.issue(&["sip.example.com"]), ""),
        // The SIP domains count, not the DNS names beside them (RFC 5922 §7.1).
        (authority.issue(&["sip:other.example.com", "sip.example.com"]), "tls_name = \"sip.example.com\""),
        // No wildcards (§7.2).
        (authority.issue(&["*.example.com"]), "tls_name = \"sip.example.com\""),
        // Signed by nobody we know.
        (stranger.issue(&["127.0.0.1"]), ""),
        (stranger.issue(&["127.0.0.1"]), "tls_verify = \"chain\""),
    ];
    for (identity, lines) in wrong {
        let mut plan = plan(&authority);
        let (gate, second) = (Gate::at("127.0.0.1").await, Gate::at("127.0.0.1").await);
        plan.vendor("wrong", gate.address, &format!("transport = \"tls\"\n{lines}"));
        plan.vendor("right", second.address, "transport = \"tls\"");
        let refused = tokio::spawn(async move { identity.accept(&gate).await.err().map(|_| ()) });
        takes_the_call(&authority, &plan, &second, &authority.issue(&["127.0.0.1"])).await;
        // With TLS 1.3 a server may have finished before its client refuses.
        let _ = refused.await.expect("it does not panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_a_gateway_by_name_is_for_its_name_and_not_for_the_host_that_srv_names() {
    let authority = Authority::new();
    let (first, second) = (Gate::at("127.0.0.1").await, Gate::at("127.0.0.1").await);
    let dns = DnsServer::start();
    dns.naptr("gw.test", (1, 1), "SIPS+D2T", "_sips._tcp.gw.test")
        .srv("_sips._tcp.gw.test", (1, 1, first.address.port()), "host.gw.test")
        .srv("_sips._tcp.gw.test", (2, 1, second.address.port()), "host.gw.test")
        .a("host.gw.test", std::net::Ipv4Addr::LOCALHOST);
    let mut plan = plan(&authority);
    plan.sections = format!("[dns]\nservers = [\"{}\"]", dns.address());
    plan.vendor("vendor", "gw.test", "");
    // Whoever has its DNS answer falsely has only certificates for other names.
    let host = authority.issue(&["host.gw.test"]);
    let refused = tokio::spawn(async move { host.accept(&first).await.err().map(|_| ()) });
    takes_the_call(&authority, &plan, &second, &authority.issue(&["gw.test"])).await;
    // With TLS 1.3 a server may have finished before its client refuses.
    let _ = refused.await.expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_ask_for_less() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (identity, verify) in
        [(authority.issue(&["other.example.com"]), "chain"), (stranger.issue(&["other.example.com"]), "none")]
    {
        let mut plan = plan(&authority);
        let gate = Gate::at("127.0.0.1").await;
        plan.vendor("vendor", gate.address, &format!("transport = \"tls\"\ntls_verify = \"{verify}\""));
        takes_the_call(&authority, &plan, &gate, &identity).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_shows_a_certificate_where_it_must() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let mut plan = plan(&authority);
    let ca = plan.folder.join("ca.pem");
    plan.listen_lines.push_str(&format!("\nclient_ca = {ca:?}\nrequire_client_cert = true"));
    let world = plan.start().await;
    let known = authority.issue(&["sip:customer.example.com"]);
    options(&mut authority.line(world.sip(), Some(&known)).await.expect("a handshake"), &world).await;
    let unknown = stranger.issue(&["sip:customer.example.com"]);
    for own in [None, Some(&unknown)] {
        if let Ok(mut stream) = authority.connect(world.sip(), own).await {
            // TLS 1.3: the server's refusal comes after the client has finished.
            let mut rest = Vec::new();
            assert!(stream.read_to_end(&mut rest).await.is_err() && rest.is_empty());
        }
    }
    world.counts("tandem_connections_total", "event=\"handshake_failed\",transport=\"tls\"", 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let plan = plan(&authority);
    let world = plan.start().await;
    let shown = async || {
        let stream = authority.connect(world.sip(), None).await.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
    };
    let mut old_line = authority.line(world.sip(), None).await.expect("a handshake");
    let old = shown().await;
    assert_eq!(world.node.reload_certificates(), 0);
    assert_eq!(shown().await, old);

    let renewed = authority.issue(&["127.0.0.1", "renewed.example.com"]);
    renewed.write(&plan.folder);
    assert_eq!(world.node.reload_certificates(), 0);
    assert_eq!(vec![shown().await], renewed.chain());
    options(&mut old_line, &world).await;

    // A key of another certificate, as while files are being replaced one by one.
    file(&plan.folder, "key.pem", &authority.issue(&["127.0.0.1", "a.longer.name.example.com"]).key);
    let touched = std::fs::File::open(plan.folder.join("key.pem")).expect("it is there");
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("it is ours");
    assert_eq!(world.node.reload_certificates(), 1);
    assert_eq!(world.node.reload_certificates(), 0, "told of once");
    assert_eq!(vec![shown().await], renewed.chain());
    assert_eq!(world.metric("tandem_certificate_reloads_total", "failed"), 1.0);
    assert_eq!(world.metric("tandem_certificate_reloads_total", "done"), 1.0);
    renewed.write(&plan.folder);
    assert_eq!(world.node.reload_certificates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_start_with_certificates_that_cannot_be_used() {
    let authority = Authority::new();
    let plan = plan(&authority);
    file(&plan.folder, "key.pem", &authority.issue(&["127.0.0.1"]).key);
    let Err(why) = plan.try_start().await else { panic!("it started") };
    assert!(why.contains("cert.pem") && why.contains("key.pem"), "{why}");
    file(&plan.folder, "cert.pem", "nothing");
    let Err(why) = plan.try_start().await else { panic!("it started") };
    assert!(why.contains("no certificate in it"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_text_at_a_tls_port_is_closed() {
    let authority = Authority::new();
    let world = plan(&authority).start().await;
    let mut line = Line::to(world.sip()).await;
    line.send(b"OPTIONS sip:h SIP/2.0\r\n\r\n").await;
    world.counts("tandem_connections_total", "event=\"handshake_failed\"", 1.0).await;
    options(&mut authority.line(world.sip(), None).await.expect("a handshake"), &world).await;
}
