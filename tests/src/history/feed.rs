//! A topic and those who follow it.
//!
//! All followers read one log, so its order becomes known with the answers to all of them: after a place comes what
//! came after it before, and at the end of what is known, the next of the topic.

use std::collections::HashMap;

use super::{
    Published, Seen, Stored,
    fault::{Fault, FaultKind, Judgement, Steps},
    listed, short,
};

/// Where a request begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// With the oldest event that there is.
    Oldest,
    /// After what this token names.
    After(String),
}

/// One step of a follower.
#[derive(Debug, Clone)]
pub enum FeedStep {
    /// A batch came whole, or the next event of a stream; without events, only the place moved.
    Events {
        /// Where the request, or the stream, had come to.
        after: Place,
        /// The events, in order.
        events: Vec<Seen>,
        /// The answer said that something is gone.
        reset: bool,
        /// The new place.
        place: String,
    },
    /// The answer was refused, or broke off.
    Broken(String),
    /// Retention may have dropped everything before this number.
    Dropped(u64),
}

/// See the module.
#[derive(Debug)]
pub struct FeedHistory {
    topic: String,
    /// The numbers of the log, in its order.
    log: Vec<u64>,
    indexes: HashMap<u64, usize>,
    /// Every stored message below is in the log.
    next: u64,
    places: HashMap<String, Known>,
    /// Everything below may be gone.
    dropped: u64,
    steps: HashMap<String, Steps>,
}

/// What is known of a place.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// It is after this many of the log.
    index: usize,
    /// Or further on, after what is gone: the answer did not say up to where.
    or_later: bool,
}

impl FeedHistory {
    /// Begins the history of a topic on which nothing was published.
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            log: Vec::new(),
            indexes: HashMap::new(),
            next: 0,
            places: HashMap::new(),
            dropped: 0,
            steps: HashMap::new(),
        }
    }

    /// Takes the next step of one follower; what was published before it must be known.
    pub fn record(&mut self, follower: &str, step: &FeedStep, published: &Published) -> Result<(), Fault> {
        self.steps.entry(follower.to_owned()).or_default().push(show(step));
        let judged = match step {
            FeedStep::Events { after, events, reset, place } => self.events(after, events, *reset, place, published),
            FeedStep::Broken(_) => Ok(()),
            FeedStep::Dropped(number) => {
                self.dropped = self.dropped.max(*number);
                Ok(())
            }
        };
        judged.map_err(|(kind, detail)| {
            let steps = self.steps.get(follower).map(Steps::shown).unwrap_or_default();
            Fault { reader: follower.to_owned(), kind, detail, steps }
        })
    }

    /// Tells whether a place is after everything that is surely stored.
    pub fn is_at_end(&self, place: &str, published: &Published) -> bool {
        let Some(known) = self.places.get(place) else { return false };
        let unseen = (self.next..published.count(&self.topic)).filter(|n| published.is_stored(&self.topic, *n));
        let mut later = self.log[known.index..].iter().copied().chain(unseen);
        later.all(|number| known.or_later && number < self.dropped)
    }

    /// Ends the history of one follower, which read until nothing more came.
    pub fn finish(&self, follower: &str, place: &str, published: &Published) -> Result<(), Fault> {
        if self.is_at_end(place, published) {
            return Ok(());
        }
        let index = self.places.get(place).map_or(0, |known| known.index);
        let missing = (0..published.count(&self.topic)).find(|number| {
            published.is_stored(&self.topic, *number) && self.indexes.get(number).is_none_or(|at| *at >= index)
        });
        let detail =
            format!("nothing comes after the place, and {}#{} does not either", self.topic, missing.unwrap_or(0));
        let steps = self.steps.get(follower).map(Steps::shown).unwrap_or_default();
        Err(Fault { reader: follower.to_owned(), kind: FaultKind::Missing, detail, steps })
    }

    fn events(&mut self, after: &Place, events: &[Seen], reset: bool, place: &str, published: &Published) -> Judgement {
        let known = match after {
            Place::Oldest => Known { index: 0, or_later: true },
            Place::After(token) => *self.places.get(token).expect("a follower echoes what it got"),
        };
        let (from, mut expected) = (known.index, known.index);
        for event in events {
            let index = self.place(event, published)?;
            if index < from {
                return Err((FaultKind::Duplicate, format!("{event} is before the place that was asked for")));
            }
            let gap = self.log.get(expected..index).unwrap_or_default();
            if index < expected {
                let twice = events.iter().filter(|other| other.number == event.number).count() > 1;
                let kind = if twice { FaultKind::Duplicate } else { FaultKind::OutOfOrder };
                return Err((kind, format!("{event} came again, or too late")));
            }
            if let Some(number) = gap.first() {
                let gone = gap.iter().all(|number| *number < self.dropped);
                if !gone || expected > from || !(reset || known.or_later) {
                    let told = if reset { "" } else { ", without reset" };
                    return Err((FaultKind::Skipped, format!("{event} came, and #{number} before it did not{told}")));
                }
            }
            expected = index + 1;
        }
        if reset && self.dropped == 0 {
            return Err((FaultKind::ResetWithoutLoss, "nothing is gone".to_owned()));
        }
        let or_later = events.is_empty() && self.dropped > 0 && (reset || known.or_later);
        self.places.entry(place.to_owned()).or_insert(Known { index: expected, or_later });
        Ok(())
    }

    /// Finds a message, or puts a new one at the end of the log.
    fn place(&mut self, event: &Seen, published: &Published) -> Judgement<usize> {
        let sent = published.sent(&event.topic, event.number).filter(|_| event.topic == self.topic);
        let sent = sent.filter(|sent| sent.stored != Stored::No);
        let sent = sent.ok_or_else(|| (FaultKind::NeverPublished, event.to_string()))?;
        if sent.id != event.id {
            return Err((FaultKind::OtherId, format!("{event} has the id {}, and was sent as {}", event.id, sent.id)));
        }
        if sent.resent != event.redelivered {
            let kind = if sent.resent { FaultKind::UnflaggedResend } else { FaultKind::FalseFlag };
            return Err((kind, event.to_string()));
        }
        if let Some(index) = self.indexes.get(&event.number) {
            return Ok(*index);
        }
        let stored = |number: &u64| published.is_stored(&self.topic, *number);
        let missing = (self.next..event.number).filter(stored).find(|number| *number >= self.dropped);
        if let Some(missing) = missing {
            return Err((FaultKind::Skipped, format!("{event} came, and #{missing} before it did not")));
        }
        if event.number < self.next && stored(&event.number) {
            return Err((FaultKind::OutOfOrder, format!("{event} came after #{}", self.next - 1)));
        }
        // What retention dropped before a client saw it has its place in the log all the same.
        for number in (self.next..event.number).filter(stored).chain([event.number]).collect::<Vec<_>>() {
            self.indexes.insert(number, self.log.len());
            self.log.push(number);
        }
        self.next = self.next.max(event.number + 1);
        Ok(self.log.len() - 1)
    }
}

fn show(step: &FeedStep) -> String {
    match step {
        FeedStep::Events { after, events, reset, place } => {
            let after = match after {
                Place::Oldest => "oldest",
                Place::After(token) => short(token),
            };
            let reset = if *reset { " with reset" } else { "" };
            format!("after {after} got {}{reset}, then at {}", listed(events), short(place))
        }
        FeedStep::Broken(how) => format!("broken off: {how}"),
        FeedStep::Dropped(number) => format!("everything before #{number} may be gone"),
    }
}

#[cfg(test)]
mod tests;
