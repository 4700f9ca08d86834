//! The benchmark of a feed behind a shared cache, beside the same clients without one.
//!
//! Events come at fixed times, so that their latency counts from when they are due. What the gateway takes is counted for each
//! event, with few clients and with many: behind a cache it should not grow with them. A client that misses an event, or gets
//! one twice, ends the run with an error.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use postern_tests::{Gateway, Load, Proxy, ProxyProgram, Request, Table, cpu_seconds, median, note};
use tokio::time::sleep;

use crate::{
    open_files,
    output::print,
    row::{Better, Row},
};

const PATIENCE: Duration = Duration::from_mins(5);

/// How long the polls are held before events come.
const SETTLING: Duration = Duration::from_secs(3);

/// How many clients come in a second.
const ARRIVALS: u32 = 1_000;

/// How many connections the gateway takes: nearly all that a process may have open here.
const CONNECTIONS: &str = "19500";

/// Measures latency, and the gateway's CPU for each event, of clients of one topic through Varnish or nginx, beside the same
/// without a cache. Needs 20,000 open files for each process; takes some five minutes.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many clients: few, and many
    #[arg(long, value_name = "N,N", value_delimiter = ',', num_args = 1, default_value = "100,10000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=19_000))]
    clients: Vec<u32>,

    /// Events of a round
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,

    /// How many events come in a second; 10,000 clients without a cache take a second for a few
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// Rounds; in each every way takes its turn, started anew
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Which caches
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "varnish,nginx")]
    caches: Vec<Cache>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cache {
    Varnish,
    Nginx,
}

impl Cache {
    const fn program(self) -> ProxyProgram {
        match self {
            Self::Varnish => ProxyProgram::Varnish,
            Self::Nginx => ProxyProgram::Nginx,
        }
    }
}

/// How events come to the clients.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// `None`: from the gateway itself.
    cache: Option<Cache>,
    clients: u32,
}

impl Way {
    fn name(self) -> String {
        let through = self.cache.map_or("without a cache".to_owned(), |cache| format!("through {cache:?}"));
        format!("{} clients {through}", self.clients)
    }
}

/// What one way came to in one round.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Of the gateway, for each event.
    cpu_micros: f64,
    /// Polls at the gateway, for each event.
    polls: f64,
    p50_millis: f64,
    p99_millis: f64,
}

type Column = fn(&Measured) -> f64;

/// A figure: its name, unit and column.
const FIGURES: [(&str, &str, Column); 4] = [
    ("CPU of the gateway for each event", "µs", |one| one.cpu_micros),
    ("polls at the gateway for each event", "polls", |one| one.polls),
    ("latency, p50", "ms", |one| one.p50_millis),
    ("latency, p99", "ms", |one| one.p99_millis),
];

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let most = options.clients.iter().copied().max().unwrap_or_default();
    // A proxy has a connection for each client, and inherits the limit.
    open_files::raise(usize::try_from(most)?)?;
    let caches = std::iter::once(None).chain(options.caches.iter().copied().map(Some));
    let ways: Vec<Way> =
        caches.flat_map(|cache| options.clients.iter().map(move |clients| Way { cache, clients: *clients })).collect();
    let mut measured = vec![Vec::new(); ways.len()];
    for round in 1..=options.rounds {
        for (way, rounds) in ways.iter().zip(&mut measured) {
            let one = measure(*way, options).await?;
            note(&format!(
                "feed-cache {round}/{}, {}: {:.0} µs CPU and {:.2} polls an event, p50 {:.1} ms, p99 {:.1} ms",
                options.rounds,
                way.name(),
                one.cpu_micros,
                one.polls,
                one.p50_millis,
                one.p99_millis
            ));
            rounds.push(one);
        }
    }
    let mut table = Table::new(format!("{} events, {} a second: medians", options.events, options.rate));
    table.row("", FIGURES.iter().map(|(name, unit, _)| format!("{name}, {unit}")));
    for (way, rounds) in ways.iter().zip(&measured) {
        let medians = FIGURES.iter().map(|(.., column)| median(rounds.iter().map(column).collect()));
        table.row(&way.name(), medians.map(|value| format!("{value:.1}")));
    }
    print(&table);
    Ok(rows(&ways, &measured))
}

/// Returns each way through a cache beside the same number of clients without, and beside fewer clients.
fn rows(ways: &[Way], measured: &[Vec<Measured>]) -> Vec<Row> {
    let mut rows = Vec::new();
    let rounds_of = |is_it: &dyn Fn(&Way) -> bool| ways.iter().zip(measured).find(|(way, _)| is_it(way));
    for (way, rounds) in ways.iter().zip(measured).filter(|(way, _)| way.cache.is_some()) {
        let column = |rounds: &[Measured], column: Column| rounds.iter().map(column).collect::<Vec<f64>>();
        if let Some((_, direct)) = rounds_of(&|other| other.cache.is_none() && other.clients == way.clients) {
            for (name, unit, of) in FIGURES {
                let what = format!("{}: {name}", way.name());
                rows.push(Row::of(what, (unit, Better::Lower), "no cache", column(rounds, of), column(direct, of)));
            }
        }
        if let Some((few, rounds_of_few)) = rounds_of(&|other| other.cache == way.cache)
            && few.clients < way.clients
        {
            let (name, unit, of) = FIGURES[0];
            let (what, beside) = (format!("{}: {name}", way.name()), format!("{} clients", few.clients));
            rows.push(Row::of(what, (unit, Better::Lower), beside, column(rounds, of), column(rounds_of_few, of)));
        }
    }
    rows
}

async fn measure(way: Way, options: &Options) -> anyhow::Result<Measured> {
    let mut builder = Gateway::builder().switch("--memory").flag("--max-connections", CONNECTIONS);
    if way.cache.is_some() {
        builder = builder.flag("--feed-cache", "60s");
    }
    let gateway = builder.start().await;
    gateway.wait_ready().await;
    let proxy = match way.cache {
        Some(cache) => Some(Proxy::start_cache(cache.program(), &[gateway.address()]).await),
        None => None,
    };
    let address = proxy.as_ref().map_or(gateway.address(), Proxy::address);
    let load = Load::of(address, "stock").flag("--clients", &way.clients.to_string());
    let load = load.flag("--ramp", &format!("{}s", way.clients.div_ceil(ARRIVALS)));
    let load = load.flag("--events", &options.events.to_string()).flag("--rate", &format!("{}/s", options.rate));
    let mut load = load.publishing_at_times().start();
    load.wait_said("waiting", PATIENCE).await;
    sleep(SETTLING).await;
    let cpu = || cpu_seconds(gateway.process().id()).unwrap_or_default();
    let (cpu_before, polls_before) = (cpu(), polls(&gateway).await);
    load.go();
    load.wait_said("done", PATIENCE).await;
    let (cpu, polls) = (cpu() - cpu_before, polls(&gateway).await - polls_before);
    let report = load.finish(PATIENCE).await;
    let events = f64::from(options.events);
    Ok(Measured {
        cpu_micros: cpu * 1e6 / events,
        polls: polls / events,
        p50_millis: report.latency_p50_ms,
        p99_millis: report.latency_p99_ms,
    })
}

/// Returns how many polls the gateway has answered.
async fn polls(gateway: &Gateway) -> f64 {
    let metrics = Request::get("/metrics").send(gateway.address()).await.text();
    let of = |line: &str| line.strip_prefix("postern_polls_total{")?.split_once("} ")?.1.parse::<f64>().ok();
    metrics.lines().filter_map(of).sum()
}
