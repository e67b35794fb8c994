//! How a phone is called.

use super::habits::{Early, Gate};
use super::{Does, Habits, Open, Phone, PhoneAct, Stage, branch_of, described, session_of};
use crate::peers::text::{contact_uri, sdp_id, text};
use crate::random::Random;
use std::net::SocketAddr;
use tandem_sip::digest::{Algorithm, Credentials};
use tandem_sip::{Message, Method, Name};

/// By what the switch's name and password are known to every carrier that challenges.
pub(crate) const ACCOUNT: (&str, &str, &str) = ("tandem", "vendor", "letmein");

/// The INVITE that a phone is called by.
pub(super) struct Incoming {
    invite: Message,
    /// That has come.
    is_called: bool,
    /// What it still says before it answers.
    early: Vec<Early>,
    /// The next one waits for a PRACK.
    is_held: bool,
    is_answered: bool,
    rseq: u32,
    /// It has a description in hand: what it said reliably, or will say.
    local: Option<u32>,
    was_described: bool,
    nonces: u32,
}

impl Incoming {
    /// Whether it is called by the INVITE with that branch.
    pub(super) fn is_of(&self, branch: &[u8]) -> bool {
        self.is_called && branch_of(&self.invite) == branch
    }
}

impl Phone {
    pub(crate) fn callee(
        (number, address): (usize, SocketAddr),
        invite: &Message,
        habits: Habits,
        random: Random,
    ) -> Self {
        let mut phone = Phone::new(number, address, habits, random);
        phone.call_id = text(invite.call_id());
        phone.own = format!("{};tag=p{number}", text(invite.first(Name::To)));
        phone.other = text(invite.first(Name::From));
        let early = phone.habits.early.clone();
        let rseq = phone.random.below(1_000) as u32;
        phone.incoming = Some(Incoming {
            invite: invite.clone(),
            is_called: false,
            early,
            is_held: false,
            is_answered: false,
            rseq,
            local: None,
            was_described: false,
            nonces: 0,
        });
        phone
    }

    /// An INVITE outside any dialog that is no copy.
    pub(super) fn on_setup(&mut self, invite: &Message, does: &mut Does) {
        let Some(incoming) = &mut self.incoming else { return };
        if incoming.is_answered || self.stage != Stage::Early {
            self.give(invite, (482, ""), None, does);
            return;
        }
        (incoming.invite, incoming.is_called) = (invite.clone(), true);
        self.heard_cseq = invite.cseq().map_or(0, |cseq| cseq.number);
        self.target = contact_uri(invite).unwrap_or_default();
        if let Some(gate) = self.habits.gates.first().copied() {
            return self.at_gate(gate, invite, does);
        }
        let incoming = self.incoming.as_mut().expect("it is called");
        self.media.remote = sdp_id(invite.body());
        let wait = incoming.early.first().map_or(self.habits.answers_ms, |early| early.after_ms);
        does.later.push((wait, PhoneAct::Ring));
    }

    fn at_gate(&mut self, gate: Gate, invite: &Message, does: &mut Does) {
        match gate {
            Gate::Challenge { proxy, stale } => match self.credentials_of(invite) {
                Some(true) if !stale => self.pass_gate(invite, does),
                Some(true) => {
                    self.habits.gates[0] = Gate::Challenge { proxy, stale: false };
                    self.challenge(invite, (proxy, true), does);
                }
                Some(false) => self.complaint = Some("credentials that are wrong".to_owned()),
                None => self.challenge(invite, (proxy, false), does),
            },
            Gate::Distrust => self.challenge(invite, (false, false), does),
            Gate::Redirect(places) => {
                self.habits.gates.remove(0);
                let user = invite.request_uri().split(|byte| *byte == b'@').next().unwrap_or_default();
                let user = String::from_utf8_lossy(user).replace("sip:", "");
                let [first, second] = places;
                let contact = format!("Contact: <sip:{user}@{first}>, <sip:{user}@{second}>\r\n");
                self.give(invite, (302, &contact), None, does);
            }
            Gate::TooSmall(min_se) => {
                self.habits.gates.remove(0);
                match session_of(invite) {
                    Some((asked, _)) if asked < min_se => {
                        self.give(invite, (422, &format!("Min-SE: {min_se}\r\n")), None, does);
                    }
                    _ => self.on_setup(invite, does),
                }
            }
            Gate::Unavailable => {
                self.give(invite, (503, ""), None, does);
            }
            Gate::Silent => {}
        }
    }

    fn pass_gate(&mut self, invite: &Message, does: &mut Does) {
        self.habits.gates.remove(0);
        self.on_setup(invite, does);
    }

    fn challenge(&mut self, invite: &Message, (proxy, stale): (bool, bool), does: &mut Does) {
        let Some(incoming) = &mut self.incoming else { return };
        incoming.nonces += 1;
        let nonce = format!("n{}x{}", self.number, incoming.nonces);
        let (status, name) = if proxy { (407, "Proxy-Authenticate") } else { (401, "WWW-Authenticate") };
        let stale = if stale { ", stale=true" } else { "" };
        let line =
            format!("{name}: Digest realm=\"{}\", nonce=\"{nonce}\", qop=\"auth\"{stale}\r\n", ACCOUNT.1);
        self.give(invite, (status, &line), None, does);
    }

    /// Whether an INVITE has credentials for the last nonce, and whether they are right.
    fn credentials_of(&self, invite: &Message) -> Option<bool> {
        let value = invite.first(Name::Authorization).or(invite.first(Name::ProxyAuthorization))?;
        let credentials = Credentials::parse(value)?;
        let ha1 = Algorithm::MD5.ha1(ACCOUNT.0, ACCOUNT.1.as_bytes(), ACCOUNT.2);
        let is_theirs = credentials.are_of(&ha1, "INVITE", invite.body())
            && credentials.uri.as_ref() == invite.request_uri();
        let nonces = self.incoming.as_ref().map_or(0, |incoming| incoming.nonces);
        let is_new = credentials.nonce.as_ref() == format!("n{}x{nonces}", self.number).as_bytes();
        is_new.then_some(is_theirs)
    }

    /// The next provisional response, or the answer.
    pub(super) fn ring(&mut self, does: &mut Does) {
        let awaits_prack = self.given.iter().any(|given| given.is_open && given.rseq.is_some());
        let Some(incoming) = &mut self.incoming else { return };
        if self.stage != Stage::Early || incoming.is_answered {
            return;
        }
        if awaits_prack {
            incoming.is_held = true;
            return;
        }
        incoming.is_held = false;
        if incoming.early.is_empty() {
            return self.answer_call(does);
        }
        let early = incoming.early.remove(0);
        let (invite, next) = (incoming.invite.clone(), incoming.early.first().copied());
        let knows = invite.has_token(Name::Supported, "100rel") || invite.has_token(Name::Require, "100rel");
        let is_reliable = knows && self.habits.reliable.supported;
        let has_offer = !invite.body().is_empty();
        // An offer of its own has to come reliably.
        let describes = early.sdp && (has_offer || is_reliable);
        let body = describes.then(|| described(self.local_description(), false));
        let mut lines = format!("{}{}", self.contact(), self.allow());
        let incoming = self.incoming.as_mut().expect("it is called");
        if is_reliable {
            incoming.rseq += 1;
            incoming.was_described |= describes;
            lines.push_str(&format!("Require: 100rel\r\nRSeq: {}\r\n", incoming.rseq));
        }
        self.give(&invite, (early.status, &lines), body.as_deref(), does);
        let wait = next.map_or(self.habits.answers_ms, |next| next.after_ms);
        does.later.push((wait, PhoneAct::Ring));
    }

    fn local_description(&mut self) -> u32 {
        if let Some(local) = self.incoming.as_ref().and_then(|incoming| incoming.local) {
            return local;
        }
        let local = self.describe();
        if let Some(incoming) = &mut self.incoming {
            incoming.local = Some(local);
        }
        local
    }

    fn answer_call(&mut self, does: &mut Does) {
        let local = self.local_description();
        let Some(incoming) = &mut self.incoming else { return };
        incoming.is_answered = true;
        let (invite, was_described) = (incoming.invite.clone(), incoming.was_described);
        self.media.local = Some(local);
        let body = (!was_described).then(|| described(local, false));
        if invite.body().is_empty() && !was_described {
            self.open = Open::InAnswer;
        }
        let (lines, said) = self.session_lines(&invite);
        self.give(&invite, (200, &lines), body.as_deref(), does);
        self.keep_session(said, does);
    }

    /// What its 2xx to an INVITE or UPDATE says besides the description, and the session that this begins.
    pub(super) fn session_lines(&self, request: &Message) -> (String, Option<(u32, bool)>) {
        let timer = self.habits.timer;
        let mut lines = format!("{}{}", self.contact(), self.allow());
        let Some((asked, by_client)) = session_of(request).filter(|_| timer.supported) else {
            return (lines, None);
        };
        let min_se = request.number(Name::MinSe).and_then(Result::ok).unwrap_or(90);
        let interval = asked.min(timer.interval_s.unwrap_or(asked)).max(min_se);
        let is_ours = match by_client {
            // The client may not be overruled; but some do, in the first INVITE.
            Some(true) => timer.wants_to_refresh && request.to_tag().is_none(),
            Some(false) => true,
            None => timer.wants_to_refresh,
        };
        let refresher = if is_ours { "uas" } else { "uac" };
        lines.push_str(&format!("Session-Expires: {interval};refresher={refresher}\r\n"));
        if !is_ours {
            lines.push_str("Require: timer\r\n");
        }
        (lines, Some((interval, is_ours)))
    }

    /// PRACK: what it acknowledges is not sent again.
    pub(super) fn on_prack(&mut self, prack: &Message, does: &mut Does) {
        let rack = prack.rack().and_then(Result::ok).map(|rack| rack.rseq);
        let given =
            self.given.iter_mut().find(|given| given.is_open && given.rseq.is_some() && given.rseq == rack);
        let Some(given) = given else {
            self.give(prack, (481, ""), None, does);
            return;
        };
        given.is_open = false;
        let answer = sdp_id(prack.body());
        let invite_has_offer =
            self.incoming.as_ref().is_some_and(|incoming| !incoming.invite.body().is_empty());
        if answer.is_some() && !invite_has_offer {
            self.media.remote = answer;
        } else if answer.is_some() {
            self.complaint = Some("a PRACK with a description that nobody asked for".to_owned());
        }
        self.give(prack, (200, ""), None, does);
        if self.incoming.as_ref().is_some_and(|incoming| incoming.is_held) {
            self.ring(does);
        }
    }

    pub(super) fn on_cancel(&mut self, cancel: &Message, does: &mut Does) {
        let branch = branch_of(cancel);
        self.give(cancel, (200, ""), None, does);
        if let Some(waiting) = self.waiting.take_if(|waiting| branch_of(waiting) == branch) {
            self.open = Open::None;
            self.give(&waiting, (487, ""), None, does);
            return;
        }
        let Some(incoming) = &mut self.incoming else { return };
        if branch_of(&incoming.invite) != branch || incoming.is_answered || self.stage != Stage::Early {
            return;
        }
        let invite = incoming.invite.clone();
        self.stage = Stage::Done;
        self.given.iter_mut().for_each(|given| given.is_open &= given.method != Method::Invite);
        self.give(&invite, (487, ""), None, does);
    }
}
