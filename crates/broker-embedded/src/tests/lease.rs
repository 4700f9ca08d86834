//! What happens while a Lease opens, and while it is open.

use std::{sync::Arc, time::Duration};

use broker::{Broker, Content, Lease, LeaseRequest, handover::Claim};
use events::ClientId;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    super::{EmbeddedBroker, EmbeddedOptions, KeptMailboxes, Retention},
    world::{EVERYTHING, event, options, start as start_again},
};
use crate::testing::Folder;

/// Keeps everything, in memory.
fn start() -> EmbeddedBroker {
    let forever = Duration::from_hours(24);
    let retention = Retention { age: forever, bytes: 1 << 30 };
    let options = EmbeddedOptions {
        data_dir: None,
        mailboxes: KeptMailboxes::all_for(forever),
        retention,
        feed_topics: Vec::new(),
    };
    EmbeddedBroker::start(&options, Arc::default()).unwrap()
}

fn request() -> LeaseRequest {
    let (client, topics) = ("alice".parse::<ClientId>().unwrap(), vec!["a".parse().unwrap()]);
    LeaseRequest { client, topics, seen_before: false, last_seen: None, window: 64, claim: Claim::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_while_a_lease_opens_is_not_lost() {
    let broker = start();
    broker.open(request()).await.unwrap().release().await;
    for number in 0..20_000 {
        let publisher = broker.clone();
        let publish = tokio::spawn(async move { publisher.publish(&event("a".parse().unwrap(), number)).await });
        let mut lease = broker.open(request()).await.unwrap();
        let delivery = timeout(Duration::from_secs(10), lease.next()).await.expect("the event comes").unwrap();
        let Content::Event(came) = delivery.content else { panic!("{delivery:?}") };
        assert_eq!(came.payload[..], number.to_be_bytes());
        lease.confirm(delivery.tag).await.unwrap();
        lease.release().await;
        publish.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_waits_is_counted_however_far_apart_it_stands() {
    // More than is looked through in one breath.
    const OTHERS: usize = 70_000;
    let broker = start();
    broker.open(request()).await.unwrap().release().await;
    broker.publish(&event("a".parse().unwrap(), 0)).await.unwrap();
    for _ in 0..OTHERS / 100 {
        let other = event("b".parse().unwrap(), 0);
        join_all((0..100).map(|_| broker.publish(&other))).await.into_iter().for_each(|published| published.unwrap());
    }
    broker.publish(&event("a".parse().unwrap(), 1)).await.unwrap();
    assert_eq!(broker.open(request()).await.unwrap().backlog(), 2);
}

#[tokio::test]
async fn what_an_open_lease_handed_over_is_flagged_after_an_orderly_end() {
    let folder = Folder::new();
    let options = options(&folder, EVERYTHING);
    let broker = EmbeddedBroker::start(&options, Arc::default()).unwrap();
    let mut lease = broker.open(request()).await.unwrap();
    broker.publish(&event("a".parse().unwrap(), 0)).await.unwrap();
    broker.publish(&event("a".parse().unwrap(), 1)).await.unwrap();
    lease.next().await.unwrap();
    broker.close().await;
    drop((lease, broker));
    let mut lease = start_again(&options).open(request()).await.unwrap();
    let flags = [lease.next().await.unwrap().redelivered, lease.next().await.unwrap().redelivered];
    assert_eq!(flags, [true, false]);
}
