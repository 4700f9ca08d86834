//! Limits that RabbitMQ's operator sets: a gateway learns them, says so, and harms no client that is served already.
//!
//! An embedded broker has no such limits.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::ExchangeDeleteOptions;
use postern_tests::{
    Amqp, Answer, Gateway, GatewayBuilder, HttpConnection, Poll, Publisher, RabbitNode, Request, eventually,
    shared_node, unique,
};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const SOON: Duration = Duration::from_mins(1);

async fn started(builder: GatewayBuilder) -> Gateway {
    let gateway = builder.start().await;
    gateway.wait_ready().await;
    gateway
}

async fn on(url: &str) -> Gateway {
    started(Gateway::builder().amqp_url(url)).await
}

/// Returns the name of the virtual host in a URL.
fn vhost(url: &str) -> &str {
    url.rsplit('/').next().filter(|vhost| *vhost != "%2f").unwrap_or("/")
}

/// Makes a user that may do everything in this virtual host, and returns its URL.
async fn user(node: &RabbitNode, url: &str) -> (String, String) {
    let user = unique("limited");
    node.rabbitmqctl(&["add_user", &user, "secret"]).await;
    node.rabbitmqctl(&["set_permissions", "-p", vhost(url), &user, ".*", ".*", ".*"]).await;
    let url = url.replace("guest:guest", &format!("{user}:secret"));
    (user, url)
}

/// Checks an answer that says to come back later, and why.
#[track_caller]
fn is_limit(answer: &Answer) {
    let detail = answer.problem(503);
    assert!(detail.contains("limit of the broker"), "{detail}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

async fn publish(gateway: &Gateway, topic: &str) -> Answer {
    Request::publish(topic, JSON, r#"{"n":1}"#).send(gateway.address()).await
}

/// Holds a poll for each client, as it does that comes back when it is told so, until all are held at once.
async fn hold_all(gateway: &Gateway, clients: &[String], topic: &str) -> Vec<HttpConnection> {
    let polls = clients.iter().map(|client| async {
        let poll = Poll::of(client).topics(topic);
        eventually(SOON, "a place", async || {
            let answer = poll.clone().wait(0).send(gateway).await;
            if answer.status == 204 { Ok(()) } else { Err(answer) }
        })
        .await;
        poll.wait(50).hold(gateway).await
    });
    join_all(polls).await
}

fn clients(count: usize) -> Vec<String> {
    (0..count).map(|_| unique("client")).collect()
}

/// Publishes an event, which every held poll has to get.
async fn all_get_it(gateway: &Gateway, topic: &str, held: Vec<HttpConnection>) {
    publish(gateway, topic).await.expect_status(202);
    for mut poll in held {
        assert_eq!(poll.answer().await.batch().numbers("n"), [1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_queues_is_not_taken_for_a_missing_mailbox() {
    let node = shared_node().await;
    let url = node.vhost("queues").await;
    let gateway = on(&url).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let limit = async |limits: &str| node.rabbitmqctl(&["set_vhost_limits", "-p", vhost(&url), limits]).await;
    limit(r#"{"max-queues": 1}"#).await;
    for _ in 0..20 {
        is_limit(&Poll::of(&client).topics(&topic).wait(0).send(&gateway).await);
        is_limit(&Poll::of(&client).topics(&topic).last_seen("x").wait(0).send(&gateway).await);
        let put = Request::new("PUT", &format!("/clients/{client}/topics/{topic}"));
        is_limit(&put.send(gateway.address()).await);
    }
    let fields = gateway.wait_logged("the broker refused", SOON).await;
    assert!(fields["error"].as_str().unwrap().contains("queue limit in vhost"), "{fields}");
    let lines = gateway.log().lines();
    assert!(!lines.iter().any(|line| line.contains("another expiry") || line.contains("mailbox created")), "{lines:?}");
    let warnings = lines.iter().filter(|line| line.contains("the broker refused")).count();
    assert!(warnings < 30, "60 refusals, {warnings} lines");
    limit(r#"{"max-queues": -1}"#).await;
    let held = hold_all(&gateway, &[client], &topic).await;
    all_get_it(&gateway, &topic, held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_exchange_is_declared_anew_where_it_is_missed_and_the_feed_is_bound_again() {
    let node = shared_node().await;
    let url = node.vhost("exchange").await;
    let gateway = started(Gateway::builder().amqp_url(&url).with_feed()).await;
    let amqp = Amqp::connect(&url).await;
    let delete = async || {
        let channel = amqp.connection().create_channel().await.unwrap();
        channel.exchange_delete("postern.events".into(), ExchangeDeleteOptions::default()).await.unwrap();
    };
    let in_feed = async |topic: &str| {
        let path = format!("/topics/{topic}/events?last_seen=oldest&wait=10");
        Request::get(&path).send(gateway.address()).await.batch().numbers("n")
    };
    // Missed by a publisher.
    let topic = unique("jobs");
    delete().await;
    publish(&gateway, &topic).await.expect_status(202);
    assert_eq!(in_feed(&topic).await, [1]);
    // Missed by a poll.
    let topic = unique("jobs");
    delete().await;
    let poll = Poll::of(&unique("alice")).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    DirectlyPublished { amqp: &amqp, topic: &topic }.publish().await;
    assert_eq!(poll.send(&gateway).await.batch().numbers("n"), [1]);
    assert_eq!(in_feed(&topic).await, [1]);
    // Missed by a binding, and by its removal.
    let client = unique("bob");
    for method in ["PUT", "DELETE"] {
        delete().await;
        let path = format!("/clients/{client}/topics/{topic}");
        Request::new(method, &path).send(gateway.address()).await.expect_status(204);
    }
    gateway.wait_answer("/ready", 200, SOON).await;
}

/// An event that does not come through the gateway, which would notice that the exchange is missing.
struct DirectlyPublished<'a> {
    amqp: &'a Amqp,
    topic: &'a str,
}

impl DirectlyPublished<'_> {
    async fn publish(&self) {
        let json = lapin::BasicProperties::default().with_content_type(JSON.into());
        self.amqp.publish_foreign(self.topic, json, br#"{"n":1}"#).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_allows_few_channels_on_a_connection_gets_more_connections() {
    let node = RabbitNode::start_with(&["channel_max = 20"]).await;
    let gateway = on(&node.url()).await;
    let topic = unique("jobs");
    let held = hold_all(&gateway, &clients(60), &topic).await;
    let fields = gateway.wait_logged(FEWER_MAILBOXES, SOON).await;
    assert_eq!((&fields["channel_max"], &fields["mailboxes"]), (&20.into(), &448.into()), "{fields}");
    all_get_it(&gateway, &topic, held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_allows_few_channels_on_a_connection_lets_many_look_through_a_feed() {
    let node = RabbitNode::start_with(&["channel_max = 20"]).await;
    let builder = Gateway::builder().amqp_url(&node.url()).with_feed().flag("--feed-window", "1000");
    let gateway = started(builder).await;
    let topics: Vec<String> = (0..40).map(|_| unique("jobs")).collect();
    for topic in topics.iter().chain(&topics) {
        publish(&gateway, topic).await.expect_status(202);
    }
    // One event at a time, so that each reader is kept for the next search.
    let readers = topics.iter().map(async |topic| {
        let path = |seen: &str| format!("/topics/{topic}.#/events?last_seen={seen}&limit=1&wait=5").replace('#', "%23");
        let first = Request::get(&path("oldest")).send(gateway.address()).await.batch();
        let second = Request::get(&path(&first.last_seen)).send(gateway.address()).await.batch();
        (first.numbers("n"), second.numbers("n"))
    });
    for numbers in join_all(readers).await {
        assert_eq!(numbers, (vec![1], vec![1]));
    }
    gateway.wait_answer("/ready", 200, SOON).await;
}

const FEWER_MAILBOXES: &str =
    "the broker allows so few channels on a connection that fewer mailboxes than --max-mailboxes can be read at once";

#[tokio::test(flavor = "multi_thread")]
async fn refused_bindings_wear_out_no_connection_that_carries_mailboxes() {
    let node = RabbitNode::start_with(&["channel_max = 20"]).await;
    let (user, url) = user(&node, &node.url()).await;
    node.rabbitmqctl(&["set_topic_permissions", "-p", "/", &user, "postern.events", ".*", "^(ok|no.feed)"]).await;
    let gateway = on(&url).await;
    let topic = unique("ok");
    let held = hold_all(&gateway, &clients(5), &topic).await;
    // Each makes the broker close a channel, whose number is lost.
    let refused = (0..8).map(|_| async {
        for _ in 0..40 {
            let answer = Poll::of(&unique("mallory")).topics("bad.#").wait(0).send(&gateway).await;
            answer.problem(503);
            Request::get("/ready").send(gateway.address()).await.expect_status(200);
        }
    });
    join_all(refused).await;
    let more = hold_all(&gateway, &clients(5), &topic).await;
    all_get_it(&gateway, &topic, held.into_iter().chain(more).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_s_limit_of_channels_is_learned_and_harms_no_poll_that_is_held_afterwards() {
    let node = shared_node().await;
    let url = node.vhost("channels").await;
    let (user, url) = user(node, &url).await;
    node.rabbitmqctl(&["set_user_limits", &user, r#"{"max-channels": 30}"#]).await;
    let gateway = started(Gateway::builder().amqp_url(&url).flag("--linger", "1s")).await;
    let topic = unique("jobs");
    // The limit is learned the hard way, once.
    let crowd = clients(40);
    join_all(crowd.iter().map(async |client| Poll::of(client).topics(&topic).wait(2).send(&gateway).await)).await;
    let fields = gateway.wait_logged(TOO_FEW_CHANNELS, SOON).await;
    assert_eq!(fields["limit"], 30, "{fields}");
    gateway.wait_ready().await;

    let held = hold_all(&gateway, &clients(15), &topic).await;
    for client in clients(60).chunks(20) {
        let polls = client.iter().map(async |client| Poll::of(client).topics(&topic).wait(0).send(&gateway).await);
        for answer in join_all(polls).await.iter().filter(|answer| answer.status != 204) {
            is_limit(answer);
        }
    }
    all_get_it(&gateway, &topic, held).await;
    let warnings = gateway.log().lines().iter().filter(|line| line.contains(TOO_FEW_CHANNELS)).count();
    assert_eq!(warnings, 1);
}

const TOO_FEW_CHANNELS: &str = "the broker allows too few channels and closed a connection over one more; from now on this \
                                gateway reads no more mailboxes than fit; raise the limit of the user (max-channels) or of the \
                                node (channel_max_per_node), and start the gateway again";

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_connections_breaks_nothing_that_is_there() {
    let node = RabbitNode::start_with(&["channel_max = 20"]).await;
    let url = node.vhost("connections").await;
    // Publishing, administration, the feed, and two for mailboxes.
    node.rabbitmqctl(&["set_vhost_limits", "-p", vhost(&url), r#"{"max-connections": 5}"#]).await;
    let gateway = on(&url).await;
    let topic = unique("jobs");
    let held = hold_all(&gateway, &clients(20), &topic).await;
    let crowd = clients(20);
    let polls = crowd.iter().map(async |client| Poll::of(client).topics(&topic).wait(5).send(&gateway).await);
    let answers = join_all(polls).await;
    answers.iter().filter(|answer| answer.status != 204).for_each(is_limit);
    assert!(answers.iter().any(|answer| answer.status == 503), "28 have room: {answers:?}");
    Request::get("/ready").send(gateway.address()).await.expect_status(200);
    all_get_it(&gateway, &topic, held).await;
}

/// A mailbox that takes two events, and one that takes all; returns their clients.
async fn with_full_mailbox(node: &RabbitNode, url: &str, gateway: &Gateway, topic: &str) -> (String, String) {
    let (full, other) = (unique("full"), unique("other"));
    let policy = r#"{"max-length":2,"overflow":"reject-publish"}"#;
    let pattern = format!("^postern.mailbox.{full}$");
    node.rabbitmqctl(&["set_policy", "-p", vhost(url), &full, &pattern, policy]).await;
    for client in [&full, &other] {
        let path = format!("/clients/{client}/topics/{topic}");
        Request::new("PUT", &path).send(gateway.address()).await.expect_status(204);
    }
    // A policy takes effect a moment later.
    eventually(SOON, "a rejection", async || {
        let answer = publish(gateway, topic).await;
        if answer.status == 507 { Ok(()) } else { Err(answer) }
    })
    .await;
    (full, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mailbox_that_rejects_events_is_a_problem_of_its_own() {
    let node = shared_node().await;
    let url = node.vhost("full").await;
    let (gateway, topic) = (on(&url).await, unique("jobs"));
    with_full_mailbox(node, &url, &gateway, &topic).await;
    let answer = publish(&gateway, &topic).await;
    let detail = answer.problem(507);
    assert!(detail.contains("mailbox is full") && detail.contains("Event-Id"), "{detail}");
    let problem = answer.json();
    assert_eq!((&problem["type"], &problem["title"]), (&MAILBOX_FULL.into(), &"Mailbox Full or Away".into()));
    assert_eq!(answer.header("retry-after"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_the_events_that_a_full_mailbox_rejects_are_named_and_those_that_are_confirmed() {
    let node = shared_node().await;
    let url = node.vhost("full-batch").await;
    let (gateway, topic, free) = (on(&url).await, unique("jobs"), unique("free"));
    let (_, other) = with_full_mailbox(node, &url, &gateway, &topic).await;
    let reader = Poll::of(&unique("reader")).topics(&free).wait(5);
    reader.clone().wait(0).send(&gateway).await.expect_status(204);
    // What is there so far.
    let before = Poll::of(&other).wait(5).send(&gateway).await.batch();
    let event = |n: u64| {
        let topic = if n % 3 == 1 { &topic } else { &free };
        json!({ "topic": topic, "data": { "n": n }, "id": format!("event-{n}") })
    };
    let body = Value::from((0..30).map(event).collect::<Vec<_>>()).to_string();
    let answer = Request::publish_batch(JSON, body).send(gateway.address()).await;
    let detail = answer.problem(503);
    assert!(
        detail.contains("20 of 30 events are confirmed") && detail.contains("at least one mailbox did not take"),
        "{detail}"
    );
    assert!(answer.header("retry-after").is_some());
    let ids =
        |is_meant: fn(&u64) -> bool| json!((0..30).filter(is_meant).map(|n| format!("event-{n}")).collect::<Vec<_>>());
    let problem = answer.json();
    assert_eq!(problem["ids"], ids(|_| true));
    assert_eq!(problem["confirmed"], ids(|n| n % 3 != 1));
    assert_eq!(problem["rejected"], ids(|n| n % 3 == 1));
    // Those that are confirmed are there, and the others are where there was room for them.
    let numbers = |is_meant: fn(&u64) -> bool| (0..30).filter(is_meant).collect::<Vec<_>>();
    assert_eq!(reader.send(&gateway).await.batch().numbers("n"), numbers(|n| n % 3 != 1));
    let poll = Poll::of(&other).last_seen(&before.last_seen).wait(5);
    assert_eq!(poll.send(&gateway).await.batch().numbers("n"), numbers(|n| n % 3 == 1));
}

const MAILBOX_FULL: &str = "urn:postern:problem:mailbox-full";

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_gives_a_rejected_event_up_after_a_few_tries_and_goes_on_over_every_transport() {
    let node = shared_node().await;
    let url = node.vhost("rejected").await;
    let gateway = on(&url).await;
    let runs = [false, true].map(|over_amqp| {
        let (gateway, url) = (&gateway, &url);
        async move {
            let topic = unique("jobs");
            let (_, other) = with_full_mailbox(node, url, gateway, &topic).await;
            // What is there so far.
            let before = Poll::of(&other).wait(5).send(gateway).await.batch();
            let publisher = Publisher::new(&["pipe", "--topic-from", "t", "--timeout", "20s"]);
            let publisher = if over_amqp {
                publisher.amqp_url(url)
            } else {
                publisher.gateway(&format!("http://{}", gateway.address()))
            };
            let lines =
                format!("{{\"t\":\"{topic}\",\"n\":7}}\n{{\"t\":\"{topic}\",\"n\":8}}\n{{\"t\":\"free\",\"n\":9}}\n");
            let finished = publisher.stdin(lines).run().await;
            assert_eq!(finished.status.code(), Some(1), "{finished:?}");
            for words in ["published 1 event in", "line 1: ", "line 2: ", "2 not confirmed", "full"] {
                assert!(finished.stderr.contains(words), "{words:?} is not in {finished:?}");
            }
            let poll = Poll::of(&other).last_seen(&before.last_seen).wait(5);
            let numbers = poll.send(gateway).await.batch().numbers("n");
            for n in [7, 8] {
                let copies = numbers.iter().filter(|m| **m == n).count();
                assert!((1..=5).contains(&copies), "over AMQP: {over_amqp}; {n}: {numbers:?}");
            }
        }
    });
    join_all(runs).await;
}
