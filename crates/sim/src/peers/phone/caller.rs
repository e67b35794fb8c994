//! How a phone calls.

use super::{Does, Habits, Open, Pending, Phone, PhoneAct, Stage, Whim, described, session_of};
use crate::peers::SWITCH;
use crate::peers::text::{contact_uri, sdp_id, text};
use crate::random::Random;
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{Message, Method, Name};

/// The INVITE that begins a call.
pub(super) struct Calling {
    pub(super) cseq: u32,
    uri: String,
    branch: String,
    offer: Option<u32>,
    is_open: bool,
    has_rung: bool,
    early: Vec<EarlyDialog>,
    /// How often the switch has wanted a longer session.
    too_small: u32,
    min_se_s: u32,
}

/// What came reliably under one To tag.
struct EarlyDialog {
    tag: String,
    rseq: u32,
    /// The description that came, and the answer that was given.
    heard: Option<u32>,
    answered: Option<u32>,
}

impl Phone {
    pub(crate) fn caller(
        number: usize,
        address: SocketAddr,
        dialled: &str,
        habits: Habits,
        random: Random,
    ) -> Self {
        let mut phone = Phone::new(number, address, habits, random);
        phone.call_id = format!("caller{number}@{}", address.ip());
        phone.own = format!("<sip:10{number}@customer.example>;tag=p{number}");
        phone.other = format!("<sip:{dialled}@{SWITCH}>");
        let offer = (!phone.habits.offers_late).then(|| phone.describe());
        phone.calling = Some(Calling {
            cseq: 0,
            uri: format!("sip:{dialled}@{SWITCH}"),
            branch: String::new(),
            offer,
            is_open: true,
            has_rung: false,
            early: Vec::new(),
            too_small: 0,
            min_se_s: 0,
        });
        phone
    }

    pub(super) fn start(&mut self, does: &mut Does) {
        self.invite(does);
        does.later.extend(self.habits.gives_up_ms.map(|wait| (wait, PhoneAct::GiveUp)));
    }

    fn invite(&mut self, does: &mut Does) {
        self.cseq += 1;
        let cseq = self.cseq;
        let lines = self.invite_lines();
        let branch = self.branch(Method::Invite, cseq);
        let Some(calling) = &mut self.calling else { return };
        (calling.cseq, calling.branch) = (cseq, branch.clone());
        let (uri, offer) = (calling.uri.clone(), calling.offer);
        let body = offer.map(|id| described(id, false));
        let message = self.print(("INVITE", cseq, &branch), (&uri, &self.other), &lines, body.as_deref());
        self.send(
            Pending { method: Method::Invite, cseq, message, offer, why: None, tries: 0, stopped: false },
            does,
        );
    }

    fn invite_lines(&self) -> String {
        let (timer, reliable) = (self.habits.timer, self.habits.reliable);
        let mut lines = format!("{}{}", self.contact(), self.allow());
        if timer.supported {
            lines.push_str("Supported: timer\r\n");
            let min_se = self.calling.as_ref().map_or(0, |calling| calling.min_se_s);
            if let Some(interval) = timer.interval_s {
                let refresher = if timer.wants_to_refresh { ";refresher=uac" } else { "" };
                lines.push_str(&format!("Session-Expires: {}{refresher}\r\n", interval.max(min_se)));
            }
        }
        if reliable.required {
            lines.push_str("Require: 100rel\r\n");
        } else if reliable.supported {
            lines.push_str("Supported: 100rel\r\n");
        }
        lines
    }

    pub(super) fn give_up(&mut self, does: &mut Does) {
        let Some(calling) = self.calling.as_ref().filter(|calling| calling.is_open) else { return };
        if !calling.has_rung {
            return does.later.push((400, PhoneAct::GiveUp));
        }
        let (cseq, branch, uri) = (calling.cseq, calling.branch.clone(), calling.uri.clone());
        let to = self.other.split(";tag=").next().unwrap_or_default();
        let message = self.print(("CANCEL", cseq, &branch), (&uri, to), "", None);
        let pending = Pending {
            method: Method::Cancel,
            cseq,
            message,
            offer: None,
            why: None,
            tries: 0,
            stopped: false,
        };
        self.send(pending, does);
    }

    /// A response to the INVITE that began the call.
    pub(super) fn on_setup_response(&mut self, message: &Message, status: u16, does: &mut Does) {
        let Some(calling) = &mut self.calling else { return };
        let cseq = calling.cseq;
        if let Some(pending) = self.requests.iter_mut().find(|known| known.cseq == cseq) {
            pending.stopped = true;
        }
        match status {
            100..=199 => {
                calling.has_rung = true;
                if calling.is_open && message.has_token(Name::Require, "100rel") {
                    self.on_reliable(message, does);
                }
            }
            200..=299 => self.on_answer(message, does),
            _ => self.on_failure(message, status, does),
        }
    }

    fn on_failure(&mut self, message: &Message, status: u16, does: &mut Does) {
        let Some(calling) = &mut self.calling else { return };
        let (branch, uri, cseq) = (calling.branch.clone(), calling.uri.clone(), calling.cseq);
        let to = text(message.first(Name::To));
        does.sends.push(self.print(("ACK", cseq, &branch), (&uri, &to), "", None));
        self.requests.retain(|known| known.method != Method::Invite);
        let Some(calling) = self.calling.as_mut().filter(|calling| calling.is_open) else { return };
        if status == 422 && calling.too_small == 0 {
            calling.too_small += 1;
            calling.min_se_s = message.number(Name::MinSe).and_then(Result::ok).unwrap_or(90);
            return self.invite(does);
        }
        calling.is_open = false;
        self.stage = Stage::Done;
    }

    /// A provisional response that wants a PRACK.
    fn on_reliable(&mut self, message: &Message, does: &mut Does) {
        let Some(rseq) = message.number(Name::RSeq).and_then(Result::ok) else { return };
        let tag = text(message.to_tag());
        let offered = self.calling.as_ref().is_some_and(|calling| calling.offer.is_some());
        let heard = sdp_id(message.body());
        let Some(calling) = &mut self.calling else { return };
        let invite = calling.cseq;
        let early = match calling.early.iter_mut().position(|early| early.tag == tag) {
            Some(place) => &mut calling.early[place],
            None => {
                calling.early.push(EarlyDialog { tag, rseq: rseq - 1, heard: None, answered: None });
                calling.early.last_mut().expect("pushed above")
            }
        };
        if rseq <= early.rseq || self.habits.reliable.is_mute {
            return;
        }
        if rseq != early.rseq + 1 {
            // Out of order (RFC 3262 §4).
            return;
        }
        early.rseq = rseq;
        let is_offer = !offered && heard.is_some() && early.heard.is_none();
        early.heard = early.heard.or(heard);
        let answer = is_offer.then(|| self.describe());
        if let (Some(answer), Some(calling)) = (answer, &mut self.calling)
            && let Some(early) =
                calling.early.iter_mut().find(|early| early.rseq == rseq && early.heard == heard)
        {
            early.answered = Some(answer);
        }
        let (target, other) = (self.target.clone(), self.other.clone());
        self.target = contact_uri(message).unwrap_or_default();
        self.other = text(message.first(Name::To));
        let body = answer.map(|id| described(id, false));
        let lines = format!("RAck: {rseq} {invite} INVITE\r\n");
        self.ask(Method::PRack, &lines, body.as_deref(), None, does);
        (self.target, self.other) = (target, other);
    }

    fn on_answer(&mut self, message: &Message, does: &mut Does) {
        let cseq = self.calling.as_ref().map_or(0, |calling| calling.cseq);
        if let Some((_, ack)) = self.acks.iter().find(|(of, _)| *of == cseq) {
            return does.sends.push(ack.clone());
        }
        self.requests.retain(|known| known.method != Method::Invite);
        let tag = text(message.to_tag());
        self.other = text(message.first(Name::To));
        self.target = contact_uri(message).unwrap_or_default();
        let Some(calling) = &mut self.calling else { return };
        calling.is_open = false;
        let early = calling.early.iter().find(|early| early.tag == tag);
        let (heard, answered) = early.map_or((None, None), |early| (early.heard, early.answered));
        let said = sdp_id(message.body());
        self.media.remote = said.or(heard);
        self.media.local = calling.offer.or(answered);
        let mut body = None;
        if self.media.local.is_none() {
            let answer = self.describe();
            self.media.local = Some(answer);
            body = Some(described(answer, false));
        }
        if self.media.remote.is_none() {
            self.complaint = Some("an answer without a description".to_owned());
        }
        let branch = format!("z9hG4bKp{}ack{cseq}", self.number);
        let ack = self.print(("ACK", cseq, &branch), (&self.target, &self.other), "", body.as_deref());
        does.sends.push(ack.clone());
        self.acks.push((cseq, ack));
        self.begin_talk(does);
        let said = session_of(message).map(|(interval, by_client)| (interval, by_client == Some(true)));
        self.keep_session(said, does);
    }

    /// The call is up.
    pub(super) fn begin_talk(&mut self, does: &mut Does) {
        self.stage = Stage::Talking;
        self.open = Open::None;
        self.changed_at = self.now;
        does.later.extend(self.habits.whims.iter().map(|(wait, whim)| (*wait, PhoneAct::Whim(*whim))));
        if self.habits.whims.iter().all(|(_, whim)| *whim != Whim::HangUp) && self.calling.is_some() {
            // Somebody has to end it.
            does.later.push((1_200_000, PhoneAct::Whim(Whim::HangUp)));
        }
    }

    /// The bytes of its ACK to an INVITE of its own.
    pub(super) fn acknowledge(&mut self, cseq: u32, body: Option<&str>, does: &mut Does) {
        let branch = format!("z9hG4bKp{}ack{cseq}", self.number);
        let ack: Bytes = self.print(("ACK", cseq, &branch), (&self.target, &self.other), "", body);
        does.sends.push(ack.clone());
        self.acks.push((cseq, ack));
    }
}
