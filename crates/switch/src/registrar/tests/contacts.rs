//! Bindings, lifetimes, order.

use super::*;

#[test]
fn a_contact_is_bound_for_as_long_as_was_asked() {
    let mut world = World::new();
    let response = world.register(&contact(PHONE, ";expires=120;q=0.5")).expect("200");
    assert_eq!(values(&response, Name::Contact), [format!("<{PHONE}>;expires=120;q=0.500")]);
    assert_eq!(response.first(Name::Date), Some(&b"Thu, 01 Jan 1970 00:16:40 GMT"[..]));
    world.pass(50);
    assert_eq!(world.contacts(""), [format!("<{PHONE}>;expires=70;q=0.500")], "a query tells what is left");
    world.pass(70);
    assert!(world.contacts("").is_empty(), "it has lapsed");
}

#[test]
fn the_lifetime_is_the_contacts_own_or_the_requests_or_the_default() {
    let mut world = World::new();
    let mut granted = |lines: &str| {
        world.contacts(lines);
        world.only().left_s(world.now)
    };
    assert_eq!(granted(&format!("Expires: 100\r\n{}", contact(PHONE, ";expires=200"))), 200);
    assert_eq!(granted(&format!("Expires: 100\r\n{}", contact(PHONE, ""))), 100);
    assert_eq!(granted(&contact(PHONE, "")), 300, "SS_ENDPOINT_EXPIRE, the default");
    assert_eq!(granted(&contact(PHONE, ";expires=86400")), 3600, "SS_ENDPOINT_EXPIRE, the cap");
    assert_eq!(granted(&contact(PHONE, ";expires=99999999999")), 3600);
    assert_eq!(granted(&contact(PHONE, ";expires=soon")), 3600, "RFC 3261 §10.2.1.1");
    assert_eq!(granted(&format!("Expires: soon\r\n{}", contact(PHONE, ""))), 3600);
}

#[test]
fn a_lifetime_that_is_too_short_is_423_with_min_expires() {
    let mut world = World::new();
    let refused = world.register(&contact(PHONE, ";expires=59")).expect_err("too short");
    assert_eq!(refused.status.code(), 423);
    assert_eq!(refused.headers, [(Name::MinExpires, "60".to_owned())]);
    assert!(world.bindings.bindings.is_empty());
    assert_eq!(world.contacts(&contact(PHONE, ";expires=60")).len(), 1);
    assert!(world.contacts(&contact(PHONE, ";expires=0")).is_empty(), "zero is never too short");
}

#[test]
fn behind_a_nat_the_lifetime_is_capped_and_what_was_granted_is_never_too_short() {
    let mut world = World::new();
    world.source = "198.51.100.9:4711".parse().expect("an address");
    world.rules.nat_expires = Duration::from_secs(45);
    for asked in [";expires=3600", "", ";expires=45"] {
        world.contacts(&contact(PHONE, asked));
        assert_eq!(world.only().left_s(world.now), 45, "{asked}");
    }
    assert_eq!(world.refusal(&contact(PHONE, ";expires=44")), 423);
}

#[test]
fn an_endpoint_is_behind_a_nat_if_its_source_differs_from_its_via_or_contact_or_that_is_private() {
    let cases = [
        (HOME, PHONE, false),
        ("192.0.2.7:4711", PHONE, false),
        ("[::ffff:192.0.2.7]:5060", PHONE, false),
        (HOME, "sip:alice@phone.example.com", false),
        ("198.51.100.9:5060", PHONE, true),
        ("198.51.100.9:5060", "sip:alice@phone.example.com", true),
        (HOME, "sip:alice@192.0.2.8", true),
        (HOME, "sip:alice@192.168.1.5", true),
        (HOME, "sip:alice@100.64.1.5", true),
        (HOME, "sip:alice@[fd00::1]", true),
    ];
    for (source, uri, nat) in cases {
        let mut world = World::new();
        world.source = source.parse().expect("an address");
        world.contacts(&contact(uri, ""));
        assert_eq!(world.only().nat, nat, "{source} {uri}");
        assert_eq!(world.only().flow.remote, world.source, "the source is what it is reached at");
    }
}

#[test]
fn several_contacts_are_bound_each_with_its_own_q() {
    let mut world = World::new();
    let lines =
        "Contact: <sip:a@192.0.2.7>;q=1, <sip:b@192.0.2.7>;q=0.25\r\nContact: sip:c@192.0.2.7;q=0\r\n";
    assert_eq!(world.contacts(lines).len(), 3);
    let q: Vec<_> = world.bindings.bindings.iter().map(|binding| binding.q).collect();
    assert_eq!(q, [1000, 250, 0]);
    assert_eq!(world.contacts("Contact: <sip:b@192.0.2.7>;expires=0\r\n").len(), 2);
}

#[test]
fn contacts_are_the_same_as_rfc_3261_19_1_4_says() {
    let mut world = World::new();
    let _ = world.contacts(&contact("sip:alice@Phone.example.com;transport=UDP", ""));
    world.pass(10);
    let _ = world.contacts(&contact("sip:%61lice@phone.EXAMPLE.com;transport=udp;x=1", ";q=0.1"));
    let binding = world.only();
    assert_eq!((binding.q, binding.registered, binding.refreshed), (100, Wall(1_000_000), Wall(1_010_000)));
    assert_eq!(
        world.contacts(&contact("sip:alice@phone.example.com", "")).len(),
        2,
        "transport tells them apart"
    );
}

#[test]
fn a_star_removes_all_bindings_but_only_alone_and_with_expires_0() {
    let mut world = World::new();
    let _ = world.contacts(&contact(PHONE, ""));
    let _ = world.contacts(&contact("sip:alice@192.0.2.7:5070", ""));
    for lines in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: *, <sip:a@192.0.2.7>\r\nExpires: 0\r\n",
        "Contact: <sip:a@192.0.2.7>\r\nContact: *\r\nExpires: 0\r\n",
        "Contact: *\r\nContact: *\r\nExpires: 0\r\n",
    ] {
        assert_eq!(world.refusal(lines), 400, "{lines}");
    }
    assert!(world.contacts("Contact: *\r\nExpires: 0\r\n").is_empty());
    assert!(world.contacts("Contact: *\r\nExpires: 0\r\n").is_empty(), "none is as good");
}

#[test]
fn a_request_that_was_overtaken_is_500_and_changes_nothing() {
    let mut world = World::new();
    world.cseq = 10;
    let _ = world.contacts(&contact(PHONE, ""));
    world.cseq = 4;
    for lines in [contact(PHONE, ""), contact(PHONE, ";expires=0"), "Contact: *\r\nExpires: 0\r\n".to_owned()]
    {
        assert_eq!(world.refusal(&lines), 500, "{lines}");
    }
    // One late contact keeps the others of its request from being bound.
    assert_eq!(world.refusal(&format!("{}{}", contact("sip:new@192.0.2.7", ""), contact(PHONE, ""))), 500);
    let other = register_as(1, "after-a-restart", &contact(PHONE, ";expires=0"));
    assert!(world.send(&other).is_ok(), "another Call-ID has an order of its own");
    assert!(world.bindings.bindings.is_empty());
}

#[test]
fn a_repeated_request_is_answered_as_before_and_prolongs_nothing() {
    let mut world = World::new();
    let request = register(7, &contact(PHONE, ";expires=120"));
    assert!(world.send(&request).is_ok());
    let before = world.bindings.clone();
    world.pass(1);
    assert_eq!(
        values(&world.send(&request).expect("200"), Name::Contact),
        [format!("<{PHONE}>;expires=119")]
    );
    assert_eq!(world.bindings, before);
    world.source = "198.51.100.66:5060".parse().expect("an address");
    let copied = world.send(&request).expect_err("a copy from elsewhere");
    assert_eq!((copied.status.code(), &world.bindings), (500, &before));
}

#[test]
fn an_address_of_record_has_at_most_so_many_contacts() {
    let mut world = World::new();
    for number in 0..3 {
        let _ = world.contacts(&contact(&format!("sip:{number}@192.0.2.7"), ""));
    }
    assert_eq!(world.refusal(&contact("sip:3@192.0.2.7", "")), 403);
    assert_eq!(world.contacts(&contact("sip:2@192.0.2.7", "")).len(), 3, "known ones are refreshed");
    let swap = format!("{}{}", contact("sip:0@192.0.2.7", ";expires=0"), contact("sip:3@192.0.2.7", ""));
    assert_eq!(world.contacts(&swap).len(), 3);
    let many: String = (0..4).map(|number| contact(&format!("sip:{number}@192.0.2.7"), "")).collect();
    assert_eq!(world.refusal(&many), 403);
}

#[test]
fn what_cannot_be_kept_is_400() {
    let mut world = World::new();
    let long = format!("sip:{}@192.0.2.7", "a".repeat(MAX_CONTACT_LEN));
    for lines in [
        contact(&long, ""),
        contact("tel:+4420", ""),
        contact("mailto:alice@example.com", ""),
        "Contact: <sip:\r\n".to_owned(),
        "Contact: <sip:@h>\r\n".to_owned(),
        contact(PHONE, &format!(";+sip.instance=\"<{}>\"", "x".repeat(300))),
        format!("Supported: path\r\nPath: <sip:{}>\r\n{}", "p".repeat(600), contact(PHONE, "")),
        format!("Supported: path\r\nPath: nonsense\r\n{}", contact(PHONE, "")),
        format!("Supported: path\r\nPath: {}<sip:p9;lr>\r\n{}", "<sip:p;lr>,".repeat(8), contact(PHONE, "")),
    ] {
        assert_eq!(world.refusal(&lines), 400, "{lines}");
    }
}

#[test]
fn a_secure_address_of_record_takes_secure_contacts_only() {
    let mut world = World::new();
    let secure = |lines: &str| {
        let text = String::from_utf8(register(1, lines).raw().to_vec()).expect("text");
        let text = text.replace("To: <sip:", "To: <sips:");
        Message::parse(text.into(), &Limits::default()).expect("a request")
    };
    let refused = world.send(&secure(&contact(PHONE, ""))).expect_err("not secure");
    assert_eq!(refused.status.code(), 400);
    assert!(world.send(&secure(&contact("sips:alice@192.0.2.7", ""))).is_ok());
}

#[test]
fn path_is_kept_and_told_to_who_knows_it() {
    let mut world = World::new();
    world.source = "198.51.100.5:5060".parse().expect("the proxy");
    let path = "Path: <sip:p2.example.com;lr>\r\nPath: <sip:p1.example.com;lr>\r\n";
    let refused = world.register(&format!("{path}{}", contact(PHONE, ""))).expect_err("it would not know");
    let told = [
        (Name::Unsupported, "path"),
        (Name::Path, "<sip:p2.example.com;lr>"),
        (Name::Path, "<sip:p1.example.com;lr>"),
    ];
    let told = told.map(|(name, value)| (name, value.to_owned())).to_vec();
    assert_eq!((refused.status.code(), refused.headers), (420, told));
    let lines = format!("Supported: path\r\n{path}{}", contact(PHONE, ""));
    let response = world.register(&lines).expect("200");
    let paths = ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"];
    assert_eq!(values(&response, Name::Path), paths);
    let binding = world.only();
    assert!(binding.path.iter().map(|path| &**path).eq(paths));
    assert!(!binding.nat, "behind a proxy its own address is not seen");
}

#[test]
fn the_service_route_is_told_in_its_order() {
    let mut world = World::new();
    world.rules.service_route = ["<sip:a;lr>", "<sip:b;lr>"].map(Into::into).to_vec();
    let response = world.register(&contact(PHONE, "")).expect("200");
    assert_eq!(values(&response, Name::ServiceRoute), ["<sip:a;lr>", "<sip:b;lr>"]);
}

#[test]
fn bindings_are_taken_away_by_hand() {
    let mut world = World::new();
    let _ = world.contacts("Contact: <sip:a@192.0.2.7>\r\nContact: <sip:b@192.0.2.7>;expires=60\r\n");
    assert_eq!(world.bindings.first_expiry(), Some(Wall(1_060_000)));
    assert_eq!(world.bindings.last_expiry(), Some(Wall(1_300_000)));
    assert_eq!(world.bindings.remove(Some("sip:c@192.0.2.7")), 0);
    assert_eq!(world.bindings.remove(Some("sip:a@192.0.2.7")), 1);
    assert_eq!(world.bindings.remove(None), 1);
    assert_eq!(world.bindings.first_expiry(), None);
}
