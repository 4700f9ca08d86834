//! The connection that publishes: events of clients, and markers.

use std::{ops::Deref, sync::Arc};

use amqp::{ConfirmChannel, PublishError};
use broker::BrokerError;
use events::Event;
use tokio::sync::Mutex;

use super::connection::{BrokerConnection, ChannelSlot};
use crate::error::{Refusal, refusal, soft_error};

/// What came of an event.
#[derive(Debug)]
pub(crate) enum Published {
    /// It is where it has to be.
    Stored,
    /// Events have nowhere to go: the exchange is missing. Those that were on their way with it may be stored.
    NoExchange,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PublishConnection {
    connection: Arc<BrokerConnection>,
    events: Mutex<ConfirmChannel>,
    /// That of the channel of all events, if the broker's limit left one.
    _place: Option<ChannelSlot>,
}

impl PublishConnection {
    /// Prepares a connection: the exchange exists when this returns.
    pub(super) async fn open(connection: BrokerConnection) -> Result<Self, lapin::Error> {
        let channel = ConfirmChannel::prepare(connection.channel().await?).await?;
        let connection = Arc::new(connection);
        let place = ChannelSlot::take(Arc::clone(&connection));
        Ok(Self { events: Mutex::new(channel), connection, _place: place })
    }

    /// Returns the connection, to take a place on it.
    pub(super) const fn shared(&self) -> &Arc<BrokerConnection> {
        &self.connection
    }

    /// Publishes an event and waits for the confirm.
    pub(crate) async fn publish(&self, event: &Event) -> Result<Published, BrokerError> {
        // What is written now would lie in the library's queue for as long as the broker does not read, also when the
        // publisher has long given up: without a bound.
        if self.connection.is_blocked() {
            return Err(BrokerError::Blocked);
        }
        let channel = self.events_channel().await.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let published = async { channel.publish(event).await?.stored().await };
        let refused = |reason| BrokerError::Refused { attempted: "store an event", reason };
        match published.await {
            Ok(()) => Ok(Published::Stored),
            Err(PublishError::Rejected) => Err(BrokerError::Rejected),
            Err(error @ (PublishError::Unwritable(_) | PublishError::Refused(_))) => Err(refused(error.to_string())),
            Err(PublishError::Lost(error)) if refusal(&error) == Some(Refusal::NoExchange) => Ok(Published::NoExchange),
            // The broker closed the channel: over this event, or over one that was published beside it.
            Err(PublishError::Lost(error)) if soft_error(&error).is_some() => Err(refused(error.to_string())),
            Err(PublishError::Lost(error)) => Err(BrokerError::Unavailable(error.to_string())),
        }
    }

    /// Returns the channel of all events; opens another one if the server closed it over some event.
    async fn events_channel(&self) -> Result<ConfirmChannel, lapin::Error> {
        let mut channel = self.events.lock().await;
        if !channel.is_open() {
            self.connection.note_closed();
            // An exchange that is missing is not declared here: what is bound to it has to be bound again first.
            *channel = ConfirmChannel::reopen(self.connection.channel().await?).await?;
        }
        Ok(channel.clone())
    }
}

impl Deref for PublishConnection {
    type Target = BrokerConnection;

    fn deref(&self) -> &BrokerConnection {
        &self.connection
    }
}
