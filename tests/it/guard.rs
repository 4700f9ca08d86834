//! What a page of another origin has a browser send is refused, and leaves everything as it was.
//!
//! On the embedded broker alone: a refused request asks no broker.

mod pages;
mod world;

use std::time::Duration;

use http_body_util::BodyExt;
use postern_tests::{Answer, Broker, Gateway, Http2Connection, HttpConnection, Request, eventually, unique};

use self::world::World;

const APP: &str = "https://app.example";
const ORIGIN: &str = "origin";
const SITE: &str = "sec-fetch-site";

type Headers = &'static [(&'static str, &'static str)];

/// Headers that a browser sends for a page which is not let in, the status of the refusal, and a word of its remedy.
const FOREIGN: [(Headers, u16, &str); 10] = [
    (&[("host", "evil.example")], 421, "--host evil.example"),
    (&[("host", "evil.example:8080"), (ORIGIN, "http://evil.example:8080"), (SITE, "same-origin")], 421, "--host"),
    (&[("host", "localhost.evil.example"), (SITE, "none")], 421, "--host"),
    (&[(ORIGIN, "https://evil.example"), (SITE, "cross-site")], 403, "--allow-origin https://evil.example"),
    (&[(ORIGIN, "http://localhost:3000"), (SITE, "same-site")], 403, "--allow-origin http://localhost:3000"),
    (&[(ORIGIN, "https://evil.example")], 403, "its Host header"),
    (&[(ORIGIN, "null")], 403, "--allow-origin '*'"),
    (&[(SITE, "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], 403, "Sec-Fetch-Site"),
    (&[(SITE, "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], 403, "--allow-origin"),
    (&[(SITE, "cross-site")], 403, "fetch or EventSource"),
];

/// What such a page may want done, for a client that holds a poll, and what only looks.
fn wishes(world: &World) -> Vec<(&'static str, String, Headers, &'static str)> {
    let World { client, topic, stranger, .. } = world;
    let poll = format!("/clients/{client}/events?wait=0");
    let make = format!("/clients/{stranger}/events?topics=%23&wait=0");
    let (get, stream): (Headers, Headers) = (&[], &[("accept", "text/event-stream")]);
    vec![
        ("POST", format!("/topics/{topic}.evil/events"), &[("content-type", "text/plain")], "evil"),
        ("GET", make.clone(), get, ""),
        ("GET", make, stream, ""),
        ("GET", poll.clone(), get, ""),
        ("GET", poll, stream, ""),
        ("PUT", format!("/clients/{stranger}/topics/{topic}"), get, ""),
        ("PUT", format!("/clients/{client}/topics/{topic}.evil"), get, ""),
        ("DELETE", format!("/clients/{client}/topics/{topic}.mine"), get, ""),
        ("DELETE", format!("/clients/{client}"), get, ""),
        ("GET", format!("/clients/{client}"), get, ""),
        ("GET", format!("/topics/{topic}/events?wait=0"), get, ""),
        ("GET", format!("/topics/{topic}/events"), stream, ""),
        ("OPTIONS", format!("/topics/{topic}/events"), &[("access-control-request-method", "PUT")], ""),
        ("OPTIONS", "/clients/a/topics/b".to_owned(), get, ""),
        ("GET", "/metrics".to_owned(), get, ""),
        ("GET", "/openapi.json".to_owned(), get, ""),
        ("POST", "/client.js".to_owned(), get, ""),
        ("POST", "/".to_owned(), get, "evil"),
        ("PATCH", "/nothing".to_owned(), get, ""),
        ("GET", "//live".to_owned(), get, ""),
    ]
}

fn told(answer: &Answer, name: &str) -> Option<String> {
    answer.header(name).map(str::to_owned)
}

/// Checks a refusal; `header` gives its headers.
#[track_caller]
fn is_refused(what: &str, header: impl Fn(&str) -> Option<String>, detail: &str, remedy: &str) {
    assert!(detail.contains(remedy), "{what}: {detail}");
    for name in ["access-control-allow-origin", "access-control-allow-methods", "access-control-allow-credentials"] {
        assert_eq!(header(name), None, "{what}: {name}");
    }
    let policies = ["cache-control", "cross-origin-resource-policy", "x-content-type-options", "referrer-policy"];
    let expected = ["no-store", "same-origin", "nosniff", "no-referrer"].map(|policy| Some(policy.to_owned()));
    assert_eq!(policies.map(header), expected, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_has_no_effect_over_http_1_1() {
    let mut world = World::new(&[]).await;
    let from = world.gateway.log().len();
    for (method, path, headers, body) in wishes(&world) {
        for (foreign, status, remedy) in FOREIGN {
            let what = format!("{method} {path} {headers:?} {foreign:?}");
            let request = headers
                .iter()
                .chain(foreign)
                .fold(Request::new(method, &path), |request, (name, value)| request.header(name, value));
            let answer = request.body(body).send(world.gateway.address()).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            is_refused(&what, |name| told(&answer, name), &answer.problem(status), remedy);
        }
    }
    world.is_as_it_was().await;
    assert_eq!(&world.gateway.log().lines()[from..], &[] as &[String], "a page can fill no log");
    let metrics = Request::get("/metrics").send(world.gateway.address()).await.text();
    let wishes = wishes(&world).len();
    for (what, ways) in [("unknown_host", 3), ("origin", 4), ("cross_site", 3), ("wrong_host", 0)] {
        let line = format!("postern_refused_by_guard_total{{what=\"{what}\"}} {}\n", ways * wishes);
        assert!(metrics.contains(&line), "no {line} in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_has_no_effect_over_http_2() {
    let mut world = World::new(&[]).await;
    let connection = Http2Connection::open(world.gateway.address()).await;
    for (method, path, headers, body) in wishes(&world) {
        for (foreign, status, remedy) in FOREIGN {
            let what = format!("{method} {path} {headers:?} {foreign:?}");
            let host = foreign.iter().find(|(name, _)| *name == "host").map_or("localhost", |(_, host)| host);
            let rest = foreign.iter().filter(|(name, _)| *name != "host");
            let sent: Vec<_> = headers.iter().chain(rest).copied().collect();
            let answer = connection.send_to(host, method, &path, &sent, body).await;
            assert_eq!(answer.status().as_u16(), status, "{what}: {answer:?}");
            let (head, body) = answer.into_parts();
            let problem = body.collect().await.unwrap().to_bytes();
            let detail: serde_json::Value = serde_json::from_slice(&problem).unwrap();
            let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            is_refused(&what, header, detail["detail"].as_str().unwrap(), remedy);
        }
    }
    // A host in a header beside `:authority` has to be the same one.
    for (authority, host) in [("localhost", "evil.example"), ("evil.example", "localhost")] {
        let answer = connection.send_to(authority, "GET", "/", &[("host", host)], "").await;
        assert_eq!(answer.status(), 400, "{authority} {host}");
    }
    assert_eq!(connection.send("GET", "/", &[("host", "localhost")], "").await.status(), 200);
    world.is_as_it_was().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_exactly_one_host_that_can_be_one() {
    let mut world = World::new(&[]).await;
    let path = format!("/clients/{}/events?topics=%23&wait=0", world.stranger);
    let ask = async |line: &str, hosts: &str| {
        let mut connection = HttpConnection::open(world.gateway.address()).await;
        connection.send(format!("{line}\r\n{hosts}\r\n").as_bytes()).await;
        connection.answer().await
    };
    for (version, hosts, remedy) in [
        ("1.1", "", "Host: it is missing"),
        ("1.0", "", "Host: it is missing"),
        ("1.1", "host:\r\n", "no host and port"),
        ("1.1", "host: a b\r\n", "no host and port"),
        ("1.1", "host: http://localhost\r\n", "no host and port"),
        ("1.1", "host: user@localhost\r\n", "no host and port"),
        ("1.1", "host: localhost:99999\r\n", "no host and port"),
        ("1.1", "host: localhost\r\nhost: localhost\r\n", "given twice"),
    ] {
        let answer = ask(&format!("GET {path} HTTP/{version}"), hosts).await;
        let detail = answer.problem(400);
        assert!(detail.contains(remedy), "{version} {hosts:?}: {detail}");
    }
    let answer = ask(&format!("GET http://localhost{path} HTTP/1.1"), "host: evil.example\r\n").await;
    assert!(answer.problem(400).contains("Host: it is not localhost"));
    world.is_as_it_was().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_and_the_gateways_own_page_pass_under_its_own_names() {
    let world = World::new(&[]).await;
    let address = world.gateway.address();
    let names = ["localhost".to_owned(), "LOCALHOST:1".to_owned(), "127.0.0.1".to_owned(), address.to_string()];
    for host in names.iter().map(String::as_str).chain(["[::1]", "[::1]:8080"]) {
        for origin in [None, Some(format!("http://{}", host.to_lowercase()))] {
            let mut request =
                Request::publish(&format!("{}.own", world.topic), "text/plain", "own").header("host", host);
            if let Some(origin) = &origin {
                request = request.header(ORIGIN, origin).header(SITE, "same-origin");
            }
            request.send(address).await.expect_status(202);
        }
    }
    // A page behind a proxy that has TLS.
    let page = Request::publish(&format!("{}.own", world.topic), "text/plain", "own");
    page.header(ORIGIN, "https://localhost").send(address).await.expect_status(202);
    for site in ["same-origin", "none"] {
        for path in ["/", "/client.js", "/metrics", "/topics/a/events?wait=0"] {
            let answer = Request::get(path).header(SITE, site).send(address).await;
            assert!([200, 204].contains(&answer.status), "{path} {site}: {answer:?}");
        }
    }
    // A link from elsewhere leads to the page, and to nothing else; and no frame shows it.
    let link = |path: &str, dest: &str| {
        let request = Request::get(path).header(SITE, "cross-site").header("sec-fetch-mode", "navigate");
        request.header("sec-fetch-dest", dest)
    };
    link("/?topics=a", "document").send(address).await.expect_status(200);
    link("/", "iframe").send(address).await.problem(403);
    link("/openapi.json", "document").send(address).await.problem(403);
    // The proxy in front of a page may have replaced the host under which the page loads the client.
    let module = Request::get("/client.js").header(ORIGIN, APP).header("sec-fetch-mode", "cors");
    for site in ["same-origin", "cross-site"] {
        let answer = module.clone().header(SITE, site).send(address).await.expect_status(200);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // A supervisor asks as it likes.
    for path in ["/live", "/ready"] {
        let request = Request::get(path).header("host", "10.0.0.7:8080").header(ORIGIN, APP).header(SITE, "cross-site");
        let answer = request.send(address).await.expect_status(200);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        let mut connection = HttpConnection::open(address).await;
        connection.send(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await;
        connection.answer().await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_that_are_named_are_let_in_and_a_star_lets_in_all_without_cookies() {
    for (flags, cookies) in [(&["--allow-origin", APP][..], Some("true")), (&["--allow-origin", "*"], None)] {
        let mut world = World::new(flags).await;
        let address = world.gateway.address();
        let page = |request: Request| request.header(ORIGIN, APP).header(SITE, "cross-site");
        let publish = Request::publish(&format!("{}.app", world.topic), "text/plain", "app");
        let answer = page(publish).send(address).await.expect_status(202);
        // By `sendBeacon` the page gets an answer that it cannot read.
        for (name, value) in [
            ("access-control-allow-origin", Some(flags[1])),
            ("access-control-allow-credentials", cookies),
            ("cross-origin-resource-policy", Some("cross-origin")),
        ] {
            assert_eq!(answer.header(name), value, "{flags:?}: {name}");
        }
        page(Request::get("/client.js")).send(address).await.expect_status(200);
        Request::get("/client.js").header(SITE, "cross-site").send(address).await.expect_status(200);
        let preflight = Request::new("OPTIONS", "/clients/a/events").header("access-control-request-method", "GET");
        let allowed = page(preflight.clone()).send(address).await.expect_status(204);
        assert_eq!(allowed.header("access-control-allow-credentials"), cookies);
        // Without the CORS protocol a page does not say which one it is.
        let path = format!("/clients/{}/events?wait=0", world.client);
        Request::get(&path).header(SITE, "cross-site").send(address).await.problem(403);
        let of_null = preflight.header(ORIGIN, "null").send(address).await;
        assert_eq!(of_null.status, if cookies.is_some() { 403 } else { 204 }, "{of_null:?}");
        // Its name is another matter.
        let rebound = Request::get(&path).header("host", "evil.example").header(ORIGIN, APP);
        rebound.send(address).await.problem(421);
        world.held_poll_gets("app").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_added_on_loopback_and_checked_elsewhere_once_there_is_one() {
    let ask = async |gateway: &Gateway, host: &str| {
        Request::get("/topics/a/events?wait=0").header("host", host).send(gateway.address()).await.status
    };
    let start = async |flags: &[&str]| {
        let gateway = Broker::Embedded.gateway().await;
        let gateway = flags.iter().fold(gateway, |gateway, flag| gateway.switch(flag)).start().await;
        gateway.wait_ready().await;
        gateway
    };
    let loopback = start(&["--host", "push.example,[fd00::1]"]).await;
    for (host, status) in [
        ("push.example", 204),
        ("Push.Example:8443", 204),
        ("[fd00::1]:80", 204),
        ("localhost", 204),
        ("evil.example", 421),
    ] {
        assert_eq!(ask(&loopback, host).await, status, "{host}");
    }
    let open = ["--allow-anonymous", "--listen", "0.0.0.0:0"];
    let anywhere = start(&open).await;
    for host in ["push.example", "localhost", "10.0.0.1"] {
        assert_eq!(ask(&anywhere, host).await, 204, "{host}");
    }
    // An old program that names no host is let in where any will do.
    let mut connection = HttpConnection::open(anywhere.address()).await;
    connection.send(b"GET /topics/a/events?wait=0 HTTP/1.0\r\n\r\n").await;
    connection.answer().await.expect_status(204);
    let named = start(&[&open[..], &["--host", "push.example", "--host", "localhost"]].concat()).await;
    for (host, status) in [("push.example", 204), ("localhost", 204), ("127.0.0.1", 421), ("evil.example", 421)] {
        assert_eq!(ask(&named, host).await, status, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_maximum_of_connections_the_guard_stands_as_well() {
    let gateway = Broker::Embedded.gateway().await.flag("--max-connections", "1").start().await;
    gateway.wait_ready().await;
    let mut only = eventually(Duration::from_secs(5), "a free place", async || {
        let mut connection = HttpConnection::open(gateway.address()).await;
        let answer = connection.request(&Request::get("/live")).await;
        if answer.header("connection").is_none() { Ok(connection) } else { Err(answer) }
    })
    .await;
    let events = format!("/topics/{}/events?wait=0&last_seen=oldest", unique("evil"));
    let foreign = [Request::new("POST", events.split('?').next().unwrap()).body("evil"), Request::get(&events)];
    for request in foreign {
        request.header(ORIGIN, APP).send(gateway.address()).await.problem(403);
    }
    only.request(&Request::get(&events)).await.expect_status(204);
}
