//! The window by table; its property tests are the desk's, which drive it through every interleaving.

mod withheld;

use events::{Event, EventId, EventTime};

use super::*;

const LEASE: u64 = 7;

const ALL: View<'static> = View { may_see: None, has_seen: true };

/// A client that has seen nothing yet.
const NEW: View<'static> = View { may_see: None, has_seen: false };

fn event(id: &str, payload: &str) -> Event {
    let mut event = Event::new("jobs.1".parse().unwrap(), None, payload.to_owned());
    event.id = id.parse().unwrap();
    event.time = EventTime::from_unix_millis(0).unwrap();
    event
}

fn delivery(tag: u64, redelivered: bool, event: Event) -> Delivery {
    Delivery { tag, redelivered, content: Content::Event(event) }
}

fn marker(tag: u64, id: &str) -> Delivery {
    Delivery { tag, redelivered: false, content: Content::Created(id.parse().unwrap()) }
}

/// A window in which the events `a`, `b`, … arrived, as they would after a requeue if `redelivered`.
fn window(ids: &[&str], redelivered: bool) -> Window {
    let mut window = Window::new(LEASE, 8, 0);
    for (tag, id) in (1..).zip(ids) {
        window.deliver(delivery(tag, redelivered, event(id, id)), Instant::now());
    }
    window
}

fn ids(batch: &Batch) -> Vec<&str> {
    batch.events.iter().map(|each| each.event.id.as_str()).collect()
}

#[test]
fn a_token_of_this_lease_confirms_up_to_its_place() {
    let mut window = window(&["a", "b", "c"], false);
    let batch = window.hand_out(2, None, ALL).unwrap();
    assert_eq!(ids(&batch), ["a", "b"]);
    assert_eq!(window.confirm(&batch.last_seen, ALL), Some(2));
    assert_eq!(window.confirm(&batch.last_seen, ALL), None, "only once");
    assert_eq!(ids(&window.hand_out(9, None, ALL).unwrap()), ["c"]);
}

#[test]
fn what_was_not_handed_out_cannot_be_confirmed() {
    let mut window = window(&["a", "b"], false);
    let forged = LastSeen::new("b".parse().unwrap(), Place { lease: LEASE, tag: 2 }, 0);
    assert_eq!(window.confirm(&forged, ALL), None);
    window.hand_out(1, None, ALL).unwrap();
    assert_eq!(window.confirm(&forged, ALL), None);
    window.hand_out(2, None, ALL).unwrap();
    assert_eq!(window.confirm(&forged, ALL), Some(2));
}

#[test]
fn a_token_with_the_right_place_and_the_wrong_event_confirms_nothing() {
    let mut window = window(&["a"], false);
    window.hand_out(1, None, ALL).unwrap();
    let wrong = LastSeen::new("b".parse().unwrap(), Place { lease: LEASE, tag: 1 }, 0);
    assert_eq!(window.confirm(&wrong, ALL), None);
}

#[test]
fn an_unconfirmed_batch_comes_again_and_says_so() {
    let mut window = window(&["a", "b"], false);
    assert!(window.hand_out(9, None, ALL).unwrap().events.iter().all(|each| !each.redelivered));
    let again = window.hand_out(9, None, ALL).unwrap();
    assert_eq!(ids(&again), ["a", "b"]);
    assert!(again.events.iter().all(|each| each.redelivered));
}

#[test]
fn what_its_publisher_resent_may_be_a_repeat() {
    let mut window = Window::new(LEASE, 8, 0);
    let resent = Event { resent: true, ..event("a", "a") };
    window.deliver(delivery(1, false, resent), Instant::now());
    assert!(window.hand_out(1, None, ALL).unwrap().events[0].redelivered);
}

#[test]
fn on_a_fresh_lease_the_event_itself_is_looked_for() {
    let older = window(&["a", "b", "c"], false).hand_out(2, None, ALL).unwrap().last_seen;
    let mut fresh = window_of_lease(8, &["a", "b", "c"], true);
    assert_eq!(fresh.confirm(&older, ALL), Some(2));
    assert_eq!(ids(&fresh.hand_out(9, None, ALL).unwrap()), ["c"]);
}

#[test]
fn a_bare_id_names_no_place_and_confirms_nothing() {
    let mut fresh = window(&["a", "b", "c"], true);
    assert_eq!(fresh.confirm(&"b".parse().unwrap(), ALL), None);
}

#[test]
fn an_equal_event_further_back_is_not_what_was_seen() {
    // The client saw x and confirmed it. The next batch was lost; x was stored a second time, equal in everything.
    let seen = window(&["x"], false).hand_out(1, None, ALL).unwrap().last_seen;
    let mut fresh = window_of_lease(8, &["a", "b", "x"], true);
    assert_eq!(fresh.confirm(&seen, ALL), None, "the client never saw a and b");
    // The same where the run is as long, but not the same.
    let seen = window(&["a", "x"], false).hand_out(2, None, ALL).unwrap().last_seen;
    let mut fresh = window_of_lease(8, &["b", "x"], true);
    assert_eq!(fresh.confirm(&seen, ALL), None, "the client never saw b");
}

#[test]
fn an_older_marker_does_not_hide_what_was_seen_after_it() {
    let mut older = Window::new(1, 8, 0);
    older.deliver(marker(1, "m"), Instant::now());
    older.deliver(delivery(2, false, event("a", "a")), Instant::now());
    older.skip_marker(NEW);
    let seen = older.hand_out(1, None, ALL).unwrap().last_seen;
    let mut fresh = Window::new(LEASE, 8, 0);
    fresh.deliver(Delivery { redelivered: true, ..marker(1, "m") }, Instant::now());
    fresh.deliver(delivery(2, true, event("a", "a")), Instant::now());
    assert_eq!(fresh.confirm(&seen, ALL), Some(2));
}

#[test]
fn only_redelivered_events_can_have_been_seen_under_an_older_lease() {
    let older = window(&["a"], false).hand_out(1, None, ALL).unwrap().last_seen;
    let mut fresh = window_of_lease(8, &["a"], false);
    assert_eq!(fresh.confirm(&older, ALL), None);
}

#[test]
fn a_constant_id_does_not_confirm_another_event() {
    // Seen and confirmed under an older lease: the event with payload 1. Payload 2 has the same id and was lost on its
    // way.
    let mut older = Window::new(1, 8, 0);
    older.deliver(delivery(1, false, event("tick", "1")), Instant::now());
    let seen = older.hand_out(1, None, ALL).unwrap().last_seen;
    let mut fresh = Window::new(LEASE, 8, 0);
    fresh.deliver(delivery(1, true, event("tick", "2")), Instant::now());
    assert_eq!(fresh.confirm(&seen, ALL), None);
    assert_eq!(ids(&fresh.hand_out(1, None, ALL).unwrap()), ["tick"]);
}

#[test]
fn a_token_of_another_lease_fits_also_after_its_events_were_handed_out_again() {
    let older = window(&["a"], false).hand_out(1, None, ALL).unwrap().last_seen;
    let mut fresh = window_of_lease(8, &["a", "b"], true);
    fresh.hand_out(9, None, ALL).unwrap();
    assert_eq!(fresh.confirm(&older, ALL), Some(1));
}

#[test]
fn a_token_of_another_lease_fits_nothing_once_something_was_confirmed() {
    let older = window(&["b"], false).hand_out(1, None, ALL).unwrap().last_seen;
    let mut fresh = window_of_lease(8, &["a", "b"], true);
    let own = fresh.hand_out(1, None, ALL).unwrap().last_seen;
    assert_eq!(fresh.confirm(&own, ALL), Some(1));
    assert_eq!(fresh.confirm(&older, ALL), None, "what is at the front now need not be what it was");
}

#[test]
fn the_head_is_what_waited() {
    let mut window = Window::new(LEASE, 8, 2);
    assert!(window.awaits_head());
    window.deliver(delivery(1, true, event("a", "a")), Instant::now());
    assert!(window.awaits_head());
    window.deliver(delivery(2, true, event("b", "b")), Instant::now());
    assert!(!window.awaits_head(), "as many came as were counted");

    let mut window = Window::new(LEASE, 8, 2);
    window.deliver(delivery(1, false, event("a", "a")), Instant::now());
    assert!(!window.awaits_head(), "the first that is not redelivered ends it");

    let mut window = Window::new(LEASE, 1, 2);
    window.deliver(delivery(1, true, event("a", "a")), Instant::now());
    assert!(!window.awaits_head(), "a full window ends it");
}

#[test]
fn a_marker_stands_alone_and_is_confirmed_like_an_event() {
    let mut window = Window::new(LEASE, 8, 0);
    window.deliver(marker(1, "m"), Instant::now());
    window.deliver(delivery(2, false, event("a", "a")), Instant::now());
    let reset = window.hand_out(9, None, ALL).unwrap();
    assert!(reset.reset && reset.events.is_empty());
    let again = window.hand_out(9, None, ALL).unwrap();
    assert_eq!((again.reset, &again.last_seen), (true, &reset.last_seen));
    assert_eq!(window.confirm(&again.last_seen, ALL), Some(1));
    let batch = window.hand_out(9, None, ALL).unwrap();
    assert_eq!((ids(&batch), batch.reset), (vec!["a"], false));
}

#[test]
fn a_marker_after_events_waits_for_them() {
    let mut window = window(&["a"], false);
    window.deliver(marker(2, "m"), Instant::now());
    let batch = window.hand_out(9, None, ALL).unwrap();
    assert_eq!((ids(&batch), batch.reset), (vec!["a"], false));
    assert_eq!(window.skip_marker(NEW), None);
    window.confirm(&batch.last_seen, ALL);
    assert_eq!(window.skip_marker(NEW), Some(2));
}

#[test]
fn a_batch_has_an_event_however_large() {
    let mut window = Window::new(LEASE, 8, 0);
    for tag in 1..=3 {
        window.deliver(delivery(tag, false, event("big", &"x".repeat(MAX_BATCH_BYTES / 2 + 1))), Instant::now());
    }
    window.deliver(delivery(4, false, event("huge", &"x".repeat(2 * MAX_BATCH_BYTES))), Instant::now());
    for expected in ["big", "big", "big", "huge"] {
        let batch = window.hand_out(9, None, ALL).unwrap();
        assert_eq!(ids(&batch), [expected]);
        window.confirm(&batch.last_seen, ALL).unwrap();
    }
    assert!(window.hand_out(9, None, ALL).is_none());
}

#[test]
fn the_id_of_a_marker_is_an_id_like_any_other() {
    let id = EventId::new();
    let mut older = Window::new(1, 8, 0);
    older.deliver(marker(1, id.as_str()), Instant::now());
    let seen = older.hand_out(1, None, ALL).unwrap().last_seen;
    let mut fresh = Window::new(LEASE, 8, 0);
    fresh.deliver(Delivery { redelivered: true, ..marker(1, id.as_str()) }, Instant::now());
    assert_eq!(fresh.confirm(&seen, ALL), Some(1));
}

fn window_of_lease(lease: u64, ids: &[&str], redelivered: bool) -> Window {
    Window { lease, ..window(ids, redelivered) }
}

#[test]
fn a_retry_differs_by_its_time() {
    let seen = window(&["x"], false).hand_out(1, None, ALL).unwrap().last_seen;
    let retry = Event { time: EventTime::from_unix_millis(1).unwrap(), ..event("x", "x") };
    let mut fresh = Window::new(8, 8, 0);
    fresh.deliver(delivery(1, true, retry), Instant::now());
    assert_eq!(fresh.confirm(&seen, ALL), None);
}

#[test]
fn a_marker_of_a_loss_is_never_passed_over() {
    let now = Instant::now();
    let mut window = Window::new(LEASE, 8, 0);
    let lost = |tag, id: &str| Delivery { tag, redelivered: false, content: Content::Lost(id.parse().unwrap()) };
    window.deliver(lost(1, "m"), now);
    window.deliver(lost(2, "n"), now);
    assert_eq!(window.skip_marker(NEW), None);
    for tag in 1..=2 {
        let told = window.hand_out(9, None, ALL).unwrap();
        assert!(told.reset && told.events.is_empty());
        assert_eq!(window.confirm(&told.last_seen, ALL), Some(tag));
    }
}
