use super::*;
use crate::{Limits, Message};

fn answer(challenge: &str, user: (&str, &str), uri: &str, cnonce: &str) -> String {
    let challenge = Challenge::parse(Issuer::UserAgent, challenge.as_bytes()).expect("a challenge");
    challenge.answer(user, Protected { method: "GET", uri, body: b"" }, cnonce, 1)
}

fn response_of(answer: &str) -> &str {
    let (_, rest) = answer.split_once("response=\"").expect("a response");
    rest.split('"').next().expect("a value")
}

const MUFASA: (&str, &str) = ("Mufasa", "Circle of Life");
const REALM_AND_NONCE: &str = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
     nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
     opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

#[test]
fn rfc_7616_3_9_1_md5_and_sha_256() {
    for (algorithm, expected) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let challenge = format!("Digest {REALM_AND_NONCE}, algorithm={algorithm}");
        let answer = answer(&challenge, MUFASA, "/dir/index.html", CNONCE);
        assert_eq!(response_of(&answer), expected, "{algorithm}");
        assert!(answer.contains(&format!("algorithm={algorithm}, ")), "{answer}");
        assert!(answer.ends_with("qop=auth, nc=00000001"), "{answer}");
    }
}

#[test]
fn rfc_2617_3_5_without_an_algorithm_named() {
    let challenge = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    let answer = answer(challenge, ("Mufasa", "Circle Of Life"), "/dir/index.html", "0a4f113b");
    assert_eq!(response_of(&answer), "6629fae49393a05397450978507c4ef1");
    assert!(!answer.contains("algorithm"), "{answer}");
}

#[test]
fn rfc_2069_without_qop_has_neither_cnonce_nor_count() {
    let challenge = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    let answer = answer(challenge, ("Mufasa", "CircleOfLife"), "/dir/index.html", "0a4f113b");
    assert_eq!(response_of(&answer), "1949323746fe6a43ef61f9606e7febea");
    assert!(!answer.contains("nc=") && !answer.contains("qop"), "{answer}");
}

#[test]
fn auth_int_only_if_it_is_all_that_is_offered() {
    let qop = |offered: &str| {
        let value = format!("Digest realm=\"r\", nonce=\"n\", qop=\"{offered}\"");
        Challenge::parse(Issuer::Proxy, value.as_bytes()).map(|challenge| challenge.qop)
    };
    assert_eq!(qop("auth-int, auth"), Ok(Some(Qop::Auth)));
    assert_eq!(qop("auth-int"), Ok(Some(Qop::AuthInt)));
    assert_eq!(qop("auth-conf, AUTH"), Ok(Some(Qop::Auth)));
    assert_eq!(qop(""), Ok(None));
    assert_eq!(qop("auth-conf"), Err(ChallengeError::Qop));
}

#[test]
fn auth_int_protects_the_body() {
    let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\", algorithm=SHA-256-sess";
    let challenge = Challenge::parse(Issuer::Proxy, challenge.as_bytes()).expect("a challenge");
    let request = Protected { method: "INVITE", uri: "sip:1@h", body: b"v=0" };
    let answer = challenge.answer(("u", "p"), request, "c", 1);
    let credentials = Credentials::parse(answer.as_bytes()).expect("credentials");
    let ha1 = challenge.algorithm().ha1("u", b"r", "p");
    assert!(credentials.are_of(&ha1, "INVITE", b"v=0"));
    assert!(!credentials.are_of(&ha1, "INVITE", b"v=1"));
}

#[test]
fn what_is_answered_is_right_for_every_algorithm_and_qop() {
    for algorithm in ["", "MD5", "MD5-sess", "sha-256", "SHA-256-SESS", "SHA-512-256", "SHA-512-256-sess"] {
        for qop in ["", "auth", "auth-int"] {
            let mut value = "Digest realm=\"a \\\"b\\\"\", nonce=\"n\\\\\"".to_owned();
            if !algorithm.is_empty() {
                value += &format!(", algorithm={algorithm}");
            }
            if !qop.is_empty() {
                value += &format!(", qop=\"{qop}\"");
            }
            let challenge = Challenge::parse(Issuer::UserAgent, value.as_bytes()).expect("a challenge");
            let request = Protected { method: "BYE", uri: "sip:1@h", body: b"" };
            let answer = challenge.answer(("us\"er", "pass"), request, "cn", 0x2a);
            let credentials = Credentials::parse(answer.as_bytes()).unwrap_or_else(|| panic!("{answer}"));
            assert_eq!(&*credentials.username, b"us\"er");
            assert_eq!((&*credentials.realm, &*credentials.nonce), (&b"a \"b\""[..], &b"n\\"[..]));
            assert_eq!(credentials.count, if qop.is_empty() { 0 } else { 0x2a });
            let ha1 = challenge.algorithm().ha1("us\"er", b"a \"b\"", "pass");
            assert!(credentials.are_of(&ha1, "BYE", b""), "{answer}");
            assert!(!credentials.are_of(&ha1, "INVITE", b""), "{answer}");
            let other = challenge.algorithm().ha1("us\"er", b"a \"b\"", "Pass");
            assert!(!credentials.are_of(&other, "BYE", b""), "{answer}");
        }
    }
}

#[test]
fn a_challenge_that_cannot_be_answered_says_why() {
    let parse = |value: &str| Challenge::parse(Issuer::UserAgent, value.as_bytes()).map(|_| ());
    assert_eq!(parse("Basic realm=\"r\""), Err(ChallengeError::Scheme));
    assert_eq!(parse("Digest realm=\"r\""), Err(ChallengeError::Incomplete));
    assert_eq!(parse("Digest nonce=\"n\""), Err(ChallengeError::Incomplete));
    assert_eq!(parse("Digest realm=\"r"), Err(ChallengeError::Incomplete));
    assert_eq!(parse("Digest realm=\"r\", nonce=\"n\", algorithm=AKAv1-MD5"), Err(ChallengeError::Algorithm));
    assert_eq!(parse("Digest realm=\"r\r\n x\", nonce=\"n\""), Err(ChallengeError::Unprintable));
    let long = format!("Digest realm=\"r\", nonce=\"{}\"", "n".repeat(MAX_CHALLENGE_LEN));
    assert_eq!(parse(&long), Err(ChallengeError::TooLong));
}

fn chosen(lines: &str) -> Vec<(Issuer, String, Algorithm)> {
    let text = format!(
        "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    let message = Message::parse(text.into(), &Limits::default()).expect("a response");
    let of = |challenge: Challenge| {
        let realm = String::from_utf8_lossy(&challenge.realm).into_owned();
        (challenge.issuer, realm, challenge.algorithm())
    };
    strongest(&message).into_iter().map(of).collect()
}

const SHA_256: Algorithm = Algorithm { hash: Hash::Sha256, session: false };

#[test]
fn the_strongest_challenge_of_each_realm_is_chosen() {
    let both = "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=MD5\r\n\
        WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256\r\n\
        WWW-Authenticate: Digest realm=\"r\", nonce=\"3\"\r\n\
        Proxy-Authenticate: Digest realm=\"r\", nonce=\"4\"\r\n\
        Proxy-Authenticate: Digest realm=\"other\", nonce=\"5\", algorithm=token\r\n";
    assert_eq!(
        chosen(both),
        [(Issuer::UserAgent, "r".to_owned(), SHA_256), (Issuer::Proxy, "r".to_owned(), Algorithm::MD5)]
    );
}

#[test]
fn no_more_realms_than_the_limit() {
    let lines: String =
        (0..10).map(|realm| format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"n\"\r\n")).collect();
    assert_eq!(chosen(&lines).len(), MAX_REALMS);
}

#[test]
fn stale_is_read_in_any_case_of_letters() {
    for (value, stale) in [("stale=TRUE", true), ("stale=false", false), ("domain=\"x\"", false)] {
        let value = format!("Digest realm=\"r\", nonce=\"n\", {value}");
        let challenge = Challenge::parse(Issuer::Proxy, value.as_bytes()).expect("a challenge");
        assert_eq!(challenge.stale, stale);
    }
}

#[test]
fn credentials_that_lack_something_are_none() {
    let right = "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"0\"";
    assert!(Credentials::parse(right.as_bytes()).is_some());
    for wrong in [
        "Basic dTpw".to_owned(),
        right.replace("uri=\"sip:h\", ", ""),
        format!("{right}, qop=auth, nc=00000001"),
        format!("{right}, qop=auth, cnonce=\"c\""),
        format!("{right}, qop=auth, cnonce=\"c\", nc=x"),
        format!("{right}, algorithm=unknown"),
    ] {
        assert!(Credentials::parse(wrong.as_bytes()).is_none(), "{wrong}");
    }
}
