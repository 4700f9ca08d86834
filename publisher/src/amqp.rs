//! Publishing straight to the broker.
//!
//! One connection with one channel, which keeps events in order however many are in flight. The broker closes it over
//! an event that it refuses, and does not say over which.

use std::time::Duration;

use amqp::{self, AmqpUrl, PublishError, PublishingConnection};
use events::Event;
use tokio::time::timeout;

use crate::{
    outbox::Concurrency,
    source::Order,
    transport::{ConnectError, Link, SendError, Transport},
};

/// What the broker's operator sees.
const CONNECTION_NAME: &str = "postern publisher";

/// How long to say goodbye to the broker; everything is confirmed by then, so it is only a courtesy.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

impl Transport for AmqpUrl {
    type Link = PublishingConnection;

    const ADVICE: &'static str = "start the broker or name it with --amqp-url";

    fn concurrency(&self, order: Order) -> Concurrency {
        match order {
            Order::Source | Order::Topic => Concurrency::Free,
            // What is not on its way yet can still be replaced by something newer.
            Order::Newest => Concurrency::Never,
        }
    }

    async fn connect(&self) -> Result<PublishingConnection, ConnectError> {
        PublishingConnection::open(self, CONNECTION_NAME).await.map_err(|error| match error {
            amqp::ConnectError::Refused(_) => ConnectError::Refused(error.to_string()),
            amqp::ConnectError::NoExchange(_) | amqp::ConnectError::Unreachable(_) => {
                ConnectError::Unreachable(error.to_string())
            }
        })
    }
}

impl Link for PublishingConnection {
    async fn send(&self, event: Event) -> Result<(), SendError> {
        let published = async { self.channel().publish(&event).await?.stored().await };
        published.await.map_err(SendError::from)
    }

    fn is_open(&self) -> bool {
        self.channel().is_open()
    }

    fn blocked_reason(&self) -> Option<&'static str> {
        self.is_blocked().then_some("the broker takes nothing now, it is out of memory or disk")
    }

    async fn close(self) {
        let _ = timeout(CLOSE_LIMIT, PublishingConnection::close(self)).await;
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
