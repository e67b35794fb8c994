//! A gateway as it runs: who holds its slots, and how its calls went.

use super::Limits;
use crate::admission::Pace;
use crate::call::CallId;
use crate::failover::Failure;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tandem_sip::time::{Mono, Now, Wall};
use thiserror::Error;

/// How many failures a gateway remembers.
pub const MAX_LAST_FAILURES: usize = 10;

/// The time over which ASR, ACD and PDD are taken, in slices.
pub const STATISTICS_WINDOW: Duration = Duration::from_secs(15 * 60);

const SLICES: usize = 15;
const SLICE_MS: u64 = STATISTICS_WINDOW.as_millis() as u64 / SLICES as u64;
const CPS_WINDOW: Duration = Duration::from_secs(1);

/// The longest pause that a gateway is granted, whatever its Retry-After says.
pub const MAX_HOLD: Duration = Duration::from_secs(300);

/// Who holds a slot: one attempt of one call. The caller's own leg is attempt 0 of a mapping gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// The call.
    pub call: CallId,
    /// The attempt's place in the call.
    pub attempt: u16,
}

/// Why a gateway takes no further call now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// `max_calls` are up.
    #[error("at its limit of concurrent calls")]
    Calls,
    /// `cps` calls began within the last second.
    #[error("at its limit of calls per second")]
    Cps,
    /// Disabled, or known to be down.
    #[error("not available")]
    Unavailable,
    /// It asked for a pause (503 with Retry-After).
    #[error("asked for a pause")]
    Paused,
    /// It did not say in time whether it takes the call.
    #[error("no answer on admission")]
    NoAnswer,
}

/// How an attempt went, told when its slot comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Answered, with the time from INVITE to the first 18x or the answer, and the conversation's length.
    Answered {
        /// Post-dial delay.
        pdd: Duration,
        /// From the answer to the end.
        talked: Duration,
    },
    /// Failed.
    Failed(Failure),
    /// Left by us: cancelled by the caller or by a timeout that was no failure of the gateway's.
    Cancelled,
}

/// One of the last failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// When.
    pub at: Wall,
    /// What.
    pub failure: Failure,
}

/// The pure part of a gateway's actor.
#[derive(Debug)]
pub struct GatewayState {
    limits: Limits,
    slots: BTreeSet<Holder>,
    /// When the calls of the last second began.
    recent: VecDeque<Mono>,
    /// Spreads them over the second.
    pace: Pace,
    slices: VecDeque<Slice>,
    last_failures: VecDeque<LastFailure>,
    /// Until when it gets no new calls.
    held_until: Option<Mono>,
    /// Whether it gets calls at all.
    is_available: bool,
    /// How many calls it says itself that it takes at once.
    capacity: Option<u32>,
}

#[derive(Debug, Default)]
struct Slice {
    number: u64,
    attempts: u64,
    answered: u64,
    talked_ms: u64,
    pdd_ms: u64,
}

/// Figures over [`STATISTICS_WINDOW`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Attempts that ended.
    pub attempts: u64,
    /// Of these, answered ones.
    pub answered: u64,
    /// Mean conversation of the answered ones.
    pub acd: Option<Duration>,
    /// Mean post-dial delay of the answered ones.
    pub pdd: Option<Duration>,
}

impl Statistics {
    /// Answer-seizure ratio, 0 to 1; `None` before the first attempt.
    pub fn asr(&self) -> Option<f64> {
        (self.attempts > 0).then(|| self.answered as f64 / self.attempts as f64)
    }
}

impl GatewayState {
    /// A gateway with these limits and no call.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: BTreeSet::new(),
            recent: VecDeque::new(),
            pace: Pace::default(),
            slices: VecDeque::new(),
            last_failures: VecDeque::new(),
            held_until: None,
            is_available: true,
            capacity: None,
        }
    }

    /// Gives it no new calls for that long, at most [`MAX_HOLD`]. A shorter pause does not end a longer one.
    pub fn hold(&mut self, now: Mono, pause: Duration) {
        let until = now + pause.min(MAX_HOLD);
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
    }

    /// How long it gets no new calls.
    pub fn pause(&self, now: Mono) -> Option<Duration> {
        self.held_until.filter(|until| *until > now).map(|until| until.since(now))
    }

    /// Takes a slot for `holder`. Asking again for a slot that is held changes nothing.
    ///
    /// # Errors
    /// Says which limit is reached.
    pub fn admit(&mut self, now: Now, holder: Holder) -> Result<(), Refusal> {
        if self.slots.contains(&holder) {
            return Ok(());
        }
        if !self.is_available {
            return Err(Refusal::Unavailable);
        }
        if self.pause(now.mono).is_some() {
            return Err(Refusal::Paused);
        }
        if self.max_calls().is_some_and(|limit| self.slots.len() >= limit as usize) {
            return Err(Refusal::Calls);
        }
        if let Some(limit) = self.limits.cps {
            while self.recent.front().is_some_and(|began| now.mono.since(*began) >= CPS_WINDOW) {
                self.recent.pop_front();
            }
            if self.recent.len() >= limit as usize || !self.pace.take(now.mono, limit, burst(limit)) {
                return Err(Refusal::Cps);
            }
            self.recent.push_back(now.mono);
        }
        self.slots.insert(holder);
        Ok(())
    }

    /// Says whether it gets calls at all, and how many it takes at once by what it says itself. Calls that it has stay.
    pub fn set_health(&mut self, is_available: bool, capacity: Option<u32>) {
        self.is_available = is_available;
        self.capacity = capacity;
    }

    /// The most concurrent calls: the smaller of its limit and what it says itself.
    pub fn max_calls(&self) -> Option<u32> {
        self.limits.max_calls.into_iter().chain(self.capacity).min()
    }

    /// Takes a slot that a call already holds, whatever the limits: a call that came back keeps what it had.
    pub fn reclaim(&mut self, holder: Holder) {
        self.slots.insert(holder);
    }

    /// Gives a slot back. `false` if it was not held: giving it back twice changes nothing.
    pub fn release(&mut self, now: Now, holder: Holder, outcome: Option<Outcome>) -> bool {
        if !self.slots.remove(&holder) {
            return false;
        }
        if let Some(outcome) = outcome {
            self.record(now, outcome);
        }
        true
    }

    fn record(&mut self, now: Now, outcome: Outcome) {
        let number = now.mono.0 / SLICE_MS;
        if self.slices.back().is_none_or(|slice| slice.number != number) {
            self.slices.push_back(Slice { number, ..Slice::default() });
        }
        self.slices.retain(|slice| slice.number + SLICES as u64 > number);
        let Some(slice) = self.slices.back_mut() else {
            return;
        };
        match outcome {
            Outcome::Answered { pdd, talked } => {
                slice.attempts += 1;
                slice.answered += 1;
                slice.talked_ms += talked.as_millis() as u64;
                slice.pdd_ms += pdd.as_millis() as u64;
            }
            Outcome::Failed(failure) => {
                slice.attempts += 1;
                self.last_failures.push_back(LastFailure { at: now.wall, failure });
                if self.last_failures.len() > MAX_LAST_FAILURES {
                    self.last_failures.pop_front();
                }
            }
            Outcome::Cancelled => slice.attempts += 1,
        }
    }

    /// Who holds its slots.
    pub fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.slots.iter()
    }

    /// Whether that one holds a slot.
    pub fn holds(&self, holder: &Holder) -> bool {
        self.slots.contains(holder)
    }

    /// How many calls may begin at once, where calls per second are limited.
    pub fn burst(&self) -> u32 {
        self.limits.cps.map_or(u32::MAX, burst)
    }

    /// Slots in use.
    pub fn calls(&self) -> usize {
        self.slots.len()
    }

    /// Calls that began within the last second (0 where no CPS limit is set, since nothing is counted then).
    pub fn cps(&self, now: Mono) -> usize {
        self.recent.iter().filter(|began| now.since(**began) < CPS_WINDOW).count()
    }

    /// The configured limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Changes the limits. Calls above a new limit stay.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Figures over the window that ends at `now`.
    pub fn statistics(&self, now: Mono) -> Statistics {
        let number = now.0 / SLICE_MS;
        let mut sum = Slice::default();
        for slice in self.slices.iter().filter(|slice| slice.number + SLICES as u64 > number) {
            sum.attempts += slice.attempts;
            sum.answered += slice.answered;
            sum.talked_ms += slice.talked_ms;
            sum.pdd_ms += slice.pdd_ms;
        }
        let mean = |total_ms: u64| (sum.answered > 0).then(|| Duration::from_millis(total_ms / sum.answered));
        Statistics {
            attempts: sum.attempts,
            answered: sum.answered,
            acd: mean(sum.talked_ms),
            pdd: mean(sum.pdd_ms),
        }
    }

    /// The last failures, oldest first.
    pub fn last_failures(&self) -> impl Iterator<Item = &LastFailure> {
        self.last_failures.iter()
    }
}

/// How many of the calls per second may begin at once: a tenth, or a handful where there are not many. Without it a
/// crowd would use a second's calls up in its first moment, and all who come later in that second were refused.
fn burst(cps: u32) -> u32 {
    (cps / 10).max(cps.min(10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_sip::StatusCode;

    fn at(ms: u64) -> Now {
        Now { mono: Mono(ms), wall: Wall(ms) }
    }

    fn holder(number: u8) -> Holder {
        Holder { call: CallId([number; 12]), attempt: 0 }
    }

    fn state(max_calls: Option<u32>, cps: Option<u32>) -> GatewayState {
        GatewayState::new(Limits { max_calls, cps })
    }

    #[test]
    fn never_above_max_calls_and_a_slot_comes_back_once() {
        let mut gateway = state(Some(2), None);
        assert_eq!(gateway.admit(at(0), holder(1)), Ok(()));
        assert_eq!(gateway.admit(at(0), holder(1)), Ok(()));
        assert_eq!(gateway.admit(at(0), holder(2)), Ok(()));
        assert_eq!(gateway.admit(at(0), holder(3)), Err(Refusal::Calls));
        assert!(gateway.release(at(1), holder(1), None));
        assert!(!gateway.release(at(1), holder(1), None));
        assert_eq!(gateway.calls(), 1);
        assert_eq!(gateway.admit(at(1), holder(3)), Ok(()));
        assert_eq!(gateway.admit(at(1), holder(4)), Err(Refusal::Calls));
    }

    #[test]
    fn cps_holds_over_any_second() {
        let mut gateway = state(None, Some(2));
        assert_eq!(gateway.admit(at(0), holder(1)), Ok(()));
        assert_eq!(gateway.admit(at(900), holder(2)), Ok(()));
        assert_eq!(gateway.admit(at(999), holder(3)), Err(Refusal::Cps));
        assert_eq!(gateway.admit(at(1_000), holder(3)), Ok(()));
        assert_eq!(gateway.admit(at(1_001), holder(4)), Err(Refusal::Cps));
        assert_eq!(gateway.cps(Mono(1_001)), 2);
    }

    #[test]
    fn under_an_overload_calls_are_admitted_evenly_and_at_the_whole_rate() {
        let mut gateway = state(None, Some(200));
        let mut admitted = [0; 100];
        for number in 0..10_000_u32 {
            let mut id = [0; 12];
            id[..4].copy_from_slice(&number.to_be_bytes());
            let holder = Holder { call: CallId(id), attempt: 0 };
            admitted[number as usize / 100] += u32::from(gateway.admit(at(number.into()), holder).is_ok());
        }
        assert_eq!(admitted[..10].iter().sum::<u32>(), 200, "never more than the limit in a second");
        assert!(admitted.iter().all(|tenth| *tenth <= 40), "{admitted:?}");
        assert!(admitted[10..].iter().sum::<u32>() >= 9 * 198);
    }

    #[test]
    fn a_gateway_that_asked_for_a_pause_gets_no_new_call_before_it_is_over() {
        let mut gateway = state(None, None);
        assert_eq!(gateway.admit(at(0), holder(1)), Ok(()));
        gateway.hold(Mono(0), Duration::from_secs(30));
        gateway.hold(Mono(0), Duration::from_secs(10));
        assert_eq!(gateway.admit(at(29_999), holder(2)), Err(Refusal::Paused));
        assert_eq!(gateway.admit(at(29_999), holder(1)), Ok(()), "a slot that is held stays so");
        assert_eq!(gateway.pause(Mono(20_000)), Some(Duration::from_secs(10)));
        assert_eq!(gateway.admit(at(30_000), holder(2)), Ok(()));
        gateway.hold(Mono(40_000), Duration::from_secs(86_400));
        assert_eq!(gateway.pause(Mono(40_000)), Some(MAX_HOLD));
    }

    #[test]
    fn a_published_capacity_caps_the_slots_at_the_smaller_of_both() {
        let mut gateway = state(Some(2), None);
        gateway.set_health(true, Some(1));
        assert_eq!(gateway.admit(at(0), holder(1)), Ok(()));
        assert_eq!(gateway.admit(at(0), holder(2)), Err(Refusal::Calls));
        gateway.set_health(true, Some(9));
        assert_eq!(gateway.admit(at(0), holder(2)), Ok(()));
        assert_eq!(gateway.admit(at(0), holder(3)), Err(Refusal::Calls));
        gateway.set_health(true, Some(0));
        assert_eq!(gateway.calls(), 2, "calls that it has stay");
    }

    #[test]
    fn a_gateway_that_is_not_available_admits_nothing_and_keeps_its_calls() {
        let mut gateway = state(None, None);
        assert_eq!(gateway.admit(at(0), holder(1)), Ok(()));
        gateway.set_health(false, None);
        assert_eq!(gateway.admit(at(0), holder(1)), Ok(()), "a slot that is held stays so");
        assert_eq!(gateway.admit(at(0), holder(2)), Err(Refusal::Unavailable));
        gateway.set_health(true, None);
        assert_eq!(gateway.admit(at(0), holder(2)), Ok(()));
    }

    #[test]
    fn a_call_refused_at_max_calls_does_not_count_for_cps() {
        let mut gateway = state(Some(1), Some(2));
        assert_eq!(gateway.admit(at(0), holder(1)), Ok(()));
        assert_eq!(gateway.admit(at(0), holder(2)), Err(Refusal::Calls));
        gateway.release(at(1), holder(1), None);
        assert_eq!(gateway.admit(at(2), holder(2)), Ok(()));
    }

    #[test]
    fn asr_acd_and_pdd_are_of_the_last_quarter_of_an_hour() {
        let mut gateway = state(None, None);
        let answered = Outcome::Answered { pdd: Duration::from_secs(2), talked: Duration::from_secs(60) };
        for (number, outcome) in
            [(1, answered), (2, Outcome::Cancelled), (3, Outcome::Failed(Failure::TransportError))]
        {
            gateway.admit(at(0), holder(number)).expect("no limit");
            gateway.release(at(0), holder(number), Some(outcome));
        }
        let figures = gateway.statistics(Mono(STATISTICS_WINDOW.as_millis() as u64 - 1));
        assert_eq!((figures.attempts, figures.answered), (3, 1));
        assert_eq!(figures.acd, Some(Duration::from_secs(60)));
        assert_eq!(figures.pdd, Some(Duration::from_secs(2)));
        assert_eq!(gateway.statistics(Mono(STATISTICS_WINDOW.as_millis() as u64)), Statistics::default());
    }

    #[test]
    fn the_last_failures_are_bounded() {
        let mut gateway = state(None, None);
        for number in 0..=MAX_LAST_FAILURES as u8 {
            gateway.admit(at(u64::from(number)), holder(number)).expect("no limit");
            let failed = Outcome::Failed(Failure::Status(StatusCode::SERVICE_UNAVAILABLE));
            gateway.release(at(u64::from(number)), holder(number), Some(failed));
        }
        assert_eq!(gateway.last_failures().count(), MAX_LAST_FAILURES);
        assert_eq!(gateway.last_failures().next().map(|failure| failure.at), Some(Wall(1)));
    }
}
