//! The connection that publishes: events of clients, and markers.

use std::time::Duration;

use deadpool_lapin::Object;
use events::{
    Event,
    amqp::{ConfirmChannel, PublishError},
};
use lapin::Channel;
use tokio::{sync::Mutex, time::timeout};

use crate::broker::BrokerError;

/// See the module.
#[derive(Debug)]
pub(in crate::broker::amqp) struct PublishLink {
    connection: Object,
    events: Mutex<ConfirmChannel>,
}

impl PublishLink {
    /// Prepares a connection: the exchange exists when this returns.
    pub(super) async fn open(connection: Object) -> Result<Self, lapin::Error> {
        let events = Mutex::new(ConfirmChannel::open(&connection).await?);
        Ok(Self { connection, events })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Publishes an event and waits for the confirm.
    pub(in crate::broker::amqp) async fn publish(&self, event: &Event) -> Result<(), BrokerError> {
        let channel = self.events_channel().await.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let published = async { channel.publish(event).await?.stored().await };
        published.await.map_err(|error| match error {
            PublishError::Unwritable(_) | PublishError::Refused(_) | PublishError::Rejected => {
                BrokerError::Refused { attempted: "store an event", reason: error.to_string() }
            }
            PublishError::Lost(error) => BrokerError::Unavailable(error.to_string()),
        })
    }

    /// Returns the channel of all events; opens another one if the server closed it over some event.
    async fn events_channel(&self) -> Result<ConfirmChannel, lapin::Error> {
        let mut channel = self.events.lock().await;
        if !channel.is_open() {
            *channel = ConfirmChannel::open(&self.connection).await?;
        }
        Ok(channel.clone())
    }

    /// Opens a channel for a task of its own.
    pub(in crate::broker::amqp) async fn channel(&self) -> Result<Channel, lapin::Error> {
        self.connection.create_channel().await
    }

    pub(super) async fn close(&self) {
        let _ = timeout(Duration::from_secs(1), self.connection.close(200, "closing".into())).await;
    }
}
