//! Reading what is not in memory: events older than the recent ones, and the newest events of topics.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use broker::{
    BrokerError,
    log::{EventLog, Logged, Searched},
};
use events::{Selection, Topic};
use tokio::{task::yield_now, time::Instant};

use super::{
    batch::FeedBatch,
    cursor::{Cursor, Mark, Seen},
    request::FeedRequest,
    state::{NewestLookup, RecentFrom, SharedState},
};

/// The newest events of topics that were forgotten.
struct EvictedTopics {
    /// In order.
    events: Vec<Logged>,
    /// They are those of a part of the log, up to this offset, where the client goes on.
    end: Option<u64>,
    /// Events that may have been among them are damaged.
    damaged: bool,
}

/// What a look at the log came to.
pub(super) enum CaughtUp {
    Found(FeedBatch),
    /// There is nothing before this offset.
    Reached(u64),
    /// There is nothing before this offset, and no time to look further.
    Late(u64),
    /// There is nothing before this offset but damaged events.
    Damaged(u64),
    /// The place is none of this log.
    Unknown,
    /// The place is of this log, and this gateway has not read so far yet.
    Lagging,
    /// Events after the place are gone.
    Gone,
    /// What is known of the log has changed: the same look can come to something else.
    Again,
    /// What was stored before is being read: it is not known yet.
    NotYet,
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

/// What comparing a place with the log came to.
enum Compared {
    /// It is of this log, or nothing says that it is not.
    Same,
    Other,
    Gone,
}

impl<L: EventLog> CatchUp<'_, L> {
    /// Reads the newest event of each topic, in the order of the log. If there are too many, the client goes on after
    /// the last of them, and gets all that follows.
    pub(super) async fn newest(&self, lookup: NewestLookup) -> Result<CaughtUp, BrokerError> {
        let FeedRequest { selection, limit, .. } = self.request;
        let (mut found, mut damaged) = (Vec::new(), false);
        let NewestLookup { offsets, mut evicted_before, end } = lookup;
        let mut offsets = match offsets {
            Some(offsets) => offsets,
            None => match self.in_index(evicted_before, end).await {
                Some((offsets, complete_from)) => {
                    evicted_before = complete_from.min(end);
                    offsets
                }
                None => return Ok(CaughtUp::Again),
            },
        };
        if evicted_before == 0 {
            // The index knows them all.
        } else if let Some(known) = self.log.newest_before(selection, evicted_before, limit + 1).await {
            offsets.extend(known.offsets);
            damaged = known.damaged;
        } else if self.state.lock().as_ref().is_none_or(|state| state.fills_index) {
            return Ok(CaughtUp::NotYet);
        } else {
            let evicted = self.evicted_topics(evicted_before).await?;
            (found, damaged) = (evicted.events, evicted.damaged);
            if let Some(end) = evicted.end {
                let batch = self.batch(found, false, end);
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
            let searched = self.log.search(&Selection::all(), offset, offset + 1, 1).await?;
            if searched.oldest > offset {
                // Retention took it, and with it whatever is older. There may be others where these were.
                self.forget(searched.oldest);
                return Ok(CaughtUp::Again);
            }
            damaged |= searched.damaged;
            found.extend(searched.found);
        }
        found.sort_unstable_by_key(|logged| logged.offset);
        let batch = self.batch(found, false, end);
        Ok(if batch.events.is_empty() { CaughtUp::Reached(end) } else { CaughtUp::Found(batch) }.telling(damaged))
    }

    /// Looks through the index in parts: returns where the newest events of matching topics are between an offset and a
    /// place, of too many the oldest, and before which offset others may have been forgotten by now. `None`: the log
    /// was lost meanwhile.
    ///
    /// An offset that was found stays, also if its topic is forgotten or gets a newer event meanwhile: those that were
    /// left out, for being too many, come after it.
    async fn in_index(&self, from: u64, end: u64) -> Option<(Vec<u64>, u64)> {
        let FeedRequest { selection, limit, .. } = self.request;
        let (mut newest, mut after) = (BTreeSet::new(), None);
        loop {
            let complete_from = {
                let state = self.state.lock();
                let index = &state.as_ref()?.index;
                let (offsets, last) = index.part(selection, after.as_ref());
                newest.extend(offsets.into_iter().filter(|offset| (from..end).contains(offset)));
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
            |after: Option<u64>, end: Option<u64>| after.is_some_and(|after| end.is_none_or(|end| end > after));
        let mut from = 0;
        while from < before {
            let searched = self.log.search(&self.request.selection, from, before, usize::MAX).await?;
            damaged_after = damaged_after.or(searched.damaged.then_some(from));
            from = searched.reached;
            for logged in searched.found {
                let topic = &logged.event.topic;
                if self.state.lock().as_ref().is_some_and(|state| state.index.knows_since(topic, before)) {
                    continue;
                }
                if newest.len() == self.request.limit && !newest.contains_key(topic) {
                    let events = in_order(newest);
                    let end = Some(events.last().map_or(0, |last| last.offset + 1));
                    return Ok(EvictedTopics { events, end, damaged: damaged(damaged_after, end) });
                }
                newest.insert(topic.clone(), logged);
            }
            if from < before && Instant::now() >= self.request.deadline {
                let (events, end) = (in_order(newest), Some(from));
                return Ok(EvictedTopics { events, end, damaged: damaged(damaged_after, end) });
            }
        }
        Ok(EvictedTopics { events: in_order(newest), end: None, damaged: damaged(damaged_after, None) })
    }

    /// Looks through what is older than the recent events, from a place up to them, or until the deadline.
    pub(super) async fn up_to(&self, cursor: Option<Cursor>, to: RecentFrom) -> Result<CaughtUp, BrokerError> {
        let FeedRequest { selection, limit, latest_only, .. } = self.request;
        let mut from = cursor.map_or(0, |cursor| cursor.next);
        let mut searched = None;
        if let Some((cursor, mark)) = cursor.and_then(|cursor| Some((cursor, cursor.mark()?))) {
            // Where nothing can be found, the place is still to be checked.
            let nothing_new =
                self.state.lock().as_ref().is_some_and(|state| state.index.has_nothing_since(selection, from));
            // A search from right after the event has it compared on its way.
            let goes_on = mark.offset + 1 == from && from < to.offset && !nothing_new;
            let (end, limit) = if goes_on { (to.offset, *limit) } else { (mark.offset + 1, 0) };
            let compared = self.log.search_after(selection, mark.offset, end, limit).await?;
            match self.compare(cursor, mark, &compared) {
                Compared::Same if nothing_new || from >= to.offset => {
                    return Ok(CaughtUp::Reached(to.offset.max(from)));
                }
                Compared::Same => searched = Some(compared).filter(|found| goes_on && found.before.is_some()),
                Compared::Other => return Ok(CaughtUp::Unknown),
                Compared::Gone => return Ok(CaughtUp::Gone),
            }
        }
        let mut damaged = false;
        loop {
            let Searched { found, damaged: is_damaged, reached, oldest, .. } = match searched.take() {
                Some(searched) => searched,
                None => self.log.search(selection, from, to.offset, *limit).await?,
            };
            // Of an empty place before everything nothing can be gone but what was there.
            if cursor.is_some() && oldest > from {
                return Ok(CaughtUp::Gone);
            }
            damaged |= is_damaged;
            from = reached;
            if !found.is_empty() {
                let (mut found, mut end) = (found, from);
                if from >= to.offset {
                    end = self.join(&mut found, to).unwrap_or(end);
                }
                return Ok(CaughtUp::Found(self.batch(found, *latest_only, end)).telling(damaged));
            }
            if from >= to.offset {
                return Ok(CaughtUp::Reached(to.offset).telling(damaged));
            }
            if Instant::now() >= self.request.deadline {
                return Ok(CaughtUp::Late(from).telling(damaged));
            }
        }
    }

    /// Compares a place with the event that it names, as a search found it. An event that is not selected is as
    /// good as none: by which check it would fit is no business of the client's.
    fn compare(&self, cursor: Cursor, mark: Mark, searched: &Searched) -> Compared {
        let own = searched.before.as_ref().filter(|logged| self.request.selection.matches(&logged.event.topic));
        let is_there = searched.before.is_some();
        if let Some(own) = own {
            return if Mark::of(own) == mark { Compared::Same } else { Compared::Other };
        }
        if !is_there && searched.oldest > mark.offset {
            // What was compared is gone, and perhaps what came after it.
            return if searched.oldest > cursor.next { Compared::Gone } else { Compared::Same };
        }
        match cursor.seen {
            // An older gateway took the last event of any topic.
            Seen::LastOfAll(check) if is_there || check == 0 => Compared::Same,
            Seen::LastOfAll(_) | Seen::Event(_) | Seen::Nothing(_) => Compared::Other,
        }
    }

    /// Adds what has come since, if all of it is recent, and returns the offset up to which that is all.
    fn join(&self, found: &mut Vec<Logged>, from: RecentFrom) -> Option<u64> {
        let state = self.state.lock();
        let state = state.as_ref().filter(|state| state.begins_with(from))?;
        let (more, end) = state.after(self.request, from.offset, self.request.room_after(found.len()));
        found.extend(more);
        Some(end)
    }

    /// Makes a batch of all that there is up to an offset. Of none there is no place to tell.
    fn batch(&self, found: Vec<Logged>, latest_only: bool, end: u64) -> FeedBatch {
        FeedBatch::of(found, self.request.limit, latest_only, Cursor { next: end, seen: Seen::default() })
    }

    /// Forgets what is before an offset.
    fn forget(&self, oldest: u64) {
        if let Some(state) = &mut *self.state.lock() {
            state.trim(oldest);
        }
    }
}
