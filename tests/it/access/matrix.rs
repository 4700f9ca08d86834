//! Every route, with every kind of token that must not pass, over every way in which a request comes.

use access::testing::{Issuer, key_set, seconds_from_now};
use postern_tests::{Answer, Broker, Gateway, Http2Connection, PATIENCE, Request};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{KeyFile, everything};

/// What a refusal looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    status: u16,
    challenge: &'static str,
}

const NO_TOKEN: Refusal = Refusal { status: 401, challenge: "Bearer" };
const BAD_TOKEN: Refusal = Refusal { status: 401, challenge: "Bearer error=\"invalid_token\"" };
const NOT_INCLUDED: Refusal = Refusal { status: 403, challenge: "Bearer error=\"insufficient_scope\"" };

/// How a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http1,
    Http2,
    Stream,
}

#[derive(Debug, Clone, Copy)]
enum Carrier {
    Header,
    Cookie,
}

struct Route {
    method: String,
    path: String,
    has_stream: bool,
}

/// Returns the routes that need a right, as the gateway's own document has them. The topics of a mailbox count as well.
async fn routes(gateway: &Gateway) -> Vec<Route> {
    let document = Request::get("/openapi.json").send(gateway.address()).await.expect_status(200).json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { "example" } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        for (method, operation) in item.as_object().unwrap().iter().filter(|(_, each)| each["security"].is_array()) {
            let has_stream = operation["responses"]["200"]["content"]["text/event-stream"].is_object();
            let query = match (has_stream, path.starts_with("/clients")) {
                (true, true) => "?wait=0&topics=example",
                (true, false) => "?wait=0",
                _ => "",
            };
            routes.push(Route { method: method.to_uppercase(), path: format!("{path}{query}"), has_stream });
        }
    }
    assert_eq!(routes.len(), 8, "every route that needs a right");
    routes
}

async fn ask(
    gateway: &Gateway,
    route: &Route,
    way: Way,
    carrier: Carrier,
    token: Option<&str>,
) -> (u16, String, String) {
    let header = token.map(|token| match carrier {
        Carrier::Header => ("authorization", format!("Bearer {token}")),
        Carrier::Cookie => ("cookie", format!("theme=dark; postern={token}")),
    });
    let body = match (route.method.as_str(), route.path.as_str()) {
        ("POST", "/events") => r#"{"topic":"example","data":{}}"#,
        ("POST", _) => "{}",
        _ => "",
    };
    if way == Way::Http2 {
        let connection = Http2Connection::open(gateway.address()).await;
        let headers: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = connection.send(&route.method, &route.path, &headers, body).await;
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        return (answer.status().as_u16(), challenge.unwrap_or_default(), String::new());
    }
    let mut request = Request::new(&route.method, &route.path).body(body);
    if way == Way::Stream {
        request = request.header("accept", "text/event-stream");
    }
    if let Some((name, value)) = &header {
        request = request.header(name, value);
    }
    let answer: Answer = request.send(gateway.address()).await;
    let challenge = answer.header("www-authenticate").unwrap_or_default().to_owned();
    (answer.status, challenge, answer.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_lets_a_request_pass_that_lacks_the_right() {
    let issuer = Issuer::es256().named("current");
    let stranger = Issuer::es256().named("current");
    let unknown = Issuer::es256().named("retired");
    let keys = KeyFile::new(&key_set([&issuer]));
    let builder = Broker::Embedded.gateway().await.flag("--token-key", keys.path());
    let builder = builder.flag("--token-issuer", "https://id.example").flag("--token-audience", "push");
    // So much that fails is a guess of ids.
    let builder = builder.flag("--failure-rate", "0");
    // No level of the log has a token, over HTTP/2 neither: the harness looks for one when the gateway is dropped.
    let gateway = builder.flag("--log", "trace").start().await;
    gateway.wait_ready().await;

    let with = |changed: Value| {
        let mut claims = everything();
        let base = json!({"iss": "https://id.example", "aud": "push", "exp": seconds_from_now(3600)});
        for more in [base, changed] {
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        claims
    };
    let none = json!({"alg": "none", "kid": "current"});
    let hmac = json!({"alg": "HS256", "kid": "current"});
    let elsewhere = json!({"clients": ["other"], "read": ["other.#"], "publish": ["other.#"]});
    let topics = json!({"clients": ["*"], "read": ["other.#"], "publish": ["other.#"]});
    let cases: Vec<(&str, Option<String>, Refusal)> = vec![
        ("no token", None, NO_TOKEN),
        ("bad signature", Some(stranger.token(&with(json!({})))), BAD_TOKEN),
        ("no algorithm", Some(issuer.token_with(&none, &with(json!({})))), BAD_TOKEN),
        ("wrong algorithm", Some(issuer.token_with(&hmac, &with(json!({})))), BAD_TOKEN),
        ("expired", Some(issuer.token(&with(json!({"exp": seconds_from_now(-60)})))), BAD_TOKEN),
        ("not yet", Some(issuer.token(&with(json!({"nbf": seconds_from_now(600)})))), BAD_TOKEN),
        ("wrong issuer", Some(issuer.token(&with(json!({"iss": "https://evil.example"})))), BAD_TOKEN),
        ("wrong audience", Some(issuer.token(&with(json!({"aud": ["web"]})))), BAD_TOKEN),
        ("unknown kid", Some(unknown.token(&with(json!({})))), BAD_TOKEN),
        ("a slip in its claim", Some(issuer.token(&with(json!({"postern": {"raed": ["#"]}})))), BAD_TOKEN),
        ("foreign client", Some(issuer.token(&with(json!({"postern": elsewhere})))), NOT_INCLUDED),
        ("uncovered topic", Some(issuer.token(&with(json!({"postern": topics})))), NOT_INCLUDED),
    ];
    let good = issuer.token(&with(json!({})));
    // What the rights of a topic do not concern.
    let needs_no_topic = |route: &Route| route.path == "/clients/example" || route.method == "DELETE";
    for route in routes(&gateway).await {
        for way in [Way::Http1, Way::Http2, Way::Stream] {
            if way == Way::Stream && !route.has_stream {
                continue;
            }
            for carrier in [Carrier::Header, Carrier::Cookie] {
                for (case, token, refusal) in &cases {
                    if *case == "uncovered topic" && needs_no_topic(&route) {
                        continue;
                    }
                    let asking = ask(&gateway, &route, way, carrier, token.as_deref());
                    // A stream that is let in does not end.
                    let Ok((status, challenge, text)) = timeout(PATIENCE, asking).await else {
                        panic!("{case}: {} {} {way:?} {carrier:?} is let in", route.method, route.path)
                    };
                    let what = format!("{case}: {} {} {way:?} {carrier:?}: {text}", route.method, route.path);
                    assert_eq!((status, &*challenge), (refusal.status, refusal.challenge), "{what}");
                    if let Some(token) = token {
                        assert!(!text.contains(&token[token.len() / 2..]), "{what}");
                    }
                }
            }
        }
    }
    // None of them has left anything.
    let status = Route { method: "GET".to_owned(), path: "/clients/example".to_owned(), has_stream: false };
    let feed = Route {
        method: "GET".to_owned(),
        path: "/topics/%23/events?wait=0&last_seen=oldest".to_owned(),
        has_stream: true,
    };
    assert_eq!(ask(&gateway, &status, Way::Http1, Carrier::Header, Some(&good)).await.0, 404);
    assert_eq!(ask(&gateway, &feed, Way::Http1, Carrier::Header, Some(&good)).await.0, 204);
    // And with the right each passes, in each of the ways.
    for route in routes(&gateway).await {
        for way in [Way::Http1, Way::Http2] {
            for carrier in [Carrier::Header, Carrier::Cookie] {
                let (status, _, text) = ask(&gateway, &route, way, carrier, Some(&good)).await;
                assert!(matches!(status, 200 | 202 | 204 | 404), "{} {}: {status} {text}", route.method, route.path);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_right_is_there_without_a_token() {
    let keys = KeyFile::new(&Issuer::es256().file);
    let gateway = Broker::Embedded.gateway().await.flag("--token-key", keys.path()).start().await;
    gateway.wait_ready().await;
    for path in ["/", "/client.js", "/openapi.json", "/live", "/ready"] {
        Request::get(path).send(gateway.address()).await.expect_status(200);
        // A token that is bad does not matter where none is needed.
        Request::get(path).header("authorization", "Bearer x").send(gateway.address()).await.expect_status(200);
    }
    Request::new("OPTIONS", "/clients/example/events").send(gateway.address()).await.expect_status(204);
    Request::get("/nothing").send(gateway.address()).await.expect_status(404);
    let detail = Request::get("/metrics").send(gateway.address()).await.problem(404);
    assert!(detail.contains("--admin-listen"), "{detail}");
}

/// A refused publish leaves its body unread, and the connection cannot carry another request after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publish_ends_its_connection() {
    let keys = KeyFile::new(&Issuer::es256().file);
    let gateway = Broker::Embedded.gateway().await.flag("--token-key", keys.path()).start().await;
    gateway.wait_ready().await;
    let answer =
        Request::publish("a", "text/plain", vec![b'x'; 500_000]).send(gateway.address()).await.expect_status(401);
    assert_eq!(answer.header("connection"), Some("close"));
}
