//! The broker's side of the story: what lies in a queue, who consumes it, and messages of foreign publishers.
//!
//! Asking for a queue that is missing costs a channel, and AMQP libraries recover badly from that. So questions have a
//! connection of their own, which is replaced after every "no".

use std::time::Duration;

use amqp::message;
use events::Event;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, Consumer, ErrorKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
        QueuePurgeOptions,
    },
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};
use tokio::{sync::Mutex, time::timeout};

/// What a passive declare tells of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Messages that wait for a consumer; those that are delivered and unconfirmed do not count.
    pub ready: u32,
    /// Consumers.
    pub consumers: u32,
}

/// A message as it came from the broker.
#[derive(Debug)]
pub struct Taken {
    /// The message, read as the gateway reads it.
    pub event: Event,
    /// The broker's flag: it was delivered before.
    pub redelivered: bool,
    /// Its properties, all of them.
    pub properties: BasicProperties,
}

/// A typed connection to the broker. Every method panics when the broker refuses, or is gone: after its restart connect
/// again.
pub struct Amqp {
    url: String,
    connection: Connection,
    channel: Channel,
    questions: Mutex<Option<Connection>>,
}

impl Amqp {
    /// Connects.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.unwrap_or_else(|e| panic!("cannot connect to the broker: {e}"))
    }

    /// Connects, or says why not.
    pub async fn try_connect(url: &str) -> lapin::Result<Self> {
        let connection = connection(url).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { url: url.to_owned(), connection, channel, questions: Mutex::default() })
    }

    /// Returns the state of a queue, or `None` if there is no such queue. Starts a classic queue's expiry clock again.
    pub async fn queue(&self, name: &str) -> Option<QueueState> {
        let mut questions = self.questions.lock().await;
        let asked = match questions.take() {
            Some(connection) if connection.status().connected() => connection,
            _ => connection(&self.url).await.expect("the broker should take one more connection"),
        };
        let channel = asked.create_channel().await.expect("a channel should open");
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
        let queue = unless(AMQPSoftError::NOTFOUND, queue)?;
        channel.close(200, "".into()).await.expect("a channel should close");
        *questions = Some(asked);
        Some(QueueState { ready: queue.message_count(), consumers: queue.consumer_count() })
    }

    /// Returns the number of ready messages in the mailbox of a client, or `None` if there is no mailbox.
    pub async fn messages_ready(&self, client: &str) -> Option<u32> {
        self.queue(&mailbox(client)).await.map(|queue| queue.ready)
    }

    /// Returns the number of consumers of the mailbox of a client, or `None` if there is no mailbox.
    pub async fn consumer_count(&self, client: &str) -> Option<u32> {
        self.queue(&mailbox(client)).await.map(|queue| queue.consumers)
    }

    /// Declares a durable queue with these arguments.
    pub async fn declare_queue(&self, name: &str, arguments: FieldTable) {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), durable, arguments).await.expect("a queue should be declared");
    }

    /// Binds a queue to Postern's exchange.
    pub async fn bind(&self, queue: &str, pattern: &str) {
        self.bind_to(amqp::names::EXCHANGE, queue, pattern).await;
    }

    /// Binds a queue to any exchange.
    pub async fn bind_to(&self, exchange: &str, queue: &str, pattern: &str) {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bound = self.channel.queue_bind(queue.into(), exchange.into(), pattern.into(), options, arguments).await;
        bound.expect("a queue should be bound");
    }

    /// Deletes a queue with all that is in it; a missing queue is no error.
    pub async fn delete_queue(&self, name: &str) {
        self.channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("a queue should be deleted");
    }

    /// Deletes an exchange with all of its bindings, as an operator can.
    pub async fn delete_exchange(&self, name: &str) {
        let deleted = self.channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await;
        deleted.expect("an exchange should be deleted");
    }

    /// Removes the ready messages of a queue and returns their number.
    pub async fn purge(&self, name: &str) -> u32 {
        self.channel.queue_purge(name.into(), QueuePurgeOptions::default()).await.expect("a queue should be purged")
    }

    /// Publishes any message anywhere and waits until the broker has stored it. The exchange `""` leads straight to the
    /// queue that the routing key names.
    pub async fn publish(&self, exchange: &str, routing_key: &str, properties: BasicProperties, payload: &[u8]) {
        let options = BasicPublishOptions::default();
        let confirm =
            self.channel.basic_publish(exchange.into(), routing_key.into(), options, payload, properties).await;
        let confirmation = confirm.expect("a message should be written").await.expect("the broker should answer");
        assert!(!matches!(confirmation, Confirmation::Nack(_)), "the broker refused the message");
    }

    /// Publishes a foreign message to Postern's exchange.
    pub async fn publish_foreign(&self, topic: &str, properties: BasicProperties, payload: &[u8]) {
        self.publish(amqp::names::EXCHANGE, topic, properties, payload).await;
    }

    /// Takes the first ready message out of a queue for good.
    pub async fn take(&self, queue: &str) -> Option<Taken> {
        let message = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await;
        message.expect("a queue should be readable").map(|message| Taken::of(message.delivery))
    }

    /// Consumes a queue exclusively, as a gateway's Lease does; `None` if another consumer does.
    pub async fn hold(&self, queue: &str, prefetch: u16) -> Option<Held> {
        let channel = self.connection.create_channel().await.expect("a channel should open");
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.expect("prefetch should be set");
        let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue.into(), "".into(), exclusive, FieldTable::default()).await;
        Some(Held { consumer: unless(AMQPSoftError::ACCESSREFUSED, consumer)?, channel })
    }

    /// Returns the connection, for what is missing here.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// An exclusive consumer. Dropping it cancels; [`Held::release`] waits until the queue is free.
pub struct Held {
    channel: Channel,
    consumer: Consumer,
}

impl Held {
    /// Waits for the next message, which stays unconfirmed; `None` when none comes within `patience`.
    pub async fn next(&mut self, patience: Duration) -> Option<Taken> {
        let delivery = timeout(patience, self.consumer.next()).await.ok()?;
        Some(Taken::of(delivery?.expect("the consumer should live")))
    }

    /// Confirms every message received so far.
    pub async fn confirm_all(&self) {
        // The tag 0 with "multiple" stands for all (AMQP 0-9-1, basic.ack).
        self.channel.basic_ack(0, BasicAckOptions { multiple: true }).await.expect("an ack should be written");
    }

    /// Gives everything unconfirmed back, in its old place, and frees the queue.
    pub async fn release(self) {
        self.channel.close(200, "".into()).await.expect("a channel should close");
    }
}

impl Taken {
    fn of(delivery: Delivery) -> Self {
        let event = message::read(&delivery.routing_key, &delivery.properties, delivery.data);
        Self { event, redelivered: delivery.redelivered, properties: delivery.properties }
    }
}

/// Turns this one refusal into `None`; panics at any other error.
fn unless<T>(refusal: AMQPSoftError, result: lapin::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(e) if *e.kind() == AMQPErrorKind::Soft(refusal) => None,
            _ => panic!("the broker should answer: {error}"),
        },
    }
}

async fn connection(url: &str) -> lapin::Result<Connection> {
    Connection::connect(url, amqp::connection_properties("postern-tests")).await
}

fn mailbox(client: &str) -> String {
    format!("{}{client}", amqp::names::MAILBOX_PREFIX)
}
