//! What the user sees: results on standard output, everything else on standard error.
//!
//! The progress line is there only when standard error is a terminal; other lines are written above it. Where
//! standard error is closed, its lines are dropped: that is no reason to stop publishing.

use std::{
    fmt::{self, Display},
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use settings::without_secrets;
use tracing_subscriber::{EnvFilter, fmt as logs, layer::SubscriberExt, util::SubscriberInitExt};

/// How often the progress line is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Writes what the libraries log, filtered as `filter` says, to standard error; never the broker's password.
pub(crate) fn log(filter: &str) {
    logs().with_env_filter(EnvFilter::new(filter)).with_writer(io::stderr).finish().with(without_secrets()).init();
}

/// See the module.
pub(crate) struct Output {
    quiet: bool,
    bar: ProgressBar,
}

impl Output {
    /// Makes an output that leaves out everything but results and errors when it is `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, bar: ProgressBar::hidden() }
    }

    /// Shows a progress line from here on. Its length is the total, if that is known.
    pub(crate) fn start_progress(&self, total: Option<u64>) {
        // For a single event it would be gone before it could be read.
        if self.quiet || total == Some(1) || !io::stderr().is_terminal() {
            return;
        }
        let template = match total {
            Some(_) => "{bar:30} {human_pos} of {human_len} events  {rate}  {eta} left",
            None => "{spinner} {human_pos} events  {rate}  {elapsed}",
        };
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar.set_style(style.with_key("rate", |state: &ProgressState, line: &mut dyn fmt::Write| {
            let _ = write!(line, "{:.0}/s", state.per_sec());
        }));
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        self.bar.enable_steady_tick(TICK);
    }

    /// Moves the progress line on by one event.
    pub(crate) fn progress(&self) {
        self.bar.inc(1);
    }

    /// Takes the progress line away.
    pub(crate) fn end_progress(&self) {
        self.bar.finish_and_clear();
    }

    /// Says something about the way things go.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Says something that has to be said even when quiet.
    pub(crate) fn error(&self, text: impl Display) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    /// Writes a result for other programs to read.
    pub(crate) fn result(&self, text: &str) -> io::Result<()> {
        self.bar.suspend(|| writeln!(io::stdout(), "{text}"))
    }
}
