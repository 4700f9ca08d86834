//! The stream queue: declaring it, binding it, and marking its end.

use std::ops::RangeInclusive;

use amqp::names;
use broker::BrokerError;
use events::{EventId, TopicPattern};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};

use super::super::{error::soft_error, options::FeedRetention};

/// The value of the control header of the message that marks the end.
const END: &str = "end";

/// Into how many segments a stream of the largest size is cut. RabbitMQ drops whole segments, never the one that it
/// writes, and its own size for one is 500 MB: of a retention below that nothing would ever go, and one above it would
/// be that coarse.
const SEGMENTS: u64 = 16;

/// The least and the most bytes of a segment: room for some events, and what RabbitMQ takes by itself.
const SEGMENT_BYTES: RangeInclusive<u64> = 4096..=500_000_000;

/// Declares the stream. Closes the channel if it exists with other arguments.
pub(super) async fn declare(
    channel: &Channel,
    retention: FeedRetention,
    replicas: Option<u8>,
) -> Result<(), lapin::Error> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(names::FEED.into(), durable, arguments(retention, replicas)).await.map(drop)
}

/// Looks whether the stream is there. Closes the channel if it is not.
pub(super) async fn find(channel: &Channel) -> Result<(), lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(names::FEED.into(), passive, FieldTable::default()).await.map(drop)
}

fn arguments(retention: FeedRetention, replicas: Option<u8>) -> FieldTable {
    let age = format!("{}s", retention.age.as_secs().max(1));
    let signed = |bytes| AMQPValue::LongLongInt(i64::try_from(bytes).unwrap_or(i64::MAX));
    let segment = (retention.bytes / SEGMENTS).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-max-age".into(), AMQPValue::LongString(age.into()));
    arguments.insert("x-max-length-bytes".into(), signed(retention.bytes));
    arguments.insert("x-stream-max-segment-size-bytes".into(), signed(segment));
    if let Some(replicas) = replicas {
        arguments.insert("x-initial-cluster-size".into(), AMQPValue::LongLongInt(replicas.into()));
    }
    arguments
}

/// Tells a stream that is away for a moment from a broker that says no: after a restart it takes connections before its
/// streams are there, and says that they are not found.
pub(super) fn not_found_is_transient<T>(
    result: Result<T, lapin::Error>,
) -> Result<Result<T, BrokerError>, lapin::Error> {
    match result {
        Err(error) if soft_error(&error) == Some(&AMQPSoftError::NOTFOUND) => {
            Ok(Err(BrokerError::Unavailable(error.to_string())))
        }
        other => other.map(Ok),
    }
}

/// Binds the stream to each topic; what it is bound to already, by whatever gateway, stays.
pub(super) async fn bind(channel: &Channel, topics: &[TopicPattern]) -> Result<(), lapin::Error> {
    for topic in topics {
        let (queue, exchange, key) = (names::FEED.into(), names::EXCHANGE.into(), topic.as_str().into());
        channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await?;
    }
    Ok(())
}

/// Writes a control message with this id straight into the stream and waits for the broker's word on it.
pub(super) async fn mark_end(channel: &Channel, id: &EventId) -> Result<Confirmation, lapin::Error> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut headers = FieldTable::default();
    headers.insert(names::CONTROL.into(), AMQPValue::LongString(END.into()));
    // A UUID: always short enough.
    let marker = BasicProperties::default().with_message_id(id.as_str().into()).with_headers(headers);
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish("".into(), names::FEED.into(), mandatory, &[], marker).await?.await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn retention_is_written_as_the_broker_reads_it() {
        let written = |age, bytes| {
            let table = arguments(FeedRetention { age, bytes }, None);
            let of = |name: &str| table.inner()[name].clone();
            (of("x-max-age"), of("x-max-length-bytes"), of("x-stream-max-segment-size-bytes"))
        };
        let expected = |age: &str, bytes, segment| {
            let age = AMQPValue::LongString(age.as_bytes().to_vec().into());
            (age, AMQPValue::LongLongInt(bytes), AMQPValue::LongLongInt(segment))
        };
        assert_eq!(written(Duration::from_hours(168), 1 << 30), expected("604800s", 1 << 30, 1 << 26));
        assert_eq!(written(Duration::from_millis(1), u64::MAX), expected("1s", i64::MAX, 500_000_000));
        assert_eq!(written(Duration::from_secs(1), 1000), expected("1s", 1000, 4096));
    }

    /// A stream that was made before is compared with the declaration, so what is not asked for must not be in it.
    #[test]
    fn replicas_are_named_where_they_are_asked_for() {
        let retention = FeedRetention { age: Duration::from_secs(1), bytes: 1000 };
        let named = |replicas| arguments(retention, replicas).inner().get("x-initial-cluster-size").cloned();
        assert_eq!((named(None), named(Some(3))), (None, Some(AMQPValue::LongLongInt(3))));
    }
}
