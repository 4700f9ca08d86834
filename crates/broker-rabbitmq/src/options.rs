//! What an operator can set about RabbitMQ.

use std::time::Duration;

use amqp::AmqpUrls;
use events::TopicPattern;

/// What an operator can set about the broker.
#[derive(Debug, Clone)]
pub struct AmqpOptions {
    /// Where it is: any of these addresses will do.
    pub urls: AmqpUrls,
    /// How an operator sees this gateway in the broker's list of connections.
    pub name: String,
    /// How long a mailbox is kept without a reader; spread by ±10 % between clients.
    pub mailbox_expiry: Duration,
    /// How many Leases may be open at once.
    pub max_leases: usize,
    /// Which events the log keeps for Feeds.
    pub feed_topics: Vec<TopicPattern>,
    /// How long it keeps them.
    pub feed_retention: FeedRetention,
    /// On how many nodes of a cluster it is kept, if it is made here; by default on all that the cluster has then.
    pub feed_replicas: Option<u8>,
    /// How long a reader of old events is kept open for the next search.
    pub feed_linger: Duration,
}

/// How long events are kept for Feeds; whichever limit is met first. RabbitMQ drops whole segments of its files, here a
/// sixteenth of the size each, when it begins another one, and never the one that it writes.
#[derive(Debug, Clone, Copy)]
pub struct FeedRetention {
    /// By age, in whole seconds.
    pub age: Duration,
    /// By size, all events together, in bytes.
    pub bytes: u64,
}
