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
mod app;
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
mod place;
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

use std::sync::Arc;

use tokio::net::TcpListener;

use self::app::App;
pub use self::{
    app::HttpOptions,
    cors::{AllowedOrigins, Origin, OriginError},
};
use crate::{broker::Broker, feed::Feed, mailbox::Registry, metrics::Metrics};

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
