//! A carrier: what answers the INVITEs of one routing gateway.

use super::script::{Step, Twist, script};
use super::text::{RequestText, contact_uri, response, sdp, text};
use super::{CarrierConduct, Doings, peer_wait};
use crate::plan::Gateway;
use crate::random::Random;
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{Message, Method, Name};

/// What a carrier does by itself; all of one dialog set, by its place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CarrierAct {
    /// The script's step of that place.
    Step(usize),
    ResendFinal(usize, u32),
    /// The final response of that place once more, acknowledged or not.
    Again(usize),
    HangUp(u8),
    ResendBye(u32),
    Speak(u32),
    AnswerCancelled,
}

pub(crate) struct Carrier {
    pub(crate) address: SocketAddr,
    place: usize,
    persona: Option<CarrierConduct>,
    timeout_ms: u64,
    stop_codes: Vec<u16>,
    dialogs: Vec<Uas>,
    random: Random,
}

/// One INVITE that was received.
struct Uas {
    invite: Message,
    conduct: CarrierConduct,
    steps: Vec<Step>,
    /// The last provisional response.
    provisional: Option<Bytes>,
    finals: Vec<Final>,
    /// Forks whose dialog has ended.
    closed: Vec<u8>,
    bye: Option<Bytes>,
    cseq: u32,
    /// BYEs that get 100 before one gets 200.
    delays: u32,
}

struct Final {
    status: u16,
    fork: u8,
    message: Bytes,
    acknowledged: bool,
}

type Does = Doings<(usize, CarrierAct)>;

impl Carrier {
    pub(crate) fn new(place: usize, gateway: &Gateway, random: Random) -> Self {
        Self {
            address: gateway.address,
            place,
            persona: gateway.persona,
            timeout_ms: gateway.knobs.invite_ms,
            stop_codes: gateway.knobs.stop_codes.clone(),
            dialogs: Vec::new(),
            random,
        }
    }

    /// Takes a message. `Some` tells how it is going to treat an INVITE that it has not seen before.
    pub(crate) fn receive(&mut self, message: &Message) -> (Does, Option<CarrierConduct>) {
        let mut does = Does::default();
        let mut conduct = None;
        match message.method() {
            Some(Method::Invite) if message.is_request() => conduct = self.on_invite(message, &mut does),
            Some(Method::Ack) => self.on_ack(message),
            Some(Method::Cancel) if message.is_request() => self.on_cancel(message, &mut does),
            Some(Method::Bye) if message.is_request() => self.on_bye(message, &mut does),
            _ => self.on_response(message, &mut does),
        }
        (does, conduct)
    }

    fn on_invite(&mut self, invite: &Message, does: &mut Does) -> Option<CarrierConduct> {
        if let Some(place) = self.by_branch(invite) {
            let known = &self.dialogs[place];
            let last = known.finals.iter().rev().find(|last| !last.acknowledged).map(|last| &last.message);
            does.sends
                .extend(last.or(known.provisional.as_ref().filter(|_| known.finals.is_empty())).cloned());
            return None;
        }
        let persona = self.persona.filter(|_| self.random.chance(70));
        let is_plain = self.random.chance(25);
        let other = if is_plain { CarrierConduct::Answers } else { self.random.one_of(CarrierConduct::ALL) };
        let conduct = persona.unwrap_or(other);
        let steps = script(conduct, (self.timeout_ms, &self.stop_codes), &mut self.random);
        let place = self.dialogs.len();
        does.later.extend(
            steps.iter().enumerate().map(|(step, what)| (what.at_ms, (place, CarrierAct::Step(step)))),
        );
        self.dialogs.push(Uas {
            invite: invite.clone(),
            conduct,
            steps,
            provisional: None,
            finals: Vec::new(),
            closed: Vec::new(),
            bye: None,
            cseq: 20,
            delays: 3,
        });
        Some(conduct)
    }

    fn by_branch(&self, request: &Message) -> Option<usize> {
        let branch = branch(request)?;
        self.dialogs.iter().rposition(|known| crate::peers::carrier::branch(&known.invite) == Some(branch))
    }

    /// The dialog set and the fork that a request inside a dialog is for.
    fn by_dialog(&self, request: &Message) -> Option<(usize, u8)> {
        let place = self.dialogs.iter().rposition(|known| known.invite.call_id() == request.call_id())?;
        let tag = text(request.to_tag());
        let fork = (0..3).find(|fork| tag.is_empty() || self.tag(place, *fork) == tag)?;
        Some((place, fork))
    }

    fn tag(&self, place: usize, fork: u8) -> String {
        format!("gw{}d{place}{}", self.place + 1, char::from(b'a' + fork))
    }

    fn on_ack(&mut self, ack: &Message) {
        if let Some(place) = self.by_branch(ack) {
            for last in self.dialogs[place].finals.iter_mut().filter(|last| last.status >= 300) {
                last.acknowledged = true;
            }
        } else if let Some((place, fork)) = self.by_dialog(ack) {
            for last in self.dialogs[place].finals.iter_mut().filter(|last| last.fork == fork) {
                last.acknowledged = true;
            }
        }
    }

    fn on_cancel(&mut self, cancel: &Message, does: &mut Does) {
        let Some(place) = self.by_branch(cancel) else {
            does.sends.push(response(cancel, 481, Some("nobody"), None, None));
            return;
        };
        let known = &self.dialogs[place];
        let tag = self.tag(place, 0);
        if known.conduct == CarrierConduct::IgnoresCancel {
            return;
        }
        let forgets = known.conduct == CarrierConduct::ForgetsDialogs;
        let status = if forgets { 481 } else { 200 };
        does.sends.push(response(cancel, status, Some(&tag), None, None));
        if forgets || !known.finals.is_empty() {
            return;
        }
        if known.conduct == CarrierConduct::AnswersCancelled {
            let wait = self.random.below(1_500);
            does.later.push((wait, (place, CarrierAct::AnswerCancelled)));
        } else {
            let message = response(&known.invite, 487, Some(&tag), None, None);
            self.finish(place, (487, 0, message), does);
        }
    }

    fn on_bye(&mut self, bye: &Message, does: &mut Does) {
        let Some((place, fork)) = self.by_dialog(bye) else {
            does.sends.push(response(bye, 481, Some("nobody"), None, None));
            return;
        };
        let known = &mut self.dialogs[place];
        if known.conduct == CarrierConduct::IgnoresBye {
            return;
        }
        if known.conduct == CarrierConduct::TakesTime && known.delays > 0 {
            known.delays -= 1;
            does.sends.push(response(bye, 100, None, None, None));
            return;
        }
        let status = if known.conduct == CarrierConduct::ForgetsDialogs { 481 } else { 200 };
        known.closed.push(fork);
        does.sends.push(response(bye, status, None, None, None));
    }

    /// A response to a request of its own.
    fn on_response(&mut self, message: &Message, does: &mut Does) {
        let Some(status) = message.status().filter(|status| status.is_final()) else { return };
        let Some(known) = self.dialogs.iter_mut().find(|known| known.invite.call_id() == message.call_id())
        else {
            return;
        };
        match message.method() {
            Some(Method::Bye) => known.bye = None,
            Some(Method::Invite) if status.is_failure() => {
                let Some(branch) = branch(message) else { return };
                let via = format!(";branch={}", String::from_utf8_lossy(branch));
                let to = text(message.first(Name::To));
                let from = text(message.first(Name::From));
                let cseq = message.cseq().map_or(0, |cseq| cseq.number);
                does.sends.push(print(known, self.address, ("ACK", cseq), &via, (&from, &to), None));
            }
            Some(_) | None => {}
        }
    }

    pub(crate) fn act(&mut self, place: usize, act: CarrierAct) -> Does {
        let mut does = Does::default();
        match act {
            CarrierAct::Step(step) => self.step(place, step, &mut does),
            CarrierAct::ResendFinal(last, sent) => {
                let last_response = &self.dialogs[place].finals[last];
                if !last_response.acknowledged
                    && let Some(wait) = peer_wait(sent)
                {
                    does.sends.push(last_response.message.clone());
                    does.later.push((wait, (place, CarrierAct::ResendFinal(last, sent + 1))));
                }
            }
            CarrierAct::Again(last) => does.sends.push(self.dialogs[place].finals[last].message.clone()),
            CarrierAct::HangUp(fork) => self.hang_up(place, fork, &mut does),
            CarrierAct::ResendBye(sent) => {
                if let (Some(bye), Some(wait)) = (&self.dialogs[place].bye, peer_wait(sent)) {
                    does.sends.push(bye.clone());
                    does.later.push((wait, (place, CarrierAct::ResendBye(sent + 1))));
                }
            }
            CarrierAct::Speak(turn) => self.speak(place, turn, &mut does),
            CarrierAct::AnswerCancelled => {
                if self.dialogs[place].finals.is_empty() {
                    self.answer(
                        place,
                        Step { at_ms: 0, status: 200, fork: 0, sdp: true, twist: Twist::None },
                        &mut does,
                    );
                }
            }
        }
        does
    }

    fn step(&mut self, place: usize, step: usize, does: &mut Does) {
        let known = &self.dialogs[place];
        let step = known.steps[step];
        let has_failed = known.finals.iter().any(|last| last.status >= 300);
        let has_answered = !known.finals.is_empty();
        if has_failed || (has_answered && step.status != 200) {
            return;
        }
        if step.twist == Twist::Garbage {
            let length = 1 + self.random.below(60) as usize;
            let bytes: Vec<u8> = (0..length).map(|_| self.random.below(256) as u8).collect();
            does.sends.push(Bytes::from(bytes));
            return;
        }
        self.answer(place, step, does);
    }

    fn answer(&mut self, place: usize, step: Step, does: &mut Does) {
        let known = &self.dialogs[place];
        let tag = self.tag(place, step.fork);
        let id = (self.place as u32 + 1) * 100_000 + place as u32 * 8 + u32::from(step.fork);
        let body = step.sdp.then(|| sdp(id));
        let contact = Some(self.address).filter(|_| step.status > 100 && step.twist != Twist::NoContact);
        let tag = (step.status > 100 && known.conduct != CarrierConduct::NoTag).then_some(tag);
        let message = response(&known.invite, step.status, tag.as_deref(), contact, body.as_deref());
        let wrong =
            |from: &str, to: &str| Bytes::from(String::from_utf8_lossy(&message).replacen(from, to, 1));
        match step.twist {
            Twist::WrongMethod => does.sends.push(wrong(" INVITE\r\n", " BYE\r\n")),
            Twist::WrongBranch => does.sends.push(wrong("branch=z9hG4bK", "branch=z9hG4bKx")),
            Twist::WrongNumber => {
                let message = wrong("CSeq: ", "CSeq: 7");
                self.respond(place, (step.status, step.fork, message), does);
            }
            Twist::None | Twist::NoContact | Twist::Garbage => {
                self.respond(place, (step.status, step.fork, message), does);
            }
        }
    }

    fn respond(&mut self, place: usize, (status, fork, message): (u16, u8, Bytes), does: &mut Does) {
        if status < 200 {
            self.dialogs[place].provisional = Some(message.clone());
            does.sends.push(message);
        } else {
            self.finish(place, (status, fork, message), does);
        }
    }

    fn finish(&mut self, place: usize, (status, fork, message): (u16, u8, Bytes), does: &mut Does) {
        let is_first = self.dialogs[place].finals.is_empty();
        let last = self.dialogs[place].finals.len();
        does.sends.push(message.clone());
        does.later.push((500, (place, CarrierAct::ResendFinal(last, 1))));
        let conduct = self.dialogs[place].conduct;
        self.dialogs[place].finals.push(Final { status, fork, message, acknowledged: false });
        if status >= 300 || !is_first {
            return;
        }
        if conduct == CarrierConduct::HangsUpAtOnce {
            self.hang_up(place, fork, does);
        } else if conduct == CarrierConduct::AnswersTwice {
            does.later.extend([700, 3_000, 20_000].map(|wait| (wait, (place, CarrierAct::Again(last)))));
        } else if conduct == CarrierConduct::Speaks {
            does.later.push((800, (place, CarrierAct::Speak(0))));
        } else if conduct == CarrierConduct::HangsUp || self.random.chance(25) {
            let talk = self.random.below(40_000);
            does.later.push((talk, (place, CarrierAct::HangUp(fork))));
        }
    }

    fn hang_up(&mut self, place: usize, fork: u8, does: &mut Does) {
        if self.dialogs[place].closed.contains(&fork) {
            return;
        }
        let bye = self.next_request(place, fork, "BYE", None);
        does.sends.push(bye.clone());
        does.later.push((500, (place, CarrierAct::ResendBye(1))));
        let known = &mut self.dialogs[place];
        known.closed.push(fork);
        known.bye = Some(bye);
    }

    fn speak(&mut self, place: usize, turn: u32, does: &mut Does) {
        let Some(answer) = self.dialogs[place].finals.first() else { return };
        let fork = answer.fork;
        if self.dialogs[place].closed.contains(&fork) || turn > 3 {
            return;
        }
        let request = match turn {
            0 => self.next_request(place, fork, "INFO", None),
            1 => self.next_request(place, fork, "UPDATE", None),
            2 => self.next_request(place, fork, "REFER", None),
            _ => {
                self.dialogs[place].cseq = 5;
                self.next_request(place, fork, "OPTIONS", None)
            }
        };
        does.sends.push(request);
        does.later.push((900, (place, CarrierAct::Speak(turn + 1))));
    }

    fn next_request(&mut self, place: usize, fork: u8, method: &str, body: Option<&str>) -> Bytes {
        let tag = self.tag(place, fork);
        let known = &mut self.dialogs[place];
        known.cseq += 1;
        let cseq = known.cseq;
        let via = format!(";branch=z9hG4bKg{}d{place}f{fork}r{cseq}{method}", self.place);
        let untagged = text(known.invite.first(Name::To));
        let is_old = known.conduct == CarrierConduct::NoTag;
        let from = if is_old { untagged } else { format!("{untagged};tag={tag}") };
        let to = text(known.invite.first(Name::From));
        print(known, self.address, (method, cseq), &via, (&from, &to), body)
    }
}

fn print(
    known: &Uas,
    address: SocketAddr,
    (method, cseq): (&str, u32),
    via: &str,
    (from, to): (&str, &str),
    body: Option<&str>,
) -> Bytes {
    let target = contact_uri(&known.invite).unwrap_or_default();
    let lines = format!("Max-Forwards: 70\r\nContact: <sip:peer@{address}>\r\n");
    RequestText {
        method,
        target: &target,
        via_parameters: via,
        address,
        from,
        to,
        call_id: &text(known.invite.call_id()),
        cseq: (cseq, method),
        lines: &lines,
        body,
    }
    .print()
}

fn branch(message: &Message) -> Option<&[u8]> {
    message.top_via().ok()?.branch()
}
