//! A RabbitMQ cluster in which the node of a mailbox is away: the mailbox is neither absent nor deleted.
//!
//! Only RabbitMQ has nodes.

use std::time::Duration;

use postern_tests::{Answer, Gateway, Poll, RabbitNode, Request, eventually, unique};

const JSON: &str = "application/json";

/// Longer than the gateway waits for any answer of the broker.
const PATIENCE: Duration = Duration::from_mins(1);

async fn gateway_at(node: &RabbitNode) -> Gateway {
    let gateway = Gateway::builder().amqp_url(&node.url()).start().await;
    gateway.wait_ready().await;
    gateway
}

async fn publish(gateway: &Gateway, topic: &str, n: u32) {
    let body = format!(r#"{{"n":{n}}}"#);
    Request::publish(topic, JSON, body).send(gateway.address()).await.expect_status(202);
}

/// Checks an answer that says to come back, and that the mailbox is not gone.
#[track_caller]
fn is_away(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 503, "{what}: {answer:?}");
    assert!(answer.header("retry-after").is_some(), "{what}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_whose_node_is_away_is_neither_absent_nor_deleted() {
    let near = RabbitNode::start().await;
    let mut far = near.start_joined().await;
    let (held, idle, topic) = (unique("held"), unique("idle"), unique("jobs"));
    let poll = |client: &str| Poll::of(client).topics(&topic);
    // A classic queue lives where it was declared.
    let mut maker = gateway_at(&far).await;
    for client in [&held, &idle] {
        poll(client).wait(0).send(&maker).await.expect_status(204);
    }
    publish(&maker, &topic, 1).await;
    maker.terminate();
    maker.wait_exit(PATIENCE).await;

    let gateway = gateway_at(&near).await;
    let batch = poll(&held).send(&gateway).await.batch();
    let mut waiting = poll(&held).last_seen(&batch.last_seen).wait(50).hold(&gateway).await;
    eventually(PATIENCE, "the consumer", async || {
        let status = Request::get(&format!("/clients/{held}")).send(gateway.address()).await.json();
        if status["unconfirmed"] == 0 { Ok(()) } else { Err(status) }
    })
    .await;
    far.leave().await;
    is_away("a held poll", &waiting.answer().await);
    for (what, poll) in [
        ("with topics", poll(&idle)),
        ("without topics", Poll::of(&idle)),
        ("with a token", poll(&held).last_seen(&batch.last_seen)),
    ] {
        is_away(what, &poll.wait(1).send(&gateway).await);
    }
    for (method, path) in [
        ("GET", format!("/clients/{idle}")),
        ("PUT", format!("/clients/{idle}/topics/other")),
        ("DELETE", format!("/clients/{idle}/topics/{topic}")),
        ("DELETE", format!("/clients/{idle}")),
    ] {
        is_away(method, &Request::new(method, &path).send(gateway.address()).await);
    }

    far.come_back().await;
    eventually(PATIENCE, "the mailbox to be there again", async || {
        let answer = Request::get(&format!("/clients/{idle}")).send(gateway.address()).await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
    // The unbinding was not done, and nothing that had been stored is gone.
    publish(&gateway, &topic, 2).await;
    let mut seen = Vec::new();
    eventually(PATIENCE, "both events", async || {
        let answer = poll(&idle).wait(1).send(&gateway).await;
        if answer.status == 200 && answer.batch().numbers("n") == [1, 2] { Ok(()) } else { Err(answer) }
    })
    .await;
    let rest = poll(&held).last_seen(&batch.last_seen).send(&gateway).await.batch();
    seen.extend(rest.numbers("n"));
    assert_eq!(seen, [2], "the confirmed one does not come again: {rest:?}");
}
