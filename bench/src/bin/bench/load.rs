//! Publishing, the same for both sides: persistent events, confirms pipelined, on one connection of its own.

use std::{ops::Range, time::Duration};

use amqp::{AmqpUrl, PublishingConnection};
use anyhow::Context;
use events::{ContentType, Event};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    stage::Client,
    stamp::{Clock, Stamp},
};

/// How many events may be published and not confirmed: enough to keep the broker busy at any moment.
const IN_FLIGHT: usize = 2000;

/// A publisher.
#[derive(Debug)]
pub(crate) struct Load {
    connection: PublishingConnection,
}

impl Load {
    /// Connects.
    pub(crate) async fn connect(url: &AmqpUrl) -> anyhow::Result<Self> {
        Ok(Self { connection: PublishingConnection::open(url, "bench publisher").await? })
    }

    /// Publishes the events with these numbers for each client, the clients taking turns, and waits for every confirm.
    ///
    /// With a `rate` so many in a second over all clients, else as fast as they are confirmed.
    pub(crate) async fn publish(
        &self,
        clients: &[Client],
        numbers: Range<u32>,
        rate: Option<u32>,
        clock: Clock,
    ) -> anyhow::Result<()> {
        let (in_flight, mut confirmations) = mpsc::channel(IN_FLIGHT);
        let started = Instant::now();
        let publishing = async move {
            let mut due = Duration::ZERO;
            for number in numbers {
                for (client, to) in (0..).zip(clients) {
                    if let Some(rate) = rate {
                        sleep_until(started + due).await;
                        due += Duration::from_secs(1) / rate;
                    }
                    let payload = Stamp { client, number, published: clock.micros() }.json();
                    let event = Event::new(to.topic.clone(), Some(ContentType::json()), payload);
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

    /// Disconnects.
    pub(crate) async fn close(self) {
        self.connection.close().await;
    }
}
