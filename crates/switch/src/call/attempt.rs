//! One try at one routing gateway, or one branch of a try at an endpoint: its INVITEs, its timers, and what is left to do once it has been left.

use super::action::{Action, Candidate, Seq, Target};
use super::again::Pending;
use super::caller::CallerLeg;
use super::connected::Descriptions;
use super::course::Course;
use super::early::{Arrival, EarlyDialogs, Exchange, offered};
use super::identity::{Names, Serial};
use super::invite::{Common, Head, Invite, SentInvite, gateway_uri, gone_elsewhere};
use super::requests::{Body, via, with_lines};
use super::retry::Authorized;
use super::session::callee_policy;
use super::snapshot::CSEQ_PER_EPOCH;
use super::unwanted::UnwantedAnswer;
use crate::failover::{Commitment, Failure};
use crate::gateway::{GatewayName, Holder, Outcome};
use crate::parameters::{CallParameters, ReliableProvisionals};
use bytes::Bytes;
use std::iter::once;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::dialog::Dialog;
use tandem_sip::time::Mono;
use tandem_sip::transaction::{ClientTimer, InviteResponse};
use tandem_sip::{Message, Method, MethodSet, StatusCode};

/// An attempt, from its first INVITE until nothing of it can arrive any more.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Its place among the call's attempts.
    pub(super) index: u16,
    pub(super) candidate: Candidate,
    /// The name of its Call-ID and From tag.
    pub(super) serial: Serial,
    /// The gateway's own URI.
    pub(super) uri: Arc<str>,
    /// The INVITE that counts.
    pub(super) current: Invite,
    /// Those before it: copies of their final responses, or what comes late from targets that were given up.
    pub(super) earlier: Vec<Invite>,
    /// What it can still try by itself.
    pub(super) course: Course,
    /// What its next INVITE waits for; meanwhile the current one does not count.
    pub(super) pending: Option<Box<Pending>>,
    /// The wait that the failover table bounds, and when it is over.
    pub(super) wait: Option<(Wait, Mono)>,
    pub(super) commitment: Option<Commitment>,
    /// The last session description of a provisional response, and the To tag it came under.
    pub(super) early: Option<Box<(Bytes, Body)>>,
    /// What the gateway sent reliably, and its PRACKs.
    pub(super) early_dialogs: EarlyDialogs,
    pub(super) unwanted: Vec<UnwantedAnswer>,
    pub(super) started: Mono,
    pub(super) pdd: Option<Duration>,
    /// The methods that the callee takes, if it has said so.
    pub(super) allowed: Option<MethodSet>,
    /// Told the gateway when the slot comes back.
    pub(super) outcome: Outcome,
    /// Whether the slot has yet to come back.
    pub(super) holds_slot: bool,
}

/// What an open attempt waits for (the failover table's timeouts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Wait {
    /// Any response: `SS_SIP_TIMEOUT_INVITE`, for each target.
    Response,
    /// More than 100: `SS_SIP_TIMEOUT_TRYING`.
    Trying,
    /// An answer after 180: `SS_SIP_TIMEOUT_RINGING`.
    Ringing,
    /// An answer after 183: `SS_SIP_TIMEOUT_SESSION_PROGRESS`.
    SessionProgress,
    /// Credentials for its next INVITE.
    Credentials,
    /// Where its next INVITE goes.
    Targets,
}

/// What a response means for an attempt that is still the call's.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing.
    None,
    /// A provisional response above 100.
    Provisional(StatusCode, Arrival),
    /// A 2xx.
    Answered(Box<Dialog>),
    /// The INVITE has failed.
    Failed(Failure),
}

/// The way that an attempt's first INVITE takes.
pub(super) struct Way {
    pub(super) target: Target,
    /// What is left where that leads nowhere.
    pub(super) course: Course,
    /// Its Max-Breadth.
    pub(super) breadth: Option<u32>,
}

/// An attempt's INVITEs as a snapshot has them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct SentInvites {
    pub(super) current: SentInvite,
    pub(super) earlier: Vec<SentInvite>,
}

/// What an attempt needs of its call to send something.
pub(super) struct Sender<'a> {
    pub(super) out: &'a mut Vec<Action>,
    pub(super) names: &'a mut Names,
    pub(super) caller: &'a CallerLeg,
    pub(super) parameters: &'a CallParameters,
}

impl Attempt {
    /// An attempt whose INVITE its call sends, as the returned bytes, once its state is committed.
    pub(super) fn start(
        to: &mut Sender<'_>,
        index: u16,
        candidate: Candidate,
        way: Way,
        now: Mono,
    ) -> (Self, Bytes) {
        let serial = to.names.next();
        let uri = gateway_uri(&candidate);
        let common = Common { serial, candidate: &candidate, uri: &uri };
        let timer = callee_policy(to.parameters, &candidate.parameters).invite_lines(0);
        let head = Head::first(serial, &candidate, (way.target, way.breadth), timer);
        let (invite, message) = Invite::start(common, head, (to.names, to.caller), to.parameters.resend, now);
        let wait = response_wait(&candidate, to.parameters, now);
        let mut attempt = Self::new((index, serial), (candidate, uri), invite, now);
        attempt.wait = Some(wait);
        attempt.course = way.course;
        (attempt, message)
    }

    /// An attempt of an earlier owner of the call: nothing is sent for it but what leaving it asks for.
    pub(super) fn recall(named: (u16, Serial), candidate: Candidate, sent: SentInvites, now: Mono) -> Self {
        let uri = gateway_uri(&candidate);
        let current = Invite::recall(sent.current, now);
        let mut attempt = Self::new(named, (candidate, uri), current, now);
        attempt.earlier = sent.earlier.into_iter().map(|sent| Invite::recall(sent, now)).collect();
        attempt
    }

    fn new(
        (index, serial): (u16, Serial),
        (candidate, uri): (Candidate, Arc<str>),
        current: Invite,
        now: Mono,
    ) -> Self {
        let holds_slot = candidate.has_slots();
        Self {
            index,
            candidate,
            serial,
            uri,
            current,
            earlier: Vec::new(),
            course: Course::default(),
            pending: None,
            wait: None,
            commitment: None,
            early: None,
            early_dialogs: EarlyDialogs::default(),
            unwanted: Vec::new(),
            started: now,
            pdd: None,
            allowed: None,
            outcome: Outcome::Cancelled,
            holds_slot,
        }
    }

    /// Sends the INVITE of an earlier owner of the call again.
    pub(super) fn ask_again(&mut self, to: &mut Sender<'_>, head: Head, now: Mono) {
        let common = Common { serial: self.serial, candidate: &self.candidate, uri: &self.uri };
        let flow = head.target.flow;
        let (invite, message) = Invite::start(common, head, (to.names, to.caller), to.parameters.resend, now);
        self.current = invite;
        self.wait = Some(response_wait(&self.candidate, to.parameters, now));
        to.out.push(Action::Send { flow, message, after: None });
    }

    /// The Request-URI of the INVITE with that head.
    pub(super) fn uri_of<'a>(&'a self, head: &'a Head) -> &'a str {
        head.uri(Common { serial: self.serial, candidate: &self.candidate, uri: &self.uri })
    }

    /// Leaves the current INVITE, before another can take its place.
    pub(super) fn leave_current(&mut self, to: &mut Sender<'_>, now: Mono) {
        let common = Common { serial: self.serial, candidate: &self.candidate, uri: &self.uri };
        self.current.leave(common, to, &gone_elsewhere(), now);
    }

    /// Whether a response to the INVITE with that name comes from where the attempt stands.
    pub(super) fn listens_to(&self, serial: Serial) -> bool {
        self.current.head.serial == serial && self.pending.is_none()
    }

    /// Sends an INVITE inside the attempt that takes the current one's place: returns its bytes, to be sent once the
    /// call's state is committed. The one before is left: copies of its final response get their ACK, and where none
    /// has come it is cancelled as soon as that is allowed.
    pub(super) fn invite_again(&mut self, to: &mut Sender<'_>, head: Head, now: Mono) -> Bytes {
        self.leave_current(to, now);
        self.pending = None;
        self.early_dialogs.leave();
        let common = Common { serial: self.serial, candidate: &self.candidate, uri: &self.uri };
        let (invite, message) = Invite::start(common, head, (to.names, to.caller), to.parameters.resend, now);
        let before = std::mem::replace(&mut self.current, invite);
        if !before.is_over() {
            self.earlier.push(before);
        }
        self.wait = Some(response_wait(&self.candidate, to.parameters, now));
        message
    }

    /// Its INVITEs as a snapshot has them: the current one, and the others as far as something is to be done for them.
    pub(super) fn sent(&self) -> SentInvites {
        let ending = |invite: &Invite| self.ending().any(|(_, of)| of == invite.head.serial);
        let open = self.earlier.iter().filter(|invite| invite.transaction.is_open() || ending(invite));
        SentInvites { current: self.current.sent(), earlier: open.map(Invite::sent).collect() }
    }

    /// Who holds the gateway's slot for this attempt.
    pub(super) fn holder(&self, call: super::CallId) -> Holder {
        Holder { call, attempt: self.index }
    }

    /// What the parties described before the 2xx, where that has no more to say of it: the gateway's offer came in a
    /// reliable provisional response and its PRACK brought the answer, or offers have been passed on since.
    pub(super) fn settled(&self, remote_tag: &[u8]) -> Option<Descriptions> {
        match self.early_dialogs.exchange(remote_tag)? {
            Exchange::Answered(answer) => Some(Descriptions {
                caller: Some(answer.clone()),
                callee: self.described_under(remote_tag).cloned(),
            }),
            Exchange::Changed(descriptions) => Some(descriptions.clone()),
            Exchange::Open | Exchange::AwaitsAnswer(_) | Exchange::Agreed => None,
        }
    }

    /// The gateway's tag in its only early dialog, and what the parties have agreed on there. `offer` is the INVITE's.
    pub(super) fn agreed(&self, offer: Option<&Body>) -> Option<(Bytes, Descriptions)> {
        let tag = self.early_dialogs.only()?.remote_tag();
        let descriptions = if self.early_dialogs.exchange(tag) == Some(&Exchange::Agreed) {
            Descriptions { caller: offer.cloned(), callee: self.described_under(tag).cloned() }
        } else {
            self.settled(tag)?
        };
        let is_complete = descriptions.caller.is_some() && descriptions.callee.is_some();
        is_complete.then(|| (Bytes::copy_from_slice(tag), descriptions))
    }

    fn described_under(&self, remote_tag: &[u8]) -> Option<&Body> {
        self.early.as_deref().filter(|(tag, _)| tag == remote_tag).map(|(_, body)| body)
    }

    /// Gives the slot back after commit `after`.
    pub(super) fn release_slot(&self, call: super::CallId, after: Option<Seq>) -> Action {
        Action::ReleaseSlot {
            gateway: self.candidate.gateway.clone(),
            holder: self.holder(call),
            outcome: self.outcome,
            after,
        }
    }

    /// What the failover table makes it wait for now.
    pub(super) fn waits_for(&self) -> Option<Wait> {
        self.wait.map(|(wait, _)| wait)
    }

    /// Takes a response to the INVITE that counts while the attempt is the call's.
    pub(super) fn on_response(&mut self, to: &mut Sender<'_>, response: &Message, now: Mono) -> Progress {
        let Some(status) = response.status() else {
            return Progress::None;
        };
        let common = Common { serial: self.serial, candidate: &self.candidate, uri: &self.uri };
        match self.current.on_response(common, to, response, now) {
            InviteResponse::Provisional => self.on_provisional(to, status, response, now),
            InviteResponse::Success => match self.dialog(&self.current.head, response, to.names.epoch()) {
                Some(dialog) => {
                    self.wait = None;
                    self.allowed = MethodSet::allowed_by(response);
                    self.pdd.get_or_insert(now.since(self.started));
                    Progress::Answered(Box::new(dialog))
                }
                None => Progress::Failed(Failure::UnusableAnswer),
            },
            InviteResponse::Failure { .. } => Progress::Failed(Failure::Status(status)),
            InviteResponse::FailureAgain { .. } | InviteResponse::Ignored => Progress::None,
        }
    }

    fn on_provisional(
        &mut self,
        to: &mut Sender<'_>,
        status: StatusCode,
        response: &Message,
        now: Mono,
    ) -> Progress {
        let arrival = self.arrival(to, status, response);
        if arrival == Arrival::Ignored {
            return Progress::None;
        }
        self.rearm(to.parameters, status, now);
        if status == StatusCode::TRYING {
            return Progress::None;
        }
        self.pdd.get_or_insert(now.since(self.started));
        if let Some(body) = Body::sdp_of(response) {
            let tag = Bytes::copy_from_slice(response.to_tag().unwrap_or_default());
            self.early = Some(Box::new((tag, body)));
            if self.candidate.parameters.stop_after_sdp {
                self.commitment.get_or_insert(Commitment::Sdp);
            }
        }
        Progress::Provisional(status, arrival)
    }

    /// Whether a provisional response is reliable, and in order.
    fn arrival(&mut self, to: &mut Sender<'_>, status: StatusCode, response: &Message) -> Arrival {
        if status == StatusCode::TRYING || offered(to.caller, &self.candidate) == ReliableProvisionals::Off {
            return Arrival::Plain;
        }
        let dialog = self.dialog(&self.current.head, response, to.names.epoch());
        self.early_dialogs.receive(to.out, response, to.caller.offer.is_none(), || dialog)
    }

    /// Which wait a provisional response begins. A wait is begun once: repeating 180 or 183 does not prolong it, and
    /// 183 after 180 does not shorten it. 181, 182 and others say, like 180, that the callee is being alerted.
    fn rearm(&mut self, parameters: &CallParameters, status: StatusCode, now: Mono) {
        let (next, interval) = match (self.waits_for(), status.code()) {
            (Some(Wait::Response) | None, 100) => (Wait::Trying, parameters.trying_timeout),
            (Some(Wait::Response | Wait::Trying) | None, 183) => {
                (Wait::SessionProgress, parameters.session_progress_timeout)
            }
            (Some(Wait::SessionProgress), 180) => (Wait::Ringing, parameters.ringing_timeout),
            (Some(Wait::Ringing | Wait::SessionProgress), _) | (Some(Wait::Trying), 100) => return,
            (Some(Wait::Response | Wait::Trying) | None, _) => (Wait::Ringing, parameters.ringing_timeout),
            // The INVITE does not count.
            (Some(Wait::Credentials | Wait::Targets), _) => return,
        };
        self.wait = Some((next, now + interval));
    }

    /// The dialog that a 2xx to the INVITE with that head makes, for the call's owner in `epoch`. A gateway that names no
    /// Contact is reached by the URI it was called by.
    pub(super) fn dialog(&self, head: &Head, response: &Message, epoch: u32) -> Option<Dialog> {
        let common = Common { serial: self.serial, candidate: &self.candidate, uri: &self.uri };
        let uri = head.uri(common).as_bytes();
        let mut dialog = Dialog::as_client(response, head.target.flow, uri).ok()?;
        dialog.raise_cseq(CSEQ_PER_EPOCH * epoch);
        if self.candidate.binding_at(&head.target).is_some_and(|binding| binding.by_flow) {
            dialog.keep_to_flow();
        }
        if let Some(early) = self.early_dialogs.dialog(dialog.remote_tag()) {
            dialog.inherit(early);
        }
        Some(dialog)
    }

    /// Our `host:port` in what the gateway is sent.
    pub(super) fn local(&self) -> &Arc<str> {
        &self.current.head.target.local
    }

    /// Sends the PRACKs that are owed, after a commit.
    pub(super) fn acknowledge_provisionals(&mut self, to: &mut Sender<'_>, after: Option<Seq>, now: Mono) {
        let account = self.account();
        self.early_dialogs.acknowledge(to, (&self.current.head.target.local, account), after, now);
    }

    /// The gateway by whose account challenges are answered; not those of a place that it has redirected to.
    pub(super) fn account(&self) -> Option<GatewayName> {
        let may = self.candidate.has_account && !self.course.foreign;
        may.then(|| self.candidate.gateway.clone())
    }

    /// What goes on of the attempt, without its course: where that has led to others, there is no account.
    pub(super) fn drop_foreign_account(&mut self) {
        self.candidate.has_account &= !self.course.foreign;
    }

    /// Whether these are credentials that a request in one of its dialogs waits for.
    pub(super) fn awaits(&self, serial: Serial) -> bool {
        self.early_dialogs.awaits(serial) || self.unwanted.iter().any(|unwanted| unwanted.bye.awaits(serial))
    }

    /// Takes credentials that were asked for. `false` if they are for nothing of this.
    pub(super) fn on_authorized(&mut self, to: &mut Sender<'_>, authorized: &Authorized, now: Mono) -> bool {
        let (serial, authorization) = authorized;
        if !self.awaits(*serial) {
            return false;
        }
        // The dialog of a 2xx counts on by itself.
        let early = authorization.as_ref().filter(|_| self.current.transaction.is_open());
        self.early_dialogs.on_authorized(to, (*serial, early), now);
        for unwanted in self.unwanted.iter_mut().filter(|unwanted| unwanted.bye.awaits(*serial)) {
            unwanted.on_authorized(to, authorization.as_ref(), now);
        }
        true
    }

    /// Sends the ACK of a 2xx, whose body is the answer to a delayed offer, and returns it for copies of the 2xx.
    pub(super) fn acknowledge(&self, to: &mut Sender<'_>, dialog: &Dialog, answer: Option<&Body>) -> Bytes {
        let ack = self.ack(to.names, dialog, answer);
        to.out.push(Action::Send { flow: dialog.flow(), message: ack.clone(), after: None });
        ack
    }

    /// The ACK of a 2xx to the INVITE that counts.
    pub(super) fn ack(&self, names: &mut Names, dialog: &Dialog, answer: Option<&Body>) -> Bytes {
        ack(&self.current.head, names, dialog, answer)
    }

    /// Leaves an open attempt: stops resending, and cancels it as soon as a provisional response allows it (§9.1).
    pub(super) fn leave(&mut self, to: &mut Sender<'_>, reason: &[u8], now: Mono) {
        self.wait = None;
        self.pending = None;
        self.early_dialogs.leave();
        self.drop_foreign_account();
        let common = Common { serial: self.serial, candidate: &self.candidate, uri: &self.uri };
        for invite in self.earlier.iter_mut().chain(once(&mut self.current)) {
            invite.leave(common, to, reason, now);
        }
    }

    /// Takes a response that is none to the INVITE that counts, or once the attempt has been left.
    pub(super) fn on_late_response(
        &mut self,
        to: &mut Sender<'_>,
        serial: Serial,
        response: &Message,
        now: Mono,
    ) {
        if response.method() != Some(Method::Invite) {
            self.early_dialogs.on_response(to, serial, response, now);
            for invite in self.earlier.iter_mut().chain(once(&mut self.current)) {
                invite.on_cancel_response(serial, response, now);
            }
            for unwanted in &mut self.unwanted {
                unwanted.bye.hear((to.out, to.names), serial, response, now);
            }
            return;
        }
        let common = Common { serial: self.serial, candidate: &self.candidate, uri: &self.uri };
        let mut invites = self.earlier.iter_mut().chain(once(&mut self.current));
        let Some(invite) = invites.find(|invite| invite.head.serial == serial) else {
            return;
        };
        let reason = gone_elsewhere();
        if invite.on_late_response(common, to, (response, &reason), now) {
            let head = invite.head.clone();
            self.refuse_answer(to, (&head, response), &reason, now);
        }
    }

    /// Whether `serial` names something this attempt sent.
    pub(super) fn owns(&self, serial: Serial) -> bool {
        serial == self.current.head.serial
            || self.earlier.iter().any(|invite| invite.head.serial == serial)
            || self.early_dialogs.sent(serial)
            || self.unwanted.iter().any(|unwanted| unwanted.bye.serial == serial)
    }

    /// The transport could not deliver what carried `serial`.
    pub(super) fn undeliverable(&mut self, serial: Serial) {
        let invites = self.earlier.iter_mut().chain(once(&mut self.current));
        for invite in invites.filter(|invite| invite.head.serial == serial) {
            invite.undeliverable();
        }
        self.early_dialogs.undeliverable(serial);
        for unwanted in self.unwanted.iter_mut().filter(|unwanted| unwanted.bye.serial == serial) {
            unwanted.bye.undeliverable();
        }
    }

    /// Does what is due while the attempt is the call's.
    pub(super) fn on_timer(&mut self, out: &mut Vec<Action>, now: Mono) -> Option<Failure> {
        self.on_earlier_timer(out, now);
        if let Some((wait, _)) = self.wait.filter(|(_, until)| *until <= now) {
            return Some(self.failure(wait));
        }
        if self.pending.is_some() {
            self.current.on_late_timer(out, now);
            return None;
        }
        match self.current.on_timer(out, now) {
            ClientTimer::TimedOut => Some(Failure::InviteTimeout),
            ClientTimer::Resend(_) | ClientTimer::Idle | ClientTimer::Terminated => None,
        }
    }

    /// What it means that this has been waited for in vain.
    fn failure(&self, wait: Wait) -> Failure {
        match wait {
            Wait::Response => Failure::InviteTimeout,
            Wait::Trying => Failure::TryingTimeout,
            Wait::Ringing => Failure::RingingTimeout,
            Wait::SessionProgress => Failure::SessionProgressTimeout,
            Wait::Credentials | Wait::Targets => {
                self.pending.as_ref().map_or(Failure::InviteTimeout, |pending| pending.because)
            }
        }
    }

    /// Does what is due once the attempt has been left.
    pub(super) fn on_late_timer(&mut self, out: &mut Vec<Action>, now: Mono) {
        self.on_earlier_timer(out, now);
        self.current.on_late_timer(out, now);
        if self.current.transaction.is_terminated() {
            self.early_dialogs.forget();
        }
    }

    fn on_earlier_timer(&mut self, out: &mut Vec<Action>, now: Mono) {
        for invite in &mut self.earlier {
            invite.on_late_timer(out, now);
        }
        self.earlier.retain(|invite| !invite.is_over());
        self.early_dialogs.on_timer(out, now);
        for unwanted in &mut self.unwanted {
            unwanted.bye.on_timer(out, now);
        }
    }

    /// Whether the gateway has no part in the call any more: its final response came, and its answers are ended.
    pub(super) fn slot_is_free(&self) -> bool {
        let open = |invite: &Invite| invite.transaction.is_open();
        !open(&self.current)
            && !self.earlier.iter().any(open)
            && self.unwanted.iter().all(|unwanted| !unwanted.bye.is_open())
    }

    /// Whether nothing of the attempt can arrive any more.
    pub(super) fn is_over(&self) -> bool {
        self.current.is_over()
            && self.earlier.iter().all(Invite::is_over)
            && self.unwanted.iter().all(|unwanted| !unwanted.bye.is_open())
    }

    /// Whether all that is left is to take copies of final responses.
    pub(super) fn only_absorbs(&self) -> bool {
        self.slot_is_free() && self.current.only_absorbs() && self.earlier.iter().all(Invite::only_absorbs)
    }

    /// When the attempt wants to be woken.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let waits = self.wait.map(|(_, until)| until);
        let earlier = self.earlier.iter().filter_map(Invite::deadline).min();
        let unwanted = self.unwanted.iter().filter_map(|unwanted| unwanted.bye.deadline()).min();
        let pracks = self.early_dialogs.deadline();
        [waits, earlier, unwanted, pracks, self.current.deadline()].into_iter().flatten().min()
    }
}

/// The wait for any response: `SS_SIP_TIMEOUT_INVITE` or the window of the resends, whichever is shorter.
fn response_wait(candidate: &Candidate, parameters: &CallParameters, now: Mono) -> (Wait, Mono) {
    (Wait::Response, now + candidate.parameters.invite_timeout.min(parameters.resend.window()))
}

/// The ACK of a 2xx to the INVITE with that head.
pub(super) fn ack(head: &Head, names: &mut Names, dialog: &Dialog, answer: Option<&Body>) -> Bytes {
    let serial = names.next();
    let via = via(dialog.flow().transport, &head.target.local, &names.branch(serial));
    Body::close(answer, with_lines(dialog.ack(&via, head.cseq), &head.authorization))
}
