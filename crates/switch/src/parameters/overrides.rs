//! What one gateway has instead of the system's values.

use super::catalogue::{Parameters, definition};
use super::definition::Definition;
use super::error::ParameterError;
use std::collections::BTreeMap;

/// The values one gateway has of its own; for all others the system's hold.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Only the fields of the parameters in `set` count.
    values: Parameters,
    set: BTreeMap<&'static str, &'static Definition>,
}

impl Overrides {
    /// Sets a value from text, as [`Parameters::set`] does.
    ///
    /// # Errors
    /// An unknown name, one that is not per gateway, or a value outside its range.
    pub fn set(&mut self, name: &str, text: &str) -> Result<&'static Definition, ParameterError> {
        let row = definition(name)?;
        if !row.per_gateway.allowed() {
            return Err(ParameterError::NotPerGateway { name: row.name });
        }
        (row.access.read)(&mut self.values, text, row)
            .map_err(|fault| ParameterError::new(row, text, fault))?;
        self.set.insert(row.name, row);
        Ok(row)
    }

    /// Whether the gateway has no value of its own.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether the gateway has a value of its own for that parameter.
    pub(super) fn has(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// The gateway's own values as written in a configuration, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Definition, String)> {
        self.set.values().map(|row| (*row, (row.access.print)(&self.values, row)))
    }

    /// Puts the gateway's own values into `parameters`.
    pub(super) fn apply(&self, parameters: &mut Parameters) {
        for row in self.set.values() {
            (row.access.copy)(parameters, &self.values);
        }
    }
}
