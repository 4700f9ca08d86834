//! Whether feeds can be read, as operators and load balancers are told.

use std::time::Duration;

use tokio::{task::yield_now, time::timeout};

use super::World;
use crate::{FeedOutcome, Start};

/// Waits until something is so.
async fn turns(is_so: impl Fn() -> bool) {
    let turning = async {
        while !is_so() {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), turning).await.expect("it should be so soon");
}

#[tokio::test]
async fn a_lost_log_is_told_while_it_is_lost_and_was_ready_all_the_same() {
    let world = World::roomy().await;
    let told = || (world.feed.metrics.ready.get(), world.feed.is_ready(), world.feed.has_been_ready());
    assert_eq!(told(), (1, true, true));
    world.feed.log.lost.notify_one();
    turns(|| told().0 == 0).await;
    assert_eq!(told(), (0, false, true));
    let outcome = world.poll("a", Start::Now, Duration::ZERO).await;
    assert!(matches!(outcome, FeedOutcome::NotReady), "{outcome:?}");
    turns(|| told().0 == 1).await;
    assert_eq!(told(), (1, true, true));
}
