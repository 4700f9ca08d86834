//! `GET /clients/{client}/events`: a long-poll of a mailbox.

use access::Principal;
use broker::Broker;
use events::ClientId;
use hyper::{
    StatusCode,
    header::{CONNECTION, HeaderValue},
};
use mailboxes::{Answered, Batch, Outcome, PollRequest, Receipt};

use crate::http::{
    app::App,
    batch,
    body::{self, HttpResponse},
    connection::socket::ConnectionStatus,
    metrics::{Answer, HttpMetrics, Reading, Source, Transport},
    problem::{LAST_SEEN, Problem},
    response,
};

/// Holds a poll until there is an answer. Dropping it means that the client hung up.
pub(crate) async fn poll<B: Broker>(
    app: &App<B>,
    status: &ConnectionStatus,
    client: &ClientId,
    request: Box<PollRequest>,
    principal: Option<Principal>,
) -> Result<HttpResponse, Problem> {
    let held = app.hold_poll(principal.as_ref())?;
    drop(principal);
    let Answered { outcome, receipt } = app.registry.poll(client, request).await;
    let (response, counted) = match outcome {
        Outcome::Batch(batch) => match with_events(app, &batch) {
            Ok(response) => (Ok(response), Answer::Batch),
            Err(problem) => {
                receipt.iter().for_each(Receipt::undelivered);
                (Err(problem), Answer::Refused)
            }
        },
        // A poll that does not go on cannot be told that it has to confirm.
        Outcome::Nothing | Outcome::WindowFull => (Ok(response::empty(StatusCode::NO_CONTENT)), Answer::Nothing),
        Outcome::ShuttingDown { has_looked: true } => (Ok(shutting_down()), Answer::Nothing),
        Outcome::ShuttingDown { has_looked: false } => (Err(Problem::ShuttingDown), Answer::Refused),
        Outcome::Replaced => (Err(Problem::Replaced), Answer::Replaced),
        Outcome::MailboxGone => (Err(Problem::MailboxGone), Answer::Refused),
        Outcome::NoMailbox => (Err(Problem::NoMailbox), Answer::Refused),
        Outcome::Held => (Err(Problem::Held), Answer::Refused),
        Outcome::TooManyMailboxes => (Err(Problem::TooManyMailboxes), Answer::Refused),
        Outcome::Broker(error) => (Err(error.into()), Answer::Refused),
    };
    app.metrics.answered(counted);
    status.answering(receipt);
    response.map(|response| body::keeping(held, response))
}

fn with_events<B: Broker>(app: &App<B>, batch: &Batch) -> Result<HttpResponse, Problem> {
    let room = app.outgoing.try_take(batch::max_len(batch)).ok_or(Problem::NoRoomForAnswer)?;
    count_events(batch, Transport::Poll, &app.metrics);
    let mut response = response::json(StatusCode::OK, room.hold(batch::encode(batch)));
    // A token is ASCII without control characters, so it always is a header value.
    if let Ok(token) = HeaderValue::from_str(batch.last_seen.as_str()) {
        response.headers_mut().insert(LAST_SEEN, token);
    }
    Ok(response)
}

/// Counts what is handed out.
pub(super) fn count_events(batch: &Batch, transport: Transport, metrics: &HttpMetrics) {
    let oldest_new = batch.events.iter().find(|each| !each.redelivered).map(|each| &each.event);
    metrics.handed_out(Reading::of(Source::Mailbox, transport), batch.events.len(), oldest_new);
    metrics.events_redelivered.inc_by(batch.events.iter().filter(|each| each.redelivered).count() as u64);
    if batch.reset {
        metrics.told_reset(Source::Mailbox);
    }
}

/// Nothing came, and the next poll should find another gateway.
fn shutting_down() -> HttpResponse {
    let mut response = response::empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
