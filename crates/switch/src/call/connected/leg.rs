//! What is known of each leg, and how the switch speaks on it.

use super::super::attempt::Attempt;
use super::super::context::Context;
use super::super::identity::Serial;
use super::super::inside::{Ours, Taken};
use super::super::requests::{Body, allow, contact, via, with_lines};
use super::super::retry::Retry;
use super::{Acknowledgement, Connected};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_sip::dialog::Dialog;
use tandem_sip::offer::OfferState;
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, Method, MethodSet, Name, StatusCode, sdp};

/// One of the parties, and the leg with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) enum Party {
    Caller,
    Callee,
}

/// What each party last described of its media, and the other one was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Descriptions {
    pub(in super::super) caller: Option<Body>,
    pub(in super::super) callee: Option<Body>,
}

impl Party {
    pub(in super::super) fn other(self) -> Self {
        match self {
            Party::Caller => Party::Callee,
            Party::Callee => Party::Caller,
        }
    }
}

impl Descriptions {
    /// What that party described.
    pub(in super::super) fn of(&self, party: Party) -> Option<&Body> {
        match party {
            Party::Caller => self.caller.as_ref(),
            Party::Callee => self.callee.as_ref(),
        }
    }

    /// What that party was sent.
    pub(in super::super) fn sent_to(&self, party: Party) -> Option<&Body> {
        self.of(party.other())
    }

    /// Takes note of what that party describes now. `true` if it is something else than before.
    pub(in super::super) fn set(&mut self, party: Party, description: Body) -> bool {
        let known = match party {
            Party::Caller => &mut self.caller,
            Party::Callee => &mut self.callee,
        };
        let is_new = known.as_ref() != Some(&description);
        *known = Some(description);
        is_new
    }

    /// Takes note of a completed exchange. A hold leaves the record's codec as it is.
    pub(in super::super) fn note_codec(&self, context: &mut Context, answer: &Body) {
        let on_hold = |body: &Option<Body>| body.as_ref().is_some_and(|body| sdp::is_hold(body.content()));
        if on_hold(&self.caller) || on_hold(&self.callee) {
            return;
        }
        if let Some(codec) = sdp::first_codec(answer.content()) {
            context.record.codec = Some(codec);
        }
    }
}

impl Connected {
    /// The dialog with a party.
    pub(super) fn dialog<'a>(&'a mut self, context: &'a mut Context, party: Party) -> &'a mut Dialog {
        match party {
            Party::Caller => &mut context.caller.dialog,
            Party::Callee => &mut self.callee,
        }
    }

    /// The methods of a party's requests that its gateway's policy passes.
    pub(super) fn passes(&self, context: &Context, party: Party) -> MethodSet {
        passes(context, &self.attempt, party)
    }

    /// The methods that a party takes, if it has said so.
    fn allowed(&self, context: &Context, party: Party) -> Option<MethodSet> {
        match party {
            Party::Caller => context.caller.allowed,
            Party::Callee => self.attempt.allowed,
        }
    }

    /// Whether a party has said that it takes that method.
    pub(in super::super) fn allows(&self, context: &Context, party: Party, method: Method) -> bool {
        self.allowed(context, party).is_some_and(|allowed| allowed.contains(method))
    }

    /// Whether a party has said that it does not take that method.
    pub(super) fn refuses(&self, context: &Context, party: Party, method: Method) -> bool {
        self.allowed(context, party).is_some_and(|allowed| !allowed.contains(method))
    }

    /// Takes from a target refresh request, or the 2xx to one of ours, where the party is now and what it takes.
    pub(super) fn note_refresh(&mut self, context: &mut Context, party: Party, message: &Message) {
        self.dialog(context, party).refresh_target(message);
        let allowed = match party {
            Party::Caller => &mut context.caller.allowed,
            Party::Callee => &mut self.attempt.allowed,
        };
        *allowed = MethodSet::allowed_by(message).or(*allowed);
    }

    /// Whether an offer is open on a party's leg, and whose.
    pub(super) fn offer_state(&self, context: &Context, party: Party) -> OfferState {
        if let Acknowledgement::AwaitsAnswer { .. } = self.acknowledgement {
            return match party {
                Party::Caller => OfferState::Ours,
                Party::Callee => OfferState::Theirs,
            };
        }
        if let Some(exchange) = &self.exchange {
            return if exchange.asker() == party { OfferState::Theirs } else { OfferState::Ours };
        }
        let offered = self.own.iter().any(|own| own.party == party && own.makes_offer);
        if offered || context.inside.asks(party) {
            return OfferState::Ours;
        }
        OfferState::Idle
    }

    /// Whether a party may be sent an offer, or an INVITE: nothing of the kind is open, and it has acknowledged our
    /// last 2xx (RFC 3261 §14.1).
    pub(super) fn may_offer(&self, context: &Context, party: Party) -> bool {
        let of_first = party == Party::Caller && context.transaction.awaits_ack_of_success();
        let unacknowledged = of_first || context.inside.awaits_ack(party);
        self.offer_state(context, party) == OfferState::Idle
            && !unacknowledged
            && context.inside.has_room_for(Method::Invite)
    }

    /// Sends a party a request.
    pub(super) fn ask(
        &mut self,
        context: &mut Context,
        (party, method): (Party, Method),
        (lines, body): (&[u8], Option<&Body>),
        now: Mono,
    ) -> Serial {
        ask(context, (&mut self.callee, &self.attempt), (party, method), (lines, body), now)
    }

    /// Answers a party's INVITE or UPDATE with 200.
    pub(super) fn accept(&mut self, context: &mut Context, taken: &Taken, body: Option<&Body>, now: Now) {
        let party = taken.party;
        self.note_refresh(context, party, &taken.request);
        let lines = self.answer_lines(taken, now);
        let response = taken
            .respond(StatusCode::OK)
            .header(Name::Contact, contact_on(context, &self.attempt, party))
            .header(Name::Allow, allow(self.passes(context, party)));
        let message: Bytes = Body::close(body, with_lines(response, &lines));
        context.finish(taken, (StatusCode::OK, message), now.mono);
    }
}

/// Sends a party a request; the callee in that dialog, which that attempt has made.
pub(in super::super) fn ask(
    context: &mut Context,
    (callee, attempt): (&mut Dialog, &Attempt),
    (party, method): (Party, Method),
    (lines, body): (&[u8], Option<&Body>),
    now: Mono,
) -> Serial {
    let pass = passes(context, attempt, party);
    let contact = contact_on(context, attempt, party);
    let (dialog, local) = match party {
        Party::Caller => {
            let caller = &mut *context.caller;
            (&mut caller.dialog, &*caller.local)
        }
        Party::Callee => (callee, &**attempt.local()),
    };
    let serial = context.names.next();
    let flow = dialog.flow();
    let via = via(flow.transport, local, &context.names.branch(serial));
    let mut request = dialog.request(method, &via);
    if matches!(method, Method::Invite | Method::Update) {
        request = request.header(Name::Contact, contact).header(Name::Allow, allow(pass));
    }
    let message = Body::close(body, with_lines(request, lines));
    context.out.push(super::Action::Send { flow, message: message.clone(), after: None });
    let makes_offer = matches!(method, Method::Invite | Method::Update) && body.is_some();
    let resend = context.profile.parameters.resend;
    let account = attempt.account().filter(|_| party == Party::Callee);
    let retry = account.map(|gateway| Retry::new(gateway, message.clone()));
    let (name, kept) = ((serial, party), (message, makes_offer));
    let ours = match method {
        Method::Invite => Ours::invite(name, (dialog, local), kept, resend, now),
        method => Ours::other(name, (method, flow), kept, resend, now),
    };
    context.inside.keep(ours.with_retry(retry));
    serial
}

/// The methods of a party's requests that its gateway's policy passes.
pub(in super::super) fn passes(context: &Context, attempt: &Attempt, party: Party) -> MethodSet {
    match party {
        Party::Caller => context.caller.pass_methods,
        Party::Callee => attempt.candidate.pass_methods,
    }
}

/// The value of our Contact on a leg.
pub(in super::super) fn contact_on(context: &Context, attempt: &Attempt, party: Party) -> String {
    match party {
        Party::Caller => context.caller.contact(&context.names),
        Party::Callee => {
            let target = &attempt.current.head.target;
            contact(&context.names, target.flow.transport, &target.local)
        }
    }
}
