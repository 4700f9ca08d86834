//! Topics as small numbers, for as long as an event has them.

use std::collections::HashMap;

use events::Topic;

/// Stands for a topic while an event of the log has it; a number may be given again to another topic later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct TopicId(u32);

/// Counts how many events have each topic.
#[derive(Debug, Default)]
pub(super) struct Topics {
    ids: HashMap<Topic, TopicId>,
    entries: Vec<Option<(Topic, u64)>>,
    free: Vec<TopicId>,
}

impl Topics {
    /// Returns the number of a topic for one more event.
    pub(super) fn intern(&mut self, topic: &Topic) -> TopicId {
        if let Some(id) = self.ids.get(topic) {
            if let Some((_, events)) = &mut self.entries[id.0 as usize] {
                *events += 1;
            }
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            // There are never more topics than events in the log, and those take 4 bytes of memory each.
            TopicId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
        });
        self.entries[id.0 as usize] = Some((topic.clone(), 1));
        self.ids.insert(topic.clone(), id);
        id
    }

    /// Takes back the number for one event.
    pub(super) fn release(&mut self, id: TopicId) {
        let entry = &mut self.entries[id.0 as usize];
        if let Some((_, events)) = entry {
            *events -= 1;
        }
        if let Some((topic, _)) = entry.take_if(|(_, events)| *events == 0) {
            self.ids.remove(&topic);
            self.free.push(id);
        }
    }

    /// Returns the topic of a number that is in use.
    pub(super) fn get(&self, id: TopicId) -> &Topic {
        match &self.entries[id.0 as usize] {
            Some((topic, _)) => topic,
            None => unreachable!("a topic's number is taken back with its last event"),
        }
    }
}
