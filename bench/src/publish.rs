//! The benchmark of publishing: on RabbitMQ over HTTP through the gateway, beside AMQP; and on both brokers by the batch,
//! beside one event at a time.
//!
//! Every event goes to the log of the feeds, so it is stored before it is confirmed. Both sides take turns on one broker,
//! and in both each publisher waits for its confirm: what differs is one hop over HTTP. Batches and single events go over
//! one connection each.

use std::time::Duration;

use clap::Parser;
use postern_tests::{Gateway, RabbitNode, cpu_seconds, median, note};
use tokio::time::Instant;

use crate::{
    output::print,
    publishers::Load,
    row::{Better, Row},
};

/// Publishes over HTTP and over AMQP to a RabbitMQ of its own, and prints what the hop over HTTP costs; then by the batch and one
/// at a time, on both brokers. Takes two minutes.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many publish at once, each waiting for its confirm
    #[arg(long, value_name = "N", default_value_t = 32)]
    publishers: usize,

    /// The payload of an event, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    payload: usize,

    /// How long each side runs in a round, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u32,

    /// How often both sides run
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,

    /// How many events a batch has
    #[arg(long, value_name = "N", default_value_t = 250)]
    batch: usize,
}

/// Runs it.
#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let node = RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).with_feed().start().await;
    gateway.wait_ready().await;
    let load = Load { publishers: options.publishers, payload: options.payload };
    let seconds = f64::from(options.seconds);
    let end = || Instant::now() + Duration::from_secs(options.seconds.into());
    let url = node.url().parse()?;
    let (mut http, mut amqp, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let before = cpu_seconds(gateway.process().id()).unwrap_or_default();
        let events = load.over_http(gateway.address(), end()).await as f64;
        let used = cpu_seconds(gateway.process().id()).unwrap_or_default() - before;
        http.push(events / seconds);
        cpu.push(used * 1e6 / events);
        amqp.push(load.over_amqp(&url, end()).await? as f64 / seconds);
        let [http, amqp] = [&http, &amqp].map(|rates| rates.last().copied().unwrap_or_default());
        note(&format!("publishing {round}/{}: HTTP {http:.0}/s, AMQP {amqp:.0}/s", options.rounds));
    }
    print(&format_args!("the gateway takes {:.1} µs of CPU for each event over HTTP", median(cpu)));
    let what = format!("durable publishes over HTTP, RabbitMQ, {} publishers", options.publishers);
    let mut rows = vec![Row::of(what, ("1/s", Better::Higher), "over AMQP", http, amqp)];
    rows.push(by_the_batch(options, &gateway, "RabbitMQ").await);
    let embedded = Gateway::builder().embedded().start().await;
    embedded.wait_ready().await;
    rows.push(by_the_batch(options, &embedded, "embedded").await);
    Ok(rows)
}

/// Publishes by the batch and one at a time, over one connection.
#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
async fn by_the_batch(options: &Options, gateway: &Gateway, broker: &str) -> Row {
    let load = Load { publishers: 1, payload: options.payload };
    let seconds = f64::from(options.seconds);
    let end = || Instant::now() + Duration::from_secs(options.seconds.into());
    let (mut batches, mut single) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        batches.push(load.by_the_batch(gateway.address(), options.batch, end()).await as f64 / seconds);
        single.push(load.over_http(gateway.address(), end()).await as f64 / seconds);
        let [batches, single] = [&batches, &single].map(|rates| rates.last().copied().unwrap_or_default());
        let round = format!("{round}/{}", options.rounds);
        note(&format!("batches on {broker} {round}: {batches:.0}/s, one at a time {single:.0}/s"));
    }
    let what = format!("durable publishes by batches of {}, {broker}, one connection", options.batch);
    Row::of(what, ("1/s", Better::Higher), "one at a time", batches, single)
}
