//! What a person who waits is told, on standard error: a line that changes on a terminal, else a line every few seconds.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{crowd::Standing, options::Options, record::Counts, report::Second};

/// How many seconds there are between two lines where standard error is no terminal.
const EVERY: u32 = 5;

/// See the module.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    is_quiet: bool,
    is_terminal: bool,
    seconds: u32,
}

impl Progress {
    /// Begins.
    pub(crate) fn new(options: &Options) -> Self {
        let is_terminal = io::stderr().is_terminal() && !options.is_quiet;
        let bar = ProgressBar::hidden();
        if is_terminal {
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self { bar, is_quiet: options.is_quiet, is_terminal, seconds: 0 }
    }

    /// Shows what a second was like.
    pub(crate) fn show(&mut self, second: &Second, standing: Standing, counts: &Counts) {
        self.seconds += 1;
        let is_due = self.is_terminal || self.seconds.is_multiple_of(EVERY);
        if self.is_quiet || !is_due {
            return;
        }
        let line = line(second, standing, counts);
        if self.is_terminal {
            self.bar.set_message(line);
            self.bar.tick();
        } else {
            self.say(&line);
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, text: &str) {
        if !self.is_quiet {
            self.bar.suspend(|| {
                let _ = writeln!(io::stderr(), "{text}");
            });
        }
    }

    /// Takes the line away.
    pub(crate) fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(second: &Second, standing: Standing, counts: &Counts) -> String {
    let Second { at, sent, received, latency, .. } = second;
    let Standing { wanted, established, waiting, away, missing } = standing;
    let mut line = format!("{at:.0} s  {established} of {wanted} clients, {waiting} waiting");
    // Writing to memory cannot fail.
    if away > 0 {
        let _ = write!(line, ", {away} away");
    }
    let _ = write!(line, "  {sent:.0} events/s out, {received:.0}/s in");
    if latency.count > 0 {
        let _ = write!(line, "  p50 {:.1} ms, p99 {:.1} ms", latency.p50, latency.p99);
    }
    let repeated = counts.repeated_flagged + counts.repeated_unflagged;
    for (count, what) in [(missing, "missing"), (repeated, "repeated"), (counts.out_of_order, "out of order")] {
        if count > 0 {
            let _ = write!(line, "  {count} {what}");
        }
    }
    for (failure, count) in &counts.failures {
        let _ = write!(line, "  {failure}: {count}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::Failure, record::Quantiles};

    #[test]
    fn a_line_tells_what_is_there_and_nothing_else() {
        let mut second = Second { at: 7.04, sent: 10.0, received: 9990.4, ..Second::default() };
        let mut standing = Standing { wanted: 1000, established: 999, waiting: 998, away: 0, missing: 0 };
        let mut counts = Counts::default();
        let start = "7 s  999 of 1000 clients, 998 waiting";
        assert_eq!(line(&second, standing, &counts), format!("{start}  10 events/s out, 9990/s in"));
        second.latency = Quantiles { count: 1, p50: 1.25, p99: 9.99, ..Quantiles::default() };
        (standing.away, standing.missing) = (1, 4);
        counts.out_of_order = 3;
        counts.failures.insert(Failure::Status(503), 2);
        let rest = "p50 1.2 ms, p99 10.0 ms  4 missing  3 out of order  status 503: 2";
        assert_eq!(line(&second, standing, &counts), format!("{start}, 1 away  10 events/s out, 9990/s in  {rest}"));
    }
}
