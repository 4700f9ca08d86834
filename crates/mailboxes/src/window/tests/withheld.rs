//! What a view does not show, by table.

use events::Topic;

use super::*;

/// May read `jobs.1`, the topic of [`event`].
fn jobs() -> [TopicPattern; 1] {
    ["jobs.*".parse().unwrap()]
}

const fn may_see(patterns: &[TopicPattern]) -> View<'_> {
    View { may_see: Some(patterns), has_seen: true }
}

/// An event that only [`ALL`] shows, if its id begins so.
fn topic(id: &str) -> Topic {
    if id.starts_with("secret") { "pay.1" } else { "jobs.1" }.parse().unwrap()
}

/// As [`window_of_lease`], with events of both topics.
fn mixed_of_lease(lease: u64, ids: &[&str], redelivered: bool) -> Window {
    let mut window = Window::new(lease, 8, 0);
    for (tag, id) in (1..).zip(ids) {
        let event = Event { topic: topic(id), ..event(id, id) };
        window.deliver(delivery(tag, redelivered, event), Instant::now());
    }
    window
}

fn mixed(ids: &[&str]) -> Window {
    mixed_of_lease(LEASE, ids, false)
}

#[test]
fn what_is_withheld_goes_with_the_next_confirm_behind_it() {
    let (jobs, mut window) = (jobs(), mixed(&["secret-1", "a", "secret-2", "b", "secret-3"]));
    let batch = window.hand_out(9, None, may_see(&jobs)).unwrap();
    assert_eq!(ids(&batch), ["a", "b"]);
    assert_eq!(window.confirm(&batch.last_seen, may_see(&jobs)), Some(4));
    assert_eq!((window.take_withheld(), window.take_withheld()), (2, 0));
    assert!(window.hand_out(9, None, may_see(&jobs)).is_none());
    let rest = window.hand_out(9, None, ALL).unwrap();
    assert_eq!((ids(&rest), rest.events[0].redelivered), (vec!["secret-3"], false));
}

#[test]
fn who_has_a_right_to_nothing_is_shown_nothing_but_a_loss() {
    let mut window = mixed(&["a", "secret"]);
    assert!(window.hand_out(9, None, may_see(&[])).is_none());
    let lost = Content::Lost("m".parse().unwrap());
    window.deliver(Delivery { tag: 3, redelivered: false, content: lost }, Instant::now());
    assert!(window.hand_out(9, None, may_see(&[])).unwrap().reset);
}

#[test]
fn a_token_tells_nothing_of_what_was_withheld() {
    let jobs = jobs();
    let token = |ids: &[&str]| mixed(ids).hand_out(9, None, may_see(&jobs)).unwrap().last_seen;
    let one = token(&["secret-1", "a", "secret-2", "b"]);
    assert_eq!(one, token(&["secret-3", "a", "secret-4", "b"]));
    // But for its place, it is the one of a window without them.
    let alone = token(&["a", "b"]);
    assert_eq!((&one.event, one.place.map(|place| place.tag)), (&alone.event, Some(4)));
}

#[test]
fn a_token_finds_its_run_on_another_lease_also_between_what_is_withheld() {
    let (jobs, run) = (jobs(), ["secret-1", "a", "secret-2", "b"]);
    let seen = mixed(&run).hand_out(9, None, may_see(&jobs)).unwrap().last_seen;
    let mut fresh = mixed_of_lease(8, &run, true);
    assert_eq!((fresh.confirm(&seen, may_see(&jobs)), fresh.take_withheld()), (Some(4), 2));
}

#[test]
fn rights_that_grow_before_the_confirm_cost_repeats_and_no_event() {
    let (jobs, run) = (jobs(), ["a", "secret", "b"]);
    let mut window = mixed(&run);
    let seen = window.hand_out(9, None, may_see(&jobs)).unwrap().last_seen;
    for lease in [LEASE, 8] {
        if lease != LEASE {
            window = mixed_of_lease(lease, &run, true);
        }
        assert_eq!(window.confirm(&seen, ALL), None, "it does not stand for the secret");
        let all = window.hand_out(9, None, ALL).unwrap();
        assert_eq!(ids(&all), ["a", "secret", "b"]);
        // That answer may be lost, so the older token is no better now.
        assert_eq!(window.confirm(&seen, ALL), None);
        assert_eq!(window.confirm(&all.last_seen, ALL), Some(3));
        assert_eq!(window.take_withheld(), 0);
    }
}

#[test]
fn rights_that_shrink_before_the_confirm_cost_repeats_and_no_event() {
    let (jobs, run) = (jobs(), ["secret", "a"]);
    let seen = mixed(&run).hand_out(9, None, ALL).unwrap().last_seen;
    let mut fresh = mixed_of_lease(8, &run, true);
    assert_eq!(fresh.confirm(&seen, may_see(&jobs)), None);
    assert_eq!(ids(&fresh.hand_out(9, None, may_see(&jobs)).unwrap()), ["a"]);
    // A token that ends with what must not be seen any more is no way to ask for it.
    let mut window = mixed(&["a", "secret"]);
    let seen = window.hand_out(9, None, ALL).unwrap().last_seen;
    assert_eq!(window.confirm(&seen, may_see(&jobs)), None);
    let a = mixed(&["a"]).hand_out(9, None, ALL).unwrap().last_seen.event.unwrap();
    let guessed = LastSeen::new("secret".parse().unwrap(), Place { lease: 1, tag: 2 }, a.check.unwrap());
    assert_eq!(mixed_of_lease(8, &["a", "secret"], true).confirm(&guessed, may_see(&jobs)), None);
}

#[test]
fn a_full_window_of_which_nothing_is_shown_makes_room_for_half() {
    let (jobs, mut ids) = (jobs(), vec!["secret"; 7]);
    assert_eq!(mixed(&ids).make_room(may_see(&jobs)), None, "more can come");
    ids.push("a");
    assert_eq!(mixed(&ids).make_room(may_see(&jobs)), None, "a confirm can come");
    ids[7] = "secret";
    let mut window = mixed(&ids);
    assert_eq!(window.make_room(ALL), None);
    assert_eq!((window.make_room(may_see(&jobs)), window.take_withheld(), window.len()), (Some(4), 4, 4));
    assert!(window.expects_more());
}

#[test]
fn room_can_be_made_before_the_run_of_a_token_is_found() {
    let (jobs, run) = (jobs(), ["secret", "a"]);
    let seen = mixed(&run).hand_out(9, None, may_see(&jobs)).unwrap().last_seen;
    // Less is known of each mailbox at a time when memory is short.
    let mut fresh = Window { capacity: 1, ..mixed_of_lease(8, &run[..1], true) };
    assert_eq!(fresh.confirm(&seen, may_see(&jobs)), None);
    assert_eq!(fresh.make_room(may_see(&jobs)), Some(1));
    fresh.deliver(delivery(2, true, event("a", "a")), Instant::now());
    assert_eq!(fresh.confirm(&seen, may_see(&jobs)), Some(2));
}

#[test]
fn a_creation_behind_what_is_withheld_is_no_news_either() {
    let jobs = jobs();
    let new = View { may_see: Some(&jobs), has_seen: false };
    let mut window = mixed(&["secret"]);
    window.deliver(marker(2, "m"), Instant::now());
    window.deliver(delivery(3, false, event("a", "a")), Instant::now());
    let first = window.hand_out(9, None, new).unwrap();
    assert_eq!((first.reset, ids(&first)), (false, vec!["a"]));
    assert_eq!(window.confirm(&first.last_seen, may_see(&jobs)), Some(3));
}

#[test]
fn a_topic_of_any_form_is_selected_by_its_words() {
    for (pattern, key, is_shown) in
        [("*", "é/x", true), ("a.*", "a.", true), ("*", "", false), ("*.#", "", false), ("#", "", true)]
    {
        let mut window = Window::new(LEASE, 8, 0);
        let event = Event { topic: Topic::from_routing_key(key), ..event("a", "a") };
        window.deliver(delivery(1, false, event), Instant::now());
        let shown = window.hand_out(9, None, may_see(&[pattern.parse().unwrap()]));
        assert_eq!(shown.is_some(), is_shown, "{pattern} {key:?}");
    }
}
