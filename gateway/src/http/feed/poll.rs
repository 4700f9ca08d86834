//! `GET /topics/{pattern}/events`: a long-poll of a Feed.

use std::time::Duration;

use access::Principal;
use broker::Broker;
use bytes::Bytes;
use events::{Selection, TopicPattern};
use feeds::{Cursor, EncodedBatch, FeedBatch, FeedOutcome, Hold};
use hyper::{
    StatusCode,
    header::{CONNECTION, ETAG, HeaderValue},
};
use tokio::time::Instant;

use super::{
    request::{EmptyStatus, FeedPoll},
    sharing::Sharing,
};
use crate::http::{
    app::App,
    batch,
    body::{self, HttpResponse},
    metrics::{Answer, Follower, HttpMetrics, Reading, Source, Transport},
    problem::{LAST_SEEN, Problem},
    response,
};

/// Refuses patterns that select no topic which is kept for Feeds: a poll of them would be held for nothing, again and
/// again.
pub(super) fn check_followed<B: Broker>(app: &App<B>, selection: &Selection) -> Result<(), Problem> {
    let topics = &app.options.feed_topics;
    let is_followed = |pattern: &&TopicPattern| topics.iter().any(|kept| kept.intersects(pattern));
    match selection.patterns().iter().find(|pattern| !is_followed(pattern)) {
        None => Ok(()),
        Some(pattern) => Err(Problem::NotFollowed(pattern.clone(), topics.clone())),
    }
}

/// Holds a poll until there is an answer. Dropping it means that the client hung up.
pub(crate) async fn poll<B: Broker>(
    app: &App<B>,
    mut poll: Box<FeedPoll>,
    principal: Option<Principal>,
) -> Result<HttpResponse, Problem> {
    check_followed(app, &poll.request.selection)?;
    let held = app.hold_poll(principal.as_ref())?;
    drop(principal);
    let following = app.metrics.following(Follower::Waiting);
    let goes_on = poll.request.start.goes_on();
    let shared = app.options.feed_cache.and_then(|cache| Some(Shared::of(poll.sharing?, cache, &poll)));
    if let Some(hold) = shared.as_ref().and_then(|shared| shared.hold) {
        poll.request.deadline = Instant::now() + hold.time;
    }
    let outcome = app.feed.poll(&poll.request).await;
    drop(following);
    let (response, counted) = match outcome {
        FeedOutcome::Batch(batch) => match with_events(app, &batch, goes_on) {
            Ok(mut response) => {
                if let Some(shared) = shared.filter(|_| !batch.reset) {
                    shared.sharing.allow(false, shared.cache, &mut response);
                }
                (Ok(response), Answer::Batch)
            }
            Err(problem) => (Err(problem), Answer::Refused),
        },
        FeedOutcome::Nothing(end) => (Ok(without_events(Some(end), poll.empty_status, shared)), Answer::Nothing),
        FeedOutcome::ShuttingDown(place) => {
            let mut shutting_down = without_events(place, poll.empty_status, shared);
            shutting_down.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            (Ok(shutting_down), Answer::Nothing)
        }
        FeedOutcome::NotReady => (Err(Problem::NotReady), Answer::Refused),
        FeedOutcome::Broker(error) => (Err(error.into()), Answer::Refused),
    };
    app.metrics.answered(counted);
    response.map(|response| body::keeping(held, response))
}

/// Counts what is handed out. What a client gets that does not go on from a place may be old, and is not late.
pub(super) fn count_events(batch: &FeedBatch, goes_on: bool, transport: Transport, metrics: &HttpMetrics) {
    // After a loss the client goes on at another place than its own, with events that may be old.
    let has_new = goes_on && !batch.reset;
    let mut new = batch.events.iter().map(|logged| &*logged.event).filter(|event| !event.resent);
    let oldest_new = if has_new { new.next() } else { None };
    metrics.handed_out(Reading::of(Source::Feed, transport), batch.events.len(), oldest_new);
    if batch.reset {
        metrics.told_reset(Source::Feed);
    }
}

fn with_events<B: Broker>(app: &App<B>, batch: &FeedBatch, goes_on: bool) -> Result<HttpResponse, Problem> {
    let encoded = if let Some(encoded) = batch.encoded.get() {
        encoded
    } else {
        let room = app.outgoing.try_take(batch::max_feed_len(batch)).ok_or(Problem::NoRoomForAnswer)?;
        let encode = || EncodedBatch { body: room.hold(batch::encode_feed(batch)), tag: entity_tag(batch.last_seen) };
        batch.encoded.get_or_init(encode)
    };
    count_events(batch, goes_on, Transport::Poll, &app.metrics);
    let mut response = response::json(StatusCode::OK, encoded.body.clone());
    set_cursor_headers(&mut response, &encoded.tag);
    Ok(response)
}

/// A poll whose answer caches may keep.
#[derive(Debug, Clone, Copy)]
struct Shared {
    sharing: Sharing,
    cache: Duration,
    hold: Option<Hold>,
}

impl Shared {
    fn of(sharing: Sharing, cache: Duration, poll: &FeedPoll) -> Self {
        Self { sharing, cache, hold: sharing.hold(&poll.request.selection) }
    }
}

fn without_events(place: Option<Cursor>, empty_status: EmptyStatus, shared: Option<Shared>) -> HttpResponse {
    let mut response = response::empty(match empty_status {
        EmptyStatus::NoContent => StatusCode::NO_CONTENT,
        EmptyStatus::NotModified => StatusCode::NOT_MODIFIED,
    });
    match (place, shared) {
        (Some(place), Some(Shared { sharing, cache, hold })) => {
            set_cursor_headers(&mut response, &format!("\"{}\"", sharing.token(place, hold)).into());
            sharing.allow(true, cache, &mut response);
        }
        (Some(place), None) => set_cursor_headers(&mut response, &entity_tag(place)),
        (None, _) => {}
    }
    response
}

/// Returns a place as an entity tag: in quotes.
fn entity_tag(place: Cursor) -> Bytes {
    format!("\"{place}\"").into()
}

/// Adds the place to an answer, as a tag and without its quotes.
fn set_cursor_headers(response: &mut HttpResponse, tag: &Bytes) {
    let headers = response.headers_mut();
    let token = tag.slice(1..tag.len() - 1);
    // A token is ASCII without control characters and quotes, so both always are header values.
    if let (Ok(token), Ok(tag)) = (HeaderValue::from_maybe_shared(token), HeaderValue::from_maybe_shared(tag.clone())) {
        headers.insert(LAST_SEEN, token);
        headers.insert(ETAG, tag);
    }
}
