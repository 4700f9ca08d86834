//! The connection that publishes: events of clients, probes and markers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool_lapin::Object;
use events::{
    Event,
    amqp::{ConfirmChannel, PublishError},
};
use lapin::{Channel, options::ConfirmSelectOptions};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use crate::broker::BrokerError;

/// How many questions can be asked at once.
const PRIVATE_CHANNELS: usize = 16;

/// The AMQP library remembers every declaration of a channel, some 700 bytes each, so a channel is renewed.
const USES_OF_A_CHANNEL: u32 = 1000;

/// See the module.
#[derive(Debug)]
pub(in crate::broker::amqp) struct PublishLink {
    connection: Object,
    events: Mutex<ConfirmChannel>,
    private: [Arc<Mutex<Option<PrivateChannel>>>; PRIVATE_CHANNELS],
    turn: AtomicUsize,
}

/// A channel in confirm mode with at most one message in flight: with more, the library can pin a returned message on
/// the wrong one. Whoever took it gives it back when it is done; if not, it is closed.
#[derive(Debug)]
struct PrivateChannel {
    channel: Channel,
    uses: u32,
}

/// The exclusive use of a private channel.
pub(in crate::broker::amqp) struct PrivateUse {
    slot: OwnedMutexGuard<Option<PrivateChannel>>,
    taken: PrivateChannel,
}

impl PrivateUse {
    pub(in crate::broker::amqp) const fn channel(&self) -> &Channel {
        &self.taken.channel
    }

    /// Says that nothing is in flight on the channel any more.
    pub(in crate::broker::amqp) fn give_back(mut self) {
        self.taken.uses += 1;
        if self.taken.uses < USES_OF_A_CHANNEL {
            *self.slot = Some(self.taken);
        }
    }
}

impl PublishLink {
    /// Prepares a connection: the exchange exists when this returns.
    pub(super) async fn open(connection: Object) -> Result<Self, lapin::Error> {
        let events = Mutex::new(ConfirmChannel::open(&connection).await?);
        Ok(Self { connection, events, private: Default::default(), turn: AtomicUsize::new(0) })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Tells whether the broker takes no messages now, for want of memory or disk (RabbitMQ's `connection.blocked`).
    pub(in crate::broker::amqp) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
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

    /// Waits for a private channel.
    pub(in crate::broker::amqp) async fn private_channel(&self) -> Result<PrivateUse, lapin::Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % PRIVATE_CHANNELS;
        let mut slot = Arc::clone(&self.private[turn]).lock_owned().await;
        let taken = if let Some(private) = slot.take().filter(|private| private.channel.status().connected()) {
            private
        } else {
            let channel = self.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            PrivateChannel { channel, uses: 0 }
        };
        Ok(PrivateUse { slot, taken })
    }

    pub(super) async fn close(&self) {
        let _ = timeout(Duration::from_secs(1), self.connection.close(200, "closing".into())).await;
    }
}
