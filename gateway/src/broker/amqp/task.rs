//! What is done on one mailbox that the broker may refuse.

use std::time::Duration;

use events::{ClientId, TopicPattern, amqp::names};
use lapin::{Channel, Queue, types::FieldTable};

use super::queue;

/// A task on a mailbox. Each begins with a look at the queue, which says more than the rest does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task<'a> {
    /// Looks at it; the same resets the clock of its expiry.
    Look,
    /// Declares it, with this expiry, and binds it unless it is being read.
    Declare(Duration, &'a [TopicPattern]),
    /// Binds it, if it is there, unless it is being read.
    Open(&'a [TopicPattern]),
    /// Binds it, if it is there.
    Bind(&'a [TopicPattern]),
    /// Takes one binding from it, if it is there.
    Unbind(&'a TopicPattern),
}

/// Why there is no such mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    NoQueue,
    /// There is one, with another expiry.
    OtherExpiry,
}

impl Task<'_> {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look at a mailbox",
            Self::Declare(..) => "create a mailbox",
            Self::Open(_) | Self::Bind(_) => "bind a mailbox",
            Self::Unbind(_) => "unbind a mailbox",
        }
    }

    /// Runs it on a channel, which a refusal closes.
    pub(super) async fn run(self, channel: &Channel, client: &ClientId) -> Result<Queue, lapin::Error> {
        let mailbox = match self {
            Self::Declare(expiry, _) => queue::declare(channel, client, expiry).await?,
            Self::Look | Self::Open(_) | Self::Bind(_) | Self::Unbind(_) => queue::look(channel, client).await?,
        };
        match self {
            Self::Look => {}
            Self::Declare(..) | Self::Open(_) if mailbox.consumer_count() > 0 => {}
            Self::Declare(_, topics) | Self::Open(topics) | Self::Bind(topics) => {
                queue::bind(channel, client, topics).await?;
            }
            // RabbitMQ answers that it is done also where it cannot reach the queue; hence the look.
            Self::Unbind(topic) => {
                let (queue, key) = (names::mailbox(client), topic.as_str().into());
                channel.queue_unbind(queue, names::EXCHANGE.into(), key, FieldTable::default()).await?;
            }
        }
        Ok(mailbox)
    }
}
