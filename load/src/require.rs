//! Conditions that a run has to meet: `p99=50ms,lost=0`. Each is a maximum.

use std::{fmt, str::FromStr};

use crate::report::StepReport;

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Requirement {
    what: What,
    /// In milliseconds, percent, or pieces.
    max: f64,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    P50,
    P90,
    P99,
    P999,
    Max,
    Mean,
    Lost,
    Repeated,
    Unflagged,
    OutOfOrder,
    Errors,
    NotConfirmed,
    Resets,
}

const NAMES: [(&str, What); 13] = [
    ("p50", What::P50),
    ("p90", What::P90),
    ("p99", What::P99),
    ("p99.9", What::P999),
    ("max", What::Max),
    ("mean", What::Mean),
    ("lost", What::Lost),
    ("repeated", What::Repeated),
    ("unflagged", What::Unflagged),
    ("out-of-order", What::OutOfOrder),
    ("errors", What::Errors),
    ("not-confirmed", What::NotConfirmed),
    ("resets", What::Resets),
];

impl What {
    const fn is_latency(self) -> bool {
        matches!(self, Self::P50 | Self::P90 | Self::P99 | Self::P999 | Self::Max | Self::Mean)
    }

    fn of(self, step: &StepReport) -> f64 {
        use crate::number::float;
        match self {
            Self::P50 => step.latency.p50,
            Self::P90 => step.latency.p90,
            Self::P99 => step.latency.p99,
            Self::P999 => step.latency.p999,
            Self::Max => step.latency.max,
            Self::Mean => step.latency.mean,
            Self::Lost => float(step.lost),
            Self::Repeated => float(step.repeated_flagged + step.repeated_unflagged),
            Self::Unflagged => float(step.repeated_unflagged),
            Self::OutOfOrder => float(step.out_of_order),
            Self::Errors => float(step.receive_errors),
            Self::NotConfirmed => float(step.not_confirmed),
            Self::Resets => float(step.resets),
        }
    }
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it is no condition such as p99=50ms or lost=0")?;
        let known = NAMES.iter().find(|(known, _)| *known == name.trim());
        let (_, what) = known.ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("there is no condition {name:?}; there are {}", names.join(", "))
        })?;
        let value = value.trim();
        let max = if what.is_latency() {
            let duration =
                humantime::parse_duration(value).map_err(|_| format!("{value:?} is no time such as 50ms"))?;
            duration.as_secs_f64() * 1e3
        } else {
            let number: u64 = value.parse().map_err(|_| format!("{value:?} is no whole number"))?;
            crate::number::float(number)
        };
        Ok(Self { what: *what, max, text: text.trim().to_owned() })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Requirement {
    /// Returns why a step does not meet it, if it does not.
    pub(crate) fn failure(&self, step: &StepReport) -> Option<String> {
        let found = self.what.of(step);
        let unit = if self.what.is_latency() { " ms" } else { "" };
        let has_none = self.what.is_latency() && step.latency.count == 0;
        if has_none {
            return Some(format!("{self}: no event was received"));
        }
        (found > self.max).then(|| format!("{self}: it was {}{unit}", rounded(found)))
    }
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Quantiles;

    #[test]
    fn a_condition_is_a_maximum() {
        let latency = Quantiles { count: 9, p50: 3.0, p99: 50.0, ..Quantiles::default() };
        let step = StepReport { latency, lost: 2, receive_errors: 1, ..StepReport::default() };
        for (text, holds) in [
            ("p99=50ms", true),
            ("p99=49900us", false),
            ("p50=1s", true),
            ("lost=2", true),
            ("lost=1", false),
            ("errors=0", false),
        ] {
            let requirement: Requirement = text.parse().unwrap();
            assert_eq!(requirement.failure(&step).is_none(), holds, "{text}");
            assert_eq!(requirement.to_string(), text);
        }
        let nothing = StepReport::default();
        assert!("p99=1h".parse::<Requirement>().unwrap().failure(&nothing).is_some());
    }

    #[test]
    fn a_wrong_condition_is_told() {
        for (text, part) in [("p98=1ms", "p99.9"), ("p99", "p99=50ms"), ("p99=50", "50ms"), ("lost=x", "whole")] {
            let error = text.parse::<Requirement>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
