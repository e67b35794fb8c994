//! `[limits]`: what the whole node admits, and what strangers may send.

use crate::config::NodeLimits;
use crate::section::{Section, whole};
use crate::sections::{CALLS, CPS};
use crate::values::duration;
use std::ops::RangeInclusive;
use tandem_switch::admission::{Allowance, BAN_MAX_OFFENCES, BanRules};
use tandem_switch::gateway::SourceLimits;

/// Bounds of every limit on messages per second.
const MESSAGES: RangeInclusive<u32> = 1..=100_000;

/// Bounds of the time in which bad messages are counted, in seconds.
const BAN_WINDOW: RangeInclusive<u32> = 1..=3_600;

/// Bounds of a ban's length, in seconds.
const BAN_TIME: RangeInclusive<u32> = 1..=86_400;

/// `[limits]`.
pub(crate) fn limits(root: &mut Section) -> NodeLimits {
    let mut limits = NodeLimits::default();
    let Some(mut section) = root.section("limits") else {
        return limits;
    };
    if let Some(max_calls) = section.read("max_calls", whole(CALLS, "calls")) {
        limits.max_calls = max_calls.value;
    }
    limits.cps = section.read("cps", whole(CPS, "calls/s")).map(|spot| spot.value);
    limits.strangers = strangers(&mut section, limits.strangers);
    root.adopt(section);
    limits
}

/// `stranger_rate` and the `ban_…` keys, over their defaults.
fn strangers(section: &mut Section, defaults: Allowance) -> Allowance {
    let messages = section.read("stranger_rate", whole(MESSAGES, "messages/s"));
    let after = section.read("ban_after", whole(0..=BAN_MAX_OFFENCES, "messages"));
    let window = section.read("ban_window", duration(BAN_WINDOW));
    let time = section.read("ban_time", duration(BAN_TIME));
    let ban = defaults.ban.map(|rules| BanRules {
        after: after.map_or(rules.after, |spot| spot.value),
        window: window.map_or(rules.window, |spot| spot.value),
        time: time.map_or(rules.time, |spot| spot.value),
    });
    Allowance {
        messages: messages.map(|spot| spot.value).or(defaults.messages),
        ban: ban.filter(|rules| rules.after > 0),
        ..defaults
    }
}

/// A mapping gateway's `source_rate` and `source_cps`.
pub(crate) fn per_source(section: &mut Section) -> SourceLimits {
    SourceLimits {
        messages: section.read("source_rate", whole(MESSAGES, "messages/s")).map(|spot| spot.value),
        cps: section.read("source_cps", whole(CPS, "calls/s")).map(|spot| spot.value),
    }
}
