//! Topics as small numbers, for as long as an event has them, and the newest event of each.

use std::{collections::HashMap, ops::Range};

use events::Topic;

/// Stands for a topic while an event of the log has it; a number may be given again to another topic later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopicId(u32);

/// Counts how many events have each topic.
#[derive(Debug, Default)]
pub(super) struct Topics {
    ids: HashMap<Topic, TopicId>,
    entries: Vec<Option<Entry>>,
    free: Vec<TopicId>,
}

#[derive(Debug)]
struct Entry {
    topic: Topic,
    events: u64,
    /// The offset of the newest one.
    newest: u64,
}

impl Topics {
    /// Returns the number of a topic for one more event, which is newer than all before.
    pub(super) fn intern(&mut self, topic: &Topic, offset: u64) -> TopicId {
        if let Some(id) = self.ids.get(topic) {
            if let Some(entry) = &mut self.entries[id.0 as usize] {
                entry.events += 1;
                entry.newest = offset;
            }
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            // There are never more topics than events in the log, and those take 4 bytes of memory each.
            TopicId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
        });
        self.entries[id.0 as usize] = Some(Entry { topic: topic.clone(), events: 1, newest: offset });
        self.ids.insert(topic.clone(), id);
        id
    }

    /// Takes back the number for one event.
    pub(super) fn release(&mut self, id: TopicId) {
        let entry = &mut self.entries[id.0 as usize];
        if let Some(entry) = entry {
            entry.events -= 1;
        }
        if let Some(entry) = entry.take_if(|entry| entry.events == 0) {
            self.ids.remove(&entry.topic);
            self.free.push(id);
        }
    }

    /// Returns the topic of a number that is in use.
    pub(super) fn get(&self, id: TopicId) -> &Topic {
        match &self.entries[id.0 as usize] {
            Some(entry) => &entry.topic,
            None => unreachable!("a topic's number is taken back with its last event"),
        }
    }

    /// Returns a topic and where its newest event is, if there is one.
    pub(super) fn newest_of(&self, topic: &str) -> Option<(&Topic, u64)> {
        let id = self.ids.get(topic)?;
        self.entries[id.0 as usize].as_ref().map(|entry| (&entry.topic, entry.newest))
    }

    /// Returns the topics with these numbers and where the newest event of each is; nothing beyond the last number.
    pub(super) fn newest(&self, numbers: Range<usize>) -> Option<impl Iterator<Item = (&Topic, u64)>> {
        let entries = self.entries.get(numbers.start..numbers.end.min(self.entries.len()))?;
        let known = entries.iter().flatten().map(|entry| (&entry.topic, entry.newest));
        (!entries.is_empty()).then_some(known)
    }
}
