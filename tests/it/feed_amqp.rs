//! What only RabbitMQ's log can meet: foreign messages and queues, a node that ends. What every log promises is in
//! `contract::log`.

mod readers;
mod rest;

use std::time::Duration;

use amqp::names::{CONTROL, EXCHANGE, FEED, STREAM_OFFSET};
use broker::{
    Broker, BrokerError,
    log::{EventLog, LogEnd, LogTail, Logged, Searched},
};
use broker_rabbitmq::{AmqpBroker, AmqpOptions, AmqpTail, FeedRetention};
use events::{Event, Selection, TopicPattern, testing};
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use postern_tests::{Amqp, PATIENCE, RabbitNode, eventually, shared_node};
use prometheus_client::registry::Registry;
use tokio::{net::TcpStream, time::timeout};

async fn connect(url: &str) -> AmqpBroker {
    connect_with(url, Duration::from_secs(15)).await
}

/// Connects; readers are kept for so long.
async fn connect_with(url: &str, linger: Duration) -> AmqpBroker {
    let options = AmqpOptions {
        urls: url.parse().unwrap(),
        name: "feed".to_owned(),
        mailbox_expiry: Duration::from_hours(1),
        max_leases: 10,
        feed_topics: vec![TopicPattern::all()],
        feed_retention: FeedRetention { age: Duration::from_hours(1), bytes: 1 << 30 },
        feed_replicas: None,
        feed_linger: linger,
    };
    let broker = AmqpBroker::start(&options, &mut Registry::default()).unwrap();
    wait_ready(&broker).await;
    broker
}

async fn wait_ready(broker: &AmqpBroker) {
    let ready = async || broker.is_ready().then_some(()).ok_or("not yet");
    eventually(Duration::from_mins(1), "the broker is ready", ready).await;
}

/// A broker in a virtual host of its own: there is one feed in each.
async fn alone() -> (String, AmqpBroker) {
    let url = shared_node().await.vhost("feed").await;
    let broker = connect(&url).await;
    (url, broker)
}

fn selection(text: &str) -> Selection {
    text.parse().unwrap()
}

/// Finds the end as a gateway does: a node takes connections before its streams are there.
async fn end_soon(broker: &AmqpBroker) -> LogEnd<AmqpTail> {
    eventually(Duration::from_mins(1), "the end is found", async || {
        broker.log().open_tail(|_, _| ()).await.map_err(|error| {
            assert!(error.is_retryable(), "{error}");
            error.to_string()
        })
    })
    .await
}

/// Publishes these numbers as events of a topic, in order and many at once.
async fn publish(broker: &AmqpBroker, topic: &str, numbers: impl IntoIterator<Item = usize>) {
    let numbers: Vec<_> = numbers.into_iter().collect();
    for some in numbers.chunks(500) {
        let events = list(some.iter().map(|number| testing::event(topic, number)));
        try_join_all(events.iter().map(|event| broker.publish(event))).await.unwrap();
    }
}

fn list<T>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().collect()
}

fn numbers(events: &[Logged]) -> Vec<usize> {
    assert!(events.is_sorted_by(|a, b| a.offset < b.offset), "offsets grow strictly: {events:?}");
    testing::numbers(events.iter().map(|logged| &*logged.event))
}

/// Follows the log until so many events came, and at most those.
async fn follow(tail: &mut AmqpTail, count: usize) -> Vec<Logged> {
    let mut events = Vec::new();
    while events.len() < count {
        let next = timeout(PATIENCE, tail.next()).await.expect("something should come").expect("the log is open");
        assert!(!next.is_empty(), "at least one");
        events.extend(next);
    }
    assert_eq!(events.len(), count);
    events
}

/// Searches piece by piece, as a reader of a Feed does, up to the end.
async fn search_all(broker: &AmqpBroker, wanted: &str, mut from: u64, to: u64) -> Vec<Logged> {
    let mut all = Vec::new();
    while from < to {
        let Searched { found, reached, .. } = match broker.log().search(&selection(wanted), from, to, 100_000).await {
            // Too many search: a poll would be told to come back.
            Err(error) if error.is_retryable() => continue,
            other => other.unwrap(),
        };
        assert!(reached > from && reached <= to, "{from} < {reached} <= {to}");
        assert!(found.iter().all(|logged| (from..reached).contains(&logged.offset)), "{from}..{reached}: {found:?}");
        all.extend(found);
        from = reached;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_foreign_publishers_are_events() {
    let (url, broker) = alone().await;
    let mut end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let amqp = Amqp::connect(&url).await;
    let headers = |name: &str, value: AMQPValue| {
        let mut headers = FieldTable::default();
        headers.insert(name.into(), value);
        BasicProperties::default().with_headers(headers)
    };
    amqp.publish_foreign("bare / ü", BasicProperties::default(), b"0").await;
    amqp.publish_foreign("liar", headers(STREAM_OFFSET, AMQPValue::LongLongInt(77_777)), b"1").await;
    amqp.publish_foreign("liar", headers(STREAM_OFFSET, AMQPValue::LongString("first".into())), b"2").await;
    amqp.publish_foreign("no gateway's", headers(CONTROL, AMQPValue::Void), b"3").await;
    amqp.publish(EXCHANGE, "last", BasicProperties::default(), b"4").await;
    let events = follow(&mut end.tail, 5).await;
    assert_eq!(numbers(&events), [0, 1, 2, 3, 4]);
    amqp.publish_foreign("empty", headers(CONTROL, AMQPValue::LongString("end".into())), b"").await;
    let empty = follow(&mut end.tail, 1).await;
    assert_eq!(empty[0].event.topic.as_str(), "empty", "only what came past the exchange is the gateway's own");
    assert_eq!(events[0].event.topic.as_str(), "bare / ü");
    assert!(events[3].offset < 77_777, "the offset is the broker's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_another_retention_is_used_as_it_is() {
    let url = shared_node().await.vhost("feed").await;
    let amqp = Amqp::connect(&url).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(200_000));
    arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(50_000));
    amqp.declare_queue(FEED, arguments).await;
    let broker = connect(&url).await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 0..20_000).await;
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let searched = broker.log().search(&selection("#"), 0, end.next, 1).await.unwrap();
    assert!(searched.oldest > 0, "its own retention is far below what was published: {searched:?}");
    let rest = numbers(&search_all(&broker, "a", 0, end.next).await);
    assert_eq!(rest.last(), Some(&19_999));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_no_stream_is_refused_and_keeps_its_messages() {
    let url = shared_node().await.vhost("feed").await;
    let amqp = Amqp::connect(&url).await;
    amqp.declare_queue(FEED, FieldTable::default()).await;
    amqp.publish("", FEED, BasicProperties::default(), b"precious").await;
    let broker = connect(&url).await;
    let refused = broker.log().open_tail(|_, _| ()).await.unwrap_err();
    assert!(matches!(&refused, BrokerError::Refused { reason, .. } if reason.contains(FEED)), "{refused}");
    broker.publish(&Event::new("a".parse().unwrap(), None, "not kept")).await.unwrap();
    assert_eq!(amqp.queue(FEED).await.map(|queue| queue.ready), Some(1));
    assert_eq!(*amqp.take(FEED).await.unwrap().event.payload, "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_broker_the_end_is_found_anew_and_offsets_go_on() {
    let mut node = RabbitNode::start().await;
    let broker = connect(&node.url()).await;
    let mut end = broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 0..100).await;
    follow(&mut end.tail, 100).await;
    for kill in [false, true] {
        let known = broker.log().open_tail(|_, _| ()).await.unwrap();
        if kill {
            node.kill9();
        } else {
            node.stop().await;
        }
        let lost = timeout(PATIENCE, end.tail.next()).await.expect("the loss should be told").unwrap_err();
        assert!(matches!(lost, BrokerError::Unavailable(_)), "{lost}");
        let again = timeout(PATIENCE, end.tail.next()).await.expect("and told again").unwrap_err();
        assert!(matches!(again, BrokerError::Unavailable(_)), "{again}");
        let missed = async || if broker.is_ready() { Err("it seems to be there") } else { Ok(()) };
        eventually(Duration::from_mins(1), "the broker is missed", missed).await;
        assert!(matches!(
            broker.log().open_tail(|_, _| ()).await,
            Err(BrokerError::NotConnected | BrokerError::Reconnecting | BrokerError::Unavailable(_))
        ));
        let search = broker.log().search(&selection("#"), 0, known.next, 10).await;
        assert!(
            matches!(search, Err(BrokerError::NotConnected | BrokerError::Reconnecting | BrokerError::Unavailable(_))),
            "{search:?}"
        );
        node.start_again().await;
        wait_ready(&broker).await;
        end = end_soon(&broker).await;
        assert!(end.next > known.next);
        assert_eq!(numbers(&search_all(&broker, "a", 0, end.next).await), list(0..100));
    }
    publish(&broker, "a", 100..200).await;
    let after = follow(&mut end.tail, 100).await;
    assert_eq!(numbers(&after), list(100..200));
    assert!(after[0].offset >= end.next);
    broker.close().await;
    assert!(matches!(end.tail.next().await, Err(BrokerError::Unavailable(_))), "an orderly end is one too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_of_a_killed_broker_that_is_back_is_in_the_feed() {
    let mut node = RabbitNode::start().await;
    let url = node.url();
    end_soon(&connect(&url).await).await;
    // A stream that was declared a moment before the kill may not come back at all.
    node.stop().await;
    node.start_again().await;
    end_soon(&connect(&url).await).await;
    node.kill9();
    let publishing = async {
        // Attempts to connect pause longer and longer: the one that succeeds would come after the stream.
        let address = url.split(['@', '/']).find(|part| part.starts_with("127.")).unwrap();
        let listens = async || TcpStream::connect(address).await.map(drop);
        eventually(Duration::from_mins(1), "the node takes connections", listens).await;
        let broker = connect(&url).await;
        let event = testing::event("a", 1);
        eventually(Duration::from_mins(1), "a confirm", async || broker.publish(&event).await).await;
        broker
    };
    let ((), broker) = tokio::join!(node.start_again(), publishing);
    let end = end_soon(&broker).await;
    let stored = numbers(&search_all(&broker, "a", 0, end.next).await);
    assert!(!stored.is_empty() && stored.iter().all(|number| *number == 1), "{stored:?}");
}
