//! Where clients roam, and what happens to it.

use std::time::Duration;

use postern_tests::{
    Gateway, GatewayBuilder,
    history::Promises,
    roaming::{Habit, Plan, Roaming},
    shared_node,
};
use tokio::time::Instant;

/// How long each gateway keeps a mailbox for its client: no two as long, and none so long that much would be lost if it
/// was never asked for it.
pub(super) const SHORT: [&str; 3] = ["700ms", "1500ms", "300ms"];

/// The same where a client that moves waits for most of the test unless gateways ask each other.
pub(super) const LONG: [&str; 3] = ["20s", "1m", "15s"];

/// The windows of the gateways: no two are equal.
const WINDOWS: [usize; 3] = [8, 5, 16];

/// So many bytes that retention takes nothing from who roams for hours.
pub(super) const EVERYTHING: &str = "100000000000";

/// How long the gateways are left in peace between two faults.
const PEACE: Duration = Duration::from_secs(2);

/// After two to three times as long, RabbitMQ gives up a gateway that is silent.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long a gateway is frozen: until it was given up, surely, and the others went on without it.
const FROZEN: Duration = HEARTBEAT.saturating_mul(4);

/// How long a gateway may take to be ready again: it reads the feed first, while all clients are at the others.
const BACK: Duration = Duration::from_mins(5);

/// What can happen to the gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// One is killed and started again.
    Kill,
    /// One is asked to end, and started again. That is none: nothing may be lost by it.
    Restart,
    /// One stands still until the broker has given it up, and then goes on.
    Freeze,
    /// All lose their connections to RabbitMQ.
    CutOff,
}

impl Fault {
    pub(super) const ALL: &[Self] = &[Self::Kill, Self::Restart, Self::Freeze, Self::CutOff];

    /// Where the broker is a part of the gateway.
    pub(super) const OF_EMBEDDED: &[Self] = &[Self::Kill, Self::Kill, Self::Restart];

    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL of a gateway",
            Self::Restart => "SIGTERM of a gateway",
            Self::Freeze => "SIGSTOP of a gateway",
            Self::CutOff => "close of all connections to RabbitMQ",
        }
    }
}

/// Gateways on a virtual host of their own, or one with an embedded broker.
pub(super) struct Place {
    pub(super) gateways: Vec<Gateway>,
    amqp_url: Option<String>,
}

impl Place {
    pub(super) async fn on_rabbitmq(lingers: &[&str]) -> Self {
        Self::on(&shared_node().await.vhost("roam").await, lingers).await
    }

    pub(super) async fn on(url: &str, lingers: &[&str]) -> Self {
        let mut gateways = Vec::new();
        let url = format!("{url}?heartbeat={}", HEARTBEAT.as_secs());
        for (linger, window) in lingers.iter().zip(WINDOWS) {
            let builder = Gateway::builder().amqp_url(&url).with_feed().flag("--linger", linger);
            let builder = builder.flag("--retention-bytes", EVERYTHING);
            gateways.push(builder.flag("--window", window.to_string()).start().await);
        }
        Self { gateways, amqp_url: Some(url) }.ready().await
    }

    pub(super) async fn embedded(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let builder = Gateway::builder().embedded().flag("--linger", SHORT[0]);
        let builder = flags(builder.flag("--window", WINDOWS[0].to_string()));
        Self { gateways: vec![builder.start().await], amqp_url: None }.ready().await
    }

    async fn ready(self) -> Self {
        for gateway in &self.gateways {
            gateway.wait_ready().await;
        }
        self
    }

    /// Describes what most tests start.
    pub(super) fn plan(&self) -> Plan {
        let windows = WINDOWS.iter().take(self.gateways.len());
        Plan {
            gateways: self.gateways.iter().map(Gateway::address).collect(),
            amqp_url: self.amqp_url.clone(),
            feeds: true,
            retention: false,
            clients: 24,
            measuring: 0,
            shared: 2,
            drops: false,
            habit: Habit::Anything,
            promises: Promises { tokens_hold: true, window: windows.copied().min().unwrap_or(1) },
            seed: 0,
        }
    }

    /// Lets one thing happen after the other, and all of them at least once, for as long as all is well.
    pub(super) async fn disturb(&mut self, roaming: &Roaming, time: Duration, faults: &[Fault]) {
        let end = Instant::now() + time;
        let mut round = 0;
        while (Instant::now() < end || round < faults.len()) && roaming.goes_on_for(PEACE).await {
            let fault = faults[round % faults.len()];
            // In time, each thing happens to each gateway.
            let gateway = round % self.gateways.len();
            self.let_happen(fault, gateway, roaming).await;
            round += 1;
        }
        roaming.goes_on_for(PEACE).await;
    }

    async fn let_happen(&mut self, fault: Fault, gateway: usize, roaming: &Roaming) {
        let name = fault.name();
        let gateway = &mut self.gateways[gateway];
        if fault == Fault::Restart {
            roaming.changes(name);
            gateway.restart().await;
            return gateway.wait_answer("/ready", 200, BACK).await;
        }
        roaming.breaks(name);
        match fault {
            Fault::Kill | Fault::Restart => {
                gateway.kill9();
                roaming.mended(name);
                gateway.start_again().await;
            }
            Fault::Freeze => {
                gateway.process().freeze();
                // What others confirm meanwhile holds, also when it goes on.
                roaming.mended(name);
                roaming.goes_on_for(FROZEN).await;
                gateway.process().thaw();
            }
            Fault::CutOff => {
                let url = self.amqp_url.as_ref().and_then(|url| url.split('?').next()?.rsplit('/').next());
                let vhost = url.expect("the URL names a virtual host");
                let close = ["close_all_connections", "--vhost", vhost, "a test"];
                shared_node().await.rabbitmqctl(&close).await;
                gateway.wait_answer("/ready", 200, BACK).await;
                roaming.mended(name);
            }
        }
        gateway.wait_answer("/ready", 200, BACK).await;
    }
}
