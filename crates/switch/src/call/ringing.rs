//! What the caller hears before the answer, and how reliably (RFC 3262, the side that sends).

use super::identity::{Names, Serial};
use super::requests::Body;
use super::screen::knows_reliable;
use crate::parameters::ReliableProvisionals;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_sip::reliable::{MAX_FIRST_RSEQ, OPTION_TAG, Pracked, ReliableServer, ReliableTimer, Sending};
use tandem_sip::time::Mono;
use tandem_sip::{Message, Name, StatusCode};

/// The most early dialogs with responses sent reliably that are kept; the oldest is forgotten first.
const MAX_RELIABLE_DIALOGS: usize = 8;

/// RSeq of the early dialogs that an heir begins start at this times the epoch above those of earlier owners.
const RSEQ_PER_EPOCH: u32 = 1000;

/// Which provisional responses reach the caller reliably. 100 never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reliability {
    /// None: the caller cannot take them, or `SS_SIP_100REL` is Off.
    None,
    /// Those that carry a session description.
    Described,
    /// All: the caller requires it, or `SS_SIP_100REL` is Required.
    All,
}

impl Reliability {
    fn of(invite: &Message, parameter: ReliableProvisionals) -> Self {
        match parameter {
            ReliableProvisionals::Off => Reliability::None,
            ReliableProvisionals::Supported | ReliableProvisionals::Required if !knows_reliable(invite) => {
                Reliability::None
            }
            ReliableProvisionals::Supported if !invite.has_token(Name::Require, OPTION_TAG) => {
                Reliability::Described
            }
            ReliableProvisionals::Supported | ReliableProvisionals::Required => Reliability::All,
        }
    }
}

/// A provisional response to the caller's INVITE, but for the tag and the number it is sent under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Provisional {
    pub(super) status: StatusCode,
    pub(super) body: Option<Body>,
    /// Header lines of the gateway's that its pass-list names.
    pub(super) passed: Bytes,
}

/// A provisional response that is sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) tag: Serial,
    pub(super) rseq: u32,
    pub(super) response: Provisional,
}

/// One early dialog of ours with the caller in which responses were sent reliably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ReliableDialog {
    tag: Serial,
    /// The sequence number of the caller's last PRACK in it, at first that of the INVITE.
    cseq: u32,
    server: ReliableServer<Provisional>,
}

/// The responses that the caller gets reliably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ringing {
    pub(super) reliability: Reliability,
    dialogs: Vec<ReliableDialog>,
    /// The highest RSeq that was used in any of them: another one begins above it.
    highest: u32,
}

/// What the caller's PRACK acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// The early dialog, as our To tag.
    pub(super) tag: Serial,
    /// The response; `None` if it was acknowledged before, or a final one has overtaken it.
    pub(super) response: Option<Provisional>,
}

/// What one wake-up asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DueRinging {
    /// What is sent again.
    pub(super) again: Vec<Numbered>,
    /// Whether a PRACK has been waited for long enough.
    pub(super) given_up: bool,
}

impl Ringing {
    pub(super) fn of(invite: &Message, parameter: ReliableProvisionals) -> Self {
        Self { reliability: Reliability::of(invite, parameter), dialogs: Vec::new(), highest: 0 }
    }

    /// Whether a response is sent reliably.
    pub(super) fn is_reliable(&self, response: &Provisional) -> bool {
        match self.reliability {
            Reliability::None => false,
            Reliability::Described => response.body.is_some(),
            Reliability::All => true,
        }
    }

    /// Takes a response that is to be sent reliably under that To tag; `cseq` is the number of the INVITE.
    pub(super) fn send(&mut self, tag: Serial, cseq: u32, response: Provisional, now: Mono) -> Sending {
        let place = self.dialogs.iter().position(|dialog| dialog.tag == tag).unwrap_or_else(|| {
            if self.dialogs.len() >= MAX_RELIABLE_DIALOGS {
                self.dialogs.remove(0);
            }
            let server = ReliableServer::new(self.highest.saturating_add(1));
            self.dialogs.push(ReliableDialog { tag, cseq, server });
            self.dialogs.len() - 1
        });
        let sending = self.dialogs[place].server.send(response, now);
        self.highest = self.highest.max(self.dialogs[place].server.last());
        sending
    }

    /// Takes the caller's PRACK; `invite` is the sequence number of the INVITE.
    ///
    /// # Errors
    /// The status of the response to one that acknowledges nothing.
    pub(super) fn acknowledge(
        &mut self,
        names: &Names,
        prack: &Message,
        invite: u32,
    ) -> Result<Acknowledged, StatusCode> {
        let text = prack.to_tag().unwrap_or_default();
        let tag = Serial::of(text).filter(|tag| names.tag(*tag).as_bytes() == text);
        let dialog = self.dialogs.iter_mut().find(|dialog| Some(dialog.tag) == tag);
        let dialog = dialog.ok_or(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST)?;
        let rack = prack.rack().and_then(Result::ok).ok_or(StatusCode::BAD_REQUEST)?;
        let cseq = prack.cseq().map_err(|_| StatusCode::BAD_REQUEST)?.number;
        let response = match dialog.server.acknowledge(&rack, invite) {
            Pracked::Response(response) => Some(response),
            Pracked::Overtaken => None,
            // A copy that an earlier owner of the call has answered: a 481 might end the caller's dialog.
            Pracked::Nothing if (cseq, rack.rseq) == (dialog.cseq, dialog.server.last()) => None,
            Pracked::Nothing => return Err(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST),
        };
        dialog.cseq = dialog.cseq.max(cseq);
        Ok(Acknowledged { tag: dialog.tag, response })
    }

    /// What is sent next in that early dialog, now that what was sent before is acknowledged.
    pub(super) fn next(&mut self, tag: Serial, now: Mono) -> Option<Numbered> {
        let dialog = self.dialogs.iter_mut().find(|dialog| dialog.tag == tag)?;
        let next = dialog.server.next(now).map(|sent| numbered(tag, sent));
        self.highest = self.highest.max(dialog.server.last());
        next
    }

    /// The caller's last sequence number under that To tag, if it sent PRACK there.
    pub(super) fn cseq(&self, tag: Serial) -> Option<u32> {
        self.dialogs.iter().find(|dialog| dialog.tag == tag).map(|dialog| dialog.cseq)
    }

    /// Whether a 2xx has to wait: a session description was sent reliably and is not acknowledged (RFC 3262 §3).
    pub(super) fn holds_answer(&self) -> bool {
        let mut unacknowledged = self.dialogs.iter().filter_map(|dialog| dialog.server.unacknowledged());
        unacknowledged.any(|(_, response)| response.body.is_some())
    }

    /// Whether something was sent reliably under that To tag, and all of it is acknowledged.
    pub(super) fn is_acknowledged(&self, tag: Serial) -> bool {
        let dialog = self.dialogs.iter().find(|dialog| dialog.tag == tag);
        dialog.is_some_and(|dialog| dialog.server.unacknowledged().is_none())
    }

    /// The gateway that was heard has failed: what it said and was not sent yet is of no interest.
    pub(super) fn skip_waiting(&mut self) {
        for dialog in &mut self.dialogs {
            dialog.server.skip_waiting();
        }
    }

    /// A final response has been sent.
    pub(super) fn close(&mut self) {
        for dialog in &mut self.dialogs {
            dialog.server.close();
        }
    }

    /// Does what is due at `now`.
    pub(super) fn on_timer(&mut self, now: Mono) -> DueRinging {
        let mut due = DueRinging::default();
        for dialog in &mut self.dialogs {
            match dialog.server.on_timer(now) {
                ReliableTimer::Idle => {}
                ReliableTimer::Resend(rseq, response) => {
                    due.again.push(numbered(dialog.tag, (rseq, response)))
                }
                ReliableTimer::GivenUp => due.given_up = true,
            }
        }
        due
    }

    /// Lets the early dialogs that the call's owner in `epoch` begins start above all that earlier owners may have used.
    /// One that stands counts on by one, or the caller would take its next response for one out of order (RFC 3262 §4);
    /// each response was committed before it was sent.
    pub(super) fn raise_rseq(&mut self, epoch: u32) {
        let raised = self.highest.saturating_add(RSEQ_PER_EPOCH.saturating_mul(epoch));
        self.highest = raised.min(MAX_FIRST_RSEQ - 1);
    }

    /// Goes on from a snapshot: what is to be sent again.
    pub(super) fn resume(&mut self, now: Mono) -> Vec<Numbered> {
        let dialogs = self.dialogs.iter_mut();
        dialogs.filter_map(|dialog| Some(numbered(dialog.tag, dialog.server.resume(now)?))).collect()
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.dialogs.iter().filter_map(|dialog| dialog.server.deadline()).min()
    }
}

fn numbered(tag: Serial, (rseq, response): (u32, &Provisional)) -> Numbered {
    Numbered { tag, rseq, response: response.clone() }
}
