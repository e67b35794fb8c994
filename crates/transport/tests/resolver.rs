//! Locating by name with a DNS server on loopback.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tandem_sip::flow::Transport;
use tandem_sip::locate::{Family, LocateError, Offers, Target, Wanted};
use tandem_sip::time::Mono;
use tandem_testdns::{DnsServer, Mood};
use tandem_transport::{DnsSettings, Outcome, Resolver, Seen};

/// How long a test waits for what should come soon.
const SOON: Duration = Duration::from_secs(20);

/// A resolver that asks a server, and a clock that the test turns.
struct World {
    dns: DnsServer,
    resolver: Arc<Resolver>,
    clock: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> World {
        let dns = DnsServer::start();
        let clock = Arc::new(AtomicU64::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let settings = DnsSettings {
            servers: vec![dns.address()],
            timeout: Duration::from_millis(200),
            serve_stale: Duration::from_secs(3600),
        };
        let offers: Offers = [Transport::Udp, Transport::Tcp]
            .into_iter()
            .flat_map(|transport| [(transport, Family::V4), (transport, Family::V6)])
            .collect();
        let (read, written) = (clock.clone(), seen.clone());
        let observe = move |event: Seen<'_>| {
            let word = match event {
                Seen::Fresh => "fresh".to_owned(),
                Seen::Stale => "stale".to_owned(),
                Seen::Missing => "missing".to_owned(),
                Seen::Busy => "busy".to_owned(),
                Seen::LookedUp { wanted, result, .. } => format!("{wanted}: {result:?}"),
            };
            written.lock().expect("no test panics while it holds it").push(word);
        };
        let resolver =
            Resolver::new(Some(&settings), offers, move || Mono(read.load(Ordering::SeqCst)), observe);
        World { dns, resolver: Arc::new(resolver.expect("servers are given")), clock, seen }
    }

    fn turn_to(&self, seconds: u64) {
        self.clock.store(seconds * 1000, Ordering::SeqCst);
    }

    fn seen(&self, word: &str) -> usize {
        self.seen
            .lock()
            .expect("no test panics while it holds it")
            .iter()
            .filter(|seen| *seen == word)
            .count()
    }

    async fn targets(&self, wanted: &Wanted) -> Result<Vec<String>, LocateError> {
        self.shown(self.resolver.locate(wanted).await)
    }

    fn shown(&self, outcome: Outcome) -> Result<Vec<String>, LocateError> {
        let shown = |target: &Target| format!("{} {}", target.transport.via_name(), target.address);
        outcome.map(|located| self.resolver.targets(&located, 1).iter().map(shown).collect())
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, waiting).await.is_ok(), "{what}");
}

fn gateway() -> Wanted {
    Wanted::new("gw.test", None, None)
}

fn local(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

#[tokio::test]
async fn naptr_srv_and_addresses_are_asked_for_in_turn() {
    let world = World::new();
    world
        .dns
        .naptr("gw.test", (1, 1), "SIPS+D2T", "_sips._tcp.gw.test")
        .naptr("gw.test", (2, 1), "SIP+D2T", "_sip._tcp.gw.test")
        .naptr("gw.test", (2, 2), "SIP+D2U", "_sip._udp.gw.test")
        .srv("_sip._tcp.gw.test", (10, 1, 5070), "a.gw.test")
        .srv("_sip._tcp.gw.test", (20, 1, 5080), "b.gw.test")
        .srv("_sip._udp.gw.test", (10, 1, 5090), "b.gw.test")
        .a("a.gw.test", local(1))
        .a("a.gw.test", Ipv6Addr::LOCALHOST)
        .a("b.gw.test", local(2));
    let targets = world.targets(&gateway()).await.expect("it is all there");
    assert_eq!(targets, ["TCP [::1]:5070", "TCP 127.0.0.1:5070", "TCP 127.0.0.2:5080", "UDP 127.0.0.2:5090"]);
    let asked = world.dns.asked();
    assert_eq!(asked[0], "NAPTR gw.test.");
    assert_eq!(asked.len(), 1 + 2 + 4, "{asked:?}");
}

#[tokio::test]
async fn after_a_reload_names_are_known_and_asked_for_as_before() {
    let world = World::new();
    world.dns.ttl(100).a("gw.test", local(1)).a("other.test", local(2));
    let wanted = |name| Wanted::new(name, Some(5060), Some(Transport::Udp));
    assert_eq!(world.targets(&wanted("gw.test")).await.expect("there"), ["UDP 127.0.0.1:5060"]);
    let asked = world.dns.asked().len();
    world.resolver.reload().expect("servers are given");
    assert!(world.resolver.known(&wanted("gw.test")).is_some());
    assert_eq!(world.dns.asked().len(), asked);
    assert_eq!(world.targets(&wanted("other.test")).await.expect("there"), ["UDP 127.0.0.2:5060"]);
}

#[tokio::test]
async fn srv_by_way_of_an_alias() {
    let world = World::new();
    world
        .dns
        .cname("_sip._udp.gw.test", "_sip._udp.farm.test")
        .srv("_sip._udp.farm.test", (1, 1, 5070), "a.farm.test")
        .cname("a.farm.test", "host.elsewhere.test")
        .a("host.elsewhere.test", local(3));
    let udp = Wanted::new("gw.test", None, Some(Transport::Udp));
    assert_eq!(world.targets(&udp).await.expect("it is there"), ["UDP 127.0.0.3:5070"]);
}

#[tokio::test]
async fn an_answer_is_asked_for_once_in_its_life() {
    let world = World::new();
    world.dns.ttl(100).a("gw.test", local(1));
    let wanted = Wanted::new("gw.test", Some(5060), Some(Transport::Udp));
    assert!(world.resolver.known(&wanted).is_none());
    // All who ask at once wait for one answer.
    let both = tokio::join!(world.resolver.locate(&wanted), world.resolver.locate(&wanted));
    assert!(both.0.is_ok() && both.1.is_ok());
    assert_eq!(world.dns.asked().len(), 2, "A and AAAA");
    world.turn_to(99);
    let known = world.resolver.known(&wanted).expect("it is valid");
    assert_eq!(world.shown(known).expect("there"), ["UDP 127.0.0.1:5060"]);
    world.turn_to(100);
    assert!(world.resolver.known(&wanted).is_none());
    world.dns.forget("gw.test").a("gw.test", local(2));
    assert_eq!(world.targets(&wanted).await.expect("there"), ["UDP 127.0.0.2:5060"]);
    assert_eq!((world.seen("fresh"), world.seen("missing")), (1, 3));
}

#[tokio::test]
async fn that_a_name_does_not_exist_is_kept_too() {
    let world = World::new();
    assert_eq!(world.targets(&gateway()).await, Err(LocateError::NoAddress));
    let asked = world.dns.asked().len();
    world.turn_to(59);
    assert_eq!(world.targets(&gateway()).await, Err(LocateError::NoAddress));
    assert_eq!(world.dns.asked().len(), asked);
    world.turn_to(60);
    world.dns.a("gw.test", local(1));
    assert!(world.targets(&gateway()).await.is_ok());
}

#[tokio::test]
async fn kept_names_are_looked_up_ahead_and_serve_while_dns_is_silent() {
    let world = World::new();
    world.dns.ttl(100).a("gw.test", local(1));
    world.resolver.keep(&gateway());
    let running = tokio::spawn(world.resolver.clone().run());
    until("it is looked up before any call asks", || world.resolver.known(&gateway()).is_some()).await;
    world.dns.be(Mood::Silent);
    world.turn_to(81);
    // The clock has been turned by hand; whoever waits by it has to look again.
    world.resolver.keep(&gateway());
    until("it is asked for again", || world.seen("gw.test: Err(Unanswered)") > 0).await;
    world.turn_to(101);
    let known = world.resolver.known(&gateway()).expect("the last answer");
    assert_eq!(world.shown(known).expect("there"), ["UDP 127.0.0.1:5060"]);
    assert_eq!(world.seen("stale"), 1);
    world.dns.be(Mood::Answering).forget("gw.test").a("gw.test", local(2));
    world.turn_to(200);
    world.resolver.keep(&gateway());
    until("it is back", || {
        let known = world.resolver.known(&gateway());
        known.is_some_and(|known| world.shown(known) == Ok(vec!["UDP 127.0.0.2:5060".into()]))
    })
    .await;
    running.abort();
}

#[tokio::test]
async fn a_silent_dns_does_not_keep_anybody_long_and_is_not_asked_for_each_call() {
    let world = World::new();
    world.dns.be(Mood::Silent);
    let began = std::time::Instant::now();
    assert_eq!(world.targets(&gateway()).await, Err(LocateError::Unanswered));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let asked = world.dns.asked().len();
    assert_eq!(world.targets(&gateway()).await, Err(LocateError::Unanswered));
    assert_eq!(world.dns.asked().len(), asked);
}

#[tokio::test]
async fn a_target_that_failed_comes_last_for_a_while() {
    let world = World::new();
    world.dns.ttl(1_000).srv("_sip._udp.gw.test", (1, 1, 5060), "a.test").srv(
        "_sip._udp.gw.test",
        (2, 1, 5060),
        "b.test",
    );
    world.dns.a("a.test", local(1)).a("b.test", local(2));
    let located = world.resolver.locate(&gateway()).await.expect("it is there");
    let first = world.resolver.targets(&located, 0)[0];
    assert_eq!(first.address.ip(), local(1));
    world.resolver.note_failed(first);
    assert!(world.resolver.has_failed(&first));
    assert_eq!(world.resolver.targets(&located, 0)[1], first);
    world.turn_to(30);
    assert_eq!(world.resolver.targets(&located, 0)[0], first);
}

#[tokio::test]
async fn without_dns_there_are_only_addresses() {
    let offers: Offers = [(Transport::Udp, Family::V4)].into_iter().collect();
    let resolver = Resolver::new(None, offers, || Mono(0), |_| {}).expect("nothing is needed");
    let address = Wanted::new("127.0.0.1", Some(5070), None);
    let known = resolver.known(&address).expect("it is known").expect("it is an address");
    assert_eq!(known.targets(0)[0].address.to_string(), "127.0.0.1:5070");
    assert_eq!(Arc::new(resolver).locate(&gateway()).await, Err(LocateError::Unanswered));
}

#[tokio::test]
async fn look_ups_under_way_are_bounded() {
    let world = World::new();
    world.dns.be(Mood::Silent);
    let many: Vec<_> = (0..tandem_transport::MAX_UNDER_WAY + 5)
        .map(|number| {
            let (resolver, wanted) =
                (world.resolver.clone(), Wanted::new(&format!("gw{number}.test"), None, None));
            tokio::spawn(async move { resolver.locate(&wanted).await })
        })
        .collect();
    for one in many {
        assert_eq!(one.await.expect("it ends"), Err(LocateError::Unanswered));
    }
    assert_eq!(world.seen("busy"), 5);
}
