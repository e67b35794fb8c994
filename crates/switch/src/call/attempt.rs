//! One INVITE to one routing gateway: its transaction, its timers, and what is left to do once it has been left.

use super::action::{Action, Candidate, Event, Seq};
use super::caller::CallerLeg;
use super::identity::{Names, Serial};
use super::requests::{ALLOW, Body, Outstanding, bye, contact, reason_line, via, with_lines};
use super::snapshot::CSEQ_PER_EPOCH;
use crate::failover::{Commitment, Failure};
use crate::gateway::{Holder, Outcome};
use crate::parameters::CallParameters;
use bytes::Bytes;
use std::time::Duration;
use tandem_sip::dialog::Dialog;
use tandem_sip::time::Mono;
use tandem_sip::transaction::{ClientInvite, ClientTimer, InviteResponse, T1_64};
use tandem_sip::{Builder, Message, Method, Name, StatusCode};

/// The most answered dialogs of one attempt that are being ended at a time.
const MAX_UNWANTED_ANSWERS: usize = 8;

/// An attempt, from its INVITE until nothing of it can arrive any more.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Its place among the call's attempts.
    pub(super) index: u16,
    pub(super) candidate: Candidate,
    pub(super) serial: Serial,
    pub(super) transaction: ClientInvite,
    /// The wait that the failover table bounds, and when it is over.
    pub(super) wait: Option<(Wait, Mono)>,
    pub(super) commitment: Option<Commitment>,
    /// The last session description of a provisional response, and the To tag it came under.
    pub(super) early: Option<(Bytes, Body)>,
    pub(super) cancel: Option<Outstanding>,
    /// The commit that its INVITE follows, also when it is sent again.
    pub(super) after: Option<Seq>,
    /// Since when it is no longer the call's; until when its final response is waited for.
    pub(super) left_until: Option<Mono>,
    unwanted: Vec<UnwantedAnswer>,
    pub(super) started: Mono,
    pub(super) pdd: Option<Duration>,
    /// Told the gateway when the slot comes back.
    pub(super) outcome: Outcome,
    /// Whether the slot has yet to come back.
    pub(super) holds_slot: bool,
}

/// What an open attempt waits for (the failover table's timeouts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Wait {
    /// Any response: `SS_SIP_TIMEOUT_INVITE`.
    Response,
    /// More than 100: `SS_SIP_TIMEOUT_TRYING`.
    Trying,
    /// An answer after 180: `SS_SIP_TIMEOUT_RINGING`.
    Ringing,
    /// An answer after 183: `SS_SIP_TIMEOUT_SESSION_PROGRESS`.
    SessionProgress,
}

/// A 2xx that nobody wants any more: acknowledged, and ended with BYE.
#[derive(Debug)]
struct UnwantedAnswer {
    dialog: Dialog,
    ack: Bytes,
    bye: Outstanding,
}

/// What a response means for an attempt that is still the call's.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing.
    None,
    /// A provisional response above 100.
    Provisional(StatusCode),
    /// A 2xx.
    Answered(Box<Dialog>),
    /// The attempt has failed.
    Failed(Failure),
}

/// What an attempt needs of its call to send something.
pub(super) struct Sender<'a> {
    pub(super) out: &'a mut Vec<Action>,
    pub(super) names: &'a mut Names,
    pub(super) caller: &'a CallerLeg,
    pub(super) parameters: &'a CallParameters,
}

impl Wait {
    fn failure(self) -> Failure {
        match self {
            Wait::Response => Failure::InviteTimeout,
            Wait::Trying => Failure::TryingTimeout,
            Wait::Ringing => Failure::RingingTimeout,
            Wait::SessionProgress => Failure::SessionProgressTimeout,
        }
    }
}

impl Attempt {
    /// An attempt whose [INVITE](Self::invite) its call sends once its state is committed.
    pub(super) fn start(to: &mut Sender<'_>, index: u16, candidate: Candidate, now: Mono) -> Self {
        let serial = to.names.next();
        let request = invite(to.names, to.caller, &candidate, serial);
        let reliable = candidate.flow.transport.is_reliable();
        let transaction = ClientInvite::start(request, reliable, to.parameters.resend, now);
        let wait = response_wait(&candidate, to.parameters, now);
        Self { wait: Some(wait), ..Self::new((index, serial), candidate, transaction, now) }
    }

    /// An attempt that an earlier owner of the call started: asked again if nothing had come of it.
    pub(super) fn resume(
        to: &mut Sender<'_>,
        (index, serial): (u16, Serial),
        candidate: Candidate,
        answered_provisionally: bool,
        now: Mono,
    ) -> Self {
        let reliable = candidate.flow.transport.is_reliable();
        let transaction = if answered_provisionally {
            ClientInvite::resume_proceeding(reliable)
        } else {
            let request = invite(to.names, to.caller, &candidate, serial);
            to.out.push(Action::Send { flow: candidate.flow, message: request.clone(), after: None });
            ClientInvite::start(request, reliable, to.parameters.resend, now)
        };
        let wait = (!answered_provisionally).then(|| response_wait(&candidate, to.parameters, now));
        Self { wait, ..Self::new((index, serial), candidate, transaction, now) }
    }

    /// An attempt that an earlier owner had left: nothing is sent for it but what leaving it asks for.
    pub(super) fn recall(
        (index, serial): (u16, Serial),
        candidate: Candidate,
        answered_provisionally: bool,
        now: Mono,
    ) -> Self {
        let reliable = candidate.flow.transport.is_reliable();
        let transaction = if answered_provisionally {
            ClientInvite::resume_proceeding(reliable)
        } else {
            ClientInvite::resume_unanswered(reliable, now)
        };
        Self::new((index, serial), candidate, transaction, now)
    }

    fn new(
        (index, serial): (u16, Serial),
        candidate: Candidate,
        transaction: ClientInvite,
        now: Mono,
    ) -> Self {
        Self {
            index,
            candidate,
            serial,
            transaction,
            wait: None,
            commitment: None,
            early: None,
            cancel: None,
            after: None,
            left_until: None,
            unwanted: Vec::new(),
            started: now,
            pdd: None,
            outcome: Outcome::Cancelled,
            holds_slot: true,
        }
    }

    /// The INVITE's bytes.
    pub(super) fn invite(&self, names: &Names, caller: &CallerLeg) -> Bytes {
        invite(names, caller, &self.candidate, self.serial)
    }

    /// Who holds the gateway's slot for this attempt.
    pub(super) fn holder(&self, call: super::CallId) -> Holder {
        Holder { call, attempt: self.index }
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

    /// Takes a response while the attempt is the call's.
    pub(super) fn on_response(&mut self, to: &mut Sender<'_>, response: &Message, now: Mono) -> Progress {
        let Some(status) = response.status() else {
            return Progress::None;
        };
        let ack = || failure_ack(to.names, to.caller, &self.candidate, self.serial, response);
        match self.transaction.on_response(status, now, ack) {
            InviteResponse::Provisional => self.on_provisional(to.parameters, status, response, now),
            InviteResponse::Success => match self.dialog(response, to.names.epoch()) {
                Some(dialog) => {
                    self.wait = None;
                    self.pdd.get_or_insert(now.since(self.started));
                    Progress::Answered(Box::new(dialog))
                }
                None => Progress::Failed(Failure::UnusableAnswer),
            },
            InviteResponse::Failure { ack } => {
                to.out.push(Action::Send { flow: self.candidate.flow, message: ack, after: None });
                Progress::Failed(Failure::Status(status))
            }
            InviteResponse::FailureAgain { ack } => {
                to.out.push(Action::Send { flow: self.candidate.flow, message: ack, after: None });
                Progress::None
            }
            InviteResponse::Ignored => Progress::None,
        }
    }

    fn on_provisional(
        &mut self,
        parameters: &CallParameters,
        status: StatusCode,
        response: &Message,
        now: Mono,
    ) -> Progress {
        self.rearm(parameters, status, now);
        if status == StatusCode::TRYING {
            return Progress::None;
        }
        self.pdd.get_or_insert(now.since(self.started));
        if let Some(body) = Body::sdp_of(response) {
            let tag = Bytes::copy_from_slice(response.to_tag().unwrap_or_default());
            self.early = Some((tag, body));
            if self.candidate.parameters.stop_after_sdp {
                self.commitment.get_or_insert(Commitment::Sdp);
            }
        }
        Progress::Provisional(status)
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
        };
        self.wait = Some((next, now + interval));
    }

    /// The dialog that a 2xx makes, for the call's owner in `epoch`. A gateway that names no Contact is reached by the
    /// URI it was called by.
    fn dialog(&self, response: &Message, epoch: u32) -> Option<Dialog> {
        let uri = request_uri(&self.candidate);
        let mut dialog = Dialog::as_client(response, self.candidate.flow, uri.as_bytes()).ok()?;
        dialog.raise_cseq(CSEQ_PER_EPOCH * epoch);
        Some(dialog)
    }

    /// Sends the ACK of a 2xx, whose body is the answer to a delayed offer, and returns it for copies of the 2xx.
    pub(super) fn acknowledge(&self, to: &mut Sender<'_>, dialog: &Dialog, answer: Option<&Body>) -> Bytes {
        let ack = self.ack(to.names, dialog, answer);
        to.out.push(Action::Send { flow: dialog.flow(), message: ack.clone(), after: None });
        ack
    }

    /// The ACK of a 2xx.
    pub(super) fn ack(&self, names: &mut Names, dialog: &Dialog, answer: Option<&Body>) -> Bytes {
        let serial = names.next();
        let via = via(dialog.flow().transport, &self.candidate.local, &names.branch(serial));
        Body::close(answer, dialog.ack(&via, invite_cseq(self.serial)))
    }

    /// Takes a 2xx that nobody wants: ACK, then BYE; a copy of it gets its ACK again.
    pub(super) fn refuse_answer(
        &mut self,
        to: &mut Sender<'_>,
        response: &Message,
        reason: &[u8],
        now: Mono,
    ) {
        let tag = response.to_tag().unwrap_or_default();
        if let Some(known) = self.unwanted.iter().find(|unwanted| unwanted.dialog.remote_tag() == tag) {
            to.out.push(Action::Send { flow: known.dialog.flow(), message: known.ack.clone(), after: None });
            return;
        }
        if self.unwanted.len() >= MAX_UNWANTED_ANSWERS {
            to.out.push(Action::Emit(Event::Dropped { source: None, why: "too many answers to one INVITE" }));
            return;
        }
        let Some(dialog) = self.dialog(response, to.names.epoch()) else {
            return;
        };
        let refusal =
            Body::sdp_of(response).filter(|_| to.caller.offer.is_none()).map(|offer| offer.refusal());
        let ack = self.acknowledge(to, &dialog, refusal.as_ref());
        self.end_answer(to, dialog, ack, reason, now);
    }

    /// Ends with BYE what an earlier owner of the call was ending.
    pub(super) fn end_again(&mut self, to: &mut Sender<'_>, mut dialog: Dialog, reason: &[u8], now: Mono) {
        self.transaction.accept(now);
        dialog.raise_cseq(CSEQ_PER_EPOCH * to.names.epoch());
        let ack = self.ack(to.names, &dialog, None);
        self.end_answer(to, dialog, ack, reason, now);
    }

    /// The dialogs of answers that are being ended.
    pub(super) fn ending(&self) -> impl Iterator<Item = &Dialog> {
        let open = self.unwanted.iter().filter(|unwanted| unwanted.bye.is_open());
        open.map(|unwanted| &unwanted.dialog)
    }

    fn end_answer(&mut self, to: &mut Sender<'_>, mut dialog: Dialog, ack: Bytes, reason: &[u8], now: Mono) {
        let local = &*self.candidate.local;
        let bye = bye(to.out, to.names, &mut dialog, (local, reason), None, to.parameters.resend, now);
        self.unwanted.push(UnwantedAnswer { dialog, ack, bye });
    }

    /// Leaves an open attempt: stops resending, and cancels it as soon as a provisional response allows it (§9.1).
    pub(super) fn leave(&mut self, to: &mut Sender<'_>, reason: &[u8], now: Mono) {
        self.wait = None;
        self.left_until = Some(now + T1_64);
        if self.transaction.is_unanswered() {
            self.transaction.stop_resending(now);
        } else if self.transaction.is_open() {
            self.send_cancel(to, reason, now);
        }
    }

    fn send_cancel(&mut self, to: &mut Sender<'_>, reason: &[u8], now: Mono) {
        let request = cancel(to.names, to.caller, &self.candidate, self.serial, reason);
        let flow = self.candidate.flow;
        let kind = (self.serial, Method::Cancel);
        self.cancel = Some(Outstanding::send(to.out, kind, (flow, None), request, to.parameters.resend, now));
        self.left_until = Some(now + T1_64);
    }

    /// Takes a response once the attempt has been left.
    pub(super) fn on_late_response(
        &mut self,
        to: &mut Sender<'_>,
        serial: Serial,
        response: &Message,
        now: Mono,
    ) {
        let Some(status) = response.status() else { return };
        if response.method() != Some(Method::Invite) {
            for request in
                self.cancel.iter_mut().chain(self.unwanted.iter_mut().map(|unwanted| &mut unwanted.bye))
            {
                request.on_response(serial, response, now);
            }
            return;
        }
        let reason = reason_line(StatusCode::REQUEST_TERMINATED, "call has gone elsewhere");
        let ack = || failure_ack(to.names, to.caller, &self.candidate, self.serial, response);
        match self.transaction.on_response(status, now, ack) {
            InviteResponse::Provisional if self.cancel.is_none() => self.send_cancel(to, &reason, now),
            InviteResponse::Success => self.refuse_answer(to, response, &reason, now),
            InviteResponse::Failure { ack } | InviteResponse::FailureAgain { ack } => {
                to.out.push(Action::Send { flow: self.candidate.flow, message: ack, after: None });
            }
            InviteResponse::Provisional | InviteResponse::Ignored => {}
        }
    }

    /// Whether `serial` names something this attempt sent.
    pub(super) fn owns(&self, serial: Serial) -> bool {
        serial == self.serial || self.unwanted.iter().any(|unwanted| unwanted.bye.serial == serial)
    }

    /// The transport could not deliver what carried `serial`.
    pub(super) fn undeliverable(&mut self, serial: Serial) {
        if serial == self.serial {
            self.transaction.terminate();
            if let Some(cancel) = &mut self.cancel {
                cancel.undeliverable();
            }
        }
        for unwanted in self.unwanted.iter_mut().filter(|unwanted| unwanted.bye.serial == serial) {
            unwanted.bye.undeliverable();
        }
    }

    /// Does what is due while the attempt is the call's.
    pub(super) fn on_timer(&mut self, out: &mut Vec<Action>, now: Mono) -> Option<Failure> {
        if let Some((wait, _)) = self.wait.filter(|(_, until)| *until <= now) {
            return Some(wait.failure());
        }
        match self.transaction.on_timer(now) {
            ClientTimer::Resend(message) => {
                out.push(Action::Send { flow: self.candidate.flow, message, after: self.after });
                out.push(Action::Emit(Event::Resent));
                None
            }
            ClientTimer::TimedOut => Some(Failure::InviteTimeout),
            ClientTimer::Idle | ClientTimer::Terminated => None,
        }
    }

    /// Does what is due once the attempt has been left.
    pub(super) fn on_late_timer(&mut self, out: &mut Vec<Action>, now: Mono) {
        self.transaction.on_timer(now);
        if self.left_until.is_some_and(|until| until <= now) && self.transaction.is_open() {
            self.transaction.terminate();
        }
        for request in
            self.cancel.iter_mut().chain(self.unwanted.iter_mut().map(|unwanted| &mut unwanted.bye))
        {
            request.on_timer(out, now);
        }
    }

    /// Whether the gateway has no part in the call any more: its final response came, and its answers are ended.
    pub(super) fn slot_is_free(&self) -> bool {
        !self.transaction.is_open() && self.unwanted.iter().all(|unwanted| !unwanted.bye.is_open())
    }

    /// Whether nothing of the attempt can arrive any more.
    pub(super) fn is_over(&self) -> bool {
        self.transaction.is_terminated()
            && self.cancel.as_ref().is_none_or(|cancel| !cancel.is_open())
            && self.unwanted.iter().all(|unwanted| !unwanted.bye.is_open())
    }

    /// When the attempt wants to be woken.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let waits = self.wait.map(|(_, until)| until);
        let left = self.left_until.filter(|_| self.transaction.is_open());
        let cancel = self.cancel.as_ref().and_then(Outstanding::deadline);
        let unwanted = self.unwanted.iter().filter_map(|unwanted| unwanted.bye.deadline()).min();
        [waits, left, cancel, unwanted, self.transaction.deadline()].into_iter().flatten().min()
    }
}

/// The wait for any response: `SS_SIP_TIMEOUT_INVITE` or the window of the resends, whichever is shorter.
fn response_wait(candidate: &Candidate, parameters: &CallParameters, now: Mono) -> (Wait, Mono) {
    (Wait::Response, now + candidate.parameters.invite_timeout.min(parameters.resend.window()))
}

/// The sequence number of our INVITEs: each attempt is a dialog of its own, and owners after a takeover start higher.
pub(super) fn invite_cseq(serial: Serial) -> u32 {
    1 + CSEQ_PER_EPOCH * serial.epoch
}

fn request_uri(candidate: &Candidate) -> String {
    format!("sip:{}@{}", super::requests::escape_user(&candidate.called), candidate.flow.remote)
}

/// The head that INVITE, CANCEL and the ACK of a failure share: Request-URI, Via, From, Call-ID.
fn head(names: &Names, caller: &CallerLeg, candidate: &Candidate, serial: Serial, method: Method) -> Builder {
    let transport = candidate.flow.transport;
    let tag = names.tag(serial);
    let host = &candidate.local;
    let at = if caller.user.is_empty() { "" } else { "@" };
    let from =
        [&caller.display[..], format!("<sip:{}{at}{host}>;tag={tag}", caller.user).as_bytes()].concat();
    Builder::request(method, request_uri(candidate).as_bytes())
        .header(Name::Via, via(transport, host, &names.branch(serial)))
        .header_fmt(Name::MaxForwards, format_args!("{}", caller.max_forwards))
        .header(Name::From, from)
        .header(Name::CallId, tag)
        .header_fmt(Name::CSeq, format_args!("{} {}", invite_cseq(serial), tandem_sip::method::name(method)))
}

fn invite(names: &Names, caller: &CallerLeg, candidate: &Candidate, serial: Serial) -> Bytes {
    let transport = candidate.flow.transport;
    let mut request = head(names, caller, candidate, serial, Method::Invite)
        .header(Name::To, format!("<{}>", request_uri(candidate)))
        .header(Name::Contact, contact(names, transport, &candidate.local))
        .header(Name::Allow, ALLOW);
    if let Some(breadth) = caller.max_breadth {
        request = request.header_fmt(Name::MaxBreadth, format_args!("{breadth}"));
    }
    request = with_lines(request, &caller.passed);
    if candidate.trusted {
        request = with_lines(request, &caller.identity);
    }
    Body::close(caller.offer.as_ref(), request)
}

fn cancel(names: &Names, caller: &CallerLeg, candidate: &Candidate, serial: Serial, reason: &[u8]) -> Bytes {
    let request = head(names, caller, candidate, serial, Method::Cancel)
        .header(Name::To, format!("<{}>", request_uri(candidate)));
    with_lines(request, reason).finish()
}

/// The ACK of a final response other than 2xx (§17.1.1.3): To as the response has it.
fn failure_ack(
    names: &Names,
    caller: &CallerLeg,
    candidate: &Candidate,
    serial: Serial,
    response: &Message,
) -> Bytes {
    head(names, caller, candidate, serial, Method::Ack)
        .header(Name::To, response.first(Name::To).unwrap_or_default())
        .finish()
}
