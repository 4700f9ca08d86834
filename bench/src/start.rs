//! The benchmark of a start on a long stream of RabbitMQ: how soon a gateway serves feeds, and how soon it knows what was stored
//! before.
//!
//! Each stream is on a broker of its own, and a gateway starts on each in turn. The time is that of the log line with which the
//! gateway says that feeds are ready, and is checked by a request. What is read beside that is known when a client without a place
//! gets the first event of the stream, which is the only one of its topic.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use events::EventTime;
use postern_tests::{Broker, LongLog, Request, eventually, median, note};
use tokio::time::Instant;

use crate::row::{Better, Row};

const PATIENCE: Duration = Duration::from_mins(5);

/// What is aimed at: seconds until feeds are served, and how often as long that may take on the longest stream.
const MAX_SECONDS: f64 = 2.0;
const MAX_GROWTH: f64 = 1.2;

/// Measures how long after its start a gateway serves feeds, and knows all of the stream, by the length of the stream. Starts
/// its own brokers and the release build of the gateway; takes some five minutes.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many events the streams have
    #[arg(long, value_name = "N,N", value_delimiter = ',', num_args = 1, default_value = "1000000,3000000")]
    events: Vec<u64>,

    /// How often a gateway starts on each stream, in turn; the last time, it goes on until it knows all of it
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// A stream, and what was measured on it.
struct Stream {
    events: u64,
    log: LongLog,
    ready_s: Vec<f64>,
    known_s: f64,
    memory_mib: f64,
}

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut streams = Vec::new();
    for &events in &options.events {
        let mut log = LongLog::new(Broker::RabbitMq, events, |gateway| gateway).await?;
        log.gateway.kill9();
        note(&format!("start: a stream of {events} events was filled in {:.0} s", log.filled_in.as_secs_f64()));
        streams.push(Stream { events, log, ready_s: Vec::new(), known_s: f64::NAN, memory_mib: f64::NAN });
    }
    for round in 1..=options.rounds {
        for stream in &mut streams {
            stream.start(round == options.rounds).await?;
        }
    }
    Ok(rows(&streams))
}

impl Stream {
    /// Starts a gateway on it, and ends the gateway.
    async fn start(&mut self, is_last: bool) -> anyhow::Result<()> {
        let gateway = &mut self.log.gateway;
        let from = gateway.log().len();
        let (began, at) = (Instant::now(), EventTime::now());
        gateway.start_again().await;
        gateway.wait_answer("/ready?feeds", 200, PATIENCE).await;
        let line = "feeds are ready";
        let told = eventually(PATIENCE, line, async || gateway.log().fields(from, line).ok_or("not said")).await;
        let told = told["timestamp"].as_str().and_then(EventTime::from_rfc3339).context("a log line has a time")?;
        let ready = Duration::from_millis(told.unix_millis().saturating_sub(at.unix_millis())).as_secs_f64();
        note(&format!("start: feeds are served after {ready:.3} s with {} events", self.events));
        self.ready_s.push(ready);
        if is_last {
            let newest = Request::get(&format!("/topics/{}/events?wait=50", LongLog::QUIET));
            // A request that the gateway cannot answer in its time gets a 503, and comes again.
            while newest.send(gateway.address()).await.status != 200 {
                ensure!(began.elapsed() < PATIENCE, "the first event of the stream is not known");
            }
            self.known_s = began.elapsed().as_secs_f64();
            self.memory_mib = gateway.process().resident_bytes().map_or(f64::NAN, mebibytes);
        }
        gateway.kill9();
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn rows(streams: &[Stream]) -> Vec<Row> {
    let mut rows = Vec::new();
    for stream in streams {
        let ready = stream.ready_s.clone();
        let (what, unit) = (format!("start on a stream of {} events until feeds are served", stream.events), "s");
        let aims = vec![MAX_SECONDS; ready.len()];
        rows.push(Row::of(
            &*what,
            (unit, Better::Lower),
            format!("the aim: {MAX_SECONDS} at most"),
            ready.clone(),
            aims,
        ));
        let shorter = streams.first().filter(|shortest| shortest.events < stream.events);
        if let Some(shorter) = shorter {
            let beside = format!("{} events; the aim: {MAX_GROWTH} times at most", shorter.events);
            rows.push(Row::of(what, (unit, Better::Lower), beside, ready, shorter.ready_s.clone()));
        }
        // The shortest one stands beside its own start.
        let (known, beside) = match shorter {
            Some(shorter) => (shorter.known_s, format!("{} events", shorter.events)),
            None => (median(stream.ready_s.clone()), "until feeds are served".to_owned()),
        };
        let what = format!("start on a stream of {} events until all of it is known", stream.events);
        rows.push(Row::of(what, (unit, Better::Lower), beside, vec![stream.known_s], vec![known]));
        if let Some(shorter) = shorter {
            let what = format!("memory of a gateway that knows a stream of {} events", stream.events);
            let (ours, theirs) = (vec![stream.memory_mib], vec![shorter.memory_mib]);
            rows.push(Row::of(what, ("MiB", Better::Lower), format!("{} events", shorter.events), ours, theirs));
        }
    }
    rows
}
