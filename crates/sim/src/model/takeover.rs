//! The model of a panic: the call goes back to its last commit, and carries on.

use super::belief::{Belief, Client, Resend, Server, Stage, T1_64};
use super::call::{CallModel, Mode, Void};
use super::expect::{AckBody, Leg, What};
use crate::violation::Rule;

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Claimed {
        epoch: u32,
        seq: u64,
    },
    Away,
    /// There is nothing that could be claimed.
    Lost,
}

impl CallModel {
    /// The machine has panicked.
    pub(crate) fn panicked(&mut self) {
        if matches!(self.mode, Mode::Void(Void::Watched)) {
            self.store.panics += 1;
            return;
        }
        let phase = self.phase();
        self.happenings.push((phase, crate::coverage::Happening::Panic));
        self.store.panics += 1;
        if matches!(self.mode, Mode::Live) {
            self.expected.clear();
            self.mode = Mode::Restoring(Vec::new());
        }
    }

    /// Nothing was stored of it: its caller has been told 500.
    pub(crate) fn gave_up(&mut self) {
        self.give_over(Void::Unstored);
    }

    pub(crate) fn claimed(&mut self, claim: Claim, now: u64) {
        let Mode::Restoring(held_back) = &mut self.mode else { return };
        let held_back = std::mem::take(held_back);
        self.now = now;
        match claim {
            Claim::Away => self.mode = Mode::Restoring(held_back),
            Claim::Lost => self.give_over(Void::Abandoned),
            Claim::Claimed { epoch, seq } => {
                let checkpoints = self.store.checkpoints.iter().flatten();
                let Some(known) =
                    checkpoints.rev().find(|(of, _)| *of == seq).map(|(_, known)| known.clone())
                else {
                    return self.fail(Rule::Takeover, format!("commit {seq} was never made"));
                };
                self.store.epoch = epoch;
                self.store.acknowledged = 0;
                self.store.made = seq;
                self.store.failed_at = None;
                if self.store.panics > 1 {
                    return self.abandon_restored(*known, seq);
                }
                self.mode = Mode::Live;
                self.resume(*known);
                for heard in held_back {
                    self.take(heard);
                }
            }
        }
    }

    /// A second panic ends the call: its records are written, and nobody is told.
    fn abandon_restored(&mut self, known: Belief, seq: u64) {
        self.b = known;
        self.store.end = None;
        self.store.end_seen = false;
        self.b.seq = seq;
        self.give_over(Void::Abandoned);
    }

    fn resume(&mut self, known: Belief) {
        self.b = known;
        self.wire.forget(self.b.attempts.len(), self.b.caller.tags);
        self.b.caller.answered.clear();
        self.b.caller.after = None;
        self.b.caller_bye = None;
        self.b.callee_bye = None;
        self.b.setup_until = self.b.setup_until.map(|until| until.max(self.now));
        let own = match &self.b.stage {
            Stage::Calling(place) => Some(*place),
            Stage::Talking(talk) => Some(talk.attempt),
            Stage::Routing { .. } | Stage::Admitting { .. } | Stage::Ended(_) => None,
        };
        for place in 0..self.b.attempts.len() {
            if Some(place) != own {
                self.recall(place);
            }
        }
        match self.b.stage.clone() {
            Stage::Calling(place) => self.resume_hunt(place),
            Stage::Talking(_) => self.resume_talk(),
            Stage::Ended(ended) => self.reject(ended.release),
            Stage::Routing { .. } | Stage::Admitting { .. } => {
                self.fail(Rule::Takeover, "restored to a state that is never committed");
            }
        }
    }

    /// An attempt that had been left is left again.
    fn recall(&mut self, place: usize) {
        let until = self.now + T1_64;
        let fresh = self.outgoing();
        let attempt = &mut self.b.attempts[place];
        if attempt.is_forgotten || attempt.is_free() {
            attempt.is_forgotten = true;
            return;
        }
        attempt.unwanted.retain(|unwanted| unwanted.bye.is_open);
        attempt.cancel = None;
        attempt.left_until = Some(until);
        let tags: Vec<_> = attempt.unwanted.iter().map(|unwanted| unwanted.tag.clone()).collect();
        for unwanted in &mut attempt.unwanted {
            unwanted.bye = fresh.clone();
        }
        if !tags.is_empty() {
            attempt.client = Client::Accepted { until };
        } else if attempt.is_unanswered() {
            attempt.client = Client::Calling(Resend { at: None, sent: 0, give_up: until });
        } else {
            attempt.client = Client::Proceeding;
            attempt.cancel = Some(fresh);
            self.expect(What::Cancel(place));
        }
        for tag in tags {
            self.expect(What::Bye(Leg::Callee { attempt: place, tag }));
        }
    }

    fn resume_hunt(&mut self, place: usize) {
        self.b.caller.server = Server::Proceeding;
        self.wire.last_response = self.wire.trying.clone();
        self.wire.final_status = None;
        let was_sent = self.wire.invite_of(place).is_some();
        let (client, wait) = (self.calling(), self.response_wait(self.b.attempts[place].gateway));
        let now = self.now;
        let attempt = &mut self.b.attempts[place];
        attempt.after = None;
        if attempt.is_unanswered() {
            attempt.client = client;
            attempt.wait = Some(wait);
            self.expect(if was_sent { What::InviteAgain(place) } else { What::Invite(place) });
        } else {
            attempt.wait = attempt.wait.map(|(wait, until)| (wait, until.max(now)));
        }
    }

    /// Within 64·T1 of the answer either side may still lack what it was owed.
    fn resume_talk(&mut self) {
        let now = self.now;
        let Stage::Talking(mut talk) = self.b.stage.clone() else { return };
        let answered_at = self.b.answered_at.unwrap_or(now);
        let is_recent = now - answered_at < T1_64;
        talk.ack_unknown = true;
        talk.after = None;
        talk.ends_at = talk.ends_at.map(|at| at.max(now));
        let (place, tag) = (talk.attempt, talk.tag.clone());
        let (answer, offer_open, talk_answer) = (talk.answer, talk.offer_open, talk.answered_in_ack);
        self.b.stage = Stage::Talking(talk);
        let attempt = &mut self.b.attempts[place];
        attempt.client = Client::Accepted { until: now + T1_64 };
        attempt.unwanted.clear();
        attempt.cancel = None;
        if is_recent && !offer_open {
            let body = talk_answer.map_or(AckBody::None, AckBody::Answer);
            self.expect(What::Ack { attempt: place, tag, body });
        }
        if is_recent && !matches!(self.b.caller.server, Server::Acknowledged | Server::Over) {
            self.expect(What::Final { status: 200, sdp: answer, tag: self.b.caller.tag });
            let resend = Resend::start(&self.waits(), now + T1_64, now);
            self.b.caller.server = Server::Accepted { resend };
        } else {
            self.b.caller.server = Server::Over;
        }
        self.b.attempts[place].holds_slot = true;
    }
}
