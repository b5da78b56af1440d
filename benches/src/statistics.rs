//! Medians, spreads and percentiles.

use serde::{Deserialize, Serialize};

/// One number over several rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub rounds: Vec<f64>,
}

impl Sample {
    /// # Panics
    /// When there is no round at all.
    pub(crate) fn of(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
        Self { median: median(&sorted), min: first, max: last, rounds }
    }

    /// This over `other`, round by round: what slows a whole round cancels out.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self::of(self.rounds.iter().zip(&other.rounds).map(|(mine, theirs)| mine / theirs).collect())
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}

/// The value below which `share` (0 to 1) of the values lie; nearest rank.
///
/// # Panics
/// When there are no values.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(Sample::of(vec![3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Sample::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&hundred, 0.5), percentile(&hundred, 0.99)), (50.0, 99.0));
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let slow_round = Sample::of(vec![10.0, 5.0, 10.0]);
        assert_eq!(slow_round.over(&Sample::of(vec![20.0, 10.0, 20.0])).max, 0.5);
    }
}
