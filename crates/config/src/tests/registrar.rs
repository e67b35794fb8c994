//! `[registrar]` and `[[endpoint]]`.

use super::{errors, load, load_with, mapping, warnings};
use std::fmt::Write;
use std::time::Duration;
use tandem_sip::digest::{Ha1, Hash};

const MD5: &str = "12af60467a33e8518da5c68bbff12b11";
const SHA256: &str = "8ef9c5f8a1d1a0ef5c8b2b9b8d5ee2a6d4f5a3b2c1d0e9f8a7b6c5d4e3f2a1b0";

/// Keys of an endpoint, below its name.
fn endpoint(user: &str, keys: &str) -> String {
    format!("[[endpoint]]\nuser = \"{user}\"\n{keys}\n")
}

#[test]
fn a_registrar_has_sensible_defaults() {
    let config = load("");
    let registrar = &config.registrar;
    assert_eq!((&**registrar.domains.canonical(), &*registrar.realm), ("tandem", "tandem"));
    assert!(registrar.authenticate && config.endpoints.is_empty());
    assert_eq!(registrar.hashes, [Hash::Sha256, Hash::Md5]);
    let rules = &registrar.rules;
    assert_eq!((rules.min_expires.as_secs(), rules.max_contacts), (60, 10));
    assert_eq!((rules.expires.default.as_secs(), rules.expires.max.as_secs()), (300, 3600));
    assert_eq!((rules.nat_expires.as_secs(), rules.keep_alive.as_secs()), (300, 30));
    assert_eq!(registrar.nonce_life, Duration::from_secs(300));
    let suspension = registrar.suspension;
    let seconds = (suspension.window.as_secs(), suspension.time.as_secs());
    assert_eq!((suspension.after, seconds), (10, (60, 300)));
}

#[test]
fn every_key_of_the_registrar_is_read() {
    let config = load(
        "[registrar]\ndomains = [\"SIP.example.com\", \"192.0.2.1\"]\nrealm = \"phones\"\nauthenticate = true\n\
         algorithms = [\"md5\", \"SHA-256\"]\nmin_expires = 90\nmax_contacts = 3\nnonce_life = \"30s\"\n\
         service_route = [\"sip:edge.example.com;lr\"]\nsuspend_after = 5\nsuspend_window = \"10s\"\n\
         suspend_time = \"1h\"\n[parameters]\nSS_ENDPOINT_EXPIRE = \"120,600\"\nSS_ENDPOINT_NAT_EXPIRE = 200\n",
    );
    let registrar = &config.registrar;
    assert_eq!((&**registrar.domains.canonical(), &*registrar.realm), ("sip.example.com", "phones"));
    assert_eq!(registrar.hashes, [Hash::Md5, Hash::Sha256]);
    let rules = &registrar.rules;
    assert_eq!((rules.min_expires.as_secs(), rules.max_contacts), (90, 3));
    assert_eq!((rules.expires.default.as_secs(), rules.expires.max.as_secs()), (120, 600));
    assert_eq!(rules.nat_expires.as_secs(), 200);
    assert_eq!(&*rules.service_route[0], "<sip:edge.example.com;lr>");
    assert_eq!(registrar.nonce_life.as_secs(), 30);
    let suspension = registrar.suspension;
    assert_eq!((suspension.after, suspension.window.as_secs(), suspension.time.as_secs()), (5, 10, 3600));
    let config = load_with("", &[("TANDEM_REGISTRAR__DOMAINS", "a.example, b.example")]);
    assert_eq!(&*config.registrar.realm, "a.example");
}

#[test]
fn an_endpoint_is_known_by_a_password_or_by_stored_hashes() {
    let both = format!("ha1 = {{ md5 = \"{MD5}\", sha256 = \"{SHA256}\" }}");
    let text = [
        "[registrar]\ndomains = [\"example.com\"]".to_owned(),
        endpoint("alice", "password = \"secret\"\nnumber = \"+4420\"\nmapping_gateway = \"customer\""),
        endpoint("bob", &both),
        mapping(""),
    ]
    .join("\n");
    let config = load(&text);
    let alice = config.endpoints.by_user("alice").expect("alice");
    assert_eq!(alice.ha1, Ha1::of_password("alice", "example.com", "secret"));
    assert_eq!(config.endpoints.by_number("+4420").map(|one| &*one.user), Some("alice"));
    assert_eq!(alice.mapping_gateway.as_deref(), Some("customer"));
    let bob = config.endpoints.by_user("bob").expect("bob");
    assert_eq!((bob.ha1.of(Hash::Md5), bob.ha1.of(Hash::Sha256)), (Some(MD5), Some(SHA256)));
    assert!(!format!("{config:?}").contains(MD5), "hashes are as good as passwords");
}

#[test]
fn only_algorithms_that_every_endpoint_has_are_offered_unless_set() {
    let old = endpoint("old", &format!("ha1 = \"{MD5}\""));
    let new = endpoint("new", &format!("ha1 = \"{SHA256}\""));
    let any = endpoint("any", "password = \"x\"");
    assert_eq!(load(&format!("{old}{any}")).registrar.hashes, [Hash::Md5]);
    assert_eq!(load(&format!("{any}{new}")).registrar.hashes, [Hash::Sha256]);
    let message = "tandem.toml:4: endpoint[1].ha1: is missing; needed is a hash of an algorithm that all endpoints have, \
                   or algorithms in [registrar]";
    assert_eq!(errors(&format!("{old}{new}")), [message]);
    let set = "[registrar]\nalgorithms = [\"SHA-256\", \"MD5\"]\n";
    assert_eq!(load(&format!("{set}{old}{new}")).registrar.hashes, [Hash::Sha256, Hash::Md5]);
}

#[test]
fn every_error_of_the_registrar_is_found_with_its_line() {
    let cases = [
        (
            "[registrar]\ndomains = []",
            "tandem.toml:2: registrar.domains: is empty; needed is at least one domain",
        ),
        (
            "[registrar]\ndomains = [\"a b\"]",
            "tandem.toml:2: registrar.domains[0] = \"a b\": is not a domain such as sip.example.com",
        ),
        (
            "[registrar]\nrealm = \"a\\\"b\"",
            "tandem.toml:2: registrar.realm = \"a\\\"b\": is not a realm of 1 to 128 printable characters without quotes",
        ),
        (
            "[registrar]\nalgorithms = [\"SHA-512-256\"]",
            "tandem.toml:2: registrar.algorithms[0] = \"SHA-512-256\": is not SHA-256 or MD5",
        ),
        ("[registrar]\nmin_expires = 0", "tandem.toml:2: registrar.min_expires = 0: out of range 1–86400 s"),
        (
            "[registrar]\nmax_contacts = 0",
            "tandem.toml:2: registrar.max_contacts = 0: out of range 1–50 contacts",
        ),
        (
            "[registrar]\nservice_route = [\"sip:h\"]",
            "tandem.toml:2: registrar.service_route[0] = \"sip:h\": is not a URI such as sip:proxy.example.com;lr",
        ),
        (
            "[registrar]\nnonce_life = \"1s\"",
            "tandem.toml:2: registrar.nonce_life = \"1s\": out of range 10–86400 s",
        ),
        (
            "[registrar]\nmin_expire = 1",
            "tandem.toml:2: registrar.min_expire: unknown key; did you mean min_expires?",
        ),
        (
            "[[endpoint]]\npassword = \"x\"",
            "tandem.toml:1: endpoint[0].user: is missing; needed is a user name",
        ),
        (
            "[[endpoint]]\nuser = \"a@b\"\npassword = \"x\"",
            "tandem.toml:2: endpoint[0].user = \"a@b\": is not a user name of 1 to 64 printable characters without space \
             and @ : \" < > % \\",
        ),
        (
            "[[endpoint]]\nuser = \"a\"",
            "tandem.toml:1: endpoint[0].password: is missing; needed is a password, or ha1",
        ),
        (
            "[[endpoint]]\nuser = \"a\"\nha1 = \"secret\"",
            "tandem.toml:3: endpoint[0].ha1: is not 32 (MD5) or 64 (SHA-256) hexadecimal digits, or { md5 = \"…\", \
             sha256 = \"…\" }",
        ),
        (
            "[[endpoint]]\nuser = \"a\"\npassword = \"x\"\nnumber = \"\"",
            "tandem.toml:4: endpoint[0].number = \"\": is not a number of 1 to 32 digits, '+', '*' or '#'",
        ),
        (
            "[[endpoint]]\nuser = \"a\"\npassword = \"x\"\nmapping_gateway = \"b\"",
            "tandem.toml:4: endpoint[0].mapping_gateway = \"b\": no [[mapping_gateway]] has this name",
        ),
        (
            "[[endpoint]]\nuser = \"a\"\npassword = \"x\"\nha1 = \"12af60467a33e8518da5c68bbff12b11\"",
            "tandem.toml:4: endpoint[0].ha1: is not needed beside a password",
        ),
        (
            "[[endpoint]]\nuser = \"a\"\npassword = \"x\"\n[[endpoint]]\nuser = \"a\"\npassword = \"y\"",
            "tandem.toml:5: endpoint[1].user = \"a\": is the same user as endpoint[0].user",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(errors(text), [message], "{text}");
    }
}

#[test]
fn a_registrar_that_asks_nobody_for_credentials_is_warned_of() {
    let open = format!("[registrar]\nauthenticate = false\n{}", endpoint("a", ""));
    let warning = "registrar.authenticate = false lets everybody register as any endpoint and take its calls";
    assert!(warnings(&open).contains(&warning.to_owned()), "{:?}", warnings(&open));
    assert!(load(&open).endpoints.by_user("a").is_some());
}

#[test]
fn a_hundred_thousand_endpoints_load() {
    let mut text = String::new();
    for number in 0..100_000 {
        writeln!(text, "[[endpoint]]\nuser = \"u{number}\"\npassword = \"p{number}\"\nnumber = \"{number}\"")
            .expect("a string takes any text");
    }
    let config = load(&text);
    assert_eq!(config.endpoints.len(), 100_000);
    assert_eq!(config.endpoints.by_number("99999").map(|one| &*one.user), Some("u99999"));
}
