use super::*;
use crate::{
    CdrSink, Connections, Dns, JsonlTarget, Link, Listen, NodeLimits, Place, Store, StoreAddress, Tls,
};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tandem_sip::flow::Transport;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn without_a_file_the_defaults_hold() {
    let config = load("");
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    assert_eq!(config.listen, [Listen { bind: address("0.0.0.0:5060"), ..Listen::default() }]);
    assert_eq!(config.admin.bind, address("127.0.0.1:8080"));
    assert_eq!(config.limits, NodeLimits::default());
    assert_eq!((config.limits.max_calls, config.limits.cps), (20_000, None));
    assert_eq!((config.node.name, config.node.cluster), (None, "tandem".to_owned()));
    assert!(config.cdr.sinks.is_empty() && config.routing_gateways.is_empty());
    assert_eq!(warnings(""), ["SS_GATEWAY_SWITCH_LIMIT = None lets a call try every gateway that matches"]);
}

#[test]
fn every_section_is_read() {
    let config = load(
        r#"
        [node]
        name = "a-1"
        cluster = "west"
        roles = ["edge", "call", "media"]
        [[listen]]
        transport = "udp"
        bind = "192.0.2.1:5060"
        advertise = "198.51.100.1:5060"
        [[listen]]
        name = "streams"
        transport = "tcp"
        bind = "[2001:db8::1]:5060"
        max_connections = 50
        max_connections_per_source = 5
        idle_timeout = "1m"
        keep_alive = "0s"
        [limits]
        max_calls = 100
        cps = 10
        [store]
        url = "memory:"
        [dns]
        servers = ["192.0.2.53", "[2001:db8::53]:5353", "::1"]
        timeout = "1500ms"
        serve_stale = "0s"
        [admin]
        bind = "127.0.0.1:9090"
        tokens = ["one", "two"]
        [cdr]
        sinks = [{ type = "jsonl", path = "-" }, { type = "jsonl", path = "/var/log/cdr.jsonl" }]
        [media]
        [parameters]
        SS_SIP_SESSION_TTL = 900
        SS_SIP_RESEND_INTERVAL = [0.5, 1, 2]
        SS_SIP_STOP_SWITCH_AFTER_SDP = false
        SS_SIP_100REL = "Required"
        "#,
    );
    assert_eq!((config.node.name.as_deref(), config.node.cluster.as_str()), (Some("a-1"), "west"));
    let listen = [
        Listen {
            bind: address("192.0.2.1:5060"),
            advertise: Some("198.51.100.1:5060".into()),
            ..Listen::default()
        },
        Listen {
            name: Some("streams".into()),
            transport: Transport::Tcp,
            bind: address("[2001:db8::1]:5060"),
            advertise: None,
            connections: Connections {
                max: 50,
                per_source: 5,
                idle: Duration::from_secs(60),
                keep_alive: None,
            },
            tls: None,
        },
    ];
    assert_eq!(config.listen, listen);
    assert_eq!(config.limits, NodeLimits { max_calls: 100, cps: Some(10), ..NodeLimits::default() });
    let dns = Dns {
        servers: ["192.0.2.53:53", "[2001:db8::53]:5353", "[::1]:53"].map(address).to_vec(),
        timeout: Duration::from_millis(1500),
        serve_stale: Duration::ZERO,
    };
    assert_eq!(config.dns, dns);
    assert_eq!(config.admin.tokens[1].expose(), "two");
    let targets = [JsonlTarget::Stdout, JsonlTarget::File(PathBuf::from("/var/log/cdr.jsonl"))];
    assert_eq!(config.cdr.sinks, targets.map(|target| CdrSink::Jsonl { target }));
    assert_eq!(config.parameters.session_ttl.as_secs(), 900);
    assert_eq!(config.parameters.resend_intervals.waits().len(), 3);
    assert!(!config.parameters.stop_switch_after_sdp);
}

#[test]
fn a_refused_key_shows_file_line_path_value_range_and_unit() {
    let cases = [
        ("[limits]\nmax_calls = 0", "tandem.toml:2: limits.max_calls = 0: out of range 1–1000000 calls"),
        (
            "[limits]\nmax_calls = 99999999999999999999999999999999999999999",
            "tandem.toml:2: limits.max_calls = 99999999999999999999999999999999999999999: \
             out of range 1–1000000 calls",
        ),
        ("[limits]\n\ncps = \"many\"", "tandem.toml:3: limits.cps = \"many\": is a text, not a whole number"),
        (
            "[node]\nname = \"a b\"",
            "tandem.toml:2: node.name = \"a b\": is not a name of 1 to 64 letters, digits, '.', '_' or '-'",
        ),
        (
            "[[listen]]\nbind = \"5060\"",
            "tandem.toml:2: listen[0].bind = \"5060\": is not an address and port such as 0.0.0.0:5060",
        ),
        (
            "[[listen]]\nbind = \"192.0.2.1:5060\"\nadvertise = \"0.0.0.0:5060\"",
            "tandem.toml:3: listen[0].advertise = \"0.0.0.0:5060\": is not an address and port such as \
             192.0.2.1:5060 that others can send to",
        ),
        (
            "[[listen]]\ntransport = \"udp\"",
            "tandem.toml:1: listen[0].bind: is missing; needed is an address and port such as 0.0.0.0:5060",
        ),
        ("listen = []", "tandem.toml:1: listen: is empty; needed is at least one listener"),
        (
            "[routing]\nemergency_numbers = [\"112\", \"\"]",
            "tandem.toml:2: routing.emergency_numbers[1] = \"\": is not a called number of 1 to 32 digits, '+', '*' or '#'",
        ),
        ("listen = 3", "tandem.toml:1: listen = 3: is a whole number, not a list"),
        ("limits = 3", "tandem.toml:1: limits = 3: is a whole number, not a table"),
        (
            "[[listen]]\nbind = \"0.0.0.0:5060\"\ntransport = \"carrier pigeon\"",
            "tandem.toml:3: listen[0].transport = \"carrier pigeon\": is not udp, tcp or tls",
        ),
        (
            "[store]\nurl = \"file:x\"",
            "tandem.toml:2: store.url: is not memory: or the URL of a store (redis://…)",
        ),
        (
            "[cdr]\nsinks = [{ type = \"jsonl\" }]",
            "tandem.toml:2: cdr.sinks[0].path: is missing; needed is a file, or - for standard output",
        ),
        (
            "[cdr]\nsinks = [{ type = \"paper\", path = \"-\" }]",
            "tandem.toml:2: cdr.sinks[0].type = \"paper\": is not jsonl, csv, postgresql or webhook",
        ),
        (
            "[admin]\ntokens = [\"a b\"]",
            "tandem.toml:2: admin.tokens[0]: is not a bearer token: printable ASCII without spaces",
        ),
        (
            "[parameters]\nSS_SIP_SESSION_TTL = 5",
            "tandem.toml:2: SS_SIP_SESSION_TTL = 5 is out of range 60–86400 s",
        ),
        (
            "[parameters]\nSS_SIP_SESSION_TTL = 1979-05-27",
            "tandem.toml:2: parameters.SS_SIP_SESSION_TTL: is a date, not a parameter's value",
        ),
        (
            "[parameters]\nSS_SIP_SESION_TTL = 600",
            "tandem.toml:2: SS_SIP_SESION_TTL is not a parameter; did you mean SS_SIP_SESSION_TTL?",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(errors(text), [message], "{text}");
    }
}

#[test]
fn what_is_not_in_this_release_is_refused() {
    let cases = [
        (
            "[node]\nroles = [\"edge\"]",
            "tandem.toml:2: node.roles: a node of this release has all three roles (edge, call, media)",
        ),
        (
            "[media]\nports = \"20000-29999\"",
            "tandem.toml:1: media: the media relay is not in this release; media goes directly between the gateways",
        ),
        ("[telemetry]\nsampling = 0.1", "tandem.toml:1: telemetry: exporting traces is not in this release"),
        (
            "[cdr]\nsinks = [{ type = \"webhook\", url = \"https://example.com\" }]",
            "tandem.toml:2: cdr.sinks[0].type = \"webhook\": this release writes CDRs as jsonl and to postgresql only",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(errors(text), [message], "{text}");
    }
    assert_eq!(
        errors("[media]\nports = \"9-1\"")[1],
        "tandem.toml:2: media.ports = \"9-1\": is not a range of ports such as 20000-29999"
    );
}

#[test]
fn the_store_is_in_memory_unless_a_url_leads_elsewhere() {
    assert_eq!(load("").store, Store::default());
    assert_eq!(load("[store]\nurl = \"memory:\"").store.address, StoreAddress::Memory);
    for scheme in ["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"]
    {
        let url = format!("{scheme}://user:secret@192.0.2.9");
        let store = load(&format!("[store]\nurl = {url:?}\ntimeout = \"2s\"")).store;
        assert_eq!(store.timeout, Duration::from_secs(2));
        let StoreAddress::Shared(address) = &store.address else { panic!("{store:?}") };
        assert_eq!(address.expose(), url);
        assert!(!format!("{store:?}").contains("secret"));
    }
    for wrong in ["postgres://a", "redis", "memory", "memory://", ""] {
        assert_eq!(
            errors(&format!("[store]\nurl = {wrong:?}")),
            ["tandem.toml:2: store.url: is not memory: or the URL of a store (redis://…)"]
        );
    }
    assert_eq!(
        errors("[store]\ntimeout = \"6s\""),
        ["tandem.toml:2: store.timeout = \"6s\": out of range 1–5 s"]
    );
}

#[test]
fn unknown_keys_fail_with_line_and_suggestion() {
    assert_eq!(
        errors("[limits]\nmax_call = 5"),
        ["tandem.toml:2: limits.max_call: unknown key; did you mean max_calls?"]
    );
    assert_eq!(
        errors("\n[routing_gateways]\n"),
        ["tandem.toml:2: routing_gateways: unknown key; did you mean routing_gateway?"]
    );
    assert_eq!(errors("colour = 1"), ["tandem.toml:1: colour: unknown key"]);
    assert_eq!(
        errors("[[listen]]\nbind = \"0.0.0.0:5060\"\nbinds = 1")[0],
        "tandem.toml:3: listen[0].binds: unknown key; did you mean bind?"
    );
}

#[test]
fn all_errors_are_reported_at_once_by_line() {
    let text = "[limits]\ncps = 0\nmax_call = 1\n[node]\nname = \"\"\n[parameters]\nSS_SIP_SESSION_TTL = 1\n";
    let lines: Vec<_> = Config::parse(text, [])
        .expect_err("a wrong configuration")
        .into_iter()
        .map(|error| error.place)
        .collect();
    let at = |line, column| Place::Line { line, column };
    assert_eq!(lines, [at(2, 7), at(3, 1), at(5, 8), at(7, 22)]);
}

#[test]
fn syntax_errors_have_their_line() {
    let errors = errors("[node]\nname = \n[limits]\ncps == 2\n");
    assert!(errors[0].starts_with("tandem.toml:2: "), "{errors:?}");
    assert!(errors[1].starts_with("tandem.toml:4: ") && errors.len() == 2, "{errors:?}");
}

#[test]
fn listeners_that_cannot_both_be_bound_are_refused() {
    let listen = |binds: [&str; 2]| binds.map(|bind| format!("[[listen]]\nbind = \"{bind}\"\n")).concat();
    for binds in [["192.0.2.1:5060", "192.0.2.1:5060"], ["0.0.0.0:5060", "192.0.2.1:5060"]] {
        let message = format!(
            "tandem.toml:4: listen[1].bind = \"{}\": is the same listening address as listen[0].bind",
            binds[1]
        );
        assert_eq!(errors(&listen(binds)), [message]);
    }
    for binds in [
        ["127.0.0.1:0", "127.0.0.1:0"],
        ["192.0.2.1:5060", "192.0.2.2:5060"],
        ["0.0.0.0:5060", "[2001:db8::1]:5060"],
    ] {
        assert_eq!(load(&listen(binds)).listen.len(), 2);
    }
}

#[test]
fn tcp_and_udp_listen_at_one_port_and_two_of_tcp_do_not() {
    let listen = |transport| format!("[[listen]]\nbind = \"192.0.2.1:5060\"\ntransport = \"{transport}\"\n");
    assert_eq!(load(&[listen("udp"), listen("tcp")].concat()).listen.len(), 2);
    let message =
        "tandem.toml:5: listen[1].bind = \"192.0.2.1:5060\": is the same listening address as listen[0].bind";
    assert_eq!(errors(&[listen("tcp"), listen("tcp")].concat()), [message]);
}

#[test]
fn what_goes_for_connections_is_refused_where_there_are_none() {
    let keys = [
        ("max_connections", "5", "5"),
        ("max_connections_per_source", "5", "5"),
        ("idle_timeout", "\"60s\"", "\"60s\""),
        ("keep_alive", "\"60s\"", "\"60s\""),
    ];
    for (key, value, shown) in keys {
        let message = format!(
            "tandem.toml:3: listen[0].{key} = {shown}: goes with transport = \"tcp\" or \"tls\" only"
        );
        assert_eq!(errors(&format!("[[listen]]\nbind = \"0.0.0.0:5060\"\n{key} = {value}\n")), [message]);
    }
    let tcp = "[[listen]]\nbind = \"0.0.0.0:5060\"\ntransport = \"tcp\"\nidle_timeout = \"1s\"\n";
    assert_eq!(errors(tcp), ["tandem.toml:4: listen[0].idle_timeout = \"1s\": out of range 10–86400 s"]);
}

#[test]
fn a_tls_listener_needs_its_certificate_and_key() {
    let listen = "[[listen]]\ntransport = \"tls\"\nbind = \"0.0.0.0:5061\"\n";
    let missing = |key| format!("tandem.toml:1: listen[0].{key}: is missing; needed is a file in PEM");
    assert_eq!(errors(listen), [missing("cert"), missing("key")]);
    let keys = "cert = \"c.pem\"\nkey = \"k.pem\"\n";
    let least = Tls { cert: "c.pem".into(), key: "k.pem".into(), ..Tls::default() };
    assert_eq!(load(&format!("{listen}{keys}")).listen[0].tls, Some(least.clone()));
    let more = "client_ca = \"u.pem\"\nrequire_client_cert = true\nca = \"r.pem\"\nadvertise = \"sip.example.com:5061\"\n";
    let found = load(&format!("{listen}{keys}{more}")).listen.remove(0);
    let all =
        Tls { client_ca: Some("u.pem".into()), require_client_cert: true, ca: Some("r.pem".into()), ..least };
    assert_eq!((found.tls, found.advertise.as_deref()), (Some(all), Some("sip.example.com:5061")));
    assert_eq!(
        errors(&format!("{listen}{keys}require_client_cert = true\n")),
        ["tandem.toml:6: listen[0].require_client_cert = true: goes with client_ca only"]
    );
}

#[test]
fn what_belongs_to_tls_is_refused_elsewhere() {
    for (key, value) in [
        ("cert", "\"a.pem\""),
        ("key", "\"a.pem\""),
        ("client_ca", "\"a.pem\""),
        ("ca", "\"a.pem\""),
        ("require_client_cert", "true"),
    ] {
        let text = format!("[[listen]]\nbind = \"0.0.0.0:5060\"\ntransport = \"tcp\"\n{key} = {value}\n");
        let message = format!("tandem.toml:4: listen[0].{key} = {value}: goes with transport = \"tls\" only");
        assert_eq!(errors(&text), [message]);
    }
}

#[test]
fn two_listeners_cannot_have_one_name() {
    let text = "[[listen]]\nname = \"a\"\nbind = \"0.0.0.0:5060\"\n[[listen]]\nname = \"a\"\nbind = \"0.0.0.0:5070\"\n";
    assert_eq!(errors(text), ["tandem.toml:5: listen[1].name = \"a\": is the same name as listen[0].name"]);
}

#[test]
fn an_open_api_beyond_the_loopback_warns() {
    let open = warnings("[admin]\nbind = \"0.0.0.0:8080\"\n[parameters]\nSS_GATEWAY_SWITCH_LIMIT = 3");
    assert_eq!(open, ["admin.bind = 0.0.0.0:8080 is reachable from elsewhere and admin.tokens is empty"]);
    let closed =
        "[admin]\nbind = \"0.0.0.0:8080\"\ntokens = [\"t\"]\n[parameters]\nSS_GATEWAY_SWITCH_LIMIT = 3";
    assert!(warnings(closed).is_empty());
}

#[test]
fn credentials_show_neither_in_debug_nor_in_errors() {
    let text = format!(
        "[admin]\ntokens = [\"s3cret-token\"]\n{}",
        routing("username = \"u\"\npassword = \"s3cret-word\"")
    );
    assert!(!format!("{:?}", load(&text)).contains("s3cret"));
    let wrong = format!(
        "[admin]\ntokens = [\"s3cret token\"]\n[store]\nurl = \"redis://:s3cret@192.0.2.1\"\n{}",
        routing("username = \"u\"\npassword = [\"s3cret\"]")
    );
    let errors = Config::parse(&wrong, []).expect_err("a wrong configuration");
    assert!(!format!("{errors:?}").contains("s3cret"));
}

#[test]
fn emergency_numbers_are_listed_under_routing() {
    let config = load("[routing]\nemergency_numbers = [\"112\", \"+44999\"]");
    assert_eq!(config.routing.emergency.iter().collect::<Vec<_>>(), ["+44999", "112"]);
    assert_eq!(load("").routing.emergency.iter().count(), 0);
    let many: Vec<_> = (0..65).map(|number| format!("\"{number}\"")).collect();
    let text = format!("[routing]\nemergency_numbers = [{}]", many.join(", "));
    assert_eq!(
        errors(&text),
        [
            "tandem.toml:2: routing.emergency_numbers[64] = \"64\": is not among the first 64, which are the most there can be"
        ]
    );
}

#[test]
fn dns_settings_out_of_range_are_refused() {
    let dns = |keys: &str| errors(&format!("[dns]\n{keys}"));
    for (keys, problem) in [
        ("timeout = \"6s\"", "dns.timeout = \"6s\": out of range 1–5 s"),
        ("serve_stale = \"25h\"", "dns.serve_stale = \"25h\": out of range 0–86400 s"),
        (
            "servers = [\"dns.example.com\"]",
            "dns.servers[0] = \"dns.example.com\": is not the address of a DNS server such as 192.0.2.53 or \
             192.0.2.53:5353",
        ),
        ("server = []", "dns.server: unknown key; did you mean servers?"),
    ] {
        assert_eq!(dns(keys), [format!("tandem.toml:2: {problem}")]);
    }
    let nine: Vec<_> = (1..=9).map(|last| format!("\"192.0.2.{last}\"")).collect();
    let errors = dns(&format!("servers = [{}]", nine.join(", ")));
    assert_eq!(errors, ["tandem.toml:2: dns.servers[8] = \"192.0.2.9\": is not one of at most 8 servers"]);
}

#[test]
fn records_go_to_postgresql_by_a_url_that_is_never_shown() {
    let sink = |lines: &str| format!("[[cdr.sinks]]\ntype = \"postgresql\"\n{lines}");
    let url = "url = \"postgresql://tandem:s3cret@db:5432/billing?sslmode=require\"\n";
    let sinks = load(&sink(url)).cdr.sinks;
    let [CdrSink::PostgreSql { url: read, table, ca: None }] = &sinks[..] else { panic!("{sinks:?}") };
    assert!(read.expose().ends_with("sslmode=require"));
    assert_eq!(table, "cdr");
    assert!(!format!("{sinks:?}").contains("s3cret"));
    let sinks = load(&sink(&format!("{url}table = \"billing.cdr_2\"\nca = \"/etc/ca.pem\""))).cdr.sinks;
    let [CdrSink::PostgreSql { table, ca: Some(_), .. }] = &sinks[..] else { panic!("{sinks:?}") };
    assert_eq!(table, "billing.cdr_2");
    assert_eq!(
        errors(&sink("")),
        ["tandem.toml:1: cdr.sinks[0].url: is missing; needed is a URL of PostgreSQL (postgresql://…)"]
    );
    let wrong = errors(&sink("url = \"mysql://u:s3cret@db\""));
    assert_eq!(wrong, ["tandem.toml:3: cdr.sinks[0].url: is not a URL of PostgreSQL (postgresql://…)"]);
    for table in ["1cdr", "cdr;drop", "a.b.c", "CDR", ""] {
        let errors = errors(&sink(&format!("{url}table = {table:?}")));
        assert!(errors[0].contains("is not a table"), "{errors:?}");
    }
}

#[test]
fn records_that_may_wait_are_a_million_unless_set() {
    assert_eq!(load("").cdr.max_backlog, 1_000_000);
    assert_eq!(load("[cdr]\nmax_backlog = 5000").cdr.max_backlog, 5_000);
    assert_eq!(
        errors("[cdr]\nmax_backlog = 9"),
        ["tandem.toml:2: cdr.max_backlog = 9: out of range 10–1000000 records"]
    );
}

#[test]
fn a_link_beyond_this_machine_takes_certificates() {
    assert_eq!(load("").link, Link::default());
    assert!(load("").link.bind.ip().is_loopback(), "nobody else reaches it");
    let files = "ca = \"ca.pem\"\ncert = \"cert.pem\"\nkey = \"key.pem\"";
    let link = load(&format!("[link]\nbind = \"0.0.0.0:7946\"\nadvertise = \"node-1:7946\"\n{files}")).link;
    assert_eq!(link.advertise.as_deref(), Some("node-1:7946"));
    assert_eq!(link.tls.expect("files").ca, std::path::Path::new("ca.pem"));
    for (text, error) in [
        (
            "[link]\nbind = \"0.0.0.0:7946\"",
            "tandem.toml:2: link.bind = \"0.0.0.0:7946\": goes with ca, cert and key only",
        ),
        ("[link]\nca = \"ca.pem\"", "tandem.toml:2: link.ca = \"ca.pem\": goes with cert and key only"),
        ("[link]\nadvertise = \"node-1\"", "tandem.toml:2: link.advertise = \"node-1\": is not host:port"),
    ] {
        assert_eq!(errors(text), [error], "{text}");
    }
}
