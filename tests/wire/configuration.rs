//! The configuration that nodes have in common, and what changes without a restart.

use crate::nodes::{Cluster, JSONL};
use crate::place::Place;
use crate::sipp::{Scenario, Sipp};
use crate::switch::binary;
use crate::until::{SOON, until};
use crate::wire::Wire;
use serde_json::Value;
use std::fs;
use std::net::SocketAddrV4;
use std::time::Duration;
use tandem_testredis::Server as Redis;

/// Runs a command of `tandem` about a node; whether it succeeded, and what it said.
fn run(cluster: &Cluster, node: usize, arguments: &[&str]) -> (bool, String) {
    let mut command = binary(&cluster.place.folder);
    let api = cluster.switch(node).api();
    let output = command.args(arguments).args(["--api", &api, "--author", "ada"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
}

/// Pushes a text, which is put into a file first.
fn push(cluster: &Cluster, node: usize, text: &str, more: &[&str]) -> (bool, String) {
    let file = cluster.place.folder.join("pushed.toml");
    fs::write(&file, text).expect("the test's folder is writable");
    let file = file.display().to_string();
    run(cluster, node, &[&["config", "push", &file], more].concat())
}

/// The customer, and a vendor at each of these addresses.
fn sections(cluster: &Cluster, vendors: &[(&str, SocketAddrV4)]) -> String {
    let source = cluster.place.caller;
    let mut text = format!("[[mapping_gateway]]\nname = \"customer\"\nsources = [\"{source}/32\"]\n");
    for (name, address) in vendors {
        text += &format!(
            "[[routing_gateway]]\nname = \"{name}\"\naddress = \"{address}\"\nprefixes = [\"\"]\nmax_calls = 10\n"
        );
    }
    text
}

fn all_alive(cluster: &Cluster, count: usize) {
    let alive = |node: usize| cluster.switch(node).metric("tandem_nodes_alive", "") == count as f64;
    until("all nodes know of each other", SOON, || (0..count).all(alive).then_some(()));
}

fn revisions(cluster: &Cluster, count: usize) -> Vec<f64> {
    (0..count).map(|node| cluster.switch(node).metric("tandem_config_revision", "")).collect()
}

fn gateways(cluster: &Cluster, node: usize) -> Vec<String> {
    let answer = cluster.switch(node).ask("GET", "/api/v1/gateways").json();
    let list = answer["gateways"].as_array().expect("a list").clone();
    list.iter().map(|gateway| gateway["name"].as_str().expect("a name").to_owned()).collect()
}

fn calls(cluster: &Cluster, node: usize, called: &str) {
    let scenario = Scenario::of("caller_hangs_up").calling(called);
    Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(node), &scenario).succeeds();
}

#[test]
fn a_revision_that_is_pushed_is_run_by_every_node_and_calls_go_on() {
    let mut cluster = Cluster::start(Place::new(), 3, "");
    all_alive(&cluster, 3);
    let (old, new) = (cluster.place.gateway_port(), cluster.place.gateway_port());
    let mut first = Sipp::gateway(&cluster.place, "old", old, &Scenario::of("gateway_answers"));
    let (done, said) = push(&cluster, 0, &sections(&cluster, &[("old", old)]), &["--comment", "begin"]);
    assert!(done && said.contains("revision 1 is in force at 3 of 3 nodes"), "{said}");
    assert_eq!(revisions(&cluster, 3), [1.0; 3]);
    for node in 0..3 {
        let log = cluster.switch(node).log();
        assert_eq!(log.matches("runs another revision").count(), 1, "once, also where it was pushed");
    }

    // A call by the revision that is about to go, at another node than the one that was asked.
    let talks = Scenario::of("caller_hangs_up").talking(Duration::from_secs(4));
    let mut caller = Sipp::caller(&cluster.place, cluster.place.caller, cluster.sip(1), &talks);
    cluster.switch(1).call_in("answered");
    let (done, said) = push(&cluster, 2, &sections(&cluster, &[("new", new)]), &["--seen", "1"]);
    assert!(done && said.contains("revision 2 is in force at 3 of 3 nodes"), "{said}");
    assert_eq!(gateways(&cluster, 1), ["customer", "new"], "the old one has gone");
    let answers = Scenario::of("gateway_answers").times(3, 10, Duration::from_secs(30));
    let mut second = Sipp::gateway(&cluster.place, "new", new, &answers);
    (0..3).for_each(|node| calls(&cluster, node, "4420"));
    second.succeeds();
    caller.succeeds();
    first.succeeds();
    cluster.switch(1).is_idle();

    // One that starts now runs it too, and says what of its file it does not use.
    cluster.stop(0);
    cluster.start_again(0);
    assert_eq!(gateways(&cluster, 0), ["customer", "new"]);
    assert!(cluster.switch(0).log().contains("mapping_gateway of the file is not used"), "a warning");

    let (_, history) = run(&cluster, 1, &["config", "history"]);
    assert!(history.contains("begin") && history.contains("ada"), "{history}");
    let (_, diff) = run(&cluster, 1, &["config", "diff", "1", "2"]);
    assert!(diff.contains("-name = \"old\"") && diff.contains("+name = \"new\""), "{diff}");
    let (done, said) = run(&cluster, 1, &["config", "rollback", "1"]);
    assert!(done && said.contains("revision 3 is in force"), "{said}");
    assert_eq!(gateways(&cluster, 2), ["customer", "old"]);
    let (done, said) = push(&cluster, 2, &sections(&cluster, &[]), &["--seen", "2"]);
    assert!(!done && said.contains("revision 3 is in force by now"), "{said}");
}

#[test]
fn a_bad_revision_is_refused_whole_on_every_node() {
    let redis = Redis::start(&[]);
    let url = redis.url();
    let mut cluster = Cluster::at(Place::new(), (redis, url), 0, ("", JSONL));
    cluster.add(2, "name = \"edge\"");
    cluster.add(1, "name = \"other\"");
    all_alive(&cluster, 3);
    let vendor = cluster.place.gateway_port();
    let good = sections(&cluster, &[("vendor", vendor)]);
    assert!(push(&cluster, 0, &good, &[]).0);

    let refused = |text: &str, why: &[&str]| {
        let (done, said) = push(&cluster, 0, text, &[]);
        assert!(!done && why.iter().all(|why| said.contains(why)), "{said}");
        assert_eq!(revisions(&cluster, 3), [1.0; 3]);
        assert_eq!(gateways(&cluster, 2), ["customer", "vendor"]);
    };
    // By the node that is asked: each error with its line.
    refused(&good.replace("max_calls = 10", "max_calls = 0"), &["node-1: line 8", "max_calls"]);
    refused(
        "[parameters]\nSS_SIP_TIMEOUT_RINGING = 5000000\n",
        &["node-1: line 2", "SS_SIP_TIMEOUT_RINGING"],
    );
    refused("[[listen]]\ntransport = \"udp\"\n", &["line 1", "each node's own file"]);
    refused("[[endpoint]]\nuser = \"a\"\npassword = \"***\"\n", &["line 3", "not shown"]);
    // By another one, which lacks what the others have.
    refused(&format!("{good}listen = \"edge\"\n"), &["refused by node-3", "node-3: line 9", "edge"]);
    let (done, said) = push(&cluster, 0, &format!("{good}weight = 7\n"), &["--dry-run"]);
    assert!(done && said.contains("every live node could run"), "{said}");
    assert_eq!(revisions(&cluster, 3), [1.0; 3]);

    // One that is down is not asked, and does not start with what it cannot run.
    cluster.stop(2);
    let (done, said) = push(&cluster, 0, &format!("{good}listen = \"edge\"\n"), &[]);
    assert!(done && said.contains("at 2 of 2 nodes"), "{said}");
    let file = cluster.place.folder.join("node-3").join("tandem.toml");
    let mut command = binary(&cluster.place.folder);
    let output = command.args(["run", "--config"]).arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("revision 2") && said.contains("line 9"), "{said}");
}

#[test]
fn a_redis_that_comes_back_empty_is_given_the_configuration_again() {
    let mut cluster = Cluster::start(Place::new(), 2, "");
    all_alive(&cluster, 2);
    let vendor = cluster.place.gateway_port();
    // Longer than one document.
    let filling: String = (0..6_000).map(|line| format!("# comment number {line}\n")).collect();
    let text = sections(&cluster, &[("vendor", vendor)]) + &filling;
    assert!(push(&cluster, 0, "", &[]).0);
    assert!(push(&cluster, 0, &text, &[]).0);
    cluster.redis.restart_empty();
    let shown = || run(&cluster, 1, &["config", "show", "2"]);
    until("it is there again", SOON, || shown().0.then_some(()));
    assert_eq!(shown().1, text, "all of it");
    cluster.kill(0);
    cluster.start_again(0);
    assert_eq!(gateways(&cluster, 0), ["customer", "vendor"]);
}

#[test]
fn passwords_are_not_shown_unless_asked_for() {
    let cluster = Cluster::start(Place::new(), 1, "");
    let text = "[[endpoint]]\nuser = \"alice\"\npassword = \"hush-hush\" # hers\n";
    assert!(push(&cluster, 0, text, &[]).0);
    let (_, shown) = run(&cluster, 0, &["config", "show"]);
    assert_eq!(shown, text.replace("hush-hush", "***"));
    assert_eq!(run(&cluster, 0, &["config", "show", "--secrets"]).1, text);
    assert!(push(&cluster, 0, &text.replace("hush-hush", "other"), &[]).0);
    let (_, diff) = run(&cluster, 0, &["config", "diff", "1"]);
    assert!(diff.contains("only passwords"), "{diff}");
    assert!(!cluster.switch(0).log().contains("hush"), "nor in the log");
}

#[test]
fn a_parameter_is_set_for_all_nodes_and_who_did_it_is_in_the_audit() {
    let cluster = Cluster::start(Place::new(), 2, "");
    all_alive(&cluster, 2);
    let name = "SS_SIP_SESSION_TTL";
    let value = |node: usize| {
        let (_, table) = run(&cluster, node, &["params", "--filter", name]);
        table
            .lines()
            .nth(1)
            .and_then(|row| row.split_whitespace().nth(1).map(str::to_owned))
            .expect("a value")
    };
    let (done, said) = run(&cluster, 0, &["params", "set", name, "900"]);
    assert!(!done && said.contains("no configuration in common"), "{said}");
    assert!(push(&cluster, 0, "# of ours\n[parameters]\nSS_SIP_TIMEOUT_RINGING = 50\n", &[]).0);
    let (done, said) = run(&cluster, 0, &["params", "set", name, "900", "--comment", "shorter"]);
    assert!(done, "{said}");
    assert_eq!((value(0), value(1)), ("900".to_owned(), "900".to_owned()));
    let (_, text) = run(&cluster, 1, &["config", "show"]);
    assert_eq!(text, "# of ours\n[parameters]\nSS_SIP_TIMEOUT_RINGING = 50\nSS_SIP_SESSION_TTL = 900\n");
    let (done, said) = run(&cluster, 0, &["params", "set", name, "5"]);
    assert!(!done && said.contains("60"), "the range: {said}");
    assert!(!run(&cluster, 0, &["params", "set", "SS_NO_SUCH", "5"]).0);
    assert!(run(&cluster, 1, &["params", "unset", name]).0);
    assert_ne!(value(0), "900");

    let audit = cluster.switch(1).ask("GET", "/api/v1/audit?limit=3").json();
    let entries = audit["entries"].as_array().expect("a list").clone();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let details: Vec<_> = entries.iter().map(|entry| text(entry, "detail")).collect();
    assert!(details[0].contains("SS_SIP_SESSION_TTL = the default"), "newest first: {details:?}");
    assert_eq!((text(&entries[0], "by"), text(&entries[0], "node")), ("ada".into(), "node-2".into()));
    assert_eq!((&entries[0]["status"], &entries[1]["status"]), (&200.into(), &404.into()));
    let after = text(&entries[2], "id");
    let older = cluster.switch(0).ask("GET", &format!("/api/v1/audit?after={after}")).json();
    assert_eq!(older["entries"].as_array().map(Vec::len), Some(3), "{older}");
    let (_, table) = run(&cluster, 0, &["audit"]);
    assert!(table.contains("shorter") || table.contains("SS_SIP_SESSION_TTL = 900"), "{table}");
}

#[test]
fn a_file_is_read_anew_on_sighup_and_a_wrong_one_changes_nothing() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let file = wire.place.folder.join("tandem.toml");
    let text = fs::read_to_string(&file).expect("it is there");
    let reload = |text: &str, what: &str| {
        fs::write(&file, text).expect("the test's folder is writable");
        switch.hang_up();
        until(what, SOON, || switch.log().contains(what).then_some(()));
    };
    let names = || {
        let answer = switch.ask("GET", "/api/v1/gateways").json();
        let list = answer["gateways"].as_array().expect("a list").clone();
        list.iter().map(|gateway| gateway["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["customer", "vendor"]);
    reload(&format!("{text}\nmax_calls = \"many\"\n"), "the configuration stays as it is: 1 errors");
    assert_eq!(names(), ["customer", "vendor"]);
    let more = "\n[[routing_gateway]]\nname = \"spare\"\naddress = \"127.0.0.9:5060\"\nprefixes = [\"9\"]\n";
    reload(&format!("{text}{more}"), "read the configuration anew");
    assert_eq!(names(), ["customer", "vendor", "spare"]);
    let mut caller = wire.call(&switch, Scenario::of("caller_hangs_up"));
    caller.succeeds();
    vendor.succeeds();
    reload(&format!("{text}\n[limits]\nmax_calls = 5\n"), "[limits] has changed, which takes a restart");
    reload(&text.replace("[[listen]]", "[[listen]]\nname = \"x\""), "another [[listen]] takes a restart");
    switch.stop();
}
