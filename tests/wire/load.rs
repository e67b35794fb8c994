//! Many calls at once.

use crate::sipp::Scenario;
use crate::wire::Wire;
use std::collections::HashSet;
use std::time::Duration;

/// Calls in the run.
const CALLS: u32 = 10_000;
/// New calls per second.
const RATE: u32 = 200;

#[test]
fn ten_thousand_calls_at_200_per_second_and_none_fails() {
    let mut wire = Wire::new();
    let patience = Duration::from_secs(180);
    let scenario = |name| Scenario::of(name).times(CALLS, RATE, patience).talking(Duration::from_millis(500));
    let mut vendor = wire.gateway("vendor", scenario("gateway_answers"));
    let mut switch = wire.start();
    wire.call(&switch, scenario("caller_hangs_up")).succeeds();
    vendor.succeeds();
    switch.is_alive();
    switch.is_idle();
    for state in ["setup", "ringing", "answered"] {
        assert_eq!(switch.metric("tandem_calls_active", state), 0.0, "{state}");
    }
    assert_eq!(switch.metric("tandem_calls_started_total", ""), f64::from(CALLS));
    let cdrs = switch.stop().calls;
    let ids: HashSet<&str> = cdrs.iter().map(|cdr| cdr.text("id")).collect();
    assert_eq!((cdrs.len(), ids.len()), (CALLS as usize, CALLS as usize), "one record per call, each once");
    let odd: Vec<_> = cdrs.iter().filter(|cdr| cdr.text("end_reason") != "normal").take(3).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}
