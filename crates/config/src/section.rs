//! Reading a table: each key by its type, all errors collected, and whatever nobody asked for is unknown.

use crate::error::{ConfigError, Feature, Problem};
use crate::place::Place;
use crate::tree::{Node, Table, Value};
use std::ops::RangeInclusive;
use tandem_switch::parameters::nearest;

/// A table being read.
#[derive(Debug)]
#[must_use = "`finish` reports the errors"]
pub(crate) struct Section {
    path: String,
    /// Where the table begins.
    place: Place,
    entries: Table,
    asked: Vec<&'static str>,
    errors: Vec<ConfigError>,
}

/// A value that was read, and what an error about it would say.
#[derive(Clone, Debug)]
pub(crate) struct Spot<T> {
    pub(crate) value: T,
    pub(crate) key: String,
    place: Place,
    shown: Option<String>,
}

impl<T> Spot<T> {
    pub(crate) fn error(&self, problem: Problem) -> ConfigError {
        ConfigError { place: self.place.clone(), key: self.key.clone(), value: self.shown.clone(), problem }
    }
}

impl Section {
    pub(crate) fn root(entries: Table) -> Self {
        Self::new(String::new(), Place::Line { line: 1, column: 1 }, entries)
    }

    fn of(table: Spot<(Place, Table)>) -> Self {
        Self::new(table.key, table.value.0, table.value.1)
    }

    fn new(path: String, place: Place, entries: Table) -> Self {
        Self { path, place, entries, asked: Vec::new(), errors: Vec::new() }
    }

    /// The table's own path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a key in it.
    pub(crate) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn report(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    /// Takes over the errors of a table below this one, which has been read.
    pub(crate) fn adopt(&mut self, below: Section) {
        self.errors.extend(below.finish());
    }

    /// Reports the whole table as something this release does not do.
    pub(crate) fn refuse(&mut self, feature: Feature) {
        self.errors.push(ConfigError {
            place: self.place.clone(),
            key: self.path.clone(),
            value: None,
            problem: Problem::NotInRelease(feature),
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a key is there that was not read yet.
    pub(crate) fn is_there(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A key's value as `read` takes it; an error is collected and nothing returned.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Node) -> Result<T, Problem>,
    ) -> Option<Spot<T>> {
        let node = self.take(key)?;
        let shown = node.value.shown();
        self.read_node(self.key(key), shown, node, read)
    }

    /// As [`Section::read`], for what must not appear in messages.
    pub(crate) fn read_secret<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Node) -> Result<T, Problem>,
    ) -> Option<Spot<T>> {
        let node = self.take(key)?;
        self.read_node(self.key(key), None, node, read)
    }

    /// As [`Section::read`], for a key that must be there.
    pub(crate) fn need<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(Node) -> Result<T, Problem>,
    ) -> Option<Spot<T>> {
        if !self.entries.contains_key(key) {
            self.asked.push(key);
            self.missing(key, expected);
            return None;
        }
        self.read(key, read)
    }

    /// Reports a key that should have been there.
    pub(crate) fn missing(&mut self, key: &'static str, expected: &'static str) {
        let error = ConfigError {
            place: self.place.clone(),
            key: self.key(key),
            value: None,
            problem: Problem::Missing { expected },
        };
        self.errors.push(error);
    }

    /// A list, each item as `read` takes it. Items with errors are left out.
    pub(crate) fn read_list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(Node) -> Result<T, Problem>,
    ) -> Option<Vec<Spot<T>>> {
        self.items(key, Value::shown, read)
    }

    /// As [`Section::read_list`], for a list that must not be empty.
    pub(crate) fn read_filled_list<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl Fn(Node) -> Result<T, Problem>,
    ) -> Option<Vec<Spot<T>>> {
        let before = self.errors.len();
        let place = self.entries.get(key)?.node.place.clone();
        let items = self.read_list(key, read)?;
        if items.is_empty() && self.errors.len() == before {
            let problem = Problem::Empty { expected };
            self.errors.push(ConfigError { place, key: self.key(key), value: None, problem });
        }
        Some(items)
    }

    /// As [`Section::read_filled_list`], for a key that must be there.
    pub(crate) fn need_list<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl Fn(Node) -> Result<T, Problem>,
    ) -> Option<Vec<Spot<T>>> {
        if !self.entries.contains_key(key) {
            self.asked.push(key);
            self.missing(key, expected);
            return None;
        }
        self.read_filled_list(key, expected, read)
    }

    /// As [`Section::read_list`], for what must not appear in messages.
    pub(crate) fn read_secrets<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(Node) -> Result<T, Problem>,
    ) -> Option<Vec<Spot<T>>> {
        self.items(key, |_| None, read)
    }

    /// A table in it.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Section> {
        self.read(key, |node| Ok((node.place.clone(), table(node)?))).map(Section::of)
    }

    /// The tables of an array of tables; none if the key is absent.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section> {
        let tables = self.read_list(key, |node| Ok((node.place.clone(), table(node)?)));
        tables.into_iter().flatten().map(Section::of).collect()
    }

    /// As [`Section::sections`], where an empty array would be a mistake; `None` if the key is absent.
    pub(crate) fn filled_sections(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Option<Vec<Section>> {
        let tables = self.read_filled_list(key, expected, |node| Ok((node.place.clone(), table(node)?)))?;
        Some(tables.into_iter().map(Section::of).collect())
    }

    /// Every entry, for tables whose keys are data.
    pub(crate) fn take_all(&mut self) -> Vec<(String, Node)> {
        std::mem::take(&mut self.entries).into_iter().map(|(key, entry)| (key, entry.node)).collect()
    }

    /// As [`Section::read`], for a value that was taken by [`Section::take_all`].
    pub(crate) fn read_node<T>(
        &mut self,
        key: String,
        shown: Option<String>,
        node: Node,
        read: impl FnOnce(Node) -> Result<T, Problem>,
    ) -> Option<Spot<T>> {
        let place = node.place.clone();
        match read(node) {
            Ok(value) => Some(Spot { value, key, place, shown }),
            Err(problem) => {
                self.errors.push(ConfigError { place, key, value: shown, problem });
                None
            }
        }
    }

    /// The errors of this table, with an unknown key for each entry that was not asked for.
    pub(crate) fn finish(mut self) -> Vec<ConfigError> {
        for (key, entry) in &self.entries {
            let nearest = nearest(key, self.asked.iter().copied()).map(str::to_owned);
            self.errors.push(ConfigError {
                place: entry.key_place.clone(),
                key: self.key(key),
                value: None,
                problem: Problem::UnknownKey { nearest },
            });
        }
        self.errors
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        self.entries.remove(key).map(|entry| entry.node)
    }

    fn items<T>(
        &mut self,
        key: &'static str,
        shown: impl Fn(&Value) -> Option<String>,
        read: impl Fn(Node) -> Result<T, Problem>,
    ) -> Option<Vec<Spot<T>>> {
        let node = self.take(key)?;
        let path = self.key(key);
        let nodes = self.read_node(path.clone(), shown(&node.value), node, list)?.value;
        let read = nodes.into_iter().enumerate().filter_map(|(index, node)| {
            let shown = shown(&node.value);
            self.read_node(format!("{path}[{index}]"), shown, node, &read)
        });
        Some(read.collect())
    }
}

/// A text.
pub(crate) fn text(node: Node) -> Result<String, Problem> {
    match node.value {
        Value::Text(text) => Ok(text),
        other => Err(wrong_type(&other, "a text")),
    }
}

/// A whole number within bounds; from the environment, a text that is one.
pub(crate) fn whole(
    range: RangeInclusive<u32>,
    unit: &'static str,
) -> impl Fn(Node) -> Result<u32, Problem> + Clone {
    move |node| {
        let digits = match node {
            Node { value: Value::Integer(digits), .. } => digits,
            Node { value: Value::Text(text), place: Place::Variable(_) } if is_whole(text.trim()) => {
                text.trim().to_owned()
            }
            Node { value, .. } => return Err(wrong_type(&value, "a whole number")),
        };
        // What does not fit the type is beyond every range.
        digits.parse().ok().filter(|number| range.contains(number)).ok_or(Problem::OutOfRange {
            min: *range.start(),
            max: *range.end(),
            unit,
        })
    }
}

/// True or false; from the environment, a text that is one of these.
pub(crate) fn flag(node: Node) -> Result<bool, Problem> {
    match node {
        Node { value: Value::Flag(flag), .. } => Ok(flag),
        Node { value: Value::Text(text), place: Place::Variable(_) } => {
            text.trim().parse().map_err(|_| Problem::NotA { expected: "true or false" })
        }
        Node { value, .. } => Err(wrong_type(&value, "true or false")),
    }
}

/// A number, whole or not.
pub(crate) fn decimal(node: Node) -> Result<f64, Problem> {
    let number = match &node {
        Node { value: Value::Integer(digits) | Value::Float(digits), .. } => digits.parse().ok(),
        Node { value: Value::Text(text), place: Place::Variable(_) } => text.trim().parse().ok(),
        Node { .. } => None,
    };
    number.ok_or_else(|| wrong_type(&node.value, "a decimal"))
}

/// A list; from the environment, a text with commas.
pub(crate) fn list(node: Node) -> Result<Vec<Node>, Problem> {
    match node {
        Node { value: Value::List(items), .. } => Ok(items),
        Node { value: Value::Text(text), place: place @ Place::Variable(_) } => {
            let item = |item: &str| Node { value: Value::Text(item.trim().to_owned()), place: place.clone() };
            Ok(if text.trim().is_empty() { Vec::new() } else { text.split(',').map(item).collect() })
        }
        Node { value, .. } => Err(wrong_type(&value, "a list")),
    }
}

fn table(node: Node) -> Result<Table, Problem> {
    match node.value {
        Value::Table(entries) => Ok(entries),
        other => Err(wrong_type(&other, "a table")),
    }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn wrong_type(value: &Value, expected: &'static str) -> Problem {
    Problem::WrongType { found: value.kind(), expected }
}
