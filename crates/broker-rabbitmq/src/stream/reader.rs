//! A consumer of the stream, on a channel of its own. Dropping it closes the channel.
//!
//! What is read is acknowledged in large groups, because each acknowledgement asks the broker for as many more; but
//! none stays unacknowledged for long: RabbitMQ before 4.3 closes a channel on which a message is, after
//! `consumer_timeout`.

use std::time::Duration;

use amqp::{message, names, short_string};
use broker::BrokerError;
use events::Event;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use lapin::{
    Channel, Consumer,
    message::Delivery as Message,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::Instant;
use tracing::debug;

use super::{
    super::{
        call::in_time,
        connections::{ChannelSlot, OwnChannel},
    },
    queue::not_found_is_transient,
};

/// A message that was read is acknowledged after so long, though few came after it. The broker's `consumer_timeout` is
/// 30 min, and an operator can set it to a minute.
const ACK_AFTER: Duration = Duration::from_secs(5);

/// The most bytes of a consumer's tag: an AMQP short string.
const MAX_TAG: usize = 255;

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// With the oldest message that is kept.
    Oldest,
    /// With the first message that has this offset or a higher one.
    At(u64),
    /// With the first of those that were stored last, together.
    Newest,
}

/// A message of the stream.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) offset: u64,
    /// The lowest offset that it could have. What is between the two was never there, or is gone.
    pub(super) expected: u64,
    /// It is a gateway's own, and no event.
    pub(super) control: bool,
    pub(super) event: Event,
}

impl Stored {
    /// Tells whether something may be missing before it, and from an offset on.
    pub(super) const fn is_after_gap(&self, from: u64) -> bool {
        self.offset > self.expected && self.offset > from
    }
}

/// See the module.
pub(super) struct Reader {
    channel: OwnChannel,
    consumer: Consumer,
    /// No message can have a lower offset.
    next: u64,
    put_back: Option<Stored>,
    unacked: u16,
    /// The message that was read last.
    last_tag: u64,
    /// When the oldest message was read that is not acknowledged.
    unacked_since: Instant,
    /// After so many, the broker is told to send more: well before it runs out of what it may send.
    ack_every: u16,
    /// Kept here, so that a reader who is cancelled neither forgets it nor sends it twice: the broker closes a channel
    /// on which a message is acknowledged again.
    acking: Option<BoxFuture<'static, Result<(), lapin::Error>>>,
    ended: Option<BrokerError>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("next", &self.next).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a channel and consumes, with so many messages on their way at most; the broker's operator sees `name` as
    /// the consumer's. A dropped call keeps nothing open.
    pub(super) async fn open(slot: ChannelSlot, start: Start, name: &str, prefetch: u16) -> Result<Self, BrokerError> {
        let opening = async {
            let channel = slot.open().await?;
            let consumer = consume(&channel, start, name, prefetch).await;
            Ok(not_found_is_transient(consumer)?.map(|consumer| (consumer, channel)))
        };
        let (consumer, channel) = in_time("read the feed", opening).await??;
        let next = match start {
            Start::Oldest | Start::Newest => 0,
            Start::At(offset) => offset,
        };
        Ok(Self {
            channel,
            consumer,
            next,
            put_back: None,
            unacked: 0,
            last_tag: 0,
            unacked_since: Instant::now(),
            ack_every: (prefetch / 2).max(1),
            acking: None,
            ended: None,
        })
    }

    /// Tells whether it can still be read from, as far as is known without reading.
    pub(super) fn is_open(&self) -> bool {
        self.ended.is_none() && self.channel.status().connected()
    }

    /// Returns the lowest offset that the next message can have, but for one that was put back.
    pub(super) const fn next_offset(&self) -> u64 {
        self.next
    }

    /// Has the next call give this message, which was the last that it gave.
    pub(super) fn put_back(&mut self, stored: Stored) {
        self.put_back = Some(stored);
    }

    /// Waits for the next message. Cancel-safe. An error is final.
    pub(super) async fn next(&mut self) -> Result<Stored, BrokerError> {
        if let Some(stored) = self.put_back.take() {
            return Ok(stored);
        }
        // The library's stream is pending for ever once it has ended.
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        self.acked().await?;
        match self.consumer.next().await {
            Some(Ok(message)) => {
                self.count(message.delivery_tag);
                Ok(self.read(message))
            }
            Some(Err(error)) => Err(self.end(error.to_string())),
            None => Err(self.end("the feed was deleted, or its connection closed".to_owned())),
        }
    }

    /// Ends the consumer in so many words, which makes no difference but to what an operator sees: RabbitMQ goes on to
    /// count a stream's consumer whose channel is closed for minutes (seen on 3.10).
    pub(super) async fn cancel(&mut self) {
        let cancel = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        let _ = in_time("read the feed no more", cancel).await;
    }

    /// Acknowledges all that was read. Cancel-safe. An error is final.
    pub(super) async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        self.acked().await?;
        self.begin_ack();
        self.acked().await
    }

    fn count(&mut self, tag: u64) {
        self.last_tag = tag;
        if self.unacked == 0 {
            self.unacked_since = Instant::now();
        }
        self.unacked += 1;
        if self.unacked >= self.ack_every || self.unacked_since.elapsed() >= ACK_AFTER {
            self.begin_ack();
        }
    }

    fn begin_ack(&mut self) {
        if std::mem::take(&mut self.unacked) > 0 {
            let (channel, tag) = (self.channel.clone(), self.last_tag);
            let ack = async move { channel.basic_ack(tag, BasicAckOptions { multiple: true }).await };
            self.acking = Some(ack.boxed());
        }
    }

    async fn acked(&mut self) -> Result<(), BrokerError> {
        if let Some(acking) = &mut self.acking {
            let acked = acking.await;
            self.acking = None;
            acked.map_err(|error| self.end(error.to_string()))?;
        }
        Ok(())
    }

    /// Reads a message. One whose headers had to be removed has lost its offset: it gets the lowest that it can have,
    /// which is below that of the message after it.
    fn read(&mut self, message: Message) -> Stored {
        let offset = match message::header(&message.properties, names::STREAM_OFFSET) {
            Some(AMQPValue::LongLongInt(offset)) => u64::try_from(*offset).ok(),
            _ => None,
        };
        let expected = self.next;
        let offset = offset.unwrap_or(expected);
        self.next = offset.saturating_add(1);
        let control = message::control(&message).is_some();
        let event = message::read(&message.routing_key, &message.properties, message.data);
        Stored { offset, expected, control, event }
    }

    fn end(&mut self, reason: String) -> BrokerError {
        debug!(reason, "a reader of the feed was lost");
        let error = BrokerError::Unavailable(reason);
        self.ended = Some(error.clone());
        error
    }
}

async fn consume(channel: &Channel, start: Start, name: &str, prefetch: u16) -> Result<Consumer, lapin::Error> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let offset = match start {
        Start::Oldest => AMQPValue::LongString("first".into()),
        Start::Newest => AMQPValue::LongString("last".into()),
        Start::At(offset) => AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX)),
    };
    let mut arguments = FieldTable::default();
    arguments.insert(names::STREAM_OFFSET.into(), offset);
    // Of ASCII, and cut where a tag ends. A stream lets any number of consumers read it, exclusive ones, too; an
    // operator sees by the flag that no other reader shares this one.
    let tag = short_string(name.get(..MAX_TAG).unwrap_or(name)).unwrap_or_default();
    let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(names::FEED.into(), tag, exclusive, arguments).await
}
