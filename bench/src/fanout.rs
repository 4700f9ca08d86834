//! The benchmark of fan-out: what it costs a gateway to hand one event to each of many mailboxes.
//!
//! Two builds of the gateway are measured in turn in one run, each with an embedded broker in memory: this one and
//! another one, such as that of the commit before a change. Events are published and delivered first; then every
//! mailbox is polled, and only the processor time of those polls counts: confirming the batch before, encoding this
//! one, and writing it. Only the ratio within one run counts.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use postern_tests::{Gateway, LeanHttp, Request, Table, cpu_seconds, eventually, median};
use tokio::task::JoinSet;

use crate::{
    output::print,
    row::{Better, Row},
    server::gauge,
};

/// Measures the processor time of a gateway for one event in one mailbox.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// The gateway of another build, which is measured beside this one
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,

    /// How many mailboxes get each event
    #[arg(long, value_name = "N", default_value_t = 1000)]
    mailboxes: usize,

    /// How many events each poll gets
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    batch: u16,

    /// How often each mailbox is polled in a round
    #[arg(long, value_name = "N", default_value_t = 4)]
    polls: u32,

    /// How often both sides are measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,

    /// The payloads of an event, in bytes of JSON
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [200, 4096])]
    payloads: Vec<usize>,
}

/// How many connections poll at once.
const AT_ONCE: usize = 8;

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let title = format!(
        "{} mailboxes, {} events a poll, medians of {} rounds: µs of processor time for each event in each mailbox",
        options.mailboxes, options.batch, options.rounds
    );
    let mut table = Table::new(title);
    let mut rows = Vec::new();
    table.row("JSON payload", ["this build", "the other", "ratio"].map(str::to_owned).into_iter());
    for bytes in &options.payloads {
        let payload = json(*bytes);
        let (mut this, mut other) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            this.push(measure(options, None, &payload).await?);
            if let Some(path) = &options.against {
                other.push(measure(options, Some(path), &payload).await?);
            }
        }
        if options.against.is_some() {
            let what = format!("processor time of one event of {bytes} bytes in one mailbox of many");
            rows.push(Row::of(what, ("µs", Better::Lower), "another build", this.clone(), other.clone()));
        }
        let (this, other) = (median(this), median(other));
        table
            .row(&format!("{bytes} bytes"), [this, other, other / this].map(|value| format!("{value:.2}")).into_iter());
    }
    print(&table);
    Ok(rows)
}

/// Returns JSON of so many bytes: a list of what a machine might report.
fn json(bytes: usize) -> String {
    let mut json = String::from("[");
    for n in 0.. {
        let mut item = String::new();
        // Writing to a string cannot fail.
        let _ = write!(item, r#"{{"id":{n},"name":"sensor \u00e4 {n}","value":{n}.25,"ok":true,"tags":["a","b"]}},"#);
        if json.len() + item.len() + 3 > bytes {
            break;
        }
        json += &item;
    }
    let rest = bytes.saturating_sub(json.len() + 3);
    json + "\"" + &"x".repeat(rest) + "\"]"
}

/// Returns the µs of processor time that one build takes for each event in each mailbox.
async fn measure(options: &Options, binary: Option<&PathBuf>, payload: &str) -> anyhow::Result<f64> {
    let builder = Gateway::builder().switch("--memory").flag("--linger", "10min");
    // What the next poll gets beside what it confirms, and one more, so that the window is never full.
    let builder = builder.flag("--window", (2 * options.batch + 1).to_string());
    let gateway = match binary {
        Some(path) => builder.binary(path).start().await,
        None => builder.start().await,
    };
    gateway.wait_ready().await;
    let cpu = || cpu_seconds(gateway.process().id()).context("the gateway's processor time cannot be read");
    let clients: Vec<usize> = (0..options.mailboxes).collect();
    let mut pollers: Vec<Poller> = Vec::new();
    for clients in clients.chunks(options.mailboxes.div_ceil(AT_ONCE)) {
        let http = LeanHttp::open(gateway.address()).await?;
        pollers.push(Poller { http, mailboxes: clients.iter().map(|client| (*client, String::new())).collect() });
    }
    pollers = poll_all(pollers, 204, 0).await?;

    let publish = Request::publish("bench", "application/json", payload);
    let mut used = 0.0;
    for turn in 0..options.polls {
        for _ in 0..options.batch {
            publish.send(gateway.address()).await.expect_status(202);
        }
        let batches = if turn == 0 { 1 } else { 2 };
        delivered(&gateway, batches * options.mailboxes * usize::from(options.batch) * payload.len()).await;
        let before = cpu()?;
        pollers = poll_all(pollers, 200, usize::from(options.batch) * payload.len()).await?;
        used += cpu()? - before;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let events = options.mailboxes as f64 * f64::from(options.batch) * f64::from(options.polls);
    Ok(used * 1e6 / events)
}

/// Waits until the windows hold more than so many bytes, and no more come: what was published, and what is not
/// confirmed yet.
async fn delivered(gateway: &Gateway, bytes: usize) {
    let mut before = None;
    let are_full = async || {
        let held = gauge(gateway, "postern_window_bytes").await;
        let is_full = held > Some(bytes) && held == before;
        before = held;
        if is_full { Ok(()) } else { Err(held) }
    };
    eventually(Duration::from_mins(1), "the events in the windows", are_full).await;
}

/// Polls its mailboxes one after the other.
struct Poller {
    http: LeanHttp,
    /// The client, and what it has seen.
    mailboxes: Vec<(usize, String)>,
}

impl Poller {
    /// Polls each mailbox once; each answer must have this status and at least so many bytes.
    async fn poll(mut self, status: u16, bytes: usize) -> anyhow::Result<Self> {
        for (client, seen) in &mut self.mailboxes {
            let query = if seen.is_empty() { String::new() } else { format!("&last_seen={seen}") };
            let target = format!("/clients/c{client}/events?topics=bench&wait=0&limit=500{query}");
            self.http.send("GET", &target).await?;
            let answer = self.http.answer().await?;
            ensure!(
                answer.status == status && answer.body.len() >= bytes,
                "{}: {} bytes",
                answer.status,
                answer.body.len()
            );
            if let Some(token) = answer.header("last-seen") {
                token.clone_into(seen);
            }
        }
        Ok(self)
    }
}

async fn poll_all(pollers: Vec<Poller>, status: u16, bytes: usize) -> anyhow::Result<Vec<Poller>> {
    let mut polling: JoinSet<_> = pollers.into_iter().map(|poller| poller.poll(status, bytes)).collect();
    let mut done = Vec::new();
    while let Some(polled) = polling.join_next().await {
        done.push(polled??);
    }
    Ok(done)
}
