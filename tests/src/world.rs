//! What most tests need: a gateway, a broker behind it, and one client with a topic of its own.

use std::time::Duration;

use crate::{Backend, Broker, EventView, Gateway, GatewayBuilder, Poll, eventually_eq, unique};

/// "At once": far below every linger that a test sets, generous to a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A client that subscribed through a gateway of its own, on the shared broker or on one of its own.
pub struct World {
    /// The gateway.
    pub gateway: Gateway,
    /// Publishes, and looks at mailboxes.
    pub backend: Backend,
    /// The client's id.
    pub client: String,
    /// Its topic; it gets this one and all below it.
    pub topic: String,
}

impl World {
    /// Starts a gateway with default flags and subscribes.
    pub async fn new(broker: Broker) -> Self {
        Self::with(broker, |builder| builder).await
    }

    /// Starts a gateway with these flags and subscribes.
    pub async fn with(broker: Broker, flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let world = Self::without_mailbox(broker, flags).await;
        world.poll().wait(0).send(&world.gateway).await.expect_status(204);
        world
    }

    /// Starts a gateway with these flags; the client has no mailbox yet.
    pub async fn without_mailbox(broker: Broker, flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let gateway = flags(broker.gateway().await).start().await;
        gateway.wait_ready().await;
        let backend = broker.behind(&gateway).await;
        Self { gateway, backend, client: unique("alice"), topic: unique("jobs") }
    }

    /// Returns a poll of the client that names its topics.
    pub fn poll(&self) -> Poll {
        Poll::of(&self.client).topics(&format!("{}.#", self.topic)).wait(30)
    }

    /// Reads and confirms all that is in the mailbox, in as many batches as it comes.
    pub async fn read_all(&self) -> Vec<EventView> {
        let (mut events, mut poll) = (Vec::new(), self.poll().wait(0));
        loop {
            let answer = poll.send(&self.gateway).await;
            if answer.status == 204 {
                return events;
            }
            let batch = answer.batch();
            poll = self.poll().last_seen(&batch.last_seen).wait(0);
            events.extend(batch.events);
        }
    }

    /// Returns (messages ready, consumers) of the client's mailbox.
    pub async fn mailbox(&self) -> (Option<u32>, Option<u32>) {
        (self.backend.messages_ready(&self.client).await, self.backend.consumer_count(&self.client).await)
    }

    /// Waits until so many events are back in the mailbox and it is not held: at once, not after a timeout.
    pub async fn is_back(&self, events: u32) {
        let state = async || self.mailbox().await;
        eventually_eq(AT_ONCE, "(messages ready, consumers)", (Some(events), Some(0)), state).await;
    }

    /// Waits until all events of the mailbox are in the gateway's window.
    pub async fn is_handed_over(&self) {
        let ready = async || self.backend.messages_ready(&self.client).await;
        eventually_eq(AT_ONCE, "messages ready", Some(0), ready).await;
    }
}
