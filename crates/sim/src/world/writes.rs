//! The way to the store and back: quick, slow, stalled and failing.

use super::life::{Claimed, End, Mail};
use super::store::Refused;
use super::{Event, World};
use crate::coverage::Fault;
use crate::plan::StoreMood;
use tandem_cluster::{Effect, Write, WriteResult};
use tandem_switch::call::CallId;

/// How long the store may take over one request, in ms.
const STORE_LIMIT: u64 = 2_000;

/// What the store is to do at its time.
pub(super) struct StoreEvent {
    life: usize,
    id: CallId,
    request: Request,
    /// Whether whoever asked hears of it.
    answers: bool,
}

enum Request {
    Write { epoch: u32, seq: u64, write: Write },
    Claim { seen_epoch: u32 },
}

/// What becomes of a request.
enum Fate {
    AtOnce,
    /// Done and answered after so many milliseconds.
    After(u64),
    /// Done after the first time, and said to have failed after the second.
    Unanswered(u64, u64),
    /// Never done, and said to have failed after that time.
    Fails(u64),
}

impl World {
    fn fate(&mut self) -> Fate {
        let (mood, until) = self.plan.store.mood_at(self.now.0);
        match mood {
            StoreMood::Immediate => Fate::AtOnce,
            StoreMood::Within(ms) => {
                let delay = self.shell.below(ms + 1);
                if delay > 30 {
                    self.fault(Fault::SlowWrite);
                }
                Fate::After(delay)
            }
            StoreMood::Stalled => {
                self.fault(Fault::StalledWrite);
                let delay = until - self.now.0 + self.shell.below(50);
                if delay < STORE_LIMIT { Fate::After(delay) } else { Fate::Unanswered(delay, STORE_LIMIT) }
            }
            StoreMood::Failing(ms) => {
                let delay = self.shell.below(ms + 1);
                if self.shell.chance(30) {
                    self.fault(Fault::LostAnswer);
                    return Fate::Unanswered(self.shell.below(delay + 1), delay);
                }
                self.fault(Fault::FailedWrite);
                Fate::Fails(delay)
            }
        }
    }

    /// Gives the store a write. One that is done at once is answered at once; of any other the call hears later.
    pub(super) fn give_write(&mut self, life: usize, (epoch, seq): (u32, u64), write: Write) -> Vec<Effect> {
        let id = self.lives[life].id;
        if let Write::End(records) = &write {
            self.lives[life].ending = Some((seq, End { id, epoch, records: records.clone() }));
        }
        if self.saboteur.loses_write(&write) {
            return self.stored(life, (epoch, seq), WriteResult::Stored);
        }
        if self.saboteur.acknowledges_early() {
            let request = Request::Write { epoch, seq, write };
            self.enter_in_order(300, StoreEvent { life, id, request, answers: false });
            return self.stored(life, (epoch, seq), WriteResult::Stored);
        }
        let fate = match self.fate() {
            // Something is under way before it.
            Fate::AtOnce if self.lives[life].pipeline_until > self.now.0 => Fate::After(0),
            other => other,
        };
        let failed = (epoch, seq);
        match fate {
            Fate::AtOnce => {
                let result = self.make_write(life, id, (epoch, seq), write);
                return self.stored(life, (epoch, seq), result);
            }
            Fate::Fails(0) => return self.stored(life, failed, WriteResult::Failed),
            Fate::After(_) | Fate::Unanswered(..) | Fate::Fails(_) => {}
        }
        let request = Request::Write { epoch, seq, write };
        let failure = Mail::Stored { epoch, seq, result: WriteResult::Failed };
        self.enter_request(StoreEvent { life, id, request, answers: true }, fate, failure);
        Vec::new()
    }

    pub(super) fn claim(&mut self, life: usize, seen_epoch: u32) {
        let id = self.lives[life].id;
        let fate = match self.fate() {
            Fate::AtOnce => Fate::After(0),
            other => other,
        };
        if matches!(fate, Fate::Unanswered(..) | Fate::Fails(_)) {
            self.fault(Fault::FailedClaim);
        }
        let request = Request::Claim { seen_epoch };
        self.enter_request(
            StoreEvent { life, id, request, answers: true },
            fate,
            Mail::Claimed(Claimed::Away),
        );
    }

    fn enter_request(&mut self, event: StoreEvent, fate: Fate, failure: Mail) {
        let life = event.life;
        match fate {
            Fate::AtOnce => self.enter_in_order(0, event),
            Fate::After(delay) => self.enter_in_order(delay, event),
            Fate::Unanswered(done, failed) => {
                self.enter_in_order(done, StoreEvent { answers: false, ..event });
                self.enter(failed, Event::Mail(life, failure));
            }
            Fate::Fails(failed) => self.enter(failed, Event::Mail(life, failure)),
        }
    }

    /// What one call asks of the store goes through one pipeline.
    fn enter_in_order(&mut self, delay: u64, event: StoreEvent) {
        let life = &mut self.lives[event.life];
        life.pipeline_until = life.pipeline_until.max(self.now.0 + delay);
        let delay = life.pipeline_until - self.now.0;
        self.enter(delay, Event::Store(event));
    }

    fn make_write(&mut self, life: usize, id: CallId, (epoch, seq): (u32, u64), write: Write) -> WriteResult {
        let ends = matches!(write, Write::End(_));
        match self.store.write(id, (epoch, seq), write, self.now) {
            Ok(()) => {
                if ends {
                    self.gather_records();
                }
                self.model.written(life, epoch, seq);
                WriteResult::Stored
            }
            Err(Refused::Ended) => WriteResult::Ended,
            Err(Refused::Fenced | Refused::Unknown) => WriteResult::Fenced,
        }
    }

    pub(super) fn on_store(&mut self, event: StoreEvent) {
        let StoreEvent { life, id, request, answers } = event;
        let mail = match request {
            Request::Write { epoch, seq, write } => {
                let result = self.make_write(life, id, (epoch, seq), write);
                Mail::Stored { epoch, seq, result }
            }
            Request::Claim { seen_epoch } => Mail::Claimed(match self.store.claim(id, seen_epoch) {
                Ok((epoch, seq, snapshot)) => Claimed::Ours { epoch, seq, snapshot },
                Err(Refused::Fenced | Refused::Ended | Refused::Unknown) => Claimed::Lost,
            }),
        };
        if answers {
            self.on_mail(life, mail);
        }
    }
}

/// A write in a word.
pub(super) fn describe(write: &Write) -> &'static str {
    match write {
        Write::Commit(_) => "state",
        Write::End(Some(_)) => "end with records",
        Write::End(None) => "end",
    }
}
