//! Clients that end their side of the connection when their request is out, as `nc -N` and socat do, and read on.

use std::time::Duration;

use postern_tests::{Broker, HttpConnection, Left, Request, World, on_both_brokers};

use super::{JSON, id_of};

/// Sends it and the end in one go, or after it.
async fn send_and_end(world: &World, bytes: &[u8]) -> HttpConnection {
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    connection.send(bytes).await;
    connection.finish_sending().await;
    connection
}

on_both_brokers!(a_hundred_publishes_are_all_answered_and_all_stored);
async fn a_hundred_publishes_are_all_answered_and_all_stored(broker: Broker) {
    let world = World::new(broker).await;
    for n in 0..100_u64 {
        let body = format!("{{\"n\":{n}}}");
        let whole = Request::publish(&world.topic, JSON, body.as_str()).bytes();
        let chunked = format!(
            "POST /topics/{}/events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            world.topic,
            body.len()
        );
        let bytes = if n % 2 == 0 { whole } else { chunked.into_bytes() };
        let mut connection = send_and_end(&world, &bytes).await;
        id_of(&connection.answer().await);
        assert_eq!(connection.left().await, Left::Closed);
    }
    let numbers: Vec<u64> = world.read_all().await.iter().map(|event| event.number("n")).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

on_both_brokers!(a_large_publish_that_comes_in_pieces_is_answered);
async fn a_large_publish_that_comes_in_pieces_is_answered(broker: Broker) {
    let world = World::new(broker).await;
    let text = "x".repeat(700_000);
    let mut connection =
        send_and_end(&world, &Request::publish(&world.topic, JSON, format!("\"{text}\"")).bytes()).await;
    id_of(&connection.answer().await);
    let batch = world.poll().send(&world.gateway).await.batch();
    assert_eq!(batch.events[0].data.as_ref().unwrap(), text.as_str());
}

on_both_brokers!(bindings_and_mailboxes_are_changed_and_that_is_told);
async fn bindings_and_mailboxes_are_changed_and_that_is_told(broker: Broker) {
    let world = World::new(broker).await;
    for (method, path) in [("PUT", "/topics/a.b"), ("DELETE", "/topics/a.b"), ("DELETE", "")] {
        let request = Request::new(method, &format!("/clients/{}{path}", world.client));
        let mut connection = send_and_end(&world, &request.bytes()).await;
        assert_eq!(connection.answer().await.status, 204, "{method} {path}");
        assert_eq!(connection.left().await, Left::Closed);
    }
    let mut connection = send_and_end(&world, &Request::get(&format!("/clients/{}", world.client)).bytes()).await;
    assert_eq!(connection.answer().await.status, 404);
}

on_both_brokers!(an_end_in_the_middle_of_a_body_is_the_end);
async fn an_end_in_the_middle_of_a_body_is_the_end(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--header-timeout", "10m")).await;
    let whole = Request::publish(&world.topic, JSON, "[1,2,3]").bytes();
    for missing in [1, 7] {
        let mut connection = send_and_end(&world, &whole[..whole.len() - missing]).await;
        // It may be told that its body ended early. The gateway does not wait for the rest.
        match connection.answer_unless_left().await {
            Ok(answer) => _ = answer.problem(400),
            Err(left) => assert_eq!(left, Left::Closed),
        }
    }
    assert_eq!(world.poll().wait(0).send(&world.gateway).await.status, 204);
}

on_both_brokers!(a_request_after_the_publish_is_answered_as_well);
async fn a_request_after_the_publish_is_answered_as_well(broker: Broker) {
    let world = World::new(broker).await;
    let publish = |n: u64| Request::publish(&world.topic, JSON, format!("{{\"n\":{n}}}")).bytes();
    let mut connection = send_and_end(&world, &[publish(1), publish(2), Request::get("/live").bytes()].concat()).await;
    id_of(&connection.answer().await);
    id_of(&connection.answer().await);
    assert_eq!(connection.answer().await.status, 200);
    assert_eq!(connection.left().await, Left::Closed);
    let numbers: Vec<u64> = world.read_all().await.iter().map(|event| event.number("n")).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_on_sending_sees_why_it_is_refused() {
    let world = World::with(Broker::Embedded, |builder| builder.flag("--max-body", "1000")).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    let piece = [b'x'; 16 * 1024];
    let length = 150 * piece.len();
    let head = format!("POST /topics/a/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    connection.send(head.as_bytes()).await;
    // A slow line: its client reads nothing before it has sent everything.
    for sent in 0..150 {
        let went = connection.send_unless_left(&piece).await;
        assert_eq!(went, Ok(()), "it is cut off after {sent} pieces");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    connection.answer().await.problem(413);
}
