//! The values a call keeps from its start to its end, whatever is configured meanwhile.

use super::{NoTimerAction, ReliableProvisionals};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tandem_sip::session_timer::SessionPolicy;
use tandem_sip::transaction::ResendSchedule;

/// What holds for the whole call: the system's values with the mapping gateway's overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallParameters {
    /// `SS_SIP_RESEND_INTERVAL`, capped by `SS_SIP_SEND_RETRY`.
    pub resend: ResendSchedule,
    /// `SS_SIP_TIMEOUT_TRYING`.
    pub trying_timeout: Duration,
    /// `SS_SIP_TIMEOUT_RINGING`.
    pub ringing_timeout: Duration,
    /// `SS_SIP_TIMEOUT_SESSION_PROGRESS`.
    pub session_progress_timeout: Duration,
    /// `SS_GATEWAY_SWITCH_LIMIT`: switches after the first attempt.
    pub switch_limit: Option<u32>,
    /// `SS_GATEWAY_SWITCH_STOP_AFTER_USER_BUSY`.
    pub stop_after_user_busy: bool,
    /// `SS_MAX_CALL_DURATION`, from the answer on.
    pub max_duration: Option<Duration>,
    /// `SS_SETUP_TIMEOUT`, from the caller's INVITE on.
    pub setup_timeout: Option<Duration>,
    /// `SS_SIP_100REL` towards the caller.
    pub reliable_provisionals: ReliableProvisionals,
    /// `SS_SIP_SESSION_…` for the caller's leg; the callee's has the interval of its own gateway.
    pub session: SessionPolicy,
    /// `SS_SIP_NO_TIMER_REINVITE_INTERVAL`; `None` is off.
    pub no_timer: Option<Duration>,
    /// `SS_SIP_NO_TIMER_ACTION`.
    pub no_timer_action: NoTimerAction,
    /// `SS_CDR_RECORD_NONCONNECT`.
    pub record_nonconnect: bool,
}

/// What holds for the attempts at one routing gateway: the system's values with that gateway's overrides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptParameters {
    /// `SS_SIP_TIMEOUT_INVITE`: from the INVITE until any response.
    pub invite_timeout: Duration,
    /// `SS_SIP_STOP_SWITCH_AFTER_SDP`.
    pub stop_after_sdp: bool,
    /// `SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT`.
    pub stop_after_invite_timeout: bool,
    /// `SS_GATEWAY_SWITCH_STOP_AFTER_RTP_START`.
    pub stop_after_rtp_start: bool,
    /// `SS_GATEWAY_SWITCH_UNTIL_CONNECT`.
    pub until_connect: bool,
    /// `SS_MAX_CALL_DURATION` as this gateway has it; the smaller of both legs' wins.
    pub max_duration: Option<Duration>,
    /// `SS_SIP_100REL` towards this gateway.
    pub reliable_provisionals: ReliableProvisionals,
    /// The Session-Expires that this gateway is asked for, in seconds (`SS_SIP_SESSION_TTL`).
    pub session_expires_s: u32,
    /// `SS_SIP_NO_TIMER_REINVITE_INTERVAL`; `None` is off.
    pub no_timer: Option<Duration>,
    /// The same, if it is this gateway's own value: then it also bounds the calls of callers without session timers.
    pub no_timer_cap: Option<Duration>,
    /// `stop_switching_response_code`: statuses of this gateway that end the hunt, sorted.
    pub stop_codes: Vec<u16>,
}
