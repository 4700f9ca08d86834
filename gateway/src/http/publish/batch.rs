//! `POST /events`: the body is a batch of events, which may have topics of their own.

use std::sync::Arc;

use access::{Principal, Rights};
use broker::{Broker, BrokerError};
use bytes::Bytes;
use events::{ContentType, Event};
use hyper::{HeaderMap, StatusCode, body::Incoming};
use serde_json::json;
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    body::{Upload, take},
    cloud_event::{Attributes, Mode},
    declared::Declared,
    items::{Format, Item},
};
use crate::http::{
    app::App,
    body::HttpResponse,
    connection::socket::ConnectionStatus,
    credentials::not_included_in_batch,
    effect,
    metrics::Published,
    problem::{At, NotConfirmedBatch, Problem, log_refusal},
    response,
};

/// Up to how many bytes a body is read at once; a larger one takes milliseconds, off the runtime's threads.
const MAX_READ_INLINE: usize = 16 * 1024;

/// What an event takes in memory besides what stands in the body, in bytes, about.
const MEMORY_AROUND: usize = 512;

/// Who publishes.
pub(in crate::http) struct Publisher {
    /// What it may publish.
    pub(in crate::http) rights: Arc<Rights>,
    /// Whom the events are counted for.
    pub(in crate::http) principal: Option<Principal>,
}

/// Stores the events of the body; answers once the broker has confirmed all of them. If anything in the body is wrong,
/// nothing of it is stored.
pub(in crate::http) async fn publish_batch<B: Broker>(
    app: &Arc<App<B>>,
    status: &ConnectionStatus,
    publisher: Publisher,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<HttpResponse, Problem> {
    let place = Arc::clone(&app.publishing).try_acquire_owned().map_err(|_| Problem::TooManyConnections)?;
    let declared = Declared::of(headers)?;
    if declared.id.is_some() {
        return Err(Problem::BadRequest(
            "Event-Id, Idempotency-Key: each event of a batch has an id of its own, in its member \"id\"".to_owned(),
        ));
    }
    let form = Form::of(&declared, headers)?;
    let mut upload = Upload::receive(app, status, place, body).await.map_err(of_batch)?;
    let storing = Arc::clone(app);
    let store = async move {
        let answer = async {
            let body = upload.inflated(declared.coding).await.map_err(of_batch)?;
            let events = match read(&storing, &mut upload, form, body, &publisher).await {
                Ok(events) => events,
                Err(wrong) => {
                    // Counted as one event, so that the limit bounds also what is wrong.
                    publisher.use_up(&storing, 1)?;
                    return Err(wrong);
                }
            };
            publisher.use_up(&storing, events.len())?;
            let events = events.into_iter().map(|event| Event { resent: declared.resent, ..event }).collect();
            store(&storing, events).await
        };
        let answer = answer.await;
        storing.metrics.publish_answered(upload.came.elapsed());
        answer
    };
    effect::run(&app.effects, store).await
}

/// Says of a batch what is said of an event.
fn of_batch(problem: Problem) -> Problem {
    match problem {
        Problem::BodyTooLarge(most) => Problem::BatchTooLarge(most),
        problem => problem,
    }
}

/// Says of a batch of one event what is said of an event.
fn of_first(problem: Problem) -> Problem {
    match problem {
        Problem::BadRequest(wrong) => Problem::WrongEvent(At::FIRST, wrong),
        problem => problem,
    }
}

impl Publisher {
    /// Takes so many events from what the sender may publish.
    fn use_up<B: Broker>(&self, app: &App<B>, events: usize) -> Result<(), Problem> {
        let Some(principal) = &self.principal else { return Ok(()) };
        app.limits.publish(principal, self.rights.publish_rate, u32::try_from(events).unwrap_or(u32::MAX))
    }
}

/// What a body is.
enum Form {
    Batch(Format),
    /// The payload of a `CloudEvent` that has these attributes, and this type.
    Payload(Attributes, Option<ContentType>),
}

impl Form {
    fn of(declared: &Declared, headers: &HeaderMap) -> Result<Self, Problem> {
        let content_type = declared.content_type.as_ref();
        match Mode::of(content_type, headers) {
            Some(Mode::Binary) => {
                let attributes =
                    Attributes::of_headers(headers).map_err(|wrong| Problem::WrongEvent(At::FIRST, wrong))?;
                Ok(Self::Payload(attributes, content_type.cloned()))
            }
            _ => Format::of(content_type).map(Self::Batch),
        }
    }

    fn read(self, body: Bytes) -> Result<Vec<Item>, Problem> {
        match self {
            Self::Batch(format) => format.read(&body),
            Self::Payload(attributes, content_type) => {
                let (content_type, payload) = take(content_type, body).map_err(of_first)?;
                let event = attributes.event(None, content_type, payload);
                let event = event.map_err(|wrong| Problem::WrongEvent(At::FIRST, wrong))?;
                Ok(vec![Item { at: At::FIRST, event }])
            }
        }
    }
}

/// Returns the events in a body, if the publisher has a right to the topics of all.
async fn read<B: Broker>(
    app: &App<B>,
    upload: &mut Upload,
    form: Form,
    body: Bytes,
    publisher: &Publisher,
) -> Result<Vec<Event>, Problem> {
    let len = body.len();
    // Each event gets bytes of its own, or all of the body would be kept for as long as one of them.
    if !upload.room.grow_to(2 * len) {
        return Err(Problem::NoRoomForEvent);
    }
    let items = if len <= MAX_READ_INLINE {
        form.read(body)
    } else {
        spawn_blocking(move || form.read(body)).await.unwrap_or(Err(Problem::ShuttingDown))
    };
    let items = items?;
    if !upload.room.grow_to(2 * len + items.len() * MEMORY_AROUND) {
        return Err(Problem::NoRoomForEvent);
    }
    let permitted = |Item { at, event }: Item| match publisher.rights.publish(&event.topic) {
        Ok(()) => Ok(event),
        Err(denied) => Err(not_included_in_batch(&app.options.access, &publisher.rights, at, denied)),
    };
    items.into_iter().map(permitted).collect()
}

async fn store<B: Broker>(app: &App<B>, events: Vec<Event>) -> Result<HttpResponse, Problem> {
    let began = Instant::now();
    let ids = || events.iter().map(|event| event.id.as_str());
    let stored = if events.is_empty() { Vec::new() } else { app.broker.publish_all(&events).await };
    let took = began.elapsed();
    for outcome in &stored {
        let published = if outcome.is_ok() { Published::Confirmed } else { Published::Failed };
        app.metrics.published(published, took);
    }
    // One that says more than that a mailbox is full comes first.
    let errors = || ids().zip(&stored).filter_map(|(id, outcome)| Some((id, outcome.as_ref().err()?)));
    let is_rejected = |error: &BrokerError| matches!(error, BrokerError::Rejected);
    let Some((id, error)) = errors().find(|(_, error)| !is_rejected(error)).or_else(|| errors().next()) else {
        let ids: Vec<&str> = ids().collect();
        return Ok(response::json(StatusCode::ACCEPTED, json!({ "ids": ids }).to_string()));
    };
    log_refusal(error, Some(id));
    Err(Problem::BatchNotConfirmed(Box::new(NotConfirmedBatch {
        ids: ids().map(str::to_owned).collect(),
        confirmed: ids().zip(&stored).filter(|(_, outcome)| outcome.is_ok()).map(|(id, _)| id.to_owned()).collect(),
        rejected: errors().filter(|(_, error)| is_rejected(error)).map(|(id, _)| id.to_owned()).collect(),
        error: error.clone(),
    })))
}
