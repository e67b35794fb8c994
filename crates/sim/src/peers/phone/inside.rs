//! What a phone says and hears inside its dialog.

use super::habits::Replies;
use super::{
    Does, Open, Pending, Phone, PhoneAct, Stage, Whim, branch_of, described, is_refusal, session_of,
};
use crate::peers::text::{contact_uri, sdp_id};
use tandem_sip::{Message, Method, Name};

/// How long a phone stays where it has moved to, in ms.
const MOVES_MS: u64 = 60_000;

/// How often an offer that got 491 is made again.
const TRIES: u32 = 4;

impl Phone {
    pub(super) fn on_request(&mut self, request: &Message, does: &mut Does) {
        let (branch, method) = (branch_of(request), request.method());
        if method == Some(Method::Ack) {
            return self.on_ack(request, &branch, does);
        }
        if let Some(given) =
            self.given.iter().rev().find(|given| given.branch == branch && Some(given.method) == method)
        {
            return does.sends.push(given.message.clone());
        }
        let is_waiting = self.waiting.as_ref().is_some_and(|waiting| branch_of(waiting) == branch);
        let is_ringing = self.incoming.as_ref().is_some_and(|incoming| incoming.is_of(&branch));
        match method {
            Some(Method::Cancel) => self.on_cancel(request, does),
            Some(_) if is_waiting || is_ringing => {}
            Some(Method::Invite) if request.to_tag().is_none() => self.on_setup(request, does),
            Some(Method::PRack) => self.on_prack(request, does),
            Some(Method::Bye) => {
                self.stage = Stage::Done;
                self.given.iter_mut().for_each(|given| given.is_open = false);
                self.give(request, (200, ""), None, does);
            }
            Some(Method::Invite | Method::Update) => self.on_offer(request, does),
            Some(_) | None => {
                self.give(request, (200, self.allow()), None, does);
            }
        }
    }

    /// An INVITE or UPDATE inside the dialog.
    fn on_offer(&mut self, request: &Message, does: &mut Does) {
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        if self.stage == Stage::Done || cseq <= self.heard_cseq {
            let status = if self.stage == Stage::Done { 481 } else { 500 };
            self.give(request, (status, ""), None, does);
            return;
        }
        self.heard_cseq = cseq;
        let is_invite = request.method() == Some(Method::Invite);
        let has_offer = !request.body().is_empty();
        if !is_invite && !self.habits.timer.by_update {
            self.give(request, (405, self.allow()), None, does);
            return;
        }
        let status = match self.open {
            Open::None => None,
            _ if !is_invite && !has_offer => None,
            Open::Ours(_) | Open::InAnswer => Some((491, "")),
            Open::Theirs => Some((500, "Retry-After: 1\r\n")),
        };
        let refused = status.or_else(|| self.refusal(request));
        if let Some((status, lines)) = refused {
            self.give(request, (status, lines), None, does);
            return;
        }
        match self.habits.replies {
            Replies::Deaf if session_of(request).is_some() && self.random.chance(70) => {}
            Replies::TakesTime if self.waiting.is_none() => {
                if is_invite {
                    does.sends.push(self.respond(request, (180, ""), None));
                }
                if is_invite || has_offer {
                    self.open = Open::Theirs;
                }
                let wait = self.random.between(200, if is_invite { 9_000 } else { 3_000 });
                self.waiting = Some(request.clone());
                does.later.push((wait, PhoneAct::Reply));
            }
            _ => self.accept(request, does),
        }
    }

    /// How it refuses a request that it could take.
    fn refusal(&mut self, request: &Message) -> Option<(u16, &'static str)> {
        match self.habits.replies {
            Replies::Refuses => {
                let replies = [None, None, Some(488), Some(491), Some(500), Some(503), Some(408), Some(481)];
                let many = if self.random.chance(80) { 6 } else { replies.len() };
                replies[self.random.below(many as u64) as usize].map(|status| (status, ""))
            }
            Replies::WantsLonger => {
                let asked = session_of(request).map_or(u32::MAX, |(secs, _)| secs);
                // Ranges of what it wants, as text that lives long enough.
                let wanted = [(120, "Min-SE: 120\r\n"), (180, "Min-SE: 180\r\n"), (260, "Min-SE: 260\r\n")];
                let least = self.habits.timer.min_se_s;
                wanted.iter().find(|(secs, _)| asked < *secs && *secs <= least).map(|(_, line)| (422, *line))
            }
            Replies::Accepts | Replies::TakesTime | Replies::Deaf => None,
        }
    }

    pub(super) fn reply_at_last(&mut self, does: &mut Does) {
        let Some(request) = self.waiting.take() else { return };
        self.open = Open::None;
        if self.stage == Stage::Talking {
            self.accept(&request, does);
        } else {
            self.give(&request, (487, ""), None, does);
        }
    }

    /// 200.
    fn accept(&mut self, request: &Message, does: &mut Does) {
        self.target = contact_uri(request).unwrap_or_else(|| self.target.clone());
        let (lines, said) = self.session_lines(request);
        let is_invite = request.method() == Some(Method::Invite);
        let offer = sdp_id(request.body());
        let mut body = None;
        if offer.is_some() || is_invite {
            let is_new = self.now > self.moved_at + MOVES_MS && self.random.chance(30);
            if is_new {
                self.moved_at = self.now;
            }
            let local = self.media.local.filter(|_| !is_new).unwrap_or_else(|| self.describe());
            body = Some(described(local, false));
            self.changed_at = self.now;
            if let Some(offer) = offer {
                self.media = super::Media { local: Some(local), remote: Some(offer) };
            } else {
                self.open = Open::InAnswer;
                self.offered = Some(local);
            }
        }
        self.give(request, (200, &lines), body.as_deref(), does);
        if said.is_some() || self.session.is_some() {
            self.keep_session(said, does);
        }
    }

    fn on_ack(&mut self, ack: &Message, branch: &[u8], does: &mut Does) {
        let cseq = ack.cseq().map_or(0, |cseq| cseq.number);
        let mut is_first = false;
        for given in
            self.given.iter_mut().filter(|given| given.method == Method::Invite && given.rseq.is_none())
        {
            let is_meant = if given.is_success { given.cseq == cseq } else { given.branch == branch };
            if is_meant {
                is_first |= given.is_open && given.is_success;
                given.is_open = false;
            }
        }
        if !is_first {
            return;
        }
        self.changed_at = self.now;
        if self.open == Open::InAnswer {
            self.open = Open::None;
            match (sdp_id(ack.body()), is_refusal(ack)) {
                (Some(answer), false) => {
                    self.media.remote = Some(answer);
                    self.media.local = self.offered.take().or(self.media.local);
                }
                // The offer is withdrawn, or the call ends.
                (Some(_), true) | (None, _) => self.in_doubt = true,
            }
        }
        if self.stage == Stage::Early {
            self.begin_talk(does);
        }
    }

    /// Does something of its own accord.
    pub(super) fn follow(&mut self, whim: Whim, tries: u32, does: &mut Does) {
        if self.stage != Stage::Talking {
            return;
        }
        match whim {
            Whim::HangUp => self.hang_up(does),
            Whim::Vanish => self.is_gone = true,
            Whim::Options => {
                self.ask(Method::Options, "", None, None, does);
            }
            Whim::Offer { by_update, hold } => {
                if self.may_offer() {
                    let method = if by_update { Method::Update } else { Method::Invite };
                    let offer = self.describe();
                    self.offer(method, Some(&described(offer, hold)), (whim, tries), does);
                }
            }
            Whim::Ask => {
                if self.may_offer() {
                    self.offer(Method::Invite, None, (whim, tries), does);
                }
            }
            Whim::Shorten => {
                let lines = format!("{}Session-Expires: 60\r\n", self.contact());
                self.ask(Method::Update, &lines, None, Some((whim, TRIES)), does);
            }
            Whim::OfferTwice => {
                if self.may_offer() {
                    // Whose answer comes last need not be the one that counts.
                    self.in_doubt = true;
                    let (first, second) = (self.describe(), self.describe());
                    self.offer(Method::Invite, Some(&described(first, false)), (whim, TRIES), does);
                    let lines = self.request_lines();
                    self.ask(
                        Method::Update,
                        &lines,
                        Some(&described(second, false)),
                        Some((whim, TRIES)),
                        does,
                    );
                }
            }
        }
    }

    fn may_offer(&self) -> bool {
        let invites = self.requests.iter().any(|request| request.method != Method::Options);
        self.open == Open::None && !invites && self.given.iter().all(|given| !given.is_open)
    }

    fn offer(&mut self, method: Method, body: Option<&str>, why: (Whim, u32), does: &mut Does) {
        let lines = self.request_lines();
        let cseq = self.ask(method, &lines, body, Some(why), does);
        self.open = Open::Ours(cseq);
        self.changed_at = self.now;
    }

    /// What an INVITE or UPDATE of its own says besides the description.
    fn request_lines(&self) -> String {
        let mut lines = format!("{}{}", self.contact(), self.allow());
        if self.habits.timer.supported {
            lines.push_str("Supported: timer\r\n");
        }
        if let Some(session) = self.session {
            let refresher = if session.is_ours { "uac" } else { "uas" };
            lines.push_str(&format!("Session-Expires: {};refresher={refresher}\r\n", session.interval_s));
        }
        lines
    }

    /// Its own refresh is due, or the peer's is missing.
    pub(super) fn session_due(&mut self, turn: u32, does: &mut Does) {
        if turn != self.session_turn || self.stage != Stage::Talking {
            return;
        }
        let Some(session) = self.session else { return };
        if !session.is_ours {
            // RFC 4028 §10.
            return self.hang_up(does);
        }
        let lines = self.request_lines();
        if self.habits.timer.by_update {
            self.ask(Method::Update, &lines, None, None, does);
        } else if self.may_offer() {
            let body = self.media.local.map(|id| described(id, false));
            let cseq = self.ask(Method::Invite, &lines, body.as_deref(), None, does);
            self.open = Open::Ours(cseq);
        } else {
            does.later.push((2_500, PhoneAct::Session(turn)));
        }
    }

    /// The final response to a request of its own.
    pub(super) fn on_final(&mut self, request: &Pending, message: &Message, status: u16, does: &mut Does) {
        if self.open == Open::Ours(request.cseq) {
            self.open = Open::None;
        }
        self.changed_at = self.now;
        let is_success = (200..300).contains(&status);
        match request.method {
            Method::Invite if is_success => {
                let said = sdp_id(message.body());
                let mut answer = None;
                match (request.offer, said) {
                    (Some(offer), Some(said)) => {
                        self.media = super::Media { local: Some(offer), remote: Some(said) };
                    }
                    (None, Some(said)) => {
                        let local = self.media.local.unwrap_or_else(|| self.describe());
                        self.media = super::Media { local: Some(local), remote: Some(said) };
                        answer = Some(described(local, false));
                    }
                    (_, None) => self.complaint = Some("a 2xx to INVITE without a description".to_owned()),
                }
                self.acknowledge(request.cseq, answer.as_deref(), does);
            }
            Method::Invite => {
                let branch = self.branch(Method::Invite, request.cseq);
                let to = (self.target.as_str(), self.other.as_str());
                does.sends.push(self.print(("ACK", request.cseq, &branch), to, "", None));
            }
            Method::Update if is_success => match (request.offer, sdp_id(message.body())) {
                (Some(offer), Some(said)) => {
                    self.media = super::Media { local: Some(offer), remote: Some(said) }
                }
                (Some(_), None) => self.complaint = Some("a 2xx to an offer without an answer".to_owned()),
                (None, _) => {}
            },
            _ => return,
        }
        if is_success {
            self.target = contact_uri(message).unwrap_or_else(|| self.target.clone());
            let said = session_of(message).map(|(interval, by_client)| (interval, by_client != Some(false)));
            return self.keep_session(said, does);
        }
        self.on_refused(request, message, status, does);
    }

    fn on_refused(&mut self, request: &Pending, message: &Message, status: u16, does: &mut Does) {
        match status {
            408 | 481 => self.hang_up(does),
            491 | 500 if request.tries < TRIES => {
                // The owner of the Call-ID waits longer (RFC 3261 §14.1).
                let (low, high) = if self.calling.is_some() { (2_100, 4_000) } else { (0, 2_000) };
                let wait = self.random.between(low, high);
                let again = match request.why {
                    Some(whim) => PhoneAct::Again { whim, tries: request.tries + 1 },
                    None => PhoneAct::Session(self.session_turn),
                };
                does.later.push((wait + if status == 500 { 10_000 } else { 0 }, again));
            }
            422 => {
                let min_se = message.number(Name::MinSe).and_then(Result::ok).unwrap_or(90);
                if let Some(session) = &mut self.session {
                    session.interval_s = session.interval_s.max(min_se);
                }
                if request.why.is_none() {
                    does.later.push((50, PhoneAct::Session(self.session_turn)));
                }
            }
            _ => {}
        }
    }
}
