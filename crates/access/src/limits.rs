//! What each sender of requests has used of what it may.
//!
//! Pure: a table in memory, to which callers tell the time. A sender is known by a [`Principal`]; how much it may do is
//! for the caller to say, by a [`Rate`] or a number. The table is bounded: beyond its maximum the sender that was idle
//! for longest is forgotten, which gives it nothing, because one that is idle has used nothing. Only under a flood of
//! senders are some forgotten that are not idle; the limits for all senders together are there for that. A sender that
//! holds a [`Place`] is never forgotten, so there are at most as many more as there are places.

mod principal;
mod rate;
mod table;
mod usage;

use std::{sync::Arc, time::Duration};

pub use self::{
    principal::{PeerPrefix, Principal},
    rate::Rate,
    usage::{Allowance, Holding, Place},
};
use self::{rate::Bucket, table::Table};

/// How many senders are remembered.
const MAX_PRINCIPALS: usize = 100_000;

/// See the module. Times are since any moment that stays the same, and never go back.
#[derive(Debug)]
pub struct Limits(Table);

impl Default for Limits {
    fn default() -> Self {
        Self(Table::new(MAX_PRINCIPALS))
    }
}

impl Limits {
    /// Takes so many of what a sender may do at this rate, or none; never more than a burst has.
    ///
    /// # Errors
    ///
    /// How long it has to wait for them.
    pub fn take(
        &mut self,
        what: Allowance,
        count: u32,
        principal: &Principal,
        rate: Rate,
        now: Duration,
    ) -> Result<(), Duration> {
        let now = nanoseconds(now);
        self.0.usage(principal, now).allowances[what as usize].take(rate, count, now)
    }

    /// Checks whether one could be taken.
    ///
    /// # Errors
    ///
    /// How long the sender has to wait for the next one.
    pub fn check(&self, what: Allowance, principal: &Principal, rate: Rate, now: Duration) -> Result<(), Duration> {
        let now = nanoseconds(now);
        let mut bucket = self.0.get(principal).map_or_else(Bucket::default, |usage| usage.allowances[what as usize]);
        bucket.take(rate, 1, now)
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

#[cfg(test)]
mod tests;
