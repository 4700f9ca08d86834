//! A batch needs a right to the topic of each of its events, and counts as many events as it has.

use postern_tests::{Answer, Broker, PATIENCE, Request, eventually_eq, on_both_brokers, unique};
use serde_json::{Value, json};

use super::World;

fn batch(bearer: &str, topics: &[&str]) -> Request {
    let events: Vec<Value> = topics.iter().map(|topic| json!({ "topic": topic, "data": 1 })).collect();
    Request::publish_batch("application/json", Value::from(events).to_string()).header("authorization", bearer)
}

on_both_brokers!(one_topic_that_a_token_may_not_publish_to_refuses_the_whole_batch);
async fn one_topic_that_a_token_may_not_publish_to_refuses_the_whole_batch(broker: Broker) {
    let world = World::new(broker).await;
    let bearer =
        |publish: &[&str]| world.bearer(&json!({"sub": "backend", "postern": {"publish": publish, "read": ["#"]}}));
    let (narrow, none) = (bearer(&["a.#", "b"]), bearer(&[]));
    let send = async |request: Request| -> Answer { request.send(world.gateway.address()).await };
    let refused = send(batch(&narrow, &["a.x", "b", "c", "d"])).await;
    let detail = refused.problem(403);
    assert!(detail.starts_with("event 2: ") && detail.contains("publish to c:"), "{detail}");
    assert_eq!(refused.json()["index"], 2);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer error=\"insufficient_scope\""));
    // Without any right the body is not even read.
    let detail =
        send(Request::publish_batch("application/json", "oops").header("authorization", &none)).await.problem(403);
    assert!(detail.starts_with("topic: no right to publish"), "{detail}");
    send(batch(&narrow, &["a.y", "b"])).await.expect_status(202);
    let feed = Request::get("/topics/%23/events?last_seen=oldest&wait=5").header("authorization", &narrow);
    // The gateway reads them one after the other.
    let stored = vec!["a.y".to_owned(), "b".to_owned()];
    eventually_eq(PATIENCE, "what is stored", stored, async || {
        send(feed.clone()).await.batch().events.into_iter().map(|event| event.topic).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_as_many_events_from_what_its_sender_may_publish() {
    let world = World::with(Broker::Embedded, |builder| {
        // So slow that none comes back while this runs.
        builder.flag("--publish-rate", "1").flag("--publish-burst", "1000")
    })
    .await;
    let topic = unique("paced");
    let bearer = |subject: &str| world.bearer(&json!({"sub": subject, "postern": {"publish": ["#"], "rate": 1}}));
    let (alice, bob) = (bearer("alice"), bearer("bob"));
    let send = async |bearer: &str, count: usize| {
        batch(bearer, &vec![topic.as_str(); count]).send(world.gateway.address()).await
    };
    send(&alice, 600).await.expect_status(202);
    let refused = send(&alice, 600).await;
    assert!(refused.problem(429).contains("--publish-rate"), "{refused:?}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((100..=201).contains(&wait), "as long as it takes until there are 600: {wait} s");
    send(&alice, 300).await.expect_status(202);
    send(&bob, 1000).await.expect_status(202);
    let wrong = batch(&bob, &["a b"]).send(world.gateway.address()).await;
    assert!(matches!(wrong.status, 400 | 429), "{wrong:?}");
    let slow = World::with(Broker::Embedded, |builder| builder.flag("--publish-burst", "10")).await;
    let bearer = slow.bearer(&json!({"sub": "alice", "postern": {"publish": ["#"]}}));
    let detail = batch(&bearer, &["a"; 11]).send(slow.gateway.address()).await.problem(413);
    assert!(detail.contains("at most 10 events") && detail.contains("--publish-burst"), "{detail}");
    batch(&bearer, &["a"; 10]).send(slow.gateway.address()).await.expect_status(202);
}
