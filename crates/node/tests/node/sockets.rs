//! What comes in at the sockets that is no call.

use crate::agent::{Agent, Dialled, text};
use crate::world::{Plan, Talk};
use tandem_sip::Method;

#[tokio::test(flavor = "multi_thread")]
async fn a_double_line_end_is_answered_by_a_single_one_and_that_by_nothing() {
    let world = Plan::new().start().await;
    let mut caller = Agent::at("127.0.0.1").await;
    caller.send(b"\r\n\r\n", world.sip()).await;
    assert_eq!(caller.raw().await, b"\r\n");
    for silent in [&b"\r\n"[..], b"", b"\0\0\0\0", b"\r\n\r\n\0"] {
        caller.send(silent, world.sip()).await;
    }
    let options =
        Dialled::new(caller.address, world.sip(), "4420", &[]).request(Method::Options, 1, "").finish();
    caller.send(&options, world.sip()).await;
    caller.status(200).await;
    assert_eq!(caller.heard(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_among_garbage() {
    let mut plan = Plan::new();
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let stranger = Agent::at("127.0.0.1").await;
    let bye = talk.call.bye(&talk.answer);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..2_000 {
        // Some bytes of a message that the switch would act on are others.
        let mut mutant = if state & 1 == 0 { bye.to_vec() } else { talk.call.invite.to_vec() };
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state >> 8) as usize % mutant.len().min(40);
            mutant[at] = (state & 0xff) as u8;
        }
        stranger.send(&mutant, world.sip()).await;
    }
    stranger.send(&[0xff; 65_000], world.sip()).await;
    // Each has been seen to once this is answered.
    let options =
        Dialled::new(caller.address, world.sip(), "4420", &[]).request(Method::Options, 1, "").finish();
    caller.send(&options, world.sip()).await;
    caller.status(200).await;
    assert_eq!(world.metric("tandem_call_panics_total", ""), 0.0);
    let _ = world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_icmp_error_moves_the_call_on_at_once_whatever_the_called_number_looks_like() {
    let mut plan = Plan::new();
    let mut vendor = Agent::at("127.0.0.1").await;
    let closed =
        std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    plan.vendor("closed", closed, "");
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let mut caller = Agent::at("127.0.0.1").await;
    for called in ["4420", "44;branch=z9hG4bK20"] {
        let call = Dialled::new(caller.address, world.sip(), called, &[]);
        let began = std::time::Instant::now();
        caller.send(&call.invite, world.sip()).await;
        let invite = vendor.request(Method::Invite).await;
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{called}: {:?}", began.elapsed());
        vendor.respond(&invite, 486).await;
        caller.status_of(&call, 486).await;
    }
    assert_eq!(world.metric("tandem_unreachable_total", ""), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_called_from_a_socket_of_its_address_family() {
    let mut plan = Plan::new().listening(&["127.0.0.1:0", "[::1]:0"]);
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("::1").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    assert_eq!(talk.invite.1, world.node.listening_on()[1]);
    assert!(text(talk.invite.0.raw()).contains(&world.node.listening_on()[1].to_string()));
    talk.end(&mut caller, &mut vendor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_sockets_a_gateway_is_called_from_the_one_that_leads_there() {
    // The kernel reaches 127.0.0.0/8 from 127.0.0.1.
    let mut plan = Plan::new().listening(&["127.0.0.5:0", "[::1]:0", "127.0.0.1:0"]);
    let (mut caller, mut vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.9").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    assert_eq!(talk.invite.1, world.node.listening_on()[2]);
    talk.end(&mut caller, &mut vendor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_over_ipv6_on_both_legs() {
    let mut plan = Plan::new().listening(&["[::1]:0"]);
    let (mut caller, mut vendor) = (Agent::at("::1").await, Agent::at("::1").await);
    plan.vendor("vendor", vendor.address, "");
    let world = plan.start().await;
    let talk = Talk::begin(&mut caller, &mut vendor, world.sip()).await;
    let (invite, answer) = (text(talk.invite.0.raw()), text(talk.answer.raw()));
    let here = format!("[::1]:{}", world.sip().port());
    assert!(invite.contains(&format!("Via: SIP/2.0/UDP {here};")), "{invite}");
    assert!(invite.contains(&format!("INVITE sip:4420@{} ", vendor.address)), "{invite}");
    assert!(invite.contains(&format!("@{here}>")), "its Contact: {invite}");
    // RFC 3581 §4: the port in rport, and the address without brackets in received, where it differs from sent-by.
    assert!(answer.contains(&format!(";rport={}", caller.address.port())), "{answer}");
    talk.end(&mut caller, &mut vendor).await;
    world.is_idle().await;
}
