//! The system's values: setting, listing, and freezing them for a call.

use super::catalogue::{CATALOGUE, Parameters, definition};
use super::definition::{Definition, Source, Unit};
use super::error::ParameterError;
use super::{AttemptParameters, CallParameters, EarlyHangupMode, Overrides, RefreshSchedule};
use crate::keepalive::{KeepAlive, Pace};
use bytes::Bytes;
use std::time::Duration;
use tandem_sip::session_timer::{Hangup, Schedule, SessionPolicy};
use tandem_sip::transaction::ResendSchedule;

/// A parameter's value in force, as `tandem check` and the API show it.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The catalogue's row.
    pub definition: &'static Definition,
    /// As it is written in a configuration.
    pub value: String,
    /// Whether it equals the catalogue's default, wherever it was set.
    pub is_default: bool,
    /// Where it comes from.
    pub source: Source,
}

impl Effective {
    /// `SS_…`.
    pub fn name(&self) -> &'static str {
        self.definition.name
    }

    /// The value's unit.
    pub fn unit(&self) -> Unit {
        self.definition.unit
    }
}

impl Parameters {
    /// Sets a system value from text: whole numbers, `On`/`Off` (also `true`/`false`), `None`, words, or a comma-separated
    /// list, as the catalogue says. Letter case of words does not matter.
    ///
    /// # Errors
    /// An unknown name, or a value outside its range; nothing is changed then.
    pub fn set(
        &mut self,
        name: &str,
        text: &str,
        source: Source,
    ) -> Result<&'static Definition, ParameterError> {
        let row = definition(name)?;
        (row.access.read)(self, text, row).map_err(|fault| ParameterError::new(row, text, fault))?;
        self.sources.insert(row.name, source);
        Ok(row)
    }

    /// Every value in force, in the catalogue's order.
    pub fn effective(&self) -> Vec<Effective> {
        let row = |definition: &'static Definition| {
            let value = (definition.access.print)(self, definition);
            Effective {
                definition,
                is_default: value == definition.default_value(),
                value,
                source: self.sources.get(definition.name).copied().unwrap_or_default(),
            }
        };
        CATALOGUE.iter().map(row).collect()
    }

    /// The values with a gateway's own in place of the system's.
    pub fn with(&self, overrides: &Overrides) -> Parameters {
        let mut parameters = self.clone();
        overrides.apply(&mut parameters);
        parameters
    }

    /// `SS_SIP_RESEND_INTERVAL`, capped by `SS_SIP_SEND_RETRY`.
    pub fn resend_schedule(&self) -> ResendSchedule {
        let intervals = &self.resend_intervals;
        ResendSchedule::new(intervals.waits(), self.send_retry.cap(intervals))
            .expect("the catalogue admits 1 to 10 waits of at most 60 s")
    }

    /// How sessions are kept up (`SS_SIP_SESSION_…`).
    fn session_policy(&self) -> SessionPolicy {
        SessionPolicy {
            interval_secs: seconds(self.session_expires()),
            min_se_secs: seconds(self.session_min_se),
            segment: self.session_update_segment,
            schedule: match self.session_refresh_schedule {
                RefreshSchedule::Divide => Schedule::Divide,
                RefreshSchedule::Late => Schedule::Late,
            },
            hangup: match self.session_early_hangup_mode {
                EarlyHangupMode::Grace => Hangup::Grace(self.session_early_hangup),
                EarlyHangupMode::Margin => Hangup::Margin(self.session_early_hangup),
            },
        }
    }

    /// `SS_SIP_NAT_KEEP_ALIVE_…`; `None` without a message.
    pub fn keep_alive(&self) -> Option<KeepAlive> {
        let pace = Pace {
            period: self.keep_alive_period,
            interval: self.keep_alive_send_interval,
            batch: self.keep_alive_send_one_time as usize,
        };
        let message = Bytes::copy_from_slice(self.keep_alive_message.as_bytes());
        (!message.is_empty()).then_some(KeepAlive { message, pace })
    }

    /// `SS_SIP_NO_TIMER_REINVITE_INTERVAL`, where 0 is off.
    fn no_timer(&self) -> Option<Duration> {
        Some(self.no_timer_interval).filter(|interval| !interval.is_zero())
    }

    /// What a call from a mapping gateway with these overrides keeps.
    pub fn call(&self, mapping_gateway: &Overrides) -> CallParameters {
        let own = self.with(mapping_gateway);
        CallParameters {
            resend: own.resend_schedule(),
            trying_timeout: own.trying_timeout,
            ringing_timeout: own.ringing_timeout,
            session_progress_timeout: own.session_progress_timeout,
            switch_limit: own.switch_limit,
            stop_after_user_busy: own.stop_after_user_busy,
            max_duration: own.max_call_duration,
            setup_timeout: own.setup_timeout,
            reliable_provisionals: own.reliable_provisionals,
            session: own.session_policy(),
            no_timer: own.no_timer(),
            no_timer_action: own.no_timer_action,
            record_nonconnect: own.record_nonconnect,
        }
    }

    /// What the attempts at a routing gateway with these overrides and `stop_switching_response_code` keep.
    pub fn attempt(&self, routing_gateway: &Overrides, mut stop_codes: Vec<u16>) -> AttemptParameters {
        let own = self.with(routing_gateway);
        stop_codes.sort_unstable();
        stop_codes.dedup();
        AttemptParameters {
            invite_timeout: own.invite_timeout,
            stop_after_sdp: own.stop_switch_after_sdp,
            stop_after_invite_timeout: own.stop_switch_after_invite_timeout,
            stop_after_rtp_start: own.stop_after_rtp_start,
            until_connect: own.switch_until_connect,
            max_duration: own.max_call_duration,
            reliable_provisionals: own.reliable_provisionals,
            session_expires_s: seconds(own.session_expires()),
            no_timer: own.no_timer(),
            no_timer_cap: own.no_timer().filter(|_| routing_gateway.has("SS_SIP_NO_TIMER_REINVITE_INTERVAL")),
            stop_codes,
        }
    }
}

/// Whole seconds; the catalogue admits no value that does not fit.
fn seconds(value: Duration) -> u32 {
    u32::try_from(value.as_secs()).unwrap_or(u32::MAX)
}
