//! A Session: one task that owns one Lease from opening to release.
//!
//! It carries out what its [`Desk`] decides and adds no rules of its own. There is one way out: whatever ends the
//! Session, the Lease is released and that is awaited, then the Session leaves the registry, and only then are the polls
//! that are left answered. So a client that is told to come back finds the mailbox free, here or on another gateway.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use events::{ClientId, TopicPattern};
use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    desk::{Desk, Effect, Ending},
    memory::Share,
    poll::{Continuation, Outcome, Poll, PollId, PollRequest},
    registry::Shared,
    window::Window,
};
use crate::{
    broker::{Broker, BrokerError, Lease, LeaseEnded, LeaseRequest, OpenError},
    metrics::Release,
};

/// What the rest of the gateway says to a Session.
#[derive(Debug)]
pub(super) enum Command {
    /// A poll came; the answer goes to the sender. A sender that is dropped says: ask again, there is a new Session.
    Attach(PollId, PollRequest, oneshot::Sender<Outcome>),
    /// A poll that was answered goes on. A sender that is dropped says: this Session is over.
    Continue(PollId, Continuation, oneshot::Sender<Outcome>),
    /// The client of this poll hung up while it waited, or did not get its answer.
    HungUp(PollId),
    /// A poll's client had hung up before the poll could be held.
    CameAndWent,
    /// The mailbox was unbound from this pattern, so the next poll that names it has to bind it again.
    Unbound(TopicPattern),
}

/// Why a Session is over.
enum Over {
    Desk(Ending),
    NotOpened(OpenError),
    Lost(LeaseEnded),
    NotBound(BrokerError),
    ShuttingDown,
}

pub(super) struct Session<B: Broker> {
    shared: Arc<Shared<B>>,
    client: ClientId,
    commands: mpsc::UnboundedReceiver<Command>,
    desk: Desk,
    /// The polls that have no answer yet.
    waiting: Vec<(PollId, oneshot::Sender<Outcome>)>,
    /// The poll whose topics and last seen the Lease is opened with.
    opener: PollId,
    bound: HashSet<TopicPattern>,
    /// What newer polls want besides, and is not bound yet.
    wanted: Vec<TopicPattern>,
    share: Share,
    unconfirmed: Arc<AtomicUsize>,
}

impl<B: Broker> Session<B> {
    /// Runs a Session until its Lease is released; the first command must be a poll.
    pub(super) async fn run(
        shared: Arc<Shared<B>>,
        client: ClientId,
        mut commands: mpsc::UnboundedReceiver<Command>,
        unconfirmed: Arc<AtomicUsize>,
    ) {
        // The registry sends the first poll right after it has started this task.
        let Some(Command::Attach(opener, request, reply)) = commands.recv().await else { return };
        let share = shared.memory.share();
        let mut session = Self {
            desk: Desk::new(shared.options.patience(), Instant::now()),
            client,
            commands,
            waiting: Vec::new(),
            opener,
            bound: HashSet::new(),
            wanted: Vec::new(),
            share,
            unconfirmed,
            shared,
        };
        let lease_request = LeaseRequest {
            client: session.client.clone(),
            topics: request.topics.clone(),
            seen_before: request.last_seen.is_some(),
            last_seen: request.last_seen.as_ref().and_then(|token| token.event_id().cloned()),
            window: session.shared.memory.window(session.shared.options.window),
        };
        session.bound.extend(request.topics.iter().cloned());
        session.attach(opener, &request, reply);

        let over = match session.open(lease_request).await {
            Ok(mut lease) => {
                let Err(over) = session.attend(&mut lease).await;
                lease.release().await;
                over
            }
            Err(over) => over,
        };
        session.leave(&over);
    }

    /// Opens the Lease; polls may come, replace each other and go meanwhile.
    async fn open(&mut self, request: LeaseRequest) -> Result<B::Lease, Over> {
        let broker = Arc::clone(&self.shared.broker);
        // On the heap, where it goes away: a Session lasts, and its own state should be small.
        let mut opening = Box::pin(broker.open(request));
        let lease = loop {
            tokio::select! {
                opened = &mut opening => break opened.map_err(Over::NotOpened)?,
                command = self.commands.recv() => self.obey(command),
            }
            while let Some((poll, outcome)) = self.desk.take_answer() {
                self.answer(poll, outcome);
            }
        };
        let window = Window::new(rand::random(), lease.window(), lease.counted());
        self.desk.open(window, Instant::now());
        Ok(lease)
    }

    /// Serves polls until something ends the Session.
    async fn attend(&mut self, lease: &mut B::Lease) -> Result<std::convert::Infallible, Over> {
        let shared = Arc::clone(&self.shared);
        let mut leaving = pin!(shared.shutdown.my_turn());
        let mut alarm = pin!(sleep_until(self.desk.wakeup()));
        self.bind().await?;
        loop {
            self.carry_out(lease).await?;
            if alarm.deadline() != self.desk.wakeup() {
                alarm.as_mut().reset(self.desk.wakeup());
            }
            tokio::select! {
                // Hang-ups first: an event that arrives at the same instant is better kept than handed to a client that has gone.
                biased;
                command = self.commands.recv() => {
                    self.obey(command);
                    self.bind().await?;
                }
                delivery = lease.next() => {
                    self.desk.deliver(delivery.map_err(Over::Lost)?, Instant::now());
                    // Whatever has arrived with it goes into the same batch.
                    self.take_arrived(lease)?;
                    self.desk.tick(Instant::now());
                }
                () = &mut alarm => self.desk.tick(Instant::now()),
                () = &mut leaving => return Err(Over::ShuttingDown),
            }
        }
    }

    async fn carry_out(&mut self, lease: &mut B::Lease) -> Result<(), Over> {
        while let Some(effect) = self.desk.take_effect() {
            match effect {
                Effect::Confirm(tag) => lease.confirm(tag).await.map_err(Over::Lost)?,
                Effect::Ask => {
                    let is_drained = lease.is_drained().await.map_err(Over::Lost)?;
                    self.take_arrived(lease)?;
                    self.desk.told(is_drained, Instant::now());
                }
                Effect::Answer(poll, outcome) => self.answer(poll, outcome),
                Effect::End(ending) => return Err(Over::Desk(ending)),
            }
        }
        self.share.set(self.desk.bytes());
        self.unconfirmed.store(self.desk.unconfirmed(), Ordering::Relaxed);
        Ok(())
    }

    /// Delivers the messages that have arrived.
    fn take_arrived(&mut self, lease: &mut B::Lease) -> Result<(), Over> {
        while let Some(next) = lease.next().now_or_never() {
            self.desk.deliver(next.map_err(Over::Lost)?, Instant::now());
        }
        Ok(())
    }

    fn obey(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Attach(poll, request, reply)) => {
                self.wanted.extend(request.topics.iter().filter(|topic| !self.bound.contains(topic)).cloned());
                self.attach(poll, &request, reply);
            }
            Some(Command::Continue(poll, continuation, reply)) => {
                self.waiting.push((poll, reply));
                self.desk.resume(Poll::going_on(poll, &continuation), Instant::now());
            }
            Some(Command::HungUp(poll)) => self.desk.hung_up(poll),
            Some(Command::CameAndWent) => self.desk.came_and_went(),
            Some(Command::Unbound(topic)) => {
                self.bound.remove(&topic);
            }
            // The registry keeps a sender as long as the Session is in it.
            None => {}
        }
    }

    fn attach(&mut self, poll: PollId, request: &PollRequest, reply: oneshot::Sender<Outcome>) {
        self.waiting.push((poll, reply));
        self.desk.attach(Poll::new(poll, request), Instant::now());
    }

    /// Binds the mailbox to what newer polls want besides.
    async fn bind(&mut self) -> Result<(), Over> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let topics = std::mem::take(&mut self.wanted);
        self.shared.broker.bind(&self.client, &topics).await.map_err(Over::NotBound)?;
        self.bound.extend(topics);
        Ok(())
    }

    fn answer(&mut self, poll: PollId, outcome: Outcome) {
        if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == poll) {
            let (_, reply) = self.waiting.swap_remove(at);
            // A client that has just hung up says so itself.
            let _ = reply.send(outcome);
        }
    }

    /// Leaves the registry, then answers the polls that are left; polls without an answer ask again.
    fn leave(mut self, over: &Over) {
        debug!(client = %self.client, reason = over.as_str(), "session over");
        self.shared.metrics.released(over.release());
        self.shared.forget(&self.client);
        // A poll that was displaced has nothing to do with what its successor could not have.
        while let Some((poll, outcome)) = self.desk.take_answer() {
            if matches!(outcome, Outcome::Replaced) {
                self.answer(poll, outcome);
            }
        }
        for poll in self.desk.slowed().collect::<Vec<_>>() {
            self.answer(poll, Outcome::Replaced);
        }
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Attach(poll, _, reply) = command {
                self.waiting.push((poll, reply));
            }
        }
        for (poll, reply) in self.waiting {
            if let Some(outcome) = over.outcome(poll == self.opener) {
                let _ = reply.send(outcome);
            }
        }
    }
}

impl Over {
    /// Returns what is left to say to a poll; `None`: it shall ask again.
    fn outcome(&self, opener: bool) -> Option<Outcome> {
        match self {
            // Another poll may name topics where the opener named none.
            Self::NotOpened(OpenError::NoMailbox) => opener.then_some(Outcome::NoMailbox),
            Self::NotOpened(OpenError::Held) => Some(Outcome::Held),
            Self::NotOpened(OpenError::Broker(error)) | Self::NotBound(error) => Some(Outcome::Broker(error.clone())),
            Self::Lost(LeaseEnded::MailboxGone) => Some(Outcome::MailboxGone),
            Self::Lost(LeaseEnded::BrokerLost) => {
                Some(Outcome::Broker(BrokerError::Unavailable("the connection was lost".to_owned())))
            }
            Self::ShuttingDown => Some(Outcome::ShuttingDown),
            Self::Desk(Ending::Disconnected | Ending::Lingered | Ending::Unconfirmed) => None,
        }
    }

    const fn release(&self) -> Release {
        match self {
            Self::Desk(Ending::Disconnected) => Release::Disconnected,
            Self::Desk(Ending::Lingered) => Release::Lingered,
            Self::Desk(Ending::Unconfirmed) => Release::Unconfirmed,
            Self::NotOpened(_) => Release::NotOpened,
            Self::Lost(LeaseEnded::MailboxGone) => Release::MailboxGone,
            Self::Lost(LeaseEnded::BrokerLost) | Self::NotBound(_) => Release::BrokerLost,
            Self::ShuttingDown => Release::ShuttingDown,
        }
    }

    fn as_str(&self) -> &'static str {
        self.release().as_str()
    }
}
