//! Addresses of record.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tandem_sip::uri::{Scheme, unescape};
use tandem_sip::{Host, Uri};

/// The longest address of record, in bytes.
pub const MAX_AOR_LEN: usize = 256;

/// An address of record in its canonical form (RFC 3261 §10.3 step 5): `user@domain`, without scheme, escapes and
/// parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aor(Arc<str>);

impl Aor {
    /// Reads the form that [`Display`](fmt::Display) prints.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, domain) = text.rsplit_once('@')?;
        (!user.is_empty() && !domain.is_empty() && text.len() <= MAX_AOR_LEN).then(|| Self(text.into()))
    }

    /// As text: the name of its bindings in the store.
    pub fn as_str(&self) -> &Arc<str> {
        &self.0
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The user.
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(user, _)| user)
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The domains that we are the registrar of. All of them, and our own addresses, are names of the same users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains {
    names: Vec<Box<str>>,
    /// Those of the names that are addresses.
    addresses: Vec<IpAddr>,
    canonical: Arc<str>,
}

impl Domains {
    /// These domains; addresses of record have the first, or `fallback` if there is none.
    pub fn new(names: &[String], fallback: &str) -> Self {
        let names: Vec<Box<str>> = names.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        let addresses = names.iter().filter_map(|name| name.parse().ok()).collect();
        let first = names.first().map(|name| Arc::from(&**name));
        let canonical = first.unwrap_or_else(|| fallback.to_ascii_lowercase().into());
        Self { names, addresses, canonical }
    }

    /// The domain of all addresses of record.
    pub fn canonical(&self) -> &Arc<str> {
        &self.canonical
    }

    /// Whether a host is one of the domains, or an address of ours.
    pub fn has(&self, host: &Host<'_>, is_our_address: impl FnOnce(IpAddr) -> bool) -> bool {
        match host {
            Host::Name(name) => {
                let name = name.strip_suffix(b".").unwrap_or(name);
                let is = |domain: &str| name.eq_ignore_ascii_case(domain.as_bytes());
                self.names.iter().any(|domain| is(domain)) || is(&self.canonical)
            }
            Host::V4(_) | Host::V6(_) => {
                host.ip().is_some_and(|ip| self.addresses.contains(&ip) || is_our_address(ip))
            }
        }
    }

    /// The address of record of a user.
    pub fn aor(&self, user: &str) -> Aor {
        Aor([user, "@", &self.canonical].concat().into())
    }

    /// The address of record that a URI names; `None` if it names none of our domains, or no user.
    pub fn aor_of(&self, uri: &Uri<'_>, is_our_address: impl FnOnce(IpAddr) -> bool) -> Option<Aor> {
        let is_sip = matches!(uri.scheme, Scheme::Sip | Scheme::Sips);
        let user = uri.user.filter(|_| is_sip && self.has(&uri.host, is_our_address))?;
        let is_plain = !user.contains(&b'%');
        let aor = match is_plain {
            true => self.aor(std::str::from_utf8(user).ok()?),
            false => self.aor(std::str::from_utf8(&unescape(user)).ok()?),
        };
        let is_printable = !aor.0.bytes().any(|byte| byte.is_ascii_control());
        (aor.0.len() <= MAX_AOR_LEN && is_printable).then_some(aor)
    }
}
