//! A follower of a feed, from the oldest event on, over all gateways.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, rngs::SmallRng};
use tokio::time::{Instant, sleep, timeout};

use super::ground::Ground;
use crate::{
    Batch, EventStream, HttpConnection, Request,
    history::{FeedStep, Place, Seen},
};

/// How long a follower that reads to the end of its feed may come no further: gateways that start read the feed first.
const STANDSTILL: Duration = Duration::from_secs(90);

const REFUSED: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Follower {
    ground: Arc<Ground>,
    feed: usize,
    name: String,
    random: SmallRng,
    /// The newest last.
    places: Vec<Place>,
}

impl Follower {
    pub(super) fn new(ground: Arc<Ground>, number: usize, random: SmallRng) -> Self {
        let feed = number % ground.feeds.len();
        let name = format!("follower {number} of {}", ground.feeds[feed].0);
        Self { ground, feed, name, random, places: vec![Place::Oldest] }
    }

    pub(super) async fn run(mut self) {
        while self.ground.is_roaming() {
            let after = if self.random.random_ratio(1, 10) {
                self.places[self.random.random_range(0..self.places.len())].clone()
            } else {
                self.newest()
            };
            if self.random.random_ratio(1, 10) {
                self.asks_for_the_newest().await;
            } else if self.random.random_ratio(1, 4) {
                self.streams(after).await;
            } else {
                self.polls(after).await;
            }
            // Now and then for so long that the log goes on without it; often where a log forgets.
            let often = if self.ground.retention { 3 } else { 20 };
            let pause = if self.random.random_ratio(1, often) { 3000 } else { 200 };
            sleep(Duration::from_millis(self.random.random_range(0..pause))).await;
        }
        let mut moved = Instant::now();
        while !self.ground.has_failed() {
            let before = self.newest();
            self.polls(before.clone()).await;
            let Place::After(place) = self.newest() else { continue };
            if self.ground.is_at_end(self.feed, &place) || moved.elapsed() > STANDSTILL {
                return self.ground.finish_feed(self.feed, &self.name, &place);
            }
            if Place::After(place) != before {
                moved = Instant::now();
            }
        }
    }

    fn newest(&self) -> Place {
        self.places.last().cloned().unwrap_or(Place::Oldest)
    }

    fn target(&mut self, after: &Place) -> String {
        let after = match after {
            Place::Oldest => "oldest",
            Place::After(token) => token,
        };
        let (wait, limit) = (self.random.random_range(0..3), [1, 3, 20, 500][self.random.random_range(0..4)]);
        format!("/topics/{}/events?last_seen={after}&wait={wait}&limit={limit}", self.ground.feeds[self.feed].0)
    }

    async fn polls(&mut self, after: Place) {
        let gateway = self.gateway();
        let target = self.target(&after);
        let answered = async {
            let mut connection = HttpConnection::try_open(gateway).await.ok()?;
            connection.send_unless_left(&Request::get(&target).bytes()).await.ok()?;
            if self.random.random_ratio(1, 15) {
                sleep(Duration::from_millis(self.random.random_range(0..50))).await;
                connection.reset();
                return None;
            }
            connection.answer_unless_left().await.ok()
        };
        let Some(answer) = answered.await else { return self.broken("no answer").await };
        match answer.status {
            200 => {
                let Batch { events, last_seen, reset } = answer.batch();
                self.got(after, events.iter().map(Seen::of).collect(), reset, last_seen);
            }
            204 if answer.header("connection") != Some("close") => {
                let place = answer.header("last-seen").expect("every answer of a feed tells the place").to_owned();
                self.got(after, Vec::new(), false, place);
            }
            status => self.broken(&status.to_string()).await,
        }
    }

    /// Asks for the newest event of a topic, as a client does without a place. That is no reading from place to place.
    async fn asks_for_the_newest(&mut self) {
        let topic = &self.ground.feeds[self.random.random_range(0..self.ground.feeds.len())].0;
        let target = format!("/topics/{topic}/events?wait=0");
        if let Ok(mut connection) = HttpConnection::try_open(self.gateway()).await
            && connection.send_unless_left(&Request::get(&target).bytes()).await.is_ok()
        {
            let _ = connection.answer_unless_left().await;
        }
    }

    async fn streams(&mut self, mut after: Place) {
        let gateway = self.gateway();
        let target = self.target(&after);
        let opened = EventStream::open_unless_left(gateway, &target, "").await;
        let Ok(mut stream) = opened else { return self.broken("no stream").await };
        let end = Instant::now() + Duration::from_millis(self.random.random_range(0..2000));
        let mut reset = false;
        while let Ok(Ok(Some(event))) = timeout(end - Instant::now(), stream.next_unless_left()).await {
            if event.kind == "reset" {
                reset = true;
                continue;
            }
            let text = |name: &str| event.data[name].as_str().expect("an event has text").to_owned();
            let (topic, id) = (text("topic"), text("id"));
            let seen = Seen { topic, number: event.number("n"), id, redelivered: event.redelivered() };
            let before = std::mem::replace(&mut after, Place::After(event.id.clone()));
            self.got(before, vec![seen], std::mem::take(&mut reset), event.id);
        }
        if self.random.random_ratio(1, 2) { stream.reset() } else { stream.close().await }
    }

    fn gateway(&mut self) -> std::net::SocketAddr {
        self.ground.gateways[self.random.random_range(0..self.ground.gateways.len())]
    }

    fn got(&mut self, after: Place, events: Vec<Seen>, reset: bool, place: String) {
        let is_newest = after == self.newest();
        let step = FeedStep::Events { after, events, reset, place: place.clone() };
        self.ground.record_feed(self.feed, &self.name, &step);
        if is_newest {
            self.places.push(Place::After(place));
            if self.places.len() > 20 {
                self.places.remove(1);
            }
        }
    }

    async fn broken(&self, how: &str) {
        self.ground.record_feed(self.feed, &self.name, &FeedStep::Broken(how.to_owned()));
        sleep(REFUSED).await;
    }
}
