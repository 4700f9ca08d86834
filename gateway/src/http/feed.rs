//! `GET /topics/{pattern}/events`: a long-poll of a Feed.

use bytes::Bytes;
use events::TopicPattern;
use hyper::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, HeaderValue},
};

use super::{
    App, HttpResponse, batch, body, parameters,
    poll::Held,
    problem::{LAST_SEEN, Problem},
};
use crate::{
    broker::{Broker, log::EventLog},
    feed::{Cursor, FeedBatch, FeedOutcome},
    metrics::Answer,
};

/// Holds a poll until there is an answer. Dropping it means that the client hung up.
pub(super) async fn hold<B: Broker + EventLog>(
    app: &App<B>,
    pattern: TopicPattern,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<HttpResponse, Problem> {
    let (request, is_conditional) = parameters::feed(pattern, query, headers)?;
    let held = Held::new(&app.metrics.polls_held);
    let outcome = app.feed.poll(request).await;
    drop(held);
    let (response, counted) = match outcome {
        FeedOutcome::Batch(batch) => {
            app.metrics.events.inc_by(batch.events.len() as u64);
            (Ok(with_events(&batch)), Answer::Batch)
        }
        FeedOutcome::Nothing(end) => (Ok(without_events(end, is_conditional)), Answer::Nothing),
        FeedOutcome::ShuttingDown(end) => {
            let mut farewell = without_events(end, is_conditional);
            farewell.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            (Ok(farewell), Answer::Nothing)
        }
        FeedOutcome::NotReady => (Err(Problem::NotReady), Answer::Refused),
        FeedOutcome::Broker(error) => (Err(error.into()), Answer::Refused),
    };
    app.metrics.answered(counted);
    response
}

fn with_events(batch: &FeedBatch) -> HttpResponse {
    let body = batch.body.get_or_init(|| Bytes::from(batch::encode_feed(batch)));
    let mut response = body::whole(body.clone());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    tell_place(&mut response, batch.last_seen);
    response
}

fn without_events(end: Cursor, is_conditional: bool) -> HttpResponse {
    let mut response = body::whole(Bytes::new());
    *response.status_mut() = if is_conditional { StatusCode::NOT_MODIFIED } else { StatusCode::NO_CONTENT };
    tell_place(&mut response, end);
    response
}

fn tell_place(response: &mut HttpResponse, place: Cursor) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A token is ASCII without control characters and quotes, so both always are header values.
    if let (Ok(token), Ok(tag)) = (place.to_string().parse(), format!("\"{place}\"").parse()) {
        headers.insert(LAST_SEEN, token);
        headers.insert(ETAG, tag);
    }
}
