//! A Lease: an exclusive consumer on a channel of its own.
//!
//! Release is always the same three steps, each awaited: cancel, so that nothing new comes; nack with requeue, so that
//! everything goes back to its old place; close, whose answer says that it has. In any other order the broker would hand
//! messages to a consumer that is leaving, or newer messages to the next one first.

use std::{sync::Arc, time::Duration};

use events::{
    ClientId,
    amqp::{message, names, short_string},
};
use futures_util::StreamExt;
use lapin::{
    Channel, Consumer, Queue,
    message::Delivery as Message,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
        QueueDeclareOptions,
    },
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    bind, doorbell,
    error::{Failure, soft_error},
    links::{LeaseLink, Occupied},
};
use crate::broker::{BrokerError, Content, Delivery, Lease, LeaseEnded, LeaseRequest};

/// How long the three steps may take before the whole connection is given up, which does the same by force.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of one try to open a Lease.
pub(super) enum Attempt {
    Opened(Box<AmqpLease>),
    /// Somebody else consumes the queue.
    Held,
    /// The queue is gone again.
    Vanished,
}

/// See the module.
#[derive(Debug)]
pub struct AmqpLease {
    link: Occupied,
    channel: Channel,
    consumer: Consumer,
    counted: u32,
    window: u16,
    ended: Option<LeaseEnded>,
}

/// Opens the Lease of a mailbox that exists.
pub(super) async fn open(link: Arc<LeaseLink>, request: &LeaseRequest) -> Result<Attempt, BrokerError> {
    let link = Occupied::new(link);
    let failed = |error| BrokerError::from(Failure("open a lease", error));
    let channel = link.channel().await.map_err(failed)?;
    match consume(&channel, request).await {
        Ok(Some((consumer, counted))) => Ok(Attempt::Opened(Box::new(AmqpLease {
            link,
            channel,
            consumer,
            counted,
            window: request.window,
            ended: None,
        }))),
        Ok(None) => {
            channel.close(200, "held by another".into()).await.map_err(failed)?;
            Ok(Attempt::Held)
        }
        Err(error) => {
            link.note_if_closed(&channel);
            match soft_error(&error) {
                Some(AMQPSoftError::ACCESSREFUSED) if error.to_string().contains("exclusive") => Ok(Attempt::Held),
                Some(AMQPSoftError::NOTFOUND) => Ok(Attempt::Vanished),
                _ => Err(failed(error)),
            }
        }
    }
}

/// Binds and consumes; `None` if somebody else consumes already.
async fn consume(channel: &Channel, request: &LeaseRequest) -> Result<Option<(Consumer, u32)>, lapin::Error> {
    let queue = look(channel, &request.client).await?;
    if queue.consumer_count() > 0 {
        return Ok(None);
    }
    bind(channel, &request.client, &request.topics).await?;
    channel.basic_qos(request.window, BasicQosOptions::default()).await?;
    let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    let tag = consumer_tag(request);
    let consumer =
        channel.basic_consume(names::mailbox(&request.client), tag, exclusive, FieldTable::default()).await?;
    Ok(Some((consumer, queue.message_count())))
}

/// Looks at a mailbox; the same resets the clock of its expiry.
///
/// Passive: an active declare would silently make a new mailbox, without a marker, of one that expired a moment ago.
pub(super) async fn look(channel: &Channel, client: &ClientId) -> Result<Queue, lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(names::mailbox(client), passive, FieldTable::default()).await
}

/// Shows an operator who polls and from where: `{client}@{id of the event seen last, or "start"}`.
fn consumer_tag(request: &LeaseRequest) -> ShortString {
    let from = request.last_seen.as_ref().map_or("start", |id| id.as_str());
    let tag = format!("{}@{from}", request.client);
    // 128 bytes of client, 80 of id: always short enough; the check is against a change of those limits.
    short_string(&tag).unwrap_or_default()
}

impl AmqpLease {
    /// Turns a message into a Delivery; `None` for a probe, which is nobody's business.
    async fn read(&self, message: Message) -> Result<Option<Delivery>, LeaseEnded> {
        let content = match message::header(&message.properties, names::CONTROL) {
            Some(AMQPValue::LongString(kind)) if kind.as_bytes() == doorbell::PROBE.as_bytes() => {
                self.ack(message.delivery_tag, false).await?;
                return Ok(None);
            }
            Some(AMQPValue::LongString(kind)) if kind.as_bytes() == doorbell::MARKER.as_bytes() => {
                let event = message::read(&message.routing_key, &message.properties, Vec::new());
                Content::Marker(event.id)
            }
            _ => Content::Event(message::read(&message.routing_key, &message.properties, message.data)),
        };
        Ok(Some(Delivery { tag: message.delivery_tag, redelivered: message.redelivered, content }))
    }

    async fn ack(&self, tag: u64, multiple: bool) -> Result<(), LeaseEnded> {
        self.channel.basic_ack(tag, BasicAckOptions { multiple }).await.map_err(|error| {
            debug!(%error, "an acknowledgement could not be written");
            LeaseEnded::BrokerLost
        })
    }

    async fn give_back(&self) -> Result<(), lapin::Error> {
        self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await?;
        self.channel.basic_nack(0, BasicNackOptions { multiple: true, requeue: true }).await?;
        self.channel.close(200, "released".into()).await
    }
}

impl Lease for AmqpLease {
    fn counted(&self) -> u32 {
        self.counted
    }

    fn window(&self) -> u16 {
        self.window
    }

    async fn next(&mut self) -> Result<Delivery, LeaseEnded> {
        // The library's stream is pending for ever once it has ended.
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        loop {
            let ended = match self.consumer.next().await {
                Some(Ok(message)) => match self.read(message).await? {
                    Some(delivery) => return Ok(delivery),
                    None => continue,
                },
                // A consumer ends without an error when its queue is deleted, and when its connection is closed by us.
                None if self.channel.status().connected() => LeaseEnded::MailboxGone,
                None => LeaseEnded::BrokerLost,
                Some(Err(error)) => {
                    debug!(%error, "a lease was lost");
                    LeaseEnded::BrokerLost
                }
            };
            self.ended = Some(ended);
            return Err(ended);
        }
    }

    async fn confirm(&mut self, tag: u64) -> Result<(), LeaseEnded> {
        self.ack(tag, true).await
    }

    async fn release(self) {
        if !self.channel.status().connected() {
            self.link.note_if_closed(&self.channel);
            return;
        }
        match timeout(RELEASE_TIMEOUT, self.give_back()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(%error, "a release met a channel that was closed already");
                self.link.note_if_closed(&self.channel);
            }
            Err(_) => {
                warn!("a release got no answer for {} s; replacing its connection", RELEASE_TIMEOUT.as_secs());
                self.link.replace().await;
            }
        }
    }
}
