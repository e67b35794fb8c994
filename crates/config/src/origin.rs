//! What a configuration was read from, so that what the cluster has in common can be put in place of a node's own.

use crate::config::{Config, Loaded};
use crate::error::{ConfigError, Problem};
use crate::place::Lines;
use crate::tree::Value;
use crate::warning::Warning;
use crate::{PARAMETERS, Secret, tree};
use std::ops::Range;
use std::sync::Arc;

/// The sections that a cluster can have in common. All others are each node's own: where it listens, what it keeps its
/// state in, how much it admits.
pub const CLUSTER_SECTIONS: [&str; 6] =
    ["parameters", "routing", "registrar", "endpoint", "mapping_gateway", "routing_gateway"];

/// What is shown in place of a password.
const HIDDEN: &str = "***";

/// The keys whose values are not shown.
const SECRET_KEYS: [&str; 2] = ["password", "ha1"];

/// A text without its passwords: each is `"***"`, which [`Config::with_cluster`] does not take for one. A text that is no TOML is
/// not shown at all.
pub fn without_secrets(text: &str) -> String {
    let Ok(root) = toml::de::DeTable::parse(text) else { return String::new() };
    let mut spans = Vec::new();
    find_secrets(root.get_ref(), &mut spans);
    spans.sort_by_key(|span| span.start);
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for span in spans {
        shown.push_str(&text[at..span.start]);
        shown.push_str(&format!("{HIDDEN:?}"));
        at = span.end;
    }
    shown.push_str(&text[at..]);
    shown
}

fn find_secrets(table: &toml::de::DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if SECRET_KEYS.contains(&key.get_ref().as_ref()) {
            spans.push(value.span());
            continue;
        }
        find_in(value.get_ref(), spans);
    }
}

fn find_in(value: &toml::de::DeValue<'_>, spans: &mut Vec<Range<usize>>) {
    match value {
        toml::de::DeValue::Table(table) => find_secrets(table, spans),
        toml::de::DeValue::Array(items) => items.iter().for_each(|item| find_in(item.get_ref(), spans)),
        _ => {}
    }
}

/// Where a text has a hidden password in place of one.
fn hidden(table: &tree::Table, path: &str, errors: &mut Vec<ConfigError>) {
    for (key, entry) in table {
        let key_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match &entry.node.value {
            Value::Text(text) if text == HIDDEN && SECRET_KEYS.contains(&key.as_str()) => {
                let (place, problem) = (entry.node.place.clone(), Problem::Hidden);
                errors.push(ConfigError { place, key: key_path, value: None, problem });
            }
            Value::Table(table) => hidden(table, &key_path, errors),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Value::Table(table) = &item.value {
                        hidden(table, &format!("{key_path}[{index}]"), errors);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A text with another value of a system parameter, or without one of its own; all else stays as it is written. Whether it is a
/// value of that parameter shows when the text is read.
///
/// # Errors
/// The text is no TOML.
pub fn with_parameter(text: &str, name: &str, value: Option<&str>) -> Result<String, Vec<ConfigError>> {
    let mut document: toml_edit::DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let place = Lines::of(text).place(error.span().map_or(0, |span| span.start));
        let problem = Problem::Syntax { message: error.message().to_owned() };
        vec![ConfigError { place, key: String::new(), value: None, problem }]
    })?;
    match value {
        None => {
            if let Some(parameters) =
                document.get_mut(PARAMETERS).and_then(toml_edit::Item::as_table_like_mut)
            {
                parameters.remove(name);
            }
        }
        // As a value of TOML where it is one, so that numbers stay numbers.
        Some(value) => {
            let mut value: toml_edit::Value = value.parse().unwrap_or_else(|_| value.into());
            let before = document.get(PARAMETERS).and_then(|parameters| parameters.get(name)?.as_value());
            if let Some(before) = before {
                *value.decor_mut() = before.decor().clone();
            }
            document.entry(PARAMETERS).or_insert_with(toml_edit::table)[name] = toml_edit::Item::Value(value);
        }
    }
    Ok(document.to_string())
}

/// A file's text and the environment.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// It may hold passwords, and so may the environment.
    text: Secret,
    environment: Vec<(String, Secret)>,
}

impl Default for Origin {
    fn default() -> Self {
        Self::new("", [])
    }
}

impl Origin {
    pub(crate) fn new(text: &str, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        Self { text: Secret::new(text.to_owned()), environment }
    }

    pub(crate) fn environment(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.environment.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()))
    }
}

impl Config {
    /// The configuration with that of the cluster in place of this node's own [`CLUSTER_SECTIONS`], whether the cluster's has
    /// them all or not. The environment overrides the cluster's as it does the file.
    ///
    /// # Errors
    /// Everything that is wrong with the cluster's, by its lines: also a section that belongs into each node's own file, and
    /// what does not go with this node's own, as a gateway that no listener of it can reach.
    pub fn with_cluster(&self, text: &str) -> Result<Loaded, Vec<ConfigError>> {
        let common = tree::parse(text)?;
        let foreign = |key: &str| !CLUSTER_SECTIONS.contains(&key);
        let errors = common.iter().filter(|(key, _)| foreign(key)).map(|(key, entry)| ConfigError {
            place: entry.key_place.clone(),
            key: key.clone(),
            value: None,
            problem: Problem::NotOfCluster,
        });
        let mut errors: Vec<_> = errors.collect();
        hidden(&common, "", &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut entries = tree::parse(self.origin.text.expose())?;
        let mut idle = Vec::new();
        for section in CLUSTER_SECTIONS {
            if entries.remove(section).is_some() {
                idle.push(Warning::NotUsed { section });
            }
        }
        entries.extend(common);
        let mut loaded = Config::read(entries, Arc::clone(&self.origin))?;
        loaded.warnings.extend(idle);
        Ok(loaded)
    }

    /// The [`CLUSTER_SECTIONS`] that this node's own file has.
    pub fn own_cluster_sections(&self) -> Vec<&'static str> {
        let entries = tree::parse(self.origin.text.expose()).unwrap_or_default();
        CLUSTER_SECTIONS.into_iter().filter(|section| entries.contains_key(*section)).collect()
    }
}
