//! A Session: one task that owns one Lease from opening to release.
//!
//! It carries out what its [`Desk`] decides and adds no rules of its own. There is one way out: whatever ends the
//! Session, the Lease is released and that is awaited, then the Session leaves the registry, and only then are the
//! polls that are left answered. So a client that is told to come back finds the mailbox free, here or on another
//! gateway.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use broker::{
    Broker, BrokerError, Lease, LeaseEnded, LeaseRequest, OpenError,
    handover::{Reply, Wanted},
};
use events::{ClientId, TopicPattern};
use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    budget::WindowBytes,
    context::Context,
    desk::{Desk, Effect, EndReason, Wish, WishId},
    last_seen::LastSeen,
    metrics::Release,
    poll::{Continuation, Outcome, Poll, PollId, PollRequest},
    window::Window,
};

/// What the registry and polls say to a Session. Small, because a channel has room for 32 of them at once.
#[derive(Debug)]
pub(super) enum Command {
    /// A poll came; the answer goes to the sender. A sender that is dropped says: ask again, there is a new Session.
    Attach(PollId, Arc<PollRequest>, oneshot::Sender<Outcome>),
    /// A poll that was answered goes on. A sender that is dropped says: this Session is over.
    Continue(PollId, Box<Continuation>, oneshot::Sender<Outcome>),
    /// The client of this poll hung up while it waited, or did not get its answer.
    HungUp(PollId),
    /// A poll's client had hung up before the poll could be held.
    Abandoned,
    /// Another gateway wants the mailbox. A sender that is dropped says nothing: that gateway looks for itself.
    Wanted(Box<Wanted>, oneshot::Sender<Reply>),
    /// The mailbox was unbound from this pattern, so the next poll that names it has to bind it again.
    /// The answer tells whether the Lease is open.
    Unbound(TopicPattern, oneshot::Sender<bool>),
}

/// What others see of a Session.
#[derive(Debug, Default)]
pub(super) struct Visible {
    /// How many Deliveries are unconfirmed.
    pub(super) unconfirmed: AtomicUsize,
    /// Another gateway got the mailbox.
    pub(super) is_handed_over: AtomicBool,
}

/// Why a Session has ended.
enum SessionEnd {
    Decided(EndReason),
    NotOpened(OpenError),
    Lost(LeaseEnded),
    NotBound(BrokerError),
    ShuttingDown,
}

pub(super) struct Session<B: Broker> {
    context: Arc<Context<B>>,
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
    bytes: WindowBytes,
    visible: Arc<Visible>,
    /// The gateways that want the mailbox and have no answer yet.
    wishes: Vec<(WishId, oneshot::Sender<Reply>)>,
    wished: u64,
}

impl<B: Broker> Session<B> {
    /// Runs a Session until its Lease is released; the first command must be a poll.
    ///
    /// What it returns is to be taken from the registry before its polls are answered.
    pub(super) async fn run(
        context: Arc<Context<B>>,
        client: ClientId,
        mut commands: mpsc::UnboundedReceiver<Command>,
        visible: Arc<Visible>,
    ) -> Option<EndedSession<B>> {
        // The registry sends the first poll right after it has started this task.
        let Some(Command::Attach(opener, request, reply)) = commands.recv().await else { return None };
        let bytes = context.budget.share();
        let mut session = Self {
            desk: Desk::new(context.options.timeouts(), Instant::now()),
            client,
            commands,
            waiting: Vec::new(),
            opener,
            bound: HashSet::new(),
            wanted: Vec::new(),
            bytes,
            visible,
            wishes: Vec::new(),
            wished: 0,
            context,
        };
        let (claim, last_seen) = (request.claim(), request.last_seen.clone());
        let lease_request = LeaseRequest {
            client: session.client.clone(),
            topics: request.topics.clone(),
            seen_before: request.last_seen.is_some(),
            last_seen: request.last_seen.as_ref().and_then(|token| token.event_id().cloned()),
            window: session.context.budget.window(session.context.options.window),
            claim,
        };
        session.bound.extend(request.topics.iter().cloned());
        session.attach(opener, &request, reply);
        drop(request);

        let end = match session.open(lease_request, last_seen).await {
            Ok(mut lease) => {
                let Err(end) = session.serve(&mut *lease).await;
                // Where a decision of the desk could not be carried out, it is not known either.
                let is_confirmed = Box::pin((*lease).release()).await
                    && matches!(end, SessionEnd::Decided(_) | SessionEnd::ShuttingDown);
                if let Some(place) = session.desk.confirmed().filter(|_| is_confirmed) {
                    session.context.remember_confirmed(&session.client, place);
                }
                session.tell_handed_over(&end, is_confirmed);
                end
            }
            Err(end) => end,
        };
        debug!(client = %session.client, reason = end.as_str(), "session over");
        session.context.metrics.released(end.release());
        Some(EndedSession { session, end })
    }

    /// Opens the Lease for a poll with this token; polls may come, replace each other and go meanwhile.
    ///
    /// The Lease is on the heap: a Session would have room for it twice, once for this result.
    async fn open(&mut self, request: LeaseRequest, last_seen: Option<LastSeen>) -> Result<Box<B::Lease>, SessionEnd> {
        let (broker, context) = (Arc::clone(&self.context.broker), Arc::clone(&self.context));
        let mut shutdown = Box::pin(context.shutdown.staggered());
        // On the heap, where it goes away: a Session lasts, and its own state should be small.
        let mut opening = Box::pin(broker.open(request));
        let lease = loop {
            tokio::select! {
                opened = &mut opening => break Box::new(opened.map_err(SessionEnd::NotOpened)?),
                command = self.commands.recv() => self.handle(command),
                () = sleep_until(self.desk.opening_wakeup()) => self.desk.tick_opening(Instant::now()),
                () = &mut shutdown => return Err(SessionEnd::ShuttingDown),
            }
            while let Some((poll, outcome)) = self.desk.take_answer() {
                self.answer(poll, outcome);
            }
            // Its client has gone: nothing more is to be asked of the broker for it.
            if self.desk.has_ended() {
                return Err(SessionEnd::Decided(EndReason::Disconnected));
            }
        };
        let confirmed_elsewhere = last_seen.filter(|_| lease.is_seen_confirmed()).and_then(|token| token.place);
        let confirmed = confirmed_elsewhere.or_else(|| self.context.confirmed(&self.client));
        let window = Window::new(self.context.next_lease(), lease.window(), lease.backlog()).after(confirmed);
        self.desk.open(window, Instant::now());
        Ok(lease)
    }

    /// Serves polls until something ends the Session.
    async fn serve(&mut self, lease: &mut B::Lease) -> Result<std::convert::Infallible, SessionEnd> {
        let context = Arc::clone(&self.context);
        let mut shutdown = pin!(context.shutdown.staggered());
        let mut alarm = pin!(sleep_until(self.desk.wakeup()));
        self.bind().await?;
        loop {
            self.apply_effects(lease).await?;
            if alarm.deadline() != self.desk.wakeup() {
                alarm.as_mut().reset(self.desk.wakeup());
            }
            tokio::select! {
                // Hang-ups first: an event that arrives at the same instant is better kept than handed to a client that
                // has gone.
                biased;
                command = self.commands.recv() => {
                    self.handle(command);
                    self.bind().await?;
                }
                delivery = lease.next() => {
                    self.desk.deliver(delivery.map_err(SessionEnd::Lost)?, Instant::now());
                    // Whatever has arrived with it goes into the same batch.
                    self.take_arrived(lease)?;
                    self.desk.tick(Instant::now());
                }
                () = &mut alarm => self.desk.tick(Instant::now()),
                () = &mut shutdown => return Err(SessionEnd::ShuttingDown),
            }
        }
    }

    async fn apply_effects(&mut self, lease: &mut B::Lease) -> Result<(), SessionEnd> {
        while let Some(effect) = self.desk.take_effect() {
            match effect {
                Effect::Confirm(tag) => {
                    lease.confirm(tag).await.map_err(SessionEnd::Lost)?;
                    self.context.metrics.events_withheld.inc_by(self.desk.take_withheld());
                }
                Effect::Ask => {
                    let is_drained = lease.is_drained().await.map_err(SessionEnd::Lost)?;
                    self.take_arrived(lease)?;
                    self.desk.told(is_drained, Instant::now());
                }
                Effect::Answer(poll, outcome) => {
                    if !matches!(outcome, Outcome::Replaced) {
                        lease.ensure_held().await.map_err(SessionEnd::Lost)?;
                    }
                    self.answer(poll, outcome);
                }
                Effect::Reply(wish, reply) => self.reply(wish, reply),
                Effect::End(reason) => return Err(SessionEnd::Decided(reason)),
            }
        }
        self.bytes.set(self.desk.bytes());
        self.visible.unconfirmed.store(self.desk.unconfirmed(), Ordering::Relaxed);
        Ok(())
    }

    /// Delivers the messages that have arrived.
    fn take_arrived(&mut self, lease: &mut B::Lease) -> Result<(), SessionEnd> {
        while let Some(next) = lease.next().now_or_never() {
            self.desk.deliver(next.map_err(SessionEnd::Lost)?, Instant::now());
        }
        Ok(())
    }

    fn handle(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Attach(poll, request, reply)) => {
                self.wanted.extend(request.topics.iter().filter(|topic| !self.bound.contains(topic)).cloned());
                self.attach(poll, &request, reply);
            }
            Some(Command::Continue(poll, continuation, reply)) => {
                self.waiting.push((poll, reply));
                self.desk.resume(Poll::resumed(poll, &continuation), Instant::now());
            }
            Some(Command::HungUp(poll)) => self.desk.hung_up(poll),
            Some(Command::Wanted(wanted, reply)) => {
                self.wished += 1;
                let id = WishId(self.wished);
                self.wishes.push((id, reply));
                if let Some(dropped) = self.desk.wish(Wish::new(id, &wanted), Instant::now()) {
                    self.wishes.retain(|(wish, _)| *wish != dropped);
                }
            }
            Some(Command::Abandoned) => self.desk.abandoned(),
            Some(Command::Unbound(topic, noted)) => {
                self.bound.remove(&topic);
                let _ = noted.send(self.desk.is_open());
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
    async fn bind(&mut self) -> Result<(), SessionEnd> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let topics = std::mem::take(&mut self.wanted);
        // On the heap, as it is rare: a Session that waits would be as large.
        Box::pin(self.context.broker.bind(&self.client, &topics)).await.map_err(SessionEnd::NotBound)?;
        self.bound.extend(topics);
        Ok(())
    }

    /// Says that the Lease is released to the gateway that gets the mailbox. The others look for themselves a moment
    /// later: all at once, only one could have it, and each refusal would cost the number of a channel.
    fn tell_handed_over(&mut self, end: &SessionEnd, is_confirmed: bool) {
        if let SessionEnd::Decided(EndReason::HandedOver { wish, has_confirmed_seen }) = end {
            self.visible.is_handed_over.store(true, Ordering::Release);
            self.reply(*wish, Reply::Released { is_seen_confirmed: is_confirmed && *has_confirmed_seen });
        }
    }

    fn reply(&mut self, wish: WishId, reply: Reply) {
        if let Some(at) = self.wishes.iter().position(|(waiting, _)| *waiting == wish) {
            // Where nothing waits for it any more, it is not needed.
            let _ = self.wishes.swap_remove(at).1.send(reply);
        }
    }

    fn answer(&mut self, poll: PollId, outcome: Outcome) {
        if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == poll) {
            let (_, reply) = self.waiting.swap_remove(at);
            // A client that has just hung up says so itself.
            let _ = reply.send(outcome);
        }
    }
}

/// A Session whose Lease is released, and the polls that it has left.
pub(super) struct EndedSession<B: Broker> {
    session: Session<B>,
    end: SessionEnd,
}

impl<B: Broker> EndedSession<B> {
    pub(super) const fn client(&self) -> &ClientId {
        &self.session.client
    }

    /// Answers the polls that are left; polls without an answer ask again.
    pub(super) fn answer_polls(self) {
        let Self { mut session, end } = self;
        // A poll that was displaced has nothing to do with what its successor could not have.
        while let Some((poll, outcome)) = session.desk.take_answer() {
            if matches!(outcome, Outcome::Replaced) {
                session.answer(poll, outcome);
            }
        }
        for poll in session.desk.slowed().collect::<Vec<_>>() {
            session.answer(poll, Outcome::Replaced);
        }
        session.commands.close();
        while let Ok(command) = session.commands.try_recv() {
            if let Command::Attach(poll, _, reply) = command {
                session.waiting.push((poll, reply));
            }
        }
        for (poll, reply) in session.waiting {
            if let Some(outcome) = end.outcome(poll == session.opener, session.desk.has_looked_for(poll)) {
                let _ = reply.send(outcome);
            }
        }
    }
}

impl SessionEnd {
    /// Returns what is left to say to a poll; `None`: it shall ask again.
    fn outcome(&self, opener: bool, has_looked: bool) -> Option<Outcome> {
        match self {
            // Another poll may name topics where the opener named none.
            Self::NotOpened(OpenError::NoMailbox) => opener.then_some(Outcome::NoMailbox),
            Self::NotOpened(OpenError::Held) => Some(Outcome::Held),
            // Another poll may be newer still.
            Self::NotOpened(OpenError::Newer) => opener.then_some(Outcome::Replaced),
            Self::NotOpened(OpenError::Broker(error)) | Self::NotBound(error) => Some(Outcome::Broker(error.clone())),
            Self::Lost(LeaseEnded::MailboxGone) => Some(Outcome::MailboxGone),
            Self::Lost(LeaseEnded::BrokerLost) => Some(Outcome::Broker(BrokerError::Reconnecting)),
            Self::ShuttingDown => Some(Outcome::ShuttingDown { has_looked }),
            Self::Decided(_) => None,
        }
    }

    const fn release(&self) -> Release {
        match self {
            Self::Decided(EndReason::Disconnected) => Release::Disconnected,
            Self::Decided(EndReason::Lingered) => Release::Lingered,
            Self::Decided(EndReason::Unconfirmed) => Release::Unconfirmed,
            Self::Decided(EndReason::HandedOver { .. }) => Release::HandedOver,
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
