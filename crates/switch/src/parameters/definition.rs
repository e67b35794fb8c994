//! What the catalogue says about one parameter.

use super::catalogue::Parameters;
use super::reading::Fault;
use std::fmt;

/// One row of the catalogue.
#[derive(Debug)]
pub struct Definition {
    /// The name operators know it by, `SS_…`.
    pub name: &'static str,
    /// What it may be set to.
    pub range: Range,
    /// The unit of its value.
    pub unit: Unit,
    /// Whether a gateway can have a value of its own.
    pub per_gateway: PerGateway,
    /// Whether this release acts on it. The others are read, checked and listed, so that a configuration written for
    /// the whole catalogue loads.
    pub acted_on: bool,
    /// What it does, in one line.
    pub description: &'static str,
    pub(super) access: Access,
}

impl Definition {
    /// The default, as it is written in a configuration.
    pub fn default_value(&self) -> String {
        (self.access.print)(&Parameters::default(), self)
    }
}

/// How a row reaches its field of [`Parameters`].
#[derive(Debug)]
pub(super) struct Access {
    pub(super) read: fn(&mut Parameters, &str, &Definition) -> Result<(), Fault>,
    pub(super) print: fn(&Parameters, &Definition) -> String,
    /// Copies the field from the second to the first.
    pub(super) copy: fn(&mut Parameters, &Parameters),
}

/// What a parameter may be set to; printed as operators read it (`60–86400`, `On/Off`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// A whole number, both ends included.
    Whole {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// `None`, or a whole number.
    NoneOr {
        /// Smallest.
        min: u32,
        /// Largest, where there is a bound.
        max: Option<u32>,
        /// Whether 0 reads as `None`.
        zero_is_none: bool,
    },
    /// `On` or `Off`.
    OnOff,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list of decimals, each within bounds.
    Decimals {
        /// The most values in the list; at least one is needed.
        most: usize,
        /// Smallest value, in thousandths of the unit.
        min_thousandths: u32,
        /// Largest value, in thousandths of the unit.
        max_thousandths: u32,
    },
    /// Free text, possibly empty.
    Text {
        /// The most bytes of it.
        max_bytes: usize,
    },
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Whole { min, max } => write!(f, "{min}–{max}"),
            Range::NoneOr { min, max: Some(max), .. } => write!(f, "None or {min}–{max}"),
            Range::NoneOr { min, max: None, .. } => write!(f, "None or ≥ {min}"),
            Range::OnOff => f.write_str("On/Off"),
            Range::Words(words) => f.write_str(&words.join("/")),
            Range::Decimals { most, min_thousandths, max_thousandths } => {
                let decimal = |thousandths: &u32| f64::from(*thousandths) / 1000.0;
                write!(f, "1 to {most} decimals of {}–{}", decimal(min_thousandths), decimal(max_thousandths))
            }
            Range::Text { max_bytes } => write!(f, "text ≤ {max_bytes} bytes"),
        }
    }
}

/// The unit of a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// A number of things.
    Count,
    /// Words, switches and texts have none.
    None,
}

impl Unit {
    /// `s`, `ms`, `count`, or nothing.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Milliseconds => "ms",
            Unit::Count => "count",
            Unit::None => "",
        }
    }

    /// The unit as it follows a number: `␠s`, `␠ms`, `, count`, or nothing.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Unit::Seconds => " s",
            Unit::Milliseconds => " ms",
            Unit::Count => ", count",
            Unit::None => "",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.symbol())
    }
}

/// Which gateways can have a value of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerGateway {
    /// None: the system's value holds everywhere.
    No,
    /// Every gateway, each for its own leg.
    EitherLeg,
    /// Every gateway, but only a routing gateway's value has a meaning: it governs the attempt.
    Attempt,
}

impl PerGateway {
    /// Whether an override is allowed at all (the catalogue's GW mark).
    pub fn allowed(self) -> bool {
        match self {
            PerGateway::No => false,
            PerGateway::EitherLeg | PerGateway::Attempt => true,
        }
    }
}

/// Where a value in force comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The catalogue.
    #[default]
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Source::Default => "default",
            Source::File => "file",
            Source::Environment => "environment",
        })
    }
}
