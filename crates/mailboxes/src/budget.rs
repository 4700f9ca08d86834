//! How many bytes the windows hold.
//!
//! AMQP bounds a window by messages, not by bytes, so all windows together are bounded by leases × window × largest
//! event. Near the limit new Leases get a smaller window; that slows their readers down and loses nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use prometheus_client::metrics::gauge::Gauge;

/// The bytes that all windows of this process take.
#[derive(Debug)]
pub(super) struct WindowBudget {
    used: AtomicUsize,
    limit: usize,
    /// What is used, for Prometheus.
    shown: Gauge,
}

impl WindowBudget {
    pub(super) fn new(limit: usize, shown: Gauge) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, shown })
    }

    /// Returns the window of a new Lease: the usual one, an eighth of it above 3/4 of the limit, one message above it.
    pub(super) fn window(&self, usual: u16) -> u16 {
        let used = self.used.load(Ordering::Relaxed);
        if used > self.limit {
            1
        } else if used > self.limit / 4 * 3 {
            (usual / 8).max(1)
        } else {
            usual
        }
    }

    pub(super) fn share(self: &Arc<Self>) -> WindowBytes {
        WindowBytes { budget: Arc::clone(self), held: 0 }
    }
}

/// The bytes that one window holds; given back when dropped.
#[derive(Debug)]
pub(super) struct WindowBytes {
    budget: Arc<WindowBudget>,
    held: usize,
}

impl WindowBytes {
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes == self.held {
            return;
        }
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        let before = self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
        self.budget.shown.set(i64::try_from(before - self.held).unwrap_or(i64::MAX));
        self.held = bytes;
    }
}

impl Drop for WindowBytes {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_as_memory_fills_and_grow_back() {
        let budget = WindowBudget::new(1000, Gauge::default());
        let mut bytes = budget.share();
        assert_eq!(budget.window(64), 64);
        bytes.set(800);
        assert_eq!((budget.window(64), budget.window(4)), (8, 1));
        let mut other = budget.share();
        other.set(300);
        assert_eq!(budget.window(64), 1);
        drop(bytes);
        assert_eq!(budget.window(64), 64);
    }
}
