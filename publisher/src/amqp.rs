//! Publishing straight to the broker, at any of its addresses.
//!
//! One connection with one channel, which keeps events in order however many are in flight. The broker closes it over
//! an event that it refuses, and does not say over which.
//!
//! An address that works is kept. One at which a connection fails, or is lost, gives way to the next.

use std::{fmt, sync::Arc, time::Duration};

use amqp::{self, AmqpUrls, PublishError, PublishingConnection, Rotation};
use events::Event;
use tokio::time::timeout;

use crate::{
    outbox::Concurrency,
    source::Order,
    transport::{ConnectError, Link, SendError, Transport},
};

/// What the broker's operator sees.
const CONNECTION_NAME: &str = "postern publisher";

/// How long one address may take; a host that swallows packets must not use up all the patience.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long to say goodbye to the broker; everything is confirmed by then, so it is only a courtesy.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A broker that may have several addresses.
#[derive(Debug)]
pub(crate) struct Broker {
    urls: AmqpUrls,
    rotation: Arc<Rotation>,
}

impl Broker {
    /// Begins at one of the addresses, at random.
    pub(crate) fn new(urls: AmqpUrls) -> Self {
        let rotation = Arc::new(Rotation::new(urls.iter().len(), rand::random_range(0..urls.iter().len())));
        Self { urls, rotation }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.urls.fmt(f)
    }
}

/// A connection to the broker at one of its addresses.
pub(crate) struct BrokerLink {
    connection: PublishingConnection,
    rotation: Arc<Rotation>,
    at: usize,
    is_closing: bool,
}

impl Transport for Broker {
    type Link = BrokerLink;

    const ADVICE: &'static str = "start the broker or name it with --amqp-url";

    fn concurrency(&self, order: Order) -> Concurrency {
        match order {
            Order::Source | Order::Topic | Order::Single => Concurrency::Free,
            // What is not on its way yet can still be replaced by something newer.
            Order::Newest => Concurrency::Never,
        }
    }

    fn connect_limit(&self) -> Duration {
        CONNECT_LIMIT * u32::try_from(self.urls.iter().len()).unwrap_or(u32::MAX)
    }

    async fn connect(&self) -> Result<BrokerLink, ConnectError> {
        let (mut failures, mut refused) = (Vec::new(), 0);
        for at in self.rotation.round() {
            let Some(url) = self.urls.iter().nth(at) else { continue };
            let reason = match timeout(CONNECT_LIMIT, PublishingConnection::open(url, CONNECTION_NAME)).await {
                Ok(Ok(connection)) => {
                    self.rotation.stay(at);
                    return Ok(BrokerLink { connection, rotation: Arc::clone(&self.rotation), at, is_closing: false });
                }
                Ok(Err(error)) => {
                    refused += usize::from(!error.is_retryable());
                    error.to_string()
                }
                Err(_) => format!("no answer within {} s", CONNECT_LIMIT.as_secs()),
            };
            self.rotation.leave(at);
            failures.push(if self.urls.iter().len() == 1 { reason } else { format!("{}: {reason}", url.address()) });
        }
        let told = failures.join("; ");
        // A node that starts, or has lost its cluster, can refuse what another one takes.
        Err(if refused == failures.len() { ConnectError::Refused(told) } else { ConnectError::Unreachable(told) })
    }
}

impl Link for BrokerLink {
    async fn send(&self, event: Event) -> Result<(), SendError> {
        let published = async { self.connection.channel().publish(&event).await?.stored().await };
        published.await.map_err(SendError::from)
    }

    fn is_open(&self) -> bool {
        self.connection.channel().is_open()
    }

    fn blocked_reason(&self) -> Option<&'static str> {
        self.connection.is_blocked().then_some("the broker takes nothing now, it is out of memory or disk")
    }

    async fn close(mut self) {
        self.is_closing = true;
        let _ = timeout(CLOSE_LIMIT, self.connection.close()).await;
    }
}

impl Drop for BrokerLink {
    fn drop(&mut self) {
        if !self.is_closing && !self.connection.is_connected() {
            self.rotation.leave(self.at);
        }
    }
}

impl From<PublishError> for SendError {
    fn from(error: PublishError) -> Self {
        let text = error.to_string();
        match error {
            PublishError::Unwritable(_) => Self::Refused(text),
            PublishError::Rejected => Self::Rejected(text),
            PublishError::Refused(_) => Self::RefusedOne(text),
            PublishError::Lost(error) => Self::Lost(error.to_string()),
        }
    }
}
