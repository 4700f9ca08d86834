//! What systemd is told of this process, if it wants to know (`Type=notify`, `sd_notify(3)`): that it serves, that it reads
//! its files again, that it ends, and, as long as the runtime runs its tasks, that it is not stuck.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// The reading of files that is under way, which several parts may have a share in.
static RELOADING: Mutex<Weak<Reloading>> = Mutex::new(Weak::new());

/// The gateway listens.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The gateway ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says often enough that the process is not stuck, if systemd wants to know (`WatchdogSec=`).
pub(crate) async fn keep_watchdog_quiet() -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else {
        return std::future::pending().await;
    };
    // As sd_watchdog_enabled(3) advises.
    let mut interval = interval(patience / 2);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// Files are read again as long as this is there, or another one that began meanwhile.
#[derive(Debug)]
pub(super) struct Reloading(());

impl Reloading {
    pub(super) fn begin() -> Arc<Self> {
        let mut last = RELOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = last.upgrade() {
            return under_way;
        }
        // The time has systemd know for which of its requests this is.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "cannot read the clock; systemd is not told that files are read again"),
        }
        let begun = Arc::new(Self(()));
        *last = Arc::downgrade(&begun);
        begun
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        tell(&[NotifyState::Ready]);
    }
}

/// Does nothing where systemd does not want to know.
fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell systemd how this process is (NOTIFY_SOCKET)");
    }
}
