//! What is known of the retained events without reading them: offsets, topics, sizes, ages.
//!
//! Four bytes an event, in blocks; retention drops whole blocks. The newest events are kept whole besides, because most
//! readers are where the log ends.

mod stored;
mod tail_cache;
mod topics;

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};

use events::Topic;

pub(super) use self::stored::{EventMeta, Stored};
pub(super) use self::topics::TopicId;
use self::{tail_cache::TailCache, topics::Topics};
use super::clock::LogTime;

/// What an event costs on disk besides its payload, in bytes, about: its head and its position in the engine's files.
/// Retention counts by it, in memory as well.
pub(super) const DISK_AROUND_PAYLOAD: u64 = 128;

/// Into how many blocks the log is cut by size and by age, so that retention is this precise.
const BLOCKS: u32 = 64;

/// The most events of a block.
const BLOCK_EVENTS: usize = 4096;

/// How long events are kept; the older of the two limits wins.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// By age.
    pub age: Duration,
    /// By size, all events together, in bytes; what an event costs on disk besides its payload counts as 128.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Log {
    retention: Retention,
    blocks: VecDeque<Block>,
    topics: Topics,
    recent: TailCache,
    /// The offset that the next event gets.
    next: u64,
    bytes: u64,
    /// After the last event that is missing.
    complete_from: u64,
}

#[derive(Debug)]
struct Block {
    first: u64,
    /// The topic of each event; `None` for one that is missing.
    events: Vec<Option<TopicId>>,
    bytes: u64,
    oldest: LogTime,
    newest: LogTime,
}

impl Block {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl Log {
    /// Makes an empty log that continues at `next`, and keeps so many bytes of events in memory.
    pub(super) fn new(retention: Retention, recent_bytes: u64, next: u64) -> Self {
        let (topics, recent) = (Topics::default(), TailCache::new(recent_bytes));
        Self { retention, blocks: VecDeque::new(), topics, recent, next, bytes: 0, complete_from: 0 }
    }

    /// Returns the offset that the next event gets.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Returns the offset of the oldest event that is kept; the next one if there is none.
    pub(super) fn oldest(&self) -> u64 {
        self.blocks.front().map_or(self.next, |block| block.first)
    }

    /// Returns how many bytes the events cost.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds an event that was stored at the next offset.
    pub(super) fn append(&mut self, stored: Arc<Stored>, now: LogTime) {
        self.push(Some(&stored.head(now)), now);
        self.recent.push(stored);
    }

    /// Adds what was found at the next offset when the store was opened; `None`: nothing, though there should be.
    pub(super) fn restore(&mut self, head: Option<&EventMeta>) {
        let newest = self.blocks.back().map_or(LogTime::default(), |block| block.newest);
        self.push(head, head.map_or(newest, |head| head.stored));
    }

    /// Takes what was restored for no younger than what was stored after it, if its time is in the future: a store that
    /// was written by the wall clock can hold such times, and what stands after them would never expire. The same of
    /// what is missing before everything else, whose time is not known: it would expire before a reader is told.
    pub(super) fn date(&mut self, now: LogTime) {
        let mut next = now;
        for block in self.blocks.iter_mut().rev() {
            if block.newest > now || block.newest == LogTime::default() {
                block.newest = next;
            }
            next = block.newest;
        }
    }

    fn push(&mut self, head: Option<&EventMeta>, stored: LogTime) {
        let bytes = head.map_or(0, |head| head.bytes + DISK_AROUND_PAYLOAD);
        let topic = head.map(|head| self.topics.intern(&head.topic, self.next));
        let cut_bytes = self.retention.bytes / u64::from(BLOCKS);
        let cut_age = self.retention.age / BLOCKS;
        let fits = self.blocks.back().is_some_and(|block| {
            block.events.len() < BLOCK_EVENTS
                && block.bytes + bytes <= cut_bytes
                && stored >= block.oldest
                && stored.since(block.oldest) <= cut_age
        });
        if !fits {
            let (first, oldest) = (self.next, stored);
            self.blocks.push_back(Block { first, events: Vec::new(), bytes: 0, oldest, newest: stored });
        }
        if let Some(block) = self.blocks.back_mut() {
            block.events.push(topic);
            block.bytes += bytes;
            block.newest = block.newest.max(stored);
        }
        self.bytes += bytes;
        self.next += 1;
        if topic.is_none() {
            self.complete_from = self.next;
        }
    }

    /// Returns the offset before which events are kept too long, in whole blocks: of many the first, with at most so
    /// many events or one block.
    pub(super) fn expired(&self, now: LogTime, max_events: u64) -> Option<u64> {
        let (mut bytes, oldest) = (self.bytes, self.oldest());
        let is_expired = |block: &&Block| {
            let too_many = bytes > self.retention.bytes;
            bytes -= block.bytes;
            too_many || now.since(block.newest) > self.retention.age
        };
        let fits = |block: &&Block| block.first == oldest || block.end() - oldest <= max_events;
        Some(self.blocks.iter().take_while(is_expired).take_while(fits).last()?.end())
    }

    /// Drops the oldest events, up to an offset that [`Self::expired`] gave.
    pub(super) fn trim(&mut self, end: u64) {
        while let Some(block) = self.blocks.pop_front_if(|block| block.end() <= end) {
            self.bytes -= block.bytes;
            block.events.into_iter().flatten().for_each(|topic| self.topics.release(topic));
        }
        self.recent.trim(end);
    }

    /// Returns the topics of the events in a range, by offset; `None` for one that is missing.
    pub(super) fn topics(&self, range: Range<u64>) -> impl DoubleEndedIterator<Item = (u64, Option<TopicId>)> {
        let first = self.blocks.partition_point(|block| block.end() <= range.start);
        let end = self.blocks.partition_point(|block| block.first < range.end).max(first);
        self.blocks.range(first..end).flat_map(move |block| {
            let at = |offset: u64| usize::try_from(offset.clamp(block.first, block.end()) - block.first).unwrap_or(0);
            let start = at(range.start);
            let topics = block.events[start..at(range.end).max(start)].iter().copied().enumerate();
            topics.map(move |(index, topic)| (block.first + (start + index) as u64, topic))
        })
    }

    /// Returns a topic by its id, which must be that of a retained event.
    pub(super) fn topic(&self, id: TopicId) -> &Topic {
        self.topics.get(id)
    }

    /// Returns a topic and where its newest event is, if there is one.
    pub(super) fn newest_of(&self, topic: &str) -> Option<(&Topic, u64)> {
        self.topics.newest_of(topic)
    }

    /// Returns the topics with these numbers and where the newest event of each is; nothing beyond the last number.
    pub(super) fn newest(&self, numbers: Range<usize>) -> Option<impl Iterator<Item = (&Topic, u64)>> {
        self.topics.newest(numbers)
    }

    /// Returns the offset after the last event that is missing; 0 if none is.
    pub(super) const fn complete_from(&self) -> u64 {
        self.complete_from
    }

    /// Tells whether an event that would be kept is missing.
    pub(super) fn is_damaged(&self) -> bool {
        self.complete_from > self.oldest()
    }

    /// Returns an event if it is in memory.
    pub(super) fn recent(&self, offset: u64) -> Option<&Arc<Stored>> {
        self.recent.get(offset)
    }
}

#[cfg(test)]
mod tests {
    use events::Event;

    use super::*;

    const RETENTION: Retention = Retention { age: Duration::from_secs(64), bytes: 64 * (10 + DISK_AROUND_PAYLOAD) };

    fn seconds(at: u64) -> LogTime {
        LogTime::from_millis(at * 1000)
    }

    fn append(log: &mut Log, topic: &str, at: u64) {
        let event = Event::new(topic.parse().unwrap(), None, vec![0; 10]);
        log.append(Arc::new(Stored::new(log.next(), event)), seconds(at));
    }

    /// One look finds all that is kept too long.
    fn trim(log: &mut Log, at: u64) {
        let now = seconds(at);
        if let Some(end) = log.expired(now, u64::MAX) {
            log.trim(end);
        }
        assert_eq!(log.expired(now, u64::MAX), None);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes() {
        // Topics of three characters.
        let memory = Event::new("t97".parse().unwrap(), None, vec![0; 10]).memory() as u64;
        let mut log = Log::new(RETENTION, 10 * memory, 7);
        for n in 0..100 {
            append(&mut log, &format!("t{n}"), 0);
        }
        assert_eq!((log.oldest(), log.next()), (7, 107));
        trim(&mut log, 0);
        assert_eq!((log.oldest(), log.bytes()), (107 - 64, RETENTION.bytes));
        let topics: Vec<_> =
            log.topics(0..46).map(|(at, id)| (at, log.topic(id.unwrap()).as_str().to_owned())).collect();
        assert_eq!(topics, [(43, "t36".to_owned()), (44, "t37".to_owned()), (45, "t38".to_owned())]);
        assert!(log.recent(96).is_none() && log.recent(97).is_some_and(|stored| stored.offset == 97));
    }

    #[test]
    fn the_oldest_go_when_they_are_too_old() {
        let mut log = Log::new(RETENTION, 0, 0);
        for at in 0..50 {
            append(&mut log, "a", at);
        }
        trim(&mut log, 64 + 10);
        // A block spans a second, and goes when its newest event is too old.
        assert!((8..=10).contains(&log.oldest()), "{}", log.oldest());
        trim(&mut log, 1000);
        assert_eq!((log.oldest(), log.next(), log.bytes()), (50, 50, 0));
    }

    #[test]
    fn very_many_go_in_parts() {
        let mut log = Log::new(RETENTION, 0, 0);
        for at in 0..50 {
            append(&mut log, "a", at);
        }
        let now = seconds(1000);
        assert_eq!(log.expired(now, 7), Some(7));
        assert_eq!(log.expired(now, 0), Some(1), "one block in any case");
        while let Some(end) = log.expired(now, 7) {
            log.trim(end);
        }
        assert_eq!(log.oldest(), 50);
    }

    #[test]
    fn what_is_missing_is_as_old_as_what_comes_after_it() {
        let mut log = Log::new(RETENTION, 0, 0);
        log.restore(None);
        log.date(seconds(1_000_000));
        trim(&mut log, 1_000_064);
        assert!(log.is_damaged(), "a reader can still be told");
        trim(&mut log, 1_000_065);
        assert!(!log.is_damaged());
    }

    #[test]
    fn a_time_in_the_future_holds_up_nothing() {
        let mut log = Log::new(RETENTION, 0, 0);
        for stored in [100, 1_000_000, 110, 120, 1_000_000].map(seconds) {
            log.restore(Some(&EventMeta { topic: "a".parse().unwrap(), bytes: 10, stored, fingerprint: None }));
        }
        log.date(seconds(130));
        trim(&mut log, 110 + 65);
        assert_eq!(log.oldest(), 3, "what was stored before another is no younger");
        trim(&mut log, 120 + 65);
        assert_eq!(log.oldest(), 4);
        trim(&mut log, 130 + 64);
        assert_eq!(log.oldest(), 4, "the last one may be as young as the start");
        trim(&mut log, 130 + 65);
        assert_eq!(log.oldest(), 5);
    }

    #[test]
    fn a_missing_event_keeps_its_place() {
        let mut log = Log::new(RETENTION, 0, 0);
        append(&mut log, "a", 0);
        log.restore(None);
        append(&mut log, "b", 0);
        let missing: Vec<_> = log.topics(0..3).filter(|(_, topic)| topic.is_none()).collect();
        assert_eq!((missing, log.next()), (vec![(1, None)], 3));
    }
}
