//! Feeds: every watcher of a topic sees its events, from one log that is not consumed.
//!
//! A task follows the log and keeps its newest events in a `window`. A poll is answered from the window; else, if it is older,
//! it looks back into the log (`look_back`); else it becomes one of the `watchers`, whom the task answers as events come, with
//! a `batch` that all who get the same share. Looking and beginning to wait are one step under one lock (`state`), so nothing
//! falls between them. The client remembers what it has seen, by a `cursor`; `newest` knows the newest event of each topic.

mod batch;
mod cursor;
mod look_back;
mod newest;
mod state;
mod watchers;
mod window;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use events::TopicPattern;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::{
    batch::{EncodedBatch, FeedBatch},
    cursor::{Cursor, Start},
    window::WindowLimits,
};
use self::{
    look_back::{Back, everything},
    newest::Newest,
    state::{Look, State},
    watchers::{Ticket, Watchers},
    window::Window,
};
use crate::{
    broker::{
        BrokerError,
        log::{EventLog, LogTail},
    },
    metrics::Counted,
};

/// How long the log may take to come up to a place that another gateway has given, which may be a little ahead of this one.
const CATCH_UP: Duration = Duration::from_secs(1);

/// What an operator can set about Feeds.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// How much of the newest events is kept in memory.
    pub window: WindowLimits,
    /// Of how many topics at most the newest event is known without a look at the log.
    pub topics: usize,
}

/// A poll of a Feed.
#[derive(Debug, Clone)]
pub struct FeedRequest {
    /// Which topics.
    pub pattern: TopicPattern,
    /// From where on.
    pub start: Start,
    /// Most events of the answer.
    pub limit: usize,
    /// Only the newest event of each topic in what the poll looks at.
    pub latest_only: bool,
    /// When to answer with nothing.
    pub deadline: Instant,
}

/// How a poll of a Feed is answered.
#[derive(Debug, Clone)]
pub enum FeedOutcome {
    /// With events, or with the news that some are gone.
    Batch(Arc<FeedBatch>),
    /// With nothing; everything up to this place was looked at.
    Nothing(Cursor),
    /// The end of the log is not known yet, or not any more.
    NotReady,
    /// The broker could not be read.
    Broker(BrokerError),
    /// The gateway ends; with a place up to which everything was looked at, if there is one.
    ShuttingDown(Option<Cursor>),
}

/// See the module.
pub struct Feed<L> {
    log: Arc<L>,
    options: FeedOptions,
    state: Mutex<Option<State>>,
    was_ready: AtomicBool,
    closing: CancellationToken,
    searches: Gauge,
}

impl<L: EventLog> Feed<L> {
    /// Makes a Feed; [`Self::follow`] brings it to life.
    pub fn new(log: Arc<L>, options: FeedOptions) -> Arc<Self> {
        Arc::new(Self {
            log,
            options,
            state: Mutex::new(None),
            was_ready: AtomicBool::new(false),
            closing: CancellationToken::new(),
            searches: Gauge::default(),
        })
    }

    /// Tells whether the end of the log was ever found. If it is lost later, polls are turned away, but mailboxes are read.
    pub fn is_ready(&self) -> bool {
        self.was_ready.load(Ordering::Relaxed)
    }

    /// Returns how many polls look at the log itself now, or wait for their turn.
    pub fn searches(&self) -> i64 {
        self.searches.get()
    }

    /// Follows the log until the Feed is closed; finds its end anew whenever it was lost.
    pub async fn follow(&self) {
        let mut pause = Duration::from_millis(100);
        let following = async {
            loop {
                let Err(error) = self.follow_once(&mut pause).await;
                match error {
                    // Whose supervisor says so, at each attempt.
                    BrokerError::NotConnected => debug!("the log waits for a connection to the broker"),
                    error => warn!(%error, "the log cannot be read; polls of feeds are turned away until it can"),
                }
                *self.state() = None;
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
        let mut newest = Newest::new(self.options.topics);
        let end = self.log.end(|topic, offset| newest.note(topic, offset)).await?;
        newest.miss_before(end.complete_from);
        // Its place is that of every client that has seen all; unless retention takes it at this very moment, or an event after
        // it is damaged: that one is to be found by a look at the log.
        let last = match newest.last() {
            Some(last) => {
                let searched = self.log.search(&everything(), last, end.next, 2).await?;
                searched.found.into_iter().next().filter(|_| searched.reached >= end.next && !searched.damaged)
            }
            None => None,
        };
        let mut window = Window::new(self.options.window, last.as_ref().map_or(end.next, |last| last.offset));
        if let Some(last) = last {
            window.push(last, Instant::now());
        }
        let mut tail = end.tail;
        *self.state() = Some(State { window, newest, watchers: Watchers::default() });
        self.was_ready.store(true, Ordering::Relaxed);
        info!(end = end.next, "feeds are ready");
        *pause = Duration::from_millis(100);
        loop {
            let events = tail.next().await?;
            if let Some(state) = &mut *self.state() {
                state.append(&events);
            }
        }
    }

    /// Ends every poll, and the following.
    pub fn close(&self) {
        self.closing.cancel();
        // The polls that wait hear of it, and those that come now do not begin to wait.
        if let Some(state) = &mut *self.state() {
            state.watchers = Watchers::default();
        }
    }

    /// Answers a poll. Dropping it means that the client hung up.
    pub async fn poll(&self, request: FeedRequest) -> FeedOutcome {
        let mut start = request.start;
        let mut reset = false;
        let catch_up = Instant::now() + CATCH_UP;
        // Every round looks at more of the log, or waits.
        loop {
            let oldest = self.log.known_oldest();
            let look = match &mut *self.state() {
                None => return FeedOutcome::NotReady,
                // Nothing may be behind its place that it has not got; and a reset is to be told elsewhere.
                Some(_) if self.closing.is_cancelled() => {
                    return FeedOutcome::ShuttingDown(start.place().filter(|_| !reset));
                }
                Some(state) => {
                    state.trim(oldest);
                    state.look(&request, start)
                }
            };
            let back = match look {
                Look::Found(batch) => return told(batch, reset),
                // There is something to tell at once.
                Look::Wait(end, ticket, _) if reset => {
                    self.leave(&request.pattern, ticket);
                    return told(FeedBatch::of(Vec::new(), 0, false, end), reset);
                }
                Look::Wait(end, ticket, answer) => return self.wait(&request, end, ticket, answer).await,
                Look::Elsewhere => Ok(Back::Elsewhere),
                Look::Ahead(cursor, ticket, answer) => self.catch_up(cursor, ticket, answer, catch_up).await,
                Look::Newest(look) => {
                    let _searching = Counted::new(&self.searches);
                    self.newest(&request, look).await
                }
                Look::Older { cursor, to } => {
                    let _searching = Counted::new(&self.searches);
                    self.look_back(&request, cursor, to).await
                }
            };
            match back {
                Ok(Back::Found(batch)) => return told(batch, reset),
                Ok(Back::Reached(reached)) => start = Start::Behind(reached),
                Ok(Back::Damaged(reached)) => (start, reset) = (Start::Behind(reached), true),
                Ok(Back::Late(reached)) if reset => return told(FeedBatch::of(Vec::new(), 0, false, reached), reset),
                Ok(Back::Late(reached)) => return FeedOutcome::Nothing(reached),
                // Not a reset: another gateway gave this place, and nothing is gone.
                Ok(Back::Lagging) => return FeedOutcome::NotReady,
                Ok(Back::Elsewhere) => (start, reset) = (Start::Newest, true),
                Ok(Back::Gone) => (start, reset) = (Start::Oldest, true),
                Ok(Back::Again) => {}
                Err(error) => return FeedOutcome::Broker(error),
            }
        }
    }

    /// Waits for the answer of the task that follows the log; everything before `from` was looked at.
    async fn wait(
        &self,
        request: &FeedRequest,
        from: Cursor,
        ticket: Ticket,
        mut answer: oneshot::Receiver<Arc<FeedBatch>>,
    ) -> FeedOutcome {
        let mut leaving = Leaving { feed: self, pattern: &request.pattern, ticket: Some(ticket) };
        match timeout_at(request.deadline, &mut answer).await {
            Ok(Ok(batch)) => {
                // A poll that was answered waits no more.
                leaving.ticket = None;
                FeedOutcome::Batch(batch)
            }
            // Since it was told to go, there may have been more.
            Ok(Err(_)) if self.closing.is_cancelled() => FeedOutcome::ShuttingDown(Some(from)),
            // The log was lost.
            Ok(Err(_)) => FeedOutcome::NotReady,
            Err(_) => {
                // From here on no answer comes, so what was not answered is not before the end.
                let end = self.end();
                drop(leaving);
                match (answer.try_recv(), end) {
                    (Ok(batch), _) => FeedOutcome::Batch(batch),
                    (Err(_), Some(end)) => FeedOutcome::Nothing(end),
                    (Err(_), None) => FeedOutcome::NotReady,
                }
            }
        }
    }

    /// Waits for anything to come, as long as there is time; then asks the log itself whether it has the place.
    async fn catch_up(
        &self,
        cursor: Cursor,
        ticket: Ticket,
        answer: oneshot::Receiver<Arc<FeedBatch>>,
        until: Instant,
    ) -> Result<Back, BrokerError> {
        let everything = everything();
        let mut leaving = Leaving { feed: self, pattern: &everything, ticket: Some(ticket) };
        match timeout_at(until, answer).await {
            Ok(_) => {
                leaving.ticket = None;
                Ok(Back::Again)
            }
            Err(_) if self.log.reaches(cursor.next.saturating_sub(1)).await? => Ok(Back::Lagging),
            Err(_) => Ok(Back::Elsewhere),
        }
    }

    fn end(&self) -> Option<Cursor> {
        self.state().as_ref().map(|state| state.window.end())
    }

    fn leave(&self, pattern: &TopicPattern, ticket: Ticket) {
        if let Some(state) = &mut *self.state() {
            state.watchers.leave(pattern, ticket);
        }
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(batch: FeedBatch, reset: bool) -> FeedOutcome {
    FeedOutcome::Batch(Arc::new(FeedBatch { reset: reset || batch.reset, ..batch }))
}

/// Takes a poll from among the watchers when it ends unanswered, however that happens.
struct Leaving<'a, L: EventLog> {
    feed: &'a Feed<L>,
    pattern: &'a TopicPattern,
    ticket: Option<Ticket>,
}

impl<L: EventLog> Drop for Leaving<'_, L> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.feed.leave(self.pattern, ticket);
        }
    }
}

#[cfg(test)]
mod tests;
