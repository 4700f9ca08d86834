//! The publisher over HTTP: nothing but a gateway is needed, and the promises are the same.

use std::{collections::HashMap, time::Duration};

use postern_tests::{
    Batch, Broker, EventView, Publisher, Reply, Request, RunningPublisher, SeenRequest, StubGateway, eventually,
    eventually_eq, on_both_brokers, unique,
};
use serde_json::Value;

use super::{SOON, World, ended};

/// A client, and a gateway that takes events of at most so many bytes.
async fn world_with(broker: Broker, max_body: &str) -> World {
    let gateway = broker.gateway().await.flag("--max-body", max_body).start().await;
    gateway.wait_ready().await;
    let world = World { gateway, url: String::new(), client: unique("alice"), topic: unique("builds") };
    world.poll().wait(0).send(&world.gateway).await.expect_status(204);
    world
}

async fn world(broker: Broker) -> World {
    world_with(broker, "1000000").await
}

async fn small_world(broker: Broker) -> World {
    world_with(broker, "1000").await
}

on_both_brokers!(emit_prints_the_id_under_which_the_event_arrives);
async fn emit_prints_the_id_under_which_the_event_arrives(broker: Broker) {
    for (arguments, content_type, data) in [
        (&["{ \"n\": 1.00 }"][..], None, Some("{ \"n\": 1.00 }")),
        (&["hello"], Some("text/plain; charset=utf-8"), None),
        (&["<p>", "--content-type", "text/html"], Some("text/html"), None),
        (&[], Some("text/plain; charset=utf-8"), None),
    ] {
        let world = world(broker).await;
        let topic = format!("{}.one", world.topic);
        let finished = world.http_publisher(&[&["emit", topic.as_str()], arguments].concat()).run().await;
        ended(&finished, 0, "published 1 event in ");
        let event = match data {
            Some(json) => world.reads_json(&[json]).await.remove(0),
            None => world.reads(1).await.remove(0),
        };
        assert_eq!((format!("{}\n", event.id), event.content_type.as_deref()), (finished.stdout, content_type));
        assert_eq!(event.topic, topic);
    }
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let world = world(broker).await;
    let repeat = world.http_publisher(&["emit", &world.topic, "1", "--repeat-of", id, "--quiet"]).run().await;
    assert_eq!((repeat.stdout.trim_end(), repeat.stderr.as_str()), (id, ""));
    assert_eq!(world.reads(1).await[0].id, id);
}

on_both_brokers!(a_thousand_lines_of_many_topics_arrive_in_order_byte_for_byte);
async fn a_thousand_lines_of_many_topics_arrive_in_order_byte_for_byte(broker: Broker) {
    let world = world(broker).await;
    let line = |n| format!("{{ \"n\":{n}.00,\t\"t\" : \"{}.{}\", \"e\":\"\\u00e4 ä \\\"\" }}", world.topic, n % 7);
    let lines: Vec<_> = (0..1000).map(line).collect();
    let finished = world.http_publisher(&["pipe", "--topic-from", "t"]).stdin(lines.join("\n")).run().await;
    ended(&finished, 0, "published 1000 events in ");
    assert!(finished.stderr.ends_with(" 0 resent, 0 not confirmed\n"), "{finished:?}");
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    world.reads_json(&lines).await;
}

on_both_brokers!(with_order_topic_each_topic_is_in_order);
async fn with_order_topic_each_topic_is_in_order(broker: Broker) {
    let world = world(broker).await;
    let line = |n| format!("{{\"n\":{n},\"t\":\"{}.{}\"}}", world.topic, n % 5);
    let lines: Vec<_> = (0..500).map(line).collect();
    let pipe = ["pipe", "--topic-from", "t", "--order", "topic"];
    ended(&world.http_publisher(&pipe).stdin(lines.join("\n")).run().await, 0, "published 500 events");
    let (mut by_topic, mut count, mut token) = (HashMap::<String, Vec<u64>>::new(), 0, None::<String>);
    while count < 500 {
        let poll = token.iter().fold(world.poll(), |poll, token| poll.last_seen(token));
        let Batch { events, last_seen, .. } = poll.send(&world.gateway).await.batch();
        count += events.len();
        for event in events {
            by_topic.entry(event.topic.clone()).or_default().push(event.number("n"));
        }
        token = Some(last_seen);
    }
    let lengths: Vec<_> = by_topic.values().map(Vec::len).collect();
    assert_eq!(lengths, [100; 5]);
    assert!(by_topic.values().all(|numbers| numbers.is_sorted()), "{by_topic:?}");
}

on_both_brokers!(an_interrupt_is_how_a_simulation_ends_and_the_summary_is_true);
async fn an_interrupt_is_how_a_simulation_ends_and_the_summary_is_true(broker: Broker) {
    let world = world(broker).await;
    let mut simulate = world.http_publisher(&["simulate", "--rate", "200", "--prefix", &world.topic]).start();
    let EventView { topic, .. } = world.poll().send(&world.gateway).await.batch().events.remove(0);
    assert_eq!(topic, format!("{}.1.status", world.topic));
    simulate.interrupt();
    assert_eq!(simulate.wait_exit(SOON).await.code(), Some(0), "{:?}", simulate.stderr());
    let said = async || {
        let summary = simulate.stderr().tail(1);
        if summary.ends_with(" 0 not confirmed") { Ok(summary) } else { Err(summary) }
    };
    let summary = eventually(SOON, "the summary", said).await;
    let published = summary.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    let (mut came, mut token) = (0, None::<String>);
    while came < published {
        let poll = token.iter().fold(world.poll(), |poll, token| poll.last_seen(token));
        let Batch { events, last_seen, .. } = poll.send(&world.gateway).await.batch();
        came += events.len();
        token = Some(last_seen);
    }
    assert_eq!(came, published, "{summary}");
}

on_both_brokers!(a_gateway_killed_and_restarted_in_the_middle_of_a_pipe_loses_nothing);
async fn a_gateway_killed_and_restarted_in_the_middle_of_a_pipe_loses_nothing(broker: Broker) {
    const LINES: usize = 1500;
    let mut world = world(broker).await;
    let mut pipe = world.http_publisher(&["pipe", &world.topic, "--timeout", "60s"]).start();
    let feed = tokio::task::spawn_blocking(move || {
        for n in 0..LINES {
            pipe.write_line(&format!("{{\"n\":{n}}}"));
        }
        pipe.end_input();
        pipe
    });
    for _ in 0..2 {
        assert_ne!(world.poll().send(&world.gateway).await.batch().events, []);
        world.gateway.kill9();
        world.gateway.start_again().await;
        world.gateway.wait_ready().await;
    }
    let mut pipe = feed.await.unwrap();
    let status = pipe.wait_exit(Duration::from_mins(1)).await;
    assert_eq!(status.code(), Some(0), "{}", pipe.stderr().tail(20));
    let said = pipe.stderr().tail(50);
    assert!(said.contains("published 1500 events") && said.ends_with(" 0 not confirmed"), "{said}");
    assert!(said.contains(" not confirmed yet, trying again in "), "it was in the middle: {said}");

    world.reads_through_repeats(LINES).await;
}

on_both_brokers!(what_the_gateway_refuses_is_listed_with_its_reason_and_the_others_go_on);
async fn what_the_gateway_refuses_is_listed_with_its_reason_and_the_others_go_on(broker: Broker) {
    let world = small_world(broker).await;
    let input = format!("1\n\"{}\"\n3\n\"{}\"\n5", "x".repeat(1000), "y".repeat(4 << 20));
    let finished = world.http_publisher(&["pipe", &world.topic]).stdin(input).run().await;
    ended(&finished, 1, "published 3 events");
    for line in ["line 2: event ", "line 4: event "] {
        let listed = finished.stderr.lines().find(|listed| listed.contains(line)).expect(line);
        assert!(listed.ends_with("an event has at most 1000 bytes here (--max-body)"), "{finished:?}");
    }
    world.reads_json(&["1", "3", "5"]).await;

    let refused = world.http_publisher(&["emit", &world.topic, "1", "--content-type", "text/ä"]).run().await;
    ended(&refused, 1, "400 Bad Request: Content-Type: it is not ASCII");
    assert!(refused.stderr.contains("published 0 events") && refused.stdout.is_empty(), "{refused:?}");
}

/// The ids and the payloads in a batch, in order.
fn batch_in(request: &SeenRequest) -> Vec<(String, Value)> {
    assert_eq!(request.target, "POST /events");
    let batch: Vec<Value> = serde_json::from_str(&request.body).unwrap();
    batch.into_iter().map(|event| (event["id"].as_str().unwrap().to_owned(), event["data"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_gateway_is_asked_again_under_the_same_ids_after_the_time_it_names() {
    let gateway = StubGateway::start(|number, _| match number {
        1 => Reply::status("503 Service Unavailable\r\nretry-after: 2"),
        2 => Reply::status("429 Too Many Requests"),
        3 => Reply::HangUp,
        _ => Reply::accepted(),
    })
    .await;
    let finished = Publisher::new(&["pipe", "a.b"]).gateway(&gateway.url()).stdin("1\n2\n3\n4").run().await;
    ended(&finished, 0, "published 4 events");
    assert!(finished.stderr.contains("429 Too Many Requests; "), "{finished:?}");
    let requests = gateway.requests();
    let batches: Vec<_> = requests.iter().map(batch_in).collect();
    let repeated = &batches[1];
    // What waits meanwhile goes with the next one.
    for again in &batches[2..5] {
        assert_eq!(again, repeated, "{batches:?}");
    }
    let sent: Vec<_> =
        batches[..1].iter().chain(&batches[4..]).flatten().map(|(_, data)| data.as_u64().unwrap()).collect();
    assert_eq!(sent, [1, 2, 3, 4]);
    let marks: Vec<_> = requests[..5].iter().map(|request| request.header("postern-resent")).collect();
    assert_eq!(marks, [None, None, Some("true"), Some("true"), Some("true")]);
    let resent = format!(", {} resent, 0 not confirmed", repeated.len());
    assert!(finished.stderr.contains(&resent), "{finished:?}");
    assert!(requests[2].at - requests[1].at >= Duration::from_secs(2), "{requests:?}");
    assert!(requests[3].at - requests[2].at < Duration::from_secs(2), "{requests:?}");
    // One until the hang-up, one after it.
    assert_eq!(gateway.connections(), 2);
}

/// Writes line 0 to a publisher, then these lines while the request of the first waits for another request to be answered, and has
/// it answered.
async fn pipe_behind_the_first(gateway: &StubGateway, lines: std::ops::Range<u32>) -> RunningPublisher {
    let mut pipe = Publisher::new(&["pipe", "a.b"]).gateway(&gateway.url()).start();
    pipe.write_line("0");
    eventually_eq(SOON, "requests", 1, async || gateway.requests().len()).await;
    for line in lines {
        pipe.write_line(&line.to_string());
    }
    pipe.end_input();
    // Time in which a second request would come, if any did; and a request that is not of the publisher.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(gateway.requests().len(), 1);
    Request::get("/").send(gateway.address()).await.expect_status(202);
    pipe
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_batch_is_on_its_way_goes_with_the_next_one() {
    // The first batch is answered when all lines have been written.
    let gateway = StubGateway::start(|number, _| match number {
        0 => Reply::accepted_after(2),
        _ => Reply::accepted(),
    })
    .await;
    let mut pipe = pipe_behind_the_first(&gateway, 1..100).await;
    assert_eq!(pipe.wait_exit(SOON).await.code(), Some(0), "{}", pipe.stderr().tail(9));
    let batches: Vec<_> = gateway.requests().iter().filter(|seen| seen.target != "GET /").map(batch_in).collect();
    let numbers =
        |batch: &Vec<(String, Value)>| batch.iter().map(|(_, data)| data.as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(batches.iter().map(numbers).collect::<Vec<_>>(), [vec![0], (1..100).collect()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_refused_is_named_and_the_others_of_its_batch_go_on() {
    let problem = |status: &str, more: &str| {
        let body = format!(r#"{{"detail":"event 2: no right","index":2{more}}}"#);
        Reply::Bytes(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    // The first waits until there are enough lines for a batch.
    let gateway = StubGateway::start(move |number, _| match number {
        0 => Reply::accepted_after(2),
        2 => problem("403 Forbidden", ""),
        _ => Reply::accepted(),
    })
    .await;
    let mut pipe = pipe_behind_the_first(&gateway, 1..6).await;
    assert_eq!(pipe.wait_exit(SOON).await.code(), Some(1));
    let said = async || {
        let said = pipe.stderr().tail(9);
        let words =
            ["not confirmed: line 4: event ", "403 Forbidden: event 2: no right", "published 5 events", "0 resent"];
        if words.iter().all(|words| said.contains(words)) { Ok(()) } else { Err(said) }
    };
    eventually(SOON, "the refused line, and the summary", said).await;
    let batches: Vec<_> = gateway.requests().iter().filter(|seen| seen.target != "GET /").map(batch_in).collect();
    let sent: Vec<_> = batches[2..].iter().flatten().map(|(_, data)| data.as_u64().unwrap()).collect();
    assert_eq!((batches[1].len(), sent), (5, vec![1, 2, 4, 5]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_closed_while_it_was_idle_is_replaced_and_nothing_is_resent() {
    let gateway = StubGateway::start(|_, _| Reply::accepted_and_closed()).await;
    let mut pipe = Publisher::new(&["pipe", "a.b"]).gateway(&gateway.url()).start();
    for line in 1..=3 {
        pipe.write_line(&line.to_string());
        let closed = async || gateway.closed_by_both();
        eventually_eq(SOON, "closed connections", line, closed).await;
    }
    pipe.end_input();
    assert_eq!(pipe.wait_exit(SOON).await.code(), Some(0));
    let said = async || {
        let said = pipe.stderr().tail(9);
        if said.starts_with("published 3 events") && said.contains(" 0 resent") { Ok(()) } else { Err(said) }
    };
    eventually(SOON, "a summary and nothing else", said).await;
    assert_eq!((gateway.requests().len(), gateway.connections()), (3, 3));
}

/// Answers as a gateway does that has no place for batches.
fn without_batches(request: &SeenRequest, reply: Reply) -> Reply {
    if request.target == "POST /events" { Reply::status("404 Not Found") } else { reply }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_gateway_gets_the_lines_one_by_one() {
    let gateway = StubGateway::start(|_, request| without_batches(request, Reply::accepted())).await;
    let finished = Publisher::new(&["pipe", "a.b"]).gateway(&gateway.url()).stdin("1\n2\n3\n4").run().await;
    ended(&finished, 0, "published 4 events");
    assert!(finished.stderr.contains(", 0 resent, 0 not confirmed"), "{finished:?}");
    let requests = gateway.requests();
    let seen: Vec<_> = requests.iter().map(|request| (&request.target[..], request.header("postern-resent"))).collect();
    let one = ("POST /topics/a.b/events", None);
    assert_eq!(seen, [("POST /events", None), one, one, one, one]);
    let bodies: Vec<_> = requests[1..].iter().map(|request| request.body.as_str()).collect();
    assert_eq!(bodies, ["1", "2", "3", "4"]);
    assert_eq!(gateway.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_older_gateway_only_topics_that_need_no_order_are_on_their_way_together() {
    let lines = "{\"t\":\"a\",\"n\":1}\n{\"t\":\"a\",\"n\":2}\n{\"t\":\"b\",\"n\":3}\n{\"t\":\"c\",\"n\":4}";
    // Of those that are alone the first three are answered when all three have come.
    let gateway = StubGateway::start(|number, request| {
        without_batches(request, if number < 4 { Reply::accepted_after(4) } else { Reply::accepted() })
    })
    .await;
    let pipe = ["pipe", "--topic-from", "t", "--order", "topic"];
    let finished = Publisher::new(&pipe).gateway(&gateway.url()).stdin(lines).run().await;
    ended(&finished, 0, "published 4 events");
    let alone = gateway.requests().into_iter().filter(|request| request.target != "POST /events");
    let numbers: String = alone.map(|request| request.body.chars().rev().nth(1).unwrap()).collect();
    let mut together: Vec<_> = numbers[..3].chars().collect();
    together.sort_unstable();
    assert_eq!((together, &numbers[3..]), (vec!['1', '3', '4'], "2"));
    assert_eq!(gateway.connections(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn prefix_user_and_type_reach_the_gateway() {
    let gateway = StubGateway::start(|_, _| Reply::accepted()).await;
    let url = format!("http://alice:hunter%2F2@{}/push/", gateway.address());
    let finished = Publisher::new(&["emit", "a.b", "<p>", "--content-type", "text/html", "--gateway", &url])
        .amqp_url("amqp://a.flag.comes.first:1/")
        .run()
        .await;
    ended(&finished, 0, "published 1 event");
    let request = gateway.requests().remove(0);
    assert_eq!(request.target, "POST /push/topics/a.b/events");
    let expected = [
        ("host", gateway.address().to_string()),
        ("content-type", "text/html".to_owned()),
        ("event-id", finished.stdout.trim_end().to_owned()),
        ("authorization", "Basic YWxpY2U6aHVudGVyLzI=".to_owned()),
    ];
    for (name, value) in expected {
        assert_eq!(request.header(name), Some(value.as_str()), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_events_is_told_from_who_takes_none_now() {
    let emit = async |reply: Reply| {
        let gateway = StubGateway::start(move |_, _| reply.clone()).await;
        let emit = ["emit", "a", "1", "--timeout", "1s"];
        (Publisher::new(&emit).gateway(&gateway.url()).run().await, gateway.requests().len())
    };
    for (reply, words) in [
        (Reply::status("404 Not Found"), "takes no events: 404 Not Found; check --gateway"),
        (Reply::status("200 OK"), "takes no events: 200 OK; check --gateway"),
        (Reply::status("301 Moved Permanently\r\nlocation: https://x/"), "it is at https://x/; check --gateway"),
        (Reply::status("401 Unauthorized"), "check user and password in --gateway"),
        (Reply::Bytes("AMQP\0\0\u{9}\u{1}".to_owned()), "does not speak HTTP/1.1"),
    ] {
        let (finished, requests) = emit(reply).await;
        ended(&finished, 69, words);
        assert_eq!((requests, finished.stdout.as_str()), (1, ""), "{finished:?}");
    }
    for (reply, words) in [
        (Reply::status("502 Bad Gateway"), "gave up: no confirm from http://"),
        (Reply::HangUp, "sent, but no confirm came; it may be stored"),
        (Reply::Silence, "for 1 s: no answer"),
    ] {
        let (finished, requests) = emit(reply).await;
        ended(&finished, 1, words);
        assert!(requests >= 1 && finished.stderr.contains("1 not confirmed"), "{requests} {finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_the_exit_code_is_69_and_the_text_says_what_to_do() {
    let absent = Publisher::new(&["emit", "a", "1", "--timeout", "500ms"]).gateway("http://alice:hunter2@127.0.0.1:1");
    let absent = absent.run().await;
    ended(&absent, 69, "start a gateway or name it with --gateway, or a broker with --amqp-url");
    assert!(absent.stderr.contains("cannot reach http://alice@127.0.0.1:1 within 0.5 s: "), "{absent:?}");
    assert!(absent.stdout.is_empty() && !absent.stderr.contains("hunter2"), "{absent:?}");

    let two = ["emit", "a", "1", "--gateway", "http://h", "--amqp-url", "amqp://h"];
    ended(&Publisher::new(&two).run().await, 64, "--amqp-url and --gateway name two places");
    let two = Publisher::new(&["emit", "a", "1"]).gateway("http://h").amqp_url("amqp://h").run().await;
    ended(&two, 64, "AMQP_URL and POSTERN_GATEWAY name two places");
}
