//! From a message to the call that it belongs to, and what the call's host asks for.

use super::link::{ELSEWHERE, Frame};
use super::node::{Answer, Ask, End, Held, SHARED};
use super::slip::Slip;
use super::store::Refused;
use super::{AddressModel, Event, GATEWAY, Happening, NODES, World, describe};
use crate::violation::Rule;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tandem_cluster::{CallHost, Effect, Tenure, Write, WriteResult, first_heir};
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, Method, ResponseHead, StatusCode};
use tandem_switch::call::{
    Call, CallId, Candidate, Event as CallEvent, Input, Looked, Reach, Refused as RefusedRequest, Setup,
    Target, Token, screen,
};
use tandem_switch::gateway::{GatewayName, Holder, Redirects, Refusal};

/// How long a wake-up is put off while the node may not speak for its calls.
const WITHHELD: u64 = 200;

impl World {
    pub(super) fn on_datagram(&mut self, node: usize, from: SocketAddr, bytes: Bytes) {
        self.on_message(node, Flow { transport: Transport::Udp, listener: 0, remote: from }, 0, bytes);
    }

    /// A message came to a node, or was passed on to it.
    pub(super) fn on_message(&mut self, node: usize, flow: Flow, hops: u8, bytes: Bytes) {
        let Ok(message) = Message::parse(bytes.clone(), &self.limits) else { return };
        let Some((id, is_token)) = self.call_of(&message) else { return };
        if self.nodes[node].calls.contains_key(&id) {
            return self.give_message(node, id, flow, message);
        }
        let is_new = message.method() == Some(Method::Invite) && message.to_tag().is_none();
        match (is_new, is_token) {
            (true, _) => self.begin(node, (flow, hops), id, message),
            // It may be another node's.
            (false, true) => self.on_stray(node, (flow, hops), bytes, 0),
            (false, false) => {}
        }
    }

    /// Which call a message belongs to, and whether it says so by our token.
    fn call_of(&self, message: &Message) -> Option<(CallId, bool)> {
        match (message.is_request(), message.to_tag()) {
            (false, _) => Some((Token::of_branch(message.top_via().ok()?.branch()?, &self.keys)?.id, true)),
            (true, Some(tag)) => match Token::parse(tag, &self.keys) {
                Some(token) => Some((token.id, true)),
                None => Some((CallId::of(message, &self.keys.current)?, false)),
            },
            (true, None) => Some((CallId::of(message, &self.keys.current)?, false)),
        }
    }

    fn give_message(&mut self, node: usize, id: CallId, flow: Flow, message: Message) {
        if !self.may_speak(node, id) {
            // Whoever sent it sends it again.
            return self.coverage.count("messages withheld for want of a lease");
        }
        let input = match message.is_request() {
            true => Input::Request { message, flow },
            false => Input::Response(message),
        };
        self.tell(node, id, input);
    }

    /// Tells a call something, and does what comes of it.
    pub(super) fn tell(&mut self, node: usize, id: CallId, input: Input) {
        self.with(node, id, |held, now| held.host.handle(input, now));
    }

    fn with(&mut self, node: usize, id: CallId, act: impl FnOnce(&mut Held, Now) -> Vec<Effect>) {
        let now = self.now_of(node);
        let holds_out = self.holds_out(node);
        let Some(held) = self.nodes[node].calls.get_mut(&id) else { return };
        held.host.hold_out(holds_out);
        let effects = act(held, now);
        self.perform_all(node, id, effects);
    }

    pub(super) fn perform_all(&mut self, node: usize, id: CallId, effects: Vec<Effect>) {
        let mut left = VecDeque::from(effects);
        while let Some(effect) = left.pop_front() {
            left.extend(self.perform(node, id, effect));
        }
        let Some(held) = self.nodes[node].calls.get_mut(&id) else { return };
        let epoch = held.host.epoch();
        if let Some(heir) = held.tenure.heir_to_tell(&held.host) {
            self.give(node, &heir, id, epoch);
        }
    }

    fn perform(&mut self, node: usize, id: CallId, effect: Effect) -> Vec<Effect> {
        match effect {
            Effect::Send(flow, bytes) => self.say_for(node, id, flow, bytes),
            Effect::Store { epoch, seq, write } => {
                if let (Write::End(records), Some(held)) = (&write, self.nodes[node].calls.get_mut(&id)) {
                    held.ending = Some(((epoch, seq), End { id, epoch, records: records.clone() }));
                }
                let name = self.nodes[node].name.clone();
                self.note(self.judge.number(id), |_| {
                    let what = if matches!(write, Write::End(_)) { "end" } else { "state" };
                    format!("{name} writes {what} {epoch}.{seq} of {id}")
                });
                self.ask(node, Ask::Write { id, epoch, seq, write });
            }
            Effect::Claim { seen_epoch } => {
                self.ask(node, Ask::Claim { id, seen_epoch, why: super::node::Why::Panic });
            }
            Effect::Lookup { called, .. } => {
                let looked = self.looked(node, called);
                return self.handled(node, id, Input::Looked(looked));
            }
            Effect::Admit(gateway, holder) => {
                if let Some(held) = self.nodes[node].calls.get_mut(&id) {
                    held.slots.push((gateway.clone(), holder));
                }
                self.ask(node, Ask::TakeSlot { id, holder, gateway });
            }
            Effect::Authorize(_, serial, _) => {
                return self.handled(node, id, Input::Authorized { serial, authorization: None });
            }
            Effect::Release(_, holder, _) => {
                if let Some(held) = self.nodes[node].calls.get_mut(&id) {
                    held.slots.retain(|(_, held)| *held != holder);
                }
                self.ask(node, Ask::ReleaseSlot(holder));
            }
            Effect::Wake(at) => self.wake_at(node, id, at),
            Effect::Panicked => self.fail(Rule::Panics, self.judge.number(id), "the machine panicked"),
            Effect::GaveUpUnstored => {
                let invite = self.nodes[node].calls.get_mut(&id).and_then(|held| held.invite.take());
                if let Some((invite, flow)) = invite {
                    let status = StatusCode::SERVER_INTERNAL_ERROR;
                    let response =
                        ResponseHead::of(&invite, flow.remote).respond(status, Some("gone")).finish();
                    self.send(node, flow, response);
                }
            }
            Effect::Observe(CallEvent::Released(release)) => {
                let name = self.nodes[node].name.clone();
                self.note(self.judge.number(id), |_| format!("{name}: {release:?}"));
            }
            Effect::Observe(_) | Effect::Hold(..) | Effect::Resolve(..) => {}
            Effect::Stop => self.stop(node, id),
        }
        Vec::new()
    }

    fn handled(&mut self, node: usize, id: CallId, input: Input) -> Vec<Effect> {
        let now = self.now_of(node);
        let holds_out = self.holds_out(node);
        let Some(held) = self.nodes[node].calls.get_mut(&id) else { return Vec::new() };
        held.host.hold_out(holds_out);
        held.host.handle(input, now)
    }

    /// Whether what depends on a commit waits for it: not while it is known that nobody can claim anything.
    fn holds_out(&self, node: usize) -> bool {
        !self.nobody_claims(node) && !self.slips(Slip::SendsUncommitted)
    }

    /// Whether a node knows that the store is away for all.
    fn nobody_claims(&self, node: usize) -> bool {
        let until = self.nodes[node].lease.nobody_claims_until();
        until.is_some_and(|until| until > self.mono(node))
    }

    fn wake_at(&mut self, node: usize, id: CallId, at: Mono) {
        let after = self.world_time(node, at) - self.now;
        let Some(held) = self.nodes[node].calls.get_mut(&id) else { return };
        held.wake_turn += 1;
        let turn = held.wake_turn;
        self.enter_at(node, after, Happening::Wake { call: id, turn });
    }

    pub(super) fn on_wake(&mut self, node: usize, id: CallId, turn: u32) {
        if self.nodes[node].calls.get(&id).is_none_or(|held| held.wake_turn != turn) {
            return;
        }
        if self.may_speak(node, id) {
            return self.tell(node, id, Input::Timer);
        }
        self.with(node, id, |held, now| held.host.write_again(now));
        let at = Mono(self.mono(node).0 + WITHHELD);
        self.wake_at(node, id, at);
    }

    /// Says something for a call, if the node may.
    fn say_for(&mut self, node: usize, id: CallId, flow: Flow, bytes: Bytes) {
        if !self.may_speak(node, id) {
            return self.coverage.count("messages withheld for want of a lease");
        }
        // A 100 says nothing but that the INVITE has come, and may come from two nodes if that did.
        if bytes.starts_with(b"SIP/2.0 100 ") {
            return self.send(node, flow, bytes);
        }
        let epoch = self.nodes[node].calls.get(&id).map_or(0, |held| held.host.epoch());
        let life = super::LifeOf { node, boot: self.nodes[node].boot };
        // Sent since the store was away for all: if that is not so any more, nobody else knows of it.
        let is_to_invite = bytes.windows(9).any(|window| window == b" INVITE\r\n");
        let is_answer = bytes.starts_with(b"SIP/2.0 2") && is_to_invite;
        if is_answer
            && self.nobody_claims(node)
            && self.nodes[node].calls.get(&id).is_some_and(|held| !held.host.is_settled())
        {
            self.judge.excuse(id);
        }
        // Of a call that is over two may answer copies of what was said last.
        if self.store.has_ended(id) {
            return self.send(node, flow, bytes);
        }
        if let Err(why) = self.judge.speaks(id, epoch, life) {
            self.fail(Rule::OneOwner, self.judge.number(id), format!("{}: {why}", self.nodes[node].name));
        }
        self.send(node, flow, bytes);
    }

    /// Sends a message by its flow.
    pub(super) fn send(&mut self, node: usize, flow: Flow, bytes: Bytes) {
        if flow.listener >= ELSEWHERE {
            let edge = usize::from(flow.listener - ELSEWHERE) % NODES;
            self.frame(node, edge, Frame::Send { remote: flow.remote, bytes });
            return;
        }
        self.transmit(node, flow.remote, bytes);
    }

    /// Gives a datagram to the network.
    pub(super) fn transmit(&mut self, node: usize, to: SocketAddr, bytes: Bytes) {
        if self.cut_from_peers.contains(&node) {
            return;
        }
        let from = if self.plan.model == AddressModel::Shared { SHARED } else { self.nodes[node].address };
        if self.trace_is_wanted() {
            let message = Message::parse(bytes.clone(), &self.limits).ok();
            let text = message.as_ref().map(describe).unwrap_or_default();
            let name = self.nodes[node].name.clone();
            self.note(None, |_| format!("{name} sends {to}: {text}"));
        }
        for _ in 0..self.copies() {
            let delay = self.delay();
            self.enter(delay, Event::Reaches { to, from, bytes: bytes.clone() });
        }
    }

    /// An INVITE that may begin a call.
    fn begin(&mut self, node: usize, (flow, hops): (Flow, u8), id: CallId, invite: Message) {
        let now = self.mono(node);
        if self.nodes[node].drain.is_begun() {
            if hops == 0 && self.nodes[node].drain.places_calls(now) {
                let places = self.nodes[node].places();
                let place = first_heir(&id.0, &places).and_then(|name| self.place_of(name));
                if place.is_some_and(|place| self.forward(node, place, (flow, hops), invite.raw().clone())) {
                    self.coverage.count("new calls placed on other nodes");
                    return self.nodes[node].drain.placed(id, now);
                }
            }
            return self.refuse(node, flow, &invite, StatusCode::SERVICE_UNAVAILABLE);
        }
        if !self.nodes[node].lease.holds(now) || self.nodes[node].known.is_empty() {
            return self.refuse(node, flow, &invite, StatusCode::SERVICE_UNAVAILABLE);
        }
        if let Err(refused) = screen(&invite, &self.mapping.parameters) {
            return self.refuse(node, flow, &invite, refused.status);
        }
        let Some(number) = flow.remote.port().checked_sub(20_000).map(usize::from) else { return };
        let setup = Setup {
            id,
            token: Token { id, hint: node as u16 + 1 }.print(&self.keys),
            node: self.nodes[node].name.clone(),
            invite: invite.clone(),
            flow,
            local: self.local_name(node),
            home: 0,
            mapping_gateway: self.mapping.clone(),
            endpoint: None,
        };
        let now = self.now_of(node);
        let Ok((call, actions)) = Call::start(setup, now) else { return };
        self.judge.begins(id, number);
        let name = self.nodes[node].name.clone();
        self.note(Some(number), |_| format!("{name} begins {id}"));
        let (host, effects) = CallHost::start(name, call, actions, now);
        let (slots, invite) = (Vec::new(), Some((invite, flow)));
        let held = Held { host, tenure: Tenure::Own, wake_turn: 0, slots, ending: None, invite };
        self.nodes[node].calls.insert(id, held);
        self.perform_all(node, id, effects);
    }

    fn refuse(&mut self, node: usize, flow: Flow, invite: &Message, status: StatusCode) {
        let response = RefusedRequest::with(status).response(invite, flow.remote, "refused");
        self.send(node, flow, response);
    }

    /// How a node is called where its peers send to.
    pub(super) fn local_name(&self, node: usize) -> Arc<str> {
        match self.plan.model {
            AddressModel::Shared => SHARED.to_string().into(),
            AddressModel::Returning | AddressModel::Vanishing => self.nodes[node].address.to_string().into(),
        }
    }

    fn looked(&self, node: usize, called: String) -> Looked {
        let flow = Flow { transport: Transport::Udp, listener: 0, remote: GATEWAY };
        let candidate = Candidate {
            gateway: "vendor".into(),
            reach: Reach::At(Target { flow, local: self.local_name(node) }),
            called: called.clone(),
            trusted: false,
            has_account: false,
            redirects: Redirects::Refuse,
            pass_headers: Arc::from([]),
            pass_methods: Default::default(),
            parameters: self.attempt.clone(),
        };
        Looked { called, routes: vec![candidate], ..Looked::default() }
    }

    pub(super) fn on_slot(
        &mut self,
        node: usize,
        id: CallId,
        holder: Holder,
        gateway: GatewayName,
        answer: &Answer,
    ) {
        let granted = match answer {
            Answer::Slot(granted) => *granted,
            // While the store is away some are admitted all the same.
            _ => true,
        };
        if !granted && let Some(held) = self.nodes[node].calls.get_mut(&id) {
            held.slots.retain(|(_, held)| *held != holder);
        }
        let result = if granted { Ok(()) } else { Err(Refusal::Calls) };
        if self.nodes[node].calls.contains_key(&id) {
            self.tell(node, id, Input::Admitted { gateway, attempt: holder.attempt, result });
        } else {
            self.ask(node, Ask::ReleaseSlot(holder));
        }
    }

    pub(super) fn on_written(&mut self, node: usize, id: CallId, write: (u32, u64), answer: &Answer) {
        let (mut end, mut is_fenced) = (None, false);
        let Some(held) = self.nodes[node].calls.get_mut(&id) else { return };
        let result = match answer {
            Answer::Written(Ok(())) => {
                held.invite = None;
                end = held.ending.take_if(|(of, _)| *of == write).map(|(_, end)| end);
                WriteResult::Stored
            }
            Answer::Written(Err(Refused::Ended)) => WriteResult::Ended,
            Answer::Written(Err(_)) => {
                held.slots.clear();
                is_fenced = true;
                WriteResult::Fenced
            }
            _ => WriteResult::Failed,
        };
        if let Some(end) = end {
            self.note_end(node, end);
        }
        if is_fenced {
            self.tell_of_end(node, id);
        }
        let name = self.nodes[node].name.clone();
        self.note(self.judge.number(id), |_| format!("{name}: {write:?} of {id} is {result:?}"));
        self.with(node, id, |held, now| {
            let effects = held.host.on_stored(write, result, now);
            if result == WriteResult::Stored {
                held.tenure.stored(write, &held.host);
            }
            effects
        });
    }

    /// An earlier owner had ended a call that is here now.
    pub(super) fn ended_before(&mut self, node: usize, end: End) {
        self.with(node, end.id, |held, now| held.host.ended_by_another(end.records, now).1);
    }

    /// A call is another node's, as that one says.
    pub(super) fn is_lost(&mut self, node: usize, id: CallId) {
        self.tell_of_end(node, id);
        self.lose(node, id);
    }

    /// If a call that is another's had ended here before, that one is told.
    fn tell_of_end(&mut self, node: usize, id: CallId) {
        let Some(held) = self.nodes[node].calls.get_mut(&id) else { return };
        let ending = held.ending.take().filter(|_| held.host.was_answered());
        if let Some((_, end)) = ending {
            self.tell_owner(node, end);
        }
    }

    /// The call is another node's.
    pub(super) fn lose(&mut self, node: usize, id: CallId) {
        if let Some(held) = self.nodes[node].calls.get_mut(&id) {
            held.slots.clear();
        }
        self.with(node, id, |held, now| held.host.let_go(now));
    }

    /// The actor is gone: what it still holds is given back.
    fn stop(&mut self, node: usize, id: CallId) {
        let Some(held) = self.nodes[node].calls.remove(&id) else { return };
        for (_, holder) in held.slots {
            self.ask(node, Ask::ReleaseSlot(holder));
        }
    }

    pub(super) fn trace_is_wanted(&self) -> bool {
        self.trace.is_wanted()
    }
}
