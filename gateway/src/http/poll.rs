//! `GET /clients/{client}/events`: a long-poll of a mailbox.

use bytes::Bytes;
use events::ClientId;
use http_body_util::Full;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue},
};
use prometheus_client::metrics::gauge::Gauge;

use super::{
    App, HttpResponse, batch, parameters,
    problem::{LAST_SEEN, Problem},
    socket::Fate,
};
use crate::{
    broker::Broker,
    mailbox::{Answered, Batch, Outcome, PollRequest},
    metrics::{Answer, Metrics},
};

/// Reads a poll.
pub(super) fn read(query: Option<&str>, headers: &HeaderMap) -> Result<PollRequest, Problem> {
    if wants_event_stream(headers) {
        return Err(Problem::NotAcceptable);
    }
    parameters::poll(query, headers)
}

/// Holds a poll until there is an answer. Dropping it means that the client hung up.
pub(super) async fn hold<B: Broker>(
    app: &App<B>,
    fate: &Fate,
    client: &ClientId,
    request: PollRequest,
) -> Result<HttpResponse, Problem> {
    let held = Held::new(&app.metrics.polls_held);
    let Answered { outcome, receipt } = app.registry.poll(client, request).await;
    drop(held);
    let (response, counted) = match outcome {
        Outcome::Batch(batch) => (Ok(with_events(&batch, &app.metrics)), Answer::Batch),
        Outcome::Nothing => (Ok(without_events()), Answer::Nothing),
        Outcome::ShuttingDown => (Ok(farewell()), Answer::Nothing),
        Outcome::Replaced => (Err(Problem::Replaced), Answer::Replaced),
        Outcome::MailboxGone => (Err(Problem::MailboxGone), Answer::Refused),
        Outcome::NoMailbox => (Err(Problem::NoMailbox), Answer::Refused),
        Outcome::Held => (Err(Problem::Held), Answer::Refused),
        Outcome::TooManyMailboxes => (Err(Problem::TooManyMailboxes), Answer::Refused),
        Outcome::Broker(error) => (Err(error.into()), Answer::Refused),
    };
    app.metrics.answered(counted);
    fate.answering(receipt);
    response
}

fn with_events(batch: &Batch, metrics: &Metrics) -> HttpResponse {
    metrics.events.inc_by(batch.events.len() as u64);
    metrics.events_redelivered.inc_by(batch.events.iter().filter(|each| each.redelivered).count() as u64);
    let mut response = Response::new(Full::new(Bytes::from(batch::encode(batch))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A token is ASCII without control characters, so it always is a header value.
    if let Ok(token) = HeaderValue::from_str(batch.last_seen.as_str()) {
        headers.insert(LAST_SEEN, token);
    }
    response
}

fn without_events() -> HttpResponse {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Nothing came, and the next poll should find another gateway.
fn farewell() -> HttpResponse {
    let mut response = without_events();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Tells whether a client asks for Server-Sent Events.
pub(super) fn wants_event_stream(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.split(',').any(|media| media.trim().starts_with("text/event-stream")))
}

/// Counts a poll as held until it is dropped, however that happens.
pub(super) struct Held<'a>(&'a Gauge);

impl<'a> Held<'a> {
    pub(super) fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
