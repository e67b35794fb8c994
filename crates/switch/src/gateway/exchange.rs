//! A request of our own to a gateway outside any dialog: one transaction after the other over the places where the gateway
//! is reached (RFC 3263 §4.3), until one of them answers.

use crate::call::{Names, Serial, Target};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::time::Mono;
use tandem_sip::transaction::{ClientNonInvite, ClientTimer, NonInviteResponse, ResendSchedule};
use tandem_sip::{Builder, Message, Method, Name, StatusCode};
use thiserror::Error;

/// Why an exchange came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExchangeFailure {
    /// Nobody answered.
    #[error("no answer")]
    TimedOut,
    /// Nobody could be reached.
    #[error("unreachable")]
    Unreachable,
    /// The gateway's name leads nowhere.
    #[error("its name leads nowhere")]
    Nowhere,
    /// That was the answer.
    #[error("{0}")]
    Status(StatusCode),
    /// The registrar's 200 names other bindings, and not ours.
    #[error("200 without our binding")]
    NotBound,
}

/// What is the same wherever the request goes.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) method: Method,
    /// The Request-URI.
    pub(super) uri: String,
    /// The URI in From; `None`: our own address.
    pub(super) from: Option<String>,
    pub(super) from_tag: String,
    /// The URI in To.
    pub(super) to: String,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    /// The user part of our Contact and what follows its URI, if there is to be one.
    pub(super) contact: Option<(String, String)>,
    /// Header lines, each with its line end.
    pub(super) lines: String,
}

/// What an exchange wants sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) flow: Flow,
    pub(super) message: Bytes,
}

/// What became of an exchange.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing that matters.
    Nothing,
    /// Send that.
    Send(Outgoing),
    /// The place tried last does not answer; send that to the next.
    Next { failed: Target, send: Outgoing },
    /// The final response to the request, and how long it took.
    Final(Duration),
    /// No place answers; this was the last.
    Failed { last: Target, why: ExchangeFailure },
}

#[derive(Debug)]
pub(super) struct Exchange {
    draft: Draft,
    schedule: ResendSchedule,
    target: Target,
    /// Not tried yet, in order.
    left: VecDeque<Target>,
    serial: Serial,
    began: Mono,
    transaction: ClientNonInvite,
}

impl Draft {
    fn print(&self, target: &Target, branch: &str) -> Bytes {
        let Target { flow, local } = target;
        let own = format!("sip:{local}");
        let mut request = Builder::request(self.method, self.uri.as_bytes())
            .header_fmt(
                Name::Via,
                format_args!("SIP/2.0/{} {local};branch={branch};rport", flow.transport.via_name()),
            )
            .header(Name::MaxForwards, "70")
            .header_fmt(
                Name::From,
                format_args!("<{}>;tag={}", self.from.as_ref().unwrap_or(&own), self.from_tag),
            )
            .header_fmt(Name::To, format_args!("<{}>", self.to))
            .header(Name::CallId, &self.call_id)
            .cseq(self.cseq, self.method);
        if let Some((user, params)) = &self.contact {
            let uri = contact_uri(user, target);
            request = request.header_fmt(Name::Contact, format_args!("<{uri}>{params}"));
        }
        for line in self.lines.lines() {
            request = request.line(line.as_bytes());
        }
        request.finish()
    }
}

/// The URI by which we are reached from a target.
pub(super) fn contact_uri(user: &str, target: &Target) -> String {
    let transport = match target.flow.transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
    };
    format!("sip:{user}@{}{transport}", target.local)
}

impl Exchange {
    /// Begins an exchange, unless there is no target.
    pub(super) fn begin(
        draft: Draft,
        targets: impl IntoIterator<Item = Target>,
        schedule: ResendSchedule,
        names: &mut Names,
        now: Mono,
    ) -> Option<(Self, Outgoing)> {
        let mut left: VecDeque<Target> = targets.into_iter().collect();
        let target = left.pop_front()?;
        let (serial, transaction, send) = start(&draft, &target, schedule, names, now);
        Some((Self { draft, schedule, target, left, serial, began: now, transaction }, send))
    }

    /// The place that is being tried.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// When [`on_timer`](Self::on_timer) has something to do.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.transaction.deadline()
    }

    pub(super) fn on_timer(&mut self, names: &mut Names, now: Mono) -> Step {
        match self.transaction.on_timer(now) {
            ClientTimer::Resend(message) => Step::Send(Outgoing { flow: self.target.flow, message }),
            ClientTimer::TimedOut => self.next(ExchangeFailure::TimedOut, names, now),
            ClientTimer::Idle | ClientTimer::Terminated => Step::Nothing,
        }
    }

    /// A response to one of the gateway's requests; it may be of another exchange.
    pub(super) fn on_response(
        &mut self,
        serial: Serial,
        response: &Message,
        names: &mut Names,
        now: Mono,
    ) -> Step {
        let Some(status) = response.status().filter(|_| serial == self.serial) else { return Step::Nothing };
        match self.transaction.on_response(status, now) {
            NonInviteResponse::Final
                if status == StatusCode::SERVICE_UNAVAILABLE && !self.left.is_empty() =>
            {
                self.next(ExchangeFailure::Status(status), names, now)
            }
            NonInviteResponse::Final => Step::Final(now.since(self.began)),
            NonInviteResponse::Provisional | NonInviteResponse::Ignored => Step::Nothing,
        }
    }

    /// A request could not be delivered; it may be of another exchange.
    pub(super) fn on_undeliverable(&mut self, serial: Serial, names: &mut Names, now: Mono) -> Step {
        if serial != self.serial || !self.transaction.is_open() {
            return Step::Nothing;
        }
        self.next(ExchangeFailure::Unreachable, names, now)
    }

    fn next(&mut self, why: ExchangeFailure, names: &mut Names, now: Mono) -> Step {
        self.transaction.terminate();
        let Some(target) = self.left.pop_front() else {
            return Step::Failed { last: self.target.clone(), why };
        };
        let failed = std::mem::replace(&mut self.target, target);
        let (serial, transaction, send) = start(&self.draft, &self.target, self.schedule, names, now);
        (self.serial, self.transaction, self.began) = (serial, transaction, now);
        Step::Next { failed, send }
    }
}

fn start(
    draft: &Draft,
    target: &Target,
    schedule: ResendSchedule,
    names: &mut Names,
    now: Mono,
) -> (Serial, ClientNonInvite, Outgoing) {
    let serial = names.next();
    let message = draft.print(target, &names.branch(serial));
    let is_reliable = target.flow.transport.is_reliable();
    let transaction = ClientNonInvite::start(message.clone(), is_reliable, schedule, now);
    (serial, transaction, Outgoing { flow: target.flow, message })
}
