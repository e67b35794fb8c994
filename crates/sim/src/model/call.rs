//! The model of one call: what it believes, what it waits for, and what it has seen on the wire.

use super::belief::{
    ANSWERED_MAX, Belief, CallerLeg, Client, Copy, Failed, Outgoing, Resend, Server, Stage, T1_64, Wait,
};
use super::expect::{Due, Expectation, What};
use super::hear::{Heard, Request, StoreAnswer};
use super::wire::Wire;
use crate::coverage::{Happening, Phase, Row};
use crate::knobs::{AttemptKnobs, CallKnobs};
use crate::plan::Plan;
use crate::violation::{Rule, Violation};
use bytes::Bytes;
use std::net::SocketAddr;
use std::rc::Rc;
use tandem_sip::Method;

/// How long a message may wait for its commit.
pub(super) const COMMIT_PATIENCE: u64 = 250;

/// How long a look-up may take.
const LOOKUP_LIMIT: u64 = 4_000;

/// What the model waits for that the switch was told while it had no machine.
const HELD_BACK_MAX: usize = 64;

pub(crate) struct CallModel {
    pub(super) plan: Rc<Plan>,
    pub(super) place: usize,
    /// The mapping gateway.
    pub(super) source: usize,
    pub(super) facts: InviteFacts,
    pub(super) mode: Mode,
    pub(super) b: Belief,
    pub(super) expected: Vec<Expectation>,
    pub(super) wire: Wire,
    pub(super) store: StoreView,
    /// A slot may be held that it does not know of.
    pub(super) admission_lost: bool,
    pub(super) is_stolen: bool,
    pub(super) given_over_at: u64,
    /// Once it has stopped.
    pub(super) records_due: Option<usize>,
    pub(super) now: u64,
    pub(super) started: u64,
    /// What was reached, to be counted.
    pub(super) rows: Vec<Row>,
    pub(super) happenings: Vec<(Phase, Happening)>,
    pub(super) violation: Option<Violation>,
}

/// What the caller's INVITE said.
#[derive(Clone, Debug)]
pub(crate) struct InviteFacts {
    pub(crate) request: Request,
    pub(crate) offers: bool,
    pub(crate) caller: String,
    pub(crate) called: String,
    /// Where its Contact is.
    pub(crate) contact: SocketAddr,
}

/// How a call begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    /// It is going to panic, so that its commits are to be remembered.
    pub(crate) will_panic: bool,
    /// Its INVITE has begun a call before.
    pub(crate) is_ghost: bool,
    /// It is of a world in which calls talk.
    pub(crate) talks: bool,
}

/// Whether the call is followed.
#[derive(Debug)]
pub(super) enum Mode {
    Live,
    /// Its machine panicked; this has been told since.
    Restoring(Vec<Heard>),
    /// It is given up, for a reason that the rules allow: only its records and slots are followed.
    Void(Void),
    /// Its machine has nothing more to do; what is left is to be written and then to be done.
    Finishing,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Void {
    /// Another node has it.
    Fenced,
    /// A second panic, or nothing to restore from.
    Abandoned,
    /// A panic before anything was stored.
    Unstored,
    /// A late copy of an INVITE whose call is over: all its names have been used.
    Ghost,
    /// It talks: other rules are about it.
    Watched,
}

/// What the model knows of the call's place in the store.
#[derive(Debug, Default)]
pub(super) struct StoreView {
    pub(super) epoch: u32,
    /// The newest write that the call was told is stored.
    pub(super) acknowledged: u64,
    /// The newest write that the store has made, in the present epoch.
    pub(super) made: u64,
    /// The call was told of a write that is stored.
    pub(super) has_been_written: bool,
    /// When a write last failed.
    pub(super) failed_at: Option<u64>,
    /// The number and records of the call's end.
    pub(super) end: Option<(u64, super::record::Records)>,
    pub(super) end_seen: bool,
    /// What was believed at each commit, if the call is going to panic.
    pub(super) checkpoints: Option<Vec<(u64, Box<Belief>)>>,
    pub(super) panics: u32,
    pub(super) releases: u32,
}

impl CallModel {
    pub(super) fn open(
        plan: Rc<Plan>,
        (place, source): (usize, usize),
        facts: InviteFacts,
        opening: Opening,
        now: u64,
    ) -> Self {
        let setup_until = plan.sources[source].knobs.setup_ms.map(|wait| now + wait);
        let caller = CallerLeg {
            server: Server::Proceeding,
            tag: 0,
            tags: 1,
            after: None,
            described: Default::default(),
            cseq: facts.request.cseq,
            answered: Default::default(),
        };
        let b = Belief {
            stage: Stage::Routing { until: now + LOOKUP_LIMIT },
            candidates: Default::default(),
            attempts: Vec::new(),
            last_failure: None,
            setup_until,
            caller,
            caller_bye: None,
            callee_bye: None,
            seq: 0,
            ringing_at: None,
            answered_at: None,
            called: String::new(),
        };
        let store = StoreView { checkpoints: opening.will_panic.then(Vec::new), ..StoreView::default() };
        let mut call = Self {
            plan,
            place,
            source,
            facts,
            mode: match opening {
                Opening { is_ghost: true, .. } => Mode::Void(Void::Ghost),
                Opening { talks: true, .. } => Mode::Void(Void::Watched),
                Opening { .. } => Mode::Live,
            },
            b,
            expected: Vec::new(),
            wire: Wire::default(),
            store,
            admission_lost: false,
            is_stolen: false,
            given_over_at: 0,
            records_due: None,
            now,
            started: now,
            rows: Vec::new(),
            happenings: Vec::new(),
            violation: None,
        };
        if matches!(call.mode, Mode::Live) {
            call.expect(What::Trying);
            call.expect(What::Lookup);
        }
        call
    }

    pub(super) fn knobs(&self) -> &CallKnobs {
        &self.plan.sources[self.source].knobs
    }

    pub(super) fn gateway_knobs(&self, attempt: usize) -> &AttemptKnobs {
        &self.plan.gateways[self.b.attempts[attempt].gateway].knobs
    }

    pub(super) fn fail(&mut self, rule: Rule, detail: impl Into<String>) {
        let call = Some(self.place);
        self.violation.get_or_insert(Violation { rule, at_ms: self.now, call, detail: detail.into() });
    }

    pub(super) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(super) fn expect(&mut self, what: What) {
        self.expected.push(Expectation { what, due: Due::Now, after: None });
    }

    /// Something that follows commit `seq`.
    pub(super) fn expect_after(&mut self, what: What, seq: u64) {
        let due = if seq <= self.store.acknowledged {
            Due::Now
        } else {
            Due::After { seq, by: self.now + COMMIT_PATIENCE }
        };
        self.expected.push(Expectation { what, due, after: Some((seq, self.now)) });
    }

    /// Something that follows a commit, if it follows one.
    pub(super) fn expect_behind(&mut self, what: What, after: Option<u64>) {
        match after {
            Some(seq) => self.expect_after(what, seq),
            None => self.expect(what),
        }
    }

    /// The call's state is written.
    pub(super) fn commit(&mut self) -> u64 {
        self.b.seq += 1;
        let seq = self.b.seq;
        if let Some(checkpoints) = &mut self.store.checkpoints {
            checkpoints.push((seq, Box::new(self.b.clone())));
        }
        seq
    }

    pub(super) fn waits(&self) -> Vec<u64> {
        self.knobs().waits_ms.clone()
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        Outgoing::start(&self.knobs().waits_ms, self.knobs().window_ms(), self.now)
    }

    /// How far the call has come.
    pub(crate) fn phase(&self) -> Phase {
        if matches!(self.mode, Mode::Restoring(_)) {
            return Phase::Restoring;
        }
        match &self.b.stage {
            Stage::Routing { .. } => Phase::Routing,
            Stage::Admitting { .. } => Phase::Admitting,
            Stage::Calling(attempt) => match self.b.attempts[*attempt].wait {
                Some((Wait::Response, _)) | None => Phase::Unanswered,
                Some((Wait::Trying, _)) => Phase::Trying,
                Some((Wait::Progress, _)) => Phase::Progress,
                Some((Wait::Ringing, _)) => Phase::Ringing,
            },
            Stage::Talking(_) if matches!(self.b.caller.server, Server::Accepted { .. }) => Phase::Answered,
            Stage::Talking(_) => Phase::Talking,
            Stage::Ended(_) => Phase::Ended,
        }
    }

    /// Takes what the call is told.
    pub(crate) fn hear(&mut self, heard: Heard, now: u64) {
        if let Some(due) = self.due().filter(|due| due + self.plan.lateness_ms < now)
            && self.is_followed()
        {
            self.fail(Rule::Late, format!("something was due at {due} ms: {:?}", self.what_is_due(due)));
        }
        self.now = now;
        self.note(&heard);
        self.note_wire(&heard);
        match &mut self.mode {
            Mode::Live => self.take(heard),
            Mode::Restoring(held_back) => {
                let waits = !matches!(heard, Heard::Timer | Heard::Stored { .. });
                if waits && held_back.len() < HELD_BACK_MAX {
                    held_back.push(heard);
                }
            }
            Mode::Finishing if matches!(heard, Heard::Stored { .. }) => self.take(heard),
            Mode::Finishing => self.patience_ends(),
            Mode::Void(_) | Mode::Stopped => {}
        }
    }

    fn note(&mut self, heard: &Heard) {
        if matches!(self.mode, Mode::Void(Void::Watched)) {
            return;
        }
        let phase = self.phase();
        self.happenings.extend(heard.happening().map(|happening| (phase, happening)));
    }

    /// What is true of the wire whether or not the call's machine has heard it.
    fn note_wire(&mut self, heard: &Heard) {
        if let Heard::Response(response) = heard
            && let Some(sdp) = response.sdp
        {
            self.wire.note_writer(&response.branch, &response.tag, sdp);
        }
        let Heard::Request(request) = heard else { return };
        if request.call_id == self.facts.request.call_id {
            let of_invite = request.cseq == self.facts.request.cseq && request.to_tag.is_some();
            self.wire.acknowledged |= of_invite && request.method == Some(Method::Ack);
        } else if request.method == Some(Method::Bye) {
            self.wire.note_peer_bye(&request.call_id, &request.from_tag);
        }
    }

    pub(super) fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Response(response) => self.on_response(&response),
            Heard::Request(request) => self.on_request(&request),
            Heard::Undeliverable(branch) => self.on_undeliverable(&branch),
            Heard::Looked { gateways, called } => self.on_looked(gateways, called),
            Heard::Admitted { gateway, attempt, granted } => self.on_admitted(gateway, attempt, granted),
            Heard::HangUp => {
                self.row(Row::HungUp);
                self.hang_up("admin", 480);
            }
            Heard::Timer => self.on_timer(),
            Heard::StoreLost => self.on_store_lost(),
            Heard::Stored { epoch, seq, result } => self.on_stored(epoch, seq, result),
        }
    }

    /// What was written is written again, and nothing is sent.
    fn on_store_lost(&mut self) {
        match self.b.stage {
            Stage::Calling(_) | Stage::Talking(_) => {
                self.commit();
            }
            Stage::Routing { .. } | Stage::Admitting { .. } | Stage::Ended(_) => {}
        }
    }

    fn on_looked(&mut self, gateways: Vec<usize>, called: String) {
        if !matches!(self.b.stage, Stage::Routing { .. }) {
            return;
        }
        if gateways.is_empty() {
            self.row(Row::NoRoute);
        }
        self.b.called = called;
        self.b.candidates = gateways.into();
        self.next_gateway();
    }

    fn on_stored(&mut self, epoch: u32, seq: u64, result: StoreAnswer) {
        if epoch != self.store.epoch {
            return;
        }
        match result {
            StoreAnswer::Stored => {
                self.store.has_been_written = true;
                self.store.acknowledged = self.store.acknowledged.max(seq);
                for expectation in &mut self.expected {
                    match expectation.due {
                        Due::After { seq: after, .. } | Due::AfterEnd { seq: after } if after <= seq => {
                            expectation.due = Due::Now;
                        }
                        Due::After { .. } | Due::AfterEnd { .. } | Due::Now => {}
                    }
                }
            }
            StoreAnswer::Failed => {
                self.store.failed_at = Some(self.now);
                for expectation in &mut self.expected {
                    if matches!(expectation.due, Due::After { .. }) {
                        expectation.due = Due::Now;
                    }
                }
            }
            StoreAnswer::Ended if !self.store.has_been_written => self.give_over(Void::Unstored),
            StoreAnswer::Fenced | StoreAnswer::Ended => self.give_over(Void::Fenced),
        }
    }

    /// Whether every step of the call is compared.
    pub(super) fn is_followed(&self) -> bool {
        matches!(self.mode, Mode::Live | Mode::Finishing)
    }

    /// The call is not followed any more.
    pub(super) fn give_over(&mut self, why: Void) {
        self.given_over_at = self.now;
        self.expected.clear();
        self.mode = Mode::Void(why);
    }

    /// Remembers that a request was answered, so that its copies are answered alike.
    pub(super) fn answer(&mut self, request: &Request, status: u16) {
        self.reply(request, status);
        if self.b.caller.answered.len() >= ANSWERED_MAX {
            self.b.caller.answered.pop_front();
        }
        self.b.caller.answered.push_back(Copy {
            branch: request.branch.clone(),
            cseq: request.cseq_text.clone(),
            call_id: request.call_id.clone(),
            status,
            until: self.now + T1_64,
        });
    }

    pub(super) fn reply(&mut self, request: &Request, status: u16) {
        let (branch, cseq) = (request.branch.clone(), request.cseq_text.clone());
        self.expect(What::Reply { branch, cseq, status });
    }

    /// When the call has something to do by itself that can be seen.
    pub(super) fn due(&self) -> Option<u64> {
        let b = &self.b;
        let stage = match &b.stage {
            Stage::Routing { until } | Stage::Admitting { until, .. } => Some(*until),
            Stage::Talking(talk) => talk.ends_at,
            Stage::Calling(_) | Stage::Ended(_) => None,
        };
        let attempts = b.attempts.iter().filter(|attempt| !attempt.is_forgotten);
        let attempt = attempts.filter_map(|attempt| attempt.due()).min();
        let server = match &b.caller.server {
            Server::Completed { resend } => resend.at.filter(|at| *at < resend.give_up),
            Server::Accepted { resend } => Some(resend.due()),
            Server::Proceeding | Server::Confirmed | Server::Acknowledged | Server::Over => None,
        };
        let byes = [&b.caller_bye, &b.callee_bye].into_iter().flatten().filter_map(Outgoing::due).min();
        let waiting = self.expected.iter().filter_map(|expectation| match expectation.due {
            Due::After { by, .. } => Some(by),
            Due::Now | Due::AfterEnd { .. } => None,
        });
        [stage, attempt, server, byes, b.setup_until, waiting.min()].into_iter().flatten().min()
    }

    fn what_is_due(&self, at: u64) -> String {
        let waiting: Vec<_> = self.expected.iter().map(|expectation| &expectation.what).collect();
        let attempts: Vec<_> = self.b.attempts.iter().map(|attempt| attempt.due()).collect();
        format!("at {at}: stage {:?}, attempts {attempts:?}, waiting {waiting:?}", self.b.stage)
    }

    /// The call's machine has nothing more to do.
    pub(crate) fn finish_machine(&mut self) {
        if let Some(busy) = self.is_busy().filter(|_| matches!(self.mode, Mode::Live)) {
            self.fail(Rule::Leftover, format!("it stops, but {busy}"));
        }
        if matches!(self.mode, Mode::Live) {
            self.mode = Mode::Finishing;
        }
    }

    /// What has waited for its commit long enough is done now.
    pub(super) fn patience_ends(&mut self) {
        let now = self.now;
        for expectation in &mut self.expected {
            if matches!(expectation.due, Due::After { by, .. } if by <= now) {
                expectation.due = Due::Now;
            }
        }
    }

    /// Whether something of the call is still going on that its own end would break off.
    pub(super) fn is_busy(&self) -> Option<String> {
        let open = self.b.attempts.iter().position(|attempt| {
            !attempt.is_forgotten
                && (attempt.is_open() || attempt.unwanted.iter().any(|unwanted| unwanted.bye.is_open))
        });
        if let Some(attempt) = open {
            return Some(format!("attempt {attempt} is still open"));
        }
        if [&self.b.caller_bye, &self.b.callee_bye].into_iter().flatten().any(|bye| bye.is_open) {
            return Some("a BYE waits for its answer".to_owned());
        }
        if !matches!(self.b.stage, Stage::Ended(_)) {
            return Some("it has not ended".to_owned());
        }
        let waiting = self.expected.iter().find(|expectation| matches!(expectation.due, Due::Now));
        waiting.map(|expectation| format!("{:?} is still to come", expectation.what))
    }

    /// A fresh transaction for an INVITE of ours.
    pub(super) fn calling(&self) -> Client {
        let knobs = self.knobs();
        Client::Calling(Resend::start(&knobs.waits_ms, self.now + knobs.window_ms(), self.now))
    }

    /// The wait for any response: the INVITE timeout or the window of the resends, whichever is shorter.
    pub(super) fn response_wait(&self, gateway: usize) -> (Wait, u64) {
        let timeout = self.plan.gateways[gateway].knobs.invite_ms;
        (Wait::Response, self.now + timeout.min(self.knobs().window_ms()))
    }

    /// Which failure the end of a wait is.
    pub(super) fn failure_of(wait: Wait) -> Failed {
        match wait {
            Wait::Response => Failed::Invite,
            Wait::Trying => Failed::Trying,
            Wait::Ringing => Failed::Ringing,
            Wait::Progress => Failed::Progress,
        }
    }

    /// The tag of the call's own dialog at a gateway.
    pub(super) fn own_dialog(&self) -> Option<(usize, Bytes)> {
        match &self.b.stage {
            Stage::Talking(talk) => Some((talk.attempt, talk.tag.clone())),
            Stage::Ended(ended) => ended.answered.clone(),
            Stage::Routing { .. } | Stage::Admitting { .. } | Stage::Calling(_) => None,
        }
    }
}
