//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2).

use super::{ClientTimer, ResendSchedule, T1_64};
use crate::status::StatusCode;
use crate::time::Mono;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One INVITE sent, from its first sending until nothing of it can arrive any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInvite {
    reliable: bool,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// No response yet. Timer A resends while `resend_at` is set; timer B is `give_up_at`.
    Calling {
        request: Bytes,
        schedule: ResendSchedule,
        resent: u8,
        resend_at: Option<Mono>,
        give_up_at: Mono,
    },
    /// A provisional response came: nothing is resent, the transaction user limits the wait.
    Proceeding,
    /// A final response other than 2xx came; its retransmissions get the ACK again until timer D.
    Completed { ack: Bytes, until: Mono },
    /// A 2xx came; its retransmissions and those of forks go up until timer M.
    Accepted { until: Mono },
    /// Over.
    Terminated,
}

/// What a response means to the transaction's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteResponse {
    /// A 1xx.
    Provisional,
    /// A 2xx, the first or a further one: the user acknowledges it.
    Success,
    /// The final response other than 2xx; send this ACK.
    Failure {
        /// The ACK, to be sent now.
        ack: Bytes,
    },
    /// The same final response again: only send this ACK.
    FailureAgain {
        /// The ACK, to be sent now.
        ack: Bytes,
    },
    /// Of no meaning in this state.
    Ignored,
}

impl ClientInvite {
    /// A transaction whose `request` its user sends now.
    pub fn start(request: Bytes, reliable: bool, schedule: ResendSchedule, now: Mono) -> Self {
        let resend_at = if reliable { None } else { schedule.wait(0).map(|wait| now + wait) };
        let give_up_at = now + schedule.window();
        Self { reliable, state: State::Calling { request, schedule, resent: 0, resend_at, give_up_at } }
    }

    /// A transaction whose peer has already answered with a 1xx: what a call taken over goes on with.
    pub fn resume_proceeding(reliable: bool) -> Self {
        Self { reliable, state: State::Proceeding }
    }

    /// A transaction of which nothing has come, and for which nothing is sent any more: late responses are taken until
    /// 64·T1 from now.
    pub fn resume_unanswered(reliable: bool, now: Mono) -> Self {
        let schedule = ResendSchedule::default();
        let state = State::Calling {
            request: Bytes::new(),
            schedule,
            resent: 0,
            resend_at: None,
            give_up_at: now + T1_64,
        };
        Self { reliable, state }
    }

    /// Goes on as after a 2xx that an earlier owner of the transaction took (RFC 6026 Accepted).
    pub fn accept(&mut self, now: Mono) {
        self.state = State::Accepted { until: now + T1_64 };
    }

    /// Takes a response; `ack` prints the ACK of a final response other than 2xx.
    pub fn on_response(
        &mut self,
        status: StatusCode,
        now: Mono,
        ack: impl FnOnce() -> Bytes,
    ) -> InviteResponse {
        match &self.state {
            State::Calling { .. } | State::Proceeding => {
                if status.is_provisional() {
                    self.state = State::Proceeding;
                    InviteResponse::Provisional
                } else if status.is_success() {
                    self.state = State::Accepted { until: now + T1_64 };
                    InviteResponse::Success
                } else {
                    let ack = ack();
                    self.state = if self.reliable {
                        State::Terminated
                    } else {
                        State::Completed { ack: ack.clone(), until: now + T1_64 }
                    };
                    InviteResponse::Failure { ack }
                }
            }
            State::Completed { ack, .. } if status.is_final() && !status.is_success() => {
                InviteResponse::FailureAgain { ack: ack.clone() }
            }
            State::Accepted { .. } if status.is_success() => InviteResponse::Success,
            State::Completed { .. } | State::Accepted { .. } | State::Terminated => InviteResponse::Ignored,
        }
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Mono) -> ClientTimer {
        match &mut self.state {
            State::Calling { give_up_at, .. } if *give_up_at <= now => {
                self.state = State::Terminated;
                ClientTimer::TimedOut
            }
            State::Calling { request, schedule, resent, resend_at, .. } => match *resend_at {
                Some(at) if at <= now => {
                    *resent += 1;
                    *resend_at = schedule.wait(*resent).map(|wait| now + wait);
                    ClientTimer::Resend(request.clone())
                }
                Some(_) | None => ClientTimer::Idle,
            },
            State::Completed { until, .. } | State::Accepted { until } if *until <= now => {
                self.state = State::Terminated;
                ClientTimer::Terminated
            }
            State::Proceeding | State::Completed { .. } | State::Accepted { .. } | State::Terminated => {
                ClientTimer::Idle
            }
        }
    }

    /// Stops resending, and still takes what comes late until 64·T1 from now.
    pub fn stop_resending(&mut self, now: Mono) {
        if let State::Calling { resend_at, give_up_at, .. } = &mut self.state {
            *resend_at = None;
            *give_up_at = now + T1_64;
        }
    }

    /// Ends the transaction now: nothing of it is expected any more.
    pub fn terminate(&mut self) {
        self.state = State::Terminated;
    }

    /// When [`on_timer`](Self::on_timer) has something to do.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Calling { resend_at, give_up_at, .. } => {
                Some(resend_at.map_or(*give_up_at, |at| at.min(*give_up_at)))
            }
            State::Completed { until, .. } | State::Accepted { until } => Some(*until),
            State::Proceeding | State::Terminated => None,
        }
    }

    /// Whether no response has come.
    pub fn is_unanswered(&self) -> bool {
        matches!(self.state, State::Calling { .. })
    }

    /// Whether a final response is still to come.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding)
    }

    /// Whether the transaction is over.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"INVITE";

    fn ack() -> Bytes {
        Bytes::from_static(b"ACK")
    }

    fn started(reliable: bool) -> ClientInvite {
        ClientInvite::start(Bytes::from_static(REQUEST), reliable, ResendSchedule::default(), Mono(0))
    }

    /// Runs the clock to the end and returns when the request was resent, and when and how it ended.
    fn run_out(transaction: &mut ClientInvite) -> (Vec<u64>, Option<(u64, ClientTimer)>) {
        let mut resent = Vec::new();
        while let Some(at) = transaction.deadline() {
            match transaction.on_timer(at) {
                ClientTimer::Resend(request) => {
                    assert_eq!(request, REQUEST);
                    resent.push(at.0);
                }
                ended @ (ClientTimer::TimedOut | ClientTimer::Terminated) => {
                    return (resent, Some((at.0, ended)));
                }
                ClientTimer::Idle => panic!("a deadline at which nothing is due"),
            }
        }
        (resent, None)
    }

    #[test]
    fn timer_a_follows_ss_sip_resend_interval_and_timer_b_its_sum() {
        let (resent, ended) = run_out(&mut started(false));
        assert_eq!(resent, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!(ended, Some((32_000, ClientTimer::TimedOut)));
    }

    #[test]
    fn a_reliable_transport_resends_nothing_and_times_out_by_timer_b() {
        let (resent, ended) = run_out(&mut started(true));
        assert!(resent.is_empty());
        assert_eq!(ended, Some((32_000, ClientTimer::TimedOut)));
    }

    #[test]
    fn a_provisional_stops_resending_and_timer_b() {
        let mut transaction = started(false);
        assert_eq!(transaction.on_response(StatusCode::TRYING, Mono(10), ack), InviteResponse::Provisional);
        assert_eq!(transaction.deadline(), None);
        assert!(transaction.is_open() && !transaction.is_unanswered());
    }

    #[test]
    fn a_failure_is_acknowledged_again_until_timer_d() {
        let mut transaction = started(false);
        assert_eq!(
            transaction.on_response(StatusCode::BUSY_HERE, Mono(10), ack),
            InviteResponse::Failure { ack: ack() }
        );
        let again = transaction.on_response(StatusCode::BUSY_HERE, Mono(20), || panic!("printed once"));
        assert_eq!(again, InviteResponse::FailureAgain { ack: ack() });
        assert_eq!(run_out(&mut transaction).1, Some((32_010, ClientTimer::Terminated)));
    }

    #[test]
    fn timer_d_is_zero_on_a_reliable_transport() {
        let mut transaction = started(true);
        transaction.on_response(StatusCode::BUSY_HERE, Mono(10), ack);
        assert!(transaction.is_terminated());
    }

    #[test]
    fn rfc_6026_accepted_takes_further_2xx_until_timer_m() {
        let mut transaction = started(false);
        assert_eq!(transaction.on_response(StatusCode::OK, Mono(10), ack), InviteResponse::Success);
        assert_eq!(transaction.on_response(StatusCode::OK, Mono(5_000), ack), InviteResponse::Success);
        assert_eq!(transaction.on_response(StatusCode::BUSY_HERE, Mono(5_000), ack), InviteResponse::Ignored);
        assert_eq!(run_out(&mut transaction).1, Some((32_010, ClientTimer::Terminated)));
    }

    #[test]
    fn an_attempt_left_before_any_response_resends_nothing_and_waits_64_t1() {
        let mut transaction = started(false);
        transaction.stop_resending(Mono(1_000));
        let (resent, ended) = run_out(&mut transaction);
        assert!(resent.is_empty());
        assert_eq!(ended, Some((33_000, ClientTimer::TimedOut)));
    }
}
