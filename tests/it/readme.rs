//! The README and the book do what they say: the commands of their first pages, the programs of publishers, and those
//! of pages in a browser. Programs in Python and JavaScript need what `tests/install-needs readme` installs.

mod browser;
mod commands;

use postern_tests::{Broker, Gateway, Page, Poll, Snippet, World, shared_node, unique};
use serde_json::json;

const GATEWAY: &str = "http://127.0.0.1:8080";
const RABBITMQ: &str = "amqp://127.0.0.1:5672/%2f";
const TOPIC: &str = "jobs.1.status";

#[tokio::test(flavor = "multi_thread")]
async fn over_http_an_object_reaches_its_reader() {
    let world = World::new(Broker::Embedded).await;
    let (url, topic) = (format!("http://{}", world.gateway.address()), world.topic.as_str());
    let of = |language, text| Snippet::of(Page::Publishing, language, text);
    let snippets = [of("python", "requests.post"), of("js", "method: \"POST\"")];
    let mut token = None::<String>;
    for snippet in snippets {
        snippet.replace(GATEWAY, &url).replace(TOPIC, topic).run().await;
        let poll = token.iter().fold(world.poll(), |poll, token| poll.last_seen(token));
        let batch = poll.send(&world.gateway).await.batch();
        let [event] = &batch.events[..] else { panic!("one event should come: {batch:?}") };
        assert_eq!((&event.data, &event.content_type), (&Some(json!({"state": "running"})), &None));
        token = Some(batch.last_seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_amqp_a_publisher_may_come_before_any_gateway_and_needs_one_permission() {
    let of = |language, text| Snippet::of(Page::Publishing, language, text);
    let snippets = [of("python", "pika.Blocking"), of("js", "amqplib")];
    let node = shared_node().await;
    for snippet in snippets {
        let url = node.vhost("readme").await;
        let (rest, vhost) = url.rsplit_once('/').unwrap();
        let user = unique("publisher");
        node.rabbitmqctl(&["add_user", &user, "secret"]).await;
        let exchange = r"^postern\.events$";
        node.rabbitmqctl(&["set_permissions", "-p", vhost, &user, exchange, exchange, "^$"]).await;
        let address = rest.rsplit_once('@').unwrap().1;
        let snippet = snippet.replace(RABBITMQ, &format!("amqp://{user}:secret@{address}/{vhost}"));
        snippet.run().await;

        let gateway = Gateway::builder().amqp_url(&url).start().await;
        gateway.wait_ready().await;
        let poll = Poll::of("alice").topics(TOPIC);
        poll.clone().wait(0).send(&gateway).await.expect_status(204);
        snippet.run().await;
        let batch = poll.wait(30).send(&gateway).await.batch();
        let [event] = &batch.events[..] else { panic!("one event should come: {batch:?}") };
        assert_eq!((&event.data, &event.content_type), (&Some(json!({"state": "running"})), &None));
        assert_eq!(event.id.len(), 36);
    }
}
