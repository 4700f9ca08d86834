//! Pages of other origins: the CORS protocol as a browser sees it.

use std::time::Duration;

use postern_tests::{
    Answer, Broker, Gateway, GatewayBuilder, HttpConnection, Poll, Request, eventually, on_both_brokers, unique,
};

const PAGE: &str = "https://app.example";
const OTHER: &str = "https://other.example:8443";

async fn gateway(broker: Broker, flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Gateway {
    let gateway = flags(broker.gateway().await).start().await;
    gateway.wait_ready().await;
    gateway
}

/// The origin that may read an answer, if any.
fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

async fn live(gateway: &Gateway, origin: &str) -> Answer {
    Request::get("/live").header("Origin", origin).send(gateway.address()).await.expect_status(200)
}

fn preflight(path: &str, origin: &str) -> Request {
    Request::new("OPTIONS", path).header("Origin", origin).header("Access-Control-Request-Method", "PUT")
}

on_both_brokers!(by_default_no_other_page_may_read_anything);
async fn by_default_no_other_page_may_read_anything(broker: Broker) {
    let gateway = gateway(broker, |builder| builder).await;
    for request in [Request::get("/live").header("Origin", PAGE), preflight("/clients/alice/topics/a", PAGE)] {
        let answer = request.send(gateway.address()).await;
        let cors = answer.head.headers.iter().find(|(name, _)| name.starts_with("access-control-") || name == "vary");
        assert_eq!(cors, None);
    }
}

on_both_brokers!(only_the_origins_that_are_named_may_read);
async fn only_the_origins_that_are_named_may_read(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--allow-origin", PAGE).flag("--allow-origin", OTHER)).await;
    for origin in [PAGE, OTHER] {
        let answer = live(&gateway, origin).await;
        assert_eq!((allowed(&answer), answer.header("vary")), (Some(origin), Some("origin")));
        // Cookies and the like come along: `fetch(…, { credentials: "include" })`.
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let answer = preflight("/clients/alice/events", origin).send(gateway.address()).await;
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    }
    for origin in ["http://app.example", "https://app.example:8443", "https://app.example.evil.example", "null"] {
        // A cache must not hand one page's answer to another.
        let answer = live(&gateway, origin).await;
        assert_eq!((allowed(&answer), answer.header("vary")), (None, Some("origin")), "{origin}");
        let answer = preflight("/clients/alice/events", origin).send(gateway.address()).await;
        assert_eq!((allowed(&answer), answer.header("access-control-allow-methods")), (None, None), "{origin}");
    }
    let without = Request::get("/live").send(gateway.address()).await;
    assert_eq!((allowed(&without), without.header("vary")), (None, Some("origin")));
}

on_both_brokers!(a_star_lets_every_page_in);
async fn a_star_lets_every_page_in(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--allow-origin", "*")).await;
    for origin in [PAGE, OTHER, "null", "http://localhost:3000"] {
        let answer = live(&gateway, origin).await;
        assert!(matches!(allowed(&answer), Some(allowed) if allowed == "*" || allowed == origin), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

on_both_brokers!(a_preflight_tells_what_a_page_may_do_and_can_be_remembered);
async fn a_preflight_tells_what_a_page_may_do_and_can_be_remembered(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--allow-origin", PAGE)).await;
    for path in ["/clients/alice/events", "/clients/alice", "/clients/alice/topics/a", "/topics/a/events"] {
        let answer = preflight(path, PAGE).send(gateway.address()).await.expect_status(204);
        assert_eq!(allowed(&answer), Some(PAGE), "{path}");
        let list = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
        let (methods, headers) = (list("access-control-allow-methods"), list("access-control-allow-headers"));
        for method in ["get", "post", "put", "delete"] {
            assert!(methods.split(", ").any(|allowed| allowed == method), "{path}: {methods}");
        }
        for header in ["content-type", "event-id", "last-event-id"] {
            assert!(headers.split(", ").any(|allowed| allowed == header), "{path}: {headers}");
        }
        let max_age: u32 = list("access-control-max-age").parse().unwrap();
        assert!(max_age >= 600, "{max_age}");
    }
    // A proxy in front may read headers that the gateway does not know.
    let asked = |names: &str| preflight("/clients/alice/events", PAGE).header("Access-Control-Request-Headers", names);
    let headers = async |names: &str| {
        let answer = asked(names).send(gateway.address()).await.expect_status(204);
        answer.header("access-control-allow-headers").unwrap_or_default().to_owned()
    };
    let (known, both) = (headers("").await, headers("traceparent,x-csrf-token,event-id").await);
    assert_eq!(both, format!("{known}, traceparent, x-csrf-token"));
    for nonsense in ["a(b)", &"x-a,".repeat(1000)] {
        assert_eq!(headers(nonsense).await, known);
    }
    // What is no preflight is not answered as one.
    let plain = live(&gateway, PAGE).await;
    assert_eq!(plain.header("access-control-max-age"), None);
}

on_both_brokers!(every_answer_can_be_read_also_an_empty_or_a_wrong_one);
async fn every_answer_can_be_read_also_an_empty_or_a_wrong_one(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--allow-origin", PAGE)).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = || Poll::of(&client).topics(&topic).header("Origin", PAGE);
    let check = |answer: &Answer, status: u16| {
        assert_eq!((answer.status, allowed(answer), answer.header("vary")), (status, Some(PAGE), Some("origin")));
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_ascii_lowercase();
        for header in ["last-seen", "etag", "retry-after"] {
            assert!(exposed.split(", ").any(|name| name == header), "{exposed}");
        }
    };
    check(&poll().wait(0).send(&gateway).await, 204);
    let mut old = poll().wait(30).hold(&gateway).await;
    assert!(old.is_silent(Duration::from_millis(200)).await);
    let mut new = poll().wait(30).hold(&gateway).await;
    check(&old.answer().await, 409);
    let post = Request::publish(&topic, "application/json", "1").header("Origin", PAGE);
    check(&post.send(gateway.address()).await, 202);
    check(&new.answer().await, 200);
    check(&poll().query("wait", "x").send(&gateway).await, 400);
    let put = Request::new("PUT", &format!("/clients/{client}/topics/{topic}")).header("Origin", PAGE);
    check(&put.send(gateway.address()).await, 204);
    for (method, path, status) in [("GET", "/nothing", 404), ("POST", "/live", 405), ("GET", "/ready", 200)] {
        check(&Request::new(method, path).header("Origin", PAGE).send(gateway.address()).await, status);
    }
}

on_both_brokers!(also_the_answer_that_there_are_too_many_connections_can_be_read);
/// Else a page sees a network error where it should see when to come back.
async fn also_the_answer_that_there_are_too_many_connections_can_be_read(broker: Broker) {
    let gateway = gateway(broker, |builder| builder.flag("--allow-origin", PAGE).flag("--max-connections", "1")).await;
    let mut only = only_connection(&gateway).await;
    let poll = Request::get("/topics/a/events?wait=0").header("Origin", PAGE);
    let refused = poll.send(gateway.address()).await.expect_status(503);
    assert_eq!((allowed(&refused), refused.header("vary")), (Some(PAGE), Some("origin")));
    only.request(&Request::get("/live")).await.expect_status(200);
}

/// Takes the one place; the connection that asked whether the gateway is ready may need a moment to leave it.
async fn only_connection(gateway: &Gateway) -> HttpConnection {
    eventually(Duration::from_secs(5), "a free place", async || {
        let mut connection = HttpConnection::open(gateway.address()).await;
        let answer = connection.request(&Request::get("/live")).await;
        // Beyond the maximum one request is served, and the connection ends.
        if answer.header("connection").is_none() { Ok(connection) } else { Err(answer) }
    })
    .await
}
