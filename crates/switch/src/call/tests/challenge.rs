//! Gateways that ask for credentials (RFC 3261 §22, RFC 7616, RFC 8760).

use super::messages::{Got, Reply, reply};
use super::plan::{Answers, sdp};
use super::world::World;
use crate::call::Event;
use crate::failover::Failure;
use crate::gateway::Outcome;
use tandem_sip::digest::Credentials;
use tandem_sip::{Name, StatusCode};

pub(super) const SHA_256: &str = "algorithm=SHA-256, qop=\"auth\"";

fn with_account() -> World {
    World::with(|plan| {
        plan.accounts();
    })
}

/// 401 or 407 for a realm, with that nonce and more parameters.
pub(super) fn challenge(status: u16, realm: &str, nonce: &str, more: &str) -> Reply {
    reply(status).line(&line(status, realm, nonce, more))
}

fn line(status: u16, realm: &str, nonce: &str, more: &str) -> String {
    let header = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!("{header}: Digest realm=\"{realm}\", nonce=\"{nonce}\"{more}")
}

/// Checks the credentials of a request, and returns their nonce with its count.
pub(super) fn credentials(request: &Got, header: Name) -> Option<(String, u32)> {
    let value = request.first(header)?;
    let credentials = Credentials::parse(value).expect("credentials");
    assert_eq!(&*credentials.uri, request.request_uri());
    let ha1 = credentials.algorithm.ha1("tandem", &credentials.realm, "letmein");
    assert!(credentials.are_of(&ha1, &request.what(), request.body()), "{}", request.text());
    Some((String::from_utf8_lossy(&credentials.nonce).into_owned(), credentials.count))
}

fn answers_and_ends(world: &mut World, invite: &Got) -> serde_json::Value {
    world.reply(1, invite, reply(200).tag("answer").sdp(sdp(5000)));
    world.at(1, "ACK");
    world.at_caller("200");
    world.caller_acks(None);
    world.caller_sends("BYE");
    world.at_caller("200");
    let bye = world.at(1, "BYE");
    world.reply(1, &bye, reply(200));
    world.finish()
}

#[test]
fn a_407_is_answered_within_the_attempt() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    let ack = world.at(1, "ACK");
    assert_eq!(ack.branch(), first.branch());
    let second = world.at(1, "INVITE");
    assert_eq!(credentials(&second, Name::ProxyAuthorization), Some(("n1".to_owned(), 1)));
    // RFC 3261 §22.2: the same Call-ID, To and From, the next sequence number.
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(
        (second.value(Name::From), second.value(Name::To)),
        (first.value(Name::From), first.value(Name::To))
    );
    assert_eq!(second.cseq_number(), first.cseq_number() + 1);
    assert_ne!(second.branch(), first.branch());
    assert!(second.after > first.after, "sent before its commit");
    let record = answers_and_ends(&mut world, &second);
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.attempted(), ["one"]);
}

#[test]
fn a_401_is_answered_by_authorization() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(401, "vendor", "n1", ""));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    assert_eq!(credentials(&second, Name::Authorization), Some(("n1".to_owned(), 0)), "RFC 2069");
    assert_eq!(second.first(Name::ProxyAuthorization), None);
}

#[test]
fn auth_int_protects_the_body_that_is_sent() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(401, "vendor", "n1", "qop=\"auth-int\""));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    assert!(!second.body().is_empty());
    assert_eq!(credentials(&second, Name::Authorization), Some(("n1".to_owned(), 1)));
}

#[test]
fn the_ack_carries_the_credentials_of_its_invite() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, reply(200).sdp(sdp(5000)));
    let ack = world.at(1, "ACK");
    assert_eq!(ack.value(Name::ProxyAuthorization), second.value(Name::ProxyAuthorization));
    assert_eq!(ack.cseq_number(), second.cseq_number());
    // A copy of the 407 gets its own ACK again, also once the call is connected.
    world.at_caller("200");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    assert_eq!(world.at(1, "ACK").branch(), first.branch());
    world.nothing_more();
}

#[test]
fn without_an_account_a_challenge_is_a_failure_that_switches() {
    let mut world = World::start();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    world.at(2, "INVITE");
    assert!(world.unauthorized.is_empty());
}

#[test]
fn a_challenge_is_answered_once() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, challenge(407, "vendor", "n2", SHA_256));
    world.at(1, "ACK");
    world.at(2, "INVITE");
    assert_eq!(world.attempted(), ["one", "two"]);
    let failed = StatusCode::new(407).expect("a status");
    assert_eq!(world.outcome("one"), Some(Outcome::Failed(Failure::Status(failed))));
}

#[test]
fn a_stale_nonce_is_answered_once_more_with_the_new_one() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, challenge(407, "vendor", "n2", &format!("{SHA_256}, stale=true")));
    world.at(1, "ACK");
    let third = world.at(1, "INVITE");
    assert_eq!(credentials(&third, Name::ProxyAuthorization), Some(("n2".to_owned(), 1)));
    world.reply(1, &third, challenge(407, "vendor", "n3", &format!("{SHA_256}, stale=true")));
    world.at(1, "ACK");
    world.at(2, "INVITE");
}

#[test]
fn stale_with_the_same_nonce_is_a_failure() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, challenge(407, "vendor", "n1", &format!("{SHA_256}, stale=true")));
    world.at(1, "ACK");
    world.at(2, "INVITE");
}

#[test]
fn sha_256_comes_before_md5_whatever_the_order() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    let both = challenge(407, "vendor", "md5", "algorithm=MD5, qop=\"auth\"")
        .line(&line(407, "vendor", "sha", SHA_256));
    world.reply(1, &first, both);
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    assert_eq!(credentials(&second, Name::ProxyAuthorization), Some(("sha".to_owned(), 1)));
}

#[test]
fn there_is_no_downgrade_after_a_stronger_challenge() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, challenge(407, "vendor", "n2", "algorithm=MD5, qop=\"auth\", stale=true"));
    world.at(1, "ACK");
    world.at(2, "INVITE");
}

#[test]
fn an_algorithm_that_is_not_known_is_a_failure() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", "algorithm=AKAv1-MD5"));
    world.at(1, "ACK");
    world.at(2, "INVITE");
}

#[test]
fn several_realms_are_answered_together() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "proxy", "p1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, challenge(401, "vendor", "v1", SHA_256));
    world.at(1, "ACK");
    let third = world.at(1, "INVITE");
    assert_eq!(credentials(&third, Name::ProxyAuthorization), Some(("p1".to_owned(), 2)), "used again");
    assert_eq!(credentials(&third, Name::Authorization), Some(("v1".to_owned(), 1)));
    assert_eq!(third.cseq_number(), first.cseq_number() + 2);
    // The first proxy let the second request through, so its nonce may be for one use only.
    world.reply(1, &third, challenge(407, "proxy", "p2", SHA_256));
    world.at(1, "ACK");
    let fourth = world.at(1, "INVITE");
    assert_eq!(credentials(&fourth, Name::ProxyAuthorization), Some(("p2".to_owned(), 1)));
    assert_eq!(credentials(&fourth, Name::Authorization), Some(("v1".to_owned(), 2)));
}

#[test]
fn challenges_of_ever_new_realms_come_to_an_end() {
    let mut world = with_account();
    let mut invites = 0;
    while world.attempted() == ["one"] {
        let invite = world.at(1, "INVITE");
        invites += 1;
        world.reply(1, &invite, challenge(407, &format!("realm {invites}"), "n", SHA_256));
        world.at(1, "ACK");
    }
    assert_eq!(invites, 5);
    world.at(2, "INVITE");
}

#[test]
fn a_realm_that_the_account_is_not_for_is_a_failure() {
    let mut world = World::with(|plan| {
        plan.accounts().account.as_mut().expect("an account").realm = Some("vendor".into());
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "somebody else", "n1", SHA_256));
    world.at(1, "ACK");
    world.at(2, "INVITE");
    world.skip();
}

#[test]
fn credentials_that_do_not_come_in_time_are_none() {
    let mut world = World::with(|plan| {
        plan.accounts().authorization = Answers::WhenTold;
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    world.advance(1_999);
    world.nothing_more();
    world.advance(1);
    world.at(2, "INVITE");
    let late = world.authorization().expect("asked for");
    world.input(late);
    world.nothing_more();
}

#[test]
fn cancel_while_credentials_are_awaited_ends_the_call() {
    let mut world = World::with(|plan| {
        plan.accounts().authorization = Answers::WhenTold;
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    world.caller_cancels("");
    world.at_caller("200");
    world.at_caller("487");
    world.caller_acks(None);
    let late = world.authorization().expect("asked for");
    world.input(late);
    world.nothing_more();
    world.finish();
}

#[test]
fn the_invite_timeout_begins_anew_with_the_credentials() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.wait(9);
    world.skip();
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    world.at(1, "INVITE");
    world.advance(9_999);
    assert_eq!(world.attempted(), ["one"]);
    world.advance(1);
    assert_eq!(world.attempted(), ["one", "two"]);
}

#[test]
fn a_challenge_is_no_switch() {
    let mut world = World::with(|plan| {
        plan.accounts().parameters.switch_limit = Some(1);
    });
    for number in [1, 2] {
        let first = world.at(number, "INVITE");
        world.reply(number, &first, challenge(407, "vendor", "n1", SHA_256));
        world.at(number, "ACK");
        let second = world.at(number, "INVITE");
        world.reply(number, &second, reply(404));
        world.at(number, "ACK");
    }
    world.at_caller("404");
    let again = world.events.iter().filter(|event| matches!(event, Event::InvitedAgain { .. })).count();
    assert_eq!((world.attempted().len(), again), (2, 2));
}

#[test]
fn a_further_target_gets_the_same_request_with_the_next_nonce_count() {
    let mut world = World::with(|plan| {
        plan.accounts().named(1, &[1, 4]);
    });
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, reply(503));
    world.at(1, "ACK");
    let third = world.at(4, "INVITE");
    assert_eq!(third.cseq_number(), second.cseq_number());
    assert_eq!(credentials(&third, Name::ProxyAuthorization), Some(("n1".to_owned(), 2)));
    // That place has nonces of its own.
    world.reply(4, &third, challenge(407, "vendor", "n9", SHA_256));
    world.at(4, "ACK");
    let fourth = world.at(4, "INVITE");
    assert_eq!(credentials(&fourth, Name::ProxyAuthorization), Some(("n9".to_owned(), 1)));
}

#[test]
fn an_heir_sends_the_same_credentials_again_though_no_secret_is_stored() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    let stored = world.stored.clone().expect("a snapshot");
    let response = second.value(Name::ProxyAuthorization);
    let hash = response.split("response=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a hash");
    for secret in ["letmein", hash] {
        let leaks = stored.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!leaks, "{secret} is stored");
    }
    assert!(stored.len() < 2_048, "{} bytes", stored.len());
    world.take_over(1_000);
    assert_eq!(world.at(1, "INVITE").text(), second.text());
    answers_and_ends(&mut world, &second);
}

#[test]
fn an_heir_that_gets_no_credentials_switches() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    world.at(1, "INVITE");
    world.plan.account = None;
    world.take_over(1_000);
    world.at(2, "INVITE");
}

#[test]
fn what_the_first_invite_still_brings_is_absorbed() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, reply(180));
    world.at_caller("180");
    world.reply(1, &first, reply(180));
    world.reply(1, &first, reply(200).tag("odd").sdp(sdp(6000)));
    world.nothing_more();
    answers_and_ends(&mut world, &second);
}

#[test]
fn a_longer_session_is_asked_for_with_credentials_too() {
    let mut world = with_account();
    let first = world.at(1, "INVITE");
    world.reply(1, &first, challenge(407, "vendor", "n1", SHA_256));
    world.at(1, "ACK");
    let second = world.at(1, "INVITE");
    world.reply(1, &second, reply(422).line("Min-SE: 1800"));
    world.at(1, "ACK");
    let third = world.at(1, "INVITE");
    assert_eq!(credentials(&third, Name::ProxyAuthorization), Some(("n1".to_owned(), 2)));
    assert!(third.value(Name::SessionExpires).starts_with("1800"), "{}", third.text());
    // A nonce for one use only: the server asks anew, and that is answered.
    world.reply(1, &third, challenge(407, "vendor", "n2", SHA_256));
    world.at(1, "ACK");
    let fourth = world.at(1, "INVITE");
    assert_eq!(credentials(&fourth, Name::ProxyAuthorization), Some(("n2".to_owned(), 1)));
    assert!(fourth.value(Name::SessionExpires).starts_with("1800"), "{}", fourth.text());
}
