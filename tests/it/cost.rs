//! What a client can make the gateway spend: bounded by what it sends, however it sends it.

use std::time::Duration;

use futures_util::future::join_all;
use postern_tests::{Answer, Gateway, HttpConnection, Request, cpu_seconds, eventually_eq, resident_bytes};
use tokio::time::sleep;

async fn gateway() -> Gateway {
    let gateway = Gateway::builder().switch("--memory").start().await;
    gateway.wait_ready().await;
    gateway
}

/// Publishes events of seven bytes.
async fn publish(gateway: &Gateway, count: usize) {
    const CONNECTIONS: usize = 16;
    let publishers = (0..CONNECTIONS).map(|_| async {
        let mut connection = HttpConnection::open(gateway.address()).await;
        for _ in 0..count / CONNECTIONS {
            connection.request(&Request::publish("a", "application/json", r#"{"n":1}"#)).await.expect_status(202);
        }
    });
    join_all(publishers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_event_is_not_kept_with_the_buffer_that_it_came_in() {
    const EVENTS: usize = 16_000;
    let gateway = gateway().await;
    publish(&gateway, 1600).await;
    let resident = || resident_bytes(gateway.process().id()).expect("it runs");
    let before = resident();
    publish(&gateway, EVENTS).await;
    #[expect(clippy::cast_precision_loss, reason = "it is rounded to bytes anyway")]
    let each = (resident() - before) / EVENTS as f64;
    assert!(each < 2500.0, "{each:.0} bytes for each event of seven");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_after_its_first_byte_costs_no_work() {
    let gateway = gateway().await;
    let connections = (0..1000).map(|_| async {
        let mut connection = HttpConnection::open(gateway.address()).await;
        connection.send(b"P").await;
        connection
    });
    let _connections = join_all(connections).await;
    // The gateway has accepted all of them before this request.
    Request::get("/live").send(gateway.address()).await.expect_status(200);
    // The time over which the CPU is measured.
    let used = || cpu_seconds(gateway.process().id()).expect("it runs");
    let before = used();
    sleep(Duration::from_secs(2)).await;
    let spent = used() - before;
    assert!(spent < 0.15, "{spent} s of CPU in two idle seconds");
}

/// Binds the mailbox of a client to these patterns.
async fn bind(gateway: &Gateway, client: &str, patterns: impl Iterator<Item = String>) -> Answer {
    let mut connection = HttpConnection::open(gateway.address()).await;
    let mut last = None;
    for pattern in patterns {
        let pattern = pattern.replace('#', "%23");
        let put = Request::new("PUT", &format!("/clients/{client}/topics/{pattern}"));
        last = Some(connection.request(&put).await);
    }
    last.expect("some patterns")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_has_so_many_patterns_and_no_more() {
    let gateway = gateway().await;
    bind(&gateway, "alice", (0..256).map(|n| format!("a.{n}"))).await.expect_status(204);
    let refused = bind(&gateway, "alice", std::iter::once("b".to_owned())).await;
    let detail = refused.problem(422);
    assert!(detail.contains("256") && detail.contains("DELETE /clients/{client}/topics/{pattern}"), "{detail}");
    // A poll that is held has no part in it.
    let mut held = HttpConnection::open(gateway.address()).await;
    held.send(&Request::get("/clients/alice/events?topics=a.1&wait=50").bytes()).await;
    eventually_eq(Duration::from_secs(10), "connected", true, async || {
        let looked = Request::get("/clients/alice").send(gateway.address()).await;
        looked.json()["connected"].as_bool().expect("a mailbox says whether its client is there")
    })
    .await;
    let poll = Request::get("/clients/alice/events?topics=a.1,c&wait=0").send(gateway.address()).await;
    poll.problem(422);
    let stream = Request::get("/clients/alice/events?topics=c").header("accept", "text/event-stream");
    stream.send(gateway.address()).await.problem(422);
    held.answer().await.problem(409);
    Request::get("/clients/alice/events?topics=a.1&wait=0").send(gateway.address()).await.expect_status(204);
}

/// Sends a request, and another one again and again until it is answered: returns how often that one was.
async fn answered_beside(gateway: &Gateway, costly: Request, status: u16, other: &Request) -> usize {
    let address = gateway.address();
    let costly = tokio::spawn(async move { costly.send(address).await.expect_status(status) });
    let mut answered = 0;
    while !costly.is_finished() {
        other.send(address).await.expect_status(200);
        answered += 1;
    }
    costly.await.unwrap();
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_of_costly_patterns_holds_up_no_other() {
    let gateway = gateway().await;
    // None selects anything, and each is compared with each topic as far as can be.
    bind(&gateway, "costly", (0..255).map(|n| format!("#{}.z{n}", ".a".repeat(30)))).await.expect_status(204);
    bind(&gateway, "costly", std::iter::once("#".to_owned())).await.expect_status(204);
    bind(&gateway, "honest", std::iter::once("b".to_owned())).await.expect_status(204);
    let mut publisher = HttpConnection::open(gateway.address()).await;
    for number in 0..60 {
        let topic = format!("{}{number}", "a.".repeat(120));
        publisher.request(&Request::publish(&topic, "application/json", "1")).await.expect_status(202);
    }
    let costly = Request::get("/clients/costly");
    let answered = answered_beside(&gateway, costly, 200, &Request::get("/clients/honest")).await;
    assert!(answered > 5, "{answered} other requests were answered beside one that looks through a costly mailbox");
}

/// Publishes one event for each of so many topics of the most words.
async fn publish_long_topics(gateway: &Gateway, count: usize) {
    const CONNECTIONS: usize = 16;
    let words = "a.".repeat(120);
    let publishers = (0..CONNECTIONS).map(async |first| {
        let mut connection = HttpConnection::open(gateway.address()).await;
        for number in (first..count).step_by(CONNECTIONS) {
            let topic = format!("{words}{number}");
            connection.request(&Request::publish(&topic, "application/json", "1")).await.expect_status(202);
        }
    });
    join_all(publishers).await;
}

/// A pattern that is compared with long topics as far as can be, and selects none.
const COSTLY: &str = "%23.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.z";

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_of_a_costly_pattern_holds_up_no_other() {
    // All events are in memory, or next to none.
    for window in ["64MiB", "1KiB"] {
        let gateway = Gateway::builder().switch("--memory").flag("--feed-window", window).start().await;
        gateway.wait_ready().await;
        publish_long_topics(&gateway, 8000).await;
        // Without a place it is answered by the index; that holds all topics, or next to none.
        for start in ["last_seen=oldest&", ""] {
            let costly = Request::get(&format!("/topics/{COSTLY}/events?{start}wait=0"));
            let answered = answered_beside(&gateway, costly, 204, &Request::get("/live")).await;
            assert!(answered > 3, "{answered} other requests were answered beside {start}, window {window}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_patterns_take_little_more_than_their_text() {
    let gateway = gateway().await;
    let resident = || resident_bytes(gateway.process().id()).expect("it runs");
    publish_long_topics(&gateway, 160).await;
    let before = resident();
    publish_long_topics(&gateway, 8160).await;
    let each = (resident() - before) / 8000.0;
    assert!(each < 4000.0, "{each:.0} bytes for each topic of 245");
    let before = resident();
    for client in 0..100 {
        let patterns: Vec<String> = (0..64).map(|n| format!("{}z{n}", "a.".repeat(31))).collect();
        let poll = format!("/clients/c{client}/events?wait=0&topics={}", patterns.join(","));
        Request::get(&poll).send(gateway.address()).await.expect_status(204);
    }
    let each = (resident() - before) / 6400.0;
    assert!(each < 8000.0, "{each:.0} bytes for each pattern of 65");
}
