//! The process as the operating system sees it, under the names that every Prometheus client has for it.
//!
//! Read from `/proc` at each look.

use std::time::Duration;

use procfs::process::{LimitValue, Process};
use prometheus_client::{
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// Adds what can be read.
pub(super) fn register(registry: &mut Registry) {
    // A system that hides /proc is no reason to give no metrics at all.
    if let Ok(seen) = Seen::now() {
        seen.register(registry.sub_registry_with_prefix("process"));
    }
}

/// What `/proc` says.
struct Seen {
    cpu_seconds: f64,
    start_seconds: f64,
    resident_bytes: u64,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Seen {
    fn now() -> procfs::ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let max_fds = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most),
            LimitValue::Unlimited => None,
        });
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            start_seconds: seconds(procfs::boot_time_secs()? * procfs::ticks_per_second() + stat.starttime),
            resident_bytes: stat.rss * procfs::page_size(),
            open_fds: process.fd_count().ok().map(|count| count as u64),
            max_fds,
        })
    }

    fn register(self, registry: &mut Registry) {
        let cpu = "Time of all threads on a processor, in seconds";
        registry.register("cpu_seconds", cpu, ConstCounter::new(self.cpu_seconds));
        let start = "When the process started, in seconds since 1970";
        registry.register("start_time_seconds", start, ConstGauge::new(self.start_seconds));
        registry.register("resident_memory_bytes", "Memory in use", ConstGauge::new(self.resident_bytes));
        if let Some(open) = self.open_fds {
            registry.register("open_fds", "Open file descriptors", ConstGauge::new(open));
        }
        if let Some(most) = self.max_fds {
            registry.register("max_fds", "Most open file descriptors", ConstGauge::new(most));
        }
    }
}

fn seconds(ticks: u64) -> f64 {
    Duration::from_millis(ticks * 1000 / procfs::ticks_per_second()).as_secs_f64()
}
