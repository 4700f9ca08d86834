//! `POST /topics/{topic}/events`: the body is one event.

use std::time::Duration;

use bytes::Bytes;
use events::{ContentType, Event, EventId, Form, Topic};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    App, HttpResponse,
    mailboxes::json_response,
    problem::{Problem, log_refusal},
};
use crate::{
    broker::{Broker, BrokerError},
    metrics::Published,
};

/// The header by which a publisher makes a retry the same event.
const EVENT_ID: &str = "event-id";

/// The header by which a publisher says that it may have stored the event already.
const RESENT: &str = "postern-resent";

/// A body may take so many times as long as a head: a publisher that vanished in the middle must not keep its
/// connection's place.
const BODY_PER_HEAD: u32 = 3;

/// Stores the body as an event; answers once the broker has confirmed it.
pub(super) async fn publish<B: Broker>(
    app: &App<B>,
    topic: Topic,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<HttpResponse, Problem> {
    let _place = app.publishing.try_acquire().map_err(|_| Problem::TooManyConnections)?;
    let id = event_id(headers)?;
    let resent = is_resent(headers)?;
    let declared = declared_type(headers)?;
    let payload = read(body, app.options.max_body, app.options.header_timeout * BODY_PER_HEAD).await?;
    let content_type = content_type(declared, &payload)?;
    let mut event = Event::new(topic, Some(content_type), payload);
    if let Some(id) = id {
        event.id = id;
    }
    event.resent = resent;
    if let Err(error) = app.broker.publish(&event).await {
        app.metrics.published(Published::Failed);
        log_refusal(&error, Some(event.id.as_str()));
        let id = event.id.to_string();
        return Err(match error {
            BrokerError::Rejected => Problem::MailboxFull(id),
            error => Problem::NotConfirmed(id, error),
        });
    }
    app.metrics.published(Published::Confirmed);
    Ok(json_response(StatusCode::ACCEPTED, &json!({ "id": event.id.as_str() })))
}

fn event_id(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    let Some(value) = headers.get(EVENT_ID) else { return Ok(None) };
    let uuid = value.to_str().ok().and_then(|text| Uuid::try_parse(text.trim()).ok());
    let wrong = || Problem::BadRequest("Event-Id: a UUID, e.g. 01890a5d-ac96-774b-bcce-b302099a8057".to_owned());
    uuid.map(|uuid| Some(uuid.into())).ok_or_else(wrong)
}

fn is_resent(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(RESENT).map(HeaderValue::as_bytes) {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => {
            Err(Problem::BadRequest("Postern-Resent: true for an event that is sent again, or false".to_owned()))
        }
    }
}

fn declared_type(headers: &HeaderMap) -> Result<Option<ContentType>, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let wrong = |what: &dyn std::fmt::Display| Problem::BadRequest(format!("Content-Type: {what}"));
    let text = value.to_str().map_err(|_| wrong(&"it is not ASCII"))?;
    ContentType::new(text).map(Some).map_err(|error| wrong(&error))
}

/// A form is what `curl -d` declares for whatever it sends, so it says no more than nothing at all.
fn content_type(declared: Option<ContentType>, payload: &[u8]) -> Result<ContentType, Problem> {
    let Some(declared) = declared.filter(|declared| !declared.is_form()) else {
        return Ok(ContentType::of(payload));
    };
    if declared.is_json()
        && let Err(error) = Form::check_json(payload)
    {
        let detail = format!(
            "Content-Type says JSON but the body is not one JSON value (UTF-8, at most {} levels deep): {error}",
            Form::MAX_JSON_DEPTH
        );
        return Err(Problem::BadRequest(detail));
    }
    Ok(declared)
}

async fn read(body: Incoming, most: usize, patience: Duration) -> Result<Bytes, Problem> {
    // A body that says that it is too large is not even begun.
    if body.size_hint().lower() > most as u64 {
        return Err(Problem::BodyTooLarge(most));
    }
    match timeout(patience, Limited::new(body, most).collect()).await {
        // Copied: a body in one piece is a slice of the connection's read buffer, which is 8 KiB and more. An event would keep
        // that buffer in memory.
        Ok(Ok(collected)) => Ok(Bytes::copy_from_slice(&collected.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::BodyTooLarge(most)),
        Ok(Err(error)) => Err(Problem::BadRequest(format!("the body ended early: {error}"))),
        Err(_) => Err(Problem::BodyTooSlow(patience)),
    }
}
