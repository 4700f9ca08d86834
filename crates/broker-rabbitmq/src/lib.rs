//! Mailboxes on RabbitMQ 3.10 to 4.x: a classic durable queue for each, read by an exclusive consumer.
//!
//! * `admission` paces the opening of Leases when many clients come at once.
//! * `connections` keeps the connections: publishing on one, Leases spread over others, because a broker that is short
//!   of memory stops reading, acknowledgements included, from any connection that publishes.
//! * `publish` stores events, and restores an exchange that is missing.
//! * `queue` is what a mailbox is on the broker, and how a new one gets its marker.
//! * The crate `amqp-sanitizer` mends messages of foreign publishers that the AMQP library would give up a connection
//!   over.
//! * `stream` is the log that Feeds are read from: one stream queue, on a connection of its own.
//! * `control` is how gateways ask each other for mailboxes.
//! * `out_of_reach` has clients told that were not sure to get what was published.
//! * `lease` is the consumer: one channel each, since a channel shares every misfortune among its users.
//!
//! A channel that the *server* closed leaves its number unusable in the AMQP library. So whatever the broker may refuse
//! is done on the administrative connection, nothing of it on one with Leases, and a connection with too many such
//! channels is replaced. What a refusal means is read in `error`, and nowhere else.

mod admission;
mod call;
mod connections;
mod control;
mod creations;
mod error;
mod expiry;
mod lease;
mod metrics;
mod options;
mod out_of_reach;
mod publish;
mod pulse;
mod queue;
mod stream;
mod task;

use std::{pin::pin, sync::Arc, time::Duration};

use amqp::{declare_exchange, names};
use broker::{
    Broker, BrokerError, LeaseRequest, MailboxStatus, OpenError,
    handover::{Holder, Instance},
    limits::{CALL_TIMEOUT, MAX_BATCH_BYTES, MAX_HOLDER_WAIT},
};
use events::{ClientId, Event, TopicPattern};
use lapin::{Channel, Queue, options::QueueDeleteOptions};
use prometheus_client::registry::Registry;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, warn};

use self::{
    admission::Admission,
    call::in_time,
    connections::Connections,
    control::{Control, Heard, Question},
    creations::Creations,
    error::{Refusal, is_mismatch, refusal},
    expiry::Expiry,
    lease::{AmqpLease, Attempt},
    metrics::{ConnectionMetrics, OpeningMetrics},
    out_of_reach::OutOfReach,
    task::{Absent, Expires, Task},
};
pub use self::{
    options::{AmqpOptions, FeedRetention},
    stream::{AmqpTail, StreamLog},
};

/// A compressed payload is no larger in a batch than a batch may be.
const _: () = assert!(amqp::message::MAX_INFLATED <= MAX_BATCH_BYTES);

/// Keeps mailboxes and the log on RabbitMQ. Cloning shares it.
#[derive(Debug, Clone)]
pub struct AmqpBroker {
    connections: Arc<Connections>,
    admission: Arc<Admission>,
    expiry: Arc<Expiry>,
    creations: Creations,
    log: Arc<StreamLog>,
    control: Arc<Control>,
    out_of_reach: Arc<OutOfReach>,
    /// When the exchange was declared anew; locked meanwhile.
    restored: Arc<Mutex<Option<Instant>>>,
}

impl AmqpBroker {
    /// Starts connecting, and keeps trying for as long as the process lives; needs a tokio runtime. What is counted is
    /// shown in the registry.
    pub fn start(options: &AmqpOptions, metrics: &mut Registry) -> Result<Self, BrokerError> {
        let connections = Connections::start(options)?;
        metrics.register_collector(Box::new(ConnectionMetrics(Arc::clone(&connections))));
        let openings = OpeningMetrics::default();
        openings.register(metrics);
        let log = Arc::new(StreamLog::new(Arc::clone(&connections), options));
        let tidied = Arc::clone(&log);
        connections.run_beside(async move { tidied.tidy().await });
        let out_of_reach = Arc::new(OutOfReach::new(Arc::clone(&connections)));
        let control = Control::new(Arc::clone(&connections), Instance::random(), Arc::clone(&out_of_reach));
        let control = Arc::new(control);
        let (telling, telling_others) = (Arc::clone(&out_of_reach), Arc::clone(&control));
        connections.run_beside(async move {
            tokio::join!(telling.run(), telling_others.tell_news());
        });
        Ok(Self {
            connections,
            admission: Arc::new(Admission::new(openings)),
            expiry: Arc::new(Expiry::new(options.mailbox_expiry)),
            creations: Creations::default(),
            log,
            control,
            out_of_reach,
            restored: Arc::default(),
        })
    }

    /// Looks at a mailbox; `None` if there is none.
    async fn look(&self, client: &ClientId) -> Result<Option<Queue>, BrokerError> {
        let looked = task::look(&self.connections, client).await;
        looked.inspect_err(|error| self.out_of_reach.met(client, error))
    }

    /// Makes a mailbox, with a marker, unless one was made here since so many creations had ended.
    async fn create(&self, client: &ClientId, ended: u64) -> Result<(), BrokerError> {
        let Ok(turn) = timeout(CALL_TIMEOUT, self.creations.turn(client)).await else {
            return Err(BrokerError::Unavailable("no answer while other mailboxes are made".to_owned()));
        };
        if turn.ended() != ended && self.look(client).await?.is_some() {
            return Ok(());
        }
        self.connections.in_turn(self.create_now(client)).await?;
        debug!(%client, "mailbox created");
        Ok(())
    }

    async fn create_now(&self, client: &ClientId) -> Result<(), BrokerError> {
        let (publishing, place) = self.connections.publishing_apart().await?;
        // The marker would wait for as long as the broker takes nothing.
        if publishing.is_blocked() {
            return Err(BrokerError::Blocked);
        }
        in_time("create a mailbox", async {
            let channel = place.open().await?;
            let expires_ms = queue::expires_ms(client, self.expiry.time);
            match queue::create(&channel, client, expires_ms).await {
                // Another gateway created it a moment ago, with other arguments: it exists, and keeps those.
                Err(error) if is_mismatch(&error) => Ok(()),
                created => created,
            }
        })
        .await
    }

    /// Returns the mailbox of a client, bound to these topics; makes one if there is none and topics are named.
    async fn mailbox_for(&self, request: &LeaseRequest) -> Result<Queue, OpenError> {
        let LeaseRequest { client, topics, .. } = request;
        // A client that never saw anything has nothing to be told: whether its mailbox is new does not matter. Else the
        // question is passive: an active declare would silently make a new mailbox, without a marker, of one that
        // expired a moment ago. Either way the clock of the mailbox's expiry starts anew.
        if !request.seen_before && !topics.is_empty() && !self.expiry.others_exist() {
            let expires_ms = queue::expires_ms(client, self.expiry.time);
            match self.on_mailbox(client, Task::Declare(expires_ms, topics)).await? {
                Ok(mailbox) => return Ok(mailbox),
                Err(Absent::Other(current)) => self.expiry.found(current),
                Err(Absent::NoQueue) => {}
            }
        }
        let open = |expires| Task::Open(expires, topics);
        let ended = self.creations.ended(client);
        if let Some(mailbox) = self.on_existing(client, open).await? {
            return Ok(mailbox);
        }
        if topics.is_empty() {
            return Err(OpenError::NoMailbox);
        }
        self.create(client, ended).await?;
        // It can be gone again only if it was deleted at once.
        self.on_existing(client, open).await?.ok_or(OpenError::NoMailbox)
    }

    /// Runs a task on a mailbox that is there; `None` if there is none. One of another type than classic is refused.
    ///
    /// One that was made with another expiry keeps it, and is compared with one of that expiry: RabbitMQ names the
    /// expiry before the type.
    async fn on_existing<'a>(
        &self,
        client: &ClientId,
        task: impl Fn(Expires) -> Task<'a>,
    ) -> Result<Option<Queue>, BrokerError> {
        let mut expires = Expires::After(Some(queue::expires_ms(client, self.expiry.time)));
        loop {
            match self.on_mailbox(client, task(expires)).await? {
                Err(Absent::Other(current)) if current != expires => {
                    self.expiry.found(current);
                    expires = current;
                }
                done => return Ok(done.ok()),
            }
        }
    }

    /// Tries once to open a Lease.
    async fn try_open(&self, request: &LeaseRequest) -> Result<Attempt, OpenError> {
        // Before anything is made on the broker: where there is no room, a mailbox would be made for each refused poll.
        let slot = self.connections.leasing().await?;
        let mailbox = self.mailbox_for(request).await?;
        if mailbox.consumer_count() > 0 {
            return Ok(Attempt::Held);
        }
        if let Err(error) = self.out_of_reach.tell(&request.client).await {
            debug!(%error, "a client could not be told yet that its mailbox was out of reach");
        }
        let opened = lease::open(&self.connections, &self.out_of_reach, slot, request, mailbox.message_count()).await;
        Ok(opened.inspect_err(|error| self.out_of_reach.met(&request.client, error))?)
    }

    /// Declares the exchange, which an operator has deleted, and binds the feed to it again.
    ///
    /// The mailboxes are bound again as their clients name topics for a new session: only they know which. It was
    /// missed by a call that began at `since`.
    async fn restore_exchange(&self, since: Instant) -> Result<(), BrokerError> {
        // In a task of its own: a caller that hangs up between its steps would leave the feed unbound.
        let broker = self.clone();
        let restoring = tokio::spawn(async move { broker.restore_exchange_now(since).await });
        restoring.await.unwrap_or_else(|error| Err(BrokerError::Unavailable(error.to_string())))
    }

    async fn restore_exchange_now(&self, since: Instant) -> Result<(), BrokerError> {
        let mut restored = self.restored.lock().await;
        if restored.is_some_and(|restored| restored >= since) {
            return Ok(());
        }
        warn!(exchange = names::EXCHANGE, "the exchange was deleted, and every binding with it; it is declared anew");
        self.connections
            .administer("declare the exchange", async |channel: &Channel| declare_exchange(channel).await)
            .await?;
        if let Err(error) = self.log.bind().await {
            if let BrokerError::Refused { .. } = error {
                warn!(%error, "the feed is not bound again and gets no events; permit this user to bind it to the exchange");
            } else {
                debug!(%error, "the feed is not there to be bound again; its own start does that");
            }
        }
        *restored = Some(Instant::now());
        Ok(())
    }

    /// Runs a task on a mailbox, on the administrative connection. A missing exchange is restored.
    async fn on_mailbox(&self, client: &ClientId, task: Task<'_>) -> Result<Result<Queue, Absent>, BrokerError> {
        let mut may_restore = true;
        loop {
            let began = Instant::now();
            let done = self
                .connections
                .administer(task.as_str(), async |channel: &Channel| match task.run(channel, client).await {
                    Ok(mailbox) => Ok(Some(Ok(mailbox))),
                    Err(error) => match refusal(&error) {
                        Some(Refusal::NoQueue) => Ok(Some(Err(Absent::NoQueue))),
                        Some(Refusal::OtherExpiry(ms)) => Ok(Some(Err(Absent::Other(Expires::After(ms))))),
                        Some(Refusal::Mismatch) => Ok(Some(Err(Absent::Other(Expires::Unknown)))),
                        Some(Refusal::NoExchange) if may_restore => Ok(None),
                        _ => Err(error),
                    },
                })
                .await
                .inspect_err(|error| self.out_of_reach.met(client, error))?;
            if let Some(done) = done {
                return Ok(done);
            }
            self.restore_exchange(began).await?;
            may_restore = false;
        }
    }
}

impl Broker for AmqpBroker {
    type Lease = AmqpLease;
    type Log = StreamLog;

    fn log(&self) -> Arc<StreamLog> {
        Arc::clone(&self.log)
    }

    fn instance(&self) -> Instance {
        self.control.instance()
    }

    async fn answer_others(&self, holder: Arc<dyn Holder>) {
        self.control.answer(holder).await;
    }

    async fn open(&self, request: LeaseRequest) -> Result<AmqpLease, OpenError> {
        let mut admitted = self.admission.admit().await;
        let give_up = Instant::now() + MAX_HOLDER_WAIT;
        let (mut last, mut question) = (OpenError::Held, None);
        // On the heap only now: thousands may wait for their turn.
        let attempts = Box::pin(async {
            loop {
                match admitted.in_turn(pin!(self.try_open(&request))).await? {
                    Attempt::Opened(lease) => {
                        return Ok(lease.after(Question::is_seen_confirmed(question.as_mut()).await));
                    }
                    Attempt::Held => last = OpenError::Held,
                    // The mailbox expired, or was deleted, between two questions: ask again.
                    Attempt::Vanished => last = OpenError::NoMailbox,
                }
                if Instant::now() >= give_up {
                    return Err(last.clone());
                }
                let pause = Duration::from_millis(rand::random_range(30..100));
                if !matches!(last, OpenError::Held) {
                    sleep(pause).await;
                } else if question.get_or_insert_with(|| self.control.question(&request)).wait(pause).await
                    == Heard::Newer
                {
                    return Err(OpenError::Newer);
                }
            }
        });
        let opened = match timeout_at(give_up + CALL_TIMEOUT, attempts).await {
            Ok(opened) => opened,
            Err(_) => Err(BrokerError::Unavailable("no answer while opening a lease".to_owned()).into()),
        };
        admitted.ended(&opened);
        opened
    }

    async fn bind(&self, client: &ClientId, topics: &[TopicPattern]) -> Result<(), BrokerError> {
        let bind = |expires| Task::Bind(expires, topics);
        let ended = self.creations.ended(client);
        if self.on_existing(client, bind).await?.is_some() {
            return Ok(());
        }
        self.create(client, ended).await?;
        let gone = || BrokerError::Unavailable("the mailbox was deleted while it was bound".to_owned());
        self.on_existing(client, bind).await?.map(drop).ok_or_else(gone)
    }

    async fn unbind(&self, client: &ClientId, topic: &TopicPattern) -> Result<(), BrokerError> {
        self.on_mailbox(client, Task::Unbind(topic)).await.map(drop)
    }

    async fn tell_unbound(&self, client: &ClientId, topic: &TopicPattern) -> Result<(), BrokerError> {
        self.control.tell_unbound(client, topic).await
    }

    async fn delete(&self, client: &ClientId) -> Result<(), BrokerError> {
        self.connections
            .administer("delete a mailbox", async |channel: &Channel| {
                // RabbitMQ 4 answers that it is done also where it cannot reach the queue.
                match queue::look(channel, client).await {
                    Err(error) if refusal(&error) == Some(Refusal::NoQueue) => return Ok(()),
                    looked => looked?,
                };
                channel.queue_delete(names::mailbox(client), QueueDeleteOptions::default()).await.map(drop)
            })
            .await
            .inspect_err(|error| self.out_of_reach.met(client, error))?;
        self.out_of_reach.forget(client);
        Ok(())
    }

    async fn mailbox(&self, client: &ClientId) -> Result<Option<MailboxStatus>, BrokerError> {
        let queue = self.look(client).await?;
        Ok(queue.map(|queue| MailboxStatus { queued: queue.message_count(), leased: queue.consumer_count() > 0 }))
    }

    async fn publish(&self, event: &Event) -> Result<(), BrokerError> {
        self.publish_all(std::slice::from_ref(event)).await.remove(0)
    }

    async fn publish_all(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        let restore_exchange = async |since| self.restore_exchange(since).await;
        publish::publish_all(&self.connections, events, restore_exchange).await
    }

    async fn failed(&self) -> &'static str {
        self.connections.failed().await;
        "a task that keeps the connections to RabbitMQ has panicked"
    }

    fn is_ready(&self) -> bool {
        self.connections.is_ready()
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
