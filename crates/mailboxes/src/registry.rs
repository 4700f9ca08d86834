//! At most one Session for each client, and the way there.
//!
//! A Session leaves the registry only after its Lease is released, so a poll that comes meanwhile waits in the old
//! Session's queue, is told to ask again, and opens the next one: two Leases of one client never meet in this process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use broker::{
    Broker,
    handover::{Holder, Noting, Replying, Wanted},
};
use events::{ClientId, TopicPattern};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    context::{Context, MailboxOptions},
    metrics::MailboxMetrics,
    poll::{Continuation, Outcome, PollId, PollRequest},
    session::{Command, Session, Visible},
};

/// How long a Session is waited for that will end by itself; the broker tells of a deletion in milliseconds.
const END_WAIT: Duration = Duration::from_secs(1);

/// Brings polls to Sessions. Cloning shares it.
pub struct Registry<B: Broker>(Arc<Shared<B>>);

impl<B: Broker> Clone for Registry<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<B: Broker> {
    context: Arc<Context<B>>,
    sessions: Mutex<HashMap<ClientId, Entry>>,
    polls: AtomicU64,
    tasks: TaskTracker,
}

#[derive(Clone)]
struct Entry {
    commands: mpsc::UnboundedSender<Command>,
    visible: Arc<Visible>,
}

/// What a poll got, and where to complain if it does not arrive.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub outcome: Outcome,
    /// `None` where no Session gave it.
    pub receipt: Option<Receipt>,
}

/// Names an answered poll to its Session.
#[derive(Debug, Clone)]
pub struct Receipt {
    poll: PollId,
    commands: mpsc::UnboundedSender<Command>,
    session: Arc<Visible>,
}

impl Receipt {
    /// Continues after what the poll got; `None`: its Session is over, and the mailbox was not given to a reader at
    /// another gateway. Dropping the call means that the client hung up.
    pub async fn resume(&self, continuation: Continuation) -> Option<Outcome> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Continue(self.poll, Box::new(continuation), reply));
        let mut waiting = Waiting(Some(self.clone()));
        let answered = if sent.is_ok() { answer.await.ok() } else { None };
        waiting.0 = None;
        answered.or_else(|| self.session.is_handed_over.load(Ordering::Acquire).then_some(Outcome::Replaced))
    }

    /// Says that the answer did not arrive: if no later poll came, the Session gives everything back at once.
    pub fn undelivered(&self) {
        // A Session that is over has given everything back.
        let _ = self.commands.send(Command::HungUp(self.poll));
    }
}

/// A poll that waits. Dropped before it was answered, it says that its client hung up.
struct Waiting(Option<Receipt>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(receipt) = &self.0 {
            receipt.undelivered();
        }
    }
}

impl<B: Broker> Registry<B> {
    /// Makes an empty registry.
    #[must_use]
    pub fn new(broker: Arc<B>, options: MailboxOptions, metrics: Arc<MailboxMetrics>) -> Self {
        Self(Arc::new(Shared {
            context: Arc::new(Context::new(broker, options, metrics)),
            sessions: Mutex::default(),
            polls: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        }))
    }

    /// Holds a poll until there is an answer. Dropping the call means that the client hung up.
    pub async fn poll(&self, client: &ClientId, request: impl Into<Arc<PollRequest>>) -> Answered {
        let poll = PollId(self.0.polls.fetch_add(1, Ordering::Relaxed));
        let request = request.into();
        loop {
            if self.0.context.shutdown.has_begun() {
                return Answered { outcome: Outcome::ShuttingDown { has_looked: false }, receipt: None };
            }
            let Some(Entry { commands, visible }) = self.0.session(client) else {
                return Answered { outcome: Outcome::TooManyMailboxes, receipt: None };
            };
            let (reply, answer) = oneshot::channel();
            if commands.send(Command::Attach(poll, Arc::clone(&request), reply)).is_err() {
                continue;
            }
            let mut waiting = Waiting(Some(Receipt { poll, commands, session: visible }));
            let answer = answer.await;
            let receipt = waiting.0.take();
            if let Ok(outcome) = answer {
                return Answered { outcome, receipt };
            }
        }
    }

    /// Takes note of a poll whose client had hung up before the poll could be held: it takes no place, but if no other
    /// poll is held, the Session gives everything back at once.
    pub fn abandoned(&self, client: &ClientId) {
        if let Some(entry) = self.0.sessions().get(client) {
            let _ = entry.commands.send(Command::Abandoned);
        }
    }

    /// Returns how many Deliveries a client has not confirmed; `None` if it has no Session here.
    #[must_use]
    pub fn unconfirmed(&self, client: &ClientId) -> Option<usize> {
        self.0.sessions().get(client).map(|entry| entry.visible.unconfirmed.load(Ordering::Relaxed))
    }

    /// Waits for the end of the Session that a client has at the time of the call, at most 1 s: a poll that comes
    /// after the deletion of a mailbox must not meet a Session that has not heard of it yet.
    pub fn session_closed(&self, client: &ClientId) -> impl Future<Output = ()> + use<B> {
        let commands = self.0.sessions().get(client).map(|entry| entry.commands.clone());
        async move {
            if let Some(commands) = commands {
                let _ = timeout(END_WAIT, commands.closed()).await;
            }
        }
    }

    /// Returns how many Sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0.sessions().len()
    }

    /// Ends every Session: releases its Lease, then answers its poll. Spread over a time that grows with their number,
    /// 2 ms for each but at most `grace`, so that the clients do not reach the next gateway all at once.
    pub async fn shut_down(&self, grace: Duration) {
        let open = u32::try_from(self.0.sessions().len()).unwrap_or(u32::MAX);
        self.0.context.shutdown.begin((Duration::from_millis(2) * open).min(grace));
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl<B: Broker> Holder for Registry<B> {
    fn hand_over(&self, wanted: Wanted) -> Option<Replying> {
        let commands = self.0.sessions().get(&wanted.client)?.commands.clone();
        Some(Box::pin(async move {
            let (reply, replied) = oneshot::channel();
            commands.send(Command::Wanted(Box::new(wanted), reply)).ok()?;
            replied.await.ok()
        }))
    }

    fn unbound(&self, client: &ClientId, topic: &TopicPattern) -> Option<Noting> {
        let (reply, noted) = oneshot::channel();
        self.0.sessions().get(client)?.commands.send(Command::Unbound(topic.clone(), reply)).ok()?;
        Some(Box::pin(async move { noted.await.unwrap_or_default() }))
    }
}

impl<B: Broker> Shared<B> {
    fn sessions(&self) -> MutexGuard<'_, HashMap<ClientId, Entry>> {
        // No code that can panic runs under this lock.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the way to the Session of a client, and starts one if there is none; `None` if there are too many.
    fn session(self: &Arc<Self>, client: &ClientId) -> Option<Entry> {
        let mut sessions = self.sessions();
        // A Session leaves before it closes its channel; one that is here and closed has died of a bug.
        if let Some(entry) = sessions.get(client).filter(|entry| !entry.commands.is_closed()) {
            return Some(entry.clone());
        }
        if sessions.len() >= self.context.options.max_mailboxes {
            return None;
        }
        // Unbounded, so that a hang-up can be told from `Drop`. Polls come only as fast as their connections are
        // accepted, and wait here no longer than a broker that does not answer is waited for.
        let (commands, receiver) = mpsc::unbounded_channel();
        let visible = Arc::<Visible>::default();
        let (shared, client_of, seen) = (Arc::clone(self), client.clone(), Arc::clone(&visible));
        self.tasks.spawn(async move {
            // Begun here: a task that is handed a Session has room for it twice.
            if let Some(ended) = Session::run(Arc::clone(&shared.context), client_of, receiver, seen).await {
                shared.forget(ended.client());
                ended.answer_polls();
            }
        });
        let entry = Entry { commands, visible };
        if sessions.insert(client.clone(), entry.clone()).is_none() {
            self.context.metrics.sessions.inc();
        }
        Some(entry)
    }

    /// Takes a Session out whose Lease is released.
    fn forget(&self, client: &ClientId) {
        if self.sessions().remove(client).is_some() {
            self.context.metrics.sessions.dec();
        }
    }
}
