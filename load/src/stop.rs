//! SIGINT and SIGTERM: the first ends a run in order, with a report of what was measured until then; the second ends the process.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// Tells of the first signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Takes both signals over from the default, which would end the process.
    pub(crate) fn listen() -> io::Result<Self> {
        let stop = Self::default();
        for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
            // In this order: the first signal finds the flag not set.
            flag::register_conditional_shutdown(signal, code, Arc::clone(&stop.0))?;
            flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Takes both signals over, and does nothing: a terminal sends them to all processes of a run, but one of them has to say how it
    /// ends.
    pub(crate) fn ignore() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Tells whether the run is to end.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
