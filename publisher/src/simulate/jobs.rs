//! What simulated jobs do: queued → running, with progress → passed or failed; then a new job takes the place.
//!
//! Pure and deterministic for a seed. Each step moves one job by one status and says what it is now; a job's statuses
//! come in order, those of different jobs are mixed.

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// One job in this many fails.
const FAILURES_ONE_IN: u32 = 6;

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Running,
    Passed,
    Failed,
}

/// What one event says about one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) job: u64,
    pub(super) state: State,
    /// Percent.
    pub(super) progress: u8,
}

impl Status {
    /// Returns the payload, such as `{"job":17,"state":"running","progress":40}`.
    pub(super) fn to_json(self) -> String {
        let state = match self.state {
            State::Queued => "queued",
            State::Running => "running",
            State::Passed => "passed",
            State::Failed => "failed",
        };
        format!("{{\"job\":{},\"state\":\"{state}\",\"progress\":{}}}", self.job, self.progress)
    }
}

/// The jobs that are going on.
#[derive(Debug)]
pub(super) struct Jobs {
    /// The last status of each job; `None` is a free place.
    places: Vec<Option<Status>>,
    started: u64,
    random: StdRng,
}

impl Jobs {
    /// Makes room for `count` jobs at once (at least 1).
    pub(super) fn new(count: u32, seed: u64) -> Self {
        let places = (0..count.max(1)).map(|_| None).collect();
        Self { places, started: 0, random: StdRng::seed_from_u64(seed) }
    }

    /// Moves one job on.
    pub(super) fn step(&mut self) -> Status {
        let place = self.random.random_range(0..self.places.len());
        let next = match self.places[place] {
            None => {
                self.started += 1;
                Status { job: self.started, state: State::Queued, progress: 0 }
            }
            Some(now) => self.after(now),
        };
        let is_over = matches!(next.state, State::Passed | State::Failed);
        self.places[place] = (!is_over).then_some(next);
        next
    }

    fn after(&mut self, now: Status) -> Status {
        let progress = now.progress + 10 * self.random.random_range(1..=4);
        match now.state {
            State::Queued => Status { state: State::Running, ..now },
            // About three steps lead to the end, so a third of the share at each.
            _ if self.random.random_ratio(1, 3 * FAILURES_ONE_IN) => Status { state: State::Failed, ..now },
            _ if progress >= 100 => Status { state: State::Passed, progress: 100, ..now },
            _ => Status { progress, ..now },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_job_goes_through_its_states_in_order() {
        let mut jobs = Jobs::new(5, 7);
        let mut last: HashMap<u64, Status> = HashMap::new();
        for _ in 0..5_000 {
            let next = jobs.step();
            match (last.insert(next.job, next).map(|before| (before.state, before.progress)), next.state) {
                (None, State::Queued) | (Some((State::Queued, 0)), State::Running) => {}
                (Some((State::Running, before)), State::Running) => assert!(before < next.progress),
                (Some((State::Running, _)), State::Passed) => assert_eq!(next.progress, 100),
                (Some((State::Running, _)), State::Failed) => assert!(next.progress < 100),
                other => panic!("{other:?}"),
            }
        }
        let count = |state| last.values().filter(|status| status.state == state).count();
        assert!(count(State::Queued) + count(State::Running) <= 5);
        assert!(count(State::Failed) > 50 && count(State::Passed) > 3 * count(State::Failed));
    }

    #[test]
    fn equal_seeds_make_equal_runs() {
        let (mut one, mut other) = (Jobs::new(3, 42), Jobs::new(3, 42));
        assert!((0..100).all(|_| one.step() == other.step()));
    }

    #[test]
    fn the_payload_is_json() {
        let status = Status { job: 17, state: State::Running, progress: 40 };
        assert_eq!(status.to_json(), "{\"job\":17,\"state\":\"running\",\"progress\":40}");
    }
}
