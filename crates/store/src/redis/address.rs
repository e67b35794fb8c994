//! Where a shared store is: `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`.

use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult,
    TlsCertificates, TlsMode,
};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

const PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;

/// The address of a store, with what it is asked to let us in by.
#[derive(Clone)]
pub struct Address {
    pub(super) kind: Kind,
    /// Whom to trust and what to show, if not the system's and nothing.
    pub(super) tls: Option<TlsCertificates>,
}

#[derive(Clone)]
pub(super) enum Kind {
    /// One server.
    Standalone(Box<ConnectionInfo>),
    /// The master that sentinels name.
    Sentinel(Sentinels),
    /// A cluster, by some of its nodes.
    Cluster(Vec<ConnectionInfo>),
}

/// How a master is asked for.
#[derive(Clone)]
pub(super) struct Sentinels {
    sentinels: Vec<ConnectionAddr>,
    master: String,
    login: Login,
    db: i64,
    is_secure: bool,
}

#[derive(Clone, Default)]
struct Login {
    username: Option<String>,
    password: Option<String>,
}

/// What is wrong with the address of a store. It never repeats the address, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No scheme that a store has.
    #[error("not redis://, rediss://, redis+sentinel:// or redis+cluster://")]
    Scheme,
    /// A host or a port that cannot be read.
    #[error("no usable host and port")]
    Host,
    /// A sentinel's address without the name of a master.
    #[error("no name of a master: redis+sentinel://host:port,host:port/NAME")]
    Master,
    /// What follows the hosts cannot be read.
    #[error("{0}")]
    Other(String),
}

/// What goes with an address over TLS, each as PEM.
#[derive(Clone, Default)]
pub struct Certificates {
    /// Who signs the servers' certificates; without any, whom the system trusts.
    pub ca: Option<Vec<u8>>,
    /// The certificates and the key that are shown to servers that ask for some.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Address {
    /// The same, with these certificates where it is reached over TLS.
    pub fn with(self, certificates: Certificates) -> Self {
        let Certificates { ca, identity } = certificates;
        if ca.is_none() && identity.is_none() || !self.is_secure() {
            return self;
        }
        let client_tls =
            identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Self { tls: Some(TlsCertificates { client_tls, root_cert: ca }), ..self }
    }

    /// Whether it is reached over TLS.
    pub fn is_secure(&self) -> bool {
        let is_tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        match &self.kind {
            Kind::Standalone(info) => is_tls(info),
            Kind::Sentinel(sentinels) => sentinels.is_secure,
            Kind::Cluster(nodes) => nodes.iter().all(is_tls),
        }
    }

    /// A client of one server.
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match &self.tls {
            Some(tls) => Client::build_with_tls(info, tls.clone()),
            None => Client::open(info),
        }
    }
}

impl From<Kind> for Address {
    fn from(kind: Kind) -> Self {
        Self { kind, tls: None }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// `redis[s]://[user:password@]host[:port][/db]`, `redis[s]+sentinel://[user:password@]host[:port],…/master[/db]`,
    /// `redis[s]+cluster://[user:password@]host[:port],…`. With `rediss` everything goes over TLS.
    fn from_str(address: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = address.split_once("://").ok_or(AddressError::Scheme)?;
        match scheme {
            "redis" | "rediss" => {
                let info = address.into_connection_info().map_err(|error| other(&error))?;
                let settings = quick(info.tcp_settings().clone());
                Ok(Kind::Standalone(Box::new(info.set_tcp_settings(settings))).into())
            }
            "redis+sentinel" => Sentinels::parse(rest, false),
            "rediss+sentinel" => Sentinels::parse(rest, true),
            "redis+cluster" => cluster("redis", rest),
            "rediss+cluster" => cluster("rediss", rest),
            _ => Err(AddressError::Scheme),
        }
    }
}

impl fmt::Debug for Address {
    /// Without what it is asked to let us in by.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Standalone(info) => write!(formatter, "{}", info.addr()),
            Kind::Sentinel(sentinels) => write!(formatter, "the master {}", sentinels.master),
            Kind::Cluster(nodes) => {
                write!(formatter, "the cluster of")?;
                nodes.iter().try_for_each(|node| write!(formatter, " {}", node.addr()))
            }
        }
    }
}

/// Small messages are sent at once (Nagle's algorithm off).
pub(super) fn quick(settings: TcpSettings) -> TcpSettings {
    settings.set_nodelay(true)
}

fn other(error: &redis::RedisError) -> AddressError {
    AddressError::Other(error.detail().unwrap_or("not the address of a store").to_owned())
}

/// Splits `user:password@hosts/path` into its three parts.
fn split(rest: &str) -> (Option<&str>, &str, &str) {
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (Some(login), rest),
        None => (None, rest),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    (login, hosts, path)
}

fn cluster(scheme: &str, rest: &str) -> Result<Address, AddressError> {
    let (login, hosts, path) = split(rest);
    if !path.is_empty() {
        return Err(AddressError::Other("a cluster has no databases".to_owned()));
    }
    let login = login.map(|login| format!("{login}@")).unwrap_or_default();
    let node = |host: &str| {
        host_and_port(host, PORT)?;
        let info =
            format!("{scheme}://{login}{host}").into_connection_info().map_err(|error| other(&error))?;
        let settings = quick(info.tcp_settings().clone());
        Ok(info.set_tcp_settings(settings))
    };
    hosts.split(',').map(node).collect::<Result<_, _>>().map(|nodes| Kind::Cluster(nodes).into())
}

fn host_and_port(text: &str, default: u16) -> Result<(String, u16), AddressError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| AddressError::Host)?),
        Some(_) | None => (text, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(AddressError::Host) } else { Ok((host.to_owned(), port)) }
}

impl Sentinels {
    fn parse(rest: &str, is_secure: bool) -> Result<Address, AddressError> {
        let (login, hosts, path) = split(rest);
        let (master, db) = path.split_once('/').unwrap_or((path, "0"));
        if master.is_empty() {
            return Err(AddressError::Master);
        }
        let db = db.parse().map_err(|_| AddressError::Other("no usable number of a database".to_owned()))?;
        let address = |host: &str| {
            let (host, port) = host_and_port(host, SENTINEL_PORT)?;
            Ok(match is_secure {
                true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
                false => ConnectionAddr::Tcp(host, port),
            })
        };
        let sentinels = hosts.split(',').map(address).collect::<Result<_, _>>()?;
        let login = login.map(Login::parse).transpose()?.unwrap_or_default();
        let master = master.to_owned();
        Ok(Kind::Sentinel(Self { sentinels, master, login, db, is_secure }).into())
    }

    /// What asks them.
    pub(super) fn client(&self, tls: Option<&TlsCertificates>) -> RedisResult<SentinelClient> {
        let mut builder =
            SentinelClientBuilder::new(self.sentinels.clone(), &self.master, SentinelServerType::Master)?
                .set_client_to_redis_db(self.db)
                .set_client_to_redis_tcp_settings(quick(TcpSettings::default()));
        if let Some(username) = &self.login.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &self.login.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if self.is_secure {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(tls) = tls {
            builder = builder
                .set_client_to_redis_certificates(tls.clone())
                .set_client_to_sentinel_certificates(tls.clone());
        }
        builder.build()
    }
}

impl Login {
    /// `user:password`, `:password` or `user`; the escapes of a URL are undone.
    fn parse(text: &str) -> Result<Self, AddressError> {
        // The library reads them where they stand in a URL of its own.
        let info = format!("redis://{text}@host").into_connection_info().map_err(|error| other(&error))?;
        let redis = info.redis_settings();
        Ok(Self {
            username: redis.username().map(str::to_owned),
            password: redis.password().map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: &str) -> Result<String, AddressError> {
        address.parse::<Address>().map(|address| address.to_string())
    }

    #[test]
    fn one_server_is_a_host_with_a_port() {
        assert_eq!(shown("redis://store").as_deref(), Ok("store:6379"));
        assert_eq!(shown("rediss://:secret@store:7000/2").as_deref(), Ok("store:7000"));
        assert_eq!(shown("redis://[::1]:7000").as_deref(), Ok("::1:7000"));
    }

    #[test]
    fn a_master_is_named_behind_its_sentinels() {
        assert_eq!(shown("redis+sentinel://a,b:26380/tandem").as_deref(), Ok("the master tandem"));
        assert_eq!(shown("redis+sentinel://a,b"), Err(AddressError::Master));
        assert_eq!(shown("redis+sentinel://a:b/tandem"), Err(AddressError::Host));
        assert!(shown("redis+sentinel://a/tandem/x").is_err());
    }

    #[test]
    fn a_cluster_is_some_of_its_nodes() {
        assert_eq!(shown("redis+cluster://a:7000,b").as_deref(), Ok("the cluster of a:7000 b:6379"));
        assert!(shown("redis+cluster://a/1").is_err());
        assert_eq!(shown("redis+cluster://a,"), Err(AddressError::Host));
    }

    #[test]
    fn a_password_is_never_shown() {
        for address in ["redis://u:hush@a", "redis+sentinel://u:hush@a/m", "redis+cluster://u:hush@a,b"] {
            let address: Address = address.parse().expect("an address");
            assert!(!format!("{address} {address:?}").contains("hush"));
        }
        for wrong in ["hush", "redis+sentinel://u:hush@a", "redis+cluster://u:hush@:1", "http://u:hush@a"] {
            let error = shown(wrong).expect_err("no address");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_masters_password_is_unescaped() {
        let Kind::Sentinel(sentinels) =
            "redis+sentinel://u:a%40b@h/m".parse::<Address>().expect("an address").kind
        else {
            panic!("sentinels")
        };
        assert_eq!(sentinels.login.username.as_deref(), Some("u"));
        assert_eq!(sentinels.login.password.as_deref(), Some("a@b"));
    }
}
