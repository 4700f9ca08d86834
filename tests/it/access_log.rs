//! The access log: one line a request, if it is asked for, and never a client's id in it.

use std::time::Duration;

use postern_tests::{EventStream, Gateway, HttpConnection, Poll, Request, eventually, eventually_eq, unique};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// The message of each line.
const MESSAGE: &str = "request";

async fn start(filter: Option<&str>) -> Gateway {
    let builder = Gateway::builder().embedded();
    let gateway = match filter {
        Some(filter) => builder.flag("--log", filter),
        None => builder,
    };
    gateway.start().await
}

/// Waits for so many lines of an operation.
async fn lines(gateway: &Gateway, route: &str, count: usize) -> Vec<Value> {
    eventually(SOON, &format!("{count} lines of {route}"), async || {
        let mut lines = gateway.log().all_fields(0, MESSAGE);
        lines.retain(|line| line["route"] == route);
        if lines.len() == count { Ok(lines) } else { Err(lines) }
    })
    .await
}

/// Ends a gateway in order and returns all that it has logged: nothing more can come.
async fn ended(mut gateway: Gateway) -> Vec<String> {
    gateway.terminate();
    gateway.wait_exit(SOON).await;
    eventually(SOON, "the end of the log", async || if gateway.log().is_complete() { Ok(()) } else { Err("") }).await;
    gateway.log().lines()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_one_line_at_its_end_without_the_clients_id() {
    let gateway = start(Some("info,postern::access=info")).await;
    let (client, topic) = (unique("secret"), unique("hidden"));
    Poll::of(&client).topics(&topic).wait(0).send(&gateway).await.expect_status(204);
    let mut held = Poll::of(&client).wait(30).hold(&gateway).await;
    let publish = Request::publish(&topic, "application/json", r#"{"n":"payload"}"#);
    publish.send(gateway.address()).await.expect_status(202);
    let answer = held.answer().await;
    let polls = lines(&gateway, "mailbox_poll", 2).await;
    let line = polls.into_iter().find(|line| line["status"] == 200).expect("the poll that got the event");
    assert_eq!(line["method"], "GET", "{line}");
    assert_eq!((&line["bytes"], &line["whole"]), (&answer.body.len().into(), &true.into()), "{line}");
    assert_eq!((&line["level"], &line["target"]), (&"INFO".into(), &"postern::access".into()), "{line}");
    assert!(line["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0), "{line}");
    assert!(line["remote"].as_str().is_some_and(|remote| remote.starts_with("127.0.0.1:")), "{line}");
    assert_eq!(line["request_id"].as_str(), answer.header("x-request-id"), "{line}");
    let line = lines(&gateway, "publish", 1).await.remove(0);
    assert_eq!((&line["method"], &line["status"]), (&"POST".into(), &202.into()), "{line}");

    // A client that hangs up while it waits has no answer.
    let waiting = Poll::of(&client).last_seen(&answer.batch().last_seen).wait(30).hold(&gateway).await;
    let held = async || {
        let metrics = Request::get("/metrics").send(gateway.address()).await.text();
        metrics.lines().any(|line| line == "postern_polls_held 1")
    };
    eventually_eq(SOON, "a held poll", true, held).await;
    waiting.reset();
    let line = lines(&gateway, "mailbox_poll", 3).await.remove(2);
    assert_eq!((line.get("status"), &line["whole"], &line["bytes"]), (None, &false.into(), &0.into()), "{line}");

    // A stream has one when it ends.
    let mut stream = EventStream::open(gateway.address(), &format!("/topics/{topic}/events"), "").await;
    stream.take(1).await;
    assert!(gateway.log().all_fields(0, MESSAGE).iter().all(|line| line["route"] != "feed_stream"));
    stream.reset();
    let line = lines(&gateway, "feed_stream", 1).await.remove(0);
    assert_eq!((&line["status"], &line["whole"]), (&200.into(), &false.into()), "{line}");
    assert!(line["bytes"].as_u64().is_some_and(|bytes| bytes > 50), "{line}");

    for (method, path, route, status) in [
        ("HEAD", "/live".to_owned(), "live", 200),
        ("GET", format!("/clients/{client}/nothing"), "unknown", 404),
        ("POST", format!("/clients/{client}"), "unknown", 405),
        ("GET", format!("/clients/{client}/events?wait=x"), "mailbox_poll", 400),
    ] {
        let mut connection = HttpConnection::open(gateway.address()).await;
        connection.send(&Request::new(method, &path).bytes()).await;
        assert_eq!(connection.head().await.status, status);
        eventually(SOON, &format!("the line of {method} {path}"), async || {
            let lines = gateway.log().all_fields(0, MESSAGE);
            let found = lines.iter().any(|line| {
                line["method"] == method && line["route"] == route && line["status"] == status && line["whole"] == true
            });
            if found { Ok(()) } else { Err(lines) }
        })
        .await;
    }
    let lines = ended(gateway).await;
    let secret =
        |line: &&String| [client.as_str(), topic.as_str(), "payload"].iter().any(|secret| line.contains(secret));
    assert_eq!(lines.iter().find(secret), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_refused_for_lack_of_room_is_in_it() {
    let builder = Gateway::builder().embedded().flag("--max-connections", "1");
    let gateway = builder.flag("--log", "info,postern::access=info").start().await;
    let mut first = HttpConnection::open(gateway.address()).await;
    first.request(&Request::get("/live")).await.expect_status(200);
    Request::get("/topics/a/events?wait=0").send(gateway.address()).await.expect_status(503);
    assert_eq!(lines(&gateway, "feed_poll", 1).await[0]["status"], 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_filter_turns_it_on_but_its_own_name() {
    for filter in [None, Some("info"), Some("debug,h2=off"), Some("gateway=trace")] {
        let gateway = start(filter).await;
        Request::get("/live").send(gateway.address()).await.expect_status(200);
        let lines = ended(gateway).await;
        assert!(!lines.iter().any(|line| line.contains("postern::access")), "{filter:?}: {lines:?}");
    }
    let gateway = start(Some("off,gateway=info,postern::access=info")).await;
    Request::get("/live").send(gateway.address()).await.expect_status(200);
    lines(&gateway, "live", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_for_the_gateway_is_one_for_all_its_parts() {
    let gateway = start(Some("off,gateway=info,feeds=warn")).await;
    gateway.wait_ready().await;
    let has = |text: &str| gateway.log().lines().iter().any(|line| line.contains(text));
    assert!(has("the store is open") && has("listening"), "{:?}", gateway.log().lines());
    assert!(!has("feeds are ready"), "this part has a directive of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_id_of_its_request() {
    let gateway = start(Some("info,postern::access=info")).await;
    let ask = async |id: &str, path: &str| {
        let answer = Request::get(path).header("x-request-id", id).send(gateway.address()).await;
        answer.header("x-request-id").expect("every answer has an id").to_owned()
    };
    let given = "trace-01890a5d/7";
    assert_eq!(ask(given, "/live").await, given);
    assert_eq!(ask(given, "/nothing").await, given, "a problem has it as well");
    let long = "x".repeat(129);
    for wrong in ["", "two words", long.as_str()] {
        let made = ask(wrong, "/live").await;
        assert!(made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    }
    let (one, other) = (Request::get("/live"), Request::get("/live"));
    let (one, other) = (one.send(gateway.address()).await, other.send(gateway.address()).await);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    let logged = lines(&gateway, "live", 6).await;
    for id in [given, other.header("x-request-id").unwrap()] {
        assert!(logged.iter().any(|line| line["request_id"] == id), "{id}: {logged:?}");
    }
}
