//! What a run did, for people to read.

use std::fmt;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Since the start of the world.
    pub at_ms: u64,
    /// The call that it happened to, by its place among those that reached the switch.
    pub call: Option<usize>,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.call.map_or(String::new(), |call| format!("#{call}"));
        write!(f, "{:>9.3} {call:>4}  {}", self.at_ms as f64 / 1000.0, self.text)
    }
}

/// Lines, if anybody wants them.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<Line>>,
}

impl Trace {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { lines: wanted.then(Vec::new) }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.lines.is_some()
    }

    pub(crate) fn note(&mut self, at_ms: u64, call: Option<usize>, text: String) {
        if let Some(lines) = &mut self.lines {
            lines.push(Line { at_ms, call, text });
        }
    }

    pub(crate) fn into_lines(self) -> Vec<Line> {
        self.lines.unwrap_or_default()
    }
}
