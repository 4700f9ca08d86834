//! What gateways on one broker tell each other.
//!
//! The exchange `postern.control` brings a [`Message`] to the inbox of one gateway, by its instance, or to those of all.
//! Nothing rests on a message: it is transient, expires after a second, and may be lost. A gateway without an inbox,
//! because its user may not have one or because its connection is gone, only waits longer for what others hold, and
//! cannot unbind a mailbox that another one reads.
//!
//! * `inbox` is the queue of this gateway, and what is done with what comes.
//! * `question` asks the holder of a mailbox for it; `unbinding` tells it that the mailbox was unbound.
//! * `message` is what is written. Two versions of it may be in use at once.

mod inbox;
mod message;
mod question;
mod unbinding;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use amqp::names;
use broker::{BrokerError, Remembered, handover::Instance};
use events::ClientId;
use lapin::{BasicProperties, options::BasicPublishOptions};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use self::message::{Answer, Clients, Message, Number, Said};
pub(super) use self::question::{Heard, Question};
use super::{
    connections::{Connections, OwnChannel},
    error::Failure,
    out_of_reach::{News, OutOfReach},
};

/// How long a message is of use. The poll that wants a mailbox has an answer within two seconds.
const EXPIRATION: Duration = Duration::from_secs(1);

/// The routing key of what all gateways get.
const ALL: &str = "all";

/// How many questions go to all gateways in a second at most. Each of them costs as many messages as there are gateways.
const MAX_BROADCASTS: usize = 250;

/// How many of them may be for one mailbox.
const MAX_BROADCASTS_OF_CLIENT: usize = 4;

/// Of how many mailboxes it is remembered which gateway was given them: a megabyte or two.
const MAX_SUCCESSORS: usize = 16_384;

/// The pause between two pieces of news. There are many after the loss of thousands of mailboxes.
const NEWS_PAUSE: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub(super) struct Control {
    connections: Arc<Connections>,
    instance: Instance,
    /// The inbox is open, so the exchange exists. A message to one that does not closes the channel.
    is_open: AtomicBool,
    /// The exchange may be gone.
    doubt: Notify,
    /// On the publishing connection, opened for the first message.
    outbox: tokio::sync::Mutex<Option<OwnChannel>>,
    /// Who waits for answers, by question.
    questions: Mutex<HashMap<Number, mpsc::UnboundedSender<(Instance, Said)>>>,
    broadcasts: Mutex<Broadcasts>,
    /// To which gateway a mailbox was given last.
    successors: Mutex<Remembered<ClientId, Instance>>,
    out_of_reach: Arc<OutOfReach>,
}

impl Control {
    pub(super) fn new(connections: Arc<Connections>, instance: Instance, out_of_reach: Arc<OutOfReach>) -> Self {
        Self {
            connections,
            instance,
            is_open: AtomicBool::new(false),
            doubt: Notify::new(),
            outbox: tokio::sync::Mutex::default(),
            questions: Mutex::default(),
            broadcasts: Mutex::new(Broadcasts { since: Instant::now(), sent: Vec::new() }),
            successors: Mutex::new(Remembered::new(MAX_SUCCESSORS)),
            out_of_reach,
        }
    }

    pub(super) const fn instance(&self) -> Instance {
        self.instance
    }

    /// Tells all gateways of mailboxes that are out of reach, and of clients that were told, as long as it is polled.
    pub(super) async fn tell_news(&self) {
        loop {
            let from = self.instance;
            let message = match self.out_of_reach.news().await {
                News::Away(node, clients) => Message::Away { from, node: node.into(), clients: Clients(clients) },
                News::Told(clients) => Message::Told { from, clients: Clients(clients) },
            };
            self.send(ALL, &message).await;
            sleep(NEWS_PAUSE).await;
        }
    }

    /// Sends a message to one gateway, and tells whether it was sent. What cannot be sent in time is of no use any more.
    async fn tell(&self, to: Instance, message: &Message) -> bool {
        self.send(&to.to_string(), message).await
    }

    /// Sends a question for a mailbox to all gateways, unless too many were sent just now; `None` if it was not tried,
    /// else whether it was sent.
    async fn ask_all(&self, client: &ClientId, message: &Message) -> Option<bool> {
        let may_send = self.broadcasts().take(client, Instant::now());
        if may_send { Some(self.send(ALL, message).await) } else { None }
    }

    /// Returns the gateway that was given a mailbox last.
    fn successor(&self, client: &ClientId) -> Option<Instance> {
        self.successors().get(client).copied()
    }

    async fn send(&self, key: &str, message: &Message) -> bool {
        match timeout(EXPIRATION, self.try_send(key, message)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => debug!(%error, "a message to another gateway was not sent"),
            Err(_) => debug!("a message to another gateway was not sent in time"),
        }
        false
    }

    async fn try_send(&self, key: &str, message: &Message) -> Result<(), BrokerError> {
        let mut outbox = self.outbox.lock().await;
        if !self.is_open.load(Ordering::Relaxed) {
            return Err(BrokerError::NotConnected);
        }
        // While the broker takes nothing, messages would pile up in the library.
        if self.connections.publishing().await?.is_blocked() {
            return Err(BrokerError::Blocked);
        }
        let last = outbox.take();
        if last.as_ref().is_some_and(OwnChannel::was_refused) {
            self.doubt.notify_one();
            return Err(BrokerError::NotConnected);
        }
        let failed = |error| BrokerError::from(Failure("tell another gateway", error));
        let channel = match last.filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.connections.publishing_apart().await?.1.open().await.map_err(failed)?,
        };
        let channel = outbox.insert(channel);
        let properties = BasicProperties::default().with_expiration(EXPIRATION.as_millis().to_string().into());
        let (exchange, options) = (names::CONTROL_EXCHANGE.into(), BasicPublishOptions::default());
        channel.basic_publish(exchange, key.into(), options, &message.encode(), properties).await.map_err(failed)?;
        Ok(())
    }

    /// Brings an answer to its question, if that is still of interest.
    fn answered(&self, answer: Answer, said: Said) {
        if let Some(waiting) = self.questions().get(&answer.req) {
            let _ = waiting.send((answer.from, said));
        }
    }

    fn questions(&self) -> MutexGuard<'_, HashMap<Number, mpsc::UnboundedSender<(Instance, Said)>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn successors(&self) -> MutexGuard<'_, Remembered<ClientId, Instance>> {
        self.successors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broadcasts(&self) -> MutexGuard<'_, Broadcasts> {
        self.broadcasts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was sent to all gateways in the current second.
#[derive(Debug)]
struct Broadcasts {
    since: Instant,
    sent: Vec<ClientId>,
}

impl Broadcasts {
    /// Tells whether one more may be sent, for this mailbox.
    fn take(&mut self, client: &ClientId, now: Instant) -> bool {
        if now >= self.since + Duration::from_secs(1) {
            *self = Self { since: now, sent: Vec::new() };
        }
        let of_client = self.sent.iter().filter(|sent| *sent == client).count();
        let may_send = self.sent.len() < MAX_BROADCASTS && of_client < MAX_BROADCASTS_OF_CLIENT;
        if may_send {
            self.sent.push(client.clone());
        }
        may_send
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_broadcasts_are_sent_in_a_second() {
        let start = Instant::now();
        let mut broadcasts = Broadcasts { since: start, sent: Vec::new() };
        let mut take = |client: &str, ms| broadcasts.take(&client.parse().unwrap(), start + Duration::from_millis(ms));
        let mut sent = |ms| (0..1000).filter(|n| take(&format!("c{n}"), ms)).count();
        assert_eq!([0, 999, 1000, 3000].map(&mut sent), [250, 0, 250, 250]);
        // One that comes again and again leaves room for others.
        let mut of_one = || (0..1000).filter(|_| take("alice", 5000)).count();
        assert_eq!((of_one(), of_one()), (4, 0));
        assert!(take("bob", 5000));
    }
}
