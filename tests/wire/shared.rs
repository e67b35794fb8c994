//! State that nodes share in Redis.

use crate::nodes::{Cluster, JSONL};
use crate::phones::Phones;
use crate::place::Place;
use crate::sipp::{Scenario, Sipp};
use crate::switch::binary;
use crate::tls::authority::{Authority, Identity};
use crate::until::{SOON, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};
use tandem_testpostgres::Server as Postgres;
use tandem_testredis::Server as Redis;

/// How many phones register while the store is away.
const PHONES_AWAY: usize = 500;

/// How many phones there are, of three nodes.
const PHONES: usize = 20_000;

/// A cluster of three, and phones that have registered, each at one of the nodes.
fn with_phones(count: usize) -> (Cluster, Phones) {
    let cluster = Cluster::start(Place::new(), 3, &Phones::sections(count));
    let mut phones = Phones::at(cluster.place.gateway_port());
    for node in 0..3 {
        phones.register(cluster.sip(node), (0..count).filter(|number| number % 3 == node));
    }
    (cluster, phones)
}

/// Every node finds all of them.
fn all_are_found(cluster: &Cluster, phones: &mut Phones, count: usize, within: Duration) {
    for node in 0..3 {
        let mut missing = phones.missing(cluster.sip(node), 0..count);
        let begun = Instant::now();
        while !missing.is_empty() {
            assert!(begun.elapsed() < within, "node {node} does not find {} of {count}", missing.len());
            missing = phones.missing(cluster.sip(node), missing.into_iter());
        }
    }
}

#[test]
fn registrations_are_found_from_every_node_and_after_a_restart_of_each() {
    let (mut cluster, mut phones) = with_phones(PHONES);
    all_are_found(&cluster, &mut phones, PHONES, Duration::from_secs(1));
    for node in 0..3 {
        cluster.stop(node);
        cluster.start_again(node);
    }
    all_are_found(&cluster, &mut phones, PHONES, Duration::ZERO);
}

#[test]
fn a_registration_that_is_removed_at_one_node_is_gone_at_every_other_within_a_second() {
    let (cluster, mut phones) = with_phones(3);
    all_are_found(&cluster, &mut phones, 3, Duration::from_secs(1));
    phones.unregister(cluster.sip(0), 1);
    let began = Instant::now();
    for node in 0..3 {
        until("it is gone", SOON, || phones.missing(cluster.sip(node), 1..2).contains(&1).then_some(()));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(phones.missing(cluster.sip(2), 0..1).is_empty(), "the others stay");
}

#[test]
fn a_redis_that_comes_back_empty_is_given_all_registrations_within_five_seconds() {
    let (mut cluster, mut phones) = with_phones(PHONES);
    all_are_found(&cluster, &mut phones, PHONES, Duration::from_secs(1));
    cluster.redis.restart_empty();
    let answers_again = Instant::now();
    let stored = || cluster.redis.count_keys("{tandem:b??}:reg:u*");
    until("all are in the store again", SOON, || (stored() == PHONES).then_some(()));
    let took = answers_again.elapsed();
    println!("{PHONES} registrations were whole again {took:?} after Redis answered");
    assert!(took < Duration::from_secs(5), "{took:?}");
    all_are_found(&cluster, &mut phones, PHONES, Duration::ZERO);
    // A node that starts now has nothing but the store.
    cluster.kill(1);
    cluster.start_again(1);
    assert!(phones.missing(cluster.sip(1), 0..PHONES).is_empty());
}

/// Nodes by name, with their states.
fn states(cluster: &Cluster, asked: usize) -> Vec<(String, String)> {
    let nodes = cluster.switch(asked).ask("GET", "/api/v1/nodes").json();
    let text = |node: &Value, key: &str| node[key].as_str().expect("text").to_owned();
    let list = nodes["nodes"].as_array().expect("a list");
    list.iter().map(|node| (text(node, "name"), text(node, "state"))).collect()
}

fn are(states: &[(String, String)], wanted: &[&str]) -> bool {
    states.iter().map(|(_, state)| state.as_str()).eq(wanted.iter().copied())
}

#[test]
fn nodes_know_of_each_other_who_lives_who_is_dead_and_who_has_left() {
    let mut cluster = Cluster::start(Place::new(), 3, "");
    let come_to = |cluster: &Cluster, wanted: &[&str]| {
        let what = format!("nodes are {wanted:?}");
        until(&what, SOON, || are(&states(cluster, 0), wanted).then_some(()));
    };
    come_to(&cluster, &["alive", "alive", "alive"]);
    cluster.kill(1);
    come_to(&cluster, &["alive", "dead", "alive"]);
    let metric = |name: &str| cluster.switch(0).metric(name, "");
    assert_eq!(metric("tandem_nodes_alive"), 2.0);
    assert!(cluster.switch(0).log().contains("has stopped beating"), "a line in the log");
    cluster.stop(2);
    come_to(&cluster, &["alive", "dead", "left"]);
    cluster.start_again(1);
    come_to(&cluster, &["alive", "alive", "left"]);

    let api = cluster.switch(0).api();
    let run = |arguments: &[&str]| {
        let mut command = binary(&cluster.place.folder);
        let output = command.arg("nodes").args(arguments).args(["--api", &api]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
    };
    assert!(run(&["set", "node-2", "--mark", "rack 4", "--memo", "new disk"]).0);
    let (_, table) = run(&[]);
    assert!(table.contains("rack 4") && table.contains("new disk") && table.contains("left"), "{table}");
    let (done, said) = run(&["forget", "node-2"]);
    assert!(!done && said.contains("lives"), "{said}");
    assert!(run(&["forget", "node-3"]).0);
    come_to(&cluster, &["alive", "alive"]);
    assert!(!run(&["set", "node-9", "--memo", "x"]).0, "no such node");
}

#[test]
fn a_redis_that_stalls_makes_no_node_dead_and_none_not_ready() {
    let cluster = Cluster::start(Place::new(), 2, "");
    until("both are alive", SOON, || are(&states(&cluster, 0), &["alive", "alive"]).then_some(()));
    cluster.redis.signal("STOP");
    // Longer than it takes until a node counts as dead.
    let stalled = Instant::now();
    until("three seconds have passed", SOON, || {
        assert_eq!(cluster.switch(0).ask("GET", "/readyz").status, 200);
        (stalled.elapsed() > Duration::from_secs(3)).then_some(())
    });
    cluster.redis.signal("CONT");
    until("the store answers again", SOON, || answers_again(&cluster, 0).then_some(()));
    assert!(are(&states(&cluster, 0), &["alive", "alive"]));
    assert!(!cluster.switch(0).log().contains("has stopped beating"));
}

/// The most calls of each of the ten gateways.
const SLOTS: usize = 4;

/// Ten gateways, all of them played by one host.
fn ten_gateways(host: SocketAddrV4) -> String {
    let gateway = |number: usize| {
        format!(
            "[[routing_gateway]]\nname = \"gateway-{number}\"\naddress = \"{host}\"\nmax_calls = {SLOTS}\n"
        )
    };
    (0..10).map(gateway).collect()
}

/// How many slots of each gateway the store holds that have not lapsed.
fn slots_held(cluster: &Cluster) -> Vec<usize> {
    let script = "local time = redis.call('TIME')
        local now, held = time[1] * 1000 + math.floor(time[2] / 1000), {}
        for _, key in ipairs(redis.call('KEYS', '*:slots:*')) do
            held[#held + 1] = redis.call('ZCOUNT', key, '(' .. now, '+inf')
        end
        return held";
    cluster.redis.eval(script).iter().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn nodes_that_race_for_slots_never_exceed_a_limit_and_those_of_a_killed_one_come_back_within_a_lease() {
    let place = Place::new();
    let host = place.gateway_port();
    let mut cluster = Cluster::start(place, 3, &ten_gateways(host));
    // Until the store is sure of what it counts, nodes share what is free.
    let patience = Duration::from_secs(60);
    let answers =
        Scenario::of("gateway_answers").times(100_000, 1_000, patience).talking(Duration::from_secs(1));
    let _gateways = Sipp::gateway(&cluster.place, "gateways", host, &answers);
    let calls = || {
        let calls = Scenario::of("caller_is_answered_or_refused").times(240, 40, patience);
        calls.talking(Duration::from_secs(1))
    };
    let call = |cluster: &Cluster, node| {
        Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(node), &calls())
    };
    let mut callers = [0, 1, 2].map(|node| call(&cluster, node));
    let (began, mut most, mut killed) = (Instant::now(), 0, None);
    while !callers[..2].iter_mut().all(|caller| caller.has_ended()) {
        let held = slots_held(&cluster);
        most = most.max(held.iter().copied().max().unwrap_or(0));
        assert!(held.iter().all(|held| *held <= SLOTS), "{held:?}");
        if killed.is_none() && began.elapsed() > Duration::from_millis(2_500) {
            assert!(held.iter().sum::<usize>() > 3 * SLOTS, "most slots are taken: {held:?}");
            cluster.kill(2);
            killed = Some(Instant::now());
        }
        assert!(began.elapsed() < patience, "callers do not end");
    }
    assert_eq!(most, SLOTS, "the limit was reached");
    let killed = killed.expect("there was time to kill it");
    until("all slots are back", Duration::from_secs(35), || {
        slots_held(&cluster).iter().all(|held| *held == 0).then_some(())
    });
    println!("the slots of a killed node were back {:?} after its death", killed.elapsed());
    for node in 0..2 {
        let gateways = cluster.switch(node).ask("GET", "/api/v1/gateways").json();
        let list = gateways["gateways"].as_array().expect("a list").clone();
        for gateway in list.iter().filter(|gateway| gateway["kind"] == "routing") {
            assert_eq!(gateway["calls"], 0, "{gateway}");
        }
    }
}

#[test]
fn nodes_that_are_killed_at_random_never_bring_a_gateway_above_its_limit() {
    let place = Place::new();
    let host = place.gateway_port();
    let mut cluster = Cluster::start(place, 3, &ten_gateways(host));
    let patience = Duration::from_secs(120);
    let answers =
        Scenario::of("gateway_answers").times(100_000, 1_000, patience).talking(Duration::from_secs(1));
    let _gateways = Sipp::gateway(&cluster.place, "gateways", host, &answers);
    // Some seconds of calls, again and again, so that the last of them end by themselves.
    let scenario = || {
        let calls = Scenario::of("caller_is_answered_or_refused").times(160, 40, patience);
        calls.talking(Duration::from_secs(1))
    };
    let call = |cluster: &Cluster, node| {
        Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(node), &scenario())
    };
    let mut callers: Vec<Vec<Sipp>> = (0..3).map(|node| vec![call(&cluster, node)]).collect();
    let seed = std::env::var("TANDEM_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("TANDEM_KILL_SEED={random}");
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let kills =
        std::env::var("TANDEM_KILLS").map_or(4, |kills| kills.parse().expect("TANDEM_KILLS: a number"));
    let (mut most, began) = (0, Instant::now());
    let mut look = |cluster: &Cluster, wait: Duration| {
        let from = Instant::now();
        while from.elapsed() < wait {
            let held = slots_held(cluster);
            most = most.max(held.iter().copied().max().unwrap_or(0));
            assert!(held.iter().all(|held| *held <= SLOTS), "{held:?} after {:?}", began.elapsed());
        }
    };
    for _ in 0..kills {
        look(&cluster, Duration::from_millis(500 + draw(2_500)));
        let node = draw(3) as usize;
        cluster.kill(node);
        look(&cluster, Duration::from_millis(draw(1_500)));
        cluster.start_again(node);
        callers[node].push(call(&cluster, node));
        for (node, callers) in callers.iter_mut().enumerate() {
            if callers.iter_mut().all(Sipp::has_ended) {
                callers.push(call(&cluster, node));
            }
        }
    }
    // The others wait for answers of nodes that were killed.
    until("the last caller of each node has ended", Duration::from_secs(30), || {
        callers.iter_mut().filter_map(|callers| callers.last_mut()).all(Sipp::has_ended).then_some(())
    });
    assert_eq!(most, SLOTS, "the limit was reached");
    until("all slots are back", Duration::from_secs(40), || {
        slots_held(&cluster).iter().all(|held| *held == 0).then_some(())
    });
}

/// Whether a node has noticed that the store is there again after it was silent.
fn answers_again(cluster: &Cluster, node: usize) -> bool {
    let log = cluster.switch(node).log();
    log.contains("the store answers again") || log.contains("the store may have lost")
}

/// So many seconds as the environment says, for a longer look by hand.
fn seconds(variable: &str, usual: u64) -> Duration {
    let said = std::env::var(variable).ok();
    Duration::from_secs(
        said.map_or(usual, |said| said.parse().unwrap_or_else(|_| panic!("{variable}: seconds"))),
    )
}

/// Whether a command is a script about a call or about a slot of its gateway.
fn is_of_a_call(line: &str) -> bool {
    let mut words = line.split('"').filter(|word| !word.trim().is_empty());
    let is_script = words.any(|word| word == "EVALSHA");
    // Its hash, the number of keys, the key, and then whom it is about.
    let whom = words.nth(3).unwrap_or_default();
    is_script && (whom == "vendor" || (whom.len() == 24 && whom.bytes().all(|byte| byte.is_ascii_hexdigit())))
}

#[test]
fn a_call_costs_at_most_six_scripts_and_two_kilobytes_of_snapshot() {
    let place = Place::new();
    let host = place.gateway_port();
    let limits = "max_calls = 1000\ncps = 1000";
    let vendor = format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\n{limits}\n");
    let cluster = Cluster::start(place, 1, &vendor);
    // In its first seconds a node does not ask for slots.
    let began = Instant::now();
    until("slots are asked for", SOON, || (began.elapsed() > Duration::from_secs(6)).then_some(()));
    let monitor = cluster.redis.monitor(&cluster.place.folder.join("monitor.out"));
    let calls =
        |name| Scenario::of(name).times(CALLS, 50, Duration::from_secs(60)).talking(Duration::from_secs(4));
    let mut vendor = Sipp::gateway(&cluster.place, "vendor", host, &calls("gateway_answers"));
    let mut caller =
        Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(0), &calls("caller_hangs_up"));
    until("all calls are up", SOON, || (stored_calls(&cluster) == CALLS as usize).then_some(()));
    let longest = "local longest = 0
        for _, key in ipairs(redis.call('KEYS', '*:call:*')) do
            longest = math.max(longest, redis.call('HSTRLEN', key, 'snapshot'))
        end
        return longest";
    let longest: usize = cluster.redis.eval(longest)[0].parse().expect("a number");
    caller.succeeds();
    vendor.succeeds();
    cluster.switch(0).is_idle();
    until("all calls have ended in the store", SOON, || (stored_calls(&cluster) == 0).then_some(()));
    let scripts = monitor.commands().into_iter().filter(|line| is_of_a_call(line)).count();
    let each = scripts as f64 / f64::from(CALLS);
    println!("{each:.2} scripts a call, snapshots of {longest} bytes at most");
    // Renewals of the gateway's slots are among them.
    assert!((1.0..=6.2).contains(&each), "{each} scripts a call");
    assert!((500..=2_048).contains(&longest), "{longest} bytes");
}

#[test]
fn a_registration_lapses_and_a_publication_too_at_every_node_within_a_second() {
    let place = Place::new();
    let host = place.gateway_port();
    let sections = "[registrar]\nauthenticate = false\nmin_expires = 10\n[limits]\nstranger_rate = 100000\n\
        [[endpoint]]\nuser = \"u0\"\npassword = \"none\"\n";
    let vendor = format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\n{sections}");
    let cluster = Cluster::start(place, 2, &vendor);
    let mut phones = Phones::at(cluster.place.gateway_port());
    let publisher = Scenario::of("gateway_publishes_once").calling("vendor");
    let published = Instant::now();
    Sipp::caller(&cluster.place, *host.ip(), cluster.sip(0), &publisher).succeeds();
    let registered = Instant::now();
    phones.register_for(cluster.sip(0), 0, 10);
    until("the other node finds it", SOON, || phones.missing(cluster.sip(1), 0..1).is_empty().then_some(()));
    until("its time is nearly over", SOON, || {
        (registered.elapsed() > Duration::from_millis(9_000)).then_some(())
    });
    for node in 0..2 {
        assert!(phones.missing(cluster.sip(node), 0..1).is_empty(), "node {node} has it yet");
    }
    let gone = |phones: &mut Phones| (0..2).all(|node| !phones.missing(cluster.sip(node), 0..1).is_empty());
    until("both nodes have let it go", SOON, || gone(&mut phones).then_some(()));
    assert!(registered.elapsed() < Duration::from_millis(12_000), "{:?}", registered.elapsed());
    let state = |node: usize| {
        let gateways = cluster.switch(node).ask("GET", "/api/v1/gateways").json();
        let list = gateways["gateways"].as_array().expect("a list").clone();
        list.iter().find(|gateway| gateway["name"] == "vendor").expect("the vendor")["state"].clone()
    };
    assert_eq!((state(0), state(1)), ("available".into(), "available".into()));
    let lapses = Duration::from_secs(40);
    until("both nodes know that it has lapsed", lapses, || {
        (0..2).all(|node| state(node) == "unavailable").then_some(())
    });
    assert!(published.elapsed() < Duration::from_secs(33), "{:?}", published.elapsed());
}

#[test]
fn records_go_to_postgresql_over_tls_if_its_certificate_is_of_whom_we_trust() {
    let authority = Authority::new();
    let Identity { cert, key } = authority.issue(Ipv4Addr::LOCALHOST);
    let mut postgres = Postgres::start();
    postgres.demand_tls(&cert, &key);
    let place = Place::new();
    let host = place.gateway_port();
    let ca = authority.write(&place.folder);
    let vendor = format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\n");
    let sink = format!("type = \"postgresql\", url = {:?}, ca = {ca:?}", postgres.url());
    let cluster = Cluster::writing(place, 1, &vendor, &sink);
    let answers = Scenario::of("gateway_answers").times(2, 10, Duration::from_secs(60));
    let mut vendor = Sipp::gateway(&cluster.place, "vendor", host, &answers);
    let call = Scenario::of("caller_hangs_up").times(2, 10, Duration::from_secs(60));
    Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(0), &call).succeeds();
    vendor.succeeds();
    until("the records are in the table", Duration::from_secs(20), || {
        (postgres.query("SELECT count(*) FROM cdr")? == ["2"]).then_some(())
    });
    // Without the authority it is nobody's that the system knows.
    let place = Place::new();
    let sink = format!("type = \"postgresql\", url = {:?}", postgres.url());
    let distrustful = Cluster::writing(place, 1, "", &sink);
    until("it says why", SOON, || {
        let log = distrustful.switch(0).log();
        (log.contains("UnknownIssuer") || log.contains("certificate")).then_some(())
    });
}

/// Calls that are up while something happens to the store.
const CALLS: u32 = 60;

/// So many calls through the first node that last for some seconds, and their vendor.
fn with_calls(sections: &str, seconds: u64) -> (Cluster, [Sipp; 2]) {
    let redis = Redis::start(&[]);
    let url = redis.url();
    with_calls_at((redis, url), sections, seconds)
}

/// The same, with the store at that URL.
fn with_calls_at(redis: (Redis, String), sections: &str, seconds: u64) -> (Cluster, [Sipp; 2]) {
    let place = Place::new();
    let host = place.gateway_port();
    let vendor = format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\n{sections}\n");
    let cluster = Cluster::at(place, redis, 2, (&vendor, JSONL));
    let patience = Duration::from_secs(60);
    let scenario =
        |name| Scenario::of(name).times(CALLS, 100, patience).talking(Duration::from_secs(seconds));
    let vendor = Sipp::gateway(&cluster.place, "vendor", host, &scenario("gateway_answers"));
    let caller =
        Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(0), &scenario("caller_hangs_up"));
    until("all calls are answered", SOON, || {
        (cluster.switch(0).metric("tandem_calls_active", "answered") == f64::from(CALLS)).then_some(())
    });
    (cluster, [caller, vendor])
}

/// Calls whose state the store has.
fn stored_calls(cluster: &Cluster) -> usize {
    cluster.redis.count_keys("{tandem:b??}:call:*")
}

#[test]
fn calls_in_progress_do_not_notice_a_redis_that_comes_back_empty_and_are_in_it_again_within_five_seconds() {
    let (mut cluster, [mut caller, mut vendor]) = with_calls("", 12);
    assert_eq!(stored_calls(&cluster), CALLS as usize);
    cluster.redis.restart_empty();
    let answers_again = Instant::now();
    until("all calls are in the store again", SOON, || {
        (stored_calls(&cluster) == CALLS as usize).then_some(())
    });
    let took = answers_again.elapsed();
    println!("{CALLS} calls were whole again {took:?} after Redis answered");
    assert!(took < Duration::from_secs(5), "{took:?}");
    caller.succeeds();
    vendor.succeeds();
    let cdrs = [cluster.stop(0), cluster.stop(1)];
    let cdrs: Vec<_> = cdrs.iter().flat_map(|cdrs| &cdrs.calls).collect();
    let ids: BTreeSet<&str> = cdrs.iter().map(|cdr| cdr.text("id")).collect();
    assert_eq!((cdrs.len(), ids.len()), (CALLS as usize, CALLS as usize), "one record for each call");
    assert!(cdrs.iter().all(|cdr| cdr.text("end_reason") == "normal"));
}

#[test]
fn a_redis_that_stalls_with_a_full_gateway_touches_no_call_and_lets_none_beyond_the_limit_in() {
    let stall = seconds("TANDEM_STALL_S", 4);
    let (cluster, [mut caller, mut vendor]) =
        with_calls(&format!("max_calls = {CALLS}"), 20 + stall.as_secs());
    let known = |node: usize| {
        let gateways = cluster.switch(node).ask("GET", "/api/v1/gateways").json();
        let list = gateways["gateways"].as_array().expect("a list").clone();
        list.iter().find(|gateway| gateway["name"] == "vendor").expect("the vendor")["cluster_calls"].clone()
    };
    for node in 0..2 {
        until("a node knows how many calls there are", SOON, || (known(node) == CALLS).then_some(()));
    }
    cluster.redis.signal("STOP");
    // A call through each node: the gateway is full, whoever is asked.
    for node in 0..2 {
        let refused = Scenario::of("caller_is_refused").with("STATUS", 503);
        Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(node), &refused).succeeds();
    }
    let stalled = Instant::now();
    until("the stall is over", stall + SOON, || (stalled.elapsed() >= stall).then_some(()));
    assert_eq!(cluster.switch(0).metric("tandem_calls_active", "answered"), f64::from(CALLS));
    cluster.redis.signal("CONT");
    until("the store answers again", SOON, || answers_again(&cluster, 0).then_some(()));
    for node in 0..2 {
        let refused = Scenario::of("caller_is_refused").with("STATUS", 503);
        Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(node), &refused).succeeds();
    }
    caller.succeeds();
    vendor.succeeds();
    // What was asked for while it stalled, and refused, it may have granted afterwards: that lapses.
    until("all slots are back", Duration::from_secs(35), || {
        slots_held(&cluster).iter().all(|held| *held == 0).then_some(())
    });
}

#[test]
fn records_go_to_postgresql_once_each_though_it_is_killed_under_load_and_a_writing_node_too() {
    let mut postgres = Postgres::start();
    let place = Place::new();
    let host = place.gateway_port();
    let vendor = format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\n");
    let sink = format!("type = \"postgresql\", url = {:?}", postgres.url());
    let mut cluster = Cluster::writing(place, 3, &vendor, &sink);
    // As long as the table is away, and some seconds more.
    let rate = 15;
    let calls = rate * (seconds("TANDEM_POSTGRES_AWAY_S", 4).as_secs() as u32 + 4);
    let patience = Duration::from_secs(180);
    let answers = Scenario::of("gateway_answers").times(2 * calls, 1_000, patience);
    let _vendor = Sipp::gateway(&cluster.place, "vendor", host, &answers);
    let call = |cluster: &Cluster, node| {
        let calls = Scenario::of("caller_hangs_up").times(calls, rate, patience);
        Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(node), &calls)
    };
    let mut callers = [call(&cluster, 0), call(&cluster, 1)];
    let count = |postgres: &Postgres, what: &str| -> Option<usize> {
        postgres.query(&format!("SELECT count({what}) FROM cdr"))?.first()?.parse().ok()
    };
    let comes_to = |postgres: &Postgres, least: usize| {
        until(&format!("{least} records are in the table"), Duration::from_secs(30), || {
            count(postgres, "*").filter(|count| *count >= least)
        })
    };
    comes_to(&postgres, 20);
    postgres.kill();
    // The third node carries no calls: it may be the one that writes.
    cluster.kill(2);
    let away = Instant::now();
    let while_away = seconds("TANDEM_POSTGRES_AWAY_S", 4);
    until("calls go on for a while without a table", while_away + SOON, || {
        (away.elapsed() > while_away).then_some(())
    });
    postgres.start_again();
    callers.iter_mut().for_each(Sipp::succeeds);
    let all = 2 * calls as usize;
    comes_to(&postgres, all);
    assert_eq!((count(&postgres, "*"), count(&postgres, "DISTINCT call_id")), (Some(all), Some(all)));
    let normal = "SELECT count(*) FROM cdr WHERE end_reason = 'normal' AND answered_at >= started_at
        AND ended_at - answered_at >= interval '100 milliseconds' AND routing_gateway = 'vendor' AND sip_status = 200";
    assert_eq!(postgres.query(normal), Some(vec![all.to_string()]));
}

#[test]
fn calls_go_on_through_a_failover_by_sentinel_and_are_at_the_new_master_within_five_seconds() {
    let master = Redis::start(&[]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinel = Redis::sentinel_of(master.port);
    let url = format!("redis+sentinel://127.0.0.1:{}/tandem", sentinel.port);
    until("the sentinel knows the replica", Duration::from_secs(30), || {
        sentinel.knows_a_replica().then_some(())
    });
    let (mut cluster, [mut caller, mut vendor]) = with_calls_at((master, url), "", 20);
    cluster.redis.kill();
    let keys = || replica.count_keys("{tandem:b??}:call:*");
    until("the replica is the master", Duration::from_secs(15), || replica.is_master().then_some(()));
    let answers = Instant::now();
    until("all calls are at the new master", SOON, || {
        (keys() == CALLS as usize && cluster.switch(0).metric("tandem_calls_republished_total", "") > 0.0)
            .then_some(())
    });
    println!("{CALLS} calls were at the new master {:?} after it was promoted", answers.elapsed());
    caller.succeeds();
    vendor.succeeds();
    until("nothing is left of them", SOON, || (keys() == 0).then_some(()));
}

#[test]
fn what_is_acknowledged_while_redis_is_away_is_in_the_journal_and_survives_a_kill() {
    let place = Place::new();
    let host = place.gateway_port();
    let vendor = format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\n");
    let mut cluster = Cluster::journalling(place, 2, &(vendor + &Phones::sections(PHONES_AWAY)), JSONL);
    let mut phones = Phones::at(cluster.place.gateway_port());
    let talks = |name| Scenario::of(name).talking(Duration::from_secs(3));
    let mut vendor = Sipp::gateway(&cluster.place, "vendor", host, &talks("gateway_answers"));
    let mut caller =
        Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(0), &talks("caller_hangs_up"));
    cluster.switch(0).call_in("answered");
    cluster.redis.kill();
    // The call ends, phones register, and the gateway says that it is closed.
    caller.succeeds();
    vendor.succeeds();
    phones.register(cluster.sip(0), 0..PHONES_AWAY);
    let publisher = Scenario::of("gateway_publishes_once").calling("vendor");
    Sipp::caller(&cluster.place, *host.ip(), cluster.sip(0), &publisher).succeeds();
    let kept = PHONES_AWAY as f64 + 2.0;
    until("all of that is in the journal", SOON, || {
        (cluster.switch(0).metric("tandem_journal_entries", "") == kept).then_some(())
    });
    // One that wants to be gone could come back: it is to try again.
    assert!(phones.try_to_unregister(cluster.sip(0), 1).starts_with("SIP/2.0 503 "));

    cluster.kill(0);
    cluster.redis.restart_empty();
    cluster.start_again(0);
    assert!(phones.missing(cluster.sip(0), 0..PHONES_AWAY).is_empty(), "at once");
    until("the journal is empty", SOON, || {
        (cluster.switch(0).metric("tandem_journal_entries", "") == 0.0).then_some(())
    });
    let elsewhere = |phones: &mut Phones| phones.missing(cluster.sip(1), 0..PHONES_AWAY).is_empty();
    until("the other node finds them", SOON, || elsewhere(&mut phones).then_some(()));
    assert_eq!(cluster.redis.count_keys("{tandem:b??}:pub:vendor"), 1, "the publication, too");
    let (first, second) = (cluster.stop(0), cluster.stop(1));
    let cdrs: Vec<_> = first.calls.iter().chain(&second.calls).collect();
    assert_eq!(cdrs.len(), 1, "one record");
    assert_eq!(cdrs[0].text("end_reason"), "normal", "as it was, and not as of a lost node");
}

#[test]
fn a_journal_that_another_process_has_or_that_cannot_be_written_keeps_a_node_from_starting() {
    let cluster = Cluster::journalling(Place::new(), 1, "", JSONL);
    let text =
        cluster.configuration_of("node-9").replace("journal = \"journal\"", "journal = \"node-1/journal\"");
    let said = fails_to_start(&cluster, &text);
    assert!(said.contains("store.journal") && said.contains("another process uses it"), "{said}");
    let said = fails_to_start(&cluster, &text.replace("node-1/journal", "/proc/journal"));
    assert!(said.contains("store.journal"), "{said}");
}

/// What a node says that cannot start with this configuration.
fn fails_to_start(cluster: &Cluster, text: &str) -> String {
    let file = cluster.place.folder.join("wrong.toml");
    std::fs::write(&file, text).expect("the test's folder is writable");
    let mut command = binary(&cluster.place.folder);
    let output = command.args(["run", "--config"]).arg(&file).output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_record_that_redis_had_taken_and_lost_before_the_sink_had_it_is_written() {
    let mut postgres = Postgres::start();
    let place = Place::new();
    let host = place.gateway_port();
    let vendor = format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\n");
    let sink = format!("type = \"postgresql\", url = {:?}", postgres.url());
    let mut cluster = Cluster::writing(place, 2, &vendor, &sink);
    let calls = |name| Scenario::of(name).times(CALLS, 100, Duration::from_secs(60));
    let mut vendor = Sipp::gateway(&cluster.place, "vendor", host, &calls("gateway_answers"));
    postgres.kill();
    let caller = calls("caller_hangs_up");
    Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(0), &caller).succeeds();
    vendor.succeeds();
    until("all calls have ended in the store", SOON, || (stored_calls(&cluster) == 0).then_some(()));
    cluster.redis.restart_empty();
    postgres.start_again();
    let count = || postgres.query("SELECT count(*) FROM cdr")?.first()?.parse::<u32>().ok();
    until("all records are in the table", Duration::from_secs(30), || {
        count().filter(|count| *count == CALLS)
    });
}

#[test]
fn a_publication_that_redis_has_lost_is_given_back_without_a_publish() {
    let place = Place::new();
    let host = place.gateway_port();
    let vendor = format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\n");
    let mut cluster = Cluster::start(place, 2, &vendor);
    let publisher = Scenario::of("gateway_publishes_once").calling("vendor");
    Sipp::caller(&cluster.place, *host.ip(), cluster.sip(0), &publisher).succeeds();
    let stored = |cluster: &Cluster| cluster.redis.count_keys("{tandem:b??}:pub:vendor");
    assert_eq!(stored(&cluster), 1);
    cluster.redis.restart_empty();
    until("it is there again", SOON, || (stored(&cluster) == 1).then_some(()));
    cluster.kill(1);
    cluster.start_again(1);
    let gateways = cluster.switch(1).ask("GET", "/api/v1/gateways").json();
    let list = gateways["gateways"].as_array().expect("a list").clone();
    let vendor = list.iter().find(|gateway| gateway["name"] == "vendor").expect("the vendor").clone();
    assert_eq!(vendor["publication"]["standing"], "alive", "{vendor}");
}

#[test]
fn nodes_that_share_an_address_send_each_endpoint_one_keep_alive_per_period_and_one_goes_on_for_another() {
    const PERIOD: Duration = Duration::from_secs(10);
    let sections = "[parameters]\nSS_SIP_NAT_KEEP_ALIVE_PERIOD = 10\n".to_owned() + &Phones::sections(1);
    let place = Place::new();
    let phone = place.gateway_port();
    let mut cluster = Cluster::behind(place, "198.51.100.1:5060", 2, &sections);
    let mut phones = Phones::at(phone).behind_a_nat();
    phones.register(cluster.sip(0), 0..1);
    // The first shows whose turn it is; then one per period.
    let first = phones.keep_alive(PERIOD * 2);
    let second = phones.keep_alive(PERIOD * 2);
    let gap = second.1.duration_since(first.1);
    assert!(gap > PERIOD - Duration::from_secs(1), "by one node, and not by both: {gap:?}");
    assert_eq!(second.0, first.0, "the same node goes on");
    let sender = (0..2).find(|node| cluster.sip(*node) == second.0).expect("one of the nodes");
    cluster.kill(sender);
    let third = phones.keep_alive(PERIOD * 3);
    let gap = third.1.duration_since(second.1);
    assert_ne!(third.0, second.0, "the other node goes on");
    println!("{gap:?} from the last keep-alive of one node to the first of another");
    // A period, the life of a lease, and what it takes to see that it stands still.
    assert!(gap < PERIOD + Duration::from_secs(10), "{gap:?}");
}
