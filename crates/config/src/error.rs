//! What can be wrong with a configuration.

use crate::place::Place;
use ipnet::IpNet;
use std::fmt;
use tandem_switch::parameters::ParameterError;

/// One thing that is wrong, with where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line, or the environment variable.
    pub place: Place,
    /// The key's path, `routing_gateway[1].max_calls`; indexes count from 0. Empty where the text is no TOML at all.
    pub key: String,
    /// The value as written; `None` for tables, and for whatever may hold a credential.
    pub value: Option<String>,
    /// What is wrong with it.
    pub problem: Problem,
}

impl ConfigError {
    /// The error as it is shown for a file of that name: `tandem.toml:14: …`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        InFile { error: self, file }
    }

    /// What follows the place.
    fn write_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Problem::Parameter(error) = &self.problem {
            // The error names the parameter itself; only a gateway's needs to say whose.
            return match self.key.as_str() {
                crate::PARAMETERS => write!(f, "{error}"),
                key => write!(f, "{key}: {error}"),
            };
        }
        if !self.key.is_empty() {
            f.write_str(&self.key)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}", self.problem)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Place::Variable(name), Problem::Parameter(error)) = (&self.place, &self.problem)
            && name.starts_with("SS_")
        {
            // The parameter's name is the variable's.
            return write!(f, "environment variable {error}");
        }
        write!(f, "{}: ", self.place)?;
        self.write_rest(f)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}

struct InFile<'a> {
    error: &'a ConfigError,
    file: &'a str,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error.place {
            Place::Line { line, .. } => {
                write!(f, "{}:{line}: ", self.file)?;
                self.error.write_rest(f)
            }
            Place::Variable(_) => write!(f, "{}", self.error),
        }
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not TOML.
    #[error("{message}")]
    Syntax {
        /// In the parser's words.
        message: String,
    },
    /// There is no such key.
    #[error("unknown key{}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A variable that names no key: keys are `TANDEM_SECTION__KEY`.
    #[error("names no key; keys are TANDEM_<SECTION>__<KEY>")]
    UnknownVariable,
    /// Two variables set one key.
    #[error("also set by {other}")]
    SetTwice {
        /// The other variable.
        other: Place,
    },
    /// A variable that leaves a gap in a list.
    #[error("leaves a gap: the next index is {next}")]
    IndexGap {
        /// The first free index.
        next: usize,
    },
    /// A variable whose path does not fit what is there.
    #[error("{found} has no keys below it")]
    NoKeysBelow {
        /// What is there.
        found: &'static str,
    },
    /// A key that is needed.
    #[error("is missing; needed is {expected}")]
    Missing {
        /// What it would hold.
        expected: &'static str,
    },
    /// A list without items.
    #[error("is empty; needed is {expected}")]
    Empty {
        /// What it would hold.
        expected: &'static str,
    },
    /// Of another type.
    #[error("is {found}, not {expected}")]
    WrongType {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Not in the range.
    #[error("out of range {min}–{max}{}{unit}", if unit.is_empty() { "" } else { " " })]
    OutOfRange {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
        /// The unit, possibly empty.
        unit: &'static str,
    },
    /// A text of another form.
    #[error("is not {expected}")]
    NotA {
        /// What it should be.
        expected: &'static str,
    },
    /// A network with bits set beyond its prefix length.
    #[error("has bits set beyond its prefix length; the network is {network}")]
    HostBits {
        /// The network that holds the address.
        network: IpNet,
    },
    /// Something that must be unique is not.
    #[error("is the same {what} as {first}")]
    Duplicate {
        /// What is the same.
        what: &'static str,
        /// The key that had it first.
        first: String,
    },
    /// 503 and 408 say nothing about the number, so they never end a hunt.
    #[error("503 and 408 cannot end a hunt")]
    NeverEndsHunt,
    /// A header that the switch writes itself on each leg.
    #[error("the switch writes this header itself on each leg")]
    OwnHeader,
    /// No regular expression.
    #[error("is no pattern: {reason}")]
    Pattern {
        /// In the engine's words.
        reason: String,
    },
    /// A replacement refers to a group that its pattern lacks.
    #[error("${{{group}}} is no group of the pattern (to follow $1 by a letter or digit, write ${{1}})")]
    UnknownGroup {
        /// The group referred to.
        group: String,
    },
    /// A key that belongs to another transport.
    #[error("goes with {with} only")]
    OnlyWith {
        /// What it goes with.
        with: &'static str,
    },
    /// Nobody listens by what a gateway is to be called by.
    #[error("no [[listen]]{}", listener(name.as_deref(), *transport, *family))]
    NoListener {
        /// The name of the listener that is asked for.
        name: Option<String>,
        /// The gateway's transport.
        transport: Option<&'static str>,
        /// Its address family.
        family: Option<&'static str>,
    },
    /// An endpoint belongs to nobody that there is.
    #[error("no [[mapping_gateway]] has this name")]
    NoMappingGateway,
    /// A gateway registers as nobody that there is.
    #[error("no [[endpoint]] is this user")]
    NoEndpoint,
    /// What a password is shown as, where one should be.
    #[error(
        "is the mark of a password that is not shown; write the password, or fetch the text with its secrets"
    )]
    Hidden,
    /// A section of a node in the configuration of its cluster.
    #[error("belongs into each node's own file, not into the configuration of the cluster")]
    NotOfCluster,
    /// Known, but not in this release.
    #[error("{0}")]
    NotInRelease(Feature),
    /// A parameter was refused.
    #[error(transparent)]
    Parameter(ParameterError),
}

fn listener(name: Option<&str>, transport: Option<&str>, family: Option<&str>) -> String {
    let named = name.map(|name| format!(" named {name}"));
    let speaks = transport.map(|transport| format!(" speaks {transport}"));
    let over = family.map(|family| format!(" over {family}"));
    // Without a transport it is the name alone that is wrong.
    let exists = if transport.is_none() { Some(" exists".to_owned()) } else { None };
    [named, speaks, over, exists].into_iter().flatten().collect()
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default()
}

/// What the configuration has words for, but this release does not do. Refused rather than ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Feature {
    /// Nodes with some of the roles.
    #[error("a node of this release has all three roles (edge, call, media)")]
    SeparateRoles,
    /// The media relay.
    #[error("the media relay is not in this release; media goes directly between the gateways")]
    MediaRelay,
    /// OpenTelemetry.
    #[error("exporting traces is not in this release")]
    Traces,
    /// CDR sinks other than JSON Lines and PostgreSQL.
    #[error("this release writes CDRs as jsonl and to postgresql only")]
    CdrSink,
}
