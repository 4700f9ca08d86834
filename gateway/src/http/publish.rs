//! `POST /topics/{topic}/events`: the body is one event.

use bytes::Bytes;
use events::{ContentType, Event, EventId, Form, Topic};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{
    App, HttpResponse,
    mailboxes::json_response,
    problem::{Problem, log_refusal},
    transit::Room,
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
    // Kept until the broker has the event.
    let mut room = app.incoming.none();
    let patience = app.options.header_timeout * BODY_PER_HEAD;
    let read = timeout(patience, read(body, app.options.max_body, &mut room)).await;
    let payload = read.map_err(|_| Problem::BodyTooSlow(patience))??;
    let content_type = content_type(declared, &payload)?;
    let mut event = Event::new(topic, Some(content_type), payload);
    if let Some(id) = id {
        event.id = id;
    }
    event.resent = resent;
    let began = Instant::now();
    if let Err(error) = app.broker.publish(&event).await {
        app.metrics.published(Published::Failed, began.elapsed());
        log_refusal(&error, Some(event.id.as_str()));
        let id = event.id.to_string();
        return Err(match error {
            BrokerError::Rejected => Problem::MailboxFull(id),
            error => Problem::NotConfirmed(id, error),
        });
    }
    app.metrics.published(Published::Confirmed, began.elapsed());
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
    if declared.is_json() && !matches!(Form::of(Some(&declared), payload), Form::Json(_)) {
        let detail = format!(
            "Content-Type says JSON but the body is not one JSON value (UTF-8, at most {} levels deep)",
            Form::MAX_JSON_DEPTH
        );
        return Err(Problem::BadRequest(detail));
    }
    Ok(declared)
}

/// Reads a body into bytes of its own. A slice of the connection's read buffer, which is 8 KiB and more, would keep all of that in
/// memory for as long as the event.
async fn read(mut body: Incoming, most: usize, room: &mut Room) -> Result<Bytes, Problem> {
    // A body that says that it is too large is not even begun.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        return Err(Problem::BodyTooLarge(most));
    }
    let mut payload = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::BadRequest(format!("the body ended early: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        let length = payload.len() + piece.len();
        if length > most {
            return Err(Problem::BodyTooLarge(most));
        }
        if !room.grow_to(length) {
            return Err(Problem::NoRoomForEvent);
        }
        payload.extend_from_slice(&piece);
    }
    Ok(payload.into_boxed_slice().into())
}
