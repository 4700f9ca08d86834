//! Messages of other people's publishers: every one is an event, none stops a mailbox.
//!
//! They come over AMQP, so only RabbitMQ has them.

use amqp::names;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use postern_tests::{Broker, EventView, World};

use super::publish::compressed::{gzip, zlib};

/// Publishes one message and returns the event that its reader gets, confirmed.
async fn through(world: &World, properties: BasicProperties, payload: &[u8]) -> EventView {
    world.backend.amqp().publish_foreign(&world.topic, properties, payload).await;
    let mut batch = world.poll().send(&world.gateway).await.batch();
    assert_eq!(batch.events.len(), 1);
    world.poll().last_seen(&batch.last_seen).wait(0).send(&world.gateway).await.expect_status(204);
    batch.events.remove(0)
}

fn typed(content_type: &str) -> BasicProperties {
    BasicProperties::default().with_content_type(content_type.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_messages_get_what_they_lack() {
    let world = World::new(Broker::RabbitMq).await;
    let event = through(&world, BasicProperties::default(), br#"{"n":1}"#).await;
    assert_eq!((event.number("n"), event.content_type), (1, None));
    assert!(
        event.id.len() == 36 && event.time.starts_with("20") && event.time.ends_with('Z'),
        "{} {}",
        event.id,
        event.time
    );
    let empty = through(&world, BasicProperties::default(), b"").await;
    assert_eq!(empty.data.unwrap(), "");
    assert_eq!(empty.content_type.unwrap(), "text/plain; charset=utf-8");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_json_parser_likes_arrives_as_it_is() {
    let world = World::new(Broker::RabbitMq).await;
    let deep = "[".repeat(100_000);
    let as_base64: [(&str, &[u8]); 6] = [
        ("application/json", b"{oops"),
        ("application/json", b"\"\\ud800\""),
        ("application/json", b""),
        ("application/json", deep.as_bytes()),
        ("text/plain", b"caf\xe9"),
        ("image/png", b"\x89PNG\r\n\x1a\n\0"),
    ];
    for (content_type, payload) in as_base64 {
        let event = through(&world, typed(content_type), payload).await;
        assert_eq!(event.content_type.as_deref(), Some(content_type));
        assert_eq!(event.data, None);
        assert_eq!(base64(&event.data_base64.unwrap()), payload);
    }
    let text = through(&world, typed("text/html"), "<p>\u{1F389}\0\n\"".as_bytes()).await;
    assert_eq!(text.data.unwrap(), "<p>\u{1F389}\0\n\"");
    let json = through(&world, typed("application/vnd.job+json"), b" [1.00, 1e3]\n").await;
    assert_eq!(json.data.unwrap(), serde_json::json!([1.0, 1e3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ids_times_and_headers_are_no_obstacle() {
    let world = World::new(Broker::RabbitMq).await;
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("postern-resent", AMQPValue::LongString("true".into())),
        ("postern-control", AMQPValue::LongString("who knows".into())),
        ("timestamp_in_ms", AMQPValue::FieldTable(FieldTable::default())),
        ("deep", AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::Double(1.5)].into())),
        ("decimal", AMQPValue::DecimalValue(lapin::types::DecimalValue { scale: 9, value: 7 })),
    ] {
        headers.insert(name.into(), value);
    }
    let odd = BasicProperties::default()
        .with_message_id("m".repeat(255).into())
        .with_timestamp(u64::MAX)
        .with_content_type("\r\nX: y".into())
        .with_headers(headers);
    let event = through(&world, odd.clone(), b"1").await;
    assert!(event.id.len() == 36 && !event.redelivered && event.content_type.is_none(), "{event:?}");
    assert_eq!(through(&world, odd, b"1").await.id, event.id, "an unusable id still is an identity");
    let mut headers = FieldTable::default();
    headers.insert(names::RESENT.into(), AMQPValue::Boolean(true));
    assert!(through(&world, BasicProperties::default().with_headers(headers), b"1").await.redelivered);
    let millis = through(&world, BasicProperties::default().with_timestamp(1_767_323_045_678), b"1").await;
    assert_eq!(millis.time, "2026-01-02T03:04:05.678Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_routing_key_is_a_topic_for_who_reads_it() {
    let world = World::new(Broker::RabbitMq).await;
    let key = format!("{}.ä \"/*", world.topic);
    world.backend.amqp().publish(names::EXCHANGE, &key, BasicProperties::default(), b"1").await;
    let batch = world.poll().send(&world.gateway).await.batch();
    assert_eq!(batch.events[0].topic, key);
    let straight = format!("postern.mailbox.{}", world.client);
    world.backend.amqp().publish("", &straight, BasicProperties::default(), b"2").await;
    let batch = world.poll().last_seen(&batch.last_seen).send(&world.gateway).await.batch();
    assert_eq!(batch.events[0].topic, straight);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_over_and_over_is_confirmed_by_place() {
    let mut world = World::new(Broker::RabbitMq).await;
    let tick = || BasicProperties::default().with_message_id("tick".into()).with_delivery_mode(2);
    for n in 0..6 {
        world.backend.amqp().publish_foreign(&world.topic, tick(), format!("{{\"n\":{n}}}").as_bytes()).await;
    }
    world.is_handed_over().await;
    let two = world.poll().query("limit", "2").send(&world.gateway).await.batch();
    assert_eq!((two.numbers("n"), two.ids()), (vec![0, 1], vec!["tick", "tick"]));
    let next = world.poll().last_seen(&two.last_seen).query("limit", "2").send(&world.gateway).await.batch();
    assert_eq!(next.numbers("n"), [2, 3]);

    // The answer with 2 and 3 is lost in a crash: the token of 1 must not confirm 2, though their ids are the same.
    world.gateway.kill9();
    world.gateway.start_again().await;
    world.gateway.wait_ready().await;
    let again = world.poll().last_seen(&two.last_seen).send(&world.gateway).await.batch();
    assert_eq!(again.numbers("n"), [2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_in_the_middle_stops_no_session() {
    let world = World::new(Broker::RabbitMq).await;
    for n in 0..20 {
        let properties = if n % 2 == 0 { typed("application/json") } else { typed("\0").with_message_id("\n".into()) };
        world.backend.amqp().publish_foreign(&world.topic, properties, format!("{{\"n\":{n}}}").as_bytes()).await;
    }
    let seen: Vec<u64> = world.read_all().await.iter().map(|event| event.number("n")).collect();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_reach_readers_if_their_publisher_asks_for_it() {
    let world = World::new(Broker::RabbitMq).await;
    let mut headers = FieldTable::default();
    headers.insert("tenant".into(), AMQPValue::LongString("\"ä\"".into()));
    headers.insert("tries".into(), AMQPValue::LongInt(3));
    let with = |headers: &FieldTable| typed("text/plain").with_type("order".into()).with_headers(headers.clone());
    assert!(!through(&world, with(&headers), b"1").await.other.contains_key("headers"));
    headers.insert(names::HEADERS.into(), AMQPValue::Boolean(true));
    let event = through(&world, with(&headers), b"1").await;
    assert_eq!(event.other["headers"], serde_json::json!({"tenant": "\"ä\"", "tries": 3, "type": "order"}));
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_of_a_marker_makes_none_of_a_publisher_s_message() {
    let world = World::new(Broker::RabbitMq).await;
    let mut headers = FieldTable::default();
    headers.insert(names::CONTROL.into(), AMQPValue::LongString("marker".into()));
    let properties = BasicProperties::default().with_headers(headers);
    let event = through(&world, properties.clone(), br#"{"n":1}"#).await;
    assert_eq!(event.number("n"), 1);
    // An empty one looks like a marker in all but its way.
    world.backend.amqp().publish_foreign(&world.topic, properties.clone(), b"").await;
    let first = world.poll().send(&world.gateway).await.batch();
    assert_eq!((first.events.len(), &first.events[0].topic, first.reset), (1, &world.topic, false));
    world.backend.amqp().publish_foreign(&world.topic, properties, b"").await;
    let second = world.poll().last_seen(&first.last_seen).send(&world.gateway).await.batch();
    assert_eq!((second.events.len(), second.reset), (1, false), "a reader with a token is told of no loss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_payload_is_inflated_or_said_to_be_compressed() {
    let world = World::new(Broker::RabbitMq).await;
    let of = |coding: &str, content_type: &str| typed(content_type).with_content_encoding(coding.into());
    let json = br#"{"n":1}"#;
    for (coding, payload) in [
        ("gzip", gzip(json)),
        ("x-gzip", gzip(json)),
        ("gzip:UTF-8", gzip(json)),
        ("deflate", zlib(json)),
        ("utf-8", json.to_vec()),
        ("binary", json.to_vec()),
        ("ISO-8859-1", json.to_vec()),
    ] {
        let event = through(&world, of(coding, "application/json"), &payload).await;
        assert_eq!((event.number("n"), event.content_type, event.other.len()), (1, None, 0), "{coding}");
    }
    let image = through(&world, of("gzip", "image/svg+xml"), &gzip(b"<svg/>")).await;
    assert_eq!((image.data_base64.as_deref().map(base64), image.other.len()), (Some(b"<svg/>".to_vec()), 0));

    // A megabyte is inflated, and what is larger is not.
    let large = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let most = 1 << 20;
    let event = through(&world, of("gzip", "application/json"), &gzip(large(most).as_bytes())).await;
    assert_eq!(event.data.unwrap().as_str().unwrap().len(), most - 2);
    for (coding, payload) in [
        ("gzip", gzip(large(most + 1).as_bytes())),
        ("gzip", b"no gzip at all\xff".to_vec()),
        ("br", vec![0x8b, 0x01, 0x80]),
        ("zstd", vec![0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let event = through(&world, of(coding, "application/json"), &payload).await;
        assert_eq!(base64(&event.data_base64.unwrap()), payload);
        assert_eq!(event.content_type.unwrap(), "application/json");
        assert_eq!(event.other["content_encoding"], coding);
    }
}
