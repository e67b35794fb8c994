//! The early dialogs of an attempt whose gateway sends provisional responses reliably (RFC 3262, the side that
//! acknowledges): their order, their PRACKs, and how offer and answer stand in them.

use super::action::{Action, Authorization, Candidate, Event, Seq};
use super::attempt::Sender;
use super::caller::CallerLeg;
use super::connected::Descriptions;
use super::identity::Serial;
use super::requests::{Body, Outstanding, via};
use super::ringing::Reliability;
use crate::gateway::GatewayName;
use crate::parameters::ReliableProvisionals;
use serde::{Deserialize, Serialize};
use tandem_sip::dialog::Dialog;
use tandem_sip::flow::Flow;
use tandem_sip::reliable::{OPTION_TAG, Received, ReliableClient};
use tandem_sip::time::Mono;
use tandem_sip::{Message, Method, MethodSet, Name};

/// The most early dialogs of one attempt; what forks send reliably beyond them is neither taken nor acknowledged.
const MAX_EARLY_DIALOGS: usize = 8;

/// The most PRACKs of one early dialog that wait for their responses; the oldest is no longer resent.
const MAX_OWED: usize = 4;

/// The early dialogs of one attempt, as far as reliable responses made them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EarlyDialogs {
    dialogs: Vec<EarlyDialog>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EarlyDialog {
    dialog: Dialog,
    received: ReliableClient,
    exchange: Exchange,
    /// The methods that the gateway takes, if it has said so reliably.
    allowed: Option<MethodSet>,
    /// The responses whose PRACKs are not answered.
    owed: Vec<Owed>,
}

/// Where offer and answer stand in an early dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Exchange {
    /// No description has come reliably.
    Open,
    /// The gateway's offer, in the response with this RSeq, waits for the caller's answer, and its PRACK with it.
    AwaitsAnswer(u32),
    /// Answered with this, in the PRACK.
    Answered(Body),
    /// The gateway has answered the INVITE's offer.
    Agreed,
    /// Offers have been passed on since: what the parties described last.
    Changed(Descriptions),
}

/// A PRACK, from the arrival of its response until it is answered. An heir sends it again under a number of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owed {
    rseq: u32,
    /// The sequence number of the INVITE.
    invite: u32,
    answer: Option<Body>,
    #[serde(skip)]
    sent: Option<Outstanding>,
}

/// What a provisional response is to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Not sent reliably, or by a gateway that was not offered it: no PRACK.
    Plain,
    /// Reliable and in order: its PRACK is owed.
    Reliable {
        /// Whether it carries the offer of a call whose INVITE had none.
        is_offer: bool,
    },
    /// A copy, or out of order: of no meaning.
    Ignored,
}

impl EarlyDialogs {
    /// Takes a provisional response above 100 of a gateway that was offered reliable ones. `dialog` makes the early
    /// dialog of one that is reliable; `delayed_offer` says that the INVITE had no offer.
    pub(super) fn receive(
        &mut self,
        out: &mut Vec<Action>,
        response: &Message,
        delayed_offer: bool,
        dialog: impl FnOnce() -> Option<Dialog>,
    ) -> Arrival {
        let rseq = response.number(Name::RSeq).and_then(Result::ok);
        let (Some(rseq), true) = (rseq, response.has_token(Name::Require, OPTION_TAG)) else {
            return Arrival::Plain;
        };
        let tag = response.to_tag().unwrap_or_default();
        let invite = response.cseq().map_or(0, |cseq| cseq.number);
        let early = match self.dialogs.iter().position(|early| early.dialog.remote_tag() == tag) {
            Some(place) => &mut self.dialogs[place],
            None if self.dialogs.len() >= MAX_EARLY_DIALOGS => {
                out.push(Action::Emit(Event::Dropped { source: None, why: "too many early dialogs" }));
                return Arrival::Ignored;
            }
            None => {
                let Some(dialog) = dialog() else { return Arrival::Ignored };
                self.dialogs.push(EarlyDialog::new(dialog));
                self.dialogs.last_mut().expect("pushed above")
            }
        };
        match early.received.receive(rseq) {
            Received::InOrder => {}
            Received::Again | Received::OutOfOrder => return Arrival::Ignored,
        }
        early.allowed = MethodSet::allowed_by(response).or(early.allowed);
        let is_first = early.exchange == Exchange::Open && response.has_sdp();
        if is_first {
            early.exchange = if delayed_offer { Exchange::AwaitsAnswer(rseq) } else { Exchange::Agreed };
        }
        if early.owed.len() >= MAX_OWED {
            early.owed.remove(0);
        }
        early.owed.push(Owed { rseq, invite, answer: None, sent: None });
        Arrival::Reliable { is_offer: is_first && delayed_offer }
    }

    /// Goes on by another socket.
    pub(super) fn move_flows(&mut self, flow: impl Fn(Flow) -> Flow) {
        self.dialogs.iter_mut().for_each(|early| early.dialog.move_flow(&flow));
    }

    /// How offer and answer stand in the early dialog with that tag.
    pub(super) fn exchange(&self, tag: &[u8]) -> Option<&Exchange> {
        let early = self.dialogs.iter().find(|early| early.dialog.remote_tag() == tag)?;
        Some(&early.exchange)
    }

    /// Takes note of what the parties describe now in that early dialog, and goes on with it as it is.
    pub(super) fn change(&mut self, dialog: Dialog, descriptions: Descriptions) {
        let known = |early: &&mut EarlyDialog| early.dialog.remote_tag() == dialog.remote_tag();
        if let Some(early) = self.dialogs.iter_mut().find(known) {
            early.dialog = dialog;
            early.exchange = Exchange::Changed(descriptions);
        }
    }

    /// The early dialog, if there is only one and its PRACKs have all been sent.
    pub(super) fn only(&self) -> Option<&Dialog> {
        let [EarlyDialog { dialog, owed, .. }] = &self.dialogs[..] else { return None };
        owed.iter().all(|owed| owed.sent.is_some()).then_some(dialog)
    }

    /// Whether the gateway has said in the early dialog with that tag that it takes that method.
    pub(super) fn allows(&self, tag: &[u8], method: Method) -> bool {
        let early = self.dialogs.iter().find(|early| early.dialog.remote_tag() == tag);
        early.and_then(|early| early.allowed).is_some_and(|allowed| allowed.contains(method))
    }

    /// The caller's answer to the offer of the early dialog with that tag; it goes with the PRACK. `false` if no offer
    /// waits there.
    pub(super) fn answer(&mut self, tag: &[u8], answer: &Body) -> bool {
        let early = self.dialogs.iter_mut().find(|early| early.dialog.remote_tag() == tag);
        let Some(early) = early else { return false };
        let Exchange::AwaitsAnswer(rseq) = early.exchange else { return false };
        early.exchange = Exchange::Answered(answer.clone());
        if let Some(owed) = early.owed.iter_mut().find(|owed| owed.rseq == rseq) {
            owed.answer = Some(answer.clone());
        }
        true
    }

    /// Whether a PRACK is to be sent.
    pub(super) fn owes_prack(&self) -> bool {
        self.dialogs.iter().any(|early| early.owed.iter().any(|owed| owed.is_due(&early.exchange)))
    }

    /// Sends the PRACKs that are owed, after a commit.
    pub(super) fn acknowledge(
        &mut self,
        to: &mut Sender<'_>,
        (local, account): (&str, Option<GatewayName>),
        after: Option<Seq>,
        now: Mono,
    ) {
        for EarlyDialog { dialog, exchange, owed, .. } in &mut self.dialogs {
            for owed in owed.iter_mut().filter(|owed| owed.is_due(exchange)) {
                owed.send(to, (dialog, local, account.clone()), after, now);
            }
        }
    }

    fn outstanding(&mut self) -> impl Iterator<Item = &mut Outstanding> {
        self.dialogs.iter_mut().flat_map(|early| &mut early.owed).filter_map(|owed| owed.sent.as_mut())
    }

    /// Whether `serial` names a PRACK.
    pub(super) fn sent(&self, serial: Serial) -> bool {
        self.dialogs.iter().flat_map(|early| &early.owed).any(|owed| owed.is_sent_as(serial))
    }

    /// Takes a response to a PRACK, if it is one.
    pub(super) fn on_response(&mut self, to: &mut Sender<'_>, serial: Serial, response: &Message, now: Mono) {
        let Some(prack) = self.outstanding().find(|prack| prack.serial == serial) else { return };
        if prack.hear((to.out, to.names), serial, response, now).is_some() {
            for early in &mut self.dialogs {
                early.owed.retain(|owed| !owed.is_sent_as(serial));
            }
        }
    }

    /// Whether these are credentials that a PRACK waits for.
    pub(super) fn awaits(&self, serial: Serial) -> bool {
        let owed = self.dialogs.iter().flat_map(|early| &early.owed);
        owed.filter_map(|owed| owed.sent.as_ref()).any(|prack| prack.awaits(serial))
    }

    /// Sends the PRACK again that waits for these credentials, or gives it up without.
    pub(super) fn on_authorized(
        &mut self,
        to: &mut Sender<'_>,
        (serial, authorization): (Serial, Option<&Authorization>),
        now: Mono,
    ) {
        let resend = to.parameters.resend;
        for EarlyDialog { dialog, owed, .. } in &mut self.dialogs {
            let pracks = owed.iter_mut().filter_map(|owed| owed.sent.as_mut());
            for prack in pracks.filter(|prack| prack.awaits(serial)) {
                prack.on_authorized((to.out, to.names), dialog, authorization, resend, now);
            }
        }
    }

    /// The transport cannot deliver that PRACK, if it is one.
    pub(super) fn undeliverable(&mut self, serial: Serial) {
        for prack in self.outstanding().filter(|prack| prack.serial == serial) {
            prack.undeliverable();
        }
    }

    /// Sends the PRACKs again that are due.
    pub(super) fn on_timer(&mut self, out: &mut Vec<Action>, now: Mono) {
        for prack in self.outstanding() {
            prack.on_timer(out, now);
        }
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let sent = self.dialogs.iter().flat_map(|early| &early.owed).filter_map(|owed| owed.sent.as_ref());
        sent.filter_map(Outstanding::deadline).min()
    }

    /// The early dialog with that tag.
    pub(super) fn dialog(&self, tag: &[u8]) -> Option<&Dialog> {
        self.dialogs.iter().map(|early| &early.dialog).find(|dialog| dialog.remote_tag() == tag)
    }

    /// Whether a request is in one of the early dialogs.
    pub(super) fn owns(&self, request: &Message) -> bool {
        self.dialogs.iter().any(|early| early.dialog.owns(request))
    }

    /// The early dialog with that tag, for a request of the gateway's in it.
    pub(super) fn dialog_mut(&mut self, tag: &[u8]) -> Option<&mut Dialog> {
        let mut dialogs = self.dialogs.iter_mut().map(|early| &mut early.dialog);
        dialogs.find(|dialog| dialog.remote_tag() == tag)
    }

    /// After a takeover nothing may repeat: raises our sequence numbers to at least `floor`.
    pub(super) fn raise_cseq(&mut self, floor: u32) {
        for early in &mut self.dialogs {
            early.dialog.raise_cseq(floor);
        }
    }

    /// The attempt was left: nothing more is said in its early dialogs. They are still known, since the dialog of a 2xx
    /// that comes all the same goes on with the sequence numbers of one of them.
    pub(super) fn leave(&mut self) {
        for early in &mut self.dialogs {
            early.owed.clear();
            early.exchange = Exchange::Open;
        }
    }

    /// Nothing of the attempt's INVITE can arrive any more.
    pub(super) fn forget(&mut self) {
        self.dialogs = Vec::new();
    }
}

impl EarlyDialog {
    fn new(dialog: Dialog) -> Self {
        let received = ReliableClient::default();
        Self { dialog, received, exchange: Exchange::Open, allowed: None, owed: Vec::new() }
    }
}

impl Owed {
    fn is_due(&self, exchange: &Exchange) -> bool {
        self.sent.is_none() && *exchange != Exchange::AwaitsAnswer(self.rseq)
    }

    fn is_sent_as(&self, serial: Serial) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.serial == serial)
    }

    fn send(
        &mut self,
        to: &mut Sender<'_>,
        (dialog, local, account): (&mut Dialog, &str, Option<GatewayName>),
        after: Option<Seq>,
        now: Mono,
    ) {
        let serial = to.names.next();
        let flow = dialog.flow();
        let (rseq, invite) = (self.rseq, self.invite);
        let request = dialog
            .request(Method::PRack, &via(flow.transport, local, &to.names.branch(serial)))
            .header_fmt(Name::RAck, format_args!("{rseq} {invite} INVITE"));
        let request = Body::close(self.answer.as_ref(), request);
        let (kind, resend) = ((serial, Method::PRack), to.parameters.resend);
        let out = (&mut *to.out, account);
        self.sent = Some(Outstanding::send_with_account(out, kind, (flow, after), request, resend, now));
    }
}

/// What an INVITE to this gateway says of reliable provisional responses. A gateway may put its offer into one if the
/// INVITE has none, and the answer is due in the PRACK: only a caller that gets them reliably as well can give it.
pub(super) fn offered(caller: &CallerLeg, candidate: &Candidate) -> ReliableProvisionals {
    let can_answer = caller.offer.is_some() || caller.ringing.reliability != Reliability::None;
    if can_answer { candidate.parameters.reliable_provisionals } else { ReliableProvisionals::Off }
}
