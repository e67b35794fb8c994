//! The failover table: what an event on one attempt means for the hunt.

use crate::parameters::{AttemptParameters, CallParameters};
use serde::{Deserialize, Serialize};
use tandem_sip::StatusCode;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No response within `SS_SIP_TIMEOUT_INVITE`, or all resends used up.
    InviteTimeout,
    /// The transport could not deliver (ICMP, connection refused, no route).
    TransportError,
    /// Only a 100 within `SS_SIP_TIMEOUT_TRYING`.
    TryingTimeout,
    /// Rang longer than `SS_SIP_TIMEOUT_RINGING`.
    RingingTimeout,
    /// 183 longer ago than `SS_SIP_TIMEOUT_SESSION_PROGRESS`.
    SessionProgressTimeout,
    /// A final response of 300 or above.
    Status(StatusCode),
    /// A 2xx that no dialog can be made of.
    UnusableAnswer,
}

/// What binds a call to the gateway that is being tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Commitment {
    /// A provisional response with SDP, under `SS_SIP_STOP_SWITCH_AFTER_SDP`.
    Sdp,
    /// RTP from the gateway, under `SS_GATEWAY_SWITCH_STOP_AFTER_RTP_START`.
    Rtp,
}

/// Why the hunt stopped, as the CDR says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// `SS_GATEWAY_SWITCH_LIMIT` switches were made.
    SwitchLimit,
    /// 486 or 600, under `SS_GATEWAY_SWITCH_STOP_AFTER_USER_BUSY`.
    Busy,
    /// A status in the gateway's `stop_switching_response_code`.
    StopCode,
    /// The call was committed to the gateway.
    MediaCommitted,
    /// No gateway is left.
    RoutesExhausted,
    /// No response, under `SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT`.
    InviteTimeout,
    /// Rang too long, without `SS_GATEWAY_SWITCH_UNTIL_CONNECT`.
    NoAnswer,
}

impl StopReason {
    /// The CDR's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            StopReason::SwitchLimit => "switch limit",
            StopReason::Busy => "busy",
            StopReason::StopCode => "stop code",
            StopReason::MediaCommitted => "media committed",
            StopReason::RoutesExhausted => "routes exhausted",
            StopReason::InviteTimeout => "invite timeout",
            StopReason::NoAnswer => "no answer",
        }
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on to the next gateway, as far as there is one and the limit allows.
    Switch,
    /// End the hunt.
    End(StopReason),
}

/// Judges a failed attempt. Stop conditions outrank the switch limit and `SS_GATEWAY_SWITCH_UNTIL_CONNECT`.
pub fn judge(
    failure: Failure,
    committed: Option<Commitment>,
    attempt: &AttemptParameters,
    call: &CallParameters,
) -> Verdict {
    match failure {
        Failure::InviteTimeout if attempt.stop_after_invite_timeout => {
            Verdict::End(StopReason::InviteTimeout)
        }
        Failure::InviteTimeout | Failure::TransportError | Failure::TryingTimeout => Verdict::Switch,
        Failure::RingingTimeout | Failure::SessionProgressTimeout if !attempt.until_connect => {
            Verdict::End(StopReason::NoAnswer)
        }
        Failure::Status(status) if call.stop_after_user_busy && is_user_busy(status) => {
            Verdict::End(StopReason::Busy)
        }
        Failure::Status(status) if attempt.stop_codes.contains(&status.code()) => {
            Verdict::End(StopReason::StopCode)
        }
        Failure::RingingTimeout
        | Failure::SessionProgressTimeout
        | Failure::Status(_)
        | Failure::UnusableAnswer => match committed {
            Some(Commitment::Sdp | Commitment::Rtp) => Verdict::End(StopReason::MediaCommitted),
            None => Verdict::Switch,
        },
    }
}

/// 486 Busy Here or 600 Busy Everywhere.
pub fn is_user_busy(status: StatusCode) -> bool {
    matches!(status.code(), 486 | 600)
}

/// The status that the caller gets for its last attempt's failure, before the mapping gateway's cause map.
///
/// A timeout is 408 and an unreachable gateway 503. A gateway's 503 becomes 500 (RFC 3261 §16.7 step 6): it speaks of
/// that gateway, not of us. A redirection, a challenge, an extension or a session interval that was not followed becomes 500 as well, since
/// what it would ask of the caller cannot be answered on its leg.
pub fn status_for_caller(failure: Failure) -> StatusCode {
    match failure {
        Failure::InviteTimeout
        | Failure::TryingTimeout
        | Failure::RingingTimeout
        | Failure::SessionProgressTimeout => StatusCode::REQUEST_TIMEOUT,
        Failure::TransportError => StatusCode::SERVICE_UNAVAILABLE,
        Failure::UnusableAnswer => StatusCode::SERVER_INTERNAL_ERROR,
        Failure::Status(status) => match status.code() {
            300..=399 | 401 | 407 | 420..=422 | 503 => StatusCode::SERVER_INTERNAL_ERROR,
            _ => status,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Overrides, Parameters};

    fn call() -> CallParameters {
        Parameters::default().call(&Overrides::default())
    }

    fn attempt() -> AttemptParameters {
        Parameters::default().attempt(&Overrides::default(), vec![403, 404])
    }

    fn status(code: u16) -> Failure {
        Failure::Status(StatusCode::new(code).expect("a status"))
    }

    #[test]
    fn no_response_switches_unless_stop_after_invite_timeout() {
        assert_eq!(judge(Failure::InviteTimeout, None, &attempt(), &call()), Verdict::Switch);
        let stop = AttemptParameters { stop_after_invite_timeout: true, ..attempt() };
        assert_eq!(
            judge(Failure::InviteTimeout, None, &stop, &call()),
            Verdict::End(StopReason::InviteTimeout)
        );
    }

    #[test]
    fn a_transport_error_switches_always() {
        let stop = AttemptParameters { stop_after_invite_timeout: true, ..attempt() };
        assert_eq!(judge(Failure::TransportError, Some(Commitment::Sdp), &stop, &call()), Verdict::Switch);
    }

    #[test]
    fn a_trying_timeout_switches() {
        assert_eq!(judge(Failure::TryingTimeout, None, &attempt(), &call()), Verdict::Switch);
    }

    #[test]
    fn busy_ends_only_under_stop_after_user_busy() {
        for code in [486, 600] {
            assert_eq!(judge(status(code), None, &attempt(), &call()), Verdict::End(StopReason::Busy));
            let go_on = CallParameters { stop_after_user_busy: false, ..call() };
            assert_eq!(judge(status(code), None, &attempt(), &go_on), Verdict::Switch);
            let committed = judge(status(code), Some(Commitment::Sdp), &attempt(), &go_on);
            assert_eq!(committed, Verdict::End(StopReason::MediaCommitted));
        }
    }

    #[test]
    fn a_stop_code_ends() {
        assert_eq!(judge(status(404), None, &attempt(), &call()), Verdict::End(StopReason::StopCode));
        assert_eq!(judge(status(480), None, &attempt(), &call()), Verdict::Switch);
    }

    #[test]
    fn any_other_failure_switches_unless_committed() {
        for code in [302, 401, 404 + 1, 480, 500, 503, 603] {
            assert_eq!(judge(status(code), None, &attempt(), &call()), Verdict::Switch, "{code}");
            for commitment in [Commitment::Sdp, Commitment::Rtp] {
                let verdict = judge(status(code), Some(commitment), &attempt(), &call());
                assert_eq!(verdict, Verdict::End(StopReason::MediaCommitted), "{code}");
            }
        }
    }

    #[test]
    fn a_ringing_timeout_ends_unless_until_connect() {
        for timeout in [Failure::RingingTimeout, Failure::SessionProgressTimeout] {
            assert_eq!(judge(timeout, None, &attempt(), &call()), Verdict::End(StopReason::NoAnswer));
            let on = AttemptParameters { until_connect: true, ..attempt() };
            assert_eq!(judge(timeout, None, &on, &call()), Verdict::Switch);
            let committed = judge(timeout, Some(Commitment::Rtp), &on, &call());
            assert_eq!(committed, Verdict::End(StopReason::MediaCommitted));
        }
    }

    #[test]
    fn the_caller_gets_the_last_status_or_what_stands_for_it() {
        let code = |failure| status_for_caller(failure).code();
        assert_eq!(code(status(486)), 486);
        assert_eq!(code(status(503)), 500);
        assert_eq!(code(status(407)), 500);
        assert_eq!(code(status(302)), 500);
        assert_eq!(code(status(420)), 500);
        assert_eq!(code(Failure::TransportError), 503);
        for timeout in [
            Failure::InviteTimeout,
            Failure::TryingTimeout,
            Failure::RingingTimeout,
            Failure::SessionProgressTimeout,
        ] {
            assert_eq!(code(timeout), 408);
        }
    }
}
