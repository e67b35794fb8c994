//! The caller's PRACKs, and what their absence means (RFC 3262 §3).

use super::calling::Calling;
use super::connected::Party;
use super::context::Context;
use super::inside::Taken;
use super::requests::{Body, reason_line};
use super::ringing::Acknowledged;
use super::{Call, State};
use crate::cdr::{EndReason, Origin, Release};
use tandem_sip::flow::Flow;
use tandem_sip::time::Now;
use tandem_sip::{Message, StatusCode, sdp};

/// A PRACK of the caller's that acknowledges something.
struct Prack<'a> {
    request: &'a Message,
    source: Flow,
    acknowledged: Acknowledged,
    session: Session,
}

/// What a PRACK says of the session.
#[derive(Debug)]
enum Session {
    /// Nothing.
    Unchanged,
    /// The answer to the offer in the response that it acknowledges.
    Answer(Body),
    /// Nothing, though that response carried an offer.
    NotAnswered,
    /// An offer of its own. Where it cannot be passed on it gets 488, and the session stays as it is.
    Offer(Body),
}

impl Session {
    fn of(prack: &Message, acknowledged: &Acknowledged, delayed_offer: bool) -> Self {
        let body = Body::sdp_of(prack);
        let had_offer =
            acknowledged.response.as_ref().map(|response| delayed_offer && response.body.is_some());
        match (body, had_offer) {
            (Some(answer), Some(true)) => Session::Answer(answer),
            (None, Some(true)) => Session::NotAnswered,
            // What it acknowledges is not known any more, but in such a call it answers.
            (Some(_), None) if delayed_offer => Session::Unchanged,
            (Some(offer), Some(false) | None) => Session::Offer(offer),
            (None, Some(false) | None) => Session::Unchanged,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Session::Unchanged | Session::Answer(_) | Session::NotAnswered => StatusCode::OK,
            Session::Offer(_) => StatusCode::NOT_ACCEPTABLE_HERE,
        }
    }
}

impl Call {
    /// PRACK, in whatever early dialog of ours with the caller.
    pub(super) fn on_prack(&mut self, request: &Message, source: Flow, now: Now) {
        let caller = &mut *self.context.caller;
        let of_caller = request.call_id() == Some(caller.dialog.call_id())
            && request.from_tag().unwrap_or_default() == caller.dialog.remote_tag();
        let acknowledged = if of_caller {
            caller.ringing.acknowledge(&self.context.names, request, caller.cseq)
        } else {
            Err(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST)
        };
        let acknowledged = match acknowledged {
            Ok(acknowledged) => acknowledged,
            Err(status) => return self.context.answer(request, source, status, now.mono),
        };
        if acknowledged.tag == caller.tag
            && let Ok(cseq) = request.cseq()
        {
            // In order or not: the RAck says what it is for.
            caller.dialog.receive(cseq.number);
        }
        let session = Session::of(request, &acknowledged, caller.offer.is_none());
        let prack = Prack { request, source, acknowledged, session };
        let is_unanswered = matches!(prack.session, Session::NotAnswered);
        self.state = match self.take_state() {
            State::Calling(calling) => calling.on_prack(&mut self.context, prack, now),
            state @ (State::Routing(_)
            | State::Admitting(_)
            | State::Connected(_)
            | State::Clearing(_)
            | State::Over) => {
                // Nothing waits to be sent next: either a final response was sent, or no gateway is heard now.
                self.context.answer(prack.request, prack.source, prack.session.status(), now.mono);
                state
            }
        };
        if is_unanswered {
            self.hang_up(EndReason::ProtocolError, now);
        }
    }

    /// BYE of a callee whose answer waits for the caller's PRACK. `false` if it is none.
    pub(super) fn on_bye_before_connecting(&mut self, bye: &Message, source: Flow, now: Now) -> bool {
        let State::Calling(calling) = &mut self.state else { return false };
        if !calling.is_of_held_answer(&self.context.names, bye) {
            return false;
        }
        calling.held_answer = None;
        self.context.answer(bye, source, StatusCode::OK, now.mono);
        let (cause, status) = (EndReason::Rejected, StatusCode::TEMPORARILY_UNAVAILABLE);
        let release = Release { origin: Origin::Callee, cause, stop: None, status };
        self.end_setup(release, &reason_line(status, "the callee hung up"), now);
        true
    }

    /// No PRACK came within 64·T1.
    pub(super) fn unacknowledged(&mut self, now: Now) {
        let status = StatusCode::SERVER_TIMEOUT;
        let cause = EndReason::ProtocolError;
        let release = Release { origin: Origin::Server, cause, stop: None, status };
        self.end_setup(release, &reason_line(status, "no PRACK"), now);
    }
}

impl Calling {
    fn on_prack(mut self: Box<Self>, context: &mut Context, prack: Prack<'_>, now: Now) -> State {
        let Prack { request, source, acknowledged, session } = prack;
        if let Session::Answer(answer) = &session
            && let Some(described) = context.caller.described_under(acknowledged.tag)
            && self.turn_to_branch(described.attempt)
            && self.attempt.early_dialogs.answer(&described.remote_tag, answer)
        {
            context.record.codec = sdp::first_codec(answer.content());
        }
        let next = context.caller.ringing.next(acknowledged.tag, now.mono);
        // Else an heir would wait for this PRACK in vain, and send the response under a number that was used.
        let after = Some(self.commit(context, now));
        match session {
            Session::Offer(offer) if acknowledged.tag == context.caller.tag => {
                let taken = Taken::new(request, source, Party::Caller);
                self.on_offer(context, (&taken, offer), after, now);
            }
            session => context.answer_after(request, source, session.status(), after, now.mono),
        }
        if let Some(next) = &next {
            context.ring_reliably(next, after);
        }
        self.attempt.acknowledge_provisionals(&mut context.sender(), after, now.mono);
        self.release_answer(context, now)
    }
}
