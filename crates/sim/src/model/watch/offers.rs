//! Offers and answers inside the dialogs: one is open at a time, each gets one answer, and each description goes to the
//! other party only.

use super::{CALLEE, CALLER, Stage, Watch, branch_of, cseq_of, description, is_refusal};
use crate::coverage::Talk;
use crate::violation::Rule;
use bytes::Bytes;
use tandem_sip::{Message, Method, Name};

/// The most INVITEs inside the dialogs that stand at a time.
const INVITES_MAX: usize = 8;

/// How long a request of ours waits for an answer: 64·T1, by the resends that conversations are simulated with.
const WINDOW_MS: u64 = 32_000;

/// An INVITE that rings is given up after three minutes, and its CANCEL takes as long as anything.
const RINGING_MS: u64 = 180_000 + 2 * WINDOW_MS;

/// An INVITE or UPDATE of ours.
#[derive(Debug)]
pub(super) struct Ours {
    method: Method,
    cseq: u32,
    branch: Bytes,
    has_offer: bool,
    /// It asks a party without a session timer whether it is there.
    is_probe: bool,
    /// It passes on what the other party has said.
    is_passed: bool,
    answered: Option<u16>,
    is_acknowledged: bool,
    sent_at: u64,
    until: u64,
}

/// An INVITE or UPDATE of a party's.
#[derive(Debug)]
pub(super) struct Theirs {
    method: Method,
    cseq: u32,
    has_offer: bool,
    answered: Option<u16>,
    is_acknowledged: bool,
}

impl Ours {
    pub(super) fn is_open(&self, now: u64) -> bool {
        match self.answered {
            None => now < self.until,
            Some(200..=299) => self.method == Method::Invite && !self.is_acknowledged,
            Some(_) => false,
        }
    }

    /// Whether a description is on its way in it, or will be.
    fn bears_offer(&self) -> bool {
        self.method == Method::Invite || self.has_offer
    }

    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }
}

impl Theirs {
    pub(super) fn is_open(&self) -> bool {
        match self.answered {
            None => true,
            Some(200..=299) => self.method == Method::Invite && !self.is_acknowledged,
            Some(_) => false,
        }
    }

    fn bears_offer(&self) -> bool {
        self.method == Method::Invite || self.has_offer
    }

    /// Whether it never got what it has to get. Of other requests than INVITE the client knows by itself that they have
    /// timed out (RFC 4320).
    pub(super) fn is_left_open(&self) -> bool {
        self.method == Method::Invite && self.answered.is_none()
    }
}

impl Watch {
    /// A party's INVITE or UPDATE.
    pub(super) fn on_their_offer(&mut self, leg: usize, message: &Message) {
        let (Some(method), cseq) = (message.method(), cseq_of(message)) else { return };
        if self.legs[leg].theirs.iter().any(|known| (known.method, known.cseq) == (method, cseq)) {
            return;
        }
        let has_offer = description(message).is_some();
        self.legs[leg].theirs.push(Theirs {
            method,
            cseq,
            has_offer,
            answered: None,
            is_acknowledged: false,
        });
        self.row(match (leg, method, has_offer) {
            (CALLER, Method::Invite, true) => Talk::CallerInvites,
            (CALLER, Method::Invite, false) => Talk::CallerAsks,
            (CALLER, _, true) => Talk::CallerUpdates,
            (_, Method::Invite, true) => Talk::CalleeInvites,
            (_, Method::Invite, false) => Talk::CalleeAsks,
            (_, _, true) => Talk::CalleeUpdates,
            (_, _, false) => Talk::PartyRefreshes,
        });
    }

    pub(super) fn on_their_ack(&mut self, leg: usize, message: &Message) {
        let cseq = cseq_of(message);
        if leg == CALLER && self.setup.is_cseq(cseq) {
            self.setup.is_acknowledged = true;
        }
        let invite = self.legs[leg]
            .theirs
            .iter_mut()
            .find(|known| (known.method, known.cseq) == (Method::Invite, cseq));
        if let Some(invite) = invite {
            invite.is_acknowledged = true;
        }
    }

    /// What we answer an INVITE or UPDATE with.
    pub(super) fn on_our_answer(&mut self, leg: usize, message: &Message, status: u16) {
        let (method, cseq) = (message.method(), cseq_of(message));
        let theirs = &mut self.legs[leg].theirs;
        let known = theirs.iter_mut().find(|known| (Some(known.method), known.cseq) == (method, cseq));
        let Some(known) = known.filter(|_| status >= 200) else { return };
        if let Some(before) = known.answered.replace(status) {
            if before != status {
                let detail = format!("leg {leg}: {method:?} {cseq} is answered with {before} and {status}");
                self.fail(Rule::Offers, detail);
            }
            return;
        }
        let (has_offer, is_invite) = (known.has_offer, known.method == Method::Invite);
        // A lost owner may have accepted what its heir refuses a copy of.
        self.in_doubt |= self.panicked && status >= 300;
        match status {
            200..=299 => {
                if (has_offer || is_invite) && description(message).is_none() {
                    self.fail(
                        Rule::Offers,
                        format!("leg {leg}: a 2xx without a description to {method:?} {cseq}"),
                    );
                }
                self.row(if has_offer { Talk::OfferAnswered } else { Talk::RefreshAnswered });
                self.begin_session(leg, message, false);
            }
            491 => self.row(Talk::Glare),
            500 if message.first(Name::RetryAfter).is_some() => self.row(Talk::TooSoon),
            422 => self.row(Talk::WeWantLonger),
            487 => self.row(Talk::BrokenOff),
            _ => self.row(Talk::OfferRefused),
        }
    }

    /// We send an INVITE or UPDATE inside a dialog.
    pub(super) fn on_our_offer(&mut self, leg: usize, message: &Message) {
        let (Some(method), branch) = (message.method(), branch_of(message)) else { return };
        let now = self.now;
        if self.legs[leg].ours.iter().any(|known| known.branch == branch) {
            return;
        }
        let has_offer = description(message).is_some();
        let bears_offer = method == Method::Invite || has_offer;
        // An heir takes one by one what has come since the panic.
        if bears_offer && self.restored_at != now {
            let known = &self.legs[leg];
            let ours = known.ours.iter().find(|ours| ours.bears_offer() && ours.is_open(now));
            let theirs = known.theirs.iter().find(|theirs| theirs.bears_offer() && theirs.is_open());
            if let Some(detail) =
                ours.map(|ours| format!("{ours:?}")).or(theirs.map(|theirs| format!("{theirs:?}")))
            {
                self.fail(
                    Rule::Offers,
                    format!("leg {leg}: an offer in {method} while one is open: {detail}"),
                );
            }
        }
        let other = if leg == CALLER { CALLEE } else { CALLER };
        let is_passed = self.legs[other].theirs.iter().any(|theirs| theirs.bears_offer() && theirs.is_open());
        let is_untimed = self.legs[leg].session.is_none();
        let is_probe = is_untimed && !is_passed && method == Method::Invite;
        if !is_passed {
            self.row(match (is_probe, method) {
                (true, _) => Talk::Probe,
                (false, Method::Invite) => Talk::RefreshByInvite,
                (false, _) => Talk::RefreshByUpdate,
            });
        }
        let cseq = cseq_of(message);
        self.legs[leg].ours.push(Ours {
            method,
            cseq,
            branch,
            has_offer,
            is_probe,
            is_passed,
            answered: None,
            is_acknowledged: false,
            sent_at: now,
            until: now + WINDOW_MS,
        });
        self.asks_to_refresh(leg, message);
    }

    /// An INVITE of ours inside a dialog is cancelled: it has no longer than any other request.
    pub(super) fn cancels_inside(&mut self, branch: &Bytes) {
        let until = self.now + WINDOW_MS;
        let ours = self.legs.iter_mut().flat_map(|leg| &mut leg.ours);
        ours.filter(|ours| ours.branch == *branch).for_each(|ours| ours.until = ours.until.min(until));
    }

    pub(super) fn on_our_ack(&mut self, leg: usize, message: &Message) {
        let cseq = cseq_of(message);
        let invite =
            self.legs[leg].ours.iter_mut().find(|known| (known.method, known.cseq) == (Method::Invite, cseq));
        if let Some(invite) = invite {
            invite.is_acknowledged = true;
        }
    }

    /// Whether so many INVITEs have gone out that no more are sent for a while.
    pub(super) fn has_no_room(&self) -> bool {
        let is_recent =
            |ours: &&Ours| ours.method == Method::Invite && self.now < ours.sent_at + 2 * WINDOW_MS;
        self.legs.iter().flat_map(|leg| &leg.ours).filter(is_recent).count() >= INVITES_MAX
    }

    /// The response to a request of ours inside a dialog.
    pub(super) fn on_inside_response(&mut self, leg: usize, message: &Message, status: u16) {
        let (method, cseq) = (message.method(), cseq_of(message));
        let now = self.now;
        let ours = &mut self.legs[leg].ours;
        let known = ours.iter_mut().find(|known| (Some(known.method), known.cseq) == (method, cseq));
        let Some(known) = known.filter(|known| known.answered.is_none() && known.until > now) else { return };
        if status < 200 {
            if method == Some(Method::Invite) {
                known.until = now + RINGING_MS;
            }
            return;
        }
        known.answered = Some(status);
        let is_told = known.has_offer && !known.is_passed;
        match status {
            200..=299 if self.stage == Stage::Talking => self.begin_session(leg, message, true),
            408 | 481 => self.is_gone(leg),
            405 | 501 => self.row(Talk::UpdateRefused),
            422 => self.row(Talk::TheyWantLonger),
            491 => self.row(Talk::RefreshCrossed),
            300.. => self.in_doubt |= is_told || self.panicked,
            _ => {}
        }
    }

    /// A description goes to the party that it was not written by.
    pub(super) fn check_description(&mut self, leg: Option<usize>, message: &Message) {
        let Some(said) = description(message).filter(|_| !is_refusal(message)) else { return };
        let writer = self.setup.writer_of(said);
        let caller = self.legs[CALLER].call_id.clone();
        let is_right = match (leg, &writer) {
            (_, None) => false,
            (Some(CALLER), Some(writer)) if self.stage == Stage::Talking => {
                *writer == self.legs[CALLEE].call_id
            }
            (Some(CALLER), Some(writer)) => *writer != caller,
            (_, Some(writer)) => *writer == caller,
        };
        if !is_right {
            self.fail(
                Rule::Offers,
                format!("leg {leg:?} is sent description {said}, which is of {writer:?}"),
            );
        }
    }
}
