//! `simulate`: status events of made-up jobs at a steady rate, for demos and for load.
//!
//! What the jobs do is decided in [`jobs`]; here is only the pace. After a stall (no room, no gateway, no broker)
//! at most [`MAX_LAG`] worth of events is caught up, so that a client that comes back is not met by a flood.

mod jobs;

use std::time::Duration;

use events::{ContentType, Event, Topic};
use tokio::time::{Instant, sleep_until};

use self::jobs::Jobs;
use crate::source::{Input, Order, Outgoing, Source};

/// How far the pace may lag before what was missed is left out.
const MAX_LAG: Duration = Duration::from_secs(1);

/// The longest prefix, in bytes; number and `.status` follow it in a topic of at most 255.
pub(crate) const MAX_PREFIX: usize = 200;

/// What to simulate.
#[derive(Debug)]
pub(crate) struct Options {
    /// Events per second.
    pub(crate) rate: f64,
    /// How many jobs are going on at once.
    pub(crate) jobs: u32,
    /// How many events there are in all.
    pub(crate) count: Option<u64>,
    pub(crate) duration: Option<Duration>,
    /// What stands before the job's number in the topic; at most [`MAX_PREFIX`] bytes.
    pub(crate) prefix: Topic,
    /// Equal seeds make equal runs.
    pub(crate) seed: u64,
}

/// The source of simulated events.
pub(crate) struct Simulate {
    jobs: Jobs,
    prefix: Topic,
    period: Duration,
    count: Option<u64>,
    duration: Option<Duration>,
    made: u64,
    /// When the next event is due and when the last one was allowed; known from the first call on.
    due: Option<Instant>,
    until: Option<Instant>,
}

impl Simulate {
    pub(crate) fn new(options: Options) -> Self {
        let Options { rate, jobs, count, duration, prefix, seed } = options;
        let period = Duration::from_secs_f64(1.0 / rate);
        Self { jobs: Jobs::new(jobs, seed), prefix, period, count, duration, made: 0, due: None, until: None }
    }

    /// Returns when the next event is due; time starts with the first call, which is when a target is there.
    fn schedule(&mut self) -> Instant {
        let now = Instant::now();
        if self.due.is_none() {
            self.until = self.duration.and_then(|duration| now.checked_add(duration));
        }
        let earliest = now.checked_sub(MAX_LAG).unwrap_or(now);
        *self.due.insert(self.due.map_or(now, |due| due.max(earliest)))
    }
}

impl Source for Simulate {
    async fn next(&mut self) -> anyhow::Result<Option<Input>> {
        let due = self.schedule();
        let over = self.count.is_some_and(|count| self.made >= count);
        if over || self.until.is_some_and(|until| due >= until) {
            return Ok(None);
        }
        sleep_until(due).await;
        // No await from here on: a cancelled call has changed nothing.
        self.due = Some(due + self.period);
        self.made += 1;
        let status = self.jobs.step();
        let topic: Topic = format!("{}.{}.status", self.prefix, status.job).parse()?;
        let event = Event::new(topic, Some(ContentType::json()), status.to_json());
        Ok(Some(Input::Event(Outgoing { event, line: None })))
    }

    /// One job has nothing to do with another.
    fn order(&self) -> Order {
        Order::Topic
    }

    fn total(&self) -> Option<u64> {
        self.count
    }

    fn is_endless(&self) -> bool {
        self.count.is_none() && self.duration.is_none()
    }

    fn unread(&self) -> Option<String> {
        let left = self.count?.saturating_sub(self.made);
        (left > 0).then(|| format!("{left} more events were not simulated"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(rate: f64) -> Options {
        Options { rate, jobs: 2, count: None, duration: None, prefix: "ci.jobs".parse().unwrap(), seed: 1 }
    }

    async fn drain(options: Options) -> (u64, Duration) {
        let (mut simulate, start, mut count) = (Simulate::new(options), Instant::now(), 0);
        while simulate.next().await.unwrap().is_some() {
            count += 1;
        }
        (count, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_the_rate() {
        let (count, took) = drain(Options { count: Some(101), ..options(50.0) }).await;
        assert_eq!((count, took.as_millis() / 10), (101, 200));
        let (count, took) = drain(Options { duration: Some(Duration::from_secs(3)), ..options(2.0) }).await;
        assert_eq!((count, took.as_millis() / 10), (6, 250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_not_followed_by_a_flood() {
        let mut simulate = Simulate::new(options(10.0));
        simulate.next().await.unwrap();
        tokio::time::advance(Duration::from_mins(1)).await;
        let resumed = Instant::now();
        for _ in 0..11 {
            simulate.next().await.unwrap();
        }
        assert!(resumed.elapsed() < Duration::from_millis(50), "a second's worth is caught up");
        simulate.next().await.unwrap();
        assert!(resumed.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn topics_carry_prefix_and_number() {
        let mut simulate = Simulate::new(options(1.0));
        let Ok(Some(Input::Event(outgoing))) = simulate.next().await else { panic!("no event") };
        assert_eq!(outgoing.event.topic.as_str(), "ci.jobs.1.status");
        assert!(outgoing.event.content_type.unwrap().is_json());
        assert!(simulate.is_endless());
    }
}
