//! Values that are allowed, but hardly what an operator wants.

use super::{MediaProxy, Parameters};
use std::fmt;
use std::time::Duration;

/// The smallest ratio of the no-timer interval to the session's lifetime.
const NO_TIMER_PER_TTL: u32 = 3;

/// The smallest ratio of a NAT registration's lifetime to the keep-alive period.
const NAT_EXPIRE_PER_PERIOD: u32 = 5;

/// The smallest Session-Expires there is (RFC 4028 §5).
const MIN_SESSION_EXPIRES: Duration = Duration::from_secs(90);

/// What `tandem check` and the switch at its start warn about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Callers without session timers are cut off sooner than timed ones would be found dead.
    NoTimerBelowTtl {
        /// `SS_SIP_NO_TIMER_REINVITE_INTERVAL`.
        no_timer: Duration,
        /// `SS_SIP_SESSION_TTL`.
        ttl: Duration,
    },
    /// A few lost keep-alives lose the NAT binding before the registration lapses.
    KeepAliveTooSlow {
        /// `SS_SIP_NAT_KEEP_ALIVE_PERIOD`.
        period: Duration,
        /// `SS_ENDPOINT_NAT_EXPIRE`.
        nat_expire: Duration,
    },
    /// A call may hunt through every gateway there is.
    SwitchLimitNone,
    /// A rule that watches RTP, while no RTP passes the relay.
    RelayOff {
        /// The rule's parameter.
        rule: &'static str,
    },
    /// The switch asks for a longer session than configured.
    SessionExpiresRaised {
        /// `SS_SIP_SESSION_TTL`.
        ttl: Duration,
        /// What is sent.
        sent: Duration,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NoTimerBelowTtl { no_timer, ttl } => write!(
                f,
                "SS_SIP_NO_TIMER_REINVITE_INTERVAL = {} s is below {NO_TIMER_PER_TTL} × SS_SIP_SESSION_TTL ({} s)",
                no_timer.as_secs(),
                ttl.as_secs()
            ),
            Warning::KeepAliveTooSlow { period, nat_expire } => write!(
                f,
                "SS_SIP_NAT_KEEP_ALIVE_PERIOD = {} s is above a fifth of SS_ENDPOINT_NAT_EXPIRE ({} s)",
                period.as_secs(),
                nat_expire.as_secs()
            ),
            Warning::SwitchLimitNone => {
                f.write_str("SS_GATEWAY_SWITCH_LIMIT = None lets a call try every gateway that matches")
            }
            Warning::RelayOff { rule } => {
                write!(f, "{rule} cannot apply, since it needs the relay and SS_MEDIA_PROXY = Off")
            }
            Warning::SessionExpiresRaised { ttl, sent } => write!(
                f,
                "SS_SIP_SESSION_TTL = {} s is raised to {} s, the smallest Session-Expires that is accepted",
                ttl.as_secs(),
                sent.as_secs()
            ),
        }
    }
}

impl Parameters {
    /// The Session-Expires the switch asks for: `SS_SIP_SESSION_TTL`, but not below `SS_SIP_SESSION_MIN_SE` and 90 s.
    pub fn session_expires(&self) -> Duration {
        self.session_ttl.max(self.session_min_se).max(MIN_SESSION_EXPIRES)
    }

    /// What is doubtful about these values.
    pub fn warnings(&self) -> Vec<Warning> {
        let no_timer = self.no_timer_interval;
        let (ttl, sent) = (self.session_ttl, self.session_expires());
        let (period, nat_expire) = (self.keep_alive_period, self.endpoint_nat_expire);
        let relay_off = self.media_proxy == MediaProxy::Off;
        let doubts = [
            (
                !no_timer.is_zero() && no_timer < ttl * NO_TIMER_PER_TTL,
                Warning::NoTimerBelowTtl { no_timer, ttl },
            ),
            (
                !self.keep_alive_message.is_empty() && period * NAT_EXPIRE_PER_PERIOD > nat_expire,
                Warning::KeepAliveTooSlow { period, nat_expire },
            ),
            (self.switch_limit.is_none(), Warning::SwitchLimitNone),
            (
                relay_off && !self.no_media_hangup.is_zero(),
                Warning::RelayOff { rule: "SS_NOMEDIAHANGUPTIME" },
            ),
            (
                relay_off && self.stop_after_rtp_start,
                Warning::RelayOff { rule: "SS_GATEWAY_SWITCH_STOP_AFTER_RTP_START" },
            ),
            (sent > ttl, Warning::SessionExpiresRaised { ttl, sent }),
        ];
        doubts.into_iter().filter(|(doubtful, _)| *doubtful).map(|(_, warning)| warning).collect()
    }
}
