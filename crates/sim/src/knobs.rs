//! The parameters of a run, drawn at random: as numbers for the reference model, and through the catalogue for the
//! switch.

use crate::random::Random;
use std::sync::Arc;
use tandem_switch::parameters::{AttemptParameters, CallParameters, Overrides, Parameters, Source};

/// The system's values.
#[derive(Clone, Debug)]
pub(crate) struct SystemKnobs {
    pub(crate) call: CallKnobs,
    attempt: AttemptKnobs,
    parameters: Parameters,
}

/// What holds for a whole call. Times in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct CallKnobs {
    /// Waits before each resend, as far as `SS_SIP_SEND_RETRY` lets them be used.
    pub(crate) waits_ms: Vec<u64>,
    pub(crate) trying_ms: u64,
    pub(crate) ringing_ms: u64,
    pub(crate) progress_ms: u64,
    /// Switches after the first attempt.
    pub(crate) switch_limit: Option<u32>,
    pub(crate) stop_after_busy: bool,
    pub(crate) max_duration_ms: Option<u64>,
    pub(crate) setup_ms: Option<u64>,
    pub(crate) record_nonconnect: bool,
    pub(crate) session: SessionKnobs,
}

/// What bounds conversations, for the whole call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionKnobs {
    pub(crate) segment: u64,
    /// `SS_SIP_SESSION_REFRESH_SCHEDULE` is late.
    pub(crate) is_late: bool,
    /// `SS_SIP_SESSION_TIMEOUT_EARLY_HANGUP`, and whether it is a margin.
    pub(crate) early_hangup_ms: u64,
    pub(crate) is_margin: bool,
    /// `SS_SIP_NO_TIMER_REINVITE_INTERVAL`, unless it is off.
    pub(crate) no_timer_ms: Option<u64>,
    /// `SS_SIP_NO_TIMER_ACTION` is probe.
    pub(crate) probes: bool,
}

/// What holds for the attempts at one gateway.
#[derive(Clone, Debug)]
pub(crate) struct AttemptKnobs {
    pub(crate) invite_ms: u64,
    pub(crate) stop_after_sdp: bool,
    pub(crate) stop_after_invite_timeout: bool,
    pub(crate) until_connect: bool,
    pub(crate) max_duration_ms: Option<u64>,
    pub(crate) stop_codes: Vec<u16>,
    /// `SS_SIP_NO_TIMER_REINVITE_INTERVAL`, if it is the gateway's own.
    pub(crate) no_timer_ms: Option<u64>,
}

impl CallKnobs {
    /// From the first sending to giving up: the waits, and half a second more (timers B and F).
    pub(crate) fn window_ms(&self) -> u64 {
        self.waits_ms.iter().sum::<u64>() + 500
    }
}

impl SystemKnobs {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut parameters = Parameters::default();
        // The reference model of set-ups knows nothing of conversations that are bounded.
        set(&mut parameters, "SS_SIP_NO_TIMER_REINVITE_INTERVAL", "0");
        let waits = draw_waits(random);
        let retries =
            if random.chance(70) { waits.len() } else { random.below(waits.len() as u64 + 1) as usize };
        set(&mut parameters, "SS_SIP_RESEND_INTERVAL", &as_seconds(&waits));
        set(&mut parameters, "SS_SIP_SEND_RETRY", &retries.to_string());
        let mut seconds = |name: &str, low: u64, high: u64| {
            let value = random.between(low, high);
            set(&mut parameters, name, &value.to_string());
            value * 1000
        };
        let trying_ms = seconds("SS_SIP_TIMEOUT_TRYING", 1, 20);
        let ringing_ms = seconds("SS_SIP_TIMEOUT_RINGING", 2, 60);
        let progress_ms = seconds("SS_SIP_TIMEOUT_SESSION_PROGRESS", 2, 30);
        let invite_ms = seconds("SS_SIP_TIMEOUT_INVITE", 1, 12);
        let mut switch = |name: &str, on_percent: u64| {
            let on = random.chance(on_percent);
            set(&mut parameters, name, if on { "On" } else { "Off" });
            on
        };
        let stop_after_busy = switch("SS_GATEWAY_SWITCH_STOP_AFTER_USER_BUSY", 60);
        let record_nonconnect = switch("SS_CDR_RECORD_NONCONNECT", 60);
        let stop_after_sdp = switch("SS_SIP_STOP_SWITCH_AFTER_SDP", 60);
        let stop_after_invite_timeout = switch("SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT", 20);
        let until_connect = switch("SS_GATEWAY_SWITCH_UNTIL_CONNECT", 50);
        let mut optional = |name: &str, percent: u64, low: u64, high: u64| {
            let value = random.chance(percent).then(|| random.between(low, high));
            let text = value.map_or_else(|| "None".to_owned(), |value| value.to_string());
            set(&mut parameters, name, &text);
            value
        };
        let switch_limit = optional("SS_GATEWAY_SWITCH_LIMIT", 60, 1, 4).map(|limit| limit as u32);
        let setup_ms = optional("SS_SETUP_TIMEOUT", 40, 2, 60).map(|seconds| seconds * 1000);
        let max_duration_ms = optional("SS_MAX_CALL_DURATION", 40, 1, 90).map(|seconds| seconds * 1000);
        let call = CallKnobs {
            waits_ms: waits[..retries].to_vec(),
            trying_ms,
            ringing_ms,
            progress_ms,
            switch_limit,
            stop_after_busy,
            max_duration_ms,
            setup_ms,
            record_nonconnect,
            session: SessionKnobs {
                segment: 2,
                is_late: false,
                early_hangup_ms: 0,
                is_margin: false,
                no_timer_ms: None,
                probes: false,
            },
        };
        let attempt = AttemptKnobs {
            invite_ms,
            stop_after_sdp,
            stop_after_invite_timeout,
            until_connect,
            max_duration_ms,
            stop_codes: Vec::new(),
            no_timer_ms: None,
        };
        Self { call, attempt, parameters }
    }

    /// Values under which calls get answered, and conversations are bounded.
    pub(crate) fn draw_conversations(random: &mut Random) -> Self {
        let mut parameters = Parameters::default();
        let mut number = |name: &str, value: u64| {
            set(&mut parameters, name, &value.to_string());
            value
        };
        number("SS_SIP_SESSION_TTL", random.between(60, 400));
        number("SS_SIP_SESSION_MIN_SE", random.one_of(&[90, 90, 90, 120, 200]));
        let segment = number("SS_SIP_SESSION_UPDATE_SEGMENT", random.between(2, 5));
        let early = number("SS_SIP_SESSION_TIMEOUT_EARLY_HANGUP", random.one_of(&[0, 0, 5, 20, 60]));
        let no_timer = number("SS_SIP_NO_TIMER_REINVITE_INTERVAL", random.one_of(&[0, 100, 300, 600]));
        let max_duration_ms = random.chance(30).then(|| random.between(60, 900) * 1000);
        if let Some(longest) = max_duration_ms {
            number("SS_MAX_CALL_DURATION", longest / 1000);
        }
        let mut choice = |name: &str, words: [&'static str; 2]| {
            let second = random.chance(40);
            set(&mut parameters, name, words[usize::from(second)]);
            second
        };
        let is_late = choice("SS_SIP_SESSION_REFRESH_SCHEDULE", ["divide", "late"]);
        let is_margin = choice("SS_SIP_SESSION_EARLY_HANGUP_MODE", ["grace", "margin"]);
        let probes = choice("SS_SIP_NO_TIMER_ACTION", ["hangup", "probe"]);
        let record_nonconnect = choice("SS_CDR_RECORD_NONCONNECT", ["Off", "On"]);
        set(
            &mut parameters,
            "SS_SIP_100REL",
            random.one_of(&["Off", "Supported", "Supported", "Supported", "Supported", "Required"]),
        );
        let mut known = Self::draw(random);
        known.call.session = SessionKnobs {
            segment,
            is_late,
            early_hangup_ms: early * 1000,
            is_margin,
            no_timer_ms: Some(no_timer * 1000).filter(|wait| *wait > 0),
            probes,
        };
        known.call.max_duration_ms = max_duration_ms;
        known.call.record_nonconnect = record_nonconnect;
        known.attempt.max_duration_ms = max_duration_ms;
        known.parameters = parameters;
        known
    }

    /// A routing gateway's values in a world of conversations.
    pub(crate) fn vendor(&self, random: &mut Random) -> (AttemptKnobs, Arc<AttemptParameters>) {
        let mut knobs = self.attempt.clone();
        let mut overrides = Overrides::default();
        if random.chance(40) {
            put(&mut overrides, "SS_SIP_SESSION_TTL", &random.between(60, 400).to_string());
        }
        if random.chance(20) {
            let seconds = random.one_of(&[100, 200]);
            knobs.no_timer_ms = Some(seconds * 1000);
            put(&mut overrides, "SS_SIP_NO_TIMER_REINVITE_INTERVAL", &seconds.to_string());
        }
        if random.chance(30) {
            let word = random.one_of(&["Off", "Supported", "Required"]);
            put(&mut overrides, "SS_SIP_100REL", word);
        }
        let parameters = Arc::new(self.parameters.attempt(&overrides, Vec::new()));
        (knobs, parameters)
    }

    /// A mapping gateway's values in a world of conversations.
    pub(crate) fn customer(&self) -> (CallKnobs, CallParameters) {
        (self.call.clone(), self.parameters.call(&Overrides::default()))
    }

    /// A mapping gateway's values, of which it may have its own.
    pub(crate) fn mapping_gateway(&self, random: &mut Random) -> (CallKnobs, CallParameters) {
        let mut knobs = self.call.clone();
        let mut overrides = Overrides::default();
        if random.chance(20) {
            let seconds = random.between(1, 120);
            knobs.max_duration_ms = Some(seconds * 1000);
            put(&mut overrides, "SS_MAX_CALL_DURATION", &seconds.to_string());
        }
        let parameters = self.parameters.call(&overrides);
        (knobs, parameters)
    }

    /// A routing gateway's values, of which it may have its own.
    pub(crate) fn routing_gateway(&self, random: &mut Random) -> (AttemptKnobs, Arc<AttemptParameters>) {
        let mut knobs = self.attempt.clone();
        let mut overrides = Overrides::default();
        if random.chance(40) {
            let seconds = random.between(1, 12);
            knobs.invite_ms = seconds * 1000;
            put(&mut overrides, "SS_SIP_TIMEOUT_INVITE", &seconds.to_string());
        }
        let switches = [
            ("SS_SIP_STOP_SWITCH_AFTER_SDP", &mut knobs.stop_after_sdp),
            ("SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT", &mut knobs.stop_after_invite_timeout),
            ("SS_GATEWAY_SWITCH_UNTIL_CONNECT", &mut knobs.until_connect),
        ];
        for (name, value) in switches {
            if random.chance(25) {
                *value = !*value;
                put(&mut overrides, name, if *value { "On" } else { "Off" });
            }
        }
        if random.chance(15) {
            let seconds = random.between(1, 120);
            knobs.max_duration_ms = Some(seconds * 1000);
            put(&mut overrides, "SS_MAX_CALL_DURATION", &seconds.to_string());
        }
        if random.chance(50) {
            let codes = [403, 404, 480, 484, 487, 500, 603];
            knobs.stop_codes = (0..random.between(1, 3)).map(|_| random.one_of(&codes)).collect();
        }
        let parameters = Arc::new(self.parameters.attempt(&overrides, knobs.stop_codes.clone()));
        (knobs, parameters)
    }
}

/// The manual's list, or a list of any waits.
fn draw_waits(random: &mut Random) -> Vec<u64> {
    if random.chance(50) {
        return vec![500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000, 4000];
    }
    let waits = [100, 200, 500, 500, 1000, 1000, 1500, 2000, 4000];
    (0..random.between(2, 10)).map(|_| random.one_of(&waits)).collect()
}

fn as_seconds(waits_ms: &[u64]) -> String {
    let waits: Vec<String> = waits_ms.iter().map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000)).collect();
    waits.join(",")
}

fn set(parameters: &mut Parameters, name: &str, text: &str) {
    parameters.set(name, text, Source::File).expect("a value within the catalogue's range");
}

fn put(overrides: &mut Overrides, name: &str, text: &str) {
    overrides.set(name, text).expect("a value that a gateway may have");
}
