//! What the histograms measure, one by one.

use postern_tests::{HttpConnection, unique};

use super::{
    Broker, Duration, EventStream, Gateway, Poll, Request, SOON, eventually, eventually_eq, on_both_brokers, start,
    written,
};

/// How long what is held is held at least.
const HELD: Duration = Duration::from_millis(300);

/// Returns how often something was observed, and how much that was together, as it is written.
async fn observed(gateway: &Gateway, name: &str, labels: &str) -> (u64, String) {
    let part = async |part: &str| written(gateway, &format!("postern_{name}_{part}{labels}")).await.unwrap_or_default();
    (part("count").await.parse().unwrap_or(0), part("sum").await)
}

fn reading(source: &str, transport: &str) -> String {
    format!("{{source=\"{source}\",transport=\"{transport}\"}}")
}

/// Waits until something was observed so often, which may be a moment after an answer; returns how much that was
/// together.
async fn observed_soon(gateway: &Gateway, name: &str, labels: &str, count: u64) -> String {
    eventually_eq(SOON, &format!("{name}{labels}"), count, async || observed(gateway, name, labels).await.0).await;
    observed(gateway, name, labels).await.1
}

/// Checks that durations are together so many times [`HELD`], and not much more.
#[track_caller]
fn expect_held(times: u32, together: &str) {
    let together = Duration::from_secs_f64(together.parse().unwrap());
    assert!((HELD * times..HELD * times + SOON).contains(&together), "{together:?}");
}

async fn publish(gateway: &Gateway, topic: &str) {
    let publish = Request::publish(topic, "application/json", "1");
    publish.send(gateway.address()).await.expect_status(202);
}

/// Holds a poll of a mailbox and one of a feed, long enough to be told from those that are answered at once.
async fn hold(gateway: &Gateway, client: &str, topic: &str) -> (HttpConnection, HttpConnection) {
    let mut polled = Poll::of(client).topics(topic).wait(30).hold(gateway).await;
    let mut followed = HttpConnection::open(gateway.address()).await;
    followed.send(&Request::get(&format!("/topics/{topic}/events?wait=30")).bytes()).await;
    assert!(polled.is_silent(HELD).await && followed.is_silent(HELD).await);
    (polled, followed)
}

on_both_brokers!(a_poll_is_measured_from_its_head_to_its_answer_or_its_clients_end);
async fn a_poll_is_measured_from_its_head_to_its_answer_or_its_clients_end(broker: Broker) {
    let gateway = start(broker).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let (mailbox, feed) = (reading("mailbox", "poll"), reading("feed", "poll"));
    // One that is refused was not held.
    Poll::of(&unique("stranger")).send(&gateway).await.expect_status(404);

    let (mut polled, mut followed) = hold(&gateway, &client, &topic).await;
    publish(&gateway, &topic).await;
    let answers = (polled.answer().await, followed.answer().await);
    assert_eq!((answers.0.status, answers.1.status), (200, 200));
    for labels in [&mailbox, &feed] {
        expect_held(1, &observed_soon(&gateway, "poll_held_seconds", labels, 1).await);
    }

    let (polled, followed) = hold(&gateway, &unique("bob"), &unique("quiet")).await;
    polled.reset();
    followed.reset();
    for labels in [&mailbox, &feed] {
        expect_held(2, &observed_soon(&gateway, "poll_held_seconds", labels, 2).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_measured_to_its_end() {
    let gateway = start(Broker::Embedded).await;
    let topic = unique("jobs");
    for (source, path) in [
        ("mailbox", format!("/clients/{}/events?topics={topic}", unique("alice"))),
        ("feed", format!("/topics/{topic}/events?last_seen=now")),
    ] {
        let labels = reading(source, "stream");
        let mut stream = EventStream::open(gateway.address(), &path, "").await;
        publish(&gateway, &topic).await;
        stream.take(1).await;
        tokio::time::sleep(HELD).await;
        assert_eq!(observed(&gateway, "poll_held_seconds", &labels).await.0, 0, "{source}: it goes on");
        stream.reset();
        expect_held(1, &observed_soon(&gateway, "poll_held_seconds", &labels, 1).await);
        assert_eq!(observed(&gateway, "batch_events", &labels).await, (1, "1.0".to_owned()), "{source}");
        assert_eq!(observed(&gateway, "hand_out_seconds", &labels).await.0, 1, "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_turned_away_was_not_held() {
    let gateway = Broker::Embedded.gateway().await.flag("--max-connections", "1").start().await;
    gateway.wait_ready().await;
    let path = format!("/topics/{}/events?last_seen=now", unique("jobs"));
    // The connection by which the gateway was asked whether it is ready may still have the only place.
    let held = eventually(SOON, "a stream that is held", async || {
        let stream = EventStream::open(gateway.address(), &path, "").await;
        let held = written(&gateway, "postern_polls_held").await;
        if held.as_deref() == Some("1") { Ok(stream) } else { Err(held) }
    })
    .await;
    let streams = async || {
        let counted = "postern_http_requests_total{route=\"feed_stream\",method=\"get\",status=\"2xx\"}";
        written(&gateway, counted).await.and_then(|count| count.parse().ok()).unwrap_or(0_u64)
    };
    let before = streams().await;
    let refused = Request::get(&path).header("accept", "text/event-stream").send(gateway.address()).await;
    assert!(refused.expect_status(200).text().starts_with("retry: "));
    // A request is counted when it is over, after the time for which it was held.
    eventually(SOON, "the refused stream is over", async || {
        let count = streams().await;
        if count > before { Ok(()) } else { Err(count) }
    })
    .await;
    let labels = reading("feed", "stream");
    assert_eq!(observed(&gateway, "poll_held_seconds", &labels).await.0, 0, "of the refused");
    held.reset();
    observed_soon(&gateway, "poll_held_seconds", &labels, 1).await;
}

on_both_brokers!(a_batch_is_measured_by_its_events_and_by_the_age_of_its_oldest_new_one);
async fn a_batch_is_measured_by_its_events_and_by_the_age_of_its_oldest_new_one(broker: Broker) {
    let gateway = start(broker).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    Poll::of(&client).topics(&topic).wait(0).send(&gateway).await.expect_status(204);
    for _ in 0..3 {
        publish(&gateway, &topic).await;
    }
    tokio::time::sleep(HELD).await;

    let labels = reading("mailbox", "poll");
    let first = Poll::of(&client).wait(5).send(&gateway).await.batch();
    let age = observed_soon(&gateway, "hand_out_seconds", &labels, 1).await;
    expect_held(1, &age);
    // A repeat is not new.
    let again = Poll::of(&client).wait(5).send(&gateway).await.batch();
    let events = format!("{}.0", first.events.len() + again.events.len());
    assert_eq!(observed_soon(&gateway, "batch_events", &labels, 2).await, events);
    assert_eq!(observed_soon(&gateway, "hand_out_seconds", &labels, 1).await, age);

    let labels = reading("feed", "poll");
    let follow = async |query: &str| {
        let follow = Request::get(&format!("/topics/{topic}/events?wait=5&{query}"));
        follow.send(gateway.address()).await.batch()
    };
    // What a client without a place gets first may be old.
    let place = follow("last_seen=oldest&limit=1").await.last_seen;
    assert_eq!(observed_soon(&gateway, "batch_events", &labels, 1).await, "1.0");
    assert_eq!(observed(&gateway, "hand_out_seconds", &labels).await.0, 0);
    assert_eq!(follow(&format!("last_seen={place}")).await.events.len(), 2);
    assert_eq!(observed_soon(&gateway, "batch_events", &labels, 2).await, "3.0");
    let age = observed_soon(&gateway, "hand_out_seconds", &labels, 1).await;
    expect_held(1, &age);
    // What a client gets whose place is of another log may be old as well.
    assert!(follow("last_seen=elsewhere").await.reset);
    observed_soon(&gateway, "batch_events", &labels, 3).await;
    assert_eq!(observed_soon(&gateway, "hand_out_seconds", &labels, 1).await, age);
}

on_both_brokers!(a_publish_is_measured_to_its_answer);
async fn a_publish_is_measured_to_its_answer(broker: Broker) {
    let gateway = start(broker).await;
    publish(&gateway, &unique("jobs")).await;
    Request::publish("a", "application/json", "{").send(gateway.address()).await.expect_status(400);
    // Refused before its body was read.
    Request::publish("a", "multipart/form-data", "1").send(gateway.address()).await.expect_status(415);
    let answering: f64 = observed_soon(&gateway, "publish_answer_seconds", "", 2).await.parse().unwrap();
    let (confirms, confirming) = observed(&gateway, "publish_confirm_seconds", "").await;
    let confirming: f64 = confirming.parse().unwrap();
    assert!(confirms == 1 && answering >= confirming && confirming > 0.0, "{answering} {confirms} {confirming}");
}
