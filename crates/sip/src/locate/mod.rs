//! Where a SIP URI leads (RFC 3263): which DNS questions to ask, and which targets their answers make, in which order.
//!
//! Nothing here asks anybody. A [`Locator`] says what to ask and is told the answers; what it has [`Located`] is kept in
//! a [`Cache`] for as long as the answers are valid.

mod cache;
mod located;
mod locator;
#[cfg(test)]
mod tests;
mod wanted;

pub use cache::{Cache, FailedTargets, Known, MAX_CACHED, MAX_FAILED_TARGETS, PUT_LAST_FOR};
pub use located::{Located, Target};
pub use locator::{Locator, Step};
pub use wanted::{Family, Offers, Wanted};

use crate::flow::Transport;
use std::net::IpAddr;
use std::time::Duration;

/// The most targets that a request is tried at.
pub const MAX_TARGETS: usize = 8;

/// The most ways of transport that the NAPTR records of one domain may offer.
pub const MAX_SERVICES: usize = 4;

/// The most hosts that are taken from one SRV answer, by priority.
pub const MAX_HOSTS: usize = 16;

/// The most addresses that are taken of one host and family.
pub const MAX_ADDRESSES: usize = 16;

/// The most records that are looked at in one answer.
pub const MAX_RECORDS: usize = 128;

/// The most questions that one location takes, aliases included.
pub const MAX_QUESTIONS: usize = 96;

/// The most aliases (CNAME) that are followed from one name. A loop ends here.
pub const MAX_ALIASES: u8 = 8;

/// The shortest time that an answer is taken to be valid: a TTL of 0 would ask anew for every call.
pub const MIN_TTL: Duration = Duration::from_secs(5);

/// The longest time that an answer is taken to be valid.
pub const MAX_TTL: Duration = Duration::from_secs(3600);

/// The longest time that a negative answer is taken to be valid, so that a mended zone is soon seen.
pub const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(300);

/// How soon is asked again what was not answered.
pub const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A DNS question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Query {
    /// The domain name, absolute, without the final dot, in lower case.
    pub name: String,
    /// What is asked of it.
    pub kind: QueryKind,
}

/// Which records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueryKind {
    /// Services (RFC 3403).
    Naptr,
    /// Hosts of a service (RFC 2782).
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records; those of another kind than was asked for are passed over.
    Records {
        /// The records.
        records: Vec<Record>,
        /// The shortest TTL among them.
        ttl: Duration,
    },
    /// The name is an alias (CNAME) of another one, and the answer has no more than that.
    Alias {
        /// The other name.
        name: String,
        /// The record's TTL.
        ttl: Duration,
    },
    /// There is no such name, or it has no such records.
    Empty {
        /// How long that is so (RFC 2308 §5).
        ttl: Duration,
    },
    /// No server answered in time, or none would say.
    Failed,
}

/// A DNS record, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A service of a domain (RFC 3403 §4.1).
    Naptr {
        /// Lower first; what a client does not know it skips, and it goes by the lowest that is left.
        order: u16,
        /// Lower first within one order.
        preference: u16,
        /// `s`: the replacement has SRV records.
        flags: String,
        /// `SIP+D2U`, `SIP+D2T`, `SIPS+D2T`.
        service: String,
        /// The name to go on with.
        replacement: String,
    },
    /// A host of a service (RFC 2782).
    Srv {
        /// Lower first.
        priority: u16,
        /// Share within one priority.
        weight: u16,
        /// Its port.
        port: u16,
        /// The host; empty for `.`: there is no such service.
        target: String,
    },
    /// An address of a host.
    Address(IpAddr),
}

/// Why there is no target. All but the last are answers, and kept for as long as they are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// The name has no address of a family that the listeners have.
    #[error("the name has no address")]
    NoAddress,
    /// The domain says that it does not have the service (an SRV target of `.`, RFC 2782).
    #[error("the domain does not offer the service")]
    NotOffered,
    /// None of the listeners has the transport that is wanted.
    #[error("no listener has the transport")]
    NoTransport,
    /// DNS did not answer.
    #[error("DNS does not answer")]
    Unanswered,
}

impl Transport {
    /// The port that is meant where none is given (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
        }
    }
}

/// A name as it is compared and asked for: lower case, without the dot at its end.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
