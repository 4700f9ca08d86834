//! Mailboxes on RabbitMQ 3.10 to 4.x: a classic durable queue for each, read by an exclusive consumer.
//!
//! * `links` keeps the connections: publishing on one, Leases spread over others, because a broker that is short of
//!   memory stops reading, acknowledgements included, from any connection that publishes.
//! * `doorbell` asks whether a mailbox exists, and creates it, without provoking an error.
//! * `lease` is the consumer: one channel each, since a channel shares every misfortune among its users.
//!
//! A channel that the *server* closed leaves its number unusable in the AMQP library, so errors are never used to find
//! something out: what can be asked otherwise is asked otherwise, and a connection with too many such channels is
//! replaced.

mod doorbell;
mod error;
mod lease;
mod links;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use events::{
    ClientId, Event, TopicPattern,
    amqp::{AmqpUrl, names},
};
use lapin::{
    Channel,
    options::{QueueBindOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};

use self::{
    error::Failure,
    lease::{AmqpLease, Attempt},
    links::Links,
};
use super::{Broker, BrokerError, LeaseRequest, MailboxStatus, OpenError};
use crate::metrics::Metrics;

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
}

/// See the module. Cloning shares it.
#[derive(Debug, Clone)]
pub struct AmqpBroker {
    links: Arc<Links>,
    mailbox_expiry: Duration,
    arguments_checked: Arc<AtomicBool>,
}

impl AmqpBroker {
    /// Starts connecting, and keeps trying for as long as the process lives; needs a tokio runtime.
    pub fn start(options: &AmqpOptions, metrics: Arc<Metrics>) -> Result<Self, BrokerError> {
        let links = Links::start(options, metrics)?;
        Ok(Self { links, mailbox_expiry: options.mailbox_expiry, arguments_checked: Arc::default() })
    }

    /// Closes every connection; Leases should be released before.
    pub async fn close(&self) {
        self.links.close().await;
    }

    /// Makes sure that a mailbox exists; returns whether it had to be created.
    async fn ensure_mailbox(&self, client: &ClientId) -> Result<bool, BrokerError> {
        if doorbell::exists(&self.links, client).await? {
            return Ok(false);
        }
        doorbell::create(&self.links, client, self.mailbox_expiry).await?;
        debug!(%client, "mailbox created");
        Ok(true)
    }

    /// Tries once to open a Lease.
    async fn try_open(&self, request: &LeaseRequest) -> Result<Attempt, OpenError> {
        let created = if !request.topics.is_empty() {
            self.ensure_mailbox(&request.client).await?
        } else if doorbell::exists(&self.links, &request.client).await? {
            false
        } else {
            return Err(OpenError::NoMailbox);
        };
        let attempt = lease::open(self.links.lease_link().await?, request).await?;
        if !created && matches!(attempt, Attempt::Opened(_)) && !self.arguments_checked.swap(true, Ordering::Relaxed) {
            self.check_arguments(&request.client).await?;
        }
        Ok(attempt)
    }

    /// Warns if mailboxes that exist were made with another expiry: they keep it.
    ///
    /// Asked once, and only while a Lease keeps the mailbox from expiring, so that the question cannot create one.
    async fn check_arguments(&self, client: &ClientId) -> Result<(), BrokerError> {
        let expiry = self.mailbox_expiry;
        let declared = self
            .administer("compare the arguments of a mailbox", async |channel: &Channel| {
                match doorbell::declare(channel, client, expiry).await {
                    Err(error) if doorbell::is_mismatch(&error) => Ok(Some(error.to_string())),
                    other => other.map(|()| None),
                }
            })
            .await?;
        if let Some(reason) = declared {
            warn!(
                reason,
                "mailboxes exist with another expiry and keep it; to change theirs, set a policy for {}.* with the key \
                 \"expires\" (the shorter of the two counts)",
                names::MAILBOX_PREFIX.trim_end_matches('.'),
            );
        }
        Ok(())
    }

    /// Runs an administrative task on a channel of its own.
    async fn administer<T>(
        &self,
        attempted: &'static str,
        task: impl AsyncFnOnce(&Channel) -> Result<T, lapin::Error>,
    ) -> Result<T, BrokerError> {
        let link = self.links.lease_link().await?;
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
        timeout(CALL_TIMEOUT, run)
            .await
            .map_err(|_| BrokerError::Unavailable(format!("no answer to: {attempted}")))?
            .map_err(|error| Failure(attempted, error).into())
    }
}

async fn bind(channel: &Channel, client: &ClientId, topics: &[TopicPattern]) -> Result<(), lapin::Error> {
    for topic in topics {
        // A TopicPattern has at most 255 bytes, so the conversion cannot panic.
        let key = topic.as_str().into();
        let options = QueueBindOptions::default();
        channel.queue_bind(names::mailbox(client), names::EXCHANGE.into(), key, options, FieldTable::default()).await?;
    }
    Ok(())
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
        self.ensure_mailbox(client).await?;
        self.administer("bind a mailbox", async |channel: &Channel| bind(channel, client, topics).await).await
    }

    async fn unbind(&self, client: &ClientId, topic: &TopicPattern) -> Result<(), BrokerError> {
        if !doorbell::exists(&self.links, client).await? {
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
        if !doorbell::exists(&self.links, client).await? {
            return Ok(None);
        }
        let queue =
            self.administer("look at a mailbox", async |channel: &Channel| lease::look(channel, client).await).await?;
        Ok(Some(MailboxStatus { queued: queue.message_count(), leased: queue.consumer_count() > 0 }))
    }

    async fn publish(&self, event: &Event) -> Result<(), BrokerError> {
        let publishing = self.links.publishing()?;
        match timeout(CALL_TIMEOUT, publishing.publish(event)).await {
            Ok(published) => published,
            Err(_) => Err(BrokerError::Unconfirmed(CALL_TIMEOUT)),
        }
    }

    fn is_ready(&self) -> bool {
        self.links.is_ready()
    }
}
