//! Mailboxes on RabbitMQ 3.10 to 4.x: a classic durable queue for each, read by an exclusive consumer.
//!
//! * `links` keeps the connections: publishing on one, Leases spread over others, because a broker that is short of
//!   memory stops reading, acknowledgements included, from any connection that publishes.
//! * `queue` is what a mailbox is on the broker, and how a new one gets its marker.
//! * `repair` mends messages of foreign publishers that the AMQP library would give up a connection over.
//! * `stream` is the log that Feeds are read from: one stream queue, on a connection of its own.
//! * `lease` is the consumer: one channel each, since a channel shares every misfortune among its users.
//!
//! A channel that the *server* closed leaves its number unusable in the AMQP library, so nothing is done on a connection
//! with Leases that is likely to fail, and a connection with too many such channels is replaced.

mod error;
mod expiry;
mod lease;
mod links;
mod queue;
mod repair;
mod stream;

use std::{sync::Arc, time::Duration};

use events::{
    ClientId, Event, TopicPattern,
    amqp::{AmqpUrl, names},
};
use lapin::{Channel, options::QueueDeleteOptions, protocol::AMQPSoftError, types::FieldTable};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

pub use self::stream::{AmqpTail, FeedRetention};
use self::{
    error::{Failure, soft_error},
    expiry::Expiry,
    lease::{AmqpLease, Attempt},
    links::Links,
    stream::Feed,
};
use super::{Broker, BrokerError, LeaseRequest, MailboxStatus, OpenError};

/// How long a Lease is waited for while somebody else holds it.
const HELD_WAIT: Duration = Duration::from_secs(2);

/// How long any other call may take; the broker answers in milliseconds when it is well.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What an operator can set about the broker.
#[derive(Debug, Clone)]
pub struct AmqpOptions {
    /// Where it is.
    pub url: AmqpUrl,
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
    /// How long a reader of old events is kept open for the next search.
    pub feed_linger: Duration,
}

/// See the module. Cloning shares it.
#[derive(Debug, Clone)]
pub struct AmqpBroker {
    links: Arc<Links>,
    expiry: Arc<Expiry>,
    feed: Arc<Feed>,
}

impl AmqpBroker {
    /// Starts connecting, and keeps trying for as long as the process lives; needs a tokio runtime.
    pub fn start(options: &AmqpOptions) -> Result<Self, BrokerError> {
        let links = Links::start(options)?;
        let (expiry, feed) = (Expiry::new(options.mailbox_expiry), Arc::new(Feed::new(options)));
        let tidied = Arc::clone(&feed);
        links.run_beside(async move { tidied.tidy().await });
        Ok(Self { links, expiry: Arc::new(expiry), feed })
    }

    /// Looks at a mailbox; `None` if there is none.
    async fn look(&self, client: &ClientId) -> Result<Option<lapin::Queue>, BrokerError> {
        self.administer("look at a mailbox", async |channel: &Channel| match queue::look(channel, client).await {
            Err(error) if soft_error(&error) == Some(&AMQPSoftError::NOTFOUND) => Ok(None),
            other => other.map(Some),
        })
        .await
    }

    /// Makes sure that a mailbox exists, with a marker if it had to be created.
    async fn ensure(&self, client: &ClientId) -> Result<(), BrokerError> {
        if self.look(client).await?.is_some() {
            return Ok(());
        }
        let publishing = self.links.publishing().await?;
        let creating = async {
            let channel = publishing.channel().await?;
            let created = queue::create(&channel, client, self.expiry.time).await;
            publishing.note_if_closed(&channel);
            match created {
                Ok(()) => channel.close(200, "done".into()).await,
                // Somebody else created it a moment ago, with another expiry: it exists, and keeps that.
                Err(error) if is_mismatch(&error) => Ok(()),
                Err(error) => Err(error),
            }
        };
        in_time("create a mailbox", creating).await?;
        debug!(%client, "mailbox created");
        Ok(())
    }

    /// Tries once to open a Lease.
    async fn try_open(&self, request: &LeaseRequest) -> Result<Attempt, OpenError> {
        // A client that never saw anything has nothing to be told: whether its mailbox is new does not matter.
        if !request.seen_before && !request.topics.is_empty() && !self.expiry.others_exist() {
            let attempt = lease::open(self.links.leasing().await?, request, Some(self.expiry.time)).await?;
            if matches!(attempt, Attempt::OtherExpiry) {
                self.expiry.found_other();
            }
            return Ok(attempt);
        }
        if !request.topics.is_empty() {
            self.ensure(&request.client).await?;
        } else if self.look(&request.client).await?.is_none() {
            return Err(OpenError::NoMailbox);
        }
        let attempt = lease::open(self.links.leasing().await?, request, None).await?;
        // Compared under a Lease, which keeps the mailbox from expiring: so the question cannot create one.
        if matches!(attempt, Attempt::Opened(_)) && self.expiry.should_compare() {
            self.compare_expiry(&request.client).await;
        }
        Ok(attempt)
    }

    async fn compare_expiry(&self, client: &ClientId) {
        let compared = self
            .administer("compare the arguments of a mailbox", async |channel: &Channel| {
                match queue::declare(channel, client, self.expiry.time).await {
                    Err(error) if is_mismatch(&error) => Ok(false),
                    other => other.map(|_| true),
                }
            })
            .await;
        match compared {
            Ok(true) => {}
            Ok(false) => self.expiry.found_other(),
            // Not worth a poll: it is only a warning that is missed.
            Err(error) => debug!(%error, "could not compare the expiry of a mailbox"),
        }
    }

    /// Runs an administrative task on a channel of its own.
    async fn administer<T>(
        &self,
        attempted: &'static str,
        task: impl AsyncFnOnce(&Channel) -> Result<T, lapin::Error>,
    ) -> Result<T, BrokerError> {
        let link = self.links.administering().await?;
        let run = async {
            let channel = link.channel().await?;
            let result = task(&channel).await;
            if channel.status().connected() {
                channel.close(200, "done".into()).await?;
            } else {
                link.note_if_closed(&channel);
            }
            result
        };
        in_time(attempted, run).await
    }
}

async fn in_time<T>(
    attempted: &'static str,
    call: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, BrokerError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(|error| Failure(attempted, error).into()),
        Err(_) => Err(BrokerError::Unavailable(format!("no answer to: {attempted}"))),
    }
}

/// Tells whether a declaration failed because the queue exists with other arguments.
fn is_mismatch(error: &lapin::Error) -> bool {
    soft_error(error) == Some(&AMQPSoftError::PRECONDITIONFAILED)
}

impl Broker for AmqpBroker {
    type Lease = AmqpLease;

    async fn open(&self, request: LeaseRequest) -> Result<AmqpLease, OpenError> {
        let give_up = Instant::now() + HELD_WAIT;
        let mut last = OpenError::Held;
        let attempts = async {
            loop {
                match self.try_open(&request).await? {
                    Attempt::Opened(lease) => return Ok(*lease),
                    Attempt::Held => last = OpenError::Held,
                    // The mailbox expired, or was deleted, between two questions: ask again.
                    Attempt::Vanished => last = OpenError::NoMailbox,
                    Attempt::OtherExpiry => continue,
                }
                if Instant::now() >= give_up {
                    return Err(last.clone());
                }
                sleep(Duration::from_millis(rand::random_range(30..100))).await;
            }
        };
        match timeout_at(give_up + CALL_TIMEOUT, attempts).await {
            Ok(opened) => opened,
            Err(_) => Err(BrokerError::Unavailable("no answer while opening a lease".to_owned()).into()),
        }
    }

    async fn bind(&self, client: &ClientId, topics: &[TopicPattern]) -> Result<(), BrokerError> {
        self.ensure(client).await?;
        self.administer("bind a mailbox", async |channel: &Channel| queue::bind(channel, client, topics).await).await
    }

    async fn unbind(&self, client: &ClientId, topic: &TopicPattern) -> Result<(), BrokerError> {
        if self.look(client).await?.is_none() {
            return Ok(());
        }
        self.administer("unbind a mailbox", async |channel: &Channel| {
            let (queue, key) = (names::mailbox(client), topic.as_str().into());
            channel.queue_unbind(queue, names::EXCHANGE.into(), key, FieldTable::default()).await
        })
        .await
    }

    async fn delete(&self, client: &ClientId) -> Result<(), BrokerError> {
        self.administer("delete a mailbox", async |channel: &Channel| {
            channel.queue_delete(names::mailbox(client), QueueDeleteOptions::default()).await
        })
        .await?;
        Ok(())
    }

    async fn mailbox(&self, client: &ClientId) -> Result<Option<MailboxStatus>, BrokerError> {
        let queue = self.look(client).await?;
        Ok(queue.map(|queue| MailboxStatus { queued: queue.message_count(), leased: queue.consumer_count() > 0 }))
    }

    async fn publish(&self, event: &Event) -> Result<(), BrokerError> {
        let publishing = self.links.publishing().await?;
        match timeout(CALL_TIMEOUT, publishing.publish(event)).await {
            Ok(published) => published,
            Err(_) => Err(BrokerError::Unconfirmed(CALL_TIMEOUT)),
        }
    }

    fn is_ready(&self) -> bool {
        self.links.is_ready()
    }

    async fn close(&self) {
        self.links.close().await;
    }
}
