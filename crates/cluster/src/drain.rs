//! Drain: a node that is to stop hands its calls to others, has new ones set up elsewhere, and is needed until nothing of either
//! passes through it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tandem_sip::time::Mono;
use tandem_switch::call::CallId;

/// Calls that are handed over in a second.
pub const HANDED_PER_SECOND: u32 = 400;

/// How long a call that has something open is given to come to rest.
pub const UNREST: Duration = Duration::from_secs(5);

/// How long messages are passed on after the last one.
pub const QUIET: Duration = Duration::from_secs(5);

/// How long they are passed on at most, and for how long new calls are placed elsewhere: 64·T1.
pub const PASSING_ON: Duration = Duration::from_secs(32);

/// How long a call that was placed on another node is waited for until it is answered.
pub const SETUP: Duration = Duration::from_secs(120);

/// What a node that drains keeps an eye on.
#[derive(Debug, Default)]
pub struct Drain {
    since: Option<Mono>,
    handed: usize,
    placed: usize,
    /// When the last message was passed on.
    passed_on: Option<Mono>,
    /// Calls whose INVITE came here and that another node sets up, and since when.
    setting_up: BTreeMap<CallId, Mono>,
    /// Those that have been answered: a copy of an INVITE may come after that.
    answered: BTreeSet<CallId>,
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStage {
    /// Calls are being handed over, or waited for.
    HandingOver,
    /// The node has no calls; what still comes for them is passed on.
    PassingOn,
    /// Nobody needs the node any more.
    Done,
}

/// A drain as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainProgress {
    /// When it began.
    pub since: Mono,
    /// How far it has come.
    pub stage: DrainStage,
    /// Calls that have been handed over.
    pub handed: usize,
    /// New calls that were placed on other nodes.
    pub placed: usize,
    /// Those of them that still ring by way of this node.
    pub setting_up: usize,
}

impl Drain {
    /// The node drains from now on. `false` if it does already.
    pub fn begin(&mut self, now: Mono) -> bool {
        if self.since.is_some() {
            return false;
        }
        *self = Self { since: Some(now), ..Self::default() };
        true
    }

    /// The node takes calls again. What it has handed over stays where it is.
    pub fn cancel(&mut self) {
        self.since = None;
    }

    /// Whether the node drains.
    pub fn is_begun(&self) -> bool {
        self.since.is_some()
    }

    /// A call has been handed over.
    pub fn handed(&mut self, now: Mono) {
        self.handed += 1;
        self.passed_on = Some(now);
    }

    /// A message has been passed on.
    pub fn passed_on(&mut self, now: Mono) {
        if self.since.is_some() {
            self.passed_on = Some(now);
        }
    }

    /// A new call is about to be placed on another node, whose answer may come at once; also for each copy of its INVITE.
    pub fn placed(&mut self, id: CallId, now: Mono) {
        if !self.answered.contains(&id) && self.setting_up.insert(id, now).is_none() {
            self.placed += 1;
        }
    }

    /// It was not: the other node could not be reached.
    pub fn not_placed(&mut self, id: CallId) {
        if self.setting_up.remove(&id).is_some() {
            self.placed -= 1;
        }
    }

    /// Whether some placed call has not been answered.
    pub fn waits_for_answers(&self) -> bool {
        !self.setting_up.is_empty()
    }

    /// A placed call has got its final response by way of this node, and needs it no more.
    pub fn answered(&mut self, id: CallId) {
        if self.setting_up.remove(&id).is_some() {
            self.answered.insert(id);
        }
    }

    /// Whether new calls are still placed elsewhere: by then whoever sends them here has heard that it is not to.
    pub fn places_calls(&self, now: Mono) -> bool {
        self.since.is_some_and(|since| now.since(since) < PASSING_ON)
    }

    /// Whether calls that have not come to rest are handed over as well.
    pub fn insists(&self, now: Mono) -> bool {
        self.since.is_some_and(|since| now.since(since) >= UNREST)
    }

    /// Calls that have been handed over.
    pub fn count_handed(&self) -> usize {
        self.handed
    }

    /// Whether nobody needs this node any more for what was handed over or placed elsewhere.
    pub fn is_done(&mut self, now: Mono) -> bool {
        self.setting_up.retain(|_, since| now.since(*since) < SETUP);
        let is_quiet = self.passed_on.is_none_or(|last| now.since(last) >= QUIET);
        let long_enough = self.since.is_some_and(|since| now.since(since) >= PASSING_ON);
        self.setting_up.is_empty() && (is_quiet || long_enough)
    }

    /// How far it has come, for a node with that many calls in progress; `None` if it has not begun.
    pub fn progress(&mut self, now: Mono, calls: usize) -> Option<DrainProgress> {
        let since = self.since?;
        let stage = match (calls, self.is_done(now)) {
            (0, true) => DrainStage::Done,
            (0, false) => DrainStage::PassingOn,
            _ => DrainStage::HandingOver,
        };
        let (handed, placed, setting_up) = (self.handed, self.placed, self.setting_up.len());
        Some(DrainProgress { since, stage, handed, placed, setting_up })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Mono = Mono(10_000);

    fn begun() -> Drain {
        let mut drain = Drain::default();
        assert!(drain.begin(START));
        drain
    }

    fn after(seconds: u64) -> Mono {
        START + Duration::from_secs(seconds)
    }

    fn stage(drain: &mut Drain, seconds: u64, calls: usize) -> DrainStage {
        drain.progress(after(seconds), calls).expect("it has begun").stage
    }

    #[test]
    fn a_drain_that_has_nothing_to_hand_over_is_done_at_once() {
        assert_eq!(stage(&mut begun(), 0, 0), DrainStage::Done);
    }

    #[test]
    fn a_drain_passes_messages_on_until_there_was_none_for_five_seconds() {
        let mut drain = begun();
        assert_eq!(stage(&mut drain, 1, 1), DrainStage::HandingOver);
        drain.handed(after(1));
        assert_eq!(stage(&mut drain, 5, 0), DrainStage::PassingOn);
        drain.passed_on(after(5));
        assert_eq!(stage(&mut drain, 9, 0), DrainStage::PassingOn);
        assert_eq!(stage(&mut drain, 10, 0), DrainStage::Done);
    }

    #[test]
    fn a_drain_passes_messages_on_for_half_a_minute_at_most() {
        let mut drain = begun();
        for second in 0..31 {
            drain.passed_on(after(second));
            assert_eq!(stage(&mut drain, second, 0), DrainStage::PassingOn);
        }
        drain.passed_on(after(32));
        assert_eq!(stage(&mut drain, 32, 0), DrainStage::Done);
        assert!(!drain.places_calls(after(32)));
    }

    #[test]
    fn a_drain_waits_for_the_answer_to_a_call_that_it_has_placed_elsewhere() {
        let mut drain = begun();
        drain.placed(CallId([1; 12]), after(1));
        drain.placed(CallId([1; 12]), after(2));
        drain.placed(CallId([2; 12]), after(2));
        let progress = drain.progress(after(40), 0).expect("it has begun");
        assert_eq!((progress.placed, progress.setting_up), (2, 2));
        assert_eq!(progress.stage, DrainStage::PassingOn);
        drain.answered(CallId([2; 12]));
        // A copy of its INVITE was under way.
        drain.placed(CallId([2; 12]), after(3));
        assert_eq!(stage(&mut drain, 121, 0), DrainStage::PassingOn);
        assert_eq!(stage(&mut drain, 122, 0), DrainStage::Done, "a set-up takes two minutes at most");
    }

    #[test]
    fn a_drain_that_is_called_off_can_begin_anew() {
        let mut drain = begun();
        assert!(!drain.begin(after(1)));
        drain.handed(after(1));
        drain.cancel();
        assert_eq!(drain.progress(after(2), 3), None);
        assert!(!drain.places_calls(after(2)) && !drain.insists(after(20)));
        assert!(drain.begin(after(3)));
        assert_eq!(drain.count_handed(), 0);
        assert!(!drain.insists(after(7)) && drain.insists(after(8)));
    }
}
