//! The report as a page: one file that needs nothing else.

mod plot;

use std::fmt::Write as _;

use self::plot::{Axes, Line, Scale, class, draw, short};
use super::{Report, Sample, Second, StepReport};
use crate::number::float;

/// The maximum of points of a line: more than there are pixels show nothing more.
const MAX_POINTS: usize = 600;

const STYLE: &str = include_str!("html/page.css");

/// Returns the whole.
pub(crate) fn html(report: &Report) -> String {
    let mut page = String::new();
    // Writing to memory cannot fail.
    let _ = write(report, &mut page);
    page
}

fn write(report: &Report, to: &mut String) -> std::fmt::Result {
    let title = format!("Load on {}", report.target);
    write!(
        to,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n\
         <p class=\"soft\">{read}, {started}</p>\n<p class=\"soft\"><code>{command}</code></p>\n",
        title = escaped(&title),
        read = escaped(&report.read),
        started = escaped(&report.started),
        command = escaped(&report.command)
    )?;
    write_verdict(report, to)?;
    writeln!(to, "</header>\n<main>")?;
    write_cards(report, to)?;
    write_steps(&report.steps, to)?;
    writeln!(to, "<h2>Latency</h2>")?;
    write_latency(report, to)?;
    writeln!(to, "<h2>Throughput and clients</h2>")?;
    let series = &report.series;
    let rate = Axes { scale: Scale::Linear, unit: "events/s", across: short, across_unit: "seconds" };
    let line = |name: &str, value: fn(&Second) -> f64| Line {
        name: name.to_owned(),
        points: means(series, |second| (second.at, value(second))),
    };
    figure("Events that clients received", &[line("received", |second| second.received)], &rate, to)?;
    let sent = [line("sent", |second| second.sent), line("errors", |second| second.errors)];
    figure("Events that were sent, and errors", &sent, &rate, to)?;
    let clients = [
        line("with a place", |second| f64::from(second.established)),
        line("waiting", |second| f64::from(second.waiting)),
    ];
    figure("Clients", &clients, &Axes { unit: "clients", ..rate }, to)?;
    if !report.watched.is_empty() {
        writeln!(to, "<h2>What the server used</h2>")?;
        write_watched(report, to)?;
    }
    write_own(report, to)?;
    writeln!(to, "</main>\n</body>\n</html>")
}

fn write_verdict(report: &Report, to: &mut String) -> std::fmt::Result {
    if let Some(limit) = &report.limit {
        let conditions = limit.conditions.join(", ");
        let held = limit.holds.map_or_else(|| "none held".to_owned(), |holds| format!("{holds:.0} {}", limit.of));
        writeln!(to, "<p id=\"limit\"><b>{}</b> with {}.", escaped(&held), escaped(&conditions))?;
        if let Some((fails, why)) = &limit.fails {
            writeln!(to, "{fails:.0} failed: {}.", escaped(why))?;
        }
        writeln!(to, "</p>")?;
    }
    if report.has_passed() {
        writeln!(to, "<p id=\"verdict\" class=\"good\">Passed</p>")?;
    }
    for failure in &report.failures {
        writeln!(to, "<p id=\"verdict\" class=\"bad\">Failed: {}</p>", escaped(failure))?;
    }
    if report.is_interrupted {
        writeln!(to, "<p class=\"soft\">Ended by a signal: this is what was measured until then.</p>")?;
    }
    for note in &report.notes {
        writeln!(to, "<p class=\"soft\">{}</p>", escaped(note))?;
    }
    Ok(())
}

fn write_cards(report: &Report, to: &mut String) -> std::fmt::Result {
    // Of several steps, the last that lost nothing.
    let Some(step) = report.steps.iter().rev().find(|step| step.lost == 0).or(report.steps.last()) else {
        return Ok(());
    };
    let cards = [
        ("clients", step.clients.to_string()),
        ("p50", time(step.latency.p50)),
        ("p99", time(step.latency.p99)),
        ("received", format!("{}/s", short(step.received_per_second))),
        ("lost", step.lost.to_string()),
        ("repeated", (step.repeated_flagged + step.repeated_unflagged).to_string()),
        ("out of order", step.out_of_order.to_string()),
        ("errors", step.receive_errors.to_string()),
    ];
    writeln!(to, "<ul class=\"cards\">")?;
    for (name, value) in cards {
        writeln!(to, "<li><b>{value}</b>{name}</li>")?;
    }
    writeln!(to, "</ul>")
}

fn write_steps(steps: &[StepReport], to: &mut String) -> std::fmt::Result {
    const HEAD: [&str; 11] =
        ["clients", "sent/s", "received/s", "p50", "p90", "p99", "p99.9", "max", "lost", "repeated", "errors"];
    writeln!(to, "<div class=\"scroll\"><table>\n<tr>{}</tr>", HEAD.map(|cell| format!("<th>{cell}</th>")).concat())?;
    for step in steps {
        let latency = step.latency;
        let row = [
            step.clients.to_string(),
            short(float(step.sent) / step.seconds.max(1e-3)),
            short(step.received_per_second),
            time(latency.p50),
            time(latency.p90),
            time(latency.p99),
            time(latency.p999),
            time(latency.max),
            step.lost.to_string(),
            (step.repeated_flagged + step.repeated_unflagged).to_string(),
            step.receive_errors.to_string(),
        ];
        writeln!(to, "<tr>{}</tr>", row.map(|cell| format!("<td>{cell}</td>")).concat())?;
    }
    writeln!(to, "</table></div>")
}

fn write_latency(report: &Report, to: &mut String) -> std::fmt::Result {
    let measured: Vec<&Second> = report.series.iter().filter(|second| second.latency.count > 0).collect();
    let line = |name: &str, value: fn(&Second) -> f64| Line {
        name: name.to_owned(),
        points: maxima(&measured, |second| (second.at, value(second))),
    };
    let lines = [
        line("p50", |second| second.latency.p50),
        line("p99", |second| second.latency.p99),
        line("longest", |second| second.latency.max),
    ];
    let axes = Axes { scale: Scale::Logarithmic, unit: "ms", across: short, across_unit: "seconds" };
    figure("From the time at which an event was to be sent until a client had it", &lines, &axes, to)?;
    // Each mark to the right is a tenth of the events before it.
    let points = report.curve.iter().map(|(share, latency)| (-(1.0 - share.min(0.99999)).log10(), *latency)).collect();
    let across = |nines: f64| match nines {
        nines if nines < 0.01 => "0 %".to_owned(),
        nines => {
            let share = 100.0 * (1.0 - 10_f64.powf(-nines));
            if nines > 1.9 { format!("{share:.3} %") } else { format!("{share:.0} %") }
        }
    };
    let lines = [Line { name: "latency".to_owned(), points }];
    figure(
        "Distribution: so many events took at most this",
        &lines,
        &Axes { across, across_unit: "share of events", ..axes },
        to,
    )
}

fn write_watched(report: &Report, to: &mut String) -> std::fmt::Result {
    let lines = |value: fn(&Sample) -> f64| -> Vec<Line> {
        let line = |watched: &super::Watched| Line {
            name: format!("{} ({})", watched.name, watched.pid),
            points: means(&watched.samples, |sample| (sample.at, value(sample))),
        };
        report.watched.iter().map(line).collect()
    };
    let axes = Axes { scale: Scale::Linear, unit: "cores", across: short, across_unit: "seconds" };
    figure("CPU", &lines(|sample| sample.cores), &axes, to)?;
    let memory = lines(|sample| float(sample.memory) / 1024.0 / 1024.0);
    figure("Memory", &memory, &Axes { unit: "MiB", ..axes }, to)?;
    let switches = lines(|sample| sample.switches);
    figure("Context switches", &switches, &Axes { unit: "a second", ..axes }, to)?;
    if report.watched.iter().flat_map(|watched| &watched.samples).any(|sample| sample.written > 0.0) {
        let written = lines(|sample| sample.written / 1024.0);
        figure("Written to disk", &written, &Axes { unit: "KiB/s", ..axes }, to)?;
    }
    Ok(())
}

fn write_own(report: &Report, to: &mut String) -> std::fmt::Result {
    let own = &report.own;
    writeln!(
        to,
        "<p class=\"soft\">This tool kept {:.2} of a core busy in each of {} processes, {:.2} in the busiest second, with {:.1} µs of CPU for each event that \
         a client had and {:.1} KiB for each client. It sent events {:.2} ms late (p99).</p>",
        own.cores,
        own.workers,
        own.busiest,
        own.cpu_micros_per_event,
        own.memory_per_client / 1024.0,
        own.lateness.p99
    )
}

fn figure(caption: &str, lines: &[Line], axes: &Axes, to: &mut String) -> std::fmt::Result {
    let Some(svg) = draw(lines, axes) else { return Ok(()) };
    writeln!(to, "<figure>\n<figcaption>{}</figcaption>", escaped(caption))?;
    if lines.len() > 1 {
        writeln!(to, "<ul class=\"legend\">")?;
        for (number, line) in lines.iter().enumerate() {
            writeln!(to, "<li class=\"{}\">{}</li>", class(number), escaped(&line.name))?;
        }
        writeln!(to, "</ul>")?;
    }
    let labelled = svg.replacen("role=\"img\"", &format!("role=\"img\" aria-label=\"{}\"", escaped(caption)), 1);
    writeln!(to, "{labelled}\n</figure>")
}

/// Returns so many points that a page can show them, each the mean of those that it stands for.
fn means<T>(all: &[T], point: impl Fn(&T) -> (f64, f64)) -> Vec<(f64, f64)> {
    let size = all.len().div_ceil(MAX_POINTS).max(1);
    let mean = |chunk: &[T]| {
        let sum = chunk.iter().map(&point).fold(0.0, |sum, (_, value)| sum + value);
        (chunk.first().map_or(0.0, |first| point(first).0), sum / float(chunk.len() as u64))
    };
    all.chunks(size).map(mean).collect()
}

/// The same, with the greatest in the place of the mean.
fn maxima<T>(all: &[T], point: impl Fn(&T) -> (f64, f64)) -> Vec<(f64, f64)> {
    let size = all.len().div_ceil(MAX_POINTS).max(1);
    let max = |chunk: &[T]| {
        let greatest = chunk.iter().map(&point).fold(0.0, |greatest, (_, value)| f64::max(greatest, value));
        (chunk.first().map_or(0.0, |first| point(first).0), greatest)
    };
    all.chunks(size).map(max).collect()
}

/// Returns milliseconds with a unit.
fn time(milliseconds: f64) -> String {
    if milliseconds < 1000.0 {
        format!("{} ms", short(milliseconds))
    } else {
        format!("{} s", short(milliseconds / 1e3))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
