//! What goes by itself: events by size and by age, mailboxes by absence. A client that lost something is told, and no
//! other.

use std::time::Duration;

use postern_tests::{
    Backend, Batch, Broker, Disk, EventStream, Gateway, GatewayBuilder, Poll, Request, World, eventually_eq, unique,
};

/// An event that costs 1000 bytes: its payload, and 128 besides.
fn kilobyte(n: u64) -> String {
    let json = format!(r#"{{"n":{n},"pad":""}}"#);
    json.replace(r#":"""#, &format!(":\"{}\"", "x".repeat(1000 - 128 - json.len())))
}

/// A world and, in it, a client of another topic; both have seen one event, and neither is connected.
struct TwoReaders {
    world: World,
    /// The busy client, which has not confirmed its event.
    busy: Poll,
    /// The quiet client, which has.
    quiet: Poll,
    quiet_topic: String,
}

impl TwoReaders {
    async fn with(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let world = World::with(Broker::Embedded, |builder| flags(builder).flag("--linger", "50ms")).await;
        let (client, quiet_topic) = (unique("quiet"), unique("quiet"));
        let quiet = Poll::of(&client).topics(&quiet_topic);
        quiet.clone().wait(0).send(&world.gateway).await.expect_status(204);
        world.backend.publish(&world.topic, r#"{"n":0}"#).await;
        world.backend.publish(&quiet_topic, r#"{"n":0}"#).await;
        let seen = world.poll().send(&world.gateway).await.batch();
        let busy = world.poll().last_seen(&seen.last_seen);
        let seen = quiet.send(&world.gateway).await.batch();
        let quiet = quiet.last_seen(&seen.last_seen);
        quiet.clone().wait(0).send(&world.gateway).await.expect_status(204);
        for client in [&world.client, &client] {
            let readers = async || world.backend.consumer_count(client).await;
            eventually_eq(Duration::from_secs(5), "readers", Some(0), readers).await;
        }
        Self { world, busy, quiet, quiet_topic }
    }

    /// The busy client is told that something is gone, and again until it has seen it; returns the poll that has.
    async fn is_told(&self) -> Poll {
        let told = async || {
            let batch = self.busy.send(&self.world.gateway).await.batch();
            assert!(batch.reset && batch.events.is_empty(), "{batch:?}");
            batch
        };
        told().await;
        let Batch { last_seen, .. } = told().await;
        self.busy.clone().last_seen(&last_seen)
    }

    /// The quiet client gets its next event and is told nothing.
    async fn quiet_is_told_nothing(&self) {
        let batch = self.quiet.send(&self.world.gateway).await.batch();
        assert_eq!((batch.numbers("n"), batch.reset), (vec![1], false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_go_by_size_and_only_who_missed_them_is_told() {
    let mut readers = TwoReaders::with(|builder| builder.flag("--retention-bytes", "64000")).await;
    for n in 1..=200 {
        readers.world.backend.publish(&readers.world.topic, &kilobyte(n)).await;
    }
    readers.world.backend.publish(&readers.quiet_topic, r#"{"n":1}"#).await;
    // What is known of it is on disk, too.
    readers.world.gateway.kill9();
    readers.world.gateway.start_again().await;

    let mut poll = readers.is_told().await;
    let (mut rest, mut told) = (Vec::new(), 1);
    while rest.last() != Some(&200) {
        let batch = poll.send(&readers.world.gateway).await.batch();
        // Retention may drop a few more events after the first answer, also events that were sent and are not confirmed
        // yet. That is a loss of its own.
        told += u32::from(batch.reset);
        assert!(told <= 2, "each loss is told once");
        let last = rest.last().copied().unwrap_or_default();
        rest.extend(batch.numbers("n").into_iter().filter(|number| *number > last));
        poll = poll.last_seen(&batch.last_seen);
    }
    assert_eq!(rest, (rest[0]..=200).collect::<Vec<_>>());
    // As many as fit, but for what is dropped at once: a sixty-fourth part.
    assert!((60..=66).contains(&rest.len()), "{} are left", rest.len());
    poll.wait(0).send(&readers.world.gateway).await.expect_status(204);
    readers.quiet_is_told_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_go_by_age_and_only_who_missed_them_is_told() {
    let readers = TwoReaders::with(|builder| builder.flag("--retention-age", "2s")).await;
    let World { gateway, backend, client, topic } = &readers.world;
    backend.publish_numbered(topic, 1..4).await;
    // The marker alone is left.
    let ready = async || backend.messages_ready(client).await;
    eventually_eq(Duration::from_mins(1), "messages ready", Some(1), ready).await;
    let mut held = readers.is_told().await.hold(gateway).await;
    assert!(held.is_silent(Duration::from_millis(200)).await, "nothing is left");
    backend.publish(topic, r#"{"n":4}"#).await;
    let batch = held.answer().await.batch();
    assert_eq!((batch.numbers("n"), batch.reset), (vec![4], false));
    backend.publish(&readers.quiet_topic, r#"{"n":1}"#).await;
    readers.quiet_is_told_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_expired_stays_gone_and_its_client_is_told() {
    let flags = |builder: GatewayBuilder| builder.flag("--mailbox-expiry", "1s").flag("--linger", "50ms");
    let mut world = World::with(Broker::Embedded, flags).await;
    world.backend.publish(&world.topic, r#"{"n":0}"#).await;
    let seen = world.poll().send(&world.gateway).await.batch();
    eventually_eq(Duration::from_mins(1), "the mailbox", (None, None), async || world.mailbox().await).await;
    world.gateway.kill9();
    world.gateway.start_again().await;
    assert_eq!(world.mailbox().await, (None, None));
    // What comes while there is no mailbox is in none, also for a client that is bound to the same topic later.
    world.backend.publish(&world.topic, r#"{"n":1}"#).await;
    let told = world.poll().last_seen(&seen.last_seen).send(&world.gateway).await.batch();
    assert!(told.reset && told.events.is_empty(), "{told:?}");
    let mut held = world.poll().last_seen(&told.last_seen).hold(&world.gateway).await;
    world.backend.publish(&world.topic, r#"{"n":2}"#).await;
    assert_eq!(held.answer().await.batch().numbers("n"), [2]);
    // A mailbox that is deleted by its client tells its next reader, too.
    let delete = Request::new("DELETE", &format!("/clients/{}", world.client));
    delete.send(world.gateway.address()).await.expect_status(204);
    assert!(world.poll().last_seen(&seen.last_seen).send(&world.gateway).await.batch().reset);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_of_which_no_event_was_confirmed_expires_early() {
    let flags = |builder: GatewayBuilder| {
        builder.flag("--unconfirmed-mailbox-expiry", "1s").flag("--linger", "50ms").flag("--mailbox-expiry", "1h")
    };
    let mut world = World::with(Broker::Embedded, flags).await;
    world.backend.publish(&world.topic, r#"{"n":0}"#).await;
    let seen = world.poll().send(&world.gateway).await.batch();
    let confirmed = world.poll().wait(0).last_seen(&seen.last_seen).send(&world.gateway).await;
    confirmed.expect_status(204);
    world.backend.publish(&world.topic, r#"{"n":1}"#).await;
    for restarted in [false, true] {
        if restarted {
            world.gateway.kill9();
            world.gateway.start_again().await;
        }
        // One is made by a poll, one by a binding, and both get an event.
        let (polled, bound) = (unique("polled"), unique("bound"));
        Poll::of(&polled).topics("free.#").wait(0).send(&world.gateway).await.expect_status(204);
        let bind = Request::new("PUT", &format!("/clients/{bound}/topics/free.%23"));
        bind.send(world.gateway.address()).await.expect_status(204);
        let publish = Request::publish("free.1", "application/json", "1");
        publish.send(world.gateway.address()).await.expect_status(202);
        for client in [polled, bound] {
            let status =
                async || Request::get(&format!("/clients/{client}")).send(world.gateway.address()).await.status;
            eventually_eq(Duration::from_mins(1), "a mailbox that is never used", 404, status).await;
        }
        assert_eq!(world.mailbox().await.0, Some(1), "what was confirmed once has a reader, who may come back");
    }
}

const DAY: i64 = 24 * 60 * 60;

async fn publish(gateway: &Gateway, number: u64) {
    let publish = Request::publish("a.b", "application/json", format!("{{\"n\":{number}}}"));
    publish.send(gateway.address()).await.expect_status(202);
}

/// As on a machine without a battery for its clock, which is set when the network is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_is_set_takes_no_event_before_its_time() {
    let disk = Disk::new();
    let mut gateway = disk.holding(Gateway::builder()).flag("--retention-age", "1h").start().await;
    let poll = || Poll::of("alice").topics("a.#").wait(0);
    poll().send(&gateway).await.expect_status(204);
    publish(&gateway, 0).await;
    disk.set_clock_ahead(12 * DAY);
    // The writer looks after retention with each write.
    publish(&gateway, 1).await;
    gateway.restart().await;
    publish(&gateway, 2).await;
    disk.set_clock_ahead(-30 * DAY);
    publish(&gateway, 3).await;
    gateway.kill9();
    gateway.start_again().await;
    publish(&gateway, 4).await;
    let batch = poll().send(&gateway).await.batch();
    assert_eq!((batch.numbers("n"), batch.reset), (vec![0, 1, 2, 3, 4], false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_stored_in_the_future_expires_with_the_others() {
    let disk = Disk::new();
    disk.set_clock_ahead(4000 * DAY);
    let mut gateway = disk.holding(Gateway::builder()).flag("--retention-age", "2s").start().await;
    publish(&gateway, 0).await;
    disk.set_clock_ahead(0);
    gateway.kill9();
    gateway.start_again().await;
    publish(&gateway, 1).await;
    let events = async || {
        let metrics = Request::get("/metrics").send(gateway.address()).await.text();
        metrics.lines().find_map(|line| line.strip_prefix("postern_store_events ")).map(str::to_owned)
    };
    eventually_eq(Duration::from_mins(1), "events", Some("0".to_owned()), events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_counted_from_the_start() {
    let mut gateway = Gateway::builder().embedded().start().await;
    publish(&gateway, 0).await;
    gateway.restart().await;
    let metrics = Request::get("/metrics").send(gateway.address()).await.text();
    assert!(
        metrics.contains("\npostern_store_events 1\n") && !metrics.contains("\npostern_store_bytes 0\n"),
        "{metrics}"
    );
}

/// A mailbox that was made by a binding, and whose client was never there.
struct Unread {
    gateway: Gateway,
    backend: Backend,
    client: String,
    topic: String,
}

impl Unread {
    async fn new() -> Self {
        let builder = Gateway::builder().embedded().flag("--retention-bytes", "64000").flag("--linger", "50ms");
        let gateway = builder.start().await;
        gateway.wait_ready().await;
        let (client, topic) = (unique("unread"), unique("jobs"));
        let bind = Request::new("PUT", &format!("/clients/{client}/topics/{topic}"));
        bind.send(gateway.address()).await.expect_status(204);
        Self { backend: Broker::Embedded.behind(&gateway).await, gateway, client, topic }
    }

    /// Stores an event for the client, and then so many others that retention takes it.
    async fn loses_an_event(&self) {
        self.backend.publish(&self.topic, r#"{"n":0}"#).await;
        for n in 0..200 {
            self.backend.publish("other.topic", &kilobyte(n)).await;
        }
    }

    fn poll(&self) -> Poll {
        Poll::of(&self.client)
    }

    /// Has a poll told that something is gone; returns the token of that.
    async fn is_told(&self, poll: &Poll) -> String {
        let told = poll.send(&self.gateway).await.batch();
        assert!(told.reset && told.events.is_empty(), "{told:?}");
        told.last_seen
    }

    /// Waits until the Lease has ended.
    async fn is_left(&self) {
        let readers = async || self.backend.consumer_count(&self.client).await;
        eventually_eq(Duration::from_secs(5), "readers", Some(0), readers).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_got_anything_is_told_what_retention_took_before_it_came() {
    let unread = Unread::new().await;
    unread.loses_an_event().await;
    // It has no token to show, and is told until it has one.
    for _ in 0..2 {
        unread.is_told(&unread.poll()).await;
    }
    let token = unread.is_told(&unread.poll()).await;
    unread.poll().last_seen(&token).wait(0).send(&unread.gateway).await.expect_status(204);
    unread.poll().wait(0).send(&unread.gateway).await.expect_status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_after_a_loss_that_was_told_is_told_as_well() {
    let unread = Unread::new().await;
    let mut poll = unread.poll();
    for _ in 0..3 {
        unread.loses_an_event().await;
        let token = unread.is_told(&poll).await;
        poll = unread.poll().last_seen(&token);
        unread.is_left().await;
    }
    poll.wait(0).send(&unread.gateway).await.expect_status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_after_a_creation_that_was_told_is_told_as_well() {
    let unread = Unread::new().await;
    let token = unread.is_told(&unread.poll().last_seen("of-an-older-mailbox")).await;
    unread.is_left().await;
    unread.loses_an_event().await;
    unread.is_told(&unread.poll().last_seen(&token)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_token_is_told_what_retention_took() {
    let unread = Unread::new().await;
    unread.loses_an_event().await;
    let path = format!("/clients/{}/events", unread.client);
    let first = EventStream::open(unread.gateway.address(), &path, "").await.next().await;
    assert!(first.is_some_and(|event| event.kind == "reset"));
}
