//! Batches: all events or, where anything is wrong, none.

use std::time::Duration;

use postern_tests::{
    Broker, EventView, Gateway, HttpConnection, Poll, Request, World, eventually, on_both_brokers, unique,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{JSON, compressed::gzip};

const NDJSON: &str = "application/x-ndjson";

/// How many events a batch has at most.
const MAX_EVENTS: usize = 1000;

pub(super) fn batch(events: &[Value]) -> Request {
    Request::publish_batch(JSON, Value::from(events).to_string())
}

fn lines(events: &[Value]) -> String {
    let texts: Vec<_> = events.iter().map(Value::to_string).collect();
    texts.join("\n")
}

fn numbered(topic: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<Value> {
    numbers.into_iter().map(|n| json!({ "topic": topic, "data": { "n": n } })).collect()
}

fn ids(answer: &postern_tests::Answer) -> Vec<String> {
    assert_eq!((answer.status, answer.header("content-type")), (202, Some(JSON)), "{answer:?}");
    serde_json::from_value(answer.json()["ids"].clone()).unwrap()
}

on_both_brokers!(the_events_of_a_batch_arrive_in_its_order_with_the_ids_of_the_answer);
async fn the_events_of_a_batch_arrive_in_its_order_with_the_ids_of_the_answer(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--log", "info")).await;
    let topic = |word: &str| format!("{}.{word}", world.topic);
    let events = [
        json!({ "topic": topic("a"), "data": { "n": 1.50 }, "id": "order 17" }),
        json!({ "topic": topic("b"), "text": "grüß\n" }),
        json!({ "topic": topic("a"), "data_base64": "iVBORw==", "content_type": "image/png" }),
        json!({ "topic": topic("c"), "data": null }),
        json!({ "topic": unique("elsewhere"), "data": 1 }),
    ];
    let array = ids(&batch(&events).send(world.gateway.address()).await);
    let as_lines = Request::publish_batch(NDJSON, lines(&events[1..])).header("Postern-Resent", "true");
    let marked = ids(&as_lines.send(world.gateway.address()).await);
    let compressed = Request::new("POST", "/events").body(gzip(lines(&events[1..2]).as_bytes()));
    let undeclared = ids(&compressed.header("Content-Encoding", "gzip").send(world.gateway.address()).await);
    let read = world.read_all().await;
    let expected: Vec<&String> = array[..4].iter().chain(&marked[..3]).chain(&undeclared).collect();
    assert_eq!(read.iter().map(|event| &event.id).collect::<Vec<_>>(), expected);
    let topics: Vec<_> = read.iter().map(|event| event.topic.rsplit_once('.').unwrap().1).collect();
    assert_eq!(topics, ["a", "b", "a", "c", "b", "a", "c", "b"]);
    let shown = |event: &EventView| (event.data.clone(), event.content_type.clone(), event.data_base64.clone());
    let (text, png) = (Some("text/plain; charset=utf-8".to_owned()), Some("image/png".to_owned()));
    assert_eq!(shown(&read[0]), (Some(json!({ "n": 1.50 })), None, None));
    assert_eq!(shown(&read[1]), (Some(json!("grüß\n")), text, None));
    assert_eq!(shown(&read[2]), (None, png, Some("iVBORw==".to_owned())));
    let are_repeats: Vec<_> = read.iter().map(|event| event.redelivered).collect();
    assert_eq!(are_repeats, [false, false, false, false, true, true, true, false]);
    // They are counted as events, and logged as one request.
    let metrics = Request::get("/metrics").send(world.gateway.address()).await.text();
    for line in [
        "postern_published_total{outcome=\"confirmed\"} 10",
        "postern_http_requests_total{route=\"publish_batch\",method=\"post\",status=\"2xx\"} 3",
    ] {
        assert!(metrics.lines().any(|each| each == line), "{line} is not in {metrics}");
    }
}

/// What can be wrong with an event.
const WRONG: [&str; 8] = [
    "7",
    "[\"a\",{}]",
    "{\"topic\":\"a\"}",
    "{\"topic\":\"a b\",\"data\":1}",
    "{\"topic\":\"a\",\"data\":1,\"text\":\"b\"}",
    "{\"topic\":\"a\",\"data\":1,\"contentType\":\"x\"}",
    "{\"topic\":\"a\",\"data_base64\":\"?\"}",
    "{\"topic\":\"a\",\"text\":\"{\",\"content_type\":\"application/json\"}",
];

on_both_brokers!(an_event_that_is_wrong_anywhere_in_a_batch_is_named_and_nothing_of_the_batch_is_stored);
async fn an_event_that_is_wrong_anywhere_in_a_batch_is_named_and_nothing_of_the_batch_is_stored(broker: Broker) {
    let world = World::new(broker).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..60 {
        let count = random.random_range(1..60);
        let (wrong, at) = (WRONG[random.random_range(0..WRONG.len())], random.random_range(0..count));
        let mut events: Vec<_> = numbered(&world.topic, 0..count).iter().map(Value::to_string).collect();
        wrong.clone_into(&mut events[at]);
        let request = if random.random() {
            Request::publish_batch(NDJSON, events.join("\n"))
        } else {
            Request::publish_batch(JSON, format!("[{}]", events.join(",")))
        };
        let answer = connection.request(&request).await;
        let detail = answer.problem(400);
        assert!(detail.starts_with(&format!("event {at}")), "seed {seed}, {wrong} at {at} of {count}: {detail}");
        assert_eq!(answer.json()["index"], at, "seed {seed}");
    }
    connection.request(&batch(&numbered(&world.topic, [7]))).await.expect_status(202);
    let numbers: Vec<_> = world.read_all().await.iter().map(|event| event.number("n")).collect();
    assert_eq!(numbers, [7], "seed {seed}");
}

on_both_brokers!(a_batch_that_is_too_long_or_no_batch_is_refused_with_what_to_do);
async fn a_batch_that_is_too_long_or_no_batch_is_refused_with_what_to_do(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--max-body", "100000")).await;
    let send = async |request: Request| request.send(world.gateway.address()).await;
    let full = numbered(&world.topic, 0..MAX_EVENTS);
    let detail = send(batch(&numbered(&world.topic, 0..=MAX_EVENTS))).await.problem(413);
    assert!(detail.starts_with("a batch has at most 1000 events"), "{detail}");
    let detail = send(batch(&[json!({ "topic": world.topic, "text": "x".repeat(100_000) })])).await.problem(413);
    assert!(detail.starts_with("a batch has at most 100000 bytes here (--max-body)"), "{detail}");
    let detail = send(Request::publish_batch("text/plain", "[]")).await.problem(415);
    assert!(detail.contains("application/x-ndjson") && detail.contains("/topics/{topic}/events"), "{detail}");
    for header in ["Event-Id", "Idempotency-Key"] {
        let detail = send(batch(&full[..1]).header(header, "a")).await.problem(400);
        assert!(detail.contains("\"id\""), "{detail}");
    }
    let allowed = send(Request::get("/events")).await;
    allowed.problem(405);
    assert_eq!(allowed.header("allow"), Some("POST"));
    assert_eq!(ids(&send(batch(&[])).await), [""; 0]);
    assert_eq!(ids(&send(batch(&full)).await).len(), MAX_EVENTS);
    let numbers: Vec<_> = world.read_all().await.iter().map(|event| event.number("n")).collect();
    assert_eq!(numbers, (0..MAX_EVENTS as u64).collect::<Vec<_>>());
}

/// RabbitMQ does not know what it has stored.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_batch_that_was_stored_is_not_stored_again() {
    let world = World::new(Broker::Embedded).await;
    let event = |n: u64| json!({ "topic": world.topic, "data": { "n": n }, "id": format!("event-{n}") });
    for numbers in [&[0, 1, 1, 2][..], &[1, 3, 0], &[3]] {
        let events: Vec<_> = numbers.iter().map(|n| event(*n)).collect();
        let stored = ids(&batch(&events).send(world.gateway.address()).await);
        assert_eq!(stored, numbers.iter().map(|n| format!("event-{n}")).collect::<Vec<_>>());
    }
    let numbers: Vec<_> = world.read_all().await.iter().map(|event| event.number("n")).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_a_confirm_says_how_to_retry_and_the_retry_works() {
    let node = postern_tests::RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).start().await;
    gateway.wait_ready().await;
    let topic = unique("jobs");
    let poll = Poll::of(&unique("alice")).topics(&topic).wait(10);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    node.freeze();
    let answer = batch(&numbered(&topic, 0..3)).send(gateway.address()).await;
    let detail = answer.problem(503);
    assert!(detail.contains("0 of 3 events are confirmed") && detail.contains("Postern-Resent: true"), "{detail}");
    let ids: Vec<String> = serde_json::from_value(answer.json()["ids"].clone()).unwrap();
    node.thaw();
    gateway.wait_ready().await;
    let mut again = numbered(&topic, 0..3);
    again.iter_mut().zip(&ids).for_each(|(event, id)| event["id"] = json!(id));
    let again = batch(&again).header("Postern-Resent", "true");
    eventually(Duration::from_mins(1), "the retry to be accepted", async || {
        let answer = again.send(gateway.address()).await;
        if answer.status == 202 { Ok(()) } else { Err(answer) }
    })
    .await;
    // The reading side has to come back too; until it has, polls are told to try again.
    let came = eventually(Duration::from_mins(1), "the events", async || {
        let answer = poll.send(&gateway).await;
        if answer.status == 200 && answer.batch().events.len() >= 3 { Ok(answer.batch()) } else { Err(answer) }
    })
    .await;
    // The first try may be stored as well.
    assert_eq!(came.ids()[..3], ids);
}
