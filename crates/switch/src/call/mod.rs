//! The call: a back-to-back user agent as a pure machine.
//!
//! [`Call::start`] takes the caller's INVITE, [`Call::handle`] whatever happens after it; both return what is to be
//! done, in order. One file per state:
//!
//! | state | waits for |
//! |---|---|
//! | `routing` | where the call may go |
//! | `hunting` | a gateway's word that it has a slot |
//! | `calling` | a gateway's response, or those of an endpoint's bindings (`fork`) |
//! | `connected` | the end of the conversation |
//! | `clearing` | what still arrives once the call has ended |

mod action;
mod again;
mod attempt;
mod caller;
mod calling;
mod challenge;
mod clearing;
mod connected;
mod context;
mod copy_on_write;
mod course;
mod early;
mod early_offer;
mod fork;
mod hunting;
mod identity;
mod inside;
mod invite;
mod moving;
mod privacy;
mod reasons;
mod redirect;
mod reliable;
mod requests;
mod retry;
mod ringing;
mod routing;
mod screen;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod unanswered;
mod unwanted;
mod waiting;

pub use action::{
    Action, Again, Authorization, Bindings, Branch, CallingEndpoint, Candidate, Event, Input, Looked,
    MAX_TARGETS, Reach, Seq, Setup, Sought, Target, Unauthorized,
};
pub(crate) use challenge::Challenges;
pub use fork::MAX_BRANCHES;
pub(crate) use identity::Names;
pub use identity::{CallId, Serial, TOKEN_LEN, Token, TokenKeys};
pub use moving::{Home, Moved};
pub(crate) use screen::check_required;
pub use screen::{Refused, Screened, respond_outside_dialog, screen};
pub use snapshot::Snapshot;

use crate::cdr::{CallRecord, EndReason, Origin, Release};
use crate::gateway::Outcome;
use crate::gateway::{GatewayName, Refusal};
use caller::{CallerLeg, Passing};
use clearing::{Clearing, Ending};
use connected::{Connected, Party};
use context::{Context, Profile};
use copy_on_write::CopyOnWrite;
use requests::reason_line;
use ringing::Ringing;
use std::sync::Arc;
use tandem_sip::dialog::DialogError;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_sip::{Message, Method, StatusCode};

/// One call: the caller's leg, the attempts at gateways, and once it is answered the callee's leg.
pub struct Call {
    context: Context,
    state: State,
    /// The wake-up that was last asked for.
    wakes_at: Option<Mono>,
}

enum State {
    Routing(routing::Routing),
    Admitting(hunting::Admitting),
    Calling(Box<calling::Calling>),
    Connected(Box<Connected>),
    Clearing(Box<Clearing>),
    /// Nothing can arrive any more.
    Over,
}

/// How far a call has come, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// No gateway has rung yet.
    Setup,
    /// The caller hears that it rings.
    Ringing,
    /// In conversation.
    Answered,
    /// Ended; both sides are being told.
    Ending,
}

/// What an operator is shown of a call.
#[derive(Clone, Debug)]
pub struct CallStatus {
    /// How far it has come.
    pub stage: Stage,
    /// What its record holds so far.
    pub record: CallRecord,
}

impl Call {
    /// A call for an INVITE that has been [screened](screen), and what is to be done at once.
    ///
    /// # Errors
    /// Says what the INVITE lacks to make a dialog.
    pub fn start(setup: Setup, now: Now) -> Result<(Self, Vec<Action>), DialogError> {
        let Setup { id, token, node, invite, flow, local, home, mapping_gateway, endpoint } = setup;
        let mut names = Names::new(token, 0);
        let passing = Passing {
            headers: &mapping_gateway.pass_headers,
            methods: mapping_gateway.pass_methods,
            trusted: mapping_gateway.trusted,
        };
        let parameters = mapping_gateway.parameters;
        let ringing = Ringing::of(&invite, parameters.reliable_provisionals);
        let mut caller = CallerLeg::new(&invite, (flow, local), ringing, &mut names, &passing)?;
        if let Some(endpoint) = &endpoint {
            caller.is_endpoint(endpoint);
        }
        let by_flow =
            flow.transport.is_reliable() || endpoint.as_ref().is_some_and(|endpoint| endpoint.by_flow);
        if !by_flow {
            caller.dialog.move_flow(|flow| Flow { listener: home, ..flow });
        }
        let transaction = caller.transaction(parameters.resend);
        let number = |uri: Result<tandem_sip::Uri<'_>, _>| {
            uri.map(|uri| uri.number().into_owned()).unwrap_or_default()
        };
        let record = CallRecord {
            id,
            caller_call_id: String::from_utf8_lossy(caller.dialog.call_id()).into_owned(),
            callee_call_id: None,
            nodes: vec![node],
            caller: match &endpoint {
                Some(endpoint) => endpoint.number.to_string(),
                None => invite.from().map(|from| number(from.parse_uri())).unwrap_or_default(),
            },
            asserted: mapping_gateway.trusted.then(|| privacy::asserted_number(&invite)).flatten(),
            called: number(tandem_sip::Uri::parse(invite.request_uri())),
            called_routed: None,
            mapping_gateway: mapping_gateway.name.clone(),
            attempts: Vec::new(),
            started_at: now.wall,
            ringing_at: None,
            answered_at: None,
            codec: None,
        };
        let profile = Profile { parameters, cause_map: mapping_gateway.cause_map.clone() };
        let (profile, caller) = (CopyOnWrite::new(profile), CopyOnWrite::new(caller));
        let mut context = Context::new((id, names), profile, caller, transaction, CopyOnWrite::new(record));
        context.setup_deadline = parameters.setup_timeout.map(|timeout| now.mono + timeout);
        let uri = String::from_utf8_lossy(invite.request_uri()).into();
        let state = routing::Routing::enter(&mut context, uri, now);
        let mut call = Self { context, state, wakes_at: None };
        let actions = call.drain();
        Ok((call, actions))
    }

    /// Takes an input and returns all that is to be done because of it.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Action> {
        match input {
            Input::Request { message, flow } => self.on_request(&message, flow, now),
            Input::Response(message) => self.on_response(&message, now),
            Input::Undeliverable(serial) => self.undeliverable(serial, now),
            Input::Looked(looked) => match self.take_state() {
                State::Routing(routing) => self.state = routing.on_looked(&mut self.context, looked, now),
                other => self.state = other,
            },
            Input::Admitted { gateway, attempt, result } => {
                self.context.note_admission(&gateway, attempt);
                self.on_admitted(gateway, attempt, result, now);
            }
            Input::Resolved { attempt, of, targets } => self.on_resolved(attempt, (of, targets), now),
            Input::Authorized { serial, authorization } => self.on_authorized(serial, authorization, now),
            Input::HangUp(cause) => self.hang_up(cause, now),
            Input::StoreLost => self.commit_again(now),
            Input::Timer => self.on_timer(now),
        }
        self.drain()
    }

    /// Commits the state as it is. What is not committed yet will be before anything depends on it, and what has ended has
    /// nothing to be taken over.
    fn commit_again(&mut self, now: Now) {
        match &self.state {
            State::Calling(calling) => {
                calling.commit(&mut self.context, now);
            }
            State::Connected(connected) => {
                connected.commit(&mut self.context, now);
            }
            State::Routing(_) | State::Admitting(_) | State::Clearing(_) | State::Over => {}
        }
    }

    fn on_admitted(&mut self, gateway: GatewayName, attempt: u16, result: Result<(), Refusal>, now: Now) {
        match self.take_state() {
            State::Admitting(admitting) if admitting.asks(&gateway) => {
                self.state = admitting.on_admitted(&mut self.context, result, now);
            }
            other => {
                self.state = other;
                self.return_slot(gateway, attempt, result.is_ok());
            }
        }
    }

    fn on_resolved(&mut self, attempt: u16, found: (Sought, Vec<Target>), now: Now) {
        let found = (attempt, found);
        self.state = match self.take_state() {
            State::Admitting(admitting) => admitting.on_resolved(&mut self.context, found, now),
            State::Calling(calling) => calling.on_resolved(&mut self.context, found, now),
            state @ (State::Routing(_) | State::Connected(_) | State::Clearing(_) | State::Over) => state,
        };
    }

    fn on_authorized(&mut self, serial: Serial, authorization: Option<Authorization>, now: Now) {
        let authorized = (serial, authorization);
        self.state = match self.take_state() {
            State::Calling(calling) => calling.on_authorized(&mut self.context, authorized, now),
            State::Connected(connected) => connected.on_authorized(&mut self.context, authorized, now),
            State::Clearing(mut clearing) => {
                clearing.on_authorized(&mut self.context, &authorized, now);
                State::Clearing(clearing)
            }
            state @ (State::Routing(_) | State::Admitting(_) | State::Over) => {
                self.context.on_late_authorized(&authorized, now.mono);
                state
            }
        };
    }

    /// A gateway's slot came too late to be used.
    fn return_slot(&mut self, gateway: GatewayName, attempt: u16, granted: bool) {
        let in_use = |other: &attempt::Attempt| other.index == attempt && other.candidate.gateway == gateway;
        let open = match &self.state {
            State::Calling(calling) => in_use(&calling.attempt),
            State::Connected(connected) => in_use(&connected.attempt),
            State::Routing(_) | State::Admitting(_) | State::Clearing(_) | State::Over => false,
        };
        if granted && !open && !self.context.left.iter().any(in_use) {
            self.context.return_slot(gateway, attempt, Outcome::Cancelled);
        }
    }

    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Over)
    }

    fn on_request(&mut self, request: &Message, source: Flow, now: Now) {
        match request.method() {
            Some(Method::Ack) => self.on_ack(request, now),
            Some(Method::Invite) if request.to_tag().is_none() => self.on_invite_again(request),
            Some(Method::Cancel) => self.on_cancel(request, source, now),
            Some(Method::Invite) if self.context.inside.answer_again(&mut self.context.out, request) => {}
            Some(_) | None if self.context.answer_again(request, source) => {}
            Some(_) | None if self.is_being_worked_on(request) => {}
            Some(Method::PRack) => self.on_prack(request, source, now),
            Some(_) | None => self.on_dialog_request(request, source, now),
        }
    }

    /// Whether a request is a copy of the one whose offer is open.
    fn is_being_worked_on(&self, request: &Message) -> bool {
        let State::Calling(calling) = &self.state else { return false };
        calling.offer.as_ref().is_some_and(|open| open.is_of(request))
    }

    fn on_invite_again(&mut self, request: &Message) {
        let same = request.cseq().is_ok_and(|cseq| cseq.number == self.context.caller.cseq);
        if let Some(message) = self.context.transaction.on_invite_again().filter(|_| same) {
            let (flow, after) = (self.context.caller.flow, self.context.response_after);
            self.context.out.push(Action::Send { flow, message, after });
            self.context.emit(Event::Resent);
        }
    }

    fn on_ack(&mut self, ack: &Message, now: Now) {
        if let Some(acknowledged) = self.context.inside.on_ack(ack, now.mono) {
            self.state = match self.take_state() {
                State::Connected(connected) => {
                    connected.on_inside_ack(&mut self.context, acknowledged, ack, now)
                }
                other => other,
            };
            return;
        }
        self.state = match self.take_state() {
            State::Connected(connected) => connected.on_ack(&mut self.context, ack, now),
            State::Clearing(mut clearing) => {
                if self.context.caller.is_of_invite(ack) {
                    clearing.on_ack(&mut self.context, now);
                }
                State::Clearing(clearing)
            }
            other @ (State::Routing(_) | State::Admitting(_) | State::Calling(_) | State::Over) => other,
        };
    }

    /// CANCEL of the caller's INVITE ends the call unless a final response has been sent (RFC 3261 §9.2).
    fn on_cancel(&mut self, cancel: &Message, source: Flow, now: Now) {
        if let Some((party, is_open)) = self.context.inside.cancelled(cancel) {
            self.context.reply(cancel, source, StatusCode::OK);
            if let (State::Connected(connected), true) = (&mut self.state, is_open) {
                connected.on_cancel(&mut self.context, party, now);
            }
            return;
        }
        if !self.context.caller.is_of_invite(cancel) {
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.context.reply(cancel, source, status);
        }
        self.context.reply(cancel, source, StatusCode::OK);
        if self.context.transaction.is_open() {
            self.cancelled(cancel, now);
        }
    }

    /// The caller has given up before an answer, with `request`.
    fn cancelled(&mut self, request: &Message, now: Now) {
        let given = context::reason_lines(request);
        let reason = if given.is_empty() {
            reason_line(StatusCode::REQUEST_TERMINATED, "cancelled by the caller")
        } else {
            given
        };
        let release = Release {
            origin: Origin::Caller,
            cause: EndReason::Cancelled,
            stop: None,
            status: StatusCode::REQUEST_TERMINATED,
        };
        self.end_setup(release, &reason, now);
    }

    /// Ends a call that is not answered.
    fn end_setup(&mut self, release: Release, reason: &[u8], now: Now) {
        match self.take_state() {
            State::Calling(calling) => calling.abandon(&mut self.context, reason, now),
            State::Admitting(admitting) => admitting.abandon(&mut self.context),
            state @ (State::Connected(_) | State::Clearing(_) | State::Over) => {
                self.state = state;
                return;
            }
            State::Routing(_) => {}
        }
        self.state = clearing::reject(&mut self.context, release, reason, now);
    }

    fn on_dialog_request(&mut self, request: &Message, source: Flow, now: Now) {
        let of_caller = self.context.caller.dialog.owns(request);
        self.state = match self.take_state() {
            State::Connected(connected) if of_caller => {
                connected.on_request(&mut self.context, (request, source), Party::Caller, now)
            }
            State::Connected(connected) if connected.callee.owns(request) => {
                connected.on_request(&mut self.context, (request, source), Party::Callee, now)
            }
            State::Clearing(mut clearing) => {
                clearing.on_request(&mut self.context, request, source, now);
                State::Clearing(clearing)
            }
            state => {
                self.state = state;
                return self.on_early_request(request, (source, of_caller), now);
            }
        };
    }

    fn on_response(&mut self, response: &Message, now: Now) {
        let serial = response.top_via().ok().and_then(|via| via.branch().and_then(Serial::of));
        let Some(serial) = serial else { return };
        self.state = match self.take_state() {
            State::Calling(calling) => calling.on_response(&mut self.context, serial, response, now),
            State::Connected(connected) => connected.on_response(&mut self.context, serial, response, now),
            State::Clearing(mut clearing) => {
                clearing.on_response(&mut self.context, serial, response, now);
                State::Clearing(clearing)
            }
            state @ (State::Routing(_) | State::Admitting(_) | State::Over) => {
                self.context.on_late_response(serial, response, now.mono);
                state
            }
        };
    }

    fn undeliverable(&mut self, serial: Serial, now: Now) {
        self.state = match self.take_state() {
            State::Calling(calling) => calling.undeliverable(&mut self.context, serial, now),
            State::Connected(connected) => connected.undeliverable(&mut self.context, serial, now),
            State::Clearing(mut clearing) => {
                clearing.undeliverable(&mut self.context, serial);
                State::Clearing(clearing)
            }
            state @ (State::Routing(_) | State::Admitting(_) | State::Over) => {
                self.context.late_undeliverable(serial);
                state
            }
        };
    }

    fn hang_up(&mut self, cause: EndReason, now: Now) {
        match self.take_state() {
            State::Connected(connected) => {
                self.state = connected.end(&mut self.context, Ending::by_server(cause, cause.as_str()), now);
            }
            state => {
                self.state = state;
                let status = cause.status();
                let release = Release { origin: Origin::Server, cause, stop: None, status };
                self.end_setup(release, &reason_line(status, cause.as_str()), now);
            }
        }
    }

    fn on_timer(&mut self, now: Now) {
        self.wakes_at = None;
        self.context.on_late_timer(now.mono);
        let unacknowledged = self.context.on_caller_timer(now.mono);
        let inside = self.context.on_inside_timer(now.mono);
        if self.context.on_ringing_timer(now.mono) {
            self.unacknowledged(now);
        }
        if self.context.setup_deadline.is_some_and(|at| at <= now.mono) {
            self.context.setup_deadline = None;
            self.hang_up(EndReason::SetupTimeout, now);
        }
        self.state = match self.take_state() {
            State::Routing(routing) => routing.on_timer(&mut self.context, now),
            State::Admitting(admitting) => admitting.on_timer(&mut self.context, now),
            State::Calling(calling) => calling.on_timer(&mut self.context, inside, now),
            State::Connected(connected) => {
                connected.on_timer(&mut self.context, (unacknowledged, inside), now)
            }
            State::Clearing(mut clearing) => {
                clearing.on_timer(&mut self.context, unacknowledged, now);
                State::Clearing(clearing)
            }
            State::Over => State::Over,
        };
    }

    /// Hands out what is to be done, and asks for the next wake-up.
    fn drain(&mut self) -> Vec<Action> {
        if let State::Clearing(clearing) = &self.state
            && clearing.is_over(&self.context)
        {
            self.state = State::Over;
            self.context.out.push(Action::Stop);
        }
        // Also to a later time: moving a wake-up costs less than one that finds nothing to do.
        let deadline = self.deadline();
        if let Some(at) = deadline.filter(|_| deadline != self.wakes_at) {
            self.context.out.push(Action::SetTimer(at));
        }
        self.wakes_at = deadline;
        std::mem::take(&mut self.context.out)
    }

    /// When the call next has something to do by itself.
    pub fn deadline(&self) -> Option<Mono> {
        let of_state = match &self.state {
            State::Routing(routing) => Some(routing.deadline()),
            State::Admitting(admitting) => Some(admitting.deadline()),
            State::Calling(calling) => calling.deadline(),
            State::Connected(connected) => connected.deadline(),
            State::Clearing(clearing) => return clearing.deadline(&self.context),
            State::Over => return None,
        };
        of_state.into_iter().chain(self.context.deadline()).min()
    }

    /// How the call went as its caller sees it, for the mapping gateway's statistics.
    pub fn outcome(&self, now: Now) -> Outcome {
        let record = &self.context.record;
        match record.answered_at {
            Some(answered_at) => {
                let heard = record.ringing_at.unwrap_or(answered_at);
                Outcome::Answered { pdd: heard.since(record.started_at), talked: now.wall.since(answered_at) }
            }
            None => Outcome::Cancelled,
        }
    }

    /// Whether it is answered and nothing is under way inside it: another owner would miss nothing.
    pub fn is_at_rest(&self) -> bool {
        matches!(&self.state, State::Connected(connected) if connected.is_at_rest(&self.context))
    }

    /// The call's id.
    pub fn id(&self) -> CallId {
        self.context.id
    }

    /// What an operator is shown.
    pub fn status(&self) -> CallStatus {
        CallStatus { stage: self.stage(), record: CallRecord::clone(&self.context.record) }
    }

    /// How far the call has come.
    pub fn stage(&self) -> Stage {
        match &self.state {
            State::Routing(_) | State::Admitting(_) | State::Calling(_) => {
                match self.context.record.ringing_at {
                    Some(_) => Stage::Ringing,
                    None => Stage::Setup,
                }
            }
            State::Connected(_) => Stage::Answered,
            State::Clearing(_) | State::Over => Stage::Ending,
        }
    }

    /// When the call began.
    pub fn started_at(&self) -> Wall {
        self.context.record.started_at
    }

    /// The node that owns the call.
    pub fn node(&self) -> Option<&Arc<str>> {
        self.context.record.nodes.last()
    }
}
