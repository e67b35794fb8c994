//! What the model believes that a call knows of itself. After a panic the call knows what it had committed, so the
//! model goes back to what it believed then.

use bytes::Bytes;
use std::collections::VecDeque;

/// 64·T1: how long the far side may go on sending (RFC 3261 §17).
pub(super) const T1_64: u64 = 32_000;

/// T2: the wait between resends of a request that a 1xx has answered (RFC 3261 §17.1.2.2).
pub(super) const T2: u64 = 4_000;

/// Copies of requests are told for so many of the last requests.
pub(super) const ANSWERED_MAX: usize = 16;

/// The To tags of so many early dialogs are remembered.
pub(super) const DESCRIBED_MAX: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Belief {
    pub(super) stage: Stage,
    /// Gateways not tried yet, by their places.
    pub(super) candidates: VecDeque<usize>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) last_failure: Option<Failed>,
    pub(super) setup_until: Option<u64>,
    pub(super) caller: CallerLeg,
    pub(super) caller_bye: Option<Outgoing>,
    pub(super) callee_bye: Option<Outgoing>,
    /// The number of the last commit.
    pub(super) seq: u64,
    pub(super) ringing_at: Option<u64>,
    pub(super) answered_at: Option<u64>,
    pub(super) called: String,
}

/// How far the call has come.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    Routing { until: u64 },
    Admitting { gateway: usize, until: u64 },
    Calling(usize),
    Talking(Talk),
    Ended(Ended),
}

#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) attempt: usize,
    pub(super) tag: Bytes,
    /// The 2xx carries an offer that the caller has not answered.
    pub(super) offer_open: bool,
    /// The answer that the ACK brought to it.
    pub(super) answered_in_ack: Option<u32>,
    /// The session description of our 2xx.
    pub(super) answer: Option<u32>,
    pub(super) ends_at: Option<u64>,
    /// An ACK may have come that nobody remembers.
    pub(super) ack_unknown: bool,
    /// The commit that the callee's ACK follows.
    pub(super) after: Option<u64>,
    pub(super) callee_cseq: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) release: Facts,
    pub(super) answered: Option<(usize, Bytes)>,
    /// A BYE to the caller that waits for its ACK.
    pub(super) bye_waits: bool,
    /// Nothing is known of the callee's dialog any more.
    pub(super) callee_gone: bool,
    /// The commit that the callee's ACK follows.
    pub(super) after: Option<u64>,
}

/// What a release says: by whom, why, why the hunt stopped, and the caller's final status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) by: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) stop: Option<&'static str>,
    pub(crate) status: u16,
}

/// The caller's INVITE and its dialog.
#[derive(Clone, Debug)]
pub(super) struct CallerLeg {
    pub(super) server: Server,
    /// Which of our To tags, counted from 0, the caller sees now, and how many there were.
    pub(super) tag: u32,
    pub(super) tags: u32,
    /// The commit that the last response follows, if it follows one.
    pub(super) after: Option<u64>,
    /// The early dialogs whose SDP was sent up, as attempt and To tag, and the tag of ours that stands for each.
    pub(super) described: VecDeque<((usize, Bytes), u32)>,
    pub(super) cseq: u32,
    pub(super) answered: VecDeque<Copy>,
}

/// A request that was answered, by what its copies repeat.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) branch: Bytes,
    pub(super) cseq: Bytes,
    pub(super) call_id: Bytes,
    pub(super) status: u16,
    pub(super) until: u64,
}

/// The INVITE server transaction.
#[derive(Clone, Debug)]
pub(super) enum Server {
    Proceeding,
    Completed { resend: Resend },
    Confirmed,
    Accepted { resend: Resend },
    Acknowledged,
    Over,
}

/// When something is sent again, and when no more.
#[derive(Clone, Debug)]
pub(super) struct Resend {
    pub(super) at: Option<u64>,
    pub(super) sent: usize,
    pub(super) give_up: u64,
}

impl Resend {
    pub(super) fn start(waits: &[u64], give_up: u64, now: u64) -> Self {
        Self { at: waits.first().map(|wait| now + wait), sent: 0, give_up }
    }

    /// Whether it is sent again now.
    pub(super) fn fires(&mut self, waits: &[u64], slow: bool, now: u64) -> bool {
        if self.at.is_none_or(|at| at > now) {
            return false;
        }
        self.sent += 1;
        self.at = waits.get(self.sent).map(|wait| now + if slow { T2 } else { *wait });
        true
    }

    pub(super) fn due(&self) -> u64 {
        self.at.map_or(self.give_up, |at| at.min(self.give_up))
    }
}

/// A request of ours other than INVITE and ACK.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) resend: Resend,
    pub(super) is_open: bool,
    /// A 1xx has come.
    pub(super) slow: bool,
    /// Its branch, once it was seen.
    pub(super) branch: Option<Bytes>,
    /// The commit that it follows, if it follows one.
    pub(super) after: Option<u64>,
}

impl Outgoing {
    pub(super) fn start(waits: &[u64], window: u64, now: u64) -> Self {
        Self {
            resend: Resend::start(waits, now + window, now),
            is_open: true,
            slow: false,
            branch: None,
            after: None,
        }
    }

    /// Whether it is sent again now.
    pub(super) fn fires(&mut self, waits: &[u64], now: u64) -> bool {
        if !self.is_open {
            return false;
        }
        if self.resend.give_up <= now {
            self.is_open = false;
            return false;
        }
        self.resend.fires(waits, self.slow, now)
    }

    pub(super) fn due(&self) -> Option<u64> {
        self.is_open.then(|| self.resend.due())
    }

    pub(super) fn heard(&mut self, status: u16) {
        if status < 200 {
            self.slow = true;
        } else {
            self.is_open = false;
        }
    }
}

/// One INVITE to one gateway.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) gateway: usize,
    pub(super) started: u64,
    pub(super) client: Client,
    pub(super) wait: Option<(Wait, u64)>,
    /// A provisional with SDP has committed the call.
    pub(super) committed: bool,
    pub(super) early: Option<(Bytes, u32)>,
    pub(super) rang: bool,
    pub(super) cancel: Option<Outgoing>,
    pub(super) left_until: Option<u64>,
    pub(super) unwanted: Vec<Unwanted>,
    pub(super) pdd: Option<u64>,
    pub(super) status: Option<u16>,
    pub(super) outcome: AttemptEnd,
    pub(super) ended: Option<u64>,
    pub(super) holds_slot: bool,
    /// The commit that its INVITE follows.
    pub(super) after: Option<u64>,
    /// The call knows nothing of it any more.
    pub(super) is_forgotten: bool,
}

/// The INVITE client transaction.
#[derive(Clone, Debug)]
pub(super) enum Client {
    Calling(Resend),
    Proceeding,
    Completed { until: u64 },
    Accepted { until: u64 },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Response,
    Trying,
    Ringing,
    Progress,
}

/// The 2xx of a dialog that nobody wants.
#[derive(Clone, Debug)]
pub(super) struct Unwanted {
    pub(super) tag: Bytes,
    pub(super) bye: Outgoing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    Open,
    Answered,
    Cancelled,
    Failed(Failed),
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Invite,
    Transport,
    Trying,
    Ringing,
    Progress,
    Status(u16),
}

impl Attempt {
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.client, Client::Calling(_))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.client, Client::Calling(_) | Client::Proceeding)
    }

    /// The gateway has no part in the call any more.
    pub(super) fn is_free(&self) -> bool {
        !self.is_open() && self.unwanted.iter().all(|unwanted| !unwanted.bye.is_open)
    }

    /// Nothing of it can arrive any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.client, Client::Over)
            && self.cancel.as_ref().is_none_or(|cancel| !cancel.is_open)
            && self.unwanted.iter().all(|unwanted| !unwanted.bye.is_open)
    }

    pub(super) fn due(&self) -> Option<u64> {
        let client = match &self.client {
            Client::Calling(resend) => Some(resend.due()),
            Client::Proceeding | Client::Completed { .. } | Client::Accepted { .. } | Client::Over => None,
        };
        let cancel = self.cancel.as_ref().and_then(Outgoing::due);
        let byes = self.unwanted.iter().filter_map(|unwanted| unwanted.bye.due()).min();
        let left = self.left_until.filter(|_| self.is_open());
        [self.wait.map(|(_, until)| until), client, cancel, byes, left].into_iter().flatten().min()
    }
}
