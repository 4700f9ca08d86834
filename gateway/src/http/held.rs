//! The places of polls that are held.

use access::Place as SenderPlace;
use prometheus_client::metrics::gauge::Gauge;

/// Counts a poll as held until it is dropped, however that happens.
pub(super) struct HeldPollGuard {
    held: Gauge,
    /// Among those of its sender, if these are counted.
    _of_sender: Option<SenderPlace>,
}

impl HeldPollGuard {
    /// Counts one more, unless there are so many.
    pub(super) fn new(held: &Gauge, most: usize, of_sender: Option<SenderPlace>) -> Option<Self> {
        let held = Self { held: held.clone(), _of_sender: of_sender };
        (held.held.inc() < i64::try_from(most).unwrap_or(i64::MAX)).then_some(held)
    }
}

impl Drop for HeldPollGuard {
    fn drop(&mut self) {
        self.held.dec();
    }
}
