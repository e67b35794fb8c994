//! The non-INVITE client transaction (RFC 3261 §17.1.2).

use super::{ClientTimer, ResendSchedule, T2, T4};
use crate::status::StatusCode;
use crate::time::Mono;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One request other than INVITE and ACK, from its first sending until nothing of it can arrive any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientNonInvite {
    reliable: bool,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Trying, and after a 1xx Proceeding: timer E resends, timer F gives up.
    Open {
        request: Bytes,
        schedule: ResendSchedule,
        resent: u8,
        resend_at: Option<Mono>,
        give_up_at: Mono,
        proceeding: bool,
    },
    /// The final response came; further copies are absorbed until timer K.
    Completed { until: Mono },
    /// Over.
    Terminated,
}

/// What a response means to the transaction's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonInviteResponse {
    /// A 1xx.
    Provisional,
    /// The final response.
    Final,
    /// A copy, or of no meaning in this state.
    Ignored,
}

impl ClientNonInvite {
    /// A transaction whose `request` its user sends now.
    pub fn start(request: Bytes, reliable: bool, schedule: ResendSchedule, now: Mono) -> Self {
        let resend_at = if reliable { None } else { schedule.wait(0).map(|wait| now + wait) };
        let give_up_at = now + schedule.window();
        Self {
            reliable,
            state: State::Open { request, schedule, resent: 0, resend_at, give_up_at, proceeding: false },
        }
    }

    /// Takes a response.
    pub fn on_response(&mut self, status: StatusCode, now: Mono) -> NonInviteResponse {
        match &mut self.state {
            State::Open { proceeding, .. } if status.is_provisional() => {
                *proceeding = true;
                NonInviteResponse::Provisional
            }
            State::Open { .. } => {
                self.state =
                    if self.reliable { State::Terminated } else { State::Completed { until: now + T4 } };
                NonInviteResponse::Final
            }
            State::Completed { .. } | State::Terminated => NonInviteResponse::Ignored,
        }
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Mono) -> ClientTimer {
        match &mut self.state {
            State::Open { give_up_at, .. } if *give_up_at <= now => {
                self.state = State::Terminated;
                ClientTimer::TimedOut
            }
            State::Open { request, schedule, resent, resend_at, proceeding, .. } => match *resend_at {
                Some(at) if at <= now => {
                    *resent += 1;
                    let wait = schedule.wait(*resent).map(|wait| if *proceeding { T2 } else { wait });
                    *resend_at = wait.map(|wait| now + wait);
                    ClientTimer::Resend(request.clone())
                }
                Some(_) | None => ClientTimer::Idle,
            },
            State::Completed { until } if *until <= now => {
                self.state = State::Terminated;
                ClientTimer::Terminated
            }
            State::Completed { .. } | State::Terminated => ClientTimer::Idle,
        }
    }

    /// Ends the transaction now: nothing of it is expected any more.
    pub fn terminate(&mut self) {
        self.state = State::Terminated;
    }

    /// When [`on_timer`](Self::on_timer) has something to do.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Open { resend_at, give_up_at, .. } => {
                Some(resend_at.map_or(*give_up_at, |at| at.min(*give_up_at)))
            }
            State::Completed { until } => Some(*until),
            State::Terminated => None,
        }
    }

    /// Whether a final response is still to come.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether the transaction is over.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(reliable: bool) -> ClientNonInvite {
        ClientNonInvite::start(Bytes::from_static(b"BYE"), reliable, ResendSchedule::default(), Mono(0))
    }

    fn resend_times(transaction: &mut ClientNonInvite) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(at) = transaction.deadline() {
            match transaction.on_timer(at) {
                ClientTimer::Resend(_) => times.push(at.0),
                ClientTimer::TimedOut | ClientTimer::Terminated => break,
                ClientTimer::Idle => panic!("a deadline at which nothing is due"),
            }
        }
        times
    }

    #[test]
    fn timer_e_follows_ss_sip_resend_interval_and_timer_f_its_sum() {
        let mut transaction = started(false);
        assert_eq!(resend_times(&mut transaction).len(), 10);
        assert!(transaction.is_terminated());
    }

    #[test]
    fn after_a_provisional_timer_e_is_t2() {
        let mut transaction = started(false);
        assert_eq!(transaction.on_response(StatusCode::TRYING, Mono(100)), NonInviteResponse::Provisional);
        assert_eq!(resend_times(&mut transaction)[..3], [500, 4_500, 8_500]);
    }

    #[test]
    fn copies_of_the_final_response_are_absorbed_until_timer_k() {
        let mut transaction = started(false);
        assert_eq!(transaction.on_response(StatusCode::OK, Mono(100)), NonInviteResponse::Final);
        assert_eq!(transaction.on_response(StatusCode::OK, Mono(200)), NonInviteResponse::Ignored);
        assert_eq!(transaction.deadline(), Some(Mono(5_100)));
        assert_eq!(transaction.on_timer(Mono(5_100)), ClientTimer::Terminated);
    }

    #[test]
    fn timer_k_is_zero_on_a_reliable_transport() {
        let mut transaction = started(true);
        assert_eq!(transaction.on_response(StatusCode::OK, Mono(100)), NonInviteResponse::Final);
        assert!(transaction.is_terminated());
    }
}
