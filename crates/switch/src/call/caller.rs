//! The caller's leg: its INVITE, what it has been told, its dialog.

use super::action::{Action, CallingEndpoint, Seq};
use super::early::Arrival;
use super::identity::{Names, Serial};
use super::privacy::{Identity, goes_by_trust};
use super::requests::{Body, allow, contact, response_flow, secure_contact, with_lines};
use super::ringing::{Numbered, Provisional, Reliability, Ringing};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;
use tandem_sip::dialog::{Dialog, DialogError};
use tandem_sip::flow::Flow;
use tandem_sip::header::Quoted;
use tandem_sip::reliable::OPTION_TAG;
use tandem_sip::session_timer::TimerHeaders;
use tandem_sip::time::Mono;
use tandem_sip::transaction::{ResendSchedule, ServerInvite};
use tandem_sip::uri::Scheme;
use tandem_sip::{Builder, Message, MethodSet, Name, NameAddr, ResponseHead, StatusCode, Uri};

/// The caller's side of a call. Serialisable but for its transaction, which a snapshot gives in its own terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CallerLeg {
    pub(super) head: ResponseHead,
    /// Where responses to the INVITE go.
    pub(super) flow: Flow,
    /// Our `host:port` on this leg.
    pub(super) local: Arc<str>,
    pub(super) dialog: Dialog,
    /// The To tag of ours that the caller sees now.
    pub(super) tag: Serial,
    /// The session descriptions that were sent up, each with the To tag of ours that stands for it.
    described: Vec<Described>,
    /// What is sent reliably before the answer.
    pub(super) ringing: Ringing,
    /// What the caller offered.
    pub(super) offer: Option<Body>,
    /// Header lines of the INVITE that every callee gets.
    pub(super) passed: Bytes,
    /// Whether its identity headers are believed, and it may be told those of who answers.
    pub(super) trusted: bool,
    /// Who calls, and who may know.
    pub(super) identity: Identity,
    /// The display name with its quotes, and a space behind it; or nothing.
    pub(super) display: Bytes,
    /// The user part of the From URI, escaped; empty if it has none.
    pub(super) user: String,
    /// Max-Forwards for the other leg.
    pub(super) max_forwards: u8,
    /// Max-Breadth for the other leg (RFC 5393 §5.3.3): the caller's, since attempts are made one after another; the
    /// branches of one share it.
    pub(super) max_breadth: Option<u32>,
    /// The sequence number of the INVITE.
    pub(super) cseq: u32,
    /// What the INVITE says about session timers.
    pub(super) timer: TimerHeaders,
    /// The methods that the caller takes, if it says so.
    pub(super) allowed: Option<MethodSet>,
    /// The methods of its requests that the other leg gets.
    pub(super) pass_methods: MethodSet,
    /// The INVITE was to a `sips:` URI: every hop has to be under TLS (RFC 5630 §3.1.3).
    pub(super) secure: bool,
}

/// One early dialog of one attempt, or of one of its branches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EarlyDialog {
    /// The name of its Call-ID.
    pub(super) attempt: Serial,
    pub(super) remote_tag: Bytes,
}

/// A session description that the caller has seen before the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Described {
    by: EarlyDialog,
    /// Tells one description of an early dialog from another; 0 where any may follow under the same tag.
    digest: u64,
    tag: Serial,
}

/// What of an INVITE the other leg gets.
pub(super) struct Passing<'a> {
    pub(super) headers: &'a [String],
    pub(super) methods: MethodSet,
    pub(super) trusted: bool,
}

/// The most early dialogs whose To tags are remembered; the oldest is forgotten first.
const MAX_EARLY_DIALOGS: usize = 8;

/// The user that a From names which names nobody.
const NOBODY: &str = "anonymous";

/// Hops left where the caller does not say (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: u8 = 70;

impl CallerLeg {
    pub(super) fn new(
        invite: &Message,
        (flow, local): (Flow, Arc<str>),
        ringing: Ringing,
        names: &mut Names,
        passing: &Passing<'_>,
    ) -> Result<Self, DialogError> {
        let tag = names.next();
        let via = invite.top_via().map_err(|_| DialogError::Identity)?;
        let from = invite.from().map_err(|_| DialogError::Party)?;
        let cseq = invite.cseq().map_err(|_| DialogError::Identity)?.number;
        let max_forwards = invite.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS + 1);
        Ok(Self {
            head: ResponseHead::of(invite, flow.remote),
            flow: response_flow(&via, flow),
            local,
            dialog: Dialog::as_server(invite, &names.tag(tag), flow)?,
            tag,
            described: Vec::new(),
            ringing,
            offer: super::screen::has_known_body(invite).then(|| Body::of(invite)).flatten(),
            passed: passed_lines(invite, passing.headers),
            trusted: passing.trusted,
            identity: Identity::of(invite, passing.trusted, passing.headers),
            display: display(&from),
            user: user(&from),
            secure: Uri::parse(invite.request_uri()).is_ok_and(|uri| uri.scheme == Scheme::Sips),
            max_forwards: max_forwards.saturating_sub(1),
            max_breadth: invite.number(Name::MaxBreadth).and_then(Result::ok),
            cseq,
            timer: TimerHeaders::of(invite).unwrap_or_default(),
            allowed: MethodSet::allowed_by(invite),
            pass_methods: passing.methods,
        })
    }

    /// The caller is an endpoint: it is known by its number, whatever its From says, unless that names nobody (RFC 3323
    /// §4.1).
    pub(super) fn is_endpoint(&mut self, endpoint: &CallingEndpoint) {
        if self.user != NOBODY {
            self.user = super::requests::escape_user(&endpoint.number);
        }
        if endpoint.by_flow {
            self.dialog.keep_to_flow();
        }
    }

    /// A transaction for the INVITE.
    pub(super) fn transaction(&self, resend: ResendSchedule) -> ServerInvite {
        ServerInvite::new(self.flow.transport.is_reliable(), resend)
    }

    /// Whether an ACK or CANCEL is of the INVITE, and of no later one in its dialog.
    pub(super) fn is_of_invite(&self, request: &Message) -> bool {
        let number = request.cseq().map(|cseq| cseq.number);
        request.call_id() == Some(self.dialog.call_id()) && number == Ok(self.cseq)
    }

    /// The To tag the caller sees.
    pub(super) fn tag_text(&self, names: &Names) -> String {
        names.tag(self.tag)
    }

    /// Takes note that this description of that early dialog goes up; `true` if it did not before. One To tag of ours
    /// stands for one description: another gateway's (or another fork's) gets a new tag, which the caller takes for a new
    /// early dialog. So does another one of the same gateway where descriptions go up reliably: the first is the
    /// answer then, and the caller would leave aside any that follows it under the same tag.
    pub(super) fn describe(&mut self, names: &mut Names, by: EarlyDialog, description: &Body) -> bool {
        let digest = match self.ringing.reliability {
            Reliability::None => 0,
            Reliability::Described | Reliability::All => digest(description),
        };
        let known = self.described.iter().find(|known| known.by == by && known.digest == digest);
        if let Some(known) = known {
            self.show(names, known.tag);
            return false;
        }
        if !self.described.is_empty() {
            let tag = names.next();
            self.show(names, tag);
        }
        if self.described.len() >= MAX_EARLY_DIALOGS {
            self.described.remove(0);
        }
        self.described.push(Described { by, digest, tag: self.tag });
        true
    }

    /// Goes on under the To tag of an early dialog, if its SDP was sent up before.
    pub(super) fn turn_to(&mut self, names: &Names, early: &EarlyDialog) {
        let known = self.described.iter().rev().find(|known| known.by == *early);
        if let Some(known) = known {
            self.show(names, known.tag);
        }
    }

    /// Whether the caller gets this response reliably, given how the gateway sent it. Where the INVITE has no offer, a
    /// description goes up reliably only if it came so: it is the offer then, and the gateway takes the answer.
    pub(super) fn sends_reliably(&self, response: &mut Provisional, arrival: Arrival) -> bool {
        if self.offer.is_some() {
            return self.ringing.is_reliable(response);
        }
        match (arrival, self.ringing.reliability) {
            (Arrival::Reliable { is_offer: true }, Reliability::Described | Reliability::All) => true,
            (Arrival::Plain | Arrival::Ignored, Reliability::None | Reliability::Described) => false,
            (Arrival::Reliable { .. }, reliability) => {
                response.body = None;
                reliability == Reliability::All
            }
            (Arrival::Plain | Arrival::Ignored, Reliability::All) => {
                response.body = None;
                true
            }
        }
    }

    /// The early dialog whose description was sent up under that To tag of ours.
    pub(super) fn described_under(&self, tag: Serial) -> Option<&EarlyDialog> {
        self.described.iter().find(|known| known.tag == tag).map(|known| &known.by)
    }

    /// Whether the To tag that the caller sees now stands for that early dialog, and it has acknowledged all that was
    /// sent reliably under it, with a description among that.
    pub(super) fn has_agreed_with(&self, by: &EarlyDialog) -> bool {
        self.described_under(self.tag) == Some(by) && self.ringing.is_acknowledged(self.tag)
    }

    fn show(&mut self, names: &Names, tag: Serial) {
        if self.tag != tag {
            self.tag = tag;
            let cseq = self.ringing.cseq(tag).unwrap_or(self.cseq);
            self.dialog.turn_to(&names.tag(tag), cseq);
        }
    }

    /// A response of ours to the INVITE.
    pub(super) fn respond(&self, names: &Names, status: StatusCode, passed: &[u8]) -> Builder {
        if status == StatusCode::TRYING {
            return self.head.respond(status, None);
        }
        let mut response = self.head.respond(status, Some(&self.tag_text(names)));
        if !status.is_final() || status.is_success() {
            response = response.header(Name::Contact, self.contact(names));
        }
        if status.is_success() {
            response = response.header(Name::Allow, allow(self.pass_methods));
        }
        with_lines(response, passed)
    }

    /// The value of our Contact.
    pub(super) fn contact(&self, names: &Names) -> String {
        if self.secure {
            return secure_contact(names, &self.local);
        }
        contact(names, self.flow.transport, &self.local)
    }

    /// A provisional response that is sent reliably (RFC 3262 §3). It says what we allow, so that the early dialog
    /// can be used (RFC 3311 §5.1).
    pub(super) fn respond_reliably(&self, names: &Names, ringing: &Numbered) -> Bytes {
        let Numbered { tag, rseq, response } = ringing;
        let builder = self
            .head
            .respond(response.status, Some(&names.tag(*tag)))
            .header(Name::Contact, self.contact(names))
            .header(Name::Allow, allow(self.pass_methods))
            .header(Name::Require, OPTION_TAG)
            .header_fmt(Name::RSeq, format_args!("{rseq}"));
        Body::close(response.body.as_ref(), with_lines(builder, &response.passed))
    }

    /// Sends a provisional response, if it is not too late for one.
    pub(super) fn send_provisional(
        &self,
        out: &mut Vec<Action>,
        transaction: &mut ServerInvite,
        response: Bytes,
        after: Option<Seq>,
    ) {
        if transaction.provisional(&response) {
            out.push(Action::Send { flow: self.flow, message: response, after });
        }
    }

    /// Sends the final response, which is resent until its ACK comes. No provisional one is sent again.
    pub(super) fn send_final(
        &mut self,
        out: &mut Vec<Action>,
        transaction: &mut ServerInvite,
        (status, response): (StatusCode, Bytes),
        after: Option<Seq>,
        now: Mono,
    ) {
        self.ringing.close();
        if status.is_success() {
            transaction.success(response.clone(), now);
        } else {
            transaction.failure(response.clone(), now);
        }
        out.push(Action::Send { flow: self.flow, message: response, after });
    }
}

/// The lines of a message that a pass-list names, as received; but for those that go by trust.
pub(super) fn passed_lines(message: &Message, names: &[String]) -> Bytes {
    let mut lines = BytesMut::new();
    for name in names.iter().filter(|name| !goes_by_trust(name)) {
        for field in message.named(name.as_bytes()) {
            lines.put_slice(field.line);
        }
    }
    lines.freeze()
}

/// The lines of a message that carry one of these headers, as received.
pub(super) fn known_lines(message: &Message, names: &[Name]) -> Bytes {
    let mut lines = BytesMut::new();
    for field in message.fields().filter(|field| names.contains(&field.name)) {
        lines.put_slice(field.line);
    }
    lines.freeze()
}

fn digest(description: &Body) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(description.content());
    hasher.finish()
}

/// The display name as it is, or quoted where its writer should have (RFC 3261 §25.1: tokens or a quoted string).
fn display(from: &NameAddr<'_>) -> Bytes {
    let is_sound = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~ \t\r\n".contains(byte);
    match from.display {
        None | Some([]) => Bytes::new(),
        Some(display @ [b'"', ..]) => Bytes::from([display, b" "].concat()),
        Some(display) if display.iter().all(is_sound) => Bytes::from([display, b" "].concat()),
        Some(display) => Bytes::from(format!("{} ", Quoted(display))),
    }
}

fn user(from: &NameAddr<'_>) -> String {
    let Ok(uri) = from.parse_uri() else {
        return String::new();
    };
    super::requests::escape_user(&uri.number())
}
