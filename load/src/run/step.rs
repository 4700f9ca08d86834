//! One step: clients come, events are published, what is missing is waited for.

use std::{
    io::{self, stdin},
    sync::mpsc::sync_channel,
};

use super::meter::Meter;
use crate::{
    clients::Clients,
    clock::{self, MILLISECOND, SECOND},
    number::{float, nanoseconds, ratio, seconds},
    options::Options,
    output,
    publishers::{Stretch, pace::Pace},
    record::Latencies,
    report::StepReport,
};

/// How long nothing may come in lockstep.
const LOCKSTEP: u64 = 60 * SECOND;

/// How long a server may take to know a client whose first poll it holds, where no answer tells that it does.
const SETTLE: u64 = 500 * MILLISECOND;

/// How long workers may take to tell what is missing.
const TELL: u64 = 30 * SECOND;

/// How long to wait for the last confirms.
const CONFIRMS: u64 = 35 * SECOND;

/// What a step is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) clients: u32,
    pub(super) pace: Pace,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) step: StepReport,
    pub(super) notes: Vec<String>,
    pub(super) is_interrupted: bool,
}

/// Runs it.
pub(super) fn run(step: &Step, options: &Options, clients: &mut Clients, meter: &mut Meter) -> io::Result<Outcome> {
    let mut notes = Vec::new();
    let before = clients.counts();
    let (sent_before, began) = (clients.publishers().map(|all| all.sent.clone()).unwrap_or_default(), meter.now());
    clients.set_wanted(step.clients)?;
    let established = gather(step, options, clients, meter, &mut notes)?;
    meter.collect(clients);
    meter.step.clear();
    if let Some(publishers) = clients.publishers() {
        publishers.sent.confirms.clear();
    }
    if options.is_followed {
        output::line("waiting");
    }

    let (from, published_from) = (meter.now(), clock::now());
    let mut rounds = Latencies::default();
    if options.streams.publishers == 0 {
        follow(options, clients, meter)?;
    } else {
        if options.is_followed {
            wait_for_line(clients, meter)?;
        }
        publish(step, options, clients, meter, &mut rounds, &mut notes)?;
        if options.is_followed {
            output::line("done");
        }
    }
    let published_for = clock::now() - published_from;
    drain(options, clients, meter)?;

    meter.collect(clients);
    let counts = clients.counts().since(&before);
    let sent = clients.publishers().map(|all| all.sent.clone()).unwrap_or_default();
    let lost =
        clients.lost().ok_or_else(|| io::Error::other("a worker process does not tell what its clients lack"))?;
    let passed = (meter.now() - began).max(1e-3);
    let kinds = |failures: &std::collections::BTreeMap<crate::failure::Failure, u64>| {
        failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect()
    };
    let mut failures = sent.failures.clone();
    for (kind, count) in &mut failures {
        *count -= sent_before.failures.get(kind).copied().unwrap_or_default();
    }
    failures.retain(|_, count| *count > 0);
    let report = StepReport {
        clients: step.clients,
        established,
        publishers: options.streams.publishers,
        rate: step.pace.rate(),
        began: from,
        seconds: seconds(published_for),
        sent: sent.events - sent_before.events,
        confirmed: sent.confirmed - sent_before.confirmed,
        not_confirmed: failures.values().sum(),
        publish_errors: kinds(&failures),
        received: counts.events,
        lost,
        repeated_flagged: counts.repeated_flagged,
        repeated_unflagged: counts.repeated_unflagged,
        out_of_order: counts.out_of_order,
        foreign: counts.foreign,
        resets: counts.resets,
        latency: meter.step.quantiles(),
        send: sent.confirms.quantiles(),
        rounds: (step.pace == Pace::Lockstep && options.streams.publishers > 0).then(|| rounds.quantiles()),
        bytes_received: ratio(counts.bytes, counts.answers),
        polls: counts.polls,
        polls_per_second: float(counts.polls) / passed,
        connections: counts.connections,
        connections_per_second: float(counts.connections) / passed,
        received_per_second: float(counts.events) / seconds(published_for).max(1e-3),
        timed_out: counts.timed_out(),
        receive_errors: counts.failed(),
        receive_error_rate: ratio(counts.failed(), counts.polls),
        receive_errors_by_kind: kinds(&counts.failures),
        left: counts.left,
    };
    Ok(Outcome { step: report, notes, is_interrupted: meter.stop.is_requested() })
}

/// Waits until all clients are there, or none gets any further; returns how many are there.
fn gather(
    step: &Step,
    options: &Options,
    clients: &mut Clients,
    meter: &mut Meter,
    notes: &mut Vec<String>,
) -> io::Result<u32> {
    let ramp = clock::now().saturating_add(nanoseconds(options.behaviour.ramp));
    let (mut standing, mut moved) = (clients.standing(), clock::now());
    loop {
        let all = meter.until(clock::now() + 100 * MILLISECOND, clients, |clients| clients.is_settled())?;
        if standing != clients.standing() {
            (standing, moved) = (clients.standing(), clock::now());
        }
        if all || meter.stop.is_requested() {
            break;
        }
        // With clients that think, not all of them ever wait at the same time.
        let are_all_there = standing.established == step.clients && standing.wanted == step.clients;
        if are_all_there && clock::now() >= ramp
            || clock::now() > moved.max(ramp).saturating_add(nanoseconds(options.patience))
        {
            break;
        }
    }
    if standing.established < step.clients && !meter.stop.is_requested() {
        let kinds = clients.counts().failures;
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        notes.push(format!("only {} of {} clients got in ({})", standing.established, step.clients, kinds.join(", ")));
    }
    if options.target.read.first.is_none() {
        meter.until(clock::now() + SETTLE, clients, |_| false)?;
    }
    Ok(standing.established)
}

/// Waits for a line on standard input, or for a signal.
fn wait_for_line(clients: &mut Clients, meter: &mut Meter) -> io::Result<()> {
    let (sender, line) = sync_channel(1);
    std::thread::spawn(move || {
        let _ = stdin().read_line(&mut String::new());
        let _ = sender.send(());
    });
    meter.until(u64::MAX, clients, |_| line.try_recv().is_ok())?;
    Ok(())
}

/// Publishes, until all is confirmed.
fn publish(
    step: &Step,
    options: &Options,
    clients: &mut Clients,
    meter: &mut Meter,
    rounds: &mut Latencies,
    notes: &mut Vec<String>,
) -> io::Result<()> {
    let now = clock::now();
    let until = options.duration.map_or(u64::MAX, |duration| now.saturating_add(nanoseconds(duration)));
    let is_lockstep = step.pace == Pace::Lockstep;
    let events = if is_lockstep { 0 } else { options.events.unwrap_or(u64::MAX) };
    let topics = step.clients.min(options.streams.topics);
    clients.publish(Stretch { pace: step.pace, until, events, topics })?;
    if is_lockstep {
        let stuck = lockstep(step, options, until, clients, meter, rounds)?;
        notes.extend(stuck.map(|event| format!("lockstep ended early: not all of its clients have had event {event}")));
        return Ok(());
    }
    let is_done = |clients: &mut Clients| clients.publishers().is_none_or(|publishers| publishers.is_done());
    meter.until(until.saturating_add(CONFIRMS), clients, is_done)?;
    Ok(())
}

/// Publishes each event when every client that the one before concerned has had it and waits again. Returns the number of the
/// event that some of them did not get.
fn lockstep(
    step: &Step,
    options: &Options,
    until: u64,
    clients: &mut Clients,
    meter: &mut Meter,
    rounds: &mut Latencies,
) -> io::Result<Option<u64>> {
    let topics = step.clients.min(options.among).min(options.streams.topics);
    let mut event = 0;
    while options.events.is_none_or(|events| event < events) && clock::now() < until {
        let topic = u32::try_from(event % u64::from(topics.max(1))).unwrap_or_default();
        let concerned = (step.clients - topic).div_ceil(options.streams.topics);
        let (began, had) = (clock::now(), clients.events() + u64::from(concerned));
        if let Some(publishers) = clients.publishers() {
            publishers.allow(1);
        }
        let is_done = |clients: &mut Clients| {
            clients.events() >= had && clients.publishers().is_none_or(|publishers| publishers.is_done())
        };
        // What comes later is late for the end of the step, too.
        let patience = LOCKSTEP.min(until.saturating_sub(began).saturating_add(nanoseconds(options.drain)));
        if !meter.until(began + patience, clients, is_done)? {
            return Ok((!meter.stop.is_requested()).then_some(event + 1));
        }
        rounds.take(clock::now() - began);
        event += 1;
    }
    Ok(None)
}

/// Follows what another program publishes: until all clients have had so many events, or for a time, or until a signal comes.
fn follow(options: &Options, clients: &mut Clients, meter: &mut Meter) -> io::Result<()> {
    let until = options.duration.map_or(u64::MAX, |duration| clock::now().saturating_add(nanoseconds(duration)));
    let Some(events) = options.events else {
        meter.until(until, clients, |_| false)?;
        clients.assume_published_what_was_seen();
        return Ok(());
    };
    // Clients that came with this step have had nothing of what came before it.
    let before = clients.published();
    let reached = |clients: &mut Clients| {
        let all = clients.standing().wanted;
        let since = clients.had().get(before as usize..).unwrap_or_default();
        u64::from(before) + since.partition_point(|had| *had >= all) as u64
    };
    let (mut last, events) = (u64::from(before), u64::from(before).saturating_add(events));
    while last < events {
        if !meter.until(until, clients, |clients| reached(clients) > last)? {
            break;
        }
        last = reached(clients);
        if options.is_followed {
            output::line(&format!("reached {last}"));
        }
    }
    clients.assume_published(u32::try_from(events).unwrap_or(u32::MAX));
    Ok(())
}

/// Waits for what is missing, and for what must not come; also where the run is to end, so that its report is right.
fn drain(options: &Options, clients: &mut Clients, meter: &mut Meter) -> io::Result<()> {
    let until = clock::now().saturating_add(nanoseconds(options.drain));
    if let Some(publishers) = clients.publishers() {
        publishers.end();
    }
    meter.until_always(until, clients, |clients| clients.publishers().is_none_or(|publishers| publishers.is_done()))?;
    clients.find_missing()?;
    let (mut next, mut nothing_missing) = (0, false);
    meter.until_always(until, clients, |clients| {
        // It passes all clients, so it is not asked at each turn.
        if clock::now() >= next {
            nothing_missing = clients.lost() == Some(0);
            next = clock::now() + 20 * MILLISECOND;
        }
        nothing_missing
    })?;
    if options.is_followed && options.streams.publishers > 0 {
        output::line("received");
    }
    meter.until(clock::now().saturating_add(nanoseconds(options.listen)), clients, |_| false)?;
    // Workers that have a lot to do tell it late.
    meter.until_always(clock::now() + TELL, clients, |clients| clients.lost().is_some())
}
