//! When the Desk waits for more messages, when it asks the broker whether there are any, and what it makes of the
//! answer.

use super::*;

#[test]
fn a_fresh_lease_waits_for_what_was_counted_even_without_patience() {
    let now = Instant::now();
    let mut desk = open_desk(2, now);
    desk.attach(poll(1, None, now), now);
    desk.tick(now + Duration::from_millis(900));
    assert!(desk.take_effect().is_none());
    desk.deliver(delivery(1, true, 1), now + Duration::from_millis(950));
    desk.tick(now + Duration::from_millis(1100));
    assert!(desk.take_effect().is_none(), "one more was counted");
    assert_eq!(desk.wakeup(), now + Duration::from_millis(1150));
    desk.tick(now + Duration::from_millis(1150));
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)));
    desk.told(true, now + Duration::from_millis(1150));
    assert_eq!(batch(&mut desk).events.len(), 1);
}

#[test]
fn a_token_is_looked_for_as_long_as_the_broker_has_more_of_its_run() {
    let now = Instant::now();
    let at = |millis| now + Duration::from_millis(millis);
    let mut older = open_desk(0, now);
    (1..=3).for_each(|tag| older.deliver(delivery(tag, false, usize::try_from(tag).unwrap()), now));
    older.attach(poll(1, None, now), now);
    let seen = batch(&mut older).last_seen;
    // The run comes back in pieces, on a busy machine.
    let mut desk = Desk::new(TIMEOUTS, now);
    desk.open(Window::new(2, 8, 3), now);
    desk.attach(poll(2, Some(&seen), at(3000)), now);
    desk.deliver(delivery(1, true, 1), at(10));
    for millis in [210, 410] {
        assert_eq!(desk.wakeup(), at(millis));
        desk.tick(at(millis));
        assert!(matches!(desk.take_effect(), Some(Effect::Ask)), "{millis} ms");
        desk.told(false, at(millis));
        assert!(desk.take_effect().is_none(), "one event of three fits no token");
    }
    (2..=3).for_each(|tag| desk.deliver(delivery(tag, true, usize::try_from(tag).unwrap()), at(500)));
    desk.tick(at(500));
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(3))));
}

#[test]
fn a_token_is_looked_for_until_something_is_handed_out() {
    let now = Instant::now();
    let mut older = open_desk(0, now);
    older.deliver(delivery(1, false, 1), now);
    older.attach(poll(1, None, now), now);
    let seen = batch(&mut older).last_seen;
    // Nothing was counted, and what the client saw comes back a moment later.
    let mut desk = Desk::new(TIMEOUTS, now);
    desk.open(Window::new(2, 8, 0), now);
    desk.attach(poll(2, Some(&seen), now + seconds(25)), now);
    assert!(desk.take_effect().is_none());
    desk.deliver(delivery(1, true, 1), now);
    desk.deliver(delivery(2, false, 2), now);
    desk.tick(now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(1))));
    assert_eq!(batch(&mut desk).events.len(), 1);
}

/// Returns a desk whose poll, already past its deadline, has just confirmed all that a full window held.
fn desk_that_made_room(now: Instant) -> Desk {
    let mut desk = open_desk(0, now);
    for tag in 1..=8 {
        desk.deliver(delivery(tag, false, usize::try_from(tag).unwrap()), now);
    }
    desk.attach(poll(1, None, now), now);
    let seen = batch(&mut desk).last_seen;
    desk.attach(poll(2, Some(&seen), now), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(8))));
    desk
}

#[test]
fn a_poll_that_makes_room_is_told_that_there_is_nothing_only_when_the_broker_says_so() {
    let now = Instant::now();
    let at = |millis| now + Duration::from_millis(millis);
    let mut desk = desk_that_made_room(now);
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)), "the window was full, so more may wait");
    desk.told(false, now);
    assert!(desk.take_effect().is_none());
    assert_eq!(desk.wakeup(), now + ASK_AGAIN);
    desk.deliver(delivery(9, false, 9), at(5));
    desk.tick(at(5));
    let seen = batch(&mut desk).last_seen;
    // One event need not be all that was held back.
    desk.attach(poll(3, Some(&seen), now), at(6));
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(9))));
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)));
    desk.told(true, at(6));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(3), Outcome::Nothing))));
    // An event that was stored since may be on its way. For a poll that waits until it comes that does not matter.
    desk.attach(poll(4, Some(&seen), at(7)), at(7));
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)));
    desk.told(true, at(7));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(4), Outcome::Nothing))));
    desk.attach(poll(5, Some(&seen), at(9)), at(8));
    desk.tick(at(9));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(5), Outcome::Nothing))));
}

#[test]
fn what_arrived_before_the_broker_said_that_there_is_no_more_is_handed_out() {
    let now = Instant::now();
    let mut desk = desk_that_made_room(now);
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)));
    desk.deliver(delivery(9, false, 9), now);
    desk.told(true, now);
    assert_eq!(batch(&mut desk).events.len(), 1);
}

#[test]
fn what_a_broker_does_not_bring_is_an_error_and_not_nothing() {
    let now = Instant::now();
    let mut desk = desk_that_made_room(now);
    let mut asked = 0;
    loop {
        match desk.take_effect() {
            Some(Effect::Ask) => {
                asked += 1;
                desk.told(false, desk.wakeup());
            }
            Some(Effect::Answer(PollId(2), Outcome::Broker(_))) => break,
            None => desk.tick(desk.wakeup()),
            Some(effect) => panic!("{effect:?}"),
        }
    }
    assert_eq!(asked, 50, "for ten seconds");
}

#[test]
fn a_marker_that_is_passed_over_is_not_all_that_was_counted() {
    let now = Instant::now();
    let mut desk = open_desk(3, now);
    desk.attach(poll(1, None, now), now);
    desk.deliver(Delivery { tag: 1, redelivered: false, content: Content::Created("m".parse().unwrap()) }, now);
    desk.tick(now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(1))));
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)), "two more were counted");
    desk.told(false, now);
    assert!(desk.take_effect().is_none());
    desk.deliver(delivery(2, false, 1), now);
    desk.tick(now);
    assert_eq!(batch(&mut desk).events.len(), 1);
}

#[test]
fn what_was_counted_and_never_comes_is_not_waited_for() {
    let now = Instant::now();
    let mut desk = open_desk(2, now);
    desk.attach(poll(1, None, now), now);
    assert_eq!(desk.wakeup(), now + seconds(1));
    desk.tick(now + seconds(1));
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)));
    desk.told(true, now + seconds(1));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
}
