//! More calls than the switch is rated for.

use crate::sipp::Scenario;
use crate::switch::Switch;
use crate::until::until;
use crate::wire::Wire;
use std::thread;
use std::time::{Duration, Instant};

/// What the switch is rated at, in new calls per second.
const RATED: u32 = 200;
/// What it is offered.
const OFFERED: u32 = 1_000;
/// For so long.
const SECONDS: u32 = 12;
/// Calls that stand all the while.
const ESTABLISHED: u32 = 20;

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn rated_at_200_calls_per_second_and_offered_1000_it_carries_180_and_keeps_those_it_has() {
    let mut wire = Wire::new();
    wire.section(&format!("[limits]\ncps = {RATED}"));
    let calls = OFFERED * SECONDS;
    let _vendor = wire.gateway("vendor", Scenario::of("gateway_answers").times(calls, OFFERED, PATIENCE));
    let mut switch = wire.start();
    let long = Scenario::of("caller_hangs_up").times(ESTABLISHED, ESTABLISHED, PATIENCE);
    let mut established = wire.call(&switch, long.talking(Duration::from_secs(20)));
    until("the calls stand", PATIENCE, || {
        (switch.metric("tandem_calls_active", "answered") >= f64::from(ESTABLISHED)).then_some(())
    });
    let crowd = Scenario::of("caller_is_answered_or_refused").times(calls, OFFERED, PATIENCE);
    let mut crowd = wire.call(&switch, crowd.talking(Duration::from_millis(500)));
    until("it is overloaded", PATIENCE, || {
        (switch.metric("tandem_admission_refused_total", "node_cps") > 0.0).then_some(())
    });
    let invites = |switch: &Switch| {
        switch.metric("tandem_calls_started_total", "") + switch.metric("tandem_admission_refused_total", "")
    };
    let answered = |switch: &Switch| switch.metric("tandem_calls_answered_total", "");
    let (began, before) = (Instant::now(), (invites(&switch), answered(&switch)));
    let six_seconds = before.1 + f64::from(6 * RATED);
    until("calls of six seconds are answered", PATIENCE, || (answered(&switch) >= six_seconds).then_some(()));
    let per_second = |grown: f64| grown / began.elapsed().as_secs_f64();
    let goodput = per_second(answered(&switch) - before.1);
    let offered = per_second(invites(&switch) - before.0);
    println!("offered {offered:.0} calls/s, answered {goodput:.0} calls/s");
    assert!(offered > 2.0 * f64::from(RATED), "{offered} calls/s are no overload");
    assert!(goodput >= 0.9 * f64::from(RATED), "{goodput} calls/s answered of {offered} offered");
    assert!(goodput <= 1.05 * f64::from(RATED), "{goodput} calls/s answered");
    // Every one was answered or refused, and those that stood were not touched.
    crowd.succeeds();
    established.succeeds();
    switch.is_alive();
    let cdrs = switch.stop().calls;
    let odd: Vec<_> = cdrs.iter().filter(|cdr| cdr.text("end_reason") != "normal").take(3).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}

/// So many times in a row the switch comes late to everything: enough for most new calls to be shed.
const HELD_UP: usize = 20;

/// How long it is held up each time, and how long it then runs. It measures each 100 ms, so every measurement is late.
const HOLD_UP: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(30));

#[test]
fn a_switch_that_comes_late_sheds_new_calls_with_503_and_retry_after_and_keeps_those_it_has() {
    let mut wire = Wire::new();
    let _vendor = wire.gateway("vendor", Scenario::of("gateway_answers").times(40, 40, PATIENCE));
    let mut switch = wire.start();
    // They hang up after it has been held up, while new calls are still being shed: that lasts for more than ten seconds.
    let long = Scenario::of("caller_hangs_up").times(5, 50, PATIENCE).talking(Duration::from_secs(9));
    let mut established = wire.call(&switch, long);
    until("the calls stand", PATIENCE, || {
        (switch.metric("tandem_calls_active", "answered") >= 5.0).then_some(())
    });
    for _ in 0..HELD_UP {
        switch.signal("-STOP");
        thread::sleep(HOLD_UP.0);
        switch.signal("-CONT");
        thread::sleep(HOLD_UP.1);
    }
    let share = switch.metric("tandem_new_calls_shed_per_mille", "");
    assert!(share > 500.0, "{share} of 1000 new calls are shed");
    let mut crowd = wire.call(&switch, Scenario::of("caller_is_answered_or_refused").times(10, 50, PATIENCE));
    crowd.succeeds();
    let refused = crowd.received("SIP/2.0 503");
    assert!(!refused.is_empty(), "none of ten calls is shed");
    for response in &refused {
        assert!(response.must("Retry-After").parse::<u32>().is_ok_and(|wait| wait > 0), "{}", response.text);
    }
    assert!(switch.metric("tandem_admission_refused_total", "overload") >= 1.0);
    established.succeeds();
    let share = switch.metric("tandem_new_calls_shed_per_mille", "");
    assert!(share > 0.0, "the calls have ended when all was over");
    switch.is_alive();
    let cdrs = switch.stop().calls;
    let normal = cdrs.iter().filter(|cdr| cdr.text("end_reason") == "normal").count();
    assert!(normal >= 5, "{cdrs:#?}");
}
