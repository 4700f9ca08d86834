//! Wakes the event loop at a time, exact to some 50 µs: the loop's own time-out counts in milliseconds.

use std::{io, os::fd::AsRawFd, os::fd::OwnedFd};

use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::clock::SECOND;

/// See the module.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: OwnedFd,
    set: u64,
}

impl Alarm {
    /// Makes one that is not set.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, set: u64::MAX })
    }

    /// Sets it to a time, in place of the one before.
    pub(crate) fn set(&mut self, at: u64) -> io::Result<()> {
        if at == self.set {
            return Ok(());
        }
        self.set = at;
        let part = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let at = Timespec { tv_sec: part(at / SECOND), tv_nsec: part(at % SECOND) };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // The loop is edge-triggered: each expiry is an edge, so the counter need not be read.
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval: never, it_value: at })?;
        Ok(())
    }
}
