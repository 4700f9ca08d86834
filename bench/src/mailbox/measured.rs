//! What one round gave.

use super::{options::Options, reader::Reading};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// HTTP clients through the gateway.
    Gateway,
    /// AMQP consumers without it.
    Bare,
}

impl Side {
    /// Both, in the order in which they take turns.
    pub(crate) const BOTH: [Self; 2] = [Self::Gateway, Self::Bare];

    /// Returns a name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Bare => "bare consumer",
        }
    }
}

/// How the load comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Regime {
    /// As fast as it is confirmed.
    Throughput {
        /// For each client.
        events: u32,
    },
    /// Evenly.
    Latency {
        /// For each client.
        events: u32,
        /// Per second, over all clients.
        rate: u32,
    },
}

impl Regime {
    /// Returns the throughput regime that is asked for.
    pub(crate) const fn throughput(options: &Options) -> Self {
        Self::Throughput { events: options.events }
    }

    /// Returns the latency regime that is asked for.
    pub(crate) const fn latency(options: &Options) -> Self {
        let events = options.rate.saturating_mul(options.seconds).div_ceil(options.clients);
        Self::Latency { events, rate: options.rate }
    }

    /// Returns a name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Throughput { .. } => "throughput",
            Self::Latency { .. } => "latency",
        }
    }
}

/// CPU seconds of each process; `None` where it cannot be seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// The gateway.
    pub(crate) gateway: Option<f64>,
    /// The broker.
    pub(crate) broker: Option<f64>,
    /// The publisher and the readers: this process.
    pub(crate) bench: Option<f64>,
}

/// What one round gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Who read.
    pub(crate) side: Side,
    /// What.
    pub(crate) regime: Regime,
    /// Events that readers had, by the time from the first publish to the last arrival.
    pub(crate) deliveries_per_second: f64,
    /// Milliseconds from publish to arrival.
    pub(crate) p50_ms: f64,
    /// The same, of the slowest hundredth.
    pub(crate) p99_ms: f64,
    /// How many events came at once.
    pub(crate) events_per_burst: f64,
    /// CPU time.
    pub(crate) cpu_seconds: Cpu,
}

impl Round {
    /// Returns one line for people.
    pub(crate) fn summary(&self) -> String {
        format!("{:.0}/s, p50 {:.2} ms, p99 {:.2} ms", self.deliveries_per_second, self.p50_ms, self.p99_ms)
    }
}

impl Cpu {
    pub(super) fn since(self, before: Self) -> Self {
        let difference = |now: Option<f64>, before: Option<f64>| Some(now? - before?);
        Self {
            gateway: difference(self.gateway, before.gateway),
            broker: difference(self.broker, before.broker),
            bench: difference(self.bench, before.bench),
        }
    }
}

impl Round {
    #[expect(clippy::cast_precision_loss, reason = "counts and microseconds of one round are far below 2⁵²")]
    /// Sums up what the readers got.
    pub(super) fn of(side: Side, regime: Regime, started: u64, readings: &[Reading], cpu_seconds: Cpu) -> Self {
        let finished = readings.iter().map(|reading| reading.finished).max().unwrap_or(started);
        let bursts: usize = readings.iter().map(|reading| reading.bursts).sum();
        let mut latencies: Vec<u64> = readings.iter().flat_map(|reading| &reading.latencies).copied().collect();
        latencies.sort_unstable();
        let quantile = |hundredths: usize| {
            let at = (latencies.len() * hundredths / 100).min(latencies.len().saturating_sub(1));
            latencies.get(at).copied().unwrap_or_default() as f64 / 1e3
        };
        Self {
            side,
            regime,
            deliveries_per_second: latencies.len() as f64 * 1e6 / (finished - started) as f64,
            p50_ms: quantile(50),
            p99_ms: quantile(99),
            events_per_burst: latencies.len() as f64 / bursts as f64,
            cpu_seconds,
        }
    }
}
