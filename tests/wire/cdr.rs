//! The switch's records of calls.

use serde_json::Value;
use std::fs;
use std::path::Path;

/// A call detail record, as its JSON line has it.
#[derive(Clone, Debug)]
pub(crate) struct Cdr(Value);

impl Cdr {
    /// All complete records of a JSON Lines file; none if there is no file yet.
    pub(crate) fn read(file: &Path) -> Vec<Cdr> {
        let text = fs::read_to_string(file).unwrap_or_default();
        let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        complete.map(|line| Cdr(parse(line))).collect()
    }

    /// Whether it is of a whole call; others are of single attempts that did not connect.
    pub(crate) fn is_of_a_call(&self) -> bool {
        match self.text("record") {
            "call" => true,
            "attempt" => false,
            other => panic!("an unknown kind of record: {other}"),
        }
    }

    /// Fails unless the record has these values.
    pub(crate) fn has(&self, fields: &[(&str, Value)]) {
        for (name, wanted) in fields {
            assert_eq!(&self.0[name], wanted, "{name} in {:#}", self.0);
        }
    }

    /// A field that must be there, null or not.
    pub(crate) fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:#}", self.0))
    }

    /// A field that is a text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).as_str().unwrap_or_else(|| panic!("{name} is no text in {:#}", self.0))
    }

    /// A field that is a number of milliseconds.
    pub(crate) fn ms(&self, name: &str) -> u64 {
        self.get(name).as_u64().unwrap_or_else(|| panic!("{name} is no number in {:#}", self.0))
    }

    /// The attempts: each gateway and the status it sent, if it sent a final one.
    pub(crate) fn attempts(&self) -> Vec<(&str, Option<u64>)> {
        let attempts = self.get("attempts").as_array().expect("attempts are a list");
        attempts.iter().map(|a| (a["gateway"].as_str().expect("a name"), a["status"].as_u64())).collect()
    }
}
