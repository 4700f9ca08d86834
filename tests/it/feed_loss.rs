//! Feeds when something goes away: the gateway, the broker, old events, the whole log. A client that follows misses
//! nothing that is still there, sees nothing twice, and is told with a reset of what is not, and only then.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use amqp::names::FEED;
use futures_util::future::join_all;
use postern_tests::{
    Amqp, Answer, Backend, Batch, Broker, DirectPublisher, Follower, Gateway, GatewayBuilder, HttpConnection, LongLog,
    Request, eventually, on_both_brokers, shared_node,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

/// A gateway with a log of its own, and what publishes to it.
struct Stage {
    gateway: Gateway,
    /// Of RabbitMQ.
    url: Option<String>,
}

impl Stage {
    async fn new(broker: Broker, flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let (builder, url) = match broker {
            Broker::RabbitMq => {
                let url = shared_node().await.vhost("feed").await;
                (Gateway::builder().amqp_url(&url).with_feed(), Some(url))
            }
            Broker::Embedded => (Gateway::builder().embedded(), None),
        };
        let gateway = flags(builder).start().await;
        gateway.wait_ready().await;
        Self { gateway, url }
    }

    async fn publish(&self, topic: &str, numbers: std::ops::Range<u64>) {
        let backend = match &self.url {
            Some(url) => Backend::of_rabbitmq(url).await,
            None => Backend::of_embedded(&self.gateway),
        };
        backend.publish_numbered(topic, numbers).await;
        backend.hang_up().await;
    }

    async fn poll(&self, topic: &str, query: &str) -> Answer {
        Request::get(&format!("/topics/{topic}/events?{query}")).send(self.gateway.address()).await
    }

    /// Sends a poll that is held.
    async fn hold(&self, topic: &str, place: &str) -> HttpConnection {
        let mut connection = HttpConnection::open(self.gateway.address()).await;
        let poll = Request::get(&format!("/topics/{topic}/events?wait=50&last_seen={place}"));
        connection.send(&poll.bytes()).await;
        assert!(connection.is_silent(Duration::from_millis(200)).await, "it should be held");
        connection
    }

    /// Reads on from a place up to a number, in pieces; returns all batches.
    async fn read_on(&self, topic: &str, place: &str, until: u64) -> Vec<Batch> {
        let (mut batches, mut place) = (Vec::<Batch>::new(), place.to_owned());
        while batches.last().and_then(|batch| batch.numbers("n").last().copied()) != Some(until) {
            let answer = self.poll(topic, &format!("wait=20&limit=50&last_seen={place}")).await;
            if answer.status == 503 {
                // As when the gateway itself was overtaken, and looks for the end anew.
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                sleep(Duration::from_millis(200)).await;
                continue;
            }
            answer.header("last-seen").unwrap().clone_into(&mut place);
            if answer.status == 200 {
                batches.push(answer.batch());
            }
        }
        batches
    }
}

fn place(answer: &Answer) -> String {
    answer.header("last-seen").expect("every answer of a feed tells the place").to_owned()
}

/// Has so many clients follow a topic from a place to a number, whatever happens.
fn follow_to(
    clients: &mut JoinSet<Follower>,
    count: usize,
    gateway: SocketAddr,
    topic: &str,
    (place, next): (&str, u64),
    end: u64,
) {
    for _ in 0..count {
        let mut follower = Follower::new(gateway, topic, place, next);
        clients.spawn(async move {
            follower.read_to(end).await;
            follower
        });
    }
}

on_both_brokers!(a_kill_of_the_gateway_costs_those_who_follow_nothing);
async fn a_kill_of_the_gateway_costs_those_who_follow_nothing(broker: Broker) {
    let mut stage = Stage::new(broker, |gateway| gateway).await;
    stage.publish("stock", 0..100).await;
    let mut clients = JoinSet::new();
    follow_to(&mut clients, 30, stage.gateway.address(), "stock", ("oldest", 0), 600);
    for round in 1..6 {
        // All are waiting for the next event.
        let held = async || {
            let metrics = Request::get("/metrics").send(stage.gateway.address()).await.text();
            let held = metrics.lines().find(|line| line.starts_with("postern_polls_held ")).map(str::to_owned);
            if held.as_deref() == Some("postern_polls_held 30") { Ok(()) } else { Err(held) }
        };
        eventually(Duration::from_mins(1), "all polls are held", held).await;
        stage.gateway.kill9();
        if broker == Broker::RabbitMq {
            // Publishers need no gateway.
            stage.publish("stock", round * 100..round * 100 + 50).await;
        }
        stage.gateway.start_again().await;
        let rest = if broker == Broker::RabbitMq { round * 100 + 50 } else { round * 100 };
        stage.publish("stock", rest..round * 100 + 100).await;
    }
    let followers = clients.join_all().await;
    assert!(followers.iter().all(|follower| follower.next() == 600));
}

/// Publishes numbers until it is told to stop; returns those that were answered. Gateways come and go meanwhile.
async fn publish_through(gateway: SocketAddr, topic: String, stop: Arc<AtomicBool>, next: Arc<AtomicU64>) -> Vec<u64> {
    let mut answered = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(gateway).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let publish = Request::publish(&topic, "application/json", format!("{{\"n\":{number}}}")).bytes();
            let mut answer = Vec::new();
            let mut is_open = !stop.load(Ordering::Relaxed) && stream.write_all(&publish).await.is_ok();
            while is_open && !answer.ends_with(b"}") {
                is_open = matches!(stream.read_buf(&mut answer).await, Ok(1..));
            }
            if !is_open {
                break;
            }
            assert!(answer.starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&answer));
            answered.push(number);
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_in_the_feed_whenever_the_gateway_was_killed() {
    const PUBLISHERS: usize = 8;
    let mut stage = Stage::new(Broker::Embedded, |gateway| gateway.flag("--feed-window", "10000")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishing = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let (gateway, topic) = (stage.gateway.address(), format!("load.{publisher}"));
        let (stop, next) = (Arc::clone(&stop), Arc::default());
        publishing.spawn(async move { (publisher, publish_through(gateway, topic, stop, next).await) });
    }
    for _ in 0..15 {
        // The timing is the point here: anywhere in the life of a batch.
        sleep(Duration::from_micros(2_000 + rand::random_range(0..100_000))).await;
        stage.gateway.kill9();
        stage.gateway.start_again().await;
    }
    stop.store(true, Ordering::Relaxed);
    let answered = publishing.join_all().await;
    stage.gateway.wait_ready().await;
    let mut seen = vec![Vec::new(); PUBLISHERS];
    let mut answer = stage.poll("load.*", "last_seen=oldest&limit=500&wait=0").await;
    while answer.status == 200 {
        let batch = answer.batch();
        assert!(!batch.reset);
        for event in &batch.events {
            let publisher: usize = event.topic["load.".len()..].parse().unwrap();
            seen[publisher].push(event.number("n"));
        }
        answer = stage.poll("load.*", &format!("last_seen={}&limit=500&wait=0", batch.last_seen)).await;
    }
    let mut total = 0;
    for (publisher, answered) in answered {
        let seen = &seen[publisher];
        assert!(seen.is_sorted_by(|a, b| a < b), "publisher {publisher}: out of order, or twice: {seen:?}");
        let missing: Vec<_> = answered.iter().filter(|number| seen.binary_search(number).is_err()).collect();
        assert!(missing.is_empty(), "publisher {publisher}: answered, but lost: {missing:?}");
        total += answered.len();
    }
    assert!(total > 500, "{total} events are too few to show anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_costs_those_who_follow_nothing() {
    const OLD: u64 = 20_000;
    // A small window, so that a lagging client has to read the log.
    let small = |gateway: GatewayBuilder| gateway.flag("--feed-window", "10000");
    let mut log = LongLog::new(Broker::RabbitMq, OLD, small).await.unwrap();
    let gateway = log.gateway.address();
    let node = log.node.as_mut().unwrap();
    let mut end = OLD;
    for kill in [false, true] {
        let (mut waiting, mut late) = (JoinSet::new(), JoinSet::new());
        let mut now = Follower::new(gateway, LongLog::PATTERN, "now", end);
        assert!(now.poll(0).await.unwrap().is_empty());
        follow_to(&mut waiting, 20, gateway, LongLog::PATTERN, (now.place(), end), end + 100);
        follow_to(&mut late, 10, gateway, LongLog::PATTERN, ("oldest", 0), end + 100);
        // Those who catch up are on their way.
        sleep(Duration::from_millis(500)).await;
        if kill {
            node.kill9();
        } else {
            node.stop().await;
        }
        let refused = async || {
            let poll = Request::get("/topics/log.0/events?last_seen=oldest&wait=0").send(gateway).await;
            if poll.status == 503 && poll.header("retry-after").is_some() { Ok(()) } else { Err(poll) }
        };
        eventually(Duration::from_mins(1), "polls are refused", refused).await;
        node.start_again().await;
        // A stream comes back some time after its broker.
        let served = async || {
            let poll = Request::get("/topics/log.0/events?last_seen=oldest&wait=0").send(gateway).await;
            if poll.status == 200 { Ok(()) } else { Err(poll) }
        };
        eventually(Duration::from_mins(1), "polls are served", served).await;
        let publisher = DirectPublisher::connect(&node.url()).await;
        publisher.publish_numbered("log.new", end..end + 100).await;
        end += 100;
        let (waiting, late) = (waiting.join_all().await, late.join_all().await);
        assert!(waiting.iter().all(|follower| follower.refusals() > 0), "a held poll gets a definite answer");
        assert!(waiting.iter().chain(&late).all(|follower| follower.next() == end));
    }
}

on_both_brokers!(what_retention_took_is_told_to_those_who_missed_it_and_to_no_other);
async fn what_retention_took_is_told_to_those_who_missed_it_and_to_no_other(broker: Broker) {
    const ROUND: u64 = 1500;
    // Some hundred events are kept; those in memory are far fewer.
    let flags = |gateway: GatewayBuilder| gateway.flag("--retention-bytes", "100000").flag("--feed-window", "10000");
    let stage = Stage::new(broker, flags).await;
    let start = place(&stage.poll("busy", "last_seen=now&wait=0").await);
    stage.publish("busy", 0..100).await;
    let first = stage.read_on("busy", &start, 99).await;
    let early = first[0].last_seen.clone();

    let end = &first.last().unwrap().last_seen;
    let mut at_the_end: Vec<_> = (0..5).map(|_| Follower::new(stage.gateway.address(), "busy", end, 100)).collect();
    let quiet = place(&stage.poll("quiet", "last_seen=now&wait=0").await);
    let mut waits = stage.hold("quiet", &quiet).await;
    let mut next = 100;
    while next < 100 + ROUND {
        // Not faster than those at the end follow, who would be late otherwise.
        let all_follow = join_all(at_the_end.iter_mut().map(|follower| follower.read_to(next + 100)));
        tokio::join!(all_follow, stage.publish("busy", next..next + 100));
        next += 100;
    }
    stage.publish("quiet", 7..8).await;
    let batch = waits.answer().await.batch();
    assert_eq!((batch.numbers("n"), batch.reset), (vec![7], false));

    // A client that comes too late is told once, and goes on with the oldest.
    let rest = stage.read_on("busy", &early, next - 1).await;
    assert!(rest[0].reset && rest[1..].iter().all(|batch| !batch.reset), "{:?}", resets(&rest));
    let numbers: Vec<u64> = rest.iter().flat_map(|batch| batch.numbers("n")).collect();
    assert_eq!(numbers, (numbers[0]..next).collect::<Vec<_>>());
    assert!((200..1000).contains(&numbers.len()), "{} are left", numbers.len());

    // A client that is overtaken while it catches up sees all up to a reset, and all from there on.
    let begun = stage.poll("busy", &format!("limit=20&last_seen={}", rest[0].last_seen)).await.batch();
    stage.publish("busy", next..next + ROUND).await;
    next += ROUND;
    let rest = stage.read_on("busy", &begun.last_seen, next - 1).await;
    let mut expected = begun.numbers("n").last().unwrap() + 1;
    for batch in &rest {
        let numbers = batch.numbers("n");
        if batch.reset {
            expected = numbers[0];
        }
        assert_eq!(numbers, (expected..expected + numbers.len() as u64).collect::<Vec<_>>());
        expected += numbers.len() as u64;
    }
    assert!(rest.iter().any(|batch| batch.reset), "{:?}", resets(&rest));
}

fn resets(batches: &[Batch]) -> Vec<bool> {
    batches.iter().map(|batch| batch.reset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_a_log_that_was_deleted_is_told_and_goes_on_with_the_next() {
    let stage = Stage::new(Broker::RabbitMq, |gateway| gateway).await;
    stage.publish("a", 0..50).await;
    let seen = stage.read_on("a", "oldest", 49).await;
    let end = seen.last().unwrap().last_seen.clone();
    let mut held = stage.hold("a", &end).await;
    let amqp = Amqp::connect(stage.url.as_ref().unwrap()).await;
    amqp.delete_queue(FEED).await;
    let refused = held.answer().await;
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    refused.problem(503);
    // The gateway makes another one.
    let ready = async || {
        let answer = stage.poll("a", "wait=0&last_seen=now").await;
        if answer.status == 204 { Ok(()) } else { Err(answer) }
    };
    eventually(Duration::from_mins(1), "polls are served", ready).await;
    let told = stage.poll("a", &format!("wait=20&last_seen={end}")).await.batch();
    assert_eq!((told.numbers("n"), told.reset), (vec![], true), "nothing is left");
    stage.publish("a", 50..200).await;
    let next = stage.read_on("a", &told.last_seen, 199).await;
    assert!(next.iter().all(|batch| !batch.reset));
    assert_eq!(next.iter().flat_map(|batch| batch.numbers("n")).collect::<Vec<_>>(), (50..200).collect::<Vec<_>>());
    // An offset of the old log that the new one has, too.
    for batch in &seen {
        let told = stage.poll("a", &format!("wait=20&last_seen={}", batch.last_seen)).await.batch();
        assert_eq!((told.numbers("n"), told.reset), (vec![199], true));
    }
}

/// Publishes events of another topic until the oldest of a small log are gone.
async fn crowd_out(backend: &Backend) {
    backend.publish_numbered("other.x", 0..400).await;
}

async fn read(gateway: &Gateway, pattern: &str, place: &str) -> Answer {
    Request::get(&format!("/topics/{pattern}/events?last_seen={place}&wait=0")).send(gateway.address()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_told_what_retention_took_before_a_restart() {
    let builder = Gateway::builder().embedded().flag("--retention-bytes", "20000");
    let mut gateway = builder.start().await;
    gateway.wait_ready().await;
    let backend = Broker::Embedded.behind(&gateway).await;
    backend.publish("jobs.z", r#"{"n":0}"#).await;
    let place = read(&gateway, "jobs.%23", "oldest").await.batch().last_seen;
    backend.publish_numbered("jobs.a", 1..6).await;
    crowd_out(&backend).await;
    gateway.restart().await;
    gateway.wait_ready().await;
    // Told again as long as the answer may have been lost.
    for pattern in ["jobs.a", "jobs.%23", "jobs.a"] {
        let told = read(&gateway, pattern, &place).await;
        assert!(told.status == 200 && told.batch().reset, "{pattern}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_of_one_client_moves_no_other_client_past_what_retention_took() {
    let builder = Gateway::builder().embedded().flag("--retention-age", "2s");
    let gateway = builder.start().await;
    gateway.wait_ready().await;
    let backend = Broker::Embedded.behind(&gateway).await;
    backend.publish("jobs.z", r#"{"n":0}"#).await;
    let place = read(&gateway, "jobs.%23", "oldest").await.batch().last_seen;
    backend.publish("jobs.a", r#"{"n":1}"#).await;
    backend.publish("old", r#"{"n":2}"#).await;
    eventually(Duration::from_mins(1), "the log forgets all", async || {
        let metrics = Request::get("/metrics").send(gateway.address()).await.text();
        if metrics.contains("\npostern_store_events 0\n") { Ok(()) } else { Err("not yet") }
    })
    .await;
    // What is gone from the log is not served from memory either.
    for (pattern, from) in [("old", None), ("%23", Some("oldest"))] {
        let query = from.map_or(String::new(), |from| format!("last_seen={from}&"));
        let poll = Request::get(&format!("/topics/{pattern}/events?{query}wait=0")).send(gateway.address()).await;
        assert_eq!(poll.status, 204, "{pattern}: {poll:?}");
    }
    for fold in ["", "&fold=latest"] {
        let told = read(&gateway, "jobs.a", &format!("{place}{fold}")).await;
        assert!(told.status == 200 && told.batch().reset, "{fold}: {told:?}");
    }
}
