//! Ten thousand clients watch one topic.

use std::time::Duration;

use postern_tests::{Broker, Gateway, HttpConnection, Load, Request, eventually_eq, on_both_brokers};

const CLIENTS: u32 = 10_000;

/// Events after the first, which reaches clients that have waited since they came.
const MORE: u32 = 40;

/// On two cores that others use, too, a debug build needs a third of this.
const PATIENCE: Duration = Duration::from_mins(3);

on_both_brokers!(ten_thousand_clients_of_one_topic_get_every_event_once_and_in_order);
async fn ten_thousand_clients_of_one_topic_get_every_event_once_and_in_order(broker: Broker) {
    let gateway = broker.gateway_with_log().await;
    // One connection more publishes, another reads the metrics.
    let gateway = gateway.flag("--max-connections", (CLIENTS + 10).to_string()).start().await;
    gateway.wait_ready().await;
    let load = Load::of(gateway.address(), "stock").flag("--clients", &CLIENTS.to_string());
    let mut load = load.flag("--events", &(1 + MORE).to_string()).start();
    load.wait_said("waiting", PATIENCE).await;
    eventually_eq(PATIENCE, "polls held", Some(CLIENTS), async || polls_held(&gateway).await).await;

    // One event reaches all, and all poll again.
    publish(&gateway, 1..=1).await;
    load.wait_said("reached 1", PATIENCE).await;
    // The others come while clients are answered and come back, so that some get several at once.
    publish(&gateway, 2..=1 + MORE).await;
    load.wait_said(&format!("reached {}", 1 + MORE), PATIENCE).await;
    let report = load.finish(PATIENCE).await;
    assert_eq!(report.deliveries, u64::from(CLIENTS) * u64::from(1 + MORE));
}

async fn publish(gateway: &Gateway, numbers: std::ops::RangeInclusive<u32>) {
    let mut connection = HttpConnection::open(gateway.address()).await;
    for number in numbers {
        let event = Request::publish("stock", "application/json", format!("{{\"n\":{number}}}"));
        connection.request(&event).await.expect_status(202);
    }
}

async fn polls_held(gateway: &Gateway) -> Option<u32> {
    let metrics = Request::get("/metrics").send(gateway.address()).await.text();
    metrics.lines().find_map(|line| line.strip_prefix("postern_polls_held ")?.parse().ok())
}
