//! The HTTP contract on hyper: HTTP/1.1 and, for proxies, HTTP/2 without TLS on the same port.
//!
//! * `accept` owns sockets and limits; `version` tells what a client speaks, `head_timer` how long it may be
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
use tokio_util::task::TaskTracker;

use self::app::App;
pub use self::{
    app::HttpOptions,
    cors::{AllowedOrigins, Origin, OriginError},
};
use crate::{broker::Broker, feed::Feed, mailbox::Registry, metrics::Metrics};

/// Serves HTTP. It ends nothing by itself: what its requests wait for has to be ended between [`Self::stop`] and
/// [`Self::drained`].
pub struct Server<B: Broker> {
    app: Arc<App<B>>,
    connections: TaskTracker,
}

impl<B: Broker> Server<B> {
    /// Makes a server of these parts.
    pub fn new(
        broker: Arc<B>,
        registry: Registry<B>,
        feed: Arc<Feed<B::Log>>,
        metrics: Arc<Metrics>,
        options: HttpOptions,
    ) -> Self {
        Self { app: Arc::new(App::new(broker, registry, feed, metrics, options)), connections: TaskTracker::new() }
    }

    /// Accepts connections and serves them; ends only by being dropped, which closes the listener. The connections that are
    /// open go on.
    pub async fn run(&self, listener: TcpListener) {
        accept::run(listener, &self.app, &self.connections).await;
    }

    /// Has every connection end with the requests that it carries, and those that carry none at once.
    pub fn stop(&self) {
        self.app.shutting_down.cancel();
    }

    /// Waits for the last connection, and for what requests have changed to be done. Cancel-safe.
    pub async fn drained(&self) {
        self.connections.close();
        self.connections.wait().await;
        self.app.effects.close();
        self.app.effects.wait().await;
    }

    /// Returns how many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}
