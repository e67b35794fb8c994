//! The configuration as a tree in which each value knows its place.

use crate::error::{ConfigError, Problem};
use crate::place::{Lines, Place};
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    /// In decimal; possibly too large for any type.
    Integer(String),
    Float(String),
    Flag(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

/// The entries of a table. Each has its key's place too: that is where an unknown key is.
pub(crate) type Table = BTreeMap<String, Entry>;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

impl Value {
    /// What it is, as a message names it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a decimal",
            Value::Flag(_) => "true or false",
            Value::Date => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// A scalar as written, for messages.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Value::Text(text) => Some(format!("{text:?}")),
            Value::Integer(text) | Value::Float(text) => Some(text.clone()),
            Value::Flag(flag) => Some(flag.to_string()),
            Value::Date | Value::List(_) | Value::Table(_) => None,
        }
    }
}

/// Reads TOML.
///
/// # Errors
/// The first syntax error of each line; the parser goes on after one as well as it can.
pub(crate) fn parse(text: &str) -> Result<Table, Vec<ConfigError>> {
    let lines = Lines::of(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(root.into_inner(), &lines));
    }
    let error = |error: &toml::de::Error| ConfigError {
        place: lines.place(error.span().map_or(0, |span| span.start)),
        key: String::new(),
        value: None,
        problem: Problem::Syntax { message: error.message().to_owned() },
    };
    let mut errors: Vec<ConfigError> = errors.iter().map(error).collect();
    errors.sort_by(|a, b| a.place.cmp(&b.place));
    errors.dedup_by(|later, first| later.place.line() == first.place.line());
    Err(errors)
}

fn table(entries: DeTable<'_>, lines: &Lines<'_>) -> Table {
    let entry = |(key, value): (Spanned<_>, _)| {
        let key_place = lines.place(key.span().start);
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        (key.into_owned(), Entry { key_place, node: node(value, lines) })
    };
    entries.into_iter().map(entry).collect()
}

fn node(value: Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let place = lines.place(value.span().start);
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            let decimal = i128::from_str_radix(integer.as_str(), integer.radix());
            Value::Integer(decimal.map_or_else(|_| integer.to_string(), |number| number.to_string()))
        }
        DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(entries) => Value::Table(table(entries, lines)),
    };
    Node { value, place }
}
