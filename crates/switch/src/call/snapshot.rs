//! What of a call another owner needs to go on with it: after a panic, a crash or a hand-over.
//!
//! Deadlines are wall-clock times. No secrets: a gateway's credentials are looked up again.

use super::action::{Action, Branch, Candidate, Reach, Seq};
use super::again;
use super::attempt::{Attempt, SentInvites, Wait};
use super::caller::CallerLeg;
use super::calling::Calling;
use super::clearing;
use super::connected::{Acknowledgement, Connected, Descriptions};
use super::context::{Context, Profile};
use super::copy_on_write::CopyOnWrite;
use super::course::Course;
use super::early::EarlyDialogs;
use super::fork::{self, Rest};
use super::hunting;
use super::identity::{Names, Serial};
use super::invite::Heard;
use super::moving::{Home, Moved};
use super::requests::{Body, reason_line};
use super::session::{self, FrozenSessions, Sessions};
use super::waiting::Waiting;
use super::{Call, CallId, State};
use crate::cdr::{AttemptOutcome, CallRecord, EndReason, Origin, Release};
use crate::failover::{Commitment, Failure};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::dialog::Dialog;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_sip::transaction::{ServerInvite, T1_64};
use tandem_sip::{MethodSet, StatusCode};

/// Our sequence numbers after a takeover start at this times the epoch: nothing is sent under a number that an
/// earlier owner may have used.
pub(super) const CSEQ_PER_EPOCH: u32 = 1000;

/// The longest that a deadline of a call in set-up can lie ahead (the largest of its parameters).
const LONGEST_SETUP_WAIT: Duration = Duration::from_secs(3600);

/// A call's state, as it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    id: CallId,
    token: String,
    epoch: u32,
    seq: Seq,
    taken_at: Wall,
    profile: CopyOnWrite<Profile>,
    pub(super) caller: CopyOnWrite<CallerLeg>,
    pub(super) record: CopyOnWrite<CallRecord>,
    max_duration: Option<Duration>,
    emergency: bool,
    pub(super) left: Vec<LeftAttempt>,
    pub(super) phase: Phase,
}

/// How far the call had come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// An attempt was open.
    Hunting(Box<HuntingPhase>),
    /// It was answered.
    Connected(Box<ConnectedPhase>),
    /// Its set-up had failed; the caller may not have been told yet.
    Clearing(Release),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HuntingPhase {
    candidates: Waiting,
    last_failure: Option<Failure>,
    setup_deadline: Option<Wall>,
    open: OpenAttempt,
}

/// An attempt that is the call's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenAttempt {
    index: u16,
    /// Without the bindings of an endpoint, which its branches have.
    candidate: Candidate,
    branches: Vec<OpenBranch>,
    rest: Rest,
}

/// The INVITE of an attempt at a gateway, or one of those at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OpenBranch {
    binding: Option<Branch>,
    serial: Serial,
    sent: SentInvites,
    course: Course,
    wait: Option<(Wait, Wall)>,
    commitment: Option<Commitment>,
    early: Option<(Bytes, Body)>,
    early_dialogs: EarlyDialogs,
    started_at: Wall,
    pdd: Option<Duration>,
}

/// An attempt whose final response is still to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeftAttempt {
    pub(super) index: u16,
    serial: Serial,
    pub(super) candidate: Candidate,
    pub(super) sent: SentInvites,
    /// Dialogs of answers that nobody wants, as far as they are not ended yet, each with the INVITE that it answered.
    pub(super) ending: Vec<(Dialog, Serial)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConnectedPhase {
    pub(super) index: u16,
    serial: Serial,
    pub(super) candidate: Candidate,
    pub(super) sent: SentInvites,
    pdd: Option<Duration>,
    pub(super) callee: Dialog,
    /// The callee's last session description: that of our 2xx, unless it has changed since.
    answer: Option<Body>,
    /// Whether that was the callee's offer, which the caller's ACK answers.
    delayed_offer: bool,
    /// Whether the ACK of its 2xx brought the caller's answer.
    answered_in_ack: bool,
    /// The caller's last session description, unless the leg has it as its offer.
    described: Option<Body>,
    /// Whether the caller's ACK of our 2xx has come.
    acknowledged: bool,
    /// The methods that the callee takes, if it has said so.
    allowed: Option<MethodSet>,
    sessions: FrozenSessions,
}

impl HuntingPhase {
    /// What peers have yet to answer stays as they know it. Whether some of them do not reach `home`.
    pub(super) fn move_to(&mut self, home: &Home<'_>) -> bool {
        let is_cut_off = self.is_cut_off_at(home);
        self.candidates.move_to(home);
        self.open.candidate.move_to(home);
        for branch in &mut self.open.branches {
            if is_cut_off {
                // Whatever it says to the INVITE is not heard: CANCEL need not wait for it (RFC 3261 §9.1).
                branch.sent.current.heard = Heard::Provisional;
            }
            branch.sent.move_flows(home);
            let local = branch.sent.current.head.target.local.clone();
            branch.early_dialogs.move_flows(|flow| home(flow, &local).0);
            if let Some(binding) = &mut branch.binding {
                binding.move_to(home);
            }
        }
        is_cut_off
    }

    pub(super) fn is_cut_off_at(&self, home: &Home<'_>) -> bool {
        self.open.branches.iter().any(|branch| branch.sent.current.head.target.is_cut_off_at(home))
    }

    /// The open attempt.
    pub(super) fn open(&self) -> (u16, &Candidate) {
        (self.open.index, &self.open.candidate)
    }
}

impl OpenAttempt {
    /// The state of a hunt with this attempt open.
    pub(super) fn hunting(context: &Context, calling: &Calling, now: Now) -> Phase {
        let mut candidate = calling.attempt.candidate.clone();
        if let Reach::Bindings(bindings) = &mut candidate.reach {
            bindings.branches = Vec::new();
        }
        let open = Self {
            index: calling.attempt.index,
            candidate,
            branches: calling.branches().map(|branch| OpenBranch::take(branch, now)).collect(),
            rest: calling.rest.clone(),
        };
        Phase::Hunting(Box::new(HuntingPhase {
            candidates: Waiting::pack(context.hunt.candidates.iter()),
            last_failure: context.hunt.last_failure,
            setup_deadline: context.setup_deadline.map(|deadline| now.to_wall(deadline)),
            open,
        }))
    }

    /// `None` if it has no branch, which no snapshot of ours says.
    fn resume(self, context: &mut Context, now: Now) -> Option<Calling> {
        let Self { index, candidate, branches, rest } = self;
        let mut branches =
            branches.into_iter().map(|branch| branch.resume(context, (index, &candidate), now));
        let attempt = branches.next()?;
        let others = branches.collect();
        Some(Calling { others, rest, ..Calling::new(attempt) })
    }
}

impl OpenBranch {
    fn take(attempt: &Attempt, now: Now) -> Self {
        Self {
            binding: attempt.candidate.binding().cloned(),
            serial: attempt.serial,
            sent: attempt.sent(),
            course: attempt.course.clone(),
            wait: attempt.wait.map(|(wait, until)| (wait, now.to_wall(until))),
            commitment: attempt.commitment,
            early: attempt.early.as_deref().cloned(),
            early_dialogs: attempt.early_dialogs.clone(),
            started_at: now.to_wall(attempt.started),
            pdd: attempt.pdd,
        }
    }

    fn resume(self, context: &mut Context, (index, candidate): (u16, &Candidate), now: Now) -> Attempt {
        let rings = self.sent.current.heard == Heard::Provisional;
        let candidate = match self.binding {
            Some(binding) => fork::of_branch(candidate, binding),
            None => candidate.clone(),
        };
        let mut attempt = Attempt::recall((index, self.serial), candidate, self.sent, now.mono);
        attempt.course = self.course;
        if !rings {
            again::ask_again(&mut attempt, context, now);
        } else {
            attempt.wait = self.wait.map(|(wait, until)| (wait, now.to_mono(until, LONGEST_SETUP_WAIT)));
        }
        attempt.commitment = self.commitment;
        attempt.early = self.early.map(Box::new);
        attempt.early_dialogs = self.early_dialogs;
        attempt.early_dialogs.raise_cseq(CSEQ_PER_EPOCH * context.names.epoch());
        attempt.acknowledge_provisionals(&mut context.sender(), None, now.mono);
        attempt.pdd = self.pdd;
        let elapsed = now.wall.since(self.started_at).as_millis() as u64;
        attempt.started = Mono(now.mono.0.saturating_sub(elapsed));
        attempt
    }
}

impl ConnectedPhase {
    pub(super) fn take(connected: &Connected, context: &Context, now: Now) -> Self {
        let Descriptions { caller, callee } = &connected.descriptions;
        Self {
            index: connected.attempt.index,
            serial: connected.attempt.serial,
            candidate: connected.attempt.candidate.clone(),
            sent: connected.attempt.sent(),
            pdd: connected.attempt.pdd,
            callee: connected.callee.clone(),
            answer: callee.clone(),
            delayed_offer: matches!(connected.acknowledgement, Acknowledgement::AwaitsAnswer { .. }),
            answered_in_ack: matches!(
                connected.acknowledgement,
                Acknowledgement::Sent { has_answer: true, .. }
            ),
            described: caller.clone().filter(|caller| context.caller.offer.as_ref() != Some(caller)),
            acknowledged: !context.transaction.is_open() && !context.transaction.awaits_ack_of_success(),
            allowed: connected.attempt.allowed,
            sessions: connected.sessions.freeze(now),
        }
    }

    /// Goes on with the conversation. Within 64·T1 of the answer the caller may still lack the 2xx: it is sent again
    /// until its ACK comes.
    fn resume(self, context: &mut Context, moved: Moved, now: Now) -> State {
        let mut attempt = Attempt::recall((self.index, self.serial), self.candidate, self.sent, now.mono);
        attempt.current.transaction.accept(now.mono);
        attempt.pdd = self.pdd;
        attempt.allowed = self.allowed;
        let mut callee = self.callee;
        callee.raise_cseq(CSEQ_PER_EPOCH * context.names.epoch());
        let answered_at = context.record.answered_at.unwrap_or(now.wall);
        let recent = now.wall.since(answered_at) < T1_64;
        context.caller.ringing.close();
        let descriptions = Descriptions {
            caller: self.described.or_else(|| context.caller.offer.clone()),
            callee: self.answer.clone(),
        };
        let acknowledgement = match &self.answer {
            Some(offer) if self.delayed_offer => Acknowledgement::AwaitsAnswer { refusal: offer.refusal() },
            Some(_) | None => {
                let answer = descriptions.caller.as_ref().filter(|_| self.answered_in_ack);
                let ack = if recent {
                    attempt.acknowledge(&mut context.sender(), &callee, answer)
                } else {
                    attempt.ack(&mut context.names, &callee, answer)
                };
                Acknowledgement::Sent { ack, after: None, has_answer: self.answered_in_ack }
            }
        };
        if recent && !self.acknowledged {
            let builder = context.caller.respond(&context.names, StatusCode::OK, b"");
            let builder = session::first_answer(context.parameters(), &context.caller).put(builder);
            // Nothing is in it where all was settled before, in a reliable provisional response and its PRACK.
            let has_body = context.caller.offer.is_some() || self.delayed_offer;
            let response = (StatusCode::OK, Body::close(self.answer.as_ref().filter(|_| has_body), builder));
            context.caller.send_final(&mut context.out, &mut context.transaction, response, None, now.mono);
        } else {
            context.transaction = ServerInvite::over(context.parameters().resend);
        }
        let sessions = Sessions::thaw(context, &attempt.candidate.parameters, self.sessions, now);
        let mut connected = Connected::new(attempt, callee, acknowledgement, descriptions, sessions);
        connected.acknowledgement_unknown = true;
        connected.tell_moved(context, moved, now);
        State::Connected(Box::new(connected))
    }
}

impl Snapshot {
    pub(super) fn take(context: &Context, seq: Seq, phase: Phase, now: Now) -> Self {
        let left = context.left.iter().filter(|attempt| !attempt.slot_is_free());
        Self {
            id: context.id,
            token: context.names.token().to_owned(),
            epoch: context.names.epoch(),
            seq,
            taken_at: now.wall,
            profile: context.profile.clone(),
            caller: context.caller.clone(),
            record: context.record.clone(),
            max_duration: context.max_duration,
            emergency: context.emergency,
            left: left
                .map(|attempt| LeftAttempt {
                    index: attempt.index,
                    serial: attempt.serial,
                    candidate: attempt.candidate.clone(),
                    sent: attempt.sent(),
                    ending: attempt.ending().map(|(dialog, of)| (dialog.clone(), of)).collect(),
                })
                .collect(),
            phase,
        }
    }

    /// The call.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// How often the call had changed its owner when this was taken.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The number of the commit.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// When it was taken.
    pub fn taken_at(&self) -> Wall {
        self.taken_at
    }

    /// The records of a call that nobody can go on with: what [`Action::End`] would have carried.
    pub fn abandon(&self, cause: EndReason, now: Now) -> Vec<Vec<u8>> {
        let by_server = |status| Release { origin: Origin::Server, cause, stop: None, status };
        let release = match self.phase {
            Phase::Connected(_) => by_server(StatusCode::OK),
            Phase::Hunting(_) => by_server(StatusCode::SERVER_INTERNAL_ERROR),
            Phase::Clearing(release) => release,
        };
        self.record.to_json(release, now.wall, self.profile.parameters.record_nonconnect)
    }
}

impl Call {
    /// The call of a snapshot, as its owner in `epoch` goes on with it on `node`, and what is to be done at once.
    ///
    /// Names that are given from now on carry the epoch; sequence numbers start above those of all epochs before. Parties
    /// of a conversation that do not know where it is now are told; a call in set-up that its peers cannot reach ends.
    pub fn restore(
        snapshot: Snapshot,
        epoch: u32,
        node: Arc<str>,
        moved: Moved,
        now: Now,
    ) -> (Self, Vec<Action>) {
        let Snapshot {
            id,
            token,
            seq,
            profile,
            caller,
            mut record,
            max_duration,
            emergency,
            left,
            phase,
            ..
        } = snapshot;
        if record.nodes.last() != Some(&node) {
            record.nodes.push(node);
        }
        let transaction = caller.transaction(profile.parameters.resend);
        let mut context = Context::new((id, Names::new(token, epoch)), profile, caller, transaction, record);
        context.caller.dialog.raise_cseq(CSEQ_PER_EPOCH * epoch);
        context.caller.ringing.raise_rseq(epoch);
        context.max_duration = max_duration;
        context.emergency = emergency;
        context.resume_seq(seq);
        for attempt in left {
            attempt.resume(&mut context, now);
        }
        let state = match phase {
            Phase::Hunting(hunting) => hunting.resume(&mut context, now),
            Phase::Connected(connected) => connected.resume(&mut context, moved, now),
            Phase::Clearing(release) => {
                let reason = reason_line(release.status, release.cause.as_str());
                clearing::reject(&mut context, release, &reason, now)
            }
        };
        let mut call = Self { context, state, wakes_at: None };
        if moved.callee && matches!(call.state, State::Calling(_)) {
            call.hang_up(EndReason::NodeLost, now);
        }
        let actions = call.drain();
        (call, actions)
    }
}

impl HuntingPhase {
    fn resume(self, context: &mut Context, now: Now) -> State {
        context.hunt.candidates = self.candidates.unpack().collect();
        context.hunt.last_failure = self.last_failure;
        context.setup_deadline = self.setup_deadline.map(|at| now.to_mono(at, LONGEST_SETUP_WAIT));
        // What the caller was told last is not known; a copy of its INVITE gets this.
        let trying = context.caller.respond(&context.names, StatusCode::TRYING, b"");
        context.transaction.provisional(&trying.finish());
        context.resume_ringing(now.mono);
        match self.open.resume(context, now) {
            Some(calling) => State::Calling(Box::new(calling)),
            None => hunting::next(context, now),
        }
    }
}

impl LeftAttempt {
    /// Leaves it again: CANCEL may be sent twice, and whoever got it answers it alike.
    fn resume(self, context: &mut Context, now: Now) {
        let reason = reason_line(StatusCode::REQUEST_TERMINATED, "attempt given up");
        let (candidate, index, serial) = (self.candidate, self.index, self.serial);
        let failed = context.record.attempts.get(usize::from(index)).map(|record| record.outcome);
        let mut attempt = Attempt::recall((index, serial), candidate, self.sent, now.mono);
        if let Some(AttemptOutcome::Failed(failure)) = failed {
            attempt.outcome = crate::gateway::Outcome::Failed(failure);
        }
        for ending in self.ending {
            attempt.end_again(&mut context.sender(), ending, &reason, now.mono);
        }
        context.leave_behind(attempt, &reason, now.mono);
    }
}
