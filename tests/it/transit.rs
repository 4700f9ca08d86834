//! What is on its way in and out is bounded by bytes, however many connections and requests it comes over.

use std::time::Duration;

use postern_tests::{
    Answer, Broker, Gateway, Http2Connection, HttpConnection, Poll, Request, eventually_eq, on_both_brokers, unique,
};
use tokio::io::AsyncWriteExt;

const SOON: Duration = Duration::from_secs(10);
const MIB: usize = 1024 * 1024;

async fn gateway(broker: Broker) -> Gateway {
    let builder = broker.gateway_with_log().await;
    let gateway = builder.flag("--max-transit", "4194304").start().await;
    gateway.wait_ready().await;
    gateway
}

#[track_caller]
fn is_overload(answer: &Answer) {
    let detail = answer.problem(503);
    assert!(detail.contains("--max-transit") && answer.header("retry-after").is_some(), "{detail}");
}

async fn publish(gateway: &Gateway, topic: &str, payload: Vec<u8>) -> Answer {
    HttpConnection::open(gateway.address()).await.request(&Request::publish(topic, "text/plain", payload)).await
}

async fn metric(gateway: &Gateway, name: &str) -> usize {
    let answer = Request::get("/metrics").send(gateway.address()).await.expect_status(200);
    let value = answer.text().lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("there should be a metric {name}"))
}

on_both_brokers!(bodies_that_stall_take_no_more_than_their_room_and_give_it_back);
async fn bodies_that_stall_take_no_more_than_their_room_and_give_it_back(broker: Broker) {
    let (gateway, topic) = (gateway(broker).await, unique("stalled"));
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let head = format!("POST /topics/{topic}/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {MIB}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // What is announced and does not come takes no room.
        publish(&gateway, &topic, vec![b'x'; MIB - 2048]).await.expect_status(202);
        stalled.push(stream);
    }
    for stream in &mut stalled {
        stream.write_all(&vec![b'x'; MIB - 1]).await.unwrap();
    }
    let used = async || metric(&gateway, "postern_transit_in_bytes").await;
    eventually_eq(SOON, "bytes on their way in", 3 * MIB, used).await;
    is_overload(&publish(&gateway, &topic, vec![b'x'; MIB - 2048]).await);
    // An eighth is for small events alone.
    publish(&gateway, &topic, vec![b'x'; 1000]).await.expect_status(202);
    // Readers have room of their own, and what has no body needs none.
    let read = Request::get(&format!("/topics/{topic}/events?wait=5&limit=1"));
    read.send(gateway.address()).await.expect_status(200);
    drop(stalled.pop());
    let status = async || publish(&gateway, &topic, vec![b'x'; MIB - 2048]).await.status;
    eventually_eq(SOON, "the status of a publish once there is room", 202, status).await;
}

on_both_brokers!(answers_that_are_not_taken_take_no_more_than_their_room_and_give_it_back);
async fn answers_that_are_not_taken_take_no_more_than_their_room_and_give_it_back(broker: Broker) {
    let (gateway, topic) = (gateway(broker).await, unique("untaken"));
    // Escaped, it is six times as large.
    publish(&gateway, &topic, vec![1; 150_000]).await.expect_status(202);
    let path = format!("/topics/{topic}/events?wait=0");
    let get = Request::get(&path);
    let read = async || HttpConnection::open(gateway.address()).await.request(&get).await;
    eventually_eq(SOON, "the status of a poll", 200, async || read().await.status).await;
    // A client that makes no room for any byte of an answer.
    let connection = Http2Connection::with_window(gateway.address(), 0).await;
    let (mut heads, mut statuses) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let answer = connection.send("GET", &path, &[], "").await;
        statuses.push(answer.status().as_u16());
        heads.push(answer);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 4, "of 900,000 bytes each: {statuses:?}");
    is_overload(&read().await);
    // A mailbox keeps what there was no room to hand out.
    let poll = Poll::of(&unique("alice")).topics(&topic).wait(10);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    publish(&gateway, &topic, vec![1; 150_000]).await.expect_status(202);
    is_overload(&poll.send(&gateway).await);
    drop(heads);
    let kept = async || poll.send(&gateway).await.status;
    eventually_eq(SOON, "the status of a poll of the mailbox once there is room", 200, kept).await;
    eventually_eq(SOON, "the status of a poll once there is room", 200, async || read().await.status).await;
    let used = async || metric(&gateway, "postern_transit_out_bytes").await;
    eventually_eq(SOON, "bytes on their way out", 0, used).await;
}

/// It makes room for one byte, or for none, and its connection is well.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_stall_keep_no_small_ones_out_and_give_way_where_room_is_short() {
    let (gateway, large, small) = (gateway(Broker::Embedded).await, unique("large"), unique("small"));
    publish(&gateway, &large, vec![b'x'; 800_000]).await.expect_status(202);
    publish(&gateway, &small, vec![b'x'; 10]).await.expect_status(202);
    let path = |topic: &str| format!("/topics/{topic}/events?wait=0");
    let read = async |topic: &str| {
        HttpConnection::open(gateway.address()).await.request(&Request::get(&path(topic))).await.status
    };
    for window in [0, 1] {
        eventually_eq(SOON, "the status of a large poll", 200, async || read(&large).await).await;
        let connection = Http2Connection::with_window(gateway.address(), window).await;
        let mut heads = Vec::new();
        for _ in 0..10 {
            heads.push(connection.send("GET", &path(&large), &[], "").await);
            heads.push(connection.send("GET", &path(&small), &[], "").await);
        }
        assert_eq!((read(&large).await, read(&small).await), (503, 200), "with a window of {window}");
        eventually_eq(3 * SOON, "the status of a large poll", 200, async || read(&large).await).await;
        let used = async || metric(&gateway, "postern_transit_out_bytes").await < MIB;
        eventually_eq(3 * SOON, "whether the large answers are gone", true, used).await;
        assert!(!connection.is_over(), "it carries other clients");
        drop(heads);
    }
}
