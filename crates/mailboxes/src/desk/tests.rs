//! The desk by table; `asking` has what it asks the broker, `withheld` what not all rights show, `wishes` what other
//! gateways are told, and `property` drives it through every interleaving.

mod asking;
mod property;
mod wishes;
mod withheld;

use broker::Content;
use events::{Event, testing};

use super::*;
use crate::{batch::Batch, last_seen::LastSeen, poll::Continuation};

const TIMEOUTS: Timeouts = Timeouts { linger: Duration::from_secs(15), confirm_deadline: Duration::from_mins(5) };

/// Ids repeat on purpose: publishers do that.
fn event(number: usize) -> Event {
    let mut event = testing::event("jobs.1", number);
    event.id = format!("id-{}", number % 3).parse().unwrap();
    event.time = events::EventTime::from_unix_millis(0).unwrap();
    event
}

fn delivery(tag: u64, redelivered: bool, number: usize) -> Delivery {
    Delivery { tag, redelivered, content: Content::Event(event(number)) }
}

fn poll(id: u64, last_seen: Option<&LastSeen>, deadline: Instant) -> Poll {
    Poll {
        id: PollId(id),
        last_seen: last_seen.cloned(),
        limit: 100,
        deadline,
        order: None,
        is_resumed: false,
        after: None,
        may_see: None,
        goes_on: false,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A desk whose Lease is open since `now` and counted so many messages.
fn open_desk(counted: u32, now: Instant) -> Desk {
    let mut desk = Desk::new(TIMEOUTS, now);
    desk.open(Window::new(1, 8, counted), now);
    desk
}

fn batch(desk: &mut Desk) -> Batch {
    match desk.take_effect() {
        Some(Effect::Answer(_, Outcome::Batch(batch))) => batch,
        other => panic!("expected a batch, got {other:?}"),
    }
}

/// The poll with this number, which goes on after what it got.
fn resumed(id: u64, after: &LastSeen, deadline: Instant) -> Poll {
    Poll::resumed(PollId(id), &Continuation { after: Some(after.clone()), limit: 100, deadline, may_see: None })
}

#[test]
fn a_poll_goes_on_after_what_it_got_until_the_window_is_full() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    desk.deliver(delivery(1, false, 1), now);
    desk.tick(now);
    let first = batch(&mut desk);
    desk.resume(resumed(1, &first.last_seen, now + seconds(15)), now);
    assert_eq!(desk.wakeup(), now + seconds(15), "what is unconfirmed does not wake it");
    for tag in 2..=8 {
        desk.deliver(delivery(tag, false, 2), now);
    }
    desk.tick(now);
    let second = batch(&mut desk);
    assert_eq!((second.events.len(), second.events.iter().any(|each| each.redelivered)), (7, false));
    desk.resume(resumed(1, &second.last_seen, now + seconds(15)), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::WindowFull))));
    desk.attach(poll(2, Some(&second.last_seen), now + seconds(25)), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(8))));
}

#[test]
fn a_poll_does_not_go_on_once_another_one_came() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.deliver(delivery(1, false, 1), now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    let first = batch(&mut desk);
    desk.attach(poll(2, Some(&first.last_seen), now + seconds(25)), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(1))));
    desk.resume(resumed(1, &first.last_seen, now + seconds(15)), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Replaced))));
    desk.deliver(delivery(2, false, 2), now);
    desk.tick(now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(2), Outcome::Batch(_)))));
}

#[test]
fn a_poll_waits_for_its_deadline() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    assert_eq!(desk.wakeup(), now + seconds(25));
    desk.tick(now + seconds(24));
    assert!(desk.take_effect().is_none());
    desk.tick(now + seconds(25));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
}

#[test]
fn the_newest_poll_wins_and_the_old_one_cannot_end_the_session() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    desk.attach(poll(2, None, now + seconds(25)), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Replaced))));
    desk.hung_up(PollId(1));
    assert!(desk.take_effect().is_none());
    desk.hung_up(PollId(2));
    assert!(matches!(desk.take_effect(), Some(Effect::End(EndReason::Disconnected))));
}

#[test]
fn a_poll_that_came_and_went_ends_a_session_without_a_poll_and_displaces_none() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    desk.abandoned();
    assert!(desk.take_effect().is_none());
    desk.tick(now + seconds(25));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
    desk.abandoned();
    assert!(matches!(desk.take_effect(), Some(Effect::End(EndReason::Disconnected))));
}

#[test]
fn a_poll_that_a_browser_sends_again_does_not_displace_its_successor() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    let numbered = |id, instance: &str, number| Poll {
        order: Some(PollOrder { instance: instance.to_owned(), number }),
        ..poll(id, None, now + seconds(25))
    };
    desk.attach(numbered(1, "tab", 5), now);
    desk.attach(numbered(2, "tab", 4), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(2), Outcome::Replaced))));
    desk.hung_up(PollId(2));
    assert!(desk.take_effect().is_none(), "it was never here");
    let later = now + SLOWED;
    desk.attach(numbered(3, "tab", 5), later);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Replaced))));
    let later = later + SLOWED;
    desk.attach(numbered(4, "other", 1), later);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(3), Outcome::Replaced))));
}

#[test]
fn two_readers_that_come_back_at_once_change_places_twice_a_second() {
    let start = Instant::now();
    let (mut now, mut changes, mut next) = (start, 0, 2);
    let mut desk = open_desk(0, now);
    desk.attach(poll(0, None, now + seconds(25)), now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    while now < start + seconds(10) {
        // Each poll that is displaced comes back a millisecond later, as another one.
        while let Some(effect) = desk.take_effect() {
            assert!(matches!(effect, Effect::Answer(_, Outcome::Replaced)), "{effect:?}");
            now += Duration::from_millis(1);
            desk.attach(poll(next, None, start + seconds(25)), now);
            (changes, next) = (changes + 1, next + 1);
        }
        now = desk.wakeup();
        desk.tick(now);
    }
    assert!((10..=25).contains(&changes), "{changes} changes within ten seconds");
}

#[test]
fn the_same_batch_again_is_held_back_from_the_third_time_on() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.deliver(delivery(1, false, 1), now);
    for id in 1..=2 {
        desk.attach(poll(id, None, now), now);
        batch(&mut desk);
    }
    desk.attach(poll(3, None, now), now);
    assert!(desk.take_effect().is_none());
    assert_eq!(desk.wakeup(), now + HOLD_BACK);
    desk.tick(now + HOLD_BACK);
    batch(&mut desk);
    let seen = {
        desk.attach(poll(4, None, now), now + HOLD_BACK);
        desk.tick(now + 2 * HOLD_BACK);
        batch(&mut desk).last_seen
    };
    desk.deliver(delivery(2, false, 2), now + 2 * HOLD_BACK);
    desk.attach(poll(5, Some(&seen), now), now + 2 * HOLD_BACK);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(1))));
    assert_eq!(batch(&mut desk).events.len(), 1, "a client that confirms is not held back");
}

#[test]
fn the_session_lingers_and_then_ends() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)));
    desk.told(true, now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
    assert_eq!(desk.wakeup(), now + seconds(15));
    desk.tick(now + seconds(14));
    assert!(desk.take_effect().is_none());
    desk.tick(now + seconds(15));
    assert!(matches!(desk.take_effect(), Some(Effect::End(EndReason::Lingered))));
}

#[test]
fn an_event_that_is_never_confirmed_ends_the_session_whichever_poll_is_held() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.deliver(delivery(1, false, 1), now);
    let mut ended = None;
    for second in 0..=TIMEOUTS.confirm_deadline.as_secs() {
        let at = now + seconds(second);
        desk.tick(at);
        desk.attach(poll(second, None, at), at);
        ended = std::iter::from_fn(|| desk.take_effect()).find(|effect| matches!(effect, Effect::End(_))).map(|_| at);
        assert!(ended.is_none() || second == TIMEOUTS.confirm_deadline.as_secs(), "ended after {second} s");
    }
    assert_eq!(ended, Some(now + TIMEOUTS.confirm_deadline));
}

#[test]
fn a_marker_is_news_only_to_who_had_seen_something() {
    let now = Instant::now();
    let marker = |tag| Delivery { tag, redelivered: false, content: Content::Created("m".parse().unwrap()) };
    let mut desk = open_desk(0, now);
    desk.deliver(marker(1), now);
    desk.deliver(delivery(2, false, 1), now);
    desk.attach(poll(1, None, now), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(1))));
    assert_eq!(batch(&mut desk).events.len(), 1);

    let mut desk = open_desk(0, now);
    desk.deliver(marker(1), now);
    desk.attach(poll(1, Some(&"older".parse().unwrap()), now), now);
    assert!(batch(&mut desk).reset);
    desk.attach(poll(2, Some(&"older".parse().unwrap()), now), now);
    assert!(batch(&mut desk).reset, "the telling is not lost with one answer");
}
