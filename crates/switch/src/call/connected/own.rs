//! Requests of the switch's own: session refreshes, and what a leg has missed.

use super::super::State;
use super::super::clearing::Ending;
use super::super::context::Context;
use super::super::identity::Serial;
use super::super::inside::Silence;
use super::super::moving::Moved;
use super::super::requests::{Body, via};
use super::exchange::ends_dialog;
use super::timer::is_update_refused;
use super::{Connected, Party};
use crate::cdr::EndReason;
use std::time::Duration;
use tandem_sip::offer::{OfferState, glare_wait};
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, Method, Name, StatusCode};

/// How long to wait until it is looked again whether a party that missed something can be told.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// How long after a party would not hear where the call is, or could not, it is told again.
const TARGET_AGAIN: Duration = Duration::from_secs(2);

/// How often in a row a party may put off being told (491): for longer than an ACK that it waits for is sent again.
const MAX_DEFERRALS: u8 = 40;

/// How often in a row the answer to what a party had missed may itself be told on: two parties that never give the same
/// answer twice would go on for ever.
const MAX_TELLINGS: u8 = 4;

/// A request of the switch's own that waits for its final response.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) party: Party,
    pub(super) serial: Serial,
    pub(super) makes_offer: bool,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Keeps the session alive.
    Refresh,
    /// Tells the party what it lacks; so many such tellings led to it.
    Missed(Lacks, u8),
}

/// What a party does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    /// The other one's last description.
    Description,
    /// Where the call is now.
    Target,
}

/// A party that lacks something.
#[derive(Debug)]
pub(super) struct Missed {
    pub(super) party: Party,
    lacks: Lacks,
    not_before: Mono,
    /// How many tellings in a row have led to it.
    tellings: u8,
}

/// How a session is refreshed (RFC 4028 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Refresh {
    /// By UPDATE, without a session description.
    Update,
    /// By re-INVITE, with the session description that the party was sent last.
    Invite,
}

/// Something else is open on the leg: the refresh has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Busy;

/// What has come of a refresh.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Outcome<'a> {
    /// Its final response. A 2xx has been acknowledged, and taken note of.
    Answered(&'a Message),
    /// None came.
    Silence(Silence),
}

impl Missed {
    pub(super) fn deadline(&self) -> Mono {
        self.not_before
    }
}

impl Connected {
    /// Refreshes the session on a party's leg. `lines` are header lines of the session timer. What comes of it goes to
    /// [`on_refreshed`](Self::on_refreshed).
    ///
    /// # Errors
    /// [`Busy`] if the leg has something open that the refresh would cross.
    pub(in super::super) fn refresh(
        &mut self,
        context: &mut Context,
        (party, how): (Party, Refresh),
        lines: &[u8],
        now: Mono,
    ) -> Result<Serial, Busy> {
        let is_free = match how {
            Refresh::Update => context.inside.has_room_for(Method::Update),
            Refresh::Invite => self.may_offer(context, party),
        };
        if !is_free || self.own.iter().any(|own| own.party == party) {
            return Err(Busy);
        }
        let (method, description) = match how {
            Refresh::Update => (Method::Update, None),
            Refresh::Invite => (Method::Invite, self.descriptions.sent_to(party).cloned()),
        };
        let serial = self.ask(context, (party, method), (lines, description.as_ref()), now);
        let makes_offer = description.is_some();
        self.own.push(Own { party, serial, makes_offer, why: Why::Refresh });
        Ok(serial)
    }

    /// Forgets a request of the switch's own that something has come of.
    pub(super) fn take_own(&mut self, serial: Serial) -> Option<Own> {
        let place = self.own.iter().position(|own| own.serial == serial)?;
        Some(self.own.swap_remove(place))
    }

    pub(super) fn on_own_response(
        mut self: Box<Self>,
        context: &mut Context,
        own: Own,
        response: &Message,
        now: Now,
    ) -> State {
        let status = response.status();
        if status.is_some_and(StatusCode::is_success) {
            self.on_own_accepted(context, &own, response, now);
        }
        match own.why {
            Why::Refresh => {
                self.on_refreshed(context, (own.party, own.serial), Outcome::Answered(response), now)
            }
            Why::Missed(..) if status.is_some_and(ends_dialog) => {
                let ending = Ending::by_server(EndReason::ProtocolError, "dialog is gone");
                self.end(context, ending, now)
            }
            Why::Missed(lacks, tellings) => {
                self.on_told(context, (own.party, own.serial), (lacks, tellings), response, now);
                State::Connected(self)
            }
        }
    }

    /// What a party says to what it had missed: it may want to be told otherwise, or later.
    fn on_told(
        &mut self,
        context: &mut Context,
        (party, serial): (Party, Serial),
        (lacks, tellings): (Lacks, u8),
        response: &Message,
        now: Now,
    ) {
        if tellings >= MAX_DEFERRALS || response.status().is_some_and(StatusCode::is_success) {
            return;
        }
        let wait = match response.status() {
            _ if is_update_refused(response) => {
                self.sessions.refuses_update(party);
                Duration::ZERO
            }
            Some(StatusCode::REQUEST_PENDING) => {
                glare_wait(party == Party::Callee, context.names.draw(serial))
            }
            Some(StatusCode::SESSION_INTERVAL_TOO_SMALL) => {
                let before = self.request_lines(party);
                self.sessions.hear_min_se(party, response.number(Name::MinSe).and_then(Result::ok));
                if self.request_lines(party) == before {
                    return;
                }
                TELL_AGAIN
            }
            // It is there, and does not go by where it was told that the call is.
            Some(_) if lacks == Lacks::Target && tellings < MAX_TELLINGS => TARGET_AGAIN,
            Some(_) | None => return,
        };
        self.note_missed(Missed { party, lacks, not_before: now.mono + wait, tellings });
        self.tell_missed(context, now);
    }

    /// A 2xx: a refresh may still have brought another answer, which the other party has to learn of.
    fn on_own_accepted(&mut self, context: &mut Context, own: &Own, response: &Message, now: Now) {
        let made_offer = own.makes_offer;
        let description = Body::sdp_of(response);
        self.note_refresh(context, own.party, response);
        if made_offer || description.is_none() {
            context.acknowledge_inside(own.serial, None);
        } else {
            // An INVITE without an offer, since there was none to repeat: what it brought is answered by none of ours.
            context.decline_inside(own.serial, description.clone());
        }
        self.on_success(own.party, response, now);
        if let Some(answer) = description.filter(|_| made_offer)
            && self.descriptions.set(own.party, answer.clone())
        {
            self.descriptions.note_codec(context, &answer);
            match own.why {
                Why::Refresh => self.miss(own.party.other(), now.mono),
                Why::Missed(_, tellings) if tellings < MAX_TELLINGS => {
                    let (party, lacks) = (own.party.other(), Lacks::Description);
                    self.note_missed(Missed { party, lacks, not_before: now.mono, tellings });
                }
                Why::Missed(..) => {}
            }
        }
        self.commit(context, now);
        self.tell_missed(context, now);
    }

    pub(super) fn on_own_silence(
        self: Box<Self>,
        context: &mut Context,
        own: Own,
        silence: Silence,
        now: Now,
    ) -> State {
        match own.why {
            Why::Refresh => {
                self.on_refreshed(context, (own.party, own.serial), Outcome::Silence(silence), now)
            }
            Why::Missed(Lacks::Target, tellings)
                if silence == Silence::Undeliverable && tellings < MAX_TELLINGS =>
            {
                let mut this = self;
                let (party, lacks, not_before) = (own.party, Lacks::Target, now.mono + TARGET_AGAIN);
                this.note_missed(Missed { party, lacks, not_before, tellings });
                State::Connected(this)
            }
            Why::Missed(..) => match silence {
                Silence::TimedOut => {
                    let ending = Ending::by_server(EndReason::ProtocolError, "no response");
                    self.end(context, ending, now)
                }
                Silence::OnlyProvisional | Silence::Undeliverable => State::Connected(self),
            },
        }
    }

    /// Takes note that a party does not know the other one's description.
    pub(in super::super) fn miss(&mut self, party: Party, now: Mono) {
        self.note_missed(Missed { party, lacks: Lacks::Description, not_before: now, tellings: 0 });
    }

    fn note_missed(&mut self, mut missed: Missed) {
        // Whoever is told what the other one describes is told where the call is, too.
        let is_known = |known: &Missed| known.party == missed.party && known.lacks == Lacks::Description;
        if self.missed.iter().any(is_known) {
            missed.lacks = Lacks::Description;
        }
        self.missed.retain(|known| known.party != missed.party);
        self.missed.push(missed);
    }

    /// Tells the parties where the call is now, which has been taken over. That is committed before: yet another owner is
    /// to tell them, too, wherever it is.
    pub(in super::super) fn tell_moved(&mut self, context: &mut Context, moved: Moved, now: Now) {
        if !moved.is_any() {
            return;
        }
        self.commit(context, now);
        for (party, has_moved) in [(Party::Caller, moved.caller), (Party::Callee, moved.callee)] {
            if has_moved {
                let not_before = now.mono + moved.wait;
                self.note_missed(Missed { party, lacks: Lacks::Target, not_before, tellings: 0 });
            }
        }
        self.tell_missed(context, now);
    }

    /// Tells the parties what they have missed, as soon as nothing else is open.
    pub(super) fn tell_missed(&mut self, context: &mut Context, now: Now) {
        for party in [Party::Caller, Party::Callee] {
            let is_due = |missed: &&mut Missed| missed.party == party && missed.not_before <= now.mono;
            if let Some(missed) = self.missed.iter_mut().find(is_due) {
                missed.not_before = now.mono + TELL_AGAIN;
                let (lacks, tellings) = (missed.lacks, missed.tellings + 1);
                self.tell(context, party, (lacks, tellings), now);
            }
        }
    }

    /// Tells a party what it lacks, if nothing is open that this would cross.
    fn tell(&mut self, context: &mut Context, party: Party, (lacks, tellings): (Lacks, u8), now: Now) {
        let by_update = self.takes_update(context, party);
        if lacks == Lacks::Target && by_update {
            return self.tell_target(context, (party, tellings), now);
        }
        let other_is_idle = self.offer_state(context, party.other()) == OfferState::Idle;
        let is_asked = self.own.iter().any(|own| own.party == party);
        if is_asked || !other_is_idle || !self.may_offer(context, party) {
            return;
        }
        self.missed.retain(|missed| missed.party != party);
        let Some(description) = self.descriptions.sent_to(party).cloned() else { return };
        let method = if by_update { Method::Update } else { Method::Invite };
        let lines = self.request_lines(party);
        let serial = self.ask(context, (party, method), (&lines, Some(&description)), now.mono);
        self.own.push(Own { party, serial, makes_offer: true, why: Why::Missed(lacks, tellings) });
    }

    /// Tells a party where the call is by an UPDATE without a description, which crosses nothing (RFC 3311 §5.1).
    fn tell_target(&mut self, context: &mut Context, (party, tellings): (Party, u8), now: Now) {
        let is_asked = self.own.iter().any(|own| own.party == party);
        if is_asked || !context.inside.has_room_for(Method::Update) {
            return;
        }
        self.missed.retain(|missed| missed.party != party);
        let lines = self.request_lines(party);
        let serial = self.ask(context, (party, Method::Update), (&lines, None), now.mono);
        let why = Why::Missed(Lacks::Target, tellings);
        self.own.push(Own { party, serial, makes_offer: false, why });
    }

    /// A response that answers nothing we know: the 2xx to an INVITE of an earlier owner of the call would be sent again
    /// for long, and end the dialog. It gets its ACK, and its sender is told how the session stands.
    pub(super) fn on_stray(&mut self, context: &mut Context, serial: Serial, response: &Message, now: Now) {
        let is_success = response.status().is_some_and(StatusCode::is_success);
        if response.method() != Some(Method::Invite) || serial.epoch >= context.names.epoch() || !is_success {
            return;
        }
        let Ok(cseq) = response.cseq().map(|cseq| cseq.number) else { return };
        let owner = [Party::Caller, Party::Callee]
            .into_iter()
            .find(|party| self.dialog(context, *party).is_answered_by(response));
        let Some(party) = owner else { return };
        let branch = context.names.next();
        let (dialog, local) = match party {
            Party::Caller => (&context.caller.dialog, &*context.caller.local),
            Party::Callee => (&self.callee, &*self.attempt.current.head.target.local),
        };
        let flow = dialog.flow();
        let via = via(flow.transport, local, &context.names.branch(branch));
        let message = dialog.ack(&via, cseq).finish();
        context.out.push(super::Action::Send { flow, message, after: None });
        self.miss(party, now.mono);
        self.tell_missed(context, now);
    }
}
