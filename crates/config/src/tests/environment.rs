use super::*;
use tandem_switch::parameters::Source;

#[test]
fn a_variable_overrides_any_key() {
    let config = load_with(
        &format!("[limits]\nmax_calls = 5\n{}", routing("prefixes = [\"44\"]")),
        &[
            ("PATH", "/bin"),
            ("TANDEM_LIMITS__MAX_CALLS", "7"),
            ("TANDEM_NODE__NAME", "pod-3"),
            ("TANDEM_LISTEN__0__BIND", "127.0.0.1:5070"),
            ("TANDEM_ADMIN__TOKENS", "one, two"),
            ("TANDEM_ROUTING_GATEWAY__0__ADDRESS", "192.0.2.99:5060"),
            ("TANDEM_ROUTING_GATEWAY__0__DISABLED", "true"),
            ("TANDEM_ROUTING_GATEWAY__0__PREFIXES__1", "45"),
            ("TANDEM_ROUTING_GATEWAY__0__PROBE__INTERVAL", "5s"),
            ("TANDEM_ROUTING_GATEWAY__0__STOP_SWITCHING_RESPONSE_CODE", "403,404"),
            ("TANDEM_ROUTING_GATEWAY__0__PARAMETERS__SS_SIP_TIMEOUT_INVITE", "4"),
            ("TANDEM_ROUTING_GATEWAY__1__NAME", "second"),
            ("TANDEM_ROUTING_GATEWAY__1__ADDRESS", "192.0.2.21"),
            ("TANDEM_MAPPING_GATEWAY__0__NAME", "customer"),
            ("TANDEM_MAPPING_GATEWAY__0__SOURCES", "192.0.2.0/24,198.51.100.0/24"),
            ("TANDEM_MAPPING_GATEWAY__0__CAUSE_MAP__503", "480"),
            ("TANDEM_CDR__SINKS__0__TYPE", "jsonl"),
            ("TANDEM_CDR__SINKS__0__PATH", "-"),
        ],
    );
    assert_eq!((config.limits.max_calls, config.node.name.as_deref()), (7, Some("pod-3")));
    assert_eq!(config.listen[0].bind.port(), 5070);
    assert_eq!((config.admin.tokens.len(), config.cdr.sinks.len()), (2, 1));
    let first = &config.routing_gateways[0].gateway;
    assert_eq!((first.address.to_string().as_str(), first.disabled), ("192.0.2.99:5060", true));
    assert_eq!(
        (first.prefixes.join(" "), first.health.probe_interval.map(|i| i.as_secs())),
        ("44 45".into(), Some(5))
    );
    assert_eq!(
        (&first.parameters.stop_codes[..], first.parameters.invite_timeout.as_secs()),
        (&[403, 404][..], 4)
    );
    assert_eq!(&*config.routing_gateways[1].gateway.name, "second");
    let customer = &config.mapping_gateways[0].gateway;
    assert_eq!((customer.sources.len(), customer.cause_map.get(&503)), (2, Some(&480)));
}

#[test]
fn indexes_are_in_numeric_order() {
    let names: Vec<String> = (0..12).map(|index| format!("TANDEM_ADMIN__TOKENS__{index}")).collect();
    let variables: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    assert_eq!(load_with("", &variables).admin.tokens[10].expose(), "TANDEM_ADMIN__TOKENS__10");
}

#[test]
fn an_ss_variable_overrides_a_parameter_and_is_its_source() {
    let config = load_with(
        "[parameters]\nSS_SIP_SESSION_TTL = 900\nSS_SIP_100REL = \"Required\"",
        &[("SS_SIP_SESSION_TTL", "1200"), ("TANDEM_PARAMETERS__SS_SIP_SEND_RETRY", "3")],
    );
    let set: Vec<_> = config
        .parameters
        .effective()
        .into_iter()
        .filter(|row| row.source != Source::Default)
        .map(|row| (row.name(), row.value, row.source))
        .collect();
    let expected = [
        ("SS_SIP_SEND_RETRY", "3".to_owned(), Source::Environment),
        ("SS_SIP_SESSION_TTL", "1200".to_owned(), Source::Environment),
        ("SS_SIP_100REL", "Required".to_owned(), Source::File),
    ];
    assert_eq!(set, expected);
}

#[test]
fn an_error_names_the_variable() {
    let cases = [
        (
            ("TANDEM_LISTEN__0__BIND", "x"),
            "environment variable TANDEM_LISTEN__0__BIND: listen[0].bind = \"x\": \
             is not an address and port such as 0.0.0.0:5060",
        ),
        (
            ("TANDEM_LIMITS__CPS", "0"),
            "environment variable TANDEM_LIMITS__CPS: limits.cps = \"0\": out of range 1–100000 calls/s",
        ),
        (
            ("TANDEM_LIMITS__CPS", "few"),
            "environment variable TANDEM_LIMITS__CPS: limits.cps = \"few\": is a text, not a whole number",
        ),
        (
            ("TANDEM_LIMITS__CALLS", "1"),
            "environment variable TANDEM_LIMITS__CALLS: limits.calls: unknown key",
        ),
        (
            ("TANDEM_LIMIT__CPS", "1"),
            "environment variable TANDEM_LIMIT__CPS: limit: unknown key; did you mean limits?",
        ),
        (
            ("TANDEM_FOO", "1"),
            "environment variable TANDEM_FOO: names no key; keys are TANDEM_<SECTION>__<KEY>",
        ),
        (
            ("TANDEM_ADMIN__TOKENS__1", "t"),
            "environment variable TANDEM_ADMIN__TOKENS__1: admin.tokens[1]: leaves a gap: the next index is 0",
        ),
        (
            ("SS_SIP_SESSION_TTL", "5"),
            "environment variable SS_SIP_SESSION_TTL = 5 is out of range 60–86400 s",
        ),
        (
            ("SS_SIP_SESION_TTL", "600"),
            "environment variable SS_SIP_SESION_TTL is not a parameter; did you mean SS_SIP_SESSION_TTL?",
        ),
        (
            ("TANDEM_ROUTING_GATEWAY__0__NAME__X", "1"),
            "environment variable TANDEM_ROUTING_GATEWAY__0__NAME__X: routing_gateway[0].name.x: \
             a text has no keys below it",
        ),
    ];
    for (variable, message) in cases {
        assert_eq!(errors_with(&routing(""), &[variable]), [message]);
    }
}

#[test]
fn two_variables_for_one_key_are_refused() {
    let variables = [("SS_SIP_SEND_RETRY", "3"), ("TANDEM_PARAMETERS__SS_SIP_SEND_RETRY", "4")];
    assert_eq!(
        errors_with("", &variables),
        ["environment variable TANDEM_PARAMETERS__SS_SIP_SEND_RETRY: parameters.SS_SIP_SEND_RETRY: \
          also set by environment variable SS_SIP_SEND_RETRY"]
    );
}

#[test]
fn a_kubernetes_service_called_tandem_is_no_configuration() {
    let links = [
        ("TANDEM_SERVICE_HOST", "10.0.0.1"),
        ("TANDEM_SERVICE_PORT", "8080"),
        ("TANDEM_SERVICE_PORT_SIP_UDP", "5060"),
        ("TANDEM_PORT", "udp://10.0.0.1:5060"),
        ("TANDEM_PORT_5060_UDP", "udp://10.0.0.1:5060"),
        ("TANDEM_PORT_5060_UDP_ADDR", "10.0.0.1"),
        ("TANDEM_ADMIN_SERVICE_HOST", "10.0.0.2"),
        ("TANDEM_ADMIN_PORT_8080_TCP_PROTO", "tcp"),
    ];
    assert_eq!(load_with("", &links).listen.len(), 1);
    assert_eq!(errors_with("", &[("TANDEM_ADMIN_PORT", "8080")]).len(), 1);
}

#[test]
fn what_the_binary_reads_itself_is_left_alone() {
    load_with("", &[("TANDEM_CONFIG", "/etc/tandem.toml"), ("TANDEM_LOG", "debug")]);
}
