//! The transactions inside the dialogs: INVITE, UPDATE, INFO and MESSAGE after the call was answered, in both
//! directions. They outlive the conversation, since what is open at its end has to be ended too.

mod ours;
mod theirs;

pub(super) use ours::{Heard, Ours, passed_status};
pub(super) use theirs::Taken;

use super::action::{Action, Event};
use super::attempt::Sender;
use super::identity::Serial;
use super::requests::Body;
use super::retry::Authorized;
use super::{Context, Party};
use bytes::Bytes;
use tandem_sip::dialog::Dialog;
use tandem_sip::time::Mono;
use tandem_sip::transaction::{Acknowledged, ResendSchedule};
use tandem_sip::{Message, Method};
use theirs::TheirInvite;

/// The most INVITEs inside the dialogs of a call, in one direction, that something can still arrive of. Each is kept
/// for half a minute, so this bounds how often a session can be changed.
pub(super) const MAX_INVITES: usize = 8;

/// The most requests of ours inside the dialogs that wait for their final response.
pub(super) const MAX_OPEN_REQUESTS: usize = 8;

/// What came due.
#[derive(Debug)]
pub(super) enum Due {
    /// No final response to a request of ours came.
    NoAnswer(Serial, Silence),
    /// A request of ours was challenged, and there were no credentials: the challenge is its final response.
    NotAuthorized(Serial, Box<Message>),
    /// The ACK of our 2xx to a party's INVITE did not come within 64·T1.
    NoAck,
}

/// What has come of credentials.
#[derive(Debug)]
pub(super) enum Answered {
    /// They are for nothing of this.
    Nothing,
    /// The request has gone out again, under another name.
    Renamed { before: Serial, after: Serial },
    /// There are none: the challenge is the request's final response.
    NotAuthorized(Serial, Box<Message>),
}

/// Why a request of ours has no final response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing came in time (timer B or F).
    TimedOut,
    /// Only provisional responses to an INVITE came, and nothing to its CANCEL.
    OnlyProvisional,
    /// The transport could not deliver it.
    Undeliverable,
}

/// Every transaction inside the dialogs.
#[derive(Debug, Default)]
pub(super) struct Inside {
    ours: Vec<Ours>,
    theirs: Vec<TheirInvite>,
}

impl Inside {
    /// Whether another request of ours may be sent.
    pub(super) fn has_room_for(&self, method: Method) -> bool {
        let invites = self.ours.iter().filter(|ours| ours.method() == Method::Invite);
        let open = self.ours.iter().filter(|ours| ours.is_open());
        open.count() < MAX_OPEN_REQUESTS && (method != Method::Invite || invites.count() < MAX_INVITES)
    }

    /// Whether a request of either side waits for its final response.
    pub(super) fn is_busy(&self) -> bool {
        self.ours.iter().any(Ours::is_open) || self.theirs.iter().any(TheirInvite::is_open)
    }

    /// Keeps a request of ours that has just been sent.
    pub(super) fn keep(&mut self, ours: Ours) {
        self.ours.push(ours);
    }

    /// A request of ours.
    pub(super) fn ours(&mut self, serial: Serial) -> Option<&mut Ours> {
        self.ours.iter_mut().find(|ours| ours.serial == serial)
    }

    /// Whether an INVITE of ours is open on a party's leg.
    pub(super) fn asks(&self, party: Party) -> bool {
        self.ours.iter().any(|ours| ours.party == party && ours.method() == Method::Invite && ours.is_open())
    }

    /// Whether a request of ours brings an offer. Known as long as it is kept.
    pub(super) fn is_offer(&self, serial: Serial) -> bool {
        self.ours.iter().any(|ours| ours.serial == serial && ours.makes_offer())
    }

    /// Takes a response; `None` if it answers nothing of this.
    pub(super) fn on_response(
        &mut self,
        to: &mut Sender<'_>,
        serial: Serial,
        response: &Message,
        now: Mono,
    ) -> Option<Heard> {
        let place = self.ours.iter().position(|ours| ours.serial == serial)?;
        let heard = self.ours[place].on_response(to, response, now);
        if self.ours[place].is_over() {
            self.ours.swap_remove(place);
        }
        Some(heard)
    }

    /// Sends the ACK of the 2xx to an INVITE of ours, with the answer to the offer in it if there is one.
    pub(super) fn acknowledge(&mut self, to: &mut Sender<'_>, serial: Serial, answer: Option<&Body>) {
        if let Some(ours) = self.ours(serial) {
            ours.acknowledge(to, answer);
        }
    }

    /// The transport could not deliver that request. `true` if it is one of these and waits for its final response.
    pub(super) fn undeliverable(&mut self, serial: Serial) -> bool {
        let open = self.ours.iter().position(|ours| ours.serial == serial && ours.is_open());
        if let Some(place) = open {
            self.ours.swap_remove(place);
        }
        open.is_some()
    }

    /// Forgets a request of ours: nobody waits for what comes of it.
    pub(super) fn forget(&mut self, serial: Serial) {
        self.ours.retain(|ours| ours.serial != serial);
    }

    /// Keeps an INVITE of a party; `false` if there are too many.
    pub(super) fn take(&mut self, taken: &Taken, resend: ResendSchedule) -> bool {
        if self.open(taken).is_some() {
            return true;
        }
        let has_room = self.theirs.len() < MAX_INVITES;
        if has_room {
            self.theirs.push(TheirInvite::new(taken.clone(), resend));
        }
        has_room
    }

    /// Tells a party that its INVITE is being worked on.
    pub(super) fn trying(&mut self, out: &mut Vec<Action>, taken: &Taken) {
        if let Some(invite) = self.open(taken) {
            invite.trying(out);
        }
    }

    fn open(&mut self, taken: &Taken) -> Option<&mut TheirInvite> {
        self.theirs.iter_mut().find(|invite| invite.is_open() && invite.is_copy(&taken.request))
    }

    /// Sends a party's INVITE its final response. `false` if it is not open here.
    pub(super) fn finish(
        &mut self,
        out: &mut Vec<Action>,
        taken: &Taken,
        (is_success, response): (bool, Bytes),
        now: Mono,
    ) -> bool {
        let Some(invite) = self.open(taken) else { return false };
        invite.finish(out, (is_success, response), now);
        true
    }

    /// Answers a copy of a party's INVITE. `false` if it is none.
    pub(super) fn answer_again(&mut self, out: &mut Vec<Action>, request: &Message) -> bool {
        let Some(invite) = self.theirs.iter().find(|invite| invite.is_copy(request)) else { return false };
        invite.answer_again(out);
        true
    }

    /// Takes an ACK inside a dialog; `None` if it is of no INVITE inside one.
    pub(super) fn on_ack(&mut self, ack: &Message, now: Mono) -> Option<(Party, Acknowledged)> {
        let invite = self.theirs.iter_mut().find(|invite| invite.is_meant_by(ack))?;
        Some((invite.party(), invite.on_ack(now)))
    }

    /// The INVITE that a CANCEL means: whose it is, and whether it is still open.
    pub(super) fn cancelled(&self, cancel: &Message) -> Option<(Party, bool)> {
        let invite = self.theirs.iter().find(|invite| invite.is_meant_by(cancel))?;
        Some((invite.party(), invite.is_open()))
    }

    /// Whether our 2xx to an INVITE of that party still waits for its ACK.
    pub(super) fn awaits_ack(&self, party: Party) -> bool {
        self.theirs.iter().any(|invite| invite.party() == party && invite.awaits_ack())
    }

    /// Sends the request in `dialog` again that waits for these credentials.
    pub(super) fn on_authorized(
        &mut self,
        to: &mut Sender<'_>,
        (dialog, local): (&mut Dialog, &str),
        authorized: &Authorized,
        now: Mono,
    ) -> Answered {
        let (serial, authorization) = authorized;
        let Some(place) = self.ours.iter().position(|ours| ours.awaits(*serial)) else {
            return Answered::Nothing;
        };
        let ours = &mut self.ours[place];
        let before = ours.serial;
        let answered = match ours.again(to, (dialog, local), authorization.as_ref(), now) {
            Ok(again) => {
                let after = again.serial;
                self.ours.push(again);
                Answered::Renamed { before, after }
            }
            Err(Some(challenge)) => Answered::NotAuthorized(before, challenge),
            Err(None) => Answered::Nothing,
        };
        self.ours.retain(|ours| !ours.is_over());
        answered
    }

    /// The conversation is over: stops waiting for ACKs of whoever hung up, and bounds the wait for what is open.
    pub(super) fn end(&mut self, hung_up: Option<Party>, now: Mono) {
        for ours in &mut self.ours {
            ours.bound(now);
        }
        self.ours.retain(|ours| !ours.is_over());
        for invite in self.theirs.iter_mut().filter(|invite| Some(invite.party()) == hung_up) {
            if invite.awaits_ack() {
                invite.on_ack(now);
            }
        }
    }

    /// Does what is due.
    pub(super) fn on_timer(&mut self, to: &mut Sender<'_>, now: Mono) -> Vec<Due> {
        let mut due = Vec::new();
        for ours in &mut self.ours {
            due.extend(ours.on_timer(to, now));
        }
        self.ours.retain(|ours| !ours.is_over());
        for invite in &mut self.theirs {
            if invite.on_timer(to.out, now) {
                due.push(Due::NoAck);
            }
        }
        self.theirs.retain(|invite| !invite.is_over());
        due
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let ours = self.ours.iter().filter_map(Ours::deadline);
        ours.chain(self.theirs.iter().filter_map(TheirInvite::deadline)).min()
    }

    /// Whether nothing can arrive any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.ours.is_empty() && self.theirs.is_empty()
    }
}

impl Context {
    /// The transactions inside the dialogs, and what they need to send something.
    fn inside_and_sender(&mut self) -> (&mut Inside, Sender<'_>) {
        let sender = Sender {
            out: &mut self.out,
            names: &mut self.names,
            caller: &self.caller,
            parameters: &self.profile.parameters,
        };
        (&mut self.inside, sender)
    }

    /// Takes a response to a request of ours; `None` if it answers none.
    pub(super) fn on_inside_response(
        &mut self,
        serial: Serial,
        response: &Message,
        now: Mono,
    ) -> Option<Heard> {
        if self.inside.ours.is_empty() {
            return None;
        }
        let (inside, mut to) = self.inside_and_sender();
        inside.on_response(&mut to, serial, response, now)
    }

    /// Sends the ACK of the 2xx to an INVITE of ours.
    pub(super) fn acknowledge_inside(&mut self, serial: Serial, answer: Option<&Body>) {
        let (inside, mut to) = self.inside_and_sender();
        inside.acknowledge(&mut to, serial, answer);
    }

    /// Gives up an INVITE of ours.
    pub(super) fn cancel_inside(&mut self, serial: Serial, now: Mono) {
        let (inside, mut to) = self.inside_and_sender();
        if let Some(ours) = inside.ours(serial) {
            ours.cancel(&mut to, now);
        }
    }

    /// Takes credentials that a request of ours in the callee's dialog waits for.
    pub(super) fn on_inside_authorized(
        &mut self,
        dialog: (&mut Dialog, &str),
        authorized: &Authorized,
        now: Mono,
    ) -> Answered {
        let (inside, mut to) = self.inside_and_sender();
        inside.on_authorized(&mut to, dialog, authorized, now)
    }

    /// Takes the final response to a request of ours, once the conversation is over: a 2xx gets its ACK, which declines
    /// an offer. `false` if the response answers nothing inside a dialog.
    pub(super) fn on_inside_response_after_the_end(
        &mut self,
        serial: Serial,
        response: &Message,
        now: Mono,
    ) -> bool {
        match self.on_inside_response(serial, response, now) {
            None => false,
            Some(Heard::Success) => {
                self.decline_inside(serial, Body::sdp_of(response));
                true
            }
            Some(Heard::Nothing | Heard::Failure) => true,
        }
    }

    /// Sends the ACK of a 2xx that nobody wants any more; if it brought an offer, the ACK declines that.
    pub(super) fn decline_inside(&mut self, serial: Serial, description: Option<Body>) {
        let is_answer = self.inside.is_offer(serial);
        let refusal = description.filter(|_| !is_answer).map(|offer| offer.refusal());
        self.acknowledge_inside(serial, refusal.as_ref());
    }

    /// Sends again what is due inside the dialogs, and says what has come of it.
    pub(super) fn on_inside_timer(&mut self, now: Mono) -> Vec<Due> {
        if self.inside.is_quiet() {
            return Vec::new();
        }
        let (inside, mut to) = self.inside_and_sender();
        inside.on_timer(&mut to, now)
    }
}

/// Sends a message again, and counts it.
fn resend(out: &mut Vec<Action>, flow: tandem_sip::flow::Flow, message: Bytes) {
    out.push(Action::Send { flow, message, after: None });
    out.push(Action::Emit(Event::Resent));
}
