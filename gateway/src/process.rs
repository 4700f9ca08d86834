//! What the operating system has to do with it: signals, file descriptors, and systemd.

pub(crate) mod systemd;

use std::{io, num::NonZeroUsize, sync::Arc, thread::available_parallelism, time::Duration};

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit, umask},
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tracing::{error, info, warn};

use self::systemd::Reloading;

/// Descriptors besides client connections: logs, the broker's connections or files, the listener, the runtime's own.
const OWN_DESCRIPTORS: u64 = 256;

/// How many threads read from the disk, or look up names, at once at most.
const BLOCKING_THREADS: usize = 16;

/// The signals that stop a process.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// Not there if it is ignored, as under nohup(1).
    hangup: Option<Signal>,
    does_hangup_stop: bool,
}

/// What SIGHUP does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// It stops the process, whose terminal has closed.
    Stops,
    /// It has [`Reloads`] come. It has to be listened for all the same: it would end the process.
    Reloads,
}

impl StopSignals {
    /// Starts listening for SIGINT, SIGTERM and SIGHUP; needs a tokio runtime.
    pub fn listen(does: Hangup) -> io::Result<Self> {
        let does_hangup_stop = does == Hangup::Stops;
        let is_ignored = does_hangup_stop && is_hangup_ignored();
        let hangup = if is_ignored { None } else { Some(signal(SignalKind::hangup())?) };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup, does_hangup_stop })
    }

    /// Waits for the first one. Cancel-safe.
    pub async fn first(&mut self) {
        tokio::select! {
            () = Self::next(&mut self.interrupt, &mut self.terminate) => {}
            () = Self::hangup(&mut self.hangup), if self.does_hangup_stop => info!("SIGHUP"),
        }
    }

    /// Waits for another SIGINT or SIGTERM; a terminal that closes can send several SIGHUP. Cancel-safe.
    pub async fn second(&mut self) {
        Self::next(&mut self.interrupt, &mut self.terminate).await;
    }

    async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
        tokio::select! {
            _ = interrupt.recv() => info!("SIGINT"),
            _ = terminate.recv() => info!("SIGTERM"),
        }
    }

    async fn hangup(hangup: &mut Option<Signal>) {
        match hangup {
            Some(hangup) => drop(hangup.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// How often files are looked at that another process may have replaced.
const RELOAD_INTERVAL: Duration = Duration::from_mins(1);

/// When files of the configuration are to be read again.
#[derive(Debug)]
pub struct Reloads {
    hangup: Signal,
    interval: Interval,
    /// What was asked for last, until it is done.
    under_way: Option<Arc<Reloading>>,
}

/// Why they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The operator has asked for it (SIGHUP).
    Hangup,
    /// A minute has passed.
    Time,
}

impl Reloads {
    /// Starts listening for SIGHUP; needs a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        let mut interval = interval_at(Instant::now() + RELOAD_INTERVAL, RELOAD_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { hangup: signal(SignalKind::hangup())?, interval, under_way: None })
    }

    /// Waits until it is time. The call after that says that the files were read. Cancel-safe.
    pub async fn next(&mut self) -> Cause {
        self.under_way = None;
        tokio::select! {
            _ = self.hangup.recv() => {
                self.under_way = Some(Reloading::begin());
                Cause::Hangup
            }
            _ = self.interval.tick() => Cause::Time,
        }
    }
}

/// Tells whether the process was started with SIGHUP ignored (proc(5), `SigIgn`). Listening would end that.
fn is_hangup_ignored() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Makes the runtime that serves clients, with so many threads, or one for every two cores.
///
/// A single thread runs everything itself. Several hand tasks to each other, and on two cores that they share with
/// others that costs more than the second thread gives.
pub fn runtime(threads: Option<usize>) -> io::Result<Runtime> {
    let cores = || available_parallelism().map_or(1, NonZeroUsize::get);
    let mut builder = match threads.unwrap_or_else(|| cores() / 2) {
        0 | 1 => Builder::new_current_thread(),
        threads => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    let runtime =
        builder.enable_all().max_blocking_threads(BLOCKING_THREADS).thread_keep_alive(Duration::MAX).build()?;
    // The first of its blocking threads, which stays: work that finds none, when the system gives no more, panics.
    drop(runtime.spawn_blocking(|| {}));
    Ok(runtime)
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

/// Has every file that is made from now on belong to this process's user alone; also those of the storage engine, which
/// takes the usual mode.
pub fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Has every panic logged as an error, in the format of the log.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no reason was given");
        error!(thread, place, "a thread panicked: {message}");
    }));
}

/// Runs something that must not panic, but is not ours: if it does, the process ends with an error instead.
///
/// A panic in the middle of it could not be caught for certain: values are dropped on its way, and may panic, too.
pub fn exit_on_panic<T>(run: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no reason was given");
        error!(
            place,
            "the store is damaged and cannot be opened: {message}; restore its folder from a backup, or move it away"
        );
        std::process::exit(1);
    }));
    let result = run();
    std::panic::set_hook(hook);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn files_are_looked_at_every_minute_and_at_sighup() {
        let began = Instant::now();
        let mut reloads = Reloads::listen().unwrap();
        assert_eq!(reloads.next().await, Cause::Time);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
        // The signal comes when the system likes, and does not move the clock's turn.
        while reloads.next().await != Cause::Hangup {}
        assert_eq!((reloads.next().await, began.elapsed().as_secs() % 60), (Cause::Time, 0));
    }
}
