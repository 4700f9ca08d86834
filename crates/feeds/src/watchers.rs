//! The polls that wait for something new.
//!
//! Those who wait for the same selection are a group. Groups are found by topic, so an event costs what its watchers cost
//! and nothing for all others; and a poll that gives up is found in its group at once, however many others are in it.
//! Each poll waits for one answer, and those who wait for the same events share it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use broker::log::Logged;
use events::{PatternMap, Selection, Topic};
use tokio::sync::oneshot;

use super::{
    batch::FeedBatch,
    cursor::{Cursor, Seen},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    groups: HashMap<Selection, Group>,
    /// The selection of each group, once under each of its patterns.
    patterns: PatternMap<Selection>,
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

/// A place among the watchers of a selection, to be given back by a poll that gives up.
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
    /// Waits for the next events of a selection.
    pub(super) fn watch(
        &mut self,
        selection: &Selection,
        limit: usize,
        latest_only: bool,
    ) -> (Ticket, oneshot::Receiver<Arc<FeedBatch>>) {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket::new();
        let watcher = Watcher { limit, latest_only, reply };
        if let Some(group) = self.groups.get_mut(selection) {
            group.insert(ticket, watcher);
        } else {
            self.groups.insert(selection.clone(), Group::from([(ticket, watcher)]));
            for pattern in selection.patterns() {
                self.patterns.insert(pattern, selection.clone());
            }
        }
        (ticket, answer)
    }

    /// Gives up waiting. A poll that was answered has left already.
    pub(super) fn leave(&mut self, selection: &Selection, ticket: Ticket) {
        let Some(group) = self.groups.get_mut(selection) else { return };
        group.remove(&ticket);
        if group.is_empty() {
            self.groups.remove(selection);
            self.forget(selection);
        }
    }

    /// Takes a selection from under its patterns.
    fn forget(&mut self, selection: &Selection) {
        for pattern in selection.patterns() {
            self.patterns.remove(pattern, |other| other == selection);
        }
    }

    /// Takes the selections out that select a topic.
    fn take_matching(&mut self, topic: &Topic) -> Vec<Selection> {
        let mut selections = self.patterns.take_matching(topic);
        let mut seen = HashSet::new();
        // One of several patterns may be found by more than one of them, and is left under the others.
        selections.retain(|selection| selection.patterns().len() == 1 || seen.insert(selection.clone()));
        for selection in &seen {
            self.forget(selection);
        }
        selections
    }

    /// Returns how many wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.groups.values().map(Group::len).sum()
    }

    /// Answers every poll that waits for any of these events, which are the newest; no event has the offset `next` yet.
    ///
    /// Selections of which the same events are news share a batch, place and all: of what came besides it tells nothing.
    pub(super) fn notify(&mut self, events: &[Logged], next: u64) {
        let end = Cursor { next, seen: Seen::default() };
        // Each selection and which of the events match it.
        let mut concerned: Vec<(Selection, Vec<usize>)> = Vec::new();
        for (index, logged) in events.iter().enumerate() {
            for (_, hits) in concerned.iter_mut().filter(|(selection, _)| selection.matches(&logged.event.topic)) {
                hits.push(index);
            }
            let selections = self.take_matching(&logged.event.topic);
            concerned.extend(selections.into_iter().map(|selection| (selection, vec![index])));
        }
        let mut batches = Batches::new();
        for (selection, hits) in concerned {
            let hits: Arc<[usize]> = hits.into();
            // Most want what the one before them wants.
            let mut last: Option<((usize, bool), Arc<FeedBatch>)> = None;
            for Watcher { limit, latest_only, reply } in
                self.groups.remove(&selection).into_iter().flat_map(Group::into_values)
            {
                let wanted = (limit, latest_only);
                let batch = match last {
                    Some((same, batch)) if same == wanted => batch,
                    _ => {
                        let batch = batches.entry((Arc::clone(&hits), limit, latest_only)).or_insert_with(|| {
                            let found = hits.iter().map(|index| events[*index].clone()).collect();
                            Arc::new(FeedBatch::of(found, limit, latest_only, end))
                        });
                        Arc::clone(batch)
                    }
                };
                // A poll whose client has hung up leaves by itself.
                let _ = reply.send(Arc::clone(&batch));
                last = Some((wanted, batch));
            }
        }
    }
}
