//! A broker in memory that keeps the contract of the traits and nothing else, so that Sessions and their registry can
//! be tested under a paused clock. What real brokers do is tested on real brokers.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use broker::{
    Broker, BrokerError, Content, Delivery, Lease, LeaseEnded, LeaseRequest, MailboxStatus, OpenError,
    handover::Instance,
};
use broker_embedded::EmbeddedLog;
use events::{ClientId, Event, TopicPattern};
use tokio::{sync::Notify, time::sleep};

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    ready: VecDeque<(bool, Event)>,
    leased: bool,
    opened: usize,
}

/// Every mailbox exists, and gets what is put into it.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) mailboxes: Mutex<HashMap<ClientId, Mailbox>>,
    pub(super) arrived: Notify,
    /// How long a release takes.
    pub(super) release_time: Duration,
    /// Confirming fails, as when the connection has gone.
    pub(super) confirms_fail: bool,
    /// Nothing is handed over, whether it is there or not.
    pub(super) stalls: bool,
}

impl Model {
    pub(super) fn put(&self, client: &ClientId, event: Event) {
        self.with(client, |mailbox| mailbox.ready.push_back((false, event)));
        self.arrived.notify_waiters();
    }

    /// Opens a Lease, unless one is open.
    pub(super) fn lease(self: &Arc<Self>, request: &LeaseRequest) -> Option<ModelLease> {
        let backlog = self.with(&request.client, |mailbox| {
            let is_held = std::mem::replace(&mut mailbox.leased, true);
            mailbox.opened += usize::from(!is_held);
            (!is_held).then_some(mailbox.ready.len())
        })?;
        Some(ModelLease {
            model: Arc::clone(self),
            client: request.client.clone(),
            window: request.window,
            backlog: u32::try_from(backlog).unwrap(),
            is_seen_confirmed: false,
            unacked: VecDeque::new(),
            tags: 0,
        })
    }

    fn with<T>(&self, client: &ClientId, read: impl FnOnce(&mut Mailbox) -> T) -> T {
        read(self.mailboxes.lock().unwrap().entry(client.clone()).or_default())
    }

    pub(super) fn ready(&self, client: &ClientId) -> usize {
        self.with(client, |mailbox| mailbox.ready.len())
    }

    pub(super) fn is_leased(&self, client: &ClientId) -> bool {
        self.with(client, |mailbox| mailbox.leased)
    }

    /// How many Leases were opened so far.
    pub(super) fn opened(&self, client: &ClientId) -> usize {
        self.with(client, |mailbox| mailbox.opened)
    }
}

#[derive(Debug)]
pub(super) struct ModelLease {
    model: Arc<Model>,
    client: ClientId,
    window: u16,
    backlog: u32,
    pub(super) is_seen_confirmed: bool,
    unacked: VecDeque<(u64, Event)>,
    tags: u64,
}

/// How a gateway gets at the mailboxes of a model.
pub(super) trait Opens: Send + Sync + 'static {
    fn instance(&self) -> Instance;

    fn open(&self, request: LeaseRequest) -> impl Future<Output = Result<ModelLease, OpenError>> + Send;
}

/// The gateway is alone.
impl Opens for Arc<Model> {
    fn instance(&self) -> Instance {
        Instance(1)
    }

    async fn open(&self, request: LeaseRequest) -> Result<ModelLease, OpenError> {
        // Within one process, Leases of one client never meet: not even for an instant.
        Ok(self.lease(&request).expect("a lease was opened while the last one was not released"))
    }
}

/// What a registry is given.
#[derive(Debug)]
pub(super) struct ModelBroker<O = Arc<Model>>(pub(super) O);

impl<O: Opens> Broker for ModelBroker<O> {
    type Lease = ModelLease;
    type Log = EmbeddedLog;

    fn instance(&self) -> Instance {
        self.0.instance()
    }

    fn log(&self) -> Arc<EmbeddedLog> {
        unreachable!("mailboxes are not read from it")
    }

    async fn open(&self, request: LeaseRequest) -> Result<ModelLease, OpenError> {
        self.0.open(request).await
    }

    async fn bind(&self, _: &ClientId, _: &[TopicPattern]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn unbind(&self, _: &ClientId, _: &TopicPattern) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn delete(&self, _: &ClientId) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn mailbox(&self, _: &ClientId) -> Result<Option<MailboxStatus>, BrokerError> {
        Ok(None)
    }

    async fn publish(&self, _: &Event) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish_all(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        vec![Ok(()); events.len()]
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

impl Lease for ModelLease {
    fn backlog(&self) -> u32 {
        self.backlog
    }

    fn window(&self) -> u16 {
        self.window
    }

    fn is_seen_confirmed(&self) -> bool {
        self.is_seen_confirmed
    }

    async fn next(&mut self) -> Result<Delivery, LeaseEnded> {
        loop {
            let arrived = self.model.arrived.notified();
            let next = if !self.model.stalls && self.unacked.len() < usize::from(self.window) {
                self.model.with(&self.client, |mailbox| mailbox.ready.pop_front())
            } else {
                None
            };
            if let Some((redelivered, event)) = next {
                self.tags += 1;
                self.unacked.push_back((self.tags, event.clone()));
                return Ok(Delivery { tag: self.tags, redelivered, content: Content::Event(event) });
            }
            arrived.await;
        }
    }

    async fn is_drained(&mut self) -> Result<bool, LeaseEnded> {
        Ok(!self.model.stalls && self.model.ready(&self.client) == 0)
    }

    async fn confirm(&mut self, tag: u64) -> Result<(), LeaseEnded> {
        if self.model.confirms_fail {
            return Err(LeaseEnded::BrokerLost);
        }
        while self.unacked.pop_front_if(|(unacked, _)| *unacked <= tag).is_some() {}
        self.model.arrived.notify_waiters();
        Ok(())
    }

    async fn release(mut self) -> bool {
        sleep(self.model.release_time).await;
        self.model.with(&self.client, |mailbox| {
            for (_, event) in std::mem::take(&mut self.unacked).into_iter().rev() {
                mailbox.ready.push_front((true, event));
            }
            mailbox.leased = false;
        });
        true
    }
}
