//! The blocks of `docs/src/proxies.md` that ask a backend about sessions, with the backends of `examples/forward-auth`:
//! what a session may read gets through, and nothing else does. Each line that keeps something out is left out once.

use std::{net::SocketAddr, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use postern_tests::{
    AuthBackend, Broker, EventStream, Poll, Proxy, ProxyProgram, Reply, Request, StubGateway, World, unique,
};
use serde_json::json;

const COOKIE: &str = "theme=dark; session=a-secret-of-alice";
const HOST: &str = "localhost:8443";

/// A proxy before a gateway that answers everything and remembers it.
struct Front {
    proxy: Proxy,
    gateway: StubGateway,
}

impl Front {
    async fn new(program: ProxyProgram, backend: SocketAddr, left_out: Option<&str>) -> Self {
        let gateway = StubGateway::start(|_, _| Reply::status("204 No Content")).await;
        let proxy = Proxy::start_asking(program, gateway.address(), backend, left_out).await;
        Self { proxy, gateway }
    }

    /// Returns the status, and whether the request got through.
    async fn send(&self, request: &Request) -> (u16, bool) {
        let before = self.gateway.requests().len();
        let status = request.send(self.proxy.address()).await.status;
        (status, self.gateway.requests().len() > before)
    }

    /// Returns what is wrong with it.
    async fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for path in [
            "/clients/alice/events",
            "/clients/alice/events?topics=jobs.%23,news&wait=0&last_seen=a~b.c-d&poll=x.1",
            "/clients/alice/events?topics=jobs.%23%2Cnews",
            "/topics/jobs.%23/events?wait=0",
            "/topics/news/events",
        ] {
            let request = by_alice("GET", path).header("authorization", "Bearer x").header("host", HOST);
            let (status, passed) = self.send(&request).await;
            let Some(seen) = self.gateway.requests().pop().filter(|_| passed && status == 204) else {
                faults.push(format!("{path} is {status}"));
                continue;
            };
            let kept = ["cookie", "authorization"].map(|name| seen.header(name).unwrap_or_default().to_owned());
            if seen.target != format!("GET {path}") || kept != ["", ""] || seen.header("host") != Some(HOST) {
                faults.push(format!("{path} is {seen:?}"));
            }
        }
        for (request, expected) in attacks() {
            let (status, passed) = self.send(&request).await;
            if passed || !expected.contains(&status) {
                faults.push(format!("{status}, passed {passed}: {}", String::from_utf8_lossy(&request.bytes())));
            }
        }
        faults
    }
}

fn by_alice(method: &str, path: &str) -> Request {
    Request::new(method, path).header("cookie", COOKIE)
}

/// Returns requests that must not get through, and what they may be answered with.
fn attacks() -> Vec<(Request, &'static [u16])> {
    const NO_SESSION: &[u16] = &[401];
    const REFUSED: &[u16] = &[400, 403, 404];
    const NOT_FOUND: &[u16] = &[404];
    let own = "/clients/alice/events?topics=news";
    let mut attacks = vec![
        (Request::get(own), NO_SESSION),
        (Request::get(own).header("cookie", "session=guessed"), NO_SESSION),
        (Request::get("/topics/news/events").header("cookie", "session="), NO_SESSION),
    ];
    let to_others = [
        "/clients/bob/events",
        "/clients/bob/events?/clients/alice/events",
        "/clients/%62ob/events",
        "/clients/alice%2F..%2Fbob/events",
        "/clients/alice/../bob/events",
        "/clients/alice/%2e%2e/bob/events",
        "/clients/bob/events/",
        "/clients/./bob/events",
        "/clients//bob/events",
        "//clients/bob/events",
        "/topics/news/../../clients/bob/events",
        "http://evil.example/clients/bob/events",
        "/clients/alice/events?topics=secret",
        "/clients/alice/events?topics=news,secret",
        "/clients/alice/events?topics=news%2Csecret",
        "/clients/alice/events?topics=news&topics=secret",
        "/clients/alice/events?topics=%23",
        "/clients/alice/events?topics=*",
        "/clients/alice/events?%74opics=secret",
        "/clients/alice/events?topics%3Dsecret",
        "/clients/alice/events?;topics=secret",
        "/clients/alice/events?topics=news;topics=secret",
        "/clients/alice/events?x=1&topics=secret",
        "/clients/alice/events?topics=news+secret",
        "/clients/alice/events?topics=%ff",
        "/clients/alice/events?topics=%00",
        "/topics/secret/events",
        "/topics/%23/events",
        "/topics/news%2Csecret/events",
        "/topics/%ff/events",
        "/topics/news%2Fevents?/events",
    ];
    // As they are, and with what a backend, or this one, could take for the proxy's word.
    for path in to_others {
        attacks.push((by_alice("GET", path), REFUSED));
        for (client, topic) in [("alice", ""), ("", "news"), ("alice", "news")] {
            let forged = by_alice("GET", path).header("x-postern-client", client).header("x-postern-topic", topic);
            let forged = forged.header("x-postern-query", "topics=news").header("x-original-uri", own);
            let forged = forged.header("x-forwarded-uri", own).header("x-original-url", own);
            attacks.push((forged, REFUSED));
        }
    }
    for (method, path) in [
        ("POST", "/topics/news/events"),
        ("POST", "/clients/alice/events"),
        ("PUT", "/clients/alice/topics/news"),
        ("DELETE", "/clients/alice/topics/news"),
        ("DELETE", "/clients/alice"),
        ("GET", "/clients/alice"),
        ("GET", "/metrics"),
        ("GET", "//metrics"),
        ("GET", "/%6detrics"),
        ("GET", "/live"),
        ("GET", "/ready"),
        ("GET", "/"),
        ("GET", "/authorize"),
    ] {
        let forged = by_alice(method, path).header("x-postern-client", "alice").header("x-postern-topic", "news");
        attacks.extend([(by_alice(method, path), NOT_FOUND), (forged, NOT_FOUND)]);
    }
    attacks
}

async fn lets_through_what_a_session_may_read(program: ProxyProgram) {
    for backend in ["backend.py", "backend.mjs"] {
        let backend = AuthBackend::start(backend).await;
        assert_eq!(Front::new(program, backend.address(), None).await.faults().await, Vec::<String>::new());

        // A proxy that passes on what a client says of its id, beside a topic, opens no mailbox.
        for (client, topic) in [("bob", "news"), ("", "")] {
            let asked = by_alice("GET", "/").header("x-postern-client", client).header("x-postern-topic", topic);
            assert_eq!(asked.send(backend.address()).await.status, 403, "{client:?} {topic:?}");
        }

        // And with a real gateway.
        let world = World::without_mailbox(Broker::Embedded, |gateway| gateway.flag("--host", "push.example")).await;
        let proxy = Proxy::start_asking(program, world.gateway.address(), backend.address(), None).await;
        let cookie = |poll: Poll| poll.header("cookie", COOKIE).header("host", "push.example").request();
        let poll = Poll::of("alice").topics("jobs.#,news");
        cookie(poll.clone().wait(0)).send(proxy.address()).await.expect_status(204);
        world.backend.publish("jobs.1", r#"{"n":1}"#).await;
        let batch = cookie(poll.clone().wait(20)).send(proxy.address()).await.batch();
        assert_eq!(batch.numbers("n"), [1]);
        cookie(poll.last_seen(&batch.last_seen).wait(0)).send(proxy.address()).await.expect_status(204);
        let path = "/topics/jobs.%23/events?last_seen=oldest";
        let stream = EventStream::open_with(proxy.address(), by_alice("GET", path), "").await;
        let mut stream = stream.expect("a stream");
        assert_eq!(stream.next().await.expect("an event").data["data"], json!({"n": 1}));
        cookie(Poll::of(&unique("bob")).topics("news")).send(proxy.address()).await.expect_status(403);
    }
}

/// Leaves out each of these lines of the block once, and expects that something gets through, or nothing works.
async fn needs_each_line(program: ProxyProgram, lines: &[&'static str]) {
    let backend = AuthBackend::start("backend.py").await;
    assert_eq!(Front::new(program, backend.address(), None).await.faults().await, Vec::<String>::new());
    for line in lines {
        let faults = async { Front::new(program, backend.address(), Some(line)).await.faults().await };
        // A block that the program refuses does not work either.
        let faults = AssertUnwindSafe(faults).catch_unwind().await;
        assert!(faults.is_err() || faults.is_ok_and(|faults| !faults.is_empty()), "nothing is wrong without {line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx() {
    lets_through_what_a_session_may_read(ProxyProgram::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy() {
    lets_through_what_a_session_may_read(ProxyProgram::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_needs_each_line() {
    let lines = [
        r#""~^GET /clients/(?<id>[A-Za-z0-9._~-]+)/events(\?|$)" $id;"#,
        r#""~^GET /topics/(?<pattern>[A-Za-z0-9._*%-]+)/events(\?|$)" $pattern;"#,
        "return 404;",
        "set $query $args;",
        "auth_request /authorize;",
        "proxy_set_header Host $http_host;",
        r#"proxy_set_header Cookie "";"#,
        r#"proxy_set_header Authorization "";"#,
        "internal;",
        "proxy_set_header X-Postern-Client $client;",
        "proxy_set_header X-Postern-Topic $topic;",
        "proxy_set_header X-Postern-Query $query;",
    ];
    needs_each_line(ProxyProgram::Nginx, &lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_needs_each_line() {
    let lines = [
        r#"header_up X-Postern-Client "{args.0}""#,
        r#"header_up X-Postern-Topic "{args.1}""#,
        r#"header_up X-Postern-Query "{http.request.orig_uri.query}""#,
        "header_up -Cookie",
        "header_up -Authorization",
        "method GET",
        r"vars_regexp client {http.request.orig_uri} ^/clients/([A-Za-z0-9._~-]+)/events(\?|$)",
        r"vars_regexp topic {http.request.orig_uri} ^/topics/([A-Za-z0-9._*%-]+)/events(\?|$)",
        "respond 404",
    ];
    needs_each_line(ProxyProgram::Caddy, &lines).await;
}
