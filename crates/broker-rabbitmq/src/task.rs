//! What is done on one mailbox that the broker may refuse.

use amqp::names;
use broker::BrokerError;
use events::{ClientId, TopicPattern};
use lapin::{Channel, Queue, types::FieldTable};

use super::{
    connections::Connections,
    error::{Refusal, refusal},
    queue,
};

/// A task on a mailbox. Each has a look at the queue, which says more than the rest does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task<'a> {
    /// Looks at it; the same resets the clock of its expiry.
    Look,
    /// Declares it, with this expiry in ms, and binds it unless it is being read.
    Declare(i64, &'a [TopicPattern]),
    /// Compares it, if it is there, with one of this expiry, and binds it unless it is being read.
    Open(Expires, &'a [TopicPattern]),
    /// Compares it, if it is there, with one of this expiry, and binds it.
    Bind(Expires, &'a [TopicPattern]),
    /// Takes one binding from it, if it is there, and looks at it then.
    Unbind(&'a TopicPattern),
}

/// With which expiry a mailbox is taken to have been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expires {
    /// With this one in ms, or without any.
    After(Option<i64>),
    /// It is not compared: it has arguments that are not known.
    Unknown,
}

/// Why there is no such mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    NoQueue,
    /// There is one that was made with another expiry.
    Other(Expires),
}

impl Task<'_> {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look at a mailbox",
            Self::Declare(..) => "create a mailbox",
            Self::Open(..) => "open a mailbox",
            Self::Bind(..) => "bind a mailbox",
            Self::Unbind(_) => "unbind a mailbox",
        }
    }

    /// Runs it on a channel, which a refusal closes.
    pub(super) async fn run(self, channel: &Channel, client: &ClientId) -> Result<Queue, lapin::Error> {
        let mailbox = match self {
            Self::Declare(expires_ms, _) => queue::declare(channel, client, Some(expires_ms)).await?,
            Self::Unbind(topic) => {
                let (queue, key) = (names::mailbox(client), topic.as_str().into());
                channel.queue_unbind(queue, names::EXCHANGE.into(), key, FieldTable::default()).await?;
                // RabbitMQ answers that it is done also where it cannot reach the queue.
                queue::look(channel, client).await?
            }
            Self::Look | Self::Open(..) | Self::Bind(..) => queue::look(channel, client).await?,
        };
        match self {
            Self::Look | Self::Unbind(_) => {}
            Self::Declare(..) | Self::Open(..) if mailbox.consumer_count() > 0 => {}
            // Only an active declare tells another type. The look has just started the clock of the expiry anew, so
            // this makes no mailbox unless it is deleted in the same millisecond.
            Self::Open(Expires::After(expires_ms), topics) | Self::Bind(Expires::After(expires_ms), topics) => {
                // Written at once: what refuses the first closes the channel, and the others are not looked at.
                let (declared, bound) = tokio::join!(
                    biased;
                    queue::declare(channel, client, expires_ms),
                    queue::bind(channel, client, topics),
                );
                declared?;
                bound?;
            }
            Self::Declare(_, topics) | Self::Open(Expires::Unknown, topics) | Self::Bind(Expires::Unknown, topics) => {
                queue::bind(channel, client, topics).await?;
            }
        }
        Ok(mailbox)
    }
}

/// Looks at a mailbox; `None` if there is none.
pub(super) async fn look(connections: &Connections, client: &ClientId) -> Result<Option<Queue>, BrokerError> {
    let task = Task::Look;
    let look = async |channel: &Channel| match task.run(channel, client).await {
        Err(error) if refusal(&error) == Some(Refusal::NoQueue) => Ok(None),
        looked => looked.map(Some),
    };
    connections.administer(task.as_str(), look).await
}
