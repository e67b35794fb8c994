//! `[registrar]`, and `[[endpoint]]`: who may register.

use crate::config::{ConfiguredMapping, Registrar};
use crate::error::Problem;
use crate::gateways::Unique;
use crate::numbers::dialled;
use crate::section::{Section, Spot, flag, text, whole};
use crate::tree::{Node, Value};
use crate::values::{duration, is_host_name, name};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use tandem_sip::Uri;
use tandem_sip::digest::{Algorithm, Ha1, Hash};
use tandem_sip::uri::Scheme;
use tandem_switch::parameters::Parameters;
use tandem_switch::registrar::{Domains, Endpoint, Endpoints, Rules};

/// Bounds of the shortest lifetime, in seconds.
const MIN_EXPIRES: RangeInclusive<u32> = 1..=86_400;

/// Bounds of the bindings of one address of record: the answer that lists them has to fit a datagram.
const MAX_CONTACTS: RangeInclusive<u32> = 1..=50;

/// Bounds of a nonce's life, in seconds.
const NONCE_LIFE: RangeInclusive<u32> = 10..=86_400;

/// Bounds of the wrong answers until somebody is suspended.
const SUSPEND_AFTER: RangeInclusive<u32> = 0..=1_000;

/// Bounds of the time in which they are counted, and of a suspension, in seconds.
const SUSPEND_WINDOW: RangeInclusive<u32> = 1..=3_600;
const SUSPEND_TIME: RangeInclusive<u32> = 1..=86_400;

/// The most bytes of a user name and of a realm.
const MAX_USER: usize = 64;
const MAX_REALM: usize = 128;

/// The most Service-Route values.
const MAX_SERVICE_ROUTES: usize = 8;

const HA1: &str = "32 (MD5) or 64 (SHA-256) hexadecimal digits, or { md5 = \"…\", sha256 = \"…\" }";

/// `[registrar]`. Without domains, users are of the domain `cluster`.
pub(crate) fn registrar(root: &mut Section, cluster: &str, parameters: &Parameters) -> Registrar {
    let mut registrar = Registrar::new(cluster, parameters);
    let Some(mut section) = root.section("registrar") else {
        return registrar;
    };
    if let Some(domains) = section.read_filled_list("domains", "at least one domain", domain) {
        let names: Vec<String> = domains.into_iter().map(|spot| spot.value).collect();
        registrar.domains = Domains::new(&names, cluster);
        registrar.realm = registrar.domains.canonical().clone();
    }
    if let Some(realm) = section.read("realm", realm) {
        registrar.realm = realm.value.into();
    }
    if let Some(authenticate) = section.read("authenticate", flag) {
        registrar.authenticate = authenticate.value;
    }
    let expected = "at least one of SHA-256 and MD5";
    if let Some(algorithms) = section.read_filled_list("algorithms", expected, algorithm) {
        registrar.algorithms = Some(algorithms.into_iter().map(|spot| spot.value).collect());
    }
    rules(&mut section, &mut registrar.rules);
    if let Some(life) = section.read("nonce_life", duration(NONCE_LIFE)) {
        registrar.nonce_life = life.value;
    }
    let suspension = &mut registrar.suspension;
    if let Some(after) = section.read("suspend_after", whole(SUSPEND_AFTER, "answers")) {
        suspension.after = after.value;
    }
    if let Some(window) = section.read("suspend_window", duration(SUSPEND_WINDOW)) {
        suspension.window = window.value;
    }
    if let Some(time) = section.read("suspend_time", duration(SUSPEND_TIME)) {
        suspension.time = time.value;
    }
    root.adopt(section);
    registrar
}

fn rules(section: &mut Section, rules: &mut Rules) {
    if let Some(min_expires) = section.read("min_expires", whole(MIN_EXPIRES, "s")) {
        rules.min_expires = std::time::Duration::from_secs(min_expires.value.into());
    }
    if let Some(max_contacts) = section.read("max_contacts", whole(MAX_CONTACTS, "contacts")) {
        rules.max_contacts = max_contacts.value as usize;
    }
    let routes = section.read_list("service_route", service_route).unwrap_or_default();
    if let Some(beyond) = routes.get(MAX_SERVICE_ROUTES) {
        section.report(beyond.error(Problem::NotA { expected: "one of at most 8 routes" }));
    }
    rules.service_route = routes.into_iter().map(|spot| spot.value.into()).collect();
}

/// A domain of users: a name or an address.
fn domain(node: Node) -> Result<String, Problem> {
    match text(node)? {
        domain if is_host_name(&domain) || domain.parse::<IpAddr>().is_ok() => Ok(domain),
        _ => Err(Problem::NotA { expected: "a domain such as sip.example.com" }),
    }
}

fn realm(node: Node) -> Result<String, Problem> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    match text(node)? {
        realm if matches!(realm.len(), 1..=MAX_REALM) && realm.bytes().all(plain) => Ok(realm),
        _ => Err(Problem::NotA { expected: "a realm of 1 to 128 printable characters without quotes" }),
    }
}

fn algorithm(node: Node) -> Result<Hash, Problem> {
    match Algorithm::parse(text(node)?.as_bytes()) {
        Some(Algorithm { hash: hash @ (Hash::Sha256 | Hash::Md5), session: false }) => Ok(hash),
        Some(_) | None => Err(Problem::NotA { expected: "SHA-256 or MD5" }),
    }
}

/// A proxy's URI, as it stands in a Route.
fn service_route(node: Node) -> Result<String, Problem> {
    let route = text(node)?;
    let is_loose = |uri: Uri<'_>| matches!(uri.scheme, Scheme::Sip | Scheme::Sips) && uri.has_lr();
    match Uri::parse(route.as_bytes()) {
        Ok(uri) if is_loose(uri) => Ok(format!("<{route}>")),
        Ok(_) | Err(_) => Err(Problem::NotA { expected: "a URI such as sip:proxy.example.com;lr" }),
    }
}

/// The endpoints. What they are checked with depends on the registrar's realm, and what it offers on them.
pub(crate) fn endpoints(
    root: &mut Section,
    registrar: &mut Registrar,
    mapping: &[ConfiguredMapping],
) -> Endpoints {
    let customers: BTreeSet<&str> = mapping.iter().map(|mapping| &*mapping.gateway.name).collect();
    let (mut users, mut numbers) = (Unique::new("user"), Unique::new("number"));
    let mut endpoints = Vec::new();
    let mut common = vec![Hash::Sha256, Hash::Md5];
    for mut section in root.sections("endpoint") {
        let user = section.need("user", "a user name", user);
        if let Some(user) = &user {
            users.check(&mut section, user);
        }
        let number = section.read("number", number);
        if let Some(number) = &number {
            numbers.check(&mut section, number);
        }
        let mapping_gateway = section.read("mapping_gateway", name);
        if let Some(customer) = mapping_gateway.as_ref().filter(|spot| !customers.contains(&*spot.value)) {
            section.report(customer.error(Problem::NoMappingGateway));
        }
        let ha1 = ha1(&mut section, user.as_ref(), registrar);
        let is_complete = user.is_some() && ha1.is_some();
        if let (Some(user), Some(ha1)) = (user, ha1) {
            if registrar.authenticate {
                common.retain(|hash| ha1.of(*hash).is_some());
            }
            endpoints.push(Endpoint {
                user: user.value.into(),
                ha1,
                number: number.map(|spot| spot.value),
                mapping_gateway: mapping_gateway.map(|spot| Arc::from(spot.value)),
            });
        }
        if is_complete && common.is_empty() && registrar.algorithms.is_none() {
            // Said once, of the first that has nothing in common with those before it.
            section.missing(
                "ha1",
                "a hash of an algorithm that all endpoints have, or algorithms in [registrar]",
            );
            common = vec![Hash::Sha256, Hash::Md5];
        }
        root.adopt(section);
    }
    registrar.hashes = registrar.algorithms.clone().unwrap_or(common);
    Endpoints::new(endpoints)
}

/// A user name that needs no escapes in a URI's user part, or hardly any, and no quotes in credentials.
fn user(node: Node) -> Result<String, Problem> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"@\"<>%:\\".contains(&byte);
    match text(node)? {
        user if matches!(user.len(), 1..=MAX_USER) && user.bytes().all(plain) => Ok(user),
        _ => Err(Problem::NotA {
            expected: "a user name of 1 to 64 printable characters without space and @ : \" < > % \\",
        }),
    }
}

fn number(node: Node) -> Result<String, Problem> {
    const EXPECTED: &str = "a number of 1 to 32 digits, '+', '*' or '#'";
    match dialled(node, EXPECTED)? {
        number if number.is_empty() => Err(Problem::NotA { expected: EXPECTED }),
        number => Ok(number),
    }
}

/// What the endpoint's credentials are checked with: of its `password` or its `ha1`; of neither where nobody is checked.
fn ha1(section: &mut Section, user: Option<&Spot<String>>, registrar: &Registrar) -> Option<Ha1> {
    let password = section.read_secret("password", |node| match text(node)? {
        password if password.is_empty() => Err(Problem::NotA { expected: "a password" }),
        password => Ok(password),
    });
    let given = section.is_there("ha1");
    let ha1 = section.read_secret("ha1", stored);
    match (password, ha1) {
        (Some(_), Some(ha1)) => {
            section.report(ha1.error(Problem::NotA { expected: "needed beside a password" }));
            None
        }
        (Some(password), None) => Some(Ha1::of_password(&user?.value, &registrar.realm, &password.value)),
        (None, Some(ha1)) => Some(ha1.value),
        (None, None) if !registrar.authenticate => Some(Ha1::default()),
        (None, None) => {
            if !given {
                section.missing("password", "a password, or ha1");
            }
            None
        }
    }
}

fn stored(node: Node) -> Result<Ha1, Problem> {
    const FORM: Problem = Problem::NotA { expected: HA1 };
    match node.value {
        Value::Text(digits) => Ha1::default().and(&digits).ok_or(FORM),
        Value::Table(table) if !table.is_empty() => {
            let mut ha1 = Ha1::default();
            for (key, entry) in table {
                let length = match key.as_str() {
                    "md5" => 32,
                    "sha256" => 64,
                    _ => return Err(FORM),
                };
                let digits = text(entry.node).map_err(|_| FORM)?;
                ha1 = Some(ha1)
                    .filter(|_| digits.len() == length)
                    .and_then(|ha1| ha1.and(&digits))
                    .ok_or(FORM)?;
            }
            Ok(ha1)
        }
        _ => Err(FORM),
    }
}
