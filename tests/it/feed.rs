//! Feeds over HTTP: every watcher of a topic sees it.

use std::{net::SocketAddr, time::Duration};

use postern_tests::{
    Answer, Broker, EventStream, Gateway, GatewayBuilder, HttpConnection, Request, eventually_eq, on_both_brokers,
};
use tokio::{task::JoinSet, time::sleep};

/// A gateway with a log of its own.
async fn gateway(broker: Broker) -> Gateway {
    start(broker.gateway_with_log().await).await
}

async fn start(builder: GatewayBuilder) -> Gateway {
    let gateway = builder.start().await;
    gateway.wait_ready().await;
    gateway
}

async fn publish(gateway: &Gateway, topic: &str, numbers: std::ops::Range<u64>) {
    let mut connection = HttpConnection::open(gateway.address()).await;
    for number in numbers.clone() {
        let publish = Request::publish(topic, "application/json", format!("{{\"n\":{number}}}"));
        connection.request(&publish).await.expect_status(202);
    }
    // RabbitMQ confirms an event a moment before it hands it to those who follow its log.
    let newest = async || poll(topic, "wait=5").send(gateway.address()).await.batch().numbers("n").last().copied();
    eventually_eq(Duration::from_mins(1), "the newest event", numbers.end.checked_sub(1), newest).await;
}

fn poll(topic: &str, query: &str) -> Request {
    Request::get(&format!("/topics/{topic}/events?{query}"))
}

fn place(answer: &Answer) -> String {
    answer.header("last-seen").expect("every answer of a feed tells the place").to_owned()
}

on_both_brokers!(every_follower_gets_the_newest_and_then_what_comes);
async fn every_follower_gets_the_newest_and_then_what_comes(broker: Broker) {
    let gateway = gateway(broker).await;
    publish(&gateway, "cart.1", 0..3).await;
    publish(&gateway, "cart.2", 3..5).await;
    for _ in 0..2 {
        let answer = poll("cart.1", "wait=5").send(gateway.address()).await;
        let batch = answer.batch();
        assert_eq!(batch.numbers("n"), [2], "a feed consumes nothing");
        assert_eq!(
            (place(&answer), answer.header("etag")),
            (batch.last_seen.clone(), Some(&*format!("\"{}\"", batch.last_seen)))
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let newest = poll("cart.*", "wait=5").send(gateway.address()).await.batch();
    assert_eq!(newest.numbers("n"), [2, 4]);
    let all = poll("%23", "last_seen=oldest&wait=5").send(gateway.address()).await.batch();
    assert_eq!(all.numbers("n"), [0, 1, 2, 3, 4]);

    let mut watching = HttpConnection::open(gateway.address()).await;
    watching.send(&poll("cart.*", &format!("last_seen={}&wait=30", newest.last_seen)).bytes()).await;
    assert!(watching.is_silent(Duration::from_millis(300)).await);
    publish(&gateway, "cart.2", 5..6).await;
    assert_eq!(watching.answer().await.batch().numbers("n"), [5]);
}

on_both_brokers!(an_empty_answer_moves_the_place_and_a_known_version_is_not_sent_again);
async fn an_empty_answer_moves_the_place_and_a_known_version_is_not_sent_again(broker: Broker) {
    let gateway = gateway(broker).await;
    let start = place(&poll("quiet", "wait=0&last_seen=now").send(gateway.address()).await.expect_status(204));
    publish(&gateway, "busy", 0..10).await;
    let nothing = poll("quiet", &format!("wait=1&last_seen={start}")).send(gateway.address()).await.expect_status(204);
    assert_ne!(place(&nothing), start, "a watcher of a quiet topic does not lag");

    let newest = poll("busy", "wait=0").send(gateway.address()).await;
    let etag = newest.header("etag").unwrap();
    // A proxy that compresses adds to the tag and leaves that in the next request.
    let added = |suffix: &str| format!("{}{suffix}\"", etag.trim_end_matches('"'));
    for tag in [
        etag.to_owned(),
        format!("W/{etag}, \"other\""),
        format!("\"other\", {etag}"),
        format!(",\"with,comma\" , W/{etag}"),
        added("-gzip"),
        added("--br"),
        added(";zstd"),
    ] {
        let known =
            poll("busy", "wait=0").header("If-None-Match", &tag).send(gateway.address()).await.expect_status(304);
        assert_eq!((place(&known), known.text().as_str()), (place(&newest), ""));
    }
    let any = poll("busy", "wait=0").header("If-None-Match", "*").send(gateway.address()).await.batch();
    assert_eq!(any.numbers("n"), [9]);
}

on_both_brokers!(a_place_of_another_log_is_answered_with_the_newest_and_a_reset);
async fn a_place_of_another_log_is_answered_with_the_newest_and_a_reset(broker: Broker) {
    let gateway = gateway(broker).await;
    publish(&gateway, "a", 0..3).await;
    for token in ["999999999~00000000", "1~00000001", "another-servers-token"] {
        let batch = poll("a", &format!("wait=5&last_seen={token}")).send(gateway.address()).await.batch();
        assert_eq!((batch.numbers("n"), batch.reset), (vec![2], true), "{token}");
    }
    let none = poll("b", "wait=5&last_seen=elsewhere").send(gateway.address()).await.batch();
    assert!(none.events.is_empty() && none.reset, "{none:?}");
}

on_both_brokers!(several_patterns_are_one_feed_with_one_order_and_one_place);
async fn several_patterns_are_one_feed_with_one_order_and_one_place(broker: Broker) {
    const TOPICS: [&str; 5] = ["a.1", "b", "c.1", "a.2", "b.3.4"];
    // Twenty patterns: some select the same events, some none.
    let none: Vec<String> = (0..16).map(|number| format!("none.{number}")).collect();
    let several = format!("{},a.*,b.%23,b,a.1", none.join(","));
    let gateway = gateway(broker).await;
    for (number, topic) in (0..50).zip(TOPICS.into_iter().cycle()) {
        publish(&gateway, topic, number..number + 1).await;
    }
    let selected = |numbers: std::ops::Range<u64>| numbers.filter(|number| number % 5 != 2).collect::<Vec<_>>();
    let newest = poll(&several, "").send(gateway.address()).await.batch();
    assert_eq!(newest.numbers("n"), [45, 46, 48, 49], "the newest of each topic");
    let mut seen = Vec::new();
    let mut token = "oldest".to_owned();
    while seen.len() < 40 {
        let batch = poll(&several, &format!("limit=7&last_seen={token}")).send(gateway.address()).await.batch();
        assert!(!batch.events.is_empty() && !batch.reset, "{batch:?}");
        seen.extend(batch.numbers("n"));
        token = batch.last_seen;
    }
    assert_eq!(seen, selected(0..50));
    // In another order they are the same feed; a held poll is woken by any of them, and once.
    let turned = format!("a.1,b,b.%23,a.*,{}", none.join(","));
    let mut watching = HttpConnection::open(gateway.address()).await;
    let request = Request::get(&format!("/topics/{several}/events")).header("Accept", "text/event-stream");
    let mut stream = EventStream::open_with(gateway.address(), request, &token).await.unwrap();
    for (number, topic) in (50..60).zip(TOPICS.into_iter().cycle()) {
        watching.send(&poll(&turned, &format!("last_seen={token}&wait=30")).bytes()).await;
        if number % 5 != 2 {
            assert!(watching.is_silent(Duration::from_millis(100)).await);
        }
        publish(&gateway, topic, number..number + 1).await;
        if number % 5 == 2 {
            assert!(watching.is_silent(Duration::from_millis(100)).await, "it selects nothing of this topic");
            watching = HttpConnection::open(gateway.address()).await;
            continue;
        }
        let batch = watching.answer().await.batch();
        assert_eq!(batch.numbers("n"), [number]);
        token = batch.last_seen;
        assert_eq!(stream.next().await.unwrap().number("n"), number);
    }
}

on_both_brokers!(only_the_configured_topics_are_in_the_feed);
async fn only_the_configured_topics_are_in_the_feed(broker: Broker) {
    let mut gateway = start(broker.gateway_with_log().await.flag("--feed-topics", "stock.*,news")).await;
    for restarted in [false, true] {
        if restarted {
            gateway.kill9();
            gateway.start_again().await;
            gateway.wait_ready().await;
        } else {
            for (topic, number) in [("stock.1", 1), ("private", 2), ("news", 3), ("news.more", 4), ("stock.1", 5)] {
                let publish = Request::publish(topic, "application/json", format!("{{\"n\":{number}}}"));
                publish.send(gateway.address()).await.expect_status(202);
            }
            let last = async || poll("stock.1", "wait=0").send(gateway.address()).await.batch().numbers("n");
            eventually_eq(Duration::from_mins(1), "the last event", vec![5], last).await;
        }
        let all = poll("%23", "last_seen=oldest").send(gateway.address()).await.batch();
        assert_eq!(all.numbers("n"), [1, 3, 5]);
        let newest = poll("%23", "").send(gateway.address()).await.batch();
        assert_eq!(newest.numbers("n"), [3, 5]);
        // A poll of what is never kept would be held for nothing.
        for (pattern, accept) in
            [("private", "*/*"), ("news.*", "*/*"), ("private.%23", "text/event-stream"), ("news,private", "*/*")]
        {
            let refused = poll(pattern, "wait=0").header("Accept", accept).send(gateway.address()).await.problem(404);
            let named = format!("{} is not followed here", pattern.trim_start_matches("news,").replace("%23", "#"));
            assert!(refused.contains(&named) && refused.contains("--feed-topics is stock.*,news"), "{refused}");
        }
        poll("*.7", "wait=0").send(gateway.address()).await.expect_status(204);
    }
}

on_both_brokers!(a_place_holds_over_a_kill_of_the_gateway);
async fn a_place_holds_over_a_kill_of_the_gateway(broker: Broker) {
    let mut gateway = gateway(broker).await;
    publish(&gateway, "a", 0..10).await;
    let first = poll("a", "last_seen=oldest&limit=4").send(gateway.address()).await.batch();
    assert_eq!(first.numbers("n"), [0, 1, 2, 3]);
    gateway.kill9();
    gateway.start_again().await;
    gateway.wait_ready().await;
    publish(&gateway, "a", 10..12).await;
    let (mut seen, mut token) = (Vec::new(), first.last_seen);
    while seen.last() != Some(&11) {
        let batch = poll("a", &format!("last_seen={token}")).send(gateway.address()).await.batch();
        assert!(!batch.reset, "{batch:?}");
        seen.extend(batch.numbers("n"));
        token = batch.last_seen;
    }
    assert_eq!(seen, (4..12).collect::<Vec<_>>());
}

on_both_brokers!(what_is_wrong_with_a_poll_is_said);
async fn what_is_wrong_with_a_poll_is_said(broker: Broker) {
    let gateway = gateway(broker).await;
    for (request, detail) in [
        (poll("a..b", ""), "topics:"),
        (poll("a,b.%23,", ""), "topics: a topic has 1 to 255 bytes, this one has 0 (in \"\")"),
        (poll(&vec!["a"; 65].join(","), ""), "topics: at most 64 patterns"),
        (poll("a", "fold=newest"), "fold:"),
        (poll("a", "wait=56"), "wait:"),
        (poll("a", "limit=0"), "limit:"),
        (poll("a", "last_seen=a%20b"), "last_seen:"),
        (poll("a", "").header("If-None-Match", "no quotes"), "If-None-Match:"),
    ] {
        let problem = request.send(gateway.address()).await.problem(400);
        assert!(problem.starts_with(detail), "{problem}");
    }
    let put = Request::new("PUT", "/topics/a/events").send(gateway.address()).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, POST")));
}

/// How a publisher publishes while its watchers answer and come back.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// With a random pause of at most 50 ms between events.
    Gaps,
    /// The same, and every client is away for 40 ms after each answer.
    SlowNetwork,
    /// Five events at once, then a pause.
    Bursts,
}

/// Follows a topic from now on and returns what it saw.
async fn follow(gateway: SocketAddr, load: Load, until: u64) -> Vec<u64> {
    let mut connection = HttpConnection::open(gateway).await;
    let (mut seen, mut token) = (Vec::new(), "oldest".to_owned());
    while seen.last() != Some(&until) {
        let answer = connection.request(&poll("stock", &format!("wait=30&last_seen={token}"))).await;
        token = place(&answer);
        if answer.status == 200 {
            let batch = answer.batch();
            assert!(!batch.reset);
            seen.extend(batch.numbers("n"));
        }
        if matches!(load, Load::SlowNetwork) {
            sleep(Duration::from_millis(40)).await;
        }
    }
    seen
}

async fn no_follower_misses_anything(broker: Broker, load: Load) {
    const CLIENTS: usize = 200;
    const EVENTS: u64 = 60;
    let gateway = gateway(broker).await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(follow(gateway.address(), load, EVENTS - 1));
    }
    let mut number = 0;
    while number < EVENTS {
        let together = if matches!(load, Load::Bursts) { 5 } else { 1 };
        publish(&gateway, "stock", number..number + together).await;
        number += together;
        sleep(Duration::from_millis(rand::random_range(0..50))).await;
    }
    for seen in clients.join_all().await {
        assert_eq!(seen, (0..EVENTS).collect::<Vec<_>>(), "{load:?}");
    }
}

on_both_brokers!(no_follower_misses_what_falls_between_an_answer_and_the_next_poll);
async fn no_follower_misses_what_falls_between_an_answer_and_the_next_poll(broker: Broker) {
    no_follower_misses_anything(broker, Load::Gaps).await;
}

on_both_brokers!(no_follower_misses_what_comes_while_the_network_is_slow);
async fn no_follower_misses_what_comes_while_the_network_is_slow(broker: Broker) {
    no_follower_misses_anything(broker, Load::SlowNetwork).await;
}

on_both_brokers!(no_follower_misses_a_burst);
async fn no_follower_misses_a_burst(broker: Broker) {
    no_follower_misses_anything(broker, Load::Bursts).await;
}
