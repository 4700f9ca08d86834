//! Mailboxes that were out of reach, because their node was: what was published meanwhile may be lost to them.
//!
//! RabbitMQ confirms an event although a mailbox whose node is away did not get it. So a mailbox that was met out of
//! reach is noted. Once it can be reached again, a message is stored in it behind everything else, and every gateway
//! hands that over as [`Content::Lost`](broker::Content::Lost). The note goes when the broker has confirmed that
//! message; from then on, no crash takes the news away.
//!
//! The note is in memory, of this gateway and of all others, since any of them may serve the client next, and this one
//! may end. The one that met the mailbox stores the message; others only do before they read the mailbox, or if it was
//! not done for some time. Messages between gateways can be lost: then a client is told twice, but not never.
//!
//! A mailbox that nothing was published to is noted, too: a needless message costs its client a little, and a missing
//! one would cost it events.

mod notes;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::{BrokerError, Seldom};
use events::ClientId;
use lapin::Confirmation;
use tokio::{sync::Notify, time::sleep};
use tracing::{info, warn};

use self::notes::{MAX_NOTES, Note, Notes, Origin};
use super::{call::in_time, connections::Connections, error::home_node, queue, task};

/// The pause between two looks at what is out of reach. Each look takes the number of a channel for good.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the gateway that met a mailbox has, once that can be reached, before others do its work.
const GRACE: Duration = Duration::from_secs(5);

/// How many mailboxes are in one piece of news: of the longest ids, as many as have room in a message to other gateways.
pub(super) const MAX_AT_ONCE: usize = 28;

/// See the module.
#[derive(Debug)]
pub(super) struct OutOfReach {
    connections: Arc<Connections>,
    notes: Mutex<Notes>,
    noted: Notify,
    news: Mutex<VecDeque<News>>,
    is_news: Notify,
}

/// What other gateways are to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Mailboxes of this node are out of reach; its name is empty if the broker did not name it.
    Away(Box<str>, Vec<ClientId>),
    /// Their clients were told.
    Told(Vec<ClientId>),
}

/// The work of telling the client of a mailbox. Without [`Self::done`] the mailbox is noted again.
#[derive(Debug)]
struct Telling<'a> {
    all: &'a OutOfReach,
    /// `None` once it is done.
    note: Option<Note>,
}

impl OutOfReach {
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        Self {
            connections,
            notes: Mutex::default(),
            noted: Notify::new(),
            news: Mutex::default(),
            is_news: Notify::new(),
        }
    }

    /// Notes a mailbox if this is what a call for it has met.
    pub(super) fn met(&self, client: &ClientId, error: &BrokerError) {
        if let BrokerError::QueueAway { reason, .. } = error {
            self.note_own(client, home_node(reason).unwrap_or_default());
        }
    }

    /// Notes a mailbox that was out of reach, or may have been. Nothing is known of its node.
    pub(super) fn suspect(&self, client: &ClientId) {
        self.note_own(client, "");
    }

    fn note_own(&self, client: &ClientId, node: &str) {
        let met = Note { client: client.clone(), node: node.into(), origin: Origin::Here };
        if self.note(met) {
            self.tell_others(News::Away(node.into(), vec![client.clone()]));
        }
    }

    /// Notes mailboxes that another gateway has met.
    pub(super) fn heard(&self, clients: Vec<ClientId>, node: &str) {
        for client in clients {
            self.note(Note { client, node: node.into(), origin: Origin::Elsewhere });
        }
    }

    /// Takes note that another gateway has told these clients.
    pub(super) fn told_elsewhere(&self, clients: Vec<ClientId>) {
        for client in clients {
            self.forget(&client);
        }
    }

    /// Forgets a mailbox that is gone.
    pub(super) fn forget(&self, client: &ClientId) {
        self.notes().take(client);
    }

    /// Tells whether that is news.
    fn note(&self, note: Note) -> bool {
        let noted = self.notes().add(note);
        if noted.is_none() {
            static FULL: Seldom = Seldom::a_minute();
            if let Some(left_out) = FULL.due() {
                warn!(
                    left_out,
                    "more than {MAX_NOTES} mailboxes are out of reach; not all of their clients are told later"
                );
            }
        }
        self.noted.notify_waiters();
        noted.unwrap_or(false)
    }

    /// Tells the client of a mailbox that can be reached, if there is something to tell: before its Lease is opened, so
    /// that the news is in what the Lease finds. Where this fails, it is tried again.
    pub(super) async fn tell(&self, client: &ClientId) -> Result<(), BrokerError> {
        let note = self.notes().take(client);
        match note {
            Some(note) => self.store(Telling { all: self, note: Some(note) }).await,
            None => Ok(()),
        }
    }

    /// Tells the clients of all mailboxes that can be reached again, as long as it is polled.
    pub(super) async fn run(&self) {
        tokio::join!(self.tell_all(Origin::Here), self.tell_all(Origin::Elsewhere));
    }

    async fn tell_all(&self, origin: Origin) {
        loop {
            let noted = self.noted.notified();
            let nodes = self.notes().nodes(origin);
            if nodes.is_empty() {
                noted.await;
            }
            let pause = if origin == Origin::Here { PAUSE } else { GRACE };
            sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
            for node in nodes {
                self.tell_those_of(origin, &node).await;
            }
        }
    }

    /// Tells the clients of one node, up to the first that is still out of reach.
    async fn tell_those_of(&self, origin: Origin, node: &str) {
        let (mut told, mut is_due) = (0_usize, origin == Origin::Here);
        loop {
            let Some(next) = self.notes().next(origin, node) else { break };
            let client = next.client.clone();
            let telling = Telling { all: self, note: Some(next) };
            match task::look(&self.connections, &client).await {
                // A new one tells that it is new.
                Ok(None) => telling.done(),
                Ok(Some(_)) if !is_due => {
                    drop(telling);
                    sleep(GRACE.mul_f64(rand::random_range(1.0..2.0))).await;
                    is_due = true;
                }
                Ok(Some(_)) => match self.store(telling).await {
                    Ok(()) => told += 1,
                    Err(_) => break,
                },
                Err(error) => {
                    drop(telling);
                    // Perhaps its node has a name now.
                    if origin == Origin::Here {
                        self.met(&client, &error);
                    }
                    break;
                }
            }
        }
        if told > 0 {
            info!(
                mailboxes = told,
                node, "mailboxes can be reached again; their clients are told that events may be lost"
            );
        }
    }

    /// Stores the message that says so.
    async fn store(&self, telling: Telling<'_>) -> Result<(), BrokerError> {
        let Some(Note { client, .. }) = &telling.note else { return Ok(()) };
        let (publishing, place) = self.connections.publishing_apart().await?;
        // The message would wait for as long as the broker takes nothing.
        if publishing.is_blocked() {
            return Err(BrokerError::Blocked);
        }
        let stored = in_time("tell of lost events", async {
            let channel = place.open().await?;
            queue::mark_lost(&channel, client).await
        })
        .await?;
        match stored {
            Confirmation::Ack(None) => {
                self.tell_others(News::Told(vec![client.clone()]));
                telling.done();
                Ok(())
            }
            // It is out of reach again, or gone, or full and a policy rejects more.
            Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested => {
                Err(BrokerError::Unavailable("the mailbox took no message".to_owned()))
            }
        }
    }

    /// Waits for what other gateways are to be told.
    pub(super) async fn news(&self) -> News {
        loop {
            let news = self.all_news().pop_front();
            match news {
                Some(news) => return news,
                None => self.is_news.notified().await,
            }
        }
    }

    fn tell_others(&self, news: News) {
        let mut all = self.all_news();
        let rest = match all.back_mut() {
            Some(last) => last.merge(news),
            None => Some(news),
        };
        all.extend(rest);
        self.is_news.notify_one();
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_news(&self) -> MutexGuard<'_, VecDeque<News>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News {
    /// Takes in what came next, if there is room and it is alike; else returns it.
    fn merge(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Away(node, clients), Self::Away(same, more)) if *node == same && clients.len() < MAX_AT_ONCE => {
                clients.extend(more);
                None
            }
            (Self::Told(clients), Self::Told(more)) if clients.len() < MAX_AT_ONCE => {
                clients.extend(more);
                None
            }
            (_, next) => Some(next),
        }
    }
}

impl Telling<'_> {
    fn done(mut self) {
        self.note = None;
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if let Some(note) = self.note.take() {
            self.all.note(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_told_together_and_in_order() {
        let some = |count: usize| vec!["alice".parse::<ClientId>().unwrap(); count];
        let mut all = vec![News::Away("a".into(), some(MAX_AT_ONCE - 1))];
        for news in [
            News::Away("a".into(), some(1)),
            News::Away("a".into(), some(1)),
            News::Away("b".into(), some(1)),
            News::Told(some(1)),
            News::Told(some(1)),
            News::Away("b".into(), some(1)),
        ] {
            let rest = all.last_mut().and_then(|last| last.merge(news));
            all.extend(rest);
        }
        let away = |node: &str, count| News::Away(node.into(), some(count));
        assert_eq!(all, [away("a", MAX_AT_ONCE), away("a", 1), away("b", 1), News::Told(some(2)), away("b", 1)]);
    }
}
