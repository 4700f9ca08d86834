//! Brings what was stored before into memory, from the end of the log backwards, while polls are served already.
//!
//! How long a start takes must not depend on how long the log is. So a log that cannot tell where the newest event of
//! each topic is shows only some of its last events at first. The rest is read here, part by part: the recent events
//! grow until there is no more room for them, and the index until it has all topics, or no room for more. A client that
//! asks for the newest event of a topic that is not known yet waits for this, instead of reading the log for itself.

use std::{collections::HashSet, time::Duration};

use broker::{
    BrokerError,
    log::{EventLog, Logged, Searched},
};
use events::{Selection, Topic};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info};

use super::{Feed, catch_up::CaughtUp, request::FeedRequest, state::State};

/// How far the first part reaches, in offsets, and how far any does: each is four times as long as the one after it. So
/// few in unit tests that there are several.
const FIRST_PART: u64 = if cfg!(test) { 2 } else { 500 };
const LONGEST_PART: u64 = if cfg!(test) { 8 } else { 20_000 };

/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// How far back the log has been read.
#[derive(Debug)]
pub(super) struct Fill {
    /// All that is kept from here on is known.
    to: u64,
    part: u64,
    /// Nothing is kept before, or it is damaged.
    is_at_beginning: bool,
}

/// A part of the log.
#[derive(Debug, Default)]
struct Part {
    from: u64,
    /// The last of its events, as many as there was room for.
    events: Vec<Logged>,
    /// All events from here on are among them.
    events_from: u64,
    /// Its topics, each with its newest event, the newest first.
    newest: Vec<(Topic, u64)>,
    /// Nothing is kept before it.
    is_first: bool,
    /// What is before it is damaged.
    is_after_damage: bool,
}

impl Part {
    /// Takes the next events, which are all up to an offset. Drops the oldest for which there is no room, but never the
    /// newest.
    fn add(&mut self, found: Vec<Logged>, room: usize) {
        self.events.extend(found);
        let Some((newest, older)) = self.events.split_last() else { return };
        let mut bytes = newest.event.memory();
        let too_many = older.iter().rposition(|logged| {
            bytes += logged.event.memory();
            bytes > room
        });
        if let Some(last) = too_many {
            self.events_from = self.events[last].offset + 1;
            self.events.drain(..=last);
        }
    }
}

impl Fill {
    /// Begins at a state that was just made.
    pub(super) fn of(state: &State) -> Self {
        Self { to: state.recent.before(), part: FIRST_PART, is_at_beginning: false }
    }

    /// Reads the part before, of which the recent events have room for so many bytes.
    async fn read<L: EventLog>(&self, log: &L, room: usize) -> Result<Part, BrokerError> {
        let from = self.to.saturating_sub(self.part);
        let mut part = Part { from, events_from: from, is_first: from == 0, ..Part::default() };
        // In order; of each topic the last one counts.
        let mut topics: Vec<(Topic, u64)> = Vec::new();
        let mut next = from;
        while next < self.to {
            let Searched { found, damaged, reached, oldest, .. } =
                log.search(&Selection::all(), next, self.to, usize::MAX).await?;
            if oldest > next {
                part = Part { from: oldest, events_from: oldest, is_first: true, ..Part::default() };
                topics.clear();
            }
            if damaged {
                let from = found.first().map_or(reached, |first| first.offset);
                part = Part { from, events_from: from, is_after_damage: true, ..Part::default() };
                topics.clear();
            }
            topics.extend(found.iter().map(|logged| (logged.event.topic.clone(), logged.offset)));
            part.add(found, room);
            next = reached;
        }
        let mut known = HashSet::new();
        topics.reverse();
        topics.retain(|(topic, _)| known.insert(topic.clone()));
        part.newest = topics;
        Ok(part)
    }

    /// Brings a part into memory.
    fn take(&mut self, part: Part, state: &mut State) {
        let Part { from, events, events_from, newest, is_first, is_after_damage } = part;
        if is_first {
            state.trim(from);
        }
        if state.recent.before() == self.to {
            state.recent.extend_back(events_from, events, Instant::now());
        }
        // If it has forgotten topics meanwhile, it has no room for older ones.
        if state.fills_index && state.index.complete_from() <= self.to {
            let complete_from = if is_first { 0 } else { from };
            let newest_first = newest.iter().map(|(topic, offset)| (topic, *offset));
            state.fills_index = state.index.note_older(complete_from, newest_first) && !is_first && !is_after_damage;
        } else {
            state.fills_index = false;
        }
        self.is_at_beginning = is_first || is_after_damage;
        (self.to, self.part) = (from, (self.part * 4).min(LONGEST_PART));
    }

    /// Reads back until the last event is known, or that there is none.
    pub(super) async fn up_to_an_event<L: EventLog>(&mut self, log: &L, state: &mut State) -> Result<(), BrokerError> {
        while state.recent.is_empty() && !self.is_at_beginning {
            let part = self.read(log, state.recent.room()).await?;
            self.take(part, state);
        }
        Ok(())
    }

    /// Tells how much room there is for what was not read yet; `None` if there is no use in reading it.
    fn room(&self, state: &State) -> Option<usize> {
        let room = if state.recent.before() == self.to { state.recent.room() } else { 0 };
        (!self.is_at_beginning && (room > 0 || state.fills_index)).then_some(room)
    }
}

impl<L: EventLog> Feed<L> {
    /// Reads back as far as there is room, for as long as the log is the same.
    pub(super) async fn fill(&self, mut fill: Fill) {
        let began = Instant::now();
        loop {
            let Some(room) = self.state.lock().as_ref().and_then(|state| fill.room(state)) else { break };
            match fill.read(&*self.log, room).await {
                Ok(part) => {
                    if let Some(state) = &mut *self.state.lock() {
                        fill.take(part, state);
                    }
                }
                Err(error) => {
                    debug!(%error, "what was stored before cannot be read yet");
                    sleep(PAUSE).await;
                }
            }
            self.filled.send_modify(|parts| *parts += 1);
        }
        if let Some(state) = &mut *self.state.lock() {
            state.fills_index = false;
        }
        self.filled.send_modify(|parts| *parts += 1);
        info!(from = fill.to, took = ?began.elapsed(), "what was stored before is known");
    }

    /// Waits until more of what was stored before is known, for as long as a poll waits, and a short one for a moment.
    pub(super) async fn await_more(&self, request: &FeedRequest, at_least_until: Instant) -> CaughtUp {
        let mut parts = self.filled.subscribe();
        if !self.state.lock().as_ref().is_some_and(|state| state.fills_index) {
            return CaughtUp::Again;
        }
        tokio::select! {
            more = timeout_at(request.deadline.max(at_least_until), parts.changed()) => {
                if more.is_ok() { CaughtUp::Again } else { CaughtUp::NotYet }
            }
            () = self.closing.cancelled() => CaughtUp::Again,
        }
    }
}
