//! The log as a Feed reads it.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use broker::{
    BrokerError,
    limits::{MAX_BATCH_BYTES, MAX_TAIL_EVENTS},
    log::{EventLog, LogEnd, LogTail, Logged, NewestBefore, Searched},
};
use events::{Event, Matcher, Selection, Topic, TopicPattern};

use super::{log::TopicId, shared::Handle};

/// How many heads are looked at under one hold of the state's lock.
const SCAN: u64 = 1 << 13;

/// How many topics are compared with a pattern under one hold of the state's lock: about a millisecond of the longest
/// ones.
const MAX_COMPARED: usize = 1 << 8;

/// How many heads one search looks at.
const SEARCH: u64 = 1 << 20;

/// How many events a search reads at once, before it knows how large they are.
const PIECE: usize = 64;

/// The log as a Feed reads it. Cloning shares it.
#[derive(Debug, Clone)]
pub struct EmbeddedLog {
    handle: Arc<Handle>,
    /// Which events are for Feeds.
    topics: Arc<[TopicPattern]>,
    id: u32,
}

/// Follows the log.
#[derive(Debug)]
pub struct EmbeddedTail {
    log: EmbeddedLog,
    next: u64,
}

impl EmbeddedLog {
    pub(super) const fn new(handle: Arc<Handle>, topics: Arc<[TopicPattern]>, id: u32) -> Self {
        Self { handle, topics, id }
    }

    /// Returns the event at an offset, if it is there.
    async fn event(&self, offset: u64) -> Result<Option<Logged>, BrokerError> {
        let loaded = self.handle.load(&[offset]).await?.pop();
        Ok(loaded.and_then(|(offset, event)| Some(Logged { offset, event: event? })))
    }

    /// Tells whether events of a topic are for Feeds. All are in the log, because mailboxes are read from it, too.
    fn feeds(&self, topic: &Topic) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic))
    }

    /// Looks for matching events, up to `limit`, as far as one hold of the lock should go.
    fn select(&self, matcher: &Matcher<'_>, range: Range<u64>, limit: usize) -> Selected {
        let state = self.handle.state();
        let mut selected = Selected { offsets: Vec::new(), damaged: false, reached: range.end };
        // Most logs have far fewer topics than events.
        let mut compared: HashMap<TopicId, bool> = HashMap::new();
        for (offset, topic) in state.log.topics(range) {
            let Some(id) = topic else {
                if selected.offsets.is_empty() {
                    selected.damaged = true;
                    continue;
                }
                selected.reached = offset;
                break;
            };
            if compared.len() == MAX_COMPARED && !compared.contains_key(&id) {
                selected.reached = offset;
                break;
            }
            let is_selected = *compared.entry(id).or_insert_with(|| {
                let topic = state.log.topic(id);
                matcher.matches(topic) && self.feeds(topic)
            });
            if is_selected {
                selected.offsets.push(offset);
                if selected.offsets.len() == limit {
                    selected.reached = offset + 1;
                    break;
                }
            }
        }
        selected
    }
}

impl EventLog for EmbeddedLog {
    type Tail = EmbeddedTail;

    async fn open_tail(&self, mut show: impl FnMut(&Topic, u64) + Send) -> Result<LogEnd<EmbeddedTail>, BrokerError> {
        let (mut newest, next, complete_from) = {
            let state = self.handle.state();
            let newest = state.log.newest(0..usize::MAX).into_iter().flatten().filter(|(topic, _)| self.feeds(topic));
            let newest: Vec<_> = newest.map(|(topic, offset)| (offset, topic.clone())).collect();
            (newest, state.log.next(), state.log.complete_from())
        };
        newest.sort_unstable_by_key(|(offset, _)| *offset);
        for (offset, topic) in newest {
            show(&topic, offset);
        }
        Ok(LogEnd { next, complete_from, tail: EmbeddedTail { log: self.clone(), next } })
    }

    fn id(&self) -> u32 {
        self.id
    }

    fn known_oldest(&self) -> u64 {
        self.handle.state().log.oldest()
    }

    /// The topics of all events are in memory.
    async fn newest_before(&self, selection: &Selection, before: u64, most: usize) -> Option<NewestBefore> {
        let is_meant = |(topic, newest): &(&Topic, u64)| *newest < before && self.feeds(topic);
        let mut offsets = BTreeSet::new();
        if selection.is_of_topics() {
            let state = self.handle.state();
            let newest = selection.patterns().iter().filter_map(|topic| state.log.newest_of(topic.as_str()));
            offsets.extend(newest.filter(is_meant).map(|(_, newest)| newest));
            while offsets.len() > most {
                offsets.pop_last();
            }
        } else {
            let matcher = Matcher::of(selection);
            for first in (0..).step_by(MAX_COMPARED) {
                {
                    let _turn = self.handle.turn().await;
                    let state = self.handle.state();
                    let Some(known) = state.log.newest(first..first + MAX_COMPARED) else { break };
                    let matching = known.filter(|(topic, _)| matcher.matches(topic)).filter(is_meant);
                    offsets.extend(matching.map(|(_, newest)| newest));
                }
                while offsets.len() > most {
                    offsets.pop_last();
                }
                tokio::task::yield_now().await;
            }
        }
        Some(NewestBefore { offsets: offsets.into_iter().collect(), damaged: self.handle.state().log.is_damaged() })
    }

    async fn reaches(&self, offset: u64) -> Result<bool, BrokerError> {
        let (mut from, end) = {
            let state = self.handle.state();
            let from = offset.max(state.log.oldest());
            (from, state.log.next().min(from.saturating_add(SEARCH)))
        };
        let (everything, mut is_found) = (Selection::all(), false);
        while from < end && !is_found {
            let selected = {
                let _turn = self.handle.turn().await;
                self.select(&Matcher::of(&everything), from..end.min(from + SCAN), 1)
            };
            (from, is_found) = (selected.reached, !selected.offsets.is_empty());
            tokio::task::yield_now().await;
        }
        Ok(is_found)
    }

    async fn search(&self, selection: &Selection, from: u64, to: u64, limit: usize) -> Result<Searched, BrokerError> {
        let oldest = self.handle.state().log.oldest();
        let mut reached = from.max(oldest);
        let stop = to.min(reached + SEARCH);
        let mut found: Vec<Logged> = Vec::new();
        let (mut bytes, mut damaged) = (0, false);
        let matcher = Matcher::of(selection);
        'search: while reached < stop && found.len() < limit && bytes <= MAX_BATCH_BYTES {
            let range = reached..stop.min(reached + SCAN);
            let selected = {
                let _turn = self.handle.turn().await;
                self.select(&matcher, range, PIECE.min(limit - found.len()))
            };
            if selected.damaged && !found.is_empty() {
                break;
            }
            damaged |= selected.damaged;
            for (offset, event) in self.handle.load(&selected.offsets).await? {
                let size = event.as_ref().map(|event| event.payload.len());
                if !found.is_empty() && size.is_none_or(|size| bytes + size > MAX_BATCH_BYTES) {
                    reached = offset;
                    break 'search;
                }
                bytes += size.unwrap_or_default();
                damaged |= event.is_none();
                found.extend(event.map(|event| Logged { offset, event }));
            }
            reached = selected.reached;
            tokio::task::yield_now().await;
        }
        let last = match found.last() {
            Some(last) if last.offset + 1 == reached => Some(last.clone()),
            last if reached > from => self.event(reached - 1).await?.or_else(|| last.cloned()),
            _ => None,
        };
        Ok(Searched { before: None, found, damaged, last, reached, oldest: self.handle.state().log.oldest() })
    }

    /// Nothing is kept open: what was looked at is found again by its offset.
    async fn search_after(
        &self,
        selection: &Selection,
        seen: u64,
        to: u64,
        limit: usize,
    ) -> Result<Searched, BrokerError> {
        let Some(before) = self.event(seen).await? else {
            return Ok(Searched { reached: seen + 1, oldest: self.handle.state().log.oldest(), ..Searched::default() });
        };
        let searched = self.search(selection, seen + 1, to, limit).await?;
        Ok(Searched { before: Some(before), ..searched })
    }
}

impl EmbeddedTail {
    /// Reads what comes next before an offset, up to which the log has come. May come to nothing: not all is for Feeds.
    async fn read_to(&mut self, end: u64) -> Result<Vec<Logged>, BrokerError> {
        let end = end.min(self.next + MAX_TAIL_EVENTS as u64);
        let offsets: Vec<u64> = (self.next..end).collect();
        let loaded = self.log.handle.load(&offsets).await?;
        if loaded.len() < offsets.len() {
            return Err(BrokerError::Unavailable("the log was trimmed faster than it was read".to_owned()));
        }
        let logged = |(offset, event): (u64, Option<Arc<Event>>)| Some(Logged { offset, event: event? });
        let events: Option<Vec<Logged>> = loaded.into_iter().map(logged).collect();
        let Some(mut events) = events else {
            return Err(BrokerError::Unavailable("an event is damaged".to_owned()));
        };
        self.next = end;
        events.retain(|logged| self.log.feeds(&logged.event.topic));
        Ok(events)
    }

    fn end(&self) -> u64 {
        self.log.handle.state().log.next()
    }
}

impl LogTail for EmbeddedTail {
    async fn next(&mut self) -> Result<Vec<Logged>, BrokerError> {
        let handle = Arc::clone(&self.log.handle);
        loop {
            let appended = handle.appended.notified();
            let end = self.end();
            if self.next < end {
                let events = self.read_to(end).await?;
                if !events.is_empty() {
                    return Ok(events);
                }
            } else {
                appended.await;
            }
        }
    }

    /// Nothing is read but when it is asked for, and there is no connection to lose.
    async fn rest(&mut self) {
        std::future::pending::<()>().await;
    }

    async fn resume(&mut self, mut show: impl FnMut(Vec<Logged>) + Send) -> Result<(), BrokerError> {
        let end = self.end();
        while self.next < end {
            show(self.read_to(end).await?);
        }
        Ok(())
    }
}

/// What was selected from the heads of events.
struct Selected {
    /// Where there are matching events.
    offsets: Vec<u64>,
    /// Before the first of them, events are missing whose topics are not known.
    damaged: bool,
    /// Everything before this offset was looked at.
    reached: u64,
}

impl Handle {
    /// Reads the events at these offsets, but for those that retention has dropped; `None` stands for one that is
    /// damaged.
    async fn load(&self, offsets: &[u64]) -> Result<Vec<(u64, Option<Arc<Event>>)>, BrokerError> {
        let mut events: Vec<_> = {
            let state = self.state();
            let kept = offsets.iter().copied().filter(|offset| *offset >= state.log.oldest());
            let recent = |offset| state.log.recent(offset).map(|stored| Arc::new(stored.event.clone()));
            kept.map(|offset| (offset, recent(offset))).collect()
        };
        let elsewhere: Vec<u64> =
            events.iter().filter(|(_, event)| event.is_none()).map(|(offset, _)| *offset).collect();
        if !elsewhere.is_empty() {
            let mut read = self.read(elsewhere).await?.into_iter();
            for (_, event) in events.iter_mut().filter(|(_, event)| event.is_none()) {
                *event = read.next().flatten().map(Arc::new);
            }
            // What was dropped meanwhile is not damaged, and the store can read some of it until it drops whole tables.
            let oldest = self.state().log.oldest();
            events.retain(|(offset, _)| *offset >= oldest);
        }
        Ok(events)
    }
}
