//! Which events were stored lately, so that a publisher that sends one of them again makes no second event of it.
//!
//! An event is known by its id and its topic together. It stays known while it is among the newest [`MAX_EVENTS`] and
//! for at most [`MAX_AGE`]. That takes 6 MB at most, however long ids are. The payload does not count: the same id on
//! the same topic is the same event, and the first one stays.
//!
//! The writer alone looks at it. A start fills it from the heads of the log.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use events::Event;
use sha2::{Digest, Sha256};

use super::clock::LogTime;

/// How many events are known at most.
pub(super) const MAX_EVENTS: usize = 100_000;

/// How long an event is known at most. Clients give up a retry after a minute or two; this is longer.
const MAX_AGE: Duration = Duration::from_mins(5);

/// Stands for the id and the topic of an event: the first 16 bytes of their SHA-256, so that no publisher can find an
/// id that hides the event of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(pub(super) [u8; 16]);

impl Fingerprint {
    pub(super) fn of(event: &Event) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(event.topic.as_str());
        // No topic contains it.
        hasher.update([0]);
        hasher.update(event.id.as_str());
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize()[..16]);
        Self(first)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: HashSet<Fingerprint>,
    /// The same, the oldest first.
    order: VecDeque<(LogTime, Fingerprint)>,
}

impl Repeats {
    /// Takes note of an event that was stored at a time, which is no earlier than that of the event before.
    pub(super) fn note(&mut self, fingerprint: Fingerprint, stored: LogTime) {
        if !self.known.insert(fingerprint) {
            return;
        }
        self.order.push_back((stored, fingerprint));
        if self.order.len() > MAX_EVENTS {
            self.forget_oldest();
        }
    }

    /// Tells whether an event was stored lately.
    pub(super) fn holds(&mut self, fingerprint: &Fingerprint, now: LogTime) -> bool {
        while self.order.front().is_some_and(|(stored, _)| now.since(*stored) > MAX_AGE) {
            self.forget_oldest();
        }
        self.known.contains(fingerprint)
    }

    fn forget_oldest(&mut self) {
        if let Some((_, fingerprint)) = self.order.pop_front() {
            self.known.remove(&fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(id: &str, topic: &str) -> Fingerprint {
        let mut event = Event::new(topic.parse().unwrap(), None, "1");
        event.id = id.parse().unwrap();
        Fingerprint::of(&event)
    }

    fn seconds(at: u64) -> LogTime {
        LogTime::from_millis(at * 1000)
    }

    #[test]
    fn an_event_is_known_by_its_id_and_its_topic() {
        let mut repeats = Repeats::default();
        repeats.note(fingerprint("one", "a.b"), seconds(0));
        for (id, topic, is_known) in
            [("one", "a.b", true), ("two", "a.b", false), ("one", "a", false), ("b", "a", false)]
        {
            assert_eq!(repeats.holds(&fingerprint(id, topic), seconds(0)), is_known, "{id} {topic}");
        }
        let mut other = Event::new("a.b".parse().unwrap(), None, "2");
        other.id = "one".parse().unwrap();
        assert!(repeats.holds(&Fingerprint::of(&other), seconds(0)), "another payload makes no other event");
    }

    #[test]
    fn an_event_is_forgotten_when_it_is_too_old() {
        let (mut repeats, one, two) = (Repeats::default(), fingerprint("one", "a"), fingerprint("two", "a"));
        repeats.note(one, seconds(0));
        repeats.note(two, seconds(10));
        // A repeat does not make it younger.
        repeats.note(one, seconds(299));
        for (at, known) in [(0, [true, true]), (300, [true, true]), (301, [false, true]), (311, [false, false])] {
            assert_eq!([one, two].map(|each| repeats.holds(&each, seconds(at))), known, "after {at} s");
        }
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let mut repeats = Repeats::default();
        let numbered = |n: usize| Fingerprint((n as u128).to_be_bytes());
        (0..=MAX_EVENTS).for_each(|n| repeats.note(numbered(n), seconds(0)));
        assert_eq!([0, 1, MAX_EVENTS].map(|n| repeats.holds(&numbered(n), seconds(0))), [false, true, true]);
        assert_eq!((repeats.known.len(), repeats.order.len()), (MAX_EVENTS, MAX_EVENTS));
    }
}
