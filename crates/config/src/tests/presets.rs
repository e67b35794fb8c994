use super::*;
use crate::{init_text, presets};

/// The table operators expect.
const TABLE: [(&str, [&str; 7]); 6] = [
    ("wholesale", ["600", "2", "3600", "30", "3", "60", "Supported"]),
    ("call-center", ["900", "3", "14400", "20", "3", "120", "Supported"]),
    ("unstable-network", ["300", "2", "3600", "15", "3", "90", "Supported"]),
    ("enterprise-pbx", ["1200", "2", "28800", "30", "3", "60", "Off"]),
    ("high-security", ["180", "2", "1800", "10", "2", "60", "Supported"]),
    ("retail-prepaid", ["600", "2", "7200", "30", "2", "90", "Supported"]),
];

const COLUMNS: [&str; 7] = [
    "SS_SIP_SESSION_TTL",
    "SS_SIP_SESSION_UPDATE_SEGMENT",
    "SS_SIP_NO_TIMER_REINVITE_INTERVAL",
    "SS_SIP_NAT_KEEP_ALIVE_PERIOD",
    "SS_GATEWAY_SWITCH_LIMIT",
    "SS_NOMEDIAHANGUPTIME",
    "SS_SIP_100REL",
];

#[test]
fn presets_have_the_values_of_the_table_and_the_defaults_otherwise() {
    let names: Vec<_> = presets().iter().map(|preset| preset.name).collect();
    assert_eq!(names, TABLE.map(|(name, _)| name));
    for (name, values) in TABLE {
        let config = load(&init_text(name).expect("a preset"));
        for row in config.parameters.effective() {
            match COLUMNS.iter().position(|column| *column == row.name()) {
                Some(column) => assert_eq!(row.value, values[column], "{name} {}", row.name()),
                None => assert!(row.is_default, "{name} {}", row.name()),
            }
        }
    }
    assert_eq!(init_text("wholesail"), None);
}

#[test]
fn presets_load_without_a_warning() {
    for preset in presets() {
        assert_eq!(warnings(&preset.text()), [""; 0], "{}", preset.name);
    }
}

#[test]
fn what_a_preset_comments_out_is_right_too() {
    for preset in presets() {
        let text: String = preset
            .text()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if key.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[') => {
                    format!("{key}\n")
                }
                Some(_) | None => format!("{line}\n"),
            })
            .collect();
        let config = load(&text.replace("SS_GATEWAY_SWITCH_LIMIT = \"None\"", ""));
        let vendor = &config.routing_gateways[0];
        assert!(
            vendor.gateway.account.is_some()
                && vendor.gateway.health.probe_interval.is_some()
                && vendor.gateway.disabled
        );
        assert_eq!(vendor.gateway.number_rules.apply("2071"), "90112071");
        assert_eq!(config.mapping_gateways[0].gateway.number_rules.apply("0002071"), "+442071");
    }
}

#[test]
fn presets_fit_a_screen() {
    for preset in presets() {
        let text = preset.text();
        let long = text.lines().find(|line| line.chars().count() > 120);
        assert_eq!(long, None, "{}", preset.name);
    }
}

#[test]
fn a_preset_lists_every_parameter() {
    for preset in presets() {
        let text = preset.text();
        for row in tandem_switch::parameters::CATALOGUE {
            let line = format!("{} = ", row.name);
            let listed = |found: &str| found.strip_prefix('#').unwrap_or(found).starts_with(&line);
            assert_eq!(text.lines().filter(|found| listed(found)).count(), 1, "{}", row.name);
        }
    }
}
