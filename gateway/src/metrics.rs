//! What Prometheus reads: the registry of everything that is counted, and its text.
//!
//! Each part of the gateway counts in a `metrics` module of its own and registers that here, once, at the start. Labels
//! are bounded sets of words, or what the configuration names; no client id and no topic is ever one. Every word of a small set is there from the start,
//! so that the first occurrence is an increase; only histograms come with their first value.

// Elsewhere there is no /proc, and the process is not measured.
#[cfg(target_os = "linux")]
mod process;
mod text;

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::info::Info,
    registry::Registry,
};

pub use self::text::TextFormat;

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    postern: Registry,
    /// Under the names that every Prometheus client has for a process.
    process: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut postern = Registry::with_prefix("postern");
        postern.register("build", "The version of the gateway", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "the process is not measured here"))]
        let mut process = Registry::with_prefix("process");
        #[cfg(target_os = "linux")]
        process.register_collector(Box::new(process::Process));
        Self { postern, process }
    }
}

impl Metrics {
    /// Returns where a part of the gateway registers what it counts: all of these names begin with `postern_`.
    pub const fn postern(&mut self) -> &mut Registry {
        &mut self.postern
    }

    /// Returns everything as text.
    #[must_use]
    pub fn encode(&self, format: TextFormat) -> String {
        let mut open_metrics = String::new();
        // Writing to a string cannot fail.
        let _ = encode_registry(&mut open_metrics, &self.postern)
            .and_then(|()| encode_registry(&mut open_metrics, &self.process))
            .and_then(|()| encode_eof(&mut open_metrics));
        match format {
            TextFormat::OpenMetrics => open_metrics,
            TextFormat::Classic => text::classic(&open_metrics),
        }
    }
}
