//! The only publisher of a topic: one message after the other, over HTTP or over AMQP. A message without a confirm is
//! sent again as the same event: marked, and as another message; or, where the broker stores one event once, as it was.
//! Over AMQP publishers share connections: one for each would be a load of its own.

use std::{sync::Arc, time::Duration};

use amqp::{AmqpUrl, PublishError, PublishingConnection};
use events::{ContentType, Event, EventId};
use rand::{RngExt, rngs::SmallRng};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::ground::Ground;
use crate::{HttpConnection, Request, history::Stored};

/// How often a message is sent before the publisher goes on without a confirm.
const ATTEMPTS: u32 = 50;

/// The pause between two messages of a topic is up to this, unless some topics are quieter than others.
const PAUSE_MS: u64 = 250;

/// The pause where the pace is steady.
const STEADY: Duration = Duration::from_millis(50);

/// The pause after one that was not confirmed.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a confirm is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Publisher {
    ground: Arc<Ground>,
    topic: String,
    random: SmallRng,
    pause_ms: u64,
    is_steady: bool,
    /// The broker knows what it has stored.
    is_stored_once: bool,
    line: Option<Arc<Line>>,
    http: Option<HttpConnection>,
}

/// A connection to RabbitMQ, opened anew when it is lost.
pub(super) struct Line {
    url: AmqpUrl,
    connection: Mutex<Option<Arc<PublishingConnection>>>,
}

impl Line {
    pub(super) fn to(url: &str) -> Self {
        Self { url: url.parse().expect("the URL of a broker"), connection: Mutex::default() }
    }

    async fn connection(&self) -> Option<Arc<PublishingConnection>> {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_none_or(|connection| !connection.channel().is_open()) {
            *connection = PublishingConnection::open(&self.url, "roaming publisher").await.ok().map(Arc::new);
        }
        connection.clone()
    }

    /// Has the next one open another, unless that was done.
    async fn lost(&self, lost: &Arc<PublishingConnection>) {
        self.connection.lock().await.take_if(|connection| Arc::ptr_eq(connection, lost));
    }
}

impl Publisher {
    pub(super) fn new(ground: Arc<Ground>, topic: String, line: Option<Arc<Line>>, random: SmallRng) -> Self {
        let (pause_ms, is_steady, is_stored_once) = (PAUSE_MS, false, false);
        Self { ground, topic, random, pause_ms, is_steady, is_stored_once, line, http: None }
    }

    /// Has it publish so many times less often.
    pub(super) fn slower(self, times: u64) -> Self {
        Self { pause_ms: self.pause_ms * times, ..self }
    }

    /// Has it publish at a steady pace.
    pub(super) fn steady(self) -> Self {
        Self { is_steady: true, ..self }
    }

    /// Relies on a broker that stores one event once, or does not.
    pub(super) fn stored_once(self, is_stored_once: bool) -> Self {
        Self { is_stored_once, ..self }
    }

    pub(super) async fn run(mut self) {
        while self.ground.is_publishing() {
            self.publish().await;
            let pause = Duration::from_millis(self.random.random_range(0..self.pause_ms));
            sleep(if self.is_steady { STEADY } else { pause }).await;
        }
    }

    /// Publishes one event until it is confirmed.
    async fn publish(&mut self) {
        let id = Uuid::from_u128(self.random.random());
        // One of thirty is larger than what a socket takes at once.
        let padding =
            if !self.is_steady && self.random.random_ratio(1, 30) { self.random.random_range(0..400_000) } else { 0 };
        let (mut resent, mut message) = (false, None);
        for _ in 0..ATTEMPTS {
            if let Some(line) = &self.line {
                // An event that is timed begins with a connection.
                line.connection().await;
            }
            let begin = || self.ground.begin(&self.topic, &id.to_string(), resent);
            let number = message.take().unwrap_or_else(begin);
            let payload = format!("{{\"n\":{number},\"padding\":\"{}\"}}", "-".repeat(padding));
            let stored = if self.line.is_some() {
                self.over_amqp(id.into(), resent, payload).await
            } else {
                self.over_http(&id.to_string(), resent, payload).await
            };
            if stored == Stored::Yes || !self.is_stored_once {
                self.ground.settle(&self.topic, number, stored);
            }
            match stored {
                Stored::Yes => return,
                _ if self.is_stored_once => message = Some(number),
                Stored::Perhaps => resent = true,
                Stored::No => {}
            }
            sleep(AGAIN).await;
        }
    }

    async fn over_amqp(&mut self, id: EventId, resent: bool, payload: String) -> Stored {
        let Some(line) = &self.line else { return Stored::No };
        let Some(connection) = line.connection().await else { return Stored::No };
        let topic = self.topic.parse().expect("it is a topic");
        let event = Event { id, resent, ..Event::new(topic, Some(ContentType::json()), payload) };
        let confirmed = async { connection.channel().publish(&event).await?.stored().await };
        match timeout(PATIENCE, confirmed).await {
            Ok(Ok(())) => Stored::Yes,
            Ok(Err(PublishError::Rejected)) => Stored::Perhaps,
            Ok(Err(_)) | Err(_) => {
                line.lost(&connection).await;
                Stored::Perhaps
            }
        }
    }

    async fn over_http(&mut self, id: &str, resent: bool, payload: String) -> Stored {
        let gateway = self.ground.gateways[self.random.random_range(0..self.ground.gateways.len())];
        let mut connection = match self.http.take().filter(|_| self.random.random_ratio(9, 10)) {
            Some(connection) => connection,
            None => match HttpConnection::try_open(gateway).await {
                Ok(connection) => connection,
                Err(_) => return Stored::No,
            },
        };
        let request = Request::publish(&self.topic, "application/json", payload).header("event-id", id);
        let request = if resent { request.header("postern-resent", "true") } else { request };
        if connection.send_unless_left(&request.bytes()).await.is_err() {
            return Stored::Perhaps;
        }
        if self.random.random_ratio(1, 60) {
            sleep(Duration::from_millis(self.random.random_range(0..5))).await;
            connection.reset();
            return Stored::Perhaps;
        }
        let Ok(answer) = connection.answer_unless_left().await else { return Stored::Perhaps };
        match answer.status {
            202 => {
                self.http = Some(connection);
                Stored::Yes
            }
            500.. => Stored::Perhaps,
            _ => panic!("an event was refused: {answer:?}"),
        }
    }
}
