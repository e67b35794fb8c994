//! The called ends: 100, 180, 200, and what the server must send to them.

use crate::load::caller::SDP;
use crate::load::failure::Failure;
use crate::load::message::{Message, Name, Start, headers, parameter, user};
use crate::load::plan::{
    CALLEE, DIALLED, MAX_FORWARDS, Numbers, PATIENCE, Plan, RINGING, T1, T2, Timer, Turn,
};
use std::net::SocketAddrV4;
use std::time::Duration;

/// All callees of a run; a pure machine.
pub(crate) struct Callee {
    numbers: Numbers,
    /// What Max-Forwards a server must have gone below; nothing, without a server.
    hops: Option<u32>,
    calls: Vec<Option<Box<Call>>>,
    /// Messages sent again.
    pub(crate) resent: u64,
    /// Calls that ended before their ACK came: it was lost, and the talk was shorter than the wait for it.
    pub(crate) without_ack: u32,
    /// Calls whose BYE came.
    pub(crate) left: u32,
    /// Requests that came again.
    pub(crate) repeated: u64,
}

struct Call {
    state: State,
    server: SocketAddrV4,
    /// Via, Record-Route, From, To, Call-ID and CSeq of all responses to the INVITE.
    head: String,
    call_id: String,
    caller_tag: String,
    cseq: u32,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ringing,
    /// The 200 is on its way: when it was sent first, and the wait that ends with its next resend.
    Answered {
        at: Duration,
        wait: Duration,
    },
    Talking,
    Over,
}

impl Callee {
    pub(crate) fn new(plan: &Plan, numbers: Numbers) -> Self {
        let calls = std::iter::repeat_with(|| None).take(numbers.count as usize).collect();
        let hops = (plan.target != CALLEE).then_some(MAX_FORWARDS);
        Self { numbers, hops, calls, resent: 0, without_ack: 0, left: 0, repeated: 0 }
    }

    /// Whether a call went by the book as its callee saw it.
    pub(crate) fn verdict(&self, call: u32) -> Result<(), Failure> {
        let Some(Some(one)) = self.calls.get(call as usize) else {
            return Err(Failure::Wrong("no INVITE at the callee"));
        };
        match (one.failure, one.state) {
            (Some(failure), _) => Err(failure),
            (None, State::Over) => Ok(()),
            (None, State::Ringing | State::Answered { .. } | State::Talking) => {
                Err(Failure::Wrong("no BYE at the callee"))
            }
        }
    }

    /// A request came; tells the call whose first INVITE it is.
    pub(crate) fn receive(
        &mut self,
        message: &Message<'_>,
        server: SocketAddrV4,
        turn: &mut Turn<'_>,
    ) -> Option<u32> {
        let Start::Request { method, uri } = message.start else { return None };
        match method {
            "INVITE" => {
                let call = user(uri).and_then(|user| self.numbers.call(user, DIALLED))?;
                return self.invited(call, message, server, turn);
            }
            // The server asks whether somebody is there.
            "OPTIONS" => respond(message, server, "200 OK", turn),
            _ => {
                let tag = parameter(message.to, "tag")?;
                let call = self.numbers.call(tag, "b")?;
                self.in_dialog(call, method, message, server, turn);
            }
        }
        None
    }

    /// A timer came due; those of the caller are none of ours.
    pub(crate) fn expire(&mut self, timer: Timer, turn: &mut Turn<'_>) {
        match timer {
            Timer::Answer(call) => {
                let Some(Some(one)) = self.calls.get_mut(call as usize) else { return };
                if one.state == State::Ringing {
                    one.state = State::Answered { at: turn.now, wait: T1 };
                    one.answer(turn);
                    turn.timers.set(turn.now, T1, Timer::ResendAnswer(call));
                }
            }
            Timer::ResendAnswer(call) => self.resend_answer(call, turn),
            Timer::ResendInvite(_)
            | Timer::SetUpOver(_)
            | Timer::HangUp(_)
            | Timer::ResendBye(_)
            | Timer::EndOver(_) => {}
        }
    }

    fn resend_answer(&mut self, call: u32, turn: &mut Turn<'_>) {
        let Some(Some(one)) = self.calls.get_mut(call as usize) else { return };
        let State::Answered { at, wait } = &mut one.state else { return };
        if turn.now >= *at + PATIENCE {
            one.failure.get_or_insert(Failure::Wrong("no ACK at the callee"));
            one.state = State::Over;
            return;
        }
        *wait = T2.min(*wait * 2);
        let wait = *wait;
        turn.timers.set(turn.now, wait, Timer::ResendAnswer(call));
        self.resent += 1;
        one.answer(turn);
    }

    fn invited(
        &mut self,
        call: u32,
        message: &Message<'_>,
        server: SocketAddrV4,
        turn: &mut Turn<'_>,
    ) -> Option<u32> {
        let entry = &mut self.calls[call as usize];
        if let Some(one) = entry {
            self.repeated += 1;
            if one.call_id != message.call_id {
                one.failure.get_or_insert(Failure::Wrong("a second INVITE for one call"));
            } else if one.state == State::Ringing {
                self.resent += 1;
                one.respond("180 Ringing", turn);
            }
            return None;
        }
        let number = self.numbers.first + call;
        let one = entry.insert(Box::new(Call::new(number, message, server, self.hops)));
        respond(message, server, "100 Trying", turn);
        one.respond("180 Ringing", turn);
        turn.timers.set(turn.now, RINGING, Timer::Answer(call));
        Some(call)
    }

    fn in_dialog(
        &mut self,
        call: u32,
        method: &str,
        message: &Message<'_>,
        server: SocketAddrV4,
        turn: &mut Turn<'_>,
    ) {
        let Some(Some(one)) = self.calls.get_mut(call as usize) else { return };
        if message.call_id != one.call_id || parameter(message.from, "tag") != Some(&one.caller_tag) {
            one.failure.get_or_insert(Failure::Wrong("a request of another dialog"));
            return;
        }
        match method {
            "ACK" => match one.state {
                State::Answered { .. } if message.cseq == one.cseq => one.state = State::Talking,
                State::Answered { .. } => {
                    one.failure.get_or_insert(Failure::Wrong("ACK with another CSeq than its INVITE"));
                    one.state = State::Talking;
                }
                State::Talking | State::Over => self.repeated += 1,
                State::Ringing => {
                    one.failure.get_or_insert(Failure::Wrong("ACK before the 200"));
                }
            },
            "BYE" => {
                match one.state {
                    State::Talking if message.cseq > one.cseq => {}
                    State::Talking => {
                        one.failure.get_or_insert(Failure::Wrong("BYE with an old CSeq"));
                    }
                    State::Over => self.repeated += 1,
                    State::Answered { .. } => self.without_ack += 1,
                    State::Ringing => {
                        one.failure.get_or_insert(Failure::Wrong("BYE before the 200"));
                    }
                }
                if one.state != State::Over {
                    one.state = State::Over;
                    self.left += 1;
                }
                respond(message, server, "200 OK", turn);
            }
            _ => {
                one.failure.get_or_insert(Failure::Wrong("a request that no call here needs"));
                respond(message, server, "501 Not Implemented", turn);
            }
        }
    }
}

impl Call {
    fn new(number: u32, message: &Message<'_>, server: SocketAddrV4, hops: Option<u32>) -> Call {
        let mut head = String::with_capacity(message.head.len());
        for (name, line, _) in headers(message.head) {
            match name {
                Name::Via | Name::RecordRoute | Name::From | Name::CallId | Name::CSeq => {
                    head.push_str(line);
                    head.push_str("\r\n");
                }
                Name::To => {
                    head.push_str(line);
                    head.push_str(";tag=b");
                    head.push_str(&number.to_string());
                    head.push_str("\r\n");
                }
                Name::Contact | Name::MaxForwards | Name::ContentLength | Name::Another => {}
            }
        }
        let failure = invite_flaw(message, hops).map(Failure::Wrong);
        Call {
            state: State::Ringing,
            server,
            head,
            call_id: message.call_id.to_owned(),
            caller_tag: parameter(message.from, "tag").unwrap_or_default().to_owned(),
            cseq: message.cseq,
            failure,
        }
    }

    fn respond(&self, status: &str, turn: &mut Turn<'_>) {
        let head = &self.head;
        let message =
            format_args!("SIP/2.0 {status}\r\n{head}Contact: <sip:{CALLEE}>\r\nContent-Length: 0\r\n\r\n");
        turn.outbox.push(self.server, message);
    }

    fn answer(&self, turn: &mut Turn<'_>) {
        let head = &self.head;
        let message = format_args!(
            "SIP/2.0 200 OK\r\n{head}Contact: <sip:{CALLEE}>\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{SDP}",
            length = SDP.len(),
        );
        turn.outbox.push(self.server, message);
    }
}

/// What an INVITE lacks.
fn invite_flaw(message: &Message<'_>, hops: Option<u32>) -> Option<&'static str> {
    if parameter(message.to, "tag").is_some() {
        return Some("INVITE with a To tag");
    }
    if parameter(message.from, "tag").is_none() {
        return Some("INVITE without a From tag");
    }
    if message.contact.is_none() {
        return Some("INVITE without Contact");
    }
    let went_down = |left: u32| hops.is_none_or(|sent| left < sent);
    if !message.max_forwards.is_some_and(went_down) {
        return Some("INVITE without a Max-Forwards that went down");
    }
    (!message.body.contains("m=audio")).then_some("INVITE without SDP")
}

/// A response that nothing needs to be kept for.
fn respond(message: &Message<'_>, server: SocketAddrV4, status: &str, turn: &mut Turn<'_>) {
    let mut head = String::with_capacity(message.head.len());
    for (name, line, _) in headers(message.head) {
        match name {
            Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq => {
                head.push_str(line);
                head.push_str("\r\n");
            }
            Name::RecordRoute | Name::Contact | Name::MaxForwards | Name::ContentLength | Name::Another => {}
        }
    }
    turn.outbox.push(server, format_args!("SIP/2.0 {status}\r\n{head}Content-Length: 0\r\n\r\n"));
}
