//! Publishing: `POST /topics/{topic}/events`, where the body is one event, and `POST /events`, where it is a batch.

mod batch;
mod body;
mod cloud_event;
mod declared;
mod items;

use std::sync::Arc;

use broker::{Broker, BrokerError};
use bytes::Bytes;
use events::{ContentType, Event, Topic};
use hyper::{HeaderMap, StatusCode, body::Incoming};
use tokio::time::Instant;

pub(super) use self::{
    batch::{Publisher, publish_batch},
    items::MAX_EVENTS,
};
use self::{
    body::{Upload, take},
    cloud_event::{Attributes, Mode},
    declared::Declared,
};
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
    let mut declared = Declared::of(headers)?;
    let form = Form::of(topic, declared.content_type.take(), headers)?;
    let mut upload = Upload::receive(app, status, place, body).await?;
    let storing = Arc::clone(app);
    let store = async move {
        let answer = async {
            let payload = upload.inflated(declared.coding).await?;
            let mut event = form.read(payload)?;
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

/// What a body is, and the topic of its event.
enum Form {
    /// A payload of this type.
    Payload(Topic, Option<ContentType>),
    /// A `CloudEvent`.
    CloudEvent(Topic),
    /// The payload of a `CloudEvent` that has these attributes.
    PayloadOf(Attributes, Topic, Option<ContentType>),
}

impl Form {
    fn of(topic: Topic, declared: Option<ContentType>, headers: &HeaderMap) -> Result<Self, Problem> {
        match Mode::of(declared.as_ref(), headers) {
            None => Ok(Self::Payload(topic, declared)),
            Some(Mode::Structured) => Ok(Self::CloudEvent(topic)),
            Some(Mode::Binary) => {
                let attributes = Attributes::of_headers(headers).map_err(Problem::BadRequest)?;
                Ok(Self::PayloadOf(attributes, topic, declared))
            }
            Some(Mode::Batch) => {
                Err(Problem::BadRequest("Content-Type: a batch of CloudEvents is published to /events".to_owned()))
            }
        }
    }

    fn read(self, body: Bytes) -> Result<Event, Problem> {
        match self {
            Self::Payload(topic, declared) => {
                let (content_type, payload) = take(declared, body)?;
                Ok(Event::of(topic, Some(content_type), payload))
            }
            Self::CloudEvent(topic) => cloud_event::structured(&body, Some(topic))
                .map_err(|wrong| Problem::BadRequest(format!("the body is no CloudEvent of JSON: {wrong}"))),
            Self::PayloadOf(attributes, topic, declared) => {
                let (content_type, payload) = take(declared, body)?;
                attributes.event(Some(topic), content_type, payload).map_err(Problem::BadRequest)
            }
        }
    }
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
    // An id has no character that JSON escapes.
    Ok(response::json(StatusCode::ACCEPTED, format!(r#"{{"id":"{}"}}"#, event.id)))
}
