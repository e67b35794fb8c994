//! The reference model: what the specification asks of the switch, worked out again from what goes in and compared with
//! what comes out. It shares the message parser with the switch and nothing else: no transaction, no dialog, no
//! failover table, no timer.
//!
//! It watches every call from where the switch stands. Each thing that a call is told gives a list of things that the
//! switch has to do, at once or after a commit; each thing that the switch does is struck off that list. What is not on
//! it, and what is left on it when a step is over, breaks a rule.

mod belief;
mod call;
mod expect;
mod hear;
mod hunt;
mod record;
mod sends;
mod slots;
mod table;
mod takeover;
mod talk;
mod watch;
mod wire;

pub(crate) use call::{InviteFacts, Opening};
pub(crate) use hear::{Heard, Request, Response, StoreAnswer};
pub(crate) use record::WALL_START;
pub(crate) use takeover::Claim;

use crate::coverage::{Coverage, Talk};
use crate::plan::Plan;
use crate::violation::{Rule, Violation};
use belief::Facts;
use bytes::Bytes;
use call::{CallModel, Mode, Void};
use expect::What;
use slots::{Broken, Slots};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use tandem_cluster::Write;
use tandem_sip::Message;
use tandem_switch::call::Event;
use tandem_switch::cdr::{Origin, Release};
use watch::{Ends, Watch};

pub(crate) struct Model {
    plan: Rc<Plan>,
    calls: Vec<CallModel>,
    /// Of calls that talk.
    watches: Vec<Option<Watch>>,
    /// The nonces that were answered, with their counts, and the INVITE that did.
    nonces: BTreeMap<(Vec<u8>, u32), Bytes>,
    slots: Vec<Slots>,
    violation: Option<Violation>,
}

impl Model {
    pub(crate) fn new(plan: Rc<Plan>) -> Self {
        let slots = plan.gateways.iter().map(|gateway| Slots::new(gateway.limits)).collect();
        Self { plan, calls: Vec::new(), watches: Vec::new(), nonces: BTreeMap::new(), slots, violation: None }
    }

    pub(crate) fn fail(&mut self, rule: Rule, at_ms: u64, call: Option<usize>, detail: impl Into<String>) {
        self.violation.get_or_insert(Violation { rule, at_ms, call, detail: detail.into() });
    }

    /// A call begins; calls are numbered in this order.
    pub(crate) fn open(
        &mut self,
        (source, invite): (usize, &Message),
        facts: InviteFacts,
        opening: Opening,
        now: u64,
    ) {
        let place = self.calls.len();
        let watch =
            (opening.talks && !opening.is_ghost).then(|| Watch::new(self.plan.clone(), source, invite, now));
        self.watches.push(watch);
        self.calls.push(CallModel::open(self.plan.clone(), (place, source), facts, opening, now));
    }

    /// What a call is told.
    pub(crate) fn hear(&mut self, call: usize, heard: Heard, now: u64) {
        if let Heard::Looked { gateways, called } = &heard
            && let Err((rule, detail)) = self.check_routes(call, gateways, called)
        {
            self.fail(rule, now, Some(call), detail);
        }
        if let Some(watch) = &mut self.watches[call] {
            watch.at(now);
        }
        self.calls[call].hear(heard, now);
    }

    /// A call that talks is told something.
    pub(crate) fn hears(&mut self, call: usize, message: &Message) {
        if let Some(watch) = &mut self.watches[call] {
            watch.hears(message);
        }
    }

    /// The call that a dialog is of, and both its ends.
    pub(crate) fn ends_of(&self, call_id: &[u8]) -> Option<(usize, Ends)> {
        let ends = self.watches.iter().enumerate();
        let mut ends = ends.filter_map(|(call, watch)| Some((call, watch.as_ref()?.ends()?)));
        ends.find(|(_, ends)| ends.caller == call_id || ends.callee == call_id)
    }

    /// Both ends agree.
    pub(crate) fn agrees(&mut self, call: usize) {
        if let Some(watch) = &mut self.watches[call] {
            watch.rows.push(Talk::Agreement);
        }
    }

    /// A call sends a message.
    pub(crate) fn sent(&mut self, call: usize, to: SocketAddr, message: &Message) {
        self.calls[call].sent(to, message);
        let Some(watch) = &mut self.watches[call] else { return };
        watch.sends(to, message);
        for nonce in watch::nonces_of(message) {
            let branch = hear::branch_of(message);
            let (of, count) = nonce.clone();
            if *self.nonces.entry(nonce).or_insert_with(|| branch.clone()) != branch {
                let detail = format!("count {count} of nonce {} is used twice", String::from_utf8_lossy(&of));
                self.violation.get_or_insert(Violation {
                    rule: Rule::Attempt,
                    at_ms: 0,
                    call: Some(call),
                    detail,
                });
            }
        }
    }

    /// A step of a call is over.
    pub(crate) fn settle(&mut self, call: usize) -> Option<Violation> {
        self.calls[call].settle_step();
        let watched = self.watches[call].as_mut().and_then(|watch| {
            watch.settle();
            watch.violation(call)
        });
        self.violation.take().or_else(|| self.calls[call].violation.take()).or(watched)
    }

    pub(crate) fn looks_up(&mut self, call: usize) {
        self.calls[call].done_if_live(&What::Lookup);
    }

    /// A call asks for a slot.
    pub(crate) fn asks(&mut self, call: usize, gateway: usize, attempt: u16) {
        self.calls[call].done_if_live(&What::Admit { gateway, attempt });
    }

    /// A gateway decides on a slot.
    pub(crate) fn decides(&mut self, call: usize, (gateway, attempt): (usize, u16), granted: bool, now: u64) {
        let answered = self.slots[gateway].answered((call, attempt), granted, now);
        self.broken(call, now, answered);
    }

    /// A call gives a slot back.
    pub(crate) fn releases(&mut self, call: usize, (gateway, attempt): (usize, u16), now: u64) {
        let followed = &mut self.calls[call];
        followed.done_if_live(&What::Release { gateway, attempt });
        let may_repeat = followed.store.panics > 0;
        let released = self.slots[gateway].released((call, attempt), may_repeat);
        self.broken(call, now, released);
    }

    /// A gateway's word on a slot never reaches the call.
    pub(crate) fn admission_lost(&mut self, call: usize) {
        self.calls[call].admission_lost = true;
    }

    /// Another node has claimed the call.
    pub(crate) fn stolen(&mut self, call: usize) {
        self.calls[call].is_stolen = true;
        // When it lets go of the call is what other rules are about.
        if let Some(watch) = &mut self.watches[call] {
            watch.lost();
        }
    }

    pub(crate) fn gateway_restarted(&mut self, gateway: usize) {
        self.slots[gateway].restarted();
    }

    fn broken(&mut self, call: usize, now: u64, result: Broken) {
        if let Err((rule, detail)) = result {
            self.fail(rule, now, Some(call), detail);
        }
    }

    /// A call gives the store a write.
    pub(crate) fn writes(&mut self, call: usize, epoch: u32, seq: u64, write: &Write) {
        if let Some(watch) = &mut self.watches[call] {
            match write {
                Write::Commit(_) => watch.writes(seq),
                Write::End(lines) => lines.iter().for_each(|lines| watch.check_record(lines)),
            }
        }
        let followed = &mut self.calls[call];
        let lines: Option<&Bytes> = match write {
            Write::Commit(snapshot) => {
                let numbered = snapshot.seq() == seq && snapshot.epoch() == epoch;
                let ghost = matches!(followed.mode, Mode::Void(Void::Ghost | Void::Watched));
                if !ghost && (!numbered || epoch != followed.store.epoch || seq > followed.b.seq) {
                    let detail = format!("commit {seq} of epoch {epoch}, known {}", followed.b.seq);
                    followed.fail(Rule::Commit, detail);
                }
                return;
            }
            Write::End(lines) => lines.as_ref(),
        };
        match followed.mode {
            Mode::Void(_) => followed.store.end_seen = true,
            Mode::Live | Mode::Finishing | Mode::Restoring(_) | Mode::Stopped => {
                followed.end_written(seq, lines)
            }
        }
    }

    /// The store has made a write of a call.
    pub(crate) fn written(&mut self, call: usize, epoch: u32, seq: u64) {
        let store = &mut self.calls[call].store;
        if epoch == store.epoch {
            store.made = store.made.max(seq);
        }
    }

    /// A call tells observers something.
    pub(crate) fn observes(&mut self, call: usize, event: &Event) {
        if let Some(watch) = &mut self.watches[call] {
            watch.observes(event);
        }
        let followed = &mut self.calls[call];
        if let Event::Released(_) = event {
            followed.store.releases += 1;
            if followed.store.releases > 1 {
                followed.fail(Rule::Release, "released twice");
            }
        }
        if !followed.is_followed() {
            return;
        }
        match event {
            Event::Ringing { .. } => followed.done(&What::Rings),
            Event::Answered => followed.done(&What::Answers),
            Event::Released(release) => {
                followed.done(&What::Releases(facts_of(*release)));
            }
            Event::Attempted(_)
            | Event::AttemptFailed { .. }
            | Event::Refused { .. }
            | Event::Resent
            | Event::InvitedAgain { .. }
            | Event::TargetFailed { .. }
            | Event::Dropped { .. } => {}
        }
    }

    /// A call's machine has nothing more to do.
    pub(crate) fn finished(&mut self, call: usize) {
        self.calls[call].finish_machine();
    }

    pub(crate) fn panicked(&mut self, call: usize) {
        if let Some(watch) = &mut self.watches[call] {
            watch.panicked();
        }
        self.calls[call].panicked();
    }

    pub(crate) fn gave_up(&mut self, call: usize) {
        if let Some(watch) = &mut self.watches[call] {
            watch.lost();
        }
        self.calls[call].gave_up();
    }

    pub(crate) fn claimed(&mut self, call: usize, claim: Claim, now: u64) {
        if let Some(watch) = &mut self.watches[call] {
            match claim {
                Claim::Claimed { seq, .. } => watch.restored(seq, now),
                Claim::Away => {}
                Claim::Lost => watch.lost(),
            }
        }
        self.calls[call].claimed(claim, now);
    }

    /// A call is over for its node.
    pub(crate) fn stopped(&mut self, call: usize, now: u64) {
        let held: usize = self.slots.iter_mut().map(|slots| slots.dropped(call)).sum();
        if let Some(watch) = &mut self.watches[call] {
            watch.stopped();
        }
        let followed = &mut self.calls[call];
        followed.now = now;
        if followed.is_followed() {
            if let Some(busy) = followed.is_busy() {
                followed.fail(Rule::Leftover, format!("it stops, but {busy}"));
            }
            if let Some(waiting) = followed.expected.first() {
                let detail = format!("it stops, but {:?} is still to come", waiting.what);
                followed.fail(Rule::Leftover, detail);
            }
            followed.records_due =
                followed.store.end.as_ref().map(|(_, records)| usize::from(records.is_recorded()));
            if !followed.store.end_seen {
                followed.fail(Rule::Cdr, "it stops without an end in the store");
            }
            let excused = followed.store.panics > 0 || followed.admission_lost;
            if held > 0 && !excused {
                followed.fail(Rule::Slots, format!("it stops and holds {held} slots"));
            }
        }
        let excused = followed.is_stolen;
        match followed.mode {
            Mode::Restoring(_) if !excused => {
                followed.fail(Rule::Takeover, "it stops and waits for its claim")
            }
            Mode::Void(Void::Abandoned) if !excused && !followed.store.end_seen => {
                followed.fail(Rule::Takeover, "it is given up without an end in the store");
            }
            Mode::Live | Mode::Finishing | Mode::Restoring(_) | Mode::Void(_) | Mode::Stopped => {}
        }
        if followed.store.releases == 0 && !excused && !matches!(followed.mode, Mode::Void(Void::Ghost)) {
            followed.fail(Rule::Release, "it stops without having been released");
        }
        followed.mode = Mode::Stopped;
        followed.expected.clear();
    }

    /// How many records a call has when all is over; `None` if that is not followed.
    pub(crate) fn records(&self, call: usize) -> Option<usize> {
        self.calls[call].records_due
    }

    /// When nothing happens any more: what is left.
    pub(crate) fn leftover(&self) -> Option<String> {
        let call = self.calls.iter().position(|call| !matches!(call.mode, Mode::Stopped));
        let slot = self.slots.iter().position(|slots| slots.held() > 0);
        call.map(|call| format!("call {call} has not stopped: {:?}", self.calls[call].b.stage))
            .or_else(|| slot.map(|gateway| format!("slots of {} are held", self.plan.gateways[gateway].name)))
    }

    /// Counts what was reached.
    pub(crate) fn count(&self, coverage: &mut Coverage) {
        for call in &self.calls {
            coverage.call();
            call.rows.iter().for_each(|row| coverage.row(*row));
            call.happenings.iter().for_each(|(phase, happening)| coverage.happening(*phase, *happening));
        }
        for watch in self.watches.iter().flatten() {
            watch.rows.iter().for_each(|row| coverage.talk(*row));
        }
    }

    /// The longest configured prefix only, lower priority first, weight 0 behind the others of its priority.
    fn check_routes(&self, call: usize, places: &[usize], called: &str) -> Broken {
        let broken = |detail: String| Err((Rule::Routing, detail));
        let source = &self.plan.sources[self.calls[call].source];
        let dialled = &self.calls[call].facts.called;
        let expected = format!("{}{}", source.prepend, dialled.get(source.strip..).unwrap_or_default());
        if called != expected {
            return broken(format!("{called} is looked up, not {expected}"));
        }
        let matching = self.plan.gateways.iter().filter(|gateway| called.starts_with(gateway.prefix));
        let longest = matching.map(|gateway| gateway.prefix.len()).max();
        let takes = |gateway: &crate::plan::Gateway| {
            !gateway.disabled && called.starts_with(gateway.prefix) && Some(gateway.prefix.len()) == longest
        };
        let wanted: Vec<usize> =
            (0..self.plan.gateways.len()).filter(|place| takes(&self.plan.gateways[*place])).collect();
        let mut sorted = places.to_vec();
        sorted.sort_unstable();
        if sorted != wanted {
            return broken(format!("candidates {places:?} for {called}, not {wanted:?}"));
        }
        let rank = |place: &usize| {
            let gateway = &self.plan.gateways[*place];
            (gateway.priority, gateway.weight == 0)
        };
        if !places.is_sorted_by_key(rank) {
            return broken(format!("candidates {places:?} are out of order"));
        }
        Ok(())
    }
}

fn facts_of(release: Release) -> Facts {
    Facts {
        by: match release.origin {
            Origin::Caller => "caller",
            Origin::Callee => "callee",
            Origin::Server => "server",
        },
        reason: release.cause.as_str(),
        stop: release.stop.map(|stop| stop.as_str()),
        status: release.status.code(),
    }
}
