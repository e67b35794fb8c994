//! RFC 3263 §4 by its clauses: zones as tables, and where URIs lead in them.

use super::*;
use crate::draw::Draw;
use std::collections::BTreeMap;
use std::net::SocketAddr;

const TTL: Duration = Duration::from_secs(600);

/// What a DNS would say. Names that are not there do not exist.
#[derive(Default)]
struct Zone {
    answers: BTreeMap<Query, Answer>,
}

impl Zone {
    fn says(mut self, name: &str, kind: QueryKind, answer: Answer) -> Self {
        self.answers.insert(Query { name: name.to_owned(), kind }, answer);
        self
    }

    fn has(self, name: &str, kind: QueryKind, records: Vec<Record>) -> Self {
        self.says(name, kind, Answer::Records { records, ttl: TTL })
    }

    fn a(self, name: &str, lasts: &[u8]) -> Self {
        let record = |last: &u8| Record::Address(IpAddr::from([192, 0, 2, *last]));
        self.has(name, QueryKind::A, lasts.iter().map(record).collect())
    }

    fn aaaa(self, name: &str, address: &str) -> Self {
        let address = address.parse().expect("an address");
        self.has(name, QueryKind::Aaaa, vec![Record::Address(address)])
    }

    fn srv(self, name: &str, records: &[(u16, u16, u16, &str)]) -> Self {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| Record::Srv {
            priority: *priority,
            weight: *weight,
            port: *port,
            target: (*target).to_owned(),
        };
        self.has(name, QueryKind::Srv, records.iter().map(record).collect())
    }

    fn naptr(self, name: &str, records: &[(u16, u16, &str, &str, &str)]) -> Self {
        let record =
            |(order, preference, flags, service, replacement): &(u16, u16, &str, &str, &str)| Record::Naptr {
                order: *order,
                preference: *preference,
                flags: (*flags).to_owned(),
                service: (*service).to_owned(),
                replacement: (*replacement).to_owned(),
            };
        self.has(name, QueryKind::Naptr, records.iter().map(record).collect())
    }

    fn alias(self, name: &str, kind: QueryKind, other: &str) -> Self {
        self.says(name, kind, Answer::Alias { name: other.to_owned(), ttl: TTL })
    }

    fn fails(self, name: &str, kind: QueryKind) -> Self {
        self.says(name, kind, Answer::Failed)
    }

    fn answer(&self, query: &Query) -> Answer {
        self.answers.get(query).cloned().unwrap_or(Answer::Empty { ttl: Duration::from_secs(60) })
    }

    /// Where a URI leads, for how long, and what was asked on the way.
    fn locate(
        &self,
        wanted: Wanted,
        offers: &Offers,
    ) -> (Result<Located, LocateError>, Duration, Vec<Query>) {
        let (mut locator, mut step) = Locator::start(wanted, offers.clone());
        let (mut queue, mut asked) = (Vec::new(), Vec::new());
        loop {
            match step {
                Step::Done(result, valid_for) => return (result, valid_for, asked),
                Step::Ask(queries) => queue.extend(queries),
            }
            let query: Query = queue.pop().expect("a locator that waits has asked something");
            asked.push(query.clone());
            assert!(asked.len() <= MAX_QUESTIONS, "{asked:?}");
            step = locator.on_answer(&query, &self.answer(&query));
        }
    }

    fn leads_to(&self, wanted: Wanted, offers: &Offers) -> Result<Vec<String>, LocateError> {
        self.locate(wanted, offers).0.map(|located| {
            located.targets(1).iter().map(|target| named(target.transport, target.address)).collect()
        })
    }
}

fn named(transport: Transport, address: SocketAddr) -> String {
    format!("{} {address}", transport.via_name())
}

fn name() -> Wanted {
    Wanted::new("example.com", None, None)
}

fn over(transport: Transport) -> Wanted {
    Wanted::new("example.com", None, Some(transport))
}

fn all() -> Offers {
    let transports = [Transport::Udp, Transport::Tcp, Transport::Tls];
    transports.into_iter().flat_map(|transport| [(transport, Family::V4), (transport, Family::V6)]).collect()
}

fn udp() -> Offers {
    [(Transport::Udp, Family::V4)].into_iter().collect()
}

#[test]
fn a_numeric_host_is_taken_as_it_is() {
    let zone = Zone::default();
    for (wanted, target) in [
        (Wanted::new("192.0.2.1", None, None), "UDP 192.0.2.1:5060"),
        (Wanted::new("192.0.2.1", Some(5080), None), "UDP 192.0.2.1:5080"),
        (Wanted::new("192.0.2.1", None, Some(Transport::Tcp)), "TCP 192.0.2.1:5060"),
        (Wanted::new("192.0.2.1", None, Some(Transport::Tls)), "TLS 192.0.2.1:5061"),
        (Wanted::new("[2001:db8::1]", None, None).secured(), "TLS [2001:db8::1]:5061"),
    ] {
        let (result, _, asked) = zone.locate(wanted, &all());
        let targets = result.expect("a target").targets(0);
        assert_eq!(named(targets[0].transport, targets[0].address), target);
        assert!(targets.len() == 1 && asked.is_empty());
    }
    let v6 = Wanted::new("2001:db8::1", None, None);
    assert_eq!(zone.leads_to(v6, &udp()), Err(LocateError::NoTransport));
}

#[test]
fn a_port_leaves_only_addresses_to_ask_for() {
    let zone = Zone::default().a("example.com", &[1]).srv("_sip._udp.example.com", &[(1, 1, 5090, "other")]);
    let (result, _, asked) = zone.locate(Wanted::new("example.com", Some(5080), None), &udp());
    assert_eq!(result.expect("a target").targets(0)[0].address.to_string(), "192.0.2.1:5080");
    assert_eq!(asked, [Query { name: "example.com".into(), kind: QueryKind::A }]);
}

#[test]
fn naptr_decides_the_transport_by_order_then_preference() {
    let zone = Zone::default()
        .naptr(
            "example.com",
            &[
                (50, 50, "s", "SIPS+D2T", "_sips._tcp.example.com."),
                (90, 10, "s", "SIP+D2T", "_sip._tcp.example.com."),
                (90, 50, "S", "sip+d2u", "_sip._udp.example.com."),
                (100, 50, "s", "SIP+D2U", "_sip._udp.spare.example.com."),
            ],
        )
        .srv("_sips._tcp.example.com", &[(1, 1, 5061, "tls.example.com.")])
        .srv("_sip._tcp.example.com", &[(1, 1, 5062, "tcp.example.com.")])
        .srv("_sip._udp.example.com", &[(1, 1, 5063, "udp.example.com.")])
        .a("tls.example.com", &[1])
        .a("tcp.example.com", &[2])
        .a("udp.example.com", &[3]);
    assert_eq!(zone.leads_to(name(), &all()).expect("targets"), ["TLS 192.0.2.1:5061"]);
    let plain: Offers = [(Transport::Udp, Family::V4), (Transport::Tcp, Family::V4)].into_iter().collect();
    // The lowest order of those that we have counts; all of it, and nothing else.
    let both = ["TCP 192.0.2.2:5062", "UDP 192.0.2.3:5063"];
    assert_eq!(zone.leads_to(name(), &plain).expect("targets"), both);
    assert_eq!(zone.leads_to(name(), &udp()).expect("targets"), ["UDP 192.0.2.3:5063"]);
    assert_eq!(zone.leads_to(name().secured(), &all()).expect("targets"), ["TLS 192.0.2.1:5061"]);
}

#[test]
fn sips_takes_no_other_service_than_sips() {
    let zone = Zone::default()
        .naptr("example.com", &[(1, 1, "s", "SIP+D2T", "_sip._tcp.example.com")])
        .srv("_sip._tcp.example.com", &[(1, 1, 5060, "tcp.example.com")])
        .a("tcp.example.com", &[1])
        .a("example.com", &[9]);
    assert_eq!(zone.leads_to(name().secured(), &all()).expect("targets"), ["TLS 192.0.2.9:5061"]);
    let udp_only = over(Transport::Udp).secured();
    assert_eq!(zone.leads_to(udp_only, &all()), Err(LocateError::NoTransport));
}

#[test]
fn naptr_records_of_other_services_flags_or_without_replacement_are_passed_over() {
    let zone = Zone::default()
        .naptr(
            "example.com",
            &[
                (1, 1, "u", "E2U+sip", "."),
                (2, 1, "s", "SIP+D2S", "_sip._sctp.example.com"),
                (3, 1, "a", "SIP+D2U", "host.example.com"),
                (4, 1, "s", "SIP+D2U", "."),
                (5, 1, "s", "SIP+D2U", "_sip._udp.other.example"),
            ],
        )
        .srv("_sip._udp.other.example", &[(1, 1, 5070, "h.other.example")])
        .a("h.other.example", &[1]);
    assert_eq!(zone.leads_to(name(), &all()).expect("targets"), ["UDP 192.0.2.1:5070"]);
}

#[test]
fn without_naptr_srv_is_asked_for_each_transport_and_udp_is_preferred() {
    let zone = Zone::default()
        .srv("_sip._udp.example.com", &[(1, 1, 5060, "u.example.com")])
        .srv("_sip._tcp.example.com", &[(1, 1, 5060, "t.example.com")])
        .a("u.example.com", &[1])
        .a("t.example.com", &[2]);
    let (result, _, asked) = zone.locate(name(), &all());
    let targets = result.expect("targets").targets(0);
    assert_eq!((targets.len(), targets[0].transport), (1, Transport::Udp));
    let asked: Vec<_> =
        asked.iter().filter(|query| query.kind == QueryKind::Srv).map(|query| query.name.as_str()).collect();
    assert_eq!(asked.len(), 3);
    assert!(asked.contains(&"_sips._tcp.example.com"));
    let only_tcp = Zone::default()
        .srv("_sip._tcp.example.com", &[(1, 1, 5060, "t.example.com")])
        .a("t.example.com", &[2]);
    assert_eq!(only_tcp.leads_to(name(), &all()).expect("targets"), ["TCP 192.0.2.2:5060"]);
}

#[test]
fn a_transport_that_is_given_is_asked_for_alone() {
    let zone = Zone::default()
        .naptr("example.com", &[(1, 1, "s", "SIP+D2U", "_sip._udp.example.com")])
        .srv("_sip._tcp.example.com", &[(1, 1, 5075, "t.example.com")])
        .a("t.example.com", &[2]);
    let (result, _, asked) = zone.locate(over(Transport::Tcp), &all());
    assert_eq!(result.expect("targets").targets(0)[0].address.to_string(), "192.0.2.2:5075");
    assert_eq!(asked[0], Query { name: "_sip._tcp.example.com".into(), kind: QueryKind::Srv });
    assert_eq!(zone.leads_to(over(Transport::Tls), &udp()), Err(LocateError::NoTransport));
}

#[test]
fn without_srv_the_host_itself_is_it_at_the_default_port() {
    let zone = Zone::default().a("example.com", &[1]).aaaa("example.com", "2001:db8::1");
    assert_eq!(zone.leads_to(name(), &udp()).expect("a target"), ["UDP 192.0.2.1:5060"]);
    let tls = zone.leads_to(over(Transport::Tls), &all()).expect("targets");
    assert_eq!(tls, ["TLS [2001:db8::1]:5061", "TLS 192.0.2.1:5061"]);
    let (_, _, asked) = zone.locate(name(), &udp());
    let kinds: Vec<_> = asked.iter().map(|query| query.kind).collect();
    assert_eq!(kinds, [QueryKind::Naptr, QueryKind::Srv, QueryKind::A]);
}

#[test]
fn srv_gives_hosts_by_priority_with_their_ports() {
    let zone = Zone::default()
        .srv("_sip._udp.example.com", &[(20, 0, 5070, "b.example.com"), (10, 0, 5080, "A.example.com")])
        .a("a.example.com", &[1])
        .a("b.example.com", &[2]);
    let targets = zone.leads_to(over(Transport::Udp), &udp()).expect("targets");
    assert_eq!(targets, ["UDP 192.0.2.1:5080", "UDP 192.0.2.2:5070"]);
}

#[test]
fn an_srv_target_of_a_dot_means_that_there_is_no_such_service() {
    let zone = Zone::default().srv("_sip._udp.example.com", &[(0, 0, 0, ".")]).a("example.com", &[1]);
    assert_eq!(zone.leads_to(name(), &udp()), Err(LocateError::NotOffered));
    // Another transport may be offered all the same.
    let zone = zone.srv("_sip._tcp.example.com", &[(0, 0, 5060, "t.example.com")]).a("t.example.com", &[2]);
    assert_eq!(zone.leads_to(name(), &all()).expect("targets"), ["TCP 192.0.2.2:5060"]);
}

#[test]
fn hosts_without_address_are_left_out() {
    let zone = Zone::default()
        .srv("_sip._udp.example.com", &[(1, 0, 5060, "gone.example.com"), (2, 0, 5060, "b.example.com")])
        .a("b.example.com", &[2]);
    assert_eq!(zone.leads_to(name(), &udp()).expect("targets"), ["UDP 192.0.2.2:5060"]);
    assert_eq!(Zone::default().leads_to(name(), &udp()), Err(LocateError::NoAddress));
}

#[test]
fn families_are_those_that_the_listeners_have() {
    let zone = Zone::default().a("example.com", &[1]).aaaa("example.com", "2001:db8::1");
    let v6: Offers = [(Transport::Udp, Family::V6)].into_iter().collect();
    assert_eq!(zone.leads_to(name(), &v6).expect("a target"), ["UDP [2001:db8::1]:5060"]);
    let (_, _, asked) = zone.locate(name(), &v6);
    assert!(asked.iter().all(|query| query.kind != QueryKind::A));
}

#[test]
fn addresses_that_nobody_can_send_to_are_left_out() {
    let addresses = ["0.0.0.0", "224.0.0.1", "192.0.2.1"]
        .map(|address| Record::Address(address.parse().expect("an address")));
    let zone = Zone::default().has("example.com", QueryKind::A, addresses.to_vec());
    assert_eq!(zone.leads_to(name(), &udp()).expect("a target"), ["UDP 192.0.2.1:5060"]);
}

#[test]
fn aliases_are_followed_and_loops_end() {
    let zone = Zone::default()
        .alias("_sip._udp.example.com", QueryKind::Srv, "_sip._udp.Host.example.")
        .srv("_sip._udp.host.example", &[(1, 1, 5060, "a.example.com")])
        .alias("a.example.com", QueryKind::A, "b.example.com")
        .alias("b.example.com", QueryKind::A, "c.example.com")
        .a("c.example.com", &[3]);
    assert_eq!(zone.leads_to(name(), &udp()).expect("a target"), ["UDP 192.0.2.3:5060"]);
    let looped = Zone::default().alias("example.com", QueryKind::A, "www.example.com").alias(
        "www.example.com",
        QueryKind::A,
        "example.com",
    );
    let (result, _, asked) = looped.locate(name(), &udp());
    assert_eq!(result, Err(LocateError::Unanswered));
    assert!(asked.len() <= 3 + usize::from(MAX_ALIASES), "{asked:?}");
}

#[test]
fn two_names_of_one_alias_ask_for_it_once() {
    let zone = Zone::default()
        .srv("_sip._udp.example.com", &[(1, 0, 5060, "a.example.com"), (2, 0, 5070, "b.example.com")])
        .alias("a.example.com", QueryKind::A, "c.example.com")
        .alias("b.example.com", QueryKind::A, "c.example.com")
        .a("c.example.com", &[3]);
    let targets = zone.leads_to(name(), &udp()).expect("targets");
    assert_eq!(targets, ["UDP 192.0.2.3:5060", "UDP 192.0.2.3:5070"]);
}

#[test]
fn naptr_that_is_not_answered_leaves_srv_to_be_asked() {
    let zone = Zone::default()
        .fails("example.com", QueryKind::Naptr)
        .srv("_sip._udp.example.com", &[(1, 0, 5060, "a.example.com")])
        .a("a.example.com", &[1]);
    let (result, valid_for, _) = zone.locate(name(), &udp());
    assert!(result.is_ok());
    assert_eq!(valid_for, ASK_AGAIN, "asked again soon");
}

#[test]
fn srv_that_is_not_answered_is_no_leave_to_call_the_domains_address() {
    let zone = Zone::default().fails("_sip._udp.example.com", QueryKind::Srv).a("example.com", &[1]);
    let (result, valid_for, _) = zone.locate(name(), &udp());
    assert_eq!((result, valid_for), (Err(LocateError::Unanswered), ASK_AGAIN));
    // Where another transport's was answered there is no need for it.
    let zone = zone.srv("_sip._tcp.example.com", &[(1, 0, 5060, "t.example.com")]).a("t.example.com", &[2]);
    assert_eq!(zone.leads_to(name(), &all()).expect("targets"), ["TCP 192.0.2.2:5060"]);
}

#[test]
fn one_host_that_is_not_answered_leaves_the_others() {
    let zone = Zone::default()
        .srv("_sip._udp.example.com", &[(1, 0, 5060, "a.example.com"), (2, 0, 5060, "b.example.com")])
        .fails("a.example.com", QueryKind::A)
        .a("b.example.com", &[2]);
    let (result, valid_for, _) = zone.locate(name(), &udp());
    assert_eq!(result.expect("a target").targets(0).len(), 1);
    assert_eq!(valid_for, ASK_AGAIN);
    let zone = Zone::default().fails("example.com", QueryKind::A);
    assert_eq!(zone.leads_to(name(), &udp()), Err(LocateError::Unanswered));
}

#[test]
fn an_answer_is_valid_as_long_as_the_shortest_record_within_bounds() {
    let with = |ttl: u64| {
        let records = vec![Record::Address(IpAddr::from([192, 0, 2, 1]))];
        let answer = Answer::Records { records, ttl: Duration::from_secs(ttl) };
        Zone::default().says("example.com", QueryKind::A, answer)
    };
    let port = || Wanted::new("example.com", Some(5060), None);
    for (ttl, valid_for) in [(0, MIN_TTL), (77, Duration::from_secs(77)), (1_000_000, MAX_TTL)] {
        assert_eq!(with(ttl).locate(port(), &udp()).1, valid_for, "{ttl}");
    }
    // That there is no NAPTR is valid for 60 s in these zones.
    assert_eq!(with(500).locate(name(), &udp()).1, Duration::from_secs(60));
    let long = Answer::Empty { ttl: Duration::from_secs(86_400) };
    let nothing = Zone::default().says("example.com", QueryKind::A, long);
    assert_eq!(nothing.locate(port(), &udp()).1, MAX_NEGATIVE_TTL);
}

#[test]
fn a_zone_without_end_is_cut_short() {
    let records: Vec<_> =
        (0..500).map(|number| (number, 0, 5060, format!("h{number}.example.com"))).collect();
    let records: Vec<_> = records.iter().map(|(a, b, c, name)| (*a, *b, *c, name.as_str())).collect();
    let addresses =
        (0..500u32).map(|number| Record::Address(IpAddr::from((0x0A00_0001 + number).to_be_bytes())));
    let zone = Zone::default().srv("_sip._udp.example.com", &records).has(
        "h0.example.com",
        QueryKind::A,
        addresses.collect(),
    );
    let (result, _, asked) = zone.locate(name(), &udp());
    assert_eq!(result.expect("targets").targets(0).len(), MAX_TARGETS);
    assert_eq!(asked.len(), 2 + MAX_HOSTS);
    let services: Vec<_> =
        (0..50).map(|number| (1, number, "s", "SIP+D2U", format!("_sip._udp.d{number}.example"))).collect();
    let services: Vec<_> =
        services.iter().map(|(a, b, c, d, name)| (*a, *b, *c, *d, name.as_str())).collect();
    let zone = Zone::default().naptr("example.com", &services);
    let (result, _, asked) = zone.locate(name(), &all());
    assert_eq!(result, Err(LocateError::NoAddress));
    assert_eq!(asked.iter().filter(|query| query.kind == QueryKind::Srv).count(), MAX_SERVICES);
}

#[test]
fn an_answer_that_nobody_awaits_changes_nothing() {
    let (mut locator, step) = Locator::start(name(), udp());
    let Step::Ask(queries) = step else { panic!("asks for NAPTR") };
    let stray = Query { name: "other.example".into(), kind: QueryKind::A };
    let address = Answer::Records { records: vec![Record::Address(IpAddr::from([192, 0, 2, 9]))], ttl: TTL };
    assert_eq!(locator.on_answer(&stray, &address), Step::Ask(Vec::new()));
    assert!(
        matches!(locator.on_answer(&queries[0], &Answer::Empty { ttl: TTL }), Step::Ask(next) if next.len() == 1)
    );
    assert_eq!(locator.on_answer(&queries[0], &Answer::Failed), Step::Ask(Vec::new()), "answered before");
}

/// Names that refer to each other at random, with anything else that records can say.
fn random_zone(seed: u64) -> Zone {
    let mut draw = Draw::new(seed);
    let names = [
        "example.com",
        "_sip._udp.example.com",
        "_sip._tcp.example.com",
        "_sips._tcp.example.com",
        "a.example.com",
        "b.example.com",
        ".",
    ];
    let mut zone = Zone::default();
    for name in names {
        for kind in [QueryKind::Naptr, QueryKind::Srv, QueryKind::A, QueryKind::Aaaa] {
            let mut any = || names[draw.below(7) as usize].to_owned();
            let (one, other) = (any(), any());
            let answer = match draw.below(8) {
                0 => Answer::Failed,
                1 => Answer::Alias { name: one, ttl: Duration::from_secs(draw.below(1_000)) },
                2 => continue,
                _ => {
                    let (priority, weight) = (draw.below(3) as u16, draw.below(3) as u16);
                    let port = 5059 + draw.below(3) as u16 * 2_500;
                    let service = ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "x"][draw.below(4) as usize].to_owned();
                    let (order, preference, flags) = (priority, weight, "s".to_owned());
                    let records = vec![
                        Record::Naptr { order, preference, flags, service, replacement: one.clone() },
                        Record::Srv { priority, weight, port, target: other },
                        Record::Srv { priority: weight, weight: u16::MAX, port: 0, target: one },
                        Record::Address(IpAddr::from((draw.below(1 << 32) as u32).to_be_bytes())),
                        Record::Address(IpAddr::from(u128::from(draw.below(u64::MAX)).to_be_bytes())),
                    ];
                    Answer::Records { records, ttl: Duration::from_secs(draw.below(100_000)) }
                }
            };
            zone = zone.says(plain(name).as_str(), kind, answer);
        }
    }
    zone
}

#[test]
fn every_zone_leads_to_an_end_within_the_limits() {
    let mut found = 0;
    for seed in 0..3_000 {
        let zone = random_zone(seed);
        for wanted in
            [name(), over(Transport::Tcp), name().secured(), Wanted::new("a.example.com", Some(1), None)]
        {
            let (result, valid_for, _) = zone.locate(wanted, &all());
            assert!((MIN_TTL..=MAX_TTL).contains(&valid_for), "seed {seed}: {valid_for:?}");
            let targets = result.map(|located| located.targets(seed)).unwrap_or_default();
            assert!(targets.len() <= MAX_TARGETS, "seed {seed}");
            assert!(targets.iter().all(|target| target.address.port() != 0), "seed {seed}: {targets:?}");
            found += usize::from(!targets.is_empty());
        }
    }
    assert!(found > 1_000, "{found} of them lead somewhere");
}
