//! State: answered. Both dialogs stand.

use super::State;
use super::action::{Action, Event, Seq};
use super::attempt::Attempt;
use super::clearing::{Clearing, Ending};
use super::context::{Context, Hunt};
use super::identity::Serial;
use super::requests::{Body, reason_line};
use super::session::{self, Demand, Sessions};
use super::snapshot::{ConnectedPhase, Phase};
use crate::cdr::{EndReason, Origin};
use bytes::Bytes;
use tandem_sip::dialog::{Dialog, Order};
use tandem_sip::flow::Flow;
use tandem_sip::session_timer::TimerHeaders;
use tandem_sip::time::{Mono, Now};
use tandem_sip::transaction::Acknowledged;
use tandem_sip::{Message, Method, StatusCode, sdp};

/// A call in conversation.
#[derive(Debug)]
pub(super) struct Connected {
    /// The attempt that was answered: it takes copies of the 2xx, and those of forks.
    pub(super) attempt: Attempt,
    /// The dialog with the callee.
    pub(super) callee: Dialog,
    pub(super) acknowledgement: Acknowledgement,
    /// What bounds it in time.
    pub(super) sessions: Sessions,
    /// Whether an earlier owner of the call may have had the caller's ACK: then its absence says nothing.
    pub(super) acknowledgement_unknown: bool,
}

/// How the callee's 2xx stands.
#[derive(Debug)]
pub(super) enum Acknowledgement {
    /// It carries an offer: its ACK waits for the caller's answer (delayed offer).
    AwaitsAnswer {
        /// The answer that it gets if the caller gives none.
        refusal: Body,
    },
    /// Sent; copies of the 2xx get it again.
    Sent {
        /// The ACK.
        ack: Bytes,
        /// The commit that it follows, however often it is sent.
        after: Option<Seq>,
    },
}

/// One of the parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Caller,
    Callee,
}

impl Connected {
    /// Connects the caller with the attempt that was answered.
    pub(super) fn enter(
        context: &mut Context,
        attempt: Attempt,
        callee: Dialog,
        (answer, passed, timer): (Option<Body>, Bytes, TimerHeaders),
        now: Now,
    ) -> State {
        let acknowledgement = match &answer {
            Some(offer) if context.caller.offer.is_none() => {
                Acknowledgement::AwaitsAnswer { refusal: offer.refusal() }
            }
            Some(_) | None => {
                Acknowledgement::Sent { ack: attempt.ack(&mut context.names, &callee, None), after: None }
            }
        };
        context.setup_deadline = None;
        context.hunt = Hunt::default();
        context.record.answered_at = Some(now.wall);
        if let Some(answer) = &answer {
            context.record.codec = sdp::first_codec(answer.content());
        }
        context.emit(Event::Answered);
        let sessions = Sessions::begin(context, &attempt.candidate.parameters, &timer, now.mono);
        let mut connected =
            Box::new(Self { attempt, callee, acknowledgement, sessions, acknowledgement_unknown: false });
        let phase = Phase::Connected(Box::new(ConnectedPhase::take(&connected, answer.clone(), now)));
        let after = Some(context.commit(phase, now));
        if let Acknowledgement::Sent { ack, after: follows } = &mut connected.acknowledgement {
            // Without the commit an heir would not know of the answer, and the callee no longer repeat it.
            *follows = after;
            let flow = connected.callee.flow();
            context.out.push(Action::Send { flow, message: ack.clone(), after });
        }
        let builder = context.caller.respond(&context.names, StatusCode::OK, &passed);
        let builder = session::first_answer(context.parameters(), &context.caller).put(builder);
        let response = (StatusCode::OK, Body::close(answer.as_ref(), builder));
        context.response_after = after;
        context.caller.send_final(&mut context.out, &mut context.transaction, response, after, now.mono);
        State::Connected(connected)
    }

    /// The caller's ACK of our 2xx; with a delayed offer it carries the answer that the callee waits for.
    pub(super) fn on_ack(mut self: Box<Self>, context: &mut Context, ack: &Message, now: Now) -> State {
        let is_ours = context.caller.dialog.owns(ack) && context.caller.is_of_invite(ack);
        if !is_ours || context.transaction.on_ack(now.mono) != Acknowledged::Success {
            return State::Connected(self);
        }
        if matches!(self.acknowledgement, Acknowledgement::AwaitsAnswer { .. }) {
            let Some(answer) = Body::sdp_of(ack) else {
                let ending = Ending::by_server(EndReason::ProtocolError, "offer not answered");
                return self.end(context, ending, now);
            };
            context.record.codec = sdp::first_codec(answer.content());
            let ack = self.attempt.acknowledge(&mut context.sender(), &self.callee, Some(&answer));
            self.acknowledgement = Acknowledgement::Sent { ack, after: None };
        }
        State::Connected(self)
    }

    /// A response to what the answered attempt sent: a copy of the 2xx, or the 2xx of a fork.
    pub(super) fn on_response(
        &mut self,
        context: &mut Context,
        serial: Serial,
        response: &Message,
        now: Now,
    ) {
        if !self.attempt.owns(serial) {
            context.on_late_response(serial, response, now.mono);
            return;
        }
        let of_invite =
            response.method() == Some(Method::Invite) && serial == self.attempt.current.head.serial;
        let is_ours = of_invite && response.to_tag().unwrap_or_default() == self.callee.remote_tag();
        if !is_ours {
            self.attempt.on_late_response(&mut context.sender(), serial, response, now.mono);
        } else if let (Acknowledgement::Sent { ack, after }, Some(true)) =
            (&self.acknowledgement, response.status().map(StatusCode::is_success))
        {
            let flow = self.callee.flow();
            context.out.push(Action::Send { flow, message: ack.clone(), after: *after });
        }
    }

    /// A request inside one of the dialogs.
    pub(super) fn on_request(
        mut self: Box<Self>,
        context: &mut Context,
        (request, source): (&Message, Flow),
        party: Party,
        now: Now,
    ) -> State {
        let dialog = match party {
            Party::Caller => &mut context.caller.dialog,
            Party::Callee => &mut self.callee,
        };
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        if dialog.receive(number) == Order::OutOfOrder {
            context.answer(request, source, StatusCode::SERVER_INTERNAL_ERROR, now.mono);
            return State::Connected(self);
        }
        match request.method() {
            Some(Method::Bye) => {
                context.answer(request, source, StatusCode::OK, now.mono);
                let reason = super::context::reason_lines(request);
                self.end(context, Ending::by_party(party, reason), now)
            }
            method => {
                context.answer(request, source, answer_to(method), now.mono);
                State::Connected(self)
            }
        }
    }

    /// Ends the conversation.
    pub(super) fn end(self, context: &mut Context, ending: Ending, now: Now) -> State {
        Clearing::enter_from_connected(context, self, ending, now)
    }

    pub(super) fn on_timer(
        mut self: Box<Self>,
        context: &mut Context,
        unacknowledged: bool,
        now: Now,
    ) -> State {
        if unacknowledged && !self.acknowledgement_unknown {
            return self.end(context, Ending::by_server(EndReason::ProtocolError, "no ACK"), now);
        }
        match self.sessions.on_timer(now.mono) {
            Some(Demand::End(cause)) => {
                return self.end(context, Ending::by_server(cause, cause.as_str()), now);
            }
            Some(Demand::Refresh(party) | Demand::Probe(party)) => self.sessions.on_busy(party, now.mono),
            None => {}
        }
        self.attempt.on_late_timer(&mut context.out, now.mono);
        State::Connected(self)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.sessions.deadline().into_iter().chain(self.attempt.deadline()).min()
    }
}

impl Ending {
    /// A party hung up; its Reason header lines go to the other one.
    fn by_party(party: Party, reason: Bytes) -> Self {
        let origin = match party {
            Party::Caller => Origin::Caller,
            Party::Callee => Origin::Callee,
        };
        Self { origin, cause: EndReason::Normal, hung_up: Some(party), reason }
    }

    /// The switch ends the call.
    pub(super) fn by_server(cause: EndReason, text: &str) -> Self {
        let reason = reason_line(cause.status(), text);
        Self { origin: Origin::Server, cause, hung_up: None, reason }
    }
}

/// What a request inside a dialog gets that is neither BYE nor ACK. A new offer is declined, and the session stays as
/// it is.
fn answer_to(method: Option<Method>) -> StatusCode {
    match method {
        Some(Method::Invite) => StatusCode::NOT_ACCEPTABLE_HERE,
        Some(Method::Options) => StatusCode::OK,
        Some(Method::Refer) => StatusCode::DECLINE,
        Some(
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Info
            | Method::Message
            | Method::Notify
            | Method::PRack
            | Method::Publish
            | Method::Register
            | Method::Subscribe
            | Method::Update,
        ) => StatusCode::METHOD_NOT_ALLOWED,
        None => StatusCode::NOT_IMPLEMENTED,
    }
}
