//! Feeds: every watcher of a topic sees its events, from one log that is not consumed.
//!
//! A task follows the log and keeps its newest events in memory (`recent`). A poll is answered from those; else, if its
//! place is older, from the log (`catch_up`); else it becomes one of the `watchers`, whom the task answers as events
//! come, with a `batch` that all who get the same share. Looking and beginning to wait are one step under one lock
//! (`state`), so nothing falls between them. The client remembers what it has seen, by a `cursor`; `topic_index` knows
//! the newest event of each topic.

mod batch;
mod catch_up;
mod cursor;
mod metrics;
mod recent;
mod request;
mod state;
mod topic_index;
mod watchers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use broker::{
    BrokerError,
    log::{EventLog, LogTail},
};
use events::TopicPattern;
use tokio::{
    sync::{oneshot, watch},
    task::yield_now,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::{
    batch::{EncodedBatch, FeedBatch},
    cursor::{Cursor, Start},
    metrics::FeedMetrics,
    recent::WindowLimits,
    request::{FeedOutcome, FeedRequest},
};
use self::{
    catch_up::{CatchUp, CaughtUp},
    recent::RecentEvents,
    state::{Lookup, SharedState, State},
    topic_index::TopicIndex,
    watchers::{Ticket, Watchers},
};

/// How long the log may take to come up to a place that another gateway has given, which may be a little ahead of this
/// one.
const MAX_LAG: Duration = Duration::from_secs(1);

/// How long a poll that does not wait waits all the same while the end of the log is looked for at the start.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// What an operator can set about Feeds.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// How much of the newest events is kept in memory.
    pub window: WindowLimits,
    /// Of how many topics at most the newest event is known without a look at the log.
    pub topics: usize,
}

/// Answers polls of every client that follows the log.
pub struct Feed<L> {
    log: Arc<L>,
    options: FeedOptions,
    state: SharedState,
    is_ready: watch::Sender<bool>,
    has_been_ready: AtomicBool,
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
            is_ready: watch::Sender::new(false),
            has_been_ready: AtomicBool::new(false),
            closing: CancellationToken::new(),
            metrics,
        })
    }

    /// Tells whether the end of the log is known now, so that polls are served.
    pub fn is_ready(&self) -> bool {
        *self.is_ready.borrow()
    }

    fn set_ready(&self, is_ready: bool) {
        self.metrics.ready.set(i64::from(is_ready));
        self.has_been_ready.fetch_or(is_ready, Ordering::Relaxed);
        self.is_ready.send_replace(is_ready);
    }

    /// Follows the log until the Feed is closed; finds its end anew whenever it was lost.
    pub async fn follow(&self) {
        let mut pause = Duration::from_millis(100);
        let following = async {
            loop {
                let Err(error) = self.follow_once(&mut pause).await;
                match error {
                    // Whose supervisor says so, at each attempt.
                    BrokerError::NotConnected | BrokerError::Reconnecting => {
                        debug!("the log waits for a connection to the broker");
                    }
                    error => warn!(%error, "the log cannot be read; polls of feeds are turned away until it can"),
                }
                *self.state.lock() = None;
                self.set_ready(false);
                sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        };
        tokio::select! {
            () = self.closing.cancelled() => {}
            () = following => {}
        }
    }

    async fn follow_once(&self, pause: &mut Duration) -> Result<std::convert::Infallible, BrokerError> {
        let mut index = TopicIndex::new(self.options.topics);
        let end = self.log.open_tail(|topic, offset| index.note(topic, offset)).await?;
        index.miss_before(end.complete_from);
        // Its place is that of every client that has seen all; unless retention takes it at this very moment, or an
        // event after it is damaged: that one is to be found by a look at the log.
        let last = match index.last() {
            Some(last) => {
                let searched = self.log.search(&TopicPattern::all(), last, end.next, 2).await?;
                searched.found.into_iter().next().filter(|_| searched.reached >= end.next && !searched.damaged)
            }
            None => None,
        };
        let mut recent = RecentEvents::new(self.options.window, last.as_ref().map_or(end.next, |last| last.offset));
        if let Some(last) = last {
            recent.push(last, Instant::now());
        }
        let mut tail = end.tail;
        *self.state.lock() = Some(State::new(recent, index, self.log.id()));
        self.set_ready(true);
        info!(end = end.next, "feeds are ready");
        *pause = Duration::from_millis(100);
        loop {
            let events = tail.next().await?;
            if let Some(state) = &mut *self.state.lock() {
                state.append(&events);
            }
        }
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
    pub async fn poll(&self, request: FeedRequest) -> FeedOutcome {
        self.begun(request.deadline).await;
        let mut start = request.start;
        let mut reset = false;
        let lag_tolerated_until = Instant::now() + MAX_LAG;
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
                    state.lookup(&request, start, found.len(), is_compared)
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
                    self.leave(&request.pattern, ticket);
                    return batch_outcome(batch_of(Vec::new(), end), reset);
                }
                Lookup::Watching(end, ticket, answer) => return self.wait(&request, end, ticket, answer).await,
                Lookup::Unknown => Ok(CaughtUp::Unknown),
                Lookup::BeyondEnd(cursor, ticket, answer) => {
                    self.await_log(cursor, ticket, answer, lag_tolerated_until).await
                }
                Lookup::Newest(newest) => {
                    let _searching = self.metrics.searching();
                    self.in_log(&request).newest(newest).await
                }
                Lookup::InLog { cursor, to } => {
                    is_compared |= cursor.is_some();
                    let _searching = self.metrics.searching();
                    self.in_log(&request).up_to(cursor, to).await
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
                // Not a reset: another gateway gave this place, and nothing is gone.
                Ok(CaughtUp::Lagging) => return FeedOutcome::NotReady,
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

    /// Waits until the end of the log was found for the first time, for as long as a poll waits, and a short one for a
    /// moment: the gateway serves mailboxes before that. A log that was lost is not waited for.
    async fn begun(&self, deadline: Instant) {
        if !self.has_been_ready.load(Ordering::Relaxed) {
            let mut is_ready = self.is_ready.subscribe();
            let begun = async {
                tokio::select! {
                    _ = is_ready.wait_for(|is_ready| *is_ready) => {}
                    () = self.closing.cancelled() => {}
                }
            };
            let _ = timeout_at(deadline.max(Instant::now() + FIRST_WAIT), begun).await;
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
        let mut guard = WatcherGuard { feed: self, pattern: &request.pattern, ticket: Some(ticket) };
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
        let everything = TopicPattern::all();
        let mut guard = WatcherGuard { feed: self, pattern: &everything, ticket: Some(ticket) };
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

    fn leave(&self, pattern: &TopicPattern, ticket: Ticket) {
        if let Some(state) = &mut *self.state.lock() {
            state.watchers.leave(pattern, ticket);
        }
    }
}

fn batch_outcome(batch: FeedBatch, reset: bool) -> FeedOutcome {
    FeedOutcome::Batch(Arc::new(FeedBatch { reset: reset || batch.reset, ..batch }))
}

/// Takes a poll from among the watchers when it ends unanswered, however that happens.
struct WatcherGuard<'a, L: EventLog> {
    feed: &'a Feed<L>,
    pattern: &'a TopicPattern,
    ticket: Option<Ticket>,
}

impl<L: EventLog> Drop for WatcherGuard<'_, L> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.feed.leave(self.pattern, ticket);
        }
    }
}

#[cfg(test)]
mod tests;
