//! Two polls of one client, on one gateway or on two, and events at the worst instant.
//!
//! Two gateways need RabbitMQ: an embedded broker has one.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use postern_tests::{
    Broker, DirectPublisher, Gateway, HttpConnection, Poll, Request, eventually_eq, on_both_brokers, shared_broker,
    unique,
};
use tokio::time::timeout;

on_both_brokers!(the_newest_poll_wins_and_no_event_goes_astray);
async fn the_newest_poll_wins_and_no_event_goes_astray(broker: Broker) {
    let gateway = broker.gateway().await.start().await;
    let backend = broker.behind(&gateway).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    let mut older = poll.hold(&gateway).await;
    assert!(older.is_silent(Duration::from_millis(300)).await);
    let mut newer = poll.hold(&gateway).await;
    let replaced = timeout(Duration::from_secs(1), older.answer()).await.expect("within a second");
    replaced.problem(409);
    assert_eq!(replaced.header("retry-after"), None, "a poll that was replaced must not fight for its place");
    backend.publish_numbered(&topic, 0..3).await;
    let mut numbers = Vec::new();
    while numbers.len() < 3 {
        let batch = newer.answer().await.batch();
        numbers.extend(batch.numbers("n"));
        newer.send(&poll.clone().last_seen(&batch.last_seen).request().bytes()).await;
    }
    assert_eq!(numbers, [0, 1, 2]);
}

on_both_brokers!(a_poll_that_a_browser_sends_again_is_told_so_and_displaces_no_other);
async fn a_poll_that_a_browser_sends_again_is_told_so_and_displaces_no_other(broker: Broker) {
    let gateway = broker.gateway().await.start().await;
    let poll = Poll::of(&unique("alice")).topics(&unique("jobs"));
    let mut current = poll.clone().query("poll", "tab.2").hold(&gateway).await;
    assert!(current.is_silent(Duration::from_millis(300)).await);
    poll.clone().query("poll", "tab.1").send(&gateway).await.problem(409);
    assert!(current.is_silent(Duration::from_millis(300)).await);
    let mut next = poll.query("poll", "tab.3").hold(&gateway).await;
    current.answer().await.problem(409);
    assert!(next.is_silent(Duration::from_millis(300)).await);
}

on_both_brokers!(two_readers_that_come_back_at_once_do_not_keep_the_gateway_busy);
async fn two_readers_that_come_back_at_once_do_not_keep_the_gateway_busy(broker: Broker) {
    let gateway = broker.gateway().await.start().await;
    let poll = Poll::of(&unique("alice")).topics(&unique("jobs")).wait(55);
    let displaced = AtomicU32::new(0);
    let reader = async || {
        let mut connection = HttpConnection::open(gateway.address()).await;
        loop {
            poll.clone().send_on(&mut connection).await.problem(409);
            displaced.fetch_add(1, Ordering::Relaxed);
        }
    };
    let fight = timeout(Duration::from_secs(4), async { tokio::join!(reader(), reader()) }).await;
    assert!(fight.is_err(), "the readers go on");
    let displaced = displaced.into_inner();
    assert!((2..=20).contains(&displaced), "{displaced} polls were displaced within four seconds");
}

/// What holds it here is a program that gateways cannot ask for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_whose_holder_does_not_answer_is_refused_for_a_while() {
    let broker = shared_broker().await;
    let gateway = Gateway::builder().amqp_url(broker.url()).start().await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    Request::new("PUT", &format!("/clients/{client}/topics/{topic}")).send(gateway.address()).await.expect_status(204);
    let amqp = broker.amqp().await;
    let holder = amqp.hold(&format!("postern.mailbox.{client}"), 1).await.expect("the mailbox is there");
    let refused = poll.send(&gateway).await;
    assert!(refused.problem(503).contains("another gateway"));
    assert!(refused.header("retry-after").is_some());
    // A holder that goes within the time of one poll is waited for.
    let mut waiting = poll.hold(&gateway).await;
    assert!(waiting.is_silent(Duration::from_millis(500)).await);
    holder.release().await;
    DirectPublisher::connect(broker.url()).await.publish(&topic, r#"{"n":1}"#).await;
    assert_eq!(waiting.answer().await.batch().numbers("n"), [1]);
}

on_both_brokers!(an_event_at_the_very_instant_of_an_answer_is_never_lost);
async fn an_event_at_the_very_instant_of_an_answer_is_never_lost(broker: Broker) {
    let gateway = broker.gateway().await.start().await;
    let backend = broker.behind(&gateway).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    let mut connection = HttpConnection::open(gateway.address()).await;
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    for n in 0..1000 {
        // A short poll and a publish at once: the answer and the event cross at a random point.
        let next = token.iter().fold(poll.clone().wait(0), |poll, token| poll.last_seen(token));
        let payload = format!("{{\"n\":{n}}}");
        let (answer, _) = tokio::join!(next.send_on(&mut connection), backend.publish(&topic, &payload));
        if answer.status == 200 {
            let batch = answer.batch();
            seen.extend(batch.numbers("n"));
            token = Some(batch.last_seen);
        }
    }
    while seen.len() < 1000 {
        let next = token.iter().fold(poll.clone().wait(5), |poll, token| poll.last_seen(token));
        let batch = next.send_on(&mut connection).await.batch();
        seen.extend(batch.numbers("n"));
        token = Some(batch.last_seen);
    }
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

on_both_brokers!(the_same_batch_is_not_answered_in_a_loop);
async fn the_same_batch_is_not_answered_in_a_loop(broker: Broker) {
    let gateway = broker.gateway().await.start().await;
    let backend = broker.behind(&gateway).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    backend.publish(&topic, r#"{"n":0}"#).await;
    for _ in 0..2 {
        assert_eq!(poll.send(&gateway).await.batch().numbers("n"), [0]);
    }
    let mut third = poll.clone().wait(0).hold(&gateway).await;
    assert!(third.is_silent(Duration::from_millis(500)).await, "held back");
    assert_eq!(third.answer().await.batch().numbers("n"), [0]);
    let ready = async || backend.messages_ready(&client).await;
    eventually_eq(Duration::from_secs(1), "messages ready", Some(0), ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_is_made_by_several_requests_at_once_is_told_as_new_once() {
    let broker = shared_broker().await;
    let first = Gateway::builder().amqp_url(broker.url()).start().await;
    let second = Gateway::builder().amqp_url(broker.url()).start().await;
    let publisher = DirectPublisher::connect(broker.url()).await;
    for round in 0..20 {
        let (client, topic) = (unique("alice"), unique("jobs"));
        // A page that binds its patterns in parallel; through both gateways in every second round.
        let gateways = [&first, if round % 2 == 0 { &first } else { &second }, &first];
        let puts = gateways.iter().enumerate().map(|(n, gateway)| {
            let request = Request::new("PUT", &format!("/clients/{client}/topics/{topic}.{n}"));
            async move { request.send(gateway.address()).await.expect_status(204) }
        });
        futures_util::future::join_all(puts).await;
        for n in 0..3 {
            publisher.publish(&format!("{topic}.{n}"), &format!("{{\"n\":{n}}}")).await;
        }
        let (mut resets, mut numbers) = (0, Vec::new());
        let mut poll = Poll::of(&client).last_seen("of-an-older-mailbox");
        while numbers.len() < 3 {
            let batch = poll.send(&first).await.batch();
            assert!(!batch.reset || numbers.is_empty(), "round {round}: a reset after {numbers:?}");
            resets += u32::from(batch.reset);
            numbers.extend(batch.numbers("n"));
            poll = Poll::of(&client).last_seen(&batch.last_seen);
        }
        poll.wait(0).send(&first).await.expect_status(204);
        assert_eq!((resets, numbers), (1, vec![0, 1, 2]), "round {round}");
    }
}
