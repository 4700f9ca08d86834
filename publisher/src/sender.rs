//! Brings the events of a [`Source`] to where they are stored, over a [`Transport`], and the confirms back.
//!
//! The thin, asynchronous part: it connects, sends, waits, and asks [`Outbox`] what to do and [`Patience`] how long.
//! Invariant: an event is taken from the source only when the window has room, and whatever was taken ends up
//! confirmed or in the report. Nothing here may be cancelled from outside and go on: [`Sender::run`] runs to its end,
//! or the process ends. Inside, waits for the source and for time are abandoned half-way; what was sent and its
//! answers only together with their link.

mod ends;
mod patience;
mod settle;

use std::{
    future::{poll_fn, ready},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use events::Event;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    pin, select,
    time::{Instant, sleep, sleep_until, timeout},
};

use self::patience::{Patience, Pauses};
use crate::{
    outbox::{Outbox, Ticket},
    output::Output,
    report::{End, Report},
    signals::{Signal, Stop},
    source::{Order, Source},
    transport::{ConnectError, Link, SendError, Transport},
};

/// How to send.
#[derive(Debug)]
pub(crate) struct Options {
    /// How many events may be on their way at once.
    pub(crate) in_flight: usize,
    /// How long to go on without a single confirm.
    pub(crate) timeout: Duration,
}

/// Why a link is of no use any more.
enum LinkFailure {
    /// It was lost.
    Lost(String),
    /// It was closed over an event.
    RefusedOne(String),
    /// It leads to a place that takes no events.
    WrongDestination(String),
    /// It may be fine, but patience is at its end.
    OutOfTime,
}

/// What becomes of an event, or of the events of a batch.
type Answer<'a> = Pin<Box<dyn Future<Output = Vec<(Ticket, Result<(), SendError>)>> + 'a>>;

/// Hands events to the link and returns what becomes of them; does not wait for the network.
///
/// The first poll is made here, where events come in order, and not by the set of answers, which promises none. To wait
/// until each event is written, before the next is, would cost a change of threads per event.
async fn write<L: Link>(link: &L, sent: Vec<(Ticket, Event)>, is_batch: bool) -> Answer<'_> {
    let (tickets, mut events): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
    let mut answer: Answer<'_> = match events.pop() {
        Some(event) if !is_batch => {
            Box::pin(link.send(event).map(move |answer| tickets.into_iter().zip([answer]).collect()))
        }
        last => {
            events.extend(last);
            Box::pin(link.send_batch(events).map(move |answers| tickets.into_iter().zip(answers).collect()))
        }
    };
    match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
        Poll::Pending => answer,
        Poll::Ready(early) => Box::pin(ready(early)),
    }
}

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; together they make no state")]
pub(crate) struct Sender<'a, S, T> {
    source: &'a mut S,
    transport: &'a T,
    options: &'a Options,
    output: &'a Output,
    stop: Stop,
    stopped: Option<Signal>,
    /// The source is not at its end, and no stop was asked for.
    is_reading: bool,
    /// A signal came before the source was at its end.
    is_cut_short: bool,
    /// Something was put back since the last answer, so what is taken next is no new beginning.
    has_put_back: bool,
    input_error: Option<anyhow::Error>,
    outbox: Outbox,
    report: Report,
    patience: Patience,
    pauses: Pauses,
    has_connected: bool,
    /// What has gone wrong since the last answer, to be told when patience ends.
    trouble: Option<String>,
    /// The longest that we were asked to wait before what is held back is sent again.
    asked_to_wait: Duration,
}

impl<'a, S: Source, T: Transport> Sender<'a, S, T> {
    pub(crate) fn new(
        source: &'a mut S,
        transport: &'a T,
        options: &'a Options,
        output: &'a Output,
        stop: Stop,
    ) -> Self {
        let outbox = Outbox::new(options.in_flight, transport.concurrency(source.order()));
        Self {
            source,
            transport,
            options,
            output,
            stop,
            stopped: None,
            is_reading: true,
            is_cut_short: false,
            has_put_back: false,
            input_error: None,
            outbox,
            report: Report::default(),
            patience: Patience::new(options.timeout, Instant::now()),
            pauses: Pauses::default(),
            has_connected: false,
            trouble: None,
            asked_to_wait: Duration::ZERO,
        }
    }

    /// Sends everything and tells what became of it.
    pub(crate) async fn run(mut self) -> (End, Report) {
        let end = self.send_all().await;
        for gone in self.outbox.abandon() {
            let reason = if gone.was_sent { "sent, but no confirm came; it may be stored" } else { "not sent" };
            self.give_up(gone, reason.to_owned());
        }
        self.report.resent = self.outbox.resent();
        (end, self.report)
    }

    /// Connects again and again until everything is done or patience ends.
    async fn send_all(&mut self) -> End {
        let mut pause = Duration::ZERO;
        let mut start = None;
        let end = loop {
            let link = match self.connect(pause).await {
                Ok(link) => link,
                Err(end) => break end,
            };
            start.get_or_insert_with(Instant::now);
            pause = Duration::ZERO;
            match self.publish_on(&link).await {
                Ok(()) => {
                    link.close().await;
                    break self.end();
                }
                Err(LinkFailure::Lost(reason)) => {
                    pause = self.pauses.next(rand::random());
                    let (place, count) = (self.transport, self.outbox.len());
                    self.output
                        .note(format_args!("lost {place}: {reason}; {count} not confirmed yet, connecting again"));
                    self.outbox.lost();
                    self.trouble = Some(reason);
                }
                Err(LinkFailure::RefusedOne(reason)) => {
                    let count = self.outbox.len();
                    match self.outbox.refused_one() {
                        Some(gone) => {
                            self.give_up(gone, reason);
                            // A definite no is an answer too.
                            self.patience.renew(Instant::now());
                        }
                        None => self.output.note(format_args!("one of {count} events: {reason}; looking for it")),
                    }
                    link.close().await;
                    if self.is_done() {
                        break self.end();
                    }
                }
                Err(LinkFailure::WrongDestination(reason)) => break self.wrong_destination(&reason),
                Err(LinkFailure::OutOfTime) => {
                    if let Some(blocked_reason) = link.blocked_reason() {
                        self.trouble = Some(blocked_reason.to_owned());
                    }
                    break self.out_of_time();
                }
            }
        };
        self.report.took = start.map_or(Duration::ZERO, |start| start.elapsed());
        end
    }

    /// Connects, after a pause, as often as it takes.
    async fn connect(&mut self, mut pause: Duration) -> Result<T::Link, End> {
        let place = self.transport;
        loop {
            let attempt = async {
                sleep(pause).await;
                timeout(place.connect_limit(), place.connect()).await
            };
            let trouble = match self.with_patience(attempt).await {
                None => return Err(self.out_of_time()),
                Some(Ok(Ok(link))) => {
                    if self.has_connected && !pause.is_zero() {
                        self.output.note(format_args!("connected to {place} again"));
                    }
                    self.has_connected = true;
                    return Ok(link);
                }
                Some(Ok(Err(ConnectError::Refused(reason)))) if !self.has_connected => {
                    return Err(End::Unreachable(format!("cannot connect to {place}: {reason}")));
                }
                Some(Ok(Err(error))) => error.to_string(),
                Some(Err(_)) => format!("no answer within {} s", place.connect_limit().as_secs()),
            };
            pause = self.pauses.next(rand::random());
            let seconds = pause.as_secs_f64();
            self.output.note(format_args!("cannot reach {place}: {trouble}; trying again in {seconds:.1} s"));
            self.trouble = Some(trouble);
        }
    }

    /// Publishes on one link until everything is confirmed.
    async fn publish_on(&mut self, link: &T::Link) -> Result<(), LinkFailure> {
        let mut answers = FuturesUnordered::new();
        self.put_back();
        loop {
            if self.outbox.must_pause() {
                self.pause().await.ok_or(LinkFailure::OutOfTime)?;
            }
            // A dead link is left alone: an event that was not even written is no repeat on the next one.
            if link.is_open() {
                self.outbox.set_concurrency(self.transport.concurrency(self.source.order()));
                loop {
                    let batch = self.outbox.send_batch();
                    if batch.is_empty() {
                        break;
                    }
                    answers.push(write(link, batch, self.outbox.sends_batches()).await);
                }
            } else if answers.is_empty() && self.outbox.may_send() {
                return Err(LinkFailure::Lost("it went while nothing was in flight".to_owned()));
            }
            if self.is_done() {
                return Ok(());
            }
            select! {
                biased;
                signal = self.stop.requested(), if self.stopped.is_none() => self.stop(signal),
                Some(answer) = answers.next() => if let Err(broken) = self.settle_all(answer) {
                    // What is answered all the same need not be sent again.
                    while let Some(Some(answer)) = answers.next().now_or_never() {
                        let _ = self.settle_all(answer);
                    }
                    return Err(broken);
                },
                input = self.source.next(), if self.is_reading && self.outbox.has_room() => self.take(input),
                () = sleep_until(self.patience.deadline()), if !self.outbox.is_empty() => {
                    return Err(LinkFailure::OutOfTime);
                }
            }
        }
    }

    /// Waits until what is held back may be sent again; `None` when patience ends.
    async fn pause(&mut self) -> Option<()> {
        // As long as we were asked to, and then not all publishers at once.
        let pause = std::mem::take(&mut self.asked_to_wait) + self.pauses.next(rand::random());
        let (place, trouble) = (self.transport, self.trouble());
        let (count, seconds) = (self.outbox.len(), pause.as_secs_f64());
        self.output.note(format_args!("{place}: {trouble}; {count} not confirmed yet, trying again in {seconds:.1} s"));
        self.with_patience(sleep(pause)).await?;
        self.outbox.resume();
        self.put_back();
        Some(())
    }

    /// Time has passed: where only the newest matters, the source may have something newer than what waits here.
    fn put_back(&mut self) {
        if self.is_reading && self.source.order() == Order::Newest {
            for outgoing in self.outbox.take_unsent() {
                self.source.put_back(outgoing);
                self.has_put_back = true;
            }
        }
    }

    /// Waits for something as long as patience lasts; `None` when it ends. A signal may come meanwhile.
    async fn with_patience<W>(&mut self, work: impl Future<Output = W>) -> Option<W> {
        pin!(work);
        loop {
            select! {
                biased;
                value = &mut work => return Some(value),
                signal = self.stop.requested(), if self.stopped.is_none() => self.stop(signal),
                () = sleep_until(self.patience.deadline()) => return None,
            }
        }
    }

    /// Tells whether everything is settled and nothing more will come.
    fn is_done(&self) -> bool {
        self.outbox.is_empty() && !self.is_reading
    }
}
