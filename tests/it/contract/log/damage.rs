//! What a broker tells of events that it has lost, and whose topics it does not know.

use broker::{Broker, log::EventLog};

use super::world::{Damaged, ROOMY, end, follow, list, numbers, offsets, open_tail, publish, search, selection};

/// A log with ten events, damage, and ten more. Returns the offset after the first ten, and the end.
async fn damage<F: Damaged>(world: &mut F) -> (u64, u64) {
    end(world.broker()).await;
    publish(world.broker(), "a", 0..10).await;
    let before = end(world.broker()).await.next;
    world.lose_the_end().await;
    let mut tail = end(world.broker()).await.tail;
    publish(world.broker(), "b", 10..20).await;
    assert!(follow(&mut tail, 10).await[0].offset > before, "what was lost had an offset");
    (before, end(world.broker()).await.next)
}

pub(in crate::contract) async fn damage_is_told_of_where_it_is<F: Damaged>() {
    let mut world = F::with_log(ROOMY).await;
    let (before, to) = damage(&mut world).await;
    // A search that has found something stops before it.
    let first = search(world.broker(), "#", 0..to, 100).await;
    assert_eq!((numbers(&first.found), first.damaged, first.reached), (list(0..10), false, before));
    let second = search(world.broker(), "#", before..to, 100).await;
    assert_eq!((numbers(&second.found), second.damaged, second.reached), (list(10..20), true, to));
    assert_eq!(second.oldest, 0, "it is not gone by retention");
    // One that has found nothing goes on, and tells, also where it finds nothing at all.
    let later = search(world.broker(), "b", 0..to, 100).await;
    assert_eq!((numbers(&later.found), later.damaged), (list(10..20), true));
    let none = search(world.broker(), "none", 0..to, 100).await;
    assert_eq!((none.found.len(), none.damaged, none.reached), (0, true, to));
    // It is no matter of a search that begins after it, or ends before it.
    let after = second.found[0].offset;
    assert!(!search(world.broker(), "none", after..to, 100).await.damaged);
    assert!(!search(world.broker(), "none", 0..before, 100).await.damaged);
    let seen = offsets(&first.found)[9];
    let on = world.broker().log().search_after(&selection("#"), seen, to, 100).await.unwrap();
    assert_eq!((numbers(&on.found), on.damaged), (list(10..20), true));
}

pub(in crate::contract) async fn what_is_known_of_topics_is_complete_after_damage_only<F: Damaged>() {
    let mut world = F::with_log(ROOMY).await;
    let (before, to) = damage(&mut world).await;
    let (end, shown) = open_tail(world.broker()).await;
    let found = search(world.broker(), "b", 0..to, 100).await.found;
    assert!((before + 1..=found[0].offset).contains(&end.complete_from), "{}", end.complete_from);
    let shown = list(shown.iter().map(|(topic, offset)| (topic.as_str(), *offset)));
    assert!(shown.contains(&("b", found[9].offset)) && shown.iter().any(|(topic, _)| *topic == "a"), "{shown:?}");
    let told = world.broker().log().newest_before(&selection("#"), to, 10).await;
    let told = told.expect("a broker that finds damage knows its topics");
    assert!(told.damaged && told.offsets.len() == 2, "{told:?}");
}
