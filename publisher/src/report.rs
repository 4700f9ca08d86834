//! What became of the events, as the user is told at the end, and the exit code that goes with it.

use std::time::Duration;

use events::{EventId, Topic};

use crate::signals::Signal;

/// How many unconfirmed events are listed one by one; memory stays bounded whatever happens.
const LISTED: usize = 20;

/// Exit codes; those from 64 on are BSD's sysexits(3).
pub(crate) mod exit {
    /// Everything was confirmed.
    pub(crate) const CONFIRMED: u8 = 0;
    /// Something was not confirmed, or the input could not be read to its end.
    pub(crate) const NOT_CONFIRMED: u8 = 1;
    /// `EX_USAGE`: wrong flags or environment.
    pub(crate) const USAGE: u8 = 64;
    /// `EX_UNAVAILABLE`: no target was there; nothing was published.
    pub(crate) const UNREACHABLE: u8 = 69;
}

/// Why the publisher came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// The source has no more events.
    Exhausted,
    /// A signal came before that.
    Stopped(Signal),
    /// The input could not be read any further.
    InputFailed(anyhow::Error),
    /// There was no confirm for too long.
    GaveUp(String),
    /// No target was there from the start, or one that takes no events.
    Unreachable(String),
}

/// Something that is not known to be stored.
#[derive(Debug)]
pub(crate) struct NotConfirmed {
    pub(crate) line: Option<u64>,
    /// Identity and topic, unless it never became an event.
    pub(crate) event: Option<(EventId, Topic)>,
    pub(crate) reason: String,
}

impl std::fmt::Display for NotConfirmed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not confirmed: ")?;
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some((id, topic)) = &self.event {
            write!(f, "event {id} on {topic}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Counts what happens.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) confirmed: u64,
    pub(crate) resent: u64,
    pub(crate) took: Duration,
    not_confirmed: u64,
    listed: Vec<NotConfirmed>,
}

impl Report {
    /// Counts something that is not known to be stored.
    pub(crate) fn not_confirmed(&mut self, what: NotConfirmed) {
        self.not_confirmed += 1;
        if self.listed.len() < LISTED {
            self.listed.push(what);
        }
    }

    /// Tells whether nothing is missing.
    pub(crate) const fn is_complete(&self) -> bool {
        self.not_confirmed == 0
    }

    /// Returns what is not confirmed: the first of it one by one, then how many more.
    pub(crate) fn list(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.listed.iter().map(ToString::to_string).collect();
        let more = self.not_confirmed - self.listed.len() as u64;
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// Returns the summary in one line.
    pub(crate) fn summary(&self) -> String {
        let seconds = self.took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = self.confirmed as f64 / seconds.max(0.001);
        let plural = if self.confirmed == 1 { "" } else { "s" };
        format!(
            "published {} event{plural} in {seconds:.1} s ({rate:.0}/s), {} resent, {} not confirmed",
            self.confirmed, self.resent, self.not_confirmed
        )
    }

    /// Returns the exit code. A signal is the normal end of an endless source, and only of that.
    pub(crate) const fn exit_code(&self, end: &End, is_endless: bool) -> u8 {
        match end {
            End::Unreachable(_) => exit::UNREACHABLE,
            End::Stopped(signal) if !is_endless => signal.exit_code(),
            End::Exhausted | End::Stopped(_) if self.is_complete() => exit::CONFIRMED,
            End::Exhausted | End::Stopped(_) | End::GaveUp(_) | End::InputFailed(_) => exit::NOT_CONFIRMED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(count: u64) -> Report {
        let mut report = Report { confirmed: 120, resent: 3, took: Duration::from_millis(1200), ..Report::default() };
        for line in 1..=count {
            report.not_confirmed(NotConfirmed { line: Some(line), event: None, reason: "why".to_owned() });
        }
        report
    }

    #[test]
    fn the_summary_is_one_line() {
        let summary = "published 120 events in 1.2 s (100/s), 3 resent, 0 not confirmed";
        assert_eq!(missing(0).summary(), summary);
        let one = Report { confirmed: 1, ..missing(2) };
        assert_eq!(one.summary(), "published 1 event in 1.2 s (1/s), 3 resent, 2 not confirmed");
    }

    #[test]
    fn the_list_is_bounded() {
        assert_eq!(missing(2).list(), ["not confirmed: line 1: why", "not confirmed: line 2: why"]);
        assert_eq!(missing(20).list().len(), 20);
        assert_eq!(missing(1000).list().last().unwrap(), "and 980 more");
    }

    #[test]
    fn an_event_is_named_by_id_and_topic() {
        let event = Some(("x-1".parse().unwrap(), "a.b".parse().unwrap()));
        let shown = NotConfirmed { line: Some(7), event, reason: "why".to_owned() }.to_string();
        assert_eq!(shown, "not confirmed: line 7: event x-1 on a.b: why");
    }

    #[test]
    fn the_exit_code_tells_what_happened() {
        let (all, some) = (missing(0), missing(1));
        let stopped = || End::Stopped(Signal::Interrupt);
        let gave_up = || End::GaveUp(String::new());
        for (report, end, is_endless, code) in [
            (&all, End::Exhausted, false, 0),
            (&some, End::Exhausted, false, 1),
            (&all, stopped(), false, 130),
            (&some, stopped(), false, 130),
            (&all, End::Stopped(Signal::Terminate), false, 143),
            (&all, stopped(), true, 0),
            (&some, stopped(), true, 1),
            (&some, gave_up(), true, 1),
            (&all, gave_up(), false, 1),
            (&all, End::InputFailed(anyhow::anyhow!("gone")), false, 1),
            (&all, End::Unreachable(String::new()), true, 69),
        ] {
            assert_eq!(report.exit_code(&end, is_endless), code, "{end:?}");
        }
    }
}
