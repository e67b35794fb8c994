//! Many user agents: callers at one socket and those who are called at another. They follow target refreshes, and keep
//! an eye on what the switch may not do.

use crate::until::until;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// After which silence a request is sent again.
const RESEND: Duration = Duration::from_millis(500);

/// After which silence a caller turns to the next node (RFC 3263 §4.3).
const NEXT_NODE: Duration = Duration::from_secs(2);

/// Which end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Caller,
    Callee,
}

/// When those who are called answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// At once.
    AtOnce,
    /// They ring until [`Agents::answer`].
    WhenTold,
}

/// How an agent sees its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No answer yet.
    Setup,
    Ringing,
    Answered,
    /// It has hung up, and that was answered with this status.
    HungUp(u16),
    /// The other end has: it was sent a BYE or a CANCEL.
    Ended,
    /// The caller was refused.
    Refused(u16),
}

/// An agent's end of a call.
#[derive(Debug)]
struct Leg {
    call_id: String,
    /// Its own From or To, with the tag.
    own: String,
    /// The other one's; without a tag before there is one.
    peer: String,
    /// Where its requests go.
    target: (String, SocketAddrV4),
    cseq: u32,
    /// The highest number of the peer's requests.
    heard: u32,
    standing: Standing,
    was_answered: bool,
    /// Whether the test has told it to.
    hangs_up: bool,
    /// When it was last told where the switch is.
    refreshed: Option<Instant>,
    /// A request that has no final response.
    pending: Option<Pending>,
    /// Its 200 that has no ACK yet.
    answer: Option<(String, SocketAddrV4, Instant)>,
    /// The INVITE that is yet to be answered.
    invite: Option<(String, SocketAddrV4)>,
}

#[derive(Debug)]
struct Pending {
    text: String,
    to: SocketAddrV4,
    begun: Instant,
    sent: Instant,
    /// Nodes that are still to be tried.
    next: Vec<SocketAddrV4>,
    heard: bool,
}

#[derive(Default)]
struct State {
    legs: BTreeMap<(Side, usize), Leg>,
    by_call_id: BTreeMap<(Side, String), usize>,
    answers_at_once: bool,
    /// What the switch may not have done.
    faults: Vec<String>,
    /// What was heard of which node, and when.
    heard: Vec<(Instant, SocketAddrV4, String)>,
    branch: u64,
    /// Edges behind the address by which peers know all nodes.
    balanced: Option<(SocketAddrV4, Vec<SocketAddrV4>)>,
}

/// All of them.
pub(crate) struct Agents {
    state: Arc<Mutex<State>>,
    sockets: [Arc<UdpSocket>; 2],
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Agents {
    /// Callers at that address, and those whom they call at the gateway's.
    pub(crate) fn start(callers: SocketAddrV4, called: SocketAddrV4, answers: Answers) -> Agents {
        let state = State { answers_at_once: answers == Answers::AtOnce, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let sockets = [callers, called].map(|at| {
            let socket = UdpSocket::bind(at).expect("a free address");
            socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
            Arc::new(socket)
        });
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [Side::Caller, Side::Callee].into_iter().map(|side| {
            let (state, socket, stop) = (state.clone(), sockets[side as usize].clone(), stop.clone());
            thread::spawn(move || run(side, &state, &socket, &stop))
        });
        let threads = threads.collect();
        Agents { state, sockets, stop, threads }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no agent panics")
    }

    fn socket(&self, side: Side) -> &UdpSocket {
        &self.sockets[side as usize]
    }

    /// What is sent to that address goes to one of these.
    pub(crate) fn balance(&self, address: SocketAddrV4, edges: &[SocketAddrV4]) {
        self.state().balanced = Some((address, edges.to_vec()));
    }

    /// A caller calls that number by the first of these nodes that takes the call.
    pub(crate) fn call(&self, number: usize, nodes: &[SocketAddrV4]) {
        let mut state = self.state();
        let at = local(self.socket(Side::Caller));
        let call_id = format!("{number}.{}@agents", std::process::id());
        let leg = Leg {
            own: format!("<sip:caller@{at}>;tag=c{number}"),
            peer: format!("<sip:{}@tandem>", dialled(number)),
            target: (format!("sip:{}@{}", dialled(number), nodes[0]), nodes[0]),
            call_id: call_id.clone(),
            cseq: 0,
            heard: 0,
            standing: Standing::Setup,
            was_answered: false,
            hangs_up: false,
            refreshed: None,
            pending: None,
            answer: None,
            invite: None,
        };
        state.legs.insert((Side::Caller, number), leg);
        state.by_call_id.insert((Side::Caller, call_id), number);
        let extra = format!("Contact: <sip:caller@{at}>\r\n{}", allow(number));
        let invite = state.request((Side::Caller, number), "INVITE", at, (&extra, &sdp(at, number)));
        let (text, to) = invite.clone();
        let leg = state.legs.get_mut(&(Side::Caller, number)).expect("entered above");
        leg.invite = Some(invite);
        leg.pending = Some(Pending::new(text.clone(), to, nodes[1..].to_vec()));
        state.send(self.socket(Side::Caller), &text, to);
    }

    /// Calls these numbers, so many per second.
    pub(crate) fn call_all(
        &self,
        numbers: impl Iterator<Item = usize>,
        per_second: u32,
        nodes: &[SocketAddrV4],
    ) {
        let began = Instant::now();
        for (place, number) in numbers.enumerate() {
            let due = Duration::from_secs(1) * u32::try_from(place).expect("few") / per_second;
            // The pace of the load, not a wait for anything.
            thread::sleep(due.saturating_sub(began.elapsed()));
            self.call(number, nodes);
        }
    }

    /// Those who ring answer.
    pub(crate) fn answer(&self) {
        let mut state = self.state();
        state.answers_at_once = true;
        let ringing =
            |(key, leg): (&(Side, usize), &Leg)| (leg.standing == Standing::Ringing).then_some(*key);
        let ringing: Vec<_> =
            state.legs.iter().filter_map(ringing).filter(|key| key.0 == Side::Callee).collect();
        for (_, number) in ringing {
            state.answer(self.socket(Side::Callee), number);
        }
    }

    /// One end hangs up.
    pub(crate) fn hang_up(&self, side: Side, number: usize) {
        let mut state = self.state();
        let at = local(self.socket(side));
        let (text, to) = state.request((side, number), "BYE", at, ("", ""));
        state.leg((side, number)).pending = Some(Pending::new(text.clone(), to, Vec::new()));
        state.send(self.socket(side), &text, to);
    }

    /// One end hangs up, if it is in conversation.
    pub(crate) fn hang_up_if_answered(&self, side: Side, number: usize) {
        let is_answered = |leg: &Leg| leg.standing == Standing::Answered && leg.pending.is_none();
        if self.state().legs.get(&(side, number)).is_some_and(is_answered) {
            self.state().leg((side, number)).hangs_up = true;
            self.hang_up(side, number);
        }
    }

    /// Calls that were answered at both ends, and that one of them has been told to be over without the other having hung up; or
    /// whose BYE was not accepted.
    pub(crate) fn dropped(&self) -> Vec<(usize, Standing, Option<Standing>)> {
        let state = self.state();
        let callers = state.legs.iter().filter(|((side, _), _)| *side == Side::Caller);
        let seen = callers.filter_map(|((_, number), caller)| {
            let callee = state.legs.get(&(Side::Callee, *number));
            let hangs_up = caller.hangs_up || callee.is_some_and(|callee| callee.hangs_up);
            let standing = callee.map(|callee| callee.standing);
            let was_answered = caller.was_answered;
            let is_wrong = |standing| match standing {
                Standing::Ended => !hangs_up,
                Standing::HungUp(status) => status != 200,
                Standing::Setup | Standing::Ringing | Standing::Answered | Standing::Refused(_) => false,
            };
            let wrong = was_answered && (is_wrong(caller.standing) || standing.is_some_and(is_wrong));
            wrong.then_some((*number, caller.standing, standing))
        });
        seen.collect()
    }

    /// Waits until no request is without its answer.
    pub(crate) fn settle(&self, at_most: Duration) {
        until("every request is answered", at_most, || {
            self.state().legs.values().all(|leg| leg.pending.is_none()).then_some(())
        });
    }

    /// How those ends see their calls.
    pub(crate) fn standings(&self, side: Side) -> Vec<(usize, Standing)> {
        let state = self.state();
        let legs = state.legs.iter().filter(|((of, _), _)| *of == side);
        legs.map(|((_, number), leg)| (*number, leg.standing)).collect()
    }

    /// How many of those ends see their calls so.
    pub(crate) fn count(&self, side: Side, is: impl Fn(Standing) -> bool) -> usize {
        self.standings(side).into_iter().filter(|(_, standing)| is(*standing)).count()
    }

    /// Waits until so many calls are answered at both ends.
    pub(crate) fn are_answered(&self, count: usize, at_most: Duration) {
        until("calls are answered", at_most, || {
            let answered = |side| self.count(side, |standing| standing == Standing::Answered);
            (answered(Side::Caller) >= count && answered(Side::Callee) >= count).then_some(())
        });
    }

    /// The ends, by the time from `since` until they were told where the switch is; `None`: they were not.
    pub(crate) fn refreshed(&self, since: Instant) -> BTreeMap<(Side, usize), Option<Duration>> {
        let state = self.state();
        let after = |leg: &Leg| leg.refreshed.and_then(|at| at.checked_duration_since(since));
        state.legs.iter().map(|(key, leg)| (*key, after(leg))).collect()
    }

    /// What a node has sent since then: first lines.
    pub(crate) fn heard_of(&self, node: SocketAddrV4, since: Instant) -> Vec<String> {
        let state = self.state();
        let of_node = state.heard.iter().filter(|(at, from, _)| *from == node && *at >= since);
        of_node.map(|(_, _, line)| line.clone()).collect()
    }

    /// Where an end's requests go.
    pub(crate) fn target(&self, side: Side, number: usize) -> SocketAddrV4 {
        self.state().legs[&(side, number)].target.1
    }

    /// What the switch may not have done.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.state().faults.clone()
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that has panicked has said why.
            let _ = thread.join();
        }
    }
}

impl Pending {
    fn new(text: String, to: SocketAddrV4, next: Vec<SocketAddrV4>) -> Self {
        Self { text, to, begun: Instant::now(), sent: Instant::now(), next, heard: false }
    }
}

fn run(side: Side, state: &Mutex<State>, socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 8_192];
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let heard = Instant::now();
            let mut state = state.lock().expect("no agent panics");
            state.heard.push((heard, from, text.lines().next().unwrap_or_default().to_owned()));
            match text.starts_with("SIP/2.0 ") {
                true => state.on_response(side, socket, &text, from),
                false => state.on_request(side, socket, &text, from),
            }
        }
        if looked.elapsed() > Duration::from_millis(50) {
            looked = Instant::now();
            state.lock().expect("no agent panics").on_time(side, socket);
        }
    }
}

impl State {
    fn leg(&mut self, key: (Side, usize)) -> &mut Leg {
        self.legs.get_mut(&key).expect("a call of ours")
    }

    fn send(&self, socket: &UdpSocket, text: &str, to: SocketAddrV4) {
        let to = match &self.balanced {
            Some((address, edges)) if *address == to => {
                let hash: usize = value(text, "Call-ID").unwrap_or_default().bytes().map(usize::from).sum();
                edges[hash % edges.len()]
            }
            _ => to,
        };
        socket.send_to(text.as_bytes(), to).expect("loopback");
    }

    fn request(
        &mut self,
        key: (Side, usize),
        method: &str,
        at: SocketAddrV4,
        (lines, body): (&str, &str),
    ) -> (String, SocketAddrV4) {
        self.branch += 1;
        let branch = self.branch;
        let leg = self.leg(key);
        if method != "ACK" {
            leg.cseq += 1;
        }
        let Leg { own, peer, call_id, cseq, target: (uri, to), .. } = leg;
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
             From: {own}\r\nTo: {peer}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{lines}"
        );
        close(&mut text, body);
        (text, *to)
    }

    fn on_time(&mut self, side: Side, socket: &UdpSocket) {
        let mut out = Vec::new();
        let branch = &mut self.branch;
        for (_, leg) in self.legs.iter_mut().filter(|((of, _), _)| *of == side) {
            if let Some((text, to, sent)) = leg.answer.as_mut().filter(|(.., sent)| sent.elapsed() > RESEND) {
                *sent = Instant::now();
                out.push((text.clone(), *to));
            }
            let Some(pending) = &mut leg.pending else { continue };
            if !pending.heard && pending.begun.elapsed() > NEXT_NODE && !pending.next.is_empty() {
                turn_to_next(leg, branch);
            } else if pending.sent.elapsed() < RESEND || pending.heard {
                continue;
            }
            let Some(pending) = &mut leg.pending else { continue };
            pending.sent = Instant::now();
            out.push((pending.text.clone(), pending.to));
        }
        for (text, to) in out {
            self.send(socket, &text, to);
        }
    }

    fn on_response(&mut self, side: Side, socket: &UdpSocket, text: &str, from: SocketAddrV4) {
        let Some(number) = self.number(side, text) else { return };
        let key = (side, number);
        let status: u16 = text[8..11].parse().expect("a status");
        let method =
            value(text, "CSeq").and_then(|cseq| cseq.split(' ').nth(1)).unwrap_or_default().to_owned();
        let is_of_pending = |pending: &Pending| {
            value(&pending.text, "Via").map(branch_of) == value(text, "Via").map(branch_of)
        };
        let leg = self.legs.get_mut(&key).expect("a call of ours");
        let is_current = leg.pending.as_ref().is_some_and(is_of_pending);
        match (method.as_str(), status) {
            ("INVITE", 100..=199) => {
                if let Some(pending) = leg.pending.as_mut().filter(|_| is_current) {
                    pending.heard = true;
                }
                if status > 100 && leg.standing == Standing::Setup {
                    leg.standing = Standing::Ringing;
                }
            }
            ("INVITE", 200..=299) if !is_current && !is_of(leg, text) => {
                // Of a node that was given up: nobody wants that call (RFC 3261 §13.2.2.4).
                let contact = value(text, "Contact").unwrap_or_default().to_owned();
                let uri = contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
                let peer = value(text, "To").unwrap_or_default();
                let Leg { own, call_id, cseq, .. } = leg;
                for (method, cseq) in [("ACK", *cseq), ("BYE", *cseq + 1)] {
                    self.branch += 1;
                    let branch = self.branch;
                    let request = format!(
                        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
                         From: {own}\r\nTo: {peer}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
                         Content-Length: 0\r\n\r\n",
                        local(socket)
                    );
                    socket.send_to(request.as_bytes(), from).expect("loopback");
                }
            }
            ("INVITE", 200..=299) => {
                if is_current {
                    leg.pending = None;
                    leg.peer = value(text, "To").unwrap_or_default().to_owned();
                    leg.standing = Standing::Answered;
                    leg.was_answered = true;
                }
                leg.note_target(text, is_current);
                let at = local(socket);
                let (ack, to) = self.request(key, "ACK", at, ("", ""));
                self.send(socket, &ack, to);
            }
            ("INVITE", _) => {
                let Some((invite, _)) = leg.invite.clone() else { return };
                let ack = ack_of(&invite, text);
                self.send(socket, &ack, from);
                let branch = &mut self.branch;
                let leg = self.legs.get_mut(&key).expect("a call of ours");
                if !is_current {
                    return;
                }
                if status == 503 && leg.pending.as_ref().is_some_and(|pending| !pending.next.is_empty()) {
                    turn_to_next(leg, branch);
                    let Some(pending) = &leg.pending else { return };
                    let (text, to) = (pending.text.clone(), pending.to);
                    return self.send(socket, &text, to);
                }
                leg.pending = None;
                leg.standing = Standing::Refused(status);
            }
            ("BYE", 200..) if is_current => {
                leg.pending = None;
                leg.standing = Standing::HungUp(status);
            }
            _ => {}
        }
    }

    fn on_request(&mut self, side: Side, socket: &UdpSocket, text: &str, from: SocketAddrV4) {
        let method = text.split(' ').next().unwrap_or_default().to_owned();
        let at = local(socket);
        let known = self.number(side, text);
        let number = match known {
            Some(number) => number,
            None if side == Side::Callee && method == "INVITE" => return self.on_call(socket, text, from),
            None => {
                let call_id = value(text, "Call-ID").unwrap_or_default().to_owned();
                if self.by_call_id.contains_key(&(side, call_id)) {
                    // Of a call whose place another one to the same number has taken.
                    let own = value(text, "To").unwrap_or_default();
                    let response = respond(text, "200 OK", own, "");
                    return self.send(socket, &response, from);
                }
                if method != "ACK" && method != "OPTIONS" {
                    self.faults.push(format!(
                        "{side:?} got of no call: {}",
                        text.lines().next().unwrap_or_default()
                    ));
                }
                return;
            }
        };
        let cseq: u32 =
            value(text, "CSeq").and_then(|cseq| cseq.split(' ').next()?.parse().ok()).unwrap_or_default();
        let leg = self.leg((side, number));
        let has_gone_back = cseq < leg.heard && !matches!(method.as_str(), "ACK" | "CANCEL");
        if !matches!(method.as_str(), "ACK" | "CANCEL") {
            leg.heard = leg.heard.max(cseq);
        }
        let is_first =
            leg.invite.as_ref().is_some_and(|(invite, _)| value(invite, "CSeq") == value(text, "CSeq"));
        if has_gone_back {
            let line = text.lines().next().unwrap_or_default();
            self.faults.push(format!("{side:?} {number}: CSeq {cseq} after a higher one: {line}"));
        }
        let leg = self.leg((side, number));
        match method.as_str() {
            "ACK" => leg.answer = None,
            "INVITE" if side == Side::Callee && is_first => {
                // A copy of the first one.
                if leg.standing == Standing::Answered {
                    self.answer(socket, number);
                }
            }
            "CANCEL" => {
                let response = respond(text, "200 OK", &leg.own, "");
                let invite = leg.invite.clone().filter(|_| leg.standing == Standing::Ringing);
                if invite.is_some() {
                    leg.standing = Standing::Ended;
                }
                let terminated =
                    invite.map(|(invite, _)| respond(&invite, "487 Request Terminated", &leg.own, ""));
                self.send(socket, &response, from);
                if let Some(terminated) = terminated {
                    self.send(socket, &terminated, from);
                }
            }
            "BYE" => {
                let is_over = matches!(leg.standing, Standing::HungUp(_) | Standing::Refused(_));
                if !is_over {
                    leg.standing = Standing::Ended;
                }
                leg.answer = None;
                let response = respond(text, "200 OK", &leg.own, "");
                self.send(socket, &response, from);
            }
            "INVITE" | "UPDATE" => {
                leg.note_target(text, true);
                let contact = format!("Contact: <sip:agent@{at}>\r\n{}", allow(number));
                let body = if text.contains("\r\n\r\nv=0") { sdp(at, number) } else { String::new() };
                let response = respond_with(text, "200 OK", &leg.own, &contact, &body);
                self.send(socket, &response, from);
            }
            _ => {
                let response = respond(text, "200 OK", &leg.own, "");
                self.send(socket, &response, from);
            }
        }
    }

    /// Somebody is called.
    fn on_call(&mut self, socket: &UdpSocket, text: &str, from: SocketAddrV4) {
        let Some(number) = number_in(text.split(' ').nth(1).unwrap_or_default()) else { return };
        if self.legs.get(&(Side::Callee, number)).is_some_and(|leg| leg.standing == Standing::Answered) {
            let own = format!("{};tag=b{number}", value(text, "To").unwrap_or_default());
            return self.send(socket, &respond(text, "486 Busy Here", &own, ""), from);
        }
        let call_id = value(text, "Call-ID").unwrap_or_default().to_owned();
        let own = format!("{};tag=g{number}", value(text, "To").unwrap_or_default());
        let mut leg = Leg {
            call_id: call_id.clone(),
            own,
            peer: value(text, "From").unwrap_or_default().to_owned(),
            target: (String::new(), from),
            cseq: 0,
            heard: 0,
            standing: Standing::Ringing,
            was_answered: false,
            hangs_up: false,
            refreshed: None,
            pending: None,
            answer: None,
            invite: Some((text.to_owned(), from)),
        };
        leg.note_target(text, false);
        leg.heard =
            value(text, "CSeq").and_then(|cseq| cseq.split(' ').next()?.parse().ok()).unwrap_or_default();
        let contact = format!("Contact: <sip:agent@{}>\r\n", local(socket));
        let ringing = respond(text, "180 Ringing", &leg.own, &contact);
        self.legs.insert((Side::Callee, number), leg);
        self.by_call_id.insert((Side::Callee, call_id), number);
        self.send(socket, &ringing, from);
        if self.answers_at_once {
            self.answer(socket, number);
        }
    }

    fn answer(&mut self, socket: &UdpSocket, number: usize) {
        let at = local(socket);
        let leg = self.leg((Side::Callee, number));
        let Some((invite, _)) = leg.invite.clone() else { return };
        leg.standing = Standing::Answered;
        let contact = format!("Contact: <sip:agent@{at}>\r\n{}", allow(number));
        let response = respond_with(&invite, "200 OK", &leg.own, &contact, &sdp(at, number));
        // Where its Via says (RFC 3261 §18.2.2).
        let to = value(&invite, "Via").and_then(|via| via.split([' ', ';']).nth(1)?.parse().ok());
        let to = to.expect("an address in Via");
        leg.answer = Some((response.clone(), to, Instant::now()));
        self.send(socket, &response, to);
    }

    fn number(&self, side: Side, text: &str) -> Option<usize> {
        let number = *self.by_call_id.get(&(side, value(text, "Call-ID")?.to_owned()))?;
        let leg = self.legs.get(&(side, number))?;
        // Another call to the same number may have taken the place of this one.
        (Some(leg.call_id.as_str()) == value(text, "Call-ID")).then_some(number)
    }
}

impl Leg {
    /// Takes from a message where the switch is.
    fn note_target(&mut self, text: &str, is_refresh: bool) {
        let Some(contact) = value(text, "Contact") else { return };
        let uri = contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
        let host = uri.split('@').nth(1).unwrap_or_default().split(';').next().unwrap_or_default();
        if let Ok(at) = host.parse() {
            if is_refresh {
                self.refreshed = Some(Instant::now());
            }
            self.target = (uri, at);
        }
    }
}

/// The same request at the next node: a transaction of its own.
fn turn_to_next(leg: &mut Leg, branch: &mut u64) {
    let Some(pending) = &mut leg.pending else { return };
    *branch += 1;
    let next = pending.next.remove(0);
    let before = branch_of(value(&pending.text, "Via").unwrap_or_default()).to_owned();
    let text = pending.text.replace(&before, &format!("z9hG4bK{branch}"));
    leg.invite = Some((text.clone(), next));
    leg.target.1 = next;
    *pending = Pending::new(text, next, pending.next.clone());
}

/// Whether a 2xx is of the dialog that the caller has.
fn is_of(leg: &Leg, text: &str) -> bool {
    value(text, "To") == Some(leg.peer.as_str())
}

fn branch_of(via: &str) -> &str {
    via.split("branch=").nth(1).unwrap_or_default().split(';').next().unwrap_or_default()
}

fn local(socket: &UdpSocket) -> SocketAddrV4 {
    match socket.local_addr().expect("a bound socket") {
        SocketAddr::V4(at) => at,
        SocketAddr::V6(_) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
    }
}

/// Every other agent takes UPDATE.
fn allow(number: usize) -> &'static str {
    match number % 2 {
        0 => "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n",
        _ => "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n",
    }
}

fn dialled(number: usize) -> String {
    format!("44{number:06}")
}

fn number_in(uri: &str) -> Option<usize> {
    uri.strip_prefix("sip:44")?.split('@').next()?.parse().ok()
}

fn sdp(at: SocketAddrV4, number: usize) -> String {
    let ip = at.ip();
    format!(
        "v=0\r\no=- {number} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n\
         a=rtpmap:8 PCMA/8000\r\n"
    )
}

fn close(text: &mut String, body: &str) {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    write!(text, "{kind}Content-Length: {}\r\n\r\n{body}", body.len()).expect("a string takes everything");
}

fn respond(request: &str, status: &str, to: &str, lines: &str) -> String {
    respond_with(request, status, to, lines, "")
}

fn respond_with(request: &str, status: &str, own: &str, lines: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        match name {
            "Via" | "From" | "Call-ID" | "CSeq" => text.push_str(&format!("{line}\r\n")),
            "To" => text.push_str(&format!("To: {own}\r\n")),
            _ => {}
        }
    }
    text.push_str(lines);
    close(&mut text, body);
    text
}

/// The ACK of a final response that is no 2xx.
fn ack_of(invite: &str, response: &str) -> String {
    let mut text = invite.lines().next().unwrap_or_default().replacen("INVITE", "ACK", 1) + "\r\n";
    for line in invite.lines().take_while(|line| !line.is_empty()) {
        match line.split(':').next().unwrap_or_default() {
            "From" | "Call-ID" | "Max-Forwards" => text.push_str(&format!("{line}\r\n")),
            name @ ("To" | "Via") => {
                text.push_str(&format!("{name}: {}\r\n", value(response, name).unwrap_or_default()));
            }
            "CSeq" => text.push_str(&format!("{}\r\n", line.replace("INVITE", "ACK"))),
            _ => {}
        }
    }
    close(&mut text, "");
    text
}

/// The value of a header.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().take_while(|line| !line.is_empty());
    let mut found =
        lines.filter_map(|line| line.split_once(':')).filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim())
}
