//! The connection that publishes: events of clients, and markers.

use std::ops::Deref;

use deadpool_lapin::Object;
use events::{
    Event,
    amqp::{ConfirmChannel, PublishError},
};
use tokio::sync::Mutex;

use super::link::Link;
use crate::broker::{BrokerError, amqp::error::soft_error};

/// See the module.
#[derive(Debug)]
pub(in crate::broker::amqp) struct PublishLink {
    link: Link,
    events: Mutex<ConfirmChannel>,
}

impl PublishLink {
    /// Prepares a connection: the exchange exists when this returns.
    pub(super) async fn open(connection: Object) -> Result<Self, lapin::Error> {
        let link = Link::new(connection);
        let prepared = async { ConfirmChannel::prepare(link.channel().await?).await };
        match prepared.await {
            Ok(channel) => Ok(Self { events: Mutex::new(channel), link }),
            Err(error) => {
                // Back in its pool it would be taken again, with one channel number less at each try.
                link.replace().await;
                Err(error)
            }
        }
    }

    /// Publishes an event and waits for the confirm.
    pub(in crate::broker::amqp) async fn publish(&self, event: &Event) -> Result<(), BrokerError> {
        // What is written now would lie in the library's queue for as long as the broker does not read, also when the
        // publisher has long given up: without a bound.
        if self.link.is_blocked() {
            return Err(BrokerError::Unavailable("it is short of memory or disk and takes no events".to_owned()));
        }
        let channel = self.events_channel().await.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let published = async { channel.publish(event).await?.stored().await };
        published.await.map_err(|error| match error {
            PublishError::Unwritable(_) | PublishError::Refused(_) | PublishError::Rejected => {
                BrokerError::Refused { attempted: "store an event", reason: error.to_string() }
            }
            // The broker closed the channel: over this event, or over one that was published beside it.
            PublishError::Lost(error) if soft_error(&error).is_some() => {
                BrokerError::Refused { attempted: "store an event", reason: error.to_string() }
            }
            PublishError::Lost(error) => BrokerError::Unavailable(error.to_string()),
        })
    }

    /// Returns the channel of all events; opens another one if the server closed it over some event.
    async fn events_channel(&self) -> Result<ConfirmChannel, lapin::Error> {
        let mut channel = self.events.lock().await;
        if !channel.is_open() {
            self.link.note_closed();
            *channel = ConfirmChannel::prepare(self.link.channel().await?).await?;
        }
        Ok(channel.clone())
    }
}

impl Deref for PublishLink {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}
