//! Publishing through a gateway: `POST /topics/{topic}/events`.
//!
//! Every request names its event (`Event-Id`), so sending it again makes no second event. One connection carries one
//! request at a time, and requests on several may overtake one another: so the events of one order go one by one, and
//! only those of different orders at the same time. A link is all the connections together. It never breaks as a whole:
//! each event has an answer of its own, and a connection that is missing is opened.

mod answer;
mod connections;
mod url;

use std::{fmt, time::Duration};

use events::{Event, http_names};
use http_body_util::Full;
use hyper::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use tokio::time::timeout;

use self::connections::{Answer, Connections, EventRequest, ExchangeError};
pub(crate) use self::url::GatewayUrl;
use crate::{
    outbox::Concurrency,
    source::Order,
    transport::{ConnectError, Link, SendError, Transport},
};

/// Where a gateway is by default.
pub(crate) const DEFAULT_GATEWAY: &str = "http://127.0.0.1:8080";

/// The most requests at once. Each takes a connection, and more than this make no gateway faster.
pub(crate) const MAX_AT_ONCE: usize = 64;

/// The header by which a retry is the same event.
const EVENT_ID: HeaderName = HeaderName::from_static(http_names::EVENT_ID);

const RESENT: HeaderName = HeaderName::from_static(http_names::RESENT);

/// How long an answer may take: twice the 10 s within which a gateway has one.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The slowest line that a payload is given time for, in bytes per second: 128 kbit/s.
const SLOWEST_LINE: f64 = 16_384.0;

/// The connections to a gateway.
pub(crate) struct GatewayLink {
    url: GatewayUrl,
    connections: Connections,
}

impl Transport for GatewayUrl {
    type Link = GatewayLink;

    const ADVICE: &'static str = "start a gateway or name it with --gateway, or a broker with --amqp-url";

    fn concurrency(&self, order: Order) -> Concurrency {
        match order {
            Order::Source | Order::Newest => Concurrency::Never,
            Order::Topic => Concurrency::Topics(MAX_AT_ONCE),
        }
    }

    async fn connect(&self) -> Result<GatewayLink, ConnectError> {
        match Connections::open(self).await {
            Ok(connections) => Ok(GatewayLink { url: self.clone(), connections }),
            Err(error) => Err(ConnectError::Unreachable(error.to_string())),
        }
    }
}

impl Link for GatewayLink {
    async fn send(&self, event: Event) -> Result<(), SendError> {
        #[expect(clippy::cast_precision_loss, reason = "a payload is far smaller than 2^53 bytes")]
        let limit = ANSWER_LIMIT + Duration::from_secs_f64(event.payload.len() as f64 / SLOWEST_LINE);
        let request = request(&self.url, event)?;
        match timeout(limit, self.connections.exchange(request)).await {
            Ok(Ok(Answer { status, headers, body })) => answer::verdict(status, &headers, &body),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(unavailable(format!("no answer within {} s", limit.as_secs()), true)),
        }
    }

    async fn close(self) {}
}

fn request(url: &GatewayUrl, event: Event) -> Result<EventRequest, SendError> {
    let unwritable = |what: &dyn fmt::Display| SendError::Refused(format!("the event does not fit a request: {what}"));
    let mut request = Request::post(url.events_of(&event.topic)).header(HOST, url.authority());
    if let Some(authorization) = url.authorization() {
        request = request.header(AUTHORIZATION, authorization);
    }
    if let Some(content_type) = &event.content_type {
        // Not `from_str`: what is not ASCII is the gateway's to refuse, with its reason.
        let value = HeaderValue::from_bytes(content_type.as_str().as_bytes()).map_err(|error| unwritable(&error))?;
        request = request.header(CONTENT_TYPE, value);
    }
    if event.resent {
        request = request.header(RESENT, "true");
    }
    request
        .header(EVENT_ID, event.id.as_str())
        .body(Full::new(event.payload.into()))
        .map_err(|error| unwritable(&error))
}

impl From<ExchangeError> for SendError {
    fn from(error: ExchangeError) -> Self {
        let reason = error.to_string();
        match error {
            ExchangeError::NotSent(_) => unavailable(reason, false),
            ExchangeError::Broken(_) => unavailable(reason, true),
            ExchangeError::NotHttp(_) => Self::WrongDestination(format!("{reason}; check --gateway")),
        }
    }
}

const fn unavailable(reason: String, was_sent: bool) -> SendError {
    SendError::Unavailable { reason, was_sent, retry_after: None }
}
