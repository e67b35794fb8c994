//! A store that loses what it had taken, what this node does about it, and the sink that has each record once all the same.

use super::life::End;
use super::{Event, World};
use crate::coverage::Fault;
use crate::model::Heard;
use crate::plan::{Kind, Loss, StoreMood};
use crate::violation::Rule;
use tandem_cluster::Written;
use tandem_switch::call::{CallId, Input};

/// How long it may take until a node notices that the store may have lost something, in ms.
const NOTICED: u64 = 1_500;

/// How long after that calls may take until the store has them again, if it answers.
const WHOLE: u64 = 6_000;

/// How long records wait for their sink at most.
const GATHERED: u64 = 1_000;

/// Where records end up.
#[derive(Default)]
pub(super) struct Sink {
    /// What it knows to have been written: the very memory that production has.
    written: Written<CallId>,
    /// What it was written.
    lines: Vec<CallId>,
    /// Whether it is going to look for records.
    looks: bool,
}

impl Sink {
    /// How often the records of a call were written.
    pub(super) fn records_of(&self, id: CallId) -> usize {
        self.lines.iter().filter(|of| **of == id).count()
    }
}

impl World {
    pub(super) fn enter_losses(&mut self) {
        for (at_ms, loss) in self.plan.losses.clone() {
            self.enter(at_ms, Event::Loses(loss));
        }
    }

    /// The store begins to lose something.
    pub(super) fn loses(&mut self, loss: Loss) {
        match loss {
            Loss::Emptied => {
                self.fault(Fault::Emptied);
                let before = self.store.clone();
                let kept = self.being_restored();
                self.store.lose_all(&kept, self.now);
                self.has_lost(&before);
            }
            Loss::FailedOver(ms) => {
                self.fault(Fault::FailedOver);
                self.split = Some(self.store.clone());
                self.enter(ms, Event::FailsOver);
            }
            Loss::TwoMasters(ms) => {
                self.fault(Fault::TwoMasters);
                self.split = Some(self.store.clone());
                // Who talks goes on talking with the other node, which is not in this world.
                let may_be_stolen = self.plan.kind == Kind::SetUps;
                for life in 0..self.lives.len() {
                    if may_be_stolen && self.lives[life].host.is_some() && self.misfortune.chance(10) {
                        let after = self.misfortune.below(ms);
                        self.enter(after, Event::Steal(life));
                    }
                }
                self.enter(ms, Event::FailsOver);
            }
        }
    }

    /// The other server is the only one from now on.
    pub(super) fn fails_over(&mut self) {
        if let Some(other) = self.split.take() {
            let before = std::mem::replace(&mut self.store, other);
            for id in self.being_restored() {
                self.store.keep_from(&before, id);
            }
            self.has_lost(&before);
        }
    }

    /// Calls that are being claimed after a panic. Their state is in the store alone: where both fail at once a call is lost, and
    /// nobody can tell.
    fn being_restored(&self) -> Vec<CallId> {
        let is = |life: &&super::life::Life| life.host.as_ref().is_some_and(|host| host.call().is_none());
        self.lives.iter().filter(is).map(|life| life.id).collect()
    }

    /// Calls and ended calls are told of what may have been lost, as soon as somebody notices.
    fn has_lost(&mut self, before: &super::store::Store) {
        let noticed = self.misfortune.below(NOTICED);
        self.enter(noticed, Event::TellEnds);
        for life in 0..self.lives.len() {
            if self.lives[life].host.is_none() {
                continue;
            }
            let id = self.lives[life].id;
            let (had, has) = (before.place_of(id), self.store.place_of(id));
            let end_is_lost = before.is_settled(id) && !self.store.is_settled(id);
            if end_is_lost || had > has && !self.store.is_settled(id) {
                self.lives[life].lost = self.lives[life].lost.max(had).or(Some((0, 0)));
                let calm = self.plan.store.calm_since(self.now.0 + noticed, WHOLE);
                let wait = calm - self.now.0 + self.plan.lateness_ms;
                self.enter(wait, Event::IsWhole(life));
            }
            let wait = noticed + self.misfortune.below(200);
            self.enter(wait, Event::Lost(life));
        }
    }

    pub(super) fn is_lost(&mut self, life: usize) {
        if !self.saboteur.ignores_loss() {
            self.step(life, Heard::StoreLost, Input::StoreLost);
        }
    }

    /// What was lost of a call is there again.
    pub(super) fn is_whole(&mut self, life: usize) {
        // An end that was lost is told again, or is long known to whom it concerns.
        let Some(lost) = self.lives[life].lost.take().filter(|lost| *lost > (0, 0)) else { return };
        let id = self.lives[life].id;
        let is_there = self.store.place_of(id) >= Some(lost) || self.store.is_settled(id);
        if self.lives[life].host.is_some() && !is_there && !self.plan_goes_on(life) {
            let detail = format!("{:?} where {lost:?} was lost", self.store.place_of(id));
            self.fail(Rule::Whole, Some(life), detail);
        }
    }

    /// Whether the store has lost something again meanwhile, or is losing it: there is another time to ask.
    fn plan_goes_on(&self, life: usize) -> bool {
        let recent = |at: u64| at <= self.now.0 && self.now.0 < at + NOTICED + WHOLE + 3_000;
        let losses = self.plan.losses.iter().filter(|(at, _)| recent(*at)).count();
        self.split.is_some() || losses > 1 || self.lives[life].panicked
    }

    /// A call hears that a write is stored.
    pub(super) fn note_stored(&mut self, life: usize, seq: u64) {
        if let Some((_, end)) = self.lives[life].ending.take_if(|(of, _)| *of == seq) {
            self.lives[life].has_ended = true;
            self.ended.note(end, self.now);
        }
    }

    /// The store is told again of calls that have ended of late.
    pub(super) fn tell_ends(&mut self) {
        let (mood, until) = self.plan.store.mood_at(self.now.0);
        if matches!(mood, StoreMood::Stalled | StoreMood::Failing(_)) {
            // One that falls silent comes back as another.
            let wait = until - self.now.0 + 1;
            return self.enter(wait, Event::TellEnds);
        }
        if self.saboteur.forgets_ends() {
            return;
        }
        for End { id, epoch, records } in self.ended.of_late(self.now) {
            // One that is another node's by now has its record from there.
            let _ = self.store.end(id, epoch, records, self.now);
        }
        self.gather_records();
    }

    /// The sink looks for records before long.
    pub(super) fn gather_records(&mut self) {
        if !std::mem::replace(&mut self.sink.looks, true) {
            let wait = self.misfortune.below(GATHERED);
            self.enter(wait, Event::Drains);
        }
    }

    /// The sink is written what the store has for it; now and then the store does not hear of that.
    pub(super) fn drains(&mut self) {
        self.sink.looks = false;
        let ids = self.store.unconfirmed();
        let (sink, now) = (&mut self.sink, self.now);
        let forgets = self.saboteur.forgets_written();
        let new: Vec<_> = ids.iter().copied().filter(|id| forgets || !sink.written.has(id, now)).collect();
        sink.lines.extend(&new);
        sink.written.note(new.into_iter(), now);
        if ids.is_empty() {
            return;
        }
        if self.misfortune.chance(5) {
            self.fault(Fault::LostConfirmation);
            return self.gather_records();
        }
        self.store.confirm(&ids);
    }
}
