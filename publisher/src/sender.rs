//! Brings the events of a [`Source`] to the broker and its confirms back.
//!
//! The thin, asynchronous part: it connects, writes, waits, and asks [`Outbox`] what to do and [`Patience`] how long.
//! Invariant: an event is taken from the source only when the window has room, and whatever was taken ends up
//! confirmed or in the report. Nothing here may be cancelled from outside and go on: [`Sender::run`] runs to its end,
//! or the process ends. Inside, waits for the source and for time are abandoned half-way; writes and their
//! answers only together with their connection.

mod patience;
mod settle;

use std::{
    future::{poll_fn, ready},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use events::{
    Event,
    amqp::{AmqpUrl, ConfirmChannel, PublishError, PublishingConnection},
};
use futures_util::{StreamExt, stream::FuturesOrdered};
use tokio::{
    pin, select,
    time::{Instant, sleep, sleep_until, timeout},
};

use self::patience::{Patience, Pauses};
use crate::{
    outbox::Outbox,
    output::Output,
    report::{End, Report},
    signals::{Signal, Stop},
    source::Source,
};

/// What the broker's operator sees.
const CONNECTION_NAME: &str = "postern publisher";

/// How long one attempt to connect may take; a host that swallows packets must not use up all the patience.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long to say goodbye to the broker; everything is confirmed by then, so it is only a courtesy.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The pause before events that a full queue rejected are sent again.
const REJECTION_PAUSE: Duration = Duration::from_secs(1);

/// How to send.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) url: AmqpUrl,
    /// How many events may be on their way at once.
    pub(crate) in_flight: usize,
    /// How long to go on without a single confirm.
    pub(crate) timeout: Duration,
}

/// Why a connection is of no use any more.
enum Broken {
    /// It was lost.
    Lost(String),
    /// The broker closed it over an event.
    Refused(String),
    /// It may be fine, but patience is at its end.
    OutOfTime,
}

/// The broker's word on one event.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), PublishError>> + 'a>>;

/// Hands an event to the connection and returns what becomes of it; does not wait for the network.
///
/// The first poll is made here, where events come in order, and not by the set of answers, which promises none. To wait
/// until each event is written, before the next is, would cost a change of threads per event.
async fn write(channel: &ConfirmChannel, event: Event) -> Answer<'_> {
    let mut answer: Answer<'_> = Box::pin(async move { channel.publish(&event).await?.stored().await });
    match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
        Poll::Pending => answer,
        Poll::Ready(early) => Box::pin(ready(early)),
    }
}

/// See the module.
pub(crate) struct Sender<'a, S> {
    source: &'a mut S,
    options: &'a Options,
    output: &'a Output,
    stop: Stop,
    stopped: Option<Signal>,
    /// The source is not at its end, and nobody wants to stop.
    is_reading: bool,
    /// A signal came before the source was at its end.
    is_cut_short: bool,
    input_error: Option<anyhow::Error>,
    outbox: Outbox,
    report: Report,
    patience: Patience,
    pauses: Pauses,
    has_connected: bool,
    /// What last went wrong with the broker, to be told when patience ends.
    last_trouble: String,
}

impl<'a, S: Source> Sender<'a, S> {
    pub(crate) fn new(source: &'a mut S, options: &'a Options, output: &'a Output, stop: Stop) -> Self {
        Self {
            source,
            options,
            output,
            stop,
            stopped: None,
            is_reading: true,
            is_cut_short: false,
            input_error: None,
            outbox: Outbox::new(options.in_flight),
            report: Report::default(),
            patience: Patience::new(options.timeout, Instant::now()),
            pauses: Pauses::default(),
            has_connected: false,
            last_trouble: "no answer".to_owned(),
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
            let connection = match self.connect(pause).await {
                Ok(connection) => connection,
                Err(end) => break end,
            };
            start.get_or_insert_with(Instant::now);
            pause = Duration::ZERO;
            match self.publish_on(&connection).await {
                Ok(()) => {
                    let _ = timeout(CLOSE_LIMIT, connection.close()).await;
                    break self.end();
                }
                Err(Broken::Lost(reason)) => {
                    pause = self.pauses.next(rand::random());
                    let (url, count) = (&self.options.url, self.outbox.len());
                    self.output.note(format_args!("lost {url}: {reason}; {count} not confirmed yet, connecting again"));
                    self.outbox.lost();
                    self.last_trouble = reason;
                }
                Err(Broken::Refused(reason)) => {
                    let count = self.outbox.len();
                    match self.outbox.refused() {
                        Some(gone) => {
                            self.give_up(gone, reason);
                            // A definite no is an answer too.
                            self.patience.renew(Instant::now());
                        }
                        None => self.output.note(format_args!("one of {count} events: {reason}; looking for it")),
                    }
                    let _ = timeout(CLOSE_LIMIT, connection.close()).await;
                    if self.is_done() {
                        break self.end();
                    }
                }
                Err(Broken::OutOfTime) => {
                    if connection.is_blocked() {
                        "the broker takes nothing now, it is out of memory or disk".clone_into(&mut self.last_trouble);
                    }
                    break self.out_of_time();
                }
            }
        };
        self.report.took = start.map_or(Duration::ZERO, |start| start.elapsed());
        end
    }

    /// Connects, after a pause, as often as it takes.
    async fn connect(&mut self, mut pause: Duration) -> Result<PublishingConnection, End> {
        let options = self.options;
        let url = &options.url;
        loop {
            let attempt = async {
                sleep(pause).await;
                timeout(CONNECT_LIMIT, PublishingConnection::open(url, CONNECTION_NAME)).await
            };
            let trouble = match self.with_patience(attempt).await {
                None => return Err(self.out_of_time()),
                Some(Ok(Ok(connection))) => {
                    if self.has_connected && !pause.is_zero() {
                        self.output.note(format_args!("connected to {url} again"));
                    }
                    self.has_connected = true;
                    return Ok(connection);
                }
                Some(Ok(Err(error))) if !error.is_retryable() && !self.has_connected => {
                    return Err(End::Unreachable(format!("cannot connect to {url}: {error}")));
                }
                Some(Ok(Err(error))) => error.to_string(),
                Some(Err(_)) => format!("no answer within {} s", CONNECT_LIMIT.as_secs()),
            };
            pause = self.pauses.next(rand::random());
            let seconds = pause.as_secs_f64();
            self.output.note(format_args!("cannot reach {url}: {trouble}; trying again in {seconds:.1} s"));
            self.last_trouble = trouble;
        }
    }

    /// Publishes on one connection until everything is confirmed.
    async fn publish_on(&mut self, connection: &PublishingConnection) -> Result<(), Broken> {
        let channel = connection.channel();
        let mut answers = FuturesOrdered::new();
        loop {
            if self.outbox.must_pause() {
                self.with_patience(sleep(REJECTION_PAUSE)).await.ok_or(Broken::OutOfTime)?;
                self.outbox.resume();
            }
            // A dead channel is left alone: an event that was not even written is no repeat on the next one.
            if channel.is_open() {
                while let Some(event) = self.outbox.send_next() {
                    answers.push_back(write(channel, event).await);
                }
            } else if answers.is_empty() && self.outbox.may_send() {
                return Err(Broken::Lost("it went while nothing was in flight".to_owned()));
            }
            if self.is_done() {
                return Ok(());
            }
            select! {
                biased;
                signal = self.stop.requested(), if self.stopped.is_none() => self.stop(signal),
                Some(answer) = answers.next() => match answer {
                    Ok(()) => self.settle_confirmed(),
                    Err(error) => self.settle_failed(error)?,
                },
                input = self.source.next(), if self.is_reading && self.outbox.has_room() => self.take(input),
                () = sleep_until(self.patience.deadline()), if !self.outbox.is_empty() => {
                    return Err(Broken::OutOfTime);
                }
            }
        }
    }

    /// Waits for something as long as patience lasts; `None` when it ends. A signal may come meanwhile.
    async fn with_patience<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
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

    /// Returns the end of a run in which everything was settled.
    fn end(&mut self) -> End {
        match (self.input_error.take(), self.stopped) {
            (Some(error), _) => End::InputFailed(error),
            (None, Some(signal)) if self.is_cut_short => End::Stopped(signal),
            (None, _) => End::Exhausted,
        }
    }

    /// Returns the end of a run whose patience is used up.
    fn out_of_time(&mut self) -> End {
        let (url, seconds, trouble) = (&self.options.url, self.options.timeout.as_secs_f64(), &self.last_trouble);
        match self.stopped {
            Some(signal) => End::Stopped(signal),
            None if self.has_connected => End::GaveUp(format!("no confirm from {url} for {seconds} s: {trouble}")),
            None => End::Unreachable(format!(
                "cannot reach {url} within {seconds} s: {trouble}; start the broker or name it with --amqp-url"
            )),
        }
    }
}
