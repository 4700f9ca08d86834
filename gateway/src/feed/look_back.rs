//! Reading what is not in memory: events behind the window, and the newest events of topics.

use std::collections::HashMap;

use events::{Topic, TopicPattern};
use tokio::time::Instant;

use super::{Feed, FeedRequest, batch::FeedBatch, cursor::Cursor, state::NewestLook};
use crate::broker::{
    BrokerError,
    log::{EventLog, Logged},
};

/// The newest events of topics that were forgotten, in order.
enum Forgotten {
    All(Vec<Logged>),
    /// Those of a part of the log, behind which the client goes on.
    Some(FeedBatch),
    /// None was found up to this place before the deadline.
    Late(Cursor),
}

/// What a look at the log came to.
pub(super) enum Back {
    Found(FeedBatch),
    /// There is nothing before this place.
    Reached(Cursor),
    /// There is nothing before this place, and no time to look further.
    Late(Cursor),
    /// The place is none of this log.
    Elsewhere,
    /// The place is of this log, and this gateway has not read so far yet.
    Lagging,
    /// Events behind the place are gone.
    Gone,
    /// What is known of the log has changed: the same look can come to something else.
    Again,
}

impl<L: EventLog> Feed<L> {
    /// Reads the newest event of each topic, in the order of the log. If there are too many, the client goes on behind the
    /// last of them, and gets all that follows.
    pub(super) async fn newest(&self, request: &FeedRequest, look: NewestLook) -> Result<Back, BrokerError> {
        let mut found = Vec::new();
        if look.forgotten_before > 0 {
            match self.forgotten(request, look.forgotten_before).await? {
                Forgotten::All(events) => found = events,
                Forgotten::Some(batch) => return Ok(Back::Found(batch)),
                Forgotten::Late(reached) => return Ok(Back::Late(reached)),
            }
        }
        for offset in look.offsets {
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
            found.extend(searched.found);
        }
        if found.is_empty() {
            return Ok(Back::Reached(look.end));
        }
        Ok(Back::Found(FeedBatch::of(found, request.limit, false, look.end)))
    }

    /// Looks up in the log, before an offset, the newest events of topics that the index has forgotten.
    async fn forgotten(&self, request: &FeedRequest, before: u64) -> Result<Forgotten, BrokerError> {
        let mut newest = HashMap::new();
        let in_order = |newest: HashMap<Topic, Logged>| {
            let mut events: Vec<Logged> = newest.into_values().collect();
            events.sort_unstable_by_key(|logged| logged.offset);
            events
        };
        let (mut from, mut place) = (0, None);
        while from < before {
            let searched = self.log.search(&request.pattern, from, before, usize::MAX).await?;
            from = searched.reached;
            place = searched.last.as_ref().map(Cursor::behind).or(place);
            for logged in searched.found {
                let topic = &logged.event.topic;
                if self.state().as_ref().is_some_and(|state| state.newest.knows(topic)) {
                    continue;
                }
                if newest.len() == request.limit && !newest.contains_key(topic) {
                    let found = in_order(newest);
                    let end = found.last().map(Cursor::behind).unwrap_or_default();
                    return Ok(Forgotten::Some(FeedBatch::of(found, request.limit, false, end)));
                }
                newest.insert(topic.clone(), logged);
            }
            if let Some(place) = place.filter(|_| from < before && Instant::now() >= request.deadline) {
                return Ok(match in_order(newest) {
                    none if none.is_empty() => Forgotten::Late(place),
                    found => Forgotten::Some(FeedBatch::of(found, request.limit, false, place)),
                });
            }
        }
        Ok(Forgotten::All(in_order(newest)))
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
        let mut searched = match compared.and_then(|cursor| Some((cursor, cursor.next.checked_sub(1)?))) {
            Some((cursor, seen)) => {
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
            }
            None => self.log.search(pattern, cursor.map_or(0, |cursor| cursor.next), to.next, *limit).await?,
        };
        let mut from = cursor.map_or(0, |cursor| cursor.next);
        loop {
            // Of an empty place before everything nothing can be gone but what was there.
            if cursor.is_some() && searched.oldest > from {
                return Ok(Back::Gone);
            }
            place = searched.last.as_ref().map(Cursor::behind).or(place);
            from = searched.reached;
            if let Some(last) = searched.found.last() {
                let mut end = place.unwrap_or(Cursor::behind(last));
                let mut found = searched.found;
                if from >= to.next {
                    end = self.join(request, &mut found, to).unwrap_or(end);
                }
                return Ok(Back::Found(FeedBatch::of(found, *limit, request.latest_only, end)));
            }
            if from >= to.next {
                return Ok(Back::Reached(to));
            }
            if let Some(place) = place.filter(|_| Instant::now() >= request.deadline) {
                return Ok(Back::Late(place));
            }
            searched = self.log.search(pattern, from, to.next, *limit).await?;
        }
    }

    /// Adds what has come since a place, if all of it is in the window, and returns the place at the end.
    fn join(&self, request: &FeedRequest, found: &mut Vec<Logged>, place: Cursor) -> Option<Cursor> {
        let state = self.state();
        let window = state.as_ref().map(|state| &state.window).filter(|window| window.knows(place) == Some(true))?;
        let matching = window.from(place.next).filter(|logged| request.pattern.matches(&logged.event.topic));
        // One more than fits tells that there is more.
        let most = if request.latest_only { usize::MAX } else { (request.limit + 1).saturating_sub(found.len()) };
        found.extend(matching.take(most).cloned());
        Some(window.end())
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
