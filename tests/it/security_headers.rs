//! The headers by which every answer keeps browsers from giving it to other pages.

use postern_tests::{Answer, Broker, Gateway, Http2Connection, HttpConnection, Request, unique};

const HEADERS: [&str; 3] = ["x-content-type-options", "referrer-policy", "cross-origin-resource-policy"];

/// The headers of any answer, and of those that pages of other origins may have: the client, and what they are let in to.
const ANY: [Option<&str>; 3] = [Some("nosniff"), Some("no-referrer"), Some("same-origin")];
const CROSS_ORIGIN: [Option<&str>; 3] = [Some("nosniff"), Some("no-referrer"), Some("cross-origin")];

/// Checks an answer, which must not have one of them twice.
#[track_caller]
fn check(what: &str, answer: &Answer, status: u16, expected: [Option<&str>; 3]) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(HEADERS.map(|name| answer.header(name)), expected, "{what}");
    let count = answer.head.headers.iter().filter(|(name, _)| HEADERS.contains(&name.as_str())).count();
    assert_eq!(count, HEADERS.len(), "{what}: {answer:?}");
}

async fn publish(gateway: &Gateway, topic: &str) -> Answer {
    Request::publish(topic, "application/json", r#"{"n":1}"#).send(gateway.address()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_and_every_kind_of_answer_has_them() {
    let gateway = Broker::Embedded.gateway().await.flag("--allow-origin", "https://app.example").start().await;
    gateway.wait_ready().await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let mailbox = format!("/clients/{client}");
    let (poll, feed) = (format!("{mailbox}/events?topics={topic}&wait=0"), format!("/topics/{topic}/events?wait=0"));
    let get = |path: &str| Request::get(path);
    let first = get(&feed).send(gateway.address()).await;
    check("a feed with nothing", &first, 204, ANY);
    let tag = first.header("etag").expect("a feed has a tag").to_owned();
    let client_tag = get("/client.js").send(gateway.address()).await.header("etag").expect("it has a tag").to_owned();
    let binding = format!("{mailbox}/topics/{topic}");
    for (request, status, expected) in [
        (get("/"), 200, ANY),
        (get("/client.js"), 200, CROSS_ORIGIN),
        (get("/client.js").header("if-none-match", &client_tag), 304, CROSS_ORIGIN),
        (get("/live"), 200, ANY),
        (get("/ready"), 200, ANY),
        (get("/metrics"), 200, ANY),
        (get("/metrics").header("accept", "application/openmetrics-text; version=1.0.0"), 200, ANY),
        (get(&feed).header("if-none-match", &tag), 304, ANY),
        (get(&mailbox), 404, ANY),
        (get(&poll), 204, ANY),
        (get(&mailbox), 200, ANY),
        (Request::new("PUT", &binding), 204, ANY),
        (Request::publish(&topic, "application/json", r#"{"n":1}"#), 202, ANY),
        (get(&poll), 200, ANY),
        (get(&feed), 200, ANY),
        (get(&feed).header("origin", "https://app.example"), 200, CROSS_ORIGIN),
        (get(&feed).header("origin", "https://other.example"), 403, ANY),
        (get(&feed).header("sec-fetch-site", "cross-site"), 403, ANY),
        (get(&feed).header("host", "other.example"), 421, ANY),
        (get(&feed).header("host", "?"), 400, ANY),
        (Request::new("DELETE", &binding), 204, ANY),
        (Request::new("DELETE", &mailbox), 204, ANY),
        (Request::new("OPTIONS", &poll), 204, ANY),
        (Request::new("OPTIONS", "*"), 204, ANY),
        (Request::new("OPTIONS", &feed).header("origin", "https://app.example"), 204, CROSS_ORIGIN),
        (Request::new("PATCH", &feed), 405, ANY),
        (get("/nothing"), 404, ANY),
        (get("/clients/a%20b/events"), 400, ANY),
        (get("/live").body("?").header("content-length", "1"), 400, ANY),
    ] {
        let what = String::from_utf8_lossy(&request.bytes()).lines().next().unwrap_or_default().to_owned();
        check(&what, &request.send(gateway.address()).await, status, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_answers_over_http2_and_to_head_and_refusals_have_them() {
    let gateway = Broker::Embedded.gateway().await.flag("--max-connections", "2").start().await;
    gateway.wait_ready().await;
    let topic = unique("jobs");
    publish(&gateway, &topic).await.expect_status(202);
    let stream = |path: &str| Request::get(path).header("accept", "text/event-stream");
    let paths = [format!("/clients/{}/events?topics={topic}", unique("alice")), format!("/topics/{topic}/events")];
    let mut open = Vec::new();
    for path in &paths {
        let mut connection = HttpConnection::open(gateway.address()).await;
        connection.send(&stream(path).bytes()).await;
        let head = connection.head().await;
        assert_eq!(head.header("content-type"), Some("text/event-stream"), "{path}");
        assert_eq!(HEADERS.map(|name| head.header(name)), ANY, "{path}");
        open.push(connection);
    }
    // There is no place for more: a poll is refused, and so is a stream, in its own way.
    check("a refused poll", &Request::get(&paths[1]).send(gateway.address()).await, 503, ANY);
    check("a refused stream", &stream(&paths[1]).send(gateway.address()).await, 200, ANY);
    check("a publish beyond the maximum", &publish(&gateway, &topic).await, 202, ANY);
    drop(open);

    let gateway = Broker::Embedded.gateway().await.start().await;
    let connection = Http2Connection::open(gateway.address()).await;
    for (method, path, expected) in [("GET", "/live", ANY), ("HEAD", "/", ANY), ("HEAD", "/client.js", CROSS_ORIGIN)] {
        let answer = connection.send(method, path, &[], "").await;
        let told = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(HEADERS.map(told), expected, "{method} {path}");
    }
}
