//! Sections that a later release acts on: their keys and types are checked, and then they are refused.

use crate::error::{Feature, Problem};
use crate::section::{Section, decimal, text};
use crate::tree::Node;

/// Refuses each of them that holds anything.
pub(crate) fn refuse(root: &mut Section) {
    one(root, "media", Feature::MediaRelay, |section| {
        section.read("bind", text);
        section.read("advertise", text);
        section.read("ports", ports);
    });
    one(root, "telemetry", Feature::Traces, |section| {
        section.read("otlp_endpoint", text);
        section.read("sampling", decimal);
    });
}

fn one(root: &mut Section, key: &'static str, feature: Feature, read: impl FnOnce(&mut Section)) {
    let Some(mut section) = root.section(key) else {
        return;
    };
    // An empty section asks for nothing.
    if !section.is_empty() {
        read(&mut section);
        section.refuse(feature);
    }
    root.adopt(section);
}

/// A range of ports, `20000-29999`.
fn ports(node: Node) -> Result<(u16, u16), Problem> {
    text(node)?
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
        .filter(|(first, last)| *first > 0 && first <= last)
        .ok_or(Problem::NotA { expected: "a range of ports such as 20000-29999" })
}
