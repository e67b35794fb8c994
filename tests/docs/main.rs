//! The reference pages are made from the code, and a page that names a test names one that exists.
//!
//! `TANDEM_BLESS=1 cargo nextest run -p tandem -E 'binary(docs)'` writes the pages anew.

mod proofs;

use proofs::PROOFS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tandem_switch::parameters::{CATALOGUE, PerGateway};

/// Pages that are made from the code.
const MADE: [&str; 2] = ["metrics.md", "parameters.md"];

/// Reads like a sentence and names no test.
const CONFIGURATION_KEY: &str = "stop_switching_response_code";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn assert_page(name: &str, made: &str) {
    let path = root().join("docs").join(name);
    if std::env::var_os("TANDEM_BLESS").is_some() {
        fs::write(&path, made).expect("the page can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == made, "docs/{name} is not what the code says; TANDEM_BLESS=1 writes it anew");
}

#[test]
fn the_metric_reference_is_made_from_the_table() {
    assert_page("metrics.md", &tandem_telemetry::reference());
}

#[test]
fn the_parameter_reference_is_made_from_the_catalogue() {
    let mut page = String::from(
        "# Parameters\n\nMade from the catalogue in `switch::parameters`. \"GW\": a gateway can have a value of its own \
         (`parameters = { SS_… = … }`), where an absent one means the system's. A change applies to calls that start after it. \
         \"Yes\": this release acts on it, as the tests in the last column prove; the others are read, checked and listed.\n\n\
         | Name | Default | Range | Unit | GW | What it does | Acted on | Tests |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in CATALOGUE {
        let per_gateway = if matches!(row.per_gateway, PerGateway::No) { "" } else { "GW" };
        let acted_on = if row.acted_on { "yes" } else { "no" };
        let default = row.default_value();
        let (name, range, unit, what) = (row.name, row.range, row.unit, row.description);
        let tests: Vec<_> = proofs_of(name).iter().map(|test| format!("`{test}`")).collect();
        let tests = tests.join(", ");
        page += &format!(
            "| `{name}` | `{default}` | {range} | {unit} | {per_gateway} | {what} | {acted_on} | {tests} |\n"
        );
    }
    assert_page("parameters.md", &page);
}

fn proofs_of(parameter: &str) -> &'static [&'static str] {
    PROOFS.iter().find(|(name, _)| *name == parameter).map_or(&[], |(_, tests)| tests)
}

#[test]
fn every_parameter_that_is_acted_on_has_its_tests_and_they_exist() {
    let known = known_functions();
    for row in CATALOGUE {
        let tests = proofs_of(row.name);
        assert_eq!(
            row.acted_on,
            !tests.is_empty(),
            "{}: acted on, with tests in tests/docs/proofs.rs",
            row.name
        );
        let missing: Vec<_> = tests.iter().filter(|test| !known.contains(**test)).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", row.name);
    }
    let unknown: Vec<_> =
        PROOFS.iter().filter(|(name, _)| CATALOGUE.iter().all(|row| row.name != *name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_line_of_the_rfc_table_names_tests_or_says_not_yet() {
    let page = fs::read_to_string(root().join("docs/rfc.md")).expect("text");
    let rows = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let is_header = |row: &&str| row.starts_with("| Rule |") || row.starts_with("| RFC |");
    let mut count = 0;
    for row in rows.filter(|row| !is_header(row)) {
        count += 1;
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, what, tests] = cells[..] else { panic!("three cells: {row}") };
        assert_eq!(tests.is_empty(), what.contains("not yet"), "{row}");
    }
    assert!(count > 40, "{count} rows");
}

fn known_functions() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for folder in ["crates", "tests"] {
        collect_functions(&root().join(folder), &mut known);
    }
    known
}

#[test]
fn every_test_that_a_page_names_exists() {
    let known = known_functions();
    let mut missing = Vec::new();
    for page in fs::read_dir(root().join("docs")).expect("docs") {
        let path = page.expect("a page").path();
        if MADE.iter().any(|made| path.ends_with(made)) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let quoted = text.split('`').skip(1).step_by(2);
        // A test is named by a sentence: four words at least, in lower case.
        let names = quoted.filter(|name| {
            name.matches('_').count() >= 3
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
        });
        missing.extend(
            names
                .filter(|name| !known.contains(*name) && *name != CONFIGURATION_KEY)
                .map(|name| format!("{}: {name}", path.display())),
        );
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

fn collect_functions(folder: &Path, known: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect_functions(&path, known);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            known.extend(
                text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned),
            );
        }
    }
}
