//! Where in the configuration something is written.

use std::fmt;
use std::sync::Arc;

/// Where a value was written. Ordered as errors are listed: by line, then what came from the environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file, both counted from 1.
    Line {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// In this environment variable.
    Variable(Arc<str>),
}

impl Place {
    /// The line in the file, counted from 1; `None` for what stands in the environment.
    pub fn line(&self) -> Option<usize> {
        match self {
            Place::Line { line, .. } => Some(*line),
            Place::Variable(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line { line, .. } => write!(f, "line {line}"),
            Place::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Turns byte offsets of a text into places.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    pub(crate) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = self.text.get(self.starts[line - 1]..offset).unwrap_or_default();
        Place::Line { line, column: before.chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let lines = Lines::of("a\n# größe\nb = ü1\n");
        assert_eq!(lines.place(0), Place::Line { line: 1, column: 1 });
        assert_eq!(lines.place(2), Place::Line { line: 2, column: 1 });
        let at = "a\n# größe\nb = ü".len();
        assert_eq!(lines.place(at), Place::Line { line: 3, column: 6 });
    }
}
