//! What retention takes under a reader.

use std::{sync::Arc, time::Duration};

use broker::{
    Broker, Content, Delivery, Lease, LeaseRequest,
    handover::Claim,
    log::{EventLog, LogTail},
};
use events::{ClientId, Topic};
use tokio::time::timeout;

use super::{
    super::{EmbeddedBroker, EmbeddedLease, EmbeddedOptions},
    world::{event, options, settle},
};
use crate::testing::Folder;

fn alice() -> ClientId {
    "alice".parse().unwrap()
}

fn topic() -> Topic {
    "a".parse().unwrap()
}

fn request() -> LeaseRequest {
    let topics = vec!["a".parse().unwrap()];
    LeaseRequest { client: alice(), topics, seen_before: false, last_seen: None, window: 64, claim: Claim::default() }
}

/// Reads what waits in a mailbox: its events by number, `None` for a marker.
async fn read(broker: &EmbeddedBroker) -> Vec<Option<usize>> {
    let mut lease = broker.open(request()).await.unwrap();
    let mut read = Vec::new();
    for _ in 0..broker.mailbox(&alice()).await.unwrap().unwrap().queued {
        let next = timeout(Duration::from_secs(30), lease.next()).await.expect("what is counted comes").unwrap();
        read.push(match next.content {
            Content::Event(event) => Some(usize::from_be_bytes(event.payload[..].try_into().unwrap())),
            Content::Created(_) | Content::Lost(_) => None,
        });
    }
    lease.release().await;
    read
}

#[tokio::test]
async fn what_is_confirmed_before_retention_takes_it_is_no_loss() {
    let folder = Folder::new();
    let broker = EmbeddedBroker::start(&options(&folder, 2), Arc::default()).unwrap();
    let mut lease = broker.open(request()).await.unwrap();
    for number in 0..3 {
        broker.publish(&event(topic(), number)).await.unwrap();
    }
    let first = lease.next().await.unwrap();
    // The writer makes room in the same batch in which it takes note of this.
    lease.confirm(first.tag).await.unwrap();
    lease.release().await;
    settle(&broker).await;
    assert_eq!(read(&broker).await, [Some(1), Some(2)]);
}

#[tokio::test]
async fn what_retention_takes_from_a_slow_reader_is_told_in_its_place() {
    let folder = Folder::new();
    let broker = EmbeddedBroker::start(&options(&folder, 2), Arc::default()).unwrap();
    broker.open(request()).await.unwrap().release().await;
    for number in 0..5 {
        broker.publish(&event(topic(), number)).await.unwrap();
    }
    settle(&broker).await;
    assert_eq!(read(&broker).await, [None, Some(3), Some(4)]);
}

/// Starts a broker that keeps nothing, so that the position of a loss is always the end of the log; with a mailbox.
async fn start_forgetful(folder: &Folder) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(&options(folder, 0), Arc::default()).unwrap();
    broker.open(request()).await.unwrap().release().await;
    broker
}

/// Has the mailbox lose an event and its reader be told; returns what it was told under which Lease.
async fn is_told(broker: &EmbeddedBroker) -> (EmbeddedLease, Delivery) {
    broker.publish(&event(topic(), 0)).await.unwrap();
    others(broker).await;
    let mut lease = broker.open(request()).await.unwrap();
    let told = lease.next().await.unwrap();
    assert!(matches!(told.content, Content::Lost(_)), "{told:?}");
    (lease, told)
}

/// Checks that after a confirm nothing is left in the mailbox.
async fn settles(broker: &EmbeddedBroker, mut lease: EmbeddedLease, seen: Delivery) {
    lease.confirm(seen.tag).await.unwrap();
    lease.release().await;
    assert_eq!(read(broker).await, []);
}

/// Has retention go on, over events of others.
async fn others(broker: &EmbeddedBroker) {
    for number in 1..4 {
        broker.publish(&event("c".parse().unwrap(), number)).await.unwrap();
    }
    settle(broker).await;
}

#[tokio::test]
async fn a_loss_that_is_confirmed_is_told_no_more_also_if_retention_went_on_before() {
    let folder = Folder::new();
    let broker = start_forgetful(&folder).await;
    let (lease, told) = is_told(&broker).await;
    others(&broker).await;
    settles(&broker, lease, told).await;
}

#[tokio::test]
async fn a_loss_that_was_told_is_flagged_in_the_next_lease_also_if_retention_went_on_before() {
    let folder = Folder::new();
    let broker = start_forgetful(&folder).await;
    let (lease, told) = is_told(&broker).await;
    others(&broker).await;
    lease.release().await;
    let again = broker.open(request()).await.unwrap().next().await.unwrap();
    let (Content::Lost(told), Content::Lost(id)) = (told.content, again.content) else { panic!("both are losses") };
    assert_eq!((id, again.redelivered), (told, true), "so that a token for it is known");
}

#[tokio::test]
async fn what_was_handed_over_before_retention_took_it_is_no_loss_once_it_is_confirmed() {
    let folder = Folder::new();
    let broker = start_forgetful(&folder).await;
    let mut lease = broker.open(request()).await.unwrap();
    broker.publish(&event(topic(), 0)).await.unwrap();
    let seen = lease.next().await.unwrap();
    assert!(matches!(seen.content, Content::Event(_)), "{seen:?}");
    others(&broker).await;
    settles(&broker, lease, seen).await;
}

#[tokio::test]
async fn a_tail_that_retention_overtakes_says_so() {
    // In memory, where what is gone is gone at once.
    let folder = Folder::new();
    let feed_topics = vec!["#".parse().unwrap()];
    let options = EmbeddedOptions { data_dir: None, feed_topics, ..options(&folder, 2) };
    let broker = EmbeddedBroker::start(&options, Arc::default()).unwrap();
    let mut tail = broker.log().open_tail(|_, _| {}).await.unwrap().tail;
    broker.publish(&event(topic(), 0)).await.unwrap();
    assert_eq!(tail.next().await.unwrap()[0].offset, 0);
    for number in 1..6 {
        broker.publish(&event(topic(), number)).await.unwrap();
    }
    settle(&broker).await;
    let next = tail.next().await;
    assert!(next.is_err(), "1 to 3 are gone, and this is {next:?}");
}
