//! `[[mapping_gateway]]` and `[[routing_gateway]]`.

use crate::Secret;
use crate::config::{ConfiguredMapping, ConfiguredRouting, GatewayTls, TlsVerify};
use crate::error::Problem;
use crate::listen::{self, Listen};
use crate::numbers::{cause_map, dialled, number_rules, pass_headers, pass_methods, stop_codes};
use crate::registering;
use crate::section::{Section, Spot, flag, text, whole};
use crate::sections::{CALLS, CPS, overrides};
use crate::values::{duration, gateway_address, is_host_name, name, name as name_of_listener, network};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::flow::Transport;
use tandem_switch::gateway::{
    Account, GatewayAddress, HealthSettings, Limits, MappingGateway, Redirects, Registering, RoutingGateway,
    WhenStoreAway,
};
use tandem_switch::parameters::{Overrides, Parameters};
use tandem_switch::registrar::Endpoints;

/// What is needed of every routing gateway.
const ADDRESS: &str = "an address such as 192.0.2.1:5060 or a name such as sip.example.com (or endpoint, if it registers to us)";

const PRIORITY: RangeInclusive<u32> = 0..=65_535;
const WEIGHT: RangeInclusive<u32> = 1..=1000;
const DEFAULT_WEIGHT: u32 = 1;

/// Bounds of a probe's interval, in seconds.
const PROBE_INTERVAL: RangeInclusive<u32> = 1..=3600;
const DEFAULT_PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Values that must be unique, and the key that had each first.
pub(crate) struct Unique<T> {
    what: &'static str,
    seen: BTreeMap<T, String>,
}

impl<T: Ord + Clone> Unique<T> {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, seen: BTreeMap::new() }
    }

    pub(crate) fn check(&mut self, section: &mut Section, spot: &Spot<T>) {
        if let Some(first) = self.seen.get(&spot.value) {
            section.report(spot.error(Problem::Duplicate { what: self.what, first: first.clone() }));
        } else {
            self.seen.insert(spot.value.clone(), spot.key.clone());
        }
    }
}

/// The mapping gateways, with the system's `parameters` below their own; incomplete where there are errors.
pub(crate) fn mapping(root: &mut Section, parameters: &Parameters) -> Vec<ConfiguredMapping> {
    let mut names = Unique::new("name");
    let mut networks = Unique::new("network");
    let mut gateways = Vec::new();
    for mut section in root.sections("mapping_gateway") {
        let name = section.need("name", "a name", name);
        if let Some(name) = &name {
            names.check(&mut section, name);
        }
        let sources = sources(&mut section, &mut networks);
        let overrides = overrides(&mut section);
        let gateway = MappingGateway {
            name: Arc::from(name.map(|spot| spot.value).unwrap_or_default()),
            sources,
            limits: gateway_limits(&mut section),
            per_source: crate::limits::per_source(&mut section),
            trusted: switch(&mut section, "trusted"),
            pass_headers: pass_headers(&mut section),
            pass_methods: pass_methods(&mut section),
            number_rules: number_rules(&mut section),
            cause_map: cause_map(&mut section),
            parameters: parameters.call(&overrides),
        };
        gateways.push(ConfiguredMapping { gateway, overrides });
        root.adopt(section);
    }
    gateways
}

fn sources(section: &mut Section, networks: &mut Unique<ipnet::IpNet>) -> Vec<ipnet::IpNet> {
    const EXPECTED: &str = "at least one network such as 192.0.2.0/24";
    let Some(sources) = section.need_list("sources", EXPECTED, network) else {
        return Vec::new();
    };
    for source in &sources {
        networks.check(section, source);
    }
    sources.into_iter().map(|spot| spot.value).collect()
}

/// The routing gateways, with the system's `parameters` below their own; incomplete where there are errors.
pub(crate) fn routing(
    root: &mut Section,
    parameters: &Parameters,
    listeners: &[Listen],
    endpoints: &Endpoints,
) -> Vec<ConfiguredRouting> {
    let mut names = Unique::new("name");
    let mut gateways = Vec::new();
    for mut section in root.sections("routing_gateway") {
        let name = section.need("name", "a name", name);
        if let Some(name) = &name {
            names.check(&mut section, name);
        }
        gateways.extend(routing_gateway(&mut section, name, parameters, (listeners, endpoints)));
        root.adopt(section);
    }
    gateways
}

/// All keys are read even where one is wrong, so that every error is found.
fn routing_gateway(
    section: &mut Section,
    name: Option<Spot<String>>,
    parameters: &Parameters,
    (listeners, endpoints): (&[Listen], &Endpoints),
) -> Option<ConfiguredRouting> {
    let registers = section.is_there("endpoint");
    let mut address = if registers { endpoint(section, endpoints) } else { None };
    let transport = section.read("transport", listen::transport).map(|spot| spot.value);
    let listen = section.read("listen", name_of_listener);
    if !registers {
        address = section.need("address", ADDRESS, |node| gateway_address(node, transport));
    }
    if let (Some(Spot { value: GatewayAddress::Named(wanted), .. }), Some(listen)) = (&mut address, &listen) {
        // The name is followed only to what can be called from there.
        let from = listeners.iter().find(|one| one.name.as_deref() == Some(listen.value.as_str()));
        *wanted = wanted.clone().over(transport.or(from.map(|one| one.transport)));
    }
    if let Some(address) = &address {
        listen::check_reach(section, address, transport, listen.as_ref(), listeners);
    }
    let number = |spot: Option<Spot<u32>>, default| spot.map_or(default, |spot| spot.value);
    let overrides = overrides(section);
    let stop_codes = stop_codes(section);
    let prefixes = prefixes(section);
    let priority = section.read("priority", whole(PRIORITY, ""));
    let weight = section.read("weight", whole(WEIGHT, ""));
    let limits = gateway_limits(section);
    let trusted = switch(section, "trusted");
    let pass_headers = pass_headers(section);
    let pass_methods = pass_methods(section);
    let number_rules = number_rules(section);
    let disabled = switch(section, "disabled");
    let probe_interval = probe(section);
    let is_named = address.as_ref().is_some_and(|address| address.value.named().is_some());
    let tls = tls(section, transport, is_named);
    let account = account(section);
    let register = registering::register(section, account.as_ref());
    let redirects = redirects(section);
    let when_store_away = when_store_away(section);
    let gateway = RoutingGateway {
        name: Arc::from(name?.value),
        address: address?.value,
        transport,
        listen: listen.map(|spot| Arc::from(spot.value)),
        prefixes,
        priority: number(priority, 0),
        weight: number(weight, DEFAULT_WEIGHT),
        limits,
        trusted,
        pass_headers,
        pass_methods,
        account,
        redirects,
        when_store_away,
        number_rules,
        disabled,
        health: health(parameters, &overrides, (probe_interval, register, registers)),
        parameters: Arc::new(parameters.attempt(&overrides, stop_codes)),
    };
    Some(ConfiguredRouting { gateway, tls, overrides })
}

/// `endpoint` instead of `address`: the gateway is where that user is registered, and what it registers by says the rest.
fn endpoint(section: &mut Section, endpoints: &Endpoints) -> Option<Spot<GatewayAddress>> {
    let endpoint = section.read("endpoint", |node| {
        let user = text(node)?;
        let endpoint = endpoints.by_user(&user).ok_or(Problem::NoEndpoint)?;
        Ok(GatewayAddress::Endpoint(endpoint.user.clone()))
    });
    for key in ["address", "transport", "listen", "probe", "register", "tls_verify", "tls_name"] {
        section.read::<()>(key, |_| Err(Problem::NotA { expected: "of use beside endpoint" }));
    }
    endpoint
}

fn gateway_limits(section: &mut Section) -> Limits {
    Limits {
        max_calls: section.read("max_calls", whole(CALLS, "calls")).map(|spot| spot.value),
        cps: section.read("cps", whole(CPS, "calls/s")).map(|spot| spot.value),
    }
}

/// A switch that is off unless set.
fn switch(section: &mut Section, key: &'static str) -> bool {
    section.read(key, flag).is_some_and(|spot| spot.value)
}

/// `prefixes`; unless set, every number matches.
fn prefixes(section: &mut Section) -> Vec<String> {
    let prefix = |node| dialled(node, "at most 32 digits, '+', '*' or '#' that numbers begin with");
    let Some(prefixes) = section.read_filled_list("prefixes", "at least one prefix (\"\" for any)", prefix)
    else {
        return vec![String::new()];
    };
    let mut unique = Unique::new("prefix");
    for prefix in &prefixes {
        unique.check(section, prefix);
    }
    prefixes.into_iter().map(|spot| spot.value).collect()
}

/// `probe`: the interval, if it is on.
fn probe(section: &mut Section) -> Option<Duration> {
    let mut probe = section.section("probe")?;
    let on = probe.read("options", flag).is_none_or(|spot| spot.value);
    let interval = probe.read("interval", duration(PROBE_INTERVAL));
    section.adopt(probe);
    on.then(|| interval.map_or(DEFAULT_PROBE_INTERVAL, |spot| spot.value))
}

/// How a gateway's state is found out, by its own parameters.
fn health(
    parameters: &Parameters,
    overrides: &Overrides,
    (probe_interval, register, registers): (Option<Duration>, Option<Registering>, bool),
) -> HealthSettings {
    let own = parameters.with(overrides);
    HealthSettings {
        probe_interval,
        register,
        registers,
        publish_expire: own.publish_expire,
        resend: own.resend_schedule(),
    }
}

/// `tls_verify` and `tls_name`.
fn tls(section: &mut Section, transport: Option<Transport>, is_named: bool) -> GatewayTls {
    let verify = section.read("tls_verify", |node| match text(node)?.as_str() {
        "full" => Ok(TlsVerify::Full),
        "chain" => Ok(TlsVerify::Chain),
        "none" => Ok(TlsVerify::None),
        _ => Err(Problem::NotA { expected: "full, chain or none" }),
    });
    let name = section.read("tls_name", |node| match text(node)? {
        name if is_host_name(&name) || name.parse::<IpAddr>().is_ok() => Ok(name),
        _ => Err(Problem::NotA { expected: "a domain, or an address" }),
    });
    let elsewhere = match transport {
        Some(transport) => transport != Transport::Tls,
        // DNS may lead a name to TLS.
        None => !is_named,
    };
    if let Some(verify) = verify.as_ref().filter(|_| elsewhere) {
        section.report(verify.error(listen::ONLY_UNDER_TLS));
    }
    if let Some(name) = name.as_ref().filter(|_| elsewhere) {
        section.report(name.error(listen::ONLY_UNDER_TLS));
    }
    GatewayTls {
        verify: verify.map(|spot| spot.value).unwrap_or_default(),
        name: name.map(|spot| spot.value),
    }
}

/// `username` and `password`, both or none, and the only `realm` that they are for.
fn account(section: &mut Section) -> Option<Account> {
    let filled = |expected| {
        move |node| match text(node)? {
            text if text.is_empty() => Err(Problem::NotA { expected }),
            text => Ok(text),
        }
    };
    let username = section.read("username", filled("a user name"));
    let password = section.read_secret("password", text);
    let realm = section.read("realm", filled("a realm"));
    match (username, password) {
        (Some(username), Some(password)) => Some(Account {
            username: username.value,
            password: Secret::new(password.value),
            realm: realm.map(|spot| spot.value),
        }),
        (Some(_), None) => {
            section.missing("password", "the user name's password");
            None
        }
        (None, Some(_)) => {
            section.missing("username", "the password's user name");
            None
        }
        (None, None) => {
            if realm.is_some() {
                section.missing("username", "the realm's user name");
            }
            None
        }
    }
}

/// `when_store_away`: whether calls are admitted while the store cannot count them, by default a share of them.
fn when_store_away(section: &mut Section) -> WhenStoreAway {
    let read = section.read("when_store_away", |node| match text(node)?.as_str() {
        "admit" => Ok(WhenStoreAway::Admit),
        "refuse" => Ok(WhenStoreAway::Refuse),
        _ => Err(Problem::NotA { expected: "admit or refuse" }),
    });
    read.map(|spot| spot.value).unwrap_or_default()
}

/// `redirects`: where the gateway may redirect calls to, by default nowhere.
fn redirects(section: &mut Section) -> Redirects {
    let redirects = section.read("redirects", |node| match text(node)?.as_str() {
        "refuse" => Ok(Redirects::Refuse),
        "gateway" => Ok(Redirects::Gateway),
        "any" => Ok(Redirects::Any),
        _ => Err(Problem::NotA { expected: "\"refuse\", \"gateway\" or \"any\"" }),
    });
    redirects.map(|spot| spot.value).unwrap_or_default()
}
