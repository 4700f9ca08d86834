//! What a promise is tested with: a broker, a reader that no other test has, and what came.

use std::time::Duration;

use broker::{Broker, Content, Delivery, Lease, LeaseEnded, LeaseRequest, OpenError, handover::Claim};
use events::{ClientId, Event, EventId, Topic, TopicPattern, testing};
use postern_tests::{PATIENCE, unique};
use tokio::time::timeout;

/// Longer than any test.
pub(super) const NEVER: Duration = Duration::from_hours(1);

/// What [`numbers`] gives of nothing.
pub(super) const NOTHING: [usize; 0] = [];

/// How long nothing must come where nothing may.
const SILENCE: Duration = Duration::from_millis(300);

/// A running broker.
pub(super) trait Factory: Sized {
    type Broker: Broker + Clone;

    /// Starts a broker that keeps a mailbox without a reader for so long.
    async fn start(expiry: Duration) -> Self;

    fn broker(&self) -> &Self::Broker;

    /// Tells whether a client has a mailbox, without keeping it alive by the question.
    async fn has_mailbox(&self, client: &ClientId) -> bool;
}

/// A broker that keeps mailboxes when it ends, and can be ended without harm to other tests.
pub(super) trait Durable: Factory {
    /// Ends in order, without open Leases, and starts again.
    async fn restart(&mut self);

    /// Ends as by a power button, and starts again.
    async fn crash(&mut self);
}

/// A client, and a topic of its own.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) client: ClientId,
    topic: String,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { client: unique("alice").parse().unwrap(), topic: unique("jobs") }
    }

    /// Returns another client with the same topic.
    pub(super) fn beside(&self) -> Self {
        Self { client: unique("bob").parse().unwrap(), topic: self.topic.clone() }
    }

    /// Returns the topic with these words after it.
    pub(super) fn topic(&self, words: &str) -> Topic {
        format!("{}{words}", self.topic).parse().unwrap()
    }

    /// Returns the topic with these words after it, as a pattern.
    pub(super) fn pattern(&self, words: &str) -> TopicPattern {
        format!("{}{words}", self.topic).parse().unwrap()
    }

    /// Asks for a mailbox of everything below the topic, for a client that has seen nothing.
    pub(super) fn request(&self) -> LeaseRequest {
        LeaseRequest { topics: vec![self.pattern(".#")], ..self.again() }
    }

    /// Asks for a mailbox that exists.
    pub(super) fn again(&self) -> LeaseRequest {
        let client = self.client.clone();
        LeaseRequest {
            client,
            topics: Vec::new(),
            seen_before: false,
            last_seen: None,
            window: 64,
            claim: Claim::default(),
        }
    }

    /// Makes an empty mailbox, without a marker.
    pub(super) async fn subscribe(&self, broker: &impl Broker) {
        open(broker, self.request()).await.release().await;
    }

    /// Returns an event with this number.
    pub(super) fn event(&self, words: &str, number: usize) -> Event {
        testing::event(self.topic(words).as_str(), number)
    }

    /// Publishes these numbers, one after the other.
    pub(super) async fn publish(&self, broker: &impl Broker, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            broker.publish(&self.event(".x", number)).await.unwrap();
        }
    }

    /// Publishes one more event and reads up to it: returns what came before.
    pub(super) async fn rest(&self, broker: &impl Broker, lease: &mut impl Lease, words: &str) -> Vec<Delivery> {
        const LAST: usize = usize::MAX;
        broker.publish(&self.event(words, LAST)).await.unwrap();
        let mut rest = Vec::new();
        loop {
            let delivery = next(lease).await;
            lease.confirm(delivery.tag).await.unwrap();
            match &delivery.content {
                Content::Event(event) if *event.payload == LAST.to_string() => return rest,
                _ => rest.push(delivery),
            }
        }
    }
}

pub(super) async fn open<B: Broker>(broker: &B, request: LeaseRequest) -> B::Lease {
    broker.open(request).await.expect("the mailbox is free")
}

/// Says why no Lease could be opened.
pub(super) async fn refused<B: Broker>(broker: &B, request: LeaseRequest) -> OpenError {
    match broker.open(request).await {
        Ok(_) => panic!("a lease was opened"),
        Err(error) => error,
    }
}

pub(super) async fn next(lease: &mut impl Lease) -> Delivery {
    timeout(PATIENCE, lease.next()).await.expect("something should come").expect("the lease is open")
}

/// Takes so many.
pub(super) async fn take(lease: &mut impl Lease, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(next(lease).await);
    }
    taken
}

/// Returns how a Lease ended.
pub(super) async fn end(lease: &mut impl Lease) -> LeaseEnded {
    loop {
        if let Err(ended) = timeout(PATIENCE, lease.next()).await.expect("the lease should end") {
            return ended;
        }
    }
}

/// Checks that nothing comes for a while.
pub(super) async fn is_silent(lease: &mut impl Lease) {
    if let Ok(next) = timeout(SILENCE, lease.next()).await {
        panic!("nothing should come, but {next:?} did");
    }
}

#[track_caller]
pub(super) fn number(delivery: &Delivery) -> usize {
    match &delivery.content {
        Content::Event(event) => testing::number(event),
        Content::Created(_) | Content::Lost(_) => panic!("an event should come, not {delivery:?}"),
    }
}

#[track_caller]
pub(super) fn numbers(deliveries: &[Delivery]) -> Vec<usize> {
    deliveries.iter().map(number).collect()
}

#[track_caller]
pub(super) fn marker(delivery: &Delivery) -> EventId {
    match &delivery.content {
        Content::Created(id) | Content::Lost(id) => id.clone(),
        Content::Event(_) => panic!("a marker should come, not {delivery:?}"),
    }
}

/// Checks the flags of what a mailbox gives after `handed_over` of it were: those have it, and whatever else has it
/// comes before the first that has not, and was within the window.
#[track_caller]
pub(super) fn assert_flags(deliveries: &[Delivery], handed_over: usize, window: u16) {
    let flagged = deliveries.iter().take_while(|delivery| delivery.redelivered).count();
    assert!(flagged >= handed_over, "{flagged} are flagged, {handed_over} were handed over: {deliveries:?}");
    assert!(flagged <= handed_over.max(usize::from(window)), "{flagged} are flagged: {deliveries:?}");
    assert!(deliveries[flagged..].iter().all(|delivery| !delivery.redelivered), "flagged too late: {deliveries:?}");
}
