//! What each sender of requests has used of what it may.
//!
//! Pure: a table in memory, to which callers tell the time. A sender is known by a [`Principal`]; how much it may do is
//! for the caller to say, by a [`Rate`] or a number. The table is bounded: beyond its maximum the sender that was idle
//! for longest is forgotten, which gives it nothing, because one that is idle has used nothing. Only under a flood of
//! senders are some forgotten that are not idle; the limits for all senders together are there for that. A sender that
//! holds a [`Place`] is never forgotten, so there are at most as many more as there are places.

mod rate;
mod table;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

pub use self::rate::Rate;
use self::{rate::Bucket, table::Table};

/// How many senders are remembered.
const MAX_PRINCIPALS: usize = 100_000;

/// Whom limits are counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The `sub` of a token.
    Subject(Arc<str>),
    /// Where the request comes from; for requests without a token.
    Peer(PeerPrefix),
}

/// An address as far as it tells peers apart: an IPv4 address, or the first 64 bits of an IPv6 address, all of which one
/// customer of a network gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerPrefix(IpAddr);

impl PeerPrefix {
    /// Returns that of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [first, second, third, fourth, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(first, second, third, fourth, 0, 0, 0, 0))
            }
            IpAddr::V4(address) => IpAddr::V4(address),
        })
    }
}

/// What is counted by a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Events that are published.
    Publishes,
    /// Mailboxes that are made.
    Mailboxes,
    /// Requests for mailboxes that got nothing.
    Failures,
}

/// What is counted as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Connections.
    Connections,
    /// Polls that are held, and streams.
    Polls,
}

/// One more of what a sender holds, until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is there to be dropped")] Arc<()>);

/// What one sender has used.
#[derive(Debug, Default)]
struct Usage {
    allowances: [Bucket; 3],
    /// Each place has a clone.
    holdings: [Option<Arc<()>>; 2],
}

impl Usage {
    fn held(&self, holding: Holding) -> usize {
        self.holdings[holding as usize].as_ref().map_or(0, |held| Arc::strong_count(held) - 1)
    }

    fn has_places(&self) -> bool {
        self.held(Holding::Connections) + self.held(Holding::Polls) > 0
    }

    fn is_idle(&self, now: u64) -> bool {
        !self.has_places() && self.allowances.iter().all(|bucket| bucket.is_unused(now))
    }
}

/// See the module. Times are since any moment that stays the same, and never go back.
#[derive(Debug)]
pub struct Limits(Table);

impl Default for Limits {
    fn default() -> Self {
        Self(Table::new(MAX_PRINCIPALS))
    }
}

impl Limits {
    /// Takes one of what a sender may do at this rate.
    ///
    /// # Errors
    ///
    /// How long it has to wait for the next one.
    pub fn take(&mut self, what: Allowance, principal: &Principal, rate: Rate, now: Duration) -> Result<(), Duration> {
        let now = nanoseconds(now);
        self.0.usage(principal, now).allowances[what as usize].take(rate, now)
    }

    /// Checks whether one could be taken.
    ///
    /// # Errors
    ///
    /// How long the sender has to wait for the next one.
    pub fn check(&self, what: Allowance, principal: &Principal, rate: Rate, now: Duration) -> Result<(), Duration> {
        let now = nanoseconds(now);
        let mut bucket = self.0.get(principal).map_or_else(Bucket::default, |usage| usage.allowances[what as usize]);
        bucket.take(rate, now)
    }

    /// Takes a place, unless the sender holds so many.
    pub fn hold(&mut self, what: Holding, principal: &Principal, most: usize, now: Duration) -> Option<Place> {
        let usage = self.0.usage(principal, nanoseconds(now));
        if usage.held(what) >= most {
            return None;
        }
        Some(Place(Arc::clone(usage.holdings[what as usize].get_or_insert_default())))
    }
}

/// 584 years of them fit.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<IpAddr> for Principal {
    fn from(address: IpAddr) -> Self {
        Self::Peer(PeerPrefix::of(address))
    }
}

impl From<Ipv4Addr> for Principal {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::V4(address).into()
    }
}

#[cfg(test)]
mod tests;
