//! What was measured on both sides.

use postern_tests::median;
use serde::{Deserialize, Serialize};

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One figure of Postern beside that of another program, or of Postern itself in another situation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What is measured.
    pub(crate) what: String,
    pub(crate) unit: String,
    /// What the figure stands beside.
    pub(crate) beside: String,
    /// Median of the rounds.
    pub(crate) ours: f64,
    /// Median of the rounds.
    pub(crate) theirs: f64,
    /// Median of the ratios of the rounds, of which each has both sides in turn; `None` beside nothing.
    pub(crate) ratio: Option<f64>,
    pub(crate) better: Better,
}

impl Row {
    /// Sums up rounds in which both sides took their turn.
    pub(crate) fn of(
        what: impl Into<String>,
        (unit, better): (&'static str, Better),
        beside: impl Into<String>,
        ours: Vec<f64>,
        theirs: Vec<f64>,
    ) -> Self {
        let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
        let (what, beside) = (what.into(), beside.into());
        Self {
            what,
            unit: unit.to_owned(),
            beside,
            ours: median(ours),
            theirs: median(theirs),
            ratio: Some(ratio).filter(|ratio| ratio.is_finite()),
            better,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_rounds_and_not_of_medians() {
        let row = Row::of("x", ("1/s", Better::Higher), "y", vec![10.0, 40.0, 90.0], vec![10.0, 20.0, 30.0]);
        assert_eq!((row.ours, row.theirs, row.ratio), (40.0, 20.0, Some(2.0)));
    }
}
