//! The messages of a mailbox in the broker's order, as far as answers have shown it.

use std::{collections::HashMap, ops::Range};

use crate::history::{
    Published, Seen, Stored,
    fault::{FaultKind, Judgement},
};

#[derive(Debug)]
pub(super) struct Log {
    topics: Vec<Topic>,
    entries: Vec<Entry>,
    /// Where each message is: by topic and number.
    places: HashMap<(usize, u64), usize>,
    resets: Vec<Reset>,
}

#[derive(Debug)]
struct Topic {
    name: String,
    /// Every stored message below is in the log, or is gone and was told to be.
    next: u64,
    /// The reset since the last message: it excuses what is missing before the next.
    reset: Option<usize>,
    /// A gap before the next message is excused.
    excused: bool,
}

#[derive(Debug)]
enum Entry {
    Message {
        topic: usize,
        number: u64,
        /// It was handed out without a flag.
        unflagged: bool,
        /// When the first answer with it had come.
        first: Option<u64>,
    },
    Reset,
}

#[derive(Debug)]
struct Reset {
    justified: bool,
    step: String,
}

/// A message that is stored and did not come yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    topic: usize,
    number: u64,
}

/// Where a message is.
pub(super) struct At {
    pub(super) index: usize,
    pub(super) resent: bool,
}

impl Log {
    pub(super) fn new(topics: &[String]) -> Self {
        let topics = topics.iter().map(|name| Topic { name: name.clone(), next: 0, reset: None, excused: false });
        Self { topics: topics.collect(), entries: Vec::new(), places: HashMap::new(), resets: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&self, event: &Seen) -> Option<usize> {
        let topic = self.topics.iter().position(|topic| topic.name == event.topic)?;
        self.places.get(&(topic, event.number)).copied()
    }

    /// Finds a message, or puts a new one at the end.
    pub(super) fn place(&mut self, event: &Seen, published: &Published) -> Judgement<At> {
        let never = |why: &str| (FaultKind::NeverPublished, format!("{event}: {why}"));
        let topic = self.topics.iter().position(|topic| topic.name == event.topic);
        let topic = topic.ok_or_else(|| never("the mailbox is not bound to this topic"))?;
        let sent = published.sent(&event.topic, event.number).ok_or_else(|| never("it was never sent"))?;
        if sent.id != event.id {
            return Err((FaultKind::OtherId, format!("{event} has the id {}, and was sent as {}", event.id, sent.id)));
        }
        if sent.stored == Stored::No {
            return Err(never("it was refused"));
        }
        let key = (topic, event.number);
        let index = match self.places.get(&key) {
            Some(index) => *index,
            None => self.append(key, published)?,
        };
        Ok(At { index, resent: sent.resent })
    }

    /// Puts a new message at the end. Only one without a confirm can come later than those after it.
    fn append(&mut self, (topic, number): (usize, u64), published: &Published) -> Judgement<usize> {
        let Topic { name, next, reset, excused } = &mut self.topics[topic];
        let missing = (*next..number)
            .find(|earlier| published.is_stored(name, *earlier) && !self.places.contains_key(&(topic, *earlier)));
        if let Some(missing) = missing
            && !*excused
        {
            let Some(reset) = *reset else {
                let detail = format!("{name}#{number} came, and {name}#{missing}, stored before it, did not");
                return Err((FaultKind::Skipped, detail));
            };
            self.resets[reset].justified = true;
        }
        if number < *next && published.is_stored(name, number) {
            return Err((FaultKind::OutOfOrder, format!("{name}#{number} came after {name}#{}", *next - 1)));
        }
        (*next, *reset, *excused) = ((*next).max(number + 1), None, false);
        let index = self.entries.len();
        self.entries.push(Entry::Message { topic, number, unflagged: false, first: None });
        self.places.insert((topic, number), index);
        Ok(index)
    }

    /// Judges a message that is not the first of its answer.
    pub(super) fn follows(&self, expected: usize, index: usize) -> Judgement {
        let (came, instead) = (self.name(index), self.name(expected));
        match index.cmp(&expected) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => {
                Err((FaultKind::OutOfOrder, format!("{came} came in the place of {instead}, and is before it")))
            }
            std::cmp::Ordering::Greater => {
                Err((FaultKind::Skipped, format!("{came} came in the place of {instead}, which is not confirmed")))
            }
        }
    }

    /// Judges the flag of a message that came at `now`, in an answer to a request of the time `began`.
    pub(super) fn handed_out(&mut self, index: usize, flagged: bool, began: u64, now: u64) -> Judgement {
        let name = self.name(index);
        let Entry::Message { unflagged, first, .. } = &mut self.entries[index] else { return Ok(()) };
        if !flagged && (*unflagged || first.is_some_and(|first| first < began)) {
            return Err((FaultKind::UnflaggedRepeat, format!("{name} had come before")));
        }
        *unflagged |= !flagged;
        first.get_or_insert(now);
        Ok(())
    }

    /// Finds a reset that was told already, among these.
    pub(super) fn find_reset(&self, mut among: Range<usize>) -> Option<usize> {
        among.find(|index| matches!(self.entries.get(*index), Some(Entry::Reset)))
    }

    /// Returns the first place from this one on that is no reset.
    pub(super) fn after_resets(&self, from: usize) -> usize {
        from + self.entries[from..].iter().take_while(|entry| matches!(entry, Entry::Reset)).count()
    }

    /// Puts a reset at the end, which excuses a gap after it. One that is not certain must turn out to be right.
    pub(super) fn add_reset(&mut self, certain: bool, step: String) -> usize {
        self.resets.push(Reset { justified: certain, step });
        for topic in &mut self.topics {
            // The first reset tells of all that is missing.
            topic.reset.get_or_insert(self.resets.len() - 1);
        }
        self.entries.push(Entry::Reset);
        self.entries.len() - 1
    }

    /// Excuses gaps from here on: the client cannot be told of them.
    pub(super) fn excuse(&mut self) {
        self.topics.iter_mut().for_each(|topic| topic.excused = true);
    }

    /// Says which reset was wrong. Messages that are missing at the end justify the last one.
    pub(super) fn resets(&self, published: &Published) -> Result<(), String> {
        let missing = self.unseen(published).1 > 0;
        let judged = self.resets.iter().enumerate().filter(|(n, _)| !missing || n + 1 < self.resets.len());
        let wrong = judged.map(|(_, reset)| reset).find(|reset| !reset.justified);
        wrong.map_or(Ok(()), |reset| Err(format!("nothing is gone, and yet: {}", reset.step)))
    }

    /// Counts what is surely stored and never came, and what is perhaps stored and never came.
    pub(super) fn unseen(&self, published: &Published) -> (usize, usize) {
        let all = self.topics.iter().enumerate().flat_map(|(topic, Topic { name, next, reset, excused })| {
            let excused = reset.is_some() || *excused;
            let stored = (*next..published.count(name)).filter(move |number| published.is_stored(name, *number));
            let perhaps = (0..published.count(name)).filter(move |number| {
                let perhaps = published.sent(name, *number).is_some_and(|sent| sent.stored == Stored::Perhaps);
                perhaps && !self.places.contains_key(&(topic, *number))
            });
            let stored = stored.count();
            [if excused { (0, stored) } else { (stored, 0) }, (0, perhaps.count())]
        });
        all.fold((0, 0), |(stored, perhaps), more| (stored + more.0, perhaps + more.1))
    }

    /// Returns what is surely stored and never came, but for what the client was told is gone.
    pub(super) fn waiting(&self, published: &Published) -> Vec<Waiting> {
        let unexcused = self.topics.iter().enumerate().filter(|(_, topic)| topic.reset.is_none() && !topic.excused);
        let waiting = unexcused.flat_map(|(topic, Topic { name, next, .. })| {
            let stored = (*next..published.count(name)).filter(move |number| published.is_stored(name, *number));
            stored.map(move |number| Waiting { topic, number })
        });
        waiting.collect()
    }

    /// Finds one of these that still has not come; returns its name.
    pub(super) fn withheld(&self, waiting: &[Waiting]) -> Option<String> {
        let still = waiting.iter().find(|Waiting { topic, number }| {
            let Topic { next, reset, excused, .. } = &self.topics[*topic];
            number >= next && reset.is_none() && !excused
        });
        still.map(|Waiting { topic, number }| format!("{}#{number}", self.topics[*topic].name))
    }

    pub(super) fn first_unseen(&self, published: &Published) -> Option<String> {
        self.topics.iter().find_map(|Topic { name, next, .. }| {
            let number = (*next..published.count(name)).find(|number| published.is_stored(name, *number))?;
            Some(format!("{name}#{number}"))
        })
    }

    pub(super) fn name(&self, index: usize) -> String {
        match self.entries.get(index) {
            Some(Entry::Message { topic, number, .. }) => format!("{}#{number}", self.topics[*topic].name),
            Some(Entry::Reset) => "the reset".to_owned(),
            None => "the next one".to_owned(),
        }
    }
}
