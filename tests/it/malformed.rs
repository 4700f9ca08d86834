//! Requests that are wrong in every way the contract knows: each gets its status and words that help, and none of them
//! disturbs a poll that is held all the while.

use std::time::Duration;

use postern_tests::{Answer, Broker, Gateway, Http2Connection, HttpConnection, Poll, Request, on_both_brokers, unique};

const MAX_BODY: usize = 1000;

async fn gateway(broker: Broker) -> Gateway {
    let gateway = broker.gateway().await.flag("--max-body", MAX_BODY.to_string()).start().await;
    gateway.wait_ready().await;
    gateway
}

/// Runs a part of the table while a poll is held; at the end that poll gets its event.
async fn undisturbed(broker: Broker, part: impl AsyncFnOnce(&Gateway)) {
    let gateway = gateway(broker).await;
    let topic = unique("undisturbed");
    let poll = Poll::of(&unique("alice")).topics(&topic).wait(55);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    let mut held = poll.hold(&gateway).await;
    assert!(held.is_silent(Duration::from_millis(100)).await);
    part(&gateway).await;
    Request::publish(&topic, "application/json", r#"{"n":1}"#).send(gateway.address()).await.expect_status(202);
    assert_eq!(held.answer().await.batch().numbers("n"), [1]);
}

/// Checks a problem: its status, a detail with these words, and the members that RFC 9457 names.
#[track_caller]
fn is_problem(what: &str, answer: &Answer, status: u16, words: &str) {
    let detail = answer.problem(status);
    assert!(detail.contains(words), "{what}: {words:?} is not in {detail:?}");
    let json = answer.json();
    assert_eq!((&json["status"], &json["type"]), (&status.into(), &"about:blank".into()), "{what}");
    assert!(json["title"].as_str().is_some_and(|title| !title.is_empty()), "{what}: {json}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

on_both_brokers!(wrong_paths_and_parameters_are_named);
async fn wrong_paths_and_parameters_are_named(broker: Broker) {
    undisturbed(broker, async |gateway| {
        let events = |client: &str| format!("/clients/{client}/events?topics=a&wait=0");
        let alice = |query: &str| format!("/clients/alice/events?wait=0&{query}");
        let topics = |count: usize| vec!["a"; count].join(",");
        let table: Vec<(&str, String, u16, &str)> = vec![
            ("GET", events(""), 400, "client: "),
            ("GET", events(&"c".repeat(129)), 400, "client: a client id has 1 to 128 bytes"),
            ("GET", events("a%20b"), 400, "client: "),
            ("GET", events("a%0d%0aX-Injected:%201"), 400, "client: "),
            ("GET", events("a%2Fb"), 400, "client: "),
            ("GET", events("a%00"), 400, "client: "),
            ("GET", events("%C3%A4"), 400, "client: "),
            ("GET", events("a%ffb"), 400, "path: "),
            ("GET", events("."), 400, "client: \".\" cannot be an id"),
            ("GET", events("%2e%2E"), 400, "client: \"..\" cannot be an id"),
            ("GET", format!("/{}", events("alice")), 404, "/clients/{client}/events"),
            ("GET", format!("///{}", events("alice")), 404, "/clients/{client}/events"),
            ("GET", "//metrics".to_owned(), 404, "/clients/{client}/events"),
            ("GET", "/./metrics".to_owned(), 404, "/clients/{client}/events"),
            ("GET", "/x/../metrics".to_owned(), 404, "/clients/{client}/events"),
            ("GET", "http://elsewhere.example/metrics".to_owned(), 400, "Host: it is not elsewhere.example"),
            ("GET", "/clients/a%20b".to_owned(), 400, "client: "),
            ("DELETE", "/clients/a%20b".to_owned(), 400, "client: "),
            ("PUT", "/clients/a%20b/topics/x".to_owned(), 400, "client: "),
            ("PUT", "/clients/alice/topics/a..b".to_owned(), 400, "topic pattern: "),
            ("PUT", "/clients/alice/topics/a%2Ab".to_owned(), 400, "topic pattern: "),
            ("DELETE", "/clients/alice/topics/a%20b".to_owned(), 400, "topic pattern: "),
            ("PUT", format!("/clients/alice/topics/{}", "t".repeat(256)), 400, "1 to 255 bytes"),
            ("POST", "/topics//events".to_owned(), 400, "topic: "),
            ("POST", "/topics/a..b/events".to_owned(), 400, "topic: "),
            ("POST", "/topics/a.%2A/events".to_owned(), 400, "topic: "),
            ("POST", "/topics/a%0d%0ab/events".to_owned(), 400, "topic: "),
            ("POST", format!("/topics/{}/events", "t".repeat(256)), 400, "1 to 255 bytes"),
            ("GET", "/clients/alice/events?wait=0&topics=".to_owned(), 400, "topics: "),
            ("GET", alice("topics=a,,b"), 400, "topics: "),
            ("GET", alice("topics=a%20b"), 400, "topics: "),
            ("GET", alice("topics=a%ff"), 400, "topics: "),
            ("GET", alice("topics=a.b%2A"), 400, "topics: "),
            ("GET", alice(&format!("topics={}", topics(65))), 400, "topics: at most 64 patterns, not 65"),
            ("GET", "/clients/alice/events?wait=56".to_owned(), 400, "wait: a whole number from 0 to 55"),
            ("GET", "/clients/alice/events?wait=-1".to_owned(), 400, "wait: "),
            ("GET", "/clients/alice/events?wait=x".to_owned(), 400, "wait: "),
            ("GET", "/clients/alice/events?wait=1.5".to_owned(), 400, "not \"1.5\""),
            ("GET", "/clients/alice/events?wait=99999999999999999999".to_owned(), 400, "wait: "),
            ("GET", alice("limit=0"), 400, "limit: a whole number from 1 to 500"),
            ("GET", alice("limit=501"), 400, "limit: "),
            ("GET", alice("poll="), 400, "poll: it looks like <instance>.<n>"),
            ("GET", alice("poll=7"), 400, "poll: "),
            ("GET", alice("poll=tab."), 400, "poll: "),
            ("GET", alice("poll=a%20b.1"), 400, "poll: "),
            ("GET", alice(&format!("poll={}.1", "i".repeat(65))), 400, "poll: "),
            ("GET", alice(&format!("last_seen={}", "x".repeat(129))), 400, "last_seen: "),
            ("GET", alice("last_seen=a%20b"), 400, "last_seen: "),
            ("GET", alice("last_seen=a%0d%0ab"), 400, "last_seen: "),
            ("GET", alice("topics=a&topics=b"), 400, "topics: it is given twice"),
            ("GET", alice("limit=1&limit=1"), 400, "limit: it is given twice"),
            ("GET", alice("last_seen=a&last_seen=b"), 400, "last_seen: it is given twice"),
            ("GET", alice("%77ait=1"), 400, "wait: it is given twice"),
            ("GET", alice("limt=3"), 400, "did you mean limit?"),
            ("GET", alice("lastSeen=x"), 400, "did you mean last_seen?"),
            ("GET", "/topics/a/events?latest=fold".to_owned(), 400, "last_seen"),
            ("GET", "/topics/a/events?topics=b".to_owned(), 400, "are in its path"),
            ("GET", alice("fold=latest"), 400, "only feeds are folded"),
            ("GET", "/topics/jobs./events".to_owned(), 400, "in a URL, # is written %23"),
            ("GET", "/clients/alice/events?topics=jobs.".to_owned(), 400, "in a URL, # is written %23"),
            ("GET", "/topics/jobs.".to_owned(), 404, "/topics/{topic}/events"),
            ("GET", "/topics/".to_owned(), 404, "# is written %23"),
            ("GET", "/".to_owned() + "nothing", 404, "/clients/{client}/events"),
            ("GET", "/clients/alice/events/".to_owned(), 404, "/clients/{client}/events"),
            ("GET", "/clients/alice/topics/a/b".to_owned(), 404, "/clients/{client}/events"),
            ("GET", format!("/clients/{}/events?wait=0", unique("stranger")), 404, "name topics"),
            ("GET", format!("/clients/{}", unique("stranger")), 404, "name topics"),
        ];
        let mut connection = HttpConnection::open(gateway.address()).await;
        for (method, target, status, words) in &table {
            let answer = connection.request(&Request::new(method, target)).await;
            is_problem(&format!("{method} {target}"), &answer, *status, words);
            assert_eq!(answer.header("x-injected"), None);
        }
        // A whole URL is as good as its path, if it is that of the host.
        let head = "GET http://HERE:80/live HTTP/1.1\r\nhost: here:80\r\n\r\n";
        connection.send(head.as_bytes()).await;
        connection.answer().await.expect_status(200);
        connection.send(b"GET /live HTTP/1.1\r\nhost: here\r\nhost: there\r\n\r\n").await;
        is_problem("two hosts", &connection.answer().await, 400, "Host: it is given twice");
        // What is at the limit is not past it.
        let long = [events(&"c".repeat(128)), alice(&format!("topics={}", topics(64))), alice("topics=a&limit=500")];
        // And what keeps caches away is left alone.
        for right in long.into_iter().chain([alice("topics=a&_=1796")]) {
            assert_eq!(connection.request(&Request::get(&right)).await.status, 204, "{right}");
        }
    })
    .await;
}

on_both_brokers!(wrong_headers_and_bodies_are_named);
async fn wrong_headers_and_bodies_are_named(broker: Broker) {
    undisturbed(broker, async |gateway| {
        let get = || Request::get("/clients/alice/events?topics=a&wait=0");
        let post = |content_type: &str, body: &str| Request::publish("a", content_type, body);
        let json = |body: &str| post("application/json", body);
        let event_id = |id: &str| json("1").header("Event-Id", id);
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let table: Vec<(&str, Request, u16, &str)> = vec![
            ("a long token", get().header("Last-Event-ID", &"x".repeat(129)), 400, "Last-Event-ID: "),
            ("a wrong token", get().header("Last-Event-ID", "a b"), 400, "echo the one of the last answer"),
            ("a token that is no ASCII", get().header("Last-Event-ID", "ä"), 400, "Last-Event-ID: it is not ASCII"),
            ("no JSON", json("{oops"), 400, "not one JSON value"),
            ("a slip in JSON", json("{\n  \"a\": 1,\n}"), 400, "trailing comma at line 3 column 1"),
            ("a number beyond all", json("[1e999]"), 400, "number out of range at line 1 column 6"),
            ("no JSON of a +json type", post("application/ld+json; charset=utf-8", "oops"), 400, "not one JSON value"),
            ("nothing", json(""), 400, "not one JSON value"),
            ("two values", json("1 2"), 400, "not one JSON value"),
            ("a lone surrogate", json(r#""\ud800""#), 400, "not one JSON value"),
            ("deep nesting", json(&nested(62)), 400, "61 levels"),
            ("no UTF-8", Request::publish("a", "application/json", b"\"\xff\"".to_vec()), 400, "not one JSON value"),
            ("a long content type", post(&"t".repeat(256), "1"), 400, "Content-Type: "),
            ("a content type that is no ASCII", post("text/ä", "1"), 400, "Content-Type: "),
            ("an id that is too long", event_id(&"x".repeat(256)), 400, "Event-Id: 1 to 255 characters"),
            ("an empty id", event_id(""), 400, "Event-Id: "),
            ("an id that is no ASCII", event_id("ä"), 400, "Event-Id: "),
        ];
        let mut connection = HttpConnection::open(gateway.address()).await;
        for (what, request, status, words) in &table {
            is_problem(what, &connection.request(request).await, *status, words);
        }
        let right = [json(&nested(61)), event_id(" 01890A5D-AC96-774B-BCCE-B302099A8057 "), post("text/plain", "")];
        for request in right {
            assert_eq!(connection.request(&request).await.status, 202, "{request:?}");
        }
    })
    .await;
}

on_both_brokers!(wrong_methods_are_told_the_right_ones);
async fn wrong_methods_are_told_the_right_ones(broker: Broker) {
    undisturbed(broker, async |gateway| {
        for (method, path, allowed) in [
            ("POST", "/clients/alice/events", "GET"),
            ("PATCH", "/clients/alice/events", "GET"),
            ("POST", "/clients/alice", "GET, DELETE"),
            ("GET", "/clients/alice/topics/a", "PUT, DELETE"),
            ("PURGE", "/topics/a/events", "POST"),
            ("POST", "/live", "GET, HEAD"),
            ("DELETE", "/ready", "GET, HEAD"),
            ("PUT", "/metrics", "GET, HEAD"),
        ] {
            let answer = Request::new(method, path).send(gateway.address()).await;
            is_problem(&format!("{method} {path}"), &answer, 405, allowed);
            let allow = answer.header("allow").expect("a 405 names the methods");
            assert!(allowed.split(", ").all(|each| allow.split(", ").any(|other| other == each)), "{path}: {allow}");
        }
        let mut connection = HttpConnection::open(gateway.address()).await;
        connection.send(&Request::new("HEAD", "/clients/alice/events?topics=a&wait=0").bytes()).await;
        let head = connection.head().await;
        assert_eq!((head.status, head.header("allow")), (405, Some("GET")));
        // An answer to HEAD has no body: the next answer follows at once.
        assert_eq!(connection.request(&Request::get("/live")).await.status, 200);
    })
    .await;
}

on_both_brokers!(what_has_a_body_that_cannot_be_used_is_answered_and_hung_up_on);
async fn what_has_a_body_that_cannot_be_used_is_answered_and_hung_up_on(broker: Broker) {
    undisturbed(broker, async |gateway| {
        let get = "GET /clients/alice/events?topics=a&wait=0 HTTP/1.1\r\nhost: localhost\r\n";
        let post = "POST /topics/a/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n";
        let large = "x".repeat(MAX_BODY + 1);
        let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
        let no_body = "this request takes no body";
        let table = [
            ("GET with a length", format!("{get}content-length: 2\r\n\r\n{{}}"), 400, no_body),
            ("GET whose body does not come", format!("{get}content-length: 2\r\n\r\n"), 400, no_body),
            ("GET in chunks", format!("{get}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"), 400, no_body),
            ("GET in chunks that do not come", format!("{get}transfer-encoding: chunked\r\n\r\n"), 400, no_body),
            (
                "PUT for POST",
                get.replace("GET /clients/alice", "PUT /topics/a") + "content-length: 2\r\n\r\n{}",
                405,
                "POST",
            ),
            ("too large", format!("{post}content-length: {}\r\n\r\n{large}", large.len()), 413, "at most 1000 bytes"),
            ("too large by its own word", format!("{post}content-length: 9999999999\r\n\r\n"), 413, "--max-body"),
            ("too large in chunks", format!("{post}transfer-encoding: chunked\r\n\r\n{chunk}"), 413, "--max-body"),
        ];
        for (what, bytes, status, words) in &table {
            let mut connection = HttpConnection::open(gateway.address()).await;
            connection.send(bytes.as_bytes()).await;
            is_problem(what, &connection.answer().await, *status, words);
            connection.left().await;
        }
        // As large as may be.
        let fits = Request::publish("a", "text/plain", &large[1..]).send(gateway.address()).await;
        assert_eq!(fits.status, 202);
    })
    .await;
}

/// Requests whose heads have so many bytes: with many headers, a long target, a long header.
fn heads(length: usize) -> [Vec<u8>; 3] {
    let count = (length / 500).min(60);
    let many = (0..count).fold(Request::get("/live"), |request, n| request.header(&format!("x-{n}"), &"y".repeat(400)));
    let shapes: [&dyn Fn(&str) -> Request; 3] =
        [&|fill| many.clone().header("x", fill), &|fill| Request::get(&format!("/live?{fill}")), &|fill| {
            Request::get("/live").header("x", fill)
        }];
    shapes.map(|shape| shape(&"x".repeat(length - shape("").bytes().len())).bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_at_most_32_kib_and_not_a_byte_more_however_it_comes() {
    const MAX: usize = 32 * 1024;
    let gateway = gateway(Broker::Embedded).await;
    for (length, status) in [(MAX - 1, 200), (MAX, 200), (MAX + 1, 431), (40_000, 431), (60_000, 431)] {
        for (n, head) in heads(length).into_iter().enumerate() {
            assert_eq!(head.len(), length, "{n}");
            // What the connection has carried before leaves its buffer in different sizes.
            for before in [None, Some(200), Some(20_000), Some(MAX)] {
                for piece in [head.len(), 1500] {
                    let what = format!("{length} bytes, {n}, in pieces of {piece}, after {before:?}");
                    let mut connection = HttpConnection::open(gateway.address()).await;
                    if let Some([first, ..]) = before.map(heads) {
                        connection.send(&first).await;
                        assert_eq!(connection.answer().await.status, 200, "{what}");
                    }
                    // A gateway that has refused reads no more.
                    for piece in head.chunks(piece) {
                        let _ = connection.send_unless_left(piece).await;
                    }
                    assert_eq!(connection.answer().await.status, status, "{what}");
                    if status == 431 {
                        connection.left().await;
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_a_header_counts_as_32_bytes_more_and_a_connection_outlives_a_head_that_is_too_large() {
    let gateway = gateway(Broker::Embedded).await;
    let connection = Http2Connection::open(gateway.address()).await;
    // `:method`, `:scheme`, `:authority`, `:path` and `x`, with their values.
    let others = [":methodGET", ":schemehttp", ":authoritylocalhost", ":path/live", "x"];
    let rest = 32 * 1024 - others.map(|header| header.len() + 32).iter().sum::<usize>();
    // h2 takes less than the bound, and not the bound itself.
    for (length, status) in [(rest - 1, 200), (rest, 431), (40_000, 431)] {
        let answer = connection.send("GET", "/live", &[("x", &"y".repeat(length))], "").await;
        assert_eq!(answer.status().as_u16(), status, "{length} bytes");
    }
    assert_eq!(connection.get("/live").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_the_server_are_the_methods_that_it_knows() {
    let gateway = gateway(Broker::Embedded).await;
    let answer = Request::new("OPTIONS", "*").send(gateway.address()).await.expect_status(204);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, DELETE"));
    for method in ["GET", "PUT"] {
        Request::new(method, "*").send(gateway.address()).await.problem(404);
    }
}

on_both_brokers!(what_is_no_http_is_refused_by_status_or_by_hanging_up);
async fn what_is_no_http_is_refused_by_status_or_by_hanging_up(broker: Broker) {
    undisturbed(broker, async |gateway| {
        let get = "GET /live HTTP/1.1\r\nhost: localhost\r\n";
        let post = "POST /topics/a/events HTTP/1.1\r\nhost: localhost\r\n";
        for (what, bytes, statuses) in [
            ("garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\r\n\r\n".to_owned(), &[400][..]),
            ("no version", "GET /live\r\n\r\n".to_owned(), &[400]),
            ("a header without a colon", format!("{get}oops\r\n\r\n"), &[400]),
            ("a header with a space before the colon", format!("{get}a : b\r\n\r\n"), &[400]),
            ("two lengths", format!("{post}content-length: 1\r\ncontent-length: 2\r\n\r\nab"), &[400]),
            ("a length that is no number", format!("{post}content-length: x\r\n\r\nab"), &[400]),
            ("a large header", format!("{get}x: {}\r\n\r\n", "x".repeat(100_000)), &[431]),
            ("many headers", format!("{get}{}\r\n", "x: y\r\n".repeat(2000)), &[431]),
            ("a long target", format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)), &[414, 431]),
        ] {
            let mut connection = HttpConnection::open(gateway.address()).await;
            connection.send(bytes.as_bytes()).await;
            let answer = connection.answer().await;
            assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
            connection.left().await;
        }
        // A body that ends early is answered as far as the client listens, and is no event.
        let mut connection = HttpConnection::open(gateway.address()).await;
        connection.send(format!("{post}content-length: 10\r\n\r\nab").as_bytes()).await;
        connection.finish_sending().await;
        connection.answer().await.problem(400);
    })
    .await;
}
