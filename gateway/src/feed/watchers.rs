//! The polls that wait for something new.
//!
//! Found by topic, so an event costs what its watchers cost and nothing for all others. Each waits for one answer, and those
//! who wait for the same events share it.

use std::{collections::HashMap, sync::Arc};

use events::{PatternMap, TopicPattern};
use tokio::sync::oneshot;

use super::{FeedBatch, cursor::Cursor};
use crate::broker::log::Logged;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    waiting: PatternMap<Watcher>,
    last_id: u64,
}

#[derive(Debug)]
struct Watcher {
    id: u64,
    limit: usize,
    latest_only: bool,
    pattern: TopicPattern,
    reply: oneshot::Sender<Arc<FeedBatch>>,
}

/// A place among the watchers, to be given back when it is not needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    id: u64,
    pattern: TopicPattern,
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
        self.last_id += 1;
        let id = self.last_id;
        self.waiting.insert(pattern, Watcher { id, limit, latest_only, pattern: pattern.clone(), reply });
        (Ticket { id, pattern: pattern.clone() }, answer)
    }

    /// Gives up waiting.
    pub(super) fn leave(&mut self, ticket: &Ticket) {
        self.waiting.remove(&ticket.pattern, |watcher| watcher.id == ticket.id);
    }

    /// Returns how many wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.waiting.iter().count()
    }

    /// Answers everybody who waits for any of these events, which are the newest; `end` is the place behind them.
    pub(super) fn tell(&mut self, events: &[Logged], end: Cursor) {
        let mut concerned: HashMap<u64, (Watcher, Vec<usize>)> = HashMap::new();
        for (index, logged) in events.iter().enumerate() {
            for (_, hits) in concerned.values_mut().filter(|(watcher, _)| watcher.pattern.matches(&logged.event.topic))
            {
                hits.push(index);
            }
            for watcher in self.waiting.take_matching(&logged.event.topic) {
                concerned.insert(watcher.id, (watcher, vec![index]));
            }
        }
        let mut batches: HashMap<(Vec<usize>, usize, bool), Arc<FeedBatch>> = HashMap::new();
        for (watcher, hits) in concerned.into_values() {
            let key = (hits, watcher.limit, watcher.latest_only);
            let batch = batches.entry(key).or_insert_with_key(|(hits, limit, latest_only)| {
                let found = hits.iter().map(|index| events[*index].clone()).collect();
                Arc::new(FeedBatch::of(found, *limit, *latest_only, end))
            });
            // Whoever has hung up leaves by itself.
            let _ = watcher.reply.send(Arc::clone(batch));
        }
    }
}
