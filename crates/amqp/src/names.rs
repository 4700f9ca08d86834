//! Names of exchanges, queues and headers.

use lapin::types::ShortString;

use events::ClientId;

/// The durable topic exchange that every event goes through; the routing key is the topic.
pub const EXCHANGE: &str = "postern.events";

/// The durable direct exchange over which gateways tell each other what they want; also the beginning of the names of
/// their inboxes.
pub const CONTROL_EXCHANGE: &str = "postern.control";

/// What stands before the client id in the name of a mailbox's queue.
pub const MAILBOX_PREFIX: &str = "postern.mailbox.";

/// The durable stream queue that Feeds are read from; one per virtual host, shared by all gateways.
pub const FEED: &str = "postern.feed";

/// The header (integer) in which RabbitMQ tells a reader of a stream the place of a message; also the argument of a
/// consumer that says where to begin.
pub const STREAM_OFFSET: &str = "x-stream-offset";

/// The argument (boolean) of a consumer that is to end with its queue, whatever comes in its place (RabbitMQ, "Consumer
/// Cancellation Notifications").
pub const ENDS_WITH_QUEUE: &str = "x-cancel-on-ha-failover";

/// The header (boolean) by which a publisher marks an event that it sends again.
pub const RESENT: &str = "postern-resent";

/// The header (boolean) by which a publisher asks for its headers to be shown to readers.
pub const HEADERS: &str = "postern-headers";

/// The header (integer) with the time of publication in milliseconds since 1970; AMQP's own property has only seconds.
///
/// The name is that of RabbitMQ's message timestamp interceptor.
pub const TIMESTAMP_IN_MS: &str = "timestamp_in_ms";

/// The header by which the gateway knows its own messages, which are no events: a marker or a probe.
pub const CONTROL: &str = "postern-control";

/// Returns the queue that is the mailbox of a client.
#[must_use]
pub fn mailbox(client: &ClientId) -> ShortString {
    // 16 bytes of prefix and at most 128 of id: always within 255.
    format!("{MAILBOX_PREFIX}{client}").into()
}
