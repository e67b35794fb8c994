//! Calls outlive their node: real processes that are killed, and user agents that follow target refreshes.

use crate::agents::{Agents, Answers, Side, Standing};
use crate::cdr::Cdr;
use crate::gate::Gate;
use crate::nodes::{Cluster, JSONL};
use crate::place::Place;
use crate::switch::binary;
use crate::tls::authority::Authority;
use crate::until::{SOON, until};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Calls that are up when a node is killed, unless the environment says otherwise.
fn calls_up(usual: usize) -> usize {
    let said = std::env::var("TANDEM_CALLS_UP").ok();
    said.map_or(usual, |said| said.parse().expect("TANDEM_CALLS_UP: a number"))
}

/// Calls per second at which they are set up.
const RATE: u32 = 100;

/// A cluster of three with one vendor, and agents at both ends.
fn with_agents(answers: Answers) -> (Cluster, Agents) {
    let place = Place::new();
    let (host, port) = (place.gateway_port(), place.port());
    let caller = SocketAddrV4::new(place.caller, port);
    let cluster = Cluster::start(place, 3, &vendor(host));
    (cluster, Agents::start(caller, host, answers))
}

/// The same, with nodes that peers know by one address; what is sent there goes to any of them.
fn behind_one_address(answers: Answers) -> (Cluster, Agents, SocketAddrV4) {
    let place = Place::new();
    let (host, port, shared) = (place.gateway_port(), place.port(), place.gateway_port());
    let caller = SocketAddrV4::new(place.caller, port);
    let cluster = Cluster::behind(place, &shared.to_string(), 3, &vendor(host));
    let agents = Agents::start(caller, host, answers);
    agents.balance(shared, &[0, 1, 2].map(|node| cluster.sip(node)));
    (cluster, agents, shared)
}

fn vendor(host: SocketAddrV4) -> String {
    format!(
        "[[routing_gateway]]\nname = \"vendor\"\naddress = \"{host}\"\nmax_calls = 5000\n\
         [parameters]\nSS_CDR_RECORD_NONCONNECT = \"On\"\n"
    )
}

/// Hangs up at alternating ends, and waits until both know.
fn hang_up_all(agents: &Agents, numbers: impl Iterator<Item = usize>) {
    let mut count = 0;
    for number in numbers {
        agents.hang_up(if number % 2 == 0 { Side::Caller } else { Side::Callee }, number);
        count += 1;
    }
    until("every BYE is answered, and passed on", SOON, || {
        let over = |standing| matches!(standing, Standing::HungUp(200) | Standing::Ended);
        (agents.count(Side::Caller, over) >= count && agents.count(Side::Callee, over) >= count).then_some(())
    });
}

/// Slots of the vendor that the store holds.
fn slots_held(cluster: &Cluster) -> usize {
    let script = "return redis.call('ZCARD', redis.call('KEYS', '*:slots:vendor')[1] or 'none')";
    cluster.redis.eval(script)[0].parse().expect("a number")
}

/// Calls that these nodes have taken over.
fn takeovers(cluster: &Cluster, nodes: &[usize], state: &str) -> usize {
    let of = |node: &usize| cluster.switch(*node).metric("tandem_takeovers_total", state) as usize;
    nodes.iter().map(of).sum()
}

/// The records of all nodes, of which no call may have two.
fn records(cluster: &Cluster) -> Vec<Cdr> {
    let all = (0..3).flat_map(|node| Cdr::read(&cluster.records(node)));
    let all: Vec<Cdr> = all.filter(Cdr::is_of_a_call).collect();
    let ids: BTreeSet<_> = all.iter().map(|cdr| cdr.text("id").to_owned()).collect();
    assert_eq!(ids.len(), all.len(), "a call has two records");
    all
}

/// Waits until each of so many calls has its record, and all slots are free. The records.
fn all_is_settled(cluster: &Cluster, agents: &Agents, count: usize, end_reason: &str) -> Vec<Cdr> {
    let all = || Some(records(cluster)).filter(|all| all.len() == count);
    let records = until("each has its record", SOON, all);
    records.iter().for_each(|cdr| cdr.has(&[("end_reason", end_reason.into())]));
    // Those who are cancelled say so to an address where nobody is: they are waited for as long as SIP asks for.
    until("no slot is held", Duration::from_secs(45), || (slots_held(cluster) == 0).then_some(()));
    assert_eq!(agents.faults(), Vec::<String>::new());
    records
}

/// All are ringing, and the store knows.
fn are_ringing(cluster: &Cluster, agents: &Agents, count: usize) {
    until("all are ringing", SOON, || {
        (agents.count(Side::Caller, |standing| standing == Standing::Ringing) == count).then_some(())
    });
    is_stored(cluster, count);
}

/// The store has so many calls.
fn is_stored(cluster: &Cluster, count: usize) {
    until("all are stored", SOON, || {
        (cluster.redis.count_keys("{tandem:b??}:call:*") == count).then_some(())
    });
}

#[test]
fn answered_calls_of_a_killed_node_go_on_at_its_heirs() {
    let count = calls_up(200);
    let (mut cluster, agents) = with_agents(Answers::AtOnce);
    agents.call_all(0..count, RATE, &[cluster.sip(0)]);
    agents.are_answered(count, SOON);
    is_stored(&cluster, count);
    cluster.kill(0);
    let killed = Instant::now();
    let mut most = None;
    until("heirs own all calls", SOON, || {
        let taken = takeovers(&cluster, &[1, 2], "answered");
        if taken * 100 >= count * 99 {
            most.get_or_insert_with(|| killed.elapsed());
        }
        (taken == count).then_some(())
    });
    println!("99 % of {count} calls had an owner {:?} after the kill", most.expect("all are more"));
    let refreshed = until("every leg is refreshed", Duration::from_secs(10), || {
        let refreshed: Option<Vec<Duration>> = agents.refreshed(killed).into_values().collect();
        refreshed
    });
    println!("the last leg was refreshed {:?} after the kill", refreshed.iter().max().expect("some"));
    let dead = cluster.sip(0);
    for number in 0..count {
        let side = if number % 2 == 0 { Side::Caller } else { Side::Callee };
        assert_ne!(agents.target(side, number), dead);
        agents.hang_up(side, number);
    }
    until("every BYE is answered, and passed on", SOON, || {
        let hung_up = |side| agents.count(side, |standing| standing == Standing::HungUp(200));
        let ended = |side| agents.count(side, |standing| standing == Standing::Ended);
        let both = |side| hung_up(side) + ended(side);
        (both(Side::Caller) == count && both(Side::Callee) == count).then_some(())
    });
    for cdr in all_is_settled(&cluster, &agents, count, "normal") {
        let nodes = cdr.get("nodes").as_array().expect("a list").clone();
        assert!(nodes.len() == 2 && nodes[0] == "node-1" && nodes[1] != "node-1", "{nodes:?}");
    }
}

#[test]
fn answered_calls_of_a_node_that_comes_back_at_once_go_on_there_and_nobody_is_told() {
    let count = calls_up(60);
    let (mut cluster, agents) = with_agents(Answers::AtOnce);
    agents.call_all(0..count, RATE, &[cluster.sip(0)]);
    agents.are_answered(count, SOON);
    // With the others it would be a race for the calls.
    cluster.stop(1);
    cluster.stop(2);
    let killed = Instant::now();
    cluster.kill(0);
    cluster.start_again(0);
    until("it has its calls again", SOON, || (takeovers(&cluster, &[0], "answered") == count).then_some(()));
    for number in 0..count {
        agents.hang_up(if number % 2 == 0 { Side::Caller } else { Side::Callee }, number);
    }
    until("every BYE is answered", SOON, || {
        let over = |standing| matches!(standing, Standing::HungUp(200) | Standing::Ended);
        (agents.count(Side::Caller, over) == count && agents.count(Side::Callee, over) == count).then_some(())
    });
    assert!(agents.refreshed(killed).values().all(Option::is_none), "the address is the same");
    let records = all_is_settled(&cluster, &agents, count, "normal");
    records.iter().for_each(|cdr| cdr.has(&[("nodes", ["node-1"].as_slice().into())]));
}

#[test]
fn ringing_calls_of_a_killed_node_whose_address_is_gone_end_cleanly_with_their_records() {
    let count = calls_up(100);
    let (mut cluster, agents) = with_agents(Answers::WhenTold);
    agents.call_all(0..count, RATE, &[cluster.sip(0)]);
    are_ringing(&cluster, &agents, count);
    cluster.kill(0);
    let killed = Instant::now();
    until("callers are refused, and who is called is no longer", Duration::from_secs(8), || {
        let refused = agents.count(Side::Caller, |standing| standing == Standing::Refused(500));
        let cancelled = agents.count(Side::Callee, |standing| standing == Standing::Ended);
        (refused == count && cancelled == count).then_some(())
    });
    println!("{count} ringing calls had ended {:?} after the kill", killed.elapsed());
    all_is_settled(&cluster, &agents, count, "node lost");
}

#[test]
fn ringing_calls_of_a_killed_node_that_comes_back_connect_when_they_are_answered() {
    let count = calls_up(100);
    let (mut cluster, agents) = with_agents(Answers::WhenTold);
    agents.call_all(0..count, RATE, &[cluster.sip(0)]);
    are_ringing(&cluster, &agents, count);
    cluster.kill(0);
    cluster.start_again(0);
    until("it has its calls again", SOON, || (takeovers(&cluster, &[0], "setup") == count).then_some(()));
    agents.answer();
    agents.are_answered(count, SOON);
    for number in 0..count {
        agents.hang_up(if number % 2 == 0 { Side::Caller } else { Side::Callee }, number);
    }
    all_is_settled(&cluster, &agents, count, "normal");
}

#[test]
fn messages_reach_the_owner_of_their_call_by_whichever_node_they_come() {
    let count = calls_up(60);
    let (cluster, agents, shared) = behind_one_address(Answers::AtOnce);
    agents.call_all(0..count, RATE, &[shared]);
    agents.are_answered(count, SOON);
    hang_up_all(&agents, 0..count);
    let forwarded: f64 =
        (0..3).map(|node| cluster.switch(node).metric("tandem_messages_forwarded_total", "")).sum();
    assert!(forwarded > 0.0, "some came elsewhere");
    all_is_settled(&cluster, &agents, count, "normal");
}

#[test]
fn ringing_calls_of_a_killed_node_connect_at_their_heirs_where_the_address_is_shared() {
    let count = calls_up(100);
    let (mut cluster, agents, shared) = behind_one_address(Answers::WhenTold);
    agents.balance(shared, &[cluster.sip(0)]);
    agents.call_all(0..count, RATE, &[shared]);
    are_ringing(&cluster, &agents, count);
    cluster.kill(0);
    agents.balance(shared, &[cluster.sip(1), cluster.sip(2)]);
    until("heirs own all calls", SOON, || (takeovers(&cluster, &[1, 2], "setup") == count).then_some(()));
    agents.answer();
    agents.are_answered(count * 95 / 100, SOON);
    println!("{} of {count} connect", agents.count(Side::Caller, |standing| standing == Standing::Answered));
    let answered: Vec<_> =
        agents.standings(Side::Caller).into_iter().filter(|(_, s)| *s == Standing::Answered).collect();
    hang_up_all(&agents, answered.into_iter().map(|(number, _)| number));
    let records = until("each has its record", SOON, || {
        // One may have been answered a moment later.
        (0..count).for_each(|number| agents.hang_up_if_answered(Side::Caller, number));
        Some(records(&cluster)).filter(|all| all.len() == count)
    });
    let normal = records.iter().filter(|cdr| cdr.text("end_reason") == "normal").count();
    assert!(normal * 100 >= count * 95, "{normal}");
    assert_eq!(agents.faults(), Vec::<String>::new());
}

#[test]
fn a_node_that_was_stopped_for_ten_seconds_sends_nothing_for_calls_that_it_has_lost() {
    let count = calls_up(100);
    let (cluster, agents) = with_agents(Answers::AtOnce);
    agents.call_all(0..count, RATE, &[cluster.sip(0)]);
    agents.are_answered(count, SOON);
    let paused = Instant::now();
    cluster.switch(0).signal("-STOP");
    until("heirs own all calls", SOON, || (takeovers(&cluster, &[1, 2], "answered") == count).then_some(()));
    // What they send to where the calls were waits at its socket.
    for number in 0..count / 2 {
        agents.hang_up(if number % 2 == 0 { Side::Caller } else { Side::Callee }, number);
    }
    until("ten seconds have passed", Duration::from_secs(12), || {
        (paused.elapsed() > Duration::from_secs(10)).then_some(())
    });
    let resumed = Instant::now();
    cluster.switch(0).signal("-CONT");
    until("it has let go of them", SOON, || {
        cluster.switch(0).log().contains("speaks for its calls again").then_some(())
    });
    until("some seconds have passed", SOON, || (resumed.elapsed() > Duration::from_secs(3)).then_some(()));
    // What still came to it was passed on, and the answers came back the same way.
    let heard = agents.heard_of(cluster.sip(0), resumed);
    let forwarded = cluster.switch(0).metric("tandem_messages_forwarded_total", "") as usize;
    assert!(heard.iter().all(|line| line.starts_with("SIP/2.0 ")), "{heard:?}");
    assert!(heard.len() <= forwarded, "{} answers, {forwarded} passed on: {heard:?}", heard.len());
    hang_up_all(&agents, count / 2..count);
    all_is_settled(&cluster, &agents, count, "normal");
}

#[test]
fn a_rolling_restart_drops_no_call_and_refuses_none() {
    let (up, rate) = (calls_up(60), 20);
    let (mut cluster, agents) = with_agents(Answers::AtOnce);
    for node in 0..3 {
        agents.call_all((0..up).filter(|number| number % 3 == node), RATE, &[cluster.sip(node)]);
    }
    agents.are_answered(up, SOON);
    let mut next = up;
    let mut call = |agents: &Agents, nodes: &[SocketAddrV4], seconds: u64| {
        let from = next;
        next += (rate * seconds) as usize;
        for number in from..next {
            // Callers take the nodes in turn, and the next one where that does not answer (RFC 3263 §4.3).
            let mut nodes = nodes.to_vec();
            nodes.rotate_left(number % 3);
            agents.call(number, &nodes);
            // The pace of the load, not a wait for anything.
            std::thread::sleep(Duration::from_secs(1) / rate as u32);
        }
    };
    let nodes = [0, 1, 2].map(|node| cluster.sip(node));
    for node in 0..3 {
        let began = Instant::now();
        cluster.switch(node).terminate();
        // An orchestrator takes a while until it sends nothing there any more.
        call(&agents, &nodes, 2);
        let others: Vec<_> = nodes.iter().filter(|at| **at != nodes[node]).copied().collect();
        while cluster.is_running(node) {
            call(&agents, &[others.clone(), others.clone()].concat(), 1);
            assert!(began.elapsed() < Duration::from_secs(45), "it does not stop");
        }
        println!("node {node} had drained after {:?}", began.elapsed());
        cluster.ended(node);
        cluster.start_again(node);
        call(&agents, &nodes, 1);
    }
    agents.are_answered(next, SOON);
    let dropped: Vec<_> = agents
        .standings(Side::Caller)
        .into_iter()
        .filter(|(_, standing)| *standing != Standing::Answered)
        .collect();
    assert!(dropped.is_empty(), "{dropped:?}");
    hang_up_all(&agents, 0..next);
    all_is_settled(&cluster, &agents, next, "normal");
}

#[test]
fn a_node_is_drained_by_command_and_stays_or_leaves_as_it_is_told() {
    let count = calls_up(60);
    let (mut cluster, agents) = with_agents(Answers::AtOnce);
    agents.call_all(0..count, RATE, &[cluster.sip(0)]);
    agents.are_answered(count, SOON);
    let (api, folder) = (cluster.switch(0).api(), cluster.place.folder.clone());
    let drain = |arguments: &[&str]| {
        let mut command = binary(&folder);
        let output = command.arg("drain").args(arguments).args(["--api", &api]).output();
        let output = output.expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        assert!(output.status.success(), "{arguments:?}: {}", text(output.stderr));
        text(output.stdout)
    };
    assert!(drain(&["--status"]).contains(&format!("takes new calls; {count} in progress")));
    let said = drain(&["--stay", "--timeout", "60"]);
    println!("{said}");
    assert!(said.contains(&format!("drained: 0 calls here, {count} handed over")), "{said}");
    assert_eq!(cluster.switch(0).ask("GET", "/readyz").status, 503);
    agents.call(count, &[cluster.sip(0)]);
    agents.are_answered(count + 1, SOON);
    let elsewhere = || [1, 2].map(|node| cluster.switch(node).calls().len()).iter().sum::<usize>();
    assert_eq!(elsewhere(), count + 1, "what still comes is set up elsewhere");
    assert!(drain(&["--status", "--json"]).contains("\"placed\":1"));
    drain(&["--cancel"]);
    assert_eq!(cluster.switch(0).ask("GET", "/readyz").status, 200);
    agents.call(count + 1, &[cluster.sip(0)]);
    agents.are_answered(count + 2, SOON);
    assert_eq!(cluster.switch(0).calls().len(), 1, "it takes calls again");
    let said = drain(&[]);
    assert!(said.ends_with("the node has left\n"), "{said}");
    until("it has left", SOON, || (!cluster.is_running(0)).then_some(()));
    cluster.ended(0);
    hang_up_all(&agents, 0..count + 2);
    all_is_settled(&cluster, &agents, count + 2, "normal");
}

#[test]
fn a_node_that_is_cut_off_from_the_store_alone_sends_nothing_for_its_calls_and_lets_go_of_them() {
    let count = calls_up(60);
    let place = Place::new();
    let (host, port) = (place.gateway_port(), place.port());
    let caller = SocketAddrV4::new(place.caller, port);
    let redis = tandem_testredis::Server::start(&[]);
    let url = redis.url();
    let way = Gate::to(&url);
    let mut cluster = Cluster::at(place, (redis, way.url()), 1, (&vendor(host), JSONL));
    cluster.look_for_the_store_at(&url);
    cluster.add(2, "");
    let agents = Agents::start(caller, host, Answers::AtOnce);
    agents.call_all(0..count, RATE, &[cluster.sip(0)]);
    agents.are_answered(count, SOON);
    way.close();
    let cut_off = Instant::now();
    until("heirs own all calls", SOON, || (takeovers(&cluster, &[1, 2], "answered") == count).then_some(()));
    println!("heirs had all calls {:?} after the cut", cut_off.elapsed());
    // They are the owners now: this node has not a word to say, whatever it is told.
    let since = Instant::now();
    hang_up_all(&agents, 0..count);
    assert_eq!(
        agents.heard_of(cluster.sip(0), since).iter().filter(|line| !line.starts_with("SIP/2.0 ")).count(),
        0
    );
    way.open();
    until("it has let go of them", SOON, || {
        cluster.switch(0).log().contains("speaks for its calls again").then_some(())
    });
    all_is_settled(&cluster, &agents, count, "normal");
}

/// What the chart does to stop a node, and for how long it waits.
struct Hooks {
    drain: Vec<String>,
    grace: Duration,
}

impl Hooks {
    /// As the chart's template has them, with its default values.
    fn of_the_chart() -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/tandem/");
        let read = |file: &str| std::fs::read_to_string(format!("{folder}{file}")).expect("the chart");
        let (template, values) = (read("templates/statefulset.yaml"), read("values.yaml"));
        let seconds =
            values.lines().find_map(|line| line.strip_prefix("drainSeconds: ")).expect("drainSeconds");
        let grace =
            template.lines().find_map(|line| line.trim().strip_prefix("terminationGracePeriodSeconds: "));
        assert_eq!(grace, Some("{{ add .Values.drainSeconds 30 }}"));
        let line = template.lines().find(|line| line.contains("tandem drain")).expect("the hook");
        let command = line.replace("{{ .Values.drainSeconds }}", seconds);
        let words = command.split_whitespace().skip_while(|word| *word != "drain");
        let drain = words.take_while(|word| *word != "--api").map(str::to_owned).collect();
        Self { drain, grace: Duration::from_secs(seconds.parse::<u64>().expect("a number") + 30) }
    }
}

#[test]
fn a_roll_with_the_hooks_of_the_chart_drops_no_call() {
    let hooks = Hooks::of_the_chart();
    let (up, rate) = (calls_up(60), 20);
    let (mut cluster, agents) = with_agents(Answers::AtOnce);
    for node in 0..3 {
        agents.call_all((0..up).filter(|number| number % 3 == node), RATE, &[cluster.sip(node)]);
    }
    agents.are_answered(up, SOON);
    let all = [0, 1, 2].map(|node| cluster.sip(node));
    let mut next = up;
    // An orchestrator takes a while until it sends nothing any more where a node is not ready.
    let mut load = |agents: &Agents, seconds: f64, not_at: Option<usize>| {
        for _ in 0..(seconds * f64::from(rate)) as usize {
            let mut nodes = all.to_vec();
            nodes.rotate_left(next % 3);
            nodes.retain(|at| not_at.is_none_or(|node| *at != all[node]));
            // Callers take the next node where one does not answer (RFC 3263 §4.3).
            agents.call(next, &[nodes.clone(), nodes].concat());
            next += 1;
            // The pace of the load, not a wait for anything.
            std::thread::sleep(Duration::from_secs(1) / rate);
        }
    };
    for node in 0..3 {
        let began = Instant::now();
        // First the hook, while calls still come; then the signal; the process is killed after the grace period.
        let mut hook = binary(&cluster.place.folder);
        hook.args(&hooks.drain)
            .args(["--api", &cluster.switch(node).api()])
            .stdout(std::process::Stdio::null());
        let mut hook = hook.spawn().expect("the binary runs");
        let status = loop {
            load(&agents, 0.5, (began.elapsed() > Duration::from_secs(2)).then_some(node));
            if let Some(status) = hook.try_wait().expect("it is our child") {
                break status;
            }
        };
        assert!(status.success(), "the hook failed: {status}");
        cluster.switch(node).terminate();
        while cluster.is_running(node) {
            load(&agents, 0.1, Some(node));
            assert!(began.elapsed() < hooks.grace, "it would be killed");
        }
        println!("node {node} was stopped after {:?}", began.elapsed());
        cluster.ended(node);
        // Ready again, and then for as long as `minReadySeconds`.
        cluster.start_again(node);
        load(&agents, 5.0, None);
    }
    agents.are_answered(next, SOON);
    let dropped = agents.dropped();
    assert!(dropped.is_empty(), "{dropped:?}");
    hang_up_all(&agents, 0..next);
    all_is_settled(&cluster, &agents, next, "normal");
}

#[test]
fn a_feature_level_is_raised_once_all_nodes_know_it_and_older_ones_stay_out() {
    let place = Place::new();
    let folder = place.folder.clone();
    let mut cluster = Cluster::start(place, 2, "");
    let api = cluster.switch(0).api();
    let raise = || {
        let output =
            binary(&folder).args(["nodes", "raise", "--api", &api]).output().expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.success(), text(output.stdout) + &text(output.stderr))
    };
    let (is_raised, said) = raise();
    assert!(!is_raised && said.contains("knows no feature level beyond 1"), "{said}");
    // Nodes of a later release take the places of these, one after the other.
    let later = ("FAULT_FEATURE_LEVEL", "2");
    cluster.stop(0);
    cluster.start_again_with(0, later);
    let (is_raised, said) = raise();
    assert!(!is_raised && said.contains("node-2"), "{said}");
    cluster.stop(1);
    cluster.start_again_with(1, later);
    until("the level is raised", SOON, || raise().0.then_some(()));
    let log = cluster.fails_to_start(1);
    assert!(log.contains("the cluster's feature level is 2, and this release knows 1 at most"), "{log}");
}

#[test]
fn nodes_link_over_mutual_tls_and_not_with_whoever_another_authority_has_signed_for() {
    let place = Place::new();
    let files = |authority: &Authority, name: &str| {
        let folder = place.folder.join(name);
        std::fs::create_dir_all(&folder).expect("the test's folder is writable");
        let ca = authority.write(&folder);
        let identity = authority.issue(Ipv4Addr::LOCALHOST).write(&folder);
        format!("[link]\nname = \"127.0.0.1\"\nca = {ca:?}\n{identity}")
    };
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (friend, foe) = (files(&ours, "friend"), files(&theirs, "foe"));
    let mut cluster = Cluster::start(place, 0, &friend);
    cluster.add(2, "");
    cluster.is_configured_with(&foe);
    cluster.add(1, "");
    let says = |node: usize, what: &str, of: &str| {
        let log = cluster.switch(node).log();
        log.lines().any(|line| line.contains(what) && line.contains(of))
    };
    let linked = "linked with another node";
    until("the first two are linked", SOON, || {
        (says(0, linked, "node-2") && says(1, linked, "node-1")).then_some(())
    });
    until("they say that the third is not", SOON, || {
        let none = "no link to another node";
        (says(0, none, "node-3") && says(1, none, "node-3") && says(2, none, "node-1")).then_some(())
    });
    assert!(!says(0, linked, "node-3") && !says(2, linked, "node-1"));
}

/// What goes wrong in a cluster.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Killed,
    Stopped,
    Paused(u64),
    RedisStalls(u64),
    RedisIsEmpty,
}

#[test]
#[ignore = "takes minutes: TANDEM_CHAOS_S says how many seconds"]
fn no_answered_call_is_lost_whatever_goes_wrong_one_after_the_other() {
    let lasts = std::env::var("TANDEM_CHAOS_S").map_or(25, |s| s.parse().expect("TANDEM_CHAOS_S: seconds"));
    let seed = std::env::var("TANDEM_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("TANDEM_CHAOS_SEED={random}");
    let mut draw = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (mut cluster, agents) = with_agents(Answers::AtOnce);
    let nodes = [0, 1, 2].map(|node| cluster.sip(node));
    let mut next = 0;
    // Calls are made all the time, and hung up at one end or the other once there are many.
    let mut load = |agents: &Agents, seconds: f64| {
        let ends = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < ends {
            let mut nodes = nodes.to_vec();
            nodes.rotate_left(next % 3);
            agents.call(next, &nodes);
            next += 1;
            if let Some(old) = next.checked_sub(200) {
                agents.hang_up_if_answered(if old % 2 == 0 { Side::Caller } else { Side::Callee }, old);
            }
            // The pace of the load, not a wait for anything.
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let began = Instant::now();
    load(&agents, 8.0);
    while began.elapsed() < Duration::from_secs(lasts) {
        let node = draw(3) as usize;
        let trouble = match draw(6) {
            0 | 1 => Trouble::Killed,
            2 => Trouble::Stopped,
            3 => Trouble::Paused(1 + draw(8)),
            4 => Trouble::RedisStalls(1 + draw(6)),
            _ => Trouble::RedisIsEmpty,
        };
        println!("{:?}: {trouble:?}, node {node}", began.elapsed());
        match trouble {
            Trouble::Killed => {
                cluster.kill(node);
                load(&agents, draw(8) as f64);
                cluster.start_again(node);
            }
            Trouble::Stopped => {
                cluster.switch(node).terminate();
                while cluster.is_running(node) {
                    load(&agents, 0.5);
                }
                cluster.ended(node);
                cluster.start_again(node);
            }
            Trouble::Paused(seconds) => {
                cluster.switch(node).signal("-STOP");
                load(&agents, seconds as f64);
                cluster.switch(node).signal("-CONT");
            }
            Trouble::RedisStalls(seconds) => {
                cluster.redis.signal("STOP");
                load(&agents, seconds as f64);
                cluster.redis.signal("CONT");
            }
            Trouble::RedisIsEmpty => cluster.redis.restart_empty(),
        }
        // One trouble is over before the next begins.
        load(&agents, 7.0 + draw(4) as f64);
        let dropped = agents.dropped();
        assert!(dropped.is_empty(), "after {trouble:?} of {node}: {dropped:?}");
        assert_eq!(agents.faults(), Vec::<String>::new(), "after {trouble:?} of {node}");
    }
    agents.settle(SOON);
    println!(
        "{next} calls, {} of them not answered",
        agents.count(Side::Caller, |s| matches!(s, Standing::Refused(_)))
    );
    for number in 0..next {
        agents.hang_up_if_answered(if number % 2 == 0 { Side::Caller } else { Side::Callee }, number);
    }
    agents.settle(Duration::from_secs(40));
    until("no slot is held", Duration::from_secs(50), || (slots_held(&cluster) == 0).then_some(()));
    is_stored(&cluster, 0);
    let answered =
        agents.count(Side::Caller, |standing| matches!(standing, Standing::HungUp(_) | Standing::Ended));
    // A file may have a record that another node's has, too, if the store was lost and its writer killed.
    let recorded = || {
        let all = (0..3).flat_map(|node| Cdr::read(&cluster.records(node))).filter(Cdr::is_of_a_call);
        let talked = all.filter(|cdr| !cdr.get("answered_at").is_null());
        talked.map(|cdr| cdr.text("id").to_owned()).collect::<BTreeSet<_>>().len()
    };
    until("answered calls have their records", SOON, || (recorded() >= answered).then_some(()));
    assert!(agents.dropped().is_empty(), "{:?}", agents.dropped());
}
