//! The calling ends: INVITE, ACK, a talk, BYE.

use crate::load::failure::Failure;
use crate::load::message::{Message, Start, parameter, place, uri};
use crate::load::plan::{CALLER, DIALLED, MAX_FORWARDS, Numbers, PATIENCE, Plan, T1, T2, Timer, Turn};
use std::net::SocketAddrV4;
use std::time::Duration;

/// All callers of a run; a pure machine.
pub(crate) struct Caller {
    plan: Plan,
    numbers: Numbers,
    calls: Vec<Call>,
    /// Messages sent again.
    pub(crate) resent: u64,
    /// Responses that came again after they had been acted on.
    pub(crate) repeated: u64,
    /// Calls that were answered without a 180: nobody sends a lost one again.
    pub(crate) without_ringing: u32,
    /// Calls that were answered and not hung up yet.
    pub(crate) talking: u32,
    /// Calls that ended or failed.
    pub(crate) over: u32,
    pub(crate) failed: u32,
}

struct Call {
    state: State,
    /// Where and how requests of the dialog go, once there is one.
    dialog: Option<Box<Dialog>>,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing came back yet; the wait that ends with the next resend.
    Calling { wait: Duration },
    /// Something provisional came.
    Proceeding { rung: bool },
    /// Answered and acknowledged.
    Talking,
    /// The BYE is on its way; the wait that ends with its next resend.
    Leaving { wait: Duration },
    /// Over, well or not.
    Over,
}

struct Dialog {
    next_hop: SocketAddrV4,
    target: String,
    /// Route lines, each with its line end.
    routes: String,
    to: String,
}

/// Telephone-event and two codecs, as a carrier offers.
pub(crate) const SDP: &str = "v=0\r\n\
    o=- 20 20 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    c=IN IP4 127.0.0.1\r\n\
    t=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 101\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\n\
    a=sendrecv\r\n";

impl Caller {
    pub(crate) fn new(plan: Plan, numbers: Numbers) -> Self {
        let calls = Vec::with_capacity(numbers.count as usize);
        Self {
            plan,
            numbers,
            calls,
            resent: 0,
            repeated: 0,
            without_ringing: 0,
            talking: 0,
            over: 0,
            failed: 0,
        }
    }

    /// Calls that were started.
    pub(crate) fn started(&self) -> u32 {
        self.calls.len() as u32
    }

    /// What went wrong with a call, or that it isn't over.
    pub(crate) fn verdict(&self, call: u32) -> Result<(), Failure> {
        match self.calls.get(call as usize) {
            Some(Call { failure: Some(failure), .. }) => Err(*failure),
            Some(Call { state: State::Over, .. }) => Ok(()),
            Some(_) | None => Err(Failure::Unfinished),
        }
    }

    /// Starts the next call.
    pub(crate) fn start(&mut self, turn: &mut Turn<'_>) {
        let call = self.started();
        self.calls.push(Call { state: State::Calling { wait: T1 }, dialog: None, failure: None });
        self.invite(call, turn, true);
        turn.timers.set(turn.now, T1, Timer::ResendInvite(call));
        turn.timers.set(turn.now, PATIENCE, Timer::SetUpOver(call));
    }

    /// A response came.
    pub(crate) fn receive(&mut self, message: &Message<'_>, turn: &mut Turn<'_>) {
        let Start::Response { status } = message.start else { return };
        let digits = message.call_id.strip_suffix("@bench");
        let Some(call) = digits.and_then(|digits| self.numbers.call(digits, "c")) else { return };
        if call >= self.started() {
            return;
        }
        if let Some(wrong) = self.misfit(call, message) {
            return self.end(call, Some(Failure::Wrong(wrong)));
        }
        match message.cseq_method {
            "INVITE" => match status {
                100..=199 => self.progress(call, status),
                200..=299 => self.answered(call, message, turn),
                _ => self.refused(call, status, message, turn),
            },
            "BYE" if status >= 200 => self.left(call, status),
            _ => {}
        }
    }

    /// A timer came due; those of the callee are none of ours.
    pub(crate) fn expire(&mut self, timer: Timer, turn: &mut Turn<'_>) {
        match timer {
            Timer::ResendInvite(call) => self.resend_invite(call, turn),
            Timer::SetUpOver(call) => match self.calls[call as usize].state {
                State::Calling { .. } | State::Proceeding { .. } => self.end(call, Some(Failure::NoAnswer)),
                State::Talking | State::Leaving { .. } | State::Over => {}
            },
            Timer::HangUp(call) => self.hang_up(call, turn),
            Timer::ResendBye(call) => self.resend_bye(call, turn),
            Timer::EndOver(call) => {
                if matches!(self.calls[call as usize].state, State::Leaving { .. }) {
                    self.end(call, Some(Failure::NoEnd));
                }
            }
            Timer::Answer(_) | Timer::ResendAnswer(_) => {}
        }
    }

    /// How a response does not fit its request (RFC 3261 §8.2.6.2, §17.1.3).
    fn misfit(&self, call: u32, message: &Message<'_>) -> Option<&'static str> {
        let number = self.numbers.first + call;
        let is = |value: Option<&str>, prefix: &str| {
            value.and_then(|value| value.strip_prefix(prefix)).and_then(|digits| digits.parse().ok())
                == Some(number)
        };
        let (branch, cseq) = match message.cseq_method {
            "INVITE" => ("z9hG4bK-i-", 1),
            _ => ("z9hG4bK-b-", 2),
        };
        if message.vias != 1 || !is(parameter(message.via, "branch"), branch) {
            return Some("response with another Via");
        }
        if message.cseq != cseq {
            return Some("response with another CSeq");
        }
        (!is(parameter(message.from, "tag"), "a")).then_some("response with another From tag")
    }

    fn progress(&mut self, call: u32, status: u16) {
        let state = &mut self.calls[call as usize].state;
        match state {
            State::Calling { .. } => *state = State::Proceeding { rung: status == 180 },
            State::Proceeding { rung } => *rung |= status == 180,
            State::Talking | State::Leaving { .. } | State::Over => self.repeated += 1,
        }
    }

    fn answered(&mut self, call: u32, message: &Message<'_>, turn: &mut Turn<'_>) {
        let state = self.calls[call as usize].state;
        match state {
            State::Calling { .. } | State::Proceeding { .. } => match Dialog::of(message, self.plan.target) {
                Ok(dialog) => {
                    if state != (State::Proceeding { rung: true }) {
                        self.without_ringing += 1;
                    }
                    self.calls[call as usize].dialog = Some(Box::new(dialog));
                    self.calls[call as usize].state = State::Talking;
                    self.talking += 1;
                    self.request(call, "ACK", turn);
                    turn.timers.set(turn.now, self.plan.hold, Timer::HangUp(call));
                }
                Err(wrong) => self.end(call, Some(Failure::Wrong(wrong))),
            },
            // Its ACK was lost, or came late.
            State::Talking | State::Leaving { .. } => {
                self.repeated += 1;
                self.resent += 1;
                self.request(call, "ACK", turn);
            }
            State::Over => self.answered_when_over(call, message, turn),
        }
    }

    /// Nobody waits for this call any more; but it must not stay up at the other end.
    fn answered_when_over(&mut self, call: u32, message: &Message<'_>, turn: &mut Turn<'_>) {
        self.repeated += 1;
        if self.calls[call as usize].dialog.is_none() {
            let Ok(dialog) = Dialog::of(message, self.plan.target) else { return };
            self.calls[call as usize].dialog = Some(Box::new(dialog));
        }
        self.request(call, "ACK", turn);
        if self.calls[call as usize].failure.is_some() {
            self.request(call, "BYE", turn);
        }
    }

    fn refused(&mut self, call: u32, status: u16, message: &Message<'_>, turn: &mut Turn<'_>) {
        let number = self.numbers.first + call;
        // As the INVITE, with the response's To (§17.1.1.3).
        turn.outbox.push(
            self.plan.target,
            format_args!(
                "ACK sip:{DIALLED}{number:08}@{target} SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {CALLER};branch=z9hG4bK-i-{number};rport\r\n\
                 Max-Forwards: {MAX_FORWARDS}\r\n\
                 From: <sip:33{number:08}@{CALLER}>;tag=a{number}\r\n\
                 To: {to}\r\n\
                 Call-ID: c{number}@bench\r\n\
                 CSeq: 1 ACK\r\n\
                 Content-Length: 0\r\n\r\n",
                target = self.plan.target,
                to = message.to,
            ),
        );
        match self.calls[call as usize].state {
            State::Calling { .. } | State::Proceeding { .. } => {
                self.end(call, Some(Failure::Refused(status)));
            }
            State::Talking | State::Leaving { .. } | State::Over => self.repeated += 1,
        }
    }

    fn left(&mut self, call: u32, status: u16) {
        match self.calls[call as usize].state {
            State::Leaving { .. } if status == 200 => self.end(call, None),
            State::Leaving { .. } => self.end(call, Some(Failure::Wrong("BYE not answered with 200"))),
            State::Over => self.repeated += 1,
            State::Calling { .. } | State::Proceeding { .. } | State::Talking => {
                self.end(call, Some(Failure::Wrong("an answer to no BYE")));
            }
        }
    }

    fn hang_up(&mut self, call: u32, turn: &mut Turn<'_>) {
        if self.calls[call as usize].state == State::Talking {
            self.calls[call as usize].state = State::Leaving { wait: T1 };
            self.talking -= 1;
            self.request(call, "BYE", turn);
            turn.timers.set(turn.now, T1, Timer::ResendBye(call));
            turn.timers.set(turn.now, PATIENCE, Timer::EndOver(call));
        }
    }

    fn resend_invite(&mut self, call: u32, turn: &mut Turn<'_>) {
        let State::Calling { wait } = &mut self.calls[call as usize].state else { return };
        *wait *= 2;
        let wait = *wait;
        turn.timers.set(turn.now, wait, Timer::ResendInvite(call));
        self.resent += 1;
        self.invite(call, turn, false);
    }

    fn resend_bye(&mut self, call: u32, turn: &mut Turn<'_>) {
        let State::Leaving { wait } = &mut self.calls[call as usize].state else { return };
        *wait = T2.min(*wait * 2);
        let wait = *wait;
        turn.timers.set(turn.now, wait, Timer::ResendBye(call));
        self.resent += 1;
        self.request(call, "BYE", turn);
    }

    /// Ends a call as far as it is counted. Its first failure stands.
    fn end(&mut self, call: u32, failure: Option<Failure>) {
        let one = &mut self.calls[call as usize];
        if one.failure.is_none() && failure.is_some() {
            one.failure = failure;
            self.failed += 1;
        }
        match one.state {
            State::Over => return,
            State::Talking => self.talking -= 1,
            State::Calling { .. } | State::Proceeding { .. } | State::Leaving { .. } => {}
        }
        one.state = State::Over;
        self.over += 1;
    }

    fn invite(&self, call: u32, turn: &mut Turn<'_>, first: bool) {
        let number = self.numbers.first + call;
        let target = self.plan.target;
        let message = format_args!(
            "INVITE sip:{DIALLED}{number:08}@{target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {CALLER};branch=z9hG4bK-i-{number};rport\r\n\
             Max-Forwards: {MAX_FORWARDS}\r\n\
             From: <sip:33{number:08}@{CALLER}>;tag=a{number}\r\n\
             To: <sip:{DIALLED}{number:08}@{target}>\r\n\
             Call-ID: c{number}@bench\r\n\
             CSeq: 1 INVITE\r\n\
             Contact: <sip:33{number:08}@{CALLER}>\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n\
             User-Agent: tandem-bench\r\n\
             Content-Type: application/sdp\r\n\
             Content-Length: {length}\r\n\r\n{SDP}",
            length = SDP.len(),
        );
        if first {
            turn.outbox.push_first(call, target, message);
        } else {
            turn.outbox.push(target, message);
        }
    }

    /// A request inside the dialog (§12.2.1.1).
    fn request(&self, call: u32, method: &str, turn: &mut Turn<'_>) {
        let Some(dialog) = &self.calls[call as usize].dialog else { return };
        let number = self.numbers.first + call;
        let (branch, cseq) = if method == "ACK" { ('k', 1) } else { ('b', 2) };
        turn.outbox.push(
            dialog.next_hop,
            format_args!(
                "{method} {target} SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {CALLER};branch=z9hG4bK-{branch}-{number};rport\r\n\
                 {routes}Max-Forwards: {MAX_FORWARDS}\r\n\
                 From: <sip:33{number:08}@{CALLER}>;tag=a{number}\r\n\
                 To: {to}\r\n\
                 Call-ID: c{number}@bench\r\n\
                 CSeq: {cseq} {method}\r\n\
                 Content-Length: 0\r\n\r\n",
                target = dialog.target,
                routes = dialog.routes,
                to = dialog.to,
            ),
        );
    }
}

impl Dialog {
    /// The dialog that a 2xx sets up (§12.1.2), or what the 2xx lacks.
    fn of(message: &Message<'_>, target: SocketAddrV4) -> Result<Dialog, &'static str> {
        if parameter(message.to, "tag").is_none() {
            return Err("200 without a To tag");
        }
        if !message.body.contains("m=audio") {
            return Err("200 without SDP");
        }
        let contact = uri(message.contact.ok_or("200 without Contact")?);
        let routes = message.route_set();
        let first = routes.first().map_or(contact, |route| uri(route));
        let next_hop = place(first).ok_or("200 with a Contact or Record-Route that is no IPv4 address")?;
        let nearby = next_hop.ip().is_loopback() || next_hop.ip() == target.ip();
        if !nearby {
            return Err("200 that leads away from this machine");
        }
        let routes = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        Ok(Dialog { next_hop, target: contact.to_owned(), routes, to: message.to.to_owned() })
    }
}
