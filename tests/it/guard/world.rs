//! A gateway with a client that holds a poll, and what must not happen to them.

use std::time::Duration;

use postern_tests::{Broker, Gateway, HttpConnection, Poll, Request, eventually_eq, unique};

/// Events are for a client and its topic; the stranger has no mailbox.
pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) client: String,
    /// The client's mailbox gets `<topic>.mine`.
    pub(super) topic: String,
    pub(super) stranger: String,
    held: HttpConnection,
}

impl World {
    /// Starts a gateway, and a poll that waits.
    pub(super) async fn new(flags: &[&str]) -> Self {
        let gateway = Broker::Embedded.gateway().await;
        let gateway = flags.iter().fold(gateway, |gateway, flag| gateway.switch(flag)).start().await;
        gateway.wait_ready().await;
        Self::on(gateway).await
    }

    /// Begins anew on the same gateway, with names that were never used.
    pub(super) async fn anew(self) -> Self {
        Self::on(self.gateway).await
    }

    async fn on(gateway: Gateway) -> Self {
        let (client, topic, stranger) = (unique("alice"), unique("jobs"), unique("stranger"));
        let poll = Poll::of(&client).topics(&format!("{topic}.mine")).wait(55);
        let held = poll.hold(&gateway).await;
        let world = Self { gateway, client, topic, stranger, held };
        world.is_connected().await;
        world
    }

    /// Checks that nothing was published, made, bound or ended, and that no poll was displaced.
    pub(super) async fn is_as_it_was(&mut self) {
        assert_eq!(self.effect().await, None);
        self.is_connected().await;
        // No pattern was added.
        let evil = Request::publish(&format!("{}.evil", self.topic), "text/plain", "evil");
        evil.send(self.gateway.address()).await.expect_status(202);
        self.held_poll_gets("mine").await;
    }

    /// Returns what has happened to it, if anything.
    pub(super) async fn effect(&mut self) -> Option<&'static str> {
        let path = format!("/topics/{}.%23/events?wait=0&last_seen=oldest", self.topic);
        let made = format!("/clients/{}", self.stranger);
        if Request::get(&path).send(self.gateway.address()).await.status != 204 {
            Some("an event was published")
        } else if Request::get(&made).send(self.gateway.address()).await.status != 404 {
            Some("a mailbox was made")
        } else if !self.held.is_silent(Duration::from_millis(20)).await {
            Some("the poll was displaced, or its mailbox deleted")
        } else {
            None
        }
    }

    /// Publishes what the client's mailbox gets, and waits for the poll to bring exactly that.
    pub(super) async fn held_poll_gets(&mut self, payload: &str) {
        let publish = Request::publish(&format!("{}.mine", self.topic), "text/plain", payload);
        publish.send(self.gateway.address()).await.expect_status(202);
        let batch = self.held.answer().await.batch();
        let data: Vec<_> = batch.events.iter().map(|event| event.data.clone().unwrap()).collect();
        assert_eq!(data, [payload]);
    }

    async fn is_connected(&self) {
        let path = format!("/clients/{}", self.client);
        let connected = async || {
            let answer = Request::get(&path).send(self.gateway.address()).await;
            (answer.status == 200).then(|| answer.json()["connected"].clone())
        };
        eventually_eq(Duration::from_secs(20), "connected", Some(true.into()), connected).await;
    }
}
