//! Polls of clients that may not see all that is in their mailbox.

use super::*;

/// An event that no poll here may see.
fn secret(tag: u64) -> Delivery {
    let event = Event { topic: "pay.1".parse().unwrap(), ..event(0) };
    Delivery { tag, redelivered: false, content: Content::Event(event) }
}

/// A desk with that many of them.
fn desk_of_secrets(count: u64, now: Instant) -> Desk {
    let mut desk = open_desk(0, now);
    (1..=count).for_each(|tag| desk.deliver(secret(tag), now));
    desk
}

fn narrow(poll: Poll) -> Poll {
    Poll { may_see: Some(["jobs.#".parse().unwrap()].into()), ..poll }
}

#[test]
fn a_poll_that_may_see_nothing_of_what_is_there_waits_for_its_deadline() {
    let now = Instant::now();
    let mut desk = desk_of_secrets(7, now);
    desk.attach(narrow(poll(1, None, now + seconds(25))), now);
    assert!(desk.take_effect().is_none());
    assert_eq!(desk.wakeup(), now + seconds(25), "nothing is due before");
    desk.tick(now + seconds(25));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
    desk.attach(poll(2, None, now + seconds(50)), now + seconds(25));
    assert_eq!(batch(&mut desk).events.len(), 7, "wider rights show it");
}

#[test]
fn a_short_poll_drains_what_it_may_see() {
    let now = Instant::now();
    let mut desk = desk_of_secrets(8, now);
    desk.attach(narrow(poll(1, None, now)), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(4))), "the window is full of what is withheld");
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)), "and the broker may have more");
    desk.told(false, now);
    assert!(desk.take_effect().is_none());
    (9..=12).for_each(|tag| desk.deliver(secret(tag), now));
    desk.tick(now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(8))));
    desk.deliver(delivery(13, false, 1), now);
    desk.tick(now);
    let seen = batch(&mut desk);
    assert_eq!(seen.events.len(), 1);
    desk.attach(narrow(poll(2, Some(&seen.last_seen), now)), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(13))));
    assert_eq!(desk.take_withheld(), 12);
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)));
    desk.told(true, now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(2), Outcome::Nothing))));
}

#[test]
fn what_is_withheld_does_not_hide_that_a_batch_is_asked_for_again() {
    let now = Instant::now();
    let mut desk = desk_of_secrets(1, now);
    desk.deliver(delivery(2, false, 1), now);
    for id in 1..=2 {
        desk.attach(narrow(poll(id, None, now)), now);
        batch(&mut desk);
    }
    desk.attach(narrow(poll(3, None, now)), now);
    assert!(desk.take_effect().is_none());
    assert_eq!(desk.wakeup(), now + HOLD_BACK);
    desk.tick(now + HOLD_BACK);
    batch(&mut desk);
}

#[test]
fn a_stream_is_told_to_confirm_only_if_there_is_something_to_confirm() {
    let now = Instant::now();
    let going_on = |after: Option<&LastSeen>| {
        let (after, deadline) = (after.cloned(), now + seconds(15));
        narrow(Poll::resumed(PollId(1), &Continuation { after, limit: 100, deadline, may_see: None }))
    };
    let mut desk = desk_of_secrets(7, now);
    desk.attach(narrow(poll(1, None, now)), now);
    desk.told(true, now);
    while desk.take_effect().is_some() {}
    desk.deliver(secret(8), now);
    desk.resume(going_on(None), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(4))));
    assert!(desk.take_effect().is_none(), "it goes on");
    desk.deliver(delivery(9, false, 1), now);
    desk.tick(now);
    let got = batch(&mut desk);
    desk.resume(going_on(Some(&got.last_seen)), now);
    (10..=12).for_each(|tag| desk.deliver(secret(tag), now));
    desk.tick(now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::WindowFull))));
    desk.attach(narrow(poll(2, Some(&got.last_seen), now + seconds(25))), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(9))));
}
