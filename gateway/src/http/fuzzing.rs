//! What fuzz targets see of HTTP: connections in memory, and one element of an answer.

use std::sync::Arc;

use events::Event;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    accept,
    app::{App, HttpOptions},
    batch,
};
use crate::{broker::Broker, feed::Feed, mailbox::Registry, metrics::Metrics};

/// Serves connections that are no sockets.
pub struct Server<B: Broker>(Arc<App<B>>);

impl<B: Broker> Server<B> {
    /// Makes a server of the same parts as [`super::Server::new`].
    #[must_use]
    pub fn new(
        broker: Arc<B>,
        registry: Registry<B>,
        feed: Arc<Feed<B::Log>>,
        metrics: Arc<Metrics>,
        options: HttpOptions,
    ) -> Self {
        Self(Arc::new(App::new(broker, registry, feed, metrics, options)))
    }

    /// Serves a client to the end of its connection.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        accept::serve_client(stream, None, &self.0).await;
    }
}

/// Returns an event as an answer has it.
#[must_use]
pub fn encode_event(event: &Event, redelivered: bool) -> String {
    batch::encode_event(event, redelivered)
}
