//! The configuration as the switch uses it: defaults filled in, values in their types.

use crate::error::ConfigError;
use crate::listen::{self, Listen};
use crate::origin::Origin;
use crate::section::Section;
use crate::warning::{self, Warning};
use crate::{Secret, environment, gateways, later, limits, registrar, routing, sections, tree};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::digest::Hash;
use tandem_switch::admission::{Allowance, BanRules};
use tandem_switch::emergency::EmergencyNumbers;
use tandem_switch::gateway::{MappingGateway, RoutingGateway};
use tandem_switch::parameters::{Overrides, Parameters};
use tandem_switch::registrar::{Domains, Endpoints, Rules, SuspensionRules};

/// Everything an operator can set. The default is what runs without a file.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[node]`.
    pub node: Node,
    /// `[[listen]]`, at least one.
    pub listen: Vec<Listen>,
    /// `[limits]`: what the whole node admits.
    pub limits: NodeLimits,
    /// `[dns]`.
    pub dns: Dns,
    /// `[store]`.
    pub store: Store,
    /// `[link]`.
    pub link: Link,
    /// `[admin]`.
    pub admin: Admin,
    /// `[cdr]`.
    pub cdr: Cdr,
    /// `[routing]`.
    pub routing: Routing,
    /// `[registrar]`.
    pub registrar: Registrar,
    /// `[[endpoint]]`; without any, nobody can register.
    pub endpoints: Arc<Endpoints>,
    /// `[parameters]`: the system's values.
    pub parameters: Parameters,
    /// `[[mapping_gateway]]`, in the file's order.
    pub mapping_gateways: Vec<ConfiguredMapping>,
    /// `[[routing_gateway]]`, in the file's order.
    pub routing_gateways: Vec<ConfiguredRouting>,
    /// What it was read from.
    pub(crate) origin: Arc<Origin>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: Node::default(),
            listen: vec![Listen::default()],
            limits: NodeLimits::default(),
            dns: Dns::default(),
            store: Store::default(),
            link: Link::default(),
            admin: Admin::default(),
            cdr: Cdr::default(),
            routing: Routing::default(),
            registrar: Registrar::new(&Node::default().cluster, &Parameters::default()),
            endpoints: Arc::default(),
            parameters: Parameters::default(),
            mapping_gateways: Vec::new(),
            routing_gateways: Vec::new(),
            origin: Arc::default(),
        }
    }
}

/// A configuration that is right, and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What to tell the operator.
    pub warnings: Vec<Warning>,
}

/// `[node]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `name`; unless set, the host's name, which is not known here.
    pub name: Option<String>,
    /// `cluster`, default `tandem`.
    pub cluster: String,
}

impl Default for Node {
    fn default() -> Self {
        Self { name: None, cluster: "tandem".to_owned() }
    }
}

/// `[limits]`: what the whole node admits; beyond, new calls get 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// `max_calls`: concurrent calls, default 20 000.
    pub max_calls: u32,
    /// `cps`: new calls per second; by default unlimited.
    pub cps: Option<u32>,
    /// `stranger_rate` (default 100 messages/s), `ban_after` (50 bad messages, 0 for never), `ban_window` (60 s) and
    /// `ban_time` (5 min): what may be sent from each address that is no gateway's.
    pub strangers: Allowance,
}

impl Default for NodeLimits {
    fn default() -> Self {
        let ban = BanRules { after: 50, window: Duration::from_secs(60), time: Duration::from_secs(300) };
        let strangers = Allowance { stranger: true, messages: Some(100), ban: Some(ban) };
        Self { max_calls: 20_000, cps: None, strangers }
    }
}

/// `[dns]`: how gateways by name are found (RFC 3263).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// `servers`: those that are asked, at most 8; without any, the system's.
    pub servers: Vec<SocketAddr>,
    /// `timeout`: how long they may take over one question, which is asked once more; default 1 s.
    pub timeout: Duration,
    /// `serve_stale`: how long the last answer goes on serving after it has lapsed while DNS is silent; default 1 h.
    pub serve_stale: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Duration::from_secs(1), serve_stale: Duration::from_secs(3600) }
    }
}

/// `[store]`: where what survives a node is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// `url`, default `memory:`.
    pub address: StoreAddress,
    /// `timeout`: how long a shared store may take over one request, connecting included; default 1 s.
    pub timeout: Duration,
    /// `ca`: a file with who signs the store's certificate, if the system does not trust them (`rediss…:`).
    pub ca: Option<PathBuf>,
    /// `cert` and `key`: files with what this node shows a store that asks for certificates.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `journal`: a directory of this node alone, for what must not be lost while a shared store is away; without one such
    /// requests are refused meanwhile.
    pub journal: Option<PathBuf>,
}

/// The `url` of `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// `memory:`: in this process, and gone with it.
    Memory,
    /// A URL of Redis, which all nodes of the cluster use. It may hold a password.
    Shared(Secret),
}

impl Default for Store {
    fn default() -> Self {
        Self {
            address: StoreAddress::Memory,
            timeout: Duration::from_secs(1),
            ca: None,
            identity: None,
            journal: None,
        }
    }
}

/// `[link]`: how the nodes of a cluster reach each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// `bind`, default `127.0.0.1:0`: any free port of the loopback interface, which nodes on this machine alone reach.
    pub bind: SocketAddr,
    /// `advertise`: the `host:port` by which other nodes reach it, by default what it is bound to.
    pub advertise: Option<String>,
    /// `ca`, `cert` and `key`: files of mutual TLS, without which a link beyond this machine is refused.
    pub tls: Option<LinkTls>,
    /// `name`: whom the certificates of all nodes are for, default `tandem`.
    pub name: String,
}

/// The files of the link's mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTls {
    /// Who signs the certificates of all nodes.
    pub ca: PathBuf,
    /// This node's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            advertise: None,
            tls: None,
            name: "tandem".to_owned(),
        }
    }
}

/// `[admin]`: the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `bind`, default `127.0.0.1:8080`.
    pub bind: SocketAddr,
    /// `tokens`: bearer tokens; without one the API is open.
    pub tokens: Vec<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080), tokens: Vec::new() }
    }
}

/// `[cdr]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cdr {
    /// `sinks`: where records are written, by default nowhere.
    pub sinks: Vec<CdrSink>,
    /// `max_backlog`: records that wait for a sink; when nine tenths of them do, new calls are refused. Default 1 000 000, which
    /// is what the store holds.
    pub max_backlog: u32,
}

impl Default for Cdr {
    fn default() -> Self {
        Self { sinks: Vec::new(), max_backlog: 1_000_000 }
    }
}

/// Where call detail records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CdrSink {
    /// JSON Lines.
    Jsonl {
        /// `path`.
        target: JsonlTarget,
    },
    /// A table in PostgreSQL.
    PostgreSql {
        /// `url`: `postgresql://user:password@host:port/database`, with `?sslmode=…`.
        url: Secret,
        /// `table`, default `cdr`; with a schema before it if that is not the first of the search path.
        table: String,
        /// `ca`: who signs the server's certificate, if the system does not trust them.
        ca: Option<PathBuf>,
    },
}

/// The `path` of a JSON Lines sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonlTarget {
    /// `-`.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// `[routing]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// `emergency_numbers`: called numbers, as dialled or after the mapping gateway's rules, whose calls no limit on
    /// their length ends; by default none.
    pub emergency: EmergencyNumbers,
}

/// `[registrar]`.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// `domains`: all are names of the same users; unless set, the cluster's name.
    pub domains: Domains,
    /// `realm`: what credentials are for; unless set, the first domain.
    pub realm: Arc<str>,
    /// `authenticate`: whether credentials are asked for, default true.
    pub authenticate: bool,
    /// `algorithms`, if set.
    pub(crate) algorithms: Option<Vec<Hash>>,
    /// The hash functions that are offered, in the order of preference: `algorithms`, else those that every endpoint can be
    /// checked with.
    pub hashes: Vec<Hash>,
    /// `nonce_life`: how long an answer to one challenge may be used again, default 5 min.
    pub nonce_life: Duration,
    /// `min_expires` (default 60 s), `max_contacts` (10), `service_route` (none), and the parameters about lifetimes.
    pub rules: Rules,
    /// `suspend_after` (10 wrong answers, 0 for never), `suspend_window` (1 min), `suspend_time` (5 min): of each source
    /// and of each account.
    pub suspension: SuspensionRules,
}

impl Registrar {
    /// The defaults in a cluster with these parameters.
    pub(crate) fn new(cluster: &str, parameters: &Parameters) -> Self {
        let domains = Domains::new(&[], cluster);
        Self {
            realm: domains.canonical().clone(),
            domains,
            authenticate: true,
            algorithms: None,
            hashes: vec![Hash::Sha256, Hash::Md5],
            nonce_life: Duration::from_secs(300),
            rules: Rules {
                min_expires: Duration::from_secs(60),
                expires: parameters.endpoint_expire,
                nat_expires: parameters.endpoint_nat_expire,
                max_contacts: 10,
                service_route: Vec::new(),
                keep_alive: parameters.keep_alive_period,
            },
            suspension: SuspensionRules {
                after: 10,
                window: Duration::from_secs(60),
                time: Duration::from_secs(300),
            },
        }
    }
}

/// A `[[mapping_gateway]]`.
#[derive(Clone, Debug)]
pub struct ConfiguredMapping {
    /// As the switch uses it, its parameters resolved.
    pub gateway: MappingGateway,
    /// `parameters`: its own values, for listings and for resolving again when the system's change.
    pub overrides: Overrides,
}

/// A `[[routing_gateway]]`.
#[derive(Clone, Debug)]
pub struct ConfiguredRouting {
    /// As the switch uses it, its parameters resolved.
    pub gateway: RoutingGateway,
    /// `tls_verify` and `tls_name`.
    pub tls: GatewayTls,
    /// `parameters`: its own values, for listings and for resolving again when the system's change.
    pub overrides: Overrides,
}

/// Whom the switch takes for a gateway under TLS (RFC 5922).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayTls {
    /// `tls_verify`: how far its certificate is verified.
    pub verify: TlsVerify,
    /// `tls_name`: the domain that its certificate has to be for; unless set, the host of its address.
    pub name: Option<String>,
}

/// How far a gateway's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVerify {
    /// `full`: signed by somebody trusted, and for the gateway's name.
    #[default]
    Full,
    /// `chain`: signed by somebody trusted, whatever its name.
    Chain,
    /// `none`: not at all.
    None,
}

impl Config {
    /// Reads a configuration file's text (empty for none: the built-in defaults) and the environment over it. Variables
    /// that begin neither with `TANDEM_` nor with `SS_` are none of ours.
    ///
    /// # Errors
    /// Everything that is wrong, by line, the environment's last. A text that is no TOML is not looked at further.
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Vec<ConfigError>> {
        let origin = Arc::new(Origin::new(text, environment));
        Self::read(tree::parse(text)?, origin)
    }

    /// Reads a tree, and the environment of its origin over it.
    pub(crate) fn read(entries: tree::Table, origin: Arc<Origin>) -> Result<Loaded, Vec<ConfigError>> {
        let (entries, mut errors) = environment::overlay(entries, origin.environment());
        let mut root = Section::root(entries);
        let parameters = sections::parameters(&mut root);
        let listen = listen::read(&mut root);
        let node = sections::node(&mut root);
        let mapping_gateways = gateways::mapping(&mut root, &parameters);
        let mut registrar = registrar::registrar(&mut root, &node.cluster, &parameters);
        let endpoints = registrar::endpoints(&mut root, &mut registrar, &mapping_gateways);
        let config = Config {
            node,
            limits: limits::limits(&mut root),
            dns: sections::dns(&mut root),
            store: sections::store(&mut root),
            link: sections::link(&mut root),
            admin: sections::admin(&mut root),
            cdr: sections::cdr(&mut root),
            routing: routing::routing(&mut root),
            registrar,
            mapping_gateways,
            routing_gateways: gateways::routing(&mut root, &parameters, &listen, &endpoints),
            endpoints: Arc::new(endpoints),
            listen,
            parameters,
            origin,
        };
        later::refuse(&mut root);
        errors.extend(root.finish());
        if errors.is_empty() {
            let warnings = warning::of(&config);
            return Ok(Loaded { config, warnings });
        }
        errors.sort_by(|a, b| (&a.place, &a.key).cmp(&(&b.place, &b.key)));
        Err(errors)
    }
}
