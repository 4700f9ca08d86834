//! What is printed.

use postern_tests::{Spread, Table, median};

use super::{
    options::Options,
    round::{Round, Size},
    stage::Cpu,
};
use crate::{
    output::print,
    row::{Better, Row},
};

/// What is counted in a round.
type Count = fn(&Round) -> u32;

/// What a process has used.
type Seconds = fn(&Cpu) -> Option<f64>;

/// Returns a name for people.
pub(crate) const fn name(spread: Spread) -> &'static str {
    match spread {
        Spread::ByClient => "sticky",
        Spread::RoundRobin => "round robin",
    }
}

/// Prints medians of both sides and their ratio, and returns the most telling ones.
pub(crate) fn sum_up(size: Size, rounds: &[Round], options: &Options) -> Vec<Row> {
    let Size { clients, rate, .. } = size;
    let mut table = Table::new(format!(
        "{clients} clients, {rate} events/s in all, {:?}, medians of {} rounds of {} s{}",
        options.proxy,
        options.rounds,
        options.seconds,
        if cfg!(debug_assertions) { ", A DEBUG BUILD" } else { "" }
    ));
    let names = [name(Spread::ByClient), name(Spread::RoundRobin), "ratio"];
    table.row("", names.map(str::to_owned).into_iter());
    let mut row = |name: &str, value: &dyn Fn(&Round) -> Option<f64>| {
        let of = |spread: Spread| {
            let rounds = rounds.iter().filter(|round| round.spread == spread);
            rounds.map(value).collect::<Option<Vec<_>>>().map(median)
        };
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let (sticky, robin) = (of(Spread::ByClient), of(Spread::RoundRobin));
        let ratio = sticky.zip(robin).filter(|(sticky, _)| *sticky > 0.0).map(|(sticky, robin)| robin / sticky);
        table.row(name, [sticky, robin, ratio].map(shown).into_iter());
    };
    let counts: [(&str, Count); 6] = [
        ("lost", |round| round.reading.lost),
        ("out of order", |round| round.reading.out_of_order),
        ("repeats", |round| round.reading.repeats),
        ("503", |round| round.reading.refused),
        ("other errors", |round| round.reading.errors),
        ("answers", |round| round.reading.answers),
    ];
    for (name, count) in counts {
        row(name, &|round| Some(f64::from(count(round))));
    }
    for (name, hundredths) in [("p50, ms", 50), ("p99, ms", 99), ("longest, ms", 100)] {
        row(name, &|round| Some(round.percentile_ms(hundredths)));
    }
    let processes: [(&str, Seconds); 3] = [
        ("CPU of the gateways, µs an event", |cpu| cpu.gateways),
        ("CPU of RabbitMQ, µs an event", |cpu| cpu.broker),
        ("CPU of the proxy, µs an event", |cpu| cpu.proxy),
    ];
    for (name, seconds) in processes {
        row(name, &|round| {
            Some(seconds(&round.cpu)? * 1e6 / f64::from(u32::try_from(round.reading.delays.len()).ok()?))
        });
    }
    print(&table);
    let row = |what: &str, unit: &'static str, value: &dyn Fn(&Round) -> f64| {
        let of = |spread: Spread| rounds.iter().filter(|round| round.spread == spread).map(value).collect();
        let what = format!("{clients} clients, each poll at another gateway: {what}");
        Row::of(what, (unit, Better::Lower), "each at its own", of(Spread::RoundRobin), of(Spread::ByClient))
    };
    vec![
        row("p99 from publish to hand-out", "ms", &|round| round.percentile_ms(99)),
        row("events lost, repeated or out of order", "", &|round| {
            f64::from(round.reading.lost + round.reading.repeats + round.reading.out_of_order)
        }),
    ]
}
