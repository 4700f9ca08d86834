//! A server under load: the gateway, or nginx with nchan.

use std::net::SocketAddr;

use clap::Args;
use postern_tests::{Gateway, Load, LoadBuilder, RabbitNode, Request, cpu_seconds, resident_bytes};

use crate::nchan::Nchan;

/// How many connections the gateway takes, and mailboxes: nearly all that a process may have open here.
const CONNECTIONS: &str = "19500";

/// How the servers are started.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerOptions {
    /// How many workers nginx has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    nginx_workers: u32,

    /// How many threads the gateway has; its own choice without this
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With its broker in memory, because nchan's is.
    Gateway,
    /// With a broker that syncs each event before it confirms it.
    Durable,
    /// On a RabbitMQ of its own.
    RabbitMq,
    /// nginx with nchan.
    Nchan,
}

/// A running server, ended when it is dropped.
#[derive(Debug)]
pub(crate) enum Server {
    /// The gateway, and its RabbitMQ.
    Gateway(Box<(Gateway, Option<RabbitNode>)>),
    /// nginx with nchan.
    Nchan(Nchan),
}

/// Returns what a gauge of a gateway shows.
pub(crate) async fn gauge(gateway: &Gateway, name: &str) -> Option<usize> {
    let metrics = Request::get("/metrics").send(gateway.address()).await.text();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Describes Postern to the load tool as it does by itself, with polls that ask to wait for so many seconds.
pub(crate) fn target(wait: u32) -> String {
    const USUAL: &str = "wait=25";
    let described = include_str!("../../load/targets/postern.toml");
    assert!(described.contains(USUAL), "no {USUAL} in {described}");
    described.replace(USUAL, &format!("wait={wait}"))
}

impl Kind {
    /// Returns a name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Durable => "gateway, durable",
            Self::RabbitMq => "gateway on RabbitMQ",
            Self::Nchan => "nchan",
        }
    }
}

impl Server {
    /// Starts one.
    pub(crate) async fn start(kind: Kind, options: &ServerOptions) -> anyhow::Result<Self> {
        let builder = Gateway::builder().flag("--max-connections", CONNECTIONS).flag("--max-mailboxes", CONNECTIONS);
        let mut node = None;
        let mut builder = match kind {
            Kind::Nchan => return Ok(Self::Nchan(Nchan::start(options.nginx_workers).await?)),
            Kind::Gateway => builder.switch("--memory"),
            Kind::Durable => builder.embedded(),
            Kind::RabbitMq => builder.amqp_url(&node.insert(RabbitNode::start().await).url()),
        };
        if let Some(threads) = options.threads {
            builder = builder.flag("--threads", threads.to_string());
        }
        let gateway = builder.start().await;
        gateway.wait_ready().await;
        Ok(Self::Gateway(Box::new((gateway, node))))
    }

    /// Describes a load client whose clients watch this topic, `{}` standing for the number of one.
    pub(crate) fn load(&self, topic: &str) -> LoadBuilder {
        let load = Load::of(self.address(), topic);
        match self {
            Self::Gateway(_) => load,
            Self::Nchan(_) => load.flag("--target", "nchan"),
        }
    }

    /// Returns where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        match self {
            Self::Gateway(server) => server.0.address(),
            Self::Nchan(nchan) => nchan.address(),
        }
    }

    /// Returns how many polls a gateway says that it holds; other servers do not say it.
    pub(crate) async fn held_polls(&self) -> Option<usize> {
        let Self::Gateway(server) = self else { return None };
        gauge(&server.0, "postern_polls_held").await
    }

    /// Returns the CPU seconds that it has used, without its RabbitMQ.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.processes().into_iter().filter_map(cpu_seconds).sum()
    }

    /// Returns its resident memory in bytes, without its RabbitMQ's.
    pub(crate) fn resident_bytes(&self) -> f64 {
        self.processes().into_iter().filter_map(resident_bytes).sum()
    }

    /// Returns the resident memory of its RabbitMQ in bytes; 0 without one.
    pub(crate) fn resident_bytes_of_broker(&self) -> f64 {
        match self {
            Self::Gateway(server) => {
                server.1.as_ref().and_then(|node| resident_bytes(node.process().id())).unwrap_or(0.0)
            }
            Self::Nchan(_) => 0.0,
        }
    }

    fn processes(&self) -> Vec<u32> {
        match self {
            Self::Gateway(server) => vec![server.0.process().id()],
            Self::Nchan(nchan) => nchan.workers(),
        }
    }
}
