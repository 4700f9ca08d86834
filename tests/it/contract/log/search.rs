//! Looking for events in the log.

use std::ops::Range;

use broker::{
    Broker,
    limits::MAX_BATCH_BYTES,
    log::{EventLog, Logged, Searched},
};
use events::{Event, Topic};
use futures_util::future::join_all;

use super::world::{LogFactory, ROOMY, end, list, newest, numbers, offsets, publish, search, search_all, selection};

const PATTERNS: [&str; 5] = ["#", "jobs.*.status", "jobs.1.#", "jobs.2.status", "none.#"];

/// Fills a log with events of some topics in a mixed order; returns its end and all that is in it.
async fn fill<B: Broker>(broker: &B, count: usize) -> (u64, Vec<Logged>) {
    end(broker).await;
    for from in (0..count).step_by(20) {
        publish(broker, &format!("jobs.{}.status", from / 20 % 5), from..from + 20).await;
        if from % 200 == 0 {
            // Where an end was found, offsets may have a gap.
            end(broker).await;
        }
    }
    let end = end(broker).await.next;
    let all = search_all(broker, "#", 0..end).await;
    assert_eq!(numbers(&all), list(0..count));
    (end, all)
}

/// Tells whether two are the same, at the same offset.
fn is_same(a: &Logged, b: &Logged) -> bool {
    (a.offset, a.event.check(0), &a.event.id) == (b.offset, b.event.check(0), &b.event.id)
}

/// Checks what a search came to, of a whole log without damage in which an event is far smaller than a batch.
#[track_caller]
fn assert_searched(searched: &Searched, all: &[Logged], wanted: &str, range: Range<u64>, limit: usize) {
    let Searched { ref found, damaged, ref last, reached, oldest, .. } = *searched;
    assert!((range.start..=range.end).contains(&reached), "{reached} is in {range:?}");
    assert!(range.is_empty() || limit == 0 || reached > range.start, "{range:?}: the search gets on");
    let matching = all.iter().filter(|logged| (range.start..reached).contains(&logged.offset));
    let matching = list(matching.filter(|logged| selection(wanted).matches(&logged.event.topic)));
    assert!(
        found.len() == matching.len() && found.iter().zip(matching).all(|(a, b)| is_same(a, b)),
        "{wanted} in {range:?} up to {limit}: {found:?}"
    );
    assert!(reached == range.end || found.len() == limit, "{range:?}: only the limit ends it before");
    assert!(found.len() <= limit && !damaged && oldest <= range.start, "{searched:?}");
    if let Some(last) = last {
        let looked_at = all.iter().rfind(|logged| logged.offset < reached);
        assert!(looked_at.is_some_and(|looked_at| is_same(looked_at, last)), "{last:?} is right before {reached}");
    }
}

pub(in crate::contract) async fn a_search_finds_what_is_in_its_range_and_matches<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    let (end, all) = fill(broker, 1000).await;
    // At both ends of the log, and of an event.
    let first = all[500].offset;
    for range in [0..end, 0..0, end..end, first..first, first..first + 1, 0..first, first..end] {
        for limit in [0, 1, 1000] {
            assert_searched(&search(broker, "#", range.clone(), limit).await, &all, "#", range.clone(), limit);
        }
    }
    for _ in 0..200 {
        let to = rand::random_range(0..=end);
        let range = rand::random_range(0..=to)..to;
        let (limit, wanted) = (rand::random_range(1..40), PATTERNS[rand::random_range(0..PATTERNS.len())]);
        assert_searched(&search(broker, wanted, range.clone(), limit).await, &all, wanted, range, limit);
    }
}

pub(in crate::contract) async fn searches_beside_each_other_find_their_own<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    let (end, all) = fill(broker, 2000).await;
    // More than may run at once.
    let searches = (0..40).map(async |n| (PATTERNS[n % 5], search_all(broker, PATTERNS[n % 5], 0..end).await));
    for (wanted, found) in join_all(searches).await {
        let matching = all.iter().filter(|logged| selection(wanted).matches(&logged.event.topic));
        assert_eq!(offsets(&found), list(matching.map(|logged| logged.offset)), "{wanted}");
    }
}

pub(in crate::contract) async fn a_search_returns_a_mebibyte_at_most_but_never_nothing_for_it<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    end(broker).await;
    for size in [600_000, MAX_BATCH_BYTES - 600_000, 1, MAX_BATCH_BYTES, 1_200_000, 1] {
        broker.publish(&Event::new("big".parse().unwrap(), None, vec![b'x'; size])).await.unwrap();
    }
    let end = end(broker).await.next;
    let (mut from, mut sizes) = (0, Vec::new());
    while from < end {
        let searched = search(broker, "big", from..end, 10).await;
        sizes.push(list(searched.found.iter().map(|logged| logged.event.payload.len())));
        from = searched.reached;
    }
    let rest = MAX_BATCH_BYTES - 600_000;
    assert_eq!(sizes, [vec![600_000, rest], vec![1], vec![MAX_BATCH_BYTES], vec![1_200_000], vec![1]]);
}

pub(in crate::contract) async fn a_search_after_an_event_gives_that_and_then_what_follows<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    let (end, all) = fill(broker, 1000).await;
    let after = async |seen: &Logged, wanted: &str, to, limit| {
        let searched = broker.log().search_after(&selection(wanted), seen.offset, to, limit).await.unwrap();
        let before = searched.before.as_ref().expect("it is there");
        assert!(is_same(before, seen), "{before:?} is what was seen last: {seen:?}");
        assert_searched(&searched, &all, wanted, seen.offset + 1..to, limit);
    };
    for _ in 0..100 {
        let seen = &all[rand::random_range(0..all.len())];
        // Whatever is looked for, the event itself need not match.
        let (limit, wanted) = (rand::random_range(0..40), PATTERNS[rand::random_range(0..PATTERNS.len())]);
        after(seen, wanted, rand::random_range(seen.offset + 1..=end), limit).await;
    }
    after(&all[999], "#", end, 10).await;
    after(&all[10], "#", all[10].offset + 1, 10).await;
}

/// Reads on after an event in pieces of random size, as a client does that catches up.
async fn catch_up(broker: &impl Broker, wanted: &str, mut seen: Logged, end: u64) -> Vec<Logged> {
    let mut all = Vec::new();
    loop {
        let limit = rand::random_range(1..200);
        let searched = broker.log().search_after(&selection(wanted), seen.offset, end, limit).await.unwrap();
        assert!(is_same(searched.before.as_ref().expect("it is there"), &seen), "{searched:?}");
        assert!(searched.oldest <= seen.offset + 1 && searched.found.len() <= limit, "{searched:?}");
        all.extend(searched.found);
        if searched.reached >= end {
            return all;
        }
        seen = searched.last.expect("something was looked at");
    }
}

pub(in crate::contract) async fn clients_that_catch_up_beside_each_other_get_exactly_their_own<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    let (end, all) = fill(broker, 3000).await;
    let clients = (0..60).map(async |client| {
        let wanted = PATTERNS[client % 5];
        (wanted, catch_up(broker, wanted, all[0].clone(), end).await)
    });
    for (wanted, found) in join_all(clients).await {
        let matching = all[1..].iter().filter(|logged| selection(wanted).matches(&logged.event.topic));
        assert_eq!(offsets(&found), list(matching.map(|logged| logged.offset)), "{wanted}");
    }
}

pub(in crate::contract) async fn the_newest_events_of_topics_are_told_by_a_broker_that_knows_them<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    fill(broker, 1000).await;
    for topic in 0..600 {
        // More topics than are compared with a pattern at once.
        publish(broker, &format!("more.{topic}"), [1000 + topic]).await;
    }
    let end = end(broker).await.next;
    let all = search_all(broker, "#", 0..end).await;
    let newest = newest(&all);
    for wanted in ["#", "jobs.*.status", "jobs.3.status", "more.17", "more.#", "none.#", "none"] {
        for before in [0, 1, all[500].offset, all[1300].offset, end] {
            for most in [0, 1, 7, 10_000] {
                let told = broker.log().newest_before(&selection(wanted), before, most).await;
                assert_eq!(told.is_some(), F::KNOWS_NEWEST);
                let Some(told) = told else { return };
                let is_meant = |(topic, at): &(&Topic, &u64)| selection(wanted).matches(topic) && **at < before;
                let mut expected = list(newest.iter().filter(is_meant).map(|(_, at)| *at));
                expected.sort_unstable();
                expected.truncate(most);
                assert_eq!(told.offsets, expected, "{wanted} before {before}, {most} at most");
                assert!(!told.damaged);
            }
        }
    }
}
