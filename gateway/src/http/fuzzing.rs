//! What fuzz targets see of HTTP: connections in memory, and one element of an answer.

use std::sync::Arc;

use broker::Broker;
use events::Event;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{app::App, batch, connection, guard::Listener, listener::Audience};

/// Serves connections that are no sockets.
pub struct Server<B: Broker>(Arc<App<B>>);

impl<B: Broker> Server<B> {
    /// Makes a server of what its handlers need.
    #[must_use]
    pub fn new(app: App<B>) -> Self {
        Self(Arc::new(app))
    }

    /// Serves a client to the end of its connection.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin) {
        let arrival =
            connection::Arrival { remote: None, audience: Audience::Clients(Listener::of(None, false)), agreed: None };
        connection::serve_client(stream, arrival, &self.0).await;
    }
}

/// Returns an event as an answer has it.
#[must_use]
pub fn encode_event(event: &Event, redelivered: bool) -> String {
    batch::encode_event(event, redelivered)
}
