//! Gateways that hand mailboxes over to each other: any poll may come to any of them.
//!
//! All of them keep a mailbox for its client longer than a test lasts, so nothing here is served because a gateway had
//! no more interest in it.

mod words;

use std::time::Duration;

use amqp::names;
use lapin::{BasicProperties, types::FieldTable};
use postern_tests::{
    Amqp, DirectPublisher, EventStream, Gateway, HttpConnection, PATIENCE, Poll, RabbitNode, Request, eventually,
    eventually_eq, shared_node, unique,
};
use serde_json::json;
use tokio::time::timeout;

/// Gateways on a virtual host of their own.
struct Fleet {
    url: String,
    gateways: Vec<Gateway>,
}

impl Fleet {
    async fn new(count: usize) -> Self {
        Self::at(shared_node().await.vhost("fleet").await, count).await
    }

    async fn at(url: String, count: usize) -> Self {
        let mut gateways = Vec::new();
        for _ in 0..count {
            gateways.push(Gateway::builder().amqp_url(&url).flag("--linger", "5m").start().await);
        }
        for gateway in &gateways {
            gateway.wait_ready().await;
        }
        let fleet = Self { url, gateways };
        fleet.wait_inboxes(count).await;
        fleet
    }

    fn vhost(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// Waits until every gateway can be asked.
    async fn wait_inboxes(&self, count: usize) {
        let inboxes = async || {
            let queues = shared_node().await.queues(self.vhost()).await;
            queues.iter().filter(|queue| queue.name.starts_with(names::CONTROL_EXCHANGE)).count()
        };
        eventually_eq(PATIENCE, "inboxes", count, inboxes).await;
    }
}

async fn handed_over(gateway: &Gateway) -> u32 {
    let metrics = Request::get("/metrics").send(gateway.address()).await.text();
    let name = r#"postern_releases_total{outcome="handed_over"} "#;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).expect("it is counted")
}

async fn publish(fleet: &Fleet, topic: &str, number: u64) {
    DirectPublisher::connect(&fleet.url).await.publish_numbered(topic, number..number + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_changes_gateways_at_each_poll_gets_each_event_once_and_in_order() {
    let fleet = Fleet::new(3).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let mut connections = Vec::new();
    for gateway in &fleet.gateways {
        connections.push(HttpConnection::open(gateway.address()).await);
    }
    let mut poll = Poll::of(&client).topics(&topic).wait(20);
    poll.clone().wait(0).send(&fleet.gateways[0]).await.expect_status(204);
    let publisher = DirectPublisher::connect(&fleet.url).await;
    let mut next = 0;
    for round in 0..150_usize {
        publisher.publish_numbered(&topic, next..next + 2).await;
        let mut got = Vec::new();
        // The second may come a moment after the first.
        while got.len() < 2 {
            let answer = poll.send_on(&mut connections[(round + got.len()) % 3]).await;
            let batch = answer.expect_status(200).batch();
            poll = poll.last_seen(&batch.last_seen);
            got.extend(batch.numbers("n"));
        }
        assert_eq!(got, [next, next + 1], "round {round}");
        next += 2;
    }
    let sum = async || {
        let mut sum = 0;
        for gateway in &fleet.gateways {
            sum += handed_over(gateway).await;
        }
        sum
    };
    assert!(sum().await >= 149, "{}", sum().await);
}

/// Most clients wait most of the time: they have no token that would name the gateway that they were at.
#[tokio::test(flavor = "multi_thread")]
async fn clients_without_events_that_take_turns_are_asked_for_by_name() {
    const CLIENTS: usize = 20;
    const ROUNDS: usize = 12;
    let fleet = Fleet::new(3).await;
    let amqp = Amqp::connect(&fleet.url).await;
    amqp.declare_queue("heard", FieldTable::default()).await;
    amqp.bind_to(names::CONTROL_EXCHANGE, "heard", "all").await;
    // Before it expires, a second after it was said.
    let mut heard = amqp.hold("heard", 1000).await.expect("it is there");
    let polls: Vec<Poll> = (0..CLIENTS).map(|_| Poll::of(&unique("alice")).topics("none").wait(0)).collect();
    for round in 0..ROUNDS {
        for poll in &polls {
            let poll = poll.clone().query("poll", &format!("tab.{round}"));
            poll.send(&fleet.gateways[round % 3]).await.expect_status(204);
        }
    }
    // Each gateway has to find out once. A busy machine lets a question by name take too long now and then.
    let mut asked = 0;
    while heard.next(Duration::from_secs(2)).await.is_some() {
        asked += 1;
    }
    assert!((CLIENTS..CLIENTS * ROUNDS / 2).contains(&asked), "{asked} questions to all, for {CLIENTS} clients");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_polls_of_a_page_the_newer_wins_wherever_it_comes() {
    let fleet = Fleet::new(2).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).wait(50);
    let mut first = poll.clone().query("poll", "tab.1").hold(&fleet.gateways[0]).await;
    assert!(first.is_silent(Duration::from_millis(500)).await);
    let mut second = poll.clone().query("poll", "tab.2").hold(&fleet.gateways[1]).await;
    let replaced = timeout(PATIENCE, first.answer()).await.expect("an answer");
    replaced.expect_status(409);
    // One that a browser sends again comes late, to the gateway that had it before.
    poll.clone().query("poll", "tab.1").send(&fleet.gateways[0]).await.expect_status(409);
    publish(&fleet, &topic, 7).await;
    assert_eq!(second.answer().await.batch().numbers("n"), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readers_at_two_gateways_change_places_and_the_newest_stays() {
    let fleet = Fleet::new(2).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).wait(50);
    let mut first = poll.hold(&fleet.gateways[0]).await;
    assert!(first.is_silent(Duration::from_millis(500)).await);
    let mut second = poll.hold(&fleet.gateways[1]).await;
    first.answer().await.expect_status(409);
    publish(&fleet, &topic, 1).await;
    assert_eq!(second.answer().await.batch().numbers("n"), [1]);

    // A stream has to go as well, and is told so.
    let path = format!("/clients/{client}/events");
    let mut stream = EventStream::open(fleet.gateways[0].address(), &path, "").await;
    assert_eq!(stream.next().await.expect("an event").number("n"), 1);
    assert_eq!(poll.clone().wait(5).send(&fleet.gateways[1]).await.batch().numbers("n"), [1]);
    assert_eq!(stream.next().await.expect("a last word").kind, "replaced");
    stream.end().await;
}

/// A connection that is lost says nothing of what may be asked.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_lose_their_connections_now_and_then_ask_each_other_again() {
    let fleet = Fleet::new(2).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).wait(0);
    for round in 0..4 {
        // One after the other holds the mailbox. The older Lease may be too young to be given up at once.
        for gateway in [&fleet.gateways[round % 2], &fleet.gateways[(round + 1) % 2]] {
            eventually(PATIENCE, "the mailbox to be handed over", async || {
                let answer = poll.send(gateway).await;
                if answer.status == 204 { Ok(()) } else { Err(answer.status) }
            })
            .await;
        }
        let close = ["close_all_connections", "--vhost", fleet.vhost(), "a test"];
        shared_node().await.rabbitmqctl(&close).await;
        fleet.wait_inboxes(2).await;
    }
    for gateway in &fleet.gateways {
        assert!(!gateway.log().lines().iter().any(|line| line.contains("this user may not use")));
    }
}

/// Nothing that comes late, twice, from a stranger or from a later version does any harm.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_does_not_understand_or_did_not_ask_for_does_nothing() {
    let fleet = Fleet::new(1).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).wait(50);
    let mut held = poll.hold(&fleet.gateways[0]).await;
    assert!(held.is_silent(Duration::from_secs(2)).await, "older than a second, so that it may be wanted");
    let amqp = Amqp::connect(&fleet.url).await;
    let answer = json!({"v": 1, "req": "00000000000000aa", "from": "00000001"});
    let with = |base: &serde_json::Value, more: serde_json::Value| {
        let mut message = base.clone();
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message.to_string()
    };
    let asking = with(&answer, json!({"client": client}));
    let asking: serde_json::Value = serde_json::from_str(&asking).unwrap();
    for message in [
        with(&answer, json!({"op": "released"})),
        with(&answer, json!({"op": "offer", "lease": "0000000000000001"})),
        with(&asking, json!({"op": "take", "lease": "0000000000000001"})),
        with(&asking, json!({"op": "release"})),
        with(&asking, json!({"op": "release"})),
        with(&asking, json!({"op": "release", "v": 2})),
        with(&asking, json!({"op": "later"})),
        with(&asking, json!({"op": "release", "client": "a b"})),
        "{".to_owned(),
        String::new(),
        "x".repeat(1 << 20),
    ] {
        amqp.publish(names::CONTROL_EXCHANGE, "all", BasicProperties::default(), message.as_bytes()).await;
    }
    assert!(held.is_silent(Duration::from_secs(2)).await, "it goes only for a poll that still waits");
    publish(&fleet, &topic, 1).await;
    assert_eq!(held.answer().await.batch().numbers("n"), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_holder_is_waited_for_until_the_broker_gives_it_up_and_takes_nothing_when_it_wakes() {
    let url = format!("{}?heartbeat=2", shared_node().await.vhost("fleet").await);
    let mut fleet = Fleet { url: url.clone(), gateways: Vec::new() };
    for _ in 0..2 {
        let gateway = Gateway::builder().amqp_url(&url).flag("--linger", "5m").start().await;
        gateway.wait_ready().await;
        fleet.gateways.push(gateway);
    }
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).wait(20);
    poll.clone().wait(0).send(&fleet.gateways[0]).await.expect_status(204);
    publish(&fleet, &topic, 1).await;
    let batch = poll.send(&fleet.gateways[0]).await.batch();
    fleet.gateways[0].process().freeze();
    let poll = poll.last_seen(&batch.last_seen);
    let refused = poll.clone().wait(1).send(&fleet.gateways[1]).await;
    let retry_after = refused.expect_status(503).header("retry-after").map(str::to_owned);
    assert!(retry_after.is_some());
    publish(&fleet, &topic, 2).await;
    let answer = eventually(PATIENCE, "the mailbox to be free", async || {
        let answer = poll.send(&fleet.gateways[1]).await;
        if answer.status == 200 { Ok(answer) } else { Err(answer.status) }
    })
    .await;
    let batch = answer.batch();
    assert_eq!(batch.numbers("n"), [2], "1 was confirmed by its token");
    fleet.gateways[0].process().thaw();
    let mut held = poll.clone().last_seen(&batch.last_seen).wait(50).hold(&fleet.gateways[1]).await;
    assert!(held.is_silent(Duration::from_secs(3)).await, "it holds nothing, and asks for nothing");
    publish(&fleet, &topic, 3).await;
    assert_eq!(held.answer().await.batch().numbers("n"), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_may_not_ask_each_other_say_so_and_serve_as_one_alone_does() {
    let node = RabbitNode::start().await;
    node.rabbitmqctl(&["add_user", "narrow", "secret"]).await;
    let only = r"^(amq\.default|postern\.(events|feed|mailbox\..*))$";
    node.rabbitmqctl(&["set_permissions", "narrow", only, only, only]).await;
    refused_each_other(&node.url_as("narrow", "secret", "%2F")).await;
    // One that may hear what others ask, and not ask.
    node.rabbitmqctl(&["add_user", "silent", "secret"]).await;
    node.rabbitmqctl(&["set_permissions", "silent", ".*", only, ".*"]).await;
    refused_each_other(&node.url_as("silent", "secret", "%2F")).await;
}

/// Two gateways that may not use `postern.control` serve a client, one after the other.
async fn refused_each_other(url: &str) {
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let gateway = Gateway::builder().amqp_url(url).flag("--linger", "3s").start().await;
        gateway.wait_ready().await;
        gateways.push(gateway);
    }
    poll.clone().wait(0).send(&gateways[0]).await.expect_status(204);
    poll.clone().wait(0).send(&gateways[1]).await.expect_status(503);
    // What the gateway of the reader cannot hear of is not done.
    let held = poll.clone().wait(30).hold(&gateways[0]).await;
    let unbind = Request::new("DELETE", &format!("/clients/{client}/topics/{topic}"));
    let refused = unbind.send(gateways[1].address()).await.expect_status(503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    drop(held);
    let warning = "this user may not use postern.control, so gateways do not hand mailboxes over to each other, and clients \
                   that move between them wait; see the users of docs/src/amqp.md";
    assert_eq!(gateways[1].wait_logged(warning, PATIENCE).await["level"], "WARN");
    eventually(PATIENCE, "the other gateway to let go", async || {
        let answer = poll.clone().wait(0).send(&gateways[1]).await;
        if answer.status == 204 { Ok(()) } else { Err(answer.status) }
    })
    .await;
}
