//! The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1), with the 2xx retransmissions of §13.3.1.4.

use super::{ResendSchedule, T1_64, T4};
use crate::time::Mono;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One INVITE received, from its arrival until nothing of it can arrive any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInvite {
    reliable: bool,
    schedule: ResendSchedule,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// The last provisional response answers each copy of the INVITE.
    Proceeding { last: Option<Bytes> },
    /// A final response other than 2xx was sent: timer G resends it, timer H waits for the ACK.
    Completed(Waiting),
    /// The ACK of a failure came; copies of it are absorbed until timer I.
    Confirmed { until: Mono },
    /// A 2xx was sent and waits for its ACK; copies of the INVITE are absorbed.
    Accepted(Waiting),
    /// The ACK of the 2xx came; copies of the INVITE are absorbed until timer L.
    Acknowledged { until: Mono },
    /// Over.
    Terminated,
}

/// A final response that is sent again until its ACK comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    response: Bytes,
    resent: u8,
    resend_at: Option<Mono>,
    give_up_at: Mono,
}

/// What an ACK acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The 2xx, for the first time.
    Success,
    /// The final response other than 2xx.
    Failure,
    /// A copy, or nothing at all.
    Nothing,
}

/// What the transaction's timer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTimer {
    /// Nothing was due.
    Idle,
    /// Send the final response again.
    Resend(Bytes),
    /// The ACK of the 2xx did not come within 64·T1: the session is to be ended with BYE (§13.3.1.4).
    NoAck,
    /// The transaction is over.
    Terminated,
}

impl ServerInvite {
    /// A transaction for an INVITE that has just arrived.
    pub fn new(reliable: bool, schedule: ResendSchedule) -> Self {
        Self { reliable, schedule, state: State::Proceeding { last: None } }
    }

    /// A transaction that is over: what a call taken over long after its answer has.
    pub fn over(schedule: ResendSchedule) -> Self {
        Self { reliable: true, schedule, state: State::Terminated }
    }

    /// Notes the provisional response that its user sends now. `false` if it is too late for one.
    pub fn provisional(&mut self, response: &Bytes) -> bool {
        match &mut self.state {
            State::Proceeding { last } => {
                *last = Some(response.clone());
                true
            }
            State::Completed(_)
            | State::Confirmed { .. }
            | State::Accepted(_)
            | State::Acknowledged { .. }
            | State::Terminated => false,
        }
    }

    /// Notes the 2xx that its user sends now; it is sent again over any transport until its ACK comes.
    pub fn success(&mut self, response: Bytes, now: Mono) {
        let resend_at = self.schedule.wait(0).map(|wait| now + wait);
        self.state = State::Accepted(Waiting { response, resent: 0, resend_at, give_up_at: now + T1_64 });
    }

    /// Notes the final response other than 2xx that its user sends now.
    pub fn failure(&mut self, response: Bytes, now: Mono) {
        let resend_at = if self.reliable { None } else { self.schedule.wait(0).map(|wait| now + wait) };
        self.state = State::Completed(Waiting { response, resent: 0, resend_at, give_up_at: now + T1_64 });
    }

    /// Takes a copy of the INVITE: what to answer it with.
    pub fn on_invite_again(&self) -> Option<Bytes> {
        match &self.state {
            State::Proceeding { last } => last.clone(),
            State::Completed(waiting) => Some(waiting.response.clone()),
            State::Confirmed { .. } | State::Accepted(_) | State::Acknowledged { .. } | State::Terminated => {
                None
            }
        }
    }

    /// Takes an ACK.
    pub fn on_ack(&mut self, now: Mono) -> Acknowledged {
        match &self.state {
            State::Accepted(waiting) => {
                self.state = State::Acknowledged { until: waiting.give_up_at };
                Acknowledged::Success
            }
            State::Completed(_) => {
                self.state =
                    if self.reliable { State::Terminated } else { State::Confirmed { until: now + T4 } };
                Acknowledged::Failure
            }
            State::Proceeding { .. }
            | State::Confirmed { .. }
            | State::Acknowledged { .. }
            | State::Terminated => Acknowledged::Nothing,
        }
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Mono) -> ServerTimer {
        match &mut self.state {
            State::Accepted(waiting) if waiting.give_up_at <= now => {
                self.state = State::Terminated;
                ServerTimer::NoAck
            }
            State::Completed(waiting) if waiting.give_up_at <= now => {
                self.state = State::Terminated;
                ServerTimer::Terminated
            }
            State::Accepted(waiting) | State::Completed(waiting) => waiting.resend(&self.schedule, now),
            State::Confirmed { until } | State::Acknowledged { until } if *until <= now => {
                self.state = State::Terminated;
                ServerTimer::Terminated
            }
            State::Proceeding { .. }
            | State::Confirmed { .. }
            | State::Acknowledged { .. }
            | State::Terminated => ServerTimer::Idle,
        }
    }

    /// When [`on_timer`](Self::on_timer) has something to do.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Completed(waiting) | State::Accepted(waiting) => {
                Some(waiting.resend_at.map_or(waiting.give_up_at, |at| at.min(waiting.give_up_at)))
            }
            State::Confirmed { until } | State::Acknowledged { until } => Some(*until),
            State::Proceeding { .. } | State::Terminated => None,
        }
    }

    /// Whether no final response has been sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// Whether a 2xx was sent whose ACK has not come.
    pub fn awaits_ack_of_success(&self) -> bool {
        matches!(self.state, State::Accepted(_))
    }

    /// Whether all that is left is to absorb copies of the INVITE or the ACK.
    pub fn only_absorbs(&self) -> bool {
        matches!(self.state, State::Confirmed { .. } | State::Acknowledged { .. } | State::Terminated)
    }

    /// Whether the transaction is over.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

impl Waiting {
    fn resend(&mut self, schedule: &ResendSchedule, now: Mono) -> ServerTimer {
        match self.resend_at {
            Some(at) if at <= now => {
                self.resent += 1;
                self.resend_at = schedule.wait(self.resent).map(|wait| now + wait);
                ServerTimer::Resend(self.response.clone())
            }
            Some(_) | None => ServerTimer::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn run_out(transaction: &mut ServerInvite) -> (Vec<u64>, Option<(u64, ServerTimer)>) {
        let mut resent = Vec::new();
        while let Some(at) = transaction.deadline() {
            match transaction.on_timer(at) {
                ServerTimer::Resend(_) => resent.push(at.0),
                ended @ (ServerTimer::NoAck | ServerTimer::Terminated) => {
                    return (resent, Some((at.0, ended)));
                }
                ServerTimer::Idle => panic!("a deadline at which nothing is due"),
            }
        }
        (resent, None)
    }

    #[test]
    fn a_copy_of_the_invite_gets_the_last_provisional() {
        let mut transaction = ServerInvite::new(false, ResendSchedule::default());
        assert_eq!(transaction.on_invite_again(), None);
        assert!(transaction.provisional(&response("100")));
        assert!(transaction.provisional(&response("180")));
        assert_eq!(transaction.on_invite_again(), Some(response("180")));
    }

    #[test]
    fn timer_g_resends_a_failure_until_timer_h() {
        let mut transaction = ServerInvite::new(false, ResendSchedule::default());
        transaction.failure(response("486"), Mono(0));
        assert!(!transaction.provisional(&response("180")));
        assert_eq!(transaction.on_invite_again(), Some(response("486")));
        let (resent, ended) = run_out(&mut transaction);
        assert_eq!(resent.len(), 10);
        assert_eq!(ended, Some((32_000, ServerTimer::Terminated)));
    }

    #[test]
    fn an_ack_confirms_a_failure_until_timer_i() {
        let mut transaction = ServerInvite::new(false, ResendSchedule::default());
        transaction.failure(response("486"), Mono(0));
        assert!(!transaction.only_absorbs());
        assert_eq!(transaction.on_ack(Mono(10)), Acknowledged::Failure);
        assert!(transaction.only_absorbs());
        assert_eq!(transaction.on_ack(Mono(20)), Acknowledged::Nothing);
        assert_eq!(run_out(&mut transaction), (vec![], Some((5_010, ServerTimer::Terminated))));
    }

    #[test]
    fn a_2xx_is_resent_over_any_transport_until_its_ack_comes() {
        for reliable in [false, true] {
            let mut transaction = ServerInvite::new(reliable, ResendSchedule::default());
            transaction.success(response("200"), Mono(0));
            assert_eq!(transaction.on_timer(Mono(500)), ServerTimer::Resend(response("200")));
            assert_eq!(transaction.on_ack(Mono(600)), Acknowledged::Success);
            assert_eq!(run_out(&mut transaction), (vec![], Some((32_000, ServerTimer::Terminated))));
        }
    }

    #[test]
    fn a_2xx_without_ack_ends_the_session_after_64_t1() {
        let mut transaction = ServerInvite::new(false, ResendSchedule::default());
        transaction.success(response("200"), Mono(0));
        assert_eq!(run_out(&mut transaction).1, Some((32_000, ServerTimer::NoAck)));
    }

    #[test]
    fn rfc_6026_accepted_absorbs_copies_of_the_invite() {
        let mut transaction = ServerInvite::new(false, ResendSchedule::default());
        transaction.success(response("200"), Mono(0));
        assert_eq!(transaction.on_invite_again(), None);
    }
}
