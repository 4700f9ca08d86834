//! What happens, in which order: in each step the clients come, events are published, and what is missing is waited for.
//!
//! A run never ends because of one client. It ends early only by a signal, or when nothing can go on; the report then tells of what
//! was measured until then.

mod limit;
mod meter;
mod step;

use std::{io, time::SystemTime};

use self::{
    meter::Meter,
    step::{Outcome, Step},
};
use crate::{
    clients::Clients,
    clock,
    crowd::{self, Crowd},
    engine::Engine,
    ledger::Ledger,
    limits,
    number::{self, float, ratio, seconds, whole},
    options::{LimitOf, Options},
    progress::Progress,
    publishers::{self, Publishers},
    report::{Own, Report},
    stop::Stop,
    watch::Watch,
    workers::{Workers, worker},
};

/// How long the farewell of all clients may take.
const FAREWELL: u64 = 10 * clock::SECOND;

/// The longest time that a confirm may take.
const CONFIRM: u64 = 30 * clock::SECOND;

/// From here on a process with one thread has no time left.
const BUSY: f64 = 0.9;

/// Runs as asked for. An error: there was nothing to measure, or a worker has ended.
pub(crate) fn run(options: &Options, stop: &Stop) -> io::Result<Report> {
    let notes = limits::raise(options);
    if let Some(urls) = &options.amqp {
        publishers::amqp::check(urls)?;
    }
    let workers = if options.workers > 1 { Workers::start(options.workers, options.run)? } else { Workers::default() };
    let mut clients = Clients::new(engine(options, 0, 1)?, workers);
    let start = clock::now();
    let watch = Watch::start(&options.watched, start);
    let mut meter = Meter::start(start, Progress::new(options), stop.clone());
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        command: options.command.clone(),
        target: format!("{} at {}", options.target.name, options.address),
        read: format!(
            "{}, {}{}",
            options.target.read.way,
            if options.target.read.is_stream { "SSE" } else { "long-poll" },
            if options.behaviour.streams_per_connection.is_some() { ", HTTP/2" } else { "" }
        ),
        notes,
        ..Report::default()
    };
    let (cpu, memory) = (clients.cpu().0, clients.memory());
    let mut go_on = |step: Step, meter: &mut Meter| step::run(&step, options, &mut clients, meter);
    if let Some(of) = options.limit_of {
        let first = match of {
            LimitOf::Clients => f64::from(options.clients[0]),
            LimitOf::Rate => options.pace.rate().unwrap_or(100.0),
        };
        let planned = |number: f64| match of {
            LimitOf::Clients => Step { clients: u32::try_from(whole(number)).unwrap_or(u32::MAX), pace: options.pace },
            LimitOf::Rate => Step { clients: options.clients[0], pace: options.pace.at_rate(number) },
        };
        let mut search = limit::Search::begin(first, limits::max(options, of));
        while let Some(number) = search.next() {
            let Outcome { step: measured, notes, is_interrupted } = go_on(planned(number), &mut meter)?;
            let why = options.requirements.iter().find_map(|requirement| requirement.failure(&measured));
            // A client that never came holds no limit.
            let why =
                why.or_else(|| (measured.established < measured.clients).then(|| "not every client got in".to_owned()));
            meter.say(&limit::told(of, number, why.as_deref(), &measured));
            report.notes.extend(notes);
            report.steps.push(measured);
            if is_interrupted {
                break;
            }
            search.take(why);
        }
        report.notes.extend(search.note(of));
        report.limit = Some(search.found(of, &options.requirements));
    } else {
        for clients in &options.clients {
            let outcome = go_on(Step { clients: *clients, pace: options.pace }, &mut meter)?;
            report.notes.extend(outcome.notes);
            report.steps.push(outcome.step);
            if outcome.is_interrupted {
                break;
            }
        }
    }
    let (used, processes) = clients.cpu();
    // The memory of those that have gone is not given back.
    let established = report.steps.iter().map(|step| step.established).max().unwrap_or_default();
    report.own = Own {
        workers: processes,
        cores: seconds(used.saturating_sub(cpu)) / seconds(clock::now() - start).max(1e-3) / f64::from(processes),
        busiest: meter.busiest(),
        cpu_micros_per_event: ratio(used.saturating_sub(cpu), clients.events()) / 1e3,
        memory_per_client: float(clients.memory().saturating_sub(memory)) / f64::from(established).max(1.0),
        lateness: clients.publishers().map(|publishers| publishers.sent.lateness.quantiles()).unwrap_or_default(),
        longest_turn: number::milliseconds(meter.longest_turn()),
    };
    farewell(&mut clients, &mut meter)?;
    report.is_interrupted = stop.is_requested();
    report.watched = watch.finish();
    meter.finish(&mut report);
    judge(&mut report, options);
    Ok(report)
}

/// Runs as one of several workers.
pub(crate) fn work(options: &Options, number: u32) -> io::Result<()> {
    limits::raise(options);
    worker::obey(engine(options, number, options.workers)?)
}

fn engine(options: &Options, worker: u32, workers: u32) -> io::Result<Engine> {
    let Options { target, address, amqp, names, streams, run, behaviour, size, among, .. } = options;
    let crowd = Crowd::new(crowd::Plan {
        address: *address,
        read: target.read.clone(),
        names: names.clone(),
        streams: *streams,
        run: *run,
        behaviour: behaviour.clone(),
        worker,
        workers,
    });
    let publish = target.publish.clone().filter(|_| options.worker.is_none() && streams.publishers > 0);
    let publishers = publish.map(|publish| {
        let deadline = number::nanoseconds(behaviour.deadline).min(CONFIRM);
        let (address, names, streams, run) = (options.publish_address, names.clone(), *streams, *run);
        Publishers::new(publishers::Plan {
            address,
            publish,
            amqp: amqp.clone(),
            names,
            streams,
            run,
            size: *size,
            among: *among,
            deadline,
        })
    });
    Engine::new(crowd, publishers, Ledger::new(streams.count()))
}

/// Has all clients tell the server that they leave for good, so that it keeps nothing for them.
fn farewell(clients: &mut Clients, meter: &mut Meter) -> io::Result<()> {
    let until = clock::now() + FAREWELL;
    clients.begin_farewell()?;
    while !clients.say_farewell() && clock::now() < until {
        meter.stop.is_requested();
        clients.turn(until)?;
    }
    meter.end_progress();
    Ok(())
}

/// Says whether the run passed: nothing was lost, and every condition was met.
fn judge(report: &mut Report, options: &Options) {
    if report.own.busiest > BUSY {
        let busiest = report.own.busiest;
        let text = format!(
            "in its busiest second this tool kept {busiest:.2} of a core busy: it may be the bottleneck itself"
        );
        report.notes.push(text);
    }
    // What was looked for are the steps that fail.
    if report.limit.is_some() {
        if report.limit.as_ref().is_none_or(|limit| limit.holds.is_none()) {
            report.failures.push("no step met the conditions".to_owned());
        }
        return;
    }
    for step in &report.steps {
        // What those outside would have lost is not known.
        if step.established < step.clients && !report.is_interrupted {
            report.failures.push(format!("{} clients: only {} got in", step.clients, step.established));
        }
        if step.received == 0 && step.sent > 0 {
            report.failures.push(format!("{} clients: nothing was received", step.clients));
        }
        if step.lost > 0 {
            report.failures.push(format!("{} clients: {} events lost", step.clients, step.lost));
        }
        let failed = options.requirements.iter().filter_map(|requirement| requirement.failure(step));
        report.failures.extend(failed.map(|failure| format!("{} clients: {failure}", step.clients)));
    }
}
