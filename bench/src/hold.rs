//! The benchmark of held polls to which nothing happens: what each takes of memory, and all of them of processor time.
//!
//! Polls of a feed in memory stand beside nginx with nchan; polls of mailboxes on RabbitMQ, each of which has a queue
//! there, beside the smallest number of them, so that growth is seen. Clients come a thousand a second, and ask for the longest
//! wait that there is: nchan holds its polls without an end, so no poll may end while processor time is measured.

use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use postern_tests::{Folder, Table, note};
use tokio::time::{Instant, sleep};

use crate::{
    output::print,
    row::{Better, Row},
    server::{Kind, Server, ServerOptions, target},
};

const PATIENCE: Duration = Duration::from_mins(10);

/// How long the polls are held before the memory is read.
const SETTLING: Duration = Duration::from_secs(5);

/// The longest wait that a poll can ask for, in seconds.
const WAIT: u32 = 55;

/// How long such a poll is held at least: up to a tenth less.
const HELD: Duration = Duration::from_secs(49);

/// Processor time is measured for so long at least.
const SHORTEST: Duration = Duration::from_secs(5);

/// How many clients come in a second.
const ARRIVALS: u32 = 1_000;

const MEMORY: (&str, Better) = ("KiB", Better::Lower);
const CPU: (&str, Better) = ("% of a core", Better::Lower);

/// Measures the memory and the idle CPU of held polls: of a feed beside nginx with nchan, and of mailboxes on RabbitMQ.
/// Needs 20,000 open files for each process; takes some seven minutes.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many polls are held, one number after the other; the first is the one that growth is counted from
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000,10000,19000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=19_000))]
    polls: Vec<u32>,

    /// For how long nothing happens at most, in seconds; no poll ends meanwhile
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..))]
    seconds: u32,

    /// Leave nginx out
    #[arg(long)]
    without_nchan: bool,

    #[command(flatten)]
    servers: ServerOptions,
}

/// What held polls take.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// For each poll.
    kibibytes: f64,
    /// Of RabbitMQ, for each poll and its mailbox.
    kibibytes_of_broker: f64,
    /// Of one core, for all polls; `None` where the first of them ended too soon after the last one came.
    cpu_percent: Option<f64>,
}

impl Held {
    /// Returns the processor time as text.
    fn cpu(&self) -> String {
        self.cpu_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.2}"))
    }
}

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let kinds = [Kind::Nchan, Kind::Gateway, Kind::RabbitMq];
    let mut held = kinds.map(|_| Vec::new());
    for (kind, held) in kinds.into_iter().zip(&mut held) {
        if kind == Kind::Nchan && options.without_nchan {
            continue;
        }
        for polls in &options.polls {
            let one = measure(kind, *polls, options).await?;
            note(&format!(
                "{polls} held polls, {}: {:.1} KiB each, {} % of a core; the broker {:.1} KiB each",
                kind.name(),
                one.kibibytes,
                one.cpu(),
                one.kibibytes_of_broker
            ));
            held.push(one);
        }
        show(kind, &options.polls, held);
    }
    let [nchan, feeds, mailboxes] = &held;
    let mut rows = Vec::new();
    for ((polls, nchan), feeds) in options.polls.iter().zip(nchan).zip(feeds) {
        let of = |what: &str| format!("{what} {polls} held polls of a feed");
        rows.push(Row::of(of("memory for each of"), MEMORY, "nchan", vec![feeds.kibibytes], vec![nchan.kibibytes]));
        if let Some((feeds, nchan)) = feeds.cpu_percent.zip(nchan.cpu_percent) {
            rows.push(Row::of(of("idle CPU with"), CPU, "nchan", vec![feeds], vec![nchan]));
        }
    }
    for (polls, held) in options.polls.iter().zip(mailboxes) {
        let (first, beside) = (&mailboxes[0], format!("{} polls", options.polls[0]));
        let of = |what: &str| format!("{what} {polls} held polls of mailboxes, RabbitMQ");
        let row = |what: &str, unit, column: fn(&Held) -> Option<f64>| {
            let (ours, theirs) = column(held).zip(column(first))?;
            Some(Row::of(of(what), unit, beside.clone(), vec![ours], vec![theirs]))
        };
        rows.extend(row("memory for each of", MEMORY, |held| Some(held.kibibytes)));
        rows.extend(row("memory of the broker for each of", MEMORY, |held| Some(held.kibibytes_of_broker)));
        rows.extend(row("idle CPU with", CPU, |held| held.cpu_percent));
    }
    Ok(rows)
}

fn show(kind: Kind, polls: &[u32], held: &[Held]) {
    let mut table = Table::new(format!("Held polls, {}", kind.name()));
    table.row("", polls.iter().map(ToString::to_string));
    table.row("KiB each", held.iter().map(|held| format!("{:.1}", held.kibibytes)));
    table.row("KiB of the broker each", held.iter().map(|held| format!("{:.1}", held.kibibytes_of_broker)));
    table.row("idle, % of a core", held.iter().map(Held::cpu));
    print(&table);
}

async fn measure(kind: Kind, polls: u32, options: &Options) -> anyhow::Result<Held> {
    let server = Server::start(kind, &options.servers).await?;
    let (alone, broker_alone) = (server.resident_bytes(), server.resident_bytes_of_broker());
    let folder = Folder::new("hold");
    let described = folder.write("target.toml", &target(WAIT));
    let mut load = match kind {
        Kind::RabbitMq => server.load("own.{}").flag("--topics", "own").flag("--read", "mailbox"),
        _ => server.load("stock"),
    };
    if kind != Kind::Nchan {
        load = load.flag("--target", &described.to_string_lossy());
    }
    load = load.flag("--clients", &polls.to_string()).flag("--ramp", &format!("{}s", polls.div_ceil(ARRIVALS)));
    // It waits for an event that does not come, and is ended with the polls held.
    let mut load = load.flag("--events", "1").start();
    let began = Instant::now();
    load.wait_said("waiting", PATIENCE).await;
    if let Some(held) = server.held_polls().await {
        ensure!(held == polls as usize, "the gateway holds {held} polls, and not {polls}: some of them did not get in");
    }
    sleep(SETTLING).await;
    let each = |after: f64, before: f64| (after - before) / 1024.0 / f64::from(polls);
    let kibibytes = each(server.resident_bytes(), alone);
    let kibibytes_of_broker = each(server.resident_bytes_of_broker(), broker_alone);
    let longest = Duration::from_secs(options.seconds.into());
    let time = if kind == Kind::Nchan { longest } else { HELD.saturating_sub(began.elapsed()).min(longest) };
    let cpu = server.cpu_seconds();
    sleep(time).await;
    let cpu_percent = (server.cpu_seconds() - cpu) * 100.0 / time.as_secs_f64();
    Ok(Held { kibibytes, kibibytes_of_broker, cpu_percent: (time >= SHORTEST).then_some(cpu_percent) })
}
