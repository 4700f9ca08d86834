//! Keeps a log line from being written as often as its cause comes: clients, or a broken system, can bring it about at
//! any rate.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The rate of one kind of log line. The first is written at once.
#[derive(Debug)]
pub struct Seldom {
    /// The least time between two lines.
    pause: Duration,
    /// When the last line was written, and how many were left out since.
    state: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// For lines that differ: at most one a second.
    #[must_use]
    pub const fn a_second() -> Self {
        Self::every(Duration::from_secs(1))
    }

    /// For lines that are alike: at most one a minute.
    #[must_use]
    pub const fn a_minute() -> Self {
        Self::every(Duration::from_mins(1))
    }

    const fn every(pause: Duration) -> Self {
        Self { pause, state: Mutex::new((None, 0)) }
    }

    /// Returns, if a line may be written now, how many were left out since the last one.
    pub fn due(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, left_out) = &mut *state;
        if last.is_some_and(|last| last.elapsed() < self.pause) {
            *left_out += 1;
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_says_how_many_were_left_out() {
        for (seldom, pause) in [(Seldom::a_second(), 1000), (Seldom::a_minute(), 60_000)] {
            assert_eq!(seldom.due(), Some(0));
            advance(Duration::from_millis(pause - 1)).await;
            assert_eq!((seldom.due(), seldom.due()), (None, None));
            advance(Duration::from_millis(1)).await;
            assert_eq!((seldom.due(), seldom.due()), (Some(2), None));
        }
    }
}
