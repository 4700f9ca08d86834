//! The benchmark of catching up: what it costs those who wait for new events when others read a long log.
//!
//! On each broker a log is filled and a gateway started on it. Clients wait at the end for an event now and then: first
//! alone, then while one client reads the whole log, then while a hundred read a hundredth each. Only the ratios within
//! one run count. An event that is lost, repeated or out of order ends the run with an error.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use postern_tests::{Broker, Latencies, Live, LongLog};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    output::print,
    row::{Better, Row},
};

/// The length of a log that is short.
const FEW: u64 = 1_000;

/// Measures how long polls at the end of a feed take without and with others who catch up, and how fast those are.
/// Starts its own brokers and the release build of the gateway.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many events the log has before it is read
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,

    /// How many clients catch up at once in the last part; each reads its part of the log
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    readers: u64,

    /// How many clients wait at the end
    #[arg(long, value_name = "N", default_value_t = 100)]
    live: usize,

    /// Milliseconds between two events that they wait for
    #[arg(long, value_name = "MS", default_value_t = 50)]
    every: u64,

    /// Seconds of the part in which no client catches up
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    alone: u64,

    /// Only this broker
    #[arg(long, value_enum)]
    broker: Option<Only>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Only {
    Rabbitmq,
    Embedded,
}

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let brokers = match options.broker {
        None => vec![Broker::Embedded, Broker::RabbitMq],
        Some(Only::Rabbitmq) => vec![Broker::RabbitMq],
        Some(Only::Embedded) => vec![Broker::Embedded],
    };
    let mut rows = Vec::new();
    for broker in brokers {
        rows.extend(measure(broker, options).await?);
    }
    Ok(rows)
}

async fn measure(broker: Broker, options: &Options) -> anyhow::Result<Vec<Row>> {
    let of_few = LongLog::new(broker, FEW, |gateway| gateway).await?.ready_in;
    let log = LongLog::new(broker, options.events, |gateway| gateway).await?;
    print(&format_args!("{broker:?}: {} events of some 190 bytes of JSON each", options.events));
    print(&format_args!(
        "  filled in {:.1} s; the gateway serves feeds {:.3} s after its start, and after {:.3} s with {FEW} events",
        log.filled_in.as_secs_f64(),
        log.ready_in.as_secs_f64(),
        of_few.as_secs_f64()
    ));
    print(&format_args!("  {:<26} {:>9} {:>9} {:>7} {:>12}", "", "p50 ms", "p99 ms", "ratio", "caught up/s"));
    let live = async |next| Live::start(&log, options.live, Duration::from_millis(options.every), next).await;

    let waiting = live(options.events).await?;
    sleep(Duration::from_secs(options.alone)).await;
    let (alone, next) = waiting.finish().await?;
    show("no client catches up", &alone, &alone, None);

    let waiting = live(next).await?;
    let part = options.events / options.readers;
    let mut places = vec![("oldest".to_owned(), 0)];
    let mut all = log.follower("oldest", 0);
    let began = Instant::now();
    while all.next() < options.events {
        all.poll(20).await?;
        if all.next() >= places.len() as u64 * part && all.next() + part <= options.events {
            places.push((all.place().to_owned(), all.next()));
        }
    }
    let took = began.elapsed();
    let (latencies, next) = waiting.finish().await?;
    show("one reads all", &latencies, &alone, Some((options.events, took)));
    let beside_one = millis(&latencies, 99);

    let waiting = live(next).await?;
    let (readers, began) = (places.len() as u64, Instant::now());
    let mut reading = JoinSet::new();
    for (place, next) in places {
        let mut reader = log.follower(&place, next);
        reading.spawn(async move { reader.read_to(next + part).await });
    }
    reading.join_all().await;
    let took = began.elapsed();
    let (latencies, next) = waiting.finish().await?;
    show(&format!("{readers} read {part} each"), &latencies, &alone, Some((readers * part, took)));
    let beside_many = millis(&latencies, 99);
    all.read_to(next).await;
    if let Some(bytes) = log.gateway.process().resident_bytes() {
        print(&format_args!("  the gateway's resident memory at the end: {} MiB", bytes / 1024 / 1024));
    }
    let p99_alone = millis(&alone, 99);
    let row = |readers: &str, p99: f64| {
        let what = format!("p99 at the end of a feed, {broker:?}, while {readers}");
        Row::of(what, ("ms", Better::Lower), "no client catches up", vec![p99], vec![p99_alone])
    };
    let ready = Row::of(
        format!("start with {} events in the log until feeds are served, {broker:?}", options.events),
        ("s", Better::Lower),
        format!("{FEW} events"),
        vec![log.ready_in.as_secs_f64()],
        vec![of_few.as_secs_f64()],
    );
    Ok(vec![ready, row("one reads the whole log", beside_one), row("many read a part each", beside_many)])
}

fn millis(latencies: &Latencies, hundredths: usize) -> f64 {
    latencies.within(hundredths).as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2⁵²")]
fn show(what: &str, latencies: &Latencies, alone: &Latencies, caught_up: Option<(u64, Duration)>) {
    let ratio = millis(latencies, 99) / millis(alone, 99);
    let rate =
        caught_up.map_or_else(|| "-".to_owned(), |(events, took)| format!("{:.0}", events as f64 / took.as_secs_f64()));
    print(&format_args!(
        "  {what:<26} {:>9.2} {:>9.2} {ratio:>7.1} {rate:>12}",
        millis(latencies, 50),
        millis(latencies, 99)
    ));
}
