//! What no step of the cluster may break.
//!
//! * Nobody speaks for a call after somebody else has done so in a later epoch, and two never do in one.
//! * The store takes no write of an epoch before one that it has granted.
//! * A call that both ends hold to be answered ends when one of them hangs up; until then a BYE of either is answered.
//! * Sequence numbers do not go back, as far as a party sees them.
//! * Each answered call has its record in the end, and no call has two that differ.
//! * In calm times each call in conversation has one owner, which holds its slot; and no slot is held for nobody.
//! * In the end nothing is left.

use super::node::Held;
use super::party::Standing;
use super::{Event, LifeOf, World};
use crate::violation::Rule;
use std::collections::{BTreeMap, BTreeSet};
use tandem_sip::time::Mono;
use tandem_switch::call::{CallId, Token, TokenKeys};

/// How often the judge looks around, in ms.
const LOOK: u64 = 1_000;

/// How long a conversation may be without an owner.
const UNOWNED: u64 = 6_000;

/// How long after its call a slot may be held: one that was renewed when it was given back lapses by itself.
const SLOT_LEFT: u64 = 32_000;

/// How long after the last trouble everything is in order again.
const CALM_AFTER: u64 = 20_000;

#[derive(Default)]
pub(super) struct Judge {
    /// Who has spoken for a call in the latest epoch.
    spoke: BTreeMap<CallId, (u32, LifeOf)>,
    /// The latest epoch that the store has granted.
    granted: BTreeMap<CallId, u32>,
    /// Which caller's call it is.
    numbers: BTreeMap<CallId, usize>,
    begun_twice: BTreeSet<CallId>,
    /// Since when conversations have had no owner.
    unowned: BTreeMap<CallId, u64>,
    /// Calls that were answered while the store was away for all.
    excused: BTreeSet<CallId>,
    /// The call that a caller's conversation is.
    talks: BTreeMap<usize, CallId>,
}

impl Judge {
    /// A call begins. Of two nodes to which copies of one INVITE have come the first commit makes one its owner.
    pub(super) fn begins(&mut self, id: CallId, number: usize) {
        if self.numbers.insert(id, number).is_some() {
            self.begun_twice.insert(id);
        }
    }

    pub(super) fn number(&self, id: CallId) -> Option<usize> {
        self.numbers.get(&id).copied()
    }

    /// What a call says is known to nobody but its node.
    pub(super) fn excuse(&mut self, id: CallId) {
        self.excused.insert(id);
    }

    /// Somebody speaks for a call.
    pub(super) fn speaks(&mut self, id: CallId, epoch: u32, life: LifeOf) -> Result<(), String> {
        let before = self.spoke.insert(id, (epoch, life));
        match before {
            Some((latest, other)) if epoch < latest => Err(format!(
                "speaks in epoch {epoch} of {id}, for which {other:?} has spoken in epoch {latest}"
            )),
            Some((latest, other)) if epoch == latest && other != life && !self.begun_twice.contains(&id) => {
                Err(format!("speaks in epoch {epoch} of {id}, in which {other:?} speaks"))
            }
            _ => Ok(()),
        }
    }

    /// The store has given a call to somebody.
    pub(super) fn granted(&mut self, id: CallId, epoch: u32) {
        let latest = self.granted.entry(id).or_default();
        *latest = epoch.max(*latest);
    }

    /// What the store has granted it may have forgotten.
    pub(super) fn store_changes(&mut self) {
        self.granted.clear();
    }

    /// A caller is in conversation.
    pub(super) fn talks(&mut self, number: usize, tag: &str, keys: &TokenKeys) {
        self.talks.extend(Token::parse(tag.as_bytes(), keys).map(|token| (number, token.id)));
    }
}

impl World {
    /// The store has taken a write.
    pub(super) fn stale_write(&mut self, id: CallId, epoch: u32) {
        if let Some(granted) = self.judge.granted.get(&id).filter(|granted| epoch < **granted) {
            let detail = format!("a write of epoch {epoch} where {granted} was granted");
            self.fail(Rule::StaleWrite, self.judge.number(id), detail);
        }
    }

    /// The two ends of a conversation, if there is one.
    fn ends_of(&self, number: usize) -> Option<(CallId, &super::Party, &super::Party)> {
        let id = *self.judge.talks.get(&number).filter(|id| !self.judge.excused.contains(id))?;
        let caller = &self.callers[number];
        let is_its = |party: &&super::Party| {
            Token::parse(party.call_id.as_bytes(), &self.keys).is_some_and(|token| token.id == id)
        };
        let of_number = || self.callees.iter().filter(|party| party.number == number).filter(is_its);
        let callee = of_number().find(|party| party.answered_at.is_some()).or_else(|| of_number().next())?;
        Some((id, caller, callee))
    }

    pub(super) fn look_around(&mut self) {
        self.enter(LOOK, Event::Looks);
        for number in 0..self.callers.len() {
            if let Some(why) = self.is_dropped(number) {
                return self.fail(Rule::Lost, Some(number), why);
            }
        }
        self.check_owned();
        if self.calm_since.saturating_add(CALM_AFTER) < self.now {
            self.check_calm();
        }
    }

    /// Why a conversation ended that nobody has ended.
    fn is_dropped(&self, number: usize) -> Option<String> {
        let (id, caller, callee) = self.ends_of(number)?;
        let hangs_up = |party: &super::Party| party.hung_up;
        let is_over = |party: &super::Party| party.standing == Standing::Ended;
        if (is_over(caller) || is_over(callee)) && !hangs_up(caller) && !hangs_up(callee) {
            return Some(format!(
                "{id} was ended by the switch: {:?}, {:?}",
                caller.standing, callee.standing
            ));
        }
        if self.written.contains_key(&id) || self.store.has_ended(id) {
            // A copy of a BYE may come to a node that cannot ask who has answered it.
            return None;
        }
        let refused =
            |party: &super::Party| matches!(party.standing, Standing::HungUp(status) if status != 200);
        if (refused(caller) && !is_over(callee) && !hangs_up(callee))
            || (refused(callee) && !is_over(caller) && !hangs_up(caller))
        {
            return Some(format!("a BYE of {id} was refused: {:?}, {:?}", caller.standing, callee.standing));
        }
        None
    }

    /// While nothing is wrong but that nodes are dead, each conversation has an owner before long.
    fn check_owned(&mut self) {
        let serves = |node: &super::Node| node.is_up && self.now > node.started_at + UNOWNED;
        let is_served = self.now > self.disturbed_until && self.nodes.iter().any(serves);
        let mut unowned = std::mem::take(&mut self.judge.unowned);
        for number in 0..self.callers.len() {
            let Some((id, caller, callee)) = self.ends_of(number) else { continue };
            let talks = caller.standing == Standing::Answered && callee.standing == Standing::Answered;
            let has = |node: &super::Node| node.is_up && node.calls.contains_key(&id);
            if !talks || !is_served || self.nodes.iter().any(has) {
                unowned.remove(&id);
            } else if self.now > *unowned.entry(id).or_insert(self.now) + UNOWNED {
                return self.fail(Rule::Lost, Some(number), format!("nobody goes on with {id}"));
            }
        }
        self.judge.unowned = unowned;
    }

    fn check_calm(&mut self) {
        let owners = |id: CallId| -> Vec<(usize, &Held)> {
            let held = |node: usize| self.nodes[node].calls.get(&id).map(|held| (node, held));
            (0..self.nodes.len()).filter_map(held).filter(|(_, held)| held.host.call().is_some()).collect()
        };
        let now = Mono(self.now);
        let slots: BTreeSet<_> = self.store.slots(now).collect();
        let mut failure = None;
        for number in 0..self.callers.len() {
            let Some((id, caller, callee)) = self.ends_of(number) else { continue };
            if caller.standing != Standing::Answered || callee.standing != Standing::Answered {
                continue;
            }
            let owners = owners(id);
            let [(_, held)] = &owners[..] else {
                failure =
                    Some((Rule::OneOwner, number, format!("{id} has {} owners in calm times", owners.len())));
                break;
            };
            if held.slots.is_empty() || held.slots.iter().any(|(_, holder)| !slots.contains(holder)) {
                let kept: Vec<_> = held.slots.iter().map(|(_, holder)| holder.attempt).collect();
                failure = Some((Rule::Slots, number, format!("{id} holds no slot in the store: {kept:?}")));
                break;
            }
        }
        if failure.is_none() {
            let known: BTreeSet<_> = self
                .nodes
                .iter()
                .flat_map(|node| node.calls.values())
                .flat_map(|held| held.slots.iter().map(|(_, holder)| *holder))
                .collect();
            if let Some(leaked) = slots.iter().find(|holder| !known.contains(holder)) {
                let number = self.judge.number(leaked.call).unwrap_or_default();
                // One that was given back a moment ago may be on its way.
                if self.judge_saw_leak(*leaked) {
                    failure = Some((Rule::Slots, number, format!("a slot of {} is nobody's", leaked.call)));
                }
            }
        }
        if let Some((rule, number, why)) = failure {
            self.fail(rule, Some(number), why);
        }
    }

    /// Whether the call of a slot is long over.
    fn judge_saw_leak(&self, holder: tandem_switch::gateway::Holder) -> bool {
        !self.store.calls.contains_key(&holder.call)
            && self
                .written
                .get(&holder.call)
                .is_some_and(|at| self.now > at.max(&self.calm_since) + SLOT_LEFT)
    }

    /// When all is over, nothing is left.
    pub(super) fn check_end(&mut self) {
        for number in 0..self.callers.len() {
            if let Some(why) = self.is_dropped(number) {
                return self.fail(Rule::Lost, Some(number), why);
            }
            let caller = &self.callers[number];
            let is_excused = self.judge.talks.get(&number).is_some_and(|id| self.judge.excused.contains(id));
            if is_excused {
                continue;
            }
            if matches!(caller.standing, Standing::Early | Standing::Answered | Standing::HangingUp) {
                let why = format!("the caller is left {:?}", caller.standing);
                return self.fail(Rule::Lost, Some(number), why);
            }
            if let Some((id, _, callee)) = self.ends_of(number) {
                if matches!(callee.standing, Standing::Answered | Standing::HangingUp) {
                    let why = format!("the callee is left {:?}", callee.standing);
                    return self.fail(Rule::Lost, Some(number), why);
                }
                if !self.written.contains_key(&id) {
                    return self.fail(
                        Rule::Cdr,
                        Some(number),
                        format!("{id} was answered and has no record"),
                    );
                }
            }
        }
        let party = self.callees.iter().find(|party| {
            let token = Token::parse(party.call_id.as_bytes(), &self.keys);
            let is_excused = token.is_some_and(|token| self.judge.excused.contains(&token.id));
            !is_excused
                && matches!(party.standing, Standing::Early | Standing::Answered | Standing::HangingUp)
        });
        if let Some(party) = party {
            let (number, why) = (party.number, format!("a callee is left {:?}", party.standing));
            return self.fail(Rule::NoOrphans, Some(number), why);
        }
        let counts = |id: &CallId| !self.judge.excused.contains(id);
        let left = self.nodes.iter().flat_map(|node| node.calls.keys()).copied().filter(counts);
        let left: Vec<_> = left.collect();
        let stored: Vec<_> = self.store.calls.keys().copied().filter(counts).collect();
        if !left.is_empty() || !stored.is_empty() {
            let number = left.first().or(stored.first()).and_then(|id| self.judge.number(*id));
            let detail = format!("{} calls are left at nodes, {} in the store", left.len(), stored.len());
            self.fail(Rule::Leftover, number, detail);
        }
    }
}
