//! A request of ours inside a dialog.

use super::super::action::{Action, Authorization};
use super::super::attempt::Sender;
use super::super::identity::{Names, Serial};
use super::super::requests::{Body, Outstanding, via, with_lines};
use super::super::retry::{Again, Retry};
use super::{Due, Party, Silence, resend};
use bytes::Bytes;
use std::time::Duration;
use tandem_sip::dialog::Dialog;
use tandem_sip::flow::Flow;
use tandem_sip::time::Mono;
use tandem_sip::transaction::{
    ClientInvite, ClientNonInvite, ClientTimer, InviteResponse, NonInviteResponse, ResendSchedule, T1_64,
};
use tandem_sip::{Message, Method, StatusCode};

/// The longest wait for the final response to an INVITE that rings (RFC 3261 §16.6, timer C); then it is cancelled.
pub(in super::super) const LONGEST_INVITE: Duration = Duration::from_secs(180);

/// An INVITE, UPDATE, INFO or MESSAGE of ours, until nothing of it can arrive any more.
#[derive(Debug)]
pub(in super::super) struct Ours {
    pub(in super::super) serial: Serial,
    /// Whom it was sent to.
    pub(in super::super) party: Party,
    flow: Flow,
    makes_offer: bool,
    transaction: Transaction,
    /// Where an account answers its challenges.
    retry: Option<Box<Retry>>,
    /// The challenge that is being answered: its final response after all if nothing comes of that.
    challenge: Option<Box<Message>>,
}

#[derive(Debug)]
enum Transaction {
    Invite(Box<Invite>),
    Other(Method, ClientNonInvite),
}

#[derive(Debug)]
struct Invite {
    /// The dialog as the INVITE saw it, for its ACK and its CANCEL.
    dialog: Dialog,
    local: Box<str>,
    cseq: u32,
    /// The header lines with its credentials, which its ACK repeats (RFC 3261 §22.1).
    credentials: Bytes,
    transaction: ClientInvite,
    success: Success,
    cancel: Cancel,
    /// When its final response is no longer waited for.
    until: Mono,
}

/// How its 2xx stands.
#[derive(Debug)]
enum Success {
    None,
    /// It came; its ACK waits for the answer to the offer in it.
    Unacknowledged,
    /// Copies of it get this ACK.
    Acknowledged(Bytes),
}

/// How giving it up stands.
#[derive(Debug)]
enum Cancel {
    None,
    /// To be sent with the first provisional response (RFC 3261 §9.1).
    Due,
    Sent(Outstanding),
}

/// What a response means to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Heard {
    /// Nothing (yet).
    Nothing,
    /// It is a 2xx, for the first time. That of an INVITE is yet to be [acknowledged](Ours::acknowledge).
    Success,
    /// It is another final response, for the first time.
    Failure,
}

impl Ours {
    /// An INVITE that has just been sent in `dialog`.
    pub(in super::super) fn invite(
        (serial, party): (Serial, Party),
        (dialog, local): (&Dialog, &str),
        (request, makes_offer): (Bytes, bool),
        resend: ResendSchedule,
        now: Mono,
    ) -> Self {
        let flow = dialog.flow();
        let invite = Invite {
            dialog: dialog.clone(),
            local: local.into(),
            cseq: dialog.local_cseq(),
            credentials: Bytes::new(),
            transaction: ClientInvite::start(request, flow.transport.is_reliable(), resend, now),
            success: Success::None,
            cancel: Cancel::None,
            until: now + LONGEST_INVITE,
        };
        let transaction = Transaction::Invite(Box::new(invite));
        Self { serial, party, flow, makes_offer, transaction, retry: None, challenge: None }
    }

    /// Another request that has just been sent in `dialog`.
    pub(in super::super) fn other(
        (serial, party): (Serial, Party),
        (method, flow): (Method, Flow),
        (request, makes_offer): (Bytes, bool),
        resend: ResendSchedule,
        now: Mono,
    ) -> Self {
        let transaction = ClientNonInvite::start(request, flow.transport.is_reliable(), resend, now);
        let transaction = Transaction::Other(method, transaction);
        Self { serial, party, flow, makes_offer, transaction, retry: None, challenge: None }
    }

    /// Has its challenges answered.
    pub(in super::super) fn with_retry(self, retry: Option<Box<Retry>>) -> Self {
        Self { retry, ..self }
    }

    pub(in super::super) fn method(&self) -> Method {
        match &self.transaction {
            Transaction::Invite(_) => Method::Invite,
            Transaction::Other(method, _) => *method,
        }
    }

    /// Whether it carries an offer of ours.
    pub(in super::super) fn makes_offer(&self) -> bool {
        self.makes_offer
    }

    /// Whether its final response is still to come.
    pub(in super::super) fn is_open(&self) -> bool {
        self.challenge.is_some()
            || match &self.transaction {
                Transaction::Invite(invite) => invite.transaction.is_open(),
                Transaction::Other(_, transaction) => transaction.is_open(),
            }
    }

    /// Whether it has been given up.
    fn is_cancelled(&self) -> bool {
        match &self.transaction {
            Transaction::Invite(invite) => !matches!(invite.cancel, Cancel::None),
            Transaction::Other(..) => false,
        }
    }

    /// Has a challenge answered, if that is allowed. `false` if it is a failure like others.
    fn follow(&mut self, to: &mut Sender<'_>, response: &Message, now: Mono) -> bool {
        if self.is_cancelled() {
            return false;
        }
        let asks = (&mut *to.out, &mut *to.names);
        let is_followed = self.retry.as_mut().is_some_and(|retry| retry.ask(asks, response, now));
        if is_followed {
            self.challenge = Some(Box::new(response.clone()));
        }
        is_followed
    }

    /// Whether these are the credentials that it waits for.
    pub(super) fn awaits(&self, serial: Serial) -> bool {
        self.challenge.is_some() && self.retry.as_ref().is_some_and(|retry| retry.awaits(serial))
    }

    /// The challenge that is not answered after all.
    pub(super) fn give_up(&mut self) -> Option<Box<Message>> {
        self.retry = None;
        self.challenge.take()
    }

    /// Sends it again in `dialog` with the credentials that it waits for: a request of its own, while copies of the
    /// challenge still come to this one.
    ///
    /// # Errors
    /// Without credentials, the challenge.
    pub(super) fn again(
        &mut self,
        to: &mut Sender<'_>,
        (dialog, local): (&mut Dialog, &str),
        authorization: Option<&Authorization>,
        now: Mono,
    ) -> Result<Self, Option<Box<Message>>> {
        let again = self.retry.as_ref().and_then(|retry| retry.again(to.names, dialog, authorization));
        let challenge = self.give_up();
        let Again { serial, message, lines, retry } = again.ok_or(challenge)?;
        let (flow, resend) = (dialog.flow(), to.parameters.resend);
        to.out.push(Action::Send { flow, message: message.clone(), after: None });
        let (name, kept) = ((serial, self.party), (message, self.makes_offer));
        let mut ours = match &self.transaction {
            Transaction::Invite(_) => Self::invite(name, (dialog, local), kept, resend, now),
            Transaction::Other(method, _) => Self::other(name, (*method, flow), kept, resend, now),
        };
        if let Transaction::Invite(invite) = &mut ours.transaction {
            invite.credentials = lines;
        }
        Ok(ours.with_retry(Some(retry)))
    }

    /// Takes a response.
    pub(super) fn on_response(&mut self, to: &mut Sender<'_>, response: &Message, now: Mono) -> Heard {
        match self.hear(to, response, now) {
            Heard::Failure if self.follow(to, response, now) => Heard::Nothing,
            heard => heard,
        }
    }

    fn hear(&mut self, to: &mut Sender<'_>, response: &Message, now: Mono) -> Heard {
        let Some(status) = response.status() else { return Heard::Nothing };
        if response.method() != Some(self.method()) {
            if let Transaction::Invite(invite) = &mut self.transaction
                && let Cancel::Sent(cancel) = &mut invite.cancel
            {
                cancel.on_response(self.serial, response, now);
            }
            return Heard::Nothing;
        }
        match &mut self.transaction {
            Transaction::Invite(invite) => invite.on_response(to, (self.serial, self.flow), response, now),
            Transaction::Other(_, transaction) => match transaction.on_response(status, now) {
                NonInviteResponse::Final if status.is_success() => Heard::Success,
                NonInviteResponse::Final => Heard::Failure,
                NonInviteResponse::Provisional | NonInviteResponse::Ignored => Heard::Nothing,
            },
        }
    }

    /// Sends the ACK of its 2xx.
    pub(super) fn acknowledge(&mut self, to: &mut Sender<'_>, answer: Option<&Body>) {
        let Transaction::Invite(invite) = &mut self.transaction else { return };
        if !matches!(invite.success, Success::Unacknowledged) {
            return;
        }
        let serial = to.names.next();
        let flow = invite.dialog.flow();
        let via = via(flow.transport, &invite.local, &to.names.branch(serial));
        let ack = with_lines(invite.dialog.ack(&via, invite.cseq), &invite.credentials);
        let ack = Body::close(answer, ack);
        to.out.push(Action::Send { flow, message: ack.clone(), after: None });
        invite.success = Success::Acknowledged(ack);
    }

    /// Gives an INVITE up: CANCEL as soon as a provisional response allows it.
    pub(in super::super) fn cancel(&mut self, to: &mut Sender<'_>, now: Mono) {
        let Transaction::Invite(invite) = &mut self.transaction else { return };
        if self.challenge.is_some() {
            invite.cancel = Cancel::Due;
            return;
        }
        if !invite.transaction.is_open() || !matches!(invite.cancel, Cancel::None) {
            return;
        }
        invite.until = now + T1_64;
        if invite.transaction.is_unanswered() {
            invite.cancel = Cancel::Due;
        } else {
            invite.send_cancel(to, (self.serial, self.flow), now);
        }
    }

    /// Waits no longer than 64·T1 for the final response.
    pub(super) fn bound(&mut self, now: Mono) {
        self.give_up();
        if let Transaction::Invite(invite) = &mut self.transaction {
            invite.until = invite.until.min(now + T1_64);
        }
    }

    /// Resends, or says what the final response is, or why it is no longer waited for.
    pub(super) fn on_timer(&mut self, to: &mut Sender<'_>, now: Mono) -> Option<Due> {
        if self.challenge.is_some() && self.deadline_of_challenge().is_some_and(|until| until <= now) {
            let challenge = self.give_up()?;
            return Some(match self.is_cancelled() {
                true => Due::NoAnswer(self.serial, Silence::OnlyProvisional),
                false => Due::NotAuthorized(self.serial, challenge),
            });
        }
        self.on_transaction_timer(to, now).map(|silence| Due::NoAnswer(self.serial, silence))
    }

    /// When the challenge is no longer being answered: at once if the request has been given up.
    fn deadline_of_challenge(&self) -> Option<Mono> {
        let until = self.retry.as_ref().and_then(|retry| retry.deadline())?;
        self.challenge.as_ref().map(|_| if self.is_cancelled() { Mono(0) } else { until })
    }

    fn on_transaction_timer(&mut self, to: &mut Sender<'_>, now: Mono) -> Option<Silence> {
        match &mut self.transaction {
            Transaction::Invite(invite) => invite.on_timer(to, (self.serial, self.flow), now),
            Transaction::Other(_, transaction) => match transaction.on_timer(now) {
                ClientTimer::Resend(message) => {
                    resend(to.out, self.flow, message);
                    None
                }
                ClientTimer::TimedOut => Some(Silence::TimedOut),
                ClientTimer::Idle | ClientTimer::Terminated => None,
            },
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let transaction = match &self.transaction {
            Transaction::Invite(invite) => invite.deadline(),
            Transaction::Other(_, transaction) => transaction.deadline(),
        };
        self.deadline_of_challenge().into_iter().chain(transaction).min()
    }

    /// Whether nothing of it matters any more: copies of the final response to what is no INVITE are passed over anyway.
    pub(super) fn is_over(&self) -> bool {
        self.challenge.is_none()
            && match &self.transaction {
                Transaction::Invite(invite) => invite.is_over(),
                Transaction::Other(_, transaction) => !transaction.is_open(),
            }
    }
}

impl Invite {
    fn on_response(
        &mut self,
        to: &mut Sender<'_>,
        (serial, flow): (Serial, Flow),
        response: &Message,
        now: Mono,
    ) -> Heard {
        let Some(status) = response.status() else { return Heard::Nothing };
        let (dialog, cseq) = (&self.dialog, self.cseq);
        let own_via = |names: &Names| via(flow.transport, &self.local, &names.branch(serial));
        let ack = || dialog.ack(&own_via(to.names), cseq).finish();
        match self.transaction.on_response(status, now, ack) {
            InviteResponse::Provisional => {
                if matches!(self.cancel, Cancel::Due) {
                    self.send_cancel(to, (serial, flow), now);
                }
                Heard::Nothing
            }
            InviteResponse::Success => self.on_success(to, response),
            InviteResponse::Failure { ack } => {
                to.out.push(Action::Send { flow, message: ack, after: None });
                Heard::Failure
            }
            InviteResponse::FailureAgain { ack } => {
                to.out.push(Action::Send { flow, message: ack, after: None });
                Heard::Nothing
            }
            InviteResponse::Ignored => Heard::Nothing,
        }
    }

    fn on_success(&mut self, to: &mut Sender<'_>, response: &Message) -> Heard {
        match &self.success {
            Success::None => {
                self.dialog.refresh_target(response);
                self.success = Success::Unacknowledged;
                Heard::Success
            }
            Success::Unacknowledged => Heard::Nothing,
            Success::Acknowledged(ack) => {
                let flow = self.dialog.flow();
                to.out.push(Action::Send { flow, message: ack.clone(), after: None });
                Heard::Nothing
            }
        }
    }

    fn send_cancel(&mut self, to: &mut Sender<'_>, (serial, flow): (Serial, Flow), now: Mono) {
        let via = via(flow.transport, &self.local, &to.names.branch(serial));
        let request = self.dialog.cancel(&via, self.cseq).finish();
        let kind = (serial, Method::Cancel);
        let cancel = Outstanding::send(to.out, kind, (flow, None), request, to.parameters.resend, now);
        self.cancel = Cancel::Sent(cancel);
    }

    fn on_timer(
        &mut self,
        to: &mut Sender<'_>,
        (serial, flow): (Serial, Flow),
        now: Mono,
    ) -> Option<Silence> {
        if let Cancel::Sent(cancel) = &mut self.cancel {
            cancel.on_timer(to.out, now);
        }
        if self.transaction.is_open() && self.until <= now {
            if matches!(self.cancel, Cancel::None) && !self.transaction.is_unanswered() {
                self.until = now + T1_64;
                self.send_cancel(to, (serial, flow), now);
                return None;
            }
            self.transaction.terminate();
            return Some(Silence::OnlyProvisional);
        }
        match self.transaction.on_timer(now) {
            ClientTimer::Resend(message) => {
                resend(to.out, flow, message);
                None
            }
            ClientTimer::TimedOut => Some(Silence::TimedOut),
            ClientTimer::Idle | ClientTimer::Terminated => None,
        }
    }

    fn deadline(&self) -> Option<Mono> {
        let cancel = match &self.cancel {
            Cancel::Sent(cancel) => cancel.deadline(),
            Cancel::None | Cancel::Due => None,
        };
        let until = Some(self.until).filter(|_| self.transaction.is_open());
        [cancel, until, self.transaction.deadline()].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        let cancelling = matches!(&self.cancel, Cancel::Sent(cancel) if cancel.is_open());
        self.transaction.is_terminated() && !cancelling
    }
}

/// The status that stands for a failure that is the other party's own business (RFC 3261 §16.7): a challenge or a
/// redirect that was not followed, and a 503.
pub(in super::super) fn passed_status(status: StatusCode) -> StatusCode {
    match status.code() {
        300..=399 | 401 | 407 | 422 | 503 => StatusCode::SERVER_INTERNAL_ERROR,
        _ => status,
    }
}
