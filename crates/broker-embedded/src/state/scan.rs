//! A mailbox's rule applied to the log: what stands in it, and where.

use std::{collections::HashMap, sync::Arc};

use events::EventId;

use super::super::{
    log::{Log, Stored, TopicId},
    mailbox::{Binding, Gone, Mailbox, Marker},
    position::Position,
};

/// How many heads are looked at under one hold of the lock.
const SCAN: u64 = 1 << 13;

/// How often a pattern is compared with a topic under one hold of the lock: a few milliseconds of the most costly ones.
const MAX_COMPARED: usize = 1 << 9;

/// A message that was found in a mailbox.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) position: Position,
    pub(crate) what: What,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum What {
    /// An event that is in cache.
    Event(Arc<Stored>),
    /// An event that has to be read from the store.
    Stored,
    /// A marker.
    Marker(EventId, Gone),
    /// Something that should be there and is not; as bad as a marker.
    Missing,
}

impl Found {
    fn marker(marker: &Marker) -> Self {
        Self { position: marker.position(), what: What::Marker(marker.id.clone(), marker.gone) }
    }
}

/// What a scan of a mailbox came to.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) found: Vec<Found>,
    /// Where to go on.
    pub(crate) reached: Position,
    /// There was nothing beyond.
    pub(crate) complete: bool,
}

/// What a look for the last event of a mailbox came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// There it is.
    At(u64),
    /// There is none.
    Nothing,
    /// There is none from this offset on; what is before is to be looked at.
    NothingFrom(u64),
}

/// A mailbox that can be read.
pub(super) struct Readable<'a>(pub(super) &'a Mailbox, pub(super) &'a Log);

impl Readable<'_> {
    /// Returns what stands from a position on, up to `limit` messages, as far as one hold of the lock should go.
    pub(super) fn scan(&self, from: Position, limit: usize) -> Scan {
        let Self(mailbox, log) = self;
        // One that was read where it stood is not read again where retention has moved it.
        let is_ahead = |marker: &&Marker| from <= marker.settled_at;
        let mut marker = mailbox.marker.as_ref().filter(is_ahead);
        let from = from.max(mailbox.unconfirmed);
        let start = from.offset().max(log.oldest());
        let end = log.next().min(start + SCAN);
        let mut found = Vec::new();
        let mut cache = SelectionCache::default();
        let mut reached = Position::before(end);
        for (offset, topic) in log.topics(start..end) {
            found.extend(marker.take_if(|marker| marker.before <= offset).map(Found::marker));
            if found.len() >= limit || cache.compared >= MAX_COMPARED {
                reached = Position::before(offset);
                break;
            }
            let position = Position::of_event(offset);
            let what = match topic {
                _ if position < from => continue,
                None if mailbox.is_bound_at(offset) => What::Missing,
                Some(id) if cache.selects(self, offset, id) => {
                    log.recent(offset).map_or(What::Stored, |stored| What::Event(Arc::clone(stored)))
                }
                _ => continue,
            };
            found.push(Found { position, what });
        }
        let complete = reached >= Position::before(log.next());
        found.extend(marker.take_if(|_| complete).map(Found::marker));
        let reached = found.last().map_or(reached, |last| reached.max(last.position.next()));
        Scan { found, reached, complete }
    }

    /// Looks for the last unconfirmed event of the mailbox before an offset, as far as one hold of the lock should go.
    pub(super) fn last_before(&self, end: u64) -> Look {
        let Self(mailbox, log) = self;
        let mut cache = SelectionCache::default();
        for (offset, topic) in log.topics(mailbox.unconfirmed.offset()..end).rev() {
            if cache.compared >= MAX_COMPARED {
                return Look::NothingFrom(offset + 1);
            }
            let is_held = match topic {
                _ if Position::of_event(offset) < mailbox.unconfirmed => false,
                None => mailbox.is_bound_at(offset),
                Some(id) => cache.selects(self, offset, id),
            };
            if is_held {
                return Look::At(offset);
            }
        }
        Look::Nothing
    }
}

/// Remembers which bindings select each topic: most events of a busy log belong to other mailboxes, and the rest have
/// few topics.
#[derive(Debug, Default)]
struct SelectionCache<'a> {
    selecting: HashMap<TopicId, Vec<&'a Binding>>,
    compared: usize,
}

impl<'a> SelectionCache<'a> {
    fn selects(&mut self, Readable(mailbox, log): &Readable<'a>, offset: u64, id: TopicId) -> bool {
        let selecting = self.selecting.entry(id).or_insert_with(|| {
            self.compared += mailbox.bindings.len();
            mailbox.selecting(log.topic(id)).collect()
        });
        selecting.iter().any(|binding| binding.held_at(offset))
    }
}
