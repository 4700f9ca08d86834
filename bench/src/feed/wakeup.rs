//! One event for one watcher, while others wait for something else.

use std::time::Duration;

use postern_tests::{Table, median, note};

use super::options::Options;
use crate::{
    output::print,
    row::{Better, Row},
    server::{Kind, Server},
};

/// How many topics have one watcher each.
const TOPICS: [u32; 3] = [100, 1_000, 10_000];

/// How many other patterns are watched besides, in the second half. They begin as the topics do, so that a lookup
/// passes them.
const PATTERNS: u32 = 1_000;

/// How many of the watchers are woken, in turn: always as many, so that the others are all that differs.
const WOKEN: u32 = 100;

const PATIENCE: Duration = Duration::from_mins(5);

/// What it took, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// From the publishing until the watcher has polled again, as most often.
    median: f64,
    /// Of the gateway's CPU, for each event.
    cpu: f64,
}

type Column = fn(&Measured) -> f64;

/// Wakes one watcher after the other and prints how what it takes grows.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut all = Vec::new();
    if options.wakeups == 0 {
        return Ok(all);
    }
    for patterns in [0, PATTERNS] {
        let mut measured = TOPICS.map(|_| Vec::new());
        for round in 1..=options.rounds {
            for (topics, rounds) in TOPICS.into_iter().zip(&mut measured) {
                let one = measure(topics, patterns, options).await?;
                note(&format!(
                    "wake-up {round}/{}, 1 of {topics} beside {patterns} patterns: {:.0} µs, {:.1} µs CPU",
                    options.rounds, one.median, one.cpu
                ));
                rounds.push(one);
            }
        }
        let others = if patterns == 0 { String::new() } else { format!(", and {patterns} patterns besides") };
        let mut table = Table::new(format!("Waking one watcher: topics with a watcher each{others}; medians"));
        table.row("", TOPICS.iter().map(ToString::to_string).chain(["growth".to_owned()]));
        let rows: [(&str, Column); 2] =
            [("publish to next poll, median µs", |one| one.median), ("gateway, CPU µs", |one| one.cpu)];
        for (name, column) in rows {
            let [least, middle, most] = measured.each_ref().map(|rounds| median(rounds.iter().map(column).collect()));
            let values = [least, middle, most].map(|value| format!("{value:.0}"));
            table.row(name, values.into_iter().chain([format!("{:.2}", most / least)]));
        }
        print(&table);
        let [least, _, most] = measured;
        let [most, least] = [most, least].map(|rounds| rounds.iter().map(|one| one.cpu).collect());
        let (what, beside) =
            (format!("CPU of waking one watcher of {}{others}", TOPICS[2]), format!("of {}", TOPICS[0]));
        all.push(Row::of(what, ("µs", Better::Lower), beside, most, least));
    }
    Ok(all)
}

async fn measure(topics: u32, patterns: u32, options: &Options) -> anyhow::Result<Measured> {
    let server = Server::start(Kind::Gateway, &options.servers).await?;
    let mut beside = None;
    if patterns > 0 {
        let load = server.load("own.*.other{}").flag("--topics", "own");
        let mut load = load.flag("--clients", &patterns.to_string()).start();
        load.wait_said("waiting", PATIENCE).await;
        beside = Some(load);
    }
    let load = server.load("own.{}.state").publishing().flag("--topics", "own");
    let load = load.flag("--clients", &topics.to_string());
    let mut load = load.flag("--events", &options.wakeups.to_string()).flag("--among", &WOKEN.to_string()).start();
    load.wait_said("waiting", PATIENCE).await;
    let cpu = server.cpu_seconds();
    load.go();
    // Before it ends and closes all its connections.
    load.wait_said("done", PATIENCE).await;
    let cpu = (server.cpu_seconds() - cpu) * 1e6 / f64::from(options.wakeups);
    let report = load.finish(PATIENCE).await;
    drop(beside);
    Ok(Measured { median: report.round_p50_us, cpu })
}
