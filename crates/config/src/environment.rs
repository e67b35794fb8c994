//! Environment variables over the file: `TANDEM_<SECTION>__<KEY>` sets a key, `SS_…` a parameter.

use crate::PARAMETERS;
use crate::error::{ConfigError, Problem};
use crate::place::Place;
use crate::tree::{Entry, Node, Table, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Variables with our prefix that the binary reads before there is a configuration.
const READ_BY_THE_BINARY: [&str; 2] = ["TANDEM_CONFIG", "TANDEM_LOG"];

/// The one table whose keys are numbers; elsewhere a number is an index.
const TABLE_KEYED_BY_NUMBERS: &str = "cause_map";

/// Puts the variables that concern us into the tree.
///
/// # Errors
/// Variables that cannot name a key, or that do not fit what is there. Whether a key exists is found when it is read.
pub(crate) fn overlay(
    mut root: Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> (Table, Vec<ConfigError>) {
    let mut errors = Vec::new();
    // By path, indexes in numeric order, so that each extends the list the one before has made.
    let mut settings: BTreeMap<Vec<Step>, Vec<(Place, String)>> = BTreeMap::new();
    for (name, value) in variables {
        if let Some(steps) = path(&name, &value) {
            let place = Place::Variable(Arc::from(name));
            settings.entry(steps).or_default().push((place, value));
        }
    }
    for (steps, mut values) in settings {
        values.sort();
        let mut first: Option<Place> = None;
        for (place, value) in values {
            let result = match (steps.split_first(), &first) {
                (None, _) => Err(Problem::UnknownVariable),
                (Some(_), Some(other)) => Err(Problem::SetTwice { other: other.clone() }),
                (Some((step, below)), None) => set_entry(&mut root, step, below, &place, value),
            };
            if let Err(problem) = result {
                let key = steps.iter().fold(String::new(), |path, step| step.below(&path));
                errors.push(ConfigError { place: place.clone(), key, value: None, problem });
            }
            first.get_or_insert(place);
        }
    }
    (root, errors)
}

/// One step of a key's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Index(usize),
    Key(String),
}

impl Step {
    fn below(&self, path: &str) -> String {
        match self {
            Step::Index(index) => format!("{path}[{index}]"),
            Step::Key(key) if path.is_empty() => key.clone(),
            Step::Key(key) => format!("{path}.{key}"),
        }
    }
}

/// The path a variable names: `None` if it is not ours, empty if it is but names no key.
fn path(name: &str, value: &str) -> Option<Vec<Step>> {
    if READ_BY_THE_BINARY.contains(&name) || is_service_link(name, value) {
        return None;
    }
    if name.starts_with("SS_") {
        return Some(vec![Step::Key(PARAMETERS.to_owned()), Step::Key(name.to_owned())]);
    }
    let names: Vec<&str> = name.strip_prefix("TANDEM_")?.split("__").collect();
    if names.len() < 2 || names.iter().any(|name| name.is_empty()) {
        return Some(Vec::new());
    }
    let mut steps: Vec<Step> = Vec::new();
    for name in names {
        let keyed_by_number =
            matches!(steps.last(), Some(Step::Key(above)) if above == TABLE_KEYED_BY_NUMBERS);
        steps.push(match name.parse() {
            Ok(index) if !keyed_by_number && name.bytes().all(|byte| byte.is_ascii_digit()) => {
                Step::Index(index)
            }
            Ok(_) | Err(_) if name.starts_with("SS_") => Step::Key(name.to_owned()),
            Ok(_) | Err(_) => Step::Key(name.to_ascii_lowercase()),
        });
    }
    Some(steps)
}

/// Kubernetes announces each service of a namespace to its pods in variables named after it; a service called `tandem`
/// must not keep the switch from starting.
fn is_service_link(name: &str, value: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_port = |words: &[&str]| match words {
        ["PORT", number, "TCP" | "UDP" | "SCTP", rest @ ..] => {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && matches!(rest, [] | ["PROTO"] | ["PORT"] | ["ADDR"])
        }
        _ => false,
    };
    !name.contains("__")
        && (words.ends_with(&["SERVICE", "HOST"])
            || words.windows(2).any(|pair| pair == ["SERVICE", "PORT"])
            || (is_url && words.ends_with(&["PORT"]))
            || (1..words.len()).any(|from| is_port(&words[from..])))
}

fn set_entry(
    table: &mut Table,
    step: &Step,
    below: &[Step],
    place: &Place,
    text: String,
) -> Result<(), Problem> {
    let key = match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    };
    let fresh = || Entry { key_place: place.clone(), node: empty(below, place) };
    set(&mut table.entry(key).or_insert_with(fresh).node, below, place, text)
}

fn set(node: &mut Node, steps: &[Step], place: &Place, text: String) -> Result<(), Problem> {
    let Some((step, below)) = steps.split_first() else {
        *node = Node { value: Value::Text(text), place: place.clone() };
        return Ok(());
    };
    match (&mut node.value, step) {
        (Value::Table(table), Step::Key(_) | Step::Index(_)) => set_entry(table, step, below, place, text),
        (Value::List(items), Step::Index(index)) => {
            if *index > items.len() {
                return Err(Problem::IndexGap { next: items.len() });
            }
            if *index == items.len() {
                items.push(empty(below, place));
            }
            set(&mut items[*index], below, place, text)
        }
        (Value::List(_), Step::Key(_)) => Err(Problem::NoKeysBelow { found: "a list" }),
        (
            value @ (Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Flag(_) | Value::Date),
            Step::Key(_) | Step::Index(_),
        ) => Err(Problem::NoKeysBelow { found: value.kind() }),
    }
}

/// What stands where the file has nothing and these steps follow.
fn empty(below: &[Step], place: &Place) -> Node {
    let value = match below.first() {
        Some(Step::Index(_)) => Value::List(Vec::new()),
        Some(Step::Key(_)) => Value::Table(Table::new()),
        None => Value::Text(String::new()),
    };
    Node { value, place: place.clone() }
}
