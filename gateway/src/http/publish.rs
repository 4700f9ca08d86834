//! Publishing: `POST /topics/{topic}/events`, where the body is one event, and `POST /events`, where it is a batch.

mod batch;
mod body;
mod declared;
mod items;

use std::sync::Arc;

use broker::{Broker, BrokerError};
use bytes::Bytes;
use events::{ContentType, Event, Payload, Topic};
use hyper::{HeaderMap, StatusCode, body::Incoming};
use serde_json::json;
use tokio::time::Instant;

pub(super) use self::{
    batch::{Publisher, publish_batch},
    items::MAX_EVENTS,
};
use self::{body::Upload, declared::Declared};
use super::{
    app::App,
    body::HttpResponse,
    connection::socket::ConnectionStatus,
    effect,
    metrics::Published,
    problem::{Problem, log_refusal},
    response,
};

/// Stores the body as an event; answers once the broker has confirmed it.
pub(super) async fn publish<B: Broker>(
    app: &Arc<App<B>>,
    status: &ConnectionStatus,
    topic: Topic,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<HttpResponse, Problem> {
    let place = Arc::clone(&app.publishing).try_acquire_owned().map_err(|_| Problem::TooManyConnections)?;
    let declared = Declared::of(headers)?;
    let mut upload = Upload::receive(app, status, place, body).await?;
    let storing = Arc::clone(app);
    let store = async move {
        let answer = async {
            let payload = upload.inflated(declared.coding).await?;
            let (content_type, payload) = take(declared.content_type, payload)?;
            let mut event = Event::of(topic, Some(content_type), payload);
            if let Some(id) = declared.id {
                event.id = id;
            }
            event.resent = declared.resent;
            store(&storing, &event).await
        };
        let answer = answer.await;
        storing.metrics.publish_answered(upload.came.elapsed());
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
