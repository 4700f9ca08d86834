//! Messages that RabbitMQ delivers and the AMQP library cannot read: one of them must not stop every mailbox it is in.
//!
//! They come over AMQP, so only RabbitMQ has them.

mod raw;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use postern_tests::{Batch, EventView, Gateway, Poll, Request, shared_broker, unique};

use self::raw::{Properties, RawPublisher, entry, long};

/// What a publisher writes that takes Latin-1 for the encoding of everything.
const LATIN_1: &[u8] = b"caf\xe9";

struct World {
    gateway: Gateway,
    publisher: RawPublisher,
    client: String,
    topic: String,
}

impl World {
    /// Starts a gateway whose connections have these parameters, with one mailbox.
    async fn with(parameters: &str) -> Self {
        let url = shared_broker().await.url();
        let gateway_url = format!("{url}{}{parameters}", if url.contains('?') { '&' } else { '?' });
        let world = Self {
            gateway: Gateway::builder().amqp_url(&gateway_url).start().await,
            publisher: RawPublisher::connect(url).await,
            client: unique("alice"),
            topic: unique("jobs"),
        };
        world.gateway.wait_ready().await;
        world.poll(None).wait(0).send(&world.gateway).await.expect_status(204);
        world
    }

    fn poll(&self, last_seen: Option<&str>) -> Poll {
        let poll = Poll::of(&self.client).topics(&format!("{}.#", self.topic)).wait(10);
        last_seen.iter().fold(poll, |poll, token| poll.last_seen(token))
    }

    async fn publish(&mut self, properties: &Properties, n: usize) {
        self.publisher.publish(self.topic.as_bytes(), properties, format!("{{\"n\":{n}}}").as_bytes()).await;
    }

    /// Reads, and confirms, until so many events have come.
    async fn read(&self, count: usize) -> Vec<EventView> {
        let (mut events, mut token) = (Vec::new(), None);
        while events.len() < count {
            let Batch { events: more, last_seen, .. } = self.poll(token.as_deref()).send(&self.gateway).await.batch();
            assert_eq!(Request::get("/ready").send(self.gateway.address()).await.status, 200);
            events.extend(more);
            token = Some(last_seen);
        }
        self.poll(token.as_deref()).wait(0).send(&self.gateway).await.expect_status(204);
        events
    }

    /// Panics if a connection to the broker was given up, or more than that.
    fn expect_no_loss(&self) {
        for line in self.gateway.log().lines() {
            let lost = ["was lost", "parse error", "large frame", "panicked", "overflow"];
            assert!(!lost.iter().any(|words| line.contains(words)), "{line}");
        }
    }
}

/// Everything that can hold text in a content header, each alone.
fn properties_in_latin_1() -> Vec<Properties> {
    let texts = ["content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id"];
    let mut all: Vec<Properties> = texts.map(|name| Properties::default().text(name, LATIN_1)).into();
    let key = entry(LATIN_1, b'S', &long(LATIN_1));
    let in_table = entry(b"table", b'F', &long(&key));
    let in_array = entry(b"array", b'A', &long(&[b"F", &long(&in_table)[..]].concat()));
    all.extend([key, in_table, in_array].map(|entries| Properties::default().headers(&entries)));
    all
}

/// Returns the payload, which comes as base64 when what it is said to be is unknown.
fn payload_of(event: &EventView) -> Vec<u8> {
    match (&event.data, &event.data_base64) {
        (Some(json), None) => json.to_string().into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).unwrap(),
        _ => panic!("one of the two: {event:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_not_utf8_stops_no_mailbox() {
    let mut world = World::with("").await;
    let other_topic = unique("other");
    let mut other = Poll::of(&unique("bob")).topics(&other_topic).wait(30).hold(&world.gateway).await;

    let all = properties_in_latin_1();
    for (n, properties) in all.iter().enumerate() {
        world.publish(properties, 2 * n).await;
        world.publish(&Properties::default(), 2 * n + 1).await;
    }
    let bad_key = [world.topic.as_bytes(), b".", LATIN_1].concat();
    let payload = format!("{{\"n\":{}}}", 2 * all.len());
    world.publisher.publish(&bad_key, &Properties::default(), payload.as_bytes()).await;

    let events = world.read(2 * all.len() + 1).await;
    for (n, event) in events.iter().enumerate() {
        assert_eq!(payload_of(event), format!("{{\"n\":{n}}}").as_bytes(), "{event:?}");
    }
    assert_eq!(events.last().unwrap().topic, format!("{}.caf?", world.topic));
    // Another client's poll has been held all the while, and its mailbox read.
    assert!(other.is_silent(Duration::from_millis(100)).await);
    world.publisher.publish(other_topic.as_bytes(), &Properties::default(), b"{\"n\":7}").await;
    assert_eq!(other.answer().await.batch().numbers("n"), [7]);
    world.expect_no_loss();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_not_utf8_is_an_identity_across_a_crash() {
    let mut world = World::with("").await;
    world.publish(&Properties::default().text("message_id", LATIN_1), 0).await;
    let first = world.poll(None).send(&world.gateway).await.batch();
    world.gateway.kill9();
    world.gateway.start_again().await;
    world.gateway.wait_ready().await;
    let again = world.poll(None).send(&world.gateway).await.batch();
    assert_eq!((again.ids(), again.numbers("n")), (first.ids(), vec![0]));
    assert!(again.events[0].redelivered && !first.events[0].redelivered);
    world.expect_no_loss();
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_nested_without_end_stop_no_gateway() {
    let mut world = World::with("").await;
    world.publish(&Properties::default().headers(&raw::nested(20_000)), 0).await;
    world.publish(&Properties::default(), 1).await;
    let events = world.read(2).await;
    assert_eq!((events[0].number("n"), events[1].number("n")), (0, 1));
    world.expect_no_loss();
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_larger_than_the_readers_frames_stop_no_mailbox() {
    let mut world = World::with("frame_max=8192").await;
    let large = entry(b"large", b'S', &long("x".repeat(50_000).as_bytes()));
    world.publish(&Properties::default().headers(&large).text("message_id", b"kept"), 0).await;
    world.publish(&Properties::default(), 1).await;
    let events = world.read(2).await;
    assert_eq!((events[0].id.as_str(), events[0].number("n"), events[1].number("n")), ("kept", 0, 1));
    world.expect_no_loss();
}
