//! Places of a log that has lost something, and places of another log.

use std::{sync::Arc, time::Duration};

use broker_embedded::{EmbeddedBroker, EmbeddedOptions, KeptMailboxes, Retention, testing::Folder};

use super::World;
use crate::{
    Start,
    cursor::{Cursor, Seen},
};

/// A place as older gateways gave it.
fn older(next: u64, check: u32) -> Cursor {
    Cursor { next, seen: Seen::LastOfAll(check) }
}

const FOREVER: Duration = Duration::from_hours(24);

fn options(folder: Option<&Folder>, feed_topics: &str) -> EmbeddedOptions {
    EmbeddedOptions {
        data_dir: folder.map(|folder| folder.path().to_owned()),
        mailboxes: KeptMailboxes::all_for(FOREVER),
        retention: Retention { age: FOREVER, bytes: 1 << 30 },
        feed_topics: vec![feed_topics.parse().unwrap()],
    }
}

async fn start(options: &EmbeddedOptions, window_bytes: usize) -> World {
    World::over(EmbeddedBroker::start(options, Arc::default()).unwrap(), window_bytes, 1000).await
}

#[tokio::test]
async fn a_client_that_stays_away_over_two_starts_is_told_what_the_first_one_lost() {
    let folder = Folder::new();
    let options = options(Some(&folder), "#");
    let world = start(&options, 1 << 20).await;
    world.publish("a", 0..2).await;
    let (_, _, place) = world.look("a", Start::Now).await;
    world.publish("a", 2..9).await;
    world.end(async |broker| broker.clone().crash_and_go_back_to(3)).await;
    let world = start(&options, 1 << 20).await;
    world.publish("a", 100..103).await;
    world.end(async |broker| broker.clone().crash()).await;
    let world = start(&options, 1 << 20).await;
    assert_eq!(world.look("a", Start::After(place)).await.0, [2], "up to what is lost");
    let (_, _, place) = world.look("a", Start::After(place)).await;
    let (seen, reset, place) = world.look("a", Start::After(place)).await;
    assert_eq!((seen, reset), (vec![100, 101, 102], true));
    let (seen, reset, _) = world.look("a", Start::After(place)).await;
    assert_eq!((seen, reset), (vec![], false), "it is told once");
}

#[tokio::test]
async fn a_place_of_another_log_that_has_more_events_for_mailboxes_only_is_told_so() {
    let world = start(&options(None, "a.#"), 1 << 20).await;
    world.publish("a", 0..1).await;
    world.store("b", 1..41).await;
    let (seen, reset, _) = world.look("a", Start::After(super::unknown(30))).await;
    assert_eq!((seen, reset), (vec![0], true));
}

#[tokio::test]
async fn a_place_right_after_an_event_is_not_taken_for_one_after_none() {
    let world = start(&options(None, "#"), 600).await;
    world.publish("a", 0..20).await;
    let window = world.feed.state.lock().as_ref().unwrap().recent.before();
    for next in [5, window] {
        let (_, reset, _) = world.look("a", Start::After(older(next, 0))).await;
        assert!(reset, "{next} of {window}");
    }
    let (seen, reset, _) = world.look("a", Start::After(older(0, 0))).await;
    assert_eq!((seen, reset), ((0..20).collect(), false));
}

#[tokio::test]
async fn a_place_after_what_was_no_event_for_feeds_goes_on_with_the_next_one() {
    let world = start(&options(None, "a.#"), 600).await;
    world.store("b", 0..1).await;
    world.publish("a", 1..10).await;
    let (seen, reset, _) = world.look("a", Start::After(older(1, 0))).await;
    assert_eq!((seen, reset), ((1..10).collect(), false));
}
