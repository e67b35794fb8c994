//! What can be wrong with a parameter.

use super::definition::{Definition, Range, Unit};
use super::reading::Fault;

/// A parameter that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The catalogue has no such name.
    #[error("{name} is not a parameter{}", nearest.map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    Unknown {
        /// As given.
        name: String,
        /// The catalogue's name that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A gateway cannot have a value of its own.
    #[error("{name} cannot be overridden per gateway")]
    NotPerGateway {
        /// The parameter.
        name: &'static str,
    },
    /// Not in the range.
    #[error("{name} = {value} is out of range {range}{}", unit.suffix())]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// As given, shortened.
        value: String,
        /// What is allowed.
        range: Range,
        /// The range's unit.
        unit: Unit,
    },
    /// Not of the parameter's form.
    #[error("{name} = {value} is not {expected} ({range}{})", unit.suffix())]
    Malformed {
        /// The parameter.
        name: &'static str,
        /// As given, shortened.
        value: String,
        /// The form.
        expected: &'static str,
        /// What is allowed.
        range: Range,
        /// The range's unit.
        unit: Unit,
    },
}

impl ParameterError {
    pub(super) fn new(definition: &Definition, text: &str, fault: Fault) -> Self {
        let Definition { name, range, unit, .. } = *definition;
        let value = shown(text);
        match fault {
            Fault::OutOfRange => Self::OutOfRange { name, value, range, unit },
            Fault::Not(expected) => Self::Malformed { name, value, expected, range, unit },
        }
    }
}

/// The most characters of a refused value that are repeated.
const MAX_SHOWN: usize = 64;

fn shown(text: &str) -> String {
    let escaped: String = text.trim().escape_debug().take(MAX_SHOWN).collect();
    match escaped.as_str() {
        "" => "\"\"".to_owned(),
        whole if whole.chars().count() < MAX_SHOWN => escaped,
        _ => format!("{escaped}…"),
    }
}
