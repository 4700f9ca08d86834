//! What is measured each second, shown, and kept as a series.

use std::{io, mem::take};

use crate::{
    clients::Clients,
    clock::{self, SECOND},
    number::{float, seconds},
    progress::Progress,
    record::Latencies,
    report::{Report, Second},
    stop::Stop,
};

/// The maximum of seconds that are kept: a day.
const MAX_SECONDS: usize = 86_400;

/// See the module.
#[derive(Debug)]
pub(super) struct Meter {
    start: u64,
    next: u64,
    /// When, and how many events were sent, were received and went wrong, at the last second.
    before: (u64, u64, u64, u64),
    series: Vec<Second>,
    /// Of the second that goes on.
    second: Latencies,
    /// Of the step that goes on.
    pub(super) step: Latencies,
    all: Latencies,
    longest_turn: u64,
    /// The CPU time at the last second, and the most that a process has used in one, as cores.
    cpu: u64,
    busiest: f64,
    progress: Progress,
    pub(super) stop: Stop,
}

impl Meter {
    /// Begins.
    pub(super) fn start(start: u64, progress: Progress, stop: Stop) -> Self {
        Self {
            start,
            next: start + SECOND,
            before: (start, 0, 0, 0),
            series: Vec::new(),
            second: Latencies::default(),
            step: Latencies::default(),
            all: Latencies::default(),
            longest_turn: 0,
            cpu: clock::cpu(),
            busiest: 0.0,
            progress,
            stop,
        }
    }

    /// Returns the time since the start in seconds.
    pub(super) fn now(&self) -> f64 {
        seconds(clock::now() - self.start)
    }

    /// Returns the longest turn of a loop.
    pub(super) const fn longest_turn(&self) -> u64 {
        self.longest_turn
    }

    /// Returns how many cores each process kept busy in the busiest second.
    pub(super) const fn busiest(&self) -> f64 {
        self.busiest
    }

    /// Says something besides the progress.
    pub(super) fn say(&self, text: &str) {
        self.progress.say(text);
    }

    /// Takes the progress away.
    pub(super) fn end_progress(&mut self) {
        self.progress.end();
    }

    /// Serves clients until a time, until something is true, or until the run is to end. Tells whether it became true.
    pub(super) fn until(
        &mut self,
        until: u64,
        clients: &mut Clients,
        mut done: impl FnMut(&mut Clients) -> bool,
    ) -> io::Result<bool> {
        let stop = self.stop.clone();
        self.until_always(until, clients, |clients| done(clients) || stop.is_requested())?;
        Ok(done(clients))
    }

    /// The same, but a run that is to end does not end it.
    pub(super) fn until_always(
        &mut self,
        until: u64,
        clients: &mut Clients,
        mut done: impl FnMut(&mut Clients) -> bool,
    ) -> io::Result<()> {
        while !done(clients) {
            self.stop.is_requested();
            if clock::now() >= until {
                break;
            }
            clients.turn(until.min(self.next))?;
            if clock::now() >= self.next {
                self.look(clients);
            }
        }
        Ok(())
    }

    /// Takes the latencies that came since this was last called.
    pub(super) fn collect(&mut self, clients: &mut Clients) {
        let recent = clients.take_recent();
        for latencies in [&mut self.second, &mut self.step, &mut self.all] {
            latencies.add(&recent);
        }
    }

    fn look(&mut self, clients: &mut Clients) {
        let now = clock::now();
        self.next = now + SECOND;
        self.collect(clients);
        self.longest_turn = self.longest_turn.max(clients.take_longest_turn());
        let (standing, counts) = (clients.standing(), clients.counts());
        let sent = clients.publishers().map_or(0, |publishers| publishers.sent.events);
        let not_confirmed = clients.publishers().map_or(0, |publishers| publishers.sent.failures.values().sum());
        let failed = counts.failed() + not_confirmed;
        let (then, sent_before, received_before, failed_before) = self.before;
        self.before = (now, sent, counts.events, failed);
        let (cpu, processes) = clients.cpu();
        let used = seconds(cpu.saturating_sub(self.cpu)) / seconds(now - then).max(1e-3) / f64::from(processes);
        (self.cpu, self.busiest) = (cpu, self.busiest.max(used));
        let since = |count: u64, before: u64| float(count.saturating_sub(before)) / seconds(now - then).max(1e-3);
        let second = Second {
            at: seconds(now - self.start),
            waiting: standing.waiting,
            established: standing.established,
            sent: since(sent, sent_before),
            received: since(counts.events, received_before),
            errors: since(failed, failed_before),
            latency: self.second.quantiles(),
        };
        self.second.clear();
        self.progress.show(&second, standing, &counts);
        if self.series.len() < MAX_SECONDS {
            self.series.push(second);
        }
    }

    /// Puts what was measured into the report.
    pub(super) fn finish(mut self, report: &mut Report) {
        report.series = take(&mut self.series);
        report.curve = self.all.curve();
    }
}
