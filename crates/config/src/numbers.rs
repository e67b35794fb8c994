//! What gateways do to numbers, statuses and headers.

use crate::error::{ConfigError, Problem};
use crate::section::{Section, text, whole};
use crate::tree::Node;
use regex::Regex;
use std::collections::BTreeMap;
use tandem_sip::MethodSet;
use tandem_switch::gateway::{NumberRules, PASSABLE, PASSED};

/// The most characters of a prefix, and of what `strip` and `prepend` change: twice an E.164 number.
const MAX_DIGITS: u32 = 32;

/// Headers of the dialog, the transaction and the leg's own negotiations, with their compact forms: the switch writes
/// them itself.
const OWN_HEADERS: [&str; 36] = [
    "Via",
    "v",
    "From",
    "f",
    "To",
    "t",
    "Call-ID",
    "i",
    "CSeq",
    "Contact",
    "m",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Content-Length",
    "l",
    "Content-Type",
    "c",
    "Content-Encoding",
    "e",
    "Require",
    "Proxy-Require",
    "Supported",
    "k",
    "Unsupported",
    "Allow",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Session-Expires",
    "x",
    "Min-SE",
    "RSeq",
    "RAck",
    "Retry-After",
];

/// `strip`, `prepend` and `rewrite`.
pub(crate) fn number_rules(gateway: &mut Section) -> NumberRules {
    let strip = gateway.read("strip", whole(0..=MAX_DIGITS, "characters"));
    let prepend = gateway.read("prepend", |node| {
        dialled(node, "at most 32 digits, '+', '*' or '#' to put in front of numbers")
    });
    let mut rewrite = Vec::new();
    for mut rule in gateway.sections("rewrite") {
        let pattern = rule.need("match", "a regular expression", |node| {
            Regex::new(&text(node)?).map_err(|error| Problem::Pattern { reason: last_line(&error) })
        });
        let replacement = rule.need("replace", "a replacement such as +44$1", text);
        if let (Some(pattern), Some(replacement)) = (pattern, replacement) {
            match unknown_group(&pattern.value, &replacement.value) {
                Some(group) => rule.report(replacement.error(Problem::UnknownGroup { group })),
                None => rewrite.push((pattern.value, replacement.value)),
            }
        }
        gateway.adopt(rule);
    }
    NumberRules {
        strip: strip.and_then(|spot| usize::try_from(spot.value).ok()).unwrap_or_default(),
        prepend: prepend.map(|spot| spot.value).unwrap_or_default(),
        rewrite,
    }
}

/// The engine's message spans lines with a drawing of the pattern; what is wrong stands on the last.
fn last_line(error: &regex::Error) -> String {
    let message = error.to_string();
    let line = message.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// A group that the replacement refers to and the pattern lacks; the engine would put nothing in its place. References
/// are read as the `regex` crate reads them: `$$` is a dollar sign, `${…}` a group, and `$` takes the longest name.
fn unknown_group(pattern: &Regex, replacement: &str) -> Option<String> {
    let mut rest = replacement;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let group = match rest.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some((name, _)) => name,
            None => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                &rest[..end]
            }
        };
        let known = match group.parse::<usize>() {
            Ok(index) => index < pattern.captures_len(),
            Err(_) => group.is_empty() || pattern.capture_names().flatten().any(|name| name == group),
        };
        if !known {
            return Some(group.to_owned());
        }
    }
    None
}

/// Text that can be part of a dialled number.
pub(crate) fn dialled(node: Node, expected: &'static str) -> Result<String, Problem> {
    let number = text(node)?;
    let fits = u32::try_from(number.len()).is_ok_and(|length| length <= MAX_DIGITS);
    if fits && number.bytes().all(|byte| byte.is_ascii_digit() || b"+*#".contains(&byte)) {
        Ok(number)
    } else {
        Err(Problem::NotA { expected })
    }
}

/// `cause_map`: a failed call's status, and the one its caller gets instead.
pub(crate) fn cause_map(gateway: &mut Section) -> BTreeMap<u16, u16> {
    let mut map = BTreeMap::new();
    let Some(mut section) = gateway.section("cause_map") else {
        return map;
    };
    for (from, node) in section.take_all() {
        let (key, shown) = (section.key(&from), node.value.shown());
        let place = node.place.clone();
        let to = section.read_node(key.clone(), shown, node, failure);
        let from = from.parse().ok().filter(|from| FAILURES.contains(from));
        match (from, to) {
            (Some(from), Some(to)) => {
                map.insert(from, to.value);
            }
            (None, _) => {
                let problem = Problem::NotA { expected: "a failure status, 300–699" };
                section.report(ConfigError { place, key, value: None, problem });
            }
            (Some(_), None) => {}
        }
    }
    gateway.adopt(section);
    map
}

const FAILURES: std::ops::RangeInclusive<u16> = 300..=699;

/// A status that is a failure, 300–699.
fn failure(node: Node) -> Result<u16, Problem> {
    let (min, max) = (u32::from(*FAILURES.start()), u32::from(*FAILURES.end()));
    let status = whole(min..=max, "")(node)?;
    u16::try_from(status).map_err(|_| Problem::OutOfRange { min, max, unit: "" })
}

/// `stop_switching_response_code`.
pub(crate) fn stop_codes(gateway: &mut Section) -> Vec<u16> {
    let code = |node| match failure(node)? {
        408 | 503 => Err(Problem::NeverEndsHunt),
        code => Ok(code),
    };
    let codes = gateway.read_list("stop_switching_response_code", code).unwrap_or_default();
    codes.into_iter().map(|spot| spot.value).collect()
}

/// `pass_headers`.
pub(crate) fn pass_headers(gateway: &mut Section) -> Vec<String> {
    let header = |node| {
        let header = text(node)?;
        // A token (RFC 3261 §25.1), but for the characters that look like a wildcard.
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._!%+`'~".contains(&byte);
        if header.is_empty() || !header.bytes().all(in_name) {
            Err(Problem::NotA { expected: "a header's name (wildcards are not known)" })
        } else if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(&header)) {
            Err(Problem::OwnHeader)
        } else {
            Ok(header)
        }
    };
    let headers = gateway.read_list("pass_headers", header).unwrap_or_default();
    headers.into_iter().map(|spot| spot.value).collect()
}

/// `pass_methods`; unless set, INFO.
pub(crate) fn pass_methods(gateway: &mut Section) -> MethodSet {
    let method = |node| {
        let name = text(node)?;
        PASSABLE
            .into_iter()
            .find(|method| tandem_sip::method::name(*method) == name)
            .ok_or(Problem::NotA { expected: "a method that can be passed, INFO or MESSAGE" })
    };
    match gateway.read_list("pass_methods", method) {
        Some(methods) => MethodSet::of(&methods.iter().map(|spot| spot.value).collect::<Vec<_>>()),
        None => PASSED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_the_engine_reads_them() {
        let pattern = Regex::new(r"^(\d)(?<rest>\d+)$").expect("a pattern");
        for known in ["$1", "${1}a", "$rest", "${rest}9", "$$5", "a$", "$0", "$-", "+$1-$2"] {
            assert_eq!(unknown_group(&pattern, known), None, "{known}");
        }
        for (unknown, group) in [("$3", "3"), ("$1a", "1a"), ("x${other}", "other"), ("$1$$$9", "9")] {
            assert_eq!(unknown_group(&pattern, unknown).as_deref(), Some(group), "{unknown}");
        }
    }
}
