//! Whether a mailbox exists, and making one.
//!
//! The question is a message: published `mandatory` through the default exchange it is returned if the queue is missing;
//! with an expiration of 0 it vanishes at once if the queue is there, or is handed to a consumer that drops it. So no
//! channel is closed by the question. While the broker takes no messages, for want of memory or disk, it is asked in
//! the way that costs a channel instead, because then reading is what helps.

use std::time::Duration;

use events::{ClientId, EventId, amqp::names};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, QueueDeclareOptions},
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    CALL_TIMEOUT,
    error::{Failure, soft_error},
    lease::look,
    links::{LeaseLink, Links},
};
use crate::broker::BrokerError;

/// The value of the control header of a question.
pub(super) const PROBE: &str = "probe";

/// The value of the control header of the first message of a new mailbox.
pub(super) const MARKER: &str = "marker";

/// `delivery_mode` of a message that the broker keeps on disk.
const PERSISTENT: u8 = 2;

/// Asks whether a mailbox exists.
pub(super) async fn exists(links: &Links, client: &ClientId) -> Result<bool, BrokerError> {
    let failed = |error| BrokerError::from(Failure("look for a mailbox", error));
    let link = links.publishing()?;
    if link.is_blocked() {
        return ask_by_declare(&*links.lease_link().await?, client).await.map_err(failed);
    }
    let asking = async {
        let private = link.private_channel().await?;
        let properties = control(PROBE).with_expiration("0".into());
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let queue = names::mailbox(client);
        let confirm = private.channel().basic_publish("".into(), queue, mandatory, &[], properties).await?;
        let exists = match confirm.await? {
            Confirmation::Ack(returned) => returned.is_none(),
            // A full queue that refuses messages is a queue.
            Confirmation::Nack(_) | Confirmation::NotRequested => true,
        };
        private.give_back();
        Ok(exists)
    };
    match timeout(CALL_TIMEOUT, asking).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(BrokerError::Unavailable("no answer while looking for a mailbox".to_owned())),
    }
}

async fn ask_by_declare(link: &LeaseLink, client: &ClientId) -> Result<bool, lapin::Error> {
    let channel = link.channel().await?;
    match look(&channel, client).await {
        Ok(_) => {
            channel.close(200, "done".into()).await?;
            Ok(true)
        }
        Err(error) => {
            link.note_if_closed(&channel);
            if matches!(soft_error(&error), Some(AMQPSoftError::NOTFOUND)) { Ok(false) } else { Err(error) }
        }
    }
}

/// Creates a mailbox with a marker as its first message. Two gateways that do it at once make two markers.
///
/// Both steps are written at once, so that no crash of this process comes between them.
pub(super) async fn create(links: &Links, client: &ClientId, expiry: Duration) -> Result<(), BrokerError> {
    let failed = |error| BrokerError::from(Failure("create a mailbox", error));
    let link = links.publishing()?;
    let creating = async {
        let private = link.private_channel().await?;
        let channel = private.channel();
        let id = EventId::new();
        // A UUID: always short enough.
        let properties = control(MARKER).with_delivery_mode(PERSISTENT).with_message_id(id.as_str().into());
        let options = BasicPublishOptions::default();
        let (declared, published) = tokio::join!(
            biased;
            declare(channel, client, expiry),
            channel.basic_publish("".into(), names::mailbox(client), options, &[], properties),
        );
        match declared {
            Ok(()) => published?.await?,
            // Somebody else created it a moment ago, with another expiry: it exists, and keeps that.
            Err(error) if is_mismatch(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        private.give_back();
        Ok(())
    };
    match timeout(CALL_TIMEOUT, creating).await {
        Ok(created) => created.map_err(failed),
        Err(_) => Err(BrokerError::Unavailable("no answer while creating a mailbox".to_owned())),
    }
}

/// Declares a mailbox with the arguments that this gateway gives to new ones.
pub(super) async fn declare(channel: &Channel, client: &ClientId, expiry: Duration) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(expires_ms(client, expiry)));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(names::mailbox(client), durable, arguments).await?;
    Ok(())
}

/// Tells whether a declaration failed because the queue exists with other arguments.
pub(super) fn is_mismatch(error: &lapin::Error) -> bool {
    matches!(soft_error(error), Some(AMQPSoftError::PRECONDITIONFAILED))
}

/// Spreads the expiry by ±10 %, so that mailboxes which were left together do not expire together; equal on every
/// gateway, because the arguments of a queue must be.
fn expires_ms(client: &ClientId, expiry: Duration) -> i64 {
    let share = f64::from(crc32fast::hash(client.as_str().as_bytes())) / f64::from(u32::MAX);
    let millis = expiry.mul_f64(0.9 + 0.2 * share).as_millis();
    // RabbitMQ takes 1 ms to about 49 days (2³² − 1 ms).
    i64::try_from(millis.clamp(1, u128::from(u32::MAX))).unwrap_or(i64::MAX)
}

fn control(kind: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(names::CONTROL.into(), AMQPValue::LongString(kind.into()));
    BasicProperties::default().with_headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_spread_but_the_same_for_a_client_everywhere() {
        let day = Duration::from_hours(24);
        let of = |client: &str| expires_ms(&client.parse().unwrap(), day);
        assert_eq!(of("alice"), of("alice"));
        let all: Vec<i64> = (0..1000).map(|n| of(&format!("client-{n}"))).collect();
        let (low, high) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!((77_760_000..79_000_000).contains(low), "{low}");
        assert!((94_000_000..=95_040_000).contains(high), "{high}");
        assert_eq!(expires_ms(&"x".parse().unwrap(), Duration::from_secs(u64::from(u32::MAX))), i64::from(u32::MAX));
    }
}
