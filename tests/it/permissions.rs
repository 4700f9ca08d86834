//! The users of `docs/src/amqp.md`, made by the lines of that page: with them everything works, and no more.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use amqp::names;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ErrorKind, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeBindOptions,
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
        QueuePurgeOptions,
    },
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};
use postern_tests::{
    Amqp, EventStream, Folder, Gateway, Page, Poll, Publisher, RabbitNode, Request, eventually, shared_node, unique,
};

const VHOST: &str = "postern";
const PASSWORD: &str = "not-typed-here";
const SOON: Duration = Duration::from_secs(20);

/// The topic of the page's example, below which its publisher may publish.
const TOPIC: &str = "jobs.1";

/// A node on which the lines of the page were run.
struct Users(RabbitNode);

impl Users {
    async fn new() -> Self {
        let node = RabbitNode::start().await;
        for line in Page::Amqp.commands() {
            let words = words(&line);
            let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(arguments.remove(0), "rabbitmqctl", "{line}");
            // It asks for the password at a terminal. There is none here, and RabbitMQ 4.0 does not read from a pipe.
            if arguments[0] == "add_user" {
                arguments.push(PASSWORD);
            }
            node.rabbitmqctl(&arguments).await;
        }
        Self(node)
    }

    fn url(&self, user: &str) -> String {
        self.0.url_as(user, PASSWORD, VHOST)
    }

    async fn gateway(&self) -> Gateway {
        let gateway = Gateway::builder().amqp_url(&self.url("gateway")).with_feed().start().await;
        gateway.wait_ready().await;
        gateway
    }

    async fn emit(&self, topic: &str, payload: &str) -> postern_tests::Finished {
        Publisher::new(&["emit", topic, payload, "--timeout", "20s"]).amqp_url(&self.url("publisher")).run().await
    }
}

/// Splits a line as a shell does, without its comment; a word in single quotes has no blanks.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" # ").next().unwrap_or_default();
    line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
}

fn marker() -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(names::CONTROL.into(), AMQPValue::LongString("marker".into()));
    BasicProperties::default().with_headers(headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_of_the_page_can_do_all_that_they_are_for() {
    let users = Users::new().await;
    // Before there is an exchange, the publisher waits for a gateway.
    let early = Publisher::new(&["emit", TOPIC, r#"{"n":1}"#]).amqp_url(&users.url("publisher")).start();
    eventually(SOON, "the publisher to wait", async || {
        let said = early.stderr().tail(5);
        if said.contains("start a gateway first") { Ok(()) } else { Err(said) }
    })
    .await;
    let gateway = users.gateway().await;
    eventually(SOON, "its event to be confirmed", async || (early.stdout().len() == 1).then_some(()).ok_or("not yet"))
        .await;

    let client = unique("alice");
    let poll = Poll::of(&client).topics("jobs.#,late.#");
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    // The first event may have come before the feed was there.
    let mut feed = EventStream::open(gateway.address(), "/topics/jobs.%23/events?last_seen=now", "").await;
    let emitted = users.emit(TOPIC, r#"{"n":2}"#).await;
    assert!(emitted.status.success(), "{emitted:?}");
    assert_eq!(feed.next().await.expect("an event").number("n"), 2);
    let batch = poll.clone().wait(20).send(&gateway).await.batch();
    assert_eq!(batch.numbers("n"), [2]);
    poll.clone().last_seen(&batch.last_seen).wait(0).send(&gateway).await.expect_status(204);

    // The gateway publishes, binds, unbinds, looks at, and deletes.
    let call = async |method: &str, path: &str| Request::new(method, path).send(gateway.address()).await;
    let json = "application/json";
    Request::publish("late.1", json, r#"{"n":3}"#).send(gateway.address()).await.expect_status(202);
    let batch = poll.clone().last_seen(&batch.last_seen).wait(20).send(&gateway).await.batch();
    assert_eq!(batch.numbers("n"), [3]);
    call("PUT", &format!("/clients/{client}/topics/more")).await.expect_status(204);
    call("DELETE", &format!("/clients/{client}/topics/more")).await.expect_status(204);
    call("GET", &format!("/clients/{client}")).await.expect_status(200);
    call("DELETE", &format!("/clients/{client}")).await.expect_status(204);
    call("GET", &format!("/clients/{client}")).await.expect_status(404);
    // A mailbox that is gone is made anew, with a marker.
    let batch = poll.last_seen(&batch.last_seen).wait(20).send(&gateway).await.batch();
    assert!(batch.reset && batch.events.is_empty(), "{batch:?}");
    // An exchange that an operator has deleted is declared anew.
    let amqp = Amqp::connect(&users.url("gateway")).await;
    amqp.delete_exchange(names::EXCHANGE).await;
    Request::publish(TOPIC, json, "4").send(gateway.address()).await.expect_status(202);

    let refused = users.emit("secret.1", "1").await;
    assert!(!refused.status.success() && refused.stderr.contains("topic 'secret.1'"), "{refused:?}");
}

/// A publisher's user in the hands of an attacker.
struct Attacker(Connection);

impl Attacker {
    async fn channel(&self) -> Channel {
        let channel = self.0.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        channel
    }

    async fn publish(&self, exchange: &str, key: &str, properties: BasicProperties) -> lapin::Result<()> {
        let (channel, options) = (self.channel().await, BasicPublishOptions::default());
        let confirm = channel.basic_publish(exchange.into(), key.into(), options, b"", properties).await?.await?;
        assert!(matches!(confirm, Confirmation::Ack(None)), "{confirm:?}");
        Ok(())
    }

    /// Tries all that has to be refused to a publisher.
    async fn tries(&self, mailbox: &str) {
        let none = FieldTable::default;
        for (exchange, key) in [("", mailbox), ("", "postern.feed"), ("amq.direct", mailbox), ("postern.control", "x")]
        {
            let what = format!("publish to {exchange:?} for {key}");
            self.is_refused(&what, self.publish(exchange, key, marker()).await);
        }
        let own = BasicProperties::default().with_user_id("gateway".into());
        let forged = self.publish(names::EXCHANGE, TOPIC, own).await;
        assert!(forged.is_err(), "RabbitMQ checks the property user-id");

        let (queue, events) = (|| mailbox.into(), || names::EXCHANGE.into());
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let made = self.channel().await.queue_declare("postern.mailbox.mallory".into(), options, none()).await;
        self.is_refused("declare a mailbox", made);
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let made = self.channel().await.queue_declare("".into(), exclusive, none()).await;
        self.is_refused("declare a queue that the broker names", made);
        for queue in [mailbox, "postern.feed"] {
            let deleted = self.channel().await.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
            self.is_refused("delete a queue", deleted);
        }
        let purged = self.channel().await.queue_purge(queue(), QueuePurgeOptions::default()).await;
        self.is_refused("purge a mailbox", purged);
        let key = || "#".into();
        let bound =
            self.channel().await.queue_bind(queue(), events(), key(), QueueBindOptions::default(), none()).await;
        self.is_refused("bind a mailbox", bound);
        let unbound = self.channel().await.queue_unbind(queue(), events(), "jobs.#".into(), none()).await;
        self.is_refused("unbind a mailbox", unbound);
        let got = self.channel().await.basic_get(queue(), BasicGetOptions::default()).await;
        self.is_refused("take from a mailbox", got);
        for queue in [mailbox, "postern.feed"] {
            let (options, channel) = (BasicConsumeOptions::default(), self.channel().await);
            self.is_refused("read a queue", channel.basic_consume(queue.into(), "".into(), options, none()).await);
        }
        let (durable, options) = (ExchangeDeclareOptions::default(), ExchangeBindOptions::default());
        let made = self.channel().await.exchange_declare("mine".into(), ExchangeKind::Fanout, durable, none()).await;
        self.is_refused("declare an exchange", made);
        let bound = self.channel().await.exchange_bind("amq.topic".into(), events(), key(), options, none()).await;
        self.is_refused("bind an exchange", bound);
        let deleted = self.channel().await.exchange_delete(events(), ExchangeDeleteOptions::default()).await;
        self.is_refused("delete the exchange", deleted);
    }

    #[expect(clippy::unused_self, reason = "it reads as a sentence")]
    fn is_refused<T>(&self, what: &str, result: lapin::Result<T>) {
        let error = result.err().unwrap_or_else(|| panic!("a publisher can {what}"));
        let refused = AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED);
        let is_refused = matches!(error.kind(), ErrorKind::ProtocolError(reply) if *reply.kind() == refused);
        assert!(is_refused, "{what}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_can_do_nothing_else_and_forge_no_marker() {
    let users = Users::new().await;
    let gateway = users.gateway().await;
    let (client, mailbox) = (unique("alice"), |client: &str| format!("postern.mailbox.{client}"));
    let poll = Poll::of(&client).topics("jobs.#");
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    assert!(users.emit(TOPIC, r#"{"n":1}"#).await.status.success());
    let seen = poll.clone().wait(20).send(&gateway).await.batch();
    let mut feed = EventStream::open(gateway.address(), "/topics/jobs.%23/events?last_seen=oldest", "").await;
    assert_eq!(feed.next().await.expect("an event").number("n"), 1);

    let connected = Connection::connect(&users.url("publisher"), amqp::connection_properties("mallory")).await;
    let attacker = Attacker(connected.expect("a publisher can connect"));
    attacker.tries(&mailbox(&client)).await;

    // Messages that are as like markers as a publisher can make them.
    let carried = |name: &str, value: AMQPValue| {
        let mut headers = marker().headers().clone().unwrap_or_default();
        headers.insert(name.into(), value);
        marker().with_headers(headers)
    };
    let text = |text: &str| AMQPValue::LongString(text.into());
    let straight = || AMQPValue::FieldArray(vec![text(&mailbox(&client)), text("postern.feed")].into());
    let forged = [
        marker(),
        marker().with_type("marker".into()).with_app_id("postern".into()).with_delivery_mode(2),
        marker().with_user_id("publisher".into()).with_priority(255),
        carried("CC", straight()),
        carried("BCC", straight()),
        carried("exchange", text("")),
        carried("x-exchange", text("")),
        carried(names::CONTROL, text("end")),
        carried(names::CONTROL, text("lost")),
        carried(names::CONTROL, text("created")),
    ];
    let mut stored = 1;
    for properties in forged {
        match attacker.publish(names::EXCHANGE, TOPIC, properties).await {
            Ok(()) => stored += 1,
            // RabbitMQ 4 holds CC and BCC to topic permissions.
            refused => attacker.is_refused("publish to CC", refused),
        }
    }
    assert!(stored >= 9, "{stored}");
    assert!(users.emit(TOPIC, r#"{"n":2}"#).await.status.success());
    let batch = poll.last_seen(&seen.last_seen).wait(20).query("limit", "100").send(&gateway).await.batch();
    assert_eq!((batch.events.len(), batch.reset), (stored, false), "{batch:?}");
    assert!(batch.events.iter().all(|event| event.topic == TOPIC), "{batch:?}");
    for _ in 1..stored {
        let event = feed.next().await.expect("an event");
        assert_eq!((event.kind.as_str(), &event.data["topic"]), ("message", &TOPIC.into()), "{event:?}");
    }
    assert_eq!(feed.next().await.expect("an event").number("n"), 2);
}

/// An operator's policy moves messages through the default exchange, and no matter what they say it makes no markers.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_no_marker() {
    let url = shared_node().await.vhost("letters").await;
    let gateway = Gateway::builder().amqp_url(&url).start().await;
    gateway.wait_ready().await;
    let (client, amqp) = (unique("alice"), Amqp::connect(&url).await);
    let poll = Poll::of(&client).topics("jobs.#");
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    amqp.publish_foreign(TOPIC, BasicProperties::default(), b"1").await;
    let seen = poll.clone().wait(20).send(&gateway).await.batch();

    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    amqp.declare_queue("expires", arguments).await;
    amqp.bind("expires", "postern.#").await;
    let topic = format!("postern.mailbox.{client}");
    amqp.publish_foreign(&topic, marker().with_expiration("1".into()), b"").await;
    let batch = poll.last_seen(&seen.last_seen).wait(20).send(&gateway).await.batch();
    assert_eq!((batch.events.len(), batch.reset), (1, false), "{batch:?}");
    assert_eq!(batch.events[0].topic, topic);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_reads_and_changes_nothing() {
    let users = Users::new().await;
    let gateway = users.gateway().await;
    let client = unique("alice");
    Poll::of(&client).topics("jobs.#").wait(0).send(&gateway).await.expect_status(204);
    let tags = users.0.rabbitmqctl(&["list_users"]).await;
    assert!(tags.contains("operator\t[monitoring]") && !tags.contains("guest"), "{tags}");
    let connected = Connection::connect(&users.url("operator"), amqp::connection_properties("operator")).await;
    let operator = Attacker(connected.expect("an operator can connect"));
    operator.tries(&format!("postern.mailbox.{client}")).await;
    operator.is_refused("publish", operator.publish(names::EXCHANGE, TOPIC, marker()).await);
    // Nothing happened to the mailbox either.
    assert!(users.emit(TOPIC, r#"{"n":1}"#).await.status.success());
    assert_eq!(Poll::of(&client).wait(20).send(&gateway).await.batch().numbers("n"), [1]);
}

/// Returns a file of the repository.
fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_compose_has_the_users_of_the_page_and_runs_with_them() {
    let folder = Folder::new("definitions");
    let definitions = folder.write("definitions.json", &file("deploy/rabbitmq/definitions.json"));
    let settings = file("deploy/rabbitmq/20-postern.conf");
    let settings = settings.replace("/etc/rabbitmq/definitions.json", &definitions.display().to_string());
    assert!(settings.contains(&*definitions.display().to_string()), "{settings}");
    let (node, users) = (RabbitNode::start_with(&[&settings]).await, Users::new().await);
    for list in [&["list_users"][..], &["list_permissions", "-p", VHOST], &["list_topic_permissions", "-p", VHOST]] {
        let sorted = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (of_compose, of_the_page) = (sorted(node.rabbitmqctl(list).await), sorted(users.0.rabbitmqctl(list).await));
        assert_eq!(of_compose, of_the_page, "{list:?}");
        assert!(of_compose.len() > 1, "{list:?}: {of_compose:?}");
    }

    let compose = file("docker-compose.yml");
    let urls = compose.lines().filter_map(|line| line.trim().strip_prefix("AMQP_URL: "));
    let urls: Vec<_> = urls.map(|url| url.replace("rabbitmq:5672", &format!("127.0.0.1:{}", node.port()))).collect();
    let [of_gateway, of_publisher] = &urls[..] else { panic!("{urls:?}") };
    assert!(of_gateway.contains("//gateway:") && of_publisher.contains("//publisher:"), "{urls:?}");
    let gateway = Gateway::builder().amqp_url(of_gateway).with_feed().start().await;
    gateway.wait_ready().await;
    let poll = Poll::of(&unique("alice")).topics("jobs.#");
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    let simulated = Publisher::new(&["simulate", "--rate", "5", "--count", "3"]).amqp_url(of_publisher).run().await;
    assert!(simulated.status.success(), "{simulated:?}");
    assert!(!poll.wait(20).send(&gateway).await.batch().events.is_empty());
}
