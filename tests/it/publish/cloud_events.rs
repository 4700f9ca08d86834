//! `CloudEvents`: a producer that speaks them needs nothing of Postern's, and its readers see what it says of its events.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use postern_tests::{Amqp, Answer, Broker, EventView, Request, World, on_both_brokers, shared_broker};
use serde_json::{Value, json};

use super::id_of;

const ONE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn order(id: &str, topic: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order.made", "subject": topic,
           "time": "2026-01-02T13:00:00.5+01:00", "priority": 3, "data": {"n": 1.50}})
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 202, "{answer:?}");
    serde_json::from_value(answer.json()["ids"].clone()).unwrap()
}

/// Checks what a reader sees of [`order`].
#[track_caller]
fn is_order(event: &EventView, topic: &str, id: Option<&str>) {
    let mut attributes =
        json!({"specversion": "1.0", "source": "/shop", "type": "order.made", "subject": topic, "priority": 3});
    if let Some(id) = id {
        attributes["id"] = id.into();
    }
    assert_eq!(
        (&event.data, event.time.as_str()),
        (&Some(json!({"n": 1.50})), "2026-01-02T12:00:00.500Z"),
        "{event:?}"
    );
    assert_eq!(event.other, [("cloudevent".to_owned(), attributes)].into(), "{event:?}");
}

on_both_brokers!(each_form_of_a_cloud_event_reaches_its_readers_with_its_attributes);
async fn each_form_of_a_cloud_event_reaches_its_readers_with_its_attributes(broker: Broker) {
    let mut world = World::new(broker).await;
    let (topic, uuid) = (format!("{}.17", world.topic), "01890a5d-ac96-774b-bcce-b302099a8057");
    let address = world.gateway.address();
    let batch = Value::from(vec![order("A-1", &topic), order(uuid, &topic)]).to_string();
    let batch = ids(&Request::publish_batch(BATCH, batch).send(address).await);
    let alone = ids(&Request::publish_batch(ONE, order("A-2", &topic).to_string()).send(address).await);
    let on_topic = id_of(&Request::publish(&topic, ONE, order("A-3", &topic).to_string()).send(address).await);
    let binary = |request: Request| {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "A-4"),
            ("ce-source", "/shop"),
            ("ce-type", "order%2Emade"),
            ("ce-subject", topic.as_str()),
            ("ce-time", "2026-01-02T12:00:00.500Z"),
        ];
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    let binary_batch = ids(&binary(Request::publish_batch("application/json", r#"{"n":1.50}"#)).send(address).await);
    let binary = id_of(&binary(Request::publish(&topic, "application/json", r#"{"n":1.50}"#)).send(address).await);
    assert_eq!(binary, binary_batch[0], "the same event");
    assert_eq!(batch[1], uuid);
    if broker == Broker::Embedded {
        // What was written is read again by the next process.
        world.backend.hang_up().await;
        world.gateway.restart().await;
    }
    let read = world.read_all().await;
    let read_ids: Vec<_> = read.iter().map(|event| event.id.as_str()).collect();
    let mut expected = vec![&batch[0], &batch[1], &alone[0], &on_topic, &binary];
    if broker == Broker::RabbitMq {
        expected.push(&binary);
    }
    assert_eq!(read_ids, expected);
    is_order(&read[0], &topic, Some("A-1"));
    is_order(&read[1], &topic, None);
    is_order(&read[2], &topic, Some("A-2"));
    is_order(&read[3], &topic, Some("A-3"));
    assert!(read.iter().all(|event| event.topic == topic && event.content_type.is_none()), "{read:?}");
    let attributes = &read[4].other["cloudevent"];
    assert_eq!(
        (&attributes["type"], &attributes["id"], &attributes["priority"]),
        (&json!("order.made"), &json!("A-4"), &Value::Null)
    );
}

/// By the specification only source and id together tell an event.
#[tokio::test(flavor = "multi_thread")]
async fn two_sources_that_count_alike_lose_nothing_to_each_other() {
    let world = World::new(Broker::Embedded).await;
    let mut events = [order("1", &world.topic), order("1", &world.topic), order("1", &world.topic)];
    events[1]["source"] = json!("/other");
    let ids = ids(&Request::publish_batch(BATCH, Value::from(events.to_vec()).to_string())
        .send(world.gateway.address())
        .await);
    assert!(ids[0] == ids[2] && ids[0] != ids[1], "{ids:?}");
    let read: Vec<_> = world.read_all().await.into_iter().map(|event| event.id).collect();
    assert_eq!(read, ids[..2]);
}

on_both_brokers!(a_cloud_event_that_is_none_is_refused_with_what_is_wrong);
async fn a_cloud_event_that_is_none_is_refused_with_what_is_wrong(broker: Broker) {
    let world = World::new(broker).await;
    let send = async |request: Request| request.send(world.gateway.address()).await;
    let mut events = [order("1", &world.topic), order("2", &world.topic)];
    events[1]["specversion"] = json!("0.3");
    let refused = send(Request::publish_batch(BATCH, Value::from(events.to_vec()).to_string())).await;
    assert_eq!(
        (refused.problem(400), &refused.json()["index"]),
        ("event 1: specversion: only 1.0 is known here".to_owned(), &json!(1))
    );
    events[1]["subject"] = Value::Null;
    let refused = send(Request::publish_batch(ONE, events[1].to_string())).await;
    assert!(refused.problem(400).contains("extension attribute \"topic\""), "{refused:?}");
    // In the binary mode it is told as that of a batch, whether its attributes or its payload are wrong.
    for (attributes, body, wrong) in
        [(&["ce-id"][..], "1", "source: "), (&["ce-id", "ce-source", "ce-type"], "{", "Content-Type says")]
    {
        let request = Request::publish_batch("application/json", body).header("ce-specversion", "1.0");
        let request = request.header("ce-subject", &world.topic);
        let refused = send(attributes.iter().fold(request, |request, name| request.header(name, "x"))).await;
        assert!(refused.problem(400).starts_with(&format!("event 0: {wrong}")), "{refused:?}");
        assert_eq!(refused.json()["index"], 0);
    }
    let refused = send(Request::publish(&world.topic, ONE, "{}")).await;
    assert!(refused.problem(400).starts_with("the body is no CloudEvent of JSON: "), "{refused:?}");
    let refused = send(Request::publish(&world.topic, BATCH, "[]")).await;
    assert!(refused.problem(400).contains("/events"), "{refused:?}");
    assert!(world.read_all().await.is_empty());
}

/// The names of the protocol binding for AMQP.
#[tokio::test(flavor = "multi_thread")]
async fn over_amqp_a_cloud_event_is_what_its_headers_say_in_both_directions() {
    let world = World::new(Broker::RabbitMq).await;
    let amqp = Amqp::connect(shared_broker().await.url()).await;
    let mut headers = FieldTable::default();
    let texts = [
        ("specversion", "1.0"),
        ("id", "A-1"),
        ("source", "/shop"),
        ("type", "order.made"),
        ("subject", &world.topic),
        ("time", "2026-01-02T12:00:00.5Z"),
    ];
    for (name, value) in texts {
        headers.insert(format!("cloudEvents:{name}").into(), AMQPValue::LongString(value.into()));
    }
    headers.insert("cloudEvents:priority".into(), AMQPValue::LongInt(3));
    let properties = BasicProperties::default().with_content_type("application/json".into()).with_headers(headers);
    amqp.publish_foreign(&world.topic, properties, br#"{"n":1.50}"#).await;
    // The same event over HTTP has the same id.
    let id =
        ids(&Request::publish_batch(ONE, order("A-1", &world.topic).to_string()).send(world.gateway.address()).await);
    let read = world.read_all().await;
    assert_eq!(read.iter().map(|event| &event.id).collect::<Vec<_>>(), [&id[0], &id[0]]);
    for event in &read {
        is_order(event, &world.topic, Some("A-1"));
    }
}
