//! A log that is not read while no client follows a feed. What clients get is what they would get of one that is read
//! all the time.

use super::{readiness::turns, *};
use crate::reading::FIRST_WAIT;

const QUIET: Duration = Duration::from_mins(10);

/// A Feed that rests, and one that does not, of the same broker.
async fn twins(broker: EmbeddedBroker, window_bytes: usize) -> (World, World) {
    let rests = World::resting(TestLog::new(broker.clone()), window_bytes, 1000, Some(QUIET)).await;
    (rests, World::over(broker, window_bytes, 1000).await)
}

/// Lets so much time pass, and what waits for it happen. The clock is paused for that alone: the broker's threads know
/// nothing of it. Every task gets its turn, many times.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
    for _ in 0..1000 {
        yield_now().await;
    }
}

impl World {
    pub(super) fn is_resting(&self) -> bool {
        self.feed.metrics.resting.get() == 1
    }

    fn starts(&self) -> usize {
        self.feed.log.starts.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn rest(&self) {
        pass(QUIET + Duration::from_secs(1)).await;
        turns(|| self.is_resting()).await;
        assert!(self.feed.is_ready());
    }

    /// Everything that a client can be told, from these places on.
    async fn told(&self, places: &[Cursor]) -> Vec<(Vec<u64>, bool, Cursor)> {
        let mut told = Vec::new();
        let starts = [Start::Newest, Start::Oldest, Start::Now, Start::Unknown];
        for start in starts.into_iter().chain(places.iter().copied().map(Start::After)) {
            for pattern in ["a", "b", "#", "c"] {
                for (latest_only, limit) in [(false, 100), (true, 100), (false, 3)] {
                    let (selection, deadline) = (pattern.parse().unwrap(), Instant::now());
                    let request = FeedRequest { selection, start, limit, latest_only, deadline };
                    told.push(match self.ask(request).await {
                        FeedOutcome::Batch(batch) => (numbers(&batch), batch.reset, batch.last_seen),
                        FeedOutcome::Nothing(end) => (Vec::new(), false, end),
                        other => panic!("{start:?}: {other:?}"),
                    });
                }
            }
        }
        told
    }
}

#[tokio::test]
async fn a_log_that_no_client_follows_is_not_read_and_then_tells_all_the_same() {
    // All that is published is recent, or next to none of it.
    for window_bytes in [1 << 20, 600] {
        let (rests, reads) = twins(broker(1 << 30), window_bytes).await;
        let mut places = Vec::new();
        for round in 0..4 {
            for (n, topic) in (round * 20..).zip(["a", "a", "b", "a", "d", "a", "a", "b"]) {
                reads.publish(topic, n..n + 1).await;
            }
            assert_eq!(rests.told(&places).await, reads.told(&places).await, "round {round}");
            for pattern in ["a", "b", "#", "c"] {
                places.push(rests.look(pattern, Start::Now).await.2);
                places.push(rests.look(pattern, Start::Oldest).await.2);
            }
            rests.rest().await;
            let end = rests.feed.end();
            reads.publish("a", round * 20 + 10..round * 20 + 15).await;
            pass(Duration::from_hours(1)).await;
            assert_eq!(rests.feed.end(), end, "nothing is read");
            assert!(rests.is_resting());
        }
        assert_eq!(rests.told(&places).await, reads.told(&places).await);
        assert_eq!(rests.starts(), 1, "it is read on where that stopped");
    }
}

#[tokio::test]
async fn a_log_is_read_as_long_as_a_poll_is_under_way_and_for_a_while_after() {
    let (world, _) = twins(broker(1 << 30), 1 << 20).await;
    pass(QUIET.mul_f64(0.99)).await;
    assert!(!world.is_resting(), "since the start");
    let world = Arc::new(world);
    let held = tokio::spawn({
        let world = Arc::clone(&world);
        let (selection, deadline) = ("a".parse().unwrap(), Instant::now() + 3 * QUIET);
        let request = FeedRequest { selection, start: Start::Now, limit: 1, latest_only: false, deadline };
        async move { world.feed.poll(&request).await }
    });
    pass(2 * QUIET).await;
    assert!(!world.is_resting(), "while a poll waits");
    world.publish("a", 0..1).await;
    assert!(matches!(held.await.unwrap(), FeedOutcome::Batch(batch) if numbers(&batch) == [0]));
    pass(QUIET.mul_f64(0.99)).await;
    assert!(!world.is_resting(), "since it was answered");
    pass(QUIET.mul_f64(0.02)).await;
    assert!(world.is_resting());
}

#[tokio::test]
async fn what_is_stored_while_the_log_is_read_again_is_new_to_a_poll_that_begins_now() {
    let (world, _) = twins(broker(1 << 30), 1 << 20).await;
    world.publish("a", 0..1).await;
    world.rest().await;
    world.store("a", 1..3).await;
    let slow = Arc::clone(&world.feed.log.slow).lock_owned().await;
    let world = Arc::new(world);
    let poll = |start, wait| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.poll("a", start, wait).await })
    };
    let polls = [poll(Start::Now, Duration::from_mins(1)), poll(Start::Oldest, Duration::from_mins(1))];
    turns(|| world.feed.end() == Some(3)).await;
    let outcome = poll(Start::Oldest, Duration::ZERO).await.unwrap();
    assert!(matches!(outcome, FeedOutcome::NotReady), "{outcome:?}");
    pass(FIRST_WAIT).await;
    assert!(!world.feed.is_ready() && world.feed.metrics.ready.get() == 0, "polls are turned away");
    world.store("a", 3..4).await;
    drop(slow);
    let mut got = Vec::new();
    for poll in polls {
        let FeedOutcome::Batch(batch) = poll.await.unwrap() else { panic!("no batch") };
        got.push((numbers(&batch), batch.reset));
    }
    assert_eq!(got[0], (vec![3], false), "what came since");
    assert!(got[1].0.starts_with(&[0, 1, 2]) && !got[1].1, "{got:?}");
    assert!(world.feed.is_ready());
}

#[tokio::test]
async fn a_log_that_does_not_go_on_where_reading_stopped_is_read_anew_while_polls_wait() {
    // Each event is a block of its own, so the log keeps exactly 64.
    let (world, _) = twins(broker(64 * (128 + 3)), 1000).await;
    world.publish("a", 100..103).await;
    let (_, _, place) = world.look("a", Start::Now).await;
    world.rest().await;
    world.store("a", 103..400).await;
    let (seen, reset, _) = world.look("a", Start::After(place)).await;
    assert!(reset && seen.first().is_some_and(|first| *first > 103), "{reset} {seen:?}");
    assert_eq!(world.starts(), 2);
}

#[tokio::test]
async fn a_connection_that_is_lost_while_the_log_is_not_read_has_it_read_on() {
    let (world, _) = twins(broker(1 << 30), 1 << 20).await;
    world.rest().await;
    world.store("a", 0..3).await;
    world.feed.log.lost.notify_one();
    turns(|| world.feed.end() == Some(3)).await;
    assert!(!world.is_resting() && world.feed.is_ready());
    world.rest().await;
}
