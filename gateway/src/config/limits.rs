//! Flags of what one client may use.

use std::time::Duration;

use access::Rate;
use clap::Args;
use settings::{Setting, whole_number};

use crate::http::{LimitOptions, PublishRate, TrustedProxies, TrustedProxy};

/// Beyond this a number is a slip.
const MAX: u32 = 1_000_000_000;

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

#[allow(clippy::doc_markdown, reason = "these are the texts of --help, which is not Markdown")]
/// See the module.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of one client")]
pub(super) struct LimitArgs {
    /// A proxy in front, by its address or network, e.g. 10.0.0.0/8; unix for those at a socket file. What it says in
    /// X-Forwarded-For counts as where a request comes from. Without it a proxy on another machine is one client.
    /// Repeatable, or separated by commas
    #[arg(long, env = "POSTERN_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',',
          value_parser = Setting(str::parse::<TrustedProxy>))]
    trusted_proxy: Vec<TrustedProxy>,

    /// Maximum of connections from one address (IPv6: one /64); beyond it polls get 503 and everything else is served. No
    /// limit for this machine and trusted proxies. 0 is no limit, here and below
    #[arg(long, env = "POSTERN_MAX_CONNECTIONS_PER_PEER", value_name = "N", default_value_t = 256,
          value_parser = Setting(whole_number(0..=MAX)))]
    max_connections_per_peer: u32,

    /// Maximum of polls and streams that are held for the "sub" of a token; more get 429, and streams are told to come
    /// back
    #[arg(long, env = "POSTERN_MAX_POLLS_PER_TOKEN", value_name = "N", default_value_t = 64,
          value_parser = Setting(whole_number(0..=MAX)))]
    max_polls_per_token: u32,

    /// The same for one address without a token
    #[arg(long, env = "POSTERN_MAX_POLLS_PER_PEER", value_name = "N", default_value_t = 256,
          value_parser = Setting(whole_number(0..=MAX)))]
    max_polls_per_peer: u32,

    /// How many events a second may be published by the "sub" of a token, or by one address without a token; more get 429.
    /// A token may have a rate of its own
    #[arg(long, env = "POSTERN_PUBLISH_RATE", value_name = "N", default_value_t = 50,
          value_parser = Setting(whole_number(0..=MAX)))]
    publish_rate: u32,

    /// How many events may be published at once after a pause
    #[arg(long, env = "POSTERN_PUBLISH_BURST", value_name = "N", default_value_t = 200,
          value_parser = Setting(whole_number(1..=MAX)))]
    publish_burst: u32,

    /// How many mailboxes an hour may be made; more get 429
    #[arg(long, env = "POSTERN_MAILBOX_RATE", value_name = "N", default_value_t = 60,
          value_parser = Setting(whole_number(0..=MAX)))]
    mailbox_rate: u32,

    /// How many mailboxes may be made at once after a pause
    #[arg(long, env = "POSTERN_MAILBOX_BURST", value_name = "N", default_value_t = 32,
          value_parser = Setting(whole_number(1..=MAX)))]
    mailbox_burst: u32,

    /// How many requests for mailboxes may be refused a minute, or find none; then all of them get 429
    #[arg(long, env = "POSTERN_FAILURE_RATE", value_name = "N", default_value_t = 30,
          value_parser = Setting(whole_number(0..=MAX)))]
    failure_rate: u32,

    /// Maximum of requests at once on one connection of HTTP/2; clients wait with more, or open another one
    #[arg(long, env = "POSTERN_MAX_STREAMS", value_name = "N", default_value_t = 100,
          value_parser = Setting(whole_number(0..=MAX)))]
    max_streams: u32,
}

impl LimitArgs {
    /// Returns the most streams of a connection of HTTP/2.
    pub(super) fn max_streams(&self) -> Option<u32> {
        Some(self.max_streams).filter(|most| *most > 0)
    }

    /// Returns them for the part that keeps them.
    pub(super) fn options(self) -> LimitOptions {
        let most = |number: u32| Some(number as usize).filter(|most| *most > 0);
        let rate = |count, period, burst| (count > 0).then(|| Rate::new(count, period, burst));
        LimitOptions {
            trusted_proxies: TrustedProxies::new(self.trusted_proxy),
            connections: most(self.max_connections_per_peer),
            polls_of_subject: most(self.max_polls_per_token),
            polls_of_peer: most(self.max_polls_per_peer),
            publishes: (self.publish_rate > 0)
                .then_some(PublishRate { per_second: self.publish_rate, burst: self.publish_burst }),
            mailboxes: rate(self.mailbox_rate, HOUR, self.mailbox_burst),
            failures: rate(self.failure_rate, MINUTE, self.failure_rate),
        }
    }
}
