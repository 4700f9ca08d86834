//! The benchmark of a feed behind a shared cache, beside the same clients without one.
//!
//! Events come at random times that are drawn before, so that their latency counts from when they are due. What the gateway takes
//! is counted for each event, with few clients and with many: behind a cache it should not grow with them. Then nothing comes for
//! some deadlines of the polls. What a client lost, got twice or out of order is a figure, and ends the run with an error.

mod round;

use std::thread;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use postern_tests::{ProxyProgram, Table, median, note};

use self::round::{Measured, Round};
use crate::{
    open_files,
    output::print,
    row::{Better, Row},
};

/// Measures latency, the gateway's CPU and polls for each event, and polls for each quiet deadline, of clients of one topic
/// through Varnish or nginx, beside the same without a cache. Needs 20,000 open files for each process; takes some six minutes.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many clients: few, and many
    #[arg(long, value_name = "N,N", value_delimiter = ',', num_args = 1, default_value = "100,10000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=19_000))]
    clients: Vec<u32>,

    /// Events of a round
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,

    /// How many events come in a second on average; their gaps are drawn (exponential)
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// For how many deadlines of their polls the clients then wait without an event, with the largest number of them
    #[arg(long, value_name = "N", default_value_t = 3)]
    deadlines: u32,

    /// For how long polls wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(5..=55))]
    wait: u32,

    /// Rounds; in each every way takes its turn, started anew
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
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

/// A figure: its name, unit, column, and beside what it stands in the report.
type Figure = (&'static str, &'static str, fn(&Measured) -> f64, Beside);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Beside {
    /// The same without a cache.
    NoCache,
    /// The maximum that is aimed at.
    Aim(f64),
}

const CPU: Figure = ("CPU of the gateway for each event", "µs", |one| one.cpu_micros, Beside::NoCache);
const CORES: Figure = ("cores for events at their rate", "", |one| one.cores, Beside::NoCache);

const FIGURES: [Figure; 12] = [
    ("events lost", "", |one| one.lost, Beside::Aim(0.0)),
    ("events that came twice", "", |one| one.repeated, Beside::Aim(0.0)),
    ("events out of order", "", |one| one.out_of_order, Beside::Aim(0.0)),
    ("requests that failed, and were sent again", "", |one| one.errors, Beside::NoCache),
    ("polls at the gateway for each event", "polls", |one| one.polls, Beside::Aim(2.0)),
    ("polls at the gateway for each quiet deadline", "polls", |one| one.quiet_polls, Beside::Aim(2.0)),
    ("requests of each client for each quiet deadline", "", |one| one.quiet_requests, Beside::Aim(1.3)),
    CPU,
    ("latency, p50", "ms", |one| one.p50_millis, Beside::NoCache),
    ("latency, p99", "ms", |one| one.p99_millis, Beside::NoCache),
    ("CPU of gateway, cache and clients for each delivery", "µs", |one| one.delivery_micros, Beside::NoCache),
    CORES,
];

/// The aim for what the gateway takes for an event with many clients, beside few.
const MAX_GROWTH: f64 = 1.5;

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let most = options.clients.iter().copied().max().unwrap_or_default();
    // A proxy has a connection for each client, and inherits the limit.
    open_files::raise(usize::try_from(most)?)?;
    let caches = std::iter::once(None).chain(options.caches.iter().copied().map(Some));
    let ways: Vec<Way> =
        caches.flat_map(|cache| options.clients.iter().map(move |clients| Way { cache, clients: *clients })).collect();
    let mut measured = vec![Vec::new(); ways.len()];
    for number in 1..=options.rounds {
        for (way, rounds) in ways.iter().zip(&mut measured) {
            let is_quiet = way.cache.is_some() && way.clients == most;
            let round = Round {
                cache: way.cache.map(Cache::program),
                clients: way.clients,
                events: options.events,
                rate: options.rate,
                wait: options.wait,
                deadlines: if is_quiet { options.deadlines } else { 0 },
            };
            let one = round.measure().await?;
            note(&format!(
                "feed-cache {number}/{}, {}: {:.0} µs CPU and {:.2} polls an event, p50 {:.1} ms, p99 {:.1} ms",
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
    let title =
        format!("{} events, {} a second at random gaps, wait={}: medians", options.events, options.rate, options.wait);
    let mut table = Table::new(title);
    table.row("", ways.iter().map(|way| way.name()));
    for (name, unit, column, _) in FIGURES {
        let medians = measured.iter().map(|rounds| median(rounds.iter().map(column).collect()));
        let shown = medians.map(|value| if value.is_nan() { "-".to_owned() } else { format!("{value:.2}") });
        table.row(&if unit.is_empty() { name.to_owned() } else { format!("{name}, {unit}") }, shown);
    }
    print(&table);
    say_what_stands_in_the_way(&ways, &measured);
    let wrong = measured.iter().flatten().filter(|one| one.lost + one.repeated + one.out_of_order > 0.0).count();
    let rows = rows(&ways, &measured);
    ensure!(wrong == 0, "in {wrong} rounds clients lost events, or got them twice or out of order");
    Ok(rows)
}

/// Says by which ways events cannot come as fast as they are published, whatever the gateway does.
fn say_what_stands_in_the_way(ways: &[Way], measured: &[Vec<Measured>]) {
    let cores = cores();
    for (way, rounds) in ways.iter().zip(measured) {
        let needed = median(rounds.iter().map(CORES.2).collect());
        if needed > cores {
            print(&format_args!(
                "{}: at this rate, deliveries take {needed:.1} cores of gateway, cache and clients together, and there are \
                 {cores:.0}. So they lag, and the latency is that of a backlog.",
                way.name()
            ));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are few")]
fn cores() -> f64 {
    thread::available_parallelism().map_or(1, usize::from) as f64
}

/// Returns each way through a cache beside its aims, the same number of clients without a cache, and fewer clients.
fn rows(ways: &[Way], measured: &[Vec<Measured>]) -> Vec<Row> {
    let mut rows = Vec::new();
    let rounds_of = |is_it: &dyn Fn(&Way) -> bool| ways.iter().zip(measured).find(|(way, _)| is_it(way));
    for (way, rounds) in ways.iter().zip(measured).filter(|(way, _)| way.cache.is_some()) {
        let column = |rounds: &[Measured], figure: Figure| rounds.iter().map(figure.2).collect::<Vec<f64>>();
        let direct = rounds_of(&|other| other.cache.is_none() && other.clients == way.clients);
        for figure in FIGURES {
            let (name, unit, _, beside) = figure;
            let ours = column(rounds, figure);
            let (beside, theirs) = match (beside, direct) {
                _ if ours.iter().any(|value| value.is_nan()) => continue,
                (Beside::Aim(most), _) => (format!("the aim: {most} at most"), vec![most; ours.len()]),
                (Beside::NoCache, Some((_, direct))) => ("no cache".to_owned(), column(direct, figure)),
                (Beside::NoCache, None) => continue,
            };
            rows.push(Row::of(format!("{}: {name}", way.name()), (unit, Better::Lower), beside, ours, theirs));
        }
        if let Some((few, rounds_of_few)) = rounds_of(&|other| other.cache == way.cache)
            && few.clients < way.clients
        {
            let (what, beside) = (
                format!("{}: {}", way.name(), CPU.0),
                format!("{} clients; the aim: {MAX_GROWTH} at most", few.clients),
            );
            rows.push(Row::of(what, (CPU.1, Better::Lower), beside, column(rounds, CPU), column(rounds_of_few, CPU)));
        }
    }
    rows
}
