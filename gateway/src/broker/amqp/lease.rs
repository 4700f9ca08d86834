//! A Lease: an exclusive consumer on a channel of its own.
//!
//! Release is always the same two steps: nack with requeue, so that everything goes back to its old place; then close, whose
//! answer says that it has. The consumer is not cancelled before them. A queue without a consumer looks free to another
//! gateway, and while its oldest messages are still unacknowledged here, that gateway would be handed newer ones first. What
//! the broker hands to the consumer between the two steps, the close requeues in order once more.

use std::{sync::Arc, time::Duration};

use events::amqp::{message, names, short_string};
use futures_util::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery as Message,
    options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    error::{Failure, soft_error},
    links::{Link, Occupied},
    queue,
};
use crate::broker::{BrokerError, Content, Delivery, Lease, LeaseEnded, LeaseRequest};

/// How long both steps may take before the whole connection is given up, which does the same by force.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of one try to open a Lease.
pub(super) enum Attempt {
    Opened(Box<AmqpLease>),
    /// Somebody else consumes the queue.
    Held,
    /// The queue is gone again.
    Vanished,
    /// The queue exists with another expiry than was declared.
    OtherExpiry,
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

/// Opens the Lease of a mailbox: of one that exists, or with `declare`, its expiry, of whatever that makes.
pub(super) async fn open(
    link: Arc<Link>,
    request: &LeaseRequest,
    declare: Option<Duration>,
) -> Result<Attempt, BrokerError> {
    let link = Occupied::new(link);
    let failed = |error| BrokerError::from(Failure("open a lease", error));
    let channel = link.channel().await.map_err(failed)?;
    match consume(&channel, request, declare).await {
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
                Some(AMQPSoftError::ACCESSREFUSED) if error.to_string().contains("in exclusive use") => {
                    Ok(Attempt::Held)
                }
                Some(AMQPSoftError::NOTFOUND) => Ok(Attempt::Vanished),
                Some(AMQPSoftError::PRECONDITIONFAILED) if declare.is_some() => Ok(Attempt::OtherExpiry),
                _ => Err(failed(error)),
            }
        }
    }
}

/// Binds and consumes; `None` if somebody else consumes already.
async fn consume(
    channel: &Channel,
    request: &LeaseRequest,
    declare: Option<Duration>,
) -> Result<Option<(Consumer, u32)>, lapin::Error> {
    // Either way the clock of the mailbox's expiry starts anew. Passive where a last seen has to be honoured: an active
    // declare would silently make a new mailbox, without a marker, of one that expired a moment ago.
    let mailbox = match declare {
        Some(expiry) => queue::declare(channel, &request.client, expiry).await?,
        None => queue::look(channel, &request.client).await?,
    };
    if mailbox.consumer_count() > 0 {
        return Ok(None);
    }
    queue::bind(channel, &request.client, &request.topics).await?;
    channel.basic_qos(request.window, BasicQosOptions::default()).await?;
    let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    let (name, tag) = (names::mailbox(&request.client), consumer_tag(request));
    let consumer = channel.basic_consume(name, tag, exclusive, FieldTable::default()).await?;
    Ok(Some((consumer, mailbox.message_count())))
}

/// Shows an operator who polls and from where: `{client}@{id of the event seen last, or "start"}`.
fn consumer_tag(request: &LeaseRequest) -> ShortString {
    let from = request.last_seen.as_ref().map_or("start", |id| id.as_str());
    let tag = format!("{}@{from}", request.client);
    // 128 bytes of client, 80 of id: always short enough; the check is against a change of those limits.
    short_string(&tag).unwrap_or_default()
}

fn read(message: Message) -> Delivery {
    let control = message::header(&message.properties, names::CONTROL);
    let is_marker = matches!(control, Some(AMQPValue::LongString(kind)) if kind.as_bytes() == queue::MARKER.as_bytes());
    let event = message::read(&message.routing_key, &message.properties, message.data);
    let content = if is_marker { Content::Marker(event.id) } else { Content::Event(event) };
    Delivery { tag: message.delivery_tag, redelivered: message.redelivered, content }
}

impl AmqpLease {
    async fn give_back(&self) -> Result<(), lapin::Error> {
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
        let ended = match self.consumer.next().await {
            Some(Ok(message)) => return Ok(read(message)),
            // A consumer ends without an error when its queue is deleted, and when its connection is closed by us.
            None if self.channel.status().connected() => LeaseEnded::MailboxGone,
            None => LeaseEnded::BrokerLost,
            Some(Err(error)) => {
                debug!(%error, "a lease was lost");
                LeaseEnded::BrokerLost
            }
        };
        self.ended = Some(ended);
        Err(ended)
    }

    async fn confirm(&mut self, tag: u64) -> Result<(), LeaseEnded> {
        self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await.map_err(|error| {
            debug!(%error, "an acknowledgement could not be written");
            LeaseEnded::BrokerLost
        })
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
