//! The model of the hunt: gateways asked, attempts made and left, and how it ends.

use super::belief::{
    Attempt, AttemptEnd, Client, DESCRIBED_MAX, Ended, Facts, Failed, Resend, Server, Stage, T1_64, Talk,
    Unwanted, Wait,
};
use super::call::CallModel;
use super::expect::{AckBody, Due, Expectation, Leg, What};
use super::hear::Response;
use super::table::{self, Signs, Verdict};
use crate::coverage::Row;
use bytes::Bytes;
use tandem_sip::Method;

/// How long a gateway may take to say whether it has a slot.
const ADMISSION_LIMIT: u64 = 2_000;

impl CallModel {
    /// Goes on to the next gateway, or ends the hunt.
    pub(super) fn next_gateway(&mut self) {
        let made = self.b.attempts.len();
        let Some(gateway) = self.b.candidates.pop_front() else {
            self.row(Row::RoutesExhausted);
            return self.give_up(table::EXHAUSTED);
        };
        if self.knobs().switch_limit.is_some_and(|limit| made > limit as usize) {
            self.row(Row::SwitchLimitEnds);
            return self.give_up(table::SWITCH_LIMIT);
        }
        self.expect(What::Admit { gateway, attempt: made as u16 });
        self.b.stage = Stage::Admitting { gateway, until: self.now + ADMISSION_LIMIT };
    }

    pub(super) fn on_admitted(&mut self, gateway: usize, attempt: u16, granted: bool) {
        match self.b.stage {
            Stage::Admitting { gateway: asked, .. } if asked == gateway => {
                if granted {
                    self.start_attempt(gateway);
                } else {
                    self.row(Row::Refused);
                    self.next_gateway();
                }
            }
            Stage::Routing { .. }
            | Stage::Admitting { .. }
            | Stage::Calling(_)
            | Stage::Talking(_)
            | Stage::Ended(_) => {
                if granted && !self.is_in_use(gateway, usize::from(attempt)) {
                    self.expect(What::Release { gateway, attempt });
                }
            }
        }
    }

    /// Whether a slot is that of an attempt that the call still knows of.
    fn is_in_use(&self, gateway: usize, place: usize) -> bool {
        let Some(attempt) = self.b.attempts.get(place) else { return false };
        let is_current = match &self.b.stage {
            Stage::Calling(current) => *current == place,
            Stage::Talking(talk) => talk.attempt == place,
            Stage::Ended(ended) if ended.answered.as_ref().is_some_and(|(own, _)| *own == place) => {
                return false;
            }
            Stage::Routing { .. } | Stage::Admitting { .. } | Stage::Ended(_) => false,
        };
        attempt.gateway == gateway && !attempt.is_forgotten && (is_current || !attempt.is_over())
    }

    fn start_attempt(&mut self, gateway: usize) {
        let place = self.b.attempts.len();
        self.b.attempts.push(Attempt {
            gateway,
            started: self.now,
            client: self.calling(),
            wait: Some(self.response_wait(gateway)),
            committed: false,
            early: None,
            rang: false,
            cancel: None,
            left_until: None,
            unwanted: Vec::new(),
            pdd: None,
            status: None,
            outcome: AttemptEnd::Open,
            ended: None,
            holds_slot: true,
            after: None,
            is_forgotten: false,
        });
        self.b.stage = Stage::Calling(place);
        self.b.attempts[place].after = Some(self.b.seq + 1);
        let seq = self.commit();
        self.expect_after(What::Invite(place), seq);
    }

    pub(super) fn on_response(&mut self, response: &Response) {
        let Some(branch) = Some(&response.branch).filter(|branch| !branch.is_empty()) else { return };
        let Some(place) = self.wire.attempt_of(branch) else { return self.on_bye_response(branch, response) };
        if self.b.attempts[place].is_forgotten {
            return;
        }
        match (response.method, &self.b.stage) {
            (Some(Method::Invite), Stage::Calling(current)) if *current == place => {
                self.on_progress(place, response)
            }
            (Some(Method::Invite), _) => self.on_late_response(place, response),
            (Some(Method::Cancel), _) => {
                if let Some(cancel) = &mut self.b.attempts[place].cancel {
                    cancel.heard(response.status);
                }
            }
            (Some(_) | None, _) => {}
        }
    }

    fn on_bye_response(&mut self, branch: &Bytes, response: &Response) {
        if response.method != Some(Method::Bye) {
            return;
        }
        let of_calls = [&mut self.b.caller_bye, &mut self.b.callee_bye].into_iter().flatten();
        if let Some(bye) = of_calls.into_iter().find(|bye| bye.branch.as_ref() == Some(branch)) {
            return bye.heard(response.status);
        }
        for place in 0..self.b.attempts.len() {
            let mut unwanted = self.b.attempts[place].unwanted.iter_mut();
            if let Some(found) = unwanted.find(|found| found.bye.branch.as_ref() == Some(branch)) {
                found.bye.heard(response.status);
                return self.settle(place);
            }
        }
    }

    /// A response to the INVITE of the attempt that is the call's.
    fn on_progress(&mut self, place: usize, response: &Response) {
        let status = response.status;
        match status {
            100..=199 => {
                self.b.attempts[place].client = Client::Proceeding;
                let waited_for = self.b.attempts[place].wait;
                self.rearm(place, status);
                let kept = self.b.attempts[place].wait;
                self.note_status(place, status);
                if status > 100 {
                    self.on_ringing(place, response);
                }
                let was_progress = matches!(waited_for, Some((Wait::Progress, _)));
                if was_progress && kept != waited_for {
                    // A longer wait is committed, so that an heir does not end a call that rings.
                    self.commit();
                }
            }
            200..=299 => {
                self.note_status(place, status);
                self.connect(place, response);
            }
            _ => {
                let until = self.now + T1_64;
                self.b.attempts[place].client = Client::Completed { until };
                self.note_status(place, status);
                self.expect(What::AckFailure(place));
                self.fail_attempt(place, Failed::Status(status));
            }
        }
    }

    fn note_status(&mut self, place: usize, status: u16) {
        self.b.attempts[place].status = Some(status);
    }

    /// 100 begins the Trying wait, 183 the Session-Progress wait, 180 and the rest the Ringing wait; each once, except
    /// that 180 after 183 begins the Ringing wait.
    fn rearm(&mut self, place: usize, status: u16) {
        let knobs = self.knobs();
        let (trying, ringing, progress) = (knobs.trying_ms, knobs.ringing_ms, knobs.progress_ms);
        let waits_for = self.b.attempts[place].wait.map(|(wait, _)| wait);
        let next = match (waits_for, status) {
            (Some(Wait::Response) | None, 100) => Some((Wait::Trying, trying)),
            (Some(Wait::Response | Wait::Trying) | None, 183) => Some((Wait::Progress, progress)),
            (Some(Wait::Response | Wait::Trying) | None, 101..) => Some((Wait::Ringing, ringing)),
            (Some(Wait::Progress), 180) => Some((Wait::Ringing, ringing)),
            _ => None,
        };
        if let Some((wait, interval)) = next {
            self.b.attempts[place].wait = Some((wait, self.now + interval));
        }
    }

    fn on_ringing(&mut self, place: usize, response: &Response) {
        let status = response.status;
        let commits = self.gateway_knobs(place).stop_after_sdp;
        let elapsed = self.now - self.b.attempts[place].started;
        let attempt = &mut self.b.attempts[place];
        attempt.pdd.get_or_insert(elapsed);
        attempt.rang |= status == 180 && response.sdp.is_none();
        if let Some(sdp) = response.sdp {
            attempt.early = Some((response.tag.clone(), sdp));
            attempt.committed |= commits;
        }
        if !(180..=183).contains(&status) {
            return;
        }
        if self.b.ringing_at.is_none() {
            self.b.ringing_at = Some(self.now);
            self.expect(What::Rings);
        }
        let mut after = None;
        if self.describe((place, response.tag.clone()), response.sdp.is_some()) {
            after = Some(self.commit());
        }
        let ring = What::Ring { status, sdp: response.sdp, tag: self.b.caller.tag };
        // Nor before an earlier provisional response.
        self.b.caller.after = after.or(self.b.caller.after);
        self.expect_behind(ring, self.b.caller.after);
    }

    /// Which To tag of ours stands for an early dialog: the one that its SDP was sent up under before, or if it sends
    /// SDP for the first time a new one, unless none has been sent up yet. Whether it sends SDP for the first time.
    fn describe(&mut self, by: (usize, Bytes), has_sdp: bool) -> bool {
        let caller = &mut self.b.caller;
        if let Some((_, tag)) = caller.described.iter().find(|(described, _)| *described == by) {
            caller.tag = *tag;
            return false;
        }
        if !has_sdp {
            return false;
        }
        if !caller.described.is_empty() {
            caller.tag = caller.tags;
            caller.tags += 1;
        }
        if caller.described.len() >= DESCRIBED_MAX {
            caller.described.pop_front();
        }
        caller.described.push_back((by, caller.tag));
        true
    }

    fn connect(&mut self, place: usize, response: &Response) {
        self.row(Row::Answered);
        let (now, until) = (self.now, self.now + T1_64);
        let offers = self.facts.offers;
        let attempt = &mut self.b.attempts[place];
        attempt.client = Client::Accepted { until };
        attempt.wait = None;
        attempt.pdd.get_or_insert(now - attempt.started);
        attempt.outcome = AttemptEnd::Answered;
        attempt.ended = Some(now);
        let early =
            attempt.early.clone().filter(|(tag, _)| offers && *tag == response.tag).map(|(_, sdp)| sdp);
        let answer = response.sdp.or(early);
        self.describe((place, response.tag.clone()), answer.is_some());
        let offer_open = answer.is_some() && !offers;
        self.b.setup_until = None;
        self.b.answered_at = Some(now);
        self.expect(What::Answers);
        let limits = [self.knobs().max_duration_ms, self.gateway_knobs(place).max_duration_ms];
        let ends_at = limits.into_iter().flatten().min().map(|longest| now + longest);
        self.b.stage = Stage::Talking(Talk {
            attempt: place,
            tag: response.tag.clone(),
            offer_open,
            answered_in_ack: None,
            answer,
            ends_at,
            ack_unknown: false,
            after: Some(self.b.seq + 1),
            callee_cseq: None,
        });
        self.b.caller.server = Server::Accepted { resend: Resend::start(&self.waits(), until, now) };
        let seq = self.commit();
        self.b.caller.after = Some(seq);
        if !offer_open {
            let ack = What::Ack { attempt: place, tag: response.tag.clone(), body: AckBody::None };
            self.expect_after(ack, seq);
        }
        self.expect_after(What::Final { status: 200, sdp: answer, tag: self.b.caller.tag }, seq);
    }

    /// The failover table decides.
    pub(super) fn fail_attempt(&mut self, place: usize, failed: Failed) {
        let attempt = &self.b.attempts[place];
        let signs =
            Signs { committed: attempt.committed, described: attempt.early.is_some(), rang: attempt.rang };
        let (row, verdict) = table::look_up(failed, signs, self.gateway_knobs(place), self.knobs());
        self.row(row);
        self.b.attempts[place].outcome = AttemptEnd::Failed(failed);
        self.b.attempts[place].ended = Some(self.now);
        self.b.last_failure = Some(failed);
        self.leave(place);
        match verdict {
            Verdict::Switch => self.next_gateway(),
            Verdict::End(stop) => self.give_up(stop),
        }
    }

    /// Stops resending; cancels what a provisional response allows to be cancelled.
    pub(super) fn leave(&mut self, place: usize) {
        let until = self.now + T1_64;
        let attempt = &mut self.b.attempts[place];
        attempt.wait = None;
        attempt.left_until = Some(until);
        match &mut attempt.client {
            Client::Calling(resend) => *resend = Resend { at: None, sent: resend.sent, give_up: until },
            Client::Proceeding => self.cancel(place),
            Client::Completed { .. } | Client::Accepted { .. } | Client::Over => {}
        }
        self.settle(place);
    }

    fn cancel(&mut self, place: usize) {
        let outgoing = self.outgoing();
        self.b.attempts[place].cancel = Some(outgoing);
        self.b.attempts[place].left_until = Some(self.now + T1_64);
        self.expect(What::Cancel(place));
    }

    /// Gives the slot back once the gateway has no part in the call any more.
    pub(super) fn settle(&mut self, place: usize) {
        if self.own_dialog().is_some_and(|(own, _)| own == place) {
            return;
        }
        let attempt = &mut self.b.attempts[place];
        if attempt.holds_slot && attempt.is_free() {
            attempt.holds_slot = false;
            let gateway = attempt.gateway;
            self.expect(What::Release { gateway, attempt: place as u16 });
        }
    }

    /// A response to an INVITE whose attempt is the call's no more, or that has been answered.
    fn on_late_response(&mut self, place: usize, response: &Response) {
        let own = self.own_dialog().filter(|(own, _)| *own == place).map(|(_, tag)| tag);
        if own.as_ref() == Some(&response.tag) {
            // Of the call's own dialog: only copies of its 2xx mean anything.
            let offer_open = matches!(&self.b.stage, Stage::Talking(talk) if talk.offer_open);
            let is_gone = matches!(self.b.stage, Stage::Ended(_))
                && matches!(self.b.attempts[place].client, Client::Over);
            if (200..300).contains(&response.status) && !offer_open && !is_gone {
                let after = match &self.b.stage {
                    Stage::Talking(talk) => talk.after,
                    Stage::Ended(ended) => ended.after,
                    Stage::Routing { .. } | Stage::Admitting { .. } | Stage::Calling(_) => None,
                };
                self.expect_behind(What::AckAgain { attempt: place, tag: response.tag.clone() }, after);
            }
            return;
        }
        let is_fork = own.is_some();
        match (response.status, &self.b.attempts[place].client) {
            (100..=199, Client::Calling(_) | Client::Proceeding) => {
                self.b.attempts[place].client = Client::Proceeding;
                if self.b.attempts[place].cancel.is_none() {
                    self.row(Row::LateProvisional);
                    self.cancel(place);
                }
            }
            (200..=299, Client::Calling(_) | Client::Proceeding) => {
                self.b.attempts[place].client = Client::Accepted { until: self.now + T1_64 };
                self.refuse(place, response, is_fork);
            }
            (200..=299, Client::Accepted { .. }) => self.refuse(place, response, is_fork),
            (300.., Client::Calling(_) | Client::Proceeding) => {
                self.b.attempts[place].client = Client::Completed { until: self.now + T1_64 };
                self.expect(What::AckFailure(place));
            }
            (300.., Client::Completed { .. }) => self.expect(What::AckFailure(place)),
            (_, Client::Completed { .. } | Client::Accepted { .. } | Client::Over) => {}
            (0..=99, Client::Calling(_) | Client::Proceeding) => {}
        }
        self.settle(place);
    }

    /// A 2xx that nobody wants: ACK and BYE, and for a copy its ACK again.
    fn refuse(&mut self, place: usize, response: &Response, is_fork: bool) {
        let tag = response.tag.clone();
        if self.b.attempts[place].unwanted.iter().any(|unwanted| unwanted.tag == tag) {
            return self.expect(What::AckAgain { attempt: place, tag });
        }
        self.row(if is_fork { Row::ForkAnswer } else { Row::LateAnswer });
        let declines = response.sdp.is_some() && !self.facts.offers;
        let body = if declines { AckBody::Refusal } else { AckBody::None };
        self.expect(What::Ack { attempt: place, tag: tag.clone(), body });
        self.expect(What::Bye(Leg::Callee { attempt: place, tag: tag.clone() }));
        let bye = self.outgoing();
        self.b.attempts[place].unwanted.push(Unwanted { tag, bye });
    }

    pub(super) fn on_undeliverable(&mut self, branch: &Bytes) {
        if let Some(place) = self.wire.attempt_of(branch) {
            return self.invite_undeliverable(place);
        }
        if matches!(self.b.stage, Stage::Ended(_)) {
            let byes = [&mut self.b.caller_bye, &mut self.b.callee_bye].into_iter().flatten();
            if let Some(bye) = byes.into_iter().find(|bye| bye.branch.as_ref() == Some(branch)) {
                bye.is_open = false;
                return;
            }
        }
        for place in 0..self.b.attempts.len() {
            let is_own = self.own_dialog().is_some_and(|(own, _)| own == place);
            let mut unwanted = self.b.attempts[place].unwanted.iter_mut();
            if let Some(found) = unwanted.find(|found| found.bye.branch.as_ref() == Some(branch))
                && !is_own
            {
                found.bye.is_open = false;
                return self.settle(place);
            }
        }
    }

    fn invite_undeliverable(&mut self, place: usize) {
        let is_own = self.own_dialog().is_some_and(|(own, _)| own == place);
        let is_current = matches!(self.b.stage, Stage::Calling(current) if current == place);
        let attempt = &mut self.b.attempts[place];
        if attempt.is_forgotten || is_own || (is_current && !attempt.is_open()) {
            return;
        }
        attempt.client = Client::Over;
        if let Some(cancel) = &mut attempt.cancel {
            cancel.is_open = false;
        }
        if is_current {
            self.fail_attempt(place, Failed::Transport);
        } else {
            self.settle(place);
        }
    }

    /// The hunt has stopped: the caller gets the last attempt's status, or what stands for it.
    pub(super) fn give_up(&mut self, stop: &'static str) {
        let failed = self.b.last_failure;
        let status = table::status_for_caller(failed);
        let map = &self.plan.sources[self.source].cause_map;
        let status = map.get(&status).copied().filter(|mapped| *mapped >= 300).unwrap_or(status);
        let (by, reason) = table::blame(stop, failed);
        self.reject(Facts { by, reason, stop: Some(stop), status });
    }

    /// The caller gets a final response other than 2xx, and the call is over.
    pub(super) fn reject(&mut self, release: Facts) {
        self.b.stage = Stage::Ended(Ended {
            release: release.clone(),
            answered: None,
            bye_waits: false,
            callee_gone: false,
            after: None,
        });
        let seq = self.commit();
        let tag = self.b.caller.tag;
        self.b.caller.after = Some(seq);
        self.expect_after(What::Final { status: release.status, sdp: None, tag }, seq);
        let resend = Resend::start(&self.waits(), self.now + T1_64, self.now);
        self.b.caller.server = Server::Completed { resend };
        self.finish(release);
    }

    /// The call's records are written and its state is removed.
    pub(super) fn finish(&mut self, release: Facts) -> u64 {
        self.b.setup_until = None;
        self.b.seq += 1;
        let seq = self.b.seq;
        self.store.end = Some((seq, self.records(&release)));
        if self.store.releases == 0 {
            self.expect(What::Releases(release));
        }
        seq
    }

    /// The slot of the answered attempt comes back once the call's end is stored.
    pub(super) fn release_after_end(&mut self, place: usize, seq: u64) {
        let attempt = &mut self.b.attempts[place];
        if attempt.holds_slot {
            attempt.holds_slot = false;
            let what = What::Release { gateway: attempt.gateway, attempt: place as u16 };
            let due = if seq <= self.store.acknowledged { Due::Now } else { Due::AfterEnd { seq } };
            self.expected.push(Expectation { what, due, after: None });
        }
    }
}
