//! Whether the log is read: always while feeds are followed, and for a while after.
//!
//! A log whose reading costs the broker something is read as long as polls are under way or the last one ended a short
//! while ago; then reading rests until the next poll. What is in memory is old then, so polls wait until it is not. That
//! no poll is under way is found in the same step in which reading begins to rest: a poll either keeps the log read, or
//! sees that it has to wait.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout_at},
};

use super::metrics::FeedMetrics;

/// How long a poll that does not wait waits all the same until the log is read; and how long that may take after a rest
/// until polls can be turned away.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The end of the log is looked for, and polls wait for it. So it is at the start, and where the log does not go on
    /// after a rest.
    Starting,
    /// The log was lost. Polls do not wait for it.
    Lost,
    /// All that is stored is in memory, or will be soon. This was the end when that began.
    Reading { end: u64 },
    /// Nothing is read. The next poll has it read again, and waits for that.
    Resting,
    /// A rest has ended, and there is much to read.
    Resuming,
}

impl Phase {
    /// Tells whether polls wait for its end.
    const fn is_awaited(self) -> bool {
        matches!(self, Self::Starting | Self::Resting | Self::Resuming)
    }

    /// Tells whether a poll is answered soon.
    const fn is_ready(self) -> bool {
        matches!(self, Self::Reading { .. } | Self::Resting)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reading {
    phase: watch::Sender<Phase>,
    demand: Mutex<Demand>,
    came: Notify,
    metrics: Arc<FeedMetrics>,
}

/// For whom the log is read.
#[derive(Debug)]
struct Demand {
    /// How many polls are under way.
    polls: usize,
    /// Since when there were none, or since when the log is read if that is later.
    since: Instant,
    was_read: bool,
}

/// What a poll that waited until the log is read has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// It did not have to wait.
    Nothing,
    /// The log is read. Its end, at some time since the poll came or before.
    Read(u64),
    TooLong,
}

impl Reading {
    pub(super) fn new(metrics: Arc<FeedMetrics>) -> Self {
        let demand = Mutex::new(Demand { polls: 0, since: Instant::now(), was_read: false });
        Self { phase: watch::Sender::new(Phase::Starting), demand, came: Notify::new(), metrics }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.phase.borrow().is_ready()
    }

    /// Enters a phase. A log that was never read is still starting when it is lost.
    pub(super) fn enter(&self, phase: Phase) {
        let mut demand = self.demand();
        let phase = match phase {
            Phase::Lost if !demand.was_read => Phase::Starting,
            other => other,
        };
        if let Phase::Reading { .. } = phase {
            demand.since = Instant::now();
            demand.was_read = true;
        }
        self.show(phase);
    }

    fn show(&self, phase: Phase) {
        self.metrics.ready.set(i64::from(phase.is_ready()));
        self.metrics.resting.set(i64::from(phase == Phase::Resting));
        self.phase.send_replace(phase);
    }

    /// Counts a poll that is under way, until the value is dropped. Has the log read.
    pub(super) fn follow(&self) -> Followed<'_> {
        self.demand().polls += 1;
        if *self.phase.borrow() == Phase::Resting {
            self.came.notify_one();
        }
        Followed(self)
    }

    /// Waits until the log is read, for as long as a poll waits, and a short one for a moment.
    pub(super) async fn awaited(&self, deadline: Instant) -> Awaited {
        let mut phase = self.phase.subscribe();
        if !phase.borrow().is_awaited() {
            return Awaited::Nothing;
        }
        let read = phase.wait_for(|phase| !phase.is_awaited());
        match timeout_at(deadline.max(Instant::now() + FIRST_WAIT), read).await {
            Ok(Ok(phase)) => match *phase {
                Phase::Reading { end } => Awaited::Read(end),
                _ => Awaited::Nothing,
            },
            _ => Awaited::TooLong,
        }
    }

    /// Waits until no poll was under way for so long, and enters [`Phase::Resting`] then.
    pub(super) async fn rests_after(&self, quiet: Duration) {
        loop {
            let next = {
                let demand = self.demand();
                let since = if demand.polls == 0 { demand.since } else { Instant::now() };
                if demand.polls == 0 && since.elapsed() >= quiet {
                    // A poll that comes now sees it.
                    self.show(Phase::Resting);
                    return;
                }
                since + quiet
            };
            sleep_until(next).await;
        }
    }

    /// Waits until a poll is under way.
    pub(super) async fn wanted(&self) {
        while self.demand().polls == 0 {
            self.came.notified().await;
        }
    }

    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A poll that is under way.
#[derive(Debug)]
pub(super) struct Followed<'a>(&'a Reading);

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        let mut demand = self.0.demand();
        demand.polls -= 1;
        // As long as there is another one, it counts.
        if demand.polls == 0 {
            demand.since = Instant::now();
        }
    }
}
