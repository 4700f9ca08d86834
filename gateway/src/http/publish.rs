//! `POST /topics/{topic}/events`: the body is one event.

mod declared;

use std::sync::Arc;

use broker::{Broker, BrokerError};
use bytes::Bytes;
use events::{ContentCoding, ContentType, Event, InflateError, Payload, Topic};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    body::{Body, Incoming},
};
use serde_json::json;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use self::declared::Declared;
use super::{
    app::App,
    body::HttpResponse,
    connection::socket::ConnectionStatus,
    effect,
    metrics::Published,
    problem::{Problem, log_refusal},
    response,
    transit::Room,
};

/// A body may take so many times as long as a head: a publisher that vanished in the middle must not keep its
/// connection's place.
const BODY_PER_HEAD: u32 = 3;

/// Stores the body as an event; answers once the broker has confirmed it.
pub(super) async fn publish<B: Broker>(
    app: &Arc<App<B>>,
    status: &ConnectionStatus,
    topic: Topic,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<HttpResponse, Problem> {
    let publishing = Arc::clone(&app.publishing);
    let place = publishing.try_acquire_owned().map_err(|_| Problem::TooManyConnections)?;
    let declared = Declared::of(headers)?;
    let mut room = app.incoming.none();
    let patience = app.options.header_timeout * BODY_PER_HEAD;
    let read = timeout(patience, read(body, app.options.max_body, &mut room)).await;
    let payload = read.map_err(|_| Problem::BodyTooSlow(patience))??;
    let came = Instant::now();
    status.half_close.await_answer();
    let storing = Arc::clone(app);
    let store = async move {
        let _place = place;
        let answer = async {
            // Kept until the broker has the event.
            let payload = inflate(declared.coding, payload, storing.options.max_body, &mut room).await?;
            let (content_type, payload) = take(declared.content_type, payload)?;
            let mut event = Event::of(topic, Some(content_type), payload);
            if let Some(id) = declared.id {
                event.id = id;
            }
            event.resent = declared.resent;
            store(&storing, &event).await
        };
        let answer = answer.await;
        storing.metrics.publish_answered(came.elapsed());
        answer
    };
    effect::run(&app.effects, store).await
}

async fn store<B: Broker>(app: &App<B>, event: &Event) -> Result<HttpResponse, Problem> {
    let began = Instant::now();
    if let Err(error) = app.broker.publish(event).await {
        app.metrics.published(Published::Failed, began.elapsed());
        log_refusal(&error, Some(event.id.as_str()));
        let id = event.id.to_string();
        return Err(match error {
            BrokerError::Rejected => Problem::MailboxRejected(id),
            error => Problem::NotConfirmed(id, error),
        });
    }
    app.metrics.published(Published::Confirmed, began.elapsed());
    Ok(response::json(StatusCode::ACCEPTED, json!({ "id": event.id.as_str() }).to_string()))
}

/// A form is what `curl -d` declares for whatever it sends, so it says no more than nothing at all.
fn take(declared: Option<ContentType>, payload: Bytes) -> Result<(ContentType, Payload), Problem> {
    let declared = declared.filter(|declared| !declared.is_form());
    Payload::checked(declared, payload).map_err(|error| {
        Problem::BadRequest(format!(
            "Content-Type says JSON but the body is not one JSON value (UTF-8, at most {} levels deep): {error}",
            Payload::MAX_JSON_DEPTH
        ))
    })
}

/// Undoes the coding of a body, off the runtime's threads: a body of the largest size takes milliseconds.
async fn inflate(coding: ContentCoding, payload: Bytes, most: usize, room: &mut Room) -> Result<Bytes, Problem> {
    if coding == ContentCoding::Identity {
        return Ok(payload);
    }
    if !room.grow_to(payload.len() + most) {
        return Err(Problem::NoRoomForEvent);
    }
    match spawn_blocking(move || coding.inflate(&payload, most)).await {
        Ok(Some(Ok(inflated))) => Ok(Bytes::from(inflated)),
        Ok(Some(Err(InflateError::TooLarge(most)))) => Err(Problem::BodyTooLarge(most)),
        Ok(Some(Err(InflateError::Damaged(error)))) => {
            Err(Problem::BadRequest(format!("Content-Encoding: the body cannot be decompressed: {error}")))
        }
        Ok(None) => Err(Problem::ContentCoding),
        Err(_) => Err(Problem::ShuttingDown),
    }
}

/// Reads a body into bytes of its own. A slice of the connection's read buffer, which is 8 KiB and more, would keep all
/// of that in memory for as long as the event.
async fn read(mut body: Incoming, most: usize, room: &mut Room) -> Result<Bytes, Problem> {
    // A body that says that it is too large is not even begun.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        return Err(Problem::BodyTooLarge(most));
    }
    // Without an announcement it can become as large as any.
    let expected = if announced > 0 { announced } else { most };
    let mut payload = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::BadRequest(format!("the body ended early: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        let length = payload.len() + piece.len();
        if length > most {
            return Err(Problem::BodyTooLarge(most));
        }
        let capacity = grown(payload.capacity(), length, expected);
        if !room.grow_to(capacity) {
            return Err(Problem::NoRoomForEvent);
        }
        payload.reserve_exact(capacity - payload.len());
        payload.extend_from_slice(&piece);
    }
    Ok(payload.into_boxed_slice().into())
}

/// Returns how large a buffer should be for so many bytes: doubled, so that it is seldom copied, but no larger than it
/// has to become. What it holds besides its bytes takes memory, too.
fn grown(capacity: usize, length: usize, expected: usize) -> usize {
    if length <= capacity { capacity } else { (2 * capacity).clamp(length, expected.max(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_by_doubling_and_not_beyond_what_it_has_to_hold() {
        let mut capacity = 0;
        let grown: Vec<_> = [30, 60, 70, 100, 130, 1000]
            .map(|length| {
                capacity = grown(capacity, length, 150);
                capacity
            })
            .into();
        assert_eq!(grown, [30, 60, 120, 120, 150, 1000]);
    }
}
