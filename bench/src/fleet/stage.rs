//! What all rounds share: a broker, three gateways and two proxies.

use postern_tests::{Gateway, PipelinedPublisher, Proxy, RabbitNode, Spread, cpu_seconds};

use super::options::Options;

const GATEWAYS: usize = 3;

/// See the module.
pub(crate) struct Stage {
    /// Publishes.
    pub(crate) publisher: PipelinedPublisher,
    // In the order in which they end.
    by_client: Proxy,
    round_robin: Proxy,
    gateways: Vec<Gateway>,
    /// The broker, if it is a private one.
    node: Option<RabbitNode>,
}

impl Stage {
    /// Starts everything.
    pub(crate) async fn set_up(options: &Options) -> anyhow::Result<Self> {
        let (node, url) = RabbitNode::unless_at(options.amqp_url.as_ref()).await;
        let mut gateways = Vec::new();
        for _ in 0..GATEWAYS {
            gateways.push(Gateway::builder().amqp_url(&url).start().await);
        }
        for gateway in &gateways {
            gateway.wait_ready().await;
        }
        let addresses: Vec<_> = gateways.iter().map(Gateway::address).collect();
        let program = options.proxy.program();
        let by_client = Proxy::of_fleet(program, &addresses, Spread::ByClient).await;
        let round_robin = Proxy::of_fleet(program, &addresses, Spread::RoundRobin).await;
        let publisher = PipelinedPublisher::connect(&url.parse()?).await?;
        Ok(Self { publisher, by_client, round_robin, gateways, node })
    }

    /// Returns the proxy that spreads requests in this way.
    pub(crate) const fn proxy(&self, spread: Spread) -> &Proxy {
        match spread {
            Spread::ByClient => &self.by_client,
            Spread::RoundRobin => &self.round_robin,
        }
    }

    /// Returns the CPU seconds that were used so far.
    pub(crate) fn cpu(&self, spread: Spread) -> Cpu {
        let gateways = self.gateways.iter().map(|gateway| cpu_seconds(gateway.process().id()));
        Cpu {
            gateways: gateways.sum(),
            broker: self.node.as_ref().and_then(|node| cpu_seconds(node.process().id())),
            proxy: cpu_seconds(self.proxy(spread).process().id()),
        }
    }
}

/// CPU seconds of processes; `None` where they cannot be seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// All gateways together.
    pub(crate) gateways: Option<f64>,
    /// RabbitMQ.
    pub(crate) broker: Option<f64>,
    /// The proxy.
    pub(crate) proxy: Option<f64>,
}

impl Cpu {
    /// Returns what was used since then.
    pub(crate) fn since(self, before: Self) -> Self {
        let difference = |now: Option<f64>, before: Option<f64>| Some(now? - before?);
        Self {
            gateways: difference(self.gateways, before.gateways),
            broker: difference(self.broker, before.broker),
            proxy: difference(self.proxy, before.proxy),
        }
    }
}
