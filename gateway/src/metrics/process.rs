//! The process as the operating system sees it, under the names that every Prometheus client has for it.
//!
//! Read from `/proc` each time that the metrics are read.

use std::{fmt, time::Duration};

use procfs::process::LimitValue;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A system that hides /proc is no reason to give no metrics at all.
        Usage::read().map_or(Ok(()), |usage| usage.encode(encoder))
    }
}

/// What `/proc` says.
struct Usage {
    cpu_seconds: f64,
    start_seconds: f64,
    resident_bytes: u64,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Usage {
    fn read() -> procfs::ProcResult<Self> {
        let process = procfs::process::Process::myself()?;
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

    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut add = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        add("cpu_seconds", "Time of all threads on a processor, in seconds.", &ConstCounter::new(self.cpu_seconds))?;
        add(
            "start_time_seconds",
            "When the process started, in seconds since 1970.",
            &ConstGauge::new(self.start_seconds),
        )?;
        add("resident_memory_bytes", "Memory in use.", &ConstGauge::new(self.resident_bytes))?;
        if let Some(open) = self.open_fds {
            add("open_fds", "Open file descriptors.", &ConstGauge::new(open))?;
        }
        if let Some(max) = self.max_fds {
            add("max_fds", "Most open file descriptors.", &ConstGauge::new(max))?;
        }
        Ok(())
    }
}

fn seconds(ticks: u64) -> f64 {
    Duration::from_millis(ticks * 1000 / procfs::ticks_per_second()).as_secs_f64()
}
