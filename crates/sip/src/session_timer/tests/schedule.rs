//! When a session is refreshed and given up: both schedules, every segment, many intervals.

use super::*;

/// The times at which a session that nobody answers is refreshed, if each refresh is given up at once.
fn refreshes(policy: SessionPolicy, interval_secs: u32) -> Vec<Duration> {
    let interval = seconds(u64::from(interval_secs));
    let next = |after: &Duration| policy.next_refresh(interval, *after);
    std::iter::successors(next(&Duration::ZERO), next).collect()
}

fn whole(refreshes: &[Duration]) -> Vec<u64> {
    refreshes.iter().map(Duration::as_secs).collect()
}

#[test]
fn refresh_schedules_as_ruling_1_has_them() {
    let rows: &[(Schedule, u32, u32, &[u64])] = &[
        (Schedule::Divide, 600, 2, &[300]),
        (Schedule::Divide, 600, 3, &[200, 400]),
        (Schedule::Divide, 600, 4, &[150, 300, 450]),
        (Schedule::Divide, 600, 10, &[60, 120, 180, 240, 300, 360, 420, 480, 540]),
        (Schedule::Divide, 90, 2, &[45]),
        (Schedule::Divide, 90, 3, &[30]),
        (Schedule::Divide, 90, 10, &[9, 18, 27, 36, 45, 50]),
        (Schedule::Divide, 1800, 2, &[900]),
        (Schedule::Late, 600, 2, &[300]),
        (Schedule::Late, 600, 4, &[450]),
        (Schedule::Late, 600, 10, &[540]),
        (Schedule::Late, 90, 10, &[50]),
        (Schedule::Late, 300, 10, &[258]),
    ];
    for (schedule, interval, segment, expected) in rows {
        let policy = SessionPolicy { schedule: *schedule, segment: *segment, ..policy() };
        let found = refreshes(policy, *interval);
        assert_eq!(whole(&found), *expected, "{schedule:?}, {interval} s ÷ {segment}");
    }
}

#[test]
fn no_refresh_is_later_than_the_peers_hang_up_allows() {
    for schedule in [Schedule::Divide, Schedule::Late] {
        for segment in 2..=10 {
            for interval_secs in
                [30, 60, 90, 91, 96, 100, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 86_400]
            {
                let policy = SessionPolicy { schedule, segment, ..policy() };
                let found = refreshes(policy, interval_secs);
                let case = format!("{schedule:?}, {interval_secs} s ÷ {segment}: {found:?}");
                let interval = f64::from(interval_secs);
                let last = interval - f64::min(32.0, interval / 3.0) - 10.0;
                assert!(!found.is_empty(), "{case}");
                assert!(found.iter().all(|at| at.as_secs_f64() <= last + 1e-6), "{case}");
                assert!(found.is_sorted(), "{case}");
                assert!(found.len() < segment as usize, "{case}");
                let divided = interval / f64::from(segment);
                let first = match schedule {
                    Schedule::Divide => divided,
                    Schedule::Late => interval - divided,
                };
                assert!((found[0].as_secs_f64() - first.min(last)).abs() < 1e-6, "{case}");
            }
        }
    }
}

#[test]
fn the_refresher_asks_at_each_boundary_and_then_ends() {
    let policy = SessionPolicy { segment: 4, ..policy() };
    let mut timer = running(policy, 600, Refreshes::Us);
    for boundary in [150, 300, 450] {
        assert_eq!(timer.deadline().map(since_start), Some(boundary));
        assert_eq!(timer.on_timer(at(boundary) + Duration::ZERO), Due::Refresh);
        let expected = if boundary == 450 { Due::End } else { Due::Nothing };
        assert_eq!(timer.on_outcome(RefreshOutcome::Silent, at(boundary + 32)), expected);
    }
}

#[test]
fn boundaries_that_pass_while_a_refresh_is_open_are_left_out() {
    let policy = SessionPolicy { segment: 10, ..policy() };
    let mut timer = running(policy, 100, Refreshes::Us);
    assert_eq!(timer.on_timer(at(10)), Due::Refresh);
    assert_eq!(timer.on_timer(at(20)), Due::Nothing);
    assert_eq!(timer.on_outcome(RefreshOutcome::Silent, at(42)), Due::Nothing);
    assert_eq!(timer.deadline().map(since_start), Some(50));
    assert_eq!(timer.on_timer(at(50)), Due::Refresh);
    // An open refresh does not outlast the session: 100 − min(32, 33).
    assert_eq!(timer.deadline().map(since_start), Some(68));
    assert_eq!(timer.on_timer(at(68)), Due::End);
}

#[test]
fn a_silent_peer_is_given_up_as_early_hangup_says() {
    let rows = [
        (600, Hangup::Grace(Duration::ZERO), 568),
        (90, Hangup::Grace(Duration::ZERO), 60),
        (600, Hangup::Grace(seconds(30)), 598),
        (600, Hangup::Grace(seconds(3600)), 4168),
        (600, Hangup::Margin(Duration::ZERO), 568),
        (600, Hangup::Margin(seconds(60)), 508),
        // Never so early that a peer which refreshes in time is cut off.
        (600, Hangup::Margin(seconds(3600)), 400),
        (90, Hangup::Margin(seconds(30)), 60),
    ];
    for (interval, hangup, expected) in rows {
        let timer = &mut running(SessionPolicy { hangup, ..policy() }, interval, Refreshes::Peer);
        let case = format!("{interval} s, {hangup:?}");
        assert_eq!(timer.deadline().map(since_start), Some(expected), "{case}");
        assert_eq!(timer.on_timer(at(expected - 1)), Due::Nothing, "{case}");
        assert_eq!(timer.on_timer(at(expected)), Due::End, "{case}");
    }
}

#[test]
fn early_hangup_does_not_shift_a_session_that_we_refresh() {
    let timer = running(SessionPolicy { hangup: Hangup::Grace(seconds(60)), ..policy() }, 90, Refreshes::Us);
    assert_eq!(timer.deadline().map(since_start), Some(45));
    let mut timer = timer;
    assert_eq!(timer.on_timer(at(45)), Due::Refresh);
    assert_eq!(timer.deadline().map(since_start), Some(60));
}

#[test]
fn a_refresh_of_either_side_begins_the_session_anew() {
    let mut timer = running(policy(), 600, Refreshes::Peer);
    timer.accept(&capable(expires(600, UAC)), at(290));
    assert_eq!(timer.deadline().map(since_start), Some(290 + 568));
    let mut timer = running(policy(), 600, Refreshes::Us);
    assert_eq!(timer.on_timer(at(300)), Due::Refresh);
    let answer = RefreshOutcome::Success(capable(expires(600, UAC)));
    assert_eq!(timer.on_outcome(answer, at(302)), Due::Nothing);
    assert_eq!(timer.deadline().map(since_start), Some(602));
}

#[test]
fn an_heir_goes_on_by_the_wall_clock() {
    for refreshes in [Refreshes::Us, Refreshes::Peer] {
        for (gone, due) in [
            (0, Due::Nothing),
            (100, Due::Nothing),
            (310, Due::Refresh),
            (567, Due::Refresh),
            (700, Due::End),
        ] {
            let timer = running(policy(), 600, refreshes);
            let frozen = timer.freeze(START);
            // The heir's own clock has just begun.
            let now = Now { mono: Mono(5), wall: Wall(START.wall.0 + gone * 1000) };
            let mut heir = SessionTimer::thaw(policy(), frozen, now);
            assert_eq!(heir.agreed(), timer.agreed());
            let expected = match (due, refreshes) {
                (Due::Refresh, Refreshes::Peer) => Due::Nothing,
                (due, _) => due,
            };
            assert_eq!(heir.on_timer(now.mono), expected, "{refreshes:?} after {gone} s");
            if gone == 100 {
                let left = if refreshes == Refreshes::Us { 200 } else { 468 };
                assert_eq!(heir.deadline(), Some(now.mono + seconds(left)));
            }
        }
    }
}

#[test]
fn a_clock_that_jumped_back_does_not_stretch_a_session() {
    let frozen = running(policy(), 600, Refreshes::Peer).freeze(START);
    let now = Now { mono: Mono(5), wall: Wall(0) };
    let heir = SessionTimer::thaw(policy(), frozen, now);
    assert_eq!(heir.deadline(), Some(now.mono + seconds(568)));
}
