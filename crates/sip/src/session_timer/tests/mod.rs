//! Session timers, row by row.

mod agreement;
mod lines;
mod outcomes;
mod schedule;

use super::*;
use crate::header::{Refresher, SessionExpires};
use crate::time::{Mono, Now, Wall};
use std::time::Duration;

const UAC: Option<Refresher> = Some(Refresher::Uac);
const UAS: Option<Refresher> = Some(Refresher::Uas);

const START: Now = Now { mono: Mono(1_000_000), wall: Wall(1_700_000_000_000) };

fn seconds(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn policy() -> SessionPolicy {
    SessionPolicy {
        interval_secs: 600,
        min_se_secs: 90,
        segment: 2,
        schedule: Schedule::Divide,
        hangup: Hangup::Grace(Duration::ZERO),
    }
}

fn expires(secs: u32, refresher: Option<Refresher>) -> Option<SessionExpires> {
    Some(SessionExpires { secs, refresher })
}

/// The headers of a peer that supports timers.
fn capable(expires: Option<SessionExpires>) -> TimerHeaders {
    TimerHeaders { expires, min_se: None, supported: true }
}

/// Seconds since [`START`].
fn since_start(at: Mono) -> u64 {
    at.since(START.mono).as_secs()
}

fn at(secs: u64) -> Mono {
    START.mono + seconds(secs)
}

/// A timer with a session of that interval that began at [`START`].
fn running(policy: SessionPolicy, interval_secs: u32, refreshes: Refreshes) -> SessionTimer {
    let refresher = match refreshes {
        Refreshes::Us => UAC,
        Refreshes::Peer => UAS,
    };
    let mut timer = SessionTimer::new(policy);
    timer.on_success(&capable(expires(interval_secs, refresher)), START.mono);
    timer
}
