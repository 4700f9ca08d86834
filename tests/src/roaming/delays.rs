//! How long events take to their clients, counted from their publish, and which fault was the cause.
//!
//! Only topics of clients that ask all the time are timed: what waits for a client that is away is not late. Where there
//! are faults, what was handed out before the first is not counted: a crowd that arrives at once is no fault.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Mutex,
    time::Duration,
};

use tokio::time::Instant;

use super::ground::locked;

/// What all that roam share of it.
pub(super) struct Times {
    topics: HashSet<String>,
    timer: Mutex<Timer>,
}

impl Times {
    pub(super) fn of(topics: HashSet<String>) -> Self {
        Self { topics, timer: Mutex::default() }
    }

    pub(super) fn is_timed(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    pub(super) fn fault_begins(&self, kind: &'static str) {
        locked(&self.timer).faults.push((kind, Instant::now()));
    }

    /// It is about to be published, and may get lost.
    pub(super) fn published(&self, topic: &str, number: u64) {
        if self.is_timed(topic) {
            locked(&self.timer).published(topic, number, Instant::now());
        }
    }

    /// A client has got it.
    pub(super) fn handed_out(&self, topic: &str, number: u64) {
        if self.is_timed(topic) {
            locked(&self.timer).handed_out(topic, number, Instant::now());
        }
    }

    pub(super) fn delays(&self) -> Delays {
        locked(&self.timer).delays()
    }
}

/// See the module. The clock is an input.
#[derive(Debug, Default)]
struct Timer {
    /// The kind of each fault, with its beginning.
    faults: Vec<(&'static str, Instant)>,
    /// Messages that are timed, by topic and number.
    messages: HashMap<(String, u64), Message>,
    /// From when to when a message was published and not handed out.
    waits: Vec<(Instant, Instant)>,
}

#[derive(Debug, Clone, Copy)]
enum Message {
    Published(Instant),
    HandedOut,
}

/// What the timed events say.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    /// In order.
    sorted: Vec<Duration>,
    /// Each kind of fault that there was, how often, and the longest delay that it caused.
    faults: Vec<(&'static str, u32, Duration)>,
}

impl Timer {
    fn published(&mut self, topic: &str, number: u64, now: Instant) {
        self.messages.insert((topic.to_owned(), number), Message::Published(now));
    }

    fn handed_out(&mut self, topic: &str, number: u64, now: Instant) {
        let before = self.messages.insert((topic.to_owned(), number), Message::HandedOut);
        if let Some(Message::Published(at)) = before {
            self.waits.push((at, now));
        }
    }

    fn delays(&self) -> Delays {
        let first = self.faults.first().map(|(_, begin)| *begin);
        let since = self.waits.iter().filter(|(_, to)| first.is_none_or(|first| *to >= first));
        let mut sorted: Vec<_> = since.map(|(from, to)| *to - *from).collect();
        sorted.sort_unstable();
        let mut faults: Vec<(&'static str, u32, Duration)> = Vec::new();
        for (kind, _) in &self.faults {
            match faults.iter_mut().find(|(other, ..)| other == kind) {
                Some((_, times, _)) => *times += 1,
                None => faults.push((kind, 1, Duration::ZERO)),
            }
        }
        for (from, to) in &self.waits {
            if let Some(cause) = self.cause(*from, *to)
                && let Some((_, _, longest)) = faults.iter_mut().find(|(kind, ..)| *kind == cause)
            {
                *longest = (*longest).max(*to - *from);
            }
        }
        Delays { sorted, faults }
    }

    /// Returns the fault in whose time, up to the beginning of the next, most of a wait was.
    fn cause(&self, from: Instant, to: Instant) -> Option<&'static str> {
        let ends = self.faults.iter().skip(1).map(|(_, begin)| *begin).chain([to]);
        let shares = self.faults.iter().zip(ends).map(|((kind, begin), end)| {
            let share = end.min(to).saturating_duration_since(from.max(*begin));
            (share, *kind)
        });
        shares.filter(|(share, _)| !share.is_zero()).max_by_key(|(share, _)| *share).map(|(_, kind)| kind)
    }
}

impl Delays {
    /// Returns the delay that so many of a hundred events did not exceed.
    pub fn percentile(&self, hundredths: usize) -> Duration {
        let at = (self.sorted.len() * hundredths / 100).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(at).copied().unwrap_or_default()
    }

    /// Returns how many events were timed.
    pub fn timed(&self) -> usize {
        self.sorted.len()
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, longest] = [50, 99, 100].map(|hundredths| self.percentile(hundredths));
        write!(f, "{} timed: p50 {p50:.1?}, p99 {p99:.1?}, longest {longest:.1?}", self.timed())?;
        for (kind, times, longest) in &self.faults {
            write!(f, "\n  {times} × {kind}: longest stall {longest:.1?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_longest_delay_belongs_to_the_fault_in_whose_time_most_of_it_was() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let wait = |timer: &mut Timer, from: u64, to: u64| {
            let number = from * 10_000 + to;
            timer.published("t", number, start + ms(from));
            timer.handed_out("t", number, start + ms(to));
            timer.handed_out("t", number, start + ms(to + 5000));
        };
        wait(&mut timer, 0, 90);
        timer.faults.push(("kill", start + ms(100)));
        // Published just before it.
        wait(&mut timer, 95, 400);
        timer.faults.push(("freeze", start + ms(1000)));
        wait(&mut timer, 995, 4000);
        timer.faults.push(("kill", start + ms(5000)));
        wait(&mut timer, 4500, 5200);
        wait(&mut timer, 5000, 5301);
        let delays = timer.delays();
        assert_eq!(delays.faults, [("kill", 2, ms(305)), ("freeze", 1, ms(3005))]);
        assert_eq!((delays.timed(), delays.percentile(0), delays.percentile(100)), (4, ms(301), ms(3005)));
    }
}
