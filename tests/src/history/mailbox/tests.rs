use super::*;
use crate::history::{FaultKind::*, Stored};

/// A history written by hand: one topic, `t`, unless an event says otherwise.
struct Tale {
    published: Published,
    history: MailboxHistory,
    fault: Option<Fault>,
}

impl Tale {
    /// So many events of `t` are published and confirmed, each with its number as its id.
    fn of(count: u64) -> Self {
        let topics = ["t".to_owned(), "u".to_owned()];
        let promises = Promises { tokens_hold: true, window: 8 };
        let history = MailboxHistory::new("alice", &topics, promises);
        let mut tale = Self { published: Published::default(), history, fault: None };
        (0..count).for_each(|_| tale.publish("t", Stored::Yes));
        tale
    }

    fn publish(&mut self, topic: &str, stored: Stored) {
        let number = self.published.count(topic);
        self.send(topic, &number.to_string(), false, stored);
    }

    fn send(&mut self, topic: &str, id: &str, resent: bool, stored: Stored) {
        let number = self.published.begin(topic, id, resent);
        self.published.settle(topic, number, stored);
    }

    #[expect(clippy::needless_pass_by_value, reason = "a tale reads better without")]
    fn step(self, step: Step) -> Self {
        self.takes(&step)
    }

    fn takes(mut self, step: &Step) -> Self {
        if self.fault.is_none() {
            self.fault = self.history.record(step, &self.published).err();
        }
        self
    }

    fn asks(self, request: u64, token: &str) -> Self {
        let token = Some(token).filter(|token| !token.is_empty()).map(str::to_owned);
        self.step(Step::Asked { request, how: "poll of a".to_owned(), token })
    }

    /// Events as `0 1R u2`: number, flag, topic if it is not `t`.
    fn gets(self, request: u64, events: &str, token: &str) -> Self {
        let events = events.split_whitespace().map(seen).collect();
        self.step(Step::Events { request, events, token: token.to_owned() })
    }

    fn over(self, request: u64) -> Self {
        self.step(Step::Ended { request, how: "goes on".to_owned() })
    }

    /// A poll with its whole answer.
    fn poll(self, token: &str, events: &str, next: &str) -> Self {
        self.asks(0, token).gets(0, events, next).over(0)
    }

    fn nothing(self, token: &str) -> Self {
        self.asks(0, token).step(Step::Nothing { request: 0 })
    }

    fn breaks(self, token: &str) -> Self {
        self.asks(0, token).step(Step::Broken { request: 0, how: "RST".to_owned() })
    }

    fn reset(self, token: &str, next: &str) -> Self {
        self.asks(0, token).step(Step::Reset { request: 0, token: next.to_owned() }).over(0)
    }

    fn ends(mut self, waiting: usize) -> Option<FaultKind> {
        if self.fault.is_none() {
            self.fault = self.history.finish(&self.published, waiting).err();
        }
        self.fault.map(|fault| fault.kind)
    }

    #[track_caller]
    fn ends_right(self, waiting: usize) {
        assert_eq!(self.ends(waiting), None);
    }

    #[track_caller]
    fn is(self, kind: FaultKind) {
        assert_eq!(self.ends(0), Some(kind));
    }
}

fn seen(text: &str) -> Seen {
    let topic = if text.starts_with('u') { "u" } else { "t" };
    let number = text.trim_matches(|c: char| !c.is_ascii_digit());
    let (number, id) = (number.parse().unwrap(), number.to_owned());
    Seen { topic: topic.to_owned(), number, id, redelivered: text.ends_with('R') }
}

#[test]
fn what_is_confirmed_step_by_step_ends_right() {
    Tale::of(5).poll("", "0 1", "a").poll("a", "2 3 4", "b").nothing("b").ends_right(0);
}

#[test]
fn what_waits_at_the_end_ends_right() {
    Tale::of(5).poll("", "0 1", "a").poll("a", "2", "b").ends_right(3);
    // Whether a request without an answer confirmed is not known.
    for waiting in 2..=3 {
        Tale::of(5).poll("", "0 1", "a").poll("a", "2", "b").breaks("b").ends_right(waiting);
    }
}

#[test]
fn a_flagged_repeat_of_what_is_not_confirmed_ends_right() {
    Tale::of(3).poll("", "0 1", "a").poll("", "0R 1R 2", "b").poll("b", "", "").is(Empty);
    Tale::of(3).poll("", "0 1", "a").poll("", "0R 1R 2", "b").nothing("b").ends_right(0);
}

#[test]
fn a_stream_goes_on_and_is_confirmed_in_part() {
    let stream = Tale::of(4).asks(1, "").gets(1, "0", "a").gets(1, "1", "b").gets(1, "2", "c");
    stream.step(Step::Broken { request: 1, how: "FIN".to_owned() }).poll("b", "2R 3", "d").nothing("d").ends_right(0);
}

#[test]
fn overlapping_requests_may_be_answered_in_any_order() {
    // The second confirms 0 and 1; the first was answered before that and is read after it.
    let both = Tale::of(4).poll("", "0 1", "a").asks(1, "").asks(2, "a");
    both.gets(2, "2 3", "c").gets(1, "0R 1R", "b").over(1).over(2).nothing("c").ends_right(0);
}

#[test]
fn the_copies_of_a_resent_event_are_two_messages() {
    let mut tale = Tale::of(1);
    tale.send("t", "x", false, Stored::Perhaps);
    tale.send("t", "x", true, Stored::Yes);
    let copy = |number, redelivered| Seen { topic: "t".to_owned(), number, id: "x".to_owned(), redelivered };
    let events = |events: &[Seen]| Step::Events { request: 0, events: events.to_vec(), token: "a".to_owned() };
    for came in [vec![copy(2, true)], vec![copy(1, false), copy(2, true)], vec![copy(2, true), copy(1, false)]] {
        let mut tale = Tale::of(1);
        tale.send("t", "x", false, Stored::Perhaps);
        tale.send("t", "x", true, Stored::Yes);
        let came = [vec![seen("0")], came].concat();
        tale.asks(0, "").step(events(&came)).over(0).nothing("a").ends_right(0);
    }
    tale.asks(0, "").step(events(&[seen("0"), copy(2, false)])).is(UnflaggedResend);
}

#[test]
fn two_publishers_may_interleave_and_then_stay_so() {
    let interleaved = || {
        let mut tale = Tale::of(2);
        (0..2).for_each(|_| tale.publish("u", Stored::Yes));
        tale.poll("", "0 u0 u1 1", "a")
    };
    interleaved().nothing("a").ends_right(0);
    interleaved().poll("", "0R u0R 1R u1R", "b").is(Skipped);
    interleaved().poll("", "0R u0R u0R", "b").is(OutOfOrder);
}

#[test]
fn a_dropped_mailbox_tells_a_reset_until_it_is_confirmed() {
    let mut tale = Tale::of(3).poll("", "0", "a").step(Step::Dropped);
    tale.publish("t", Stored::Yes);
    tale.reset("a", "r").reset("a", "r").poll("r", "3", "b").nothing("b").ends_right(0);
}

#[test]
fn a_mailbox_that_is_dropped_again_tells_another_reset() {
    let mut tale = Tale::of(1).poll("", "0", "a").step(Step::Dropped);
    tale.publish("t", Stored::Yes);
    // Whether the first reset was confirmed stays open.
    tale =
        tale.asks(1, "a").step(Step::Reset { request: 1, token: "r".to_owned() }).gets(1, "1", "b").over(1).breaks("b");
    tale.publish("t", Stored::Yes);
    tale = tale.step(Step::Dropped).reset("b", "s");
    tale.publish("t", Stored::Yes);
    tale.poll("s", "3", "c").nothing("c").ends_right(0);
}

#[test]
fn a_client_without_a_token_is_not_told_of_a_dropped_mailbox() {
    let mut tale = Tale::of(3).poll("", "0", "a").step(Step::Dropped);
    tale.publish("t", Stored::Yes);
    tale.poll("", "3", "b").nothing("b").ends_right(0);
}

#[test]
fn a_client_that_asks_without_a_token_goes_past_a_reset() {
    let mut tale = Tale::of(2).poll("", "0", "a").step(Step::Dropped).reset("a", "r");
    tale.publish("t", Stored::Yes);
    tale.poll("", "2", "b").nothing("b").ends_right(0);
    let mut tale = Tale::of(2).poll("", "0", "a").step(Step::Dropped).reset("a", "r");
    tale.publish("t", Stored::Yes);
    tale.poll("a", "2", "b").is(Skipped);
}

#[test]
fn after_a_disturbance_what_was_confirmed_may_come_again_flagged() {
    let disturbed = || Tale::of(4).poll("", "0 1", "a").poll("a", "2", "b").step(Step::Disturbed("kill".to_owned()));
    disturbed().poll("b", "0R 1R 2R 3", "c").nothing("c").ends_right(0);
    disturbed().poll("b", "0R 1R 2 3", "c").is(UnflaggedRepeat);
    disturbed().poll("b", "3", "c").nothing("c").ends_right(0);
}

#[test]
fn a_lost_event_is_found() {
    Tale::of(4).poll("", "0 2", "a").is(Skipped);
    Tale::of(4).poll("", "0 1", "a").poll("a", "3", "b").is(Skipped);
    Tale::of(4).poll("", "0 1", "a").poll("", "2 3", "b").is(Skipped);
    Tale::of(4).poll("", "0 1", "a").poll("", "0R 2", "b").is(Skipped);
}

#[test]
fn a_token_that_was_only_given_confirms_nothing() {
    Tale::of(4).poll("", "0 1", "a").poll("", "0R 1R", "b").poll("a", "3", "c").is(Skipped);
}

#[test]
fn another_order_is_found() {
    Tale::of(3).poll("", "1 0", "a").is(Skipped);
    Tale::of(3).poll("", "0 1 2", "a").poll("", "0R 2R 1R", "b").is(Skipped);
    Tale::of(3).poll("", "0 1 2", "a").poll("", "0R 1R 0R", "b").is(OutOfOrder);
    // As a release does that is not atomic: the newer first, then what was given back.
    Tale::of(9).poll("", "0 1", "a").poll("a", "2 3 4", "b").poll("a", "5", "c").is(Skipped);
}

#[test]
fn a_repeat_without_a_flag_is_found() {
    Tale::of(2).poll("", "0", "a").poll("", "0 1", "b").is(UnflaggedRepeat);
    let both = Tale::of(2).asks(1, "").asks(2, "").gets(1, "0 1", "a").gets(2, "0 1", "b");
    both.is(UnflaggedRepeat);
    Tale::of(2)
        .asks(1, "")
        .asks(2, "")
        .gets(1, "0R 1R", "a")
        .gets(2, "0 1", "b")
        .over(1)
        .over(2)
        .nothing("b")
        .ends_right(0);
}

#[test]
fn a_confirmed_event_that_comes_back_is_found() {
    Tale::of(3).poll("", "0 1", "a").poll("a", "2", "b").poll("b", "1R 2R", "c").is(ConfirmedAgain);
    Tale::of(2).poll("", "0 1", "a").nothing("a").poll("", "1R", "b").is(ConfirmedAgain);
    Tale::of(3).poll("", "0 1", "a").poll("a", "0R 1R 2", "b").is(TokenIgnored);
}

#[test]
fn a_token_that_may_not_fit_may_be_ignored() {
    // Another request came in between; one that was broken off confirms late; the run is longer than a window; the
    // promise is not made.
    Tale::of(3).poll("", "0 1", "a").breaks("").poll("a", "0R 1R 2", "b").nothing("b").ends_right(0);
    let late = Tale::of(3).poll("", "0", "a").breaks("a").poll("", "0R 1", "b");
    late.poll("b", "1R 2", "c").nothing("c").ends_right(0);
    Tale::of(10).poll("", "0 1 2 3 4 5 6 7 8", "a").poll("a", "0R", "b").ends_right(10);
    let mut tale = Tale::of(3);
    tale.history.promises.tokens_hold = false;
    tale.poll("", "0 1", "a").poll("a", "0R 1R 2", "b").nothing("b").ends_right(0);
}

#[test]
fn a_wrong_reset_is_found() {
    Tale::of(2).poll("", "0", "a").reset("a", "r").poll("r", "1", "b").nothing("b").is(ResetWithoutLoss);
    // Told twice for one loss.
    let dropped = Tale::of(2).poll("", "0 1", "a").step(Step::Dropped).reset("a", "r");
    dropped.reset("r", "s").nothing("s").is(ResetWithoutLoss);
}

#[test]
fn a_loss_without_a_reset_is_found() {
    let mut tale = Tale::of(3).poll("", "0", "a").step(Step::Dropped);
    tale.publish("t", Stored::Yes);
    tale.poll("a", "3", "b").is(Skipped);
}

#[test]
fn a_loss_that_a_reset_tells_is_right_also_where_only_the_gap_shows_it() {
    Tale::of(3).poll("", "0", "a").reset("a", "r").poll("r", "2", "b").nothing("b").ends_right(0);
    Tale::of(3).poll("", "0 1", "a").reset("", "r").poll("r", "2", "b").nothing("b").ends_right(0);
}

#[test]
fn an_event_that_was_never_published_is_found() {
    Tale::of(1).poll("", "0 1", "a").is(NeverPublished);
    let mut tale = Tale::of(0);
    tale.publish("t", Stored::No);
    tale.poll("", "0", "a").is(NeverPublished);
    let foreign = Seen { topic: "v".to_owned(), ..seen("0") };
    Tale::of(1)
        .asks(0, "")
        .step(Step::Events { request: 0, events: vec![foreign], token: "a".to_owned() })
        .is(NeverPublished);
    let other = Seen { id: "other".to_owned(), ..seen("0") };
    Tale::of(1).asks(0, "").step(Step::Events { request: 0, events: vec![other], token: "a".to_owned() }).is(OtherId);
}

#[test]
fn what_is_missing_or_too_much_at_the_end_is_found() {
    Tale::of(3).poll("", "0 1", "a").nothing("a").is(Missing);
    assert_eq!(Tale::of(2).poll("", "0 1", "a").nothing("a").ends(1), Some(Surplus));
    // Handed out, never confirmed, and yet not there any more.
    Tale::of(2).poll("", "0 1", "a").is(Missing);
}

#[test]
fn an_event_that_is_withheld_from_a_client_that_drains_is_found() {
    let drains = |tale: Tale| tale.step(Step::Drains);
    drains(Tale::of(3)).poll("", "0 1", "a").nothing("a").step(Step::Drained).is(Withheld);
    drains(Tale::of(3)).poll("", "0 1 2", "a").nothing("a").step(Step::Drained).ends_right(0);
    let mut later = drains(Tale::of(1));
    later.publish("t", Stored::Yes);
    later.poll("", "0", "a").nothing("a").step(Step::Drained).ends_right(1);
}

#[test]
fn a_mailbox_that_is_said_to_be_gone_is_found() {
    let refused = |status| Tale::of(0).asks(0, "").step(Step::Refused { request: 0, status });
    refused(404).is(Absent);
    refused(503).ends_right(0);
    Tale::of(0).asks(0, "").step(Step::Dropped).step(Step::Refused { request: 0, status: 410 }).ends_right(0);
}

#[test]
fn a_fault_shows_who_what_and_the_last_steps() {
    let fault = Tale::of(3).poll("", "0", "a").poll("a", "2", "b").fault.unwrap().to_string();
    assert!(fault.starts_with("alice: Skipped: t#2 came, and t#1, stored before it, did not\n"), "{fault}");
    assert!(fault.ends_with("5 [0..1] 0   got [t#2] (…b)\n"), "{fault}");
}

#[test]
fn what_is_answered_while_something_breaks_proves_nothing() {
    let breaks = || Step::Breaks("kill".to_owned());
    let over = || Step::Disturbed("kill".to_owned());
    let begun = || Tale::of(4).poll("", "0 1", "a").step(breaks()).poll("a", "2", "b");
    assert_eq!(begun().poll("b", "0R 1R 2R", "c").poll("c", "3", "d").ends(1), None);
    assert_eq!(begun().step(over()).poll("b", "0R 1R 2R", "c").ends(4), None);
    let after = begun().step(over()).poll("b", "3", "c");
    assert_eq!(after.poll("c", "2R 3R", "d").ends(2), Some(ConfirmedAgain));
}
