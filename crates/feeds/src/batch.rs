//! What one answer of a Feed holds.

use std::{collections::HashSet, sync::OnceLock};

use broker::{limits::MAX_BATCH_BYTES, log::Logged};
use bytes::Bytes;

use super::cursor::{Cursor, Mark, Seen};

/// Events in order, and the place after them; shared by all who get the same.
#[derive(Debug)]
pub struct FeedBatch {
    /// The events, oldest first.
    pub events: Vec<Logged>,
    /// Something that the client had not seen is gone, or its place is of another log.
    pub reset: bool,
    /// What the client echoes.
    pub last_seen: Cursor,
    /// The answer as it is sent, once it is encoded.
    pub encoded: OnceLock<EncodedBatch>,
    /// The same as a piece of a stream.
    pub stream: OnceLock<Bytes>,
}

/// A batch as all who get it are sent it.
#[derive(Debug)]
pub struct EncodedBatch {
    /// The body.
    pub body: Bytes,
    /// The place, in quotes.
    pub tag: Bytes,
}

/// Drops all but the newest event of each topic.
fn fold(events: &mut Vec<Logged>) {
    let mut topics = HashSet::new();
    events.reverse();
    events.retain(|logged| topics.insert(logged.event.topic.clone()));
    events.reverse();
}

impl FeedBatch {
    /// Tells whether a batch needs no more events than these; folds them if it is to be folded.
    pub(super) fn is_enough(found: &mut Vec<Logged>, limit: usize, latest_only: bool) -> bool {
        if latest_only {
            fold(found);
        }
        let bytes: usize = found.iter().map(|logged| logged.event.max_encoded_len()).sum();
        found.len() > limit || bytes > MAX_BATCH_BYTES
    }

    /// Takes as many of these events as fit; `end` is the place after all that was looked at, as it is if there are
    /// none.
    pub(super) fn of(mut found: Vec<Logged>, limit: usize, latest_only: bool, end: Cursor) -> Self {
        if latest_only {
            fold(&mut found);
        }
        let (mut bytes, mut count) = (0, 0);
        let fits = |logged: &&Logged| {
            bytes += logged.event.max_encoded_len();
            count += 1;
            count <= limit && (count == 1 || bytes <= MAX_BATCH_BYTES)
        };
        let taken = found.iter().take_while(fits).count();
        let last_seen = match found.get(taken) {
            Some(_) => found.get(taken.wrapping_sub(1)).map_or(end, Cursor::after),
            None => Cursor { seen: found.last().map_or(end.seen, |last| Seen::Event(Mark::of(last))), ..end },
        };
        found.truncate(taken);
        Self { events: found, reset: false, last_seen, encoded: OnceLock::new(), stream: OnceLock::new() }
    }
}
