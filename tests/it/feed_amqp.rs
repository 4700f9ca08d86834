//! The log that Feeds are read from, on RabbitMQ: where it ends, what follows, and what is found in it.

mod readers;

use std::{collections::HashMap, time::Duration};

use events::{
    Event, Topic, TopicPattern,
    amqp::names::{CONTROL, EXCHANGE, FEED, STREAM_OFFSET},
};
use futures_util::future::try_join_all;
use gateway::broker::{
    Broker, BrokerError,
    amqp::{AmqpBroker, AmqpOptions, AmqpTail, FeedRetention},
    log::{EventLog, LogEnd, LogTail, Logged, Searched},
};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use postern_tests::{Amqp, PATIENCE, RabbitNode, eventually, shared_node};
use tokio::time::timeout;

async fn connect(url: &str) -> AmqpBroker {
    connect_with(url, Duration::from_secs(15), 1 << 30).await
}

/// Connects; readers are kept for so long, and so many bytes of events.
async fn connect_with(url: &str, linger: Duration, bytes: u64) -> AmqpBroker {
    let broker = AmqpBroker::start(&AmqpOptions {
        url: url.parse().unwrap(),
        name: "feed".to_owned(),
        mailbox_expiry: Duration::from_hours(1),
        max_leases: 10,
        feed_topics: vec![pattern("#")],
        feed_retention: FeedRetention { age: Duration::from_hours(1), bytes },
        feed_linger: linger,
    });
    let broker = broker.unwrap();
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

fn pattern(text: &str) -> TopicPattern {
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
        let events: Vec<_> =
            some.iter().map(|number| Event::new(topic.parse().unwrap(), None, number.to_string())).collect();
        try_join_all(events.iter().map(|event| broker.publish(event))).await.unwrap();
    }
}

fn list<T>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().collect()
}

fn numbers(events: &[Logged]) -> Vec<usize> {
    assert!(events.is_sorted_by(|a, b| a.offset < b.offset), "offsets grow strictly: {events:?}");
    events.iter().map(|logged| str::from_utf8(&logged.event.payload).unwrap().parse().unwrap()).collect()
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
        let Searched { found, reached, .. } = match broker.log().search(&pattern(wanted), from, to, 100_000).await {
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
async fn an_empty_log_has_an_end() {
    let (_, broker) = alone().await;
    let first = broker.log().open_tail(|topic, _| panic!("{topic}")).await.unwrap();
    let second = broker.log().open_tail(|topic, _| panic!("{topic}")).await.unwrap();
    assert!(second.next > first.next, "{second:?}");
    let searched = broker.log().search(&pattern("#"), 0, second.next, 10).await.unwrap();
    assert!(searched.found.is_empty());
    assert_eq!((searched.reached, searched.oldest), (second.next, 0));
    let nothing = broker.log().search(&pattern("#"), second.next, second.next, 10).await.unwrap();
    assert_eq!((nothing.found.len(), nothing.reached), (0, second.next));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_before_and_after_the_end_come_once_and_in_order() {
    let (_, broker) = alone().await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a.x", 0..10).await;
    publish(&broker, "a.y", 10..20).await;
    let mut newest = HashMap::new();
    let show = |topic: &Topic, offset| {
        newest.insert(topic.clone(), offset);
    };
    let mut end = broker.log().open_tail(show).await.unwrap();
    let before = search_all(&broker, "#", 0, end.next).await;
    assert_eq!(numbers(&before), list(0..20));
    let offset_of = |number: usize| before[number].offset;
    let expected = [("a.x", 9), ("a.y", 19)].map(|(topic, last)| (topic.parse().unwrap(), offset_of(last)));
    assert_eq!(newest, HashMap::from(expected));

    publish(&broker, "a.x", 20..1500).await;
    // Another gateway's control message is no event.
    let other = broker.log().open_tail(|_, _| ()).await.unwrap();
    let after = follow(&mut end.tail, 1480).await;
    assert_eq!(numbers(&after), list(20..1500));
    assert!(after[0].offset >= end.next && after[1479].offset < other.next);
    let again = search_all(&broker, "#", 0, other.next).await;
    assert_eq!(numbers(&again), list(0..1500));
    let offsets = |events: &[Logged]| list(events.iter().map(|logged| logged.offset));
    assert_eq!(offsets(&again[20..]), offsets(&after), "both say the same of an event");
    // Where the known end is an event, and where it is within the log.
    let up_to_an_event = broker.log().search(&pattern("#"), 0, after[0].offset + 1, 100).await.unwrap();
    assert_eq!(numbers(&up_to_an_event.found), list(0..21));
    assert_eq!(up_to_an_event.reached, after[0].offset + 1);
    let limited = broker.log().search(&pattern("#"), before[3].offset, other.next, 4).await.unwrap();
    assert_eq!(numbers(&limited.found), [3, 4, 5, 6]);
    assert_eq!(limited.reached, before[6].offset + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_next_event_can_be_given_up() {
    let (_, broker) = alone().await;
    let mut end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let publishing = publish(&broker, "a", 0..3000);
    let following = async {
        let mut events = Vec::new();
        while events.len() < 3000 {
            // Given up after nearly every look.
            if let Ok(next) = timeout(Duration::from_micros(50), end.tail.next()).await {
                events.extend(next.unwrap());
            }
        }
        events
    };
    let (events, ()) = tokio::join!(timeout(PATIENCE, following), publishing);
    assert_eq!(numbers(&events.expect("all events should come")), list(0..3000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_finds_its_events_among_thousands() {
    let (_, broker) = alone().await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    for hundred in 0..50 {
        publish(&broker, &format!("jobs.{}.status", hundred % 5), hundred * 100..hundred * 100 + 100).await;
    }
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let expected = |job: usize| list((0..5000).filter(|number| number / 100 % 5 == job));
    // More than may run at once.
    let searches = (0..40).map(|n| {
        let broker = broker.clone();
        async move { (n, search_all(&broker, &format!("*.{}.#", n % 5), 0, end.next).await) }
    });
    for (n, found) in futures_util::future::join_all(searches).await {
        assert_eq!(numbers(&found), expected(n % 5));
    }
    let none = broker.log().search(&pattern("other.#"), 0, end.next, 10).await.unwrap();
    assert_eq!((none.found.len(), none.reached), (0, end.next));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_returns_a_mebibyte_at_most() {
    let (_, broker) = alone().await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    for size in [600_000, 400_000, 600_000, 1_200_000, 1] {
        broker.publish(&Event::new("big".parse().unwrap(), None, vec![b'x'; size])).await.unwrap();
    }
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let (mut from, mut sizes) = (0, Vec::new());
    while from < end.next {
        let searched = broker.log().search(&pattern("big"), from, end.next, 10).await.unwrap();
        sizes.push(list(searched.found.iter().map(|logged| logged.event.payload.len())));
        from = searched.reached;
    }
    assert_eq!(sizes, [vec![600_000, 400_000], vec![600_000], vec![1_200_000], vec![1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_goes_on_while_the_end_is_found() {
    let (_, broker) = alone().await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 0..1000).await;
    let mut newest = None;
    let show = |_: &Topic, offset| newest = Some(offset);
    let log = broker.log();
    let (end, ()) = tokio::join!(log.open_tail(show), publish(&broker, "a", 1000..4000));
    let mut end = end.unwrap();
    let mut all = search_all(&broker, "a", 0, end.next).await;
    assert!(all.len() >= 1000 && all.len() <= 4000);
    assert_eq!(newest, all.last().map(|logged| logged.offset));
    all.extend(follow(&mut end.tail, 4000 - all.len()).await);
    assert_eq!(numbers(&all), list(0..4000));
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
async fn what_retention_dropped_is_told_and_other_arguments_are_lived_with() {
    let url = shared_node().await.vhost("feed").await;
    let amqp = Amqp::connect(&url).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(200_000));
    arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(50_000));
    amqp.declare_queue(FEED, arguments).await;
    let broker = connect(&url).await;
    let first = broker.log().open_tail(|_, _| ()).await.unwrap();
    let whole = broker.log().search(&pattern("#"), 0, first.next, 1).await.unwrap();
    assert_eq!(whole.oldest, 0);
    publish(&broker, "a", 0..20_000).await;
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let searched = broker.log().search(&pattern("#"), 1, end.next, 1).await.unwrap();
    assert!(searched.oldest > 1, "{searched:?}");
    assert!(searched.found[0].offset >= searched.oldest && searched.reached > searched.oldest, "{searched:?}");
    let rest = numbers(&search_all(&broker, "a", 1, end.next).await);
    assert!(rest.len() < 20_000 && rest.last() == Some(&19_999), "{} are left", rest.len());
    let recent = broker.log().search(&pattern("#"), end.next - 10, end.next, 100).await.unwrap();
    assert!(recent.oldest <= end.next - 10);
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
    assert_eq!(amqp.take(FEED).await.unwrap().event.payload, "precious");
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
            Err(BrokerError::NotConnected | BrokerError::Unavailable(_))
        ));
        let search = broker.log().search(&pattern("#"), 0, known.next, 10).await;
        assert!(matches!(search, Err(BrokerError::NotConnected | BrokerError::Unavailable(_))), "{search:?}");
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
async fn a_tail_that_retention_overtakes_says_so() {
    let url = shared_node().await.vhost("feed").await;
    let broker = connect_with(&url, Duration::from_secs(15), 100_000).await;
    let mut end = broker.log().open_tail(|_, _| ()).await.unwrap();
    // More than may be on its way to the tail, which does not read yet, and far more than is kept.
    publish(&broker, "a", 0..10_000).await;
    let (mut seen, mut lost) = (Vec::new(), None);
    while lost.is_none() {
        match timeout(PATIENCE, end.tail.next()).await.expect("it does not fall silent") {
            Ok(events) => seen.extend(numbers(&events)),
            Err(error) => lost = Some(error),
        }
    }
    assert_eq!(seen, list(0..seen.len()), "nothing is left out before it is told");
    assert!(seen.len() < 10_000, "{lost:?}");
    assert!(matches!(lost, Some(BrokerError::Unavailable(_))), "{lost:?}");
    let mut end = broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 0..10).await;
    assert_eq!(numbers(&follow(&mut end.tail, 10).await), list(0..10));
}
