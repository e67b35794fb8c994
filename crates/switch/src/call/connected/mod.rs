//! State: answered. Both dialogs stand.
//!
//! | file | what it does |
//! |---|---|
//! | `leg` | what is known of each leg; requests of ours and answers to the parties' |
//! | `exchange` | an offer of one party that the other is asked |
//! | `own` | requests of the switch's own: session refreshes, and what a leg has missed |
//! | `passing` | INFO and MESSAGE |
//! | `timer` | what the session timers have to do with all that |

mod exchange;
mod leg;
mod own;
mod passing;
mod timer;

pub(super) use exchange::ends_dialog;
pub(super) use leg::{Descriptions, Party, ask, contact_on, passes};
#[allow(unused_imports, reason = "the session timers will refresh")]
pub(super) use own::{Busy, Outcome, Refresh};

use super::State;
use super::action::{Action, Event, Seq};
use super::attempt::Attempt;
use super::clearing::{Clearing, Ending};
use super::context::{Context, Hunt};
use super::identity::Serial;
use super::inside::{Answered, Due, Heard, Silence, Taken};
use super::requests::{Body, allow, reason_line};
use super::retry::Authorized;
use super::session::{self, Sessions};
use super::snapshot::{ConnectedPhase, Phase};
use crate::cdr::{EndReason, Origin};
use bytes::Bytes;
use exchange::Exchange;
use own::{Missed, Own};
use passing::Passed;
use tandem_sip::dialog::{Dialog, Order};
use tandem_sip::flow::Flow;
use tandem_sip::session_timer::TimerHeaders;
use tandem_sip::time::{Mono, Now};
use tandem_sip::transaction::Acknowledged;
use tandem_sip::{Message, Method, Name, StatusCode, sdp};

/// A call in conversation.
#[derive(Debug)]
pub(super) struct Connected {
    /// The attempt that was answered: it takes copies of the 2xx, and those of forks.
    pub(super) attempt: Attempt,
    /// The dialog with the callee.
    pub(super) callee: Dialog,
    pub(super) acknowledgement: Acknowledgement,
    /// What the parties last described.
    pub(super) descriptions: Descriptions,
    /// What bounds it in time.
    pub(super) sessions: Sessions,
    /// Whether an earlier owner of the call may have had the caller's ACK: then its absence says nothing.
    pub(super) acknowledgement_unknown: bool,
    /// The offer of one party that the other has been asked.
    exchange: Option<Box<Exchange>>,
    /// Requests of the switch's own, at most one on each leg.
    own: Vec<Own>,
    /// Parties that do not know the other one's last description.
    missed: Vec<Missed>,
    /// Requests of one party that the other has been asked.
    passing: Vec<Passed>,
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
        /// Whether it brings the caller's answer to a delayed offer.
        has_answer: bool,
    },
}

impl Connected {
    /// A conversation in which nothing has happened yet.
    pub(super) fn new(
        attempt: Attempt,
        callee: Dialog,
        acknowledgement: Acknowledgement,
        descriptions: Descriptions,
        sessions: Sessions,
    ) -> Self {
        Self {
            attempt,
            callee,
            acknowledgement,
            descriptions,
            sessions,
            acknowledgement_unknown: false,
            exchange: None,
            own: Vec::new(),
            missed: Vec::new(),
            passing: Vec::new(),
        }
    }

    /// Writes the call's state.
    pub(super) fn commit(&self, context: &mut Context, now: Now) -> Seq {
        if context.caller.offer.is_some() && context.caller.offer != self.descriptions.caller {
            // Of no use any more, and a snapshot would carry both.
            context.caller.offer = self.descriptions.caller.clone();
        }
        let phase = Phase::Connected(Box::new(ConnectedPhase::take(self, context, now)));
        context.commit(phase, now)
    }

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
                let ack = attempt.ack(&mut context.names, &callee, None);
                Acknowledgement::Sent { ack, after: None, has_answer: false }
            }
        };
        context.setup_deadline = None;
        context.hunt = Hunt::default();
        context.record.answered_at = Some(now.wall);
        if let Some(answer) = &answer {
            context.record.codec = sdp::first_codec(answer.content());
        }
        let descriptions = attempt
            .settled(callee.remote_tag())
            .unwrap_or_else(|| Descriptions { caller: context.caller.offer.clone(), callee: answer.clone() });
        context.emit(Event::Answered);
        let sessions = Sessions::begin(context, &attempt.candidate.parameters, &timer, now.mono);
        let mut connected = Box::new(Self::new(attempt, callee, acknowledgement, descriptions, sessions));
        let after = Some(connected.commit(context, now));
        if let Acknowledgement::Sent { ack, after: follows, .. } = &mut connected.acknowledgement {
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
            self.acknowledgement = Acknowledgement::Sent { ack, after: None, has_answer: true };
            self.descriptions.caller = Some(answer);
            self.commit(context, now);
        }
        State::Connected(self)
    }

    /// The ACK of a party's INVITE inside its dialog.
    pub(super) fn on_inside_ack(
        self: Box<Self>,
        context: &mut Context,
        (party, acknowledged): (Party, Acknowledged),
        ack: &Message,
        now: Now,
    ) -> State {
        match acknowledged {
            Acknowledged::Success => self.on_answer_of_ack(context, party, ack, now),
            Acknowledged::Failure | Acknowledged::Nothing => State::Connected(self),
        }
    }

    /// A response to something that was sent in the conversation, or for the attempt that was answered.
    pub(super) fn on_response(
        mut self: Box<Self>,
        context: &mut Context,
        serial: Serial,
        response: &Message,
        now: Now,
    ) -> State {
        if self.attempt.owns(serial) {
            self.on_answer_again(context, serial, response, now);
            return State::Connected(self);
        }
        match context.on_inside_response(serial, response, now.mono) {
            Some(Heard::Nothing) => State::Connected(self),
            Some(Heard::Success | Heard::Failure) => self.on_final(context, serial, response, now),
            None => {
                if !context.on_late_response(serial, response, now.mono) {
                    self.on_stray(context, serial, response, now);
                }
                State::Connected(self)
            }
        }
    }

    /// The final response to a request of ours inside a dialog.
    fn on_final(
        mut self: Box<Self>,
        context: &mut Context,
        serial: Serial,
        response: &Message,
        now: Now,
    ) -> State {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.passed == serial) {
            return self.on_exchange_response(context, response, now);
        }
        if let Some(own) = self.take_own(serial) {
            return self.on_own_response(context, own, response, now);
        }
        match self.take_passed(serial) {
            Some(passed) => self.on_passed_response(context, passed, response, now),
            None => {
                context.decline_inside(serial, Body::sdp_of(response));
                State::Connected(self)
            }
        }
    }

    /// Takes credentials that were asked for.
    pub(super) fn on_authorized(
        mut self: Box<Self>,
        context: &mut Context,
        authorized: Authorized,
        now: Now,
    ) -> State {
        let local = self.attempt.local().clone();
        match context.on_inside_authorized((&mut self.callee, &local), &authorized, now.mono) {
            Answered::Renamed { before, after } => self.rename(before, after),
            Answered::NotAuthorized(serial, challenge) => {
                return self.on_final(context, serial, &challenge, now);
            }
            Answered::Nothing if self.attempt.on_authorized(&mut context.sender(), &authorized, now.mono) => {
            }
            Answered::Nothing => context.on_late_authorized(&authorized, now.mono),
        }
        State::Connected(self)
    }

    /// A request of ours has gone out again under another name.
    fn rename(&mut self, before: Serial, after: Serial) {
        let exchange = self.exchange.iter_mut().map(|exchange| &mut exchange.passed);
        let own = self.own.iter_mut().map(|own| &mut own.serial);
        let passed = self.passing.iter_mut().map(Passed::serial);
        for serial in exchange.chain(own).chain(passed).filter(|serial| **serial == before) {
            *serial = after;
        }
    }

    /// A response to what the answered attempt sent: a copy of the 2xx, or the 2xx of a fork.
    fn on_answer_again(&mut self, context: &mut Context, serial: Serial, response: &Message, now: Now) {
        let of_invite =
            response.method() == Some(Method::Invite) && serial == self.attempt.current.head.serial;
        let is_ours = of_invite && response.to_tag().unwrap_or_default() == self.callee.remote_tag();
        if !is_ours {
            self.attempt.on_late_response(&mut context.sender(), serial, response, now.mono);
        } else if let (Acknowledgement::Sent { ack, after, .. }, Some(true)) =
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
        let taken = Taken::new(request, source, party);
        if self.is_being_worked_on(&taken) {
            return State::Connected(self);
        }
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        if self.dialog(context, party).receive(number) == Order::OutOfOrder {
            context.refuse(&taken, StatusCode::SERVER_INTERNAL_ERROR, b"", now.mono);
            return State::Connected(self);
        }
        match request.method() {
            Some(Method::Bye) => {
                context.answer(request, source, StatusCode::OK, now.mono);
                let reason = super::context::reason_lines(request);
                return self.end(context, Ending::by_party(party, reason), now);
            }
            Some(Method::Invite | Method::Update) => self.on_offer(context, taken, now),
            Some(method @ (Method::Info | Method::Message)) => self.pass(context, taken, method, now),
            Some(Method::Options) => {
                let response =
                    taken.respond(StatusCode::OK).header(Name::Allow, allow(self.passes(context, party)));
                context.finish(&taken, (StatusCode::OK, response.finish()), now.mono);
            }
            method => context.answer(request, source, answer_to(method), now.mono),
        }
        State::Connected(self)
    }

    /// A party gives up its INVITE.
    pub(super) fn on_cancel(&mut self, context: &mut Context, party: Party, now: Now) {
        if let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.asker() == party) {
            exchange.cancel(context, now.mono);
        }
    }

    /// The transport could not deliver that request of ours.
    pub(super) fn undeliverable(self: Box<Self>, context: &mut Context, serial: Serial, now: Now) -> State {
        if context.inside.undeliverable(serial) {
            return self.on_silence(context, serial, Silence::Undeliverable, now);
        }
        context.late_undeliverable(serial);
        State::Connected(self)
    }

    /// A request of ours inside a dialog has no final response.
    fn on_silence(
        mut self: Box<Self>,
        context: &mut Context,
        serial: Serial,
        silence: Silence,
        now: Now,
    ) -> State {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.passed == serial) {
            return self.on_exchange_silence(context, silence, now);
        }
        if let Some(own) = self.take_own(serial) {
            return self.on_own_silence(context, own, silence, now);
        }
        if let Some(passed) = self.take_passed(serial) {
            passed.on_silence(context, silence, now.mono);
        }
        State::Connected(self)
    }

    /// Answers or ends what is open, since the conversation is over.
    pub(super) fn close(&mut self, context: &mut Context, hung_up: Option<Party>, now: Now) {
        if let Some(exchange) = self.exchange.take() {
            exchange.close(context, now.mono);
        }
        for passed in self.passing.drain(..) {
            passed.close(context, now.mono);
        }
        context.inside.end(hung_up, now.mono);
    }

    /// Ends the conversation.
    pub(super) fn end(self, context: &mut Context, ending: Ending, now: Now) -> State {
        Clearing::enter_from_connected(context, self, ending, now)
    }

    pub(super) fn on_timer(
        mut self: Box<Self>,
        context: &mut Context,
        (unacknowledged, inside): (bool, Vec<Due>),
        now: Now,
    ) -> State {
        if unacknowledged && !self.acknowledgement_unknown {
            return self.end(context, Ending::by_server(EndReason::ProtocolError, "no ACK"), now);
        }
        match self.keep_time(context, now) {
            State::Connected(connected) => self = connected,
            ended => return ended,
        }
        self.attempt.on_late_timer(&mut context.out, now.mono);
        for due in inside {
            let state = match due {
                Due::NoAck => self.end(context, Ending::by_server(EndReason::ProtocolError, "no ACK"), now),
                Due::NoAnswer(serial, silence) => self.on_silence(context, serial, silence, now),
                Due::NotAuthorized(serial, challenge) => self.on_final(context, serial, &challenge, now),
            };
            match state {
                State::Connected(connected) => self = connected,
                ended => return ended,
            }
        }
        self.on_exchange_timer(context, now);
        self.tell_missed(context, now);
        State::Connected(self)
    }

    /// Whether nothing is under way.
    pub(super) fn is_at_rest(&self, context: &Context) -> bool {
        self.exchange.is_none()
            && self.own.is_empty()
            && self.missed.is_empty()
            && self.passing.is_empty()
            && !context.inside.is_busy()
            && !context.transaction.is_open()
            && !context.transaction.awaits_ack_of_success()
            && matches!(self.acknowledgement, Acknowledgement::Sent { .. })
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let exchange = self.exchange.as_ref().and_then(|exchange| exchange.deadline());
        let missed = self.missed.iter().map(Missed::deadline).min();
        [self.sessions.deadline(), self.attempt.deadline(), exchange, missed].into_iter().flatten().min()
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

/// What a request inside a dialog gets that the conversation has no use for.
fn answer_to(method: Option<Method>) -> StatusCode {
    match method {
        Some(Method::Refer) => StatusCode::DECLINE,
        Some(
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Info
            | Method::Invite
            | Method::Message
            | Method::Notify
            | Method::Options
            | Method::PRack
            | Method::Publish
            | Method::Register
            | Method::Subscribe
            | Method::Update,
        ) => StatusCode::METHOD_NOT_ALLOWED,
        None => StatusCode::NOT_IMPLEMENTED,
    }
}
