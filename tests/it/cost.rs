//! What a client can make the gateway spend: bounded by what it sends, however it sends it.

use std::time::Duration;

use futures_util::future::join_all;
use postern_tests::{Gateway, HttpConnection, Request, cpu_seconds, resident_bytes};
use tokio::time::sleep;

async fn gateway() -> Gateway {
    let gateway = Gateway::builder().switch("--memory").start().await;
    gateway.wait_ready().await;
    gateway
}

/// Publishes events of seven bytes.
async fn publish(gateway: &Gateway, count: usize) {
    const CONNECTIONS: usize = 16;
    let publishers = (0..CONNECTIONS).map(|_| async {
        let mut connection = HttpConnection::open(gateway.address()).await;
        for _ in 0..count / CONNECTIONS {
            connection.request(&Request::publish("a", "application/json", r#"{"n":1}"#)).await.expect_status(202);
        }
    });
    join_all(publishers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_event_is_not_kept_with_the_buffer_that_it_came_in() {
    const EVENTS: usize = 16_000;
    let gateway = gateway().await;
    publish(&gateway, 1600).await;
    let resident = || resident_bytes(gateway.process().id()).expect("it runs");
    let before = resident();
    publish(&gateway, EVENTS).await;
    #[expect(clippy::cast_precision_loss, reason = "it is rounded to bytes anyway")]
    let each = (resident() - before) / EVENTS as f64;
    assert!(each < 2500.0, "{each:.0} bytes for each event of seven");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_after_its_first_byte_costs_no_work() {
    let gateway = gateway().await;
    let connections = (0..1000).map(|_| async {
        let mut connection = HttpConnection::open(gateway.address()).await;
        connection.send(b"P").await;
        connection
    });
    let _connections = join_all(connections).await;
    // The gateway has accepted all of them before this request.
    Request::get("/live").send(gateway.address()).await.expect_status(200);
    // The time over which the CPU is measured.
    let used = || cpu_seconds(gateway.process().id()).expect("it runs");
    let before = used();
    sleep(Duration::from_secs(2)).await;
    let spent = used() - before;
    assert!(spent < 0.15, "{spent} s of CPU in two idle seconds");
}
