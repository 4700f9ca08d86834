//! Reading what is not in memory: events older than the recent ones, and the newest events of topics.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use broker::{
    BrokerError,
    log::{EventLog, Logged},
};
use events::{Topic, TopicPattern};
use tokio::{task::yield_now, time::Instant};

use super::{
    batch::FeedBatch,
    cursor::Cursor,
    request::FeedRequest,
    state::{NewestLookup, SharedState},
};

/// The newest events of topics that were forgotten.
struct EvictedTopics {
    /// In order.
    events: Vec<Logged>,
    /// They are those of a part of the log, after which the client goes on.
    end: Option<Cursor>,
    /// Events that may have been among them are damaged.
    damaged: bool,
}

/// What a look at the log came to.
pub(super) enum CaughtUp {
    Found(FeedBatch),
    /// There is nothing before this place.
    Reached(Cursor),
    /// There is nothing before this place, and no time to look further.
    Late(Cursor),
    /// There is nothing before this place but damaged events.
    Damaged(Cursor),
    /// The place is none of this log.
    Unknown,
    /// The place is of this log, and this gateway has not read so far yet.
    Lagging,
    /// Events after the place are gone.
    Gone,
    /// What is known of the log has changed: the same look can come to something else.
    Again,
}

impl CaughtUp {
    /// Tells as well that events which may have matched are damaged, if they are.
    fn telling(self, damaged: bool) -> Self {
        match self {
            Self::Found(batch) if damaged => Self::Found(FeedBatch { reset: true, ..batch }),
            Self::Reached(place) | Self::Late(place) if damaged => Self::Damaged(place),
            other => other,
        }
    }
}

/// Answers one poll from the log itself.
pub(super) struct CatchUp<'a, L> {
    pub(super) log: &'a Arc<L>,
    pub(super) state: &'a SharedState,
    pub(super) request: &'a FeedRequest,
}

impl<L: EventLog> CatchUp<'_, L> {
    /// Reads the newest event of each topic, in the order of the log. If there are too many, the client goes on after
    /// the last of them, and gets all that follows.
    pub(super) async fn newest(&self, lookup: NewestLookup) -> Result<CaughtUp, BrokerError> {
        let FeedRequest { pattern, limit, .. } = self.request;
        let (mut found, mut damaged) = (Vec::new(), false);
        let NewestLookup { offsets, mut evicted_before, end } = lookup;
        let mut offsets = match offsets {
            Some(offsets) => offsets,
            None => match self.in_index(evicted_before, end).await {
                Some((offsets, complete_from)) => {
                    evicted_before = complete_from.min(end.next);
                    offsets
                }
                None => return Ok(CaughtUp::Again),
            },
        };
        if evicted_before == 0 {
            // The index knows them all.
        } else if let Some(known) = self.log.newest_before(pattern, evicted_before, limit + 1).await {
            offsets.extend(known.offsets);
            damaged = known.damaged;
        } else {
            let evicted = self.evicted_topics(evicted_before).await?;
            (found, damaged) = (evicted.events, evicted.damaged);
            if let Some(end) = evicted.end {
                let batch = FeedBatch::of(found, *limit, false, end);
                return Ok(
                    if batch.events.is_empty() { CaughtUp::Late(end) } else { CaughtUp::Found(batch) }.telling(damaged)
                );
            }
        }
        // The index may have forgotten some of them while it was looked through.
        offsets.retain(|offset| found.iter().all(|logged| logged.offset != *offset));
        offsets.sort_unstable();
        offsets.dedup();
        offsets.truncate(limit + 1);
        for offset in offsets {
            let here = self.state.lock().as_ref().and_then(|state| state.recent.get(offset).cloned());
            if let Some(logged) = here {
                found.push(logged);
                continue;
            }
            let searched = self.log.search(&TopicPattern::all(), offset, offset + 1, 1).await?;
            if searched.oldest > offset {
                // Retention took it, and with it whatever is older. There may be others where these were.
                self.forget(searched.oldest);
                return Ok(CaughtUp::Again);
            }
            damaged |= searched.damaged;
            found.extend(searched.found);
        }
        found.sort_unstable_by_key(|logged| logged.offset);
        let batch = FeedBatch::of(found, *limit, false, end);
        Ok(if batch.events.is_empty() { CaughtUp::Reached(end) } else { CaughtUp::Found(batch) }.telling(damaged))
    }

    /// Looks through the index in parts: returns where the newest events of matching topics are between an offset and a
    /// place, of too many the oldest, and before which offset others may have been forgotten by now. `None`: the log
    /// was lost meanwhile.
    ///
    /// An offset that was found stays, also if its topic is forgotten or gets a newer event meanwhile: those that were
    /// left out, for being too many, come after it.
    async fn in_index(&self, from: u64, end: Cursor) -> Option<(Vec<u64>, u64)> {
        let FeedRequest { pattern, limit, .. } = self.request;
        let (mut newest, mut after) = (BTreeSet::new(), None);
        loop {
            let complete_from = {
                let state = self.state.lock();
                let index = &state.as_ref()?.index;
                let (offsets, last) = index.part(pattern, after.as_ref());
                newest.extend(offsets.into_iter().filter(|offset| (from..end.next).contains(offset)));
                after = last;
                index.complete_from()
            };
            while newest.len() > limit + 1 {
                newest.pop_last();
            }
            if after.is_none() {
                return Some((newest.into_iter().collect(), complete_from));
            }
            yield_now().await;
        }
    }

    /// Looks up in the log, before an offset, the newest events of topics that the index has forgotten.
    async fn evicted_topics(&self, before: u64) -> Result<EvictedTopics, BrokerError> {
        let in_order = |newest: HashMap<Topic, Logged>| {
            let mut events: Vec<Logged> = newest.into_values().collect();
            events.sort_unstable_by_key(|logged| logged.offset);
            events
        };
        let (mut newest, mut damaged_after) = (HashMap::new(), None);
        // What is damaged after the place that the client gets is told when it comes there.
        let damaged =
            |after: Option<u64>, end: Option<Cursor>| after.is_some_and(|after| end.is_none_or(|end| end.next > after));
        let (mut from, mut place) = (0, None);
        while from < before {
            let searched = self.log.search(&self.request.pattern, from, before, usize::MAX).await?;
            damaged_after = damaged_after.or(searched.damaged.then_some(from));
            from = searched.reached;
            place = searched.last.as_ref().map(Cursor::after).or(place);
            for logged in searched.found {
                let topic = &logged.event.topic;
                if self.state.lock().as_ref().is_some_and(|state| state.index.knows_since(topic, before)) {
                    continue;
                }
                if newest.len() == self.request.limit && !newest.contains_key(topic) {
                    let events = in_order(newest);
                    let end = Some(events.last().map(Cursor::after).unwrap_or_default());
                    return Ok(EvictedTopics { events, end, damaged: damaged(damaged_after, end) });
                }
                newest.insert(topic.clone(), logged);
            }
            if place.is_some() && from < before && Instant::now() >= self.request.deadline {
                return Ok(EvictedTopics {
                    events: in_order(newest),
                    end: place,
                    damaged: damaged(damaged_after, place),
                });
            }
        }
        Ok(EvictedTopics { events: in_order(newest), end: None, damaged: damaged(damaged_after, None) })
    }

    /// Looks through what is older than the recent events, from a place up to them, or until the deadline.
    pub(super) async fn up_to(&self, cursor: Option<Cursor>, to: Cursor) -> Result<CaughtUp, BrokerError> {
        let FeedRequest { pattern, limit, .. } = self.request;
        let mut place = cursor;
        let compared = cursor.filter(|cursor| !cursor.has_no_event_before());
        let compared = compared.and_then(|cursor| Some((cursor, cursor.next.checked_sub(1)?)));
        let mut searched = if let Some((cursor, seen)) = compared {
            // Where nothing can be found, the place is still to be checked.
            let nothing_new =
                self.state.lock().as_ref().is_some_and(|state| state.index.has_nothing_since(pattern, cursor.next));
            let limit = if nothing_new { 0 } else { *limit };
            let searched = self.log.search_after(pattern, seen, to.next, limit).await?;
            let is_compared = match &searched.before {
                Some(before) if cursor.is_after(before) => true,
                // The last that the client has seen was the last that went: it has missed nothing.
                None if searched.oldest == cursor.next => false,
                None if searched.oldest > seen => return Ok(CaughtUp::Gone),
                _ => return Ok(CaughtUp::Unknown),
            };
            if nothing_new {
                return Ok(CaughtUp::Reached(to));
            }
            if is_compared { searched } else { self.log.search(pattern, cursor.next, to.next, limit).await? }
        } else {
            // A place that is to be compared with nothing is right after no event, or it is of another log.
            if let Some(before) = cursor.and_then(|cursor| cursor.next.checked_sub(1))
                && !self.log.search(&TopicPattern::all(), before, before + 1, 1).await?.found.is_empty()
            {
                return Ok(CaughtUp::Unknown);
            }
            self.log.search(pattern, cursor.map_or(0, |cursor| cursor.next), to.next, *limit).await?
        };
        let mut from = cursor.map_or(0, |cursor| cursor.next);
        let mut damaged = false;
        loop {
            // Of an empty place before everything nothing can be gone but what was there.
            if cursor.is_some() && searched.oldest > from {
                return Ok(CaughtUp::Gone);
            }
            damaged |= searched.damaged;
            place = searched.last.as_ref().map(Cursor::after).or(place);
            from = searched.reached;
            if let Some(last) = searched.found.last() {
                let mut end = place.unwrap_or(Cursor::after(last));
                let mut found = searched.found;
                if from >= to.next {
                    end = self.join(&mut found, to).unwrap_or(end);
                }
                let batch = FeedBatch::of(found, *limit, self.request.latest_only, end);
                return Ok(CaughtUp::Found(batch).telling(damaged));
            }
            if from >= to.next {
                return Ok(CaughtUp::Reached(to).telling(damaged));
            }
            // Without a new place the next poll would look at the same again.
            if let Some(place) = place.filter(|place| Some(*place) != cursor && Instant::now() >= self.request.deadline)
            {
                return Ok(CaughtUp::Late(place).telling(damaged));
            }
            searched = self.log.search(pattern, from, to.next, *limit).await?;
        }
    }

    /// Adds what has come since a place, if all of it is recent, and returns the place up to which that is all.
    fn join(&self, found: &mut Vec<Logged>, place: Cursor) -> Option<Cursor> {
        let state = self.state.lock();
        let state = state.as_ref().filter(|state| state.recent.knows(place) == Some(true))?;
        let (more, end) = state.after(self.request, place.next, self.request.room_after(found.len()));
        found.extend(more);
        Some(end)
    }

    /// Forgets what is before an offset.
    fn forget(&self, oldest: u64) {
        if let Some(state) = &mut *self.state.lock() {
            state.trim(oldest);
        }
    }
}
