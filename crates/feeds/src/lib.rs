//! Feeds: every watcher of a topic sees its events, from one log that is not consumed.
//!
//! A task, the `follower`, follows the log and keeps its newest events in memory (`recent`), as long as feeds are
//! followed; `reading` knows that. What was stored before comes there by and by (`fill`). A poll is answered from those; else, if its place is older, from the log
//! (`catch_up`); else it becomes one of the `watchers`, whom the task answers as events come, with a `batch` that all who
//! get the same share. Looking and beginning to wait are one step under one lock (`state`), so nothing falls between
//! them. The client remembers what it has seen, by a `cursor`; `topic_index` knows the newest event of each topic. Polls
//! whose answers caches share end with their `slot`.

mod batch;
mod catch_up;
mod cursor;
mod fill;
mod follower;
mod metrics;
mod reading;
mod recent;
mod request;
mod slot;
mod state;
mod topic_index;
mod watchers;

use std::{sync::Arc, time::Duration};

use broker::{BrokerError, log::EventLog};
use events::Selection;
use tokio::{
    sync::{oneshot, watch},
    task::yield_now,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

pub use self::{
    batch::{EncodedBatch, FeedBatch},
    cursor::{Cursor, Start},
    metrics::FeedMetrics,
    recent::WindowLimits,
    request::{FeedOutcome, FeedRequest},
    slot::{Hold, Slot, Slots},
};
use self::{
    catch_up::{CatchUp, CaughtUp},
    reading::{Awaited, FIRST_WAIT, Reading},
    state::{Lookup, SharedState},
    watchers::{Ticket, Watchers},
};

/// How long the log may take to come up to a place that another gateway has given, which may be a little ahead of this
/// one.
const MAX_LAG: Duration = Duration::from_secs(1);

/// What an operator can set about Feeds.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// How much of the newest events is kept in memory.
    pub window: WindowLimits,
    /// Of how many topics at most the newest event is known without a look at the log.
    pub topics: usize,
    /// After how long without a poll the log is not read any more until the next one; `None` for a log that costs
    /// nothing to read.
    pub rest_after: Option<Duration>,
}

/// Answers polls of every client that follows the log.
pub struct Feed<L> {
    log: Arc<L>,
    options: FeedOptions,
    state: SharedState,
    reading: Reading,
    /// How many parts of what was stored before were read, to wait for the next one.
    filled: watch::Sender<u64>,
    closing: CancellationToken,
    metrics: Arc<FeedMetrics>,
}

impl<L: EventLog> Feed<L> {
    /// Makes a Feed; [`Self::follow`] brings it to life.
    pub fn new(log: Arc<L>, options: FeedOptions, metrics: Arc<FeedMetrics>) -> Arc<Self> {
        Arc::new(Self {
            log,
            options,
            state: SharedState::default(),
            reading: Reading::new(Arc::clone(&metrics)),
            filled: watch::Sender::new(0),
            closing: CancellationToken::new(),
            metrics,
        })
    }

    /// Tells whether polls are served: the end of the log is known, or reading rests until a poll comes.
    pub fn is_ready(&self) -> bool {
        self.reading.is_ready()
    }

    /// Ends every poll, and the following.
    pub fn close(&self) {
        self.closing.cancel();
        // The polls that wait hear of it, and those that come now do not begin to wait.
        if let Some(state) = &mut *self.state.lock() {
            state.watchers = Watchers::default();
        }
    }

    /// Answers a poll. Dropping it means that the client hung up.
    ///
    /// What looks into the log is on the heap: a poll that waits would be as large.
    pub async fn poll(&self, request: &FeedRequest) -> FeedOutcome {
        let _followed = self.reading.follow();
        let Some(mut start) = self.awake(request).await else { return FeedOutcome::NotReady };
        let mut reset = false;
        let now = Instant::now();
        let (lag_tolerated_until, known_by) = (now + MAX_LAG, now + FIRST_WAIT);
        let (mut found, mut is_compared) = (Vec::new(), false);
        let place_at = |start: Start, next| start.moved_to(next, self.log.id());
        let batch_of = |found, end| FeedBatch::of(found, request.limit, request.latest_only, end);
        // Every round looks at more of the log, or waits.
        loop {
            let oldest = self.log.known_oldest();
            let lookup = match &mut *self.state.lock() {
                None => return FeedOutcome::NotReady,
                // There may be nothing after its place that it has not got; and a reset is to be told elsewhere.
                Some(_) if self.closing.is_cancelled() && found.is_empty() => {
                    return FeedOutcome::ShuttingDown(start.place().filter(|_| !reset));
                }
                Some(state) => {
                    state.trim(oldest);
                    state.lookup(request, start, found.len(), is_compared)
                }
            };
            let caught_up = match lookup {
                Lookup::Ready(more, end) => {
                    found.extend(more);
                    return batch_outcome(batch_of(found, place_at(start, end)), reset);
                }
                Lookup::Part(more, end) => {
                    found.extend(more);
                    if FeedBatch::is_enough(&mut found, request.limit, request.latest_only) {
                        return batch_outcome(batch_of(found, place_at(start, end)), reset);
                    }
                    yield_now().await;
                    Ok(CaughtUp::Reached(end))
                }
                // Retention has come to the place since: what was found before it is told first.
                Lookup::InLog { cursor: Some(end), .. } if !found.is_empty() => {
                    return batch_outcome(batch_of(found, end), reset);
                }
                // There is something to tell at once.
                Lookup::Watching(end, ticket, _) if reset => {
                    self.leave(&request.selection, ticket);
                    return batch_outcome(batch_of(Vec::new(), end), reset);
                }
                Lookup::Watching(end, ticket, answer) => return self.wait(request, end, ticket, answer).await,
                Lookup::Unknown => Ok(CaughtUp::Unknown),
                Lookup::BeyondEnd(cursor, ticket, answer) => {
                    Box::pin(self.await_log(cursor, ticket, answer, lag_tolerated_until)).await
                }
                Lookup::Newest(newest) => {
                    let _searching = self.metrics.searching();
                    match Box::pin(self.in_log(request).newest(newest)).await {
                        Ok(CaughtUp::NotYet) => Ok(Box::pin(self.await_more(request, known_by)).await),
                        caught_up => caught_up,
                    }
                }
                Lookup::InLog { cursor, to } => {
                    is_compared |= cursor.is_some();
                    let _searching = self.metrics.searching();
                    Box::pin(self.in_log(request).up_to(cursor, to)).await
                }
            };
            match caught_up {
                Ok(CaughtUp::Found(batch)) => return batch_outcome(batch, reset),
                Ok(CaughtUp::Reached(reached)) => start = Start::After(place_at(start, reached)),
                Ok(CaughtUp::Damaged(reached)) => (start, reset) = (Start::After(place_at(start, reached)), true),
                Ok(CaughtUp::Late(reached)) if reset => {
                    return batch_outcome(batch_of(Vec::new(), place_at(start, reached)), reset);
                }
                Ok(CaughtUp::Late(reached)) => return FeedOutcome::Nothing(place_at(start, reached)),
                // Not a reset: another gateway gave this place, and nothing is gone; or what was stored before is not known
                // yet, and there is no place that the client could be given.
                Ok(CaughtUp::Lagging | CaughtUp::NotYet) => return FeedOutcome::NotReady,
                Ok(CaughtUp::Unknown) => (start, reset) = (Start::Newest, true),
                Ok(CaughtUp::Gone) => (start, reset) = (Start::Oldest, true),
                Ok(CaughtUp::Again) => {}
                Err(error) => {
                    self.metrics.searches_failed.inc();
                    return FeedOutcome::Broker(error);
                }
            }
        }
    }

    /// Waits until the log is read: the gateway serves mailboxes before it is for the first time, and it may rest. A
    /// log that was lost is not waited for. Returns where the poll starts, or `None` if that took too long.
    async fn awake(&self, request: &FeedRequest) -> Option<Start> {
        let awaited = tokio::select! {
            awaited = self.reading.awaited(request.deadline) => awaited,
            () = self.closing.cancelled() => Awaited::Nothing,
        };
        match (awaited, request.start) {
            (Awaited::TooLong, _) => None,
            // What was stored since the poll came is new to it, also if it was read before the poll could look.
            (Awaited::Read(end), Start::Now) => {
                let state = self.state.lock();
                Some(Start::After(state.as_ref()?.now_from(&request.selection, end)))
            }
            (_, start) => Some(start),
        }
    }

    /// Waits for the answer of the task that follows the log, from a place on.
    async fn wait(
        &self,
        request: &FeedRequest,
        from: Cursor,
        ticket: Ticket,
        mut answer: oneshot::Receiver<Arc<FeedBatch>>,
    ) -> FeedOutcome {
        let mut guard = WatcherGuard { feed: self, selection: &request.selection, ticket: Some(ticket) };
        match timeout_at(request.deadline, &mut answer).await {
            Ok(Ok(batch)) => {
                // A poll that was answered waits no more.
                guard.ticket = None;
                FeedOutcome::Batch(batch)
            }
            // Since it was told to go, there may have been more.
            Ok(Err(_)) if self.closing.is_cancelled() => FeedOutcome::ShuttingDown(Some(from)),
            // The log was lost.
            Ok(Err(_)) => FeedOutcome::NotReady,
            Err(_) => {
                // From here on no answer comes, so what was not answered is not before the end.
                let end = self.end();
                drop(guard);
                match (answer.try_recv(), end) {
                    (Ok(batch), _) => FeedOutcome::Batch(batch),
                    (Err(_), Some(end)) => FeedOutcome::Nothing(Cursor { next: end, ..from }),
                    (Err(_), None) => FeedOutcome::NotReady,
                }
            }
        }
    }

    /// Waits for anything to come, as long as there is time; then asks the log itself whether it has the place.
    async fn await_log(
        &self,
        cursor: Cursor,
        ticket: Ticket,
        answer: oneshot::Receiver<Arc<FeedBatch>>,
        until: Instant,
    ) -> Result<CaughtUp, BrokerError> {
        let everything = Selection::all();
        let mut guard = WatcherGuard { feed: self, selection: &everything, ticket: Some(ticket) };
        match timeout_at(until, answer).await {
            Ok(_) => {
                guard.ticket = None;
                Ok(CaughtUp::Again)
            }
            Err(_) if self.log.reaches(cursor.next.saturating_sub(1)).await? => Ok(CaughtUp::Lagging),
            Err(_) => Ok(CaughtUp::Unknown),
        }
    }

    fn in_log<'a>(&'a self, request: &'a FeedRequest) -> CatchUp<'a, L> {
        CatchUp { log: &self.log, state: &self.state, request }
    }

    fn end(&self) -> Option<u64> {
        self.state.lock().as_ref().map(|state| state.recent.end())
    }

    fn leave(&self, selection: &Selection, ticket: Ticket) {
        if let Some(state) = &mut *self.state.lock() {
            state.watchers.leave(selection, ticket);
        }
    }
}

fn batch_outcome(batch: FeedBatch, reset: bool) -> FeedOutcome {
    FeedOutcome::Batch(Arc::new(FeedBatch { reset: reset || batch.reset, ..batch }))
}

/// Takes a poll from among the watchers when it ends unanswered, however that happens.
struct WatcherGuard<'a, L: EventLog> {
    feed: &'a Feed<L>,
    selection: &'a Selection,
    ticket: Option<Ticket>,
}

impl<L: EventLog> Drop for WatcherGuard<'_, L> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.feed.leave(self.selection, ticket);
        }
    }
}

#[cfg(test)]
mod tests;
