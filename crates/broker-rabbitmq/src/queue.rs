//! The queue that is a mailbox: looking at it, declaring it, making a new one with its marker.
//!
//! Looking is a passive declare. It closes the channel when the queue is missing, so it is asked on the administrative
//! connection, which carries no Leases and is replaced when too many of its channels are lost. (A `mandatory` message
//! that expires at once would ask without an error, but in a queue that holds messages it waits after them: it would be
//! counted, and under an operator's length limit it would push out an event.)

use std::time::Duration;

use amqp::{message::PERSISTENT, names};
use broker::expiry::spread;
use events::{ClientId, EventId};
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Queue,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

/// The value of the control header of the first message of a new mailbox.
pub(super) const MARKER: &str = "marker";

/// The same of the message that says that events may be lost which were published before it.
pub(super) const LOST: &str = "lost";

/// Looks at a mailbox; the same resets the clock of its expiry. Closes the channel if there is none.
pub(super) async fn look(channel: &Channel, client: &ClientId) -> Result<Queue, lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(names::mailbox(client), passive, FieldTable::default()).await
}

/// Declares a mailbox, which expires after so many ms without a reader. Closes the channel if it has other arguments.
///
/// The type is named, because a virtual host or a node may have another default: a quorum queue ignores exclusive
/// consumers, changes the order when it requeues, and drops what was handed out too often.
pub(super) async fn declare(
    channel: &Channel,
    client: &ClientId,
    expires_ms: Option<i64>,
) -> Result<Queue, lapin::Error> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    if let Some(expires_ms) = expires_ms {
        arguments.insert("x-expires".into(), AMQPValue::LongLongInt(expires_ms));
    }
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(names::mailbox(client), durable, arguments).await
}

/// Makes a mailbox with a marker as its first message. Two gateways that do it at once make two markers; the Lease
/// drops the second.
///
/// Both steps are written at once, so that no crash of this process comes between them.
pub(super) async fn create(channel: &Channel, client: &ClientId, expires_ms: i64) -> Result<(), lapin::Error> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (options, marker) = (BasicPublishOptions::default(), control_message(MARKER));
    let (declared, published) = tokio::join!(
        biased;
        declare(channel, client, Some(expires_ms)),
        channel.basic_publish("".into(), names::mailbox(client), options, &[], marker),
    );
    declared?;
    published?.await?;
    Ok(())
}

/// Says in a mailbox that events may be lost which were published before, and waits for the broker's word on it.
pub(super) async fn mark_lost(channel: &Channel, client: &ClientId) -> Result<Confirmation, lapin::Error> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish("".into(), names::mailbox(client), mandatory, &[], control_message(LOST)).await?.await
}

/// Returns the properties of a message that is no event. It has an id, so that a client can confirm it.
fn control_message(kind: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(names::CONTROL.into(), AMQPValue::LongString(kind.into()));
    // A UUID: always short enough.
    let id = EventId::new().as_str().into();
    BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id).with_headers(headers)
}

/// Binds a mailbox to each topic; what is bound already stays as it is. The requests are written one after the other and
/// answered in that order, without a wait for each: a mailbox that moves is bound anew, to up to 64 topics.
pub(super) async fn bind(
    channel: &Channel,
    client: &ClientId,
    topics: &[events::TopicPattern],
) -> Result<(), lapin::Error> {
    let bind = |topic: &events::TopicPattern| {
        // A TopicPattern has at most 255 bytes, so the conversion cannot panic.
        let key = topic.as_str().into();
        let (queue, exchange) = (names::mailbox(client), names::EXCHANGE.into());
        channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default())
    };
    try_join_all(topics.iter().map(bind)).await.map(drop)
}

/// Returns the argument `x-expires`, equal on every gateway, because the arguments of a queue must be.
pub(super) fn expires_ms(client: &ClientId, expiry: Duration) -> i64 {
    let millis = spread(expiry, client).as_millis();
    // RabbitMQ takes 1 ms to about 49 days (2³² − 1 ms).
    i64::try_from(millis.clamp(1, u128::from(u32::MAX))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_stays_within_what_the_broker_takes() {
        let of = |expiry| expires_ms(&"x".parse().unwrap(), expiry);
        assert_eq!(of(Duration::from_secs(u64::from(u32::MAX))), i64::from(u32::MAX));
        assert_eq!(of(Duration::ZERO), 1);
    }
}
