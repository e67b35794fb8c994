//! The model of the gateways' slots.

use crate::violation::Rule;
use std::collections::BTreeSet;
use tandem_switch::gateway::Limits;

/// The window over which calls per second are counted.
const CPS_WINDOW: u64 = 1_000;

/// A call and its attempt.
type Holder = (usize, u16);

#[derive(Debug)]
pub(super) struct Slots {
    limits: Limits,
    held: BTreeSet<Holder>,
    /// Given back by the call, and by nobody else.
    returned: BTreeSet<Holder>,
    granted_at: Vec<u64>,
}

/// A broken rule.
pub(super) type Broken = Result<(), (Rule, String)>;

impl Slots {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, held: BTreeSet::new(), returned: BTreeSet::new(), granted_at: Vec::new() }
    }

    /// The gateway has said whether it takes a call.
    pub(super) fn answered(&mut self, holder: Holder, granted: bool, now: u64) -> Broken {
        if granted && self.held.contains(&holder) {
            // Asked again by a call that does not know of the first answer.
            return Ok(());
        }
        self.granted_at.retain(|at| now - at < CPS_WINDOW);
        let held = self.held.len();
        let recent = self.granted_at.len();
        let full = self.limits.max_calls.is_some_and(|limit| held >= limit as usize);
        let quick = self.limits.cps.is_some_and(|limit| recent >= limit as usize);
        if granted {
            self.granted_at.push(now);
            self.held.insert(holder);
        }
        match granted {
            true if full => {
                Err((Rule::Slots, format!("slot {} where {:?} are allowed", held + 1, self.limits)))
            }
            true if quick => {
                Err((Rule::Slots, format!("{} calls within a second, {:?}", recent + 1, self.limits)))
            }
            false if !full && !quick => Err((
                Rule::Slots,
                format!("refused with {held} slots held, {recent} of this second, {:?}", self.limits),
            )),
            true | false => Ok(()),
        }
    }

    /// A call gives a slot back; one that has panicked may not know that it has.
    pub(super) fn released(&mut self, holder: Holder, may_repeat: bool) -> Broken {
        let was_held = self.held.remove(&holder);
        let is_first = self.returned.insert(holder);
        if may_repeat || (was_held && is_first) {
            return Ok(());
        }
        Err((Rule::Slots, format!("slot {holder:?} comes back twice")))
    }

    /// The call is gone, and its place on the node gives back what it still holds.
    pub(super) fn dropped(&mut self, call: usize) -> usize {
        let before = self.held.len();
        self.held.retain(|(holder, _)| *holder != call);
        before - self.held.len()
    }

    /// The gateway's actor has forgotten when its calls began.
    pub(super) fn restarted(&mut self) {
        self.granted_at.clear();
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }
}
