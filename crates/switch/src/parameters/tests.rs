use super::*;
use std::time::Duration;

/// The contract: name, default, range, unit, per gateway.
const CONTRACT: [(&str, &str, &str, &str, bool); 35] = [
    ("SS_SIP_RESEND_INTERVAL", "0.5,1,2,4,4,4,4,4,4,4", "1 to 10 decimals of 0.1–60", "s", false),
    ("SS_SIP_SEND_RETRY", "10", "0–10", "count", false),
    ("SS_SIP_TIMEOUT_INVITE", "10", "1–120", "s", true),
    ("SS_SIP_TIMEOUT_TRYING", "20", "1–120", "s", false),
    ("SS_SIP_TIMEOUT_RINGING", "120", "1–600", "s", false),
    ("SS_SIP_TIMEOUT_SESSION_PROGRESS", "20", "1–600", "s", false),
    ("SS_SIP_STOP_SWITCH_AFTER_SDP", "On", "On/Off", "", true),
    ("SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT", "Off", "On/Off", "", true),
    ("SS_SIP_SESSION_TTL", "600", "60–86400", "s", true),
    ("SS_SIP_SESSION_UPDATE_SEGMENT", "2", "2–10", "count", false),
    ("SS_SIP_SESSION_REFRESH_SCHEDULE", "divide", "divide/late", "", false),
    ("SS_SIP_SESSION_TIMEOUT_EARLY_HANGUP", "0", "0–3600", "s", false),
    ("SS_SIP_SESSION_EARLY_HANGUP_MODE", "grace", "grace/margin", "", false),
    ("SS_SIP_SESSION_MIN_SE", "90", "90–3600", "s", false),
    ("SS_SIP_NO_TIMER_REINVITE_INTERVAL", "7200", "0–86400", "s", true),
    ("SS_SIP_NO_TIMER_ACTION", "hangup", "hangup/probe", "", false),
    ("SS_SIP_PUBLISH_EXPIRE", "3600", "30–7200", "s", true),
    ("SS_SIP_100REL", "Off", "Off/Supported/Required", "", true),
    ("SS_SIP_NAT_KEEP_ALIVE_MESSAGE", "HELLO", "text ≤ 512 bytes", "", false),
    ("SS_SIP_NAT_KEEP_ALIVE_PERIOD", "30", "10–86400", "s", false),
    ("SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL", "500", "1–10000", "ms", false),
    ("SS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME", "3000", "1–10000", "count", false),
    ("SS_GATEWAY_SWITCH_LIMIT", "None", "None or ≥ 1", "", false),
    ("SS_GATEWAY_SWITCH_UNTIL_CONNECT", "Off", "On/Off", "", true),
    ("SS_GATEWAY_SWITCH_STOP_AFTER_RTP_START", "On", "On/Off", "", true),
    ("SS_GATEWAY_SWITCH_STOP_AFTER_USER_BUSY", "On", "On/Off", "", false),
    ("SS_SETUP_TIMEOUT", "None", "None or 1–3600", "s", false),
    ("SS_MAX_CALL_DURATION", "None", "None or ≥ 1", "s", true),
    ("SS_NOMEDIAHANGUPTIME", "0", "0–3600", "s", true),
    ("SS_NOMEDIA_DIRECTION", "both", "both/either", "", false),
    ("SS_ENDPOINT_EXPIRE", "300,3600", "60–86400", "s", false),
    ("SS_ENDPOINT_NAT_EXPIRE", "300", "30–86400", "s", false),
    ("SS_MEDIA_PROXY_BEHIND_NAT", "On", "On/Off", "", false),
    ("SS_MEDIA_PROXY", "Auto", "Auto/On/Off", "", true),
    ("SS_CDR_RECORD_NONCONNECT", "Off", "On/Off", "", false),
];

fn refusal(name: &str, text: &str) -> String {
    let mut parameters = Parameters::default();
    let error = parameters.set(name, text, Source::File).expect_err("a refused value").to_string();
    assert_eq!(parameters, Parameters::default(), "a refused value changes nothing");
    error
}

fn set(settings: &[(&str, &str)]) -> Parameters {
    let mut parameters = Parameters::default();
    for (name, text) in settings {
        parameters.set(name, text, Source::File).expect("an allowed value");
    }
    parameters
}

fn overrides(settings: &[(&str, &str)]) -> Overrides {
    let mut overrides = Overrides::default();
    for (name, text) in settings {
        overrides.set(name, text).expect("an allowed override");
    }
    overrides
}

/// The value of a parameter as it is listed.
fn listed(parameters: &Parameters, name: &str) -> Effective {
    parameters.effective().into_iter().find(|row| row.name() == name).expect("in the catalogue")
}

#[test]
fn the_catalogue_is_the_contract() {
    let rows: Vec<_> = CATALOGUE
        .iter()
        .map(|row| {
            (
                row.name,
                row.default_value(),
                row.range.to_string(),
                row.unit.to_string(),
                row.per_gateway.allowed(),
            )
        })
        .collect();
    let contract = CONTRACT.map(|(name, default, range, unit, gateway)| {
        (name, default.to_owned(), range.to_owned(), unit.to_owned(), gateway)
    });
    assert_eq!(rows, contract);
}

#[test]
fn every_default_is_in_its_own_range() {
    for row in CATALOGUE {
        let mut parameters = Parameters::default();
        parameters.set(row.name, &row.default_value(), Source::File).expect("a default");
        let value = listed(&parameters, row.name);
        assert!(value.is_default && value.source == Source::File, "{}", row.name);
    }
}

#[test]
fn both_ends_of_a_range_are_inside_and_their_neighbours_outside() {
    let whole = CATALOGUE.iter().filter_map(|row| match row.range {
        Range::Whole { min, max } => Some((row.name, i64::from(min), i64::from(max))),
        Range::NoneOr { min, max: Some(max), .. } => Some((row.name, i64::from(min), i64::from(max))),
        Range::NoneOr { max: None, .. }
        | Range::OnOff
        | Range::Words(_)
        | Range::Decimals { .. }
        | Range::Text { .. } => None,
    });
    for (name, min, max) in whole {
        set(&[(name, &min.to_string()), (name, &max.to_string())]);
        for outside in [min - 1, max + 1] {
            assert!(refusal(name, &outside.to_string()).contains("is out of range"), "{name} = {outside}");
        }
    }
}

#[test]
fn a_refusal_names_the_parameter_the_value_the_range_and_the_unit() {
    let texts = [
        ("SS_SIP_SESSION_TTL", "5", "SS_SIP_SESSION_TTL = 5 is out of range 60–86400 s"),
        ("SS_SIP_SESSION_TTL", "-3", "SS_SIP_SESSION_TTL = -3 is out of range 60–86400 s"),
        (
            "SS_SIP_SESSION_TTL",
            "99999999999999999999",
            "SS_SIP_SESSION_TTL = 99999999999999999999 is out of range 60–86400 s",
        ),
        ("SS_SIP_SESSION_TTL", "soon", "SS_SIP_SESSION_TTL = soon is not a whole number (60–86400 s)"),
        ("SS_SIP_SESSION_TTL", "", "SS_SIP_SESSION_TTL = \"\" is not a whole number (60–86400 s)"),
        ("SS_SIP_SESSION_TTL", "90.5", "SS_SIP_SESSION_TTL = 90.5 is not a whole number (60–86400 s)"),
        ("SS_SIP_SEND_RETRY", "11", "SS_SIP_SEND_RETRY = 11 is out of range 0–10, count"),
        (
            "SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL",
            "0",
            "SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL = 0 is out of range 1–10000 ms",
        ),
        ("SS_SIP_100REL", "Maybe", "SS_SIP_100REL = Maybe is out of range Off/Supported/Required"),
        ("SS_SIP_STOP_SWITCH_AFTER_SDP", "1", "SS_SIP_STOP_SWITCH_AFTER_SDP = 1 is not a switch (On/Off)"),
        ("SS_MAX_CALL_DURATION", "0", "SS_MAX_CALL_DURATION = 0 is out of range None or ≥ 1 s"),
        (
            "SS_SETUP_TIMEOUT",
            "never",
            "SS_SETUP_TIMEOUT = never is not None or a whole number (None or 1–3600 s)",
        ),
        (
            "SS_SIP_RESEND_INTERVAL",
            "1,2,3,4,5,6,7,8,9,10,11",
            "SS_SIP_RESEND_INTERVAL = 1,2,3,4,5,6,7,8,9,10,11 is out of range 1 to 10 decimals of 0.1–60 s",
        ),
        (
            "SS_SIP_RESEND_INTERVAL",
            "0.5,0.05",
            "SS_SIP_RESEND_INTERVAL = 0.5,0.05 is out of range 1 to 10 decimals of 0.1–60 s",
        ),
        (
            "SS_SIP_RESEND_INTERVAL",
            "0.5,,1",
            "SS_SIP_RESEND_INTERVAL = 0.5,,1 is not a list of decimals (1 to 10 decimals of 0.1–60 s)",
        ),
        (
            "SS_ENDPOINT_EXPIRE",
            "600,300",
            "SS_ENDPOINT_EXPIRE = 600,300 is not a whole number, or a default and a cap not below it (60–86400 s)",
        ),
        (
            "SS_SIP_SESION_TTL",
            "600",
            "SS_SIP_SESION_TTL is not a parameter; did you mean SS_SIP_SESSION_TTL?",
        ),
        ("SESSIONS", "600", "SESSIONS is not a parameter"),
    ];
    for (name, text, message) in texts {
        assert_eq!(refusal(name, text), message);
    }
    let long = refusal("SS_SIP_NAT_KEEP_ALIVE_MESSAGE", &"x".repeat(513));
    assert!(long.ends_with("xxx… is out of range text ≤ 512 bytes"), "{long}");
}

#[test]
fn values_read_as_operators_write_them() {
    let read = [
        ("SS_SIP_STOP_SWITCH_AFTER_SDP", "off", "Off"),
        ("SS_SIP_STOP_SWITCH_AFTER_SDP", "false", "Off"),
        ("SS_GATEWAY_SWITCH_UNTIL_CONNECT", "True", "On"),
        ("SS_SIP_100REL", "supported", "Supported"),
        ("SS_SIP_100REL", "false", "Off"),
        ("SS_MEDIA_PROXY", "true", "On"),
        ("SS_GATEWAY_SWITCH_LIMIT", "0", "None"),
        ("SS_GATEWAY_SWITCH_LIMIT", "none", "None"),
        ("SS_GATEWAY_SWITCH_LIMIT", "3", "3"),
        ("SS_MAX_CALL_DURATION", " 3600 ", "3600"),
        ("SS_SIP_RESEND_INTERVAL", "0.5, 1.250 ,3", "0.5,1.25,3"),
        ("SS_SIP_NAT_KEEP_ALIVE_MESSAGE", "", ""),
        ("SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL", "20", "20"),
        ("SS_ENDPOINT_EXPIRE", "600", "600,3600"),
        ("SS_ENDPOINT_EXPIRE", "7200", "7200,7200"),
        ("SS_ENDPOINT_EXPIRE", "120,600", "120,600"),
    ];
    for (name, text, value) in read {
        assert_eq!(listed(&set(&[(name, text)]), name).value, value, "{name} = {text}");
    }
    assert_eq!(
        set(&[("SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL", "20")]).keep_alive_send_interval,
        Duration::from_millis(20)
    );
}

#[test]
fn the_listing_says_where_a_value_comes_from() {
    let mut parameters = set(&[("SS_SIP_SESSION_TTL", "900")]);
    parameters.set("SS_SIP_100REL", "Required", Source::Environment).expect("an allowed value");
    let sources: Vec<_> = parameters
        .effective()
        .iter()
        .filter(|row| row.source != Source::Default || !row.is_default)
        .map(|row| format!("{} = {} {} ({})", row.name(), row.value, row.unit(), row.source))
        .collect();
    assert_eq!(sources, ["SS_SIP_SESSION_TTL = 900 s (file)", "SS_SIP_100REL = Required  (environment)"]);
}

#[test]
fn send_retry_follows_the_number_of_intervals_unless_set() {
    let parameters = set(&[("SS_SIP_RESEND_INTERVAL", "0.5,1,2")]);
    assert_eq!(listed(&parameters, "SS_SIP_SEND_RETRY").value, "3");
    assert_eq!(parameters.resend_schedule().resends(), 3);
    let capped = set(&[("SS_SIP_RESEND_INTERVAL", "0.5,1,2"), ("SS_SIP_SEND_RETRY", "2")]);
    assert_eq!(capped.resend_schedule().resends(), 2);
    let beyond = set(&[("SS_SIP_RESEND_INTERVAL", "0.5,1,2"), ("SS_SIP_SEND_RETRY", "9")]);
    assert_eq!(beyond.resend_schedule().resends(), 3);
    assert_eq!(Parameters::default().resend_schedule(), Default::default());
}

#[test]
fn only_gateway_parameters_can_be_overridden() {
    let refused: Vec<_> = CATALOGUE
        .iter()
        .filter(|row| Overrides::default().set(row.name, &row.default_value()).is_err())
        .map(|row| row.name)
        .collect();
    let own = CONTRACT.iter().filter(|row| !row.4).map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(refused, own);
    let error = Overrides::default().set("SS_SIP_TIMEOUT_TRYING", "5").expect_err("not per gateway");
    assert_eq!(error.to_string(), "SS_SIP_TIMEOUT_TRYING cannot be overridden per gateway");
}

#[test]
fn leg_a_takes_the_mapping_gateways_override_and_leg_b_the_routing_gateways() {
    let system = set(&[
        ("SS_MAX_CALL_DURATION", "3600"),
        ("SS_SIP_TIMEOUT_INVITE", "6"),
        ("SS_GATEWAY_SWITCH_LIMIT", "3"),
        ("SS_CDR_RECORD_NONCONNECT", "On"),
        ("SS_SIP_100REL", "Supported"),
    ]);
    let call = system.call(&overrides(&[("SS_MAX_CALL_DURATION", "1800"), ("SS_SIP_100REL", "Required")]));
    assert_eq!(call.reliable_provisionals, ReliableProvisionals::Required);
    assert_eq!(call.max_duration, Some(Duration::from_secs(1800)));
    assert_eq!((call.switch_limit, call.record_nonconnect), (Some(3), true));
    assert_eq!(call.trying_timeout, Duration::from_secs(20));

    let vendor = overrides(&[
        ("SS_MAX_CALL_DURATION", "None"),
        ("SS_SIP_TIMEOUT_INVITE", "3"),
        ("SS_SIP_STOP_SWITCH_AFTER_SDP", "Off"),
        ("SS_SIP_USER_AGENT_STOP_SWITCH_AFTER_INVITE_TIMEOUT", "On"),
        ("SS_GATEWAY_SWITCH_UNTIL_CONNECT", "On"),
        ("SS_GATEWAY_SWITCH_STOP_AFTER_RTP_START", "Off"),
    ]);
    let attempt = system.attempt(&vendor, vec![404, 403, 404]);
    let expected = AttemptParameters {
        invite_timeout: Duration::from_secs(3),
        stop_after_sdp: false,
        stop_after_invite_timeout: true,
        stop_after_rtp_start: false,
        until_connect: true,
        max_duration: None,
        stop_codes: vec![403, 404],
        ..system.attempt(&Overrides::default(), Vec::new())
    };
    assert_eq!(attempt.reliable_provisionals, ReliableProvisionals::Supported);
    assert_eq!(attempt, expected);
}

#[test]
fn an_absent_override_means_the_system_value() {
    let system = set(&[("SS_SIP_TIMEOUT_INVITE", "6"), ("SS_MAX_CALL_DURATION", "60")]);
    let attempt = system.attempt(&overrides(&[("SS_SIP_SESSION_TTL", "900")]), Vec::new());
    assert_eq!(attempt.invite_timeout, Duration::from_secs(6));
    assert_eq!(attempt.max_duration, Some(Duration::from_secs(60)));
    assert_eq!(system.with(&Overrides::default()), system);
}

#[test]
fn doubtful_values_warn() {
    let warned = |settings: &[(&str, &str)]| -> Vec<String> {
        let mut all = vec![("SS_GATEWAY_SWITCH_LIMIT", "3")];
        all.extend_from_slice(settings);
        set(&all).warnings().iter().map(ToString::to_string).collect()
    };
    assert!(warned(&[]).is_empty());
    assert_eq!(
        warned(&[("SS_GATEWAY_SWITCH_LIMIT", "None")]),
        ["SS_GATEWAY_SWITCH_LIMIT = None lets a call try every gateway that matches"]
    );
    assert_eq!(
        warned(&[("SS_SIP_NO_TIMER_REINVITE_INTERVAL", "1799")]),
        ["SS_SIP_NO_TIMER_REINVITE_INTERVAL = 1799 s is below 3 × SS_SIP_SESSION_TTL (600 s)"]
    );
    assert!(warned(&[("SS_SIP_NO_TIMER_REINVITE_INTERVAL", "1800")]).is_empty());
    assert!(warned(&[("SS_SIP_NO_TIMER_REINVITE_INTERVAL", "0")]).is_empty(), "off");
    assert_eq!(
        warned(&[("SS_SIP_NAT_KEEP_ALIVE_PERIOD", "61")]),
        ["SS_SIP_NAT_KEEP_ALIVE_PERIOD = 61 s is above a fifth of SS_ENDPOINT_NAT_EXPIRE (300 s)"]
    );
    let off = [("SS_SIP_NAT_KEEP_ALIVE_PERIOD", "61"), ("SS_SIP_NAT_KEEP_ALIVE_MESSAGE", "")];
    assert!(warned(&off).is_empty());
    assert_eq!(
        warned(&[("SS_MEDIA_PROXY", "Off"), ("SS_NOMEDIAHANGUPTIME", "60")]),
        [
            "SS_NOMEDIAHANGUPTIME cannot apply, since it needs the relay and SS_MEDIA_PROXY = Off",
            "SS_GATEWAY_SWITCH_STOP_AFTER_RTP_START cannot apply, since it needs the relay and SS_MEDIA_PROXY = Off",
        ]
    );
    assert_eq!(
        warned(&[("SS_SIP_SESSION_TTL", "60"), ("SS_SIP_SESSION_MIN_SE", "120")]),
        ["SS_SIP_SESSION_TTL = 60 s is raised to 120 s, the smallest Session-Expires that is accepted"]
    );
}
