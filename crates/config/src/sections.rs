//! The sections about the node itself.

use crate::config::{Admin, Cdr, CdrSink, Dns, JsonlTarget, Link, LinkTls, Node, Store, StoreAddress};
use crate::error::{ConfigError, Feature, Problem};
use crate::place::Place;
use crate::section::{Section, list, text, whole};
use crate::tree::{self, Value};
use crate::values::{bind, dns_server, duration, name};
use crate::{PARAMETERS, Secret};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use tandem_switch::parameters::{Overrides, ParameterError, Parameters, Source};

/// Bounds of every limit on concurrent calls.
pub(crate) const CALLS: RangeInclusive<u32> = 1..=1_000_000;

/// Bounds of every limit on new calls per second.
pub(crate) const CPS: RangeInclusive<u32> = 1..=100_000;

/// Bounds of the wait for DNS servers, in seconds.
const DNS_TIMEOUT: RangeInclusive<u32> = 1..=5;

/// Bounds of the time that lapsed answers of DNS serve, in seconds.
const SERVE_STALE: RangeInclusive<u32> = 0..=86_400;

/// The most DNS servers.
const MAX_DNS_SERVERS: usize = 8;

/// Bounds of the records that wait for a sink.
const BACKLOG: RangeInclusive<u32> = 10..=1_000_000;

/// Bounds of the wait for the store, in seconds.
const STORE_TIMEOUT: RangeInclusive<u32> = 1..=5;

/// What the URL of a shared store begins with.
const SHARED_STORES: [&str; 6] =
    ["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"];

const ROLES: [&str; 3] = ["edge", "call", "media"];

/// `[parameters]`.
pub(crate) fn parameters(root: &mut Section) -> Parameters {
    let mut parameters = Parameters::default();
    if let Some(section) = root.section(PARAMETERS) {
        each_parameter(root, section, |name, value, source| parameters.set(name, value, source).map(|_| ()));
    }
    parameters
}

/// The `parameters` of a gateway.
pub(crate) fn overrides(gateway: &mut Section) -> Overrides {
    let mut overrides = Overrides::default();
    if let Some(section) = gateway.section(PARAMETERS) {
        each_parameter(gateway, section, |name, value, _| overrides.set(name, value).map(|_| ()));
    }
    overrides
}

fn each_parameter(
    parent: &mut Section,
    mut section: Section,
    mut set: impl FnMut(&str, &str, Source) -> Result<(), ParameterError>,
) {
    for (name, node) in section.take_all() {
        let source = match node.place {
            Place::Line { .. } => Source::File,
            Place::Variable(_) => Source::Environment,
        };
        let place = node.place.clone();
        let (key, shown) = (section.key(&name), node.value.shown());
        let Some(value) = section.read_node(key, shown, node, parameter_text) else {
            continue;
        };
        if let Err(error) = set(&name, &value.value, source) {
            let key = section.path().to_owned();
            section.report(ConfigError { place, key, value: None, problem: Problem::Parameter(error) });
        }
    }
    parent.adopt(section);
}

/// A parameter's value as the catalogue reads it: as text, lists with commas.
fn parameter_text(node: tree::Node) -> Result<String, Problem> {
    match node.value {
        Value::Text(text) | Value::Integer(text) | Value::Float(text) => Ok(text),
        Value::Flag(flag) => Ok(flag.to_string()),
        Value::List(items) => {
            Ok(items.into_iter().map(parameter_text).collect::<Result<Vec<_>, _>>()?.join(","))
        }
        value @ (Value::Date | Value::Table(_)) => {
            Err(Problem::WrongType { found: value.kind(), expected: "a parameter's value" })
        }
    }
}

/// `[node]`.
pub(crate) fn node(root: &mut Section) -> Node {
    let mut node = Node::default();
    let Some(mut section) = root.section("node") else {
        return node;
    };
    node.name = section.read("name", name).map(|spot| spot.value);
    if let Some(cluster) = section.read("cluster", name) {
        node.cluster = cluster.value;
    }
    section.read("roles", |node| {
        let roles = list(node)?.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
        if roles.iter().any(|role| !ROLES.contains(&role.as_str())) {
            Err(Problem::NotA { expected: "a list of edge, call and media" })
        } else if ROLES.iter().any(|needed| !roles.iter().any(|role| role == needed)) {
            Err(Problem::NotInRelease(Feature::SeparateRoles))
        } else {
            Ok(())
        }
    });
    root.adopt(section);
    node
}

/// `[dns]`.
pub(crate) fn dns(root: &mut Section) -> Dns {
    let mut dns = Dns::default();
    let Some(mut section) = root.section("dns") else {
        return dns;
    };
    let servers = section.read_list("servers", dns_server).unwrap_or_default();
    if let Some(beyond) = servers.get(MAX_DNS_SERVERS) {
        section.report(beyond.error(Problem::NotA { expected: "one of at most 8 servers" }));
    }
    dns.servers = servers.into_iter().map(|spot| spot.value).collect();
    if let Some(timeout) = section.read("timeout", duration(DNS_TIMEOUT)) {
        dns.timeout = timeout.value;
    }
    if let Some(serve_stale) = section.read("serve_stale", duration(SERVE_STALE)) {
        dns.serve_stale = serve_stale.value;
    }
    root.adopt(section);
    dns
}

/// `[store]`.
pub(crate) fn store(root: &mut Section) -> Store {
    let mut store = Store::default();
    let Some(mut section) = root.section("store") else {
        return store;
    };
    // A store's URL may hold a password.
    let url = section.read_secret("url", |node| {
        let url = text(node)?;
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            None if url == "memory:" => Ok(StoreAddress::Memory),
            Some(scheme) if SHARED_STORES.contains(&scheme) => Ok(StoreAddress::Shared(Secret::new(url))),
            None | Some(_) => Err(Problem::NotA { expected: "memory: or the URL of a store (redis://…)" }),
        }
    });
    store.address = url.map_or(store.address, |url| url.value);
    if let Some(timeout) = section.read("timeout", duration(STORE_TIMEOUT)) {
        store.timeout = timeout.value;
    }
    let [ca, cert, key, journal] =
        ["ca", "cert", "key", "journal"].map(|key| section.read(key, |node| Ok(PathBuf::from(text(node)?))));
    for (spot, other, name) in [(&cert, &key, "key"), (&key, &cert, "cert")] {
        if let (Some(spot), None) = (spot, other) {
            section.report(spot.error(Problem::OnlyWith { with: name }));
        }
    }
    let path = |spot: Option<crate::section::Spot<PathBuf>>| spot.map(|spot| spot.value);
    store.ca = path(ca);
    store.identity = path(cert).zip(path(key));
    store.journal = path(journal);
    root.adopt(section);
    store
}

/// `[link]`.
pub(crate) fn link(root: &mut Section) -> Link {
    let mut link = Link::default();
    let Some(mut section) = root.section("link") else {
        return link;
    };
    let bound = section.read("bind", bind);
    let advertise = section.read("advertise", |node| {
        let advertise = text(node)?;
        let port = advertise.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(port)) if port > 0 => Ok(advertise),
            Some(_) | None => Err(Problem::NotA { expected: "host:port" }),
        }
    });
    let [ca, cert, key] =
        ["ca", "cert", "key"].map(|key| section.read(key, |node| Ok(PathBuf::from(text(node)?))));
    for (spot, others, name) in [
        (&ca, [&cert, &key], "cert and key"),
        (&cert, [&ca, &key], "ca and key"),
        (&key, [&ca, &cert], "ca and cert"),
    ] {
        if let Some(spot) = spot
            && others.iter().any(|other| other.is_none())
        {
            section.report(spot.error(Problem::OnlyWith { with: name }));
        }
    }
    if let Some(name) = section.read("name", name) {
        link.name = name.value;
    }
    let is_plain = [&ca, &cert, &key].iter().all(|file| file.is_none());
    if let Some(bound) = &bound
        && !bound.value.ip().is_loopback()
        && is_plain
    {
        // Whoever reaches it could speak for a node.
        section.report(bound.error(Problem::OnlyWith { with: "ca, cert and key" }));
    }
    if let Some(bound) = bound {
        link.bind = bound.value;
    }
    link.advertise = advertise.map(|spot| spot.value);
    if let (Some(ca), Some(cert), Some(key)) = (ca, cert, key) {
        link.tls = Some(LinkTls { ca: ca.value, cert: cert.value, key: key.value });
    }
    root.adopt(section);
    link
}

/// `[admin]`.
pub(crate) fn admin(root: &mut Section) -> Admin {
    let mut admin = Admin::default();
    let Some(mut section) = root.section("admin") else {
        return admin;
    };
    if let Some(address) = section.read("bind", bind) {
        admin.bind = address.value;
    }
    // What a header can carry (RFC 6750 §2.1).
    let token = |node| {
        let token = text(node)?;
        if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Secret::new(token))
        } else {
            Err(Problem::NotA { expected: "a bearer token: printable ASCII without spaces" })
        }
    };
    let tokens = section.read_secrets("tokens", token).unwrap_or_default();
    admin.tokens = tokens.into_iter().map(|spot| spot.value).collect();
    root.adopt(section);
    admin
}

/// `[cdr]`.
pub(crate) fn cdr(root: &mut Section) -> Cdr {
    let mut cdr = Cdr::default();
    let Some(mut section) = root.section("cdr") else {
        return cdr;
    };
    if let Some(max_backlog) = section.read("max_backlog", whole(BACKLOG, "records")) {
        cdr.max_backlog = max_backlog.value;
    }
    for mut sink in section.sections("sinks") {
        let kind = sink.need("type", "jsonl or postgresql", |node| match text(node)?.as_str() {
            "jsonl" => Ok(SinkKind::Jsonl),
            "postgresql" => Ok(SinkKind::PostgreSql),
            "csv" | "webhook" => Err(Problem::NotInRelease(Feature::CdrSink)),
            _ => Err(Problem::NotA { expected: "jsonl, csv, postgresql or webhook" }),
        });
        match kind.map(|kind| kind.value) {
            Some(SinkKind::Jsonl) => cdr.sinks.extend(jsonl(&mut sink)),
            Some(SinkKind::PostgreSql) => cdr.sinks.extend(postgresql(&mut sink)),
            // The other keys belong to the type that was refused.
            None => drop(sink.take_all()),
        }
        section.adopt(sink);
    }
    root.adopt(section);
    cdr
}

/// The `type` of a sink.
#[derive(Clone, Copy)]
enum SinkKind {
    Jsonl,
    PostgreSql,
}

fn jsonl(sink: &mut Section) -> Option<CdrSink> {
    let target = sink.need("path", "a file, or - for standard output", |node| match text(node)?.as_str() {
        "" => Err(Problem::NotA { expected: "a file, or - for standard output" }),
        "-" => Ok(JsonlTarget::Stdout),
        path => Ok(JsonlTarget::File(PathBuf::from(path))),
    });
    Some(CdrSink::Jsonl { target: target?.value })
}

fn postgresql(sink: &mut Section) -> Option<CdrSink> {
    const URL: &str = "a URL of PostgreSQL (postgresql://…)";
    let is_there = sink.is_there("url");
    // It may hold a password.
    let url = sink.read_secret("url", |node| {
        let url = text(node)?;
        let is_one = ["postgresql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme));
        if is_one { Ok(Secret::new(url)) } else { Err(Problem::NotA { expected: URL }) }
    });
    if !is_there {
        sink.missing("url", URL);
    }
    let table = sink.read("table", |node| {
        let table = text(node)?;
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if table.split('.').count() <= 2 && table.split('.').all(is_name) {
            Ok(table)
        } else {
            Err(Problem::NotA {
                expected: "a table, as in cdr or billing.cdr: lower case letters, digits and _",
            })
        }
    });
    let ca = sink.read("ca", |node| Ok(PathBuf::from(text(node)?)));
    Some(CdrSink::PostgreSql {
        url: url?.value,
        table: table.map_or_else(|| "cdr".to_owned(), |table| table.value),
        ca: ca.map(|ca| ca.value),
    })
}
