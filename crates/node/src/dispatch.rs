//! From a datagram to the call it belongs to.

use crate::authenticator::Verdict;
use crate::call_actor::{Beginning, Begun, CallActor, CallMessage, Origin, branch_of};
use crate::directory::{CallHandle, RouteKey};
use crate::endpoints::ENDPOINTS;
use crate::gateway_actor::GatewayHandle;
use crate::gateway_care::CareMessage;
use crate::guards::Sender;
use crate::link::Edges;
use crate::ongoing::RequestKey;
use crate::registration::{Place, Registration};
use crate::shared::Shared;
use crate::tap::Tapped;
use bytes::Bytes;
use ractor::ActorRuntime;
use std::sync::Arc;
use tandem_cluster::first_heir;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::stun;
use tandem_sip::time::Mono;
use tandem_sip::{FrameError, Limits, Message, Method, Name, ParseError, ResponseHead, StatusCode, Uri};
use tandem_switch::call::{
    Call, CallId, CallingEndpoint, Input, Refused, Serial, Setup, Token, respond_outside_dialog, screen,
};
use tandem_switch::gateway::MappingGateway;
use tandem_switch::registrar::is_behind_nat;
use tandem_telemetry::{AdmissionRefusal, Direction, ParseReject};
use tandem_transport::Event;

/// Seconds after which a caller that was not admitted may try again, at the earliest.
const RETRY_AFTER_S: u64 = 5;

/// Over so many seconds more those that were not admitted are spread.
const RETRY_AFTER_JITTER_S: u64 = 6;

/// A ping of RFC 5626 §3.5.1, and the answer to it.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

/// How the call of a message was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// By a token of ours, which nobody else can have made.
    ByToken,
    /// By what the caller's transaction repeats.
    ByTransaction,
}

/// The call of a message, and what it is told.
type Found = (Named, CallHandle, Input);

/// Who makes a new call.
struct Caller {
    gateway: Arc<MappingGateway>,
    /// The endpoint, if it is one's, which has shown that it is.
    endpoint: Option<CallingEndpoint>,
}

/// A message that its call's mailbox had no room for.
pub(crate) struct Waiting {
    pub(crate) call: CallHandle,
    pub(crate) message: CallMessage,
}

/// Hands what arrives at the sockets to the calls it belongs to, and answers what belongs to none.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    limits: Limits,
}

impl Dispatcher {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, limits: Limits::default() }
    }

    pub(crate) fn on_event(&self, event: Event) {
        match event {
            Event::Datagram { listener, source, bytes } => {
                let flow = Flow { transport: Transport::Udp, listener, remote: source };
                // Whoever sent it sends it again.
                if self.on_message(flow, bytes).is_some() {
                    self.shared.metrics.mailbox_overflow.inc();
                }
            }
            Event::Unreachable { listener, remote, sent } => {
                self.shared.metrics.unreachable.inc();
                let flow = Flow { transport: Transport::Udp, listener, remote };
                if self.shared.nat.on_unreachable(&flow, &sent) {
                    return;
                }
                if let Some((call, input)) = self.undeliverable(&sent) {
                    self.hand_over(call, input);
                }
            }
        }
    }

    /// Takes one message. What its call has no room for is given back.
    pub(crate) fn on_message(&self, flow: Flow, bytes: Bytes) -> Option<Box<Waiting>> {
        let now = self.shared.clock.mono();
        let (guards, source) = (&self.shared.guards, flow.remote.ip());
        let sender = guards.admit(now, source, &self.shared.configured)?;
        if !flow.transport.is_reliable() && stun::is_stun(&bytes) {
            self.on_stun(flow, &bytes);
            return None;
        }
        if let Some(tap) = &self.shared.tap
            && let Some(listener) = self.shared.listeners.get(usize::from(flow.listener))
        {
            let (from, to) = (flow.remote, listener.socket.local_addr());
            tap.take(Tapped { at: self.shared.clock.now().wall, from, to, message: bytes.clone() });
        }
        let message = match Message::parse(bytes.clone(), &self.limits) {
            Ok(message) => message,
            Err(error) => {
                self.on_unreadable(flow, &bytes, &error);
                return None;
            }
        };
        self.shared.count(Direction::Received, message.raw());
        let (named, call, input) = if !message.is_request() {
            self.on_response((flow, 0), sender, message)?
        } else if let Err(rejection) = message.validate() {
            self.reject_malformed(flow, &message, rejection.status, rejection.reason);
            return None;
        } else {
            self.on_request((flow, 0), message)?
        };
        if named == Named::ByToken && sender == Sender::Stranger {
            self.shared.guards.vouch(flow.remote.ip());
        }
        self.hand_over(call, input)
    }

    /// Takes a message that came to another node, which has looked at it, and passes it on for the `hops`th time.
    pub(crate) fn on_forwarded(&self, flow: Flow, hops: u8, bytes: Bytes) {
        let Ok(message) = Message::parse(bytes, &self.limits) else { return };
        if message.validate().is_err() {
            return;
        }
        let found = match message.is_request() {
            true => self.on_request((flow, hops), message),
            false => self.on_response((flow, hops), Sender::Known, message),
        };
        if let Some((_, call, input)) = found
            && self.hand_over(call, input).is_some()
        {
            self.shared.metrics.mailbox_overflow.inc();
        }
    }

    /// A stream on which the next message cannot be found: what begins it is answered where it can be (RFC 3261 §18.3,
    /// §21.5.7).
    pub(crate) fn on_broken_stream(&self, flow: Flow, error: FrameError) {
        let rejects = &self.shared.metrics.parse_rejects;
        let (head, status, reason) = match error {
            FrameError::NotSip => {
                rejects.of(ParseReject::NotSip).inc();
                return self.on_offence(flow);
            }
            FrameError::TooLarge { head, .. } => {
                rejects.of(ParseReject::TooLong).inc();
                (head, StatusCode::MESSAGE_TOO_LARGE, StatusCode::MESSAGE_TOO_LARGE.reason())
            }
            FrameError::ContentLength { head } => {
                (head, StatusCode::BAD_REQUEST, "Content-Length is missing or wrong")
            }
        };
        match Message::parse(head, &self.limits) {
            Ok(message) if message.is_request() => self.reject_malformed(flow, &message, status, reason),
            Ok(_) => rejects.of(ParseReject::MalformedResponse).inc(),
            Err(_) => self.on_offence(flow),
        }
    }

    /// Answers a binding request (RFC 5626 §8), by which a user agent keeps its flow alive.
    fn on_stun(&self, flow: Flow, datagram: &[u8]) {
        if let Some(answer) = stun::answer(datagram, flow.remote) {
            self.shared.metrics.stun_answered.inc();
            // Who gets none asks again.
            let _ = self.shared.send_raw(flow, &answer);
        }
    }

    /// Takes note of a message that nobody sends who means well.
    fn on_offence(&self, flow: Flow) {
        self.shared.guards.on_offence(self.shared.clock.mono(), flow.remote.ip());
    }

    fn on_unreadable(&self, flow: Flow, bytes: &[u8], error: &ParseError) {
        let reason = match error {
            ParseError::Empty => {
                if bytes.starts_with(PING) {
                    self.send(flow, &Bytes::from_static(PONG));
                }
                return;
            }
            ParseError::NotSip => ParseReject::NotSip,
            ParseError::Status => ParseReject::StatusLine,
            ParseError::NoVia => ParseReject::NoVia,
            ParseError::TooLarge(_) => ParseReject::TooLong,
            ParseError::LineTooLong => ParseReject::LineTooLong,
            ParseError::TooManyHeaders(_) => ParseReject::TooManyHeaders,
        };
        self.shared.metrics.parse_rejects.of(reason).inc();
        self.on_offence(flow);
    }

    /// A malformed request is answered where it can be (RFC 3261 §21.4.1); ACK never is.
    fn reject_malformed(&self, flow: Flow, request: &Message, status: StatusCode, reason: &'static str) {
        self.shared.metrics.parse_rejects.of(ParseReject::MalformedRequest).inc();
        self.on_offence(flow);
        if request.method() == Some(Method::Ack) {
            return;
        }
        let tag = self.shared.stateless_tag(request);
        let head = ResponseHead::of(request, flow.remote);
        let response = head.respond_with_reason(status, reason.as_bytes(), Some(&tag)).finish();
        self.shared.answer(flow, request, &response);
    }

    fn on_response(&self, (flow, hops): (Flow, u8), sender: Sender, response: Message) -> Option<Found> {
        if response.validate().is_err() {
            self.shared.metrics.parse_rejects.of(ParseReject::MalformedResponse).inc();
            return None;
        }
        let token =
            response.top_via().ok().and_then(|via| Token::of_branch(via.branch()?, &self.shared.keys));
        if let Some(gateway) = token.and_then(|token| self.shared.gateway_by_id(token.id)) {
            if sender == Sender::Stranger {
                self.shared.guards.vouch(flow.remote.ip());
            }
            self.hand_to_gateway(&gateway, CareMessage::Response(response));
            return None;
        }
        match token.and_then(|token| self.shared.calls.find(token.id)) {
            Some(call) if self.is_spoken_for_here(token, (flow, hops), &response) => {
                Some((Named::ByToken, call, Input::Response(response)))
            }
            Some(_) => None,
            None => {
                match token.filter(|_| self.shared.store.is_shared()) {
                    Some(token) => self.take_stray(token, (flow, hops, response)),
                    None => self.shared.metrics.parse_rejects.of(ParseReject::Stray).inc(),
                }
                None
            }
        }
    }

    /// Takes a message that has waited for its call, which is here now.
    pub(crate) fn take_found(&self, id: CallId, (flow, message): (Flow, Message)) {
        let Some(call) = self.shared.calls.find(id) else { return };
        let input = match message.is_request() {
            true => Input::Request { message, flow },
            false => Input::Response(message),
        };
        // Whoever sent it sends it again.
        if self.hand_over(call, input).is_some() {
            self.shared.metrics.mailbox_overflow.inc();
        }
    }

    /// Answers a message whose call is nobody's.
    pub(crate) fn take_nobodys(&self, (flow, message): (Flow, &Message)) {
        if message.is_request() {
            self.answer_outside_dialog(flow, message);
        } else {
            self.shared.metrics.parse_rejects.of(ParseReject::Stray).inc();
        }
    }

    /// The call of a request; one that has none is answered, or begins one.
    fn on_request(&self, (flow, hops): (Flow, u8), request: Message) -> Option<Found> {
        if let Some(tag) = request.to_tag() {
            let token = Token::parse(tag, &self.shared.keys);
            if let Some(call) = token.and_then(|token| self.shared.calls.find(token.id)) {
                if !self.is_spoken_for_here(token, (flow, hops), &request) {
                    return None;
                }
                return Some((Named::ByToken, call, Input::Request { message: request, flow }));
            }
            match token.filter(|_| self.shared.store.is_shared()) {
                Some(token) => self.take_stray(token, (flow, hops, request)),
                None => self.answer_outside_dialog(flow, &request),
            }
            return None;
        }
        // Only these are of an INVITE's transaction; another method under its branch is another's (RFC 3261 §17.2.3).
        if !matches!(request.method(), Some(Method::Invite | Method::Cancel | Method::Ack)) {
            self.answer_outside_dialog(flow, &request);
            return None;
        }
        let ids = self.shared.keys.all().filter_map(|key| CallId::of(&request, key));
        for id in ids {
            if let Some(call) = self.shared.calls.find(id) {
                return Some((Named::ByTransaction, call, Input::Request { message: request, flow }));
            }
        }
        let id = CallId::of(&request, &self.shared.keys.current).filter(|_| self.shared.store.is_shared());
        match (request.method(), id) {
            (Some(Method::Invite), _) => self.begin_call((flow, hops), request),
            (Some(Method::Cancel), Some(id)) => {
                self.shared.strays.take(self, &self.shared, (id, None), (flow, hops, request));
            }
            (Some(_) | None, _) => self.answer_outside_dialog(flow, &request),
        }
        None
    }

    /// Whether this node may speak for the call. One that is cut off from the store passes the message on to another node, which
    /// finds out whose it is.
    fn is_spoken_for_here(&self, token: Option<Token>, (flow, hops): (Flow, u8), message: &Message) -> bool {
        if self.shared.has_authority() {
            return true;
        }
        if !token.is_some_and(|token| self.pass_on(token, (flow, hops), message)) {
            self.shared.metrics.messages_withheld.inc();
        }
        false
    }

    /// Has another node find out whose a message is. `false` if there is none, or it has been passed on before.
    fn pass_on(&self, token: Token, (flow, hops): (Flow, u8), message: &Message) -> bool {
        let places = self.shared.nodes.places(&self.shared.name);
        let first = first_heir(&token.id.0, &places).filter(|_| hops == 0);
        first.is_some_and(|place| self.shared.forward(place, (flow, hops), message))
    }

    fn take_stray(&self, token: Token, stray: (Flow, u8, Message)) {
        // One that is cut off cannot ask the store.
        let (flow, hops, message) = &stray;
        if !self.shared.has_authority() && self.pass_on(token, (*flow, *hops), message) {
            return;
        }
        self.shared.strays.take(self, &self.shared, (token.id, Some(token.hint)), stray);
    }

    fn hand_over(&self, call: CallHandle, input: Input) -> Option<Box<Waiting>> {
        let message = CallMessage::Network(input);
        if !call.has_room() {
            return Some(Box::new(Waiting { call, message }));
        }
        if !call.offer(message) {
            self.shared.metrics.mailbox_overflow.inc();
        }
        None
    }

    fn hand_to_gateway(&self, gateway: &GatewayHandle, message: CareMessage) {
        if !gateway.offer(message) {
            self.shared.metrics.mailbox_overflow.inc();
        }
    }

    /// A gateway publishes its state (RFC 3903).
    fn on_publish(&self, flow: Flow, request: &Message) {
        match self.shared.publisher(flow, request) {
            Ok(gateway) => {
                self.hand_to_gateway(&gateway, CareMessage::Publish { flow, request: request.clone() });
            }
            Err(status) => {
                self.on_offence(flow);
                self.shared.refuse_with(flow, request, status);
            }
        }
    }

    fn answer_outside_dialog(&self, flow: Flow, request: &Message) {
        let tag = self.shared.stateless_tag(request);
        let response = match request.method() {
            // Of an answer of which nothing was kept.
            Some(Method::Ack) if request.to_tag() == Some(tag.as_bytes()) => return,
            // A dialog that is not here, or no longer.
            Some(Method::Ack) => return self.shared.metrics.parse_rejects.of(ParseReject::Stray).inc(),
            Some(_) | None if request.to_tag().is_some() => {
                let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
                Some(Refused::with(status).response(request, flow.remote, &tag))
            }
            Some(Method::Publish) => return self.on_publish(flow, request),
            // Whoever asks whether calls may come here is told.
            Some(Method::Options) if self.shared.is_draining() => {
                Some(self.unavailable(request).response(request, flow.remote, &tag))
            }
            Some(Method::Register) if self.shared.overload.shedding().sheds_registrations() => {
                Some(self.unavailable(request).response(request, flow.remote, &tag))
            }
            Some(Method::Register) if self.shared.configured().is_open() => {
                return self.shared.register(flow, request);
            }
            Some(_) | None => {
                let configured = self.shared.configured();
                let parameters = configured.sources.find(flow.remote.ip()).map(|gateway| &gateway.parameters);
                respond_outside_dialog(request, flow.remote, &tag, parameters)
            }
        };
        if let Some(response) = response {
            self.shared.answer(flow, request, &response);
        }
    }

    /// Has another node set up a new call, since this one takes none. Copies of its INVITE go to the same one. `false` if there is no
    /// other.
    fn place_elsewhere(&self, (flow, hops): (Flow, u8), invite: &Message) -> bool {
        let places = hops == 0 && self.shared.handing_over.places_calls(self.shared.clock.mono());
        let Some(id) = CallId::of(invite, &self.shared.keys.current).filter(|_| places) else {
            return false;
        };
        let places = self.shared.nodes.places(&self.shared.name);
        let first = first_heir(&id.0, &places);
        let Some(place) = first else { return false };
        let forward = || self.shared.forward(place, (flow, hops), invite);
        let is_placed = self.shared.handing_over.place(id, self.shared.clock.mono(), forward);
        if is_placed {
            self.shared.metrics.calls_placed.inc();
        }
        is_placed
    }

    fn begin_call(&self, (flow, hops): (Flow, u8), invite: Message) {
        if self.shared.is_draining() && self.place_elsewhere((flow, hops), &invite) {
            return;
        }
        let Some(Caller { gateway, endpoint }) = self.caller_of(flow, &invite) else { return };
        let gateway = &gateway;
        let Some(id) = CallId::of(&invite, &self.shared.keys.current) else { return };
        let now = self.shared.clock.mono();
        if self.shared.overload.was_refused(now, id) {
            self.shared.metrics.resends.of(Direction::Received).inc();
            return self.shared.refuse(flow, &invite, &self.unavailable(&invite));
        }
        // First what costs least.
        if let Err(refusal) = self.admit_source(now, flow, id, gateway)
            && !self.outranks(&invite, gateway, refusal)
        {
            return self.refuse_admission((now, id), flow, &invite, refusal);
        }
        let screened = match screen(&invite, &gateway.parameters) {
            Ok(screened) => screened,
            Err(refused) => return self.shared.refuse(flow, &invite, &refused),
        };
        let route = RouteKey::of(&gateway.name, &screened.called);
        if self.has_come_round(&invite, route) {
            return self.shared.refuse(flow, &invite, &Refused::with(StatusCode::LOOP_DETECTED));
        }
        let request = RequestKey::of(&invite, &self.shared.keys.current);
        match self.admit((id, request), gateway, &screened.called, route) {
            Ok(Place::Taken(registration)) => {
                self.start_call(flow, invite, Caller { gateway: gateway.clone(), endpoint }, registration)
            }
            Ok(Place::TakenByItself) => {}
            Ok(Place::TakenByAFork) => {
                self.shared.refuse(flow, &invite, &Refused::with(StatusCode::LOOP_DETECTED));
            }
            Err(refusal) => self.refuse_admission((now, id), flow, &invite, refusal),
        }
    }

    /// Whose call an INVITE is: the mapping gateway's at its source, or an endpoint's, which is asked for credentials.
    /// `None` if it is nobody's; then it has been answered.
    fn caller_of(&self, flow: Flow, invite: &Message) -> Option<Caller> {
        if let Some(gateway) = self.shared.configured().sources.find(flow.remote.ip()) {
            return Some(Caller { gateway: gateway.clone(), endpoint: None });
        }
        if !self.shared.configured().is_open() {
            self.shared.metrics.admission_refused.of(AdmissionRefusal::UnknownSource).inc();
            tracing::debug!(source = %flow.remote.ip(), "INVITE from a source that is no mapping gateway's");
            self.on_offence(flow);
            self.shared.refuse(flow, invite, &Refused::with(StatusCode::FORBIDDEN));
            return None;
        }
        let endpoint = match self.shared.authenticator.check(invite, flow, self.shared.clock.now()) {
            Verdict::Passed { endpoint, at_new_source } => {
                if at_new_source {
                    self.shared.guards.vouch(flow.remote.ip());
                }
                endpoint
            }
            Verdict::Challenge(refused) | Verdict::Denied(refused) => {
                self.shared.refuse(flow, invite, &refused);
                return None;
            }
        };
        let name = endpoint.mapping_gateway.as_deref().unwrap_or(ENDPOINTS);
        let gateway = self.shared.admission.mapping_gateway(name)?;
        let number = endpoint.number.as_deref().unwrap_or(&endpoint.user).into();
        let contact = invite.contact().and_then(Result::ok).and_then(|contact| contact.parse_uri().ok());
        let is_behind_nat = contact.is_none_or(|contact| is_behind_nat(invite, flow.remote.ip(), &contact));
        let by_flow = flow.transport.is_reliable() || is_behind_nat;
        Some(Caller { gateway, endpoint: Some(CallingEndpoint { number, by_flow }) })
    }

    /// Whether an INVITE is one of ours that proxies have brought back, and would go the same way again (RFC 5393 §4.2).
    /// Its Call-ID is the name of the call that sent it. One that comes back to go another way is no loop; where it is
    /// not told, since something between has given it another Call-ID, Max-Forwards ends it (RFC 7332).
    fn has_come_round(&self, invite: &Message, route: RouteKey) -> bool {
        let token = invite.call_id().and_then(|name| Token::parse(name, &self.shared.keys));
        let call = token.and_then(|token| self.shared.calls.find(token.id));
        call.is_some_and(|call| call.route() == route)
    }

    /// What is asked of a new call before anything of it is kept.
    fn admit_source(
        &self,
        now: Mono,
        flow: Flow,
        id: CallId,
        gateway: &MappingGateway,
    ) -> Result<(), AdmissionRefusal> {
        if self.shared.is_draining() {
            return Err(AdmissionRefusal::Draining);
        }
        if !self.shared.has_authority() {
            return Err(AdmissionRefusal::CutOff);
        }
        if self.shared.records.press() {
            return Err(AdmissionRefusal::Records);
        }
        if self.shared.overload.shedding().sheds(id) {
            return Err(AdmissionRefusal::Overload);
        }
        match gateway.per_source.cps {
            Some(limit) if !self.shared.guards.admit_call(now, flow.remote.ip(), limit) => {
                Err(AdmissionRefusal::SourceCps)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a call is let in though there is no room: one to an emergency number is, unless the node is about to stop,
    /// where the call would be cut off and another node can take it.
    fn outranks(&self, invite: &Message, gateway: &MappingGateway, refusal: AdmissionRefusal) -> bool {
        !matches!(refusal, AdmissionRefusal::Draining | AdmissionRefusal::CutOff)
            && Uri::parse(invite.request_uri())
                .is_ok_and(|uri| self.shared.is_emergency(gateway, &uri.number()))
    }

    /// Refuses a new call for lack of room; copies of its INVITE get the same answer.
    fn refuse_admission(
        &self,
        (now, id): (Mono, CallId),
        flow: Flow,
        invite: &Message,
        refusal: AdmissionRefusal,
    ) {
        self.shared.metrics.admission_refused.of(refusal).inc();
        self.shared.overload.note_refused(now, id);
        self.shared.refuse(flow, invite, &self.unavailable(invite));
    }

    /// Not now. Not all are told to come back at the same time.
    fn unavailable(&self, request: &Message) -> Refused {
        let draw = CallId::of(request, &self.shared.keys.current).map_or(0, CallId::draw);
        let retry_after_s = RETRY_AFTER_S + draw % RETRY_AFTER_JITTER_S;
        Refused::and(StatusCode::SERVICE_UNAVAILABLE, Name::RetryAfter, retry_after_s.to_string())
    }

    fn admit(
        &self,
        request: (CallId, Option<RequestKey>),
        gateway: &Arc<MappingGateway>,
        called: &str,
        route: RouteKey,
    ) -> Result<Place, AdmissionRefusal> {
        if !self.shared.wheel.has_room() {
            return Err(AdmissionRefusal::NodeCalls);
        }
        let mut place = Registration::take(&self.shared, request, (gateway.name.clone(), route));
        if let Place::Taken(registration) = &mut place {
            match registration.admit() {
                Err(_) if self.shared.is_emergency(gateway, called) => registration.admit_beyond_limits(),
                admitted => admitted?,
            }
        }
        Ok(place)
    }

    fn start_call(&self, flow: Flow, invite: Message, caller: Caller, registration: Registration) {
        let id = registration.id();
        let token = Token { id, hint: self.shared.hint }.print(&self.shared.keys);
        // The caller is sent requests from here, by whichever node its INVITE came.
        let home = match Edges::is_of_another(flow) {
            true => self
                .shared
                .flow_to(flow.transport, flow.remote, None)
                .map_or(flow.listener, |flow| flow.listener),
            false => flow.listener,
        };
        let local = self.shared.local_name(home, flow.remote);
        let node = self.shared.name.clone();
        let Caller { gateway: mapping_gateway, endpoint } = caller;
        let invite_kept = invite.clone();
        let setup =
            Setup { id, token, node, invite: invite_kept, flow, local, home, mapping_gateway, endpoint };
        let (call, actions) = match Call::start(setup, self.shared.clock.now()) {
            Ok(started) => started,
            Err(error) => {
                tracing::debug!(%error, "INVITE that makes no dialog");
                return self.shared.refuse(flow, &invite, &Refused::with(StatusCode::BAD_REQUEST));
            }
        };
        let Some(supervisor) = self.shared.supervisor() else { return };
        let mailbox = registration.mailbox().clone();
        let (shared, hold) = (self.shared.clone(), self.shared.hold(flow));
        let origin = Origin::Begun(Box::new(Begun { call, actions, invite, flow }));
        let beginning = Box::new(Beginning { shared, registration, origin, hold });
        match ActorRuntime::spawn_linked_instant(None, CallActor, beginning, supervisor) {
            Ok((actor, _)) => {
                self.shared.metrics.calls_started.inc();
                self.shared.calls.enter(id, &mailbox, actor);
            }
            Err(error) => tracing::error!(%error, "cannot start a call's actor"),
        }
    }

    fn send(&self, flow: Flow, message: &Bytes) {
        // Nothing is kept of what is answered here: a peer that got no answer asks again.
        let _ = self.shared.send(flow, message);
    }

    /// A message of ours was not delivered.
    pub(crate) fn on_undeliverable(&self, message: &[u8]) {
        if let Some((call, input)) = self.undeliverable(message) {
            // A call that has gone waits for nothing.
            let _ = call.actor().cast(CallMessage::Result(input));
        }
    }

    /// The call whose request was not delivered, or so an ICMP error says that quotes it. Only a token of ours is believed.
    fn undeliverable(&self, sent: &[u8]) -> Option<(CallHandle, Input)> {
        let branch = branch_of(sent).filter(|_| !sent.starts_with(b"SIP/2.0"))?;
        let (token, serial) = (Token::of_branch(branch, &self.shared.keys)?, Serial::of(branch)?);
        if let Some(gateway) = self.shared.gateway_by_id(token.id) {
            self.hand_to_gateway(&gateway, CareMessage::Undeliverable(serial));
            return None;
        }
        Some((self.shared.calls.find(token.id)?, Input::Undeliverable(serial)))
    }
}
