//! Publishers that speak AMQP, each over a connection of its own with confirms.
//!
//! The AMQP library needs a runtime, which has one thread. It gets events and gives back what became of each; the event
//! loop is woken for that. A publisher has one event on its way at a time here, too. Times are taken in this thread:
//! when the confirm came, not when the loop had time for it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use amqp::{AmqpUrl, AmqpUrls, ConnectError, PublishError, PublishingConnection};
use events::{ContentType, Event, Topic};
use mio::{Registry, Token, Waker};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use crate::{clock, failure::Failure};

/// What the broker's operator sees.
const CONNECTION_NAME: &str = "postern load";

/// How long a connection may take to be made before the run begins.
const CONNECT: Duration = Duration::from_secs(10);

/// How long connections may take to be closed at the end.
const CLOSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct AmqpPublishers {
    /// By publisher. At most one event waits in each.
    events: Vec<UnboundedSender<Sending>>,
    outcomes: Arc<Outcomes>,
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
}

/// An event to be sent.
#[derive(Debug)]
struct Sending {
    /// The number within its stream.
    number: u32,
    event: Event,
}

/// What became of an event.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Of which publisher.
    pub(super) publisher: usize,
    /// The number within its stream.
    pub(super) number: u32,
    /// When.
    pub(super) at: u64,
    pub(super) result: Result<(), Failure>,
}

#[derive(Debug)]
struct Outcomes {
    all: Mutex<Vec<Outcome>>,
    loop_waker: Waker,
}

/// Says why a broker cannot be published to, before anything is measured.
pub(crate) fn check(urls: &AmqpUrls) -> io::Result<()> {
    runtime()?.block_on(async {
        for url in urls.iter() {
            let cannot = |why: String| io::Error::other(format!("cannot publish to {url}: {why}"));
            match timeout(CONNECT, PublishingConnection::open(url, CONNECTION_NAME)).await {
                Ok(Ok(connection)) => drop(timeout(CLOSE, connection.close()).await),
                Ok(Err(error)) => return Err(cannot(error.to_string())),
                Err(_) => return Err(cannot(format!("no answer within {} s", CONNECT.as_secs()))),
            }
        }
        Ok(())
    })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

impl AmqpPublishers {
    /// Makes so many, spread over the addresses of a broker, which connect with their first event. The loop is woken
    /// with a token.
    pub(super) fn start(
        urls: &AmqpUrls,
        count: usize,
        deadline: u64,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let runtime = runtime()?;
        let loop_waker = Waker::new(registry, token)?;
        let outcomes = Arc::new(Outcomes { all: Mutex::default(), loop_waker });
        let urls: Vec<AmqpUrl> = urls.iter().cloned().collect();
        let urls = urls.into_iter().cycle().take(count).enumerate();
        let events = urls.map(|(publisher, url)| {
            let (sender, receiver) = unbounded_channel();
            let link = Link { publisher, url, connection: None, deadline: Duration::from_nanos(deadline) };
            runtime.spawn(link.publish(receiver, Arc::clone(&outcomes)));
            sender
        });
        Ok(Self { events: events.collect(), outcomes, runtime: Some(runtime) })
    }

    /// Sends an event after the one that this publisher sent before.
    pub(super) fn send(&self, publisher: usize, number: u32, topic: &str, payload: &[u8]) {
        let event = Event::new(Topic::from_routing_key(topic), Some(ContentType::json()), payload.to_vec());
        // A publisher that has ended confirms nothing, and the event counts as not answered for.
        let _ = self.events[publisher].send(Sending { number, event });
    }

    /// Takes what became of the events since this was last called.
    pub(super) fn take(&self) -> Vec<Outcome> {
        std::mem::take(&mut *self.outcomes.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for AmqpPublishers {
    fn drop(&mut self) {
        // Each publisher closes its connection when its events end.
        self.events.clear();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(CLOSE);
        }
    }
}

/// One publisher.
struct Link {
    publisher: usize,
    url: AmqpUrl,
    connection: Option<PublishingConnection>,
    /// How long a confirm may take, and the connecting before it.
    deadline: Duration,
}

impl Link {
    async fn publish(mut self, mut events: UnboundedReceiver<Sending>, outcomes: Arc<Outcomes>) {
        while let Some(Sending { number, event }) = events.recv().await {
            let result = timeout(self.deadline, self.send(&event)).await.unwrap_or(Err(Failure::NotAnswered));
            if result.is_err() {
                self.connection = None;
            }
            let outcome = Outcome { publisher: self.publisher, number, at: clock::now(), result };
            outcomes.all.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            // The loop looks at its outcomes again when the next one comes.
            let _ = outcomes.loop_waker.wake();
        }
        if let Some(connection) = &self.connection {
            let _ = timeout(CLOSE, connection.close()).await;
        }
    }

    async fn send(&mut self, event: &Event) -> Result<(), Failure> {
        if self.connection.is_none() {
            let opened = PublishingConnection::open(&self.url, CONNECTION_NAME).await;
            self.connection = Some(opened.map_err(|error| Failure::from(&error))?);
        }
        let Some(connection) = &self.connection else { return Err(Failure::Closed) };
        let published = async { connection.channel().publish(event).await?.stored().await };
        published.await.map_err(|error| Failure::from(&error))
    }
}

impl From<&ConnectError> for Failure {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Unreachable(_) => Self::BrokerUnreachable,
            ConnectError::Refused(_) | ConnectError::NoExchange(_) | ConnectError::Untrusted(_) => Self::BrokerRefused,
        }
    }
}

impl From<&PublishError> for Failure {
    fn from(error: &PublishError) -> Self {
        match error {
            PublishError::Unwritable(_) | PublishError::Refused(_) => Self::EventRefused,
            PublishError::Rejected => Self::QueueFull,
            PublishError::Lost(_) => Self::Closed,
        }
    }
}
