//! Which events are in the log, and at which offsets.

use std::collections::HashMap;

use broker::{Broker, Lease, LeaseRequest, log::EventLog};

use super::world::{
    LogFactory, LogOptions, ROOMY, end, follow, list, newest, numbers, offsets, open_tail, publish, search, search_all,
};
use crate::contract::world::{Durable, Reader, open, take};

pub(in crate::contract) async fn an_empty_log_has_an_end<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let (first, shown) = open_tail(world.broker()).await;
    assert_eq!(shown, []);
    assert_eq!(first.complete_from, 0, "nothing is missing");
    let (second, shown) = open_tail(world.broker()).await;
    assert_eq!(shown, []);
    let found = search(world.broker(), "#", 0..second.next, 10).await;
    assert!(found.found.is_empty() && found.last.is_none() && !found.damaged, "{found:?}");
    assert_eq!((found.reached, found.oldest), (second.next, 0));
    assert!(second.next >= first.next);
}

pub(in crate::contract) async fn offsets_grow_in_the_order_in_which_events_were_stored<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let mut tail = end(world.broker()).await.tail;
    for number in 0..60 {
        publish(world.broker(), ["a", "b.x", "c"][number % 3], [number]).await;
    }
    let followed = follow(&mut tail, 60).await;
    assert_eq!(numbers(&followed), list(0..60));
    // Each reader says the same of an event.
    let end = end(world.broker()).await.next;
    let searched = search_all(world.broker(), "#", 0..end).await;
    assert_eq!((numbers(&searched), offsets(&searched)), (list(0..60), offsets(&followed)));
}

pub(in crate::contract) async fn an_event_is_in_the_log_before_its_publisher_is_answered<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let mut before = end(world.broker()).await.next;
    for number in 0..20 {
        publish(world.broker(), "a", [number]).await;
        let (end, shown) = open_tail(world.broker()).await;
        let found = search_all(world.broker(), "#", before..end.next).await;
        assert_eq!(numbers(&found), [number]);
        assert_eq!(shown.last().map(|(_, offset)| *offset), Some(found[0].offset));
        before = end.next;
    }
}

pub(in crate::contract) async fn the_end_is_after_all_that_was_stored_and_before_all_that_is_stored_later<
    F: LogFactory,
>() {
    let world = F::with_log(ROOMY).await;
    end(world.broker()).await;
    publish(world.broker(), "a.x", 0..10).await;
    publish(world.broker(), "a.y", 10..20).await;
    let mut end = end(world.broker()).await;
    let before = search_all(world.broker(), "#", 0..end.next).await;
    assert_eq!(numbers(&before), list(0..20));
    publish(world.broker(), "a.x", 20..700).await;
    // The end that another gateway finds meanwhile is no event.
    let other = open_tail(world.broker()).await.0;
    let after = follow(&mut end.tail, 680).await;
    assert_eq!(numbers(&after), list(20..700));
    assert!(after[0].offset >= end.next && after[679].offset < other.next);
    assert_eq!(numbers(&search_all(world.broker(), "#", 0..other.next).await), list(0..700));
}

pub(in crate::contract) async fn the_newest_event_of_each_topic_is_shown<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    end(world.broker()).await;
    for round in 0..3 {
        for topic in 0..40 - 10 * round {
            publish(world.broker(), &format!("t.{topic}"), [topic]).await;
        }
    }
    let (end, shown) = open_tail(world.broker()).await;
    let all = search_all(world.broker(), "#", 0..end.next).await;
    let mut newest = newest(&all);
    newest.retain(|_, offset| *offset >= end.complete_from);
    assert_eq!(shown.into_iter().collect::<HashMap<_, _>>(), newest, "the last that is shown of each");
    assert!(!newest.is_empty(), "from {} on", end.complete_from);
}

pub(in crate::contract) async fn publishing_goes_on_while_the_end_is_found<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    end(broker).await;
    publish(broker, "a", 0..1000).await;
    let ((mut end, shown), ()) = tokio::join!(open_tail(broker), publish(broker, "a", 1000..4000));
    let mut all = search_all(broker, "a", 0..end.next).await;
    assert!((1000..=4000).contains(&all.len()), "{}", all.len());
    assert_eq!(shown.last().map(|(_, offset)| *offset), all.last().map(|logged| logged.offset));
    all.extend(follow(&mut end.tail, 4000 - all.len()).await);
    assert_eq!(numbers(&all), list(0..4000));
}

pub(in crate::contract) async fn only_events_for_feeds_are_in_the_log<F: LogFactory>() {
    let world = F::with_log(LogOptions { topics: "feeds.#", ..ROOMY }).await;
    let alice = Reader::new();
    let broker = world.broker();
    let mut tail = end(broker).await.tail;
    let all = LeaseRequest { topics: vec!["#".parse().unwrap()], ..alice.again() };
    let mut lease = open(broker, all).await;
    for number in 0..40 {
        publish(broker, ["mailboxes", "feeds.x", "feeds.y", "elsewhere.feeds"][number % 4], [number]).await;
    }
    let of_feeds = list((0..40).filter(|number| matches!(number % 4, 1 | 2)));
    assert_eq!(numbers(&follow(&mut tail, 20).await), of_feeds);
    let (end, shown) = open_tail(broker).await;
    assert_eq!(numbers(&search_all(broker, "#", 0..end.next).await), of_feeds);
    let none = search(broker, "mailboxes", 0..end.next, 10).await;
    assert_eq!((none.found.len(), none.reached), (0, end.next));
    assert!(shown.iter().all(|(topic, _)| topic.as_str().starts_with("feeds.")), "{shown:?}");
    let last = shown.last().unwrap().1;
    for offset in 0..=last {
        assert!(broker.log().reaches(offset).await.unwrap(), "a tail hands over the event at {last}, after {offset}");
    }
    assert!(!broker.log().reaches(last + 1).await.unwrap(), "only an event that is for no feed is there");
    // A mailbox has them all the same.
    take(&mut lease, 40).await;
    lease.release().await;
}

pub(in crate::contract) async fn a_confirm_takes_nothing_from_the_log<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let alice = Reader::new();
    let broker = world.broker();
    end(broker).await;
    let mut lease = open(broker, alice.request()).await;
    alice.publish(broker, 0..20).await;
    let taken = take(&mut lease, 20).await;
    lease.confirm(taken[19].tag).await.unwrap();
    lease.release().await;
    broker.delete(&alice.client).await.unwrap();
    let end = end(broker).await.next;
    assert_eq!(numbers(&search_all(broker, "#", 0..end).await), list(0..20));
}

/// What is in a log, and where.
async fn content<B: Broker>(broker: &B) -> (Vec<usize>, Vec<u64>, u64) {
    let end = end(broker).await.next;
    let all = search_all(broker, "#", 0..end).await;
    (numbers(&all), offsets(&all), end)
}

pub(in crate::contract) async fn events_keep_their_offsets_over_an_end_and_later_ones_get_higher_ones<
    F: LogFactory + Durable,
>() {
    let mut world = F::with_log(ROOMY).await;
    end(world.broker()).await;
    let mut stored = 0;
    for is_crash in [false, true] {
        publish(world.broker(), "a.x", stored..stored + 100).await;
        stored += 100;
        let (known, at, next) = content(world.broker()).await;
        assert_eq!(known, list(0..stored));
        if is_crash {
            world.crash().await;
        } else {
            world.restart().await;
        }
        let (mut end, shown) = open_tail(world.broker()).await;
        assert!(end.next >= next, "{} after {next}", end.next);
        let last = shown.last().map(|(_, offset)| *offset);
        assert_eq!(last, at.last().copied().filter(|last| *last >= end.complete_from));
        let (again, still_at, _) = content(world.broker()).await;
        assert_eq!((again, still_at), (known, at));
        publish(world.broker(), "b", [stored]).await;
        stored += 1;
        assert!(follow(&mut end.tail, 1).await[0].offset >= next, "no offset is given twice");
    }
}
