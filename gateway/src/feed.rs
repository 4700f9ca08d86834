//! Feeds: everybody who watches a topic sees its events, from one log that nobody consumes.
//!
//! A task follows the log and keeps its newest events in a `window`. A poll is answered from the window; else, if it is older,
//! from the log; else it becomes one of the `watchers`, whom the task answers as events come. Looking and beginning to wait are
//! one step under one lock, so nothing falls between them. The client remembers what it has seen, by a `cursor`; `newest`
//! knows the newest event of each topic.

mod cursor;
mod newest;
mod watchers;
mod window;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use events::{Topic, TopicPattern};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::cursor::{Cursor, Start};
use self::{
    newest::Newest,
    watchers::{Ticket, Watchers},
    window::Window,
};
use crate::broker::{
    BrokerError,
    log::{EventLog, LogTail, Logged},
};

/// The payload bytes of a batch, but for its first event.
const BATCH_BYTES: usize = 1024 * 1024;

/// What an operator can set about Feeds.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// How many payload bytes of the newest events are kept in memory.
    pub window_bytes: usize,
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
    /// The gateway ends.
    ShuttingDown(Cursor),
}

/// What one answer holds; shared by all who get the same.
#[derive(Debug)]
pub struct FeedBatch {
    /// The events, oldest first.
    pub events: Vec<Logged>,
    /// Something that the client had not seen is gone, or its place is of another log.
    pub reset: bool,
    /// What the client echoes.
    pub last_seen: Cursor,
    /// The answer as it is sent, once somebody has encoded it.
    pub body: OnceLock<Bytes>,
    /// The same as a piece of a stream.
    pub stream: OnceLock<Bytes>,
}

impl FeedBatch {
    /// Takes as many of these events as fit; `end` is the place behind all that was looked at.
    fn of(mut found: Vec<Logged>, limit: usize, latest_only: bool, end: Cursor) -> Self {
        if latest_only {
            let mut topics = HashSet::new();
            found.reverse();
            found.retain(|logged| topics.insert(logged.event.topic.clone()));
            found.reverse();
        }
        let (mut bytes, mut count) = (0, 0);
        let fits = |logged: &&Logged| {
            bytes += logged.event.payload.len();
            count += 1;
            count <= limit && (count == 1 || bytes <= BATCH_BYTES)
        };
        let taken = found.iter().take_while(fits).count();
        let last_seen = match found.get(taken) {
            Some(_) => found.get(taken.wrapping_sub(1)).map_or(end, Cursor::behind),
            None => end,
        };
        found.truncate(taken);
        Self { events: found, reset: false, last_seen, body: OnceLock::new(), stream: OnceLock::new() }
    }
}

/// See the module.
pub struct Feed<L> {
    log: Arc<L>,
    options: FeedOptions,
    state: Mutex<Option<State>>,
    was_ready: AtomicBool,
    closing: CancellationToken,
}

#[derive(Debug)]
struct State {
    window: Window,
    newest: Newest,
    watchers: Watchers,
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
        })
    }

    /// Tells whether the end of the log was ever found. If it is lost later, polls are turned away, but mailboxes are read.
    pub fn is_ready(&self) -> bool {
        self.was_ready.load(Ordering::Relaxed)
    }

    /// Follows the log until the Feed is closed; finds its end anew whenever it was lost.
    pub async fn follow(&self) {
        let mut pause = Duration::from_millis(100);
        let following = async {
            loop {
                let Err(error) = self.follow_once(&mut pause).await;
                warn!(%error, "the log cannot be read; polls of feeds are turned away until it can");
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
        let last = newest.last();
        let mut window = Window::new(self.options.window_bytes, last.unwrap_or(end.next));
        if let Some(last) = last {
            // Its place is that of everybody who has seen all.
            let found = self.log.search(&everything(), last, last + 1, 1).await?.found;
            for logged in found {
                window.push(logged);
            }
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
    }

    /// Answers a poll. Dropping it means that the client hung up.
    pub async fn poll(&self, request: FeedRequest) -> FeedOutcome {
        let mut start = request.start;
        let mut reset = false;
        // Every round looks at more of the log, or waits.
        loop {
            let look = match &mut *self.state() {
                None => return FeedOutcome::NotReady,
                Some(state) => state.look(&request, start),
            };
            let back = match look {
                Look::Found(batch) => return told(batch, reset),
                // There is something to tell at once.
                Look::Wait(end, ticket, _) if reset => {
                    self.leave(&ticket);
                    return told(FeedBatch::of(Vec::new(), 0, false, end), reset);
                }
                Look::Wait(_, ticket, answer) => return self.wait(&request, ticket, answer).await,
                Look::Elsewhere => Ok(Back::Elsewhere),
                Look::Newest(look) => self.newest(&request, look).await,
                Look::Older { cursor, to } => self.look_back(&request, cursor, to).await,
            };
            match back {
                Ok(Back::Found(batch)) => return told(batch, reset),
                Ok(Back::Reached(reached)) => start = Start::Behind(reached),
                Ok(Back::Late(reached)) if reset => return told(FeedBatch::of(Vec::new(), 0, false, reached), reset),
                Ok(Back::Late(reached)) => return FeedOutcome::Nothing(reached),
                Ok(Back::Elsewhere) => (start, reset) = (Start::Newest, true),
                Ok(Back::Gone) => (start, reset) = (Start::Oldest, true),
                Err(error) => return FeedOutcome::Broker(error),
            }
        }
    }

    /// Reads the newest event of each topic, in the order of the log. If there are too many, the client goes on behind the
    /// last of them, and gets all that follows.
    async fn newest(&self, request: &FeedRequest, look: NewestLook) -> Result<Back, BrokerError> {
        let mut found = Vec::new();
        if look.forgotten_before > 0 {
            match self.forgotten(request, look.forgotten_before).await? {
                Forgotten::All(events) => found = events,
                Forgotten::Some(batch) => return Ok(Back::Found(batch)),
                Forgotten::Late(reached) => return Ok(Back::Late(reached)),
            }
        }
        for offset in look.offsets {
            let here = self.state().as_ref().and_then(|state| state.window.get(offset).cloned());
            if let Some(logged) = here {
                found.push(logged);
                continue;
            }
            let searched = self.log.search(&everything(), offset, offset + 1, 1).await?;
            if searched.found.is_empty() {
                // Retention took it: it is the newest no more.
                self.forget(searched.oldest.max(offset + 1));
            }
            found.extend(searched.found);
        }
        if found.is_empty() {
            return Ok(Back::Reached(look.end));
        }
        Ok(Back::Found(FeedBatch::of(found, request.limit, false, look.end)))
    }

    /// Looks up in the log, before an offset, the newest events of topics that the index has forgotten.
    async fn forgotten(&self, request: &FeedRequest, before: u64) -> Result<Forgotten, BrokerError> {
        let mut newest = HashMap::new();
        let in_order = |newest: HashMap<Topic, Logged>| {
            let mut events: Vec<Logged> = newest.into_values().collect();
            events.sort_unstable_by_key(|logged| logged.offset);
            events
        };
        let (mut from, mut place) = (0, None);
        while from < before {
            let searched = self.log.search(&request.pattern, from, before, usize::MAX).await?;
            from = searched.reached;
            place = searched.last.as_ref().map(Cursor::behind).or(place);
            for logged in searched.found {
                let topic = &logged.event.topic;
                if self.state().as_ref().is_some_and(|state| state.newest.knows(topic)) {
                    continue;
                }
                if newest.len() == request.limit && !newest.contains_key(topic) {
                    let found = in_order(newest);
                    let end = found.last().map(Cursor::behind).unwrap_or_default();
                    return Ok(Forgotten::Some(FeedBatch::of(found, request.limit, false, end)));
                }
                newest.insert(topic.clone(), logged);
            }
            if let Some(place) = place.filter(|_| from < before && Instant::now() >= request.deadline) {
                return Ok(match in_order(newest) {
                    none if none.is_empty() => Forgotten::Late(place),
                    found => Forgotten::Some(FeedBatch::of(found, request.limit, false, place)),
                });
            }
        }
        Ok(Forgotten::All(in_order(newest)))
    }

    /// Looks through what is older than the window, from a place up to the window, or until the deadline.
    async fn look_back(&self, request: &FeedRequest, cursor: Option<Cursor>, to: Cursor) -> Result<Back, BrokerError> {
        let FeedRequest { pattern, limit, .. } = request;
        let mut place = cursor;
        let mut searched = match cursor.and_then(|cursor| Some((cursor, cursor.next.checked_sub(1)?))) {
            Some((cursor, seen)) => {
                // Where nothing can be found, the place is still to be checked.
                let nothing_new =
                    self.state().as_ref().is_some_and(|state| state.newest.is_quiet_since(pattern, cursor.next));
                let limit = if nothing_new { 0 } else { *limit };
                let searched = self.log.search_behind(pattern, seen, to.next, limit).await?;
                let is_compared = match &searched.before {
                    Some(before) if cursor.is_behind(before) => true,
                    // The last that the client has seen was the last that went: it has missed nothing.
                    None if searched.oldest == cursor.next => false,
                    None if searched.oldest > seen => return Ok(Back::Gone),
                    _ => return Ok(Back::Elsewhere),
                };
                if nothing_new {
                    return Ok(Back::Reached(to));
                }
                if is_compared { searched } else { self.log.search(pattern, cursor.next, to.next, limit).await? }
            }
            None => self.log.search(pattern, 0, to.next, *limit).await?,
        };
        let mut from = cursor.map_or(0, |cursor| cursor.next);
        loop {
            // Of an empty place before everything nothing can be gone but what was there.
            if cursor.is_some() && searched.oldest > from {
                return Ok(Back::Gone);
            }
            place = searched.last.as_ref().map(Cursor::behind).or(place);
            from = searched.reached;
            if let Some(last) = searched.found.last() {
                let mut end = place.unwrap_or(Cursor::behind(last));
                let mut found = searched.found;
                if from >= to.next {
                    end = self.join(request, &mut found, to).unwrap_or(end);
                }
                return Ok(Back::Found(FeedBatch::of(found, *limit, request.latest_only, end)));
            }
            if from >= to.next {
                return Ok(Back::Reached(to));
            }
            if let Some(place) = place.filter(|_| Instant::now() >= request.deadline) {
                return Ok(Back::Late(place));
            }
            searched = self.log.search(pattern, from, to.next, *limit).await?;
        }
    }

    /// Adds what has come since a place, if all of it is in the window, and returns the place at the end.
    fn join(&self, request: &FeedRequest, found: &mut Vec<Logged>, place: Cursor) -> Option<Cursor> {
        let state = self.state();
        let window = state.as_ref().map(|state| &state.window).filter(|window| window.knows(place) == Some(true))?;
        let matching = window.from(place.next).filter(|logged| request.pattern.matches(&logged.event.topic));
        // One more than fits tells that there is more.
        let most = if request.latest_only { usize::MAX } else { (request.limit + 1).saturating_sub(found.len()) };
        found.extend(matching.take(most).cloned());
        Some(window.end())
    }

    /// Waits for the answer of the task that follows the log.
    async fn wait(
        &self,
        request: &FeedRequest,
        ticket: Ticket,
        mut answer: oneshot::Receiver<Arc<FeedBatch>>,
    ) -> FeedOutcome {
        let leaving = Leaving { feed: self, ticket: &ticket };
        let answered = tokio::select! {
            answered = timeout_at(request.deadline, &mut answer) => answered,
            () = self.closing.cancelled() => {
                return self.end().map_or(FeedOutcome::NotReady, FeedOutcome::ShuttingDown);
            }
        };
        match answered {
            Ok(Ok(batch)) => FeedOutcome::Batch(batch),
            // The log was lost.
            Ok(Err(_)) => FeedOutcome::NotReady,
            Err(_) => {
                // From here on nobody answers, so what was not answered is not before the end.
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

    /// Forgets topics that have no event from an offset on.
    fn forget(&self, oldest: u64) {
        if let Some(state) = &mut *self.state() {
            state.newest.trim(oldest);
        }
    }

    fn end(&self) -> Option<Cursor> {
        self.state().as_ref().map(|state| state.window.end())
    }

    fn leave(&self, ticket: &Ticket) {
        if let Some(state) = &mut *self.state() {
            state.watchers.leave(ticket);
        }
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at the window came to.
enum Look {
    Found(FeedBatch),
    Newest(NewestLook),
    /// The place is before the window; without one, the oldest event is. The window begins behind `to`.
    Older {
        cursor: Option<Cursor>,
        to: Cursor,
    },
    /// The place is none of this log.
    Elsewhere,
    /// There is nothing yet; the poll is among the watchers.
    Wait(Cursor, Ticket, oneshot::Receiver<Arc<FeedBatch>>),
}

/// What is known of the newest events that a poll asks for.
struct NewestLook {
    /// Where they are, as far as they are known.
    offsets: Vec<u64>,
    /// Other topics have theirs before this offset.
    forgotten_before: u64,
    /// The place at the end.
    end: Cursor,
}

/// The newest events of topics that were forgotten, in order.
enum Forgotten {
    All(Vec<Logged>),
    /// Those of a part of the log, behind which the client goes on.
    Some(FeedBatch),
    /// None was found up to this place before the deadline.
    Late(Cursor),
}

/// What a look at the log came to.
enum Back {
    Found(FeedBatch),
    /// There is nothing before this place.
    Reached(Cursor),
    /// There is nothing before this place, and no time to look further.
    Late(Cursor),
    /// The place is none of this log.
    Elsewhere,
    /// Events behind the place are gone.
    Gone,
}

impl State {
    /// Takes the next events, and tells whoever waits for them.
    fn append(&mut self, events: &[Logged]) {
        for logged in events {
            self.newest.note(&logged.event.topic, logged.offset);
            self.window.push(logged.clone());
        }
        self.watchers.tell(events, self.window.end());
    }

    fn look(&mut self, request: &FeedRequest, start: Start) -> Look {
        let to = self.window.before();
        match start {
            Start::Elsewhere => return Look::Elsewhere,
            Start::Oldest => return Look::Older { cursor: None, to },
            Start::Newest => {
                // One more than fits tells that there are more.
                let offsets = self.newest.matching(&request.pattern, request.limit + 1);
                let is_all = !offsets.is_empty() && request.pattern.is_topic();
                let forgotten_before = if is_all { 0 } else { self.newest.complete_from() };
                if !offsets.is_empty() || forgotten_before > 0 {
                    return Look::Newest(NewestLook { offsets, forgotten_before, end: self.window.end() });
                }
            }
            Start::Now => {}
            Start::Behind(cursor) => match self.window.knows(cursor) {
                Some(true) => {
                    let matching = |logged: &&Logged| request.pattern.matches(&logged.event.topic);
                    let matching = self.window.from(cursor.next).filter(matching).cloned();
                    // One more than fits tells that there is more.
                    let most = if request.latest_only { usize::MAX } else { request.limit + 1 };
                    let found: Vec<Logged> = matching.take(most).collect();
                    if !found.is_empty() {
                        let end = self.window.end();
                        return Look::Found(FeedBatch::of(found, request.limit, request.latest_only, end));
                    }
                }
                Some(false) => return Look::Elsewhere,
                None => return Look::Older { cursor: Some(cursor), to },
            },
        }
        let (ticket, answer) = self.watchers.watch(&request.pattern, request.limit, request.latest_only);
        Look::Wait(self.window.end(), ticket, answer)
    }
}

fn told(batch: FeedBatch, reset: bool) -> FeedOutcome {
    FeedOutcome::Batch(Arc::new(FeedBatch { reset, ..batch }))
}

/// Takes a poll from among the watchers when it ends, however that happens.
struct Leaving<'a, L: EventLog> {
    feed: &'a Feed<L>,
    ticket: &'a Ticket,
}

impl<L: EventLog> Drop for Leaving<'_, L> {
    fn drop(&mut self) {
        self.feed.leave(self.ticket);
    }
}

/// Selects every topic.
fn everything() -> TopicPattern {
    match "#".parse() {
        Ok(pattern) => pattern,
        Err(_) => unreachable!("# is a pattern"),
    }
}

#[cfg(test)]
mod tests;
