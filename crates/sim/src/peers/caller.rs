//! A caller: one INVITE, and what becomes of it.

use super::text::{RequestText, contact_uri, response, sdp, text};
use super::{CallerConduct, Doings, SWITCH, peer_wait};
use crate::plan::CallPlan;
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{Message, Method, Name};

/// What a caller does by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallerAct {
    Start,
    ResendInvite(u32),
    /// What its conduct makes it do.
    Whim,
    HangUp,
    Resend(Pending, u32),
    /// The ACK that it held back.
    AckAtLast,
    Speak(u32),
}

/// A request of its own that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Cancel,
    Bye,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// INVITE sent, nothing heard.
    Calling,
    Proceeding,
    Answered,
    /// Failed, or hung up by either side.
    Done,
}

pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    pub(crate) conduct: CallerConduct,
    number: usize,
    offer: Option<String>,
    answer: String,
    from: String,
    to: String,
    call_id: String,
    via: String,
    cseq: u32,
    next_cseq: u32,
    uri: String,
    target: String,
    talk_ms: u64,
    whim_ms: u64,
    stage: Stage,
    invite: Bytes,
    ack: Option<Bytes>,
    acks_to_lose: u32,
    /// How often it still looks for a provisional response.
    patience: u32,
    cancel: Option<Bytes>,
    bye: Option<Bytes>,
    /// It hears and says nothing any more.
    gone: bool,
}

type Does = Doings<CallerAct>;

impl Caller {
    pub(crate) fn new(number: usize, plan: &CallPlan) -> Self {
        let host = number as u8 + 1;
        let address = match plan.source {
            Some(0) => SocketAddr::from(([192, 0, 2, host], 5060)),
            Some(_) => SocketAddr::from(([192, 0, 2, 128 + host], 5060)),
            None => SocketAddr::from(([192, 0, 3, host], 5060)),
        };
        let conduct = plan.conduct;
        let delayed = matches!(conduct, CallerConduct::LeavesOfferOpen | CallerConduct::OffersLate);
        let cseq = 1 + number as u32 * 10;
        let rport = if number.is_multiple_of(3) { ";rport" } else { "" };
        let via = if conduct == CallerConduct::NoBranch {
            String::new()
        } else {
            let cookie = if conduct == CallerConduct::OldBranch { "" } else { "z9hG4bK" };
            format!("{rport};branch={cookie}c{number}")
        };
        let mut caller = Self {
            address,
            conduct,
            number,
            offer: (plan.offers && !delayed).then(|| sdp(1_000 + number as u32)),
            answer: sdp(2_000 + number as u32),
            from: format!("\"Caller\" <sip:10{number}@customer.example>;tag=from{number}"),
            to: format!("<sip:{}@{SWITCH}>", plan.dialled),
            call_id: format!("caller{number}@{}", address.ip()),
            via,
            cseq,
            next_cseq: cseq + 1,
            uri: format!("sip:{}@{SWITCH}", plan.dialled),
            target: String::new(),
            talk_ms: plan.talk_ms,
            whim_ms: plan.whim_ms,
            stage: Stage::Calling,
            invite: Bytes::new(),
            ack: None,
            acks_to_lose: if conduct == CallerConduct::LosesAcks { 1 + (plan.whim_ms % 3) as u32 } else { 0 },
            patience: 100,
            cancel: None,
            bye: None,
            gone: false,
        };
        caller.target.clone_from(&caller.uri);
        caller.invite = caller.print_invite();
        caller
    }

    fn print_invite(&self) -> Bytes {
        let mut lines = format!("Contact: <sip:c{}@{}>\r\n", self.number, self.address);
        let hops = if self.conduct == CallerConduct::TooManyHops { 0 } else { 70 };
        lines.push_str(&format!("Max-Forwards: {hops}\r\n"));
        if self.conduct == CallerConduct::RequiresMore {
            lines.push_str("Require: 100rel\r\n");
        }
        let printed = self.print(("INVITE", self.cseq), &self.via, &self.to, &lines, self.offer.as_deref());
        if self.conduct == CallerConduct::Malformed {
            let whole = String::from_utf8_lossy(&printed).into_owned();
            return Bytes::from(whole.replace("CSeq", "X-CSeq"));
        }
        printed
    }

    fn print(
        &self,
        (method, cseq): (&str, u32),
        via: &str,
        to: &str,
        lines: &str,
        body: Option<&str>,
    ) -> Bytes {
        let target = if matches!(method, "INVITE" | "CANCEL") { &self.uri } else { &self.target };
        RequestText {
            method,
            target,
            via_parameters: via,
            address: self.address,
            from: &self.from,
            to,
            call_id: &self.call_id,
            cseq: (cseq, method),
            lines,
            body,
        }
        .print()
    }

    /// Whether ICMP comes back from where it was.
    pub(crate) fn has_closed_port(&self) -> bool {
        self.gone && self.conduct == CallerConduct::ClosesPort
    }

    pub(crate) fn act(&mut self, act: CallerAct) -> Does {
        let mut does = Does::default();
        if self.gone {
            return does;
        }
        match act {
            CallerAct::Start => self.start(&mut does),
            CallerAct::ResendInvite(sent) => self.resend_invite(sent, &mut does),
            CallerAct::Whim => self.whim(&mut does),
            CallerAct::HangUp => self.hang_up(&mut does),
            CallerAct::Resend(pending, sent) => self.resend(pending, sent, &mut does),
            CallerAct::AckAtLast => does.sends.extend(self.ack.clone()),
            CallerAct::Speak(turn) => self.speak(turn, &mut does),
        }
        does
    }

    fn start(&mut self, does: &mut Does) {
        does.sends.push(self.invite.clone());
        does.later.push((500, CallerAct::ResendInvite(1)));
        const WHIMSICAL: [CallerConduct; 4] = [
            CallerConduct::Cancels,
            CallerConduct::HangsUpEarly,
            CallerConduct::Vanishes,
            CallerConduct::ClosesPort,
        ];
        if self.conduct == CallerConduct::CancelsAtOnce {
            does.later.push((self.whim_ms % 50, CallerAct::Whim));
        } else if WHIMSICAL.contains(&self.conduct) {
            does.later.push((self.whim_ms, CallerAct::Whim));
        } else if self.conduct == CallerConduct::Repeats {
            does.later.extend((1..=4).map(|turn| (turn * (200 + self.whim_ms / 4), CallerAct::Whim)));
        }
    }

    fn resend_invite(&mut self, sent: u32, does: &mut Does) {
        if self.stage == Stage::Calling {
            does.sends.push(self.invite.clone());
            if let Some(wait) = peer_wait(sent) {
                does.later.push((wait, CallerAct::ResendInvite(sent + 1)));
            }
        }
    }

    fn whim(&mut self, does: &mut Does) {
        let is_patient = matches!(self.conduct, CallerConduct::HangsUpEarly | CallerConduct::Cancels);
        if matches!(self.conduct, CallerConduct::Vanishes | CallerConduct::ClosesPort) {
            self.gone = true;
        } else if self.conduct == CallerConduct::Repeats {
            does.sends.push(self.invite.clone());
        } else if self.stage == Stage::Calling && is_patient {
            // Not before a provisional response (RFC 3261 §9.1), for which it does not wait for ever.
            self.patience = self.patience.saturating_sub(1);
            does.later.extend((self.patience > 0).then_some((400, CallerAct::Whim)));
        } else if self.stage == Stage::Proceeding && self.conduct == CallerConduct::HangsUpEarly {
            self.hang_up(does);
        } else if matches!(self.stage, Stage::Calling | Stage::Proceeding) {
            self.send_cancel(does);
        }
    }

    fn send_cancel(&mut self, does: &mut Does) {
        let cancel =
            self.print(("CANCEL", self.cseq), &self.via, &self.untagged_to(), "Max-Forwards: 70\r\n", None);
        does.sends.push(cancel.clone());
        does.later.push((500, CallerAct::Resend(Pending::Cancel, 1)));
        self.cancel = Some(cancel);
    }

    fn untagged_to(&self) -> String {
        self.to.split(";tag=").next().unwrap_or_default().to_owned()
    }

    /// BYE in whatever dialog it knows.
    fn hang_up(&mut self, does: &mut Does) {
        if self.bye.is_some() || self.stage == Stage::Done || !self.to.contains(";tag=") {
            return;
        }
        let bye = self.next_request("BYE", "", None);
        does.sends.push(bye.clone());
        does.later.push((500, CallerAct::Resend(Pending::Bye, 1)));
        self.bye = Some(bye);
        if self.stage == Stage::Answered {
            self.stage = Stage::Done;
        }
    }

    fn next_request(&mut self, method: &str, lines: &str, body: Option<&str>) -> Bytes {
        let cseq = self.next_cseq;
        self.next_cseq += 1;
        let via = format!(";branch=z9hG4bKc{}r{cseq}", self.number);
        self.print((method, cseq), &via, &self.to, &format!("Max-Forwards: 70\r\n{lines}"), body)
    }

    fn resend(&mut self, pending: Pending, sent: u32, does: &mut Does) {
        let request = match pending {
            Pending::Cancel => &self.cancel,
            Pending::Bye => &self.bye,
        };
        if let (Some(request), Some(wait)) = (request, peer_wait(sent)) {
            does.sends.push(request.clone());
            does.later.push((wait, CallerAct::Resend(pending, sent + 1)));
        }
    }

    fn speak(&mut self, turn: u32, does: &mut Does) {
        if self.stage != Stage::Answered || turn >= 4 {
            return;
        }
        let contact = format!("Contact: <sip:c{}@{}>\r\n", self.number, self.address);
        let request = match turn {
            0 => self.next_request("OPTIONS", "", None),
            1 => self.next_request("UPDATE", &contact, None),
            2 => self.next_request("INFO", "", None),
            _ => {
                // A number that was used before: out of order.
                self.next_cseq = self.cseq;
                let request = self.next_request("OPTIONS", "X-Turn: 4\r\n", None);
                self.next_cseq = self.cseq + 10;
                request
            }
        };
        does.sends.push(request.clone());
        if turn.is_multiple_of(2) {
            does.sends.push(request);
        }
        does.later.push((700, CallerAct::Speak(turn + 1)));
    }

    pub(crate) fn receive(&mut self, message: &Message) -> Does {
        let mut does = Does::default();
        if self.gone {
            return does;
        }
        match message.status() {
            None => self.on_request(message, &mut does),
            Some(status) => match message.method() {
                Some(Method::Invite) => self.on_invite_response(message, status.code(), &mut does),
                Some(Method::Cancel) if status.is_final() => self.cancel = None,
                Some(Method::Bye) if status.is_final() => self.bye = None,
                Some(_) | None => {}
            },
        }
        does
    }

    fn on_request(&mut self, request: &Message, does: &mut Does) {
        if request.method() != Some(Method::Bye) || self.conduct == CallerConduct::IgnoresBye {
            return;
        }
        self.stage = Stage::Done;
        does.sends.push(response(request, 200, None, None, None));
    }

    fn on_invite_response(&mut self, message: &Message, status: u16, does: &mut Does) {
        if !message.cseq().is_ok_and(|cseq| cseq.number == self.cseq) {
            return self.ack_failure(message, does);
        }
        let is_open = matches!(self.stage, Stage::Calling | Stage::Proceeding);
        match status {
            100..=199 if is_open => {
                self.stage = Stage::Proceeding;
                if message.to_tag().is_some() {
                    self.to = text(message.first(Name::To));
                    self.target = contact_uri(message).unwrap_or_else(|| self.uri.clone());
                }
            }
            100..=199 => {}
            200..=299 => self.on_answer(message, is_open, does),
            _ => {
                self.stage = Stage::Done;
                if self.conduct != CallerConduct::NeverAcks {
                    self.ack_failure(message, does);
                }
            }
        }
    }

    /// The ACK of a failure has the branch of the request that failed.
    fn ack_failure(&mut self, message: &Message, does: &mut Does) {
        let Ok(cseq) = message.cseq().map(|cseq| cseq.number) else { return };
        if message.status().is_none_or(|status| !status.is_failure()) {
            return;
        }
        let via = if cseq == self.cseq {
            self.via.clone()
        } else {
            format!(";branch=z9hG4bKc{}r{cseq}", self.number)
        };
        let to = text(message.first(Name::To));
        if self.acks_to_lose > 0 {
            self.acks_to_lose -= 1;
            return;
        }
        does.sends.push(self.print(("ACK", cseq), &via, &to, "Max-Forwards: 70\r\n", None));
    }

    fn on_answer(&mut self, message: &Message, is_first: bool, does: &mut Does) {
        if is_first {
            self.stage = Stage::Answered;
            self.to = text(message.first(Name::To));
            self.target = contact_uri(message).unwrap_or_else(|| self.uri.clone());
            let answers_now = self.offer.is_none() && self.conduct != CallerConduct::LeavesOfferOpen;
            let body = answers_now.then(|| self.answer.clone());
            let via = format!(";branch=z9hG4bKc{}ack", self.number);
            let ack = self.print(("ACK", self.cseq), &via, &self.to, "Max-Forwards: 70\r\n", body.as_deref());
            self.ack = Some(ack);
            self.on_first_answer(does);
        }
        const SILENT: [CallerConduct; 3] =
            [CallerConduct::NeverAcks, CallerConduct::HangsUpUnacknowledged, CallerConduct::AcksLate];
        if self.acks_to_lose > 0 {
            self.acks_to_lose -= 1;
        } else if !SILENT.contains(&self.conduct) {
            does.sends.extend(self.ack.clone());
        }
    }

    fn on_first_answer(&mut self, does: &mut Does) {
        const WAITING: [CallerConduct; 3] =
            [CallerConduct::Waits, CallerConduct::IgnoresBye, CallerConduct::NeverAcks];
        let mut talk = self.talk_ms;
        if self.conduct == CallerConduct::HangsUpUnacknowledged {
            return self.hang_up(does);
        } else if self.conduct == CallerConduct::CancelsTooLate {
            self.send_cancel(does);
            talk = 100;
        } else if matches!(self.conduct, CallerConduct::CancelsAtOnce | CallerConduct::Cancels) {
            talk = 50;
        } else if self.conduct == CallerConduct::AcksLate {
            let late = 2_000 + self.whim_ms;
            does.later.push((late, CallerAct::AckAtLast));
            talk += late;
        } else if self.conduct == CallerConduct::Speaks {
            does.later.push((300, CallerAct::Speak(0)));
            talk += 5_000;
        } else if WAITING.contains(&self.conduct) {
            return;
        }
        does.later.push((talk, CallerAct::HangUp));
    }
}
