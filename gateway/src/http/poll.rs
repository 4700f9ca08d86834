//! `GET /clients/{client}/events`: a long-poll of a mailbox.

use bytes::Bytes;
use events::ClientId;
use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue},
};
use prometheus_client::metrics::gauge::Gauge;

use super::{
    App, HttpResponse, batch, body,
    problem::{LAST_SEEN, Problem},
    socket::Fate,
};
use crate::{
    broker::Broker,
    mailbox::{Answered, Batch, Outcome, PollRequest},
    metrics::{Answer, Metrics, Source},
};

/// Holds a poll until there is an answer. Dropping it means that the client hung up.
pub(super) async fn hold<B: Broker>(
    app: &App<B>,
    fate: &Fate,
    client: &ClientId,
    request: PollRequest,
) -> Result<HttpResponse, Problem> {
    let held = Held::new(app)?;
    let Answered { outcome, receipt } = app.registry.poll(client, request).await;
    drop(held);
    let (response, counted) = match outcome {
        Outcome::Batch(batch) => (Ok(with_events(&batch, &app.metrics)), Answer::Batch),
        // A poll that does not go on cannot be told that it has to confirm.
        Outcome::Nothing | Outcome::WindowFull => (Ok(without_events()), Answer::Nothing),
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
    count_events(batch, metrics);
    let mut response = body::whole(Bytes::from(batch::encode(batch)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A token is ASCII without control characters, so it always is a header value.
    if let Ok(token) = HeaderValue::from_str(batch.last_seen.as_str()) {
        headers.insert(LAST_SEEN, token);
    }
    response
}

/// Counts what is handed out.
pub(super) fn count_events(batch: &Batch, metrics: &Metrics) {
    metrics.events.inc_by(batch.events.len() as u64);
    metrics.events_redelivered.inc_by(batch.events.iter().filter(|each| each.redelivered).count() as u64);
    if batch.reset {
        metrics.told_reset(Source::Mailbox);
    }
}

fn without_events() -> HttpResponse {
    let mut response = body::whole(Bytes::new());
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

/// Counts a poll as held until it is dropped, however that happens.
pub(super) struct Held(Gauge);

impl Held {
    /// Counts one more, unless there are as many as there may be connections: over HTTP/2 one connection holds many.
    pub(super) fn new<B: Broker>(app: &App<B>) -> Result<Self, Problem> {
        let held = Self(app.metrics.polls_held.clone());
        let most = i64::try_from(app.options.max_connections).unwrap_or(i64::MAX);
        if held.0.inc() >= most { Err(Problem::TooManyConnections) } else { Ok(held) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
