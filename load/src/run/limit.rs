//! The search for a limit: the number is doubled until a condition fails, and then the range is halved.
//!
//! A machine that does other things as well makes a step fail now and then. So a number fails only if it fails twice in a row.

use crate::{
    options::LimitOf,
    report::{Limit, StepReport},
    require::Requirement,
};

/// The search ends when the number that holds and the one that does not are so close together, as a share.
const CLOSE: f64 = 0.05;

/// The maximum of steps.
const MAX_STEPS: u32 = 40;

/// See the module.
#[derive(Debug)]
pub(super) struct Search {
    next: f64,
    max: f64,
    holds: Option<f64>,
    fails: Option<(f64, String)>,
    steps: u32,
    /// The number that comes next has failed once.
    has_failed: bool,
}

impl Search {
    /// Begins with a number; there can be at most `max`.
    pub(super) const fn begin(first: f64, max: f64) -> Self {
        Self { next: first.min(max), max, holds: None, fails: None, steps: 0, has_failed: false }
    }

    /// Returns the number to try next; `None` at the end.
    pub(super) fn next(&self) -> Option<f64> {
        let is_close = match (self.holds, &self.fails) {
            (Some(holds), Some((fails, _))) => fails - holds <= (holds * CLOSE).max(1.0),
            (None, Some((fails, _))) => *fails <= 1.0,
            (Some(holds), None) => holds >= self.max,
            (None, None) => false,
        };
        (!is_close && self.steps < MAX_STEPS).then_some(self.next)
    }

    /// Takes what came of it: why it failed, if it did.
    pub(super) fn take(&mut self, why: Option<String>) {
        self.steps += 1;
        self.has_failed = why.is_some() && !self.has_failed;
        if self.has_failed {
            return;
        }
        match why {
            None => self.holds = Some(self.next),
            Some(why) => self.fails = Some((self.next, why)),
        }
        self.next = match (self.holds, &self.fails) {
            (Some(holds), Some((fails, _))) => f64::midpoint(holds, *fails).round(),
            (None, Some((fails, _))) => (fails / 2.0).floor().max(1.0),
            (holds, None) => (holds.unwrap_or(self.next) * 2.0).min(self.max),
        };
    }

    /// Returns what a reader has to know.
    pub(super) fn note(&self, of: LimitOf) -> Option<String> {
        (self.fails.is_none() && self.holds.is_some_and(|holds| holds >= self.max)).then(|| {
            let max = self.max;
            format!("the limit is beyond {max} {}, which is as far as this machine or --max goes", name(of))
        })
    }

    /// Returns what was found.
    pub(super) fn found(self, of: LimitOf, conditions: &[Requirement]) -> Limit {
        let conditions = conditions.iter().map(ToString::to_string).collect();
        Limit { of: name(of), conditions, holds: self.holds, fails: self.fails }
    }
}

/// Returns what came of one step, for people.
pub(super) fn told(of: LimitOf, number: f64, why: Option<&str>, step: &StepReport) -> String {
    let number = match of {
        LimitOf::Clients => format!("{number:.0} clients"),
        LimitOf::Rate => format!("{number:.0} events/s"),
    };
    let found = format!("p50 {:.1} ms, p99 {:.1} ms, {} lost", step.latency.p50, step.latency.p99, step.lost);
    match why {
        None => format!("{number}: holds ({found})"),
        Some(why) => format!("{number}: fails, {why} ({found})"),
    }
}

const fn name(of: LimitOf) -> &'static str {
    match of {
        LimitOf::Clients => "clients",
        LimitOf::Rate => "rate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches for a limit that is known.
    fn search(first: f64, max: f64, limit: f64) -> (Option<f64>, Option<f64>, u32) {
        let mut search = Search::begin(first, max);
        while let Some(number) = search.next() {
            search.take((number > limit).then(|| "too much".to_owned()));
        }
        (search.holds, search.fails.as_ref().map(|(fails, _)| *fails), search.steps)
    }

    #[test]
    fn a_limit_is_found_from_below_and_from_above() {
        for (first, limit) in [(1000.0, 7300.0), (1000.0, 130.0), (1.0, 64.0), (50.0, 50.0)] {
            let (holds, fails, steps) = search(first, 1e6, limit);
            let (holds, fails) = (holds.unwrap(), fails.unwrap());
            assert!(holds <= limit && limit < fails, "{limit}: {holds} to {fails}");
            assert!(fails - holds <= (holds * CLOSE).max(1.0) && steps < MAX_STEPS, "{limit}: {holds} to {fails}");
        }
    }

    #[test]
    fn a_step_that_fails_once_is_tried_again() {
        let mut search = Search::begin(100.0, 200.0);
        search.take(Some("noise".to_owned()));
        assert_eq!(search.next(), Some(100.0));
        search.take(None);
        assert_eq!(search.next(), Some(200.0));
        search.take(None);
        assert_eq!((search.next(), search.holds), (None, Some(200.0)));
    }

    #[test]
    fn a_search_ends_where_nothing_holds_and_where_everything_does() {
        let (holds, fails, _) = search(1000.0, 1e6, 0.0);
        assert_eq!((holds, fails), (None, Some(1.0)));
        let (holds, fails, _) = search(1000.0, 5000.0, 1e9);
        assert_eq!((holds, fails), (Some(5000.0), None));
    }
}
