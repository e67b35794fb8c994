//! Offers before the answer (RFC 3311, RFC 3262 §5): a party's UPDATE, or the caller's PRACK, whose offer the other one is
//! asked by UPDATE. Offer and answer of the INVITE have to be complete on both legs, and only one early dialog may stand.

use super::State;
use super::action::Seq;
use super::caller::EarlyDialog;
use super::calling::Calling;
use super::connected::{Descriptions, Party, ask, contact_on, ends_dialog, passes};
use super::context::Context;
use super::early::Exchange;
use super::identity::Serial;
use super::inside::{Answered, Due, Heard, Silence, Taken, passed_status};
use super::requests::{Body, allow};
use super::retry::Authorized;
use super::screen;
use bytes::Bytes;
use std::time::Duration;
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, Method, Name, StatusCode};

/// How long the other party may take. A 2xx of the gateway's waits as long, since a caller whose offer is open could take
/// its answer for that of the offer.
const LONGEST_EARLY_OFFER: Duration = Duration::from_secs(10);

/// An offer that the other party is asked.
#[derive(Debug)]
pub(super) struct EarlyOffer {
    taken: Taken,
    offer: Body,
    /// The gateway's tag in the early dialog.
    tag: Bytes,
    /// Our UPDATE to the other party.
    passed: Serial,
    /// The commit that a refusal follows.
    after: Option<Seq>,
    pub(super) until: Mono,
}

impl EarlyOffer {
    /// Whether a request is a copy of the one that brought it.
    pub(super) fn is_of(&self, request: &Message) -> bool {
        self.taken.is_copy(request)
    }

    fn refuse(&self, context: &mut Context, status: StatusCode, now: Mono) {
        refuse(context, (&self.taken, self.after), status, now);
    }
}

impl Calling {
    /// A party's UPDATE, which is in order.
    pub(super) fn on_update(&mut self, context: &mut Context, taken: &Taken, now: Now) {
        if let Err((status, lines)) = screen::check_inside(&taken.request, context.parameters()) {
            return context.refuse(taken, status, &lines, now.mono);
        }
        let is_second = self.offer.as_ref().is_some_and(|open| open.taken.party == taken.party);
        match Body::sdp_of(&taken.request) {
            Some(offer) => self.on_offer(context, (taken, offer), None, now),
            None if is_second => context.refuse_for_now(taken, now.mono),
            None => self.accept(context, (taken, None), None, now),
        }
    }

    /// An offer of a party, in UPDATE or in a PRACK that has been taken with commit `after`.
    pub(super) fn on_offer(
        &mut self,
        context: &mut Context,
        (taken, offer): (&Taken, Body),
        after: Option<Seq>,
        now: Now,
    ) {
        let (party, other) = (taken.party, taken.party.other());
        let (tag, descriptions) = match self.may_pass(context, taken) {
            Ok(agreed) => agreed,
            Err(status) => return refuse(context, (taken, after), status, now.mono),
        };
        if descriptions.of(party) == Some(&offer) && self.missed.is_none() {
            return self.accept(context, (taken, descriptions.sent_to(party)), after, now);
        }
        let allows = match other {
            Party::Caller => context.caller.allowed.is_some_and(|allowed| allowed.contains(Method::Update)),
            Party::Callee => self.attempt.early_dialogs.allows(&tag, Method::Update),
        };
        let callee = self.attempt.early_dialogs.dialog(&tag).filter(|_| allows);
        let Some(mut callee) = callee.cloned() else {
            return refuse(context, (taken, after), StatusCode::SERVER_TIMEOUT, now.mono);
        };
        let asked = (other, Method::Update);
        let passed = ask(context, (&mut callee, &self.attempt), asked, (b"", Some(&offer)), now.mono);
        if let Some(answer) = &descriptions.callee {
            descriptions.note_codec(context, answer);
        }
        self.attempt.early_dialogs.change(callee, descriptions);
        let (taken, until) = (taken.clone(), now.mono + LONGEST_EARLY_OFFER);
        self.offer = Some(Box::new(EarlyOffer { taken, offer, tag, passed, after, until }));
    }

    /// The gateway's tag in the early dialog and what the parties have agreed on there, if an offer may be passed on.
    ///
    /// # Errors
    /// The status that it gets (RFC 3311 §5.2).
    fn may_pass(&self, context: &Context, taken: &Taken) -> Result<(Bytes, Descriptions), StatusCode> {
        let agreed = self.attempt.agreed(context.caller.offer.as_ref());
        let agreed = agreed.filter(|(tag, _)| {
            let by = EarlyDialog { attempt: self.attempt.serial, remote_tag: tag.clone() };
            self.others.is_empty() && context.caller.has_agreed_with(&by)
        });
        let has_room = context.inside.has_room_for(Method::Update);
        if let (Some(agreed), None, true) = (agreed, &self.offer, has_room) {
            return Ok(agreed);
        }
        // Whether an offer of ours waits for this party's answer.
        let crosses = match (&self.offer, taken.party, context.caller.offer.is_some()) {
            (Some(open), party, _) => open.taken.party != party,
            (None, Party::Callee, true) => {
                let tag = taken.request.from_tag().unwrap_or_default();
                self.attempt.early_dialogs.exchange(tag) == Some(&Exchange::Open)
            }
            (None, Party::Caller, false) => context.caller.ringing.holds_answer(),
            (None, Party::Callee, false) | (None, Party::Caller, true) => false,
        };
        Err(if crosses { StatusCode::REQUEST_PENDING } else { StatusCode::SERVER_INTERNAL_ERROR })
    }

    /// The final response to our UPDATE.
    fn on_offer_answered(mut self: Box<Self>, context: &mut Context, response: &Message, now: Now) -> State {
        let (Some(open), Some(status)) = (self.offer.take(), response.status()) else {
            return State::Calling(self);
        };
        match Body::sdp_of(response).filter(|_| status.is_success()) {
            Some(answer) => self.agree(context, *open, (response, answer), now),
            None => {
                if status.is_success() {
                    self.missed = Some(open.taken.party.other());
                }
                // Whether a dialog is gone shows when the INVITE is answered: until then nobody need end it.
                let is_own = status.is_success() || ends_dialog(status);
                let status = if is_own { StatusCode::SERVER_INTERNAL_ERROR } else { passed_status(status) };
                open.refuse(context, status, now.mono);
            }
        }
        self.release_answer(context, now)
    }

    /// The other party agrees.
    fn agree(
        &mut self,
        context: &mut Context,
        open: EarlyOffer,
        (response, answer): (&Message, Body),
        now: Now,
    ) {
        let other = open.taken.party.other();
        self.missed = None;
        self.note_target(context, (other, &open.tag), response);
        let callee = self.attempt.early_dialogs.dialog(&open.tag).cloned();
        if let (Some(callee), Some(mut descriptions)) = (callee, self.attempt.settled(&open.tag)) {
            descriptions.set(open.taken.party, open.offer);
            descriptions.set(other, answer.clone());
            descriptions.note_codec(context, &answer);
            self.attempt.early_dialogs.change(callee, descriptions);
        }
        // Else an heir would not know what the asker takes for agreed.
        let after = Some(self.commit(context, now));
        self.accept(context, (&open.taken, Some(&answer)), after, now);
    }

    /// Answers a party's UPDATE or PRACK with 200.
    fn accept(
        &mut self,
        context: &mut Context,
        (taken, body): (&Taken, Option<&Body>),
        after: Option<Seq>,
        now: Now,
    ) {
        let mut response = taken.respond(StatusCode::OK);
        if taken.request.method() == Some(Method::Update) {
            let tag = match taken.party {
                Party::Caller => b"",
                Party::Callee => taken.request.from_tag().unwrap_or_default(),
            };
            self.note_target(context, (taken.party, tag), &taken.request);
            response = response
                .header(Name::Contact, contact_on(context, &self.attempt, taken.party))
                .header(Name::Allow, allow(passes(context, &self.attempt, taken.party)));
        }
        context.finish_after(taken, (StatusCode::OK, Body::close(body, response)), after, now.mono);
    }

    /// Ends the open offer, since the early dialog has come to its end.
    pub(super) fn close_offer(&mut self, context: &mut Context, now: Mono) {
        self.give_up_offer(context, StatusCode::REQUEST_TERMINATED, now);
    }

    fn give_up_offer(&mut self, context: &mut Context, status: StatusCode, now: Mono) {
        if let Some(open) = self.offer.take() {
            context.inside.forget(open.passed);
            open.refuse(context, status, now);
        }
    }

    /// Takes a response to an UPDATE of ours, or gives itself back if it is none.
    pub(super) fn on_offer_response(
        self: Box<Self>,
        context: &mut Context,
        (serial, response): (Serial, &Message),
        now: Now,
    ) -> Result<State, Box<Self>> {
        match context.on_inside_response(serial, response, now.mono) {
            None => Err(self),
            Some(Heard::Nothing) => Ok(State::Calling(self)),
            Some(Heard::Success | Heard::Failure) => Ok(self.on_offer_answered(context, response, now)),
        }
    }

    /// Takes credentials that an UPDATE of ours waits for, or gives itself back if they are for something else.
    pub(super) fn on_offer_authorized(
        mut self: Box<Self>,
        context: &mut Context,
        authorized: &Authorized,
        now: Now,
    ) -> Result<State, Box<Self>> {
        let local = self.attempt.local().clone();
        let tag = self.offer.as_ref().map(|open| open.tag.clone()).unwrap_or_default();
        let Some(dialog) = self.attempt.early_dialogs.dialog_mut(&tag) else { return Err(self) };
        match context.on_inside_authorized((dialog, &local), authorized, now.mono) {
            Answered::Nothing => Err(self),
            Answered::Renamed { after, .. } => {
                if let Some(open) = &mut self.offer {
                    open.passed = after;
                }
                Ok(State::Calling(self))
            }
            Answered::NotAuthorized(_, challenge) => Ok(self.on_offer_answered(context, &challenge, now)),
        }
    }

    /// What has come of an UPDATE of ours without a response.
    pub(super) fn on_offer_due(mut self: Box<Self>, context: &mut Context, due: Due, now: Now) -> State {
        match due {
            Due::NotAuthorized(_, challenge) => self.on_offer_answered(context, &challenge, now),
            Due::NoAnswer(_, silence) => {
                if silence != Silence::Undeliverable {
                    self.missed = self.offer.as_ref().map(|open| open.taken.party.other());
                }
                self.give_up_offer(context, StatusCode::SERVER_TIMEOUT, now.mono);
                self.release_answer(context, now)
            }
            Due::NoAck => State::Calling(self),
        }
    }

    /// Gives up an offer that takes too long (RFC 3311 §5.2).
    pub(super) fn on_offer_timer(self: Box<Self>, context: &mut Context, now: Now) -> State {
        match &self.offer {
            Some(open) if open.until <= now.mono => {
                let silent = Due::NoAnswer(open.passed, Silence::TimedOut);
                self.on_offer_due(context, silent, now)
            }
            Some(_) | None => State::Calling(self),
        }
    }

    fn note_target(&mut self, context: &mut Context, (party, tag): (Party, &[u8]), message: &Message) {
        let dialog = match party {
            Party::Caller => Some(&mut context.caller.dialog),
            Party::Callee => self.attempt.early_dialogs.dialog_mut(tag),
        };
        if let Some(dialog) = dialog {
            dialog.refresh_target(message);
        }
    }
}

/// Refuses an offer. A PRACK that brought one has acknowledged its response all the same.
fn refuse(context: &mut Context, (taken, after): (&Taken, Option<Seq>), status: StatusCode, now: Mono) {
    if taken.request.method() == Some(Method::PRack) {
        let status = StatusCode::NOT_ACCEPTABLE_HERE;
        return context.finish_after(taken, (status, taken.respond(status).finish()), after, now);
    }
    match status {
        StatusCode::SERVER_INTERNAL_ERROR => context.refuse_for_now(taken, now),
        status => context.refuse(taken, status, b"", now),
    }
}
