//! Addresses of record, and what is checked before anybody is asked who they are.

use super::*;
use tandem_sip::Uri;

fn domains() -> Domains {
    Domains::new(&["Example.com".to_owned(), "sip.example.net".to_owned(), "192.0.2.9".to_owned()], "tandem")
}

fn is_ours(address: IpAddr) -> bool {
    address == IpAddr::from([192, 0, 2, 1])
}

fn aor(uri: &str) -> Option<String> {
    let uri = Uri::parse(uri.as_bytes()).expect("a URI");
    domains().aor_of(&uri, is_ours).map(|aor| aor.to_string())
}

#[test]
fn an_address_of_record_is_canonical_whatever_names_it() {
    for uri in [
        "sip:alice@example.com",
        "sips:%61lice@EXAMPLE.com:5061;transport=tls",
        "sip:alice@sip.example.net.",
        "sip:alice@192.0.2.1:5060",
        "sip:alice@192.0.2.9",
    ] {
        assert_eq!(aor(uri).as_deref(), Some("alice@example.com"), "{uri}");
    }
    for uri in ["sip:Alice@example.com", "sip:alice%40home@example.com"] {
        assert_ne!(aor(uri).as_deref(), Some("alice@example.com"), "{uri}");
    }
    for uri in
        ["sip:alice@example.org", "sip:alice@192.0.2.2", "sip:example.com", "tel:+44", "sip:%00@example.com"]
    {
        assert_eq!(aor(uri), None, "{uri}");
    }
    assert_eq!(aor(&format!("sip:{}@example.com", "a".repeat(MAX_AOR_LEN))), None);
    let home = Aor::parse("alice@home@example.com").expect("an address");
    assert_eq!(home.user(), "alice@home");
    assert_eq!(Aor::parse("alice"), None);
}

#[test]
fn without_domains_the_clusters_name_is_the_domain() {
    let domains = Domains::new(&[], "Tandem");
    let of = |uri: &str| {
        let uri = Uri::parse(uri.as_bytes()).expect("a URI");
        domains.aor_of(&uri, is_ours).map(|aor| aor.to_string())
    };
    assert_eq!(of("sip:alice@192.0.2.1").as_deref(), Some("alice@tandem"));
    assert_eq!(of("sip:alice@tandem").as_deref(), Some("alice@tandem"));
    assert_eq!(of("sip:alice@example.com"), None);
}

/// What becomes of a REGISTER in which `from` is `to`.
fn screened(from: &str, to: &str) -> Result<String, (u16, Vec<(Name, String)>)> {
    let text = String::from_utf8(register(1, "").raw().to_vec()).expect("text");
    let request = Message::parse(text.replace(from, to).into(), &Limits::default()).expect("a request");
    let aor = screen_register(&request, &domains(), is_ours);
    aor.map(|aor| aor.to_string()).map_err(|refused| (refused.status.code(), refused.headers))
}

#[test]
fn a_register_is_screened_before_its_sender_is_known() {
    assert_eq!(screened("", ""), Ok("alice@example.com".to_owned()));
    assert_eq!(screened("REGISTER sip:example.com", "REGISTER sip:example.org"), Err((404, vec![])));
    assert_eq!(screened("REGISTER sip:example.com", "REGISTER tel:+4420"), Err((416, vec![])));
    assert_eq!(screened("To: <sip:alice@example.com>", "To: <sip:alice@example.org>"), Err((404, vec![])));
    assert_eq!(screened("To: <sip:alice@example.com>", "To: <tel:+4420>"), Err((404, vec![])));
    let unsupported = vec![(Name::Unsupported, "gruu".to_owned())];
    assert_eq!(screened("Content-", "Require: path, gruu\r\nContent-"), Err((420, unsupported)));
    assert!(screened("Content-", "Require: path, outbound\r\nContent-").is_ok());
}
