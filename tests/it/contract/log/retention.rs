//! What goes from the log, and how that is told.

use broker::{
    Broker, BrokerError, Lease,
    log::{EventLog, LogTail, Searched},
};
use postern_tests::{PATIENCE, eventually};
use tokio::time::timeout;

use super::world::{
    LogFactory, LogOptions, ROOMY, end, follow, list, numbers, offsets, publish, search, search_all, selection,
};
use crate::contract::world::{Durable, Reader, open};

/// Far less than what is published.
const LITTLE: LogOptions = LogOptions { bytes: 100_000, ..ROOMY };

/// So many small events are more than that on every broker, and more than may be on their way to a tail.
const MANY: usize = 10_000;

/// Fills a log until retention has taken its first event; returns the end.
async fn overfill<B: Broker>(broker: &B) -> u64 {
    publish(broker, "a", 0..MANY).await;
    let end = end(broker).await.next;
    eventually(PATIENCE, "retention takes events", async || {
        let searched = search(broker, "#", 0..end, 1).await;
        if searched.oldest > 0 { Ok(()) } else { Err(searched) }
    })
    .await;
    end
}

pub(in crate::contract) async fn the_oldest_go_and_what_is_left_has_no_gap<F: LogFactory>() {
    let world = F::with_log(LITTLE).await;
    let broker = world.broker();
    end(broker).await;
    let end = overfill(broker).await;
    let searched = search(broker, "a", 0..end, 1).await;
    assert!(searched.found[0].offset >= searched.oldest && searched.reached > searched.oldest, "{searched:?}");
    assert!(!searched.damaged, "what retention took is not damaged");
    let rest = search_all(broker, "a", 0..end).await;
    let left = numbers(&rest);
    assert!(left.len() < MANY, "{} are left", left.len());
    assert_eq!(left, list(MANY - left.len()..MANY));
    // Where nothing is gone, nothing is told.
    let recent = search(broker, "a", end - 10..end, 100).await;
    assert!(recent.oldest <= end - 10, "{recent:?}");
}

pub(in crate::contract) async fn a_search_after_an_event_that_is_gone_looks_for_nothing_else<F: LogFactory>() {
    let world = F::with_log(LITTLE).await;
    let broker = world.broker();
    let mut tail = end(broker).await.tail;
    publish(broker, "a", 0..10).await;
    let seen = offsets(&follow(&mut tail, 10).await)[5];
    let end = overfill(broker).await;
    let searched = broker.log().search_after(&selection("#"), seen, end, 10).await.unwrap();
    let Searched { before, found, oldest, damaged, .. } = searched;
    assert!(before.is_none() && found.is_empty() && !damaged, "{before:?}, {found:?}");
    assert!(oldest > seen + 1, "{oldest} tells that events after {seen} are gone");
}

pub(in crate::contract) async fn nothing_is_kept_before_what_is_known_to_be_the_oldest<F: LogFactory>() {
    let world = F::with_log(LITTLE).await;
    let broker = world.broker();
    end(broker).await;
    assert_eq!(broker.log().known_oldest(), 0);
    publish(broker, "a", 0..10).await;
    let end = overfill(broker).await;
    let known = broker.log().known_oldest();
    assert_eq!(known > 0, F::KNOWS_NEWEST, "a broker elsewhere would have to be asked");
    let first = &search(broker, "a", 0..end, 1).await.found[0];
    assert!(known <= first.offset, "{known}, {first:?}");
    assert!(broker.log().reaches(0).await.unwrap(), "later ones are there");
}

pub(in crate::contract) async fn what_a_mailbox_has_not_confirmed_goes_as_well<F: LogFactory>() {
    let world = F::with_log(LITTLE).await;
    let broker = world.broker();
    let alice = Reader::new();
    end(broker).await;
    let lease = open(broker, alice.request()).await;
    alice.publish(broker, 0..10).await;
    let end = overfill(broker).await;
    assert!(!numbers(&search_all(broker, "a", 0..end).await).is_empty());
    let searched = search(broker, alice.pattern(".#").as_str(), 0..end, 100).await;
    assert!(searched.found.is_empty(), "{searched:?}");
    lease.release().await;
}

pub(in crate::contract) async fn a_tail_that_retention_overtakes_says_so<F: LogFactory>() {
    let world = F::with_log(LITTLE).await;
    let broker = world.broker();
    let mut tail = end(broker).await.tail;
    // The tail does not read yet.
    overfill(broker).await;
    let (mut seen, mut lost) = (Vec::new(), None);
    while lost.is_none() {
        match timeout(PATIENCE, tail.next()).await.expect("it does not fall silent") {
            Ok(events) => seen.extend(numbers(&events)),
            Err(error) => lost = Some(error),
        }
    }
    assert_eq!(seen, list(0..seen.len()), "nothing is left out before it is told");
    assert!(seen.len() < MANY, "{lost:?}");
    assert!(matches!(lost, Some(BrokerError::Unavailable(_))), "{lost:?}");
    let mut end = end(broker).await;
    publish(broker, "a", 0..10).await;
    assert_eq!(numbers(&follow(&mut end.tail, 10).await), list(0..10));
}

pub(in crate::contract) async fn no_offset_of_an_event_that_is_gone_is_given_again<F: LogFactory + Durable>() {
    let mut world = F::with_log(LITTLE).await;
    end(world.broker()).await;
    let mut next = overfill(world.broker()).await;
    for is_crash in [false, true] {
        if is_crash {
            world.crash().await;
        } else {
            world.restart().await;
        }
        let mut end = end(world.broker()).await;
        assert!(end.next >= next, "{} after {next}", end.next);
        publish(world.broker(), "a", [0]).await;
        let offset = follow(&mut end.tail, 1).await[0].offset;
        assert!(offset >= next, "{offset} after {next}");
        next = offset + 1;
    }
}
