//! Configurations to start from.

use std::fmt::Write;
use tandem_switch::parameters::{CATALOGUE, Definition};

/// A kind of operation, with the parameters that suit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// What `tandem init --preset` calls it.
    pub name: &'static str,
    /// Whom it is for, in one line.
    pub summary: &'static str,
    session_ttl: u32,
    segment: u32,
    no_timer: u32,
    nat_period: u32,
    switch_limit: u32,
    no_media: u32,
    reliable_provisionals: &'static str,
}

/// Everything but the head and the parameters is the same in all presets.
const SECTIONS: &str = include_str!("presets/sections.toml");

const PRESETS: [Preset; 6] = [
    Preset {
        name: "wholesale",
        summary: "carriers trading minutes: untimed calls end after an hour, up to three switches",
        session_ttl: 600,
        segment: 2,
        no_timer: 3600,
        nat_period: 30,
        switch_limit: 3,
        no_media: 60,
        reliable_provisionals: "Supported",
    },
    Preset {
        name: "call-center",
        summary: "agents with long calls and long holds",
        session_ttl: 900,
        segment: 3,
        no_timer: 14_400,
        nat_period: 20,
        switch_limit: 3,
        no_media: 120,
        reliable_provisionals: "Supported",
    },
    Preset {
        name: "unstable-network",
        summary: "links that lose packets: dead calls are found early, short silences are forgiven",
        session_ttl: 300,
        segment: 2,
        no_timer: 3600,
        nat_period: 15,
        switch_limit: 3,
        no_media: 90,
        reliable_provisionals: "Supported",
    },
    Preset {
        name: "enterprise-pbx",
        summary: "a company's PBX: few refreshes, calls of up to eight hours, no PRACK",
        session_ttl: 1200,
        segment: 2,
        no_timer: 28_800,
        nat_period: 30,
        switch_limit: 3,
        no_media: 60,
        reliable_provisionals: "Off",
    },
    Preset {
        name: "high-security",
        summary: "a call that nobody confirms lives for minutes only",
        session_ttl: 180,
        segment: 2,
        no_timer: 1800,
        nat_period: 10,
        switch_limit: 2,
        no_media: 60,
        reliable_provisionals: "Supported",
    },
    Preset {
        name: "retail-prepaid",
        summary: "prepaid callers: two switches at most, so that nobody waits long",
        session_ttl: 600,
        segment: 2,
        no_timer: 7200,
        nat_period: 30,
        switch_limit: 2,
        no_media: 90,
        reliable_provisionals: "Supported",
    },
];

/// All presets, in the order they are offered in.
pub fn presets() -> &'static [Preset] {
    &PRESETS
}

/// The commented configuration file of a preset; `None` if there is none of that name.
pub fn init_text(name: &str) -> Option<String> {
    PRESETS.iter().find(|preset| preset.name == name).map(Preset::text)
}

impl Preset {
    /// The parameters that the preset sets, as a configuration writes them.
    pub fn values(&self) -> [(&'static str, String); 7] {
        [
            ("SS_SIP_SESSION_TTL", self.session_ttl.to_string()),
            ("SS_SIP_SESSION_UPDATE_SEGMENT", self.segment.to_string()),
            ("SS_SIP_NO_TIMER_REINVITE_INTERVAL", self.no_timer.to_string()),
            ("SS_SIP_NAT_KEEP_ALIVE_PERIOD", self.nat_period.to_string()),
            ("SS_GATEWAY_SWITCH_LIMIT", self.switch_limit.to_string()),
            ("SS_NOMEDIAHANGUPTIME", self.no_media.to_string()),
            ("SS_SIP_100REL", self.reliable_provisionals.to_owned()),
        ]
    }

    /// The commented configuration file: sections, example gateways, and every parameter, those that the preset leaves
    /// alone commented out with their defaults.
    pub fn text(&self) -> String {
        let mut text = format!("# tandem, preset {}: {}.\n#\n{SECTIONS}", self.name, self.summary);
        let values = self.values();
        for row in CATALOGUE {
            let (off, value) = match values.iter().find(|(name, _)| *name == row.name) {
                Some((_, value)) => ("", value.clone()),
                None => ("#", row.default_value()),
            };
            text.push('\n');
            describe(&mut text, row);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{off}{} = {}", row.name, toml_value(&value));
        }
        text
    }
}

/// The comment above a parameter.
fn describe(text: &mut String, row: &Definition) {
    let unit = match row.unit.symbol() {
        "" => String::new(),
        symbol => format!(" {symbol}"),
    };
    let gateway = if row.per_gateway.allowed() { ", also per gateway" } else { "" };
    let idle = if row.acted_on { "" } else { " Not acted on in this release." };
    let (what, range, default) = (row.description, row.range, row.default_value());
    let _ = writeln!(text, "# {what}{idle}\n# {range}{unit}, default {default}{gateway}.");
}

fn toml_value(value: &str) -> String {
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        value.to_owned()
    } else {
        format!("\"{value}\"")
    }
}
