//! What a promise about the log is tested with: a broker whose log no other test writes to, and what came of it.

use std::{collections::HashMap, ops::Range};

use broker::{
    Broker,
    limits::MAX_TAIL_EVENTS,
    log::{EventLog, LogEnd, LogTail, Logged, Searched},
};
use events::{Selection, Topic, testing};
use futures_util::future::try_join_all;
use postern_tests::{PATIENCE, eventually};
use tokio::{task::unconstrained, time::timeout};

use crate::contract::world::{Durable, Factory};

/// What a broker is started with.
#[derive(Debug, Clone, Copy)]
pub(in crate::contract) struct LogOptions {
    /// Which events are for Feeds.
    pub(in crate::contract) topics: &'static str,
    /// How many bytes of events are kept.
    pub(in crate::contract) bytes: u64,
}

/// A log of every event, from which nothing goes.
pub(in crate::contract) const ROOMY: LogOptions = LogOptions { topics: "#", bytes: 1 << 30 };

/// A broker that starts with an empty log.
pub(in crate::contract) trait LogFactory: Factory {
    /// The broker knows the newest event of each topic without reading its log.
    const KNOWS_NEWEST: bool;

    async fn with_log(options: LogOptions) -> Self;
}

/// A broker that can find that some of its log is damaged.
pub(in crate::contract) trait Damaged: LogFactory + Durable {
    /// Ends, loses what it had at the end of its log, and starts again.
    async fn lose_the_end(&mut self);
}

/// The tail of a broker's log.
pub(super) type Tail<B> = <<B as Broker>::Log as EventLog>::Tail;

pub(super) fn selection(text: &str) -> Selection {
    text.parse().unwrap()
}

pub(super) fn list<T>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().collect()
}

/// Finds the end, as a gateway does: a broker that has just started may say that it needs a moment.
pub(super) async fn open_tail<B: Broker>(broker: &B) -> (LogEnd<Tail<B>>, Vec<(Topic, u64)>) {
    eventually(PATIENCE, "the end is found", async || {
        let mut shown = Vec::new();
        let end = broker.log().open_tail(|topic, offset| shown.push((topic.clone(), offset))).await;
        let end = end.map_err(|error| {
            assert!(error.is_retryable(), "{error}");
            error.to_string()
        })?;
        assert!(shown.is_sorted_by(|(_, a), (_, b)| a < b), "in order: {shown:?}");
        assert!(shown.iter().all(|(_, offset)| *offset < end.next), "before the end at {}: {shown:?}", end.next);
        Ok::<_, String>((end, shown))
    })
    .await
}

/// Finds the end.
pub(super) async fn end<B: Broker>(broker: &B) -> LogEnd<Tail<B>> {
    open_tail(broker).await.0
}

/// Publishes these numbers as events of a topic, in order and many at once.
pub(super) async fn publish(broker: &impl Broker, topic: &str, numbers: impl IntoIterator<Item = usize>) {
    for some in list(numbers).chunks(500) {
        let events = list(some.iter().map(|number| testing::event(topic, number)));
        // The runtime has a task wait after so many steps, and the calls that come after that would overtake those
        // before it.
        unconstrained(try_join_all(events.iter().map(|event| broker.publish(event)))).await.unwrap();
    }
}

/// Returns the numbers of events, whose offsets must grow strictly.
#[track_caller]
pub(super) fn numbers(events: &[Logged]) -> Vec<usize> {
    assert!(events.is_sorted_by(|a, b| a.offset < b.offset), "offsets grow strictly: {events:?}");
    testing::numbers(events.iter().map(|logged| &*logged.event))
}

pub(super) fn offsets(events: &[Logged]) -> Vec<u64> {
    list(events.iter().map(|logged| logged.offset))
}

/// Returns where the newest event of each topic is.
pub(super) fn newest(events: &[Logged]) -> HashMap<Topic, u64> {
    events.iter().map(|logged| (logged.event.topic.clone(), logged.offset)).collect()
}

/// Follows the log until so many events came, and at most those.
pub(super) async fn follow(tail: &mut impl LogTail, count: usize) -> Vec<Logged> {
    let mut events = Vec::new();
    while events.len() < count {
        let next = timeout(PATIENCE, tail.next()).await.expect("something should come").expect("the log is open");
        assert!((1..=MAX_TAIL_EVENTS).contains(&next.len()), "{} at once", next.len());
        events.extend(next);
    }
    assert_eq!(events.len(), count);
    events
}

/// Searches; a broker may say that too many search, and a client would be told to come back.
pub(super) async fn search(broker: &impl Broker, wanted: &str, range: Range<u64>, limit: usize) -> Searched {
    loop {
        match broker.log().search(&selection(wanted), range.start, range.end, limit).await {
            Err(error) if error.is_retryable() => {}
            searched => return searched.unwrap(),
        }
    }
}

/// Searches piece by piece, as a reader of a Feed does, up to the end. Nothing of it is damaged.
pub(super) async fn search_all(broker: &impl Broker, wanted: &str, range: Range<u64>) -> Vec<Logged> {
    let (mut all, mut from) = (Vec::new(), range.start);
    while from < range.end {
        let Searched { found, reached, damaged, .. } = search(broker, wanted, from..range.end, 100_000).await;
        assert!(reached > from && reached <= range.end, "{from} < {reached} <= {}", range.end);
        assert!(found.iter().all(|logged| (from..reached).contains(&logged.offset)), "{from}..{reached}: {found:?}");
        assert!(!damaged, "{from}..{reached}");
        all.extend(found);
        from = reached;
    }
    all
}
