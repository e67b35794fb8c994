//! Reliable provisional responses (RFC 3262) as pure machines: the side that sends them, and the side that
//! acknowledges them with PRACK. Each machine is of one early dialog: RSeq counts in each on its own.

use crate::header::RAck;
use crate::time::Mono;
use crate::transaction::T1_64;
use rsip::Method;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// The option tag (§7.1).
pub const OPTION_TAG: &str = "100rel";

/// The largest RSeq that an early dialog may begin with (§3).
pub const MAX_FIRST_RSEQ: u32 = i32::MAX as u32;

/// The most responses of one early dialog that wait until the one before them is acknowledged.
pub const MAX_WAITING: usize = 4;

/// The wait before the first resend (§3); each further one is twice as long, without the cap of RFC 3261's T2.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The provisional responses that one early dialog sends reliably, one at a time (§3). `R` is what its user prints a
/// response from; it is printed again for each resend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReliableServer<R> {
    /// The RSeq of the last response that was sent.
    last: u32,
    stage: Stage<R>,
    /// What is sent once the response before it is acknowledged.
    waiting: VecDeque<R>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage<R> {
    /// All that was sent has been acknowledged.
    Clear,
    /// Sent, and sent again until its PRACK comes.
    Unacknowledged {
        response: R,
        /// Begun anew by whoever goes on from a snapshot.
        #[serde(skip)]
        resends: Resends,
    },
    /// A final response was sent before the PRACK came: nothing is sent again, but the PRACK is still taken.
    Closing,
}

/// When an unacknowledged response is sent again, and when it is given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resends {
    wait: Duration,
    resend_at: Mono,
    give_up_at: Mono,
}

/// What becomes of a response that is to be sent reliably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// It is sent now, under this RSeq.
    Now(u32),
    /// It is sent once the one before it is acknowledged.
    Later,
    /// It is not sent: the last one says the same and is not acknowledged yet, or [`MAX_WAITING`] wait already.
    Dropped,
}

/// What a PRACK acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pracked<R> {
    /// This response.
    Response(R),
    /// A response that a final one has overtaken.
    Overtaken,
    /// Nothing that waits for it: 481 (§3).
    Nothing,
}

/// What the timer of a reliable response asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReliableTimer<'a, R> {
    /// Nothing was due.
    Idle,
    /// Send this response again, under this RSeq.
    Resend(u32, &'a R),
    /// No PRACK came within 64·T1: the request is to be rejected with a 5xx (§3).
    GivenUp,
}

impl<R: PartialEq> ReliableServer<R> {
    /// An early dialog whose first RSeq is `first`, which is 1 to [`MAX_FIRST_RSEQ`].
    pub fn new(first: u32) -> Self {
        let first = first.clamp(1, MAX_FIRST_RSEQ);
        Self { last: first - 1, stage: Stage::Clear, waiting: VecDeque::new() }
    }

    /// Takes a response that is to be sent reliably.
    pub fn send(&mut self, response: R, now: Mono) -> Sending {
        match &self.stage {
            Stage::Clear => {
                self.begin(response, now);
                Sending::Now(self.last)
            }
            Stage::Unacknowledged { response: current, .. } => {
                let repeats = self.waiting.back().unwrap_or(current) == &response;
                if repeats || self.waiting.len() >= MAX_WAITING {
                    return Sending::Dropped;
                }
                self.waiting.push_back(response);
                Sending::Later
            }
            Stage::Closing => Sending::Dropped,
        }
    }

    fn begin(&mut self, response: R, now: Mono) {
        self.last = self.last.saturating_add(1);
        self.stage = Stage::Unacknowledged { response, resends: Resends::begin(now) };
    }

    /// Takes the RAck of a PRACK; `invite` is the sequence number of the INVITE.
    pub fn acknowledge(&mut self, rack: &RAck<'_>, invite: u32) -> Pracked<R> {
        let is_last =
            (rack.rseq, rack.cseq.number, rack.cseq.method) == (self.last, invite, Some(Method::Invite));
        if !is_last {
            return Pracked::Nothing;
        }
        match std::mem::replace(&mut self.stage, Stage::Clear) {
            Stage::Unacknowledged { response, .. } => Pracked::Response(response),
            Stage::Closing => Pracked::Overtaken,
            Stage::Clear => Pracked::Nothing,
        }
    }

    /// What is sent next, under which RSeq, once the response before it is acknowledged.
    pub fn next(&mut self, now: Mono) -> Option<(u32, &R)> {
        if self.stage != Stage::Clear {
            return None;
        }
        let response = self.waiting.pop_front()?;
        self.begin(response, now);
        self.unacknowledged()
    }

    /// The response that waits for its PRACK, and its RSeq.
    pub fn unacknowledged(&self) -> Option<(u32, &R)> {
        match &self.stage {
            Stage::Unacknowledged { response, .. } => Some((self.last, response)),
            Stage::Clear | Stage::Closing => None,
        }
    }

    /// Goes on from a snapshot: what waits for its PRACK is to be sent again, and has 64·T1 from now.
    pub fn resume(&mut self, now: Mono) -> Option<(u32, &R)> {
        if let Stage::Unacknowledged { resends, .. } = &mut self.stage {
            *resends = Resends::begin(now);
        }
        self.unacknowledged()
    }

    /// Leaves out what waits to be sent: it is of no interest any more.
    pub fn skip_waiting(&mut self) {
        self.waiting.clear();
    }

    /// A final response has been sent: nothing more of these is.
    pub fn close(&mut self) {
        self.waiting.clear();
        if let Stage::Unacknowledged { .. } = self.stage {
            self.stage = Stage::Closing;
        }
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Mono) -> ReliableTimer<'_, R> {
        if self.is_given_up(now) {
            self.close();
            return ReliableTimer::GivenUp;
        }
        match &mut self.stage {
            Stage::Unacknowledged { response, resends } if resends.resend_at <= now => {
                resends.wait = resends.wait.saturating_mul(2);
                resends.resend_at = now + resends.wait;
                ReliableTimer::Resend(self.last, response)
            }
            Stage::Clear | Stage::Unacknowledged { .. } | Stage::Closing => ReliableTimer::Idle,
        }
    }

    fn is_given_up(&self, now: Mono) -> bool {
        matches!(&self.stage, Stage::Unacknowledged { resends, .. } if resends.give_up_at <= now)
    }

    /// When [`on_timer`](Self::on_timer) has something to do.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.stage {
            Stage::Unacknowledged { resends, .. } => Some(resends.resend_at.min(resends.give_up_at)),
            Stage::Clear | Stage::Closing => None,
        }
    }

    /// The RSeq of the last response that was sent.
    pub fn last(&self) -> u32 {
        self.last
    }
}

impl Resends {
    fn begin(now: Mono) -> Self {
        Self { wait: FIRST_WAIT, resend_at: now + FIRST_WAIT, give_up_at: now + T1_64 }
    }
}

/// The order of the reliable provisional responses that one early dialog receives (§4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReliableClient {
    /// The RSeq of the last one that came in order.
    last: Option<u32>,
}

/// What a reliable provisional response is by its RSeq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The first, or the one that follows the last: to be acknowledged with PRACK and processed.
    InOrder,
    /// The last one again: its PRACK was or is being sent.
    Again,
    /// An older one, or one before which another is missing: neither acknowledged nor processed.
    OutOfOrder,
}

impl ReliableClient {
    /// Takes the RSeq of a reliable provisional response.
    pub fn receive(&mut self, rseq: u32) -> Received {
        match self.last {
            Some(last) if rseq == last => Received::Again,
            Some(last) if last.checked_add(1) != Some(rseq) => Received::OutOfOrder,
            None if rseq == 0 => Received::OutOfOrder,
            Some(_) | None => {
                self.last = Some(rseq);
                Received::InOrder
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::CSeq;

    const INVITE: u32 = 7;

    fn rack(rseq: u32, number: u32, method: Method) -> RAck<'static> {
        let name = crate::method::name(method).as_bytes();
        RAck { rseq, cseq: CSeq { number, name, method: Some(method) } }
    }

    fn prack(server: &mut ReliableServer<&'static str>, rseq: u32) -> Pracked<&'static str> {
        server.acknowledge(&rack(rseq, INVITE, Method::Invite), INVITE)
    }

    fn ringing() -> ReliableServer<&'static str> {
        let mut server = ReliableServer::new(1);
        assert_eq!(server.send("180", Mono(0)), Sending::Now(1));
        server
    }

    #[test]
    fn rfc_3262_3_a_response_is_resent_at_t1_doubling_until_64_t1() {
        let mut server = ringing();
        let mut resent = Vec::new();
        let given_up = loop {
            let at = server.deadline().expect("a deadline until it is given up");
            match server.on_timer(at) {
                ReliableTimer::Resend(rseq, response) => {
                    assert_eq!((rseq, *response), (1, "180"));
                    resent.push(at.0);
                }
                ReliableTimer::GivenUp => break at.0,
                ReliableTimer::Idle => panic!("a deadline at which nothing is due"),
            }
        };
        assert_eq!(resent, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
        assert_eq!(given_up, 32_000);
        assert_eq!(server.deadline(), None);
    }

    #[test]
    fn rfc_3262_3_a_second_response_waits_until_the_first_is_acknowledged() {
        let mut server = ringing();
        assert_eq!(server.send("183", Mono(0)), Sending::Later);
        assert_eq!(server.next(Mono(0)), None);
        assert_eq!(prack(&mut server, 1), Pracked::Response("180"));
        assert_eq!(server.next(Mono(10)), Some((2, &"183")));
        assert_eq!(server.deadline(), Some(Mono(510)));
        assert_eq!(prack(&mut server, 2), Pracked::Response("183"));
        assert_eq!(server.next(Mono(20)), None);
        assert_eq!(server.deadline(), None);
        assert_eq!(server.send("180", Mono(20)), Sending::Now(3));
    }

    #[test]
    fn rfc_3262_3_a_prack_matches_by_rseq_cseq_and_method() {
        let wrong = [
            rack(2, INVITE, Method::Invite),
            rack(0, INVITE, Method::Invite),
            rack(1, INVITE + 1, Method::Invite),
            rack(1, INVITE, Method::Update),
        ];
        let mut server = ringing();
        for rack in wrong {
            assert_eq!(server.acknowledge(&rack, INVITE), Pracked::Nothing, "{rack:?}");
        }
        assert_eq!(prack(&mut server, 1), Pracked::Response("180"));
        assert_eq!(prack(&mut server, 1), Pracked::Nothing, "acknowledged already");
    }

    #[test]
    fn rfc_3262_3_a_final_response_ends_the_resends_and_a_late_prack_is_taken() {
        let mut server = ringing();
        server.send("183", Mono(0));
        server.close();
        assert_eq!((server.deadline(), server.unacknowledged()), (None, None));
        assert_eq!(server.send("180", Mono(0)), Sending::Dropped);
        assert_eq!(prack(&mut server, 1), Pracked::Overtaken);
        assert_eq!(server.next(Mono(0)), None);
        assert_eq!(prack(&mut server, 1), Pracked::Nothing);
    }

    #[test]
    fn what_repeats_an_unacknowledged_response_is_not_sent_besides() {
        let mut server = ringing();
        assert_eq!(server.send("180", Mono(0)), Sending::Dropped);
        assert_eq!(server.send("183", Mono(0)), Sending::Later);
        assert_eq!(server.send("183", Mono(0)), Sending::Dropped);
        assert_eq!(server.send("180", Mono(0)), Sending::Later);
    }

    #[test]
    fn what_waits_can_be_left_out() {
        let mut server = ringing();
        server.send("183", Mono(0));
        server.skip_waiting();
        assert_eq!(prack(&mut server, 1), Pracked::Response("180"));
        assert_eq!(server.next(Mono(0)), None);
    }

    #[test]
    fn no_more_than_so_many_responses_wait() {
        let mut server = ReliableServer::new(1);
        let answers: Vec<_> = (0..10).map(|number| server.send(number, Mono(0))).collect();
        assert_eq!(answers[0], Sending::Now(1));
        assert!(answers[1..=MAX_WAITING].iter().all(|answer| *answer == Sending::Later));
        assert!(answers[1 + MAX_WAITING..].iter().all(|answer| *answer == Sending::Dropped));
    }

    #[test]
    fn the_first_rseq_lies_between_1_and_2_to_the_31_minus_1() {
        for (asked, first) in [(0, 1), (1, 1), (1_001, 1_001), (u32::MAX, MAX_FIRST_RSEQ)] {
            assert_eq!(ReliableServer::new(asked).send("180", Mono(0)), Sending::Now(first));
        }
    }

    #[test]
    fn an_heir_sends_what_is_unacknowledged_again_and_counts_on() {
        let mut server = ringing();
        server.send("183", Mono(0));
        let bytes = bincode::serialize(&server).expect("plain data");
        let mut heir: ReliableServer<String> = bincode::deserialize(&bytes).expect("what was written");
        assert_eq!(heir.resume(Mono(90_000)), Some((1, &"180".to_owned())));
        assert_eq!(heir.deadline(), Some(Mono(90_500)));
        let acknowledged = heir.acknowledge(&rack(1, INVITE, Method::Invite), INVITE);
        assert_eq!(acknowledged, Pracked::Response("180".to_owned()));
        assert_eq!(heir.next(Mono(90_600)), Some((2, &"183".to_owned())));
    }

    #[test]
    fn rfc_3262_4_responses_are_taken_in_the_order_of_their_rseq() {
        use Received::{Again, InOrder, OutOfOrder};
        let table: [(&[u32], &[Received]); 6] = [
            (&[1, 2, 3], &[InOrder, InOrder, InOrder]),
            (&[988_789, 988_789, 988_790], &[InOrder, Again, InOrder]),
            (&[5, 7, 6, 7], &[InOrder, OutOfOrder, InOrder, InOrder]),
            (&[5, 6, 5], &[InOrder, InOrder, OutOfOrder]),
            (&[0, 1], &[OutOfOrder, InOrder]),
            (&[u32::MAX, 0], &[InOrder, OutOfOrder]),
        ];
        for (numbers, expected) in table {
            let mut client = ReliableClient::default();
            let received: Vec<_> = numbers.iter().map(|rseq| client.receive(*rseq)).collect();
            assert_eq!(received, expected, "{numbers:?}");
        }
    }
}
