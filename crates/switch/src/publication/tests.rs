//! The life of a publication, rule by rule (RFC 3903 §6).

use super::pidf::{Basic, CAPACITY, PIDF};
use super::*;
use tandem_sip::Limits;

const HOUR: Duration = Duration::from_secs(3600);

fn pidf(basic: &str, capacity: &str) -> String {
    format!(
        "<presence xmlns=\"{PIDF}\" entity=\"sip:vendor@h\"><tuple id=\"1\"><status><basic>{basic}</basic>{capacity}\
         </status></tuple></presence>"
    )
}

/// A PUBLISH with these header lines; a body has a line with its type.
fn request(lines: &[&str], body: &str) -> Message {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let text = format!(
        "PUBLISH sip:vendor@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:vendor@h>;tag=1\r\n\
         To: <sip:vendor@h>\r\nCall-ID: 1\r\nCSeq: 1 PUBLISH\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Message::parse(text.into(), &Limits::default()).expect("a PUBLISH")
}

const EVENT: &str = "Event: presence";
const TYPE: &str = "Content-Type: application/pidf+xml";

/// A gateway that publishes; each time stands a second after the one before.
struct Publisher {
    now_s: u64,
    current: Option<Publication>,
    tags: u32,
}

impl Publisher {
    fn new() -> Self {
        Self { now_s: 1_000_000, current: None, tags: 0 }
    }

    fn try_publish(&mut self, lines: &[&str], body: &str) -> Result<Publication, (u16, Option<String>)> {
        self.now_s += 1;
        self.tags += 1;
        let etag = format!("tag{}", self.tags).into();
        let now = Wall(self.now_s * 1000);
        let request = request(lines, body);
        let result = publish(&request, self.current.as_ref(), HOUR, now, etag);
        if let Ok(publication) = &result {
            self.current = Some(publication.clone());
        }
        let address = "192.0.2.1:5060".parse().expect("an address");
        result.map_err(|refused| {
            let response = Message::parse(refused.response(&request, address, "t"), &Limits::default());
            let response = response.expect("a response");
            let asked = [Name::AllowEvents, Name::MinExpires, Name::Accept, Name::AcceptEncoding]
                .iter()
                .find_map(|name| response.first(*name))
                .map(|value| String::from_utf8_lossy(value).into_owned());
            (refused.status.code(), asked)
        })
    }

    fn publishes(&mut self, lines: &[&str], body: &str) -> Publication {
        self.try_publish(lines, body).unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    fn refused(&mut self, lines: &[&str], body: &str) -> u16 {
        let before = self.current.clone();
        let refused = self.try_publish(lines, body).expect_err("a refusal").0;
        assert_eq!(self.current, before);
        refused
    }

    fn matching(&self) -> String {
        format!("SIP-If-Match: {}", self.current.as_ref().expect("a publication").etag)
    }

    fn standing(&self) -> Standing {
        self.current.as_ref().expect("a publication").standing(Wall(self.now_s * 1000))
    }
}

#[test]
fn a_publication_is_made_refreshed_modified_and_removed() {
    let mut gateway = Publisher::new();
    let made = gateway.publishes(&[EVENT, TYPE, "Expires: 600"], &pidf("open", ""));
    assert_eq!((made.basic, made.granted_s(), gateway.standing()), (Basic::Open, 600, Standing::Alive));
    let matching = gateway.matching();
    let refreshed = gateway.publishes(&[EVENT, &matching, "Expires: 300"], "");
    assert_eq!((refreshed.basic, refreshed.granted_s()), (Basic::Open, 300));
    assert_eq!((refreshed.since, &refreshed.body), (made.since, &made.body));
    let matching = gateway.matching();
    let modified = gateway.publishes(&[EVENT, TYPE, &matching], &pidf("closed", ""));
    assert_eq!((modified.basic, modified.since), (Basic::Closed, made.since));
    let matching = gateway.matching();
    let removed = gateway.publishes(&[EVENT, &matching, "Expires: 0"], "");
    assert_eq!((removed.granted_s(), gateway.standing()), (0, Standing::Removed));
    let tags = [&made.etag, &refreshed.etag, &modified.etag, &removed.etag];
    assert!(tags.windows(2).all(|two| two[0] != two[1]), "another tag each time: {tags:?}");
    assert_eq!(gateway.refused(&[EVENT, &gateway.matching()], ""), 412, "it is gone");
}

#[test]
fn an_unknown_sip_if_match_gets_412() {
    let mut gateway = Publisher::new();
    assert_eq!(gateway.refused(&[EVENT, "SIP-If-Match: tag1"], ""), 412, "nothing was published");
    let old = {
        gateway.publishes(&[EVENT, TYPE], &pidf("open", ""));
        gateway.matching()
    };
    let matching = gateway.matching();
    gateway.publishes(&[EVENT, &matching], "");
    assert_eq!(gateway.refused(&[EVENT, &old], ""), 412, "it was replaced");
    gateway.now_s += 3600;
    assert_eq!(gateway.standing(), Standing::Lapsed);
    let matching = gateway.matching();
    assert_eq!(gateway.refused(&[EVENT, &matching], ""), 412, "it has lapsed");
    assert_eq!(gateway.refused(&[EVENT, "SIP-If-Match: a, b"], ""), 400, "one at a time");
}

#[test]
fn ss_sip_publish_expire_caps_the_lifetime_and_less_than_30_s_gets_423() {
    let mut gateway = Publisher::new();
    let open = pidf("open", "");
    let mut granted =
        |lines: &[&str]| gateway.publishes(&[&[EVENT, TYPE], lines].concat(), &open).granted_s();
    assert_eq!(granted(&[]), 3600, "none asked for");
    assert_eq!(granted(&["Expires: 7200"]), 3600);
    assert_eq!(granted(&["Expires: 30"]), 30);
    let brief = gateway.try_publish(&[EVENT, TYPE, "Expires: 29"], &open);
    assert_eq!(brief, Err((423, Some("30".to_owned()))));
    assert_eq!(gateway.refused(&[EVENT, TYPE, "Expires: soon"], &open), 400);
}

#[test]
fn other_event_packages_get_489_with_allow_events() {
    let mut gateway = Publisher::new();
    for lines in [&[TYPE][..], &["Event: dialog", TYPE]] {
        let refused = gateway.try_publish(lines, &pidf("open", ""));
        assert_eq!(refused, Err((489, Some("presence".to_owned()))));
    }
    assert_eq!(gateway.refused(&["Event: ;", TYPE], &pidf("open", "")), 400);
}

#[test]
fn bodies_that_cannot_be_read_are_refused() {
    let mut gateway = Publisher::new();
    let open = pidf("open", "");
    assert_eq!(gateway.refused(&[EVENT], ""), 400, "an initial publication has a body");
    assert_eq!(gateway.try_publish(&[EVENT], &open), Err((415, Some("application/pidf+xml".to_owned()))));
    let packed = gateway.try_publish(&[EVENT, TYPE, "Content-Encoding: gzip"], &open);
    assert_eq!(packed, Err((415, Some("identity".to_owned()))));
    assert_eq!(gateway.refused(&[EVENT, TYPE], "<presence"), 400);
    assert_eq!(gateway.refused(&[EVENT, TYPE], &"x".repeat(MAX_BODY_BYTES + 1)), 413);
    assert_eq!(gateway.refused(&[EVENT, TYPE, "Require: magic"], &open), 420);
}

#[test]
fn another_body_is_kept_and_leaves_the_state_as_it_was() {
    let opaque = "Content-Type: application/x-load";
    let mut gateway = Publisher::new();
    let first = gateway.publishes(&[EVENT, opaque], "load=12");
    assert_eq!((first.basic, &first.body[..]), (Basic::Open, &b"load=12"[..]), "whoever publishes lives");
    let capacity = format!("<c:capacity xmlns:c=\"{CAPACITY}\">7</c:capacity>");
    gateway.publishes(&[EVENT, TYPE], &pidf("closed", ""));
    assert_eq!(gateway.publishes(&[EVENT, opaque], "load=13").basic, Basic::Closed);
    let limited = gateway.publishes(&[EVENT, TYPE], &pidf("open", &capacity));
    assert_eq!((limited.basic, limited.capacity), (Basic::Open, Some(7)));
    let matching = gateway.matching();
    let loaded = gateway.publishes(&[EVENT, &matching, opaque], "load=14");
    assert_eq!(
        (loaded.basic, loaded.capacity, &*loaded.content_type),
        (Basic::Open, Some(7), "application/x-load")
    );
    let matching = gateway.matching();
    assert_eq!(gateway.publishes(&[EVENT, &matching, TYPE], &pidf("open", "")).capacity, None);
}

#[test]
fn a_publication_without_sip_if_match_takes_the_place_of_the_one_before() {
    let mut gateway = Publisher::new();
    gateway.publishes(&[EVENT, TYPE, "Expires: 3600"], &pidf("open", ""));
    let old = gateway.matching();
    let again = gateway.publishes(&[EVENT, TYPE, "Expires: 60"], &pidf("open", ""));
    assert_eq!((again.since, again.granted_s()), (again.refreshed, 60));
    assert_eq!(gateway.refused(&[EVENT, &old], ""), 412);
    gateway.publishes(&[EVENT, "Expires: 0"], "");
    assert_eq!(gateway.standing(), Standing::Removed);
}
