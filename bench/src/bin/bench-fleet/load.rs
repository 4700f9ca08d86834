//! Publishing at a steady pace: persistent events, confirms pipelined, on one connection of its own.

use std::time::Duration;

use amqp::{AmqpUrl, PublishingConnection};
use anyhow::Context;
use events::{ContentType, Event};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::client::Client;

/// How many events may be published and not confirmed.
const IN_FLIGHT: usize = 2000;

/// The payload of an event.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The number of the event among those of its client.
    pub(crate) number: u32,
    /// When it was published, in microseconds of the round.
    pub(crate) published: u64,
}

/// A publisher.
pub(crate) struct Load {
    connection: PublishingConnection,
}

impl Load {
    /// Connects.
    pub(crate) async fn connect(url: &AmqpUrl) -> anyhow::Result<Self> {
        Ok(Self { connection: PublishingConnection::open(url, "bench publisher").await? })
    }

    /// Publishes so many events for each client, the clients taking turns, so many in a second over all of them, and
    /// waits for every confirm.
    pub(crate) async fn publish(
        &self,
        clients: &[Client],
        count: u32,
        rate: u32,
        started: Instant,
    ) -> anyhow::Result<()> {
        let (in_flight, mut confirmations) = mpsc::channel(IN_FLIGHT);
        let publishing = async move {
            let mut due = Instant::now();
            for number in 0..count {
                for client in clients {
                    sleep_until(due).await;
                    due += Duration::from_secs(1) / rate;
                    let stamp = Stamp { number, published: micros_since(started) };
                    let payload = serde_json::to_vec(&stamp).context("a stamp is JSON")?;
                    let event = Event::new(client.topic.clone(), Some(ContentType::json()), payload);
                    let confirmation = self.connection.channel().publish(&event).await?;
                    in_flight.send(confirmation).await.context("the confirms should be read")?;
                }
            }
            anyhow::Ok(())
        };
        let confirming = async {
            while let Some(confirmation) = confirmations.recv().await {
                confirmation.stored().await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(publishing, confirming)?;
        Ok(())
    }
}

/// Returns the microseconds since then.
pub(crate) fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
