//! What a refresh's answer means (RFC 4028 §7.4, §10).

use super::*;

/// What the session does after the answer to its refresh at 300 s of 600, which comes at 301 s.
#[derive(Debug, PartialEq)]
enum Then {
    /// Refreshes at that time.
    Refreshes(u64),
    /// Asks for nothing more, and ends at that time.
    Ends(u64),
    EndsNow,
}

fn after(timer: &mut SessionTimer, due: Due, now: u64) -> Then {
    match due {
        Due::Refresh => Then::Refreshes(now),
        Due::End => Then::EndsNow,
        Due::Nothing => {
            let next = timer.deadline().expect("a session that runs");
            match timer.on_timer(next) {
                Due::Refresh => Then::Refreshes(since_start(next)),
                Due::End => Then::Ends(since_start(next)),
                Due::Nothing => panic!("a deadline at which nothing is due"),
            }
        }
    }
}

#[test]
fn every_answer_to_a_refresh_has_its_consequence() {
    let success = |expires| RefreshOutcome::Success(capable(expires));
    let rows = [
        ("2xx, uac", success(expires(600, UAC)), Then::Refreshes(601)),
        ("2xx, shorter", success(expires(120, UAC)), Then::Refreshes(361)),
        ("2xx, uas", success(expires(600, UAS)), Then::Ends(869)),
        ("422", RefreshOutcome::TooSmall(Some(1800)), Then::Refreshes(301)),
        ("422 that was respected", RefreshOutcome::TooSmall(Some(600)), Then::Refreshes(558)),
        ("422 without Min-SE", RefreshOutcome::TooSmall(None), Then::Refreshes(558)),
        ("491", RefreshOutcome::Glare(Duration::from_millis(2_500)), Then::Refreshes(303)),
        ("408 or 481", RefreshOutcome::Gone, Then::EndsNow),
        ("500", RefreshOutcome::Refused(None), Then::Refreshes(558)),
        ("500 with Retry-After", RefreshOutcome::Refused(Some(seconds(7))), Then::Refreshes(308)),
        ("500 with Retry-After 0", RefreshOutcome::Refused(Some(Duration::ZERO)), Then::Refreshes(302)),
        ("503 with a long Retry-After", RefreshOutcome::Refused(Some(seconds(3600))), Then::Ends(568)),
        ("no answer", RefreshOutcome::Silent, Then::EndsNow),
    ];
    for (name, outcome, expected) in rows {
        let mut timer = running(policy(), 600, Refreshes::Us);
        assert_eq!(timer.on_timer(at(300)), Due::Refresh);
        let due = timer.on_outcome(outcome, at(301));
        assert_eq!(after(&mut timer, due, 301), expected, "{name}");
    }
}

#[test]
fn a_422_is_followed_three_times_with_the_largest_min_se() {
    let mut timer = running(policy(), 600, Refreshes::Us);
    assert_eq!(timer.on_timer(at(300)), Due::Refresh);
    for min_se in [700, 800, 900] {
        assert_eq!(timer.on_outcome(RefreshOutcome::TooSmall(Some(min_se)), at(300)), Due::Refresh);
        let lines = timer.request_lines();
        assert_eq!((lines.expires, lines.min_se), (expires(min_se, UAC), Some(min_se)));
    }
    // The fourth is a peer that plays with us.
    assert_eq!(timer.on_outcome(RefreshOutcome::TooSmall(Some(1000)), at(300)), Due::Nothing);
    assert_eq!(timer.deadline().map(since_start), Some(558));
    // And the session still ends as it was agreed.
    assert_eq!(timer.on_timer(at(568)), Due::End);
}

#[test]
fn a_peer_that_puts_a_refresh_off_without_end_is_given_up() {
    let mut timer = running(policy(), 600, Refreshes::Us);
    let mut refreshes = 0;
    loop {
        let next = timer.deadline().expect("a session that runs");
        match timer.on_timer(next) {
            Due::Refresh => refreshes += 1,
            Due::End => break assert_eq!(since_start(next), 568),
            Due::Nothing => panic!("a deadline at which nothing is due"),
        }
        assert_eq!(timer.on_outcome(RefreshOutcome::Glare(Duration::from_millis(10)), next), Due::Nothing);
    }
    assert_eq!(refreshes, 12);
}

#[test]
fn a_refresh_that_finds_its_leg_busy_is_sent_a_little_later() {
    let mut timer = running(policy(), 600, Refreshes::Us);
    assert_eq!(timer.on_timer(at(300)), Due::Refresh);
    timer.on_busy(at(300));
    assert_eq!(timer.deadline().map(since_start), Some(302));
    // What kept the leg busy was a refresh itself.
    timer.on_success(&capable(expires(600, UAC)), at(301));
    timer.on_busy(at(301));
    assert_eq!(timer.deadline().map(since_start), Some(601));
}

#[test]
fn an_answer_that_comes_after_the_timer_was_turned_off_changes_nothing() {
    for outcome in
        [RefreshOutcome::Silent, RefreshOutcome::Refused(None), RefreshOutcome::TooSmall(Some(100))]
    {
        let mut timer = SessionTimer::new(policy());
        assert_eq!(timer.on_outcome(outcome, at(1)), Due::Nothing);
        assert_eq!(timer.deadline(), None);
    }
}
