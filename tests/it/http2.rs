//! HTTP/2 without TLS beside HTTP/1.1 on one port, as proxies use it: one connection carries many clients.

use std::time::Duration;

use http_body_util::BodyExt;
use postern_tests::{Broker, Http2Connection, HttpConnection, Request, World, eventually_eq, on_both_brokers, unique};
use serde_json::Value;
use tokio::{io::AsyncReadExt, task::JoinSet, time::timeout};

fn mailbox(world: &World, client: &str, wait: u32) -> String {
    format!("/clients/{client}/events?topics={}.%23&wait={wait}", world.topic)
}

fn numbers(batch: &str) -> Vec<u64> {
    let batch: Value = serde_json::from_str(batch).unwrap();
    batch["events"].as_array().unwrap().iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect()
}

on_both_brokers!(one_connection_carries_many_polls);
async fn one_connection_carries_many_polls(broker: Broker) {
    const CLIENTS: usize = 50;
    let world = World::new(broker).await;
    let connection = std::sync::Arc::new(Http2Connection::open(world.gateway.address()).await);
    let clients: Vec<String> = (0..CLIENTS).map(|_| unique("proxied")).collect();
    for client in &clients {
        assert_eq!(connection.get(&mailbox(&world, client, 0)).await.0, 204);
    }
    let mut polls = JoinSet::new();
    for client in &clients {
        let (connection, path) = (connection.clone(), mailbox(&world, client, 55));
        polls.spawn(async move { connection.get(&path).await });
    }
    let path = format!("/topics/{}/events", world.topic);
    let published = connection.send("POST", &path, &[("content-type", "application/json")], r#"{"n":7}"#).await;
    assert_eq!((published.status().as_u16(), published.version()), (202, hyper::Version::HTTP_2));
    for (status, batch) in polls.join_all().await {
        assert_eq!((status, numbers(&batch)), (200, vec![7]));
    }
}

on_both_brokers!(a_request_that_is_taken_back_gives_its_mailbox_back_at_once);
async fn a_request_that_is_taken_back_gives_its_mailbox_back_at_once(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--linger", "60s")).await;
    let connection = Http2Connection::open(world.gateway.address()).await;
    let path = mailbox(&world, &world.client, 55);
    let held = timeout(Duration::from_millis(500), connection.get(&path)).await;
    assert!(held.is_err(), "it should be held");
    world.is_back(0).await;
    // The others on the connection go on.
    assert_eq!(connection.get("/live").await.0, 200);
    let held = timeout(Duration::from_millis(500), connection.get(&path)).await;
    assert!(held.is_err(), "it should be held");
    drop(connection);
    world.is_back(0).await;
}

on_both_brokers!(an_answer_that_is_not_taken_gives_its_mailbox_back_at_once);
async fn an_answer_that_is_not_taken_gives_its_mailbox_back_at_once(broker: Broker) {
    const EVENTS: u32 = 10;
    let world = World::with(broker, |builder| builder.flag("--linger", "60s")).await;
    let text = "x".repeat(80_000);
    let path = mailbox(&world, &world.client, 5);
    // More than the client makes room for: 64 KiB before it has read anything.
    for _ in 0..EVENTS {
        world.backend.publish(&world.topic, &format!("\"{text}\"")).await;
    }
    for closes_connection in [false, true] {
        let connection = Http2Connection::open(world.gateway.address()).await;
        let answer = connection.try_get(&path).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        drop(answer);
        if closes_connection {
            drop(connection);
        } else {
            assert_eq!(connection.get("/live").await.0, 200, "the others on the connection go on");
        }
        world.is_back(EVENTS).await;
    }
}

on_both_brokers!(a_stream_goes_beside_other_requests);
async fn a_stream_goes_beside_other_requests(broker: Broker) {
    let world = World::new(broker).await;
    let connection = Http2Connection::open(world.gateway.address()).await;
    let path = mailbox(&world, &world.client, 55);
    let stream = connection.send("GET", &path, &[("accept", "text/event-stream")], "").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut body = stream.into_body();
    world.backend.publish_numbered(&world.topic, 0..1).await;
    let mut text = String::new();
    while !text.contains(r#""data":{"n":0}"#) {
        let piece = timeout(Duration::from_secs(20), body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(str::from_utf8(&piece.into_data().unwrap()).unwrap());
        assert_eq!(connection.get("/live").await.0, 200);
    }
    // The client leaves its stream and nothing else.
    drop(body);
    world.is_back(1).await;
    assert_eq!(connection.get("/live").await.0, 200);
}

on_both_brokers!(more_polls_than_connections_are_told_so);
async fn more_polls_than_connections_are_told_so(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--max-connections", "3")).await;
    let connection = std::sync::Arc::new(Http2Connection::open(world.gateway.address()).await);
    let mut held = JoinSet::new();
    for _ in 0..3 {
        let (connection, path) = (connection.clone(), mailbox(&world, &unique("proxied"), 55));
        held.spawn(async move { connection.get(&path).await });
    }
    let count = async || {
        let metrics = connection.get("/metrics").await.1;
        metrics.lines().any(|line| line == "postern_polls_held 3")
    };
    eventually_eq(Duration::from_mins(1), "three polls are held", true, count).await;
    let (status, problem) = connection.get(&mailbox(&world, &unique("proxied"), 0)).await;
    assert!(status == 503 && problem.contains("--max-connections"), "{status} {problem}");
}

on_both_brokers!(what_is_no_frame_is_hung_up_on);
async fn what_is_no_frame_is_hung_up_on(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--header-timeout", "1s")).await;
    for rest in ["GET / HTTP/1.1\r\n\r\n", "\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}", ""] {
        let mut connection = HttpConnection::open(world.gateway.address()).await;
        connection.send(format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{rest}").as_bytes()).await;
        let (mut stream, _) = connection.into_parts();
        // Its settings, a ping that is not answered or a farewell, and the end.
        let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{rest:?}");
    }
    // One that stops in the middle of its preface is given up, too.
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    connection.send(b"PRI * HT").await;
    connection.left().await;
    let live = Request::get("/live").send(world.gateway.address()).await;
    assert_eq!(live.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_the_rules_of_http2_fills_no_log() {
    let gateway = Broker::Embedded.gateway().await.start().await;
    gateway.wait_ready().await;
    let from = gateway.log().len();
    for _ in 0..3 {
        let mut connection = HttpConnection::open(gateway.address()).await;
        // Its settings, then GET / without an authority, by indexes of HPACK's static table, and the reset of each.
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        // The answer to a ping that was never sent.
        bytes.extend([&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], b"unasked!"].concat());
        for stream in (1..400_u32).step_by(2) {
            bytes.extend([&[0, 0, 3, 1, 5][..], &stream.to_be_bytes(), &[0x82, 0x86, 0x84]].concat());
            bytes.extend([&[0, 0, 4, 3, 0][..], &stream.to_be_bytes(), &[0, 0, 0, 8]].concat());
        }
        // It may be gone before it has read all.
        let _ = connection.send_unless_left(&bytes).await;
        let (mut stream, mut said) = connection.into_parts();
        let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await.expect("it is hung up on");
    }
    gateway.wait_answer("/live", 200, Duration::from_secs(5)).await;
    let lines = gateway.log().lines();
    assert_eq!(&lines[from..], &[] as &[String]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_head_has_the_length_of_the_body_and_no_body() {
    let world = World::new(Broker::Embedded).await;
    let connection = Http2Connection::open(world.gateway.address()).await;
    for (path, length) in [("/live", Some("5")), ("/ready", None), ("/nothing", None)] {
        let answer = connection.send("HEAD", path, &[], "").await;
        let told = answer.headers().get("content-length").and_then(|told| told.to_str().ok()).map(str::to_owned);
        assert!(told.is_some_and(|told| length.is_none_or(|length| told == length)), "{path}");
        // A client takes a body as an error of the protocol.
        assert_eq!(answer.into_body().collect().await.expect("no body").to_bytes(), "", "{path}");
        assert_eq!(connection.get("/live").await.0, 200, "after HEAD {path}");
    }
}

on_both_brokers!(an_idle_connection_ends_and_one_with_a_held_poll_does_not);
async fn an_idle_connection_ends_and_one_with_a_held_poll_does_not(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--idle-timeout", "1s")).await;
    let connection = Http2Connection::open(world.gateway.address()).await;
    assert_eq!(connection.get(&mailbox(&world, &world.client, 3)).await.0, 204, "held for longer");
    // It would answer pings for ever.
    eventually_eq(Duration::from_secs(10), "the connection", true, async || connection.is_over()).await;
}
