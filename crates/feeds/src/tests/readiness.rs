//! Whether feeds can be read, as operators and load balancers are told.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, timeout},
};

use super::{World, broker, log::TestLog};
use crate::{Feed, FeedOptions, FeedOutcome, FeedRequest, Start, WindowLimits};

/// Waits until something is so.
pub(super) async fn turns(is_so: impl Fn() -> bool) {
    let turning = async {
        while !is_so() {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), turning).await.expect("it should be so soon");
}

#[tokio::test]
async fn a_lost_log_is_told_while_it_is_lost() {
    let world = World::roomy().await;
    let told = || (world.feed.metrics.ready.get(), world.feed.is_ready());
    assert_eq!(told(), (1, true));
    world.feed.log.lost.notify_one();
    turns(|| told().0 == 0).await;
    assert_eq!(told(), (0, false));
    let outcome = world.poll("a", Start::Now, Duration::ZERO).await;
    assert!(matches!(outcome, FeedOutcome::NotReady), "{outcome:?}");
    turns(|| told().0 == 1).await;
    assert_eq!(told(), (1, true));
}

#[tokio::test]
async fn a_poll_waits_for_the_first_start_of_the_feed() {
    let log = TestLog::new(broker(1 << 30));
    let window = WindowLimits { bytes: 1 << 20, age: Duration::from_hours(1) };
    let options = FeedOptions { window, topics: 1000, rest_after: None };
    let feed = Feed::new(Arc::new(log), options, Arc::default());
    let (selection, deadline) = ("a".parse().unwrap(), Instant::now());
    let request = FeedRequest { selection, start: Start::Now, limit: 100, latest_only: false, deadline };
    let poll = feed.poll(&request);
    let start = async {
        yield_now().await;
        feed.follow().await;
    };
    let outcome = tokio::select! {
        outcome = poll => outcome,
        () = start => panic!("it is not closed"),
    };
    assert!(matches!(outcome, FeedOutcome::Nothing(_)), "{outcome:?}");
}
