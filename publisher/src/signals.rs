//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends the process at once.

use std::{io, time::Duration};

use tokio::{
    select,
    signal::unix::{self, SignalKind},
    sync::watch,
    time::Instant,
};

/// How long after the first signal another one is taken for its echo: timeout(1) signals the process and then its whole
/// group. No person presses Ctrl-C twice as fast as this.
const ECHO: Duration = Duration::from_millis(100);

/// A signal that ends programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// Returns what a shell reports for a program that this signal ended: 128 and its number.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// The place where signals arrive.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    first: watch::Sender<Option<Signal>>,
}

/// Tells of the first signal.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<Option<Signal>>);

impl Signals {
    /// Takes both signals over from the default, which would end the process.
    pub(crate) fn listen() -> io::Result<(Self, Stop)> {
        let (first, stop) = watch::channel(None);
        let interrupt = unix::signal(SignalKind::interrupt())?;
        let terminate = unix::signal(SignalKind::terminate())?;
        Ok((Self { interrupt, terminate, first }, Stop(stop)))
    }

    /// Passes the first signal on and returns the second.
    pub(crate) async fn second(mut self) -> Signal {
        let first = self.next().await;
        self.first.send_replace(Some(first));
        let since = Instant::now();
        loop {
            let next = self.next().await;
            if since.elapsed() >= ECHO {
                return next;
            }
        }
    }

    async fn next(&mut self) -> Signal {
        select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

impl Stop {
    /// Waits for the first signal; returns it again and again after that. Cancel-safe.
    pub(crate) async fn requested(&mut self) -> Signal {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(signal)) => *signal,
            // No listener is left, so no signal comes.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
