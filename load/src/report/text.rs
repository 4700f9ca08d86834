//! The report as text.

use std::fmt::Write as _;

use super::{Limit, Report, StepReport, Watched};
use crate::{number::float, record::Quantiles};

/// Returns the whole.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to memory cannot fail.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, to: &mut String) -> std::fmt::Result {
    writeln!(to, "{}, {}", report.target, report.read)?;
    // Of a search, the table says enough.
    for step in report.steps.iter().filter(|_| report.limit.is_none()) {
        write_step(step, to)?;
    }
    if report.steps.len() > 1 {
        write_table(&report.steps, to)?;
    }
    if let Some(limit) = &report.limit {
        write_limit(limit, to)?;
    }
    for watched in &report.watched {
        write_watched(watched, to)?;
    }
    let own = &report.own;
    let processes = if own.workers == 1 { String::new() } else { format!(" in each of {} processes", own.workers) };
    writeln!(
        to,
        "\nthis tool     {:.2} of a core busy{processes}, {:.2} in the busiest second, {:.1} µs CPU an event, {:.1} KiB a client",
        own.cores,
        own.busiest,
        own.cpu_micros_per_event,
        own.memory_per_client / 1024.0
    )?;
    writeln!(
        to,
        "              sent events {:.2} ms late (p99), longest turn of its loop {:.1} ms",
        own.lateness.p99, own.longest_turn
    )?;
    for note in &report.notes {
        writeln!(to, "note: {note}")?;
    }
    if report.is_interrupted {
        writeln!(to, "ended by a signal: this is what was measured until then")?;
    }
    for failure in &report.failures {
        writeln!(to, "FAILED: {failure}")?;
    }
    Ok(())
}

fn write_step(step: &StepReport, to: &mut String) -> std::fmt::Result {
    let publishers =
        if step.publishers == 1 { "1 publisher".to_owned() } else { format!("{} publishers", step.publishers) };
    writeln!(to, "\n{} clients, {publishers}, {:.1} s", step.clients, step.seconds)?;
    if step.established < step.clients {
        writeln!(to, "  got in      {} clients", step.established)?;
    }
    let errors = kinds(&step.publish_errors);
    writeln!(
        to,
        "  published   {} events ({:.0}/s), {} confirmed, {} not{errors}",
        step.sent,
        float(step.sent) / step.seconds.max(1e-3),
        step.confirmed,
        step.not_confirmed
    )?;
    writeln!(
        to,
        "  received    {} events ({:.0}/s), {:.0} bytes an answer",
        step.received, step.received_per_second, step.bytes_received
    )?;
    writeln!(
        to,
        "  checked     {} lost, {} repeated and flagged, {} repeated and not, {} out of order",
        step.lost, step.repeated_flagged, step.repeated_unflagged, step.out_of_order
    )?;
    if step.resets > 0 {
        writeln!(to, "  told        {} times that events are gone", step.resets)?;
    }
    if step.foreign > 0 {
        writeln!(to, "  ignored     {} events of other runs or programs", step.foreign)?;
    }
    write_quantiles("latency", "publish to receive", &step.latency, to)?;
    write_quantiles("send", "publish to confirm", &step.send, to)?;
    if let Some(rounds) = &step.rounds {
        write_quantiles("round", "publish until all wait again", rounds, to)?;
    }
    writeln!(
        to,
        "  polls       {} ({:.0}/s) over {} connections ({:.0}/s), {} timed out",
        step.polls, step.polls_per_second, step.connections, step.connections_per_second, step.timed_out
    )?;
    let errors = kinds(&step.receive_errors_by_kind);
    writeln!(to, "  errors      {} ({:.3} % of polls){errors}", step.receive_errors, step.receive_error_rate * 100.0)?;
    if step.left > 0 {
        writeln!(to, "  away        clients left and came back {} times", step.left)?;
    }
    Ok(())
}

fn write_quantiles(name: &str, what: &str, quantiles: &Quantiles, to: &mut String) -> std::fmt::Result {
    let Quantiles { count, mean, p50, p90, p99, p999, max } = quantiles;
    if *count == 0 {
        return Ok(());
    }
    let [mean, p50, p90, p99, p999, max] = [mean, p50, p90, p99, p999, max].map(|value| milliseconds(*value));
    writeln!(to, "  {name:<10}  p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max}  mean {mean} ms ({what})")
}

fn write_table(steps: &[StepReport], to: &mut String) -> std::fmt::Result {
    let row = ["clients", "rate/s", "in/s", "p50 ms", "p99 ms", "max ms", "lost", "errors"];
    writeln!(to, "\n{}", row.map(|cell| format!("{cell:>9}")).join(" "))?;
    for step in steps {
        let row = [
            step.clients.to_string(),
            step.rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
            format!("{:.0}", step.received_per_second),
            milliseconds(step.latency.p50),
            milliseconds(step.latency.p99),
            milliseconds(step.latency.max),
            step.lost.to_string(),
            step.receive_errors.to_string(),
        ];
        writeln!(to, "{}", row.map(|cell| format!("{cell:>9}")).join(" "))?;
    }
    Ok(())
}

fn write_limit(limit: &Limit, to: &mut String) -> std::fmt::Result {
    let unit = if limit.of == "clients" { "clients" } else { "events/s" };
    let conditions = limit.conditions.join(", ");
    match (limit.holds, &limit.fails) {
        (Some(holds), Some((fails, why))) => {
            writeln!(to, "\nlimit: {holds:.0} {unit} with {conditions}; {fails:.0} fail: {why}")
        }
        (Some(holds), None) => writeln!(to, "\nlimit: at least {holds:.0} {unit} with {conditions}"),
        (None, Some((fails, why))) => writeln!(to, "\nlimit: fewer than {fails:.0} {unit} with {conditions}: {why}"),
        (None, None) => writeln!(to, "\nlimit: not found"),
    }
}

fn write_watched(watched: &Watched, to: &mut String) -> std::fmt::Result {
    let max = |value: fn(&super::Sample) -> f64| watched.samples.iter().map(value).fold(0.0, f64::max);
    let count = float(watched.samples.len() as u64).max(1.0);
    let mean = |value: fn(&super::Sample) -> f64| watched.samples.iter().map(value).sum::<f64>() / count;
    writeln!(to, "\n{} ({})", watched.name, watched.pid)?;
    writeln!(
        to,
        "  cores {:.2} (max {:.2})  memory {:.1} MiB at most  threads {:.0}  files {:.0}",
        mean(|sample| sample.cores),
        max(|sample| sample.cores),
        max(|sample| float(sample.memory)) / 1024.0 / 1024.0,
        max(|sample| float(sample.threads)),
        max(|sample| float(sample.files))
    )?;
    writeln!(
        to,
        "  disk  {:.0} KiB/s read, {:.0} KiB/s written  {:.0} context switches/s",
        mean(|sample| sample.read) / 1024.0,
        mean(|sample| sample.written) / 1024.0,
        mean(|sample| sample.switches)
    )
}

fn kinds(kinds: &std::collections::BTreeMap<String, u64>) -> String {
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) }
}

/// Returns milliseconds with as many digits as say something.
fn milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}
