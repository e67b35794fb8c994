//! What happens before the answer: reliable provisional responses on both legs, and what stays inside an attempt.

use super::{CALLER, Stage, TOLERANCE_MS, Watch, branch_of, cseq_of, description, lists};
use crate::coverage::Talk;
use crate::violation::Rule;
use bytes::Bytes;
use serde_json::Value;
use std::net::SocketAddr;
use tandem_sip::digest::Credentials;
use tandem_sip::{Message, Method, Name};
use tandem_switch::call::Again;
use tandem_switch::gateway::Redirects;

/// 64·T1: how long a PRACK is waited for.
const T1_64: u64 = 32_000;

/// The most INVITEs of one attempt.
const INVITES_MAX: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Setup {
    caller_call_id: Bytes,
    caller_cseq: u32,
    invites: Vec<Invite>,
    /// The gateway that is tried, by its place.
    pub(super) gateway: usize,
    attempts: usize,
    /// INVITEs of this attempt.
    sent: u32,
    /// Where it was redirected to.
    contacts: Vec<SocketAddr>,
    /// The last failure of the attempt, if nothing has come of it yet.
    failure: Option<Failure>,
    /// Why the last INVITE went out again.
    why: Option<Again>,
    /// What the caller was sent reliably.
    ringing: Vec<Ringing>,
    /// What a gateway has sent reliably.
    owed: Vec<Owed>,
    /// The 2xx of the current INVITE.
    pub(super) success: Option<Message>,
    /// Where the call was answered.
    pub(super) answered_at: Option<SocketAddr>,
    pub(super) is_acknowledged: bool,
    final_status: Option<u16>,
    /// Who wrote a description, by the Call-ID.
    writers: Vec<(u32, Bytes)>,
}

#[derive(Debug)]
pub(super) struct Invite {
    branch: Bytes,
    pub(super) to: SocketAddr,
    has_offer: bool,
    is_reliable: bool,
    /// Nothing more is asked of it.
    is_left: bool,
}

#[derive(Debug)]
struct Failure {
    status: u16,
    is_stale: bool,
}

#[derive(Debug)]
struct Ringing {
    tag: Bytes,
    rseq: u32,
    has_sdp: bool,
    at: u64,
    is_acknowledged: bool,
}

#[derive(Debug)]
struct Owed {
    branch: Bytes,
    call_id: Bytes,
    tag: Bytes,
    rseq: u32,
    at: u64,
    /// The numbers of its PRACKs.
    pracks: Vec<u32>,
}

impl Setup {
    pub(super) fn of(invite: &Message) -> Self {
        let caller_call_id = Bytes::copy_from_slice(invite.call_id().unwrap_or_default());
        let writers = description(invite).map(|said| (said, caller_call_id.clone())).into_iter().collect();
        Self { caller_cseq: cseq_of(invite), caller_call_id, writers, ..Self::default() }
    }

    pub(super) fn knows(&self, branch: &Bytes) -> bool {
        self.invites.iter().any(|invite| invite.branch == *branch)
    }

    /// Whether the caller has its final response.
    pub(super) fn is_answer_sent(&self) -> bool {
        self.final_status.is_some()
    }

    /// Whether a response is one to the caller's INVITE.
    pub(super) fn is_of_caller(&self, message: &Message) -> bool {
        message.call_id() == Some(&self.caller_call_id) && self.is_cseq(cseq_of(message))
    }

    pub(super) fn is_cseq(&self, cseq: u32) -> bool {
        cseq == self.caller_cseq
    }

    pub(super) fn current(&self) -> Option<&Invite> {
        self.invites.last()
    }

    pub(super) fn cancelled(&mut self, branch: &Bytes) {
        if let Some(invite) = self.invites.iter_mut().find(|invite| invite.branch == *branch) {
            invite.is_left = true;
        }
    }

    /// Whether anything sent reliably waits for its PRACK.
    pub(super) fn awaits_prack(&self) -> bool {
        self.ringing.iter().any(|ringing| !ringing.is_acknowledged)
    }

    pub(super) fn writer_of(&self, said: u32) -> Option<Bytes> {
        self.writers.iter().find(|(of, _)| *of == said).map(|(_, writer)| writer.clone())
    }

    /// Takes note of who wrote a description.
    pub(super) fn note_writer(&mut self, message: &Message) {
        if let Some(said) = description(message)
            && self.writer_of(said).is_none()
        {
            self.writers.push((said, Bytes::copy_from_slice(message.call_id().unwrap_or_default())));
        }
    }
}

impl Watch {
    /// The call goes on from an earlier state: what had come of its INVITEs since it may not know.
    pub(super) fn restore_setup(&mut self) {
        (self.setup.failure, self.setup.why) = (None, None);
        self.setup.invites.iter_mut().for_each(|invite| invite.is_left = false);
    }

    pub(super) fn on_attempted(&mut self, name: &str) {
        let place = self.plan.gateways.iter().position(|gateway| gateway.name == name);
        self.setup.gateway = place.unwrap_or_default();
        self.setup.attempts += 1;
        self.setup.sent = 0;
        self.setup.contacts.clear();
        (self.setup.failure, self.setup.why) = (None, None);
    }

    pub(super) fn on_invited_again(&mut self, why: Again) {
        let failure = self.setup.failure.take();
        let status = failure.as_ref().map_or(0, |failure| failure.status);
        let answered_before = self.setup.why == Some(Again::Challenge);
        match why {
            Again::Challenge => {
                let is_stale = failure.is_some_and(|failure| failure.is_stale);
                if !matches!(status, 401 | 407) || answered_before && !is_stale {
                    self.fail(Rule::Attempt, format!("a challenge is answered once more, after {status}"));
                }
                self.row(if is_stale { Talk::StaleAnswered } else { Talk::ChallengeAnswered });
            }
            Again::Redirect => {
                if self.plan.gateways[self.setup.gateway].redirects == Redirects::Refuse {
                    self.fail(Rule::Attempt, "a redirection is followed that may not be");
                }
                self.row(Talk::RedirectFollowed);
            }
            Again::SessionInterval => {
                if status != 422 {
                    self.fail(Rule::Attempt, format!("a longer session is asked for after {status}"));
                }
                self.row(Talk::LongerAsked);
            }
            Again::NextTarget => self.row(Talk::NextTarget),
        }
        self.setup.why = Some(why);
    }

    /// An INVITE to a gateway.
    pub(super) fn on_invite(&mut self, to: SocketAddr, message: &Message) {
        let branch = branch_of(message);
        if self.setup.knows(&branch) {
            return;
        }
        self.setup.sent += 1;
        let gateway = &self.plan.gateways[self.setup.gateway];
        let is_own = gateway.own_places().contains(&to);
        let is_allowed = gateway.redirects == Redirects::Any && self.setup.contacts.contains(&to);
        if !is_own && !is_allowed {
            let name = gateway.name.clone();
            self.fail(Rule::Attempt, format!("an INVITE for {name} goes to {to}"));
        }
        if self.setup.sent > INVITES_MAX {
            self.fail(Rule::Attempt, format!("{} INVITEs in one attempt", self.setup.sent));
        }
        let has_credentials = [Name::Authorization, Name::ProxyAuthorization];
        if !is_own && has_credentials.iter().any(|name| message.first(*name).is_some()) {
            self.fail(Rule::Attempt, format!("credentials go to {to}"));
        }
        self.setup.invites.iter_mut().for_each(|invite| invite.is_left = true);
        self.setup.success = None;
        self.setup.invites.push(Invite {
            branch,
            to,
            has_offer: description(message).is_some(),
            is_reliable: lists(message, "100rel"),
            is_left: false,
        });
    }

    /// A response to an INVITE to a gateway.
    pub(super) fn on_setup_response(&mut self, message: &Message, branch: &Bytes, status: u16) {
        let Some(place) = self.setup.invites.iter().position(|invite| invite.branch == *branch) else {
            return;
        };
        // A call that was restored may have gone back to one before.
        let is_last = place + 1 == self.setup.invites.len() || self.panicked;
        let is_current = is_last && !self.setup.invites[place].is_left;
        if !is_current || self.stage != Stage::SettingUp {
            return;
        }
        match status {
            101..=199 => self.on_reliable(place, message),
            200..=299 => {
                self.setup.success.get_or_insert(message.clone());
            }
            300.. => {
                self.setup.invites[place].is_left = true;
                let challenges = [Name::WwwAuthenticate, Name::ProxyAuthenticate];
                let mut values = challenges.iter().filter_map(|name| message.first(*name));
                let is_stale = values.any(|value| String::from_utf8_lossy(value).contains("stale=true"));
                self.setup.failure = Some(Failure { status, is_stale });
                let uris = message.contacts().filter_map(Result::ok).filter_map(|contact| match contact {
                    tandem_sip::header::Contact::Addr(address) => address.parse_uri().ok()?.socket_addr(5060),
                    tandem_sip::header::Contact::Any => None,
                });
                self.setup.contacts.extend(uris.filter(|_| (300..=302).contains(&status)));
            }
            _ => {}
        }
    }

    fn on_reliable(&mut self, place: usize, message: &Message) {
        let invite = &self.setup.invites[place];
        let (branch, is_reliable) = (invite.branch.clone(), invite.is_reliable);
        let rseq = message.number(Name::RSeq).and_then(Result::ok);
        let Some(rseq) = rseq.filter(|_| is_reliable && message.has_token(Name::Require, "100rel")) else {
            return;
        };
        let call_id = Bytes::copy_from_slice(message.call_id().unwrap_or_default());
        let tag = Bytes::copy_from_slice(message.to_tag().unwrap_or_default());
        let of_dialog = self.setup.owed.iter().filter(|owed| owed.call_id == call_id && owed.tag == tag);
        let last = of_dialog.map(|owed| owed.rseq).max();
        // An heir need not know of those before it.
        if last.is_none_or(|last| rseq == last + 1 || self.panicked && rseq > last) {
            self.setup.owed.push(Owed { branch, call_id, tag, rseq, at: self.now, pracks: Vec::new() });
            self.row(Talk::ReliableHeard);
        }
    }

    /// PRACK to a gateway.
    pub(super) fn on_our_prack(&mut self, message: &Message) {
        let rack = message.rack().and_then(Result::ok).map(|rack| rack.rseq);
        let is_meant = |owed: &&mut Owed| {
            Some(&owed.call_id[..]) == message.call_id()
                && Some(&owed.tag[..]) == message.to_tag()
                && Some(owed.rseq) == rack
        };
        let cseq = cseq_of(message);
        let Some(owed) = self.setup.owed.iter_mut().find(is_meant) else {
            if self.panicked {
                return;
            }
            return self.fail(Rule::Reliable, format!("a PRACK of {rack:?}, which nobody has sent"));
        };
        if !owed.pracks.contains(&cseq) {
            owed.pracks.push(cseq);
        }
        if owed.pracks.len() > 1 && !self.panicked {
            self.fail(Rule::Reliable, format!("{rack:?} is acknowledged twice"));
        }
        if description(message).is_some() {
            self.row(Talk::AnswerInPrack);
        }
    }

    /// A PRACK of the caller's.
    pub(super) fn on_prack(&mut self, message: &Message) {
        let rack = message.rack().and_then(Result::ok).map(|rack| rack.rseq);
        let mut ringing = self.setup.ringing.iter_mut();
        let known =
            ringing.find(|ringing| Some(&ringing.tag[..]) == message.to_tag() && Some(ringing.rseq) == rack);
        if let Some(known) = known
            && !std::mem::replace(&mut known.is_acknowledged, true)
        {
            let holds = self.setup.success.is_some() && self.stage == Stage::SettingUp;
            self.row(if holds { Talk::AnswerHeld } else { Talk::Pracked });
        }
    }

    /// A response to the caller's INVITE.
    pub(super) fn on_our_setup_response(&mut self, message: &Message, status: u16) {
        match status {
            101..=199 => self.rings(message),
            200.. => {
                if let Some(before) = self.setup.final_status.replace(status) {
                    if before != status {
                        self.fail(Rule::OneFinal, format!("{before} and {status}"));
                    }
                    return;
                }
                self.on_our_final(message, status);
            }
            _ => {}
        }
    }

    fn rings(&mut self, message: &Message) {
        let Some(rseq) = message.number(Name::RSeq).and_then(Result::ok) else { return };
        let tag = Bytes::copy_from_slice(message.to_tag().unwrap_or_default());
        if self.setup.ringing.iter().any(|known| known.tag == tag && known.rseq == rseq) {
            return;
        }
        if let Some(last) = self.setup.ringing.iter().rev().find(|known| known.tag == tag) {
            let (before, is_acknowledged) = (last.rseq, last.is_acknowledged);
            // An heir may not know of what went out without its commit: then it starts above all that could be.
            if rseq != before + 1 && !self.panicked {
                self.fail(Rule::Reliable, format!("RSeq {rseq} follows {before}"));
            }
            if !is_acknowledged && !self.panicked {
                self.fail(Rule::Reliable, format!("RSeq {rseq} before the PRACK of {before}"));
            }
        }
        let has_sdp = description(message).is_some();
        self.setup.ringing.push(Ringing { tag, rseq, has_sdp, at: self.now, is_acknowledged: false });
        self.row(Talk::RingsReliably);
    }

    fn on_our_final(&mut self, message: &Message, status: u16) {
        let waits = self.setup.ringing.iter().find(|ringing| !ringing.is_acknowledged);
        let waits = waits.map(|ringing| (ringing.has_sdp, format!("{ringing:?}")));
        match (status, waits) {
            (200..=299, Some((true, waits))) => {
                self.fail(Rule::Reliable, format!("a 2xx before the PRACK of {waits}"));
            }
            (504, Some(_)) => self.row(Talk::NoPrack),
            _ => {}
        }
        if status < 300 {
            // It may have waited for its commit since.
            let since = self.answered_at.unwrap_or(self.now);
            self.begin_session_at(CALLER, message, (false, since));
            self.first = Some((self.legs[CALLER].session, self.caps.no_timer_at));
        }
    }

    /// The gateway's answer goes up: what it sent reliably has been acknowledged.
    pub(super) fn check_acknowledged(&mut self) {
        let Some(branch) =
            self.setup.current().filter(|invite| invite.has_offer).map(|invite| invite.branch.clone())
        else {
            return;
        };
        let missing = self.setup.owed.iter().find(|owed| owed.branch == branch && owed.pracks.is_empty());
        if let Some(missing) = missing.filter(|owed| self.now > owed.at + TOLERANCE_MS) {
            let detail = format!("answered, and never acknowledged: {missing:?}");
            self.fail(Rule::Reliable, detail);
        }
    }

    pub(super) fn check_setup_times(&mut self) {
        if self.setup.final_status.is_some() {
            return;
        }
        let (now, restored) = (self.now, self.restored_at);
        let is_late = |at: u64, wait: u64| now > at.max(restored) + wait + TOLERANCE_MS;
        let ringing =
            self.setup.ringing.iter().find(|known| !known.is_acknowledged && is_late(known.at, T1_64));
        if let Some(ringing) = ringing {
            let detail = format!("no PRACK of {ringing:?}, and the call goes on");
            return self.fail(Rule::Reliable, detail);
        }
        let current = self.setup.current().filter(|invite| invite.has_offer && !invite.is_left);
        let Some(branch) = current.map(|invite| &invite.branch) else { return };
        let owed = self.setup.owed.iter();
        let mut owed = owed.filter(|owed| owed.branch == *branch && owed.pracks.is_empty());
        if let Some(owed) = owed.find(|owed| is_late(owed.at, TOLERANCE_MS)) {
            let detail = format!("not acknowledged: {owed:?}");
            self.fail(Rule::Reliable, detail);
        }
    }

    /// The record lists an attempt for each gateway that was tried, however often it was asked.
    pub(in super::super) fn check_record(&mut self, lines: &[u8]) {
        if self.panicked || self.is_void {
            return;
        }
        let call = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let listed = serde_json::from_slice(call)
            .ok()
            .and_then(|call: Value| Some(call["attempts"].as_array()?.len()));
        if listed != Some(self.setup.attempts) {
            self.fail(
                Rule::Attempt,
                format!("{listed:?} attempts are recorded, not {}", self.setup.attempts),
            );
        }
    }
}

/// The nonces that an INVITE answers, each with its count.
pub(in super::super) fn nonces_of(message: &Message) -> Vec<(Vec<u8>, u32)> {
    let headers = [Name::Authorization, Name::ProxyAuthorization];
    let values = headers.iter().filter_map(|name| message.first(*name));
    let is_invite = message.status().is_none() && message.method() == Some(Method::Invite);
    let parsed = values.filter(|_| is_invite).filter_map(Credentials::parse);
    parsed.map(|credentials| (credentials.nonce.to_vec(), credentials.count)).collect()
}
