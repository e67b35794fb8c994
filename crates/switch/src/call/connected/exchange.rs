//! An offer of one party, passed to the other: re-INVITE and UPDATE (RFC 3261 §14, RFC 3311, RFC 6337).

use super::super::State;
use super::super::clearing::Ending;
use super::super::context::Context;
use super::super::identity::Serial;
use super::super::inside::{Silence, Taken, passed_status};
use super::super::requests::Body;
use super::super::screen;
use super::{Connected, Party};
use crate::cdr::EndReason;
use std::time::Duration;
use tandem_sip::offer::Crossing;
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, Method, Name, StatusCode};

/// How long a party's UPDATE waits where the other one is asked by INVITE, which may take its time: then it gets 504
/// (RFC 3311 §5.2), while its own timer F still runs.
const LONGEST_UPDATE: Duration = Duration::from_secs(20);

/// How often an offer passed on goes out again, because the other party wants a longer session on its leg.
const MAX_LENGTHENED: u8 = 3;

/// An INVITE or UPDATE of a party that the other one is asked.
#[derive(Debug)]
pub(super) struct Exchange {
    taken: Taken,
    /// `None` in an INVITE that asks for one.
    offer: Option<Body>,
    /// Our request to the other party.
    pub(super) passed: Serial,
    /// How often it went out again with a longer session.
    lengthened: u8,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The other party is asked; an UPDATE waits until then.
    Asked { until: Option<Mono> },
    /// The asker has sent CANCEL.
    Cancelled,
    /// The asker has been told that it takes too long.
    Abandoned,
    /// The asker's ACK brings the answer to this offer of the other party.
    AwaitsAnswer { offer: Body },
}

impl Exchange {
    /// Whose offer it is.
    pub(super) fn asker(&self) -> Party {
        self.taken.party
    }

    /// The asker gives up. The other party may have accepted already, so its final response decides.
    pub(super) fn cancel(&mut self, context: &mut Context, now: Mono) {
        if let Stage::Asked { .. } = self.stage {
            self.stage = Stage::Cancelled;
            context.cancel_inside(self.passed, now);
        }
    }

    /// Ends it, since the call is over (RFC 3261 §15.1.2).
    pub(super) fn close(&self, context: &mut Context, now: Mono) {
        match &self.stage {
            Stage::Asked { .. } | Stage::Cancelled => {
                context.refuse(&self.taken, StatusCode::REQUEST_TERMINATED, b"", now);
            }
            Stage::Abandoned => {}
            Stage::AwaitsAnswer { offer } => {
                context.acknowledge_inside(self.passed, Some(&offer.refusal()));
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match self.stage {
            Stage::Asked { until } => until,
            Stage::Cancelled | Stage::Abandoned | Stage::AwaitsAnswer { .. } => None,
        }
    }
}

impl Connected {
    /// Whether a request is a copy of one that is yet to be answered.
    pub(super) fn is_being_worked_on(&self, taken: &Taken) -> bool {
        let asked = self.exchange.as_ref().is_some_and(|exchange| exchange.taken.is_copy(&taken.request));
        asked || self.passing.iter().any(|passed| passed.is_copy(&taken.request))
    }

    /// A party's INVITE or UPDATE.
    pub(super) fn on_offer(&mut self, context: &mut Context, taken: Taken, now: Now) {
        if let Err((status, lines)) = self.screen_offer(context, &taken) {
            return context.refuse(&taken, status, &lines, now.mono);
        }
        let offer = Body::sdp_of(&taken.request);
        if offer.is_none() && !taken.is_invite() {
            let updates =
                |exchange: &Exchange| exchange.asker() == taken.party && !exchange.taken.is_invite();
            if self.exchange.as_deref().is_some_and(updates) {
                return context.refuse_for_now(&taken, now.mono);
            }
            // A refresh, of the target or of the session timer.
            self.accept(context, &taken, None, now);
            self.commit(context, now);
            return;
        }
        match self.offer_state(context, taken.party).take() {
            Err(Crossing::Glare) => context.refuse(&taken, StatusCode::REQUEST_PENDING, b"", now.mono),
            Err(Crossing::TooSoon) => context.refuse_for_now(&taken, now.mono),
            Ok(()) if self.is_unchanged(taken.party, offer.as_ref()) => {
                self.repeat_answer(context, &taken, now)
            }
            Ok(()) if !self.may_offer(context, taken.party.other()) => {
                context.refuse(&taken, StatusCode::REQUEST_PENDING, b"", now.mono);
            }
            Ok(()) => self.pass_offer(context, taken, offer, now),
        }
    }

    /// What is wrong with an INVITE or UPDATE: its status, and header lines that this asks for.
    fn screen_offer(&self, context: &Context, taken: &Taken) -> Result<(), (StatusCode, Vec<u8>)> {
        screen::check_inside(&taken.request, context.parameters())?;
        self.screen_refresh(taken)
    }

    /// Whether an offer says what the party said before: it only refreshes the session.
    fn is_unchanged(&self, party: Party, offer: Option<&Body>) -> bool {
        let knows_other = self.descriptions.sent_to(party).is_some();
        let settled = self.missed.iter().all(|missed| missed.party != party);
        offer.is_some() && offer == self.descriptions.of(party) && knows_other && settled
    }

    /// Answers a refresh with what the party was sent before. The other party need not know.
    fn repeat_answer(&mut self, context: &mut Context, taken: &Taken, now: Now) {
        let resend = context.parameters().resend;
        if taken.is_invite() && !context.inside.take(taken, resend) {
            return context.refuse_for_now(taken, now.mono);
        }
        let answer = self.descriptions.sent_to(taken.party).cloned();
        self.accept(context, taken, answer.as_ref(), now);
        self.commit(context, now);
    }

    fn pass_offer(&mut self, context: &mut Context, taken: Taken, offer: Option<Body>, now: Now) {
        let resend = context.parameters().resend;
        if taken.is_invite() {
            if !context.inside.take(&taken, resend) {
                return context.refuse_for_now(&taken, now.mono);
            }
            context.inside.trying(&mut context.out, &taken);
        }
        let passed = self.ask_other(context, &taken, offer.as_ref(), now.mono);
        let until = (!taken.is_invite()).then(|| now.mono + LONGEST_UPDATE);
        let stage = Stage::Asked { until };
        self.exchange = Some(Box::new(Exchange { taken, offer, passed, lengthened: 0, stage }));
    }

    /// Sends what a party asks to the other one.
    fn ask_other(&mut self, context: &mut Context, taken: &Taken, offer: Option<&Body>, now: Mono) -> Serial {
        let other = taken.party.other();
        let by_update = !taken.is_invite() && self.takes_update(context, other);
        let method = if by_update { Method::Update } else { Method::Invite };
        let lines = self.request_lines(other);
        self.ask(context, (other, method), (&lines, offer), now)
    }

    /// The other party wants a longer session (RFC 4028 §7.3). That is a matter of its leg, so it is asked again with one,
    /// as long as each is longer than the one before. `false` if the asker is to hear of it.
    fn lengthen(
        &mut self,
        context: &mut Context,
        exchange: &mut Exchange,
        response: &Message,
        now: Mono,
    ) -> bool {
        let other = exchange.asker().other();
        let before = self.request_lines(other);
        let min_se = response.number(Name::MinSe).and_then(Result::ok);
        self.sessions.hear_min_se(other, min_se);
        let may = match exchange.stage {
            Stage::Asked { .. } => exchange.lengthened < MAX_LENGTHENED,
            Stage::Cancelled | Stage::Abandoned | Stage::AwaitsAnswer { .. } => false,
        };
        if !may || self.request_lines(other) == before || !context.inside.has_room_for(Method::Invite) {
            return false;
        }
        exchange.lengthened += 1;
        exchange.passed = self.ask_other(context, &exchange.taken, exchange.offer.as_ref(), now);
        true
    }

    /// The other party's final response.
    pub(super) fn on_exchange_response(
        mut self: Box<Self>,
        context: &mut Context,
        response: &Message,
        now: Now,
    ) -> State {
        let (Some(mut exchange), Some(status)) = (self.exchange.take(), response.status()) else {
            return State::Connected(self);
        };
        if status.is_success() {
            self.on_accepted(context, *exchange, response, now);
            return State::Connected(self);
        }
        if status == StatusCode::SESSION_INTERVAL_TOO_SMALL
            && self.lengthen(context, &mut exchange, response, now.mono)
        {
            self.exchange = Some(exchange);
            return State::Connected(self);
        }
        let answer = match exchange.stage {
            Stage::Cancelled | Stage::Asked { .. } | Stage::AwaitsAnswer { .. } => Some(&exchange.taken),
            Stage::Abandoned => None,
        };
        if let Some(taken) = answer {
            let was_cancelled = matches!(exchange.stage, Stage::Cancelled);
            let status = match passed_status(status) {
                // Cancelled by us, since it took too long.
                StatusCode::REQUEST_TERMINATED if !was_cancelled => StatusCode::SERVER_TIMEOUT,
                status => status,
            };
            context.refuse(taken, status, b"", now.mono);
        }
        if ends_dialog(status) {
            let ending = Ending::by_server(EndReason::ProtocolError, "dialog is gone");
            return self.end(context, ending, now);
        }
        State::Connected(self)
    }

    /// The other party accepts: the offer is answered, or the INVITE without one has brought its own.
    fn on_accepted(&mut self, context: &mut Context, exchange: Exchange, response: &Message, now: Now) {
        let (asker, other) = (exchange.asker(), exchange.asker().other());
        self.note_refresh(context, other, response);
        self.on_success(other, response, now);
        let description = Body::sdp_of(response);
        if let Stage::Abandoned = exchange.stage {
            // It now has a session that the asker does not know of.
            context.decline_inside(exchange.passed, description);
            self.commit(context, now);
            self.miss(other, now.mono);
            self.tell_missed(context, now);
            return;
        }
        match (exchange.offer, description) {
            (None, Some(offer)) => {
                self.accept(context, &exchange.taken, Some(&offer), now);
                let stage = Stage::AwaitsAnswer { offer };
                self.exchange = Some(Box::new(Exchange { offer: None, stage, ..exchange }));
            }
            (offer, answer) => {
                context.acknowledge_inside(exchange.passed, None);
                if let Some(offer) = offer {
                    self.descriptions.set(asker, offer);
                }
                if let Some(answer) = &answer {
                    self.descriptions.set(other, answer.clone());
                    self.descriptions.note_codec(context, answer);
                }
                self.accept(context, &exchange.taken, answer.as_ref(), now);
                self.commit(context, now);
            }
        }
    }

    /// The ACK of a party's INVITE: where that brought no offer, the answer to the other one's.
    pub(super) fn on_answer_of_ack(
        mut self: Box<Self>,
        context: &mut Context,
        party: Party,
        ack: &Message,
        now: Now,
    ) -> State {
        let awaits = |exchange: &Exchange| matches!(exchange.stage, Stage::AwaitsAnswer { .. });
        if !self.exchange.as_ref().is_some_and(|exchange| exchange.asker() == party && awaits(exchange)) {
            return State::Connected(self);
        }
        let Some(answer) = Body::sdp_of(ack) else {
            let ending = Ending::by_server(EndReason::ProtocolError, "offer not answered");
            return self.end(context, ending, now);
        };
        if let Some(exchange) = self.exchange.take()
            && let Stage::AwaitsAnswer { offer } = exchange.stage
        {
            context.acknowledge_inside(exchange.passed, Some(&answer));
            self.note_answer_of_ack(context, party, (offer, answer));
            self.commit(context, now);
        }
        State::Connected(self)
    }

    fn note_answer_of_ack(&mut self, context: &mut Context, party: Party, (offer, answer): (Body, Body)) {
        self.descriptions.set(party.other(), offer);
        self.descriptions.set(party, answer.clone());
        self.descriptions.note_codec(context, &answer);
    }

    /// The other party has not answered.
    pub(super) fn on_exchange_silence(
        mut self: Box<Self>,
        context: &mut Context,
        silence: Silence,
        now: Now,
    ) -> State {
        let Some(exchange) = self.exchange.take() else { return State::Connected(self) };
        let is_told = matches!(exchange.stage, Stage::Abandoned);
        let status = match (silence, &exchange.stage) {
            (_, Stage::Cancelled) => StatusCode::REQUEST_TERMINATED,
            (Silence::TimedOut, _) => StatusCode::REQUEST_TIMEOUT,
            (Silence::OnlyProvisional, _) => StatusCode::SERVER_TIMEOUT,
            (Silence::Undeliverable, _) => StatusCode::SERVER_INTERNAL_ERROR,
        };
        // An UPDATE that timed out has timed out for the asker too: no late 408 (RFC 4320 §4.1).
        let is_late = status == StatusCode::REQUEST_TIMEOUT && !exchange.taken.is_invite();
        if !is_told && !is_late {
            context.refuse(&exchange.taken, status, b"", now.mono);
        }
        match silence {
            // Nobody is there any more (RFC 3261 §12.2.1.2).
            Silence::TimedOut => {
                let ending = Ending::by_server(EndReason::ProtocolError, "no response");
                self.end(context, ending, now)
            }
            Silence::OnlyProvisional | Silence::Undeliverable => State::Connected(self),
        }
    }

    /// Tells the asker that its UPDATE takes too long.
    pub(super) fn on_exchange_timer(&mut self, context: &mut Context, now: Now) {
        let Some(exchange) = &mut self.exchange else { return };
        if exchange.deadline().is_some_and(|until| until <= now.mono) {
            exchange.stage = Stage::Abandoned;
            let passed = exchange.passed;
            context.refuse(&exchange.taken, StatusCode::SERVER_TIMEOUT, b"", now.mono);
            context.cancel_inside(passed, now.mono);
        }
    }
}

/// Whether a failure says that the peer's dialog is no more (RFC 3261 §12.2.1.2, RFC 5057 §5.1).
pub(in super::super) fn ends_dialog(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST)
}
