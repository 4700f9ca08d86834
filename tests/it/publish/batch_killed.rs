//! Batches whose gateway is killed: what was answered by `202` is there whole and in order, for mailboxes and feeds. On the embedded
//! broker a batch without an answer is there whole or not at all; on RabbitMQ, where a second gateway reads, a part of it may be.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postern_tests::{Gateway, HttpConnection, Poll, Request, eventually, shared_node, unique};
use serde_json::json;
use tokio::time::sleep;

use super::batch::batch;

const PATIENCE: Duration = Duration::from_mins(1);

/// How many events a batch has.
const SIZE: u64 = 200;

/// How often the gateway is killed, and after how many confirmed batches at least.
const KILLS: u64 = 5;
const CONFIRMED: usize = 2;

/// What is published, batch by batch.
struct Published {
    topic: String,
    /// How many batches were sent.
    sent: u64,
    /// Those that were confirmed.
    confirmed: Vec<u64>,
}

impl Published {
    /// Publishes to a gateway that is killed in the middle, and starts it again.
    async fn until_killed(&mut self, gateway: &mut Gateway) {
        let count = Arc::<AtomicUsize>::default();
        let publishing = tokio::spawn(publish(gateway.address(), self.topic.clone(), self.sent, Arc::clone(&count)));
        eventually(PATIENCE, "some batches to be confirmed", async || {
            let confirmed = count.load(Ordering::Relaxed);
            if confirmed < CONFIRMED { Err(confirmed) } else { Ok(()) }
        })
        .await;
        // Anywhere in one of the batches that follow.
        sleep(Duration::from_millis(rand::random_range(0..40))).await;
        gateway.kill9();
        let (sent, confirmed) = publishing.await.unwrap();
        self.sent = sent;
        self.confirmed.extend(confirmed);
        gateway.start_again().await;
        gateway.wait_ready().await;
    }

    /// Panics unless each confirmed batch is in what was read, whole, and all is in order and came once.
    fn are_in(&self, reader: &str, numbers: &[u64]) {
        assert!(numbers.is_sorted_by(|one, next| one < next), "{reader}: out of order, or again: {numbers:?}");
        let is_in = |batch: &u64| {
            let begin = numbers.partition_point(|number| *number < batch * SIZE);
            numbers[begin..].iter().copied().take_while(|number| *number < (batch + 1) * SIZE).eq(content(*batch))
        };
        let torn: Vec<_> = self.confirmed.iter().filter(|batch| !is_in(batch)).collect();
        assert!(torn.is_empty(), "{reader}: batches {torn:?} are not whole in {numbers:?}");
    }
}

const fn content(batch: u64) -> Range<u64> {
    batch * SIZE..(batch + 1) * SIZE
}

/// Publishes batches from a number on until the gateway hangs up; returns the next number, and those that were confirmed.
async fn publish(at: SocketAddr, topic: String, from: u64, count: Arc<AtomicUsize>) -> (u64, Vec<u64>) {
    let (mut connection, mut confirmed) = (HttpConnection::open(at).await, Vec::new());
    for number in from.. {
        let event = |n: u64| json!({ "topic": topic, "data": { "n": n, "filler": "x".repeat(300) } });
        let request = batch(&content(number).map(event).collect::<Vec<_>>());
        let Ok(answer) = connection.request_unless_left(&request).await else { return (number + 1, confirmed) };
        answer.expect_status(202);
        confirmed.push(number);
        count.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("the gateway is killed")
}

/// Reads a feed or a mailbox at this path, from a place on if there is one, until this number comes; returns those before it.
async fn read_until(last: u64, at: SocketAddr, path: String, mut place: Option<String>) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let last_seen = place.as_ref().map_or(String::new(), |place| format!("&last_seen={place}"));
        let answer = Request::get(&format!("{path}?wait=20&limit=500{last_seen}")).send(at).await;
        if answer.status == 204 {
            continue;
        }
        let batch = answer.expect_status(200).batch();
        numbers.extend(batch.numbers("n"));
        place = Some(batch.last_seen);
        if numbers.last() == Some(&last) {
            numbers.pop();
            return numbers;
        }
    }
}

fn feed(topic: &str) -> (String, Option<String>) {
    (format!("/topics/{topic}/events"), Some("oldest".to_owned()))
}

fn mailbox(client: &str) -> (String, Option<String>) {
    (format!("/clients/{client}/events"), None)
}

/// Publishes the event at which readers end.
async fn publish_last(gateway: &Gateway, topic: &str) -> u64 {
    let last = u64::MAX;
    batch(&[json!({ "topic": topic, "data": { "n": last } })]).send(gateway.address()).await.expect_status(202);
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_a_gateway_that_is_killed_come_whole_and_in_order_to_clients_of_another_one() {
    let url = shared_node().await.vhost("batches").await;
    let start = async || {
        let gateway = Gateway::builder().amqp_url(&url).with_feed().start().await;
        gateway.wait_ready().await;
        gateway
    };
    let (mut killed, other) = (start().await, start().await);
    let (topic, client) = (unique("jobs"), unique("alice"));
    Poll::of(&client).topics(&topic).wait(0).send(&other).await.expect_status(204);
    let readers = [feed(&topic), mailbox(&client)];
    let reading = readers.map(|(path, place)| tokio::spawn(read_until(u64::MAX, other.address(), path, place)));
    let mut published = Published { topic: topic.clone(), sent: 0, confirmed: Vec::new() };
    for _ in 0..KILLS {
        published.until_killed(&mut killed).await;
    }
    publish_last(&other, &topic).await;
    for (reader, reading) in ["feed", "mailbox"].into_iter().zip(reading) {
        published.are_in(reader, &reading.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_shows_each_batch_whole_or_not_at_all() {
    let mut gateway = Gateway::builder().embedded().start().await;
    gateway.wait_ready().await;
    let (topic, client) = (unique("jobs"), unique("alice"));
    Poll::of(&client).topics(&topic).wait(0).send(&gateway).await.expect_status(204);
    let mut published = Published { topic: topic.clone(), sent: 0, confirmed: Vec::new() };
    for _ in 0..KILLS {
        published.until_killed(&mut gateway).await;
    }
    let last = publish_last(&gateway, &topic).await;
    for (reader, (path, place)) in [("feed", feed(&topic)), ("mailbox", mailbox(&client))] {
        let numbers = read_until(last, gateway.address(), path, place).await;
        published.are_in(reader, &numbers);
        let batches = numbers.chunk_by(|one, other| one / SIZE == other / SIZE).map(|chunk| chunk[0] / SIZE);
        assert!(batches.flat_map(content).eq(numbers.iter().copied()), "{reader}: parts of batches: {numbers:?}");
    }
}
