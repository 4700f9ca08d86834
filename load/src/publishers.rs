//! All publishers: each has a connection, and one event on its way at a time, so that its events cannot overtake each other.

pub(crate) mod amqp;
pub(crate) mod pace;

use std::{io, net::SocketAddr};

use ::amqp::AmqpUrls;
use mio::{Registry, Token};

use self::{amqp::AmqpPublishers, pace::Pace};
use crate::{
    clock,
    crowd::{Readiness, behaviour::backoff},
    failure::Failure,
    http::{End, answer::Answer, connection::Connection},
    ledger::{Ledger, Sent},
    number::nanoseconds,
    stamp::Stamp,
    streams::Streams,
    target::{Names, Publish, Values, place::Place},
};

/// Publishers have the tokens from here on, in the event loop; after the last one, those that speak AMQP have one for
/// all.
const FIRST_TOKEN: usize = 1 << 32;

/// What all publishers have in common.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where events are published.
    pub(crate) address: SocketAddr,
    /// How an event is published.
    pub(crate) publish: Publish,
    /// The broker to which events go, in place of the server.
    pub(crate) amqp: Option<AmqpUrls>,
    /// How topics are named.
    pub(crate) names: Names,
    /// Which streams there are.
    pub(crate) streams: Streams,
    /// Which run this is.
    pub(crate) run: u32,
    /// How long a payload is at least.
    pub(crate) size: usize,
    /// Only the first so many topics get events.
    pub(crate) among: u32,
    /// How long a confirm may take.
    pub(crate) deadline: u64,
}

/// One stretch of publishing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    /// How fast.
    pub(crate) pace: Pace,
    /// Until when.
    pub(crate) until: u64,
    /// How many events.
    pub(crate) events: u64,
    /// How many topics have a client.
    pub(crate) topics: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Publishers {
    plan: Plan,
    all: Vec<Publisher>,
    /// Once they have sent something, if they speak AMQP.
    amqp: Option<AmqpPublishers>,
    stretch: Option<Stretch>,
    began: u64,
    /// What they have done.
    pub(crate) sent: Sent,
    request: Vec<u8>,
    payload: Vec<u8>,
    come: Vec<u8>,
    nowhere: Place,
}

#[derive(Debug, Default)]
struct Publisher {
    connection: Option<Connection>,
    on_its_way: Option<OnItsWay>,
    /// How many events it has sent in this stretch.
    sent: u64,
    /// How long after the beginning its next event is to be sent, where gaps are drawn.
    drawn: u64,
    /// Since when it could send.
    free: u64,
    /// Until then it does nothing, after something went wrong.
    paused: u64,
    failures: u8,
}

#[derive(Debug, Clone, Copy)]
struct OnItsWay {
    stream: u32,
    number: u32,
    since: u64,
}

impl Publishers {
    /// Makes publishers that do nothing yet.
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            all: (0..plan.streams.publishers).map(|_| Publisher::default()).collect(),
            amqp: None,
            stretch: None,
            began: 0,
            sent: Sent::default(),
            request: Vec::new(),
            payload: Vec::new(),
            come: Vec::with_capacity(16 * 1024),
            nowhere: Place::default(),
            plan,
        }
    }

    /// Begins to publish.
    pub(crate) fn begin(&mut self, stretch: Stretch, now: u64) {
        self.began = now;
        self.stretch = Some(stretch);
        let count = self.all.len();
        for publisher in &mut self.all {
            (publisher.sent, publisher.free) = (0, now);
            publisher.drawn = stretch.pace.gap(count).unwrap_or_default();
        }
    }

    /// Publishes so many events more in this stretch.
    pub(crate) fn allow(&mut self, events: u64) {
        if let Some(stretch) = &mut self.stretch {
            stretch.events += events;
        }
    }

    /// Publishes nothing more; what is on its way goes on.
    pub(crate) fn end(&mut self) {
        self.stretch = None;
    }

    /// Waits no longer for the confirms of what is on its way.
    pub(crate) fn give_up(&mut self, ledger: &mut Ledger) {
        for index in 0..self.all.len() {
            if self.all[index].on_its_way.is_some() {
                self.fail(index, Failure::NotAnswered, None, ledger);
            }
        }
    }

    /// Tells whether all is sent and answered for.
    pub(crate) fn is_done(&self) -> bool {
        let all_sent = (0..self.all.len()).all(|index| self.next_of(index).is_none());
        all_sent && self.all.iter().all(|publisher| publisher.on_its_way.is_none())
    }

    /// Returns the publisher that a token of the event loop belongs to.
    pub(crate) fn index(token: Token) -> Option<usize> {
        token.0.checked_sub(FIRST_TOKEN)
    }

    /// Returns when something is due by time.
    pub(crate) fn next_due(&self, now: u64) -> u64 {
        let due = |(index, publisher): (usize, &Publisher)| match publisher.on_its_way {
            Some(on_its_way) => on_its_way.since + self.plan.deadline,
            None => self.next_of(index).map_or(u64::MAX, |next| next.max(publisher.paused)),
        };
        self.all.iter().enumerate().map(due).min().unwrap_or(u64::MAX).max(now)
    }

    /// Sends what is due.
    pub(crate) fn turn(&mut self, ledger: &mut Ledger, registry: &Registry) {
        let now = clock::now();
        for index in 0..self.all.len() {
            let publisher = &self.all[index];
            if publisher.on_its_way.is_some_and(|on_its_way| now >= on_its_way.since + self.plan.deadline) {
                self.fail(index, Failure::NotAnswered, None, ledger);
            } else if publisher.on_its_way.is_none()
                && publisher.paused <= now
                && let Some(next) = self.next_of(index).filter(|next| *next <= now)
            {
                self.send(index, next, ledger, registry);
            }
        }
    }

    /// Reads a confirm.
    pub(crate) fn ready(&mut self, index: usize, readiness: Readiness, ledger: &mut Ledger) {
        if index == self.all.len() {
            return self.take_outcomes(ledger);
        }
        let Some(publisher) = self.all.get_mut(index) else { return };
        let Some(connection) = &mut publisher.connection else { return };
        let mut come = std::mem::take(&mut self.come);
        let sent = connection.send_rest();
        let end = match (connection.read(&mut come, readiness.may_have_ended), sent) {
            (End::Open, Err(error)) => End::Broken(Failure::from(&error)),
            (end, _) => end,
        };
        self.take(index, &come, end, ledger);
        self.come = come;
    }

    fn take(&mut self, index: usize, come: &[u8], end: End, ledger: &mut Ledger) {
        let publisher = &mut self.all[index];
        let Some(on_its_way) = publisher.on_its_way else {
            if end != End::Open || !come.is_empty() {
                publisher.connection = None;
            }
            return;
        };
        match (Answer::read(come, end == End::Orderly), end.failure()) {
            (Err(_), _) => self.fail(index, Failure::Malformed, None, ledger),
            (Ok(None), Some(failure)) => self.fail(index, failure, None, ledger),
            (Ok(None), None) => publisher.connection.iter_mut().for_each(|connection| connection.keep(come)),
            (Ok(Some(answer)), _) if self.plan.publish.confirmed.contains(&answer.head.status) => {
                if end != End::Open || answer.head.is_last {
                    publisher.connection = None;
                }
                self.confirm(index, on_its_way, clock::now());
            }
            (Ok(Some(answer)), _) => {
                self.fail(index, Failure::Status(answer.head.status), answer.head.retry_after(), ledger);
            }
        }
    }

    fn confirm(&mut self, index: usize, on_its_way: OnItsWay, at: u64) {
        self.sent.confirmed += 1;
        self.sent.confirms.take(at.saturating_sub(on_its_way.since));
        let publisher = &mut self.all[index];
        (publisher.on_its_way, publisher.free, publisher.failures) = (None, at, 0);
    }

    /// Takes what became of events that were sent by AMQP.
    fn take_outcomes(&mut self, ledger: &mut Ledger) {
        let outcomes = self.amqp.as_ref().map(AmqpPublishers::take).unwrap_or_default();
        for amqp::Outcome { publisher, number, at, result } in outcomes {
            // One that is waited for no longer was counted.
            let waits = self.all[publisher].on_its_way.filter(|on_its_way| on_its_way.number == number);
            match (waits, result) {
                (Some(on_its_way), Ok(())) => self.confirm(publisher, on_its_way, at),
                (Some(_), Err(failure)) => self.fail(publisher, failure, None, ledger),
                (None, _) => {}
            }
        }
    }

    fn send(&mut self, index: usize, intended: u64, ledger: &mut Ledger, registry: &Registry) {
        let Some(stretch) = self.stretch else { return };
        let Some((stream, _)) = self.next_stream(index, &stretch) else { return };
        let gap = stretch.pace.gap(self.all.len());
        let publisher = &mut self.all[index];
        publisher.drawn += gap.unwrap_or_default();
        let now = clock::now();
        let number = ledger.next(stream);
        let on_its_way = OnItsWay { stream, number, since: now };
        (publisher.sent, publisher.on_its_way) = (publisher.sent + 1, Some(on_its_way));
        self.sent.events += 1;
        self.sent.lateness.take(now.saturating_sub(intended.max(publisher.free).max(publisher.paused)));
        Stamp { number, run: self.plan.run, stream, time: intended }.write(self.plan.size, &mut self.payload);
        let topic = self.plan.streams.topic(stream);
        if self.plan.amqp.is_some() {
            if let Err(error) = self.send_by_amqp(index, number, topic, registry) {
                self.fail(index, Failure::from(&error), None, ledger);
            }
            return;
        }
        let values =
            Values { names: &self.plan.names, client: topic, topic, place: &self.nowhere, payload: &self.payload };
        self.plan.publish.request.render(&values, &mut self.request);
        if publisher.connection.is_none() {
            match Connection::open(self.plan.address, None, registry, Token(FIRST_TOKEN + index)) {
                Ok(connection) => publisher.connection = Some(connection),
                Err(error) => return self.fail(index, Failure::from(&error), None, ledger),
            }
        }
        // A connection that is not made yet takes the request when it is.
        let sent = publisher.connection.as_mut().map_or(Ok(()), |connection| connection.send(&self.request));
        if let Err(error) = sent {
            self.fail(index, Failure::from(&error), None, ledger);
        }
    }

    fn send_by_amqp(&mut self, index: usize, number: u32, topic: u32, registry: &Registry) -> io::Result<()> {
        let Some(urls) = &self.plan.amqp else { return Ok(()) };
        let count = self.all.len();
        let amqp = match &mut self.amqp {
            Some(amqp) => amqp,
            none => {
                let token = Token(FIRST_TOKEN + count);
                none.insert(AmqpPublishers::start(urls, count, self.plan.deadline, registry, token)?)
            }
        };
        amqp.send(index, number, &self.plan.names.topic(topic), &self.payload);
        Ok(())
    }

    /// Counts an event that was not confirmed; it is not sent again, because it may have been stored.
    fn fail(&mut self, index: usize, failure: Failure, retry_after: Option<u64>, ledger: &mut Ledger) {
        let publisher = &mut self.all[index];
        let now = clock::now();
        publisher.connection = None;
        publisher.failures = publisher.failures.saturating_add(1);
        let wait = retry_after
            .map_or_else(|| nanoseconds(backoff(publisher.failures)), |wait| wait.saturating_mul(clock::SECOND));
        publisher.paused = now.saturating_add(wait);
        publisher.free = publisher.paused;
        if let Some(OnItsWay { stream, number, .. }) = publisher.on_its_way.take() {
            *self.sent.failures.entry(failure).or_default() += 1;
            ledger.not_confirmed(stream, number);
        }
    }

    /// Returns when a publisher is to send its next event, if it has one.
    fn next_of(&self, index: usize) -> Option<u64> {
        let stretch = self.stretch?;
        let publisher = &self.all[index];
        let (_, event) = self.next_stream(index, &stretch)?;
        if event >= stretch.events {
            return None;
        }
        let offset = match stretch.pace {
            Pace::Random(_) => Some(publisher.drawn),
            pace => pace.offset(event),
        };
        let next = offset.map_or(publisher.free, |offset| self.began.saturating_add(offset));
        (next.max(publisher.paused) < stretch.until).then_some(next)
    }

    /// Returns the stream of a publisher's next event, and the number of that event over all publishers: all streams have events by
    /// turns. `None` if none of its topics has clients.
    fn next_stream(&self, index: usize, stretch: &Stretch) -> Option<(u32, u64)> {
        let Streams { topics, publishers } = self.plan.streams;
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let with_events = stretch.topics.min(self.plan.among).min(topics);
        let sent = self.all[index as usize].sent;
        // Each of those that share a topic has a stream of its own.
        if topics < publishers {
            let (row, topic) = (index / topics, self.plan.streams.topic(index));
            let all = publishers / topics * with_events + with_events.min(publishers % topics);
            let event = sent * u64::from(all) + u64::from(row * with_events + topic);
            return (topic < with_events).then_some((index, event));
        }
        if index >= with_events {
            return None;
        }
        let (streams, own) = (with_events, u64::from((with_events - index).div_ceil(publishers.max(1))));
        let stream = index + publishers * u32::try_from(sent % own).unwrap_or_default();
        Some((stream, sent / own * u64::from(streams) + u64::from(stream)))
    }
}
