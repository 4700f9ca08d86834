//! What a gateway of one version leaves for the next: tokens that clients keep, and in RabbitMQ mailboxes, the stream, and
//! the headers of messages. What earlier versions have left is recorded in `tests/fixtures/versions`, and never changes:
//! gateways of two versions may run side by side for days.
//!
//! What gateways say to each other is recorded beside its code, in `broker-rabbitmq`. The embedded broker is one process,
//! whose store has a version of its own.

use std::time::Duration;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use postern_tests::{Amqp, DirectPublisher, Gateway, Poll, Request, shared_node, unique};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/versions");

const SOON: Duration = Duration::from_secs(10);

/// `delivery_mode` of a message that survives its broker.
const PERSISTENT: u8 = 2;

/// Makes a table of AMQP of what was recorded.
fn table(recorded: &Value) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in recorded.as_object().unwrap() {
        let value = match value {
            Value::String(text) => AMQPValue::LongString(text.as_str().into()),
            number => AMQPValue::LongLongInt(number.as_i64().unwrap()),
        };
        table.insert(name.as_str().into(), value);
    }
    table
}

fn array(recorded: &Value) -> &[Value] {
    recorded.as_array().unwrap()
}

fn text(recorded: &Value) -> &str {
    recorded.as_str().unwrap()
}

/// Puts into a virtual host what a gateway and its publishers have left there. The marker of a mailbox that was made is
/// there as long as no client has read.
async fn left_behind(amqp: &Amqp, url: &str, recorded: &Value, has_marker: bool) {
    // It declares the exchange.
    DirectPublisher::connect(url).await;
    let (mailbox, feed) = (&recorded["mailbox"], &recorded["feed"]);
    let queue = format!("postern.mailbox.{}", text(&mailbox["client"]));
    amqp.declare_queue("postern.feed", table(&feed["arguments"])).await;
    amqp.bind("postern.feed", "#").await;
    amqp.declare_queue(&queue, table(&mailbox["arguments"])).await;
    let message = || BasicProperties::default().with_delivery_mode(PERSISTENT);
    let marker = message().with_message_id("marker".into()).with_headers(table(&mailbox["marker_headers"]));
    if has_marker {
        amqp.publish("", &queue, marker, b"").await;
    }
    for pattern in array(&mailbox["bindings"]) {
        amqp.bind(&queue, text(pattern)).await;
    }
    for event in array(&recorded["events"]) {
        let time = json!({ "timestamp_in_ms": event["timestamp_in_ms"] });
        let properties = message()
            .with_message_id(text(&event["id"]).into())
            .with_content_type("application/json".into())
            .with_headers(table(&time));
        let body = text(&event["body"]).as_bytes();
        amqp.publish("postern.events", text(&event["topic"]), properties, body).await;
    }
    if !has_marker {
        // The gateway had them all, and handed them out.
        let mut held = amqp.hold(&queue, 100).await.unwrap();
        for _ in array(&recorded["events"]) {
            held.next(SOON).await.unwrap();
        }
        held.release().await;
    }
}

/// Reads a mailbox after a token until so many events have come; also returns whether it was told that some are gone.
async fn read(gateway: &Gateway, poll: &Poll, token: &str, count: usize) -> (Vec<Value>, bool) {
    let (mut data, mut token, mut reset) = (Vec::new(), token.to_owned(), false);
    while data.len() < count {
        let batch = poll.clone().last_seen(&token).send(gateway).await.batch();
        reset |= batch.reset;
        token = batch.last_seen;
        data.extend(batch.events.into_iter().filter_map(|event| event.data));
    }
    (data, reset)
}

async fn understands(recorded: &Value) {
    let (mailbox, feed) = (&recorded["mailbox"], &recorded["feed"]);
    let client = text(&mailbox["client"]);
    let poll = Poll::of(client).topics("jobs.#").wait(5);
    for case in array(&mailbox["last_seen"]) {
        let url = shared_node().await.vhost(&unique("versions")).await;
        let amqp = Amqp::connect(&url).await;
        left_behind(&amqp, &url, recorded, case["marker"] == true).await;
        let gateway = Gateway::builder().amqp_url(&url).with_feed().start().await;
        gateway.wait_ready().await;

        let expected = array(&case["data"]);
        let (data, reset) = read(&gateway, &poll, text(&case["token"]), expected.len()).await;
        assert_eq!((&data[..], json!(reset)), (expected, case["reset"].clone()), "{case}");

        for place in array(&feed["places"]) {
            let path = format!("/topics/jobs.%23/events?wait=0&last_seen={}", text(&place["place"]));
            let batch = Request::get(&path).send(gateway.address()).await.batch();
            let data: Vec<_> = batch.events.into_iter().filter_map(|event| event.data).collect();
            assert_eq!((&data[..], batch.reset), (array(&place["data"]), false), "{place}");
        }

        // What the gateway makes can be declared by one of the earlier version: else the broker closes the channel.
        Request::new("DELETE", &format!("/clients/{client}")).send(gateway.address()).await.expect_status(204);
        poll.clone().wait(0).send(&gateway).await.expect_status(204);
        amqp.declare_queue(&format!("postern.mailbox.{client}"), table(&mailbox["arguments"])).await;
        amqp.delete_queue("postern.feed").await;
        drop(gateway);
        let gateway = Gateway::builder().amqp_url(&url).with_feed().start().await;
        gateway.wait_ready().await;
        amqp.declare_queue("postern.feed", table(&feed["arguments"])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_versions_have_left_is_understood() {
    let mut files: Vec<_> = std::fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        understands(&serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()).await;
    }
}
