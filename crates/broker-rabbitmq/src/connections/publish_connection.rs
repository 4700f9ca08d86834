//! The connection that publishes: events of clients, and markers.

use std::{future::poll_fn, ops::Deref, sync::Arc, task::Poll, time::Duration};

use amqp::{ConfirmChannel, PublishError, names};
use broker::BrokerError;
use events::Event;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};
use tracing::warn;

use super::connection::{BrokerConnection, ChannelSlot};
use crate::error::{Refusal, refusal, soft_error};

/// How long the stream of feeds is waited for. After kills of RabbitMQ 3.10 it came within 0.6 s; where its node is down, it
/// does not come.
const STREAM_WAIT: Duration = Duration::from_secs(3);

/// The pause after the first look for it; it doubles.
const STREAM_PAUSE: Duration = Duration::from_millis(50);

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

    /// Waits for the stream of feeds, if that is away: a node that starts takes connections before its streams are there,
    /// and confirms what is published until then, although no stream gets it.
    pub(super) async fn await_stream(&self) {
        let (give_up, mut pause) = (Instant::now() + STREAM_WAIT, STREAM_PAUSE);
        while self.is_stream_away(give_up).await {
            if Instant::now() + pause >= give_up {
                warn!("the stream of feeds is away; feeds miss what is published until it is back");
                return;
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// Tells whether the stream exists and cannot be reached.
    async fn is_stream_away(&self, give_up: Instant) -> bool {
        let Some(slot) = ChannelSlot::take(Arc::clone(&self.connection)) else { return false };
        let looking = async {
            let channel = slot.open().await?;
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(names::FEED.into(), passive, FieldTable::default()).await
        };
        matches!(timeout_at(give_up, looking).await, Ok(Err(error)) if refusal(&error) == Some(Refusal::QueueAway))
    }

    /// Returns the connection, to take a place on it.
    pub(super) const fn shared(&self) -> &Arc<BrokerConnection> {
        &self.connection
    }

    /// Publishes events in order, and waits for their confirms; notes what became of each as soon as it is known.
    pub(crate) async fn publish_all(&self, events: &[Event], outcomes: &mut [Option<Result<Published, BrokerError>>]) {
        // What is written now would lie in the library's queue for as long as the broker does not read, also when the
        // publisher has long given up: without a bound.
        let channel = if self.is_blocked() {
            Err(BrokerError::Blocked)
        } else {
            self.events_channel().await.map_err(|error| BrokerError::Unavailable(error.to_string()))
        };
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => return outcomes.fill_with(|| Some(Err(error.clone()))),
        };
        let mut answers = FuturesUnordered::new();
        for (n, event) in events.iter().enumerate() {
            let mut answer = Box::pin(publish_on(&channel, event).map(move |outcome| (n, outcome)));
            // The first poll decides the order; the set of answers promises none. To wait until each event is written would
            // cost a change of threads per event.
            match poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await {
                Poll::Ready((n, outcome)) => outcomes[n] = Some(outcome),
                Poll::Pending => answers.push(answer),
            }
        }
        while let Some((n, outcome)) = answers.next().await {
            outcomes[n] = Some(outcome);
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

async fn publish_on(channel: &ConfirmChannel, event: &Event) -> Result<Published, BrokerError> {
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

impl Deref for PublishConnection {
    type Target = BrokerConnection;

    fn deref(&self) -> &BrokerConnection {
        &self.connection
    }
}
