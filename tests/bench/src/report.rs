//! What a run found: figures with their repetitions, and every single measurement.

use crate::arguments::{Arguments, Part};
use crate::measure::machine::Machine;
use crate::measure::statistics::Summary;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// What is measured, apart from what came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Subject {
    pub(crate) part: Part,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// Digits behind the point in the table.
    #[serde(skip)]
    pub(crate) decimals: usize,
}

/// A figure of several servers.
#[derive(Clone, Debug)]
struct Figure {
    subject: Subject,
    /// By server and repetition.
    values: BTreeMap<String, BTreeMap<u32, f64>>,
    /// What a reader must know about a server's values.
    remarks: BTreeMap<String, Vec<String>>,
}

/// All that was measured.
pub(crate) struct Report {
    header: Value,
    /// In the order of columns.
    servers: Vec<String>,
    figures: Vec<Figure>,
    measurements: Vec<Value>,
    /// What could not be measured, and why.
    errors: Vec<Value>,
}

impl Report {
    pub(crate) fn new(
        arguments: &Arguments,
        versions: &BTreeMap<String, String>,
        servers: Vec<String>,
    ) -> Self {
        let header = json!({ "machine": Machine::of_this(), "versions": versions, "settings": arguments });
        Self { header, servers, figures: Vec::new(), measurements: Vec::new(), errors: Vec::new() }
    }

    /// Takes one measurement as it was made.
    pub(crate) fn measured(&mut self, part: Part, server: &str, repetition: u32, what: Value) {
        self.measurements.push(json!({
            "part": part, "server": server, "repetition": repetition, "measured": what,
        }));
    }

    /// Notes that a measurement could not be made.
    pub(crate) fn error(&mut self, part: Part, server: &str, repetition: u32, error: String) {
        self.errors.push(json!({ "part": part, "server": server, "repetition": repetition, "error": error }));
    }

    /// How many measurements could not be made.
    pub(crate) fn errors(&self) -> usize {
        self.errors.len()
    }

    /// Takes one value of a figure.
    pub(crate) fn value(&mut self, subject: &Subject, server: &str, repetition: u32, value: f64) {
        self.figure(subject).values.entry(server.to_owned()).or_default().insert(repetition, value);
    }

    /// Says something about a server's values of a figure.
    pub(crate) fn remark(&mut self, subject: &Subject, server: &str, text: String) {
        let remarks = self.figure(subject).remarks.entry(server.to_owned()).or_default();
        if !remarks.contains(&text) {
            remarks.push(text);
        }
    }

    fn figure(&mut self, subject: &Subject) -> &mut Figure {
        let place = self.figures.iter().position(|figure| figure.subject == *subject);
        let place = place.unwrap_or_else(|| {
            let subject = subject.clone();
            self.figures.push(Figure { subject, values: BTreeMap::new(), remarks: BTreeMap::new() });
            self.figures.len() - 1
        });
        &mut self.figures[place]
    }

    /// A Markdown table: median (least–greatest) per server, and the first server's ratio to each other.
    pub(crate) fn table(&self) -> String {
        let Some((first, others)) = self.servers.split_first() else { return String::new() };
        let mut text = format!("| | {} |", self.servers.join(" | "));
        for other in others {
            text += &format!(" {first} ÷ {other} |");
        }
        text += &format!("\n|---|{}\n", "---|".repeat(self.servers.len() + others.len()));
        let mut remarks = Vec::new();
        for figure in &self.figures {
            text += &format!("| {}, {} |", figure.subject.name, figure.subject.unit);
            for server in &self.servers {
                let mark = figure.remarks.get(server).map_or(String::new(), |about| {
                    let number = remarks.len() + 1;
                    let about = about.join("; ");
                    remarks.push(format!("[{number}] {}, {server}: {about}", figure.subject.name));
                    format!(" [{number}]")
                });
                let decimals = figure.subject.decimals;
                text += &format!(" {}{mark} |", spread(figure.summary(server), decimals));
            }
            for other in others {
                text += &format!(" {} |", spread(figure.ratio(first, other), 2));
            }
            text.push('\n');
        }
        for remark in remarks {
            text += &format!("\n{remark}");
        }
        text
    }

    /// Writes everything measured so far.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, arguments: &Arguments) -> Result<()> {
        let mut all = self.header.clone();
        all["figures"] = self.figures.iter().map(|figure| figure.to_json(&self.servers)).collect();
        all["measurements"] = Value::Array(self.measurements.clone());
        all["errors"] = Value::Array(self.errors.clone());
        let text = serde_json::to_string_pretty(&all)?;
        fs::write(&arguments.out, text + "\n").with_context(|| format!("{}", arguments.out.display()))
    }
}

impl Figure {
    fn summary(&self, server: &str) -> Option<Summary> {
        Summary::of(&self.all(server))
    }

    fn all(&self, server: &str) -> Vec<f64> {
        self.values.get(server).into_iter().flat_map(BTreeMap::values).copied().collect()
    }

    fn ratio(&self, server: &str, other: &str) -> Option<Summary> {
        let (values, others) = (self.values.get(server)?, self.values.get(other)?);
        let pairs = values.iter().filter_map(|(repetition, value)| Some((*value, *others.get(repetition)?)));
        let (values, others): (Vec<f64>, Vec<f64>) = pairs.unzip();
        Summary::of_ratios(&values, &others)
    }

    fn to_json(&self, servers: &[String]) -> Value {
        let mut figure = json!(self.subject);
        for server in servers.iter().filter(|server| self.values.contains_key(*server)) {
            figure["servers"][server] = json!({
                "summary": self.summary(server),
                "values": self.all(server),
                "remarks": self.remarks.get(server),
            });
        }
        if let Some((first, others)) = servers.split_first() {
            for other in others {
                if let Some(ratio) = self.ratio(first, other) {
                    figure["ratio_to"][other] = json!(ratio);
                }
            }
        }
        figure
    }
}

/// A summary in a cell of the table.
fn spread(summary: Option<Summary>, decimals: usize) -> String {
    let Some(Summary { median, min, max }) = summary else { return "–".to_owned() };
    if min == max {
        return format!("{median:.decimals$}");
    }
    format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn subject() -> Subject {
        let name = "CPU per call at 500 calls/s".to_owned();
        Subject { part: Part::Cpu, name, unit: "µs", better: Better::Lower, decimals: 0 }
    }

    fn report() -> Report {
        let servers = ["tandem", "kamailio", "mine"].map(str::to_owned).to_vec();
        let mut report = Report::new(&Arguments::parse_from(["bench"]), &BTreeMap::new(), servers);
        for (repetition, tandem, kamailio) in [(1, 100.0, 200.0), (2, 120.0, 200.0), (3, 110.0, 220.0)] {
            report.value(&subject(), "tandem", repetition, tandem);
            report.value(&subject(), "kamailio", repetition, kamailio);
        }
        report
    }

    #[test]
    fn every_figure_has_its_ratio_to_each_other_server() {
        let table = report().table();
        let expected =
            "| CPU per call at 500 calls/s, µs | 110 (100–120) | 200 (200–220) | – | 0.55 (0.50–0.60) | – |";
        assert!(table.lines().any(|line| line == expected), "{table}");
        assert!(
            table.starts_with("| | tandem | kamailio | mine | tandem ÷ kamailio | tandem ÷ mine |\n"),
            "{table}"
        );
    }

    #[test]
    fn a_remark_stands_below_the_table_and_is_pointed_to() {
        let mut report = report();
        report.remark(&subject(), "kamailio", "3 calls failed".to_owned());
        let table = report.table();
        assert!(table.contains("| 200 (200–220) [1] |"), "{table}");
        assert!(table.ends_with("[1] CPU per call at 500 calls/s, kamailio: 3 calls failed"), "{table}");
    }

    #[test]
    fn a_repetition_that_one_server_lacks_is_in_no_ratio() {
        let mut report = report();
        report.value(&subject(), "mine", 2, 60.0);
        let ratio = report.figures[0].ratio("tandem", "mine").expect("a ratio");
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 2.0, 2.0));
    }

    #[test]
    fn the_json_has_every_repetition() {
        let report = report();
        let figure = report.figures[0].to_json(&report.servers);
        assert_eq!(figure["servers"]["tandem"]["values"], json!([100.0, 120.0, 110.0]));
        assert_eq!(figure["ratio_to"]["kamailio"]["median"], json!(0.55));
        assert_eq!(figure["servers"].get("mine"), None);
    }
}
