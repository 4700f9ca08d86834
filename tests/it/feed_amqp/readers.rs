//! The readers that searches leave open for the next one.

use std::{collections::BTreeSet, time::Duration};

use broker::{
    Broker,
    log::{EventLog, LogTail, Logged},
};
use broker_rabbitmq::AmqpBroker;
use futures_util::future::try_join_all;
use postern_tests::{Amqp, PATIENCE, RabbitNode, eventually, give_up, shared_node};
use tokio::time::timeout;

use super::{FEED, alone, connect_with, list, numbers, publish, selection};

/// So long that no reader goes for lack of use, however busy the machine is.
const NEVER: Duration = Duration::from_mins(10);

/// Reads on after an event in small pieces, as a client does that catches up, with pieces of random size.
async fn catch_up(broker: &AmqpBroker, wanted: &str, mut seen: Logged, to: u64) -> Vec<Logged> {
    let mut all = Vec::new();
    loop {
        let limit = rand::random_range(1..200);
        let searched = broker.log().search_after(&selection(wanted), seen.offset, to, limit).await.unwrap();
        let before = searched.before.expect("it is there");
        assert_eq!((before.offset, before.event.check(0)), (seen.offset, seen.event.check(0)));
        assert!(searched.oldest <= seen.offset + 1 && searched.found.len() <= limit);
        all.extend(searched.found);
        if searched.reached >= to {
            return all;
        }
        seen = searched.last.expect("something was looked at");
    }
}

/// Returns the channels of those who search the feed; RabbitMQ does not list the consumers of a stream.
async fn readers(node: &RabbitNode, url: &str) -> BTreeSet<String> {
    let vhost = url.rsplit('/').next().unwrap();
    let arguments = ["list_channels", "--formatter", "json", "vhost", "name", "consumer_count", "prefetch_count"];
    let json = node.rabbitmqctl(&arguments).await;
    let channels: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let searches = |channel: &&serde_json::Value| {
        channel["vhost"] == vhost && channel["consumer_count"] == 1 && channel["prefetch_count"] != 1000
    };
    channels.iter().filter(searches).map(|channel| channel["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until no search has a reader.
async fn all_are_closed(url: &str) {
    let node = shared_node().await;
    eventually(Duration::from_mins(1), "every reader is closed", async || {
        let open = readers(node, url).await.len();
        if open == 0 { Ok(()) } else { Err(open) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_where_a_search_stopped_needs_no_second_reader() {
    let node = shared_node().await;
    let url = node.vhost("feed").await;
    let broker = connect_with(&url, NEVER).await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 0..1000).await;
    publish(&broker, "b", 1000..2000).await;
    publish(&broker, "a", 2000..3000).await;
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let first = broker.log().search(&selection("a"), 0, end.next, 7).await.unwrap();
    let mut seen = first.last.unwrap();
    assert_eq!(numbers(&first.found), list(0..7));
    for piece in 0..10 {
        let searched = broker.log().search_after(&selection("a"), seen.offset, end.next, 50).await.unwrap();
        assert_eq!(numbers(&searched.found), list(7 + piece * 50..57 + piece * 50));
        seen = searched.last.unwrap();
    }
    let opened = readers(node, &url).await;
    assert_eq!(opened.len(), 1, "the first search's");
    // Another place, and another pattern, have readers of their own.
    let other = broker.log().search_after(&selection("a"), first.found[2].offset, end.next, 1).await.unwrap();
    assert_eq!(numbers(&other.found), [3]);
    let other = broker.log().search_after(&selection("#"), seen.offset, end.next, 1).await.unwrap();
    assert_eq!(numbers(&other.found), [507]);
    let three = readers(node, &url).await;
    assert!(three.len() == 3 && three.is_superset(&opened), "{opened:?}, {three:?}");
    let rest = catch_up(&broker, "a", seen, end.next).await;
    assert_eq!(numbers(&rest), list((507..1000).chain(2000..3000)));
    let two = readers(node, &url).await;
    assert!(two.len() == 2 && two.is_disjoint(&opened), "who has come to the end leaves no reader: {two:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_bounded() {
    // Not the shared one: under other settings there are fewer channels than readers.
    let node = RabbitNode::start().await;
    let url = node.vhost("feed").await;
    let broker = connect_with(&url, NEVER).await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a.a.a.a.a.a.a.a", 0..100).await;
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let searches = (0..160).map(|n| {
        let words: Vec<&str> = (0..8).map(|bit| ["a", "*"][n >> bit & 1]).collect();
        let (broker, wanted) = (broker.clone(), selection(&words.join(".")));
        async move { broker.log().search(&wanted, 0, end.next, 1).await.map(|searched| searched.found.len()) }
    });
    assert_eq!(try_join_all(searches).await.unwrap(), [1; 160]);
    let open = readers(&node, &url).await.len();
    assert!((100..=128).contains(&open), "{open} readers are open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_is_given_up_at_any_step_leaves_no_reader() {
    let (url, broker) = alone().await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 0..10).await;
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    for polls in 1.. {
        // It finds all, so it would leave no reader for the next.
        if give_up(broker.log().search(&selection("a"), 0, end.next, 100), polls).await {
            break;
        }
    }
    all_are_closed(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_go_when_no_search_comes_back() {
    let (url, broker) = alone().await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 0..100).await;
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    broker.log().search(&selection("a"), 0, end.next, 1).await.unwrap();
    let node = shared_node().await;
    assert_eq!(readers(node, &url).await.len(), 1, "it waits for its client");
    all_are_closed(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_deleted_feed_is_not_taken_for_one_of_the_next() {
    let (url, broker) = alone().await;
    let amqp = Amqp::connect(&url).await;
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 0..1000).await;
    let mut end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let seen = broker.log().search(&selection("a"), 0, end.next, 5).await.unwrap().last.unwrap();
    amqp.delete_queue(FEED).await;
    timeout(PATIENCE, end.tail.next()).await.expect("the loss should be told").unwrap_err();
    broker.log().open_tail(|_, _| ()).await.unwrap();
    publish(&broker, "a", 5000..5100).await;
    let end = broker.log().open_tail(|_, _| ()).await.unwrap();
    let searched = broker.log().search_after(&selection("a"), seen.offset, end.next, 3).await.unwrap();
    assert_ne!(
        searched.before.as_ref().map(|before| before.event.check(0)),
        Some(seen.event.check(0)),
        "of another log"
    );
    assert!(numbers(&searched.found).iter().all(|number| *number >= 5000), "{searched:?}");
}
