//! A request of a party inside a dialog.

use super::super::action::Action;
use super::super::context::transaction_of;
use super::super::requests::response_flow;
use super::{Party, resend};
use bytes::Bytes;
use tandem_sip::flow::Flow;
use tandem_sip::time::Mono;
use tandem_sip::transaction::{Acknowledged, ResendSchedule, ServerInvite, ServerTimer};
use tandem_sip::{Builder, Message, Method, ResponseHead, StatusCode};

/// A request that was taken, and is answered at once or later.
#[derive(Clone, Debug)]
pub(in super::super) struct Taken {
    pub(in super::super) request: Message,
    source: Flow,
    pub(in super::super) party: Party,
}

/// An INVITE of a party, until nothing of it can arrive any more.
#[derive(Debug)]
pub(super) struct TheirInvite {
    taken: Taken,
    transaction: ServerInvite,
}

impl Taken {
    pub(in super::super) fn new(request: &Message, source: Flow, party: Party) -> Self {
        Self { request: request.clone(), source, party }
    }

    pub(in super::super) fn is_invite(&self) -> bool {
        self.request.method() == Some(Method::Invite)
    }

    /// Where it came from.
    pub(in super::super) fn source(&self) -> Flow {
        self.source
    }

    /// Where its responses go.
    pub(in super::super) fn flow(&self) -> Flow {
        self.request.top_via().map_or(self.source, |via| response_flow(&via, self.source))
    }

    /// Starts a response to it.
    pub(in super::super) fn respond(&self, status: StatusCode) -> Builder {
        ResponseHead::of(&self.request, self.source.remote).respond(status, None)
    }

    /// Whether `request` is a copy of it.
    pub(in super::super) fn is_copy(&self, request: &Message) -> bool {
        self.request.method() == request.method() && transaction_of(&self.request) == transaction_of(request)
    }
}

impl TheirInvite {
    pub(super) fn new(taken: Taken, resend: ResendSchedule) -> Self {
        let transaction = ServerInvite::new(taken.source.transport.is_reliable(), resend);
        Self { taken, transaction }
    }

    pub(super) fn party(&self) -> Party {
        self.taken.party
    }

    pub(super) fn is_copy(&self, request: &Message) -> bool {
        self.taken.is_copy(request)
    }

    /// Whether an ACK or a CANCEL means this INVITE: the same dialog and number.
    pub(super) fn is_meant_by(&self, request: &Message) -> bool {
        let number = |message: &Message| message.cseq().ok().map(|cseq| cseq.number);
        let invite = &self.taken.request;
        number(invite) == number(request)
            && invite.call_id() == request.call_id()
            && invite.from_tag() == request.from_tag()
            && invite.to_tag() == request.to_tag()
    }

    /// Sends 100, which stops the resends.
    pub(super) fn trying(&mut self, out: &mut Vec<Action>) {
        let message = self.taken.respond(StatusCode::TRYING).finish();
        self.transaction.provisional(&message);
        out.push(Action::Send { flow: self.taken.flow(), message, after: None });
    }

    /// Sends the final response, which is sent again until its ACK comes.
    pub(super) fn finish(&mut self, out: &mut Vec<Action>, (is_success, message): (bool, Bytes), now: Mono) {
        if is_success {
            self.transaction.success(message.clone(), now);
        } else {
            self.transaction.failure(message.clone(), now);
        }
        out.push(Action::Send { flow: self.taken.flow(), message, after: None });
    }

    pub(super) fn answer_again(&self, out: &mut Vec<Action>) {
        if let Some(message) = self.transaction.on_invite_again() {
            resend(out, self.taken.flow(), message);
        }
    }

    pub(super) fn on_ack(&mut self, now: Mono) -> Acknowledged {
        self.transaction.on_ack(now)
    }

    pub(super) fn is_open(&self) -> bool {
        self.transaction.is_open()
    }

    pub(super) fn awaits_ack(&self) -> bool {
        self.transaction.awaits_ack_of_success()
    }

    /// Resends; `true` if the ACK of a 2xx has been waited for long enough.
    pub(super) fn on_timer(&mut self, out: &mut Vec<Action>, now: Mono) -> bool {
        match self.transaction.on_timer(now) {
            ServerTimer::Resend(message) => {
                resend(out, self.taken.flow(), message);
                false
            }
            ServerTimer::NoAck => true,
            ServerTimer::Idle | ServerTimer::Terminated => false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.transaction.deadline()
    }

    pub(super) fn is_over(&self) -> bool {
        self.transaction.is_terminated()
    }
}
