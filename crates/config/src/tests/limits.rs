use super::*;
use std::time::Duration;
use tandem_switch::admission::BanRules;
use tandem_switch::gateway::SourceLimits;

#[test]
fn strangers_have_limits_unless_they_are_changed() {
    let strangers = load("").limits.strangers;
    let rules = BanRules { after: 50, window: Duration::from_secs(60), time: Duration::from_secs(300) };
    assert_eq!((strangers.stranger, strangers.messages, strangers.ban), (true, Some(100), Some(rules)));
    let text = "[limits]\nstranger_rate = 7\nban_after = 3\nban_window = \"10s\"\nban_time = \"1h\"";
    let strangers = load(text).limits.strangers;
    let rules = BanRules { after: 3, window: Duration::from_secs(10), time: Duration::from_secs(3600) };
    assert_eq!((strangers.messages, strangers.ban), (Some(7), Some(rules)));
}

#[test]
fn ban_after_0_bans_nobody() {
    let strangers = load("[limits]\nban_after = 0\nban_time = \"1h\"").limits.strangers;
    assert_eq!((strangers.messages, strangers.ban), (Some(100), None));
}

#[test]
fn each_address_of_a_mapping_gateway_can_have_limits() {
    let unlimited = &load(&mapping("")).mapping_gateways[0].gateway;
    assert_eq!(unlimited.per_source, SourceLimits::default());
    let limited = &load(&mapping("source_rate = 500\nsource_cps = 5")).mapping_gateways[0].gateway;
    assert_eq!(limited.per_source, SourceLimits { messages: Some(500), cps: Some(5) });
}

#[test]
fn limits_out_of_range_are_told_with_range_and_unit() {
    let cases = [
        ("stranger_rate = 0", "limits.stranger_rate = 0: out of range 1–100000 messages/s"),
        ("ban_after = 10001", "limits.ban_after = 10001: out of range 0–10000 messages"),
        ("ban_window = \"2h\"", "limits.ban_window = \"2h\": out of range 1–3600 s"),
        ("ban_time = \"never\"", "limits.ban_time = \"never\": is not a duration such as 30s"),
    ];
    for (line, message) in cases {
        assert_eq!(errors(&format!("[limits]\n{line}")), [format!("tandem.toml:2: {message}")]);
    }
    let wrong = errors(&mapping("source_cps = 0"));
    assert_eq!(wrong, ["tandem.toml:4: mapping_gateway[0].source_cps = 0: out of range 1–100000 calls/s"]);
}
