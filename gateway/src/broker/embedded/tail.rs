//! The log as a Feed reads it.

use std::{ops::Range, sync::Arc};

use events::{Topic, TopicPattern};

use super::{EmbeddedBroker, shared::Handle};
use crate::broker::{
    BrokerError,
    log::{EventLog, LogEnd, LogTail, Logged, Searched},
};

/// How many heads are looked at under one hold of the core's lock.
const SCAN: u64 = 1 << 13;

/// How many heads one search looks at.
const SEARCH: u64 = 1 << 20;

/// How many events the tail hands over at once.
const AT_ONCE: u64 = 256;

/// How many events a search reads at once, before it knows how large they are.
const PIECE: usize = 64;

/// The payload bytes of what one search finds, but for its first event.
const SEARCH_BYTES: usize = 1024 * 1024;

/// Follows the log of an [`EmbeddedBroker`].
#[derive(Debug)]
pub struct EmbeddedTail {
    broker: EmbeddedBroker,
    next: u64,
}

impl EventLog for EmbeddedBroker {
    type Tail = EmbeddedTail;

    async fn end(&self, mut show: impl FnMut(&Topic, u64) + Send) -> Result<LogEnd<EmbeddedTail>, BrokerError> {
        let (next, newest) = {
            let core = self.handle.core();
            (core.log.next(), core.log.newest())
        };
        newest.iter().filter(|(topic, _)| self.feeds(topic)).for_each(|(topic, offset)| show(topic, *offset));
        Ok(LogEnd { next, tail: EmbeddedTail { broker: self.clone(), next } })
    }

    fn known_oldest(&self) -> u64 {
        self.handle.core().log.oldest()
    }

    async fn reaches(&self, offset: u64) -> Result<bool, BrokerError> {
        Ok(self.handle.core().log.next() > offset)
    }

    async fn search(&self, pattern: &TopicPattern, from: u64, to: u64, limit: usize) -> Result<Searched, BrokerError> {
        let oldest = self.handle.core().log.oldest();
        let mut reached = from.max(oldest);
        let stop = to.min(reached + SEARCH);
        let mut found: Vec<Logged> = Vec::new();
        let mut bytes = 0;
        while reached < stop && found.len() < limit && bytes <= SEARCH_BYTES {
            let (offsets, to) = self.select(pattern, reached..stop.min(reached + SCAN), PIECE.min(limit - found.len()));
            reached = to;
            for logged in self.handle.load(&offsets).await? {
                bytes += logged.event.payload.len();
                if bytes > SEARCH_BYTES && !found.is_empty() {
                    reached = logged.offset;
                    break;
                }
                found.push(logged);
            }
            tokio::task::yield_now().await;
        }
        let last = match found.last() {
            Some(last) if last.offset + 1 == reached => Some(last.clone()),
            last if reached > from => self.event(reached - 1).await?.or_else(|| last.cloned()),
            _ => None,
        };
        Ok(Searched { before: None, found, last, reached, oldest: self.handle.core().log.oldest() })
    }

    /// Nothing is kept open: what was looked at is found again by its offset.
    async fn search_behind(
        &self,
        pattern: &TopicPattern,
        seen: u64,
        to: u64,
        limit: usize,
    ) -> Result<Searched, BrokerError> {
        let Some(before) = self.event(seen).await? else {
            return Ok(Searched { reached: seen + 1, oldest: self.handle.core().log.oldest(), ..Searched::default() });
        };
        let searched = self.search(pattern, seen + 1, to, limit).await?;
        Ok(Searched { before: Some(before), ..searched })
    }
}

impl EmbeddedBroker {
    /// Returns the event at an offset, if it is there.
    async fn event(&self, offset: u64) -> Result<Option<Logged>, BrokerError> {
        Ok(self.handle.load(&[offset]).await?.pop())
    }
}

impl LogTail for EmbeddedTail {
    async fn next(&mut self) -> Result<Vec<Logged>, BrokerError> {
        let handle = &self.broker.handle;
        loop {
            let appended = handle.appended.notified();
            let end = handle.core().log.next().min(self.next + AT_ONCE);
            if self.next < end {
                let offsets: Vec<u64> = (self.next..end).collect();
                let mut events = handle.load(&offsets).await?;
                if events.len() < offsets.len() && handle.core().log.oldest() > self.next {
                    return Err(BrokerError::Unavailable("the log was trimmed faster than it was read".to_owned()));
                }
                self.next = end;
                events.retain(|logged| self.broker.feeds(&logged.event.topic));
                if !events.is_empty() {
                    return Ok(events);
                }
            } else {
                appended.await;
            }
        }
    }
}

impl EmbeddedBroker {
    /// Tells whether events of a topic are for Feeds. All are in the log, because mailboxes are read from it, too.
    fn feeds(&self, topic: &Topic) -> bool {
        self.feed_topics.iter().any(|pattern| pattern.matches(topic))
    }

    /// Returns the offsets of matching events, up to `limit`, and up to where it looked.
    fn select(&self, pattern: &TopicPattern, range: Range<u64>, limit: usize) -> (Vec<u64>, u64) {
        let core = self.handle.core();
        let (mut offsets, end) = (Vec::new(), range.end);
        for (offset, topic) in core.log.topics(range) {
            let topic = topic.map(|id| core.log.topic(id));
            if topic.is_some_and(|topic| pattern.matches(topic) && self.feeds(topic)) {
                offsets.push(offset);
                if offsets.len() == limit {
                    return (offsets, offset + 1);
                }
            }
        }
        (offsets, end)
    }
}

impl Handle {
    /// Returns the events at these offsets, but for those that are gone or damaged. What retention dropped is gone, though the
    /// store can still read it until it drops whole tables.
    async fn load(&self, offsets: &[u64]) -> Result<Vec<Logged>, BrokerError> {
        let (mut here, mut elsewhere) = (Vec::with_capacity(offsets.len()), Vec::new());
        {
            let core = self.core();
            let oldest = core.log.oldest();
            for offset in offsets.iter().filter(|offset| **offset >= oldest) {
                match core.log.recent(*offset) {
                    Some(stored) => here.push(Logged { offset: *offset, event: Arc::new(stored.event.clone()) }),
                    None => elsewhere.push(*offset),
                }
            }
        }
        if elsewhere.is_empty() {
            return Ok(here);
        }
        let read = self.read(elsewhere.clone()).await?;
        let logged = elsewhere.into_iter().zip(read).filter_map(|(offset, event)| {
            let event = Arc::new(event?);
            Some(Logged { offset, event })
        });
        here.extend(logged);
        here.sort_unstable_by_key(|logged| logged.offset);
        Ok(here)
    }
}

impl super::log::Log {
    /// Returns the newest event of each topic, in order.
    fn newest(&self) -> Vec<(Topic, u64)> {
        let mut newest = std::collections::HashMap::new();
        for (offset, topic) in self.topics(self.oldest()..self.next()) {
            if let Some(id) = topic {
                newest.insert(id, offset);
            }
        }
        let mut newest: Vec<_> = newest.into_iter().map(|(id, offset)| (self.topic(id).clone(), offset)).collect();
        newest.sort_unstable_by_key(|(_, offset)| *offset);
        newest
    }
}
