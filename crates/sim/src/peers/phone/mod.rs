//! A phone: one end of a call that talks. It keeps session timers, reliable provisional responses, offers and answers as
//! its habits let it, on either side of the switch.

mod callee;
mod caller;
mod habits;
mod inside;

pub(crate) use callee::ACCOUNT;
pub(crate) use habits::Habits;
use habits::Whim;

use super::text::{RequestText, sdp, sdp_id, text};
use super::{Doings, SWITCH, peer_wait};
use crate::random::Random;
use bytes::Bytes;
use callee::Incoming;
use caller::Calling;
use std::net::SocketAddr;
use tandem_sip::{Message, Method, Name, ResponseHead, StatusCode};

/// What a phone does by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PhoneAct {
    Start,
    /// A request of its own again.
    Resend {
        cseq: u32,
        method: Method,
        sent: u32,
    },
    /// A response of its own again: the one with that number.
    AnswerAgain {
        answer: usize,
        sent: u32,
    },
    /// The next provisional response, or the answer.
    Ring,
    GiveUp,
    Whim(Whim),
    /// An offer that was put off.
    Again {
        whim: Whim,
        tries: u32,
    },
    /// Its own refresh is due, or the peer's is missing; unless the session has been refreshed since.
    Session(u32),
    /// The answer to the request that waits.
    Reply,
}

impl PhoneAct {
    /// Whether it may end the call.
    pub(crate) fn ends_call(self) -> bool {
        matches!(self, PhoneAct::Whim(Whim::HangUp))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Early,
    Talking,
    Done,
}

/// Whose offer is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    None,
    /// Its own, in the request with that number.
    Ours(u32),
    /// Its own, in its 2xx to an INVITE without one.
    InAnswer,
    Theirs,
}

/// What it describes, and what it was told of the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) local: Option<u32>,
    pub(crate) remote: Option<u32>,
}

/// What is agreed on about the session's timer.
#[derive(Clone, Copy, Debug)]
struct Session {
    interval_s: u32,
    is_ours: bool,
}

/// A request of its own that waits for its final response.
struct Pending {
    method: Method,
    cseq: u32,
    message: Bytes,
    /// The description that it offers.
    offer: Option<u32>,
    why: Option<Whim>,
    tries: u32,
    /// A provisional response has come to an INVITE.
    stopped: bool,
}

/// A response that it gave, for copies of the request; a final one to an INVITE until its ACK.
struct Given {
    branch: Bytes,
    method: Method,
    cseq: u32,
    message: Bytes,
    /// Sent again until it is acknowledged.
    is_open: bool,
    is_success: bool,
    /// Its RSeq, if it was sent reliably.
    rseq: Option<u32>,
}

pub(crate) struct Phone {
    pub(crate) address: SocketAddr,
    pub(crate) call_id: String,
    number: usize,
    habits: Habits,
    /// Its own From or To, and the other side's.
    own: String,
    other: String,
    target: String,
    cseq: u32,
    heard_cseq: u32,
    stage: Stage,
    open: Open,
    media: Media,
    /// What its 2xx to an INVITE without an offer describes.
    offered: Option<u32>,
    versions: u32,
    session: Option<Session>,
    session_turn: u32,
    requests: Vec<Pending>,
    given: Vec<Given>,
    /// ACKs of the INVITEs of its own that were accepted, by number.
    acks: Vec<(u32, Bytes)>,
    /// A request that is answered later.
    waiting: Option<Message>,
    calling: Option<Calling>,
    incoming: Option<Incoming>,
    /// It hears and says nothing any more.
    is_gone: bool,
    /// Something went another way than it knows.
    in_doubt: bool,
    changed_at: u64,
    /// When it last gave another answer than before to an offer: it moves at most once a minute.
    moved_at: u64,
    now: u64,
    random: Random,
    /// What it has against the switch.
    complaint: Option<String>,
}

type Does = Doings<PhoneAct>;

/// How long after the last exchange both ends have to agree, in ms: longer than anything is sent again.
const QUIET_MS: u64 = 45_000;

impl Phone {
    fn new(number: usize, address: SocketAddr, habits: Habits, random: Random) -> Self {
        Self {
            address,
            call_id: String::new(),
            number,
            habits,
            own: String::new(),
            other: String::new(),
            target: String::new(),
            cseq: 100,
            heard_cseq: 0,
            stage: Stage::Early,
            open: Open::None,
            media: Media::default(),
            offered: None,
            versions: 0,
            session: None,
            session_turn: 0,
            requests: Vec::new(),
            given: Vec::new(),
            acks: Vec::new(),
            waiting: None,
            calling: None,
            incoming: None,
            is_gone: false,
            in_doubt: false,
            changed_at: 0,
            moved_at: 0,
            now: 0,
            random,
            complaint: None,
        }
    }

    /// Takes a message.
    pub(crate) fn receive(&mut self, message: &Message, now: u64) -> Does {
        self.now = now;
        let mut does = Does::default();
        if self.is_gone {
            return does;
        }
        match message.status() {
            None => self.on_request(message, &mut does),
            Some(status) => self.on_response(message, status.code(), &mut does),
        }
        does
    }

    /// Does what it does by itself.
    pub(crate) fn act(&mut self, act: PhoneAct, now: u64) -> Does {
        self.now = now;
        let mut does = Does::default();
        if self.is_gone {
            return does;
        }
        match act {
            PhoneAct::Start => self.start(&mut does),
            PhoneAct::Resend { cseq, method, sent } => self.resend(cseq, method, sent, &mut does),
            PhoneAct::AnswerAgain { answer, sent } => self.answer_again(answer, sent, &mut does),
            PhoneAct::Ring => self.ring(&mut does),
            PhoneAct::GiveUp => self.give_up(&mut does),
            PhoneAct::Whim(whim) => self.follow(whim, 0, &mut does),
            PhoneAct::Again { whim, tries } => self.follow(whim, tries, &mut does),
            PhoneAct::Session(turn) => self.session_due(turn, &mut does),
            PhoneAct::Reply => self.reply_at_last(&mut does),
        }
        does
    }

    /// What both ends have to agree on, if the phone is sure of it: nothing has been going on for a while.
    pub(crate) fn settled(&self, now: u64) -> Option<Media> {
        let is_quiet = self.stage == Stage::Talking
            && self.open == Open::None
            && self.requests.is_empty()
            && self.waiting.is_none()
            && self.given.iter().all(|given| !given.is_open)
            && !self.is_gone
            && !self.in_doubt
            && now > self.changed_at + QUIET_MS;
        is_quiet.then_some(self.media)
    }

    /// What it has against the switch.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    fn tag(&self) -> String {
        format!("p{}", self.number)
    }

    /// A new description.
    fn describe(&mut self) -> u32 {
        self.versions += 1;
        (self.number as u32 + 1) * 100 + self.versions
    }

    fn contact(&self) -> String {
        format!("Contact: <sip:p{}@{}>\r\n", self.number, self.address)
    }

    fn allow(&self) -> &'static str {
        if self.habits.timer.by_update || self.habits.timer.boasts {
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE\r\n"
        } else {
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK\r\n"
        }
    }

    fn print(
        &self,
        (method, cseq, branch): (&str, u32, &str),
        (target, to): (&str, &str),
        lines: &str,
        body: Option<&str>,
    ) -> Bytes {
        RequestText {
            method,
            target,
            via_parameters: &format!(";branch={branch}"),
            address: self.address,
            from: &self.own,
            to,
            call_id: &self.call_id,
            cseq: (cseq, method),
            lines: &format!("Max-Forwards: 70\r\n{lines}"),
            body,
        }
        .print()
    }

    fn branch(&self, method: Method, cseq: u32) -> String {
        format!("z9hG4bKp{}r{cseq}{}", self.number, method.to_string().to_lowercase())
    }

    /// Sends a request and keeps it until its answer.
    fn send(&mut self, pending: Pending, does: &mut Does) {
        does.sends.push(pending.message.clone());
        let (cseq, method) = (pending.cseq, pending.method);
        does.later.push((500, PhoneAct::Resend { cseq, method, sent: 1 }));
        self.requests.push(pending);
    }

    /// Sends a request in its dialog, and says under which number.
    fn ask(
        &mut self,
        method: Method,
        lines: &str,
        offer: Option<&str>,
        why: Option<(Whim, u32)>,
        does: &mut Does,
    ) -> u32 {
        self.cseq += 1;
        let cseq = self.cseq;
        let branch = self.branch(method, cseq);
        let to = (self.target.as_str(), self.other.as_str());
        let message = self.print((&method.to_string(), cseq, &branch), to, lines, offer);
        let offer = offer.and_then(|offer| sdp_id(offer.as_bytes()));
        let (why, tries) = why.map_or((None, 0), |(whim, tries)| (Some(whim), tries));
        self.send(Pending { method, cseq, message, offer, why, tries, stopped: false }, does);
        cseq
    }

    fn resend(&mut self, cseq: u32, method: Method, sent: u32, does: &mut Does) {
        let place = self.requests.iter().position(|known| (known.cseq, known.method) == (cseq, method));
        let Some(place) = place else { return };
        if let Some(wait) = peer_wait(sent) {
            if !self.requests[place].stopped {
                does.sends.push(self.requests[place].message.clone());
            }
            does.later.push((wait, PhoneAct::Resend { cseq, method, sent: sent + 1 }));
        } else if !self.requests[place].stopped {
            let given_up = self.requests.remove(place);
            self.unanswered(&given_up, does);
        }
    }

    /// Nobody answers: then nobody is there (RFC 3261 §12.2.1.2).
    fn unanswered(&mut self, request: &Pending, does: &mut Does) {
        if self.open == Open::Ours(request.cseq) {
            self.open = Open::None;
        }
        self.in_doubt = true;
        if self.stage == Stage::Talking && request.method != Method::Bye {
            self.hang_up(does);
        }
    }

    fn hang_up(&mut self, does: &mut Does) {
        if self.stage == Stage::Talking {
            self.stage = Stage::Done;
            self.ask(Method::Bye, "", None, None, does);
        }
    }

    /// Sends a response, and keeps it for copies of the request.
    fn give(
        &mut self,
        request: &Message,
        (status, lines): (u16, &str),
        body: Option<&str>,
        does: &mut Does,
    ) -> usize {
        let method = request.method().unwrap_or(Method::Options);
        let is_invite = method == Method::Invite;
        let message = self.respond(request, (status, lines), body);
        let branch = branch_of(request);
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        let is_final = status >= 200;
        let rseq = lines.split("RSeq: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
        let is_open = is_invite && is_final || rseq.is_some();
        does.sends.push(message.clone());
        let answer = self.given.len();
        if is_open {
            does.later.push((500, PhoneAct::AnswerAgain { answer, sent: 1 }));
        }
        let is_success = (200..300).contains(&status);
        self.given.push(Given { branch, method, cseq, message, is_open, is_success, rseq });
        answer
    }

    fn respond(&self, request: &Message, (status, lines): (u16, &str), body: Option<&str>) -> Bytes {
        let source: SocketAddr = SWITCH.parse().expect("our address");
        let status = StatusCode::new(status).expect("a status");
        let tag = self.tag();
        let tag = Some(tag.as_str()).filter(|_| status.code() > 100 && request.to_tag().is_none());
        let mut response = ResponseHead::of(request, source).respond(status, tag);
        for line in lines.split_terminator("\r\n") {
            if let Some((name, value)) = line.split_once(": ") {
                response = response.header_fmt(name_of(name), format_args!("{value}"));
            }
        }
        match body {
            Some(body) => response.body(b"application/sdp", body.as_bytes()),
            None => response.finish(),
        }
    }

    fn answer_again(&mut self, answer: usize, sent: u32, does: &mut Does) {
        let given = &mut self.given[answer];
        if !given.is_open {
            return;
        }
        if let Some(wait) = peer_wait(sent) {
            does.sends.push(given.message.clone());
            does.later.push((wait, PhoneAct::AnswerAgain { answer, sent: sent + 1 }));
            return;
        }
        given.is_open = false;
        self.in_doubt = true;
        if given.is_success && given.rseq.is_none() {
            self.stage = Stage::Talking;
            self.hang_up(does);
        }
    }

    fn on_response(&mut self, message: &Message, status: u16, does: &mut Does) {
        let (Some(method), Ok(cseq)) = (message.method(), message.cseq().map(|cseq| cseq.number)) else {
            return;
        };
        if self.calling.as_ref().is_some_and(|calling| calling.cseq == cseq) && method == Method::Invite {
            return self.on_setup_response(message, status, does);
        }
        let place = self.requests.iter().position(|known| (known.cseq, known.method) == (cseq, method));
        let Some(place) = place else {
            // The ACK of an accepted INVITE was lost.
            let ack = self.acks.iter().find(|(of, _)| *of == cseq && method == Method::Invite);
            does.sends.extend(ack.filter(|_| status >= 200).map(|(_, ack)| ack.clone()));
            return;
        };
        if status < 200 {
            self.requests[place].stopped |= method == Method::Invite;
            return;
        }
        let request = self.requests.remove(place);
        self.on_final(&request, message, status, does);
    }

    /// Begins or goes on with a session as a 2xx says.
    fn keep_session(&mut self, said: Option<(u32, bool)>, does: &mut Does) {
        self.session_turn += 1;
        self.session = said.map(|(interval_s, is_ours)| Session { interval_s, is_ours });
        let Some(session) = self.session else { return };
        let interval = u64::from(session.interval_s) * 1000;
        let wait = if session.is_ours { interval / 2 } else { interval - (interval / 3).min(32_000) };
        if !session.is_ours || self.habits.timer.refreshes {
            does.later.push((wait, PhoneAct::Session(self.session_turn)));
        }
    }
}

/// The session interval that a message names, and whether it says that the client refreshes.
fn session_of(message: &Message) -> Option<(u32, Option<bool>)> {
    let value = text(message.first(Name::SessionExpires));
    let secs = value.split(';').next()?.trim().parse().ok()?;
    let by_client = if value.contains("refresher=uac") {
        Some(true)
    } else {
        value.contains("refresher=uas").then_some(false)
    };
    Some((secs, by_client))
}

fn branch_of(message: &Message) -> Bytes {
    let via = message.top_via().ok();
    Bytes::copy_from_slice(via.and_then(|via| via.branch()).unwrap_or_default())
}

/// A description's text: on hold if it is so.
fn described(id: u32, hold: bool) -> String {
    let hold = if hold { "a=sendonly\r\n" } else { "" };
    format!("{}{hold}", sdp(id))
}

/// Whether a description only refuses: all its streams are at port 0.
fn is_refusal(message: &Message) -> bool {
    message.body().windows(10).any(|window| window == b"m=audio 0 ")
}

fn name_of(name: &str) -> Name {
    const KNOWN: [(&str, Name); 11] = [
        ("Contact", Name::Contact),
        ("Allow", Name::Allow),
        ("Supported", Name::Supported),
        ("Require", Name::Require),
        ("RSeq", Name::RSeq),
        ("Session-Expires", Name::SessionExpires),
        ("Min-SE", Name::MinSe),
        ("Retry-After", Name::RetryAfter),
        ("WWW-Authenticate", Name::WwwAuthenticate),
        ("Proxy-Authenticate", Name::ProxyAuthenticate),
        ("Unsupported", Name::Unsupported),
    ];
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, name)| *name).expect("a header that phones send")
}
