//! CDRs on their way to the sinks.

use crate::agent::Agent;
use crate::until::{SOON, until};
use crate::world::{Plan, Talk, World};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tandem_sip::Method;

/// A plan with a caller and a vendor.
async fn with_vendor(mut plan: Plan) -> (World, Agent, Agent) {
    let (caller, vendor) = (Agent::at("127.0.0.1").await, Agent::at("127.0.0.1").await);
    plan.vendor("vendor", vendor.address, "");
    (plan.start().await, caller, vendor)
}

async fn talk(world: &World, caller: &mut Agent, vendor: &mut Agent) {
    let talk = Talk::begin(caller, vendor, world.sip()).await;
    talk.end(caller, vendor).await;
    world.is_idle().await;
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_for_a_path_that_cannot_be_written_and_are_written_once() {
    let plan = Plan::new();
    let folder = plan.folder.join("not-there-yet");
    let path = folder.join("cdr.jsonl");
    let (world, mut caller, mut vendor) = with_vendor(plan.writing(&[&path.display().to_string()])).await;
    for _ in 0..3 {
        talk(&world, &mut caller, &mut vendor).await;
    }
    let failed = async || (world.metric("tandem_cdr_write_failures_total", "") > 0.0).then_some(());
    until("a write fails", SOON, failed).await;
    world.counts("tandem_cdr_backlog", "", 3.0).await;
    fs::create_dir(&folder).expect("target is writable");
    world.counts("tandem_cdrs_written_total", "", 3.0).await;
    world.counts("tandem_cdr_backlog", "", 0.0).await;
    assert_eq!(lines(&path), 3);
    assert_eq!(world.node.stop().await.cdrs_lost, 0);
    assert_eq!(lines(&path), 3);
}

/// A try a second, however many records come meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_tried_once_a_second() {
    let (world, mut caller, mut vendor) = with_vendor(Plan::new().writing(&["/dev/full"])).await;
    let began = Instant::now();
    let mut calls = 0;
    while began.elapsed() < Duration::from_secs(4) {
        talk(&world, &mut caller, &mut vendor).await;
        calls += 1;
    }
    assert!(calls > 10, "{calls}");
    let failures = world.metric("tandem_cdr_write_failures_total", "");
    assert!((1.0..=6.0).contains(&failures), "{failures} tries in four seconds");
    assert_eq!(world.node.stop().await.cdrs_lost, calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_sinks_gets_each_record_once_and_neither_waits_for_the_other() {
    let plan = Plan::new();
    let (good, bad) = (plan.folder.join("cdr.jsonl"), plan.folder.join("missing/cdr.jsonl"));
    let (good, bad) = (good.display().to_string(), bad.display().to_string());
    let (world, mut caller, mut vendor) = with_vendor(plan.writing(&[&bad, &good, &good])).await;
    for _ in 0..3 {
        talk(&world, &mut caller, &mut vendor).await;
    }
    world.counts("tandem_cdrs_written_total", "", 3.0).await;
    world.counts("tandem_cdr_backlog", "", 3.0).await;
    assert_eq!(world.call_records().len(), 3);
    fs::create_dir(Path::new(&bad).parent().expect("a folder")).expect("target is writable");
    world.counts("tandem_cdrs_written_total", "", 6.0).await;
    assert_eq!((lines(Path::new(&good)), lines(Path::new(&bad))), (3, 3));
    assert_eq!(world.node.stop().await.cdrs_lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_keeps_neither_the_other_sink_nor_the_stop() {
    let plan = Plan::new();
    let (pipe, good) = (plan.folder.join("pipe"), plan.folder.join("cdr.jsonl"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is everywhere");
    assert!(made.success());
    let (pipe, good) = (pipe.display().to_string(), good.display().to_string());
    let (world, mut caller, mut vendor) = with_vendor(plan.writing(&[&pipe, &good])).await;
    talk(&world, &mut caller, &mut vendor).await;
    world.counts("tandem_cdrs_written_total", "", 1.0).await;
    // This one is not on its way yet when the node stops.
    talk(&world, &mut caller, &mut vendor).await;
    let stopped = tokio::time::timeout(SOON, world.node.stop()).await.expect("it stops all the same");
    assert_eq!((stopped.cdrs_lost, world.call_records().len()), (2, 2));
    // Lets go of the writer, which waits in the kernel for somebody to read.
    let _ = fs::OpenOptions::new().read(true).write(true).open(&pipe);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sink_records_do_not_pile_up() {
    let (world, mut caller, mut vendor) = with_vendor(Plan::new().writing(&[])).await;
    for _ in 0..3 {
        talk(&world, &mut caller, &mut vendor).await;
    }
    world.counts("tandem_cdrs_written_total", "", 3.0).await;
    world.counts("tandem_cdr_backlog", "", 0.0).await;
    assert_eq!(world.node.stop().await.cdrs_lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_on_in_a_new_file_when_log_rotation_takes_the_old_one() {
    let plan = Plan::new();
    let rotated = plan.folder.join("cdr.jsonl.1");
    let (world, mut caller, mut vendor) = with_vendor(plan).await;
    talk(&world, &mut caller, &mut vendor).await;
    world.counts("tandem_cdrs_written_total", "", 1.0).await;
    fs::rename(&world.cdrs, &rotated).expect("it is there");
    talk(&world, &mut caller, &mut vendor).await;
    world.counts("tandem_cdrs_written_total", "", 2.0).await;
    assert_eq!((lines(&rotated), lines(&world.cdrs)), (1, 1));
}

/// However long the numbers and however many the attempts: the call ends, and its own record is written.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_too_long_together_do_not_keep_a_call_from_ending() {
    let mut plan = Plan::new();
    let mut vendors = Vec::new();
    for number in 0..16 {
        let vendor = Agent::at("127.0.0.1").await;
        plan.vendor(&format!("vendor-{number}"), vendor.address, "");
        vendors.push(vendor);
    }
    let world = plan.start().await;
    let mut caller = Agent::at("127.0.0.1").await;
    // Each of these characters takes six in JSON.
    let called = format!("44{}", "%01".repeat(1_300));
    caller.dial(world.sip(), &called).await;
    for vendor in &mut vendors {
        let invite = vendor.request(Method::Invite).await;
        vendor.respond(&invite, 503).await;
    }
    caller.status(500).await;
    world.is_idle().await;
    let [record] =
        &until("its record", SOON, async || Some(world.records()).filter(|all| !all.is_empty())).await[..]
    else {
        panic!("one record")
    };
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(16));
    assert_eq!(world.metric("tandem_store_failures_total", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_calls_are_refused_while_nearly_as_many_records_wait_as_may() {
    let mut plan = Plan::new();
    plan.records = "max_backlog = 10".to_owned();
    let folder = plan.folder.join("not-there-yet");
    let path = folder.join("cdr.jsonl");
    let (world, mut caller, mut vendor) = with_vendor(plan.writing(&[&path.display().to_string()])).await;
    for _ in 0..9 {
        talk(&world, &mut caller, &mut vendor).await;
    }
    world.counts("tandem_cdr_backlog", "", 9.0).await;
    let behind = async || (world.metric("tandem_cdr_lag_seconds", "") >= 1.0).then_some(());
    until("the sink lags", SOON, behind).await;
    let refused = caller.dial(world.sip(), "4420").await;
    caller.status_of(&refused, 503).await;
    assert_eq!(world.metric("tandem_admission_refused_total", "records"), 1.0);
    fs::create_dir(&folder).expect("target is writable");
    world.counts("tandem_cdr_backlog", "", 0.0).await;
    talk(&world, &mut caller, &mut vendor).await;
    world.counts("tandem_cdrs_written_total", "", 10.0).await;
    assert_eq!(world.metric("tandem_cdr_lag_seconds", ""), 0.0);
}
