//! One INVITE of an attempt: what it prints, its transaction, and what is left to do once it no longer counts.

use super::action::{Action, Candidate, Reach, Seq, Target};
use super::attempt::Sender;
use super::caller::CallerLeg;
use super::early::offered;
use super::identity::{Names, Serial};
use super::privacy::{ANONYMOUS, without_traces};
use super::requests::{Body, Outstanding, allow, contact, escape_user, via, with_lines};
use super::snapshot::CSEQ_PER_EPOCH;
use crate::parameters::ReliableProvisionals;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tandem_sip::reliable::OPTION_TAG;
use tandem_sip::session_timer::TimerLines;
use tandem_sip::time::Mono;
use tandem_sip::transaction::{ClientInvite, ClientTimer, InviteResponse, ResendSchedule, T1_64};
use tandem_sip::{Builder, Message, Method, Name, StatusCode, address_text};

/// What an INVITE of ours shares with its CANCEL and the ACK of its failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The name of its branch.
    pub(super) serial: Serial,
    pub(super) cseq: u32,
    pub(super) target: Target,
    /// The Request-URI where it is not the gateway's own: that of a followed redirection, or the Contact of a binding.
    pub(super) redirected: Option<Arc<str>>,
    /// The values of Route (RFC 3261 §16.12).
    pub(super) route: Vec<Arc<str>>,
    /// Max-Breadth (RFC 5393 §5.3.3).
    pub(super) breadth: Option<u32>,
    /// What it says about session timers.
    pub(super) timer: TimerLines,
    /// Header lines that answer challenges. Never stored.
    #[serde(skip)]
    pub(super) authorization: Bytes,
}

/// What all INVITEs of one attempt have in common.
#[derive(Clone, Copy)]
pub(super) struct Common<'a> {
    /// The name of their Call-ID and From tag.
    pub(super) serial: Serial,
    pub(super) candidate: &'a Candidate,
    /// The gateway's own URI: theirs, unless they were redirected, and the one in To (RFC 3261 §8.1.3.4).
    pub(super) uri: &'a str,
}

/// One INVITE.
#[derive(Debug)]
pub(super) struct Invite {
    pub(super) head: Head,
    pub(super) transaction: ClientInvite,
    /// The commit that it follows, also when it is sent again.
    pub(super) after: Option<Seq>,
    cancel: Option<Outstanding>,
    /// Since when it no longer counts; until when its final response is waited for.
    left_until: Option<Mono>,
}

/// How much of an INVITE's answer has been heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Heard {
    Nothing,
    Provisional,
    Final,
}

/// An INVITE as a snapshot has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentInvite {
    pub(super) head: Head,
    pub(super) heard: Heard,
}

impl Head {
    /// The first INVITE of an attempt.
    pub(super) fn first(
        serial: Serial,
        candidate: &Candidate,
        (target, breadth): (Target, Option<u32>),
        timer: TimerLines,
    ) -> Self {
        let (redirected, route) = place(candidate, &target);
        Self {
            serial,
            cseq: invite_cseq(serial),
            target,
            redirected,
            route,
            breadth,
            timer,
            authorization: Bytes::new(),
        }
    }

    /// That of a further INVITE to the same target: another branch, the next sequence number.
    pub(super) fn next(&self, names: &mut Names) -> Self {
        let serial = names.next();
        let cseq = (self.cseq + 1).max(invite_cseq(serial));
        Self { serial, cseq, authorization: Bytes::new(), ..self.clone() }
    }

    /// That of the same INVITE in another transaction, to another target of the gateway's own.
    pub(super) fn at_next(&self, serial: Serial, candidate: &Candidate, target: Target) -> Self {
        let (redirected, route) = place(candidate, &target);
        Self { serial, redirected, route, target, ..self.clone() }
    }

    /// The Request-URI.
    pub(super) fn uri<'a>(&'a self, of: Common<'a>) -> &'a str {
        self.redirected.as_deref().unwrap_or(of.uri)
    }

    fn request(&self, of: Common<'_>, names: &Names, caller: &CallerLeg, method: Method) -> Builder {
        let (transport, host) = (self.target.flow.transport, &self.target.local);
        let tag = names.tag(of.serial);
        let from = if caller.identity.is_hidden_from(of.candidate) {
            [ANONYMOUS, ";tag=", &tag].concat().into_bytes()
        } else {
            let at = if caller.user.is_empty() { "" } else { "@" };
            let address = ["<sip:", &caller.user, at, host, ">;tag=", &tag].concat();
            [&caller.display[..], address.as_bytes()].concat()
        };
        let mut request = Builder::request(method, self.uri(of).as_bytes())
            .header(Name::Via, via(transport, host, &names.branch(self.serial)));
        for route in &self.route {
            request = request.header(Name::Route, route.as_bytes());
        }
        request
            .number(Name::MaxForwards, caller.max_forwards.into())
            .header(Name::From, from)
            .header(Name::CallId, tag)
            .cseq(self.cseq, method)
    }

    fn invite(&self, of: Common<'_>, names: &Names, caller: &CallerLeg) -> Bytes {
        let Target { flow, local } = &self.target;
        let mut request = self
            .request(of, names, caller, Method::Invite)
            .header(Name::To, ["<", of.uri, ">"].concat())
            .header(Name::Contact, contact(names, flow.transport, local))
            .header(Name::Allow, allow(of.candidate.pass_methods));
        let reliable = offered(caller, of.candidate);
        if reliable == ReliableProvisionals::Required {
            request = request.header(Name::Require, OPTION_TAG);
        }
        if let Some(breadth) = self.breadth {
            request = request.number(Name::MaxBreadth, breadth.into());
        }
        let supported = (reliable == ReliableProvisionals::Supported).then_some(OPTION_TAG);
        request = with_lines(self.timer.put_beside(request, supported), &self.authorization);
        request = if caller.identity.is_hidden_from(of.candidate) {
            with_lines(request, &without_traces(&caller.passed))
        } else {
            with_lines(request, &caller.passed)
        };
        for lines in caller.identity.lines_for(of.candidate) {
            request = with_lines(request, lines);
        }
        Body::close(caller.offer.as_ref(), request)
    }

    fn cancel(&self, of: Common<'_>, names: &Names, caller: &CallerLeg, reason: &[u8]) -> Bytes {
        let request =
            self.request(of, names, caller, Method::Cancel).header(Name::To, ["<", of.uri, ">"].concat());
        with_lines(request, reason).finish()
    }

    /// The ACK of a final response other than 2xx (§17.1.1.3): To as the response has it, with the INVITE's credentials
    /// (§22.1).
    fn failure_ack(&self, of: Common<'_>, names: &Names, caller: &CallerLeg, response: &Message) -> Bytes {
        let ack = self
            .request(of, names, caller, Method::Ack)
            .header(Name::To, response.first(Name::To).unwrap_or_default());
        with_lines(ack, &self.authorization).finish()
    }
}

/// The first sequence number of INVITEs that are named in that epoch: each attempt is a dialog of its own, and owners
/// after a takeover start higher.
fn invite_cseq(serial: Serial) -> u32 {
    1 + CSEQ_PER_EPOCH * serial.epoch
}

/// The Request-URI, where it is not the gateway's own, and the values of Route at one of a candidate's targets.
fn place(candidate: &Candidate, target: &Target) -> (Option<Arc<str>>, Vec<Arc<str>>) {
    let Some(binding) = candidate.binding_at(target) else { return (None, Vec::new()) };
    let uri = match &candidate.reach {
        Reach::Registered(_) => number_at(&binding.uri, &candidate.called),
        Reach::At(_) | Reach::Named(_) | Reach::Bindings(_) => binding.uri.clone(),
    };
    (Some(uri), binding.route.clone())
}

/// A Contact with the called number as its user part: a gateway is called by number wherever it is.
fn number_at(contact: &str, called: &str) -> Arc<str> {
    let (scheme, rest) = contact.split_once(':').unwrap_or(("sip", contact));
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    // Headers have no place in a Request-URI (RFC 3261 §19.1.1).
    let host = host.split_once('?').map_or(host, |(host, _)| host);
    [scheme, ":", &escape_user(called), "@", host].concat().into()
}

/// The URI that a gateway is called by.
pub(super) fn gateway_uri(candidate: &Candidate) -> Arc<str> {
    let user = escape_user(&candidate.called);
    match &candidate.reach {
        Reach::At(target) => ["sip:", &user, "@", &address_text(target.flow.remote)].concat().into(),
        Reach::Named(host) => ["sip:", &user, "@", host].concat().into(),
        Reach::Registered(branches) => {
            let contact = branches.first().map_or("sip:localhost", |branch| &branch.uri);
            number_at(contact, &candidate.called)
        }
        Reach::Bindings(bindings) => {
            let aor = &bindings.aor;
            ["sip:", &escape_user(aor.user()), "@", aor.domain()].concat().into()
        }
    }
}

impl Invite {
    /// An INVITE that its call sends, as the returned bytes, once its state is committed.
    pub(super) fn start(
        of: Common<'_>,
        head: Head,
        (names, caller): (&Names, &CallerLeg),
        resend: ResendSchedule,
        now: Mono,
    ) -> (Self, Bytes) {
        let message = head.invite(of, names, caller);
        let reliable = head.target.flow.transport.is_reliable();
        let transaction = ClientInvite::start(message.clone(), reliable, resend, now);
        (Self::of(head, transaction), message)
    }

    /// An INVITE that an earlier owner of the call sent, for which nothing is sent but what leaving it asks for.
    pub(super) fn recall(sent: SentInvite, now: Mono) -> Self {
        let reliable = sent.head.target.flow.transport.is_reliable();
        let transaction = match sent.heard {
            Heard::Nothing => ClientInvite::resume_unanswered(reliable, now),
            Heard::Provisional => ClientInvite::resume_proceeding(reliable),
            Heard::Final => {
                let mut over = ClientInvite::resume_proceeding(reliable);
                over.terminate();
                over
            }
        };
        Self::of(sent.head, transaction)
    }

    fn of(head: Head, transaction: ClientInvite) -> Self {
        Self { head, transaction, after: None, cancel: None, left_until: None }
    }

    /// As a snapshot has it.
    pub(super) fn sent(&self) -> SentInvite {
        let heard = if self.transaction.is_unanswered() {
            Heard::Nothing
        } else if self.transaction.is_open() {
            Heard::Provisional
        } else {
            Heard::Final
        };
        SentInvite { head: self.head.clone(), heard }
    }

    /// Takes a response, and acknowledges a failure.
    pub(super) fn on_response(
        &mut self,
        of: Common<'_>,
        to: &mut Sender<'_>,
        response: &Message,
        now: Mono,
    ) -> InviteResponse {
        let Some(status) = response.status() else { return InviteResponse::Ignored };
        let ack = || self.head.failure_ack(of, to.names, to.caller, response);
        let meaning = self.transaction.on_response(status, now, ack);
        if let InviteResponse::Failure { ack } | InviteResponse::FailureAgain { ack } = &meaning {
            let flow = self.head.target.flow;
            to.out.push(Action::Send { flow, message: ack.clone(), after: None });
        }
        meaning
    }

    /// Resends it, unless it no longer counts.
    pub(super) fn on_timer(&mut self, out: &mut Vec<Action>, now: Mono) -> ClientTimer {
        let due = self.transaction.on_timer(now);
        if let ClientTimer::Resend(message) = &due {
            let (flow, message) = (self.head.target.flow, message.clone());
            out.push(Action::Send { flow, message, after: self.after });
            out.push(Action::Emit(super::Event::Resent));
        }
        due
    }

    /// Leaves it, once: stops resending, and cancels it as soon as a provisional response allows it (§9.1).
    pub(super) fn leave(&mut self, of: Common<'_>, to: &mut Sender<'_>, reason: &[u8], now: Mono) {
        if self.left_until.is_some() {
            return;
        }
        self.left_until = Some(now + T1_64);
        if self.transaction.is_unanswered() {
            self.transaction.stop_resending(now);
        } else if self.transaction.is_open() {
            self.cancel(of, to, reason, now);
        }
    }

    fn cancel(&mut self, of: Common<'_>, to: &mut Sender<'_>, reason: &[u8], now: Mono) {
        let request = self.head.cancel(of, to.names, to.caller, reason);
        let (kind, flow) = ((self.head.serial, Method::Cancel), self.head.target.flow);
        self.cancel = Some(Outstanding::send(to.out, kind, (flow, None), request, to.parameters.resend, now));
        self.left_until = Some(now + T1_64);
    }

    /// Takes a response once it has been left. `true` for a 2xx, which nobody wants.
    pub(super) fn on_late_response(
        &mut self,
        of: Common<'_>,
        to: &mut Sender<'_>,
        (response, reason): (&Message, &[u8]),
        now: Mono,
    ) -> bool {
        match self.on_response(of, to, response, now) {
            InviteResponse::Provisional if self.cancel.is_none() => self.cancel(of, to, reason, now),
            InviteResponse::Success => return true,
            InviteResponse::Provisional
            | InviteResponse::Failure { .. }
            | InviteResponse::FailureAgain { .. }
            | InviteResponse::Ignored => {}
        }
        false
    }

    /// Takes a response to its CANCEL.
    pub(super) fn on_cancel_response(&mut self, serial: Serial, response: &Message, now: Mono) {
        if let Some(cancel) = &mut self.cancel {
            cancel.on_response(serial, response, now);
        }
    }

    /// The transport could not deliver it.
    pub(super) fn undeliverable(&mut self) {
        self.transaction.terminate();
        if let Some(cancel) = &mut self.cancel {
            cancel.undeliverable();
        }
    }

    /// Does what is due once it has been left.
    pub(super) fn on_late_timer(&mut self, out: &mut Vec<Action>, now: Mono) {
        self.transaction.on_timer(now);
        if self.left_until.is_some_and(|until| until <= now) && self.transaction.is_open() {
            self.transaction.terminate();
        }
        if let Some(cancel) = &mut self.cancel {
            cancel.on_timer(out, now);
        }
    }

    /// Whether nothing of it can arrive any more.
    pub(super) fn is_over(&self) -> bool {
        self.transaction.is_terminated() && self.cancel.as_ref().is_none_or(|cancel| !cancel.is_open())
    }

    /// Whether all that is left is to take copies of its final response.
    pub(super) fn only_absorbs(&self) -> bool {
        !self.transaction.is_open() && self.cancel.as_ref().is_none_or(|cancel| !cancel.is_open())
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let left = self.left_until.filter(|_| self.transaction.is_open());
        let cancel = self.cancel.as_ref().and_then(Outstanding::deadline);
        [left, cancel, self.transaction.deadline()].into_iter().flatten().min()
    }
}

/// Why an INVITE that was left is cancelled when its provisional response comes.
pub(super) fn gone_elsewhere() -> Bytes {
    super::requests::reason_line(StatusCode::REQUEST_TERMINATED, "call has gone elsewhere")
}
