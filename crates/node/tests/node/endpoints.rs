//! Calls to and from phones that register.

use crate::agent::{Agent, Dialled, SDP, text};
use crate::line::{Line, over};
use crate::phone::{Phone, status};
use crate::world::{Plan, World};
use serde_json::json;
use std::net::SocketAddr;
use tandem_sip::digest::{Challenge, Issuer, Protected};
use tandem_sip::{Message, Method, Name, ResponseHead, StatusCode};

/// A node with the endpoints alice (100) and bob (101, of the customer), whose phones are no customer's, and a vendor for
/// all other numbers.
async fn switch(vendor: &Agent, change: impl FnOnce(&mut Plan)) -> World {
    let mut plan = Plan::new();
    plan.sources = "\"127.0.0.1/32\"".into();
    plan.sections = "[registrar]\ndomains = [\"example.com\"]\n\
        [[endpoint]]\nuser = \"alice\"\npassword = \"wonderland\"\nnumber = \"100\"\n\
        [[endpoint]]\nuser = \"bob\"\npassword = \"builder\"\nnumber = \"101\"\nmapping_gateway = \"customer\"\n"
        .into();
    plan.vendor("vendor", vendor.address, "");
    change(&mut plan);
    plan.start().await
}

async fn alice(world: &World, host: &str) -> Phone {
    Phone::at(host, world.sip(), "alice", "wonderland").await
}

/// A call of a phone's that has answered the challenge.
pub(crate) async fn dial_as(
    phone: &mut Phone,
    world: &World,
    called: &str,
    account: (&str, &str),
) -> Dialled {
    let first = phone.agent.dial(world.sip(), called).await;
    let challenge = phone.agent.fails(&first, 401).await;
    let field = challenge.fields().find(|field| field.name == Name::WwwAuthenticate).expect("a challenge");
    let challenge = Challenge::parse(Issuer::UserAgent, field.value).expect("one that can be read");
    let uri = format!("sip:{called}@{}", world.sip());
    let protected = Protected { method: "INVITE", uri: &uri, body: SDP };
    let answer = challenge.answer(account, protected, "cnonce", 1);
    let lines = [(Name::Authorization, answer.as_str())];
    let call = Dialled::new(phone.agent.address, world.sip(), called, &lines);
    phone.agent.send(&call.invite, world.sip()).await;
    call
}

/// What a phone answers whose Contact is of another network.
fn ok_from(invite: &(Message, SocketAddr), contact: &str) -> bytes::Bytes {
    ResponseHead::of(&invite.0, invite.1)
        .respond(StatusCode::OK, Some("callee"))
        .header(Name::Contact, contact)
        .body(b"application/sdp", SDP)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_phones_of_a_number_ring_and_the_first_answer_ends_the_others() {
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let world = switch(&vendor, |_| {}).await;
    let (mut desk, mut mobile) = (alice(&world, "127.0.0.2").await, alice(&world, "127.0.0.3").await);
    desk.binds("").await;
    mobile.binds("").await;
    let call = caller.dial(world.sip(), "100").await;
    let (at_desk, at_mobile) =
        (desk.agent.request(Method::Invite).await, mobile.agent.request(Method::Invite).await);
    assert_eq!(text(at_desk.0.first(Name::To).expect("To")), "<sip:alice@example.com>");
    desk.agent.respond(&at_desk, 180).await;
    caller.status_of(&call, 180).await;
    mobile.agent.respond(&at_mobile, 200).await;
    let answer = caller.connects(&call).await;
    mobile.agent.request(Method::Ack).await;
    let cancel = desk.agent.request(Method::Cancel).await;
    assert!(text(cancel.0.first(Name::Reason).expect("a Reason")).contains("Call completed elsewhere"));
    desk.agent.respond(&cancel, 200).await;
    desk.agent.respond(&at_desk, 487).await;
    desk.agent.request(Method::Ack).await;
    caller.send(&call.bye(&answer), world.sip()).await;
    let bye = mobile.agent.request(Method::Bye).await;
    mobile.agent.respond(&bye, 200).await;
    caller.status_of(&call, 200).await;
    assert!(vendor.heard().is_empty());
    world.is_idle().await;
    world.counts("tandem_cdrs_written_total", "", 1.0).await;
    let record = world.call_records().remove(0);
    let attempt = &record["attempts"][0];
    assert_eq!((&attempt["gateway"], &attempt["outcome"]), (&json!("endpoints"), &json!("answered")));
    assert_eq!(attempt["contact"], json!(format!("sip:alice@{}", mobile.agent.address)));
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_of_lower_preference_ring_after_the_others() {
    let (caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let world = switch(&vendor, |_| {}).await;
    let (mut desk, mut mobile) = (alice(&world, "127.0.0.2").await, alice(&world, "127.0.0.3").await);
    mobile.binds(";q=0.5").await;
    desk.binds(";q=0.9").await;
    caller.dial(world.sip(), "100").await;
    let at_desk = desk.agent.request(Method::Invite).await;
    assert!(mobile.agent.heard().is_empty());
    desk.agent.respond(&at_desk, 486).await;
    mobile.agent.request(Method::Invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_ours_does_not_leave_where_nobody_is_registered() {
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let world = switch(&vendor, |_| {}).await;
    let call = caller.dial(world.sip(), "100").await;
    caller.fails(&call, 480).await;
    assert!(vendor.heard().is_empty());
    world.is_idle().await;
    world.counts("tandem_cdrs_written_total", "", 1.0).await;
    assert_eq!(world.call_records()[0]["sip_status"], 480);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_called_by_its_user_in_a_uri_of_ours_and_in_no_other() {
    let (caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let world = switch(&vendor, |_| {}).await;
    let mut phone = alice(&world, "127.0.0.2").await;
    phone.binds("").await;
    let switch = world.sip().to_string();
    for domain in [&*switch, "example.com"] {
        let call = Dialled::new(caller.address, world.sip(), "alice", &[]);
        let invite = text(&call.invite).replacen(&switch, domain, 1);
        caller.send(invite.as_bytes(), world.sip()).await;
        phone.agent.request(Method::Invite).await;
    }
    let call = Dialled::new(caller.address, world.sip(), "alice", &[]);
    let invite = text(&call.invite).replacen(&switch, "elsewhere.example", 1);
    caller.send(invite.as_bytes(), world.sip()).await;
    vendor.request(Method::Invite).await;
    assert!(phone.agent.heard().iter().all(|line| !line.starts_with("INVITE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_calls_with_its_credentials_and_by_its_own_number() {
    let mut vendor = Agent::at("127.0.0.1").await;
    let world = switch(&vendor, |_| {}).await;
    // It need not be registered for that.
    let mut phone = alice(&world, "127.0.0.2").await;
    let call = dial_as(&mut phone, &world, "4420", ("alice", "wonderland")).await;
    let invite = vendor.request(Method::Invite).await;
    let from = text(invite.0.first(Name::From).expect("From"));
    assert!(from.contains("<sip:100@"), "whatever the phone's From says: {from}");
    assert_eq!(invite.0.first(Name::Authorization), None);
    vendor.respond(&invite, 200).await;
    let answer = phone.agent.connects(&call).await;
    vendor.request(Method::Ack).await;
    // Inside the dialog its tags stand for it.
    phone.agent.send(&call.bye(&answer), world.sip()).await;
    let bye = vendor.request(Method::Bye).await;
    vendor.respond(&bye, 200).await;
    phone.agent.status_of(&call, 200).await;
    world.is_idle().await;
    world.counts("tandem_cdrs_written_total", "", 1.0).await;
    let record = world.call_records().remove(0);
    assert_eq!((&record["mapping_gateway"], &record["caller"]), (&json!("endpoints"), &json!("100")));
    assert_eq!(world.metric("tandem_calls_started_total", ""), 1.0, "none for the challenged INVITE");
    assert_eq!(world.metric("tandem_sip_rejects_total", ""), 0.0, "nor is its ACK a stray");
    assert_eq!(world.metric("tandem_admission_refused_total", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_with_wrong_credentials_is_challenged_again_and_makes_no_call() {
    let mut vendor = Agent::at("127.0.0.1").await;
    let world = switch(&vendor, |_| {}).await;
    let mut phone = alice(&world, "127.0.0.2").await;
    for account in [("alice", "guess"), ("nobody", "wonderland")] {
        let call = dial_as(&mut phone, &world, "4420", account).await;
        phone.agent.fails(&call, 401).await;
    }
    assert!(vendor.heard().is_empty());
    assert_eq!(world.metric("tandem_calls_started_total", ""), 0.0);
    assert_eq!(world.metric("tandem_authentications_total", "wrong"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_a_customer_calls_by_the_customers_rules_and_within_its_limits() {
    let mut vendor = Agent::at("127.0.0.1").await;
    let world = switch(&vendor, |plan| plan.customer = "strip = 1\nmax_calls = 1".into()).await;
    let mut phone = Phone::at("127.0.0.2", world.sip(), "bob", "builder").await;
    dial_as(&mut phone, &world, "04420", ("bob", "builder")).await;
    let invite = vendor.request(Method::Invite).await;
    assert!(text(invite.0.request_uri()).starts_with("sip:4420@"), "{}", text(invite.0.request_uri()));
    let second = dial_as(&mut phone, &world, "04420", ("bob", "builder")).await;
    phone.agent.fails(&second, 503).await;
    assert_eq!(&*world.only_call().await.record.mapping_gateway, "customer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_behind_a_nat_is_called_and_hung_up_on_by_its_flow() {
    let (mut caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let world = switch(&vendor, |_| {}).await;
    let mut phone = alice(&world, "127.0.0.2").await;
    let private = "<sip:alice@10.11.12.13:5060>";
    assert_eq!(status(&phone.register(&[(Name::Contact, private)]).await), 200);
    let call = caller.dial(world.sip(), "100").await;
    let invite = phone.agent.request(Method::Invite).await;
    assert_eq!(text(invite.0.request_uri()), "sip:alice@10.11.12.13:5060");
    assert_eq!(invite.1, world.sip(), "from the socket that it registered to");
    phone.agent.send(&ok_from(&invite, private), world.sip()).await;
    let answer = caller.connects(&call).await;
    let ack = phone.agent.request(Method::Ack).await;
    assert_eq!(text(ack.0.request_uri()), "sip:alice@10.11.12.13:5060");
    caller.send(&call.bye(&answer), world.sip()).await;
    let bye = phone.agent.request(Method::Bye).await;
    assert_eq!(text(bye.0.request_uri()), "sip:alice@10.11.12.13:5060");
    phone.agent.respond(&bye, 200).await;
    caller.status_of(&call, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_registered_by_a_connection_is_called_by_it() {
    let (mut caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let mut plan = Plan::new().listening(&["127.0.0.1:0", "tcp:127.0.0.1:0"]);
    plan.sources = "\"127.0.0.1/32\"".into();
    plan.sections =
        "[registrar]\nauthenticate = false\n[[endpoint]]\nuser = \"alice\"\nnumber = \"100\"\n".into();
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let mut phone = alice(&world, "127.0.0.1").await;
    let mut line = Line::to(world.node.listening_on()[1]).await;
    // Nobody listens there.
    let contact = format!("<sip:alice@{};transport=tcp>", line.local);
    let register = phone.next(&[(Name::Contact, &contact)]);
    line.send(&over("TCP", &register)).await;
    line.status(200).await;
    let call = caller.dial(world.sip(), "100").await;
    let invite = line.request(Method::Invite).await;
    line.respond(&invite, 200, line.local).await;
    let answer = caller.connects(&call).await;
    line.request(Method::Ack).await;
    caller.send(&call.bye(&answer), world.sip()).await;
    let bye = line.request(Method::Bye).await;
    line.respond(&bye, 200, line.local).await;
    caller.status_of(&call, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_leads_back_to_the_switch_is_not_called() {
    let (mut caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    let world = switch(&vendor, |plan| plan.sources = "\"127.0.0.1/32\", \"127.0.0.9/32\"".into()).await;
    // In the open, as far as addresses tell: the phone is at the switch's own.
    let mut phone = alice(&world, "127.0.0.1").await;
    let contact = format!("<sip:100@{}>", world.sip());
    assert_eq!(status(&phone.register(&[(Name::Contact, &contact)]).await), 200);
    let call = caller.dial(world.sip(), "100").await;
    caller.fails(&call, 503).await;
    assert_eq!(world.metric("tandem_calls_started_total", ""), 1.0);
}
