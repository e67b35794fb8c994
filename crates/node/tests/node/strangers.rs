//! Messages that belong to no call here.

use crate::agent::{Agent, Dialled, text, unique};
use crate::world::{Plan, Talk, World};
use tandem_sip::{Message, Method, Name};

async fn with_vendor() -> (World, Agent, Agent) {
    let mut plan = Plan::new();
    let (caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    (plan.start().await, caller, vendor)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_outside_a_dialog_has_its_answer() {
    let (world, mut caller, _) = with_vendor().await;
    let expected = [
        (Method::Options, 200),
        (Method::Bye, 481),
        (Method::Cancel, 481),
        (Method::PRack, 481),
        (Method::Update, 481),
        (Method::Refer, 603),
        (Method::Info, 405),
        (Method::Message, 405),
        (Method::Notify, 405),
        // Without an event package; the vendor is at the caller's address.
        (Method::Publish, 489),
        (Method::Register, 405),
        (Method::Subscribe, 405),
    ];
    for (method, status) in expected {
        let call = Dialled::new(caller.address, world.sip(), "4420", &[]);
        caller.send(&call.request(method, 1, "").finish(), world.sip()).await;
        let answer = caller.status_of(&call, status).await;
        assert!(answer.to_tag().is_some(), "{method}");
        assert_eq!(answer.first(Name::Allow).is_some(), matches!(status, 200 | 405), "{method}");
    }
    for method in [Method::Bye, Method::Invite, Method::Options, Method::Info] {
        let call = Dialled::new(caller.address, world.sip(), "4420", &[]);
        caller.send(&call.request(method, 2, "nobodys").finish(), world.sip()).await;
        caller.status_of(&call, 481).await;
    }
    let call = Dialled::new(caller.address, world.sip(), "4420", &[]);
    for ack in [call.request(Method::Ack, 1, ""), call.request(Method::Ack, 1, "nobodys")] {
        caller.send(&ack.finish(), world.sip()).await;
    }
    world.counts("tandem_sip_rejects_total", "stray", 2.0).await;
    assert_eq!(caller.heard(), Vec::<String>::new(), "an ACK is never answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ack_of_a_refusal_that_left_no_state_is_dropped() {
    let mut plan = Plan::new();
    plan.sections = "[limits]\nmax_calls = 1".into();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    caller.dial(world.sip(), "4420").await;
    vendor.request(Method::Invite).await;
    let second = caller.dial(world.sip(), "4421").await;
    let refusal = caller.fails(&second, 503).await;
    // Its copies get the same tag, though nothing is kept of it (RFC 3261 §8.2.7).
    caller.send(&second.invite, world.sip()).await;
    let again = caller.fails(&second, 503).await;
    assert_eq!(refusal.to_tag(), again.to_tag());
    // Its ACKs are no strays, as that of nobody's answer is.
    caller.send(&second.request(Method::Ack, 1, "nobodys").finish(), world.sip()).await;
    world.counts("tandem_sip_rejects_total", "stray", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_go_to_the_source_address_and_the_port_of_the_via() {
    let (world, caller, _) = with_vendor().await;
    let mut elsewhere = Agent::at("127.0.0.1").await;
    let call = Dialled::new(caller.address, world.sip(), "4420", &[]);
    let options = text(&call.request(Method::Options, 1, "").finish());
    let named = format!("pbx.example.com:{}", elsewhere.address.port());
    let options =
        options.replace(&format!("UDP {}", caller.address), &format!("UDP {named}")).replace(";rport", "");
    caller.send(options.as_bytes(), world.sip()).await;
    let answer = elsewhere.status(200).await;
    assert!(text(answer.first(Name::Via).expect("a Via")).contains("received=127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_another_call_opens_nothing() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let one = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let other = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    // The other call's Call-ID and the caller's tags, under the tag that the switch has in the first.
    let bye = other.call.bye(&one.answer);
    caller.send(&bye, world.sip()).await;
    caller.status_of(&other.call, 481).await;
    assert_eq!(world.node.calls_in_progress(), 2);
    for talk in [one, other] {
        talk.end(&mut caller, &mut vendor).await;
    }
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_to_nothing_of_ours_are_counted_and_dropped() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let forged = |branch: &str| {
        format!(
            "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP {};branch={branch}\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
            world.sip()
        )
    };
    let ours = text(talk.invite.0.top_via().expect("a Via").branch().expect("a branch"));
    let altered = ours.replacen(&ours[10..11], if &ours[10..11] == "a" { "b" } else { "a" }, 1);
    for branch in ["z9hG4bKnot-ours", "", &altered] {
        vendor.send(forged(branch).as_bytes(), world.sip()).await;
    }
    // This is of the call, which has been answered: it is too late for a failure.
    vendor.send(forged(&ours).as_bytes(), world.sip()).await;
    let options = Dialled::new(vendor.address, world.sip(), "4420", &[]);
    vendor.send(&options.request(Method::Options, 1, "").finish(), world.sip()).await;
    vendor.status_of(&options, 200).await;
    assert_eq!(world.node.calls_in_progress(), 1);
    assert!(world.metric("tandem_sip_rejects_total", "") >= 3.0);
    talk.end(&mut caller, &mut vendor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_is_answered_for_what_is_wrong_with_it() {
    let (world, mut caller, _) = with_vendor().await;
    let wrong = [
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", 505),
        ("INVITE sip:", "INVITE gopher:", 416),
        ("CSeq: 1 INVITE", "CSeq: 1 OPTIONS", 400),
        ("Max-Forwards: 70", "Max-Forwards: 300", 400),
        ("Max-Forwards: 70", "Max-Forwards: 0", 483),
        ("Max-Forwards: 70", "Max-Breadth: 0", 440),
        ("Max-Forwards: 70", "Require: teleport", 420),
        ("Max-Forwards: 70", "Replaces: 1;to-tag=a;from-tag=b", 603),
    ];
    for (right, wrong, status) in wrong {
        let call = Dialled::new(caller.address, world.sip(), "4420", &[]);
        let invite = text(&call.invite).replacen(right, wrong, 1);
        caller.send(invite.as_bytes(), world.sip()).await;
        let answer = caller.status_of(&call, status).await;
        assert!(answer.to_tag().is_some(), "{wrong}");
    }
    // An ACK is never answered, however wrong it is.
    let call = Dialled::new(caller.address, world.sip(), "4420", &[]);
    let ack = text(&call.request(Method::Ack, 1, "").finish()).replacen("SIP/2.0", "SIP/7.0", 1);
    caller.send(ack.as_bytes(), world.sip()).await;
    world.counts("tandem_sip_rejects_total", "malformed_request", 5.0).await;
    assert_eq!(caller.heard(), Vec::<String>::new());
}

/// RFC 3261 §17.2.3: where the branch does not name the transaction, Call-ID, tags, CSeq and sent-by do.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_branches_of_rfc_2543_makes_a_call_and_cancels_it() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let call = Dialled::new(caller.address, world.sip(), "4420", &[]);
    let old = |bytes: &[u8]| text(bytes).replace(&format!("z9hG4bK-{}-1", call.number), "1");
    caller.send(old(&call.invite).as_bytes(), world.sip()).await;
    let invite = vendor.request(Method::Invite).await;
    vendor.respond(&invite, 180).await;
    caller.send(old(&call.invite).as_bytes(), world.sip()).await;
    caller.send(old(&call.cancel()).as_bytes(), world.sip()).await;
    caller.status(487).await;
    vendor.request(Method::Cancel).await;
    assert_eq!(world.metric("tandem_calls_started_total", ""), 1.0);
}

/// RFC 5393 §4.2: what a proxy behind the gateway sends back to us, to go the same way again.
#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_comes_round_to_go_the_same_way_gets_482() {
    let (world, caller, mut vendor) = with_vendor().await;
    let call = caller.dial(world.sip(), "4420").await;
    let (first, _) = vendor.request(Method::Invite).await;
    let proxy = vendor.address;
    let proxied = |invite: &Message, called: &str| {
        let via = format!("Via: SIP/2.0/UDP {proxy};branch=z9hG4bK-proxy-{}\r\n", unique());
        let text = text(invite.raw());
        let (line, headers) = text.split_once("\r\n").expect("a request line");
        let uri = line.split(' ').nth(1).expect("a URI");
        format!("{}\r\n{via}{headers}", line.replace(uri, &format!("sip:{called}@{}", world.sip())))
    };
    // The customer's network is the vendor's as well: nothing tells the second round from the first.
    vendor.send(proxied(&first, "4420").as_bytes(), world.sip()).await;
    vendor.status(482).await;
    // To another number it is a call of its own.
    vendor.send(proxied(&first, "4421").as_bytes(), world.sip()).await;
    let (second, _) = vendor.request(Method::Invite).await;
    assert_eq!(world.node.calls_in_progress(), 2);
    let hops = |invite: &Message| invite.max_forwards().ok().flatten();
    assert_eq!((hops(&first), hops(&second)), (Some(69), Some(68)), "and ends at last");
    caller.send(&call.cancel(), world.sip()).await;
}

/// A fork upstream brings one request by two ways (RFC 3261 §8.2.2.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_merged_request_gets_482_and_does_not_call_twice() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let call = caller.dial(world.sip(), "4420").await;
    vendor.request(Method::Invite).await;
    let number = unique();
    let other_way =
        text(&call.invite).replace(&format!("z9hG4bK-{}-1", call.number), &format!("z9hG4bK-{number}-1"));
    caller.send(other_way.as_bytes(), world.sip()).await;
    let (merged, _): (Message, _) = caller
        .wait("answer to the second", |message| {
            message.top_via().is_ok_and(|via| {
                via.branch().is_some_and(|branch| branch.ends_with(format!("{number}-1").as_bytes()))
            }) && message.status().is_some_and(|status| status.code() != 100)
        })
        .await;
    assert_eq!(merged.status().map(|status| status.code()), Some(482));
    assert_eq!(world.node.calls_in_progress(), 1);
    // Once that call has ended it is a new try (RFC 3263 §4.3), and no fork.
    caller.send(&call.cancel(), world.sip()).await;
    world.is_idle().await;
    let number = unique();
    let retry =
        text(&call.invite).replace(&format!("z9hG4bK-{}-1", call.number), &format!("z9hG4bK-{number}-1"));
    caller.send(retry.as_bytes(), world.sip()).await;
    vendor.request(Method::Invite).await;
    assert_eq!(world.node.calls_in_progress(), 1);
}

/// The branch names a transaction of its method only (RFC 3261 §17.2.3).
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_another_method_under_the_branch_of_an_invite_is_none_of_its_call() {
    let (world, mut caller, mut vendor) = with_vendor().await;
    let call = caller.dial(world.sip(), "4420").await;
    vendor.request(Method::Invite).await;
    let options = text(&call.invite).replace("INVITE", "OPTIONS");
    caller.send(options.as_bytes(), world.sip()).await;
    let is_of_options = |message: &Message| message.method() == Some(Method::Options);
    let (answer, _) = caller.wait("the answer to OPTIONS", is_of_options).await;
    assert_eq!(answer.status().map(|status| status.code()), Some(200));
    assert_eq!(world.node.calls_in_progress(), 1);
    caller.send(&call.cancel(), world.sip()).await;
    world.is_idle().await;
}
