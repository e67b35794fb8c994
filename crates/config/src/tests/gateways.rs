use super::*;
use crate::{GatewayTls, TlsVerify};
use std::time::Duration;
use tandem_sip::flow::Transport;
use tandem_sip::locate::Wanted;
use tandem_sip::{Method, MethodSet};
use tandem_switch::gateway::{GatewayAddress, Redirects};

#[test]
fn a_gateway_needs_little() {
    let config = load(&format!("{}{}", mapping(""), routing("")));
    let mapping = &config.mapping_gateways[0].gateway;
    assert_eq!((&*mapping.name, mapping.sources[0].to_string().as_str()), ("customer", "192.0.2.0/24"));
    assert_eq!((mapping.limits.max_calls, mapping.limits.cps, mapping.trusted), (None, None, false));
    let routing = &config.routing_gateways[0];
    assert_eq!(routing.gateway.address.to_string(), "192.0.2.20:5060");
    assert_eq!(routing.gateway.prefixes, [""]);
    assert_eq!((routing.gateway.priority, routing.gateway.weight, routing.gateway.disabled), (0, 1, false));
    assert!(routing.gateway.health.probe_interval.is_none() && routing.gateway.account.is_none());
    assert_eq!(routing.gateway.parameters.invite_timeout, Duration::from_secs(10));
}

#[test]
fn every_key_of_a_gateway_is_read() {
    let rules = r#"
        strip = 2
        prepend = "+"
        rewrite = [{ match = '^\+44(\d+)$', replace = "0$1" }]
        trusted = true
        pass_headers = ["X-Account", "Diversion"]
        pass_methods = ["MESSAGE"]
        max_calls = 500
        cps = 50
    "#;
    let config = load(&format!(
        "{}{}[parameters]\nSS_MAX_CALL_DURATION = 3600\nSS_SIP_TIMEOUT_INVITE = 6\n",
        mapping(&format!(
            "{rules}\ncause_map = {{ \"503\" = 480 }}\nparameters = {{ SS_MAX_CALL_DURATION = 60 }}"
        )),
        routing(&format!(
            "{rules}
            transport = \"udp\"
            prefixes = [\"44\", \"+1\", \"*#\"]
            priority = 3
            weight = 7
            disabled = true
            username = \"tandem\"
            password = \"x\"
            probe = {{ interval = \"15s\" }}
            stop_switching_response_code = [404, 403]
            parameters = {{ SS_SIP_STOP_SWITCH_AFTER_SDP = \"Off\" }}"
        )),
    ));
    let mapping = &config.mapping_gateways[0].gateway;
    assert_eq!(mapping.number_rules.apply("00442071"), "02071");
    assert_eq!((mapping.limits.max_calls, mapping.limits.cps, mapping.trusted), (Some(500), Some(50), true));
    assert_eq!(mapping.pass_headers, ["X-Account", "Diversion"]);
    assert_eq!(mapping.pass_methods, MethodSet::of(&[Method::Message]));
    assert_eq!(mapping.cause_map.get(&503), Some(&480));
    assert_eq!(mapping.parameters.max_duration, Some(Duration::from_secs(60)));
    let configured = &config.routing_gateways[0];
    let routing = &configured.gateway;
    assert_eq!(routing.prefixes, ["44", "+1", "*#"]);
    assert_eq!((routing.priority, routing.weight, routing.disabled, routing.trusted), (3, 7, true, true));
    assert_eq!(routing.health.probe_interval, Some(Duration::from_secs(15)));
    assert_eq!(routing.number_rules.apply("00442071"), "02071");
    assert_eq!(routing.parameters.stop_codes, [403, 404]);
    assert_eq!(routing.pass_methods, MethodSet::of(&[Method::Message]));
    assert_eq!(routing.parameters.invite_timeout, Duration::from_secs(6), "the system's");
    assert!(!routing.parameters.stop_after_sdp, "its own");
    assert_eq!(routing.parameters.max_duration, Some(Duration::from_secs(3600)));
    let account = routing.account.as_ref().expect("an account");
    assert_eq!((account.username.as_str(), account.password.expose()), ("tandem", "x"));
    assert_eq!(configured.overrides.iter().count(), 1);
}

#[test]
fn addresses_are_ip_literals_with_5060_unless_given() {
    let address = |text: &str| {
        let listen = "[[listen]]\nbind = \"0.0.0.0:5060\"\n[[listen]]\nbind = \"[::]:5060\"\n";
        load(&format!("{listen}[[routing_gateway]]\nname = \"v\"\naddress = \"{text}\"")).routing_gateways[0]
            .gateway
            .address
            .to_string()
    };
    assert_eq!(address("192.0.2.20"), "192.0.2.20:5060");
    assert_eq!(address("192.0.2.20:5080"), "192.0.2.20:5080");
    assert_eq!(address("[2001:db8::1]:5080"), "[2001:db8::1]:5080");
    assert_eq!(address("[2001:db8::1]"), "[2001:db8::1]:5060");
    assert_eq!(address("2001:db8::1"), "[2001:db8::1]:5060");
}

#[test]
fn a_gateway_is_called_from_a_listener_of_its_transport_and_address_family() {
    let listen = "[[listen]]\nbind = \"0.0.0.0:5060\"\n[[listen]]\nname = \"t\"\ntransport = \"tcp\"\nbind = \"[::]:5060\"\n";
    let gateway = |keys: &str| format!("{listen}[[routing_gateway]]\nname = \"v\"\n{keys}");
    let found = load(&gateway("address = \"[2001:db8::1]\"\ntransport = \"tcp\"\nlisten = \"t\""));
    let found = &found.routing_gateways[0].gateway;
    assert_eq!((found.transport, found.listen.as_deref()), (Some(Transport::Tcp), Some("t")));
    for (keys, message) in [
        (
            "address = \"2001:db8::1\"",
            "9: routing_gateway[0].address = \"2001:db8::1\": no [[listen]] speaks udp over IPv6",
        ),
        (
            "address = \"192.0.2.1\"\ntransport = \"tcp\"",
            "9: routing_gateway[0].address = \"192.0.2.1\": no [[listen]] speaks tcp over IPv4",
        ),
        (
            "address = \"192.0.2.1\"\nlisten = \"t\"",
            "10: routing_gateway[0].listen = \"t\": no [[listen]] named t speaks udp over IPv4",
        ),
    ] {
        assert_eq!(errors(&gateway(keys)), [format!("tandem.toml:{message}")]);
    }
}

#[test]
fn a_gateway_under_tls_is_known_by_its_certificate() {
    let listen = "[[listen]]\ntransport = \"tls\"\nbind = \"0.0.0.0:5061\"\ncert = \"c\"\nkey = \"k\"\n";
    let gateway = |keys: &str| {
        format!(
            "{listen}[[routing_gateway]]\nname = \"v\"\naddress = \"192.0.2.1\"\ntransport = \"tls\"\n{keys}"
        )
    };
    let found = load(&gateway("")).routing_gateways.remove(0);
    assert_eq!(found.gateway.address.to_string(), "192.0.2.1:5061");
    assert_eq!(found.tls, GatewayTls::default());
    let found =
        load(&gateway("tls_name = \"sip.example.com\"\ntls_verify = \"chain\"")).routing_gateways.remove(0);
    assert_eq!(found.tls, GatewayTls { verify: TlsVerify::Chain, name: Some("sip.example.com".into()) });
    let unverified = gateway("tls_verify = \"none\"\n[parameters]\nSS_GATEWAY_SWITCH_LIMIT = 3");
    assert_eq!(warnings(&unverified).len(), 1);
    assert_eq!(
        errors(&gateway("tls_verify = \"some\"")),
        ["tandem.toml:10: routing_gateway[0].tls_verify = \"some\": is not full, chain or none"]
    );
}

#[test]
fn a_gateway_has_an_address_or_a_name() {
    let named = |text: &str| {
        let config = load(&format!("[[routing_gateway]]\nname = \"v\"\naddress = \"{text}\""));
        config.routing_gateways[0].gateway.address.named().cloned()
    };
    for (text, host, port) in [
        ("sip.example.com", "sip.example.com", None),
        ("SIP.Example.com:5080", "sip.example.com", Some(5080)),
        ("gw1", "gw1", None),
        ("sip.example.com.", "sip.example.com", None),
    ] {
        assert_eq!(named(text), Some(Wanted::new(host, port, None)), "{text}");
    }
    assert_eq!(named("192.0.2.1"), None);
    let long_label = format!("{}.example", "a".repeat(64));
    let long_name = vec!["label"; 50].join(".");
    for neither in [
        "192.0.2.300",
        "192.0.2.20:0",
        "0.0.0.0:5060",
        "224.0.0.1:5060",
        "a b",
        "",
        "x:99999",
        "x:0",
        ":5060",
        "sip:example.com",
        "-a.example",
        &long_label,
        &long_name,
    ] {
        assert_eq!(
            errors(&format!("[[routing_gateway]]\nname = \"v\"\naddress = \"{neither}\"")),
            [format!(
                "tandem.toml:3: routing_gateway[0].address = \"{neither}\": \
                 is not an address such as 192.0.2.1:5060 or a name such as sip.example.com"
            )]
        );
    }
}

#[test]
fn a_name_is_followed_by_the_transport_of_the_gateway_or_of_its_listener() {
    let listen = "[[listen]]\nbind = \"0.0.0.0:5060\"\n[[listen]]\nname = \"t\"\ntransport = \"tcp\"\n\
                  bind = \"0.0.0.0:5060\"\n";
    let gateway = |keys: &str| {
        format!("{listen}[[routing_gateway]]\nname = \"v\"\naddress = \"gw.example.com\"\n{keys}")
    };
    for (keys, transport) in
        [("", None), ("transport = \"udp\"", Some(Transport::Udp)), ("listen = \"t\"", Some(Transport::Tcp))]
    {
        let config = load(&gateway(keys));
        let wanted = config.routing_gateways[0].gateway.address.named().cloned();
        assert_eq!(wanted, Some(Wanted::new("gw.example.com", None, transport)), "{keys}");
    }
    let nobody = errors(&gateway("transport = \"udp\"\nlisten = \"t\""));
    assert_eq!(nobody.len(), 1, "{nobody:?}");
}

#[test]
fn refused_keys_of_a_routing_gateway() {
    let cases = [
        ("max_calls = -3", "max_calls = -3: out of range 1–1000000 calls"),
        ("cps = 0", "cps = 0: out of range 1–100000 calls/s"),
        ("priority = 65536", "priority = 65536: out of range 0–65535"),
        ("weight = 0", "weight = 0: out of range 1–1000"),
        ("weight = 1001", "weight = 1001: out of range 1–1000"),
        ("strip = 33", "strip = 33: out of range 0–32 characters"),
        (
            "prepend = \"abc\"",
            "prepend = \"abc\": is not at most 32 digits, '+', '*' or '#' to put in front of numbers",
        ),
        ("transport = \"sctp\"", "transport = \"sctp\": is not udp, tcp or tls"),
        ("tls_name = \"h\"", "tls_name = \"h\": goes with transport = \"tls\" only"),
        ("tls_verify = \"chain\"", "tls_verify = \"chain\": goes with transport = \"tls\" only"),
        (
            "prefixes = [\"44\", \"4x\"]",
            "prefixes[1] = \"4x\": is not at most 32 digits, '+', '*' or '#' that numbers begin with",
        ),
        ("prefixes = []", "prefixes: is empty; needed is at least one prefix (\"\" for any)"),
        (
            "prefixes = [\"44\", \"44\"]",
            "prefixes[1] = \"44\": is the same prefix as routing_gateway[0].prefixes[0]",
        ),
        (
            "stop_switching_response_code = [503]",
            "stop_switching_response_code[0] = 503: 503 and 408 cannot end a hunt",
        ),
        (
            "stop_switching_response_code = [408]",
            "stop_switching_response_code[0] = 408: 503 and 408 cannot end a hunt",
        ),
        (
            "stop_switching_response_code = [299]",
            "stop_switching_response_code[0] = 299: out of range 300–699",
        ),
        (
            "stop_switching_response_code = [700]",
            "stop_switching_response_code[0] = 700: out of range 300–699",
        ),
        (
            "rewrite = [{ match = \"(\", replace = \"\" }]",
            "rewrite[0].match = \"(\": is no pattern: unclosed group",
        ),
        (
            "rewrite = [{ match = '(\\d+)', replace = \"$1a\" }]",
            "rewrite[0].replace = \"$1a\": ${1a} is no group of the pattern \
             (to follow $1 by a letter or digit, write ${1})",
        ),
        (
            "rewrite = [{ match = '1' }]",
            "rewrite[0].replace: is missing; needed is a replacement such as +44$1",
        ),
        (
            "pass_headers = [\"X-*\"]",
            "pass_headers[0] = \"X-*\": is not a header's name (wildcards are not known)",
        ),
        (
            "pass_methods = [\"REFER\"]",
            "pass_methods[0] = \"REFER\": is not a method that can be passed, INFO or MESSAGE",
        ),
        (
            "pass_headers = [\"via\"]",
            "pass_headers[0] = \"via\": the switch writes this header itself on each leg",
        ),
        ("probe = { interval = \"soon\" }", "probe.interval = \"soon\": is not a duration such as 30s"),
        ("probe = { interval = \"2h\" }", "probe.interval = \"2h\": out of range 1–3600 s"),
        ("probe = { interval = \"500ms\" }", "probe.interval = \"500ms\": out of range 1–3600 s"),
        ("probe = { option = true }", "probe.option: unknown key; did you mean options?"),
        ("disabled = 1", "disabled = 1: is a whole number, not true or false"),
        (
            "parameters = { SS_SIP_TIMEOUT_INVITE = 500 }",
            "parameters: SS_SIP_TIMEOUT_INVITE = 500 is out of range 1–120 s",
        ),
        (
            "parameters = { SS_SIP_TIMEOUT_TRYING = 5 }",
            "parameters: SS_SIP_TIMEOUT_TRYING cannot be overridden per gateway",
        ),
    ];
    for (keys, message) in cases {
        assert_eq!(errors(&routing(keys)), [format!("tandem.toml:4: routing_gateway[0].{message}")]);
    }
}

#[test]
fn a_user_name_needs_a_password_and_the_reverse() {
    assert_eq!(
        errors(&routing("username = \"u\"")),
        ["tandem.toml:1: routing_gateway[0].password: is missing; needed is the user name's password"]
    );
    assert_eq!(
        errors(&routing("password = \"p\"")),
        ["tandem.toml:1: routing_gateway[0].username: is missing; needed is the password's user name"]
    );
}

#[test]
fn refused_keys_of_a_mapping_gateway() {
    let cases = [
        ("cause_map = { \"503\" = 200 }", "cause_map.503 = 200: out of range 300–699"),
        ("cause_map = { \"200\" = 480 }", "cause_map.200: is not a failure status, 300–699"),
        ("cause_map = { busy = 486 }", "cause_map.busy: is not a failure status, 300–699"),
        ("address = \"192.0.2.1\"", "address: unknown key"),
    ];
    for (keys, message) in cases {
        assert_eq!(errors(&mapping(keys)), [format!("tandem.toml:4: mapping_gateway[0].{message}")]);
    }
    let source =
        |sources: &str| errors(&format!("[[mapping_gateway]]\nname = \"c\"\nsources = {sources}")).remove(0);
    let at = "tandem.toml:3: mapping_gateway[0].sources[0]";
    assert_eq!(
        source("[\"10.0.0.1/8\"]"),
        format!("{at} = \"10.0.0.1/8\": has bits set beyond its prefix length; the network is 10.0.0.0/8")
    );
    assert_eq!(
        source("[\"10.0.0.0/33\"]"),
        format!("{at} = \"10.0.0.0/33\": is not an address or a network such as 192.0.2.0/24")
    );
    let needed = "needed is at least one network such as 192.0.2.0/24";
    assert_eq!(source("[]"), format!("tandem.toml:3: mapping_gateway[0].sources: is empty; {needed}"));
    assert_eq!(
        errors("[[mapping_gateway]]\nname = \"c\""),
        [format!("tandem.toml:1: mapping_gateway[0].sources: is missing; {needed}")]
    );
}

#[test]
fn gateways_of_one_kind_have_names_of_their_own() {
    let twice = format!("{}{}", routing(""), routing(""));
    assert_eq!(
        errors(&twice),
        ["tandem.toml:6: routing_gateway[1].name = \"vendor\": is the same name as routing_gateway[0].name"]
    );
    // A carrier can be customer and vendor under one name.
    let both =
        format!("{}{}", mapping("").replace("customer", "peer"), routing("").replace("vendor", "peer"));
    assert_eq!(load(&both).mapping_gateways.len(), 1);
}

#[test]
fn a_source_belongs_to_one_mapping_gateway_but_networks_may_nest() {
    let two = |second: &str| {
        format!("{}[[mapping_gateway]]\nname = \"other\"\nsources = [\"{second}\"]\n", mapping(""))
    };
    assert_eq!(
        errors(&two("192.0.2.0/24")),
        ["tandem.toml:7: mapping_gateway[1].sources[0] = \"192.0.2.0/24\": \
          is the same network as mapping_gateway[0].sources[0]"]
    );
    assert_eq!(load(&two("192.0.2.7")).mapping_gateways[1].gateway.sources[0].to_string(), "192.0.2.7/32");
}

#[test]
fn every_error_of_every_gateway_is_found() {
    let text = "[[routing_gateway]]\nweight = 0\n[[mapping_gateway]]\nsources = [\"x\"]\n";
    let errors = errors(text);
    let keys = [
        "routing_gateway[0].address:",
        "routing_gateway[0].name",
        "routing_gateway[0].weight",
        "mapping_gateway[0].name",
        "mapping_gateway[0].sources[0]",
    ];
    assert_eq!(errors.len(), keys.len(), "{errors:#?}");
    for key in keys {
        assert!(errors.iter().any(|error| error.contains(key)), "{key} in {errors:#?}");
    }
}

#[test]
fn overrides_that_make_a_gateway_doubtful_warn() {
    let text = format!(
        "{}{}[parameters]\nSS_GATEWAY_SWITCH_LIMIT = 3\n",
        mapping("parameters = { SS_SIP_TIMEOUT_INVITE = 5, SS_SIP_NO_TIMER_REINVITE_INTERVAL = 900 }"),
        routing("parameters = { SS_SIP_SESSION_TTL = 60 }"),
    );
    assert_eq!(
        warnings(&text),
        [
            "mapping_gateway[0].parameters: SS_SIP_NO_TIMER_REINVITE_INTERVAL = 900 s is below \
             3 × SS_SIP_SESSION_TTL (600 s)",
            "mapping_gateway[0].parameters: SS_SIP_TIMEOUT_INVITE has no effect here; \
             a routing gateway's governs the attempt",
            "routing_gateway[0].parameters: SS_SIP_SESSION_TTL = 60 s is raised to 90 s, \
             the smallest Session-Expires that is accepted",
        ]
    );
}

#[test]
fn a_realm_needs_an_account_and_redirects_are_one_of_three() {
    let gateway = |keys: &str| load(&routing(keys)).routing_gateways[0].gateway.clone();
    let account =
        gateway("username = \"u\"\npassword = \"p\"\nrealm = \"vendor\"").account.expect("an account");
    assert_eq!(account.realm.as_deref(), Some("vendor"));
    assert_eq!(
        errors(&routing("realm = \"vendor\"")),
        ["tandem.toml:1: routing_gateway[0].username: is missing; needed is the realm's user name"]
    );
    assert_eq!(gateway("").redirects, Redirects::Refuse);
    assert_eq!(gateway("redirects = \"gateway\"").redirects, Redirects::Gateway);
    assert_eq!(gateway("redirects = \"any\"").redirects, Redirects::Any);
    assert_eq!(
        errors(&routing("redirects = \"follow\"")),
        ["tandem.toml:4: routing_gateway[0].redirects = \"follow\": \
          is not \"refuse\", \"gateway\" or \"any\""]
    );
}

#[test]
fn a_gateway_that_demands_registration_says_as_whom() {
    let register = |keys: &str| {
        load(&routing(keys)).routing_gateways[0].gateway.health.register.clone().expect("a registration")
    };
    let plain = register("username = \"tandem\"\npassword = \"x\"\nregister = {}");
    assert_eq!((plain.user.as_str(), plain.contact.as_str(), plain.domain), ("tandem", "tandem", None));
    assert_eq!((plain.expires, plain.required), (Duration::from_secs(3600), true));
    let full = register(
        "register = { user = \"a\", domain = \"2001:db8::1\", contact = \"4420\", expires = \"10m\", required = false }",
    );
    assert_eq!((full.contact.as_str(), full.domain.as_deref()), ("4420", Some("[2001:db8::1]")));
    assert_eq!((full.expires, full.required), (Duration::from_secs(600), false));
    for (keys, message) in [
        (
            "{}",
            "register.user: is missing; needed is the user to register as (unless set, the gateway's username)",
        ),
        (
            "{ user = \"a@b\" }",
            "register.user = \"a@b\": is not the user part of a SIP URI, such as 4420 or tandem",
        ),
        ("{ user = \"a\", domain = \"a b\" }", "register.domain = \"a b\": is not a domain, or an address"),
        ("{ user = \"a\", expires = \"59s\" }", "register.expires = \"59s\": out of range 60–86400 s"),
    ] {
        let found = errors(&routing(&format!("register = {keys}")));
        assert!(found.iter().any(|error| error.ends_with(message)), "{keys}: {found:?}");
    }
}

#[test]
fn a_gateways_own_publish_expire_caps_its_publications() {
    let text = format!(
        "[parameters]\nSS_SIP_PUBLISH_EXPIRE = 600\n{}",
        routing("parameters = { SS_SIP_PUBLISH_EXPIRE = 60 }")
    );
    assert_eq!(load(&text).routing_gateways[0].gateway.health.publish_expire, Duration::from_secs(60));
}

#[test]
fn a_gateway_has_an_address_or_is_where_an_endpoint_is_registered() {
    let endpoint = "[[endpoint]]\nuser = \"trunk\"\npassword = \"x\"\n";
    let gateway = |keys: &str| format!("{endpoint}[[routing_gateway]]\nname = \"vendor\"\n{keys}\n");
    let found = load(&gateway("endpoint = \"trunk\"")).routing_gateways[0].gateway.clone();
    assert_eq!(found.address, GatewayAddress::Endpoint("trunk".into()));
    assert!(found.health.registers);
    assert!(!load(&gateway("address = \"192.0.2.1\"")).routing_gateways[0].gateway.health.registers);
    for (keys, message) in [
        (
            "",
            "4: routing_gateway[0].address: is missing; needed is an address such as 192.0.2.1:5060 \
             or a name such as sip.example.com (or endpoint, if it registers to us)",
        ),
        (
            "address = \"192.0.2.1\"\nendpoint = \"trunk\"",
            "6: routing_gateway[0].address = \"192.0.2.1\": is not of use beside endpoint",
        ),
        ("endpoint = \"other\"", "6: routing_gateway[0].endpoint = \"other\": no [[endpoint]] is this user"),
        (
            "endpoint = \"trunk\"\nprobe = { interval = \"5s\" }",
            "7: routing_gateway[0].probe: is not of use beside endpoint",
        ),
        (
            "endpoint = \"trunk\"\ntransport = \"tcp\"",
            "7: routing_gateway[0].transport = \"tcp\": is not of use beside endpoint",
        ),
    ] {
        assert_eq!(errors(&gateway(keys)), [format!("tandem.toml:{message}")], "{keys}");
    }
}
