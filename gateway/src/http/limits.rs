//! What one sender of requests may use of what is there for all.
//!
//! A sender is known by the subject of its token; one without a token by where it comes from, which `forwarded` finds
//! out. Programs on this machine have no limit of their own unless they have a token: they are what is developed here,
//! or a proxy for many clients. The limits for all together hold for them, too.

mod forwarded;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use access::{Allowance, Holding, PeerPrefix, Place, Principal, Rate};
use broker::Seldom;
use hyper::HeaderMap;
use tokio::time::Instant;
use tracing::warn;

pub use self::forwarded::{TrustedProxies, TrustedProxy, TrustedProxyError};
use super::{
    metrics::{HttpMetrics, Limit},
    problem::Problem,
};

/// How many connections of one peer beyond its maximum are served one request each.
const MAX_SURPLUS_OF_PEER: usize = 16;

/// What one sender may use; `None` is no limit.
#[derive(Debug, Clone, Default)]
pub struct LimitOptions {
    /// Whose word counts about where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// Connections of one peer.
    pub connections: Option<usize>,
    /// Polls that are held, and streams, by the subject of a token.
    pub polls_of_subject: Option<usize>,
    /// The same by one peer without a token.
    pub polls_of_peer: Option<usize>,
    /// Events that are published.
    pub publishes: Option<PublishRate>,
    /// Mailboxes that are made.
    pub mailboxes: Option<Rate>,
    /// Requests for mailboxes that are refused, or find none.
    pub failures: Option<Rate>,
}

/// How many events a sender may publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishRate {
    /// So many a second.
    pub per_second: u32,
    /// So many at once.
    pub burst: u32,
}

impl PublishRate {
    const DEFAULT: Self = Self { per_second: 50, burst: 200 };

    fn rate(self) -> Rate {
        Rate::new(self.per_second, Duration::from_secs(1), self.burst)
    }

    /// Returns one of another pace, with bursts that are as long.
    fn scaled(self, per_second: u32) -> Self {
        let burst = u64::from(self.burst) * u64::from(per_second) / u64::from(self.per_second.max(1));
        Self { per_second, burst: u32::try_from(burst).unwrap_or(u32::MAX) }
    }
}

/// Where a request comes from, as far as limits are concerned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sender {
    /// Nothing for programs on this machine.
    peer: Option<PeerPrefix>,
    /// The peer says that it passes the request on, and is not known to be a proxy.
    may_be_proxy: bool,
    /// The request needs a right to a mailbox.
    pub(super) is_for_mailbox: bool,
}

/// Whether there is a connection more for a peer.
#[derive(Debug)]
pub(super) enum Admission {
    /// There is; without a place it is not counted.
    Admitted(Option<Place>),
    /// There is one for a single request.
    Surplus(Place),
    Refused,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Limits {
    options: LimitOptions,
    used: Mutex<access::Limits>,
    /// Where its clock begins.
    began: Instant,
    metrics: Arc<HttpMetrics>,
}

impl Limits {
    pub(super) fn new(options: LimitOptions, metrics: Arc<HttpMetrics>) -> Self {
        Self { options, used: Mutex::default(), began: Instant::now(), metrics }
    }

    /// Returns where a request comes from.
    pub(super) fn sender(&self, remote: Option<SocketAddr>, headers: &HeaderMap) -> Sender {
        let remote = remote.map(|remote| remote.ip().to_canonical());
        let (address, may_be_proxy) = forwarded::origin(remote, headers, &self.options.trusted_proxies);
        Sender { peer: address.filter(is_limited).map(PeerPrefix::of), may_be_proxy, is_for_mailbox: false }
    }

    /// Takes the place of a connection.
    pub(super) fn connect(&self, remote: Option<SocketAddr>) -> Admission {
        let address = remote.map(|remote| remote.ip().to_canonical()).filter(is_limited);
        let address = address.filter(|address| !self.options.trusted_proxies.includes(Some(*address)));
        let (Some(address), Some(most)) = (address, self.options.connections) else { return Admission::Admitted(None) };
        let (principal, now) = (Principal::from(address), self.now());
        let mut used = self.used();
        if let Some(place) = used.hold(Holding::Connections, &principal, most, now) {
            return Admission::Admitted(Some(place));
        }
        self.metrics.limited(Limit::Connections);
        let surplus = used.hold(Holding::Connections, &principal, most + MAX_SURPLUS_OF_PEER, now);
        surplus.map_or(Admission::Refused, Admission::Surplus)
    }

    /// Takes the place of a poll that is held, or of a stream.
    pub(super) fn hold_poll(&self, principal: Option<&Principal>) -> Result<Option<Place>, Problem> {
        let most = principal.and_then(|principal| match principal {
            Principal::Subject(_) => self.options.polls_of_subject,
            Principal::Peer(_) => self.options.polls_of_peer,
        });
        let (Some(principal), Some(most)) = (principal, most) else { return Ok(None) };
        let place = self.used().hold(Holding::Polls, principal, most, self.now());
        place.map(Some).ok_or_else(|| self.limited(Limit::Polls, None))
    }

    /// Takes so many events that are published, or none. A token may have a pace of its own, in events a second.
    pub(super) fn publish(&self, principal: &Principal, own_pace: Option<u32>, events: u32) -> Result<(), Problem> {
        let Some(rate) = self.publish_rate(own_pace) else { return Ok(()) };
        let burst = rate.burst.max(1);
        if events > burst {
            return Err(Problem::BatchAboveBurst(burst));
        }
        self.take(Allowance::Publishes, Limit::Publishes, events, principal, Some(rate.rate()))
    }

    /// Checks whether one more event could be published now.
    pub(super) fn may_publish(&self, principal: &Principal, own_pace: Option<u32>) -> Result<(), Problem> {
        let Some(rate) = self.publish_rate(own_pace) else { return Ok(()) };
        let checked = self.used().check(Allowance::Publishes, principal, rate.rate(), self.now());
        checked.map_err(|wait| self.limited(Limit::Publishes, Some(wait)))
    }

    fn publish_rate(&self, own_pace: Option<u32>) -> Option<PublishRate> {
        let common = self.options.publishes;
        let own = own_pace.map(|pace| common.unwrap_or(PublishRate::DEFAULT).scaled(pace));
        own.or(common)
    }

    /// Tells whether mailboxes that are made are counted.
    pub(super) const fn counts_mailboxes(&self) -> bool {
        self.options.mailboxes.is_some()
    }

    /// Takes one mailbox that is made.
    pub(super) fn make_mailbox(&self, principal: &Principal) -> Result<(), Problem> {
        self.take(Allowance::Mailboxes, Limit::Mailboxes, 1, principal, self.options.mailboxes)
    }

    /// Checks whether one more request of this sender for a mailbox may fail; one that may not is not looked at.
    pub(super) fn may_fail(&self, principal: &Principal) -> Result<(), Problem> {
        let Some(rate) = self.options.failures else { return Ok(()) };
        let checked = self.used().check(Allowance::Failures, principal, rate, self.now());
        checked.map_err(|wait| self.limited(Limit::Failures, Some(wait)))
    }

    /// Counts a request for a mailbox that was refused, or found none.
    pub(super) fn failed(&self, principal: &Principal) {
        if let Some(rate) = self.options.failures {
            // What is held meanwhile may fail, too.
            let _ = self.used().take(Allowance::Failures, 1, principal, rate, self.now());
        }
    }

    fn take(
        &self,
        what: Allowance,
        limit: Limit,
        count: u32,
        principal: &Principal,
        rate: Option<Rate>,
    ) -> Result<(), Problem> {
        let Some(rate) = rate else { return Ok(()) };
        let taken = self.used().take(what, count, principal, rate, self.now());
        taken.map_err(|wait| self.limited(limit, Some(wait)))
    }

    fn limited(&self, limit: Limit, wait: Option<Duration>) -> Problem {
        self.metrics.limited(limit);
        Problem::Limited(limit, wait)
    }

    fn used(&self) -> MutexGuard<'_, access::Limits> {
        // No code that can panic runs under this lock.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Sender {
    /// Returns whom a request is counted for, with the subject of its token; `None`: for no sender alone.
    pub(super) fn principal(self, subject: Option<&Arc<str>>) -> Option<Principal> {
        let of_subject = subject.map(|subject| Principal::Subject(Arc::clone(subject)));
        of_subject.or_else(|| self.peer.map(Principal::Peer))
    }

    /// Warns of a proxy that is taken for one client.
    pub(super) fn warn_of_proxy(self) {
        static LIMITED: Seldom = Seldom::a_minute();
        if self.may_be_proxy
            && let Some(left_out) = LIMITED.due()
        {
            warn!(
                left_out,
                "a peer that sends X-Forwarded-For reached a limit of one client; if it is a proxy, name it with --trusted-proxy"
            );
        }
    }
}

/// Tells whether peers of an address have limits of their own.
fn is_limited(address: &IpAddr) -> bool {
    !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_so_many_connections_a_few_for_one_request_and_no_more() {
        let options = LimitOptions {
            connections: Some(2),
            trusted_proxies: TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]),
            ..LimitOptions::default()
        };
        let limits = Limits::new(options, Arc::default());
        let connect = |address: &str| limits.connect(Some(address.parse().unwrap()));
        let mut admitted: Vec<_> = (0..2).map(|_| connect("[2001:db8::1]:1")).collect();
        assert!(admitted.iter().all(|each| matches!(each, Admission::Admitted(Some(_)))), "{admitted:?}");
        let surplus: Vec<_> = (0..MAX_SURPLUS_OF_PEER).map(|_| connect("[2001:db8::2]:2")).collect();
        assert!(surplus.iter().all(|each| matches!(each, Admission::Surplus(_))), "{surplus:?}");
        assert!(matches!(connect("[2001:db8::3]:3"), Admission::Refused));
        for other in ["[2001:db8:0:1::1]:1", "192.0.2.1:1"] {
            assert!(matches!(connect(other), Admission::Admitted(Some(_))), "{other}");
        }
        for uncounted in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "10.1.2.3:1"] {
            for _ in 0..3 {
                assert!(matches!(connect(uncounted), Admission::Admitted(None)), "{uncounted}");
            }
        }
        assert!(matches!(limits.connect(None), Admission::Admitted(None)));
        drop((surplus, admitted.pop()));
        assert!(matches!(connect("[2001:db8::4]:4"), Admission::Admitted(Some(_))));
    }

    #[test]
    fn a_token_has_its_own_pace_with_bursts_that_are_as_long() {
        let common = PublishRate { per_second: 50, burst: 200 };
        assert_eq!(common.scaled(500), PublishRate { per_second: 500, burst: 2000 });
        assert_eq!(common.scaled(1), PublishRate { per_second: 1, burst: 4 });
        assert_eq!(common.scaled(u32::MAX).burst, u32::MAX);
    }
}
