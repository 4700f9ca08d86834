//! A server under load: the gateway, or nginx with nchan.

use std::net::SocketAddr;

use postern_tests::{Gateway, Load, LoadBuilder, cpu_seconds, resident_bytes};

use super::{nchan::Nchan, options::Options};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With its broker in memory, because nchan's is.
    Gateway,
    /// With a broker that syncs each event before it confirms it.
    Durable,
    /// nginx with nchan.
    Nchan,
}

/// A running server, ended when it is dropped.
#[derive(Debug)]
pub(crate) enum Server {
    /// The gateway.
    Gateway(Box<Gateway>),
    /// nginx with nchan.
    Nchan(Nchan),
}

impl Kind {
    /// Returns a name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Durable => "gateway, durable",
            Self::Nchan => "nchan",
        }
    }
}

impl Server {
    /// Starts one.
    pub(crate) async fn start(kind: Kind, options: &Options) -> anyhow::Result<Self> {
        Ok(match kind {
            Kind::Gateway | Kind::Durable => {
                let mut builder = Gateway::builder().flag("--max-connections", "15000");
                builder = if kind == Kind::Durable { builder.embedded() } else { builder.switch("--memory") };
                if let Some(threads) = options.threads {
                    builder = builder.flag("--threads", threads.to_string());
                }
                let gateway = builder.start().await;
                gateway.wait_ready().await;
                Self::Gateway(Box::new(gateway))
            }
            Kind::Nchan => Self::Nchan(Nchan::start(options.nginx_workers).await?),
        })
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
            Self::Gateway(gateway) => gateway.address(),
            Self::Nchan(nchan) => nchan.address(),
        }
    }

    /// Returns the CPU seconds that it has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.processes().into_iter().filter_map(cpu_seconds).sum()
    }

    /// Returns its resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> f64 {
        self.processes().into_iter().filter_map(resident_bytes).sum()
    }

    fn processes(&self) -> Vec<u32> {
        match self {
            Self::Gateway(gateway) => vec![gateway.process().id()],
            Self::Nchan(nchan) => nchan.workers(),
        }
    }
}
