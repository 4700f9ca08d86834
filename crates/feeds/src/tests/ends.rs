//! Polls while the gateway ends.

use std::{sync::Arc, time::Duration};

use broker::log::Logged;
use events::testing;

use super::World;
use crate::{FeedOutcome, Start};

#[tokio::test]
async fn who_comes_while_the_gateway_ends_keeps_its_place() {
    let world = World::roomy().await;
    let (_, _, place) = world.look("a", Start::Now).await;
    world.publish("a", 0..3).await;
    world.feed.close();
    match world.poll("a", Start::After(place), Duration::ZERO).await {
        FeedOutcome::ShuttingDown(end) => assert_eq!(end, Some(place), "it has not got what came since"),
        other => panic!("{other:?}"),
    }
    // A reset is not told, so the place that calls for one stays.
    for start in [Start::Newest, Start::Oldest, Start::Unknown] {
        let outcome = world.poll("a", start, Duration::ZERO).await;
        assert!(matches!(outcome, FeedOutcome::ShuttingDown(None)), "{outcome:?}");
    }
}

#[tokio::test]
async fn who_waits_while_the_gateway_ends_goes_on_where_it_began() {
    let world = Arc::new(World::roomy().await);
    let (_, _, place) = world.look("a", Start::Now).await;
    let poll = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.poll("a", Start::After(place), Duration::from_secs(20)).await }
    });
    while world.feed.state.lock().as_ref().unwrap().watchers.count() < 1 {
        tokio::task::yield_now().await;
    }
    world.feed.close();
    // The log is followed for a moment more.
    let event = Arc::new(testing::event("a", 0));
    world.feed.state.lock().as_mut().unwrap().append(&[Logged { offset: 0, event }]);
    let outcome = poll.await.unwrap();
    assert!(matches!(outcome, FeedOutcome::ShuttingDown(Some(end)) if end == place), "{outcome:?}");
}
