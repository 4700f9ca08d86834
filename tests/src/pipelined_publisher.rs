//! Publishing many events to RabbitMQ, without a wait for each confirm.

use std::time::Duration;

use amqp::{AmqpUrl, PublishingConnection};
use anyhow::Context;
use events::Event;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// How many events may be published and not confirmed: enough to keep a broker busy at any moment.
const IN_FLIGHT: usize = 5000;

/// A publisher of persistent events, on one connection of its own.
#[derive(Debug)]
pub struct PipelinedPublisher {
    connection: PublishingConnection,
}

impl PipelinedPublisher {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The broker cannot be reached.
    pub async fn connect(url: &AmqpUrl) -> anyhow::Result<Self> {
        Ok(Self { connection: PublishingConnection::open(url, "pipelined publisher").await? })
    }

    /// Publishes events in order, and waits for every confirm. With a `rate` so many in a second, else as fast as they are
    /// confirmed. The next event is asked for when it is due, so it may carry the time.
    ///
    /// # Errors
    ///
    /// An event is none, or was not confirmed.
    pub async fn publish(
        &self,
        events: impl IntoIterator<Item = anyhow::Result<Event>>,
        rate: Option<u32>,
    ) -> anyhow::Result<()> {
        let mut events = events.into_iter();
        let (in_flight, mut confirmations) = mpsc::channel(IN_FLIGHT);
        let publishing = async move {
            let mut due = Instant::now();
            loop {
                if let Some(rate) = rate {
                    sleep_until(due).await;
                    due += Duration::from_secs(1) / rate;
                }
                let Some(event) = events.next() else { return anyhow::Ok(()) };
                let confirmation = self.connection.channel().publish(&event?).await?;
                in_flight.send(confirmation).await.context("the confirms should be read")?;
            }
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
    pub async fn close(self) {
        self.connection.close().await;
    }
}
