//! Feeds in which little happens, on a broker that does not wait for acknowledgements for ever, and whose connections
//! are closed now and then. A client that follows notices neither.
//!
//! `POSTERN_TEST_QUIET_SECONDS` makes the silence longer than in CI, and the broker's patience a minute then.

use std::time::Duration;

use amqp::names;
use postern_tests::{
    Amqp, DirectPublisher, EventStream, Gateway, RabbitNode, Relay, Request, eventually, roaming::quiet_seconds,
    shared_node,
};
use tokio::time::{Instant, sleep};

/// In CI: several times the broker's patience.
const QUIET: Duration = Duration::from_secs(30);

const ALL: &str = "/topics/quiet.%23/events";

/// Polls a feed until an event comes; every answer before has to be one of a feed that is well.
async fn next_number(gateway: &Gateway, place: &mut String, wait: u32) -> Option<u64> {
    let answer = Request::get(&format!("{ALL}?last_seen={place}&wait={wait}")).send(gateway.address()).await;
    assert!(answer.status == 200 || answer.status == 204, "{answer:?}");
    answer.header("last-seen").expect("a place").clone_into(place);
    (answer.status == 200).then(|| answer.batch().numbers("n")[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_feed_outlives_the_broker_s_patience_with_acknowledgements() {
    let seconds = quiet_seconds();
    let quiet = seconds.map_or(QUIET, Duration::from_secs);
    let timeout = if seconds.is_some() { 60_000 } else { 9_000 };
    let node = RabbitNode::start().await;
    // A channel looks at its own acknowledgements once a minute unless it is told otherwise before it opens.
    for (setting, ms) in [("consumer_timeout", timeout), ("channel_tick_interval", 1_000)] {
        node.rabbitmqctl(&["eval", &format!("application:set_env(rabbit, {setting}, {ms}).")]).await;
    }
    let gateway = Gateway::builder().amqp_url(&node.url()).with_feed().start().await;
    gateway.wait_ready().await;
    let publisher = DirectPublisher::connect(&node.url()).await;
    publisher.publish_numbered("quiet.1", 0..3).await;
    let mut stream = EventStream::open(gateway.address(), ALL, "oldest").await;
    assert_eq!(stream.take(3).await.len(), 3);
    let mut place = String::from("now");
    let end = Instant::now() + quiet;
    while Instant::now() < end {
        assert_eq!(next_number(&gateway, &mut place, 3).await, None);
    }
    publisher.publish_numbered("quiet.1", 3..4).await;
    assert_eq!(next_number(&gateway, &mut place, 10).await, Some(3));
    assert_eq!(stream.next().await.expect("a stream that goes on").number("n"), 3);
    let log = gateway.log().lines();
    let lost = log.iter().find(|line| line.contains("was lost") || line.contains("cannot be read"));
    assert_eq!(lost, None);
}

/// Longer than a look into silence takes, with its question and the try to read on elsewhere.
const SLOW: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_feed_outlives_a_broker_that_does_not_answer_for_a_while() {
    let node = RabbitNode::start().await;
    // The connections outlive it, too.
    let gateway = Gateway::builder().amqp_url(&format!("{}?heartbeat=60", node.url())).with_feed().start().await;
    gateway.wait_ready().await;
    let publisher = DirectPublisher::connect(&format!("{}?heartbeat=60", node.url())).await;
    publisher.publish_numbered("quiet.1", 0..3).await;
    let mut stream = EventStream::open(gateway.address(), ALL, "oldest").await;
    assert_eq!(stream.take(3).await.len(), 3);
    node.freeze();
    sleep(SLOW).await;
    node.thaw();
    publisher.publish_numbered("quiet.1", 3..4).await;
    assert_eq!(stream.next().await.expect("a stream that goes on").number("n"), 3);
    let log = gateway.log().lines();
    assert_eq!(log.iter().find(|line| line.contains("cannot be read")), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_whose_connections_are_closed_is_read_on_where_it_was() {
    let node = RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).with_feed().start().await;
    gateway.wait_ready().await;
    DirectPublisher::connect(&node.url()).await.publish_numbered("quiet.1", 0..3).await;
    let mut stream = EventStream::open(gateway.address(), ALL, "oldest").await;
    assert_eq!(stream.take(3).await.len(), 3);
    let mut place = String::from("now");
    assert_eq!(next_number(&gateway, &mut place, 0).await, None);
    for n in 3..6 {
        node.rabbitmqctl(&["close_all_connections", "a test"]).await;
        DirectPublisher::connect(&node.url()).await.publish_numbered("quiet.1", n..n + 1).await;
        assert_eq!(next_number(&gateway, &mut place, 20).await, Some(n));
        assert_eq!(stream.next().await.expect("a stream that goes on").number("n"), n);
    }
    let log = gateway.log().lines();
    let starts = log.iter().filter(|line| line.contains("feeds are ready")).count();
    assert_eq!(starts, 1, "the log is not read from its beginning again");
    assert!(log.iter().any(|line| line.contains("read on after it was lost")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_whose_exchange_was_deleted_is_bound_again_with_its_connection() {
    let node = RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).with_feed().start().await;
    gateway.wait_ready().await;
    let mut place = String::from("now");
    assert_eq!(next_number(&gateway, &mut place, 0).await, None);
    Amqp::connect(&node.url()).await.delete_exchange(names::EXCHANGE).await;
    node.rabbitmqctl(&["close_all_connections", "a test"]).await;
    gateway.wait_logged("the feed is read on after it was lost", Duration::from_secs(20)).await;
    let publish = || Request::publish("quiet.1", "application/json", r#"{"n":7}"#);
    eventually(Duration::from_mins(1), "a publish", async || {
        let answer = publish().send(gateway.address()).await;
        if answer.status == 202 { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(next_number(&gateway, &mut place, 20).await, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_lags_resets_no_client_of_another_one() {
    let url = shared_node().await.vhost("lag").await;
    let ahead = Gateway::builder().amqp_url(&url).with_feed().start().await;
    ahead.wait_ready().await;
    let port: u16 = url.split(':').nth(3).and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap();
    let relay = Relay::to(([127, 0, 0, 1], port).into()).await;
    let lagging = url.replace(&format!(":{port}/"), &format!(":{}/", relay.address().port()));
    let lagging = Gateway::builder().amqp_url(&lagging).with_feed().start().await;
    lagging.wait_ready().await;
    let mut place = String::from("now");
    assert_eq!(next_number(&ahead, &mut place, 0).await, None);
    relay.cut();
    DirectPublisher::connect(&url).await.publish_numbered("quiet.1", 0..1).await;
    assert_eq!(next_number(&ahead, &mut place, 10).await, Some(0));
    let poll = Request::get(&format!("{ALL}?last_seen={place}&wait=0"));
    poll.send(lagging.address()).await.expect_status(503);
    relay.restore();
    eventually(Duration::from_mins(1), "the place is known", async || {
        let answer = poll.send(lagging.address()).await;
        assert!(answer.status == 204 || answer.status == 503, "{answer:?}");
        if answer.status == 204 { Ok(()) } else { Err(answer) }
    })
    .await;
}
