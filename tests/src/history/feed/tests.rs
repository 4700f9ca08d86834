use super::*;
use crate::history::FaultKind::*;

struct Tale {
    published: Published,
    history: FeedHistory,
    fault: Option<Fault>,
}

impl Tale {
    fn of(count: u64) -> Self {
        let mut published = Published::default();
        for number in 0..count {
            published.begin("t", &number.to_string(), false);
            published.settle("t", number, Stored::Yes);
        }
        Self { published, history: FeedHistory::new("t"), fault: None }
    }

    fn send(mut self, id: &str, resent: bool, stored: Stored) -> Self {
        let number = self.published.begin("t", id, resent);
        self.published.settle("t", number, stored);
        self
    }

    fn step(mut self, step: &FeedStep) -> Self {
        if self.fault.is_none() {
            self.fault = self.history.record("bob", step, &self.published).err();
        }
        self
    }

    /// Events as `0 1 2R`; a `!` first is a reset. The oldest place is "".
    fn reads(self, after: &str, events: &str, place: &str) -> Self {
        let after = if after.is_empty() { Place::Oldest } else { Place::After(after.to_owned()) };
        let (reset, events) = events.strip_prefix('!').map_or((false, events), |events| (true, events));
        let events = events.split_whitespace().map(|text| {
            let number = text.trim_end_matches('R');
            let (number, id) = (number.parse().unwrap(), number.to_owned());
            Seen { topic: "t".to_owned(), number, id, redelivered: text.ends_with('R') }
        });
        self.step(&FeedStep::Events { after, events: events.collect(), reset, place: place.to_owned() })
    }

    #[track_caller]
    fn ends_right(self, place: &str) {
        let fault = self.fault.or_else(|| self.history.finish("bob", place, &self.published).err());
        assert!(fault.is_none(), "{}", fault.unwrap());
    }

    #[track_caller]
    fn is(self, kind: FaultKind) {
        assert_eq!(self.fault.map(|fault| fault.kind), Some(kind));
    }
}

#[test]
fn followers_that_read_on_and_again_are_right() {
    let read = Tale::of(5).reads("", "0 1", "a").reads("a", "", "b").reads("b", "2 3", "c").reads("a", "2 3 4", "d");
    read.reads("c", "4", "d").ends_right("d");
}

#[test]
fn a_gap_is_found() {
    Tale::of(4).reads("", "0 1", "a").reads("a", "3", "b").is(Skipped);
    Tale::of(4).reads("", "0 1 2 3", "a").reads("", "0 2", "b").is(Skipped);
    Tale::of(4).reads("", "0 1 2 3", "a").reads("", "1", "b").is(Skipped);
    Tale::of(4).reads("", "1", "a").is(Skipped);
}

#[test]
fn a_duplicate_is_found() {
    Tale::of(3).reads("", "0 1", "a").reads("a", "1 2", "b").is(Duplicate);
    Tale::of(3).reads("", "0 1 1 2", "a").is(Duplicate);
}

#[test]
fn another_order_is_found() {
    Tale::of(3).reads("", "0 1 2", "a").reads("", "0 2 1", "b").is(Skipped);
    Tale::of(3).send("x", false, Stored::Perhaps).reads("", "0 2 1", "a").is(Skipped);
    let late = Tale::of(1).send("1", false, Stored::Perhaps).send("2", false, Stored::Yes);
    // Found where the next follower sees another order than the first.
    late.reads("", "0 2 1", "a").reads("", "0 1", "b").is(Skipped);
}

#[test]
fn a_follower_that_reads_all_and_misses_something_is_found() {
    let tale = Tale::of(3).reads("", "0 1", "a").reads("a", "", "b");
    let fault = tale.history.finish("bob", "b", &tale.published).unwrap_err();
    assert_eq!(fault.kind, Missing);
    assert!(fault.to_string().contains("t#2"), "{fault}");
}

#[test]
fn a_loss_is_told_and_only_a_loss() {
    let dropped = || Tale::of(5).reads("", "0", "a").step(&FeedStep::Dropped(3));
    dropped().reads("a", "!3 4", "b").ends_right("b");
    dropped().reads("", "3 4", "b").ends_right("b");
    dropped().reads("a", "1 2 3 4", "b").ends_right("b");
    dropped().reads("a", "!", "b").reads("b", "", "c").reads("c", "4", "d").is(Skipped);
    dropped().reads("a", "!", "b").reads("b", "", "c").reads("c", "3 4", "d").ends_right("d");
    dropped().reads("a", "3 4", "b").is(Skipped);
    dropped().reads("a", "", "b").reads("b", "3 4", "c").is(Skipped);
    dropped().reads("a", "!4", "b").is(Skipped);
    Tale::of(2).reads("", "0", "a").reads("a", "!1", "b").is(ResetWithoutLoss);
}

#[test]
fn a_topic_that_is_gone_as_a_whole_has_an_end_all_the_same() {
    let gone = |number| Tale::of(2).reads("", "0", "a").step(&FeedStep::Dropped(number));
    gone(2).reads("", "", "b").reads("b", "", "b").ends_right("b");
    gone(2).reads("a", "!", "b").ends_right("b");
    let rest = gone(1).reads("", "", "b");
    assert_eq!(rest.history.finish("bob", "b", &rest.published).unwrap_err().kind, Missing);
    let rest = gone(1).reads("a", "!", "b");
    assert_eq!(rest.history.finish("bob", "b", &rest.published).unwrap_err().kind, Missing);
}

#[test]
fn an_event_that_was_never_published_or_is_another_is_found() {
    Tale::of(1).reads("", "0 1", "a").is(NeverPublished);
    Tale::of(0).send("0", false, Stored::No).reads("", "0", "a").is(NeverPublished);
    Tale::of(0).send("other", false, Stored::Yes).reads("", "0", "a").is(OtherId);
}

#[test]
fn only_the_copies_of_a_publisher_are_flagged() {
    let resent = || Tale::of(1).send("1", false, Stored::Perhaps).send("2", true, Stored::Yes);
    resent().reads("", "0 1 2R", "a").ends_right("a");
    resent().reads("", "0 2R", "a").ends_right("a");
    resent().reads("", "0 2", "a").is(UnflaggedResend);
    Tale::of(1).reads("", "0R", "a").is(FalseFlag);
}
