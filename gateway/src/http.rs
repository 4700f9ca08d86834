//! The HTTP contract on hyper: HTTP/1.1 and, for proxies, HTTP/2 without TLS on the same port.
//!
//! * `accept` owns sockets, limits and the orderly end; `version` tells what a client speaks, `head_timer` how long it may be
//!   silent, `socket` how a connection ended, `half_close` when an end is the client's end.
//! * `access` counts each request and logs it at its end, under its `request_id`.
//! * `routes` brings a request to its handler: `poll`, `mailboxes`, `publish`, `ops`, `page`,
//!   `browser_client`.
//! * `sse` streams what a poll would get, as Server-Sent Events.
//! * `transit` bounds what requests and answers take on their way; `body` paces answers that share a connection.
//! * `parameters` reads queries and headers, `media` which form of an answer is wanted; `problem` is the one place that knows
//!   status codes of errors; `batch` is the JSON of an answer; `cors` lets pages of other origins in,
//!   `security_headers` keeps the others out.
//!
//! Handlers are cancelled by dropping them: that is how a poll learns that its client hung up. What a request changes is run
//! to its end by `effect` all the same.

mod accept;
mod access;
mod batch;
mod body;
mod browser_client;
pub mod check;
mod cors;
mod effect;
mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod half_close;
mod head_timer;
mod mailboxes;
mod media;
mod open_requests;
mod ops;
mod page;
mod parameters;
mod poll;
mod problem;
mod publish;
mod request_id;
mod routes;
mod security_headers;
mod socket;
mod sse;
mod stream_task;
mod transit;
mod version;

use std::{sync::Arc, time::Duration};

use events::TopicPattern;
use hyper::{Request, Response, body::Incoming};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::cors::{AllowedOrigins, Origin, OriginError};
use self::transit::Transit;
use crate::{broker::Broker, feed::Feed, mailbox::Registry, metrics::Metrics};

/// What an operator can set about HTTP.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How many client connections may be open at once.
    pub max_connections: usize,
    /// The largest published event, in bytes.
    pub max_body: usize,
    /// How many bytes of events may be on their way in, and as many of answers on their way out.
    pub max_transit: usize,
    /// How long a client may take to send the head of a request, and a third of what it may take for a body.
    pub header_timeout: Duration,
    /// How long a connection is kept on which nothing is asked.
    pub idle_timeout: Duration,
    /// How long held polls and open answers may take once the gateway shuts down.
    pub shutdown_grace: Duration,
    /// Which pages of other origins may use the gateway.
    pub allowed_origins: AllowedOrigins,
    /// Which topics can be followed as Feeds.
    pub feed_topics: Vec<TopicPattern>,
}

/// Everything that a handler needs.
struct App<B: Broker> {
    broker: Arc<B>,
    registry: Registry<B>,
    feed: Arc<Feed<B::Log>>,
    metrics: Arc<Metrics>,
    options: HttpOptions,
    /// How many more events may be on their way in: as many as connections, which over HTTP/2 carry many.
    publishing: Arc<Semaphore>,
    incoming: Transit,
    outgoing: Transit,
    /// What requests change, as long as it is on its way.
    effects: TaskTracker,
    shutting_down: CancellationToken,
}

impl<B: Broker> App<B> {
    fn new(
        broker: Arc<B>,
        registry: Registry<B>,
        feed: Arc<Feed<B::Log>>,
        metrics: Arc<Metrics>,
        options: HttpOptions,
    ) -> Self {
        let publishing = Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS)));
        let (incoming, outgoing) = (Transit::new(options.max_transit), Transit::new(options.max_transit));
        Self {
            broker,
            registry,
            feed,
            metrics,
            options,
            publishing,
            incoming,
            outgoing,
            effects: TaskTracker::new(),
            shutting_down: CancellationToken::new(),
        }
    }
}

type HttpRequest = Request<Incoming>;
type HttpResponse = Response<body::Body>;

/// Serves until `shutdown` completes, then ends in order: accepts no more, ends the Sessions, which answers the polls
/// that they hold, waits for open answers up to the grace period, and returns. The caller owns the listener and the
/// signal.
pub async fn serve<B: Broker>(
    listener: TcpListener,
    broker: Arc<B>,
    registry: Registry<B>,
    feed: Arc<Feed<B::Log>>,
    metrics: Arc<Metrics>,
    options: HttpOptions,
    shutdown: impl Future<Output = ()>,
) {
    let app = Arc::new(App::new(broker, registry, feed, metrics, options));
    accept::run(listener, app, shutdown).await;
}
