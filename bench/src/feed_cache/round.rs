//! One way in one round: a gateway, perhaps a cache before it, and clients.
//!
//! Polls are those that the gateway has answered; requests of clients are those that the cache has counted.

use std::time::Duration;

use postern_tests::{Folder, Gateway, Load, Proxy, ProxyProgram, Request, cpu_seconds, eventually};
use tokio::time::sleep;

use crate::server::target;

const PATIENCE: Duration = Duration::from_mins(5);

/// How long the polls are held before events come.
const SETTLING: Duration = Duration::from_secs(3);

/// How many clients come in a second.
const ARRIVALS: u32 = 1_000;

/// How many connections the gateway takes: nearly all that a process may have open here.
const CONNECTIONS: &str = "19500";

/// Of which share of `wait` a slot lasts, at whose end the polls of all clients are answered.
const SLOT: f64 = 0.9;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) cache: Option<ProxyProgram>,
    pub(super) clients: u32,
    pub(super) events: u32,
    /// Events a second, on average.
    pub(super) rate: u32,
    /// For how long polls wait, in seconds.
    pub(super) wait: u32,
    /// For how many deadlines to wait in the end.
    pub(super) deadlines: u32,
}

/// What it came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) lost: f64,
    pub(super) repeated: f64,
    pub(super) out_of_order: f64,
    pub(super) errors: f64,
    /// Of the gateway, for each event.
    pub(super) cpu_micros: f64,
    /// Polls at the gateway, for each event.
    pub(super) polls: f64,
    pub(super) p50_millis: f64,
    pub(super) p99_millis: f64,
    /// CPU of gateway, cache and clients for each event that a client got.
    pub(super) delivery_micros: f64,
    /// How many cores that would be if events came to all clients as fast as they are published.
    pub(super) cores: f64,
    /// Polls at the gateway for each quiet deadline; no number if none was waited for.
    pub(super) quiet_polls: f64,
    /// Requests at the cache for each client and quiet deadline.
    pub(super) quiet_requests: f64,
}

impl Round {
    /// Starts everything, and measures it.
    pub(super) async fn measure(self) -> anyhow::Result<Measured> {
        let mut builder = Gateway::builder().switch("--memory").flag("--max-connections", CONNECTIONS);
        if self.cache.is_some() {
            builder = builder.flag("--feed-cache", "60s");
        }
        let gateway = builder.start().await;
        gateway.wait_ready().await;
        let cache = match self.cache {
            Some(program) => Some(Proxy::start_cache(program, &[gateway.address()]).await),
            None => None,
        };
        let address = cache.as_ref().map_or(gateway.address(), Proxy::address);
        let folder = Folder::new("feed-cache");
        let described = folder.write("target.toml", &target(self.wait));
        let mut load = Load::of(address, "stock").flag("--target", &described.to_string_lossy());
        for (flag, value) in [
            ("--clients", self.clients.to_string()),
            ("--ramp", format!("{}s", self.clients.div_ceil(ARRIVALS))),
            ("--events", self.events.to_string()),
            ("--rate", format!("{}/s", self.rate)),
            // Backends are not behind the cache of the readers.
            ("--publish-address", gateway.address().to_string()),
            ("--drain", "4m".to_owned()),
            ("--listen", "1h".to_owned()),
        ] {
            load = load.flag(flag, &value);
        }
        let mut load = load.switch("--random-gaps").publishing_at_times().start();
        load.wait_said("waiting", PATIENCE).await;
        sleep(SETTLING).await;
        let of_gateway = || cpu_seconds(gateway.process().id()).unwrap_or_default();
        let of_cache = || cache.as_ref().map_or(0.0, Proxy::cpu_seconds);
        let (client, polls_before) = (load.process().id(), polls(&gateway).await);
        let of_others = || of_cache() + cpu_seconds(client).unwrap_or_default();
        let (before, others_before) = (of_gateway(), of_others());
        load.go();
        load.wait_said("received", PATIENCE).await;
        let (cpu, others) = (of_gateway() - before, of_others() - others_before);
        let polls = polls(&gateway).await - polls_before;
        let (quiet_polls, quiet_requests) = match &cache {
            Some(cache) if self.deadlines > 0 => self.quiet(&gateway, cache).await,
            _ => (f64::NAN, f64::NAN),
        };
        let report = load.stop(PATIENCE).await;
        let (events, deliveries) = (f64::from(self.events), float(report.deliveries));
        Ok(Measured {
            lost: float(report.lost),
            repeated: float(report.repeated),
            out_of_order: float(report.out_of_order),
            errors: float(report.errors),
            cpu_micros: cpu * 1e6 / events,
            polls: polls / events,
            p50_millis: report.latency_p50_ms,
            p99_millis: report.latency_p99_ms,
            delivery_micros: (cpu + others) * 1e6 / deliveries,
            cores: (cpu + others) / deliveries * f64::from(self.rate) * f64::from(self.clients),
            quiet_polls,
            quiet_requests,
        })
    }

    /// Waits for the deadlines; returns the polls at the gateway for each of them, and the requests of each client.
    async fn quiet(self, gateway: &Gateway, cache: &Proxy) -> (f64, f64) {
        let slot = Duration::from_secs(self.wait.into()).mul_f64(SLOT);
        let before = polls(gateway).await;
        eventually(2 * slot, "the first deadline", async || {
            if polls(gateway).await > before { Ok(()) } else { Err("no poll was answered") }
        })
        .await;
        // From the middle of a slot to that of another one.
        sleep(slot / 2).await;
        let (polls_before, requests_before) = (polls(gateway).await, cache.requests().await);
        sleep(slot * self.deadlines).await;
        let (polls, requests) = (polls(gateway).await - polls_before, cache.requests().await - requests_before);
        let deadlines = f64::from(self.deadlines);
        (polls / deadlines, float(requests) / deadlines / f64::from(self.clients))
    }
}

/// Returns how many polls the gateway has answered.
async fn polls(gateway: &Gateway) -> f64 {
    let metrics = Request::get("/metrics").send(gateway.address()).await.text();
    let of = |line: &str| line.strip_prefix("postern_polls_total{")?.split_once("} ")?.1.parse::<f64>().ok();
    metrics.lines().filter_map(of).sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2⁵²")]
const fn float(count: u64) -> f64 {
    count as f64
}
