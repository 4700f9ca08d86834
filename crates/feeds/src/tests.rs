//! Feeds on the embedded broker's log.

mod damage;
mod ends;
mod fill;
mod fold;
mod log;
mod model;
mod newest;
mod places;
mod readiness;
mod rests;

use std::{sync::Arc, time::Duration};

use broker::{Broker, log::Logged};
use broker_embedded::{EmbeddedBroker, EmbeddedOptions, KeptMailboxes, Retention};
use events::{Event, EventId, testing};
use tokio::time::{Instant, timeout};

use self::log::TestLog;
use super::*;
use crate::cursor::{Mark, Seen};

/// A place right after an event that is nowhere.
fn unknown(next: u64) -> Cursor {
    Cursor { next, seen: Seen::Event(Mark { offset: next - 1, check: 1 }) }
}

/// A Feed over an embedded broker.
struct World {
    broker: EmbeddedBroker,
    feed: Arc<Feed<TestLog>>,
    following: tokio::task::JoinHandle<()>,
}

impl World {
    /// Makes one whose log keeps so many bytes in memory, whose recent events take so many, and whose index so many
    /// topics.
    async fn new(retention: u64, window_bytes: usize, topics: usize) -> Self {
        Self::over(broker(retention), window_bytes, topics).await
    }

    /// The same, of a broker.
    async fn over(broker: EmbeddedBroker, window_bytes: usize, topics: usize) -> Self {
        Self::of(TestLog::new(broker), window_bytes, topics).await
    }

    /// The same over a log that has to be searched for what the index does not know.
    async fn searching(window_bytes: usize, topics: usize) -> Self {
        Self::of(TestLog { knows_newest: false, ..TestLog::new(broker(1 << 30)) }, window_bytes, topics).await
    }

    async fn of(log: TestLog, window_bytes: usize, topics: usize) -> Self {
        Self::resting(log, window_bytes, topics, None).await
    }

    /// The same; reading rests after so long without a poll.
    async fn resting(log: TestLog, window_bytes: usize, topics: usize, rest_after: Option<Duration>) -> Self {
        let broker = log.broker.clone();
        let age = Duration::from_hours(24);
        let options = FeedOptions { window: WindowLimits { bytes: window_bytes, age }, topics, rest_after };
        let feed = Feed::new(Arc::new(log), options, Arc::default());
        let followed = Arc::clone(&feed);
        let following = tokio::spawn(async move { followed.follow().await });
        while !feed.is_ready() {
            yield_now().await;
        }
        Self { broker, feed, following }
    }

    /// Ends it, with the broker as it is told.
    async fn end(self, end: impl AsyncFnOnce(&EmbeddedBroker)) {
        let broker = self.broker.clone();
        self.following.abort();
        drop(self);
        // The task lets go of the log only now.
        yield_now().await;
        end(&broker).await;
    }

    async fn roomy() -> Self {
        Self::new(1 << 30, 1 << 20, 1000).await
    }

    /// Publishes numbers; returns the id of the last one.
    async fn store(&self, topic: &str, numbers: std::ops::Range<u64>) -> Option<EventId> {
        let mut last = None;
        for number in numbers {
            let event = testing::event(topic, number);
            self.broker.publish(&event).await.unwrap();
            last = Some(event.id);
        }
        last
    }

    /// Publishes numbers and waits until the Feed has the last one, whose topic must be for feeds.
    async fn publish(&self, topic: &str, numbers: std::ops::Range<u64>) {
        let last = self.store(topic, numbers).await;
        let newest = || {
            let state = self.feed.state.lock();
            state.as_ref().unwrap().recent.from(0).last().map(|logged| logged.event.id.clone())
        };
        while last.is_some() && newest() != last {
            yield_now().await;
        }
    }

    async fn poll(&self, pattern: &str, start: Start, wait: Duration) -> FeedOutcome {
        let (selection, deadline) = (pattern.parse().unwrap(), Instant::now() + wait);
        self.ask(FeedRequest { selection, start, limit: 100, latest_only: false, deadline }).await
    }

    async fn ask(&self, request: FeedRequest) -> FeedOutcome {
        timeout(Duration::from_secs(30), self.feed.poll(&request)).await.expect("a poll ends by its deadline")
    }

    /// Polls without waiting: the numbers, whether there was a reset, and the place.
    async fn look(&self, pattern: &str, start: Start) -> (Vec<u64>, bool, Cursor) {
        match self.poll(pattern, start, Duration::ZERO).await {
            FeedOutcome::Batch(batch) => (numbers(&batch), batch.reset, batch.last_seen),
            FeedOutcome::Nothing(end) => (Vec::new(), false, end),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.following.abort();
    }
}

fn broker(retention: u64) -> EmbeddedBroker {
    let forever = Duration::from_hours(24);
    let retention = Retention { age: forever, bytes: retention };
    let feed_topics = vec!["#".parse().unwrap()];
    let options =
        EmbeddedOptions { data_dir: None, mailboxes: KeptMailboxes::all_for(forever), retention, feed_topics };
    EmbeddedBroker::start(&options, Arc::default()).unwrap()
}

fn numbers(batch: &FeedBatch) -> Vec<u64> {
    testing::numbers(batch.events.iter().map(|logged| &*logged.event))
}

#[tokio::test]
async fn a_watcher_of_a_quiet_topic_moves_with_the_log() {
    let world = World::new(1 << 30, 3000, 1000).await;
    let (_, _, place) = world.look("quiet", Start::Now).await;
    world.publish("busy", 0..100).await;
    let (seen, reset, moved) = world.look("quiet", Start::After(place)).await;
    assert_eq!((seen, reset), (vec![], false));
    assert_ne!(place, moved);
    let before = world.feed.state.lock().as_ref().unwrap().recent.before();
    assert!(moved.next >= before, "it need not read the log again");
}

#[tokio::test]
async fn a_reader_from_before_the_recent_events_reads_the_log_without_a_gap_or_a_repeat() {
    // About ten of these are kept in memory of these.
    let world = World::new(1 << 30, 2600, 1000).await;
    let (_, _, mut place) = world.look("a", Start::Now).await;
    for number in 0..500 {
        world.publish("a", number..number + 1).await;
        world.publish("other", 0..1).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 500 {
        let (more, reset, next) = world.look("a", Start::After(place)).await;
        assert!(!reset && !more.is_empty(), "{} events are missing", 500 - seen.len());
        seen.extend(more);
        place = next;
    }
    assert_eq!(seen, (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_place_that_retention_passed_or_of_another_log_says_so() {
    let world = World::new(64 * (128 + 3), 1000, 1000).await;
    world.publish("a", 100..110).await;
    let (_, _, place) = world.look("a", Start::Newest).await;
    world.publish("a", 110..400).await;
    // Retention is a chore of the writer.
    let (seen, reset, _) = world.look("a", Start::After(place)).await;
    assert!(reset && seen.first().is_some_and(|first| *first > 110), "{reset} {seen:?}");
    for elsewhere in [Start::Unknown, Start::After(unknown(1_000_000))] {
        let (seen, reset, place) = world.look("a", elsewhere).await;
        assert_eq!((seen, reset), (vec![399], true));
        assert_eq!(world.look("a", Start::After(place)).await.0, Vec::<u64>::new());
    }
    let (_, _, end) = world.look("a", Start::Now).await;
    let Seen::Event(mark) = end.seen else { panic!("{end:?}") };
    let other = Cursor { seen: Seen::Event(Mark { check: mark.check ^ 1, ..mark }), ..end };
    let (seen, reset, _) = world.look("a", Start::After(other)).await;
    assert_eq!((seen, reset), (vec![399], true), "an equal offset of another log is another place");
}

#[tokio::test]
async fn a_client_that_has_seen_all_that_went_is_told_nothing() {
    // Each event is a block of its own, so the log keeps exactly 64.
    let world = World::new(64 * (128 + 3), 1000, 1000).await;
    world.publish("a", 100..101).await;
    let mut places = Vec::new();
    for number in 101..300 {
        let (_, _, place) = world.look("a", Start::Newest).await;
        places.push((number, place));
        world.publish("a", number..number + 1).await;
    }
    let oldest = world.broker.log().search(&Selection::all(), 0, 1, 1).await.unwrap().oldest;
    assert!(oldest > 0);
    for (number, place) in places {
        // Offsets begin at 0, numbers at 100.
        let (seen, reset, _) = world.look("a", Start::After(place)).await;
        assert_eq!(reset, number - 100 < oldest, "{number}, {oldest}: {seen:?}");
        assert_eq!(seen.first(), Some(&number.max(100 + oldest)), "{oldest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_at_the_very_instant_of_a_poll_reaches_it() {
    let world = Arc::new(World::roomy().await);
    let publisher = Arc::clone(&world);
    let publishing = tokio::spawn(async move {
        for number in 0..10_000_u64 {
            publisher.broker.publish(&testing::event("a", number)).await.unwrap();
            if number % 7 == 0 {
                yield_now().await;
            }
        }
    });
    let (mut seen, mut start) = (Vec::new(), Start::Oldest);
    while seen.len() < 10_000 {
        match world.poll("a", start, Duration::from_secs(20)).await {
            FeedOutcome::Batch(batch) => {
                seen.extend(numbers(&batch));
                start = Start::After(batch.last_seen);
            }
            other => panic!("{} events came, then {other:?}", seen.len()),
        }
    }
    assert_eq!(seen, (0..10_000).collect::<Vec<_>>());
    publishing.await.unwrap();
}

#[tokio::test]
async fn who_waits_for_the_same_shares_one_answer_and_who_leaves_is_forgotten() {
    let world = Arc::new(World::roomy().await);
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.poll("a.*", Start::Now, Duration::from_secs(20)).await })
        })
        .collect();
    let gone = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.poll("b", Start::Now, Duration::from_secs(20)).await }
    });
    while world.feed.state.lock().as_ref().unwrap().watchers.count() < 101 {
        yield_now().await;
    }
    gone.abort();
    assert!(gone.await.is_err());
    world.publish("a.x", 0..1).await;
    let mut batches = Vec::new();
    for answered in waiting {
        match answered.await.unwrap() {
            FeedOutcome::Batch(batch) => batches.push(batch),
            other => panic!("{other:?}"),
        }
    }
    assert!(batches.iter().all(|batch| Arc::ptr_eq(batch, &batches[0])));
    assert_eq!(world.feed.state.lock().as_ref().unwrap().watchers.count(), 0);
}

#[tokio::test]
async fn of_topics_whose_newest_event_is_gone_the_others_come() {
    // Each event is a block of its own, so the log keeps exactly 64: those of fewer topics than the index knows.
    let world = World::new(64 * (128 + 3), 1000, 1000).await;
    for number in 100..400 {
        world.publish(&format!("a.{number}"), number..number + 1).await;
    }
    let oldest = 100 + world.broker.log().search(&Selection::all(), 0, 1, 1).await.unwrap().oldest;
    assert!(oldest > 200, "more than a batch is gone");
    assert_eq!(world.look("a.*", Start::Newest).await.0, (oldest..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_place_that_another_gateway_gave_a_moment_ago_is_waited_for() {
    let world = Arc::new(World::roomy().await);
    world.publish("a", 0..3).await;
    let event = testing::event("a", 3);
    // The other gateway has this event already.
    let place = Cursor::after(&Logged { offset: 3, event: Arc::new(event.clone()) });
    let poll = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.look("a", Start::After(place)).await }
    });
    for _ in 0..100 {
        yield_now().await;
    }
    world.broker.publish(&event).await.unwrap();
    assert_eq!(poll.await.unwrap(), (vec![], false, place));
}

#[tokio::test]
async fn a_place_that_the_log_does_not_come_up_to_is_of_another_one() {
    let world = World::roomy().await;
    world.publish("a", 0..3).await;
    let began = Instant::now();
    let (seen, reset, _) = world.look("a", Start::After(unknown(9))).await;
    assert_eq!((seen, reset), (vec![2], true));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(world.feed.state.lock().as_ref().unwrap().watchers.count(), 0);
}

#[tokio::test]
async fn a_search_reads_little_more_than_it_returns_and_the_next_goes_on_after_it() {
    let world = World::roomy().await;
    let sizes = [10, 600_000, 400_000, 300_000, 2_000_000, 1, 1, 1_100_000, 5].into_iter().chain([1; 300]);
    for bytes in sizes.clone() {
        let event = Event::new("a".parse().unwrap(), None, vec![0; bytes]);
        world.broker.publish(&event).await.unwrap();
    }
    let (mut from, mut seen) = (0, Vec::new());
    while seen.len() < sizes.clone().count() {
        let searched = world.broker.log().search(&Selection::all(), from, 309, usize::MAX).await.unwrap();
        let found: Vec<usize> = searched.found.iter().map(|logged| logged.event.payload.len()).collect();
        assert!(found.len() == 1 || found.iter().sum::<usize>() <= 1 << 20, "{found:?}");
        assert_eq!(searched.last.unwrap().offset + 1, searched.reached);
        assert_eq!(searched.reached, (seen.len() + found.len()) as u64);
        seen.extend(found);
        from = searched.reached;
    }
    assert!(sizes.eq(seen));
}
