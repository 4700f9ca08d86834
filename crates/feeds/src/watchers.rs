//! The polls that wait for something new.
//!
//! Those who wait for the same pattern are a group. Groups are found by topic, so an event costs what its watchers cost
//! and nothing for all others; and a poll that gives up is found in its group at once, however many others are in it.
//! Each poll waits for one answer, and those who wait for the same events share it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use broker::log::Logged;
use events::{PatternMap, TopicPattern};
use tokio::sync::oneshot;

use super::{
    batch::FeedBatch,
    cursor::{Cursor, Seen},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    groups: HashMap<TopicPattern, Group>,
    /// The pattern of each group, once.
    patterns: PatternMap<TopicPattern>,
}

/// In the order in which they came.
type Group = BTreeMap<Ticket, Watcher>;

/// The batches of one turn: by which events are in it, how many at most, and whether it is folded.
type Batches = HashMap<(Arc<[usize]>, usize, bool), Arc<FeedBatch>>;

#[derive(Debug)]
struct Watcher {
    limit: usize,
    latest_only: bool,
    reply: oneshot::Sender<Arc<FeedBatch>>,
}

/// A place among the watchers of a pattern, to be given back by a poll that gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

impl Ticket {
    /// Makes one that never was before: a poll that gives one back after the log was lost and found must not take
    /// another's place.
    pub(super) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Watchers {
    /// Waits for the next events of a pattern.
    pub(super) fn watch(
        &mut self,
        pattern: &TopicPattern,
        limit: usize,
        latest_only: bool,
    ) -> (Ticket, oneshot::Receiver<Arc<FeedBatch>>) {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket::new();
        let watcher = Watcher { limit, latest_only, reply };
        if let Some(group) = self.groups.get_mut(pattern) {
            group.insert(ticket, watcher);
        } else {
            self.groups.insert(pattern.clone(), Group::from([(ticket, watcher)]));
            self.patterns.insert(pattern, pattern.clone());
        }
        (ticket, answer)
    }

    /// Gives up waiting. A poll that was answered has left already.
    pub(super) fn leave(&mut self, pattern: &TopicPattern, ticket: Ticket) {
        let Some(group) = self.groups.get_mut(pattern) else { return };
        group.remove(&ticket);
        if group.is_empty() {
            self.groups.remove(pattern);
            self.patterns.remove(pattern, |_| true);
        }
    }

    /// Returns how many wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.groups.values().map(Group::len).sum()
    }

    /// Answers every poll that waits for any of these events, which are the newest; no event has the offset `next` yet.
    ///
    /// Patterns of which the same events are news share a batch, place and all: of what came besides it tells nothing.
    pub(super) fn notify(&mut self, events: &[Logged], next: u64) {
        let end = Cursor { next, seen: Seen::default() };
        // Each pattern and which of the events match it.
        let mut concerned: Vec<(TopicPattern, Vec<usize>)> = Vec::new();
        for (index, logged) in events.iter().enumerate() {
            for (_, hits) in concerned.iter_mut().filter(|(pattern, _)| pattern.matches(&logged.event.topic)) {
                hits.push(index);
            }
            let patterns = self.patterns.take_matching(&logged.event.topic);
            concerned.extend(patterns.into_iter().map(|pattern| (pattern, vec![index])));
        }
        let mut batches = Batches::new();
        for (pattern, hits) in concerned {
            let hits: Arc<[usize]> = hits.into();
            for watcher in self.groups.remove(&pattern).into_iter().flat_map(Group::into_values) {
                let key = (Arc::clone(&hits), watcher.limit, watcher.latest_only);
                let batch = batches.entry(key).or_insert_with_key(|(hits, limit, latest_only)| {
                    let found = hits.iter().map(|index| events[*index].clone()).collect();
                    Arc::new(FeedBatch::of(found, *limit, *latest_only, end))
                });
                // A poll whose client has hung up leaves by itself.
                let _ = watcher.reply.send(Arc::clone(batch));
            }
        }
    }
}
