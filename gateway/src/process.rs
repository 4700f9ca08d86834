//! What the operating system has to do with it: signals and file descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Descriptors besides client connections: logs, the broker's connections, the listener, the runtime's own.
const OWN_DESCRIPTORS: u64 = 64;

/// The signals that stop a process.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Starts listening for SIGINT and SIGTERM; needs a tokio runtime.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => info!("SIGINT"),
            _ = self.terminate.recv() => info!("SIGTERM"),
        }
    }
}

/// Raises the limit of open files as far as the system allows, and warns if connections may need more.
pub fn raise_open_files(max_connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let wanted = max_connections as u64 + OWN_DESCRIPTORS;
    if now.is_some_and(|now| now < wanted) {
        warn!(limit = now, wanted, "--max-connections may need more open files than the system allows (ulimit -n)");
    }
}
