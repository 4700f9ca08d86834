//! SIGINT and SIGTERM: the first ends a run in order, with a report of what was measured until then; the second ends the process.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::clock::{self, MILLISECOND};

/// How long after the first signal another one is taken for its echo: timeout(1) signals the process and then its whole group. No
/// person presses Ctrl-C twice as fast as this.
const ECHO: u64 = 100 * MILLISECOND;

/// Tells of the first signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    requested: Arc<AtomicBool>,
    /// When that was noticed; 0 until then.
    since: Arc<AtomicU64>,
    /// The next signal ends the process.
    is_last: Arc<AtomicBool>,
}

impl Stop {
    /// Takes both signals over from the default, which would end the process.
    pub(crate) fn listen() -> io::Result<Self> {
        let stop = Self::default();
        for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
            flag::register_conditional_shutdown(signal, code, Arc::clone(&stop.is_last))?;
            flag::register(signal, Arc::clone(&stop.requested))?;
        }
        Ok(stop)
    }

    /// Takes both signals over, and does nothing: a terminal sends them to all processes of a run, but one of them has to say how it
    /// ends.
    pub(crate) fn ignore() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&stop.requested))?;
        }
        Ok(stop)
    }

    /// Tells whether the run is to end. It has to be asked all the time: that is how an echo is told from a second signal.
    pub(crate) fn is_requested(&self) -> bool {
        let is_requested = self.requested.load(Ordering::Relaxed);
        if is_requested {
            let now = clock::now();
            let since = self
                .since
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|since| since, |_| now);
            if now - since >= ECHO {
                self.is_last.store(true, Ordering::Relaxed);
            }
        }
        is_requested
    }
}
