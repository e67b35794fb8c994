//! What calls that talk are held to: rules on what is seen of a call from where the switch stands. The reference model of
//! set-ups works out each step; here every message and every end is measured against what the specification allows.

mod offers;
mod setup;
mod timers;

pub(super) use setup::nonces_of;

use super::hear::{branch_of, slice};
use crate::coverage::Talk;
use crate::knobs::{AttemptKnobs, CallKnobs};
use crate::peers::sdp_id;
use crate::plan::Plan;
use crate::violation::{Rule, Violation};
use bytes::Bytes;
use offers::{Ours, Theirs};
use setup::Setup;
use std::net::SocketAddr;
use std::rc::Rc;
use tandem_sip::{Message, Method, Name};
use tandem_switch::call::Event;
use timers::{Caps, Session};

/// How much later than its time something may be.
const TOLERANCE_MS: u64 = 250;

/// One of the legs, by its place.
const CALLER: usize = 0;
const CALLEE: usize = 1;

/// What is seen of one call.
pub(super) struct Watch {
    plan: Rc<Plan>,
    source: usize,
    stage: Stage,
    setup: Setup,
    legs: [Leg; 2],
    caps: Caps,
    answered_at: Option<u64>,
    /// What our first 2xx to the caller began: its session, and its cap.
    first: Option<(Option<Session>, Option<u64>)>,
    /// What its machine would have heard between a panic and its claim.
    restoring: Option<Vec<Message>>,
    restored_at: u64,
    panicked: bool,
    checkpoints: Vec<(u64, Held)>,
    /// The commits of this step.
    written: Vec<u64>,
    /// When something was last open on either leg.
    busy_at: u64,
    /// Whether it is given up, for a reason that other rules are about.
    is_void: bool,
    /// Its time was up in this step.
    is_timed_out: bool,
    /// An offer of our own was refused: the two sides differ, and cannot help it.
    in_doubt: bool,
    now: u64,
    pub(super) rows: Vec<Talk>,
    violation: Option<(Rule, String)>,
}

/// Both ends of a call: the Call-IDs of its dialogs, and where the callee was reached.
pub(crate) struct Ends {
    pub(crate) caller: Bytes,
    pub(crate) callee: Bytes,
    pub(crate) place: SocketAddr,
}

/// How far the call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    SettingUp,
    Talking,
    Ended,
}

/// The dialog with one party.
#[derive(Debug, Default)]
struct Leg {
    call_id: Bytes,
    session: Option<Session>,
    ours: Vec<Ours>,
    theirs: Vec<Theirs>,
    /// Whether a BYE of either side has been seen.
    is_closed: bool,
}

/// What a commit holds.
#[derive(Clone, Debug)]
struct Held {
    stage: Stage,
    sessions: [Option<Session>; 2],
    caps: Caps,
    /// The caller has its 2xx.
    is_answer_sent: bool,
}

impl Watch {
    pub(super) fn new(plan: Rc<Plan>, source: usize, invite: &Message, now: u64) -> Self {
        let caller = Leg { call_id: slice(invite, invite.call_id()), ..Leg::default() };
        Self {
            plan,
            source,
            stage: Stage::SettingUp,
            setup: Setup::of(invite),
            legs: [caller, Leg::default()],
            caps: Caps::default(),
            answered_at: None,
            first: None,
            restoring: None,
            restored_at: 0,
            panicked: false,
            checkpoints: Vec::new(),
            written: Vec::new(),
            busy_at: 0,
            is_void: false,
            is_timed_out: false,
            in_doubt: false,
            now,
            rows: Vec::new(),
            violation: None,
        }
    }

    fn knobs(&self) -> &CallKnobs {
        &self.plan.sources[self.source].knobs
    }

    fn gateway_knobs(&self) -> &AttemptKnobs {
        &self.plan.gateways[self.setup.gateway].knobs
    }

    fn fail(&mut self, rule: Rule, detail: impl Into<String>) {
        self.violation.get_or_insert((rule, detail.into()));
    }

    fn row(&mut self, row: Talk) {
        self.rows.push(row);
    }

    pub(super) fn violation(&mut self, call: usize) -> Option<Violation> {
        let (rule, detail) = self.violation.take()?;
        Some(Violation { rule, at_ms: self.now, call: Some(call), detail })
    }

    /// Time has come this far.
    pub(super) fn at(&mut self, now: u64) {
        self.now = now;
        self.note_busy();
        if !self.is_void && self.restoring.is_none() {
            self.check_times();
        }
    }

    /// The call is told something.
    pub(super) fn hears(&mut self, message: &Message) {
        if let Some(held_back) = &mut self.restoring {
            return held_back.push(message.clone());
        }
        if self.is_void {
            return;
        }
        self.setup.note_writer(message);
        match message.status() {
            Some(status) => self.hears_response(message, status.code()),
            None => self.hears_request(message),
        }
        self.note_busy();
    }

    fn hears_response(&mut self, message: &Message, status: u16) {
        let branch = branch_of(message);
        if message.method() == Some(Method::Invite) && self.setup.knows(&branch) {
            return self.on_setup_response(message, &branch, status);
        }
        if let Some(leg) = self.leg_of(message) {
            self.on_inside_response(leg, message, status);
        }
    }

    fn hears_request(&mut self, message: &Message) {
        match message.method() {
            Some(Method::PRack) => self.on_prack(message),
            Some(Method::Invite | Method::Update) if message.to_tag().is_some() => {
                if let Some(leg) = self.leg_of(message) {
                    self.on_their_offer(leg, message);
                }
            }
            Some(Method::Ack) => {
                if let Some(leg) = self.leg_of(message) {
                    self.on_their_ack(leg, message);
                }
            }
            Some(Method::Bye) => {
                if let Some(leg) = self.leg_of(message) {
                    self.legs[leg].is_closed = true;
                }
            }
            Some(_) | None => {}
        }
    }

    /// The call sends a message.
    pub(super) fn sends(&mut self, to: SocketAddr, message: &Message) {
        if self.is_void {
            return;
        }
        let leg = self.leg_of(message);
        match (message.status(), message.method()) {
            (None, Some(Method::Invite)) if message.to_tag().is_none() => self.on_invite(to, message),
            (None, Some(Method::PRack)) => self.on_our_prack(message),
            (None, Some(Method::Cancel)) => {
                self.setup.cancelled(&branch_of(message));
                self.cancels_inside(&branch_of(message));
            }
            (None, Some(Method::Invite | Method::Update)) => {
                if let Some(leg) = leg {
                    self.on_our_offer(leg, message);
                }
            }
            (None, Some(Method::Ack)) => {
                if let Some(leg) = leg {
                    self.on_our_ack(leg, message);
                }
            }
            (None, Some(Method::Bye)) => {
                if let Some(leg) = leg {
                    self.legs[leg].is_closed = true;
                }
            }
            (None, _) => {}
            (Some(status), Some(Method::Invite)) if self.setup.is_of_caller(message) => {
                self.on_our_setup_response(message, status.code());
            }
            (Some(status), _) => {
                if let Some(leg) = leg {
                    self.on_our_answer(leg, message, status.code());
                }
            }
        }
        self.check_description(leg, message);
        self.note_busy();
    }

    /// The leg whose dialog a message is of.
    fn leg_of(&self, message: &Message) -> Option<usize> {
        let call_id = message.call_id()?;
        self.legs.iter().position(|leg| leg.call_id == call_id)
    }

    /// Both ends of the call: the Call-IDs of its dialogs, and where the callee was reached.
    pub(super) fn ends(&self) -> Option<Ends> {
        let place = self
            .setup
            .answered_at
            .filter(|_| self.stage == Stage::Talking && !self.is_void && !self.in_doubt)?;
        let call_id = |leg: usize| self.legs[leg].call_id.clone();
        Some(Ends { caller: call_id(CALLER), callee: call_id(CALLEE), place })
    }

    pub(super) fn observes(&mut self, event: &Event) {
        if self.is_void {
            return;
        }
        match event {
            Event::Attempted(name) => self.on_attempted(name),
            Event::InvitedAgain { why, .. } => self.on_invited_again(*why),
            Event::TargetFailed { .. } => self.row(Talk::TargetFailed),
            Event::Answered => self.on_answered(),
            Event::Released(release) => {
                let reason = release.cause.as_str();
                if self.stage == Stage::Talking {
                    self.check_end(reason);
                    self.is_timed_out = matches!(reason, "session timeout" | "no-timer cap" | "max duration");
                }
                self.stage = Stage::Ended;
            }
            Event::AttemptFailed { .. }
            | Event::Refused { .. }
            | Event::Ringing { .. }
            | Event::Resent
            | Event::Dropped { .. } => {}
        }
    }

    fn on_answered(&mut self) {
        self.stage = Stage::Talking;
        self.answered_at = Some(self.now);
        let Some(success) = self.setup.success.take() else {
            // An heir may have cancelled what it then goes on with.
            if self.panicked {
                return self.lost();
            }
            return self.fail(Rule::Agreement, "answered, and no gateway has");
        };
        self.legs[CALLEE].call_id = slice(&success, success.call_id());
        self.setup.answered_at = self.setup.current().map(|invite| invite.to);
        self.begin_session(CALLEE, &success, true);
        self.begin_caps();
        self.check_acknowledged();
    }

    /// A write of the call has been issued.
    pub(super) fn writes(&mut self, seq: u64) {
        self.written.push(seq);
    }

    /// A step is over.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.is_timed_out) {
            self.check_byes();
        }
        let held = Held {
            stage: self.stage,
            sessions: self.legs.each_ref().map(|leg| leg.session),
            caps: self.caps,
            is_answer_sent: self.setup.is_answer_sent(),
        };
        self.checkpoints.extend(self.written.drain(..).map(|seq| (seq, held.clone())));
    }

    /// A conversation whose time is up is ended on both legs; to the caller not before its ACK.
    fn check_byes(&mut self) {
        let may_wait = !self.setup.is_acknowledged || self.panicked;
        if !self.legs[CALLEE].is_closed || !(self.legs[CALLER].is_closed || may_wait) {
            self.fail(Rule::Session, "its time is up, and there is no BYE on both legs");
        }
    }

    pub(super) fn panicked(&mut self) {
        self.row(match self.stage {
            Stage::SettingUp if self.setup.awaits_prack() => Talk::PanicsUnacknowledged,
            Stage::SettingUp => Talk::PanicsEarly,
            Stage::Talking if self.is_busy() => Talk::PanicsInExchange,
            Stage::Talking => Talk::PanicsTalking,
            Stage::Ended => Talk::PanicsEnded,
        });
        self.panicked = true;
        self.restoring = Some(Vec::new());
    }

    /// Another owner, or nobody, has it.
    pub(super) fn lost(&mut self) {
        self.is_void = true;
    }

    /// The call goes on from that commit.
    pub(super) fn restored(&mut self, seq: u64, now: u64) {
        self.now = now;
        self.restored_at = now;
        self.busy_at = now;
        self.setup.is_acknowledged = true;
        self.restore_setup();
        let held_back = self.restoring.take().unwrap_or_default();
        let Some((_, held)) = self.checkpoints.iter().rev().find(|(of, _)| *of == seq).cloned() else {
            return self.fail(Rule::Takeover, format!("commit {seq} was never made"));
        };
        if held.stage == Stage::SettingUp && self.stage != Stage::SettingUp {
            // The answer was not stored: the set-up goes on, and the rules on it are those of set-ups.
            return self.lost();
        }
        self.stage = held.stage;
        self.caps = held.caps;
        for (leg, session) in self.legs.iter_mut().zip(held.sessions) {
            leg.session = session;
            leg.ours.clear();
            leg.theirs.clear();
        }
        if let Some((session, no_timer_at)) = self.first.filter(|_| !held.is_answer_sent) {
            // The commit was made before the 2xx went out.
            self.legs[CALLER].session = session;
            self.caps.no_timer_at = no_timer_at;
        }
        held_back.iter().for_each(|message| self.hears(message));
    }

    /// The call is over.
    pub(super) fn stopped(&mut self) {
        if self.is_void || self.panicked {
            return;
        }
        let open = self.legs.iter().flat_map(|leg| &leg.theirs).find(|theirs| theirs.is_left_open());
        if let Some(open) = open.map(|theirs| format!("{theirs:?}")) {
            self.fail(Rule::Offers, format!("never answered: {open}"));
        }
    }

    /// Whether something is open that another exchange would cross.
    fn is_busy(&self) -> bool {
        let now = self.now;
        let is_open = |leg: &Leg| {
            leg.ours.iter().any(|ours| ours.is_open(now)) || leg.theirs.iter().any(Theirs::is_open)
        };
        self.legs.iter().any(is_open) || (self.stage == Stage::Talking && !self.setup.is_acknowledged)
    }

    fn note_busy(&mut self) {
        if self.is_busy() {
            self.busy_at = u64::MAX;
        } else if self.busy_at == u64::MAX {
            self.busy_at = self.now;
        }
    }
}

/// The number of a message's CSeq.
fn cseq_of(message: &Message) -> u32 {
    message.cseq().map_or(0, |cseq| cseq.number)
}

/// Whether a body only declines: every stream is at port 0.
fn is_refusal(message: &Message) -> bool {
    message.body().windows(10).any(|window| window == b"m=audio 0 ")
}

/// Whether a message says that it knows an extension.
fn lists(message: &Message, tag: &str) -> bool {
    message.has_token(Name::Supported, tag) || message.has_token(Name::Require, tag)
}

/// The description that a message carries.
fn description(message: &Message) -> Option<u32> {
    sdp_id(message.body())
}
