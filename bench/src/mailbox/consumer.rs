//! The bare consumer: what a program would do that reads the queue itself, without any gateway.
//!
//! The same queues, prefetch, exclusiveness and number of connections as the gateway has, and a channel for each queue.
//! A burst is acknowledged as a whole, when the next is asked for, as a client of the gateway confirms a batch.

use amqp::{connection_properties, names};
use anyhow::{Context, ensure};
use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Connection, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};

use super::{
    reader::Reader,
    stage::{Client, for_each},
    stamp::Stamp,
};

/// The gateway's own `--window`.
const PREFETCH: u16 = 64;

/// The gateway opens two connections, and one more for every thousand mailboxes.
const CLIENTS_PER_CONNECTION: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(crate) struct BareConsumer {
    channel: Channel,
    consumer: Consumer,
    last: Option<u64>,
}

/// Connects and consumes the mailboxes of all clients; the connections are to be closed after use.
pub(crate) async fn open(url: &str, clients: &[Client]) -> anyhow::Result<(Vec<Connection>, Vec<BareConsumer>)> {
    let mut connections = Vec::new();
    for _ in 0..2 + clients.len() / CLIENTS_PER_CONNECTION {
        connections.push(Connection::connect(url, connection_properties("bench bare")).await?);
    }
    let consumers = for_each(clients, async |index, client| {
        BareConsumer::open(&connections[index % connections.len()], client).await
    });
    let consumers = consumers.await?;
    Ok((connections, consumers))
}

/// Closes the connections, and with them every consumer.
pub(crate) async fn close(connections: Vec<Connection>) -> anyhow::Result<()> {
    for connection in connections {
        connection.close(200, "done".into()).await?;
    }
    Ok(())
}

impl BareConsumer {
    async fn open(connection: &Connection, client: &Client) -> anyhow::Result<Self> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let (queue, arguments) = (names::mailbox(&client.id), FieldTable::default());
        let consumer = channel.basic_consume(queue, "".into(), exclusive, arguments).await;
        Ok(Self { consumer: consumer.context("cannot consume a mailbox")?, channel, last: None })
    }

    async fn confirm(&mut self) -> anyhow::Result<()> {
        if let Some(tag) = self.last.take() {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
        }
        Ok(())
    }
}

impl Reader for BareConsumer {
    async fn burst(&mut self, arrived: &mut Vec<Stamp>) -> anyhow::Result<()> {
        self.confirm().await?;
        let mut next = self.consumer.next().await;
        loop {
            let delivery = next.context("the consumer ended")??;
            arrived.push(serde_json::from_slice(&delivery.data).context("a payload is JSON")?);
            self.last = Some(delivery.delivery_tag);
            match self.consumer.next().now_or_never() {
                Some(more) => next = more,
                None => return Ok(()),
            }
        }
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        self.confirm().await?;
        ensure!(self.consumer.next().now_or_never().is_none(), "more came than was published");
        Ok(())
    }
}
