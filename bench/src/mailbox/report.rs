//! The results, for people and for machines.

use postern_tests::{Table, median};

use super::{
    measured::{Regime, Round, Side},
    memory::{Held, Memory},
    options::Options,
};
use crate::{
    output,
    row::{Better, Row},
};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    clients: u32,
    rounds: Vec<Round>,
    memory: Option<Memory>,
}

impl Report {
    /// Sums up rounds in which the sides took turns.
    pub(crate) fn new(options: &Options, rounds: &[Round], memory: Option<Memory>) -> Self {
        Self { clients: options.clients, rounds: rounds.to_vec(), memory }
    }

    /// Returns the most telling figures.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let (throughput, latency) = (Pairs::of(&self.rounds, true), Pairs::of(&self.rounds, false));
        let row = |what: &str, unit: (&'static str, Better), pairs: &Pairs, value: fn(&Round) -> f64| {
            let what = format!("mailboxes through RabbitMQ, {} clients: {what}", self.clients);
            let [ours, theirs] = [&pairs.gateway, &pairs.bare].map(|rounds| rounds.iter().map(value).collect());
            Row::of(what, unit, Side::Bare.name(), ours, theirs)
        };
        let mut rows = vec![
            row("deliveries", ("1/s", Better::Higher), &throughput, |round| round.deliveries_per_second),
            row("p50 at a steady rate", ("ms", Better::Lower), &latency, |round| round.p50_ms),
            row("p99 at a steady rate", ("ms", Better::Lower), &latency, |round| round.p99_ms),
        ];
        rows.extend(self.memory.as_ref().and_then(Memory::row));
        rows
    }
}

/// Prints the results on standard output.
pub(crate) fn print(report: &Report) {
    for (title, throughput) in [("Throughput", true), ("Latency", false)] {
        output::print(&rounds_table(report, title, &Pairs::of(&report.rounds, throughput)));
    }
    if let Some(memory) = &report.memory {
        output::print(&memory_table(memory));
    }
}

fn rounds_table(report: &Report, title: &str, pairs: &Pairs) -> Table {
    let what = match pairs.gateway.first().map(|round| round.regime) {
        Some(Regime::Throughput { events }) => format!("{events} events each, as fast as confirmed"),
        Some(Regime::Latency { events, rate }) => format!("{events} events each, {rate} events/s"),
        None => String::new(),
    };
    let mut table = Table::new(format!("{title}: {} clients, {what}", report.clients));
    table.row("", (1..=pairs.gateway.len()).map(|number| format!("round {number}")).chain(["median".to_owned()]));
    let rows: [(&str, usize, Column); 7] = [
        ("deliveries/s", 0, |round| Some(round.deliveries_per_second)),
        ("p50 ms", 2, |round| Some(round.p50_ms)),
        ("p99 ms", 2, |round| Some(round.p99_ms)),
        ("events per burst", 1, |round| Some(round.events_per_burst)),
        ("CPU s, gateway", 2, |round| round.cpu_seconds.gateway),
        ("CPU s, broker", 2, |round| round.cpu_seconds.broker),
        ("CPU s, this process", 2, |round| round.cpu_seconds.bench),
    ];
    for (name, digits, column) in rows {
        for (side, rounds) in [(Side::Gateway, &pairs.gateway), (Side::Bare, &pairs.bare)] {
            let values: Vec<Option<f64>> = rounds.iter().map(column).collect();
            let median = values.iter().copied().collect::<Option<Vec<f64>>>().map(median);
            table.row(
                &format!("{name}: {}", side.name()),
                values.into_iter().chain([median]).map(|v| number(v, digits)),
            );
        }
    }
    for (name, column) in
        [("ratio of deliveries/s", rows[0].2), ("ratio of p50", rows[1].2), ("ratio of p99", rows[2].2)]
    {
        let ratios = pairs.ratios(|round| column(round).unwrap_or(f64::NAN));
        let median = median(ratios.clone());
        table.row(name, ratios.into_iter().chain([median]).map(|ratio| number(Some(ratio), 2)));
    }
    table
}

fn memory_table(memory: &Memory) -> Table {
    let mut table = Table::new(format!("Memory: KiB for each of {} waiting readers", memory.polls));
    table.row("", memory.held.iter().map(|held| held.side.name().to_owned()));
    let rows: [(&str, HeldColumn); 3] = [
        ("consuming process, resident", |held| held.consumer_resident),
        ("broker, resident", |held| held.broker_resident),
        ("broker, in use", |held| held.broker_in_use),
    ];
    for (name, column) in rows {
        table.row(name, memory.held.iter().map(|held| number(column(held).map(|bytes| bytes / 1024.0), 1)));
    }
    table
}

type Column = fn(&Round) -> Option<f64>;
type HeldColumn = fn(&Held) -> Option<f64>;

/// The rounds of one regime, by side; those with the same index ran one after the other.
struct Pairs {
    gateway: Vec<Round>,
    bare: Vec<Round>,
}

impl Pairs {
    fn of(rounds: &[Round], throughput: bool) -> Self {
        let of = |side| {
            let wanted =
                |round: &&Round| round.side == side && matches!(round.regime, Regime::Throughput { .. }) == throughput;
            rounds.iter().filter(wanted).copied().collect()
        };
        Self { gateway: of(Side::Gateway), bare: of(Side::Bare) }
    }

    fn ratios(&self, value: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.gateway.iter().zip(&self.bare).map(|(gateway, bare)| value(gateway) / value(bare)).collect()
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
