//! The server's half: what is let in and what is refused.

use super::*;
use crate::time::Wall;
use crate::{Limits, Message};
use std::cell::RefCell;
use std::time::Duration;

const USER: (&str, &str) = ("alice", "open sesame");
const REALM: &str = "example.com";
const URI: &str = "sip:example.com";
const LIFE: Duration = Duration::from_secs(300);
const START: Wall = Wall(1_700_000_000_000);

/// A node of the realm.
struct Node {
    server: Server,
    uses: RefCell<NonceUses>,
    now: Wall,
}

impl Node {
    fn new(node: u16) -> Self {
        let keys = NonceKeys { current: [7; 16], previous: None };
        let hashes = vec![Hash::Sha256, Hash::Md5];
        let server = Server { realm: REALM.into(), hashes, keys, node, since: START, nonce_life: LIFE };
        Self { server, uses: RefCell::new(NonceUses::new(100, LIFE)), now: START }
    }

    /// The challenges with that serial, as a client reads them.
    fn challenges(&self, serial: u64) -> Vec<Challenge> {
        let values = self.server.challenges(serial, self.now, false);
        values
            .map(|value| Challenge::parse(Issuer::UserAgent, value.as_bytes()).expect("a challenge"))
            .collect()
    }

    fn strongest(&self, serial: u64) -> Challenge {
        self.challenges(serial).remove(0)
    }

    fn judge(&self, request: &Message) -> Judgement {
        self.judge_copy(request, 0)
    }

    /// Judges a request; copies of it have the same number.
    fn judge_copy(&self, request: &Message, copy: u64) -> Judgement {
        let Some(credentials) = self.server.credentials(request) else { return Judgement::Wrong };
        let ha1 = Ha1::of_password(USER.0, REALM, USER.1);
        let known = (*credentials.username == *USER.0.as_bytes()).then_some(&ha1);
        self.server.judge((&credentials, known), request, self.now, |nonce, count| {
            self.uses.borrow_mut().take(nonce, count, copy, self.now)
        })
    }
}

fn protected() -> Protected<'static> {
    Protected { method: "REGISTER", uri: URI, body: b"" }
}

fn request(authorization: &str) -> Message {
    let text =
        format!("REGISTER {URI} SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nAuthorization: {authorization}\r\n\r\n");
    Message::parse(text.into(), &Limits::default()).expect("a request")
}

/// The request that answers a challenge for the `count`-th time.
fn answered(challenge: &Challenge, count: u32) -> Message {
    request(&challenge.answer(USER, protected(), "c0ffee", count))
}

#[test]
fn challenges_are_one_of_each_algorithm_with_the_strongest_first() {
    let node = Node::new(1);
    let challenges = node.challenges(1);
    let algorithms: Vec<_> = challenges.iter().map(|challenge| challenge.algorithm().name()).collect();
    assert_eq!(algorithms, ["SHA-256", "MD5"]);
    assert!(challenges.iter().all(|challenge| challenge.qop == Some(Qop::Auth) && !challenge.stale));
    assert_ne!(challenges[0].nonce, challenges[1].nonce);
    let stale = node.server.challenges(2, START, true).next().expect("a challenge");
    assert!(stale.contains("stale=true, algorithm=SHA-256, qop=\"auth\""), "{stale}");
}

#[test]
fn both_algorithms_are_let_in_and_each_count_once() {
    let node = Node::new(1);
    for (serial, place) in [(1, 0), (2, 1)] {
        let challenge = node.challenges(serial).remove(place);
        for count in [1, 2, 5, 3] {
            assert_eq!(node.judge(&answered(&challenge, count)), Judgement::Right, "{place} {count}");
        }
    }
}

#[test]
fn a_replayed_answer_is_refused() {
    let node = Node::new(1);
    let request = answered(&node.strongest(1), 1);
    assert_eq!(node.judge_copy(&request, 1), Judgement::Right);
    assert_eq!(node.judge_copy(&request, 2), Judgement::Stale, "from elsewhere, or as another transaction");
}

#[test]
fn a_request_that_its_transaction_repeats_is_known_for_32_s() {
    let mut node = Node::new(1);
    let request = answered(&node.strongest(1), 1);
    assert_eq!(node.judge_copy(&request, 1), Judgement::Right);
    node.now.0 += 31_999;
    assert_eq!(node.judge_copy(&request, 1), Judgement::Repeated);
    node.now.0 += 1;
    assert_eq!(node.judge_copy(&request, 1), Judgement::Stale);
}

#[test]
fn a_reused_nonce_count_is_refused() {
    let node = Node::new(1);
    let challenge = node.strongest(1);
    for (copy, count) in [(1, 1), (2, 70)] {
        assert_eq!(node.judge_copy(&answered(&challenge, count), copy), Judgement::Right);
    }
    for count in [0, 1, 6, 70] {
        let other = request(&challenge.answer(USER, protected(), "another cnonce", count));
        assert_eq!(node.judge_copy(&other, 3), Judgement::Stale, "{count}");
    }
    assert_eq!(
        node.judge_copy(&answered(&challenge, 7), 4),
        Judgement::Right,
        "overtaken, but in the window"
    );
}

#[test]
fn a_foreign_nonce_is_refused() {
    let node = Node::new(1);
    let mut other = Node::new(1);
    other.server.keys.current = [8; 16];
    assert_eq!(node.judge(&answered(&other.strongest(1), 1)), Judgement::Stale, "another cluster's");
    let chosen = "Digest realm=\"example.com\", nonce=\"0123456789abcdef\", algorithm=SHA-256, qop=\"auth\"";
    let chosen = Challenge::parse(Issuer::UserAgent, chosen.as_bytes()).expect("a challenge");
    assert_eq!(node.judge(&answered(&chosen, 1)), Judgement::Stale, "the client's own");
    assert!(node.uses.borrow().is_empty());
}

#[test]
fn another_nodes_nonce_is_stale_since_only_that_node_knows_its_count() {
    let (node, other) = (Node::new(1), Node::new(2));
    assert_eq!(node.judge(&answered(&other.strongest(1), 1)), Judgement::Stale);
    assert_eq!(other.judge(&answered(&other.strongest(1), 1)), Judgement::Right);
}

#[test]
fn a_nonce_is_stale_after_its_life_and_after_a_restart() {
    let mut node = Node::new(1);
    let challenge = node.strongest(1);
    node.now.0 += 299_999;
    assert_eq!(node.judge(&answered(&challenge, 1)), Judgement::Right);
    node.now.0 += 1;
    assert_eq!(node.judge(&answered(&challenge, 2)), Judgement::Stale);
    let young = node.strongest(2);
    let mut reborn = Node::new(1);
    reborn.now = Wall(node.now.0 + 1);
    reborn.server.since = reborn.now;
    assert_eq!(reborn.judge(&answered(&young, 1)), Judgement::Stale, "its counts are lost");
}

#[test]
fn the_previous_key_is_good_while_keys_rotate() {
    let mut node = Node::new(1);
    let challenge = node.strongest(1);
    node.server.keys = NonceKeys { current: [8; 16], previous: Some([7; 16]) };
    assert_eq!(node.judge(&answered(&challenge, 1)), Judgement::Right);
    node.server.keys.previous = None;
    assert_eq!(node.judge(&answered(&challenge, 2)), Judgement::Stale);
}

#[test]
fn an_answer_for_another_uri_is_refused() {
    let node = Node::new(1);
    let elsewhere = Protected { uri: "sip:example.org", ..protected() };
    let answer = node.strongest(1).answer(USER, elsewhere, "c0ffee", 1);
    assert_eq!(node.judge(&request(&answer)), Judgement::Wrong);
    let changed = node.strongest(1).answer(USER, protected(), "c0ffee", 1).replace(URI, "sip:example.org");
    assert_eq!(node.judge(&request(&changed)), Judgement::Wrong);
    let same = Protected { uri: "sip:EXAMPLE.com", ..protected() };
    let answer = node.strongest(1).answer(USER, same, "c0ffee", 1);
    assert_eq!(node.judge(&request(&answer)), Judgement::Right, "the same URI in other letters");
}

#[test]
fn a_downgrade_is_refused() {
    let mut node = Node::new(1);
    let challenge = node.strongest(1);
    // The stronger challenge answered with the weaker algorithm: somebody has rewritten it on its way.
    let nonce = String::from_utf8(challenge.nonce.to_vec()).expect("text");
    let rewritten = format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"");
    let rewritten = Challenge::parse(Issuer::UserAgent, rewritten.as_bytes()).expect("a challenge");
    assert_eq!(node.judge(&answered(&rewritten, 1)), Judgement::Stale);
    // Without qop there is no count (RFC 2069).
    for terms in [
        "algorithm=SHA-256",
        "algorithm=SHA-256, qop=\"auth-int\"",
        "algorithm=SHA-256-sess, qop=\"auth\"",
        "algorithm=SHA-512-256, qop=\"auth\"",
    ] {
        let weaker = format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", {terms}");
        let weaker = Challenge::parse(Issuer::UserAgent, weaker.as_bytes()).expect("a challenge");
        assert_eq!(node.judge(&answered(&weaker, 1)), Judgement::Wrong, "{terms}");
    }
    // What is not offered is not taken.
    let md5 = node.challenges(2).remove(1);
    node.server.hashes = vec![Hash::Sha256];
    assert_eq!(node.judge(&answered(&md5, 1)), Judgement::Wrong);
}

#[test]
fn a_wrong_password_another_method_or_another_realm_is_refused() {
    let node = Node::new(1);
    let challenge = node.strongest(1);
    let wrong = challenge.answer((USER.0, "guess"), protected(), "c0ffee", 1);
    assert_eq!(node.judge(&request(&wrong)), Judgement::Wrong);
    let invite = Protected { method: "INVITE", ..protected() };
    assert_eq!(node.judge(&request(&challenge.answer(USER, invite, "c0ffee", 1))), Judgement::Wrong);
    let realm = challenge.answer(USER, protected(), "c0ffee", 1).replace(REALM, "example.org");
    assert!(node.server.credentials(&request(&realm)).is_none());
    assert!(node.uses.borrow().is_empty(), "who has no password takes no room");
}

#[test]
fn an_unknown_user_costs_as_many_hashes_as_a_wrong_password() {
    let node = Node::new(1);
    for challenge in node.challenges(1) {
        let hashes_of = |user: (&str, &str)| {
            let request = request(&challenge.answer(user, protected(), "c0ffee", 1));
            let before = hashed();
            assert_eq!(node.judge(&request), Judgement::Wrong);
            hashed() - before
        };
        let wrong = hashes_of((USER.0, "guess"));
        // As many bytes go into them, too.
        assert_eq!(hashes_of(("alicf", "guess")), wrong);
        assert!(wrong > 0);
    }
}

#[test]
fn an_answer_that_fits_the_stand_in_of_unknown_users_is_refused() {
    let node = Node::new(1);
    let challenge = node.strongest(1);
    let answer = challenge.answer(("nobody", "x"), protected(), "c0ffee", 1);
    let given = request(&answer);
    let credentials = node.server.credentials(&given).expect("credentials");
    let forged = Terms {
        algorithm: credentials.algorithm,
        qop: credentials.qop,
        nonce: &credentials.nonce,
        cnonce: b"c0ffee",
        count: 1,
    };
    let forged = forged.response(&"0".repeat(64), protected());
    let (start, rest) = answer.split_once("response=\"").expect("a response");
    let forged = format!("{start}response=\"{forged}{}", &rest[64..]);
    assert_eq!(node.judge(&request(&forged)), Judgement::Wrong);
}

#[test]
fn nonces_that_are_forgotten_for_lack_of_room_are_stale() {
    let node = Node::new(1);
    *node.uses.borrow_mut() = NonceUses::new(2, LIFE);
    let challenges: Vec<_> = (1..=4).map(|serial| node.strongest(serial)).collect();
    for challenge in &challenges[1..] {
        assert_eq!(node.judge(&answered(challenge, 1)), Judgement::Right);
    }
    assert_eq!(node.uses.borrow().len(), 2);
    assert_eq!(node.judge_copy(&answered(&challenges[1], 1), 9), Judgement::Stale, "it was used");
    assert_eq!(node.judge(&answered(&challenges[0], 1)), Judgement::Stale, "it cannot be told");
    assert_eq!(node.judge(&answered(&challenges[3], 2)), Judgement::Right);
}

#[test]
fn lapsed_nonces_make_room() {
    let mut uses = NonceUses::new(10, LIFE);
    for serial in 0..1_000 {
        let issued = Wall(START.0 + serial * 100_000);
        let nonce = Nonce { issued, node: 1, serial };
        assert_eq!(uses.take(&nonce, 1, 0, issued), Use::New);
        assert!(uses.len() <= 3, "{}", uses.len());
    }
}

#[test]
fn a_nonce_that_was_tampered_with_is_none() {
    let keys = NonceKeys { current: [7; 16], previous: None };
    let nonce = Nonce { issued: START, node: 0xABCD, serial: 0x0102_0304_0506 };
    let text = nonce.print(&keys, REALM, Hash::Sha256);
    assert_eq!(text.len(), 32);
    assert_eq!(Nonce::parse(text.as_bytes(), &keys, REALM, Hash::Sha256), Some(nonce));
    assert_eq!(Nonce::parse(text.as_bytes(), &keys, "example.org", Hash::Sha256), None);
    assert_eq!(Nonce::parse(text.as_bytes(), &keys, REALM, Hash::Md5), None);
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        assert_eq!(Nonce::parse(&bytes, &keys, REALM, Hash::Sha256), None, "{place}");
    }
    for text in ["", "AAAA", &"A".repeat(33), &"\u{e9}".repeat(16)] {
        assert_eq!(Nonce::parse(text.as_bytes(), &keys, REALM, Hash::Sha256), None, "{text}");
    }
}

#[test]
fn stored_hashes_are_read_by_their_length_and_never_shown() {
    let of_password = Ha1::of_password(USER.0, REALM, USER.1);
    let md5 = of_password.of(Hash::Md5).expect("MD5").to_ascii_uppercase();
    let sha256 = of_password.of(Hash::Sha256).expect("SHA-256").to_owned();
    let stored = Ha1::default().and(&md5).and_then(|ha1| ha1.and(&sha256)).expect("hashes");
    assert_eq!(stored, of_password);
    assert_eq!(format!("{stored:?}"), "***");
    for text in ["", "xyz", &"g".repeat(32), &"a".repeat(33)] {
        assert_eq!(Ha1::default().and(text), None, "{text}");
    }
}
