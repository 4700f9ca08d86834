//! Publishing through a gateway: `POST /events` for batches, `POST /topics/{topic}/events` for one event.
//!
//! Every request names its events, so sending it again makes no second event. One connection carries one request at a
//! time, and requests on several may overtake one another: so the events of one order go one batch after the other. A
//! gateway that takes no batches gets them one by one, and only those of different orders at the same time. A link is all
//! the connections together. It never breaks as a whole: each event has an answer of its own, and a connection that is
//! missing is opened.

mod answer;
mod batch;
mod batch_size;
mod connections;
mod tls;
mod token;
mod url;

use std::{fmt, path::Path, rc::Rc, time::Duration};

use events::{Event, http_names};
use http_body_util::Full;
use hyper::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use tokio::time::timeout;

use self::{
    answer::BatchVerdict,
    batch_size::BatchSize,
    connections::{Answer, Connections, EventRequest, ExchangeError},
};
use self::{tls::Tls, token::TokenFile, url::GatewayUrl};
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

/// A gateway, and what it asks for. Neither password nor token is shown.
pub(crate) struct Gateway {
    url: GatewayUrl,
    tls: Option<Tls>,
    token: Option<Rc<TokenFile>>,
    batch_size: Rc<BatchSize>,
}

/// The connections to a gateway.
pub(crate) struct GatewayLink {
    url: GatewayUrl,
    token: Option<Rc<TokenFile>>,
    batch_size: Rc<BatchSize>,
    connections: Connections,
}

impl Gateway {
    /// Takes the gateway's URL, a file of its authority (PEM) and a file of the token. Says what is wrong without
    /// repeating what may be secret.
    pub(crate) fn new(url: &str, ca: Option<&Path>, token: Option<&Path>) -> Result<Self, String> {
        let url: GatewayUrl =
            url.parse().map_err(|error| format!("--gateway, or POSTERN_GATEWAY in the environment: {error}"))?;
        if token.is_some() && url.authorization().is_some() {
            return Err(format!(
                "--token-file and the user in --gateway {url} are two ways to be known; give one of them"
            ));
        }
        if token.is_some() && !url.is_tls() && !url.is_loopback() {
            return Err(format!(
                "--token-file: on its way to {url} the token could be read; the gateway needs https://"
            ));
        }
        if ca.is_some() && !url.is_tls() {
            return Err(format!("--tls-ca has no effect on {url}, which is not https://"));
        }
        let tls = url.is_tls().then(|| Tls::new(url.host(), ca)).transpose();
        let tls = tls.map_err(|error| format!("--tls-ca, or POSTERN_TLS_CA in the environment: {error}"))?;
        let token = token.map(TokenFile::open).transpose();
        let token =
            token.map_err(|error| format!("--token-file, or POSTERN_TOKEN_FILE in the environment: {error}"))?;
        Ok(Self { url, tls, token: token.map(Rc::new), batch_size: Rc::default() })
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gateway({self})")
    }
}

impl Transport for Gateway {
    type Link = GatewayLink;

    const ADVICE: &'static str = "start a gateway or name it with --gateway, or a broker with --amqp-url";

    fn concurrency(&self, order: Order) -> Concurrency {
        match (order, self.batch_size.max()) {
            // What is not on its way yet can still be replaced by something newer.
            (Order::Newest | Order::Single, _) | (Order::Source, None) => Concurrency::Never,
            (Order::Source | Order::Topic, Some(most)) => Concurrency::Batches(most),
            (Order::Topic, None) => Concurrency::Topics(MAX_AT_ONCE),
        }
    }

    async fn connect(&self) -> Result<GatewayLink, ConnectError> {
        match Connections::open(&self.url, self.tls.as_ref()).await {
            Ok(connections) => {
                let batch_size = Rc::clone(&self.batch_size);
                Ok(GatewayLink { url: self.url.clone(), token: self.token.clone(), batch_size, connections })
            }
            Err(ExchangeError::Untrusted(reason)) => Err(ConnectError::Refused(reason)),
            Err(error) => Err(ConnectError::Unreachable(error.to_string())),
        }
    }
}

impl Link for GatewayLink {
    async fn send(&self, event: Event) -> Result<(), SendError> {
        let limit = answer_limit(event.payload.len());
        let Answer { status, headers, body } = self.ask(request(&self.url, event)?, limit).await?;
        answer::verdict(status, &headers, &body)
    }

    async fn send_batch(&self, mut events: Vec<Event>) -> Vec<Result<(), SendError>> {
        let count = events.len();
        let none_tried = |reason: &str| (0..count).map(|_| Err(SendError::NotTried(reason.to_owned()))).collect();
        let Answer { status, headers, body } = match self.ask_batch(&events).await {
            Ok(answer) => answer,
            Err(error) => return batch::of_all(error, count),
        };
        let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
        match answer::batch_verdict(status, &headers, &body, &ids) {
            BatchVerdict::NoBatches => {
                self.batch_size.no_batches();
                none_tried("the gateway takes no batches")
            }
            // Alone it has no wrapping.
            BatchVerdict::TooLarge if count == 1 => vec![self.send(events.remove(0)).await],
            BatchVerdict::TooLarge => {
                self.batch_size.too_large(count);
                none_tried("the gateway takes smaller batches")
            }
            BatchVerdict::Refused(answers) => {
                self.batch_size.refused(count);
                answers
            }
            BatchVerdict::Settled(answers) => {
                self.batch_size.settled();
                answers
            }
        }
    }

    async fn close(self) {}
}

impl GatewayLink {
    async fn ask_batch(&self, events: &[Event]) -> Result<Answer, SendError> {
        let request = batch::request(&self.url, events)?;
        let limit = answer_limit(events.iter().map(|event| event.payload.len()).sum());
        self.ask(request, limit).await
    }

    /// Asks with the token, if there is one; once more if there is a newer one by now.
    async fn ask(&self, mut request: EventRequest, limit: Duration) -> Result<Answer, SendError> {
        let Some(file) = &self.token else { return self.exchange(request, limit).await };
        let token = file.authorization();
        request.headers_mut().insert(AUTHORIZATION, token.clone());
        let answer = self.exchange(request.clone(), limit).await?;
        // What is refused is not stored, so it may be sent again as it is.
        if answer.status == StatusCode::UNAUTHORIZED && file.has_other_than(&token) {
            request.headers_mut().insert(AUTHORIZATION, file.authorization());
            return self.exchange(request, limit).await;
        }
        Ok(answer)
    }

    async fn exchange(&self, request: EventRequest, limit: Duration) -> Result<Answer, SendError> {
        match timeout(limit, self.connections.exchange(request)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(unavailable(format!("no answer within {} s", limit.as_secs()), true)),
        }
    }
}

/// Returns how long the answer to so many bytes may take.
fn answer_limit(bytes: usize) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a payload is far smaller than 2^53 bytes")]
    let on_the_line = bytes as f64 / SLOWEST_LINE;
    ANSWER_LIMIT + Duration::from_secs_f64(on_the_line)
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
            ExchangeError::NotSent(_) | ExchangeError::Untrusted(_) => unavailable(reason, false),
            ExchangeError::Broken(_) => unavailable(reason, true),
            ExchangeError::NotHttp(_) => Self::WrongDestination(format!("{reason}; check --gateway")),
        }
    }
}

const fn unavailable(reason: String, was_sent: bool) -> SendError {
    SendError::Unavailable { reason, was_sent, retry_after: None }
}
