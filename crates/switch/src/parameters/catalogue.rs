//! The one table of parameters. Everything else about them (defaults, ranges, listing, overrides) is read from here.

use super::choice::{
    EarlyHangupMode, MediaProxy, NoMediaDirection, NoTimerAction, RefreshSchedule, ReliableProvisionals,
};
use super::definition::{Access, Definition, PerGateway, Range, Source, Unit};
use super::error::ParameterError;
use super::nearest::nearest;
use super::reading::{EndpointExpire, Kind, ResendIntervals, SendRetry};
use std::collections::BTreeMap;
use std::time::Duration;

/// Turns the table into the rows of [`CATALOGUE`] and the fields of [`Parameters`].
///
/// A row: name, field, type, default, range, unit, per gateway, whether this release acts on it, description.
macro_rules! catalogue {
    ($($name:literal, $field:ident: $type:ty = $default:expr, $range:expr, $unit:ident, $gateway:ident,
       $acted_on:literal, $description:literal;)+) => {
        /// The system's value of every parameter.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Parameters {
            $(
                #[doc = concat!("`", $name, "`. ", $description)]
                pub $field: $type,
            )+
            /// Where the values come from that were set, by name.
            pub(super) sources: BTreeMap<&'static str, Source>,
        }

        impl Default for Parameters {
            fn default() -> Self {
                Self { $($field: $default,)+ sources: BTreeMap::new() }
            }
        }

        /// Every parameter, the SIP ones first, in the order operators know them by.
        pub static CATALOGUE: &[Definition] = &[$(Definition {
            name: $name,
            range: $range,
            unit: Unit::$unit,
            per_gateway: PerGateway::$gateway,
            acted_on: $acted_on,
            description: $description,
            access: Access {
                read: |parameters, text, row| {
                    parameters.$field = <$type as Kind>::read(text, row)?;
                    Ok(())
                },
                print: |parameters, row| parameters.$field.print(parameters, row),
                copy: |to, from| to.$field.clone_from(&from.$field),
            },
        }),+];
    };
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

const fn whole(min: u32, max: u32) -> Range {
    Range::Whole { min, max }
}

catalogue! {
    "SS_SIP_RESEND_INTERVAL", resend_intervals: ResendIntervals = ResendIntervals::default(), ResendIntervals::RANGE,
        Seconds, No, true,
        "Waits before each resend of an unanswered message over UDP; fewer values are fewer resends.";
    "SS_SIP_SEND_RETRY", send_retry: SendRetry = SendRetry::default(), whole(0, 10), Count, No, true,
        "Cap on resends; by default the number of intervals.";
    "SS_SIP_TIMEOUT_INVITE", invite_timeout: Duration = seconds(10), whole(1, 120), Seconds, Attempt, true,
        "From the INVITE until any response; then the attempt has failed.";
    "SS_SIP_TIMEOUT_TRYING", trying_timeout: Duration = seconds(20), whole(1, 120), Seconds, No, true,
        "From 100 until 180, 181, 182, 183 or 2xx.";
    "SS_SIP_TIMEOUT_RINGING", ringing_timeout: Duration = seconds(120), whole(1, 600), Seconds, No, true,
        "From 180 until the answer.";
    "SS_SIP_TIMEOUT_SESSION_PROGRESS", session_progress_timeout: Duration = seconds(20), whole(1, 600), Seconds, No,
        true, "From 183 until 180 or the answer.";
    "SS_SIP_STOP_SWITCH_AFTER_SDP", stop_switch_after_sdp: bool = true, Range::OnOff, None, Attempt, true,
        "A provisional with SDP commits the call to the gateway.";
    "SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT", stop_switch_after_invite_timeout: bool = false, Range::OnOff,
        None, Attempt, true, "An INVITE timeout ends the call instead of trying the next gateway.";
    "SS_SIP_SESSION_TTL", session_ttl: Duration = seconds(600), whole(60, 86_400), Seconds, EitherLeg, true,
        "Session-Expires that the switch asks for.";
    "SS_SIP_SESSION_UPDATE_SEGMENT", session_update_segment: u32 = 2, whole(2, 10), Count, No, true,
        "Parts the session's lifetime is divided into for refreshes.";
    "SS_SIP_SESSION_REFRESH_SCHEDULE", session_refresh_schedule: RefreshSchedule = RefreshSchedule::Divide,
        RefreshSchedule::RANGE, None, No, true,
        "Refresh at each lifetime ÷ segment (divide), or once the last segment begins (late).";
    "SS_SIP_SESSION_TIMEOUT_EARLY_HANGUP", session_early_hangup: Duration = seconds(0), whole(0, 3600), Seconds, No,
        true, "Shifts the hang-up of a session that was not refreshed.";
    "SS_SIP_SESSION_EARLY_HANGUP_MODE", session_early_hangup_mode: EarlyHangupMode = EarlyHangupMode::Grace,
        EarlyHangupMode::RANGE, None, No, true,
        "Whether early hang-up is a grace after the expiry or a margin before it.";
    "SS_SIP_SESSION_MIN_SE", session_min_se: Duration = seconds(90), whole(90, 3600), Seconds, No, true,
        "Smallest Session-Expires accepted; a smaller one gets 422.";
    "SS_SIP_NO_TIMER_REINVITE_INTERVAL", no_timer_interval: Duration = seconds(7200), whole(0, 86_400), Seconds,
        EitherLeg, true, "Longest conversation of a party without session timers; 0 is off.";
    "SS_SIP_NO_TIMER_ACTION", no_timer_action: NoTimerAction = NoTimerAction::Hangup, NoTimerAction::RANGE, None, No,
        true, "What the no-timer interval does: end the call, or probe the party with a re-INVITE.";
    "SS_SIP_PUBLISH_EXPIRE", publish_expire: Duration = seconds(3600), whole(30, 7200), Seconds, Attempt, true,
        "Lifetime granted to a gateway's PUBLISH; when it lapses the gateway is unavailable.";
    "SS_SIP_100REL", reliable_provisionals: ReliableProvisionals = ReliableProvisionals::Off,
        ReliableProvisionals::RANGE, None, EitherLeg, true, "Reliable provisional responses (PRACK), per leg.";
    "SS_SIP_NAT_KEEP_ALIVE_MESSAGE", keep_alive_message: String = "HELLO".to_owned(), Range::Text { max_bytes: 512 },
        None, No, true, "Payload of keep-alives to NAT endpoints; empty is off.";
    "SS_SIP_NAT_KEEP_ALIVE_PERIOD", keep_alive_period: Duration = seconds(30), whole(10, 86_400), Seconds, No, true,
        "Every NAT endpoint gets one keep-alive per period.";
    "SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL", keep_alive_send_interval: Duration = Duration::from_millis(500),
        whole(1, 10_000), Milliseconds, No, true, "Pause between two batches of keep-alives.";
    "SS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME", keep_alive_send_one_time: u32 = 3000, whole(1, 10_000), Count, No, true,
        "Keep-alives in one batch.";
    "SS_GATEWAY_SWITCH_LIMIT", switch_limit: Option<u32> = None,
        Range::NoneOr { min: 1, max: None, zero_is_none: true }, None, No, true,
        "Switches after the first attempt: 3 means at most 4 gateways tried.";
    "SS_GATEWAY_SWITCH_UNTIL_CONNECT", switch_until_connect: bool = false, Range::OnOff, None, Attempt, true,
        "A ringing or session-progress timeout switches instead of ending the call.";
    "SS_GATEWAY_SWITCH_STOP_AFTER_RTP_START", stop_after_rtp_start: bool = true, Range::OnOff, None, Attempt, false,
        "RTP from the gateway commits the call to it; needs the relay.";
    "SS_GATEWAY_SWITCH_STOP_AFTER_USER_BUSY", stop_after_user_busy: bool = true, Range::OnOff, None, No, true,
        "486 or 600 ends the hunt.";
    "SS_SETUP_TIMEOUT", setup_timeout: Option<Duration> = None,
        Range::NoneOr { min: 1, max: Some(3600), zero_is_none: false }, Seconds, No, true,
        "A call not answered this long after the caller's INVITE is ended.";
    "SS_MAX_CALL_DURATION", max_call_duration: Option<Duration> = None,
        Range::NoneOr { min: 1, max: None, zero_is_none: false }, Seconds, EitherLeg, true,
        "Hard cap on the duration of every call; the smallest of both legs' wins.";
    "SS_NOMEDIAHANGUPTIME", no_media_hangup: Duration = seconds(0), whole(0, 3600), Seconds, EitherLeg, false,
        "A call without RTP for this long is ended; needs the relay; 0 is off.";
    "SS_NOMEDIA_DIRECTION", no_media_direction: NoMediaDirection = NoMediaDirection::Both, NoMediaDirection::RANGE,
        None, No, false, "Whether both sides or either must be silent for no-media hang-up.";
    "SS_ENDPOINT_EXPIRE", endpoint_expire: EndpointExpire = EndpointExpire::default(), whole(60, 86_400), Seconds, No,
        true, "Registration lifetime: granted when none is asked for, and the cap (default,cap).";
    "SS_ENDPOINT_NAT_EXPIRE", endpoint_nat_expire: Duration = seconds(300), whole(30, 86_400), Seconds, No, true,
        "Cap on the registration lifetime of endpoints behind NAT.";
    "SS_MEDIA_PROXY_BEHIND_NAT", media_proxy_behind_nat: bool = true, Range::OnOff, None, No, false,
        "Relay RTP when either leg is behind NAT.";
    "SS_MEDIA_PROXY", media_proxy: MediaProxy = MediaProxy::Auto, MediaProxy::RANGE, None, EitherLeg, false,
        "When RTP is relayed: always, never, or where NAT or no-media hang-up asks for it.";
    "SS_CDR_RECORD_NONCONNECT", record_nonconnect: bool = false, Range::OnOff, None, No, true,
        "Also write a CDR for calls and attempts that never connected.";
}

/// The catalogue's row of a name.
///
/// # Errors
/// [`ParameterError::Unknown`], with the name that looks most like it.
pub fn definition(name: &str) -> Result<&'static Definition, ParameterError> {
    CATALOGUE.iter().find(|row| row.name == name).ok_or_else(|| ParameterError::Unknown {
        name: name.to_owned(),
        nearest: nearest(name, CATALOGUE.iter().map(|row| row.name)),
    })
}
