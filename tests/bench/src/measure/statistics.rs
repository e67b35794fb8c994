//! Medians, spreads, percentiles, ratios.

use serde::Serialize;
use std::time::Duration;

/// Repetitions of one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Summary> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Summary { median: f64::midpoint(lower, upper), min, max })
    }

    /// One server's repetitions by another's: the medians' ratio, and the least and the greatest ratio of a repetition
    /// to its neighbour, the one that ran next to it in time.
    pub(crate) fn of_ratios(values: &[f64], others: &[f64]) -> Option<Summary> {
        let ratios: Vec<f64> = values.iter().zip(others).map(|(value, other)| value / other).collect();
        let spread = Summary::of(&ratios)?;
        let median = Summary::of(values)?.median / Summary::of(others)?.median;
        Some(Summary { median, ..spread }).filter(|ratio| ratio.median.is_finite())
    }
}

/// The smallest value that this share of all does not exceed (nearest rank). `sorted` goes up.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let summary = |values: &[f64]| Summary::of(values).expect("a summary");
        assert_eq!(summary(&[4.0, 1.0, 3.0, 2.0]), Summary { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(summary(&[9.0, 1.0, 3.0]), Summary { median: 3.0, min: 1.0, max: 9.0 });
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&values, 0.5), Some(Duration::from_micros(100)));
        assert_eq!(percentile(&values, 0.99), Some(Duration::from_micros(198)));
        assert_eq!(percentile(&values, 1.0), Some(Duration::from_micros(200)));
        assert_eq!(percentile(&values[..1], 0.01), Some(Duration::from_micros(1)));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn ratios_are_those_of_neighbours_in_time() {
        // The machine was slow in the second repetition, for both.
        let ratio = Summary::of_ratios(&[100.0, 200.0, 110.0], &[200.0, 400.0, 220.0]).expect("a ratio");
        assert_eq!(ratio, Summary { median: 0.5, min: 0.5, max: 0.5 });
        assert_eq!(Summary::of_ratios(&[1.0], &[0.0]), None);
    }
}
