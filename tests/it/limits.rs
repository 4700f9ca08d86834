//! Overload and bad manners get a definite answer, touch no other client, and are counted.

use std::{collections::BTreeMap, time::Duration};

use postern_tests::{
    Answer, Broker, Gateway, GatewayBuilder, HttpConnection, Left, Poll, Request, eventually, eventually_eq,
    on_both_brokers, unique,
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

async fn gateway(broker: Broker, flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Gateway {
    let gateway = flags(broker.gateway().await).start().await;
    gateway.wait_ready().await;
    gateway
}

/// Checks an answer that says to come back later.
#[track_caller]
fn is_overload(answer: &Answer, flag: &str) {
    let detail = answer.problem(503);
    assert!(detail.contains(flag), "{detail}");
    let retry_after: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry_after), "{retry_after}");
}

/// Opens a connection that is served, once there is a place for it.
async fn served(gateway: &Gateway) -> HttpConnection {
    eventually(SOON, "a place for one more connection", async || {
        let mut connection = HttpConnection::open(gateway.address()).await;
        let answer = connection.request(&Request::get("/live")).await;
        // Beyond the maximum one request is served, and the connection ends.
        if answer.header("connection").is_none() { Ok(connection) } else { Err(answer) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_kept_mailbox_too_many_is_not_made_and_those_that_are_there_are_served() {
    let gateway = gateway(Broker::Embedded, |builder| builder.flag("--max-kept-mailboxes", "2")).await;
    let poll = |client: &str| Poll::of(client).topics("a.#").wait(0);
    poll("alice").send(&gateway).await.expect_status(204);
    let bind = |client: &str| Request::new("PUT", &format!("/clients/{client}/topics/a.%23"));
    bind("bob").send(gateway.address()).await.expect_status(204);
    let stream = Request::get("/clients/carol/events?topics=a.%23").header("Accept", "text/event-stream");
    // One after the other: a stream that is not refused has no end.
    is_overload(&poll("carol").send(&gateway).await, "--max-kept-mailboxes");
    is_overload(&bind("carol").send(gateway.address()).await, "--max-kept-mailboxes");
    is_overload(&stream.send(gateway.address()).await, "--max-kept-mailboxes");
    for client in ["alice", "bob"] {
        poll(client).topics("b").send(&gateway).await.expect_status(204);
    }
    Request::new("DELETE", "/clients/bob").send(gateway.address()).await.expect_status(204);
    poll("carol").send(&gateway).await.expect_status(204);
}

on_both_brokers!(a_poll_on_one_connection_too_many_is_told_so_and_a_place_is_free_when_one_leaves);
async fn a_poll_on_one_connection_too_many_is_told_so_and_a_place_is_free_when_one_leaves(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--max-connections", "2")).await;
    let mut first = served(&gateway).await;
    let mut second = served(&gateway).await;
    let topic = unique("full");
    for poll in ["/clients/late/events?topics=a&wait=0", "/topics/a/events?wait=0"] {
        let mut third = HttpConnection::open(gateway.address()).await;
        let refused = third.request(&Request::get(poll)).await;
        is_overload(&refused, "--max-connections");
        assert_eq!(refused.header("connection"), Some("close"));
        assert_eq!(third.left().await, Left::Closed);
    }
    // An operator, and what is published, get in.
    let publish = Request::publish(&topic, "application/json", "1");
    for (request, status) in [(Request::get("/live"), 200), (Request::get("/metrics"), 200), (publish, 202)] {
        let mut third = HttpConnection::open(gateway.address()).await;
        let answer = third.request(&request).await.expect_status(status);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(third.left().await, Left::Closed);
    }
    for connection in [&mut first, &mut second] {
        connection.request(&Request::get("/live")).await.expect_status(200);
    }
    first.close().await;
    let mut third = served(&gateway).await;
    third.reset();
    third = served(&gateway).await;
    third.request(&Request::get("/live")).await.expect_status(200);
}

on_both_brokers!(one_mailbox_too_many_is_told_so_and_a_place_is_free_when_one_leaves);
async fn one_mailbox_too_many_is_told_so_and_a_place_is_free_when_one_leaves(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--max-mailboxes", "1")).await;
    let (topic, first, second) = (unique("jobs"), unique("first"), unique("second"));
    let poll = |client: &str| Poll::of(client).topics(&topic).wait(30);
    poll(&first).wait(0).send(&gateway).await.expect_status(204);
    let mut held = poll(&first).hold(&gateway).await;
    // Sent is not seated: on another connection, a poll that is sent later can be read first.
    let polls_held = async || metrics(&gateway).await.get("postern_polls_held").cloned();
    eventually_eq(SOON, "polls held", Some("1".to_owned()), polls_held).await;
    is_overload(&poll(&second).send(&gateway).await, "--max-mailboxes");
    // The same client again needs no place of its own, and publishing needs none.
    let mut newer = poll(&first).hold(&gateway).await;
    held.answer().await.problem(409);
    Request::publish(&topic, "application/json", r#"{"n":1}"#).send(gateway.address()).await.expect_status(202);
    assert_eq!(newer.answer().await.batch().numbers("n"), [1]);
    newer.reset();
    let second = poll(&second).wait(0);
    eventually_eq(SOON, "the answer to the second client", 204, async || second.send(&gateway).await.status).await;
}

on_both_brokers!(a_slow_head_and_an_idle_connection_are_hung_up_on_and_others_do_not_notice);
async fn a_slow_head_and_an_idle_connection_are_hung_up_on_and_others_do_not_notice(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--header-timeout", "1s").flag("--idle-timeout", "2s")).await;
    let topic = unique("jobs");
    let poll = Poll::of(&unique("alice")).topics(&topic).wait(30);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    // A poll is held for longer than that, and a body may take longer.
    let mut held = poll.hold(&gateway).await;
    let mut body = HttpConnection::open(gateway.address()).await;
    let post = format!(
        "POST /topics/{topic}/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 7\r\nexpect: 100-continue\r\n"
    );
    body.send(format!("{post}\r\n").as_bytes()).await;
    assert_eq!(body.head().await.status, 100);
    let mut silent = HttpConnection::open(gateway.address()).await;
    let mut half = HttpConnection::open(gateway.address()).await;
    half.send(b"GET /live HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await;
    let mut idle = HttpConnection::open(gateway.address()).await;
    idle.request(&Request::get("/live")).await.expect_status(200);
    for (what, connection) in [("silent", &mut silent), ("half a head", &mut half), ("idle", &mut idle)] {
        let left = timeout(SOON, connection.left()).await;
        assert!(left.is_ok(), "{what}: the gateway should hang up");
    }
    body.send(br#"{"n":1}"#).await;
    body.answer().await.expect_status(202);
    assert_eq!(held.answer().await.batch().numbers("n"), [1]);
}

on_both_brokers!(an_idle_connection_has_longer_than_a_head_and_is_told_how_long);
async fn an_idle_connection_has_longer_than_a_head_and_is_told_how_long(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--header-timeout", "1s")).await;
    let live = Request::get("/live");
    let (mut idle, mut slow) = (served(&gateway).await, served(&gateway).await);
    assert_eq!(idle.request(&live).await.header("keep-alive"), Some("timeout=75"));
    slow.send(b"GET /live HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await;
    assert!(timeout(SOON, slow.left()).await.is_ok(), "the gateway should hang up on half a head");
    // By then the other one has been idle for as long.
    idle.request(&live).await.expect_status(200);
}

on_both_brokers!(a_body_that_stops_halfway_does_not_keep_its_place);
async fn a_body_that_stops_halfway_does_not_keep_its_place(broker: Broker) {
    // A body may take three times as long as a head.
    let gateway =
        gateway(broker, |builder| builder.flag("--header-timeout", "1s").flag("--max-connections", "1")).await;
    let mut half = served(&gateway).await;
    let head =
        format!("POST /topics/{}/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 7\r\n\r\n", unique("jobs"));
    half.send(format!("{head}{{").as_bytes()).await;
    let late = half.answer().await;
    assert!(late.problem(408).contains("within 3 s"), "{late:?}");
    assert_eq!(half.left().await, Left::Closed);
    served(&gateway).await;
}

on_both_brokers!(pipelined_requests_are_answered_in_their_order);
async fn pipelined_requests_are_answered_in_their_order(broker: Broker) {
    let gateway = gateway(broker, |builder| builder).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).wait(0).request();
    let mut bytes = Vec::new();
    for n in 0..100 {
        bytes.extend(Request::get(&format!("/clients/{client}/events?wait=wrong-{n}")).bytes());
        bytes.extend(if n % 10 == 0 { poll.bytes() } else { Request::get("/live").bytes() });
    }
    bytes.extend(Request::get("/live").header("Connection", "close").bytes());
    let mut connection = HttpConnection::open(gateway.address()).await;
    connection.send(&bytes).await;
    for n in 0..100 {
        let detail = connection.answer().await.problem(400);
        assert!(detail.ends_with(&format!("not \"wrong-{n}\"")), "{n}: {detail}");
        assert_eq!(connection.answer().await.status, if n % 10 == 0 { 204 } else { 200 }, "{n}");
    }
    connection.answer().await.expect_status(200);
    assert_eq!(connection.left().await, Left::Closed);
}

on_both_brokers!(live_and_ready_are_answered_to_get_and_head);
async fn live_and_ready_are_answered_to_get_and_head(broker: Broker) {
    let gateway = gateway(broker, |builder| builder).await;
    let mut connection = HttpConnection::open(gateway.address()).await;
    for path in ["/live", "/ready"] {
        let answer = connection.request(&Request::get(path)).await.expect_status(200);
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{answer:?}");
        assert_eq!((answer.header("cache-control"), answer.text()), (Some("no-store"), format!("{}\n", &path[1..])));
        connection.send(&Request::new("HEAD", path).bytes()).await;
        assert_eq!(connection.head().await.status, 200);
    }
}

on_both_brokers!(metrics_parse_and_move_and_name_no_client_and_no_topic);
async fn metrics_parse_and_move_and_name_no_client_and_no_topic(broker: Broker) {
    let gateway = gateway(broker, |builder| builder).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    Poll::of(&client).topics(&topic).wait(0).send(&gateway).await.expect_status(204);
    let before = metrics(&gateway).await;
    let value = |metrics: &BTreeMap<String, String>, name: &str| -> i64 {
        metrics.get(name).map_or(0, |number| number.parse().unwrap_or_else(|_| panic!("{name} is {number}")))
    };
    assert_eq!((value(&before, "postern_broker_ready"), value(&before, "postern_sessions")), (1, 1));
    let post = Request::publish(&topic, "application/json", r#"{"n":1}"#);
    let mut held = Poll::of(&client).topics(&topic).wait(30).hold(&gateway).await;
    let now = async |name: &str| value(&metrics(&gateway).await, name);
    eventually_eq(SOON, "polls held", 1, async || now("postern_polls_held").await).await;
    assert!(now("postern_connections").await >= 2);
    post.send(gateway.address()).await.expect_status(202);
    held.answer().await.batch();
    let repeat = Poll::of(&client).wait(30);
    let batch = repeat.send_on(&mut held).await.batch();
    let confirmed = Poll::of(&client).last_seen(&batch.last_seen).wait(0);
    confirmed.send_on(&mut held).await.expect_status(204);
    Poll::of(&unique("absent")).send(&gateway).await.expect_status(404);
    let after = metrics(&gateway).await;
    for (name, moved) in [
        ("postern_events_total", 2),
        ("postern_events_redelivered_total", 1),
        (r#"postern_published_total{outcome="confirmed"}"#, 1),
        (r#"postern_polls_total{outcome="batch"}"#, 2),
        (r#"postern_polls_total{outcome="nothing"}"#, 1),
        (r#"postern_polls_total{outcome="refused"}"#, 1),
        ("postern_polls_held", 0),
        ("postern_window_bytes", 0),
    ] {
        assert_eq!(value(&after, name) - value(&before, name), moved, "{name}: {after:?}");
    }
    held.reset();
    let released = r#"postern_releases_total{outcome="disconnected"}"#;
    eventually_eq(SOON, released, 1, async || now(released).await).await;
    assert_eq!(now("postern_sessions").await, 0);
    let text = Request::get("/metrics").send(gateway.address()).await.text();
    assert!(!text.contains(&client) && !text.contains(&topic), "{text}");
}

/// Reads every line: a comment, or `name{labels} value`; the last one says that nothing is missing.
async fn metrics(gateway: &Gateway) -> BTreeMap<String, String> {
    let request = Request::get("/metrics").header("accept", "application/openmetrics-text");
    let answer = request.send(gateway.address()).await.expect_status(200);
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with("# "));
    let metrics = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no metric: {line:?}"));
        let bare = name.split('{').next().unwrap_or_default();
        let is_known = ["postern_", "process_"].iter().any(|prefix| bare.starts_with(prefix));
        let well_named = is_known && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        assert!(well_named && (bare == name || name.ends_with("\"}")), "{line:?}");
        assert!(value.parse::<f64>().is_ok(), "{line:?}");
        (name.to_owned(), value.to_owned())
    });
    metrics.collect()
}

/// A system without file descriptors fails ten times a second.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_cannot_be_accepted_are_counted_and_logged_once_a_minute() {
    let gateway = gateway(Broker::Embedded, |builder| builder).await;
    let mut connection = served(&gateway).await;
    gateway.process().refuse_files(true);
    let mut waiting = HttpConnection::open(gateway.address()).await;
    let failed = async || {
        let text = connection.request(&Request::get("/metrics")).await.text();
        let count =
            text.lines().find_map(|line| line.strip_prefix("postern_accepts_failed_total ")?.parse::<u64>().ok());
        if count >= Some(3) { Ok(()) } else { Err(count) }
    };
    eventually(SOON, "failures", failed).await;
    gateway.process().refuse_files(false);
    waiting.request(&Request::get("/live")).await.expect_status(200);
    let lines = gateway.log().all_fields(0, "cannot accept a connection");
    assert_eq!((lines.len(), &lines[0]["left_out"]), (1, &0.into()), "{lines:?}");
    assert!(lines[0]["error"].as_str().unwrap().contains("files"), "{lines:?}");
}
