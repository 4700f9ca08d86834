//! What other gateways are told.

use broker::handover::{Claim, Reply, Wanted};

use super::*;

fn wish(id: u64, last_seen: Option<&LastSeen>, poll: Option<&str>, offered: Option<u64>) -> Wish {
    let claim = Claim {
        holder: None,
        last_seen: last_seen.map(|token| token.as_str().to_owned()),
        poll: poll.map(str::to_owned),
    };
    Wish::new(WishId(id), &Wanted { client: "alice".parse().unwrap(), claim, offered })
}

fn ordered(id: u64, text: &str, deadline: Instant) -> Poll {
    Poll { order: Some(text.parse().unwrap()), ..poll(id, None, deadline) }
}

/// A desk whose poll 1 has got event 1.
fn after_one_event(now: Instant) -> (Desk, LastSeen) {
    let mut desk = open_desk(0, now);
    desk.deliver(delivery(1, false, 1), now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    let token = batch(&mut desk).last_seen;
    (desk, token)
}

fn handed_over(desk: &mut Desk) -> bool {
    matches!(desk.take_effect(), Some(Effect::End(EndReason::HandedOver { wish: WishId(1), .. })))
}

#[test]
fn a_session_that_lingers_confirms_what_was_seen_and_gives_the_mailbox_up() {
    let now = Instant::now();
    let (mut desk, token) = after_one_event(now);
    desk.deliver(delivery(2, false, 2), now);
    desk.wish(wish(1, Some(&token), None, None), now);
    assert!(desk.take_effect().is_none(), "a Lease is kept for a moment");
    let due = desk.wakeup();
    assert_eq!(due, now + Duration::from_millis(50));
    desk.tick(due);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(1))));
    assert!(handed_over(&mut desk));
    assert_eq!(desk.unconfirmed(), 1, "what was not handed out goes back");
}

#[test]
fn what_a_strange_token_names_is_not_confirmed() {
    let now = Instant::now();
    let (_, elsewhere) = after_one_event(now);
    let not_handed_out = "id-2~0000000000000001~2~00000000".parse().unwrap();
    let elsewhere: LastSeen = elsewhere.as_str().replace("0000000000000001", "0000000000000002").parse().unwrap();
    for token in [Some(&elsewhere), Some(&"id-1".parse().unwrap()), Some(&not_handed_out), None] {
        let (mut desk, _) = after_one_event(now);
        desk.deliver(delivery(2, false, 2), now);
        desk.tick(now + seconds(1));
        desk.wish(wish(1, token, None, None), now + seconds(1));
        assert!(handed_over(&mut desk), "{token:?}");
    }
}

#[test]
fn of_one_instance_the_newer_poll_wins() {
    let now = Instant::now();
    let later = now + seconds(3);
    for (poll, wins) in [("tab.8", true), ("tab.6", false)] {
        let mut desk = open_desk(0, now);
        desk.attach(ordered(1, "tab.7", now + seconds(25)), now);
        desk.wish(wish(1, None, Some(poll), None), later);
        if wins {
            assert!(handed_over(&mut desk), "{poll}");
            assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Replaced))), "after the end");
        } else {
            assert!(matches!(desk.take_effect(), Some(Effect::Reply(WishId(1), Reply::Newer))), "{poll}");
            assert!(desk.take_effect().is_none());
        }
    }
}

#[test]
fn another_reader_is_displaced_only_by_one_that_still_waits() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(ordered(1, "tab.7", now + seconds(25)), now);
    desk.wish(wish(1, None, Some("other.1"), None), now);
    assert_eq!(desk.wakeup(), now + seconds(1));
    desk.tick(now + seconds(1));
    assert!(matches!(desk.take_effect(), Some(Effect::Reply(WishId(1), Reply::Offered(1)))));
    desk.tick(now + seconds(2));
    assert!(desk.take_effect().is_none(), "nothing happens by itself");
    // An offer of a Lease that is over.
    desk.wish(wish(2, None, Some("other.1"), Some(9)), now + seconds(2));
    assert!(matches!(desk.take_effect(), Some(Effect::Reply(WishId(2), Reply::Offered(1)))));
    desk.wish(wish(1, None, Some("other.1"), Some(1)), now + seconds(2));
    assert!(handed_over(&mut desk));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Replaced))));
}

/// A proxy may bring one poll to two gateways, and its client waits for either.
#[test]
fn the_same_poll_displaces_itself_only_if_it_still_waits_elsewhere() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(ordered(1, "tab.7", now + seconds(25)), now);
    desk.wish(wish(1, None, Some("tab.7"), None), now + seconds(3));
    assert!(matches!(desk.take_effect(), Some(Effect::Reply(WishId(1), Reply::Offered(1)))));
    desk.wish(wish(1, None, Some("tab.7"), Some(1)), now + seconds(3));
    assert!(handed_over(&mut desk));
}

/// Two readers that poll without waiting would otherwise move the mailbox as fast as they can.
#[test]
fn a_reader_that_was_never_here_waits_for_a_second_although_no_poll_is_held() {
    let now = Instant::now();
    let (mut desk, _) = after_one_event(now);
    desk.wish(wish(1, None, None, None), now + Duration::from_millis(500));
    assert!(desk.take_effect().is_none());
    assert_eq!(desk.wakeup(), now + seconds(1));
    desk.tick(now + seconds(1));
    assert!(handed_over(&mut desk));
}

#[test]
fn a_stream_is_a_reader_between_its_answers_too() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(Poll { goes_on: true, ..poll(1, None, now + seconds(25)) }, now);
    desk.deliver(delivery(1, false, 1), now);
    desk.tick(now);
    batch(&mut desk);
    desk.wish(wish(1, None, None, None), now + seconds(1));
    assert!(matches!(desk.take_effect(), Some(Effect::Reply(WishId(1), Reply::Offered(1)))));
}

#[test]
fn wishes_wait_for_the_lease_and_not_without_a_bound() {
    let now = Instant::now();
    let mut desk = Desk::new(TIMEOUTS, now);
    desk.attach(poll(1, None, now), now);
    let dropped: Vec<_> = (1..=9).filter_map(|id| desk.wish(wish(id, None, None, None), now)).collect();
    assert_eq!(dropped, [WishId(1)]);
    assert!(desk.take_effect().is_none());
    desk.open(Window::new(1, 8, 0), now + seconds(1));
    assert!(matches!(desk.take_effect(), Some(Effect::Ask)));
    desk.told(true, now + seconds(1));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
    desk.tick(now + seconds(2));
    assert!(matches!(desk.take_effect(), Some(Effect::End(EndReason::HandedOver { wish: WishId(2), .. }))));
    desk.tick(now + seconds(3));
    assert!(desk.take_effect().is_none(), "it ends once");
}

#[test]
fn what_is_withheld_is_left_to_the_gateway_that_knows_the_rights() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    let mut hidden = delivery(1, false, 1);
    let Content::Event(event) = &mut hidden.content else { unreachable!() };
    event.topic = "pay.1".parse().unwrap();
    desk.deliver(hidden, now);
    desk.deliver(delivery(2, false, 2), now);
    let may_see = Some(["jobs.#".parse().unwrap()].into());
    desk.attach(Poll { may_see, ..poll(1, None, now + seconds(25)) }, now);
    let token = batch(&mut desk).last_seen;
    desk.wish(wish(1, Some(&token), None, None), now + seconds(1));
    assert!(handed_over(&mut desk), "without a confirm");
}
