//! Answers that nobody wants: a 2xx that crossed our CANCEL, of a fork, or of a target that was given up.

use super::action::{Action, Authorization, Event};
use super::attempt::{Attempt, Sender, ack};
use super::identity::Serial;
use super::invite::Head;
use super::requests::{Body, Outstanding, bye};
use super::snapshot::CSEQ_PER_EPOCH;
use bytes::Bytes;
use std::iter::once;
use tandem_sip::Message;
use tandem_sip::dialog::Dialog;
use tandem_sip::time::Mono;

/// The most answered dialogs of one attempt that are being ended at a time.
const MAX_UNWANTED_ANSWERS: usize = 8;

/// A 2xx that nobody wants any more: acknowledged, and ended with BYE.
#[derive(Debug)]
pub(super) struct UnwantedAnswer {
    dialog: Dialog,
    /// The INVITE that it answered.
    of: Serial,
    ack: Bytes,
    pub(super) bye: Outstanding,
}

impl UnwantedAnswer {
    /// Sends its BYE again with the credentials that it waits for, or gives it up without.
    pub(super) fn on_authorized(
        &mut self,
        to: &mut Sender<'_>,
        authorization: Option<&Authorization>,
        now: Mono,
    ) {
        let asks = (&mut *to.out, &*to.names);
        self.bye.on_authorized(asks, &mut self.dialog, authorization, to.parameters.resend, now);
    }
}

impl Attempt {
    /// Takes a 2xx that nobody wants to the INVITE with that head: ACK, then BYE; a copy of it gets its ACK again.
    pub(super) fn refuse_answer(
        &mut self,
        to: &mut Sender<'_>,
        (head, response): (&Head, &Message),
        reason: &[u8],
        now: Mono,
    ) {
        let tag = response.to_tag().unwrap_or_default();
        if let Some(known) = self.unwanted.iter().find(|unwanted| unwanted.dialog.remote_tag() == tag) {
            to.out.push(Action::Send { flow: known.dialog.flow(), message: known.ack.clone(), after: None });
            return;
        }
        if self.unwanted.len() >= MAX_UNWANTED_ANSWERS {
            to.out.push(Action::Emit(Event::Dropped { source: None, why: "too many answers to one INVITE" }));
            return;
        }
        let Some(dialog) = self.dialog(head, response, to.names.epoch()) else {
            return;
        };
        let refusal =
            Body::sdp_of(response).filter(|_| to.caller.offer.is_none()).map(|offer| offer.refusal());
        let ack = ack(head, to.names, &dialog, refusal.as_ref());
        to.out.push(Action::Send { flow: dialog.flow(), message: ack.clone(), after: None });
        self.end_answer(to, (dialog, head), ack, reason, now);
    }

    /// Ends with BYE what an earlier owner of the call was ending: an answer to the INVITE `of`.
    pub(super) fn end_again(
        &mut self,
        to: &mut Sender<'_>,
        (mut dialog, of): (Dialog, Serial),
        reason: &[u8],
        now: Mono,
    ) {
        let mut invites = self.earlier.iter_mut().chain(once(&mut self.current));
        let Some(invite) = invites.find(|invite| invite.head.serial == of) else {
            return;
        };
        invite.transaction.accept(now);
        dialog.raise_cseq(CSEQ_PER_EPOCH * to.names.epoch());
        let head = invite.head.clone();
        let ack = ack(&head, to.names, &dialog, None);
        self.end_answer(to, (dialog, &head), ack, reason, now);
    }

    /// The dialogs of answers that are being ended, each with the INVITE that it answered.
    pub(super) fn ending(&self) -> impl Iterator<Item = (&Dialog, Serial)> {
        let open = self.unwanted.iter().filter(|unwanted| unwanted.bye.is_open());
        open.map(|unwanted| (&unwanted.dialog, unwanted.of))
    }

    fn end_answer(
        &mut self,
        to: &mut Sender<'_>,
        (mut dialog, head): (Dialog, &Head),
        ack: Bytes,
        reason: &[u8],
        now: Mono,
    ) {
        let local = &*head.target.local;
        let out = (&mut *to.out, self.account());
        let bye = bye(out, to.names, &mut dialog, (local, reason), None, to.parameters.resend, now);
        self.unwanted.push(UnwantedAnswer { dialog, of: head.serial, ack, bye });
    }
}
