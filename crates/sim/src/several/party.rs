//! The two ends of a call: user agents that follow target refreshes, try the next node as RFC 3263 §4.3 says, and remember what
//! they were told.

use crate::peers::{RequestText, response, sdp};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tandem_sip::{Message, Method, Uri};

/// After how long without any response a caller tries the next node, in ms.
const NEXT_NODE: u64 = 4_000;

/// After how long without more than a 100 it does.
const NO_RINGING: u64 = 15_000;

/// After how long without an answer it gives the call up.
const NO_ANSWER: u64 = 60_000;

/// How much later than another a datagram may arrive that was sent before it.
const REORDERED: u64 = 100;

/// How often a caller tries.
const TRIES: usize = 10;

/// What a party does next, unless something else happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The caller begins, or tries another node.
    Invite,
    /// It sends its INVITE again: how often it has.
    InviteAgain(u32),
    /// It gives an attempt up that has not come as far as ringing.
    GiveUp(usize),
    /// It gives the call up.
    HearNothing(usize),
    /// The callee rings.
    Ring,
    /// It answers.
    Answer,
    /// A final response that was not acknowledged is sent again.
    AnswerAgain(u32),
    /// A 200 to a re-INVITE that was not acknowledged is sent again.
    AcceptAgain(u32),
    /// Hangs up.
    HangUp,
    /// Sends its BYE again.
    ByeAgain(u32),
    /// Ends an attempt again that nobody waits for.
    EndOrphan(u32),
}

/// How a party stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing has happened yet.
    Idle,
    /// There is no answer yet.
    Early,
    /// In conversation.
    Answered,
    /// It has sent a BYE.
    HangingUp,
    /// Its BYE was answered so.
    HungUp(u16),
    /// The switch has ended it.
    Ended,
    /// It came to nothing.
    Failed(u16),
}

/// What a party sends and does later.
#[derive(Default)]
pub(super) struct Doings {
    pub(super) sends: Vec<(SocketAddr, Bytes)>,
    /// After so many milliseconds; only what belongs to this turn of the party counts.
    pub(super) later: Vec<(u64, Then)>,
    /// What it has to complain of.
    pub(super) fault: Option<String>,
}

/// One end of a call, or one attempt at it.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub(super) number: usize,
    pub(super) standing: Standing,
    /// Which attempt at the call it is; the callee's Call-ID is the switch's.
    pub(super) call_id: String,
    address: SocketAddr,
    own_tag: String,
    pub(super) their_tag: String,
    /// Where requests go, and under which URI.
    target: (SocketAddr, String),
    /// Our last CSeq, and theirs.
    cseq: u32,
    their_cseq: u32,
    their_cseq_at: u64,
    /// The switch's INVITE that is not answered, or the last one inside the dialog.
    invite: Option<Message>,
    /// The last final response to an INVITE, until its ACK.
    unacknowledged: Option<(SocketAddr, Bytes)>,
    /// The last ACK, for copies of a 2xx.
    ack: Option<Bytes>,
    bye: Option<u32>,
    /// What ends attempts that nobody waits for, by Call-ID.
    orphans: BTreeMap<String, (SocketAddr, Bytes)>,
    /// Whether its answer was.
    is_acknowledged: bool,
    takes_update: bool,
    /// How many nodes it has tried.
    pub(super) tries: usize,
    heard: bool,
    rings: bool,
    started: u64,
    /// Attempts that were given up, and whose answers are ended.
    pub(super) hung_up: bool,
    pub(super) answered_at: Option<u64>,
    /// When the switch ended it.
    pub(super) ended_at: Option<u64>,
    /// When it was told last where the call is.
    pub(super) told_at: Option<u64>,
}

impl Party {
    pub(super) fn caller(number: usize) -> Self {
        let address = SocketAddr::from(([198, 51, 100, 1], 20_000 + number as u16));
        Self::new(number, true, address, String::new())
    }

    pub(super) fn callee(number: usize, address: SocketAddr, invite: &Message) -> Self {
        let mut party = Self::new(number, false, address, text(invite.call_id()));
        party.their_tag = text(invite.from().ok().and_then(|from| from.tag()));
        party
    }

    fn new(number: usize, is_caller: bool, address: SocketAddr, call_id: String) -> Self {
        Self {
            number,
            standing: Standing::Idle,
            call_id,
            address,
            own_tag: format!("{}{number}", if is_caller { "a" } else { "b" }),
            their_tag: String::new(),
            target: (address, String::new()),
            cseq: 1,
            their_cseq: 0,
            their_cseq_at: 0,
            invite: None,
            unacknowledged: None,
            ack: None,
            bye: None,
            orphans: BTreeMap::new(),
            is_acknowledged: is_caller,
            takes_update: number.is_multiple_of(2),
            tries: 0,
            heard: false,
            rings: false,
            started: 0,
            hung_up: false,
            answered_at: None,
            ended_at: None,
            told_at: None,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does what it was going to do. `node` is where a caller's next attempt goes.
    pub(super) fn act(&mut self, then: Then, node: SocketAddr, now: u64) -> Doings {
        let mut doings = Doings::default();
        match (then, self.standing) {
            (Then::Invite, Standing::Idle | Standing::Early) if self.tries < TRIES => {
                self.invite_by(node, now, &mut doings);
            }
            (Then::Invite, _) => self.standing = Standing::Failed(408),
            (Then::InviteAgain(sent), Standing::Early) if !self.heard => {
                if now.saturating_sub(self.started) >= NEXT_NODE {
                    self.later(0, Then::Invite, &mut doings);
                } else {
                    doings.sends.push((self.target.0, self.invite_text()));
                    self.later(500 << (sent + 1), Then::InviteAgain(sent + 1), &mut doings);
                }
            }
            (Then::GiveUp(tries), Standing::Early) if tries == self.tries && !self.rings => {
                self.call_id.push_str(" is over");
                self.later(0, Then::Invite, &mut doings);
            }
            // Nobody lets it ring for ever.
            (Then::HearNothing(tries), Standing::Early) if tries == self.tries => {
                self.standing = Standing::Failed(408);
            }
            (Then::Ring, Standing::Early) => self.provisional(180, &mut doings),
            (Then::Answer, Standing::Early) => self.answer(now, &mut doings),
            (Then::AnswerAgain(sent), _) => {
                if let Some((to, bytes)) = self.unacknowledged.clone().filter(|_| sent < 10) {
                    doings.sends.push((to, bytes));
                    self.later(wait(sent + 1), Then::AnswerAgain(sent + 1), &mut doings);
                } else if self.standing == Standing::Answered && !self.is_acknowledged {
                    // Nobody has heard it (RFC 3261 §13.3.1.4).
                    self.standing = Standing::Failed(408);
                }
            }
            (Then::AcceptAgain(sent), Standing::Answered | Standing::HangingUp) => {
                if let Some((to, bytes)) = self.unacknowledged.clone().filter(|_| sent < 10) {
                    doings.sends.push((to, bytes));
                    self.later(wait(sent + 1), Then::AcceptAgain(sent + 1), &mut doings);
                }
            }
            (Then::HangUp, Standing::Answered) if self.is_acknowledged => {
                (self.standing, self.hung_up) = (Standing::HangingUp, true);
                self.cseq += 1;
                self.bye = Some(self.cseq);
                self.send_bye(&mut doings);
                self.later(500, Then::ByeAgain(0), &mut doings);
            }
            (Then::HangUp, Standing::Answered) => self.later(1_000, Then::HangUp, &mut doings),
            (Then::EndOrphan(sent), _) => {
                doings.sends.extend(self.orphans.values().cloned());
                if !self.orphans.is_empty() && sent < 10 {
                    self.later(wait(sent + 1), Then::EndOrphan(sent + 1), &mut doings);
                }
            }
            // A user who hears nothing presses again, and by now it may be known where the call is.
            (Then::ByeAgain(sent), Standing::HangingUp) => {
                self.send_bye(&mut doings);
                self.later(wait(sent + 1), Then::ByeAgain(sent + 1), &mut doings);
            }
            _ => {}
        }
        doings
    }

    fn later(&self, after: u64, then: Then, doings: &mut Doings) {
        doings.later.push((after, then));
    }

    fn invite_by(&mut self, node: SocketAddr, now: u64, doings: &mut Doings) {
        self.tries += 1;
        self.standing = Standing::Early;
        self.call_id = format!("c{}.{}", self.number, self.tries);
        self.target = (node, format!("sip:44{}@{node}", self.number));
        (self.heard, self.rings, self.started) = (false, false, now);
        doings.sends.push((node, self.invite_text()));
        self.later(500, Then::InviteAgain(0), doings);
        self.later(NO_RINGING, Then::GiveUp(self.tries), doings);
        self.later(NO_ANSWER, Then::HearNothing(self.tries), doings);
        // Each attempt is a dialog of its own.
        (self.their_cseq, self.their_cseq_at) = (0, 0);
    }

    fn invite_text(&self) -> Bytes {
        let body = sdp(self.number as u32);
        self.request(("INVITE", 1), "", Some(&body))
    }

    /// A request to the target: an INVITE before the dialog, or one inside it.
    fn request(&self, (method, cseq): (&str, u32), to_tag: &str, body: Option<&str>) -> Bytes {
        let own = format!("<sip:{}@{}>;tag={}", self.number, self.address, self.own_tag);
        let their = match to_tag {
            "" => format!("<sip:44{}@switch>", self.number),
            tag => format!("<sip:44{}@switch>;tag={tag}", self.number),
        };
        let allow = match self.takes_update {
            true => "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE",
            false => "INVITE, ACK, BYE, CANCEL, OPTIONS",
        };
        let branch =
            format!(";branch=z9hG4bK{}.{}.{method}{cseq}", self.own_tag, self.call_id.replace('@', "."));
        let lines = format!(
            "Contact: <sip:{}@{}>\r\nMax-Forwards: 70\r\nAllow: {allow}\r\n",
            self.number, self.address
        );
        RequestText {
            method,
            target: &self.target.1,
            via_parameters: &branch,
            address: self.address,
            from: &own,
            to: &their,
            call_id: &self.call_id,
            cseq: (cseq, method),
            lines: &lines,
            body,
        }
        .print()
    }

    fn send_bye(&self, doings: &mut Doings) {
        let Some(cseq) = self.bye else { return };
        doings.sends.push((self.target.0, self.request(("BYE", cseq), &self.their_tag, None)));
    }

    /// Takes a message of the switch.
    pub(super) fn hear(&mut self, from: SocketAddr, message: &Message, now: u64) -> Doings {
        let mut doings = Doings::default();
        match message.is_request() {
            true => self.on_request(from, message, now, &mut doings),
            false => self.on_response(from, message, now, &mut doings),
        }
        doings
    }

    fn on_response(&mut self, from: SocketAddr, message: &Message, now: u64, doings: &mut Doings) {
        let status = message.status().map_or(0, |status| status.code());
        let Ok(cseq) = message.cseq() else { return };
        let call_id = text(message.call_id());
        if cseq.method == Some(Method::Bye) {
            if self.orphans.remove(&call_id).is_some() {
                return;
            }
            if Some(cseq.number) == self.bye && self.standing == Standing::HangingUp && status >= 200 {
                self.standing = Standing::HungUp(status);
            }
            return;
        }
        if cseq.method != Some(Method::Invite) {
            return;
        }
        let is_current = call_id == self.call_id;
        match status {
            100..200 => {
                self.heard |= is_current;
                self.rings |= is_current && status > 100;
            }
            200..300 => self.on_answer(message, (is_current, &call_id), now, doings),
            _ => {
                let mut attempt = self.clone();
                attempt.call_id = call_id;
                let to_tag = text(message.to_tag());
                doings.sends.push((from, attempt.request(("ACK", 1), &to_tag, None)));
                if is_current && self.standing == Standing::Early {
                    self.heard = true;
                    self.call_id.push_str(" is over");
                    match status {
                        // The next node may do better.
                        500 | 503 | 408 => self.later(200, Then::Invite, doings),
                        status => self.standing = Standing::Failed(status),
                    }
                }
            }
        }
    }

    fn on_answer(
        &mut self,
        message: &Message,
        (is_current, call_id): (bool, &str),
        now: u64,
        doings: &mut Doings,
    ) {
        let target = contact(message).unwrap_or_else(|| self.target.clone());
        let tag = text(message.to_tag());
        if is_current && self.standing == Standing::Early {
            (self.standing, self.answered_at) = (Standing::Answered, Some(now));
            (self.target, self.their_tag, self.heard) = (target, tag, true);
            let ack = self.request(("ACK", 1), &self.their_tag, None);
            doings.sends.push((self.target.0, ack.clone()));
            self.ack = Some(ack);
        } else if is_current && tag == self.their_tag {
            doings.sends.extend(self.ack.clone().map(|ack| (target.0, ack)));
        } else {
            // Nobody waits for it any more.
            let mut attempt = self.clone();
            (attempt.call_id, attempt.target) = (call_id.to_owned(), target);
            doings.sends.push((attempt.target.0, attempt.request(("ACK", 1), &tag, None)));
            let bye = (attempt.target.0, attempt.request(("BYE", 2), &tag, None));
            doings.sends.push(bye.clone());
            if self.orphans.insert(attempt.call_id, bye).is_none() {
                self.later(500, Then::EndOrphan(0), doings);
            }
        }
    }

    fn on_request(&mut self, from: SocketAddr, message: &Message, now: u64, doings: &mut Doings) {
        let Ok(cseq) = message.cseq() else { return };
        let is_inside = message.to_tag().is_some();
        match message.method() {
            Some(Method::Ack) => {
                (self.unacknowledged, self.is_acknowledged) = (None, true);
                return;
            }
            Some(Method::Cancel) => {
                self.reply(from, message, 200, None, doings);
                if self.standing == Standing::Early
                    && let Some(invite) = self.invite.take()
                {
                    self.standing = Standing::Failed(487);
                    let bytes = response(&invite, 487, Some(&self.own_tag), None, None);
                    doings.sends.push((from, bytes.clone()));
                    self.unacknowledged = Some((from, bytes));
                    self.later(500, Then::AnswerAgain(0), doings);
                }
                return;
            }
            Some(Method::Invite) if !is_inside => return self.on_invite(from, message, cseq.number, doings),
            _ => {}
        }
        if is_inside && message.to_tag() != Some(self.own_tag.as_bytes())
            || text(message.call_id()) != self.call_id
        {
            return self.reply(from, message, 481, None, doings);
        }
        if matches!(self.standing, Standing::Ended | Standing::HungUp(_) | Standing::Failed(_)) {
            // What it has answered it answers again; nothing else is known of the dialog.
            let is_copy = message.method() == Some(Method::Bye) && cseq.number == self.their_cseq;
            return self.reply(from, message, if is_copy { 200 } else { 481 }, None, doings);
        }
        if cseq.number < self.their_cseq && now > self.their_cseq_at + REORDERED {
            doings.fault = Some(format!("CSeq went back from {} to {}", self.their_cseq, cseq.number));
        }
        if cseq.number > self.their_cseq {
            (self.their_cseq, self.their_cseq_at) = (cseq.number, now);
        }
        match message.method() {
            Some(Method::Bye) => {
                self.reply(from, message, 200, None, doings);
                if matches!(self.standing, Standing::Answered | Standing::HangingUp | Standing::Early) {
                    self.standing = Standing::Ended;
                    self.ended_at = Some(now);
                }
            }
            Some(Method::Invite) => {
                self.follow(message, now);
                let body = sdp(self.number as u32);
                let address = self.address;
                let bytes = response(message, 200, None, Some(address), Some(&body));
                doings.sends.push((from, bytes.clone()));
                if self.unacknowledged.replace((from, bytes)).is_none() {
                    self.later(500, Then::AcceptAgain(0), doings);
                }
            }
            Some(_) | None => {
                self.follow(message, now);
                self.reply(from, message, 200, Some(self.address), doings);
            }
        }
    }

    fn follow(&mut self, message: &Message, now: u64) {
        if let Some(target) = contact(message) {
            self.target = target;
            self.told_at = Some(now);
        }
    }

    fn on_invite(&mut self, from: SocketAddr, message: &Message, cseq: u32, doings: &mut Doings) {
        match self.standing {
            Standing::Idle => {
                self.standing = Standing::Early;
                self.their_cseq = self.their_cseq.max(cseq);
                self.target = contact(message).unwrap_or_else(|| (from, format!("sip:{from}")));
                self.invite = Some(message.clone());
                self.reply(from, message, 100, None, doings);
            }
            Standing::Early => self.reply(from, message, 100, None, doings),
            _ => doings.sends.extend(self.unacknowledged.clone()),
        }
    }

    fn provisional(&self, status: u16, doings: &mut Doings) {
        if let Some(invite) = &self.invite {
            let to = via(invite, self.target.0);
            doings.sends.push((to, response(invite, status, Some(&self.own_tag), Some(self.address), None)));
        }
    }

    fn answer(&mut self, now: u64, doings: &mut Doings) {
        let Some(invite) = self.invite.take() else { return };
        (self.standing, self.answered_at) = (Standing::Answered, Some(now));
        let body = sdp(1_000 + self.number as u32);
        let to = via(&invite, self.target.0);
        let bytes = response(&invite, 200, Some(&self.own_tag), Some(self.address), Some(&body));
        doings.sends.push((to, bytes.clone()));
        self.unacknowledged = Some((to, bytes));
        self.later(500, Then::AnswerAgain(0), doings);
    }

    fn reply(
        &self,
        from: SocketAddr,
        request: &Message,
        status: u16,
        contact: Option<SocketAddr>,
        doings: &mut Doings,
    ) {
        let tag = request.to_tag().is_none().then_some(&*self.own_tag);
        doings.sends.push((from, response(request, status, tag, contact, None)));
    }
}

/// The wait before a final response or a BYE is sent again.
fn wait(sent: u32) -> u64 {
    (500 << sent.min(3)).min(4_000)
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// Where a message says its sender is.
fn contact(message: &Message) -> Option<(SocketAddr, String)> {
    let uri = text(Some(message.contact()?.ok()?.uri));
    let address = Uri::parse(uri.as_bytes()).ok()?.socket_addr(5060)?;
    Some((address, uri))
}

/// Where responses to a request go.
fn via(request: &Message, otherwise: SocketAddr) -> SocketAddr {
    request.top_via().map_or(otherwise, |via| via.response_address(otherwise))
}
