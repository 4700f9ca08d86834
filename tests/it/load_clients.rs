//! The load tool on a real gateway: what a correct server must be told of, over HTTP/2 and with publishers that speak
//! AMQP. That it tells what a faulty server does is held beside the tool.

use std::time::Duration;

use postern_tests::{Broker, Gateway, Load, on_both_brokers, shared_node};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);

/// Runs the tool to its end, and returns what it says of its one step.
async fn step(gateway: &Gateway, flags: &str) -> Value {
    let flags = format!("--quiet --json - --require repeated=0,out-of-order=0,not-confirmed=0,errors=0 {flags}");
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let finished = Load::run(gateway.address(), &flags, PATIENCE).await;
    let report: Value = serde_json::from_str(finished.stdout.trim()).unwrap_or_else(|e| panic!("{e}: {finished:?}"));
    report["steps"][0].clone()
}

fn numbers<const N: usize>(step: &Value, fields: [&str; N]) -> [u64; N] {
    fields.map(|field| step[field].as_u64().unwrap_or_else(|| panic!("no {field} in {step}")))
}

on_both_brokers!(clients_of_http2_get_every_event_once);
async fn clients_of_http2_get_every_event_once(broker: Broker) {
    let gateway = broker.gateway_with_log().await.start().await;
    gateway.wait_ready().await;
    for (flags, connections) in [
        ("--read feed", 30),
        ("--read mailbox --streams-per-connection 8", 4),
        ("--read feed --transport sse --streams-per-connection 30", 1),
    ] {
        let topics = if flags.contains("mailbox") { 30 } else { 1 };
        let run = format!("--connection http2 --clients 30 --pace confirmed --events 60 {flags}");
        let step = step(&gateway, &run).await;
        let found = numbers(&step, ["received", "lost", "confirmed", "connections"]);
        assert_eq!(found, [60 * 30 / topics, 0, 60, connections], "{flags}: {step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_that_speak_amqp_are_judged_as_others_are() {
    let url = shared_node().await.vhost("load").await;
    let gateway = Gateway::builder().amqp_url(&url).with_feed().start().await;
    gateway.wait_ready().await;
    let amqp = format!("--publish amqp --amqp-url {url} --publishers 3 --clients 12");
    for (flags, received) in [
        ("--read feed --pace confirmed --events 300", 300 * 12),
        ("--read mailbox --rate 300/s --events 300", 300),
        ("--read feed --burst 30 --every 100ms --events 90", 90 * 12),
    ] {
        let step = step(&gateway, &format!("{amqp} {flags}")).await;
        let confirmed = received / if flags.contains("mailbox") { 1 } else { 12 };
        let found = numbers(&step, ["received", "lost", "sent", "confirmed"]);
        assert_eq!(found, [received, 0, confirmed, confirmed], "{flags}: {step}");
        // Every event tells when it was to be sent, and every confirm was timed.
        let count = |field: &str| step[field]["count"].as_u64();
        assert_eq!((count("latency"), count("send")), (Some(received), Some(confirmed)), "{flags}: {step}");
    }
    let wrong = url.replacen("guest:guest@", "guest:wrong@", 1);
    let finished = Load::try_run(gateway.address(), &["--publish", "amqp", "--amqp-url", &wrong], PATIENCE).await;
    assert!(finished.stderr.contains("check user, password") && !finished.stderr.contains("wrong"), "{finished:?}");
    assert_eq!(finished.status.code(), Some(1));
}
