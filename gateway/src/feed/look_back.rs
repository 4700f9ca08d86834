//! Reading what is not in memory: events behind the window, and the newest events of topics.

use std::collections::HashMap;

use events::{Topic, TopicPattern};
use tokio::time::Instant;

use super::{Feed, FeedRequest, batch::FeedBatch, cursor::Cursor, state::NewestLook};
use crate::broker::{
    BrokerError,
    log::{EventLog, Logged},
};

/// The newest events of topics that were forgotten.
struct Forgotten {
    /// In order.
    events: Vec<Logged>,
    /// They are those of a part of the log, after which the client goes on.
    end: Option<Cursor>,
    /// Events that may have been among them are damaged.
    damaged: bool,
}

/// What a look at the log came to.
pub(super) enum Back {
    Found(FeedBatch),
    /// There is nothing before this place.
    Reached(Cursor),
    /// There is nothing before this place, and no time to look further.
    Late(Cursor),
    /// There is nothing before this place but damaged events.
    Damaged(Cursor),
    /// The place is none of this log.
    Elsewhere,
    /// The place is of this log, and this gateway has not read so far yet.
    Lagging,
    /// Events behind the place are gone.
    Gone,
    /// What is known of the log has changed: the same look can come to something else.
    Again,
}

impl Back {
    /// Tells as well that events which may have matched are damaged, if they are.
    fn telling(self, damaged: bool) -> Self {
        match self {
            Self::Found(batch) if damaged => Self::Found(FeedBatch { reset: true, ..batch }),
            Self::Reached(place) | Self::Late(place) if damaged => Self::Damaged(place),
            other => other,
        }
    }
}

impl<L: EventLog> Feed<L> {
    /// Reads the newest event of each topic, in the order of the log. If there are too many, the client goes on behind the
    /// last of them, and gets all that follows.
    pub(super) async fn newest(&self, request: &FeedRequest, look: NewestLook) -> Result<Back, BrokerError> {
        let FeedRequest { pattern, limit, .. } = request;
        let (mut found, mut damaged) = (Vec::new(), false);
        let mut offsets = look.offsets;
        if look.forgotten_before == 0 {
            // The index knows them all.
        } else if let Some(known) = self.log.newest_before(pattern, look.forgotten_before, limit + 1).await {
            offsets.splice(0..0, known.offsets);
            damaged = known.damaged;
        } else {
            let forgotten = self.forgotten(request, look.forgotten_before).await?;
            (found, damaged) = (forgotten.events, forgotten.damaged);
            if let Some(end) = forgotten.end {
                let batch = FeedBatch::of(found, request.limit, false, end);
                return Ok(if batch.events.is_empty() { Back::Late(end) } else { Back::Found(batch) }.telling(damaged));
            }
        }
        offsets.truncate(limit + 1);
        for offset in offsets {
            let here = self.state().as_ref().and_then(|state| state.window.get(offset).cloned());
            if let Some(logged) = here {
                found.push(logged);
                continue;
            }
            let searched = self.log.search(&everything(), offset, offset + 1, 1).await?;
            if searched.oldest > offset {
                // Retention took it, and with it whatever is older. There may be others where these were.
                self.forget(searched.oldest);
                return Ok(Back::Again);
            }
            damaged |= searched.damaged;
            found.extend(searched.found);
        }
        let batch = FeedBatch::of(found, request.limit, false, look.end);
        Ok(if batch.events.is_empty() { Back::Reached(look.end) } else { Back::Found(batch) }.telling(damaged))
    }

    /// Looks up in the log, before an offset, the newest events of topics that the index has forgotten.
    async fn forgotten(&self, request: &FeedRequest, before: u64) -> Result<Forgotten, BrokerError> {
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
            let searched = self.log.search(&request.pattern, from, before, usize::MAX).await?;
            damaged_after = damaged_after.or(searched.damaged.then_some(from));
            from = searched.reached;
            place = searched.last.as_ref().map(Cursor::behind).or(place);
            for logged in searched.found {
                let topic = &logged.event.topic;
                if self.state().as_ref().is_some_and(|state| state.newest.knows_since(topic, before)) {
                    continue;
                }
                if newest.len() == request.limit && !newest.contains_key(topic) {
                    let events = in_order(newest);
                    let end = Some(events.last().map(Cursor::behind).unwrap_or_default());
                    return Ok(Forgotten { events, end, damaged: damaged(damaged_after, end) });
                }
                newest.insert(topic.clone(), logged);
            }
            if place.is_some() && from < before && Instant::now() >= request.deadline {
                return Ok(Forgotten { events: in_order(newest), end: place, damaged: damaged(damaged_after, place) });
            }
        }
        Ok(Forgotten { events: in_order(newest), end: None, damaged: damaged(damaged_after, None) })
    }

    /// Looks through what is older than the window, from a place up to the window, or until the deadline.
    pub(super) async fn look_back(
        &self,
        request: &FeedRequest,
        cursor: Option<Cursor>,
        to: Cursor,
    ) -> Result<Back, BrokerError> {
        let FeedRequest { pattern, limit, .. } = request;
        let mut place = cursor;
        let compared = cursor.filter(|cursor| !cursor.is_behind_none());
        let compared = compared.and_then(|cursor| Some((cursor, cursor.next.checked_sub(1)?)));
        let mut searched = if let Some((cursor, seen)) = compared {
            // Where nothing can be found, the place is still to be checked.
            let nothing_new =
                self.state().as_ref().is_some_and(|state| state.newest.is_quiet_since(pattern, cursor.next));
            let limit = if nothing_new { 0 } else { *limit };
            let searched = self.log.search_behind(pattern, seen, to.next, limit).await?;
            let is_compared = match &searched.before {
                Some(before) if cursor.is_behind(before) => true,
                // The last that the client has seen was the last that went: it has missed nothing.
                None if searched.oldest == cursor.next => false,
                None if searched.oldest > seen => return Ok(Back::Gone),
                _ => return Ok(Back::Elsewhere),
            };
            if nothing_new {
                return Ok(Back::Reached(to));
            }
            if is_compared { searched } else { self.log.search(pattern, cursor.next, to.next, limit).await? }
        } else {
            // A place that is to be compared with nothing is right behind no event, or it is of another log.
            if let Some(before) = cursor.and_then(|cursor| cursor.next.checked_sub(1))
                && !self.log.search(&everything(), before, before + 1, 1).await?.found.is_empty()
            {
                return Ok(Back::Elsewhere);
            }
            self.log.search(pattern, cursor.map_or(0, |cursor| cursor.next), to.next, *limit).await?
        };
        let mut from = cursor.map_or(0, |cursor| cursor.next);
        let mut damaged = false;
        loop {
            // Of an empty place before everything nothing can be gone but what was there.
            if cursor.is_some() && searched.oldest > from {
                return Ok(Back::Gone);
            }
            damaged |= searched.damaged;
            place = searched.last.as_ref().map(Cursor::behind).or(place);
            from = searched.reached;
            if let Some(last) = searched.found.last() {
                let mut end = place.unwrap_or(Cursor::behind(last));
                let mut found = searched.found;
                if from >= to.next {
                    end = self.join(request, &mut found, to).unwrap_or(end);
                }
                let batch = FeedBatch::of(found, *limit, request.latest_only, end);
                return Ok(Back::Found(batch).telling(damaged));
            }
            if from >= to.next {
                return Ok(Back::Reached(to).telling(damaged));
            }
            // Without a new place the next poll would look at the same again.
            if let Some(place) = place.filter(|place| Some(*place) != cursor && Instant::now() >= request.deadline) {
                return Ok(Back::Late(place).telling(damaged));
            }
            searched = self.log.search(pattern, from, to.next, *limit).await?;
        }
    }

    /// Adds what has come since a place, if all of it is in the window, and returns the place up to which that is all.
    fn join(&self, request: &FeedRequest, found: &mut Vec<Logged>, place: Cursor) -> Option<Cursor> {
        let state = self.state();
        let state = state.as_ref().filter(|state| state.window.knows(place) == Some(true))?;
        // One more than fits tells that there are more. Folded, fewer may be left of those that were found.
        let found_before = if request.latest_only { 0 } else { found.len() };
        let (more, end) = state.after(request, place.next, (request.limit + 1).saturating_sub(found_before));
        found.extend(more);
        Some(end)
    }

    /// Forgets what is before an offset.
    fn forget(&self, oldest: u64) {
        if let Some(state) = &mut *self.state() {
            state.trim(oldest);
        }
    }
}

/// Selects every topic.
pub(super) fn everything() -> TopicPattern {
    match "#".parse() {
        Ok(pattern) => pattern,
        Err(_) => unreachable!("# is a pattern"),
    }
}
