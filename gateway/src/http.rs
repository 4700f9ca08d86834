//! The HTTP contract on hyper: HTTP/1.1 and, for proxies, HTTP/2 without TLS on the same port.
//!
//! * `accept` owns sockets, limits and the orderly end; `version` tells what a client speaks, `socket` how a connection ended.
//! * `routes` brings a request to its handler: `poll`, `mailboxes`, `publish`, `ops`, `page`,
//!   `browser_client`.
//! * `sse` streams what a poll would get, as Server-Sent Events.
//! * `parameters` reads queries and headers; `problem` is the one place that knows status codes of errors; `batch` is
//!   the JSON of an answer; `cors` lets pages of other origins in.
//!
//! Handlers are cancelled by dropping them: that is how a poll learns that its client hung up.

mod accept;
mod batch;
mod body;
mod browser_client;
pub mod check;
mod cors;
mod feed;
mod mailboxes;
mod ops;
mod page;
mod parameters;
mod poll;
mod problem;
mod publish;
mod routes;
mod seldom;
mod socket;
mod sse;
mod version;

use std::{sync::Arc, time::Duration};

use events::TopicPattern;
use hyper::{Request, Response, body::Incoming};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

pub use self::cors::{AllowedOrigins, Origin, OriginError};
use crate::{
    broker::{Broker, log::EventLog},
    feed::Feed,
    mailbox::Registry,
    metrics::Metrics,
};

/// What an operator can set about HTTP.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How many client connections may be open at once.
    pub max_connections: usize,
    /// The largest published event, in bytes.
    pub max_body: usize,
    /// How long a client may take to send the head of a request, and a third of what it may take for a body; also how long an
    /// idle connection is kept.
    pub header_timeout: Duration,
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
    feed: Arc<Feed<B>>,
    metrics: Arc<Metrics>,
    options: HttpOptions,
    /// How many more events may be on their way in: as many as connections, which over HTTP/2 carry many.
    publishing: Semaphore,
    shutting_down: CancellationToken,
}

type HttpRequest = Request<Incoming>;
type HttpResponse = Response<body::Body>;

/// Serves until `shutdown` completes, then ends in order: accepts no more, ends the Sessions, which answers the polls
/// that they hold, waits for open answers up to the grace period, and returns. The caller owns the listener and the
/// signal.
pub async fn serve<B: Broker + EventLog>(
    listener: TcpListener,
    broker: Arc<B>,
    registry: Registry<B>,
    feed: Arc<Feed<B>>,
    metrics: Arc<Metrics>,
    options: HttpOptions,
    shutdown: impl Future<Output = ()>,
) {
    let shutting_down = CancellationToken::new();
    let publishing = Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS));
    let app = Arc::new(App { broker, registry, feed, metrics, options, publishing, shutting_down });
    accept::run(listener, app, shutdown).await;
}
