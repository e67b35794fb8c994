//! Numbers of emergency services: calls to them are never ended by a limit on their length, and are shed last.

use std::collections::BTreeSet;

/// The most emergency numbers of one configuration.
pub const MAX_EMERGENCY_NUMBERS: usize = 64;

/// The `emergency_numbers` of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmergencyNumbers(BTreeSet<String>);

impl EmergencyNumbers {
    /// These numbers; what is beyond [`MAX_EMERGENCY_NUMBERS`] is left out.
    pub fn new(numbers: impl IntoIterator<Item = String>) -> Self {
        Self(numbers.into_iter().take(MAX_EMERGENCY_NUMBERS).collect())
    }

    /// Whether a called number is one of them: as a whole, since a longer number may begin with any of them.
    pub fn contains(&self, number: &str) -> bool {
        self.0.contains(number)
    }

    /// The numbers, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emergency_number_is_matched_as_a_whole() {
        let numbers = EmergencyNumbers::new(["112".to_owned(), "999".to_owned()]);
        assert!(numbers.contains("112") && numbers.contains("999"));
        assert!(!numbers.contains("1121") && !numbers.contains("11") && !numbers.contains(""));
        assert!(!EmergencyNumbers::default().contains(""));
    }
}
