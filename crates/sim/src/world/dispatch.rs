//! From a datagram to the call it belongs to, as the node's dispatcher finds it.

use super::life::{Life, branch_of};
use super::{Event, NODE, World};
use crate::coverage::Talk;
use crate::model::{Heard, InviteFacts, Opening, Request, Response};
use crate::peers::{CallerConduct, SWITCH};
use crate::plan::Kind;
use crate::violation::Rule;
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_cluster::CallHost;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::{Message, Method, ResponseHead, StatusCode, Uri};
use tandem_switch::call::{
    Call, CallId, Input, Refused, Serial, Setup, Token, respond_outside_dialog, screen,
};
use tandem_switch::gateway::Holder;

impl World {
    pub(super) fn on_datagram(&mut self, from: SocketAddr, bytes: Bytes) {
        let flow = Flow { transport: Transport::Udp, listener: 0, remote: from };
        let Ok(message) = Message::parse(bytes, &self.limits) else {
            self.note(None, |world| format!("{:>20} -> unreadable", world.name_of(from)));
            return;
        };
        let call = self.call_of(&message);
        self.note(call, |world| {
            format!("{:>20} -> {}", world.name_of(from), super::network::describe(&message))
        });
        if !message.is_request() {
            return self.on_response(message);
        }
        if let Err(rejection) = message.validate() {
            if message.method() != Some(Method::Ack) {
                self.answer_statelessly(flow, &message, &Refused::with(rejection.status));
            }
            return;
        }
        self.on_request(flow, message);
    }

    /// The life of the call that a message belongs to: by our token in the branch of a response and in the To tag of a
    /// request, else by what every request of the caller's INVITE transaction repeats.
    fn call_of(&self, message: &Message) -> Option<usize> {
        let id = match (message.is_request(), message.to_tag()) {
            (false, _) => Token::of_branch(message.top_via().ok()?.branch()?, &self.keys)?.id,
            (true, Some(tag)) => Token::parse(tag, &self.keys)?.id,
            (true, None)
                if !matches!(message.method(), Some(Method::Invite | Method::Cancel | Method::Ack)) =>
            {
                return None;
            }
            (true, None) => {
                let mut ids = self.keys.all().filter_map(|key| CallId::of(message, key));
                ids.find(|id| self.directory.contains_key(id))?
            }
        };
        self.directory.get(&id).copied()
    }

    fn on_response(&mut self, response: Message) {
        if response.validate().is_err() {
            return;
        }
        if let Some(life) = self.call_of(&response) {
            let heard = Heard::Response(Response::of(&response));
            self.step(life, heard, Input::Response(response));
        }
    }

    fn on_request(&mut self, flow: Flow, request: Message) {
        if let Some(life) = self.call_of(&request) {
            self.check_dispatch(life, &request);
            let heard = Heard::Request(Request::of(&request));
            return self.step(life, heard, Input::Request { message: request, flow });
        }
        if request.to_tag().is_none() && request.method() == Some(Method::Invite) {
            return self.begin_call(flow, request);
        }
        let tag = self.stateless_tag(&request);
        let response = match request.method() {
            Some(Method::Ack) => None,
            Some(_) | None if request.to_tag().is_some() => {
                let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
                Some(Refused::with(status).response(&request, flow.remote, &tag))
            }
            Some(_) | None => respond_outside_dialog(&request, flow.remote, &tag, None),
        };
        if let Some(response) = response {
            self.answer(flow, &request, response);
        }
    }

    /// A request from a caller's address belongs to that caller's call.
    fn check_dispatch(&mut self, life: usize, request: &Message) {
        let call_id = String::from_utf8_lossy(request.call_id().unwrap_or_default()).into_owned();
        let Some(number) = call_id.strip_prefix("caller").and_then(|rest| rest.split('@').next()) else {
            return;
        };
        if number.parse() != Ok(self.lives[life].plan) {
            self.fail(Rule::Dispatch, Some(life), format!("{request:?} of {call_id}"));
        }
    }

    fn stateless_tag(&self, request: &Message) -> String {
        CallId::of(request, &self.keys.current).map_or_else(|| "0".to_owned(), |id| id.to_string())
    }

    fn answer_statelessly(&mut self, flow: Flow, request: &Message, refused: &Refused) {
        let response = refused.response(request, flow.remote, &self.stateless_tag(request));
        self.answer(flow, request, response);
    }

    fn answer(&mut self, flow: Flow, request: &Message, response: Bytes) {
        let to = request.top_via().map_or(flow.remote, |via| via.response_address(flow.remote));
        match Message::parse(response, &self.limits) {
            // Nothing is kept of what is answered here: a peer that got no answer asks again.
            Ok(response) => drop(self.transmit(None, to, &response)),
            Err(error) => self.fail(Rule::Readable, None, error.to_string()),
        }
    }

    fn begin_call(&mut self, flow: Flow, invite: Message) {
        let Some(gateway) = self.sources.find(flow.remote.ip()).cloned() else {
            return self.answer_statelessly(flow, &invite, &Refused::with(StatusCode::FORBIDDEN));
        };
        let screened = screen(&invite, &gateway.parameters);
        self.check_screening(&flow, screened.as_ref().err());
        self.note_refusal(screened.as_ref().err());
        if let Err(refused) = screened {
            return self.answer_statelessly(flow, &invite, &refused);
        }
        let Some(id) = CallId::of(&invite, &self.keys.current) else { return };
        let Some(mapping) = self.mapping.iter().position(|known| known.name == gateway.name) else { return };
        if !self.admit_call(id, mapping) {
            return self.answer_statelessly(flow, &invite, &Refused::with(StatusCode::SERVICE_UNAVAILABLE));
        }
        let life = self.lives.len();
        let token = Token { id, hint: 1 }.print(&self.keys);
        let setup = Setup {
            id,
            token,
            node: NODE.into(),
            invite: invite.clone(),
            flow,
            local: SWITCH.into(),
            home: 0,
            mapping_gateway: gateway,
            endpoint: None,
        };
        let now = self.now();
        let (call, actions) = match Call::start(setup, now) {
            Ok(started) => started,
            Err(_) => {
                self.release_call(id, mapping);
                return self.answer_statelessly(flow, &invite, &Refused::with(StatusCode::BAD_REQUEST));
            }
        };
        let plan = self.plan_at(flow.remote);
        self.note(Some(life), |world| format!("begins: caller{plan}, {}", world.plan.calls[plan].conduct));
        let is_ghost = self.lives.iter().any(|life| life.id == id);
        self.open_model(mapping, (&invite, flow.remote), plan, is_ghost);
        self.directory.insert(id, life);
        let (host, effects) = CallHost::start(NODE.into(), call, actions, now);
        self.lives.push(Life {
            id,
            host: Some(host),
            mapping,
            plan,
            held: Vec::new(),
            admitted: true,
            invite: Some((invite, flow)),
            wake_turn: 0,
            wakes: (0, 0),
            pipeline_until: 0,
            ending: None,
            lost: None,
            has_ended: false,
            has_two_owners: false,
            panics: 0,
            panicked: false,
        });
        self.enter_misfortunes(life, plan);
        self.finish_step(life, effects);
    }

    /// RFC 3261 §8.2: what is wrong with an INVITE has a status of its own.
    fn check_screening(&mut self, flow: &Flow, refused: Option<&Refused>) {
        let Some(caller) = self.callers.iter().find(|caller| caller.address == flow.remote) else { return };
        let due = [
            (CallerConduct::TooManyHops, StatusCode::TOO_MANY_HOPS),
            (CallerConduct::RequiresMore, StatusCode::BAD_EXTENSION),
        ];
        let expected = due.iter().find(|(conduct, _)| *conduct == caller.conduct).map(|(_, status)| *status);
        let found = refused.map(|refused| refused.status);
        if found != expected {
            self.fail(Rule::Dispatch, None, format!("an INVITE is refused with {found:?}, not {expected:?}"));
        }
    }

    /// Which of the plan's calls comes from there.
    fn plan_at(&self, address: SocketAddr) -> usize {
        let caller = self.callers.iter().position(|caller| caller.address == address);
        let phone = || self.phones.iter().position(|phone| phone.address == address);
        caller.or_else(phone).unwrap_or_default()
    }

    fn note_refusal(&mut self, refused: Option<&Refused>) {
        match refused.map(|refused| refused.status.code()) {
            Some(422) => self.coverage.talk(Talk::IntervalTooSmall),
            Some(420 | 421) => self.coverage.talk(Talk::ReliabilityRefused),
            _ => {}
        }
    }

    fn enter_misfortunes(&mut self, life: usize, plan: usize) {
        let plans = self.plan.clone();
        let plan = &plans.calls[plan];
        for panic in &plan.panics_ms {
            self.enter(*panic, Event::Panic(life));
        }
        if let Some(after) = plan.hang_up_ms {
            self.enter(after, Event::HangUp(life));
        }
        if let Some(after) = plan.stolen_ms {
            self.enter(after, Event::Steal(life));
        }
    }

    fn open_model(
        &mut self,
        mapping: usize,
        (invite, source): (&Message, SocketAddr),
        plan: usize,
        is_ghost: bool,
    ) {
        let number = |uri: &[u8]| Uri::parse(uri).map(|uri| uri.number().into_owned()).unwrap_or_default();
        let contact = invite.contact().and_then(Result::ok).and_then(|contact| contact.parse_uri().ok());
        let contact = contact.and_then(|uri| uri.socket_addr(5060));
        let facts = InviteFacts {
            request: Request::of(invite),
            offers: !invite.body().is_empty(),
            caller: invite.from().map(|from| number(from.uri)).unwrap_or_default(),
            called: number(invite.request_uri()),
            contact: contact.unwrap_or(source),
        };
        let will_panic = !self.plan.calls[plan].panics_ms.is_empty();
        let talks = self.plan.kind == Kind::Conversations;
        self.model.open((mapping, invite), facts, Opening { will_panic, is_ghost, talks }, self.now.0);
    }

    /// Takes a place on the node and at the mapping gateway.
    fn admit_call(&mut self, id: CallId, mapping: usize) -> bool {
        let (now, holder) = (self.now(), Holder { call: id, attempt: 0 });
        if self.node_slots.admit(now, holder).is_err() {
            return false;
        }
        if self.mapping_slots[mapping].admit(now, holder).is_err() {
            self.node_slots.release(now, holder, None);
            return false;
        }
        true
    }

    /// Gives a call's place on the node and at its mapping gateway back.
    pub(super) fn release_call(&mut self, id: CallId, mapping: usize) {
        let (now, holder) = (self.now(), Holder { call: id, attempt: 0 });
        self.node_slots.release(now, holder, None);
        self.mapping_slots[mapping].release(now, holder, None);
    }

    /// An ICMP error quotes what could not be delivered. Only a token of ours is believed.
    pub(super) fn on_unreachable(&mut self, sent: &Bytes) {
        if sent.starts_with(b"SIP/2.0") {
            return;
        }
        let Some(branch) = branch_of(sent) else { return };
        let (Some(token), Some(serial)) = (Token::of_branch(&branch, &self.keys), Serial::of(&branch)) else {
            return;
        };
        if let Some(life) = self.directory.get(&token.id).copied() {
            self.step(life, Heard::Undeliverable(branch), Input::Undeliverable(serial));
        }
    }

    /// The call panicked before anything of it was stored: its caller is told so.
    pub(super) fn unstored_answer(&mut self, life: usize) {
        let Some((invite, flow)) = self.lives[life].invite.take() else { return };
        let tag = self.lives[life].id.to_string();
        let status = StatusCode::SERVER_INTERNAL_ERROR;
        let response = ResponseHead::of(&invite, flow.remote).respond(status, Some(&tag)).finish();
        if let Ok(response) = Message::parse(response, &self.limits) {
            // The caller's own timer covers for a response that cannot be sent.
            drop(self.transmit(Some(life), flow.remote, &response));
        }
    }
}
